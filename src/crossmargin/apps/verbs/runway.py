"""crossmargin runway: what funding costs, and how long the account can pay it."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Annotated

import typer

from crossmargin.apps.options import File, Json, On, ProfileName, asked, named_numbers, print_json, read_subject
from crossmargin.errors import AccountError, Fault

if TYPE_CHECKING:
    from crossmargin.analytics.funding import FundingOutlook, Runway


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(runway)


def runway(
    file: File,
    json: Json = False,
    profile: ProfileName = None,
    on: On = None,
    history: Annotated[
        str | None,
        typer.Option(
            "--history", metavar="FILE", help="Past funding rates, TOML or JSON: a list of rates for each symbol."
        ),
    ] = None,
    quantile: Annotated[
        list[str] | None,
        typer.Option("--quantile", metavar="FRACTION", help="A quantile of the history, 0.9 of the cost; repeat it."),
    ] = None,
    paid: Annotated[
        list[str] | None,
        typer.Option(
            "--paid",
            metavar="ASSET=AMOUNT",
            help="Funding paid so far (below 0: received): shows how far it moved the thresholds; repeat it.",
        ),
    ] = None,
) -> None:
    """Say what funding costs by interval and day, and when it alone brings headroom to zero."""
    from crossmargin.apps import questions

    options = asked(
        questions.RunwayOptions,
        history=_history(history) if history else None,
        quantile=quantile,
        paid=named_numbers("--paid", paid),
    )
    found = questions.runway(read_subject(file, profile, on), options)
    if json:
        print_json(found)
    else:
        _show(found)
    kinds = {row.kind for row in found.runways}
    raise typer.Exit(4 if "already" in kinds else 5 if "unknown" in kinds else 0)


def _history(path: str) -> dict[str, list[Decimal]]:
    """The rates of a file, every fault at once."""
    from crossmargin.files.text import parse_table, read_bytes
    from crossmargin.model.number import parse_decimal

    raw = parse_table(read_bytes(path, AccountError), path, AccountError)
    found: dict[str, list[Decimal]] = {}
    faults = []
    for symbol, rates in raw.items():
        if not isinstance(rates, list) or not rates:
            faults.append(Fault(symbol, repr(rates)[:40], 'must be a list of rates such as ["0.0001", "-0.00005"]'))
            continue
        found[symbol] = []
        for index, rate in enumerate(rates):
            try:
                found[symbol].append(parse_decimal(rate))
            except ValueError as error:
                faults.append(Fault(f"{symbol}[{index}]", repr(rate)[:40], str(error)))
    if faults:
        raise AccountError(path, faults)
    return found


def _show(found: FundingOutlook) -> None:
    from crossmargin.apps.tables import _figures, console, shown

    body = []
    for pay in found.payments:
        isolated = " isolated" if pay.pool.endswith(" isolated") else ""
        side = "" if pay.position_side == "net" else f" {pay.position_side}"
        figures = [pay.notional, pay.funding_rate, pay.interval_hours, pay.payment, pay.per_day]
        body.append([pay.symbol + side + isolated, *(shown(f) for f in figures), pay.currency])
    columns = ["position", "notional", "funding_rate", "hours", "pays", "per day", "in"]
    console.print(_figures("Funding (below 0 = received)", columns, body))
    rows = [
        [
            row.scenario,
            row.pool,
            "unknown" if row.per_day is None else f"{shown(row.per_day)} {row.currency}",
            _when(row),
            "-" if row.hours is None else shown(row.hours / 24),
            "-" if row.interval_end is None else f"{row.interval_end:%Y-%m-%d %H:%M}",
        ]
        for row in found.runways
    ]
    columns = ["rates", "pool", "pays per day", "headroom is zero", "in days", "at the payment of"]
    console.print(_figures("Runway (all else standing still, UTC)", columns, rows, left=2))
    moved = [
        [row.symbol, row.pool, row.side, shown(row.without.price), shown(row.now.price), shown(row.moved)]
        for row in found.moved_thresholds
        if row.moved is not None
    ]
    if moved:
        columns = ["threshold of", "pool", "side", "without it", "now", "moved"]
        console.print(_figures("What the funding paid so far did", columns, moved, left=3))
    reasons = [row.reason for row in found.payments]
    reasons += [row.reason for row in found.runways if row.kind != "unknown"]
    for reason in dict.fromkeys(filter(None, reasons)):
        console.print(f"note: {reason}", style="dim")


def _when(row: Runway) -> str:
    if row.kind != "time":
        return row.kind
    return "-" if row.hours is None else "after the year 9999" if row.at is None else f"{row.at:%Y-%m-%d %H:%M}"
