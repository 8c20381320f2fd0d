"""Within which prices can a pool cross no level? One interval a price, all of them to be relied on together, compiled.

**The claim.** As long as every price of a pool lies strictly inside its interval, the pool's level is what it was when
they were certified, wherever inside the other prices are.

**Why.** Take a level with requirement R and multiple m; ``room = equity - m R``. Prices go from the point of
certification to another point of the box in two steps.

1. *Marks.* A mark changes the PnL and the requirement of the contracts on it, in units of the asset they settle in.
   One unit of PnL is worth between ``unit_low`` and ``unit_high`` in the pool's currency, whatever the tier, the sign
   of the balance and the asset's own price within its interval; one unit of requirement costs at most ``charge_high``.
   A marginal table's slope is at most the highest rate up to the value at the interval's end (brackets that jump end
   the interval before the jump). So the room that a relative move ``w`` up or down can take is at most ``slope x w``,
   with one slope a side, a sum over the marks that holds for any order and combination of their moves.
2. *Prices of assets.* With amounts as certified, each holding is worth ``amount x price`` by a rule that is linear or,
   tiered by value, monotone with a known steepest slope. Again at most ``slope x w``.

The whole loss is the sum of both, hence at most the sum over all prices of ``slope x w``: rooms are split so that this
sum stays below the room, less what rounding can have done. For a level that is reached the same holds of gains. None of
this asks for a concave profile.

**How room is split.** A price with volatility s whose interval is w wide is left after about (w / s)^2 ticks; least
often in total, for ``sum of slope x w = room``, where ``w = c (s^2 / slope)^(1/3)``. A side on which a move can do no
harm, however far, has no end.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from crossmargin.engine.buckets import place_end
from crossmargin.engine.columns import Bytes, Codes, Floats, Offsets, frozen
from crossmargin.engine.jit import compiled, leverage_requirement, linear_notional, share_of
from crossmargin.engine.kernel import counted_pnl
from crossmargin.engine.tables import Counted, Law, Opening, Tables, Worth
from crossmargin.errors import UnsupportedRule

UNKNOWN = -2
"""The level of a pool without figures; -1 = no level reached."""
WIDEST = 0.25
"""No interval of a mark is wider than this; farther on brackets are not looked at."""
WIDEST_INDEX, WIDEST_CASH = 0.05, 0.01
"""The same for the price of a coin, and of a currency or stablecoin, that contracts settle in: it scales what their
marks can do."""
_PAR, _BY_VALUE, _BID_ASK = int(Worth.PAR), int(Worth.TIERED_BY_VALUE), int(Worth.BID_ASK)
_ALL, _OR_BRACKET = int(Counted.ALL), int(Opening.LEVERAGE_OR_BRACKET)
_SEVERE = 10
_SAFE = 1 - 1e-9
"""Against the rounding of slopes and ends themselves."""


class Rulebook(NamedTuple):
    """What a compiled profile says, as the kernels of the tick index read it."""

    inverse: NDArray[np.bool_]
    first_row: Codes
    top_rate: Floats
    """Law x instrument -> the highest rate of the table."""
    cap: Floats
    rate: Floats
    deduction: Floats
    initial_rate: Floats
    initial_deduction: Floats
    worth: Bytes
    first_tier: Codes
    tier_cap: Floats
    ratio: Floats
    credit: Floats
    lowest_ratio: Floats
    highest_ratio: Floats
    """Asset -> what a unit of it can count for, owned or owed."""
    liability_ratio: float
    liability_rate: Floats
    liability_initial_rate: Floats
    shared: Law
    isolated: Law
    levels: Offsets
    """Law -> how many levels its ladder has; then law x level -> its multiple, and whether initial margin is asked."""
    level_multiple: Floats
    level_on_initial: NDArray[np.bool_]
    mark_fee: Floats
    initial_mark_fee: Floats
    judged_fees: tuple[Floats, Floats]
    """The same two for the judge, who asks first whether there is any: one zero where there is none."""
    jumps: bool
    asset_prices: Bytes
    """Asset -> how many prices move what it is worth: none, its index, or index, bid and ask."""
    widest: Floats
    """Asset -> how wide an interval of its price may be where contracts settle in it; 0 where none moves it."""


class Figures(NamedTuple):
    """The judge's figures: per pool, and ``kept`` per position, ``pnl``, ``required`` and ``rest`` per holding."""

    equity: Floats
    maintenance: Floats
    headroom: Floats
    bound: Floats
    status: Bytes
    initial: Floats
    level: NDArray[np.int8]
    kept: Floats
    pnl: Floats
    required: Floats
    rest: Floats


