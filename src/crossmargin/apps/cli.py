"""The command line: the questions of the library on account files. No arithmetic here.

Exit codes: 0 healthy, 1 internal error, 2 usage or bad input, 3 a warning level is reached, 4 liquidatable,
5 stale or incomplete data, 6 venue or authentication failure. Never 0 on unknown.
"""

from __future__ import annotations

import sys
from datetime import datetime
from importlib import import_module
from typing import Annotated, Any

import typer

from crossmargin.apps.options import File, Json, On, ProfileName, print_json, read_case
from crossmargin.errors import CrossmarginError, Fault, ProfileError

app = typer.Typer(
    name="crossmargin",
    help="Exact margin of crypto futures accounts: equity, requirements, headroom, and where they are liquidated.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
venues = typer.Typer(
    help="The rule profiles: list them, show one, verify them against published figures.", no_args_is_help=True
)
app.add_typer(venues, name="venues")


@app.command()
def evaluate(file: File, json: Json = False, profile: ProfileName = None, on: On = None) -> None:
    """Judge an account: equity, initial and maintenance margin, headroom, ratio and status."""
    from crossmargin.engine.reference import evaluate as judge

    report = judge(*read_case(file, profile, on))
    if json:
        print_json(report)
    else:
        from crossmargin.apps import tables

        tables.show_report(report)
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
) -> None:
    """Say at which price of each coin, and at which common move, the account is liquidated."""
    from crossmargin.analytics.threshold import threshold as ask
    from crossmargin.analytics.threshold import threshold_along
    from crossmargin.model.report import to_plain

    case = read_case(file, profile, on)
    convention: Any = "frozen" if frozen else "coin"
    found = ask(*case, convention=convention)
    own = threshold_along(*case, _direction(shock), convention=convention) if shock else None
    shocks = [found.common_shock] + ([own] if own else [])
    if json:
        print_json({**to_plain(found), **({"shock": to_plain(own)} if own else {})})
    else:
        from crossmargin.apps import tables

        tables.show_thresholds(found, shocks)
    sides = [(row.below, row.above) for row in found.thresholds] + [(row.below, row.above) for row in shocks]
    kinds = {side.kind for pair in sides for side in pair}
    raise typer.Exit(4 if "already" in kinds else 5 if "unknown" in kinds else 0)


def _direction(pairs: list[str]) -> dict[str, Any]:
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
    from crossmargin.engine.reference import evaluate as judge

    case = read_case(file, profile, on)
    report = judge(*case)
    if json:
        print_json({"lines": report.lines, "sources": _sources(case.rules)})
    else:
        from crossmargin.apps import tables

        tables.show_lines(report.lines, case.rules)


def _sources(rules: Any) -> dict[str, Any]:
    return {
        name: {"title": s.title, "url": s.url, "retrieved": s.retrieved.isoformat(), "status": s.status}
        for name, s in rules.sources.items()
    }


@app.command()
def check(file: File, profile: ProfileName = None, on: On = None) -> None:
    """Validate an account file against its rules without judging it; every fault at once."""
    from crossmargin.engine.prepare import prepare

    prepared = prepare(*read_case(file, profile, on))
    typer.echo(
        f"{file}: good; {len(prepared.account.positions)} positions, {len(prepared.account.balances)} balances, "
        f"{len(prepared.pools)} pools under {prepared.rules.profile} of {prepared.rules.since}"
    )


@venues.command("list")
def venues_list(json: Json = False) -> None:
    """List every profile with its revisions and how many instruments its tables hold."""
    from crossmargin.files.profiles import load_profile, profile_ids

    profiles = [load_profile(name) for name in profile_ids()]
    if json:
        print_json(
            [
                {
                    "id": p.id,
                    "venue": p.venue,
                    "account_mode": p.account_mode,
                    "revisions": [r.since for r in p.revisions],
                    "instruments": len(p.revisions[-1].brackets),
                }
                for p in profiles
            ]
        )
        return
    from crossmargin.apps import tables

    tables.show_profiles(profiles)


@venues.command("show")
def venues_show(
    name: Annotated[str, typer.Argument(metavar="ID")],
    on: On = None,
    symbol: Annotated[str | None, typer.Option("--symbol", help="Print this instrument's maintenance table.")] = None,
    json: Json = False,
) -> None:
    """Show a profile's rules: each slot with its kind, date and sources, and the tables it brings."""
    from crossmargin.files.profiles import load_profile

    profile = load_profile(name)
    rules = profile.on(datetime.fromisoformat(on)) if on else profile.revisions[-1]
    if symbol is not None and symbol not in rules.brackets:
        raise ProfileError(name, (Fault("--symbol", symbol, f"has no table; known are {', '.join(rules.brackets)}"),))
    if json:
        print_json(
            {
                "id": profile.id,
                "since": rules.since,
                "slots": rules.slots.model_dump(mode="json", exclude_none=True),
                "sources": _sources(rules),
                "brackets": {
                    key: [bracket.model_dump(mode="json", exclude_none=True) for bracket in table]
                    for key, table in rules.brackets.items()
                    if symbol in (None, key)
                },
            }
        )
        return
    from crossmargin.apps import tables

    tables.show_profile(profile, rules, symbol)


@venues.command("verify")
def venues_verify(
    names: Annotated[list[str] | None, typer.Argument(metavar="[FILE]...", help="Conformance files, by name.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every conformance file.")] = False,
    json: Json = False,
    folder: Annotated[str | None, typer.Option("--folder", help="A folder of conformance files of your own.")] = None,
) -> None:
    """Compare the rules with every published figure; list those that cannot be reproduced, with the reason."""
    from crossmargin.analytics.verification import verify
    from crossmargin.files.conformance import conformance_files

    files = list(conformance_files(folder))
    known = [file.name for file in files]
    wrong = [name for name in names or () if name not in known]
    if wrong or not (names or every):
        raise ProfileError("venues verify", (Fault(", ".join(wrong) or "FILE", "", f"name some of {known}, or --all"),))
    rows = []
    for file in files:
        if every or (names and file.name in names):
            for case in file.cases:
                rows.append((file.name, case, verify(*case.load(), case.expect, case.tolerance_of)))
    # a case said to be out of reach that is reached is as wrong as one that is missed
    failed = [case.id for _, case, checks in rows if all(c.agrees for c in checks) is not case.reproduced]
    if json:
        print_json(
            {
                "cases": [
                    {
                        "file": name,
                        "id": case.id,
                        "title": case.title,
                        "status": case.status,
                        "reproduced": case.reproduced,
                        "reason": case.reason,
                        "checks": list(checks),
                    }
                    for name, case, checks in rows
                ],
                "failed": failed,
            }
        )
    else:
        from crossmargin.apps import tables

        tables.show_verification(rows, failed)
    raise typer.Exit(1 if failed else 0)


VERBS = (
    "whatif",
    "limits",
    "compare",
    "stress",
    "reverse_stress",
    "sensitivity",
    "runway",
    "hedge",
    "cascade",
    "report",
)
"""Modules of :mod:`crossmargin.apps.verbs`, one a question; each adds its command with ``register(app)``."""

for _name in VERBS:
    import_module(f"crossmargin.apps.verbs.{_name}").register(app)


def main() -> None:
    """Run the command line; our own errors become one message on standard error and their exit code."""
    try:
        app()
    except CrossmarginError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
