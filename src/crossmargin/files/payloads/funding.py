"""Lists of funding payments: what venues print of each, row by row, told by its fields.

Field meanings: each venue's API pages. Signs differ: a fee is positive when paid (Bybit executions), an income when
received (everybody else); here a payment is positive when paid.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, NamedTuple

from crossmargin.files.payloads.reading import Parts, Row, moment, plain_figure, shape
from crossmargin.files.payloads.symbols import asset_code
from crossmargin.model.instrument import parse_symbol


class Form(NamedTuple):
    """How one venue's list is written: the fields of each figure (several names: the first that is there).

    ``kind``: the field that tells funding from other rows, with the texts that mean it. ``received``: the payment's
    sign is an income's. ``rate``: whether the rate is the market's or the position's own.
    """

    style: str | Callable[[str], str]
    profile: str
    time: str
    payment: str
    symbol: str = "symbol"
    currency: str = ""
    kind: tuple[str, str] | None = None
    received: bool = True
    quantity: str = ""
    side: str = ""
    price: str = ""
    notional: str = ""
    funding_rate: str = ""
    fee_rate: str = ""


_SHORT = {"sell", "short", "2"}
_LONG = {"buy", "long", "1"}


def _reader(form: Form) -> Callable[[Row, Parts], None]:
    def read(row: Row, parts: Parts) -> None:
        if form.kind is None or _is_funding(row, form.kind):
            _payment(row, parts, form)
        row.skip_all()

    return read


def _is_funding(row: Row, kind: tuple[str, str]) -> bool:
    told = row.text(kind[0])
    return told is None or told.lower() in kind[1].split()


def _payment(row: Row, parts: Parts, form: Form) -> None:
    when, paid = row.number(*form.time.split()), row.need(*form.payment.split())
    symbol = _symbol(row, parts, form)
    quantity = _number(row, form.quantity)
    side = _side(row, form)
    if quantity is not None and side == "short":
        quantity = -abs(quantity)
    notional, price = _number(row, form.notional), _number(row, form.price)
    funding_rate, fee_rate = _number(row, form.funding_rate), _number(row, form.fee_rate)
    currency = row.text(*form.currency.split()) if form.currency else None
    if currency is None and symbol is not None:
        currency = parse_symbol(symbol).settle
    time = moment(when)
    if time is None:
        parts.fault(f"{row.path}.{form.time.split()[0]}", row.raw.get(form.time.split()[0]), "is no time")
        return
    parts.times.append(time)
    inverse = symbol is not None and parse_symbol(symbol).kind == "inverse"
    coin = form.profile.replace("-usdm", "-coinm") if inverse else form.profile
    parts.profile(coin if inverse and coin in ("binance-coinm", "bingx-coinm") else form.profile, "position")
    stated = {
        "symbol": symbol,
        "time": time,
        "payment": -paid if form.received and paid else paid,
        "currency": None if currency is None else asset_code(currency.upper()),
        "quantity": quantity or None,
        "position_side": side if not quantity else None,
        "price": price or None,
        "notional": None if notional is None else abs(notional),
        "funding_rate": funding_rate,
        "fee_rate": fee_rate,
    }
    parts.payments.append({key: _written(value) for key, value in stated.items() if value is not None})


def _written(value: Any) -> Any:
    """A figure with the digits that were printed, at most the 18 decimals that a figure may have."""
    if not isinstance(value, Decimal):
        return value
    exponent = value.as_tuple().exponent
    return plain_figure(value) if isinstance(exponent, int) and exponent < -18 else format(value, "f")


def _number(row: Row, names: str) -> Decimal | None:
    return row.number(*names.split()) if names else None


def _symbol(row: Row, parts: Parts, form: Form) -> str | None:
    if parts.hint is not None:
        return parts.hint
    name = row.text(form.symbol)
    if name is None:
        return None
    return row.symbol(form.style if isinstance(form.style, str) else form.style(name), form.symbol)


def _side(row: Row, form: Form) -> str | None:
    told = (row.text(form.side) or "").lower() if form.side else ""
    return "short" if told in _SHORT else "long" if told in _LONG else None


def _glued_or_dashed(name: str) -> str:
    return "dashed" if "-" in name else "binance"


def _income(row: Row, parts: Parts) -> None:
    """Income history of Binance and BingX: one shape, told apart by how symbols are written."""
    dashed = "-" in str(row.raw.get("symbol", ""))
    form = _INCOME._replace(profile="bingx-usdm" if dashed else "binance-usdm")
    _reader(form)(row, parts)


_INCOME = Form(_glued_or_dashed, "binance-usdm", "time", "income", currency="asset", kind=("incomeType", "funding_fee"))


def _hyperliquid(row: Row, parts: Parts) -> None:
    """``userFunding``: the payment inside ``delta``; the price it was charged on is not printed."""
    delta = row.row("delta")
    time = row.number("time")
    row.skip_all()
    if delta is not None:
        inner = parts.row({**delta.raw, "time": None if time is None else plain_figure(time)}, f"{row.path}.delta")
        delta.skip_all()
        _reader(_HYPERLIQUID)(inner, parts)


_HYPERLIQUID = Form(
    "hyperliquid",
    "hyperliquid",
    "time",
    "usdc",
    symbol="coin",
    kind=("type", "funding"),
    quantity="szi",
    funding_rate="fundingRate",
)
_BYBIT = Form(
    "bybit",
    "bybit-uta",
    "execTime",
    "execFee",
    currency="feeCurrency",
    kind=("execType", "funding"),
    received=False,
    quantity="execQty",
    side="side",
    price="execPrice",
    notional="execValue",
    fee_rate="feeRate",
)
_BYBIT_LOG = Form(
    "bybit",
    "bybit-uta",
    "transactionTime",
    "funding change",
    currency="currency",
    kind=("type", "settlement"),
    quantity="size qty",
    side="side",
    price="tradePrice",
    fee_rate="feeRate",
)
_KUCOIN = Form(
    "kucoin",
    "kucoin-futures",
    "settlementTime timePoint",
    "fundingFee funding",
    currency="settleCurrency",
    quantity="size positionQty",
    price="markPrice",
    notional="positionValue positionCost",
    funding_rate="fundingRate",
)
_MEXC = Form(
    "underscored",
    "mexc-usdm",
    "settleTime",
    "funding",
    side="positionType",
    notional="positionValue",
    funding_rate="rate",
)
_OKX = Form("okx", "okx-futures", "ts", "balChg pnl", symbol="instId", currency="ccy", kind=("type", "8"))
_BITGET = Form(
    "glued",
    "bitget-usdm",
    "cTime ts",
    "amount",
    currency="coin",
    kind=("businessType", "contract_settle_fee contract_main_settle_fee"),
)
_GATE = Form("underscored", "gate-futures", "time", "change", symbol="text", kind=("type", "fund"))
_HTX = Form(
    "dashed",
    "htx-usdm",
    "ts created_time",
    "amount",
    symbol="contract_code",
    currency="asset currency",
    kind=("type", "30 31"),
)
_DERIBIT = Form("deribit", "deribit", "timestamp", "funding", symbol="instrument_name", kind=("type", "settlement"))


_CLIENT = Form("", "", "timestamp", "amount", currency="code")


def _client(row: Row, parts: Parts) -> None:
    """One row of ``fetch_funding_history``, by the client's own fields: an income, with no size and no price."""
    own = Parts(hint=row.text("symbol"))
    _payment(own.row(row.raw, row.path), own, _CLIENT)
    parts.payments += own.payments
    parts.faults += own.faults
    parts.times += own.times
    parts.notes.append("funding payments as the client's `amount`, taken as received where it is above 0")
    row.skip_all()


