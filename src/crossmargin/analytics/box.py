"""What is the worst that shocks within these bounds can do?

Each coin may move anywhere between its bounds, independently. Headroom is a sum of functions of one coin each
(:mod:`crossmargin.engine.curves`), and the minimum of a sum of such functions is the sum of their minima, so no corner
is enumerated: 500 coins are 500 small searches along one line. Where a collateral rule couples coins (a haircut on the
sum of PnL), headroom is the smallest of its concave pieces, and each piece is such a sum. The answer carries its
certificate: a bound that nothing in the box is below, and the judge's own headroom at the point found.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, localcontext
from itertools import pairwise, product
from typing import Any, NamedTuple

from crossmargin.analytics.stress import Applied, applied, moved
from crossmargin.analytics.threshold import coins_of, is_priced
from crossmargin.engine.curves import Anatomy, Coupled, Function, Stretch, anatomy, walk
from crossmargin.engine.pool import Prepared
from crossmargin.engine.prepare import prepare
from crossmargin.engine.ray import turning_points
from crossmargin.engine.reference import PoolState, measure
from crossmargin.engine.reporting import evaluate
from crossmargin.errors import AccountError, Fault, UnsupportedRule
from crossmargin.model.account import Account
from crossmargin.model.market import Market
from crossmargin.model.number import CONTEXT
from crossmargin.model.profile import Rules
from crossmargin.model.report import Verdict
from crossmargin.model.scenario import Scenario

Num = Any
Bounds = Mapping[str, tuple[Decimal, Decimal]]
_MAX_CASES = 4096
_NUDGE = Decimal("1e-18")


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolWorst:
    """The worst of one pool, in ``currency``: headroom at ``moves``, and the proof.

    ``bound``: no point of the box has less headroom. ``gap`` = headroom - bound: 0 when the bound is attained (at a
    jump of the rules it is approached from one side, and the gap says how nearly). ``examined``: how many points of
    single coins were compared; ``corners``: how many corners the box has.
    """

    pool: str
    currency: str
    moves: dict[str, Decimal]
    headroom: Decimal
    status: Verdict
    bound: Decimal
    gap: Decimal
    examined: int
    corners: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WorstInBox:
    """The worst of every pool over a box. ``safe``: no pool is liquidated anywhere in it, by its bound."""

    safe: bool
    pools: tuple[PoolWorst, ...]
    notes: tuple[str, ...]


def worst_in_box(account: Account, market: Market, rules: Rules, *, bounds: Bounds) -> WorstInBox:
    """The least headroom of each pool while every coin moves anywhere between its bounds, with its certificate.

    ``bounds``: coin -> (low, high) as fractions, both above -1; a coin without bounds stands still, with a note.
    Raises :class:`AccountError` for bounds that are not in order or name an unknown coin, :class:`UnsupportedRule`
    where the rules couple coins in a way whose minimum is not at an end of a piece.
    """
    _check(bounds)
    prepared = prepare(account, market, rules)
    notes = applied(prepared, Scenario(name="box", moves={coin: low for coin, (low, _) in bounds.items()})).notes
    with localcontext(CONTEXT):
        found = tuple(_worst(prepared, state, bounds) for state in map(measure, prepared.pools))
    return WorstInBox(
        safe=all(row.status != "liquidation" and row.bound > 0 for row in found), pools=found, notes=notes
    )


def _check(bounds: Bounds) -> None:
    faults = [
        Fault(f"bounds.{coin}", f"{low}, {high}", "must be (low, high) with -1 < low <= high, as fractions")
        for coin, (low, high) in bounds.items()
        if not -1 < low <= high
    ]
    if faults or not bounds:
        raise AccountError("box of shocks", faults or (Fault("bounds", "", "is empty; give coin -> (low, high)"),))


def coordinates(state: PoolState, reference: str, coins: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, str]]:
    """Which coin moves each contract and each index price of a pool, for the coins given."""
    marks = {
        exposure.symbol.name: exposure.symbol.base
        for own in state.assets
        for exposure, _, _ in own.exposures
        if exposure.symbol.base in coins
    }
    rates = {own.asset.name: own.asset.name for own in state.assets if own.asset.name in coins}
    rates.pop(reference, None)
    return marks, rates if is_priced(state.pool) else {}


# one pool -------------------------------------------------------------------------------------------------------------


class Least(NamedTuple):
    """The least value found, where, and how many points were compared."""

    value: Num
    moves: dict[str, Decimal]
    examined: int


def _worst(prepared: Prepared, state: PoolState, bounds: Bounds) -> PoolWorst:
    pool = state.pool
    parts = anatomy(state, *coordinates(state, prepared.rules.reference_currency, bounds))
    found = least(parts, bounds)
    moves = {coin: found.moves.get(coin, Decimal(0)) for coin in coins_of(prepared)}
    there = evaluate(prepared.account, moved(prepared, Applied(moves, {}, ())), prepared.rules, explain=False)
    row = next(row for row in there.pools if row.name == pool.name)
    return PoolWorst(
        pool=pool.name,
        currency=pool.currency,
        moves=moves,
        headroom=row.headroom,
        status=row.status,
        bound=found.value,
        gap=row.headroom - found.value,
        examined=found.examined,
        corners=2 ** len({single.name for single in parts.singles} | {n for c in parts.coupled for n in _names(c)}),
    )


def _names(part: Coupled) -> set[str]:
    return set(part.contracts) | ({part.price} if part.price else set())


def least(parts: Anatomy, bounds: Bounds) -> Least:
    """The least of all cases: a piece of every coupled asset, an end of every price that is a factor."""
    prices = sorted({part.price for part in parts.coupled if part.price is not None})
    _refuse(parts, prices)
    pieces = [_pieces(part, bounds) for part in parts.coupled]
    ends = [bounds[price] for price in prices]
    cases = 1
    for choice in (*pieces, *ends):
        cases *= len(choice)
    if cases > _MAX_CASES:
        raise UnsupportedRule("box of shocks", f"{cases} pieces of collateral rules; narrow the bounds")
    best: Least | None = None
    examined = 0
    for chosen in product(*pieces):
        for corner in product(*ends):
            found = _case(parts, chosen, dict(zip(prices, corner, strict=True)), bounds)
            examined += found.examined
            if best is None or found.value < best.value:
                best = found
    assert best is not None  # a product of nothing is one case
    return best._replace(examined=examined)


def _refuse(parts: Anatomy, prices: list[str]) -> None:
    """A price that is a factor takes its ends only if all else that depends on it is concave."""
    for price in prices:
        others = any(single.name == price for single in parts.singles)
        others = others or any(price in part.contracts for part in parts.coupled)
        if others and not parts.pool.concave:
            raise UnsupportedRule(
                f"the price of {price}", "other terms of headroom that it moves are not concave; narrow the bounds"
            )


def _pieces(part: Coupled, bounds: Bounds) -> list[Stretch]:
    """The stretches of what PnL counts for that PnL can reach in the box; concave, so headroom is their least."""
    one = part.keep * 0 + 1
    low = high = part.still_pnl
    for name, exposures in part.contracts.items():
        only_pnl = part._replace(keep=part.keep * 0, contracts={name: exposures}).on(name, one, one)
        negated = part._replace(keep=part.keep * 0, contracts={name: exposures}).on(name, -one, one)
        low = low + _along(only_pnl, *bounds[name])[0]
        high = high - _along(negated, *bounds[name])[0]
    found = walk(part.outer, low, high, 1)
    slopes = [stretch.ray.b for stretch in found]
    if any(later > earlier for earlier, later in pairwise(slopes)):
        raise UnsupportedRule("box of shocks", "a collateral rule counts more PnL for more; its pieces are not concave")
    return found


def _case(parts: Anatomy, chosen: tuple[Stretch, ...], corner: Mapping[str, Num], bounds: Bounds) -> Least:
    """One case: headroom is a sum over coins, so its minimum is the sum of the minima."""
    total, examined = parts.still, 0
    terms: dict[str, list[Function]] = {}
    for single in parts.singles:
        terms.setdefault(single.name, []).append(single.function)
    for part, piece in zip(parts.coupled, chosen, strict=True):
        factor = 1 + corner[part.price] if part.price is not None else parts.still * 0 + 1
        slope = piece.ray.b
        total = total + factor * (piece.ray.a + slope * part.still_pnl - part.keep * part.still_maintenance)
        for name in part.contracts:
            terms.setdefault(name, []).append(part.on(name, slope, factor))
    moves: dict[str, Decimal] = dict(corner)
    for name, functions in terms.items():
        low, high = (corner[name],) * 2 if name in corner else bounds[name]
        value, point, count = _along(added(functions), low, high)
        total, examined = total + value, examined + count
        moves[name] = point
    return Least(total, moves, examined)


def added(functions: list[Function]) -> Function:
    """Several functions of one coin as one: each is asked on its own line, and the nearest kink of any holds."""
    if len(functions) == 1:
        return functions[0]

    def function(point: Num, direction: int) -> Any:
        rays = [own(point, direction) for own in functions]
        total = rays[0]
        for ray in rays[1:]:
            for kink in (ray.line.low, ray.line.high):
                if kink is not None:
                    total.line.kink(kink)
            total = total + ray
        return total

    return function


def _along(function: Function, low: Num, high: Num) -> tuple[Num, Num, int]:
    """(least value, where, points compared) of a function of one coin between two bounds."""
    if low == high:
        return function(low, 1).at(low), low, 1
    best: tuple[Num, Num] | None = None
    examined = 0
    for start, end, ray in walk(function, low, high, 1):
        last = high if end is None else end
        inside = [point for point in turning_points(ray) if start < point < last]
        for point in (start, *inside, last):
            value = ray.at(point)
            examined += 1
            if best is None or value < best[0]:
                # a jump is approached, not reached: stay on the side where the formula holds
                step = _NUDGE if point == start and start > low else -_NUDGE if point == last and last < high else 0
                best = value, point + step
    assert best is not None  # a walk has at least one stretch
    return best[0], best[1], examined
