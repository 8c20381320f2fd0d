"""The command line: the questions of the library on account files. No arithmetic here.

Exit codes: 0 healthy, 1 internal error, 2 usage or bad input, 3 a warning level is reached, 4 liquidatable,
5 stale or incomplete data, 6 venue or authentication failure. Never 0 on unknown.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from io import TextIOWrapper
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from crossmargin.apps.options import File, Json, On, ProfileName, asked, print_json, read_case, read_subject
from crossmargin.errors import CrossmarginError, Fault, ProfileError

if TYPE_CHECKING:
    from crossmargin.files.accounts import Case

app = typer.Typer(
    name="crossmargin",
    help="Exact margin of crypto futures accounts: equity, requirements, headroom, and where they are liquidated.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


Curve = Annotated[
    bool,
    typer.Option("--curve", help="Also draw headroom along each coin, from 50 % down to 50 % up (beside the tables)."),
]


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"crossmargin {version('crossmargin')}")
        raise typer.Exit


@app.callback()
def _any_verb(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


@app.command()
def evaluate(file: File, json: Json = False, profile: ProfileName = None, on: On = None, curve: Curve = False) -> None:
    """Judge an account: equity, initial and maintenance margin, headroom, ratio and status."""
    from crossmargin.apps import questions

    subject = read_subject(file, profile, on)
    report = questions.evaluate(subject, questions.EvaluateOptions())
    if json:
        print_json(report)
    else:
        from crossmargin.apps import tables

        tables.show_report(report)
        if curve:
            _show_curves(subject.case)
    codes = {"healthy": 0, "warning": 3, "liquidation": 4}
    code = codes[report.status]
    unknown = report.initial_margin is None or report.equity is None
    raise typer.Exit(5 if unknown and code != 4 else code)


@app.command()
def threshold(
    file: File,
    json: Json = False,
    profile: ProfileName = None,
    on: On = None,
    frozen: Annotated[
        bool,
        typer.Option(
            "--frozen",
            help="Move only the contract's own mark, as the figure a venue prints does; "
            "by default the coin as collateral and every contract on it move together.",
        ),
    ] = False,
    shock: Annotated[
        list[str] | None,
        typer.Option(
            "--shock",
            metavar="COIN=WEIGHT",
            help="Also ask along a direction of your own; repeat it: --shock BTC=1 --shock ETH=1.5",
        ),
    ] = None,
    curve: Curve = False,
) -> None:
    """Say at which price of each coin, and at which common move, the account is liquidated."""
    from crossmargin.apps import questions

    subject = read_subject(file, profile, on)
    options = asked(questions.ThresholdOptions, frozen=frozen, shock=_direction(shock or ()))
    found = questions.threshold(subject, options)
    shocks = [found.common_shock, *([found.shock] if options.shock else [])]
    if json:
        print_json(found)
    else:
        from crossmargin.apps import tables

        tables.show_thresholds(found, shocks)
        if curve:
            _show_curves(subject.case)
    sides = [(row.below, row.above) for row in found.thresholds] + [(row.below, row.above) for row in shocks]
    kinds = {side.kind for pair in sides for side in pair}
    raise typer.Exit(4 if "already" in kinds else 5 if "unknown" in kinds else 0)


def _show_curves(case: Case) -> None:
    from decimal import Decimal

    from crossmargin.analytics.curve import curve
    from crossmargin.analytics.threshold import coins_of
    from crossmargin.apps import tables
    from crossmargin.engine.prepare import prepare

    half = Decimal("0.5")
    # what is not the picture (names and distances) takes some forty cells
    points = min(41, max(11, tables.console.width - 40))
    coins = coins_of(prepare(*case))
    tables.show_curves([row for coin in coins for row in curve(*case, coin, low=-half, high=half, points=points)])


def _direction(pairs: Sequence[str]) -> dict[str, Any]:
    from crossmargin.model.number import parse_decimal

    direction = {}
    for pair in pairs:
        coin, _, weight = pair.partition("=")
        try:
            direction[coin] = parse_decimal(weight)
        except ValueError as error:
            raise ProfileError(
                "--shock", (Fault("--shock", pair, f"must be COIN=WEIGHT; the weight {error}"),)
            ) from None
    return direction


@app.command()
def explain(file: File, json: Json = False, profile: ProfileName = None, on: On = None) -> None:
    """Show where headroom comes from: the tree of figures down to inputs, each with its rule and source."""
    from crossmargin.apps import questions

    subject = read_subject(file, profile, on)
    found = questions.explain(subject, questions.NoOptions())
    if json:
        print_json(found)
    else:
        from crossmargin.apps import tables

        tables.show_lines(found["lines"], subject.case.rules)


@app.command()
def check(file: File, profile: ProfileName = None, on: On = None) -> None:
    """Validate an account file against its rules without judging it; every fault at once."""
    from crossmargin.engine.prepare import prepare

    prepared = prepare(*read_case(file, profile, on))
    typer.echo(
        f"{file}: good; {len(prepared.account.positions)} positions, {len(prepared.account.balances)} balances, "
        f"{len(prepared.pools)} pools under {prepared.rules.profile} of {prepared.rules.since}"
    )


VERBS = (
    "venues",
    "imports",
    "import_tables",
    "reconcile",
    "whatif",
    "limits",
    "compare",
    "stress",
    "replay",
    "reverse_stress",
    "sensitivity",
    "runway",
    "hedge",
    "allocate",
    "cascade",
    "systemic",
    "report",
    "clearing",
    "book",
    "serve",
    "monitor",
    "watch",
)
"""Modules of :mod:`crossmargin.apps.verbs`, one a question; each adds its command with ``register(app)``."""

for _name in VERBS:
    import_module(f"crossmargin.apps.verbs.{_name}").register(app)


def _give_up(error: OSError) -> NoReturn:
    """A path that cannot be used is bad input (2); what else the system refuses, such as a full disk, is not (1)."""
    try:
        sys.stdout.flush()
    except OSError:
        # what standard output still holds fits nowhere: the interpreter would try again as it ends, and complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    where = "" if error.filename is None else f"{error.filename}: "
    typer.echo(f"error: {where}{error.strerror or error}", err=True)
    sys.exit(1 if error.filename is None else 2)


def main() -> None:
    """Run the command line; our own errors become one message on standard error and their exit code."""
    for stream in (sys.stdout, sys.stderr):
        # a terminal that cannot write a sign shows a question mark in its place, not a traceback
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        app()
    except CrossmarginError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except OSError as error:
        _give_up(error)


if __name__ == "__main__":
    main()
