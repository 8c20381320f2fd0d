"""What does a plan do to each pool, and what is the next unit of each limit worth?

The plain figures of an answer: pools before and after with their worst scenario, and the shadow prices in words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from crossmargin.analytics.allocation_master import Master, Solved
from crossmargin.analytics.allocation_plan import Worst, worst_now
from crossmargin.analytics.allocation_programme import AIM_SCALE
from crossmargin.analytics.allocation_rounds import Rounds
from crossmargin.analytics.allocation_scenarios import Shocks
from crossmargin.engine.changes import Books
from crossmargin.engine.reporting import evaluate
from crossmargin.model.number import plain
from crossmargin.model.report import PoolReport

_ZERO = Decimal(0)
_WORTH = 1e-7


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


def pools_of(
    origin: Rounds, shocks: Shocks, after: Sequence[Books], worst: Mapping[tuple[int, str], Worst]
) -> tuple[PoolPlan, ...]:
    """Every pool as it stood and as the plan leaves it; under the context of the judge."""
    now = worst_now(origin, shocks)
    found = []
    for index, books in enumerate(origin.problem.books):
        was, then = (
            {pool.name: pool for pool in evaluate(*case, explain=False).pools} for case in (books, after[index])
        )
        for name in dict.fromkeys([*was, *then]):
            found.append(
                PoolPlan(
                    account=origin.problem.id(index),
                    pool=name,
                    currency=(was.get(name) or then[name]).currency,
                    before=_figures(was.get(name), now.get((index, name))),
                    after=_figures(then.get(name), worst.get((index, name))),
                )
            )
    return tuple(found)


def shadow_prices(rounds: Rounds, master: Master, solved: Solved) -> tuple[ShadowPrice, ...]:
    """What binds, dearest first: a unit more of each wallet, a unit less of each buffer."""
    problem, size = rounds.problem, money_of(rounds)
    shadow = master.shadow(solved)
    found = []
    for key, dual in shadow.columns.items():
        if isinstance(key, tuple) and key[0] == "gift" and abs(dual) * float(size) > _WORTH:
            account, asset = problem.id(key[1]), key[2]
            value = -Decimal(repr(dual)) * size
            words = f"one more {asset} on {account} is worth {_money(value)} {problem.fund.currency} of the aim"
            found.append(ShadowPrice(words=words, account=account, asset=asset, limit=None, scenario=None, value=value))
    by_limit: dict[tuple[str, str, str], Decimal] = {}
    for row, dual in shadow.rows:
        if row.limit is not None and abs(dual) * float(size) > _WORTH:
            account = problem.id(row.tag[0]) if isinstance(row.tag, tuple) else ""
            limit = (row.limit, row.note, account)
            by_limit[limit] = by_limit.get(limit, _ZERO) + Decimal(repr(dual)) * size
    for (name, note, account), value in by_limit.items():
        where = f", binding in {note}" if note else ""
        words = f"{name}{where}: one unit more of it is worth {_money(abs(value))} {problem.fund.currency}"
        found.append(
            ShadowPrice(words=words, account=account, asset=None, limit=name, scenario=note or None, value=abs(value))
        )
    return tuple(sorted(found, key=lambda price: -abs(price.value)))


def money_of(rounds: Rounds) -> Decimal:
    """What a unit of the programme's objective is in the fund's currency."""
    return rounds.problem.size / Decimal(repr(AIM_SCALE))


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
