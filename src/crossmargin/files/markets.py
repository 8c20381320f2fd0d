"""The market of a book as a file: TOML or JSON in the words of the account file, or a table as CSV or Parquet."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from crossmargin.errors import Fault, MarketDataError
from crossmargin.files.accounts import MarketFile
from crossmargin.files.text import parse_csv, parse_table, read_bytes
from crossmargin.model.brackets import AssetRule, InstrumentRule
from crossmargin.model.market import Market
from crossmargin.model.noun import faults_of
from crossmargin.model.number import plain

COLUMNS = ("mark_price", "last_price", "index_price", "bid_rate", "ask_rate")
"""The columns of a table beside ``name``: the first two by symbol, the others by asset."""


class BookMarket(NamedTuple):
    """One market for many accounts, and what its file restates of the rules."""

    market: Market
    instruments: tuple[InstrumentRule, ...]
    assets: tuple[AssetRule, ...]


def read_market(path: str, *, on: datetime | None = None) -> BookMarket:
    """Read a market by the ending of its file: ``.toml``, ``.json``, ``.csv`` or ``.parquet``.

    TOML and JSON have the keys of an account file without the account (``as_of``, ``market``, ``instruments``,
    ``assets``). A table has one row a name: ``name`` (a symbol or an asset) and any of :data:`COLUMNS`; an empty cell
    is no price. ``on`` overrides ``as_of`` and stands for it where the file has none. Raises :class:`MarketDataError`
    with every fault and its place; a price that is missing is none, a price of 0, below 0 or NaN is one.
    """
    ending = Path(path).suffix.lower()
    if ending == ".parquet":
        raw = _from_rows(_parquet_rows(path), path)
    else:
        data = read_bytes(path, MarketDataError)
        if ending == ".csv":
            raw = _from_rows(_csv_rows(data, path), path)
        else:
            raw = parse_table(data, path, MarketDataError, form="json" if ending == ".json" else None)
    try:
        file = MarketFile.model_validate(raw)
    except ValidationError as error:
        raise MarketDataError(path, faults_of(error)) from None
    when = on or file.as_of
    if when is None:
        raise MarketDataError(path, (Fault("as_of", "", "is missing; give it in the file or as --on"),))
    return BookMarket(file.at(when), file.instruments, file.assets)


def _csv_rows(data: bytes, where: str) -> list[dict[str, str]]:
    try:
        head = next(csv.reader(io.StringIO(data.decode("utf-8-sig"))), [])
    except UnicodeDecodeError as problem:
        raise MarketDataError(where, f"is not UTF-8 text (byte {problem.start})") from None
    _check_columns(head, where)
    return parse_csv(data, where, MarketDataError, {"name", *COLUMNS})


def _parquet_rows(path: str) -> list[dict[str, Any]]:
    from crossmargin.files.frames import read_rows  # noqa: PLC0415 - only for who brings a Parquet file

    return read_rows(path, MarketDataError, lambda names: _check_columns(names, path))


def _check_columns(names: Iterable[str], where: str) -> None:
    found = list(names)
    faults = [Fault(name, "", f"is not a known column; known are name, {', '.join(COLUMNS)}") for name in found
              if name not in ("name", *COLUMNS)]  # fmt: skip
    faults += [Fault(name, "", "stands twice") for name in dict.fromkeys(found) if found.count(name) > 1]
    if "name" not in found:
        faults.append(Fault("name", "", "is missing; give the symbol or asset of each row"))
    if faults:
        raise MarketDataError(where, faults)


def _from_rows(rows: Iterable[Mapping[str, Any]], where: str) -> dict[str, Any]:
    tables: dict[str, dict[str, str]] = {column: {} for column in COLUMNS}
    seen: set[str] = set()
    faults = []
    for number, row in enumerate(rows, start=1):
        name = row["name"]
        if not isinstance(name, str) or not name:
            faults.append(Fault(f"row {number}.name", str(name), "must be a symbol or an asset"))
            continue
        if name in seen:
            faults.append(Fault(f"row {number}.name", name, "stands twice; a price must be one"))
        seen.add(name)
        for column, table in tables.items():
            cell = row.get(column)
            if cell is not None and cell != "":
                table[name] = as_written(cell)
    if faults:
        raise MarketDataError(where, faults)
    return {"market": tables}


def as_written(cell: Any) -> str:
    """A cell as written; a binary float by its shortest text, rounded to the 18 decimals that an input may have."""
    return plain(Decimal(repr(cell))) if isinstance(cell, float) and isfinite(cell) else str(cell)
