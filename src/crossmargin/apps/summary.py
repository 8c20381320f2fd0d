"""One account in one line: its figures, and in words what is nearest to liquidating it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from crossmargin.errors import CrossmarginError
from crossmargin.model.instrument import parse_symbol
from crossmargin.model.number import plain
from crossmargin.model.report import Crossing, PoolReport, Report, Thresholds

if TYPE_CHECKING:
    from crossmargin.files.accounts import Case

MOST_COINS = 200
"""With more coins than that the list asks for the common move alone: one threshold a coin takes seconds to minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Nearest:
    """The nearest liquidation: ``coin`` alone moves by ``distance`` (a fraction), or ``all`` together.

    ``kind``: price, never, already or unknown. ``words`` name the nearest single move and the common one, and say what
    was not asked.
    """

    words: str
    coin: str | None
    distance: Decimal | None
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a list of accounts shows of one; figures as in :class:`~crossmargin.model.report.Report`."""

    id: str
    title: str
    venue: str
    profile: str
    as_of: datetime
    status: str
    currency: str
    equity: Decimal | None
    maintenance_margin: Decimal | None
    headroom: Decimal | None
    margin_ratio: Decimal | None
    nearest: Nearest
    pools: tuple[PoolReport, ...]


def summary(case: Case, *, id: str, title: str = "") -> Summary:
    """An account in one line. Raises as :func:`crossmargin.evaluate` does; thresholds that fail are not known."""
    from crossmargin.engine.reporting import evaluate
    from crossmargin.files.profiles import load_profile

    report = evaluate(*case, explain=False)
    return Summary(
        id=id,
        title=title or id,
        venue=load_profile(case.account.profile).venue,
        profile=report.profile,
        as_of=report.as_of,
        status=report.status,
        currency=report.currency,
        equity=report.equity,
        maintenance_margin=report.maintenance_margin,
        headroom=report.headroom,
        margin_ratio=report.margin_ratio,
        nearest=_nearest_of(case, report),
        pools=report.pools,
    )


def _nearest_of(case: Case, report: Report) -> Nearest:
    """The nearest liquidation of a judged account: an account of many coins is asked for the common move only."""
    from crossmargin.analytics.threshold import coins_of, common_shock_of, thresholds_of
    from crossmargin.engine.prepare import prepare

    try:
        prepared = prepare(*case)
        coins = len(coins_of(prepared))
        if coins <= MOST_COINS:
            return nearest(report, thresholds_of(prepared, explain=False))  # a list names no binding rule
        shock = common_shock_of(prepared, explain=False)
    except CrossmarginError as error:
        return _unknown(f"not known: {error}")
    found = nearest(report, Thresholds(convention="coin", thresholds=(), common_shock=shock))
    alone = f"each of {coins} coins alone: not asked"
    if found.kind == "never":  # together they do not, but nobody has asked whether one of them does
        return _unknown(f"no common move liquidates it; {alone}")
    return found if found.kind == "already" else replace(found, words=f"{found.words}; {alone}")


def _unknown(words: str) -> Nearest:
    return Nearest(words=words, coin=None, distance=None, kind="unknown")


def nearest(report: Report, found: Thresholds) -> Nearest:
    """What is nearest to liquidating the account, in words such as "BTC -18.4 % alone; all -12.1 % together"."""
    if report.status == "liquidation":
        return Nearest(words="liquidatable now", coin=None, distance=Decimal(0), kind="already")
    singles = [(row.symbol, side) for row in found.thresholds for side in (row.below, row.above)]
    together = [("all", side) for side in (found.common_shock.below, found.common_shock.above)]
    ends = [end for end in (_least(singles), _least(together)) if end is not None]
    unknown = any(side.kind == "unknown" for _, side in (*singles, *together))
    if not ends:
        if unknown:
            return _unknown("not known")
        return Nearest(words="no price move liquidates it", coin=None, distance=None, kind="never")
    told = [_words(name, side) for name, side in ends] + (["others not known"] if unknown else [])
    name, side = min(ends, key=_far)
    return Nearest(words="; ".join(told), coin=_coin(name), distance=side.distance, kind=side.kind)


def _far(end: tuple[str, Crossing]) -> Decimal:
    return abs(end[1].distance or Decimal(0))


def _least(ends: list[tuple[str, Crossing]]) -> tuple[str, Crossing] | None:
    """The nearest of those ends that are known."""
    return min((end for end in ends if end[1].distance is not None), key=_far, default=None)


def _coin(name: str) -> str:
    return parse_symbol(name).base if "/" in name else name


def _words(name: str, side: Crossing) -> str:
    """``BTC -18.4 % alone``; an asset that is collateral by the price it falls to."""
    move = f"{side.distance * 100:+.1f} %" if side.distance is not None else ""
    if name == "all":
        return f"all {move} together"
    if "/" not in name and side.price is not None:
        return f"{name} to {plain(round(side.price, 4))} on this venue"
    return f"{_coin(name)} {move} alone"
