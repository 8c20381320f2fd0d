"""A number along a line of prices: exact thresholds from the formulas as they stand.

A line moves some prices together: each becomes ``now x (1 + weight x s)`` with one parameter ``s``. A :class:`Ray` is
a figure as a function of ``s`` near one point: ``a + b s``, for some rules plus ``c s^2`` and terms ``r / (1 + d s)``.
Operators combine rays; a comparison (so also ``min``, ``max``, ``bisect``, ``abs``) takes the branch that holds at
the line's point and narrows the interval ``(low, high)`` on which every branch taken so far keeps holding.

So the judge, fed with rays instead of numbers, returns headroom as a formula together with the stretch on which that
formula is exact; its root is the threshold, and its slope the sensitivity. No bisection, no second statement of rules.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Any

from crossmargin.errors import UnsupportedRule

Num = Any
_EXTRA = tuple[Num, tuple[tuple[Num, Num], ...]]


class Line:
    """The point of evaluation on a line, the side it is approached from, and the stretch found so far."""

    __slots__ = ("direction", "high", "low", "point", "tolerance", "track")

    def __init__(self, point: Num, direction: int, *, track: bool) -> None:
        self.point = point
        self.direction = direction
        self.track = track
        self.low: Num = None
        self.high: Num = None
        # two branches this close (relative) meet here: which one holds is then told by their slopes
        self.tolerance: Num = Decimal("1e-40") if isinstance(point, Decimal) else 1e-13

    def kink(self, at: Num) -> None:
        """Remember a point where a branch changes, if it is the nearest on its side."""
        if at > self.point:
            if self.high is None or at < self.high:
                self.high = at
        elif at < self.point and (self.low is None or at > self.low):
            self.low = at


class Ray:
    """``a + b s`` plus ``extra = (c, ((d, r), ...))``: ``c s^2 + sum r / (1 + d s)``."""

    __slots__ = ("a", "b", "extra", "line")

    def __init__(self, a: Num, b: Num, line: Line, extra: _EXTRA | None = None) -> None:
        self.a = a
        self.b = b
        self.line = line
        self.extra = extra

    def __repr__(self) -> str:
        return f"Ray({self.a} + {self.b} s, extra={self.extra})"

    def __bool__(self) -> bool:
        """Whether it is anything but zero everywhere, as a number is true unless it is zero."""
        return bool(self.a or self.b or self.extra)

    def at(self, point: Num) -> Num:
        """The value at a point of the line (exact on this ray's own stretch)."""
        value = self.a + self.b * point
        if self.extra is not None:
            square, fractions = self.extra
            value += square * point * point
            for d, r in fractions:
                value += r / (1 + d * point)
        return value

    def slope(self, point: Num) -> Num:
        """The derivative in ``s`` at a point of the line."""
        if self.extra is None:
            return self.b
        square, fractions = self.extra
        value = self.b + 2 * square * point
        for d, r in fractions:
            value -= r * d / ((1 + d * point) * (1 + d * point))
        return value

    # arithmetic ------------------------------------------------------------------------------------------------------

    def __add__(self, other: Num) -> Ray:
        if type(other) is not Ray:
            return Ray(self.a + other, self.b, self.line, self.extra)
        if self.extra is None and other.extra is None:
            return Ray(self.a + other.a, self.b + other.b, self.line)
        return Ray(self.a + other.a, self.b + other.b, self.line, _sum(self.extra, other.extra))

    __radd__ = __add__

    def __neg__(self) -> Ray:
        return Ray(-self.a, -self.b, self.line, None if self.extra is None else _scaled(self.extra, -1))

    def __sub__(self, other: Num) -> Ray:
        if type(other) is not Ray:
            return Ray(self.a - other, self.b, self.line, self.extra)
        if self.extra is None and other.extra is None:
            return Ray(self.a - other.a, self.b - other.b, self.line)
        return self.__add__(-other)

    def __rsub__(self, other: Num) -> Ray:
        if self.extra is None:
            return Ray(other - self.a, -self.b, self.line)
        return (-self).__add__(other)

    def __mul__(self, other: Num) -> Ray:
        if type(other) is not Ray:
            if self.extra is None:
                return Ray(self.a * other, self.b * other, self.line)
            return Ray(self.a * other, self.b * other, self.line, _scaled(self.extra, other))
        if other.extra is None:
            return self._times_line(other)
        if self.extra is None:
            return other._times_line(self)
        raise UnsupportedRule("line of prices", "a product of three moving prices has no closed form here")

    __rmul__ = __mul__

    def _times_line(self, other: Ray) -> Ray:
        """The product with a plain ``k + l s``; fractions are taken apart so that nothing but the family remains."""
        k, m = other.a, other.b
        a, b, square = self.a * k, self.a * m + self.b * k, self.b * m
        fractions: tuple[tuple[Num, Num], ...] = ()
        if self.extra is not None:
            own_square, own = self.extra
            if own_square and m:
                raise UnsupportedRule("line of prices", "a product of three moving prices has no closed form here")
            square += own_square * k
            for d, r in own:
                rest = k - m / d
                a += r * m / d
                if abs(rest) > self.line.tolerance * abs(k):
                    fractions += ((d, r * rest),)
        return Ray(a, b, self.line, (square, fractions) if square or fractions else None)

    def __truediv__(self, other: Num) -> Ray:
        if type(other) is Ray:
            return self.__mul__(1 / other)
        if self.extra is None:
            return Ray(self.a / other, self.b / other, self.line)
        return self.__mul__(1 / other)

    def __rtruediv__(self, other: Num) -> Ray:
        if self.extra is not None:
            return self._reciprocal_of_fraction().__mul__(other)
        if not self.a:
            raise UnsupportedRule("line of prices", "a quotient of moving prices has no closed form here")
        if not self.b:
            return Ray(other / self.a, self.b, self.line)
        zero = self.b * 0
        return Ray(zero, zero, self.line, (zero, ((self.b / self.a, other / self.a),)))

    def _reciprocal_of_fraction(self) -> Ray:
        """1 / (a + r / (1 + d s)) = (1 + d s) / (a + r + a d s): an average entry price that grows with a size."""
        square, fractions = self.extra or (0, ())
        whole = self.a + fractions[0][1] if len(fractions) == 1 else 0
        if square or self.b or not whole:
            raise UnsupportedRule("line of prices", "a quotient of moving prices has no closed form here")
        (d, r) = fractions[0]
        zero = self.a * 0
        if not self.a:
            return Ray(1 / r, d / r, self.line)
        return Ray(1 / self.a, zero, self.line, (zero, ((self.a * d / whole, 1 / whole - 1 / self.a),)))

    def __abs__(self) -> Ray:
        return -self if self < 0 else self

    # comparisons take the branch at the line's point and say how far it holds ----------------------------------------

    def _sign(self, other: Num) -> int:
        line = self.line
        if not line.track and self.extra is None and type(other) is not Ray:
            return 1 if self.a + self.b * line.point > other else -1
        gap = self - other
        if gap.extra is None:
            a, b = gap.a, gap.b
            step = b * line.point
            value = a + step
            if not b:
                return 0 if not value else (1 if value > 0 else -1)
            if not line.track:
                return 1 if value > 0 else -1
            if abs(value) > line.tolerance * (abs(a) + abs(step)):
                line.kink(-a / b)
                return 1 if value > 0 else -1
            return line.direction if b > 0 else -line.direction
        value = gap.at(line.point)
        if line.track:
            for root in real_roots(gap):
                line.kink(root)
        slope = gap.slope(line.point)
        # near a pole the rounding of the point itself is what moves the value: slope x point has its size
        size = abs(gap.a) + abs(slope * line.point) + abs(gap.b * line.point) + abs(value - gap.a)
        if abs(value) > line.tolerance * size:
            return 1 if value > 0 else -1
        return line.direction if slope > 0 else -line.direction

    def __lt__(self, other: Num) -> bool:
        return self._sign(other) < 0

    def __gt__(self, other: Num) -> bool:
        return self._sign(other) > 0

    def __le__(self, other: Num) -> bool:
        return self._sign(other) <= 0

    def __ge__(self, other: Num) -> bool:
        return self._sign(other) >= 0


def _scaled(extra: _EXTRA, factor: Num) -> _EXTRA:
    return extra[0] * factor, tuple((d, r * factor) for d, r in extra[1])


def _sum(left: _EXTRA | None, right: _EXTRA | None) -> _EXTRA | None:
    if left is None or right is None:
        return left if right is None else right
    merged = dict(left[1])
    for d, r in right[1]:
        merged[d] = merged[d] + r if d in merged else r
    square = left[0] + right[0]
    fractions = tuple((d, r) for d, r in merged.items() if r)
    return (square, fractions) if square or fractions else None


# walking --------------------------------------------------------------------------------------------------------------

_MAX_PIECES = 200_000


def first_fall(figure: Callable[[Num, int], Ray], start: Num, end: Num | None, direction: int) -> Num | None:
    """The nearest root or jump below zero of a figure, stretch by stretch from ``start`` outward; None = there is none.

    ``figure(point, direction)`` is the figure near a point, on the branches that hold just beyond it. ``end`` bounds
    the walk (None = no bound). The answer is ``start`` itself where the figure is below zero there, or about to be.
    Raises :class:`UnsupportedRule` where a stretch has no closed form.
    """
    point = start
    for _ in range(_MAX_PIECES):
        ray = figure(point, direction)
        value, line = ray.at(point), ray.line
        scale = line.tolerance * (abs(ray.a) + abs(ray.slope(point) * point) + abs(value - ray.a))
        if value < -scale or (abs(value) <= scale and ray.slope(point) * direction < 0):
            return point
        kink = line.high if direction > 0 else line.low
        if kink is not None and end is not None and (kink - end) * direction >= 0:
            kink = None
        root = _nearest_root(ray, point, kink if kink is not None else end, direction)
        if root is not None:
            return root
        if kink is None:
            return None
        point = kink
    raise UnsupportedRule("line of prices", f"it has more than {_MAX_PIECES} stretches")


def _nearest_root(ray: Ray, point: Num, limit: Num | None, direction: int) -> Num | None:
    roots = [
        root
        for root in real_roots(ray)
        if (root - point) * direction > 0 and (limit is None or (root - limit) * direction <= 0)
    ]
    return min(roots, key=lambda root: (root - point) * direction, default=None)


# roots ----------------------------------------------------------------------------------------------------------------


def real_roots(ray: Ray) -> list[Num]:
    """Every ``s`` at which the ray's formula is zero and finite, rising; empty for a constant."""
    if ray.extra is None:
        return [-ray.a / ray.b] if ray.b else []
    square, fractions = ray.extra
    one, zero = ray.a * 0 + 1, ray.a * 0
    numerator = [ray.a, ray.b, square]
    for d, _ in fractions:
        numerator = _times(numerator, [one, d])
    for index, (_, r) in enumerate(fractions):
        term = [r]
        for other, (d, _) in enumerate(fractions):
            if other != index:
                term = _times(term, [one, d])
        numerator = [
            (numerator[i] if i < len(numerator) else zero) + (term[i] if i < len(term) else zero)
            for i in range(max(len(numerator), len(term)))
        ]
    poles = [-1 / d for d, _ in fractions]
    return [root for root in _polynomial_roots(numerator, ray.line.tolerance) if root not in poles]


def turning_points(ray: Ray) -> list[Num]:
    """Every ``s`` at which the slope of the ray's formula is zero and finite, rising; empty for a straight ray."""
    if ray.extra is None:
        return []
    square, fractions = ray.extra
    one = ray.a * 0 + 1
    # slope = b + 2 c s - sum r d / (1 + d s)^2, over the common denominator of all its squares
    numerator = [ray.b, 2 * square]
    for d, _ in fractions:
        numerator = _times(numerator, _times([one, d], [one, d]))
    for index, (d, r) in enumerate(fractions):
        term = [-r * d]
        for other, (e, _) in enumerate(fractions):
            if other != index:
                term = _times(term, _times([one, e], [one, e]))
        for power, coefficient in enumerate(term):
            numerator[power] += coefficient
    poles = [-1 / d for d, _ in fractions]
    return [root for root in _polynomial_roots(numerator, ray.line.tolerance) if root not in poles]


def _times(left: Sequence[Num], right: Sequence[Num]) -> list[Num]:
    product = [left[0] * 0] * (len(left) + len(right) - 1)
    for i, x in enumerate(left):
        for j, y in enumerate(right):
            product[i + j] += x * y
    return product


def _value(coefficients: Sequence[Num], point: Num) -> Num:
    total = coefficients[-1]
    for coefficient in reversed(coefficients[:-1]):
        total = total * point + coefficient
    return total


def _polynomial_roots(coefficients: Sequence[Num], tolerance: Num) -> list[Num]:
    """Real roots, rising: closed form to degree 2; above it, between the turning points, each bracketed."""
    trimmed = list(coefficients)
    largest = max(abs(c) for c in trimmed)
    while len(trimmed) > 1 and abs(trimmed[-1]) <= tolerance * largest:
        trimmed.pop()
    if len(trimmed) == 1:
        return []
    if len(trimmed) == 2:
        return [-trimmed[0] / trimmed[1]]
    if len(trimmed) == 3:
        return _quadratic_roots(*trimmed)
    turns = _polynomial_roots([i * c for i, c in enumerate(trimmed)][1:], tolerance)
    bound = 1 + max(abs(c / trimmed[-1]) for c in trimmed[:-1])
    ends = [-bound, *turns, bound]
    roots: list[Num] = []
    for low, high in pairwise(ends):
        root = _bracketed(trimmed, low, high)
        if root is not None and (not roots or root != roots[-1]):
            roots.append(root)
    return roots


def _quadratic_roots(c: Num, b: Num, a: Num) -> list[Num]:
    inside = b * b - 4 * a * c
    if inside < 0:
        return []
    root = inside.sqrt() if isinstance(inside, Decimal) else inside**0.5
    q = (b + root if b >= 0 else b - root) / -2  # the sum that does not cancel
    if not q:
        return [q]
    return sorted({q / a, c / q})


def _bracketed(coefficients: Sequence[Num], low: Num, high: Num) -> Num | None:
    """The root between two points of which the polynomial is monotone, to the last digit, or None."""
    at_low, at_high = _value(coefficients, low), _value(coefficients, high)
    if not at_low:
        return low
    if not at_high:
        return high
    if (at_low > 0) == (at_high > 0):
        return None
    while True:
        middle = (low + high) / 2
        if middle in (low, high):
            return middle
        value = _value(coefficients, middle)
        if not value:
            return middle
        if (value > 0) == (at_low > 0):
            low = middle
        else:
            high = middle
