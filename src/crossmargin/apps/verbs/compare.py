"""``crossmargin compare``: is cross better than isolated here, and on which venue?"""

from __future__ import annotations

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
    exit_code,
    print_json,
    read_subject,
)

if TYPE_CHECKING:
    from crossmargin.analytics.comparison import Comparison, ComparisonRow
    from crossmargin.model.report import Crossing


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(compare)


def compare(
    file: File,
    other: OtherRules = None,
    mode: Annotated[
        list[Mode] | None,
        typer.Option("--mode", help="Only this margin mode; repeat it. By default all that differ for this account."),
    ] = None,
    json: Json = False,
    profile: ProfileName = None,
    on: On = None,
) -> None:
    """Compare margin modes and venues on the same positions: efficiency, what each default takes, thresholds."""
    from crossmargin.apps import questions

    subject = read_subject(file, profile, on)
    options = asked(questions.CompareOptions, **{"with": other}, mode=[m.value for m in mode] if mode else None)
    found = questions.compare(subject, options)
    if json:
        print_json(found)
    else:
        _show(found)
    # a row that could not be judged may be that of the account's own rules
    raise typer.Exit(5 if any(row.admitted is None for row in found.rows) else exit_code(subject.case))


def _show(found: Comparison) -> None:
    from crossmargin.apps import tables
    from crossmargin.apps.tables import percent, shown

    rows = [
        [
            _name(row),
            {True: "yes", False: "no", None: "unknown"}[row.admitted],
            shown(row.equity),
            shown(row.initial_margin),
            shown(row.free_collateral),
            shown(row.headroom),
            percent(row.margin_ratio),
            shown(row.largest_scale),
            shown(row.capital_efficiency),
        ]
        for row in found.rows
    ]
    names = ["equity", "initial_margin", "free_collateral", "headroom", "margin_ratio"]
    columns = ["rules and mode", "opens", *names, "largest_scale", "capital_efficiency"]
    tables.console.print(tables._figures("The same positions", columns, rows))
    rows = [
        [_name(row), one.pool, shown(one.at_stake), one.currency, percent(one.share), one.trigger]
        for row in found.rows
        for one in row.defaults
    ]
    columns = ["rules and mode", "where this pool breaks", "is lost", "in", "of equity", "when"]
    tables.console.print(tables._figures("Risk scope", columns, rows, left=2))
    rows = [
        [_name(row), one.symbol, one.pool, _side(one.below), _side(one.above)]
        for row in found.rows
        if row.thresholds is not None
        for one in row.thresholds.thresholds
    ]
    for row in found.rows:
        if row.thresholds is not None:
            shock = row.thresholds.common_shock
            rows.append([_name(row), shock.direction, shock.pool or "", _side(shock.below), _side(shock.above)])
    columns = ["rules and mode", "price of", "pool", "below", "above"]
    tables.console.print(tables._figures("Liquidated at", columns, rows, left=3))
    for row in found.rows:
        for text in (*row.reasons, *row.notes):
            tables.console.print(f"{_name(row)}: {text}", style="dim")


def _name(row: ComparisonRow) -> str:
    return f"{row.profile} of {row.rules_since}, {row.mode}"


def _side(side: Crossing) -> str:
    from crossmargin.apps.tables import percent, shown

    if side.kind != "price":
        return side.kind
    return percent(side.distance) if side.price is None else f"{shown(side.price)} ({percent(side.distance)})"
