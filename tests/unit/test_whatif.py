"""What-if: fills at their own price, on the position that results, with the venue's refusals."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import crossmargin as cm
from crossmargin.analytics.whatif import WhatIf, apply_changes, whatif
from crossmargin.errors import AccountError, MarketDataError
from crossmargin.model.change import (
    ChangeRules,
    Close,
    Deposit,
    MovePrice,
    Order,
    SetBalance,
    SetLeverage,
    SetMarginMode,
    Transfer,
    Withdraw,
    changes_from,
)
from crossmargin.model.number import plain

EXAMPLES = Path(__file__).parents[2] / "examples"
BTC, ETH = "BTC/USDT:USDT", "ETH/USDT:USDT"
FLAT = [{"notional_floor": "0", "maintenance_rate": "0.005"}]


def case(**given: Any) -> Any:
    """A textbook account: BTC at 50,000 and ETH at 4,000, maintenance 0.5 %, unless said otherwise."""
    raw: dict[str, Any] = {
        "profile": "plain-cross",
        "as_of": "2026-11-20T08:00:00Z",
        "market": {"mark_price": {BTC: "50000", ETH: "4000"}},
        "instruments": [{"symbol": BTC, "brackets": FLAT}, {"symbol": ETH, "brackets": FLAT}],
    }
    return cm.case_from(raw | given, "account")


def long_btc(quantity: str = "1", entry: str = "50000", leverage: str | None = "10", **more: str) -> dict[str, Any]:
    stated = {} if leverage is None else {"leverage": leverage}
    return {"symbol": BTC, "quantity": quantity, "entry_price": entry, **stated, **more}


def pool(found: WhatIf, name: str) -> Any:
    return next(p for p in found.after.pools if p.name == name)


# the article: one pool or two pockets ---------------------------------------------------------------------------------

ARTICLE = {"balances": {"USDT": "2000"}, "market": {"mark_price": {BTC: "100000", ETH: "4000"}}}


def test_cross_opens_both() -> None:
    # 0.05 x 100,000 / 5 = 1,000 and 1 x 4,000 / 8 = 500: 500 of 2,000 stay free
    found = whatif(
        *case(**ARTICLE),
        [Order(symbol=BTC, quantity="0.05", leverage="5"), Order(symbol=ETH, quantity="1", leverage="8")],
    )
    assert found.verdict == "accepted"
    assert found.refused == ()
    assert found.after.free_collateral == 500
    assert found.difference.initial_margin == 1500
    assert found.difference.equity == 0


def test_a_pocket_of_700_refuses_btc_and_shows_it_all_the_same() -> None:
    # the pocket needs 1,000: 300 are missing, whatever the 1,300 beside it
    order = Order(symbol=BTC, quantity="0.05", leverage="5", margin_mode="isolated", isolated_margin="700")
    found = whatif(*case(**ARTICLE), [order])
    assert found.verdict == "refused"
    assert found.steps[0].reasons == (f"free_collateral of {BTC} isolated would be short of 300",)
    assert pool(found, f"{BTC} isolated").equity == 700
    assert pool(found, "account").equity == 1300


def test_an_isolated_order_brings_what_its_pocket_needs() -> None:
    # bought at 101,000: 5,050 / 5 = 1,010 of margin; at the mark the pocket has lost 50 and needs 1,000: 1,050 in all
    order = Order(symbol=BTC, quantity="0.05", price="101000", leverage="5", margin_mode="isolated")
    found = whatif(*case(**ARTICLE), [order])
    assert found.verdict == "accepted"
    assert pool(found, f"{BTC} isolated").equity == 1000
    assert pool(found, "account").equity == 950


def test_margin_for_a_pocket_that_is_not_filled_is_a_fault() -> None:
    given_case = case(balances={"USDT": "10000"}, positions=[long_btc()])
    with pytest.raises(AccountError, match="fills no pocket"):
        whatif(*given_case, [Order(symbol=BTC, quantity="1", isolated_margin="700")])


# hypothetical positions: the ways in which tools go wrong -------------------------------------------------------------


def test_an_order_fills_at_its_own_price_not_at_the_mark() -> None:
    # 1 held at 50,000 and 1 bought at 51,000: entry 50,500, PnL 2 x -500 = -1,000, margin 2 x 5,000, 9,000 - 10,000
    given_case = case(balances={"USDT": "10000"}, positions=[long_btc()])
    found = whatif(*given_case, [Order(symbol=BTC, quantity="1", price="51000")])
    assert found.after.positions[0].unrealized_pnl == -1000
    assert found.after.free_collateral == -1000
    assert found.verdict == "refused"
    assert whatif(*given_case, [Order(symbol=BTC, quantity="1")]).verdict == "accepted"


TIERS = [
    {"notional_floor": "0", "maintenance_rate": "0.004", "max_leverage": "10"},
    {"notional_floor": "50000", "maintenance_rate": "0.01", "max_leverage": "5"},
]


def test_the_position_that_results_is_judged_not_the_order_alone() -> None:
    # 40,000 held and 20,000 ordered: 60,000 x 1 % - 300 = 300, and the bracket above 50,000 allows 5x, not 10x
    given_case = case(
        balances={"USDT": "50000"}, positions=[long_btc("0.8")], instruments=[{"symbol": BTC, "brackets": TIERS}]
    )
    found = whatif(*given_case, [Order(symbol=BTC, quantity="0.4")])
    assert found.after.maintenance_margin == 300
    assert found.verdict == "refused"
    assert found.steps[0].reasons == (f"bracket_cap of account {BTC} net would be short of 10000",)
    assert whatif(*given_case, [Order(symbol=BTC, quantity="0.4", leverage="5")]).verdict == "accepted"
    assert whatif(*given_case, [Order(symbol=BTC, quantity="0.2")]).verdict == "accepted"


def test_the_threshold_is_that_of_the_reduced_short() -> None:
    # short 0.5 left: 10,000 + 0.5 x (50,000 - P) = 0.0025 P at P = 35,000 / 0.5025
    found = whatif(
        *case(balances={"USDT": "10000"}, positions=[long_btc("-1")]), [Order(symbol=BTC, quantity="0.5", fee_rate="0")]
    )
    above = next(row for row in found.threshold_changes if row.side == "above" and row.symbol == BTC)
    assert above.before is not None and plain(above.before.price) == plain(Decimal(60000) / Decimal("1.005"))
    assert above.after is not None and plain(above.after.price) == "69651.741293532338308458"
    # 35,000 / 0.5025 - 60,000 / 1.005 = 10,000 / 1.005
    assert plain(above.moved) == "9950.248756218905472637"


def test_closing_is_admitted_when_nothing_is_free() -> None:
    # equity 10,000 - 8,000 = 2,000 against an initial margin of 4,200
    given_case = case(
        balances={"USDT": "10000"}, positions=[long_btc(entry="58000")], market={"mark_price": {BTC: "50000"}}
    )
    assert cm.evaluate(*given_case).free_collateral == -3000
    for change in (Close(symbol=BTC), Close(symbol=BTC, share="0.3"), Order(symbol=BTC, quantity="-0.1")):
        found = whatif(*given_case, [change])
        assert found.verdict == "accepted", change
        assert found.after.maintenance_margin < found.before.maintenance_margin
    assert whatif(*given_case, [Order(symbol=BTC, quantity="0.01")]).verdict == "refused"


def test_an_order_that_turns_a_position_round_is_one_clear_error() -> None:
    with pytest.raises(AccountError, match="turn the position of 1 round; close it with -1"):
        whatif(*case(balances={"USDT": "10000"}, positions=[long_btc()]), [Order(symbol=BTC, quantity="-1.5")])


def test_a_close_realizes_pnl_and_pays_its_fee() -> None:
    # half of 2 bought at 48,000, closed at 50,000 with 0.05 %: +2,000 and -25
    found = whatif(
        *case(balances={"USDT": "10000"}, positions=[long_btc("2", "48000")]),
        [Close(symbol=BTC, share="0.5", fee_rate="0.0005")],
    )
    (step,) = found.steps
    assert (step.asset, step.realized_pnl, step.fee) == ("USDT", 2000, 25)
    assert found.difference.equity == -25
    assert found.after.balances[0].wallet_balance == 11975


def test_a_fee_that_no_rule_states_is_unknown_and_said_so() -> None:
    found = whatif(*case(balances={"USDT": "10000"}), [Order(symbol=BTC, quantity="1", leverage="10")])
    assert found.steps[0].fee is None
    assert any("fees are left out" in note for note in found.notes)


def test_without_a_leverage_the_verdict_is_unknown() -> None:
    found = whatif(*case(balances={"USDT": "10000"}), [Order(symbol=BTC, quantity="0.01")])
    assert found.verdict == "unknown"
    assert found.steps[0].reasons == ("free_collateral of account is unknown",)
    assert found.difference.initial_margin is None


# money ----------------------------------------------------------------------------------------------------------------


def test_deposit_then_withdraw_changes_nothing() -> None:
    for name in ("bybit-uta", "hyperliquid", "binance-multi-assets", "unified-btc-collateral"):
        given_case = cm.load(str(EXAMPLES / f"{name}.toml"))
        asset = next(iter(given_case.account.balances))
        found = whatif(*given_case, [Deposit(asset=asset, amount="3"), Withdraw(asset=asset, amount="3")])
        assert found.before == found.after
        assert found.thresholds_before == found.thresholds_after


def test_bonus_credit_and_locked_money_do_not_leave() -> None:
    balance = {"wallet_balance": "1000", "bonus_credit": "500", "locked": "400"}
    given_case = case(balances={"USDT": balance})
    assert whatif(*given_case, [Withdraw(asset="USDT", amount="600")]).verdict == "accepted"
    refused = whatif(*given_case, [Withdraw(asset="USDT", amount="601")])
    assert refused.steps[0].reasons == ("the wallet has 600 USDT that may leave",)


def test_margin_moves_into_a_pocket_and_out_down_to_its_own_initial_margin() -> None:
    # the pocket needs 5,000 and holds 6,000
    isolated = long_btc(margin_mode="isolated", isolated_margin="6000")
    given_case = case(balances={"USDT": "1000"}, positions=[isolated])
    assert whatif(*given_case, [Transfer(symbol=BTC, amount="-1000")]).verdict == "accepted"
    assert whatif(*given_case, [Transfer(symbol=BTC, amount="-1001")]).verdict == "refused"
    assert whatif(*given_case, [Transfer(symbol=BTC, amount="1000")]).verdict == "accepted"
    assert whatif(*given_case, [Transfer(symbol=BTC, amount="1001")]).verdict == "refused"
    moved = whatif(*given_case, [Transfer(symbol=BTC, amount="500")])
    assert moved.difference.equity == 0
    assert pool(moved, f"{BTC} isolated").equity == 6500


def test_a_position_made_isolated_takes_loss_and_margin_with_it() -> None:
    # bought at 50,000, now 48,000: 2,000 lost, 4,800 of initial margin: 6,800
    given_case = case(balances={"USDT": "10000"}, positions=[long_btc()], market={"mark_price": {BTC: "48000"}})
    found = whatif(*given_case, [SetMarginMode(symbol=BTC, margin_mode="isolated")])
    assert found.verdict == "accepted"
    assert pool(found, "account").equity == 3200
    assert pool(found, f"{BTC} isolated").free_collateral == 0
    account, _, _ = apply_changes(*given_case, [SetMarginMode(symbol=BTC, margin_mode="isolated")])
    assert account.positions[0].isolated_margin == 6800
    back = [SetMarginMode(symbol=BTC, margin_mode="isolated"), SetMarginMode(symbol=BTC, margin_mode="cross")]
    assert whatif(*given_case, back).before == whatif(*given_case, back).after


def test_leverage_and_collateral_settings_are_refused_where_margin_forbids() -> None:
    given_case = case(balances={"USDT": "6000"}, positions=[long_btc()])
    # 50,000 / 8 = 6,250 needs more than 6,000; / 9 does not
    assert whatif(*given_case, [SetLeverage(symbol=BTC, leverage="8")]).verdict == "refused"
    assert whatif(*given_case, [SetLeverage(symbol=BTC, leverage="9")]).verdict == "accepted"
    off = whatif(*given_case, [SetBalance(asset="USDT", use_as_collateral=False)])
    assert off.verdict == "refused"
    assert off.after.equity == 0
    with pytest.raises(AccountError, match="BNB"):
        whatif(*given_case, [SetBalance(asset="BNB", use_as_collateral=True)])


# the market and the rules ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["unified-btc-collateral", "bybit-uta", "binance-two-positions"])
def test_at_its_threshold_the_account_has_no_headroom(name: str) -> None:
    given_case = cm.load(str(EXAMPLES / f"{name}.toml"))
    for row in cm.threshold(*given_case).thresholds:
        for side in (row.below, row.above):
            if side.kind != "price" or "/" not in row.symbol:
                continue
            move = MovePrice(symbol=row.symbol, by="0").model_copy(update={"by": None, "to": side.price})
            found = whatif(*given_case, [move])
            assert abs(found.after.headroom) < Decimal("1e-30")
            assert found.verdict == "accepted"  # nobody asks the venue whether a price may move


def test_a_coin_moves_everywhere_a_contract_alone_only_when_asked() -> None:
    # 1 BTC at 95 % and a long of 3: 20 % down costs 11,400 of collateral and 36,000 of PnL
    given_case = cm.load(str(EXAMPLES / "unified-btc-collateral.toml"))
    assert whatif(*given_case, [MovePrice(coin="BTC", by="-0.2")]).difference.equity == -47400
    assert whatif(*given_case, [MovePrice(symbol=BTC, to="48000")]).difference.equity == -47400
    assert whatif(*given_case, [MovePrice(symbol=BTC, to="48000", only="mark")]).difference.equity == -36000
    assert whatif(*given_case, [MovePrice(coin="BTC", by="-0.2", only="index")]).difference.equity == -11400
    with pytest.raises(AccountError, match="has no price in this market"):
        whatif(*given_case, [MovePrice(coin="DOGE", by="-0.2")])
    with pytest.raises(MarketDataError, match=r"index_price\.SOL"):
        whatif(*given_case, [MovePrice(coin="SOL", to="10")])


def test_rules_of_another_date_are_another_judge() -> None:
    given_case = cm.load(str(EXAMPLES / "binance-two-positions.toml"))
    later = cm.load_profile("binance-usdm").on(cm.load(str(EXAMPLES / "bybit-uta.toml")).market.as_of)
    found = whatif(*given_case, [ChangeRules(rules=later)])
    assert found.after.rules_since == later.since
    assert found.difference.equity == 0
    assert (
        found.difference.maintenance_margin
        == cm.evaluate(given_case.account, given_case.market, later).maintenance_margin
        - cm.evaluate(*given_case).maintenance_margin
    )


# splitting ------------------------------------------------------------------------------------------------------------


@given(
    st.sampled_from(["BTC/USD:BTC", "BTC/USDT:USDT"]),
    st.integers(1, 10**6),
    st.integers(1, 10**6),
    st.integers(40000, 60000),
    st.integers(2, 6),
)
@settings(derandomize=True, deadline=None, max_examples=40)
def test_an_order_in_parts_is_the_whole_order(symbol: str, held: int, added: int, price: int, parts: int) -> None:
    given_case = case(
        balances={"USDT": "1000000", "BTC": "100"},
        positions=[{"symbol": symbol, "quantity": f"{held}", "entry_price": "51000", "leverage": "10"}],
        market={"mark_price": {symbol: "50000"}, "index_price": {"BTC": "50000"}},
        instruments=[{"symbol": symbol, "brackets": FLAT, "taker_fee": "0.0005"}],
    )
    whole = whatif(*given_case, [Order(symbol=symbol, quantity=added * parts, price=price)])
    split = whatif(*given_case, [Order(symbol=symbol, quantity=added, price=price)] * parts)
    assert plain(whole.after.equity) == plain(split.after.equity)
    assert plain(whole.after.initial_margin) == plain(split.after.initial_margin)
    assert plain(sum(step.fee for step in split.steps)) == plain(whole.steps[0].fee)


@given(st.integers(1, 10**6), st.integers(1, 99), st.integers(40000, 60000))
@settings(derandomize=True, deadline=None, max_examples=40)
def test_opening_and_closing_at_one_price_costs_the_two_fees(quantity: int, percent: int, price: int) -> None:
    given_case = case(balances={"USDT": "100"}, instruments=[{"symbol": BTC, "brackets": FLAT, "taker_fee": "0.0005"}])
    found = whatif(
        *given_case,
        [
            Order(symbol=BTC, quantity=quantity, price=price, leverage="10"),
            Close(symbol=BTC, share=f"0.{percent:02}", price=price),
            Close(symbol=BTC, price=price),
        ],
    )
    assert plain(found.difference.equity) == plain(-2 * Decimal(quantity) * price * Decimal("0.0005"))
    assert found.after.positions == ()


# hedge mode -----------------------------------------------------------------------------------------------------------


def test_hedge_mode_asks_for_the_side() -> None:
    legs = [long_btc("2", position_side="long"), long_btc("-1", position_side="short")]
    given_case = case(balances={"USDT": "50000"}, positions=legs)
    with pytest.raises(AccountError, match="hedge mode; say long or short"):
        whatif(*given_case, [Order(symbol=BTC, quantity="1")])
    found = whatif(*given_case, [Order(symbol=BTC, quantity="1", position_side="short", fee_rate="0")])
    assert [p.quantity for p in found.after.positions] == [2]
    with pytest.raises(AccountError, match="reduces a short position that is not held"):
        whatif(*case(), [Order(symbol=BTC, quantity="1", position_side="short")])


# the wire form --------------------------------------------------------------------------------------------------------


def test_changes_are_read_with_every_fault_at_once() -> None:
    with pytest.raises(AccountError) as caught:
        changes_from(
            [
                {"kind": "order", "symbol": "BTC", "quantity": 0.5},
                {"kind": "depositt", "asset": "USDT"},
                {"kind": "move_price", "coin": "BTC", "by": "-1"},
                {"kind": "change_rules", "profile": "nowhere"},
                {"kind": "close", "symbol": BTC, "share": "0.5", "quantity": "1"},
            ]
        )
    text = str(caught.value)
    for path in (
        "changes[0].order.symbol",
        "changes[0].order.quantity: is a binary float",
        "changes[1]",
        "changes[2].move_price.by: must be above -1",
        "changes[3].change_rules.profile",
        "changes[4].close",
    ):
        assert path in text
    assert len(caught.value.faults) == 6


def test_the_wire_form_says_what_the_nouns_say() -> None:
    read = changes_from(
        [
            {"kind": "order", "symbol": BTC, "quantity": "0.5", "price": "60000"},
            {"kind": "transfer", "symbol": BTC, "amount": "-5"},
            {"kind": "change_rules", "on": "2021-01-01"},
        ],
        lambda profile, on: cm.load_profile(profile or "plain-cross").on(cm.Market(as_of=on).as_of),
    )
    assert read[:2] == (Order(symbol=BTC, quantity="0.5", price="60000"), Transfer(symbol=BTC, amount="-5"))
    assert isinstance(read[2], ChangeRules)
