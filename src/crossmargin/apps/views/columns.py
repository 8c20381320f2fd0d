"""How rows of results become a table of texts: one column a field, figures for people."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from decimal import Decimal
from operator import attrgetter
from typing import Any

from crossmargin.apps.page import Table
from crossmargin.apps.tables import percent, shown
from crossmargin.model.number import plain
from crossmargin.model.report import Crossing

Column = str | tuple[str, Callable[[Any], Any]]
"""A field of the row; ``header:field``, where it is called otherwise; or a header and how to read it off a row."""

_SHARES = frozenset(
    ["margin_ratio", "breaks_at", "value_share", "equity_lost", "move", "share", "probability",
     "low", "high", "nearest", "distance"]
)  # fmt: skip
"""Fields that are fractions and read as per cent."""


_MOVES = frozenset(["move", "distance", "nearest"])
"""Of them, those that say which way a price goes: with their sign."""
_COUNTS = frozenset(["quantity", "amount", "largest_scale", "capital_efficiency"])
"""Fields that have as many digits as they have; the others are money or prices."""
_DUST = Decimal("1e-8")
"""What is nearer to 0 reads as 0.00, with its sign: what the digits of a threshold leave over."""


def table(rows: Iterable[Any], *columns: Column, words: str = "", title: str = "") -> Table:
    """A table of one row an item; columns named in ``words`` are text that may wrap."""
    read: list[tuple[str, str, Callable[[Any], Any]]] = []
    for column in columns:
        if isinstance(column, tuple):
            read.append((column[0], column[0], column[1]))
        else:
            header, _, field = column.partition(":")
            name = field or header
            read.append((header, name, attrgetter(name)))
    return Table(
        columns=[header for header, _, _ in read],
        rows=[[text(name, get(row)) for _, name, get in read] for row in rows],
        words=frozenset(words.split()),
        title=title,
    )


def moved(value: Decimal | None) -> str:
    """A move of a price as per cent, with its sign."""
    return "unknown" if value is None else f"{value * 100:+.2f} %"


def amount(value: Decimal | None) -> str:
    """Money or a price as the dashboard shows it: two decimals, and four significant digits where it is below 1."""
    if value is None:
        return "unknown"
    if not _DUST <= abs(value) < 1:
        return f"{value:,.2f}"
    head, tail = f"{value:.{3 - value.adjusted()}f}".split(".")
    return f"{head}.{tail.rstrip('0').ljust(2, '0')}"


def text(name: str, value: Any) -> str:
    """One value for people; what is None is unknown."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Decimal) or value is None:
        if name == "funding_rate" and value is not None:
            return f"{plain(value * 100)} %"  # a rate of an interval is far below a hundredth of a per cent
        if name in _MOVES:
            return moved(value)
        if name in _SHARES:
            return percent(value)
        return shown(value) if name in _COUNTS else amount(value)
    if isinstance(value, Crossing):
        return side(value)
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M} UTC"
    if isinstance(value, tuple):
        return "; ".join(text(name, item) for item in value)
    return str(value)


def side(found: Crossing) -> str:
    """One side of a threshold: the price and the move to it, or never, already, or unknown with its reason."""
    if found.kind == "price":
        move = "" if found.distance is None else f"{found.distance * 100:+.1f} %"
        return move if found.price is None else f"{amount(found.price)} ({move})"
    return found.kind if found.reason is None else f"{found.kind}: {found.reason}"


def held(row: Any) -> str:
    """A position's symbol, with its side in hedge mode."""
    return str(row.symbol) + ("" if row.position_side == "net" else f" {row.position_side}")
