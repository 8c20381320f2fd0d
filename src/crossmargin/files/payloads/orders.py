"""Open orders: what venues print of each, row by row, told by its fields.

An open order here is one that rests in the book: its side, what of it is not yet filled (in contracts), its price.
Orders that wait for a trigger hold no margin until it is met, and orders of spot pairs none of a futures account: both
are left out with a note, as is a market order that a list still shows. Field meanings: each venue's API pages.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import NamedTuple

from crossmargin.files.payloads.reading import Parts, Row, plain_figure, shape
from crossmargin.model.instrument import parse_symbol


class Form(NamedTuple):
    """How one venue's list is written: the fields of each figure (several names: the first that is there).

    What is open is ``remaining``, else ``total`` less ``filled``. ``spot`` are the names of spot pairs where one list
    has both. ``sides`` reads a side that is no plain buy or sell: (sold, position side, closing).
    """

    style: str
    total: str = ""
    filled: str = ""
    remaining: str = ""
    symbol: str = "symbol"
    price: str = "price"
    side: str = "side"
    position_side: str = "positionSide"
    reduce_only: str = "reduceOnly"
    leverage: str = ""
    spot: str = ""
    sides: Callable[[Row], tuple[bool | None, str, bool]] | None = None


_TRIGGERED = re.compile(r"STOP|TAKE|TRAILING|TRIGGER|CONDITIONAL|OCO|PLAN|MOVE", re.IGNORECASE)
_TYPES = ("type", "orderType", "order_type", "ordType", "planType")
_STATES = ("orderStatus", "order_state", "status", "state")
_WAITING = ("untriggered", "deactivated", "not_triggered")
_SOLD = ("sell", "a", "ask", "s", "short")
_HEDGED = {"long": "long", "short": "short", "1": "long", "2": "short"}


def _reader(form: Form) -> Callable[[Row, Parts], None]:
    def read(row: Row, parts: Parts) -> None:
        _order(row, parts, form)
        row.skip_all()

    return read


def _order(row: Row, parts: Parts, form: Form) -> None:
    parts.lists.add("open_orders")
    name = row.need_text(form.symbol)
    if form.spot and re.fullmatch(form.spot, name):
        parts.notes.append(f"an open order in the spot pair {name} is left out; give what it holds as `locked`")
        return
    if _waits(row):
        parts.notes.append(f"a conditional order in {name} is left out: it holds nothing before its trigger")
        return
    symbol = row.symbol(_style(form.style, name), form.symbol)
    price, open_size = row.number(*form.price.split()), _open_size(row, form)
    if symbol is None or open_size == 0:
        return
    if parse_symbol(symbol).kind == "spot":
        parts.notes.append(f"an open order in the spot pair {symbol} is left out; give what it holds as `locked`")
        return
    if not price:
        parts.notes.append(f"a market order in {name} is left out: it has no price to rest at")
        return
    sold, side, closing = _sides(row, form, open_size)
    if open_size is None or sold is None:
        field = form.side if sold is None else (form.remaining or form.total).split()[0]
        parts.fault(f"{row.path}.{field}", row.raw.get(field), "is missing or unknown; an order needs side and size")
        return
    closing = closing or (side == "long" and sold) or (side == "short" and not sold)
    leverage = _leverage(row, form)
    parts.orders.append(
        {
            "symbol": symbol,
            "quantity": plain_figure(-abs(open_size) if sold else abs(open_size)),
            "price": plain_figure(price),
            **({"reduce_only": True} if closing else {}),
            **({"position_side": side} if side != "net" else {}),
            **({"leverage": plain_figure(leverage)} if leverage else {}),
        }
    )


def _waits(row: Row) -> bool:
    """Whether an order waits for a trigger: by its type, its state, or the flag that says so."""
    types = [str(row.raw.get(name) or "") for name in _TYPES]
    states = [str(row.raw.get(name) or "").lower() for name in _STATES]
    stops = str(row.raw.get("stop") or "") in ("up", "down") and row.raw.get("stopTriggered") is not True
    return (
        any(_TRIGGERED.search(text) for text in types)
        or any(state in _WAITING for state in states)
        or str(row.raw.get("isTrigger")).lower() == "true"
        or stops
    )


def _style(style: str, name: str) -> str:
    """Binance and BingX have one shape; only BingX writes dashes."""
    return "dashed" if style == "binance" and "-" in name else style


def _open_size(row: Row, form: Form) -> Decimal | None:
    if form.remaining:
        return row.number(*form.remaining.split())
    total, filled = row.number(*form.total.split()), row.number(*form.filled.split())
    return None if total is None else total - (filled or Decimal(0))


def _sides(row: Row, form: Form, open_size: Decimal | None) -> tuple[bool | None, str, bool]:
    """Whether it sells, which side of a hedge it is of, and whether it may only close."""
    if form.sides is not None:
        return form.sides(row)
    told = (row.text(form.side) or "").lower() if form.side else ""
    sold = None if open_size is None else open_size < 0
    if form.side:
        sold = told in _SOLD if told else None
    side = _HEDGED.get((row.text(form.position_side) or "").lower(), "net") if form.position_side else "net"
    closing = any(str(row.raw.get(name)).lower() in ("true", "yes", "1") for name in form.reduce_only.split())
    return sold, side, closing


def _leverage(row: Row, form: Form) -> Decimal | None:
    text = (row.text(form.leverage) or "").upper().removesuffix("X") if form.leverage else ""
    return Decimal(text) if re.fullmatch(r"[0-9]{1,4}(\.[0-9]+)?", text) and Decimal(text) >= 1 else None


def _mexc_sides(row: Row) -> tuple[bool | None, str, bool]:
    """MEXC: 1 opens a long, 2 closes a short, 3 opens a short, 4 closes a long; positionMode 2 is one-way."""
    told = row.text("side") or ""
    sold = {"1": False, "2": False, "3": True, "4": True}.get(told)
    side = "long" if told in ("1", "4") else "short"
    return sold, side, told in ("2", "4")


def _bitget_sides(row: Row) -> tuple[bool | None, str, bool]:
    """Bitget: in hedge mode ``side`` names the position, so that closing a long is written as a buy."""
    told = (row.text("side") or "").lower()
    side = _HEDGED.get((row.text("posSide") or "").lower(), "net")
    closing = (row.text("reduceOnly") or "").lower() == "yes"
    if side != "net" and (row.text("tradeSide") or "").lower() == "close":
        return side == "long", side, True
    return (told in _SOLD if told else None), side, closing


def conditional(row: Row, parts: Parts) -> None:
    """An order that waits for a trigger, in a list of its own."""
    name = row.text("symbol", "instId", "contract") or (row.raw.get("initial") or {}).get("contract", "?")
    parts.notes.append(f"a conditional order in {name} is left out: it holds nothing before its trigger")
    row.skip_all()


def spot_order(row: Row, parts: Parts) -> None:
    """An order of a spot account."""
    name = row.text("symbol", "currency_pair")
    parts.notes.append(f"an open order in the spot pair {name} is left out; give what it holds as `locked`")
    row.skip_all()


_CLIENT = Form("", total="amount", filled="filled", remaining="remaining", position_side="", leverage="")
_BINANCE = Form("binance", total="origQty", filled="executedQty", leverage="leverage")
_BYBIT = Form("bybit", total="qty", filled="cumExecQty", remaining="leavesQty", position_side="positionIdx")
_OKX = Form(
    "okx",
    total="sz",
    filled="accFillSz",
    symbol="instId",
    price="px",
    position_side="posSide",
    leverage="lever",
    spot="[^-]+-[^-]+",
)
_HYPERLIQUID = Form("hyperliquid", remaining="sz", symbol="coin", price="limitPx", position_side="", spot="@.*|.*/.*")
_MEXC = Form("underscored", total="vol", filled="dealVol", leverage="leverage", sides=_mexc_sides)
_GATE = Form(
    "underscored",
    remaining="left",
    symbol="contract",
    side="",
    position_side="",
    reduce_only="is_reduce_only reduce_only is_close close",
)
_DERIBIT = Form(
    "deribit",
    total="amount",
    filled="filled_amount",
    symbol="instrument_name",
    side="direction",
    position_side="",
    reduce_only="reduce_only",
)
_KUCOIN = Form(
    "kucoin",
    total="size",
    filled="dealSize filledSize",
    reduce_only="reduceOnly closeOrder",
    leverage="leverage",
    spot="[^-]+-[^-]+",
)
_BITGET = Form("glued", total="size qty", filled="baseVolume cumExecQty", leverage="leverage", sides=_bitget_sides)


def _client(row: Row, parts: Parts) -> None:
    """One order of ``fetch_open_orders``, by the client's own fields, which mean the same everywhere."""
    waits = any(row.number(name) for name in ("triggerPrice", "stopPrice", "stopLossPrice", "takeProfitPrice"))
    if waits:
        conditional(row, parts)
        return
    own = Parts(hint=row.text("symbol"))
    _reader(_CLIENT)(own.row(row.raw, row.path), own)
    parts.orders += own.orders
    parts.notes += own.notes
    parts.faults += own.faults
    row.skip_all()


