"""WhiteBIT: open positions, summary and balances of the collateral account.

Field meanings: the API pages (docs.whitebit.com, collateral trading). ``amount`` counts coins, below 0 for a short;
``margin`` of a position is what it holds; a liquidation price of 0 is "none".
"""

from __future__ import annotations

from crossmargin.files.payloads.reading import Parts, Row, shape

_SKIP = (
    "positionId openDate pnlPercent freeMargin funding unrealizedFunding realizedFunding liquidationState tpsl "
    "orderDetail bankruptcyPrice"
)


def position(row: Row, parts: Parts) -> None:
    """One row of ``collateral-account/positions/open``; it prints neither mark nor leverage."""
    row.skip(_SKIP)
    parts.lists.add("positions")
    parts.profile("whitebit-collateral", "position")
    amount = row.number("amount")
    if amount == 0:
        row.skip_all()
        return
    symbol = row.symbol("whitebit", "market")
    if symbol is None:
        return
    side = (row.text("positionSide") or "BOTH").lower()
    quantity = -abs(amount) if amount is not None and side == "short" else amount
    own = parts.position(symbol, quantity, "net" if side == "both" else side)
    entry, gain = row.number("basePrice") or None, row.number("pnl")
    own.put("entry_price", entry)
    own.mark_from_gain(entry, gain)
    parts.seen(row.number("modifyDate"))
    own.report("unrealized_pnl", gain, "pnl")
    own.report("initial_margin", row.number("margin"), "margin")
    own.report_liquidation(row, "liquidationPrice")


def summary(row: Row, parts: Parts) -> None:
    """``collateral-account/summary``: totals of the one pool."""
    row.skip("leverage", "unrealizedFunding", "marginFraction", "maintenanceMarginFraction")
    parts.profile("whitebit-collateral")
    for name, field in {
        "equity": "equity",
        "unrealized_pnl": "pnl",
        "initial_margin": "margin",
        "free_collateral": "freeMargin",
    }.items():
        parts.report(name, row.number(field), field)


def balance(row: Row, parts: Parts) -> None:
    """One asset of ``collateral-account/balance-summary``; what is borrowed is owed."""
    row.skip("availableWithoutBorrow", "availableWithBorrow")
    parts.lists.add("balances")
    parts.profile("whitebit-collateral")
    amount, owed = row.need("balance"), row.need("borrow")
    if amount or owed:
        parts.put("balances", row.need_text("asset"), "wallet_balance", value=amount - owed)
    row.skip("asset")


SHAPES = (
    shape("whitebit-position", "positionId market amount basePrice liquidationPrice", position),
    shape("whitebit-summary", "equity margin freeMargin unrealizedFunding", summary),
    shape("whitebit-balance", "asset balance borrow availableWithoutBorrow", balance),
)
