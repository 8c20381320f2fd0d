"""Resting orders in a book: worked by hand, written and read again, and every bad one named."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import crossmargin as cm
from crossmargin.analytics.book import evaluate_book, threshold_book
from crossmargin.engine.book import Book
from crossmargin.engine.columns import Reason, Status
from crossmargin.engine.ticks import TickIndex
from crossmargin.errors import AccountError

BTC, ETH = "BTC/USDT:USDT", "ETH/USDT:USDT"


def case_of(profile: str, orders: list[dict[str, Any]], **changed: Any) -> Any:
    table = [{"notional_floor": "0", "maintenance_rate": "0.01", "max_leverage": "100"}]
    known = {"contract_size": "1", "taker_fee": "0.001", "brackets": table}
    account = {
        "profile": profile,
        "as_of": "2026-11-20T08:00:00Z",
        "balances": {"USDT": "9000"},
        "positions": [{"symbol": BTC, "quantity": "1", "entry_price": "1000", "leverage": "10"}],
        "open_orders": orders,
        "market": {
            "mark_price": {BTC: "1000", ETH: "200"},
            "last_price": {BTC: "1002", ETH: "201"},
            "index_price": {"USDT": "1"},
        },
        "instruments": [{"symbol": BTC, **known}, {"symbol": ETH, **known}],
    }
    return cm.case_from(account | changed, "orders")


def asked(case: Any) -> Any:
    return evaluate_book(Book.from_accounts([case.account]), case.market, case.rules)


BUY = {"symbol": BTC, "quantity": "2", "price": "900"}
SELL = {"symbol": ETH, "quantity": "-4", "price": "210", "leverage": "5"}


def test_initial_margin_of_orders_by_hand() -> None:
    """1 x 1,000 / 10 = 100; 2 x 900 / 10 (the position's leverage) = 180; 4 x 210 / 5 = 168: together 448."""
    report = asked(case_of("plain-cross", [BUY, SELL, {**BUY, "quantity": "-1", "reduce_only": True}]))
    assert report.reason.tolist() == [Reason.NONE]
    assert report.initial_margin.tolist() == pytest.approx([448], rel=1e-12)
    assert report.free_collateral.tolist() == pytest.approx([9000 - 448], rel=1e-12)
    assert report.maintenance_margin.tolist() == pytest.approx([10], rel=1e-12)


def test_sells_at_the_assuming_price_by_hand() -> None:
    """Binance takes a sell at max(201 x 1.0015, 200, 150) = 201.3015 and a buy at its own price, here 1,100 at a mark
    of 1,000: 100 + 2 x 1,100 / 10 + 2 x 100 loss + 4 x 201.3015 / 5 = 681.0412."""
    report = asked(case_of("binance-usdm", [{**BUY, "price": "1100"}, {**SELL, "price": "150"}]))
    assert report.initial_margin.tolist() == pytest.approx([681.0412], rel=1e-12)


def test_orders_that_are_taken_out_of_equity_by_hand() -> None:
    """MEXC takes out what an order holds: 2 x 900 / 10 = 180 and its fee, 0.001 x 1,800 = 1.8; it is no initial margin
    then. The table's 1 % is of the entry value, the 0.04 % that a liquidation takes of the value at the mark."""
    case = case_of("mexc-usdm", [BUY])
    report = asked(case)
    assert report.reason.tolist() == [Reason.NONE]
    assert report.equity.tolist() == pytest.approx([9000 - 181.8], rel=1e-12)
    poor = case_of("mexc-usdm", [BUY], balances={"USDT": "281.8"})
    sides = threshold_book(Book.from_accounts([poor.account]), poor.market, poor.rules)
    # 281.8 - 181.8 + p - 1,000 = 10 + 0.0004 p at 910 / 0.9996
    assert sides.position_below.tolist() == pytest.approx([910 / 0.9996], rel=1e-12)


def test_orders_in_the_maintenance_margin_by_hand() -> None:
    """Bybit charges the worse side: max(|1 + 2|, |1 - 0|) = 3 x 1,000 x 1 % = 30, and without a position
    4 x 200 x 1 % = 8; the fee to close the long at its bankruptcy price is 0.001 x 900 = 0.9."""
    case = case_of("bybit-uta", [BUY, SELL])
    book = Book.from_accounts([case.account])
    report = asked(case)
    assert report.reason.tolist() == [Reason.NONE]
    assert report.maintenance_margin.tolist() == pytest.approx([38.9], rel=1e-12)
    assert report.position_maintenance_margin.tolist() == pytest.approx([30.9], rel=1e-12)
    sides = threshold_book(book, case.market, case.rules)
    assert len(sides.position_below) == book.positions == 1


def test_an_account_of_orders_alone_has_a_pool() -> None:
    """Nothing but one order on an empty wallet: 4 x 210 / 5 = 168 is asked of nothing."""
    report = asked(case_of("plain-isolated", [SELL], balances={}, positions=[]))
    assert report.initial_margin.tolist() == pytest.approx([168], rel=1e-12)
    assert report.free_collateral.tolist() == pytest.approx([-168], rel=1e-12)


def two(**changed: Any) -> tuple[Book, Any]:
    """Two accounts with one order each; the first one's is changed."""
    case = case_of("plain-cross", [BUY])
    book = Book.from_accounts([case.account, case.account.model_copy(update={"id": "other"})])
    columns = {name: np.array(getattr(book, f"order_{name}")) for name in changed}
    for name, value in changed.items():
        columns[name][0] = value
    return replace(book, **{f"order_{name}": column for name, column in columns.items()}), case


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"instrument": -1}, Reason.NULL),
        ({"quantity": np.nan}, Reason.NOT_FINITE),
        ({"quantity": np.inf}, Reason.NOT_FINITE),
        ({"quantity": 0.0}, Reason.NOT_POSITIVE),
        ({"price": np.nan}, Reason.NOT_FINITE),
        ({"price": 0.0}, Reason.NOT_POSITIVE),
        ({"price": -900.0}, Reason.NOT_POSITIVE),
        ({"leverage": 0.5}, Reason.NOT_POSITIVE),
        ({"leverage": np.inf}, Reason.NOT_FINITE),
    ],
)
def test_a_bad_order_costs_its_account_the_figures_and_no_other(changed: dict[str, Any], reason: Reason) -> None:
    book, case = two(**changed)
    report = evaluate_book(book, case.market, case.rules)
    assert report.reason.tolist() == [reason, Reason.NONE]
    assert np.isnan(report.headroom[0])
    assert report.status.tolist() == [Status.UNKNOWN, Status.HEALTHY]
    assert report.initial_margin[1] == pytest.approx(280, rel=1e-12)


