"""Exposures: what an account holds and has ordered in one contract, with its fees and its maintenance rule bound.

Every look-up, default and missing price of a contract is settled here; :mod:`crossmargin.engine.prepare` makes pools of
them.
"""

from __future__ import annotations

from decimal import Decimal

from crossmargin.engine import formulas, kinds
from crossmargin.engine.lookup import Lookup, exact
from crossmargin.engine.opening import charged_sizes, values_at_entry
from crossmargin.engine.pool import Exposure, Leg, Num, Order
from crossmargin.model.account import OpenOrder, Position
from crossmargin.model.instrument import parse_symbol
from crossmargin.model.slots import MaintenanceMargin, Slots

_OPENED_BY_TABLE = ("linear_in_size", "marginal_brackets", "leverage_or_bracket")
"""Kinds of initial margin that need an instrument's table besides the leverage."""


def exposure_of(
    look: Lookup,
    name: str,
    positions: list[tuple[int, Position]],
    orders: list[tuple[int, OpenOrder]],
    slots: Slots,
    *,
    isolated: bool,
) -> Exposure:
    """What an account holds and has ordered in one contract, ready to be measured."""
    symbol = parse_symbol(name)
    inverse = symbol.kind == "inverse"
    mark = look.market.mark_price.get(name)
    where = f"positions[{positions[0][0]}]" if positions else f"open_orders[{orders[0][0]}]"
    if mark is None:
        look.miss(f"market.mark_price.{name}", f"the mark price of {where}")
    contract_size = look.rules.contract_size(name)
    if contract_size is None:
        look.fault(
            f"{where}.symbol",
            name,
            f"{look.rules.profile} does not know its contract size; add [[instruments]] with contract_size",
        )
    if mark is None or contract_size is None:
        mark = contract_size = Decimal(1)
    exposure = Exposure(
        symbol=symbol,
        mark=look.convert(mark),
        inverse=inverse,
        contract_size=look.convert(contract_size),
        pnl=formulas.inverse_pnl if inverse else formulas.linear_pnl,
        notional=formulas.inverse_notional if inverse else formulas.linear_notional,
        fixed=look.zero,
    )
    fee = _taker_fee(look, name, slots, where)
    if slots.initial_margin.close_fee == "mark":
        exposure.initial_mark_fee = look.convert(fee)
    for index, position in positions:
        exposure.legs.append(
            _leg(look, index, position, position.quantity * contract_size, fee, exposure, slots, isolated=isolated)
        )
    leverage = next((p.leverage for _, p in positions if p.leverage is not None), None)
    for _, order in orders:
        exposure.orders.append(_order(look, order, contract_size, leverage, fee, exposure, slots))
    if slots.scenarios is None and (exposure.legs or slots.maintenance_margin.orders != "none"):
        _set_maintenance(look, exposure, slots, where, fee)
    elif slots.scenarios is None and slots.initial_margin.kind in _OPENED_BY_TABLE:
        exposure.steps = _table(look, exposure, slots, where)  # orders alone: what they would open is margined by it
    return exposure


def _taker_fee(look: Lookup, symbol: str, slots: Slots, where: str) -> Decimal:
    fee = look.rules.taker_fee(symbol)
    orders = slots.initial_margin.orders
    needed = (
        slots.initial_margin.close_fee != "none"
        or slots.maintenance_margin.close_fee != "none"
        or (orders is not None and (orders.open_fee or orders.close_fee))
    )
    if fee is None and needed:
        look.fault(f"{where}.symbol", symbol, "no taker fee is known; add [[instruments]] with taker_fee")
    return fee if fee is not None else Decimal(0)


