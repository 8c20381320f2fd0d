"""How fast are the books? Commands in memory and into a journal, marks against a full re-judging, restart.

Run: python benchmarks/clearing.py [--write] [--full] [--postgres URL] [--journal FILE --events N]. ``--full`` restarts
100,000 accounts with a tail of a million events; without it a tenth of both. ``--postgres`` (or what ``./dev postgres``
starts) writes to a server too, in databases that are gone afterwards. ``--journal`` only writes a journal of that many
events, of 1,000 accounts, for `crossmargin clearing verify` to go through. Rates are commands a second of one core's
CPU time in memory, of elapsed time where a disk takes part; ``--write`` puts them into benchmarks/RESULTS.md.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import random
import sqlite3
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import sqlalchemy as sa
from judge import write

import crossmargin as cm
from crossmargin.clearing.commands import canonical, read
from crossmargin.clearing.decide import apply
from crossmargin.clearing.desk import Desk
from crossmargin.clearing.journal import Journal
from crossmargin.clearing.state import State
from crossmargin.clearing.watch import Watch

TITLE = "## The clearing (`python benchmarks/clearing.py --write`)"
SYMBOLS = [f"C{i}/USDT:USDT" for i in range(10)]
FLOORS = ("0", "50000", "600000", "3000000", "12000000")
RATES = ("0.004", "0.005", "0.0065", "0.01", "0.02")


def rules_of(profile: str, on: str) -> cm.Rules:
    return cm.load_profile(profile).on(date.fromisoformat(on))


class Flow:
    """A seeded venue: accounts of three symbols each, orders of which most are filled, marks that wander."""

    def __init__(self, accounts: int) -> None:
        self.rng = random.Random(1)
        self.now = datetime(2026, 11, 20, 8, tzinfo=UTC)
        self.count = 0
        self.price = {symbol: Decimal(1000) * (i + 1) for i, symbol in enumerate(SYMBOLS)}
        self.resting: list[tuple[str, str, Decimal, str]] = []
        brackets = [{"notional_floor": f, "maintenance_rate": r} for f, r in zip(FLOORS, RATES, strict=True)]
        table = [{"symbol": symbol, "brackets": brackets, "taker_fee": "0.0005"} for symbol in SYMBOLS]
        self.setup = [
            self.line(kind="start", max_age_seconds="3600"),
            self.line(kind="change_rules", profile="plain-cross", on="2026-11-20", instruments=table),
            *(self.line(kind="mark", symbol=symbol, price=str(self.price[symbol])) for symbol in SYMBOLS),
        ]
        self.held: dict[str, list[str]] = {}
        for i in range(accounts):
            name = f"a{i}"
            self.held[name] = self.rng.sample(SYMBOLS, 3)
            self.setup.append(self.line(kind="open_account", account=name, profile="plain-cross"))
            amount = str(self.rng.randrange(5000, 50000))
            self.setup.append(self.line(kind="deposit", account=name, asset="USDT", amount=amount))
            for symbol in self.held[name]:
                self.setup.append(self.line(kind="set_leverage", account=name, symbol=symbol, leverage="10"))
        self.names = list(self.held)

    def line(self, **fields: object) -> str:
        self.count += 1
        self.now += timedelta(microseconds=20)
        at = self.now.isoformat().replace("+00:00", "Z")
        return json.dumps({"command_id": f"c{self.count}", "at": at, **fields})

    def order(self, name: str, symbol: str) -> str:
        side = self.rng.choice((1, -1))
        size = Decimal(self.rng.randrange(1, 20)) / 10 / (self.price[symbol] / 1000).quantize(Decimal(1))
        quantity = side * max(Decimal("0.001"), size.quantize(Decimal("0.001")))
        limit = (self.price[symbol] * (1 + side * Decimal("0.002"))).quantize(Decimal("0.01"))
        order_id = f"o{self.count}"
        self.resting.append((name, order_id, quantity, symbol))
        return self.line(
            kind="place_order", account=name, order_id=order_id, symbol=symbol, quantity=str(quantity), price=str(limit)
        )

    def fill(self, which: int) -> str:
        name, order_id, quantity, symbol = self.resting.pop(which)
        price = str(self.price[symbol])
        return self.line(kind="fill", account=name, order_id=order_id, quantity=str(quantity), price=price)

    def opened(self) -> list[str]:
        """A position for every account in each of its symbols."""
        found = []
        for name in self.names:
            for symbol in self.held[name]:
                found += [self.order(name, symbol), self.fill(-1)]
        return found

    def mixed(self, count: int) -> list[str]:
        """40 % orders, 40 % fills, 20 % marks."""
        found: list[str] = []
        while len(found) < count:
            what = self.rng.random()
            if what < 0.2:
                symbol = self.rng.choice(SYMBOLS)
                move = 1 + Decimal(self.rng.gauss(0, 1e-4))
                self.price[symbol] = (self.price[symbol] * move).quantize(Decimal("0.01"))
                found.append(self.line(kind="mark", symbol=symbol, price=str(self.price[symbol])))
            elif what < 0.6 or not self.resting:
                name = self.rng.choice(self.names)
                found.append(self.order(name, self.rng.choice(self.held[name])))
            else:
                found.append(self.fill(self.rng.randrange(len(self.resting))))
        return found


def rate(work: Callable[[], int], clock: Callable[[], float]) -> float:
    start = clock()
    done = work()
    return done / (clock() - start)


def in_memory(accounts: int, count: int, *, bounds: bool = True) -> float:
    """Commands a second from the line to the text of its events."""
    flow = Flow(accounts)
    state, watch = State(), Watch(bounds=bounds)
    for line in [*flow.setup, *flow.opened()]:
        apply(state, read(line, rules_of)[0], watch)
    lines = flow.mixed(count)
    gc.freeze()  # as the command line does

    def work() -> int:
        for line in lines:
            canonical(apply(state, read(line)[0], watch))
        return count

    return rate(work, time.process_time)


def journaled(where: str, group: int, count: int) -> float:
    """Commands a second from the line to its answer, each group durable before it is answered."""
    flow = Flow(1000)
    journal = Journal(where)
    desk = Desk(journal, rules_of)
    desk.submit([*flow.setup, *flow.opened()])
    lines = flow.mixed(count)
    gc.freeze()

    def work() -> int:
        for start in range(0, count, group):
            desk.submit(lines[start : start + group])
        return count

    found = rate(work, time.perf_counter)
    journal.close()
    return found


def bare(where: str, group: int, count: int) -> float:
    """The same bytes into SQLite with nothing around it: what this disk allows."""
    connection = sqlite3.connect(where)
    for pragma in ("journal_mode=WAL", "synchronous=FULL"):
        connection.execute(f"PRAGMA {pragma}")
    connection.execute("CREATE TABLE t (seq INTEGER PRIMARY KEY, id TEXT UNIQUE, body TEXT)")

    def work() -> int:
        for start in range(0, count, group):
            rows = [(i, f"c{i}", "x" * 500) for i in range(start, start + group)]
            connection.executemany("INSERT INTO t VALUES (?, ?, ?)", rows)
            connection.commit()
        return count

    found = rate(work, time.perf_counter)
    connection.close()
    return found


@contextmanager
def database(server: str) -> Iterator[str]:
    """A database of its own on a PostgreSQL server, gone afterwards."""
    name = f"bench_{uuid.uuid4().hex}"
    engine = sa.create_engine(server, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    try:
        yield engine.url.set(database=name).render_as_string(hide_password=False)
    finally:
        with engine.connect() as connection:
            connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))


def restart(folder: str, accounts: int, tail: int) -> tuple[float, float, int]:
    """Seconds from opening to the first command answered, for the first price then, and the events of the tail."""
    flow = Flow(accounts)
    where = f"{folder}/restart.db"
    seen = left_behind(flow, where, tail)
    gc.collect()
    start = time.perf_counter()
    journal = Journal(where)
    desk = Desk(journal, rules_of)
    gc.freeze()  # as the command line does
    desk.submit([flow.line(kind="deposit", account=flow.names[0], asset="USDT", amount="1")])
    ready = time.perf_counter()
    # every account that holds the contract is judged once after a start
    desk.submit([flow.line(kind="mark", symbol=SYMBOLS[0], price=str(flow.price[SYMBOLS[0]]))])
    judged = time.perf_counter()
    journal.close()
    return ready - start, judged - ready, seen


def left_behind(flow: Flow, where: str, tail: int) -> int:
    """A journal with a snapshot and so many events after it, the books that wrote it gone; the events there are."""
    journal = Journal(where)
    desk = Desk(journal, rules_of)
    lines = [*flow.setup, *flow.opened()]
    for start in range(0, len(lines), 5000):
        desk.submit(lines[start : start + 5000])
    desk.snapshot()
    seen = 0
    while seen < tail:
        seen += sum(said.count('"event":') for said in desk.submit(flow.mixed(5000)))
    journal.close()
    return seen


def generate(where: str, events: int) -> int:
    """A journal of at least so many events; how many records it has."""
    flow = Flow(1000)
    journal = Journal(where)
    desk = Desk(journal, rules_of)
    seen = sum(said.count('"event":') for said in desk.submit([*flow.setup, *flow.opened()]))
    while seen < events:
        seen += sum(said.count('"event":') for said in desk.submit(flow.mixed(5000)))
    journal.close()
    return desk.seq


GROUPS = ((1, 4000), (100, 40_000), (1000, 40_000))
"""Commands a transaction, and how many are measured."""


def table(*, full: bool, server: str | None) -> str:
    """Every measurement as Markdown."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        fast, slow = in_memory(300, 5000), in_memory(300, 5000, bounds=False)
        everything = in_memory(10_000, 40_000)
        rows.append(("in memory, 10,000 accounts with 3 positions each", f"{everything:,.0f}/s"))
        rows.append(
            ("in memory, 300 accounts", f"{fast:,.0f}/s, {fast / slow:.0f} times what judging every time gives")
        )
        for group, count in GROUPS:
            got = journaled(f"{folder}/j{group}.db", group, count)
            most = bare(f"{folder}/b{group}.db", group, count)
            rows.append((f"SQLite, durable, {group} a transaction", f"{got:,.0f}/s (bare inserts here: {most:,.0f}/s)"))
        for group, count in GROUPS if server else ():
            with database(server or "") as where:
                got = journaled(where, group, count)
            rows.append((f"PostgreSQL, durable, {group} a transaction", f"{got:,.0f}/s"))
        accounts, tail = (100_000, 1_000_000) if full else (10_000, 100_000)
        ready, judged, seen = restart(folder, accounts, tail)
        took = f"{ready:.1f} s, and {judged:.1f} s for the first price"
        rows.append((f"restart, {accounts:,} accounts, snapshot and {seen:,} events", took))
    return "| | |\n|---|---|\n" + "".join(f"| {name} | {figure} |\n" for name, figure in rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="put the table into benchmarks/RESULTS.md")
    parser.add_argument("--full", action="store_true", help="restart 100,000 accounts and a million events")
    default = os.environ.get("CROSSMARGIN_TEST_POSTGRES_URL")
    parser.add_argument("--postgres", metavar="URL", default=default, help="a PostgreSQL server to write to as well")
    parser.add_argument("--journal", help="write a journal there and measure nothing")
    parser.add_argument("--events", type=int, default=1_000_000, help="how many events it has")
    asked = parser.parse_args()
    if asked.journal:
        sys.stdout.write(f"{generate(asked.journal, asked.events):,} records in {asked.journal}\n")
        sys.exit()
    text = table(full=asked.full, server=asked.postgres)
    sys.stdout.write(text)
    if asked.write:
        head = f"{platform.machine()}, Python {platform.python_version()}, one process; "
        head += f"load of the machine {os.getloadavg()[0]:.1f}. "
        head += "Orders 40 %, fills 40 %, marks 20 %, from the line to the text of the events.\n\n"
        write(head + text, TITLE)
