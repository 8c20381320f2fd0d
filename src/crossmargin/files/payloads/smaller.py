"""Bitget, KuCoin, CoinEx, HTX, BloFin, Crypto.com, Phemex: the account and position answers that have been seen.

Field meanings: each venue's API pages. A negative liquidation price (HTX) is "never".
"""

from __future__ import annotations

from decimal import Decimal

from crossmargin.files.payloads.reading import Parts, Position, Row, divided, plain_figure, shape
from crossmargin.files.payloads.symbols import asset_code


def _start(
    row: Row, parts: Parts, profile: str, style: str, size: str, *names: str, signed: bool = False
) -> Position | None:
    """The part that every venue's position has: a size, a symbol, and nothing where the size is 0.

    ``signed``: the size is below 0 for a short of one-way mode; elsewhere a side must be told.
    """
    parts.lists.add("positions")
    parts.profile(profile, "position")
    quantity = row.number(size)
    if quantity == 0:
        row.skip_all()
        return None
    symbol = row.symbol(style, *names)
    if symbol is None:
        return None
    side = (row.text(*_SIDES) or "net").lower()
    row.skip("side", "direction")
    short = side in ("short", "sell") if signed else row.sold(*_SIDES, "direction")
    mode = row.raw.get("posMode", row.raw.get("holdMode", "hedge_mode"))
    hedged = side in ("long", "short") and mode in ("hedge_mode", "double_hold")
    if quantity is not None and short:
        quantity = -abs(quantity)
    return parts.position(symbol, quantity, side if hedged else "net")


_SIDES = ("holdSide", "posSide", "position_side", "positionSide", "side")

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
    own = _start(row, parts, profile, "bitget", "total", "symbol", "instId")
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
    """Bitget: one coin of the futures account; equity less unrealized PnL is the wallet."""
    coin = row.need_text("marginCoin")
    equity, gain = row.number("accountEquity"), row.number("unrealizedPL") or Decimal(0)
    parts.lists.add("balances")
    parts.profile("bitget-usdm")
    if equity is not None:
        parts.put("balances", coin, "wallet_balance", value=equity - gain)
        parts.report(f"balances.{coin}.equity", equity, "accountEquity")
    parts.put("balances", coin, "bonus_credit", value=row.number("coupon") or None)
    parts.report(f"pools.{coin}.free_collateral", row.number("crossedMaxAvailable"), "crossedMaxAvailable")
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
            parts.put("balances", name, "wallet_balance", value=amount - (debt or Decimal(0)))
        parts.put("balances", name, "locked", value=coin.number("locked") or None)
        parts.put("balances", name, "bonus_credit", value=coin.number("bonus") or None)
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


def kucoin_position(row: Row, parts: Parts) -> None:
    """KuCoin: one row of ``positions``; ``posMargin`` is the pocket, ``maintMargin`` the pocket with unrealized PnL."""
    row.skip(
        "id autoDeposit riskLimit delevPercentage openingTimestamp currentCost currentComm unrealisedCost "
        "realisedGrossCost realisedCost isOpen posCost posCross posInit posComm posLoss posMaint "
        "realisedGrossPnl realisedPnl unrealisedPnlPcnt unrealisedRoePcnt settleCurrency isInverse realLeverage "
        "maintainMargin userId marginMode positionSide posFunding posCommCommon posCrossMargin "
        "riskLimitLevel"
    )
    own = _start(row, parts, "kucoin-futures", "kucoin", "currentQty", "symbol", signed=True)
    if own is None:
        return
    own.put("entry_price", _kucoin_entry(row) or None)
    own.put("leverage", row.number("leverage") or None)
    mark, value = row.number("markPrice"), row.number("markValue")
    own.mark(mark)
    own.size_from(value, mark)
    parts.seen(row.number("currentTimestamp"))
    own.one_rate(row.number("maintMarginReq"))
    isolated = row.flag("crossMode") is False
    if isolated:
        own.isolated(row.number("posMargin"))
        own.report_pocket("equity", row.number("maintMargin"), "maintMargin")
        own.report("bankruptcy_price", row.number("bankruptPrice"), "bankruptPrice")
    own.report("unrealized_pnl", row.number("unrealisedPnl"), "unrealisedPnl")
    own.report_liquidation(row, "liquidationPrice")


