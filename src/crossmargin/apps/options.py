"""What every verb of the command line shares: the file argument, the common options, reading and printing."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crossmargin.errors import Fault, ProfileError

if TYPE_CHECKING:
    from crossmargin.files.accounts import Case

File = Annotated[str, typer.Argument(metavar="FILE", help="An account file, TOML or JSON; - reads standard input.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")]
ProfileName = Annotated[
    str | None, typer.Option("--profile", "-p", metavar="ID", help="Judge by this profile, not the file's own.")
]
On = Annotated[
    str | None,
    typer.Option("--on", metavar="DATE", help="Use the rules in force on this date (2025-09-02), not as_of."),
]


def read_case(file: str, profile: str | None, on: str | None) -> Case:
    """The case of an account file with the options that override it."""
    from crossmargin.files.accounts import load

    when = None
    if on is not None:
        try:
            when = datetime.fromisoformat(on)
        except ValueError:
            raise ProfileError("--on", (Fault("--on", on, "must be a date such as 2025-09-02"),)) from None
        when = when.replace(tzinfo=UTC) if when.tzinfo is None else when
    return load(file, profile=profile, on=when)


def print_json(value: Any) -> None:
    """Print a result as its one JSON text."""
    from crossmargin.model.report import to_json

    sys.stdout.write(to_json(value) + "\n")
