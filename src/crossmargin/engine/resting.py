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


@compiled
def worse_sides(sides, order_size, order_margin, x, at_entry, more):
    """Write what the larger side of each exposure holds with its orders beyond what it holds without them.

    The text follows :func:`crossmargin.engine.reference.initial_margin` under an initial margin by leverage.
    """
    longs, shorts, buys, sells = np.zeros((4, len(more)))
    for leg in range(len(sides.leg_group)):
        group, size = sides.leg_group[leg], sides.leg_size[leg]
        at = sides.leg_entry[leg] if at_entry else x[sides.leg_instrument[leg]]
        held = leverage_requirement(linear_notional(size, abs(at)), sides.leg_leverage[leg])
        if size > 0:
            longs[group] += held
        else:
            shorts[group] += held
    for o in range(len(order_size)):
        if order_size[o] > 0:
            buys[sides.group[o]] += order_margin[o]
        else:
            sells[sides.group[o]] += order_margin[o]
    for group in range(len(more)):
        long, short = longs[group] + buys[group], shorts[group] + sells[group]
        more[group] = max(long, short) - max(longs[group], shorts[group])
        if np.isnan(long) or np.isnan(short):
            more[group] = np.nan
