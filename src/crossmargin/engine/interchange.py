"""Books as Arrow tables, data frames and Parquet files, and back.

The nested table has one row a purse: ``account``, ``isolated``, ``open_orders``, ``holdings``; a holding is
``asset, amount, bonus_credit, use_as_collateral, positions`` and, where the book has some, ``orders``; a position
``symbol, quantity, entry_price, leverage``, an order ``symbol, quantity, price, leverage, reduce_only``.
The flat form is frames as most systems export them: balances, positions and, if there are some, orders, one row each,
joined by ``account``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossmargin.engine.book import Book
from crossmargin.errors import AccountError, Fault, MissingExtra
from crossmargin.model.instrument import parse_symbol

_PURSE = ("account", "isolated", "open_orders")
_HOLDING = ("asset", "amount", "bonus_credit", "use_as_collateral")
_POSITION = ("symbol", "quantity", "entry_price", "leverage")
_ORDER = ("symbol", "quantity", "price", "leverage", "reduce_only")
_BALANCES = {"account", "asset", "wallet_balance", "bonus_credit", "accrued_interest", "use_as_collateral"}
_POSITIONS = {"account", "symbol", "quantity", "entry_price", "leverage", "margin_mode", "isolated_margin"}
_ORDERS = {"account", *_ORDER}


def arrow() -> Any:
    """The Arrow library. Raises :class:`MissingExtra` where it is not installed."""
    try:
        return import_module("pyarrow")
    except ImportError as error:
        raise MissingExtra("book", "Arrow tables and Parquet need pyarrow; install crossmargin[book]") from error


def to_table(columns: Mapping[str, NDArray[Any]]) -> Any:
    """Columns of one length as an Arrow table, NaN as it is."""
    return arrow().table({name: np.asarray(column) for name, column in columns.items()})


# nested ---------------------------------------------------------------------------------------------------------------


def book_to_arrow(book: Book, *, orders: bool | None = None) -> Any:
    """The book as one nested table; names are dictionaries, unknown leverages null.

    ``orders``: whether there is a column of resting orders; unless given, where the book has some.
    """
    pa = arrow()

    def named(codes: NDArray[Any], names: tuple[str, ...]) -> Any:
        return pa.DictionaryArray.from_arrays(pa.array(codes, mask=codes < 0), pa.array(names, pa.string()))

    positions = pa.StructArray.from_arrays(
        [
            named(book.instrument, book.instruments),
            pa.array(book.quantity),
            pa.array(book.entry_price),
            pa.array(book.leverage, mask=np.isnan(book.leverage)),
        ],
        names=list(_POSITION),
    )
    below = {"positions": pa.LargeListArray.from_arrays(book.position_start, positions)}
    if orders or (orders is None and book.orders):
        resting = pa.StructArray.from_arrays(
            [
                named(book.order_instrument, book.instruments),
                pa.array(book.order_quantity),
                pa.array(book.order_price),
                pa.array(book.order_leverage, mask=np.isnan(book.order_leverage)),
                pa.array(book.order_reduce_only),
            ],
            names=list(_ORDER),
        )
        below["orders"] = pa.LargeListArray.from_arrays(book.order_start, resting)
    holdings = pa.StructArray.from_arrays(
        [
            named(book.asset, book.assets),
            pa.array(book.amount),
            pa.array(book.bonus_credit),
            pa.array(book.use_as_collateral),
            *below.values(),
        ],
        names=[*_HOLDING, *below],
    )
    ids = (
        pa.array(book.account)
        if book.account_ids is None
        else named(book.account.astype(np.int32), tuple(book.account_ids))
    )
    return pa.table(
        {
            "account": ids,
            "isolated": pa.array(book.isolated),
            "open_orders": pa.array(book.open_orders),
            "holdings": pa.LargeListArray.from_arrays(book.holding_start, holdings),
        }
    )


def book_from_arrow(table: Any) -> Book:
    """The book of a nested table, or of anything that offers itself as one (the Arrow stream interface).

    Null numbers become NaN and null names no name: such rows get a reason when they are judged. Raises
    :class:`AccountError` with every column that is missing or of another type.
    """
    pa = arrow()
    table = table if isinstance(table, pa.Table) else pa.table(table)
    _require(table.column_names, {*_PURSE, "holdings"}, "book")
    combined = {name: table.column(name).combine_chunks() for name in table.column_names}
    combined = {name: c.chunk(0) if isinstance(c, pa.ChunkedArray) else c for name, c in combined.items()}
    holding_start, holdings = _list(pa, combined["holdings"], "holdings")
    held = _children(pa, holdings, {*_HOLDING, "positions"}, "holdings")
    if holdings.null_count:
        why = "a holding must not be null: leave it out of its list"
        raise AccountError("book", [Fault("holdings", f"{holdings.null_count} nulls", why)])
    position_start, positions = _list(pa, held["positions"], "holdings.positions")
    owned = _children(pa, positions, set(_POSITION), "holdings.positions")
    asset, assets = _codes(pa, held["asset"], "holdings.asset")
    instrument, instruments = _codes(pa, owned["symbol"], "holdings.positions.symbol")
    orders = _orders_of(pa, held["orders"], instruments) if "orders" in held else {}
    account = combined["account"]
    _stated(account, "account", "book")
    ids: list[str] | None = None
    if pa.types.is_integer(account.type):
        numbers = account.to_numpy(zero_copy_only=False)
    else:
        numbers, ids = _codes(pa, account, "account")
    return Book(
        instruments=tuple(instruments),
        assets=tuple(assets),
        account_ids=ids,
        account=np.asarray(numbers, np.int64),
        isolated=_flags(combined["isolated"], "isolated"),
        open_orders=_flags(combined["open_orders"], "open_orders"),
        holding_start=holding_start,
        asset=asset,
        amount=_numbers(pa, held["amount"], "holdings.amount"),
        bonus_credit=_numbers(pa, held["bonus_credit"], "holdings.bonus_credit"),
        use_as_collateral=_flags(held["use_as_collateral"], "holdings.use_as_collateral"),
        position_start=position_start,
        instrument=instrument,
        quantity=_numbers(pa, owned["quantity"], "holdings.positions.quantity"),
        entry_price=_numbers(pa, owned["entry_price"], "holdings.positions.entry_price"),
        leverage=_numbers(pa, owned["leverage"], "holdings.positions.leverage"),
        **orders,
    )


def _orders_of(pa: Any, column: Any, instruments: list[str]) -> dict[str, NDArray[Any]]:
    """The columns of resting orders; symbols that no position has are added to ``instruments``.

    An order that does not say whether it is reduce-only is one nobody can judge: it is null, like one without a symbol.
    """
    where = "holdings.orders"
    start, rows = _list(pa, column, where)
    owned = _children(pa, rows, set(_ORDER), where)
    code, names = _codes(pa, owned["symbol"], f"{where}.symbol")
    place = {name: number for number, name in enumerate(instruments)}
    own = np.array([*(place.setdefault(name, len(place)) for name in names), -1], np.int32)
    instruments[:] = list(place)
    reduce_only = owned["reduce_only"]
    unsaid = np.asarray(reduce_only.is_null().to_numpy(zero_copy_only=False), np.bool_)
    return {
        "order_start": start,
        "order_instrument": np.where(unsaid, -1, own[code]).astype(np.int32),
        "order_quantity": _numbers(pa, owned["quantity"], f"{where}.quantity"),
        "order_price": _numbers(pa, owned["price"], f"{where}.price"),
        "order_leverage": _numbers(pa, owned["leverage"], f"{where}.leverage"),
        "order_reduce_only": _flags(reduce_only.fill_null(False), f"{where}.reduce_only"),
    }


def _children(pa: Any, rows: Any, needed: set[str], where: str) -> dict[str, Any]:
    """The columns of a column of structs by name. What stands below a null struct is null, whatever bytes are there."""
    if not pa.types.is_struct(rows.type):
        raise AccountError("book", [Fault(where, str(rows.type), "must be a list of structs")])
    names = [field.name for field in rows.type]
    _require(names, needed, where)
    return dict(zip(names, rows.flatten(), strict=True))


def _require(found: list[str], needed: set[str], where: str) -> None:
    missing = sorted(needed - set(found))
    if missing:
        raise AccountError(where, [Fault(name, "", "the column is missing") for name in missing])


def _stated(column: Any, name: str, where: str) -> None:
    if column.null_count:
        why = "must be stated in every row: a row without it belongs to nobody"
        raise AccountError(where, [Fault(name, f"{column.null_count} nulls", why)])


def _list(pa: Any, column: Any, where: str) -> tuple[NDArray[np.int64], Any]:
    if not (pa.types.is_list(column.type) or pa.types.is_large_list(column.type)) or column.null_count:
        raise AccountError("book", [Fault(where, str(column.type), "must be a list column without nulls")])
    offsets = column.offsets.to_numpy().astype(np.int64)
    return offsets - offsets[0], column.values.slice(int(offsets[0]), int(offsets[-1] - offsets[0]))


def _codes(pa: Any, column: Any, where: str) -> tuple[NDArray[np.int32], list[str]]:
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)):
        raise AccountError("book", [Fault(where, str(column.type), "must be a column of text")])
    if not pa.types.is_dictionary(column.type):
        column = column.cast(pa.large_string()).dictionary_encode()
    elif column.dictionary.null_count or len(column.dictionary.unique()) < len(column.dictionary):
        # a dictionary may name one thing twice, or nothing
        column = column.cast(kind).dictionary_encode()
    codes = column.indices.fill_null(-1) if column.null_count else column.indices
    return codes.to_numpy(zero_copy_only=False).astype(np.int32), column.dictionary.to_pylist()


def _numbers(pa: Any, column: Any, where: str) -> NDArray[np.float64]:
    kinds = (pa.types.is_floating, pa.types.is_integer, pa.types.is_decimal, pa.types.is_null)
    if not any(kind(column.type) for kind in kinds):
        raise AccountError("book", [Fault(where, str(column.type), "must be a column of numbers")])
    return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False), np.float64)


def _flags(column: Any, where: str) -> NDArray[np.bool_]:
    if str(column.type) != "bool" or column.null_count:
        raise AccountError("book", [Fault(where, str(column.type), "must be a column of true and false without nulls")])
    return np.asarray(column.to_numpy(zero_copy_only=False), np.bool_)


# flat -----------------------------------------------------------------------------------------------------------------


def book_from_frames(balances: Any, positions: Any, orders: Any = None) -> Book:
    """The book of flat frames (pandas, polars, Arrow): what a system exports, one row a balance, a position, an order.

    ``balances``: account, asset, wallet_balance and, if they are there, bonus_credit, accrued_interest,
    use_as_collateral. ``positions``: account, symbol, quantity, entry_price and, if they are there, leverage,
    margin_mode, isolated_margin. ``orders`` (None = there are none): account, symbol, quantity (below 0 sells), price
    and, if they are there, leverage, reduce_only; they rest on the shared purse. Raises :class:`AccountError` for
    missing or unknown columns and for symbols that cannot be read.
    """
    pa = arrow()
    if orders is None:
        texts, numbers = dict.fromkeys(("account", "symbol"), pa.string()), dict.fromkeys(_ORDER[1:3], pa.float64())
        orders = pa.schema({**texts, **numbers}).empty_table()
    held, owned, rested = (t if isinstance(t, pa.Table) else pa.table(t) for t in (balances, positions, orders))
    for frame, known, needed in (
        (held, _BALANCES, {"account", "asset", "wallet_balance"}),
        (owned, _POSITIONS, {"account", "symbol", "quantity", "entry_price"}),
        (rested, _ORDERS, {"account", "symbol", "quantity", "price"}),
    ):
        _require(frame.column_names, needed, "frames")
        unknown = sorted(set(frame.column_names) - known)
        if unknown:
            why = f"is not a known column; known are {', '.join(sorted(known))}"
            raise AccountError("frames", [Fault(name, "", why) for name in unknown])
    return _Flat(pa, held, owned, rested).book()


class _Flat:
    """Flat frames on their way into compressed rows."""

    def __init__(self, pa: Any, held: Any, owned: Any, rested: Any) -> None:
        self.pa = pa
        self.held = held
        self.owned = owned
        self.rested = rested
        account, self.ids = self._named("account", held, owned, rested)
        ends = np.cumsum([len(held), len(owned)])
        self.held_account, self.owned_account, self.rested_account = np.split(account, ends)
        instrument, self.instruments = self._named("symbol", owned, rested)
        self.instrument, self.ordered = np.split(instrument, [len(owned)])
        self.asset, assets = self._named("asset", held)
        faults, settles = [], []
        for code, name in enumerate(self.instruments):
            try:
                settles.append(parse_symbol(name).settle)
            except ValueError as error:
                table = "positions" if code in self.instrument else "orders"
                faults.append(Fault(f"{table}.symbol", name, str(error)))
        if faults:
            raise AccountError("frames", faults)
        self.assets = list(dict.fromkeys([*assets, *settles]))
        place = {name: code for code, name in enumerate(self.assets)}
        settle = np.array([place[name] for name in settles] or [0], np.int64)
        self.settle, self.order_settle = settle[self.instrument], settle[self.ordered]

    def _named(self, name: str, *frames: Any) -> tuple[NDArray[np.int32], list[str]]:
        """The names in one column of some frames, one after another, as codes."""
        chunks = [chunk for frame in frames for chunk in self._text(frame, name).chunks]
        return _codes(self.pa, _one(self.pa, self.pa.chunked_array(chunks, self.pa.string())), name)

    def _text(self, frame: Any, name: str) -> Any:
        _stated(frame.column(name), name, "frames")
        return frame.column(name).cast(self.pa.string())

    def _number(self, frame: Any, name: str, default: float) -> NDArray[np.float64]:
        if name not in frame.column_names:
            return np.full(len(frame), default)
        return _numbers(self.pa, _one(self.pa, frame.column(name)), name)

    def book(self) -> Book:
        held, owned, width = self.held, self.owned, len(self.assets)
        isolated = np.zeros(len(owned), np.bool_)
        if "margin_mode" in owned.column_names:
            modes = _one(self.pa, self._text(owned, "margin_mode"))
            unknown = sorted(set(modes.unique().to_pylist()) - {"cross", "isolated"})
            if unknown:
                why = "must be cross or isolated"
                raise AccountError("frames", [Fault("positions.margin_mode", mode, why) for mode in unknown])
            isolated = np.array([mode == "isolated" for mode in modes.to_pylist()], np.bool_)
        cross = ~isolated
        # shared holdings: every balance, and every settle asset of a position or order; then one pocket a position
        reduces = np.zeros(len(self.rested), np.bool_)
        if "reduce_only" in self.rested.column_names:
            reduces = _flags(_one(self.pa, self.rested.column("reduce_only")), "reduce_only")
        below = self.rested_account * width + self.order_settle
        wanted = np.concatenate(
            [
                self.held_account * width + self.asset,
                (self.owned_account * width + self.settle)[cross],
                below[~reduces],
            ]
        )
        shared, row_of = np.unique(wanted, return_inverse=True)
        amount, bonus = np.zeros(len(shared)), np.zeros(len(shared))
        use = np.ones(len(shared), np.bool_)
        own = row_of[: len(held)]
        if len(np.unique(own)) < len(own):
            raise AccountError("frames", [Fault("balances", "", "an account and asset stand twice; add them up")])
        amount[own] = self._number(held, "wallet_balance", 0) - self._number(held, "accrued_interest", 0)
        bonus[own] = self._number(held, "bonus_credit", 0)
        if "use_as_collateral" in held.column_names:
            use[own] = _flags(_one(self.pa, held.column("use_as_collateral")), "use_as_collateral")
        pockets = np.flatnonzero(isolated)
        purse_account = np.concatenate([np.unique(shared // width), self.owned_account[pockets]])
        shared_accounts = len(purse_account) - len(pockets)
        per_purse = np.concatenate([np.unique(shared // width, return_counts=True)[1], np.ones(len(pockets), np.int64)])
        holding = np.empty(len(owned), np.int64)
        holding[cross] = row_of[len(held) : len(held) + np.count_nonzero(cross)]
        holding[pockets] = len(shared) + np.arange(len(pockets))
        order = np.lexsort((self.instrument, holding))
        margin = self._number(owned, "isolated_margin", np.nan)
        holdings = len(shared) + len(pockets)
        return Book(
            instruments=tuple(self.instruments),
            assets=tuple(self.assets),
            account_ids=self.ids,
            account=purse_account.astype(np.int64),
            isolated=np.arange(len(purse_account)) >= shared_accounts,
            open_orders=np.zeros(len(purse_account), np.bool_),
            holding_start=np.concatenate([[0], np.cumsum(per_purse)]).astype(np.int64),
            asset=np.concatenate([shared % width, self.settle[pockets]]).astype(np.int32),
            amount=np.concatenate([amount, margin[pockets]]),
            bonus_credit=np.concatenate([bonus, np.zeros(len(pockets))]),
            use_as_collateral=np.concatenate([use, np.ones(len(pockets), np.bool_)]),
            position_start=np.concatenate([[0], np.cumsum(np.bincount(holding, minlength=holdings))]).astype(np.int64),
            instrument=self.instrument[order],
            quantity=self._number(owned, "quantity", np.nan)[order],
            entry_price=self._number(owned, "entry_price", np.nan)[order],
            leverage=self._number(owned, "leverage", np.nan)[order],
            **self._orders(shared, below, reduces, holdings),
        )

    def _orders(
        self, shared: NDArray[np.int64], below: NDArray[np.int64], reduces: NDArray[np.bool_], holdings: int
    ) -> dict[str, NDArray[Any]]:
        """The columns of orders; a reduce-only one that settles where the account has nothing else is left out."""
        place = np.minimum(np.searchsorted(shared, below), max(len(shared) - 1, 0))
        there = np.flatnonzero(shared[place] == below) if len(shared) else np.empty(0, np.int64)
        rows = there[np.argsort(place[there], kind="stable")]
        counts = np.bincount(place[rows], minlength=holdings)
        return {
            "order_start": np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            "order_instrument": self.ordered[rows],
            "order_quantity": self._number(self.rested, "quantity", np.nan)[rows],
            "order_price": self._number(self.rested, "price", np.nan)[rows],
            "order_leverage": self._number(self.rested, "leverage", np.nan)[rows],
            "order_reduce_only": reduces[rows],
        }


def _one(pa: Any, column: Any) -> Any:
    """A column in one piece."""
    if not isinstance(column, pa.ChunkedArray):
        return column
    whole = column.combine_chunks()
    return whole.chunk(0) if isinstance(whole, pa.ChunkedArray) else whole


# files ----------------------------------------------------------------------------------------------------------------

ROWS = 65_536
"""Purses in one row group: what a thread takes at a time, small enough for memory, large enough to cost nothing."""
_NAMES = [
    "holdings.list.element.asset",
    "holdings.list.element.positions.list.element.symbol",
    "holdings.list.element.orders.list.element.symbol",
]
"""The columns worth a dictionary in Parquet: names that repeat. Figures do not."""


def book_batches(book: Book, *, rows: int = ROWS) -> Iterator[Any]:
    """The book as record batches of at most so many purses, in the form of :func:`book_to_arrow`, accounts in full."""
    pa = arrow()
    for start in range(0, max(book.purses, 1), rows):
        part = book.take(slice(start, start + rows))
        named = None if book.account_ids is None else [str(book.account_ids[number]) for number in part.account]
        account = pa.array(part.account) if named is None else pa.array(named, pa.string())
        table = (
            book_to_arrow(replace(part, account_ids=None), orders=book.orders > 0)
            .set_column(0, "account", account)
            .combine_chunks()
        )
        yield from table.to_batches() or [pa.RecordBatch.from_pylist([], schema=table.schema)]


def open_book(path: str | Path, *, metadata: Any = None) -> Any:
    """The Parquet file of a book (a ``pyarrow.parquet.ParquetFile``); nothing but the footer is read.

    Names come as dictionaries, whatever library wrote them. ``metadata``: the footer, for who opens the file again.
    Raises :class:`AccountError` for a file that is missing, empty, cut short or not Parquet.
    """
    pa = arrow()
    parquet = import_module("pyarrow.parquet")
    try:
        footer = metadata or parquet.read_metadata(str(path))
        paths = [footer.schema.column(number).path for number in range(len(footer.schema))]
        names = [name for name in paths if name.startswith("holdings.") and name.endswith((".asset", ".symbol"))]
        return parquet.ParquetFile(str(path), metadata=footer, read_dictionary=names)
    except (OSError, pa.ArrowException) as problem:
        raise AccountError(str(path), f"cannot be read as Parquet: {first_line(problem)}") from None


def first_line(problem: BaseException) -> str:
    """What a library complains of, in one line."""
    return (str(problem).splitlines() or [type(problem).__name__])[0].rstrip(".")


def read_book(path: str | Path) -> Book:
    """The book of a Parquet file of the nested form. Raises :class:`AccountError` for a file that cannot be read."""
    pa = arrow()
    file = open_book(path)
    try:
        # one row group at a time: what they hold below has dictionaries of its own in each
        groups = [file.read_row_group(number) for number in range(file.num_row_groups)]
    except (OSError, pa.ArrowException) as problem:
        raise AccountError(str(path), f"cannot be read as Parquet: {first_line(problem)}") from None
    return book_from_arrow(pa.concat_tables(groups).unify_dictionaries() if groups else file.schema_arrow.empty_table())


def write_book(path: str | Path, book: Book, *, rows: int = ROWS) -> None:
    """Write a book as a Parquet file of the nested form, ``rows`` purses in a row group; it appears only when whole.

    Raises :class:`AccountError` where it cannot be written.
    """
    arrow()
    parquet = import_module("pyarrow.parquet")
    batches = book_batches(book, rows=rows)
    first = next(batches)
    unfinished = Path(path).with_name(Path(path).name + ".unfinished")
    try:
        # without Arrow's own schema, so that names are plain text to whoever reads them
        with parquet.ParquetWriter(
            unfinished, first.schema, compression="lz4", use_dictionary=_NAMES, store_schema=False
        ) as writer:
            for batch in chain([first], batches):
                writer.write_batch(batch, row_group_size=max(1, batch.num_rows))
        unfinished.replace(path)
    except OSError as problem:
        raise AccountError(str(path), f"cannot be written: {problem.strerror or problem}") from None
    finally:
        unfinished.unlink(missing_ok=True)
