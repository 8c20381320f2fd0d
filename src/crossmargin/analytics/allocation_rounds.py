"""Which of all scenarios and rules bind the best plan?

Few of them do, so few are ever written down. The programme starts with the worst scenarios at the present point; it is
solved, every scenario is judged at the plan found, the lines of those that break are added, and so on until none
breaks. The programme only ever lacks lines, so what it finds is a bound; when nothing breaks it is the optimum.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np

from crossmargin.analytics.allocation_decisions import (
    OPENED,
    RECEIVED,
    REDUCED,
    SENT,
    Problem,
    least_wallet,
    own_pocket,
    own_wallet,
)
from crossmargin.analytics.allocation_lines import (
    SAFETY,
    Context,
    RoomLine,
    Term,
    guarded,
    read,
    rooms_of,
    stricter,
)
from crossmargin.analytics.allocation_master import Master, Row, Solved
from crossmargin.analytics.allocation_scenarios import NOW, Shocks
from crossmargin.analytics.allocation_shapes import Reach, check_shapes
from crossmargin.analytics.box import coordinates, least
from crossmargin.engine.curves import anatomy
from crossmargin.engine.prepare import prepare
from crossmargin.engine.reference import measure
from crossmargin.errors import UnsupportedRule
from crossmargin.model.account import Account
from crossmargin.model.fund import ObjectiveKind, Weight
from crossmargin.model.instrument import parse_symbol
from crossmargin.model.number import plain
from crossmargin.model.profile import Rules

_ZERO = Decimal(0)
_TIE = 1e-6
AIM_SCALE = 1e4
"""The objective counts what is at stake as so much, so that a tie is broken well above the solver's tolerance."""
WALLET = "wallet"
KINDS: dict[ObjectiveKind, dict[Weight, float]] = {
    "least_cost": {"cost": 1, "carry": 1},
    "most_freed": {"freed": 1, "cost": _TIE},
    "largest_headroom": {"headroom": 1, "cost": _TIE},
    "least_collateral": {"collateral": 1, "cost": _TIE},
    "most_carry": {"carry": 1, "cost": _TIE},
    "largest_position": {"position": 1, "cost": _TIE},
}
"""The weights of each aim; of plans that are as good the one that costs less is taken."""
_FAR = 10
"""An amount that nothing bounds ends at so many times all that is at stake; a plan that goes there has no end."""
_TIGHT = 1e-10
_MANY = 4  # scenarios of a pool whose lines are added in one round
_MOST_ROUNDS = 400
_DIGITS = Decimal(1).scaleb(-12)


class Found(NamedTuple):
    """The end of the rounds: what the programme says, and how often it was asked."""

    solved: Solved
    rounds: int


