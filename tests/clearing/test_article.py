"""The article lived through as commands, every balance to the cent and worked by hand."""

from __future__ import annotations

from world import BTC, ETH, SOL, D, World, instrument


def cross() -> World:
    world = World()
    world.rules(instrument(BTC), instrument(ETH))
    world.open("alice", USDT="2000")
    world.mark(BTC="100000", ETH="4000")
    return world


def isolated() -> World:
    world = World()
    world.rules(instrument(BTC), instrument(ETH), profile="plain-isolated")
    world.open("alice", "plain-isolated", USDT="2000")
    world.mark(BTC="100000", ETH="4000")
    for symbol, margin, leverage in ((BTC, "700", "5"), (ETH, "1300", "8")):
        world.do("set_leverage", account="alice", symbol=symbol, leverage=leverage)
        world.do("set_margin_mode", account="alice", symbol=symbol, margin_mode="isolated")
        world.do("transfer", account="alice", symbol=symbol, amount=margin)
    return world


def test_one_pool_of_2000_opens_both_and_refuses_what_500_cannot_carry() -> None:
    # BTC 0.05 x 100,000 / 5 = 1,000; ETH 4,000 / 8 = 500; 500 stay free, and another ETH needs exactly 500
    world = cross()
    world.buy("alice", BTC, "0.05", "100000", "5")
    world.buy("alice", ETH, "1", "4000", "8")
    more = {"account": "alice", "symbol": ETH, "price": "4000"}
    refused = world.refuse("place_order", order_id="x", quantity="1.002", **more)
    # 1.002 x 4,000 / 8 = 501: one dollar short
    assert refused["code"] == "insufficient_margin"
    assert refused["accepted"] == {"deposit": "1", "asset": "USDT"}
    world.do("place_order", order_id="y", quantity="1", **more)
    assert world.refuse("withdraw", account="alice", asset="USDT", amount="0.01")["accepted"] == {"amount": "0"}
    world.do("cancel_order", account="alice", order_id="y")
    assert world.refuse("withdraw", account="alice", asset="USDT", amount="500.01")["accepted"] == {"amount": "500"}
    world.do("withdraw", account="alice", asset="USDT", amount="500")


def test_two_pockets_refuse_the_btc_order_that_one_pool_carries() -> None:
    # 1,000 of initial margin against a pocket of 700; the 1,300 beside it do not help
    world = isolated()
    refused = world.refuse("place_order", account="alice", order_id="b", symbol=BTC, quantity="0.05", price="100000")
    assert refused["code"] == "insufficient_margin"
    assert refused["accepted"] == {"transfer": "300", "asset": "USDT"}
    world.buy("alice", ETH, "1", "4000")
    # 800 of the ETH pocket are free; 300 of them make the BTC order possible
    world.do("transfer", account="alice", symbol=ETH, amount="-300")
    world.do("transfer", account="alice", symbol=BTC, amount="300")
    world.buy("alice", BTC, "0.05", "100000")
    assert (world.held("alice", f"{BTC} net"), world.held("alice", f"{ETH} net")) == (1000, 1000)


