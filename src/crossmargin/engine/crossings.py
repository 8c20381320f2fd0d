"""The runner's thresholds: where each pool's headroom crosses zero as one coin moves, or all together, compiled.

Prices that move are ``now x t``. On a concave profile headroom along such a line is the smallest of finitely many
straight pieces ``a + b t`` (for coin-settled pools: headroom x t, which has the same sign), one for each choice of
bracket, tier and sign. Newton from the losing end lands on the root exactly, because each piece lies above the whole.

Most lines move one position in a pool whose rule bends nowhere but at the brackets: there the pieces are walked outward
from the present prices. For inverse contracts the same walk runs in 1 / t, in which they are straight.
"""

from __future__ import annotations

import numpy as np

from crossmargin.engine.columns import Side, Status
from crossmargin.engine.jit import compiled, linear_notional, linear_pnl, woven
from crossmargin.engine.tables import Counted, Worth

_PAR, _FLAT, _BY_VALUE, _BID_ASK = (int(w) for w in (Worth.PAR, Worth.FLAT, Worth.TIERED_BY_VALUE, Worth.BID_ASK))
_ALL, _LOSSES = int(Counted.ALL), int(Counted.LOSSES)
_NEVER, _PRICE, _ALREADY, _UNKNOWN, _EDGE = (int(side) for side in Side)
_LIQUIDATION, _NO_STATUS = int(Status.LIQUIDATION), int(Status.UNKNOWN)
_TINY, _HUGE = 1e-18, 1e18
_MOST_STEPS = 10_000
_NONE, _ONE = np.uintp(0), np.uintp(1)
_BESIDE = 1e-12
"""So near is "just beside the present prices": nearer than any move, farther than rounding."""
_COARSE = 1e-3
"""Roots nearer to nothing than this are formed from the sums themselves, where nothing cancels."""


@woven
def tangent(
    t, first, last, j, j_end, by_line, line_position, coin, moves, pocket, law, pools, look, kept_of, pnl_of,
    required_of, rest_of,
):  # fmt: skip
    """(a, b, curved, filled): the piece of headroom that holds at ``t`` as the coins on the line move.

    ``filled``: whether ``a`` is a sum of anything; without, it is 0 by structure and not by cancellation.
    """
    position_start, assets, cash, counts = pools.position_start, pools.asset, pools.cash, pools.counts
    instrument, size, charged, entry = pools.instrument, pools.size, pools.charged, pools.entry
    a = b = 0.0
    curved = filled = False
    own_law = 1 if pocket else 0
    for h in range(first, last):
        asset = assets[h]
        end = position_start[h + 1]
        p0 = p1 = m0 = m1 = 0.0
        still_pnl, still_required = pnl_of[h], required_of[h]
        straight = inverse = False
        while j < j_end:
            i = line_position[j] if by_line else j
            if i >= end:
                break
            j += 1
            k = instrument[i]
            if not by_line and not moves[look.base[k]]:
                continue
            mark, s = look.x[k], size[i]
            still_pnl -= linear_pnl(s, entry[i], mark)
            still_required -= kept_of[i]
            value = linear_notional(charged[i], abs(mark))
            fee = linear_notional(s, abs(mark)) * look.mark_fee[own_law, k]
            row = look.first_row[own_law, k]
            if look.inverse[k]:
                inverse = True
                while value / t > look.cap[row]:
                    row += 1
                p0 += s * mark
                p1 -= s * entry[i]
                m0 += look.rate[row] * value + fee
                m1 -= look.deduction[row]
            else:
                straight = True
                while value * t > look.cap[row]:
                    row += 1
                p0 -= s * entry[i]
                p1 += s * mark
                m0 -= look.deduction[row]
                m1 += look.rate[row] * value + fee
        par = pocket or look.worth[asset] == _PAR
        shifts = inverse if par else (asset == coin if by_line else moves[asset])
        if not (straight or inverse or shifts):
            a += rest_of[h]
            filled = filled or rest_of[h] != 0
            continue
        filled = filled or straight or inverse or not shifts or look.worth[asset] == _BY_VALUE
        if (inverse and not shifts) or (straight and shifts):
            curved = True
        c0 = c1 = 0.0
        if shifts:
            p1 += still_pnl
            m1 += still_required
            c1 = cash[h]
        else:
            p0 += still_pnl
            m0 += still_required
            c0 = cash[h]
        if law.counted != _ALL and (law.counted != _LOSSES or p0 + p1 * t > 0):
            p0 = p1 = 0.0
        o0, o1 = c0 + p0, c1 + p1
        v0, v1 = (o0, o1) if law.weighted else (c0, c1)
        held = v0 + v1 * t
        price = 1.0 if par else look.price[asset]
        charge = price
        if law.at_ask and not par:
            charge = look.ask[asset]
        e0 = e1 = 0.0
        if counts[h] or held <= 0:
            worth = look.worth[asset]
            if par:
                e0, e1 = v0, v1
            elif worth == _BID_ASK:
                side = look.bid[asset] if held * look.bid[asset] < held * look.ask[asset] else look.ask[asset]
                e0, e1 = side * v0, side * v1
            else:
                tier = look.first_tier[asset]
                amount = held / t if shifts and worth != _BY_VALUE else held
                key = amount * price if worth == _BY_VALUE else amount
                if key < 0:
                    e0, e1 = look.liability_ratio * price * v0, look.liability_ratio * price * v1
                else:
                    if worth != _FLAT:
                        while key > look.tier_cap[tier]:
                            tier += 1
                    e0, e1 = look.ratio[tier] * price * v0, look.ratio[tier] * price * v1
                    if worth == _BY_VALUE:
                        e0 += look.credit[tier]
                    elif shifts:
                        e1 += look.credit[tier] * price
                    else:
                        e0 += look.credit[tier] * price
        if not law.weighted:
            e0 += price * p0
            e1 += price * p1
        q0, q1 = charge * m0, charge * m1
        owed = look.liability_rate[asset]
        if owed != 0 and not pocket and o0 + o1 * t < 0:
            q0 -= owed * price * o0
            q1 -= owed * price * o1
        a += e0 - law.multiple * q0
        b += e1 - law.multiple * q1
    return a, b, curved, filled


