"""Liquidation step by step in the ledger: who pays what, in which order, and never more than is owed."""

from __future__ import annotations

from typing import Any

import pytest
from world import BTC, ETH, D, World, instrument

from crossmargin.clearing.events import Event

BYBIT = "bybit-uta"


def venue(profile: str, *, fund: str = "0", **rates: str) -> World:
    world = World()
    world.rules(instrument(BTC, rates.get("rate", "0.01")), instrument(ETH, "0.01"), profile=profile)
    if D(fund):
        world.do("deposit", account="@insurance_fund", asset="USDT", amount=fund)
    world.mark(BTC="100", ETH="10")
    return world


def trader(world: World, name: str, quantity: str, wallet: str, *, price: str = "100", **more: Any) -> None:
    profile = next(iter(world.state.rules))
    world.open(name, profile, USDT=wallet)
    world.buy(name, BTC, quantity, price, "20", **more)


def events_of(events: list[Event], kind: str) -> list[Event]:
    return [event for event in events if event["event"] == kind]


def test_orders_are_cancelled_before_anything_is_sold() -> None:
    world = venue("binance-usdm")
    trader(world, "a", "100", "700")
    world.do("place_order", account="a", order_id="o", symbol=BTC, quantity="1", price="90")
    world.mark(BTC="93.5")  # 700 - 650 = 50 against 93.5
    first = world.do("liquidate_step", account="a", pool="USDT")
    assert events_of(first, "liquidation")[0]["step"] == "cancel_orders"
    assert events_of(first, "order_gone")[0]["why"] == "liquidation"
    assert world.position("a", BTC) == 100


def test_a_partial_reduction_ends_when_the_pool_stands() -> None:
    # equity 700 - 610 = 90 against 0.01 x 9,390 = 93.9; a fee of 0.003 a value closed: s = (m N - E) / (N (m - f))
    # = 3.9 / (9,390 x 0.007) = 0.0593336...: 5.93 of 100 are sold and the rest stands
    world = venue("binance-usdm")
    trader(world, "a", "100", "700")
    world.mark(BTC="93.9")
    assert world.liquidate("a", "USDT") == ["reduce_to_requirement"]
    assert D("94.06") < world.position("a", BTC) < D("94.07")
    assert world.state.accounts["a"].levels == {}
    # the liquidation fee of 0.003 x 5.933 x 93.9 = 1.67 is the venue's
    assert D("1.66") < world.venue("fees") < D("1.68")


def test_a_take_over_gives_the_remainder_to_the_fund_and_leaves_nothing() -> None:
    # one bracket below the fee: closing does not help, the fund takes the position at the bankruptcy price
    world = venue("binance-usdm", rate="0.002", fund="1000")
    trader(world, "a", "100", "700")
    world.mark(BTC="93.1")  # 700 - 690 = 10 against 18.62
    assert world.liquidate("a", "USDT") == ["take_over"]
    assert (world.held("a"), world.venue("insurance_fund"), world.position("a", BTC)) == (0, 1010, 0)


def test_a_slice_is_sent_first_and_then_waited_for() -> None:
    world = World()
    world.do("change_rules", profile="hyperliquid", on="2026-11-20")
    symbol = "ETH/USDC:USDC"
    world.do("mark", symbol=symbol, price="3000")
    world.open("a", "hyperliquid", USDC="20000")
    world.buy("a", symbol, "100", "3000", "20")
    world.later(seconds=1)
    # 300,000 at 25 x: maintenance 2 %; 20,000 - 135 of fee - 100 x 144 = 5,465 against 5,712
    world.do("mark", symbol=symbol, price="2856")
    world.do("liquidate_step", account="a", pool="USDC")
    assert world.position("a", symbol) == 80
    # 5,465 against 0.02 x 228,480 = 4,569.60: a fifth was enough for now, and no more is taken
    assert world.refuse("liquidate_step", account="a", pool="USDC")["why"].endswith("not reached its liquidation level")
    world.later(seconds=1)
    # 5,465 - 80 x 26 = 3,385 against 4,528; after another fifth still against 3,622.40
    world.do("mark", symbol=symbol, price="2830")
    world.do("liquidate_step", account="a", pool="USDC")
    assert world.position("a", symbol) == 64
    refused = world.refuse("liquidate_step", account="a", pool="USDC")
    assert refused["accepted"] == {"at": "from 2026-11-20T08:00:32Z"}
    world.later(seconds=30)
    world.do("mark", symbol=symbol, price="2830")
    assert world.liquidate("a", "USDC") == ["largest_loss_first"]  # the rest whole


