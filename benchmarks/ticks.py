"""What does a price cost? A book of 10^4 to 10^6 pools under ticks of one-second volatility; a gap beside a full scan.

Run: python benchmarks/ticks.py [--write] [--pools 10000 100000 1000000] [--check]. Times of single ticks are read
inside the compiled loop, so they hold no interpreter. ``warm``: ticks follow each other; ``cold``: 64 MB of other
memory are written between two of them. ``--check``: a run beside full scans that must miss no crossing.
"""

from __future__ import annotations

import argparse
import ctypes
import sys
import time
from dataclasses import replace
from typing import Any

import numba
import numpy as np
from judge import write

import crossmargin as cm
import crossmargin.engine.ticks as ticks_module
from crossmargin.engine.jit import spliced
from crossmargin.engine.runner import Runner
from crossmargin.engine.synthetic import Synthetic, synthetic_book
from crossmargin.engine.ticking import advance
from crossmargin.engine.ticks import TickIndex

TITLE = "## Ticks (`python benchmarks/ticks.py --write`)"
HOLDINGS = ["USDT", "USDC", "BTC", "ETH"]
PER_SECOND = 1.07e-4
"""60 % a year; each contract moves one to two times that."""
COLD_TICKS = 1_000

_clock = ctypes.CDLL(None).clock_gettime
_clock.argtypes = [ctypes.c_int, ctypes.c_void_p]
_clock.restype = ctypes.c_int
_spliced = spliced(advance)


@numba.njit(nogil=True, error_model="numpy")
def _timed(first, until, limit, moves, now, pools, rates, rule, figures, hooks, standing, loose, stamp, took, other):
    """As ``advance``, with the nanoseconds of each move; ``other``: memory to write before each, if there is any."""
    at, why = first, 0
    while at < until and why in (0, 3):
        for place in range(len(other)):
            other[place] += 1.0
        _clock(1, stamp.ctypes.data)
        start = stamp[0] * 1_000_000_000 + stamp[1]
        at, why = _spliced(at, at + 1, limit, moves, now, pools, rates, rule, figures, hooks, standing, loose)
        _clock(1, stamp.ctypes.data)
        took[at - 1] = stamp[0] * 1_000_000_000 + stamp[1] - start
        if standing.counters[7]:
            break
    return at, why


class Stopwatch:
    """Stands in for ``advance`` and keeps the time of every move."""

    def __init__(self) -> None:
        self.took = np.zeros(0, np.int64)
        self.other = np.zeros(0)

    def __call__(self, *given: Any) -> tuple[int, int]:
        if len(self.took) < len(given[3].driver):
            self.took = np.zeros(len(given[3].driver), np.int64)
        return _timed(*given, np.zeros(2, np.int64), self.took, self.other)


def made(pools: int) -> Synthetic:
    """A seeded book of 300 contracts under the rules of a unified account."""
    rules = cm.load_profile("bybit-uta").on(cm.load("examples/article-3.1.toml").market.as_of)
    return synthetic_book(rules, pools=pools, seed=7, holdings=HOLDINGS)


def dense(one: Synthetic, ratio: float = 0.24) -> Synthetic:
    """The same book with what it owns scaled until the median of maintenance / equity is ``ratio``; leverage 50."""
    rng = np.random.default_rng(1)
    aim = np.clip(ratio * np.exp(rng.normal(0, 0.5, one.book.purses)), 0.02, 0.95)
    book = replace(one.book, leverage=np.full(one.book.positions, 50.0))
    price = one.prices.index_price[book.asset]
    price = np.where(np.isnan(price), 1.0, price)
    last = book.holding_start[1:] - 1
    for _ in range(6):
        state = Runner(book, one.rules).state(one.prices)
        rates = np.where(book.isolated, 1.0, price[last])
        short = np.nan_to_num((state.maintenance_margin / aim - state.equity) / rates)
        amount = book.amount.copy()
        amount[last] += short
        amount[last] = np.where(book.isolated, np.maximum(amount[last], 0.0), amount[last])
        book = replace(book, amount=amount)
    return replace(one, book=book)


