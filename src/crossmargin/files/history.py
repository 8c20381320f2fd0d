"""Price and funding histories of a file, CSV or Parquet, as bars."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from crossmargin.errors import MarketDataError
from crossmargin.files.text import parse_csv, read_bytes
from crossmargin.model.history import Bar, bars_from


def load_bars(path: str) -> tuple[Bar, ...]:
    """Bars of a file by its ending, ``.parquet`` or else CSV; columns as for :func:`crossmargin.bars_from`.

    Raises :class:`MarketDataError` with every fault and its place.
    """
    if Path(path).suffix.lower() == ".parquet":
        from crossmargin.files.frames import read_rows  # noqa: PLC0415 - only for who brings a Parquet file

        rows: list[dict[str, Any]] = read_rows(path, MarketDataError, lambda _: None)
        return bars_from(rows)
    data = read_bytes(path, MarketDataError)
    try:
        header = next(csv.reader(io.StringIO(data.decode("utf-8-sig"))), [])
    except UnicodeDecodeError as problem:
        raise MarketDataError(path, f"is not UTF-8 text (byte {problem.start})") from None
    return bars_from(parse_csv(data, path, MarketDataError, set(header)))
