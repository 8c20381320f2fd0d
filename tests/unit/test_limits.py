"""Largest order and largest withdrawal, on figures worked by hand."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import crossmargin as cm
from crossmargin.analytics.limits import max_order, max_withdraw
from crossmargin.engine.boundary import largest
from crossmargin.errors import AccountError

EXAMPLES = Path(__file__).parents[2] / "examples"
BTC = "BTC/USDT:USDT"


def case(**given: Any) -> Any:
    raw: dict[str, Any] = {
        "profile": "plain-cross",
        "as_of": "2026-11-20T08:00:00Z",
        "balances": {"USDT": "10000"},
        "market": {"mark_price": {BTC: "50000"}},
        "instruments": [{"symbol": BTC, "brackets": [{"notional_floor": "0", "maintenance_rate": "0.005"}]}],
    }
    return cm.case_from(raw | given, "account")


def held(quantity: str, **more: str) -> dict[str, Any]:
    return {"symbol": BTC, "quantity": quantity, "entry_price": "50000", "leverage": "10", **more}


@pytest.mark.parametrize(
    ("asked", "quantity"),
    [
        ({"side": "buy"}, "2"),  # 10,000 / (50,000 / 10)
        ({"side": "sell"}, "2"),
        ({"side": "buy", "leverage": Decimal(25)}, "5"),
        ({"side": "buy", "fee_rate": Decimal("0.001")}, "1.980198019801980198"),  # 10,000 / 5,050, cut at 18 decimals
        ({"side": "buy", "price": Decimal(51000)}, "1.666666666666666666"),  # each loses 1,000 at once: 10,000 / 6,000
        ({"side": "sell", "price": Decimal(51000)}, "2.5"),  # each gains 1,000 at once: 10,000 / 4,000
    ],
)
def test_the_largest_first_order(asked: dict[str, Any], quantity: str) -> None:
    found = max_order(*case(), BTC, asked.pop("side"), **{"leverage": Decimal(10), **asked})
    assert found.quantity == Decimal(quantity)
    assert found.binding == "free_collateral of account"


def test_a_bracket_binds_before_the_money_does() -> None:
    # 10x is allowed up to 60,000 of value: 1.2 in all, 0.8 held
    brackets = [
        {"notional_floor": "0", "maintenance_rate": "0.005", "max_leverage": "10"},
        {"notional_floor": "60000", "maintenance_rate": "0.01", "max_leverage": "5"},
    ]
    given_case = case(positions=[held("0.8")], instruments=[{"symbol": BTC, "brackets": brackets}])
    found = max_order(*given_case, BTC, "buy")
    assert found.quantity == Decimal("0.4")
    assert found.binding == f"bracket_cap of account {BTC} net"


def test_against_a_position_its_size_is_always_admitted() -> None:
    found = max_order(*case(balances={"USDT": "1"}, positions=[held("-3")]), BTC, "buy")
    assert (found.quantity, found.binding) == (3, "position")


def test_nothing_fits_where_nothing_is_free() -> None:
    found = max_order(*case(balances={"USDT": "1"}, positions=[held("3")]), BTC, "buy")
    assert found.quantity == 0
    assert found.binding == "free_collateral of account"


def test_at_a_price_that_pays_for_its_own_margin_nothing_binds() -> None:
    # bought at 40,000 each contract gains 10,000 and needs 5,000
    found = max_order(*case(), BTC, "buy", price=Decimal(40000), leverage=Decimal(10))
    assert found.quantity is None
    assert found.reason is not None and found.reason.startswith("unbounded")


def test_without_a_leverage_the_largest_order_is_unknown() -> None:
    found = max_order(*case(), BTC, "buy")
    assert found.quantity is None
    assert found.reason is not None and "leverage is missing" in found.reason


def test_an_isolated_order_takes_its_margin_from_the_wallet() -> None:
    assert max_order(*case(), BTC, "buy", leverage=Decimal(10), margin_mode="isolated").quantity == 2


def test_a_wrong_side_is_said() -> None:
    with pytest.raises(AccountError, match="must be buy or sell"):
        max_order(*case(), BTC, "long")


# withdrawals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("balance", "quantity", "amount", "binding"),
    [
        ({"wallet_balance": "10000"}, None, "10000", "wallet"),
        ({"wallet_balance": "10000", "locked": "400"}, None, "9600", "wallet"),
        ({"wallet_balance": "10000"}, "1", "5000", "free_collateral of account"),
        # 10,500 of equity, of which 500 are lent, against 5,000: own money beyond the margin is 5,000
        ({"wallet_balance": "10000", "bonus_credit": "500"}, "1", "5000", "withdrawal of account"),
        # own money of 10,000 against a margin of 10,250 leaves nothing, though 250 are free
        ({"wallet_balance": "10000", "bonus_credit": "500"}, "2.05", "0", "withdrawal of account"),
    ],
)
def test_what_may_leave(balance: dict[str, str], quantity: str | None, amount: str, binding: str) -> None:
    positions = [held(quantity)] if quantity else []
    found = max_withdraw(*case(balances={"USDT": balance}, positions=positions), "USDT")
    assert (found.amount, found.binding) == (Decimal(amount), binding)


def test_a_haircut_lets_more_leave_than_the_value_says() -> None:
    # 39,000 are free and a BTC counts 57,000, not 60,000: 39 / 57
    found = max_withdraw(*cm.load(str(EXAMPLES / "unified-btc-collateral.toml")), "BTC")
    assert found.amount == Decimal("0.684210526315789473")


def test_hyperliquid_keeps_a_tenth_of_the_position_value() -> None:
    # short 1 BTC at 90,000, now 88,000: 25,000 + 2,000 - max(88,000 / 40, 8,800) = 18,200, realized or not
    given_case = cm.case_from(
        {
            "profile": "hyperliquid",
            "as_of": "2026-11-23T08:00:00Z",
            "balances": {"USDC": "25000"},
            "positions": [
                {"symbol": "BTC/USDC:USDC", "quantity": "-1", "entry_price": "90000", "leverage": "40"},
            ],
            "market": {"mark_price": {"BTC/USDC:USDC": "88000"}},
        },
        "account",
    )
    found = max_withdraw(*given_case, "USDC")
    assert (found.amount, found.binding) == (18200, "withdrawal of USDC")
    assert cm.evaluate(*given_case).withdrawable == 18200


def test_a_first_order_names_the_leverage_it_lacks() -> None:
    """Bybit holds the fee to close at the bankruptcy price, so there is no margin of an order without a leverage.

    At 10x a BTC at 88,000 costs 48.40 to open (0.055 %), holds 8,800, and 0.055 % of 79,200, 43.56, to close.
    """
    prices = {"mark_price": {BTC: "88000"}, "index_price": {"USDT": "1"}}
    first = case(profile="bybit-uta", market=prices, instruments=[])
    with pytest.raises(AccountError) as caught:
        max_order(*first, BTC, "buy")
    assert [fault.path for fault in caught.value.faults] == ["leverage"]
    # 10,000 / 8,891.96, cut at 18 decimals
    assert max_order(*first, BTC, "buy", leverage=Decimal(10)).quantity == Decimal("1.124611446745149550")


def test_an_asset_that_is_not_held_is_said() -> None:
    with pytest.raises(AccountError, match="is not held; balances are USDT"):
        max_withdraw(*case(), "BTC")


# the search -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("room", "edge"),
    [
        (lambda x: Decimal(7) - 3 * x, "2.333333333333333333"),
        (lambda x: min(Decimal(1), Decimal(5) - x), "5"),  # flat, then falling
        (lambda x: min(x, Decimal(5) - x), "5"),  # rising, then falling
        (lambda x: Decimal(2) - x * x, "1.414213562373095048"),  # curved
        (lambda x: Decimal(9) - x if x <= 4 else -x, "4"),  # a jump
    ],
)
def test_the_search_ends_on_the_last_digit(room: Any, edge: str) -> None:
    assert largest(room, Decimal(10) ** 9) == Decimal(edge)
