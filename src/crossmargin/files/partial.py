"""What of an incomplete reading can still be compared: stand-ins for what is missing, and the figures they spoil.

An account is judged whole, so a position without a mark price or without a maintenance table refuses everything. To
compare the figures that do not need the missing piece, a stand-in takes its place (the entry price; a table of rate
0) and every figure that it reaches is named as one that cannot be known.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from crossmargin.files.accounts import Case, case_from
from crossmargin.model.instrument import parse_symbol
from crossmargin.model.profile import Rules
from crossmargin.model.reported import Reported

_OF_MAINTENANCE = (
    "maintenance_margin",
    "maintenance_margin_before_fee",
    "liquidation_price",
    "maintenance_coverage",
    "margin_ratio",
    "headroom",
    "risk_rate",
)
_OF_INITIAL = (
    "initial_margin",
    "initial_margin_ratio",
    "initial_coverage",
    "free_collateral",
    "withdrawable",
    "margin_and_pnl",
)


def partial_case(table: Mapping[str, Any], reported: Iterable[Reported]) -> tuple[Case, dict[str, str]]:
    """The case of an account file's table with stand-ins, and why each figure that they reach is not known.

    Raises :class:`AccountError` for whatever else is missing.
    """
    priced = (table.get("market") or {}).get("mark_price") or {}
    unpriced = {
        row["symbol"]: row.get("entry_price") for row in table.get("positions", ()) if row["symbol"] not in priced
    }
    stood_in = {symbol: entry for symbol, entry in unpriced.items() if entry is not None}
    market = {**(table.get("market") or {}), "mark_price": {**priced, **stood_in}}
    case = case_from({**table, "market": market} if stood_in else table, "import")
    untabled = _without_table(case)
    if untabled:
        case = case_from({**table, "market": market, "instruments": _with_tables(table, untabled)}, "import")
    why = {row.figure: words for row in reported for words in _reasons(row.figure, case.rules, stood_in, untabled)}
    return case, why


def _without_table(case: Case) -> list[str]:
    """Contracts held that the rules list no maintenance table for, where the rules need one."""
    if case.rules.slots.maintenance_margin.kind not in _BY_TABLE:
        return []
    held = dict.fromkeys(position.symbol for position in case.account.positions)
    return [symbol for symbol in held if symbol not in case.rules.brackets]


_BY_TABLE = ("marginal_brackets", "step_brackets", "linear_in_size", "size_power", "highest_rate")


def _with_tables(table: Mapping[str, Any], symbols: Iterable[str]) -> list[Mapping[str, Any]]:
    rows = {row["symbol"]: row for row in table.get("instruments", ())}
    for symbol in symbols:
        rows[symbol] = {
            "symbol": symbol,
            **rows.get(symbol, {}),
            "brackets": [{"notional_floor": "0", "maintenance_rate": "0", "initial_rate": "0"}],
        }
    return list(rows.values())


def _reasons(figure: str, rules: Rules, unpriced: Mapping[str, Any], untabled: Iterable[str]) -> Iterator[str]:
    """Why a figure is not known: the contract whose missing piece reaches it, if one does."""
    for symbol in untabled:
        spoilt = _OF_MAINTENANCE if rules.slots.initial_margin.kind == "leverage" else _OF_MAINTENANCE + _OF_INITIAL
        if _reaches(figure, symbol) and figure.rpartition(".")[2].partition(" in ")[0] in spoilt:
            yield f"the rules list no maintenance table of {symbol}; give one in a file with --with"
    for symbol in unpriced:
        if _reaches(figure, symbol) and not _without_mark(figure, symbol, rules):
            yield f"the source prints no mark price of {symbol}; give it with --set market.mark_price.{symbol}=VALUE"


def _reaches(figure: str, symbol: str) -> bool:
    """Whether a figure is of the contract or of something larger that holds it."""
    head = figure.removeprefix("positions.").removeprefix("pools.")
    of_another = figure.startswith("positions.") or " isolated." in figure
    return not figure.startswith(("balances.", "rates.")) and (
        not of_another or head.startswith((f"{symbol}.", f"{symbol} "))
    )


def _without_mark(figure: str, symbol: str, rules: Rules) -> bool:
    """A figure of a linear position that follows no mark: a price it dies at, and margin that is valued at entry."""
    name = figure.rpartition(".")[2]
    if not figure.startswith("positions.") or parse_symbol(symbol).kind != "linear":
        return False
    own = rules.slots.isolated
    valued = {
        slots.valuation.initial for slots in (rules.slots, own) if slots is not None and slots.valuation is not None
    }
    return name in ("liquidation_price", "bankruptcy_price") or (name == "initial_margin" and valued == {"entry"})
