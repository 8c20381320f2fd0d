"""How likely is the account to be liquidated within a horizon?

The market is a correlated Brownian motion of relative moves with the covariance given, no drift; with heavy tails its
variance over the whole horizon is itself drawn, so that moves are multivariate Student-t of the same covariance.
Liquidation is touching zero headroom at any time, not only at the end: between two instants of a path the chance of
having touched is that of a Brownian bridge.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext

import numpy as np
from numpy.typing import NDArray

from crossmargin.analytics.compiled import Compiled, compile_scenarios
from crossmargin.analytics.covariance import Covariance
from crossmargin.analytics.reverse_stress import ReverseStress, drivers_of, reverse_stress, rounded
from crossmargin.analytics.threshold import threshold_along
from crossmargin.engine.prepare import prepare
from crossmargin.errors import AccountError, Fault, UnsupportedRule
from crossmargin.model.account import Account
from crossmargin.model.market import Market
from crossmargin.model.number import CONTEXT
from crossmargin.model.profile import Rules

Floats = NDArray[np.float64]
_STEPS = 24
_PATHS = 20_000
_WIDE = 1.959963984540054  # the normal quantile of a 95 % interval


@dataclass(frozen=True, slots=True, kw_only=True)
class LiquidationProbability:
    """The chance that any pool is liquidated within ``horizon_days``.

    ``method``: ``exact`` (one driver, normal moves) or ``simulated``; ``low`` and ``high`` bound a 95 % confidence
    interval of a simulation, and equal ``probability`` where it is exact. ``nearest``: the chance of crossing the
    straight boundary through the nearest liquidating move alone, normal moves, 2 N(-distance / sqrt(days)); less than
    the whole where several moves kill, None where no move was found. ``degrees_of_freedom`` None = normal moves.
    """

    horizon_days: Decimal
    probability: Decimal
    low: Decimal
    high: Decimal
    nearest: Decimal | None
    method: str
    degrees_of_freedom: Decimal | None
    paths: int | None
    seed: int | None
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NearestChance:
    """The chance of touching, within so many ``days``, the straight boundary through the nearest liquidating move.

    Normal moves; less than the chance of liquidation where other moves kill too.
    """

    days: tuple[Decimal, ...]
    probability: tuple[Decimal, ...]


HORIZONS = tuple(Decimal(day) for day in (*range(1, 14), *range(14, 30, 2), *range(30, 91, 5)))
"""Days of the curve that :func:`nearest_chance` gives."""


def nearest_chance(found: ReverseStress, days: Sequence[Decimal] = HORIZONS) -> NearestChance | None:
    """2 N(-distance / sqrt(days)) for each horizon, by the reflection principle; None where no move was found.

    Needs no simulation. Where headroom is concave it is no more than the true chance: what lies beyond the boundary
    through the nearest move liquidates. Raises :class:`AccountError` for a horizon that is not above 0.
    """
    for day in days:
        _check(day, None, _PATHS)
    if found.distance is None:
        return None
    chance = tuple(rounded(_touched(float(found.distance), float(day))) for day in days)
    return NearestChance(days=tuple(days), probability=chance)


def liquidation_probability(
    account: Account,
    market: Market,
    rules: Rules,
    covariance: Covariance,
    *,
    horizon_days: Decimal,
    degrees_of_freedom: Decimal | None = None,
    paths: int = _PATHS,
    seed: int = 0,
) -> LiquidationProbability:
    """The probability of touching zero headroom within a horizon, with its confidence interval.

    ``covariance``: daily, of relative moves. ``degrees_of_freedom``: above 2; None = normal. One driver with normal
    moves is exact: the chance that a Brownian motion leaves the interval between its two thresholds (reflection
    principle, Borodin and Salminen, Handbook of Brownian Motion, 1.3.0.2). Else ``paths`` paths from NumPy's
    generator with ``seed``. Raises :class:`AccountError` for a horizon, degrees of freedom or paths out of range,
    and as :func:`~crossmargin.analytics.reverse_stress.reverse_stress` does.
    """
    _check(horizon_days, degrees_of_freedom, paths)
    nearest = reverse_stress(account, market, rules, covariance)
    prepared = prepare(account, market, rules, number=float)
    drivers, notes = drivers_of(prepared, covariance)
    matrix, days = covariance.of(drivers), float(horizon_days)
    method, chance, error = "simulated", 1.0, 0.0
    if nearest.kind == "already":
        method = "exact"
    elif len(drivers) == 1 and degrees_of_freedom is None:
        method = "exact"
        with localcontext(CONTEXT):
            found = threshold_along(account, market, rules, {drivers[0]: Decimal(1)})
        unknown = [side.reason for side in (found.below, found.above) if side.kind == "unknown"]
        if unknown:
            raise UnsupportedRule("liquidation probability", f"a threshold is unknown: {unknown[0]}")
        below, above = (
            abs(float(side.distance)) if side.distance is not None else math.inf for side in (found.below, found.above)
        )
        chance = exit_probability(below, above, math.sqrt(float(matrix[0, 0]) * days))
    else:
        compiled = compile_scenarios(prepared, coins=drivers)
        where = np.array([float(nearest.moves.get(coin, Decimal(0))) for coin in drivers])
        touched = _simulate(compiled, where, matrix, days, degrees_of_freedom, paths, seed)
        chance = float(touched.mean())
        error = _WIDE * float(touched.std()) / math.sqrt(paths)
        if chance < 1 / paths:
            error = 3 / paths  # the rule of three: what no path has done may still be done by one in so many
            notes += (f"too rare for {paths} paths: the interval is the answer, not its middle",)
    distance = None if nearest.distance is None else float(nearest.distance)
    return LiquidationProbability(
        horizon_days=horizon_days,
        probability=rounded(chance),
        low=rounded(max(0.0, chance - error)),
        high=rounded(min(1.0, chance + error)),
        nearest=None if distance is None else rounded(_touched(distance, days)),
        method=method,
        degrees_of_freedom=degrees_of_freedom,
        paths=paths if method == "simulated" else None,
        seed=seed if method == "simulated" else None,
        notes=notes,
    )


def _check(horizon_days: Decimal, degrees_of_freedom: Decimal | None, paths: int) -> None:
    faults = []
    if not 0 < horizon_days <= 3650:
        faults.append(Fault("horizon_days", str(horizon_days), "must be above 0 and at most 3650 days"))
    if degrees_of_freedom is not None and not 2 < degrees_of_freedom <= 1000:
        why = "must be above 2, else the moves have no covariance, and at most 1000; leave it out for normal moves"
        faults.append(Fault("degrees_of_freedom", str(degrees_of_freedom), why))
    if not 100 <= paths <= 10_000_000:
        faults.append(Fault("paths", str(paths), "must be from 100 to 10,000,000"))
    if faults:
        raise AccountError("liquidation probability", faults)


def _touched(distance: float, days: float) -> float:
    """The chance that a driftless Brownian motion touches a plane so many daily deviations away."""
    return 2 * _normal(-distance / math.sqrt(days))


def _normal(value: float) -> float:
    """The standard normal distribution function."""
    return 0.5 * math.erfc(-value / math.sqrt(2))


def exit_probability(below: float, above: float, deviation: float) -> float:
    """The chance that a driftless Brownian motion of this deviation at the end has left (-below, above) by then.

    One barrier: 2 N(-barrier / deviation). Two: one minus the sum over images,
    sum_n N(b - 2nL) - N(-a - 2nL) - N(-b + 2nL) + N(-a - 2b + 2nL), L = a + b, in units of the deviation.

    >>> round(exit_probability(1.0, math.inf, 1.0), 6)
    0.317311
    """
    if deviation <= 0:
        return 0.0
    a, b = below / deviation, above / deviation
    if math.isinf(a) or math.isinf(b):
        return min(1.0, 2 * _normal(-min(a, b)))
    width = a + b
    stays = 0.0
    images = 3 + math.ceil(8 / width)
    for n in range(-images, images + 1):
        shift = 2 * n * width
        stays += _normal(b - shift) - _normal(-a - shift) - _normal(shift - b) + _normal(shift - a - 2 * b)
    return min(1.0, max(0.0, 1 - stays))


def _simulate(
    compiled: Compiled,
    where: Floats,
    covariance: Floats,
    days: float,
    degrees_of_freedom: Decimal | None,
    paths: int,
    seed: int,
) -> Floats:
    """For each path the chance that it has touched zero headroom."""
    random = np.random.default_rng(seed)
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.maximum(values, 0.0))  # a covariance may be singular, which Cholesky refuses
    variance = np.full(paths, days / _STEPS)
    if degrees_of_freedom is not None:
        freedom = float(degrees_of_freedom)
        variance *= (freedom - 2) / random.chisquare(freedom, paths)
    slopes = _slopes(compiled, where)
    local = np.einsum("pi,ij,pj->p", slopes, covariance, slopes)
    moves = np.zeros((paths, len(where)))
    before = compiled(moves[:1])
    stands = np.ones(paths)
    for _ in range(_STEPS):
        moves += (random.standard_normal((paths, len(where))) @ root.T) * np.sqrt(variance)[:, np.newaxis]
        np.maximum(moves, -1 + 1e-9, out=moves)  # a price that would fall to nothing stays there
        after = compiled(moves)
        exponent = -2 * before * after / np.maximum(np.outer(variance, local), 1e-300)
        crossed = np.where((before <= 0) | (after <= 0), 1.0, np.exp(np.minimum(exponent, 0.0)))
        stands *= np.prod(1 - crossed, axis=1)
        before = after
    return 1 - stands


def _slopes(compiled: Compiled, where: Floats) -> Floats:
    """The slope of each pool's headroom near the nearest liquidating move, where touching is decided."""
    step = 1e-6
    around = np.maximum(where, -1 + 3 * step) + step * np.vstack([np.eye(len(where)), -np.eye(len(where))])
    rooms = compiled(around)
    return (rooms[: len(where)] - rooms[len(where) :]).T / (2 * step)
