"""INV-21: the liquidation threshold returned is one, and nothing nearer is; "never" and "already" are true words.

The oracle knows no formula for a threshold. It walks prices outwards over a dense grid and all bracket edges, looks
at the sign of the headroom, and halves the first interval in which it changes.
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction as F
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matching import case, gone, pool_names, report_of

import crossmargin as cm
import oracle
import strategies

PROFILES = sorted(strategies.MENUS)
FEW = settings(max_examples=max(10, settings().max_examples // 3))
ROOT = F(1, 10**15)
"""How near to 0 headroom must be at a threshold, as a share of the money in the account."""


def part(account: dict[str, Any], key: oracle.Key) -> dict[str, Any]:
    """The account with only what can matter to one pool, to keep the scan short."""
    pocket = key[0] == "isolated"
    mine = [
        p
        for p in account["positions"]
        if ((p["symbol"], p.get("position_side", "net")) == key[1:] and p.get("margin_mode") == "isolated") == pocket
    ]
    return {**account, "positions": mine, **({"balances": {}, "open_orders": []} if pocket else {})}


def weight(law: oracle.Law, account: dict[str, Any], key: oracle.Key) -> F:
    """The size of the figures whose difference the headroom is: what 1e-15 is measured against."""
    pool, rules, market = oracle.judge(law, account)[key], oracle.applied(law, account), oracle.Market(account)
    values = [oracle.figures(rules, p, market).value for p in account["positions"]]
    return abs(pool.equity) + abs(pool.pnl) + pool.maintenance + sum(values, F(0)) + 1


class Asked:
    """One question put to both: where does this pool break as this price moves?"""

    def __init__(self, account: dict[str, Any], key: oracle.Key, symbol: str, *, frozen: bool) -> None:
        self.law, self.key = oracle.law_of(account["profile"], account["as_of"]), key
        self.account = part(account, key)
        self.kinks = oracle.kinks(self.law, self.account)
        self.scale = weight(self.law, self.account, key)
        coin = oracle.contract(symbol).base if "/" in symbol else symbol
        if frozen and "/" in symbol:
            self.headroom = oracle.along_mark(self.law, self.account, key, symbol)
        else:
            self.headroom = oracle.along_coins(self.law, self.account, key, {coin: F(1)})

    def agrees(self, found: Any, price_now: Decimal) -> None:
        exact = oracle.scan(self.headroom, self.kinks)
        for side, expected in (("below", exact.below), ("above", exact.above)):
            self.side(f"{self.key} {side}", getattr(found, side), expected, F(price_now), upward=side == "above")

    def side(self, name: str, crossing: Any, expected: F | None, now: F, *, upward: bool) -> None:
        if expected is None:
            assert crossing.kind in ("never", "price"), f"{name}: {crossing}"
            if crossing.kind == "price":
                factor = F(crossing.price) / now
                assert not oracle.LOW < factor < oracle.HIGH, f"{name}: no sign changes there: {crossing}"
            return
        assert crossing.kind == "price", f"{name}: {crossing}, the oracle breaks at {float(expected)}"
        factor = F(crossing.price) / now
        assert (factor > 1) == upward
        assert abs(factor - expected) <= F(2, 10**12) * expected, f"{name}: {float(factor)}, oracle {float(expected)}"
        assert abs(self.headroom(factor)) <= ROOT * self.scale, f"{name}: headroom is not 0 at {crossing.price}"
        assert abs(F(crossing.distance) - (factor - 1)) <= ROOT * max(1, factor)


def checked(account: dict[str, Any], *, frozen: bool) -> None:
    law = oracle.law_of(account["profile"], account["as_of"])
    found = cm.threshold(*case(account), convention="frozen" if frozen else "coin")
    names = pool_names(account, report_of(account), law)
    pools = oracle.judge(law, account)
    key_of = {name: key for key, name in names.items()}
    answered = {(t.pool, t.symbol): t for t in found.thresholds}
    assert len(answered) == len(found.thresholds)
    for position in account["positions"]:
        side = position.get("position_side", "net")
        pocket = position.get("margin_mode") == "isolated"
        settle = oracle.contract(position["symbol"]).settle if law.pooling == "per_settle" else ""
        key = ("isolated", position["symbol"], side) if pocket else ("cross", settle)
        assert (names[key], position["symbol"]) in answered, f"no threshold for {position['symbol']} in {key}"
    for (pool_name, symbol), threshold in answered.items():
        key = key_of[pool_name]
        pool = pools[key]
        kinds = {threshold.below.kind, threshold.above.kind}
        expected = {"already"} if gone(law, pool) else kinds - {"already"}
        assert kinds == expected, f"{key} {symbol}: {kinds} at headroom {float(pool.headroom)}"
        if symbol == law.reference:
            continue  # the coin that everything is counted in has no price that could move
        if pool.headroom > 0:
            Asked(account, key, symbol, frozen=frozen).agrees(threshold, threshold.price_now)


@pytest.mark.parametrize("profile", PROFILES)
def test_every_threshold_is_the_nearest(profile: str):
    @FEW
    @given(strategies.accounts(profile, most=4))
    def holds(account: dict[str, Any]) -> None:
        checked(account, frozen=False)

    holds()


@pytest.mark.parametrize("profile", PROFILES)
def test_every_threshold_of_a_single_mark_is_the_nearest(profile: str):
    @FEW
    @given(strategies.accounts(profile, most=4))
    def holds(account: dict[str, Any]) -> None:
        checked(account, frozen=True)

    holds()


WEIGHTS = st.sampled_from(["1", "1.5", "0.5", "2", "-1", "0.25"])


def first_break(account: dict[str, Any], weights: dict[str, F]) -> tuple[oracle.Nearest, F, F]:
    """The nearest break of any pool as the coins move together, and the range that leaves every price above 0."""
    law = oracle.law_of(account["profile"], account["as_of"])
    low = max([oracle.LOW, *(1 - F(999, 1000) / w for w in weights.values() if w > 0)])
    high = min([oracle.HIGH, *(1 - F(999, 1000) / w for w in weights.values() if w < 0)])
    points = {1 + (k - 1) / w for k in oracle.kinks(law, account) for w in weights.values()}
    pools = [key for key, pool in oracle.judge(law, account).items() if pool.headroom > 0]
    each = [
        oracle.scan(oracle.along_coins(law, part(account, key), key, weights), points, low=low, high=high)
        for key in pools
    ]
    below = max((n.below for n in each if n.below is not None), default=None)
    above = min((n.above for n in each if n.above is not None), default=None)
    return oracle.Nearest(below, above), low, high


def shock_agrees(account: dict[str, Any], weights: dict[str, F], shock: Any) -> None:
    law = oracle.law_of(account["profile"], account["as_of"])
    if any(gone(law, pool) for pool in oracle.judge(law, account).values()):
        assert {shock.below.kind, shock.above.kind} == {"already"}
        return
    exact, low, high = first_break(account, weights)
    for name, crossing, expected in (("below", shock.below, exact.below), ("above", shock.above, exact.above)):
        if expected is None:
            assert crossing.kind in ("never", "price"), f"{name}: {crossing}"
            inside = crossing.kind == "price" and low < 1 + F(crossing.distance) < high
            assert not inside, f"{name}: no sign changes there: {crossing}"
        else:
            assert crossing.kind == "price", f"{name}: {crossing}, the oracle breaks at {float(expected)}"
            assert abs(1 + F(crossing.distance) - expected) <= F(2, 10**12) * expected, f"{name}: {float(expected)}"


@pytest.mark.parametrize("profile", PROFILES)
def test_coins_that_move_together_by_their_multiples(profile: str):
    @FEW
    @given(strategies.accounts(profile, most=3), st.lists(WEIGHTS, min_size=6, max_size=6))
    def holds(account: dict[str, Any], drawn: list[str]) -> None:
        coins = sorted({oracle.contract(p["symbol"]).base for p in account["positions"]})
        direction = {coin: Decimal(w) for coin, w in zip(coins, drawn, strict=False)}
        shock = cm.threshold_along(*case(account), direction=direction)
        shock_agrees(account, {coin: F(w) for coin, w in direction.items()}, shock)

    holds()


@pytest.mark.parametrize("profile", PROFILES)
def test_the_common_shock_moves_every_coin_but_the_money(profile: str):
    @FEW
    @given(strategies.accounts(profile, most=3))
    def holds(account: dict[str, Any]) -> None:
        bases = {oracle.contract(p["symbol"]).base for p in account["positions"]}
        coins = sorted({*bases, *account["balances"]} - set(strategies.STABLE))
        shock_agrees(account, dict.fromkeys(coins, F(1)), cm.threshold(*case(account)).common_shock)

    holds()


def test_an_account_without_positions_is_never_liquidated():
    for menu in strategies.MENUS.values():
        account = {"profile": menu.profile, "as_of": menu.as_of[-1], "balances": {}}
        shock = cm.threshold(*case(account)).common_shock
        assert (shock.below.kind, shock.above.kind) == ("never", "never")
