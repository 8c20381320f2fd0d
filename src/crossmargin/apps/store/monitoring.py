"""What the monitor keeps: its rules, what it remembers of each account, alerts, deliveries to be made, and readings.

What a step of the judge changes is written in one transaction, deliveries included, before anything is sent. The id of
a delivery follows from its alert, event and channel: a step that is judged again after a crash writes the same rows.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from pydantic import TypeAdapter

from crossmargin.apps.monitor.channels import Message, message_of
from crossmargin.apps.monitor.judge import AccountState, Alert, Event
from crossmargin.apps.monitor.rules import AlertRule, Reading
from crossmargin.apps.store.retention import forgetting_alerts
from crossmargin.apps.store.store import Store
from crossmargin.apps.store.tables import ALERT_RULES, ALERTS, DELIVERIES, MONITOR_STATES, READINGS
from crossmargin.files.database import sa

WAITING, DELIVERED, FAILED = "waiting", "delivered", "failed"

_STATE = TypeAdapter(AccountState)
_ALERT = TypeAdapter(Alert)
_READING = TypeAdapter(Reading)
_MESSAGE = TypeAdapter(Message)
_RULE = TypeAdapter(AlertRule)


class Delivery(NamedTuple):
    """One message on its way to one channel."""

    id: str
    alert: str
    channel: str
    event: str
    status: str
    made_at: str
    due_at: str
    tries: int
    said: str
    body: str

    @property
    def message(self) -> Message:
        """What is sent."""
        return _MESSAGE.validate_json(self.body)


class Tried(NamedTuple):
    """How a try to send a delivery has ended: delivered, failed, or waiting until ``due_at``."""

    id: str
    status: str
    tries: int
    said: str
    due_at: str


class Step(NamedTuple):
    """What one judgement of one account brings: the new state, the events, and the reading if it is to be kept."""

    state: AccountState
    events: tuple[Event, ...] = ()
    reading: Reading | None = None


def stamp(at: datetime) -> str:
    """A moment as it is written in the store: texts of one length, in the order of time."""
    return at.isoformat(timespec="microseconds").replace("+00:00", "Z")


def delivery_id(event: Event, channel: str) -> str:
    """The name of a delivery: the same for the same step of the same alert on the same channel."""
    text = f"{event.alert.id}\n{event.name}\n{event.alert.steps}\n{channel}"
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class Monitoring:
    """The monitor's tables of one tenant. Every error of the database is a :class:`StoreError`."""

    def __init__(self, store: Store, tenant: str) -> None:
        self.store = store
        self.tenant = tenant

    # rules -----------------------------------------------------------------------------------------------------------

    def rules(self) -> tuple[AlertRule, ...]:
        """The rules of the tenant, in their order."""
        with self.store.reading(self.tenant) as tx:
            return self.rules_in(tx)

    def rules_in(self, tx: sa.Connection) -> tuple[AlertRule, ...]:
        """The same in a transaction of the caller."""
        query = sa.select(ALERT_RULES.c.body).where(ALERT_RULES.c.tenant == self.tenant).order_by(ALERT_RULES.c.place)
        return tuple(_RULE.validate_json(body) for body in tx.execute(query).scalars())

    def put_rules(self, tx: sa.Connection, rules: Sequence[AlertRule]) -> None:
        """Put these rules in the place of all, in a transaction of the caller."""
        tx.execute(ALERT_RULES.delete().where(ALERT_RULES.c.tenant == self.tenant))
        rows = [{**self._mine(rule.id), "place": n, "body": rule.model_dump_json()} for n, rule in enumerate(rules)]
        if rows:
            tx.execute(ALERT_RULES.insert(), rows)

    # what is remembered ----------------------------------------------------------------------------------------------

    def states(self) -> dict[str, AccountState]:
        """What is remembered of every account."""
        query = sa.select(MONITOR_STATES.c.body).where(MONITOR_STATES.c.tenant == self.tenant)
        with self.store.reading(self.tenant) as tx:
            found = [_STATE.validate_json(body) for body in tx.execute(query).scalars()]
        return {state.account: state for state in found}

    def commit(self, steps: Iterable[Step], at: datetime) -> list[Delivery]:
        """Write what has happened in one transaction: states, alerts, deliveries, readings. The new deliveries."""
        steps = list(steps)
        made = [row for step in steps for event in step.events for row in self._deliveries(event)]
        names = [step.state.account for step in steps]
        with self.store.changing(self.tenant) as tx:
            for start in range(0, len(names), 500):
                of = MONITOR_STATES.c.account.in_(names[start : start + 500])
                tx.execute(MONITOR_STATES.delete().where(MONITOR_STATES.c.tenant == self.tenant, of))
            _insert(tx, MONITOR_STATES, [self._state(step.state, at) for step in steps if not _gone(step.state)])
            self._put_alerts(tx, [event.alert for step in steps for event in step.events])
            known = self._known(tx, DELIVERIES, [row.id for row in made])
            made = [row for row in made if row.id not in known]
            _insert(tx, DELIVERIES, [{"tenant": self.tenant, **row._asdict()} for row in made])
            _insert(tx, READINGS, self._readings(tx, steps, at))
        return made

    def _state(self, state: AccountState, at: datetime) -> dict[str, Any]:
        body = _STATE.dump_json(state).decode()
        return {"tenant": self.tenant, "account": state.account, "at": stamp(at), "body": body}

    def _deliveries(self, event: Event) -> list[Delivery]:
        found = []
        for channel in event.channels:
            name, at = delivery_id(event, channel), stamp(event.at)
            body = _MESSAGE.dump_json(message_of(event, name)).decode()
            found.append(Delivery(name, event.alert.id, channel, event.name, WAITING, at, at, 0, "", body))
        return found

    def _put_alerts(self, tx: sa.Connection, alerts: Iterable[Alert]) -> None:
        """Alerts as they are now; who has acknowledged one is written by :meth:`acknowledge` alone."""
        last = {alert.id: alert for alert in alerts}
        known = self._known(tx, ALERTS, list(last))
        rows = [
            {
                "of": alert.id,
                "account": alert.account,
                "raised_at": stamp(alert.raised_at),
                "cleared": None if alert.cleared_at is None else stamp(alert.cleared_at),
                "text": _ALERT.dump_json(alert).decode(),
            }
            for alert in last.values()
        ]
        values: dict[str, Any] = {"cleared_at": sa.bindparam("cleared"), "body": sa.bindparam("text")}
        there = ALERTS.update().where(ALERTS.c.tenant == self.tenant, ALERTS.c.id == sa.bindparam("of"))
        own = {"tenant": self.tenant, "id": sa.bindparam("of"), **values}
        for statement, chosen in (
            (there.values(**values), [row for row in rows if row["of"] in known]),
            (ALERTS.insert().values(**own), [row for row in rows if row["of"] not in known]),
        ):
            if chosen:
                tx.execute(statement, chosen)

    def _readings(self, tx: sa.Connection, steps: Iterable[Step], at: datetime) -> list[dict[str, Any]]:
        kept = {step.state.account: step.reading for step in steps if step.reading is not None}
        of = (READINGS.c.tenant == self.tenant, READINGS.c.at == stamp(at))
        known = set(tx.execute(sa.select(READINGS.c.account).where(*of)).scalars()) if kept else set()
        return [
            {"tenant": self.tenant, "account": name, "at": stamp(at), "body": _READING.dump_json(reading).decode()}
            for name, reading in kept.items()
            if name not in known
        ]

    def _known(self, tx: sa.Connection, table: sa.Table, ids: Sequence[str]) -> set[str]:
        found: set[str] = set()
        for start in range(0, len(ids), 500):
            of = (table.c.tenant == self.tenant, table.c.id.in_(ids[start : start + 500]))
            found |= set(tx.execute(sa.select(table.c.id).where(*of)).scalars())
        return found

    def _mine(self, name: str) -> dict[str, Any]:
        return {"tenant": self.tenant, "id": name}

    # alerts ----------------------------------------------------------------------------------------------------------

    def alerts(self, *, state: str | None = None, limit: int = 1000) -> list[Alert]:
        """The alerts of the tenant, the newest first; ``state``: open, acknowledged or cleared (None = all)."""
        columns = ALERTS.c.body, ALERTS.c.acknowledged_at, ALERTS.c.acknowledged_by
        query = sa.select(*columns).where(ALERTS.c.tenant == self.tenant, *_IN_STATE[state])
        query = query.order_by(ALERTS.c.raised_at.desc(), ALERTS.c.id).limit(limit)
        with self.store.reading(self.tenant) as tx:
            return [_alert(*row) for row in tx.execute(query)]

    def alert(self, alert_id: str) -> Alert | None:
        """One alert of the tenant."""
        columns = ALERTS.c.body, ALERTS.c.acknowledged_at, ALERTS.c.acknowledged_by
        query = sa.select(*columns).where(ALERTS.c.tenant == self.tenant, ALERTS.c.id == alert_id)
        with self.store.reading(self.tenant) as tx:
            row = tx.execute(query).first()
        return None if row is None else _alert(*row)

    def acknowledge(self, tx: sa.Connection, alert_id: str, by: str, at: datetime) -> bool:
        """Note who has seen an alert; the first counts. False where there is no such alert."""
        where = (ALERTS.c.tenant == self.tenant, ALERTS.c.id == alert_id)
        if tx.execute(sa.select(ALERTS.c.id).where(*where)).first() is None:
            return False
        row = {"acknowledged_at": stamp(at), "acknowledged_by": by}
        tx.execute(ALERTS.update().where(*where, ALERTS.c.acknowledged_at.is_(None)).values(**row))
        return True

    def acknowledgements(self) -> dict[str, tuple[str, datetime]]:
        """Alerts that stand and that somebody has acknowledged: who, and when."""
        columns = ALERTS.c.id, ALERTS.c.acknowledged_by, ALERTS.c.acknowledged_at
        query = sa.select(*columns).where(ALERTS.c.tenant == self.tenant, *_IN_STATE["acknowledged"])
        with self.store.reading(self.tenant) as tx:
            return {row[0]: (row[1], datetime.fromisoformat(row[2])) for row in tx.execute(query)}

    # deliveries ------------------------------------------------------------------------------------------------------

    def due(self, channel: str, at: datetime, *, limit: int = 50) -> list[Delivery]:
        """What is to be sent to a channel now, the oldest first."""
        of = (DELIVERIES.c.tenant == self.tenant, DELIVERIES.c.channel == channel, DELIVERIES.c.status == WAITING)
        query = (
            self._select().where(*of, DELIVERIES.c.due_at <= stamp(at)).order_by(DELIVERIES.c.made_at, DELIVERIES.c.id)
        )
        with self.store.reading(self.tenant) as tx:
            return [Delivery(*row) for row in tx.execute(query.limit(limit))]

    def deliveries(self, *, alert: str | None = None, status: str | None = None, limit: int = 1000) -> list[Delivery]:
        """Deliveries of the tenant, of one alert or in one status, the oldest first."""
        query = self._select().where(DELIVERIES.c.tenant == self.tenant)
        if alert is not None:
            query = query.where(DELIVERIES.c.alert == alert)
        if status is not None:
            query = query.where(DELIVERIES.c.status == status)
        with self.store.reading(self.tenant) as tx:
            return [Delivery(*row) for row in tx.execute(query.order_by(DELIVERIES.c.made_at).limit(limit))]

    def _select(self) -> sa.Select[Any]:
        return sa.select(*(DELIVERIES.c[name] for name in Delivery._fields))

    def settle(self, tries: Sequence[Tried]) -> None:
        """Note how tries have ended, in one transaction."""
        rows = [
            {"of": row.id, "to": row.status, "n": row.tries, "why": row.said[:500], "at": row.due_at} for row in tries
        ]
        values = {"status": "to", "tries": "n", "said": "why", "due_at": "at"}
        where = (DELIVERIES.c.tenant == self.tenant, DELIVERIES.c.id == sa.bindparam("of"))
        note = DELIVERIES.update().where(*where).values(**{name: sa.bindparam(key) for name, key in values.items()})
        with self.store.changing(self.tenant) as tx:
            tx.execute(note, rows)

    # readings --------------------------------------------------------------------------------------------------------

    def readings(self, account: str, *, since: datetime | None = None, limit: int = 1000) -> list[tuple[str, Reading]]:
        """(when, reading) of an account, the oldest first, the last ``limit``."""
        query = sa.select(READINGS.c.at, READINGS.c.body).where(
            READINGS.c.tenant == self.tenant, READINGS.c.account == account
        )
        if since is not None:
            query = query.where(READINGS.c.at >= stamp(since))
        with self.store.reading(self.tenant) as tx:
            rows = tx.execute(query.order_by(READINGS.c.at.desc()).limit(limit)).fetchall()
        return [(row[0], _READING.validate_json(row[1])) for row in reversed(rows)]

    def forget(self, at: datetime, *, keep_days: int) -> None:
        """Drop readings that are older than so many days, and alerts that have been over and acknowledged so long."""
        for _ in forgetting_alerts(self.store, stamp(at - timedelta(days=keep_days)), self.tenant):
            pass