def _leg(
    look: Lookup,
    index: int,
    position: Position,
    size: Decimal,
    fee: Decimal,
    exposure: Exposure,
    slots: Slots,
    *,
    isolated: bool,
) -> Leg:
    kinds_of_fee = slots.maintenance_margin.close_fee, slots.initial_margin.close_fee
    entry_value = exposure.notional(size, position.entry_price)
    long = size > 0
    loss_sign = 1 if long == exposure.inverse else -1
    value = bankruptcy = None
    if isolated:
        value = formulas.isolated_bankruptcy_value(entry_value, loss_sign, position.isolated_margin, fee)
    elif position.leverage is not None:
        value = formulas.cross_bankruptcy_value(entry_value, loss_sign, position.leverage)
    elif "bankruptcy" in kinds_of_fee:
        look.fault(
            f"positions[{index}].leverage",
            "",
            f"is missing; {look.rules.profile} holds the fee to close at the bankruptcy price that leverage sets",
        )
    if value:
        bankruptcy = abs(size) / value if exposure.inverse else value / abs(size)
    # what a fee at the mark comes to is known at each mark only
    charged_on = {"bankruptcy": value or 0, "entry": entry_value}
    kept, opened = (charged_on.get(kind, Decimal(0)) for kind in kinds_of_fee)
    return Leg(
        position=position,
        size=look.convert(size),
        charged=look.convert(size),
        entry=look.convert(position.entry_price),
        leverage=None if position.leverage is None else look.convert(position.leverage),
        close_fee=look.convert(formulas.share_of(kept, _closing_rate(slots, fee))),
        initial_fee=look.convert(formulas.share_of(opened, fee)),
        bankruptcy_price=None if bankruptcy is None else look.convert(bankruptcy),
    )


def _order(
    look: Lookup,
    order: OpenOrder,
    contract_size: Decimal,
    leverage: Decimal | None,
    fee: Decimal,
    exposure: Exposure,
    slots: Slots,
) -> Order:
    size = order.quantity * contract_size
    rule = slots.initial_margin.orders
    price = order.price
    if rule is not None and rule.price == "assuming" and size < 0:
        last = look.market.last_price.get(order.symbol)
        if last is None:
            look.miss(
                f"market.last_price.{order.symbol}",
                f"{look.rules.profile} takes the sell order at {price} at the highest of last price, mark and its "
                "own; give the last price in [market.last_price], or import the venue's ticker beside the orders",
            )
            last = price
        mark = look.market.mark_price.get(order.symbol, price)
        price = formulas.assuming_price(price, mark, last, rule.assuming_markup)
    value = exposure.notional(size, price)
    fees = Decimal(0)
    stated = order.leverage if order.leverage is not None else leverage
    if rule is not None and rule.open_fee:
        fees += formulas.share_of(value, fee)
    if rule is not None and rule.close_fee and stated is not None:
        loss_sign = 1 if (size > 0) == exposure.inverse else -1
        fees += formulas.share_of(formulas.cross_bankruptcy_value(value, loss_sign, stated), fee)
    return Order(
        size=look.convert(size),
        price=look.convert(price),
        leverage=None if stated is None else look.convert(stated),
        fees=look.convert(fees),
    )


# maintenance ----------------------------------------------------------------------------------------------------------


def _set_maintenance(look: Lookup, exposure: Exposure, slots: Slots, where: str, fee: Decimal) -> None:
    """Bind the maintenance rule: what of it is fixed, and which sizes are charged at the mark."""
    slot = slots.maintenance_margin
    exposure.fixed = sum((leg.close_fee for leg in exposure.legs), look.zero)
    with_orders = None if slot.orders == "none" else _with_orders(exposure, slot)
    if slot.close_fee == "mark":
        exposure.mark_fee = look.convert(_closing_rate(slots, fee))
        exposure.fee_sizes = tuple(abs(leg.size) for leg in exposure.legs) if with_orders is None else with_orders
    if slot.kind == "fraction_of_initial":
        _share_of_initial(look, exposure, slot, where)
    else:
        exposure.steps = steps = _table(look, exposure, slots, where)
        if steps is not None and slot.kind != "highest_rate":
            by_value = slot.key == "notional" and slot.kind in kinds.BY_NOTIONAL
            exposure.requirement = (
                kinds.BY_NOTIONAL[slot.kind](steps) if by_value else _by_count(look, exposure, slot, steps)
            )
    if slots.valuation.maintenance == "mark":
        exposure.sizes = charged_sizes(slot.scope, exposure) if with_orders is None else with_orders
    elif exposure.requirement is not None:
        at_entry = values_at_entry(slot.scope, exposure)
        exposure.fixed = exposure.fixed + sum((exposure.requirement(v) for v in at_entry), look.zero)