SHAPES = (
    shape("ccxt-order", "symbol side amount remaining price info clientOrderId", _client),
    shape("binance-order", "orderId symbol origQty executedQty price side positionSide", _reader(_BINANCE)),
    shape("binance-spot-order", "orderId symbol origQty executedQty price side", spot_order, without="positionSide"),
    shape("bybit-order", "orderId symbol qty leavesQty price side", _reader(_BYBIT)),
    shape("okx-order", "ordId instId sz accFillSz px side", _reader(_OKX)),
    shape("okx-algo-order", "algoId instId sz", conditional, without="ordId accFillSz"),
    shape("hyperliquid-order", "coin limitPx oid side sz", _reader(_HYPERLIQUID)),
    shape("mexc-plan-order", "symbol triggerType triggerPrice vol side", conditional),
    shape("mexc-order", "orderId symbol vol dealVol side price", _reader(_MEXC)),
    shape("gate-price-order", "trigger initial", conditional),
    shape("gate-order", "contract size left price", _reader(_GATE)),
    shape("gate-spot-order", "currency_pair left side", spot_order),
    shape("deribit-order", "order_id instrument_name direction amount price", _reader(_DERIBIT)),
    shape("bitget-plan-order", "orderId symbol planType triggerPrice", conditional),
    shape("bitget-order", "orderId symbol size baseVolume side posSide", _reader(_BITGET)),
    shape("bitget-unified-order", "orderId symbol qty cumExecQty side posSide", _reader(_BITGET), without="leavesQty"),
    shape("kucoin-order", "symbol side size dealSize price reduceOnly", _reader(_KUCOIN)),
    shape("kucoin-order-newer", "symbol side size filledSize price reduceOnly", _reader(_KUCOIN)),
)
