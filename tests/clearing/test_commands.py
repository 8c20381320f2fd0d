"""Every command: what it books, what it refuses, and what it says would be accepted. Figures by hand."""

from __future__ import annotations

import json
import random
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from world import BTC, ETH, INVERSE, T0, D, World, instrument

from crossmargin.clearing.commands import CODES, canonical, read, read_object
from crossmargin.clearing.decide import apply
from crossmargin.clearing.ledger import Entry, Ledger, booked
from crossmargin.clearing.state import State, dump, load, rules_as_json, rules_of_json
from crossmargin.errors import AccountError
from crossmargin.files.profiles import load_profile, profile_ids

WRONG = [
    "0", "-1", "NaN", "Infinity", "1e400", "1E+1000000000", " 1 ", "1_000", "١٢", "0x10", "", "1.", ".5", "+1",
    "0." + "0" * 18 + "1", "1" * 21, True, None, 0.1, [], {},
]  # fmt: skip


def world(**settings: str) -> World:
    found = World(**settings)
    found.rules(instrument(BTC, "0.01", "0.001"), instrument(ETH, "0.01", "0.001"))
    found.open("a", USDT="1000")
    found.do("set_leverage", account="a", symbol=BTC, leverage="10")
    found.mark(BTC="100", ETH="10")
    return found


# the wire -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", WRONG, ids=repr)
@pytest.mark.parametrize(
    ("kind", "field", "rest"),
    [
        ("deposit", "amount", {"account": "a", "asset": "USDT"}),
        ("mark", "price", {"symbol": BTC}),
        ("index", "price", {"asset": "BTC"}),
        ("place_order", "price", {"account": "a", "order_id": "o", "symbol": BTC, "quantity": "1"}),
        ("place_order", "quantity", {"account": "a", "order_id": "o", "symbol": BTC, "price": "1"}),
        ("fill", "quantity", {"account": "a", "order_id": "o", "price": "1"}),
        ("set_leverage", "leverage", {"account": "a", "symbol": BTC}),
    ],
)
def test_no_number_but_a_plain_decimal_comes_in(kind: str, field: str, rest: dict[str, Any], value: Any) -> None:
    if field == "quantity" and value == "-1":
        return  # a sale
    wire = {"kind": kind, "command_id": "c", "at": "2026-11-20T08:00:00Z", field: value, **rest}
    with pytest.raises(AccountError) as error:
        read_object(wire)
    assert [fault.path for fault in error.value.faults] == [field]


@pytest.mark.parametrize(
    "line",
    [
        b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b'{"kind": "steal"}', b'{"kind": "halt"}', b"[" * 100_000,
        b'{"kind": "halt", "command_id": "../etc", "at": "2026-11-20T08:00:00Z"}',
        b'{"kind": "halt", "command_id": "x", "at": 5}',
        b'{"kind": "halt", "command_id": "x", "at": "2026-11-20T08:00:00Z", "sudo": true}',
        b'{"kind": "open_account", "command_id": "x", "at": "2026-11-20T08:00:00Z", "account": "@v", "profile": "p"}',
        b'{"kind": "halt", "command_id": "' + b"x" * 2_000_000 + b'"}',
    ],
    ids=lambda line: line[:40],
)  # fmt: skip
def test_a_line_that_is_no_command_is_said_to_be_none(line: bytes) -> None:
    with pytest.raises(AccountError):
        read(line)


def test_every_fault_of_a_command_at_once() -> None:
    with pytest.raises(AccountError) as error:
        read('{"kind": "fill", "command_id": "c", "at": "yesterday", "quantity": "0", "price": "-1", "account": "a"}')
    assert {fault.path for fault in error.value.faults} == {"at", "quantity", "price", "order_id"}


def test_nothing_but_start_before_start_and_start_once() -> None:
    command, _ = read('{"kind": "halt", "command_id": "c", "at": "2026-11-20T08:00:00Z"}')
    (event,) = apply(State(), command)
    assert (event["code"], event["accepted"]) == ("wrong_state", {"first": "start"})
    assert world().refuse("start")["code"] == "duplicate"


# money ----------------------------------------------------------------------------------------------------------------


