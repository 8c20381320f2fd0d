"""What straight lines does headroom lie under, as capital moves?

A pool's room (headroom after a scenario, free collateral, what may be withdrawn) is a concave function of its wallets,
its PnL and the margins of its contracts, and each margin is a convex function of a size. So at any plan the judge,
asked on rays, gives lines that hold for every plan: a room lies below its line, a margin above its own. No rule is
stated here; value and slope are read off :func:`~crossmargin.engine.reference.asset_state`,
:func:`~crossmargin.engine.reference.pool_state` and :func:`~crossmargin.engine.rooms.rooms`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Literal, NamedTuple

from crossmargin.analytics.allocation_decisions import Problem, Setting, Trade
from crossmargin.engine.changes import Books
from crossmargin.engine.curves import Function, walk
from crossmargin.engine.fills import average_entry
from crossmargin.engine.pool import Exposure, Pool, Prepared
from crossmargin.engine.prepare import prepare
from crossmargin.engine.ray import Line, Ray
from crossmargin.engine.reference import (
    AssetState,
    PoolState,
    asset_state,
    gross_notional,
    initial_margin,
    measure,
    pool_state,
    removable,
)
from crossmargin.engine.rooms import rooms
from crossmargin.errors import UnsupportedRule
from crossmargin.model.account import Account, Position
from crossmargin.model.instrument import parse_symbol
from crossmargin.model.market import Market

Num = Any
Margin = Literal["maintenance", "initial"]
_ZERO, _ONE = Decimal(0), Decimal(1)
SAFETY, WITHDRAWAL = "safety", "withdrawal"
_NEAR = Decimal("1e-12")


class Context(NamedTuple):
    """Where a room is looked at: an account after a stage, in a scenario (row) or, None, by the lines of the venue."""

    account: int
    stage: int
    row: int | None


class Term(NamedTuple):
    """The margin of one contract in a context, in its settle asset: convex in its size."""

    context: Context
    symbol: str
    margin: Margin


class Piece(NamedTuple):
    """From ``low`` to ``high`` contracts a margin is ``constant + slope x contracts``."""

    low: Decimal
    high: Decimal
    constant: Decimal
    slope: Decimal


class TermLine(NamedTuple):
    """A margin's value, and its slope in each decision (by index); where it jumps with its size, all its pieces.

    The size is then ``held`` plus each decision times its figure in ``sizes``.
    """

    value: Decimal
    slopes: dict[int, Decimal]
    pieces: tuple[Piece, ...] = ()
    held: Decimal = _ZERO
    sizes: Mapping[int, Decimal] = {}


@dataclass(slots=True)
class RoomLine:
    """A room's value, and its slopes: in decisions, in the fees of their use, in margins, in a unit of a wallet."""

    value: Decimal
    slopes: dict[int, Decimal] = field(default_factory=dict)
    fees: dict[int, Decimal] = field(default_factory=dict)
    terms: dict[Term, Decimal] = field(default_factory=dict)
    wallets: dict[str, Decimal] = field(default_factory=dict)


class Reading(NamedTuple):
    """Every room of an account in a context, by pool and name, and the margins that they are made of."""

    rooms: dict[tuple[str, str], RoomLine]
    terms: dict[Term, TermLine]


def guarded(prepared: Prepared) -> dict[str, Pool]:
    """The pools that can break: those with positions or debts."""
    return {
        pool.name: pool
        for pool in prepared.pools
        if any(asset.cash < 0 or any(e.legs for e in asset.exposures) for asset in pool.assets)
    }


def stricter(prepared: Prepared, problem: Problem) -> Prepared:
    """The account with each pool's liquidation level raised by the share of its buffer."""
    for pool in prepared.pools:
        level, multiple = pool.ladder[-1]
        share = prepared.number(problem.fund.safety.buffer(prepared.account.id, pool.name).share)
        pool.ladder = (*pool.ladder[:-1], (level, multiple * (1 + share)))
    return prepared


# a reading ------------------------------------------------------------------------------------------------------------


