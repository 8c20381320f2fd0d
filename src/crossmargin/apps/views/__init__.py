"""Every answer as a section: words, tables and figures. The report page and the notebook show the same.

A section is data (:class:`crossmargin.apps.page.Section`); :func:`view` finds the one for a result by its type, or by
the type of its rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from crossmargin.analytics.allocation import FrontierPoint, Plan
from crossmargin.analytics.barrier import LiquidationProbability
from crossmargin.analytics.best_hedge import HedgeChoice
from crossmargin.analytics.box import WorstInBox
from crossmargin.analytics.cascade import Cascade
from crossmargin.analytics.comparison import Comparison
from crossmargin.analytics.curve import Curve
from crossmargin.analytics.funding import FundingOutlook, FundingPayment
from crossmargin.analytics.hedge import HedgeEffect, Requirement
from crossmargin.analytics.limits import MaxOrder, MaxWithdraw
from crossmargin.analytics.replay import Run
from crossmargin.analytics.reverse_stress import ReverseStress
from crossmargin.analytics.sensitivity import Sensitivity
from crossmargin.analytics.stress import Depeg, HeatMap, Outcome, SafetyBuffer, WorstCase
from crossmargin.analytics.systemic import Systemic
from crossmargin.analytics.whatif import WhatIf
from crossmargin.apps.page import Section
from crossmargin.apps.views import account, capital, market, money, passage
from crossmargin.model.report import Report, Thresholds

RESULTS: dict[type, Callable[[Any], Section]] = {
    Report: account.standing,
    Thresholds: account.thresholds,
    Comparison: account.comparison,
    HeatMap: market.heat_map,
    WorstCase: market.worst_case,
    SafetyBuffer: market.safety_buffer,
    WorstInBox: market.worst_in_box,
    ReverseStress: market.killing_move,
    LiquidationProbability: market.probability,
    Sensitivity: market.sensitivity,
    FundingOutlook: money.outlook,
    Cascade: money.cascade,
    WhatIf: money.whatif,
    HedgeEffect: money.hedge_effect,
    Plan: capital.plan,
    Systemic: passage.systemic,
}
"""The section of each result."""

ROWS: dict[type, Callable[[Sequence[Any]], Section]] = {
    Curve: account.curves,
    MaxOrder: account.orders,
    MaxWithdraw: account.withdrawals,
    Outcome: market.outcomes,
    Depeg: market.depegs,
    FundingPayment: money.payments,
    Requirement: money.needs,
    HedgeChoice: money.hedge_choices,
    FrontierPoint: capital.frontier,
    Run: passage.replay,
}
"""The section of a result that comes in rows, alone or several in a tuple."""


def view(result: Any) -> Section:
    """The section of a result, or of a tuple of rows. Raises :class:`TypeError` for what is no answer."""
    if type(result) in RESULTS:
        return RESULTS[type(result)](result)
    rows = result if isinstance(result, tuple | list) else (result,)
    kinds = {type(row) for row in rows}
    if len(kinds) == 1 and (kind := kinds.pop()) in ROWS:
        return ROWS[kind](rows)
    known = ", ".join(sorted(kind.__name__ for kind in (*RESULTS, *ROWS)))
    raise TypeError(f"no view of {type(result).__name__}; there is one for {known}, and for tuples of rows")
