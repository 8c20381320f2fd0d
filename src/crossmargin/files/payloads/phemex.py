"""Phemex: positions and the account beside them, USDT-margined and coin-margined.

Field meanings: the API pages (phemex-docs.github.io).
"""

from __future__ import annotations

from decimal import Decimal

from crossmargin.files.payloads.reading import Parts, Position, Row, divided, shape
from crossmargin.files.payloads.rows import start_position


def phemex_position(row: Row, parts: Parts) -> None:
    """Phemex: a USDT-M position of ``accountPositions``; a leverage of 0 or less is cross margin at its amount."""
    own = start_position(row, parts, "phemex-usdm", "glued", "size", "symbol")
    if own is None:
        return
    leverage, gain = row.number("leverageRr"), row.number("unRealisedPnlRv")
    own.put("entry_price", row.number("avgEntryPriceRp") or None)
    own.put("leverage", abs(leverage) if leverage else None)
    own.mark(row.number("markPriceRp"))
    own.size_from(row.number("valueRv"), row.number("avgEntryPriceRp"))
    parts.seen(row.number("transactTimeNs"))
    own.one_rate(row.number("maintMarginReqRr"))
    if leverage is not None and leverage > 0 and row.flag("crossMargin") is not True:
        own.isolated(row.number("positionMarginRv"))
        own.report("bankruptcy_price", row.number("bankruptPriceRp"), "bankruptPriceRp")
    own.report("unrealized_pnl", gain, "unRealisedPnlRv")
    own.report_liquidation(row, "liquidationPriceRp")
    row.skip_all()


def phemex_account(row: Row, parts: Parts) -> None:
    """Phemex: the account beside its positions; the balance counts isolated margins in, and no unrealized PnL."""
    parts.lists.add("balances")
    parts.profile("phemex-usdm")
    currency = row.need_text("currency")
    own = parts.own_funds(currency, row.number("accountBalanceRv"), row.number("bonusBalanceRv"))
    parts.whole_wallet(currency, own)
    row.skip_all()


_SCALE = {"USD": 4, "USDT": 8}
"""Digits behind the point of a scaled value (``...Ev``); 8 for a coin."""


def coin_position(row: Row, parts: Parts) -> None:
    """Phemex: a position of ``accountPositions`` settled in USD or in a coin, with its figures beside the scaled ones.

    An isolated position's pocket is its assigned balance, the reserve for the fee to close in it; contracts of the
    coin are in USD. A leverage of 0 or less is cross margin.
    """
    own = _coin_start(row, parts)
    if own is None:
        return
    entry, leverage, size = row.number("avgEntryPrice"), row.number("leverage"), own.quantity
    if entry is None and row.number("avgEntryPriceEp"):
        why = "is a scaled price whose scale the answer does not tell; take the answer with avgEntryPrice in it"
        parts.fault(f"{row.path}.avgEntryPriceEp", row.raw.get("avgEntryPriceEp"), why)
    own.put("entry_price", entry or None)
    own.put("leverage", abs(leverage) if leverage else None)
    own.mark(row.number("markPrice"))
    parts.seen(row.number("transactTimeNs"))
    value = row.number("value")
    if entry and value and size:
        inverse = own.symbol.split("/")[1].startswith("USD:") and not own.symbol.endswith(":USD")
        unit = divided(value * entry if inverse else divided(value, entry), abs(size))
        own.derive_instrument("contract_size", unit.quantize(Decimal("0.000001")).normalize(), "value / contracts")
    own.one_rate(row.number("maintMarginReq"))
    if leverage is not None and leverage > 0 and row.flag("crossMargin") is not True:
        own.isolated(row.number("assignedPosBalance"))
        own.report("bankruptcy_price", row.number("bankruptPrice") or None, "bankruptPrice")
    own.report_liquidation(row, "liquidationPrice")
    row.skip_all()


def _coin_start(row: Row, parts: Parts) -> Position | None:
    """The position under the currency it settles in: an ETHUSD of one currency is no ETHUSD of the other."""
    name, currency = row.text("symbol") or "", row.text("currency") or ""
    base = name.removeprefix("c").removesuffix("USD")
    if name.endswith("USD") and base and currency in ("USD", base) and parts.hint is None:
        if currency == base and row.number("size"):
            parts.notes.append(f"{name} settles in {base}: judged by the rules of contracts that settle in USD")
        parts.hint = f"{base}/USD:{currency}"
        try:
            return start_position(row, parts, "phemex-usdm", "glued", "size", "symbol")
        finally:
            parts.hint = None
    return start_position(row, parts, "phemex-usdm", "glued", "size", "symbol")


def coin_account(row: Row, parts: Parts) -> None:
    """Phemex: the account beside coin-margined positions; its figures are scaled, by 10^4 in USD, 10^8 in a coin."""
    parts.lists.add("balances")
    parts.profile("phemex-usdm")
    currency = row.need_text("currency")
    held, bonus = row.number("accountBalanceEv"), row.number("bonusBalanceEv")
    unit = Decimal(1).scaleb(-_SCALE.get(currency, 8))
    whole, lent = None if held is None else held * unit, None if bonus is None else bonus * unit
    parts.whole_wallet(currency, parts.own_funds(currency, whole, lent))
    row.skip_all()


SHAPES = (
    shape("phemex-coin-position", "symbol avgEntryPriceEp size crossMargin", coin_position),
    shape("phemex-coin-account", "accountId currency accountBalanceEv", coin_account),
    shape("phemex-position", "symbol avgEntryPriceRp positionMarginRv leverageRr", phemex_position),
    shape("phemex-account", "accountId currency accountBalanceRv", phemex_account),
)
