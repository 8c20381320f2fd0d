"""The judge: one account's figures from its rules, blind to the number type; lines and sources on request.

:func:`standing` is the one place where an asset's equity and requirement are formed; the report, the float path of
back-tests and every threshold go through it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal, localcontext
from typing import Any, NamedTuple

from crossmargin.engine import formulas
from crossmargin.engine.explain import pool_lines
from crossmargin.engine.opening import opening_margin, order_margin
from crossmargin.engine.pool import Asset, Exposure, Leg, Pool, Prepared
from crossmargin.engine.prepare import prepare
from crossmargin.engine.ray import Line, Ray
from crossmargin.model.account import Account
from crossmargin.model.market import Market
from crossmargin.model.number import CONTEXT
from crossmargin.model.profile import Rules
from crossmargin.model.report import BalanceReport, PoolReport, PositionReport, Report, Verdict

Num = Any


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
        equity = asset.worth(asset.cash, price, bid, ask) + _valued(pnl, price)
    requirement = _valued(maintenance, ask if pool.at_ask else price)
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
    return asset.initial_worth(asset.cash) + _valued(pnl, asset.price)


def _valued(amount: Num, price: Num) -> Num:
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


# along a line of prices -----------------------------------------------------------------------------------------------


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
        for asset, weight, pnl, required, moving in self._assets:
            for exposure, factor in moving:
                mark = Ray(exposure.mark, exposure.mark * factor, line)
                pnl = pnl + exposure.unrealized_pnl(mark)  # noqa: PLW2901 - the sum goes on from what stands still
                required = required + exposure.maintenance(mark)  # noqa: PLW2901
            price, bid, ask = asset.price, asset.bid, asset.ask
            if weight is not None:
                price = Ray(price, price * weight, line)
                bid = Ray(bid, bid * weight, line)
                ask = Ray(ask, ask * weight, line)
            equity, requirement = standing(pool, asset, pnl, required, price, bid, ask)
            total = total + equity - _valued(requirement, multiple)
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


Case = tuple[Account, Market, Rules]


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


# the report -----------------------------------------------------------------------------------------------------------


def evaluate(account: Account, market: Market, rules: Rules, *, explain: bool = True) -> Report:
    """What the venue would compute for this account: every figure of every pool, with its lines.

    Exact decimals throughout. ``explain=False`` leaves the lines out. Raises :class:`AccountError` for an account the
    rules cannot take, :class:`MarketDataError` naming every missing price. Formulas:
    :mod:`crossmargin.engine.formulas`; rules and sources: the profile.
    """
    return report(prepare(account, market, rules), explain=explain)


def report(prepared: Prepared, *, explain: bool = True) -> Report:
    """The report of a prepared account (exact decimals)."""
    with localcontext(CONTEXT):
        states = [measure(pool) for pool in prepared.pools]
        pools = tuple(_pool_report(state, _spared(state, prepared)) for state in states)
        positions = tuple(row for state in states for row in _positions(state))
        balances = tuple(row for state in states for row in _balances(state))
        lines = tuple(pool_lines(state, prepared.rules) for state in states) if explain else ()
        totals, notes = _totals(pools, prepared)
    rules = prepared.rules
    assumed = rules.assumed(
        [row.symbol for row in positions] + [row.asset for row in balances],
        pairs=[pocket.symbol for pocket in prepared.account.pockets],
    )
    if assumed:
        notes += (f"assumed, not documented: {'; '.join(assumed)}",)
    return Report(
        id=prepared.account.id,
        profile=rules.profile,
        rules_since=rules.since,
        as_of=prepared.market.as_of,
        pools=pools,
        positions=positions,
        balances=balances,
        lines=lines,
        notes=tuple(dict.fromkeys(note for pool in pools for note in pool.notes)) + notes,
        **totals,
    )


_ZERO = Decimal(0)


def _spared(state: PoolState, prepared: Prepared) -> bool | None:
    """Whether last prices keep a pool alive that mark prices would liquidate; None where a last price is missing."""
    if state.pool.slots.levels.price == "mark" or not state.liquidatable:
        return False
    market, symbols = prepared.market, [e.symbol.name for a in state.pool.assets for e in a.exposures if e.legs]
    if any(symbol not in market.last_price for symbol in symbols):
        return None
    last = market.model_copy(update={"mark_price": {**market.mark_price, **market.last_price}})
    again = prepare(prepared.account, last, prepared.rules)
    return not next(measure(pool) for pool in again.pools if pool.name == state.pool.name).liquidatable


def _verdict(state: PoolState) -> tuple[Verdict, str | None]:
    """The worst level reached; the ladder goes from mild to worst."""
    worst = None
    for level, multiple in state.pool.ladder:
        if state.reached(level.requirement, multiple):
            worst = level
    if worst is None:
        return "healthy", None
    return ("liquidation" if worst.action == "liquidate" else "warning"), worst.name


def _pool_report(state: PoolState, spared: bool | None) -> PoolReport:
    pool = state.pool
    status, level = _verdict(state)
    initial = state.initial
    notes = []
    if spared:
        status = "warning"
        notes.append(f"{pool.name}: reached at mark prices and not at last prices; the venue asks for both")
    elif spared is None:
        notes.append(f"{pool.name}: the venue asks for last prices too; without last_price mark prices decide")
    if initial is None:
        notes.append(f"{pool.name}: initial margin is unknown because a leverage is missing")
    notes += _debt_notes(state)
    collateral = sum((_worth(own, own.asset.cash) for own in state.assets), _ZERO)
    # where the collateral rule applies to PnL too, PnL is worth what it adds to the collateral
    gain = sum((own.pnl * own.asset.price for own in state.assets), _ZERO)
    return PoolReport(
        name=pool.name,
        currency=pool.currency,
        collateral_value=collateral,
        unrealized_pnl=state.equity - collateral if pool.weighted else gain,
        bonus_credit=_bonus(state),
        equity=state.equity + _ZERO,
        initial_equity=state.initial_equity + _ZERO,
        initial_margin=None if initial is None else initial + _ZERO,
        maintenance_margin=state.maintenance + _ZERO,
        headroom=state.headroom + _ZERO,
        free_collateral=None if initial is None else formulas.headroom(state.initial_equity, initial),
        margin_ratio=state.maintenance / state.equity if state.equity > 0 else None,
        withdrawable=_withdrawable(state),
        status=status,
        level=level,
        notes=tuple(notes),
    )


def _worth(own: AssetState, amount: Num) -> Num:
    asset = own.asset
    return asset.worth(amount, asset.price, asset.bid, asset.ask)


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
    free -= _bonus(state) if state.pool.slots.equity.bonus_credit else _ZERO
    if rule.kind in ("available_less_losses", "available_less_profit"):
        free = min(free, _in_wallets(state, losses=rule.kind == "available_less_losses"))
    return free


def _bonus(state: PoolState) -> Decimal:
    """Bonus credit in the pool's currency, at par."""
    return sum((own.asset.balance.bonus_credit * own.asset.price for own in state.assets), _ZERO)


