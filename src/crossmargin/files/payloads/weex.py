"""WEEX: contract balances and positions.

Field meanings: the API pages (weex.com/api-doc/contract). The entry is ``openValue`` / ``size``; ``marginSize`` is
value / leverage; a liquidation price of 0 is "none".
"""

from __future__ import annotations

from crossmargin.files.payloads.reading import Parts, Row, divided, shape

_SKIP = (
    "id separatedMode separatedOpenOrderId fundingFee isAutoAppendIsolatedMargin autoAppendIsolatedMargin cumOpenSize "
    "cumOpenValue cumOpenFee cumCloseSize cumCloseValue cumCloseFee cumFundingFee cumLiquidateFee createdTime "
    "createdMatchSequenceId updatedMatchSequenceId openFee asset coin"
)


def position(row: Row, parts: Parts) -> None:
    """One row of the positions."""
    row.skip(_SKIP)
    parts.lists.add("positions")
    parts.profile("weex-usdm", "position")
    size = row.number("size")
    if size == 0:
        row.skip_all()
        return
    symbol = row.symbol("glued", "symbol")
    if symbol is None:
        return
    side = "short" if row.sold("side") else "long"
    combined = row.raw.get("separatedMode") in (None, "COMBINED")
    quantity = None if size is None else -size if side == "short" else size
    own = parts.position(symbol, quantity, side, tag="" if combined else f" {row.raw.get('id')}")
    value, gain = row.number("openValue"), row.number("unrealizePnl")
    own.put("entry_price", divided(value, size) if value and size else None)
    own.put("leverage", row.number("leverage") or None)
    parts.seen(row.number("updatedTime"))
    if value and size and gain is not None:
        sign = 1 if side == "long" else -1
        own.mark_from(value + gain * sign, quantity, "(open value + unrealized PnL) / size")
    own.report("unrealized_pnl", gain, "unrealizePnl")
    own.report("initial_margin", row.number("marginSize"), "marginSize")
    own.report_liquidation(row, "liquidatePrice")
    pocket = row.number("isolatedMargin")
    if (row.text("marginType", "marginMode") or "CROSSED").upper() == "ISOLATED":
        own.isolated(pocket)


def balance(row: Row, parts: Parts) -> None:
    """One asset of the contract balance; isolated margins are taken to be in it, for the opposite would count twice."""
    parts.lists.add("balances")
    parts.profile("weex-usdm")
    asset = row.need_text("asset")
    parts.whole_wallet(
        asset,
        row.number("balance"),
        availableBalance=(f"pools.{asset}.free_collateral", row.number("availableBalance")),
        unrealizePnl=(f"pools.{asset}.unrealized_pnl", row.number("unrealizePnl")),
    )
    row.skip("frozen")


SHAPES = (
    shape("weex-position", "symbol size openValue separatedMode", position),
    shape("weex-position-older", "symbol size openValue unrealizePnl", position),
    shape("weex-balance", "asset balance availableBalance unrealizePnl", balance),
)
