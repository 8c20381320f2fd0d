"""Bugs planted one at a time, of the kinds that margin systems really had: does the suite find them?

Run: python tests/clearing/planted.py [--jobs N] [--only NAME]

Each :class:`Planted` changes one expression of the clearing in the memory of a process of its own, which then runs the
simulator and, where that finds nothing, the tests; nothing on the disk is changed. The score is the honest measure of
both: at least 19 in 20 must be found. ``kind`` names the class of bug as public audits of margin systems describe it.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.abc
import importlib.machinery
import io
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import CodeType, ModuleType
from typing import NamedTuple

HERE = Path(__file__).parent
SEEDS = 12
TESTS = ("commands", "article", "liquidation_in_the_books", "metamorphic", "partitions", "journal")
ENOUGH = 0.95


class Planted(NamedTuple):
    """One bug: its name, the class it is of, the module of ``crossmargin.clearing``, and the words changed."""

    name: str
    kind: str
    module: str
    right: str
    wrong: str


BUGS = (
    Planted("an order's own fee is free", "free margin without accrued fees", "trading",
            "received = after.realized_pnl - after.fee", "received = after.realized_pnl"),
    Planted("an order is measured while it rests, not as filled", "liquidatable the moment it opens", "trading",
            '_must_stand(state, account, name, leg=f"{name} {key[0]} {key[1]}")', "pass"),
    Planted("leverage is lowered unmeasured", "leverage changes what is required unchecked", "decide",
            "_carries(state, account, account.model_copy(update=changed), command)", "pass"),
    Planted("the fee is taken twice", "fee charged twice", "trading",
            '{"loss": -after.realized_pnl, "fee": after.fee}', '{"loss": -after.realized_pnl, "fee": 2 * after.fee}'),
    Planted("a turn forgets the PnL of what it closed", "wrong profit when a position closes", "trading",
            "realized + done.realized_pnl", "done.realized_pnl"),
    Planted("unrealized profit may be withdrawn", "withdrawal test counts unrealized profit", "money",
            "min(amount, max(wallet, _ZERO))", "amount"),
    Planted("a withdrawal ignores the venue's rule", "withdrawal test by the wrong threshold", "money",
            "return left if free is None else min(left, free)", "return left"),
    Planted("reduce-only orders outlive their position", "size checked on open, not on reduce", "trading",
            "done += trimmed(own, key, after.position, skip=command.order_id, rest=left)", "pass"),
    Planted("one order too many", "cap off by one", "trading",
            "len(own.orders) >= state.venue.max_orders", "len(own.orders) > state.venue.max_orders"),
    Planted("a pocket's fill is paid from the wallet", "pocket and pool mixed", "trading",
            'place = pocket(*key) if key in own.isolated else WALLET\n    entries = charged',
            'place = WALLET\n    entries = charged'),
    Planted("a healthy pool is liquidated", "liquidated again, or when solvent half way", "liquidations",
            "if not pool.liquidatable:", "if False:"),
    Planted("an episode goes on where an older one ended", "liquidation state reused", "state",
            'own.episodes.pop(event["pool"], None)', "pass"),
    Planted("no time of grace after an outage", "liquidated first when trading resumes", "liquidations",
            "begin = max(state.liquidate_from, episode.wait_until)", "begin = episode.wait_until"),
    Planted("the insurance fund pays what it has not", "waterfall pays more than there is", "liquidations",
            "Walk(account, episode.at, {pool.pool.currency: fund})",
            "Walk(account, episode.at, {pool.pool.currency: fund + 1000})"),
    Planted("losers bear losses too", "a loss shared with those without profit", "liquidations",
            "if key[0] == symbol and gain > 0:", "if key[0] == symbol and gain:"),
    Planted("deleveraging takes and then shares again", "auto-deleveraging beyond the deficit", "liquidations",
            "left -= self._deleveraged(entry, done, closed)", "self._deleveraged(entry, done, closed)"),
    Planted("the winner's position stays whole", "deleveraged amount not taken off", "liquidations",
            "left = held.quantity + one.quantity\n", "left = held.quantity\n"),
    Planted("liquidated accounts are rounded down", "remainder below the quantum cannot be repaid", "liquidations",
            "venue_booked(state, entries, ROUND_CEILING)", "venue_booked(state, entries)"),
    Planted("funding is paid and never received", "funding capped on one side", "money",
            "payment = exact(", "payment = max(_ZERO, exact("),
    Planted("funding twice for one interval", "funding not exactly once", "money",
            "if last is not None and command.interval_end <= last:\n        why = f\"funding",
            "if last is not None and command.interval_end < last:\n        why = f\"funding"),
    Planted("funding of inverse contracts as if linear", "value computed in the wrong unit", "money",
            'formulas.inverse_notional if symbol.kind == "inverse" else', 'formulas.linear_notional if False else'),
    Planted("interest on the same interval twice", "interest not exactly once", "money",
            "if last is not None and command.interval_end <= last:\n        why = f\"interest",
            "if last is not None and command.interval_end < last:\n        why = f\"interest"),
    Planted("a stale price decides", "no maximum age of a price", "state",
            "return price is not None and self.now - price.at <= self.max_age", "return price is not None"),
    Planted("a price falls as far as it likes", "circuit breaker checked on one side", "decide",
            "abs(command.price - last.price) > most", "(command.price - last.price) > most"),
    Planted("an older price overwrites a newer", "prices accepted out of order", "decide",
            "if command.at <= last.at:", "if False:"),
    Planted("a fee rate may be negative", "fee checked from above only", "commands",
            "fee_rate: Rate | None = None", "fee_rate: Quantity | None = None"),
    Planted("a fill at any price", "index price instead of the order's", "trading",
            "if (command.price - order.price) * command.quantity > 0:", "if False:"),
    Planted("holders are never forgotten", "aggregate out of step with its parts", "state",
            "state.holders.get(symbol, set()).discard(account)", "pass"),
    Planted("accounts are credited rounded half up", "rounding in favour of the account", "ledger",
            "return amount.quantize(quantum, rounding)", 'return amount.quantize(quantum, "ROUND_HALF_UP")'),
    Planted("a verdict that waits for a price is lost", "position never liquidated after a feed came back", "watch",
            "found = self._waiting.pop(name, set())", "found = set()"),
    Planted("bounds without room to spare", "shortcut differs from the exact check", "watch",
            "_SPARE = 1.01", "_SPARE = 0.3"),
    Planted("a halt stops no fills", "trading goes on while paused", "trading",
            'if state.halted:\n        raise CommandRejected(own.id, "halted", "trading is stopped")',
            "if False:\n        pass"),
    Planted("bonus credit leaves with the withdrawal", "lent money withdrawn", "money",
            "if bonus and rules.slots.bonus is not None and rules.slots.bonus.forfeited_on_transfer:", "if False:"),
    Planted("a transfer may have any command id", "replay of a signed transfer", "commands",
            "if self.command_id != self.name():", "if False:"),
    Planted("a refused transfer never comes back", "funds stuck in transit", "money",
            "if command.arrived:", "if True:"),
    Planted("a refusal moves the clock", "failed call leaves a trace", "decide",
            "state.now = before\n", "pass\n"),
)  # fmt: skip


class _Loader(importlib.machinery.SourceFileLoader):
    """A module with one expression changed on its way into memory."""

    bug: Planted

    def get_code(self, fullname: str) -> CodeType:
        text = self.get_data(self.path).decode()
        assert text.count(self.bug.right) == 1, f"{self.bug.name}: {text.count(self.bug.right)} places in {fullname}"
        changed = text.replace(self.bug.right, self.bug.wrong)
        if self.bug.wrong.startswith("payment = max("):  # the one that opens a bracket
            changed = changed.replace("command.rate))\n", "command.rate)))\n", 1)
        return compile(changed, self.path, "exec")


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, bug: Planted) -> None:
        self.bug = bug

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != f"crossmargin.clearing.{self.bug.module}":
            return None
        found = importlib.machinery.PathFinder.find_spec(fullname, path)
        assert found is not None and found.origin is not None
        loader = _Loader(fullname, found.origin)
        loader.bug = self.bug
        found.loader = loader
        return found


def hunt(bug: Planted) -> str:
    """Plant a bug in this process and look for it: what finds it, "" if nothing does."""
    sys.dont_write_bytecode = True
    sys.meta_path.insert(0, _Finder(bug))
    sys.path.insert(0, str(HERE))
    from simulate import run

    for seed in range(SEEDS):
        if run(seed).wrong:
            return f"simulator, seed {seed}"
    import pytest

    class Failures:
        def __init__(self) -> None:
            self.names: list[str] = []

        def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
            if report.failed:
                self.names.append(report.nodeid.rpartition("::")[2].partition("[")[0])

        def pytest_collectreport(self, report: pytest.CollectReport) -> None:
            if report.failed:
                self.names.append(report.nodeid)

    seen = Failures()
    files = [str(HERE / f"test_{name}.py") for name in TESTS]
    with contextlib.redirect_stdout(io.StringIO()):
        options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-k", "not process and not killed"]
        pytest.main([*options, *files], plugins=[seen])
    return seen.names[0] if seen.names else ""


def hunted(bug: Planted) -> str:
    """The same in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, "--hunt", bug.name], capture_output=True, text=True, check=False, cwd=HERE.parents[1]
    )
    if done.returncode:
        raise RuntimeError(f"{bug.name}: {done.stderr[-2000:]}")
    return str(json.loads(done.stdout.splitlines()[-1]))


def main() -> int:
    """Hunt for every bug; 0 if enough are found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--only", default="", help="bugs whose name contains this")
    parser.add_argument("--hunt", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.hunt:
        sys.stdout.write(json.dumps(hunt(next(bug for bug in BUGS if bug.name == asked.hunt))) + "\n")
        return 0
    bugs = [bug for bug in BUGS if asked.only in bug.name]
    start, by_simulator, found = time.monotonic(), 0, 0
    sys.stdout.write("| planted | the class of bug | found by |\n|---|---|---|\n")
    with ThreadPoolExecutor(asked.jobs) as pool:
        for bug, by in zip(bugs, pool.map(hunted, bugs), strict=True):
            found += bool(by)
            by_simulator += by.startswith("simulator")
            words = by if by.startswith("simulator") else f"`{by}`" if by else "**nothing**"
            sys.stdout.write(f"| {bug.name} | {bug.kind} | {words} |\n")
            sys.stdout.flush()
    took = time.monotonic() - start
    sys.stdout.write(f"\n{found} of {len(bugs)} found, {by_simulator} by the simulator alone; {took:.0f} s\n")
    return 0 if found >= ENOUGH * len(bugs) else 1


if __name__ == "__main__":
    sys.exit(main())