def _in_wallets(state: PoolState, *, losses: bool = False) -> Num:
    """What the wallets hold that is not locked, in the pool's currency; ``losses``: less their unrealized losses."""
    total: Num = _ZERO
    for own in state.assets:
        held = own.asset.balance.wallet_balance - own.asset.balance.locked
        total += max(_ZERO, held + (min(own.pnl, _ZERO) if losses else _ZERO)) * own.asset.price
    return total


def _debt_notes(state: PoolState) -> list[str]:
    """What a venue exchanges on its own: assets owed beyond its limit."""
    limit = state.pool.slots.collateral.debt_limit
    owed = {own.asset.name: -(own.asset.cash + own.pnl) * own.asset.price for own in state.assets}
    return [
        f"{state.pool.name}: {name} is owed beyond {limit:f} {state.pool.currency}; the venue exchanges others for it"
        for name, value in sorted(owed.items())
        if limit is not None and not state.pool.isolated and value > limit
    ]


def _withdrawable(state: PoolState) -> Decimal | None:
    """What may leave the pool, in its currency; None where the profile or a leverage does not say."""
    rule = state.pool.slots.withdrawal
    free = removable(state)
    if rule is None or free is None or state.pool.isolated:
        return None
    most: Decimal = free if rule.kind == "keep_share" else min(free, _in_wallets(state))
    return max(_ZERO, most)


def _positions(state: PoolState) -> list[PositionReport]:
    rows = []
    for own in state.assets:
        for exposure, _, kept in own.exposures:
            for leg in exposure.legs:
                value = exposure.notional(leg.size, exposure.mark)
                row = _bracket_row(exposure, state.pool, leg)
                rows.append(
                    PositionReport(
                        symbol=exposure.symbol.name,
                        pool=state.pool.name,
                        position_side=leg.position.position_side,
                        quantity=leg.position.quantity,
                        mark_price=exposure.mark,
                        notional=value,
                        unrealized_pnl=exposure.pnl(leg.size, leg.entry, exposure.mark),
                        initial_margin=leg_initial_margin(state.pool, exposure, leg),
                        maintenance_margin=_leg_maintenance(exposure, state.pool, leg, kept),
                        close_fee=leg.close_fee + formulas.share_of(value, exposure.mark_fee),
                        bracket=None if row is None else row + 1,
                        maintenance_rate=None if row is None else _bracket_rate(exposure, state.pool, leg, row),
                        maintenance_deduction=(
                            None if row is None or exposure.steps is None else exposure.steps.offsets[row]
                        ),
                        bankruptcy_price=leg.bankruptcy_price,
                    )
                )
    return rows


