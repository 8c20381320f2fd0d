"""Bitget, CoinEx, BloFin, Crypto.com: the account and position answers that have been seen.

Field meanings: each venue's API pages.
"""

from __future__ import annotations

from decimal import Decimal

from crossmargin.files.payloads.reading import Parts, Row, shape
from crossmargin.files.payloads.rows import start_position

_BITGET_SKIP = (
    "openDelegateSize openDelegateCount available locked frozen achievedProfits marginRatio marginRate cTime "
    "breakEvenPrice totalFee deductedFee grant assetMode autoMargin takeProfit stopLoss takeProfitId stopLossId "
    "marginCoin posMode holdMode posId instName uplRate unrealizedPLR category curRealisedPnl positionStatus "
    "profitRate totalFunding openFeeTotal closeFeeTotal createdTime"
)


def bitget_position(row: Row, parts: Parts) -> None:
    """Bitget: a position of ``all-position`` (v1, v2, v3) or of the stream; its margin is without unrealized PnL.

    Sizes are coins in every version, whatever contract size a client keeps.
    """
    row.skip(_BITGET_SKIP)
    profile = "bitget-unified" if "positionBalance" in row.raw else "bitget-usdm"
    own = start_position(row, parts, profile, "bitget", "total", "symbol", "instId")
    if own is None:
        return
    entry, gain = row.number("openPriceAvg", "averageOpenPrice", "avgPrice"), row.number(*_BITGET_GAIN)
    own.put("entry_price", entry or None)
    own.put("leverage", row.number("leverage") or None)
    own.mark(row.number("markPrice", "marketPrice"))
    own.mark_from_gain(entry, gain)
    parts.seen(row.number("uTime", "updatedTime", "cTime"))
    own.one_rate(row.number("keepMarginRate", "mmr"))
    margin = row.number("marginSize", "margin", "positionBalance")
    if row.text("marginMode") in ("isolated", "fixed"):
        own.isolated(margin)
    else:
        own.report("initial_margin", margin, "marginSize")
    own.report("unrealized_pnl", gain, next(name for name in _BITGET_GAIN if name in row.raw) if gain else "upl")
    own.report_liquidation(row, "liquidationPrice", "liqPx")


_BITGET_GAIN = ("unrealizedPL", "upl", "unrealisedPnl")


def bitget_account(row: Row, parts: Parts) -> None:
    """Bitget: one coin of the futures account; equity less unrealized PnL is the wallet, isolated positions in it."""
    coin = row.need_text("marginCoin")
    equity, gain = row.number("accountEquity", "equity"), row.number("unrealizedPL") or Decimal(0)
    parts.lists.add("balances")
    parts.profile("bitget-usdm")
    if equity is not None:
        own = parts.own_funds(coin, equity - gain, row.number("coupon", "bonus"))
        parts.whole_wallet(coin, own, accountEquity=(f"balances.{coin}.equity", equity))
    free = row.number("crossedMaxAvailable", "crossMaxAvailable")
    parts.report(f"pools.{coin}.free_collateral", free, "crossedMaxAvailable")
    row.skip_all()


def bitget_unified_account(row: Row, parts: Parts) -> None:
    """Bitget: the unified account (``GET /api/v3/account/assets`` or its stream), coins inside; totals are in USD."""
    row.skip("accountEquity usdtEquity btcEquity unrealisedPnl unrealisedPnL usdtUnrealisedPnl btcUnrealizedPnl")
    row.skip("totalEquity positionMgnRatio")
    parts.lists.add("balances")
    parts.profile("bitget-unified")
    for coin in (*row.rows("assets"), *row.rows("coin")):
        name, amount, debt = coin.need_text("coin"), coin.number("balance"), coin.number("debt", "debts", "borrow")
        if amount is not None:
            own = parts.own_funds(name, amount - (debt or Decimal(0)), coin.number("bonus"))
            parts.put("balances", name, "wallet_balance", value=own)
        parts.put("balances", name, "locked", value=coin.number("locked") or None)
        equity = coin.number("equity")
        parts.index_from(name, coin.number("usdValue"), equity, "usdValue / equity")
        parts.report(f"balances.{name}.equity", equity, "equity")
        coin.skip_all()
    if row.number("imr") == 0 and row.number("mmr") == 0:
        parts.lists.add("positions")  # there are none, says the answer itself
    parts.report("equity", row.number("effEquity"), "effEquity")
    parts.report("initial_margin", row.number("imr"), "imr")
    parts.report("maintenance_margin", row.number("mmr"), "mmr")
    parts.report("margin_ratio", row.number("mgnRatio") or None, "mgnRatio")


