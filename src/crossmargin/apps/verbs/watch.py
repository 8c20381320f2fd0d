"""``crossmargin watch``: accounts in a table that keeps itself up to date."""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from crossmargin.apps.options import Json, print_json

if TYPE_CHECKING:
    from rich.table import Table

    from crossmargin.apps.monitor.rules import KindName, Reading
    from crossmargin.apps.monitor.sources import Source

_KINDS: tuple[KindName, ...] = ("level", "margin_ratio", "distance")
Status = Literal["healthy", "warning", "liquidation", "unknown", "stale"]
_STATUS: dict[str, Status] = {"0": "healthy", "1": "warning", "2": "liquidation"}
_CODES = {"liquidation": 4, "unknown": 5, "stale": 5, "warning": 3, "healthy": 0}
"""The worst first."""
_STYLE = {"healthy": "green", "warning": "yellow", "liquidation": "bold red", "unknown": "bold red", "stale": "dim"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """One row. ``age`` in seconds; ``status`` is unknown or stale where the figures beside it cannot be relied on."""

    account: str
    status: Status
    currency: str | None
    equity: Decimal | None
    margin_ratio: Decimal | None
    nearest: str
    age: Decimal | None


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(watch)


def watch(
    accounts: Annotated[
        list[str],
        typer.Argument(metavar="FILE|VENUE...", help="Account files, or venues read with CROSSMARGIN_<VENUE>_KEY."),
    ],
    every: Annotated[int, typer.Option("--every", min=1, max=3600, help="Seconds between two reads of a venue.")] = 10,
    stale: Annotated[
        int, typer.Option("--stale", min=1, help="Seconds after which data is stale: greyed, and never healthy.")
    ] = 60,
    once: Annotated[
        bool, typer.Option("--once", help="Print one table and exit with the worst verdict's code.")
    ] = False,
    json: Json = False,
) -> None:
    """Show accounts in a live table: status, equity, ratio, the nearest liquidating move, age.

    A file is read again when it changes. Keys: r reads everything again, q quits.
    """
    sources = {name: _source(name, every) for name in dict.fromkeys(accounts)}
    if once or json:
        rows = _rows(sources, {}, stale)
        if json:
            print_json({"accounts": rows})
        else:
            from crossmargin.apps import tables

            tables.console.print(_table(rows))
        raise typer.Exit(_CODES[_worst(rows)])
    raise typer.Exit(_live(sources, stale))


def _source(name: str, every: int) -> Source:
    from crossmargin.apps.monitor.sources import FileSource, VenueSource
    from crossmargin.files.unified import VENUES

    if not os.path.exists(name) and name.partition("-")[0] in VENUES:  # noqa: PTH110 - a venue or a path
        return VenueSource(name, name, keys=None, allow_trading_key=False, every_seconds=every)
    return FileSource(name, name, prices=None, every_seconds=1)


def _rows(sources: dict[str, Source], seen: dict[str, Reading], stale: int) -> list[Watched]:
    """The table as it is now; ``seen`` keeps the last reading of each account."""
    from crossmargin.apps.monitor.observe import observe
    from crossmargin.apps.monitor.rules import Reading

    at = datetime.now(UTC)
    for source in sources.values():
        for one in source.poll(at) or ():
            seen[one.account] = one if isinstance(one, Reading) else observe(one, _KINDS)
    return [_row(seen[name], at, stale) for name in sources if name in seen]


def _row(reading: Reading, at: datetime, stale: int) -> Watched:
    age = None if reading.as_of is None else Decimal(max(0, int((at - reading.as_of).total_seconds())))
    level, ratio = reading.figures.get("level"), reading.figures.get("margin_ratio")
    status: Status = "unknown" if level is None or reading.problem or age is None else _STATUS[str(level)]
    incomplete = {name: why for name, why in reading.unknown.items() if name != "margin_ratio"}
    if status in ("healthy", "warning") and age is not None and age > stale:
        status = "stale"
    if status == "healthy" and incomplete:
        status = "unknown"
    return Watched(
        account=reading.account,
        status=status,
        currency=reading.currency,
        equity=reading.equity,
        margin_ratio=ratio if isinstance(ratio, Decimal) and reading.equity else None,
        nearest=reading.problem or reading.words.get("distance") or "; ".join(incomplete.values()) or "unknown",
        age=age,
    )


def _worst(rows: list[Watched]) -> str:
    found = {row.status for row in rows}
    return next((status for status in _CODES if status in found), "unknown")


# the terminal ---------------------------------------------------------------------------------------------------------


def _table(rows: list[Watched]) -> Table:
    from crossmargin.apps import tables

    cells = [
        [
            row.account,
            row.status,
            row.nearest,
            f"{tables.shown(row.equity)} {row.currency or ''}".strip(),
            tables.percent(row.margin_ratio),
            _age(row.age),
        ]
        for row in rows
    ]
    columns = ["account", "status", "nearest liquidation", "equity", "margin_ratio", "age"]
    table = tables._figures("Accounts", columns, cells, left=3)
    # a sentence is read in one line where the window has room for it
    table.columns[2].min_width = min(48, max((len(row.nearest) for row in rows), default=1))
    for row, line in zip(rows, table.rows, strict=True):
        line.style = _STYLE[row.status]
    return table


def _age(age: Decimal | None) -> str:
    """Seconds as people say them."""
    if age is None:
        return "unknown"
    for unit, name in ((86_400, "d"), (3600, "h"), (60, "min")):
        if age >= 2 * unit:
            return f"{int(age // unit)} {name}"
    return f"{age} s"


def _live(sources: dict[str, Source], stale: int) -> int:
    """Draw until q or Ctrl-C; the exit code of what was shown last."""
    from rich.live import Live

    from crossmargin.apps import tables

    seen: dict[str, Reading] = {}
    due = dict.fromkeys(sources, 0.0)
    rows: list[Watched] = []
    with _keys() as pressed, Live(console=tables.console, auto_refresh=False, screen=True) as live:
        try:
            while True:
                now = time.monotonic()
                asked = {name: source for name, source in sources.items() if due[name] <= now}
                due.update({name: now + source.every_seconds for name, source in asked.items()})
                _rows(asked, seen, stale)
                rows = [_row(seen[name], datetime.now(UTC), stale) for name in sources if name in seen]
                live.update(_table(rows), refresh=True)
                key = pressed(1.0)
                if key == "q":
                    break
                if key == "r":
                    due = dict.fromkeys(sources, 0.0)
        except KeyboardInterrupt:
            pass
    return _CODES[_worst(rows)]


@contextmanager
def _keys() -> Iterator[Callable[[float], str]]:
    """A function that waits so long for a key and says which; where there is no keyboard it only waits."""
    if not sys.stdin.isatty():

        def silent(seconds: float) -> str:
            time.sleep(seconds)
            return ""

        yield silent
        return
    import termios
    import tty

    before = termios.tcgetattr(sys.stdin)

    def pressed(seconds: float) -> str:
        ready, _, _ = select.select([sys.stdin], [], [], seconds)
        return sys.stdin.read(1) if ready else ""

    try:
        tty.setcbreak(sys.stdin)
        yield pressed
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
