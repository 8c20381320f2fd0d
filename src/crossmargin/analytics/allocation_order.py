"""Which steps does a venue admit only once a pool has room?

A step that takes from a pool is refused while it leaves a line of the pool crossed, and more so than before. What adds
to the pool is done first, so such a step is possible at a stage just where the stage ends with room.
"""

from __future__ import annotations

from decimal import Decimal

from crossmargin.analytics.allocation_decisions import FAR, REDUCED, SENT, Problem
from crossmargin.analytics.allocation_lines import Context, rooms_of
from crossmargin.engine.prepare import prepare
from crossmargin.engine.reference import measure
from crossmargin.model.account import Balance
from crossmargin.model.fund import Conversion

_ZERO, _ONE = Decimal(0), Decimal(1)


def taking(problem: Problem, account: int, pool: str, stage: int) -> list[int]:
    """The decisions that take from a pool at a stage wherever the plan stands then: what is sent, or sold at a loss.

    A conversion lowers a room where it does so even for one who owes what is bought and has much of what is sold.
    """
    if stage == SENT:
        return problem.sends(account, pool)
    books, found = problem.books[account], []
    for j, decision in enumerate(problem.decisions):
        if not isinstance(decision.source, Conversion) or decision.stage != stage or stage != REDUCED:
            continue
        sold, bought = decision.effects
        if sold.account != account:
            continue
        rooms = []
        for units in (_ZERO, _ONE):
            far = [FAR * problem.size / problem.prices[effect.asset] for effect in (sold, bought)]
            there = {sold.asset: far[0] - units, bought.asset: units * bought.amount - far[1]}
            balances = {name: b for name, b in books.account.balances.items() if name not in there}
            for name, amount in there.items():
                own = books.account.balances.get(name, Balance())
                balances[name] = own.model_copy(update={"wallet_balance": amount})
            moved = books.account.model_copy(update={"balances": balances})
            states = {one.name: measure(one) for one in prepare(moved, books.market, books.rules).pools}
            rooms.append(rooms_of(states[pool], Context(account, stage, None), leaving=False) if pool in states else {})
        if any(after < rooms[0][name] for name, after in rooms[1].items() if after is not None and name in rooms[0]):
            found.append(j)
    return found