def coinex_position(row: Row, parts: Parts) -> None:
    """CoinEx: one row of the pending positions; ``margin_avbl`` is the pocket, settled at ``settle_price``."""
    row.skip(
        "position_id market_type unrealized_pnl realized_pnl max_position_value open_interest close_avbl "
        "ath_position_amount cml_position_value adl_level first_filled_price latest_filled_price created_at updated_at "
        "settle_value maintenance_margin_value take_profit_type stop_loss_type take_profit_price stop_loss_price "
        "ath_margin_size position_margin_rate"
    )
    own = start_position(row, parts, "coinex-futures", "glued", "open_interest", "market")
    if own is None:
        return
    row.skip("avg_entry_price")
    own.put("entry_price", row.number("settle_price") or row.number("avg_entry_price") or None)
    own.put("leverage", row.number("leverage") or None)
    parts.seen(row.number("updated_at"))
    own.one_rate(row.number("maintenance_margin_rate"))
    if row.text("margin_mode") == "isolated":
        own.isolated(row.number("margin_avbl"))
        own.report("bankruptcy_price", row.number("bkr_price"), "bkr_price")
    own.report_liquidation(row, "liq_price")


def coinex_balance(row: Row, parts: Parts) -> None:
    """CoinEx: one coin of the futures balance; the wallet is what is available, frozen and held by positions."""
    row.skip("transferrable", "equity")
    coin = row.need_text("ccy")
    parts.lists.add("balances")
    parts.profile("coinex-futures")
    held = row.need("available") + row.need("frozen") + row.need("margin")
    gain = row.number("unrealized_pnl")
    if held or gain:
        parts.whole_wallet(coin, held, unrealized_pnl=(f"pools.{coin}.unrealized_pnl", gain))


def blofin_position(row: Row, parts: Parts) -> None:
    """BloFin: one row of the positions, counted in contracts."""
    row.skip("instType positionId availablePositions unrealizedPnlRatio marginRatio adl createTime")
    own = start_position(row, parts, "blofin-usdm", "dashed", "positions", "instId", signed=True)
    if own is None:
        return
    own.put("entry_price", row.number("averagePrice") or None)
    own.put("leverage", row.number("leverage") or None)
    own.mark(row.number("markPrice"))
    parts.seen(row.number("updateTime"))
    if row.text("marginMode") == "isolated":
        own.isolated(row.number("margin"))
    row.skip("margin")
    own.report("unrealized_pnl", row.number("unrealizedPnl"), "unrealizedPnl")
    own.report("initial_margin", row.number("initialMargin"), "initialMargin")
    own.report("maintenance_margin_before_fee", row.number("maintenanceMargin"), "maintenanceMargin")
    own.report_liquidation(row, "liquidationPrice")


def blofin_account(row: Row, parts: Parts) -> None:
    """BloFin: the futures account; the coins inside.

    A balance counts isolated margins in: in the documented sample ``frozen`` less ``orderFrozen`` is the margin of the
    isolated positions (``isolatedEquity`` less their unrealized PnL).
    """
    row.skip("totalEquity", "isolatedEquity")
    parts.lists.add("balances")
    parts.profile("blofin-usdm")
    parts.seen(row.number("ts"))
    for coin in row.rows("details"):
        name = coin.need_text("currency")
        parts.whole_wallet(name, parts.own_funds(name, coin.number("balance"), coin.number("bonus")))
        coin.skip_all()


