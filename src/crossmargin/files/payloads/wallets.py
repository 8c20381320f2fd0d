"""Pockets that only all answers together tell: what is left of a wallet that counts them in, and whose they are.

Some venues print one wallet for an asset, out of which isolated positions hold their margin; others print the shared
part alone. An account file keeps a position's ``isolated_margin`` beside the shared wallet, never in both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from crossmargin.errors import Fault
from crossmargin.files.payloads.reading import Parts, Path, plain_figure, printed_number
from crossmargin.model.instrument import parse_symbol


def take_pockets_out(
    stated: dict[Path, Any], read: Iterable[Parts], said: frozenset[Path]
) -> tuple[list[str], list[Fault]]:
    """Take margins of isolated positions out of the wallets that count them in; gives the notes and the faults.

    ``stated``: every path over all payloads, changed in place. ``said``: the paths that the user gave, which stand.
    Reported figures that count those positions in too are dropped: they are of no pool. A margin that is not known is
    left to be asked for.
    """
    counting: dict[str, set[str]] = {}
    readings = list(read)
    for parts in readings:
        for asset, figures in parts.with_pockets.items():
            counting.setdefault(asset, set()).update(figures)
    notes: list[str] = []
    faults: list[Fault] = []
    for asset, figures in counting.items():
        path = ("balances", asset, "wallet_balance")
        margins = _margins(stated, asset)
        if not margins or path in said or path not in stated:
            continue
        whole = stated[path]
        left = _left(whole, margins)
        if left < 0 <= whole:
            why = "is less than the margins of the isolated positions that it counts in, so they are of two moments"
            faults.append(Fault(".".join(path), plain_figure(whole), why))
            continue
        stated[path] = left
        notes.append(
            f"wallet_balance of {asset}: {plain_figure(whole)} less {plain_figure(sum(margins, Decimal(0)))} that "
            f"isolated positions hold = {plain_figure(left)}; the venue's figures that count both are not compared"
        )
        for parts in readings:
            parts.reported = [row for row in parts.reported if row.figure not in figures]
    return notes, faults


def isolate_all(stated: dict[Path, Any], read: Iterable[Parts]) -> None:
    """Make every position a pocket with the margin it holds, where the account's mode says so (Bybit)."""
    readings = list(read)
    if not any(parts.all_isolated for parts in readings):
        return
    held = {key: margin for parts in readings for key, margin in parts.margins.items()}
    for key in [path[1] for path in stated if path[0] == "positions" and path[-1] == "symbol"]:
        stated.setdefault(("positions", key, "margin_mode"), "isolated")
        if key in held:
            stated.setdefault(("positions", key, "isolated_margin"), held[key])


def _margins(stated: Mapping[Path, Any], asset: str) -> list[Decimal]:
    """The known margins of the isolated positions that settle in the asset."""
    found = []
    for path, symbol in stated.items():
        own = path[:2]
        if path[0] != "positions" or path[-1] != "symbol" or stated.get((*own, "margin_mode")) != "isolated":
            continue
        margin = stated.get((*own, "isolated_margin"))
        if margin is not None and parse_symbol(symbol).settle == asset:
            found.append(printed_number(margin) or Decimal(0))
    return found


def _left(whole: Decimal, margins: list[Decimal]) -> Decimal:
    """What is left of a wallet; less than the last printed digits of the figures is rounding, not a debt.

    Zeros at the end may be cut off a figure, so its last digit counts as rounding to a millionth of the wallet at most.
    """
    left = whole - sum(margins, Decimal(0))
    coarsest = max(int(figure.as_tuple().exponent) for figure in (whole, *margins))
    rounding = min(Decimal(len(margins) + 1).scaleb(coarsest), abs(whole).scaleb(-6))
    return Decimal(0) if -rounding <= left < 0 else left
