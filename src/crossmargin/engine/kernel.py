"""The runner: every pool of a book judged at one row of prices, compiled.

The text follows :func:`crossmargin.engine.reference.measure` line by line with the formulas of
:mod:`crossmargin.engine.formulas`; agreement is what the parity tests and ``benchmarks/parity.py`` check. Each pool is
computed by one thread in the order of its rows, so neither threads nor shards nor the order of pools change a bit.

``bound`` is what rounding can have done to headroom, a priori: every sum here adds products of inputs that are
themselves rounded once, so the error is below (number of terms + a few) x 2^-53 x the sum of their absolute values.
"""

from __future__ import annotations

import numpy as np

from crossmargin.engine.columns import Status
from crossmargin.engine.jit import (
    bid_ask_value,
    bracket_requirement,
    compiled,
    headroom,
    leverage_requirement,
    linear_notional,
    linear_pnl,
    share_of,
    tier_amount,
)
from crossmargin.engine.tables import Counted, Opening, Worth

_PAR, _FLAT, _BY_VALUE, _BID_ASK = (int(w) for w in (Worth.PAR, Worth.FLAT, Worth.TIERED_BY_VALUE, Worth.BID_ASK))
_ALL, _LOSSES = int(Counted.ALL), int(Counted.LOSSES)
_OR_BRACKET, _MARGINAL = int(Opening.LEVERAGE_OR_BRACKET), int(Opening.MARGINAL)
_MULTIPLE = int(Opening.MULTIPLE)
_WARNING, _LIQUIDATION, _UNKNOWN = int(Status.WARNING), int(Status.LIQUIDATION), int(Status.UNKNOWN)
_SEVERE = 10
"""Reasons from here on leave no figure."""
_OPEN_ORDERS = 2
UNIT = 2.0**-53
_AT_FLOOR = 1e-12
_NONE, _ONE = np.uintp(0), np.uintp(1)
"""Places in arrays are unsigned: a signed one is checked for counting from the end at every use."""
_NET, _LARGER = 1, 2


@compiled
def worth_of(worth, amount, price, bid, ask, ratio, credit, liability):
    """What an amount of an asset counts for; ``ratio`` and ``credit`` are those of its tier."""
    if worth == _PAR:
        return amount
    if worth == _BID_ASK:
        return bid_ask_value(amount, bid, ask)
    if worth == _BY_VALUE:
        value = amount * price
        return share_of(value, liability) if value < 0 else tier_amount(value, ratio, credit)
    if worth == _FLAT or amount < 0:
        return share_of(amount, liability if amount < 0 else ratio) * price
    return tier_amount(amount, ratio, credit) * price


@compiled
def counted_pnl(pnl, counted):
    """The part of an unrealized PnL that counts."""
    if counted == _ALL:
        return pnl
    return min(pnl, pnl * 0.0) if counted == _LOSSES else pnl * 0.0


@compiled
def reached(equity, base, multiple, strict):
    """Whether equity has fallen to a level; an unknown requirement is not reached."""
    required = base * multiple
    room = headroom(equity, required)
    return room < 0 or (room == 0 and required > 0 and not strict)


