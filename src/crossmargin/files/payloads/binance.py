"""Binance: USDⓈ-M account v2 and v3, position risk, COIN-M account, Portfolio Margin account and balances, asset index.

Field meanings: the venue's API pages (developers.binance.com, derivatives). ``walletBalance`` counts isolated wallets
in, ``crossWalletBalance`` does not; ``isolatedMargin`` is the isolated wallet plus unrealized PnL.
"""

from __future__ import annotations

from decimal import Decimal

from crossmargin.files.payloads.reading import Parts, Position, Row, divided, shape
from crossmargin.files.payloads.symbols import unified

_SKIP = (
    "adl adlQuantile feeTier feeBurn canTrade canDeposit canWithdraw tradeGroupId maxNotional maxNotionalValue maxQty "
    "breakEvenPrice bidNotional askNotional marginAvailable maxWithdrawAmount isAutoAddMargin crossMargin marginAsset "
    "openOrderInitialMargin totalOpenOrderInitialMargin totalPositionInitialMargin totalCrossWalletBalance "
    "totalCrossUnPnl crossUnPnl positionInitialMargin initialMargin accountAlias"
)


def usdm_account(row: Row, parts: Parts) -> None:
    """``GET /fapi/v2/account`` and ``v3``: assets and positions, with totals that count in Multi-Assets mode."""
    row.skip(_SKIP)
    parts.lists |= {"balances", "positions"}
    assets, stated = list(row.rows("assets")), row.flag("multiAssetsMargin")
    shared = any(not asset.number("walletBalance") and asset.number("availableBalance") for asset in assets)
    multi = stated if stated is not None else shared
    parts.profile("binance-usdm-multi-assets" if multi else "binance-usdm", "account" if stated is None else "mode")
    if stated is None:
        words = "an asset without a balance has some available" if multi else "no asset draws on another"
        parts.notes.append(f"{'Multi-Assets' if multi else 'single-asset'} mode is read off the balances: {words}")
    pockets = _positions(row, parts)
    for asset in assets:
        _asset(asset, parts, multi, pockets)
    if multi:
        for name, field in _TOTALS.items():
            parts.report(name, row.number(field), field)
    else:
        row.skip(*_TOTALS.values())


_TOTALS = {
    "collateral_value": "totalWalletBalance",
    "unrealized_pnl": "totalUnrealizedProfit",
    "equity": "totalMarginBalance",
    "initial_margin": "totalInitialMargin",
    "maintenance_margin": "totalMaintMargin",
    "free_collateral": "availableBalance",
}


def coinm_account(row: Row, parts: Parts) -> None:
    """``GET /dapi/v1/account``: one wallet a coin, positions counted in contracts.

    ``GET /papi/v1/um/account`` and ``cm`` have the same keys, but no ``walletBalance``: their wallets are parts of one
    account, whose balances ``GET /papi/v1/balance`` lists.
    """
    row.skip(_SKIP)
    if isinstance(row.raw["assets"], list) and not any("walletBalance" in asset for asset in row.raw["assets"]):
        row.skip("assets", "updateTime")
        parts.lists.add("positions")
        parts.profile("binance-portfolio-margin")
        parts.notes.append(
            "wallets of one side of Portfolio Margin are parts of its balances; /papi/v1/balance has them"
        )
        _positions(row, parts)
        return
    parts.lists |= {"balances", "positions"}
    parts.profile("binance-coinm")
    pockets = _positions(row, parts)
    for asset in row.rows("assets"):
        _asset(asset, parts, multi=False, pockets=pockets)


def _asset(row: Row, parts: Parts, multi: bool, pockets: set[str]) -> None:
    row.skip(_SKIP)
    parts.seen(row.number("updateTime"))
    name = row.need_text("asset")
    wallet = row.number("crossWalletBalance")
    whole = row.number("walletBalance")
    amount = whole if wallet is None else wallet
    equity, maintenance = row.number("marginBalance"), row.number("maintMargin")
    initial, free, gain = row.number("initialMargin"), row.number("availableBalance"), row.number("unrealizedProfit")
    if not any((amount, equity, initial)):
        return
    parts.put("balances", name, "wallet_balance", value=amount)
    if name in pockets:
        parts.notes.append(f"{name}: the venue's figures of this asset count isolated positions in; not compared")
        return
    parts.report(f"balances.{name}.equity", equity, "marginBalance")
    if not multi:
        pool = f"pools.{name}"
        parts.report(f"{pool}.unrealized_pnl", gain, "unrealizedProfit")
        parts.report(f"{pool}.initial_margin", initial, "initialMargin")
        parts.report(f"{pool}.maintenance_margin", maintenance, "maintMargin")
        parts.report(f"{pool}.free_collateral", free, "availableBalance")


def _positions(row: Row, parts: Parts) -> set[str]:
    """Read every position; the settle assets of those that are isolated."""
    found = (position(item, parts) for item in row.rows("positions"))
    return {item.symbol.partition(":")[2].partition("-")[0] for item in found if item is not None}