def _kucoin_entry(row: Row) -> Decimal | None:
    """The entry of a linear position from its cost where the printed price is that one rounded."""
    printed, cost = row.number("avgEntryPrice"), row.number("posCost")
    mark, value = row.number("markPrice"), row.number("markValue")
    if not (printed and cost and mark and value) or row.raw.get("isInverse") in (True, "true"):
        return printed
    exact = divided(abs(cost) * mark, abs(value))
    return exact if abs(exact - printed) <= Decimal(1).scaleb(int(printed.as_tuple().exponent)) else printed


def kucoin_account(row: Row, parts: Parts) -> None:
    """KuCoin: ``account-overview`` of one currency."""
    row.skip("orderMargin", "frozenFunds", "positionMargin", "riskRatio", "maxWithdrawAmount")
    currency = asset_code(row.need_text("currency"))
    parts.lists.add("balances")
    parts.profile("kucoin-futures")
    parts.put("balances", currency, "wallet_balance", value=row.number("marginBalance"))
    parts.report(f"balances.{currency}.equity", row.number("accountEquity"), "accountEquity")
    parts.report(f"pools.{currency}.unrealized_pnl", row.number("unrealisedPNL"), "unrealisedPNL")
    row.skip("availableBalance")


def coinex_position(row: Row, parts: Parts) -> None:
    """CoinEx: one row of the pending positions; ``margin_avbl`` is the pocket, settled at ``settle_price``."""
    row.skip(
        "position_id market_type unrealized_pnl realized_pnl max_position_value open_interest close_avbl "
        "ath_position_amount cml_position_value adl_level first_filled_price latest_filled_price created_at updated_at "
        "settle_value maintenance_margin_value take_profit_type stop_loss_type take_profit_price stop_loss_price "
        "ath_margin_size position_margin_rate"
    )
    own = _start(row, parts, "coinex-futures", "glued", "open_interest", "market")
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


def htx_position(row: Row, parts: Parts) -> None:
    """HTX: a linear position of the version before 5, isolated, with its own margin account inside."""
    row.skip(
        "symbol available frozen profit_rate profit margin_asset margin_account margin_position margin_frozen "
        "profit_real withdraw_available last_price position_margin margin_available cost_open direction"
    )
    own = _start(row, parts, "htx-usdm", "dashed", "volume", "contract_code")
    if own is None:
        return
    own.put("entry_price", row.number("cost_hold", "cost_open") or None)
    own.put("leverage", row.number("lever_rate") or None)
    pocket = row.number("margin_static")
    if row.text("margin_mode") == "isolated":
        own.isolated(pocket)
    factor = row.number("adjust_factor")
    if factor:
        parts.notes.append(f"adjustment factor of {own.symbol}: {plain_figure(factor)}, as the payload states it")
    own.report_pocket("equity", row.number("margin_balance"), "margin_balance")
    own.report_pocket("initial_margin", row.number("margin_position", "position_margin"), "margin_position")
    own.report_pocket("free_collateral", row.number("margin_available"), "margin_available")
    own.report_pocket("risk_rate", row.number("risk_rate"), "risk_rate")
    own.report("unrealized_pnl", row.number("profit_unreal"), "profit_unreal")
    own.report_liquidation(row, "liquidation_price")


