"""Forgetting what is older than a store keeps it: history with the snapshots that only it names, answers already given,
alerts that are over, with their deliveries, and readings.

What an account is now, and the last moment of its history, always stay; so does the audit log, which is a chain; so
does an alert that stands or that nobody has acknowledged, and what the monitor remembers of each account: by that an
alert is not raised again after a restart.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import takewhile

from crossmargin.apps.store.store import Store
from crossmargin.apps.store.tables import ACCOUNTS, ALERTS, ANSWERS, DELIVERIES, HISTORY, READINGS, SNAPSHOTS
from crossmargin.files.database import sa

BATCH = 200
"""Rows forgotten in one transaction: prices that come in meanwhile wait for no more."""


def days_ago(days: int) -> str:
    """The moment so many days ago, as it is written in the store."""
    return (datetime.now(UTC) - timedelta(days=days)).isoformat(timespec="microseconds").replace("+00:00", "Z")


def forgetting(store: Store, before: str) -> Iterator[int]:
    """Forget what is older than ``before``, step by step: each takes one account or one batch, and tells how many rows.

    A step is one transaction; whoever goes through them lets others write between two. ``before`` is a moment as it is
    written in the store. Raises :class:`StoreError` where the database fails; what was forgotten by then is.
    """
    with store.reading(None) as tx:
        accounts = tx.execute(sa.select(ACCOUNTS.c.tenant, ACCOUNTS.c.id)).fetchall()
    for tenant, account in accounts:
        while count := _forget_moments(store, tenant, account, before):
            yield count
        yield 0
    while count := _forget_answers(store, before):
        yield count
    yield from forgetting_alerts(store, before)


def forgetting_alerts(store: Store, before: str, tenant: str | None = None) -> Iterator[int]:
    """The same of what the monitor keeps, of one tenant or (None) of all.

    An alert goes when both its end and its acknowledgement are older than ``before``, whatever became of its
    deliveries: they go with it.
    """
    while count := _forget_alerts(store, before, tenant):
        yield count
    while count := _forget_readings(store, before, tenant):
        yield count


def _forget_moments(store: Store, tenant: str, account: str, before: str) -> int:
    """One batch of an account's moments, the oldest first: they lie at the beginning of its index."""
    of = (HISTORY.c.tenant == tenant, HISTORY.c.account == account)
    query = sa.select(HISTORY.c.seq, HISTORY.c.snapshot, HISTORY.c.taken_at).where(*of)
    with store.reading(tenant) as tx:
        rows = tx.execute(query.order_by(HISTORY.c.seq).limit(BATCH + 1)).fetchall()
    old = list(takewhile(lambda row: row[2] < before, rows[:-1]))  # the last of all stays, whatever its age
    if not old:
        return 0
    with store.changing(tenant) as tx:
        tx.execute(HISTORY.delete().where(*of, HISTORY.c.seq <= old[-1][0]))
        names = {row[1] for row in old}
        named = sa.select(HISTORY.c.snapshot).where(*of, HISTORY.c.snapshot.in_(names))
        now = sa.select(ACCOUNTS.c.snapshot).where(ACCOUNTS.c.tenant == tenant, ACCOUNTS.c.id == account)
        kept = {*tx.execute(named).scalars(), *tx.execute(now).scalars()}
        files = (SNAPSHOTS.c.tenant == tenant, SNAPSHOTS.c.account == account, SNAPSHOTS.c.id.in_(names - kept))
        tx.execute(SNAPSHOTS.delete().where(*files))
    return len(old)


def _forget_answers(store: Store, before: str) -> int:
    """One batch of answers under idempotency keys."""
    query = sa.select(ANSWERS.c.tenant, ANSWERS.c.key).where(ANSWERS.c.given_at < before).limit(BATCH)
    with store.reading(None) as tx:
        old = [(row[0], row[1]) for row in tx.execute(query)]
    if old:
        with store.changing(None) as tx:
            tx.execute(ANSWERS.delete().where(sa.tuple_(ANSWERS.c.tenant, ANSWERS.c.key).in_(old)))
    return len(old)


def _forget_alerts(store: Store, before: str, tenant: str | None) -> int:
    """One batch of alerts that are over and acknowledged: neither time is there before it has happened."""
    done = (ALERTS.c.cleared_at < before, ALERTS.c.acknowledged_at < before, *_of(ALERTS, tenant))
    query = sa.select(ALERTS.c.tenant, ALERTS.c.id).where(*done).limit(BATCH)
    with store.reading(tenant) as tx:
        old = [(row[0], row[1]) for row in tx.execute(query)]
    if old:
        with store.changing(tenant) as tx:
            tx.execute(DELIVERIES.delete().where(sa.tuple_(DELIVERIES.c.tenant, DELIVERIES.c.alert).in_(old)))
            tx.execute(ALERTS.delete().where(sa.tuple_(ALERTS.c.tenant, ALERTS.c.id).in_(old)))
    return len(old)


def _forget_readings(store: Store, before: str, tenant: str | None) -> int:
    """One batch of readings."""
    key = (READINGS.c.tenant, READINGS.c.account, READINGS.c.at)
    query = sa.select(*key).where(READINGS.c.at < before, *_of(READINGS, tenant)).limit(BATCH)
    with store.reading(tenant) as tx:
        old = [tuple(row) for row in tx.execute(query)]
    if old:
        with store.changing(tenant) as tx:
            tx.execute(READINGS.delete().where(sa.tuple_(*key).in_(old)))
    return len(old)


def _of(table: sa.Table, tenant: str | None) -> list[sa.ColumnElement[bool]]:
    return [] if tenant is None else [table.c.tenant == tenant]
