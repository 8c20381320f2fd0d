"""``crossmargin systemic``: who falls when the liquidations of some move the prices of all."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crossmargin.apps.options import (
    Json,
    On,
    OtherCoins,
    ProfileName,
    date_of,
    named_numbers,
    print_json,
    read_case,
    write_page,
)
from crossmargin.errors import AccountError, Fault

if TYPE_CHECKING:
    from decimal import Decimal

    from crossmargin.analytics.systemic import Member, Systemic

_LISTED = 20
"""Rows of a table; every one is in the JSON."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(systemic)


def systemic(
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE...", help="Account files, or one book (.parquet) with --market and --profile."),
    ],
    move: Annotated[
        list[str] | None,
        typer.Option("--move", metavar="COIN=FRACTION", help="The shock: --move BTC=-0.1; repeat it."),
    ] = None,
    others: OtherCoins = None,
    depth: Annotated[
        list[str] | None,
        typer.Option(
            "--depth",
            metavar="COIN=AMOUNT",
            help="What must be bought to move the coin up by 1 %, in quote currency; a coin without one stays put.",
        ),
    ] = None,
    other_depth: Annotated[
        str | None, typer.Option("--other-depth", metavar="AMOUNT", help="The depth of every coin not named.")
    ] = None,
    fund: Annotated[
        list[str] | None,
        typer.Option(
            "--fund",
            metavar="CURRENCY=AMOUNT",
            help="What the one insurance fund of all holds; without it the fund is taken to hold enough.",
        ),
    ] = None,
    rounds: Annotated[int, typer.Option("--rounds", min=1, max=100_000, help="The most rounds.")] = 1000,
    market: Annotated[
        str | None, typer.Option("--market", "-m", metavar="FILE", help="The prices of a book: TOML, JSON or CSV.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="OUT", help="Also write one self-contained page with figures.")
    ] = None,
    json: Json = False,
    profile: ProfileName = None,
    on: On = None,
) -> None:
    """Lead many accounts through a shock whose liquidations move the prices for the others; exit 4 if any breaks."""
    from crossmargin.analytics.systemic import systemic as ask

    drawn = sys.stderr.isatty()

    def progress(number: int, looked: int) -> None:
        if drawn:
            sys.stderr.write(f"\rround {number}, {looked} accounts looked at ")
            sys.stderr.flush()

    found = ask(
        _members(files, market, profile, on),
        shock=named_numbers("--move", move),
        others=_number("--others", others),
        depth=named_numbers("--depth", depth),
        other_depth=_number("--other-depth", other_depth),
        insurance_fund=named_numbers("--fund", fund),
        most_rounds=rounds,
        progress=progress,
    )
    if drawn:
        sys.stderr.write("\r" + " " * 60 + "\r")
    if html is not None:
        from crossmargin.apps.page import plotly_script, render
        from crossmargin.apps.views import view

        section = view(found)
        page = render(
            title="A shock and what it sets off",
            status="liquidation" if found.names else "healthy",
            lead=section.text,
            sub=_shock(found),
            sections=[section],
            foot="Linear, permanent price impact; each account by its own venue's rules.",
            script=plotly_script(),
        )
        write_page(html, page)
    elif json:
        print_json(found)
    else:
        _show(found)
    raise typer.Exit(4 if found.names else 5 if found.left_out or not found.settled else 0)


def _number(option: str, text: str | None) -> Decimal | None:
    return None if text is None else named_numbers(option, [f"all={text}"])["all"]


def _members(files: list[str], market: str | None, profile: str | None, on: str | None) -> Iterator[Member]:
    books = [file for file in files if file.endswith(".parquet")]
    if not books:
        if market is not None:
            why = "is for a book; an account file brings its own prices"
            raise AccountError("systemic", (Fault("--market", market, why),))
        yield from (read_case(file, profile, on) for file in files)
        return
    faults = []
    if len(files) > 1:
        faults.append(Fault("FILE", files[1], "a book stands alone; give either one book or account files"))
    if market is None:
        faults.append(Fault("--market", "", "is missing; a book has no prices of its own"))
    if profile is None:
        faults.append(Fault("--profile", "", "is missing; a book names no rules"))
    if faults or market is None or profile is None:
        raise AccountError("systemic", faults)
    from crossmargin.engine.interchange import read_book
    from crossmargin.files.markets import read_market
    from crossmargin.files.profiles import load_profile

    prices = read_market(market, on=None if on is None else date_of(on))
    rules = load_profile(profile).on(prices.market.as_of).with_overrides(prices.instruments, prices.assets)
    for account in read_book(Path(books[0])).to_accounts(profile=profile):
        yield account, prices.market, rules


def _shock(found: Systemic) -> str:
    """The shock in words: coins that move alike are one."""
    alike: dict[Decimal, list[str]] = {}
    for coin, move in found.shock.items():
        alike.setdefault(move, []).append(coin)
    return "; ".join(
        f"{', '.join(coins) if len(coins) <= _LISTED else f'{len(coins)} coins'} {move * 100:+f} %"
        for move, coins in alike.items()
    )


def _show(found: Systemic) -> None:
    from decimal import Decimal

    from crossmargin.apps import tables
    from crossmargin.apps.tables import percent, shown
    from crossmargin.apps.views.passage import traded_most

    zero = Decimal(0)
    console = tables.console
    end = "" if found.settled else "; the rounds ran out before it came to rest"
    console.print(
        f"{found.by_shock} of {found.accounts} accounts break by the shock, {found.by_others} more by the "
        f"liquidations of others, in {len(found.rounds)} rounds{end}"
    )
    coins = traded_most(found)[:_LISTED]
    first = coins[:3]
    rows = [
        [
            coin,
            percent(found.shock.get(coin, zero)),
            percent(found.moves[coin]),
            "-" if (more := found.amplification[coin]) is None else f"{more:.2f} x",
            shown(-found.sold.get(coin, zero)),
            shown(found.bought.get(coin, zero)),
        ]
        for coin in coins
    ]
    console.print(tables._figures("Prices", ["coin", "shock", "in the end", "amplified", "sold", "bought"], rows))
    if len(found.moves) > len(coins):
        console.print("coins traded less or not at all are in the JSON", style="dim")
    body = [
        [
            str(one.number),
            ", ".join(f"{coin} {percent(one.moves[coin])}" for coin in first),
            str(one.broken),
            str(one.new),
            ", ".join(f"{coin} {shown(one.forced[coin])}" for coin in first if coin in one.forced),
        ]
        for one in found.rounds[:_LISTED]
    ]
    console.print(tables._figures("Rounds", ["round", "prices", "broken", "new", "net bought (sold)"], body))
    if len(found.rounds) > _LISTED:
        console.print(f"and {len(found.rounds) - _LISTED} rounds more (all with --json)", style="dim")
    rows = [
        [
            bill.currency,
            *map(shown, (bill.realized_pnl, bill.fee, bill.insurance_fund, bill.deleveraged, bill.socialized_loss)),
        ]
        for bill in found.bills
    ]
    columns = ["in", "realized_pnl", "fee", "insurance_fund", "deleveraged", "socialized_loss"]
    if rows:
        console.print(tables._figures("Who was paid", columns, rows))
    for name, why in found.left_out[:_LISTED]:
        console.print(f"left out: {name}: {why}", style="yellow")
    if len(found.left_out) > _LISTED:
        console.print(f"and {len(found.left_out) - _LISTED} more left out (all with --json)", style="yellow")
    for note in found.notes:
        console.print(f"note: {note}", style="dim")
