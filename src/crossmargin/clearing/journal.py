"""The journal: an append-only file of commands with their events, each record chained to the one before by its hash.

One SQLite file (WAL, ``synchronous=FULL``) or a PostgreSQL database, by the same SQLAlchemy Core statements; tables are
made and brought up to date by alembic. A record is written in the transaction of its group, and a command is
acknowledged when that transaction is committed, never before. The primary key is the place in the journal: a second
writer finds its place taken and is refused, so one journal has one history.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from crossmargin.errors import CrossmarginError, JournalError
from crossmargin.files.database import Database, sa

_KNOWN = sa.MetaData()
_RECORDS = sa.Table(
    "records",
    _KNOWN,
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    *(sa.Column(name, sa.Text) for name in ("at", "command_id", "command", "events", "hash")),
)
_SNAPSHOTS = sa.Table(
    "snapshots",
    _KNOWN,
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    *(sa.Column(name, sa.Text) for name in ("chain", "hash", "state")),
)

GENESIS = "0" * 64
"""What the first record is chained to."""


class Record(NamedTuple):
    """One accepted or refused command with its events; ``command`` and ``events`` are canonical JSON."""

    seq: int
    at: str
    command_id: str
    command: str
    events: str
    hash: str


class Snapshot(NamedTuple):
    """The state after record ``seq``, whose hash is ``chain``; ``hash`` is that of the text ``state``."""

    seq: int
    chain: str
    hash: str
    state: str


def chained(previous: str, seq: int, at: str, command: str, events: str) -> str:
    """The hash of a record: SHA-256 of the hash before it, its place, its time, the command and the events.

    >>> chained(GENESIS, 1, "2026-11-20T08:00:00Z", "{}", "[]")[:8]
    '4a8141d0'
    """
    return hashlib.sha256(f"{previous}\n{seq}\n{at}\n{command}\n{events}".encode()).hexdigest()


class Journal:
    """One journal, open. Every error of the database below is a :class:`JournalError`."""

    def __init__(self, where: str) -> None:
        """``where``: the path of a SQLite file, or a database URL (``postgresql+psycopg://...``)."""
        self.where = where
        self._database = Database(where, Path(__file__).with_name("migrations"), JournalError)
        try:
            self._connection: sa.Connection = self._database.engine.connect()
        except Exception as error:
            self._database.close()
            raise self._failed("cannot be opened", error) from error
        insert = _RECORDS.insert().compile(dialect=self._connection.dialect, column_keys=list(Record._fields))
        self._insert, self._by_place = str(insert), bool(insert.positional)

    def _failed(self, what: str, error: Exception) -> CrossmarginError:
        return self._database.failed(what, error)

    # writing ---------------------------------------------------------------------------------------------------------

    def append(self, records: Sequence[Record]) -> None:
        """Write a group of records in one transaction: all of them are durable when this returns, or none."""
        if not records:
            return
        try:
            # as a text for the driver: the statement is compiled once, and its values are plain texts and a number
            rows = [tuple(one) if self._by_place else one._asdict() for one in records]
            self._connection.exec_driver_sql(self._insert, rows)
            self._connection.commit()
        except Exception as error:
            self._roll_back()
            raise self._failed(f"records {records[0].seq} to {records[-1].seq} are not written", error) from error

    def keep(self, snapshot: Snapshot) -> None:
        """Write a snapshot; one that is there already is left as it is."""
        try:
            known = self._connection.execute(_SNAPSHOTS.select().where(_SNAPSHOTS.c.seq == snapshot.seq)).first()
            if known is None:
                self._connection.execute(_SNAPSHOTS.insert(), [snapshot._asdict()])
            self._connection.commit()
        except Exception as error:
            self._roll_back()
            raise self._failed(f"the snapshot of {snapshot.seq} is not written", error) from error

    def _roll_back(self) -> None:
        try:
            self._connection.rollback()
        except Exception:  # the connection itself is gone: the next statement gets a new one
            self._connection.invalidate()

    # reading ---------------------------------------------------------------------------------------------------------

    def find(self, command_ids: Iterable[str]) -> dict[str, Record]:
        """The records of commands, by their ids."""
        wanted = list(command_ids)
        found = {}
        for start in range(0, len(wanted), 500):
            query = _RECORDS.select().where(_RECORDS.c.command_id.in_(wanted[start : start + 500]))
            for row in self._rows(query):
                found[row[2]] = Record(*row)
        return found

    def unanswered(self, first: str, then: str) -> list[Record]:
        """The records whose command id is ``first`` and a name, where none is ``then`` and that name."""
        other = _RECORDS.alias()
        name = sa.func.substr(_RECORDS.c.command_id, len(first) + 1)
        followed = sa.exists().where(other.c.command_id == sa.literal(then).concat(name))
        query = _RECORDS.select().where(_RECORDS.c.command_id.like(f"{first}%"), ~followed).order_by(_RECORDS.c.seq)
        return [Record(*row) for row in self._rows(query)]

    def command_ids(self, up_to: int, chunk: int = 100_000) -> Iterator[str]:
        """The ids of every command up to a place."""
        for start in range(0, up_to, chunk):
            within = _RECORDS.c.seq.between(start + 1, min(start + chunk, up_to))
            yield from [name for (name,) in self._rows(sa.select(_RECORDS.c.command_id).where(within))]

    def records(self, after: int = 0, chunk: int = 5000) -> Iterator[Record]:
        """The records after a place, in order."""
        while True:
            query = _RECORDS.select().where(_RECORDS.c.seq > after).order_by(_RECORDS.c.seq).limit(chunk)
            rows = self._rows(query)
            for row in rows:
                yield Record(*row)
            if len(rows) < chunk:
                return
            after = rows[-1][0]

    def snapshot_places(self) -> list[int]:
        """The records after which a snapshot is kept, newest first."""
        return [seq for (seq,) in self._rows(sa.select(_SNAPSHOTS.c.seq).order_by(_SNAPSHOTS.c.seq.desc()))]

    def snapshot_at(self, seq: int) -> Snapshot:
        """The snapshot after a record, one of :meth:`snapshot_places`."""
        (row,) = self._rows(_SNAPSHOTS.select().where(_SNAPSHOTS.c.seq == seq))
        return Snapshot(*row)

    def length(self) -> int:
        """How many records there are: the place of the last."""
        return int(self._rows(sa.select(sa.func.coalesce(sa.func.max(_RECORDS.c.seq), 0)))[0][0])

    def _rows(self, query: Any) -> list[Any]:
        try:
            found = list(self._connection.execute(query).fetchall())
            self._connection.rollback()  # a read holds no transaction open
        except Exception as error:
            self._roll_back()
            raise self._failed("cannot be read", error) from error
        return found

    def close(self) -> None:
        """Let go of the database."""
        self._connection.close()
        self._database.close()
