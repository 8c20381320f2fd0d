"""Where accounts come from: files, venues with a read-only key, the clearing's journal, the service's own store.

A source gives what is new, ``None`` where nothing is, and says what it could not read; it never fills anything in.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from crossmargin.apps.monitor.observe import ALIVE, Seen, said
from crossmargin.apps.monitor.rules import Reading
from crossmargin.errors import CrossmarginError
from crossmargin.files.accounts import Case, case_from, read_table
from crossmargin.files.live import Read, read_live
from crossmargin.files.markets import read_market
from crossmargin.files.secret import credentials
from crossmargin.files.text import parse_table
from crossmargin.files.unified import VENUES, import_account
from crossmargin.model.market import Market
from crossmargin.model.reported import reported_from

if TYPE_CHECKING:  # a database is needed for the sources that have one
    from crossmargin.apps.store.store import Store
    from crossmargin.clearing.desk import Desk
    from crossmargin.clearing.state import AccountState

_TABLES = ("mark_price", "index_price", "last_price", "bid_rate", "ask_rate", "funding_rate", "funding_interval")
_LONGEST_BACKOFF = 300


class Source(Protocol):
    """Something that knows accounts."""

    every_seconds: int

    def poll(self, at: datetime) -> Sequence[Seen | Reading] | None:
        """What is new since the last time, None for nothing; what cannot be read says so in ``problem``."""

    def adopt(self, accounts: Collection[str]) -> set[str]:
        """Take over the accounts of an earlier run that are this source's; which those are."""

    def forget(self) -> None:
        """Give everything at the next poll, as if nothing had been read."""

    def close(self) -> None:
        """Let go of what is held open."""


def priced(case: Case, prices: Market) -> tuple[Case, datetime]:
    """An account at other prices, and how old that is: as old as the older of the two."""
    tables: dict[str, Any] = {name: {**getattr(case.market, name), **getattr(prices, name)} for name in _TABLES}
    as_of = max(case.market.as_of, prices.as_of)
    market = Market.model_construct(as_of=as_of, **tables)
    return case._replace(market=market), min(case.market.as_of, prices.as_of)


class FileSource:
    """An account file that somebody keeps writing, and optionally a file of prices beside it."""

    def __init__(self, name: str, path: str, *, prices: str | None, every_seconds: int) -> None:
        self.every_seconds = every_seconds
        self._name = name
        self._paths = [path, *([prices] if prices else [])]
        self._known: list[tuple[int, ...] | None] = []

    def poll(self, at: datetime) -> Sequence[Seen] | None:
        """The account, when one of its files has changed."""
        marks = [file_mark(path) for path in self._paths]
        if marks == self._known:
            return None
        try:
            raw, where = read_table(self._paths[0])
            case = case_from(raw, where)
            reported = reported_from(raw["reported"], where) if "reported" in raw else None
            case, as_of = (
                priced(case, read_market(self._paths[1]).market) if self._paths[1:] else (case, case.market.as_of)
            )
        except CrossmarginError as error:
            return [Seen(self._name, None, None, problem=said(error))]  # a file that is half written is read again
        self._known = marks
        return [Seen(self._name, case, as_of, reported)]

    def forget(self) -> None:
        """Read the file again."""
        self._known = []

    def adopt(self, accounts: Collection[str]) -> set[str]:
        """The one account."""
        return {self._name} & set(accounts)

    def close(self) -> None:
        """Nothing is held open."""


def file_mark(path: str) -> tuple[int, ...] | None:
    """What tells one state of a file from another."""
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_size, found.st_ino)


class VenueSource:
    """An account read from its venue; a venue that refuses or limits is asked less and less often."""

    def __init__(
        self,
        name: str,
        venue: str,
        *,
        keys: str | None,
        allow_trading_key: bool,
        every_seconds: int,
        read: Callable[..., Read] = read_live,
    ) -> None:
        self.every_seconds = every_seconds
        self._name = name
        self._asked = venue
        self._venue = venue if venue in VENUES else venue.partition("-")[0]
        self._keys = keys or self._venue
        self._allow = allow_trading_key
        self._read = read
        self._failures = 0
        self._not_before: datetime | None = None

    def poll(self, at: datetime) -> Sequence[Seen] | None:
        """The account as the venue has it now; a problem where any part of it is missing."""
        if self._not_before is not None and at < self._not_before:
            return None
        try:
            profile = VENUES.get(self._asked, self._asked)
            found = self._read(self._venue, profile, credentials(self._keys), allow_trading_key=self._allow)
            imported = import_account(found.payloads, venue=self._asked, on=found.when, account_id=self._name)
            case = imported.case()
        except CrossmarginError as error:
            self._failures += 1
            pause = min(self.every_seconds * 2**self._failures, _LONGEST_BACKOFF)
            self._not_before = at + timedelta(seconds=pause)
            return [Seen(self._name, None, None, problem=said(error))]
        self._failures, self._not_before = 0, None
        return [
            Seen(
                self._name,
                case,
                case.market.as_of,
                imported.reported,
                imported.lacking,
                given=imported.given,
            )
        ]

    def forget(self) -> None:
        """Every poll asks the venue."""

    def adopt(self, accounts: Collection[str]) -> set[str]:
        """The one account."""
        return {self._name} & set(accounts)

    def close(self) -> None:
        """Nothing is held open."""