def _mark_of_empty(row: Row, parts: Parts) -> None:
    """A symbol without a position may have open orders: its mark is what they are judged at."""
    mark = row.number("markPrice")
    if not mark:
        return
    try:
        parts.put("market", "mark_price", unified("binance", str(row.raw.get("symbol"))), value=mark)
    except ValueError:
        return  # a contract under a name of its own that the account does not hold


def position(row: Row, parts: Parts) -> Position | None:
    """One position of an account answer or of ``positionRisk`` (v2, v3, COIN-M, Portfolio Margin).

    Gives back the position where it is isolated.
    """
    row.skip(_SKIP)
    quantity = row.number("positionAmt")
    if quantity == 0 or (quantity is None and not row.number("notional", "notionalValue")):
        _mark_of_empty(row, parts)
        row.skip_all()
        return None
    symbol = row.symbol("binance", "symbol")
    if symbol is None:
        return None
    parts.profile("binance-coinm" if _inverse(symbol) else "binance-usdm", "position")
    side = {"LONG": "long", "SHORT": "short"}.get(row.text("positionSide") or "BOTH", "net")
    own = parts.position(symbol, quantity, side)
    entry, mark = row.number("entryPrice"), row.number("markPrice")
    notional, gain = row.number("notional", "notionalValue"), row.number("unrealizedProfit", "unRealizedProfit")
    initial = row.number("positionInitialMargin", "initialMargin")
    own.put("entry_price", entry or None)
    own.mark(mark)
    own.put("leverage", row.number("leverage") or None)
    _derive(own, quantity, entry, notional, gain, initial, mark)
    parts.seen(row.number("updateTime"))
    own.report("notional", None if notional is None else abs(notional), "notional")
    own.report("unrealized_pnl", gain, "unrealizedProfit")
    own.report("initial_margin", initial, "initialMargin")
    own.report("maintenance_margin", row.number("maintMargin"), "maintMargin")
    own.rate_from(row.number("maintMargin"), notional)
    own.report_liquidation(row, "liquidationPrice")
    wallet, margin = row.number("isolatedWallet"), row.number("isolatedMargin")
    mode = row.text("marginType")
    row.skip("isolated")
    isolated = mode == "isolated" if mode else row.flag("isolated") or bool(wallet or margin)
    if not isolated:
        return None
    own.isolated(wallet if wallet is not None else margin - gain if margin is not None and gain is not None else None)
    own.report_pocket("equity", margin, "isolatedMargin")
    return own


def _derive(
    own: Position,
    quantity: Decimal | None,
    entry: Decimal | None,
    notional: Decimal | None,
    gain: Decimal | None,
    initial: Decimal | None,
    mark: Decimal | None,
) -> None:
    """The mark, entry and leverage that the account answer v3 leaves out, from value, PnL and initial margin."""
    if not _inverse(own.symbol) and quantity:
        own.mark_from(notional, quantity, "value / size")
        if notional and gain is not None and not entry:
            price = divided(abs(notional) - gain * (1 if quantity > 0 else -1), abs(quantity))
            own.derive("entry_price", price, "(value - unrealized PnL) / size")
    own.mark_from_gain(entry, gain)
    if _inverse(own.symbol) and notional and mark and quantity:
        dollars = divided(abs(notional) * mark, abs(quantity)).quantize(Decimal(1))
        own.derive_instrument("contract_size", dollars, "value x mark / contracts")
    if notional and initial:
        leverage = (abs(notional) / initial).quantize(Decimal(1))
        if leverage >= 1 and abs(abs(notional) / leverage - initial) <= Decimal("0.00000002"):
            own.derive("leverage", leverage, "value / initial margin")


def _inverse(symbol: str) -> bool:
    return "/USD:" in symbol


def portfolio_account(row: Row, parts: Parts) -> None:
    """``GET /papi/v1/account`` and the Portfolio Margin Pro account: totals in USD after the haircut."""
    row.skip("actualEquity", "accountStatus", "accountType", "virtualMaxWithdrawAmount", "totalMarginOpenLoss")
    row.skip("riskUnitMMList", "marginMM", "otherMM")
    parts.profile("binance-portfolio-margin")
    parts.seen(row.number("updateTime"))
    for name, field in {
        "equity": "accountEquity",
        "initial_margin": "accountInitialMargin",
        "maintenance_margin": "accountMaintMargin",
        "free_collateral": "totalAvailableBalance",
        "maintenance_coverage": "uniMMR",
    }.items():
        parts.report(name, row.number(field), field)


