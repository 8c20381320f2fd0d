"""Does this plan hold at every step, and in every scenario, by the exact judge?

The programme's amounts are rounded to what can be moved, put in an order, and done one after another on copies of the
accounts; after each step the venue's lines are measured as for a what-if. The accounts that come out are judged in
every scenario: floats decide where they are far from the line, the exact reference decides near it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from typing import Literal, NamedTuple

import numpy as np

from crossmargin.analytics.allocation_decisions import (
    OPENED,
    RECEIVED,
    REDUCED,
    SENT,
    Decision,
    Problem,
    Trade,
    close,
    least_wallet,
    opening,
    with_leverage,
)
from crossmargin.analytics.allocation_lines import SAFETY, Context, rooms_of, stricter
from crossmargin.analytics.allocation_programme import WALLET
from crossmargin.analytics.allocation_rounds import Rounds
from crossmargin.analytics.allocation_scenarios import Floats, Shocks
from crossmargin.analytics.whatif import Standing, removable_wallet, shortfalls
from crossmargin.engine.changes import Booked, Books, book, wallet
from crossmargin.engine.pool import Pool
from crossmargin.engine.prepare import prepare
from crossmargin.engine.reference import measure
from crossmargin.model.change import Deposit, Transfer, Withdraw
from crossmargin.model.fund import OUTSIDE, Conversion, Pocket, Route
from crossmargin.model.instrument import parse_symbol

_ZERO = Decimal(0)
_HAIR = Decimal("0.001")
_ALL_EXACT = 2_000
"""Up to so many judgements (accounts x scenarios) every one is exact."""
_FLOAT_ERROR = 1e-9
"""A float headroom is trusted where it is farther from the line than this share of the pool's size."""
Phase = Literal["set", "reduce", "send", "receive", "open"]
PHASES: dict[int, Phase] = {REDUCED: "reduce", SENT: "send", RECEIVED: "receive", OPENED: "open"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What a step did to one pool, in its ``currency``: free collateral and headroom at the present prices."""

    account: str
    pool: str
    currency: str
    free_collateral_before: Decimal | None
    free_collateral_after: Decimal | None
    headroom_before: Decimal
    headroom_after: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One step of a plan.

    ``amount`` of ``asset`` is sent, sold or moved (into the pocket of ``symbol``; below 0 out of it), or ``quantity``
    contracts of ``symbol`` are traded at ``price`` (+ buys; what opens at ``leverage``), or a ``leverage`` or
    ``margin_mode`` is set, or ``amount`` of bonus credit in ``asset`` given up. ``receives`` of ``received_asset``
    arrives. ``cost`` is in the fund's currency. ``effects``: on each pool touched.
    """

    phase: Phase
    kind: Literal["close", "convert", "send", "open", "move", "set_leverage", "set_margin_mode", "forfeit_bonus"]
    words: str
    account: str
    to: str | None = None
    asset: str | None = None
    amount: Decimal | None = None
    received_asset: str | None = None
    receives: Decimal | None = None
    symbol: str | None = None
    quantity: Decimal | None = None
    position_side: Literal["net", "long", "short"] | None = None
    price: Decimal | None = None
    leverage: Decimal | None = None
    margin_mode: Literal["cross", "isolated"] | None = None
    delay_hours: Decimal = _ZERO
    cost: Decimal
    effects: tuple[Effect, ...] = ()


class Short(NamedTuple):
    """A line that a rounded plan misses: which rows to tighten (``tag``), and by how much in the pool's currency."""

    tag: tuple[int, str, str, int]
    amount: Decimal


class Worst(NamedTuple):
    """The least of a pool over the scenarios, less its buffer's amount and share; exact."""

    room: Decimal
    headroom: Decimal
    scenario: str


class Judged(NamedTuple):
    """The verdict of the exact judge: what is short, the steps, each pool's worst, how many judgements were exact."""

    short: list[Short]
    moves: tuple[Move, ...]
    worst: dict[tuple[int, str], Worst]
    exact: int
    total: int
    books: list[Books]


# rounding -------------------------------------------------------------------------------------------------------------


def rounded(problem: Problem, x: Sequence[Decimal]) -> list[Decimal]:
    """Amounts in whole quanta: what comes in from outside rounded up, what leaves down, the rest to the nearest.

    Steps of impact are filled from the best price on.
    """
    found = []
    for decision, value in zip(problem.decisions, x, strict=True):
        unit = decision.lot or decision.quantum
        source = decision.source
        way = ROUND_HALF_EVEN
        if isinstance(source, Route):
            way = ROUND_CEILING if source.source == OUTSIDE else ROUND_FLOOR if source.target == OUTSIDE else way
        units = value / unit
        if decision.trade is not None and decision.lot is None and problem.is_edged(decision.trade):
            # the smaller position is on the near side of a jump; what rounding has moved is not made a quantum
            closes = decision.trade.entry is not None
            way, units = (ROUND_CEILING, units - _HAIR) if closes else (ROUND_FLOOR, units + _HAIR)
        amount = units.to_integral_value(way) * unit if value > unit / 1000 else _ZERO
        if decision.most is not None:
            amount = min(amount, decision.most)
        found.append(amount)
    _fill_best_first(problem, found)
    _leave_closed(problem, found)
    for limit in problem.limits:
        over = sum((found[j] for j in limit.decisions), _ZERO) - (limit.most if limit.most is not None else _ZERO)
        if limit.most is not None and over > 0:
            last = max(limit.decisions, key=lambda j: found[j])
            found[last] -= over
        short = (limit.least or _ZERO) - sum((found[j] for j in limit.decisions), _ZERO)
        if short > 0:
            found[limit.decisions[-1]] += short
    return found


def _fill_best_first(problem: Problem, x: list[Decimal]) -> None:
    groups: dict[tuple[int, str, str, Decimal], list[int]] = {}
    for j, decision in enumerate(problem.decisions):
        trade = decision.trade
        if trade is not None:
            groups.setdefault((trade.account, trade.symbol, trade.position_side, trade.unit), []).append(j)
    for group in groups.values():
        left = sum((x[j] for j in group), _ZERO)
        for j in group:
            most = problem.decisions[j].most
            x[j] = left if most is None else min(left, most)
            left -= x[j]


def _leave_closed(problem: Problem, x: list[Decimal]) -> None:
    """Margin neither leaves nor enters a pocket that is closed whole: it went with the position."""
    for account, _ in enumerate(problem.books):
        closes = problem.closes(account)
        closed = {t.pocket for _, t in closes if sum(x[k] for k, own in closes if own.pocket == t.pocket) >= t.held}
        for j, decision in enumerate(problem.decisions):
            if isinstance(decision.source, Pocket) and decision.effects[0].account == account:
                x[j] = _ZERO if decision.effects[1].pocket in closed else x[j]


# steps ----------------------------------------------------------------------------------------------------------------


def judge(
    rounds: Rounds, shocks: Shocks, x: Sequence[Decimal], *, tighten: bool, given_up: Sequence[int] = ()
) -> Judged:
    """Do the plan step by step and judge it in every scenario but the ones given up; in the judge's context.

    ``tighten``: what falls short in a scenario is reported as short too (else it is only measured).
    """
    problem = rounds.problem
    runner = _Runner(rounds, x)
    runner.run()
    short = runner.short
    worst: dict[tuple[int, str], Worst] = {}
    exact = total = 0
    every = len(shocks) * len(problem.books) <= _ALL_EXACT
    for account, books in enumerate(runner.books):
        if not rounds.guards[account]:
            continue
        rounds.add_worst_of_box(account, books.account)
        if problem.fund.safety.in_transit:
            short += _in_transit(rounds, shocks, account, runner.in_transit[account], given_up)
        found, judged = _scenarios(rounds, shocks, account, books, every=every, given_up=given_up)
        exact, total = exact + judged, total + len(shocks) - len(given_up)
        worst |= {(account, pool): own for pool, own in found.items()}
        for pool, own in found.items():
            if tighten and own.room < 0:
                short.append(Short((account, pool, SAFETY, OPENED), -own.room))
    return Judged(short, tuple(runner.moves), worst, exact, total, runner.books)


def worst_now(rounds: Rounds, shocks: Shocks) -> dict[tuple[int, str], Worst]:
    """Each pool's worst as the accounts stand."""
    found: dict[tuple[int, str], Worst] = {}
    for account, books in enumerate(rounds.problem.books):
        if rounds.guards[account]:
            own, _ = _scenarios(rounds, shocks, account, books, every=False)
            found |= {(account, pool): worst for pool, worst in own.items()}
    return found


def _in_transit(rounds: Rounds, shocks: Shocks, account: int, books: Books, given_up: Sequence[int]) -> Iterator[Short]:
    """What an account is short of in a scenario while money is in transit; exact where floats cannot tell."""
    problem = rounds.problem
    if books is problem.books[account]:
        return  # what is as it was is no worse
    rounds.add_worst_of_box(account, books.account)
    prepared = stricter(prepare(*books, number=float), problem)
    rooms, exact = shocks.rooms(prepared, account), prepare(*books)
    for column, pool in enumerate(prepared.pools):
        if pool.name not in rounds.guards[account]:
            continue
        slack = rooms[:, column] - rounds.needed_everywhere(account, SENT, pool.name)
        slack[list(given_up)] = np.inf
        for row in np.flatnonzero(slack < _FLOAT_ERROR * (_size(pool) + 1)).tolist():
            market = shocks.market(exact, account, row)
            moved = stricter(prepare(books.account, market, books.rules), problem).pools
            own = next(other for other in moved if other.name == pool.name)
            missed = rounds.needed_in(Context(account, SENT, row), pool.name) - measure(own).headroom
            if missed > 0:
                yield Short((account, pool.name, SAFETY, SENT), missed)


def _size(pool: Pool) -> float:
    """What a pool's figures are made of, all of it counted as positive."""
    total = 0.0
    for own in pool.assets:
        notional = sum(e.notional(leg.size, e.mark) for e in own.exposures for leg in e.legs)
        total += (abs(own.cash) + notional) * own.price
    return total


def _scenarios(
    rounds: Rounds, shocks: Shocks, account: int, books: Books, *, every: bool, given_up: Sequence[int] = ()
) -> tuple[dict[str, Worst], int]:
    """Each pool's worst over the scenarios: the rows that floats cannot tell from it are judged exactly."""
    safety, problem = rounds.problem.fund.safety, rounds.problem
    prepared = stricter(prepare(*books, number=float), problem)
    rooms = shocks.rooms(prepared, account)
    rooms[list(given_up)] = np.inf
    sizes = [_size(pool) for pool in prepared.pools]
    rows: dict[int, set[str]] = {}
    for column, pool in enumerate(prepared.pools):
        if pool.name in rounds.guards[account]:
            for row in _near(
                rooms[:, column], safety.buffer(problem.id(account), pool.name).amount, sizes[column], every
            ):
                rows.setdefault(row, set()).add(pool.name)
    decimal = prepare(*books)
    worst: dict[str, Worst] = {}
    for row, pools in rows.items():
        market = shocks.market(decimal, account, row)
        plain = {p.name: measure(p).headroom for p in prepare(books.account, market, books.rules).pools}
        for pool in stricter(prepare(books.account, market, books.rules), problem).pools:
            if pool.name in pools:
                room = measure(pool).headroom - safety.buffer(problem.id(account), pool.name).amount
                if pool.name not in worst or room < worst[pool.name].room:
                    worst[pool.name] = Worst(room, plain[pool.name], shocks.names[row])
    return worst, len(rows)


def _near(rooms: Floats, amount: Decimal, size: float, every: bool) -> list[int]:
    """The rows that may be the worst, or on either side of the line, as far as floats can tell; with ``every`` all."""
    if every:
        return np.flatnonzero(rooms < np.inf).tolist()
    error = _FLOAT_ERROR * (size + 1)
    rows: list[int] = np.flatnonzero((rooms <= rooms.min() + error) | (np.abs(rooms - float(amount)) < error)).tolist()
    return rows


class _Runner:
    """The accounts as the steps are done."""

    def __init__(self, rounds: Rounds, x: Sequence[Decimal]) -> None:
        self.rounds, self.problem, self.x = rounds, rounds.problem, x
        self.books = self.in_transit = list(rounds.problem.books)
        self.moves: list[Move] = []
        self.place: dict[int, int] = {}
        self.short: list[Short] = []
        self.standing = [Standing.of(books) for books in self.books]

    def run(self) -> None:
        for stage in (REDUCED, SENT, RECEIVED, OPENED):
            waiting = [j for j, d in enumerate(self.problem.decisions) if self.x[j] and stage in _stages(d)]
            # what the order of the list forbids may be allowed after another step
            progress = True
            while waiting and progress:
                progress = False
                for j in list(waiting):
                    if self._try(j, stage, force=False):
                        waiting.remove(j)
                        progress = True
            for j in waiting:
                self._try(j, stage, force=True)
            for account in range(len(self.books)):
                self._look(account, stage)
            if stage == SENT:
                self.in_transit = list(self.books)

    def _look(self, account: int, stage: int) -> None:
        """What arrives and what closes is never refused: the lines are looked at when the stage is over."""
        for asset in self.problem.assets(account):
            least = least_wallet(self.problem, account, asset)
            missed = _ZERO if least is None else least - wallet(self.books[account].account, asset)
            if missed > 0:
                self.short.append(Short((account, asset, WALLET, stage), missed))
        for pool, state in self.standing[account].states.items():
            if pool not in self.rounds.guards[account]:
                continue
            for name, room in rooms_of(
                state, Context(account, stage, None), leaving=self.problem.leaves(account, stage)
            ).items():
                missed = self.rounds.needed(account, stage, pool, name, self.x) - (room or _ZERO)
                if missed > 0:
                    self.short.append(Short((account, pool, name, stage), missed))

    def _try(self, j: int, stage: int, *, force: bool) -> bool:
        decision = self.problem.decisions[j]
        account, done, leaving, checked = self._done(j, decision, stage)
        before, after = self.standing[account], Standing.of(done.books)
        if checked and not done.reducing:
            lines = shortfalls(before, after, leaving=leaving)
            missed = {name: left for name, left in lines.items() if left is None or left < 0}
            if missed and not force:
                return False
            for name, left in missed.items():
                line, _, pool = name.partition(" of ")
                self.short.append(Short((account, pool, line, stage), -(left or _ZERO)))
            if leaving and isinstance(decision.source, Route):
                self._wallet(account, decision.source.asset, self.x[j], stage)
        effects = effects_of(self.problem.id(account), before, after)
        self.books[account], self.standing[account] = done.books, after
        if stage == RECEIVED and isinstance(decision.source, Route) and decision.source.source != OUTSIDE:
            sent = self.moves[self.place[j]]
            self.moves[self.place[j]] = replace(sent, effects=(*sent.effects, *effects))
        else:
            self.place[j] = len(self.moves)
            self.moves.append(self._move(j, decision, stage, effects))
        return True

    def _wallet(self, account: int, asset: str, amount: Decimal, stage: int) -> None:
        books = self.books[account]
        most = removable_wallet(books.account, books.rules, asset)
        if most is not None and amount > most:
            self.short.append(Short((account, asset, WALLET, stage), amount - most))

    def _done(self, j: int, decision: Decision, stage: int) -> tuple[int, Booked, bool, bool]:
        """(account, its books after the step, whether money leaves, whether the venue has a say)."""
        trade, source, amount = decision.trade, decision.source, self.x[j]
        if decision.setting is not None:
            account = decision.setting.more.account
            return account, Booked(with_leverage(self.books[account], decision.setting)), False, True
        if trade is not None:
            change = opening(trade, amount, self._leverage(trade)) if trade.entry is None else close(trade, amount)
            return trade.account, book(self.books[trade.account], change), False, True
        if isinstance(source, Pocket):
            move = Transfer.model_construct(
                symbol=source.symbol, amount=decision.effects[1].amount * amount, position_side=source.position_side
            )
            account = decision.effects[0].account
            return account, book(self.books[account], move), True, True
        here = [e for e in decision.effects if e.stage == stage]
        books = self.books[here[0].account]
        for effect in here:
            units = effect.amount * amount
            if decision.fee_at is not None and decision.fee_at.account == effect.account and stage == RECEIVED:
                units += decision.fee_at.amount
            change_of = Deposit if units > 0 else Withdraw
            books = book(books, change_of.model_construct(asset=effect.asset, amount=abs(units))).books
        leaving = isinstance(source, Route) and stage == SENT
        return here[0].account, Booked(books), leaving, leaving or isinstance(source, Conversion)

    def _leverage(self, trade: Trade) -> Decimal | None:
        return self.problem.leverage(trade.account, trade.symbol, self.x) or trade.leverage

    def _move(self, j: int, decision: Decision, stage: int, effects: tuple[Effect, ...]) -> Move:
        amount, source = self.x[j], decision.source
        cost = decision.cost * amount + decision.fee_cost
        if isinstance(source, Route):
            return Move(
                phase=PHASES[stage],
                kind="send",
                words=decision.words,
                account=source.source,
                to=source.target,
                asset=source.asset,
                amount=amount,
                received_asset=source.asset,
                receives=amount * (1 - source.fee_rate) - source.fee,
                delay_hours=source.delay_hours,
                cost=cost,
                effects=effects,
            )
        if isinstance(source, Conversion):
            return Move(
                phase=PHASES[stage],
                kind="convert",
                words=decision.words,
                account=source.account,
                asset=source.sell,
                amount=amount,
                received_asset=source.buy,
                receives=amount * decision.effects[1].amount,
                cost=cost,
                effects=effects,
            )
        if isinstance(source, Pocket):
            return Move(
                phase=PHASES[stage],
                kind="move",
                words=decision.words,
                account=source.account,
                asset=decision.effects[0].asset,
                amount=decision.effects[1].amount * amount,
                symbol=source.symbol,
                position_side=source.position_side,
                cost=cost,
                effects=effects,
            )
        if decision.setting is not None:
            return Move(
                phase=PHASES[stage],
                kind="set_leverage",
                words=decision.words,
                account=source.account,
                symbol=source.symbol,
                leverage=decision.setting.leverage,
                cost=cost,
                effects=effects,
            )
        return self._fill(decision, source.account, amount, stage, cost, effects)

    def _fill(
        self,
        decision: Decision,
        account: str,
        amount: Decimal,
        stage: int,
        cost: Decimal,
        effects: tuple[Effect, ...],
    ) -> Move:
        trade = decision.trade
        assert trade is not None  # an order is a trade
        return Move(
            phase=PHASES[stage],
            kind="open" if trade.entry is None else "close",
            words=decision.words,
            account=account,
            received_asset=parse_symbol(trade.symbol).settle,
            receives=decision.effects[0].amount * amount,
            symbol=trade.symbol,
            quantity=trade.unit * amount,
            position_side=trade.position_side,
            price=trade.price,
            leverage=self._leverage(trade) if trade.entry is None else None,
            cost=cost,
            effects=effects,
        )


def effects_of(account: str, before: Standing, after: Standing) -> tuple[Effect, ...]:
    """What a step did to every pool that it touched."""
    found = []
    for name, state in after.states.items():
        was = before.states.get(name)
        figures = (state.equity, state.maintenance, state.initial)
        if was is not None and (was.equity, was.maintenance, was.initial) == figures:
            continue
        found.append(
            Effect(
                account=account,
                pool=name,
                currency=state.pool.currency,
                free_collateral_before=None if was is None or was.initial is None else was.initial_equity - was.initial,
                free_collateral_after=None if state.initial is None else state.initial_equity - state.initial,
                headroom_before=_ZERO if was is None else was.headroom,
                headroom_after=state.headroom,
            )
        )
    return tuple(found)


def _stages(decision: Decision) -> Iterator[int]:
    """The stages at which a decision is a step; what goes outside leaves, what comes from there arrives."""
    if decision.trade is not None or decision.setting is not None:
        yield decision.stage
        return
    yield from dict.fromkeys(e.stage for e in decision.effects)