class ClearingSource:
    """Every account of the books; the journal is only read."""

    def __init__(self, name: str, journal: str, *, every_seconds: int) -> None:
        self.every_seconds = every_seconds
        self._name = name
        self._where = journal
        self._desk: Desk | None = None

    def poll(self, at: datetime) -> Sequence[Seen] | None:
        """Every account, when a record has been added to the journal."""
        try:
            if self._desk is None:
                if "://" not in self._where and not os.path.exists(self._where):  # noqa: PTH110 - a database's name
                    return [Seen(self._name, None, None, problem=f"{self._where}: is not there", scope=ALIVE)]
                from crossmargin.clearing.desk import Desk
                from crossmargin.clearing.journal import Journal

                self._desk = Desk(Journal(self._where))
            elif not self._catch_up(self._desk):
                return None
        except CrossmarginError as error:
            self.close()
            return [Seen(self._name, None, None, problem=said(error), scope=ALIVE)]
        state = self._desk.state
        return [Seen(self._name, None, at, scope=ALIVE)] + [
            self._seen(own, at) for _, own in sorted(state.accounts.items())
        ]

    def _catch_up(self, desk: Desk) -> bool:
        """Fold in what others have written since."""
        from crossmargin.clearing.desk import check, fold

        before = desk.seq
        for record in desk.journal.records(desk.seq):
            check(record, desk.seq, desk.chain)
            fold(desk.state, record)
            desk.seq, desk.chain = record.seq, record.hash
        return desk.seq != before

    def forget(self) -> None:
        """Open the journal again."""
        self.close()

    def _seen(self, own: AccountState, at: datetime) -> Seen:
        """One account; its data is as old as the oldest price that it hangs on."""
        from crossmargin.clearing.state import as_account, as_market

        assert self._desk is not None
        state = self._desk.state
        account = as_account(state, own)
        case = Case(account, as_market(state, account), state.rules[own.profile])
        dates = [state.marks[p.symbol].at for p in account.positions if p.symbol in state.marks]
        dates += [state.indexes[asset].at for asset in account.balances if asset in state.indexes]
        return Seen(f"{self._name}/{own.id}", case, min(dates, default=at))

    def adopt(self, accounts: Collection[str]) -> set[str]:
        """Those under the name of the books; an account of the books is never deleted."""
        return {name for name in accounts if name == self._name or name.startswith(f"{self._name}/")}

    def close(self) -> None:
        """Let go of the journal; the next poll opens it again."""
        if self._desk is not None:
            self._desk.journal.close()
            self._desk = None


class StoreSource:
    """Every account that a tenant keeps in the service's store."""

    def __init__(self, name: str, store: Store, tenant: str, *, prefix: str, every_seconds: int = 1) -> None:
        self.every_seconds = every_seconds
        self._name = name
        self._store = store
        self._tenant = tenant
        self._prefix = prefix
        self._known: dict[str, str] = {}

    def poll(self, at: datetime) -> Sequence[Seen] | None:
        """The accounts whose snapshot is another than before; one that was deleted says so."""
        found = [Seen(self._name, None, at, scope=ALIVE)]
        try:
            with self._store.reading(self._tenant) as tx:
                rows = self._store.accounts(tx, self._tenant)
                files = {
                    row.id: self._store.snapshot(tx, self._tenant, row.id, row.snapshot)
                    for row in rows
                    if self._known.get(row.id) != row.snapshot
                }
        except CrossmarginError as error:
            return [Seen(self._name, None, None, problem=said(error), scope=ALIVE)]
        found += [self._seen(name, file) for name, file in files.items()]
        now = {row.id: row.snapshot for row in rows}
        found += [Seen(self._prefix + name, None, None, gone=True) for name in self._known.keys() - now]
        self._known = now
        return found

    def forget(self) -> None:
        """Read every account again."""
        self._known = dict.fromkeys(self._known, "")

    def _seen(self, name: str, file: str | None) -> Seen:
        try:
            raw = parse_table((file or "").encode(), name, CrossmarginError, form="json")
            case = case_from(raw, name)
            reported = reported_from(raw["reported"], name) if "reported" in raw else None
        except CrossmarginError as error:
            return Seen(self._prefix + name, None, None, problem=said(error))
        return Seen(self._prefix + name, case, case.market.as_of, reported)

    def adopt(self, accounts: Collection[str]) -> set[str]:
        """Those under the prefix; one that the store no longer has is then told as gone."""
        mine = {name for name in accounts if name.startswith(self._prefix) and name != self._name}
        self._known = {name.removeprefix(self._prefix): "" for name in mine} | self._known
        return mine | ({self._name} & set(accounts))

    def close(self) -> None:
        """The store is its owner's."""
