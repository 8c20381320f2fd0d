"""What money does: funding, changes, hedges and the liquidation itself, as sections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from crossmargin.analytics.best_hedge import HedgeChoice
from crossmargin.analytics.cascade import Cascade
from crossmargin.analytics.funding import FundingOutlook, FundingPayment
from crossmargin.analytics.hedge import HedgeEffect, NeutralPair, Requirement
from crossmargin.analytics.whatif import WhatIf
from crossmargin.apps import figures
from crossmargin.apps.page import Section, Table
from crossmargin.apps.tables import shown
from crossmargin.apps.views.columns import amount, held, side, table
from crossmargin.model.report import Crossing

_HOURS = 24


def payments(rows: Sequence[FundingPayment]) -> Section:
    """What funding costs."""
    known = [row for row in rows if row.pool_per_day is not None]
    return Section(
        title="What funding costs",
        figures=[
            figures.bars(
                "Funding a day (received is negative)",
                [held(row) for row in known],
                [figures.number(row.pool_per_day) for row in known if row.pool_per_day is not None],
                ", ".join(dict.fromkeys(row.pool_currency for row in known)),
                costs=True,
            )
        ] if known else [],
        tables=[
            table(rows, ("position", held), "funding_rate", "payment", "per_day", "in:currency",
                  ("note", lambda row: row.reason or ""), words="note", title="Funding of each position")
        ],
    )  # fmt: skip


def outlook(found: FundingOutlook) -> Section:
    """How long it can pay funding."""
    paid = payments(found.payments)
    ends = [row for row in found.runways if row.hours is not None]

    def when(row: Any) -> Any:
        return row.at if row.kind == "time" and row.at is not None else row.reason or row.kind

    drawn = [
        figures.days_left(
            [f"{row.pool}, {row.scenario}" for row in ends], [float(row.hours or 0) / _HOURS for row in ends]
        )
    ]
    runways = table(
        found.runways, "scenario", "pool", "per_day", "in:currency", ("runway", when), words="runway pool",
        title="How long each pool lasts",
    )  # fmt: skip
    return Section(
        title="How long it can pay funding",
        figures=[*paid.figures, *(drawn if ends else [])],
        tables=[*paid.tables, runways],
    )


def cascade(found: Cascade) -> Section:
    """What happens when it breaks."""
    title = "What happens when it breaks"
    if found.kind not in ("price", "already"):
        return Section(title=title, text=f"{found.direction}: {found.reason or found.kind}.")
    move = "now" if found.distance is None else f"at {found.distance * 100:+.1f} %"
    return Section(
        title=title,
        text=f"{found.direction}: liquidated {move}; of {amount(found.equity_now)} {found.currency} the owner keeps "
        f"{amount(found.equity_after)}.",
        figures=figures.walk(found),
        tables=[
            table(found.steps, "step", "pool", "realized_pnl", "fee", "insurance_fund", "headroom_before",
                  "headroom_after", "equity_after", "note", words="pool note", title="Step by step"),
            table(found.bills, "in:currency", "realized_pnl", "fee", "insurance_fund", "deleveraged",
                  "socialized_loss", title="What it cost, by currency"),
        ],
    )  # fmt: skip


def needs(rows: Sequence[Requirement], pairs: Sequence[NeutralPair] = ()) -> Section:
    """What each position costs."""
    near = [
        f"{pair.coin} is nearly delta-neutral (delta {shown(pair.delta)}) but not margin-neutral: liquidated at "
        f"{side(pair.below)} and {side(pair.above)}."
        for pair in pairs
        if not pair.margin_neutral
    ]
    return Section(
        title="What each position costs",
        text=" ".join(near),
        figures=[figures.needs(rows)] if rows else [],
        tables=[
            table(rows, ("position", held), "pool", "in:currency", "marginal_maintenance", "stand_alone_maintenance",
                  "offset_maintenance", "marginal_initial", "headroom_without", words="pool")
        ],
    )  # fmt: skip


def _figures_of(before: Any, after: Any) -> Table:
    """The figures of an account or a pool before and after; what is not there is a dash."""
    rows = [
        [name, *("-" if report is None else amount(getattr(report, name)) for report in (before, after))]
        for name in figures.FIGURES
    ]
    return Table(columns=("figure", "before", "after"), rows=rows)


def _moved(rows: Sequence[Any]) -> Table:
    """Thresholds before and after; those that are never on either side are left out."""

    def words(found: Crossing | None) -> str:
        return "-" if found is None else side(found)

    told = [row for row in rows if any(end is not None and end.kind != "never" for end in (row.before, row.after))]
    return table(
        told,
        "price_of:symbol",
        "side",
        ("before", lambda row: words(row.before)),
        ("after", lambda row: words(row.after)),
    )


def whatif(found: WhatIf) -> Section:
    """What the changes do."""
    same = found.before.currency == found.after.currency
    return Section(
        title="What the changes do",
        text=" ".join([f"The venue's answer: {found.verdict}.", *found.refused, *found.notes]),
        figures=[figures.before_after("Before and after", found.before, found.after)] if same else [],
        tables=[
            table(found.steps, "change", "verdict", "realized_pnl", "fee", ("in", lambda row: row.asset or ""),
                  words="verdict"),
            _figures_of(found.before, found.after),
            _moved(found.threshold_changes),
        ],
    )  # fmt: skip


def hedge_effect(found: HedgeEffect) -> Section:
    """What the hedge frees."""
    return Section(
        title="What the hedge frees",
        figures=[figures.before_after(f"Pool {row.pool}", row.before, row.after) for row in found.pools],
        tables=[
            table(found.trades, "symbol", "quantity", "price", "fee", "realized_pnl", "in:currency"),
            table(found.pools, "pool", "in:currency", "freed_maintenance", "freed_initial", "headroom_change"),
            *(_figures_of(row.before, row.after) for row in found.pools),
            _moved(found.thresholds),
        ],
    )


def hedge_choices(rows: Sequence[HedgeChoice]) -> Section:
    """Which hedge reaches the target."""
    known = [row for row in rows if row.fee is not None]
    return Section(
        title="Which hedge reaches the target",
        figures=[
            figures.bars(
                "What each hedge costs in fees",
                [f"{row.side} {row.instrument}" for row in known],
                [-float(row.fee) for row in known if row.fee is not None],
                known[0].currency,
            )
        ] if known else [],
        tables=[
            table(rows, "instrument", "side",
                  ("trades", lambda row: ", ".join(f"{shown(t.quantity)} {t.symbol}" for t in row.trades) or "-"),
                  "fee", "initial_margin", "maintenance_margin", "headroom", "can_be_opened:openable",
                  ("note", lambda row: row.reason or ""), words="trades note")
        ],
    )  # fmt: skip
