"""The runner's binding: every row of a book checked and formed, and the lines of each pool found, compiled."""

from __future__ import annotations

import numpy as np

from crossmargin.engine.columns import Reason
from crossmargin.engine.jit import (
    bracket_requirement,
    compiled,
    cross_bankruptcy_value,
    isolated_bankruptcy_value,
    leverage_requirement,
    linear_notional,
    share_of,
    size_rate,
)

PER_LEG, GROSS, NET, LARGER_SIDE = 0, 1, 2, 3
"""Which sizes of an exposure the maintenance rule is applied to."""
BY_VALUE, MARGINAL, STEP, IN_SIZE, HIGHEST, FRACTION = range(6)
"""How: brackets of value at the mark, then the kinds whose rate no price changes."""
NO_FEE, AT_BANKRUPTCY, AT_ENTRY, AT_MARK = range(4)
"""The price at which the requirement holds a fee to close."""


@compiled
def _rate_by_count(kind, count, row, cap, rate, offset, slope):
    """The rate of a rule that looks at contracts or coins: one whatever the price."""
    if kind == IN_SIZE:
        return size_rate(rate[row], slope, count)
    while count > cap[row]:
        row += 1
    if kind == STEP:
        return rate[row]
    return bracket_requirement(count, rate[row], offset[row]) / count


@compiled
def _required(value, row, cap, rate, deduction):
    """The requirement of a table at a value; none for none."""
    while value > cap[row]:
        row += 1
    return bracket_requirement(value, rate[row], deduction[row]) if value > 0 else 0.0


