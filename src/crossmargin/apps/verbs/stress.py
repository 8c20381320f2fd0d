"""crossmargin stress: what if the market moves like this."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from crossmargin.apps.options import (
    File,
    Historical,
    Json,
    On,
    OtherCoins,
    ProfileName,
    ScenarioFile,
    asked,
    exit_code,
    named_numbers,
    print_json,
    read_subject,
)
from crossmargin.errors import AccountError, Fault

if TYPE_CHECKING:
    from rich.table import Table

    from crossmargin.analytics.box import WorstInBox
    from crossmargin.analytics.stress import Buffer, Depeg, HeatMap, Outcome, WorstCase
    from crossmargin.files.accounts import Case


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(stress)


def stress(
    file: File,
    json: Json = False,
    profile: ProfileName = None,
    on: On = None,
    move: Annotated[
        list[str] | None,
        typer.Option("--move", metavar="COIN=FRACTION", help="A scenario of your own: --move BTC=-0.2; repeat it."),
    ] = None,
    index: Annotated[
        list[str] | None,
        typer.Option(
            "--index", metavar="ASSET=FRACTION", help="In it, a move of this venue's index price alone; repeat it."
        ),
    ] = None,
    others: OtherCoins = None,
    scenarios: ScenarioFile = None,
    historical: Historical = False,
    coin: Annotated[
        str | None,
        typer.Option("--ladder", metavar="COIN", help="One coin from -50 % to +50 %; all: every coin together."),
    ] = None,
    heat: Annotated[
        str | None, typer.Option("--map", metavar="COIN,COIN", help="Headroom as two coins move apart.")
    ] = None,
    box: Annotated[
        list[str] | None,
        typer.Option(
            "--box", metavar="COIN=LOW,HIGH", help="The worst while coins move within bounds; repeat it: BTC=-0.3,0.2"
        ),
    ] = None,
) -> None:
    """Say what a market move does: scenarios, ladders, worst cases; without options how far it is to the edge."""
    from crossmargin.apps import questions
    from crossmargin.files.scenarios import load_scenarios

    options = asked(
        questions.StressOptions,
        move=named_numbers("--move", move),
        index=named_numbers("--index", index),
        others=others,
        scenarios=None if scenarios is None else load_scenarios(scenarios),
        historical=historical,
        ladder=coin,
        map=None if heat is None else _two(heat),
        box=_bounds(box or []),
    )
    subject = read_subject(file, profile, on)
    found = questions.stress(subject, options)
    if json:
        print_json(found)
    else:
        _show(found)
    raise typer.Exit(_code(subject.case, found))


def _two(pair: str) -> tuple[str, str]:
    first, _, second = pair.partition(",")
    return first, second


def _bounds(pairs: list[str]) -> dict[str, Any]:
    bounds = {}
    for pair in pairs:
        coin, _, both = pair.partition("=")
        low, comma, high = both.partition(",")
        if not comma:
            raise AccountError("--box", (Fault("--box", pair, "must be COIN=LOW,HIGH, such as BTC=-0.3,0.2"),))
        ends = named_numbers("--box", [f"low={low}", f"high={high}"])
        bounds[coin] = (ends["low"], ends["high"])
    return bounds


def _code(case: Case, found: dict[str, Any]) -> int:
    """The account's verdict; a figure that is unknown is a row without equity or a buffer of that kind."""
    buffers = found["safety_buffer"].common + found["safety_buffer"].single if "safety_buffer" in found else ()
    unknown = any(row.equity is None for row in found.get("outcomes", ()))
    return exit_code(case, unknown=unknown or any(row.kind == "unknown" for row in buffers))


# tables ---------------------------------------------------------------------------------------------------------------


