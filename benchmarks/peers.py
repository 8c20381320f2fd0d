"""How fast are other libraries on the same accounts? Each in its own environment, results compared first.

Run: python benchmarks/peers.py [--install] [--accounts N] [--only "a;b"] [--write].
``--install`` makes one throw-away environment a peer below ``--folder``. A peer that cannot be installed or run is
listed with the reason, never left out. Accounts: one asset, about five linear cross positions each, heavy-tailed
(crossmargin.engine.synthetic), the venues' real bracket tables, all of them solvent. Each peer runs alone, right before
or after the runner on one thread; times are medians of ``ROUNDS``, on the clock. A peer may use every core it likes.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

import numpy as np
from book import DAY
from judge import write
from peer_sides import FLAT, PORTFOLIOS

import crossmargin as cm
from crossmargin.engine.book import Book
from crossmargin.engine.prices import Prices
from crossmargin.engine.runner import Runner
from crossmargin.engine.synthetic import synthetic_book
from crossmargin.model.brackets import Bracket, InstrumentRule

TITLE = "## Other libraries (`python benchmarks/peers.py --write`)"
ROUNDS = 9
CLOSE = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """One row: what is installed for it, what it computes, what of ours is beside it (``ours``), and how many times
    faster ours is to be; ``check`` compares the answers and says what of them is the same."""

    packages: str
    computes: str
    ours: str
    wanted: str
    check: Callable[[Ours, dict[str, np.ndarray]], str]
    per_position: bool = False


class Ours:
    """The accounts and the runner's answers."""

    def __init__(self, accounts: int) -> None:
        plain, donor = (cm.load_profile(name).on(DAY) for name in ("plain-cross", "binance-usdm"))
        made = synthetic_book(plain, pools=accounts, inverse=0, isolated=0.0, extra_holdings=0.0, donors=[donor])
        names = [f"C{number}/USDT:USDT" for number in range(len(made.book.instruments))]
        tables = [made.rules.brackets[name] for name in made.book.instruments]
        one = (Bracket(notional_floor=Decimal(0), maintenance_rate=Decimal(str(FLAT))),)
        self.rules, flat = (
            plain.with_overrides(
                [InstrumentRule(symbol=n, contract_size=1, brackets=t) for n, t in zip(names, own, strict=True)], ()
            )
            for own in (tables, [one] * len(names))
        )
        self.prices = Prices(
            instruments=tuple(names), assets=("USDT",), mark_price=np.round(made.prices.mark_price, 4) + 1e-4,
            index_price=np.ones(1), bid_rate=np.full(1, np.nan), ask_rate=np.full(1, np.nan),
        )  # fmt: skip
        self.book = self._solvent(_one_asset(made.book, tuple(names)))
        self.runner = Runner(self.book, self.rules, threads=1)
        self.flat = Runner(self.book, flat, threads=1)
        self.rates = self.runner.rates(self.prices)
        self.state = self.runner.state(self.rates)
        self.short = self.runner.state(self.rates, full=False)
        self.sides, _ = self.runner.crossings(self.state)
        self.position = self.runner.lines.position
        self.work: dict[str, Callable[[], object]] = {
            "state": lambda: self.runner.state(self.rates, full=False, into=self.short),
            "state and every threshold": lambda: self.runner.crossings(self.runner.state(self.rates, into=self.state)),
        }

    def _solvent(self, book: Book) -> Book:
        """With money that keeps every account alive: a peer that liquidates would change what is measured."""
        state = Runner(book, self.rules, threads=1).state(self.prices)
        value = np.abs(book.quantity) * self.prices.mark_price[book.instrument]
        gross = np.add.reduceat(value, book.position_start[:-1])
        return replace(book, amount=np.round(1 - state.equity + 1.3 * state.maintenance_margin + 0.2 * gross, 2) + 1)

    def save(self, path: Path) -> None:
        """The accounts for the peers."""
        bound, tables = self.runner.bound.pools, self.runner.tables
        first = np.append(tables.first_row[0], tables.last_row[0][-1] + 1)
        caps = tables.brackets.cap
        rows = slice(int(first[0]), int(first[-1]))
        floor = np.concatenate([[0.0], caps[:-1]])[rows]
        floor[np.isinf(floor)] = 0.0
        np.savez(
            path, start=bound.position_start, code=bound.instrument, size=bound.size, entry=bound.entry,
            wallet=bound.cash, mark=self.rates.x, first=first - first[0], floor=floor,
            rate=tables.brackets.rate[rows], deduction=tables.brackets.deduction[rows],
        )  # fmt: skip

    def seconds(self, what: str) -> float:
        """The median of one question."""
        times = []
        self.work[what]()
        for _ in range(ROUNDS * 3):
            start = time.perf_counter()
            self.work[what]()
            times.append(time.perf_counter() - start)
        return statistics.median(times)


