"""What is our figure under the name that a venue prints it by?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal

from crossmargin.analytics.verification import Answers
from crossmargin.engine.prepare import prepare
from crossmargin.model.account import Account
from crossmargin.model.market import Market
from crossmargin.model.profile import Rules
from crossmargin.model.report import PositionReport


class Never:
    """Ours is that no such price exists."""


NEVER = Never()
Figure = Decimal | Never | None
AccountCase = tuple[Account, Market, Rules]
"""What is judged: an account, its market and its rules."""


def over(above: Decimal, below: Decimal) -> Decimal | None:
    """A quotient; None where there is nothing to divide by."""
    return above / below if below else None


COMPOSED: Mapping[str, tuple[tuple[str, str], Callable[[Decimal, Decimal], Decimal | None]]] = {
    "initial_margin_ratio": (("initial_margin", "equity"), over),
    "initial_coverage": (("equity", "initial_margin"), over),
    "maintenance_coverage": (("equity", "maintenance_margin"), over),
    "risk_rate": (("headroom", "initial_margin"), over),
    "margin_and_pnl": (("initial_margin", "unrealized_pnl"), lambda margin, pnl: margin + pnl),
}
"""Figures that venues print and a report does not: the same figures the other way round."""


class VenueFigures:
    """The judge's figures of one case, by the paths that venues report under."""

    def __init__(self, case: AccountCase) -> None:
        self.case = case
        self.answers = Answers(*case)

    def find(self, path: str) -> Figure:
        """One figure; None where the account has no such row."""
        head, _, name = path.rpartition(".")
        if path.startswith("positions.") and name == "liquidation_price":
            return self._liquidation_price(head.removeprefix("positions."))
        if path.startswith("rates."):
            return self._rate(head.removeprefix("rates."), name)
        if name in COMPOSED:
            names, combine = COMPOSED[name]
            first, second = (self.find(f"{head}.{part}" if head else part) for part in names)
            return combine(first, second) if isinstance(first, Decimal) and isinstance(second, Decimal) else None
        found = self.answers.find(path)
        return found if isinstance(found, Decimal) else None

    def position(self, key: str) -> PositionReport | None:
        """The report's row of a position; ``SYMBOL long`` in hedge mode."""
        rows = self.answers.report.positions
        return next((row for row in rows if key in (row.symbol, f"{row.symbol} {row.position_side}")), None)

    def _liquidation_price(self, key: str) -> Figure:
        row = self.position(key)
        if row is None:
            return None
        legs = [p.quantity for p in self.answers.report.positions if (p.symbol, p.pool) == (row.symbol, row.pool)]
        net = sum(legs, Decimal(0)) or row.quantity
        for threshold in self.answers.thresholds("frozen").thresholds:
            if (threshold.symbol, threshold.pool) == (row.symbol, row.pool):
                side = threshold.below if net > 0 else threshold.above
                return side.price if side.kind == "price" else NEVER if side.kind == "never" else None
        return None

    def _rate(self, name: str, side: str) -> Figure:
        for pool in prepare(*self.case).pools:
            for asset in pool.assets:
                if asset.name == name:
                    found: Decimal = asset.bid if side == "bid_rate" else asset.ask
                    return found
        return None
