"""``crossmargin replay``: what would have become of this account in this history?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crossmargin.apps.options import (
    File,
    Json,
    Mode,
    On,
    OtherRules,
    ProfileName,
    asked,
    print_json,
    read_subject,
    write_page,
)

if TYPE_CHECKING:
    from crossmargin.analytics.replay import Liquidation, Run


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(replay)


def replay(
    file: File,
    history: Annotated[
        str,
        typer.Argument(
            metavar="HISTORY",
            help="CSV or Parquet, a row a bar: time, BTC (close), and optionally BTC@open, @high, @low, @funding.",
        ),
    ],
    other: OtherRules = None,
    mode: Annotated[
        list[Mode] | None,
        typer.Option("--mode", help="A margin mode; repeat it to see several side by side. Default: as held."),
    ] = None,
    enter: Annotated[
        bool, typer.Option("--enter", help="Enter the positions at the first close, whatever entry the file gives.")
    ] = False,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="OUT", help="Write one self-contained page with figures.")
    ] = None,
    json: Json = False,
    profile: ProfileName = None,
    on: On = None,
) -> None:
    """Lead an account through a price and funding history: equity, headroom, funding paid, liquidations."""
    from crossmargin.apps import questions
    from crossmargin.files.history import load_bars

    subject = read_subject(file, profile, on)._replace(bars=load_bars(history))
    modes = [m.value for m in mode] if mode else None
    found = questions.replay(subject, asked(questions.ReplayOptions, **{"with": other}, mode=modes, enter=enter))
    runs = found["runs"]
    if html is not None:
        write_page(html, _page(runs))
    elif json:
        print_json(found)
    else:
        _show(runs)
    unknown = any(run.reasons or run.lowest_headroom is None for run in runs)
    raise typer.Exit(4 if any(run.liquidations for run in runs) else 5 if unknown else 0)


def _page(runs: tuple[Run, ...]) -> str:
    from crossmargin.apps.page import plotly_script, render
    from crossmargin.apps.views import view

    section = view(runs)
    times = [point.time for run in runs for point in run.points]
    return render(
        title="An account through a history",
        status="liquidation" if any(run.liquidations for run in runs) else "healthy",
        lead=section.text,
        sub=f"{min(times):%Y-%m-%d %H:%M} to {max(times):%Y-%m-%d %H:%M} UTC" if times else "",
        sections=[section],
        foot="Exact by the rules shown; within a bar the adverse ends are taken together.",
        script=plotly_script(),
    )


def _show(runs: tuple[Run, ...]) -> None:
    from crossmargin.apps import tables
    from crossmargin.apps.sparks import spark

    rows = []
    for run in runs:
        figures = [run.equity_start, run.equity_end, run.lowest_headroom, run.capital_used]
        rows.append(
            [
                _name(run),
                run.currency,
                *map(_float, figures),
                _float(run.points[-1].funding if run.points else None),
                "unknown" if run.reasons else "never" if run.liquidated is None else f"{run.liquidated:%Y-%m-%d %H:%M}",
            ]
        )
    columns = ["rules and mode", "in", "equity at start", "at end", "lowest headroom", "most initial margin"]
    title = next((f"{run.bars} bars" for run in runs if run.bars), "No bars")
    tables.console.print(tables._figures(title, [*columns, "funding paid", "liquidated"], rows, left=2))
    drawn = [
        [_name(run), spark(_sample(run), ascii_only=tables.console.options.ascii_only)]
        for run in runs
        if any(point.equity is not None for point in run.points)
    ]
    if drawn:
        tables.console.print(tables._figures("Equity through time", ["rules and mode", ""], drawn, left=2))
    events = [[_name(run), *_event(event)] for run in runs for event in run.liquidations]
    if events:
        columns = ["rules and mode", "when", "pool", "at", "steps", "equity before", "after", "in"]
        tables.console.print(tables._figures("Liquidations", columns, events, left=5))
    for run in runs:
        for text in (*run.reasons, *run.notes):
            tables.console.print(f"{_name(run)}: {text}", style="dim")


def _event(event: Liquidation) -> list[str]:
    from crossmargin.apps.tables import shown

    marks = ", ".join(f"{symbol} {shown(price)}" for symbol, price in event.marks.items())
    steps = ", ".join(dict.fromkeys(step.step for step in event.steps))
    figures = [shown(event.equity_before), shown(event.equity_after), event.currency]
    return [f"{event.time:%Y-%m-%d %H:%M} {event.moment}", event.pool, marks, steps, *figures]


def _name(run: Run) -> str:
    return f"{run.profile}, {run.mode}"


def _float(value: float | None) -> str:
    return "unknown" if value is None else f"{value:,.2f}"


def _sample(run: Run, width: int = 48) -> list[float]:
    """The equity of closes, thinned to the width of a line; the last is always there."""
    known = [point.equity for point in run.points if point.equity is not None]
    count = min(width, len(known))
    return [known[round(i * (len(known) - 1) / max(1, count - 1))] for i in range(count)]
