"""What would have become of this account: histories of two bars worked by hand, and long ones against the judge."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import given as hypothesis_given
from hypothesis import strategies as st
from typer.testing import CliRunner

import crossmargin as cm
from crossmargin.analytics.replay import Replay, Run, entered, replay
from crossmargin.analytics.replay_watch import at_bar
from crossmargin.apps.figures import through_time, to_plotly
from crossmargin.apps.verbs import replay as verb
from crossmargin.files.history import load_bars
from crossmargin.model.history import Bar, bars_from

D = Decimal
BTC, ETH = "BTC/USDT:USDT", "ETH/USDT:USDT"
BRACKETS = [{"notional_floor": "0", "maintenance_rate": "0.05"}]
START = datetime(2026, 1, 1, tzinfo=UTC)


def given(profile: str = "plain-cross", *, quantity: str = "1", wallet: str = "1000", **more: Any) -> Any:
    return cm.case_from(
        {
            "profile": profile,
            "as_of": "2026-11-20T00:00:00Z",
            "balances": {"USDT": wallet},
            "positions": [{"symbol": BTC, "quantity": quantity, "entry_price": "10000", "leverage": "10"}],
            "market": {"mark_price": {BTC: "10000"}},
            "instruments": [{"symbol": s, "brackets": BRACKETS} for s in (BTC, ETH)],
            **more,
        },
        "hand",
    )


def bars(*rows: dict[str, Any], hours: int = 24) -> tuple[Bar, ...]:
    return bars_from({"time": START + timedelta(hours=hours * i), **row} for i, row in enumerate(rows))


def only(case: Any, history: tuple[Bar, ...]) -> Run:
    (run,) = replay(*case, history)
    return run


def near(figure: Decimal | float | None, expected: str) -> bool:
    return figure is not None and abs(D(str(figure)) - D(expected)) < D("1e-6")


# two bars by hand -----------------------------------------------------------------------------------------------------


def test_with_closes_only_every_bar_is_a_gap() -> None:
    # liquidated at 9,000 / 0.95 = 9,473.68; the next price is 9,400, where 1,000 - 600 = 400 is left
    run = only(given(), bars({"BTC": 10000}, {"BTC": 9400}))
    (event,) = run.liquidations
    assert (event.moment, event.time, event.marks) == ("close", START + timedelta(days=1), {BTC: D(9400)})
    assert (event.equity_before, event.equity_after, run.equity_end) == (400, 400, 400)
    assert [step.step for step in event.steps] == ["pro_rata"]


def test_within_a_bar_it_is_filled_at_the_crossing() -> None:
    # the low of 9,300 is beyond 9,473.684211; the market was there on the way: 5 % of it is left
    row = {"BTC": 9800, "BTC@open": 9900, "BTC@high": 9950, "BTC@low": 9300}
    (event,) = only(given(), bars({"BTC": 10000}, row)).liquidations
    assert event.moment == "range"
    assert near(event.marks[BTC], "9473.684211")
    assert near(event.equity_after, "473.684211")


def test_a_gap_is_filled_at_the_open() -> None:
    row = {"BTC": 9800, "BTC@open": 9300, "BTC@high": 9950, "BTC@low": 9200}
    (event,) = only(given(), bars({"BTC": 10000}, row)).liquidations
    assert (event.moment, event.marks, event.equity_after) == ("open", {BTC: D(9300)}, 300)


def test_a_gap_through_bankruptcy_is_paid_by_the_insurance_fund() -> None:
    # at 8,800 the loss is 1,200 of 1,000
    (event,) = only(given(), bars({"BTC": 10000}, {"BTC": 8800})).liquidations
    assert (event.equity_before, event.equity_after) == (-200, 0)
    assert sum(step.insurance_fund for step in event.steps) == -200


def test_a_short_is_marked_at_the_high() -> None:
    # 1,000 + 10,000 - p = 0.05 p  ->  p = 11,000 / 1.05 = 10,476.190476
    low = {"BTC": 10000, "BTC@high": 10400, "BTC@low": 8000}
    assert only(given(quantity="-1"), bars({"BTC": 10000}, low)).liquidated is None
    high = {"BTC": 10000, "BTC@high": 10500, "BTC@low": 8000}
    (event,) = only(given(quantity="-1"), bars({"BTC": 10000}, high)).liquidations
    assert near(event.marks[BTC], "10476.190476")


def test_long_and_short_are_marked_at_their_own_ends() -> None:
    # long 1 BTC and short 10 ETH, 1,000 each way at 10,000 and 1,000. BTC -3 %, ETH +3 %: 1,000 - 600 = 400, required
    # 5 % of 9,700 + 10,300 = 1,000: liquidated. Both at the same end they lose nothing.
    positions = [
        {"symbol": BTC, "quantity": "1", "entry_price": "10000"},
        {"symbol": ETH, "quantity": "-10", "entry_price": "1000"},
    ]
    case = given(wallet="1300", positions=positions, market={"mark_price": {BTC: "10000", ETH: "1000"}})
    quiet = {"BTC": 10000, "ETH": 1000}
    wide = {**quiet, "BTC@high": 10300, "BTC@low": 9700, "ETH@high": 1030, "ETH@low": 970}
    (event,) = only(case, bars(quiet, wide)).liquidations
    # on the straight way: 1,300 - 20,000 s = 1,000  ->  s = 0.015
    assert near(event.marks[BTC], "9850")
    assert near(event.marks[ETH], "1015")
    together = {"BTC": 9700, "ETH": 970}
    assert only(case, bars(quiet, together)).liquidated is None


def test_isolated_breaks_where_cross_is_carried_by_the_other_position() -> None:
    # BTC falls by 15 %, ETH rises by 30 %. Isolated at 10x, the BTC pocket of 1,000 has lost 1,500: gone. Cross:
    # 2,500 - 1,500 + 1,500 = 2,500 against 5 % of 8,500 + 6,500 = 750.
    positions = [
        {"symbol": BTC, "quantity": "1", "entry_price": "10000", "leverage": "10"},
        {"symbol": ETH, "quantity": "5", "entry_price": "1000", "leverage": "10"},
    ]
    market = {"mark_price": {BTC: "10000", ETH: "1000"}}
    case = given("plain-isolated", wallet="2500", positions=positions, market=market)
    history = bars({"BTC": 10000, "ETH": 1000}, {"BTC": 8500, "ETH": 1300})
    cross, isolated = replay(*case, history, modes=("cross", "isolated"))
    assert (cross.liquidated, cross.equity_end, cross.lowest_headroom) == (None, 2500, 1750)
    (event,) = isolated.liquidations
    assert (event.pool, event.equity_before, event.equity_after) == (f"{BTC} isolated", -500, 0)
    # the wallet of 1,000 and the ETH pocket of 500 with its gain of 1,500 are whole
    assert isolated.equity_end == 3000


# funding --------------------------------------------------------------------------------------------------------------


def test_funding_is_paid_exactly_once_an_interval() -> None:
    # 24 hours, payments at 0, 8 and 16 o'clock of 0.01 % of 10,000; the bar of the start pays nothing
    rows = [{"BTC": 10000, "BTC@funding": 0.0001 if hour % 8 == 0 else None} for hour in range(25)]
    hourly = only(given(), bars(*rows, hours=1))
    daily = only(given(), bars({"BTC": 10000}, {"BTC": 10000, "BTC@funding": "0.0003"}))
    assert hourly.funding_paid == daily.funding_paid == {"USDT": D(3)}
    assert (hourly.equity_end, hourly.points[-1].funding) == (997, 3)
    assert hourly.notes == ()


def test_funding_of_an_isolated_position_leaves_its_pocket_and_can_break_it() -> None:
    # a pocket of 510 stands 10 above its requirement of 500: the second payment of 10 x 1 brings it to the level
    position = {"symbol": BTC, "quantity": "1", "entry_price": "10000", "margin_mode": "isolated"}
    case = given("plain-isolated", positions=[{**position, "isolated_margin": "510"}])
    row = {"BTC": 10000, "BTC@funding": 0.0005}
    run = only(case, bars(row, row, row, row))
    (event,) = run.liquidations
    assert (event.time, event.equity_before) == (START + timedelta(days=2), 500)
    assert run.funding_paid == {"USDT": D(10)}


def test_the_venue_pays_a_short() -> None:
    run = only(given(quantity="-1"), bars({"BTC": 10000}, {"BTC": 10100, "BTC@funding": 0.0002}))
    assert run.funding_paid == {"USDT": D("-2.02")}


def test_funding_that_is_not_in_the_history_is_said_and_not_zero() -> None:
    run = only(given(), bars({"BTC": 10000}, {"BTC": 10001}))
    assert run.notes == (f"funding of {BTC} is not in the history: none was charged",)


@pytest.mark.parametrize("profile", ["plain-cross", "binance-usdm", "bybit-uta"])
def test_constant_prices_change_nothing_but_funding(profile: str) -> None:
    case = given(profile, market={"mark_price": {BTC: "10000"}, "index_price": {"USDT": "1"}})
    row = {"BTC": 10000, "BTC@open": 10000, "BTC@high": 10000, "BTC@low": 10000}
    still = only(case, bars(*[row] * 20))
    assert len({(p.equity, p.headroom, p.initial_margin) for p in still.points}) == 1
    paying = only(case, bars(*[{**row, "BTC@funding": 0.0001}] * 20))
    assert [p.initial_margin for p in paying.points] == [p.initial_margin for p in still.points]
    assert paying.funding_paid == {"USDT": D(19)}
    assert near((still.equity_end or 0) - (paying.equity_end or 0), "19")


# against the judge ----------------------------------------------------------------------------------------------------

UNIFIED = {
    "profile": "bybit-uta",
    "as_of": "2026-11-20T00:00:00Z",
    "balances": {"USDT": "20000", "BTC": "1", "ETH": "-2"},
    "positions": [
        {"symbol": BTC, "quantity": "3", "entry_price": "60000", "leverage": "10"},
        {"symbol": ETH, "quantity": "-20", "entry_price": "3000", "leverage": "10"},
        {"symbol": "BTC/USD:BTC", "quantity": "-50000", "entry_price": "60000", "leverage": "5"},
    ],
    "instruments": [
        {"symbol": symbol, "contract_size": "1", "brackets": BRACKETS} for symbol in (BTC, ETH, "BTC/USD:BTC")
    ],
    "market": {
        "mark_price": {BTC: "60000", ETH: "3000", "BTC/USD:BTC": "60000"},
        "index_price": {"BTC": "60000", "ETH": "3000", "USDT": "1"},
    },
}


@pytest.mark.parametrize("profile", ["bybit-uta", "binance-usdm", "plain-cross"])
@hypothesis_given(
    moves=st.lists(
        st.tuples(st.integers(-400, 400), st.integers(-400, 400), st.integers(-30, 30)), min_size=1, max_size=8
    )
)
def test_every_close_is_what_the_judge_says_of_the_account_as_it_stands(profile: str, moves: list[Any]) -> None:
    case = cm.case_from(UNIFIED, "unified") if profile == "bybit-uta" else given(profile, wallet="3000")
    own = Replay(*case)
    btc, eth = (D(60000), D(3000)) if profile == "bybit-uta" else (D(10000), D(3000))
    for index, (up, other, rate) in enumerate([(0, 0, 0), *moves]):
        btc, eth = round(btc * (1 + D(up) / 4000), 2), round(eth * (1 + D(other) / 4000), 2)
        row = {"BTC": btc, "ETH": eth, "BTC@funding": D(rate) / 10000, "ETH@funding": D(rate) / 20000}
        point = own.step(bars_from([{"time": START + timedelta(hours=index), **row}])[0])
        told = cm.evaluate(own.account, own.market, case[2], explain=False)
        for name in ("equity", "headroom", "initial_margin"):
            figure, exact = getattr(point, name), getattr(told, name)
            assert exact is not None
            assert abs(D(figure) - exact) <= D("1e-9") * (abs(exact) + 100000)
        assert told.status != "liquidation"


def test_at_the_bar_that_breaks_it_the_cascade_is_the_same() -> None:
    """The threshold, the steps and what is left are those of the question asked before the bar."""
    case = given("binance-usdm", wallet="1500", quantity="2")
    row = {"BTC": 9000, "BTC@open": 10000, "BTC@high": 10000, "BTC@low": 9000}
    event, *later = only(case, bars({"BTC": 10000}, row)).liquidations
    asked = cm.cascade(*case, direction={"BTC": D(1)})
    assert near(event.marks[BTC], str(round(asked.prices[0].at_threshold, 9)))
    assert [s.step for s in event.steps] == [s.step for s in asked.steps]
    assert near(event.equity_after, str(round(asked.equity_after or D(0), 9)))
    # the venue cuts the position on all the way down, and never finds it without equity
    sizes = [event.equity_after, *(e.equity_after for e in later)]
    assert len(later) == 8
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] > 0


@hypothesis_given(path=st.lists(st.integers(9000, 11000), min_size=2, max_size=8))
def test_a_bar_that_repeats_a_price_changes_nothing(path: list[int]) -> None:
    once = only(given(), bars(*({"BTC": price} for price in path)))
    twice = only(given(), bars(*({"BTC": price} for price in path for _ in range(2))))
    assert [p.equity for p in twice.points[::2]] == [p.equity for p in once.points]
    assert [e.marks for e in twice.liquidations] == [e.marks for e in once.liquidations]
    # an account is broken at the first close at or below 9,000 / 0.95, and at none before
    below = [index for index, price in enumerate(path) if price * D("0.95") <= 9000]
    assert once.liquidated == (START + timedelta(days=below[0]) if below else None)


def test_at_the_level_to_the_last_digit_the_exact_judge_decides() -> None:
    # 9,000 / 0.95 is no decimal: the price of 18 digits below it is liquidated, the one above it stands
    level = D("9473.684210526315789473")
    assert only(given(), bars({"BTC": 10000}, {"BTC": level})).liquidated is not None
    assert only(given(), bars({"BTC": 10000}, {"BTC": level + D("1e-18")})).liquidated is None


# the hook of a back-tester --------------------------------------------------------------------------------------------


def test_a_back_tester_asks_opens_and_is_liquidated() -> None:
    account, market, rules = given(wallet="1000", positions=[])
    own = Replay(account, market, rules)
    first, second, third = bars({"BTC": 10000}, {"BTC": 9900}, {"BTC": 9000})
    own.step(first)
    order = cm.Order(symbol=BTC, quantity="1", leverage="10", fee_rate="0")
    assert own.may_open(order).verdict == "accepted"
    too_much = cm.Order(symbol=BTC, quantity="1.1", leverage="10", fee_rate="0")
    answer = own.may_open(too_much)
    assert (answer.verdict, len(answer.reasons)) == ("refused", 1)
    own.open(order)
    assert own.account.positions[0].entry_price == 10000
    assert own.step(second).equity == 900
    assert own.liquidated is None
    own.step(third)
    assert own.liquidated == third.time
    assert own.account.positions == ()
    assert own.account.balances["USDT"].wallet_balance == 0


def test_positions_can_be_entered_at_the_first_bar() -> None:
    account, market, rules = given(wallet="10000")
    history = bars({"BTC": 40000}, {"BTC": 40100})
    assert only((entered(account, history[0]), market, rules), history).equity_end == 10100


def test_the_figure_marks_the_liquidation() -> None:
    runs = replay(*given(), bars({"BTC": 10000}, {"BTC": 9900}, {"BTC": 9400}))
    equity, headroom = through_time(runs)
    line, cross = equity["data"]
    assert (line["y"], cross["y"]) == ([1000, 900, 400], (400,))
    assert cross["x"] == ((START + timedelta(days=2)).isoformat(),)
    assert headroom["data"][0]["y"] == [500, 405, 400]
    to_plotly(equity)


def test_bid_and_ask_move_with_their_coin() -> None:
    """What is held at a bid 1 % under the index stays 1 % under it; without the old index it is not known any more."""
    account, market, _ = given()
    rates = {"bid_rate": {"BTC": D(9900), "USDC": D("0.999")}, "last_price": {BTC: D(10000)}}
    priced = market.model_copy(update={**rates, "index_price": {"BTC": D(10000)}})
    moved = at_bar(account, priced, START, {"BTC": D(20000)})
    assert (moved.bid_rate, moved.last_price) == ({"BTC": D(19800), "USDC": D("0.999")}, {})
    assert (moved.mark_price, moved.index_price) == ({BTC: D(20000)}, {"BTC": D(20000)})
    unpriced = at_bar(account, market.model_copy(update=rates), START, {"BTC": D(20000)})
    assert unpriced.bid_rate == {"USDC": D("0.999")}


# what is wrong with a history -----------------------------------------------------------------------------------------


def test_every_fault_of_a_history_at_once() -> None:
    rows = [
        {"time": "2026-01-02", "BTC": "10000", "BTC@low": 10001},
        {"time": "2026-01-01", "BTC": float("nan"), "BTC@best": 1},
        {"time": "yesterday", "BTC": 0, "ETH@high": 1, "BTC@funding": 2},
    ]
    with pytest.raises(cm.MarketDataError) as caught:
        bars_from(rows)
    assert [fault.path for fault in caught.value.faults] == [
        "bars[0].BTC@low",
        "bars[1].BTC",
        "bars[1].BTC@best",
        "bars[1].time",
        "bars[1]",
        "bars[2].time",
        "bars[2].BTC",
        "bars[2].BTC@funding",
        "bars[2].ETH@high",
        "bars[2].time",
    ]
    with pytest.raises(cm.MarketDataError):
        bars_from([])


def test_every_coin_that_is_held_and_not_in_the_history_is_named() -> None:
    with pytest.raises(cm.MarketDataError) as caught:
        replay(*cm.case_from(UNIFIED, "unified"), bars({"SOL": 100}))
    assert {fault.path for fault in caught.value.faults} == {"BTC", "ETH"}


def test_bars_go_forward_only() -> None:
    own = Replay(*given())
    (bar,) = bars({"BTC": 10000})
    own.step(bar)
    with pytest.raises(cm.MarketDataError):
        own.step(bar)


def test_rules_that_cannot_take_the_account_make_a_run_with_reasons() -> None:
    positions = [{"symbol": "XYZ/USDT:USDT", "quantity": "1", "entry_price": "100", "leverage": "10"}]
    instruments = [{"symbol": "XYZ/USDT:USDT", "brackets": BRACKETS}]
    case = given(positions=positions, instruments=instruments, market={"mark_price": {"XYZ/USDT:USDT": "100"}})
    venue = cm.load_profile("binance-usdm").revisions[-1]
    own, there = replay(*case, bars({"XYZ": 100}, {"XYZ": 101}), others=[venue])
    assert (own.equity_end, own.reasons) == (1001, ())
    assert (there.bars, there.equity_end) == (0, None)
    assert "no maintenance table" in there.reasons[0]


def test_csv_and_parquet_are_the_same_history(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    text = "time,BTC,BTC@funding\n2026-01-01T00:00:00Z,10000.5,\n2026-01-01T08:00:00Z,10001,0.0001\n"
    (tmp_path / "h.csv").write_text(text)
    times = [datetime(2026, 1, 1, hour, tzinfo=UTC) for hour in (0, 8)]
    table = pa.table({"time": times, "BTC": [10000.5, 10001.0], "BTC@funding": [None, 0.0001]})
    parquet.write_table(table, tmp_path / "h.parquet")
    assert load_bars(str(tmp_path / "h.csv")) == load_bars(str(tmp_path / "h.parquet"))
    assert load_bars(str(tmp_path / "h.csv"))[1].funding_rate == {"BTC": D("0.0001")}


def test_the_verb(tmp_path: Path) -> None:
    app = typer.Typer()
    verb.register(app)
    (tmp_path / "h.csv").write_text("date,BTC,ETH\n2026-01-01,100000,4000\n2026-01-02,84000,3900\n")
    words = ["examples/article-2.1-isolated.toml", str(tmp_path / "h.csv"), "--mode", "cross", "--mode", "as_held"]
    done = CliRunner().invoke(app, [*words, "--json"])
    assert done.exit_code == 4
    cross, held = json.loads(done.stdout)["runs"]
    # 0.05 BTC lose 800 of a pocket of 700; the pool of 2,000 has 2,000 - 800 - 100 left
    assert (cross["liquidated"], cross["equity_end"]) == (None, 1100)
    assert held["liquidations"][0]["equity_before"] == "-100"
    shown = CliRunner().invoke(app, words)
    assert "never" in shown.stdout
    assert "84,000" in shown.stdout