class _Look(NamedTuple):
    """A point to be judged: the decisions, the headroom asked for, what the elastic form has broken already.

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
    reaches: list[Reach] = field(default_factory=list)
    guards: list[set[str]] = field(default_factory=list)
    base: dict[tuple[int, int, str, str], Decimal] = field(default_factory=dict)
    currencies: dict[tuple[int, str], str] = field(default_factory=dict)
    """The currency of every pool seen, by account and pool."""
    _added: list[tuple[Term, float] | Row] = field(default_factory=list)
    _cuts: dict[tuple[Context, str, str], list[_Cut]] = field(default_factory=dict)
    _lines: dict[Term, list[tuple[float, dict[int, float]]]] = field(default_factory=dict)
    _size: float = 1.0
    _seen: dict[int, tuple[Any, Any, Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, problem: Problem, shocks: Shocks, weights: Mapping[Weight, float]) -> Rounds:
        """Check the shapes, and measure every pool as it stands; under the context of the judge."""
        made = cls(problem, shocks, weights, check_shapes(problem))
        made._size = float(problem.size)
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

    # the programme ---------------------------------------------------------------------------------------------------

    def master(self, *, elastic: bool = False, without: frozenset[str] = frozenset(), aim: bool = True) -> Master:
        """A programme with every line found so far; ``aim=False``: any plan is as good."""
        master = Master(elastic=elastic, without=without)
        aims = self.weights if aim else {}
        self._columns(master, aims)
        for row in self._stated(aims):
            master.row(row)
        for item in self._added:
            self._put(master, item)
        return master

    def _columns(self, master: Master, aims: Mapping[Weight, float]) -> None:
        size, problem = self._size, self.problem
        aim = AIM_SCALE / size
        master.column("nothing", upper=0.0)  # the solver has no verdict on a programme without columns
        w = {name: aims.get(name, 0.0) for name in ("cost", "freed", "headroom", "collateral", "carry", "position")}
        for j, d in enumerate(problem.decisions):
            cost = w["cost"] * float(d.cost) - w["freed"] * float(d.freed)
            cost += w["collateral"] * float(d.collateral) - w["position"] * float(d.position)
            if d.lot is not None:
                whole = int(self.most(j) // float(d.lot) + 1e-9)
                scale = float(d.lot)
                master.column(("x", j), upper=whole * scale, cost=cost * aim, scale=scale, integer=True)
            else:
                master.column(("x", j), upper=self.most(j), cost=cost * aim, scale=size / float(d.value))
            if d.is_switched:
                once = w["cost"] * float(d.fee_cost) - w["freed"] * float(d.fee_freed)
                master.column(("y", j), upper=1.0, cost=once * aim, integer=True)
        if w["carry"]:
            for c, carry in enumerate(problem.carries):
                scale = size / float(problem.prices[carry.asset])
                master.column(("own", c), cost=-w["carry"] * float(carry.earned) * aim, scale=scale)
                lowest = least_wallet(problem, carry.account, carry.asset)
                most = _FAR * scale if lowest is None else max(0.0, -float(lowest))
                master.column(("owed", c), upper=most, cost=w["carry"] * float(carry.owed) * aim, scale=scale)
        if w["headroom"]:
            master.column("z", lower=-_FAR * size, upper=_FAR * size, cost=-w["headroom"] * aim, scale=size)
        for account, _ in enumerate(problem.books):
            for asset in problem.assets(account):
                master.column(("gift", account, asset), upper=0.0, scale=size / float(problem.prices[asset]))

    def most(self, j: int) -> float:
        """The most units of a decision: its own bound, or far beyond all that is at stake."""
        decision = self.problem.decisions[j]
        far = _FAR * self._size / float(decision.value)
        return min(far, float(decision.most)) if decision.most is not None else far

    def endless(self, solved: Solved) -> list[str]:
        """What a plan takes to where only the want of a bound ends it."""
        x = self.point(solved)
        found = ["headroom"] if solved.values.get("z", 0.0) >= _FAR * self._size * (1 - 1e-6) else []
        for j, decision in enumerate(self.problem.decisions):
            if decision.most is None and float(x[j]) >= self.most(j) * (1 - 1e-6):
                found.append(decision.words)
        return found

    def _stated(self, aims: Mapping[Weight, float]) -> Iterator[Row]:
        """The rows that are there from the start: limits, switches, wallets, carry."""
        problem, size = self.problem, self._size
        infinity = float("inf")
        for limit in problem.limits:
            least = -infinity if limit.least is None else float(limit.least)
            most = infinity if limit.most is None else float(limit.most)
            yield Row(
                limit.name, None, {("x", j): 1.0 for j in limit.decisions}, least, most, size / float(limit.value)
            )
        for coin, trades in problem.neutral.items():
            # two rows, so that the elastic form can break either side
            unit = size / max(float(problem.decisions[j].value) for j in trades)
            for sign in (1.0, -1.0):
                terms = {("x", j): sign * float(coins) for j, coins in trades.items()}
                yield Row(f"neutral in {coin}", None, terms, 0.0, size=unit)
        for reach in self.reaches:
            value = float(problem.decisions[reach.decisions[0]].value)
            yield Row(None, None, {("x", j): 1.0 for j in reach.decisions}, -infinity, float(reach.most), size / value)
        for j, d in enumerate(problem.decisions):
            if d.is_switched:
                tops = [float(own.most) for own in problem.limits if own.most is not None and j in own.decisions]
                unit = size / float(d.value)
                yield Row(None, None, {("x", j): -1.0, ("y", j): min([self.most(j), *tops])}, 0.0, size=unit)
                yield Row(None, None, {("x", j): 1.0, ("y", j): -float(d.minimum)}, 0.0, size=unit)
        for account, _ in enumerate(problem.books):
            yield from self._wallets(account)
        if aims.get("carry"):
            for c, carry in enumerate(problem.carries):
                held = float(own_wallet(problem, carry.account, carry.asset))
                terms = {key: -value for key, value in self._flow(carry.account, carry.asset, OPENED).items()}
                unit = size / float(problem.prices[carry.asset])
                yield Row(None, None, {**terms, ("own", c): 1.0, ("owed", c): -1.0}, held, held, unit)

    def _flow(self, account: int, asset: str, stage: int) -> dict[Any, float]:
        """What the columns add to a wallet, or to a pocket, by a stage."""
        problem = self.problem
        amounts = problem.amounts(account, stage).get(asset, {})
        flow: dict[Any, float] = {("x", j): float(amount) for j, amount in amounts.items()}
        for j, d in enumerate(problem.decisions):
            at = d.fee_at
            if at is not None and (at.account, at.asset) == (account, asset) and at.stage <= stage:
                flow["y", j] = float(at.amount)
        return flow

    def _wallets(self, account: int) -> Iterator[Row]:
        """No wallet and no pocket is overdrawn, at any stage."""
        problem = self.problem
        for name in problem.amounts(account, OPENED):
            in_pocket = name not in problem.assets(account)
            asset = self._settle(name) if in_pocket else name
            lowest = _ZERO if in_pocket else least_wallet(problem, account, name)
            held = own_pocket(problem, account, name) if in_pocket else own_wallet(problem, account, name)
            if lowest is None:
                continue
            before: dict[Any, float] = {}
            unit = self._size / float(problem.prices[asset])
            gift: dict[Any, float] = {} if in_pocket else {("gift", account, name): 1.0}
            for stage in (REDUCED, SENT, RECEIVED, OPENED):
                flow = self._flow(account, name, stage)
                if flow != before:
                    tag = (account, name, WALLET, stage)
                    yield Row(None, tag, {**flow, **gift}, float(lowest - held), size=unit)
                before = flow

    def _settle(self, pocket: str) -> str:
        return next(e.asset for d in self.problem.decisions for e in d.effects if e.pocket == pocket)

    # the rounds ------------------------------------------------------------------------------------------------------

    def run(self, master: Master) -> Found:
        """Solve, judge everything, add the lines of what breaks, until nothing does."""
        if not self._added:
            self._look(master, _Look([_ZERO] * len(self.problem.decisions), seed=True))
        for count in range(1, _MOST_ROUNDS + 1):
            solved = master.solve()
            if solved.status != "optimal":
                return Found(solved, count)
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
        return found

    def _look(self, master: Master, at: _Look) -> int:
        """Judge every pool at a point; add the lines of what breaks there. Returns how many lines were new."""
        added = 0
        for account, _ in enumerate(self.problem.books):
            for stage in self._stages(account):
                added += self._at_present(master, account, stage, at)
            added += self._in_scenarios(master, account, at)
        return added

    def _stages(self, account: int) -> Iterator[int]:
        """The stages at which something changes for an account, and the last."""
        problem = self.problem
        changed = {e.stage for d in problem.decisions for e in d.effects if e.account == account}
        yield from sorted(changed | {OPENED})

    def _at_present(self, master: Master, account: int, stage: int, at: _Look) -> int:
        """Every line of the venue, at the present prices after a stage."""
        problem, context = self.problem, Context(account, stage, None)
        books = problem.books[account]
        there = problem.account_at(account, at.x, stage)
        prepared = prepare(there, books.market, books.rules)
        short = set()
        for pool in prepared.pools:
            state = measure(pool)
            self.currencies[account, pool.name] = pool.currency
            price = float(problem.prices[pool.currency])
            for name, room in rooms_of(state, context, leaving=problem.leaves(account, stage)).items():
                least = self.needed(account, stage, pool.name, name)
                slack = float("-inf") if room is None else float(room - least) * price
                if at.seed or slack < self._broken(name, pool.name, account, at):
                    short.add(pool.name)
        short &= self.guards[account] | set(guarded(prepared))
        if not short:
            return 0
        return self._cut(master, context, at.x, there, books.market, short)

    def _broken(self, name: str, pool: str, account: int, at: _Look) -> float:
        """Below which slack a room counts as broken; in the elastic form what is broken already is paid for."""
        paid = at.broken.get(("broken", limit_name(self.problem, account, pool, name)), 0.0)
        return -_TIGHT * self._size - paid * self._price(account, pool)

    def _price(self, account: int, pool: str) -> float:
        return float(self.problem.prices[self.currencies[account, pool]])

    def needed(self, account: int, stage: int, pool: str, name: str) -> Decimal:
        """What a room must come to: at the end 0, on the way no less than what it is short of now."""
        if stage == OPENED:
            return _ZERO
        return min(_ZERO, self.base.get((account, stage, pool, name), _ZERO))

    def _in_scenarios(self, master: Master, account: int, at: _Look) -> int:
        """Every scenario at the end of the plan."""
        problem, books = self.problem, self.problem.books[account]
        if not self.guards[account]:
            return 0
        there = problem.account_at(account, at.x, OPENED)
        self.add_worst_of_box(account, there)
        key = (there.balances, there.positions, len(self.shocks))
        if account in self._seen and self._seen[account][0] == key:
            _, names, rooms = self._seen[account]
        else:
            prepared = stricter(prepare(there, books.market, books.rules, number=float), problem)
            names = [(pool.name, pool.currency) for pool in prepared.pools]
            rooms = self.shocks.rooms(prepared, account)
            self._seen[account] = (key, names, rooms)
        wanted: dict[int, set[str]] = {}
        for column, (pool, currency) in enumerate(names):
            if pool not in self.guards[account]:
                continue
            price = float(problem.prices[currency])
            amount = float(problem.fund.safety.buffer(problem.id(account), pool).amount)
            slack = (rooms[:, column] - amount) * price - at.z
            order = np.argsort(slack, kind="stable")[:_MANY] if len(slack) <= 10_000 else _least_of(slack, _MANY)
            for row in order.tolist():
                if at.seed or slack[row] < self._broken(SAFETY, pool, account, at):
                    wanted.setdefault(row, set()).add(pool)
        added = 0
        exact = prepare(there, books.market, books.rules) if wanted else None
        for row, pools in wanted.items():
            assert exact is not None  # there is something wanted
            market = self.shocks.market(exact, account, row)
            added += self._cut(master, Context(account, OPENED, row), at.x, there, market, pools)
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

    def _cut(
        self, master: Master, context: Context, x: list[Decimal], there: Account, market: Any, pools: set[str]
    ) -> int:
        """Add the lines that hold at a point, where those that are there already do not."""
        reading = read(self.problem, context, there, market, pools)
        values = {term: float(line.value) for term, line in reading.terms.items()}
        point = {j: float(value) for j, value in enumerate(x) if value}
        added = 0
        for term, line in reading.terms.items():
            slopes = {j: float(slope) for j, slope in line.slopes.items()}
            constant = values[term] - sum(slope * point.get(j, 0.0) for j, slope in slopes.items())
            unit = self._size / float(self.problem.prices[parse_symbol(term.symbol).settle])
            known = self._lines.setdefault(term, [])
            if not known:
                self._add(master, (term, unit))
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
            least = float(problem.fund.safety.buffer(problem.id(account), pool).amount)
            if self.weights.get("headroom"):
                coefficients["z"] = -1.0 / price
        else:
            least = float(self.needed(account, context.stage, pool, name))
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

    def _add(self, master: Master, item: tuple[Term, float] | Row) -> None:
        self._added.append(item)
        self._put(master, item)

    def _put(self, master: Master, item: tuple[Term, float] | Row) -> None:
        if not isinstance(item, Row):
            master.column(item[0], scale=item[1])
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


def pool_of(rules: Rules, asset: str) -> str:
    """The shared pool in which an asset counts."""
    return "account" if rules.slots.pooling.kind == "unified" else asset
