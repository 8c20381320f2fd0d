"""How do equity and maintenance margin move along one coin's price?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal

from crossmargin.analytics.threshold import coins_of, crossings_of, is_priced
from crossmargin.engine.pool import Asset, Exposure, Pool
from crossmargin.engine.prepare import prepare
from crossmargin.engine.reference import measure
from crossmargin.errors import AccountError, Fault
from crossmargin.model.account import Account
from crossmargin.model.market import Market
from crossmargin.model.profile import Rules
from crossmargin.model.report import Crossing


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One pool along one coin: at each relative ``move`` its equity and maintenance margin, in ``currency``.

    For drawing, so in floats; ``below`` and ``above`` are the exact thresholds.
    """

    coin: str
    pool: str
    currency: str
    move: tuple[float, ...]
    equity: tuple[float, ...]
    maintenance_margin: tuple[float, ...]
    below: Crossing
    above: Crossing


def curve(
    account: Account,
    market: Market,
    rules: Rules,
    coin: str,
    *,
    low: Decimal = Decimal("-0.9"),
    high: Decimal = Decimal(1),
    points: int = 96,
) -> tuple[Curve, ...]:
    """Equity and maintenance margin of every pool that a coin moves, from ``low`` to ``high`` (relative moves).

    Every contract on the coin and the coin as collateral move together. The thresholds are among the points, so that
    lines cross where they do. Raises :class:`AccountError` for a coin that is not held or traded.
    """
    exact = prepare(account, market, rules)
    if coin not in coins_of(exact):
        known = ", ".join(coins_of(exact))
        raise AccountError("curve", (Fault("coin", coin, f"is not held or traded here; known are {known}"),))
    on_floats = prepare(account, market, rules, number=float)
    found = []
    for pool, rough in zip(exact.pools, on_floats.pools, strict=True):
        marks = {e.symbol.name: Decimal(1) for a in pool.assets for e in a.exposures if e.symbol.base == coin}
        rates = {coin: Decimal(1)} if is_priced(pool) and any(a.name == coin for a in pool.assets) else {}
        if not marks and not rates:
            continue
        below, above = crossings_of(measure(pool), marks, rates)
        span = float(high - low)
        moves = {float(low) + span * i / (points - 1) for i in range(points)} | {0.0}
        moves |= {float(s.distance) for s in (below, above) if s.distance is not None and low <= s.distance <= high}
        ordered = sorted(moves)
        states = [measure(_moved(rough, coin, 1 + move)) for move in ordered]
        found.append(
            Curve(
                coin=coin,
                pool=pool.name,
                currency=pool.currency,
                move=tuple(ordered),
                equity=tuple(float(s.equity) for s in states),
                maintenance_margin=tuple(float(s.maintenance * rough.liquidation_multiple) for s in states),
                below=below,
                above=above,
            )
        )
    return tuple(found)


def _moved(pool: Pool, coin: str, factor: float) -> Pool:
    """A prepared pool with one coin's marks, and the coin itself where the pool prices it, multiplied by a factor."""

    def exposure(own: Exposure) -> Exposure:
        return replace(own, mark=own.mark * factor) if own.symbol.base == coin else own

    def asset(own: Asset) -> Asset:
        by = factor if own.name == coin and is_priced(pool) else 1.0
        exposures = [exposure(e) for e in own.exposures]
        return replace(own, exposures=exposures, price=own.price * by, bid=own.bid * by, ask=own.ask * by)

    return replace(pool, assets=[asset(own) for own in pool.assets])
