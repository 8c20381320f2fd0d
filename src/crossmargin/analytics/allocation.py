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
from typing import NamedTuple

from crossmargin.analytics.allocation_answer import PoolPlan, ShadowPrice, money_of, pools_of, shadow_prices
from crossmargin.analytics.allocation_building import problem_of
from crossmargin.analytics.allocation_chance import Chance, chance_of
from crossmargin.analytics.allocation_conflict import conflict_of
from crossmargin.analytics.allocation_decisions import OPENED, QUANTUM, Problem
from crossmargin.analytics.allocation_loops import refuse_loops
from crossmargin.analytics.allocation_master import TOLERANCE, Master, load_highs
from crossmargin.analytics.allocation_plan import Judged, Move, Short, judge, rounded
from crossmargin.analytics.allocation_programme import AIM_SCALE, BOTHER, EDGE, KINDS
from crossmargin.analytics.allocation_rounds import Found, Rounds
from crossmargin.analytics.allocation_scenarios import Shocks, shocks_of
from crossmargin.analytics.allocation_settings import Start, starts
from crossmargin.engine.prepare import prepare
from crossmargin.errors import AccountError, Fault, NoPlan, UnsupportedRule
from crossmargin.model.fund import Fund, Weight
from crossmargin.model.instrument import parse_symbol
from crossmargin.model.number import CONTEXT, plain

_ZERO = Decimal(0)
_MOST_TRIES = 12
_HAIR = Decimal(repr(BOTHER / AIM_SCALE))
"""Settings are changed only where that is worth more than this share of what is at stake."""
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Moves in order, what they do, and the proof that nothing better exists. Money in ``currency``.

    ``chance``: where the fund lets some draws break a buffer, how likely that is; None where it lets none.

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
    chance: Chance | None
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
        return _best(fund, progress or (lambda _: None))