def _one_asset(book: Book, names: tuple[str, ...]) -> Book:
    """One asset an account, without the second leg of a hedge, which most peers do not know; numbers in the digits that
    all of them take."""
    purse = np.repeat(np.repeat(np.arange(book.purses), np.diff(book.holding_start)), np.diff(book.position_start))
    kept = np.append(True, (purse[1:] != purse[:-1]) | (book.instrument[1:] != book.instrument[:-1]))
    quantity = np.round(book.quantity[kept], 6)
    purses = np.arange(book.purses)
    return Book(
        instruments=names, assets=("USDT",), account=purses, isolated=purses < 0, open_orders=purses < 0,
        holding_start=np.arange(book.purses + 1), asset=np.zeros(book.purses, np.int32), amount=np.ones(book.purses),
        bonus_credit=np.zeros(book.purses), use_as_collateral=purses >= 0,
        position_start=np.concatenate([[0], np.cumsum(np.bincount(purse[kept], minlength=book.purses))]),
        instrument=book.instrument[kept], quantity=np.where(quantity == 0, 1e-6, quantity),
        entry_price=np.round(book.entry_price[kept], 4) + 1e-4, leverage=book.leverage[kept],
    )  # fmt: skip


# what is the same -----------------------------------------------------------------------------------------------------


def _same(own: np.ndarray, other: np.ndarray, size: np.ndarray, limit: float = CLOSE) -> str:
    """Every figure within ``limit`` of the terms that it is made of, or an error: then times mean nothing."""
    worst = float((np.abs(own - other) / size).max())
    if not worst <= limit:
        raise AssertionError(f"differs by {worst:.1e}")
    return f"{len(own):,} within {max(worst, 1e-17):.0e}"


def _terms(ours: Ours) -> np.ndarray:
    """The sum of absolute values behind each account's figures."""
    pools = ours.runner.bound.pools
    value = np.abs(pools.size) * (pools.entry + 2 * ours.rates.x[pools.instrument])
    return np.add.reduceat(value, pools.position_start[:-1]) + np.abs(pools.cash)


def same_state(ours: Ours, found: dict[str, np.ndarray]) -> str:
    assert np.array_equal(found["broken"].astype(bool), ours.state.headroom < 0)
    _same(ours.state.equity, found["equity"], _terms(ours))
    _same(ours.state.maintenance_margin, found["maintenance"], _terms(ours))
    return "headroom of " + _same(ours.state.headroom, found["headroom"], _terms(ours))


