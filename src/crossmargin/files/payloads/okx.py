"""OKX: account balance (futures, multi-currency, portfolio mode), positions, account configuration.

Field meanings: the API pages (okx.com/docs-v5). ``eq`` is equity in the coin, ``disEq`` its value in USD after the
discount, ``adjEq`` the adjusted equity, ``mgnRatio`` equity over the requirement (liquidated as it falls to 1).
"""

from __future__ import annotations

from decimal import Decimal

from crossmargin.files.payloads.okx_margin import margin_position
from crossmargin.files.payloads.reading import Parts, Position, Row, divided, plain_figure, shape

_SKIP = (
    "adl availPos bePx cTime deltaBS deltaPA gammaBS gammaPA vegaBS vegaPA thetaBS thetaPA optVal posId tradeId "
    "uplRatio uplLastPx uplRatioLastPx instType last ccy fee fundingFee realizedPnl pnl liqPenalty interest posCcy "
    "liab liabCcy quoteBal baseBal quoteBorrowed baseBorrowed quoteInterest baseInterest spotInUseAmt spotInUseCcy "
    "clSpotInUseAmt maxSpotInUseAmt bizRefId bizRefType closeOrderAlgo nonSettleAvgPx settledPnl usdPx idxPx "
    "pendingCloseOrdLiabVal mgnRatio pTime"
)


def account(row: Row, parts: Parts) -> None:
    """``GET /api/v5/account/balance``: totals, and one table a coin."""
    row.skip("isoEq ordFroz borrowFroz notionalUsd notionalUsdForBorrow totalEq availEq delta deltaLever")
    row.skip("deltaNeutralStatus")
    parts.seen(row.number("uTime"))
    parts.lists.add("balances")
    held = [row.number(f"notionalUsdFor{kind}") for kind in ("Futures", "Swap", "Option")]
    if all(value == 0 for value in held):
        parts.lists.add("positions")  # there are none, says the answer itself
    adjusted, ratio = row.number("adjEq"), row.number("mgnRatio")
    multi = adjusted is not None
    parts.profile("okx-multi-currency" if multi else "okx-futures")
    for coin in row.rows("details"):
        _coin(coin, parts, multi)
    parts.report("equity", adjusted, "adjEq")
    parts.report("unrealized_pnl", row.number("upl") if multi else None, "upl")
    parts.report("initial_margin", row.number("imr"), "imr")
    parts.report("maintenance_margin", row.number("mmr"), "mmr")
    parts.report("maintenance_coverage", ratio, "mgnRatio")


def _coin(row: Row, parts: Parts, multi: bool) -> None:
    row.skip(
        "availBal availEq borrowFroz clSpotInUseAmt crossLiab colBorrAutoConversion colRes collateralRestrict "
        "eqUsd fixedBal imr isoEq isoLiab isoUpl maxLoan maxSpotInUse mgnRatio mmr notionalLever ordFrozen smtSyncEq "
        "spotBal spotCopyTradingEq spotInUseAmt spotIsoBal spotUpl spotUplRatio openAvgPx accAvgPx stgyEq totalPnl "
        "totalPnlRatio twap uTime upl uplLiab autoLendStatus autoLendMtAmt autoLendAmt autoStakingStatus rewardBal "
        "frozenBal frpType"
    )
    name = row.need_text("ccy")
    cash, equity, worth = row.number("cashBal"), row.number("eq"), row.number("eqUsd")
    if not cash and not equity:
        row.skip_all()
        return
    at = ("balances", name)
    parts.put(*at, "wallet_balance", value=parts.own_funds(name, cash, row.number("rewardBal")))
    parts.put(*at, "accrued_interest", value=row.number("interest") or None)
    parts.put(
        *at, "locked", value=max(Decimal(0), min(row.number("frozenBal") or Decimal(0), cash or Decimal(0))) or None
    )
    if row.flag("collateralEnabled") is False:
        parts.put(*at, "use_as_collateral", value=False)
    row.skip("liab")
    parts.index_from(name, worth, equity, "eqUsd / eq")
    if multi:
        counted = row.number("disEq")
        parts.report(f"balances.{name}.collateral_value", counted, "disEq")
        if counted and worth:
            rate = divided(counted, worth).quantize(Decimal("0.0001"))
            parts.derive(
                "assets",
                name,
                "collateral_ratio",
                value=plain_figure(rate),
                words=f"collateral_ratio of {name}: disEq / eqUsd, where the profile has no tiers for it",
            )
    else:
        parts.report(f"pools.{name}.equity", equity, "eq")


