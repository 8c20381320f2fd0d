"""Do the rules give what the venue published?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from crossmargin.analytics.threshold import Convention, threshold
from crossmargin.engine.reporting import evaluate
from crossmargin.model.account import Account
from crossmargin.model.market import Market
from crossmargin.model.profile import Rules
from crossmargin.model.report import Report, Thresholds


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One published figure beside ours. ``agrees`` within the tolerance, or literally for words."""

    figure: str
    expected: str
    found: Decimal | str | None
    tolerance: Decimal
    agrees: bool


def verify(
    account: Account,
    market: Market,
    rules: Rules,
    expect: Mapping[str, str],
    tolerance_of: Callable[[str], Decimal],
) -> tuple[Check, ...]:
    """Judge an account and compare every expected figure.

    Figure paths: ``equity``; ``pools.NAME.headroom``; ``positions.SYMBOL.maintenance_margin`` (``SYMBOL long`` in
    hedge mode); ``balances.ASSET.equity``; ``thresholds.SYMBOL.below.price``, ``frozen_thresholds...`` for the
    convention that moves only the contract; ``common_shock.above.distance``. A path that leads nowhere is None.
    """
    answers = Answers(account, market, rules)
    checks = []
    for path, expected in expect.items():
        found = answers.find(path)
        if isinstance(found, Decimal) and _is_number(expected):
            tolerance = tolerance_of(expected)
            agrees = abs(found - Decimal(expected)) <= tolerance
        else:
            tolerance, agrees = Decimal(0), str(found) == expected
        checks.append(Check(figure=path, expected=expected, found=found, tolerance=tolerance, agrees=agrees))
    return tuple(checks)


def _is_number(text: str) -> bool:
    return text.lstrip("-").replace(".", "", 1).isdigit()


class Answers:
    """The judge's answers by figure path (see :func:`verify`), each computed when first asked for."""

    def __init__(self, account: Account, market: Market, rules: Rules) -> None:
        self._case = (account, market, rules)
        self._report: Report | None = None
        self._thresholds: dict[Convention, Thresholds] = {}

    @property
    def report(self) -> Report:
        """The report, without its lines."""
        if self._report is None:
            self._report = evaluate(*self._case, explain=False)
        return self._report

    def thresholds(self, convention: Convention) -> Thresholds:
        """Every threshold under a convention, ``coin`` or ``frozen``."""
        if convention not in self._thresholds:
            self._thresholds[convention] = threshold(*self._case, convention=convention)
        return self._thresholds[convention]

    def find(self, path: str) -> Any:
        """The figure a path leads to; None where it leads nowhere."""
        head, _, rest = path.partition(".")
        if head in ("thresholds", "frozen_thresholds"):
            rows = self.thresholds("frozen" if head.startswith("frozen") else "coin").thresholds
            return _row(rows, rest, lambda row: (row.symbol, f"{row.symbol} {row.pool}"))
        if head == "common_shock":
            return _walk(self.thresholds("coin").common_shock, rest)
        if head == "pools":
            return _row(self.report.pools, rest, lambda row: (row.name,))
        if head == "balances":
            return _row(self.report.balances, rest, lambda row: (row.asset,))
        if head == "positions":
            return _row(self.report.positions, rest, lambda row: (row.symbol, f"{row.symbol} {row.position_side}"))
        return getattr(self.report, head, None) if not rest else None


def _row(rows: tuple[Any, ...], path: str, names: Callable[[Any], tuple[str, ...]]) -> Any:
    """The figure of the row whose name starts the path; names may hold any character."""
    for row in rows:
        for name in names(row):
            if path.startswith(f"{name}."):
                return _walk(row, path[len(name) + 1 :])
    return None


def _walk(value: Any, path: str) -> Any:
    for part in path.split("."):
        value = getattr(value, part, None)
    return value
