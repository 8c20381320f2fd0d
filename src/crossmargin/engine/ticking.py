"""The tick index at work: prices in, pools collected, judged and certified anew, compiled."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from crossmargin.engine.buckets import hang, sweep
from crossmargin.engine.columns import Codes, Floats
from crossmargin.engine.intervals import UNKNOWN, certify
from crossmargin.engine.jit import compiled, spliced, woven
from crossmargin.engine.kernel import judge

DONE, SETTLE, SCAN, FULL = range(4)
"""Why :func:`advance` comes back: every move is made; pools stand at a line and the exact judge must decide; too many
wait to be judged one by one; there is no room left to note changes in."""
IDLE, PENDING, LOOSE = range(3)
"""How a pool stands: certified, collected by this tick, or without intervals and judged on every tick."""
MOVES, DUPLICATES, LATE, REFUSED, STRANGE, JUDGED, WAITING, CHANGED, AT_LINE = range(9)
"""Places of the counters: prices taken, repeated, overtaken, refused, of symbols that nobody holds; pools judged; then
how many pools wait, changes are noted and pools stand at a line right now."""


class Moves(NamedTuple):
    """Prices to take in this order: which (``driver``, -1 = unknown), its ``price`` and as the kernel wants it
    (``x``), ``sequence`` (-1 = none), and whether pools are judged after it (``last`` of what moves together)."""

    driver: Codes
    price: Floats
    x: Floats
    sequence: NDArray[np.int64]
    last: NDArray[np.bool_]


class Now(NamedTuple):
    """Every price as it is: as fed, as the kernel wants it (the memory that its read-only rates look at), and the last
    sequence number of each; ``swept``: up to where the ends that it passed have been collected; ``volatility`` splits
    the room."""

    price: Floats
    x: Floats
    swept: Floats
    sequence: NDArray[np.int64]
    volatility: Floats


class Standing(NamedTuple):
    """What is known of pools: ``level`` and ``mode``; ``pending``: who waits; changes and pools at a line as noted."""

    level: NDArray[np.int8]
    mode: NDArray[np.uint8]
    pending: Codes
    change_move: NDArray[np.int64]
    change_pool: Codes
    change_old: NDArray[np.int8]
    change_new: NDArray[np.int8]
    line_pool: Codes
    line_old: NDArray[np.int8]
    counters: NDArray[np.int64]
    scratch: Floats


_judge = spliced(judge)
_certify = spliced(certify)
"""The same text as the kernels of whole books, taken in: handing over all these arrays costs more than one pool."""


@woven
def _judge_some(slots, start, stop, pools, rates, rule, figures):
    _judge(
        slots, start, stop, True, pools, rates.x, rates.price, rates.bid, rates.ask, rule.first_row, rule.cap,
        rule.rate, rule.deduction, rule.initial_rate, rule.initial_deduction, rule.worth, rule.first_tier,
        rule.tier_cap, rule.ratio, rule.credit, rule.liability_ratio, rule.liability_rate,
        rule.liability_initial_rate, rule.shared, rule.isolated, True, True,
        rule.judged_fees[0], rule.judged_fees[1], rule.jumps, pools.ordered, pools.ordered_gross,
        figures.equity, figures.maintenance, figures.headroom, figures.bound, figures.status, figures.initial,
        figures.level, figures.kept, figures.pnl, figures.required, figures.rest,
    )  # fmt: skip


@woven
def _levels_of(slots, start, stop, laws, rule, figures, levels, near):
    """The level of each of some pools by its figures, and whether it is within rounding of one that could change it."""
    for n in range(start, stop):
        p = slots[n]
        levels[n], near[n] = UNKNOWN, False
        if not np.isfinite(figures.headroom[p]):
            continue
        law = 1 if laws[p] == 1 else 0
        level = figures.level[p]
        levels[n] = level
        if figures.bound[p] > 0:
            for place in range(max(level, 0), rule.levels[law]):
                multiple = rule.level_multiple[law, place]
                base = figures.initial[p] if rule.level_on_initial[law, place] else figures.maintenance[p]
                if abs(figures.equity[p] - base * multiple) <= figures.bound[p] * (1 + multiple):
                    near[n] = True


@compiled
def levels_of(slots, start, stop, laws, rule, figures, levels, near):
    """As :func:`_levels_of`."""
    _levels_of(slots, start, stop, laws, rule, figures, levels, near)


@compiled
def hang_all(hooks):
    """Hang every node that has an end."""
    for node in range(len(hooks.nodes)):
        end = hooks.nodes[node].end
        if not (end == 0.0 or np.isinf(end)):
            hang(node, hooks.nodes[node].driver, end, hooks.nodes, hooks.heads)


@compiled
def advance(at, until, limit, moves, now, pools, rates, rule, figures, hooks, standing, loose):
    """Take prices from ``at`` to ``until``; (place of the next, why it stopped).

    ``limit``: more pools than that at once are left to a scan, as is everything while some are ``loose``.
    """
    counters, level, mode = standing.counters, standing.level, standing.mode
    pending = standing.pending
    for m in range(at, until):
        driver, price, sequence = moves.driver[m], moves.price[m], moves.sequence[m]
        if driver < 0:
            counters[STRANGE] += 1
        elif not (price > 0 and price < np.inf):
            counters[REFUSED] += 1
        elif sequence >= 0 and sequence == now.sequence[driver]:
            counters[DUPLICATES] += 1
        elif sequence >= 0 and sequence < now.sequence[driver]:
            counters[LATE] += 1
        else:
            counters[MOVES] += 1
            if sequence >= 0:
                now.sequence[driver] = sequence
            now.price[driver], now.x[driver] = price, moves.x[m]
            if price != now.swept[driver] and not loose and counters[WAITING] <= limit:
                counters[WAITING], now.swept[driver] = sweep(
                    driver, now.swept[driver], price, limit, hooks.nodes, hooks.heads, mode, pending,
                    counters[WAITING],
                )  # fmt: skip
        if not moves.last[m]:
            continue
        waiting = counters[WAITING]
        if loose or waiting > limit:
            return m + 1, SCAN
        if waiting == 0:
            continue
        _judge_some(pending, 0, waiting, pools, rates, rule, figures)
        counters[JUDGED] += waiting
        new, near = np.empty(waiting, np.int8), np.empty(waiting, np.bool_)
        _levels_of(pending, 0, waiting, pools.law, rule, figures, new, near)
        for n in range(waiting):
            p = pending[n]
            mode[p] = 0
            if near[n]:
                place = counters[AT_LINE]
                standing.line_pool[place], standing.line_old[place] = p, level[p]
                counters[AT_LINE] += 1
            elif new[n] != level[p]:
                place = counters[CHANGED]
                standing.change_move[place], standing.change_pool[place] = m, p
                standing.change_old[place], standing.change_new[place] = level[p], new[n]
                counters[CHANGED] += 1
            level[p] = new[n]
        _certify(
            pending,
            0,
            waiting,
            True,
            level,
            pools,
            rates,
            rule,
            figures,
            now.price,
            now.volatility,
            hooks,
            standing.scratch,
        )
        counters[WAITING] = 0
        if counters[AT_LINE]:
            return m + 1, SETTLE
        if counters[CHANGED] + len(pending) > len(standing.change_move):
            return m + 1, FULL
    return until, DONE


@compiled
def catch_up(drivers, most, now, hooks, standing):
    """Collect the ends that some prices have passed and nobody has looked at, until more than ``most`` pools wait."""
    counters = standing.counters
    for driver in drivers:
        if counters[WAITING] > most:
            break
        counters[WAITING], now.swept[driver] = sweep(
            driver, now.swept[driver], now.price[driver], most, hooks.nodes, hooks.heads, standing.mode,
            standing.pending, counters[WAITING],
        )  # fmt: skip