def test_a_liquidation_under_way_waits_for_the_time_of_grace_as_well() -> None:
    # the slice of 20 at 08:00:02 waits until 08:00:32; trading resumes then with 60 s of grace, until 08:01:02
    world = World(grace_seconds="60")
    world.do("change_rules", profile="hyperliquid", on="2026-11-20")
    symbol = "ETH/USDC:USDC"
    world.do("mark", symbol=symbol, price="3000")
    world.open("a", "hyperliquid", USDC="20000")
    world.buy("a", symbol, "100", "3000", "20")
    for price in ("2856", "2830"):  # a fifth each time, as above
        world.later(seconds=1)
        world.do("mark", symbol=symbol, price=price)
        world.do("liquidate_step", account="a", pool="USDC")
    assert world.position("a", symbol) == 64
    world.do("resume")
    world.later(seconds=40)
    world.do("mark", symbol=symbol, price="2830")
    refused = world.refuse("liquidate_step", account="a", pool="USDC")
    assert refused["accepted"] == {"at": "from 2026-11-20T08:01:02Z"}
    world.later(seconds=20)
    world.do("mark", symbol=symbol, price="2830")
    assert world.liquidate("a", "USDC") == ["largest_loss_first"]


def test_winners_are_closed_at_the_bankruptcy_price_best_rank_first_and_no_more_than_needed() -> None:
    # long 100 from 100 with 700: bankrupt at 93. At 90 the pool is 300 short and the fund is empty.
    world = venue("binance-usdm")
    trader(world, "rich", "-60", "6000")
    trader(world, "bold", "-60", "600")
    trader(world, "long", "60", "6000")
    trader(world, "a", "100", "700")
    world.open("flat", "binance-usdm", USDT="5000")
    world.mark(BTC="90")
    assert world.liquidate("a", "USDT") == ["auto_deleverage"]
    # bold's 600 + 600 of equity make it the first of the queue: its 60 go whole, 40 of rich's
    assert (world.position("bold", BTC), world.position("rich", BTC)) == (0, -20)
    assert (world.held("bold"), world.held("rich")) == (600 + 60 * 7, 6000 + 40 * 7)
    assert (world.held("a"), world.position("a", BTC)) == (0, 0)
    assert (world.held("long"), world.held("flat"), world.position("long", BTC)) == (6000, 5000, 60)
    assert (world.venue("bad_debt"), world.venue("insurance_fund")) == (0, 0)


def test_the_fund_pays_first_and_winners_only_the_rest() -> None:
    # 300 short at 90; the fund's 90 take 30 of the 100, a trader of the other side gets the 70 that are left
    world = venue("binance-usdm", fund="90")
    trader(world, "b", "-100", "2000")
    trader(world, "a", "100", "700")
    world.mark(BTC="90")
    assert world.liquidate("a", "USDT") == ["take_over", "auto_deleverage"]
    assert (world.venue("insurance_fund"), world.position("b", BTC)) == (0, -30)
    assert world.held("b") == 2000 + 70 * 7
    assert (world.held("a"), world.venue("bad_debt")) == (0, 0)


def test_what_winners_cannot_take_is_shared_by_other_profits_and_then_owed_by_the_venue() -> None:
    # 300 short; 40 of 100 meet a winner (-120), ETH's profit of 50 in the same asset bears 50, and 130 are bad debt
    world = venue("binance-usdm")
    trader(world, "b", "-40", "2000")
    world.open("c", "binance-usdm", USDT="2000")
    world.buy("c", ETH, "-50", "10", "10")
    trader(world, "a", "100", "700")
    world.mark(BTC="90", ETH="9")
    assert world.liquidate("a", "USDT") == ["auto_deleverage"]
    assert (world.held("b"), world.position("b", BTC)) == (2000 + 40 * 7, 0)
    assert (world.held("c"), world.position("c", ETH)) == (2000 - 50, -50)
    assert (world.held("a"), world.venue("bad_debt")) == (0, -130)


