"""A book and what has become of some of its purses since."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from crossmargin.engine.book import Book

_OFFSETS = ("holding_start", "position_start", "order_start")
_COLUMNS = (
    "account", "isolated", "open_orders", "asset", "amount", "bonus_credit", "use_as_collateral", "instrument",
    "quantity", "entry_price", "leverage", "order_instrument", "order_quantity", "order_price", "order_leverage",
    "order_reduce_only",
)  # fmt: skip


class Overlay:
    """A book and the purses that have changed since, as nouns of the book; purses may be added at the end."""

    def __init__(self, book: Book) -> None:
        self.base = book
        self.changed: dict[int, Book] = {}
        self.purses = book.purses
        self.ids: dict[str, int] | None = None
        """Account id -> number, where a purse has been added to a book with ids."""

    def coded(self, rows: Book, purses: Sequence[int]) -> Book:
        """Other rows in the names and numbers of this book; new purses may bring new accounts."""
        place = [{name: code for code, name in enumerate(names)} for names in (self.base.instruments, self.base.assets)]
        instrument = np.array([*(place[0][name] for name in rows.instruments), -1], np.int32)[rows.instrument]
        order = np.array([*(place[0][name] for name in rows.instruments), -1], np.int32)[rows.order_instrument]
        asset = np.array([*(place[1][name] for name in rows.assets), -1], np.int32)[rows.asset]
        account = [
            self._account(purse) if purse < self.purses else self._number(rows, n) for n, purse in enumerate(purses)
        ]
        return replace(
            rows, instruments=self.base.instruments, assets=self.base.assets, instrument=instrument, asset=asset,
            order_instrument=order, account=np.array(account, np.int64), account_ids=self._ids(),
        )  # fmt: skip

    def _account(self, purse: int) -> int:
        book, row = self.rows(purse)
        return int(book.account[row])

    def _number(self, rows: Book, n: int) -> int:
        """The number of a new purse's account."""
        own = int(rows.account[n])
        if self.base.account_ids is None:
            return own
        if self.ids is None:
            self.ids = {name: number for number, name in enumerate(self.base.account_ids)}
        name = str(own) if rows.account_ids is None else rows.account_ids[own]
        return self.ids.setdefault(name, len(self.ids))

    def _ids(self) -> Sequence[str] | None:
        return self.base.account_ids if self.ids is None else tuple(self.ids)

    def put(self, purse: int, rows: Book) -> None:
        """Replace one purse (or add the next) by a book of one."""
        self.changed[purse] = rows
        self.purses = max(self.purses, purse + 1)

    def rows(self, purse: int) -> tuple[Book, int]:
        """(book, row) of one purse."""
        own = self.changed.get(purse)
        return (self.base, purse) if own is None else (own, 0)

    def book(self) -> Book:
        """The whole as it is now."""
        if not self.changed:
            return self.base
        order = np.arange(self.purses)
        order[list(self.changed)] = self.base.purses + np.arange(len(self.changed))
        whole = joined([self.base, *self.changed.values()], self._ids())
        return whole.take(order)


def joined(parts: Sequence[Book], account_ids: Sequence[str] | None) -> Book:
    """Books with the same names of instruments and assets, one after another."""
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _COLUMNS}
    for name in _OFFSETS:
        counts = np.concatenate([np.diff(getattr(part, name)) for part in parts])
        columns[name] = np.concatenate([[0], np.cumsum(counts)])
    return replace(parts[0].with_columns(columns), account_ids=account_ids)
