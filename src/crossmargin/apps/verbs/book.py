"""``crossmargin book``: many accounts at once, from Parquet to Parquet, and what a whole book is exposed to."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crossmargin.apps.options import Historical, Json, On, ScenarioFile, date_of, print_json
from crossmargin.errors import AccountError, Fault

if TYPE_CHECKING:
    from crossmargin.analytics.book_risk import BookDistances, BookScenarios, BookSummary
    from crossmargin.apps.runs import Executor, Manifest
    from crossmargin.engine.book import Book
    from crossmargin.files.markets import BookMarket
    from crossmargin.model.profile import Rules

BookFile = Annotated[str, typer.Argument(metavar="BOOK", help="A book: a Parquet file of accounts.")]
MarketOf = Annotated[
    str,
    typer.Option("--market", "-m", metavar="FILE", help="The prices: a TOML, JSON, CSV or Parquet file."),
]
ProfileOf = Annotated[str, typer.Option("--profile", "-p", metavar="ID", help="Judge by this profile.")]
ThreadCount = Annotated[
    int | None, typer.Option("--threads", metavar="N", min=1, help="How many threads; all of the machine by default.")
]
Top = Annotated[int, typer.Option("--top", metavar="N", min=1, help="How many pools and names to list.")]


def register(app: typer.Typer) -> None:
    """Add the group of commands."""
    book = typer.Typer(
        help="Many accounts at once: judge a book from Parquet to Parquet, and ask what it is exposed to.",
        no_args_is_help=True,
    )
    for command in (evaluate, summary, threshold, stress, generate, convert):
        book.command()(command)
    app.add_typer(book, name="book")


# judging --------------------------------------------------------------------------------------------------------------


def evaluate(
    book: BookFile,
    market: MarketOf,
    profile: ProfileOf,
    out: Annotated[
        str, typer.Option("--out", "-o", metavar="OUT", help="Where the judged pools go: a folder of Parquet parts.")
    ],
    on: On = None,
    thresholds: Annotated[
        bool, typer.Option("--thresholds", help="Also the exact liquidation price of every position and coin.")
    ] = False,
    threads: ThreadCount = None,
    cluster: Annotated[
        str | None,
        typer.Option(
            "--cluster",
            metavar="ADDRESS",
            help="Run on a Dask cluster (tcp://host:8786) that sees the files under the same paths; "
            "local = processes of this machine.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Judge every pool of a book; an interrupted run goes on where it was."""
    from crossmargin.apps.batch import Shard
    from crossmargin.apps.runs import Run

    found, rules = _case(market, profile, on)
    with _executor(cluster, threads) as executor:
        run = Run(book, market, out, Shard(found.market, rules, thresholds=thresholds))
        if run.done:
            sys.stderr.write(f"going on with {run.work}: {len(run.done)} parts are done\n")
        with _progress(run.purses) as progress:
            manifest = run.execute(executor, progress)
    if json:
        print_json(manifest)
    else:
        _show_manifest(manifest, out)
    raise typer.Exit(_code(manifest.tally.status, manifest.tally.reasons))


@contextmanager
def _executor(cluster: str | None, threads: int | None) -> Iterator[Executor]:
    if cluster is None:
        from crossmargin.apps.runs import Threads

        yield Threads(threads)
        return
    from crossmargin.apps.cluster import Cluster

    workers = Cluster(cluster, workers=threads)
    try:
        yield workers
    finally:
        workers.close()


@contextmanager
def _progress(purses: int) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal, nothing elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    ) as progress:
        task = progress.add_task("purses", total=purses)
        yield lambda done: progress.advance(task, done)


def _code(status: Any, reasons: Any) -> int:
    """As for one account, by the worst pool: 4 liquidatable, 5 a figure is unknown, 3 a warning, 0 healthy."""
    if status.get("liquidation"):
        return 4
    return 5 if status.get("unknown") or reasons else 3 if status.get("warning") else 0


def _case(market: str, profile: str, on: str | None) -> tuple[BookMarket, Rules]:
    """The market of a file, and the rules in force then with what the file restates of them.

    The first run on a machine says that it compiles: the answer is then seconds late.
    """
    from crossmargin.engine.jit import cache_folder
    from crossmargin.files.markets import read_market
    from crossmargin.files.profiles import load_profile

    found = read_market(market, on=None if on is None else date_of(on))
    if not any(cache_folder().rglob("*.nbi")):
        sys.stderr.write("compiling the kernels, once for this machine ...\n")
    return found, load_profile(profile).on(found.market.as_of).with_overrides(found.instruments, found.assets)


# questions ------------------------------------------------------------------------------------------------------------


