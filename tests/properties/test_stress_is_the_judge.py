"""The fast form of headroom, the worst of a box and the judge say the same on accounts of every profile.

The judge is asked through a market whose prices were multiplied, so it knows nothing of curves; the oracle, in
fractions, knows nothing of the judge.
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matching import case, pool_names

import crossmargin as cm
import oracle
import strategies
from crossmargin.analytics.box import worst_in_box
from crossmargin.analytics.compiled import INDEX, compile_scenarios
from crossmargin.analytics.covariance import covariance_of
from crossmargin.analytics.reverse_stress import reverse_stress
from crossmargin.analytics.stress import Applied, moved, stress
from crossmargin.analytics.threshold import coins_of, is_priced
from crossmargin.model.instrument import CASH
from crossmargin.model.scenario import Scenario

D, F = Decimal, Fraction
PROFILES = sorted(strategies.MENUS)
FEW = settings(max_examples=max(6, settings().max_examples // 6))


def judged_after(found: Any, moves: dict[str, D], index: dict[str, D]) -> Any:
    prepared = cm.prepare(*found)
    return cm.evaluate(found.account, moved(prepared, Applied(moves, index, ())), found.rules, explain=False)


def move() -> st.SearchStrategy[D]:
    """Moves from -97 % to +150 %, odd enough to stand on no bracket's edge."""
    return st.integers(-970_000_000, 1_500_000_000).map(lambda k: (2 * D(k) + 1) / D(2_000_000_000))


def size_of(row: Any, prepared: Any) -> float:
    """The size of what is added and subtracted: the figures that float rounding is relative to."""
    pool = next(pool for pool in prepared.pools if pool.name == row.name)
    values = [
        abs(float(leg.size)) * (float(e.mark) if not e.inverse else 1 / float(e.mark)) * float(own.price)
        + abs(float(e.pnl(leg.size, leg.entry, e.mark))) * float(own.price)
        for own in pool.assets
        for e in own.exposures
        for leg in e.legs
    ]
    return sum(values) + abs(float(row.equity)) + abs(float(row.maintenance_margin)) + 1


@pytest.mark.parametrize("profile", PROFILES)
def test_compiled_headroom_is_the_judges(profile: str) -> None:
    @FEW
    @given(strategies.accounts(profile), st.data())
    def check(account: dict[str, Any], data: st.DataObject) -> None:
        found = case(account)
        prepared = cm.prepare(*found)
        held = [
            asset.name
            for pool in prepared.pools
            if is_priced(pool)
            for asset in pool.assets
            if asset.name != prepared.rules.reference_currency
        ]
        index_assets = data.draw(st.lists(st.sampled_from(held), unique=True)) if held else []
        number = data.draw(st.sampled_from([D, float]))
        compiled = compile_scenarios(cm.prepare(*found, number=number), index_assets=index_assets)
        rows = data.draw(st.lists(st.tuples(*(move() for _ in compiled.columns)), min_size=1, max_size=6))
        rooms = compiled(np.array([[float(x) for x in row] for row in rows]))
        assert compiled.pools == tuple(pool.name for pool in prepared.pools)
        for row, fast in zip(rows, rooms, strict=True):
            named = dict(zip(compiled.columns, row, strict=True))
            index = {name.removesuffix(INDEX): x for name, x in named.items() if name.endswith(INDEX)}
            report = judged_after(found, {n: x for n, x in named.items() if not n.endswith(INDEX)}, index)
            for exact, ours in zip(report.pools, fast, strict=True):
                assert abs(float(exact.headroom) - ours) <= 1e-9 * size_of(exact, prepared), exact.name

    check()


