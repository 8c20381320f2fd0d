"""The rarer rule kinds, each against figures worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

import crossmargin as cm
from crossmargin.errors import AccountError, ProfileError, UnsupportedRule
from crossmargin.files.accounts import Case, case_from
from crossmargin.files.profiles import load_profile
from crossmargin.model.profile import Rules
from crossmargin.model.slots import (
    Bonus,
    Collateral,
    Equity,
    Fees,
    InitialMargin,
    Levels,
    MaintenanceMargin,
    Scenarios,
    Slots,
    Withdrawal,
)

D = Decimal
SLOTS: dict[str, type] = {
    "collateral": Collateral,
    "equity": Equity,
    "fees": Fees,
    "initial_margin": InitialMargin,
    "maintenance_margin": MaintenanceMargin,
    "levels": Levels,
    "scenarios": Scenarios,
    "withdrawal": Withdrawal,
    "bonus": Bonus,
}


def rules(**slots: Any) -> Rules:
    """The plain unified profile with some slots restated."""
    plain = cm.load_profile("plain-cross").on(date(2026, 1, 1))
    given = {name: SLOTS[name].model_validate({"source": "textbook", **value}) for name, value in slots.items()}
    whole = Slots.model_validate({**{n: getattr(plain.slots, n) for n in Slots.model_fields}, **given})
    return replace(plain, slots=whole)


def case(text: dict[str, Any]) -> tuple[cm.Account, cm.Market, Rules]:
    account, market, plain = cm.case_from({"profile": "plain-cross", "as_of": "2026-11-20T08:00:00Z", **text}, "case")
    return account, market, plain


def with_tables(law: Rules, own: Rules) -> Rules:
    """A law with the tables that a case states itself."""
    return replace(
        law,
        brackets=own.brackets,
        assets=own.assets,
        contract_sizes=own.contract_sizes,
        taker_fees=own.taker_fees,
    )


def judged(text: dict[str, Any], law: Rules) -> cm.Report:
    account, market, own = case(text)
    return cm.evaluate(account, market, with_tables(law, own))


BTC, ETH = "BTC/USDT:USDT", "ETH/USDT:USDT"
FLAT = [{"notional_floor": "0", "maintenance_rate": "0.01", "initial_rate": "0.02", "max_leverage": "50"}]
LONG = {
    "balances": {"USDT": "1000"},
    "positions": [{"symbol": BTC, "quantity": "0.1", "entry_price": "50000", "leverage": "10"}],
    "market": {"mark_price": {BTC: "52000"}, "index_price": {"USDT": "1"}},
    "instruments": [{"symbol": BTC, "contract_size": "1", "taker_fee": "0.0005", "brackets": FLAT}],
}


def test_profit_that_keeps_the_account_but_opens_nothing() -> None:
    # equity 1000 + 0.1 x 2000 = 1200; to open only the 1000 count, less 5200 / 10
    report = judged(LONG, rules(equity={"unrealized_pnl_initial": "losses"}))
    assert (report.equity, report.pools[0].initial_equity, report.free_collateral) == (D(1200), D(1000), D(480))
    assert report.headroom == D(1200) - D(52)
    # a loss counts for both: 1000 - 0.1 x 1000 = 900 and 4900 / 10
    down = {**LONG, "market": {"mark_price": {BTC: "49000"}, "index_price": {"USDT": "1"}}}
    report = judged(down, rules(equity={"unrealized_pnl_initial": "losses"}))
    assert (report.equity, report.pools[0].initial_equity, report.free_collateral) == (D(900), D(900), D(410))


def test_two_ratios_by_purpose() -> None:
    text = {
        "balances": {"BTC": "2"},
        "market": {"index_price": {"BTC": "1000"}, "mark_price": {}},
        "assets": [{"asset": "BTC", "collateral_ratio": "0.95", "initial_ratio": "0.9"}],
    }
    report = judged(text, rules(collateral={"kind": "flat"}))
    assert (report.equity, report.free_collateral) == (D(1900), D(1800))


def test_order_margin_out_of_equity() -> None:
    orders = [{"symbol": BTC, "quantity": "0.02", "price": "50000", "leverage": "10"}]
    law = rules(initial_margin={"kind": "leverage", "orders": {"from_equity": "margin"}})
    report = judged({**LONG, "open_orders": orders}, law)
    # the order holds 0.02 x 50000 / 10 = 100: equity 1200 - 100, and the requirement to open is the position's alone
    assert (report.equity, report.initial_margin, report.headroom) == (D(1100), D(520), D(1100 - 52))
    assert report.free_collateral == D(580)


def test_the_worse_of_the_sides_that_fills_could_leave() -> None:
    law = rules(
        initial_margin={"kind": "leverage", "orders": {"scope": "worse_side"}},
        maintenance_margin={"kind": "marginal_brackets", "orders": "worse_side", "close_fee": "mark"},
    )
    orders = [
        {"symbol": BTC, "quantity": "0.05", "price": "50000", "leverage": "10"},
        {"symbol": BTC, "quantity": "-0.12", "price": "53000", "leverage": "10"},
    ]
    report = judged({**LONG, "open_orders": orders}, law)
    # longs and buys 520 + 250 = 770, sells 0.12 x 53000 / 10 = 636
    assert report.initial_margin == D(770)
    # 0.15 BTC at the mark: 7800 x (1 % + 0.05 %)
    assert report.maintenance_margin == D("81.9")
    alone = judged({**LONG, "positions": [], "open_orders": orders[1:]}, law)
    assert alone.maintenance_margin == D("0.12") * 52000 * D("0.0105")


def test_a_resting_sell_at_its_assuming_price() -> None:
    orders = [{"symbol": BTC, "quantity": "-0.1", "price": "50000", "leverage": "10"}]
    law = rules(
        initial_margin={"kind": "leverage", "orders": {"price": "assuming", "assuming_markup": "0.0015"}},
    )
    market = {**LONG["market"], "last_price": {BTC: "52000"}}
    report = judged({**LONG, "positions": [], "open_orders": orders, "market": market}, law)
    assert report.initial_margin == D("0.1") * D(52078) / 10  # 52000 x 1.0015 is above mark and order price
    with pytest.raises(cm.MarketDataError, match="last_price"):
        judged({**LONG, "positions": [], "open_orders": orders}, law)


def test_initial_margin_that_needs_no_leverage() -> None:
    bare = {**LONG, "positions": [{"symbol": BTC, "quantity": "25", "entry_price": "100000"}]}
    bare["market"] = {"mark_price": {BTC: "100000"}, "index_price": {"USDT": "1"}}
    table = [{"notional_floor": "0", "maintenance_rate": "0.01", "initial_rate": "0.02", "size_slope": "0.00005"}]
    bare["instruments"] = [{"symbol": BTC, "contract_size": "1", "brackets": table}]
    law = rules(initial_margin={"kind": "linear_in_size"}, maintenance_margin={"kind": "linear_in_size", "key": "coin"})
    report = judged(bare, law)
    # Deribit's table: 25 BTC hold 1.125 % as maintenance margin, 28,125; 2.125 % to open
    assert (report.maintenance_margin, report.initial_margin) == (D(28125), D(53125))

    steps = [
        {"notional_floor": "0", "maintenance_rate": "0.005", "initial_rate": "0.01"},
        {"notional_floor": "1000000", "maintenance_rate": "0.01", "initial_rate": "0.02"},
    ]
    bare["instruments"] = [{"symbol": BTC, "contract_size": "1", "brackets": steps}]
    report = judged(bare, rules(initial_margin={"kind": "marginal_brackets"}))
    assert report.initial_margin == D(1000000) * D("0.01") + D(1500000) * D("0.02")

    report = judged(LONG, rules(initial_margin={"kind": "multiple_of_maintenance", "multiple": "1.3"}))
    assert report.initial_margin == D(52) * D("1.3")


def test_debts_as_a_requirement_by_asset() -> None:
    text = {
        "balances": {"USDT": "1000", "USDC": "-100"},
        "market": {"index_price": {"USDT": "1", "USDC": "1"}, "mark_price": {}},
        "assets": [
            {"asset": "USDT", "collateral_ratio": "1"},
            {"asset": "USDC", "liability_maintenance_rate": "0.1", "liability_initial_rate": "0.2"},
        ],
    }
    report = judged(text, rules(collateral={"kind": "flat", "unlisted": "full", "debt_limit": "50"}))
    assert (report.equity, report.maintenance_margin, report.initial_margin) == (D(900), D(10), D(20))
    assert any("USDC is owed beyond 50" in note for note in report.notes)
    # counted as a requirement and not against equity, liquidated at a ratio of 0.8, and 20 whatever is owed
    law = rules(
        collateral={"kind": "flat", "unlisted": "full", "liability_ratio": "0", "liability_maintenance_rate": "1"},
        maintenance_margin={"kind": "marginal_brackets", "fixed_amount": "20"},
        levels={
            "ladder": [{"name": "liquidation", "requirement": "maintenance", "multiple": "1.25", "action": "liquidate"}]
        },
    )
    text["assets"] = [{"asset": "USDT", "collateral_ratio": "0.5"}]
    report = judged(text, law)
    assert (report.equity, report.maintenance_margin) == (D(500), D(120))
    assert report.headroom == D(500) - D(150)


def test_an_order_without_a_position_is_margined_by_its_contracts_table() -> None:
    # 1,000 contracts of 10 USD at 60,000 are 1/6 BTC: 2 % of it, and 0.005 % more of it for each BTC of its size
    text = {
        "profile": "deribit",
        "balances": {"BTC": "1"},
        "market": {"mark_price": {"BTC/USD:BTC": "60000"}, "index_price": {"BTC": "60000"}},
        "open_orders": [{"symbol": "BTC/USD:BTC", "quantity": "1000", "price": "60000"}],
    }
    held = cm.evaluate(*case(text)).initial_margin
    assert held is not None
    assert abs(held - D(1) / 6 * (D("0.02") + D("0.00005") / 6)) < D("1e-20")


def test_a_debt_holds_the_fee_to_close_where_the_rule_says_so() -> None:
    # 10 lost on a contract of 90: 1 and the dearest stated fee of what settles in the coin, else the venue's 0.0005
    text = {
        "balances": {"USDT": "1000"},
        "positions": [{"symbol": "ETH/USDC:USDC", "quantity": "1", "entry_price": "100", "leverage": "10"}],
        "market": {"index_price": {"USDC": "1"}, "mark_price": {"ETH/USDC:USDC": "90"}},
        "instruments": [
            {"symbol": "ETH/USDC:USDC", "brackets": [{"notional_floor": "0", "maintenance_rate": "0"}]},
            {"symbol": "BTC/USDT:USDT", "taker_fee": "0.5"},
        ],
    }
    debt = {"kind": "flat", "unlisted": "full", "liability_maintenance_rate": "0.1"}
    law = rules(collateral={**debt, "liability_close_fee": True}, fees={"taker": "0.0005", "maker": "0"})
    assert judged(text, law).maintenance_margin == D("1.005")
    text["instruments"][0]["taker_fee"] = "0.002"
    assert judged(text, law).maintenance_margin == D("1.02")
    assert judged(text, rules(collateral=debt)).maintenance_margin == D(1)


PORTFOLIO = {
    "spot": True,
    "coins": [
        {"coins": ["BTC"], "price_move": "0.12", "extreme_move": "0.3", "extreme_share": "0.5", "basis_rate": "0.008",
         "minimum_rate": "0.003"},
        {"price_move": "0.25"},
    ],
    "minimum_tiers": [{"floor": "0", "multiplier": "1"}, {"floor": "3000", "multiplier": "2"}],
}  # fmt: skip
SHORT_PERP = {
    "balances": {"USDT": "50000", "BTC": "10"},
    "positions": [{"symbol": BTC, "quantity": "-10", "entry_price": "100000", "leverage": "10"}],
    "market": {"mark_price": {BTC: "100000"}, "index_price": {"USDT": "1", "BTC": "100000"}},
    "instruments": [{"symbol": BTC, "contract_size": "1"}],
    "assets": [{"asset": "BTC", "collateral_ratio": "1"}],
}


def portfolio() -> Rules:
    return rules(
        collateral={"kind": "flat"},
        maintenance_margin={"kind": "worst_scenario"},
        scenarios=PORTFOLIO,
    )


def test_portfolio_margin_nets_spot_and_contracts() -> None:
    # everything hedged: 1,000,000 x 0.8 % = 8000 against a minimum of 3000 + 0 x 2
    assert judged(SHORT_PERP, portfolio()).maintenance_margin == D(8000)
    # half hedged: 500,000 x max(12 %, 0.5 x 30 %) + 500,000 x 0.8 %
    half = {**SHORT_PERP, "balances": {"USDT": "500000", "BTC": "5"}}
    report = judged(half, portfolio())
    assert report.maintenance_margin == D(79000)
    assert report.positions[0].maintenance_margin == D(79000)
    # long spot beside a long is no hedge; two expiries hedge one another and hold the basis
    pair = {
        **SHORT_PERP,
        "positions": [
            {"symbol": BTC, "quantity": "-10", "entry_price": "100000", "leverage": "10"},
            {"symbol": "BTC/USDT:USDT-261225", "quantity": "4", "entry_price": "100000", "leverage": "10"},
        ],
        "balances": {"USDT": "500000"},
        "instruments": [
            {"symbol": BTC, "contract_size": "1"},
            {"symbol": "BTC/USDT:USDT-261225", "contract_size": "1"},
        ],
    }
    pair["market"] = {**SHORT_PERP["market"], "mark_price": {BTC: "100000", "BTC/USDT:USDT-261225": "100000"}}
    # net 600,000 x 15 % + 400,000 x 0.8 %
    assert judged(pair, portfolio()).maintenance_margin == D(93200)


def test_the_minimum_charge_of_a_portfolio_is_marginal() -> None:
    wide = {**PORTFOLIO, "coins": [{"price_move": "0", "minimum_rate": "0.004"}]}
    law = rules(collateral={"kind": "flat"}, maintenance_margin={"kind": "worst_scenario"}, scenarios=wide)
    # 4000 raw: 3000 x 1 + 1000 x 2
    assert judged(SHORT_PERP, law).maintenance_margin == D(5000)


def test_the_threshold_of_a_portfolio_is_where_its_headroom_is_zero() -> None:
    half = {**SHORT_PERP, "balances": {"USDT": "100000", "BTC": "5"}}
    account, market, plain = case(half)
    law = with_tables(portfolio(), plain)
    found = next(t for t in cm.threshold(account, market, law).thresholds if t.symbol == BTC).above
    assert found.kind == "price" and found.price is not None
    move = found.price / D(100000)
    there = market.model_copy(
        update={
            "mark_price": {BTC: found.price},
            "index_price": {**market.index_price, "BTC": D(100000) * move},
        }
    )
    assert abs(cm.evaluate(account, there, law).headroom or 0) < D("1e-9")
    # 100,000 + 5 p - 10 (p - 100,000) = 5 p x 15 % + 5 p x 0.8 %
    assert abs(found.price - D(1100000) / D("5.79")) < D("1e-9")


def test_liquidated_only_at_mark_and_last() -> None:
    low = {**LONG, "market": {"mark_price": {BTC: "40000"}, "index_price": {"USDT": "1"}}}
    ladder = [{"name": "liquidation", "requirement": "maintenance", "action": "liquidate"}]
    law = rules(levels={"price": "mark_and_last", "ladder": ladder})
    # at 40000 equity is 0; without a last price the mark decides
    report = judged(low, law)
    assert report.status == "liquidation" and any("last_price" in note for note in report.notes)
    low["market"] = {**low["market"], "last_price": {BTC: "49000"}}
    report = judged(low, law)
    assert (report.status, report.pools[0].level) == ("warning", "liquidation")
    low["market"] = {**low["market"], "last_price": {BTC: "40100"}}
    assert judged(low, law).status == "liquidation"


def test_bonus_that_has_run_out_counts_nothing() -> None:
    lent = {"USDT": {"wallet_balance": "1000", "bonus_credit": "50", "bonus_expires": "2026-11-20T08:00:01Z"}}
    report = judged({**LONG, "balances": lent}, rules())
    assert (report.equity, report.bonus_credit) == (D(1250), D(50))
    lent["USDT"]["bonus_expires"] = "2026-11-20T08:00:00Z"
    report = judged({**LONG, "balances": lent}, rules())
    assert (report.equity, report.bonus_credit) == (D(1200), D(0))


@pytest.mark.parametrize(
    ("rule", "wallet", "bonus"),
    [
        # closing 0.1 at 48000 loses 200 and costs 2.4: bonus first
        ({"first": True}, "1000", "97.6"),
        # own funds first: they suffice
        ({"first": False}, "797.6", "300"),
        # bonus bears half of the loss and no fee
        ({"first": True, "share": "0.5", "pays": ["loss"]}, "897.6", "200"),
    ],
)
def test_what_bonus_credit_pays(rule: dict[str, Any], wallet: str, bonus: str) -> None:
    text = {**LONG, "balances": {"USDT": {"wallet_balance": "1000", "bonus_credit": "300"}}}
    account, market, plain = case(text)
    law = with_tables(rules(bonus=rule), plain)
    market = market.model_copy(update={"mark_price": {BTC: D(48000)}})
    after, _, _ = cm.apply_changes(account, market, law, [cm.Close(symbol=BTC)])
    left = after.balances["USDT"]
    assert (left.wallet_balance, left.bonus_credit) == (D(wallet), D(bonus))


def test_bonus_credit_is_forfeited_on_withdrawal() -> None:
    text = {**LONG, "balances": {"USDT": {"wallet_balance": "1000", "bonus_credit": "300"}}}
    account, market, plain = case(text)
    law = with_tables(rules(bonus={}, withdrawal={"kind": "available"}), plain)
    # equity 1000 + 300 + 200; without the bonus 1200 - 520 may leave
    assert cm.max_withdraw(account, market, law, "USDT").amount == D(680)


def test_withdrawals_that_keep_a_ratio_or_the_losses() -> None:
    down = {**LONG, "market": {"mark_price": {BTC: "48000"}, "index_price": {"USDT": "1"}}}
    # equity 800, maintenance 48
    assert judged(down, rules(withdrawal={"kind": "keep_ratio", "ratio": "2"})).withdrawable == D(800 - 96)
    # wallet 1000 less the loss of 200, and free collateral 800 - 480
    assert judged(down, rules(withdrawal={"kind": "available_less_losses"})).withdrawable == D(320)
    assert judged(LONG, rules(withdrawal={"kind": "keep_ratio", "ratio": "2"})).withdrawable == D(1000)


def test_unrealized_profit_may_be_kept_back() -> None:
    """Deribit's sample: 301.38059622 available - (302.62729214 margin balance - 302.60065765 balance) = 301.35396173.

    Here: equity 1000 + 200, margin 0.1 x 52000 / 10 = 520, so 680 are free and 480 may leave; a loss takes no more.
    """
    law = rules(withdrawal={"kind": "available_less_profit"})
    assert judged(LONG, law).withdrawable == D(480)
    down = {**LONG, "market": {"mark_price": {BTC: "48000"}, "index_price": {"USDT": "1"}}}
    assert judged(down, law).withdrawable == D(800 - 480)
    account, market, own = case(LONG)
    assert cm.max_withdraw(account, market, with_tables(law, own), "USDT").amount == D(480)
    # where profit opens nothing it is not in what is free, and is not taken out twice
    losses = rules(withdrawal={"kind": "available_less_profit"}, equity={"unrealized_pnl_initial": "losses"})
    assert judged(LONG, losses).withdrawable == D(480)
    locked = {**LONG, "balances": {"USDT": {"wallet_balance": "1000", "locked": "700"}}}
    assert judged(locked, law).withdrawable == D(300)


# tables that are known to some end ------------------------------------------------------------------------------------

ENDED = [
    {"notional_floor": "0", "maintenance_rate": "0.01"},
    {"notional_floor": "5000", "maintenance_rate": "0.02", "known_to": "6000"},
]


def test_a_maintenance_table_is_not_drawn_beyond_its_end() -> None:
    """0.1 BTC: 5,200 lie in the second row (104 - 50); the end is at a mark of 60,000."""
    text = {**LONG, "instruments": [{**LONG["instruments"][0], "brackets": ENDED}]}
    assert cm.evaluate(*case(text)).maintenance_margin == D(54)
    beyond = {**text, "market": {"mark_price": {BTC: "60001"}, "index_price": {"USDT": "1"}}}
    with pytest.raises(UnsupportedRule, match="known to 6000"):
        cm.evaluate(*case(beyond))
    (row,) = cm.threshold(*case(text)).thresholds
    # wallet 1000: 1000 + 0.1 (p - 50000) = 0.001 p below 50,000: p = 4000 / 0.099
    assert row.below.price is not None
    assert abs(row.below.price - D(4000) / D("0.099")) < D("1e-20")
    assert row.above.kind == "unknown"
    short = {**text, "positions": [{**LONG["positions"][0], "quantity": "-0.1"}]}
    (row,) = cm.threshold(*case(short)).thresholds
    # broken before the end: 1000 - 0.1 (p - 50000) = 0.002 p - 50: p = 6050 / 0.102
    assert row.above.price is not None
    assert abs(row.above.price - D(6050) / D("0.102")) < D("1e-20")


def test_collateral_ratios_are_not_drawn_beyond_their_end() -> None:
    held = {**LONG, "balances": {"USDT": "1000", "BTC": "1"}}
    market = {"mark_price": {BTC: "52000"}, "index_price": {"USDT": "1", "BTC": "52000"}}
    rule = {"asset": "BTC", "collateral_ratio": "0.9"}
    whole = {**held, "market": market, "assets": [rule]}
    assert cm.evaluate(*case({**whole, "assets": [{**rule, "known_to": "1"}]})) == cm.evaluate(*case(whole))
    with pytest.raises(UnsupportedRule, match=r"known to 0\.5"):
        cm.evaluate(*case({**whole, "assets": [{**rule, "known_to": "0.5"}]}))


@pytest.mark.parametrize(
    ("brackets", "why"),
    [
        ([{**ENDED[0], "known_to": "4000"}, ENDED[1]], "another one follows"),
        ([ENDED[0], {**ENDED[1], "known_to": "5000"}], "not above the last floor"),
    ],
)
def test_an_end_stands_on_the_last_row_above_its_floor(brackets: list[dict[str, str]], why: str) -> None:
    with pytest.raises(cm.AccountError, match=why):
        case({**LONG, "instruments": [{**LONG["instruments"][0], "brackets": brackets}]})


# debts by size --------------------------------------------------------------------------------------------------------

OWING = {
    "balances": {"USDT": "200000", "BTC": "-1.5"},
    "market": {"index_price": {"USDT": "1", "BTC": "50000"}, "mark_price": {}},
    "assets": [
        {"asset": "USDT", "collateral_ratio": "1"},
        {
            "asset": "BTC",
            "collateral_ratio": "0.9",
            "liability_tiers": [
                {"floor": "0", "maintenance_rate": "0.03", "initial_rate": "0.1"},
                {"floor": "1", "maintenance_rate": "0.05", "initial_rate": "0.2"},
            ],
        },
    ],
}


def test_a_debt_holds_the_rate_of_its_tier_on_the_whole() -> None:
    """1.5 BTC at 50,000 are 75,000: 5 % to stay, 20 % to open; 1 BTC is in the first tier still: 3 % and 10 %."""
    report = cm.evaluate(*case(OWING))
    assert (report.equity, report.maintenance_margin, report.initial_margin) == (125000, 3750, 15000)
    one = cm.evaluate(*case({**OWING, "balances": {"USDT": "200000", "BTC": "-1"}}))
    assert (one.maintenance_margin, one.initial_margin) == (1500, 5000)
    # 200,000 = 1.5 x p x 1.05
    (row,) = (row for row in cm.threshold(*case(OWING)).thresholds if row.symbol == "BTC")
    assert row.above.price is not None
    assert abs(row.above.price - D(200000) / D("1.575")) < D("1e-20")


def test_a_loss_that_grows_a_debt_into_the_next_tier_is_met_at_the_jump() -> None:
    """A long settled in USDT that loses: at a debt of 1,000 USDT the requirement jumps from 3 % to 50 % of it.

    Wallet 100, 1 coin from 2,000, 1 % maintenance, and 0.02 BTC (ratio 1) at 50,000 = 1,000 besides. At p = 900 the
    debt is 1,000: equity 0 is behind already; the crossing lies where 1100 + (p - 2000) = 0.01 p + 0.03 (1900 - p).
    """
    text = {
        "balances": {"USDT": "100", "BTC": "0.02"},
        "positions": [{"symbol": ETH, "quantity": "1", "entry_price": "2000", "leverage": "10"}],
        "market": {"mark_price": {ETH: "2000"}, "index_price": {"USDT": "1", "BTC": "50000"}},
        "instruments": [{**LONG["instruments"][0], "symbol": ETH}],
        "assets": [
            {"asset": "BTC", "collateral_ratio": "1"},
            {
                "asset": "USDT",
                "collateral_ratio": "1",
                "liability_tiers": [
                    {"floor": "0", "maintenance_rate": "0.03"},
                    {"floor": "800", "maintenance_rate": "0.5"},
                ],
            },
        ],
    }
    (row,) = (row for row in cm.threshold(*case(text)).thresholds if row.symbol == ETH)
    assert row.below.price is not None
    # before it, at a debt of 800 (p = 1100), 200 of equity meet 11 + 24 just before and 11 + 400 just after the jump
    assert abs(row.below.price - 1100) < D("1e-15")


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ({"liability_tiers": []}, "is empty"),
        ({"liability_tiers": [{"floor": "1", "maintenance_rate": "0.1"}]}, "must be 0"),
        ({"liability_tiers": [{"floor": "0", "maintenance_rate": "0.1"}] * 2}, "must rise"),
        (
            {
                "liability_tiers": [
                    {"floor": "0", "maintenance_rate": "0.1"},
                    {"floor": "1", "maintenance_rate": "0.05"},
                ]
            },
            "falls to",
        ),
        ({"liability_tiers": [{"floor": "0", "maintenance_rate": "0.1"}], "liability_initial_rate": "0.2"}, "beside"),
    ],
)
def test_tiers_of_a_debt_that_cannot_be_are_refused(rule: dict[str, Any], why: str) -> None:
    with pytest.raises(cm.AccountError, match=why):
        case({**OWING, "assets": [{"asset": "BTC", **rule}]})


def test_a_book_refuses_rules_that_no_table_holds() -> None:
    from crossmargin.engine.tables import require_compilable

    with pytest.raises(UnsupportedRule, match="liability_tiers"):
        require_compilable(case(OWING)[2])
    ended = {**LONG, "instruments": [{**LONG["instruments"][0], "brackets": ENDED}]}
    with pytest.raises(UnsupportedRule, match="known_to"):
        require_compilable(case(ended)[2])


def test_liability_rates_alone_leave_the_ratio_as_the_profile_has_it() -> None:
    text = {
        "profile": "okx-multi-currency",
        "as_of": "2025-08-01T00:00:00Z",
        "assets": [{"asset": "BTC", "liability_maintenance_rate": "0.05"}],
    }
    known = cm.load_profile("okx-multi-currency").on(date(2025, 8, 1)).assets["BTC"]
    rule = cm.case_from(text, "case").rules.assets["BTC"]
    assert rule.tiers == known.tiers
    assert rule.liability_maintenance_rate == D("0.05")


def test_a_dated_contract_has_the_size_of_its_pairs_perpetual() -> None:
    # Binance COIN-M: 100 USD a contract on BTC, 10 USD on every other coin, quarterlies alike
    rules = cm.load_profile("binance-coinm").on(date(2026, 11, 20))
    assert rules.contract_size("BTC/USD:BTC-261225") == rules.contract_size("BTC/USD:BTC") == 100
    assert rules.contract_size("ETH/USD:ETH-261225") == 10


def _kept_table(profile: str, symbol: str, now: str, then: str, value: str = "150000") -> Case:
    """One coin worth ``value``, an account of ``now`` whose contract keeps the table of ``then``."""
    return case_from(
        {
            "profile": profile,
            "as_of": f"{now}T00:00:00Z",
            "balances": {"USDT": "100000"},
            "positions": [{"symbol": symbol, "quantity": "1", "entry_price": value, "leverage": "10"}],
            "market": {"mark_price": {symbol: value}},
            "instruments": [{"symbol": symbol, "brackets_as_of": then}],
        },
        "test",
    )


def test_a_position_keeps_the_table_of_the_day_it_was_opened() -> None:
    """BingX: 150,000 of BTC hold 0.38 % and 0.05 % to close by the table of 2024, 0.33 % and 0.05 % by that of 2026."""
    old = cm.evaluate(*_kept_table("bingx-usdm", "BTC/USDT:USDT", "2026-03-01", "2025-12-01"))
    assert old.maintenance_margin == Decimal("645")
    new = cm.evaluate(*_kept_table("bingx-usdm", "BTC/USDT:USDT", "2026-03-01", "2026-02-01"))
    assert new.maintenance_margin == Decimal("570")


@pytest.mark.parametrize(
    ("profile", "symbol", "then", "why"),
    [
        ("bingx-usdm", "BTC/USDT:USDT", "2020-01-01", "has no table of it then"),
        ("bingx-usdm", "XYZ/USDT:USDT", "2025-12-01", "has no table of it then"),
        ("bitget-usdm", "BTC/USDT:USDT", "2025-11-09", "by another rule then"),
        ("weex-usdm", "BTC/USDT:USDT", "2025-11-01", "has no table of it then|by another rule then"),
        ("htx-usdm", "BTC/USDT:USDT", "2025-01-01", "by another rule then"),
    ],
)
def test_a_table_that_is_not_there_or_was_read_otherwise_is_refused(
    profile: str, symbol: str, then: str, why: str
) -> None:
    with pytest.raises(ProfileError, match=why):
        _kept_table(profile, symbol, "2026-08-01", then)


def test_a_table_is_named_once_and_looked_up_before_it_is_used() -> None:
    rule = {"symbol": "BTC/USDT:USDT", "brackets_as_of": "2025-12-01"}
    table = [{"notional_floor": "0", "maintenance_rate": "0.1"}]
    with pytest.raises(AccountError, match="beside brackets"):
        case_from(
            {"profile": "bingx-usdm", "as_of": "2026-03-01T00:00:00Z", "instruments": [rule | {"brackets": table}]}, "t"
        )
    rules = load_profile("bingx-usdm").on(date(2026, 3, 1))
    with pytest.raises(ProfileError, match="is known to account files only"):
        rules.with_overrides((cm.InstrumentRule.model_validate(rule),), ())


def _bybit_with_orders(*orders: tuple[str, str], pair: bool = False) -> Decimal:
    """Maintenance margin under Bybit's rules of 2026: 10 BTC long at 60,000 (or a hedge of 1) beside resting orders."""
    legs = [("10", "net")] if not pair else [("1", "long"), ("-1", "short")]
    case = case_from(
        {
            "profile": "bybit-uta",
            "as_of": "2026-01-01T00:00:00Z",
            "balances": {"USDT": "900000"},
            "positions": [
                {
                    "symbol": "BTC/USDT:USDT", "quantity": quantity, "entry_price": "60000", "leverage": "10",
                    "position_side": side,
                }
                for quantity, side in legs
            ],
            "open_orders": [{"symbol": "BTC/USDT:USDT", "quantity": q, "price": price} for q, price in orders],
            "market": {"mark_price": {"BTC/USDT:USDT": "60000"}, "index_price": {"USDT": "1", "BTC": "60000"}},
        },
        "test",
    )  # fmt: skip
    found = cm.evaluate(*case).maintenance_margin
    assert found is not None
    return found


def test_resting_orders_hold_maintenance_margin_at_the_tier_of_positions_and_orders() -> None:
    """10 BTC: 600,000 x 0.5 % = 3,000, and the fee to close at 54,000: 297.

    30 more to buy make 2,400,000: x 0.56 % - 1,200 = 12,240. 15 to sell leave 5 short, less than the 10 that are held;
    25 to sell leave 15 short: 900,000 x 0.5 %. Orders that reduce only open nothing.
    """
    assert _bybit_with_orders() == D("3297")
    assert _bybit_with_orders(("30", "50000")) == D("12537")
    assert _bybit_with_orders(("10", "50000"), ("20", "40000")) == D("12537")
    assert _bybit_with_orders(("-15", "70000")) == D("3297")
    assert _bybit_with_orders(("-25", "70000")) == D("4797")


def test_a_hedge_with_orders_is_charged_for_what_fills_would_leave_open() -> None:
    """A long and a short of 1: only fees, 0.00055 x (54,000 + 66,000) = 66; 2 more to buy leave 2: 120,000 x 0.5 %."""
    assert _bybit_with_orders(pair=True) == D("66")
    assert _bybit_with_orders(("2", "50000"), ("-1", "70000"), pair=True) == D("666")
