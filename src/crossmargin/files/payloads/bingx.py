"""BingX: swap balances and positions (USDT-M and coin-M), standard futures.

Field meanings: the API pages (bingx-api.github.io). A liquidation price of 0 is "none".
"""

from __future__ import annotations

from crossmargin.files.payloads.reading import Parts, Row, shape
from crossmargin.files.payloads.symbols import unified

_SKIP = "positionId positionIdx availableAmt realisedProfit pnlRatio maxMarginReduction onlyOnePosition riskRate"


def balance(row: Row, parts: Parts) -> None:
    """One asset of the swap balance: ``balance`` is the wallet, isolated positions in it; ``equity`` counts PnL too."""
    row.skip("userId", "shortUid", "realisedProfit", "freezedMargin")
    asset = row.need_text("asset")
    parts.lists.add("balances")
    coin = asset not in ("USDT", "USDC")
    parts.profile("bingx-coinm" if coin else "bingx-usdm")
    pool, held = f"pools.{asset}", row.number("balance")
    parts.whole_wallet(
        asset,
        held,
        balance=(f"{pool}.collateral_value", held),
        unrealizedProfit=(f"{pool}.unrealized_pnl", row.number("unrealizedProfit")),
        equity=(f"{pool}.equity", row.number("equity")),
        usedMargin=(f"{pool}.initial_margin", row.number("usedMargin")),
        availableMargin=(f"{pool}.free_collateral", row.number("availableMargin")),
    )


def position(row: Row, parts: Parts) -> None:
    """One row of the swap positions; ``positionAmt`` has no sign in hedge mode, the side says it."""
    row.skip(_SKIP)
    parts.lists.add("positions")
    amount = row.number("positionAmt")
    if amount == 0:
        row.skip_all()
        return
    symbol = row.symbol("dashed", "symbol")
    if symbol is None:
        return
    inverse = "/USD:" in symbol
    parts.profile("bingx-coinm" if inverse else "bingx-usdm", "position")
    row.skip("currency")
    side = (row.text("positionSide") or "").lower() if "positionSide" in row.raw else "both"
    one_way = row.flag("onlyOnePosition") or side == "both"
    short = amount is not None and (amount < 0 or (side != "both" and row.sold("positionSide")))
    quantity = None if amount is None else -abs(amount) if short else amount
    own = parts.position(symbol, quantity, "net" if one_way else side)
    own.put("entry_price", row.number("avgPrice", "entryPrice") or None)
    own.put("leverage", row.number("leverage") or None)
    own.mark(row.number("markPrice", "currentPrice"))
    parts.seen(row.number("updateTime"))
    value, gain = row.number("positionValue"), row.number("unrealizedProfit")
    if not inverse:
        own.mark_from(value, quantity, "position value / size")
    own.mark_from_gain(row.number("avgPrice", "entryPrice"), gain)
    own.report("notional", value, "positionValue")
    own.report("unrealized_pnl", gain, "unrealizedProfit")
    own.report("initial_margin", row.number("initialMargin"), "initialMargin")
    own.report_liquidation(row, "liquidationPrice")
    margin = row.number("margin")
    if row.flag("isolated"):
        own.isolated(None if margin is None or gain is None else margin - gain)
        own.report_pocket("equity", margin, "margin")
    elif margin is not None:
        own.report("margin_and_pnl", margin, "margin")


def standard_position(row: Row, parts: Parts) -> None:
    """One row of the standard futures positions."""
    row.skip(_SKIP, "time")
    parts.lists.add("positions")
    parts.profile("bingx-standard", "position")
    amount = row.number("positionAmt")
    if amount == 0:
        row.skip_all()
        return
    name = row.need_text("symbol")
    try:
        symbol = parts.hint or unified("dashed", name)
    except ValueError as error:
        parts.fault(f"{row.path}.symbol", name, str(error))
        return
    short = amount is not None and (amount < 0 or row.sold("positionSide"))
    row.skip("positionSide")
    own = parts.position(symbol, None if amount is None else -abs(amount) if short else amount)
    own.put("entry_price", row.number("entryPrice") or None)
    own.put("leverage", row.number("leverage") or None)
    own.mark(row.number("currentPrice"))
    margin = row.number("initialMargin")
    if row.flag("isolated"):
        own.isolated(margin)
    own.report("initial_margin", margin, "initialMargin")
    own.report("unrealized_pnl", row.number("unrealizedProfit"), "unrealizedProfit")


def standard_balance(row: Row, parts: Parts) -> None:
    """One asset of the standard futures balance."""
    row.skip("marginAvailable", "crossUnPnl", "maxWithdrawAmount", "balance")
    parts.lists.add("balances")
    parts.seen(row.number("updateTime"))
    asset = row.need_text("asset")
    parts.profile("bingx-standard")
    parts.put("balances", asset, "wallet_balance", value=row.number("crossWalletBalance"))
    parts.report(f"pools.{asset}.free_collateral", row.number("availableBalance"), "availableBalance")


SHAPES = (
    shape("bingx-balance", "asset balance equity usedMargin freezedMargin", balance),
    shape("bingx-position", "symbol positionId positionAmt avgPrice unrealizedProfit", position),
    shape("bingx-standard-position", "symbol positionAmt currentPrice entryPrice isolated", standard_position),
    shape(
        "bingx-standard-balance",
        "asset crossWalletBalance crossUnPnl marginAvailable",
        standard_balance,
        without="accountAlias",
    ),
)
