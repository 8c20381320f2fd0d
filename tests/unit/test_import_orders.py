"""Open orders from each venue's own list and from the client: side, what is still open, price; the rest is left out."""

from typing import Any

import pytest

import crossmargin as cm
from crossmargin.errors import AccountError, MarketDataError
from crossmargin.files.payloads.shapes import read_payload
from crossmargin.files.unified import import_account

Order = dict[str, Any]


def _order(symbol: str, quantity: str, price: str, **more: Any) -> Order:
    return {"symbol": symbol, "quantity": quantity, "price": price, **more}


BINANCE = {
    "orderId": 1,
    "symbol": "BTCUSDT",
    "status": "NEW",
    "price": "58000.10",
    "origQty": "0.010",
    "executedQty": "0.004",
    "type": "LIMIT",
    "reduceOnly": False,
    "side": "SELL",
    "positionSide": "BOTH",
    "stopPrice": "0",
}
BYBIT = {
    "orderId": "a",
    "symbol": "ETHUSDT",
    "price": "1500",
    "qty": "0.3",
    "leavesQty": "0.2",
    "cumExecQty": "0.1",
    "side": "Buy",
    "orderType": "Limit",
    "orderStatus": "PartiallyFilled",
    "stopOrderType": "",
    "positionIdx": 0,
    "reduceOnly": False,
    "triggerPrice": "0",
}
OKX = {
    "ordId": "3",
    "instId": "ETH-USDT-SWAP",
    "instType": "SWAP",
    "ordType": "limit",
    "side": "sell",
    "posSide": "long",
    "px": "2000",
    "sz": "5",
    "accFillSz": "2",
    "lever": "10",
    "reduceOnly": "false",
    "state": "live",
}
HYPERLIQUID = {"coin": "ETH", "limitPx": "2000.0", "oid": 3991946565, "origSz": "0.3", "side": "A", "sz": "0.1"}
MEXC = {
    "orderId": "2649",
    "symbol": "BTC_USDT",
    "price": "2.2",
    "vol": "15",
    "dealVol": "5",
    "leverage": "20",
    "side": "1",
    "orderType": "1",
    "state": "2",
    "positionMode": "1",
}
BINGX = {
    "symbol": "BTC-USDT",
    "orderId": 17,
    "side": "BUY",
    "positionSide": "LONG",
    "type": "LIMIT",
    "origQty": "0.0010",
    "price": "22000.0",
    "executedQty": "0.0000",
    "stopPrice": "",
    "status": "NEW",
    "leverage": "20X",
}
GATE = {"id": 5, "contract": "BTC_USDT", "size": -10, "left": -4, "price": "70000", "is_reduce_only": True}
DERIBIT = {
    "order_id": "ETH-3",
    "instrument_name": "BTC-PERPETUAL",
    "direction": "buy",
    "amount": 40,
    "filled_amount": 10,
    "price": 50000,
    "order_type": "limit",
    "order_state": "open",
    "reduce_only": False,
}
KUCOIN = {
    "id": "6",
    "symbol": "XBTUSDTM",
    "type": "limit",
    "side": "sell",
    "price": "60000",
    "size": 7,
    "dealSize": 2,
    "stop": "",
    "stopTriggered": False,
    "leverage": "17",
    "reduceOnly": False,
    "status": "open",
}
BITGET = {
    "symbol": "BTCUSDT",
    "size": "0.003",
    "orderId": "1111",
    "baseVolume": "0.001",
    "price": "27000",
    "status": "live",
    "side": "buy",
    "posSide": "long",
    "leverage": "20",
    "tradeSide": "open",
    "posMode": "hedge_mode",
    "orderType": "limit",
    "reduceOnly": "NO",
}
CLIENT: dict[str, Any] = {
    "info": {},
    "id": "1",
    "clientOrderId": None,
    "symbol": "SOL/USDT:USDT",
    "type": "limit",
    "side": "sell",
    "price": 150.5,
    "amount": 4.0,
    "filled": 1.5,
    "remaining": 2.5,
    "reduceOnly": True,
    "status": "open",
    "triggerPrice": None,
}