class Hooks(NamedTuple):
    """Lines (pool x price) and where their ends hang. Per pool: ``start`` into lines; two ``nodes`` a line; ``heads``
    of the lists."""

    start: Offsets
    nodes: NDArray[np.void]
    heads: NDArray[np.int32]


def rulebook(
    tables: Tables, mark_fee: Floats, initial_mark_fee: Floats, asset_prices: Bytes, laws: tuple[Law, Law]
) -> Rulebook:
    """Compiled tables in the form of the kernels; ``laws``: theirs, or with the levels that are watched only."""
    if any(law.opening > Opening.LEVERAGE_OR_BRACKET and law.level_on_initial.any() for law in laws):
        why = "a warning level on an initial margin that is not by leverage or bracket is not watched tick by tick"
        raise UnsupportedRule(tables.rules.profile, why)
    rows, tiers = tables.brackets, tables.tiers
    ends = np.append(tables.first_tier[1:], len(tiers.ratio))
    ratios = [tiers.ratio[first:last] for first, last in zip(tables.first_tier, ends, strict=True)]
    first, last = tables.first_row, tables.last_row
    top = [rows.rate[a : b + 1].max() for a, b in zip(first.ravel(), last.ravel(), strict=True)]
    width = max(len(law.level_multiple) for law in laws)
    return Rulebook(
        inverse=tables.inverse, first_row=first, top_rate=frozen(np.reshape(top, first.shape)), cap=rows.cap,
        rate=rows.rate, deduction=rows.deduction, initial_rate=rows.initial_rate,
        initial_deduction=rows.initial_deduction, worth=tables.worth,
        first_tier=tables.first_tier, tier_cap=tiers.cap, ratio=tiers.ratio, credit=tiers.credit,
        lowest_ratio=frozen([min(own.min(), tables.liability_ratio) for own in ratios]),
        highest_ratio=frozen([max(own.max(), tables.liability_ratio) for own in ratios]),
        liability_ratio=tables.liability_ratio, liability_rate=tables.liability_rate,
        liability_initial_rate=tables.liability_initial_rate, shared=laws[0], isolated=laws[1],
        levels=frozen([len(law.level_multiple) for law in laws], np.int64),
        level_multiple=frozen([np.resize(law.level_multiple, width) for law in laws]),
        level_on_initial=frozen([np.resize(law.level_on_initial, width) for law in laws], np.bool_),
        mark_fee=mark_fee, initial_mark_fee=initial_mark_fee,
        judged_fees=(_judged(mark_fee), _judged(initial_mark_fee)),
        jumps=tables.jumps, asset_prices=asset_prices,
        widest=frozen(np.where(asset_prices == 0, 0.0, np.where(tables.cash, WIDEST_CASH, WIDEST_INDEX))),
    )  # fmt: skip


def _judged(fee: Floats) -> Floats:
    return fee if fee.any() else frozen(np.zeros((1, 1)))


@compiled
def count_prices(start, stop, pools, asset_prices, per_pool):
    """Count the lines of pools ``start`` to ``stop``; a pool whose rows cannot be judged has none."""
    for p in range(start, stop):
        found = 0
        if pools.reason[p] < _SEVERE:
            for h in range(pools.start[p], pools.start[p + 1]):
                before = -1
                for i in range(pools.position_start[h], pools.position_start[h + 1]):
                    found += pools.instrument[i] != before
                    before = pools.instrument[i]
                if pools.law[p] == 0:
                    found += asset_prices[pools.asset[h]]
        per_pool[p] = found


