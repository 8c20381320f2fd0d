"""How much does a book of a million pools cost from Parquet to Parquet, beside the runner's own time?

Run: python benchmarks/batch.py [--pools N] [--memory N] [--write]. Everything a user waits for is in: checksums of the
inputs, reading, judging, writing, flushing every part to the disk, the manifest. The runner's own time is that of the
same pools in memory, bound already, on one thread. The least of some rounds each, for the machine may be shared.
Peak memory is that of a process of its own that judges a book of ``--memory`` pools.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from judge import write

import crossmargin as cm
from crossmargin.apps.batch import Shard, books_of
from crossmargin.apps.cluster import Cluster
from crossmargin.apps.runs import Executor, Run, Threads
from crossmargin.apps.synthesis import write_synthetic
from crossmargin.engine.runner import Runner
from crossmargin.files.markets import read_market
from crossmargin.model.instrument import CASH

TITLE = "## A book from Parquet to Parquet (`python benchmarks/batch.py --write`)"
ROUNDS = 3
PROFILE = "plain-cross"


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """(seconds on the clock, seconds of the processors), each the least of the rounds."""
    found = []
    for _ in range(ROUNDS):
        clock, own = time.perf_counter(), time.process_time()
        work()
        found.append((time.perf_counter() - clock, time.process_time() - own))
    return min(wall for wall, _ in found), min(cpu for _, cpu in found)


WATCHED = """
import json, resource, subprocess, sys, time
start = time.perf_counter()
found = subprocess.run(sys.argv[1:], capture_output=True, text=True)
seconds = time.perf_counter() - start
tally = json.loads(found.stdout)["tally"]
most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(f"{tally['pools']:,}/{tally['positions']:,} {most} {seconds}")
"""


class Measured:
    """One book in a temporary folder, and what judging it takes."""

    def __init__(self, folder: Path, pools: int) -> None:
        self.book = folder / "book.parquet"
        self.out = folder / "out"
        self.market = write_synthetic(self.book, profile=PROFILE, pools=pools, seed=7)
        found = read_market(str(self.market))
        self.prices = found.market
        self.rules = cm.load_profile(PROFILE).on(found.market.as_of).with_overrides(found.instruments, found.assets)

    def runner(self, *, thresholds: bool) -> tuple[float, float]:
        """The runner alone, in memory."""
        runners = [Runner(book, self.rules, threads=1) for book in books_of(str(self.book))]
        lines = [runner.lines for runner in runners]
        moves = [np.array([name not in CASH for name in runner.tables.assets]) for runner in runners]

        def work() -> None:
            for runner, moved in zip(runners, moves, strict=True):
                state = runner.state(self.prices)
                if thresholds:
                    runner.crossings(state, moved)

        work()
        del lines
        return timed(work)

    def whole(self, executor: Executor, *, thresholds: bool) -> tuple[float, float]:
        """Parquet to Parquet."""

        def work() -> None:
            if self.out.exists():
                shutil.rmtree(self.out)
            shard = Shard(self.prices, self.rules, thresholds=thresholds)
            Run(str(self.book), str(self.market), str(self.out), shard).execute(executor)

        work()
        return timed(work)


def rows(folder: Path, pools: int) -> list[list[str]]:
    measured = Measured(folder, pools)
    start = time.perf_counter()
    cluster = Cluster("local", workers=2)
    starting = time.perf_counter() - start
    found = []
    for name, thresholds in (("figures", False), ("figures and every threshold", True)):
        bare, least = measured.runner(thresholds=thresholds)
        one, own = measured.whole(Threads(1), thresholds=thresholds)
        two, _ = measured.whole(Threads(2), thresholds=thresholds)
        spread, _ = measured.whole(cluster, thresholds=thresholds)
        found.append(
            [name, *(f"{t * 1e3:,.0f} ms" for t in (bare, one)), f"{own / least:.1f}", f"{two * 1e3:,.0f} ms",
             f"{one / two:.2f}", f"{spread * 1e3:,.0f} ms"]
        )  # fmt: skip
    cluster.close()
    found.append(["starting the cluster", "", "", "", "", "", f"{starting * 1e3:,.0f} ms"])
    return found


def peak(folder: Path, pools: int) -> str:
    """The most memory of a process that judges a book with every threshold, on two threads."""
    command = [sys.executable, "-m", "crossmargin.apps.cli", "book"]
    book, out = folder / "large.parquet", folder / "large"
    market = f"{book}.market.json"
    subprocess.run([*command, "generate", "--pools", str(pools), "--out", str(book)], check=True, capture_output=True)
    asked = ["evaluate", str(book), "--market", market, "--profile", PROFILE, "--out", str(out), "--thresholds"]
    found = subprocess.run(
        [sys.executable, "-c", WATCHED, *command, *asked, "--threads", "2", "--json"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    counts, kilobytes, seconds = found.stdout.split()
    return (
        f"{counts} pools and positions, with every threshold, on two threads: at most {int(kilobytes) / 1024:,.0f} MiB "
        f"of memory, {float(seconds):.1f} s from the start of Python to its end; "
        f"{book.stat().st_size / 2**20:,.0f} MiB in, "
        f"{sum(part.stat().st_size for part in out.iterdir()) / 2**20:,.0f} MiB out.\n"
    )


def table(found: list[list[str]]) -> str:
    names = ["asked", "runner alone", "Parquet to Parquet", "processor time, to the runner's", "two threads", "gain",
             "two local Dask workers"]  # fmt: skip
    head = "| " + " | ".join(names) + " |\n" + "|---" * len(names) + "|\n"
    return head + "".join("| " + " | ".join(row) + " |\n" for row in found)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pools", type=int, default=1_000_000)
    parser.add_argument("--memory", type=int, default=2_100_000)
    parser.add_argument("--write", action="store_true", help="put the table into benchmarks/RESULTS.md")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        text = f"{options.pools:,} pools, {os.cpu_count()} cores, load of the machine while measuring {{load}}.\n\n"
        text += table(rows(Path(temporary), options.pools)) + "\n" + peak(Path(temporary), options.memory)
        text = text.replace("{load}", f"{os.getloadavg()[1]:.1f}")
    sys.stdout.write(text)
    if options.write:
        write(text, TITLE)
