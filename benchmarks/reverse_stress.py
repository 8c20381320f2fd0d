"""How fast is the nearest liquidating move, and does brute force ever find a nearer one?

Run: python benchmarks/reverse_stress.py [--write] [--accounts 10000]. First 50 coins with the twelve-bracket table of
BTC on each; then random small accounts of two or three coins with brackets every few per cent, each against 20,000
points inside the ellipsoid that is certified to hold no liquidating move.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time

import numpy as np
from judge import account, write

import crossmargin as cm
from crossmargin.analytics.compiled import compile_scenarios
from crossmargin.analytics.covariance import Covariance, covariance_of
from crossmargin.analytics.reverse_stress import reverse_stress

TITLE = "## Reverse stress (`python benchmarks/reverse_stress.py --write`)"
COINS = 50


def large(random: np.random.Generator) -> tuple[cm.Case, Covariance]:
    """50 positions of very different sizes, long and short, on 5 to 25 % of their value."""
    raw = account(COINS)
    positions: list[dict[str, str]] = raw["positions"]
    for position in positions:
        position["quantity"] = f"{random.choice([-1, 1]) * np.exp(random.uniform(0, 5)):.3f}"
    value = sum(abs(float(position["quantity"])) * 30000 for position in positions)
    raw["balances"] = {"USDT": f"{value * random.uniform(0.05, 0.25):.0f}"}
    mixed = random.normal(size=(COINS, COINS))
    matrix = (mixed @ mixed.T / COINS * 0.5 + np.ones((COINS, COINS))) * 0.04**2
    return cm.case_from(raw, "benchmark"), covariance_of([f"C{i}" for i in range(COINS)], matrix)


def small(random: np.random.Generator) -> tuple[cm.Case, Covariance]:
    """Two or three positions at 100 with a table each, on 30 to 90 % of their value."""
    coins = ["BTC", "ETH", "SOL"][: int(random.integers(2, 4))]
    symbols = [f"{coin}/USDT:USDT" for coin in coins]
    sizes = [round(float(random.choice([-1, 1]) * random.uniform(0.2, 5)), 3) for _ in coins]
    instruments = []
    for symbol, size in zip(symbols, sizes, strict=True):
        floors = sorted({int(abs(size) * 100 * random.uniform(0.4, 1.8)) for _ in range(random.integers(1, 6))})
        rates = np.sort(random.uniform(0.004, 0.4, len(floors) + 1))
        table = [
            {"notional_floor": str(f), "maintenance_rate": f"{r:.4f}"} for f, r in zip([0, *floors], rates, strict=True)
        ]
        instruments.append({"symbol": symbol, "brackets": table})
    raw = {
        "profile": "plain-cross",
        "as_of": "2026-11-20T08:00:00Z",
        "balances": {"USDT": f"{sum(map(abs, sizes)) * 100 * random.uniform(0.3, 0.9):.2f}"},
        "positions": [
            {"symbol": symbol, "quantity": str(size), "entry_price": "100", "leverage": "5"}
            for symbol, size in zip(symbols, sizes, strict=True)
        ],
        "market": {"mark_price": dict.fromkeys(symbols, "100")},
        "instruments": instruments,
    }
    mixed = random.normal(size=(len(coins), len(coins) + 1))
    return cm.case_from(raw, "small"), covariance_of(coins, mixed @ mixed.T * random.uniform(0.005, 0.05) ** 2)


def nearer(case: cm.Case, covariance: Covariance, random: np.random.Generator, points: int) -> tuple[bool, bool, bool]:
    """(a point inside the certified ellipsoid liquidates, the bound equals the distance, boxes were cut)."""
    found = reverse_stress(*case, covariance)
    if found.kind == "already":
        return False, True, False
    compiled = compile_scenarios(cm.prepare(*case, number=float), coins=covariance.coins)
    values, vectors = np.linalg.eigh(covariance.matrix)
    count = len(values)
    sphere = random.normal(size=(points, count))
    sphere /= np.linalg.norm(sphere, axis=1)[:, np.newaxis]
    sphere *= (1 - 1e-9) * random.uniform(0, 1, (points, 1)) ** (1 / count / 3)  # most of them near the surface
    inside = (sphere * float(found.certified_bound)) @ (vectors * np.sqrt(np.maximum(values, 0))).T
    inside = inside[(inside > -1).all(axis=1)]
    scale = 1e-9 * sum(abs(float(position.quantity)) * 100 for position in case.account.positions)
    return bool(len(inside) and compiled(inside).min() < -scale), found.proved, found.examined > 1


def rows(accounts: int) -> list[str]:
    random = np.random.default_rng(11)
    times, boxes, proved = [], [], 0
    for _ in range(30):
        case, covariance = large(random)
        start = time.perf_counter()
        found = reverse_stress(*case, covariance)
        times.append(time.perf_counter() - start)
        boxes.append(found.examined)
        proved += found.proved
    lines = [
        "| | accounts | median | slowest | boxes (median, most) | proved |",
        "|---|---|---|---|---|---|",
        f"| {COINS} coins | 30 | {statistics.median(times) * 1e3:.0f} ms | {max(times) * 1e3:.0f} ms "
        f"| {statistics.median(boxes):.0f}, {max(boxes)} | {proved} |",
    ]
    beaten = certain = cut = 0
    for _ in range(accounts):
        case, covariance = small(random)
        worse, sure, bent = nearer(case, covariance, random, 20_000)
        beaten, certain, cut = beaten + worse, certain + sure, cut + bent
    lines.append("")
    lines.append(
        f"Brute force on {accounts:,} random accounts of 2 or 3 coins, 20,000 points each inside the certified "
        f"ellipsoid: {beaten} nearer moves found; bound equal to the distance in {certain:,}; "
        f"more than one box needed in {cut:,}."
    )
    return lines


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="put the result into benchmarks/RESULTS.md")
    parser.add_argument("--accounts", type=int, default=10_000, help="random accounts for the brute force")
    arguments = parser.parse_args()
    text = "\n".join(rows(arguments.accounts)) + "\n"
    sys.stdout.write(text)
    if arguments.write:
        write(text, TITLE)