@compiled
def bind_rows(
    start, stop, holding_start, isolated, open_orders, position_start, asset,
    amount, bonus, use, instrument, quantity, entry_price,
    leverage, standing_in, shared_rule, isolated_rule, bad, settle, inverse, contract_size,
    taker_fee, closing_rate, size_slope, first_row, cap, rate,
    deduction, count_first, count_cap, count_rate, count_offset, asset_counts, listed, unified, orders_reason,
    with_bonus, weighted, pockets,
    cash, counts, fixed, size, entry, charged, fee, initial_fee, held, reason,
):  # fmt: skip
    """Check and form every row of some purses; ``standing_in`` flags rows without a position, or is empty."""
    seen_asset = np.full(len(asset_counts), -1, np.int64)
    seen_instrument = np.full(len(contract_size), -1, np.int64)
    for purse in range(start, stop):
        law = 1 if isolated[purse] else 0
        rule = isolated_rule if law else shared_rule
        worst = 0
        first, last = holding_start[purse], holding_start[purse + 1]
        if law and not pockets:
            worst = max(worst, Reason.ISOLATED_NOT_ALLOWED.value)
        if law and (last - first != 1 or position_start[last] - position_start[first] != 1):
            worst = max(worst, Reason.MISPLACED.value)
        if open_orders[purse]:
            worst = max(worst, orders_reason)
        highest = 0.0
        for h in range(first, last):
            a = asset[h]
            cash[h] = np.nan
            counts[h] = use[h]
            for i in range(position_start[h], position_start[h + 1]):
                size[i] = entry[i] = charged[i] = np.nan
            if a < 0:
                worst = max(worst, Reason.NULL.value)
                continue
            counts[h] = use[h] and (asset_counts[a] or law == 1)
            if seen_asset[a] == purse:
                worst = max(worst, Reason.DUPLICATE.value)
            seen_asset[a] = purse
            if not (np.isfinite(amount[h]) and np.isfinite(bonus[h])):
                worst = max(worst, Reason.NOT_FINITE.value)
            elif bonus[h] < 0 or (law and amount[h] < 0):
                worst = max(worst, Reason.NOT_POSITIVE.value)
            own = amount[h] + bonus[h] if with_bonus and not law else amount[h]
            cash[h] = own
            if unified and not law and not listed[a] and counts[h] and (own > 0 or weighted):
                worst = max(worst, Reason.NO_COLLATERAL_RATIO.value)
            i = position_start[h]
            end = position_start[h + 1]
            while i < end:
                k = instrument[i]
                if k < 0:
                    worst = max(worst, Reason.NULL.value)
                    i += 1
                    continue
                # the legs of one instrument: one, or a long and a short that stand next to each other
                legs = 2 if i + 1 < end and instrument[i + 1] == k else 1
                if seen_instrument[k] == h or (legs == 2 and (quantity[i] > 0) == (quantity[i + 1] > 0)):
                    worst = max(worst, Reason.DUPLICATE.value)
                seen_instrument[k] = h
                if bad[law, k]:
                    worst = max(worst, bad[law, k])
                    i += legs
                    continue
                if settle[k] != a:
                    worst = max(worst, Reason.MISPLACED.value)
                longs = shorts = 0.0
                largest, largest_value, total_value = -1.0, 0.0, 0.0
                for leg in range(i, i + legs):
                    q, price, lever = quantity[leg], entry_price[leg], leverage[leg]
                    if len(standing_in) and standing_in[leg]:
                        size[leg] = charged[leg] = 0.0
                        entry[leg] = -1.0 if inverse[k] else 1.0
                        continue
                    if not (np.isfinite(q) and np.isfinite(price)) or np.isinf(lever):
                        worst = max(worst, Reason.NOT_FINITE.value)
                        continue
                    if q == 0 or price <= 0 or lever < 1 or lever > 1000:
                        worst = max(worst, Reason.NOT_POSITIVE.value)
                        continue
                    s = q * contract_size[k]
                    x = -1.0 / price if inverse[k] else price
                    size[leg], entry[leg] = s, x
                    value = linear_notional(s, abs(x))
                    if np.isnan(lever):
                        severe = rule.kind == FRACTION or (rule.needs_bankruptcy and not law)
                        found = Reason.LEVERAGE_NEEDED.value if severe else Reason.LEVERAGE_MISSING.value
                        worst = max(worst, found)
                    # the fee to close: at the bankruptcy value, or at the entry value
                    sign = 1 if (s > 0) == inverse[k] else -1
                    closing = 0.0
                    if law:
                        closing = isolated_bankruptcy_value(value, sign, own, taker_fee[k])
                    elif rule.needs_bankruptcy:
                        closing = cross_bankruptcy_value(value, sign, lever)
                    if rule.close_fee in (AT_BANKRUPTCY, AT_ENTRY):
                        fee[leg] = share_of(closing if rule.close_fee == AT_BANKRUPTCY else value, closing_rate[law, k])
                        held[leg] += fee[leg]
                    if rule.initial_fee in (AT_BANKRUPTCY, AT_ENTRY):
                        charged_on = closing if rule.initial_fee == AT_BANKRUPTCY else value
                        initial_fee[leg] = share_of(charged_on, taker_fee[k])
                    # what the maintenance table is applied to
                    own_size = s
                    if rule.kind == FRACTION:
                        own_size = leverage_requirement(s * rule.fraction, lever)
                    elif rule.kind in (MARGINAL, STEP, IN_SIZE) and rule.scope == PER_LEG:
                        count = abs(s) / contract_size[k] if rule.counted == 1 else abs(s)
                        own_size = s * _rate_by_count(
                            rule.kind, count, count_first[law, k], count_cap, count_rate, count_offset, size_slope[k]
                        )
                    charged[leg] = own_size
                    if own_size > 0:
                        longs += own_size
                    else:
                        shorts -= own_size
                    own_value = linear_notional(own_size, abs(x))
                    total_value += own_value
                    if abs(own_size) > largest:
                        largest, largest_value = abs(own_size), own_value
                if rule.kind == HIGHEST and not (len(standing_in) and standing_in[i]):
                    row = count_first[law, k]
                    highest = max(highest, count_rate[row])
                    while count_cap[row] < np.inf:
                        row += 1
                        highest = max(highest, count_rate[row])
                together = (
                    longs + shorts
                    if rule.scope == GROSS
                    else (abs(longs - shorts) if rule.scope == NET else max(longs, shorts))
                )
                if rule.scope != PER_LEG:
                    if rule.kind in (MARGINAL, STEP, IN_SIZE):
                        count = together / contract_size[k] if rule.counted == 1 else together
                        flat = (
                            _rate_by_count(
                                rule.kind,
                                count,
                                count_first[law, k],
                                count_cap,
                                count_rate,
                                count_offset,
                                size_slope[k],
                            )
                            if together > 0
                            else 0.0
                        )
                    else:
                        flat = 1.0
                    for leg in range(i, i + legs):
                        charged[leg] = 0.0
                    charged[i] = together * flat
                else:
                    flat = 1.0
                if rule.at_entry:
                    if rule.scope == PER_LEG:
                        for leg in range(i, i + legs):
                            held[leg] += _required(
                                linear_notional(charged[leg], abs(entry[leg])), first_row[law, k], cap, rate, deduction
                            )
                    elif rule.scope == GROSS or legs == 1:
                        held[i] += _required(total_value * flat, first_row[law, k], cap, rate, deduction)
                    elif together > 0:
                        held[i] += _required(
                            largest_value * flat * together / largest, first_row[law, k], cap, rate, deduction
                        )
                    for leg in range(i, i + legs):
                        charged[leg] = 0.0
                for leg in range(i, i + legs):
                    fixed[h] += held[leg]
                i += legs
        if rule.kind == HIGHEST:
            for i in range(position_start[first], position_start[last]):
                charged[i] = share_of(charged[i], highest)
        reason[purse] = worst


