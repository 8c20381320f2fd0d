"""How fast are many scenarios? One account of 500 positions, 100,000 scenarios, beside the bare matrix product; and a
book of 10,000 pools, 1,000 scenarios, beside SciPy's sparse product.

Run: python benchmarks/stress.py [--write]. Rivals are measured in turn, in one process; medians. A product is that of
the same array with one weight a coin (and pool), the least that any linear stress engine must do: PnL alone, without
brackets, tiers and verdicts. The book's runner is measured on one thread, as SciPy is, and on two.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from importlib import import_module

import numpy as np
from book import made_up
from judge import account, write

import crossmargin as cm
from crossmargin.analytics.compiled import compile_scenarios
from crossmargin.analytics.stress import ladder
from crossmargin.engine.book import Book
from crossmargin.engine.runner import Runner, State

TITLE = "## Scenarios (`python benchmarks/stress.py --write`)"
POSITIONS, SCENARIOS = 500, 100_000
ROUNDS = 9


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
        for _ in range(ROUNDS):
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


def in_turn(*work: Callable[[], object]) -> list[float]:
    """The median milliseconds of each, all of them run in every round."""
    times: list[list[float]] = [[] for _ in work]
    for turn in range(ROUNDS + 1):
        for own, run in zip(times, work, strict=True):
            start = time.perf_counter()
            run()
            if turn:  # the first compiles and warms
                own.append((time.perf_counter() - start) * 1e3)
    return [statistics.median(own) for own in times]


def factors(coins: np.ndarray, count: int) -> np.ndarray:
    """Correlated daily moves of 5 %, coin x scenario; what is no coin stands still."""
    rng = np.random.default_rng(7)
    moved = rng.normal(0, 0.04, (1, count)) + rng.normal(0, 0.03, (len(coins), count))
    return np.where(coins[:, None], np.clip(1 + moved, 0.1, None), 1.0)


def weights(runner: Runner, state: State) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(pool, coin, dollars) of every position: the PnL of a whole move."""
    pools, rates = runner.bound.pools, state.rates
    held = np.diff(pools.position_start)
    pool = np.repeat(np.repeat(np.arange(len(runner)), np.diff(pools.start)), held)
    dollars = pools.size * rates.x[pools.instrument] * np.nan_to_num(rates.price[np.repeat(pools.asset, held)])
    return pool, runner.tables.base[pools.instrument], dollars


def book_rows() -> list[list[str]]:
    """The runner of books: many pools beside a sparse product, one large pool beside a dense one."""
    sparse = import_module("scipy.sparse")
    made = made_up(10_000)
    case = cm.case_from(account(POSITIONS), "benchmark")
    found = []
    for words, book, market, rules, count in (
        ("10,000 pools x 1,000, a book", made.book, made.prices, made.rules, 1_000),
        (f"{POSITIONS} positions x {SCENARIOS:,}, a book", Book.from_accounts([case.account]), *case[1:], SCENARIOS),
    ):
        one, two = Runner(book, rules, threads=1), Runner(book, rules, threads=2)
        state = one.state(market)
        moved = factors(~np.asarray(one.tables.cash), count)
        pool, coin, dollars = weights(one, state)
        product = sparse.csr_matrix((dollars, (pool, coin)), shape=(len(one), len(moved)))
        bare = product if len(one) > 1 else product.toarray()
        rival, single, both = in_turn(
            lambda bare=bare, moved=moved: bare @ moved,
            lambda one=one, state=state, moved=moved: one.stress(state, moved, moved),
            lambda two=two, state=state, moved=moved: two.stress(state, moved, moved),
        )
        found.append(
            [words, f"{rival:.0f} ms", f"{single:.0f} ms; on two threads {both:.0f} ms",
             f"{single / rival:.2f}; {both / rival:.2f}", ""]
        )  # fmt: skip
    return found


def table(found: list[list[str]]) -> str:
    head = "| scenarios | matrix product | headroom | ratio | compiling once |\n|---|---|---|---|---|\n"
    return head + "".join("| " + " | ".join(row) + " |\n" for row in found)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="put the table into benchmarks/RESULTS.md")
    text = table(rows() + book_rows())
    sys.stdout.write(text)
    if parser.parse_args().write:
        write(text, TITLE)