def read(problem: Problem, context: Context, x: Sequence[Decimal], market: Market, pools: set[str]) -> Reading:
    """Value and slopes of every room of these pools where ``x`` of each decision is done; in the judge's context.

    Raises :class:`UnsupportedRule` where a room is unknown.
    """
    rules = problem.books[context.account].rules
    prepared = prepare(problem.account_at(context.account, x, context.stage), market, rules)
    if context.row is not None:
        stricter(prepared, problem)
    found = Reading({}, {})
    for pool in prepared.pools:
        if pool.name in pools:
            _Pool(problem, context, x, prepared, pool, found).read()
    return found


def rooms_of(state: PoolState, context: Context, *, leaving: bool, gross: Num = None) -> dict[str, Num]:
    """The rooms that count in a context: after a scenario headroom, else every line that the venue draws."""
    if context.row is not None:
        return {SAFETY: state.headroom}
    found: dict[str, Num] = dict(rooms(state))
    if leaving:
        found[WITHDRAWAL] = removable(state, gross)
    return found


class _Pool:
    """One pool of a reading: each argument of its rooms is a ray in turn."""

    def __init__(
        self, problem: Problem, context: Context, x: Sequence[Decimal], prepared: Prepared, pool: Pool, found: Reading
    ) -> None:
        self.problem, self.context, self.prepared, self.pool, self.found = problem, context, prepared, pool, found
        self.x = x
        self.state = measure(pool)
        self.leaving = problem.leaves(context.account, context.stage)
        self.lines: dict[str, RoomLine] = {}

    def read(self) -> None:
        problem, context = self.problem, self.context
        for name, value in rooms_of(self.state, context, leaving=self.leaving).items():
            if value is None:
                why = (
                    "has no rule, so nothing may be sent out of it"
                    if name == WITHDRAWAL and self.state.initial is not None
                    else "is unknown because a leverage is missing; state it"
                )
                raise UnsupportedRule(f"{name} of {self.pool.name} on {problem.id(context.account)}", why)
            self.lines[name] = RoomLine(value)
        amounts = problem.amounts(context.account, context.stage)
        for index, own in enumerate(self.state.assets):
            trades = [
                (j, t)
                for j, t in problem.trades(context.account)
                if t.stage <= context.stage and _settles(t) == own.asset.name
            ]
            moved = not self.pool.isolated and (own.asset.name in amounts)
            if moved:
                self._wallet(index, own, amounts[own.asset.name])
            if self.pool.isolated and self.pool.name in amounts:
                self._pocket(amounts[self.pool.name])
            settings = [
                (j, s)
                for j, s in problem.settings(context.account)
                if problem.decisions[j].stage <= context.stage and _settles(s.more) == own.asset.name
            ]
            if (trades or settings) and not self.pool.isolated:
                self._contracts(index, own, trades, settings)
        self.found.rooms.update({(self.pool.name, name): line for name, line in self.lines.items()})

    def _slopes(self, index: int, change: Callable[[Ray], AssetState] | None, gross: Num = None) -> dict[str, Num]:
        """The slope of each room in one argument of one asset."""
        line = Line(_ZERO, 1, track=True)
        ray = Ray(_ZERO, _ONE, line)
        states = list(self.state.assets)
        if change is not None:
            states[index] = change(ray)
        state = pool_state(self.pool, states)
        moved = rooms_of(state, self.context, leaving=self.leaving, gross=None if gross is None else gross + ray)
        return {name: value.slope(_ZERO) if type(value) is Ray else _ZERO for name, value in moved.items()}

    def _wallet(self, index: int, own: AssetState, amounts: Mapping[int, Decimal]) -> None:
        asset = own.asset
        initial = self._initial(own)

        def richer(ray: Ray) -> AssetState:
            balance = asset.balance.model_copy(update={"wallet_balance": asset.balance.wallet_balance + ray})
            rich = replace(asset, cash=asset.cash + ray, balance=balance)
            return asset_state(self.pool, rich, own.pnl, own.maintenance, initial, own.exposures)

        here = (self.context.account, asset.name)
        for name, slope in self._slopes(index, richer).items():
            line = self.lines[name]
            line.wallets[asset.name] = line.wallets.get(asset.name, _ZERO) + slope
            for j, amount in amounts.items():
                line.slopes[j] = line.slopes.get(j, _ZERO) + slope * amount
            for j, decision in enumerate(self.problem.decisions):
                fee = decision.fee_at
                if fee is not None and (fee.account, fee.asset) == here and fee.stage <= self.context.stage:
                    line.fees[j] = line.fees.get(j, _ZERO) + slope * fee.amount

    def _pocket(self, amounts: Mapping[int, Decimal]) -> None:
        """An isolated position's margin also sets where it is bankrupt, so the whole pocket is asked anew.

        What closes takes its share of the margin with it.
        """
        ray = Ray(_ZERO, _ONE, Line(_ZERO, 1, track=True))
        (leg,) = [leg.position for own in self.pool.assets for e in own.exposures for leg in e.legs]
        closes = dict(self.problem.closes(self.context.account))
        for j, amount in amounts.items():
            trade = closes.get(j)
            pool = pocket_of(self.prepared, leg, ray * amount, _ZERO if trade is None else ray * trade.unit)
            pool.ladder = self.pool.ladder
            for name, room in rooms_of(measure(pool), self.context, leaving=self.leaving).items():
                line = self.lines[name]
                line.slopes[j] = line.slopes.get(j, _ZERO) + (room.slope(_ZERO) if type(room) is Ray else _ZERO)

    def _initial(self, own: AssetState) -> Num:
        """Initial margin of everything that settles in an asset, in the asset."""
        total: Num = own.pnl * 0
        for exposure in own.asset.exposures:
            margin = initial_margin(self.pool, exposure)
            if margin is None:
                return None
            total = total + margin
        return total

    def _contracts(
        self,
        index: int,
        own: AssetState,
        trades: Sequence[tuple[int, Trade]],
        settings: Sequence[tuple[int, Setting]],
    ) -> None:
        """PnL is linear in a size, margins are terms of their own; the room's slope in each comes from one ray."""
        initial = self._initial(own)

        def state(pnl: Num, maintenance: Num, opened: Num) -> AssetState:
            return asset_state(self.pool, own.asset, pnl, maintenance, opened, own.exposures)

        in_pnl = self._slopes(index, lambda s: state(own.pnl + s, own.maintenance, initial))
        in_margin: dict[Margin, dict[str, Num]] = {
            "maintenance": self._slopes(index, lambda s: state(own.pnl, own.maintenance + s, initial))
        }
        if self.context.row is None and initial is not None:
            in_margin["initial"] = self._slopes(index, lambda s: state(own.pnl, own.maintenance, initial + s))
        gross = self._slopes(index, None, gross_notional(self.state)) if WITHDRAWAL in self.lines else {}
        market = self.prepared.market
        for symbol in dict.fromkeys([*(t.symbol for _, t in trades), *(s.more.symbol for _, s in settings)]):
            here = [(j, t) for j, t in trades if t.symbol == symbol]
            mark = market.mark_price[symbol]
            for j, trade in here:
                for name, line in self.lines.items():
                    slope = in_pnl[name] * trade.pnl(mark)
                    value = trade.notional(mark) * own.asset.price * (1 if trade.entry is None else -1)
                    slope += gross.get(name, _ZERO) * value
                    line.slopes[j] = line.slopes.get(j, _ZERO) + slope
            for margin, slopes in in_margin.items():
                term = Term(self.context, symbol, margin)
                for name, slope in slopes.items():
                    if slope:
                        self.lines[name].terms[term] = slope
                mine = [(j, s) for j, s in settings if s.more.symbol == symbol]
                if margin == "maintenance" and (self.context.account, symbol) in self.problem.stepped:
                    self.found.terms[term] = self._in_pieces(symbol, here, mine)
                else:
                    self.found.terms[term] = self._term(margin, here, mine)

    def _term(
        self, margin: Margin, trades: Sequence[tuple[int, Trade]], settings: Sequence[tuple[int, Setting]]
    ) -> TermLine:
        """A margin and its slopes; where a leverage may be set, they hold at every leverage.

        The line of the leverage that is set is lowered, for each other one, by the most that it lies above the line of
        that one anywhere in the reach of the trades: there it is below that margin too.
        """
        if not settings:
            return self._at_leverage(margin, trades, None, None)
        more = settings[0][1].more
        # the account may hold another leverage by now: the one from before is named too
        none = self._at_leverage(margin, trades, more.leverage, more)
        lines = {j: self._at_leverage(margin, trades, s.leverage, more) for j, s in settings}
        done = next((j for j, _ in settings if self.x[j]), None)
        line = none if done is None else lines[done]
        above = {j: self._above(line, other) for j, other in lines.items()}
        over_none = self._above(line, none)
        slopes = {j: over_none - over for j, over in above.items()}
        return TermLine(line.value, {**line.slopes, **{j: s for j, s in slopes.items() if s}})

    def _at_leverage(
        self, margin: Margin, trades: Sequence[tuple[int, Trade]], leverage: Decimal | None, more: Trade | None
    ) -> TermLine:
        """A margin and its slopes, all read in one direction of size, so that together they support it."""
        books = Books(self.prepared.account, self.prepared.market, self.prepared.rules)
        ways = {trade.unit for _, trade in trades}
        way = ways.pop() if len(ways) == 1 else _ONE
        value: Decimal = _ZERO
        slopes = {}
        for j, trade in trades:
            own = alone(books, trade, way, margin, leverage)
            ray = own.function(own.start, 1)
            value = ray.at(own.start)
            slopes[j] = ray.slope(own.start) * way * trade.unit
        if more is not None and not trades:
            own = alone(books, more, more.unit, margin, leverage)
            value = own.function(own.start, 1).at(own.start)
        return TermLine(value, slopes)

    def _above(self, line: TermLine, other: TermLine) -> Decimal:
        """The most that a line lies above another one, at any amounts of the decisions; never below 0."""
        most = line.value - other.value
        for j, slope in line.slopes.items():
            steeper = slope - other.slopes[j]
            most += max(-self.x[j] * steeper, (self.problem.most(j) - self.x[j]) * steeper)
        return max(most, _ZERO)

    def _in_pieces(
        self, symbol: str, trades: Sequence[tuple[int, Trade]], settings: Sequence[tuple[int, Setting]]
    ) -> TermLine:
        """A margin that jumps with its size, from a flat position to the largest in reach."""
        problem, account = self.problem, self.context.account
        line = self._term("maintenance", trades, settings)
        if any(j in line.slopes for j, _ in settings):
            why = f"the requirement of {symbol} jumps with its size and depends on its leverage; leave one of them out"
            raise UnsupportedRule(f"maintenance_margin of {self.prepared.rules.profile}", why)
        start = problem.books[account]._replace(market=self.prepared.market)
        sizes = {j: _ONE if trade.entry is None else -_ONE for j, trade in trades}
        held = trades[0][1].held if trades else settings[0][1].more.held
        pieces: list[Piece] = []
        for trade in {trade.unit: trade for _, trade in trades}.values():
            most = sum((problem.most(j) for j, t in trades if t.unit == trade.unit), _ZERO)
            pieces += _pieces(start, trade, min(most, held) if trade.entry is not None else most)
        at = held + sum((self.x[j] * sign for j, sign in sizes.items()), _ZERO)
        near = _NEAR * (abs(line.value) + 1)
        if pieces and not any(
            p.low <= at <= p.high and abs(p.constant + p.slope * at - line.value) <= near for p in pieces
        ):
            why = f"the requirement of {symbol} jumps with its size and depends on more than its size"
            raise UnsupportedRule(f"maintenance_margin of {self.prepared.rules.profile}", why)
        return TermLine(line.value, line.slopes, tuple(pieces), held, sizes)


