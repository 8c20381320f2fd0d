"""What the arithmetic works on: pools of assets, exposures and legs, in one number type.

Prices and rules are looked up before (:mod:`crossmargin.engine.prepare`), figures are made after
(:mod:`crossmargin.engine.reference`). Marks and cash may be moved in place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from crossmargin.engine import formulas, kinds
from crossmargin.engine.units import Unit
from crossmargin.model.account import Account, Balance, Position
from crossmargin.model.instrument import Symbol
from crossmargin.model.market import Market
from crossmargin.model.profile import Rules
from crossmargin.model.slots import Level, Slots

Num = Any


@dataclass(slots=True)
class Leg:
    """One position inside an exposure; ``size`` is signed, in coins (linear) or quote units (inverse).

    ``charged`` is the size that the maintenance rule is applied to: the size, or the size times a rate that is the
    leg's own whatever the price.
    """

    position: Position
    size: Num
    charged: Num
    entry: Num
    leverage: Num | None
    close_fee: Num
    initial_fee: Num
    """The fee to close that the initial margin holds; what is charged at the mark is apart, in the exposure."""
    bankruptcy_price: Num | None


@dataclass(slots=True)
class Order:
    """One resting order that holds margin; ``price`` is what its margin is counted at."""

    size: Num
    price: Num
    leverage: Num | None
    fees: Num


@dataclass(slots=True)
class Exposure:
    """Everything in one symbol of one pool: legs, orders and the maintenance rule, a function of the mark alone."""

    symbol: Symbol
    mark: Num
    inverse: bool
    contract_size: Num
    pnl: Callable[[Num, Num, Num], Num]
    notional: Callable[[Num, Num], Num]
    legs: list[Leg] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)
    steps: kinds.Steps | None = None
    initial_steps: kinds.Steps | None = None
    initial_rates: tuple[Num | None, ...] = ()
    size_slope: Num = 0
    requirement: kinds.Requirement | None = None
    sizes: tuple[Num, ...] = ()
    fixed: Num = 0
    mark_fee: Num = 0
    initial_mark_fee: Num = 0
    fee_sizes: tuple[Num, ...] = ()
    """The sizes whose fee to close at the mark is part of the requirement."""

    def counted(self, slots: Slots, size: Num, value: Num) -> Num:
        """A size in what picks its bracket: its value, its contracts or its coins."""
        key = slots.maintenance_margin.key
        if key == "notional":
            return value
        return abs(size) / self.contract_size if key == "contracts" else self.coins(size)

    def coins(self, size: Num) -> Num:
        """Coins in a size, 0 or more: an inverse contract's are its value in the coin at the present mark."""
        return self.notional(size, self.mark) if self.inverse else abs(size)

    def unrealized_pnl(self, price: Num) -> Num:
        """PnL of all legs at a price, in the settle asset."""
        legs = self.legs
        if not legs:
            return price * 0
        total = self.pnl(legs[0].size, legs[0].entry, price)
        for leg in legs[1:]:
            total = total + self.pnl(leg.size, leg.entry, price)
        return total

    def maintenance(self, price: Num) -> Num:
        """Maintenance margin of all legs at a price, close fees included, in the settle asset."""
        total = self.fixed
        for size in self.sizes:
            total = total + self.requirement(self.notional(size, price))  # type: ignore[misc]  # sizes are charged only where there is one
        for size in self.fee_sizes:
            total = total + formulas.share_of(self.notional(size, price), self.mark_fee)
        return total


@dataclass(slots=True)
class Asset:
    """One asset of a pool with its prices in the pool's currency; ``cash`` is the wallet plus what counts with it."""

    name: str
    balance: Balance
    cash: Num
    price: Num
    bid: Num
    ask: Num
    counts: bool
    value: kinds.Valuation
    initial_value: kinds.Valuation | None = None
    """What it counts for to open and to withdraw, where that differs."""
    liability_rate: Num = 0
    liability_initial_rate: Num | None = 0
    """Margin that a debt of it holds, of its value: to stay, and to open (None = a leverage is missing)."""
    liability_steps: tuple[kinds.Steps, kinds.Steps] | None = None
    """The same by the size of the debt, to stay and to open; goes before the two rates."""
    taken: Num = 0
    """Margin of resting orders that is taken out of ``cash``."""
    exposures: list[Exposure] = field(default_factory=list)

    def worth(self, amount: Num, price: Num, bid: Num, ask: Num) -> Num:
        """What an amount of this asset counts for; a switched-off asset counts only when owed."""
        return self.value(amount if self.counts else min(amount, amount * 0), price, bid, ask)

    def kept_rate(self, owed: Num) -> Num:
        """What a debt of this amount holds of its value to stay."""
        steps = self.liability_steps
        return self.liability_rate if steps is None else steps[0].rates[steps[0].find(owed)]

    def opening_rate(self, owed: Num) -> Num | None:
        """The same to open; None where a leverage is missing."""
        steps = self.liability_steps
        return self.liability_initial_rate if steps is None else steps[1].rates[steps[1].find(owed)]

    def initial_worth(self, amount: Num) -> Num:
        """What an amount counts for to open and to withdraw, at the market's prices."""
        value = self.initial_value or self.value
        return value(amount if self.counts else min(amount, amount * 0), self.price, self.bid, self.ask)


@dataclass(slots=True)
class Pool:
    """Holdings and positions that stand or fall together; each exposure hangs on the asset it settles in."""

    name: str
    currency: str
    slots: Slots
    isolated: bool
    assets: list[Asset]
    weighted: bool
    counted: str
    at_ask: bool
    concave: bool
    ladder: tuple[tuple[Level, Num], ...]
    strict: bool
    counted_initial: str
    fixed: Num
    """Requirement of the pool whatever the prices."""
    units: tuple[Unit, ...] = ()
    """Portfolio margin: what everything on one coin requires together, instead of one contract after another."""
    initial_multiple: Num | None = None
    """Initial margin as a multiple of the maintenance margin."""

    @property
    def liquidation_multiple(self) -> Num:
        """The multiple of the maintenance requirement at which the pool is liquidated."""
        return self.ladder[-1][1]


@dataclass(slots=True)
class Prepared:
    """One account ready to be judged in one number type."""

    account: Account
    market: Market
    rules: Rules
    number: type
    pools: list[Pool]
