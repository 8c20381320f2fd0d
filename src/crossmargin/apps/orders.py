"""A plan as a list that a desk can work through: orders, transfers, conversions and settings, step by step.

Rows carry the words of exchange clients (``side``, ``reduce_only``); each phase is done before the next begins.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossmargin.errors import AccountError, Fault

if TYPE_CHECKING:
    from crossmargin.analytics.allocation import Plan
    from crossmargin.analytics.allocation_plan import Move

LISTS = {
    "close": "orders",
    "open": "orders",
    "send": "transfers",
    "move": "transfers",
    "convert": "conversions",
    "set_leverage": "settings",
    "set_margin_mode": "settings",
    "forfeit_bonus": "settings",
}
"""In which list each kind of move stands."""
COLUMNS = (
    "step", "list", "phase", "kind", "account", "to", "symbol", "position_side", "side", "quantity", "price",
    "reduce_only", "leverage", "margin_mode", "asset", "amount", "received_asset", "receives", "delay_hours", "cost",
)  # fmt: skip


def row(step: int, move: Move) -> dict[str, Any]:
    """One move as plain figures by column; what does not apply is None. ``quantity`` has no sign: ``side`` says it."""
    from crossmargin.model.report import to_plain

    trades = move.quantity is not None
    own: dict[str, Any] = {
        "step": step,
        "list": LISTS[move.kind],
        "side": ("buy" if move.quantity > 0 else "sell") if move.quantity is not None else None,
        "quantity": None if move.quantity is None else to_plain(abs(move.quantity)),
        "reduce_only": move.kind == "close" if trades else None,
    }
    return {name: own[name] if name in own else to_plain(getattr(move, name)) for name in COLUMNS}


def order_list(plan: Plan) -> dict[str, list[dict[str, Any]]]:
    """The moves of a plan by list, ``orders``, ``transfers``, ``conversions`` and ``settings``; None is left out."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in dict.fromkeys(LISTS.values())}
    for step, move in enumerate(plan.moves, start=1):
        found[LISTS[move.kind]].append(
            {k: v for k, v in row(step, move).items() if v is not None and k != "list"},
        )
    return found


def cell(column: str, value: Any) -> Any:
    """One cell of the CSV list; what a user named is kept from being taken for a formula by a spreadsheet.

    >>> cell("account", "=HYPERLINK(1)"), cell("amount", "-5"), cell("to", None)
    ("'=HYPERLINK(1)", '-5', '')
    """
    if value is None:
        return ""
    named = column in ("account", "to", "symbol", "asset", "received_asset")
    return f"'{value}" if named and str(value).startswith(("=", "+", "-", "@", "\t", "\r")) else value


def write_orders(path: Path, plan: Plan) -> None:
    """Write the list: CSV with one row a move, or JSON by list, as the file's ending says.

    Raises :class:`AccountError` for another ending.
    """
    if path.suffix == ".json":
        path.write_text(json.dumps(order_list(plan), indent=2) + "\n", encoding="utf-8")
        return
    if path.suffix != ".csv":
        raise AccountError("--orders", (Fault("--orders", str(path), "must end in .csv or .json"),))
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(COLUMNS)
        for step, move in enumerate(plan.moves, start=1):
            cells = row(step, move)
            writer.writerow([cell(name, cells[name]) for name in COLUMNS])