@woven
def _sides(
    bound, first, last, j, j_end, by_line, line_position, coin, moves, pocket, law, pools, look, kept_of, pnl_of,
    required_of, rest_of,
):  # fmt: skip
    """(kind, t) below and (kind, t) above of one line.

    The two ends say which sides fall below zero; on such a side Newton starts from the piece that holds now. (One call
    of ``tangent`` in one loop, for its text is woven in wherever it is called.)
    """
    low_kind = high_kind = _NEVER
    low = high = now_a = now_b = a = b = np.nan
    t, stage = _TINY, 0  # the low end, the high end, now, then down and up
    for _ in range(_MOST_STEPS):
        following, slope, curved, filled = tangent(
            t, first, last, j, j_end, by_line, line_position, coin, moves, pocket, law, pools, look, kept_of, pnl_of,
            required_of, rest_of,
        )  # fmt: skip
        if curved:
            return _EDGE, np.nan, _EDGE, np.nan
        if stage == 0:
            if slope != 0:
                low_kind = _EDGE if abs(following) <= bound and filled else (_PRICE if following < -bound else _NEVER)
            t, stage = _HUGE, 1
            continue
        if stage == 1:
            if slope != 0:
                high_kind = _EDGE if abs(slope) <= bound and filled else (_PRICE if slope < -bound else _NEVER)
            if low_kind != _PRICE and high_kind != _PRICE:
                break
            t, stage = 1.0, 2
            continue
        root = -following / slope
        done = False
        if stage == 2:
            now_a, now_b = following, slope
            stage = 3 if low_kind == _PRICE else 4
        else:
            met = (following == a and slope == b) or root == t or not 0 < root < np.inf
            # rounding has met the root where the piece before still says 0 or more
            passed = following + slope * t >= 0 and t != _TINY and t != _HUGE
            done = met or passed
            if done and stage == 3:
                low = root if met and 0 < root < np.inf else t
            elif done:
                high = root if met and 0 < root < np.inf else t
            if done and stage == 3 and high_kind == _PRICE:
                following, slope, stage, done = now_a, now_b, 4, False
                root = -now_a / now_b
            if done:
                break
        a, b = following, slope
        if (stage == 3 and not 0 < root < 1) or (stage == 4 and not 1 < root < np.inf):
            # the piece that holds now does not lead to that side's end: begin at the end
            root = _TINY if stage == 3 else _HUGE
        t = root
    return low_kind, low, high_kind, high


