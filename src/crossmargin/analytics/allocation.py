"""Where should the capital sit?

A fund's accounts stand on several venues, each with its own rules. Which moves keep every pool safe under stress at
least cost, how much capital can be freed, how large a position can be carried? Headroom is concave in what is moved, so
this is a linear programme whose lines are read off the judge (docs/allocation.md); the plan that comes out is rounded,
done step by step and judged exactly before it is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext

from crossmargin.analytics.allocation_building import problem_of
from crossmargin.analytics.allocation_conflict import conflict_of
from crossmargin.analytics.allocation_decisions import OPENED, Problem
from crossmargin.analytics.allocation_loops import refuse_loops
from crossmargin.analytics.allocation_master import TOLERANCE, Master, Solved, load_highs
from crossmargin.analytics.allocation_plan import Judged, Move, Short, Worst, judge, rounded, worst_now
from crossmargin.analytics.allocation_rounds import AIM_SCALE, KINDS, Found, Rounds
from crossmargin.analytics.allocation_scenarios import Shocks, shocks_of
from crossmargin.engine.prepare import prepare
from crossmargin.engine.reference import evaluate
from crossmargin.errors import AccountError, Fault, NoPlan, UnsupportedRule
from crossmargin.model.fund import Fund, Weight
from crossmargin.model.instrument import parse_symbol
from crossmargin.model.number import CONTEXT, plain
from crossmargin.model.report import PoolReport

_ZERO = Decimal(0)
_MOST_TRIES = 12
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolFigures:
    """One pool as it stands; ``worst_headroom`` is its least over the scenarios, in ``scenario``; all in its currency.

    ``slack``: what is left there beyond the buffer; None for a pool without positions or debts.
    """

    equity: Decimal
    initial_margin: Decimal | None
    maintenance_margin: Decimal
    free_collateral: Decimal | None
    headroom: Decimal
    worst_headroom: Decimal | None
    slack: Decimal | None
    scenario: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolPlan:
    """One pool before and after; None where it is not there."""

    account: str
    pool: str
    currency: str
    before: PoolFigures | None
    after: PoolFigures | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowPrice:
    """What one unit more is worth: ``value`` in the fund's currency of the objective, said in ``words``."""

    words: str
    account: str
    asset: str | None
    limit: str | None
    scenario: str | None
    value: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Moves in order, what they do, and the proof that nothing better exists. Money in ``currency``.

    ``objective`` is what the aim comes to; ``bound``: no plan comes to more (for a cost: to less), ``gap`` the
    distance. ``cost``: of all moves; ``carry``: change of yields less interest over the horizon; ``freed``: what
    arrives outside less what is brought in; ``collateral``: capital brought in less what is taken out; ``position``:
    value opened; ``headroom``: the least slack of any pool in any scenario. ``safe``: no pool is below its buffer.
    A kind that is not a cost breaks ties by cost at a millionth; ``bound`` and ``gap`` count that too.
    ``judged``: accounts x scenarios, ``judged_exactly`` of them by the exact reference, the rest by floats far from the
    line. ``lines`` were needed in ``rounds`` rounds. ``hours``: the longest delay of a transfer.
    """

    fund: str
    currency: str
    aim: str
    objective: Decimal
    bound: Decimal
    gap: Decimal
    cost: Decimal
    carry: Decimal
    freed: Decimal
    collateral: Decimal
    position: Decimal
    headroom: Decimal | None
    safe: bool
    moves: tuple[Move, ...]
    pools: tuple[PoolPlan, ...]
    shadow_prices: tuple[ShadowPrice, ...]
    hours: Decimal
    scenarios: int
    judged: int
    judged_exactly: int
    lines: int
    rounds: int
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontierPoint:
    """One level of safety and what it takes: ``level`` scales the stated buffers; None where no plan reaches it."""

    level: Decimal
    objective: Decimal | None
    cost: Decimal | None
    freed: Decimal | None
    collateral: Decimal | None
    headroom: Decimal | None
    moves: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """What a fund leaves to decide: the pools to keep safe, every way to act and every stated limit, in words."""

    fund: str
    aim: str
    accounts: int
    pools: tuple[str, ...]
    scenarios: int
    decisions: tuple[str, ...]
    limits: tuple[str, ...]


def allocate(fund: Fund, *, progress: Progress | None = None) -> Plan:
    """The best plan of a fund, with its proof.

    ``progress`` is told in words how far it is. Raises :class:`NoPlan` with the limits that conflict and the least
    change that helps; :class:`AccountError` for what is stated wrongly (an objective without end, a loop that earns);
    :class:`MarketDataError` for missing prices; :class:`UnsupportedRule` where the rules are not of the shape that a
    certificate needs; :class:`MissingExtra` without the ``optimize`` extra.
    """
    load_highs()
    with localcontext(CONTEXT):
        return _Work(fund, progress or (lambda _: None)).run()


def outline(fund: Fund) -> Outline:
    """What would be decided, without solving. Raises as :func:`allocate` does for what is stated wrongly."""
    with localcontext(CONTEXT):
        work = _Work(fund, lambda _: None)
        problem = work.problem
        return Outline(
            fund=fund.id,
            aim=work.aim,
            accounts=len(problem.books),
            pools=tuple(
                f"{pool} on {problem.id(i)}" for i, own in enumerate(work.rounds.guards) for pool in sorted(own)
            ),
            scenarios=len(work.shocks),
            decisions=tuple(dict.fromkeys(decision.words for decision in problem.decisions)),
            limits=tuple(limit.name for limit in problem.limits if limit.name is not None),
        )


def frontier(fund: Fund, levels: Sequence[Decimal], *, progress: Progress | None = None) -> tuple[FrontierPoint, ...]:
    """What more safety costs: the best plan with every buffer scaled by each level (1 = as stated).

    Raises as :func:`allocate` does, except that a level that no plan reaches has no figures.
    """
    if not any(b.amount or b.share for b in (fund.safety, *fund.safety.buffers)):
        why = "are all 0, so scaling them changes nothing; give an amount or a share"
        raise AccountError(f"fund {fund.id}", (Fault("safety.amount, safety.share", "0", why),))
    found = []
    for level in levels:
        try:
            plan = allocate(scaled(fund, level), progress=progress)
        except NoPlan:
            found.append(
                FrontierPoint(
                    level=level, objective=None, cost=None, freed=None, collateral=None, headroom=None, moves=None
                )
            )
            continue
        found.append(
            FrontierPoint(
                level=level,
                objective=plan.objective,
                cost=plan.cost,
                freed=plan.freed,
                collateral=plan.collateral,
                headroom=plan.headroom,
                moves=len(plan.moves),
            )
        )
    return tuple(found)


def scaled(fund: Fund, level: Decimal) -> Fund:
    """The fund with every buffer times ``level``."""
    with localcontext(CONTEXT):
        safety = fund.safety
        own = tuple(b.model_copy(update={"amount": b.amount * level, "share": b.share * level}) for b in safety.buffers)
        update = {"amount": safety.amount * level, "share": safety.share * level, "buffers": own}
        return fund.model_copy(update={"safety": safety.model_copy(update=update)})


# the work -------------------------------------------------------------------------------------------------------------


def weights_of(fund: Fund) -> Mapping[Weight, float]:
    """The weights of a fund's aim."""
    stated = fund.objective.weights
    return {name: float(weight) for name, weight in stated.items()} if stated else KINDS[fund.objective.kind]


