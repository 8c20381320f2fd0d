"""What opening holds: initial margin of positions and resting orders, and the sizes that tables are applied to."""

from __future__ import annotations

from collections.abc import Mapping

from crossmargin.engine import formulas
from crossmargin.engine.pool import Exposure, Num, Order
from crossmargin.model.slots import Slots


def order_margin(exposure: Exposure, order: Order, slots: Slots) -> Num | None:
    """What one resting order holds, in the settle asset; None where its leverage is missing."""
    held = slots.initial_margin.orders
    total = exposure.mark * 0
    if held is None:
        return total
    if held.value:
        margin = opening_margin(exposure, slots, order.size, order.price, order.leverage)
        if margin is None:
            return None
        total = total + margin
    if held.open_loss:
        total = total + max(exposure.mark * 0, -exposure.pnl(order.size, order.price, exposure.mark))
    return total + order.fees


def opening_margin(exposure: Exposure, slots: Slots, size: Num, price: Num, leverage: Num | None) -> Num | None:
    """Initial margin of a size at a price by the profile's kind, fees apart; None where it needs a missing leverage."""
    kind = slots.initial_margin.kind
    value = exposure.notional(size, price)
    by_leverage = None if leverage is None else formulas.leverage_requirement(value, leverage)
    if kind == "linear_in_size":
        coins = value if exposure.inverse else size
        rate = formulas.size_rate(exposure.initial_rates[0], exposure.size_slope, coins)
        return formulas.share_of(value, rate)
    if kind == "marginal_brackets" and exposure.initial_steps is not None:
        steps, count = exposure.initial_steps, exposure.counted(slots, size, value)
        row = steps.find(count)
        required = formulas.bracket_requirement(count, steps.rates[row], steps.offsets[row])
        if count is not value:  # a table in contracts or coins gives its share of the whole, and the value the margin
            required = value * required / count
        return required if by_leverage is None else max(required, by_leverage)
    if kind == "multiple_of_maintenance":
        return value * 0  # of the whole pool, not of its parts
    if by_leverage is None:
        return None
    if kind == "leverage_or_bracket" and exposure.steps is not None:
        stated = exposure.initial_rates[exposure.steps.find(exposure.counted(slots, size, value))]
        if stated is not None:
            return max(by_leverage, formulas.share_of(value, stated))
    return by_leverage


def taken(exposure: Exposure, slots: Slots) -> Num:
    """What resting orders take out of equity; their margin with an unknown leverage stays unknown as initial margin."""
    held = slots.initial_margin.orders
    total = exposure.mark * 0
    if held is None or held.from_equity == "none":
        return total
    for order in exposure.orders:
        total = total + (
            (order_margin(exposure, order, slots) or total * 0) if held.from_equity == "margin" else order.fees
        )
    return total


def charged_sizes(scope: str, exposure: Exposure) -> tuple[Num, ...]:
    """The absolute sizes that a table is applied to, by scope; a hedge has two legs, else there is one."""
    sizes = [leg.charged for leg in exposure.legs]
    longs = sum(size for size in sizes if size > 0)
    shorts = -sum(size for size in sizes if size < 0)
    by_scope: Mapping[str, list[Num]] = {
        "per_leg": [abs(size) for size in sizes],
        "gross": [longs + shorts],
        "net": [abs(longs - shorts)],
        "larger_side": [max(longs, shorts)],
    }
    return tuple(size for size in by_scope[scope] if size)


def values_at_entry(scope: str, exposure: Exposure) -> list[Num]:
    """The same at entry prices; net size is valued at the entry of the larger side."""
    legs = [(leg.charged, exposure.notional(leg.charged, leg.entry)) for leg in exposure.legs]
    values = [value for _, value in legs]
    if scope == "gross":
        return [sum(values)]
    if scope in ("net", "larger_side") and len(legs) > 1:
        size, value = max(legs, key=lambda leg: abs(leg[0]))
        charged = charged_sizes(scope, exposure)
        return [value * charged[0] / abs(size)] if charged else []
    return values
