"""The store of the service: one SQLite file or a PostgreSQL database. Every row bears its tenant.

A change is made in one transaction with its audit record and the answer that was given to it, so that a request that
is repeated after a failure finds either all of it or nothing.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from crossmargin.apps.store.tables import ACCOUNTS, ANSWERS, AUDIT, HISTORY, SNAPSHOTS
from crossmargin.apps.store.wall import no_wall, say_tenant
from crossmargin.errors import StoreError
from crossmargin.files.database import Database, sa

_AT_ONCE = 500
"""Accounts named in one statement: databases bound how many values it may have."""
GENESIS = "0" * 64
"""What the first record of an audit log is chained to."""


class Stored(NamedTuple):
    """An account as it is stored now; ``summary`` is its verdict as JSON, ``snapshot`` the hash of its file."""

    id: str
    snapshot: str
    taken_at: str
    summary: str


class Ready(NamedTuple):
    """An account to be stored: its file and its verdict as JSON, and the figures of :class:`Moment` by name."""

    id: str
    file: str
    summary: str
    moment: Mapping[str, Any]


class Moment(NamedTuple):
    """What an account was worth when a snapshot was taken; a figure that is unknown is None."""

    taken_at: str
    snapshot: str
    currency: str
    equity: str | None
    maintenance_margin: str | None
    headroom: str | None
    status: str


class Answer(NamedTuple):
    """What was answered to a request that changes something: status, entity tag (or nothing) and body."""

    status: int
    etag: str
    body: str


class AuditRecord(NamedTuple):
    """Who did what to which object, and the hashes (or texts) of it before and after; chained to the one before."""

    seq: int
    at: str
    who: str
    what: str
    object: str
    before: str
    after: str
    hash: str


def now() -> str:
    """The present moment as it is written in the store."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def digest(text: str) -> str:
    """The SHA-256 of a text: the name of a snapshot, and how a token is known."""
    return hashlib.sha256(text.encode()).hexdigest()


