"""``crossmargin clearing``: the books of record, from commands in JSON lines."""

from __future__ import annotations

import gc
import os
import select
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from crossmargin.apps.options import Json, print_json
from crossmargin.apps.verbs.partitions import partitions
from crossmargin.errors import Fault, JournalError, ProfileError

if TYPE_CHECKING:
    from crossmargin.clearing.desk import Desk
    from crossmargin.clearing.journal import Journal
    from crossmargin.model.profile import Rules

_MEMORY = ":memory:"
"""A journal that ends with the command: to try a file of commands."""

_GROUP = 1000
"""The most commands that are written and answered together."""

clearing = typer.Typer(
    help="The books of record: commands in, events out, an append-only journal with a hash chain.", no_args_is_help=True
)

JournalOf = Annotated[
    str,
    typer.Option(
        "--journal",
        "-j",
        metavar="WHERE",
        envvar="CROSSMARGIN_JOURNAL",
        help="The journal: a SQLite file, a URL such as postgresql+psycopg://user@host/name, or :memory: to try.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    clearing.add_typer(partitions, name="partitions")
    app.add_typer(clearing, name="clearing")


@clearing.command()
def init(
    journal: JournalOf = "clearing.db",
    at: Annotated[
        str, typer.Option("--at", metavar="TIME", help="The time of the first record, such as 2026-11-20T08:00:00Z.")
    ] = "1970-01-01T00:00:00Z",
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="A setting: max_age_seconds, max_move, max_step_seconds, grace_seconds, max_orders, "
            "default_quantum, quantum.ASSET, partition.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Start the books: make the journal's tables and write its first record, the venue's settings."""
    from crossmargin.clearing.commands import canonical

    with _desk(journal, new=True) as desk:
        if desk.seq:
            why = f"holds {desk.seq} records; books are started once"
            raise JournalError("init", (Fault("--journal", journal, why),))
        wire: dict[str, object] = {"kind": "start", "command_id": "start", "at": at}
        quantum: dict[str, str] = {}
        for pair in settings or ():
            name, _, value = pair.partition("=")
            if name.startswith("quantum."):
                quantum[name.removeprefix("quantum.")] = value
            else:
                wire[name] = int(value) if name == "max_orders" and value.isdigit() else value
        if quantum:
            wire["quantum"] = quantum
        (said,) = desk.submit([canonical(wire)])
        if '"accepted":false' in said[:20]:
            raise ProfileError("clearing init", (Fault("--set", ", ".join(settings or ()), said),))
        _say(desk, json)


@clearing.command()
def apply(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Commands, one JSON object a line; - = standard input.")],
    journal: JournalOf = "clearing.db",
    group: Annotated[int, typer.Option("--group", min=1, max=10_000, help="Commands written together.")] = _GROUP,
    answers: Annotated[bool, typer.Option("--answers", help="Print the answer to every command.")] = False,
    json: Json = False,
) -> None:
    """Apply a file of commands; exit 0 if all were accepted, 3 if some were refused, 2 if a line is no command."""
    from crossmargin.files.text import read_bytes

    lines = [line for line in read_bytes(file, ProfileError).splitlines() if line.strip()]
    refused = wrong = 0
    with _desk(journal) as desk:
        for start in range(0, len(lines), group):
            for said in desk.submit(lines[start : start + group]):
                if said.startswith('{"accepted":false'):
                    malformed = said.endswith('"seq":null}')
                    wrong, refused = wrong + malformed, refused + (not malformed)
                    if not answers and not json:
                        typer.echo(said)
                if answers:
                    typer.echo(said)
        if not answers:
            _say(desk, json)
    raise typer.Exit(2 if wrong else 3 if refused else 0)


@clearing.command("serve-stdin")
def serve_stdin(journal: JournalOf = "clearing.db") -> None:
    """Answer commands from standard input, a line each; answered once durable, in groups as they come."""
    from crossmargin.clearing.commands import canonical

    with _desk(journal) as desk:
        for lines in groups():
            try:
                answers = desk.submit(lines)
            except JournalError as error:  # nothing of the group has happened; the next may go through
                faults = [{"path": fault.path, "value": fault.value, "why": fault.why} for fault in error.faults]
                answers = [canonical({"accepted": False, "command_id": None, "faults": faults, "seq": None})] * len(
                    lines
                )
            sys.stdout.write("\n".join(answers) + "\n")
            sys.stdout.flush()


def groups() -> Iterator[list[bytes]]:
    """What has arrived on standard input, whole lines, without waiting for more than the first of them."""
    rest = b""
    source = sys.stdin.fileno()
    while chunk := os.read(source, 1 << 16):
        rest += chunk
        while len(rest) < 1 << 20 and select.select([source], [], [], 0)[0]:
            more = os.read(source, 1 << 16)
            if not more:
                break
            rest += more
        *lines, rest = rest.split(b"\n")
        lines = [line for line in lines if line.strip()]
        for start in range(0, len(lines), _GROUP):
            yield lines[start : start + _GROUP]
    if rest.strip():
        yield [rest]


@clearing.command()
def verify(journal: JournalOf = "clearing.db", json: Json = False) -> None:
    """Replay the journal from its first record: the hash chain, every event decided again, snapshots, invariants."""
    from crossmargin.clearing.audit import verify as check

    with _journal(_known(journal)) as opened, _progress(opened.length()) as told:
        found = check(opened, told)
    if json:
        print_json(found)
    else:
        typer.echo(f"{found.records} records are right; chain {found.chain}; state {found.state_hash}")
        for finding in found.findings:
            typer.echo(f"wrong: {finding.where}: {finding.what} ({finding.rule})")
    raise typer.Exit(1 if found.findings else 0)


@clearing.command()
def snapshot(journal: JournalOf = "clearing.db", json: Json = False) -> None:
    """Keep the state in the journal, so that the next start need not go through what is before."""
    with _desk(journal) as desk:
        desk.snapshot()
        _say(desk, json)


@clearing.command()
def balances(
    journal: JournalOf = "clearing.db",
    owner: Annotated[str | None, typer.Option("--owner", metavar="NAME", help="Only this account, or @venue.")] = None,
    json: Json = False,
) -> None:
    """Show what everybody holds, by owner, place and asset, and that each asset adds up to zero."""
    from crossmargin.clearing.statement import balances as held

    with _desk(journal) as desk:
        found = held(desk.state, owner)
    if json:
        print_json(found)
        return
    from crossmargin.apps import tables

    cells = [[row["owner"], row["place"], row["asset"], row["amount"]] for row in found["balances"]]
    tables.console.print(tables._figures("Balances", ["owner", "place", "asset", "amount"], cells, left=3))


@clearing.command()
def export(
    journal: JournalOf = "clearing.db",
    after: Annotated[int, typer.Option("--after", min=0, help="Only records after this one.")] = 0,
    commands: Annotated[bool, typer.Option("--commands", help="The commands alone, as `apply` takes them.")] = False,
) -> None:
    """Print the journal as JSON lines: place, time, command, events and hash of each record."""
    from crossmargin.clearing.statement import line

    with _journal(_known(journal)) as opened:
        for record in opened.records(after):
            typer.echo(record.command if commands else line(record))


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    """A bar on standard error, where somebody looks at it, for as long as records are gone through."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    shown = Console(stderr=True)
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=shown, transient=True, disable=not shown.is_terminal) as bar:
        task = bar.add_task("records", total=total)
        yield lambda count: bar.update(task, completed=count)


def _known(journal: str) -> str:
    """A journal that is there; a mistyped path makes no new one."""
    if "://" not in journal and journal != _MEMORY and not os.path.exists(journal):  # noqa: PTH110 - a name, not a path to work on
        raise JournalError(
            "clearing", (Fault("--journal", journal, "is not there; `crossmargin clearing init` makes it"),)
        )
    return journal


@contextmanager
def _journal(where: str) -> Iterator[Journal]:
    from crossmargin.clearing.journal import Journal

    journal = Journal(where)
    try:
        yield journal
    finally:
        journal.close()


@contextmanager
def _desk(journal: str, *, new: bool = False) -> Iterator[Desk]:
    from crossmargin.clearing.desk import Desk

    with _journal(journal if new else _known(journal)) as opened:
        desk = Desk(opened, rules_of)
        gc.freeze()  # what is restored stays: collections need not go through it again and again
        yield desk


def rules_of(profile: str, on: str) -> Rules:
    """The rules that a ``change_rules`` names, from the profiles that are installed."""
    from crossmargin.files.profiles import load_profile

    return load_profile(profile).on(datetime.fromisoformat(on))


def _say(desk: Desk, json: bool) -> None:
    from crossmargin.clearing.state import state_hash

    figures = {"records": desk.seq, "chain": desk.chain, "state_hash": state_hash(desk.state)}
    if json:
        print_json(figures)
    else:
        typer.echo(f"{desk.seq} records; chain {desk.chain}; state {figures['state_hash']}")
