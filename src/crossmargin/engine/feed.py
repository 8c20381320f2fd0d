"""The prices of a tick index: every source's last one, as fed, as the kernels read it and as the exact judge does.

A source is an instrument (its mark) or an asset (its index price). A price of the kernels is one of: a mark, an index
price, and under a profile with bid and ask rates those of each asset, which a tick of the asset moves together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.engine.book import Book, decimal
from crossmargin.engine.columns import Codes, Floats, frozen
from crossmargin.engine.prices import Prices, Rates, price_transform, quoted, rates_of, usable
from crossmargin.engine.tables import Tables
from crossmargin.engine.ticking import Moves, Now
from crossmargin.errors import AccountError, Fault
from crossmargin.model.instrument import CASH
from crossmargin.model.market import Market

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_STEADY = 0.05
"""How much a currency or stablecoin moves where a coin moves 1, unless the caller says."""


class Feed:
    """Every price of some tables, as it is now; ``sources``: instruments, then assets."""

    def __init__(self, tables: Tables, market: Prices, volatility: Mapping[str, float]) -> None:
        self.tables = tables
        self.sources = tables.instruments + tables.assets
        self.place = {name: code for code, name in reversed(list(enumerate(self.sources)))}
        self.instruments, self.assets = len(tables.instruments), len(tables.assets)
        self.threefold = tables.rules.slots.collateral.kind == "bid_ask"
        rates = rates_of(tables, market)
        own = [rates.price, rates.bid, rates.ask] if self.threefold else [rates.price]
        x = np.concatenate([rates.x, *own])
        price = np.concatenate([usable(market.aligned(tables.instruments, "mark_price")), *own])
        spread = np.array([volatility.get(name, _STEADY if name in CASH else 1.0) for name in self.sources])
        spread = np.concatenate([spread, *[spread[self.instruments :]] * (len(own) - 1)])
        self.now = Now(price, x, price.copy(), np.full(len(x), -1, np.int64), spread)
        cut = [frozen(x[start : start + self.assets]) for start in range(self.instruments, len(x), self.assets)]
        self.rates = Rates(frozen(x[: self.instruments]), *(cut if self.threefold else cut * 3))
        self._inverse = tables.inverse.tolist()
        self._one = Moves(
            np.zeros(1, np.int32), np.ones(1), np.ones(1), np.zeros(1, np.int64), np.ones(1, np.bool_)
        )  # fmt: skip
        self.quoted = np.zeros(self.assets, np.bool_)
        """Whether an asset's bid and ask were named, and are no buffers beside its index price."""
        self.indexed = np.ones(self.assets, np.bool_)
        """Whether an asset's index price was named, and is no bid or ask in its place."""
        if self.threefold:
            self.quoted = ~np.isnan(market.aligned(tables.assets, "bid_rate"))
            self.indexed = ~np.isnan(market.aligned(tables.assets, "index_price"))

    def single(self, name: str, price: float, sequence: int) -> Moves | None:
        """One mark as a move; None where a tick is more than that. The same arrays each time."""
        code = self.place.get(name, -1)
        if not 0 <= code < self.instruments:
            return None
        one = self._one
        one.driver[0], one.price[0], one.sequence[0] = code, price, sequence
        one.x[0] = price_transform(one.price, self.tables.inverse[code : code + 1])[0] if self._inverse[code] else price
        return one

    def moves(
        self,
        source: ArrayLike,
        price: ArrayLike,
        sequence: ArrayLike | None,
        bid: ArrayLike | None,
        ask: ArrayLike | None,
        last: ArrayLike | None,
    ) -> tuple[Moves, NDArray[np.int64]]:
        """(moves, the tick of each). Raises :class:`AccountError` for columns that do not fit together."""
        codes, values = np.asarray(source, np.int32), np.asarray(price, np.float64)
        count = len(codes)
        number = np.full(count, -1, np.int64) if sequence is None else np.asarray(sequence, np.int64)
        final = np.ones(count, np.bool_) if last is None else np.array(last, np.bool_)
        rates = [np.full(count, np.nan) if side is None else np.asarray(side, np.float64) for side in (bid, ask)]
        if any(column.shape != (count,) for column in (values, number, final, *rates)):
            raise AccountError("ticks", [Fault("ticks", str(count), "the columns must have one row a tick each")])
        if count and (codes.max() >= len(self.sources) or codes.min() < -1):
            why = f"must be codes of source(): 0..{len(self.sources) - 1}, or -1 = unknown"
            raise AccountError("ticks", [Fault("source", f"{codes.min()}..{codes.max()}", why)])
        final[-1:] = True
        place = np.arange(count)
        if self.threefold:
            codes, values, number, final, place = self._three(codes, values, number, final, *rates)
        else:
            values = np.where(codes == self.instruments + self.tables.reference, np.nan, values)
        x = values.copy()
        marks = np.flatnonzero((codes >= 0) & (codes < self.instruments))
        x[marks] = price_transform(values[marks], self.tables.inverse[codes[marks]])
        return Moves(codes, values, x, number, final), place

    def _three(
        self,
        codes: Codes,
        price: Floats,
        number: NDArray[np.int64],
        final: NDArray[np.bool_],
        bids: Floats,
        asks: Floats,
    ) -> tuple[NDArray[Any], ...]:
        """Ticks of assets that have bid and ask rates as three moves together; refused as one."""
        tables = self.tables
        rows: list[tuple[int, float, int, bool, int]] = []
        for n, code in enumerate(codes.tolist()):
            asset = code - self.instruments
            if asset < 0:
                rows.append((code, price[n], number[n], final[n], n))
                continue
            index = 1.0 if asset == tables.reference else price[n]
            given = bids[n], asks[n]
            if self.quoted[asset] and np.isnan(given).all():
                # who sent rates once keeps them until others come
                given = self.now.price[code + self.assets], self.now.price[code + 2 * self.assets]
            columns = (index, *given, tables.bid_buffer[asset], tables.ask_buffer[asset])
            moves = [float(move) for move in quoted(*(np.asarray(column) for column in columns))]
            if not all(0 < move < np.inf for move in (index, *moves)):
                rows.append((code, np.nan, number[n], final[n], n))
                continue
            self.quoted[asset] |= not np.isnan([bids[n], asks[n]]).any()
            self.indexed[asset] = True
            for which, move in enumerate(moves):
                rows.append((code + which * self.assets, move, number[n], bool(final[n]) and which == 2, n))
        columns_of = list(zip(*rows, strict=True)) or [()] * 5
        types = (np.int32, np.float64, np.int64, np.bool_, np.int64)
        return tuple(np.array(column, kind) for column, kind in zip(columns_of, types, strict=True))

    def resume(self, before: Feed) -> None:
        """Go on with the sequence numbers of another feed."""
        for code, name in enumerate(before.sources):
            place = self.place[name]
            own = slice(place, place + 1) if place < self.instruments else slice(place, None, self.assets)
            self.now.sequence[own] = before.now.sequence[code]

    def behind(self) -> NDArray[np.int64]:
        """The prices that have moved on since the ends which they pass were collected."""
        price, swept = self.now.price, self.now.swept
        return np.flatnonzero((price != swept) & ~np.isnan(price))

    # as others read them -----------------------------------------------------------------------------------------

    def _column(self, which: int, named: NDArray[np.bool_]) -> Floats:
        """One price of every asset, NaN where it was not named."""
        start = self.instruments + which * self.assets
        return frozen(np.where(named, self.now.price[start : start + self.assets], np.nan))

    def prices(self) -> Prices:
        """The market as columns, as it is now."""
        nowhere = np.zeros(self.assets, np.bool_)
        return Prices(
            instruments=self.tables.instruments,
            assets=self.tables.assets,
            mark_price=frozen(self.now.price[: self.instruments].copy()),
            index_price=self._column(0, self.indexed),
            bid_rate=self._column(1 if self.threefold else 0, self.quoted if self.threefold else nowhere),
            ask_rate=self._column(2 if self.threefold else 0, self.quoted if self.threefold else nowhere),
        )

    def market(self, book: Book, row: int) -> Market:
        """The prices that one purse needs, as the shortest decimals of what was fed."""
        tables, price = self.tables, self.now.price
        held = range(int(book.holding_start[row]), int(book.holding_start[row + 1]))
        owned = slice(int(book.position_start[held.start]), int(book.position_start[held.stop]))
        resting = slice(int(book.order_start[held.start]), int(book.order_start[held.stop]))
        contracts = {*book.instrument[owned].tolist(), *book.order_instrument[resting].tolist()}
        assets = sorted({*book.asset[held.start : held.stop].tolist(), tables.reference})
        quotes = [code for code in assets if self.quoted[code]]

        def table(codes: Sequence[int], names: Sequence[str], shift: int) -> dict[str, Decimal]:
            return {names[code]: decimal(price[shift + code]) for code in codes if price[shift + code] > 0}

        return Market.model_construct(
            as_of=_EPOCH,
            mark_price=table(sorted(contracts), tables.instruments, 0),
            index_price=table([c for c in assets if self.indexed[c]], tables.assets, self.instruments),
            bid_rate=table(quotes, tables.assets, self.instruments + self.assets),
            ask_rate=table(quotes, tables.assets, self.instruments + 2 * self.assets),
            last_price={},
            funding_rate={},
            funding_interval={},
        )
