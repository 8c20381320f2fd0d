"""A bound book that can be changed: rows of its own with room to grow, one slot a pool.

A pool whose rows keep their shape is written over; any other goes to a new slot at the end and leaves its old one
empty. Kernels get views of the same memory, so a change is seen by the next call and nothing is copied.

A tick touches few pools, and each anywhere: what belongs to one pool, holding or position lies side by side here, where
a book has columns. The kernels' views are the fields of those rows; the text that reads them is the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossmargin.engine.binding import Bound, Pools, in_chunks
from crossmargin.engine.buckets import empty_heads, empty_nodes, unhang_lines
from crossmargin.engine.intervals import UNKNOWN, Figures, Hooks, count_prices, fill_prices
from crossmargin.engine.tables import Tables

GONE = 255
"""The reason of a slot that no pool has any more."""
_SPARE, _LEAST = 16, 256
"""Room to grow: one row in so many, and at least so many rows."""
_POOL = ("law", "reason", "purse")
_HOLDING = ("asset", "cash", "counts", "fixed", "ordered", "ordered_gross")
_POSITION = ("instrument", "size", "charged", "entry", "leverage", "initial_fee")
_FIGURES = ("equity", "maintenance", "headroom", "bound", "status", "initial", "level")
_HELD_FIGURES = ("pnl", "required", "rest")
_POOL_ROW = np.dtype(
    [
        *((name, np.int64) for name in ("start", "line_start", "purse")),
        *((name, np.float64) for name in ("equity", "maintenance", "headroom", "bound", "initial")),
        *((name, np.uint8) for name in ("law", "reason", "status", "mode")),
        *((name, np.int8) for name in ("level", "known")),
    ],
    align=True,
)
_HOLDING_ROW = np.dtype(
    [
        ("position_start", np.int64),
        *((name, np.float64) for name in ("cash", "fixed", "ordered", "ordered_gross", *_HELD_FIGURES)),
        ("asset", np.int32),
        ("counts", np.bool_),
    ],
    align=True,
)
_POSITION_ROW = np.dtype(
    [*((name, np.float64) for name in (*_POSITION[1:], "kept")), ("instrument", np.int32)], align=True
)
_UNUSED = np.empty(0)
"""What only a report of positions asks for."""


class _Table:
    """Rows of one kind that grow; one row more than there are, for where the last one's children end."""

    def __init__(self, count: int, kind: Any) -> None:
        self.count = count
        self.room = count + count // _SPARE + _LEAST
        self.rows = np.zeros(self.room + 1, kind)

    def __getitem__(self, name: str) -> NDArray[Any]:
        """One field of every row, to read and to write."""
        return self.rows[name]

    def view(self, name: str) -> NDArray[Any]:
        """The same to read."""
        field = self.rows[name].view()
        field.flags.writeable = False
        return field

    def reserve(self, more: int) -> bool:
        """Make room for so many more rows; whether they have moved."""
        if self.count + more <= self.room:
            return False
        self.room = (self.count + more) + (self.count + more) // _SPARE + _LEAST
        longer = np.zeros(self.room + 1, self.rows.dtype)
        longer[: self.count + 1] = self.rows[: self.count + 1]
        self.rows = longer
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
        self.pool = _Table(len(own.law), _POOL_ROW)
        self.holding = _Table(len(own.asset), _HOLDING_ROW)
        self.position = _Table(len(own.instrument), _POSITION_ROW)
        for table, names in ((self.pool, _POOL), (self.holding, _HOLDING), (self.position, _POSITION)):
            for name in names:
                table[name][: table.count] = getattr(own, name)
        self.pool["start"][: self.pool.count + 1] = own.start
        self.holding["position_start"][: self.holding.count + 1] = own.position_start
        self.heads = empty_heads(prices)
        self.nodes = empty_nodes(0)
        self.lines = 0
        self._changed: set[int] = set()
        self._look()
        counts = np.zeros(self.pool.count, np.int64)
        in_chunks(self.pool.count, lambda a, b: count_prices(a, b, self.pools, asset_prices, counts), threads)
        self.pool["line_start"][1 : self.pool.count + 1] = np.cumsum(counts)
        self.most_lines = int(counts.max(initial=0))
        self._hook(int(counts.sum()))
        self._look()
        in_chunks(self.pool.count, self._fill, threads)

    def _fill(self, start: int, stop: int) -> None:
        instruments, assets = len(self.tables.instruments), len(self.tables.assets)
        fill_prices(start, stop, self.pools, self.asset_prices, instruments, assets, self.hooks.start, self.nodes)

    def _hook(self, more: int) -> bool:
        """Make room for so many more lines; whether their nodes have moved."""
        self.lines += more
        if 2 * self.lines <= len(self.nodes):
            return False
        longer = empty_nodes(2 * (self.lines + self.lines // _SPARE + _LEAST))
        longer[: len(self.nodes)] = self.nodes
        self.nodes = longer
        return True

    def _look(self) -> None:
        """The views of the kernels, anew where rows have moved."""
        pool, holding, position = self.pool, self.holding, self.position
        self.pools = Pools(
            start=pool.view("start"),
            position_start=holding.view("position_start"),
            fee=_UNUSED,
            held=_UNUSED,
            **{name: pool.view(name) for name in _POOL},
            **{name: holding.view(name) for name in _HOLDING},
            **{name: position.view(name) for name in _POSITION},
        )
        self.figures = Figures(
            kept=position["kept"],
            **{name: pool[name] for name in _FIGURES},
            **{name: holding[name] for name in _HELD_FIGURES},
        )
        self.hooks = Hooks(pool.view("line_start"), self.nodes, self.heads)

    @property
    def known(self) -> NDArray[np.int8]:
        """The level of each slot as last reported."""
        return self.pool["known"]

    @property
    def mode(self) -> NDArray[np.uint8]:
        """How each slot stands."""
        return self.pool["mode"]

    def changed(self) -> NDArray[np.int32]:
        """The slots that are not what the book says any more."""
        return np.array(sorted(self._changed), np.int32)

    def living(self) -> NDArray[np.int64]:
        """The slots that a pool has."""
        return np.flatnonzero(self.pools.reason[: self.pool.count] != GONE)

    @property
    def nbytes(self) -> int:
        """The size of everything in bytes."""
        return sum(table.rows.nbytes for table in (self.pool, self.holding, self.position)) + self.nodes.nbytes

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
        first = int(self.pool["start"][slot])
        start = self.holding["position_start"][first : first + len(shape) + 1]
        held, owned = slice(first, first + len(shape)), slice(int(start[0]), int(start[-1]))
        held_from = slice(int(own.start[q]), int(own.start[q + 1]))
        owned_from = slice(int(own.position_start[held_from.start]), int(own.position_start[held_from.stop]))
        for name in _POOL:
            self.pool[name][slot] = getattr(own, name)[q]
        for name in _HOLDING:
            self.holding[name][held] = getattr(own, name)[held_from]
        for name in _POSITION:
            self.position[name][owned] = getattr(own, name)[owned_from]
        self._changed.add(slot)
        self._fill(slot, slot + 1)
        return slot

    def release(self, slot: int) -> None:
        """Take a slot's ends off the lists."""
        start = self.pool["line_start"]
        unhang_lines(start[slot], start[slot + 1], self.nodes, self.heads)

    def remove(self, slot: int) -> None:
        """Leave a slot empty: nothing in it is judged any more."""
        self.release(slot)
        self.pool["reason"][slot] = GONE
        self._changed.add(slot)
        self.known[slot] = UNKNOWN

    def _shape(self, slot: int) -> NDArray[np.int64]:
        start = self.pool["start"]
        return np.diff(self.holding["position_start"][start[slot] : start[slot + 1] + 1])

    def _lines(self, slot: int) -> int:
        start = self.pool["line_start"]
        return int(start[slot + 1] - start[slot])

    def _append(self, shape: NDArray[np.int64], lines: int) -> int:
        """A new slot at the end with so many positions in each holding and so many lines."""
        slot, held, owned, hung = self.pool.count, self.holding.count, self.position.count, self.lines
        more = ((self.pool, 1), (self.holding, len(shape)), (self.position, int(shape.sum())))
        moved = [self._hook(lines), *(table.reserve(count) for table, count in more)]
        self.pool["start"][slot + 1] = held + len(shape)
        self.holding["position_start"][held + 1 : held + len(shape) + 1] = owned + np.cumsum(shape)
        self.pool["line_start"][slot + 1] = hung + lines
        for table, count in more:
            table.count += count
        self.most_lines = max(self.most_lines, lines)
        if any(moved):
            self._look()
        self.known[slot], self.mode[slot] = UNKNOWN, 0
        return slot