def _leg_maintenance(exposure: Exposure, pool: Pool, leg: Leg, kept: Num) -> Num:
    """The part of an exposure's maintenance margin that is one leg's.

    A rule for each leg says it; one that nets or adds the legs is shared out by size. Fees stay where they arise.
    """
    if pool.units:
        return _unit_share(exposure, pool, leg)
    if len(exposure.legs) == 1:
        return kept
    fee = leg.close_fee + formulas.share_of(exposure.notional(leg.size, exposure.mark), exposure.mark_fee)
    if pool.slots.maintenance_margin.scope == "per_leg" and exposure.requirement is not None:
        price = exposure.mark if pool.slots.valuation.maintenance == "mark" else leg.entry
        return fee + exposure.requirement(exposure.notional(leg.charged, price))
    gross = sum((abs(other.size) for other in exposure.legs), _ZERO)
    fees = sum(
        (
            other.close_fee + formulas.share_of(exposure.notional(other.size, exposure.mark), exposure.mark_fee)
            for other in exposure.legs
        ),
        _ZERO,
    )
    return fee + (kept - fees) * abs(leg.size) / gross


def _unit_share(exposure: Exposure, pool: Pool, leg: Leg) -> Num:
    """The part of a unit's requirement that is one leg's, in its settle asset: by the value of its contracts."""
    unit = next(unit for unit in pool.units if any(own is exposure for own, _ in unit.exposures))
    prices = {own.symbol.name: own.mark for own, _ in unit.exposures}
    assets = {asset.name: asset.price for asset in pool.assets}
    required = unit.requirement(prices.__getitem__, assets.__getitem__)
    gross = sum(
        (own.notional(one.size, own.mark) * asset.price for own, asset in unit.exposures for one in own.legs), _ZERO
    )
    return required * exposure.notional(leg.size, exposure.mark) / gross


def _bracket_row(exposure: Exposure, pool: Pool, leg: Leg) -> int | None:
    """The row of the table that applies to a leg, or None where the rule has no table."""
    if exposure.steps is None:
        return None
    price = exposure.mark if pool.slots.valuation.maintenance == "mark" else leg.entry
    return exposure.steps.find(exposure.counted(pool.slots, leg.size, exposure.notional(leg.size, price)))


def _bracket_rate(exposure: Exposure, pool: Pool, leg: Leg, row: int) -> Num | None:
    """The rate of a row of the table, grown with the leg's size where the rule says so."""
    if exposure.steps is None:
        return None
    rate = exposure.steps.rates[row]
    if pool.slots.maintenance_margin.kind != "linear_in_size":
        return rate
    return formulas.size_rate(rate, exposure.size_slope, exposure.coins(leg.size))


def _balances(state: PoolState) -> list[BalanceReport]:
    return [
        BalanceReport(
            asset=own.asset.name,
            pool=state.pool.name,
            wallet_balance=own.asset.balance.wallet_balance,
            bonus_credit=own.asset.balance.bonus_credit,
            unrealized_pnl=own.pnl,
            equity=own.asset.cash + own.pnl,
            collateral_value=_worth(own, own.asset.cash),
        )
        for own in state.assets
    ]


_ADDED = (
    "collateral_value",
    "unrealized_pnl",
    "bonus_credit",
    "equity",
    "initial_margin",
    "maintenance_margin",
    "free_collateral",
    "withdrawable",
)
_WORST: tuple[Verdict, ...] = ("healthy", "warning", "liquidation")


def _totals(pools: tuple[PoolReport, ...], prepared: Prepared) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The account's totals: sums in one currency, and the weakest pool's headroom, ratio and status."""
    reference = prepared.rules.reference_currency
    currencies = {pool.currency for pool in pools}
    currency = currencies.pop() if len(currencies) == 1 else reference
    rates: dict[str, Decimal | None] = {pool.currency: Decimal(1) for pool in pools}
    notes: tuple[str, ...] = ()
    if currency == reference and any(pool.currency != reference for pool in pools):
        for name in rates:
            rates[name] = Decimal(1) if name == reference else prepared.market.index_price.get(name)
        unpriced = [name for name, rate in rates.items() if rate is None]
        if unpriced:
            notes = (f"totals over the pools are unknown: no index_price for {', '.join(unpriced)} in {reference}",)

    def in_currency(pool: PoolReport, name: str) -> Decimal | None:
        figure, rate = getattr(pool, name), rates[pool.currency]
        return None if figure is None or rate is None else figure * rate

    totals: dict[str, Any] = {"currency": currency}
    for name in _ADDED:
        figures = [
            in_currency(pool, name)
            for pool in pools
            if not (name == "withdrawable" and pool.name.endswith(" isolated"))
        ]
        known = [figure for figure in figures if figure is not None]
        totals[name] = sum(known, _ZERO) if len(known) == len(figures) else None
    rooms = [in_currency(pool, "headroom") for pool in pools]
    known_rooms = [room for room in rooms if room is not None]
    totals["headroom"] = min(known_rooms, default=_ZERO) if len(known_rooms) == len(rooms) else None
    totals["status"] = max((pool.status for pool in pools), key=_WORST.index, default="healthy")
    ratios = [pool.margin_ratio for pool in pools if pool.margin_ratio is not None]
    totals["margin_ratio"] = max(ratios, default=_ZERO) if len(ratios) == len(pools) else None
    return totals, notes
