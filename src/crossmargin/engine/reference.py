"""The judge: one account's figures from its rules, blind to the number type.

:func:`standing` is the one place where an asset's equity and requirement are formed; the report
(:mod:`crossmargin.engine.reporting`), the float path of back-tests and every threshold (:mod:`crossmargin.engine.path`)
go through it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from crossmargin.engine import formulas
from crossmargin.engine.opening import opening_margin, order_margin
from crossmargin.engine.pool import Asset, Exposure, Leg, Pool

Num = Any

_ZERO = Decimal(0)


# the arithmetic of a pool ---------------------------------------------------------------------------------------------


def standing(pool: Pool, asset: Asset, pnl: Num, maintenance: Num, price: Num, bid: Num, ask: Num) -> tuple[Num, Num]:
    """(equity, requirement) that one asset brings to its pool, in the pool's currency.

    ``pnl`` and ``maintenance`` are those of everything that settles in the asset, in units of the asset.
    """
    pnl = _counted(pnl, pool.counted)
    owned = asset.cash + pnl
    if pool.weighted:
        equity = asset.worth(owned, price, bid, ask)
    else:
        equity = asset.worth(asset.cash, price, bid, ask) + valued(pnl, price)
    requirement = valued(maintenance, ask if pool.at_ask else price)
    if asset.liability_rate or asset.liability_steps:
        owed = max(-owned, owned * 0)
        requirement = requirement + formulas.share_of(owed * price, asset.kept_rate(owed))
    return equity, requirement


def _counted(pnl: Num, which: str) -> Num:
    """The part of an unrealized PnL that counts."""
    if which == "all":
        return pnl
    return min(pnl, pnl * 0) if which == "losses" else pnl * 0


def initial_equity(pool: Pool, asset: Asset, pnl: Num, equity: Num) -> Num:
    """What one asset brings to open and to withdraw: its equity, unless the profile counts PnL or ratio otherwise."""
    if pool.counted_initial == pool.counted and asset.initial_value is None:
        return equity
    pnl = _counted(pnl, pool.counted_initial)
    if pool.weighted:
        return asset.initial_worth(asset.cash + pnl)
    return asset.initial_worth(asset.cash) + valued(pnl, asset.price)


def valued(amount: Num, price: Num) -> Num:
    """amount x price; a price of exactly 1 (the pool's own currency) is not multiplied with."""
    return amount if price == 1 else amount * price


class AssetState(NamedTuple):
    """The figures of one asset of a pool at the market's prices."""

    asset: Asset
    pnl: Num
    maintenance: Num
    exposures: tuple[tuple[Exposure, Num, Num], ...]
    """(exposure, its PnL, its maintenance margin), in the asset."""
    equity: Num
    requirement: Num
    initial: Num | None
    """Initial margin of positions and orders in the pool's currency; None = a leverage is missing."""
    initial_equity: Num
    """What it brings to open and to withdraw, in the pool's currency."""


class PoolState(NamedTuple):
    """The figures of one pool at the market's prices, in the pool's currency."""

    pool: Pool
    assets: tuple[AssetState, ...]
    equity: Num
    maintenance: Num
    initial: Num | None
    headroom: Num
    initial_equity: Num

    def equity_for(self, name: str) -> Num:
        """The equity that a requirement is held against."""
        return self.equity if name == "maintenance" else self.initial_equity

    def requirement(self, name: str) -> Num | None:
        """The requirement a level of the ladder is measured against."""
        return self.maintenance if name == "maintenance" else self.initial

    def reached(self, name: str, multiple: Num) -> bool | None:
        """Whether equity has fallen to a level; None where its requirement is unknown."""
        base = self.requirement(name)
        if base is None:
            return None
        required = base * multiple
        room = formulas.headroom(self.equity_for(name), required)
        return bool(room < 0 or (room == 0 and required > 0 and not self.pool.strict))

    @property
    def liquidatable(self) -> bool:
        """Whether the liquidation level is reached."""
        level, multiple = self.pool.ladder[-1]
        return bool(self.reached(level.requirement, multiple))


def measure(pool: Pool, *, opening: bool = True) -> PoolState:
    """Judge one prepared pool at its own prices; the path of back-tests on floats, and of the report on decimals.

    ``opening=False`` leaves initial margin out: it is unknown, and the rest is known a third sooner.
    """
    states = []
    for asset in pool.assets:
        pnl = required = own_initial = asset.cash * 0
        rows = []
        for exposure in asset.exposures:
            mark = exposure.mark
            if exposure.legs or exposure.sizes:
                gain, kept = exposure.unrealized_pnl(mark), exposure.maintenance(mark)
                pnl, required = pnl + gain, required + kept
                rows.append((exposure, gain, kept))
            opened = initial_margin(pool, exposure) if opening else None
            if opened is None:
                own_initial = None
            elif own_initial is not None:
                own_initial = own_initial + opened
        states.append(asset_state(pool, asset, pnl, required, own_initial, tuple(rows)))
    return pool_state(pool, states)


def asset_state(
    pool: Pool,
    asset: Asset,
    pnl: Num,
    maintenance: Num,
    initial: Num | None,
    exposures: tuple[tuple[Exposure, Num, Num], ...] = (),
) -> AssetState:
    """What one asset brings, given PnL and margins of everything that settles in it, in units of the asset."""
    value, requirement = standing(pool, asset, pnl, maintenance, asset.price, asset.bid, asset.ask)
    if initial is not None:
        initial = initial * (asset.ask if pool.at_ask else asset.price)
        if asset.liability_steps is not None or asset.liability_initial_rate != 0:
            owed = max(-(asset.cash + _counted(pnl, pool.counted)), pnl * 0)
            rate = asset.opening_rate(owed)
            initial = None if rate is None else initial + formulas.share_of(owed * asset.price, rate)
    own_equity = initial_equity(pool, asset, pnl, value)
    return AssetState(asset, pnl, maintenance, exposures, value, requirement, initial, own_equity)


def pool_state(pool: Pool, states: Sequence[AssetState]) -> PoolState:
    """The figures of a pool from those of its assets."""
    equity = opening = maintenance = initial = 0
    unknown = False
    for own in states:
        if own.initial is None:
            unknown = True
        else:
            initial = initial + own.initial
        equity, opening = equity + own.equity, opening + own.initial_equity
        maintenance = maintenance + own.requirement
    maintenance = maintenance + still_requirement(pool)
    if pool.initial_multiple is not None:
        initial = initial + formulas.share_of(maintenance, pool.initial_multiple)
    room = formulas.headroom(equity, maintenance * pool.liquidation_multiple)
    return PoolState(pool, tuple(states), equity, maintenance, None if unknown else initial, room, opening)


def still_requirement(pool: Pool) -> Num:
    """What a pool requires besides its single contracts, at the market's prices: fixed amounts and units."""
    total = pool.fixed
    if pool.units:
        marks = {exposure.symbol.name: exposure.mark for asset in pool.assets for exposure in asset.exposures}
        prices = {asset.name: asset.price for asset in pool.assets}
        for unit in pool.units:
            total = total + unit.requirement(marks.__getitem__, prices.__getitem__)
    return total


def leg_initial_margin(pool: Pool, exposure: Exposure, leg: Leg) -> Num | None:
    """Initial margin of one leg, close fee included; None where the leverage is not known."""
    slots = pool.slots
    price = exposure.mark if slots.valuation.initial == "mark" else leg.entry
    margin = opening_margin(exposure, slots, leg.size, price, leg.leverage)
    if margin is None:
        return None
    at_mark = formulas.share_of(exposure.notional(leg.size, exposure.mark), exposure.initial_mark_fee)
    return margin + leg.initial_fee + at_mark


def initial_margin(pool: Pool, exposure: Exposure) -> Num | None:
    """Initial margin of one exposure and its orders, in the settle asset; None where a leverage is missing.

    What orders take out of equity instead is not part of it.
    """
    rule = pool.slots.initial_margin
    none = exposure.mark * 0
    longs = shorts = none
    for leg in exposure.legs:
        margin = leg_initial_margin(pool, exposure, leg)
        if margin is None:
            return None
        longs, shorts = (longs + margin, shorts) if leg.size > 0 else (longs, shorts + margin)
    buys = sells = none
    held = rule.orders
    for order in exposure.orders if held is not None else ():
        margin = order_margin(exposure, order, pool.slots)
        if margin is None:
            return None
        if held is not None and held.from_equity != "none":
            margin = margin - (margin if held.from_equity == "margin" else order.fees)
        buys, sells = (buys + margin, sells) if order.size > 0 else (buys, sells + margin)
    if held is not None and held.scope == "worse_side":
        return max(longs + buys, shorts + sells)
    return _BY_SCOPE[rule.scope](longs, shorts) + buys + sells


_BY_SCOPE: Mapping[str, Callable[[Num, Num], Num]] = {
    "per_leg": lambda longs, shorts: longs + shorts,
    "gross": lambda longs, shorts: longs + shorts,
    "net": lambda longs, shorts: abs(longs - shorts),
    "larger_side": max,
}


# what may leave -------------------------------------------------------------------------------------------------------


def gross_notional(state: PoolState) -> Decimal:
    """Value of every position of a pool at the mark, longs and shorts added, in the pool's currency."""
    return sum(
        (
            exposure.notional(leg.size, exposure.mark) * own.asset.price
            for own in state.assets
            for exposure in own.asset.exposures
            for leg in exposure.legs
        ),
        _ZERO,
    )


def removable(state: PoolState, gross: Num | None = None) -> Num | None:
    """Equity of a pool beyond what its withdrawal rule keeps, in the pool's currency, below 0 where that is not met.

    ``gross``: the value of its positions, unless given that of the state. None where the profile has no rule or a
    leverage is missing. Bonus credit never leaves.
    """
    rule = state.pool.slots.withdrawal
    if rule is None or state.initial is None:
        return None
    free: Num
    if rule.kind == "keep_ratio":
        free = state.equity - formulas.share_of(state.maintenance, rule.ratio)
    else:
        free = formulas.headroom(state.initial_equity, state.initial)
    if rule.kind == "keep_share":
        value = gross_notional(state) if gross is None else gross
        free = min(free, state.equity - formulas.share_of(value, rule.share))
    if rule.kind == "available_less_profit" and state.pool.counted_initial == "all":
        free -= max(sum((own.pnl * own.asset.price for own in state.assets), _ZERO), _ZERO)
    free -= bonus_credit(state) if state.pool.slots.equity.bonus_credit else _ZERO
    if rule.kind in ("available_less_losses", "available_less_profit"):
        free = min(free, in_wallets(state, losses=rule.kind == "available_less_losses"))
    return free


def bonus_credit(state: PoolState) -> Decimal:
    """Bonus credit in the pool's currency, at par."""
    return sum((own.asset.balance.bonus_credit * own.asset.price for own in state.assets), _ZERO)


def in_wallets(state: PoolState, *, losses: bool = False) -> Num:
    """What the wallets hold that is not locked, in the pool's currency; ``losses``: less their unrealized losses."""
    total: Num = _ZERO
    for own in state.assets:
        held = own.asset.balance.wallet_balance - own.asset.balance.locked
        total += max(_ZERO, held + (min(own.pnl, _ZERO) if losses else _ZERO)) * own.asset.price
    return total