def same_prices(ours: Ours, found: dict[str, np.ndarray]) -> str:
    """It keeps the bracket of now; where the price of liquidation lies in that bracket both must say the same."""
    pools, price = ours.runner.bound.pools, found["price"]
    mark = ours.rates.x[pools.instrument]
    down, up = np.empty(len(mark)), np.empty(len(mark))
    for side, column in ((ours.sides.below, down), (ours.sides.above, up)):
        column[ours.position] = np.repeat(side, np.diff(ours.runner.lines.position_start))
    own = mark * np.where(pools.size > 0, down, up)
    first, tables = ours.runner.tables.first_row[0][pools.instrument], ours.runner.tables.brackets
    there = ~np.isnan(own) & (price > 0)
    low = _rows(tables.cap, first, np.abs(pools.size) * mark)
    high = _rows(tables.cap, first, np.abs(pools.size) * np.where(there, own, mark))
    alike = there & (low == high)
    words = _same(own[alike], price[alike], own[alike], 1e-7)
    never = int((np.isnan(own) & (price <= 0)).sum())
    rest = len(own) - int(alike.sum()) - never
    return f"price of {words}; none in {never:,}; it stays in today's bracket where {rest:,} prices lie in another"


def _rows(cap: np.ndarray, first: np.ndarray, value: np.ndarray) -> np.ndarray:
    row = first.copy()
    while (above := value > cap[row]).any():
        row += above
    return row


def same_margins(ours: Ours, found: dict[str, np.ndarray]) -> str:
    pools = ours.runner.bound.pools
    mark = ours.rates.x[pools.instrument]
    value = np.abs(pools.size) * mark
    state = ours.flat.state(ours.prices)
    assert np.abs(pools.size * (mark - pools.entry) - found["gain"]).max() < 1e-6 * value.max()
    kept = ours.flat.by_position(state)
    # its money has eight digits
    return "maintenance margin of " + _same(kept, found["required"], np.maximum(value, 10.0))


def same_portfolio(ours: Ours, found: dict[str, np.ndarray]) -> str:
    pools = ours.runner.bound.pools
    gain = pools.size * (ours.rates.x[pools.instrument] - pools.entry)
    gains = np.add.reduceat(gain, pools.position_start[:-1])[: len(found["gain"])]
    kept = np.add.reduceat(FLAT * np.abs(pools.size) * pools.entry, pools.position_start[:-1])[: len(gains)]
    size = np.maximum(_terms(ours)[: len(gains)], 10.0)
    _same(kept, found["required"], size)
    return "PnL of " + _same(gains, found["gain"], size)


def same_headroom(ours: Ours, found: dict[str, np.ndarray]) -> str:
    return "headroom of " + _same(ours.flat.state(ours.prices).headroom, found["headroom"], _terms(ours), 1e-7)


_FRAMES = "equity, maintenance margin, headroom and verdict of every account, every bracket"
PEERS = {
    "numpy": Peer(packages="numpy", computes=_FRAMES, ours="state", wanted="5", check=same_state),
    "pandas": Peer(packages="pandas numpy", computes=_FRAMES, ours="state", wanted="20", check=same_state),
    "polars": Peer(packages="polars numpy", computes=_FRAMES, ours="state", wanted="5", check=same_state),
    "duckdb": Peer(packages="duckdb numpy", computes=_FRAMES, ours="state", wanted="5", check=same_state),
    "freqtrade": Peer(
        packages="freqtrade",
        computes="the cross liquidation price of every position, as its dry run forms it: one side, today's bracket",
        ours="state and every threshold",
        wanted="300",
        check=same_prices,
    ),
    "nautilus_trader, primitives": Peer(
        packages="nautilus_trader",
        computes="initial margin, maintenance margin (one flat rate) and PnL of every position, no account",
        ours="state",
        wanted="100",
        check=same_margins,
    ),
    "nautilus_trader, portfolio": Peer(
        packages="nautilus_trader",
        computes=f"PnL and maintenance margin (flat, of the entry value) of {PORTFOLIOS} accounts, a portfolio each",
        ours="state",
        wanted="1,000",
        check=same_portfolio,
        per_position=True,
    ),
    "flox-py": Peer(
        packages="flox-py numpy",
        computes="one tick of one contract: its engine goes over every account, one flat rate",
        ours="state",
        wanted="3",
        check=same_headroom,
    ),
}


# running --------------------------------------------------------------------------------------------------------------


def environment(folder: Path, peer: str) -> Path:
    """Where a peer's interpreter stands; one environment a package."""
    return folder / PEERS[peer].packages.split()[0] / "bin" / "python"


