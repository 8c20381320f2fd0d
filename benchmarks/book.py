"""How fast is a book of a million pools? The runner beside the same algorithm in C, and beside reading the bytes.

Run: python benchmarks/book.py [--pools N] [--write]. One thread (processor time; of several threads the clock on the
wall), one process, the rivals in turn, medians of seven. The book is made up and seeded (crossmargin.engine.synthetic):
five positions a purse on average, the longest about 500, 15 % isolated, 300 contracts of which 19 inverse, the venues'
real bracket tables. C is compiled at once into a folder that is then thrown away; without a C compiler its columns stay
empty.
"""

from __future__ import annotations

import argparse
import ctypes
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from judge import write

import crossmargin as cm
from crossmargin.engine.columns import Side
from crossmargin.engine.runner import Runner
from crossmargin.engine.synthetic import Synthetic, synthetic_book
from crossmargin.model.brackets import AssetRule

TITLE = "## A book (`python benchmarks/book.py --write`)"
DAY = date(2026, 11, 20)
ROUNDS = 7


def made_up(pools: int) -> Synthetic:
    """The book: unified pools with haircut tiers on the coins, tables of Binance's linear and inverse contracts."""
    rules = cm.load_profile("plain-cross").on(DAY)
    tiers = (
        {"floor": "0", "collateral_ratio": "0.95"},
        {"floor": "10", "collateral_ratio": "0.9"},
        {"floor": "100", "collateral_ratio": "0.8"},
    )
    haircuts = tuple(AssetRule(asset=name, collateral_tiers=tiers) for name in ("BTC", "ETH", "SOL"))
    rules = rules.with_overrides((), haircuts)
    donors = [cm.load_profile(name).on(DAY) for name in ("binance-usdm", "binance-coinm")]
    return synthetic_book(rules, pools=pools, donors=donors)


class InC:
    """The same work in C, compiled into a temporary folder."""

    def __init__(self, runner: Runner, rates: Any, folder: str) -> None:
        library = Path(folder) / "book.so"
        source = Path(__file__).with_name("book.c")
        options = ["-O3", "-march=native", "-ffp-contract=off", "-shared", "-fPIC", "-lm"]
        subprocess.run(["gcc", *options, "-o", str(library), str(source)], check=True)
        self.library = ctypes.CDLL(str(library))
        self.library.touch.restype = ctypes.c_double
        tables, pools, lines = runner.tables, runner.bound.pools, runner.lines
        columns = [
            pools.start, pools.law, pools.reason, pools.position_start, pools.asset, pools.cash, pools.counts,
            pools.instrument, pools.size, pools.entry, pools.leverage, rates.x, rates.price, tables.first_row,
            tables.brackets.cap, tables.brackets.rate, tables.brackets.deduction,
            np.ascontiguousarray(tables.brackets.rate[tables.last_row]), tables.inverse, tables.worth,
            tables.first_tier, tables.tiers.cap, tables.tiers.ratio, tables.tiers.credit,
        ]  # fmt: skip
        after = [lines.start, lines.coin, lines.holding, lines.position_start, lines.position]
        names = [(f"c{number}", ctypes.c_void_p) for number in range(len(columns))]
        names += [("liability_ratio", ctypes.c_double), ("multiple", ctypes.c_double), ("instruments", ctypes.c_int64)]
        names += [(f"l{number}", ctypes.c_void_p) for number in range(len(after))]
        kind = type("Book", (ctypes.Structure,), {"_fields_": names})
        self.keep = (columns, after)
        self.book = kind(
            *(column.ctypes.data for column in columns), tables.liability_ratio, tables.laws[0].multiple,
            len(tables.instruments), *(column.ctypes.data for column in after),
        )  # fmt: skip
        count, held, owned, ways = len(runner), len(pools.asset), len(pools.instrument), len(lines.coin)
        self.count = count
        self.figures = [np.empty(count) for _ in range(4)] + [np.empty(count, np.uint8), np.empty(count)]
        self.figures += [np.empty(count, np.int8), np.empty(owned)] + [np.empty(held) for _ in range(3)]
        self.sides = [np.empty(ways), np.empty(ways), np.empty(ways, np.uint8), np.empty(ways, np.uint8)]

    def state(self, full: bool) -> None:
        pointers = [ctypes.c_void_p(column.ctypes.data) for column in self.figures]
        self.library.state(ctypes.byref(self.book), ctypes.c_int64(0), ctypes.c_int64(self.count), int(full), *pointers)

    def crossings(self) -> None:
        _, _, room, bound, status, _, _, *rest = self.figures
        given = [ctypes.c_void_p(column.ctypes.data) for column in (room, bound, status, *rest, *self.sides)]
        self.library.crossings(ctypes.byref(self.book), ctypes.c_int64(0), ctypes.c_int64(self.count), *given)

    def touch(self, block: np.ndarray) -> None:
        self.library.touch(ctypes.c_void_p(block.ctypes.data), ctypes.c_int64(len(block)))