@compiled
def judge(
    slots, start, stop, full, pools, x, price, bid, ask, first_row, cap, rate, deduction, initial_rate,
    initial_deduction, worth,
    first_tier, tier_cap, ratio, credit, liability_ratio, liability_rate, liability_initial_rate, shared, isolated_law,
    has_fixed, has_fee, mark_fee, initial_mark_fee, jumps, order_margin, order_gross,
    out_equity, out_maintenance, out_headroom, out_bound, out_status, out_initial, out_level, out_kept, out_pnl,
    out_required, out_rest,
):  # fmt: skip
    """Judge pools ``start`` to ``stop``, or those of ``slots`` at these places. Not ``full``: equity, maintenance,
    headroom, its bound, and whether liquidated. ``order_margin`` and ``order_gross``: what resting orders hold, one a
    holding, or empty."""
    pool_start, laws, reasons = pools.start, pools.law, pools.reason
    position_start, assets, cash, counts, fixed = (
        pools.position_start, pools.asset, pools.cash, pools.counts, pools.fixed,
    )  # fmt: skip
    instrument, size, charged, entry = pools.instrument, pools.size, pools.charged, pools.entry
    leverage, fee = pools.leverage, pools.initial_fee
    with_orders = len(order_margin) > 0
    with_mark_fee, with_initial_mark_fee = mark_fee.any(), initial_mark_fee.any()
    # numbers are picked pool by pool; a tuple that holds arrays would have its references counted each time
    counted, weighted = shared.counted, shared.weighted
    width = max(len(shared.level_multiple), len(isolated_law.level_multiple))
    level_multiple, level_on_initial = np.empty((2, width)), np.empty((2, width), np.bool_)
    for place in range(len(shared.level_multiple)):
        level_multiple[0, place], level_on_initial[0, place] = (
            shared.level_multiple[place],
            shared.level_on_initial[place],
        )
    for place in range(len(isolated_law.level_multiple)):
        level_multiple[1, place] = isolated_law.level_multiple[place]
        level_on_initial[1, place] = isolated_law.level_on_initial[place]
    for n in range(start, stop):
        p = n if slots is None else slots[n]
        if reasons[p] >= _SEVERE:
            out_equity[p] = out_maintenance[p] = out_headroom[p] = np.nan
            out_bound[p] = 0.0
            out_status[p] = _UNKNOWN
            if full:
                out_initial[p] = np.nan
                out_level[p] = -1
                for lost in range(position_start[pool_start[p]], position_start[pool_start[p + 1]]):
                    out_kept[lost] = np.nan
            continue
        pocket = laws[p] == 1
        multiple = isolated_law.multiple if pocket else shared.multiple
        strict = isolated_law.strict if pocket else shared.strict
        scope = isolated_law.initial_scope if pocket else shared.initial_scope
        opening = isolated_law.opening if pocket else shared.opening
        at_entry = isolated_law.initial_at_entry if pocket else shared.initial_at_entry
        at_ask = shared.at_ask and not pocket
        own_law = _ONE if pocket else _NONE
        equity = maintenance = initial = gross = 0.0
        terms = 0
        for holding in range(pool_start[p], pool_start[p + 1]):
            h = np.uintp(holding)
            a = np.uintp(assets[h])
            first, last = position_start[h], position_start[h + _ONE]
            pnl = opened = longs = shorts = 0.0
            required = fixed[h] if has_fixed else 0.0
            size_of = required
            before = np.uintp(len(x))
            for number in range(first, last):
                i = np.uintp(number)
                k = np.uintp(instrument[i])
                mark, s = x[k], size[i]
                gain = linear_pnl(s, entry[i], mark)
                pnl += gain
                row = np.uintp(first_row[own_law, k])
                value = linear_notional(charged[i], abs(mark))
                while value > cap[row]:
                    row += _ONE
                kept = bracket_requirement(value, rate[row], deduction[row])
                if with_mark_fee:
                    kept += share_of(linear_notional(s, abs(mark)), mark_fee[own_law, k])
                required += kept
                size_of += abs(gain) + linear_notional(s, abs(mark)) + kept
                if jumps and (
                    abs(value - cap[row]) <= _AT_FLOOR * value
                    or (row > first_row[own_law, k] and abs(value - cap[row - _ONE]) <= _AT_FLOOR * value)
                ):
                    size_of = np.inf  # rounding may have picked the row: no bound holds, the judge decides
                if full:
                    out_kept[i] = kept
                    if scope != 0 and k != before:
                        opened += abs(longs - shorts) if scope == _NET else max(longs, shorts)
                        longs = shorts = 0.0
                        before = k
                    basis = linear_notional(s, abs(entry[i] if at_entry else mark))
                    margin = leverage_requirement(basis, leverage[i])
                    own = np.uintp(first_row[own_law, k])
                    if opening in (_OR_BRACKET, _MARGINAL):
                        while basis > cap[own]:
                            own += _ONE
                    if opening == _OR_BRACKET and not np.isnan(initial_rate[own]):
                        margin = max(margin, share_of(basis, initial_rate[own]))
                    elif opening == _MARGINAL and not np.isnan(initial_deduction[own]):
                        by_table = bracket_requirement(basis, initial_rate[own], initial_deduction[own])
                        margin = by_table if np.isnan(margin) else max(margin, by_table)
                    elif opening == _MULTIPLE:
                        margin = basis * 0.0  # of the whole pool, not of its parts
                    if has_fee:
                        margin += fee[i]
                    if with_initial_mark_fee:
                        margin += share_of(linear_notional(s, abs(mark)), initial_mark_fee[own_law, k])
                    if s > 0:
                        longs += margin
                    else:
                        shorts += margin
            par = pocket or worth[a] == _PAR
            own_price = 1.0 if par else price[a]
            own_bid = 1.0 if par else bid[a]
            own_ask = 1.0 if par else ask[a]
            pnl_here = pnl
            pnl = counted_pnl(pnl, counted)
            owned = cash[h] + pnl
            amount = owned if weighted else cash[h]
            valued = amount if counts[h] else min(amount, amount * 0.0)
            tier = np.uintp(first_tier[a])
            if not par:
                key = valued * own_price if worth[a] == _BY_VALUE else valued
                while key > tier_cap[tier]:
                    tier += _ONE
            equals = worth_of(
                _PAR if par else worth[a],
                valued,
                own_price,
                own_bid,
                own_ask,
                ratio[tier],
                credit[tier],
                liability_ratio,
            )
            if not weighted:
                equals += pnl * own_price
            charge = own_ask if at_ask else own_price
            asked = required * charge
            if liability_rate[a] != 0 and not pocket:
                asked += share_of(max(-owned, owned * 0.0) * own_price, liability_rate[a])
            equity += equals
            maintenance += asked
            if with_orders:
                size_of += order_gross[h]
            gross += (abs(cash[h]) + size_of) * max(own_price, own_ask)
            terms += last - first + 1
            if full:
                out_pnl[h] = pnl_here
                out_required[h] = required
                out_rest[h] = headroom(equals, asked * multiple)
                if scope == 0:
                    opened += longs + shorts
                else:
                    opened += abs(longs - shorts) if scope == _NET else max(longs, shorts)
                if with_orders:
                    opened += order_margin[h]
                needed = opened * charge
                if liability_initial_rate[a] != 0 and not pocket:
                    needed += share_of(max(-owned, owned * 0.0) * own_price, liability_initial_rate[a])
                initial += needed
        if opening == _MULTIPLE:
            initial += share_of(maintenance, isolated_law.initial_multiple if pocket else shared.initial_multiple)
        room = headroom(equity, maintenance * multiple)
        out_equity[p] = equity
        out_maintenance[p] = maintenance
        out_headroom[p] = room
        out_bound[p] = 4 * (1 + multiple) * (1 + liability_ratio) * (terms + 16) * UNIT * gross
        if np.isnan(room):
            out_status[p] = _UNKNOWN
        else:
            out_status[p] = _LIQUIDATION if reached(equity, maintenance, multiple, strict) else 0
        if full:
            if reasons[p] == _OPEN_ORDERS:
                initial = np.nan
            out_initial[p] = initial
            out_level[p] = -1
            if not np.isnan(room):
                last_level = (len(isolated_law.level_multiple) if pocket else len(shared.level_multiple)) - 1
                for level in range(last_level + 1):
                    base = initial if level_on_initial[own_law, level] else maintenance
                    if reached(equity, base, level_multiple[own_law, level], strict):
                        out_level[p] = level
                if out_level[p] >= 0:
                    out_status[p] = _LIQUIDATION if out_level[p] == last_level else _WARNING


@compiled
def share_legs(start, stop, position_start, instrument, size, fee, mark_fee, law, x, kept):
    """Share what one rule asks of both legs of a hedge out by size; fees stay where they arise.

    ``position_start``: one more than holdings; ``law``: that of each holding; ``kept`` is changed in place.
    """
    for h in range(start, stop):
        i = position_start[h]
        while i < position_start[h + 1]:
            k = instrument[i]
            if i + 1 == position_start[h + 1] or instrument[i + 1] != k:
                i += 1
                continue
            first = fee[i] + share_of(linear_notional(size[i], abs(x[k])), mark_fee[law[h], k])
            second = fee[i + 1] + share_of(linear_notional(size[i + 1], abs(x[k])), mark_fee[law[h], k])
            together = kept[i] + kept[i + 1] - first - second
            gross = abs(size[i]) + abs(size[i + 1])
            kept[i] = first + together * abs(size[i]) / gross
            kept[i + 1] = second + together * abs(size[i + 1]) / gross
            i += 2
