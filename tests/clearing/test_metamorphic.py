"""The same story told in another way ends in the same books."""

from __future__ import annotations

import itertools
import random
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st
from world import BTC, ETH, D, World, instrument

from crossmargin.clearing.state import dump


def world() -> World:
    found = World(audited=False)
    found.rules(instrument(BTC, "0.01", "0.0007"), instrument(ETH, "0.01", "0.0007"))
    found.mark(BTC="97.31", ETH="10.07")
    return found


@given(parts=st.lists(st.integers(1, 400), min_size=2, max_size=6), price=st.integers(8000, 12000))
def test_a_close_in_parts_is_the_close_in_one(parts: list[int], price: int) -> None:
    """To one quantum a part: nothing but rounding may differ."""
    total = D(sum(parts)) / 1000
    found = world()
    for name in ("whole", "parts"):
        found.open(name, USDT="1000")
        found.buy(name, BTC, f"{total:f}", "97.31", "20")
    limit = f"{Decimal(price) / 100:f}"
    found.buy("whole", BTC, f"{-total:f}", limit)
    for part in parts:
        found.buy("parts", BTC, f"{-D(part) / 1000:f}", limit)
    quantum = found.state.quantum("USDT")
    assert abs(found.held("whole") - found.held("parts")) <= quantum * len(parts)
    assert found.position("parts", BTC) == found.position("whole", BTC) == 0
    assert found.state.ledger.totals() == {}


def test_what_different_accounts_do_at_one_moment_may_come_in_any_order() -> None:
    stories = {
        name: [
            ("open_account", {"profile": "plain-cross"}),
            ("deposit", {"asset": "USDT", "amount": amount}),
            ("set_leverage", {"symbol": BTC, "leverage": "10"}),
            ("place_order", {"order_id": "o", "symbol": BTC, "quantity": "20", "price": "97.31"}),
            ("fill", {"order_id": "o", "quantity": "13", "price": "97.31"}),
        ]
        for name, amount in (("a", "1000"), ("b", "500"), ("c", "100"))
    }
    bodies = set()
    for seed, bounds in itertools.product(range(6), (True, False)):
        rng = random.Random(seed)
        found = world()
        found.watch = type(found.watch)(bounds=bounds)
        todo = [name for name, story in stories.items() for _ in story]
        rng.shuffle(todo)
        at = dict.fromkeys(stories, 0)
        for name in todo:
            kind, fields = stories[name][at[name]]
            at[name] += 1
            found.say(kind, account=name, **fields)
        found.mark(BTC="70")
        bodies.add(dump(found.state))
    assert len(bodies) == 1


@given(cents=st.integers(1, 30000))
def test_a_deposit_and_its_withdrawal_leave_nothing_behind(cents: int) -> None:
    found = world()
    found.open("a", USDT="1000")
    found.buy("a", BTC, "10", "97.31", "10")
    before = dump(found.state)
    amount = f"{D(cents) / 100:f}"
    found.do("deposit", account="a", asset="USDT", amount=amount)
    found.do("withdraw", account="a", asset="USDT", amount=amount)
    assert dump(found.state) == before


@given(moves=st.lists(st.integers(-300, 300), min_size=1, max_size=8))
def test_long_and_short_mirror_each_other(moves: list[int]) -> None:
    """What one gains the other loses; the market's side is back at nothing when both are flat."""
    found = world()
    for name, sign in (("long", ""), ("short", "-")):
        found.open(name, USDT="10000")
        found.buy(name, BTC, f"{sign}10", "97.31", "10")
    for move in moves:
        price = f"{D('97.31') + D(move) / 10:f}"
        found.mark(BTC=price)
        found.do("settle_funding", symbol=BTC, interval_end=found.now.isoformat(), rate="0.0003")
    for name, sign in (("long", "-"), ("short", "")):
        found.buy(name, BTC, f"{sign}10", price)
    fees = found.venue("fees")
    assert found.held("long") + found.held("short") + fees + found.venue("rounding") == 20000
    assert found.venue("market") == found.venue("funding") == 0
