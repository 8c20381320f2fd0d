"""Random venues from a seed: every invariant after every command, and the fast path against the judge alone.

Run: python tests/clearing/simulate.py 1000 [--first SEED] [--steps N] [--scene NAME] [--jobs N]

One seed is one run. Two books take the same commands, one with the watch's bounds and one that asks the exact judge
every time; their events must be equal to the byte. A seed that fails is printed with its commands, shrunk to the few
that are needed. The generator is narrow where a venue is wide: so each run is looked at for what it contained, and
where one of :data:`FEATURES` is in less than 5 % of the runs, the whole does not pass.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import timedelta
from typing import Any, NamedTuple

from world import T0, D, instrument, rules_of

from crossmargin.clearing.audit import audit, audit_command
from crossmargin.clearing.commands import canonical, read
from crossmargin.clearing.decide import apply
from crossmargin.clearing.events import Event
from crossmargin.clearing.ledger import WALLET
from crossmargin.clearing.state import State, dump, evolve, load, tick
from crossmargin.clearing.watch import Watch
from crossmargin.model.instrument import parse_symbol

FEATURES = (
    "inverse contract", "several collaterals", "negative balance", "dust", "tier crossing", "depeg", "hedge mode",
    "partial liquidation", "auto-deleveraging",
)  # fmt: skip
LEAST = 0.05
"""The share of runs in which each of them must be."""

STEPS = 150


class Books:
    """Two books, one with the watch's bounds and one by the judge alone; a third is folded from the events' text."""

    def __init__(self) -> None:
        self.state, self.watch = State(), Watch()
        self.slow, self.judge = State(), Watch(bounds=False)
        self.folded = State()
        self.wire: list[str] = []

    def apply(self, line: str, *, thorough: bool = False) -> list[Event]:
        """A command to all of them, then everything that must hold; AssertionError where it does not."""
        self.wire.append(line)
        before = dump(self.state) if thorough else ""
        command, _ = read(line, rules_of)
        events, others = apply(self.state, command, self.watch), apply(self.slow, command, self.judge)
        text = canonical(events)
        assert text == canonical(others), f"bounds: {text}; judge: {canonical(others)}"
        refused = bool(events) and events[0]["event"] == "rejected"
        if not refused:
            tick(self.folded, command.at)
            for event in json.loads(text):
                evolve(self.folded, event)
        wrong = (*audit_command(self.state, command, events), *audit(self.state, written=thorough))
        assert wrong == (), f"{wrong}"
        if thorough:
            assert not refused or dump(self.state) == before, "a refusal changes nothing"
            assert dump(self.folded) == dump(self.state), "the books are not what the events add up to"
            self.folded = load(dump(self.folded))
        return events


def fails(wire: list[str]) -> str | None:
    """What breaks when commands are applied to new books; None where nothing does."""
    books = Books()
    for line in wire:
        try:
            books.apply(line, thorough=line is wire[-1])
        except Exception as error:
            return f"{type(error).__name__}: {error}"
    return None


def shrunk(wire: list[str], seconds: float = 60) -> list[str]:
    """Fewer commands that still break something: parts are left out, ever smaller ones, while time is left."""
    end = time.monotonic() + seconds
    size = len(wire) // 2
    while size and time.monotonic() < end:
        start = 0
        while start < len(wire) and time.monotonic() < end:
            fewer = wire[:start] + wire[start + size :]
            if fewer and fails(fewer):
                wire = fewer
            else:
                start += size
        size //= 2
    return wire


class Scene(NamedTuple):
    """What a simulated venue trades and lends against."""

    profile: str
    symbols: dict[str, str]
    assets: dict[str, str]
    indexed: tuple[str, ...] = ()
    isolated: bool = True
    leverage: str = "10"
    sizes: tuple[str, ...] = ()


USDT = {"BTC/USDT:USDT": "60000", "ETH/USDT:USDT": "3000", "SOL/USDT:USDT": "150"}
SCENES = {
    "plain-cross": Scene(
        "plain-cross", {**USDT, "BTC/USD:BTC": "60000"}, {"USDT": "1", "BTC": "60000"}, ("BTC",), sizes=("BTC/USD:BTC",)
    ),
    "plain-isolated": Scene("plain-isolated", USDT, {"USDT": "1"}),
    "plain-highest-rate": Scene("plain-highest-rate", USDT, {"USDT": "1", "BTC": "60000"}, ("BTC",)),
    "binance-usdm": Scene("binance-usdm", USDT, {"USDT": "1"}, leverage="20"),
    "bybit-uta": Scene(
        "bybit-uta", USDT, {"USDT": "1", "BTC": "60000"}, ("USDT", "BTC"), leverage="20", isolated=False
    ),
    "hyperliquid": Scene("hyperliquid", {"BTC/USDC:USDC": "60000", "ETH/USDC:USDC": "3000"}, {"USDC": "1"}),
}
NAMES = ("ann", "bea", "cem", "dov")


class Venue:
    """Commands of one seed, chosen by what the books hold."""

    def __init__(self, scene: Scene, seed: int) -> None:
        self.scene = scene
        self.rng = random.Random(seed)
        self.books = Books()
        self.state = self.books.state
        self.now = T0
        self.count = 0
        self.price = {name: D(price) for name, price in (*scene.symbols.items(), *scene.assets.items())}
        self.seen: Counter[str] = Counter()
        self.features: set[str] = set()
        self.tiers: dict[tuple[str, str, str], int] = {}
        self.orders = 0
        self.hedged = self.rng.random() < 0.3

    def begin(self) -> None:
        """Rules, prices, accounts and what they have."""
        scene = self.scene
        self.both("start", default_quantum="0.000001", max_move="0.3")
        own = scene.profile.startswith("plain")
        rate = {"BTC": "0.005", "ETH": "0.01", "SOL": "0.02"}
        table = [] if not own else [instrument(s, rate[s[:3]], "0.0005") for s in scene.symbols]
        for one in table[:1]:
            one["brackets"] += [{"notional_floor": "10000", "maintenance_rate": "0.02", "max_leverage": "20"}]
        assets = [{"asset": "BTC", "collateral_ratio": "0.9"}] if "BTC" in scene.assets else []
        self.both("change_rules", profile=scene.profile, on="2026-11-20", instruments=table, assets=assets)
        for name in scene.symbols:
            self.both("mark", symbol=name, price=str(self.price[name]), last_price=str(self.price[name]))
        self.refresh()
        if self.rng.random() < 0.6:
            self.both("deposit", account="@insurance_fund", asset=next(iter(scene.assets)), amount="2000")
        for name in NAMES:
            self.both("open_account", account=name, profile=scene.profile)
            self.both("deposit", account=name, asset=next(iter(scene.assets)), amount="5000")

    def both(self, kind: str, **fields: Any) -> None:
        """A command to the books, and what it showed."""
        self.count += 1
        at = self.now.isoformat().replace("+00:00", "Z")
        line = canonical({"kind": kind, "command_id": f"c{self.count}", "at": at, **fields})
        events = self.books.apply(line, thorough=self.rng.random() < 0.15)
        refused = bool(events) and events[0]["event"] == "rejected"
        self.seen[f"{kind}{' refused' if refused else ''}"] += 1
        self.seen.update(event["step"] for event in events if event["event"] == "liquidation")
        self.seen.update(event["why"] for event in events if event["event"] == "posted")
        self.features.update(self._features(events))

    def _features(self, events: list[Event]) -> Iterator[str]:
        """What is worth to have happened."""
        steps = [event["step"] for event in events if event["event"] == "liquidation"]
        if "auto_deleverage" in steps:
            yield "auto-deleveraging"
        for event in events:
            if event["event"] == "position" and event["quantity"] != "0":
                if steps and steps[0] != "auto_deleverage":
                    yield "partial liquidation"
                if parse_symbol(event["symbol"]).kind == "inverse":
                    yield "inverse contract"
                if event["position_side"] != "net":
                    yield "hedge mode"
                if self._tier(event):
                    yield "tier crossing"
            if event["event"] == "index" and event["asset"] in _PAR and D(event["price"]) < D("0.9"):
                yield "depeg"
            for owner, place, asset, _ in event["entries"] if event["event"] == "posted" else ():
                held = self.state.ledger.balance(owner, place, asset)
                if owner[0] != "@" and place == WALLET:
                    if held < 0:
                        yield "negative balance"
                    if 0 < held <= 10 * self.state.quantum(asset):
                        yield "dust"
                    if len({a for (p, a), v in self.state.ledger.of(owner).items() if p == WALLET and v > 0}) > 1:
                        yield "several collaterals"

    def _tier(self, event: Event) -> bool:
        """Whether a position is in another bracket than it was."""
        rules = self.state.rules[self.scene.profile]
        key = (event["account"], event["symbol"], event["position_side"])
        value = abs(D(event["quantity"])) * (rules.contract_size(event["symbol"]) or D(1))
        if parse_symbol(event["symbol"]).kind == "linear":
            value *= self.price[event["symbol"]]
        tier = sum(bracket.notional_floor <= value for bracket in rules.brackets.get(event["symbol"], ()))
        before, self.tiers[key] = self.tiers.get(key, tier), tier
        return before != tier

    def refresh(self) -> None:
        for asset in self.scene.indexed:
            self.both("index", asset=asset, price=str(self.price[asset]))

    def later(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def step(self) -> None:
        """One command, the likelier ones more often."""
        kinds = {
            self.trade: 10,
            self.fill: 10,
            self.tick: 12,
            self.money: 4,
            self.settings: 3,
            self.calendar: 1,
            self.end: 5,
        }
        self.rng.choices(list(kinds), list(kinds.values()))[0]()

    # what may happen

    def tick(self) -> None:
        self.later(self.rng.choice((0.001, 0.5, 3, 3, 12)))
        wild, usual = self.rng.random() < 0.2, self.rng.choice((0.01, 0.01, 0.04))
        for name in list(self.scene.symbols) + list(self.scene.indexed):
            if self.rng.random() < 0.8:
                move = D(self.rng.uniform(-0.35, 0.35) if wild else self.rng.gauss(0, usual)).quantize(D("0.0001"))
                if name in _PAR:  # a stable coin stays near par, but for once in a while
                    low = wild and self.rng.random() < 0.1
                    self.price[name], move = D("0.65") if low else D(self.scene.assets[name]), move / 20
                self.price[name] = max(D("0.5"), (self.price[name] * (1 + move)).quantize(D("0.01")))
                kind, key = ("mark", "symbol") if "/" in name else ("index", "asset")
                sure = {"confirmed": True} if self.rng.random() < 0.9 else {}
                last = {"last_price": str(self.price[name])} if kind == "mark" else {}
                self.both(kind, **{key: name}, price=str(self.price[name]), **sure, **last)

    def trade(self) -> None:
        name, symbol = self.rng.choice(NAMES), self.rng.choice(list(self.scene.symbols))
        own = self.state.accounts[name]
        if own.isolated and self.rng.random() < 0.4:
            symbol = self.rng.choice(sorted(symbol for symbol, _ in own.isolated))
        if symbol not in own.leverage:
            self.both("set_leverage", account=name, symbol=symbol, leverage=self.scene.leverage)
        worth = D(self.rng.choice((20, 500, 3000, 20000, 90000)))
        price = self.price[symbol]
        size = worth if symbol in self.scene.sizes else worth / price
        size = max(D("0.001"), size.quantize(D("0.001"))) * self.rng.choice((1, -1))
        side = "net" if not self.hedged else "long" if size > 0 else "short"
        more: dict[str, Any] = {} if side == "net" else {"position_side": side}
        held = own.positions.get((symbol, side))
        if held is not None and self.rng.random() < 0.3:
            size = -held.quantity * self.rng.choice((D(1), D("0.5"), D("0.999")))
            more["reduce_only"] = self.rng.random() < 0.7
        limit = (price * (1 + D(self.rng.choice((-1, 1, 1))) * D("0.003"))).quantize(D("0.01"))
        self.orders += 1
        self.both(
            "place_order", account=name, order_id=f"o{self.orders}", symbol=symbol, quantity=f"{size:f}",
            price=f"{limit:f}", **more,
        )  # fmt: skip

    def fill(self) -> None:
        resting = [(n, i, o) for n in NAMES for i, o in sorted(self.state.accounts[n].orders.items())]
        if not resting:
            return self.trade()
        name, order_id, order = self.rng.choice(resting)
        quantity = order.quantity
        if self.rng.random() < 0.3:
            quantity = (quantity / 3).quantize(D("0.0001")) or quantity
        if self.rng.random() < 0.2:
            return self.both("cancel_order", account=name, order_id=order_id)
        return self.both("fill", account=name, order_id=order_id, quantity=f"{quantity:f}", price=f"{order.price:f}")

    def money(self) -> None:
        name, asset = self.rng.choice(NAMES), self.rng.choice(list(self.scene.assets))
        amount = (D(self.rng.choice((10, 400, 3000))) / D(self.scene.assets[asset])).quantize(D("0.000001"))
        what = self.rng.random()
        if what < 0.3:
            if self.rng.random() < 0.3:  # all but a speck
                held = self.state.ledger.balance(name, WALLET, asset)
                amount = max(self.state.quantum(asset), held - 3 * self.state.quantum(asset))
            self.both("withdraw", account=name, asset=asset, amount=f"{amount:f}")
        elif what < 0.5:
            self.both("deposit", account=self.rng.choice((name, "@insurance_fund")), asset=asset, amount=f"{amount:f}")
        elif what < 0.6:
            self.both("grant_bonus", account=name, asset=asset, amount=f"{amount:f}")
        else:
            pockets = sorted({symbol for symbol, _ in self.state.accounts[name].isolated})
            symbol = self.rng.choice(pockets or list(self.scene.symbols))
            sign = self.rng.choice((1, 1, -1))
            sides = [side for own, side in self.state.accounts[name].isolated if own == symbol]
            side = self.rng.choice(sorted(sides) or ["net"])
            self.both("transfer", account=name, symbol=symbol, position_side=side, amount=f"{sign * amount:f}")

    def settings(self) -> None:
        name, symbol = self.rng.choice(NAMES), self.rng.choice(list(self.scene.symbols))
        if self.rng.random() < 0.3:
            self.both("set_leverage", account=name, symbol=symbol, leverage=self.rng.choice(("5", "10", "20")))
            return
        own = self.state.accounts[name]
        mode = self.rng.choice(("cross", "isolated"))
        side = self.rng.choice(("long", "short")) if self.hedged else "net"
        margin = {"isolated_margin": "300"} if mode == "isolated" and (symbol, side) in own.positions else {}
        self.both("set_margin_mode", account=name, symbol=symbol, margin_mode=mode, position_side=side, **margin)

    def calendar(self) -> None:
        now = self.now
        what = self.rng.random()
        end = now.replace(second=now.second // 30 * 30, microsecond=0).isoformat()
        if what < 0.5:
            symbol = self.rng.choice(list(self.scene.symbols))
            self.both("settle_funding", symbol=symbol, interval_end=end, rate=self.rng.choice(("0.001", "-0.0007")))
        elif what < 0.7:
            self.both("accrue_interest", asset=next(iter(self.scene.assets)), interval_end=end, rate="0.0001")
        elif what < 0.85:
            self.both("halt")
        else:
            self.both("resume")

    def end(self) -> None:
        """Liquidate what has reached its level, as the venue's own loop would."""
        if self.rng.random() < 0.1:  # and now and then somebody tries what has not
            name, pool = self.rng.choice(NAMES), self.rng.choice(("account", "USDT", "USDC"))
            self.both("liquidate_step", account=name, pool=pool)
        for name in NAMES:
            for pool in sorted(self.state.accounts[name].levels):
                for _ in range(40):
                    if self.state.accounts[name].levels.get(pool) != "liquidation":
                        break
                    refused = self.seen["liquidate_step refused"]
                    self.both("liquidate_step", account=name, pool=pool)
                    if self.seen["liquidate_step refused"] > refused:
                        self.both("resume")
                        self.later(31)
                        break
                else:
                    raise AssertionError(f"{name} {pool}: a liquidation makes progress")