@compiled
def cross(
    start, stop, pools, lines, look, shared, isolated_law, kept_of, pnl_of, required_of, rest_of,
    headroom_of, bound_of, status_of, fast, moves,
    below, above, below_kind, above_kind, common_below, common_above, common_below_kind, common_above_kind,
):  # fmt: skip
    """Both sides of every line of pools ``start`` to ``stop``, as ``t``; NaN where there is no price.

    ``moves`` (one flag an asset, or empty): also the line on which all of those move alike, one a pool.
    """
    pool_start, position_start, assets, laws = pools.start, pools.position_start, pools.asset, pools.law
    instrument, size, charged = pools.instrument, pools.size, pools.charged
    x, price_of, ask_of = look.x, look.price, look.ask
    cap, rate, deduction, first_row, top_rate = look.cap, look.rate, look.deduction, look.first_row, look.top_rate
    line_start, line_coin, line_holding = lines.start, lines.coin, lines.holding
    line_position_start, line_position = lines.position_start, lines.position
    worth_as, liability_rate, inverse_of, mark_fee = look.worth, look.liability_rate, look.inverse, look.mark_fee
    common = len(moves) > 0
    for p in range(start, stop):
        status = status_of[p]
        if status == _LIQUIDATION or status == _NO_STATUS:
            kind = _ALREADY if status == _LIQUIDATION else _UNKNOWN
            for line in range(line_start[p], line_start[p + 1]):
                below[line] = above[line] = np.nan
                below_kind[line] = above_kind[line] = kind
            if common:
                common_below[p] = common_above[p] = np.nan
                common_below_kind[p] = common_above_kind[p] = kind
            continue
        pocket = laws[p] == 1
        own_law = _ONE if pocket else _NONE
        law = isolated_law if pocket else shared
        multiple, at_ask = law.multiple, law.at_ask
        first, last = pool_start[p], pool_start[p + 1]
        bound, room = bound_of[p], headroom_of[p]
        h = first
        end = line_start[p + 1]
        for line in range(line_start[p], end + 1 if common else end):
            by_line = line < end
            if by_line:
                j, j_end, coin = line_position_start[line], line_position_start[line + 1], line_coin[line]
                own = line_holding[line]
            else:
                j, j_end, coin, own = position_start[first], position_start[last], np.int32(-1), np.int64(-1)
            # The piece that holds now passes through today's headroom, so its slope says where it ends: linear
            # contracts add theirs; what is worth its amount times the moving price has today's value as slope, less
            # what inverse contracts hold at a fixed value.
            shifting = own
            slope, least, most = 0.0, 0.0, 0.0
            straight = fast and by_line
            value, w, row, k = 0.0, 0.0, _NONE, _NONE
            for at in range(j, j_end if straight else j):
                i = np.uintp(line_position[at])
                while line_position[at] >= position_start[np.uintp(h + 1)]:
                    h += 1
                while line_position[at] < position_start[np.uintp(h)]:
                    h -= 1
                a, k = np.uintp(assets[np.uintp(h)]), np.uintp(instrument[i])
                par = pocket or worth_as[a] == _PAR
                price = 1.0 if par else price_of[a]
                w = multiple * (ask_of[a] if at_ask and not par else price)
                mark, row = x[k], np.uintp(first_row[own_law, k])
                lowest = row
                value = linear_notional(charged[i], abs(mark))
                while value > cap[row]:
                    row += _ONE
                moved = price * (size[i] * mark) - w * (
                    rate[row] * value + linear_notional(size[i], abs(mark)) * mark_fee[own_law, k]
                )
                fewer, more = w * (deduction[lowest] - deduction[row]), w * (rate[row] - top_rate[own_law, k]) * value
                if inverse_of[k]:
                    if par:
                        shifting = h
                    straight = straight and h == shifting
                    moved, fewer, more = -moved, more, fewer
                slope += moved
                least += fewer
                most += more
                straight = straight and (pocket or liability_rate[a] == 0)
            if shifting >= 0:
                slope += rest_of[shifting]
                straight = straight and worth_as[assets[shifting]] != _BY_VALUE
            least += room - slope
            most += slope
            falls, rises = least < 0, most < 0
            t = 1.0 - room / slope
            inside = t > _COARSE and j_end == j + 1
            if straight and inside:
                then = value / t if inverse_of[k] else value * t
                inside = then <= cap[row] and (row == first_row[own_law, k] or then > cap[row - _ONE])
            sure = abs(least) > bound and abs(most) > bound and not (falls and rises)
            if straight and sure and j_end != j + 1 and (t < 1 if falls else (rises and t > 1)):
                # several positions: Newton from the root of the piece that holds now, at the losing side of the line's
                g, met = h, False
                while t > _COARSE and not met:
                    a0, a1 = room - slope, slope
                    for at in range(j, j_end):
                        i = np.uintp(line_position[at])
                        while line_position[at] >= position_start[np.uintp(g + 1)]:
                            g += 1
                        while line_position[at] < position_start[np.uintp(g)]:
                            g -= 1
                        a, k = np.uintp(assets[np.uintp(g)]), np.uintp(instrument[i])
                        par = pocket or worth_as[a] == _PAR
                        w = multiple if par else multiple * (ask_of[a] if at_ask else price_of[a])
                        value, row = linear_notional(charged[i], abs(x[k])), np.uintp(first_row[own_law, k])
                        there, then = row, value / t if inverse_of[k] else value * t
                        while value > cap[row]:
                            row += _ONE
                        while then > cap[there]:
                            there += _ONE
                        by_deduction = w * (deduction[there] - deduction[row])
                        by_rate = w * (rate[row] - rate[there]) * value
                        if inverse_of[k]:
                            by_deduction, by_rate = by_rate, by_deduction
                        a0 += by_deduction
                        a1 += by_rate
                    root = -a0 / a1
                    # on a concave line the roots come nearer; where they no longer do, only rounding is left
                    met = not (root > t if falls else root < t)
                    t = t if met else root
                inside = met
            if straight and sure and not inside and j_end == j + 1 and (falls or rises):
                # one position: the pieces are its brackets, walked outward until one holds at its own root
                inward = falls != inverse_of[k]
                lowest, own_row = np.uintp(first_row[own_law, k]), row
                while (row > lowest if inward else cap[row] < np.inf) and not inside:
                    row = row - _ONE if inward else row + _ONE
                    by_deduction = w * (deduction[row] - deduction[own_row])
                    by_rate = w * (rate[own_row] - rate[row]) * value
                    if inverse_of[k]:
                        t = -(room - slope + by_rate) / (slope + by_deduction)
                        then = value / t
                    else:
                        t = -(room - slope + by_deduction) / (slope + by_rate)
                        then = value * t
                    inside = t > _COARSE and (row == lowest or then > cap[row - _ONE] if inward else then <= cap[row])
            if straight and sure and (inside or not (falls or rises)):
                below[line], above[line] = (t if falls else np.nan), (t if rises else np.nan)
                below_kind[line], above_kind[line] = falls, rises
                continue
            low_kind, low, high_kind, high = _sides(
                bound, first, last, j, j_end, by_line, line_position, coin, moves, pocket, law, pools, look, kept_of,
                pnl_of, required_of, rest_of,
            )  # fmt: skip
            if by_line:
                below[line], below_kind[line] = low, low_kind
                above[line], above_kind[line] = high, high_kind
            else:
                common_below[p], common_below_kind[p] = low, low_kind
                common_above[p], common_above_kind[p] = high, high_kind