def summary(
    book: BookFile,
    market: MarketOf,
    profile: ProfileOf,
    on: On = None,
    top: Top = 10,
    html: Annotated[
        str | None, typer.Option("--html", metavar="FILE", help="Also write a page with the figures (extra plot).")
    ] = None,
    threads: ThreadCount = None,
    json: Json = False,
) -> None:
    """Say where the risk of a book sits: verdicts, margin ratios, the riskiest pools, concentrations."""
    from crossmargin.analytics.book_risk import summarise_book

    found, rules = _case(market, profile, on)
    answer = summarise_book(_parts(book), found.market, rules, top=top, threads=threads)
    if html is not None:
        from crossmargin.apps.book_page import book_page

        Path(html).write_text(book_page(answer, found.market.as_of), encoding="utf-8")
    if json:
        print_json(answer)
    else:
        _show_summary(answer)
    raise typer.Exit(_code(answer.status, answer.reasons))


def threshold(
    book: BookFile,
    market: MarketOf,
    profile: ProfileOf,
    on: On = None,
    top: Top = 10,
    threads: ThreadCount = None,
    json: Json = False,
) -> None:
    """Say how near a book is to liquidation as all coins move together, and which pools are nearest."""
    from crossmargin.analytics.book_risk import distances_of_book

    found, rules = _case(market, profile, on)
    answer = distances_of_book(_parts(book), found.market, rules, top=top, threads=threads)
    if json:
        print_json(answer)
    else:
        _show_distances(answer)
    raise typer.Exit(4 if answer.already else 5 if answer.unknown else 0)


def stress(
    book: BookFile,
    market: MarketOf,
    profile: ProfileOf,
    on: On = None,
    scenarios: ScenarioFile = None,
    historical: Historical = False,
    threads: ThreadCount = None,
    json: Json = False,
) -> None:
    """Say how many pools of a book each scenario liquidates."""
    from crossmargin.analytics.book_risk import scenarios_of_book
    from crossmargin.files.scenarios import historical_scenarios, load_scenarios

    asked = [*(load_scenarios(scenarios) if scenarios else ()), *(historical_scenarios() if historical else ())]
    if not asked:
        raise AccountError("book stress", (Fault("--scenarios", "", "is missing; give a file, or --historical"),))
    found, rules = _case(market, profile, on)
    answer = scenarios_of_book(_parts(book), found.market, rules, asked, threads=threads)
    if json:
        print_json(answer)
    else:
        _show_scenarios(answer)
    raise typer.Exit(4 if answer.now else 5 if answer.unknown else 0)


def _parts(path: str) -> Iterator[Book]:
    """The book of a file part by part, in bounded memory."""
    from crossmargin.apps.batch import books_of

    return books_of(path)


# making ---------------------------------------------------------------------------------------------------------------


def generate(
    pools: Annotated[int, typer.Option("--pools", metavar="N", min=1, help="How many pools.")],
    out: Annotated[str, typer.Option("--out", "-o", metavar="BOOK", help="The Parquet file to write.")],
    profile: Annotated[
        str, typer.Option("--profile", "-p", metavar="ID", help="Whose maintenance tables the contracts have.")
    ] = "plain-cross",
    seed: Annotated[int, typer.Option("--seed", metavar="S", help="The same seed gives the same book.")] = 7,
    on: On = None,
) -> None:
    """Make up a book of a venue's shape, and beside it the market file that goes with it."""
    from crossmargin.apps.synthesis import write_synthetic

    market = write_synthetic(Path(out), profile=profile, pools=pools, seed=seed, on=None if on is None else date_of(on))
    typer.echo(f"{out}: {pools} pools, judged with --market {market} --profile {profile}")


def convert(
    source: Annotated[
        str | None, typer.Argument(metavar="SOURCE", help="A folder of account files, or a book to take apart.")
    ] = None,
    out: Annotated[
        str, typer.Option("--out", "-o", metavar="OUT", help="The book to write, or the folder of account files.")
    ] = "",
    balances: Annotated[
        str | None, typer.Option("--balances", metavar="FILE", help="A flat table of balances, CSV or Parquet.")
    ] = None,
    positions: Annotated[
        str | None, typer.Option("--positions", metavar="FILE", help="A flat table of positions, CSV or Parquet.")
    ] = None,
    orders: Annotated[
        str | None, typer.Option("--orders", metavar="FILE", help="A flat table of open orders, CSV or Parquet.")
    ] = None,
    profile: Annotated[
        str, typer.Option("--profile", "-p", metavar="ID", help="The profile that written account files name.")
    ] = "plain-cross",
    on: On = None,
) -> None:
    """Turn account files or flat tables into a book, and a book into account files."""
    from crossmargin.apps import conversion

    when = None if on is None else date_of(on)
    if not out or (source is None) == (balances is None and positions is None and orders is None):
        why = "needs --out and one source: a folder, a book, or --balances, --positions and --orders"
        raise AccountError("book convert", (Fault("SOURCE", source or "", why),))
    if source is None:
        count = conversion.tables_to_book(balances, positions, orders, Path(out))
    elif Path(source).is_dir():
        count = conversion.folder_to_book(Path(source), Path(out), on=when)
    else:
        count = conversion.book_to_folder(source, Path(out), profile=profile)
    typer.echo(f"{out}: {count} accounts")


