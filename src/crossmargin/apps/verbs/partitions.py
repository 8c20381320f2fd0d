"""``crossmargin clearing partitions``: books in several journals, each with a process of its own that writes it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from crossmargin.apps.options import Json, print_json
from crossmargin.errors import Fault, JournalError, ProfileError

if TYPE_CHECKING:
    from crossmargin.clearing.partitions import Ask, Directory

partitions = typer.Typer(
    help="Books in several journals, a writer each: accounts by a stored map, transfers between them exactly once.",
    no_args_is_help=True,
)

DirectoryOf = Annotated[
    str,
    typer.Option(
        "--directory",
        "-d",
        metavar="WHERE",
        envvar="CROSSMARGIN_DIRECTORY",
        help="The map of accounts and partitions: a SQLite file, or a URL such as postgresql+psycopg://user@host/name.",
    ),
]


@partitions.command()
def init(
    journal: Annotated[
        list[str], typer.Option("--journal", "-j", metavar="NAME=WHERE", help="A partition and its journal; repeat it.")
    ],
    directory: DirectoryOf = "partitions.db",
    at: Annotated[
        str, typer.Option("--at", metavar="TIME", help="The time of the first records, such as 2026-11-20T08:00:00Z.")
    ] = "1970-01-01T00:00:00Z",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A setting of all books, as `crossmargin clearing init` has."),
    ] = None,
) -> None:
    """Start the books of new partitions and put them into the directory; accounts that are open stay where they are."""
    from crossmargin.apps.verbs.clearing import init as start

    pairs = [text.partition("=") for text in journal]
    wrong = [Fault("--journal", name, "must be NAME=WHERE") for name, _, where in pairs if not name or not where]
    if wrong:
        raise ProfileError("clearing partitions init", wrong)
    for name, _, where in pairs:
        start(journal=where, at=at, settings=[*(settings or ()), f"partition={name}"], json=False)
    with _directory(directory) as known:
        known.add({name: where for name, _, where in pairs})


@partitions.command("serve-stdin")
def serve_stdin(directory: DirectoryOf = "partitions.db") -> None:
    """Answer commands of the whole venue from standard input, each partition by a process of its own.

    A command of an account goes to its partition, any other to all; an answer means: durable in all that it names.
    """
    from crossmargin.apps.verbs.clearing import groups
    from crossmargin.clearing.commands import canonical
    from crossmargin.clearing.journal import Journal
    from crossmargin.clearing.partitions import Router, unclosed

    with _directory(directory) as known, _workers(known.journals) as ask:
        unfinished = []
        for name, where in known.journals.items():
            with closing(Journal(where)) as journal:
                unfinished += unclosed(journal, name)
        router = Router(known, ask, unfinished)
        router.settle()
        for lines in groups():
            try:
                answers = router.submit(lines)
            except JournalError as error:  # what has happened of the group is known when it is sent again
                faults = [{"path": fault.path, "value": fault.value, "why": fault.why} for fault in error.faults]
                answers = [canonical({"accepted": False, "answers": {}, "faults": faults})] * len(lines)
            sys.stdout.write("\n".join(answers) + "\n")
            sys.stdout.flush()


@partitions.command()
def audit(directory: DirectoryOf = "partitions.db", json: Json = False) -> None:
    """Open every journal and check all books together: each adds up by itself, and what is under way is in transit."""
    from crossmargin.clearing.audit import audit as check
    from crossmargin.clearing.desk import Desk
    from crossmargin.clearing.events import text
    from crossmargin.clearing.journal import Journal
    from crossmargin.clearing.partitions import in_transit
    from crossmargin.clearing.state import state_hash

    with _directory(directory) as known, ExitStack() as opened:
        desks = {name: Desk(opened.enter_context(closing(Journal(w)))) for name, w in sorted(known.journals.items())}
        found = [finding for desk in desks.values() for finding in check(desk.state)]
        under_way = {asset: text(amount) for asset, amount in in_transit(desks).items()}
    rows = [
        {"partition": name, "accounts": len(d.state.accounts), "records": d.seq, "state_hash": state_hash(d.state)}
        for name, d in desks.items()
    ]
    if json:
        print_json({"partitions": rows, "in_transit": under_way, "findings": found})
    else:
        for row in rows:
            typer.echo(
                f"{row['partition']}: {row['accounts']} accounts, {row['records']} records; state {row['state_hash']}"
            )
        typer.echo(f"in transit: {', '.join(f'{v} {k}' for k, v in under_way.items()) or 'nothing'}")
        for finding in found:
            typer.echo(f"wrong: {finding.where}: {finding.what} ({finding.rule})")
    raise typer.Exit(1 if found else 0)


@contextmanager
def _directory(where: str) -> Iterator[Directory]:
    from crossmargin.clearing.partitions import Directory

    with closing(Directory(where)) as found:
        yield found


class _Worker:
    """A process that writes one journal; begun again when it is gone, for every command may be sent again."""

    def __init__(self, name: str, journal: str) -> None:
        self._name = name
        self._journal = journal
        self._process: subprocess.Popen[str] | None = None

    def ask(self, lines: Sequence[str]) -> list[str]:
        """The answers to lines, in their order."""
        for _ in range(2):
            answers = self._asked(lines)
            if len(answers) == len(lines):
                return answers
            self.end()
        raise JournalError("partitions", (Fault(self._name, "", "its process ends before it has answered"),))

    def _asked(self, lines: Sequence[str]) -> list[str]:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "crossmargin.apps.cli", "clearing", "serve-stdin"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, "CROSSMARGIN_JOURNAL": self._journal},  # a URL is not for everybody to see
            )
        process = self._process
        # answers are read while lines are written: neither side waits for a pipe that nobody empties
        writer = threading.Thread(target=_write, args=(process, lines))
        writer.start()
        assert process.stdout is not None
        answers = []
        for _ in lines:
            said = process.stdout.readline()
            if not said.endswith("\n"):
                break
            answers.append(said[:-1])
        writer.join()
        return answers

    def end(self) -> None:
        """Let the process go: it has answered what it has written."""
        process, self._process = self._process, None
        if process is not None and process.stdin is not None and process.stdout is not None:
            process.kill()
            process.wait()
            process.stdout.close()
            _close(process)


def _write(process: subprocess.Popen[str], lines: Sequence[str]) -> None:
    assert process.stdin is not None
    try:
        process.stdin.write("".join(line + "\n" for line in lines))
        process.stdin.flush()
    except OSError:  # it is gone; what it has answered is read
        return


def _close(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    try:
        process.stdin.close()
    except OSError:  # what was not written is lost with the process
        return


@contextmanager
def _workers(journals: Mapping[str, str]) -> Iterator[Ask]:
    workers = {name: _Worker(name, where) for name, where in journals.items()}
    with ThreadPoolExecutor(max(1, len(workers))) as pool:

        def ask(lines: Mapping[str, Sequence[str]]) -> Mapping[str, Sequence[str]]:
            said = pool.map(lambda name: workers[name].ask(lines[name]), lines)
            return dict(zip(lines, said, strict=True))

        try:
            yield ask
        finally:
            for worker in workers.values():
                worker.end()