def test_an_entry_that_does_not_add_up_is_never_booked() -> None:
    ledger = Ledger()
    with pytest.raises(AssertionError):
        ledger.post([Entry("a", "wallet", "USDT", D(1)), Entry("@outside", "wallet", "BTC", D(-1))])
    assert ledger.owners == {}


def test_the_residue_below_a_quantum_is_booked_as_rounding() -> None:
    # the account's gain of 0.129 becomes 0.12, its loss of 0.121 becomes 0.13; 0.009 each way stays with the venue
    quantum = {"USDT": D("0.01")}
    for amount, cut in (("0.129", "0.12"), ("-0.121", "-0.13")):
        rows = booked(
            [Entry("a", "wallet", "USDT", D(amount)), Entry("@venue", "market", "USDT", -D(amount))], quantum, D(1)
        )
        assert [row.amount for row in rows] == [D(cut), -D(amount), D("0.009")]


def test_an_amount_finer_than_the_quantum_is_refused() -> None:
    found = world(default_quantum="0.01")
    refused = found.refuse("deposit", account="a", asset="USDT", amount="1.005")
    assert (refused["code"], refused["accepted"]) == ("wrong_size", {"amount": "1"})


def test_bonus_credit_is_margin_and_never_leaves() -> None:
    found = world()
    found.do("grant_bonus", account="a", asset="USDT", amount="500")
    # 1,000 + 500 of margin carry 15,000 at ten times less the fees of 15, to open and to close
    order = {"account": "a", "symbol": BTC, "price": "100"}
    assert found.refuse("place_order", order_id="x", quantity="151", **order)["code"] == "insufficient_margin"
    found.do("place_order", order_id="y", quantity="140", **order)
    found.do("cancel_order", account="a", order_id="y")
    assert found.refuse("withdraw", account="a", asset="USDT", amount="1001")["accepted"] == {"amount": "1000"}
    found.do("withdraw", account="a", asset="USDT", amount="1000")
    assert (found.held("a"), found.held("a", "bonus"), found.venue("bonus")) == (0, 500, -500)


def test_bonus_credit_is_forfeited_by_a_withdrawal_where_the_venue_says_so() -> None:
    """MEXC, futures bonus: any transfer out ends it. A refusal costs nothing."""
    found = World()
    found.rules(instrument(BTC, "0.01", "0.001"), profile="mexc-usdm")
    found.open("a", profile="mexc-usdm", USDT="1000")
    found.do("grant_bonus", account="a", asset="USDT", amount="500")
    # lent money is never what leaves: 1,000 of the 1,500 may
    assert found.refuse("withdraw", account="a", asset="USDT", amount="1001")["accepted"] == {"amount": "1000"}
    assert found.held("a", "bonus") == 500
    # 1,000 - 90 = 910 stay, and the 500 are the venue's again
    found.do("withdraw", account="a", asset="USDT", amount="90")
    assert (found.held("a"), found.held("a", "bonus"), found.venue("bonus")) == (910, 0, 0)


def test_a_fill_books_pnl_and_fees() -> None:
    found = world()
    found.buy("a", BTC, "10", "100")
    found.mark(BTC="110")
    found.do("place_order", account="a", order_id="s", symbol=BTC, quantity="-4", price="109", reduce_only=True)
    found.do("fill", account="a", order_id="s", quantity="-4", price="110", fee_rate="0.0005")
    # 0.001 x 1,000 = 1 to open; 4 x 10 = 40 realized; 0.0005 x 440 = 0.22 to close
    assert found.held("a") == D("1038.78")
    assert (found.venue("fees"), found.venue("market")) == (D("1.22"), -40)
    assert found.position("a", BTC) == 6


def test_an_order_turns_a_position_round_and_each_part_has_its_entry() -> None:
    found = world()
    found.buy("a", BTC, "4", "100")
    found.mark(BTC="105")
    found.buy("a", BTC, "-10", "105")
    # 0.4 to open, 4 x 5 = 20 realized, 1.05 for 1,050 traded
    assert found.held("a") == D("1018.55")
    held = found.state.accounts["a"].positions[BTC, "net"]
    assert (held.quantity, held.entry_price) == (-6, 105)


