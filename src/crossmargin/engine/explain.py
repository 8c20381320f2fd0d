"""The lines of a judgement: each figure as a tree down to inputs, with its formula, rule and sources."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from crossmargin.engine.pool import Exposure, Leg, Pool
from crossmargin.engine.reference import AssetState, PoolState
from crossmargin.model.profile import Rules
from crossmargin.model.report import Line
from crossmargin.model.source import Slot

Num = Any


def _cite(slot: Slot | None) -> tuple[str, tuple[str, ...]]:
    if slot is None:
        return "", ()
    return str(getattr(slot, "kind", type(slot).__name__)), slot.source


def pool_lines(state: PoolState, rules: Rules) -> Line:
    """Headroom of one pool as a tree: equity and maintenance margin, by asset and position."""
    pool, currency = state.pool, state.pool.currency
    slots = pool.slots
    equity = Line(
        "equity",
        state.equity,
        currency,
        "sum of what each asset counts for",
        *_cite(slots.equity),
        tuple(_asset_line(own, pool, rules) for own in state.assets),
    )
    maintenance = Line(
        "maintenance_margin",
        state.maintenance,
        currency,
        "sum over positions, at the rate of the settle asset",
        *_cite(slots.maintenance_margin),
        tuple(
            _exposure_line(exposure, kept, own, pool, rules)
            for own in state.assets
            for exposure, _, kept in own.exposures
        ),
    )
    debts = _debt_lines(state)
    if debts:
        maintenance = replace(maintenance, parts=(*maintenance.parts, *debts))
    if pool.fixed or pool.units:
        maintenance = replace(maintenance, parts=(*maintenance.parts, *_besides(state)))
    parts = [equity, maintenance]
    if state.initial_equity != state.equity:
        words = "what counts to open and to withdraw: PnL or ratios count otherwise than for maintenance"
        parts.append(Line("initial_equity", state.initial_equity, currency, words, *_cite(slots.equity)))
    if state.initial is not None:
        parts.append(
            Line(
                "initial_margin",
                state.initial,
                currency,
                "value / leverage, orders and fees where the venue reserves them",
                *_cite(slots.initial_margin),
            )
        )
    multiple = pool.liquidation_multiple
    words = "equity - maintenance_margin" if multiple == 1 else f"equity - {multiple} x maintenance_margin"
    return Line(f"headroom of {pool.name}", state.headroom, currency, words, *_cite(slots.levels), tuple(parts))


def _debt_lines(state: PoolState) -> list[Line]:
    """What is owed in each asset holds besides the positions that settle in it."""
    slots, pair = state.pool.slots, state.pool.isolated
    cited = _cite(slots.borrowing if pair else slots.collateral)
    words = "value owed x ((1 + rate) x (1 + fee) - 1)" if pair else "value owed x rate"
    return [
        Line(
            f"debt of {own.asset.name}",
            own.requirement - own.maintenance * own.asset.price,
            state.pool.currency,
            words,
            *cited,
            (Line("rate", own.asset.kept_rate(-(own.asset.cash + own.pnl)), ""),),
        )
        for own in state.assets
        if (own.asset.liability_rate or own.asset.liability_steps) and own.asset.cash + own.pnl < 0
    ]


def _besides(state: PoolState) -> list[Line]:
    """What a pool requires besides its single contracts: a fixed amount, and each coin of a portfolio margin."""
    pool, currency = state.pool, state.pool.currency
    cited = _cite(pool.slots.scenarios or pool.slots.maintenance_margin)
    marks = {exposure.symbol.name: exposure.mark for asset in pool.assets for exposure in asset.exposures}
    prices = {asset.name: asset.price for asset in pool.assets}
    words = "max(net value x worst move + hedged value x basis rate, minimum charge)"
    lines = [
        Line(unit.coin, unit.requirement(marks.__getitem__, prices.__getitem__), currency, words, *cited)
        for unit in pool.units
    ]
    return lines + ([Line("fixed_amount", pool.fixed, currency, "", *cited)] if pool.fixed else [])


def _row_sources(name: str, rules: Rules) -> tuple[str, ...]:
    """Where the table rows of a symbol or asset come from."""
    if name in rules.overridden:
        return ("the account file",)
    return tuple(sorted(rules.row_sources.get(name, ())))


def _asset_line(own: AssetState, pool: Pool, rules: Rules) -> Line:
    asset, slots = own.asset, pool.slots
    unit = asset.name
    parts = [Line("wallet_balance", asset.balance.wallet_balance, unit)]
    if asset.balance.accrued_interest:
        parts.append(Line("accrued_interest", -asset.balance.accrued_interest, unit, "owed"))
    if asset.balance.bonus_credit:
        parts.append(Line("bonus_credit", asset.balance.bonus_credit, unit, "lent by the venue as margin"))
    if asset.taken:
        parts.append(Line("order_margin", -asset.taken, unit, "held by resting orders, out of equity"))
    if own.exposures:
        legs = tuple(
            _pnl_line(exposure, leg, exposure.pnl(leg.size, leg.entry, exposure.mark), unit)
            for exposure, _, _ in own.exposures
            for leg in exposure.legs
        )
        parts.append(Line("unrealized_pnl", own.pnl, unit, "sum over positions", *_cite(slots.valuation), legs))
    rule, source = _cite(slots.collateral)
    words = "balance + PnL"
    if slots.collateral.kind == "bid_ask" and not pool.isolated:
        parts += [Line("bid_rate", asset.bid, pool.currency), Line("ask_rate", asset.ask, pool.currency)]
        words = "min(equity x bid_rate, equity x ask_rate)"
    elif asset.name != pool.currency:
        worth = asset.worth(asset.cash, asset.price, asset.bid, asset.ask)
        source = tuple(dict.fromkeys((*source, *_row_sources(asset.name, rules))))
        parts += [
            Line("index_price", asset.price, pool.currency),
            Line("collateral_value", worth, pool.currency, "balance after its collateral ratio x index_price"),
        ]
        words = "(balance + PnL) after collateral ratio" if pool.weighted else "collateral_value + PnL x index_price"
    if not asset.counts:
        words = "not used as collateral, counts only when owed: " + words
    return Line(asset.name, own.equity, pool.currency, words, rule, source, tuple(parts))


def _pnl_line(exposure: Exposure, leg: Leg, gain: Num, unit: str) -> Line:
    words = "size x (1/entry - 1/mark)" if exposure.inverse else "size x (mark - entry)"
    return Line(
        f"PnL {exposure.symbol.name}",
        gain,
        unit,
        words,
        "",
        (),
        (
            Line("size", leg.size, exposure.symbol.quote if exposure.inverse else exposure.symbol.base),
            Line("entry_price", leg.entry, exposure.symbol.quote),
            Line("mark_price", exposure.mark, exposure.symbol.quote),
        ),
    )


def _exposure_line(exposure: Exposure, kept: Num, own: AssetState, pool: Pool, rules: Rules) -> Line:
    slot, unit = pool.slots.maintenance_margin, own.asset.name
    parts = []
    steps = exposure.steps
    for size in exposure.sizes:
        value = exposure.notional(size, exposure.mark)
        parts.append(Line("notional", value, unit, "size / mark" if exposure.inverse else "size x mark"))
        if steps is not None and slot.key == "notional":
            row = steps.find(value)
            parts.append(Line(f"maintenance_rate of bracket {row + 1}", steps.rates[row], ""))
            if steps.offsets[row]:
                parts.append(Line("maintenance_deduction", steps.offsets[row], unit))
    if exposure.fixed:
        words = "reserved to close, fixed at opening" if exposure.sizes else "held at entry value, close fee included"
        parts.append(Line("close_fee" if exposure.sizes else "fixed", exposure.fixed, unit, words))
    rule, source = _cite(slot)
    source = (*source, *_row_sources(exposure.symbol.name, rules))
    return Line(exposure.symbol.name, kept, unit, "notional x rate - deduction + fees", rule, source, tuple(parts))