def _table(look: Lookup, exposure: Exposure, slots: Slots, where: str) -> kinds.Steps | None:
    name = exposure.symbol.name
    table = look.rules.brackets.get(name)
    if table is None:
        look.fault(
            f"{where}.symbol",
            name,
            f"{look.rules.profile} has no maintenance table for it; add [[instruments]] with brackets",
        )
        return None
    slot = slots.maintenance_margin
    if any(kinds.maintenance_rate(bracket, slot) is None for bracket in table):
        look.fault(f"instruments {name}.brackets", "", "a bracket has no maintenance_rate")
        return None
    if table[0].notional_floor > 0 and table[0].maintenance_deduction is None and slot.kind == "marginal_brackets":
        look.fault(
            f"instruments {name}.brackets[0]",
            str(table[0].notional_floor),
            "a table that starts above 0 needs its maintenance_deduction",
        )
        return None
    exposure.initial_rates = tuple(
        None if bracket.initial_rate is None else look.convert(bracket.initial_rate) for bracket in table
    )
    exposure.size_slope = look.convert(table[0].size_slope or Decimal(0))
    if slots.initial_margin.kind == "marginal_brackets":
        exposure.initial_steps = kinds.initial_steps(name, table, look.convert)
    if exposure.initial_rates[0] is None and slots.initial_margin.kind in ("marginal_brackets", "linear_in_size"):
        look.fault(f"instruments {name}.brackets", "", "a bracket has no initial_rate, which this profile needs")
    steps = kinds.maintenance_steps(name, table, slot, look.convert)
    for row in range(1, len(table)):
        if slot.kind != "marginal_brackets" or table[row].maintenance_deduction is None:
            continue
        stated = kinds.maintenance_steps(name, table, slot, exact)
        due = formulas.bracket_deduction(
            table[row].notional_floor, stated.rates[row], stated.rates[row - 1], stated.offsets[row - 1]
        )
        if abs(due - stated.offsets[row]) > Decimal("0.01"):
            look.fault(
                f"instruments {name}.brackets[{row}].maintenance_deduction",
                str(stated.offsets[row]),
                f"makes the requirement jump at {table[row].notional_floor}; continuity asks for {due}",
            )
    return steps


def _by_count(look: Lookup, exposure: Exposure, slot: MaintenanceMargin, steps: kinds.Steps) -> kinds.Requirement:
    """A rule that looks at contracts or coins has one rate whatever the price: one a leg, or one for all."""
    slope = exposure.size_slope

    def rate(size: Num) -> Num:
        count = abs(size) / exposure.contract_size if slot.key == "contracts" else exposure.coins(size)
        return kinds.BY_COUNT[slot.kind](count, steps, slope)

    if slot.scope == "per_leg":
        for leg in exposure.legs:
            leg.charged = leg.size * rate(leg.size)
        return kinds.flat_rate(look.convert(Decimal(1)))
    sizes = charged_sizes(slot.scope, exposure)
    return kinds.flat_rate(rate(sizes[0]) if sizes else look.zero)


def _share_of_initial(look: Lookup, exposure: Exposure, slot: MaintenanceMargin, where: str) -> None:
    fraction = look.convert(slot.fraction or Decimal(0))
    for leg in exposure.legs:
        if leg.leverage is None:
            look.fault(f"{where}.leverage", "", "is missing; the maintenance margin is a share of the initial one")
            return
        leg.charged = formulas.leverage_requirement(leg.size * fraction, leg.leverage)
    exposure.requirement = kinds.flat_rate(look.convert(Decimal(1)))


def share_highest_rate(look: Lookup, exposures: list[Exposure]) -> None:
    """One rate for the whole pool: the highest of its positions."""
    rates = [max(exposure.steps.rates) for exposure in exposures if exposure.steps is not None and exposure.legs]
    for exposure in exposures:
        if exposure.legs:
            exposure.requirement = kinds.flat_rate(max(rates, default=look.zero))


def _closing_rate(slots: Slots, taker_fee: Decimal) -> Decimal:
    """The rate of the fee to close that the maintenance margin holds."""
    stated = slots.maintenance_margin.close_fee_rate
    return taker_fee if stated is None else stated


def _with_orders(exposure: Exposure, slot: MaintenanceMargin) -> tuple[Num, ...]:
    """The sizes that fills of the resting orders could leave: longs and buys, shorts and sells; both or the larger.

    Where legs are charged net, fills of one side move the net size, and the larger of the two it could be is charged.
    """
    held = [leg.size for leg in exposure.legs]
    sizes = held + [order.size for order in exposure.orders]
    longs, shorts = sum(size for size in sizes if size > 0), -sum(size for size in sizes if size < 0)
    if slot.scope == "net":
        bought = sum(order.size for order in exposure.orders if order.size > 0)
        sold = sum(order.size for order in exposure.orders if order.size < 0)
        longs, shorts = abs(sum(held) + bought), abs(sum(held) + sold)
    return (max(longs, shorts),) if slot.orders == "worse_side" else tuple(size for size in (longs, shorts) if size)