def test_an_inverse_contract_settles_in_the_coin() -> None:
    found = World(default_quantum="0.00000001")
    found.rules(instrument(INVERSE, "0.01", "0", contract_size="100"))
    found.open("a", BTC="1")
    found.do("index", asset="BTC", price="50000")
    found.do("mark", symbol=INVERSE, price="50000")
    found.buy("a", INVERSE, "100", "50000", "10")
    found.later(seconds=1)
    found.do("index", asset="BTC", price="60000")
    found.do("mark", symbol=INVERSE, price="60000")
    found.buy("a", INVERSE, "-100", "60000")
    # 10,000 dollars x (1/50,000 - 1/60,000) = 0.0333333333... BTC; what is below 1e-8 is the venue's rounding
    assert found.held("a", asset="BTC") == D("1.03333333")
    assert found.venue("rounding", "BTC") == D("0.000000003333333333")


# orders ---------------------------------------------------------------------------------------------------------------


def test_what_a_fill_may_not_be() -> None:
    found = world()
    found.do("place_order", account="a", order_id="o", symbol=BTC, quantity="5", price="100")
    fill = {"account": "a", "order_id": "o"}
    assert found.refuse("fill", quantity="6", price="100", **fill)["accepted"] == {"quantity": "5"}
    assert found.refuse("fill", quantity="-1", price="100", **fill)["code"] == "wrong_size"
    assert found.refuse("fill", quantity="1", price="100.01", **fill)["accepted"] == {"price": "100"}
    assert found.refuse("fill", account="a", order_id="p", quantity="1", price="1")["code"] == "unknown_name"
    found.do("fill", quantity="2", price="99", **fill)
    assert found.state.accounts["a"].orders["o"].quantity == 3


def test_reduce_only_orders_never_exceed_the_position_and_go_with_it() -> None:
    found = world()
    found.buy("a", BTC, "5", "100")
    order = {"account": "a", "symbol": BTC, "price": "90", "reduce_only": True}
    found.do("place_order", order_id="r1", quantity="-3", **order)
    assert found.refuse("place_order", order_id="r2", quantity="-3", **order)["accepted"] == {"quantity": "-2"}
    assert found.refuse("place_order", order_id="r2", quantity="1", **order)["code"] == "wrong_size"
    found.do("place_order", account="a", order_id="s", symbol=BTC, quantity="-4", price="100")
    events = found.do("fill", account="a", order_id="s", quantity="-4", price="100")
    assert {"event": "order_gone", "account": "a", "order_id": "r1", "why": "nothing left to reduce"} in events


def test_a_symbol_is_held_net_or_in_hedge_mode() -> None:
    found = world()
    found.buy("a", BTC, "5", "100", position_side="long")
    found.buy("a", BTC, "-5", "100", position_side="short")
    assert (found.position("a", BTC, "long"), found.position("a", BTC, "short")) == (5, -5)
    order = {"account": "a", "order_id": "n", "symbol": BTC, "price": "100"}
    refused = found.refuse("place_order", quantity="1", **order)
    assert (refused["code"], refused["accepted"]) == ("wrong_state", {"position_side": "long"})


def test_an_account_has_so_many_orders_and_no_more() -> None:
    found = World(max_orders=2)
    found.rules(instrument(BTC))
    found.open("a", USDT="1000")
    found.do("set_leverage", account="a", symbol=BTC, leverage="10")
    found.mark(BTC="100")
    order = {"account": "a", "symbol": BTC, "quantity": "1", "price": "100"}
    for name in "xy":
        found.do("place_order", order_id=name, **order)
    assert found.refuse("place_order", order_id="z", **order)["accepted"] == {"first": "cancel_order"}
    found.do("cancel_order", account="a", order_id="x")
    assert found.refuse("place_order", order_id="y", **order)["code"] == "duplicate"
    found.do("place_order", order_id="z", **order)


def test_an_order_must_stand_after_its_own_fill_fee_and_loss_included() -> None:
    # 80 at 110 with the mark at 100: resting it needs 880 of 1,000; filled, 1,000 - 800 - 8.8 = 191.2 against 800
    found = world()
    refused = found.refuse("place_order", account="a", order_id="o", symbol=BTC, quantity="80", price="110")
    assert (refused["code"], refused["accepted"]) == ("insufficient_margin", {"deposit": "608.8", "asset": "USDT"})


