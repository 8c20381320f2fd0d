"""Does anything in this account come near its level at these prices?

The account between two events, prepared once: pools on floats whose marks and cash are moved in place, and the exact
figures that funding is counted with. Only the exact judge says that a pool is broken; floats say where to ask it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, NamedTuple

from crossmargin.analytics.funding import Purse, after_payments, purse_of
from crossmargin.analytics.threshold import is_priced
from crossmargin.engine import formulas
from crossmargin.engine.pool import Asset, Exposure, Leg, Pool, Prepared
from crossmargin.engine.prepare import prepare
from crossmargin.engine.reference import PoolState, measure
from crossmargin.errors import Fault, MarketDataError
from crossmargin.model.account import Account
from crossmargin.model.history import Bar
from crossmargin.model.instrument import CASH, parse_symbol
from crossmargin.model.market import Market

Moment = Literal["open", "range", "close"]
_ZERO = Decimal(0)
_NEAR = 1e-6
"""Headroom below this share of equity and requirement is judged exactly; floats err by some 1e-12 of them."""
_PROBE = 0.05
"""The move that tells at which end of its range a coin hurts a pool."""


def at_bar(account: Account, market: Market, time: datetime, prices: Mapping[str, Any]) -> Market:
    """The market with the prices of a moment: every contract on a coin and the coin itself, or one symbol.

    Bid and ask rates keep their share of the index price; where that was not given, and with last prices, what moved
    is not known any more. Raises
    :class:`MarketDataError` naming every coin held that has no price here.
    """
    symbols = dict.fromkeys(
        [*market.mark_price, *(p.symbol for p in account.positions), *(o.symbol for o in account.open_orders)]
    )
    marks = dict(market.mark_price)
    faults = []
    for symbol in symbols:
        price = prices.get(symbol, prices.get(parse_symbol(symbol).base))
        if price is not None:
            marks[symbol] = price
    held = {p.symbol for p in account.positions} | {o.symbol for o in account.open_orders}
    for symbol in sorted(held):
        if symbol not in prices and parse_symbol(symbol).base not in prices:
            faults.append(Fault(parse_symbol(symbol).base, "", f"is not in the history, and {symbol} is held"))
    for asset in account.balances:
        if asset not in CASH and asset not in prices:
            faults.append(Fault(asset, "", "is held and not in the history; add its column"))
    if faults:
        raise MarketDataError("price history", faults)
    index = {**market.index_price, **{name: price for name, price in prices.items() if "/" not in name}}
    rates = {
        name: {
            asset: rate * index[asset] / market.index_price[asset] if asset in prices else rate
            for asset, rate in getattr(market, name).items()
            if asset not in prices or asset in market.index_price
        }
        for name in ("bid_rate", "ask_rate")
    }
    moved = {name for name in marks if name in prices or parse_symbol(name).base in prices}
    last = {symbol: price for symbol, price in market.last_price.items() if symbol not in moved}
    # prices of a line are longer than an input may be: they are set, not read
    update = {"as_of": time, "mark_price": marks, "index_price": index, "last_price": last, **rates}
    return market.model_copy(update=update)


class _Flow(NamedTuple):
    """Where the funding of one leg goes: exact figures, and the asset on floats that it leaves."""

    purse: Purse
    exposure: Exposure
    leg: Leg
    asset: Asset


class Watched:
    """The account between two events, prepared once: pools on floats whose marks and cash are moved in place."""

    def __init__(self, exact: Prepared) -> None:
        self.exact = exact
        self.floats = prepare(exact.account, exact.market, exact.rules, number=float)
        self.paid: dict[Purse, Decimal] = {}
        self.flows = []
        self._marks: list[tuple[Exposure, str, str]] = []
        self._prices: list[tuple[Asset, float, float]] = []
        for pool, own in zip(self.floats.pools, exact.pools, strict=True):
            for asset, same in zip(pool.assets, own.assets, strict=True):
                self._marks += [(e, e.symbol.name, e.symbol.base) for e in asset.exposures]
                if is_priced(pool) and asset.name not in CASH:
                    self._prices.append((asset, asset.bid / asset.price, asset.ask / asset.price))
                self.flows += [
                    _Flow(purse_of(own, exposure, leg), exposure, leg, asset)
                    for exposure in same.exposures
                    if exposure.symbol.expiry is None
                    for leg in exposure.legs
                ]
        self.staked = [p for p in self.floats.pools if at_stake(p)]
        self._adverse: dict[str, dict[str, str]] | None = None

    @property
    def account(self) -> Account:
        """The account as it stands, exactly."""
        return after_payments(self.exact.account, self.paid) if self.paid else self.exact.account

    def move(self, prices: Mapping[str, Any]) -> None:
        """Put the pools on floats at these prices."""
        for exposure, symbol, base in self._marks:
            exposure.mark = float(prices[symbol] if symbol in prices else prices[base])
        for asset, bid, ask in self._prices:
            asset.price = float(prices[asset.name])
            asset.bid, asset.ask = asset.price * bid, asset.price * ask

    def at(self, prices: Mapping[str, Any], moment: Moment) -> list[PoolState]:
        """Every pool on floats at these prices; margin to open is of use at the close only."""
        self.move(prices)
        return [measure(pool) if moment == "close" else within(pool) for pool in self.floats.pools]

    def pay(self, bar: Bar) -> dict[str, Decimal]:
        """Take the funding of a bar, exactly and on floats; what was paid by settle asset."""
        slot = self.exact.rules.slots.funding
        paid: dict[str, Decimal] = {}
        for purse, exposure, leg, asset in self.flows:
            name, base = exposure.symbol.name, exposure.symbol.base
            rate = bar.funding_rate.get(name, bar.funding_rate.get(base))
            if rate is None:
                continue
            price = bar.close.get(name, bar.close.get(base))
            if slot is not None and slot.price == "oracle":
                price = bar.close.get(base)
            if price is None:
                why = "is not in the history; funding is charged on its oracle price"
                raise MarketDataError("price history", (Fault(base, "", why),))
            amount = formulas.funding_payment(leg.size, exposure.notional(leg.size, price), rate)
            self.paid[purse] = self.paid.get(purse, _ZERO) + amount
            asset.cash -= float(amount)
            paid[purse.asset] = paid.get(purse.asset, _ZERO) + amount
        return paid

    def adverse(self, bar: Bar, start: Mapping[str, Decimal]) -> dict[str, dict[str, Decimal]]:
        """For each pool the prices of the bar's range at the ends that hurt it; call :meth:`move` afterwards."""
        if self._adverse is None:
            self._adverse = {}
            for pool in self.staked:
                ends = {}
                for name, price in start.items():
                    rooms = []
                    for factor in (1 - _PROBE, 1 + _PROBE):
                        self.move({**start, name: float(price) * factor})
                        rooms.append(within(pool).headroom)
                    ends[name] = "low" if rooms[0] <= rooms[1] else "high"
                self._adverse[pool.name] = ends
        found = {}
        for pool in self.staked:
            ends = self._adverse[pool.name]
            found[pool.name] = {
                name: getattr(bar, ends.get(name, "low")).get(name, close) for name, close in bar.close.items()
            }
        return found


def at_stake(pool: Pool) -> bool:
    """Whether prices or payments can break a pool at all: it has positions, or owes."""
    return any(asset.cash < 0 or any(e.legs for e in asset.exposures) for asset in pool.assets)


def within(pool: Pool) -> PoolState:
    """A pool within a bar: where its level of liquidation is one of maintenance, margin to open is left out."""
    return measure(pool, opening=pool.ladder[-1][0].requirement != "maintenance")


def is_near(state: PoolState) -> bool:
    """Whether the exact judge has to look: the level of liquidation is reached on floats, or nearly."""
    level, multiple = state.pool.ladder[-1]
    base = state.requirement(level.requirement)
    if base is None:
        return True
    required = base * multiple
    equity = state.equity_for(level.requirement)
    return bool(formulas.headroom(equity, required) <= _NEAR * (abs(equity) + required))