def position(row: Row, parts: Parts) -> None:
    """One row of ``GET /api/v5/account/positions``: swaps and futures, counted in contracts."""
    row.skip(_SKIP)
    parts.lists.add("positions")
    if row.raw.get("instType") == "MARGIN" or row.raw.get("liabCcy"):
        margin_position(row, parts)
        return
    amount = row.number("pos")
    if amount == 0:
        row.skip_all()
        return
    symbol = row.symbol("okx", "instId")
    if symbol is None:
        return
    side = row.text("posSide") or "net"
    quantity = None if amount is None else -abs(amount) if side == "short" else amount
    own = parts.position(symbol, quantity, side)
    own.put("entry_price", row.number("avgPx") or None)
    own.put("leverage", row.number("lever") or None)
    own.mark(row.number("markPx"))
    parts.put("market", "last_price", symbol, value=row.number("last") or None)
    parts.seen(row.number("uTime"))
    gain, margin = row.number("upl"), row.number("margin")
    own.report("unrealized_pnl", gain, "upl")
    own.report("initial_margin", row.number("imr"), "imr")
    own.report("maintenance_margin_before_fee", row.number("mmr"), "mmr")
    own.report_liquidation(row, "liqPx")
    parts.profile("okx-futures", "position")
    _value(own, row, gain)
    if row.text("mgnMode") == "isolated":
        own.isolated(margin)


def _value(own: Position, row: Row, gain: Decimal | None) -> None:
    """Mark and maintenance rate of a contract that the profile does not list.

    The position's value in its quote, which the answer does not print, is PnL x mark / (mark - entry).
    """
    entry, mark, usd = row.number("avgPx"), row.number("markPx"), row.number("notionalUsd")
    if "/USD:" in own.symbol or not (gain and entry and mark and usd and own.quantity and mark != entry):
        return
    coins = divided(gain, (mark - entry) * (1 if own.quantity > 0 else -1))
    size = divided(coins, abs(own.quantity))
    rounded = size.quantize(Decimal(1).scaleb(size.adjusted() - 1))
    if abs(rounded * abs(own.quantity) * mark - usd) > usd * Decimal("0.01"):
        return
    own.derive_instrument("contract_size", rounded.normalize(), "unrealized PnL / (contracts x (mark - entry))")
    value = rounded * own.quantity * mark
    own.rate_from(row.number("mmr"), value, figure="maintenance_margin_before_fee")


def configuration(row: Row, parts: Parts) -> None:
    """``GET /api/v5/account/config``: the account mode."""
    row.skip_all()
    profile = {"2": "okx-futures", "3": "okx-multi-currency", "4": "okx-portfolio"}.get(row.text("acctLv") or "")
    if profile is not None:
        parts.profile(profile, "mode")
    if profile is None:
        parts.fault(f"{row.path}.acctLv", row.raw.get("acctLv"), "must be 2, 3 or 4: spot mode has no futures")


def mark_price(row: Row, parts: Parts) -> None:
    """One row of ``GET /api/v5/public/mark-price``."""
    row.skip("instType")
    parts.seen(row.number("ts"))
    symbol = row.symbol("okx", "instId")
    if symbol is not None:
        parts.put("market", "mark_price", symbol, value=row.need("markPx"))


SHAPES = (
    shape("okx-account", "totalEq details", account),
    shape("okx-position", "instId pos mgnMode", position),
    shape("okx-configuration", "acctLv posMode", configuration),
    shape("okx-mark-price", "instId markPx ts", mark_price, without="pos avgPx"),
)
