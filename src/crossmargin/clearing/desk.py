"""The desk: one writer that takes command lines, keeps the journal and answers, each command exactly once.

A group of commands is applied in memory, written in one transaction, and only then answered. A command id that is
known already gets the answer of its first time, byte for byte; with another content it is refused. When the journal
cannot be written nothing is acknowledged and the books go back to what the journal holds.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from crossmargin.clearing.commands import AnyCommand, RulesOf, canonical, read
from crossmargin.clearing.decide import apply
from crossmargin.clearing.events import stamp
from crossmargin.clearing.journal import GENESIS, Journal, Record, Snapshot, chained
from crossmargin.clearing.state import State, dump, evolve, load, text_hash, tick
from crossmargin.clearing.watch import Watch
from crossmargin.errors import AccountError, CrossmarginError, Fault, JournalError


class Answered(NamedTuple):
    """What is kept of a command until its group is written."""

    command: str
    answer: str


class Desk:
    """The books of one journal, open for commands."""

    def __init__(self, journal: Journal, rules_of: RulesOf | None = None) -> None:
        """``rules_of`` loads the rules that a ``change_rules`` names."""
        self.journal = journal
        self._rules_of = rules_of
        self._behind = True
        self._restore()

    def _restore(self) -> None:
        collecting = gc.isenabled()
        gc.disable()  # everything that is read stays: looking for garbage in it takes half the time
        try:
            self.state, self.seq, self.chain = _restored(self.journal)
        finally:
            if collecting:
                gc.enable()
        self.watch = Watch()
        self.watch.cold = {own.id for own in self.state.accounts.values() if own.positions or own.levels}
        # a hash says only that an id may be known: the journal is asked about those
        self._ids = {hash(name) for name in self.journal.command_ids(self.seq)}
        self._behind = False

    def submit(self, lines: Sequence[str | bytes]) -> list[str]:
        """Apply a group of command lines; their answers, one JSON line each, once all of them are durable.

        Raises :class:`JournalError` where the group could not be written; then none of it has happened, or, where the
        connection was lost on the way, all of it: sent again it is answered as the journal has it.
        """
        if self._behind:
            self._restore()
        parsed = [_parsed(line, self._rules_of) for line in lines]
        known = self._known([one for one in parsed if isinstance(one, tuple)])
        records: list[Record] = []
        answers: list[str] = []
        try:
            for one in parsed:
                if isinstance(one, str):
                    answers.append(one)
                    continue
                command, words = one
                before = known.get(command.command_id)
                if before is None:
                    record = self._applied(command, words)
                    records.append(record)
                    before = known[command.command_id] = Answered(words, answer(record))
                answers.append(before.answer if before.command == words else _other_content(command))
            self.journal.append(records)
        except Exception:
            self._behind = True  # the books are ahead of the journal: nothing is taken until they are read again
            with suppress(JournalError):
                self._restore()
            raise
        self._ids.update(hash(record.command_id) for record in records)
        return answers

    def _known(self, commands: Sequence[tuple[AnyCommand, str]]) -> dict[str, Answered]:
        found = self.journal.find(name for command, _ in commands if hash(name := command.command_id) in self._ids)
        return {name: Answered(record.command, answer(record)) for name, record in found.items()}

    def _applied(self, command: AnyCommand, words: str) -> Record:
        events = canonical(apply(self.state, command, self.watch))
        self.seq += 1
        at = stamp(command.at)
        self.chain = chained(self.chain, self.seq, at, words, events)
        return Record(self.seq, at, command.command_id, words, events, self.chain)

    def snapshot(self) -> Snapshot:
        """Keep the state as it is, so that the next start need not go through what is before."""
        body = dump(self.state)
        found = Snapshot(self.seq, self.chain, text_hash(body), body)
        self.journal.keep(found)
        return found


def _parsed(line: str | bytes, rules_of: RulesOf | None) -> tuple[AnyCommand, str] | str:
    """A command with its canonical text, or the answer to a line that is none (it is not journaled)."""
    try:
        return read(line, rules_of)
    except CrossmarginError as error:
        faults = [{"path": fault.path, "value": fault.value, "why": fault.why} for fault in error.faults]
        return canonical({"accepted": False, "command_id": None, "faults": faults, "seq": None})


def answer(record: Record) -> str:
    """The answer to a command: a function of its record, so that it is the same whenever it is asked for."""
    accepted = "false" if record.events.startswith('[{"accepted":') else "true"
    head = f'{{"accepted":{accepted},"command_id":"{record.command_id}"'  # an id has nothing that JSON must escape
    return f'{head},"events":{record.events},"seq":{record.seq}}}'


def unwritten(said: str) -> bool:
    """Whether an answer is of a line that left no trace: no command, or one whose group could not be written."""
    return said.endswith('"seq":null}')


def _other_content(command: AnyCommand) -> str:
    why = "is known with another content; a new command needs a new id"
    faults = [{"path": "command_id", "value": command.command_id, "why": why}]
    return canonical({"accepted": False, "command_id": command.command_id, "faults": faults, "seq": None})


# restoring ------------------------------------------------------------------------------------------------------------


def _restored(journal: Journal) -> tuple[State, int, str]:
    """The books as the journal has them: the newest snapshot that is whole, and the records after it."""
    state, seq, chain = State(), 0, GENESIS
    for place in journal.snapshot_places():
        snapshot = journal.snapshot_at(place)
        if text_hash(snapshot.state) == snapshot.hash:
            state, seq, chain = load(snapshot.state), snapshot.seq, snapshot.chain
            break
    for record in journal.records(seq):
        check(record, seq, chain)
        fold(state, record)
        seq, chain = record.seq, record.hash
    return state, seq, chain


def check(record: Record, seq: int, chain: str) -> None:
    """Refuse a record that does not follow the one before it; the error names it."""
    why = None
    if record.seq != seq + 1:
        why = f"record {seq + 1} is missing: after {seq} comes {record.seq}"
    elif chained(chain, record.seq, record.at, record.command, record.events) != record.hash:
        why = f"record {record.seq} is not what was written: its hash does not fit"
    elif f'"command_id":"{record.command_id}"' not in record.command:
        why = f"record {record.seq} is not what was written: its command has another id"
    if why is not None:
        raise JournalError(f"record {seq + 1}", (Fault("record", record.hash, why),))


def fold(state: State, record: Record) -> None:
    """Fold a record's events into the state; a refusal leaves even the clock as it was."""
    events: list[dict[str, Any]] = json.loads(record.events)
    if events and events[0]["event"] == "rejected":
        return
    tick(state, record.at)
    for event in events:
        evolve(state, event)


def replayed(journal: Journal) -> Iterator[tuple[Record, State]]:
    """The records from the first on, checked, with the state after each (one object, changing)."""
    state, seq, chain = State(), 0, GENESIS
    for record in journal.records():
        check(record, seq, chain)
        try:
            fold(state, record)
        except (KeyError, ValueError, AssertionError, AccountError) as error:
            raise JournalError(f"record {record.seq}", (Fault("events", "", f"cannot be folded: {error}"),)) from error
        seq, chain = record.seq, record.hash
        yield record, state
