"""What happens when it breaks: worked by hand from the present prices to what the owner keeps."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

import crossmargin as cm
from crossmargin.analytics.cascade import cascade, cascades
from crossmargin.apps.verbs import cascade as verb

D = Decimal
BTC, ETH = "BTC/USDT:USDT", "ETH/USDT:USDT"
BRACKETS = [{"notional_floor": "0", "maintenance_rate": "0.05"}]


def given(profile: str = "plain-cross", *, quantity: str = "1", wallet: str = "1000", **more: Any) -> Any:
    return cm.case_from(
        {
            "profile": profile,
            "as_of": "2026-11-20T00:00:00Z",
            "balances": {"USDT": wallet},
            "positions": [{"symbol": BTC, "quantity": quantity, "entry_price": "10000", "leverage": "10"}],
            "market": {"mark_price": {BTC: "10000"}},
            "instruments": [{"symbol": BTC, "brackets": BRACKETS}],
            **more,
        },
        "hand",
    )


def near(figure: Decimal | None, expected: str) -> bool:
    return figure is not None and abs(figure - D(expected)) < D("1e-6")


def test_at_the_threshold_the_owner_keeps_the_maintenance_margin() -> None:
    # 1,000 + p - 10,000 = 0.05 p  ->  p = 9,000 / 0.95 = 9,473.684211, and 5 % of it is left
    found = cascade(*given())
    assert (found.kind, found.direction, found.gap) == ("price", "all coins together, down", 0)
    assert near(found.prices[0].at_threshold, "9473.684211")
    assert found.prices[0].filled == found.prices[0].at_threshold
    assert [step.step for step in found.steps] == ["pro_rata"]
    assert near(found.equity_after, "473.684211")
    assert (found.equity_now, found.status, found.positions) == (1000, "healthy", ())


def test_a_gap_is_filled_where_the_market_is_and_not_at_the_threshold() -> None:
    # 10 % below 9,473.684211: 8,526.315789; the loss of 1,473.684211 is 473.684211 more than there was
    found = cascade(*given(), gap=D("-0.10"))
    assert near(found.prices[0].filled, "8526.315789")
    assert near(found.steps[0].realized_pnl, "-1473.684211")
    assert near(found.bills[0].insurance_fund, "-473.684211")
    assert found.equity_after == 0
    without = cascade(*given(), gap=D("-0.10"), insurance_fund={"USDT": D(400)})
    assert near(without.bills[0].insurance_fund, "-400")
    assert near(without.bills[0].deleveraged, "73.684211")


def test_nothing_of_it_is_the_owners_gain() -> None:
    """What the account loses is what the others got: equity falls by losses and fees, and never below nothing."""
    for gap in ("0", "-0.01", "-0.03", "-0.2"):
        found = cascade(*given("binance-usdm"), gap=D(gap))
        assert found.equity_now is not None
        assert found.equity_after is not None
        assert 0 <= found.equity_after <= found.equity_now
        (bill,) = found.bills
        left_open = sum((p.quantity for p in found.positions), D(0))
        unrealized = left_open * (found.prices[0].filled - 10000)
        gone = bill.realized_pnl + unrealized - bill.fee - bill.insurance_fund + bill.deleveraged
        assert found.equity_after - found.equity_now == gone


def test_a_short_breaks_upward_and_never_downward() -> None:
    # -1 at 10,000: 1,000 - (p - 10,000) = 0.05 p  ->  p = 11,000 / 1.05 = 10,476.190476
    short = given(quantity="-1")
    up = cascade(*short, side="up")
    assert near(up.prices[0].at_threshold, "10476.190476")
    down = cascade(*short)
    assert (down.kind, down.steps, down.bills, down.prices) == ("never", (), (), ())
    assert down.equity_after == 1000


def test_an_account_that_is_broken_is_walked_where_it_stands() -> None:
    found = cascade(*given(wallet="400"))
    assert (found.kind, found.distance, len(found.steps)) == ("already", 0, 1)
    assert found.prices[0].at_threshold == 10000


def test_one_coin_alone_and_a_market_of_ones_own() -> None:
    case = given(
        positions=[
            {"symbol": BTC, "quantity": "1", "entry_price": "10000"},
            {"symbol": ETH, "quantity": "1", "entry_price": "100"},
        ],
        market={"mark_price": {BTC: "10000", ETH: "100"}},
        instruments=[{"symbol": BTC, "brackets": BRACKETS}, {"symbol": ETH, "brackets": BRACKETS}],
    )
    alone = cascade(*case, direction={"BTC": D(1)})
    # ETH stands still and needs its 5: 1,000 + p - 10,000 = 0.05 p + 5
    assert near(alone.prices[0].at_threshold, "9478.947368")
    assert alone.prices[1].at_threshold == 100
    low = case.market.model_copy(update={"mark_price": {BTC: D(9000), ETH: D(100)}})
    there = cascade(*case, at=low)
    assert there.direction == "the market given"
    assert there.prices[0].filled == 9000
    assert there.equity_after == 0
    fine = cascade(*case, at=case.market)
    assert fine.steps == ()
    assert "no step is taken" in fine.notes[0]


def test_several_sets_of_rules_side_by_side() -> None:
    case = given()
    other = cm.load_profile("binance-usdm").on(case.market.as_of)
    binance = other.with_overrides((cm.InstrumentRule.model_validate({"symbol": BTC, "brackets": BRACKETS}),), ())
    both = cascades(case.account, case.market, [case.rules, binance], gap=D("-0.03"))
    assert [one.profile for one in both] == ["plain-cross", "binance-usdm"]
    assert [one.steps[0].step for one in both] == ["pro_rata", "reduce_to_requirement"]
    assert both[0].prices == both[1].prices, "the same maintenance table, the same threshold"


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"gap": D("0.1")}, "goes back"),
        ({"gap": D("-0.1"), "side": "up"}, "goes back"),
        ({"gap": D(-1)}, "at 0 or below"),
        ({"direction": {"DOGE": D(1)}}, "DOGE"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(asked: dict[str, Any], words: str) -> None:
    with pytest.raises(cm.AccountError, match=words):
        cascade(*given(), **asked)


def test_bonus_credit_and_assumed_rules_are_named() -> None:
    found = cascade(*given("binance-usdm", balances={"USDT": {"wallet_balance": "900", "bonus_credit": "100"}}))
    assert any("bonus credit of 100 USDT" in note for note in found.notes)
    assert any(note.startswith("assumed, not documented") for note in found.notes)


def test_the_command_prints_the_steps_and_the_same_figures_as_json() -> None:
    app = typer.Typer()
    verb.register(app)
    file = "examples/binance-two-positions.toml"
    run = CliRunner().invoke(app, ["examples/article-2.1-cross.toml", "--gap", "-0.02", "--with", "binance-usdm"])
    assert run.exit_code == 0
    for words in (
        "plain-cross (all coins",
        "binance-usdm (all coins",
        "Steps",
        "What is left",
        "assumed, not documented",
    ):
        assert words in run.output
    text = CliRunner().invoke(app, [file, "--gap", "-0.05", "--json", "--fund", "USDT=1000"])
    assert text.exit_code == 0
    (one,) = json.loads(text.output)["cascades"]
    expected = cascade(*cm.load(file), gap=D("-0.05"), insurance_fund={"USDT": D(1000)})
    assert one == json.loads(cm.to_json(expected))
    assert one["bills"][0]["currency"] == "USDT"


def test_an_absurd_loss_is_walked_like_any_other() -> None:
    """1e20 - 1 contracts bought at 90,000 and now at 88,000: 2,000 each are lost, 24 digits before the point."""
    market = {"mark_price": {"BTC/USDT:USDT": "88000"}, "index_price": {"USDT": "1"}}
    size = "9" * 20
    position = {"symbol": "BTC/USDT:USDT", "quantity": size, "entry_price": "90000", "leverage": "10"}
    raw = {"profile": "bybit-uta", "as_of": "2026-11-23", "balances": {"USDT": "6"}, "positions": [position]}
    found = cascade(*cm.case_from({**raw, "market": market}, "absurd"))
    assert found.kind == "already"
    assert found.equity_now == D(6) - 2000 * D(size)
