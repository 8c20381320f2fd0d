"""How long can I pay funding?

Funding leaves the wallet (an isolated position pays from its own margin), so headroom along time is headroom along a
line of balances: the judge runs on it as it does on prices, and the first zero is the runway, exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext
from fractions import Fraction
from functools import partial
from math import ceil, floor, gcd, lcm
from typing import Any, Literal, NamedTuple

from crossmargin.analytics.threshold import thresholds_of
from crossmargin.engine import formulas
from crossmargin.engine.path import headroom_along
from crossmargin.engine.pool import Exposure, Leg, Pool, Prepared
from crossmargin.engine.prepare import prepare
from crossmargin.engine.ray import Ray, first_fall
from crossmargin.engine.reference import measure
from crossmargin.errors import AccountError, Fault
from crossmargin.model.account import Account, Balance, Position
from crossmargin.model.market import Market
from crossmargin.model.number import CONTEXT
from crossmargin.model.profile import Rules
from crossmargin.model.report import Crossing

Num = Any
_DAY = Decimal(24)
_ZERO = Decimal(0)
_LAST = Decimal(1).scaleb(-30)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Purse(NamedTuple):
    """Where a payment is taken from: the shared wallet of an asset, or (``symbol`` given) an isolated pocket."""

    asset: str
    symbol: str | None = None
    position_side: str = "net"


@dataclass(frozen=True, slots=True, kw_only=True)
class FundingPayment:
    """What one position pays at the end of an interval, in ``currency`` (its settle asset); below 0 = receives.

    ``notional`` is in the settle asset at the price of the profile's funding rule; ``pool_payment`` is the payment at
    the asset's price in the pool's currency. What is not known is None, with the ``reason``.
    """

    symbol: str
    position_side: str
    pool: str
    currency: str
    notional: Decimal | None
    funding_rate: Decimal | None
    interval_hours: Decimal | None
    payment: Decimal | None
    per_day: Decimal | None
    pool_currency: str
    pool_payment: Decimal | None
    pool_per_day: Decimal | None
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Runway:
    """How long one pool can pay, all else standing still, in one scenario of the rates.

    ``time``: headroom is zero after ``hours`` if funding flowed continuously (the instant ``at``), and is zero or less
    for the first time at ``interval_end``, when a payment is really taken (``hours`` is None where only the order of
    payments ends the pool, which receives as much as it pays). ``never``: funding does not end the pool.
    ``already``: it has no headroom now. ``unknown``: see ``reason``. An instant after the year 9999 is None. A
    ``reason`` beside another kind says what the scenario leaves open.
    """

    scenario: str
    pool: str
    currency: str
    per_day: Decimal | None
    kind: Literal["time", "never", "already", "unknown"]
    hours: Decimal | None = None
    at: datetime | None = None
    interval_end: datetime | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MovedThreshold:
    """Where a threshold would be without the funding paid so far, where it is, and the difference of the prices."""

    symbol: str
    pool: str
    side: Literal["below", "above"]
    without: Crossing
    now: Crossing
    moved: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FundingOutlook:
    """Every payment, every pool's runway in every scenario, and what was paid so far did to the thresholds."""

    as_of: datetime
    payments: tuple[FundingPayment, ...]
    runways: tuple[Runway, ...]
    moved_thresholds: tuple[MovedThreshold, ...]


# public questions -----------------------------------------------------------------------------------------------------


def funding(account: Account, market: Market, rules: Rules) -> tuple[FundingPayment, ...]:
    """What every perpetual pays at the end of its interval, and in a day, at the present rates and prices.

    Payment = notional x rate; a positive rate is paid by longs (:func:`crossmargin.engine.formulas.funding_payment`).
    The rate is ``market.funding_rate`` (a fraction an interval), the interval ``market.funding_interval`` or the
    profile's, the price the mark or the oracle (``market.index_price`` of the base), as the profile says. Dated futures
    pay none and are left out. Raises as :func:`crossmargin.evaluate` does; a missing rate is a ``reason``, not 0.
    """
    with localcontext(CONTEXT):
        prepared = prepare(account, market, rules)
        return tuple(
            _payment(prepared, pool, exposure, leg, market.funding_rate.get(exposure.symbol.name))
            for pool, exposure, leg in _perpetuals(prepared)
        )


