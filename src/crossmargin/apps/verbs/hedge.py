"""crossmargin hedge: what each position needs, what trades free, and which hedge restores a target."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crossmargin.apps.options import (
    File,
    Json,
    On,
    ProfileName,
    asked,
    exit_code,
    named_numbers,
    print_json,
    read_subject,
)

if TYPE_CHECKING:
    from crossmargin.analytics.best_hedge import HedgeChoice
    from crossmargin.analytics.hedge import HedgeEffect, NeutralPair, Requirement


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(hedge)


def hedge(
    file: File,
    json: Json = False,
    profile: ProfileName = None,
    on: On = None,
    trade: Annotated[
        list[str] | None,
        typer.Option(
            "--trade", metavar="SYMBOL=QUANTITY", help="Show the effect of this trade at the mark; repeat it."
        ),
    ] = None,
    use: Annotated[
        list[str] | None,
        typer.Option(
            "--use",
            metavar="SYMBOL",
            help="Solve for the size of this instrument; a pair is SYMBOL=WEIGHT,SYMBOL=WEIGHT; repeat it.",
        ),
    ] = None,
    headroom: Annotated[
        str, typer.Option("--headroom", metavar="AMOUNT", help="The headroom to restore, in the pool's currency.")
    ] = "0",
    distance: Annotated[
        str,
        typer.Option("--distance", metavar="FRACTION", help="The common move to survive either way; 0.3 is 30 %."),
    ] = "0",
    pool: Annotated[str | None, typer.Option("--pool", metavar="POOL", help="The pool to restore.")] = None,
    by: Annotated[str, typer.Option("--by", metavar="fee|margin", help="What the best hedge costs least of.")] = "fee",
    leverage: Annotated[
        str | None, typer.Option("--leverage", metavar="NUMBER", help="The leverage of positions that a trade opens.")
    ] = None,
) -> None:
    """Say what each position needs, what trades would free (--trade), and which hedge restores a target (--use)."""
    from crossmargin.apps import questions

    subject = read_subject(file, profile, on)
    options = asked(
        questions.HedgeOptions,
        trade=named_numbers("--trade", trade),
        use=[named_numbers("--use", name.split(",")) if "=" in name else name for name in use or ()],
        headroom=headroom,
        distance=distance,
        pool=pool,
        by=by,
        leverage=leverage,
    )
    found = questions.hedge(subject, options)
    if options.trade:
        _print(found, _show_effect, json=json)
        unknown = any(change.after is not None and change.after.initial_margin is None for change in found.pools)
    elif options.use:
        _print(found, lambda found: _show_choices(found["choices"]), json=json)
        unknown = any(choice.openable is None and choice.reason is None for choice in found["choices"])
    else:
        _print(found, lambda found: _show_needs(found["requirements"], found["pairs"]), json=json)
        unknown = any(row.marginal_initial is None for row in found["requirements"])
    raise typer.Exit(exit_code(subject.case, unknown=unknown))


def _print(found: Any, show: Any, *, json: bool) -> None:
    if json:
        print_json(found)
    else:
        show(found)


def _show_needs(rows: tuple[Requirement, ...], pairs: tuple[NeutralPair, ...]) -> None:
    from crossmargin.apps.tables import _figures, console, shown

    columns = ["position", "pool", "in", "maintenance", "alone", "offset", "initial", "alone", "offset", "headroom"]
    body = [
        [
            row.symbol + ("" if row.position_side == "net" else f" {row.position_side}"),
            row.pool,
            row.currency,
            shown(row.marginal_maintenance),
            shown(row.stand_alone_maintenance),
            shown(row.offset_maintenance),
            shown(row.marginal_initial),
            shown(row.stand_alone_initial),
            shown(row.offset_initial),
            shown(row.headroom_without),
        ]
        for row in rows
    ]
    console.print(_figures("What each position needs (headroom: the pool's without it)", columns, body, left=3))
    _show_pairs(pairs)


def _show_pairs(pairs: tuple[NeutralPair, ...]) -> None:
    from crossmargin.apps.tables import _side, console, shown

    for pair in pairs:
        words = f"{pair.coin}: delta {shown(pair.delta)} of {shown(pair.gross)}"
        if pair.margin_neutral:
            console.print(f"{words}; neutral in price and in margin")
            continue
        below, above = _side(pair.below, price=False)[0], _side(pair.above, price=False)[0]
        console.print(f"{words}; neutral in price, not in margin: liquidated below {below}, above {above}")


def _show_effect(effect: HedgeEffect) -> None:
    from crossmargin.apps.tables import _figures, _side, console, shown

    body = [
        [t.symbol, shown(t.quantity), shown(t.price), shown(t.fee), shown(t.realized_pnl), t.currency]
        for t in effect.trades
    ]
    console.print(_figures("Trades", ["symbol", "quantity", "price", "fee", "realized_pnl", "in"], body))
    names = ("equity", "initial_margin", "maintenance_margin", "headroom", "free_collateral")
    for change in effect.pools:
        rows = []
        for name in names:
            old = getattr(change.before, name) if change.before else Decimal(0)
            new = getattr(change.after, name) if change.after else Decimal(0)
            gain = None if old is None or new is None else new - old
            rows.append([name, shown(old), shown(new), shown(gain)])
        title = f"Pool {change.pool}, in {change.currency}"
        console.print(_figures(title, ["figure", "before", "after", "change"], rows))
    lines = [
        [row.symbol, row.side, *("-" if c is None else " ".join(_side(c)).strip() for c in (row.before, row.after))]
        for row in effect.thresholds
    ]
    shocks = effect.common_shock_before, effect.common_shock_after
    for side in ("below", "above"):
        words = [_side(getattr(shock, side), price=False)[0] for shock in shocks]
        lines.append(["all coins together", side, *words])
    console.print(_figures("Liquidated at", ["price of", "side", "before", "after"], lines, left=2))
    _show_pairs(effect.pairs)


def _show_choices(choices: tuple[HedgeChoice, ...]) -> None:
    from crossmargin.apps.tables import _figures, console, shown

    columns = [
        "instrument",
        "side",
        "trades",
        "fee",
        "initial_margin",
        "maintenance_margin",
        "headroom",
        "can be opened",
    ]
    openable = {True: "yes", False: "no", None: "unknown"}
    body = []
    for choice in choices:
        if choice.reason:
            body.append([choice.instrument, choice.side, choice.reason, *["-"] * 5])
            continue
        trades = ", ".join(
            shown(t.quantity) + (f" {t.symbol}" if len(choice.trades) > 1 else "") for t in choice.trades
        )
        figures = [choice.fee, choice.initial_margin, choice.maintenance_margin, choice.headroom]
        body.append(
            [
                choice.instrument,
                choice.side,
                trades or "none needed",
                *(shown(figure) for figure in figures),
                openable[choice.openable],
            ]
        )
    title = f"Hedges that reach the target, best first (in {choices[0].currency})" if choices else "No instruments"
    console.print(_figures(title, columns, body, left=3))