def cryptocom_balance(row: Row, parts: Parts) -> None:
    """Crypto.com: ``private/user-balance``; weights and values of the coins stand in the answer."""
    row.skip_all()
    parts.lists.add("balances")
    if row.number("total_position_cost") == 0:
        parts.lists.add("positions")  # there are none, says the answer itself
    parts.profile("cryptocom-exchange")
    for coin in row.rows("position_balances"):
        coin.skip_all()
        name, amount = coin.need_text("instrument_name"), coin.number("quantity")
        if not amount:
            continue
        parts.put("balances", name, "wallet_balance", value=amount)
        parts.put("balances", name, "locked", value=coin.number("reserved_qty") or None)
        parts.index_from(name, coin.number("market_value"), amount, "market value / quantity")
        weight = coin.number("collateral_weight")
        if weight is not None:
            parts.put("assets", name, "collateral_ratio", value=weight)
        parts.report(f"balances.{name}.collateral_value", coin.number("collateral_amount"), "collateral_amount")
    for name, field in {
        "collateral_value": "total_collateral_value",
        "equity": "total_margin_balance",
        "initial_margin": "total_initial_margin",
        "maintenance_margin": "total_maintenance_margin",
        "free_collateral": "total_available_balance",
        "unrealized_pnl": "total_session_unrealized_pnl",
    }.items():
        parts.report(name, row.number(field), field)


def cryptocom_stream_balance(row: Row, parts: Parts) -> None:
    """Crypto.com: one balance of the stream ``user.position_balance``, which has no weights and no values."""
    parts.lists.add("balances")
    parts.profile("cryptocom-exchange")
    amount = row.number("quantity")
    if amount:
        parts.put("balances", row.need_text("instrument_name"), "wallet_balance", value=amount)
    parts.seen(row.number("update_timestamp_ms"))
    row.skip("instrument_name")


def cryptocom_position(row: Row, parts: Parts) -> None:
    """Crypto.com: one row of ``private/get-positions``; cost / quantity is the entry."""
    row.skip("account_id", "session_pnl", "type", "update_timestamp_ms", "session_unrealized_pnl", "cost")
    own = start_position(row, parts, "cryptocom-exchange", "cryptocom", "quantity", "instrument_name", signed=True)
    if own is None:
        return
    if row.number("isolated_margin_balance"):
        why = "is the margin of an isolated position, whose rules are not known: the profile is of cross margin"
        parts.fault(f"{row.path}.isolated_margin_balance", row.raw["isolated_margin_balance"], why)
    row.skip("isolation_id", "isolation_type")
    parts.seen(row.number("update_timestamp_ms"))
    cost = row.number("open_pos_cost")
    if cost and own.quantity:
        own.put("entry_price", abs(cost) / abs(own.quantity))
    own.report("unrealized_pnl", row.number("open_position_pnl"), "open_position_pnl")


SHAPES = (
    shape("bitget-position", "marginCoin holdSide total marginMode", bitget_position),
    shape("bitget-position-v3", "marginCoin posSide total marginMode positionBalance", bitget_position),
    shape("bitget-unified-account", "effEquity mmr imr", bitget_unified_account),
    shape("bitget-account", "marginCoin accountEquity crossedMaxAvailable", bitget_account),
    shape("bitget-account-v1", "marginCoin equity crossMaxAvailable", bitget_account),
    shape("coinex-position", "market margin_mode open_interest settle_price", coinex_position),
    shape("coinex-balance", "ccy available frozen margin unrealized_pnl", coinex_balance),
    shape("blofin-position", "instId positions averagePrice", blofin_position),
    shape("blofin-account", "totalEquity isolatedEquity details", blofin_account),
    shape("cryptocom-balance", "total_margin_balance total_collateral_value position_balances", cryptocom_balance),
    shape("cryptocom-position", "instrument_name quantity open_position_pnl", cryptocom_position),
    shape(
        "cryptocom-stream-balance",
        "instrument_name quantity update_timestamp_ms",
        cryptocom_stream_balance,
        without="side price order_id",
    ),
)
