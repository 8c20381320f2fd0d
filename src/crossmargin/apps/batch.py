"""The shard function of a book: a record batch of purses in, a record batch of judged pools out.

A shard holds whole pools, and a pool's figures depend on nothing but its own rows, the market and the rules. So the
same bits come out however a book is cut, on one thread, on many, or on many machines; Spark's ``mapInArrow``, Ray's
``map_batches`` and Dask call it as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import reduce
from operator import add
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet

from crossmargin.analytics.book import BookReport, BookThresholds, judge_book
from crossmargin.analytics.book_risk import CompiledRules, pool_names, positions_of
from crossmargin.engine.book import Book
from crossmargin.engine.columns import Offsets, Reason, Side, Status
from crossmargin.engine.interchange import ROWS, book_from_arrow, first_line, open_book
from crossmargin.errors import AccountError, Fault
from crossmargin.files.frames import check_schema
from crossmargin.model.market import Market
from crossmargin.model.profile import Rules

_WORDS = pa.dictionary(pa.int8(), pa.string())
_NAMES = pa.dictionary(pa.int32(), pa.string())
_FIGURES = (
    "equity",
    "initial_margin",
    "maintenance_margin",
    "headroom",
    "free_collateral",
    "margin_ratio",
)
_CROSSING = [("below", pa.float64()), ("above", pa.float64()), ("below_kind", _WORDS), ("above_kind", _WORDS)]
_COMMON = [(f"common_{name}", kind) for name, kind in _CROSSING]
_NESTED_NAMES = ("symbol", "asset", "below_kind", "above_kind")
_STATUS = tuple(status.name.lower() for status in Status)
_SIDE = tuple(side.name.lower() for side in Side)
_REASON: dict[int, str] = {reason: reason.name.lower() for reason in Reason if reason != Reason.NONE}


def result_schema(account: Any, *, thresholds: bool) -> Any:
    """The columns of a judged batch: one row a pool, what is not known is null.

    ``account`` is the type of that column. ``pool``: the settle asset, ``account`` where everything is one pool, or the
    isolated position; figures in ``currency``. With ``thresholds`` also where the pool is liquidated: ``positions`` has
    the price of each position's contract; ``collateral`` the move of each coin that is held without a position on it;
    ``common_*`` the move of all coins together (-0.12 = 12 % down). Contracts on one coin and the coin move together.
    """
    kept = [
        ("account", account),
        ("pool", _NAMES),
        ("currency", _NAMES),
        ("status", _WORDS),
        ("level", _WORDS),
        ("reason", _WORDS),
        *((name, pa.float64()) for name in _FIGURES),
    ]
    if thresholds:
        kept += _COMMON
        kept.append(("positions", pa.large_list(pa.struct([("symbol", _NAMES), *_CROSSING]))))
        kept.append(("collateral", pa.large_list(pa.struct([("asset", _NAMES), *_CROSSING]))))
    return pa.schema(kept)


def plain_schema(schema: Any) -> Any:
    """The same columns with words as text, for engines without dictionaries: ``batch.cast(plain_schema(...))``."""
    return pa.schema([field.with_type(_plain(field.type)) for field in schema])


def _plain(kind: Any) -> Any:
    """A type without dictionaries, all the way down."""
    if pa.types.is_dictionary(kind):
        return kind.value_type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return (pa.list_ if pa.types.is_list(kind) else pa.large_list)(_plain(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_plain(field.type)) for field in kind])
    return kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What was judged, in numbers. Tallies of shards add up to that of the book.

    ``rejudged``: how many verdicts lay within rounding of a line, so that the exact judge decided them.
    """

    purses: int = 0
    pools: int = 0
    positions: int = 0
    status: Mapping[str, int] = field(default_factory=dict)
    reasons: Mapping[str, int] = field(default_factory=dict)
    rejudged: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(**{f.name: _sum(getattr(self, f.name), getattr(other, f.name)) for f in fields(self)})


def _sum(one: Any, two: Any) -> Any:
    if not isinstance(one, Mapping):
        return one + two
    return {key: one.get(key, 0) + two.get(key, 0) for key in dict.fromkeys([*one, *two])}


def part_bytes(result: Any) -> Any:
    """A judged batch as the bytes of a Parquet file of one row group."""
    sink = pa.BufferOutputStream()
    named = [field.name for field in result.schema if pa.types.is_dictionary(field.type)]
    nested = (f"{at}.list.element.{name}" for at in ("positions", "collateral") for name in _NESTED_NAMES)
    with parquet.ParquetWriter(
        sink,
        result.schema,
        compression="lz4",
        use_dictionary=[*named, *nested],
        write_statistics=list(_FIGURES),
        store_schema=False,
    ) as writer:
        writer.write_batch(result, row_group_size=max(1, result.num_rows))
    return sink.getvalue()


def total(tallies: Iterable[Tally]) -> Tally:
    """The tally of all shards; every status is named, those without a pool with 0."""
    return reduce(add, tallies, Tally(status=dict.fromkeys(_STATUS, 0)))


