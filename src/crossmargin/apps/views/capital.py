"""Where the capital of a fund should sit, as sections."""

from __future__ import annotations

from collections.abc import Sequence

from crossmargin.analytics.allocation import FrontierPoint, Plan
from crossmargin.apps import figures
from crossmargin.apps.page import Section
from crossmargin.apps.tables import shown
from crossmargin.apps.views.columns import table


def plan(found: Plan) -> Section:
    """The moves of a plan and each pool's slack before and after."""
    tested = [pool for pool in found.pools if pool.after is not None and pool.after.slack is not None]
    names = [f"{pool.account} {pool.pool}" for pool in tested]
    slacks = [figures.number(pool.after.slack) if pool.after else None for pool in tested]
    return Section(
        title="Where the capital should sit",
        text=f"{found.aim}: {shown(found.objective)} {found.currency}, proved to {shown(found.gap)}.",
        figures=[figures.bars("Slack beyond the buffer in the worst scenario", names, slacks, "")] if names else [],
        tables=[
            table(found.moves, "phase", ("move", lambda move: move.words), "amount", "quantity", "price", "receives",
                  "cost", words="move"),
            table(found.shadow_prices, ("what one more is worth", lambda price: price.words), "value",
                  words="what one more is worth"),
        ],
        notes=found.notes,
    )  # fmt: skip


def frontier(rows: Sequence[FrontierPoint]) -> Section:
    """What more safety costs."""
    return Section(
        title="What more safety costs",
        figures=[figures.trade_off(rows)],
        tables=[table(rows, "level", "objective", "cost", "freed", "collateral", "headroom")],
    )
