"""Allocation against a second formulation, against brute force, on real profiles: nothing beats it, all of it holds.

The second formulation writes the textbook rules down again, in floats, from the account's own tables: equity is
USDT + ratio x BTC x price + PnL, maintenance the largest of the bracket lines. It shares nothing with the engine.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import crossmargin as cm
from allocating import BTC, D, done, member, slack
from crossmargin.analytics.allocation import Plan, allocate
from crossmargin.analytics.stress import stress
from crossmargin.errors import NoPlan
from crossmargin.model.fund import (
    Conversion,
    Fund,
    FundOrder,
    Ladder,
    Member,
    Objective,
    ObjectiveKind,
    Pocket,
    Route,
    Safety,
)
from crossmargin.model.instrument import parse_symbol
from crossmargin.model.scenario import Scenario

EXAMPLES = Path(__file__).parents[2] / "examples"
PRICE, LEVERAGE, RATIO, FEE, SPREAD, TRANSFER = 88000.0, 10.0, 0.95, 0.0005, 0.001, 0.0005
LINES = ((0.005, 0.0), (0.01, 500.0))  # rate x value - deduction: 100,000 x (1 % - 0.5 %)


@dataclass(frozen=True)
class Small:
    """Some accounts with USDT, BTC and a position in BTC entered at the mark; moves of BTC; a share of buffer."""

    usdt: tuple[int, ...]
    btc: tuple[int, ...]  # thousandths
    quantity: tuple[int, ...]  # hundredths
    steps: tuple[int, ...]  # hundredths
    share: int  # tenths

    def fund(self, kind: ObjectiveKind) -> Fund:
        """The fund, with every route, sales of BTC, and orders that close."""
        members = tuple(
            member(f"m{i}", str(u), str(D(q) / 100), btc=str(D(b) / 1000))
            for i, (u, b, q) in enumerate(zip(self.usdt, self.btc, self.quantity, strict=True))
        )
        names = [one.account.id for one in members]
        dear = {"from": "outside", "asset": "USDT", "cost": "0.02", "maximum": "30000"}
        steps = tuple(D(step) / 100 for step in self.steps)
        return Fund(
            currency="USDT",
            members=members,
            routes=tuple(
                Route(**{"from": a, "to": b, "asset": "USDT", "fee_rate": str(TRANSFER)})
                for a, b in itertools.permutations(names, 2)
            )
            + tuple(Route(**{**dear, "to": b}) for b in names),
            conversions=tuple(Conversion(account=a, sell="BTC", buy="USDT", spread=str(SPREAD)) for a in names),
            orders=tuple(
                FundOrder(account=a, symbol=BTC, side="sell" if q > 0 else "buy")
                for a, q in zip(names, self.quantity, strict=True)
            ),
            safety=Safety(share=D(self.share) / 10, ladders=(Ladder(coins=("BTC",), steps=steps),)),
            objective=Objective(kind=kind),
        )


counts = st.integers(2, 3)


@st.composite
def small(draw: st.DrawFn) -> Small:
    count = draw(counts)

    def each(low: int, high: int) -> tuple[int, ...]:
        return tuple(draw(st.integers(low, high)) for _ in range(count))

    sizes = tuple(draw(st.integers(20, 300)) * draw(st.sampled_from((-1, 1))) for _ in range(count))
    steps = draw(st.lists(st.integers(-40, 40), min_size=1, max_size=4, unique=True))
    return Small(each(15_000, 80_000), each(0, 500), sizes, tuple(steps), draw(st.integers(0, 5)))


def second(small: Small, kind: str) -> float | None:
    """The optimum by cvxpy, from the tables; None = there is no plan."""
    n = len(small.usdt)
    usdt, btc, q = np.array(small.usdt, float), np.array(small.btc) / 1000, np.array(small.quantity) / 100
    sent = cp.Variable((n, n), nonneg=True)
    brought, sold_early, sold, closed = (cp.Variable(n, nonneg=True) for _ in range(4))
    fee = FEE * PRICE
    limits = [cp.diag(sent) == 0, closed <= np.abs(q), brought <= 30000]
    left = usdt - fee * closed + (1 - SPREAD) * PRICE * sold_early
    gone = left - cp.sum(sent, axis=1)
    final = gone + (1 - TRANSFER) * cp.sum(sent, axis=0) + brought + (1 - SPREAD) * PRICE * sold
    sizes = np.abs(q) - closed
    coins = btc - sold_early - sold
    limits += [gone >= 0, coins >= 0]
    at_first = usdt + RATIO * PRICE * btc - np.abs(q) * PRICE / LEVERAGE
    coins_early = btc - sold_early
    for wallet in (left, gone, final - (1 - SPREAD) * PRICE * sold):
        worth = wallet + RATIO * PRICE * coins_early
        limits += [worth - sizes * (PRICE / LEVERAGE) >= np.minimum(0, at_first)]
        limits += [worth >= rate * PRICE * sizes - deduction for rate, deduction in LINES]
    limits += [final + RATIO * PRICE * coins - sizes * (PRICE / LEVERAGE) >= 0]
    least = cp.Variable()
    for step in (0, *small.steps):
        price = PRICE * (1 + step / 100)
        equity = final + RATIO * price * coins + cp.multiply(np.sign(q), sizes) * (price - PRICE)
        for rate, deduction in LINES:
            room = equity - (1 + small.share / 10) * (rate * price * sizes - deduction)
            limits += [room >= (least if kind == "largest_headroom" else 0)]
    cost = (
        cp.sum(sent) * TRANSFER
        + 0.02 * cp.sum(brought)
        + cp.sum(closed) * fee
        + cp.sum(sold_early + sold) * SPREAD * PRICE
    )
    aim = cp.Minimize(cost) if kind == "least_cost" else cp.Maximize(least - 1e-6 * cost)
    problem = cp.Problem(aim, limits)
    problem.solve(solver=cp.HIGHS)
    return float(problem.value) if problem.status == cp.OPTIMAL else None


@given(small(), st.sampled_from(("least_cost", "largest_headroom")))
def test_a_second_formulation_finds_the_same_optimum(case: Small, kind: Any) -> None:
    expected = second(case, kind)
    fund = case.fund(kind)
    try:
        plan = allocate(fund)
    except NoPlan:
        assert expected is None
        return
    assert expected is not None
    found = plan.objective - (D("1e-6") * plan.cost if kind == "largest_headroom" else 0)
    scale = max(1.0, abs(expected))
    bound = plan.bound - (D("1e-6") * plan.cost if kind == "largest_headroom" else 0)
    assert abs(float(bound) - expected) <= 1e-7 * scale + 1e-6
    assert abs(float(found) - expected) <= 1e-7 * scale + 1e-4
    _holds(case, fund, plan, kind)


def _holds(case: Small, fund: Fund, plan: Plan, kind: str) -> None:
    """Done by hand, the plan leaves every account its buffer in every scenario; and it says by how much."""
    after = done(fund, plan)
    moves = [{"BTC": D(0)}, *({"BTC": D(step) / 100} for step in case.steps)]
    share = D(case.share) / 10
    worst = min(slack(one, move, share=share) for one in after.values() for move in moves)
    assert plan.headroom is not None
    assert abs(worst - plan.headroom) < D("1e-12")
    assert worst >= 0 or kind == "largest_headroom"
    for one in after.values():
        free = cm.evaluate(*one).free_collateral
        assert free is not None
        assert free >= 0, free


@given(small(), st.lists(st.floats(0, 1), min_size=40, max_size=40))
def test_no_plan_of_a_grid_and_no_random_plan_is_better(case: Small, shares: list[float]) -> None:
    """Two accounts, one transfer each way and both closings, on a grid and at random: none that holds costs less."""
    pair = Small(case.usdt[:2], case.btc[:2], case.quantity[:2], case.steps, case.share)
    try:
        best = float(allocate(pair.fund("least_cost")).objective)
    except NoPlan:
        best = float("inf")
    grid = itertools.product(np.linspace(0, 1, 5), np.linspace(0, 1, 5), np.linspace(0, 1, 5), np.linspace(0, 1, 5))
    random = zip(*(iter(shares),) * 4, strict=True)
    for there, back, first, second_ in itertools.chain(grid, random):
        cost = _cost_if_safe(pair, (there * pair.usdt[0], back * pair.usdt[1]), (first, second_))
        assert cost is None or cost >= best - 1e-6


def _cost_if_safe(case: Small, sent: tuple[float, float], closed: tuple[float, float]) -> float | None:
    """What transfers and closings cost, None where some account would not stand; floats, by the tables."""
    cost = 0.0
    for i in (0, 1):
        q, btc = abs(case.quantity[i]) / 100, case.btc[i] / 1000
        size = q * (1 - closed[i])
        fee = FEE * PRICE * (q - size)
        gone = case.usdt[i] - fee - sent[i]
        final = gone + (1 - TRANSFER) * sent[1 - i]
        cost += fee + TRANSFER * sent[i]
        worth = RATIO * PRICE * btc
        now = case.usdt[i] + worth - q * PRICE / LEVERAGE
        if gone < 0 or gone + worth - size * PRICE / LEVERAGE < min(0.0, now):
            return None
        if final + worth - size * PRICE / LEVERAGE < 0:
            return None
        for step in (0, *case.steps):
            price = PRICE * (1 + step / 100)
            equity = final + RATIO * price * btc + np.sign(case.quantity[i]) * size * (price - PRICE)
            if equity < (1 + case.share / 10) * max(rate * price * size - cut for rate, cut in LINES):
                return None
    return cost


def _real(name: str) -> Member:
    case = cm.load(str(EXAMPLES / f"{name}.toml"))
    return Member(case.account.model_copy(update={"id": name}), case.market, case.rules)


@pytest.mark.parametrize(
    "name", ["hyperliquid", "bybit-uta", "binance-multi-assets", "staked-collateral", "basis-trade"]
)
def test_on_real_rules_the_plan_holds_everywhere_and_none_of_it_can_be_spared(name: str) -> None:
    """Capital from outside carries a real account through falls and rises; with a thousandth less, some pool breaks."""
    one = _real(name)
    currency = {"hyperliquid": "USDC"}.get(name, "USDT")
    steps = [D(s) / 100 for s in (-60, -40, -20, 20, 40, 60)]
    fund = Fund(
        currency=currency,
        prices={"USD": "1", "USDT": "1", "USDC": "1"},
        members=(one,),
        routes=(Route(**{"from": "outside", "to": name, "asset": currency, "cost": "0.01"}),),
        pockets=tuple(
            Pocket(account=name, symbol=p.symbol) for p in one.account.positions if p.margin_mode == "isolated"
        ),
        safety=Safety(share="0.5", ladders=(Ladder(steps=steps),)),
    )
    plan = allocate(fund)
    case = done(fund, plan)[name]
    scenarios = [Scenario(name=str(s), others=s) for s in steps]
    assert all(out.status != "liquidation" for out in stress(*case, scenarios))
    least = min(_buffered(out) for out in stress(*case, scenarios))
    assert plan.headroom is not None
    assert min(least, _buffered_now(case)) == pytest.approx(plan.headroom, abs=D("1e-12"))
    if plan.moves:
        changes: list[Any] = []
        for move in plan.moves:
            assert move.amount is not None
            if move.kind == "move":
                changes.append(cm.Transfer(symbol=move.symbol, amount=move.amount))
            else:
                amount = (move.amount * D("0.999")).quantize(D("1e-8"))
                changes.append(cm.Deposit(asset=currency, amount=amount))
        fewer = cm.apply_changes(*one, changes)
        now = cm.evaluate(*fewer).free_collateral
        broken = min(_buffered(out) for out in stress(*fewer, scenarios)) < 0 or (now is not None and now < 0)
        assert broken or cm.whatif(*one, changes).verdict == "refused"


TRADED = (
    "binance-multi-assets",
    "binance-portfolio-margin",
    "bingx-multi-assets",
    "bybit-uta",
    "delta-neutral-pair",
    "deribit-cross-collateral",
    "gate-crossex",
    "hyperliquid",
    "hyperliquid-portfolio",
    "staked-collateral",
)


@pytest.mark.parametrize("kind", ["least_collateral", "least_cost"])
@pytest.mark.parametrize("name", [*TRADED, "inverse"])
def test_on_real_rules_with_every_way_to_act_the_plan_done_by_hand_is_the_plan_that_was_judged(
    name: str, kind: ObjectiveKind
) -> None:
    """Trades in every contract, capital in every asset, margin of every pocket: the figures are those of the moves."""
    one = _inverse() if name == "inverse" else _real(name)
    held = one.account.positions
    assets = {parse_symbol(p.symbol).settle for p in held} | {one.rules.reference_currency} & set(one.account.balances)
    steps = [D(s) / 100 for s in (-50, -25, 25, 50)]
    fund = Fund(
        currency="USD",
        prices={"USD": "1", "USDT": "1", "USDC": "1", "BTC": "60000", "ETH": "3000"},
        members=(one,),
        routes=tuple(Route(**{"from": "outside", "to": name, "asset": a, "cost": "0.001"}) for a in sorted(assets)),
        orders=tuple(
            FundOrder(account=name, symbol=p.symbol, spread="0.0002") for p in held if p.margin_mode == "cross"
        ),
        pockets=tuple(Pocket(account=name, symbol=p.symbol) for p in held if p.margin_mode == "isolated"),
        safety=Safety(ladders=(Ladder(steps=steps),), share="0.1", amount="10"),
        objective=Objective(kind=kind),
    )
    plan = allocate(fund)
    assert plan.safe
    assert float(plan.gap) <= 1e-6 * max(1000.0, abs(float(plan.objective)))
    case = done(fund, plan)[name]
    found = {pool.name: pool for pool in cm.evaluate(*case).pools}
    for pool in plan.pools:
        assert pool.after is not None
        assert pool.after.equity == pytest.approx(found[pool.pool].equity, abs=D("1e-12"))
        assert pool.after.headroom == pytest.approx(found[pool.pool].headroom, abs=D("1e-12"))
        if pool.after.worst_headroom is not None:
            outcomes = stress(
                *case, [Scenario(name="0", others=D(0)), *(Scenario(name=str(s), others=s) for s in steps)]
            )
            worst = min(row.headroom for out in outcomes for row in out.pools if row.pool == pool.pool)
            assert pool.after.worst_headroom >= worst - D("1e-12")
            assert pool.after.slack is not None
            assert pool.after.slack >= 0


def _inverse() -> Member:
    """Short 3,000 and long 500 contracts of 100 dollars, settled in BTC and in ETH, on BTC collateral."""
    raw = {
        "id": "inverse",
        "profile": "plain-cross",
        "as_of": "2026-11-23T08:00:00Z",
        "balances": {"BTC": "1.5", "USDT": "2000", "ETH": "3"},
        "positions": [
            {"symbol": "BTC/USD:BTC", "quantity": "-3000", "entry_price": "58000", "leverage": "10"},
            {"symbol": "ETH/USD:ETH", "quantity": "500", "entry_price": "3100", "leverage": "10"},
            {"symbol": BTC, "quantity": "-2", "entry_price": "61000", "leverage": "10"},
        ],
        "market": {
            "mark_price": {"BTC/USD:BTC": "60000", "ETH/USD:ETH": "3000", BTC: "60000"},
            "index_price": {"BTC": "60000", "ETH": "3000"},
        },
        "instruments": [
            {"symbol": s, "contract_size": size, "taker_fee": "0.0005", "brackets": brackets}
            for s, size, brackets in (
                ("BTC/USD:BTC", "100", [{"notional_floor": "0", "maintenance_rate": "0.004"},
                                        {"notional_floor": "3", "maintenance_rate": "0.01"}]),
                ("ETH/USD:ETH", "100", [{"notional_floor": "0", "maintenance_rate": "0.005"}]),
                (BTC, "1", [{"notional_floor": "0", "maintenance_rate": "0.005"}]),
            )
        ],
        "assets": [{"asset": "BTC", "collateral_ratio": "0.95"}, {"asset": "ETH", "collateral_ratio": "0.9"}],
    }  # fmt: skip
    return Member(*cm.case_from(raw, "inverse"))


def _buffered(outcome: Any) -> Decimal:
    return min(pool.headroom - pool.maintenance_margin / 2 for pool in outcome.pools if pool.maintenance_margin)


def _buffered_now(case: cm.Case) -> Decimal:
    return min(p.headroom - p.maintenance_margin / 2 for p in cm.evaluate(*case).pools if p.maintenance_margin)
