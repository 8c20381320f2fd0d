"""INV-06 and INV-09: what margin requirements are like, whatever the account."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction as F
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matching import report_of

import oracle
import strategies
from strategies import MENUS, text

PROFILES = sorted(MENUS)
LAWS = {name: oracle.law_of(menu.profile, menu.as_of[0]) for name, menu in MENUS.items()}
FEELESS = [name for name in PROFILES if LAWS[name].fee is None]
"""Laws whose maintenance margin holds no fee that depends on the leverage."""
CONTINUOUS = [name for name in PROFILES if LAWS[name].maintenance == "marginal"]


@st.composite
def single(draw: st.DrawFn, profile: str) -> tuple[dict[str, Any], oracle.Law]:
    """One shared position, entered at its mark, so that entry and mark value are one."""
    account = draw(strategies.accounts(profile, orders=False, most=1))
    position = account["positions"][0]
    symbol = position["symbol"]
    position.pop("isolated_margin", None)
    position["margin_mode"] = "cross"
    position["entry_price"] = account["market"]["mark_price"][symbol]
    position["leverage"] = "1"
    return account, oracle.applied(oracle.law_of(account["profile"], account["as_of"]), account)


def sized(account: dict[str, Any], quantity: F) -> dict[str, Any]:
    sign = -1 if account["positions"][0]["quantity"].startswith("-") else 1
    return {**account, "positions": [{**account["positions"][0], "quantity": text(sign * quantity, 18)}]}


def maintenance(account: dict[str, Any]) -> Decimal:
    return report_of(account).positions[0].maintenance_margin


@pytest.mark.parametrize("profile", PROFILES)
def test_maintenance_is_above_zero_and_within_initial(profile: str):
    @given(single(profile), st.integers(1, 100))
    def holds(drawn: tuple[dict[str, Any], oracle.Law], percent: int) -> None:
        account, law = drawn
        position = account["positions"][0]
        value = oracle.figures(law, position, oracle.Market(account)).value
        cap = oracle.bracket_of(law, position["symbol"], value)[3]
        if cap is not None:
            position["leverage"] = text(1 + (cap - 1) * percent / 100, 2)
        line = report_of(account).positions[0]
        assert line.initial_margin is not None
        assert 0 < line.maintenance_margin <= line.initial_margin

    holds()


@pytest.mark.parametrize("profile", PROFILES)
def test_margins_never_fall_with_size(profile: str):
    @given(single(profile), st.lists(st.integers(1, 10**9), min_size=3, max_size=3))
    def holds(drawn: tuple[dict[str, Any], oracle.Law], sizes: list[int]) -> None:
        account, _ = drawn
        lines = [report_of(sized(account, F(size, 100))).positions[0] for size in sorted(sizes)]
        for smaller, larger in pairwise(lines):
            assert abs(smaller.notional) <= abs(larger.notional)
            assert smaller.maintenance_margin <= larger.maintenance_margin
            assert smaller.initial_margin <= larger.initial_margin

    holds()


@pytest.mark.parametrize("profile", CONTINUOUS)
def test_maintenance_does_not_jump_at_any_bracket_edge(profile: str):
    @given(single(profile), st.integers(0, 40))
    def holds(drawn: tuple[dict[str, Any], oracle.Law], pick: int) -> None:
        account, law = drawn
        symbol = account["positions"][0]["symbol"]
        floors = [entry[0] for entry in law.brackets[symbol] if entry[0] > 0]
        if not floors:
            return
        mark, size = oracle.Market(account).mark(symbol), oracle.size_of(law, symbol)
        floor = floors[pick % len(floors)]
        at_edge = floor / (mark * size) if oracle.contract(symbol).linear else floor * mark / size
        step = F(1, 10**9)
        below, above = (maintenance(sized(account, at_edge + move)) for move in (-step, step))
        # the two sizes are two steps apart (and each is cut to 18 digits); no bracket charges more than the whole value
        width = 3 * step * size * (mark if oracle.contract(symbol).linear else 1 / mark)
        assert 0 <= F(above - below) <= width * 2

    holds()


@pytest.mark.parametrize("profile", FEELESS)
def test_leverage_changes_neither_equity_nor_maintenance(profile: str):
    @given(strategies.accounts(profile), st.lists(st.integers(1, 125), min_size=6, max_size=6))
    def holds(account: dict[str, Any], leverages: list[int]) -> None:
        moved = {
            **account,
            "positions": [{**p, "leverage": str(x)} for p, x in zip(account["positions"], leverages, strict=False)],
        }
        before, after = report_of(account), report_of(moved)
        for one, two in zip(before.pools, after.pools, strict=True):
            assert one.name == two.name
            assert (one.equity, one.maintenance_margin, one.headroom) == (
                two.equity,
                two.maintenance_margin,
                two.headroom,
            )

    holds()


@pytest.mark.parametrize("profile", PROFILES)
def test_more_leverage_never_asks_for_more_initial_margin(profile: str):
    @given(single(profile), st.integers(1, 99), st.integers(1, 99))
    def holds(drawn: tuple[dict[str, Any], oracle.Law], one: int, two: int) -> None:
        account, _ = drawn
        asked = []
        for leverage in sorted((one, two)):
            account["positions"][0]["leverage"] = str(leverage)
            line = report_of(account).positions[0]
            # a short's close at bankruptcy costs less the nearer bankruptcy is, a long's more: the fee stands apart
            asked.append(line.initial_margin - line.close_fee)
        assert asked[1] <= asked[0]

    holds()
