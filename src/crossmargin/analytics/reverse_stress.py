"""Which plausible market move kills me first?

The nearest move, in the Mahalanobis distance of a covariance (standard deviations, correlations counted), at which a
pool has no headroom left. Where headroom is the least of straight pieces, the nearest liquidating move is the nearest
point of one piece's half-space, |a| / sqrt(b' S b). The pieces are too many to list (brackets multiply over coins), so
they are searched by branch and bound: in a box of moves each coin's term of headroom lies above a straight line, the
nearest point of that line's half-space within the box bounds everything in the box, and a box that is not yet exact is
cut at a bracket. What comes back carries the bound that no liquidating move is nearer than.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal, localcontext
from itertools import pairwise, product
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from crossmargin.analytics.box import added, coordinates
from crossmargin.analytics.covariance import Covariance
from crossmargin.analytics.stress import Applied, moved
from crossmargin.analytics.threshold import coins_of
from crossmargin.engine.curves import Anatomy, Function, Stretch, anatomy, walk
from crossmargin.engine.pool import Prepared
from crossmargin.engine.prepare import prepare
from crossmargin.engine.ray import Ray, turning_points
from crossmargin.engine.reference import measure
from crossmargin.engine.reporting import evaluate
from crossmargin.errors import AccountError, Fault, UnsupportedRule
from crossmargin.model.account import Account
from crossmargin.model.instrument import CASH
from crossmargin.model.market import Market
from crossmargin.model.number import CONTEXT
from crossmargin.model.profile import Rules

Floats = NDArray[np.float64]
FAR = 40.0
"""Standard deviations beyond which no move is looked for: a normal market is never there."""
_FLOOR = -1 + 1e-9
_MAX_CASES = 256
_TIGHT = 1e-9
_ROUNDING = 1e-11


@dataclass(frozen=True, slots=True, kw_only=True)
class ReverseStress:
    """The nearest move that liquidates.

    ``kind``: ``move`` (found), ``never`` (none within 40 standard deviations, proved), ``already``, or ``unknown``: the
    search was cut short and found none, and all that is sure is that none is nearer than ``certified_bound``.
    ``distance`` in standard deviations of one day; ``certified_bound``: no liquidating move is nearer; the two are
    equal where ``proved``. ``moves`` as fractions, ``words`` the same for people, the most telling first.
    ``headroom``: what the judge says of ``pool`` there, in ``currency`` (zero to the rounding of the move, or just
    below where the rules jump). ``examined``: boxes of the search.
    """

    kind: Literal["move", "never", "already", "unknown"]
    pool: str | None
    currency: str | None
    distance: Decimal | None
    certified_bound: Decimal
    proved: bool
    moves: dict[str, Decimal]
    words: str
    headroom: Decimal | None
    examined: int
    notes: tuple[str, ...]


def reverse_stress(
    account: Account, market: Market, rules: Rules, covariance: Covariance, *, most_boxes: int = 2_000
) -> ReverseStress:
    """The smallest Mahalanobis distance at which a pool's headroom is gone, with its certificate.

    ``covariance``: daily, of relative moves; it must have every coin of the account except stablecoins, which stand
    still unless it names them. Every price stays positive (moves above -100 %). After ``most_boxes`` the search
    stops, and the bound says how far it came. Raises :class:`AccountError` naming every coin without a row,
    :class:`UnsupportedRule` where the rules couple coins other than by the sum of their PnL.
    """
    exact = prepare(account, market, rules)
    drivers, notes = drivers_of(exact, covariance)
    with localcontext(CONTEXT):
        broken = [state.pool for state in map(measure, exact.pools) if state.liquidatable]
    if broken:
        still = np.zeros(len(drivers))
        return _found("already", exact, broken[0].name, drivers, still, 0.0, 0.0, covariance, 0, notes)
    problems = list(_problems(prepare(account, market, rules, number=float), drivers))
    search = _Search(covariance.of(drivers), problems)
    search.run(most_boxes)
    if search.move is None:
        return ReverseStress(
            kind="never" if search.bound >= FAR else "unknown",
            pool=None,
            currency=None,
            distance=None,
            certified_bound=rounded(search.bound),
            proved=search.bound >= FAR,
            moves={},
            words=f"no move within {search.bound:.4g} standard deviations liquidates",
            headroom=None,
            examined=search.examined,
            notes=notes,
        )
    pool = problems[search.pool].pool
    bound = min(search.bound, search.best)
    return _found("move", exact, pool, drivers, search.move, search.best, bound, covariance, search.examined, notes)


def drivers_of(prepared: Prepared, covariance: Covariance) -> tuple[list[str], tuple[str, ...]]:
    """The coins that move the account under a covariance, and a note for each stablecoin that stands still."""
    reference = prepared.rules.reference_currency
    coins = [coin for coin in coins_of(prepared) if coin != reference]
    still = [coin for coin in coins if coin in CASH and coin not in covariance.coins]
    drivers = [coin for coin in coins if coin not in still]
    covariance.of(drivers)
    if not drivers:
        raise AccountError(f"account {prepared.account.id}", (Fault("positions", "", "holds nothing that moves"),))
    return drivers, tuple(f"{coin} stands still: the covariance does not name it" for coin in still)


# what is searched -----------------------------------------------------------------------------------------------------


class _Problem(NamedTuple):
    """One pool in one case of its coupled assets: a constant plus a function of each coin."""

    pool: str
    constant: float
    terms: dict[int, Function]

    def size(self, deviation: Floats) -> float:
        """The size of what is added and subtracted, of which rounding is a share."""
        total = abs(self.constant)
        for coin, term in self.terms.items():
            ray = term(0.0, 1)
            total += abs(float(ray.at(0.0))) + abs(float(ray.slope(0.0))) * max(1.0, float(deviation[coin]))
        return total


def _problems(prepared: Prepared, drivers: list[str]) -> Iterator[_Problem]:
    """Headroom is the least of its cases, so the nearest zero of all cases is the nearest zero."""
    place = {coin: index for index, coin in enumerate(drivers)}
    for pool in prepared.pools:
        state = measure(pool)
        parts = anatomy(state, *coordinates(state, prepared.rules.reference_currency, place))
        if not parts.singles and not parts.coupled:
            continue  # no price moves this pool
        priced = [part.price for part in parts.coupled if part.price is not None]
        if priced:
            why = "its price moves apart from the PnL settled in it; leave it out of the covariance, and ask how far "
            raise UnsupportedRule(f"the price of {', '.join(priced)}", why + "it may fall alone (depeg)")
        pieces = [_slopes(parts, index) for index in range(len(parts.coupled))]
        if math.prod(map(len, pieces)) > _MAX_CASES:
            raise UnsupportedRule("reverse stress", "too many pieces of collateral rules at once")
        for chosen in product(*pieces):
            yield _case(parts, chosen, place)


def _slopes(parts: Anatomy, index: int) -> list[Ray]:
    """The pieces of what PnL counts for; it must be concave, so that the least of them holds."""
    part = parts.coupled[index]
    up, down = (walk(part.outer, part.still_pnl, None, direction) for direction in (1, -1))
    rays = [stretch.ray for stretch in reversed(down)] + [stretch.ray for stretch in up]
    slopes = [ray.b for ray in rays]
    if any(later > earlier for earlier, later in pairwise(slopes)):
        raise UnsupportedRule(
            "reverse stress", "a collateral rule counts more PnL for more; its pieces are not concave"
        )
    return list({(ray.a, ray.b): ray for ray in rays}.values())


def _case(parts: Anatomy, chosen: tuple[Ray, ...], place: dict[str, int]) -> _Problem:
    constant = float(parts.still)
    functions: dict[int, list[Function]] = {}
    for single in parts.singles:
        functions.setdefault(place[single.name], []).append(single.function)
    for part, ray in zip(parts.coupled, chosen, strict=True):
        constant += float(ray.a + ray.b * part.still_pnl - part.keep * part.still_maintenance)
        for name in part.contracts:
            functions.setdefault(place[name], []).append(part.on(name, ray.b, 1.0))
    return _Problem(
        parts.pool.name,
        constant,
        {index: added(own) for index, own in functions.items()},
    )


# the search -----------------------------------------------------------------------------------------------------------


class _Line(NamedTuple):
    """A straight line below a coin's term of headroom on an interval."""

    offset: float
    slope: float


