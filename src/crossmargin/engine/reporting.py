"""The report of an account: every figure of the judge as nouns, with lines, notes and verdicts."""

from __future__ import annotations

from decimal import Decimal, localcontext
from typing import Any

from crossmargin.engine import formulas
from crossmargin.engine.explain import pool_lines
from crossmargin.engine.pool import Exposure, Leg, Pool, Prepared
from crossmargin.engine.prepare import prepare
from crossmargin.engine.reference import (
    AssetState,
    Num,
    PoolState,
    bonus_credit,
    in_wallets,
    leg_initial_margin,
    measure,
    removable,
)
from crossmargin.model.account import Account
from crossmargin.model.market import Market
from crossmargin.model.number import CONTEXT
from crossmargin.model.profile import Rules
from crossmargin.model.report import BalanceReport, PoolReport, PositionReport, Report, Verdict

_ZERO = Decimal(0)


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
        bonus_credit=bonus_credit(state),
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
    most: Decimal = free if rule.kind == "keep_share" else min(free, in_wallets(state))
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