def in_turn(work: dict[str, Callable[[], object]]) -> dict[str, float]:
    """The median time of each rival in milliseconds, all of them run in every round.

    Of one thread it is processor time, so that a busy machine does not count; of several the clock on the wall.
    """
    times: dict[str, list[float]] = {name: [] for name in work}
    for round_number in range(ROUNDS + 1):
        for name, run in work.items():
            clock = time.perf_counter if "threads" in name else time.thread_time
            start = clock()
            run()
            if round_number:  # the first warms caches and allocators
                times[name].append((clock() - start) * 1e3)
    return {name: statistics.median(own) for name, own in times.items()}


def report(pools: int) -> str:
    made = made_up(pools)
    runner = Runner(made.book, made.rules, threads=1)
    both = Runner(made.book, made.rules, threads=2)
    both.__dict__["lines"] = runner.lines
    rates = runner.rates(made.prices)
    state = runner.state(rates)
    coins = ~np.asarray(runner.tables.cash)
    bound = runner.bound.pools
    # what the state reads and writes, once
    columns = (bound.start, bound.law, bound.reason, bound.position_start, bound.asset, bound.cash, bound.counts)
    columns = (*columns, bound.instrument, bound.size, bound.entry)
    read = np.ones(sum(column.nbytes for column in columns) // 8)

    # as at a tick: the arrays of the answer before are written over
    short = runner.state(rates, full=False)

    def full(one: Runner, moves: Any = None) -> object:
        return one.crossings(one.state(rates, into=state), moves)

    work: dict[str, Callable[[], object]] = {
        "state": lambda: runner.state(rates, full=False, into=short),
        "figures": lambda: runner.state(rates, into=state),
        "full": lambda: full(runner),
        "full and common shock": lambda: full(runner, coins),
        "state, 2 threads": lambda: both.state(rates, full=False, into=short),
        "full, 2 threads": lambda: full(both),
    }
    rivals: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        if shutil.which("gcc"):
            rival = InC(runner, rates, folder)
            work |= {
                "state in C": lambda: rival.state(False),
                "figures in C": lambda: rival.state(True),
                "full in C": lambda: (rival.state(True), rival.crossings()),
                "bytes": lambda: rival.touch(read),
            }
            rival.state(True)
            rival.crossings()
            agree(runner.state(rates), runner.crossings(runner.state(rates))[0], rival)
        rivals = in_turn(work)
    start = time.perf_counter()
    Runner(made.book, made.rules, threads=1)
    binding = time.perf_counter() - start
    count, positions = len(runner), made.book.positions
    lines = [
        f"{platform.machine()}, Python {platform.python_version()}: {count:,} pools, {positions:,} positions, "
        f"{made.book.holdings:,} holdings, {made.book.nbytes / 1e6:.0f} MB; "
        f"binding it to the rules once {binding * 1e3:.0f} ms.\n\n",
        "| one thread unless said | ms | pools/s | positions/s | in C | ratio |\n|---|---|---|---|---|---|\n",
    ]
    for name in work:
        if name.endswith("in C") or name == "bytes":
            continue
        own, other = rivals[name], rivals.get(f"{name} in C")
        beside = ("", "") if other is None else (f"{other:.0f}", f"{own / other:.2f}")
        cells = (name, f"{own:.0f}", f"{count / own / 1e3:.1f} M", f"{positions / own / 1e3:.1f} M", *beside)
        lines.append("| " + " | ".join(cells) + " |\n")
    if "bytes" in rivals:
        lines.append(f"| reading the state's {read.nbytes / 1e6:.0f} MB once | {rivals['bytes']:.1f} |  |  |  |  |\n")
    return "".join(lines)


def agree(state: Any, crossings: Any, rival: InC) -> None:
    """C and the runner must say the same, or the comparison means nothing."""
    for own, other in zip((state.equity, state.maintenance_margin, state.headroom), rival.figures[:3], strict=True):
        assert np.array_equal(own, other), np.abs(own - other).max()
    for own, kind, other, kinds in zip(
        (crossings.below, crossings.above), (crossings.below_kind, crossings.above_kind),
        rival.sides[:2], rival.sides[2:], strict=True,
    ):  # fmt: skip
        assert np.array_equal(kind, kinds)
        there = kind == Side.PRICE
        assert np.array_equal(own[there], other[there])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pools", type=int, default=1_000_000, help="how many pools the book has")
    parser.add_argument("--write", action="store_true", help="put the table into benchmarks/RESULTS.md")
    given = parser.parse_args()
    text = report(given.pools)
    sys.stdout.write(text)
    if given.write:
        write(text, TITLE)