class _Curve:
    """A coin's term of headroom over the range of the search, stretch by stretch."""

    def __init__(self, function: Function, low: float, high: float) -> None:
        self.stretches: list[Stretch] = walk(function, low, high, 1)
        self.kinks = [stretch.start for stretch in self.stretches[1:]]
        self.is_bent = bool(self.kinks) or self.stretches[0].ray.extra is not None
        self.high = high
        self._lines: dict[tuple[float, float], _Line] = {}

    def value(self, point: float) -> float:
        """The term at a point; at a jump the lesser side, which is approached as near as one likes."""
        near = _TIGHT * max(1e-3, abs(point))
        return min(
            float(stretch.ray.at(point))
            for stretch in self.stretches
            if stretch.start - near <= point <= (self.high if stretch.end is None else stretch.end) + near
        )

    def below(self, low: float, high: float) -> _Line:
        """The chord, lowered where the term dips below it: exact where the term is one straight piece."""
        found = self._lines.get((low, high))
        if found is not None:
            return found
        pieces = [
            (max(low, stretch.start), min(high, self.high if stretch.end is None else stretch.end), stretch.ray)
            for stretch in self.stretches
            if stretch.start < high and (stretch.end is None or stretch.end > low)
        ]
        if not pieces:  # an interval of one point at the edge of the range
            pieces = [(low, high, self.stretches[-1 if low > self.stretches[0].start else 0].ray)]
        slope = (pieces[-1][2].at(high) - pieces[0][2].at(low)) / (high - low) if high > low else 0.0
        least = math.inf
        for start, end, ray in pieces:
            tilted = Ray(ray.a, ray.b - slope, ray.line, ray.extra)
            inside = [point for point in turning_points(tilted) if start < point < end]
            least = min(least, *(tilted.at(point) for point in (start, end, *inside)))
        line = self._lines[low, high] = _Line(least, slope)
        return line

    def cut(self, point: float, low: float, high: float) -> float | None:
        """Where to cut an interval: at the kink nearest to a point, or the middle of a curved stretch."""
        width = (high - low) * 1e-9
        inside = [kink for kink in self.kinks if low + width < kink < high - width]
        if inside:
            return float(min(inside, key=lambda kink: abs(kink - point)))
        return (low + high) / 2 if high - low > 1e-7 else None