def htx_position_v1(row: Row, parts: Parts) -> None:
    """HTX: a row of ``swap_cross_position_info`` or of ``swap_position_info``, without the account it stands in.

    Values are at the latest price (introduction to USDT-margined contracts), which so is the mark where none is given.
    """
    row.skip(
        "symbol available frozen profit_rate profit margin_asset margin_account cost_open direction contract_type pair "
        "business_type position_mode adl_risk_percent new_risk_rate trade_partition"
    )
    own = _start(row, parts, "htx-usdm", "dashed", "volume", "contract_code")
    if own is None:
        row.skip_all()
        return
    own.put("entry_price", row.number("cost_hold", "cost_open") or None)
    own.put("leverage", row.number("lever_rate") or None)
    last = row.number("last_price") or None
    words = f"mark_price of {own.symbol}: last_price, at which HTX values positions"
    parts.derive("market", "mark_price", own.symbol, value=last, words=words)
    if row.text("margin_mode") == "isolated":
        own.isolated(None)
    own.report("initial_margin", row.number("position_margin"), "position_margin")
    own.report("unrealized_pnl", row.number("profit_unreal"), "profit_unreal")


def htx_cross_account(row: Row, parts: Parts) -> None:
    """HTX: the cross account of version 1 (``swap_cross_account_info``, with positions or the stream's)."""
    row.skip(
        "margin_mode margin_account margin_frozen profit_real profit_unreal risk_rate new_risk_rate position_mode "
        "contract_detail futures_contract_detail money_in money_out cross_margin_static trade_partition "
        "margin_available cross_profit_unreal cross_risk_rate"
    )
    asset = row.need_text("margin_asset")
    parts.lists.add("balances")
    parts.profile("htx-usdm")
    parts.put("balances", asset, "wallet_balance", value=row.number("margin_static"))
    parts.report(f"pools.{asset}.equity", row.number("margin_balance"), "margin_balance")
    parts.report(f"pools.{asset}.withdrawable", row.number("withdraw_available"), "withdraw_available")
    if row.number("margin_position") == 0:
        parts.lists.add("positions")  # there are none, says the answer itself
    for position in row.rows("positions"):
        htx_position_v1(position, parts)


def htx_position_v5(row: Row, parts: Parts) -> None:
    """HTX: a linear position of version 5."""
    row.skip(
        "available adl_risk_percent profit_rate margin_rate last_price margin_currency contract_type "
        "created_time margin direction"
    )
    own = _start(row, parts, "htx-usdm", "dashed", "volume", "contract_code")
    if own is None:
        return
    own.put("entry_price", row.number("open_avg_price") or None)
    own.put("leverage", row.number("lever_rate") or None)
    own.mark(row.number("mark_price"))
    parts.seen(row.number("updated_time"))
    if row.text("margin_mode") == "isolated":
        own.isolated(row.number("margin"))
    own.report("initial_margin", row.number("initial_margin"), "initial_margin")
    own.report("maintenance_margin", row.number("maintenance_margin"), "maintenance_margin")
    own.report("unrealized_pnl", row.number("profit_unreal"), "profit_unreal")
    own.report_liquidation(row, "liquidation_price")


def blofin_position(row: Row, parts: Parts) -> None:
    """BloFin: one row of the positions, counted in contracts."""
    row.skip("instType positionId availablePositions unrealizedPnlRatio marginRatio adl createTime")
    own = _start(row, parts, "blofin-usdm", "dashed", "positions", "instId", signed=True)
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
    """BloFin: the futures account; the coins inside."""
    row.skip("totalEquity", "isolatedEquity")
    parts.lists.add("balances")
    parts.profile("blofin-usdm")
    parts.seen(row.number("ts"))
    for coin in row.rows("details"):
        name = coin.need_text("currency")
        parts.put("balances", name, "wallet_balance", value=coin.number("balance"))
        parts.put("balances", name, "bonus_credit", value=coin.number("bonus") or None)
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