READ: list[tuple[str, Any, Order]] = [
    ("binance", BINANCE, _order("BTC/USDT:USDT", "-0.006", "58000.1")),
    (
        "binance hedge, closing",
        BINANCE | {"positionSide": "LONG"},
        _order("BTC/USDT:USDT", "-0.006", "58000.1", reduce_only=True, position_side="long"),
    ),
    ("binance coin-M", BINANCE | {"symbol": "BTCUSD_PERP"}, _order("BTC/USD:BTC", "-0.006", "58000.1")),
    ("bybit", {"result": {"category": "linear", "list": [BYBIT]}}, _order("ETH/USDT:USDT", "0.2", "1500")),
    (
        "bybit, short side of a hedge",
        BYBIT | {"positionIdx": 2, "side": "Sell"},
        _order("ETH/USDT:USDT", "-0.2", "1500", position_side="short"),
    ),
    (
        "okx, closing a long",
        {"code": "0", "data": [OKX]},
        _order("ETH/USDT:USDT", "-3", "2000", reduce_only=True, position_side="long", leverage="10"),
    ),
    ("hyperliquid", HYPERLIQUID, _order("ETH/USDC:USDC", "-0.1", "2000")),
    ("mexc opens a long", MEXC, _order("BTC/USDT:USDT", "10", "2.2", position_side="long", leverage="20")),
    (
        "mexc closes a short",
        MEXC | {"side": "2"},
        _order("BTC/USDT:USDT", "10", "2.2", reduce_only=True, position_side="short", leverage="20"),
    ),
    (
        "bingx",
        {"code": 0, "data": {"orders": [BINGX]}},
        _order("BTC/USDT:USDT", "0.001", "22000", position_side="long", leverage="20"),
    ),
    ("gate", GATE, _order("BTC/USDT:USDT", "-4", "70000", reduce_only=True)),
    ("deribit", {"jsonrpc": "2.0", "result": [DERIBIT]}, _order("BTC/USD:BTC", "30", "50000")),
    ("kucoin", {"code": "200000", "data": {"items": [KUCOIN]}}, _order("BTC/USDT:USDT", "-5", "60000", leverage="17")),
    (
        "bitget opens a long",
        {"code": "00000", "data": {"entrustedList": [BITGET], "endId": "1"}},
        _order("BTC/USDT:USDT", "0.002", "27000", position_side="long", leverage="20"),
    ),
    (
        "bitget closes a long, written as a buy",
        BITGET | {"tradeSide": "close"},
        _order("BTC/USDT:USDT", "-0.002", "27000", reduce_only=True, position_side="long", leverage="20"),
    ),
    ("the client's own fields", [CLIENT], _order("SOL/USDT:USDT", "-2.5", "150.5", reduce_only=True)),
    (
        "the venue's answer inside the client's, its digits kept",
        [CLIENT | {"info": BINANCE, "symbol": "BTC/USDT:USDT"}],
        _order("BTC/USDT:USDT", "-0.006", "58000.1"),
    ),
]


@pytest.mark.parametrize(("payload", "expected"), [pytest.param(raw, want, id=name) for name, raw, want in READ])
def test_an_open_order_is_what_still_rests_of_it(payload: Any, expected: Order) -> None:
    parts = read_payload(payload, "payload")
    assert parts.orders == [expected]
    assert parts.notes == []
    assert parts.not_understood() == ()


LEFT_OUT: list[tuple[str, Any, str]] = [
    ("binance stop", BINANCE | {"type": "STOP", "stopPrice": "57000"}, "conditional"),
    ("binance trailing", BINANCE | {"type": "TRAILING_STOP_MARKET", "price": "0"}, "conditional"),
    ("binance spot", {k: v for k, v in BINANCE.items() if k != "positionSide"}, "spot pair"),
    ("bybit untriggered", BYBIT | {"orderStatus": "Untriggered", "triggerPrice": "1400"}, "conditional"),
    ("bybit spot", {"result": {"category": "spot", "list": [BYBIT]}}, "category spot"),
    ("okx algo", {"algoId": "1", "instId": "BTC-USDT-SWAP", "sz": "1", "ordType": "conditional"}, "conditional"),
    ("okx spot", OKX | {"instId": "ETH-USDT", "instType": "SPOT"}, "spot pair"),
    ("hyperliquid trigger", HYPERLIQUID | {"isTrigger": True, "orderType": "Stop Limit"}, "conditional"),
    (
        "mexc plan",
        {"id": "2", "symbol": "BTC_USDT", "triggerType": "1", "triggerPrice": "3", "vol": "13", "side": "1"},
        "conditional",
    ),
    ("bingx trigger", BINGX | {"type": "TRIGGER_LIMIT", "stopPrice": "23000.0"}, "conditional"),
    ("gate price order", {"trigger": {"price": "1"}, "initial": {"contract": "BTC_USDT"}}, "conditional"),
    ("deribit untriggered", DERIBIT | {"order_state": "untriggered"}, "conditional"),
    ("kucoin stop", KUCOIN | {"stop": "down"}, "conditional"),
    ("bitget plan", BITGET | {"planType": "normal_plan", "triggerPrice": "24000"}, "conditional"),
    ("a market order", OKX | {"ordType": "market", "px": ""}, "market order"),
    ("the client's trigger", [CLIENT | {"triggerPrice": 140}], "conditional"),
    ("the client's spot order", [CLIENT | {"symbol": "SOL/USDT"}], "spot pair"),
]