def seconds(index: TickIndex, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(source, price) of so many seconds: every mark once in each, in any order, and the prices of what is held."""
    rng = np.random.default_rng(seed)
    now = index.prices()
    price = np.concatenate([now.mark_price, now.index_price])
    held = [index.source(name) for name in HOLDINGS]
    sources = np.concatenate([np.arange(len(now.mark_price)), held])
    spread = PER_SECOND * rng.uniform(1, 2, len(price)) * np.where(np.isin(np.arange(len(price)), held[:2]), 0.05, 1)
    order = np.concatenate([rng.permutation(sources) for _ in range(count)])
    prices = np.empty(len(order))
    for place, code in enumerate(order):
        price[code] *= np.exp(spread[code] * rng.normal())
        prices[place] = price[code]
    return order, prices


def measured(one: Synthetic, watch: Stopwatch, *, name: str, only: bool) -> list[str]:
    """One row: mean and 99th percentile, warm and cold, with how many pools a tick judged and changed."""
    index = TickIndex(one.book, one.prices, one.rules, liquidation_only=only)
    index.ticks(*seconds(index, 4, 0))
    before = index.counters.judged
    source, price = seconds(index, 60, 1)
    found = index.ticks(source, price)
    warm, judged = watch.took[: len(source)] / 1e3, (index.counters.judged - before) / len(source)
    watch.other = np.zeros(8_000_000)
    source, price = (column[:COLD_TICKS] for column in seconds(index, 10, 2))
    index.ticks(source, price)
    cold = watch.took[: len(source)] / 1e3
    watch.other = np.zeros(0)
    return [
        name,
        "liquidation" if only else "every level",
        f"{judged:.3f}",
        f"{len(found) / len(warm):.3f}",
        *(f"{figure:.2f}" for figure in (warm.mean(), np.median(warm), np.percentile(warm, 99))),
        *(f"{figure:.2f}" for figure in (cold.mean(), np.median(cold), np.percentile(cold, 99))),
    ]


def gap(one: Synthetic, name: str) -> list[str]:
    """The most popular contract falls 10 %: the tick, a full evaluation of the same book, and what comes after.

    Both are timed after the same work on the index, which leaves their memory as cold.
    """
    code = int(np.argmax(np.bincount(one.book.instrument)))
    symbol, other = one.book.instruments[code], one.book.instruments[code - 1]
    price = float(one.prices.mark_price[code])
    runner = Runner(one.book, one.rules)
    rates = runner.rates(one.prices)
    index = TickIndex(one.book, one.prices, one.rules)
    full, fall, after, settle = [], [], [], []
    passed = 0
    for _ in range(6):
        index.tick(symbol, price * 0.9)
        index.settle()
        index.tick(symbol, price)
        index.settle()
        full.append(timed(lambda: runner.state(rates)))
        index.tick(symbol, price * 0.9)
        index.settle()
        index.tick(symbol, price)
        index.settle()
        fall.append(timed(lambda: index.tick(symbol, price * 0.9)))
        last = float(index.prices().mark_price[code - 1])
        after.append(max(timed(lambda p=last * (1 + 1e-6 * n): index.tick(other, p)) for n in range(1, 5)))
        passed = index.counters.loose
        settle.append(timed(index.settle))
        index.tick(symbol, price)
    least = [float(np.median(times)) * 1e3 for times in (full, fall, after, settle)]
    figures = [f"{ms:.1f}" for ms in least]
    return [f"{one.book.purses:,}{name}", f"{passed:,}", *figures, f"{least[1] / least[0]:.2f}"]


def timed(work: Any) -> float:
    """The seconds that something takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def checked(one: Synthetic) -> str:
    """A run in which every tick is compared with a judgement of everything."""
    index = TickIndex(one.book, one.prices, one.rules, check=True)
    changes = 0
    for seed in range(3):
        source, price = seconds(index, 10, 10 + seed)
        changes += len(index.ticks(source, price))
    counters = index.counters
    return (
        f"Checked beside a judgement of all {one.book.purses:,} pools at each of {counters.taken:,} ticks: "
        f"{changes:,} changes of level, {counters.judged:,} pools judged, {counters.missed} missed.\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="put the tables into benchmarks/RESULTS.md")
    parser.add_argument("--pools", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--check", action="store_true", help="only the run beside full scans")
    asked = parser.parse_args()
    if asked.check:
        sys.stdout.write(checked(made(asked.pools[0])))
        return
    watch = Stopwatch()
    rows, gaps = [], []
    for pools in asked.pools:
        plain = made(pools)
        close = dense(plain)
        ticks_module.advance = watch
        for name, one in (("", plain), (", dense", close)):
            for only in (True, False):
                rows.append(measured(one, watch, name=f"{pools:,}{name}", only=only))
                sys.stderr.write(" ".join(rows[-1]) + "\n")
        ticks_module.advance = advance
        gaps += [gap(plain, ""), gap(close, ", dense")]
        sys.stderr.write(f"{gaps[-2:]}\n")
    text = (
        "| pools | watched | judged a tick | changed a tick "
        "| warm mean, µs | median | p99 | cold mean, µs | median | p99 |\n"
        "|---|---|---|---|---|---|---|---|---|---|\n"
    )
    text += "".join("| " + " | ".join(row) + " |\n" for row in rows)
    text += (
        "\nEvery figure holds about 0.4 µs of the clock and of entering the loop for a single tick. Dense: the median "
        "of maintenance / equity is 0.24.\n"
        "\nA fall of the most popular contract by 10 %, beside one full evaluation (both with two threads):\n\n"
        "| pools | left after 5 ticks | full, ms | the tick, ms | slowest of the next 4, ms | settle the rest, ms "
        "| tick / full |\n|---|---|---|---|---|---|---|\n"
    )
    text += "".join("| " + " | ".join(row) + " |\n" for row in gaps)
    text += "\n" + checked(made(10_000))
    sys.stdout.write(text)
    if asked.write:
        write(text, TITLE)


if __name__ == "__main__":
    main()
