"""Gate: futures account and positions, unified account, CrossEx account.

Field meanings: the API pages (gate.com/docs/developers). A position's ``leverage`` of 0 is cross margin, where no
``pos_margin_mode`` says it;
``maintenance_rate`` is the one that applies to its size; margin rates of the unified account and of CrossEx are
coverage (balance over requirement, liquidated as it falls to 1).
"""

from __future__ import annotations

from decimal import Decimal

from crossmargin.files.payloads.reading import Parts, Row, shape
from crossmargin.files.payloads.symbols import unified

_SKIP = (
    "realised_point history_point realised_pnl close_order pending_orders adl_ranking user leverage_max history_pnl "
    "risk_limit last_close_pnl update_id open_time trade_max_size pnl_pnl pnl_fund pnl_fee average_maintenance_rate "
    "pid risk_limit_table cross_leverage_limit"
)


def position(row: Row, parts: Parts) -> None:
    """One row of ``GET /futures/{settle}/positions``, counted in contracts."""
    row.skip(_SKIP)
    parts.lists.add("positions")
    parts.profile("gate-futures", "position")
    size = row.number("size")
    if size == 0:
        row.skip_all()
        return
    symbol = row.symbol("underscored", "contract")
    if symbol is None:
        return
    side = {"dual_long": "long", "dual_short": "short"}.get(row.text("mode") or "single", "net")
    own = parts.position(symbol, size, side)
    mark, value = row.number("mark_price"), row.number("value")
    own.put("entry_price", row.number("entry_price") or None)
    own.mark(mark)
    parts.seen(row.number("update_time"))
    own.size_from(value, mark)
    leverage, most, margin = row.number("leverage"), row.number("cross_leverage_limit"), row.number("margin")
    mode = row.text("pos_margin_mode") or ("isolated" if leverage else "cross")
    own.put("leverage", leverage or most or row.number("lever") or None)
    if mode == "isolated":
        own.isolated(margin)
    own.one_rate(row.number("maintenance_rate"))
    own.report("notional", value, "value")
    own.report("unrealized_pnl", row.number("unrealised_pnl"), "unrealised_pnl")
    own.report("initial_margin", row.number("initial_margin") or None, "initial_margin")
    own.report("maintenance_margin", row.number("maintenance_margin") or None, "maintenance_margin")
    own.report_liquidation(row, "liq_price")


def futures_account(row: Row, parts: Parts) -> None:
    """``GET /futures/{settle}/accounts``: the wallet without unrealized PnL.

    ``cross_margin_balance`` is the shared wallet; an older account has only ``total``, which counts what isolated
    positions hold.
    """
    row.skip("history", "point", "in_dual_mode", "position_mode", "user", "margin_mode", "enable_evolved_classic")
    row.skip("enable_credit", "update_time", "update_id", "cross_order_margin", "order_margin", "position_margin")
    row.skip("isolated_position_margin", "enable_new_dual_mode", "enable_tiered_mm", "cross_available")
    row.skip("position_initial_margin", "maintenance_margin", "margin_mode_name", "enable_dual_plus")
    row.skip("position_voucher_total")
    parts.lists.add("balances")
    parts.profile("gate-futures")
    currency = row.need_text("currency")
    wallet, total = row.number("cross_margin_balance"), row.number("total")
    if wallet is None:
        parts.whole_wallet(currency, total)
    else:
        parts.put("balances", currency, "wallet_balance", value=wallet)
    parts.put("balances", currency, "bonus_credit", value=row.number("bonus") or None)
    parts.report(f"pools.{currency}.unrealized_pnl", row.number("cross_unrealised_pnl"), "cross_unrealised_pnl")
    parts.report(f"pools.{currency}.initial_margin", row.number("cross_initial_margin"), "cross_initial_margin")
    maintenance = row.number("cross_maintenance_margin")
    parts.report(f"pools.{currency}.maintenance_margin", maintenance, "cross_maintenance_margin")
    row.skip("available", "unrealised_pnl", "cross_mmr", "cross_imr")


_UNIFIED = {
    "equity": "total_margin_balance",
    "initial_margin": "total_initial_margin",
    "maintenance_margin": "total_maintenance_margin",
    "free_collateral": "total_available_margin",
    "initial_coverage": "total_initial_margin_rate",
    "maintenance_coverage": "total_maintenance_margin_rate",
}


