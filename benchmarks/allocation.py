"""How fast is a proven optimum? A made-up fund of ten accounts, 30 collateral assets and 200 contracts.

Run: python benchmarks/allocation.py [--write]. The fund is seeded; every plan is judged exactly before the clock stops.
"""

from __future__ import annotations

import argparse
import sys
import time
from decimal import Decimal

import cvxpy as cp
import numpy as np
from judge import write

import crossmargin as cm
from crossmargin.analytics.allocation import Plan, allocate
from crossmargin.analytics.allocation_scenarios import shocks_of
from crossmargin.model.fund import Conversion, Draws, Fund, FundOrder, Member, Objective, Route, Safety

TITLE = "## Allocation (`python benchmarks/allocation.py --write`)"
SPREAD = Decimal("0.0003")


def member(index: int, contracts: int, assets: list[str], rng: np.random.Generator) -> Member:
    """A cross account: collateral in three assets with tiered ratios, contracts with three brackets each."""
    symbols = [f"C{index * contracts + i}/USDT:USDT" for i in range(contracts)]
    marks = {symbol: f"{rng.uniform(1, 500):.4f}" for symbol in symbols}
    index_price = {asset: f"{rng.uniform(10, 3000):.4f}" for asset in assets}
    values = rng.uniform(2e4, 2e5, contracts) * np.where(rng.random(contracts) < 0.5, -1, 1)
    raw = {
        "id": f"venue{index}",
        "profile": "plain-cross",
        "as_of": "2026-11-23T08:00:00Z",
        "balances": {
            "USDT": f"{rng.uniform(1e3, 1.5e5):.2f}",
            **{asset: f"{rng.uniform(2e4, 9e4) / float(index_price[asset]):.4f}" for asset in assets},
        },
        "positions": [
            {
                "symbol": symbol,
                "quantity": f"{value / float(marks[symbol]):.3f}",
                "entry_price": marks[symbol],
                "leverage": "20",
            }
            for symbol, value in zip(symbols, values, strict=True)
        ],
        "market": {"mark_price": marks, "index_price": index_price},
        "instruments": [
            {
                "symbol": symbol,
                "taker_fee": "0.0005",
                "brackets": [
                    {"notional_floor": "0", "maintenance_rate": "0.01"},
                    {"notional_floor": "50000", "maintenance_rate": "0.02"},
                    {"notional_floor": "150000", "maintenance_rate": "0.05"},
                ],
            }
            for symbol in symbols
        ],
        "assets": [
            {
                "asset": asset,
                "collateral_tiers": [
                    {"floor": "0", "collateral_ratio": "0.9"},
                    {"floor": f"{5e4 / float(index_price[asset]):.4f}", "collateral_ratio": "0.7"},
                ],
            }
            for asset in assets
        ],
    }
    return Member(*cm.case_from(raw, "benchmark"))


def fund(pools: int = 10, contracts: int = 20, scenarios: int = 1_000, seed: int = 7) -> Fund:
    """Accounts joined by every route, selling any collateral for USDT, trading any contract."""
    rng = np.random.default_rng(seed)
    assets = [[f"A{3 * index + i}" for i in range(3)] for index in range(pools)]
    members = [member(index, contracts, own, rng) for index, own in enumerate(assets)]
    ids = [one.account.id for one in members]
    coins = [f"C{i}" for i in range(pools * contracts)] + [asset for own in assets for asset in own]
    return Fund(
        id=f"{pools} pools",
        currency="USDT",
        members=tuple(members),
        routes=tuple(Route(source=a, target=b, asset="USDT", fee_rate="0.0001") for a in ids for b in ids if a != b)
        + tuple(Route(source="outside", target=b, asset="USDT", cost="0.01") for b in ids),
        conversions=tuple(
            Conversion(account=account, sell=asset, buy="USDT", spread=SPREAD)
            for account, own in zip(ids, assets, strict=True)
            for asset in own
        ),
        orders=tuple(
            FundOrder(
                account=one.account.id,
                symbol=p.symbol,
                side="sell" if p.quantity > 0 else "buy",
                spread=SPREAD,
            )
            for one in members
            for p in one.account.positions
        ),
        safety=Safety(
            share="1", draws=Draws(count=scenarios, volatility=dict.fromkeys(coins, "0.1"), correlation="0.5")
        ),
        objective=Objective(kind="least_cost"),
    )