class Shard:
    """``shard(batch) -> batch``: judge the pools of a record batch by one market and one set of rules.

    Pickles as its inputs; rules are compiled where it runs, once for the names of a batch. Raises
    :class:`AccountError` for columns that do not fit, :class:`UnsupportedRule` for rules without a compiled form.
    """

    def __init__(self, market: Market, rules: Rules, *, thresholds: bool = False, threads: int = 1) -> None:
        self.market = market
        self.rules = rules
        self.thresholds = thresholds
        self.threads = threads
        self._compiled = CompiledRules(rules)

    def __call__(self, batch: Any) -> Any:
        """The judged pools of a batch, in its order."""
        return self.judged(batch)[0]

    def judged(self, batch: Any) -> tuple[Any, Tally]:
        """The judged pools of a batch, and what they are in numbers."""
        account, book = _book(batch)
        tables = self._compiled(book)
        report, crossings = judge_book(book, self.market, tables, thresholds=self.thresholds, threads=self.threads)
        columns = _columns(report, account, *pool_names(book, report, unified=tables.unified))
        if crossings is not None:
            columns += _threshold_columns(book, report, crossings, positions_of(book, unified=tables.unified))
        result = pa.RecordBatch.from_arrays(columns, schema=self.schema(account.type))
        tally = Tally(
            purses=book.purses,
            pools=result.num_rows,
            positions=book.positions,
            status=report.counts,
            reasons=report.reasons,
            rejudged=report.rejudged + (0 if crossings is None else crossings.rejudged),
        )
        return result, tally

    def schema(self, account: Any) -> Any:
        """The columns of what comes out, where ``account`` of what goes in has this type."""
        return result_schema(_plain(account), thresholds=self.thresholds)


def _book(batch: Any) -> tuple[Any, Book]:
    """(account of each purse, the book); the book numbers its purses, so that no id is made a Python text."""
    check_schema(batch.schema, "record batch")
    account = batch.column("account")
    if account.null_count:
        why = "must be stated in every row: a row without it belongs to nobody"
        raise AccountError("record batch", (Fault("account", f"{account.null_count} nulls", why),))
    account = account.cast(_plain(account.type))
    names = [name for name in batch.schema.names if name != "account"]
    rest = pa.Table.from_batches([batch.select(names)])
    return account, book_from_arrow(rest.append_column("account", pa.array(np.arange(batch.num_rows))))


# columns --------------------------------------------------------------------------------------------------------------


def _columns(report: BookReport, account: Any, pools: NDArray[np.int32], names: tuple[str, ...]) -> list[Any]:
    """The columns of a report in the order of the schema."""
    return [
        account.take(pa.array(report.purse)),
        _named(pools, names),
        _named(report.currency, report.assets),
        _named(report.status.astype(np.int8), _STATUS),
        _worded(report.level, dict(enumerate(report.levels))),
        _worded(report.reason, _REASON),
        *(pa.array(getattr(report, name), from_pandas=True) for name in _FIGURES),
    ]


def _threshold_columns(book: Book, report: BookReport, found: BookThresholds, start: Offsets) -> list[Any]:
    """Where the pool is liquidated: all coins together, each position's contract, each coin that is only held."""
    held = ~found.has_position
    held_start = np.concatenate([[0], np.cumsum(np.bincount(found.pool[held], minlength=len(report.purse)))])
    positions = [_named(book.instrument, book.instruments), *_crossing(found, "position_")]
    coins = [_named(found.coin[held], found.assets), *_crossing(found, "", held)]
    return [
        *_crossing(found, "common_"),
        _list(start, positions, [("symbol", _NAMES), *_CROSSING]),
        _list(held_start, coins, [("asset", _NAMES), *_CROSSING]),
    ]


def _crossing(found: BookThresholds, prefix: str, rows: Any = slice(None)) -> list[Any]:
    below, above = (pa.array(getattr(found, prefix + side)[rows], from_pandas=True) for side in ("below", "above"))
    kinds = (_named(getattr(found, f"{prefix}{side}_kind")[rows].astype(np.int8), _SIDE) for side in ("below", "above"))
    return [below, above, *kinds]


def _list(start: NDArray[np.int64], columns: list[Any], kept: list[Any]) -> Any:
    structs = pa.StructArray.from_arrays(columns, fields=[pa.field(*column) for column in kept])
    return pa.LargeListArray.from_arrays(pa.array(start, pa.int64()), structs)


def _named(codes: NDArray[Any], names: Iterable[str]) -> Any:
    """Codes as a dictionary of names; -1 is null."""
    null = codes < 0
    return pa.DictionaryArray.from_arrays(
        pa.array(codes, mask=null if null.any() else None), pa.array(list(names), pa.string())
    )


def _worded(codes: NDArray[Any], words: Mapping[int, str]) -> Any:
    """Codes as words; what has none is null."""
    place = np.full(256, -1, np.int8)
    for index, code in enumerate(words):
        place[code] = index
    return _named(place[codes.astype(np.int64) & 255], words.values())


# a book in parts ------------------------------------------------------------------------------------------------------


def checked_book(path: str) -> Any:
    """The Parquet file of a book, open, its columns checked. Raises :class:`AccountError` naming what is wrong."""
    file = open_book(path)
    check_schema(file.schema_arrow, path)
    return file


def books_of(path: str, *, rows: int = ROWS) -> Iterator[Book]:
    """The book of a Parquet file, part by part, in bounded memory.

    Raises :class:`AccountError` for a file that cannot be read and for columns that do not fit.
    """
    file = checked_book(path)
    try:
        for group in range(file.num_row_groups):  # names of two groups do not share a dictionary
            for batch in file.iter_batches(rows, row_groups=[group]):
                yield book_from_arrow(pa.Table.from_batches([batch]))
    except (OSError, pa.ArrowException) as problem:
        raise AccountError(path, f"cannot be read: {first_line(problem)}") from None
