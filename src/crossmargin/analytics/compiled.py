"""How does one account stand in a hundred thousand scenarios?

Headroom taken apart into functions of one coin (:mod:`crossmargin.engine.curves`) is, around the present prices, a
constant plus a weight for each coin: one matrix product for all scenarios. What a bracket, a collateral tier or an
inverse contract bends is added as vector terms, and only where a block of scenarios reaches the bend. The coefficients
are read off the judge; no rule is stated here.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import localcontext
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.analytics.box import coordinates
from crossmargin.analytics.threshold import coins_of, is_priced
from crossmargin.engine.curves import Anatomy, Coupled, Function, anatomy, walk
from crossmargin.engine.pool import Prepared
from crossmargin.engine.ray import Ray
from crossmargin.engine.reference import PoolState, measure
from crossmargin.errors import AccountError, Fault
from crossmargin.model.number import CONTEXT

Floats = NDArray[np.float64]
INDEX = "@index"
"""The suffix of a column that moves only an asset's own index price."""
_BLOCK = 512  # rows at a time: the block is read from memory once, and its bends are looked for while it is near


@dataclass(frozen=True, slots=True)
class _Bends:
    """Terms that hold beyond a kink of one column: ``a + b x + c x^2 + r / (1 + d x)``, each for one output."""

    column: NDArray[np.intp]
    kink: Floats
    side: Floats
    a: Floats
    b: Floats
    c: Floats
    d: Floats
    r: Floats
    target: Floats
    """One row a term, one column an output: 1 where the term belongs."""


@dataclass(frozen=True, slots=True)
class _Ramps:
    """The common bend on one side of the present prices, a straight piece joined to the next, nearest kink first.

    Beyond its kink the difference x - kink times ``slopes`` (one row a ramp, one column an output) is added.
    """

    column: NDArray[np.intp]
    kink: Floats
    slopes: Floats
    distance: Floats

    def add(self, block: Floats, reach: float, cut: np.ufunc, sums: Floats) -> None:
        """Add the ramps nearer than ``reach``; ``cut`` (maximum or minimum with the kink) leaves those beyond it."""
        count = int(np.searchsorted(self.distance, reach))
        if count:
            # max(move, kink) - kink, with the constant part taken off the sums: one pass over the block less
            beyond = block.take(self.column[:count], axis=1)
            cut(beyond, self.kink[:count], out=beyond)
            sums += beyond @ self.slopes[:count]
            sums -= self.kink[:count] @ self.slopes[:count]


@dataclass(frozen=True, slots=True)
class _Join:
    """A coupled asset: its PnL column bent by a piecewise straight function, plus its other column, times a price."""

    pool: int
    pnl: int
    rest: int
    price: int | None
    kinks: Floats
    offsets: Floats
    slopes: Floats