@pytest.mark.parametrize("profile", PROFILES)
def test_nothing_in_a_box_is_below_its_bound(profile: str) -> None:
    @FEW
    @given(strategies.accounts(profile, most=4), st.data())
    def check(account: dict[str, Any], data: st.DataObject) -> None:
        found = case(account)
        coins = coins_of(cm.prepare(*found))
        ends = {coin: sorted((data.draw(move()), data.draw(move()))) for coin in coins}
        worst = worst_in_box(*found, bounds={coin: (low, high) for coin, (low, high) in ends.items()})
        shares = data.draw(st.lists(st.tuples(*(st.integers(0, 4) for _ in coins)), min_size=5, max_size=20))
        points = [
            {coin: low + (high - low) * k / 4 for (coin, (low, high)), k in zip(ends.items(), share, strict=True)}
            for share in shares
        ]
        for point in points:
            for row, bound in zip(judged_after(found, point, {}).pools, worst.pools, strict=True):
                slack = D("1e-25") * (1 + abs(row.equity) + row.maintenance_margin)
                assert row.headroom >= bound.bound - slack, (row.name, point)
        for row in worst.pools:
            assert all(low <= row.moves[coin] <= high for coin, (low, high) in ends.items() if row.moves[coin])
            assert abs(row.gap) <= D("1e-12") * (1 + abs(row.headroom)), row.pool

    check()


@pytest.mark.parametrize("profile", PROFILES)
def test_scenarios_are_the_oracles(profile: str) -> None:
    @FEW
    @given(strategies.accounts(profile), st.data())
    def check(account: dict[str, Any], data: st.DataObject) -> None:
        found = case(account)
        prepared = cm.prepare(*found)
        moves = {
            coin: D(data.draw(st.integers(-900, 1500))) / 1000
            for coin in coins_of(prepared)
            if coin != prepared.rules.reference_currency
        }
        if not moves:
            return
        (after,) = stress(*found, [Scenario(name="drawn", moves=moves)])
        law = oracle.law_of(account["profile"], account["as_of"])
        names = pool_names(account, cm.evaluate(*found), law)
        for key, name in names.items():
            weights = {coin: F(x) for coin, x in moves.items()}
            if key[0] == "cross" and law.pooling != "per_settle":
                weights.pop(law.reference, None)
            exact = oracle.along_coins(law, account, key, weights)(F(2))
            ours = next(row for row in after.pools if row.pool == name)
            assert abs(F(ours.headroom) - exact) <= F(1, 10**18) * (1 + abs(exact)), name
            if ours.status == "liquidation":
                assert after.breaks_at is not None
                assert 0 <= after.breaks_at <= 1

    check()


@pytest.mark.parametrize("profile", PROFILES)
def test_no_move_nearer_than_the_certified_bound_liquidates(profile: str) -> None:
    @FEW
    @given(strategies.accounts(profile, most=4), st.integers(0, 10**6))
    def check(account: dict[str, Any], seed: int) -> None:
        found, random = case(account), np.random.default_rng(seed)
        prepared = cm.prepare(*found, number=float)
        coins = [coin for coin in coins_of(prepared) if coin not in CASH]
        if not coins:
            return
        mixed = random.normal(size=(len(coins), len(coins) + 2)) * random.uniform(0.01, 0.1)
        covariance = covariance_of(coins, mixed @ mixed.T)
        nearest = reverse_stress(*found, covariance)
        if nearest.kind == "already":
            assert nearest.headroom <= 0
            return
        sphere = random.normal(size=(3000, len(coins)))
        sphere *= random.uniform(0.3, 1 - 1e-9, (3000, 1)) / np.linalg.norm(sphere, axis=1)[:, np.newaxis]
        inside = (sphere * float(nearest.certified_bound)) @ np.linalg.cholesky(covariance.matrix).T
        inside = inside[(inside > -1).all(axis=1)]
        size = sum(size_of(row, prepared) for row in cm.evaluate(*found).pools)
        if len(inside):
            assert compile_scenarios(prepared, coins=coins)(inside).min() >= -1e-9 * size
        if nearest.kind == "move":
            assert abs(nearest.headroom) <= 1e-8 * size  # the move is given to twelve digits
            assert nearest.proved

    check()
