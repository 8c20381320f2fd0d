"""HTX: USDT-margined positions and accounts of versions 1, 3 and 5.

Field meanings: the API pages (htx.com/en-us/opend). A negative liquidation price is "never".
"""

from __future__ import annotations

from decimal import Decimal

from crossmargin.files.payloads.reading import Parts, Row, plain_figure, shape
from crossmargin.files.payloads.rows import start_position


def htx_position(row: Row, parts: Parts) -> None:
    """HTX: a linear position of the version before 5, isolated, with its own margin account inside."""
    row.skip(
        "symbol available frozen profit_rate profit margin_asset margin_account margin_position margin_frozen "
        "profit_real withdraw_available last_price position_margin margin_available cost_open direction"
    )
    own = start_position(row, parts, "htx-usdm", "dashed", "volume", "contract_code")
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


_LEGS = {"buy": "long", "sell": "short"}


def htx_position_v1(row: Row, parts: Parts) -> None:
    """HTX: a row of ``swap_cross_position_info`` or of ``swap_position_info``, without the account it stands in.

    Values are at the latest price (introduction to USDT-margined contracts), which so is the mark where none is given.
    """
    row.skip(
        "symbol available frozen profit_rate profit margin_asset margin_account cost_open direction contract_type pair "
        "business_type position_mode adl_risk_percent new_risk_rate trade_partition"
    )
    hedged = row.raw.get("position_mode") == "dual_side" and row.raw.get("margin_mode") == "cross"
    leg = _LEGS.get(str(row.raw.get("direction"))) if hedged else None  # both legs of a contract share one pocket
    own = start_position(row, parts, "htx-usdm", "dashed", "volume", "contract_code", leg=leg)
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
    own = start_position(row, parts, "htx-usdm", "dashed", "volume", "contract_code")
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


def pocket(row: Row, parts: Parts) -> None:
    """HTX: one isolated account of ``swap_account_info`` (version 1): the pocket of one contract, without its position.

    Long and short of a contract share it. Where nothing is held in the contract it backs nothing.
    """
    row.skip(
        "symbol margin_asset margin_mode margin_account margin_frozen profit_real lever_rate new_risk_rate "
        "position_mode trade_partition liquidation_price contract_type pair business_type profit_unreal"
    )
    parts.profile("htx-usdm", "position")
    if not row.number("margin_position"):
        row.skip_all()
        return
    symbol = row.symbol("dashed", "contract_code")
    if symbol is None:
        return
    factor = row.number("adjust_factor")
    if factor:
        parts.notes.append(f"adjustment factor of {symbol}: {plain_figure(factor)}, as the payload states it")
    parts.put("positions", symbol, "margin_mode", value="isolated")
    parts.put("positions", symbol, "isolated_margin", value=row.number("margin_static"))
    own = f"pools.{symbol} isolated"
    parts.report(f"{own}.equity", row.number("margin_balance"), "margin_balance")
    parts.report(f"{own}.initial_margin", row.number("margin_position"), "margin_position")
    parts.report(f"{own}.free_collateral", row.number("margin_available"), "margin_available")
    parts.report(f"{own}.withdrawable", row.number("withdraw_available"), "withdraw_available")
    parts.report(f"{own}.risk_rate", row.number("risk_rate"), "risk_rate")
    for position in row.rows("positions"):
        htx_position_v1(position, parts)


def unify_account(row: Row, parts: Parts) -> None:
    """HTX: one asset of ``swap_unified_account_info`` (version 3): ``cross_margin_static`` is the shared wallet."""
    asset = row.need_text("margin_asset")
    parts.lists.add("balances")
    parts.profile("htx-usdm")
    parts.put("balances", asset, "wallet_balance", value=row.need("cross_margin_static"))
    parts.report(f"pools.{asset}.unrealized_pnl", row.number("cross_profit_unreal"), "cross_profit_unreal")
    for swap in row.rows("isolated_swap"):
        pocket(swap, parts)
    row.skip_all()


def account_v5(row: Row, parts: Parts) -> None:
    """HTX: the account of version 5, coins inside; equity less unrealized PnL is the shared wallet.

    Isolated positions stand beside it (``isolated_equity``): the available margin is equity less the cross margins.
    """
    row.skip("state equity profit_unreal initial_margin maintenance_margin maintenance_margin_rate initial_margin_rate")
    row.skip("available_margin voucher_value created_time updated_time version")
    parts.lists.add("balances")
    parts.profile("htx-usdm")
    held, pocketed = [], False
    for coin in row.rows("details"):
        name, equity = coin.need_text("currency"), coin.need("equity")
        gain = coin.number("profit_unreal") or Decimal(0)
        coin.skip_all()
        parts.seen(coin.number("updated_time"))
        pocketed = pocketed or bool(coin.number("isolated_equity"))
        if not equity and not gain:
            continue
        held.append(name)
        own = parts.own_funds(name, equity - gain, coin.number("voucher"))
        parts.put("balances", name, "wallet_balance", value=own)
        pool = f"pools.{name}"
        parts.report(f"{pool}.equity", equity, "equity")
        parts.report(f"{pool}.unrealized_pnl", gain, "profit_unreal")
        parts.report(f"{pool}.initial_margin", coin.number("initial_margin"), "initial_margin")
        parts.report(f"{pool}.maintenance_margin", coin.number("maintenance_margin"), "maintenance_margin")
        parts.report(f"{pool}.free_collateral", coin.number("available_margin"), "available_margin")
        parts.report(f"{pool}.withdrawable", coin.number("withdraw_available"), "withdraw_available")
    if row.number("initial_margin") == 0 and row.number("maintenance_margin") == 0 and not pocketed:
        parts.lists.add("positions")  # there are none, says the answer itself
    if len(held) > 1:
        parts.notes.append(f"{', '.join(held)}: each is judged by itself; no rules of the multi-assets mode are known")


SHAPES = (
    shape("htx-account-v5", "details voucher_value maintenance_margin", account_v5),
    shape("htx-unified-account", "margin_asset cross_margin_static cross_risk_rate", unify_account),
    shape("htx-isolated-account", "margin_account margin_static margin_position adjust_factor", pocket, "cost_hold"),
    shape("htx-position", "contract_code cost_hold adjust_factor margin_static", htx_position),
    shape("htx-position-v1", "contract_code cost_hold position_margin margin_mode", htx_position_v1, "margin_static"),
    shape("htx-cross-account", "margin_asset margin_balance margin_static risk_rate", htx_cross_account, "symbol"),
    shape("htx-position-v5", "contract_code open_avg_price maintenance_margin", htx_position_v5),
)
