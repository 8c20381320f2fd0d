"""How far a pool is from each line that forbids: what admission of orders, withdrawals and settings is measured by."""

from __future__ import annotations

from decimal import Decimal

from crossmargin.engine import formulas
from crossmargin.engine.boundary import UNIT
from crossmargin.engine.pool import Exposure, Leg, Pool, Prepared
from crossmargin.engine.reference import PoolState, removable


def rooms(state: PoolState) -> dict[str, Decimal | None]:
    """Every line of a pool and the equity above it: free collateral, each level that blocks, the liquidation level.

    In the pool's currency; below 0 = forbidden, None = unknown because a leverage is missing. Where equality already
    liquidates, one last digit of headroom must remain.
    """
    pool, initial = state.pool, state.initial
    found: dict[str, Decimal | None] = {
        "free_collateral": None if initial is None else formulas.headroom(state.initial_equity, initial)
    }
    for level, multiple in pool.ladder:
        if level.action == "block" and (level.requirement, multiple) != ("initial", 1):
            base = state.requirement(level.requirement)
            equity = state.equity_for(level.requirement)
            found[level.name] = None if base is None else formulas.headroom(equity, base * multiple)
    at_line = 0 if pool.strict or not state.maintenance else UNIT
    found["headroom"] = state.headroom - at_line
    return found


def tightest(state: PoolState) -> Decimal | None:
    """The smallest room of a pool; None where one is unknown."""
    found = list(rooms(state).values())
    known = [room for room in found if room is not None]
    return min(known) if len(known) == len(found) else None


def removable_rooms(state: PoolState) -> dict[str, Decimal | None]:
    """The line that margin which leaves the pool must keep besides: the withdrawal rule."""
    return {"withdrawal": removable(state)}


def bracket_rooms(prepared: Prepared) -> dict[str, Decimal]:
    """How much larger each leg may be before its bracket allows less than its leverage; legs without limit are absent.

    By ``pool symbol side``, in what the table counts: value in the settle asset, contracts or coins. Source: the
    maximum leverage of each bracket in the venues' leverage and margin tiers.
    """
    found = {}
    for pool in prepared.pools:
        for exposure in (exposure for asset in pool.assets for exposure in asset.exposures):
            table = prepared.rules.brackets.get(exposure.symbol.name, ())
            for leg in exposure.legs:
                if leg.leverage is None:
                    continue
                caps = [b.notional_floor for b in table if b.max_leverage and b.max_leverage < leg.leverage]
                if caps:
                    name = f"{pool.name} {exposure.symbol.name} {leg.position.position_side}"
                    found[name] = caps[0] - _counted(pool, exposure, leg)
    return found


def _counted(pool: Pool, exposure: Exposure, leg: Leg) -> Decimal:
    """The size of a leg in what its table counts."""
    price = exposure.mark if pool.slots.valuation.maintenance == "mark" else leg.entry
    counted: Decimal = exposure.counted(pool.slots, leg.size, exposure.notional(leg.size, price))
    return counted
