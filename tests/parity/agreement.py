"""Holding the compiled runner against the exact judge: every figure, verdict and threshold of every pool of a book."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import localcontext
from typing import Any

import numpy as np

import crossmargin as cm
from crossmargin.analytics.book import evaluate_book, threshold_book
from crossmargin.analytics.threshold import thresholds_of
from crossmargin.engine.book import Book
from crossmargin.engine.columns import Reason, Side, Status
from crossmargin.engine.prepare import prepare
from crossmargin.engine.reference import measure
from crossmargin.engine.tables import compile_rules
from crossmargin.errors import CrossmarginError, UnsupportedRule
from crossmargin.model.instrument import CASH
from crossmargin.model.number import CONTEXT
from crossmargin.model.profile import Rules

AS_OF = datetime(2026, 11, 20, 8, tzinfo=UTC)
FIGURES = ("equity", "maintenance_margin", "headroom", "initial_margin")
STATUS = {"healthy": Status.HEALTHY, "warning": Status.WARNING, "liquidation": Status.LIQUIDATION}
SIDE = {"never": Side.NEVER, "price": Side.PRICE, "already": Side.ALREADY, "unknown": Side.UNKNOWN}


def compilable() -> dict[str, Rules]:
    """Every profile that has a compiled form, with its rules of one day."""
    found = {}
    for name in cm.profile_ids():
        rules = cm.load_profile(name).on(AS_OF)
        try:
            compile_rules(rules, [], [])
        except UnsupportedRule:
            continue
        found[name] = rules
    return found


@dataclass
class Agreement:
    """What a comparison found: the largest relative differences, and whatever disagrees.

    Differences of figures are relative to the gross terms that they are sums of, those of prices to the price.
    """

    pools: int = 0
    sides: int = 0
    rejudged: int = 0
    refused: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    largest: dict[str, float] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def note(self, name: str, difference: float, limit: float, where: str) -> None:
        self.largest[name] = max(self.largest.get(name, 0.0), difference)
        if not difference <= limit:
            self.wrong.append(f"{where}: {name} differs by {difference:.3g}")


def terms(pool: Any) -> float:
    """The sum of the absolute values that the figures of a prepared pool are made of, in its currency."""
    total = 0.0
    for asset in pool.assets:
        own = abs(float(asset.cash))
        for exposure in asset.exposures:
            for leg in exposure.legs:
                value = float(exposure.notional(leg.size, exposure.mark))
                own += 2 * value + abs(float(exposure.pnl(leg.size, leg.entry, exposure.mark)))
        total += own * float(max(asset.price, asset.ask))
    return total


def compare(book: Book, market: Any, rules: Rules, found: Agreement, *, exact_market: Any = None) -> Agreement:
    """Judge every purse of a book on decimals and hold the columns against it."""
    exact_market = exact_market or market
    report, thresholds = evaluate_book(book, market, rules), threshold_book(book, market, rules)
    found.rejudged += report.rejudged + thresholds.rejudged
    lines_of: dict[int, list[int]] = {}
    for line, pool in enumerate(thresholds.pool):
        lines_of.setdefault(int(pool), []).append(line)
    pools_of: dict[int, list[int]] = {}
    for pool, purse in enumerate(report.purse):
        pools_of.setdefault(int(purse), []).append(pool)
    for purse in range(book.purses):
        (account,) = book.to_accounts(profile=rules.profile, rows=[purse])
        try:
            prepared = prepare(account, exact_market, rules)
        except CrossmarginError as error:
            found.refused += 1
            if not all(report.reason[row] >= Reason.MARK_PRICE_MISSING for row in pools_of[purse]):
                found.wrong.append(f"purse {purse}: the judge refuses it and the runner does not: {error}")
            continue
        exact = thresholds_of(prepared, explain=False)
        by_line = {(row.pool, row.symbol.split("/")[0]): row for row in exact.thresholds}
        with localcontext(CONTEXT):
            states = {pool.currency: (pool, measure(pool)) for pool in prepared.pools}
        assert len(states) == len(prepared.pools) == len(pools_of.get(purse, ()))
        flatness = np.inf
        for row in pools_of.get(purse, ()):
            where = f"purse {purse} pool {row}"
            pool, state = states[report.assets[report.currency[row]]]
            found.pools += 1
            if report.reason[row] >= Reason.MARK_PRICE_MISSING:
                found.wrong.append(f"{where}: {Reason(int(report.reason[row])).name}, the judge has figures")
                continue
            size = terms(pool) + 1e-300
            flatness = size / max(abs(float(state.headroom)), 1e-300)
            for name in FIGURES:
                value = {"maintenance_margin": state.maintenance, "initial_margin": state.initial}.get(
                    name, getattr(state, name, None)
                )
                ours = getattr(report, name)[row]
                if value is None:
                    if not np.isnan(ours):
                        found.wrong.append(f"{where}: {name} is {ours}, unknown to the judge")
                else:
                    found.note(name, abs(ours - float(value)) / max(size, abs(float(value))), 1e-9, where)
            with localcontext(CONTEXT):
                levels = [n for n, (rule, m) in enumerate(pool.ladder) if state.reached(rule.requirement, m)]
            if report.level[row] != (levels[-1] if levels else -1):
                found.wrong.append(f"{where}: level {report.level[row]}, the judge says {levels}")
            found.statuses[Status(int(report.status[row])).name.lower()] += 1
            for line in lines_of.get(row, ()):
                crossed = by_line.get((pool.name, report.assets[thresholds.coin[line]]))
                for side in ("below", "above") if crossed else ():
                    _side(found, getattr(crossed, side), thresholds, side, line, where, flatness)
        commons = pools_of.get(purse, ())
        moves = {row.symbol.split("/")[0] for row in exact.thresholds} - CASH
        if len(commons) == 1 and moves:  # where nothing moves, one account has no common shock to speak of
            for side in ("below", "above"):
                _side(
                    found, getattr(exact.common_shock, side), thresholds, f"common_{side}", commons[0], where, flatness
                )
    return found


def allowed(there: float, flatness: float) -> float:
    """How far a price of a book may be from the exact one, relative to it: 1e-9, and more where the crossing is flat.

    Headroom is known to 1e-14 of the terms that it is a sum of, so the crossing to that over its slope. Headroom is
    concave, hence at the crossing at least as steep as on average from now: |slope| >= headroom / |1 - t|. A move is
    stored as t - 1, which loses 2^-53.
    """
    return 1e-9 + (2.0**-53 + 1e-14 * flatness * abs(1 - there) * (1 + there)) / max(there, 1e-300)


def _side(found: Agreement, exact: Any, thresholds: Any, side: str, row: int, where: str, flatness: float) -> None:
    kind, move = getattr(thresholds, f"{side}_kind")[row], getattr(thresholds, side)[row]
    found.sides += 1
    if kind != SIDE[exact.kind]:
        found.wrong.append(f"{where}: {side} is {Side(int(kind)).name}, the judge says {exact}")
    elif kind == Side.PRICE:
        there = float(1 + exact.distance)
        found.note(f"{side} price", abs(1 + move - there) / max(there, 1e-12), allowed(there, flatness), where)
    elif not np.isnan(move):
        found.wrong.append(f"{where}: {side} has no price and says {move}")
