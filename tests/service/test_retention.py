"""What is older than the service keeps is forgotten; what an account is now, never. And a store of a later version."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from crossmargin.apps.store import retention
from crossmargin.apps.store.keeping import judged, keep
from crossmargin.apps.store.retention import days_ago, forgetting
from crossmargin.apps.store.store import Answer, Store
from crossmargin.apps.store.tables import ALERTS, DELIVERIES, MONITOR_STATES, READINGS
from crossmargin.errors import StoreError

from .conftest import Serving, account

FUTURE = "9999"


def kept(store: Store, name: str, *amounts: str) -> list[str]:
    """The snapshots of an account that had these amounts, one after another."""
    found = []
    for amount in amounts:
        with store.changing("one") as tx:
            (stored,) = keep(store, tx, "one", judged({**account(), "id": name, "balances": {"USDT": amount}}, name))
        found.append(stored.snapshot)
    return found


def standing(store: Store, name: str, snapshots: list[str]) -> tuple[list[str], list[bool]]:
    """The snapshots that its history names, and which of these there still are."""
    with store.reading("one") as tx:
        moments = [row.snapshot for row in store.history(tx, "one", name)]
        return moments, [store.snapshot(tx, "one", name, snapshot) is not None for snapshot in snapshots]


def test_what_is_older_goes_with_the_files_that_only_it_names(store: Store) -> None:
    a, b, c, again, d = kept(store, "first", "9000", "9001", "9002", "9000", "9003")
    assert again == a
    (other,) = kept(store, "second", "9000")
    with store.reading("one") as tx:
        before = store.history(tx, "one", "first")[3].taken_at
    assert sum(forgetting(store, before)) == 3
    # a is named by the fourth moment too; an account that has one moment keeps it
    assert standing(store, "first", [a, b, c, d]) == ([a, d], [True, False, False, True])
    assert standing(store, "second", [other]) == ([other], [True])
    assert sum(forgetting(store, before)) == 0


def test_the_newest_stays_however_old_and_history_goes_on_after_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BATCH", 2)
    snapshots = kept(store, "first", *(str(9000 + n) for n in range(6)))
    steps = list(forgetting(store, FUTURE))
    assert steps == [2, 2, 1, 0]  # never more than two rows at one go
    assert standing(store, "first", snapshots) == (snapshots[-1:], [False] * 5 + [True])
    (new,) = kept(store, "first", "9010")
    assert standing(store, "first", [new])[0] == [snapshots[-1], new]


def test_answers_under_keys_are_forgotten_and_the_audit_log_is_not(store: Store) -> None:
    with store.changing("one") as tx:
        store.remember(tx, "one", "key", "request", Answer(200, "", "{}"))
        store.audit(tx, "one", "me", "account.put", "first")
    assert sum(forgetting(store, days_ago(1))) == 0
    assert sum(forgetting(store, FUTURE)) == 1
    with store.reading("one") as tx:
        assert store.answered(tx, "one", "key") is None
        assert len(store.audit_log(tx, "one")) == 1


def test_alerts_and_readings_of_every_tenant_are_forgotten_a_few_at_a_time(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BATCH", 2)
    times = {  # of an alert: cleared at, acknowledged at; what there is of it afterwards
        "over": ("2026-01-01", "2026-01-01", False),
        "new": ("2026-03-01", "2026-03-01", True),
        "seen late": ("2026-01-01", "2026-03-01", True),
        "unseen": ("2026-01-01", None, True),
        "stands": (None, "2026-01-01", True),
    }
    for tenant in ("one", "two"):
        with store.changing(tenant) as tx:
            for name, (cleared, seen, _) in times.items():
                row = {"tenant": tenant, "id": name, "account": "a", "raised_at": "2026-01-01", "body": "{}"}
                tx.execute(ALERTS.insert(), {**row, "cleared_at": cleared, "acknowledged_at": seen})
                for step in ("raised", "cleared"):
                    sent = dict.fromkeys(DELIVERIES.c.keys(), "") | {"tenant": tenant, "id": f"{name} {step}"}
                    tx.execute(DELIVERIES.insert(), {**sent, "alert": name, "tries": 0, "status": "waiting"})
            for day in ("2026-01-01", "2026-01-02", "2026-02-01"):
                tx.execute(READINGS.insert(), {"tenant": tenant, "account": "a", "at": day, "body": "{}"})
            tx.execute(MONITOR_STATES.insert(), {"tenant": tenant, "account": "a", "at": "2026-01-01", "body": "{}"})
    # two alerts, then four readings, at most two rows a step; what lies just on the border stays
    assert list(forgetting(store, "2026-02-01")) == [2, 2, 2]
    left = sorted(name for name, (*_, stays) in times.items() if stays)
    for tenant in ("one", "two"):
        with store.reading(tenant) as tx:
            own = ALERTS.c.tenant == tenant
            assert sorted(tx.execute(sa.select(ALERTS.c.id).where(own)).scalars()) == left
            alerts = sa.select(DELIVERIES.c.alert).where(DELIVERIES.c.tenant == tenant)
            assert sorted(tx.execute(alerts).scalars()) == sorted(left * 2)
            assert tx.execute(sa.select(READINGS.c.at).where(READINGS.c.tenant == tenant)).scalars().all() == [
                "2026-02-01"
            ]
            states = sa.select(MONITOR_STATES.c.account).where(MONITOR_STATES.c.tenant == tenant)
            assert tx.execute(states).scalars().all() == ["a"]


@pytest.mark.parametrize(("keep_days", "left"), [(0, 3), (30, 2)])
def test_the_service_forgets_by_itself(store: Store, serving: Serving, keep_days: int, left: int) -> None:
    first = serving()
    for amount in ("9000", "9001", "9002"):
        assert first.put("/v1/accounts/a", json={**account(), "balances": {"USDT": amount}}).status_code == 200
    with store.changing("local") as tx:  # the first was forty days ago
        tx.execute(sa.text("UPDATE history SET taken_at = :at WHERE seq = 1"), {"at": days_ago(40)})
    client = serving(keep_days=keep_days)

    def count() -> int:
        return len(client.get("/v1/accounts/a/history").json()["history"])

    while count() != left:
        pass
    assert client.get("/v1/accounts/a").json()["balances"] == {"USDT": "9002"}


def test_a_store_of_a_later_version_is_refused_by_both_versions(where: str) -> None:
    made = Store(where)
    with made.changing(None) as tx:
        ours = tx.execute(sa.text("SELECT version_num FROM store_version")).scalar()
        tx.execute(sa.text("UPDATE store_version SET version_num = '9999'"))
    made.close()
    with pytest.raises(StoreError) as refused:
        Store(where)
    (fault,) = refused.value.faults
    assert "9999" in fault.why
    assert str(ours) in fault.why
    assert "upgrade crossmargin" in fault.why


def test_a_file_that_is_no_database_is_still_refused(tmp_path: Path) -> None:
    place = tmp_path / "service.db"
    place.write_text("no database, but long enough to have the first bytes of one" * 20)
    with pytest.raises(StoreError) as refused:
        Store(str(place))
    faults: Any = refused.value.faults
    assert "cannot be opened" in faults[0].why
