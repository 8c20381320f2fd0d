"""At what price is this account liquidated?

Headroom along a line of prices is a chain of formulas joined at kinks (brackets, collateral tiers, sign changes). The
judge, run on rays, gives the formula and the stretch on which it holds. Where the profile keeps headroom concave there
is at most one root a side, and Newton from the losing end finds it exactly in a few steps; elsewhere every stretch is
walked from here outward until one holds a root or a jump below zero.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal, localcontext
from typing import Any, Literal, NamedTuple

from crossmargin.engine.path import Path
from crossmargin.engine.pool import Pool, Prepared
from crossmargin.engine.prepare import prepare
from crossmargin.engine.ray import first_fall
from crossmargin.engine.reference import PoolState, measure
from crossmargin.errors import AccountError, Fault, UnsupportedRule
from crossmargin.model.account import Account
from crossmargin.model.instrument import CASH
from crossmargin.model.market import Market
from crossmargin.model.number import CONTEXT
from crossmargin.model.profile import Rules
from crossmargin.model.report import Crossing, ShockThreshold, Threshold, Thresholds

Num = Any
Convention = Literal["coin", "frozen"]
_MAX_PIECES = 200_000


class _Domain(NamedTuple):
    """The open range of ``s`` in which every moving price stays positive; None = unbounded."""

    low: Num | None
    high: Num | None


# public questions -----------------------------------------------------------------------------------------------------


def threshold(account: Account, market: Market, rules: Rules, *, convention: Convention = "coin") -> Thresholds:
    """Every price at which a pool of the account is liquidated, both sides, exactly, and the common shock.

    ``convention="coin"``: every contract on the coin and the coin as collateral move together, as they do.
    ``"frozen"``: only that contract's own mark moves, the convention of the figure most venues print. A side is a
    ``price``, ``never``, ``already`` or ``unknown`` with its reason. Raises as :func:`crossmargin.evaluate` does.
    """
    return thresholds_of(prepare(account, market, rules), convention=convention)


def threshold_along(
    account: Account, market: Market, rules: Rules, direction: Mapping[str, Decimal], *, convention: Convention = "coin"
) -> ShockThreshold:
    """Where the account is liquidated when several coins move together.

    ``direction`` maps coins to multiples of the move: ``{"BTC": 1, "ETH": 1.5}`` asks at which BTC move, with ETH
    moving half as far again, the first pool breaks. ``distance`` is the move of weight 1. Raises
    :class:`AccountError` for a coin that is not held or traded, or where no weight differs from 0.
    """
    known = set(coins_of(prepared := prepare(account, market, rules)))
    unknown = [coin for coin in direction if coin not in known]
    if unknown:
        why = f"is not held or traded here; known are {', '.join(sorted(known))}"
        raise AccountError("direction", [Fault(f"direction.{coin}", str(direction[coin]), why) for coin in unknown])
    if not any(direction.values()):
        raise AccountError("direction", (Fault("direction", "", "moves nothing; give a coin a weight other than 0"),))
    words = ", ".join(f"{coin} x {weight}" for coin, weight in direction.items())
    weights = {coin: prepared.number(weight) for coin, weight in direction.items()}
    with localcontext(CONTEXT):
        states = [measure(pool) for pool in prepared.pools]
        return _shock(states, weights, words, convention, explain=True)


def thresholds_of(prepared: Prepared, *, convention: Convention = "coin", explain: bool = True) -> Thresholds:
    """The same for a prepared account, in its number type; ``explain=False`` leaves the binding rules out."""
    with localcontext(CONTEXT):
        states = [measure(pool) for pool in prepared.pools]
        found = tuple(row for state in states for row in _pool_thresholds(state, convention, explain=explain))
        shock = _common_shock(prepared, states, convention, explain=explain)
    return Thresholds(convention=convention, thresholds=found, common_shock=shock)


def common_shock_of(prepared: Prepared, *, convention: Convention = "coin", explain: bool = True) -> ShockThreshold:
    """The common shock of a prepared account alone: one line instead of one for each coin."""
    with localcontext(CONTEXT):
        return _common_shock(prepared, [measure(pool) for pool in prepared.pools], convention, explain=explain)


def _common_shock(
    prepared: Prepared, states: list[PoolState], convention: Convention, *, explain: bool
) -> ShockThreshold:
    one = prepared.number(1)
    moves = {coin: one for coin in coins_of(prepared) if coin not in CASH}
    return _shock(states, moves, "all coins together", convention, explain=explain)


def crossings_of(state: PoolState, marks: Mapping[str, Num], rates: Mapping[str, Num]) -> tuple[Crossing, Crossing]:
    """Where one pool breaks, down and up, as these prices move together: ``distance`` is the move of weight 1.

    ``marks``: symbol -> weight; ``rates``: asset -> weight of its index price. Under the context of
    :mod:`crossmargin.model.number`.
    """
    found = _sides(state, Path(state, marks, rates), {**marks, **rates})
    below, above = (Crossing(kind=side.kind, distance=side.point, reason=side.reason) for side in found)
    return below, above


# one pool, one line ---------------------------------------------------------------------------------------------------


def coins_of(prepared: Prepared) -> list[str]:
    """Every coin whose price can move the account: bases of contracts and assets held."""
    found: dict[str, None] = {}
    for pool in prepared.pools:
        for asset in pool.assets:
            for exposure in asset.exposures:
                found[exposure.symbol.base] = None
            if is_priced(pool) and asset.name != pool.currency:
                found[asset.name] = None
    return list(found)


def is_priced(pool: Pool) -> bool:
    """Whether the pool values its assets in another currency, so that an asset's own price matters."""
    return any(asset.name != pool.currency for asset in pool.assets)


