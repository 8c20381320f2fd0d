"""``crossmargin venues``: the rule profiles, what differs between them, and what a change of rules does to accounts."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crossmargin.apps.options import Json, On, case_reader, print_json
from crossmargin.errors import CrossmarginError, Fault, ProfileError

if TYPE_CHECKING:
    from crossmargin.analytics.rule_difference import RuleDifference
    from crossmargin.model.profile import Profile, Rules

_CODES = {"healthy": 0, "warning": 3, "liquidation": 4}
Name = Annotated[str, typer.Argument(metavar="ID")]


def register(app: typer.Typer) -> None:
    """Add the group of commands."""
    venues = typer.Typer(
        help="The rule profiles: list, show, compare, verify and add them; what a change of rules does.",
        no_args_is_help=True,
    )
    for name, command in _COMMANDS.items():
        venues.command(name)(command)
    app.add_typer(venues, name="venues")


def rules_of(text: str) -> Rules:
    """The rules that ``ID`` or ``ID@DATE`` names: the latest revision, or the one in force at the date."""
    from crossmargin.files.profiles import load_profile

    name, _, day = text.partition("@")
    profile = load_profile(name)
    if not day:
        return profile.revisions[-1]
    try:
        return profile.on(datetime.fromisoformat(day))
    except ValueError:
        raise ProfileError(text, (Fault("@DATE", day, "must be a date such as 2025-09-02"),)) from None


def listed(json: Json = False) -> None:
    """List every profile with its revisions and how many instruments its tables hold."""
    from crossmargin.files.profiles import load_profile, profile_ids

    profiles = [load_profile(name) for name in profile_ids()]
    if json:
        print_json([profile_row(profile) for profile in profiles])
        return
    from crossmargin.apps import tables

    tables.show_profiles(profiles)


def profile_row(profile: Profile) -> dict[str, Any]:
    """What the list of profiles says of one, ready for JSON."""
    return {
        "id": profile.id,
        "venue": profile.venue,
        "account_mode": profile.account_mode,
        "revisions": [rules.since for rules in profile.revisions],
        "instruments": len(profile.revisions[-1].brackets),
    }


def show(
    name: Name,
    on: On = None,
    symbol: Annotated[str | None, typer.Option("--symbol", help="Print this instrument's maintenance table.")] = None,
    json: Json = False,
) -> None:
    """Show a profile's rules: each slot with its kind, date and sources, and the tables it brings."""
    from crossmargin.files.profiles import load_profile

    profile = load_profile(name)
    rules = rules_of(f"{name}@{on}" if on else name)
    if symbol is not None and symbol not in rules.brackets:
        raise ProfileError(name, (Fault("--symbol", symbol, f"has no table; known are {', '.join(rules.brackets)}"),))
    if json:
        print_json(rules_told(rules, symbol))
        return
    from crossmargin.apps import tables

    tables.show_profile(profile, rules, symbol)


def rules_told(rules: Rules, symbol: str | None = None) -> dict[str, Any]:
    """A revision of a profile, ready for JSON: slots, sources and the tables, or that of one instrument."""
    return {
        "id": rules.profile,
        "since": rules.since,
        "slots": rules.slots.model_dump(mode="json", exclude_none=True),
        "sources": sources_of(rules),
        "brackets": {
            key: [bracket.model_dump(mode="json", exclude_none=True) for bracket in table]
            for key, table in rules.brackets.items()
            if symbol in (None, key)
        },
    }


def sources_of(rules: Rules) -> dict[str, Any]:
    """The sources of a profile, ready for JSON."""
    return {
        name: {"title": s.title, "url": s.url, "retrieved": s.retrieved.isoformat(), "status": s.status}
        for name, s in rules.sources.items()
    }


