"""Liquidations worked by hand, one kind of step after another, and those of other engines' own tests."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any, get_args

import pytest

import crossmargin as cm
from crossmargin.engine import formulas
from crossmargin.engine.liquidation import Liquidated, State, Winner, deleverage, liquidate, next_step
from crossmargin.engine.programme import KINDS
from crossmargin.model.profile import Rules
from crossmargin.model.programme import Liquidation, LiquidationStep

D = Decimal
BTC, ETH = "BTC/USDT:USDT", "ETH/USDT:USDT"
FIVE = [{"notional_floor": "0", "maintenance_rate": "0.05"}]
LADDER = [
    {"notional_floor": "0", "maintenance_rate": "0.01"},
    {"notional_floor": "10000", "maintenance_rate": "0.02"},  # deduction 100
    {"notional_floor": "20000", "maintenance_rate": "0.03"},  # deduction 300
]


def position(symbol: str, quantity: str, entry: str, **more: str) -> dict[str, str]:
    return {"symbol": symbol, "quantity": quantity, "entry_price": entry, "leverage": "10", **more}


def account(
    profile: str,
    balances: dict[str, Any],
    positions: list[dict[str, str]],
    marks: dict[str, str],
    *,
    brackets: list[dict[str, str]] | None = None,
    index: dict[str, str] | None = None,
    **more: Any,
) -> Any:
    given = {
        "profile": profile,
        "as_of": "2026-11-20T00:00:00Z",
        "balances": balances,
        "positions": positions,
        "market": {"mark_price": marks, "index_price": index or {}},
        **more,
    }
    if brackets is not None:
        given["instruments"] = [{"symbol": symbol, "brackets": brackets} for symbol in marks]
    return cm.case_from(given, "hand")


def under(rules: Rules, *programme: dict[str, Any], fee: str = "0", remainder: str = "insurance_fund") -> Rules:
    own = Liquidation.model_validate(
        {"source": "hand", "programme": programme, "liquidation_fee": fee, "remainder": remainder}
    )
    return replace(rules, slots=rules.slots.model_copy(update={"liquidation": own}))


def by(case: Any, *programme: dict[str, Any], fee: str = "0", fund: dict[str, D] | None = None) -> Liquidated:
    return liquidate(case.account, case.market, under(case.rules, *programme, fee=fee), insurance_fund=fund)


def wallet(done: Liquidated, asset: str = "USDT") -> D:
    return done.account.balances[asset].wallet_balance


TAKE_OVER = {"step": "take_over"}


# reducing -------------------------------------------------------------------------------------------------------------


def test_one_order_brings_the_pool_above_its_requirement_with_its_fee() -> None:
    # wallet 1000, long 1 at 10,000, mark 9,100: equity 100, maintenance 455. Closing a share s costs 0.3 % of 9,100 s:
    # 100 - 27.3 s = 455 (1 - s)  ->  s = 355 / 427.7 = 0.830021042..., up to the next 1e-8
    done = liquidate(
        *account("binance-usdm", {"USDT": "1000"}, [position(BTC, "1", "10000")], {BTC: "9100"}, brackets=FIVE)
    )
    (step,) = done.steps
    assert step.step == "reduce_to_requirement"
    assert step.entries[0].quantity == D("-0.83002105")
    assert step.fee == D("0.83002105") * D("27.3")
    assert step.realized_pnl == D("0.83002105") * -900
    assert step.equity_after == 100 - step.fee
    assert 0 < step.headroom_after < D("0.00001")
    assert done.account.positions[0].quantity == D("0.16997895")


@pytest.mark.parametrize(
    ("equity", "closed"),
    # 10,000 of value: 4 % to 5,000, 10 % above with a deduction of 300, so it needs 700.
    # 500 are enough for value v with 0.1 v - 300 = 500: 8,000. 150 are enough for 0.04 v = 150: 3,750, a bracket lower.
    [("500", "0.2"), ("150", "0.625")],
)
def test_the_share_is_solved_across_brackets(equity: str, closed: str) -> None:
    table = [
        {"notional_floor": "0", "maintenance_rate": "0.04"},
        {"notional_floor": "5000", "maintenance_rate": "0.1"},
    ]
    case = account("plain-cross", {"USDT": equity}, [position(BTC, "1", "10000")], {BTC: "10000"}, brackets=table)
    step = by(case, {"step": "reduce_to_requirement"}, TAKE_OVER).steps[0]
    # equality is still a liquidation, so one lot more
    assert step.entries[0].quantity == -(D(closed) + D("0.00000001"))


def test_a_fee_above_the_maintenance_rate_makes_reducing_useless_and_the_whole_is_taken_over() -> None:
    # ETH: 0.4 % maintenance, 0.5 % fee: each unit closed frees less than it costs. Equity 25 - 20 = 5, needed 7.92.
    table = [{"notional_floor": "0", "maintenance_rate": "0.004"}]
    done = liquidate(
        *account("binance-usdm", {"USDT": "25"}, [position(ETH, "1", "2000")], {ETH: "1980"}, brackets=table)
    )
    (step,) = done.steps
    assert step.step == "take_over"
    assert step.entries[0].price == 1975  # 1,980 - 5
    assert (step.insurance_fund, wallet(done)) == (5, 0)


def test_a_position_that_is_not_enough_alone_goes_whole_and_the_next_in_part() -> None:
    # long 1 BTC and 1 ETH, both 10,000 and 5 %: equity 300 of 1,000 needed. BTC has lost more: it goes whole
    # (500 left to need, 300 there), then 40 % of ETH: 5 % of 6,000 = 300, and a lot for equality.
    case = account(
        "plain-cross",
        {"USDT": "1400"},
        [position(ETH, "1", "10100"), position(BTC, "1", "11000")],
        {ETH: "10000", BTC: "10000"},
        brackets=FIVE,
    )
    done = by(case, {"step": "reduce_to_requirement"}, TAKE_OVER)
    assert [(s.entries[0].what, s.entries[0].quantity) for s in done.steps] == [(BTC, -1), (ETH, D("-0.40000001"))]


def test_brackets_step_down_one_by_one_or_two_at_a_time() -> None:
    # 3 at 10,000: value 30,000 needs 0.03 x 30,000 - 300 = 600; at 20,000: 300; at 10,000: 100; equity 250
    case = account("plain-cross", {"USDT": "250"}, [position(BTC, "3", "10000")], {BTC: "10000"}, brackets=LADDER)
    one = by(case, {"step": "reduce_by_bracket"}, TAKE_OVER)
    assert [(s.entries[0].quantity, s.headroom_after) for s in one.steps] == [(-1, -50), (-1, 150)]
    two = by(case, {"step": "reduce_by_bracket", "brackets": 2}, TAKE_OVER)
    assert [(s.entries[0].quantity, s.headroom_after) for s in two.steps] == [(-2, 150)]


def test_a_bracket_closed_at_the_bankruptcy_price_leaves_the_difference_to_the_fund() -> None:
    # equity 250 of 30,000: each position may lose 1/120 of its value; 10,000 closed gives 83.33 to the fund
    case = account("plain-cross", {"USDT": "250"}, [position(BTC, "3", "10000")], {BTC: "10000"}, brackets=LADDER)
    step = by(case, {"step": "reduce_by_bracket", "price": "bankruptcy"}, TAKE_OVER).steps[0]
    assert step.insurance_fund.quantize(D("1e-10")) == D("83.3333333333")
    assert step.equity_after.quantize(D("1e-10")) == D("166.6666666667")


@pytest.mark.parametrize(
    ("equity", "steps", "kept"),
    # 2 BTC at 100,000, 40x: maintenance 1.25 % of 200,000 = 2,500; two thirds are 1,666.67
    [
        (2500, [], 2500),  # equality is not below
        (2100, ["reduce_slice"], 2100),  # 160,000 left need 2,000
        (1900, ["reduce_slice", "largest_loss_first"], 1900),  # they need more than 1,900: all of it
        (1600, ["backstop"], 0),
        (0, ["backstop"], 0),
        (-100, ["auto_deleverage"], 0),
    ],
)
def test_hyperliquid_sends_a_fifth_then_all_then_the_backstop(equity: int, steps: list[str], kept: int) -> None:
    coin = "BTC/USDC:USDC"
    case = account("hyperliquid", {"USDC": str(equity)}, [position(coin, "2", "100000")], {coin: "100000"})
    done = liquidate(*case)
    assert [step.step for step in done.steps] == steps
    assert wallet(done, "USDC") == kept
    if "reduce_slice" in steps:
        assert done.steps[0].entries[0].quantity == D("-0.4")
        assert done.steps[0].wait_seconds == 30
    if steps == ["backstop"]:
        assert done.steps[0].insurance_fund == equity
    if equity < 0:
        assert done.steps[0].transfer == 100
        assert done.steps[0].entries[0].price == 100050  # a long closed 50 above the mark: 2 x 50 = 100


def test_a_small_position_at_hyperliquid_is_closed_whole_at_once() -> None:
    coin = "BTC/USDC:USDC"
    case = account("hyperliquid", {"USDC": "1000"}, [position(coin, "1", "100000")], {coin: "100000"})
    assert [step.step for step in liquidate(*case).steps] == ["largest_loss_first"]


def test_the_largest_loss_goes_first_and_no_more_than_needed() -> None:
    # long 1 BTC (lost 500) and short 1 ETH (lost 300), 10,000 each at 5 %: equity 700 of 1,000; without BTC 500
    case = account(
        "plain-cross",
        {"USDT": "1500"},
        [position(ETH, "-1", "9700"), position(BTC, "1", "10500")],
        {ETH: "10000", BTC: "10000"},
        brackets=FIVE,
    )
    done = by(case, {"step": "largest_loss_first"})
    assert [(s.entries[0].what, s.headroom_after) for s in done.steps] == [(BTC, 200)]
    assert [p.symbol for p in done.account.positions] == [ETH]


def test_pro_rata_closes_the_same_share_of_everything() -> None:
    # the same account with equity 700: 5 % of 20,000 (1 - s) = 700 -> s = 0.3
    case = account(
        "plain-cross",
        {"USDT": "1500"},
        [position(ETH, "-1", "9700"), position(BTC, "1", "10500")],
        {ETH: "10000", BTC: "10000"},
        brackets=FIVE,
    )
    (step,) = by(case, {"step": "pro_rata"}).steps
    lot = D("0.00000001")
    assert {entry.what: entry.quantity for entry in step.entries} == {BTC: -(D("0.3") + lot), ETH: D("0.3") + lot}


def test_two_sides_are_offset_without_a_market() -> None:
    # hedge: long 3, short 2, both at 10,000, 5 % a leg: needs 2,500, has 1,000; offset leaves long 1, which needs 500
    legs = [
        position(BTC, "3", "10000", position_side="long"),
        position(BTC, "-2", "9900", position_side="short"),
    ]
    case = account("plain-cross", {"USDT": "1200"}, legs, {BTC: "10000"}, brackets=FIVE)
    (step,) = by(case, {"step": "offset_two_sided"}, TAKE_OVER, fee="0.01").steps
    assert [(e.position_side, e.quantity, e.realized_pnl, e.fee) for e in step.entries] == [
        ("short", 2, -200, 0),
        ("long", -2, 0, 0),
    ]
    assert (step.headroom_before, step.headroom_after) == (-1500, 500)


def test_a_dated_contract_is_offset_against_the_perpetual_where_the_rule_says_coin() -> None:
    dated = "BTC/USDT:USDT-261225"
    case = account(
        "plain-cross",
        {"USDT": "400"},
        [position(BTC, "1", "10000"), position(dated, "-0.4", "10000")],
        {BTC: "10000", dated: "10000"},
        brackets=FIVE,
    )
    assert by(case, {"step": "offset_two_sided"}, TAKE_OVER).steps[0].step == "take_over"
    step = by(case, {"step": "offset_two_sided", "match": "coin"}, TAKE_OVER).steps[0]
    assert sorted(entry.quantity for entry in step.entries) == [D("-0.4"), D("0.4")]
    assert step.headroom_after == 400 - 300


# the bankruptcy price, the fund, other traders ------------------------------------------------------------------------


@pytest.mark.parametrize("mark", ["9030", "9000", "8900"])
def test_whatever_the_mark_a_single_long_is_taken_over_where_its_margin_is_gone(mark: str) -> None:
    # 1,000 behind 1 BTC at 10,000: gone at 9,000; the fund gains or loses the rest
    table = [{"notional_floor": "0", "maintenance_rate": "0.004"}]
    case = account("plain-cross", {"USDT": "1000"}, [position(BTC, "1", "10000")], {BTC: mark}, brackets=table)
    done = by(case, TAKE_OVER)
    (step,) = done.steps
    assert (step.entries[0].price, step.insurance_fund, wallet(done)) == (9000, D(mark) - 9000, 0)


def test_a_cross_pool_loses_the_same_share_of_every_value() -> None:
    # equity 2,100 - 1,000 - 1,000 = 100 of 9,000 + 11,000: half a per cent. Long BTC 8,955, short ETH 1,105.5.
    case = account(
        "plain-cross",
        {"USDT": "2100"},
        [position(BTC, "1", "10000"), position(ETH, "-10", "1000")],
        {BTC: "9000", ETH: "1100"},
        brackets=FIVE,
    )
    done = by(case, {"step": "take_over", "scope": "pool"})
    assert {e.what: (e.price, e.insurance_fund) for e in done.steps[0].entries} == {
        BTC: (8955, 45),
        ETH: (D("1105.5"), 55),
    }
    assert wallet(done) == 0
    one_by_one = by(case, TAKE_OVER)
    prices = {e.what: e.price for step in one_by_one.steps for e in step.entries}
    assert prices == {BTC: 8955, ETH: D("1105.5")}, "one after another they are the same prices"


def test_a_pocket_is_taken_over_at_its_own_bankruptcy_price() -> None:
    coin = "BTC/USD:BTC"
    pocket = position(coin, "-100", "50000", margin_mode="isolated", isolated_margin="0.01")
    case = account("binance-coinm", {"BTC": "5"}, [pocket], {coin: "62000"})
    (step,) = [s for s in liquidate(*case).steps if s.step == "take_over"]
    # 100 contracts of 100 USD: 0.2 BTC at 50,000; a short inverse loses as its value in BTC falls
    value = formulas.isolated_bankruptcy_value(D("0.2"), -1, D("0.01"), D(0))
    assert step.entries[0].price is not None
    assert step.entries[0].price.quantize(D("1e-8")) == (10000 / value).quantize(D("1e-8"))
    assert liquidate(*case).account.balances["BTC"].wallet_balance == 5, "the shared wallet has no part in it"


def test_a_fund_that_is_short_bears_its_part_and_other_traders_the_rest() -> None:
    # bankrupt by 100 at 8,900; a fund of 40 takes 0.4 BTC at 9,000, the other 0.6 are closed against traders there
    case = account("binance-usdm", {"USDT": "1000"}, [position(BTC, "1", "10000")], {BTC: "8900"})
    done = liquidate(*case, insurance_fund={"USDT": D(40)})
    assert [(s.step, s.entries[0].quantity, s.entries[0].price, s.insurance_fund, s.transfer) for s in done.steps] == [
        ("take_over", D("-0.4"), 9000, -40, 0),
        ("auto_deleverage", D("-0.6"), 9000, 0, 60),
    ]
    assert (wallet(done), done.insurance_fund["USDT"]) == (0, 0)


def test_what_a_flat_pool_owes_is_paid_by_the_fund_then_by_traders_then_by_all() -> None:
    # long 100 at 100 with 1,000, closed at 80: 1,000 are missing, 300 of them in the fund
    case = account("plain-cross", {"USDT": "1000"}, [position(BTC, "100", "100")], {BTC: "80"}, brackets=FIVE)
    whole = {"step": "pro_rata", "whole": True}
    done = by(
        case, whole, {"step": "insurance_fund"}, {"step": "auto_deleverage", "ranking": "r"}, fund={"USDT": D(300)}
    )
    assert [(s.step, s.insurance_fund, s.transfer) for s in done.steps] == [
        ("pro_rata", 0, 0),
        ("insurance_fund", -300, 0),
        ("auto_deleverage", 0, 700),
    ]
    without = by(case, whole, {"step": "insurance_fund"}, fund={"USDT": D(300)})
    assert [(s.step, s.transfer) for s in without.steps][-1] == ("socialized_loss", 700)
    assert wallet(done) == wallet(without) == 0


def test_the_queue_takes_only_profitable_positions_of_the_other_side_and_no_more_than_the_size() -> None:
    def winner(name: str, quantity: str, entry: str, equity: str) -> Winner:
        held = cm.Position(symbol=BTC, quantity=D(quantity), entry_price=D(entry))
        return Winner(name, held, D(equity))

    queue = [
        winner("loses", "-1", "70", "100"),
        winner("same side", "1", "60", "100"),
        winner("calm", "-1", "100", "10000"),  # 20/100 x 80/10,000
        winner("bold", "-1", "100", "100"),  # 20/100 x 80/100
    ]
    done = deleverage(D("1.5"), queue, symbol=BTC, price=D(90), mark_price=D(80), contract_size=D(1))
    assert [(d.id, d.quantity, d.realized_pnl, d.given_up) for d in done] == [
        ("bold", 1, 10, 10),
        ("calm", D("0.5"), 5, 5),
    ]
    most = deleverage(D(5), queue, symbol=BTC, price=D(90), mark_price=D(80), contract_size=D(1))
    assert sum(d.quantity for d in most) == 2, "who has no profit is never closed, whatever is missing"


# pockets, orders, when nothing is done --------------------------------------------------------------------------------


def test_what_a_pocket_has_left_goes_back_to_the_wallet_and_what_it_lacks_does_not_come_from_there() -> None:
    pocket = position(BTC, "1", "10000", margin_mode="isolated", isolated_margin="1000")
    for mark, kept, paid in (("9400", 400, 0), ("8900", 0, -100)):
        case = account("plain-isolated", {"USDT": "7000"}, [pocket], {BTC: mark}, brackets=FIVE)
        done = liquidate(*case)
        assert wallet(done) == 7000 + kept
        assert sum(step.insurance_fund for step in done.steps) == paid
        assert not done.account.positions


@pytest.mark.parametrize(("scope", "left"), [("all", []), ("symbol", [ETH])])
def test_orders_are_cancelled_first(scope: str, left: list[str]) -> None:
    orders = [{"symbol": symbol, "quantity": "1", "price": "8000"} for symbol in (BTC, ETH)]
    case = account(
        "plain-cross",
        {"USDT": "400"},
        [position(BTC, "1", "10000")],
        {BTC: "10000", ETH: "9000"},
        brackets=FIVE,
        open_orders=orders,
    )
    done = by(case, {"step": "cancel_orders", "scope": scope}, TAKE_OVER)
    assert done.steps[0].step == "cancel_orders"
    assert [order.symbol for order in done.account.open_orders] == left


def test_a_healthy_pool_is_never_touched_and_a_walk_stops_when_prices_come_back() -> None:
    case = account("plain-cross", {"USDT": "400"}, [position(BTC, "1", "10000")], {BTC: "10000"}, brackets=FIVE)
    rules = under(case.rules, {"step": "reduce_slice", "share": "0.1"}, TAKE_OVER)
    healthy = case.market.model_copy(update={"mark_price": {BTC: D(11000)}})
    assert liquidate(case.account, healthy, rules) == Liquidated((), case.account, {})
    first = next_step(State(case.account), case.market, rules, "account")
    assert first is not None
    step, state = first
    assert (step.step, step.entries[0].quantity) == ("reduce_slice", D("-0.1"))
    assert next_step(state, healthy, rules, "account") is None
    second = next_step(state, case.market, rules, "account")
    assert second is not None
    assert second[0].step == "take_over", "the slice is sent once"


def test_on_the_level_itself_the_trigger_decides() -> None:
    # equity 500 = maintenance 500: the textbook liquidates at equality, Hyperliquid below it
    case = account("plain-cross", {"USDT": "500"}, [position(BTC, "1", "10000")], {BTC: "10000"}, brackets=FIVE)
    assert liquidate(*case).steps
    strict = case.rules.slots.levels.model_copy(update={"trigger": "below"})
    rules = replace(case.rules, slots=case.rules.slots.model_copy(update={"levels": strict}))
    assert not liquidate(case.account, case.market, rules).steps


def test_dust_is_closed_whole() -> None:
    # 1e-18 BTC at 9e10 is worth 9e-8 and needs 3.6e-10; 1e-10 is left, less than a fee, less than a lot can be cut
    case = account(
        "binance-usdm",
        {"USDT": "0.0000000101"},
        [position(BTC, "0.000000000000000001", "100000000000")],
        {BTC: "90000000000"},
    )
    done = liquidate(*case)
    assert [step.step for step in done.steps] == ["take_over"]
    assert not done.account.positions
    assert (done.steps[0].insurance_fund, wallet(done)) == (D("1e-10"), 0)


def test_every_kind_a_programme_may_name_has_its_arithmetic() -> None:
    (union, _) = get_args(LiquidationStep)
    named = [get_args(kind.model_fields["step"].annotation)[0] for kind in get_args(union)]
    assert sorted(named) == sorted(KINDS)


# refusals -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("programme", "words"),
    [
        ([{"step": "hope"}], "step"),
        ([{"step": "cancel_orders", "share": "0.2"}, TAKE_OVER], "not a known key"),
        ([{"step": "cancel_orders"}], "no step that closes everything"),
        ([{"step": "repay", "buffer": "1"}, TAKE_OVER], "less than 1"),
        ([{"step": "reduce_slice", "share": "0"}, TAKE_OVER], "greater than 0"),
        ([{"step": "largest_loss_first", "price": "bankruptcy", "discount": "0.01"}], "discount"),
        ([], "is empty; give at least one"),
    ],
)
def test_a_programme_that_is_not_one_is_refused(programme: list[dict[str, str]], words: str) -> None:
    with pytest.raises(cm.ProfileError, match=words):
        Liquidation(source=("hand",), programme=programme)


def test_without_a_programme_or_a_pool_of_that_name_nothing_is_made_up() -> None:
    case = account("plain-cross", {"USDT": "400"}, [position(BTC, "1", "10000")], {BTC: "10000"}, brackets=FIVE)
    silent = replace(case.rules, slots=case.rules.slots.model_copy(update={"liquidation": None}))
    with pytest.raises(cm.UnsupportedRule, match="no liquidation programme"):
        liquidate(case.account, case.market, silent)
    with pytest.raises(cm.AccountError, match="is not a pool"):
        liquidate(*case, pool_name="BTC")


def test_a_fee_that_no_rule_states_is_a_fault_and_not_zero() -> None:
    case = account("plain-cross", {"USDT": "600"}, [position(BTC, "1", "10000")], {BTC: "9800"}, brackets=FIVE)
    own = Liquidation.model_validate({"source": "hand", "programme": [{"step": "largest_loss_first"}]})
    rules = replace(case.rules, slots=case.rules.slots.model_copy(update={"liquidation": own}))
    with pytest.raises(cm.AccountError, match="taker fee"):
        liquidate(case.account, case.market, rules)


# other engines' own figures -------------------------------------------------------------------------------------------


def test_flox_collateral_is_sold_before_the_insurance_fund_pays() -> None:
    """FLOX-Foundation/flox d2dc5ec, test_collateral_liquidation: 2,000 lost, 1,500 from coins, 500 from the fund."""
    case = account(
        "plain-cross",
        {"BTC": "0.05"},
        [position(ETH, "100", "100")],
        {ETH: "80"},
        brackets=FIVE,
        index={"BTC": "30000"},
    )
    done = liquidate(*case)
    assert [step.step for step in done.steps] == ["pro_rata", "repay", "insurance_fund"]
    sold = done.steps[1].entries[0]
    assert (sold.what, sold.quantity) == ("BTC", D("-0.05"))
    assert done.steps[2].insurance_fund == -500
    assert (wallet(done), wallet(done, "BTC")) == (0, 0)


def test_flox_a_winner_is_closed_at_the_bankruptcy_price() -> None:
    """FLOX-Foundation/flox d2dc5ec, test_adl: the winner's 2,000 are cut by the 1,000 that are missing."""
    case = account("plain-cross", {"USDT": "1000"}, [position(ETH, "100", "100")], {ETH: "80"}, brackets=FIVE)
    done = by(case, {"step": "auto_deleverage", "ranking": "profit"}, TAKE_OVER)
    (step,) = done.steps
    assert (step.step, step.entries[0].price, step.transfer, step.insurance_fund) == ("auto_deleverage", 90, 1000, 0)
    winner = Winner("winner", cm.Position(symbol=ETH, quantity=D(-100), entry_price=D(100)), D(102000))
    (closed,) = deleverage(D(100), [winner], symbol=ETH, price=D(90), mark_price=D(80), contract_size=D(1))
    assert (100000 + closed.realized_pnl, closed.given_up) == (101000, 1000)


