"""What is our figure under the name that a venue prints it by?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal

from crossmargin.analytics.verification import Answers
from crossmargin.engine.prepare import prepare
from crossmargin.engine.reference import measure
from crossmargin.model.account import Account
from crossmargin.model.instrument import parse_symbol
from crossmargin.model.market import Market
from crossmargin.model.profile import Rules
from crossmargin.model.report import PositionReport
from crossmargin.model.source import RuleNoun


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
        """One figure; None where the account has no such row.

        ``FIGURE in COIN`` counts it in a coin of its pool, at the pool's price of the coin.
        """
        path, _, coin = path.partition(" in ")
        if coin:
            return self._in_coin(path, coin)
        head, _, name = path.rpartition(".")
        if name == "maintenance_margin_before_fee":
            account, market, rules = self.case
            return VenueFigures((account, market, _without_fees(rules))).find(f"{head}.maintenance_margin")
        if path.startswith("pools.") and name == "liquidation_price":
            return self._pocket_price(head.removeprefix("pools."))
        if path.startswith("balances.") and name in ("maintenance_margin", "initial_margin"):
            return self._debt_margin(head.removeprefix("balances."), name)
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

    def _in_coin(self, path: str, coin: str) -> Figure:
        found = self.find(path)
        for pool in prepare(*self.case).pools:
            if path.startswith((f"pools.{pool.name}.", "balances.")) and isinstance(found, Decimal):
                price: Decimal | None = next((asset.price for asset in pool.assets if asset.name == coin), None)
                if price is not None:
                    return found / price
        return None

    def _pocket_price(self, name: str) -> Figure:
        """The price of the base at which a pocket of two coins breaks, on the side that its debt is on."""
        pockets = {f"{pocket.symbol} isolated": pocket for pocket in self.case[0].pockets}
        if name not in pockets:
            return None
        base = parse_symbol(pockets[name].symbol).base
        held = pockets[name].balances.get(base)
        owes_base = held is not None and held.wallet_balance < held.accrued_interest
        for threshold in self.answers.thresholds("coin").thresholds:
            if (threshold.symbol, threshold.pool) == (base, name):
                side = threshold.above if owes_base else threshold.below
                return side.price if side.kind == "price" else NEVER if side.kind == "never" else None
        return None

    def _debt_margin(self, asset: str, name: str) -> Figure:
        """What a debt alone holds; None where contracts settle in the asset, for both are one requirement then."""
        for pool in prepare(*self.case).pools:
            for own in measure(pool).assets:
                if own.asset.name == asset and not pool.isolated and not own.asset.exposures:
                    found: Decimal | None = own.requirement if name == "maintenance_margin" else own.initial
                    return found
        return None

    def _rate(self, name: str, side: str) -> Figure:
        for pool in prepare(*self.case).pools:
            for asset in pool.assets:
                if asset.name == name:
                    found: Decimal = asset.bid if side == "bid_rate" else asset.ask
                    return found
        return None


def _without_fees(rules: Rules) -> Rules:
    """The rules where closing costs nothing: what a venue prints that counts its fees apart from the margin."""
    slots = rules.slots
    free: dict[str, RuleNoun] = {
        "maintenance_margin": slots.maintenance_margin.model_copy(update={"close_fee": "none"})
    }
    own = slots.isolated
    if own is not None and own.maintenance_margin is not None:
        kept = own.maintenance_margin.model_copy(update={"close_fee": "none"})
        free["isolated"] = own.model_copy(update={"maintenance_margin": kept})
    if slots.borrowing is not None:
        free["borrowing"] = slots.borrowing.model_copy(update={"fee": Decimal(0)})
    fees = {symbol: fee for symbol, fee in rules.taker_fees.items() if parse_symbol(symbol).kind != "spot"}
    return replace(rules, slots=slots.model_copy(update=free), taker_fees=fees)