def test_orders_of_a_pocket_are_measured_together_and_against_the_pocket_alone() -> None:
    # 400 of initial margin each: the pocket of 700 carries one of them, and one the other way, which closes it
    found = World()
    found.rules(instrument(BTC), profile="plain-isolated")
    found.open("a", "plain-isolated", USDT="5000")
    found.mark(BTC="100")
    found.do("set_leverage", account="a", symbol=BTC, leverage="10")
    found.do("set_margin_mode", account="a", symbol=BTC, margin_mode="isolated")
    found.do("transfer", account="a", symbol=BTC, amount="700")
    order = {"account": "a", "symbol": BTC, "price": "100"}
    found.do("place_order", order_id="x", quantity="40", **order)
    refused = found.refuse("place_order", order_id="y", quantity="40", **order)
    assert refused["accepted"] == {"transfer": "100", "asset": "USDT"}
    found.do("place_order", order_id="z", quantity="-40", **order)
    assert found.refuse("transfer", account="a", symbol=BTC, amount="-1")["code"] == "wrong_state"


def test_bounds_admit_nothing_that_the_judge_refuses() -> None:
    """An account filled to its limit by small orders while prices creep: the bounds have to give way in time."""
    fast, slow = World(audited=False), World(bounds=False, audited=False)
    for found in (fast, slow):
        found.rules(instrument(BTC, "0.01", "0.0005"), instrument(ETH, "0.02", "0.0005"))
        found.open("a", USDT="1000")
        found.mark(BTC="100", ETH="10")
        for symbol in (BTC, ETH):
            found.do("set_leverage", account="a", symbol=symbol, leverage="10")
    rng, prices, refused = random.Random(4), {BTC: D(100), ETH: D(10)}, 0
    for step in range(400):
        symbol = rng.choice((BTC, ETH))
        what = rng.random()
        for found in (fast, slow):
            found.later(milliseconds=5)
        if what < 0.3:
            prices[symbol] = (prices[symbol] * (1 + D(rng.randrange(-30, 31)) / 1000)).quantize(D("0.01"))
            wire = ("mark", {"symbol": symbol, "price": f"{prices[symbol]}"})
        elif what < 0.8 or not fast.state.accounts["a"].orders:
            size = D(rng.randrange(1, 9)) / 10 * 100 / prices[symbol]
            wire = ("place_order", {"account": "a", "order_id": f"o{step}", "symbol": symbol,
                    "quantity": f"{size.quantize(D('0.001'))}", "price": f"{prices[symbol]}"})  # fmt: skip
        else:
            order_id = rng.choice(sorted(fast.state.accounts["a"].orders))
            order = fast.state.accounts["a"].orders[order_id]
            wire = ("fill", {"account": "a", "order_id": order_id, "quantity": f"{order.quantity}",
                    "price": f"{order.price}"})  # fmt: skip
        events = fast.say(wire[0], **wire[1])
        assert events == slow.say(wire[0], **wire[1]), step
        refused += wire[0] == "place_order" and events[0]["event"] == "rejected"
    assert refused > 20, "the limit was reached"


def test_bounds_know_what_a_debt_holds_by_the_assets_own_rate() -> None:
    """A coin the account has none of pays funding and losses: the debt holds as much again, so both count twice.

    Funding of 10 % on 4,000 is a debt of 400. At 97.70 it is 400 + 40 x 2.30 = 492, and 1000 - 492 of equity are below
    the 492 + 0.5 % x 40 x 97.70 = 511.54 required; at 97.80 it is 488, and 512 stand against 507.56.
    """
    for bounds in (True, False):
        found = World(bounds=bounds, audited=False)
        owed = {"asset": "USDC", "collateral_ratio": "1", "liability_maintenance_rate": "1"}
        found.rules(instrument("ETH/USDC:USDC"), assets=[owed])
        found.do("index", asset="USDC", price="1")
        found.do("mark", symbol="ETH/USDC:USDC", price="100")
        for name, quantity in (("a", "40"), ("b", "-40")):
            found.open(name, USDT="1000" if name == "a" else "100000")
            found.buy(name, "ETH/USDC:USDC", quantity, "100", "10")
        end = found.now.isoformat()
        found.later(milliseconds=5)
        found.do("settle_funding", symbol="ETH/USDC:USDC", interval_end=end, rate="0.1")
        seen: list[tuple[Decimal, str]] = []
        for tenths in range(999, 940, -1):
            found.later(milliseconds=5)
            price = D(tenths) / 10
            events = found.say("mark", symbol="ETH/USDC:USDC", price=f"{price}")
            seen += [(price, event["event"]) for event in events if event["event"] != "mark"]
        assert seen[:1] == [(D("97.7"), "level")], (bounds, seen)


