"""A whole book as one page: verdicts, the distribution of margin ratios, and where it is concentrated."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from crossmargin.analytics.book_risk import BookSummary, RatioClass
from crossmargin.apps.figures import BLUE, MOST_BARS, RED, SKY, Spec, layout
from crossmargin.apps.page import Section, Table, plotly_script, render
from crossmargin.apps.tables import shown


def book_page(found: BookSummary, as_of: datetime) -> str:
    """The page as HTML text; nothing in it is fetched. Raises :class:`MissingExtra` without plotly."""
    broken, unknown = found.status["liquidation"], found.status["unknown"]
    status = "liquidation" if broken else "warning" if found.status["warning"] or unknown else "healthy"
    return render(
        title="A book of accounts",
        status=status,
        lead=f"{broken:,} of {found.pools:,} pools are liquidatable, {found.status['warning']:,} at a warning level, "
        f"{unknown:,} unknown.",
        sub=f"{found.positions:,} positions under {found.profile}, {as_of:%Y-%m-%d %H:%M} UTC",
        sections=_sections(found),
        foot=f"{found.rejudged:,} verdicts lay within rounding of a line and were decided by exact arithmetic.",
        script=plotly_script(),
    )


def _sections(found: BookSummary) -> list[Section]:
    return [
        Section(
            title="Margin ratio",
            text="Pools by maintenance margin over equity; at 100 % a pool is liquidatable.",
            figures=[_histogram(found.ratios)],
            tables=[Table(columns=["margin_ratio", "pools"], rows=[[_class(r), f"{r.pools:,}"] for r in found.ratios])],
            folded=True,
        ),
        Section(title="Riskiest pools", tables=[_riskiest(found)]),
        Section(
            title="Concentration by contract",
            text="Longs and shorts at the mark: in the settle asset, and together in the profile's currency.",
            figures=[_contracts(found)],
            tables=[_contract_table(found)],
            folded=True,
        ),
        Section(title="Concentration by collateral", tables=[_collateral_table(found)]),
        *([Section(title="Why figures are unknown", tables=[_reasons(found)])] if found.reasons else []),
    ]


def _class(row: RatioClass) -> str:
    return f"{row.low:.0%} and more" if row.high is None else f"{row.low:.0%} to {row.high:.0%}"


def _histogram(classes: Sequence[RatioClass]) -> Spec:
    colours = [RED if row.high is None else BLUE for row in classes]
    bars = {
        "type": "bar",
        "x": [_class(row) for row in classes],
        "y": [row.pools for row in classes],
        "marker": {"color": colours},
    }
    return {"data": [bars], "layout": layout("Pools by margin ratio", "margin ratio", "pools", showlegend=False)}


def _contracts(found: BookSummary) -> Spec:
    rows = [row for row in found.instruments if row.value is not None][:MOST_BARS]
    bars = {
        "type": "bar",
        "x": [row.symbol for row in rows],
        "y": [row.value for row in rows],
        "marker": {"color": SKY},
    }
    return {"data": [bars], "layout": layout("Open value by contract", "", found.currency, showlegend=False)}


def _figure(value: float | None) -> str:
    return "unknown" if value is None else shown(Decimal(f"{value:.10g}"))


def _riskiest(found: BookSummary) -> Table:
    return Table(
        columns=["account", "pool", "in", "status", "equity", "maintenance_margin", "headroom"],
        rows=[
            [r.account, r.pool, r.currency, r.status, *map(_figure, (r.equity, r.maintenance_margin, r.headroom))]
            for r in found.riskiest
        ],
        words=frozenset(["pool", "in", "status"]),
    )


def _contract_table(found: BookSummary) -> Table:
    return Table(
        columns=[
            "contract",
            "in",
            "positions",
            "long_notional",
            "short_notional",
            "largest",
            f"value in {found.currency}",
        ],
        rows=[
            [r.symbol, r.currency, f"{r.positions:,}"]
            + [_figure(value) for value in (r.long_notional, r.short_notional, r.largest, r.value)]
            for r in found.instruments
        ],
        words=frozenset(["in"]),
    )


def _collateral_table(found: BookSummary) -> Table:
    return Table(
        columns=["asset", "holdings", "held", "owed", f"value in {found.currency}"],
        rows=[[r.asset, f"{r.holdings:,}", *map(_figure, (r.held, r.owed, r.value))] for r in found.collateral],
    )


def _reasons(found: BookSummary) -> Table:
    return Table(columns=["reason", "pools"], rows=[[name, f"{count:,}"] for name, count in found.reasons.items()])
