"""Headroom of a pool taken apart into functions of one price each, read off the judge.

Many scenarios, the worst point of a box and the nearest liquidating move all need headroom as a function of many
prices at once. A pool's headroom is a sum over its assets of what :func:`~crossmargin.engine.reference.standing`
makes of PnL, maintenance margin and price; PnL and maintenance are sums over contracts, each moved by its own coin.
So the whole consists of functions of one number, and each is traced on rays, stretch by stretch: no rule is restated.

- An asset whose price moves with the only coin that its contracts are on is one function of that coin
  (:class:`Single`): BTC collateral with inverse BTC contracts.
- An asset whose price stands still and in which PnL counts straight is a :class:`Single` for each coin.
- Else it is :class:`Coupled`: ``factor x (outer(sum of PnL) - keep x sum of maintenance)``, where ``outer`` is what
  PnL counts for at present prices and ``factor`` is 1 + the move of the asset's own price.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from crossmargin.engine import formulas
from crossmargin.engine.path import Path
from crossmargin.engine.pool import Asset, Exposure, Pool
from crossmargin.engine.ray import Line, Ray
from crossmargin.engine.reference import PoolState, standing
from crossmargin.errors import UnsupportedRule

Num = Any
Function = Callable[[Num, int], Ray]
"""(point, direction) -> the ray that holds at the point and just beyond it in that direction."""
_MAX_STRETCHES = 200_000


class Stretch(NamedTuple):
    """One formula and where it holds; ``end`` None = for ever."""

    start: Num
    end: Num | None
    ray: Ray


def walk(function: Function, start: Num, end: Num | None, direction: int) -> list[Stretch]:
    """Every stretch of a function from ``start`` to ``end`` (None = until nothing changes any more)."""
    found: list[Stretch] = []
    point = start
    for _ in range(_MAX_STRETCHES):
        ray = function(point, direction)
        kink = ray.line.high if direction > 0 else ray.line.low
        if kink is None or (end is not None and (kink - end) * direction >= 0):
            found.append(Stretch(point, end, ray))
            return found
        found.append(Stretch(point, kink, ray))
        point = kink
    raise UnsupportedRule("walk along a price", f"more than {_MAX_STRETCHES} stretches")


class Single(NamedTuple):
    """A term of headroom that depends on one coordinate."""

    name: str
    function: Function


class Coupled(NamedTuple):
    """A term ``factor x (outer(PnL) - keep x maintenance)``; PnL and maintenance are sums over coordinates.

    ``price``: the coordinate whose 1 + move is the factor, None = 1. ``contracts``: coordinate -> exposures.
    """

    price: str | None
    contracts: Mapping[str, list[Exposure]]
    still_pnl: Num
    still_maintenance: Num
    outer: Function
    keep: Num

    def on(self, name: str, slope: Num, factor: Num) -> Function:
        """``factor x (slope x PnL - keep x maintenance)`` of the contracts on one coordinate."""
        exposures, keep = self.contracts[name], self.keep

        def function(point: Num, direction: int) -> Ray:
            line = Line(point, direction, track=True)
            total: Any = slope * 0
            for exposure in exposures:
                mark = Ray(exposure.mark, exposure.mark, line)
                total = total + exposure.unrealized_pnl(mark) * slope - exposure.maintenance(mark) * keep
            return _as_ray(total * factor, line)

        return function


class Anatomy(NamedTuple):
    """A pool's headroom: what stands still, plus its terms."""

    pool: Pool
    still: Num
    singles: tuple[Single, ...]
    coupled: tuple[Coupled, ...]


def anatomy(state: PoolState, marks: Mapping[str, str], rates: Mapping[str, str]) -> Anatomy:
    """Take a pool apart. ``marks``: symbol -> coordinate that moves it; ``rates``: asset -> coordinate of its price.

    Raises :class:`UnsupportedRule` where an asset's worth is not its amount times its price (ratios that are tiered by
    value) while other coins move its amount.
    """
    pool, multiple = state.pool, state.pool.liquidation_multiple
    if pool.units:
        why = "portfolio margin nets contracts of several coins' prices; ask for one scenario or one price at a time"
        raise UnsupportedRule("worst_scenario", why)
    still, one = state.headroom * 0 - pool.fixed * multiple, state.headroom * 0 + 1
    singles: list[Single] = []
    coupled: list[Coupled] = []
    for own in state.assets:
        asset, price = own.asset, rates.get(own.asset.name)
        contracts: dict[str, list[Exposure]] = {}
        pnl = maintenance = own.pnl * 0
        for exposure, gain, kept in own.exposures:
            name = marks.get(exposure.symbol.name)
            if name is None:
                pnl, maintenance = pnl + gain, maintenance + kept
            else:
                contracts.setdefault(name, []).append(exposure)
        if price is None and not contracts:
            still = still + formulas.headroom(own.equity, own.requirement * multiple)
        elif price is not None and set(contracts) <= {price}:
            weights = {exposure.symbol.name: one for exposures in contracts.values() for exposure in exposures}
            path = Path(state._replace(assets=(own,)), weights, {asset.name: one})
            singles.append(Single(price, path.headroom))
        else:
            part = Coupled(price, contracts, pnl, maintenance, _outer(pool, asset), _keep(pool, asset))
            ray = part.outer(own.pnl, 1)
            if price is None and ray.line.low is None and ray.line.high is None:
                still = still + ray.a + ray.b * pnl - part.keep * maintenance
                singles += [Single(name, part.on(name, ray.b, one)) for name in contracts]
            else:
                if price is not None:
                    _proportional(pool, asset, pnl)
                coupled.append(part)
    return Anatomy(pool, still, tuple(singles), tuple(coupled))


def _outer(pool: Pool, asset: Asset) -> Function:
    """What PnL in an asset counts for at present prices, with no maintenance margin."""
    none = asset.cash * 0

    def function(point: Num, direction: int) -> Ray:
        line = Line(point, direction, track=True)
        equity, requirement = standing(pool, asset, Ray(none, none + 1, line), none, asset.price, asset.bid, asset.ask)
        return _as_ray(equity - requirement * pool.liquidation_multiple, line)

    return function


def _keep(pool: Pool, asset: Asset) -> Num:
    """What a unit of maintenance margin in an asset takes from headroom."""
    none = asset.cash * 0
    _, without = standing(pool, asset, none, none, asset.price, asset.bid, asset.ask)
    _, with_one = standing(pool, asset, none, none + 1, asset.price, asset.bid, asset.ask)
    return (with_one - without) * pool.liquidation_multiple


def _proportional(pool: Pool, asset: Asset, pnl: Num) -> None:
    """Refuse an asset whose worth is not proportional to its price; tiers by value are not."""
    for amount in (pnl, abs(asset.cash) + abs(pnl) + 1):
        line = Line(asset.cash * 0, 1, track=True)
        price, bid, ask = (Ray(now, now, line) for now in (asset.price, asset.bid, asset.ask))
        equity, requirement = standing(pool, asset, amount, asset.cash * 0, price, bid, ask)
        ray = _as_ray(equity - requirement * pool.liquidation_multiple, line)
        if line.high is not None or (line.low is not None and line.low > -1) or ray.extra is not None:
            raise UnsupportedRule(
                f"collateral of {asset.name}",
                "its ratios are tiered by value, and its price moves apart from the contracts settled in it; "
                "leave its index move out, or ask for one scenario at a time",
            )


def _as_ray(value: Num, line: Line) -> Ray:
    return value if type(value) is Ray else Ray(value, value * 0, line)
