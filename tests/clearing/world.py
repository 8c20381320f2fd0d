"""A small venue to test with: rules with round figures, commands without their bookkeeping, audited after each."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import crossmargin as cm
from crossmargin.clearing.audit import audit, audit_command
from crossmargin.clearing.commands import canonical, read_object
from crossmargin.clearing.decide import apply
from crossmargin.clearing.events import Event
from crossmargin.clearing.ledger import VENUE
from crossmargin.clearing.state import State, dump
from crossmargin.clearing.watch import Watch

D = Decimal
BTC, ETH, SOL = "BTC/USDT:USDT", "ETH/USDT:USDT", "SOL/USDT:USDT"
INVERSE = "BTC/USD:BTC"
T0 = datetime(2026, 11, 20, 8, tzinfo=UTC)


def instrument(symbol: str, rate: str = "0.005", fee: str = "0", **more: Any) -> dict[str, Any]:
    """One bracket for every size."""
    bracket = {"notional_floor": "0", "maintenance_rate": rate}
    return {"symbol": symbol, "brackets": [bracket], "taker_fee": fee, **more}


def rules_of(profile: str, on: str) -> cm.Rules:
    return cm.load_profile(profile).on(date.fromisoformat(on))


class World:
    """Books with a clock; ``bounds=False`` asks the judge for everything."""

    def __init__(self, *, bounds: bool = True, audited: bool = True, **settings: str) -> None:
        self.state = State()
        self.watch = Watch(bounds=bounds)
        self.audited = audited
        self.now = T0
        self.count = 0
        self.wire: list[str] = []
        self.do("start", **settings)

    def say(self, kind: str, **fields: Any) -> list[Event]:
        """One command now; its events, whatever they are."""
        self.count += 1
        at = fields.pop("at", self.now)
        wire = {"kind": kind, "command_id": f"c{self.count}", "at": at.isoformat().replace("+00:00", "Z"), **fields}
        self.wire.append(canonical(wire))
        command, _ = read_object(wire, rules_of)
        before = dump(self.state) if self.audited else ""
        events = apply(self.state, command, self.watch)
        if self.audited:
            assert audit(self.state) == ()
            assert audit_command(self.state, command, events) == ()
            if events and events[0]["event"] == "rejected":
                assert dump(self.state) == before, "a refusal changes nothing"
        return events

    def do(self, kind: str, **fields: Any) -> list[Event]:
        """One command that must be accepted."""
        events = self.say(kind, **fields)
        assert not events or events[0]["event"] != "rejected", events
        return events

    def refuse(self, kind: str, **fields: Any) -> Event:
        """One command that must be refused; the refusal."""
        (event,) = self.say(kind, **fields)
        assert event["event"] == "rejected", event
        return event

    # what tests do all the time

    def rules(self, *instruments: dict[str, Any], profile: str = "plain-cross", **more: Any) -> None:
        self.do("change_rules", profile=profile, on="2026-11-20", instruments=list(instruments), **more)

    def open(self, name: str, profile: str = "plain-cross", **money: str) -> None:
        self.do("open_account", account=name, profile=profile)
        for asset, amount in money.items():
            self.do("deposit", account=name, asset=asset, amount=amount)

    def mark(self, **prices: str) -> list[Event]:
        """Marks of coins by their first letters, at the next millisecond."""
        found: list[Event] = []
        self.later(milliseconds=1)
        for coin, price in prices.items():
            found += self.do("mark", symbol=f"{coin}/USDT:USDT", price=price, last_price=price, confirmed=True)
        return found

    def later(self, **step: float) -> None:
        self.now += timedelta(**step)

    def buy(self, name: str, symbol: str, quantity: str, price: str, leverage: str | None = None, **more: Any) -> None:
        """An order (negative: a sale), filled at once."""
        if leverage is not None:
            self.do("set_leverage", account=name, symbol=symbol, leverage=leverage)
        order = f"o{self.count}"
        self.do("place_order", account=name, order_id=order, symbol=symbol, quantity=quantity, price=price, **more)
        self.do("fill", account=name, order_id=order, quantity=quantity, price=price)

    def held(self, owner: str, place: str = "wallet", asset: str = "USDT") -> Decimal:
        return self.state.ledger.balance(owner, place, asset)

    def venue(self, place: str, asset: str = "USDT") -> Decimal:
        return self.held(VENUE, place, asset)

    def position(self, name: str, symbol: str, side: str = "net") -> Decimal:
        held = self.state.accounts[name].positions.get((symbol, side))
        return D(0) if held is None else held.quantity

    def liquidate(self, name: str, pool: str, most: int = 50) -> list[str]:
        """Steps until the pool stands or is gone; their kinds."""
        steps: list[str] = []
        while self.state.accounts[name].levels.get(pool) == "liquidation":
            assert len(steps) < most, "a liquidation makes progress"
            events = self.do("liquidate_step", account=name, pool=pool)
            steps += [event["step"] for event in events if event["event"] == "liquidation"]
        return steps
