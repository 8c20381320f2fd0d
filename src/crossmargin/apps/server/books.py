"""The books of record as the service keeps them: one desk, one thread that writes, and whatever came meanwhile at once.

Commands of many requests that wait for the same commit share it (group commit). Nobody is answered before the records
are durable; where they could not be written, everybody who waited is told so and may send the same again.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from itertools import islice
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, TypeVar

from crossmargin.apps.server.hub import Hub
from crossmargin.apps.server.metrics import Meter
from crossmargin.apps.server.problems import Problem
from crossmargin.apps.store.store import Store, digest
from crossmargin.apps.verbs.clearing import rules_of
from crossmargin.clearing.desk import Desk
from crossmargin.clearing.journal import Journal
from crossmargin.clearing.state import State
from crossmargin.clearing.statement import line
from crossmargin.errors import Fault, JournalError, StoreError
from crossmargin.files.profiles import refuse_path
from crossmargin.model.profile import Rules

T = TypeVar("T")

GROUP = 1000
"""The most commands of one request, and of one commit before another request joins it no more."""

_WAITING = 1000
"""Requests that may wait for the writer."""

_PAGE = 1 << 20
"""A page of the journal ends after so many characters."""

_READ = 100
"""Records that are read at once for a page: one may be large."""


def _installed(profile: str, on: str) -> Rules:
    """The rules that a command names, by the id of a profile: who sends commands names no file of this machine."""
    refuse_path(profile)
    return rules_of(profile, on)


class _Sent(NamedTuple):
    """The commands of one request and who sent them."""

    lines: Sequence[bytes]
    who: str
    answers: Future[list[str]]


class _Asked(NamedTuple):
    """A question about the books as they are between two groups."""

    question: Callable[[State], Any]
    answer: Future[Any]


class Books:
    """One journal of one tenant, open for commands. Every failure of the database is a :class:`JournalError`."""

    def __init__(self, where: str, tenant: str, store: Store, hub: Hub) -> None:
        """``where``: a journal that is there, a SQLite file or a database URL; an error says how one is made."""
        if where == ":memory:" or ("://" not in where and not Path(where).exists()):
            why = "is no journal that stays; `crossmargin clearing init --journal FILE` makes one"
            raise JournalError("serve", (Fault("--journal", where, why),))
        self.tenant, self._where, self._store, self._hub = tenant, where, store, hub
        self._desk = Desk(Journal(where), _installed)
        self._reader = Journal(where)
        self._reading = threading.Lock()
        self._failing = False
        self._verifying = asyncio.Lock()
        self._queue: SimpleQueue[_Sent | _Asked | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="books", daemon=True)
        self._thread.start()

    # what others call -------------------------------------------------------------------------------------------------

    def submit(self, lines: Sequence[bytes], who: str) -> Future[list[str]]:
        """The answers to command lines, once all of them are durable."""
        answers: Future[list[str]] = Future()
        self._put(_Sent(lines, who, answers))
        return answers

    def ask(self, question: Callable[[State], T]) -> Future[T]:
        """The answer to a question about the books; it sees all that is acknowledged, and nothing that is not."""
        answer: Future[T] = Future()
        self._put(_Asked(question, answer))
        return answer

    def _put(self, one: _Sent | _Asked) -> None:
        if self._queue.qsize() >= _WAITING:
            raise Problem(503, "busy", "Too much is waiting", headers={"Retry-After": "1"})
        self._queue.put(one)

    def page(self, after: int, limit: int) -> list[str]:
        """Records after a place as JSON lines, at most so many and about a megabyte; none where there are none."""
        found: list[str] = []
        size = 0
        with self._reading:
            for record in self._reader.records(after, chunk=min(limit, _READ)):
                found.append(line(record))
                size += len(found[-1])
                if len(found) == limit or size > _PAGE:
                    break
        return found

    def measure(self, meter: Meter) -> None:
        """Put the books' own figures beside those of the service."""
        meter.show("crossmargin_books_records", "Place of the last record.", lambda: self._desk.seq)
        meter.show("crossmargin_books_waiting", "Requests that wait for the writer.", self._queue.qsize)
        meter.show("crossmargin_books_failing", "1 while the journal cannot be written.", lambda: self._failing)

    async def verify(self) -> dict[str, Any]:
        """What ``crossmargin clearing verify`` finds, in a process of its own; one at a time."""
        if self._verifying.locked():
            raise Problem(503, "busy", "The journal is being verified", headers={"Retry-After": "60"})
        async with self._verifying:
            words = (sys.executable, "-m", "crossmargin.apps.cli", "clearing", "verify", "--json")
            pipe = asyncio.subprocess.PIPE
            # the journal may be named with a password: it goes where no list of processes shows it
            env = {**os.environ, "CROSSMARGIN_JOURNAL": self._where}
            process = await asyncio.create_subprocess_exec(*words, stdout=pipe, stderr=pipe, env=env)
            try:
                said, complaint = await process.communicate()
            finally:
                if process.returncode is None:  # nobody waits for it any more
                    process.kill()
        if not said:
            why = complaint.decode(errors="replace").strip()
            raise JournalError("verify", (Fault("journal", "", f"cannot be gone through: {why}"),))
        found: dict[str, Any] = json.loads(said)
        return found

    def close(self) -> None:
        """End when what waits is done."""
        self._queue.put(None)
        self._thread.join()
        self._desk.journal.close()
        self._reader.close()

    # the one thread that writes ---------------------------------------------------------------------------------------

    def _write(self) -> None:
        while (first := self._queue.get()) is not None:
            sent, asked, last = self._arrived(first)
            if sent:
                self._commit(sent)
            for question, answer in asked:
                self._answer(question, answer)
            if last:
                return

    def _arrived(self, first: _Sent | _Asked) -> tuple[list[_Sent], list[_Asked], bool]:
        """What has come since the last group: commands, questions, and whether this is the end."""
        found: list[_Sent | _Asked] = [first]
        count = 0
        last = False
        with suppress(Empty):
            while count < GROUP:
                one = self._queue.get_nowait()
                if one is None:
                    last = True
                    break
                found.append(one)
                count += len(one.lines) if isinstance(one, _Sent) else 1
        return [s for s in found if isinstance(s, _Sent)], [a for a in found if isinstance(a, _Asked)], last

    def _answer(self, question: Callable[[State], Any], answer: Future[Any]) -> None:
        try:
            answer.set_result(question(self._present()))
        except Exception as error:
            answer.set_exception(error)

    def _present(self) -> State:
        self._desk.submit([])  # books that are ahead of a journal that failed are read again first
        return self._desk.state

    def _commit(self, sent: Sequence[_Sent]) -> None:
        try:
            self._note(sent)
            self._present()
            before = self._desk.seq
            answers = iter(self._desk.submit([one for request in sent for one in request.lines]))
        except Exception as error:
            self._failing = True
            if len(sent) > 1 and not isinstance(error, JournalError | StoreError):
                for request in sent:  # one request must not take its neighbours with it
                    self._commit([request])
            else:
                for request in sent:
                    request.answers.set_exception(error)
            return
        self._failing = False
        for request in sent:
            request.answers.set_result(list(islice(answers, len(request.lines))))
        self._tell(before)

    def _note(self, sent: Sequence[_Sent]) -> None:
        """What each caller sends, in the audit log, before it happens: what cannot be noted is not done."""
        by: dict[str, list[bytes]] = {}
        for lines, who, _ in sent:
            by.setdefault(who, []).extend(lines)
        with self._store.changing(self.tenant) as tx:
            for who, lines in by.items():
                body = digest("\n".join(one.decode(errors="backslashreplace") for one in lines))
                self._store.audit(tx, self.tenant, who, "clearing.commands", f"{len(lines)} commands", after=body)

    def _tell(self, before: int) -> None:
        """A group's records to who listens, as one message; a large one is told as news only."""
        if self._desk.seq == before or not self._hub.count():
            return
        with suppress(Exception):  # they are written and acknowledged: whatever fails here, the writer goes on
            records = [json.loads(line(record)) for record in self._desk.journal.records(before)]
            self._hub.publish(self.tenant, {"type": "record", "after": before, "records": records})
