"""``crossmargin max-order`` and ``crossmargin max-withdraw``: how much more fits, and how much can leave?"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from crossmargin.apps.options import File, Json, On, ProfileName, asked, exit_code, print_json, read_subject

if TYPE_CHECKING:
    from decimal import Decimal


class _Side(StrEnum):
    buy = "buy"
    sell = "sell"


class _Mode(StrEnum):
    cross = "cross"
    isolated = "isolated"


class _PositionSide(StrEnum):
    net = "net"
    long = "long"
    short = "short"


def register(app: typer.Typer) -> None:
    """Add the two commands."""
    app.command("max-order")(max_order)
    app.command("max-withdraw")(max_withdraw)


def max_order(
    file: File,
    symbol: Annotated[str, typer.Argument(metavar="SYMBOL", help="The contract: BTC/USDT:USDT.")],
    side: Annotated[_Side, typer.Argument(metavar="buy|sell", help="Which way the order goes.")],
    price: Annotated[str | None, typer.Option("--price", help="What it fills at; by default the mark.")] = None,
    leverage: Annotated[
        str | None, typer.Option("--leverage", help="Its leverage; by default that of the position held.")
    ] = None,
    fee_rate: Annotated[
        str | None, typer.Option("--fee-rate", help="The fee as a fraction of value; by default the taker fee.")
    ] = None,
    position_side: Annotated[
        _PositionSide, typer.Option("--position-side", help="The side it adds to, in hedge mode.")
    ] = _PositionSide.net,
    margin_mode: Annotated[
        _Mode | None, typer.Option("--margin-mode", help="Open it cross or isolated; by default as the position held.")
    ] = None,
    json: Json = False,
    profile: ProfileName = None,
    on: On = None,
) -> None:
    """Find the largest order that the rules admit, fees included: one last digit more would be refused."""
    from crossmargin.apps import questions

    subject = read_subject(file, profile, on)
    options = asked(
        questions.MaxOrderOptions,
        symbol=symbol,
        side=side.value,
        price=price,
        leverage=leverage,
        fee_rate=fee_rate,
        position_side=position_side.value,
        margin_mode=None if margin_mode is None else margin_mode.value,
    )
    found = questions.max_order(subject, options)
    if json:
        print_json(found)
    else:
        from crossmargin.apps.tables import shown

        _show(
            f"{side.value} {symbol} at {shown(found.price)}",
            [
                ("quantity", found.quantity, "contracts"),
                ("fee", found.fee, ""),
                ("free_collateral after", found.free_collateral, ""),
            ],
            found.binding,
            found.reason,
        )
    unknown = found.quantity is None and not (found.reason or "").startswith("unbounded")
    raise typer.Exit(exit_code(subject.case, unknown=unknown))


def max_withdraw(
    file: File,
    asset: Annotated[str, typer.Argument(metavar="ASSET", help="The asset to take out: USDT.")],
    json: Json = False,
    profile: ProfileName = None,
    on: On = None,
) -> None:
    """Find the most of an asset that the rules let out: one last digit more would be refused."""
    from crossmargin.apps import questions

    subject = read_subject(file, profile, on)
    found = questions.max_withdraw(subject, asked(questions.MaxWithdrawOptions, asset=asset))
    if json:
        print_json(found)
    else:
        figures = [("amount", found.amount, asset), ("free_collateral after", found.free_collateral, "")]
        _show(f"take out {asset}", figures, found.binding, found.reason)
    raise typer.Exit(exit_code(subject.case, unknown=found.amount is None))


def _show(title: str, figures: list[tuple[str, Decimal | None, str]], binding: str | None, reason: str | None) -> None:
    from crossmargin.apps import tables
    from crossmargin.model.number import plain

    rows = [[name, "unknown" if value is None else plain(value), unit] for name, value, unit in figures]
    tables.console.print(tables._figures(title, ["", "", ""], rows))
    for word, text in (("binding", binding), ("reason", reason)):
        if text:
            tables.console.print(f"{word}: {text}", style="dim")