JOJO: list[tuple[str, str, str, str, dict[str, str], dict[str, str]]] = [
    # (case, quantity, entry with the opening fee inside, mark, the step, what their test expects)
    ("0", "1", "30015", "20600", {"step": "pro_rata", "whole": "true"}, {"wallet": "-4824.94", "fee": "203.94"}),
    ("1", "1", "30015", "20600", {"step": "reduce_slice", "share": "0.01"}, {"fee": "2.0394", "credit": "-29813.0994"}),
    ("2", "-1", "29997", "39000", {"step": "pro_rata", "whole": "true"}, {"wallet": "-4786.9", "fee": "393.9"}),
    ("3", "-1", "29997", "39000", {"step": "reduce_slice", "share": "0.01"}, {"fee": "3.939", "credit": "29599.161"}),
    ("4", "1", "30015", "19000", {"step": "pro_rata", "whole": "true"}, {"wallet": "-6393.1", "fee": "188.1"}),
]


@pytest.mark.parametrize(("name", "quantity", "entry", "mark", "step", "expected"), JOJO, ids=[row[0] for row in JOJO])
def test_jojo_sells_to_a_liquidator_one_per_cent_off_the_mark(
    name: str, quantity: str, entry: str, mark: str, step: dict[str, str], expected: dict[str, str]
) -> None:
    """JOJOexchange/smart-contract-EVM 019c14b, execute liquidation: 1 % off the mark, 1 % of the price to insurance.

    5,000 of own and 5,000 of lent credit; the threshold of 3 % holds on the value of everything.
    """
    case = account(
        "plain-highest-rate",
        {"USDT": {"wallet_balance": "5000", "bonus_credit": "5000"}},
        [position(BTC, quantity, entry)],
        {BTC: mark},
        brackets=[{"notional_floor": "0", "maintenance_rate": "0.03"}],
    )
    own = {**step, "discount": "0.01"}
    done = by(case, own, {"step": "largest_loss_first"}, {"step": "insurance_fund"}, fee="0.01")
    first = done.steps[0]
    assert first.fee == D(expected["fee"])
    after_first = 5000 + first.entries[0].wallet_change
    if "wallet" in expected:
        assert after_first == D(expected["wallet"])
    else:  # their credit of the position: what its entry stands for, with all PnL and fees booked into it
        remaining = D(quantity) + first.entries[0].quantity
        assert after_first - 5000 - remaining * D(entry) == D(expected["credit"])
    if name == "4":  # what insurance has lost: its fee back, what it paid in, and the credit that was lent
        assert first.fee + done.steps[1].insurance_fund - 5000 == -6205


