"""The pure core under a fake clock: hysteresis, delays, escalation, staleness, change, and what must always hold."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from watching import HOUSE, T0, after

from crossmargin.apps.monitor.judge import AccountState, Event, acknowledged, judge, quiet_until
from crossmargin.apps.monitor.rules import ALWAYS, KINDS, MONITOR, NEVER, AlertRule, Reading, Step, with_always
from crossmargin.errors import ProfileError

D = Decimal


def rule(kind: Any = "distance", **given: Any) -> AlertRule:
    given.setdefault("escalation", (Step(channels=("log",)),))
    return AlertRule(id=given.pop("id", kind), kind=kind, **given)


def seen(at: datetime | None = None, *, rules: str = "r1", **figures: Any) -> Reading:
    values = {name: D(value) if value != NEVER else NEVER for name, value in figures.items() if value is not None}
    unknown = {name: "is missing" for name, value in figures.items() if value is None}
    return Reading(account="a", as_of=at or T0, figures=values, words={}, unknown=unknown, rules=rules)


def run(rules: list[AlertRule], *steps: tuple[float, Reading | None]) -> tuple[AccountState, list[tuple[float, Event]]]:
    """Judge readings at so many seconds; what happened, and when."""
    state, found = AccountState(account="a"), []
    for seconds, reading in steps:
        state, events = judge(rules, state, reading, after(seconds))
        found += [(seconds, event) for event in events]
    return state, found


def names(found: list[tuple[float, Event]]) -> list[tuple[float, str]]:
    return [(seconds, event.name) for seconds, event in found]


def test_raised_at_the_limit_and_cleared_only_beyond_the_clear_limit() -> None:
    # limit 0.10, clear 0.12: 0.101 is well, 0.10 raises, 0.11 lies between, 0.12 still touches, 0.121 is well again
    figures = ["0.101", "0.10", "0.11", "0.09", "0.12", "0.121", "0.11"]
    steps = [(n, seen(distance=value)) for n, value in enumerate(figures)]
    _, found = run([rule(limit="0.10", clear="0.12")], *steps)
    assert names(found) == [(1, "raised"), (5, "cleared")]
    alert = found[0][1].alert
    assert (alert.value, alert.limit, alert.raised_at, alert.severity) == (D("0.10"), D("0.10"), after(1), "warning")


def test_the_other_side() -> None:
    steps = [(n, seen(margin_ratio=value)) for n, value in enumerate(["0.79", "0.8", "0.75", "0.72", "0.71"])]
    # no clear-limit given: the band of a margin ratio is a tenth, 0.8 - 0.08 = 0.72, which is not yet beyond
    _, found = run([rule("margin_ratio", limit="0.8")], *steps)
    assert names(found) == [(1, "raised"), (4, "cleared")]


def test_never_is_good_news_and_clears() -> None:
    _, found = run([rule(limit="0.1")], (0, seen(distance="0.05")), (1, seen(distance=NEVER)))
    assert names(found) == [(0, "raised"), (1, "cleared")]


def test_a_figure_must_stay_beyond_for_so_long() -> None:
    one = rule(limit="0.1", for_seconds=10, clear_seconds=5)
    bad, good = seen(distance="0.05"), seen(distance="0.5")
    _, found = run([one], (0, bad), (9, bad), (9.5, good), (10, bad), (19, None), (20, None), (21, good), (25, bad))
    assert names(found) == [(20, "raised")]
    _, found = run([one], (0, bad), (10, bad), (11, good), (15, good), (16, good))
    assert names(found) == [(10, "raised"), (16, "cleared")]


def test_escalation_stops_when_somebody_has_seen_it() -> None:
    steps = (
        Step(channels=("log",)),
        Step(after_seconds=60, channels=("phone", "log")),
        Step(after_seconds=120, channels=("boss",)),
    )
    one = rule(limit="0.1", escalation=steps)
    bad = seen(distance="0.05")
    state, found = run([one], (0, bad), (59, None), (60, None), (61, None))
    assert [(s, e.name, e.channels) for s, e in found] == [
        (0, "raised", ("log",)),
        (60, "escalated", ("phone", "log")),
    ]
    state = acknowledged(state, found[0][1].alert.id, "ann", after(100))
    state, events = judge([one], state, None, after(500))
    assert events == ()
    state, events = judge([one], state, seen(distance="0.5"), after(501))
    # who was told is told of the end, the boss never was
    assert [(e.name, e.channels, e.alert.acknowledged_by) for e in events] == [("cleared", ("log", "phone"), "ann")]


def test_steps_that_were_slept_through_are_taken_at_once() -> None:
    steps = (Step(after_seconds=10, channels=("a",)), Step(after_seconds=20, channels=("b",)))
    _, found = run([rule(limit="0.1", escalation=steps)], (0, seen(distance="0")), (100, None), (101, None))
    assert [(s, e.name, e.channels) for s, e in found] == [(0, "raised", ()), (100, "escalated", ("a", "b"))]


def test_stale_data_raises_without_any_reading() -> None:
    stale = rule("stale", limit="60")
    state, found = run([stale], (0, seen(T0)), (59, None), (60, None), (61, seen(after(61))))
    assert names(found) == [(60, "raised"), (61, "cleared")]
    assert state.as_of == after(61)


@pytest.mark.parametrize("told", [T0, T0 - timedelta(hours=1), T0 + timedelta(hours=1)])
def test_the_same_moment_told_again_is_no_fresh_data(told: datetime) -> None:
    """A feed that repeats one snapshot, of a clock that is right, an hour slow or an hour fast, goes stale."""
    _, found = run([rule("stale", limit="7200")], *((n * 600, seen(told)) for n in range(20)))
    expected = 7200 if told >= T0 else 3600
    assert names(found) == [(expected, "raised")]


def test_unknown_is_an_alert_and_holds_the_others() -> None:
    rules = [rule(limit="0.1"), rule("unknown")]
    _, found = run(rules, (0, seen(distance="0.05")), (1, seen(distance=None)), (2, seen(distance="0.5")))
    assert [(s, e.name, e.alert.kind) for s, e in found] == [
        (0, "raised", "distance"),
        (1, "raised", "unknown"),
        (2, "cleared", "distance"),
        (2, "cleared", "unknown"),
    ]
    assert found[1][1].alert.words == "distance: is missing"


def test_what_nobody_asked_or_read_is_unknown() -> None:
    rules = [rule(limit="0.1"), rule("unknown")]
    _, found = run(rules, (0, None))
    assert [e.alert.words for _, e in found] == ["account: nothing has been read yet"]
    _, found = run(rules, (0, seen(level="0")))
    assert [e.alert.words for _, e in found] == ["distance: was not judged"]
    _, found = run(rules, (0, replace(seen(distance="1"), problem="file is not there")))
    assert [e.alert.words for _, e in found] == ["account: file is not there"]


def test_a_figure_that_is_at_least_so_bad_raises_though_it_is_not_known() -> None:
    near, far = (replace(seen(distance=value), unknown={"distance": "one side"}) for value in ("0.05", "0.5"))
    _, found = run([rule(limit="0.1")], (0, far), (1, near), (2, far))
    assert names(found) == [(1, "raised")]  # and not cleared: the far figure is only the nearest that is known


def test_a_jump_is_measured_from_what_was() -> None:
    one = rule("sensitivity", limit="0.5", window_seconds=100)
    _, found = run(
        [one],
        (0, seen(sensitivity="100")),
        (50, seen(sensitivity="140")),  # + 40 %
        (60, seen(sensitivity="151")),  # + 51 %: raised
        (159, seen(sensitivity="151")),
        (160, seen(sensitivity="151")),  # after the window 151 is what it is compared with
        (161, seen(sensitivity="151")),
    )
    assert names(found) == [(60, "raised"), (161, "cleared")]
    assert found[0][1].alert.value == D("0.51")


def test_other_rules_than_before() -> None:
    one = rule("rules", window_seconds=100)
    _, found = run(
        [one], (0, seen()), (5000, seen()), (5001, seen(rules="r2")), (5101, seen(rules="r2")), (5102, seen(rules="r2"))
    )
    assert names(found) == [(5001, "raised"), (5102, "cleared")]
    assert found[0][1].alert.words == "r1 has become r2"


def test_a_rule_that_is_removed_and_an_account_that_is_gone_end_their_alerts() -> None:
    state, _ = run([rule(limit="0.1")], (0, seen(distance="0.05")))
    _, events = judge([], state, None, after(1))
    assert [(e.name, e.channels) for e in events] == [("cleared", ("log",))]
    _, events = judge([rule(limit="0.1"), rule("unknown")], state, replace(seen(), gone=True), after(1))
    assert [e.name for e in events] == ["cleared"]


def test_time_does_not_go_back() -> None:
    state, _ = run([rule(limit="0.1")], (5, seen(distance="1")))
    with pytest.raises(ValueError, match="went back"):
        judge([rule(limit="0.1")], state, None, after(4))


def test_always_watched() -> None:
    found = with_always([rule("stale", id="own", accounts=("x*",)), rule(limit="1", id="unknown")], ["log", "phone"])
    assert [one.kind for one in found] == ["stale", "distance", "stale", "unknown", "lag"]
    assert [one.id for one in found] == ["own", "unknown", "stale", "unknown-always", "lag"]
    assert found[-1].escalation == (Step(channels=("log", "phone")),)
    assert set(ALWAYS) <= {one.kind for one in found}
    assert [one.id for one in found if one.watches(MONITOR)] == ["lag"]
    assert not any(one.kind == "lag" for one in found if one.watches("x1"))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"kind": "distance"}, "limit: is missing"),
        ({"kind": "distance", "limit": "0.1", "clear": "0.05"}, "at or above the limit"),
        ({"kind": "margin_ratio", "limit": "0.8", "clear": "0.9"}, "at or below the limit"),
        ({"kind": "distance", "limit": "1e5"}, "plain decimal"),
        ({"kind": "distance", "limit": 0.1}, "binary float"),
        ({"kind": "nearness", "limit": "1"}, "input should be"),
        ({"kind": "stale", "for_seconds": -1}, "greater than or equal to 0"),
        ({"kind": "stale", "for_seconds": True}, "whole seconds"),
        ({"kind": "stale", "id": "a b"}, "match pattern"),
        ({"kind": "stale", "escalation": [{"channels": []}]}, "at least 1"),
        ({"kind": "stale", "escalation": [{"after_seconds": 9, "channels": ["a"]}, {"channels": ["b"]}]}, "first step"),
    ],
)  # fmt: skip
def test_rules_that_make_no_sense_are_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ProfileError, match=said):
        AlertRule(**{"id": "x", **given})


# what must always hold ------------------------------------------------------------------------------------------------

VALUES = st.sampled_from(["0", "0.05", "0.1", "0.11", "0.12", "0.13", "1", NEVER, None])
WALK = st.lists(st.tuples(st.integers(0, 40), VALUES, st.booleans()), min_size=1, max_size=60)


def walked(walk: list[tuple[int, Any, bool]], rules: list[AlertRule]) -> list[tuple[datetime, Reading | None]]:
    found, now = [], 0
    for pause, value, silent in walk:
        now += pause
        found.append((after(now), None if silent else seen(after(now), distance=value)))
    return found


RULES = [
    rule(limit="0.1", clear="0.12", for_seconds=20, clear_seconds=10,
         escalation=(Step(channels=("a",)), Step(after_seconds=30, channels=("b",)))),
    rule("stale", limit="60"),
    rule("unknown", for_seconds=5),
]  # fmt: skip


@HOUSE
@given(WALK)
def test_alerts_live_once_and_in_order(walk: list[tuple[int, Any, bool]]) -> None:
    """raised, then escalated at most once a step, then cleared; one alert a rule at a time; no event told twice."""
    state, open_now, told = AccountState(account="a"), dict[str, str](), Counter[tuple[str, str, int]]()
    for at, reading in walked(walk, RULES):
        state, events = judge(RULES, state, reading, at)
        for event in events:
            one = event.alert
            told[one.id, event.name, one.steps if event.name == "escalated" else 0] += 1
            if event.name == "raised":
                assert one.rule not in open_now
                open_now[one.rule] = one.id
            assert open_now[one.rule] == one.id
            if event.name == "cleared":
                del open_now[one.rule]
        assert {name: own.alert.id for name, own in state.rules.items() if own.alert} == open_now
    assert set(told.values()) <= {1}


@HOUSE
@given(WALK)
def test_hysteresis_does_not_flap(walk: list[tuple[int, Any, bool]]) -> None:
    """Between a clearing and the next alert a figure was at the limit for 20 s; before a clearing well for 10 s."""
    state, history = AccountState(account="a"), list[tuple[datetime, Any]]()
    for at, reading in walked(walk, RULES):
        if reading is not None:
            history.append((at, reading.figures.get("distance")))
        state, events = judge(RULES, state, reading, at)
        for event in (one for one in events if one.alert.rule == "distance"):
            if event.name == "escalated":
                continue
            bad = event.name == "raised"
            need = timedelta(seconds=20 if bad else 10)
            known = [(when, value) for when, value in history if value is not None]
            right = [
                value != NEVER and value <= D("0.1") if bad else value == NEVER or value > D("0.12")
                for _, value in known
            ]
            run_of = next((n for n, ok in enumerate(reversed(right)) if not ok), len(right))
            assert run_of > 0
            assert at - known[-run_of][0] >= need


@HOUSE
@given(WALK)
def test_unknown_and_stale_are_never_healthy(walk: list[tuple[int, Any, bool]]) -> None:
    """Whoever has no alert standing has fresh data, and every figure of it is known and good (or waits its time)."""
    rules = [rule(limit="0.1"), rule("stale", limit="60"), rule("unknown")]
    state = AccountState(account="a")
    last: Reading | None = None
    for at, reading in walked(walk, rules):
        state, _ = judge(rules, state, reading, at)
        last = reading or last
        if not any(own.alert for own in state.rules.values()):
            assert last is not None and last.as_of is not None
            assert at - last.as_of < timedelta(seconds=60)
            value = last.figures["distance"]
            assert value == NEVER or value > D("0.1")


@HOUSE
@given(WALK, st.integers(0, 2**32 - 1))
def test_nothing_happens_before_an_account_says_so(walk: list[tuple[int, Any, bool]], seed: int) -> None:
    """An account that is quiet until some time need not be looked at before: judging it changes nothing."""
    rng, state = random.Random(seed), AccountState(account="a")
    for at, reading in walked(walk, RULES):
        until = quiet_until(RULES, state)
        if reading is None and (until is None or at < until):
            skipped, events = judge(RULES, state, None, at)
            assert events == ()
            assert replace(skipped, at=state.at) == state
            if rng.random() < 0.5:
                continue  # as the loop does
        state, _ = judge(RULES, state, reading, at)


def test_every_kind_is_of_the_table() -> None:
    assert all(kind.words and kind.band >= 0 for kind in KINDS.values())