def test_a_price_that_moved_within_the_band_has_still_moved() -> None:
    # 90 at 100: 100 are free; at 99 there are 910 - 891 = 19, and four more contracts need 39.60
    found = World()
    found.rules(instrument(BTC, "0.01"))
    found.open("a", USDT="1000")
    found.mark(BTC="100")
    found.buy("a", BTC, "90", "100", "10")
    found.mark(BTC="99")
    refused = found.refuse("place_order", account="a", order_id="o", symbol=BTC, quantity="4", price="99")
    assert refused["accepted"] == {"deposit": "20.6", "asset": "USDT"}


def test_a_withdrawal_keeps_what_the_venues_rule_says_besides_the_margin() -> None:
    # 1,000 less 1.35 of fee; initial margin 150, but a tenth of 3,000 must stay: 698.65 may leave
    found = World()
    found.do("change_rules", profile="hyperliquid", on="2026-11-20")
    found.open("a", "hyperliquid", USDC="1000")
    found.do("mark", symbol="ETH/USDC:USDC", price="3000")
    found.buy("a", "ETH/USDC:USDC", "1", "3000", "20")
    refused = found.refuse("withdraw", account="a", asset="USDC", amount="698.66")
    assert refused["accepted"] == {"amount": "698.65"}
    found.do("withdraw", account="a", asset="USDC", amount="698.65")


def test_unrealized_profit_is_margin_and_neither_leaves_nor_moves() -> None:
    # 10 BTC at 100 cost a fee of 1 and, at 150, gain 500: equity 1,499, but 999 are there to be moved
    found = world()
    found.buy("a", BTC, "10", "100")
    found.do("set_leverage", account="a", symbol=ETH, leverage="10")
    found.do("set_margin_mode", account="a", symbol=ETH, margin_mode="isolated")
    found.mark(BTC="150")
    for kind, fields in (("withdraw", {"asset": "USDT"}), ("transfer", {"symbol": ETH})):
        refused = found.refuse(kind, account="a", amount="999.01", **fields)
        assert (refused["code"], refused["accepted"]) == ("insufficient_balance", {"amount": "999"})
    found.do("transfer", account="a", symbol=ETH, amount="999")
    assert (found.held("a"), found.held("a", f"{ETH} net")) == (0, 999)


def test_leverage_changes_neither_equity_nor_maintenance_and_is_refused_beyond_the_bracket() -> None:
    found = World()
    bracket = {"notional_floor": "0", "maintenance_rate": "0.01", "max_leverage": "50"}
    upper = {"notional_floor": "500", "maintenance_rate": "0.02", "max_leverage": "20"}
    found.rules({"symbol": BTC, "brackets": [bracket, upper], "taker_fee": "0"})
    found.open("a", USDT="1000")
    found.mark(BTC="100")
    found.buy("a", BTC, "10", "100", "10")
    before = found.held("a")
    change = {"account": "a", "symbol": BTC}
    assert found.refuse("set_leverage", leverage="25", **change)["code"] == "wrong_size"
    found.do("set_leverage", leverage="20", **change)
    found.do("set_leverage", leverage="1", **change)
    assert (found.held("a"), found.position("a", BTC)) == (before, 10)
    found.mark(BTC="90")
    # at 90 the pool has 900 and needs 900 at leverage 1; one more dollar of loss and it could not come back to 1
    found.do("set_leverage", leverage="2", **change)
    found.mark(BTC="89")
    found.do("set_leverage", leverage="1", **change)  # 890 against 890: still exactly met


# prices and the clock -------------------------------------------------------------------------------------------------