def install(folder: Path, names: list[str]) -> None:
    """Make the environments that are not there; what cannot be installed is told and found missing later."""
    for name in names:
        python = environment(folder, name)
        if python.exists():
            continue
        sys.stderr.write(f"installing {PEERS[name].packages} ...\n")
        subprocess.run([sys.executable, "-m", "venv", str(python.parents[1])], check=True)
        command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        found = subprocess.run([*command, *PEERS[name].packages.split()], capture_output=True, text=True, check=False)
        if found.returncode:
            (python.parents[1] / "failed.txt").write_text(found.stderr)
            sys.stderr.write(found.stderr)


def asked(folder: Path, name: str, world: Path, answer: Path) -> tuple[str, list[float]] | str:
    """(version, seconds) of a peer, or why it was not measured."""
    python = environment(folder, name)
    failed = python.parents[1] / "failed.txt"
    if not python.exists() or failed.exists():
        return f"cannot be installed: {_last(failed.read_text())}" if failed.exists() else "not installed (--install)"
    side = str(Path(__file__).with_name("peer_sides.py"))
    command = [str(python), "-W", "ignore", side, name, str(world), str(answer), str(ROUNDS)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    if found.returncode:
        return f"failed: {_last(found.stderr)}"
    said = json.loads(found.stdout.splitlines()[-1])
    return said["version"], said["seconds"]


def _last(text: str) -> str:
    return (text.strip().splitlines() or ["no message"])[-1].replace("|", "/")[:160]


def row(ours: Ours, folder: Path, name: str, work: Path) -> list[str]:
    """One peer beside the runner."""
    peer, answer = PEERS[name], work / "answer.npz"
    before = ours.seconds(peer.ours)
    said = asked(folder, name, work / "world.npz", answer)
    if isinstance(said, str):
        return [name, peer.computes, "", "", "", peer.wanted, f"not measured: {said}"]
    own = statistics.median([before, ours.seconds(peer.ours)])
    words = peer.check(ours, dict(np.load(answer)))
    version, seconds = said
    whole = ours.book.positions
    counted = int(ours.book.position_start[min(PORTFOLIOS, ours.book.purses)]) if peer.per_position else whole
    each, mine = statistics.median(seconds) / counted, own / whole
    library, comma, part = name.partition(",")
    return [
        f"{library} {version}{comma}{part}", peer.computes,
        f"{each * 1e9:,.0f} ns", f"{peer.ours}: {mine * 1e9:,.1f} ns", f"**{each / mine:,.1f}**", peer.wanted, words,
    ]  # fmt: skip


def report(accounts: int, folder: Path, names: list[str]) -> str:
    ours = Ours(accounts)
    head = ["peer", "computes", "each position", "here, one thread", "times", "wanted", "the same"]
    lines = [
        f"{platform.machine()}, Python {platform.python_version()}: {ours.book.purses:,} accounts, "
        f"{ours.book.positions:,} linear cross positions, at most {np.diff(ours.book.position_start).max()} each.\n\n",
        "| " + " | ".join(head) + " |\n" + "|---" * len(head) + "|\n",
    ]
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        ours.save(work / "world.npz")
        for name in names:
            lines.append("| " + " | ".join(row(ours, folder, name, work)) + " |\n")
            sys.stderr.write(lines[-1])
    return "".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--install", action="store_true", help="make the environments that are missing")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "crossmargin-peers")
    parser.add_argument("--accounts", type=int, default=10_000)
    parser.add_argument("--only", help="only these peers, separated by semicolons")
    parser.add_argument("--write", action="store_true", help="put the table into benchmarks/RESULTS.md")
    given = parser.parse_args()
    chosen = [name for name in PEERS if not given.only or name in given.only.split(";")]
    if given.install:
        install(given.folder, chosen)
    text = report(given.accounts, given.folder, chosen)
    sys.stdout.write(text)
    if given.write:
        write(text, TITLE)