def diff(
    old: Annotated[str, typer.Argument(metavar="OLD", help="A profile, ID or ID@DATE.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="Another, or the same at another date.")],
    symbol: Annotated[
        list[str] | None, typer.Option("--symbol", help="Only these instruments and assets; repeat it.")
    ] = None,
    json: Json = False,
) -> None:
    """Compare two venues, or two dates of one: every slot and every table row in which they differ."""
    from dataclasses import replace

    from crossmargin.analytics.rule_difference import rule_difference

    found = rule_difference(rules_of(old), rules_of(new))
    if symbol:
        found = replace(found, rows=tuple(row for row in found.rows if row.name in symbol))
    if json:
        print_json(found)
    else:
        _show_difference(found)


def _show_difference(found: RuleDifference) -> None:
    from crossmargin.apps import tables
    from crossmargin.apps.tables import shown

    tables.console.print(f"[bold]{found.old}[/bold] and [bold]{found.new}[/bold]", markup=True)
    rows = [[change.rule, change.old or "-", change.new or "-"] for change in found.slots]
    tables.console.print(tables._figures("Rules", ["rule", "old", "new"], rows, left=3))
    most = 60
    rows = [
        [
            row.name,
            shown(row.floor),
            row.figure,
            "-" if row.old is None else shown(row.old),
            "-" if row.new is None else shown(row.new),
        ]
        for row in found.rows[:most]
    ]
    tables.console.print(tables._figures("Tables", ["of", "above", "figure", "old", "new"], rows))
    if len(found.rows) > most:
        tables.console.print(f"and {len(found.rows) - most} rows more: name --symbol, or ask for --json", style="dim")
    for words, names in (("only in the new", found.added), ("only in the old", found.removed)):
        if names:
            tables.console.print(f"{words}: {', '.join(names)}", style="dim")


def impact(
    old: Annotated[str, typer.Argument(metavar="OLD", help="The rules now: ID or ID@DATE.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="The rules then: ID or ID@DATE.")],
    files: Annotated[list[str], typer.Argument(metavar="ACCOUNT...", help="Account files.")],
    json: Json = False,
) -> None:
    """Say what a change of rules does to accounts: requirements, headroom, thresholds, and who is then in danger.

    The exit code is that of the worst account under the new rules; an account that cannot be judged counts as 5.
    """
    from crossmargin.analytics.whatif import whatif
    from crossmargin.model.change import ChangeRules

    answers: list[dict[str, Any]] = []
    codes = []
    for file in files:
        read = case_reader(file)
        try:
            case = read(*_split(old))
            found = whatif(*case, [ChangeRules(rules=read(*_split(new)).rules)])
        except CrossmarginError as error:
            answers.append({"file": file, "error": str(error), "what": None})
            codes.append(5)
            continue
        answers.append({"file": file, "error": None, "what": found})
        codes.append(_CODES[found.after.status])
    if json:
        print_json({"old": old, "new": new, "accounts": answers})
    else:
        _show_impact(answers)
    raise typer.Exit(max(codes, key=[0, 3, 5, 4].index))


def _split(text: str) -> tuple[str, str | None]:
    name, _, day = text.partition("@")
    return name, day or None


def _show_impact(answers: list[dict[str, Any]]) -> None:
    from crossmargin.apps import tables
    from crossmargin.apps.tables import shown

    rows = []
    for answer in answers:
        found = answer["what"]
        if found is None:
            rows.append([answer["file"], "unknown", "unknown", *["-"] * 5])
            continue
        change, after = found.difference, found.after
        figures = [change.maintenance_margin, change.initial_margin, change.free_collateral, change.headroom]
        rows.append([answer["file"], found.before.status, after.status, *map(shown, figures), shown(after.headroom)])
    columns = ["account", "now", "then", "maintenance_margin", "initial_margin", "free_collateral", "headroom"]
    tables.console.print(tables._figures("What changes", [*columns, "headroom then"], rows, left=3))
    for answer in answers:
        if answer["error"]:
            tables.console.print(f"{answer['file']}: {answer['error']}", style="yellow")
            continue
        for row in answer["what"].threshold_changes:
            if row.moved and row.before.price is not None:
                words = f"{answer['file']}: {row.symbol} {row.side} from {shown(row.before.price)} to "
                tables.console.print(words + shown(row.after.price), style="dim")


def verify(
    names: Annotated[list[str] | None, typer.Argument(metavar="[FILE]...", help="Conformance files, by name.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every conformance file.")] = False,
    json: Json = False,
    folder: Annotated[str | None, typer.Option("--folder", help="A folder of conformance files of your own.")] = None,
) -> None:
    """Compare the rules with every published figure; list those that cannot be reproduced, with the reason."""
    from crossmargin.analytics.verification import verify as check
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
                rows.append((file.name, case, check(*case.load(), case.expect, case.tolerance_of)))
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
                        "profile": case.profile,
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


def new(
    name: Name,
    like: Annotated[str, typer.Option("--like", metavar="ID", help="The profile to start from.")] = "plain-cross",
    folder: Annotated[
        str, typer.Option("--folder", help="Where it goes; name it in CROSSMARGIN_VENUES to use it.")
    ] = "venues",
) -> None:
    """Start a venue of your own: its rules as a copy of another profile, and a first conformance case."""
    from crossmargin.files.profiles import copy_profile

    made = copy_profile(like, name, Path(folder))
    for path in made:
        typer.echo(f"wrote {path}")
    typer.echo(f"next: state its rules and sources, then CROSSMARGIN_VENUES={folder} crossmargin venues show {name}")
    typer.echo(f"and its figures: CROSSMARGIN_VENUES={folder} crossmargin venues verify --all --folder {folder}/cases")


def docs(
    folder: Annotated[str, typer.Argument(metavar="FOLDER", help="Where the pages stand.")] = "docs/venues",
    check: Annotated[
        bool, typer.Option("--check", help="Only say which pages are out of date; exit 1 if any.")
    ] = False,
) -> None:
    """Write a page for each profile, generated from its rules and sources; your own words on a page stay."""
    from crossmargin.apps.venue_pages import pages

    stale = []
    for path, text in pages(Path(folder)).items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(path)
            if not check:
                path.write_text(text, encoding="utf-8")
    for path in stale:
        typer.echo(f"{'out of date' if check else 'wrote'}: {path}")
    raise typer.Exit(1 if check and stale else 0)


_COMMANDS: dict[str, Any] = {
    "list": listed,
    "show": show,
    "diff": diff,
    "impact": impact,
    "verify": verify,
    "new": new,
    "docs": docs,
}
