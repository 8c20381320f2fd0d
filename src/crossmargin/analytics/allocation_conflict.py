"""Why is there no plan, and what is the least that would have to give?

Which limits cannot hold together is found by leaving them out one by one: what remains when each that can go has gone
is a set of limits of which no one can be spared. The least change is a programme of its own, in which every named limit
may be broken at its price.
"""

from __future__ import annotations

from typing import NamedTuple

from crossmargin.analytics.allocation_rounds import Rounds

_LITTLE = 1e-8


class Conflict(NamedTuple):
    """Limits that cannot hold together, and the least change of limits that helps, each in its own unit."""

    limits: tuple[str, ...]
    relaxation: tuple[tuple[str, float], ...]


def conflict_of(rounds: Rounds) -> Conflict:
    """The limits in conflict and the least change, for a fund that has no plan; under the context of the judge."""
    master = rounds.master(elastic=True, aim=False)
    found = rounds.run(master)
    broken = {
        key[1]: value for key, value in found.solved.values.items() if isinstance(key, tuple) and key[0] == "broken"
    }
    size = float(rounds.problem.size)
    relaxation = tuple((name, value) for name, value in broken.items() if value > _LITTLE * size)
    kept = sorted(broken, key=lambda name: -broken[name])
    without: set[str] = set()
    for name in reversed(kept):  # what must give most is tried last, so that it stays in the answer
        trial = frozenset(without | {name})
        if rounds.run(rounds.master(without=trial, aim=False)).solved.status == "infeasible":
            without = set(trial)
    return Conflict(tuple(name for name in kept if name not in without), relaxation)
