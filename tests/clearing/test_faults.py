"""What disks, processes and servers do: killed, cut off, half written, one bit turned. Nothing acknowledged is lost.

The required behaviour is that of the fault list: an acknowledged command is there, once; the database is whole; the
replay ends at the same hash; damage is named, never read over.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import random
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from child import serve
from stores import RESTART, SERVER, STORES, place
from test_journal import lines
from world import rules_of

from crossmargin.clearing.audit import verify
from crossmargin.clearing.desk import Desk, check
from crossmargin.clearing.journal import GENESIS, Journal
from crossmargin.clearing.state import state_hash
from crossmargin.errors import JournalError

LINES = lines(seed=2, steps=40)
LONG = lines(seed=9, steps=80)


@pytest.fixture(params=STORES)
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with place(request.param, tmp_path) as found:
        yield found


@contextlib.contextmanager
def books(where: str) -> Iterator[Desk]:
    with contextlib.closing(Journal(where)) as journal:
        yield Desk(journal, rules_of)


def expected(commands: list[str]) -> tuple[list[str], str, str]:
    """The answers, the chain and the state of commands that nothing disturbs."""
    with books(":memory:") as desk:
        return desk.submit(commands), desk.chain, state_hash(desk.state)


# kill -9 --------------------------------------------------------------------------------------------------------------


def answers_until_killed(where: str, wanted: list[str], kill_after: int) -> list[str]:
    """The answers of a process that is killed when it has given so many; 0 = when it has what it is asked, at once."""
    context = multiprocessing.get_context("forkserver")  # a fork of a process that has loaded everything already
    context.set_forkserver_preload(["child", "crossmargin.clearing.desk", "crossmargin.files.profiles", "pydantic"])
    (source, feed), (said, target) = context.Pipe(duplex=False), context.Pipe(duplex=False)
    process = context.Process(target=serve, args=(where, source, target))
    process.start()
    source.close()
    target.close()
    heard = b""
    for start in range(0, len(wanted), 7):  # in groups that the process meets in its own time
        os.write(feed.fileno(), "".join(line + "\n" for line in wanted[start : start + 7]).encode())
    while heard.count(b"\n") < kill_after and (more := os.read(said.fileno(), 1 << 12)):
        heard += more
    os.kill(process.pid or 0, signal.SIGKILL)
    while more := os.read(said.fileno(), 1 << 16):  # what it had written before: acknowledged as well
        heard += more
    process.join()
    process.close()
    feed.close()
    said.close()
    return heard.decode().split("\n")[:-1]  # a line that was cut was not acknowledged


def test_sixty_kills_lose_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    where = str(tmp_path / "books.db")
    Journal(where).close()
    right, chain, state = expected(LONG)
    rng = random.Random(11)
    acknowledged = 0
    for _ in range(60):
        # from a little before the last answer, as a client does that does not know; never to the end
        begin = max(0, acknowledged - rng.randrange(6))
        wanted = LONG[begin : begin + 90]
        answers = answers_until_killed(where, wanted, rng.choice((0, 1, 1, 2, 5, 9, 14)))
        assert answers == right[begin : begin + len(answers)], "the same answers as without the kills"
        acknowledged = max(acknowledged, begin + len(answers))
        with contextlib.closing(sqlite3.connect(where)) as raw:
            assert raw.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            ((kept,),) = raw.execute("SELECT count(*) FROM records").fetchall()
        assert kept >= acknowledged
        if acknowledged > len(LONG) - 100:  # begin again on new books: every kill meets work
            acknowledged, where = 0, f"{where}+"
            Journal(where).close()
    with books(where) as desk:
        assert desk.submit(LONG) == right
        found = verify(desk.journal)
        assert (desk.chain, found.chain, found.state_hash, found.findings) == (chain, chain, state, ())


# power cuts -----------------------------------------------------------------------------------------------------------

PAGE = 4096


class Disk:
    """A disk that keeps only what was synced, and of the rest what chance leaves of it.

    SQLite in WAL mode with ``synchronous=FULL`` syncs the log before a commit returns, and a checkpoint syncs the
    database before it begins the log anew. So between two commits two things may be half done: the log's new frames,
    and the pages that a checkpoint writes. ``after`` is the disk of each commit, acknowledged and synced.
    """

    def __init__(self, where: Path) -> None:
        self.where = where
        self.after: list[tuple[bytes, bytes]] = []

    def keep(self) -> None:
        self.after.append((self.where.read_bytes(), self.where.with_name(f"{self.where.name}-wal").read_bytes()))

    def cuts(self, i: int, rng: random.Random) -> Iterator[tuple[bytes, bytes]]:
        """Disks that a power cut between commit ``i`` and the next may leave."""
        (main, log), (main_then, log_then) = self.after[i], self.after[i + 1]
        same = next(at for at in range(0, len(log_then), 8) if log_then[at : at + 8] != log[at : at + 8])
        new = len(log_then) - same  # what was written since: at the end, or, where the log began anew, over old frames
        for some in {1, 24, new, rng.randrange(new)}:
            at = same + some
            yield main, log_then[:at] + log[at:]
            yield main, log_then[:same] + rng.randbytes(some) + log_then[at:]
        if main != main_then:  # a checkpoint half done: any of its pages may be there, the log has them all
            for _ in range(4):
                yield _some_pages(main, main_then, rng), log_then


def _some_pages(old: bytes, new: bytes, rng: random.Random) -> bytes:
    pages = []
    for at in range(0, len(new), PAGE):
        kept = new[at : at + PAGE] if rng.random() < 0.5 else old[at : at + PAGE]
        pages.append(kept or bytes(PAGE))
    return b"".join(pages)


def test_a_power_cut_keeps_every_acknowledged_command(tmp_path: Path) -> None:
    """Between any two commits, whatever is left of what was not synced: what was acknowledged is there."""
    right, _, _ = expected(LINES)
    here = tmp_path / "books.db"
    disk = Disk(here)
    checkpoints = cut = 0
    with books(str(here)) as desk:
        desk.journal._connection.execute(sa.text("PRAGMA wal_autocheckpoint=12"))
        desk.journal._connection.rollback()
        for line in LINES:
            desk.submit([line])
            disk.keep()
    rng = random.Random(4)
    for i in range(len(LINES) - 1):
        checkpoints += disk.after[i][0] != disk.after[i + 1][0]
        for main, log in disk.cuts(i, rng):
            cut += 1
            there = tmp_path / "cut.db"
            there.with_name("cut.db-shm").unlink(missing_ok=True)
            there.write_bytes(main)
            there.with_name("cut.db-wal").write_bytes(log)
            with contextlib.closing(sqlite3.connect(there)) as raw:
                assert raw.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
                rows = raw.execute("SELECT seq, command, hash FROM records ORDER BY seq").fetchall()
            assert [seq for seq, _, _ in rows] == list(range(1, len(rows) + 1))
            assert len(rows) in (i + 1, i + 2), "what was acknowledged, and perhaps the command that was under way"
    assert checkpoints > 5 and cut > 700
    # and a journal that was cut goes on to the same end
    for i in (5, len(LINES) // 2):
        main, log = disk.after[i]
        there.write_bytes(main)
        there.with_name("cut.db-wal").write_bytes(log)
        there.with_name("cut.db-shm").unlink(missing_ok=True)
        with books(str(there)) as desk:
            assert desk.seq == i + 1
            assert desk.submit(LINES) == right
            assert verify(desk.journal).findings == ()


# a bit turned ---------------------------------------------------------------------------------------------------------


def test_every_byte_of_a_journal_of_ten_kilobytes_turned_once_is_found_in_its_record() -> None:
    with books(":memory:") as desk:
        desk.submit(LINES)
        records, size = [], 0
        for record in desk.journal.records():
            records.append(record)
            size += sum(len(str(part)) for part in record)
            if size > 10_500:
                break
    chain, turned = GENESIS, 0
    for seq, record in enumerate(records):
        check(record, seq, chain)
        for name in ("at", "command_id", "command", "events", "hash"):
            text = getattr(record, name)
            for at in range(len(text)):
                wrong = record._replace(**{name: text[:at] + chr(ord(text[at]) ^ 1) + text[at + 1 :]})
                with pytest.raises(JournalError, match=f"record {seq + 1}"):
                    check(wrong, seq, chain)
                turned += 1
        with pytest.raises(JournalError):
            check(record._replace(seq=record.seq ^ 1), seq, chain)
        chain = record.hash
    assert turned >= 10_000


def test_a_bit_turned_anywhere_in_the_file_is_found_or_changes_nothing(tmp_path: Path) -> None:
    """Indexes, page headers, free space included: what is read is what was written, or there is an error."""
    here, there = tmp_path / "books.db", tmp_path / "turned.db"
    with books(str(here)) as desk:
        desk.submit(LINES[:40])
        right = (desk.seq, desk.chain, state_hash(desk.state))
    whole = here.read_bytes()
    rng = random.Random(3)
    found = 0
    for at in (*range(16, 100, 12), *(rng.randrange(len(whole)) for _ in range(40))):
        there.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << rng.randrange(8)]) + whole[at + 1 :])
        there.with_name("turned.db-wal").unlink(missing_ok=True)
        try:
            with books(str(there)) as desk:
                checked = verify(desk.journal)
                assert checked.findings or (checked.records, checked.chain, checked.state_hash) == right, at
                found += bool(checked.findings)
        except JournalError:
            found += 1
    assert found > 10


# the server -----------------------------------------------------------------------------------------------------------


class Cut:
    """A connection that is lost at a moment of a commit: before it, or after it with the result unknown."""

    def __init__(self, desk: Desk, *, after: bool) -> None:
        self.desk = desk
        self.connection = desk.journal._connection
        self.after = after

    def commit(self) -> None:
        if self.after:
            self.connection.commit()
        if SERVER and self.connection.dialect.name == "postgresql":
            self._ended_by_the_server()
        raise sa.exc.OperationalError("COMMIT", {}, OSError("server closed the connection unexpectedly"))

    def _ended_by_the_server(self) -> None:
        """The backend is really gone: the journal must come back by itself."""
        driver: Any = self.connection.connection.driver_connection
        server = sa.create_engine(SERVER or "", isolation_level="AUTOCOMMIT")
        with server.connect() as other:
            other.execute(sa.text("SELECT pg_terminate_backend(:pid)"), {"pid": driver.info.backend_pid})
        server.dispose()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.connection, name)


@pytest.mark.parametrize("after", [False, True], ids=["before COMMIT", "after COMMIT"])
def test_a_connection_lost_at_the_commit_leaves_one_effect(where: str, after: bool) -> None:
    right, chain, state = expected(LINES)
    with books(where) as desk:
        said = desk.submit(LINES[:20])
        real = desk.journal._connection
        desk.journal._connection = Cut(desk, after=after)
        with pytest.raises(JournalError, match="closed the connection"):
            desk.submit(LINES[20:30])
        desk.journal._connection = real
        # the client does not know, and sends it again
        said += desk.submit(LINES[20:30])
        said += desk.submit(LINES[30:])
        assert said == right
        found = verify(desk.journal)
        assert (found.chain, found.state_hash, found.findings) == (chain, state, ())


def test_books_that_cannot_be_read_again_take_nothing_until_they_can(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server is away for longer than one command: books ahead of their journal must not go on from there."""
    right, chain, _ = expected(LINES)

    def away(*_: Any) -> None:
        raise OSError("the database system is starting up")

    with books(where) as desk:
        desk.submit(LINES[:20])
        with monkeypatch.context() as gone:
            for name in ("execute", "exec_driver_sql", "commit", "rollback"):
                gone.setattr(desk.journal._connection, name, away)
            gone.setattr(desk.journal._connection, "invalidate", lambda: None)
            for _ in range(3):
                with pytest.raises(JournalError, match="starting up"):
                    desk.submit(LINES[20:22])
        assert desk.submit(LINES[22:23]) != right[22:23]  # what came before it never happened
        assert desk.seq == 21
        assert verify(desk.journal).findings == ()
    assert chain


@pytest.mark.parametrize("round_", range(3))
def test_a_server_restarted_in_mid_transaction_loses_nothing(tmp_path: Path, round_: int) -> None:
    right, chain, state = expected(LINES)
    with place("postgresql", tmp_path) as where, books(where) as desk:
        at = (7, 31, 60)[round_]
        desk.submit(LINES[:at])
        real = desk.journal._connection.commit

        def restarted() -> None:
            subprocess.run(RESTART or "", shell=True, check=True, stdout=subprocess.DEVNULL)
            real()

        desk.journal._connection.commit = restarted
        with pytest.raises(JournalError):
            desk.submit(LINES[at : at + 5])
        desk.journal._connection.commit = real
        assert desk.submit(LINES) == right
        assert (desk.chain, state_hash(desk.state)) == (chain, state)
        assert json.loads(right[0])["accepted"] and verify(desk.journal).findings == ()


if not RESTART:  # nothing to restart: no such test
    del test_a_server_restarted_in_mid_transaction_loses_nothing
