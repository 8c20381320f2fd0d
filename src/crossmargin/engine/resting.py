"""What each resting order holds at a row of prices, compiled."""

from __future__ import annotations

import numpy as np

from crossmargin.engine.jit import (
    assuming_price,
    compiled,
    cross_bankruptcy_value,
    leverage_requirement,
    linear_notional,
    linear_pnl,
    share_of,
)


@compiled
def resting_margins(orders, rule, x, last, inverse, taker_fee, margin, fees, gross):
    """Write each order's margin (its fees in it), its fees and the sum of absolute terms; NaN where one is unknown.

    The text follows :func:`crossmargin.engine.opening.order_margin` under an initial margin by leverage.
    """
    for o in range(len(margin)):
        k, size, entry, leverage = orders.instrument[o], orders.size[o], orders.entry[o], orders.leverage[o]
        if rule.assuming and size < 0:
            mark = -1.0 / x[k] if inverse[k] else x[k]
            taken_at = np.nan
            if not (np.isnan(mark) or np.isnan(last[k])):
                taken_at = assuming_price(orders.price[o], mark, last[k], rule.markup)
            entry = -1.0 / taken_at if inverse[k] else taken_at
        value = linear_notional(size, abs(entry))
        held = charged = 0.0
        if rule.value:
            held += leverage_requirement(value, leverage)
        if rule.open_loss:
            loss = -linear_pnl(size, entry, x[k])
            held += loss if not loss <= 0 else 0.0
        if rule.open_fee:
            charged += share_of(value, taker_fee[k])
        if rule.close_fee and not np.isnan(leverage):
            sign = 1 if (size > 0) == inverse[k] else -1
            charged += share_of(cross_bankruptcy_value(value, sign, leverage), taker_fee[k])
        fees[o] = charged
        margin[o] = held + charged
        gross[o] = value + (linear_notional(size, abs(x[k])) if rule.open_loss else 0.0)
