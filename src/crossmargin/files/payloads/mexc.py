"""MEXC: futures assets and positions.

Field meanings: the API pages (mexc.com/api-docs/futures). ``positionType`` 1 is long, 2 short; ``openType`` 1 is
isolated, 2 cross. ``im`` is what the venue holds in the position; the recorded one is
entry value x (1 / leverage + taker fee), so the fee to close lies inside it.
"""

from __future__ import annotations

from crossmargin.files.payloads.reading import Parts, Row, shape

_SKIP = (
    "positionId state frozenVol closeVol openAvgPrice openAvgPriceFullyScale holdAvgPriceFullyScale closeAvgPrice oim "
    "holdFee realised createTime autoAddIm version profitRatio newOpenAvgPrice newCloseAvgPrice closeProfitLoss fee "
    "positionShowStatus adlLevel marginRatio deductFeeList totalFee zeroSaveTotalFeeBinance zeroTradeTotalFeeBinance"
)


def position(row: Row, parts: Parts) -> None:
    """One row of the open positions."""
    row.skip(_SKIP)
    parts.lists.add("positions")
    parts.profile("mexc-usdm", "position")
    volume = row.number("holdVol")
    if volume == 0:
        row.skip_all()
        return
    symbol = row.symbol("underscored", "symbol")
    if symbol is None:
        return
    kind = row.text("positionType")
    if kind not in ("1", "2"):
        parts.fault(f"{row.path}.positionType", kind, "must be 1 (long) or 2 (short): the size has no sign")
    side = "short" if kind == "2" else "long"
    isolated = row.text("openType") == "1"
    quantity = None if volume is None else -volume if side == "short" else volume
    own = parts.position(symbol, quantity, side, tag="")
    own.put("entry_price", row.number("holdAvgPrice") or None)
    own.put("leverage", row.number("leverage") or None)
    parts.seen(row.number("updateTime"))
    held = row.number("im")
    if isolated:
        own.isolated(held)
    own.report("initial_margin", held, "im")
    own.report("unrealized_pnl", row.number("unRealizedPnl", "unrealized"), "unrealized")
    own.report_liquidation(row, "liquidatePrice")


def balance(row: Row, parts: Parts) -> None:
    """One currency of the futures assets: the wallet is ``cashBalance`` and what positions hold of it."""
    row.skip(
        "availableBalance", "frozenBalance", "availableCash", "availableOpen", "debtAmount", "contributeMarginAmount"
    )
    row.skip("vcoinId")
    currency = row.need_text("currency")
    cash, margin, equity = row.number("cashBalance"), row.number("positionMargin"), row.number("equity")
    parts.lists.add("balances")
    parts.profile("mexc-usdm")
    if not any((cash, margin, equity)):
        row.skip_all()
        return
    parts.whole_wallet(
        currency,
        None if cash is None else cash + (margin or 0),
        unrealized=(f"pools.{currency}.unrealized_pnl", row.number("unrealized")),
        equity=(f"balances.{currency}.equity", equity),
    )
    parts.put("balances", currency, "bonus_credit", value=row.number("bonus") or None)


SHAPES = (
    shape("mexc-position", "symbol positionType openType holdVol holdAvgPrice", position),
    shape("mexc-balance", "currency positionMargin cashBalance equity unrealized", balance),
)
