"""Forgetting what is older than a store keeps it: history, the snapshots that only it names, answers already given.

What an account is now, and the last moment of its history, always stay; so does the audit log, which is a chain.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import takewhile

from crossmargin.apps.store.store import Store
from crossmargin.apps.store.tables import ACCOUNTS, ANSWERS, HISTORY, SNAPSHOTS
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
    with store.reading() as tx:
        accounts = tx.execute(sa.select(ACCOUNTS.c.tenant, ACCOUNTS.c.id)).fetchall()
    for tenant, account in accounts:
        while count := _forget_moments(store, tenant, account, before):
            yield count
        yield 0
    while count := _forget_answers(store, before):
        yield count


def _forget_moments(store: Store, tenant: str, account: str, before: str) -> int:
    """One batch of an account's moments, the oldest first: they lie at the beginning of its index."""
    of = (HISTORY.c.tenant == tenant, HISTORY.c.account == account)
    query = sa.select(HISTORY.c.seq, HISTORY.c.snapshot, HISTORY.c.taken_at).where(*of)
    with store.reading() as tx:
        rows = tx.execute(query.order_by(HISTORY.c.seq).limit(BATCH + 1)).fetchall()
    old = list(takewhile(lambda row: row[2] < before, rows[:-1]))  # the last of all stays, whatever its age
    if not old:
        return 0
    with store.changing() as tx:
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
    with store.reading() as tx:
        old = [(row[0], row[1]) for row in tx.execute(query)]
    if old:
        with store.changing() as tx:
            tx.execute(ANSWERS.delete().where(sa.tuple_(ANSWERS.c.tenant, ANSWERS.c.key).in_(old)))
    return len(old)