def _settles(trade: Trade) -> str:
    return parse_symbol(trade.symbol).settle


def _pieces(books: Books, trade: Trade, most: Decimal) -> Iterator[Piece]:
    """The pieces of a maintenance margin along one trade, from the position as it is now, by contracts held."""
    own = alone(books, trade, trade.unit, "maintenance")
    sign = _ONE if trade.entry is None else -_ONE
    for stretch in walk(own.function, own.start, own.start + most, 1):
        if stretch.ray.extra is not None:
            why = f"the requirement of {trade.symbol} jumps and is curved between the jumps"
            raise UnsupportedRule(f"maintenance_margin of {books.rules.profile}", why)
        ends = [trade.held + sign * (end - own.start) for end in (stretch.start, stretch.end or own.start + most)]
        slope = stretch.ray.slope(stretch.start) * sign
        low, high = min(ends), max(ends)
        yield Piece(low, high, stretch.ray.at(stretch.start) - slope * ends[0], slope)


class Alone(NamedTuple):
    """The margin of one contract as a function of how many it has more, counted from ``start``."""

    function: Function
    start: Decimal


def alone(books: Books, trade: Trade, way: Decimal, margin: Margin, leverage: Decimal | None = None) -> Alone:
    """The margin of one contract of a shared pool as it has more contracts in a direction, at a leverage if one is set.

    By the judge, on an account of that contract alone. What closes keeps its entry price; what opens is averaged in at
    its own. Raises :class:`UnsupportedRule` where a leverage is missing.
    """
    account = books.account
    legs = [p for p in account.positions if p.symbol == trade.symbol and p.margin_mode == "cross"]
    orders = tuple(order for order in account.open_orders if order.symbol == trade.symbol)
    if leverage is not None:
        legs = [leg.model_copy(update={"leverage": leverage}) for leg in legs]
        orders = tuple(order.model_copy(update={"leverage": leverage}) for order in orders)
    held = next((p for p in legs if p.position_side == trade.position_side), None)
    inverse = parse_symbol(trade.symbol).kind == "inverse"
    # a ray that starts at a flat position would divide by nothing: it is counted from one contract, and starts at -1
    shift = _ZERO if held is not None else _ONE

    def function(point: Num, direction: int) -> Ray:
        more = Ray(way * shift, way, Line(point, direction, track=True))
        if held is None:
            blank = Position(symbol=trade.symbol, quantity=_ONE, entry_price=_ONE, leverage=leverage or trade.leverage)
            entry = trade.price if trade.entry is None else trade.entry
            grown = blank.model_copy(
                update={"quantity": more, "entry_price": entry, "position_side": trade.position_side}
            )
        else:
            entry = held.entry_price
            if trade.entry is None and entry != trade.price:
                sizes: tuple[Num, Num] = held.quantity * trade.contract_size, more * trade.contract_size
                entry = average_entry(sizes[0], entry, sizes[1], trade.price, inverse=inverse)
            grown = held.model_copy(update={"quantity": held.quantity + more, "entry_price": entry})
        positions = tuple(grown if p is held else p for p in legs) if held is not None else (*legs, grown)
        one = Account(profile=account.profile).model_copy(update={"positions": positions, "open_orders": orders})
        pool, exposure = exposure_of(prepare(one, books.market, books.rules), trade.symbol)
        found = exposure.maintenance(exposure.mark) if margin == "maintenance" else initial_margin(pool, exposure)
        if found is None:
            raise UnsupportedRule(f"initial margin of {trade.symbol}", "a leverage is missing; state it")
        return found if type(found) is Ray else Ray(found, _ZERO, more.line)

    return Alone(function, -shift)


def pocket_of(books: Books | Prepared, leg: Position, margin: Num, quantity: Num) -> Pool:
    """The pool of an isolated position with so much more margin and so many more contracts; they may be rays."""
    update = {"isolated_margin": (leg.isolated_margin or _ZERO) + margin, "quantity": leg.quantity + quantity}
    account = Account(profile=books.account.profile).model_copy(update={"positions": (leg.model_copy(update=update),)})
    return prepare(account, books.market, books.rules).pools[-1]


def exposure_of(prepared: Prepared, symbol: str) -> tuple[Pool, Exposure]:
    """The contract in the shared pool of a prepared account."""
    return next(
        (pool, exposure)
        for pool in prepared.pools
        for asset in pool.assets
        for exposure in asset.exposures
        if exposure.symbol.name == symbol and not pool.isolated
    )