@compiled
def count_lines(
    start, stop, pool_start, law, position_start, asset, instrument, base, coins, priced, reference, per_pool
):
    """Count the coins that move each pool from ``start`` to ``stop``."""
    seen = np.full(coins, -1, np.int64)
    for p in range(start, stop):
        found = 0
        for h in range(pool_start[p], pool_start[p + 1]):
            for i in range(position_start[h], position_start[h + 1]):
                coin = base[max(instrument[i], 0)]
                if seen[coin] != p:
                    seen[coin] = p
                    found += 1
        if priced and not law[p]:
            for h in range(pool_start[p], pool_start[p + 1]):
                coin = max(asset[h], 0)
                if coin != reference and seen[coin] != p:
                    seen[coin] = p
                    found += 1
        per_pool[p + 1] = found


@compiled
def fill_lines(
    start, stop, pool_start, law, position_start, asset, instrument, base, coins, priced, reference,
    line_start, line_coin, line_holding, line_position_start, line_position,
):  # fmt: skip
    """Write the lines of pools ``start`` to ``stop``: coin, own holding, and positions in the order of rows."""
    seen = np.full(coins, -1, np.int64)
    line_of = np.zeros(coins, np.int64)
    for p in range(start, stop):
        line = line_start[p]
        first, last = pool_start[p], pool_start[p + 1]
        for h in range(first, last):
            for i in range(position_start[h], position_start[h + 1]):
                coin = base[max(instrument[i], 0)]
                if seen[coin] != p:
                    seen[coin] = p
                    line_of[coin] = line
                    line_coin[line] = coin
                    line_holding[line] = -1
                    line_position_start[line] = 0
                    line += 1
                line_position_start[line_of[coin]] += 1
        if priced and not law[p]:
            for h in range(first, last):
                coin = max(asset[h], 0)
                if seen[coin] == p:
                    line_holding[line_of[coin]] = h
                elif coin != reference:
                    seen[coin] = p
                    line_of[coin] = line
                    line_coin[line] = coin
                    line_holding[line] = h
                    line_position_start[line] = 0
                    line += 1
        # counts become starts, then each position goes to its line in the order of rows
        at = position_start[first]
        for own in range(line_start[p], line):
            count = line_position_start[own]
            line_position_start[own] = at
            at += count
        for h in range(first, last):
            for i in range(position_start[h], position_start[h + 1]):
                own = line_of[base[max(instrument[i], 0)]]
                line_position[line_position_start[own]] = i
                line_position_start[own] += 1
        for own in range(line - 1, line_start[p], -1):
            line_position_start[own] = line_position_start[own - 1]
        if line > line_start[p]:
            line_position_start[line_start[p]] = position_start[first]
