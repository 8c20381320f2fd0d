"""crossmargin allocate: where the capital of a fund should sit."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crossmargin.apps.options import Json, asked, exit_code, print_json

if TYPE_CHECKING:
    from crossmargin.analytics.allocation import FrontierPoint, Outline, Plan
    from crossmargin.analytics.allocation_plan import Move
    from crossmargin.model.fund import Fund


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(allocate)


def allocate(
    fund: Annotated[str, typer.Argument(metavar="FUND", help="A fund file, TOML or JSON; - reads standard input.")],
    json: Json = False,
    objective: Annotated[
        str | None,
        typer.Option(
            "--objective",
            metavar="KIND",
            help="Instead of the file's: least_cost, most_freed, largest_headroom, least_collateral, most_carry or "
            "largest_position.",
        ),
    ] = None,
    buffer: Annotated[
        str | None,
        typer.Option(
            "--buffer", metavar="SHARE", help="Instead of the file's common share of maintenance margin; 0.2 is 20 %."
        ),
    ] = None,
    frontier: Annotated[
        int | None,
        typer.Option(
            "--frontier", metavar="N", min=2, help="N plans, with the buffers from nothing to twice as stated."
        ),
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="OUT", help="Write the frontier as a page with its figure.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check the file and say what would be decided, without solving.")
    ] = False,
    orders: Annotated[
        Path | None,
        typer.Option(
            "--orders",
            "--export",
            metavar="FILE",
            help="Write the moves as a list of orders, transfers, conversions and settings, .csv or .json.",
        ),
    ] = None,
) -> None:
    """Say which moves keep every pool of a fund safe at least cost, or free the most; it advises, it never trades."""
    from crossmargin.apps import questions
    from crossmargin.apps.orders import write_orders
    from crossmargin.files.funds import load_fund

    read = load_fund(fund)
    options = asked(questions.AllocateOptions, objective=objective, buffer=buffer, frontier=frontier, dry_run=dry_run)
    stated = questions.overridden(read, options)
    found = questions.allocate(read, options, _progress)
    _progress("")
    if dry_run:
        _print(found, _show_outline, json=json)
        raise typer.Exit(_code(stated))
    if frontier is not None:
        _print(found, lambda found: _show_frontier(found["frontier"], stated.currency), json=json)
        if html is not None:
            _write_page(html, stated, found["frontier"])
        raise typer.Exit(_code(stated))
    _print(found, _show_plan, json=json)
    if orders is not None:
        write_orders(orders, found)
    raise typer.Exit(_code(stated) or (0 if found.safe else 3))


def _progress(words: str) -> None:
    """One line on standard error that is written over and over, where there is somebody to read it."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{words}")
        sys.stderr.flush()


def _code(fund: Fund) -> int:
    """4 where an account is liquidatable as it stands."""
    return max(exit_code(member) for member in fund.members)


def _print(found: Any, show: Any, *, json: bool) -> None:
    if json:
        print_json(found)
    else:
        show(found)


def _write_page(path: Path, fund: Fund, points: tuple[FrontierPoint, ...]) -> None:
    from crossmargin.apps.page import plotly_script, render
    from crossmargin.apps.views import view

    text = render(
        title=f"What more safety costs {fund.id}",
        status="",
        lead=f"The best plan with every buffer scaled, from none to {points[-1].level} times as stated.",
        sub=f"{len(fund.members)} accounts, in {fund.currency}",
        sections=[view(points)],
        foot="crossmargin allocate --frontier",
        script=plotly_script(),
    )
    path.write_text(text, encoding="utf-8")


# tables ---------------------------------------------------------------------------------------------------------------


