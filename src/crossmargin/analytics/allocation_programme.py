"""What programme is a fund, before any scenario is judged?

Columns for decisions, switches, balances and the smallest headroom; rows for what is stated: limits, fees and least
amounts, neutral coins, wallets that are not overdrawn, sizes that a bracket allows. The lines that the judge gives are
added by :mod:`crossmargin.analytics.allocation_rounds`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from crossmargin.analytics.allocation_decisions import (
    FAR,
    OPENED,
    RECEIVED,
    REDUCED,
    SENT,
    Problem,
    least_wallet,
    own_pocket,
    own_wallet,
)
from crossmargin.analytics.allocation_master import Master, Row, Solved
from crossmargin.analytics.allocation_scenarios import Shocks
from crossmargin.analytics.allocation_shapes import Reach
from crossmargin.model.fund import ObjectiveKind, Weight

_ZERO = Decimal(0)
_TIE = 1e-6
AIM_SCALE = 1e4
"""The objective counts what is at stake as so much, so that a tie is broken well above the solver's tolerance."""
BOTHER = 1e-5
"""What a change of a setting counts in the scaled objective: of plans that are as good, the one with fewer of them."""
WALLET, EDGE = "wallet", "edge"
KINDS: dict[ObjectiveKind, dict[Weight, float]] = {
    "least_cost": {"cost": 1, "carry": 1},
    "most_freed": {"freed": 1, "cost": _TIE},
    "largest_headroom": {"headroom": 1, "cost": _TIE},
    "least_collateral": {"collateral": 1, "cost": _TIE},
    "most_carry": {"carry": 1, "cost": _TIE},
    "largest_position": {"position": 1, "cost": _TIE},
}
"""The weights of each aim; of plans that are as good the one that costs less is taken."""
_INFINITY = float("inf")


