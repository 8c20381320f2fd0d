"""The largest amount that a rule still admits, to the last decimal.

Room as a function of an amount is concave and piecewise linear under nearly every profile. Newton from the losing end
proposes, because the tangent of a concave function lies above it; the judge disposes: the answer is an amount that is
admitted while one unit of the eighteenth decimal more is refused, both of them evaluated, neither extrapolated.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

UNIT = Decimal(1).scaleb(-18)
"""The last digit an input can have."""
MOST = Decimal(10) ** 19
"""No amount is larger: the largest input has twenty digits."""
_ZERO = Decimal(0)


def largest(room: Callable[[Decimal], Decimal], most: Decimal) -> Decimal:
    """The largest multiple of 1e-18 in 0..``most`` with room of 0 or more, where the next one has less than 0.

    0 is taken as admitted and not evaluated. The first of 1, 1000, 1000000, ... that is refused bounds the search;
    where room is not concave the answer is a boundary below it, and there may be others. ``most`` itself comes back
    where it is admitted.
    """
    reach, end = _ZERO, Decimal(1)
    while end < most and room(end) >= 0:
        reach, end = end, end * 1000
    end = min(end, most)
    if end == most and room(most) >= 0:
        return most
    low, high = int(reach.scaleb(18)), int(end.scaleb(18).to_integral_value(ROUND_CEILING))
    while high - low > 1:
        proposal = _tangent(room, high)
        at = min(max(proposal, low + 1), high - 1)
        if room(at * UNIT) < 0:
            high = at
        elif at + 1 == high or room((at + 1) * UNIT) < 0:
            return at * UNIT
        else:
            low = at + 1
        # a jump or a curve can hold Newton up: halving bounds the work whatever the function is
        middle = (low + high) // 2
        if low < middle < high:
            if room(middle * UNIT) < 0:
                high = middle
            else:
                low = middle
    return low * UNIT


def _tangent(room: Callable[[Decimal], Decimal], high: int) -> int:
    """Where the piece that ends at ``high`` meets zero; its slope is a difference quotient, exact on a line."""
    step = max(1, high // 10**12)
    here, before = room(high * UNIT), room((high - step) * UNIT)
    if here >= before:
        return high // 2
    slope = (here - before) / step
    return int((high - here / slope).to_integral_value(ROUND_FLOOR))
