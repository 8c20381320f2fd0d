"""The runner's scenarios: every pool of a book under many moves of the market, compiled.

Per position the scenarios are one contiguous row, so the work is a few vector loops. Of a maintenance table only the
brackets that the scenarios' prices can reach are looked at: mostly one, a straight line.
"""

from __future__ import annotations

import numpy as np

from crossmargin.engine.columns import Status
from crossmargin.engine.jit import bracket_requirement, compiled, headroom, linear_notional, linear_pnl, share_of, woven
from crossmargin.engine.kernel import counted_pnl, worth_of
from crossmargin.engine.tables import Counted, Worth

_PAR, _BY_VALUE = int(Worth.PAR), int(Worth.TIERED_BY_VALUE)
_ALL = int(Counted.ALL)
_NO_STATUS = int(Status.UNKNOWN)
BLOCK = 4096
"""Scenarios at a time: long enough to be read as a stream, short enough that what is summed stays in a near cache."""


_LANES = 32
"""How many running extremes of a row: the compiler keeps them in vectors, which it may not do with a single one."""


@woven
def _extremes(row, width, low, high):
    """The least and the greatest of a row; ``low`` and ``high`` are room to work in."""
    for lane in range(_LANES):
        low[lane] = high[lane] = row[0]
    rounds = width // _LANES
    for turn in range(rounds):
        part = row[turn * _LANES : turn * _LANES + _LANES]
        for lane in range(_LANES):
            one = part[lane]
            low[lane] = one if one < low[lane] else low[lane]
            high[lane] = one if one > high[lane] else high[lane]
    for n in range(rounds * _LANES, width):
        low[0], high[0] = min(low[0], row[n]), max(high[0], row[n])
    least, most = low[0], high[0]
    for lane in range(1, _LANES):
        least, most = min(least, low[lane]), max(most, high[lane])
    return least, most


