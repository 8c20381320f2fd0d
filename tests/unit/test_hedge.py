"""What positions need and hedges free, worked by hand."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

import crossmargin as cm
from crossmargin.analytics.best_hedge import HedgeChoice, best_hedge
from crossmargin.analytics.hedge import hedge, neutral_pairs, requirements

D, F = Decimal, Fraction
PLAIN = [{"notional_floor": "0", "maintenance_rate": "0.005"}]


def near(figure: D | None, exact: F) -> bool:
    return figure is not None and abs(F(figure) - exact) <= F(1, 10**30) * max(1, abs(exact))


def account(**changes: Any) -> Any:
    """3 BTC long at 60,000 on 1 BTC of collateral that counts 95 %; fees of 0.05 %."""
    raw = {
        "profile": "plain-cross",
        "as_of": "2026-11-20T08:00:00Z",
        "balances": {"BTC": "1"},
        "positions": [{"symbol": "BTC/USDT:USDT", "quantity": "3", "entry_price": "60000", "leverage": "10"}],
        "market": {
            "mark_price": {"BTC/USDT:USDT": "60000", "BTC/USDT": "60000", "ETH/USDT:USDT": "3000"},
            "index_price": {"BTC": "60000"},
        },
        "instruments": [
            {"symbol": "BTC/USDT:USDT", "brackets": PLAIN, "taker_fee": "0.0005"},
            {"symbol": "ETH/USDT:USDT", "brackets": PLAIN, "taker_fee": "0.0005"},
            {"symbol": "BTC/USDT", "taker_fee": "0.0005"},
        ],
        "assets": [{"asset": "BTC", "collateral_ratio": "0.95"}],
    }
    return cm.case_from({**raw, **changes}, "account")


def test_requirements_that_add_up_offset_nothing():
    (row,) = requirements(*account())
    assert (row.marginal_maintenance, row.stand_alone_maintenance, row.offset_maintenance) == (900, 900, 0)
    assert (row.marginal_initial, row.offset_initial) == (18000, 0)
    assert row.headroom_without == 57000  # 0.95 x 60,000


def test_a_pool_charged_at_its_highest_rate_needs_more_for_both():
    """60,000 at 0.5 % and 3,000 at 1 %: together 630; BTC alone 300, ETH alone 30."""
    case = account(
        profile="plain-highest-rate",
        balances={"USDT": "20000"},
        assets=[],
        positions=[
            {"symbol": "BTC/USDT:USDT", "quantity": "1", "entry_price": "60000", "leverage": "10"},
            {"symbol": "ETH/USDT:USDT", "quantity": "1", "entry_price": "3000", "leverage": "10"},
        ],
        instruments=[
            {"symbol": "BTC/USDT:USDT", "brackets": PLAIN},
            {"symbol": "ETH/USDT:USDT", "brackets": [{"notional_floor": "0", "maintenance_rate": "0.01"}]},
        ],
    )
    btc, eth = requirements(*case)
    assert (btc.marginal_maintenance, btc.stand_alone_maintenance, btc.offset_maintenance) == (600, 300, -300)
    assert (eth.marginal_maintenance, eth.stand_alone_maintenance, eth.offset_maintenance) == (330, 30, -300)


def test_two_legs_that_a_venue_nets():
    """Bybit charges the larger side less the smaller: 1 long beside 0.4 short needs 0.6; the short frees margin.

    0.33 % of 60,000 = 198 alone, of 24,000 = 79.2 alone, of 36,000 = 118.8 together; close fees add to both alike.
    """
    legs = [
        {"quantity": "1", "position_side": "long"},
        {"quantity": "-0.4", "position_side": "short"},
    ]
    case = account(
        profile="bybit-uta",
        balances={"USDT": "20000"},
        assets=[],
        positions=[{"symbol": "BTC/USDT:USDT", "entry_price": "60000", "leverage": "10", **leg} for leg in legs],
        market={"mark_price": {"BTC/USDT:USDT": "60000"}, "index_price": {"USDT": "1"}},
        instruments=[
            {
                "symbol": "BTC/USDT:USDT",
                "brackets": [{"notional_floor": "0", "maintenance_rate": "0.0033"}],
                "taker_fee": "0",
            }
        ],
    )
    long, short = requirements(*case)
    assert (long.stand_alone_maintenance, short.stand_alone_maintenance) == (198, D("79.2"))
    assert short.marginal_maintenance == D("118.8") - 198
    assert long.marginal_maintenance == D("118.8") - D("79.2")
    assert short.offset_maintenance == long.offset_maintenance == D("158.4")


def test_closing_by_hand():
    """Selling all 3 costs 180,000 x 0.0005 = 90, frees 900 and 18,000: headroom 56,100 -> 57,000 - 90."""
    effect = hedge(*account(), {"BTC/USDT:USDT": D(-3)})
    (trade,), (pool,) = effect.trades, effect.pools
    assert (trade.fee, trade.realized_pnl, trade.currency) == (90, 0, "USDT")
    assert (pool.freed_maintenance, pool.freed_initial, pool.headroom_change) == (900, 18000, 810)
    assert pool.after is not None and pool.after.headroom == 56910
    before = [row.before for row in effect.thresholds if row.symbol == "BTC/USDT:USDT" and row.side == "below"]
    assert before[0] is not None and near(before[0].price, 180000 / F("3.935"))


def test_a_trade_through_zero_closes_first_and_opens_the_rest():
    """Long 3 from 50,000, sell 5 at 60,000: 30,000 realized, short 2 from 60,000; fees 150, initial margin 12,000."""
    held = [{"symbol": "BTC/USDT:USDT", "quantity": "3", "entry_price": "50000", "leverage": "10"}]
    effect = hedge(*account(positions=held), {"BTC/USDT:USDT": D(-5)}, leverage=D(5))
    assert (effect.trades[0].realized_pnl, effect.trades[0].fee) == (30000, 150)
    after = effect.pools[0].after
    # 57,000 + 30,000 - 150 of equity; 120,000 / 10 to hold it: a symbol keeps its leverage
    assert after is not None and (after.equity, after.initial_margin, after.maintenance_margin) == (86850, 12000, 600)


def test_a_spot_sale_moves_coins_to_cash():
    """0.5 BTC sold at 60,000: 28,500 of collateral becomes 30,000 - 15 in cash."""
    (pool,) = hedge(*account(), {"BTC/USDT": D("-0.5")}).pools
    assert pool.headroom_change == D(30000 - 15 - 28500)


def test_a_trade_in_hedge_mode_closes_the_other_side_first():
    legs = [
        {"symbol": "BTC/USDT:USDT", "entry_price": "60000", "leverage": "10", **leg}
        for leg in (
            {"quantity": "2", "position_side": "long"},
            {"quantity": "-0.5", "position_side": "short"},
        )
    ]
    (pool,) = hedge(*account(positions=legs), {"BTC/USDT:USDT": D(1)}).pools
    # buying 1 closes the short of 0.5 and adds 0.5 to the long: 2.5 x 60,000 left, 30 paid
    assert pool.before is not None and pool.before.maintenance_margin == 750
    assert pool.after is not None and pool.after.maintenance_margin == 750
    assert pool.headroom_change == -30
    (pool,) = hedge(*account(positions=legs), {"BTC/USDT:USDT": D("0.5")}).pools
    assert pool.freed_maintenance == 150


def box(cash: dict[str, str], legs: list[tuple[str, str]]) -> Any:
    """ETH at 2,300 in two wallets of one account, 0.5 % on each leg, 10 % maintenance on what is owed."""
    case = account(
        balances=cash,
        assets=[],
        positions=[{"symbol": s, "quantity": q, "entry_price": "2300", "leverage": "20"} for s, q in legs],
        market={
            "mark_price": {"ETH/USDT:USDT": "2300", "ETH/USDC:USDC": "2300", "ETH/USDT:USDT-261225": "2300"},
            "index_price": {"USDC": "1"},
        },
        instruments=[
            {"symbol": s, "brackets": PLAIN} for s in ("ETH/USDT:USDT", "ETH/USDC:USDC", "ETH/USDT:USDT-261225")
        ],
    )
    slots = case.rules.slots
    debts = slots.collateral.model_copy(update={"liability_maintenance_rate": D("0.1")})
    return case._replace(rules=replace(case.rules, slots=slots.model_copy(update={"collateral": debts})))


SIZE = "108.695652173913043478"  # 250,000 / 2,300


@pytest.mark.parametrize(
    ("cash", "legs", "pump"),
    [
        # 20,000 = 2,500 f + 0.1 x 250,000 (f - 1): f - 1 = 17,500 / 27,500 (published 0.6363636363636365)
        ({"USDT": "20000"}, [("ETH/USDT:USDT", SIZE), ("ETH/USDC:USDC", f"-{SIZE}")], F(17500, 27500)),
        # 20,000 moved into the other wallet: nothing is owed before +8 %: 19,500 / 27,500 (published 0.709090909)
        ({"USDC": "20000"}, [("ETH/USDT:USDT", SIZE), ("ETH/USDC:USDC", f"-{SIZE}")], F(19500, 27500)),
        # both legs in one wallet: only the legs grow, 20,000 = 2,500 f (published 7)
        ({"USDT": "20000"}, [("ETH/USDT:USDT", SIZE), ("ETH/USDT:USDT-261225", f"-{SIZE}")], F(7)),
    ],
)
def test_a_pair_that_is_neutral_in_price_and_not_in_margin(cash: dict[str, str], legs: list[Any], pump: F):
    (pair,) = neutral_pairs(*box(cash, legs))
    assert (pair.coin, pair.delta, pair.gross, pair.margin_neutral) == ("ETH", 0, 2 * D(SIZE), False)
    assert pair.above.kind == "price" and pair.above.distance is not None
    assert abs(F(pair.above.distance) - pump) < F(1, 10**15)  # the size is cut to 18 decimals


def test_a_coin_held_against_a_short_is_a_pair_too():
    """1 BTC held at 95 % against 1 short: 57,000 f - 60,000 (f - 1) - 300 f = 0 at f = 60,000 / 3,300."""
    case = account(positions=[{"symbol": "BTC/USDT:USDT", "quantity": "-1", "entry_price": "60000", "leverage": "10"}])
    (pair,) = neutral_pairs(*case)
    assert (pair.delta, pair.gross, pair.below.kind) == (0, 2, "never")
    assert near(pair.above.distance, F(60000, 3300) - 1)
    assert neutral_pairs(*account()) == ()  # long and long


def test_the_best_hedge_by_hand():
    """To survive -30 %: headroom there is 39,900 - 54,000 - 630 = -14,730.

    A contract sold saves 18,000 + 210 and costs 30; a coin sold brings 60,000 - 30 for the 39,900 it counts there.
    """
    found = best_hedge(*account(), ["BTC/USDT:USDT", "BTC/USDT"], distance=D("0.3"))
    assert [(row.instrument, row.side) for row in found[:2]] == [("BTC/USDT", "sell"), ("BTC/USDT:USDT", "sell")]
    spot, perp = found[:2]
    assert near(perp.trades[0].quantity, -F(14730, 18180)) and near(spot.trades[0].quantity, -F(14730, 20070))
    assert near(perp.fee, 30 * F(14730, 18180)) and near(spot.fee, 30 * F(14730, 20070))
    assert {row.reason for row in found[2:]} == {"no size of it reaches the target"}
    # by margin the contract wins: it frees 6,000 each, the coin frees nothing
    first = best_hedge(*account(), ["BTC/USDT:USDT", "BTC/USDT"], distance=D("0.3"), by="margin")[0]
    assert first.instrument == "BTC/USDT:USDT"
    assert near(first.initial_margin, 18000 - 6000 * F(14730, 18180))


def test_a_wanted_headroom_now():
    """56,100 now; a contract sold frees 300 and costs 30: 56,640 needs 2 sold."""
    found = best_hedge(*account(), ["BTC/USDT:USDT"], headroom=D(56640))
    assert found[0].trades[0].quantity == -2 and found[0].headroom == 56640
    assert [row.side for row in best_hedge(*account(), ["BTC/USDT:USDT"], headroom=D(56000))] == ["none"]


def test_a_pair_of_instruments():
    """Sold together, 1 contract and 0.5 coins a unit: (18,180 + 0.5 x 20,070) a unit against 14,730."""
    pair = {"BTC/USDT:USDT": D(-1), "BTC/USDT": D("-0.5")}
    found = best_hedge(*account(), [pair], distance=D("0.3"))
    assert found[0].side == "buy"  # a unit of the pair is bought: its weights are sales
    units = F(14730) / (18180 + F(20070) / 2)
    assert near(found[0].trades[0].quantity, -units) and near(found[0].trades[1].quantity, -units / 2)


def test_a_hedge_that_settles_elsewhere_must_not_break_its_own_pool():
    """Binance keeps a pool for each settle asset: without USDC nothing can be opened there."""
    case = cm.case_from(
        {
            "profile": "binance-usdm",
            "as_of": "2026-11-20T08:00:00Z",
            "balances": {"USDT": "9000"},
            "positions": [{"symbol": "BTC/USDT:USDT", "quantity": "1", "entry_price": "60000", "leverage": "10"}],
            "market": {"mark_price": {"BTC/USDT:USDT": "60000", "BTC/USDC:USDC": "60000"}},
        },
        "account",
    )
    found = best_hedge(*case, ["BTC/USDC:USDC"], distance=D("0.2"), pool="USDT")
    assert {row.reason for row in found} == {"no size of it reaches the target"}
    (own, _) = best_hedge(*case, ["BTC/USDT:USDT"], distance=D("0.2"), pool="USDT")
    assert own.side == "sell" and own.reason is None


def test_ranking_puts_what_cannot_be_opened_after_what_can():
    """ETH short 10 x leverage on little margin: reaching the target needs more initial margin than there is."""
    case = account(
        balances={"USDT": "20000"},
        assets=[],
        market={
            "mark_price": {"BTC/USDT:USDT": "60000", "ETH/USDT:USDT": "3000"},
            "index_price": {"BTC": "60000"},
        },
    )
    found = best_hedge(*case, ["ETH/USDT:USDT", "BTC/USDT:USDT"], distance=D("0.2"), leverage=D(2))
    assert [(row.instrument, row.openable) for row in found[:2]] == [("BTC/USDT:USDT", True), ("ETH/USDT:USDT", False)]


def test_bad_questions():
    with pytest.raises(cm.MarketDataError, match=r"market\.mark_price\.XRP/USDT"):
        hedge(*account(instruments=[{"symbol": "XRP/USDT", "taker_fee": "0"}], positions=[]), {"XRP/USDT": D(1)})
    with pytest.raises(cm.AccountError, match="no taker fee is known"):
        hedge(*account(), {"SOL/USDT:USDT": D(1)})
    with pytest.raises(cm.AccountError, match="is 0; leave the trade out"):
        hedge(*account(), {"BTC/USDT:USDT": D(0)})


def test_every_name_that_is_no_symbol_is_refused_even_where_no_hedge_is_needed():
    """The account stands, so an unknown instrument would otherwise come back as "no trade needed"."""
    with pytest.raises(cm.AccountError) as caught:
        best_hedge(*account(), ["XYZ", {"BTC/USDT:USDT": D(1), "btc": D(-1)}])
    assert [(fault.path, fault.value) for fault in caught.value.faults] == [("symbol", "XYZ"), ("symbol", "btc")]
    with pytest.raises(cm.AccountError, match="must be a unified symbol"):
        hedge(*account(), {"XYZ": D(1)})
    with pytest.raises(cm.AccountError, match="distance: must be from 0 to below 1"):
        best_hedge(*account(), ["BTC/USDT:USDT"], distance=D(30))
    with pytest.raises(cm.AccountError, match="pool: is not one of account"):
        best_hedge(*account(), ["BTC/USDT:USDT"], pool="USDT")


def test_an_unknown_leverage_is_unknown_and_not_zero():
    bare = [{"symbol": "BTC/USDT:USDT", "quantity": "3", "entry_price": "60000"}]
    (row,) = requirements(*account(positions=bare))
    assert (row.marginal_initial, row.offset_initial) == (None, None)
    found: tuple[HedgeChoice, ...] = best_hedge(*account(positions=bare), ["BTC/USDT:USDT"], distance=D("0.3"))
    assert found[0].openable is None and found[0].initial_margin is None