def test_an_older_price_never_overwrites_a_newer_one() -> None:
    found = world()
    found.later(seconds=1)
    found.do("mark", symbol=BTC, price="101")
    for late in (T0, found.now):
        refused = found.refuse("mark", symbol=BTC, price="99", at=late)
        assert (refused["code"], found.state.marks[BTC].price) == ("late", 101)


def test_a_price_far_from_the_last_must_be_confirmed_unless_that_is_stale() -> None:
    found = world()
    found.later(seconds=1)
    refused = found.refuse("mark", symbol=BTC, price="151")
    assert refused["accepted"] == {"price": "50 to 150", "confirmed": "true"}
    found.do("mark", symbol=BTC, price="150")
    found.later(seconds=1)
    found.do("mark", symbol=BTC, price="40", confirmed=True)
    found.later(seconds=11)
    found.do("mark", symbol=BTC, price="400")


def test_nothing_is_decided_on_a_stale_price() -> None:
    found = world()
    found.buy("a", BTC, "90", "100")
    found.mark(BTC="91")  # 991 - 810 = 181 against 82: stands
    found.later(seconds=10)
    found.do("mark", symbol=ETH, price="10")
    order = {"account": "a", "order_id": "o", "symbol": BTC, "price": "90"}
    found.do("place_order", quantity="-1", reduce_only=True, **order)
    found.later(milliseconds=1)
    for kind, more in (
        ("place_order", {**order, "order_id": "p", "quantity": "0.1"}),
        ("withdraw", {"account": "a", "asset": "USDT", "amount": "0.01"}),
        ("liquidate_step", {"account": "a", "pool": "account"}),
    ):
        refused = found.refuse(kind, **more)
        assert (refused["code"], refused["accepted"]) == ("stale_prices", {"first": f"prices of {BTC}"})
    # what lowers the risk goes on
    found.do("fill", account="a", order_id="o", quantity="-1", price="90")
    found.do("deposit", account="a", asset="USDT", amount="1")


def test_a_coin_that_has_arrived_needs_its_price_before_anything_is_decided() -> None:
    # 5,000 USDT carry the order a hundred times over; but what 0.01 BTC of collateral is worth nobody has said
    found = World()
    found.rules(instrument(BTC, "0.01"), instrument(ETH, "0.02"), assets=[{"asset": "BTC", "collateral_ratio": "0.9"}])
    found.open("a", USDT="5000")
    found.mark(BTC="100", ETH="10")
    for symbol in (BTC, ETH):
        found.do("set_leverage", account="a", symbol=symbol, leverage="10")
    found.do("place_order", account="a", order_id="o", symbol=ETH, quantity="1", price="10")
    found.do("deposit", account="a", asset="BTC", amount="0.01")
    order = {"account": "a", "order_id": "p", "symbol": BTC, "quantity": "-1", "price": "100"}
    assert found.refuse("place_order", **order)["code"] == "stale_prices"
    found.do("index", asset="BTC", price="100")
    found.do("place_order", **order)


def test_a_verdict_waits_for_the_price_that_is_stale_and_is_not_lost() -> None:
    found = world()
    found.buy("a", BTC, "50", "100")
    found.do("set_leverage", account="a", symbol=ETH, leverage="10")
    found.buy("a", ETH, "300", "10")
    found.later(seconds=11)
    # BTC at 80 alone would end it: 992 - 1,000 < 0; but ETH is 11 seconds old
    assert [event["event"] for event in found.do("mark", symbol=BTC, price="80")] == ["mark"]
    (_, level) = found.do("mark", symbol=ETH, price="10")
    assert level["level"] == "liquidation"


def test_the_clock_goes_in_steps_and_resume_sets_it() -> None:
    found = world()
    found.later(hours=2)
    refused = found.refuse("mark", symbol=BTC, price="100")
    assert (refused["code"], refused["accepted"]["first"]) == ("implausible", "resume")
    found.do("resume")
    found.do("mark", symbol=BTC, price="100")
    found.do("deposit", account="a", asset="USDT", amount="1", at=T0)  # late, and booked
    assert found.state.now == found.now