@dataclass(slots=True)
class Programme:
    """The columns and the stated rows of a fund's programme."""

    problem: Problem
    weights: Mapping[Weight, float]
    reaches: Sequence[Reach]
    shocks: Shocks
    size: float

    def start(self, master: Master, *, aim: bool) -> None:
        """Put the columns and the stated rows into a solver; ``aim=False``: any plan is as good."""
        aims = self.weights if aim else {}
        self._columns(master, aims)
        for row in self._stated(aims):
            master.row(row)

    def _columns(self, master: Master, aims: Mapping[Weight, float]) -> None:
        size, problem = self.size, self.problem
        aim = AIM_SCALE / size
        master.column("nothing", upper=0.0)  # the solver has no verdict on a programme without columns
        w = {name: aims.get(name, 0.0) for name in ("cost", "freed", "headroom", "collateral", "carry", "position")}
        for j, d in enumerate(problem.decisions):
            cost = w["cost"] * float(d.cost) - w["freed"] * float(d.freed)
            cost += w["collateral"] * float(d.collateral) - w["position"] * float(d.position)
            if d.lot is not None:
                whole = int(self.most(j) // float(d.lot) + 1e-9)
                scale = float(d.lot)
                bother = 0.0 if d.setting is None or not aims else BOTHER
                master.column(("x", j), upper=whole * scale, cost=cost * aim + bother, scale=scale, integer=True)
            else:
                master.column(("x", j), upper=self.most(j), cost=cost * aim, scale=size / float(d.value))
            if d.is_switched:
                once = w["cost"] * float(d.fee_cost) - w["freed"] * float(d.fee_freed)
                master.column(("y", j), upper=1.0, cost=once * aim, integer=True)
        for contract in problem.both_ways():
            master.column(("buys", *contract), upper=1.0, integer=True)
        for row in self.shocks.drawn:
            master.column(("miss", row), upper=1.0, integer=True)
        for key in sorted(problem.lowering):
            master.column(("lowers", *key), upper=1.0, integer=True)
        if w["carry"]:
            for c, carry in enumerate(problem.carries):
                scale = size / float(problem.prices[carry.asset])
                master.column(("own", c), cost=-w["carry"] * float(carry.earned) * aim, scale=scale)
                lowest = least_wallet(problem, carry.account, carry.asset)
                most = FAR * scale if lowest is None else max(0.0, -float(lowest))
                master.column(("owed", c), upper=most, cost=w["carry"] * float(carry.owed) * aim, scale=scale)
        if w["headroom"]:
            master.column("z", lower=-FAR * size, upper=FAR * size, cost=-w["headroom"] * aim, scale=size)
        for account, _ in enumerate(problem.books):
            for asset in problem.assets(account):
                master.column(("gift", account, asset), upper=0.0, scale=size / float(problem.prices[asset]))

    def most(self, j: int) -> float:
        """The most units of a decision: its own bound, or far beyond all that is at stake."""
        return float(self.problem.most(j))

    def _top(self, j: int) -> float:
        """The most units of a decision by its bound and by every stated limit."""
        stated = [float(own.most) for own in self.problem.limits if own.most is not None and j in own.decisions]
        return min([self.most(j), *stated])

    def endless(self, solved: Solved) -> list[str]:
        """What a plan takes to where only the want of a bound ends it."""
        found = ["headroom"] if solved.values.get("z", 0.0) >= FAR * self.size * (1 - 1e-6) else []
        for j, decision in enumerate(self.problem.decisions):
            if decision.most is None and solved.values["x", j] >= self.most(j) * (1 - 1e-6):
                found.append(decision.words)
        return found

    def _stated(self, aims: Mapping[Weight, float]) -> Iterator[Row]:
        """The rows that are there from the start: limits, switches, wallets, carry."""
        problem, size = self.problem, self.size
        for limit in problem.limits:
            least = -_INFINITY if limit.least is None else float(limit.least)
            most = _INFINITY if limit.most is None else float(limit.most)
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
            yield from self._reach(reach)
        yield from self._choices()
        if self.shocks.drawn:
            misses = {("miss", row): 1.0 for row in self.shocks.drawn}
            yield Row("probability of a breach", None, misses, -_INFINITY, float(self.shocks.spare))
        for account, _ in enumerate(problem.books):
            yield from self._wallets(account)
        if aims.get("carry"):
            for c, carry in enumerate(problem.carries):
                held = float(own_wallet(problem, carry.account, carry.asset))
                terms = {key: -value for key, value in self._flow(carry.account, carry.asset, OPENED).items()}
                unit = size / float(problem.prices[carry.asset])
                yield Row(None, None, {**terms, ("own", c): 1.0, ("owed", c): -1.0}, held, held, unit)

    def _choices(self) -> Iterator[Row]:
        """What is done only where a choice says so: a use with its fee, one way of two, a step that takes."""
        problem, size = self.problem, self.size
        for j, d in enumerate(problem.decisions):
            if d.is_switched:
                unit = size / float(d.value)
                yield Row(None, None, {("x", j): -1.0, ("y", j): self._top(j)}, 0.0, size=unit)
                yield Row(None, None, {("x", j): 1.0, ("y", j): -float(d.minimum)}, 0.0, size=unit)
        for contract, ways in problem.both_ways().items():
            for way, j in ((way, j) for way, own in ways.items() for j in own):
                top = self._top(j)
                terms = {("x", j): -1.0, ("buys", *contract): float(way) * top}
                yield Row(None, None, terms, min(0.0, float(way) * top), size=size / float(problem.decisions[j].value))
        for key, lowering in sorted(problem.lowering.items()):
            for j in lowering:
                switch: dict[Any, float] = {("x", j): -1.0, ("lowers", *key): self._top(j)}
                yield Row(None, None, switch, 0.0, size=size / float(problem.decisions[j].value))

    def _reach(self, reach: Reach) -> Iterator[Row]:
        """So much may be opened, beyond what is closed: at one leverage, or unless another one is set."""
        problem = self.problem
        traded = [problem.decisions[j].value for j in (*reach.decisions, *reach.closing)]
        unit = self.size / float(traded[0]) if traded else 1.0
        ends = sum(self.most(j) for j in reach.decisions)
        room, terms = float(reach.most), {("x", j): -1.0 for j in reach.decisions}
        if reach.only is not None:
            terms |= {("x", j): 1.0 for j in reach.closing}
            terms["x", reach.only] = -max(0.0, ends - room)
            room += max(0.0, ends - room)
        terms |= {("x", j): ends for j in reach.unless}
        yield Row(None, (EDGE, reach.account), terms, -room, size=unit)

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
            unit = self.size / float(problem.prices[asset])
            gift: dict[Any, float] = {} if in_pocket else {("gift", account, name): 1.0}
            for stage in (REDUCED, SENT, RECEIVED, OPENED):
                flow = self._flow(account, name, stage)
                if flow != before:
                    tag = (account, name, WALLET, stage)
                    yield Row(None, tag, {**flow, **gift}, float(lowest - held), size=unit)
                before = flow

    def _settle(self, pocket: str) -> str:
        return next(e.asset for d in self.problem.decisions for e in d.effects if e.pocket == pocket)
