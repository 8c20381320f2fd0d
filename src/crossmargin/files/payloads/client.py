"""What the exchange client ccxt returns: positions, balances, leverage tiers, funding rates, markets.

The client keeps the venue's own answer under ``info``; where its shape is known it is read, for its digits are the
venue's. Of the client's own fields only those are used whose meaning is the same on every venue.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from crossmargin.errors import Fault
from crossmargin.files.payloads.reading import Parts, Row, plain_figure, shape

_SKIP = (
    "id timestamp datetime lastUpdateTimestamp lastPrice contractSize initialMarginPercentage collateralCurrency "
    "maintenanceMarginPercentage marginRatio percentage stopLossPrice takeProfitPrice hedged info realizedPnl"
)


def position(row: Row, parts: Parts) -> None:
    """One position of ``fetch_positions``, by the client's own fields."""
    row.skip(_SKIP)
    parts.lists.add("positions")
    contracts, symbol = row.number("contracts"), row.need_text("symbol")
    if contracts == 0:
        row.skip_all()
        return
    short = contracts is not None and (contracts < 0 or row.sold("side"))
    row.skip("side")
    quantity = None if contracts is None else -abs(contracts) if short else abs(contracts)
    own = parts.position(symbol, quantity, ("short" if short else "long") if row.flag("hedged") else "net")
    own.put("entry_price", row.number("entryPrice") or None)
    leverage = row.number("leverage")
    own.put("leverage", leverage if leverage and leverage > 0 else None)
    own.mark(row.number("markPrice"))
    parts.seen(row.number("timestamp"))
    if not row.raw.get("timestamp"):
        parts.seen_text(row.text("datetime"))
    size = row.number("contractSize")
    if size:
        own.instrument("contract_size", size)
    margin, gain = row.number("collateral"), row.number("unrealizedPnl")
    if row.text("marginMode") == "isolated":
        parts.notes.append(f"{own.key}: isolated margin as the client's `collateral`, unrealized PnL taken out")
        own.isolated(None if margin is None or gain is None else margin - gain)
    own.report("notional", row.number("notional"), "notional")
    own.report("unrealized_pnl", gain, "unrealizedPnl")
    own.report("initial_margin", row.number("initialMargin"), "initialMargin")
    own.report("maintenance_margin", row.number("maintenanceMargin"), "maintenanceMargin")
    own.mark_from_gain(row.number("entryPrice"), gain, size)
    own.rate_from(row.number("maintenanceMargin"), row.number("notional"))
    own.report_liquidation(row, "liquidationPrice")


def fill_position(row: Row, parts: Parts) -> None:
    """What the client adds to a position whose own answer was read: contract size and mark.

    The size counts only where the client counts as many contracts as the answer was read to hold: on some venues
    the answer counts coins.
    """
    row.skip_all()
    symbol = row.need_text("symbol")
    size, mark, contracts = row.number("contractSize"), row.number("markPrice"), row.number("contracts")
    held = [parts.stated.get((*path[:-1], "quantity")) for path in parts.stated if path[-1] == "symbol"]
    same = contracts is not None and any(quantity is not None and abs(quantity) == contracts for quantity in held)
    if size and same:
        parts.derive(
            "instruments", symbol, "contract_size", value=size, words=f"contract_size of {symbol}: the client's markets"
        )
    if mark:
        parts.derive("market", "mark_price", symbol, value=mark, words=f"mark_price of {symbol}: the client's")


def balance(row: Row, parts: Parts) -> None:
    """``fetch_balance`` without an answer that is known: its ``total`` is a wallet on one venue, equity on the next."""
    held = [name for name, value in (row.raw.get("total") or {}).items() if value not in (None, 0, 0.0, "0", "0.0")]
    parts.faults += [
        Fault(
            f"balances.{name}.wallet_balance",
            str(row.raw["total"][name]),
            "is not known: a client's `total` counts unrealized PnL in on some venues; "
            f"give it with --set balances.{name}=AMOUNT",
        )
        for name in held
    ]


def tiers(raw: Mapping[str, Any], parts: Parts) -> None:
    """``fetch_leverage_tiers``: a table of brackets for each symbol."""
    for symbol, rows in raw.items():
        brackets = []
        if not isinstance(rows, list):
            parts.fault(f"tiers.{symbol}", rows, "must be a list of brackets")
            continue
        for index, item in enumerate(rows):
            row = parts.row(item, f"tiers.{symbol}[{index}]")
            row.skip("tier", "symbol", "currency", "maxNotional", "info")
            bracket = {
                "notional_floor": row.need("minNotional"),
                "maintenance_rate": row.need("maintenanceMarginRate"),
                "max_leverage": row.number("maxLeverage"),
            }
            brackets.append({key: plain_figure(value) for key, value in bracket.items() if value is not None})
        parts.put("instruments", symbol, "brackets", value=brackets)


def funding_rates(raw: Mapping[str, Any], parts: Parts) -> None:
    """``fetch_funding_rates`` or ``fetch_tickers`` of contracts: marks, funding rates and intervals by symbol."""
    for symbol, item in raw.items():
        row = parts.row(item, f"funding_rates.{symbol}")
        row.skip_all()
        parts.put("market", "last_price", symbol, value=row.number("last") or None)
        mark, rate, every = row.number("markPrice"), row.number("fundingRate"), row.text("interval")
        parts.put("market", "mark_price", symbol, value=mark or None)
        parts.put("market", "funding_rate", symbol, value=rate)
        if every and every.endswith("h"):
            parts.put("market", "funding_interval", symbol, value=Decimal(every[:-1]))


def markets(raw: Mapping[str, Any], parts: Parts) -> None:
    """``load_markets``: contract sizes and taker fees by symbol."""
    for symbol, item in raw.items():
        row = parts.row(item, f"markets.{symbol}")
        row.skip_all()
        if row.raw.get("contract"):
            parts.put("instruments", symbol, "contract_size", value=row.number("contractSize"))
            parts.derive(
                "instruments",
                symbol,
                "taker_fee",
                value=row.number("taker"),
                words=f"taker_fee of {symbol}: the client's",
            )


SHAPES = (
    shape("ccxt-position", "symbol contracts entryPrice info", position),
    shape("ccxt-balance", "info free used total", balance),
)


def table_reader(raw: Mapping[str, Any]) -> Callable[[Mapping[str, Any], Parts], None] | None:
    """The reader of a table by symbol, told by what stands under its first symbol; None where it is none."""
    first = next(iter(raw.values()), None)
    if "/" not in next(iter(raw), ""):
        return None
    if isinstance(first, list) and first and isinstance(first[0], Mapping) and "maintenanceMarginRate" in first[0]:
        return tiers
    if isinstance(first, Mapping) and ("fundingRate" in first or {"last", "bid", "ask"} <= first.keys()):
        return funding_rates
    if isinstance(first, Mapping) and "contractSize" in first and "contract" in first:
        return markets
    return None
