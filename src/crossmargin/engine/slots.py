"""A bound book that can be changed: columns of its own with room to grow, one slot a pool.

A pool whose rows keep their shape is written over; any other goes to a new slot at the end and leaves its old one
empty. Kernels get read-only views of the same memory, so a change is seen by the next call and nothing is copied.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossmargin.engine.binding import Bound, Pools, in_chunks
from crossmargin.engine.buckets import empty_heads, empty_nodes, unhang_lines
from crossmargin.engine.columns import frozen
from crossmargin.engine.intervals import UNKNOWN, Figures, Hooks, count_prices, fill_prices
from crossmargin.engine.tables import Tables

GONE = 255
"""The reason of a slot that no pool has any more."""
_SPARE, _LEAST = 16, 256
"""Room to grow: one row in so many, and at least so many rows."""
_POOL: Mapping[str, Any] = {"law": np.uint8, "reason": np.uint8, "purse": np.int64}
_HOLDING: Mapping[str, Any] = {"asset": np.int32, "cash": np.float64, "counts": np.bool_, "fixed": np.float64}
_FLOATS = ("size", "charged", "entry", "leverage", "fee", "initial_fee", "held")
_POSITION: Mapping[str, Any] = {"instrument": np.int32, **dict.fromkeys(_FLOATS, np.float64)}
_FIGURES: Mapping[str, Mapping[str, Any]] = {
    "pool": {
        **dict.fromkeys(("equity", "maintenance", "headroom", "bound", "initial"), np.float64),
        "status": np.uint8,
        "level": np.int8,
    },
    "holding": dict.fromkeys(("pnl", "required", "rest"), np.float64),
    "position": {"kept": np.float64},
}


class _Table:
    """Columns of one length that grow together; ``start`` (if there is one) says where the rows below begin."""

    def __init__(self, count: int, types: Mapping[str, Any], *, start: Sequence[str] = ()) -> None:
        self.count = count
        self.room = count + count // _SPARE + _LEAST
        self.columns: dict[str, NDArray[Any]] = {name: np.zeros(self.room, kind) for name, kind in types.items()}
        self.columns |= {name: np.zeros(self.room + 1, np.int64) for name in start}

    def reserve(self, more: int) -> bool:
        """Make room for so many more rows; whether the columns have moved."""
        if self.count + more <= self.room:
            return False
        before, self.room = self.room, (self.count + more) + (self.count + more) // _SPARE + _LEAST
        for name, column in self.columns.items():
            longer = np.zeros(len(column) - before + self.room, column.dtype)
            longer[: len(column)] = column
            self.columns[name] = longer
        return True


class Slots:
    """The slots of a book: ``pools`` and ``figures`` as the kernels read them, ``hooks`` with their lines."""

    pools: Pools
    figures: Figures
    hooks: Hooks

    def __init__(self, bound: Bound, asset_prices: NDArray[np.uint8], prices: int, *, threads: int | None) -> None:
        own, tables = bound.pools, bound.tables
        self.tables: Tables = tables
        self.asset_prices = asset_prices
        self.pool = _Table(len(own.law), {**_POOL, "known": np.int8, "mode": np.uint8}, start=("start", "line_start"))
        self.holding = _Table(len(own.asset), _HOLDING, start=("position_start",))
        self.position = _Table(len(own.instrument), _POSITION)
        for table, names in ((self.pool, _POOL), (self.holding, _HOLDING), (self.position, _POSITION)):
            for name in names:
                table.columns[name][: table.count] = getattr(own, name)
        self.pool.columns["start"][: self.pool.count + 1] = own.start
        self.holding.columns["position_start"][: self.holding.count + 1] = own.position_start
        for rows, types in _FIGURES.items():
            table = getattr(self, rows)
            table.columns |= {f"figure_{name}": np.zeros(table.room, kind) for name, kind in types.items()}
        self.heads = empty_heads(prices)
        self.line = _Table(0, {"pool": np.int32, "driver": np.int32})
        self.nodes = empty_nodes(0)
        self._look()
        counts = np.zeros(self.pool.count, np.int64)
        in_chunks(self.pool.count, lambda a, b: count_prices(a, b, self.pools, asset_prices, counts), threads)
        ends = np.cumsum(counts)
        self.pool.columns["line_start"][1 : self.pool.count + 1] = ends
        self.line.reserve(int(ends[-1]) if len(ends) else 0)
        self.line.count = int(ends[-1]) if len(ends) else 0
        self._look()
        self.most_lines = int(counts.max(initial=0))
        in_chunks(self.pool.count, self._fill, threads)

    def _fill(self, start: int, stop: int) -> None:
        tables, hooks = self.tables, self.hooks
        fill_prices(
            start, stop, self.pools, self.asset_prices, len(tables.instruments), len(tables.assets),
            hooks.start, hooks.pool, hooks.driver,
        )  # fmt: skip

    def _look(self) -> None:
        """The views of the kernels, anew where columns have moved."""
        pool, holding, position = self.pool.columns, self.holding.columns, self.position.columns
        self.pools = Pools(
            start=frozen(pool["start"], np.int64),
            position_start=frozen(holding["position_start"], np.int64),
            **{name: frozen(pool[name], kind) for name, kind in _POOL.items()},
            **{name: frozen(holding[name], kind) for name, kind in _HOLDING.items()},
            **{name: frozen(position[name], kind) for name, kind in _POSITION.items()},
        )
        self.figures = Figures(
            **{
                name: getattr(self, rows).columns[f"figure_{name}"]
                for rows, types in _FIGURES.items()
                for name in types
            }
        )
        if len(self.nodes) < 2 * self.line.room:
            more = empty_nodes(2 * self.line.room)
            more[: len(self.nodes)] = self.nodes
            self.nodes = more
        lines = self.line.columns
        self.hooks = Hooks(pool["line_start"], lines["pool"], lines["driver"], self.nodes, self.heads)

    @property
    def known(self) -> NDArray[np.int8]:
        """The level of each slot as last reported."""
        return self.pool.columns["known"]

    @property
    def mode(self) -> NDArray[np.uint8]:
        """How each slot stands."""
        return self.pool.columns["mode"]

    def living(self) -> NDArray[np.int64]:
        """The slots that a pool has."""
        return np.flatnonzero(self.pools.reason[: self.pool.count] != GONE)

    @property
    def nbytes(self) -> int:
        """The size of everything in bytes."""
        tables = (self.pool, self.holding, self.position, self.line)
        columns = sum(column.nbytes for table in tables for column in table.columns.values())
        return int(columns + self.nodes.nbytes + self.heads.nbytes)

    # changes -----------------------------------------------------------------------------------------------------

    def put(self, own: Pools, q: int, slot: int | None) -> int:
        """Write pool ``q`` of other rows into a slot of the same shape, else (and where None) into a new one."""
        lines = np.zeros(q + 1, np.int64)
        count_prices(q, q + 1, own, self.asset_prices, lines)
        shape = np.diff(own.position_start[own.start[q] : own.start[q + 1] + 1])
        if slot is not None:
            self.release(slot)
            if not (np.array_equal(shape, self._shape(slot)) and lines[q] == self._lines(slot)):
                self.remove(slot)
                slot = None
        if slot is None:
            slot = self._append(shape, int(lines[q]))
        first = int(self.pool.columns["start"][slot])
        start = self.holding.columns["position_start"][first : first + len(shape) + 1]
        held, owned = slice(first, first + len(shape)), slice(int(start[0]), int(start[-1]))
        held_from = slice(int(own.start[q]), int(own.start[q + 1]))
        owned_from = slice(int(own.position_start[held_from.start]), int(own.position_start[held_from.stop]))
        for name in _POOL:
            self.pool.columns[name][slot] = getattr(own, name)[q]
        for name in _HOLDING:
            self.holding.columns[name][held] = getattr(own, name)[held_from]
        for name in _POSITION:
            self.position.columns[name][owned] = getattr(own, name)[owned_from]
        self._fill(slot, slot + 1)
        return slot

    def release(self, slot: int) -> None:
        """Take a slot's ends off the lists."""
        start = self.pool.columns["line_start"]
        unhang_lines(start[slot], start[slot + 1], self.nodes, self.heads)

    def remove(self, slot: int) -> None:
        """Leave a slot empty: nothing in it is judged any more."""
        self.release(slot)
        self.pool.columns["reason"][slot] = GONE
        self.known[slot] = UNKNOWN

    def _shape(self, slot: int) -> NDArray[np.int64]:
        start = self.pool.columns["start"]
        return np.diff(self.holding.columns["position_start"][start[slot] : start[slot + 1] + 1])

    def _lines(self, slot: int) -> int:
        start = self.pool.columns["line_start"]
        return int(start[slot + 1] - start[slot])

    def _append(self, shape: NDArray[np.int64], lines: int) -> int:
        """A new slot at the end with so many positions in each holding and so many lines."""
        slot, held, owned, hung = self.pool.count, self.holding.count, self.position.count, self.line.count
        moved = [
            table.reserve(more)
            for table, more in (
                (self.pool, 1), (self.holding, len(shape)), (self.position, int(shape.sum())), (self.line, lines),
            )
        ]  # fmt: skip
        self.pool.columns["start"][slot + 1] = held + len(shape)
        self.holding.columns["position_start"][held + 1 : held + len(shape) + 1] = owned + np.cumsum(shape)
        self.pool.columns["line_start"][slot + 1] = hung + lines
        self.pool.count, self.holding.count = slot + 1, held + len(shape)
        self.position.count, self.line.count = owned + int(shape.sum()), hung + lines
        self.most_lines = max(self.most_lines, lines)
        if any(moved):
            self._look()
        self.known[slot], self.mode[slot] = UNKNOWN, 0
        return slot
