"""The tick index: a price changes; which pools of a book change their level, without looking at the others?

Every pool holds an interval for each of its prices (:mod:`crossmargin.engine.intervals`); together they guarantee that
it crosses no level. A price that moves finds the pools whose ends it passes (:mod:`crossmargin.engine.buckets`); those
are judged by the kernel that judges whole books, and certified anew. Pools within rounding of a level are judged by
the exact judge and counted. When a gap passes so many ends that judging everything in order is cheaper, that is done;
pools that wait for new intervals are then judged on every tick, and some of them certified, until none is left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal, localcontext
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.engine.binding import bind, in_chunks
from crossmargin.engine.book import Book
from crossmargin.engine.columns import Bytes, Codes, frozen
from crossmargin.engine.crossed import Changes, Counters, Levels
from crossmargin.engine.feed import Feed
from crossmargin.engine.intervals import UNKNOWN, Figures, certify, rulebook
from crossmargin.engine.kernel import judge
from crossmargin.engine.orders import steady
from crossmargin.engine.overlay import Overlay
from crossmargin.engine.prepare import prepare
from crossmargin.engine.prices import Prices
from crossmargin.engine.reference import measure
from crossmargin.engine.runner import Runner
from crossmargin.engine.slots import Slots
from crossmargin.engine.tables import Law, Tables, Worth, compile_rules
from crossmargin.engine.ticking import (
    AT_LINE,
    CHANGED,
    DUPLICATES,
    IDLE,
    JUDGED,
    LATE,
    LOOSE,
    MOVES,
    REFUSED,
    SCAN,
    SETTLE,
    STRANGE,
    WAITING,
    Moves,
    Standing,
    advance,
    catch_up,
    hang_all,
    levels_of,
)
from crossmargin.errors import AccountError, CrossmarginError, Fault
from crossmargin.model.market import Market
from crossmargin.model.number import CONTEXT
from crossmargin.model.profile import Rules

_SCAN_SHARE, _COLLECT_SHARE, _CERTIFY_SHARE, _RANGE_SHARE, _LEAST = 24, 8, 64, 8, 64
"""Parts of all pools: more than 1/24 at once are judged in order rather than one by one; on each tick after that 1/8 is
collected, or 1/64 certified; from 1/8 on everything is judged rather than a list. (Measured: benchmarks/ticks.py.)"""


_Rows = NDArray[np.int64]
"""(move, slot, old level, new level)."""
_Levels = tuple[NDArray[np.int8], NDArray[np.bool_]]
_FIRST = np.zeros(1, np.int64)


class TickIndex:
    """A book whose pools are watched as prices come in.

    ``market``: where prices stand; one that is missing leaves its pools without figures until its first tick.
    ``volatility``: how much each source moves, in any one unit (an instrument's symbol or an asset's name -> a number
    above 0); it decides how often pools are judged, never what is found. ``check``: compare every tick with a judgement
    of everything, and count what was missed. Raises :class:`UnsupportedRule` for a profile that cannot be compiled.

    One thread feeds an index; ``threads`` (None = all) are those of scans.
    """

    def __init__(
        self,
        book: Book,
        market: Market | Prices,
        rules: Rules | Tables,
        *,
        volatility: Mapping[str, float] | None = None,
        threads: int | None = None,
        liquidation_only: bool = False,
        check: bool = False,
        scan_from: int | None = None,
    ) -> None:
        self.check = check
        self.threads = threads
        self.scan_from = scan_from
        self.liquidation_only = liquidation_only
        self._volatility = dict(volatility or {})
        self._counters = np.zeros(9, np.int64)
        self._counts = dict.fromkeys(("rejudged", "scans", "missed"), 0)
        self._build(book, market, rules)

    def _build(self, book: Book, market: Market | Prices, rules: Rules | Tables) -> None:
        self._steady = steady((rules if isinstance(rules, Rules) else rules.rules).slots)
        self._runner = Runner(self._followed(book), rules, threads=self.threads, ticking=True)
        bound = self._runner.bound
        tables = self.tables = bound.tables
        if isinstance(market, Market):
            market = Prices.of(market, tables.instruments, tables.assets)
        self.feed = Feed(tables, market, self._volatility)
        self._overlay = Overlay(replace(book, assets=tables.assets))
        moving = np.where(tables.worth == Worth.PAR, 0, 3 if self.feed.threefold else 1)
        if not self.feed.threefold:
            moving[tables.reference] = 0  # 1 by definition
        asset_prices = frozen(moving if tables.unified else moving * 0, np.uint8)
        self.slots = Slots(bound, asset_prices, len(self.feed.now.price), threads=self.threads)
        self._first_level = np.array([len(law.level_multiple) - 1 for law in tables.laws]) * self.liquidation_only
        shared, isolated = (_from_level(law, first) for law, first in zip(tables.laws, self._first_level, strict=True))
        self._rule = rulebook(tables, bound.mark_fee, bound.initial_mark_fee, asset_prices, (shared, isolated))
        self._own: dict[int, dict[int, int]] = {}
        self._loose = np.empty(0, np.int32)
        self._flooded = False
        self._notes: Standing | None = None
        self._nothing = self._changes(())
        slots = self.slots
        every = np.arange(slots.pool.count, dtype=np.int32)
        slots.known[: len(every)] = UNKNOWN
        self._compare(None, self._look_at(every), -1)
        in_chunks(len(every), lambda a, b: self._certify(every, a, b, hanging=False), self.threads)
        hang_all(slots.hooks)

    def _followed(self, book: Book) -> Book:
        """A book without orders whose margin moves with prices: they are marked, and what depends on them unknown."""
        return book if self._steady else book.without_orders()

    # kernels -----------------------------------------------------------------------------------------------------

    def _judge(self, slots: Codes, start: int, stop: int) -> None:
        """Judge some slots, by the kernel of whole books."""
        rule, rates, figures = self._rule, self.feed.rates, self.slots.figures
        judge(
            slots, start, stop, True, self.slots.pools, rates.x, rates.price, rates.bid, rates.ask, rule.first_row,
            rule.cap, rule.rate, rule.deduction, rule.initial_rate, rule.initial_deduction, rule.worth,
            rule.first_tier, rule.tier_cap,
            rule.ratio, rule.credit, rule.liability_ratio, rule.liability_rate, rule.liability_initial_rate,
            rule.shared, rule.isolated, True, True, rule.mark_fee, rule.initial_mark_fee, rule.jumps,
            self.slots.pools.ordered, self.slots.pools.ordered_gross,
            figures.equity, figures.maintenance, figures.headroom, figures.bound, figures.status, figures.initial,
            figures.level, figures.kept, figures.pnl, figures.required, figures.rest,
        )  # fmt: skip

    def _judge_all(self, slots: Codes) -> None:
        in_chunks(len(slots), lambda start, stop: self._judge(slots, start, stop), self.threads)

    def _levels(self, slots: Codes, laws: Bytes, figures: Figures) -> _Levels:
        """(level, whether it is within rounding of another) of some judged pools."""
        level, near = np.empty(len(slots), np.int8), np.empty(len(slots), np.bool_)

        def work(start: int, stop: int) -> None:
            levels_of(slots, start, stop, laws, self._rule, figures, level, near)

        in_chunks(len(slots), work, self.threads)
        return level, near

    def _look_at(self, slots: Codes) -> _Levels:
        """Judge some slots and say their levels."""
        self._judge_all(slots)
        return self._levels(slots, self.slots.pools.law, self.slots.figures)

    def _look_at_all(self) -> _Levels:
        """Judge everything: the book's columns as they were, and what has changed since."""
        own, runner = self.slots, self._runner
        state, every = runner.state(self.feed.rates), np.arange(own.pool.count, dtype=np.int32)
        figures = Figures(
            equity=state.equity, maintenance=state.maintenance_margin, headroom=state.headroom, bound=state.bound,
            status=state.status, initial=state.initial_margin, level=self._watched(state.level), kept=state.kept,
            pnl=state.pnl, required=state.required, rest=state.rest,
        )  # fmt: skip
        level, near = np.full(len(every), UNKNOWN, np.int8), np.zeros(len(every), np.bool_)
        count, changed = len(runner), own.changed()
        level[:count], near[:count] = self._levels(every[:count], runner.bound.pools.law, figures)
        if len(changed):
            level[changed], near[changed] = self._look_at(changed)
        return level, near

    def _certify(self, slots: Codes, start: int, stop: int, *, hanging: bool) -> None:
        own = self.slots
        certify(
            slots, start, stop, hanging, own.known, own.pools, self.feed.rates, self._rule, own.figures,
            self.feed.now.price, self.feed.now.volatility, own.hooks, np.empty((own.most_lines, 6)),
        )  # fmt: skip

    def _scratch(self) -> Standing:
        """The kernel's notes, as long as the slots."""
        own = self.slots
        if self._notes is None or len(self._notes.pending) < own.pool.room or len(self._notes.scratch) < own.most_lines:
            room = own.pool.room
            self._notes = Standing(
                level=own.known, mode=own.mode, pending=np.empty(room, np.int32),
                change_move=np.empty(2 * room, np.int64), change_pool=np.empty(2 * room, np.int32),
                change_old=np.empty(2 * room, np.int8), change_new=np.empty(2 * room, np.int8),
                line_pool=np.empty(room, np.int32), line_old=np.empty(room, np.int8),
                counters=self._counters, scratch=np.empty((own.most_lines, 6)),
            )  # fmt: skip
        return self._notes

    # ticks -------------------------------------------------------------------------------------------------------

    def source(self, name: str) -> int:
        """The code of a source in batches of ticks: an instrument's symbol (its mark), or an asset (its index price).

        -1 where the book has no such name.
        """
        return self.feed.place.get(name, -1)

    def tick(
        self,
        name: str,
        price: Decimal | float | str,
        *,
        sequence: int | None = None,
        bid: float | None = None,
        ask: float | None = None,
    ) -> Changes:
        """One price: the mark of an instrument or the index price of an asset. As :meth:`ticks`."""
        single = self.feed.single(name, float(price), -1 if sequence is None else sequence)
        if single is not None and bid is None and ask is None:
            return self._run(single, _FIRST)
        return self.ticks(
            [self.source(name)],
            [float(price)],
            sequence=None if sequence is None else [sequence],
            bid=None if bid is None else [float(bid)],
            ask=None if ask is None else [float(ask)],
        )

    def ticks(
        self,
        source: ArrayLike,
        price: ArrayLike,
        *,
        sequence: ArrayLike | None = None,
        bid: ArrayLike | None = None,
        ask: ArrayLike | None = None,
        last: ArrayLike | None = None,
    ) -> Changes:
        """Take a batch of ticks in this order; the pools whose level changed, after each.

        ``source``: codes of :meth:`source`; ``price``: marks in quote per coin, index prices in the reference currency.
        ``sequence``: numbers that rise with each source's ticks (-1 = none): repeated and overtaken ones change
        nothing. ``bid`` and ``ask``: the rates of an asset, where the profile has them and the feed names them;
        without, they keep their buffers from the index price. ``last``: False = this price and the next are one moment
        (pools are judged after the last). A price that is not a positive number is refused and counted. The price of
        the reference currency is 1 by definition and refused too.
        """
        return self._run(*self.feed.moves(source, price, sequence, bid, ask, last))

    def _run(self, moves: Moves, place: NDArray[np.int64]) -> Changes:
        """Make moves; ``place``: the tick of each."""
        found: list[_Rows] = []
        own, at, end = self.slots, 0, len(moves.driver)
        limit = max(_LEAST, own.pool.count // _SCAN_SHARE) if self.scan_from is None else self.scan_from
        while at < end:
            notes = self._scratch()
            until = at + 1 + int(np.argmax(moves.last[at:])) if self.check else end
            at, why = advance(
                at, until, limit, moves, self.feed.now, own.pools, self.feed.rates, self._rule, own.figures, own.hooks,
                notes, self._flooded,
            )  # fmt: skip
            if changed := int(notes.counters[CHANGED]):
                columns = (notes.change_move, notes.change_pool, notes.change_old, notes.change_new)
                found.append(np.stack([column[:changed].astype(np.int64) for column in columns], axis=1))
                notes.counters[CHANGED] = 0
            if why == SETTLE:
                found.append(self._settle(at - 1))
            elif why == SCAN:
                found.append(self._scan(at - 1))
            if self.check:
                found.append(self._check(at - 1))
        if not found:
            return self._nothing
        rows = np.concatenate(found)
        rows[:, 0] = place[rows[:, 0]]
        return self._changes(rows)

    def _settle(self, move: int) -> _Rows:
        """Let the exact judge decide the pools that stand at a line."""
        notes, known, found = self._scratch(), self.slots.known, []
        for n in range(int(notes.counters[AT_LINE])):
            slot, old = int(notes.line_pool[n]), int(notes.line_old[n])
            known[slot] = self._exact(slot)
            if known[slot] != old:
                found.append((move, slot, old, int(known[slot])))
        notes.counters[AT_LINE] = 0
        return np.array(found, np.int64).reshape(-1, 4)

    def _scan(self, move: int) -> _Rows:
        """Judge in order: everything while ends are uncollected, then the pools without intervals; certify some.

        The tick that floods the index does no more than judge. Those after it first collect what was passed, then
        certify so many pools each, until every pool has its intervals again.
        """
        own = self.slots
        self._counts["scans"] += 1
        first, late = not self._flooded, self.feed.behind()
        self._flooded = True
        if not first:
            catch_up(late, own.pool.count // _COLLECT_SHARE, self.feed.now, own.hooks, self._scratch())
        self._loosen()
        # who was not collected may have crossed and come back by now, so collecting the last asks for all once more
        behind = len(late) > 0
        if behind or len(self._loose) * _RANGE_SHARE > own.pool.count:
            found = self._compare(None, self._look_at_all(), move)
        else:
            found = self._compare(self._loose, self._look_at(self._loose), move)
        self._counters[JUDGED] += len(self._loose)
        if not behind and not first:
            self._tighten(max(_LEAST, own.pool.count // _CERTIFY_SHARE))
        return found

    def _loosen(self) -> None:
        """Put the pools that wait among those without intervals."""
        waiting = self._scratch().pending[: int(self._counters[WAITING])]
        self.slots.mode[waiting] = LOOSE
        self._loose = np.sort(np.concatenate([self._loose, waiting]))
        self._counters[WAITING] = 0

    def _tighten(self, most: int) -> None:
        """Certify so many of the pools without intervals."""
        ready, self._loose = self._loose[:most], self._loose[most:]
        self._judge_all(ready)
        self._certify(ready, 0, len(ready), hanging=True)
        self.slots.mode[ready] = IDLE
        self._flooded = len(self._loose) > 0

    def settle(self) -> None:
        """Give every pool its intervals again at once, after a gap: for a quiet moment, instead of tick by tick."""
        if self._flooded:
            catch_up(self.feed.behind(), self.slots.pool.room, self.feed.now, self.slots.hooks, self._scratch())
            self._loosen()
            self._tighten(len(self._loose))

    def _compare(self, slots: Codes | None, seen: _Levels, move: int) -> _Rows:
        """The changes of some pools (None = all) by what was seen; what is known is brought up to date."""
        level, near = seen
        known = self.slots.known
        for n in np.flatnonzero(near):
            level[n] = self._exact(int(n if slots is None else slots[n]))
        rows = np.flatnonzero(level != (known[: len(level)] if slots is None else known[slots]))
        place = rows if slots is None else slots[rows]
        found = np.empty((len(rows), 4), np.int64)
        for column, values in enumerate((move, place, known[place], level[rows])):
            found[:, column] = values
        known[place] = level[rows]
        return found

    def _changes(self, rows: _Rows | Sequence[tuple[int, int, int, int]]) -> Changes:
        """Changes as nouns."""
        table = np.asarray(rows, np.int64).reshape(-1, 4)
        purse, currency = self._names(table[:, 1])
        before, after = table[:-1, 0], table[1:, 0]
        if not ((before < after) | ((before == after) & (purse[:-1] < purse[1:]))).all():
            order = np.lexsort((currency, purse, table[:, 0]))
            table, purse, currency = table[order], purse[order], currency[order]
        slot = table[:, 1]
        return Changes(
            tick=frozen(table[:, 0], np.int64),
            purse=frozen(purse, np.int64),
            currency=frozen(currency, np.int32),
            old=self._places(slot, table[:, 2]),
            new=self._places(slot, table[:, 3]),
            assets=self.tables.assets,
            ladder=self.tables.levels,
        )

    def _names(self, slots: NDArray[Any]) -> tuple[NDArray[np.int64], Codes]:
        """(purse, currency) of some slots."""
        pools, tables = self.slots.pools, self.tables
        first = np.minimum(pools.start[slots], len(pools.asset) - 1)
        counted = np.where(tables.unified & (pools.law[slots] == 0), tables.reference, pools.asset[first])
        return pools.purse[slots], counted.astype(np.int32)

    # the exact judge ---------------------------------------------------------------------------------------------

    def _exact(self, slot: int) -> int:
        """The level of one pool, decided by the exact judge; unknown where it refuses the account."""
        pools, tables = self.slots.pools, self.tables
        self._counts["rejudged"] += 1
        book, row = self._overlay.rows(int(pools.purse[slot]))
        own_book = self._followed(book.take([row]))
        (account,) = own_book.to_accounts(profile=tables.rules.profile)
        first = int(pools.start[slot])
        name = book.assets[pools.asset[first]]
        with localcontext(CONTEXT):
            try:
                found = prepare(account, self.feed.market(own_book, 0), tables.rules).pools
                shared = tables.unified or book.isolated[row]
                own = measure(found[0] if shared else next(pool for pool in found if pool.name == name))
            except CrossmarginError:
                return UNKNOWN
            watched = own.pool.ladder[self._first_level[pools.law[slot]] :]
            reached = [place for place, (rule, m) in enumerate(watched) if own.reached(rule.requirement, m)]
        return reached[-1] if reached else -1

    # changes between ticks ---------------------------------------------------------------------------------------

    def update(self, purses: ArrayLike, rows: Book) -> Changes:
        """Put other rows in the place of some purses: a deposit, a fill, another leverage; what changed by it.

        ``purses``: their rows in the book, ``rows``: what they are now, one purse each in this order. The number after
        the last purse adds one. Everything else of the index stays as it is. Names that the index does not know yet
        make it anew. Raises :class:`AccountError` where purses and rows do not fit together.
        """
        numbers = np.atleast_1d(np.asarray(purses, np.int64))
        if len(numbers) != rows.purses or len(np.unique(numbers)) != len(numbers):
            why = f"must name each purse once, as many as there are rows: {rows.purses}"
            raise AccountError("update", [Fault("purses", str(numbers.tolist()), why)])
        ahead = np.sort(numbers[numbers >= self._overlay.purses])
        if (numbers < 0).any() or not np.array_equal(ahead, self._overlay.purses + np.arange(len(ahead))):
            why = f"must be purses of the book, or the next new ones from {self._overlay.purses}"
            raise AccountError("update", [Fault("purses", str(numbers.tolist()), why)])
        self.settle()
        self._widen(rows)
        coded = self._overlay.coded(rows, numbers.tolist())
        bound = bind(self._followed(coded), self.tables, threads=1, ticking=True)
        found: list[tuple[int, int, int, int]] = []
        touched: list[int] = []
        for n, purse in enumerate(numbers.tolist()):
            before = self._slots_of(purse)
            self._overlay.put(purse, coded.take([n]))
            after: dict[int, int] = {}
            for q in np.flatnonzero(bound.pools.purse == n).tolist():
                first = int(bound.pools.start[q])
                key = self._key(coded, n, first)
                slot = before.pop(key, None)
                level = UNKNOWN if slot is None else int(self.slots.known[slot])
                after[key] = self.slots.put(bound.pools, q, slot)
                self.slots.pool["purse"][after[key]] = purse
                touched.append(after[key])
                found.append((-1, after[key], level if slot is not None else -1, UNKNOWN))
            for slot in before.values():
                found.append((-1, slot, int(self.slots.known[slot]), -1))
                self.slots.remove(slot)
            self._own[purse] = after
        slots = np.array(touched, np.int32)
        self._compare(slots, self._look_at(slots), -1)
        self._certify(slots, 0, len(slots), hanging=True)
        known = self.slots.known
        now = [(tick, slot, old, int(known[slot]) if slot in set(touched) else new) for tick, slot, old, new in found]
        return self._changes([row for row in now if row[2] != row[3]])

    def _slots_of(self, purse: int) -> dict[int, int]:
        """The slots of a purse, by what tells its pools apart: its asset, or -1 where the purse is one pool."""
        if purse in self._own:
            return dict(self._own[purse])
        if purse >= self._overlay.base.purses:
            return {}
        base = self._overlay.base
        start = base.holding_start
        if self.tables.unified:
            return {self._key(base, purse, int(start[purse])): purse}
        return {self._key(base, purse, slot): slot for slot in range(int(start[purse]), int(start[purse + 1]))}

    def _key(self, book: Book, purse: int, holding: int) -> int:
        """What tells a pool from others of its purse: the asset it counts in, -1 where that is everything's."""
        if self.tables.unified and not book.isolated[purse]:
            return -1
        return int(book.asset[holding]) if holding < book.holdings else -1

    def _widen(self, rows: Book) -> None:
        """Make the index anew where rows bring names that it does not have."""
        tables = self.tables
        instruments = [name for name in rows.instruments if name not in self.feed.place]
        assets = [name for name in rows.assets if name not in self.feed.place]
        if instruments or assets:
            book = self._overlay.book()
            wider = replace(book, instruments=(*tables.instruments, *instruments), assets=(*tables.assets, *assets))
            self._again(wider, tables.rules)

    def change_rules(self, rules: Rules) -> Changes:
        """Judge the book by other rules from now on; the pools whose level changed by it. Makes the index anew."""
        before = {(purse, currency): level for purse, currency, level in self.levels().rows()}
        self._again(self.book(), rules)
        slots = self.slots.living()
        purse, currency = self._names(slots)
        rows = []
        for slot, *key in zip(slots.tolist(), purse.tolist(), currency.tolist(), strict=True):
            old, new = before.get((key[0], key[1]), -1), int(self.slots.known[slot])
            if old != new:
                rows.append((-1, slot, old, new))
        return self._changes(rows)

    def _again(self, book: Book, rules: Rules) -> None:
        """The same prices and sequence numbers under other names or rules."""
        before = self.feed
        self._build(book, before.prices(), compile_rules(rules, book.instruments, book.assets))
        self.feed.resume(before)

    # what there is -----------------------------------------------------------------------------------------------

    @property
    def counters(self) -> Counters:
        """What the index has done so far."""
        own = self._counters
        return Counters(
            taken=int(own[MOVES]),
            duplicate=int(own[DUPLICATES]),
            late=int(own[LATE]),
            refused=int(own[REFUSED]),
            unknown=int(own[STRANGE]),
            judged=int(own[JUDGED]),
            loose=len(self._loose),
            **self._counts,
        )

    def book(self) -> Book:
        """The book as it is now."""
        return self._overlay.book()

    def prices(self) -> Prices:
        """Every price as it is now."""
        return self.feed.prices()

    def levels(self) -> Levels:
        """Every pool and the level it has reached."""
        slots = self.slots.living()
        purse, currency = self._names(slots)
        order = np.lexsort((currency, purse))
        return Levels(
            purse=frozen(purse[order], np.int64),
            currency=frozen(currency[order], np.int32),
            level=self._places(slots[order], self.slots.known[slots[order]]),
            assets=self.tables.assets,
            ladder=self.tables.levels,
        )

    def verify(self) -> Changes:
        """Judge everything; the pools whose level is not what the index has said (none, or there is a bug).

        What is found is put right. The cost is that of one evaluation of the book.
        """
        return self._changes(self._check(-1))

    def _check(self, move: int) -> _Rows:
        """Judge everything; the changes that the index had missed, counted and put right."""
        self.settle()
        wrong = self._compare(None, self._look_at_all(), move)
        self._counts["missed"] += len(wrong)
        slots = wrong[:, 1].astype(np.int32)
        self._judge_all(slots)
        self._certify(slots, 0, len(slots), hanging=True)
        return wrong

    def _watched(self, level: NDArray[np.int8]) -> NDArray[np.int8]:
        """Places in the whole ladder as places in what is watched of it."""
        if not self.liquidation_only:
            return level
        first = self._first_level[self._runner.bound.pools.law]
        return frozen(np.maximum(level - first, -1), np.int8)

    def _places(self, slots: NDArray[Any], level: NDArray[Any]) -> NDArray[np.int8]:
        """Levels as places of the whole ladder, where only part of it is watched."""
        if not self.liquidation_only:
            return frozen(level, np.int8)
        first = self._first_level[self.slots.pools.law[slots]]
        return frozen(np.where(level >= 0, level + first, level), np.int8)


def _from_level(law: Law, first: int) -> Law:
    """A law with the levels of its ladder from one on."""
    return law._replace(
        level_on_initial=frozen(law.level_on_initial[first:], np.bool_),
        level_multiple=frozen(law.level_multiple[first:]),
    )