def _gone(state: AccountState) -> bool:
    return state.reading is not None and state.reading.gone


def watched_tenants(store: Store) -> list[str]:
    """Every tenant that has alert rules, or had them and may have alerts that stand."""
    tables = (ALERT_RULES, MONITOR_STATES)
    with store.reading(None) as tx:
        return sorted({name for table in tables for name in tx.execute(sa.select(table.c.tenant).distinct()).scalars()})


def _insert(tx: sa.Connection, table: sa.Table, rows: list[dict[str, Any]]) -> None:
    if rows:
        tx.execute(table.insert(), rows)


def _alert(body: str, acknowledged_at: str | None, by: str | None) -> Alert:
    """The alert of a row; who has acknowledged it stands in columns of its own."""
    own = json.loads(body)
    return _ALERT.validate_python({**own, "acknowledged_at": acknowledged_at, "acknowledged_by": by})


_IN_STATE: dict[str | None, tuple[Any, ...]] = {
    None: (),
    "open": (ALERTS.c.cleared_at.is_(None), ALERTS.c.acknowledged_at.is_(None)),
    "acknowledged": (ALERTS.c.cleared_at.is_(None), ALERTS.c.acknowledged_at.is_not(None)),
    "cleared": (ALERTS.c.cleared_at.is_not(None),),
}