@pytest.mark.parametrize("short", ["0.01", "1", "299"])
def test_a_debt_is_paid_whatever_its_size(short: str) -> None:
    """Debts far below and far above a lot: the walk ends with nothing owed (no dust that can never be paid)."""
    world = venue("plain-isolated", fund="1000")
    trader(world, "a", "100", "700")
    price = D(93) - D(short) / 100
    world.mark(BTC=f"{price:f}")
    steps = world.liquidate("a", "USDT")
    assert steps == ["pro_rata", "insurance_fund"]
    assert (world.held("a"), world.venue("insurance_fund")) == (0, 1000 - D(short))


def test_a_pocket_ends_alone_and_its_orders_with_it() -> None:
    world = venue("plain-isolated")
    world.open("a", "plain-isolated", USDT="5000")
    world.do("set_margin_mode", account="a", symbol=BTC, margin_mode="isolated")
    world.do("transfer", account="a", symbol=BTC, amount="700")
    world.buy("a", BTC, "100", "100", "20")
    world.do("place_order", account="a", order_id="r", symbol=BTC, quantity="-100", price="120", reduce_only=True)
    events = world.mark(BTC="93.5")
    assert events[1]["pool"] == f"{BTC} isolated"
    assert world.liquidate("a", f"{BTC} isolated") == ["cancel_orders", "pro_rata"]
    # 5,000 less 700, and 700 - 650 = 50 come back
    assert (world.held("a"), world.held("a", f"{BTC} net")) == (4350, 0)
    assert world.state.accounts["a"].orders == {}


def test_a_pocket_that_is_bankrupt_takes_nothing_from_its_owners_wallet() -> None:
    world = venue("plain-isolated", fund="1000")
    world.open("a", "plain-isolated", USDT="5000")
    world.do("set_margin_mode", account="a", symbol=BTC, margin_mode="isolated")
    world.do("transfer", account="a", symbol=BTC, amount="700")
    world.buy("a", BTC, "100", "100", "20")
    world.mark(BTC="91")  # 200 beyond the pocket
    world.liquidate("a", f"{BTC} isolated")
    assert (world.held("a"), world.held("a", f"{BTC} net"), world.venue("insurance_fund")) == (4300, 0, 800)


def test_debts_are_repaid_from_other_assets_before_positions_are_closed() -> None:
    world = World(default_quantum="0.00000001")
    world.do("change_rules", profile=BYBIT, on="2026-11-20")
    for asset, price in (("USDT", "1"), ("BTC", "60000")):
        world.do("index", asset=asset, price=price)
    world.do("mark", symbol=BTC, price="60000")
    world.open("a", BYBIT, BTC="0.1")
    world.buy("a", BTC, "0.2", "60000", "10")
    world.later(seconds=1)
    for asset, price in (("USDT", "1"), ("BTC", "42000")):
        world.do("index", asset=asset, price=price)
    world.do("mark", symbol=BTC, price="42000")
    world.buy("a", BTC, "-0.1", "42000", reduce_only=True)  # a loss of 1,800 realized and owed
    world.later(seconds=1)
    events = [*world.do("index", asset="BTC", price="37000"), *world.do("mark", symbol=BTC, price="37000")]
    world.do("index", asset="USDT", price="1.001")
    assert events_of(events, "level")
    steps = world.liquidate("a", "account")
    assert steps[0] == "repay"
    # what was sold and what was repaid stand against each other at the venue's exchange
    assert world.venue("exchange", "BTC") > 0 > world.venue("exchange", "USDT")


def test_a_verdict_at_the_very_edge_is_the_exact_judges() -> None:
    # equity 700 - 100 (100 - p) meets 0.01 x 100 p at p = 9,300 / 99 = 93.939393...
    world = venue("plain-isolated")
    trader(world, "a", "100", "700")
    assert len(world.mark(BTC="93.939393939393939394")) == 1
    assert len(world.mark(BTC="93.939393939393939393")) == 2
    assert world.mark(BTC="93.939393939393939394")[1]["level"] is None
