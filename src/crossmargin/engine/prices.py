"""The market as columns: what a book is judged by, one price an instrument and an asset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from crossmargin.engine.columns import Floats, frozen, number
from crossmargin.engine.tables import Tables
from crossmargin.model.market import Market


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """The market of a book as columns: one mark an instrument, one index, bid and ask rate an asset; NaN = missing.

    ``last_price``: one an instrument, or empty where no rule asks for it (resting sells of some venues).
    """

    instruments: tuple[str, ...]
    assets: tuple[str, ...]
    mark_price: Floats
    index_price: Floats
    bid_rate: Floats
    ask_rate: Floats
    last_price: Floats = field(default_factory=lambda: np.empty(0))

    @classmethod
    def of(cls, market: Market, instruments: Sequence[str], assets: Sequence[str]) -> Prices:
        """The columns of one snapshot, rounded once to floats."""

        def column(names: Sequence[str], prices: Mapping[str, Decimal]) -> Floats:
            return frozen([number(prices.get(name)) for name in names])

        return cls(
            instruments=tuple(instruments),
            assets=tuple(assets),
            mark_price=column(instruments, market.mark_price),
            index_price=column(assets, market.index_price),
            bid_rate=column(assets, market.bid_rate),
            ask_rate=column(assets, market.ask_rate),
            last_price=column(instruments, market.last_price) if market.last_price else frozen([]),
        )

    def aligned(self, names: Sequence[str], which: str) -> Floats:
        """One column in the order of other names; NaN where this market has none."""
        own = self.instruments if which in ("mark_price", "last_price") else self.assets
        column = getattr(self, which)
        if own == tuple(names):
            return frozen(column)
        place = {name: index for index, name in enumerate(own)}
        return frozen([column[place[name]] if name in place else np.nan for name in names])


class Rates(NamedTuple):
    """Prices as the kernel wants them: ``x`` = mark or, for an inverse contract, -1 / mark, one row an instrument.

    With it one formula serves both: PnL = size x (x - entry x), value = |size| x |x|. ``price``, ``bid`` and ``ask``
    of an asset in the reference currency. What is missing or unusable is NaN.
    """

    x: Floats
    price: Floats
    bid: Floats
    ask: Floats
    last: Floats = frozen([])
    """Last prices, one an instrument; empty where none is given."""


def usable(prices: Floats) -> Floats:
    """Prices above 0 and finite; anything else becomes NaN."""
    with np.errstate(invalid="ignore"):
        return np.where((prices > 0) & (prices < np.inf), prices, np.nan)


def price_transform(prices: Floats, inverse: NDArray[np.bool_]) -> Floats:
    """``x`` of a price: itself for a linear contract, -1 / price for an inverse one."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(inverse, -1.0 / prices, prices)


def rates_of(tables: Tables, prices: Prices) -> Rates:
    """The market in the order and the form of compiled tables; the reference currency is 1 by definition."""
    mark = usable(prices.aligned(tables.instruments, "mark_price"))
    index = usable(prices.aligned(tables.assets, "index_price")).copy()
    index[tables.reference] = 1.0
    x = frozen(price_transform(mark, tables.inverse))
    last = frozen([])
    if len(prices.last_price):
        last = frozen(usable(prices.aligned(tables.instruments, "last_price")))
    if tables.rules.slots.collateral.kind != "bid_ask":
        return Rates(x, frozen(index), frozen(index), frozen(index), last)
    bid = usable(prices.aligned(tables.assets, "bid_rate"))
    ask = usable(prices.aligned(tables.assets, "ask_rate"))
    price, bid, ask = quoted(index, bid, ask, tables.bid_buffer, tables.ask_buffer)
    return Rates(x, frozen(price), frozen(bid), frozen(ask), last)


def quoted(
    index: Floats, bid: Floats, ask: Floats, bid_buffer: Floats, ask_buffer: Floats
) -> tuple[Floats, Floats, Floats]:
    """(price, bid, ask) of assets: rates that are not given lie a buffer beside the index price, crossed ones are
    NaN."""
    bid = np.where(np.isnan(bid), index * (1 - bid_buffer), bid)
    ask = np.where(np.isnan(ask), index * (1 + ask_buffer), ask)
    with np.errstate(invalid="ignore"):
        crossed = bid > ask
    bid, ask = np.where(crossed, np.nan, bid), np.where(crossed, np.nan, ask)
    return np.where(np.isnan(index), ask, index), bid, ask