def _path(state: PoolState, coins: Mapping[str, Num], convention: Convention) -> Path:
    """The line on which coins move by their weights: contracts on them, and (unless frozen) the coins as collateral."""
    marks = {
        exposure.symbol.name: coins[exposure.symbol.base]
        for own in state.assets
        for exposure, _, _ in own.exposures
        if exposure.symbol.base in coins
    }
    rates = coins if convention == "coin" and is_priced(state.pool) else {}
    return Path(state, marks, rates)


def _pool_thresholds(state: PoolState, convention: Convention, *, explain: bool) -> Iterator[Threshold]:
    """A row for each contract of the pool, then for each asset whose price matters and that no contract stands for."""
    pool = state.pool
    one = state.headroom * 0 + 1
    traded: set[str] = set()
    exposures = [exposure for own in state.assets for exposure, _, _ in own.exposures]
    cache: dict[str, tuple[Path, tuple[_Found, _Found]]] = {}
    for exposure in exposures:
        symbol = exposure.symbol
        traded.add(symbol.base)
        if convention == "frozen":
            path = Path(state, {symbol.name: one}, {})
            sides = _sides(state, path, {symbol.name: one})
        elif symbol.base in cache:
            path, sides = cache[symbol.base]
        else:
            path = _path(state, {symbol.base: one}, convention)
            sides = _sides(state, path, {symbol.base: one})
            cache[symbol.base] = path, sides
        below, above = (_crossing(found, exposure.mark, state, symbol.base, explain=explain) for found in sides)
        yield Threshold(symbol=symbol.name, pool=pool.name, price_now=exposure.mark, below=below, above=above)
    if not is_priced(pool) or convention == "frozen":
        return
    for own in state.assets:
        asset = own.asset
        held = asset.cash or own.exposures
        if asset.name in traded or asset.name == pool.currency or not held:
            continue
        sides = _sides(state, _path(state, {asset.name: one}, convention), {asset.name: one})
        below, above = (_crossing(found, asset.price, state, asset.name, explain=explain) for found in sides)
        yield Threshold(symbol=asset.name, pool=pool.name, price_now=asset.price, below=below, above=above)


class _Found(NamedTuple):
    """One side of one line: the kind, the parameter at the root, and why where it is unknown."""

    kind: Literal["price", "never", "already", "unknown"]
    point: Num = None
    reason: str | None = None


_NEVER = _Found("never")
_ALREADY = _Found("already")


def _sides(state: PoolState, path: Path, weights: Mapping[str, Num]) -> tuple[_Found, _Found]:
    """Where headroom crosses zero below and above the present prices."""
    if state.liquidatable:
        return _ALREADY, _ALREADY
    if not path.moves:
        return _NEVER, _NEVER
    domain = _domain(weights)
    return _side(path, domain, -1), _side(path, domain, 1)


def _domain(weights: Mapping[str, Num]) -> _Domain:
    up = [weight for weight in weights.values() if weight > 0]
    down = [weight for weight in weights.values() if weight < 0]
    return _Domain(-1 / max(up) if up else None, -1 / min(down) if down else None)


def _side(path: Path, domain: _Domain, direction: int) -> _Found:
    end = domain.low if direction < 0 else domain.high
    try:
        if path.pool.concave:
            found = _newton(path, end, direction)
            if found is not None:
                return found
        return _walk(path, end, direction)
    except UnsupportedRule as rule:
        return _Found("unknown", reason=str(rule))