@dataclass(frozen=True, slots=True)
class Compiled:
    """Headroom of every pool of one account as a function of moves: call it with an array (scenarios x columns).

    ``columns``: the coin of each column (or ``ASSET@index``: the venue's index price of the asset alone, which then
    no longer follows the coin's column). ``pools`` and ``currencies``: what each column of the result is, and in
    which currency. Moves are fractions above -1; agrees with the judge to the rounding of floats.
    """

    columns: tuple[str, ...]
    pools: tuple[str, ...]
    currencies: tuple[str, ...]
    _constant: Floats
    _weights: Floats
    _always: _Bends
    _bends: _Bends
    _up: _Ramps
    _down: _Ramps
    _joins: tuple[_Join, ...]

    def __call__(self, moves: ArrayLike) -> Floats:
        """Headroom, (scenarios x pools). Raises :class:`AccountError` for a wrong shape or a move of -1 or less."""
        table = np.ascontiguousarray(moves, dtype=np.float64)
        if table.ndim != 2 or table.shape[1] != len(self.columns):
            why = f"must have one row a scenario and the columns {', '.join(self.columns)}"
            raise AccountError("compiled scenarios", (Fault("moves", f"shape {table.shape}", why),))
        result = np.empty((len(table), len(self.pools)))

        def fill(start: int) -> None:
            result[start : start + _BLOCK] = self._block(table[start : start + _BLOCK])

        # NumPy computes outside the interpreter's lock, so blocks run side by side, as in its own matrix product
        with ThreadPoolExecutor(min(os.cpu_count() or 1, 1 + len(table) // _BLOCK)) as threads:
            for _ in threads.map(fill, range(0, len(table), _BLOCK)):
                pass
        return result

    def _block(self, block: Floats) -> Floats:
        low, high = float(block.min(initial=0.0)), float(block.max(initial=0.0))
        if not (low > -1 and high < np.inf):  # a NaN fails every comparison
            raise AccountError("compiled scenarios", (Fault("moves", "", "must be finite and above -1"),))
        sums = block @ self._weights
        sums += self._constant
        _bend(self._always, block, low, high, sums)
        _bend(self._bends, block, low, high, sums)
        self._up.add(block, high, np.maximum, sums)
        self._down.add(block, -low, np.minimum, sums)
        pools = len(self.pools)
        rooms: Floats = sums[:, :pools]
        for join in self._joins:
            value = sums[:, join.rest]
            if len(join.slopes):
                pnl = sums[:, join.pnl]
                row = np.searchsorted(join.kinks, pnl)
                value = value + join.offsets[row] + join.slopes[row] * pnl
            rooms[:, join.pool] += value if join.price is None else value * (1 + block[:, join.price])
        return rooms


def _bend(bends: _Bends, block: Floats, low: float, high: float, sums: Floats) -> None:
    """Add curved terms and jumps whose kink lies between the block's least and greatest move."""
    rows = np.flatnonzero(np.where(bends.side > 0, bends.kink < high, bends.kink > low))
    if not len(rows):
        return
    moves = block.take(bends.column[rows], axis=1)
    value = bends.a[rows] + bends.b[rows] * moves + bends.c[rows] * moves * moves
    value += bends.r[rows] / (1 + bends.d[rows] * moves)
    value *= (moves - bends.kink[rows]) * bends.side[rows] > 0
    sums += value @ bends.target[rows]


# compiling ------------------------------------------------------------------------------------------------------------


def compile_scenarios(
    prepared: Prepared, *, coins: Sequence[str] | None = None, index_assets: Sequence[str] = ()
) -> Compiled:
    """Make the fast form of one account.

    ``prepared``: in floats or in decimals (coefficients are then read off exactly and rounded once). ``coins``: the
    columns, by default every coin of the account but not its reference currency. ``index_assets``: assets whose index
    price gets a column of its own, ``ASSET@index``. What has no column stands still. Raises :class:`AccountError` for a
    name that is not in the account, :class:`UnsupportedRule` where collateral is tiered by value and its price moves
    apart from its contracts.
    """
    known = coins_of(prepared)
    chosen = known if coins is None else list(coins)
    faults = [
        Fault(key, name, f"is not held or traded here; known are {', '.join(known)}")
        for key, names in (("coins", chosen), ("index_assets", index_assets))
        for name in names
        if name not in known
    ]
    if faults:
        raise AccountError(f"account {prepared.account.id}", faults)
    columns = (*chosen, *(asset + INDEX for asset in index_assets))
    with localcontext(CONTEXT):
        states = [measure(pool) for pool in prepared.pools]
        parts = [anatomy(state, *_coordinates(state, prepared, chosen, index_assets)) for state in states]
        return _Builder(columns, len(parts), prepared.number(0)).build(parts)


def _coordinates(
    state: PoolState, prepared: Prepared, coins: Sequence[str], index_assets: Sequence[str]
) -> tuple[dict[str, str], dict[str, str]]:
    marks, rates = coordinates(state, prepared.rules.reference_currency, dict.fromkeys(coins))
    if is_priced(state.pool):
        held = {own.asset.name for own in state.assets} - {prepared.rules.reference_currency}
        rates.update({asset: asset + INDEX for asset in index_assets if asset in held})
    return marks, rates


class _Builder:
    """The tables of :class:`Compiled` as they grow: the first outputs are the pools, then two a coupled asset."""

    def __init__(self, columns: tuple[str, ...], pools: int, none: Any) -> None:
        self.none = none  # no move, in the number type of the account
        self.columns = columns
        self.place = {name: index for index, name in enumerate(columns)}
        self.constant: list[float] = [0.0] * pools
        self.weights: list[tuple[int, int, float]] = []
        self.always: list[tuple[float, ...]] = []
        self.bends: list[tuple[float, ...]] = []
        self.joins: list[_Join] = []

    def build(self, parts: Sequence[Anatomy]) -> Compiled:
        """Every pool's terms into one set of tables."""
        for index, part in enumerate(parts):
            self.constant[index] += float(part.still)
            for single in part.singles:
                self._add(single.function, self.place[single.name], index)
            for coupled in part.coupled:
                self._couple(coupled, index)
        weights = np.zeros((len(self.columns), len(self.constant)))
        for column, output, weight in self.weights:
            weights[column, output] += weight
        return Compiled(
            columns=self.columns,
            pools=tuple(part.pool.name for part in parts),
            currencies=tuple(part.pool.currency for part in parts),
            _constant=np.array(self.constant),
            _weights=weights,
            _always=self._bends(self.always),
            _bends=self._bends([row for row in self.bends if not _is_ramp(row)]),
            _up=self._ramps([row for row in self.bends if _is_ramp(row) and row[2] > 0]),
            _down=self._ramps([row for row in self.bends if _is_ramp(row) and row[2] < 0]),
            _joins=tuple(self.joins),
        )

    def _couple(self, part: Coupled, pool: int) -> None:
        """An asset whose PnL counts bent, or whose price moves on its own."""
        one = part.keep * 0 + 1
        pnl, rest = len(self.constant), len(self.constant) + 1
        self.constant += [float(part.still_pnl), -float(part.keep * part.still_maintenance)]
        for name in part.contracts:
            self._add(part._replace(keep=part.keep * 0).on(name, one, one), self.place[name], pnl)
            self._add(part.on(name, one * 0, one), self.place[name], rest)
        up = walk(part.outer, part.still_pnl, None, 1)
        down = walk(part.outer, part.still_pnl, None, -1)
        rays = [stretch.ray for stretch in reversed(down)] + [stretch.ray for stretch in up]
        kinks = [stretch.start for stretch in reversed(down)] + [stretch.start for stretch in up[1:]]
        self.joins.append(
            _Join(
                pool=pool,
                pnl=pnl,
                rest=rest,
                price=None if part.price is None else self.place[part.price],
                kinks=np.array([float(kink) for kink in kinks]),
                offsets=np.array([float(ray.a) for ray in rays]),
                slopes=np.array([float(ray.b) for ray in rays]),
            )
        )

    def _add(self, function: Function, column: int, output: int) -> None:
        """A function of one column: its present formula into the matrix, each change of formula as a bend."""
        up = walk(function, self.none, None, 1)
        down = walk(function, self.none, self.none - 1, -1)
        base = up[0].ray
        self.constant[output] += float(base.a)
        self.weights.append((column, output, float(base.b)))
        if base.extra is not None:
            curved = Ray(base.a * 0, base.a * 0, base.line, base.extra)
            self.always += _rows(curved, column, -np.inf, 1.0, output)
        for before, after in pairwise(up):
            self.bends += _rows(after.ray - before.ray, column, float(after.start), 1.0, output)
        before = up[0]
        for after in down:
            self.bends += _rows(after.ray - before.ray, column, float(after.start), -1.0, output)
            before = after

    def _bends(self, rows: list[tuple[float, ...]]) -> _Bends:
        table = np.array(rows, dtype=np.float64).reshape(len(rows), 9)
        target = np.zeros((len(rows), len(self.constant)))
        target[np.arange(len(rows)), table[:, 8].astype(np.intp)] = 1.0
        names = ("kink", "side", "a", "b", "c", "d", "r")
        figures: dict[str, Any] = {name: np.ascontiguousarray(table[:, i + 1]) for i, name in enumerate(names)}
        return _Bends(column=table[:, 0].astype(np.intp), target=target, **figures)

    def _ramps(self, rows: list[tuple[float, ...]]) -> _Ramps:
        bends = self._bends(sorted(rows, key=lambda row: abs(row[1])))
        slopes = bends.target * bends.b[:, np.newaxis]
        return _Ramps(column=bends.column, kink=bends.kink, slopes=slopes, distance=np.abs(bends.kink))


_JOINED = 1e-9  # a kink is a quotient of the two, so they meet at it to the rounding of floats; a jump is far larger


def _is_ramp(row: tuple[float, ...]) -> bool:
    """Whether a change of formula is a mere change of slope: nothing jumps at its kink, nothing is curved."""
    _, kink, _, a, b, c, _, r, _ = row
    return not c and not r and abs(a + b * kink) <= _JOINED * abs(a)


def _rows(ray: Ray, column: int, kink: float, side: float, output: int) -> list[tuple[float, ...]]:
    """A change of formula as rows of the table: one, and one more for each further fraction; none for no change."""
    square, fractions = ray.extra if ray.extra is not None else (0, ())
    if not (ray.a or ray.b or square or fractions):
        return []
    (d, r), *more = fractions or ((0, 0),)
    first = (column, kink, side, float(ray.a), float(ray.b), float(square), float(d), float(r), output)
    rest = [(column, kink, side, 0.0, 0.0, 0.0, float(d), float(r), output) for d, r in more]
    return [first, *rest]
