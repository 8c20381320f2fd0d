"""KuCoin: positions and balances of the futures account and of the unified account.

Field meanings: the API pages (kucoin.com/docs-new).
"""

from __future__ import annotations

from decimal import Decimal

from crossmargin.files.payloads.reading import Parts, Row, divided, shape
from crossmargin.files.payloads.rows import start_position
from crossmargin.files.payloads.symbols import asset_code


def kucoin_position(row: Row, parts: Parts) -> None:
    """KuCoin: one row of ``positions``; ``posMargin`` is the pocket, ``maintMargin`` the pocket with unrealized PnL."""
    row.skip(
        "id autoDeposit riskLimit delevPercentage openingTimestamp currentCost currentComm unrealisedCost "
        "realisedGrossCost realisedCost isOpen posCost posCross posInit posComm posLoss posMaint "
        "realisedGrossPnl realisedPnl unrealisedPnlPcnt unrealisedRoePcnt settleCurrency isInverse realLeverage "
        "maintainMargin userId marginMode positionSide posFunding posCommCommon posCrossMargin "
        "riskLimitLevel"
    )
    own = start_position(row, parts, "kucoin-futures", "kucoin", "currentQty", "symbol", signed=True)
    if own is None:
        return
    own.put("entry_price", _kucoin_entry(row) or None)
    own.put("leverage", row.number("leverage") or None)
    mark, value = row.number("markPrice"), row.number("markValue")
    own.mark(mark)
    own.size_from(value, mark)
    parts.seen(row.number("currentTimestamp"))
    own.one_rate(row.number("maintMarginReq"))
    crossed = row.flag("crossMode")
    if crossed is False or (crossed is None and row.text("marginMode") == "ISOLATED"):
        own.isolated(row.number("posMargin"))
        own.report_pocket("equity", row.number("maintMargin"), "maintMargin")
        own.report("bankruptcy_price", row.number("bankruptPrice"), "bankruptPrice")
    row.skip("posMargin", "maintMargin", "bankruptPrice")  # of a cross position they are parts of the account
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
    """KuCoin: ``account-overview`` of one currency; the wallet counts the margins of positions and orders in."""
    row.skip("orderMargin", "frozenFunds", "positionMargin", "riskRatio", "maxWithdrawAmount", "availableMargin")
    currency = asset_code(row.need_text("currency"))
    parts.lists.add("balances")
    parts.profile("kucoin-futures")
    parts.whole_wallet(
        currency,
        row.number("marginBalance"),
        accountEquity=(f"balances.{currency}.equity", row.number("accountEquity")),
        unrealisedPNL=(f"pools.{currency}.unrealized_pnl", row.number("unrealisedPNL")),
    )
    row.skip("availableBalance")


_STREAM = {
    "s": "symbol",
    "mM": "marginMode",
    "q": "size",
    "eP": "entryPrice",
    "pV": "positionValue",
    "mP": "markPrice",
    "lP": "liquidationPrice",
    "l": "leverage",
    "uPL": "unrealizedPnL",
    "iM": "initialMargin",
    "mtM": "maintenanceMargin",
    "U": "updateTime",
}
"""Names of the unified position stream, as its list of positions spells them."""


def unified_position(row: Row, parts: Parts) -> None:
    """KuCoin: one row of the unified account's open positions; the size is below 0 for a short.

    The margins of the row hold no fee to close, which the rules charge: 18.298 x 0.7 % = 0.128086 in a recorded one.
    """
    row.skip("id realizedPnL mmr creationTime")
    own = start_position(row, parts, "kucoin-unified", "kucoin", "size", "symbol", signed=True)
    if own is None:
        return
    entry, mark = row.number("entryPrice"), row.number("markPrice")
    value, gain = row.number("positionValue"), row.number("unrealizedPnL")
    own.put("entry_price", entry or None)
    own.put("leverage", row.number("leverage") or None)
    own.mark(mark)
    own.size_from(value, mark)
    parts.seen(row.number("updateTime", "creationTime"))
    own.one_rate(row.number("mmr"))
    if (row.text("marginMode") or "CROSS").upper() == "ISOLATED":
        own.isolated(None)  # the row prints no margin of its own
    own.report("notional", None if value is None else abs(value), "positionValue")
    own.report("unrealized_pnl", gain, "unrealizedPnL")
    own.report("initial_margin", row.number("initialMargin"), "initialMargin")
    own.report("maintenance_margin_before_fee", row.number("maintenanceMargin"), "maintenanceMargin")
    own.report_liquidation(row, "liquidationPrice")


def unified_stream_position(row: Row, parts: Parts) -> None:
    """KuCoin: a position of the unified account's stream, whose names are short."""
    row.skip_all()
    unified_position(parts.row({_STREAM.get(name, name): value for name, value in row.raw.items()}, row.path), parts)
    parts.rows[-1].skip("pi", "bP", "rPL", "O")


def unified_account(row: Row, parts: Parts) -> None:
    """KuCoin: balances of the unified account; what is owed is counted against a balance that does not show it."""
    kind = row.text("accountType")
    parts.seen(row.number("ts"))
    if kind != "UNIFIED":
        parts.fault(f"{row.path}.accountType", kind, "must be UNIFIED: other accounts hold no futures")
    parts.lists.add("balances")
    parts.profile("kucoin-unified")
    for account in row.rows("accounts"):
        account.skip("accountSubtype", "riskRatio")
        for coin in account.rows("currencies"):
            _unified_coin(coin, parts)


def _unified_coin(row: Row, parts: Parts) -> None:
    row.skip("available")
    name = asset_code(row.need_text("currency"))
    held, owed, equity = row.need("balance"), row.number("liability") or Decimal(0), row.number("equity")
    if held or owed or equity:
        parts.put("balances", name, "wallet_balance", value=held if held < 0 else held - abs(owed))
        parts.put("balances", name, "locked", value=row.number("hold") or None)
        parts.report(f"balances.{name}.equity", equity, "equity")
    row.skip("hold")


SHAPES = (
    shape("kucoin-unified-position", "symbol size entryPrice positionValue marginMode mmr", unified_position),
    shape("kucoin-unified-stream-position", "s mM q eP pV", unified_stream_position),
    shape("kucoin-unified-account", "accountType accounts ts", unified_account),
    shape("kucoin-position", "symbol currentQty avgEntryPrice posMargin maintMarginReq", kucoin_position),
    shape("kucoin-account", "accountEquity unrealisedPNL marginBalance positionMargin", kucoin_account),
)
