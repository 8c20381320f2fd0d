"""Hyperliquid: clearinghouse state, universe with asset contexts, spot state.

Field meanings: the API pages (hyperliquid.gitbook.io, info endpoint). The wallet is the account value less unrealized
PnL; an isolated position's pocket is ``leverage.rawUsd`` plus size x entry, so that pocket plus unrealized PnL is
``marginUsed``. The maximum leverage of a position sets its maintenance rate, 1 / (2 x maximum leverage).
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from crossmargin.files.payloads.reading import Parts, Row, shape


def state(row: Row, parts: Parts) -> None:
    """``clearinghouseState``: margin summaries and positions."""
    parts.profile("hyperliquid")
    parts.lists |= {"balances", "positions"}
    parts.seen(row.number("time"))
    gains = Decimal(0)
    for item in row.rows("assetPositions"):
        item.skip("type")
        inner = item.row("position")
        if inner is not None:
            gains += _position(inner, parts)
    cross, whole = row.row("crossMarginSummary"), row.row("marginSummary")
    if cross is None:
        parts.fault(f"{row.path}.crossMarginSummary", None, "is missing; the wallet cannot be known without it")
        return
    value = cross.need("accountValue")
    parts.put("balances", "USDC", "wallet_balance", value=value - gains)
    parts.report("pools.USDC.equity", value, "crossMarginSummary.accountValue")
    parts.report("pools.USDC.initial_margin", cross.number("totalMarginUsed"), "crossMarginSummary.totalMarginUsed")
    cross.skip("totalNtlPos", "totalRawUsd")
    parts.report(
        "pools.USDC.maintenance_margin", row.number("crossMaintenanceMarginUsed"), "crossMaintenanceMarginUsed"
    )
    if whole is not None:
        parts.report("equity", whole.number("accountValue"), "marginSummary.accountValue")
        whole.skip("totalMarginUsed", "totalNtlPos", "totalRawUsd")
    parts.report("withdrawable", row.number("withdrawable"), "withdrawable")


def lone_position(row: Row, parts: Parts) -> None:
    """One position on its own."""
    parts.profile("hyperliquid", "position")
    _position(row, parts)


def _position(row: Row, parts: Parts) -> Decimal:
    """Read a position; give back its unrealized PnL where it counts in the shared pool."""
    row.skip("returnOnEquity", "cumFunding")
    size, gain = row.number("szi"), row.number("unrealizedPnl") or Decimal(0)
    if size == 0:
        row.skip_all()
        return Decimal(0)
    symbol = row.symbol("hyperliquid", "coin")
    if symbol is None:
        return Decimal(0)
    own = parts.position(symbol, size)
    entry, value, used = row.number("entryPx"), row.number("positionValue"), row.number("marginUsed")
    own.put("entry_price", entry or None)
    own.mark_from(value, size, "position value / size")
    own.max_leverage(row.number("maxLeverage"))
    own.report("notional", value, "positionValue")
    own.report("unrealized_pnl", row.number("unrealizedPnl"), "unrealizedPnl")
    own.report_liquidation(row, "liquidationPx")
    leverage = row.row("leverage")
    kind = leverage.text("type") if leverage is not None else None
    own.put("leverage", leverage.number("value") if leverage is not None else None)
    if kind == "isolated" and leverage is not None:
        raw = leverage.number("rawUsd")
        own.isolated(None if raw is None or entry is None or size is None else raw + size * entry)
        own.report_pocket("equity", used, "marginUsed")
        return Decimal(0)
    own.report("initial_margin", used, "marginUsed")
    return gain


def universe(pair: list[Any], parts: Parts) -> None:
    """``metaAndAssetCtxs``: mark prices and funding rates of every coin, in the order of the universe."""
    meta, contexts = parts.row(pair[0], "meta"), pair[1]
    meta.skip_all()
    if not isinstance(contexts, list):
        parts.fault("contexts", contexts, "must be a list, one table for each coin of the universe")
        return
    for index, (coin, context) in enumerate(zip(meta.rows("universe"), contexts, strict=False)):
        coin.skip_all()
        row = parts.row(context, f"contexts[{index}]")
        row.skip_all()
        if ":" in (coin.text("name") or ""):
            continue
        symbol = coin.symbol("hyperliquid", "name")
        if symbol is not None:
            parts.put("market", "mark_price", symbol, value=row.number("markPx"))
            parts.put("market", "funding_rate", symbol, value=row.number("funding"))


def spot_state(row: Row, parts: Parts) -> None:
    """``spotClearinghouseState``: coins on the spot side, which back no perpetual of a standard account."""
    row.skip("evmEscrows")
    held = [item for item in row.rows("balances") if item.number("total")]
    for item in held:
        item.skip_all()
    if held:
        names = ", ".join(str(item.raw.get("coin")) for item in held)
        parts.notes.append(f"spot balances ({names}) back no perpetual of a standard account; left out")


SHAPES = (
    shape("hyperliquid-state", "assetPositions marginSummary", state),
    shape("hyperliquid-position", "coin szi entryPx positionValue", lone_position),
    shape("hyperliquid-spot-state", "balances", spot_state, without="assets"),
)
