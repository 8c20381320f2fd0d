"""How fast is a replay, and what became of the article's account in the crashes of 2020 to 2025?

Run: python benchmarks/replay.py [--write] (20 coins, 2,920 daily bars, made up from a fixed seed), and with
--crashes FILE the measured table of docs/replay.md; FILE is a CSV of date, asset, open, high, low, close (.gz too).
"""

from __future__ import annotations

import argparse
import csv
import gzip
import random
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from judge import write

import crossmargin as cm
from crossmargin.analytics.replay import Run, replay
from crossmargin.model.history import Bar, bars_from

TITLE = "## Replay (`python benchmarks/replay.py --write`)"
COINS, DAYS = 20, 2920
CRASHES = (
    ("2020-03-12", "pandemic"),
    ("2021-05-19", "mining ban"),
    ("2021-12-04", "December 2021"),
    ("2022-05-09", "Terra"),
    ("2022-06-13", "Celsius"),
    ("2022-11-08", "FTX"),
    ("2023-08-17", "August 2023"),
    ("2024-08-05", "yen carry"),
    ("2025-02-03", "tariffs"),
    ("2025-10-10", "October 2025"),
)
BEFORE, AFTER = 5, 10


def made_up() -> tuple[Any, tuple[Bar, ...], tuple[Bar, ...]]:
    """An account of twenty coins, bars with ranges and funding, and the same with closes only."""
    rng = random.Random(1)
    coins = [f"C{i}" for i in range(COINS)]
    prices = dict.fromkeys(coins, 100.0)
    rows: list[dict[str, Any]] = []
    for day in range(DAYS):
        row: dict[str, Any] = {"date": datetime(2018, 1, 1, tzinfo=UTC) + timedelta(days=day)}
        for coin in coins:
            last, close = prices[coin], prices[coin] * (1 + rng.gauss(0, 0.01))
            prices[coin] = close
            high, low = max(last, close) * 1.01, min(last, close) * 0.99
            row[coin] = round(close, 4)
            row |= {f"{coin}@{k}": round(v, 4) for k, v in (("open", last), ("high", high), ("low", low))}
            row[f"{coin}@funding"] = 0.0001
        rows.append(row)
    closes = [{k: v for k, v in row.items() if "@" not in k} for row in rows]
    symbols = [f"{coin}/USDT:USDT" for coin in coins]
    table = [
        {"notional_floor": "0", "maintenance_rate": "0.005"},
        {"notional_floor": "5000", "maintenance_rate": "0.01"},
    ]
    case = cm.case_from(
        {
            "profile": "plain-cross",
            "as_of": "2018-01-01T00:00:00Z",
            "balances": {"USDT": "1000000"},
            "positions": [
                {"symbol": s, "quantity": str((i % 5 + 1) * (-1) ** i), "entry_price": "100", "leverage": "10"}
                for i, s in enumerate(symbols)
            ],
            "market": {"mark_price": dict.fromkeys(symbols, "100")},
            "instruments": [{"symbol": s, "brackets": table} for s in symbols],
        },
        "benchmark",
    )
    return case, bars_from(rows), bars_from(closes)


def seconds(case: Any, bars: tuple[Bar, ...]) -> float:
    """The best of three."""
    found = []
    for _ in range(3):
        start = time.perf_counter()
        replay(*case, bars)
        found.append(time.perf_counter() - start)
    return min(found)


def article(bars: tuple[Bar, ...], ether: int) -> Any:
    """The account of the article at the first close: 2,000 USDT, 5,000 of BTC at 5x and 4,000 of ETH at 8x.

    ``ether``: 1 = long as in the article, -1 = short, a hedge.
    """
    first = bars[0].close
    symbols = {"BTC": ("5000", "5", 1), "ETH": ("4000", "8", ether)}
    positions = [
        {
            "symbol": f"{coin}/USDT:USDT",
            "quantity": str(round(Decimal(value) / first[coin], 3) * side),
            "entry_price": str(first[coin]),
            "leverage": leverage,
        }
        for coin, (value, leverage, side) in symbols.items()
    ]
    raw = {"profile": "binance-usdm", "as_of": "2026-11-20T00:00:00Z", "balances": {"USDT": "2000"}}
    market = {"mark_price": {f"{coin}/USDT:USDT": str(first[coin]) for coin in symbols}}
    return cm.case_from({**raw, "positions": positions, "market": market}, "article")


def crashes(path: str) -> Iterator[str]:
    """One row a crash: what is left of 2,000, and when and which pools broke, cross and isolated."""
    opener = gzip.open if path.endswith(".gz") else open
    with opener(path, "rt") as stream:
        days: dict[str, dict[str, Any]] = {}
        for row in csv.DictReader(stream):
            if row["asset"] in ("BTC", "ETH"):
                own = days.setdefault(row["date"], {"date": row["date"]})
                own |= {row["asset"]: row["close"]} | {f"{row['asset']}@{k}": row[k] for k in ("open", "high", "low")}
    yield "| crash | BTC, ETH at worst | long both: cross | isolated | short ETH: cross | isolated |\n"
    yield "|---|---|---|---|---|---|\n"
    for day, name in CRASHES:
        at = datetime.fromisoformat(day)
        span = [(at + timedelta(days=i)).date().isoformat() for i in range(-BEFORE, AFTER + 1)]
        bars = bars_from(days[date] for date in span)
        worst = [min(bar.low[coin] for bar in bars[1:]) / bars[0].close[coin] - 1 for coin in ("BTC", "ETH")]
        cells = [f"{day} {name}", ", ".join(f"{move * 100:.0f} %" for move in worst)]
        for side in (1, -1):
            cells += [_cell(run) for run in replay(*article(bars, side), bars, modes=("cross", "isolated"))]
        yield "| " + " | ".join(cells) + " |\n"


def _cell(run: Run) -> str:
    broken = list(dict.fromkeys(event.pool.partition("/")[0] for event in run.liquidations))
    if run.reasons:
        return run.reasons[0]
    names = ", ".join("pool" if name == "USDT" else name for name in broken)
    when = f" ({names}, {run.liquidated:%m-%d})" if run.liquidated else ""
    return f"{run.equity_end:,.0f}{when}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--crashes", metavar="FILE", type=Path)
    parser.add_argument("--write", action="store_true", help="put the table into benchmarks/RESULTS.md")
    asked = parser.parse_args()
    if asked.crashes:
        sys.stdout.writelines(crashes(str(asked.crashes)))
    else:
        account, ranges, closes_only = made_up()
        text = f"| {COINS} coins, {DAYS:,} daily bars | |\n|---|---|\n"
        text += f"| closes only | {seconds(account, closes_only):.2f} s |\n"
        text += f"| open, range, close and funding | {seconds(account, ranges):.2f} s |\n"
        sys.stdout.write(text)
        if asked.write:
            write(text, TITLE)
