"""``crossmargin whatif``: what would change if ...?"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crossmargin.apps.options import File, Json, On, ProfileName, print_json, read_subject
from crossmargin.errors import Fault, ProfileError

if TYPE_CHECKING:
    from crossmargin.analytics.whatif import WhatIf
    from crossmargin.model.report import Crossing


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(whatif)


def _many(name: str, metavar: str, help_text: str) -> Any:
    return typer.Option(name, metavar=metavar, help=help_text)


def whatif(
    file: File,
    rules: Annotated[
        list[str] | None,
        _many("--rules", "PROFILE[@DATE]", "Judge by other rules, or by the same at another date: @DATE."),
    ] = None,
    move: Annotated[
        list[str] | None,
        _many("--move", "COIN=MOVE", "Move a coin, its contracts and its index by a fraction: BTC=-0.2 is 20 % down."),
    ] = None,
    price: Annotated[
        list[str] | None, _many("--price", "SYMBOL=PRICE", "Move a coin so that this contract's mark is at a price.")
    ] = None,
    depeg: Annotated[
        list[str] | None,
        _many("--depeg", "ASSET=MOVE", "Move this venue's index price of one asset alone, contracts stay: USDT=-0.03."),
    ] = None,
    deposit: Annotated[list[str] | None, _many("--deposit", "ASSET=AMOUNT", "Add to the wallet.")] = None,
    collateral: Annotated[
        list[str] | None, _many("--collateral", "ASSET=on|off", "Count an asset as collateral, or do not.")
    ] = None,
    transfer: Annotated[
        list[str] | None,
        _many("--transfer", "SYMBOL=AMOUNT", "Move margin into an isolated position, or (below 0) out of it."),
    ] = None,
    leverage: Annotated[
        list[str] | None, _many("--leverage", "SYMBOL=LEVERAGE", "Set the leverage of a symbol.")
    ] = None,
    margin_mode: Annotated[
        list[str] | None, _many("--margin-mode", "SYMBOL=MODE", "Make a position cross or isolated.")
    ] = None,
    close: Annotated[
        list[str] | None, _many("--close", "SYMBOL[=SHARE]", "Close a position at the mark, or a share of it: =0.5.")
    ] = None,
    order: Annotated[
        list[str] | None,
        _many(
            "--order", "SYMBOL=QUANTITY[@PRICE]", "Fill an order: + buys, - sells contracts; by default at the mark."
        ),
    ] = None,
    withdraw: Annotated[list[str] | None, _many("--withdraw", "ASSET=AMOUNT", "Take out of the wallet.")] = None,
    changes: Annotated[
        str | None,
        typer.Option("--changes", metavar="FILE", help="More changes, in their own order: TOML or JSON, [[changes]]."),
    ] = None,
    json: Json = False,
    profile: ProfileName = None,
    on: On = None,
) -> None:
    """Apply changes to a copy of the account: figures and thresholds before and after, and what would be refused.

    Options are applied in the order of this list, each as often as it is given; then those of --changes.
    """
    from crossmargin.apps import questions

    given = [
        ("--rules", rules),
        ("--move", move),
        ("--price", price),
        ("--depeg", depeg),
        ("--deposit", deposit),
        ("--collateral", collateral),
        ("--transfer", transfer),
        ("--leverage", leverage),
        ("--margin-mode", margin_mode),
        ("--close", close),
        ("--order", order),
        ("--withdraw", withdraw),
    ]
    raw = [_FORMS[option](*_pair(option, text)) for option, texts in given for text in texts or ()]
    raw += _listed(changes) if changes is not None else []
    if not raw:
        raise ProfileError("whatif", (Fault("--order", "", "say what changes: --order, --deposit, ... or --changes"),))
    subject = read_subject(file, profile, on)
    found = questions.whatif(subject, questions.WhatIfOptions(changes=raw))
    if json:
        print_json(found)
    else:
        _show(found)
    codes = {"healthy": 0, "warning": 3, "liquidation": 4}
    code = codes[found.after.status]
    if code != 4 and found.verdict == "unknown":
        code = 5
    raise typer.Exit(3 if code == 0 and found.verdict == "refused" else code)


# the options as changes in their wire form ----------------------------------------------------------------------------


def _pair(option: str, text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals and option not in ("--close", "--rules"):
        raise ProfileError(option, (Fault(option, text, "must be NAME=VALUE"),))
    return name, value


def _rules(name: str, _value: str) -> dict[str, Any]:
    profile, _, date = name.partition("@")
    return {"kind": "change_rules", "profile": profile or None, "on": date or None}


def _order(symbol: str, value: str) -> dict[str, Any]:
    quantity, _, price = value.partition("@")
    return {"kind": "order", "symbol": symbol, "quantity": quantity, **({"price": price} if price else {})}


def _close(symbol: str, share: str) -> dict[str, Any]:
    return {"kind": "close", "symbol": symbol, **({"share": share} if share else {})}


def _collateral(asset: str, value: str) -> dict[str, Any]:
    return {"kind": "set_balance", "asset": asset, "use_as_collateral": value}


_FORMS: dict[str, Callable[[str, str], dict[str, Any]]] = {
    "--rules": _rules,
    "--move": lambda coin, by: {"kind": "move_price", "coin": coin, "by": by},
    "--price": lambda symbol, to: {"kind": "move_price", "symbol": symbol, "to": to},
    "--depeg": lambda asset, by: {"kind": "move_price", "coin": asset, "by": by, "only": "index"},
    "--deposit": lambda asset, amount: {"kind": "deposit", "asset": asset, "amount": amount},
    "--collateral": _collateral,
    "--transfer": lambda symbol, amount: {"kind": "transfer", "symbol": symbol, "amount": amount},
    "--leverage": lambda symbol, leverage: {"kind": "set_leverage", "symbol": symbol, "leverage": leverage},
    "--margin-mode": lambda symbol, mode: {"kind": "set_margin_mode", "symbol": symbol, "margin_mode": mode},
    "--close": _close,
    "--order": _order,
    "--withdraw": lambda asset, amount: {"kind": "withdraw", "asset": asset, "amount": amount},
}


def _listed(path: str) -> list[Any]:
    from crossmargin.files.accounts import read_table

    table, where = read_table(path)
    found = table.get("changes")
    if set(table) != {"changes"} or not isinstance(found, list):
        raise ProfileError(where, (Fault("changes", "", "must be the one key of the file, a list of changes"),))
    return found


# tables ---------------------------------------------------------------------------------------------------------------


def _show(found: WhatIf) -> None:
    from crossmargin.apps import tables
    from crossmargin.apps.tables import percent, shown

    rows = []
    for step in found.steps:
        money = [shown(step.realized_pnl), shown(step.fee), step.asset] if step.asset else ["", "", ""]
        rows.append([step.change, step.verdict, *money])
    tables.console.print(tables._figures("Changes", ["change", "", "realized_pnl", "fee", "in"], rows, left=2))
    for step in found.steps:
        for reason in step.reasons:
            tables.console.print(f"{step.verdict}: {reason}", style="yellow")
    before, after = found.before, found.after
    rows = [["status", before.status, after.status, ""]]
    for name in ("equity", "initial_margin", "maintenance_margin", "headroom", "free_collateral", "withdrawable"):
        change = getattr(found.difference, name)
        rows.append([name, shown(getattr(before, name)), shown(getattr(after, name)), shown(change)])
    rows.append(["margin_ratio", percent(before.margin_ratio), percent(after.margin_ratio), ""])
    title = f"Figures in {before.currency}" + ("" if before.currency == after.currency else f", then {after.currency}")
    tables.console.print(tables._figures(title, ["", "before", "after", "difference"], rows))
    rows = [
        [f"{row.symbol} {row.side}", _side(row.before), _side(row.after), "" if row.moved is None else shown(row.moved)]
        for row in found.threshold_changes
        if (row.before is not None and row.before.kind != "never")
        or (row.after is not None and row.after.kind != "never")
    ]
    tables.console.print(tables._figures("Liquidated at", ["", "before", "after", "difference"], rows))
    for note in found.notes:
        tables.console.print(f"note: {note}", style="dim")


def _side(side: Crossing | None) -> str:
    from crossmargin.apps.tables import percent, shown

    if side is None:
        return "-"
    if side.kind != "price":
        return side.kind
    return percent(side.distance) if side.price is None else shown(side.price)
