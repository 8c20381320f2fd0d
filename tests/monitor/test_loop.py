"""The loop and its store: what is remembered survives a crash at any point; nothing is lost or told twice."""

from __future__ import annotations

import logging
from collections import Counter
from concurrent.futures import Executor, ThreadPoolExecutor
from datetime import timedelta
from fractions import Fraction as F
from typing import Any

import pytest
from watching import T0, AtOnce, Time, Told, after, seen

from crossmargin.apps.monitor.channels import LogChannel, Outside
from crossmargin.apps.monitor.loop import Clock, Monitor, Pulse
from crossmargin.apps.monitor.observe import Seen
from crossmargin.apps.monitor.outbox import Outbox
from crossmargin.apps.monitor.rules import MONITOR, AlertRule, Step, with_always
from crossmargin.apps.store.monitoring import DELIVERED, Monitoring
from crossmargin.apps.store.store import Store
from crossmargin.errors import StoreError

# long one BTC from 60,000 on 10,000: equity = 10,000 + p - 60,000 and requirement 0.005 p, so it is liquidated at
# p = 50,000 / 0.995 = 50,251.26; 10 % above that is 55,834.73
RULES = with_always(
    [
        AlertRule(id="near", kind="distance", limit="0.10", clear="0.12", escalation=(
            Step(channels=("one",)), Step(after_seconds=30, channels=("two",)))),
        AlertRule(id="level", kind="level", limit="liquidation", escalation=(Step(channels=("one", "two")),)),
        AlertRule(id="old", kind="stale", limit="100", escalation=(Step(channels=("one",)),)),
    ],
    ["one"],
)  # fmt: skip


def made(store: Store, time: Time, source: Told, rules: Any = RULES, executor: Executor | None = None) -> Monitor:
    monitoring = Monitoring(store, "local")
    return Monitor(monitoring, {"a": source}, rules, executor=executor or AtOnce(), now=time, history_seconds=60)


def test_from_a_price_to_an_alert_and_back(store: Store) -> None:
    time, source = Time(), Told()
    monitor = made(store, time, source)
    marks = ["60000", "55800", "55800", "50000", "56000", "60000"]
    told = []
    for n, mark in enumerate(marks):
        time.now = after(20 * n)
        source.next = [seen(mark, at=time.now)]
        told.append([(one.event, one.channel) for one in monitor.round(period=20).deliveries])
    assert told == [
        [],
        [("raised", "one")],  # 55,800 is 9.94 % above
        [],
        # the distance alert is 40 s old, so its second step is due; and it is liquidated
        [("escalated", "two"), ("raised", "one"), ("raised", "two")],
        [("cleared", "one"), ("cleared", "two")],  # the level; the distance is 10.3 %, which does not clear
        [("cleared", "one"), ("cleared", "two")],
    ]
    alerts = monitor.monitoring.alerts()
    assert [(one.rule, one.state, one.raised_at) for one in alerts] == [
        ("level", "cleared", after(60)),
        ("near", "cleared", after(20)),
    ]
    expected = 1 - F(50_000) / F(995, 1000) / 55_800  # 0.0994398...
    assert abs(F(alerts[1].value) - expected) < F(1, 10**18)
    assert alerts[1].words == "BTC/USDT:USDT falling 9.94 % to 50251.25628"
    kept = monitor.monitoring.readings("a")
    # every reading with an event is kept, of the others one a minute: the third came 20 s after the second
    assert [str(reading.equity) for _, reading in kept] == ["10000", "5800", "0", "6000", "10000"]


def test_a_source_that_never_answers_is_unknown_and_the_loop_goes_on(store: Store) -> None:
    time, source = Time(), Told()
    with ThreadPoolExecutor(1) as executor:
        import threading

        gate = threading.Event()
        source.poll = lambda at: gate.wait(10) and None
        monitor = made(store, time, source, executor=executor)
        for seconds in (0, 9.9):  # its first reading is not due yet
            time.now = after(seconds)
            assert monitor.round(period=9.9).deliveries == ()
        time.now = after(10)
        found = monitor.round()
        gate.set()
    assert [(one.rule, one.words) for one in monitor.monitoring.alerts()] == [
        ("unknown", "account: nothing has been read yet")
    ]
    assert len(found.deliveries) == 1


def test_a_first_reading_that_is_slow_raises_nothing(store: Store) -> None:
    time, source = Time(), Told()
    with ThreadPoolExecutor(1) as executor:
        import threading

        gate = threading.Event()
        source.poll = lambda at: gate.wait(10) and [seen("60000", at=at)]
        monitor = made(store, time, source, executor=executor)
        assert monitor.round(period=2).events == ()
        time.now = after(2)
        assert monitor.round(period=2).events == ()
        gate.set()
        time.now = after(4)
        monitor.round(period=2, wait=True)
    assert monitor.monitoring.alerts() == []
    assert "a" in monitor.states


