"""Are headroom and margins of the shape that straight lines can bound, everywhere a plan can go?

A linear programme is exact where headroom is concave in what a plan changes: wallets and sizes. That is not taken from
a list of kinds but seen: each margin and each wallet that a plan can change is walked from end to end on rays.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise
from typing import Any, NamedTuple

from crossmargin.analytics.allocation_decisions import OPENED, Problem, Trade, pocket_name
from crossmargin.analytics.allocation_lines import Margin, alone, pocket_of
from crossmargin.engine.changes import Books
from crossmargin.engine.curves import Stretch, walk
from crossmargin.engine.prepare import prepare
from crossmargin.engine.ray import Line, Ray
from crossmargin.engine.reference import PoolState, asset_state, measure, pool_state
from crossmargin.engine.rooms import bracket_rooms, rooms
from crossmargin.errors import UnsupportedRule
from crossmargin.model.account import Account, Position

Num = Any
_ZERO, _ONE = Decimal(0), Decimal(1)
_NOISE = Decimal("1e-30")


class Reach(NamedTuple):
    """How many contracts trades in one direction may come to, and the rule that says so.

    ``unless`` one of these settings is done; ``only`` where this one is, and then beyond what ``closing`` closes.
    """

    account: int
    decisions: tuple[int, ...]
    most: Decimal
    why: str
    unless: tuple[int, ...] = ()
    only: int | None = None
    closing: tuple[int, ...] = ()


def check_shapes(problem: Problem) -> list[Reach]:
    """Walk everything that a plan can change, at the present prices; under the context of the judge.

    Where a requirement jumps with the size of a contract, the contract is noted as ``stepped``. Raises
    :class:`UnsupportedRule` naming the slot where it jumps otherwise, or where a wallet counts more for more. Where
    only the initial margin jumps, and where a bracket allows no more at the leverage, the trades are held short of it.
    """
    reaches: list[Reach] = []
    nothing = [_ZERO] * len(problem.decisions)
    for index, books in enumerate(problem.books):
        there = books._replace(account=problem.account_at(index, nothing, OPENED))
        prepared = prepare(*there)
        touched = problem.assets(index)
        for state in [measure(pool) for pool in prepared.pools if not pool.isolated]:
            for place, own in enumerate(state.assets):
                if own.asset.name in touched:
                    _check_wallet(books, state, place)
        symbols = dict.fromkeys(trade.symbol for _, trade in problem.trades(index))
        rules = books.rules
        if symbols and any(pool.units for pool in prepared.pools):
            why = "portfolio margin nets the contracts of a coin; leave the orders of this account out"
            raise UnsupportedRule(f"scenarios of {rules.profile}", why)
        if symbols and rules.slots.maintenance_margin.kind == "highest_rate":
            why = "every position is charged the highest rate of any; leave the orders of this account out"
            raise UnsupportedRule(f"maintenance_margin of {rules.profile}", why)
        for symbol in symbols:
            reaches += _check_contract(problem, index, symbol)
        reaches += _check_settings(problem, index)
        for j, trade in problem.closes(index):
            _check_pocket(problem, books, j, trade)
    return reaches


def _check_pocket(problem: Problem, books: Books, j: int, trade: Trade) -> None:
    """Every room of a pocket bends downward as it is closed and its margin goes with it."""
    leg = next(p for p in books.account.positions if p.margin_mode == "isolated" and pocket_name(p) == trade.pocket)
    share = problem.decisions[j].effects[1].amount

    def state(point: Num, direction: int) -> PoolState:
        ray: Num = Ray(_ZERO, _ONE, Line(point, direction, track=True))
        return measure(pocket_of(books, leg, ray * share, ray * trade.unit))

    for name in rooms(state(_ZERO, 1)):

        def room(point: Num, direction: int, name: str = name) -> Ray:
            found: Num = rooms(state(point, direction))[name]
            if found is None:
                raise UnsupportedRule(f"initial margin of {trade.symbol}", "a leverage is missing; state it")
            return found if type(found) is Ray else Ray(found, _ZERO, Line(point, direction, track=True))

        if _bend(walk(room, _ZERO, trade.held, 1), -1) is not None:
            why = f"{name} of {trade.pocket} jumps with its size; leave its orders out"
            raise UnsupportedRule(f"maintenance_margin of {books.rules.profile}", why)


def _check_wallet(books: Books, state: PoolState, place: int) -> None:
    own, pool = state.assets[place], state.pool
    if any(unit.holding is not None and unit.holding.name == own.asset.name for unit in pool.units):
        why = f"{own.asset.name} hedges contracts of its coin; leave it out of the plan"
        raise UnsupportedRule(f"scenarios of {books.rules.profile}", why)

    def room(point: Num, direction: int) -> Ray:
        line = Line(point, direction, track=True)
        rich = replace(own.asset, cash=own.asset.cash + Ray(_ZERO, _ONE, line))
        states = list(state.assets)
        states[place] = asset_state(pool, rich, own.pnl, own.maintenance, _ZERO, own.exposures)
        found = pool_state(pool, states).headroom
        return found if type(found) is Ray else Ray(found, _ZERO, line)

    if any(_bend(walk(room, _ZERO, None, way), -way) is not None for way in (1, -1)):
        why = f"{own.asset.name} counts more for more, or jumps, so headroom is not concave in its wallet"
        raise UnsupportedRule(f"collateral of {books.rules.profile}", why)


def _check_contract(problem: Problem, account: int, symbol: str) -> Iterator[Reach]:
    books, trades = problem.books[account], problem.trades(account, symbol)
    slots, legs = books.rules.slots, [p for p in books.account.positions if p.symbol == symbol]
    scopes = {slots.maintenance_margin.scope, slots.initial_margin.scope}
    if len(legs) > 1 and scopes - {"per_leg", "gross"}:
        why = f"the two legs of {symbol} are netted; leave the orders of this contract out"
        raise UnsupportedRule(f"maintenance_margin of {books.rules.profile}", why)
    settings = tuple(j for j, _ in problem.settings(account, symbol))
    for trade in {trade.unit: trade for _, trade in trades}.values():
        same = tuple(j for j, other in trades if other.unit == trade.unit)
        end = None if trade.entry is None else trade.held
        # at another price the position may stand beyond any floor, so the check goes on beyond its present size
        more = trade if trade.entry is None else trade._replace(unit=-trade.unit, entry=None)
        walks = [_along(books, trade, "maintenance", end), _along(books, more, "maintenance", None)]
        if any(_bend(own, 1) is not None for own in walks):
            if len(legs) > 1 or slots.valuation.maintenance != "mark":
                why = f"the requirement of {symbol} jumps with its size, and also depends on its other leg or its entry"
                raise UnsupportedRule(f"maintenance_margin of {books.rules.profile}", why)
            problem.stepped.add((account, symbol))
        jump = _bend(_along(books, trade, "initial", end), 1)
        if jump is not None:
            yield Reach(
                account,
                same,
                jump - alone(books, trade, trade.unit, "initial").start,
                f"beyond it the initial margin of {symbol} jumps",
                unless=settings,
            )
        if trade.entry is None:
            cap = _cap(books, trade)
            if cap is not None:
                why = f"beyond it no bracket of {symbol} allows its leverage"
                yield Reach(account, same, max(_ZERO, cap), why, unless=settings)


def _check_settings(problem: Problem, account: int) -> Iterator[Reach]:
    """What a bracket allows at each leverage that may be set, and where its initial margin jumps."""
    books = problem.books[account]
    for only, setting in problem.settings(account):
        symbol, leverage = setting.more.symbol, setting.leverage
        trades = problem.trades(account, symbol)
        legs = [p for p in books.account.positions if p.symbol == symbol]
        sides = {(_ONE.copy_sign(p.quantity), p.position_side) for p in legs}
        for unit, side in sorted(sides | {(t.unit, t.position_side) for _, t in trades if t.entry is None}):
            own = [(j, t) for j, t in trades if t.position_side == side]
            cap = _cap(books, setting.more._replace(unit=unit, position_side=side), leverage)
            if cap is not None:
                opens = tuple(j for j, t in own if t.entry is None and t.unit == unit)
                closing = tuple(j for j, t in own if t.entry is not None)
                why = f"beyond it no bracket of {symbol} allows a leverage of {leverage}"
                yield Reach(account, opens, cap, why, only=only, closing=closing)
        for trade in {trade.unit: trade for _, trade in trades}.values():
            same = tuple(j for j, other in trades if other.unit == trade.unit)
            jump = _bend(_along(books, trade, "initial", None if trade.entry is None else trade.held, leverage), 1)
            if jump is not None:
                most = jump - alone(books, trade, trade.unit, "initial").start
                yield Reach(account, same, most, f"beyond it the initial margin of {symbol} jumps", only=only)


def _along(
    books: Books, trade: Trade, margin: Margin, end: Decimal | None, leverage: Decimal | None = None
) -> list[Stretch]:
    own = alone(books, trade, trade.unit, margin, leverage)
    return walk(own.function, own.start, end, 1)


def _cap(books: Books, trade: Trade, leverage: Decimal | None = None) -> Decimal | None:
    """How many contracts may open before the bracket allows less than the leverage; None = as many as one likes.

    At the leverage that it has unless another is given. Below 0 where there are too many already.
    """
    held = next(
        (
            p
            for p in books.account.positions
            if p.symbol == trade.symbol and p.position_side == trade.position_side and p.margin_mode == "cross"
        ),
        None,
    )
    quantity = _ZERO if held is None else held.quantity
    rooms = []
    for more in (_ONE, _ONE + 1):
        leg = held or Position(symbol=trade.symbol, quantity=_ONE, entry_price=trade.price, leverage=trade.leverage)
        leg = leg.model_copy(update={"quantity": quantity + trade.unit * more, "leverage": leverage or leg.leverage})
        alone_ = Account(profile=books.account.profile).model_copy(update={"positions": (leg,)})
        rooms.append(next(iter(bracket_rooms(prepare(alone_, books.market, books.rules)).values()), None))
    if rooms[0] is None or rooms[1] is None:
        return None
    # what is counted grows by the same with each contract
    return _ONE + rooms[0] / (rooms[0] - rooms[1])


def _bend(found: list[Stretch], sign: int) -> Num | None:
    """Where a function that should bend upward (``sign`` 1) first does not, or jumps; None = nowhere."""
    for one, two in pairwise(found):
        at = two.ray.line.point
        before, after = one.ray.at(at), two.ray.at(at)
        slopes = one.ray.slope(at), two.ray.slope(at)
        size = abs(before) + abs(slopes[0] * at) + 1
        if abs(after - before) > _NOISE * size or (slopes[1] - slopes[0]) * sign < -_NOISE * (abs(slopes[0]) + 1):
            return two.start
    return None