def _newton(path: Path, end: Num | None, direction: int) -> _Found | None:
    """The one root of a concave headroom on a side, from the losing end; None where a stretch is not straight.

    A tangent of a concave function lies above it, so its root lies on the losing side of the true one or on it; the
    next tangent is taken there. Brackets are finitely many, so the steps are too: it ends when a stretch repeats.
    """
    exact = isinstance(path.still, Decimal)
    tiny, huge = (Decimal("1e-18"), Decimal("1e18")) if exact else (1e-12, 1e12)
    point = end - end * tiny if end is not None else huge * direction
    ray = path.headroom(point, -direction, track=False)
    if ray.extra is not None:
        return None
    if ray.a + ray.b * point >= 0:
        beyond = -ray.a / ray.b if ray.b else None
        if beyond is None or (beyond - point) * direction <= 0 or (end is not None and (beyond - end) * direction >= 0):
            return _NEVER
        return _Found("price", beyond)
    for _ in range(_MAX_PIECES):
        root = -ray.a / ray.b
        following = path.headroom(root, -direction, track=False)
        if following.extra is not None:
            return None
        if (following.a == ray.a and following.b == ray.b) or root == point:
            return _Found("price", root)
        point, ray = root, following
        if ray.a + ray.b * point >= 0:  # rounding has met the root
            return _Found("price", root)
    return _Found("unknown", reason="the walk did not end")


def _walk(path: Path, end: Num | None, direction: int) -> _Found:
    """The nearest root or jump below zero, from the present prices outward."""
    point = first_fall(path.headroom, path.still * 0, end, direction)
    return _NEVER if point is None else _Found("price", point)


# words ----------------------------------------------------------------------------------------------------------------


def _crossing(found: _Found, price: Num, state: PoolState, coin: str, *, explain: bool) -> Crossing:
    if found.kind != "price":
        return Crossing(kind=found.kind, reason=found.reason)
    at = price * (1 + found.point)
    binding = _binding(state, {coin: found.point}) if explain else None
    return Crossing(kind="price", price=at, distance=found.point, binding=binding)


def _binding(state: PoolState, moves: Mapping[str, Num]) -> str:
    """The rules that hold at the crossing: the brackets of what moved, and the level."""
    level = state.pool.slots.levels.ladder[-1]
    words = [f"{level.name} of {state.pool.name}"]
    for own in state.assets:
        for exposure, _, _ in own.exposures:
            if exposure.symbol.base not in moves:
                continue
            mark = exposure.mark * (1 + moves[exposure.symbol.base])
            steps = exposure.steps
            for size in exposure.sizes:
                if steps is None or state.pool.slots.maintenance_margin.key != "notional" or not mark:
                    continue
                row = steps.find(exposure.notional(size, mark))
                words.append(f"{exposure.symbol.name} in bracket {row + 1} at rate {_shown(steps.rates[row])}")
    return ", ".join(words[:4]) + (f" and {len(words) - 4} more" if len(words) > 4 else "")


def _shown(rate: Num) -> str:
    return f"{float(rate):.6g}"


def _shock(
    states: list[PoolState], weights: Mapping[str, Num], words: str, convention: Convention, *, explain: bool
) -> ShockThreshold:
    """The nearest crossing over all pools; a pool that is unknown makes the side unknown."""
    by_pool = [(state, _sides(state, _path(state, weights, convention), weights)) for state in states if weights]
    sides = []
    nearest_pool: str | None = None
    nearest: Num = None
    for side in (0, 1):
        found = [(state, sides_of[side]) for state, sides_of in by_pool]
        kind, pool = _first(found)
        if pool is not None and kind.kind == "price" and (nearest is None or abs(kind.point) < nearest):
            nearest, nearest_pool = abs(kind.point), pool.pool.name
        if kind.kind != "price" or pool is None:
            nearest_pool = pool.pool.name if kind.kind == "already" and pool else nearest_pool
            sides.append(Crossing(kind=kind.kind, reason=kind.reason))
            continue
        moves = {coin: kind.point * weight for coin, weight in weights.items()}
        sides.append(Crossing(kind="price", distance=kind.point, binding=_binding(pool, moves) if explain else None))
    return ShockThreshold(direction=words, pool=nearest_pool, below=sides[0], above=sides[1])


def _first(found: list[tuple[PoolState, _Found]]) -> tuple[_Found, PoolState | None]:
    for kind in ("already", "unknown"):
        for state, side in found:
            if side.kind == kind:
                return side, state
    priced = [(state, side) for state, side in found if side.kind == "price"]
    if not priced:
        return _NEVER, None
    state, side = min(priced, key=lambda pair: abs(pair[1].point))
    return side, state
