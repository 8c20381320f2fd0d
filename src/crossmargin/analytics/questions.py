"""Who is asked: one account, or a book of a million?

The same question under one name: an :class:`~crossmargin.model.account.Account` is judged exactly, a
:class:`~crossmargin.engine.book.Book` as columns. The array libraries load only for a book.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import TYPE_CHECKING, Any, overload

from crossmargin.engine import reporting
from crossmargin.model.account import Account
from crossmargin.model.market import Market
from crossmargin.model.profile import Rules
from crossmargin.model.report import Report, Thresholds
from crossmargin.model.scenario import Scenario

if TYPE_CHECKING:
    from crossmargin.analytics.book import BookReport, BookSensitivity, BookStress, BookThresholds
    from crossmargin.analytics.sensitivity import Sensitivity
    from crossmargin.analytics.stress import Outcome
    from crossmargin.engine.book import Book
    from crossmargin.engine.prices import Prices
    from crossmargin.engine.tables import Tables


def _ask(name: str, account: Any, *rest: Any, **options: Any) -> Any:
    """Hand a question to the module that answers it for what is asked: (module of one account, its name for a book)."""
    if isinstance(account, Account):
        module = import_module(f"crossmargin.analytics.{name}")
        return getattr(module, name)(account, *rest, **options)
    return getattr(import_module("crossmargin.analytics.book"), f"{name}_book")(account, *rest, **options)


@overload
def evaluate(account: Account, market: Market, rules: Rules, *, explain: bool = True) -> Report: ...
@overload
def evaluate(
    account: Book, market: Market | Prices, rules: Rules | Tables, *, threads: int | None = None
) -> BookReport: ...
def evaluate(account: Any, market: Any, rules: Any, **options: Any) -> Any:
    """What the venue would compute: :func:`crossmargin.engine.reporting.evaluate` for one account, columns for a
    book."""
    if isinstance(account, Account):
        return reporting.evaluate(account, market, rules, **options)
    return _ask("evaluate", account, market, rules, **options)


@overload
def threshold(account: Account, market: Market, rules: Rules, *, convention: Any = "coin") -> Thresholds: ...
@overload
def threshold(
    account: Book, market: Market | Prices, rules: Rules | Tables, *, threads: int | None = None
) -> BookThresholds: ...
def threshold(account: Any, market: Any, rules: Any, **options: Any) -> Any:
    """Every price of liquidation: :func:`crossmargin.analytics.threshold.threshold`, or columns for a book."""
    return _ask("threshold", account, market, rules, **options)


@overload
def stress(account: Account, market: Market, rules: Rules, scenarios: Iterable[Scenario]) -> tuple[Outcome, ...]: ...
@overload
def stress(
    account: Book,
    market: Market | Prices,
    rules: Rules | Tables,
    scenarios: Iterable[Scenario],
    *,
    threads: int | None = None,
) -> BookStress: ...
def stress(account: Any, market: Any, rules: Any, scenarios: Any, **options: Any) -> Any:
    """The account after each scenario: :func:`crossmargin.analytics.stress.stress`, or columns for a book."""
    return _ask("stress", account, market, rules, scenarios, **options)


@overload
def sensitivity(account: Account, market: Market, rules: Rules, **options: Any) -> Sensitivity: ...
@overload
def sensitivity(
    account: Book, market: Market | Prices, rules: Rules | Tables, *, threads: int | None = None
) -> BookSensitivity: ...
def sensitivity(account: Any, market: Any, rules: Any, **options: Any) -> Any:
    """The slopes of headroom: :func:`crossmargin.analytics.sensitivity.sensitivity`, or columns for a book."""
    return _ask("sensitivity", account, market, rules, **options)
