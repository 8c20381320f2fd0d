"""Which accounts need the judge at all: sound bounds that decide the clear cases, so that the exact judge has the rest.

The judge (:mod:`crossmargin.engine.reference`, exact decimals) gives a pool's figures at one moment. From them a
*gauge* is taken: the room to the nearest line, how fast that room can shrink when prices move (``slope``), and prices
to measure moves from. Every price may then move by ``band`` before a level can be crossed; each order and fill takes
at most its ``cost`` from the room. While what is left is above zero the answer is known; else the judge is asked. The
bounds are floats with one per cent to spare and never decide a close case, so the events are those that the judge
alone would give: a test runs the same commands with and without the watch.

Bounds hold for rules without jumps (:func:`gaugeable`); under any other the judge is asked every time.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from heapq import heapify, heappop, heappush
from itertools import chain
from typing import NamedTuple

from crossmargin.clearing.state import AccountState, Price, State, as_account, as_market, pool_of, symbols_of
from crossmargin.engine import formulas, kinds
from crossmargin.engine.pool import Asset, Exposure
from crossmargin.engine.prepare import prepare
from crossmargin.engine.reference import PoolState, measure
from crossmargin.engine.rooms import tightest
from crossmargin.errors import CrossmarginError
from crossmargin.model.account import Account, Position
from crossmargin.model.instrument import parse_symbol
from crossmargin.model.profile import Rules
from crossmargin.model.slots import Slots

_SPARE = 1.01
_WIDEST = 0.1
"""The widest band: within it the factor 2 of every slope covers the second order."""
_NONE = float("-inf")


def judged(state: State, account: Account) -> dict[str, PoolState]:
    """Every pool of an account by the exact judge, at the prices of the books."""
    prepared = prepare(account, as_market(state, account), state.rules[account.profile])
    return {pool.name: measure(pool) for pool in prepared.pools}


def needed(state: State, account: Account, pool: PoolState) -> set[str]:
    """The symbols and assets whose prices decide about a pool."""
    own = pool.pool
    found = {exposure.symbol.name for asset in own.assets for exposure in asset.exposures}
    if not own.isolated and own.slots.pooling.kind == "unified":
        reference = state.rules[account.profile].reference_currency
        quoted = own.slots.collateral.kind == "bid_ask"
        found |= {asset.name for asset in own.assets if quoted or asset.name != reference}
    return found


def quote_of(state: State, name: str) -> Price | None:
    """What is known of the price of a symbol (its mark) or of an asset (its index)."""
    return state.marks.get(name) if "/" in name else state.indexes.get(name)


def price_of(state: State, name: str) -> Decimal | None:
    """That price, whatever its age."""
    found = quote_of(state, name)
    return None if found is None else found.price


def stale(state: State, names: Iterable[str]) -> list[str]:
    """Those of the names whose price is missing or too old to decide anything."""
    return sorted(name for name in names if not state.fresh(quote_of(state, name)))


def level_of(pool: PoolState) -> str | None:
    """The worst level reached that is more than a block of new orders; None = none."""
    worst = None
    for level, multiple in pool.pool.ladder[:-1]:
        if level.action != "block" and pool.reached(level.requirement, multiple):
            worst = level.name
    return pool.pool.ladder[-1][0].name if pool.liquidatable else worst


# gauges ---------------------------------------------------------------------------------------------------------------


def gaugeable(slots: Slots) -> bool:
    """Whether a small change of a price or a size changes every figure by little: the kinds that the bounds know."""
    maintenance, initial, orders = slots.maintenance_margin, slots.initial_margin, slots.initial_margin.orders
    return (
        maintenance.kind == "marginal_brackets"
        and maintenance.key == "notional"
        and maintenance.orders == "none"
        and not maintenance.fixed_amount
        and initial.kind == "leverage"
        and orders is not None
        and orders.value
        and (orders.scope, orders.price, orders.from_equity) == ("added", "order", "none")
        and slots.levels.price == "mark"
        and slots.equity.unrealized_pnl == "all"
        and slots.equity.unrealized_pnl_initial is None
        and slots.collateral.liability_initial_rate is None
        and slots.bonus is None
    )


@dataclass(slots=True)
class PoolGauge:
    """What is known of a pool without the judge, in its currency; ``gross`` by symbol and ``price`` by settle asset."""

    free: float
    room: float
    slope: float
    weight: float
    heavy: float
    names: tuple[str, ...]
    gross: dict[str, float]
    price: dict[str, float]


@dataclass(slots=True)
class Gauge:
    """The pools of an account, the prices they were judged at, and how far those may move."""

    pools: dict[str, PoolGauge]
    reference: dict[str, float]
    band: float
    stamp: int


class Table(NamedTuple):
    """The maintenance table of a symbol in floats, with what else a cost needs of it."""

    floors: list[float]
    rates: list[float]
    caps: list[float]
    contract_size: float
    fee: float
    settle: str
    inverse: bool

    def row(self, value: float) -> int:
        """The bracket of a value."""
        return max(0, bisect_left(self.floors, value) - 1)


class Cost(NamedTuple):
    """The most that a trade takes from a pool's room, and its value in the settle asset."""

    pool: str
    symbol: str
    taken: float
    value: float
    steepness: float


