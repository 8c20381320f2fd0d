"""``crossmargin cascade``: what happens when the account breaks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from crossmargin.apps.options import File, Json, On, ProfileName, asked, named_numbers, print_json, read_subject

if TYPE_CHECKING:
    from crossmargin.analytics.cascade import Cascade
    from crossmargin.engine.closing import Entry
    from crossmargin.engine.liquidation import Step


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(cascade)


def cascade(
    file: File,
    coin: Annotated[
        str | None,
        typer.Option("--coin", metavar="COIN", help="Move this coin alone; by default every coin falls alike."),
    ] = None,
    up: Annotated[bool, typer.Option("--up", help="Prices rise to the threshold; by default they fall.")] = False,
    gap: Annotated[
        str,
        typer.Option(
            "--gap",
            metavar="MOVE",
            help="The market jumps past the threshold by this fraction (-0.10 = 10 % below); orders are filled there.",
        ),
    ] = "0",
    other: Annotated[
        list[str] | None,
        typer.Option("--with", metavar="ID", help="Also walk it by the rules of this profile; repeat it."),
    ] = None,
    fund: Annotated[
        list[str] | None,
        typer.Option(
            "--fund",
            metavar="CURRENCY=AMOUNT",
            help="What the venue's insurance fund holds; without it the fund is taken to hold enough.",
        ),
    ] = None,
    json: Json = False,
    profile: ProfileName = None,
    on: On = None,
) -> None:
    """Walk the liquidation step by step: orders, reductions, take-over, fees, insurance fund, what the owner keeps."""
    from crossmargin.apps import questions

    options = asked(
        questions.CascadeOptions,
        **{"with": other},
        coin=coin,
        up=up,
        gap=gap,
        fund=named_numbers("--fund", fund),
    )
    found = questions.cascade(read_subject(file, profile, on), options)
    if json:
        print_json(found)
    else:
        _show(found["cascades"])
    kinds = {one.kind for one in found["cascades"]}
    raise typer.Exit(4 if "already" in kinds else 5 if "unknown" in kinds else 0)


def _show(found: tuple[Cascade, ...]) -> None:
    from crossmargin.apps import tables
    from crossmargin.apps.sparks import spark
    from crossmargin.apps.tables import percent, shown

    for one in found:
        where = {
            "price": f"breaks after a move of {percent(one.distance)}"
            if one.distance is not None
            else "in this market",
            "already": "is liquidatable at present prices",
            "never": "never breaks on this line",
            "unknown": f"unknown: {one.reason}",
        }[one.kind]
        gap = f", filled {percent(one.gap)} from there" if one.gap else ""
        tables.console.print(f"[bold]{one.profile}[/bold] ({one.direction}): {where}{gap}", markup=True)
        if one.prices:
            rows = [[p.symbol, shown(p.now), shown(p.at_threshold), shown(p.filled)] for p in one.prices]
            tables.console.print(tables._figures("Prices", ["mark_price of", "now", "at threshold", "filled"], rows))
        if one.steps:
            columns = ["step", "pool", "what", "price", "realized_pnl", "fee", "insurance_fund", "headroom", "equity"]
            tables.console.print(tables._figures("Steps", columns, [_row(step) for step in one.steps], left=3))
        if len(one.steps) > 2:
            for pool in dict.fromkeys(step.pool for step in one.steps):
                left = [float(step.equity_after) for step in one.steps if step.pool == pool]
                if max(left) > 0:
                    line = spark(left, ascii_only=tables.console.options.ascii_only)
                    tables.console.print(f"equity of {pool} step by step (x: gone): {line}", style="dim")
        for words in dict.fromkeys(f"{step.step}: {step.note}" for step in one.steps if step.note):
            tables.console.print(words, style="dim")
    paid = ["fee", "insurance_fund", "deleveraged", "socialized_loss"]
    columns = ["profile", "in", "equity now", "at fill", *paid, "owner keeps", "status"]
    rows = [_summary(one, paid) for one in found]
    tables.console.print(tables._figures("What is left", columns, rows, left=2))
    for note in dict.fromkeys(note for one in found for note in one.notes):
        tables.console.print(f"note: {note}", style="dim")


def _row(step: Step) -> list[str]:
    from crossmargin.apps.tables import shown

    def what(entry: Entry) -> str:
        side = "" if entry.position_side in ("", "net") else f" {entry.position_side}"
        return f"{shown(entry.quantity)} {entry.what}{side}"

    wait = f" (then {shown(step.wait_seconds)} s)" if step.wait_seconds else ""
    prices = [shown(entry.price) if entry.price is not None else "-" for entry in step.entries]
    return [
        step.step + wait,
        step.pool,
        "\n".join(what(entry) for entry in step.entries),
        "\n".join(prices),
        shown(step.realized_pnl),
        shown(step.fee),
        shown(step.insurance_fund),
        shown(step.headroom_after),
        shown(step.equity_after),
    ]


def _summary(one: Cascade, paid: list[str]) -> list[str]:
    from crossmargin.apps.tables import shown

    several = len(one.bills) > 1
    figures = [
        ", ".join(shown(getattr(bill, name)) + (f" {bill.currency}" if several else "") for bill in one.bills) or "0"
        for name in paid
    ]
    equities = [shown(one.equity_now), shown(one.equity_at_fill)]
    return [one.profile, one.currency, *equities, *figures, shown(one.equity_after), one.status]
