"""Headroom along a line: of prices (:class:`Path`), or of whatever an account is built from (:func:`headroom_along`).

Both ask the judge with rays for numbers (:mod:`crossmargin.engine.ray`); no formula is stated here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from crossmargin.engine import formulas
from crossmargin.engine.pool import Asset, Exposure
from crossmargin.engine.prepare import prepare
from crossmargin.engine.ray import Line, Ray
from crossmargin.engine.reference import Num, PoolState, measure, standing, still_requirement, valued
from crossmargin.model.account import Account
from crossmargin.model.market import Market
from crossmargin.model.profile import Rules

Case = tuple[Account, Market, Rules]


class Path:
    """The headroom of one pool as some of its prices move together: what stays is summed once.

    ``marks`` and ``rates`` map a symbol or an asset to its weight: at ``s`` its price is ``now x (1 + weight x s)``.
    """

    __slots__ = ("_assets", "_marks", "_one", "_rates", "_units", "pool", "scale", "still")

    def __init__(self, state: PoolState, marks: Mapping[str, Num], rates: Mapping[str, Num]) -> None:
        self.pool = pool = state.pool
        self.still = state.headroom * 0
        self._one = self.still + 1
        self._marks, self._rates = marks, rates
        self._units = [unit for unit in pool.units if unit.moved_by(marks, rates)]
        at_rest = pool if not pool.units else replace(pool, units=tuple(u for u in pool.units if u not in self._units))
        self.still = self.still - still_requirement(at_rest) * pool.liquidation_multiple
        self._assets: list[tuple[Asset, Num, Num, Num, list[tuple[Exposure, Num]]]] = []
        multiple = pool.liquidation_multiple
        for own in state.assets:
            weight = rates.get(own.asset.name) if own.asset.name != pool.currency else None  # its own measure
            moving = [
                (exposure, marks[exposure.symbol.name])
                for exposure, _, _ in own.exposures
                if exposure.symbol.name in marks
            ]
            if weight is None and not moving:
                self.still = self.still + formulas.headroom(own.equity, own.requirement * multiple)
                continue
            pnl = required = own.pnl * 0
            if len(moving) < len(own.exposures):
                for exposure, gain, kept in own.exposures:
                    if exposure.symbol.name not in marks:
                        pnl, required = pnl + gain, required + kept
            self._assets.append((own.asset, weight, pnl, required, moving))
        # a pool counted in a coin that moves: headroom x coin price is straight where headroom is not
        self.scale = next(
            (
                weight
                for asset, _, _, _, moving in self._assets
                for exposure, weight in moving
                if exposure.inverse and asset.name == pool.currency and asset.name not in rates
            ),
            None,
        )

    @property
    def moves(self) -> bool:
        """Whether anything in the pool moves at all."""
        return bool(self._assets) or bool(self._units)

    def headroom(self, point: Num, direction: int, *, track: bool = True) -> Ray:
        """Headroom near ``point`` as a ray, on the branches that hold just beyond it in ``direction``."""
        line = Line(point, direction, track=track)
        pool = self.pool
        multiple = pool.liquidation_multiple
        total: Any = self.still
        for asset, weight, still_pnl, still_required, moving in self._assets:
            pnl, required = still_pnl, still_required
            for exposure, factor in moving:
                mark = Ray(exposure.mark, exposure.mark * factor, line)
                pnl = pnl + exposure.unrealized_pnl(mark)
                required = required + exposure.maintenance(mark)
            price, bid, ask = asset.price, asset.bid, asset.ask
            if weight is not None:
                price = Ray(price, price * weight, line)
                bid = Ray(bid, bid * weight, line)
                ask = Ray(ask, ask * weight, line)
            equity, requirement = standing(pool, asset, pnl, required, price, bid, ask)
            total = total + equity - valued(requirement, multiple)
        if self._units:
            total = total - self._unit_requirement(line) * multiple
        if type(total) is not Ray:
            return Ray(total, total * 0, line)
        return total if self.scale is None else total * Ray(self._one, self.scale, line)

    def _unit_requirement(self, line: Line) -> Num:
        """What the units that move require along the line."""
        exposures = {e.symbol.name: e for asset in self.pool.assets for e in asset.exposures}
        assets = {asset.name: asset for asset in self.pool.assets}

        def mark(symbol: str) -> Num:
            now, weight = exposures[symbol].mark, self._marks.get(symbol)
            return now if weight is None else Ray(now, now * weight, line)

        def price(name: str) -> Num:
            now, weight = assets[name].price, self._rates.get(name)
            return now if weight is None else Ray(now, now * weight, line)

        total: Num = 0
        for unit in self._units:
            total = total + unit.requirement(mark, price)
        return total


def headroom_along(build: Callable[[Ray], Case], pool: str, point: Num, direction: int) -> Ray:
    """The headroom of one pool as any input moves: the judge, fed with the case that ``build`` makes of ``s``.

    Exact decimals; near ``point``, on the branches that hold just beyond it in ``direction``. What ``build`` puts ``s``
    into (a price, a balance, a quantity, a ratio) skips validation, as ``model_copy`` does. A pool that the case does
    not make is empty: its headroom is 0.
    """
    line = Line(point, direction, track=True)
    zero, one = Decimal(0), Decimal(1)
    prepared = prepare(*build(Ray(zero, one, line)))
    for found in prepared.pools:
        if found.name == pool:
            room = measure(found).headroom
            return room if type(room) is Ray else Ray(room, zero, line)
    return Ray(zero, zero, line)
