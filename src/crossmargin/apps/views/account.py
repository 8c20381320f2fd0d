"""The account as it stands, as sections: figures, thresholds, curves, modes, what it can still open."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from crossmargin.analytics.comparison import Comparison
from crossmargin.analytics.curve import Curve
from crossmargin.analytics.limits import MaxOrder, MaxWithdraw
from crossmargin.apps import figures
from crossmargin.apps.page import Section, Table
from crossmargin.apps.tables import shown
from crossmargin.apps.views.columns import held, side, table
from crossmargin.model.profile import Rules
from crossmargin.model.report import Report, Thresholds

_EVERY = 8
"""A curve's table shows every eighth of its points."""


def standing(report: Report) -> Section:
    """Where it stands."""

    def status(pool: Any) -> str:
        return str(pool.status) + (f" ({pool.level})" if pool.level else "")

    return Section(
        title="Where it stands",
        notes=report.notes,
        figures=[
            figures.waterfall(line, pool)
            for line, pool in zip(report.lines, report.pools, strict=bool(report.lines))
            if line.parts
        ],
        tables=[
            table(
                report.pools, "pool:name", "in:currency", "equity", "maintenance_margin", "headroom", "margin_ratio",
                "initial_margin", "free_collateral", ("status", status), title="Pools",
            ),
            table(
                report.positions, ("position", held), "quantity", "mark_price", "notional", "unrealized_pnl",
                "initial_margin", "maintenance_margin", ("bracket", lambda p: str(p.bracket or "-")),
                title="Positions",
            ),
            table(
                report.balances, "asset", "pool", "wallet_balance", "unrealized_pnl", "equity", "collateral_value",
                title="Collateral",
            ),
        ],
    )  # fmt: skip


def lines(report: Report) -> Section:
    """Every line, with its rule."""
    rows: list[list[str]] = []

    def grow(line: Any, depth: int) -> None:
        name = "\u00a0" * 4 * depth + line.name
        rows.append([name, shown(line.value), line.unit, line.formula, ", ".join(line.source)])
        for part in line.parts:
            grow(part, depth + 1)

    for line in report.lines:
        grow(line, 0)
    columns = ("figure", "value", "unit", "formula", "source")
    return Section(
        title="Every line, with its rule",
        tables=[Table(columns=columns, rows=rows, words=frozenset({"unit", "formula", "source"}))],
        folded=True,
    )


def sources(rules: Rules) -> Section:
    """Where the rules are written."""
    rows = rules.sources.values()
    return Section(
        title="Sources", tables=[table(rows, "title", "status", "retrieved", "url", words="title url")], folded=True
    )


def thresholds(found: Thresholds) -> Section:
    """Where it is liquidated."""

    def binding(row: Any) -> str:
        return next((found.binding for found in (row.below, row.above) if found.binding), "")

    frozen = "Each line moves one contract's own mark; collateral is frozen, as in the figure that venues print."
    every = "Each line moves one coin everywhere: its contracts, and itself as collateral. Exact, nearest each side."
    named = "price_of:symbol", "pool", "now:price_now", "below", "above", ("binding", binding)
    main = table(found.thresholds, *named, words="pool binding")
    shock, drawn = found.common_shock, figures.distances(found)
    together = [shock.direction, shock.pool or "", "", side(shock.below), side(shock.above), binding(shock)]
    return Section(
        title="Where it is liquidated",
        text=every if found.convention == "coin" else frozen,
        figures=[drawn] if drawn["data"][0]["y"] else [],
        tables=[Table(columns=main.columns, rows=[*main.rows, together], words=main.words)],
    )


def curves(found: Sequence[Curve]) -> Section:
    """Equity against maintenance margin."""
    twins = [
        Table(
            columns=("move", "equity", "maintenance_margin"),
            rows=[
                [f"{move:+.1%}", f"{equity:,.2f}", f"{kept:,.2f}"]
                for move, equity, kept in list(zip(c.move, c.equity, c.maintenance_margin, strict=True))[::_EVERY]
            ],
        )
        for c in found
    ]
    return Section(
        title="Equity against maintenance margin",
        text="Where the lines meet, the pool is liquidated.",
        figures=[figures.equity_curve(c) for c in found],
        tables=twins,
        folded=True,
    )


def comparison(found: Comparison) -> Section:
    """Isolated or cross."""

    def together(name: str) -> Any:
        return lambda row: side(getattr(row.thresholds.common_shock, name)) if row.thresholds else "-"

    several = len({(row.profile, row.rules_since) for row in found.rows}) > 1
    return Section(
        title="Isolated or cross",
        text="The same positions under each mode; the largest scale is how many times the "
        "whole book could be carried, capital efficiency the value that one unit of equity could carry then.",
        figures=[figures.modes(found)] if any(row.headroom is not None for row in found.rows) else [],
        tables=[
            table(
                found.rows, *(["profile", "rules_since"] if several else []), "mode", "admitted", "headroom",
                "margin_ratio", "free_collateral", "largest_scale", "capital_efficiency",
                ("down_together", together("below")), ("up_together", together("above")), "note:reasons", words="note",
            )
        ],
    )  # fmt: skip


def orders(rows: Sequence[MaxOrder]) -> Section:
    """How much more it can open."""
    return Section(
        title="How much more it can open",
        text="The largest order of each side, in contracts; one last digit more crosses the line named.",
        tables=[
            table(rows, "symbol", "side", "price", "quantity", "fee",
                  ("binding", lambda row: row.binding or row.reason or "-"), words="binding")
        ],
    )  # fmt: skip


def withdrawals(rows: Sequence[MaxWithdraw]) -> Section:
    """How much it can take out."""
    return Section(
        title="How much it can take out",
        tables=[
            table(rows, "asset", "amount", "free_collateral",
                  ("binding", lambda row: row.binding or row.reason or "-"), words="binding")
        ],
    )  # fmt: skip