class Store:
    """The rooms of the service, open. Every error of the database below is a :class:`StoreError`.

    ``where``: the path of a SQLite file, or a database URL (``postgresql+psycopg://...``). ``new`` says whether it
    held no account, token or audit record when it was opened; ``no_wall`` why the database itself does not keep tenants
    apart (None = it does); ``is_file`` whether it is SQLite.
    """

    def __init__(self, where: str) -> None:
        self.where = where
        migrations = Path(__file__).with_name("migrations")
        if "://" not in where:
            Path(where).parent.mkdir(parents=True, exist_ok=True)
        self._database = Database(where, migrations, StoreError, versions="store_version")
        # SQLite has one writer at a time: here they queue, instead of meeting a locked database
        self.is_file = self._database.engine.dialect.name == "sqlite"
        self._writer = threading.Lock() if self.is_file else None
        with self.reading(None) as tx:
            self.new = tx.execute(sa.select(AUDIT.c.seq).limit(1)).first() is None
            self.no_wall = no_wall(tx)

    @contextmanager
    def changing(self, tenant: str | None) -> Iterator[sa.Connection]:
        """One transaction for a tenant that is committed at its end, or undone by an exception.

        ``tenant``: whose rows it may see and write; None is the service's own work, across all of them. PostgreSQL
        holds to it whatever is asked in the transaction; on SQLite the statements alone do.
        """
        if self._writer is not None:
            with self._writer, self._transaction("cannot be written", tenant) as tx:
                yield tx
        else:
            with self._transaction("cannot be written", tenant) as tx:
                yield tx

    @contextmanager
    def reading(self, tenant: str | None) -> Iterator[sa.Connection]:
        """A transaction to read by, for a tenant or (None) for the service itself, as :meth:`changing` has it."""
        with self._transaction("cannot be read", tenant) as tx:
            yield tx

    @contextmanager
    def _transaction(self, what: str, tenant: str | None) -> Iterator[sa.Connection]:
        try:
            with self._database.engine.begin() as connection:
                say_tenant(connection, tenant)
                yield connection
        except sa.exc.SQLAlchemyError as error:
            raise self._database.failed(what, error) from error

    def close(self) -> None:
        """Let go of the database."""
        self._database.close()

    # accounts --------------------------------------------------------------------------------------------------------

    def accounts(self, tx: sa.Connection, tenant: str) -> list[Stored]:
        """The accounts of a tenant, by id."""
        query = ACCOUNTS.select().where(ACCOUNTS.c.tenant == tenant).order_by(ACCOUNTS.c.id)
        return [Stored(*row[1:]) for row in tx.execute(query)]

    def files(self, tx: sa.Connection, tenant: str) -> list[tuple[Stored, str]]:
        """The accounts of a tenant, by id, each with its account file."""
        of = (SNAPSHOTS.c.tenant == ACCOUNTS.c.tenant, SNAPSHOTS.c.account == ACCOUNTS.c.id)
        query = sa.select(ACCOUNTS, SNAPSHOTS.c.file).where(ACCOUNTS.c.tenant == tenant)
        query = query.where(*of, SNAPSHOTS.c.id == ACCOUNTS.c.snapshot).order_by(ACCOUNTS.c.id)
        return [(Stored(*row[1:-1]), row[-1]) for row in tx.execute(query)]

    def account(self, tx: sa.Connection, tenant: str, account: str) -> Stored | None:
        """One account of a tenant."""
        query = ACCOUNTS.select().where(ACCOUNTS.c.tenant == tenant, ACCOUNTS.c.id == account)
        row = tx.execute(query).first()
        return None if row is None else Stored(*row[1:])

    def snapshot(self, tx: sa.Connection, tenant: str, account: str, snapshot: str) -> str | None:
        """The account file that a snapshot holds, as JSON."""
        query = sa.select(SNAPSHOTS.c.file).where(
            SNAPSHOTS.c.tenant == tenant, SNAPSHOTS.c.account == account, SNAPSHOTS.c.id == snapshot
        )
        found: str | None = tx.execute(query).scalar()
        return found

    def put_accounts(self, tx: sa.Connection, tenant: str, ready: Sequence[Ready]) -> list[Stored]:
        """Store accounts as they are now, each with a moment of its history: a few statements, however many they are.

        No account may stand twice among them.
        """
        made = [Stored(one.id, digest(one.file), now(), one.summary) for one in ready]
        last: dict[str, int] = {}
        files: set[tuple[str, str]] = set()
        for start in range(0, len(made), _AT_ONCE):
            part = made[start : start + _AT_ONCE]
            where = (ACCOUNTS.c.tenant == tenant, ACCOUNTS.c.id.in_([one.id for one in part]))
            last.update(
                (row[0], row[1] or 0) for row in tx.execute(sa.select(ACCOUNTS.c.id, _LAST_MOMENT).where(*where))
            )
            named = sa.tuple_(SNAPSHOTS.c.account, SNAPSHOTS.c.id).in_([(one.id, one.snapshot) for one in part])
            query = sa.select(SNAPSHOTS.c.account, SNAPSHOTS.c.id).where(SNAPSHOTS.c.tenant == tenant, named)
            files.update((row[0], row[1]) for row in tx.execute(query))
        rows = [{"of": tenant, "which": one.id, "tenant": tenant, **one._asdict()} for one in made]
        _execute(tx, _RENEWED, [row for row in rows if row["id"] in last])
        _execute(tx, ACCOUNTS.insert(), [row for row in rows if row["id"] not in last])
        both = list(zip(ready, made, strict=True))
        _execute(
            tx,
            SNAPSHOTS.insert(),
            [
                {"tenant": tenant, "account": now.id, "id": now.snapshot, "file": one.file}
                for one, now in both
                if (now.id, now.snapshot) not in files
            ],
        )
        moments = [
            Moment(now.taken_at, now.snapshot, **one.moment)._asdict()
            | {"tenant": tenant, "account": now.id, "seq": last.get(now.id, 0) + 1}
            for one, now in both
        ]
        _execute(tx, HISTORY.insert(), moments)
        return made

    def delete_account(self, tx: sa.Connection, tenant: str, account: str) -> None:
        """Forget an account with its snapshots and its history; what was done to it stays in the audit log."""
        for table, column in ((HISTORY, "account"), (SNAPSHOTS, "account"), (ACCOUNTS, "id")):
            tx.execute(table.delete().where(table.c.tenant == tenant, table.c[column] == account))

    def history(self, tx: sa.Connection, tenant: str, account: str, since: str = "", limit: int = 1000) -> list[Moment]:
        """The last moments of an account at or after ``since``, oldest first."""
        columns = [HISTORY.c[name] for name in Moment._fields]
        query = sa.select(*columns).where(HISTORY.c.tenant == tenant, HISTORY.c.account == account)
        query = query.where(HISTORY.c.taken_at >= since).order_by(HISTORY.c.seq.desc()).limit(limit)
        return [Moment(*row) for row in reversed(tx.execute(query).fetchall())]

    # answers already given -------------------------------------------------------------------------------------------

    def answered(self, tx: sa.Connection, tenant: str, key: str) -> tuple[str, Answer] | None:
        """What was asked and answered under an idempotency key: the hash of the request, and the answer."""
        columns = [ANSWERS.c[name] for name in ("request", "status", "etag", "body")]
        row = tx.execute(sa.select(*columns).where(ANSWERS.c.tenant == tenant, ANSWERS.c.key == key)).first()
        return None if row is None else (row[0], Answer(*row[1:]))

    def remember(self, tx: sa.Connection, tenant: str, key: str, request: str, answer: Answer) -> None:
        """Keep an answer under its key; a second one under the same key fails, and with it its transaction."""
        row = {"tenant": tenant, "key": key, "request": request, "given_at": now(), **answer._asdict()}
        tx.execute(ANSWERS.insert(), row)

    # who did what ----------------------------------------------------------------------------------------------------

    def alone(self, tx: sa.Connection, tenant: str) -> None:
        """Wait until nobody else changes what is this tenant's, in whatever process; until the transaction ends."""
        if not self.is_file:  # that has one writer anyway
            tx.execute(_ONE_BY_ONE, {"tenant": tenant})

    def audit(
        self, tx: sa.Connection, tenant: str, who: str, what: str, object: str, before: str = "", after: str = ""
    ) -> None:
        """Add a record to the tenant's audit log, in the transaction of what it tells."""
        self.alone(tx, tenant)  # who writes next waits for the record that its own is chained to
        query = sa.select(AUDIT.c.seq, AUDIT.c.hash).where(AUDIT.c.tenant == tenant).order_by(AUDIT.c.seq.desc())
        seq, previous = tx.execute(query.limit(1)).first() or (0, GENESIS)
        told = (seq + 1, now(), who, what, object, before, after)
        record = AuditRecord(*told, chained(previous, tenant, told))
        tx.execute(AUDIT.insert(), {"tenant": tenant, **record._asdict()})

    def audit_log(self, tx: sa.Connection, tenant: str, after: int = 0, limit: int = 1000) -> list[AuditRecord]:
        """The records of a tenant after a place, in order."""
        query = AUDIT.select().where(AUDIT.c.tenant == tenant, AUDIT.c.seq > after)
        return [AuditRecord(*row[1:]) for row in tx.execute(query.order_by(AUDIT.c.seq).limit(limit))]

    def broken_audit(self, tx: sa.Connection, tenant: str) -> int | None:
        """The place of the first record that is not what was written there, or is not there; None: all is whole."""
        previous, place = GENESIS, 0
        while records := self.audit_log(tx, tenant, place):
            for record in records:
                place += 1
                if record.seq != place or record.hash != chained(previous, tenant, tuple(record)[:-1]):
                    return place
                previous = record.hash
        return None


