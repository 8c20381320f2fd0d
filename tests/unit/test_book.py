"""A book of accounts: columns in, columns out, and every bad row named."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import crossmargin as cm
from crossmargin.analytics import questions
from crossmargin.analytics.book import evaluate_book, sensitivity_book, stress_book, threshold_book
from crossmargin.engine import interchange
from crossmargin.engine.book import Book
from crossmargin.engine.columns import Reason, Side, Status
from crossmargin.engine.interchange import book_from_arrow, book_from_frames, book_to_arrow, read_book, write_book
from crossmargin.engine.prices import Prices
from crossmargin.engine.runner import Runner
from crossmargin.engine.synthetic import synthetic_book
from crossmargin.engine.tables import compile_rules
from crossmargin.errors import AccountError, MissingExtra, ProfileError, UnsupportedRule
from crossmargin.model.account import Account
from crossmargin.model.brackets import Bracket, InstrumentRule
from crossmargin.model.market import Market
from crossmargin.model.profile import Rules
from crossmargin.model.scenario import Scenario

BTC, ETH, INVERSE = "BTC/USDT:USDT", "ETH/USDT:USDT", "BTC/USD:BTC"
AS_OF = "2026-11-20T08:00:00Z"
MARKET = Market(
    as_of=AS_OF,
    mark_price={BTC: "58000", ETH: "3000", INVERSE: "58000"},
    index_price={"BTC": "58000", "ETH": "3000"},
)


def table(*rows: tuple[str, str]) -> tuple[Bracket, ...]:
    return tuple(Bracket(notional_floor=floor, maintenance_rate=rate) for floor, rate in rows)


# 0.4 % up to 50,000 and 0.5 % above: the deduction of the second row is 50,000 x 0.001 = 50
TABLE = table(("0", "0.004"), ("50000", "0.005"))


def rules(profile: str = "plain-cross", **tables: tuple[Bracket, ...]) -> Rules:
    found = cm.load_profile(profile).on(MARKET.as_of)
    given = {BTC: TABLE, ETH: TABLE, INVERSE: table(("0", "0.005")), **tables}
    return found.with_overrides(tuple(InstrumentRule(symbol=s, brackets=t) for s, t in given.items()), ())


def account(name: str, wallet: str, *positions: dict[str, str], **balances: str) -> Account:
    return Account(id=name, profile="plain-cross", balances={"USDT": wallet, **balances}, positions=positions)


def position(symbol: str, quantity: str, entry: str, leverage: str | None = "10", **more: str) -> dict[str, Any]:
    return {"symbol": symbol, "quantity": quantity, "entry_price": entry, "leverage": leverage, **more}


LONG = account("long", "5000", position(BTC, "1", "60000"))
POCKET = account("pocket", "10", position(ETH, "-2", "2900", "5", margin_mode="isolated", isolated_margin="700"))


# figures by hand --------------------------------------------------------------------------------------------------


def test_the_figures_of_two_accounts() -> None:
    book = Book.from_accounts([LONG, POCKET])
    report = evaluate_book(book, MARKET, rules())
    # long: PnL -2,000, so equity 3,000; 58,000 lies in the second bracket: 290 - 50 = 240; headroom 2,760;
    # initial 5,800, so the level that blocks is reached. The wallet of the pocket's account is a pool of 10 USDT.
    # pocket: short 2 from 2,900 at 3,000: PnL -200, equity 500; 6,000 x 0.004 = 24; initial 6,000 / 5 = 1,200
    assert report.account.tolist() == [0, 1, 1]
    assert report.isolated.tolist() == [False, False, True]
    assert report.equity.tolist() == [3000, 10, 500]
    assert report.maintenance_margin.tolist() == [240, 0, 24]
    assert report.headroom.tolist() == [2760, 10, 476]
    assert report.initial_margin.tolist() == [5800, 0, 1200]
    assert report.free_collateral.tolist() == [-2800, 10, -700]
    assert report.margin_ratio.tolist() == [0.08, 0, 0.048]
    assert report.status.tolist() == [Status.WARNING, Status.HEALTHY, Status.WARNING]
    assert [report.levels[level] if level >= 0 else "" for level in report.level] == [
        "initial margin", "", "initial margin",
    ]  # fmt: skip
    assert report.position_maintenance_margin.tolist() == [240, 24]
    assert report.counts == {"healthy": 1, "warning": 2, "liquidation": 0, "unknown": 0}
    assert report.reasons == {}
    assert [report.assets[code] for code in report.currency] == ["USDT"] * 3


def test_the_thresholds_of_two_accounts() -> None:
    found = threshold_book(Book.from_accounts([LONG, POCKET]), MARKET, rules())
    # long: 5,000 + p - 60,000 = 0.005 p - 50, so p = 54,950 / 0.995 = 55,226.13 in the second bracket, the right one;
    # above it only gains. pocket: 700 - 2 (p - 2,900) = 0.008 p, so p = 6,500 / 2.008
    assert found.position_below[0] == pytest.approx(54950 / 0.995, rel=1e-13)
    assert found.position_above[1] == pytest.approx(6500 / 2.008, rel=1e-13)
    assert found.position_below_kind.tolist() == [Side.PRICE, Side.NEVER]
    assert found.position_above_kind.tolist() == [Side.NEVER, Side.PRICE]
    assert np.isnan(found.position_above[0])
    assert found.common_below[0] == pytest.approx(54950 / 0.995 / 58000 - 1, rel=1e-12)
    assert found.common_below_kind.tolist() == [Side.PRICE, Side.NEVER, Side.NEVER]


def test_coin_as_collateral_moves_with_its_contracts() -> None:
    holder = account("holder", "0", position(BTC, "3", "60000"), BTC="1")
    found = threshold_book(Book.from_accounts([holder]), MARKET, rules(**{BTC: table(("0", "0.005"))}))
    # p + 3 (p - 60,000) = 0.015 p, so p = 180,000 / 3.985; with the coin standing still it would be another price
    assert found.position_below[0] == pytest.approx(180000 / 3.985, rel=1e-13)


def test_a_coin_settled_pocket_breaks_on_both_sides_of_its_own_formula() -> None:
    inverse = account(
        "inverse", "0", position(INVERSE, "58000", "58000", margin_mode="isolated", isolated_margin="0.1")
    )
    found = threshold_book(Book.from_accounts([inverse]), MARKET, rules())
    # 0.1 + 58,000 (1/58,000 - 1/p) = 0.005 x 58,000 / p, so 1.1 p = 1.005 x 58,000
    assert found.position_below[0] == pytest.approx(1.005 * 58000 / 1.1, rel=1e-13)
    assert found.position_above_kind.tolist() == [Side.NEVER]


def test_scenarios_of_two_accounts() -> None:
    scenarios = [
        Scenario(name="down 5 %", others="-0.05"),
        Scenario(name="ETH up a third", moves={"ETH": "0.333333"}, others="0"),
    ]
    found = stress_book(Book.from_accounts([LONG, POCKET]), MARKET, rules(), scenarios)
    # 55,100: equity 100, requirement 275.5 - 50 = 225.5. ETH at 3,999.999: 700 - 2,199.998 - 31.999992
    assert found.headroom[:, 0] == pytest.approx([100 - 225.5, 10, 700 + 100 - 22.8])
    assert found.headroom[:, 1] == pytest.approx([2760, 10, 700 - 2199.998 - 31.999992])
    assert found.liquidated.tolist() == [1, 1]
    assert found.worst_scenario.tolist() == [0, 0, 1]
    with pytest.raises(AccountError, match="at least one"):
        stress_book(Book.from_accounts([LONG]), MARKET, rules(), [])


def test_slopes_of_a_book() -> None:
    found = sensitivity_book(Book.from_accounts([LONG, POCKET]), MARKET, rules())
    # per dollar of BTC the long gains 1 - 0.005; per dollar of ETH the pocket loses 2 + 2 x 0.004
    assert [found.assets[code] for code in found.coin] == ["BTC", "ETH"]
    assert found.up == pytest.approx([0.995, -2.008], rel=1e-9)
    assert found.down == pytest.approx([0.995, -2.008], rel=1e-9)
    assert found.now.tolist() == [58000, 3000]


def test_a_pool_at_the_line_is_judged_exactly() -> None:
    # PnL 0.001 x (59,876.1504 - 59,637.6) = 0.2385504 = 0.004 x 59.6376: headroom is 0, and equality liquidates
    at_line = account("line", "0", position(BTC, "-0.001", "59876.1504"))
    market = MARKET.model_copy(update={"mark_price": {BTC: Decimal("59637.6")}})
    report = evaluate_book(Book.from_accounts([at_line]), market, rules())
    assert report.rejudged == 1
    assert report.headroom.tolist() == [0]
    assert report.status.tolist() == [Status.LIQUIDATION]
    moved = market.model_copy(update={"mark_price": {BTC: Decimal("59637.6") / 2}})
    doubled = stress_book(Book.from_accounts([at_line]), moved, rules(), [Scenario(name="double", others="1")])
    assert doubled.rejudged == 1
    assert doubled.headroom.tolist() == [[0]]
    assert doubled.liquidated.tolist() == [1]


def test_a_long_paid_in_full_never_breaks_below() -> None:
    # 60,000 for a coin bought at 60,000: headroom at p is 0.995 p, above 0 at every price, and rounding decides nothing
    full = account("full", "60000", position(BTC, "1", "60000", "1"))
    found = threshold_book(Book.from_accounts([full]), MARKET, rules(**{BTC: table(("0", "0.005"))}))
    assert found.position_below_kind.tolist() == [Side.NEVER]
    assert found.rejudged == 2


# one question, one name -------------------------------------------------------------------------------------------


def test_the_front_questions_take_an_account_or_a_book() -> None:
    book, scenario = Book.from_accounts([LONG]), [Scenario(name="fall", others="-0.1")]
    assert questions.evaluate(LONG, MARKET, rules()).headroom == 2760
    assert questions.evaluate(book, MARKET, rules()).headroom.tolist() == [2760]
    assert questions.threshold(LONG, MARKET, rules()).thresholds[0].below.price == pytest.approx(
        Decimal(54950) / Decimal("0.995")
    )
    assert questions.threshold(book, MARKET, rules()).position_below_kind.tolist() == [Side.PRICE]
    assert questions.stress(LONG, MARKET, rules(), scenario)[0].status == "liquidation"
    assert questions.stress(book, MARKET, rules(), scenario).liquidated.tolist() == [1]
    assert questions.sensitivity(LONG, MARKET, rules()).slopes
    assert len(questions.sensitivity(book, MARKET, rules()).coin) == 1


def test_the_same_book_under_rules_that_keep_assets_apart() -> None:
    both = account("both", "5000", position(BTC, "1", "60000"), BTC="1")
    book = Book.from_accounts([both])
    assert len(evaluate_book(book, MARKET, rules()).equity) == 1
    apart = evaluate_book(book, MARKET, rules("plain-isolated"))
    assert apart.equity.tolist() == [3000, 1]  # in USDT, and in BTC
    assert [apart.assets[code] for code in apart.currency] == ["USDT", "BTC"]


# bad rows ---------------------------------------------------------------------------------------------------------


def one_row(**changed: Any) -> Book:
    """Two purses of one long each; the first is changed."""
    columns: dict[str, Any] = {
        "quantity": [1.0, 1.0], "entry_price": [60000.0, 60000.0], "leverage": [10.0, 10.0],
        "amount": [5000.0, 5000.0], "bonus_credit": [0.0, 0.0], "instrument": [0, 0], "asset": [0, 0],
        "isolated": [False, False], "open_orders": [False, False],
    }  # fmt: skip
    for name, value in changed.items():
        columns[name] = [value, columns[name][1]]
    types = {"instrument": np.int32, "asset": np.int32, "isolated": np.bool_, "open_orders": np.bool_}
    return Book(
        instruments=(BTC, "NEW/USDT:USDT", "nonsense", INVERSE),
        assets=("USDT", "BTC"),
        account=np.arange(2),
        holding_start=np.arange(3),
        position_start=np.arange(3),
        use_as_collateral=np.ones(2, np.bool_),
        **{name: np.array(value, types.get(name, np.float64)) for name, value in columns.items()},
    )


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"instrument": 1}, Reason.NO_TABLE),
        ({"instrument": 2}, Reason.UNKNOWN_INSTRUMENT),
        ({"instrument": 3}, Reason.MISPLACED),
        ({"instrument": -1}, Reason.NULL),
        ({"asset": -1}, Reason.NULL),
        ({"asset": 1}, Reason.MISPLACED),
        ({"quantity": np.nan}, Reason.NOT_FINITE),
        ({"quantity": np.inf}, Reason.NOT_FINITE),
        ({"quantity": 0.0}, Reason.NOT_POSITIVE),
        ({"entry_price": np.nan}, Reason.NOT_FINITE),
        ({"entry_price": -np.inf}, Reason.NOT_FINITE),
        ({"entry_price": 0.0}, Reason.NOT_POSITIVE),
        ({"entry_price": -1.0}, Reason.NOT_POSITIVE),
        ({"leverage": 0.5}, Reason.NOT_POSITIVE),
        ({"leverage": np.inf}, Reason.NOT_FINITE),
        ({"amount": np.nan}, Reason.NOT_FINITE),
        ({"amount": np.inf}, Reason.NOT_FINITE),
        ({"bonus_credit": -1.0}, Reason.NOT_POSITIVE),
        ({"isolated": True, "amount": -1.0}, Reason.NOT_POSITIVE),
        ({"quantity": 1e308, "entry_price": 1e308}, Reason.NOT_FINITE),
    ],
)
def test_a_bad_row_has_its_reason_and_stops_no_other(changed: dict[str, Any], reason: Reason) -> None:
    report = evaluate_book(one_row(**changed), MARKET, rules())
    assert report.reason.tolist() == [reason, Reason.NONE]
    assert report.status.tolist() == [Status.UNKNOWN, Status.WARNING]
    for name in ("equity", "initial_margin", "maintenance_margin", "headroom", "free_collateral", "margin_ratio"):
        assert np.isnan(getattr(report, name)[0])
        assert not np.isnan(getattr(report, name)[1])
    assert report.reasons == {reason.name.lower(): 1}
    assert reason.words
    found = threshold_book(one_row(**changed), MARKET, rules())
    assert found.position_below_kind.tolist() == [Side.UNKNOWN, Side.PRICE]
    stressed = stress_book(one_row(**changed), MARKET, rules(), [Scenario(name="fall", others="-0.5")])
    assert stressed.liquidated.tolist() == [1]
    assert np.isnan(stressed.worst_headroom[0])
    assert stressed.worst_scenario.tolist() == [-1, 0]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [({"leverage": np.nan}, Reason.LEVERAGE_MISSING), ({"open_orders": True}, Reason.OPEN_ORDERS)],
)
def test_an_unknown_initial_margin_leaves_the_verdict_known(changed: dict[str, Any], reason: Reason) -> None:
    report = evaluate_book(one_row(**changed), MARKET, rules())
    assert report.reason.tolist() == [reason, Reason.NONE]
    assert np.isnan(report.initial_margin[0])
    assert report.headroom.tolist() == [2760, 2760]
    assert report.status.tolist() == [Status.HEALTHY, Status.WARNING]


@pytest.mark.parametrize("price", [np.nan, 0.0, -5.0, np.inf])
def test_an_unusable_mark_is_a_missing_one(price: float) -> None:
    book = Book.from_accounts([LONG, POCKET])
    prices = replace(Prices.of(MARKET, book.instruments, ("USDT", "BTC", "ETH")), mark_price=np.array([price, 3000.0]))
    report = evaluate_book(book, prices, rules())
    assert report.reason.tolist() == [Reason.MARK_PRICE_MISSING, Reason.NONE, Reason.NONE]
    assert np.isnan(report.equity[0])
    assert report.equity[1:].tolist() == [10, 500]


def test_a_missing_index_price_is_named() -> None:
    holder = account("holder", "5000", position(ETH, "1", "3000"), BTC="1")
    market = MARKET.model_copy(update={"index_price": {}})
    report = evaluate_book(Book.from_accounts([holder, POCKET]), market, rules())
    assert report.reason.tolist() == [Reason.INDEX_PRICE_MISSING, Reason.NONE, Reason.NONE]


def test_an_asset_without_a_ratio_is_refused_where_the_profile_refuses_it() -> None:
    found = cm.load_profile("bybit-uta").on(MARKET.as_of)
    book = Book.from_accounts([account("a", "1", NOSUCHCOIN="5"), account("b", "1")])
    market = MARKET.model_copy(update={"index_price": {"USDT": Decimal(1), "NOSUCHCOIN": Decimal(2)}})
    assert evaluate_book(book, market, found).reason.tolist() == [Reason.NO_COLLATERAL_RATIO, Reason.NONE]


def test_a_pocket_where_only_cross_margin_exists() -> None:
    found = cm.load_profile("binance-usdm-multi-assets").on(MARKET.as_of)
    report = evaluate_book(Book.from_accounts([POCKET]), MARKET, found)
    assert report.reason.tolist()[1] == Reason.ISOLATED_NOT_ALLOWED


def test_rows_that_stand_twice() -> None:
    book = Book.from_accounts([account("a", "9000", position(BTC, "1", "60000"), position(ETH, "1", "3000"))])
    twice = replace(book, instrument=np.array([0, 0]))
    assert evaluate_book(twice, MARKET, rules()).reason.tolist() == [Reason.DUPLICATE]
    hedge = replace(twice, quantity=np.array([1.0, -1.0]))
    assert evaluate_book(hedge, MARKET, rules()).reason.tolist() == [Reason.NONE]


# columns that do not fit --------------------------------------------------------------------------------------------


def test_ragged_offsets_are_one_clear_error() -> None:
    book = Book.from_accounts([LONG, POCKET])
    for start in ([0, 2, 1, 2], [1, 1, 1, 2], [0, 1, 1, 1]):
        with pytest.raises(AccountError, match="position_start: is ragged"):
            replace(book, position_start=np.array(start))


def test_columns_of_another_length_or_type() -> None:
    book = Book.from_accounts([LONG])
    with pytest.raises(AccountError, match="quantity: must have as many rows"):
        replace(book, quantity=np.ones(3))
    with pytest.raises(AccountError, match="must be one column of float64"):
        replace(book, quantity=np.array(["1"]))
    with pytest.raises(AccountError, match="instrument: must be one column of int32"):
        replace(book, instrument=np.array([0.5]))
    with pytest.raises(AccountError, match="must be places in instruments"):
        replace(book, instrument=np.array([7]))


def test_columns_are_read_only() -> None:
    with pytest.raises(ValueError, match="read-only"):
        Book.from_accounts([LONG]).quantity[0] = 2


def test_an_empty_book() -> None:
    book = Book.from_accounts([])
    report = evaluate_book(book, MARKET, rules())
    assert len(report.equity) == 0
    assert sum(report.counts.values()) == 0
    assert len(threshold_book(book, MARKET, rules()).pool) == 0
    assert book_from_arrow(book_to_arrow(book)).equals(book)


def test_one_pool_of_a_hundred_thousand_positions() -> None:
    count = 100_000
    symbols = tuple(f"C{number}/USDT:USDT" for number in range(count))
    found = replace(rules(), brackets=dict.fromkeys(symbols, TABLE))
    book = Book(
        instruments=symbols,
        assets=("USDT",),
        account=np.zeros(1, np.int64),
        isolated=np.zeros(1, np.bool_),
        open_orders=np.zeros(1, np.bool_),
        holding_start=np.array([0, 1]),
        asset=np.zeros(1, np.int32),
        amount=np.array([1e6]),
        bonus_credit=np.zeros(1),
        use_as_collateral=np.ones(1, np.bool_),
        position_start=np.array([0, count]),
        instrument=np.arange(count, dtype=np.int32),
        quantity=np.ones(count),
        entry_price=np.full(count, 100.0),
        leverage=np.full(count, 10.0),
    )
    prices = Prices(
        instruments=symbols, assets=("USDT",), mark_price=np.full(count, 101.0), index_price=np.ones(1),
        bid_rate=np.ones(1), ask_rate=np.ones(1),
    )  # fmt: skip
    report = evaluate_book(book, prices, found)
    # each gains 1 and requires 0.404
    assert report.equity[0] == pytest.approx(1_100_000, rel=1e-12)
    assert report.maintenance_margin[0] == pytest.approx(40_400, rel=1e-12)
    lines = threshold_book(book, prices, found)
    assert set(lines.position_below_kind.tolist()) == {Side.NEVER}
    # together: 1,000,000 - 10,000,000 + 100,000 p = 0.004 x 100,000 p at 9,000,000 / 99,600
    assert 101 * (1 + lines.common_below[0]) == pytest.approx(9_000_000 / 99_600, rel=1e-12)


def test_tiny_prices_and_huge_quantities() -> None:
    tiny = account("tiny", "1", position(ETH, "1000000000000", "0.000000000000000002"))
    market = MARKET.model_copy(update={"mark_price": {ETH: Decimal("0.000000000000000001")}})
    report = evaluate_book(Book.from_accounts([tiny]), market, rules())
    # 1e12 x (1e-18 - 2e-18) = -1e-6; 1e12 x 1e-18 x 0.004 = 4e-9
    assert report.equity[0] == pytest.approx(1 - 1e-6, rel=1e-15)
    assert report.maintenance_margin[0] == pytest.approx(4e-9, rel=1e-12)


# profiles -----------------------------------------------------------------------------------------------------------


def test_a_rule_without_a_compiled_form_is_named() -> None:
    for name, words in (("okx-portfolio", "scenarios"), ("deribit", "key = 'coin'")):
        with pytest.raises(UnsupportedRule, match=words):
            compile_rules(cm.load_profile(name).on(MARKET.as_of), [], [])


def test_a_rule_field_that_is_new_is_refused_and_not_overlooked() -> None:
    found = rules()
    slots = found.slots
    odd = slots.maintenance_margin.model_copy(update={"fixed_amount": Decimal(7)})
    with pytest.raises(UnsupportedRule, match="maintenance_margin: fixed_amount"):
        compile_rules(replace(found, slots=slots.model_copy(update={"maintenance_margin": odd})), [], [])


def test_rules_that_are_not_concave_are_walked_by_the_judge() -> None:
    found = rules()
    slot = found.slots.maintenance_margin.model_copy(update={"kind": "step_brackets"})
    steps = replace(found, slots=found.slots.model_copy(update={"maintenance_margin": slot}))
    short = account("short", "3000", position(BTC, "-0.9", "55000"))
    lines = threshold_book(Book.from_accounts([short]), MARKET, steps)
    exact = cm.threshold(short, MARKET, steps).thresholds[0].above.price
    assert lines.position_above[0] == pytest.approx(float(exact), rel=1e-12)
    assert lines.rejudged == 2


# doors --------------------------------------------------------------------------------------------------------------


def test_accounts_come_back_as_they_went_in() -> None:
    hedge = account(
        "hedge", "-3.25", position(BTC, "1.5", "60000.1", position_side="long"),
        position(BTC, "-0.7", "61000", None, position_side="short"), BTC="0.1",
    )  # fmt: skip
    book = Book.from_accounts([LONG, POCKET, hedge])
    back = list(book.to_accounts(profile="plain-cross"))
    assert [Account.model_validate(found.model_dump()) for found in back] == [LONG, POCKET, hedge]
    assert Book.from_accounts(back).equals(book)


def test_arrow_and_parquet_keep_every_bit(tmp_path: Path) -> None:
    book = synthetic_book(donor(), pools=500, seed=5, donors=[donor("binance-coinm")]).book
    assert book_from_arrow(book_to_arrow(book)).equals(book)
    sliced = book_from_arrow(book_to_arrow(book).slice(100, 50))
    assert sliced.equals(book.take(range(100, 150)))
    write_book(tmp_path / "book.parquet", book)
    assert read_book(tmp_path / "book.parquet").equals(book)
    named = Book.from_accounts([LONG, POCKET])
    assert book_from_arrow(book_to_arrow(named)).equals(named)
    (tmp_path / "torn.parquet").write_bytes((tmp_path / "book.parquet").read_bytes()[:-20])
    with pytest.raises(AccountError, match="Parquet"):
        read_book(tmp_path / "torn.parquet")


def test_an_arrow_table_that_is_no_book() -> None:
    pa = pytest.importorskip("pyarrow")
    whole = book_to_arrow(Book.from_accounts([LONG]))
    with pytest.raises(AccountError, match="holdings: the column is missing"):
        book_from_arrow(whole.drop_columns(["holdings"]))
    with pytest.raises(AccountError, match="holdings: must be a list column"):
        book_from_arrow(whole.set_column(3, "holdings", pa.array([1])))
    with pytest.raises(AccountError, match="isolated: must be a column of true and false"):
        book_from_arrow(whole.set_column(1, "isolated", pa.array([None], pa.bool_())))


def nested(pa: Any, holdings: Any) -> Any:
    """A table of one purse with this column of holdings."""
    flags = pa.array([False])
    return pa.table({"account": ["a"], "isolated": flags, "open_orders": flags, "holdings": holdings})


def held_of(positions: list[Any]) -> dict[str, Any]:
    return {
        "asset": "USDT",
        "amount": 9000.0,
        "bonus_credit": 0.0,
        "use_as_collateral": True,
        "positions": positions,
    }


LEG = {"symbol": BTC, "quantity": 1.0, "entry_price": 60000.0, "leverage": 10.0}


def test_below_a_null_struct_everything_is_null() -> None:
    """The bytes under a null are whatever the writer left there; they must not come back as a position or an asset."""
    pa = pytest.importorskip("pyarrow")
    legs = pa.StructArray.from_arrays(
        [pa.array([BTC, BTC]), pa.array([1.0, 1.0]), pa.array([6e4, 6e4]), pa.array([10.0, 10.0])],
        names=["symbol", "quantity", "entry_price", "leverage"],
        mask=pa.array([False, True]),
    )
    held = pa.StructArray.from_arrays(
        [
            pa.array(["USDT", "USDT"]),
            pa.array([9000.0, 9000.0]),
            pa.array([0.0, 0.0]),
            pa.array([True, True]),
            pa.ListArray.from_arrays([0, 1, 2], legs),
        ],
        names=["asset", "amount", "bonus_credit", "use_as_collateral", "positions"],
    )
    flags = pa.array([False, False])
    purses = {"account": ["a", "b"], "isolated": flags, "open_orders": flags}
    book = book_from_arrow(pa.table({**purses, "holdings": pa.ListArray.from_arrays([0, 1, 2], held)}))
    assert book.instrument.tolist() == [0, -1]
    assert np.isnan(book.quantity[1])
    assert evaluate_book(book, MARKET, rules()).reason.tolist() == [Reason.NONE, Reason.NULL]
    none = pa.StructArray.from_arrays(held.flatten(), names=[f.name for f in held.type], mask=pa.array([False, True]))
    with pytest.raises(AccountError, match="holdings: a holding must not be null"):
        book_from_arrow(pa.table({**purses, "holdings": pa.ListArray.from_arrays([0, 1, 2], none)}))


def test_a_dictionary_that_names_one_thing_twice_or_nothing() -> None:
    pa = pytest.importorskip("pyarrow")
    symbols = pa.DictionaryArray.from_arrays(pa.array([0, 1, 2]), pa.array([BTC, BTC, None]))
    legs = pa.StructArray.from_arrays(
        [symbols, pa.array([1.0, 2.0, 1.0]), pa.array([6e4] * 3), pa.array([10.0] * 3)],
        names=["symbol", "quantity", "entry_price", "leverage"],
    )
    held = pa.StructArray.from_arrays(
        [
            pa.array(["USDT"] * 2),
            pa.array([9000.0] * 2),
            pa.array([0.0] * 2),
            pa.array([True] * 2),
            pa.ListArray.from_arrays([0, 2, 3], legs),
        ],
        names=["asset", "amount", "bonus_credit", "use_as_collateral", "positions"],
    )
    flags = pa.array([False, False])
    book = book_from_arrow(
        pa.table(
            {
                "account": ["a", "b"],
                "isolated": flags,
                "open_orders": flags,
                "holdings": pa.ListArray.from_arrays([0, 1, 2], held),
            }
        )
    )
    # two longs of one contract are no hedge
    assert evaluate_book(book, MARKET, rules()).reason.tolist() == [Reason.DUPLICATE, Reason.NULL]


@pytest.mark.parametrize(
    ("holdings", "why"),
    [
        ([[1.0]], "holdings: must be a list of structs"),
        ([[held_of([1.0])]], r"holdings\.positions: must be a list of structs"),
        ([[{**held_of([LEG]), "amount": "9000"}]], r"holdings\.amount: must be a column of numbers"),
        ([[{**held_of([LEG]), "asset": 5}]], r"holdings\.asset: must be a column of text"),
        ([[{**held_of([LEG]), "use_as_collateral": None}]], r"holdings\.use_as_collateral: must be a column of true"),
        ([[{**held_of([LEG]), "positions": None}]], r"holdings\.positions: must be a list column without nulls"),
        ([None], "holdings: must be a list column without nulls"),
        ([[{**held_of([{**LEG, "quantity": True}])}]], r"holdings\.positions\.quantity: must be a column of numbers"),
    ],
)
def test_columns_of_another_type_are_one_clear_error(holdings: list[Any], why: str) -> None:
    pa = pytest.importorskip("pyarrow")
    with pytest.raises(AccountError, match=why):
        book_from_arrow(nested(pa, pa.array(holdings)))


def test_columns_of_nulls_are_unknown_rows() -> None:
    pa = pytest.importorskip("pyarrow")
    for name, reason in (
        ("symbol", Reason.NULL),
        ("quantity", Reason.NOT_FINITE),
        ("entry_price", Reason.NOT_FINITE),
        ("leverage", Reason.LEVERAGE_MISSING),
    ):
        kind = pa.string() if name == "symbol" else pa.null()
        legs = pa.array([{**LEG, name: None}])
        legs = pa.StructArray.from_arrays(
            [pa.nulls(1, kind) if own == name else legs.field(own) for own in LEG], names=list(LEG)
        )
        held = pa.StructArray.from_arrays(
            [*pa.array([held_of([])]).flatten()[:4], pa.ListArray.from_arrays([0, 1], legs)],
            names=["asset", "amount", "bonus_credit", "use_as_collateral", "positions"],
        )
        book = book_from_arrow(nested(pa, pa.ListArray.from_arrays([0, 1], held)))
        assert evaluate_book(book, MARKET, rules()).reason.tolist() == [reason]


def test_decimals_and_views_of_text_are_taken_as_they_are() -> None:
    pa = pytest.importorskip("pyarrow")
    legs = pa.StructArray.from_arrays(
        [
            pa.array([BTC]).cast(pa.string_view()),
            pa.array([Decimal("1.50")]),
            pa.array([60000]),
            pa.array([10.0], pa.float32()),
        ],
        names=list(LEG),
    )
    held = pa.StructArray.from_arrays(
        [*pa.array([held_of([])]).flatten()[:4], pa.ListArray.from_arrays([0, 1], legs)],
        names=["asset", "amount", "bonus_credit", "use_as_collateral", "positions"],
    )
    book = book_from_arrow(nested(pa, pa.ListArray.from_arrays([0, 1], held)))
    assert (book.instruments, book.quantity.tolist(), book.entry_price.tolist()) == ((BTC,), [1.5], [60000])


def test_an_account_that_is_no_place_among_the_names() -> None:
    book = Book.from_accounts([LONG])
    for number in (-1, 1):
        with pytest.raises(AccountError, match="account: must be places in account_ids"):
            replace(book, account=np.array([number]))


FLAT_BALANCES = {
    "account": ["b", "a", "a"],
    "asset": ["USDT", "USDT", "BTC"],
    "wallet_balance": [10.0, 5000.0, 1.0],
}
FLAT_POSITIONS: dict[str, list[Any]] = {
    "account": ["a", "b", "a"],
    "symbol": [BTC, ETH, ETH],
    "quantity": [1.0, -2.0, 1.0],
    "entry_price": [60000.0, 2900.0, 3000.0],
    "leverage": [10.0, 5.0, None],
    "margin_mode": ["cross", "isolated", "cross"],
    "isolated_margin": [None, 700.0, None],
}


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_flat_frames_of_every_library(library: str) -> None:
    module = pytest.importorskip(library)
    make = module.table if library == "pyarrow" else module.DataFrame
    book = book_from_frames(make(FLAT_BALANCES), make(FLAT_POSITIONS))
    report = evaluate_book(book, MARKET, rules())
    assert book.account_ids is not None
    by_account = {
        (book.account_ids[number], bool(isolated)): equity
        for number, isolated, equity in zip(report.account, report.isolated, report.equity, strict=True)
    }
    # a: 5,000 - 2,000 + 0 and one BTC at 58,000
    assert by_account == {("a", False): 61000, ("b", False): 10, ("b", True): 500}


def test_flat_frames_with_wrong_columns() -> None:
    pa = pytest.importorskip("pyarrow")
    positions = pa.table(FLAT_POSITIONS)
    with pytest.raises(AccountError, match="levarage: is not a known column"):
        book_from_frames(pa.table(FLAT_BALANCES), positions.rename_columns({"leverage": "levarage"}))
    with pytest.raises(AccountError, match="stand twice"):
        book_from_frames(pa.table({**FLAT_BALANCES, "account": ["a", "a", "b"]}), positions)
    with pytest.raises(AccountError, match="quantity: must be a column of numbers"):
        book_from_frames(pa.table(FLAT_BALANCES), pa.table({**FLAT_POSITIONS, "quantity": ["1", "2", "3"]}))
    with pytest.raises(AccountError, match="must be a unified symbol"):
        book_from_frames(pa.table(FLAT_BALANCES), pa.table({**FLAT_POSITIONS, "symbol": ["BTCUSDT", ETH, ETH]}))


def test_results_as_arrow() -> None:
    table_ = evaluate_book(Book.from_accounts([LONG]), MARKET, rules()).to_arrow()
    assert table_.column("headroom").to_pylist() == [2760]
    assert "position_maintenance_margin" in table_.column_names  # as many positions as pools here
    assert (
        stress_book(Book.from_accounts([LONG, POCKET]), MARKET, rules(), [Scenario(name="fall", others="-0.5")])
        .to_arrow()
        .num_rows
        == 3
    )


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match=r"crossmargin\[book\]"):
        interchange.arrow()


# the made-up book ---------------------------------------------------------------------------------------------------


def donor(profile: str = "binance-usdm") -> Rules:
    return cm.load_profile(profile).on(MARKET.as_of)


def test_the_made_up_book_is_the_same_for_the_same_seed_and_shaped_like_a_venues() -> None:
    one, two = (synthetic_book(donor(), pools=20_000, seed=3, donors=[donor("binance-coinm")]) for _ in range(2))
    assert one.book.equals(two.book)
    assert one.prices.mark_price.tobytes() == two.prices.mark_price.tobytes()
    book = one.book
    per_purse = np.diff(book.position_start[book.holding_start])
    assert 4.5 < per_purse.mean() < 5.5
    assert per_purse.max() >= 450
    assert 0.13 < book.isolated.mean() < 0.17
    runner = Runner(book, one.rules)
    assert runner.tables.inverse.sum() == 19
    state = runner.state(one.prices)
    assert set(state.reason.tolist()) == {Reason.NONE}
    assert 0 < (state.status == Status.LIQUIDATION).mean() < 0.3
    with pytest.raises(ProfileError, match="no linear maintenance table"):
        synthetic_book(cm.load_profile("plain-cross").on(MARKET.as_of), pools=1)


def test_one_account_never_loads_the_compiler() -> None:
    code = (
        "import sys, crossmargin as cm\n"
        "from crossmargin.analytics.questions import evaluate, threshold\n"
        "case = cm.load('examples/article-3.1.toml'); evaluate(*case); threshold(*case)\n"
        "print([m for m in ('numpy', 'numba', 'pyarrow', 'pandas') if m in sys.modules])"
    )
    root = Path(__file__).parents[2]
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert found.stdout.strip() == "[]"