def runway(
    account: Account,
    market: Market,
    rules: Rules,
    *,
    history: Mapping[str, Sequence[Decimal]] | None = None,
    quantiles: Sequence[Decimal] = (Decimal("0.5"), Decimal("0.9"), Decimal("0.99")),
    paid: Mapping[str, Decimal] | None = None,
) -> FundingOutlook:
    """When funding alone brings headroom to zero, pool by pool; prices and rates stand still.

    Scenarios: ``current`` rates; with ``history`` (past rates an interval, by symbol) for every quantile ``q`` from 0
    to 1 the rate that was no worse in a share ``q`` of the intervals (the high ones for a long, the low ones for a
    short; nearest rank, no interpolation); ``cap`` where the profile has one for every contract of the pool, all
    positions paying it; ``cap where known`` where it has one for some, the others paying their present rates: no worst
    case, and the ``reason`` names them; neither where it has none. ``paid`` is the
    funding paid so far by asset (below 0 = received; a symbol names an isolated pocket): how far it has moved each
    threshold. Payments fall on whole multiples of the interval since midnight UTC. Raises as :func:`funding` does and
    :class:`AccountError` for a quantile or a past rate out of range, or a name in ``paid`` that is not held.
    """
    faults = [Fault("quantiles", str(q), "must be a fraction from 0 to 1") for q in quantiles if not 0 <= q <= 1]
    for symbol, past in (history or {}).items():
        faults += [
            Fault(f"history.{symbol}[{index}]", str(rate), "must be a fraction from -1 to 1 (0.01 % is 0.0001)")
            for index, rate in enumerate(past)
            if not -1 <= rate <= 1
        ]
    if faults:
        raise AccountError("runway", faults)
    with localcontext(CONTEXT):
        prepared = prepare(account, market, rules)
        scenarios: dict[str, _Rates] = {"current": lambda symbol, _: market.funding_rate.get(symbol)}
        for q in quantiles if history else ():
            scenarios[f"quantile {q}"] = partial(_adverse, history or {}, q)
        runways = (
            *(_runway(prepared, pool, name, rates) for name, rates in scenarios.items() for pool in prepared.pools),
            *_at_caps(prepared),
        )
        return FundingOutlook(
            as_of=market.as_of,
            payments=funding(account, market, rules),
            runways=runways,
            moved_thresholds=_moved(prepared, paid) if paid else (),
        )


def after_payments(account: Account, amounts: Mapping[Purse, Num]) -> Account:
    """The account after amounts were taken from its purses (below 0 = put in); numbers or rays, not validated again."""
    balances = dict(account.balances)
    positions: list[Position] = []
    for purse, amount in amounts.items():
        if purse.symbol is None:
            held = balances.get(purse.asset, Balance())
            balances[purse.asset] = held.model_copy(update={"wallet_balance": held.wallet_balance - amount})
    for position in account.positions:
        amount = _ZERO
        if position.margin_mode == "isolated":
            amount = next((a for p, a in amounts.items() if p[1:] == (position.symbol, position.position_side)), _ZERO)
        kept = position if amount is _ZERO else {"isolated_margin": (position.isolated_margin or _ZERO) - amount}
        positions.append(kept if isinstance(kept, Position) else position.model_copy(update=kept))
    return account.model_copy(update={"balances": balances, "positions": tuple(positions)})


def purse_of(pool: Pool, exposure: Exposure, leg: Leg) -> Purse:
    """Where a position's funding is taken from."""
    symbol = exposure.symbol
    return Purse(symbol.settle, symbol.name, leg.position.position_side) if pool.isolated else Purse(symbol.settle)


def funding_notional(prepared: Prepared, exposure: Exposure, leg: Leg) -> tuple[Decimal | None, str | None]:
    """The value that a funding rate is charged on, in the settle asset, or None and the reason."""
    slot = prepared.rules.slots.funding
    price: Decimal | None = exposure.mark
    if slot is not None and slot.price == "oracle":
        price = prepared.market.index_price.get(exposure.symbol.base)
    if price is None:
        return None, f"market.index_price.{exposure.symbol.base} is missing; funding is charged on the oracle price"
    return exposure.notional(leg.size, price), None


# one payment ----------------------------------------------------------------------------------------------------------


def _perpetuals(prepared: Prepared) -> Iterator[tuple[Pool, Exposure, Leg]]:
    for pool in prepared.pools:
        for asset in pool.assets:
            for exposure in asset.exposures:
                if exposure.symbol.expiry is None:
                    for leg in exposure.legs:
                        yield pool, exposure, leg


