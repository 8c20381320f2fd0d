"""What an account is resolved against, and what was found to be wrong or missing on the way."""

from __future__ import annotations

from decimal import Decimal

from crossmargin.engine import kinds
from crossmargin.errors import AccountError, Fault, MarketDataError
from crossmargin.model.account import Account
from crossmargin.model.market import Market
from crossmargin.model.profile import Rules


def exact(value: Decimal) -> Decimal:
    """A number as it is."""
    return value


def _to_float(value: Decimal) -> float:
    return float(value)


class Lookup:
    """An account, its market and its rules in one number type, with every fault and missing price noted so far."""

    def __init__(self, account: Account, market: Market, rules: Rules, number: type) -> None:
        self.account = account
        self.market = market
        self.rules = rules
        self.number = number
        self.convert: kinds.Convert = exact if number is Decimal else _to_float
        self.zero = self.convert(Decimal(0))
        self._faults: list[Fault] = []
        self._missing: dict[str, Fault] = {}

    def fault(self, path: str, value: str, why: str) -> None:
        """Note what is wrong; the work goes on, so that everything wrong is found."""
        self._faults.append(Fault(path, value, why))

    def miss(self, path: str, what: str) -> None:
        """Note a price that is missing, once."""
        self._missing[path] = Fault(path, "", f"is missing: {what}")

    def refuse(self) -> None:
        """Raise :class:`AccountError` with every fault, else :class:`MarketDataError` with every missing price."""
        if self._faults:
            raise AccountError(f"account {self.account.id} under {self.rules.profile}", self._faults)
        if self._missing:
            raise MarketDataError(f"account {self.account.id}", self._missing.values())