def unified_account(row: Row, parts: Parts) -> None:
    """``GET /unified/accounts``: totals in USD and the coins."""
    row.skip("user_id locked total borrowed leverage spot_order_loss spot_hedge use_funding total_liab")
    row.skip("unified_account_total unified_account_total_liab unified_account_total_equity")
    row.skip("refresh_time", "is_all_collateral", "portfolio_margin_total_equity", "options_order_loss")
    parts.profile("gate-unified")
    parts.seen(row.number("refresh_time"))
    coins = row.raw.get("balances")
    row.skip("balances")
    for name, raw in coins.items() if isinstance(coins, dict) else ():
        parts.lists.add("balances")
        coin = parts.row(raw, f"{row.path}.balances.{name}")
        coin.skip_all()
        held, owed = coin.number("available"), coin.number("borrowed") or Decimal(0)
        frozen = coin.number("freeze") or Decimal(0)
        if held is not None and (held or owed or frozen):
            parts.put("balances", name, "wallet_balance", value=held + frozen - owed)
            parts.put("balances", name, "locked", value=frozen or None)
    for name, field in _UNIFIED.items():
        parts.report(name, row.number(field), field)


def crossex_account(row: Row, parts: Parts) -> None:
    """The CrossEx account: one pool over the wallets of several venues."""
    row.skip("accountMode", "positionMode", "userId", "accountLimit", "createTime", "updateTime", "availableBalance")
    parts.profile("gate-crossex")
    wallets: dict[str, Decimal] = {}
    for asset in row.rows("assets"):
        parts.lists.add("balances")
        asset.skip_all()
        coin, balance, equity = asset.need_text("coin"), asset.number("balance"), asset.number("equity")
        if balance is not None:
            wallets[coin] = wallets.get(coin, Decimal(0)) + balance
        parts.report(f"balances.{coin}.equity", equity, "equity")
    for coin, amount in wallets.items():
        parts.put("balances", coin, "wallet_balance", value=amount)
    for name, field in {
        "equity": "marginBalance",
        "initial_margin": "initialMargin",
        "maintenance_margin": "maintenanceMargin",
        "free_collateral": "availableMargin",
        "initial_coverage": "initialMarginRate",
        "maintenance_coverage": "maintenanceMarginRate",
    }.items():
        parts.report(name, row.number(field), field)


def crossex_position(row: Row, parts: Parts) -> None:
    """One CrossEx position, named by venue and contract (``BINANCE_FUTURE_ETH_USDT``)."""
    row.skip(
        "positionId", "userId", "createTime", "leverage", "closedPnl", "fee", "fundingFee", "fundingTime", "quoteCoin"
    )
    parts.lists.add("positions")
    parts.profile("gate-crossex", "position")
    quantity = row.number("qty", "positionQty")
    if quantity == 0:
        row.skip_all()
        return
    name = row.need_text("symbol")
    try:
        symbol = f"{unified('crossex', name)}@{name.partition('_')[0].lower()}"
    except ValueError as error:
        parts.fault(f"{row.path}.symbol", name, str(error))
        return
    sold = (row.text("side", "positionSide") or "LONG").upper() == "SHORT"
    own = parts.position(symbol, None if quantity is None else -abs(quantity) if sold else quantity)
    own.put("entry_price", row.number("entryPrice") or None)
    own.put("leverage", row.number("positionLeverage") or None)
    own.mark(row.number("markPrice"))
    parts.seen(row.number("updateTime"))
    own.report("notional", row.number("positionValue"), "positionValue")
    own.report("unrealized_pnl", row.number("upnl"), "upnl")
    own.report("initial_margin", row.number("initialMargin"), "initialMargin")
    own.report("maintenance_margin", row.number("maintenanceMargin"), "maintenanceMargin")
    own.report_liquidation(row, "liqPrice")


SHAPES = (
    shape("gate-position", "contract entry_price maintenance_rate liq_price", position),
    shape("gate-futures-account", "currency total unrealised_pnl position_margin available", futures_account),
    shape("gate-unified-account", "total_initial_margin total_margin_balance total_available_margin", unified_account),
    shape("gate-crossex-account", "marginBalance maintenanceMargin", crossex_account, without="asset symbol"),
    shape("gate-crossex-position", "symbol qty positionValue markPrice", crossex_position),
)