def _payment(prepared: Prepared, pool: Pool, exposure: Exposure, leg: Leg, rate: Decimal | None) -> FundingPayment:
    name = exposure.symbol.name
    slot = prepared.rules.slots.funding
    interval = prepared.market.funding_interval.get(name, slot.interval_hours if slot else None)
    notional, reason = funding_notional(prepared, exposure, leg)
    if rate is None:
        reason = f"the funding rate of {name} is missing"
    elif interval is None:
        reason = f"market.funding_interval of {name} is missing and {prepared.rules.profile} has no funding rule"
    price = next(asset.price for asset in pool.assets if exposure in asset.exposures)
    payment = per_day = None
    if rate is not None and notional is not None and interval is not None:
        payment = formulas.funding_payment(leg.size, notional, rate)
        per_day = payment * _DAY / interval
    return FundingPayment(
        symbol=name,
        position_side=leg.position.position_side,
        pool=pool.name,
        currency=exposure.symbol.settle,
        notional=notional,
        funding_rate=rate,
        interval_hours=interval,
        payment=payment,
        per_day=per_day,
        pool_currency=pool.currency,
        pool_payment=None if payment is None else payment * price,
        pool_per_day=None if per_day is None else per_day * price,
        reason=reason,
    )


_Rates = Callable[[str, int], Decimal | None]
"""(symbol, +1 long or -1 short) -> the rate of a scenario, None where it is not known."""


def _at_cap(caps: Mapping[str, Decimal], present: Mapping[str, Decimal], symbol: str, side: int) -> Decimal | None:
    """The worst rate that the rules allow the contract; the present one where they cap none of it."""
    return caps[symbol] * side if symbol in caps else present.get(symbol)


def _adverse(history: Mapping[str, Sequence[Decimal]], quantile: Decimal, symbol: str, side: int) -> Decimal | None:
    """The rate that was no worse for the side in a share of the past intervals, by nearest rank."""
    ordered = sorted(history.get(symbol, ()), reverse=side < 0)
    return ordered[max(0, ceil(quantile * len(ordered)) - 1)] if ordered else None


# along time -----------------------------------------------------------------------------------------------------------


class _Flow(NamedTuple):
    purse: Purse
    payment: Decimal
    hours: Decimal


def _at_caps(prepared: Prepared) -> Iterator[Runway]:
    """The runway of every pool at the caps that the rules know; a pool without a capped contract has none."""
    slot = prepared.rules.slots.funding
    held = [(pool, exposure.symbol.name) for pool, exposure, _ in _perpetuals(prepared)]
    known = {name: slot.cap_of(name) for _, name in held} if slot else {}
    caps = {name: cap for name, cap in known.items() if cap is not None}
    for pool in prepared.pools if caps else ():
        own = dict.fromkeys(name for owner, name in held if owner is pool)
        open_ended = [name for name in own if name not in caps]
        if own and len(open_ended) == len(own):
            continue
        rates = partial(_at_cap, caps, prepared.market.funding_rate)
        row = _runway(prepared, pool, "cap where known" if open_ended else "cap", rates)
        why = f"no cap of {', '.join(open_ended)} is known: at its present rate, which is no worst case"
        yield replace(row, reason=row.reason or why) if open_ended else row


def _runway(prepared: Prepared, pool: Pool, scenario: str, rates: _Rates) -> Runway:
    rows = []
    for owner, exposure, leg in _perpetuals(prepared):
        if owner is pool:
            rate = rates(exposure.symbol.name, 1 if leg.size > 0 else -1)
            rows.append((leg, exposure, _payment(prepared, pool, exposure, leg, rate)))
    named: dict[str, Any] = {"scenario": scenario, "pool": pool.name, "currency": pool.currency}
    reasons = [row.reason for _, _, row in rows if row.payment is None]
    per_day = None if reasons else sum((row.pool_per_day or _ZERO for _, _, row in rows), _ZERO)
    if measure(pool).headroom <= 0 and rows:
        return Runway(**named, per_day=per_day, kind="already")
    if reasons:
        return Runway(**named, per_day=None, kind="unknown", reason="; ".join(r for r in reasons if r))
    flows = [
        _Flow(purse_of(pool, exposure, leg), row.payment, row.interval_hours)
        for leg, exposure, row in rows
        if row.payment and row.interval_hours
    ]
    hourly: dict[Purse, Decimal] = {}
    for flow in flows:
        hourly[flow.purse] = hourly.get(flow.purse, _ZERO) + flow.payment / flow.hours
    hours = _first_zero(prepared, pool, {}, hourly)
    at, end = _instant(prepared, hours), _instant(prepared, _interval_end(prepared, pool, flows))
    if hours is None:
        kind: Literal["time", "never"] = "time" if end is not None else "never"
        return Runway(**named, per_day=per_day, kind=kind, interval_end=end)
    return Runway(**named, per_day=per_day, kind="time", hours=hours, at=at, interval_end=end)


