"""``crossmargin reconcile``: the venue's own figures beside those of its rules, and why they differ."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Annotated

import typer

from crossmargin.apps.options import Json, print_json
from crossmargin.apps.verbs.imports import AnyKey, As, From, Live, On, Set, With, at_venue, read_account
from crossmargin.errors import Fault, ProfileError

if TYPE_CHECKING:
    from crossmargin.analytics.reconciliation import Reconciliation
    from crossmargin.files.accounts import Case
    from crossmargin.model.payment import PaidFunding
    from crossmargin.model.reported import Reported

_CODES = {"equal": 0, "within_tolerance": 0, "unknown": 5, "differs": 3}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("reconcile")(reconcile)


def reconcile(
    source: Annotated[
        str,
        typer.Argument(metavar="FILE|VENUE", help="An account file that has `reported`, or a venue."),
    ],
    files: From = None,
    fragments: With = None,
    settings: Set = None,
    shape: As = None,
    on: On = None,
    live: Live = False,
    allow_trading_key: AnyKey = False,
    tolerance: Annotated[
        str | None,
        typer.Option("--tolerance", help="Relative difference that still counts as agreement; 0.0001 unless given."),
    ] = None,
    json: Json = False,
) -> None:
    """Compare every figure a venue reported with what its rules give; name the cause of each difference."""
    from crossmargin.analytics.reconciliation import TOLERANCE
    from crossmargin.analytics.reconciliation import reconcile as ask
    from crossmargin.files.profiles import load_profile
    from crossmargin.model.number import parse_decimal

    try:
        limit = TOLERANCE if tolerance is None else parse_decimal(tolerance)
    except ValueError as error:
        raise ProfileError("--tolerance", (Fault("--tolerance", tolerance or "", str(error)),)) from None
    lacking: tuple[str, ...] = ()
    unfounded: dict[str, str] = {}
    if files or live:
        with at_venue(source, live):
            imported = read_account(source, files, fragments, settings, shape, on, live=live, allow=allow_trading_key)
            (case, unfounded), reported, lacking = imported.partial_case(), imported.reported, imported.lacking
            payments = imported.payments
    else:
        case, reported, payments = _of_file(source)
    others = load_profile(case.account.profile).revisions
    found = ask(
        *case,
        reported,
        tolerance=limit,
        lacking=lacking,
        unfounded=unfounded,
        other_rules=others,
        payments=payments,
    )
    if json:
        print_json(found)
    else:
        _show(found, unfounded)
    raise typer.Exit(_CODES[found.verdict])


def _of_file(path: str) -> tuple[Case, tuple[Reported, ...], tuple[PaidFunding, ...]]:
    from crossmargin.files.accounts import case_from, payments_from, read_table
    from crossmargin.model.reported import reported_from

    raw, where = read_table(path)
    return case_from(raw, where), reported_from(raw.get("reported", {}), where), payments_from(raw, where)


def _show(found: Reconciliation, unfounded: Collection[str]) -> None:
    from crossmargin.apps import tables

    colours = {"equal": "green", "within_tolerance": "green", "unknown": "yellow", "differs": "bold red"}
    words = found.verdict.replace("_", " ")
    tables.console.print(
        f"[{colours[found.verdict]}]{words}[/]  {found.profile}, rules of {found.rules_since}", markup=True
    )
    rows = [
        [
            row.figure,
            _figure(row.ours, row.verdict),
            _figure(row.theirs, "equal"),
            "" if row.difference is None else tables.shown(row.difference),
            row.verdict.replace("_", " "),
        ]
        for row in found.figures
    ]
    tables.console.print(tables._figures("Figures", ["figure", "ours", "the venue's", "difference", "verdict"], rows))
    for row in found.figures:
        if row.cause and (row.verdict in ("differs", "within_tolerance") or row.figure in unfounded):
            tables.console.print(f"{row.figure}: {row.cause}", style="dim")
    for note in found.notes:
        tables.console.print(f"note: {note}", style="dim")


def _figure(value: object, verdict: str) -> str:
    from decimal import Decimal

    from crossmargin.apps import tables

    if isinstance(value, Decimal):
        return tables.shown(value)
    return "never" if verdict == "equal" else "unknown"
