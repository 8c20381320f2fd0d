"""Portfolio margin: what everything on one coin together requires, net of its hedges.

A unit is everything of a pool on one coin: contracts of every settle asset and expiry, and the coin itself where spot
hedges count. Without options every scenario's loss is proportional to the net value, so the worst of the price grid is
its largest move.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from crossmargin.engine import formulas
from crossmargin.engine.kinds import Steps

if TYPE_CHECKING:
    from crossmargin.engine.pool import Asset, Exposure

Num = Any
Prices = Callable[[str], Num]


@dataclass(frozen=True, slots=True)
class Unit:
    """The contracts on one coin, each with the asset it settles in, and the coin's own balance if it may hedge."""

    coin: str
    exposures: tuple[tuple[Exposure, Asset], ...]
    holding: Asset | None
    worst_move: Num
    basis_rate: Num
    minimum_rate: Num
    minimum_tiers: Steps | None

    def moved_by(self, marks: Mapping[str, Num], rates: Mapping[str, Num]) -> bool:
        """Whether a move of these contracts and assets moves it."""
        return (self.holding is not None and self.holding.name in rates) or any(
            exposure.symbol.name in marks or asset.name in rates for exposure, asset in self.exposures
        )

    def requirement(self, marks: Prices, prices: Prices) -> Num:
        """Maintenance margin of the unit in the pool's currency at marks (by symbol) and index prices (by asset)."""
        zero = self.worst_move * 0
        by_expiry: dict[str, Num] = {}
        contracts = zero
        for exposure, _ in self.exposures:
            mark = marks(exposure.symbol.name)
            for leg in exposure.legs:
                coins = exposure.notional(leg.size, mark) if exposure.inverse else abs(leg.size)
                contracts = contracts + coins
                expiry = str(exposure.symbol.expiry or "")
                by_expiry[expiry] = by_expiry.get(expiry, zero) + (coins if leg.size > 0 else -coins)
        longs = _sum(zero, (max(net, zero) for net in by_expiry.values()))
        shorts = _sum(zero, (max(-net, zero) for net in by_expiry.values()))
        spot = zero if self.holding is None else self.holding.cash
        offset = formulas.spot_offset(longs - shorts, spot)
        # coins hedge coins, whatever small differences their marks and index have; one price values what is left
        first, settle = self.exposures[0]
        price = marks(first.symbol.name) * (1 if first.inverse else prices(settle.name))
        net, hedged = (abs(longs - shorts) - offset) * price, (min(longs, shorts) + offset) * price
        contracts = contracts * price
        worst = formulas.share_of(net, self.worst_move) + formulas.share_of(hedged, self.basis_rate)
        least = formulas.share_of(contracts, self.minimum_rate)
        if self.minimum_tiers is not None:
            row = self.minimum_tiers.find(least)
            least = formulas.bracket_requirement(least, self.minimum_tiers.rates[row], self.minimum_tiers.offsets[row])
        return max(worst, least)


def _sum(zero: Num, items: Iterable[Num]) -> Num:
    total = zero
    for item in items:
        total = total + item
    return total
