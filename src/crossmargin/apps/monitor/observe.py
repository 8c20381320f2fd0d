"""What does an account look like now, as far as the rules ask?

Each kind of figure is one question of the library; only what a rule asks for is computed. What cannot be known is said
with its reason and stands beside a figure only where the truth is at least as bad.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from crossmargin.analytics.funding import runway
from crossmargin.analytics.reconciliation import reconcile
from crossmargin.analytics.sensitivity import sensitivity
from crossmargin.analytics.threshold import thresholds_of
from crossmargin.apps.monitor.rules import NEVER, Figure, KindName, Reading
from crossmargin.engine.pool import Prepared
from crossmargin.engine.prepare import prepare
from crossmargin.engine.reporting import evaluate
from crossmargin.errors import CrossmarginError
from crossmargin.files.accounts import Case
from crossmargin.model.profile import Rules
from crossmargin.model.report import Report, Thresholds
from crossmargin.model.reported import Reported

_PLACE = {"healthy": Decimal(0), "warning": Decimal(1), "liquidation": Decimal(2)}


class Seen(NamedTuple):
    """One account as a source gives it.

    ``case`` None: it could not be read, and ``problem`` says why. ``reported``: what the venue says of it, None where
    the source holds no such figures; ``given``: those of them that the case was worked out from. ``notes``: what makes
    the snapshot incomplete; it is then never healthy.
    """

    account: str
    case: Case | None
    as_of: datetime | None
    reported: tuple[Reported, ...] | None = None
    lacking: tuple[str, ...] = ()
    problem: str | None = None
    gone: bool = False
    scope: tuple[KindName, ...] | None = None
    given: Mapping[str, str] = {}


ALIVE: tuple[KindName, ...] = ("unknown",)
"""What is asked of a source of many accounts itself: whether it can be read."""


class _Asked(NamedTuple):
    """What every question starts from."""

    seen: Seen
    case: Case
    prepared: Prepared
    report: Report


class _Answer(NamedTuple):
    """A figure, its words and what is unknown about it."""

    figure: Figure | None = None
    words: str = ""
    unknown: str = ""


def observe(seen: Seen, kinds: Collection[KindName]) -> Reading:
    """The reading of an account; whatever goes wrong with it is the reading's ``problem``, never an exception."""
    nothing = Reading(
        account=seen.account, as_of=seen.as_of, figures={}, words={}, unknown={}, problem=seen.problem, scope=seen.scope
    )
    if seen.gone:
        return replace(nothing, gone=True)
    if seen.case is None:
        return nothing if seen.problem or seen.scope else replace(nothing, problem="could not be read")
    try:
        prepared = prepare(*seen.case)
        report = evaluate(*seen.case, explain=False)
    except CrossmarginError as error:
        return replace(nothing, problem=said(error))
    asked = _Asked(seen, seen.case, prepared, report)
    answers = {kind: _answered(ask, asked) for kind, ask in _QUESTIONS.items() if kind in kinds}
    unknown: dict[str, str] = {kind: answer.unknown for kind, answer in answers.items() if answer.unknown}
    unknown |= {f"account.{name}": f"the source lists no {name}" for name in seen.lacking}
    if report.equity is None:
        unknown["equity"] = "; ".join(report.notes) or "cannot be known"
    return replace(
        nothing,
        figures={kind: answer.figure for kind, answer in answers.items() if answer.figure is not None},
        words={kind: answer.words for kind, answer in answers.items() if answer.words},
        unknown=unknown,
        rules=fingerprint(seen.case.rules),
        currency=report.currency,
        equity=report.equity,
        maintenance_margin=report.maintenance_margin,
    )


def _answered(ask: Callable[[_Asked], _Answer], asked: _Asked) -> _Answer:
    try:
        return ask(asked)
    except CrossmarginError as error:
        return _Answer(unknown=said(error))


def said(error: CrossmarginError) -> str:
    """An error on one line."""
    return f"{error.where}: " + "; ".join(str(fault).removeprefix(": ") for fault in error.faults)


_fingerprints: dict[int, tuple[Rules, str]] = {}


def fingerprint(rules: Rules) -> str:
    """A short name of a set of rules that changes with any number in it: profile, date and a hash."""
    found = _fingerprints.get(id(rules))
    if found is None or found[0] is not rules:
        digest = hashlib.sha256(repr(rules).encode()).hexdigest()[:12]
        found = rules, f"{rules.profile} of {rules.since} ({digest})"
        _fingerprints.clear()  # one at a time is enough to save the work of a feed that re-reads one account
        _fingerprints[id(rules)] = found
    return found[1]


# the questions --------------------------------------------------------------------------------------------------------