class Payment(NamedTuple):
    """Money that left a pool, or came, by the calendar: in units of the asset."""

    account: str
    pool: str
    asset: str
    amount: Decimal


def _pool_gauge(pool: PoolState, names: set[str]) -> PoolGauge | None:
    own = pool.pool
    if not gaugeable(own.slots):
        return None
    heavy = max(1.0, *(float(multiple) for _, multiple in own.ladder))
    owing = max((_dearest_debt(state.asset) for state in pool.assets), default=0.0)
    weight = max(1.0, float(own.slots.collateral.liability_ratio)) + heavy * owing
    slope, gross, prices = 0.0, {}, {}
    for asset_state in pool.assets:
        asset = asset_state.asset
        price = prices[asset.name] = float(max(asset.price, asset.bid, asset.ask))
        moved = weight * (abs(float(asset.cash)) + abs(float(asset_state.pnl)))
        for exposure in asset.exposures:
            value = sum(float(exposure.notional(leg.size, exposure.mark)) for leg in exposure.legs)
            resting = sum(float(exposure.notional(order.size, exposure.mark)) for order in exposure.orders)
            gross[exposure.symbol.name] = value + resting
            moved += weight * (value + resting) + heavy * value * _steepest(exposure, value)
        slope += 2 * price * moved
    rooms = [abs(float(pool.headroom))]
    for level, multiple in own.ladder[:-1]:
        base = pool.requirement(level.requirement)
        if level.action != "block":
            rooms.append(0.0 if base is None else abs(float(pool.equity_for(level.requirement) - base * multiple)))
    free = tightest(pool)
    return PoolGauge(
        free=_NONE if free is None else float(free),
        room=min(rooms),
        slope=slope * _SPARE,
        weight=weight,
        heavy=heavy,
        names=tuple(sorted(names)),
        gross=gross,
        price=prices,
    )


def _dearest_debt(asset: Asset) -> float:
    """The highest rate that a debt of the asset can hold, to stay or to open, whatever its size."""
    rates = [asset.liability_rate, asset.liability_initial_rate or 0]
    return max(map(float, chain(rates, *(steps.rates for steps in asset.liability_steps or ()))))


def _steepest(exposure: Exposure, value: float) -> float:
    """The most that requirements grow with the value of an exposure: maintenance, close fee and initial margin."""
    rate = 0.0
    if exposure.steps is not None and value:
        rate = float(exposure.steps.rates[exposure.steps.find(Decimal(value) * Decimal("1.25"))])
    opening = max((1 / float(leg.leverage) if leg.leverage else 1.0 for leg in exposure.legs), default=0.0)
    return rate + opening + 4 * float(exposure.mark_fee)