_PAR = ("USDT", "USDC")


class Run(NamedTuple):
    """What one seed came to."""

    seed: int
    scene: str
    commands: int
    features: frozenset[str]
    seen: frozenset[str]
    wrong: str
    wire: tuple[str, ...]


def run(seed: int, scene: str = "", steps: int = STEPS) -> Run:
    """One seed; the scenes take turns unless one is named."""
    scene = scene or list(SCENES)[seed % len(SCENES)]
    venue = Venue(SCENES[scene], seed)
    wrong = ""
    try:
        venue.begin()
        for _ in range(steps):
            venue.step()
    except Exception as error:
        wrong = f"{type(error).__name__}: {error}"
    wire = venue.books.wire
    return Run(
        seed, scene, len(wire), frozenset(venue.features), frozenset(venue.seen), wrong, tuple(wire * bool(wrong))
    )


def coverage(runs: list[Run]) -> dict[str, float]:
    """The share of runs that each feature is in."""
    return {name: sum(name in one.features for one in runs) / len(runs) for name in FEATURES}


def _one(asked: tuple[int, str, int]) -> Run:
    return run(*asked)


def main() -> int:
    """Run so many seeds; 0 if every invariant held in all of them and they were broad enough."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seeds", type=int, help="how many seeds")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--steps", type=int, default=STEPS, help="steps of each run; a step is one command or more")
    parser.add_argument("--scene", default="", choices=["", *SCENES], help="one scene for all; else they take turns")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    asked = parser.parse_args()
    todo = [(seed, asked.scene, asked.steps) for seed in range(asked.first, asked.first + asked.seeds)]
    done: list[Run] = []
    start = time.monotonic()
    with ProcessPoolExecutor(asked.jobs) as pool:
        for one in pool.map(_one, todo):
            done.append(one)
            if len(done) % 10 == 0 or len(done) == len(todo) or one.wrong:
                took = time.monotonic() - start
                commands = sum(each.commands for each in done)
                sys.stderr.write(f"\r{len(done)} of {len(todo)} seeds, {commands:,} commands, {took:.0f} s ")
            if one.wrong:
                pool.shutdown(wait=False, cancel_futures=True)
                return failed(one)
    sys.stderr.write("\n")
    shares = coverage(done)
    for name, share in shares.items():
        sys.stdout.write(f"{name:22}{share:6.1%} of the runs{'' if share >= LEAST else '   too few'}\n")
    narrow = min(shares.values()) < LEAST
    sys.stdout.write(f"{len(done)} seeds, {sum(one.commands for one in done):,} commands: every invariant held\n")
    return 1 if narrow else 0


def failed(one: Run) -> int:
    """Print a seed that fails, and the few of its commands that are needed."""
    sys.stdout.write(f"\nseed {one.seed} ({one.scene}) fails: {one.wrong}\n")
    wire = list(one.wire)
    if fails(wire):
        wire = shrunk(wire)
        sys.stdout.write(f"{len(wire)} of its {one.commands} commands are enough: {fails(wire)}\n")
    sys.stdout.write("".join(f"{line}\n" for line in wire))
    return 1


if __name__ == "__main__":
    sys.exit(main())