def test_a_loss_that_counts_as_a_debt_is_repaid_from_the_coins() -> None:
    """Bybit charges an unrealized loss as a borrow, and repays before it reduces.

    1 BTC at 60,000 against a long of 1 BTC that lost 57,000: what is owed holds 4 % of it, 2,280, above the equity of
    60,000 x 0.98 - 57,000 = 1,800. 57,000 / 60,000 = 0.95 BTC pay for it, and 0.05 x 60,000 x 0.98 = 2,940 remain.
    """
    text = {
        "profile": "bybit-uta",
        "as_of": "2026-11-23T08:00:00Z",
        "balances": {"BTC": "1"},
        "positions": [{"symbol": "BTC/USDT:USDT", "quantity": "1", "entry_price": "117000", "leverage": "10"}],
        "market": {"mark_price": {"BTC/USDT:USDT": "60000"}, "index_price": {"BTC": "60000", "USDT": "1"}},
    }
    account, market, rules = cm.case_from(text, "loss")
    assert cm.evaluate(account, market, rules).equity == Decimal(1800)
    walk = cm.liquidate(account, market, rules)
    assert [step.step for step in walk.steps] == ["cancel_orders", "repay"] or [s.step for s in walk.steps] == ["repay"]
    left = walk.account
    assert (left.balances["BTC"].wallet_balance, left.balances["USDT"].wallet_balance) == (
        Decimal("0.05"),
        Decimal(57000),
    )
    after = cm.evaluate(left, market, rules)
    assert after.equity == Decimal(2940) and after.status != "liquidation"
