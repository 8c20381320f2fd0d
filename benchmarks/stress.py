"""How fast are many scenarios? One account of 500 positions, 100,000 scenarios, beside the bare matrix product.

Run: python benchmarks/stress.py [--write]. Both are measured in turn, in one process; medians. The product is that of
the same array with one weight a coin, the least that any linear stress engine must do.
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
from crossmargin.analytics.stress import ladder

TITLE = "## Scenarios (`python benchmarks/stress.py --write`)"
POSITIONS, SCENARIOS = 500, 100_000


def moves(kind: str, rng: np.random.Generator) -> np.ndarray:
    """Correlated daily moves of 5 % (``daily``), or crashes of anything from -60 % to +60 % (``wild``)."""
    if kind == "wild":
        return rng.uniform(-0.6, 0.6, (SCENARIOS, POSITIONS))
    market = rng.normal(0, 0.04, (SCENARIOS, 1))
    return np.clip(market + rng.normal(0, 0.03, (SCENARIOS, POSITIONS)), -0.9, None)


def rows() -> list[list[str]]:
    case = cm.case_from(account(POSITIONS), "benchmark")
    prepared = cm.prepare(*case, number=float)
    start = time.perf_counter()
    compiled = compile_scenarios(prepared)
    compiling = time.perf_counter() - start
    weights = np.linspace(-1, 1, POSITIONS)
    found = []
    for kind in ("daily", "wild"):
        table = moves(kind, np.random.default_rng(7))
        both: tuple[list[float], list[float]] = ([], [])
        for _ in range(9):
            for times, work in zip(both, (lambda t=table: t @ weights, lambda t=table: compiled(t)), strict=True):
                start = time.perf_counter()
                work()
                times.append(time.perf_counter() - start)
        product, ours = (statistics.median(times) for times in both)
        found.append(
            [
                f"{SCENARIOS:,} x {POSITIONS}, {kind}",
                f"{product * 1e3:.0f} ms",
                f"{ours * 1e3:.0f} ms",
                f"{ours / product:.2f}",
                f"{compiling * 1e3:.0f} ms",
            ]
        )
    start = time.perf_counter()
    ladder(*case)
    one = (time.perf_counter() - start) / 12
    found.append([f"1 scenario of {POSITIONS} positions, exact", "", f"{one * 1e3:.0f} ms", "", ""])
    return found


def table(found: list[list[str]]) -> str:
    head = "| scenarios | matrix product | headroom | ratio | compiling once |\n|---|---|---|---|---|\n"
    return head + "".join("| " + " | ".join(row) + " |\n" for row in found)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="put the table into benchmarks/RESULTS.md")
    text = table(rows())
    sys.stdout.write(text)
    if parser.parse_args().write:
        write(text, TITLE)
