"""How long from a price to an alert? 10,000 accounts watched, a flood of prices, alerts stored and sent.

Run: python benchmarks/monitor.py [--write] [--accounts 10000] [--moments 600]. A moment is one second of a feed: every
mark of 300 contracts moves once. ``stored``: from the moment's arrival until its alerts and their messages are in the
store, durable (SQLite, synchronous=FULL); ``sent``: until a message has left on its channel (the log). The feed waits
for no sending.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
from judge import write
from ticks import PER_SECOND, made

from crossmargin.apps.monitor.channels import LOG, LogChannel, Outside
from crossmargin.apps.monitor.fleet import Fleet
from crossmargin.apps.monitor.loop import Clock, Monitor
from crossmargin.apps.monitor.outbox import Outbox
from crossmargin.apps.monitor.rules import AlertRule, Step, with_always
from crossmargin.apps.store.monitoring import Monitoring
from crossmargin.apps.store.store import Store

TITLE = "## The monitor (`python benchmarks/monitor.py --write`)"
RULES = with_always(
    [
        AlertRule(id="warning", kind="level", limit="warning", escalation=(Step(channels=("log",)),)),
        AlertRule(id="liquidation", kind="level", limit="liquidation", escalation=(Step(channels=("log",)),)),
    ],
    ("log",),
)


class Arrivals(logging.Handler):
    """Notes when each message leaves."""

    def __init__(self) -> None:
        super().__init__()
        self.at: dict[str, float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        self.at[record.__dict__.get("delivery", "")] = time.perf_counter()


def percentiles(seconds: list[float]) -> list[str]:
    """Median, 99th percentile and the slowest, in milliseconds."""
    found = np.array(seconds) * 1e3
    return [f"{figure:.1f}" for figure in (np.median(found), np.percentile(found, 99), found.max())]


def run(accounts: int, moments: int, volatility: float, folder: str) -> list[str]:
    """One row: how many alerts, and how long they took."""
    arrivals = Arrivals()
    LOG.handlers[:], LOG.propagate = [arrivals], False
    LOG.setLevel(logging.INFO)
    one = made(accounts)
    now = datetime.now(UTC)
    store = Store(str(Path(folder) / f"monitor{volatility}.db"))
    monitoring, clock = Monitoring(store, "local"), Clock()
    fleet = Fleet("book", one.book, one.prices, one.rules)
    monitor = Monitor(monitoring, {}, RULES, executor=None, now=clock)
    outbox = Outbox(monitoring, {"log": LogChannel()}, Outside(), clock)
    start = time.perf_counter()
    monitor.take({r.account: r for r in fleet.everybody(now)}, clock())
    opening = time.perf_counter() - start
    for name in outbox.channels:
        while outbox.pump(name):
            pass
    outbox.start()
    rng = np.random.default_rng(1)
    names, price = list(one.prices.instruments), one.prices.mark_price.copy()
    spread = volatility * rng.uniform(1, 2, len(price))
    stored, every, came = [], [], {}
    for _ in range(moments):
        price *= np.exp(spread * rng.normal(size=len(price)))
        told = {name: Decimal(repr(float(p))) for name, p in zip(names, price, strict=True)}
        begin = time.perf_counter()
        now += timedelta(seconds=1)
        found = monitor.take({r.account: r for r in fleet.tick(told, now)}, clock())
        took = time.perf_counter() - begin
        every.append(took)
        if found.deliveries:
            outbox.wake()
            stored.append(took)
            came.update({delivery.id: begin for delivery in found.deliveries})
    until = time.perf_counter() + 60
    while came.keys() - arrivals.at.keys() and time.perf_counter() < until:
        time.sleep(0.01)
    outbox.stop()
    store.close()
    sent = [arrivals.at[name] - begin for name, begin in came.items() if name in arrivals.at]
    lost = len(came) - len(sent)
    rate = moments * len(names) / sum(every)
    row = [f"{accounts:,}", f"{volatility * 1e4:.1f}", f"{len(came):,}", f"{rate:,.0f}", *percentiles(stored)]
    return [*row, *percentiles(sent), str(lost), f"{opening:.1f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="put the table into benchmarks/RESULTS.md")
    parser.add_argument("--accounts", type=int, default=10_000)
    parser.add_argument("--moments", type=int, default=600)
    asked = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for times in (1, 10):
            rows.append(run(asked.accounts, asked.moments, PER_SECOND * times, folder))
            sys.stderr.write(" ".join(rows[-1]) + "\n")
    text = (
        "| accounts | move a second, bp | messages | ticks/s | stored: median, ms | p99 | max "
        "| sent: median, ms | p99 | max | lost | first reading of all, s |\n" + "|---" * 12 + "|\n"
    )
    text += "".join("| " + " | ".join(row) + " |\n" for row in rows)
    text += (
        "\nThe feed is a flood: each second of 300 prices comes as soon as the one before is done. Stored: alerts and "
        "messages durable; sent: handed to the channel by its own thread, on the same two cores.\n"
    )
    sys.stdout.write(text)
    if asked.write:
        write(text, TITLE)


if __name__ == "__main__":
    main()
