"""Scenario files (TOML, JSON, CSV, Parquet), the historical scenarios that ship, and price histories."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from decimal import Decimal
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

from pydantic import ValidationError, model_validator

from crossmargin.errors import AccountError, Fault
from crossmargin.files.text import parse_csv, parse_table, read_bytes
from crossmargin.model.noun import SOME, Noun, faults_of
from crossmargin.model.scenario import Scenario

INDEX = "@index"
_WORDS = ("name", "title", "source", "others")


class ScenarioFile(Noun):
    """The wire format of scenarios in TOML or JSON: ``[[scenarios]]`` with a name and moves."""

    scenarios: Annotated[tuple[Scenario, ...], SOME]

    @model_validator(mode="after")
    def _named_once(self) -> ScenarioFile:
        names = [scenario.name for scenario in self.scenarios]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"scenarios: {', '.join(twice)} stands more than once; a name is how a result is found")
        return self


def historical_scenarios() -> tuple[Scenario, ...]:
    """The days of falling markets that ship with the package, each with its source."""
    path = Path(str(resources.files("crossmargin") / "scenarios" / "historical.toml"))
    return load_scenarios(str(path))


def load_scenarios(path: str) -> tuple[Scenario, ...]:
    """Scenarios of a file, by its ending: ``.toml``, ``.json``, ``.csv`` or ``.parquet``.

    A table has one row a scenario: ``name``, then a column for each coin, ``ASSET@index`` for a move of one index
    price only, and optionally ``others``, ``title`` and ``source``. An empty cell names no move. Raises
    :class:`AccountError` with every fault and its place.
    """
    ending = Path(path).suffix.lower()
    if ending == ".parquet":
        return _from_rows(_parquet_rows(path), path)
    data = read_bytes(path, AccountError)
    if ending == ".csv":
        return _from_rows(parse_csv(data, path, AccountError, set(_header(data))), path)
    return _validated(parse_table(data, path, AccountError, form="json" if ending == ".json" else None), path)


def _validated(raw: Mapping[str, Any], where: str) -> tuple[Scenario, ...]:
    try:
        return ScenarioFile.model_validate(raw).scenarios
    except ValidationError as error:
        raise AccountError(where, faults_of(error)) from None


def _header(data: bytes) -> list[str]:
    try:
        return next(csv.reader(io.StringIO(data.decode("utf-8-sig"))), [])
    except UnicodeDecodeError as problem:
        raise AccountError("scenario table", f"is not UTF-8 text (byte {problem.start})") from None


def _parquet_rows(path: str) -> list[dict[str, Any]]:
    try:
        from pyarrow import ArrowException, parquet  # noqa: PLC0415 - only for who brings a Parquet file
    except ImportError:
        why = "Parquet needs the library pyarrow; install crossmargin[book], or give the table as CSV"
        raise AccountError(path, why) from None
    try:
        rows: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
    except (OSError, ArrowException) as problem:
        raise AccountError(path, f"cannot be read as Parquet: {problem}") from None
    return rows


def _from_rows(rows: Iterable[Mapping[str, Any]], where: str) -> tuple[Scenario, ...]:
    scenarios = []
    for row in rows:
        cells = {key: _text(cell) for key, cell in row.items() if cell is not None and cell != ""}
        scenario: dict[str, Any] = {key: cells.pop(key) for key in _WORDS if key in cells}
        scenario["index_moves"] = {k.removesuffix(INDEX): v for k, v in cells.items() if k.endswith(INDEX)}
        scenario["moves"] = {key: cell for key, cell in cells.items() if not key.endswith(INDEX)}
        scenarios.append(scenario)
    return _validated({"scenarios": scenarios}, where)


def _text(cell: Any) -> str:
    """A cell as written; a binary float of a Parquet file by its shortest text, which is what its writer saw."""
    return format(Decimal(repr(cell)), "f") if isinstance(cell, float) else str(cell)


def load_history(path: str) -> dict[str, list[float]]:
    """A price history from CSV: ``date`` (ISO), then a column of closing prices for each coin, oldest first.

    Raises :class:`AccountError` naming every missing price and every step in the dates that differs from the first:
    a gap would pass for a quiet market.
    """
    data = read_bytes(path, AccountError)
    coins = [name for name in _header(data) if name != "date"]
    rows = parse_csv(data, path, AccountError, {"date", *coins})
    faults = [] if coins else [Fault("header", "", "names no coin; give date and one column a coin")]
    prices: dict[str, list[float]] = {coin: [] for coin in coins}
    days: list[datetime] = []
    for line, row in enumerate(rows, start=2):
        try:
            days.append(datetime.fromisoformat(row["date"]))
        except (KeyError, ValueError):
            faults.append(Fault(f"line {line}.date", row.get("date", ""), "must be an ISO date such as 2026-11-20"))
        for coin in coins:
            try:
                prices[coin].append(float(row[coin]))
            except ValueError:
                faults.append(
                    Fault(f"line {line}.{coin}", row[coin], "is not a price; a gap cannot be guessed, fill it")
                )
    if not faults and len(days) > 2:
        step = days[1] - days[0]
        for line, (before, after) in enumerate(itertools.pairwise(days), start=3):
            if after - before != step:
                why = f"follows {_day(before)} by {after - before}, not by {step}; the history has a gap"
                faults.append(Fault(f"line {line}.date", _day(after), why))
    if faults:
        raise AccountError(path, faults)
    return prices


def _day(moment: datetime) -> str:
    return date.isoformat(moment)