def outline(fund: Fund) -> Outline:
    """What would be decided, without solving. Raises as :func:`allocate` does for what is stated wrongly."""
    with localcontext(CONTEXT):
        every = list(starts(fund))
        work = _Work(every[0].fund, lambda _: None)
        problem = work.problem
        settings = [move.words for start in every for move in start.moves]
        return Outline(
            fund=fund.id,
            aim=work.aim,
            accounts=len(problem.books),
            pools=tuple(
                f"{pool} on {problem.id(i)}" for i, own in enumerate(work.rounds.guards) for pool in sorted(own)
            ),
            scenarios=len(work.shocks),
            decisions=tuple(dict.fromkeys([*settings, *(decision.words for decision in problem.decisions)])),
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


class _Done(NamedTuple):
    """The best plan from one start: its amounts, the verdict on them, what no plan from there comes below."""

    x: Sequence[Decimal]
    verdict: Judged
    bound: Decimal
    rounds: int
    shadow: tuple[ShadowPrice, ...]
    given_up: int


def _best(fund: Fund, progress: Progress) -> Plan:
    """The best plan over every combination of settings. Its bound is the least of theirs, made least whatever the aim.

    A combination is given up as soon as its bound says that it is no better than the best so far, less a hair: so the
    fund as it stands is preferred where nothing is gained.
    """
    first: _Work | None = None
    refused: NoPlan | None = None
    found: tuple[_Work, _Done, Start] | None = None
    least = bound = Decimal("Infinity")
    count = 0
    for start in starts(fund):
        work = _Work(start.fund, progress, first, start.cost)
        first, count = first or work, count + 1
        hair = work.problem.size * _HAIR
        try:
            done = work.run(least - hair)
        except NoPlan as error:
            refused = refused or error
            continue
        bound = min(bound, least - hair if done is None else done.bound)
        if done is not None and work.least(done) < least - (hair if found else 0):
            found, least = (work, done, start), work.least(done)
    if found is None or first is None:
        raise refused or NoPlan(f"fund {fund.id}", ())
    work, done, start = found
    compared = (f"{count} combinations of settings compared",) if count > 1 else ()
    return work.plan(done._replace(bound=bound), start.moves, first, compared)


def weights_of(fund: Fund) -> Mapping[Weight, float]:
    """The weights of a fund's aim."""
    stated = fund.objective.weights
    return {name: float(weight) for name, weight in stated.items()} if stated else KINDS[fund.objective.kind]


class _Work:
    """One allocation from the fund to the plan; ``origin``: that of the fund as it stands, where settings differ.

    ``spent``: what those settings cost.
    """

    def __init__(self, fund: Fund, progress: Progress, origin: _Work | None = None, spent: Decimal = _ZERO) -> None:
        self.fund, self.progress, self.spent = fund, progress, spent
        self.problem: Problem = problem_of(fund)
        refuse_loops(self.problem)
        nothing = [_ZERO] * len(self.problem.decisions)
        whole = [
            prepare(self.problem.account_at(i, nothing, OPENED), books.market, books.rules)
            for i, books in enumerate(self.problem.books)
        ]
        self.shocks: Shocks = shocks_of(fund.safety, whole, [parse_symbol(order.symbol).base for order in fund.orders])
        self.weights = weights_of(fund)
        if origin is None:
            self._possible()
        self.rounds = Rounds.of(self.problem, self.shocks, self.weights)
        self.carry_now: Decimal = self._carry_of(nothing) if origin is None else origin.carry_now
        progress(f"{len(self.problem.decisions)} decisions, {len(self.shocks)} scenarios")

    def run(self, beat: Decimal) -> _Done | None:
        """The best plan; None where none comes to less than ``beat``, all aims being made least."""
        master = self.rounds.master()
        found = self._solved(master, float((beat - self._carried) / money_of(self.rounds)))
        if found.beaten:
            return None
        # later rows only tighten, so what nothing has tightened yet is the bound; a setting counts, but costs nothing
        bound = found.solved.bound - BOTHER * len({s.more for d in self.problem.decisions if (s := d.setting)})
        count = found.rounds
        for trial in range(_MOST_TRIES):
            x = rounded(self.problem, self.rounds.point(found.solved))
            given_up = self.rounds.given_up(found.solved.values)
            verdict = judge(self.rounds, self.shocks, x, tighten=not self.weights.get("headroom"), given_up=given_up)
            if not verdict.short:
                shadow = shadow_prices(self.rounds, master, found.solved)
                least = Decimal(repr(bound)) * money_of(self.rounds) + self._carried
                return _Done(x, verdict, least, count, shadow, len(given_up))
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

    def _solved(self, master: Master, beat: float = float("inf")) -> Found:
        found = self.rounds.run(master, beat)
        self.progress(f"{found.rounds} rounds, {self.rounds.lines} lines: {found.solved.status}")
        if found.solved.status == "infeasible":
            self._no_plan()
        if found.solved.status == "unbounded":
            raise AccountError(f"fund {self.fund.id}", (Fault("objective", self.aim, "has no end"),))
        endless = self.rounds.programme.endless(found.solved)
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
        edged = {trade.account for d in self.problem.decisions if (trade := d.trade) and self.problem.is_edged(trade)}
        for account in edged & {one.tag[0] for one in short}:
            master.tighten((EDGE, account), float(QUANTUM) * 4**trial)
        if edged and not trial:  # a plan just beyond an edge is short of a whole jump: ask first to stay on this side
            return
        for tag in {one.tag for one in short}:
            missing = max(one.amount for one in short if one.tag == tag)
            account, pool, _, _ = tag
            unit = self.problem.prices[self.rounds.currencies.get((account, pool), pool)]
            master.tighten(tag, float(2 * missing + hair / unit))

    # the answer ------------------------------------------------------------------------------------------------------

    def _rooms(self, verdict: Judged) -> list[Decimal]:
        prices = self.problem.prices
        return [w.room * prices[self._currency(a, p)] for (a, p), w in verdict.worst.items()]

    def _figures(self, done: _Done) -> dict[Weight, Decimal]:
        """What a plan comes to in each aim."""
        used = [(d, v) for d, v in zip(self.problem.decisions, done.x, strict=True) if v]
        return {
            "cost": sum((d.cost * v + d.fee_cost for d, v in used), self.spent),
            "freed": sum((d.freed * v + d.fee_freed for d, v in used), _ZERO),
            "collateral": sum((d.collateral * v for d, v in used), _ZERO),
            "position": sum((d.position * v for d, v in used), _ZERO),
            "carry": self._carry_of(done.x) - self.carry_now,
            "headroom": min(self._rooms(done.verdict), default=_ZERO),
        }

    def least(self, done: _Done) -> Decimal:
        """What a plan comes to where every aim is made least."""
        figures, weights = self._figures(done), self.weights
        return sum((Decimal(repr(w)) * _SIGNS[name] * figures[name] for name, w in weights.items()), _ZERO)

    def plan(self, done: _Done, first: tuple[Move, ...], origin: _Work, notes: tuple[str, ...]) -> Plan:
        """The answer; ``first``: the settings that were changed, ``origin`` knows the fund as it stood before them."""
        verdict, figures, rooms = done.verdict, self._figures(done), self._rooms(done.verdict)
        aim, best = self._aims(figures, self.least(done), done.bound)
        return Plan(
            fund=self.fund.id,
            currency=self.fund.currency,
            aim=self.aim,
            objective=aim,
            bound=best,
            gap=abs(best - aim),
            cost=figures["cost"],
            carry=figures["carry"],
            freed=figures["freed"],
            collateral=figures["collateral"],
            position=figures["position"],
            headroom=min(rooms) if rooms else None,
            safe=not rooms or min(rooms) >= 0,
            moves=(*first, *verdict.moves),
            pools=pools_of(origin.rounds, origin.shocks, verdict.books, verdict.worst),
            shadow_prices=done.shadow,
            chance=chance_of(self.problem, verdict.books, done.given_up),
            hours=max((move.delay_hours for move in verdict.moves), default=_ZERO),
            scenarios=len(self.shocks),
            judged=verdict.total,
            judged_exactly=verdict.exact,
            lines=self.rounds.lines,
            rounds=done.rounds,
            notes=(*self._notes(done.x), *notes),
        )

    def _aims(self, figures: Mapping[Weight, Decimal], least: Decimal, best: Decimal) -> tuple[Decimal, Decimal]:
        """What the aim comes to and its bound. A cost or a mix is made least, anything else most."""
        if self.fund.objective.weights or self.fund.objective.kind == "least_cost":
            return least, best
        (main,) = (name for name, weight in self.weights.items() if weight == 1)
        return figures[main], figures[main] - _SIGNS[main] * (least - best)

    @property
    def _carried(self) -> Decimal:
        """What a plan comes to besides the programme, which counts carry from nothing and settings at no cost."""
        weights = {name: Decimal(repr(weight)) for name, weight in self.weights.items()}
        return weights.get("carry", _ZERO) * self.carry_now + weights.get("cost", _ZERO) * self.spent

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

    def _notes(self, x: Sequence[Decimal]) -> list[str]:
        notes = []
        for reach in self.rounds.reaches:
            holds = (reach.only is None or x[reach.only]) and not any(x[j] for j in reach.unless)
            if holds and sum((x[j] for j in reach.decisions), _ZERO) >= reach.most * Decimal("0.999999") > 0:
                notes.append(f"{self.problem.decisions[reach.decisions[0]].words}: {plain(reach.most)}, {reach.why}")
        if any(b.amount for b in (self.fund.safety, *self.fund.safety.buffers)):
            notes.append("a buffer in money is kept by a pool even where the plan closes its last position")
        return notes


_SIGNS: dict[Weight, int] = {"cost": 1, "collateral": 1, "carry": -1, "freed": -1, "headroom": -1, "position": -1}
"""1: less is better."""