def test_the_pool_absorbs_a_loss_that_ends_the_pocket() -> None:
    world = cross()
    world.buy("alice", BTC, "0.05", "100000", "5")
    world.buy("alice", ETH, "1", "4000", "8")
    # BTC loses 0.05 x 14,000 = 700: equity 1,300 against 0.005 x (4,300 + 4,000) = 41.50
    assert [event["event"] for event in world.mark(BTC="86000")] == ["mark"]
    world.refuse("liquidate_step", account="alice", pool="account")

    alone = isolated()
    alone.do("transfer", account="alice", symbol=ETH, amount="-300")
    alone.do("transfer", account="alice", symbol=BTC, amount="300")
    alone.buy("alice", BTC, "0.05", "100000")
    alone.buy("alice", ETH, "1", "4000")
    # a pocket of 1,000: 1,000 + 0.05 (p - 100,000) = 0.005 x 0.05 p at p = 4,000 / 0.04975 = 80,402.0100...
    assert [event["event"] for event in alone.mark(BTC="80402.02")] == ["mark"]
    (_, level) = alone.mark(BTC="80402")
    assert level == {"event": "level", "account": "alice", "pool": f"{BTC} isolated", "level": "liquidation"}
    assert alone.liquidate("alice", f"{BTC} isolated") == ["pro_rata"]
    # closed at 80,402: 1,000 - 979.90 = 20.10 go back to the wallet; ETH's pocket is untouched
    assert (alone.held("alice"), alone.held("alice", f"{ETH} net")) == (D("20.10"), 1000)
    assert (alone.position("alice", BTC), alone.position("alice", ETH)) == (0, 1)
    assert alone.venue("market") == D("979.90")


def three() -> World:
    world = World()
    world.rules(*(instrument(symbol, "0.02") for symbol in (BTC, ETH, SOL)))
    world.open("bob", USDT="10000")
    world.mark(BTC="49000", ETH="3000", SOL="165")
    for symbol, quantity, price in ((BTC, "2", "49000"), (ETH, "25", "3000"), (SOL, "500", "165")):
        world.buy("bob", symbol, quantity, price, "50")
    return world


def test_three_positions_are_liquidated_together_500_short() -> None:
    # +2,000, 0 and -7,500 on 10,000: equity 4,500; 2 % of 100,000 + 75,000 + 75,000 = 5,000
    world = three()
    world.mark(BTC="50000")
    assert "bob" not in [event.get("account") for event in world.mark(SOL="151.03")]
    events = world.mark(SOL="150")
    assert events[1:] == [{"event": "level", "account": "bob", "pool": "account", "level": "liquidation"}]
    # 151.02: 12,000 - 500 x 13.98 = 5,010 against 2 % of 250,510 = 5,010.20
    steps = world.do("liquidate_step", account="bob", pool="account")
    assert steps[0]["headroom_before"] == "-500"
    assert [event["event"] for event in steps] == ["liquidation", "posted", "position", "position", "position", "level"]
    # no fee under the textbook's rules, closed at mark: what is left is the equity
    assert world.held("bob") == 4500
    assert world.venue("market") == 5500
    assert not world.state.accounts["bob"].positions
    assert not world.state.accounts["bob"].levels


def test_the_cascade_goes_on_where_the_fund_ends() -> None:
    # SOL gaps to 120: 10,000 + 2,000 - 22,500 = -10,500. The fund holds 3,000; dave's profit bears 7,500 of 22,500
    world = three()
    world.do("deposit", account="@insurance_fund", asset="USDT", amount="3000")
    world.open("dave", USDT="10000")
    world.open("flat", USDT="10000")
    world.buy("dave", SOL, "-500", "165", "50")
    world.open("eve", USDT="10000")
    world.buy("eve", SOL, "10", "165", "50")  # loses 450 with bob, and bears nothing of his
    world.mark(BTC="50000", SOL="120")
    assert world.liquidate("bob", "account") == ["pro_rata", "insurance_fund", "auto_deleverage"]
    assert (world.held("bob"), world.venue("insurance_fund"), world.venue("bad_debt")) == (0, 0, 0)
    assert world.held("dave") == 2500  # 10,000 - 7,500
    assert (world.held("flat"), world.held("eve")) == (10000, 10000)
    # dave's position stands, with its profit of 22,500: equity 25,000
    assert world.position("dave", SOL) == -500


def test_what_no_profit_covers_is_the_venues_bad_debt() -> None:
    world = three()
    world.open("flat", USDT="10000")
    world.mark(BTC="50000", SOL="120")
    assert world.liquidate("bob", "account") == ["pro_rata", "auto_deleverage"]
    assert (world.held("bob"), world.venue("bad_debt"), world.held("flat")) == (0, -10500, 10000)
