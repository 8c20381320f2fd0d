"""Price and funding history: bars in the order of time, whatever table they come from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from crossmargin.errors import Fault, MarketDataError

Prices = Mapping[str, Decimal]
_PARTS = ("open", "high", "low", "funding")
_TIME = ("time", "date")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """What happened until ``time``: prices by coin (every contract on it and the coin itself) or by symbol.

    ``close`` names every price; ``open``, ``high`` and ``low`` those that are known. ``funding_rate``, by coin or
    symbol: the sum of the rates whose payments fell due within the bar, a fraction; a name left out pays nothing.
    """

    time: datetime
    close: Prices
    open: Prices = field(default_factory=dict)
    high: Prices = field(default_factory=dict)
    low: Prices = field(default_factory=dict)
    funding_rate: Prices = field(default_factory=dict)


def bars_from(rows: Iterable[Mapping[str, Any]]) -> tuple[Bar, ...]:
    """Bars from the rows of any table, oldest first: pandas ``to_dict("records")``, Polars ``iter_rows(named=True)``.

    Columns: ``time`` or ``date``; ``BTC`` (the close), and optionally ``BTC@open``, ``BTC@high``, ``BTC@low`` and
    ``BTC@funding``; a symbol (``BTC/USDT:USDT``) in place of a coin prices one contract only. A binary float is read
    by its shortest text. An empty funding cell is no payment; an empty price is a fault, because a gap would pass for
    a quiet market. Raises :class:`MarketDataError` with every fault.
    """
    faults: list[Fault] = []
    bars: list[Bar] = []
    for index, row in enumerate(rows):
        bar = _bar(f"bars[{index}]", row, faults)
        if bars and bar.time <= bars[-1].time:
            faults.append(Fault(f"bars[{index}].time", str(bar.time), "must be later than that of the bar before"))
        if bars and bar.close.keys() != bars[-1].close.keys():
            odd = sorted(bar.close.keys() ^ bars[-1].close.keys())
            faults.append(Fault(f"bars[{index}]", ", ".join(odd), "is not priced in every bar; fill the gap"))
        bars.append(bar)
    if not bars:
        faults.append(Fault("bars", "", "is empty; give at least one bar"))
    if faults:
        raise MarketDataError("price history", faults)
    return tuple(bars)


def _bar(path: str, row: Mapping[str, Any], faults: list[Fault]) -> Bar:
    parts: dict[str, dict[str, Decimal]] = {part: {} for part in ("close", *_PARTS)}
    time = datetime.min.replace(tzinfo=UTC)
    given = next((row[name] for name in _TIME if name in row), None)
    try:
        time = _time(given)
    except (TypeError, ValueError):
        faults.append(Fault(f"{path}.time", str(given), "must be a date and time such as 2025-10-10T21:00:00Z"))
    for key, cell in row.items():
        if key in _TIME:
            continue
        name, _, part = key.partition("@")
        if (part or "close") not in parts or part == "close":
            faults.append(Fault(f"{path}.{key}", "", f"is not a known column; after @ stands {', '.join(_PARTS)}"))
        elif part == "funding" and _is_empty(cell):
            continue
        else:
            _read(f"{path}.{key}", cell, parts[part or "close"], name, faults, rate=part == "funding")
    _check_order(path, parts, faults)
    funding = parts.pop("funding")
    return Bar(time=time, funding_rate=funding, **parts)


def _read(path: str, cell: Any, into: dict[str, Decimal], name: str, faults: list[Fault], *, rate: bool) -> None:
    try:
        value = number_of(cell)
    except ValueError:
        why = "is not a rate" if rate else "is not a price; a gap cannot be guessed, fill it"
        faults.append(Fault(path, str(cell), why))
        return
    if (not -1 <= value <= 1) if rate else value <= 0:
        why = "must be a fraction from -1 to 1 (0.01 % is 0.0001)" if rate else "must be greater than 0"
        faults.append(Fault(path, str(cell), why))
        return
    into[name] = value


def _check_order(path: str, parts: Mapping[str, Prices], faults: list[Fault]) -> None:
    """The range of a bar holds its open and its close, and is of something that has a close."""
    for part in ("open", "high", "low"):
        for name, price in parts[part].items():
            close = parts["close"].get(name)
            if close is None:
                faults.append(Fault(f"{path}.{name}@{part}", str(price), f"has no close; add the column {name}"))
                continue
            ends = (close, parts["open"].get(name, close))
            if (part == "high" and price < max(ends)) or (part == "low" and price > min(ends)):
                faults.append(Fault(f"{path}.{name}@{part}", str(price), f"does not hold the bar's prices {ends}"))


def number_of(cell: Any) -> Decimal:
    """A number of a table: a decimal, an integer, a text, or a float by its shortest text; else a ValueError."""
    if isinstance(cell, bool) or cell is None:
        raise ValueError("is not a number")
    try:
        value = cell if isinstance(cell, Decimal) else Decimal(cell if isinstance(cell, int) else _text(cell))
    except InvalidOperation:
        raise ValueError("is not a number") from None
    if not value.is_finite():
        raise ValueError("is not a number")
    return value


def _text(cell: Any) -> str:
    return cell if isinstance(cell, str) else repr(float(cell))


def _is_empty(cell: Any) -> bool:
    return cell is None or cell == "" or cell != cell  # noqa: PLR0124 - the NaN of a frame is an empty cell


def _time(value: Any) -> datetime:
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day, tzinfo=UTC)
    when = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