class _Box(NamedTuple):
    """A part of the search: the bounds of every coin, and the nearest point of what lies below headroom there."""

    bound: float
    order: int
    problem: int
    low: Floats
    high: Floats
    offset: float
    slope: Floats
    """The straight function below headroom in the box: ``offset + slope . x``."""
    point: Floats


class _Search:
    """Best-first branch and bound over boxes of moves; the smallest bound left is what is certified."""

    def __init__(self, covariance: Floats, problems: list[_Problem]) -> None:
        self.covariance = covariance
        self.problems = problems
        self.deviation = np.sqrt(np.diag(covariance))
        self.best = math.inf
        self.move: Floats | None = None
        self.pool = 0
        self.bound = FAR
        self.examined = 0
        self._curves: list[dict[int, _Curve]] = []
        self._bent: list[list[int]] = []
        self._open = math.inf
        self._scale = [_ROUNDING * problem.size(self.deviation) for problem in problems]

    def run(self, most_boxes: int) -> None:
        """Search until the nearest move is proved, or the boxes are used up."""
        for index in range(len(self.problems)):
            self._descend(index)
        reach = min(self.best * (1 + 1e-6), FAR) * self.deviation
        low, high = np.maximum(_FLOOR, -reach), np.maximum(reach, 1e-9)
        self._curves = [
            {coin: _Curve(term, float(low[coin]), float(high[coin])) for coin, term in problem.terms.items()}
            for problem in self.problems
        ]
        self._bent = [[coin for coin, curve in curves.items() if curve.is_bent] for curves in self._curves]
        heap: list[_Box] = []
        for index, problem in enumerate(self.problems):
            offset, slope = problem.constant, np.zeros(len(low))
            for coin, curve in self._curves[index].items():
                line = curve.below(float(low[coin]), float(high[coin]))
                offset += line.offset
                slope[coin] = line.slope
            self._push(heap, index, low, high, offset, slope)
        while heap:
            box = heap[0]
            limit = min(self.best, FAR)
            if box.bound >= limit * (1 - _TIGHT):
                break
            if self.examined >= most_boxes:
                self.bound = min(box.bound, self._open)
                return
            heapq.heappop(heap)
            self._split(heap, box)
        self.bound = min(self.best, self._open, FAR)

    def _descend(self, index: int) -> None:
        """A first answer: the piece that holds here, its nearest point, the piece that holds there, and so on."""
        problem = self.problems[index]
        point = np.zeros(len(self.deviation))
        low, high = np.full_like(point, _FLOOR), np.full_like(point, np.inf)
        for _ in range(60):
            offset, slope = problem.constant, np.zeros_like(point)
            for coin, term in problem.terms.items():
                at = float(point[coin])
                ray = term(at, 1 if at >= 0 else -1)
                slope[coin] = ray.slope(at)
                offset += float(ray.at(at)) - slope[coin] * at
            distance, following = self._nearest(offset, slope, low, high, FAR)
            if following is None or distance >= FAR or np.allclose(following, point, rtol=1e-13, atol=1e-15):
                return
            point = following
            left = problem.constant + sum(
                min(float(term(float(point[c]), d).at(float(point[c]))) for d in (1, -1))
                for c, term in problem.terms.items()
            )
            if left <= self._scale[index] and distance < self.best:
                self.best, self.move, self.pool = distance, point, index

    def _push(self, heap: list[_Box], index: int, low: Floats, high: Floats, offset: float, slope: Floats) -> None:
        self.examined += 1
        bound, point = self._nearest(offset, slope, low, high, min(self.best, FAR))
        if point is not None and bound < min(self.best, FAR):
            heapq.heappush(heap, _Box(bound, self.examined, index, low, high, offset, slope, point))

    def _split(self, heap: list[_Box], box: _Box) -> None:
        """Take a box's nearest point if headroom is gone there; else cut the coin whose line is the loosest."""
        point = np.clip(box.point, box.low, box.high)
        left, loosest, worst, cut_at = box.offset + float(box.slope @ point), 0.0, 0, None
        curves = self._curves[box.problem]
        for coin in self._bent[box.problem]:
            curve, at = curves[coin], float(point[coin])
            low, high = float(box.low[coin]), float(box.high[coin])
            line = curve.below(low, high)
            slack = curve.value(at) - line.offset - line.slope * at
            left += slack
            if slack > loosest:
                cut = curve.cut(at, low, high)
                if cut is not None:
                    loosest, worst, cut_at = slack, coin, cut
        if left <= self._scale[box.problem]:
            if box.bound < self.best:
                self.best, self.move, self.pool = box.bound, point, box.problem
            return
        if cut_at is None:  # straight everywhere, yet its nearest point was not met exactly: halve it, and look again
            width = (box.high - box.low) / np.where(self.deviation > 0, self.deviation, 1.0)
            width[[coin for coin in range(len(width)) if coin not in curves]] = 0.0
            worst = int(np.argmax(width))
            cut_at = float(box.low[worst] + box.high[worst]) / 2
            if box.high[worst] - box.low[worst] < _TIGHT:  # not decided: the bound may claim no more
                self._open = min(self._open, box.bound)
                return
        curve = curves[worst]
        whole = curve.below(float(box.low[worst]), float(box.high[worst]))
        for low_end, high_end in ((float(box.low[worst]), cut_at), (cut_at, float(box.high[worst]))):
            low_side, high_side, slope = box.low.copy(), box.high.copy(), box.slope.copy()
            low_side[worst], high_side[worst] = low_end, high_end
            line = curve.below(low_end, high_end)
            slope[worst] = line.slope
            self._push(heap, box.problem, low_side, high_side, box.offset - whole.offset + line.offset, slope)

    def _nearest(
        self, offset: float, slope: Floats, low: Floats, high: Floats, limit: float
    ) -> tuple[float, Floats | None]:
        """The nearest point of ``offset + slope . x <= 0`` within bounds: (distance, point), None = there is none.

        min x' S^-1 x subject to G x <= h, in its dual max -l' (G S G') l - 2 l' h over l >= 0: the constraint that is
        most violated joins those that bind, one whose multiplier falls to nothing leaves (Lawson and Hanson, Solving
        Least Squares Problems, chapter 23). Any l >= 0 is a bound, so a search cut short is still valid.
        """
        if np.isfinite(high).all() and offset + float(np.minimum(slope * low, slope * high).sum()) > 0:
            return math.inf, None
        count = len(slope)
        length = float(np.abs(slope).max()) or 1.0
        limits = np.concatenate([[-offset / length], high, -low])
        binding = _Binding(self.covariance)
        bound, point = 0.0, np.zeros(count)
        for _ in range(4 * count + 8):
            excess = np.concatenate([[float(slope @ point) / length], point, -point]) - limits
            worst = int(np.argmax(excess))
            if excess[worst] <= 1e-12 * (1 + abs(limits[worst])):
                break
            row = np.zeros(count)
            if worst == 0:
                row = slope / length
            else:
                row[(worst - 1) % count] = 1.0 if worst <= count else -1.0
            distance, point = binding.add(row, float(limits[worst]))
            bound = max(bound, distance)
            if bound >= limit:
                return bound, None
        return bound, point


