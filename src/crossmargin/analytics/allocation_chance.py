"""How likely is it that some pool falls below its buffer all the same?

Where a fund lets a share of its random moves break a buffer, the plan is found on one set of draws (a sample average)
and tested on another that it has never seen. The share that broke there and its exact binomial upper limit are the
statement: no normality of the count, no asymptotics.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import exp, lgamma, log, log1p

import numpy as np

from crossmargin.analytics.allocation_decisions import Problem
from crossmargin.analytics.allocation_lines import stricter
from crossmargin.analytics.allocation_scenarios import shocks_of
from crossmargin.engine.changes import Books
from crossmargin.engine.prepare import prepare
from crossmargin.model.fund import Safety
from crossmargin.model.instrument import parse_symbol

CONFIDENCE = 0.95
_NEAR = 1e-9
"""A draw counts as broken already where floats could not tell it from the line, at this share of what is at stake."""
_DIGITS = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Chance:
    """A bound on the probability that some pool breaks its buffer over the days of the draws.

    ``allowed`` as stated. ``given_up`` of ``draws`` broke in the sample on which the plan was found. ``broken`` of
    ``tested`` draws of a sample that it has never seen; ``share`` of them. With ``confidence`` the probability is at
    most ``upper`` (exact binomial, one-sided). ``kept``: whether that is within ``allowed``.
    """

    allowed: Decimal
    draws: int
    given_up: int
    tested: int
    broken: int
    share: Decimal
    upper: Decimal
    confidence: Decimal
    kept: bool


def chance_of(problem: Problem, books: Sequence[Books], given_up: int) -> Chance | None:
    """Test the accounts after a plan on fresh draws; None where the fund allows no draw to break."""
    safety = problem.fund.safety
    draws = safety.draws
    if draws is None or draws.probability is None:
        return None
    fresh = Safety(draws=draws.model_copy(update={"seed": draws.seed + 1, "tail": Decimal(1)}))
    prepared = [prepare(*one) for one in books]
    shocks = shocks_of(fresh, prepared, [parse_symbol(order.symbol).base for order in problem.fund.orders])
    breaks = np.zeros(len(shocks), dtype=bool)
    for account, one in enumerate(books):
        ready = stricter(prepare(*one, number=float), problem)
        rooms = shocks.rooms(ready, account)
        for column, pool in enumerate(ready.pools):
            if any(a.cash < 0 or any(e.legs for e in a.exposures) for a in pool.assets):
                amount = float(safety.buffer(problem.id(account), pool.name).amount)
                size = float(problem.size / problem.prices[pool.currency])
                breaks |= rooms[:, column] < amount + _NEAR * size
    broken = int(breaks[1:].sum())  # row 0 is the present market
    upper = Decimal(repr(round(_upper(broken, draws.count, CONFIDENCE), _DIGITS)))
    return Chance(
        allowed=draws.probability,
        draws=draws.count,
        given_up=given_up,
        tested=draws.count,
        broken=broken,
        share=Decimal(broken) / draws.count,
        upper=upper,
        confidence=Decimal(repr(CONFIDENCE)),
        kept=upper <= draws.probability,
    )


def _upper(broken: int, count: int, confidence: float) -> float:
    """The largest probability under which so few of ``count`` independent draws break with chance 1 - confidence.

    The one-sided Clopper-Pearson limit, by bisection of the binomial tail.
    """
    if broken >= count:
        return 1.0
    low, high = broken / count, 1.0
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (low, middle) if _tail(broken, count, middle) < 1 - confidence else (middle, high)
    return high


def _tail(most: int, count: int, chance: float) -> float:
    """The probability of ``most`` or fewer of ``count``."""
    if chance >= 1:
        return 0.0
    whole = lgamma(count + 1)
    return sum(
        exp(
            whole - lgamma(k + 1) - lgamma(count - k + 1) + (k * log(chance) if k else 0) + (count - k) * log1p(-chance)
        )
        for k in range(most + 1)
    )
