"""Many accounts under one set of rules: a price moves, and only those whose level changed are looked at.

The tick index (:mod:`crossmargin.engine.ticks`) says which; nothing that crossed a level between two prices and came
back is missed. What is watched here is the level: it is exact, and the only figure that needs no look at everybody.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from crossmargin.apps.monitor.observe import fingerprint, said
from crossmargin.apps.monitor.rules import KindName, Reading
from crossmargin.apps.monitor.sources import file_mark
from crossmargin.errors import AccountError, CrossmarginError, Fault

if TYPE_CHECKING:  # the index is compiled code, for who has a book
    from crossmargin.engine.book import Book
    from crossmargin.engine.ticks import TickIndex
    from crossmargin.model.market import Market
    from crossmargin.model.profile import Rules

MEMBER: tuple[KindName, ...] = ("level", "unknown", "rules")
"""What is watched of an account of a book; how old its prices are is watched once, under the name of the book."""
WHOLE: tuple[KindName, ...] = ("stale", "unknown")
_NO_FIGURES = -2


class Fleet:
    """The accounts of a book as readings: all of them at first, then those whose level changes.

    Raises :class:`UnsupportedRule` for a profile that cannot be compiled, which the plain judge takes.
    """

    def __init__(self, name: str, book: Book, market: Market, rules: Rules) -> None:
        from crossmargin.engine.ticks import TickIndex

        self._name = name
        self._index: TickIndex = TickIndex(book, market, rules)
        self._rules = fingerprint(rules)
        self._ids = book.account_ids
        self._account = book.account.tolist()
        ladders = [len(law.level_multiple) - 1 for law in self._index.tables.laws]
        self._liquidation = [ladders[int(isolated)] for isolated in book.isolated.tolist()]
        self._ladder = self._index.levels().ladder
        self._levels: dict[int, dict[tuple[int, int], int]] = {}
        for purse, currency, level in self._index.levels().rows():
            self._levels.setdefault(self._account[purse], {})[purse, currency] = level

    def readings(self, accounts: Iterable[int], as_of: datetime) -> list[Reading]:
        """The readings of some accounts, by their numbers."""
        return [self._reading(number, as_of) for number in accounts]

    def everybody(self, as_of: datetime) -> list[Reading]:
        """The readings of all."""
        return self.readings(sorted(self._levels), as_of)

    def tick(self, prices: Mapping[str, Decimal], as_of: datetime) -> list[Reading]:
        """New prices of one moment, by symbol or asset; the readings of the accounts whose level changed by them.

        A name that nobody in the book holds is no price here.
        """
        known = [(code, price) for name, price in prices.items() if (code := self._index.source(name)) >= 0]
        if not known:
            return []
        changes = self._index.ticks(
            [code for code, _ in known],
            [float(price) for _, price in known],
            last=[n == len(known) - 1 for n in range(len(known))],
        )
        changed: dict[int, None] = {}
        for purse, currency, new in zip(
            changes.purse.tolist(), changes.currency.tolist(), changes.new.tolist(), strict=True
        ):
            number = self._account[purse]
            self._levels[number][purse, currency] = new
            changed[number] = None
        return self.readings(changed, as_of)

    def account_name(self, number: int) -> str:
        """The name under which an account of the book is watched."""
        return f"{self._name}/{number if self._ids is None else self._ids[number]}"

    def _reading(self, number: int, as_of: datetime) -> Reading:
        levels = self._levels[number]
        blind = any(level == _NO_FIGURES for level in levels.values())
        worst = max(
            (2 if level >= self._liquidation[purse] else 1 if level >= 0 else 0, level)
            for (purse, _), level in levels.items()
        )
        words = "healthy" if not worst[0] else "liquidation" if worst[0] == 2 else self._ladder[worst[1]]
        return Reading(
            account=self.account_name(number),
            as_of=as_of,
            figures={"level": Decimal(worst[0])},
            words={"level": words},
            unknown={"level": "a price or a rule of it is missing, or its row is wrong"} if blind else {},
            rules=self._rules,
            scope=MEMBER,
        )


class BookSource:
    """A book of accounts (Parquet) and a file of prices that somebody keeps writing."""

    def __init__(self, name: str, book: str, prices: str, profile: str, *, every_seconds: int) -> None:
        self.every_seconds = every_seconds
        self._name = name
        self._paths = (book, prices)
        self._profile = profile
        self._known: list[tuple[int, ...] | None] = [None, None]
        self._fleet: Fleet | None = None
        self._as_of: datetime | None = None

    def poll(self, at: datetime) -> Sequence[Reading] | None:
        """Everybody where the book is new; after new prices those whose level changed."""
        marks = [file_mark(path) for path in self._paths]
        if marks == self._known:
            return None
        try:
            found = self._found(new=self._fleet is None or marks[0] != self._known[0])
        except CrossmarginError as error:
            return [self._own(problem=said(error))]
        self._known = marks
        return [self._own(), *found]

    def _found(self, *, new: bool) -> list[Reading]:
        from crossmargin.apps.batch import books_of
        from crossmargin.files.markets import read_market
        from crossmargin.files.profiles import load_profile

        read = read_market(self._paths[1])
        market, self._as_of = read.market, read.market.as_of
        if new or self._fleet is None:
            books = list(books_of(self._paths[0]))
            if len(books) != 1:
                why = "must fit into one part; split it and watch each part by itself"
                raise AccountError(self._paths[0], (Fault("book", f"{len(books)} parts", why),))
            rules = load_profile(self._profile).on(market.as_of).with_overrides(read.instruments, read.assets)
            self._fleet = Fleet(self._name, books[0], market, rules)
            return self._fleet.everybody(market.as_of)
        return self._fleet.tick({**market.mark_price, **market.index_price}, market.as_of)

    def _own(self, problem: str | None = None) -> Reading:
        return Reading(
            account=self._name, as_of=self._as_of, figures={}, words={}, unknown={}, problem=problem, scope=WHOLE
        )

    def adopt(self, accounts: Collection[str]) -> set[str]:
        """Those under the name of the book."""
        return {name for name in accounts if name == self._name or name.startswith(f"{self._name}/")}

    def forget(self) -> None:
        """Read the book again."""
        self._fleet, self._known = None, [None, None]

    def close(self) -> None:
        """Nothing is held open."""
