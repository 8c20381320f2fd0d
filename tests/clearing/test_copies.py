"""Copies of the books made while they are written, and back from them: by the commands of docs/operating.md, run."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from stores import SERVER, STORES
from world import rules_of

from crossmargin.apps.store.store import Store
from crossmargin.apps.store.tokens import create_token
from crossmargin.clearing.audit import verify
from crossmargin.clearing.desk import Desk
from crossmargin.clearing.journal import Journal

ROOT = Path(__file__).parents[2]
BLOCKS = re.findall(r"^```sh\n(.*?)^```", (ROOT / "docs" / "operating.md").read_text(), re.MULTILINE | re.DOTALL)
FILE_COPY, FILE_BACK, SERVER_COPY, SERVER_BACK, REPAIR = BLOCKS


def commands() -> Iterator[str]:
    """Deposits without end, each with an id of its own, after the start and an account."""
    at = "2026-11-20T08:00:00Z"
    yield json.dumps({"kind": "start", "command_id": "start", "at": at})
    rules = {"kind": "change_rules", "command_id": "rules", "at": at, "profile": "plain-cross", "on": "2026-11-20"}
    yield json.dumps(rules)
    opened = {"kind": "open_account", "command_id": "open", "at": at, "account": "a", "profile": "plain-cross"}
    yield json.dumps(opened)
    count = 0
    while True:
        count += 1
        yield json.dumps(
            {"kind": "deposit", "command_id": f"d{count}", "at": at, "account": "a", "asset": "USDT", "amount": "1"}
        )


class Room:
    """A machine as the page has it, its folders moved into one that is the test's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lib, self.backups, bin_ = folder / "lib", folder / "backups", folder / "bin"
        for made in (self.lib, self.backups, bin_):
            made.mkdir()
        programs = {"crossmargin": f'exec {sys.executable} -m crossmargin.apps.cli "$@"'}
        if shutil.which("sqlite3") is None:  # the library is there even where its shell is not
            body = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute(sys.argv[2])"
            programs["sqlite3"] = f'exec {sys.executable} -c "{body}" "$@"'
        for name, body in programs.items():
            (bin_ / name).write_text(f"#!/bin/sh\n{body}\n")
            (bin_ / name).chmod(0o755)
        self.env = {**os.environ, "PATH": f"{bin_}:{os.environ['PATH']}", "NO_COLOR": "1", "COLUMNS": "200"}
        if SERVER:
            url = sa.make_url(SERVER)
            parts = {"PGHOST": url.host, "PGPORT": url.port, "PGUSER": url.username, "PGPASSWORD": url.password}
            self.env |= {name: str(value) for name, value in parts.items() if value is not None}

    def run(self, block: str) -> str:
        """What a block of the page prints; every command of it must succeed."""
        moved = block.replace("/var/lib/crossmargin", str(self.lib)).replace(
            "/var/backups/crossmargin", str(self.backups)
        )
        found = subprocess.run(
            ["sh", "-ec", moved], capture_output=True, text=True, check=False, env=self.env, cwd=self.folder
        )
        assert found.returncode == 0, found.stdout + found.stderr
        return found.stdout


@contextmanager
def writing(where: str, at_least: int) -> Iterator[list[str]]:
    """Commands written one by one until the end of the block; those that were acknowledged."""
    done: list[str] = []
    enough, stop = threading.Event(), threading.Event()

    def writes() -> None:
        journal = Journal(where)
        desk = Desk(journal, rules_of)
        for line in commands():
            (said,) = desk.submit([line])
            assert json.loads(said)["accepted"]
            done.append(line)
            if len(done) == at_least:
                enough.set()
            if stop.is_set():
                break
        journal.close()

    thread = threading.Thread(target=writes)
    thread.start()
    assert enough.wait(30)
    yield done
    stop.set()
    thread.join()


@pytest.fixture(params=STORES)
def places(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Room, str, str]]:
    """A room with a store and a journal of the names that the page has."""
    room = Room(tmp_path)
    if request.param == "sqlite":
        yield room, str(room.lib / "service.db"), str(room.lib / "books.db")
        return
    server = sa.create_engine(SERVER or "", isolation_level="AUTOCOMMIT")
    made = []
    try:
        for name in ("crossmargin", "books"):
            with server.connect() as connection:
                connection.execute(sa.text(f"CREATE DATABASE {name}"))  # fails where there is one: it is left alone
            made += [name, f"{name}_restored"]
        yield (
            room,
            *(server.url.set(database=n).render_as_string(hide_password=False) for n in ("crossmargin", "books")),
        )
    finally:
        for name in made:
            with server.connect() as connection:
                connection.execute(sa.text(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
        server.dispose()


def chain(where: str, up_to: int | None = None) -> tuple[int, str]:
    """How many records, and the hash of the last (or of the one at a place)."""
    journal = Journal(where)
    records = [record.hash for record in journal.records()][:up_to]
    journal.close()
    return len(records), records[-1]


def test_a_copy_made_while_writing_goes_on_is_whole_and_leads_back(places: tuple[Room, str, str]) -> None:
    room, store, books = places
    kept = Store(store)
    create_token(kept, "desk", "operator", ("read",), who="test", days=None)
    kept.close()
    files = "://" not in books
    with writing(books, at_least=20) as done:
        before = len(done)
        said = room.run(FILE_COPY if files else SERVER_COPY)
        assert len(done) > before, "writing went on meanwhile"
    if files:
        assert re.search(r"^\d+ records are right", said)
        for path in room.lib.iterdir():
            path.write_bytes(b"damaged beyond repair")
        restored = books
    else:
        restored = f"{books}_restored"
    told = room.run(FILE_BACK if files else SERVER_BACK)
    count, last = chain(restored)
    assert f"{count} records are right; chain {last}" in told
    assert "operator" in told
    assert before <= count <= len(done)
    # the clients send everything again: what the copy has is known, the rest happens
    journal = Journal(restored)
    desk = Desk(journal, rules_of)
    answers = desk.submit(done)
    assert [json.loads(one)["seq"] for one in answers] == list(range(1, len(done) + 1))
    assert (verify(journal).records, verify(journal).findings) == (len(done), ())
    journal.close()
    if not files:
        assert chain(books) == (len(done), desk.chain)


def test_what_a_damaged_journal_still_has_is_applied_to_a_copy(tmp_path: Path) -> None:
    """Ten records are in the copy; in the damaged file the events of record 15 have been changed."""
    room = Room(tmp_path)
    lines = [line for line, _ in zip(commands(), range(30), strict=False)]
    for name, count in (("books.db", 10), ("damaged.db", 30), ("whole.db", 30)):
        journal = Journal(str(tmp_path / name))
        Desk(journal, rules_of).submit(lines[:count])
        journal.close()
    with sqlite3.connect(tmp_path / "damaged.db") as connection:
        connection.execute("UPDATE records SET events = replace(events, '\"1\"', '\"9\"') WHERE seq = 15")
    connection.close()
    journal = Journal(str(tmp_path / "damaged.db"))
    assert verify(journal).findings[0].where == "record 15"
    journal.close()
    told = room.run(REPAIR)
    assert "30 records are right" in told
    assert chain(str(tmp_path / "books.db")) == chain(str(tmp_path / "whole.db"))