@compiled
def slopes_now(
    start, stop, pools, lines, look, shared, isolated_law, kept_of, pnl_of, required_of, rest_of, headroom_of,
    status_of, up, down,
):  # fmt: skip
    """The slope of headroom in ``t`` on both sides of now, for every line of pools ``start`` to ``stop``."""
    nothing = np.zeros(1, np.bool_)
    for p in range(start, stop):
        pocket = pools.law[p] == 1
        law = isolated_law if pocket else shared
        first, last = pools.start[p], pools.start[p + 1]
        for line in range(lines.start[p], lines.start[p + 1]):
            up[line] = down[line] = np.nan
            if status_of[p] == _NO_STATUS:
                continue
            j, j_end = lines.position_start[line], lines.position_start[line + 1]
            for at in (1 - _BESIDE, 1 + _BESIDE):
                _, slope, curved, _ = tangent(
                    at, first, last, j, j_end, True, lines.position, lines.coin[line], nothing, pocket, law, pools,
                    look, kept_of, pnl_of, required_of, rest_of,
                )  # fmt: skip
                for i in range(j, j_end):
                    k = pools.instrument[lines.position[i]]
                    # of a coin-settled pool the piece is headroom x t
                    if look.inverse[k] and (pocket or look.worth[pools.asset[first]] == _PAR):
                        slope -= headroom_of[p]
                        break
                if curved:
                    slope = np.nan
                if at < 1:
                    down[line] = slope
                else:
                    up[line] = slope
