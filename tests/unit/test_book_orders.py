"""Resting orders in a book: worked by hand, written and read again, and every bad one named."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import crossmargin as cm
import strategies
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


@pytest.mark.parametrize(("buys", "sells", "initial"), [("2", None, 280), ("2", "-4", 400), (None, "-0.5", 100)])
def test_the_worse_side_of_positions_and_orders_by_hand(buys: str | None, sells: str | None, initial: float) -> None:
    """KuCoin, long 1 at 1,000, 10-fold, a buy of 2 at 900: 100 + 180 of the long side; a sale of 4 at 1,000: 400 of
    the other, one of 0.5: 50. The fee to open, 0.001 of an order's value, is out of equity; kept is 1 % and the fee
    0.1 % of the larger size that fills would leave, max(1 + 2, 4) x 1,000."""
    orders = [{**BUY, "quantity": buys}] if buys else []
    orders += [{"symbol": BTC, "quantity": sells, "price": "1000"}] if sells else []
    case = case_of("kucoin-futures", orders)
    report = asked(case)
    fees = 1.8 * (buys is not None) - float(sells or 0)
    larger = max(3 if buys else 1, -float(sells or 0))
    assert report.reason.tolist() == [Reason.NONE]
    assert report.equity.tolist() == pytest.approx([9000 - fees], rel=1e-12)
    assert report.initial_margin.tolist() == pytest.approx([initial], rel=1e-12)
    assert report.maintenance_margin.tolist() == pytest.approx([larger * 11], rel=1e-12)


def test_a_hedge_under_the_worse_side_holds_its_larger_leg() -> None:
    """No orders at all: max(1,000, 600) / 10 at KuCoin, whose rule for orders takes the worse side."""
    legs = [
        {"symbol": BTC, "quantity": "1", "entry_price": "1000", "leverage": "10", "position_side": "long"},
        {"symbol": BTC, "quantity": "-0.6", "entry_price": "1000", "leverage": "10", "position_side": "short"},
    ]
    case = case_of("kucoin-futures", [], positions=legs)
    assert asked(case).initial_margin.tolist() == pytest.approx([100], rel=1e-12)
    assert float(cm.evaluate(*case).initial_margin or 0) == pytest.approx(100, rel=1e-12)


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


FLAT_ORDERS: dict[str, list[Any]] = {
    "account": ["b", "a", "a", "b"],
    "symbol": [BTC, ETH, BTC, "SOL/USDC:USDC"],
    "quantity": [3.0, -4.0, 2.0, 1.0],
    "price": [800.0, 210.0, 900.0, 20.0],
    "leverage": [4.0, 5.0, None, None],
    "reduce_only": [False, False, False, True],
}


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_flat_frames_hold_orders(library: str) -> None:
    """a: 1,000 / 10 + 4 x 210 / 5 + 2 x 900 / 10 (as its position) = 448; b has an order alone: 3 x 800 / 4 = 600.
    The reduce-only order settles where b has nothing, and holds nothing."""
    module = pytest.importorskip(library)
    make = module.table if library == "pyarrow" else module.DataFrame
    balances = make({"account": ["a"], "asset": ["USDT"], "wallet_balance": [9000.0]})
    positions = make(
        {"account": ["a"], "symbol": [BTC], "quantity": [1.0], "entry_price": [1000.0], "leverage": [10.0]}
    )
    book = cm.book_from_frames(balances, positions, make(FLAT_ORDERS))
    case = case_of("plain-cross", [])
    report = evaluate_book(book, case.market, case.rules)
    assert book.account_ids is not None
    assert [book.account_ids[number] for number in report.account] == ["a", "b"]
    assert report.initial_margin.tolist() == pytest.approx([448, 600], rel=1e-12)
    assert report.equity.tolist() == pytest.approx([9000, 0], abs=1e-9)
    assert book.orders == 3


def test_flat_orders_with_wrong_columns() -> None:
    pa = pytest.importorskip("pyarrow")
    balances = pa.table({"account": ["a"], "asset": ["USDT"], "wallet_balance": [9000.0]})
    positions = pa.schema(
        {"account": pa.string(), "symbol": pa.string(), "quantity": pa.float64(), "entry_price": pa.float64()}
    ).empty_table()
    with pytest.raises(AccountError, match="prize: is not a known column"):
        cm.book_from_frames(balances, positions, pa.table({**FLAT_ORDERS, "prize": FLAT_ORDERS["price"]}))
    with pytest.raises(AccountError, match="price: the column is missing"):
        cm.book_from_frames(balances, positions, pa.table(FLAT_ORDERS).drop_columns(["price"]))
    with pytest.raises(AccountError, match=r"orders\.symbol: must be a unified symbol"):
        cm.book_from_frames(balances, positions, pa.table({**FLAT_ORDERS, "symbol": ["BTCUSDT", ETH, BTC, ETH]}))
    with pytest.raises(AccountError, match="reduce_only"):
        cm.book_from_frames(balances, positions, pa.table({**FLAT_ORDERS, "reduce_only": [None, False, False, True]}))


def flat(accounts: list[Any]) -> list[Any]:
    """The three frames that a system would export of some accounts."""
    pa = pytest.importorskip("pyarrow")
    tables: list[list[dict[str, Any]]] = [[], [], []]
    for account in accounts:
        for asset, held in account.balances.items():
            tables[0].append({"account": account.id, "asset": asset, "wallet_balance": float(held.wallet_balance),
                              "bonus_credit": float(held.bonus_credit), "use_as_collateral": held.use_as_collateral,
                              "accrued_interest": float(held.accrued_interest)})  # fmt: skip
        for leg in account.positions:
            row = {"account": account.id, "symbol": leg.symbol, "margin_mode": leg.margin_mode}
            for name in ("quantity", "entry_price", "leverage", "isolated_margin"):
                value = getattr(leg, name)
                row[name] = None if value is None else float(value)
            tables[1].append(row)
        for order in account.open_orders:
            row = {"account": account.id, "symbol": order.symbol, "reduce_only": order.reduce_only}
            for name in ("quantity", "price", "leverage"):
                value = getattr(order, name)
                row[name] = None if value is None else float(value)
            tables[2].append(row)
    columns = [
        ("account", "asset", "wallet_balance"),
        ("account", "symbol", "quantity", "entry_price"),
        ("account", "symbol", "quantity", "price"),
    ]
    numbers = {"wallet_balance", "quantity", "entry_price", "price"}
    empty = [
        pa.schema({n: pa.float64() if n in numbers else pa.string() for n in own}).empty_table() for own in columns
    ]
    return [pa.Table.from_pylist(rows) if rows else none for rows, none in zip(tables, empty, strict=True)]


def nouns(book: Book) -> dict[str, Any]:
    """The accounts of a book without the order that its rows have."""
    return {
        account.id: (
            {name: held.model_dump() for name, held in account.balances.items()},
            sorted(str(leg.model_dump()) for leg in account.positions),
            sorted(str(order.model_dump()) for order in account.open_orders),
        )
        for account in book.to_accounts(profile="plain-cross")
    }


def test_random_accounts_with_orders_come_back_through_every_form(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Accounts -> book -> Parquet -> book, and accounts -> flat frames -> book, name by name and digit by digit."""
    held: list[int] = []

    @settings(derandomize=True, deadline=None, max_examples=25, database=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(strategies.accounts("plain-cross", orders=True), min_size=1, max_size=3))
    def check(given: list[dict[str, Any]]) -> None:
        accounts = [cm.case_from({**a, "id": f"a{n}"}, "a").account for n, a in enumerate(given)]
        book = Book.from_accounts(accounts)
        held.append(book.orders)
        path = tmp_path_factory.mktemp("book") / "book.parquet"
        cm.write_book(path, book, rows=2)
        assert nouns(cm.read_book(path)) == nouns(book)
        assert nouns(cm.book_from_arrow(cm.book_to_arrow(book))) == nouns(book)
        again = nouns(cm.book_from_frames(*flat(accounts)))
        for name, own in nouns(book).items():
            assert again[name][1:] == own[1:]
            assert again[name][0].keys() == own[0].keys()

    check()
    assert sum(count > 0 for count in held) > 3


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