class _Binding:
    """The constraints that bind at the nearest point, with their multipliers."""

    def __init__(self, covariance: Floats) -> None:
        self.covariance = covariance
        self.rows = np.zeros((0, len(covariance)))
        self.limits, self.weights = np.zeros(0), np.zeros(0)

    def add(self, row: Floats, limit: float) -> tuple[float, Floats]:
        """(a bound of the distance, the nearest point) with one more constraint, measured in its own deviation."""
        size = math.sqrt(max(0.0, float(row @ self.covariance @ row))) or 1.0
        self.rows = np.vstack([self.rows, row / size])
        self.limits = np.append(self.limits, limit / size)
        self.weights = np.append(self.weights, 0.0)
        kernel = self.rows @ self.covariance @ self.rows.T
        for _ in range(len(self.limits)):
            found = np.linalg.lstsq(kernel, -self.limits, rcond=None)[0]
            off = -self.limits - kernel @ found
            # where no point meets them all, multipliers grow for ever along what cannot be met
            solved = np.abs(off).max() <= _TIGHT * np.abs(self.limits).max()
            way, end = (found - self.weights, 1.0) if solved else (off, math.inf)
            falls = way < 0
            steps = np.where(falls, self.weights / np.where(falls, -way, 1.0), math.inf)
            step = min(end, float(steps.min()))
            self.weights = self.weights + way * (step if math.isfinite(step) else 1e9)
            if step == end:
                break
            stay = steps > step
            self.rows, self.limits, self.weights = self.rows[stay], self.limits[stay], self.weights[stay]
            kernel = kernel[np.ix_(stay, stay)]
        # at the best length of the multipliers: their gain over the deviation of their sum
        gain, spread = -float(self.limits @ self.weights), float(self.weights @ kernel @ self.weights)
        if gain <= 0:
            return 0.0, np.zeros(len(self.covariance))
        if spread <= 0:
            return math.inf, np.zeros(len(self.covariance))
        point = -self.covariance @ (self.rows.T @ self.weights)
        return gain / math.sqrt(spread), point * (gain / spread)