def portfolio_balance(row: Row, parts: Parts) -> None:
    """One row of ``GET /papi/v1/balance``: cross margin less what is borrowed, and both futures wallets."""
    parts.seen(row.number("updateTime"))
    row.skip("totalWalletBalance", "crossMarginFree", "umUnrealizedPNL", "cmUnrealizedPNL")
    row.skip("negativeBalance", "optionWalletBalance", "optionEquity")
    name = row.need_text("asset")
    parts.lists.add("balances")
    parts.profile("binance-portfolio-margin")
    held, owed = row.need("crossMarginAsset"), row.need("crossMarginBorrowed")
    futures = row.need("umWalletBalance") + row.need("cmWalletBalance")
    interest, locked = row.number("crossMarginInterest"), row.number("crossMarginLocked")
    if held or owed or futures:
        parts.put("balances", name, "wallet_balance", value=held - owed + futures)
        parts.put("balances", name, "accrued_interest", value=interest or None)
        parts.put("balances", name, "locked", value=locked or None)


def balance(row: Row, parts: Parts) -> None:
    """One asset of ``GET /fapi/v2/balance`` (``v3``, ``dapi``): the wallet with and without isolated positions."""
    row.skip("balance", "maxWithdrawAmount", "withdrawAvailable", "marginAvailable", "updateTime")
    name = row.need_text("asset")
    wallet = row.number("crossWalletBalance")
    parts.lists.add("balances")
    parts.seen(row.number("updateTime"))
    if wallet:
        parts.put("balances", name, "wallet_balance", value=wallet)
        parts.report(f"pools.{name}.unrealized_pnl", row.number("crossUnPnl"), "crossUnPnl")
        parts.report(f"pools.{name}.free_collateral", row.number("availableBalance"), "availableBalance")
    row.skip_all()


def options_account(row: Row, parts: Parts) -> None:
    """One asset of ``GET /eapi/v1/marginAccount``: totals only, no rules of options are known."""
    row.skip("marginBalance", "adjustedEquity", "delta", "gamma", "theta", "vega", "asset", "locked")
    for name, field in {
        "equity": "equity",
        "initial_margin": "initialMargin",
        "maintenance_margin": "maintMargin",
        "unrealized_pnl": "unrealizedPNL",
        "free_collateral": "available",
    }.items():
        parts.report(name, row.number(field), field)


def asset_index(row: Row, parts: Parts) -> None:
    """One row of ``GET /fapi/v1/assetIndex``: a coin's index in USD and its two buffers in Multi-Assets mode."""
    row.skip("autoExchangeBidBuffer", "autoExchangeAskBuffer", "autoExchangeBidRate", "autoExchangeAskRate")
    asset = row.need_text("symbol").removesuffix("USD")
    parts.profile("binance-usdm-multi-assets", "position")
    parts.seen(row.number("time"))
    parts.put("market", "index_price", asset, value=row.need("index"))
    parts.put("assets", asset, "bid_buffer", value=row.need("bidBuffer"))
    parts.put("assets", asset, "ask_buffer", value=row.need("askBuffer"))
    parts.report(f"rates.{asset}.bid_rate", row.number("bidRate"), "bidRate")
    parts.report(f"rates.{asset}.ask_rate", row.number("askRate"), "askRate")


def premium_index(row: Row, parts: Parts) -> None:
    """One row of ``GET /fapi/v1/premiumIndex``: the mark price and the funding rate of a contract."""
    row.skip("estimatedSettlePrice", "nextFundingTime", "interestRate", "pair", "indexPrice")
    symbol = row.symbol("binance", "symbol")
    if symbol is not None:
        parts.put("market", "mark_price", symbol, value=row.need("markPrice"))
        parts.put("market", "funding_rate", symbol, value=row.number("lastFundingRate"))
        parts.seen(row.number("time"))


def ticker_price(row: Row, parts: Parts) -> None:
    """One row of ``GET /fapi/v1/ticker/price`` or ``ticker/24hr``: the last price, which a resting sell is taken at."""
    row.skip_all()
    name = row.need_text("symbol")
    try:
        symbol = unified("binance", name)
    except ValueError:
        return  # the venue lists every contract it has, and some under names of their own
    parts.put("market", "last_price", symbol, value=row.number("price", "lastPrice") or None)


def _position(row: Row, parts: Parts) -> None:
    parts.lists.add("positions")
    position(row, parts)


SHAPES = (
    shape("binance-usdm-account", "assets positions totalMaintMargin", usdm_account),
    shape("binance-coinm-account", "assets positions", coinm_account, without="totalMaintMargin"),
    shape("binance-portfolio-account", "uniMMR accountEquity accountMaintMargin", portfolio_account),
    shape("binance-portfolio-balance", "asset crossMarginAsset umWalletBalance", portfolio_balance),
    shape("binance-balance", "accountAlias asset crossWalletBalance availableBalance", balance),
    shape("binance-options-account", "asset marginBalance available maintMargin adjustedEquity", options_account),
    shape("binance-asset-index", "symbol index bidBuffer askBuffer", asset_index),
    shape("binance-premium-index", "symbol markPrice lastFundingRate", premium_index),
    shape("binance-ticker", "symbol price time", ticker_price, without="side orderId"),
    shape("binance-ticker-day", "symbol lastPrice openPrice priceChange", ticker_price),
    shape("binance-position-risk", "symbol positionAmt unRealizedProfit", _position),
    shape("binance-account-position", "symbol unrealizedProfit maintMargin", _position),
)