def test_after_an_outage_accounts_have_a_time_of_grace() -> None:
    found = world(grace_seconds="5")
    found.buy("a", BTC, "90", "100")
    found.do("halt")
    assert found.refuse("liquidate_step", account="a", pool="account")["code"] == "halted"
    assert found.mark(BTC="85")[1]["level"] == "liquidation"
    found.do("resume")
    refused = found.refuse("liquidate_step", account="a", pool="account")
    assert "before 2026-11-20T08:00:05" in refused["why"]
    found.later(seconds=2)
    found.do("deposit", account="a", asset="USDT", amount="1000")  # and is saved by it
    assert found.state.accounts["a"].levels == {}


def test_a_halt_stops_what_takes_and_not_what_gives() -> None:
    found = world()
    found.buy("a", BTC, "10", "100")
    found.do("halt")
    order = {"account": "a", "order_id": "o", "symbol": BTC, "price": "100"}
    assert found.refuse("place_order", quantity="1", **order)["code"] == "halted"
    assert found.refuse("withdraw", account="a", asset="USDT", amount="1")["code"] == "halted"
    found.do("deposit", account="a", asset="USDT", amount="1")
    found.do("place_order", quantity="-1", reduce_only=True, **order)
    assert found.refuse("fill", account="a", order_id="o", quantity="-1", price="100")["code"] == "halted"
    found.do("cancel_order", account="a", order_id="o")
    found.do("mark", symbol=BTC, price="100.5", at=found.now + timedelta(seconds=1))


# the calendar ---------------------------------------------------------------------------------------------------------


def test_funding_is_exchanged_once_and_its_rest_is_booked() -> None:
    found = world(default_quantum="0.01")
    found.open("b", USDT="1000")
    found.do("set_leverage", account="b", symbol=BTC, leverage="10")
    found.buy("a", BTC, "3", "100")
    found.buy("b", BTC, "-3", "100")
    held = found.held("a"), found.held("b")
    found.mark(BTC="101.111")
    end = T0.isoformat()
    found.do("settle_funding", symbol=BTC, interval_end=end, rate="0.0001")
    # 303.333 x 0.0001 = 0.0303333: a pays 0.04, b gets 0.03; 0.0096667 and 0.0003333 are rounding
    assert (found.held("a"), found.held("b")) == (held[0] - D("0.04"), held[1] + D("0.03"))
    assert (found.venue("funding"), found.venue("rounding")) == (0, D("0.01"))
    for again in (T0, T0 - timedelta(hours=8)):
        refused = found.refuse("settle_funding", symbol=BTC, interval_end=again.isoformat(), rate="0.0001")
        assert refused["code"] == "late"
    future = (found.now + timedelta(hours=8)).isoformat()
    assert found.refuse("settle_funding", symbol=BTC, interval_end=future, rate="0")["code"] == "implausible"


def test_funding_of_an_isolated_position_comes_from_its_pocket_and_stays_below_the_cap() -> None:
    found = World()
    found.do("change_rules", profile="hyperliquid", on="2026-11-20")
    found.open("a", "hyperliquid", USDC="1000")
    symbol = "ETH/USDC:USDC"
    found.do("mark", symbol=symbol, price="3000")
    found.do("index", asset="ETH", price="3010")
    for kind, more in (("set_leverage", {"leverage": "10"}), ("set_margin_mode", {"margin_mode": "isolated"})):
        found.do(kind, account="a", symbol=symbol, **more)
    found.do("transfer", account="a", symbol=symbol, amount="500")
    found.buy("a", symbol, "1", "3000")
    pocket = found.held("a", f"{symbol} net", "USDC")
    settle = {"symbol": symbol, "interval_end": T0.isoformat()}
    refused = found.refuse("settle_funding", rate="0.05", **settle)
    assert refused["accepted"] == {"rate": "-0.04 to 0.04"}
    found.do("settle_funding", rate="0.001", **settle)
    # on the oracle's 3,010, not on the mark's 3,000
    assert found.held("a", f"{symbol} net", "USDC") == pocket - D("3.01")
    assert found.held("a", asset="USDC") == 500


