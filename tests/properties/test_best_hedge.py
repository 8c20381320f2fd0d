"""INV-24: after the best hedge the pool stands exactly at the target, by the oracle; a smaller one does not reach it.

The test fills the trade itself, in fractions: the other side is closed at the mark first, then the own side grows at
the average entry; the fee is the taker's.
"""

from __future__ import annotations

from copy import deepcopy
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from matching import case
from moving import deposit, shared_key

import oracle
import strategies
from crossmargin.analytics.best_hedge import best_hedge

F = Fraction
FEW = settings(max_examples=max(15, settings().max_examples // 3))
FEE = F("0.0005")
STILL = ("USDT", "USDC", "USD")


def filled(account: dict[str, Any], law: oracle.Law, symbol: str, quantity: F) -> dict[str, Any]:
    """The account file after a market order in a symbol that is held net and cross."""
    after = deepcopy(account)
    rules, mark = oracle.applied(law, account), oracle.Market(account).mark(symbol)
    linear, settle = oracle.contract(symbol).linear, oracle.contract(symbol).settle
    position = next(p for p in after["positions"] if p["symbol"] == symbol)
    held, entry = F(str(position["quantity"])), F(str(position["entry_price"]))
    closing = F(0) if (held > 0) == (quantity > 0) else -held if abs(quantity) > abs(held) else quantity
    size = -closing * oracle.size_of(rules, symbol)
    realized = size * (mark - entry) if linear else size * (1 / entry - 1 / mark)
    left, opened = held + closing, quantity - closing
    if opened:
        total = left + opened
        entry = (left * entry + opened * mark) / total if linear else total / (left / entry + opened / mark)
        left = total
    deposit(after, settle, realized - oracle.value_of(rules, symbol, quantity, mark) * FEE)
    position.update(quantity=str(left), entry_price=str(entry))
    if not left:
        after["positions"].remove(position)
    return after


def least(account: dict[str, Any], law: oracle.Law, key: oracle.Key, distance: F) -> F:
    """The pool's least headroom now and after every coin has moved either way."""
    coins = {oracle.contract(s).base for s in account["market"]["mark_price"]} | set(account["balances"])
    rooms = []
    for shift in (F(0), distance, -distance):
        moved = oracle.judge(law, account, coins={c: 1 + shift for c in coins if c not in STILL})
        rooms.append(moved[key].headroom if key in moved else F(0))
    return min(rooms)


@pytest.mark.parametrize("profile", ["plain-cross", "binance-usdm", "bybit-uta", "binance-coinm"])
def test_the_best_hedge_is_exactly_enough(profile: str):
    @FEW
    @given(strategies.accounts(profile, orders=False, most=3), st.sampled_from(["0", "0.05", "0.2", "0.5"]), st.data())
    def holds(account: dict[str, Any], distance: str, data: st.DataObject) -> None:
        law = oracle.law_of(account["profile"], account["as_of"])
        own = [p for p in account["positions"] if "isolated_margin" not in p and "position_side" not in p]
        own = [p for p in own if [q["symbol"] for q in account["positions"]].count(p["symbol"]) == 1]
        assume(own)
        position = data.draw(st.sampled_from(own))
        symbol, held = position["symbol"], F(str(position["quantity"]))
        position.setdefault("leverage", "10")
        rules = {rule["symbol"]: dict(rule) for rule in account.get("instruments", ())}
        rules.setdefault(symbol, {"symbol": symbol})["taker_fee"] = "0.0005"
        account["instruments"] = list(rules.values())
        key = shared_key(law, oracle.contract(symbol).settle)
        question = case(account)
        pool = key[1] if key[1] else "account"
        scale = sum((oracle.figures(oracle.applied(law, account), p, oracle.Market(account)).value for p in own), F(1))
        for choice in best_hedge(*question, [symbol], distance=Decimal(distance), pool=pool):
            if choice.side == "none":
                assert least(account, law, key, F(distance)) >= 0
                continue
            if choice.reason is not None:
                for share in (F(1, 10), F(1, 2), F(1), F(2), F(20)):
                    size = abs(held) * share * (1 if choice.side == "buy" else -1)
                    assert least(filled(account, law, symbol, size), law, key, F(distance)) < 0, share
                continue
            size = F(choice.trades[0].quantity)
            assert (size > 0) == (choice.side == "buy")
            room = least(filled(account, law, symbol, size), law, key, F(distance))
            assert abs(room) <= (scale + abs(size)) / 10**20, float(room)
            for share in (F(1, 1000), F(1, 2), 1 - F(1, 10**6)):
                assert least(filled(account, law, symbol, size * share), law, key, F(distance)) < 0, share

    holds()
