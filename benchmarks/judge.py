"""How fast is the judge? One account of 1, 5, 50 and 500 positions: exact with lines, and on floats without.

Run: python benchmarks/judge.py [--write]. Medians; --write puts them into benchmarks/RESULTS.md.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import crossmargin as cm

SIZES = (1, 5, 50, 500)
TITLE = "## The judge (`python benchmarks/judge.py --write`)"


def account(count: int) -> dict[str, object]:
    """A Binance-like cross account of ``count`` symbols with the twelve-bracket table of BTC on each."""
    floors = [
        "0",
        "50000",
        "600000",
        "3000000",
        "12000000",
        "70000000",
        "100000000",
        "230000000",
        "480000000",
        "600000000",
        "800000000",
        "1200000000",
    ]
    rates = ["0.004", "0.005", "0.0065", "0.01", "0.02", "0.025", "0.05", "0.1", "0.125", "0.15", "0.25", "0.5"]
    table = [{"notional_floor": f, "maintenance_rate": r} for f, r in zip(floors, rates, strict=True)]
    symbols = [f"C{i}/USDT:USDT" for i in range(count)]
    return {
        "profile": "plain-cross",
        "as_of": "2026-11-20T08:00:00Z",
        "balances": {"USDT": str(40000 * count)},
        "positions": [
            {
                "symbol": s,
                "quantity": str((i % 7 + 1) * (-1 if i % 3 == 0 else 1)),
                "entry_price": str(30000 + 7 * i),
                "leverage": "10",
            }
            for i, s in enumerate(symbols)
        ],
        "market": {"mark_price": {s: str(30000 + 11 * i) + ".25" for i, s in enumerate(symbols)}},
        "instruments": [{"symbol": s, "brackets": table} for s in symbols],
    }


def median_ms(work: Callable[[], object], seconds: float = 1.0) -> float:
    """Median time of one call, over at least seven calls or the given time."""
    work()
    times = []
    until = time.perf_counter() + seconds
    while len(times) < 7 or (time.perf_counter() < until and len(times) < 2000):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1000


def rows() -> list[tuple[int, list[float]]]:
    """(positions, [exact report, exact thresholds, float figures, float thresholds]) in milliseconds."""
    found = []
    for count in SIZES:
        case = cm.case_from(account(count), "benchmark")
        on_floats = cm.prepare(*case, number=float)
        found.append(
            (
                count,
                [
                    median_ms(lambda case=case: cm.evaluate(*case)),
                    median_ms(lambda case=case: cm.threshold(*case)),
                    median_ms(lambda p=on_floats: [cm.measure(pool) for pool in p.pools]),
                    median_ms(lambda p=on_floats: cm.thresholds_of(p, explain=False)),
                ],
            )
        )
    return found


def table(found: list[tuple[int, list[float]]]) -> str:
    """The result as Markdown, with the growth from row to row."""
    head = "| positions | exact report with lines | exact thresholds | float figures | float thresholds |\n"
    head += "|---|---|---|---|---|\n"
    body = "".join(
        f"| {count} | " + " | ".join(f"{t:.3f} ms" if t >= 1 else f"{t * 1000:.1f} µs" for t in times) + " |\n"
        for count, times in found
    )
    return head + body


def write(text: str, title: str) -> None:
    """Put a section into RESULTS.md, in the place of the one that bore its title."""
    where = Path(__file__).with_name("RESULTS.md")
    old = where.read_text() if where.exists() else "# Measured\n\n"
    before, _, rest = old.partition(title)
    after = rest[rest.find("\n## ") + 1 :] if "\n## " in rest else ""
    where.write_text(before.rstrip() + f"\n\n{title}\n\n{text}" + (f"\n{after}" if after else ""))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="put the table into benchmarks/RESULTS.md")
    text = table(rows())
    sys.stdout.write(text)
    if parser.parse_args().write:
        machine = f"{platform.machine()}, Python {platform.python_version()}, one thread, medians. "
        basis = "Floats are prepared once, as a back-test does; exact times include preparing the account.\n\n"
        write(machine + basis + text, TITLE)
