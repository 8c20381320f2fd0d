"""Bybit: wallet balance of a unified account and positions (linear, inverse), version 5.

Field meanings: the API pages (bybit-exchange.github.io, v5). A position's ``liqPrice`` is blank where it lies outside
the prices that the venue admits.
"""

from __future__ import annotations

from crossmargin.files.payloads.reading import Parts, Row, shape

_SKIP = (
    "riskId riskLimitValue trailingStop takeProfit stopLoss cumRealisedPnl createdTime positionStatus adlRankIndicator "
    "autoAddMargin seq tpslMode isReduceOnly leverageSysUpdatedTime mmrSysUpdatedTime sessionAvgPrice curRealisedPnl "
    "bustPrice autoAddMargin positionValue occClosingFee occFundingFee positionIMByMp positionMMByMp retCode category "
    "nextPageCursor breakEvenPrice delta gamma vega theta orderMargin tpSlMode activePrice"
)


def wallet(row: Row, parts: Parts) -> None:
    """One account of ``GET /v5/account/wallet-balance``, coins inside, or the wallet stream.

    A classic account (CONTRACT) has figures of single coins only.
    """
    row.skip("accountLTV", "totalEquity", "creationTime", "accountIMRateByMp", "accountMMRateByMp")
    row.skip("totalInitialMarginByMp", "totalMaintenanceMarginByMp", "spotHedgingStatus", "haircutLoss")
    classic = row.text("accountType") == "CONTRACT"
    parts.profile("bybit-classic" if classic else "bybit-uta")
    parts.seen(row.number("time", "creationTime"))
    coins = list(row.rows("coin"))
    if coins:
        parts.lists.add("balances")
    for coin in coins:
        _coin(coin, parts)
    if classic:  # its totals of the account are blank
        row.skip_all()
        return
    for name, field in {
        "collateral_value": "totalWalletBalance",
        "unrealized_pnl": "totalPerpUPL",
        "equity": "totalMarginBalance",
        "initial_margin": "totalInitialMargin",
        "maintenance_margin": "totalMaintenanceMargin",
        "free_collateral": "totalAvailableBalance",
        "initial_margin_ratio": "accountIMRate",
        "margin_ratio": "accountMMRate",
    }.items():
        parts.report(name, row.number(field), field)


def _coin(row: Row, parts: Parts) -> None:
    row.skip("borrowAmount", "availableToWithdraw", "availableToBorrow", "totalPositionIM", "totalPositionMM")
    row.skip(
        "totalOrderIM", "cumRealisedPnl", "collateralSwitch", "spotHedgingQty", "free", "spotBorrow", "unrealisedPnl"
    )
    row.skip("colRes")
    name = row.need_text("coin")
    amount, value, equity = row.number("walletBalance"), row.number("usdValue"), row.number("equity")
    if not amount and not equity:
        return
    at = ("balances", name)
    own = parts.own_funds(name, amount, row.number("bonus"))
    parts.whole_wallet(name, own, equity=(f"balances.{name}.equity", equity))
    parts.put(*at, "accrued_interest", value=row.number("accruedInterest") or None)
    parts.put(*at, "locked", value=row.number("locked") or None)
    counts = [flag for flag in (row.flag("marginCollateral"), row.flag("collateralSwitch")) if flag is not None]
    if counts and not all(counts):
        parts.put(*at, "use_as_collateral", value=False)
    parts.index_from(name, value, equity, "usdValue / equity")


def position(row: Row, parts: Parts) -> None:
    """One row of ``GET /v5/position/list``; ``positionIdx`` 1 and 2 are the sides of hedge mode."""
    row.skip(_SKIP)
    parts.lists.add("positions")
    parts.profile("bybit-uta", "position")
    size = row.number("size")
    if size == 0:
        row.skip_all()
        return
    symbol = row.symbol("bybit", "symbol")
    if symbol is None:
        return
    side = {"1": "long", "2": "short"}.get(row.text("positionIdx") or "0", "net")
    sold = row.sold("side") if side == "net" else side == "short"
    told = row.text("side")
    if side != "net" and told in ("Buy", "Sell") and (told == "Sell") != sold:
        parts.fault(f"{row.path}.side", told, f"contradicts positionIdx, which says {side}")
    own = parts.position(symbol, None if size is None else -size if sold else size, side)
    own.put("entry_price", row.number("avgPrice", "entryPrice") or None)
    own.put("leverage", row.number("leverage") or None)
    own.mark(row.number("markPrice"))
    parts.seen(row.number("updatedTime", "time"))
    held = row.number("positionBalance")
    if row.text("tradeMode") == "1":
        own.isolated(held)
    elif held:
        parts.margins[own.key] = held
    own.report("unrealized_pnl", row.number("unrealisedPnl"), "unrealisedPnl")
    own.report("initial_margin", row.number("positionIM"), "positionIM")
    own.report("maintenance_margin", row.number("positionMM"), "positionMM")
    if row.text("tradeMode") == "1":
        own.report("bankruptcy_price", row.number("bustPrice"), "bustPrice")
    own.report_liquidation(row, "liqPrice")


_MODES = {
    "REGULAR_MARGIN": "bybit-uta",
    "ISOLATED_MARGIN": "bybit-uta",
    "PORTFOLIO_MARGIN": "bybit-uta-portfolio",
}


def account_info(row: Row, parts: Parts) -> None:
    """``GET /v5/account/info``: the margin mode, which is the account's; positions print none (``tradeMode`` is 0)."""
    row.skip_all()
    mode = row.text("marginMode") or ""
    if mode not in _MODES:
        parts.fault(f"{row.path}.marginMode", mode, f"must be one of {', '.join(_MODES)}")
        return
    parts.profile(_MODES[mode], "mode")
    parts.all_isolated = mode == "ISOLATED_MARGIN"


def collateral_info(row: Row, parts: Parts) -> None:
    """One coin of ``GET /v5/account/collateral-info``: whether it counts as collateral for this account."""
    row.skip_all()
    name = row.need_text("currency")
    on = row.flag("marginCollateral") and row.flag("collateralSwitch")
    if on is False:
        parts.put("balances", name, "use_as_collateral", value=False)


def ticker(row: Row, parts: Parts) -> None:
    """One row of ``GET /v5/market/tickers``: mark price and funding rate of a contract."""
    row.skip_all()
    symbol = row.symbol("bybit", "symbol")
    if symbol is not None:
        parts.put("market", "mark_price", symbol, value=row.need("markPrice"))
        parts.put("market", "last_price", symbol, value=row.number("lastPrice") or None)
        parts.put("market", "funding_rate", symbol, value=row.number("fundingRate"))


SHAPES = (
    shape("bybit-wallet", "totalMarginBalance totalMaintenanceMargin accountMMRate", wallet),
    shape("bybit-position", "symbol avgPrice positionIM positionMM", position),
    shape("bybit-position-no-average", "symbol entryPrice positionIdx positionIM positionMM", position),
    shape("bybit-position-older", "symbol size entryPrice tradeMode positionBalance", position),
    shape("bybit-account-info", "marginMode unifiedMarginStatus", account_info),
    shape("bybit-collateral-info", "currency marginCollateral collateralSwitch", collateral_info),
    shape("bybit-ticker", "symbol markPrice indexPrice fundingRate openInterestValue", ticker),
)