def _show(found: dict[str, Any]) -> None:
    from crossmargin.apps.tables import console

    if "outcomes" in found:
        console.print(_outcomes(found["outcomes"]))
    if "worst_case" in found:
        console.print(_worst_case(found["worst_case"]))
    if "safety_buffer" in found:
        console.print(_buffers([*found["safety_buffer"].common, *found["safety_buffer"].single]))
    if found.get("depeg"):
        console.print(_depeg(found["depeg"]))
    if "heat_map" in found:
        console.print(_heat(found["heat_map"]))
    if "box" in found:
        _box(found["box"])
    rows = found.get("outcomes", ())
    notes = [(row.scenario, note) for row in rows for note in row.notes if not note.startswith("assumed")]
    for scenario, note in notes:
        console.print(f"{scenario}: {note}", style="dim")
    for note in dict.fromkeys(note for row in rows for note in row.notes if note.startswith("assumed")):
        console.print(f"note: {note}", style="dim")


def _outcomes(rows: tuple[Outcome, ...]) -> Table:
    from crossmargin.apps.tables import _figures, _pictured, bars, percent, shown

    several = len({pool.pool for row in rows for pool in row.pools}) > 1
    body = [
        [
            row.scenario,
            shown(row.equity),
            shown(row.equity_change),
            shown(row.maintenance_margin),
            shown(row.headroom),
            row.status,
            "-" if row.breaks_at is None else f"{row.breaks_first if several else ''} {percent(row.breaks_at)}".strip(),
        ]
        for row in rows
    ]
    title = f"After the move, in {rows[0].currency}" if rows else "After the move"
    columns = ["scenario", "equity", "change", "maintenance_margin", "headroom", "status", "broken after"]
    if len(rows) < 3:
        return _figures(title, columns, body)
    return _pictured(title, columns, body, bars([row.headroom for row in rows]))


def _worst_case(found: WorstCase) -> Table:
    from crossmargin.apps.tables import _figures, percent, shown

    body = [
        [percent(row.move), shown(row.equity), percent(row.equity_lost), shown(row.headroom), row.status]
        for row in found.losses
    ]
    title = f"The market against {found.symbol}, the most leveraged at {shown(found.leverage)} x, in {found.currency}"
    return _figures(title, ["every coin", "equity", "equity_lost", "headroom", "status"], body)


def _buffers(rows: list[Buffer]) -> Table:
    from crossmargin.apps.tables import _figures, percent, shown

    body = [
        [
            row.direction,
            row.side,
            percent(row.move) if row.kind == "price" else row.kind,
            shown(row.equity_left) if row.kind == "price" else "-",
            row.pool or "-",
        ]
        for row in rows
    ]
    return _figures("Safety buffer: how far until a pool breaks", ["move of", "", "by", "equity left", "pool"], body)


def _depeg(rows: tuple[Depeg, ...]) -> Table:
    from crossmargin.apps.tables import _figures, percent, shown

    body = []
    for row in rows:
        sides = [shown(side.price) if side.kind == "price" else side.kind for side in (row.below, row.above)]
        share = "-" if row.value_share is None else percent(row.value_share)
        body.append([row.asset, shown(row.index_price), share, *sides])
    title = "Depeg: where an index price of this venue alone breaks the account"
    return _figures(title, ["asset", "now", "of equity", "below", "above"], body)


def _heat(found: HeatMap) -> Table:
    from crossmargin.apps.tables import _figures, percent, shown

    body = [[percent(y), *map(shown, row)] for y, row in zip(found.moves_y, found.headroom, strict=True)]
    title = f"Headroom in {found.currency}: {found.coin_x} across, {found.coin_y} down"
    return _figures(title, ["", *map(percent, found.moves_x)], body)


def _box(found: WorstInBox) -> None:
    from crossmargin.apps.tables import _figures, console, percent, shown

    body = [
        [
            row.pool,
            ", ".join(f"{coin} {percent(move)}" for coin, move in row.moves.items() if move),
            shown(row.headroom),
            row.status,
            shown(row.bound),
            shown(row.gap),
            f"{row.examined} points, {row.corners} corners",
        ]
        for row in found.pools
    ]
    columns = ["pool", "worst at", "headroom", "status", "bound", "gap", "examined"]
    console.print(_figures("The worst within the bounds", columns, body, left=2))
    console.print("safe anywhere within the bounds" if found.safe else "not safe everywhere within the bounds")
    for note in found.notes:
        console.print(note, style="dim")
