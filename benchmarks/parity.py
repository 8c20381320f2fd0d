"""Do the runner and the exact judge agree? Random pools of every profile that has a compiled form, judged both ways.

Run: python benchmarks/parity.py [--pools 100000] [--profiles a,b] [--write]. Prints the largest relative difference of
figures and of prices of liquidation, how many sides were compared, how many pools the exact judge had to decide, and
every verdict that differs: there must be none. Each pool is judged on decimals, about a millisecond each.
"""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from judge import write

import crossmargin as cm
from crossmargin.engine.synthetic import Synthetic, synthetic_book
from crossmargin.model.instrument import parse_symbol
from crossmargin.model.market import Market
from crossmargin.model.profile import Rules

# the comparison is the tests' own
sys.path.append(str(Path(__file__).parents[1] / "tests" / "parity"))
agreement = import_module("agreement")

TITLE = "## Agreement of runner and judge (`python benchmarks/parity.py --pools 4000 --write`)"
AT_ONCE = 2_000


def some_pools(rules: Rules, pools: int, seed: int) -> Synthetic:
    """A made-up book of few contracts, so that hedges, several contracts on one coin and coin collateral are common."""
    donors = [rules] + [cm.load_profile(name).on(agreement.AS_OF) for name in ("binance-usdm", "binance-coinm")]
    kinds = {parse_symbol(symbol).kind for symbol in rules.brackets} or {"linear", "inverse"}
    inverse = {frozenset({"linear"}): 0, frozenset({"inverse"}): 8}.get(frozenset(kinds - {"spot"}), 3)
    listed = [n for n, rule in rules.assets.items() if rule.tiers is not None or rule.bid_buffer is not None]
    return synthetic_book(
        rules, pools=pools, seed=seed, positions=4, longest=14, instruments=8, inverse=inverse, donors=donors,
        isolated=0.15 if rules.slots.pooling.isolated else 0.0, holdings=[*listed[:6], "USDT", "USDC"],
    )  # fmt: skip


def market_of(made: Synthetic) -> Market:
    """The prices as an exact market, every number a plain decimal."""
    marks = dict(zip(made.prices.instruments, (f"{p:.10f}" for p in made.prices.mark_price), strict=True))
    index = dict(zip(made.prices.assets, (f"{p:.10f}" for p in made.prices.index_price), strict=True))
    return Market(as_of=agreement.AS_OF, mark_price=marks, index_price=index, bid_rate=index, ask_rate=index)


def check(rules: Rules, pools: int) -> Any:
    found = agreement.Agreement()
    seed = 0
    while found.pools + found.refused < pools:
        made = some_pools(rules, min(AT_ONCE, pools), seed)
        agreement.compare(made.book, market_of(made), made.rules, found)
        seed += 1
    return found


def report(pools: int, profiles: list[str] | None) -> str:
    head = "profile, pools, largest difference of a figure, sides, of a price, rejudged, refused by both, disagree"
    rows = ["| " + head.replace(", ", " | ") + " |\n" + "|---" * 8 + "|\n"]
    for name, rules in agreement.compilable().items():
        if profiles and name not in profiles:
            continue
        found = check(rules, pools)
        figures = max((v for k, v in found.largest.items() if "price" not in k), default=0.0)
        prices = max((v for k, v in found.largest.items() if "price" in k), default=0.0)
        cells = (name, f"{found.pools:,}", f"{figures:.1e}", f"{found.sides:,}", f"{prices:.1e}")
        cells = (*cells, str(found.rejudged), str(found.refused), str(len(found.wrong)))
        rows.append("| " + " | ".join(cells) + " |\n")
        sys.stderr.write(rows[-1] + "".join(f"  {line}\n" for line in found.wrong[:5]))
    return "".join(rows)


if __name__ == "__main__":
    np.seterr(all="ignore")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pools", type=int, default=100_000, help="how many pools of each profile")
    parser.add_argument("--profiles", help="only these profiles, separated by commas")
    parser.add_argument("--write", action="store_true", help="put the table into benchmarks/RESULTS.md")
    given = parser.parse_args()
    text = report(given.pools, given.profiles.split(",") if given.profiles else None)
    sys.stdout.write(text)
    if given.write:
        write(text, TITLE)
