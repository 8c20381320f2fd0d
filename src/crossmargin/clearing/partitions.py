"""Books in partitions: which journal an account is in, and transfers between two of them, each exactly once.

A partition is a journal with a writer of its own and its part of the accounts. The map is stored: an account is given a
partition when it is opened and stays there, however many partitions a venue has later. A transfer between two is

1. ``send`` in the books it leaves: out of the account into ``@venue in_transit``, by the rules of a withdrawal;
2. ``receive`` in the books it arrives in: out of ``@venue in_transit`` there into the account, or a refusal for good;
3. ``close_transfer`` in the books it left: it has arrived, or it goes back to the account.

The command ids are made of the transfer's id, so each of the three happens once. After a loss at any point all that is
not closed is done again from the journals: what has happened answers as it did the first time. The sum of
``in_transit`` over all partitions is at every moment what is under way (:func:`in_transit`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from crossmargin.clearing.commands import canonical, decode
from crossmargin.clearing.desk import Desk, answer, unwritten
from crossmargin.clearing.journal import Journal
from crossmargin.clearing.ledger import VENUE
from crossmargin.errors import Fault, JournalError
from crossmargin.files.database import Database, sa

_KNOWN = sa.MetaData()
_PARTITIONS = sa.Table("partitions", _KNOWN, *(sa.Column(name, sa.Text) for name in ("name", "journal")))
_ACCOUNTS = sa.Table("accounts", _KNOWN, *(sa.Column(name, sa.Text) for name in ("account", "partition")))
_ZERO = Decimal(0)


class Directory:
    """The stored map of a venue in partitions: partition -> journal, account -> partition; appended to, no more."""

    def __init__(self, where: str) -> None:
        """``where``: the path of a SQLite file, or a database URL."""
        folder = Path(__file__).with_name("directory")
        self._database = Database(where, folder, JournalError, versions="directory_version")
        self.journals: dict[str, str] = {}
        """Partition -> its journal."""
        self.accounts: dict[str, str] = {}
        """Account -> its partition."""
        self._read()

    def _read(self) -> None:
        with self._database.engine.connect() as connection:
            self.journals = {row[0]: row[1] for row in connection.execute(_PARTITIONS.select())}
            self.accounts = {row[0]: row[1] for row in connection.execute(_ACCOUNTS.select())}

    def add(self, partitions: Mapping[str, str]) -> None:
        """Further partitions; accounts that are there stay where they are. :class:`JournalError` if one is known."""
        self._insert(_PARTITIONS, [{"name": name, "journal": where} for name, where in partitions.items()])

    def home(self, account: str) -> str:
        """The partition of an account: the stored one, else the one it will be given, by the SHA-256 of its name."""
        found = self.accounts.get(account)
        if found is not None:
            return found
        names = sorted(self.journals)
        if account[:1] == "@":  # the venue's own money arrives in the first, and is sent on from there
            return names[0]
        return names[int.from_bytes(hashlib.sha256(account.encode()).digest()[:8], "big") % len(names)]

    def settle_down(self, accounts: Iterable[str]) -> None:
        """Store the partition of accounts that are about to be opened."""
        new = [name for name in dict.fromkeys(accounts) if name not in self.accounts]
        self._insert(_ACCOUNTS, [{"account": name, "partition": self.home(name)} for name in new])

    def _insert(self, table: sa.Table, rows: list[dict[str, str]]) -> None:
        if not rows:
            return
        try:
            with self._database.engine.begin() as connection:
                connection.execute(table.insert(), rows)
        except Exception as error:
            raise self._database.failed("the directory is not written", error) from error
        finally:
            self._read()

    def close(self) -> None:
        """Let go of the database."""
        self._database.close()


class Transfer(NamedTuple):
    """A transfer that is not closed: the partition it left, and its ``send``."""

    source: str
    send: Mapping[str, Any]

    def receive(self) -> str:
        """The command that credits it."""
        send = self.send
        name = send["transfer_id"]
        wire = {key: send[key] for key in ("transfer_id", "asset", "amount", "to_partition", "at")}
        wire |= {"kind": "receive", "account": send["to_account"], "from_partition": self.source}
        return canonical(wire | {"command_id": f"receive:{self.source}:{name}"})

    def close(self, *, arrived: bool) -> str:
        """The command that ends it."""
        name = self.send["transfer_id"]
        wire = {"kind": "close_transfer", "command_id": f"close:{name}", "transfer_id": name}
        return canonical(wire | {"at": self.send["at"], "arrived": arrived})


def unclosed(journal: Journal, partition: str) -> list[Transfer]:
    """The transfers that have left a partition and are not closed, as its journal has them."""
    return [
        Transfer(partition, json.loads(record.command))
        for record in journal.unanswered("send:", "close:")
        if answer(record).startswith(_ACCEPTED)
    ]


_ACCEPTED = '{"accepted":true'
Ask = Callable[[Mapping[str, Sequence[str]]], Mapping[str, Sequence[str]]]
"""Lines for each partition -> their answers, durable; :class:`JournalError` where that is not known."""


class Router:
    """Command lines of a whole venue, each to the partition it concerns; answers from all that were asked."""

    def __init__(self, directory: Directory, ask: Ask, unfinished: Iterable[Transfer] = ()) -> None:
        """``unfinished``: what an earlier router left under way, from :func:`unclosed` of every journal."""
        self._directory = directory
        self._ask = ask
        self._open = list(unfinished)

    def submit(self, lines: Sequence[str | bytes]) -> list[str]:
        """Answers in the order of the lines: ``{"accepted": by all, "answers": {partition: answer}}``.

        A command of an account goes to its partition, any other to all. A ``send`` is on its way to the end before it
        is answered; what could not be ended yet is tried again with the next group.
        """
        routed = self._routed(lines)
        asked: dict[str, list[str]] = {}
        for one in routed:
            for name in one.partitions:
                asked.setdefault(name, []).append(one.line)
        said = {name: iter(answers) for name, answers in self._ask(asked).items()}
        answers = []
        for one in routed:
            found = {name: next(said[name]) for name in one.partitions}
            accepted = not one.faults and all(text.startswith(_ACCEPTED) for text in found.values())
            answers.append(_together(found, accepted, one.faults))
            if one.send is not None and accepted:
                self._open.append(Transfer(one.partitions[0], one.send))
        self.settle()
        return answers

    def settle(self) -> None:
        """Bring every transfer that is under way as far as it goes."""
        if not self._open:
            return
        received = self._each([(one.send["to_partition"], one.receive()) for one in self._open])
        final = [(one, said) for one, said in zip(self._open, received, strict=True) if not unwritten(said)]
        closed = self._each([(one.source, one.close(arrived=said.startswith(_ACCEPTED))) for one, said in final])
        done = {id(one) for (one, _), said in zip(final, closed, strict=True) if not unwritten(said)}
        self._open = [one for one in self._open if id(one) not in done]

    def _each(self, lines: list[tuple[str, str]]) -> list[str]:
        asked: dict[str, list[str]] = {}
        for name, line in lines:
            asked.setdefault(name, []).append(line)
        said = {name: iter(answers) for name, answers in self._ask(asked).items()} if asked else {}
        return [next(said[name]) for name, _ in lines]

    def _routed(self, lines: Sequence[str | bytes]) -> list[_Routed]:
        read = [_read(line) for line in lines]
        self._directory.settle_down(
            raw["account"] for raw in read if raw.get("kind") == "open_account" and isinstance(raw.get("account"), str)
        )
        return [self._route(line, raw) for line, raw in zip(lines, read, strict=True)]

    def _route(self, line: str | bytes, raw: Mapping[str, Any]) -> _Routed:
        everywhere = tuple(sorted(self._directory.journals))
        words = line if isinstance(line, str) else line.decode(errors="replace")
        kind, account, target = raw.get("kind"), raw.get("account"), raw.get("to_account")
        if kind in _OWN:
            return _Routed(words, (), faults=_fault("kind", str(kind), "is the venue's own; a client says send"))
        if not isinstance(account, str):
            return _Routed(words, everywhere if kind else everywhere[:1])
        if kind != "send" or not isinstance(target, str):
            return _Routed(words, (self._directory.home(account),))
        send = {"to_partition": self._directory.home(target), **raw}
        if send["to_partition"] not in everywhere:
            why = f"is no partition; there are {', '.join(everywhere)}"
            return _Routed(words, (), faults=_fault("to_partition", str(send["to_partition"]), why))
        return _Routed(canonical(send), (self._directory.home(account),), send)


_OWN = ("receive", "close_transfer")


class _Routed(NamedTuple):
    """A line, the partitions that are asked, the ``send`` it is, or why nobody is asked."""

    line: str
    partitions: tuple[str, ...]
    send: Mapping[str, Any] | None = None
    faults: tuple[Mapping[str, str], ...] = ()


def _fault(path: str, value: str, why: str) -> tuple[Mapping[str, str], ...]:
    return ({"path": path, "value": value, "why": why},)


def _read(line: str | bytes) -> Mapping[str, Any]:
    """What a line says, as far as it decides who is asked; what is no object is answered by the first partition."""
    try:
        raw = decode(line if isinstance(line, str) else line.decode())
    except (ValueError, RecursionError):
        return {}
    return raw if isinstance(raw, dict) else {}


def _together(answers: Mapping[str, str], accepted: bool, faults: tuple[Mapping[str, str], ...]) -> str:
    if faults:
        return canonical({"accepted": False, "answers": {}, "faults": faults})
    parts = ",".join(f"{json.dumps(name)}:{answers[name]}" for name in sorted(answers))
    return f'{{"accepted":{"true" if accepted else "false"},"answers":{{{parts}}}}}'


def in_transit(desks: Mapping[str, Desk]) -> dict[str, Decimal]:
    """What is under way between partitions by asset: sent and not received yet, by the journals of both sides.

    It is the sum of ``@venue in_transit`` over all books; anything else is a :class:`JournalError`.
    """
    under_way: dict[str, Decimal] = {}
    booked: dict[str, Decimal] = {}
    for name, desk in desks.items():
        for (place, asset), amount in desk.state.ledger.of(VENUE).items():
            if place == "in_transit":
                booked[asset] = booked.get(asset, _ZERO) + amount
        for one in unclosed(desk.journal, name):
            receive = json.loads(one.receive())
            there = desks[one.send["to_partition"]].journal.find([receive["command_id"]]).get(receive["command_id"])
            if there is None or not answer(there).startswith(_ACCEPTED):
                asset = one.send["asset"]
                under_way[asset] = under_way.get(asset, _ZERO) + Decimal(one.send["amount"])
    booked = {asset: amount for asset, amount in booked.items() if amount}
    if booked != under_way:
        why = f"the books hold {booked} in transit, under way is {under_way}"
        raise JournalError("partitions", (Fault("in_transit", str(booked), why),))
    return under_way