@compiled
def fill_prices(start, stop, pools, asset_prices, instruments, assets, line_start, nodes):
    """Write the lines of pools ``start`` to ``stop`` in the order of rows: marks of a holding, then its own prices."""
    for p in range(start, stop):
        if pools.reason[p] >= _SEVERE:
            continue
        node = 2 * line_start[p]
        for h in range(pools.start[p], pools.start[p + 1]):
            before = -1
            for i in range(pools.position_start[h], pools.position_start[h + 1]):
                if pools.instrument[i] != before:
                    before = pools.instrument[i]
                    for side in range(2):
                        nodes[node + side].pool, nodes[node + side].driver = p, before
                    node += 2
            if pools.law[p] == 0:
                for which in range(asset_prices[pools.asset[h]]):
                    for side in range(2):
                        nodes[node + side].pool = p
                        nodes[node + side].driver = instruments + which * assets + pools.asset[h]
                    node += 2


@compiled
def certify(slots, start, stop, hanging, known, pools, rates, rule, figures, now, volatility, hooks, scratch):
    """Certify pools ``slots[start:stop]`` anew from their figures: new ends for all their lines.

    ``hanging``: whether to keep the lists in step; else ends are only written (a first build hangs them after).
    ``now``: every price; ``volatility``: of every price, any one unit; ``scratch``: 6 columns, a row a line.
    """
    pool_start, position_start, assets, cash = pools.start, pools.position_start, pools.asset, pools.cash
    instrument, size, charged, leverage = pools.instrument, pools.size, pools.charged, pools.leverage
    first_row, cap, rate, initial_rate = rule.first_row, rule.cap, rule.rate, rule.initial_rate
    x_of, nodes, heads = rates.x, hooks.nodes, hooks.heads
    for n in range(start, stop):
        p = slots[n]
        if pools.reason[p] >= _SEVERE:
            continue
        begin, lines = hooks.start[p], hooks.start[p + 1] - hooks.start[p]
        pocket = pools.law[p] == 1
        own_law = 1 if pocket else 0
        # numbers are picked pool by pool; a law that holds arrays would have its references counted each time
        counted = rule.isolated.counted if pocket else rule.shared.counted
        weighted = rule.isolated.weighted if pocket else rule.shared.weighted
        at_ask = rule.shared.at_ask and not pocket
        at_entry = rule.isolated.initial_at_entry if pocket else rule.shared.initial_at_entry
        opening_kind = rule.isolated.opening if pocket else rule.shared.opening
        liquidation = rule.isolated.multiple if pocket else rule.shared.multiple
        level, equity = known[p], figures.equity[p]
        unheard = level == UNKNOWN
        # the room to the next levels, and back over the one that is reached
        ahead = back_to = np.inf
        kept_lo = kept_hi = opened_lo = opened_hi = 0.0
        reached = level >= 0
        if not unheard:
            for place in range(max(level, 0), rule.levels[own_law]):
                multiple, on_initial = rule.level_multiple[own_law, place], rule.level_on_initial[own_law, place]
                base = figures.initial[p] if on_initial else figures.maintenance[p]
                if np.isnan(base):
                    continue
                left = equity - base * multiple
                slack = 4 * (1 + multiple) * figures.bound[p]
                if place == level:
                    back_to = -left - slack
                    if on_initial:
                        opened_hi = multiple
                    else:
                        kept_hi = multiple
                else:
                    ahead = min(ahead, left - slack)
                    if on_initial:
                        opened_lo = max(opened_lo, multiple)
                    else:
                        kept_lo = max(kept_lo, multiple)
        most = max(kept_lo, kept_hi, opened_lo, opened_hi)
        with_initial = opened_lo > 0 or opened_hi > 0
        j = 0
        for h in range(pool_start[p], pool_start[p + 1]):
            if unheard:
                break
            a = assets[h]
            first, last = position_start[h], position_start[h + 1]
            moving = 0 if pocket else rule.asset_prices[a]
            par = pocket or rule.worth[a] == _PAR
            price = 1.0 if par else rates.price[a]
            bid = 1.0 if par else rates.bid[a]
            ask = 1.0 if par else rates.ask[a]
            widest = 0.0 if pocket else rule.widest[a]
            high, low = 1 + widest, 1 - widest
            unit_high, unit_low = price * high, price * low
            if weighted and not par:
                if rule.worth[a] == _BID_ASK:
                    unit_high, unit_low = ask * high, bid * low
                else:
                    unit_high *= rule.highest_ratio[a]
                    unit_low *= rule.lowest_ratio[a]
            if counted != _ALL or (weighted and not pools.counts[h]):
                unit_low = 0.0
            if not pocket:
                owing = max(rule.liability_rate[a], rule.liability_initial_rate[a])
                unit_high += share_of(price * high, owing) * most
            charge_high = (ask if at_ask else price) * high
            i = first
            while i < last:
                k = instrument[i]
                value_of_x = abs(x_of[k])
                net = here = soon = top = opened = 0.0
                limit_up = limit_down = WIDEST
                stop_up = stop_down = False
                while i < last and instrument[i] == k:
                    net += size[i] * x_of[k]
                    own = linear_notional(size[i], value_of_x)
                    value = linear_notional(charged[i], value_of_x)
                    row = first_row[own_law, k]
                    steepest = rate[row]
                    while value > cap[row]:
                        row += 1
                        steepest = max(steepest, rate[row])
                    fee = share_of(own, rule.mark_fee[own_law, k])
                    here += share_of(value, steepest) + fee
                    if rule.jumps and value > 0:
                        if cap[row] < np.inf:
                            limit_up, stop_up = min(limit_up, cap[row] / value * _SAFE - 1), True
                        if row > first_row[own_law, k]:
                            limit_down, stop_down = min(limit_down, 1 - cap[row - 1] / value / _SAFE), True
                    else:
                        while value * (1 + WIDEST) > cap[row]:
                            row += 1
                            steepest = max(steepest, rate[row])
                    soon += share_of(value, steepest) + fee
                    top += share_of(value, rule.top_rate[own_law, k]) + fee
                    if with_initial:
                        opened += share_of(own, rule.initial_mark_fee[own_law, k])
                        if not at_entry:
                            margin = leverage_requirement(own, leverage[i])
                            if opening_kind == _OR_BRACKET:
                                row = first_row[own_law, k]
                                while own > cap[row]:
                                    row += 1
                                if not np.isnan(initial_rate[row]):
                                    margin = max(margin, share_of(own, initial_rate[row]))
                                if cap[row] < np.inf:
                                    limit_up, stop_up = min(limit_up, cap[row] / own * _SAFE - 1), True
                                if row > first_row[own_law, k]:
                                    limit_down, stop_down = min(limit_down, 1 - cap[row - 1] / own / _SAFE), True
                            opened += margin
                    i += 1
                # what a rise and a fall of |x| can take, and give back over a level that is reached
                gives, costs = (net * unit_low, net * unit_high) if net > 0 else (net * unit_high, 0.0)
                owes_more = max(kept_lo * soon, opened_lo * opened) * charge_high
                owes_less = max(kept_hi * here, opened_hi * opened) * charge_high
                owes_most = max(kept_lo * top, opened_lo * opened) * charge_high
                if net > 0 and not stop_up and not reached and owes_most <= gives:
                    limit_up = np.inf
                if not stop_down and (
                    (net <= 0 and not reached) or (net > 0 and owes_less <= gives and ahead == np.inf)
                ):
                    limit_down = np.inf
                scratch[j, 0], scratch[j, 1] = costs, max(owes_more - gives, 0.0)
                scratch[j, 2], scratch[j, 3] = (max(owes_less - gives, 0.0), costs) if reached else (0.0, 0.0)
                scratch[j, 4], scratch[j, 5] = limit_down, limit_up
                j += 1
            if moving == 0:
                continue
            # with amounts as they are, what the asset's own prices can do
            pnl = counted_pnl(figures.pnl[h], counted)
            owned = cash[h] + pnl
            amount = owned if weighted else cash[h]
            valued = amount if pools.counts[h] else min(amount, amount * 0.0)
            charge = ask if at_ask else price
            asked = figures.required[h] * charge
            asked += share_of(max(-owned, owned * 0.0) * price, rule.liability_rate[a])
            busy = last > first
            opening = figures.initial[p] if with_initial and (busy or owned < 0) else 0.0
            needed_lo = max(kept_lo * asked, opened_lo * opening)
            needed_hi = max(kept_hi * asked, opened_hi * opening)
            for which in range(moving):
                # the least and the most that the equity held in it gains with a rise of 1
                least = most_gained = 0.0
                if moving == 1 and rule.worth[a] != _BY_VALUE:
                    least = most_gained = figures.rest[h] + asked * liquidation
                elif moving == 1:
                    if valued > 0:
                        most_gained = valued * price * rule.highest_ratio[a]
                    else:
                        least = valued * price * rule.liability_ratio
                elif which == 1:
                    most_gained = max(valued, 0.0) * bid
                elif which == 2:
                    least = min(valued, 0.0) * ask
                if not weighted and which == 0 and (moving > 1 or rule.worth[a] == _BY_VALUE):
                    least += min(pnl * price, 0.0)
                    most_gained += max(pnl * price, 0.0)
                if which == 1:
                    charged_lo = charged_hi = 0.0
                else:
                    charged_lo, charged_hi = needed_lo, needed_hi
                scratch[j, 0], scratch[j, 1] = max(most_gained, 0.0), max(charged_lo - least, 0.0)
                scratch[j, 2] = max(charged_hi - least, 0.0) if reached else 0.0
                scratch[j, 3] = max(most_gained, 0.0) if reached else 0.0
                for side in range(2):
                    harmless = scratch[j, side] == 0 and scratch[j, 2 + side] == 0
                    scratch[j, 4 + side] = widest if busy else (np.inf if harmless else WIDEST)
                j += 1
        # a wider interval where the price moves more and matters less
        lost = won = 0.0
        for j in range(lines if not unheard else 0):
            spread = volatility[nodes[2 * (begin + j)].driver] ** 2
            slope = max(scratch[j, 0], scratch[j, 1])
            if slope > 0:
                lost += slope / np.cbrt(slope / spread)
            slope = max(scratch[j, 2], scratch[j, 3])
            if slope > 0:
                won += slope / np.cbrt(slope / spread)
        forward = max(ahead, 0.0) / lost * _SAFE if lost > 0 else np.inf
        backward = max(back_to, 0.0) / won * _SAFE if won > 0 else np.inf
        waits = False
        for j in range(lines if unheard else 0):
            waits = waits or np.isnan(now[nodes[2 * (begin + j)].driver])
        for j in range(lines):
            driver = nodes[2 * (begin + j)].driver
            price = now[driver]
            if unheard:
                below = 0.0 if waits else price
                above = price if np.isnan(price) or not waits else np.inf
            else:
                spread = volatility[driver] ** 2
                for side in range(2):
                    width = scratch[j, 4 + side]
                    if scratch[j, side] > 0:
                        width = min(width, forward / np.cbrt(scratch[j, side] / spread))
                    if scratch[j, 2 + side] > 0:
                        width = min(width, backward / np.cbrt(scratch[j, 2 + side] / spread))
                    scratch[j, side] = max(width, 0.0)
                down, up = scratch[j, 0], scratch[j, 1]
                if driver < len(x_of) and rule.inverse[driver]:
                    below = price / (1 + up)
                    above = np.inf if down == np.inf else price / (1 - down)
                else:
                    below = 0.0 if down == np.inf else price * (1 - down)
                    above = price * (1 + up)
            node = 2 * (begin + j)
            if hanging:
                place_end(node, driver, below, nodes, heads)
                place_end(node + 1, driver, above, nodes, heads)
            else:
                nodes[node].end, nodes[node + 1].end = below, above
