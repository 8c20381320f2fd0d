"""Which alerts does a reading raise, escalate and clear?

A pure step: (rules, what is remembered of an account, what is seen of it, when) -> (what to remember, what happened).
No clock and no input or output: time is an argument and never goes back, so every run of the same readings gives the
same alerts with the same ids. A figure that is unknown neither raises nor clears its own rule; the ``unknown`` alert of
the account says so.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Literal

from crossmargin.apps.monitor.rules import KINDS, NEVER, AlertRule, Figure, Reading, Severity
from crossmargin.model.number import plain

EventName = Literal["raised", "escalated", "cleared"]
_ZERO, _ONE = Decimal(0), Decimal(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One alert: what is wrong with which account since when, in words that stand on their own.

    ``value`` is the figure that raised it, ``limit`` that of the rule. ``steps``: how many steps of the escalation have
    been taken, ``told``: the channels of those. ``cleared_at`` and ``acknowledged_at`` are None until then.
    """

    id: str
    rule: str
    account: str
    kind: str
    severity: Severity
    value: Decimal
    limit: Decimal
    words: str
    raised_at: datetime
    steps: int = 0
    told: tuple[str, ...] = ()
    cleared_at: datetime | None = None
    acknowledged_at: datetime | None = None
    acknowledged_by: str | None = None

    @property
    def state(self) -> str:
        """One of open, acknowledged, cleared."""
        return "cleared" if self.cleared_at else "acknowledged" if self.acknowledged_at else "open"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What happened to an alert, and which channels are to be told of it."""

    name: EventName
    alert: Alert
    channels: tuple[str, ...]
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleState:
    """What is remembered of one rule on one account.

    ``beyond``: since when the figure is at the limit or beyond; ``back``: since when it is well again while an alert
    stands. ``compared`` and ``compared_at``: what a change is measured from, and since when.
    """

    beyond: datetime | None = None
    back: datetime | None = None
    compared: str | None = None
    compared_at: datetime | None = None
    alert: Alert | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountState:
    """What is remembered of one account: what was seen last, when it was judged last, and every rule's state.

    ``as_of``: the moment that its data is of, by the monitor's clock; ``stated``: the latest that the data itself says.
    """

    account: str
    reading: Reading | None = None
    as_of: datetime | None = None
    stated: datetime | None = None
    at: datetime | None = None
    rules: Mapping[str, RuleState] = field(default_factory=dict)


def judge(
    rules: Sequence[AlertRule], state: AccountState, reading: Reading | None, at: datetime
) -> tuple[AccountState, tuple[Event, ...]]:
    """One account at one time. ``reading`` None: nothing new has come; ages, delays and escalations still pass.

    ``at`` must not go back for an account (:class:`ValueError`): ages come from a clock that never does.
    """
    if state.at is not None and at < state.at:
        raise ValueError(f"time went back from {state.at} to {at}")
    seen = reading if reading is not None else state.reading
    as_of, stated = state.as_of, state.stated
    if reading is not None and reading.as_of is not None and (stated is None or reading.as_of > stated):
        # data of the future is of now; the same moment told again, or an older one, makes nothing fresher
        as_of, stated = min(reading.as_of, at), reading.as_of
    scope = () if seen is not None and seen.gone else None if seen is None else seen.scope
    mine = [rule for rule in rules if rule.watches(state.account, scope)]
    known = dict(state.rules)
    blind = _unjudged(mine, seen)
    events: list[Event] = []
    for rule in mine:
        before = known.get(rule.id, RuleState())
        figure, words = _figure(rule, seen, blind, as_of, at, before)
        after, happened = _step(rule, state.account, before, figure, words, at)
        known[rule.id] = _compared(rule, after, seen, at)
        events += happened
    for name in [name for name in known if name not in {rule.id for rule in mine}]:
        events += _orphaned(known.pop(name).alert, at)
    now = AccountState(account=state.account, reading=seen, as_of=as_of, stated=stated, at=at, rules=known)
    return now, tuple(events)


def quiet_until(rules: Sequence[AlertRule], state: AccountState) -> datetime | None:
    """Before when nothing can happen to an account of which no new reading comes; None: at no time."""
    if state.at is None:
        return datetime.min.replace(tzinfo=UTC)
    scope = state.reading.scope if state.reading is not None else None
    mine = {rule.id: rule for rule in rules if rule.watches(state.account, scope)}
    if state.rules.keys() != mine.keys():
        return state.at  # the rules have changed
    due = [at for name, rule in mine.items() if (at := _next(rule, state.rules[name], state.as_of)) is not None]
    return min(due, default=None)


def _next(rule: AlertRule, own: RuleState, as_of: datetime | None) -> datetime | None:
    """When time alone may do something next to one rule on one account."""
    if own.alert is None:
        if own.beyond is not None:
            return own.beyond + timedelta(seconds=rule.for_seconds)
        if rule.kind == "stale" and as_of is not None:
            return as_of + timedelta(seconds=float(rule.raises_at))
        return None
    if own.back is not None:
        return own.back + timedelta(seconds=rule.clear_seconds)
    steps = () if own.alert.acknowledged_at else rule.escalation[own.alert.steps :]
    return own.alert.raised_at + timedelta(seconds=steps[0].after_seconds) if steps else None


def acknowledged(state: AccountState, alert_id: str, by: str, at: datetime) -> AccountState:
    """The same state with one alert acknowledged: no further step of its escalation is taken."""
    rules = {
        name: replace(own, alert=replace(own.alert, acknowledged_at=at, acknowledged_by=by))
        if own.alert and own.alert.id == alert_id and own.alert.acknowledged_at is None
        else own
        for name, own in state.rules.items()
    }
    return replace(state, rules=rules)


# figures --------------------------------------------------------------------------------------------------------------


def _unjudged(rules: Iterable[AlertRule], seen: Reading | None) -> dict[str, str]:
    """Every kind that a rule asks for and nobody can answer, with the reason."""
    if seen is None:
        return {"account": "nothing has been read yet"}
    if seen.problem is not None:
        return {"account": seen.problem}
    asked = {rule.kind for rule in rules} - {"stale", "unknown", "lag", "rules"}
    missing: dict[str, str] = {kind: "was not judged" for kind in sorted(asked) if kind not in seen.figures}
    dated = seen.as_of is not None or not any(rule.kind == "stale" for rule in rules)
    undated = {} if dated else {"as_of": "is not known"}
    return {**missing, **seen.unknown, **undated}


def _figure(
    rule: AlertRule,
    seen: Reading | None,
    blind: Mapping[str, str],
    as_of: datetime | None,
    at: datetime,
    own: RuleState,
) -> tuple[Figure | None, str]:
    """The figure that a rule looks at and its words; None where it cannot be known to be good or bad."""
    if rule.kind == "unknown":
        return Decimal(len(blind)), "; ".join(f"{name}: {why}" for name, why in blind.items())
    if rule.kind == "stale":
        if as_of is None:
            return None, ""
        age = Decimal((at - as_of) // timedelta(seconds=1))
        return age, f"the data is of {as_of.isoformat().replace('+00:00', 'Z')}"
    if seen is None or seen.problem is not None:
        return None, ""
    if rule.kind == "rules":
        if seen.rules is None:
            return None, ""
        changed = own.compared is not None and own.compared != seen.rules
        return (_ONE if changed else _ZERO), f"{own.compared} has become {seen.rules}" if changed else ""
    found = seen.figures.get(rule.kind)
    words = seen.words.get(rule.kind, "")
    if found is not None and rule.kind in seen.unknown and not rule.harmful(found):
        return None, ""
    if KINDS[rule.kind].change and isinstance(found, Decimal):
        return _rise(own.compared, found), words
    return found, words


def _rise(compared: str | None, now: Decimal) -> Figure:
    """How much a figure has grown since what it is compared with, as a fraction of that."""
    if compared is None:
        return _ZERO
    before = Decimal(compared)
    if before <= 0:
        return NEVER if now <= 0 else Decimal(10) ** 9
    return now / before - 1


def _compared(rule: AlertRule, own: RuleState, seen: Reading | None, at: datetime) -> RuleState:
    """What the next change is measured from: kept while an alert is young, and for a window otherwise."""
    if not KINDS[rule.kind].change or seen is None or seen.problem is not None:
        return own
    if rule.kind == "rules":
        now = seen.rules
    else:
        figure = seen.figures.get(rule.kind)
        now = plain(figure) if isinstance(figure, Decimal) and rule.kind not in seen.unknown else None
    if now is None:
        return own
    since = own.alert.raised_at if own.alert else own.compared_at
    if own.compared is None or since is None:
        return replace(own, compared=now, compared_at=at)
    old = at - since >= timedelta(seconds=rule.window_seconds)
    pending = own.beyond is not None and own.alert is None
    return replace(own, compared=now, compared_at=at) if old and not pending else own


# the life of an alert -------------------------------------------------------------------------------------------------


_Stepped = tuple[RuleState, list[Event]]


def _step(rule: AlertRule, account: str, own: RuleState, figure: Figure | None, words: str, at: datetime) -> _Stepped:
    """One rule on one account: raise, escalate or clear."""
    if own.alert is None:
        if figure is None:
            return own, []
        if not rule.harmful(figure):
            return replace(own, beyond=None), []
        since = own.beyond or at
        if at - since < timedelta(seconds=rule.for_seconds):
            return replace(own, beyond=since), []
        assert isinstance(figure, Decimal)
        alert = _made(rule, account, figure, words, at)
        return _escalated(rule, replace(own, beyond=since, back=None, alert=alert), at, "raised")
    if figure is not None and rule.well(figure):
        since = own.back or at
        if at - since >= timedelta(seconds=rule.clear_seconds):
            return replace(own, beyond=None, back=None, alert=None), _cleared(own.alert, at)
        own = replace(own, back=since)
    elif figure is not None:
        own = replace(own, back=None)
    return _escalated(rule, own, at)


def _made(rule: AlertRule, account: str, figure: Decimal, words: str, at: datetime) -> Alert:
    """A new alert. Its id follows from rule, account and time: the same readings judged again make the same alert."""
    text = f"{rule.id}\n{account}\n{at.isoformat()}"
    return Alert(
        id=hashlib.sha256(text.encode()).hexdigest()[:32],
        rule=rule.id,
        account=account,
        kind=rule.kind,
        severity=rule.weight,
        value=figure,
        limit=rule.raises_at,
        words=words or KINDS[rule.kind].words,
        raised_at=at,
    )


def _escalated(rule: AlertRule, own: RuleState, at: datetime, name: EventName = "escalated") -> _Stepped:
    """Take the steps that are due; an alert that is acknowledged is quiet. One that is new happens even if none is."""
    alert = own.alert
    assert alert is not None
    waited = at - alert.raised_at
    due = [step for step in rule.escalation if timedelta(seconds=step.after_seconds) <= waited]
    taken = [] if alert.acknowledged_at else due[alert.steps :]
    if not taken and name == "escalated":
        return own, []
    channels = tuple(dict.fromkeys(channel for step in taken for channel in step.channels))
    told = tuple(dict.fromkeys(alert.told + channels))
    alert = replace(alert, steps=alert.steps + len(taken), told=told)
    return replace(own, alert=alert), [Event(name=name, alert=alert, channels=channels, at=at)]


def _cleared(gone: Alert, at: datetime) -> list[Event]:
    """Whoever was told of the alert is told that it is over."""
    return [Event(name="cleared", alert=replace(gone, cleared_at=at), channels=gone.told, at=at)]


def _orphaned(alert: Alert | None, at: datetime) -> list[Event]:
    """An alert whose rule is gone ends with it, and nobody is left without an end."""
    return [] if alert is None else _cleared(replace(alert, words=f"{alert.words} (its rule was removed)"), at)