def _level(asked: _Asked) -> _Answer:
    reached = [f"{pool.name}: {pool.level or pool.status}" for pool in asked.report.pools if pool.status != "healthy"]
    return _Answer(_PLACE[asked.report.status], ", ".join(reached) or "healthy")


def _margin_ratio(asked: _Asked) -> _Answer:
    ratio = asked.report.margin_ratio
    if ratio is not None:
        return _Answer(ratio, "maintenance margin over equity")
    if asked.report.status == "liquidation":  # without equity there is no ratio, and nothing worse
        return _Answer(Decimal(10) ** 9, "no equity is left")
    return _Answer(unknown="; ".join(asked.report.notes) or "there is no ratio")


def _headroom(asked: _Asked) -> _Answer:
    room = asked.report.headroom
    if room is None:
        return _Answer(unknown="; ".join(asked.report.notes) or "the pools cannot be compared")
    return _Answer(room, f"equity less maintenance margin, in {asked.report.currency}")


def _distance(asked: _Asked) -> _Answer:
    return nearest(thresholds_of(asked.prepared, explain=False))


def nearest(found: Thresholds) -> _Answer:
    """The nearest move that liquidates; where a side is unknown the nearest of the others, marked as unknown."""
    sides = [(row.symbol, side) for row in found.thresholds for side in (row.below, row.above)]
    sides += [(found.common_shock.direction, side) for side in (found.common_shock.below, found.common_shock.above)]
    unknown = "; ".join(dict.fromkeys(f"{name}: {side.reason}" for name, side in sides if side.kind == "unknown"))
    if any(side.kind == "already" for _, side in sides):
        return _Answer(Decimal(0), "liquidated at the present prices")
    moves = [(abs(side.distance), name, side) for name, side in sides if side.distance is not None]
    if not moves:
        return _Answer(unknown=unknown) if unknown else _Answer(NEVER, "no move of a price liquidates it")
    least, name, side = min(moves, key=lambda move: move[0])
    verb = "falling" if side.distance is not None and side.distance < 0 else "rising"
    at = "" if side.price is None else f" to {side.price:.10g}"
    return _Answer(least, f"{name} {verb} {least * 100:.2f} %{at}", unknown)


def _sensitivity(asked: _Asked) -> _Answer:
    found = sensitivity(*asked.case, thresholds=())
    steps = [(-row.adverse, row.name, row.currency) for row in found.slopes if row.kind == "coin"]
    if not steps:
        return _Answer(Decimal(0), "no coin moves it")
    worst, coin, currency = max(steps)
    return _Answer(max(worst, Decimal(0)), f"1 % of {coin} costs {worst:.8g} {currency}")


def _runway(asked: _Asked) -> _Answer:
    rows = [row for row in runway(*asked.case).runways if row.scenario == "current"]
    unknown = "; ".join(dict.fromkeys(f"{row.pool}: {row.reason}" for row in rows if row.kind == "unknown"))
    if any(row.kind == "already" for row in rows):
        return _Answer(Decimal(0), "there is no headroom to pay funding from")
    ends = [(row.hours, row.pool) for row in rows if row.kind == "time" and row.hours is not None]
    # where only the order of payments ends the pool there is an interval end, but no hour
    ends += [
        (Decimal(int((row.interval_end - asked.case.market.as_of).total_seconds())) / 3600, row.pool)
        for row in rows
        if row.kind == "time" and row.hours is None and row.interval_end is not None
    ]
    if not ends:
        return _Answer(unknown=unknown) if unknown else _Answer(NEVER, "funding does not end it")
    hours, pool = min(ends)
    return _Answer(hours, f"funding ends {pool} in {hours:.1f} hours", unknown)


def _reconciliation(asked: _Asked) -> _Answer:
    if asked.seen.reported is None:
        return _Answer(unknown="the source holds nothing that the venue reported")
    found = reconcile(*asked.case, asked.seen.reported, lacking=asked.seen.lacking, unfounded=asked.seen.given)
    wrong = [row.figure for row in found.figures if row.verdict == "differs"]
    unknown = [row.figure for row in found.figures if row.verdict == "unknown"]
    return _Answer(
        Decimal(len(wrong)),
        f"differs from the venue's own: {', '.join(wrong)}" if wrong else "agrees with the venue's own figures",
        f"cannot be compared: {', '.join(unknown)}" if unknown else "",
    )


_QUESTIONS: Mapping[KindName, Callable[[_Asked], _Answer]] = {
    "level": _level,
    "margin_ratio": _margin_ratio,
    "headroom": _headroom,
    "distance": _distance,
    "sensitivity": _sensitivity,
    "runway": _runway,
    "reconciliation": _reconciliation,
}
