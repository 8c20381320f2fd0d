"""The runner's scenarios: every pool of a book under many moves of the market, compiled.

Per position the scenarios are one contiguous row, so the work is a few vector loops. Of a maintenance table only the
brackets that the scenarios' prices can reach are looked at: mostly one, a straight line.
"""

from __future__ import annotations

import numpy as np

from crossmargin.engine.columns import Status
from crossmargin.engine.jit import bracket_requirement, compiled, headroom, linear_notional, linear_pnl, share_of
from crossmargin.engine.kernel import counted_pnl, worth_of
from crossmargin.engine.tables import Counted, Worth

_PAR, _BY_VALUE = int(Worth.PAR), int(Worth.TIERED_BY_VALUE)
_ALL = int(Counted.ALL)
_NO_STATUS = int(Status.UNKNOWN)
BLOCK = 512
"""Scenarios at a time: their rows stay in the nearest cache while all positions of a pool go over them."""


@compiled
def stress_pools(
    start, stop, pools, look, shared, isolated_law, jumps, factor, inverse_factor, index_factor, lowest, highest,
    status_of, bound_of, spread, keep,
    out_worst, out_where, out_broken, out_close, out_headroom,
):  # fmt: skip
    """Judge pools ``start`` to ``stop`` in every scenario.

    ``factor``, ``inverse_factor``, ``index_factor``: coin x scenario -> what its contracts', inverse contracts' and own
    price is multiplied with. ``lowest`` and ``highest``: the range of each coin's factor. ``out_broken``: scenario ->
    how many pools are liquidated. ``out_close`` counts what lies within ``bound_of`` x ``spread`` of zero, per pool.
    """
    pool_start, position_start, assets, cash = pools.start, pools.position_start, pools.asset, pools.cash
    instrument, size, charged, entry, fixed = pools.instrument, pools.size, pools.charged, pools.entry, pools.fixed
    cap, rate, deduction, first_row, base = look.cap, look.rate, look.deduction, look.first_row, look.base
    x, inverse_of, mark_fee = look.x, look.inverse, look.mark_fee
    price_of, bid_of, ask_of, worth_as = look.price, look.bid, look.ask, look.worth
    liability_ratio, liability_rate = look.liability_ratio, look.liability_rate
    first_tier, tier_cap, ratio, credit = look.first_tier, look.tier_cap, look.ratio, look.credit
    count = factor.shape[1]
    room, asked = np.empty(BLOCK), np.empty(BLOCK)
    pnl, required, own = np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK)
    for p in range(start, stop):
        out_worst[p], out_where[p], out_close[p] = np.nan, -1, 0
        if status_of[p] == _NO_STATUS:
            if keep:
                out_headroom[p, :] = np.nan
            continue
        pocket = pools.law[p] == 1
        own_law = 1 if pocket else 0
        law = isolated_law if pocket else shared
        edge = bound_of[p] * spread
        for begin in range(0, count, BLOCK):
            width = min(BLOCK, count - begin)
            room[:width] = 0.0
            asked[:width] = 0.0
            for h in range(pool_start[p], pool_start[p + 1]):
                a = assets[h]
                par = pocket or worth_as[a] == _PAR
                pnl[:width] = 0.0
                required[:width] = fixed[h]
                for i in range(position_start[h], position_start[h + 1]):
                    k = instrument[i]
                    coin, mark, s, e = base[k], x[k], size[i], entry[i]
                    moves = inverse_factor[coin] if inverse_of[k] else factor[coin]
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
                    for n in range(width):
                        pnl[n] += linear_pnl(s, e, mark * moves[begin + n])
                    if fee != 0:
                        for n in range(width):
                            required[n] += fee * moves[begin + n]
                    if row == last:
                        r, d = rate[row], deduction[row]
                        for n in range(width):
                            required[n] += bracket_requirement(value * moves[begin + n], r, d)
                    elif jumps:
                        for n in range(width):
                            at = row
                            while value * moves[begin + n] > cap[at]:
                                at += 1
                            required[n] += bracket_requirement(value * moves[begin + n], rate[at], deduction[at])
                    else:
                        # a marginal table is the largest of its lines
                        r, d = rate[row], deduction[row]
                        for n in range(width):
                            own[n] = bracket_requirement(value * moves[begin + n], r, d)
                        for at in range(row + 1, last + 1):
                            r, d = rate[at], deduction[at]
                            for n in range(width):
                                own[n] = max(own[n], bracket_requirement(value * moves[begin + n], r, d))
                        for n in range(width):
                            required[n] += own[n]
                price = 1.0 if par else price_of[a]
                bid = 1.0 if par else bid_of[a]
                ask = 1.0 if par else ask_of[a]
                charge = ask if law.at_ask else price
                owes = liability_rate[a] != 0 and not pocket
                shifts = index_factor[a]
                if not law.weighted and law.counted == _ALL and not owes and worth_as[a] != _BY_VALUE:
                    held = cash[h] if pools.counts[h] else min(cash[h], 0.0)
                    tier = first_tier[a]
                    while not par and held > tier_cap[tier]:
                        tier += 1
                    worth = _PAR if par else worth_as[a]
                    flat = worth_of(worth, held, price, bid, ask, ratio[tier], credit[tier], liability_ratio)
                    if par:
                        for n in range(width):
                            room[n] += flat + pnl[n]
                            asked[n] += required[n]
                    else:
                        for n in range(width):
                            room[n] += (flat + pnl[n] * price) * shifts[begin + n]
                            asked[n] += required[n] * charge * shifts[begin + n]
                    continue
                for n in range(width):
                    shift = 1.0 if par else shifts[begin + n]
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
                    room[n] += equals
                    asked[n] += required[n] * charge * shift
                    if owes:
                        asked[n] += share_of(max(-owned, owned * 0.0) * price * shift, liability_rate[a])
            for n in range(width):
                required_now = asked[n] * law.multiple
                left = headroom(room[n], required_now)
                if keep:
                    out_headroom[p, begin + n] = left
                if not left >= out_worst[p]:
                    out_worst[p], out_where[p] = left, begin + n
                if left < 0 or (left == 0 and required_now > 0 and not law.strict):
                    out_broken[begin + n] += 1
                if abs(left) <= edge and edge > 0:
                    out_close[p] += 1
