"""Random venues from a seed: every invariant after every command, and the fast path against the judge alone.

One seed is one run. Two books take the same commands, one with the watch's bounds and one that asks the exact judge
every time; their events must be equal to the byte. The generator is narrow where a venue is wide, so a test counts
what the runs really contained.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from decimal import Decimal
from functools import cache
from typing import Any, NamedTuple

import pytest
from world import D, World, instrument

from crossmargin.clearing.audit import audit, audit_command
from crossmargin.clearing.commands import canonical, read
from crossmargin.clearing.state import State, dump, evolve, load, tick


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
    "bybit-uta": Scene("bybit-uta", USDT, {"USDT": "1", "BTC": "60000"}, ("USDT", "BTC"), leverage="20"),
    "hyperliquid": Scene("hyperliquid", {"BTC/USDC:USDC": "60000", "ETH/USDC:USDC": "3000"}, {"USDC": "1"}),
}
NAMES = ("ann", "bea", "cem", "dov")


class Venue:
    """Commands of one seed, chosen by what the books hold."""

    def __init__(self, scene: Scene, seed: int) -> None:
        self.scene = scene
        self.rng = random.Random(seed)
        self.fast = World(audited=False, default_quantum="0.000001", max_move="0.3")
        self.slow = World(bounds=False, audited=False, default_quantum="0.000001", max_move="0.3")
        self.price = {name: D(price) for name, price in (*scene.symbols.items(), *scene.assets.items())}
        self.seen: Counter[str] = Counter()
        self.orders = 0
        own = scene.profile.startswith("plain")
        rate = {"BTC": "0.005", "ETH": "0.01", "SOL": "0.02"}
        table = [] if not own else [instrument(s, rate[s[:3]], "0.0005") for s in scene.symbols]
        if scene.profile == "plain-cross":
            table[0]["brackets"] += [{"notional_floor": "30000", "maintenance_rate": "0.02", "max_leverage": "20"}]
        assets = [{"asset": "BTC", "collateral_ratio": "0.9"}] if "BTC" in scene.assets else []
        self.both("change_rules", profile=scene.profile, on="2026-11-20", instruments=table, assets=assets)
        for name in scene.symbols:
            self.both("mark", symbol=name, price=str(self.price[name]), last_price=str(self.price[name]))
        self.refresh()
        if seed % 3:
            self.both("deposit", account="@insurance_fund", asset=next(iter(scene.assets)), amount="2000")
        for name in NAMES:
            self.both("open_account", account=name, profile=scene.profile)
            self.both("deposit", account=name, asset=next(iter(scene.assets)), amount="5000")

    def both(self, kind: str, **fields: Any) -> None:
        """The same command to both books; then everything that must hold."""
        thorough = self.rng.random() < 0.15
        before = dump(self.fast.state) if thorough else ""
        events, others = self.fast.say(kind, **fields), self.slow.say(kind, **fields)
        assert canonical(events) == canonical(others), (kind, fields, events, others)
        command, _ = read(self.fast.wire[-1])
        assert audit_command(self.fast.state, command, events) == (), (kind, fields, events)
        assert audit(self.fast.state, written=thorough) == (), (kind, fields, events)
        refused = bool(events) and events[0]["event"] == "rejected"
        if refused and thorough:
            assert dump(self.fast.state) == before
        self.seen[f"{kind}{' refused' if refused else ''}"] += 1
        self.seen.update(event["step"] for event in events if event["event"] == "liquidation")
        self.seen.update(event["why"] for event in events if event["event"] == "posted")

    def refresh(self) -> None:
        for asset in self.scene.indexed:
            self.both("index", asset=asset, price=str(self.price[asset]))

    def later(self, seconds: float) -> None:
        self.fast.later(seconds=seconds)
        self.slow.later(seconds=seconds)

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
        wild = self.rng.random() < 0.25
        for name in list(self.scene.symbols) + list(self.scene.indexed):
            if self.rng.random() < 0.8:
                move = D(self.rng.uniform(-0.35, 0.35) if wild else self.rng.gauss(0, 0.01)).quantize(D("0.0001"))
                move = move / 20 if name.startswith("USD") else move
                self.price[name] = max(D("0.5"), (self.price[name] * (1 + move)).quantize(D("0.01")))
                kind, key = ("mark", "symbol") if "/" in name else ("index", "asset")
                sure = {"confirmed": True} if self.rng.random() < 0.9 else {}
                last = {"last_price": str(self.price[name])} if kind == "mark" else {}
                self.both(kind, **{key: name}, price=str(self.price[name]), **sure, **last)

    def trade(self) -> None:
        name, symbol = self.rng.choice(NAMES), self.rng.choice(list(self.scene.symbols))
        own = self.fast.state.accounts[name]
        if own.isolated and self.rng.random() < 0.4:
            symbol = self.rng.choice(sorted(symbol for symbol, _ in own.isolated))
        if symbol not in own.leverage:
            self.both("set_leverage", account=name, symbol=symbol, leverage=self.scene.leverage)
        worth = D(self.rng.choice((20, 500, 3000, 20000, 90000)))
        price = self.price[symbol]
        size = worth if symbol in self.scene.sizes else worth / price
        size = max(D("0.001"), size.quantize(D("0.001"))) * self.rng.choice((1, -1))
        held = own.positions.get((symbol, "net"))
        more: dict[str, Any] = {}
        if held is not None and self.rng.random() < 0.3:
            size, more = -held.quantity * self.rng.choice((D(1), D("0.5"))), {"reduce_only": True}
        limit = (price * (1 + D(self.rng.choice((-1, 1, 1))) * D("0.003"))).quantize(D("0.01"))
        self.orders += 1
        self.both(
            "place_order", account=name, order_id=f"o{self.orders}", symbol=symbol, quantity=f"{size:f}",
            price=f"{limit:f}", **more,
        )  # fmt: skip

    def fill(self) -> None:
        resting = [(n, i, o) for n in NAMES for i, o in sorted(self.fast.state.accounts[n].orders.items())]
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
            self.both("withdraw", account=name, asset=asset, amount=f"{amount:f}")
        elif what < 0.5:
            self.both("deposit", account=self.rng.choice((name, "@insurance_fund")), asset=asset, amount=f"{amount:f}")
        elif what < 0.6:
            self.both("grant_bonus", account=name, asset=asset, amount=f"{amount:f}")
        else:
            pockets = sorted({symbol for symbol, _ in self.fast.state.accounts[name].isolated})
            symbol = self.rng.choice(pockets or list(self.scene.symbols))
            sign = self.rng.choice((1, 1, -1))
            self.both("transfer", account=name, symbol=symbol, amount=f"{sign * amount:f}")

    def settings(self) -> None:
        name, symbol = self.rng.choice(NAMES), self.rng.choice(list(self.scene.symbols))
        if self.rng.random() < 0.3:
            self.both("set_leverage", account=name, symbol=symbol, leverage=self.rng.choice(("5", "10", "20")))
            return
        own = self.fast.state.accounts[name]
        mode = self.rng.choice(("cross", "isolated"))
        margin = {"isolated_margin": "300"} if mode == "isolated" and (symbol, "net") in own.positions else {}
        self.both("set_margin_mode", account=name, symbol=symbol, margin_mode=mode, **margin)

    def calendar(self) -> None:
        now = self.fast.now
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
        for name in NAMES:
            for pool in sorted(self.fast.state.accounts[name].levels):
                for _ in range(40):
                    if self.fast.state.accounts[name].levels.get(pool) != "liquidation":
                        break
                    refused = self.seen["liquidate_step refused"]
                    self.both("liquidate_step", account=name, pool=pool)
                    if self.seen["liquidate_step refused"] > refused:
                        self.both("resume")
                        self.later(31)
                        break
                else:
                    raise AssertionError(f"{name} {pool}: a liquidation makes progress")


SEEDS = (2, 5)


@cache
def run(scene: str, seed: int, steps: int = 150) -> Venue:
    venue = Venue(SCENES[scene], seed)
    for _ in range(steps):
        venue.step()
    return venue


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("scene", SCENES)
def test_every_invariant_holds_after_every_command(scene: str, seed: int) -> None:
    venue = run(scene, seed)
    state = venue.fast.state
    # the state is a fold of the events, and is the same after a snapshot half way
    again = State()
    for line, events in venue_events(venue):
        if events[0]["event"] != "rejected":
            tick(again, json.loads(line)["at"])
            for event in events:
                evolve(again, event)
        if len(again.accounts) == len(NAMES) and not again.halted:
            again = load(dump(again)) if again.now.microsecond % 7 == 0 else again
    assert dump(again) == dump(state)


def venue_events(venue: Venue) -> list[tuple[str, list[dict[str, Any]]]]:
    """The commands again on new books, with the events they gave."""
    from world import rules_of

    from crossmargin.clearing.decide import apply

    state, found = State(), []
    for line in venue.fast.wire:
        found.append((line, json.loads(canonical(apply(state, read(line, rules_of)[0])))))
    return found


def test_the_runs_are_broad() -> None:
    """Each of these happens somewhere in a few runs, or the simulator proves less than it says."""
    seen: Counter[str] = Counter()
    for scene in SCENES:
        for seed in SEEDS:
            seen += run(scene, seed).seen
    for what in (
        "place_order", "place_order refused", "fill", "cancel_order", "withdraw", "withdraw refused", "transfer",
        "transfer refused", "mark refused", "set_margin_mode", "set_leverage", "settle_funding", "halt", "resume",
        "liquidate_step", "pro_rata", "insurance_fund", "auto_deleverage", "loss shared", "take_over",
        "pocket released", "bonus granted", "interest",
    ):  # fmt: skip
        assert seen[what], what


def test_a_decimal_is_never_a_float_on_its_way() -> None:
    world = World(default_quantum="0.000000000000000001")
    world.rules(instrument("BTC/USDT:USDT"))
    amount = "0.100000000000000001"
    world.open("a", USDT=amount)
    world.do("deposit", account="a", asset="USDT", amount=amount)
    assert world.held("a") == Decimal("0.200000000000000002")
