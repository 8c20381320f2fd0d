"""crossmargin sensitivity: what moves headroom, and what moves a threshold."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Annotated

import typer

from crossmargin.apps.options import (
    File,
    Json,
    On,
    ProfileName,
    asked,
    exit_code,
    named_numbers,
    print_json,
    read_subject,
)

if TYPE_CHECKING:
    from crossmargin.analytics.safe_leverage import SafeLeverage
    from crossmargin.analytics.sensitivity import Sensitivity, Slope, ThresholdSlope


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(sensitivity)


def sensitivity(
    file: File,
    json: Json = False,
    profile: ProfileName = None,
    on: On = None,
    threshold: Annotated[
        list[str] | None,
        typer.Option(
            "--threshold", metavar="SYMBOL", help="Also say what moves this symbol's thresholds; repeat it, or: all."
        ),
    ] = None,
    move: Annotated[
        str, typer.Option("--move", metavar="FRACTION", help="The adverse move of safe leverage; 0.1 is 10 %.")
    ] = "0.1",
    volatility: Annotated[
        list[str] | None,
        typer.Option(
            "--volatility", metavar="COIN=FRACTION", help="Also rank by these moves: --volatility BTC=0.03; repeat it."
        ),
    ] = None,
    top: Annotated[int, typer.Option("--top", min=1, help="Show so many inputs of each pool.")] = 12,
) -> None:
    """Say what moves the account: the slope of headroom in every input, the worst first, and safe leverage."""
    from crossmargin.apps import questions

    subject = read_subject(file, profile, on)
    options = asked(
        questions.SensitivityOptions,
        threshold=threshold,
        move=move,
        volatility=named_numbers("--volatility", volatility),
    )
    found = questions.sensitivity(subject, options)
    if json:
        print_json(found)
    else:
        _show(found, top)
    raise typer.Exit(exit_code(subject.case, unknown=bool(found.notes)))


def _show(found: Sensitivity, top: int) -> None:
    from crossmargin.apps.tables import console

    for pool in dict.fromkeys(row.pool for row in found.slopes):
        rows = [row for row in found.slopes if row.pool == pool]
        weakest = ", the weakest" if pool == found.account_pool and found.account_pool != "account" else ""
        console.print(_slopes(f"What moves headroom of {pool}{weakest}, in {rows[0].currency}", rows[:top]))
        if len(rows) > top:
            console.print(f"and {len(rows) - top} more (--top)", style="dim")
    if found.thresholds:
        console.print(_thresholds(found.thresholds))
    if found.safe_leverage:
        console.print(_safe(found.safe_leverage))
    for row in found.safe_leverage:
        if row.note:
            console.print(f"{row.symbol}: {row.note}", style="dim")
    for note in found.notes:
        console.print(f"note: {note}", style="dim")


def _sides(up: Decimal | None, down: Decimal | None) -> str:
    from crossmargin.apps.tables import shown

    first, second = shown(up), shown(down)
    return first if first == second else f"{first} up, {second} down"


def _slopes(title: str, rows: list[Slope]) -> object:
    from crossmargin.apps.tables import _figures, shown

    volatile = any(row.per_volatility is not None for row in rows)
    columns = ["input", "name", "now", "headroom per unit", "an adverse step of", "moves it by"]
    body = []
    for row in rows:
        line = [row.kind, row.name, shown(row.now), _sides(row.up, row.down), shown(row.step), shown(row.adverse)]
        body.append(line + ([shown(row.per_volatility) if row.per_volatility is not None else ""] if volatile else []))
    return _figures(title, columns + (["its volatility by"] if volatile else []), body, left=2)


def _thresholds(rows: tuple[ThresholdSlope, ...]) -> object:
    from crossmargin.apps.tables import _figures, shown

    several = len({row.pool for row in rows}) > 1
    body = [
        [
            row.symbol + (f" ({row.pool})" if several else ""),
            row.side,
            row.kind,
            row.name,
            shown(row.price),
            _sides(row.up, row.down),
        ]
        for row in rows
    ]
    return _figures(
        "What moves thresholds", ["threshold of", "side", "input", "name", "price", "per unit"], body, left=4
    )


def _safe(rows: tuple[SafeLeverage, ...]) -> object:
    from crossmargin.apps.tables import _figures, percent, shown

    columns = ["position", "move", "margin", "leverage", "safe_leverage", "safe_notional", "per unit of margin"]
    body = []
    for row in rows:
        figures = [row.margin, row.leverage, row.safe_leverage, row.safe_notional, row.per_margin]
        isolated = " isolated" if row.pool.endswith(" isolated") else ""
        side = "" if row.position_side == "net" else f" {row.position_side}"
        body.append(
            [row.symbol + side + isolated, percent(row.move), *("-" if f is None else shown(f) for f in figures)]
        )
    return _figures("Safe leverage, as the other positions stand", columns, body)