# tables ---------------------------------------------------------------------------------------------------------------


def _figure(value: float | None) -> str:
    from decimal import Decimal

    from crossmargin.apps.tables import shown

    return "unknown" if value is None else shown(Decimal(f"{value:.10g}"))


def _share(value: float | None) -> str:
    return "none" if value is None else f"{value * 100:.2f} %"


def _counts(title: str, counts: dict[str, int]) -> None:
    from decimal import Decimal

    from crossmargin.apps import tables

    bars = tables.bars([Decimal(count) if count else None for count in counts.values()], 24)
    rows = [[name, f"{count:,}"] for name, count in counts.items()]
    tables.console.print(tables._pictured(title, ["", "pools"], rows, bars))


def _show_manifest(found: Manifest, out: str) -> None:
    from crossmargin.apps import tables

    tally, parts = found.tally, len(found.parts)
    tables.console.print(
        f"{out}: {tally.pools:,} pools with {tally.positions:,} positions in {parts} part{'s' if parts > 1 else ''}, "
        f"under {found.profile} (rules of {found.rules_since})"
    )
    _counts("Status", dict(tally.status))
    if tally.reasons:
        _counts("Why a figure is unknown", dict(tally.reasons))
    tables.console.print(f"judged again exactly, at the edge: {tally.rejudged:,}", style="dim")


def _show_summary(found: BookSummary) -> None:
    from crossmargin.apps import tables

    tables.console.print(f"{found.pools:,} pools with {found.positions:,} positions under {found.profile}")
    _counts("Status", dict(found.status))
    if found.reasons:
        _counts("Why a figure is unknown", dict(found.reasons))
    classes = {
        f"{row.low:.0%} and more" if row.high is None else f"{row.low:.0%} to {row.high:.0%}": row.pools
        for row in found.ratios
    }
    _counts("Margin ratio", classes)
    rows = [
        [row.account, row.pool, row.currency, row.status, *map(_figure, (row.equity, row.maintenance_margin)),
         _figure(row.headroom), _share(row.margin_ratio)]
        for row in found.riskiest
    ]  # fmt: skip
    columns = ["account", "pool", "in", "status", "equity", "maintenance_margin", "headroom", "margin_ratio"]
    tables.console.print(tables._figures("Riskiest pools", columns, rows, left=4))
    rows = [
        [row.symbol, row.currency, f"{row.positions:,}", *map(_figure, (row.long_notional, row.short_notional)),
         *map(_figure, (row.largest, row.value))]
        for row in found.instruments
    ]  # fmt: skip
    columns = [
        "contract",
        "in",
        "positions",
        "long_notional",
        "short_notional",
        "largest",
        f"value in {found.currency}",
    ]
    tables.console.print(tables._figures("Concentration by contract", columns, rows, left=2))
    rows = [
        [row.asset, f"{row.holdings:,}", *map(_figure, (row.held, row.owed, row.value))] for row in found.collateral
    ]
    columns = ["asset", "holdings", "held", "owed", f"value in {found.currency}"]
    tables.console.print(tables._figures("Concentration by collateral", columns, rows))
    tables.console.print(f"judged again exactly, at the edge: {found.rejudged:,}", style="dim")


def _show_distances(found: BookDistances) -> None:
    from crossmargin.apps import tables

    tables.console.print(
        f"{found.pools:,} pools under {found.profile}: {found.already:,} liquidatable now, {found.unknown:,} unknown"
    )
    _counts("Liquidatable once all coins have moved", {f"{row.move:+.0%}": row.pools for row in found.moves})
    rows = [[row.account, row.pool, _move(row.below), _move(row.above)] for row in found.nearest]
    tables.console.print(tables._figures("Nearest pools", ["account", "pool", "below", "above"], rows, left=2))


def _move(value: float | None) -> str:
    return "never" if value is None else f"{value * 100:+.3g} %"


def _show_scenarios(found: BookScenarios) -> None:
    from crossmargin.apps import tables

    tables.console.print(
        f"{found.pools:,} pools under {found.profile}: {found.now:,} liquidatable now, {found.unknown:,} unknown"
    )
    rows = [
        [row.scenario, f"{row.liquidated:,}", _share(row.liquidated / found.pools if found.pools else 0),
         f"{row.worst_for:,}"]
        for row in found.scenarios
    ]  # fmt: skip
    columns = ["scenario", "liquidated", "share", "worst for"]
    tables.console.print(tables._figures("Liquidatable pools", columns, rows))
