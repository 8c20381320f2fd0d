"""Where the ends of certified intervals hang: lists in buckets of one basis point of log price, compiled.

Every (pool, price) is a line with two ends, a node each: node ``2 x line`` is its lower end, ``2 x line + 1`` its
upper. A node hangs in the bucket of its end, or in one that the price reaches sooner (an end that moved away is hung
anew only when the price comes by). Each price has a ring of buckets a side; a ring is longer than any certified
interval is wide, and who meets a node of another lap leaves it. One list more a price holds who waits for its first
value.

A node holds ``end`` (a price; NaN = waiting), its neighbours ``following`` (-1 = last) and ``before`` (another node,
-1 = does not hang, else -2 - the list whose first it is), and whose it is: the ``pool`` and the price (``driver``).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crossmargin.engine.jit import compiled, woven

NODE = np.dtype(
    [("end", np.float64), *((name, np.int32) for name in ("following", "before", "pool", "driver"))], align=True
)
RING = 4096
"""Buckets a side: 41 % of log price, beyond the widest interval."""
LISTS = 2 * (RING + 1)
"""Lists a price: a ring each for lower and upper ends, each with its waiting list."""
_MASK = RING - 1
_PER_UNIT = 10_000.0
_NONE = -1
_BESIDE = 1e-12
"""So much farther a price is taken to reach, lest the logarithm's rounding part it from an end that it meets."""


def empty_nodes(count: int) -> NDArray[np.void]:
    """Nodes that do not hang."""
    nodes = np.zeros(count, NODE)
    nodes["following"] = nodes["before"] = _NONE
    return nodes


def empty_heads(prices: int) -> NDArray[np.int32]:
    """The first node of every list of so many prices: none."""
    return np.full(prices * LISTS, _NONE, np.int32)


@woven
def bucket(price):
    """The bucket of a price."""
    return int(np.floor(np.log(price) * _PER_UNIT))


@woven
def unhang(node, nodes, heads):
    """Take a node out of its list, if it hangs in one."""
    before, following = nodes[node].before, nodes[node].following
    if before != _NONE:
        if before < _NONE:
            heads[-2 - before] = following
        else:
            nodes[before].following = following
        if following != _NONE:
            nodes[following].before = before
        nodes[node].before = _NONE
        nodes[node].following = _NONE


@woven
def hang(node, driver, end, nodes, heads):
    """Hang a node that does not hang in the list of its end."""
    place = RING if np.isnan(end) else bucket(end) & _MASK
    head = driver * LISTS + (node & 1) * (RING + 1) + place
    first = heads[head]
    nodes[node].following = first
    nodes[node].before = -2 - head
    if first != _NONE:
        nodes[first].before = node
    heads[head] = node


@woven
def place_end(node, driver, end, nodes, heads):
    """Give a node its end. No end (0 below, infinity above) needs no list; one farther than before stays hung."""
    old = nodes[node].end
    nodes[node].end = end
    if nodes[node].before != _NONE:
        farther = end <= old if node & 1 == 0 else end >= old
        if farther:
            return
        unhang(node, nodes, heads)
    if not (end == 0.0 or np.isinf(end)):
        hang(node, driver, end, nodes, heads)


@woven
def sweep(driver, old, new, most, nodes, heads, standing, pending, count):
    """Collect the pools with an end that a price passes on its way from ``old`` to ``new``.

    (how many wait now, the price up to which that is done): more than ``most`` are left for later.
    ``standing``: by pool, 0 until it is collected. What is met before its end is hung where it belongs.
    """
    waiting = np.isnan(old)
    side = 1 if waiting or new > old else 0
    step = 1 if side == 1 else -1
    here = bucket(new * (1 + step * _BESIDE))
    at = here if waiting else bucket(old * (1 - step * _BESIDE))
    steps = 1 if waiting else min(abs(here - at) + 1, RING)
    first = driver * LISTS + side * (RING + 1)
    done = new
    for _ in range(steps):
        place = RING if waiting else at & _MASK
        node = heads[first + place]
        while node != _NONE:
            following = nodes[node].following
            end = nodes[node].end
            if waiting or (end <= new if side == 1 else end >= new):
                unhang(node, nodes, heads)
                pool = nodes[node].pool
                if standing[pool] == 0:
                    standing[pool] = 1
                    pending[count] = pool
                    count += 1
            elif not 0 < end < np.inf:
                unhang(node, nodes, heads)
            elif bucket(end) & _MASK != place:
                unhang(node, nodes, heads)
                hang(node, driver, end, nodes, heads)
            node = following
        at += step
        if count > most and at != here + step:
            done = np.exp((at if side == 1 else at + 1) / _PER_UNIT)
            break
    return count, done


@compiled
def unhang_lines(start, stop, nodes, heads):
    """Take both ends of lines ``start`` to ``stop`` out of their lists."""
    for node in range(2 * start, 2 * stop):
        unhang(node, nodes, heads)