# the answer -----------------------------------------------------------------------------------------------------------


def _found(
    kind: Literal["move", "already"],
    exact: Prepared,
    pool: str,
    drivers: list[str],
    move: Floats,
    distance: float,
    bound: float,
    covariance: Covariance,
    examined: int,
    notes: tuple[str, ...],
) -> ReverseStress:
    """The answer with the judge's own headroom at the move."""
    moves = {coin: rounded(float(share)) for coin, share in zip(drivers, move, strict=True)}
    market = moved(exact, Applied(moves, {}, ()))
    there = evaluate(exact.account, market, exact.rules, explain=False)
    row = next(row for row in there.pools if row.name == pool)
    return ReverseStress(
        kind=kind,
        pool=pool,
        currency=row.currency,
        distance=rounded(distance),
        certified_bound=rounded(bound),
        proved=bound >= distance * (1 - _TIGHT),
        moves=moves,
        words=_words(drivers, move, np.sqrt(np.diag(covariance.of(drivers)))),
        headroom=row.headroom,
        examined=examined,
        notes=notes,
    )


def rounded(value: float) -> Decimal:
    """A float as a decimal of twelve digits: what is sure of it."""
    with localcontext(CONTEXT):
        return Decimal(f"{value:.12g}")


def _words(drivers: list[str], found: Floats, deviation: Floats) -> str:
    """The move in words, the coin that goes furthest for its own volatility first."""
    share = np.abs(found) / np.where(deviation > 0, deviation, 1.0)
    order: Any = np.argsort(-np.round(share, 9), kind="stable")  # equals keep the order of the account
    return ", ".join(f"{drivers[i]} {found[i] * 100:+.1f} %" for i in order)