def cryptocom_position(row: Row, parts: Parts) -> None:
    """Crypto.com: one row of ``private/get-positions``; cost / quantity is the entry."""
    row.skip("account_id", "session_pnl", "type", "update_timestamp_ms", "session_unrealized_pnl", "cost")
    own = _start(row, parts, "cryptocom-exchange", "cryptocom", "quantity", "instrument_name", signed=True)
    if own is None:
        return
    parts.seen(row.number("update_timestamp_ms"))
    cost = row.number("open_pos_cost")
    if cost and own.quantity:
        own.put("entry_price", abs(cost) / abs(own.quantity))
    own.report("unrealized_pnl", row.number("open_position_pnl"), "open_position_pnl")


def phemex_position(row: Row, parts: Parts) -> None:
    """Phemex: a USDT-M position of ``accountPositions``; a leverage of 0 or less is cross margin at its amount."""
    own = _start(row, parts, "phemex-usdm", "glued", "size", "symbol")
    if own is None:
        return
    leverage, gain = row.number("leverageRr"), row.number("unRealisedPnlRv")
    own.put("entry_price", row.number("avgEntryPriceRp") or None)
    own.put("leverage", abs(leverage) if leverage else None)
    own.mark(row.number("markPriceRp"))
    own.size_from(row.number("valueRv"), row.number("avgEntryPriceRp"))
    parts.seen(row.number("transactTimeNs"))
    own.one_rate(row.number("maintMarginReqRr"))
    if leverage is not None and leverage > 0 and row.flag("crossMargin") is not True:
        own.isolated(row.number("positionMarginRv"))
        own.report("bankruptcy_price", row.number("bankruptPriceRp"), "bankruptPriceRp")
    own.report("unrealized_pnl", gain, "unRealisedPnlRv")
    own.report_liquidation(row, "liquidationPriceRp")
    row.skip_all()


def phemex_account(row: Row, parts: Parts) -> None:
    """Phemex: the account beside its positions; the balance counts no unrealized PnL."""
    parts.lists.add("balances")
    parts.profile("phemex-usdm")
    currency = row.need_text("currency")
    parts.put("balances", currency, "wallet_balance", value=row.number("accountBalanceRv"))
    parts.put("balances", currency, "bonus_credit", value=row.number("bonusBalanceRv") or None)
    row.skip_all()


SHAPES = (
    shape("phemex-position", "symbol avgEntryPriceRp positionMarginRv leverageRr", phemex_position),
    shape("phemex-account", "accountId currency accountBalanceRv", phemex_account),
    shape("bitget-position", "marginCoin holdSide total marginMode", bitget_position),
    shape("bitget-position-v3", "marginCoin posSide total marginMode positionBalance", bitget_position),
    shape("bitget-unified-account", "effEquity mmr imr", bitget_unified_account),
    shape("bitget-account", "marginCoin accountEquity crossedMaxAvailable", bitget_account),
    shape("kucoin-position", "symbol currentQty avgEntryPrice posMargin maintMarginReq", kucoin_position),
    shape("kucoin-account", "accountEquity unrealisedPNL marginBalance positionMargin", kucoin_account),
    shape("coinex-position", "market margin_mode open_interest settle_price", coinex_position),
    shape("htx-position", "contract_code cost_hold adjust_factor margin_static", htx_position),
    shape("htx-position-v1", "contract_code cost_hold position_margin margin_mode", htx_position_v1, "margin_static"),
    shape("htx-cross-account", "margin_asset margin_balance margin_static risk_rate", htx_cross_account, "symbol"),
    shape("htx-position-v5", "contract_code open_avg_price maintenance_margin", htx_position_v5),
    shape("blofin-position", "instId positions averagePrice", blofin_position),
    shape("blofin-account", "totalEquity isolatedEquity details", blofin_account),
    shape("cryptocom-balance", "total_margin_balance total_collateral_value position_balances", cryptocom_balance),
    shape("cryptocom-position", "instrument_name quantity open_position_pnl", cryptocom_position),
)
