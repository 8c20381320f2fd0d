"""Bringing a report and the oracle's pools together: by what they hold, not by what they are called."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction as F
from typing import Any

import crossmargin as cm
import oracle

UNIT = F(1, 10**18)
"""One unit of the last digit that is printed, and the relative bound for figures that are larger."""


def same(figure: Decimal | None, exact: F | None) -> bool:
    """Equal to the last unit, or to 1e-18 of the figure."""
    if figure is None or exact is None:
        return figure is None and exact is None
    return abs(F(figure) - exact) <= max(UNIT, UNIT * abs(exact))


def agree(name: str, figure: Decimal | None, exact: F | None) -> None:
    shown = None if exact is None else float(exact)
    assert same(figure, exact), f"{name}: the engine says {figure}, the oracle {shown}"


def case(account: dict[str, Any]) -> Any:
    return cm.case_from(account, "account")


def report_of(account: dict[str, Any]) -> Any:
    return cm.evaluate(*case(account))


def isolated(account: dict[str, Any]) -> set[tuple[str, str]]:
    return {
        (p["symbol"], p.get("position_side", "net"))
        for p in account.get("positions", ())
        if p.get("margin_mode") == "isolated"
    }


def pool_names(account: dict[str, Any], report: Any, law: oracle.Law) -> dict[oracle.Key, str]:
    """The report's name of each of the oracle's pools."""
    pockets = isolated(account)
    found: dict[oracle.Key, str] = {
        ("isolated", p.symbol, p.position_side): p.pool
        for p in report.positions
        if (p.symbol, p.position_side) in pockets
    }
    for pool in report.pools:
        if pool.name not in found.values():
            key = ("cross", pool.currency if law.pooling == "per_settle" else "")
            assert key not in found, f"two shared pools: {found[key]} and {pool.name}"
            found[key] = pool.name
    return found


def gone(law: oracle.Law, pool: oracle.Pool) -> bool:
    """Whether a pool is liquidated: an empty one is not, for nothing is asked of it; a pool of debts is."""
    return pool.headroom < 0 or (pool.headroom == 0 and pool.requirement and not law.strict)


def judged(account: dict[str, Any]) -> dict[oracle.Key, oracle.Pool]:
    return oracle.judge(oracle.law_of(account["profile"], account["as_of"]), account)
