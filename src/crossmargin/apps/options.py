"""What every verb of the command line shares: the file argument, the common options, reading and printing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from crossmargin.errors import AccountError, Fault, ProfileError

if TYPE_CHECKING:
    from crossmargin.apps.questions import Options, Subject
    from crossmargin.files.accounts import Case
    from crossmargin.model.account import Account
    from crossmargin.model.market import Market
    from crossmargin.model.profile import Rules

    T = TypeVar("T", bound=Options)

File = Annotated[str, typer.Argument(metavar="FILE", help="An account file, TOML or JSON; - reads standard input.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")]
ProfileName = Annotated[
    str | None, typer.Option("--profile", "-p", metavar="ID", help="Judge by this profile, not the file's own.")
]
On = Annotated[
    str | None,
    typer.Option("--on", metavar="DATE", help="Use the rules in force on this date (2025-09-02), not as_of."),
]
OtherRules = Annotated[
    list[str] | None,
    typer.Option("--with", metavar="PROFILE[@DATE]", help="Also by these rules, or by its own of another @DATE."),
]
OtherCoins = Annotated[
    str | None, typer.Option("--others", metavar="FRACTION", help="In it, the move of every coin not named.")
]
ScenarioFile = Annotated[
    str | None,
    typer.Option("--scenarios", metavar="FILE", help="Scenarios from a TOML, JSON, CSV or Parquet file."),
]
Historical = Annotated[
    bool, typer.Option("--historical", help="The days of falling markets that ship with crossmargin.")
]


class Mode(StrEnum):
    """The margin modes under which an account can be judged."""

    as_held = "as_held"
    cross = "cross"
    isolated = "isolated"
    hedged_cross = "hedged_cross"


def read_case(file: str, profile: str | None, on: str | None) -> Case:
    """The case of an account file with the options that override it."""
    return case_reader(file)(profile, on)


def case_reader(file: str) -> Callable[[str | None, str | None], Case]:
    """(profile, date) -> case of an account file that is read once, for verbs that judge it by several rules."""
    from crossmargin.files.accounts import case_from, read_table

    raw, where = read_table(file)

    def case(profile: str | None, on: str | None) -> Case:
        return case_from(raw, where, profile=profile, on=None if on is None else date_of(on))

    return case


def read_subject(file: str, profile: str | None, on: str | None) -> Subject:
    """What a question is asked of: the account of a file, and the rules that its options may name."""
    from crossmargin.apps.questions import Subject

    read = case_reader(file)
    return Subject(read(profile, on), lambda name, when: read(name or profile, when or on).rules)


def asked(options: type[T], **given: Any) -> T:
    """The options of a question from those of the command line; what is wrong names the flag. None = not given."""
    try:
        return options(**{name: value for name, value in given.items() if value is not None})
    except AccountError as error:
        faults = [Fault(_flag(fault.path), fault.value, fault.why) for fault in error.faults]
        raise AccountError("options", faults) from None


def _flag(path: str) -> str:
    return "--" + path.replace("_", "-")


def date_of(text: str) -> datetime:
    """A date of the command line; without a zone it is UTC."""
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise ProfileError("--on", (Fault("--on", text, "must be a date such as 2025-09-02"),)) from None
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when


def print_json(value: Any) -> None:
    """Print a result as its one JSON text, in UTF-8 whatever the terminal's encoding: JSON has no other."""
    from crossmargin.model.report import to_json

    typer.echo(to_json(value).encode())


def write_page(path: Path, text: str) -> None:
    """Write a page whole or not at all, and say so."""
    part = Path(f"{path}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
    typer.echo(f"{path}: {len(text) / 1e6:.1f} MB")


def exit_code(case: tuple[Account, Market, Rules], *, unknown: bool = False) -> int:
    """The exit code of a question about an account: 4 where it is liquidatable as it stands, 5 on unknown, else 0.

    What would be is no verdict: a warning level has a code of its own only where the account itself is judged.
    """
    from crossmargin.engine.reporting import evaluate

    liquidatable = evaluate(*case, explain=False).status == "liquidation"
    return 4 if liquidatable else 5 if unknown else 0


def named_numbers(option: str, pairs: list[str] | None) -> dict[str, Decimal]:
    """``NAME=NUMBER`` as often as an option was given, read exactly; a name given twice counts the last."""
    from crossmargin.model.number import parse_decimal

    found = {}
    for pair in pairs or ():
        name, _, number = pair.rpartition("=")
        try:
            found[name] = parse_decimal(number)
        except ValueError as error:
            raise ProfileError(option, (Fault(option, pair, f"must be NAME=NUMBER; the number {error}"),)) from None
    return found