class Watch:
    """The gauges of all accounts, and for each price the accounts that a move of it may concern."""

    def __init__(self, *, bounds: bool = True) -> None:
        """``bounds=False`` asks the judge every time: the slow way to the same events."""
        self._bounds = bounds
        self._gauges: dict[str, Gauge] = {}
        self._lows: dict[str, list[tuple[float, str, int]]] = {}
        self._highs: dict[str, list[tuple[float, str, int]]] = {}
        self._sizes: dict[str, int] = {}
        self._waiting: dict[str, set[str]] = {}
        self._tables: dict[tuple[str, str], Table | None] = {}
        self._stamp = 0
        self.cold: set[str] = set()
        """Accounts that have not been judged since the books were opened."""

    # what moves -----------------------------------------------------------------------------------------------------

    def concerned(self, state: State, name: str, price: Decimal) -> set[str]:
        """The accounts that must be judged because a price is now this; they are forgotten until they are."""
        found = self._waiting.pop(name, set())
        if not self._bounds:
            return found | set(state.holders.get(name, ()) if "/" in name else state.accounts)
        now = float(price)
        for heap, reached in ((self._lows.get(name), -now), (self._highs.get(name), now)):
            while heap and heap[0][0] <= reached:
                _, account, stamp = heappop(heap)
                gauge = self._gauges.get(account)
                if gauge is not None and gauge.stamp == stamp:
                    found.add(account)
        if self.cold:
            found |= self.cold & state.holders.get(name, set()) if "/" in name else self.cold
        return found

    def settle(self, state: State, own: AccountState) -> dict[str, str | None]:
        """Judge an account: the level of each pool that may be judged now, None = none; and its gauge from here on.

        A pool with a price that is missing or stale is left out, and judged when that price comes.
        """
        account = as_account(state, own)
        idle = not account.positions and all(one.wallet_balance >= 0 for one in account.balances.values())
        if idle and self._bounds:
            self.cold.discard(own.id)
            self._gauges.pop(own.id, None)
            return dict.fromkeys(own.levels)
        return self._judge(state, own, account)

    def _judge(self, state: State, own: AccountState, account: Account) -> dict[str, str | None]:
        self.cold.discard(own.id)
        self._gauges.pop(own.id, None)
        try:
            pools = judged(state, account)
        except CrossmarginError:
            self._wait(own.id, stale(state, {*symbols_of(account), *account.balances}))
            return {}
        levels: dict[str, str | None] = {name: None for name in own.levels if name not in pools}
        gauges: dict[str, PoolGauge] = {}
        reference: dict[str, float] = {}
        band = _WIDEST
        for name, pool in pools.items():
            names = needed(state, account, pool)
            missing = stale(state, names)
            if missing:
                self._wait(own.id, missing)
            else:
                levels[name] = level_of(pool)
            gauge = None if missing else _pool_gauge(pool, names)
            if gauge is not None:
                gauges[name] = gauge
                band = min(band, gauge.room / gauge.slope / 2 if gauge.slope and names else _WIDEST)
            elif not missing and names:
                band = 0.0
            reference |= {one: float(price) for one in names if (price := price_of(state, one)) is not None}
        self._stamp += 1
        gauge_now = self._gauges[own.id] = Gauge(gauges, reference, band, self._stamp)
        for name in reference:
            self._register(own.id, gauge_now, name)
        return levels

    def _register(self, account: str, gauge: Gauge, name: str) -> None:
        """Ask to be told when a price leaves the band."""
        price = gauge.reference[name]
        lows, highs = self._lows.setdefault(name, []), self._highs.setdefault(name, [])
        heappush(lows, (-price * (1 - gauge.band), account, gauge.stamp))
        heappush(highs, (price * (1 + gauge.band), account, gauge.stamp))
        if len(highs) > 2 * self._sizes.get(name, 0) + 1000:
            self._sweep(name)

    def _sweep(self, name: str) -> None:
        """Drop what is registered no more."""
        for heaps in (self._lows, self._highs):
            kept = [
                entry
                for entry in heaps[name]
                if (gauge := self._gauges.get(entry[1])) is not None and gauge.stamp == entry[2]
            ]
            heapify(kept)
            heaps[name] = kept
        self._sizes[name] = len(self._highs[name])

    def _wait(self, account: str, names: Iterable[str]) -> None:
        for name in names:
            self._waiting.setdefault(name, set()).add(account)

    def forget(self) -> None:
        """Everything but what waits: after new rules every account is judged again."""
        self._gauges.clear()
        self._lows.clear()
        self._highs.clear()
        self._sizes.clear()
        self._tables.clear()

    def known(self, account: str) -> bool:
        """Whether an account has a gauge."""
        return account in self._gauges

    # what is traded -------------------------------------------------------------------------------------------------

    def cost(
        self, state: State, own: AccountState, symbol: str, side: str, quantity: Decimal, price: Decimal
    ) -> Cost | None:
        """The most that an order and its fill take from the room of their pool; None where no bound is known."""
        rules = state.rules[own.profile]
        mark, leverage = state.marks.get(symbol), own.leverage.get(symbol)
        if mark is None or leverage is None or not self._bounds:
            return None
        if own.id not in self._gauges:
            self._judge(state, own, as_account(state, own))
        gauge = self._gauges.get(own.id)
        if gauge is None:
            return None
        name = pool_of(rules, symbol, side, isolated=(symbol, side) in own.isolated)
        pool = gauge.pools.get(name)
        table = self._table(own.profile, rules, symbol)
        if pool is None or table is None or table.settle not in pool.price:
            return None
        notional = formulas.inverse_notional if table.inverse else formulas.linear_notional
        size, worst, times = float(quantity) * table.contract_size, float(price), float(leverage)
        now, then = notional(size, float(mark.price)), notional(size, worst)
        value = max(now, then)
        row = table.row((pool.gross.get(symbol, 0.0) + value) * 1.25)
        if table.caps[row] < times:
            return None
        steepness = table.rates[row] + 1 / times + 4 * table.fee
        taken = pool.weight * (2 * abs(now - then) + 2 * table.fee * value) + pool.heavy * steepness * value
        held = own.positions.get((symbol, side))
        if held is not None and (held.quantity > 0) != (quantity > 0):
            taken += pool.weight * abs(_realized(held, size, worst, table.contract_size, inverse=table.inverse))
        return Cost(name, symbol, taken * pool.price[table.settle] * _SPARE, value, steepness)

    def affords(self, state: State, own: AccountState, cost: Cost) -> bool:
        """Whether a pool surely has room for an order, at the prices of now."""
        gauge = self._gauges[own.id]
        pool = gauge.pools[cost.pool]
        moved = 0.0
        for name in pool.names:
            quote = quote_of(state, name)
            if quote is None or not state.fresh(quote):
                return False
            moved = max(moved, abs(float(quote.price) / gauge.reference[name] - 1))
        if cost.symbol not in pool.names and not state.fresh(quote_of(state, cost.symbol)):
            return False
        return moved <= _WIDEST and pool.free - pool.slope * moved - cost.taken > 1e-9 * pool.slope

    def charge(self, state: State, own: AccountState, cost: Cost, *, filled: bool) -> bool:
        """Take the cost of what has happened from the gauge; False where no bound is left and the judge must look."""
        gauge = self._gauges.get(own.id)
        if gauge is None or cost.pool not in gauge.pools:
            return False
        pool = gauge.pools[cost.pool]
        pool.free -= cost.taken
        pool.gross[cost.symbol] = pool.gross.get(cost.symbol, 0.0) + cost.value
        price = pool.price[parse_symbol(cost.symbol).settle]
        pool.slope += 2 * price * cost.value * (pool.weight + (pool.heavy * cost.steepness if filled else 0.0)) * _SPARE
        if filled:
            pool.room -= cost.taken
        if cost.symbol not in pool.names:
            pool.names = (*pool.names, cost.symbol)
        if cost.symbol not in gauge.reference:
            gauge.reference[cost.symbol] = float(state.marks[cost.symbol].price)
            self._register(own.id, gauge, cost.symbol)
        return pool.room - pool.slope * gauge.band > 1e-9 * pool.slope

    def pay(self, own: AccountState, paid: Payment) -> bool:
        """Take a payment from the gauge of its pool; False where no bound is left and the judge must look."""
        gauge = self._gauges.get(own.id)
        pool = None if gauge is None else gauge.pools.get(paid.pool)
        if gauge is None or pool is None or paid.asset not in pool.price:
            return False
        taken = abs(float(paid.amount)) * pool.price[paid.asset] * pool.weight * _SPARE
        pool.free -= taken
        pool.room -= taken
        pool.slope += 2 * taken
        return pool.room - pool.slope * gauge.band > 1e-9 * pool.slope

    def _table(self, profile: str, rules: Rules, symbol: str) -> Table | None:
        key = (profile, symbol)
        if key not in self._tables:
            self._tables[key] = _table(rules, symbol)
        return self._tables[key]


def _realized(held: Position, size: float, price: float, contract_size: float, *, inverse: bool) -> float:
    closed = min(abs(size), abs(float(held.quantity)) * contract_size)
    pnl = formulas.inverse_pnl if inverse else formulas.linear_pnl
    return float(pnl(closed, float(held.entry_price), price))


def _table(rules: Rules, symbol: str) -> Table | None:
    brackets, size, fee = rules.brackets.get(symbol), rules.contract_size(symbol), rules.taker_fee(symbol)
    slot = rules.slots.maintenance_margin
    if not brackets or size is None or brackets[0].notional_floor or not gaugeable(rules.slots):
        return None
    rates = [kinds.maintenance_rate(bracket, slot) for bracket in brackets]
    caps = [bracket.max_leverage for bracket in brackets]
    return Table(
        [float(bracket.notional_floor) for bracket in brackets],
        [1.0 if rate is None else float(rate) for rate in rates],
        [float("inf") if cap is None else float(cap) for cap in caps],
        float(size),
        0.0 if fee is None else float(fee),
        parse_symbol(symbol).settle,
        parse_symbol(symbol).kind == "inverse",
    )