class _Work:
    """One allocation from the fund to the plan."""

    def __init__(self, fund: Fund, progress: Progress) -> None:
        self.fund, self.progress = fund, progress
        self.problem: Problem = problem_of(fund)
        refuse_loops(self.problem)
        nothing = [_ZERO] * len(self.problem.decisions)
        whole = [
            prepare(self.problem.account_at(i, nothing, OPENED), books.market, books.rules)
            for i, books in enumerate(self.problem.books)
        ]
        self.shocks: Shocks = shocks_of(fund.safety, whole, [parse_symbol(order.symbol).base for order in fund.orders])
        self.weights = weights_of(fund)
        self._possible()
        self.rounds = Rounds.of(self.problem, self.shocks, self.weights)
        progress(f"{len(self.problem.decisions)} decisions, {len(self.shocks)} scenarios")

    def run(self) -> Plan:
        master = self.rounds.master()
        found = self._solved(master)
        # later rows only tighten, so what nothing has tightened yet is the bound
        bound = found.solved.bound
        count = found.rounds
        for trial in range(_MOST_TRIES):
            x = rounded(self.problem, self.rounds.point(found.solved))
            verdict = judge(self.rounds, self.shocks, x, tighten=not self.weights.get("headroom"))
            if not verdict.short:
                shadow = self._shadows(master, found.solved)
                return self._plan(x, verdict, bound, count, shadow)
            self._tighten(master, verdict.short, trial)
            self.progress(f"{len(verdict.short)} lines are short after rounding; asking a little more of them")
            found = self._solved(master)
            count += found.rounds
        words = ", ".join(sorted({f"{s.tag[2]} of {s.tag[1]} on {self.problem.id(s.tag[0])}" for s in verdict.short}))
        raise UnsupportedRule("allocation", f"no plan found passes the exact judge; it is short of {words}")

    def _possible(self) -> None:
        """Refuse an aim that nothing in the fund can serve."""
        serves = {
            "freed": (any(d.freed > 0 for d in self.problem.decisions), "no route leads outside"),
            "position": (any(d.position for d in self.problem.decisions), "no order opens anything"),
            "carry": (bool(self.problem.carries), "no yield and no borrow rate is given"),
        }
        for name, (possible, why) in serves.items():
            if max(self.weights, key=lambda own: self.weights[own]) == name and not possible:
                raise AccountError(f"fund {self.fund.id}", (Fault("objective", self.aim, f"cannot be served: {why}"),))

    def _solved(self, master: Master) -> Found:
        found = self.rounds.run(master)
        self.progress(f"{found.rounds} rounds, {self.rounds.lines} lines: {found.solved.status}")
        if found.solved.status == "infeasible":
            self._no_plan()
        if found.solved.status == "unbounded":
            raise AccountError(f"fund {self.fund.id}", (Fault("objective", self.aim, "has no end"),))
        endless = self.rounds.endless(found.solved)
        if endless:
            why = f"has no end: {', '.join(endless)} would go on for ever; give a maximum or a cost"
            raise AccountError(f"fund {self.fund.id}", (Fault("objective", self.aim, why),))
        return found

    @property
    def aim(self) -> str:
        """The aim in words."""
        stated = self.fund.objective.weights
        return ", ".join(f"{n} x {plain(w)}" for n, w in stated.items()) if stated else self.fund.objective.kind

    def _no_plan(self) -> None:
        conflict = conflict_of(self.rounds)
        unit = self.rounds.limit_units
        relaxation = [(name, f"{value:.2f} {unit.get(name, '')}".strip()) for name, value in conflict.relaxation]
        raise NoPlan(f"fund {self.fund.id}", conflict.limits, relaxation)

    def _tighten(self, master: Master, short: Sequence[Short], trial: int) -> None:
        """Ask twice what was missing of every line that was short, and more than the solver's tolerance, ever more."""
        hair = self.problem.size * Decimal(repr(TOLERANCE)) * 4**trial
        for tag in {one.tag for one in short}:
            missing = max(one.amount for one in short if one.tag == tag)
            master.tighten(tag, float(2 * missing + hair))

    # the answer ------------------------------------------------------------------------------------------------------

    def _plan(
        self, x: Sequence[Decimal], verdict: Judged, bound: float, rounds: int, shadow: tuple[ShadowPrice, ...]
    ) -> Plan:
        problem = self.problem
        used = [(d, v) for d, v in zip(problem.decisions, x, strict=True) if v]
        cost = sum((d.cost * v + d.fee_cost for d, v in used), _ZERO)
        freed = sum((d.freed * v + d.fee_freed for d, v in used), _ZERO)
        rooms = [w.room * problem.prices[self._currency(a, p)] for (a, p), w in verdict.worst.items()]
        figures: dict[Weight, Decimal] = {
            "cost": cost,
            "freed": freed,
            "collateral": sum((d.collateral * v for d, v in used), _ZERO),
            "position": sum((d.position * v for d, v in used), _ZERO),
            "carry": self._carry_of(x) - self._carry_now(),
            "headroom": min(rooms, default=_ZERO),
        }
        aim, best = self._aims(figures, bound)
        return Plan(
            fund=self.fund.id,
            currency=self.fund.currency,
            aim=self.aim,
            objective=aim,
            bound=best,
            gap=abs(best - aim),
            cost=cost,
            carry=figures["carry"],
            freed=freed,
            collateral=figures["collateral"],
            position=figures["position"],
            headroom=min(rooms) if rooms else None,
            safe=not rooms or min(rooms) >= 0,
            moves=verdict.moves,
            pools=self._pools(x, verdict),
            shadow_prices=shadow,
            hours=max((move.delay_hours for move in verdict.moves), default=_ZERO),
            scenarios=len(self.shocks),
            judged=verdict.total,
            judged_exactly=verdict.exact,
            lines=self.rounds.lines,
            rounds=rounds,
            notes=tuple(self._notes(x)),
        )

    def _aims(self, figures: Mapping[Weight, Decimal], bound: float) -> tuple[Decimal, Decimal]:
        """What the aim comes to and its bound. A cost or a mix is made least, anything else most."""
        weights = {name: Decimal(repr(weight)) for name, weight in self.weights.items()}
        least = sum((weight * _SIGNS[name] * figures[name] for name, weight in weights.items()), _ZERO)
        # the programme counts carry from nothing, the plan from today
        best = Decimal(repr(bound)) * self._money + weights.get("carry", _ZERO) * self._carry_now()
        if self.fund.objective.weights or self.fund.objective.kind == "least_cost":
            return least, best
        (main,) = (name for name, weight in weights.items() if weight == 1)
        return figures[main], figures[main] - _SIGNS[main] * (least - best)

    @property
    def _money(self) -> Decimal:
        """What a unit of the programme's objective is in the fund's currency."""
        return self.problem.size / Decimal(repr(AIM_SCALE))

    def _carry_now(self) -> Decimal:
        return self._carry_of([_ZERO] * len(self.problem.decisions))

    def _carry_of(self, x: Sequence[Decimal]) -> Decimal:
        total = _ZERO
        for carry in self.problem.carries:
            account = self.problem.account_at(carry.account, x, OPENED)
            balance = account.balances.get(carry.asset)
            held = balance.wallet_balance if balance else _ZERO
            total += max(held, _ZERO) * carry.earned + min(held, _ZERO) * carry.owed
        return total

    def _currency(self, account: int, pool: str) -> str:
        return self.rounds.currencies[account, pool]

    def _pools(self, x: Sequence[Decimal], verdict: Judged) -> tuple[PoolPlan, ...]:
        now = worst_now(self.rounds, self.shocks)
        found = []
        for index, books in enumerate(self.problem.books):
            after = books._replace(account=self.problem.account_at(index, x, OPENED))
            was, then = ({pool.name: pool for pool in evaluate(*case, explain=False).pools} for case in (books, after))
            for name in dict.fromkeys([*was, *then]):
                found.append(
                    PoolPlan(
                        account=self.problem.id(index),
                        pool=name,
                        currency=(was.get(name) or then[name]).currency,
                        before=_figures(was.get(name), now.get((index, name))),
                        after=_figures(then.get(name), verdict.worst.get((index, name))),
                    )
                )
        return tuple(found)

    def _shadows(self, master: Master, solved: Solved) -> tuple[ShadowPrice, ...]:
        """What binds, dearest first: a unit more of each wallet, a unit less of each buffer."""
        problem, size = self.problem, self._money
        shadow = master.shadow(solved)
        found = []
        for key, dual in shadow.columns.items():
            if isinstance(key, tuple) and key[0] == "gift" and abs(dual) * float(size) > _WORTH:
                account, asset = problem.id(key[1]), key[2]
                value = -Decimal(repr(dual)) * size
                words = f"one more {asset} on {account} is worth {_money(value)} {self.fund.currency} of the aim"
                found.append(
                    ShadowPrice(words=words, account=account, asset=asset, limit=None, scenario=None, value=value)
                )
        by_limit: dict[tuple[str, str, str], Decimal] = {}
        for row, dual in shadow.rows:
            if row.limit is not None and abs(dual) * float(size) > _WORTH:
                account = problem.id(row.tag[0]) if isinstance(row.tag, tuple) else ""
                limit = (row.limit, row.note, account)
                by_limit[limit] = by_limit.get(limit, _ZERO) + Decimal(repr(dual)) * size
        for (name, note, account), value in by_limit.items():
            where = f", binding in {note}" if note else ""
            words = f"{name}{where}: one unit more of it is worth {_money(abs(value))} {self.fund.currency}"
            found.append(
                ShadowPrice(
                    words=words, account=account, asset=None, limit=name, scenario=note or None, value=abs(value)
                )
            )
        return tuple(sorted(found, key=lambda price: -abs(price.value)))

    def _notes(self, x: Sequence[Decimal]) -> list[str]:
        notes = []
        for reach in self.rounds.reaches:
            if sum((x[j] for j in reach.decisions), _ZERO) >= reach.most * Decimal("0.999999") > 0:
                notes.append(f"{self.problem.decisions[reach.decisions[0]].words}: {plain(reach.most)}, {reach.why}")
        if any(b.amount for b in (self.fund.safety, *self.fund.safety.buffers)):
            notes.append("a buffer in money is kept by a pool even where the plan closes its last position")
        return notes


_WORTH = 1e-7
_SIGNS: dict[Weight, int] = {"cost": 1, "collateral": 1, "carry": -1, "freed": -1, "headroom": -1, "position": -1}
"""1: less is better."""


def _money(value: Decimal) -> str:
    return plain(Decimal(f"{value:.6g}"))


def _figures(pool: PoolReport | None, worst: Worst | None) -> PoolFigures | None:
    if pool is None:
        return None
    return PoolFigures(
        equity=pool.equity,
        initial_margin=pool.initial_margin,
        maintenance_margin=pool.maintenance_margin,
        free_collateral=pool.free_collateral,
        headroom=pool.headroom,
        worst_headroom=None if worst is None else worst.headroom,
        slack=None if worst is None else worst.room,
        scenario=None if worst is None else worst.scenario,
    )
