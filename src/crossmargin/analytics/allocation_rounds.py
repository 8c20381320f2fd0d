"""Which of all scenarios and rules bind the best plan?

Few of them do, so few are ever written down. The programme starts with the worst scenarios at the present point; it is
solved, every scenario is judged at the plan found, the lines of those that break are added, and so on until none
breaks. The programme only ever lacks lines, so what it finds is a bound; when nothing breaks it is the optimum.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np

from crossmargin.analytics.allocation_decisions import FAR, OPENED, RECEIVED, REDUCED, SENT, Problem, pool_of
from crossmargin.analytics.allocation_lines import (
    SAFETY,
    Context,
    RoomLine,
    Term,
    TermLine,
    guarded,
    read,
    rooms_of,
    stricter,
)
from crossmargin.analytics.allocation_master import Master, Row, Solved
from crossmargin.analytics.allocation_order import taking
from crossmargin.analytics.allocation_programme import EDGE, Programme
from crossmargin.analytics.allocation_scenarios import NOW, Shocks
from crossmargin.analytics.allocation_shapes import Reach, check_shapes
from crossmargin.analytics.box import coordinates, least
from crossmargin.engine.curves import anatomy
from crossmargin.engine.prepare import prepare
from crossmargin.engine.reference import measure
from crossmargin.errors import UnsupportedRule
from crossmargin.model.account import Account
from crossmargin.model.fund import Weight
from crossmargin.model.instrument import parse_symbol
from crossmargin.model.number import plain

_ZERO, _ONE = Decimal(0), Decimal(1)
_TIGHT = 1e-10
_MANY = 4  # scenarios of a pool whose lines are added in one round
_MOST_ROUNDS = 400
_DIGITS = Decimal(1).scaleb(-12)


class Found(NamedTuple):
    """The end of the rounds: what the programme says, how often it was asked, whether it was given up as worse."""

    solved: Solved
    rounds: int
    beaten: bool = False


class Column(NamedTuple):
    """A column that the rounds have added: a margin, or (a whole number) a choice of 0 or 1."""

    key: Any
    scale: float
    integer: bool = False


class _Look(NamedTuple):
    """A point to be judged: the decisions, the headroom asked for, what is broken there on purpose.

    ``seed``: add lines whether something breaks or not.
    """

    x: list[Decimal]
    z: float = 0.0
    broken: Mapping[Any, float] = {}
    seed: bool = False


@dataclass(slots=True)
class _Cut:
    """A room's line as it stands in the programme, to see whether it is tight at another point."""

    constant: float
    slopes: dict[int, float]
    fees: dict[int, float]
    terms: dict[Term, float]