SHAPES = (
    shape("ccxt-funding", "symbol code timestamp amount", _client),
    shape("bybit-funding", "execTime execFee feeRate execValue", _reader(_BYBIT)),
    shape("bybit-transaction-log", "transactionTime funding feeRate", _reader(_BYBIT_LOG)),
    shape("income", "incomeType income time", _income),
    shape("hyperliquid-funding", "time delta", _hyperliquid),
    shape("hyperliquid-funding-stream", "time coin usdc szi fundingRate", _reader(_HYPERLIQUID)),
    shape("kucoin-funding", "symbol fundingRate fundingFee settlementTime", _reader(_KUCOIN)),
    shape("kucoin-funding-older", "symbol fundingRate funding timePoint", _reader(_KUCOIN)),
    shape("mexc-funding", "symbol funding rate settleTime positionValue", _reader(_MEXC)),
    shape("okx-bill", "balChg type ts", _reader(_OKX)),
    shape("bitget-bill", "billId businessType amount coin", _reader(_BITGET)),
    shape("gate-account-change", "time change text type", _reader(_GATE)),
    shape("htx-financial-record", "type amount contract_code id", _reader(_HTX)),
    shape("deribit-settlement", "funding session_profit_loss instrument_name timestamp", _reader(_DERIBIT)),
)
