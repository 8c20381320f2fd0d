"""The largest order and the largest withdrawal stand exactly on the boundary that a what-if and the oracle see."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matching import case

import oracle
import strategies
from crossmargin.analytics.limits import max_order, max_withdraw
from crossmargin.analytics.whatif import whatif
from crossmargin.errors import AccountError
from crossmargin.model.change import Order, Withdraw
from crossmargin.model.number import CONTEXT
from strategies import MENUS, text

UNIT = Decimal(1).scaleb(-18)
PROFILES = sorted(MENUS)
ASKED = ("plain-cross", "binance-usdm", "bybit-uta", "hyperliquid")


@st.composite
def asked(draw: st.DrawFn, profile: str, *, plain: bool = False) -> tuple[dict[str, Any], dict[str, Any]]:
    """An account, more often than not with money to spare, and an order to size.

    ``plain``: every position is cross, and the order adds to one.
    """
    account = draw(strategies.accounts(profile))
    if plain:
        for position in account["positions"]:
            position.pop("isolated_margin", None)
            position.pop("margin_mode", None)
    for position in account["positions"]:
        position.setdefault("leverage", "5")
    for order in account.get("open_orders", ()):
        order.setdefault("leverage", "5")
    position = draw(st.sampled_from(account["positions"]))
    symbol, mark = position["symbol"], Fraction(account["market"]["mark_price"][position["symbol"]])
    settle = oracle.contract(symbol).settle
    grows = "sell" if position["quantity"].startswith("-") else "buy"
    if draw(st.integers(0, 3)) and settle in account["balances"]:
        needed = sum((Fraction(p["quantity"].lstrip("-")) for p in account["positions"]), Fraction(1000)) * mark
        account["balances"][settle] = text(needed * draw(st.integers(1, 50)), 8)
    wanted = {
        "symbol": symbol,
        "side": draw(st.sampled_from(["buy", "sell"])) if not plain else grows,
        "price": Decimal(text(mark * draw(st.integers(980, 1020)) / 1000, 4)),
        "leverage": Decimal(draw(st.sampled_from([position["leverage"], "1", "3", "20"]))),
        "position_side": position.get("position_side", "net"),
        "margin_mode": position.get("margin_mode", "cross"),
    }
    if draw(st.integers(0, 4)) == 0:
        wanted["fee_rate"] = Decimal(text(Fraction(draw(st.integers(0, 20)), 10000), 4))
    return account, wanted


def order_of(wanted: dict[str, Any], quantity: Decimal) -> Order:
    sign = 1 if wanted["side"] == "buy" else -1
    rest = {key: value for key, value in wanted.items() if key != "side"}
    # more digits than Python's own context keeps: the sign is copied, not computed
    return Order(quantity=sign, **rest).model_copy(update={"quantity": quantity.copy_sign(Decimal(sign))})


def one_more(amount: Decimal) -> Decimal:
    return CONTEXT.add(amount, UNIT)


@pytest.mark.parametrize("profile", PROFILES)
def test_the_largest_order_is_accepted_and_the_next_refused(profile: str) -> None:
    seen: Counter[str] = Counter()

    @settings(max_examples=60)
    @given(asked(profile))
    def holds(drawn: tuple[dict[str, Any], dict[str, Any]]) -> None:
        account, wanted = drawn
        given_case = case(account)
        try:
            found = max_order(*given_case, **wanted)
        except AccountError as error:  # a hedge leg that is not held cannot be reduced
            assert "reduces a" in str(error)
            return
        if found.quantity is None:
            assert found.reason
            return
        seen["some" if found.quantity else "none"] += 1
        if found.quantity:
            assert whatif(*given_case, [order_of(wanted, found.quantity)]).verdict == "accepted"
        more = order_of(wanted, one_more(found.quantity))
        if found.binding == "position":
            with pytest.raises(AccountError, match="turn the position"):
                whatif(*given_case, [more])
        else:
            refused = whatif(*given_case, [more])
            assert refused.verdict == "refused"
            assert any(found.binding in reason for reason in refused.refused)

    holds()
    assert seen["some"] >= 5


def filled(account: dict[str, Any], wanted: dict[str, Any], quantity: Fraction, fee_rate: Fraction) -> dict[str, Any]:
    """The account after the order, in exact fractions: average entry by value (linear) or by coin value (inverse)."""
    symbol, price = wanted["symbol"], Fraction(wanted["price"])
    signed = quantity if wanted["side"] == "buy" else -quantity
    linear = oracle.contract(symbol).linear
    position = next(
        p
        for p in account["positions"]
        if (p["symbol"], p.get("position_side", "net")) == (symbol, wanted["position_side"])
    )
    held, entry = Fraction(position["quantity"]), Fraction(position["entry_price"])
    total = held + signed
    average = (held * entry + signed * price) / total if linear else total / (held / entry + signed / price)
    law = oracle.applied(oracle.law_of(account["profile"], account["as_of"]), account)
    units = quantity * oracle.size_of(law, symbol)
    fee = fee_rate * (units * price if linear else units / price)
    grown = {**position, "quantity": str(total), "entry_price": str(average), "leverage": str(wanted["leverage"])}
    settle = oracle.contract(symbol).settle
    balance = account["balances"].get(settle, "0")
    whole = dict(balance) if isinstance(balance, dict) else {"wallet_balance": balance}
    whole["wallet_balance"] = str(Fraction(str(whole.get("wallet_balance", "0"))) - fee)
    return {
        **account,
        "positions": [grown if p is position else p for p in account["positions"]],
        "balances": {**account["balances"], settle: whole},
    }


def cap_holds(account: dict[str, Any], wanted: dict[str, Any], basis: str) -> bool:
    """Whether the bracket of the resulting position still allows its leverage."""
    law = oracle.applied(oracle.law_of(account["profile"], account["as_of"]), account)
    position = next(
        p
        for p in account["positions"]
        if (p["symbol"], p.get("position_side", "net")) == (wanted["symbol"], wanted["position_side"])
    )
    price = (
        Fraction(account["market"]["mark_price"][wanted["symbol"]])
        if basis == "mark"
        else Fraction(position["entry_price"])
    )
    units = abs(Fraction(position["quantity"])) * oracle.size_of(law, wanted["symbol"])
    value = units * price if oracle.contract(wanted["symbol"]).linear else units / price
    allowed = [row[3] for row in law.brackets[wanted["symbol"]] if row[0] < value and row[3] is not None]
    return not allowed or allowed[-1] >= Fraction(wanted["leverage"])


@pytest.mark.parametrize("profile", ASKED)
def test_the_oracle_sees_the_same_boundary(profile: str) -> None:
    seen: Counter[str] = Counter()

    @settings(max_examples=60)
    @given(asked(profile, plain=True))
    def holds(drawn: tuple[dict[str, Any], dict[str, Any]]) -> None:
        account, wanted = drawn
        given_case = case(account)
        found = max_order(*given_case, **wanted)
        if not found.quantity:
            return
        law = oracle.law_of(account["profile"], account["as_of"])
        fee_rate = Fraction(wanted.get("fee_rate", given_case.rules.taker_fee(wanted["symbol"])) or 0)
        settle = oracle.contract(wanted["symbol"]).settle
        key = ("cross", settle) if law.pooling == "per_settle" else ("cross", "")
        before = oracle.judge(law, account)[key]

        def admitted(quantity: Fraction) -> bool:
            after = filled(account, wanted, quantity, fee_rate)
            pool = oracle.judge(law, after)[key]
            assert pool.initial is not None and before.initial is not None
            free = pool.equity - pool.initial - min(Fraction(0), before.equity - before.initial)
            room = pool.headroom - min(Fraction(0), before.headroom)
            return free >= 0 and room >= 0 and cap_holds(after, wanted, law.cross.maintenance)

        seen["compared"] += 1
        assert admitted(Fraction(found.quantity))
        assert not admitted(Fraction(found.quantity) + Fraction(UNIT))

    holds()
    assert seen["compared"] >= 4


@pytest.mark.parametrize("profile", PROFILES)
def test_the_largest_withdrawal_is_accepted_and_the_next_refused(profile: str) -> None:
    seen: Counter[str] = Counter()

    @settings(max_examples=60)
    @given(asked(profile), st.integers(0, 9))
    def holds(drawn: tuple[dict[str, Any], dict[str, Any]], pick: int) -> None:
        account, _ = drawn
        given_case = case(account)
        asset = sorted(account["balances"])[pick % len(account["balances"])]
        found = max_withdraw(*given_case, asset)
        if found.amount is None:
            assert found.reason
            return
        seen["some" if found.amount else "none"] += 1
        leave = Withdraw(asset=asset, amount=1)
        if found.amount:
            taken = leave.model_copy(update={"amount": found.amount})
            assert whatif(*given_case, [taken]).verdict == "accepted"
        more = leave.model_copy(update={"amount": one_more(found.amount)})
        assert whatif(*given_case, [more]).verdict == "refused"

    holds()
    assert seen["some"] >= 5