@pytest.mark.parametrize(("payload", "words"), [pytest.param(raw, words, id=name) for name, raw, words in LEFT_OUT])
def test_what_holds_nothing_yet_is_left_out_with_a_note(payload: Any, words: str) -> None:
    parts = read_payload(payload, "payload")
    assert parts.orders == []
    assert parts.faults == []
    (note,) = parts.notes
    assert words in note


@pytest.mark.parametrize(
    ("change", "path"), [({"side": ""}, "side"), ({"origQty": None}, "origQty"), ({"symbol": "NOPE"}, "symbol")]
)
def test_an_order_that_cannot_be_read_is_a_fault_and_never_left_out(change: dict[str, Any], path: str) -> None:
    parts = read_payload([BINANCE | change], "payload")
    assert [fault.path for fault in parts.faults] == [f"payload[0].{path}"]
    with pytest.raises(AccountError):
        import_account([[BINANCE | change]], settings=["as_of=2026-01-01T00:00:00Z"])


def test_orders_of_several_answers_are_all_in_the_account_and_hold_their_margin() -> None:
    """OKX holds value / leverage.

    Long 3 contracts of 0.01 BTC at 60000 and a buy of 2 more at 57000, leverage 10: the order holds
    2 x 0.01 x 57000 / 10 = 114, the position 3 x 0.01 x 60000 / 10 = 180.
    """
    position = {
        "instId": "BTC-USDT-SWAP", "instType": "SWAP", "pos": "3", "posSide": "net", "avgPx": "60000",
        "markPx": "60000", "mgnMode": "cross", "lever": "10", "uTime": "1780000000000", "last": "60001",
    }  # fmt: skip
    buy = OKX | {"instId": "BTC-USDT-SWAP", "side": "buy", "posSide": "net", "px": "57000", "sz": "2", "accFillSz": "0"}
    sell = OKX | {
        "instId": "BTC-USDT-SWAP",
        "side": "sell",
        "posSide": "net",
        "reduceOnly": "true",
        "sz": "1",
        "accFillSz": "0",
    }
    imported = import_account(
        [{"code": "0", "data": [position]}, {"code": "0", "data": [buy]}, [sell]], settings=["balances.USDT=1000"]
    )
    case = imported.case()
    assert [order.quantity for order in case.account.open_orders] == [2, -1]
    assert cm.evaluate(*case).initial_margin == 180 + 114
    assert case.market.last_price == {"BTC/USDT:USDT": 60001}


def test_what_the_user_gives_goes_over_the_orders_that_were_read() -> None:
    own = {"open_orders": [{"symbol": "BTC/USDT:USDT", "quantity": "1", "price": "5"}]}
    assert import_account([[BINANCE]], fragments=[own]).table["open_orders"] == own["open_orders"]


def test_a_resting_sell_says_where_its_last_price_comes_from_and_the_ticker_gives_it() -> None:
    """From 2026-01-05 Binance takes a sell at max(last x (1 + markup), mark, its own)."""
    risk = {
        "symbol": "BTCUSDT", "positionSide": "BOTH", "positionAmt": "0.1", "entryPrice": "60000", "markPrice": "60000",
        "unRealizedProfit": "0", "notional": "6000", "updateTime": 1790000000000, "leverage": "10",
    }  # fmt: skip
    settings = ["balances.USDT=5000"]
    with pytest.raises(MarketDataError, match="import the venue's ticker"):
        cm.evaluate(*import_account([[risk], [BINANCE]], settings=settings, venue="binance").case())
    ticker = [
        {"symbol": "BTCUSDT", "price": "59990.5", "time": 1790000000000},
        {"symbol": "WHAT", "price": "1", "time": 1},
    ]
    case = import_account([[risk], [BINANCE], ticker], settings=settings, venue="binance").case()
    assert str(case.market.last_price["BTC/USDT:USDT"]) == "59990.5"
    assert cm.evaluate(*case).initial_margin is not None


def test_a_symbol_without_a_position_gives_the_mark_of_its_orders() -> None:
    empty = {"symbol": "BTCUSDT", "positionSide": "BOTH", "positionAmt": "0", "entryPrice": "0", "markPrice": "60100.5"}
    risk = [
        empty | {"unRealizedProfit": "0", "updateTime": 1740000000000},
        empty | {"symbol": "A_B", "unRealizedProfit": "0"},
    ]
    case = import_account(
        [risk, [BINANCE]], settings=["balances.USDT=500", "as_of=2025-03-01T00:00:00Z"], venue="binance"
    ).case()
    assert [str(mark) for mark in case.market.mark_price.values()] == ["60100.5"]
    # the order's leverage is not in the list, so what it holds is unknown, never 0
    assert cm.evaluate(*case).initial_margin is None
