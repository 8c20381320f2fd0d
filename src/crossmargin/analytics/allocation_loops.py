"""Is there a round of transfers and conversions that ends with more than it began?

Such a loop makes any aim endless, and no market has it: an index price, a spread or a fee is not meant so.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from crossmargin.analytics.allocation_decisions import Problem
from crossmargin.errors import AccountError, Fault
from crossmargin.model.fund import Conversion, Route

_ONE = Decimal(1)


def refuse_loops(problem: Problem) -> None:
    """Name a round of transfers and conversions that ends with more than it began: prices or fees are not meant so."""
    edges = list(_edges(problem))
    nodes = list(dict.fromkeys(node for edge in edges for node in edge[:2]))
    most: dict[tuple[str, str], Decimal] = dict.fromkeys(nodes, _ONE)
    via: dict[tuple[str, str], tuple[str, str]] = {}
    last: tuple[str, str] | None = None
    for _ in (*nodes, None):
        last = None
        for one, two, rate in edges:
            if most[one] * rate > most[two] * (1 + _TINY):
                most[two], via[two], last = most[one] * rate, one, two
        if last is None:
            return
    for _ in nodes:
        last = via[last] if last is not None else None
    loop = [last]
    while len(loop) == 1 or loop[-1] != last:
        node = loop[-1]
        loop.append(via[node] if node is not None else None)
    words = " -> ".join(f"{asset} on {account}" for account, asset in reversed([n for n in loop if n is not None]))
    why = "the round ends with more than it began with, again and again; check the index prices, spreads and fees"
    raise AccountError(f"fund {problem.fund.id}", (Fault("routes, conversions", words, why),))


_TINY = Decimal("1e-12")


def _edges(problem: Problem) -> Iterator[tuple[tuple[str, str], tuple[str, str], Decimal]]:
    for decision in problem.decisions:
        if decision.trade is not None:
            continue
        source = decision.source
        if isinstance(source, Route):
            yield (source.source, source.asset), (source.target, source.asset), 1 - source.fee_rate
        elif isinstance(source, Conversion):
            yield (source.account, source.sell), (source.account, source.buy), decision.effects[1].amount
