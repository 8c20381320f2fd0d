"""Deribit: account summaries and positions.

Field meanings: the API pages (docs.deribit.com). ``size`` counts USD for inverse contracts and coins for linear ones;
``balance`` is the wallet with session PnL that is settled, ``session_upl`` what is not.
"""

from __future__ import annotations

from decimal import Decimal

from crossmargin.files.payloads.reading import Parts, Row, divided, shape

_SKIP = (
    "delta open_orders_margin realized_profit_loss realized_funding settlement_price total_profit_loss interest_value "
    "size_currency average_price_usd floating_profit_loss_usd gamma theta vega kind leverage direction"
)


def summary(row: Row, parts: Parts) -> None:
    """``private/get_account_summary`` of one currency."""
    modes = {
        "segregated_sm": "deribit",
        "cross_sm": "deribit-cross-collateral",
    }
    parts.lists.add("balances")
    currency = row.need_text("currency")
    model = row.text("margin_model")
    if row.flag("portfolio_margining_enabled") or (model or "").endswith("_pm"):
        parts.fault(f"{row.path}.margin_model", model, "is portfolio margin, which has no rule profile")
    shared = row.flag("cross_collateral_enabled")
    parts.profile(modes.get(model or "", "deribit-cross-collateral" if shared else "deribit"))
    wallet, equity = row.number("balance"), row.number("equity")
    if wallet or equity:
        parts.put("balances", currency, "wallet_balance", value=wallet)
        parts.report(f"balances.{currency}.equity", equity, "equity")
        if not shared:
            pool = f"pools.{currency}"
            parts.report(f"{pool}.initial_margin", row.number("initial_margin"), "initial_margin")
            parts.report(f"{pool}.maintenance_margin", row.number("maintenance_margin"), "maintenance_margin")
            parts.report(f"{pool}.free_collateral", row.number("available_funds"), "available_funds")
    # options, fees, limits and session figures say nothing of the margin of futures
    row.skip_all()


def _entry(row: Row, symbol: str, size: Decimal | None) -> Decimal | None:
    """The price since which PnL is not in the balance yet: the last settlement's, for a position held over one.

    Told by which of the two prices gives ``floating_profit_loss``.
    """
    average, settled = row.number("average_price") or None, row.number("settlement_price")
    mark, floating = row.number("mark_price"), row.number("floating_profit_loss")
    if not (average and settled and mark and size) or floating is None:
        return average

    def off(entry: Decimal) -> Decimal:
        inverse = "/USD:" in symbol
        return abs((divided(size, entry) - divided(size, mark) if inverse else size * (mark - entry)) - floating)

    return settled if off(settled) < off(average) else average


def position(row: Row, parts: Parts) -> None:
    """One row of ``private/get_positions``; the account has no leverage setting."""
    row.skip(_SKIP)
    size = row.number("size")
    parts.lists.add("positions")
    if size == 0:
        row.skip_all()
        return
    symbol = row.symbol("deribit", "instrument_name")
    if symbol is None:
        return
    sold = row.raw.get("direction") == "sell"
    own = parts.position(symbol, None if size is None else -abs(size) if sold else size)
    if "/USD:" in symbol:
        own.instrument("contract_size", Decimal(1))  # sizes of the API are dollars, whatever one contract is
    own.put("entry_price", _entry(row, symbol, own.quantity))
    own.mark(row.number("mark_price"))
    index = row.number("index_price")
    if index:
        parts.put("market", "index_price", symbol.partition("/")[0], value=index)
    gain = row.number("floating_profit_loss")
    own.report("unrealized_pnl", gain if isinstance(gain, Decimal) else None, "floating_profit_loss")
    own.report("initial_margin", row.number("initial_margin"), "initial_margin")
    own.report("maintenance_margin", row.number("maintenance_margin"), "maintenance_margin")
    initial, maintenance = row.number("initial_margin"), row.number("maintenance_margin")
    own.rate_from(maintenance, row.number("size_currency"), initial=initial)
    own.report_liquidation(row, "estimated_liquidation_price")


SHAPES = (
    shape("deribit-summary", "currency balance equity available_funds maintenance_margin", summary),
    shape("deribit-position", "instrument_name average_price direction size", position),
)
