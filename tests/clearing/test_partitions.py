"""Books in partitions: a transfer happens once, whatever is lost on the way."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

import pytest
from stores import STORES, place
from typer.testing import CliRunner
from world import BTC, D, instrument, rules_of

from crossmargin.apps.cli import app
from crossmargin.clearing.audit import audit, verify
from crossmargin.clearing.commands import canonical, read
from crossmargin.clearing.desk import Desk
from crossmargin.clearing.journal import Journal
from crossmargin.clearing.partitions import Directory, Router, in_transit, unclosed
from crossmargin.clearing.state import State, state_hash
from crossmargin.errors import AccountError, JournalError, ProfileError

AT = "2026-11-20T08:00:00Z"


class LostError(Exception):
    """The process is gone."""


class Venue:
    """Two partitions; ``step`` is called before and after every group that a partition is asked for."""

    def __init__(self, store: str, folder: Path) -> None:
        self.step: Callable[[], None] = lambda: None
        self.places, self.open = ExitStack(), ExitStack()
        self.where = self.places.enter_context(place(store, folder, "directory"))
        self.begin()
        self.directory.add({name: self.places.enter_context(place(store, folder, name)) for name in ("east", "west")})
        self.begin()
        for name, desk in self.desks.items():
            wire = {"kind": "start", "command_id": "start", "at": AT, "partition": name, "default_quantum": "0.01"}
            assert desk.submit([canonical(wire)])[0].startswith('{"accepted":true')
        rules = {"profile": "plain-cross", "on": "2026-11-20", "instruments": [instrument(BTC, "0.01")]}
        self.do("change_rules", "rules", **rules)
        for name in ("ann", "bea", "cem", "dov"):
            self.do("open_account", f"open-{name}", account=name, profile="plain-cross")

    def close(self) -> None:
        self.open.close()
        self.places.close()

    def begin(self) -> None:
        """As a new process begins: from what is stored, and nothing else."""
        self.open.close()
        self.directory = Directory(self.where)
        self.open.callback(self.directory.close)
        self.desks = {}
        for name, where in self.directory.journals.items():
            journal = Journal(where)
            self.open.callback(journal.close)
            self.desks[name] = Desk(journal, rules_of)
        unfinished = [one for name, desk in self.desks.items() for one in unclosed(desk.journal, name)]
        self.router = Router(self.directory, self.ask, unfinished)

    def ask(self, lines: Mapping[str, Sequence[str]]) -> Mapping[str, Sequence[str]]:
        found = {}
        for name, group in lines.items():
            self.step()
            found[name] = self.desks[name].submit(group)
            self.step()
        return found

    def say(self, kind: str, command_id: str, **fields: Any) -> dict[str, Any]:
        wire = {"kind": kind, "command_id": command_id, "at": AT, **fields}
        found: dict[str, Any] = json.loads(self.router.submit([canonical(wire)])[0])
        return found

    def do(self, kind: str, command_id: str, **fields: Any) -> None:
        said = self.say(kind, command_id, **fields)
        assert said["accepted"], said

    def held(self, account: str, place: str = "wallet") -> Any:
        return sum(desk.state.ledger.balance(account, place, "USDT") for desk in self.desks.values())

    def right(self) -> dict[str, Any]:
        """Each book adds up by itself, all of them together with what is under way; what is."""
        assert all(audit(desk.state) == () for desk in self.desks.values())
        return in_transit(self.desks)


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def venue(store: str, tmp_path: Path) -> Iterator[Venue]:
    with closing(Venue(store, tmp_path)) as found:
        yield found


def apart(venue: Venue) -> tuple[str, str]:
    """An account of each partition."""
    homes = venue.directory.accounts
    one = next(name for name, home in homes.items() if home == "east")
    return one, next(name for name, home in homes.items() if home == "west")


def send(one: str, other: str, amount: str = "40", name: str = "t1") -> tuple[str, str, dict[str, Any]]:
    fields = {"account": one, "to_account": other, "asset": "USDT", "amount": amount, "transfer_id": name}
    return "send", f"send:{name}", fields


def test_an_account_stays_where_it_was_put_whatever_partitions_come_later(venue: Venue) -> None:
    before = dict(venue.directory.accounts)
    assert set(before.values()) == {"east", "west"}
    assert all(name in venue.desks[home].state.accounts for name, home in before.items())
    venue.directory.add({"north": "north.db"})
    again = Directory(venue.where)
    assert (dict(again.accounts), sorted(again.journals)) == (before, ["east", "north", "west"])
    again.close()
    with pytest.raises(JournalError, match="not written"):
        venue.directory.add({"east": "elsewhere.db"})


def test_a_transfer_arrives_once_to_the_cent(venue: Venue) -> None:
    one, other = apart(venue)
    venue.do("deposit", "d1", account=one, asset="USDT", amount="100")
    kind, command_id, fields = send(one, other)
    for _ in range(3):  # a client that does not know sends again
        venue.do(kind, command_id, **fields)
    assert (venue.held(one), venue.held(other), venue.held("@venue", "in_transit")) == (60, 40, 0)
    assert venue.right() == {}
    # each side's books say what left and what came
    east, west = venue.desks["east"].state.ledger, venue.desks["west"].state.ledger
    assert east.balance("@venue", "in_transit", "USDT") == -west.balance("@venue", "in_transit", "USDT") == 40
    other_content = venue.say(kind, command_id, **fields | {"amount": "41"})
    assert not other_content["accepted"] and "another content" in canonical(other_content)
    assert not venue.say(*send(one, other, "60.01", "t2")[:2], **send(one, other, "60.01", "t2")[2])["accepted"]
    assert (venue.held(one), venue.held(other)) == (60, 40)


def test_a_transfer_that_is_refused_there_comes_back(venue: Venue) -> None:
    one, _ = apart(venue)
    venue.do("deposit", "d1", account=one, asset="USDT", amount="100")
    nobody = next(f"x{i}" for i in range(50) if venue.directory.home(f"x{i}") == "west")
    kind, command_id, fields = send(one, nobody)
    venue.do(kind, command_id, **fields)
    assert (venue.held(one), venue.held("@venue", "in_transit"), venue.right()) == (100, 0, {})
    # the refusal is final: the account opened later changes nothing about a transfer that is closed
    venue.do("open_account", "open-later", account=nobody, profile="plain-cross")
    venue.do(kind, command_id, **fields)
    assert (venue.held(one), venue.held(nobody), venue.right()) == (100, 0, {})


def test_margin_in_use_is_not_sent(venue: Venue) -> None:
    one, other = apart(venue)
    venue.do("deposit", "d1", account=one, asset="USDT", amount="100")
    venue.do("mark", "m1", symbol=BTC, price="100")
    venue.do("set_leverage", "l1", account=one, symbol=BTC, leverage="10")
    venue.do("place_order", "o1", account=one, order_id="o", symbol=BTC, quantity="8", price="100")
    # 8 x 100 / 10 = 80 are held for the order
    refused = venue.say(*send(one, other, "20.01")[:2], **send(one, other, "20.01")[2])
    assert refused["answers"]["east"]["events"][0]["accepted"] == {"amount": "20"}
    venue.do(*send(one, other, "20", "t2")[:2], **send(one, other, "20", "t2")[2])
    assert venue.held(other) == 20


def test_the_insurance_fund_is_shared_out_from_the_first_partition(venue: Venue) -> None:
    venue.do("deposit", "d1", account="@insurance_fund", asset="USDT", amount="100")
    fields = {"asset": "USDT", "amount": "30", "transfer_id": "f1"}
    fund = "@insurance_fund"
    venue.do("send", "send:f1", account=fund, to_account=fund, to_partition="west", **fields)
    held = {name: desk.state.ledger.balance("@venue", "insurance_fund", "USDT") for name, desk in venue.desks.items()}
    assert (held, venue.right()) == ({"east": 70, "west": 30}, {})


def lost_at(moment: int) -> Callable[[], None]:
    """A process that is gone at the ``moment``-th step."""
    left = [moment]

    def step() -> None:
        left[0] -= 1
        if not left[0]:
            raise LostError

    return step


@pytest.mark.parametrize("refused", [False, True])
def test_a_process_lost_at_any_point_goes_on_where_it_was(tmp_path: Path, refused: bool) -> None:
    """Three groups a transfer, each lost before and after it was written: six points, and none of them twice or never.

    100 are there; 40 leave. Whatever is lost, the books add up to 100 with what is under way, and in the end 40 are
    there (or, refused, all 100 are back).
    """
    points = 0
    for moment in range(1, 10):
        folder = tmp_path / str(moment)
        folder.mkdir()
        venue = Venue("sqlite", folder)
        one, other = apart(venue)
        if refused:
            other = next(f"x{i}" for i in range(50) if venue.directory.home(f"x{i}") == "west")
        venue.do("deposit", "d1", account=one, asset="USDT", amount="100")
        kind, command_id, fields = send(one, other)
        venue.step = lost_at(moment)
        try:
            venue.say(kind, command_id, **fields)
            lost = False
        except LostError:
            lost, points = True, points + 1
        venue.step = lambda: None
        venue.begin()
        under_way = venue.right()
        assert venue.held(one) + venue.held(other) + under_way.get("USDT", D(0)) == 100
        venue.router.settle()
        assert (venue.held(one) + venue.held(other), venue.right()) == (100, {})
        venue.do(kind, command_id, **fields)  # the client asks again: no second effect
        assert (venue.held(one), venue.held(other)) == ((100, 0) if refused else (60, 40))
        hashes = {name: state_hash(desk.state) for name, desk in venue.desks.items()}
        for name, desk in venue.desks.items():
            assert (verify(desk.journal).findings, verify(desk.journal).state_hash) == ((), hashes[name])
        venue.close()
        if not lost:
            break
    assert points == 6


def test_what_is_booked_twice_is_found(venue: Venue) -> None:
    """The check itself: a receive that nobody sent is money from nowhere."""
    wire = {"kind": "receive", "command_id": "receive:east:t9", "transfer_id": "t9", "at": AT, "asset": "USDT"}
    _, other = apart(venue)
    wire |= {"account": other, "amount": "5", "from_partition": "east", "to_partition": "west"}
    assert venue.desks["west"].submit([canonical(wire)])[0].startswith('{"accepted":true')
    with pytest.raises(JournalError, match="in transit"):
        venue.right()


def test_a_client_can_neither_receive_nor_close(venue: Venue) -> None:
    for kind in ("receive", "close_transfer"):
        said = venue.say(kind, "x", account="ann")
        assert (said["accepted"], said["answers"], said["faults"][0]["path"]) == (False, {}, "kind")
    elsewhere = venue.say(*send("ann", "bea")[:2], **send("ann", "bea")[2], to_partition="south")
    assert elsewhere["faults"][0]["path"] == "to_partition"
    (said,) = venue.router.submit([b"nonsense"])
    assert json.loads(said)["accepted"] is False


@pytest.mark.parametrize("command_id", ["send:t2", "t1", "receive:t1"])
def test_a_transfer_has_one_command_id(command_id: str) -> None:
    kind, _, fields = send("a", "b")
    wire = {"kind": kind, "command_id": command_id, "at": AT, "to_partition": "west", **fields}
    with pytest.raises(AccountError, match="send:t1"):
        read(canonical(wire))


def test_books_that_are_no_partition_send_and_receive_nothing(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path / "books.db"))
    desk = Desk(journal, rules_of)
    desk.submit([canonical({"kind": "start", "command_id": "start", "at": AT})])
    kind, command_id, fields = send("@insurance_fund", "b")
    wire = {"kind": kind, "command_id": command_id, "at": AT, "to_partition": "west", **fields}
    there = {"kind": "receive", "command_id": "receive:a:t1", "transfer_id": "t1", "at": AT, "account": "b"}
    there |= {"asset": "USDT", "amount": "1", "from_partition": "a", "to_partition": "west"}
    over = {"kind": "close_transfer", "command_id": "close:t1", "transfer_id": "t1", "at": AT, "arrived": True}
    said = [json.loads(text) for text in desk.submit([canonical(wire), canonical(there), canonical(over)])]
    assert [one["events"][0]["code"] for one in said] == ["wrong_state", "wrong_state", "unknown_name"]
    assert state_hash(desk.state) == state_hash(Desk(journal).state)
    assert State().sent == desk.state.sent == {}
    journal.close()


# processes ------------------------------------------------------------------------------------------------------------


def venue_of_processes(folder: Path, store: str, places: ExitStack) -> tuple[list[str], list[str]]:
    """A venue made by the command line: how it is served, and commands of ten accounts that send each other money."""
    where = {name: places.enter_context(place(store, folder, name)) for name in ("directory", "east", "west")}
    words = ["clearing", "partitions"]
    made = [f"--journal={name}={where[name]}" for name in ("east", "west")]
    done = CliRunner().invoke(app, [*words, "init", "-d", where["directory"], "--at", AT, *made])
    assert done.exit_code == 0, done.output
    rng = random.Random(8)
    lines = [{"kind": "change_rules", "command_id": "rules", "profile": "plain-cross", "on": "2026-11-20"}]
    names = [f"a{i}" for i in range(10)]
    for name in names:
        lines.append({"kind": "open_account", "command_id": f"open-{name}", "account": name, "profile": "plain-cross"})
        lines.append({"kind": "deposit", "command_id": f"d-{name}", "account": name, "asset": "USDT", "amount": "100"})
    for i in range(70):
        one, other = rng.sample([*names, "nobody"], 2)
        kind, command_id, fields = send(one, other, f"{rng.randrange(1, 60)}", f"t{i}")
        lines.append({"kind": kind, "command_id": command_id, **fields})
    return [*words, "{}", "-d", where["directory"]], [canonical({"at": AT, **line}) for line in lines]


def served(words: list[str], lines: list[str], kill_after: int | None) -> list[str]:
    """What the process says; killed with -9 when it has said so much."""
    words = [word.format("serve-stdin") for word in words]
    process = subprocess.Popen(
        [sys.executable, "-m", "crossmargin.apps.cli", *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None and process.stdout is not None
    said: list[str] = []
    for start in range(0, len(lines), 10):
        process.stdin.write("".join(f"{line}\n" for line in lines[start : start + 10]))
        process.stdin.flush()
        said += [process.stdout.readline().rstrip("\n") for _ in lines[start : start + 10]]
        if kill_after is not None and len(said) >= kill_after:
            # more is on its way when it is killed, with what its workers then still write
            process.stdin.write("".join(f"{line}\n" for line in lines[start + 10 : start + 30]))
            process.stdin.flush()
            process.kill()
            break
    with suppress(BrokenPipeError):
        process.stdin.close()
    process.stdout.close()
    process.wait()
    return said


def test_a_venue_of_processes_is_killed_and_goes_on(store: str, tmp_path: Path) -> None:
    """Ten accounts of 100 each: whatever was under way when all was killed, 1,000 are there, and every answer holds."""
    with ExitStack() as places:
        words, lines = venue_of_processes(tmp_path, store, places)
        first = served(words, lines, kill_after=60)
        again = served(words, lines, kill_after=None)
        assert len(again) == len(lines)
        assert again[: len(first)] == first
        done = CliRunner().invoke(app, [*(word.format("audit") for word in words), "--json"])
        assert done.exit_code == 0, done.output
        checked = json.loads(done.stdout)
        assert (checked["in_transit"], checked["findings"]) == ({}, [])
        assert sorted((one["partition"], one["accounts"] > 0) for one in checked["partitions"]) == [
            ("east", True), ("west", True),
        ]  # fmt: skip
        total = D(0)
        with closing(Directory(words[-1])) as directory:
            for where in directory.journals.values():
                with closing(Journal(where)) as journal:
                    ledger = Desk(journal).state.ledger
                    total += sum(ledger.balance(f"a{i}", "wallet", "USDT") for i in range(10))
                    assert verify(journal).findings == ()
        assert total == 1000
        assert sum('"accepted":true' in said[:20] for said in again[21:]) > 35


def test_what_is_no_partition_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    words = ["clearing", "partitions", "init", "-d", str(tmp_path / "directory.db")]
    assert isinstance(CliRunner().invoke(app, [*words, "-j", "east"]).exception, ProfileError)
    done = CliRunner().invoke(app, [*words, "-j", f"East={tmp_path / 'east.db'}"])
    assert isinstance(done.exception, ProfileError) and "partition" in str(done.exception)
