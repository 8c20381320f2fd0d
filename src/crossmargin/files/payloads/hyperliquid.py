"""Hyperliquid: clearinghouse state, universe with asset contexts, spot state.

Field meanings: the API pages (hyperliquid.gitbook.io, info endpoint). The wallet is the account value less unrealized
PnL; an isolated position's pocket is ``leverage.rawUsd`` plus size x entry, so that pocket plus unrealized PnL is
``marginUsed``. The maximum leverage of a position sets its maintenance rate, 1 / (2 x maximum leverage).
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from crossmargin.errors import AccountError, Fault
from crossmargin.files.payloads.reading import Parts, Row, shape


def state(row: Row, parts: Parts) -> None:
    """``clearinghouseState``: margin summaries and positions."""
    parts.profile("hyperliquid")
    parts.lists.add("positions")
    parts.seen(row.number("time"))
    gains = Decimal(0)
    for item in row.rows("assetPositions"):
        item.skip("type")
        inner = item.row("position")
        if inner is not None:
            gains += _position(inner, parts)
    if _portfolio(parts):
        row.skip_all()  # sums without what the spot balances add to them
        return
    parts.lists.add("balances")
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
    row.skip("type")
    _position(row.row("position") or row, parts)


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


def is_of_exchange(item: Any) -> bool:
    """Whether this is a pair of an exchange's name and a state: the venue's own exchange has no name."""
    return (
        isinstance(item, list | tuple)
        and len(item) == 2
        and isinstance(item[0], str)
        and isinstance(item[1], Mapping)
        and "assetPositions" in item[1]
    )


def main_exchange(pairs: list[Any], where: str, parts: Parts) -> list[Any]:
    """The state of the venue's own exchange out of a list over all; the collateral of the others is apart."""
    apart = [name for name, state in pairs if name and state["assetPositions"]]
    if apart:
        names = ", ".join(apart)
        parts.notes.append(f"positions on exchanges built on the venue ({names}) have collateral apart; left out")
    own = [state for name, state in pairs if not name]
    if not own:
        why = "lists no state of the venue's own exchange; the rules of exchanges built on it are not known"
        raise AccountError(where, (Fault("(whole)", ", ".join(str(name) for name, _ in pairs)[:60], why),))
    return own


def one_account(items: list[Any], where: str) -> list[Any]:
    """A list of sub-accounts without those that hold nothing. Raises where more than one is left: each is its own."""
    accounts = [item for item in items if isinstance(item, Mapping) and {"subAccountUser", "master"} <= item.keys()]
    if len(accounts) < 2 or len(accounts) < len(items):
        return items
    held = [item for item in accounts if _holds(item)]
    if len(held) > 1:
        names = ", ".join(str(item.get("name")) for item in held)
        why = "are accounts of their own, none backs another: give the row of one"
        raise AccountError(where, (Fault("subAccounts", names[:60], why),))
    return held or accounts[:1]


def _holds(account: Mapping[str, Any]) -> bool:
    """Whether a sub-account has positions, or a value other than 0 on any exchange or on the spot side."""
    states = [account.get("clearinghouseState"), *(pair[1] for pair in account.get("dexToClearinghouseState") or ())]
    for state in states:
        if isinstance(state, Mapping):
            value = (state.get("marginSummary") or {}).get("accountValue")
            if state.get("assetPositions") or str(value or "0").strip("0.") != "":
                return True
    spot = account.get("spotState") or {}
    return any(str(row.get("total") or "0").strip("0.") for row in spot.get("balances") or ())


def is_portfolio(account: Mapping[str, Any]) -> bool:
    """Whether a row of sub-accounts says that its spot balances and positions are margined together."""
    return "subAccountUser" in account and account.get("abstraction") == "portfolioMargin"


def _portfolio(parts: Parts) -> bool:
    return "hyperliquid-portfolio" in (name for _, name in parts.profiles)


def spot_state(row: Row, parts: Parts) -> None:
    """``spotClearinghouseState``: coins on the spot side, which back no perpetual of a standard account."""
    row.skip("evmEscrows", "tokenToAvailableAfterMaintenance")
    held = [item for item in row.rows("balances") if item.number("total")]
    for item in held:
        item.skip_all()
    if _portfolio(parts):
        parts.lists.add("balances")
        for item in held:
            parts.put("balances", str(item.raw.get("coin")), "wallet_balance", value=item.number("total"))
    elif held:
        names = ", ".join(str(item.raw.get("coin")) for item in held)
        parts.notes.append(f"spot balances ({names}) back no perpetual of a standard account; left out")


SHAPES = (
    shape("hyperliquid-state", "assetPositions marginSummary", state),
    shape("hyperliquid-position", "coin szi entryPx positionValue", lone_position),
    shape("hyperliquid-asset-position", "position type", lone_position, without="symbol coin"),
    shape("hyperliquid-spot-state", "balances", spot_state, without="assets user_id total", inside="coin total"),
)