def _show_plan(plan: Plan) -> None:
    from crossmargin.apps.tables import _figures, console, shown

    head = f"{plan.aim}: {shown(plan.objective)} {plan.currency}, proved to {shown(plan.gap)}"
    console.print(head if plan.safe else f"{head}; NOT SAFE: the least slack is {shown(plan.headroom)}")
    if plan.moves:
        body = [[move.phase, _words(move), _effect(move), shown(move.cost)] for move in plan.moves]
        console.print(_figures("Moves, in this order", ["phase", "move", "headroom", "cost"], body, left=3))
    else:
        console.print("no move is needed")
    rows = []
    for pool in plan.pools:
        for when, own in (("before", pool.before), ("after", pool.after)):
            if own is not None:
                always = [own.equity, own.free_collateral, own.headroom]
                tested = ["-", "-"] if own.scenario is None else [shown(own.worst_headroom), shown(own.slack)]
                name = f"{pool.account} {pool.pool} ({pool.currency})"
                rows.append([name, when, *map(shown, always), *tested, own.scenario or "-"])
    columns = ["pool", "", "equity", "free_collateral", "headroom", "worst", "slack", "in"]
    console.print(_figures("Pools (worst: over the scenarios; slack: beyond the buffer)", columns, rows, left=2))
    for price in plan.shadow_prices[:8]:
        console.print(price.words, style="dim")
    if plan.chance is not None:
        chance = plan.chance
        console.print(
            f"a breach in {chance.broken} of {chance.tested} draws that the plan has not seen: with "
            f"{shown(chance.confidence)} confidence its probability is at most {shown(chance.upper)}, "
            f"{'within' if chance.kept else 'NOT within'} the stated {shown(chance.allowed)}; "
            f"{chance.given_up} of {chance.draws} draws were given up"
        )
    exact = "all of them exactly" if plan.judged_exactly == plan.judged else f"{plan.judged_exactly} of them exactly"
    console.print(
        f"cost {shown(plan.cost)}, carry {shown(plan.carry)}, freed {shown(plan.freed)} {plan.currency}; "
        f"transfers take up to {shown(plan.hours)} h; {plan.judged} judgements in {plan.scenarios} scenarios, {exact}; "
        f"{plan.lines} lines in {plan.rounds} rounds",
        style="dim",
    )
    for note in plan.notes:
        console.print(f"note: {note}", style="dim")


def _words(move: Move) -> str:
    from crossmargin.apps.tables import shown

    if move.quantity is not None:
        side = "buy" if move.quantity > 0 else "sell"
        return (
            f"{move.kind} {shown(abs(move.quantity))} {move.symbol} on {move.account} ({side} at {shown(move.price)})"
        )
    if move.kind == "convert":
        got = f"{shown(move.receives)} {move.received_asset}"
        return f"convert {shown(move.amount)} {move.asset} to {got} on {move.account}"
    if move.kind in {"set_leverage", "set_margin_mode", "forfeit_bonus"}:
        return move.words
    if move.kind == "move":
        return f"{move.words}: {shown(None if move.amount is None else abs(move.amount))}"
    return f"send {shown(move.amount)} {move.asset} from {move.account} to {move.to}"


def _effect(move: Move) -> str:
    from crossmargin.apps.tables import shown

    return "; ".join(f"{e.account} {shown(e.headroom_before)} -> {shown(e.headroom_after)}" for e in move.effects)


def _show_frontier(points: tuple[FrontierPoint, ...], currency: str) -> None:
    from crossmargin.apps.tables import _pictured, bars, console, shown

    columns = ["buffer x", "objective", "cost", "freed", "collateral", "moves"]
    body = [
        [shown(p.level), *(["no plan", "-", "-", "-", "-"] if p.objective is None else
         [*map(shown, (p.objective, p.cost, p.freed, p.collateral)), str(p.moves)])]
        for p in points
    ]  # fmt: skip
    pictures = bars([p.cost for p in points])
    console.print(_pictured(f"What more safety costs, in {currency}", columns, body, pictures))


def _show_outline(found: Outline) -> None:
    from crossmargin.apps.tables import console

    console.print(
        f"{found.fund}: good; {found.accounts} accounts, {len(found.pools)} pools to keep safe, {found.scenarios} "
        f"scenarios, {len(found.decisions)} decisions, aim {found.aim}"
    )
    for words in found.decisions:
        console.print(words, style="dim")
    for words in found.limits:
        console.print(words, style="dim")