def test_interest_is_owed_on_debts_once() -> None:
    found = World()
    found.rules(instrument(BTC))
    found.open("a", BTC="1")
    found.do("index", asset="BTC", price="100")
    found.do("index", asset="USDT", price="1")
    found.do("mark", symbol=BTC, price="100")
    found.buy("a", BTC, "1", "100", "10")
    found.later(seconds=1)
    found.do("mark", symbol=BTC, price="60")
    found.buy("a", BTC, "-1", "60")
    assert found.held("a") == -40
    found.do("accrue_interest", asset="USDT", interval_end=T0.isoformat(), rate="0.001")
    assert (found.held("a"), found.venue("interest")) == (D("-40.04"), D("0.04"))
    assert found.refuse("accrue_interest", asset="USDT", interval_end=T0.isoformat(), rate="0.001")["code"] == "late"


# rules ----------------------------------------------------------------------------------------------------------------


def test_new_rules_are_refused_for_accounts_they_cannot_judge_and_else_judge_at_once() -> None:
    found = world()
    found.buy("a", BTC, "90", "100")
    refused = found.refuse("change_rules", profile="plain-cross", on="2026-11-20", instruments=[instrument(ETH)])
    assert refused["code"] == "unknown_rule"
    assert "no maintenance table" in refused["why"]
    # 991 against 12 % of 9,000 = 1,080: healthy a moment ago
    table = [instrument(BTC, "0.12"), instrument(ETH)]
    events = found.do("change_rules", profile="plain-cross", on="2026-11-20", instruments=table)
    assert [event["event"] for event in events] == ["rules_changed", "level"]
    assert found.refuse("open_account", account="x", profile="okx")["accepted"] == {"first": "change_rules"}


@pytest.mark.parametrize("profile", profile_ids())
def test_rules_are_written_whole_and_read_back(profile: str) -> None:
    for rules in load_profile(profile).revisions:
        written = canonical(rules_as_json(rules))
        back = rules_of_json(json.loads(written))
        assert back == rules
        assert canonical(rules_as_json(back)) == written


def test_the_state_is_one_text_and_reads_back() -> None:
    found = world()
    found.buy("a", BTC, "90", "100")
    found.mark(BTC="85")
    body = dump(found.state)
    assert dump(load(body)) == body
    assert json.loads(body)["accounts"][0]["levels"] == {"account": "liquidation"}


def test_every_refusal_has_a_known_code() -> None:
    found = world()
    for kind, more in (
        ("withdraw", {"account": "nobody", "asset": "USDT", "amount": "1"}),
        ("withdraw", {"account": "@insurance_fund", "asset": "USDT", "amount": "1"}),
        ("transfer", {"account": "a", "symbol": BTC, "amount": "1"}),
        ("set_margin_mode", {"account": "a", "symbol": BTC, "margin_mode": "cross"}),
        ("place_order", {"account": "a", "order_id": "o", "symbol": ETH, "quantity": "1", "price": "1"}),
        ("liquidate_step", {"account": "a", "pool": "USDC"}),
        ("open_account", {"account": "a", "profile": "plain-cross"}),
    ):
        assert found.refuse(kind, **more)["code"] in CODES


def test_a_price_may_fall_at_once_no_further_than_it_may_rise() -> None:
    # half of 100 either way: 50 comes in, 49 must be confirmed
    found = world()
    found.later(milliseconds=1)
    assert found.refuse("mark", symbol=BTC, price="49")["code"] == "implausible"
    found.do("mark", symbol=BTC, price="50")


def test_a_fee_rate_is_not_negative() -> None:
    wire = {"kind": "fill", "command_id": "c", "at": "2026-11-20T08:00:00Z", "account": "a", "order_id": "o"}
    with pytest.raises(AccountError) as error:
        read_object({**wire, "quantity": "1", "price": "100", "fee_rate": "-0.0001"})
    assert [fault.path for fault in error.value.faults] == ["fee_rate"]


def test_funding_of_an_inverse_contract_is_paid_in_the_coin() -> None:
    # 1,000 contracts of 1 USD at 50,000 are 0.02 BTC; 0.001 of that
    found = World()
    found.rules(instrument(INVERSE, "0.01"))
    found.do("mark", symbol=INVERSE, price="50000")
    found.do("index", asset="BTC", price="50000")
    found.open("a", BTC="1")
    found.buy("a", INVERSE, "1000", "50000", "10")
    found.do("settle_funding", symbol=INVERSE, interval_end=found.now.isoformat(), rate="0.001")
    assert found.held("a", asset="BTC") == D("0.99998")