@dataclass(slots=True)
class Rounds:
    """A fund's programme with the lines found so far; they hold for every plan, so every question shares them."""

    problem: Problem
    shocks: Shocks
    weights: Mapping[Weight, float]
    reaches: list[Reach]
    programme: Programme
    guards: list[set[str]] = field(default_factory=list)
    base: dict[tuple[int, int, str, str], Decimal] = field(default_factory=dict)
    currencies: dict[tuple[int, str], str] = field(default_factory=dict)
    """The currency of every pool seen, by account and pool."""
    _added: list[Column | Row] = field(default_factory=list)
    _pieced: set[Term] = field(default_factory=set)
    _cuts: dict[tuple[Context, str, str], list[_Cut]] = field(default_factory=dict)
    _lines: dict[Term, list[tuple[float, dict[int, float]]]] = field(default_factory=dict)
    _size: float = 1.0
    _seen: dict[tuple[int, int], tuple[Any, Any, Any]] = field(default_factory=dict)
    _base_in: dict[tuple[int, str, int], Decimal] = field(default_factory=dict)
    _now: dict[int, tuple[int, dict[str, Any]]] = field(default_factory=dict)

    @classmethod
    def of(cls, problem: Problem, shocks: Shocks, weights: Mapping[Weight, float]) -> Rounds:
        """Check the shapes, and measure every pool as it stands; under the context of the judge."""
        reaches, size = check_shapes(problem), float(problem.size)
        programme = Programme(problem, weights, reaches, shocks, size)
        made = cls(problem, shocks, weights, reaches, programme, _size=size)
        for index, books in enumerate(problem.books):
            prepared = prepare(*books)
            guards = set(guarded(prepared))
            opens = [parse_symbol(trade.symbol).settle for _, trade in problem.trades(index) if trade.entry is None]
            owes = [borrow.asset for borrow in problem.fund.borrows if borrow.account == problem.id(index)]
            guards |= {pool_of(books.rules, asset) for asset in (*opens, *owes)}
            made.guards.append(guards)
            for pool in prepared.pools:
                state = measure(pool)
                for stage in (REDUCED, SENT, RECEIVED, OPENED):
                    for name, room in rooms_of(state, Context(index, stage, None), leaving=True).items():
                        if room is not None:
                            made.base[index, stage, pool.name, name] = room
                            if room < 0 and (steps := taking(problem, index, pool.name, stage)):
                                problem.lowering[index, pool.name, stage] = steps
        return made

    @property
    def lines(self) -> int:
        """How many lines have been read off the judge."""
        return sum(isinstance(item, Row) for item in self._added)

    @property
    def limit_units(self) -> dict[str, str]:
        """What each named limit is counted in."""
        units = {
            limit_name(self.problem, c.account, pool, name): self.currencies[c.account, pool]
            for c, pool, name in self._cuts
        }
        for limit in self.problem.limits:
            source = self.problem.decisions[limit.decisions[0]].source
            if limit.name is not None:
                units[limit.name] = getattr(source, "asset", getattr(source, "sell", "contracts"))
        return units

    def master(self, *, elastic: bool = False, without: frozenset[str] = frozenset(), aim: bool = True) -> Master:
        """A programme with every line found so far; ``aim=False``: any plan is as good."""
        master = Master(elastic=elastic, without=without)
        self.programme.start(master, aim=aim)
        for item in self._added:
            self._put(master, item)
        return master

    # the rounds ------------------------------------------------------------------------------------------------------

    def run(self, master: Master, beat: float = float("inf")) -> Found:
        """Solve, judge everything, add the lines of what breaks, until nothing does or no plan is better than ``beat``.

        Lines are only ever added, so each solution is a bound.
        """
        if not self._added:
            self._look(master, _Look([_ZERO] * len(self.problem.decisions), seed=True))
        for count in range(1, _MOST_ROUNDS + 1):
            solved = master.solve()
            if solved.status != "optimal":
                return Found(solved, count)
            if solved.bound > beat:
                return Found(solved, count, beaten=True)
            if not self._look(master, _Look(self.point(solved), solved.values.get("z", 0.0), solved.values)):
                return Found(solved, count)
        raise UnsupportedRule("allocation", f"the lines do not close in after {_MOST_ROUNDS} rounds")

    def point(self, solved: Solved) -> list[Decimal]:
        """The decisions of a solution, cleaned of the solver's rounding."""
        found = []
        for j, decision in enumerate(self.problem.decisions):
            value = solved.values["x", j]
            if decision.lot is not None:
                found.append(round(value / float(decision.lot)) * decision.lot)
                continue
            used = not decision.is_switched or solved.values["y", j] > 0.5
            cut = Decimal(max(value, 0.0) if used else 0.0).quantize(_DIGITS)
            found.append(min(cut, decision.most) if decision.most is not None else cut)
        for contract, ways in self.problem.both_ways().items():
            for j in ways[-_ONE if solved.values["buys", *contract] > 0.5 else _ONE]:
                found[j] = _ZERO
        return found

    def _look(self, master: Master, at: _Look) -> int:
        """Judge every pool at a point; add the lines of what breaks there. Returns how many lines were new."""
        added = 0
        for account, _ in enumerate(self.problem.books):
            for stage in self._stages(account):
                added += self._at_present(master, account, stage, at)
            for stage in (SENT, OPENED) if self.problem.fund.safety.in_transit else (OPENED,):
                added += self._in_scenarios(master, account, stage, at)
        return added

    def _stages(self, account: int) -> Iterator[int]:
        """The stages at which something changes for an account, and the last."""
        problem = self.problem
        changed = {e.stage for d in problem.decisions for e in d.effects if e.account == account}
        changed |= {problem.decisions[j].stage for j, _ in problem.settings(account)}
        yield from sorted(changed | {OPENED})

    def _at_present(self, master: Master, account: int, stage: int, at: _Look) -> int:
        """Every line of the venue, at the present prices after a stage."""
        problem, context = self.problem, Context(account, stage, None)
        books = problem.books[account]
        there = problem.account_at(account, at.x, stage)
        prepared = prepare(there, books.market, books.rules)
        short = set()
        may_break = self.guards[account] | set(guarded(prepared))
        for pool in prepared.pools:
            state = measure(pool)
            self.currencies[account, pool.name] = pool.currency
            price = float(problem.prices[pool.currency])
            for name, room in rooms_of(state, context, leaving=problem.leaves(account, stage)).items():
                least = self.needed(account, stage, pool.name, name, at.x)
                if room is None and pool.name not in may_break:
                    continue
                slack = float("-inf") if room is None else float(room - least) * price
                seeded = at.seed and pool.name in may_break
                if seeded or slack < self._broken(name, pool.name, account, at):
                    short.add(pool.name)
        if not short:
            return 0
        return self._cut(master, context, at.x, books.market, short)

    def _broken(self, name: str, pool: str, account: int, at: _Look) -> float:
        """Below which slack a room counts as broken; in the elastic form what is broken already is paid for."""
        paid = at.broken.get(("broken", limit_name(self.problem, account, pool, name)), 0.0)
        return -_TIGHT * self._size - paid * self._price(account, pool)

    def _price(self, account: int, pool: str) -> float:
        return float(self.problem.prices[self.currencies[account, pool]])

    def needed(self, account: int, stage: int, pool: str, name: str, x: Sequence[Decimal]) -> Decimal:
        """What a room must come to: at the end and where a step takes from it 0, else no less than it is short of now.

        A step that takes from a pool which lacks room is refused at any time, and what adds to it is done before.
        """
        if stage == OPENED or any(x[j] for j in self.problem.lowering.get((account, pool, stage), ())):
            return _ZERO
        return self._short_now(account, stage, pool, name)

    def _short_now(self, account: int, stage: int, pool: str, name: str) -> Decimal:
        return min(_ZERO, self.base.get((account, stage, pool, name), _ZERO))

    def given_up(self, values: Mapping[Any, float]) -> list[int]:
        """The draws that a solution lets break."""
        return [row for row in self.shocks.drawn if values.get(("miss", row), 0.0) > 0.5]

    def needed_in(self, context: Context, pool: str) -> Decimal:
        """What headroom must come to in a scenario: the buffer; in transit no less than it would be short of it now."""
        problem, account = self.problem, context.account
        assert context.row is not None  # the present prices have lines of their own
        if context.stage == OPENED:
            return problem.fund.safety.buffer(problem.id(account), pool).amount
        key = account, pool, context.row
        if key not in self._base_in:
            books = problem.books[account]
            market = self.shocks.market(prepare(*books), account, context.row)
            for own in stricter(prepare(books.account, market, books.rules), problem).pools:
                amount = problem.fund.safety.buffer(problem.id(account), own.name).amount
                self._base_in[account, own.name, context.row] = min(amount, measure(own).headroom)
        return self._base_in.get(key, _ZERO)

    def needed_everywhere(self, account: int, stage: int, pool: str) -> Any:
        """The same in every scenario, in floats."""
        problem = self.problem
        amount = float(problem.fund.safety.buffer(problem.id(account), pool).amount)
        if stage == OPENED:
            return amount
        key, found = len(self.shocks), self._now.get(account)
        if found is None or found[0] != key:
            prepared = stricter(prepare(*problem.books[account], number=float), problem)
            rooms = self.shocks.rooms(prepared, account)
            found = key, {own.name: rooms[:, column] for column, own in enumerate(prepared.pools)}
            self._now[account] = found
        return np.minimum(amount, found[1].get(pool, 0.0))

    def _in_scenarios(self, master: Master, account: int, stage: int, at: _Look) -> int:
        """Every scenario at the end of the plan, or while money is in transit."""
        problem, books = self.problem, self.problem.books[account]
        if not self.guards[account]:
            return 0
        there = problem.account_at(account, at.x, stage)
        self.add_worst_of_box(account, there)
        key = (there.balances, there.positions, len(self.shocks))
        if (account, stage) in self._seen and self._seen[account, stage][0] == key:
            _, names, rooms = self._seen[account, stage]
        else:
            prepared = stricter(prepare(there, books.market, books.rules, number=float), problem)
            names = [(pool.name, pool.currency) for pool in prepared.pools]
            rooms = self.shocks.rooms(prepared, account)
            self._seen[account, stage] = (key, names, rooms)
        wanted: dict[int, set[str]] = {}
        given_up = self.given_up(at.broken)
        for column, (pool, currency) in enumerate(names):
            if pool not in self.guards[account]:
                continue
            price = float(problem.prices[currency])
            needed = self.needed_everywhere(account, stage, pool)
            slack = (rooms[:, column] - needed) * price - (at.z if stage == OPENED else 0.0)
            slack[given_up] = float("inf")
            order = np.argsort(slack, kind="stable")[:_MANY] if len(slack) <= 10_000 else _least_of(slack, _MANY)
            for row in order.tolist():
                if at.seed or slack[row] < self._broken(SAFETY, pool, account, at):
                    wanted.setdefault(row, set()).add(pool)
        added = 0
        exact = prepare(there, books.market, books.rules) if wanted else None
        for row, pools in wanted.items():
            assert exact is not None  # there is something wanted
            market = self.shocks.market(exact, account, row)
            added += self._cut(master, Context(account, stage, row), at.x, market, pools)
        return added

    def add_worst_of_box(self, account: int, there: Account) -> None:
        """The worst point of the box for each pool becomes a scenario, if there is a box and it is not one yet."""
        problem, books = self.problem, self.problem.books[account]
        bounds = problem.fund.safety.box
        if not bounds:
            return
        prepared = stricter(prepare(there, books.market, books.rules), problem)
        for pool in prepared.pools:
            if pool.name in self.guards[account]:
                state = measure(pool)
                own = coordinates(state, prepared.rules.reference_currency, bounds)
                moves = least(anatomy(state, *own), bounds).moves
                cut = {
                    coin: min(max(m.quantize(_DIGITS), bounds[coin][0]), bounds[coin][1]) for coin, m in moves.items()
                }
                words = ", ".join(f"{coin} {plain(move * 100)} %" for coin, move in sorted(cut.items()) if move)
                name = f"box: {words or 'nothing moves'}"
                if name not in self.shocks.names:
                    self.shocks.add_moves(name, cut)

    # lines -----------------------------------------------------------------------------------------------------------

    def _cut(self, master: Master, context: Context, x: list[Decimal], market: Any, pools: set[str]) -> int:
        """Add the lines that hold at a point, where those that are there already do not."""
        reading = read(self.problem, context, x, market, pools)
        values = {term: float(line.value) for term, line in reading.terms.items()}
        point = {j: float(value) for j, value in enumerate(x) if value}
        added = 0
        for term, line in reading.terms.items():
            slopes = {j: float(slope) for j, slope in line.slopes.items()}
            constant = values[term] - sum(slope * point.get(j, 0.0) for j, slope in slopes.items())
            unit = self._size / float(self.problem.prices[parse_symbol(term.symbol).settle])
            known = self._lines.setdefault(term, [])
            if line.pieces:
                added += self._in_pieces(master, term, line, unit)
                continue
            if not known:
                self._add(master, Column(term, unit))
            at = max(
                (c + sum(s * point.get(j, 0.0) for j, s in own.items()) for c, own in known), default=-float("inf")
            )
            self._supports(at, values[term], unit, f"the margin of {term.symbol}", context)
            if at < values[term] - _TIGHT * unit:
                known.append((constant, slopes))
                coefficients: dict[Any, float] = {("x", j): -slope for j, slope in slopes.items()}
                self._add(master, Row(None, None, {**coefficients, term: 1.0}, constant, size=unit))
                added += 1
        for (pool, name), room in reading.rooms.items():
            added += self._room(master, context, pool, name, room, values, point)
        return added

    def _in_pieces(self, master: Master, term: Term, line: TermLine, unit: float) -> int:
        """A margin that jumps: one of its pieces is chosen, the size lies on it, the margin above its line.

        At an end where two pieces meet either may be chosen, and the lower one is what the venue charges there.
        """
        if term in self._pieced:
            return 0
        self._pieced.add(term)
        self._add(master, Column(term, unit))
        least = float(min(piece.low for piece in line.pieces))
        most = float(max(piece.high for piece in line.pieces))
        size = {("x", j): float(sign) for j, sign in line.sizes.items()}
        lows, highs, ones, charged = ({} for _ in range(4))
        for place, piece in enumerate(line.pieces):
            chosen = ("piece", term, place)
            self._add(master, Column(chosen, 1.0, integer=True))
            low, high, constant, slope = map(float, piece)
            ones[chosen], lows[chosen], highs[chosen] = 1.0, -low, high
            charged[chosen] = -min(constant + slope * low, constant + slope * high)
            # on another piece the line may lie above the margin, which is never below 0
            over = max(constant + slope * least, constant + slope * most, 0.0)
            own = {key: -slope * sign for key, sign in size.items()}
            base = constant + slope * float(line.held)
            self._add(master, Row(None, None, {**own, term: 1.0, chosen: -over}, base - over, size=unit))
        tag, held = (EDGE, term.context.account), float(line.held)
        contract = max(1.0, most)
        self._add(master, Row(None, None, {**charged, term: 1.0}, 0.0, size=unit))
        self._add(master, Row(None, None, ones, 1.0, 1.0))
        self._add(master, Row(None, None, {**size, **lows}, -held, size=contract))
        self._add(master, Row(None, tag, {**{k: -s for k, s in size.items()}, **highs}, held, size=contract))
        return 1

    def _room(
        self,
        master: Master,
        context: Context,
        pool: str,
        name: str,
        line: RoomLine,
        values: Mapping[Term, float],
        point: Mapping[int, float],
    ) -> int:
        problem, account = self.problem, context.account
        slopes = {j: float(slope) for j, slope in line.slopes.items() if slope}
        fees = {j: float(slope) for j, slope in line.fees.items() if slope}
        terms = {term: float(slope) for term, slope in line.terms.items()}
        value = float(line.value)
        cut = _Cut(0.0, slopes, fees, terms)
        cut.constant = value - _at(cut, point, values)
        known = self._cuts.setdefault((context, pool, name), [])
        price = self._price(account, pool)
        unit = self._size / price
        lowest = min((_at(own, point, values) for own in known), default=float("inf"))
        self._supports(-lowest, -value, unit, f"{name} of {pool} on {problem.id(account)}", context)
        if lowest <= value + _TIGHT * unit:
            return 0
        known.append(cut)
        coefficients: dict[Any, float] = {("x", j): slope for j, slope in slopes.items()}
        coefficients |= {("y", j): slope for j, slope in fees.items()}
        coefficients |= dict(terms)
        coefficients |= {("gift", account, asset): float(slope) for asset, slope in line.wallets.items() if slope}
        if context.row is not None:
            least = float(self.needed_in(context, pool))
            if self.weights.get("headroom") and context.stage == OPENED:
                coefficients["z"] = -1.0 / price
            if context.row in self.shocks.drawn:  # a draw that is given up may lose many times all that is at stake
                coefficients["miss", context.row] = FAR * unit
        else:
            least = 0.0 if context.stage == OPENED else float(self._short_now(account, context.stage, pool, name))
            if least and (account, pool, context.stage) in problem.lowering:
                coefficients["lowers", account, pool, context.stage] = least
        limit = limit_name(problem, account, pool, name)
        tag = (account, pool, name, context.stage)
        note = self._where(context)
        self._add(master, Row(limit, tag, coefficients, least - cut.constant, size=unit, note=note))
        return 1

    def _supports(self, below: float, value: float, unit: float, words: str, context: Context) -> None:
        """A line found elsewhere must hold here too; where it does not, the rules are not of the shape they seem."""
        if below > value + 1e-7 * unit:
            why = f"a line that holds at one plan does not hold at another ({self._where(context)}): not concave"
            raise UnsupportedRule(words, why)

    def _where(self, context: Context) -> str:
        return NOW if context.row is None else self.shocks.names[context.row]

    def _add(self, master: Master, item: Column | Row) -> None:
        self._added.append(item)
        self._put(master, item)

    def _put(self, master: Master, item: Column | Row) -> None:
        if isinstance(item, Column):
            upper = 1.0 if item.integer else float("inf")
            master.column(item.key, scale=item.scale, integer=item.integer, upper=upper)
        elif "z" in master:
            master.row(item)
        else:  # where any plan is as good, headroom beyond the buffer is none
            master.row(item._replace(coefficients={k: v for k, v in item.coefficients.items() if k != "z"}))


def _at(cut: _Cut, point: Mapping[int, float], values: Mapping[Term, float]) -> float:
    total = cut.constant + sum(slope * point.get(j, 0.0) for j, slope in cut.slopes.items())
    total += sum(slope for j, slope in cut.fees.items() if point.get(j))
    return total + sum(slope * values[term] for term, slope in cut.terms.items())


def _least_of(slack: Any, count: int) -> Any:
    few = np.argpartition(slack, count)[:count]
    return few[np.argsort(slack[few], kind="stable")]


def limit_name(problem: Problem, account: int, pool: str, name: str) -> str:
    """A line of a pool as people name it."""
    words = {SAFETY: "safety", "headroom": "liquidation level", "free_collateral": "free collateral"}
    return f"{words.get(name, name)} of {pool} on {problem.id(account)}"