_LAST_MOMENT = (
    sa.select(sa.func.max(HISTORY.c.seq))
    .where(HISTORY.c.tenant == ACCOUNTS.c.tenant, HISTORY.c.account == ACCOUNTS.c.id)
    .correlate(ACCOUNTS)
    .scalar_subquery()
)
"""The place of an account's last moment: one look at the end of its index, however long its history is."""
_RENEWED = (
    ACCOUNTS.update()
    .where(ACCOUNTS.c.tenant == sa.bindparam("of"), ACCOUNTS.c.id == sa.bindparam("which"))
    .values({name: sa.bindparam(name) for name in ("snapshot", "taken_at", "summary")})
)


def _execute(tx: sa.Connection, statement: Any, rows: list[dict[str, Any]]) -> None:
    """One statement for every row; nothing for none."""
    if rows:
        tx.execute(statement, rows)


_ONE_BY_ONE = sa.text("SELECT pg_advisory_xact_lock('audit'::regclass::oid::int, hashtext(:tenant))")
"""Held until the transaction ends; PostgreSQL only."""


def chained(previous: str, tenant: str, told: Sequence[Any]) -> str:
    """The hash of an audit record: SHA-256 of the hash before it, the tenant and what it tells, as JSON."""
    return digest(json.dumps([previous, tenant, *told], ensure_ascii=False))