def test_a_source_that_breaks_is_unknown(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    time, source = Time(), Told()
    source.poll = lambda at: 1 / 0
    monitor = made(store, time, source)
    monitor.round()
    assert [one.words for one in monitor.monitoring.alerts()] == ["account: the source failed: ZeroDivisionError"]
    assert "source a" in caplog.text


def test_the_monitor_watches_itself(store: Store) -> None:
    time, source = Time(), Told()
    monitor = made(store, time, source)
    source.next = [seen("60000")]
    monitor.round(period=5)
    time.later(9.9)
    assert monitor.round(period=5).deliveries == ()  # 4.9 s late
    time.later(10)
    assert [one.event for one in monitor.round(period=5).deliveries] == ["raised"]
    (alert,) = monitor.monitoring.alerts()
    assert (alert.account, alert.kind, alert.value) == (MONITOR, "lag", 5)
    time.later(5)
    monitor.round(period=5)
    assert monitor.monitoring.alerts()[0].state == "cleared"


def test_what_people_acknowledge_elsewhere_stops_the_escalation(store: Store) -> None:
    time, source = Time(), Told()
    monitor = made(store, time, source)
    source.next = [seen("55800")]
    monitor.round(period=50)
    (alert,) = monitor.monitoring.alerts()
    other = Monitoring(store, "local")
    with store.changing(other.tenant) as tx:
        assert other.acknowledge(tx, alert.id, "ann", after(1))
        assert other.acknowledge(tx, alert.id, "bob", after(2))  # the first counts
        assert not other.acknowledge(tx, "nobody", "ann", after(1))
        assert not Monitoring(store, "else").acknowledge(tx, alert.id, "eve", after(1))
    time.later(50)
    source.next = [seen("55800", at=time.now)]
    assert monitor.round(period=50).deliveries == ()
    found = other.alert(alert.id)
    assert found is not None
    assert (found.state, found.acknowledged_by, found.acknowledged_at) == ("acknowledged", "ann", after(1))
    assert Monitoring(store, "else").alert(alert.id) is None
    assert Monitoring(store, "else").alerts() == []
    assert [len(other.alerts(state=name)) for name in ("open", "acknowledged", "cleared")] == [0, 1, 0]


def test_accounts_that_are_no_longer_watched_end_their_alerts(store: Store) -> None:
    time, source = Time(), Told()
    monitor = made(store, time, source)
    source.next = [seen("50000")]
    monitor.round()
    time.later(1)
    again = Monitor(Monitoring(store, "local"), {"b": Told("b")}, RULES, executor=AtOnce(), now=time)
    again.round()
    assert {one.state for one in again.monitoring.alerts() if one.account == "a"} == {"cleared"}
    assert set(again.monitoring.states()) == {MONITOR}  # nothing has been read of the other yet


def test_a_store_that_fails_loses_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    time, source = Time(), Told()
    monitor = made(store, time, source)
    source.next = [seen("55800")]
    real = Monitoring._readings

    def fails(*_: Any) -> Any:
        raise StoreError("store", "no space is left")

    monkeypatch.setattr(Monitoring, "_readings", fails)
    with pytest.raises(StoreError):
        monitor.round()
    monkeypatch.setattr(Monitoring, "_readings", real)
    assert monitor.monitoring.alerts() == []
    source.next = [seen("55800")]
    assert [one.event for one in monitor.round().deliveries] == ["raised"]


def test_a_clock_that_is_turned_moves_no_age() -> None:
    wall, elapsed = [T0], [100.0]
    clock = Clock(wall=lambda: wall[0], elapsed=lambda: elapsed[0])
    for turned in (timedelta(hours=1), timedelta(hours=-2), timedelta(seconds=1)):
        wall[0] += turned
        elapsed[0] += 5
        assert clock() == after(elapsed[0] - 100)
    # a restart with a clock that is behind goes on from where it was
    behind = Clock(wall=lambda: T0, elapsed=lambda: 0.0)
    behind.reach(after(60))
    behind.reach(after(30))
    assert behind() == after(60)


def test_the_dead_man_signal_comes_on_time_and_waits_for_nobody() -> None:
    beaten: list[int] = []
    pulse = Pulse(60, lambda: beaten.append(1))
    for seconds in (0, 59, 60, 61, 125):
        pulse.pass_by(after(seconds))
        if pulse._busy is not None:
            pulse._busy.join()
    assert len(beaten) == 3


def test_what_is_old_is_forgotten_and_what_stands_is_kept(store: Store) -> None:
    time, source = Time(), Told()
    monitor = made(store, time, source)
    for n, mark in enumerate(("50000", "70000", "55800")):
        time.now = after(70 * n)
        source.next = [seen(mark, at=time.now)]
        monitor.round(period=70)
    own, twin = monitor.monitoring, Monitoring(store, "else")
    level, first, second = sorted(own.alerts(), key=lambda one: (one.rule, one.raised_at))
    assert [(one.rule, one.state) for one in (level, first, second)] == [
        ("level", "cleared"), ("near", "cleared"), ("near", "open"),
    ]  # fmt: skip
    with store.changing("local") as tx:
        for one, when in ((level, 75), (second, 145)):
            assert own.acknowledge(tx, one.id, "ann", after(when))
    day = 86400
    own.forget(after(day + 74), keep_days=1)  # over for more than a day, but acknowledged less than a day ago
    assert len(own.alerts()) == 3
    twin.forget(after(day * 9), keep_days=1)  # another tenant's
    assert len(own.alerts()) == 3 and own.readings("a") != []
    own.forget(after(day * 2), keep_days=1)
    # one is over and nobody has seen it; one stands, seen or not
    assert {one.id: one.state for one in own.alerts()} == {first.id: "cleared", second.id: "acknowledged"}
    assert {one.alert for one in own.deliveries()} == {first.id, second.id}
    assert own.readings("a") == []
    # after a restart what stands is known and not raised again
    time.now = after(day * 2)
    again = made(store, time, source)
    source.next = [seen("55800", at=time.now)]
    assert [event.alert.rule for event in again.round(period=70).events if event.name == "raised"] == []
    assert again.states["a"].rules["near"].alert is not None


# a crash at any point -------------------------------------------------------------------------------------------------


class Crash(BaseException):
    """The process ends here."""


MARKS = ["60000", "55800", "50000", "50100", "56500", "60000", "55000"]


def story(
    store: Store, tenant: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, dies: int
) -> Any:
    """A falling and rising price with a restart after the operation of this number; what was sent, by delivery."""
    count = 0
    caplog.clear()

    def dying(name: str, real: Any, before: bool) -> Any:
        def call(self: Any, *given: Any, **named: Any) -> Any:
            nonlocal count
            count += 1
            if before and count == dies:
                raise Crash
            found = real(self, *given, **named)
            count += 1
            if count == dies:
                raise Crash
            return found

        return call

    with monkeypatch.context() as patch:
        for name in ("commit", "settle"):
            patch.setattr(Monitoring, name, dying(name, getattr(Monitoring, name), True))
        time, source = Time(), Told()

        def start() -> tuple[Monitor, Outbox]:
            monitoring = Monitoring(store, tenant)
            monitor = Monitor(monitoring, {"a": source}, RULES, executor=AtOnce(), now=time)
            channels = {"one": LogChannel(), "two": LogChannel()}
            return monitor, Outbox(monitoring, channels, Outside(), time)

        monitor, outbox = start()
        for n, mark in enumerate(MARKS):
            time.now = after(20 * n)
            for _ in range(2):
                try:
                    source.next = [seen(mark, at=time.now)]
                    monitor.round(period=20)
                    for name in ("one", "two"):
                        outbox.pump(name)
                    break
                except Crash:
                    monitor, outbox = start()  # nothing is left but the store
    sent = Counter(record.delivery for record in caplog.records if hasattr(record, "delivery"))
    alerts = {(one.id, one.rule, one.state) for one in Monitoring(store, tenant).alerts()}
    waiting = [one for one in Monitoring(store, tenant).deliveries() if one.status != DELIVERED]
    return count, sent, alerts, waiting


def test_a_crash_at_any_point_neither_loses_nor_doubles(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Every operation on the store, before and after it: the same alerts, each delivery sent, under the same ids."""
    caplog.set_level(logging.INFO, "crossmargin.monitor")
    operations, sent, alerts, waiting = story(store, "whole", monkeypatch, caplog, 0)
    assert operations > 30
    assert len(sent) == 9
    assert set(sent.values()) == {1}
    assert waiting == []
    assert Counter(rule for _, rule, _ in alerts) == {"near": 2, "level": 1}
    for dies in range(1, operations + 1):
        _, found, same, left = story(store, f"dies{dies}", monkeypatch, caplog, dies)
        assert same == alerts, dies
        assert set(found) == set(sent), dies
        assert left == [], dies
        # sent again only where the process ended between sending and noting it: what one channel was being told
        assert sum(found.values()) - len(found) <= 2, dies


def test_a_source_that_says_gone(store: Store) -> None:
    time, source = Time(), Told()
    monitor = made(store, time, source)
    source.next = [seen("50000")]
    monitor.round()
    source.next = [Seen("a", None, None, gone=True)]
    monitor.round()
    assert {one.state for one in monitor.monitoring.alerts()} == {"cleared"}
    assert "a" not in monitor.states
