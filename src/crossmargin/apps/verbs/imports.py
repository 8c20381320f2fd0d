"""``crossmargin import``: an account file from what a venue or an exchange client answers."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crossmargin.apps.options import Json, print_json
from crossmargin.errors import AccountError, Fault, MarketDataError, ProfileError, VenueError

if TYPE_CHECKING:
    from crossmargin.files.unified import Imported

Venue = Annotated[
    str,
    typer.Argument(metavar="VENUE", help="A venue (binance) or the profile that shall judge (binance-usdm)."),
]
From = Annotated[
    list[str] | None,
    typer.Option("--from", metavar="FILE", help="An answer, as JSON or as a program printed it; repeatable."),
]
With = Annotated[
    list[str] | None,
    typer.Option("--with", metavar="FILE", help="A part of an account file that goes over the answers; repeatable."),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="One field: positions.BTC/USDT:USDT.leverage=10; repeatable."),
]
As = Annotated[
    str | None, typer.Option("--as", metavar="SHAPE", help="Read the answers as this shape (--shapes lists them).")
]
On = Annotated[
    str | None, typer.Option("--on", metavar="TIME", help="The moment of the account, where no answer says it.")
]
Live = Annotated[
    bool, typer.Option("--live", help="Read from the venue with the read-only key in CROSSMARGIN_<VENUE>_KEY, _SECRET.")
]
AnyKey = Annotated[
    bool,
    typer.Option("--allow-trading-key", help="Take a key that can trade or withdraw too; a read-only one is safer."),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("import")(import_account)


def import_account(
    venue: Venue,
    files: From = None,
    fragments: With = None,
    settings: Set = None,
    shape: As = None,
    on: On = None,
    live: Live = False,
    allow_trading_key: AnyKey = False,
    shapes: Annotated[bool, typer.Option("--shapes", help="List the shapes that are recognised, and stop.")] = False,
    out: Annotated[
        str | None, typer.Option("--out", metavar="FILE", help="Write the account file here, not to the screen.")
    ] = None,
    json: Json = False,
) -> None:
    """Make an account file of what a venue answered, with what it reported beside; nothing missing is filled in."""
    if shapes:
        from crossmargin.files.payloads.shapes import shape_names

        typer.echo("\n".join(shape_names(venue)))
        return
    with at_venue(venue, live):
        imported = read_account(venue, files, fragments, settings, shape, on, live=live, allow=allow_trading_key)
        _check(imported)
    if out is not None:
        _write(out, imported.toml())
    if json:
        print_json(imported)
    elif out is None:
        sys.stdout.write(imported.toml())
    _say(imported, out)


def read_account(
    venue: str,
    files: list[str] | None,
    fragments: list[str] | None,
    settings: list[str] | None,
    shape: str | None,
    on: str | None,
    *,
    live: bool,
    allow: bool,
) -> Imported:
    """The account of these answers, files or live."""
    from crossmargin.files.accounts import read_table
    from crossmargin.files.unified import import_account as read
    from crossmargin.files.unified import read_payload_file

    payloads = [read_payload_file(path) for path in files or ()]
    when = None if on is None else _moment(on)
    notes: tuple[str, ...] = ()
    if live:
        found = _live(venue, allow)
        payloads, when, notes = [*found.payloads, *payloads], when or found.when, found.notes
    elif not payloads:
        raise AccountError("import", (Fault("--from", "", "is missing; name the answers, or read --live"),))
    for note in notes:
        typer.echo(f"note: {note}", err=True)
    return read(
        payloads,
        venue=venue,
        shape=shape,
        fragments=[read_table(path)[0] for path in fragments or ()],
        settings=settings or (),
        on=when,
    )


@contextmanager
def at_venue(venue: str, live: bool) -> Iterator[None]:
    """What cannot be read of an account that was read live is the venue's failure, and says so by its exit code."""
    try:
        yield
    except (AccountError, MarketDataError) as error:
        if not live:
            raise
        raise VenueError(venue, error.faults) from None


def _live(venue: str, allow: bool) -> Any:
    from crossmargin.files.live import read_live
    from crossmargin.files.secret import credentials
    from crossmargin.files.unified import VENUES

    name = venue if venue in VENUES else venue.partition("-")[0]
    return read_live(name, VENUES.get(venue, venue), credentials(name), allow_trading_key=allow)


def _moment(text: str) -> datetime:
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        why = "must be a date and time such as 2026-11-20T08:00:00Z"
        raise ProfileError("--on", (Fault("--on", text, why),)) from None
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when


def _check(imported: Imported) -> None:
    """What the rules need besides what every account file needs: prices of collateral, tables, contract sizes."""
    from crossmargin.engine.prepare import prepare

    prepare(*imported.case())


def _write(path: str, text: str) -> None:
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as problem:
        raise AccountError(path, f"cannot be written: {problem.strerror or problem}") from None


def _say(imported: Imported, out: str | None) -> None:
    """Notes on standard error, so that the account file can be piped on."""
    table: Mapping[str, Any] = imported.table
    if out is not None:
        count = len(table.get("positions", ()))
        typer.echo(
            f"{out}: {count} positions, {len(imported.reported)} figures reported, under {table['profile']}", err=True
        )
    for note in imported.notes:
        typer.echo(f"note: {note}", err=True)
    if imported.not_understood:
        typer.echo(f"note: fields that are not read: {', '.join(imported.not_understood)}", err=True)