def row(pools: int, contracts: int, scenarios: int) -> tuple[list[str], Plan]:
    """One measurement as a row of the table."""
    made = fund(pools, contracts, scenarios)
    start = time.perf_counter()
    plan = allocate(made)
    took = time.perf_counter() - start
    cells = [
        f"{pools} pools, {pools * contracts} contracts, {scenarios:,} scenarios",
        f"{took:.1f} s",
        f"{plan.objective:.2f}",
        f"{plan.gap:.1e}",
        f"{len(plan.moves)}",
        f"{plan.rounds}",
        f"{plan.lines:,}",
        f"{plan.judged_exactly:,} of {plan.judged:,}",
    ]
    return cells, plan


def against_cvxpy(pools: int = 4, scenarios: int = 2_000) -> str:
    """Money only (transfers, sales, capital from outside): every scenario written down for cvxpy, from the tables.

    PnL and maintenance margin are then numbers: headroom as it stands less what the collateral counts for. What a coin
    counts for is the lesser of its two tier lines, in coins, times its price in the scenario.
    """
    made = fund(pools, 20, scenarios)
    made = made.model_copy(update={"orders": ()})
    start = time.perf_counter()
    plan = allocate(made)
    ours = time.perf_counter() - start
    start = time.perf_counter()
    prepared = [cm.prepare(*one, number=float) for one in made.members]
    shocks = shocks_of(made.safety, [cm.prepare(*one) for one in made.members])
    names = [one.account.id for one in made.members]
    sent, brought = cp.Variable((pools, pools), nonneg=True), cp.Variable(pools, nonneg=True)
    limits, cost = [cp.diag(sent) == 0], 0.0001 * cp.sum(sent) + 0.01 * cp.sum(brought)
    for i, (one, ready) in enumerate(zip(made.members, prepared, strict=True)):
        market, balances = one.market, one.account.balances
        assets = [a for a in balances if a != "USDT"]
        held = np.array([float(balances[a].wallet_balance) for a in assets])
        price = np.array([float(market.index_price[a]) for a in assets])
        cap = np.array([float(one.rules.assets[a].tiers[1].floor) for a in assets])
        usdt = float(balances["USDT"].wallet_balance)
        early, late, counts = cp.Variable(3, nonneg=True), cp.Variable(3, nonneg=True), cp.Variable(3)
        kept = held - early - late
        limits += [kept >= 0, counts <= 0.9 * kept, counts <= 0.7 * kept + 0.2 * cap]
        before = usdt + (1 - float(SPREAD)) * price @ early - cp.sum(sent[i])
        cash = before + 0.9999 * cp.sum(sent[:, i]) + brought[i] + (1 - float(SPREAD)) * price @ late
        moved = price * (1 + shocks.moves[:, [shocks.place[a] for a in assets]])
        ready.pools[0].ladder = ((ready.pools[0].ladder[-1][0], 2.0),)
        rooms = shocks.rooms(ready, i)[:, 0]
        rest = rooms - usdt - moved @ np.minimum(0.9 * held, 0.7 * held + 0.2 * cap)
        limits += [before >= 0, cash + moved @ counts + rest >= 0]
        pool = cm.evaluate(*one).pools[0]
        base = float(pool.free_collateral) - usdt - price @ np.minimum(0.9 * held, 0.7 * held + 0.2 * cap)
        there = cp.Variable(3)
        limits += [there <= 0.9 * (held - early), there <= 0.7 * (held - early) + 0.2 * cap]
        limits += [before + price @ there + base >= min(0.0, float(pool.free_collateral))]
        limits += [cash + price @ counts + base >= 0]
        cost += float(SPREAD) * price @ (early + late)
    problem = cp.Problem(cp.Minimize(cost), limits)
    problem.solve(solver=cp.HIGHS)
    theirs = time.perf_counter() - start
    off = abs(float(plan.bound) - problem.value) / max(1.0, abs(problem.value))
    return (
        f"\nMoney only, {len(names)} pools, {scenarios:,} scenarios, all of them written down for cvxpy: "
        f"{problem.value:.6f} in {theirs:.1f} s; here {plan.bound:.6f} in {ours:.1f} s, judged exactly "
        f"(relative difference {off:.0e}, {plan.lines:,} lines instead of {pools * scenarios:,} and more).\n"
    )


SIZES = ((2, 20, 1_000), (5, 20, 1_000), (10, 20, 1_000), (10, 10, 1_000), (10, 20, 10_000), (10, 20, 100_000))


def table(found: list[list[str]]) -> str:
    head = "| fund | to the proven optimum | cost | gap | moves | rounds | lines | judged exactly |\n"
    return head + "|---|---|---|---|---|---|---|---|\n" + "".join("| " + " | ".join(r) + " |\n" for r in found)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="put the table into benchmarks/RESULTS.md")
    arguments = parser.parse_args()
    text = table([row(*size)[0] for size in SIZES]) + against_cvxpy() + against_cvxpy(10, 10_000)
    sys.stdout.write(text)
    if arguments.write:
        write(text, TITLE)