@compiled
def stress_pools(
    start, stop, begin_at, end_at, pools, look, shared, isolated_law, jumps, factor, index_factor, status_of, bound_of,
    keep, out_worst, out_where, out_broken, out_close, out_headroom, out_edge,
):  # fmt: skip
    """Judge pools ``start`` to ``stop`` in scenarios ``begin_at`` to ``end_at``.

    ``factor``, ``index_factor``: coin x scenario -> what the prices of its contracts, and its own, are multiplied with.
    ``out_worst``, ``out_where``, ``out_close``: one each of these pools; ``out_close`` counts the scenarios in which
    headroom is so near zero that rounding could decide. ``out_broken``: how many of these pools each of these scenarios
    liquidates, those too near left out. ``out_headroom``: pool x scenario; ``out_edge``: pool x block -> how near is
    too near.
    """
    pool_start, position_start, assets, cash = pools.start, pools.position_start, pools.asset, pools.cash
    instrument, size, charged, entry, fixed = pools.instrument, pools.size, pools.charged, pools.entry, pools.fixed
    cap, rate, deduction, first_row, base = look.cap, look.rate, look.deduction, look.first_row, look.base
    x, inverse_of, mark_fee = look.x, look.inverse, look.mark_fee
    price_of, bid_of, ask_of, worth_as = look.price, look.bid, look.ask, look.worth
    liability_ratio, liability_rate = look.liability_ratio, look.liability_rate
    first_tier, tier_cap, ratio, credit = look.first_tier, look.tier_cap, look.ratio, look.credit
    coins = factor.shape[0]
    room, moved, own, other = np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK)
    pnl, required = np.empty(BLOCK), np.empty(BLOCK)
    lowest, highest, seen = np.empty(coins), np.empty(coins), np.empty(coins, np.bool_)
    dearest, looked = np.empty(coins), np.empty(coins, np.bool_)
    still, turned = np.empty(coins, np.bool_), np.empty(coins, np.bool_)
    inverse_factor = np.empty((coins if inverse_of.any() else 0, BLOCK))
    out_worst[:], out_where[:], out_close[:] = np.nan, -1, 0
    for begin in range(begin_at, end_at, BLOCK):
        width = min(BLOCK, end_at - begin)
        end = begin + width
        seen[:], looked[:], turned[:] = False, False, False
        for p in range(start, stop):
            if status_of[p] == _NO_STATUS:
                if keep:
                    out_headroom[p, begin:end] = np.nan
                continue
            pocket = pools.law[p] == 1
            own_law = 1 if pocket else 0
            law = isolated_law if pocket else shared
            multiple = law.multiple
            farthest = dear = 1.0  # the largest moves of what is in the pool
            whole = 0.0  # what no scenario changes, added at the end
            room[:width] = 0.0
            for h in range(pool_start[p], pool_start[p + 1]):
                a = assets[h]
                par = pocket or worth_as[a] == _PAR
                if not looked[a]:
                    looked[a] = True
                    least, most = _extremes(index_factor[a, begin:end], width, pnl, required)
                    still[a], dearest[a] = least == 1.0 and most == 1.0, most
                unmoved = par or still[a]
                if not unmoved:
                    dear = max(dear, dearest[a])
                price = 1.0 if par else price_of[a]
                bid = 1.0 if par else bid_of[a]
                ask = 1.0 if par else ask_of[a]
                charge = ask if law.at_ask else price
                owes = liability_rate[a] != 0 and not pocket
                # what adds up: a straight piece is one product; else PnL and requirement are summed apart
                straight = not law.weighted and law.counted == _ALL and not owes and worth_as[a] != _BY_VALUE
                asked = charge * multiple
                rest = 0.0
                if straight:
                    held = cash[h] if pools.counts[h] else min(cash[h], 0.0)
                    tier = first_tier[a]
                    while not par and held > tier_cap[tier]:
                        tier += 1
                    worth = _PAR if par else worth_as[a]
                    rest = worth_of(worth, held, price, bid, ask, ratio[tier], credit[tier], liability_ratio)
                    rest -= fixed[h] * asked
                    target = room
                    if not unmoved:
                        if position_start[h] == position_start[h + 1]:
                            shifts = index_factor[a, begin:end]
                            for n in range(width):
                                room[n] += rest * shifts[n]
                            continue
                        target = moved
                        moved[:width] = 0.0
                else:
                    target = room
                    pnl[:width] = 0.0
                    required[:width] = fixed[h]
                for i in range(position_start[h], position_start[h + 1]):
                    k = instrument[i]
                    coin, mark, s, e = base[k], x[k], size[i], entry[i]
                    if not seen[coin]:
                        seen[coin] = True
                        lowest[coin], highest[coin] = _extremes(factor[coin, begin:end], width, own, other)
                    moves = factor[coin, begin:end]
                    if inverse_of[k]:
                        if not turned[coin]:
                            turned[coin] = True
                            for n in range(width):
                                inverse_factor[coin, n] = 1.0 / moves[n]
                        moves = inverse_factor[coin, :width]
                    farthest = max(farthest, 1.0 / lowest[coin] if inverse_of[k] else highest[coin])
                    value = linear_notional(charged[i], abs(mark))
                    fee = linear_notional(s, abs(mark)) * mark_fee[own_law, k]
                    least = value / highest[coin] if inverse_of[k] else value * lowest[coin]
                    most = value / lowest[coin] if inverse_of[k] else value * highest[coin]
                    row = first_row[own_law, k]
                    while least > cap[row]:
                        row += 1
                    last = row
                    while most > cap[last]:
                        last += 1
                    if straight and row == last:
                        # both formulas are straight in the price: their value at 0 and what each unit adds
                        rest += linear_pnl(s, e, 0.0) * price
                        rest -= bracket_requirement(0.0, rate[row], deduction[row]) * asked
                        slope = linear_pnl(s, 0.0, mark) * price
                        slope -= (bracket_requirement(value, rate[row], 0.0) + fee) * asked
                        for n in range(width):
                            target[n] += slope * moves[n]
                        continue
                    if row == last:
                        r, d = rate[row], deduction[row]
                        for n in range(width):
                            own[n] = bracket_requirement(value * moves[n], r, d) + fee * moves[n]
                    elif jumps:
                        for n in range(width):
                            at = row
                            while value * moves[n] > cap[at]:
                                at += 1
                            own[n] = bracket_requirement(value * moves[n], rate[at], deduction[at]) + fee * moves[n]
                    else:
                        # a marginal table is the largest of its lines
                        r, d = rate[row], deduction[row]
                        for n in range(width):
                            own[n] = bracket_requirement(value * moves[n], r, d)
                        for at in range(row + 1, last + 1):
                            r, d = rate[at], deduction[at]
                            for n in range(width):
                                line = bracket_requirement(value * moves[n], r, d)
                                own[n] = line if line > own[n] else own[n]
                        if fee != 0:
                            for n in range(width):
                                own[n] += fee * moves[n]
                    if straight:
                        for n in range(width):
                            target[n] += linear_pnl(s, e, mark * moves[n]) * price - own[n] * asked
                    else:
                        for n in range(width):
                            pnl[n] += linear_pnl(s, e, mark * moves[n])
                            required[n] += own[n]
                if straight and unmoved:
                    whole += rest
                    continue
                shifts = index_factor[a, begin:end]
                if straight:
                    for n in range(width):
                        room[n] += (moved[n] + rest) * shifts[n]
                    continue
                for n in range(width):
                    shift = 1.0 if par else shifts[n]
                    gain = counted_pnl(pnl[n], law.counted)
                    owned = cash[h] + gain
                    amount = owned if law.weighted else cash[h]
                    held = amount if pools.counts[h] else min(amount, amount * 0.0)
                    tier = first_tier[a]
                    if not par:
                        key = held * price * shift if worth_as[a] == _BY_VALUE else held
                        while key > tier_cap[tier]:
                            tier += 1
                    worth = _PAR if par else worth_as[a]
                    equals = worth_of(
                        worth, held, price * shift, bid * shift, ask * shift, ratio[tier], credit[tier], liability_ratio
                    )
                    if not law.weighted:
                        equals += gain * price * shift
                    needed = required[n] * charge * shift
                    if owes:
                        needed += share_of(max(-owned, owned * 0.0) * price * shift, liability_rate[a])
                    room[n] += headroom(equals, needed * multiple)
            # a straight piece has the gain apart from what was paid: at most twice the terms that the bound was made of
            edge = 2 * bound_of[p] * farthest * dear
            broken, close = out_broken[begin - begin_at : end - begin_at], 0
            for n in range(width):
                room[n] += whole
                broken[n] += room[n] < -edge
                close += abs(room[n]) <= edge
            if edge > 0:
                out_close[p - start] += close
            least, _ = _extremes(room, width, pnl, required)
            if keep:
                out_headroom[p, begin:end] = room[:width]
                out_edge[p, begin // BLOCK] = edge
            if not least >= out_worst[p - start]:
                out_worst[p - start] = least
                for n in range(width):
                    if room[n] == least:
                        out_where[p - start] = begin + n
                        break