def _first_zero(
    prepared: Prepared, pool: Pool, taken: Mapping[Purse, Decimal], flow: Mapping[Purse, Decimal]
) -> Decimal | None:
    """The first s from 0 on at which headroom is zero when ``taken + flow x s`` has left the purses."""

    def build(s: Ray) -> tuple[Account, Market, Rules]:
        amounts = {purse: taken.get(purse, _ZERO) + flow.get(purse, _ZERO) * s for purse in {**taken, **flow}}
        return after_payments(prepared.account, amounts), prepared.market, prepared.rules

    # a walk ends where headroom falls below zero; standing at zero is an end too
    if headroom_along(build, pool.name, _ZERO, 1).at(_ZERO) <= 0:
        return _ZERO
    found: Decimal | None = first_fall(lambda at, way: headroom_along(build, pool.name, at, way), _ZERO, None, 1)
    return found


def _interval_end(prepared: Prepared, pool: Pool, flows: Sequence[_Flow]) -> Decimal | None:
    """Hours until the first payment after which headroom is zero or less.

    Intervals repeat together after their common period, so every moment of the period is a line of whole periods.
    """
    if not flows:
        return None
    spans = [Fraction(flow.hours) for flow in flows]
    period = Fraction(lcm(*(s.numerator for s in spans)), gcd(*(s.denominator for s in spans)))
    now = Fraction((prepared.market.as_of - _EPOCH) // timedelta(microseconds=1), 3_600_000_000)
    moments = sorted(
        {first + k * span for span in spans for first in (span - now % span,) for k in range(period // span)}
    )
    whole: dict[Purse, Decimal] = {}
    for flow, span in zip(flows, spans, strict=True):
        whole[flow.purse] = whole.get(flow.purse, _ZERO) + flow.payment * (period // span)
    nearest: Fraction | None = None
    for moment in moments:
        taken: dict[Purse, Decimal] = {}
        for flow, span in zip(flows, spans, strict=True):
            times = floor((moment - (span - now % span)) / span) + 1
            taken[flow.purse] = taken.get(flow.purse, _ZERO) + flow.payment * times
        zero = _first_zero(prepared, pool, taken, whole)
        if zero is not None:
            # a zero on a whole period may carry the rounding of the last digit
            end = moment + ceil(zero.quantize(_LAST)) * period
            nearest = end if nearest is None else min(nearest, end)
    return None if nearest is None else Decimal(nearest.numerator) / Decimal(nearest.denominator)


def _instant(prepared: Prepared, hours: Decimal | None) -> datetime | None:
    if hours is None:
        return None
    try:
        return prepared.market.as_of + timedelta(microseconds=round(hours * 3_600_000_000))
    except OverflowError:
        return None


# what was paid so far -------------------------------------------------------------------------------------------------


def _moved(prepared: Prepared, paid: Mapping[str, Decimal]) -> tuple[MovedThreshold, ...]:
    assets = {asset.name for pool in prepared.pools if not pool.isolated for asset in pool.assets}
    pockets = {p.symbol: p for p in prepared.account.positions if p.margin_mode == "isolated"}
    unknown = [name for name in paid if name not in assets and name not in pockets]
    if unknown:
        known = ", ".join([*sorted(assets), *pockets])
        raise AccountError(
            "paid", [Fault(f"paid.{n}", str(paid[n]), f"is not held here; use {known}") for n in unknown]
        )
    back = {
        Purse(name) if name in assets else Purse("", name, pockets[name].position_side): -amount
        for name, amount in paid.items()
    }
    rows = thresholds_of(prepared, explain=False).thresholds
    whole = prepare(after_payments(prepared.account, back), prepared.market, prepared.rules)
    # an asset that is held in one of the two only has no threshold to compare
    before = {(row.symbol, row.pool): row for row in thresholds_of(whole, explain=False).thresholds}
    both = [(before[key], row) for row in rows if (key := (row.symbol, row.pool)) in before]
    sides: tuple[Literal["below", "above"], ...] = ("below", "above")
    found = []
    for old, new in both:
        for side in sides:
            without, now = getattr(old, side), getattr(new, side)
            known_both = without.price is not None and now.price is not None
            moved = now.price - without.price if known_both else None
            found.append(
                MovedThreshold(symbol=new.symbol, pool=new.pool, side=side, without=without, now=now, moved=moved)
            )
    return tuple(found)