@pytest.mark.parametrize(
    ("symbol", "reason"),
    [
        ("BTC/USDT", Reason.UNKNOWN_INSTRUMENT),
        ("NEW/USDT:USDT", Reason.MARK_PRICE_MISSING),
        ("BTC/USD:BTC", Reason.MISPLACED),
    ],
)
def test_an_order_in_what_nobody_knows_is_named(symbol: str, reason: Reason) -> None:
    book, case = two(leverage=10.0)
    book = replace(book, instruments=(*book.instruments, symbol), order_instrument=np.array([1, 0]))
    assert evaluate_book(book, case.market, case.rules).reason.tolist() == [reason, Reason.NONE]


def test_an_order_without_leverage_leaves_only_the_initial_margin_unknown() -> None:
    report = asked(case_of("plain-cross", [{"symbol": ETH, "quantity": "1", "price": "200"}]))
    assert report.reason.tolist() == [Reason.LEVERAGE_MISSING]
    assert np.isnan(report.initial_margin[0])
    assert report.headroom.tolist() == [8990]


def test_a_missing_last_price_is_named_where_orders_need_it() -> None:
    case = case_of("binance-usdm", [SELL])
    bare = case.market.model_copy(update={"last_price": {}})
    report = evaluate_book(Book.from_accounts([case.account]), bare, case.rules)
    assert report.reason.tolist() == [Reason.LAST_PRICE_MISSING]
    assert np.isnan(report.headroom[0])


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("order_start", np.array([0, 2, 1])),
        ("order_start", np.array([0, 1])),
        ("order_price", np.array([1.0])),
        ("order_instrument", np.array([7, 0])),
    ],
)
def test_ragged_orders_are_one_error_of_the_book(name: str, column: Any) -> None:
    with pytest.raises(AccountError, match=name):
        replace(two()[0], **{name: column})


def test_orders_come_back_from_accounts_arrow_and_parquet(tmp_path: Any) -> None:
    case = case_of("plain-cross", [BUY, SELL, {**BUY, "reduce_only": True}])
    book = Book.from_accounts([case.account, case.account.model_copy(update={"id": "calm", "open_orders": ()})])
    first, second = book.to_accounts(profile="plain-cross")
    assert [order.model_dump() for order in first.open_orders] == [o.model_dump() for o in case.account.open_orders]
    assert not second.open_orders
    assert cm.book_from_arrow(cm.book_to_arrow(book)).equals(book)
    cm.write_book(tmp_path / "book.parquet", book, rows=1)
    assert cm.read_book(tmp_path / "book.parquet").equals(book)
    assert book.take([1, 0]).take([1, 0]).equals(book)


@pytest.mark.parametrize("name", ["symbol", "reduce_only"])
def test_a_null_in_an_order_of_a_table_is_named(name: str) -> None:
    pa = pytest.importorskip("pyarrow")
    book, case = two()
    rows = cm.book_to_arrow(book).to_pylist()
    rows[0]["holdings"][0]["orders"][0][name] = None
    again = cm.book_from_arrow(pa.Table.from_pylist(rows))
    assert evaluate_book(again, case.market, case.rules).reason.tolist() == [Reason.NULL, Reason.NONE]


@pytest.mark.parametrize(
    ("profile", "reason"),
    [("plain-cross", Reason.OPEN_ORDERS), ("mexc-usdm", Reason.ORDERS_COUNT), ("bybit-uta", Reason.ORDERS_COUNT)],
)
def test_orders_that_are_only_marked_stay_unknown(profile: str, reason: Reason) -> None:
    """A table that says an account has orders, and does not hold them, gets no figure that pretends there are none."""
    case = case_of(profile, [BUY])
    report = evaluate_book(Book.from_accounts([case.account]).without_orders(), case.market, case.rules)
    assert report.reason.tolist() == [reason]
    assert np.isnan(report.initial_margin[0])
    assert np.isnan(report.headroom[0]) == (reason == Reason.ORDERS_COUNT)


def test_ticks_watch_a_book_with_orders() -> None:
    case = case_of("plain-cross", [BUY], balances={"USDT": "50"})
    index = TickIndex(Book.from_accounts([case.account]), case.market, case.rules)
    # 50 + p - 1,000 = 0.01 p at 959.6
    assert len(index.tick(BTC, 955.0)) == 1
