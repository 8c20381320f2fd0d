"""A bound book at work: prices in, columns of figures out, in chunks that threads share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from crossmargin.engine.binding import CHUNK, Bound, Lines, bind, in_chunks, lines_of
from crossmargin.engine.book import Book
from crossmargin.engine.columns import Bytes, Floats, Offsets, Reason, Side, Status, frozen
from crossmargin.engine.crossings import cross, slopes_now
from crossmargin.engine.kernel import judge, share_legs
from crossmargin.engine.orders import NO_ORDERS, held_by_orders, unpriced
from crossmargin.engine.prices import Prices, Rates, rates_of
from crossmargin.engine.scenarios import BLOCK, stress_pools
from crossmargin.engine.tables import Look, Tables
from crossmargin.model.market import Market
from crossmargin.model.profile import Rules

_NOTHING = np.empty(0)
_MOST_PARTS = 16
"""Parts that scenarios are cut into: each costs a call, and threads take them in turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The figures of every pool at one row of prices, in its own currency; NaN with a ``reason`` where unknown.

    ``bound``: what rounding can have done to headroom. With the full answer also ``initial_margin``, ``level`` (the
    place of the worst level reached, -1 = none), ``kept`` (what the table asks of each position's row) and, for each
    holding, ``pnl``, ``required`` (in the asset) and ``rest`` (what it brings to headroom); else those are empty.
    """

    rates: Rates
    equity: Floats
    maintenance_margin: Floats
    headroom: Floats
    bound: Floats
    status: Bytes
    reason: Bytes
    initial_margin: Floats
    level: NDArray[np.int8]
    kept: Floats
    pnl: Floats
    required: Floats
    rest: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossings:
    """Both sides of some lines as ``t`` (price then over price now), NaN where there is none, and their
    :class:`Side`."""

    below: Floats
    above: Floats
    below_kind: Bytes
    above_kind: Bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Stressed:
    """Pools under scenarios: the least headroom of each pool and where, and how many pools each scenario liquidates.

    ``close``: how many scenarios of a pool lie within rounding of zero; ``broken`` leaves them out, for whoever asks
    the judge about them. If kept, ``headroom``: pools x scenarios, and ``edge``: pools x blocks of scenarios, how near
    to zero is within rounding.
    """

    worst: Floats
    where: NDArray[np.int64]
    broken: NDArray[np.int64]
    close: NDArray[np.int64]
    headroom: Floats
    edge: Floats


class Runner:
    """A book under a profile, judged again and again as prices move.

    Raises :class:`UnsupportedRule` for a profile that cannot be compiled. ``threads`` (None = all) changes no bit.
    ``ticking``: as for :func:`crossmargin.engine.binding.bind`.
    """

    def __init__(self, book: Book, rules: Rules | Tables, *, threads: int | None = None, ticking: bool = False) -> None:
        self.threads = threads
        self.bound: Bound = bind(book, rules, threads=threads, ticking=ticking)
        self.tables: Tables = self.bound.tables

    def __len__(self) -> int:
        """How many pools there are."""
        return len(self.bound.pools.law)

    @cached_property
    def lines(self) -> Lines:
        """What moves with each coin of each pool."""
        return lines_of(self.bound, threads=self.threads)

    def rates(self, market: Market | Prices) -> Rates:
        """A market in the form of the kernel."""
        if isinstance(market, Market):
            market = Prices.of(market, self.tables.instruments, self.tables.assets)
        return rates_of(self.tables, market)

    def state(self, market: Market | Prices | Rates, *, full: bool = True, into: State | None = None) -> State:
        """The figures of every pool; ``full=False`` leaves out initial margin, levels and positions and is faster.

        ``into``: an earlier answer to the same question that is no longer needed; its arrays are written over, which
        spares the time of getting new memory at every tick.
        """
        rates = market if isinstance(market, Rates) else self.rates(market)
        bound, tables, pools = self.bound, self.tables, len(self)
        brackets, tiers = tables.brackets, tables.tiers
        state = into if into is not None and len(into.level) == (pools if full else 0) else self._blank(full=full)
        equity, maintenance, room, error = state.equity, state.maintenance_margin, state.headroom, state.bound
        status, level, initial, kept = state.status, state.level, state.initial_margin, state.kept
        pnl, required, rest = state.pnl, state.required, state.rest
        orders = NO_ORDERS, NO_ORDERS
        if bound.resting is not None:
            orders = held_by_orders(bound.resting, tables, rates, bound.book.holdings)

        def work(start: int, stop: int) -> None:
            judge(
                None, start, stop, full, bound.pools, rates.x, rates.price, rates.bid, rates.ask, tables.first_row,
                brackets.cap, brackets.rate, brackets.deduction, brackets.initial_rate,
                brackets.initial_deduction, tables.worth, tables.first_tier,
                tiers.cap, tiers.ratio, tiers.credit, tables.liability_ratio, tables.liability_rate,
                tables.liability_initial_rate, tables.laws[0], tables.laws[1], bound.has_fixed, bound.has_fee,
                bound.mark_fee, bound.initial_mark_fee, tables.jumps, *orders, equity, maintenance, room, error, status,
                initial, level, kept, pnl, required, rest,
            )  # fmt: skip

        in_chunks(pools, work, self.threads)
        reason = self._reasons(rates, room, initial)
        unknown = (reason >= Reason.MARK_PRICE_MISSING) & (status != Status.UNKNOWN)
        for column in (equity, maintenance, room, *((initial,) if full else ())):
            column[unknown] = np.nan
        status[unknown] = Status.UNKNOWN
        return replace(state, rates=rates, reason=reason)

    def _blank(self, *, full: bool) -> State:
        """Columns to be written."""
        pools, book = len(self), self.bound.book
        positions, holdings = (book.positions, book.holdings) if full else (0, 0)
        return State(
            rates=Rates(_NOTHING, _NOTHING, _NOTHING, _NOTHING),
            equity=np.empty(pools),
            maintenance_margin=np.empty(pools),
            headroom=np.empty(pools),
            bound=np.empty(pools),
            status=np.empty(pools, np.uint8),
            reason=np.empty(0, np.uint8),
            initial_margin=np.empty(pools if full else 0),
            level=np.empty(pools if full else 0, np.int8),
            kept=np.empty(positions),
            pnl=np.empty(holdings),
            required=np.empty(holdings),
            rest=np.empty(holdings),
        )

    def _reasons(self, rates: Rates, room: Floats, initial: Floats) -> Bytes:
        """The reason of each pool: what was wrong with its rows, else which price its figures lack."""
        pools, tables = self.bound.pools, self.tables
        reason = pools.reason.copy()
        if len(initial) and self.bound.leverage_missing:
            mild = reason == Reason.LEVERAGE_MISSING
            reason[mild & ~np.isnan(initial)] = Reason.NONE
        lost = ~np.isfinite(room) & (reason < Reason.MARK_PRICE_MISSING)
        if lost.any():
            reason[lost] = Reason.NOT_FINITE
            no_index = np.isnan(rates.price[pools.asset]) | np.isnan(rates.bid[pools.asset])
            if tables.unified:
                reason[lost & (pools.law == 0) & _any_below(no_index, pools.start)] = Reason.INDEX_PRICE_MISSING
            no_mark = np.isnan(rates.x[pools.instrument])
            reason[lost & _any_below(no_mark, pools.position_start[pools.start])] = Reason.MARK_PRICE_MISSING
        for holdings, why in () if self.bound.resting is None else unpriced(self.bound.resting, tables, rates):
            # the judge wants every price that the account names, whether or not a figure moves with it
            rows = np.searchsorted(pools.start, holdings, side="right") - 1
            reason[rows[reason[rows] < Reason.MARK_PRICE_MISSING]] = why
        return reason

    def by_position(self, state: State) -> Floats:
        """Maintenance margin of each position in its settle asset, close fees included.

        A rule for each leg says it; what one rule asks of both legs of a hedge is shared out by size, as the judge
        does.
        """
        bound, pools = self.bound, self.bound.pools
        if not bound.has_fixed and not bound.shared_legs:
            return state.kept
        kept = state.kept + pools.held
        if bound.shared_legs:
            law = frozen(np.repeat(pools.law, np.diff(pools.start)), np.uint8)

            def work(start: int, stop: int) -> None:
                share_legs(
                    start, stop, pools.position_start, pools.instrument, pools.size, pools.fee,
                    bound.mark_fee, law, state.rates.x, kept,
                )  # fmt: skip

            in_chunks(bound.book.holdings, work, self.threads)
        return kept

    def _look(self, rates: Rates) -> Look:
        tables = self.tables
        brackets, tiers = tables.brackets, tables.tiers
        return Look(
            base=tables.base, inverse=tables.inverse, x=rates.x, price=rates.price, bid=rates.bid, ask=rates.ask,
            first_row=tables.first_row, top_rate=frozen(brackets.rate[tables.last_row]), cap=brackets.cap,
            rate=brackets.rate, deduction=brackets.deduction, mark_fee=self.bound.mark_fee, worth=tables.worth,
            first_tier=tables.first_tier, tier_cap=tiers.cap, ratio=tiers.ratio, credit=tiers.credit,
            liability_ratio=tables.liability_ratio, liability_rate=tables.liability_rate,
        )  # fmt: skip

    def crossings(self, state: State, moves: NDArray[np.bool_] | None = None) -> tuple[Crossings, Crossings]:
        """Both sides of every line of :attr:`lines`; and of each pool as every asset of ``moves`` (one flag an asset)
        moves alike, empty without. Rules that are not concave leave every side to the judge."""
        lines, look, laws = self.lines, self._look(state.rates), self.tables.laws
        straight = not laws[0].weighted and laws[0].counted == 0
        together = frozen([] if moves is None else moves, np.bool_)
        single, common = _sides(len(lines.coin)), _sides(0 if moves is None else len(self))

        def work(start: int, stop: int) -> None:
            cross(
                start, stop, self.bound.pools, lines, look, laws[0], laws[1], state.kept, state.pnl, state.required,
                state.rest, state.headroom, state.bound, state.status, straight, together, *single, *common,
            )  # fmt: skip

        in_chunks(len(self), work, self.threads)
        return self._crossings(*single), self._crossings(*common)

    def _crossings(self, below: Floats, above: Floats, below_kind: Bytes, above_kind: Bytes) -> Crossings:
        if not self.tables.concave:
            for kind, value in ((below_kind, below), (above_kind, above)):
                open_question = kind < Side.ALREADY
                kind[open_question], value[open_question] = Side.EDGE, np.nan
        return Crossings(below=below, above=above, below_kind=below_kind, above_kind=above_kind)

    def stress(self, state: State, factors: Floats, index_factors: Floats, *, keep: bool = False) -> Stressed:
        """Every pool in every scenario. ``factors``: asset x scenario -> what the prices of contracts on it are
        multiplied
        with; ``index_factors``: the same for the asset's own price. All above 0. ``keep``: the whole table of headroom.
        """
        pools, count = len(self), factors.shape[1]
        factor, index = frozen(factors), frozen(index_factors)
        worst, where = np.full(pools, np.nan), np.full(pools, -1)
        close, broken = np.zeros(pools, np.int64), np.zeros(count, np.int64)
        kept = pools if keep else 0
        table, edge = np.empty((kept, count)), np.zeros((kept, -(-count // BLOCK)))
        look, laws, lock = self._look(state.rates), self.tables.laws, Lock()
        parts = _parts(pools, count)

        def work(number: int, _: int) -> None:
            start, stop, begin, end = parts[number]
            least, lost = np.empty(stop - start), np.zeros(end - begin, np.int64)
            place, unsure = np.empty((2, stop - start), np.int64)
            stress_pools(
                start, stop, begin, end, self.bound.pools, look, laws[0], laws[1], self.tables.jumps, factor, index,
                state.status, state.bound, keep, least, place, lost, unsure, table, edge,
            )  # fmt: skip
            with lock:
                broken[begin:end] += lost
                close[start:stop] += unsure
                # of equals the first scenario, whichever thread is done first
                own, at = worst[start:stop], where[start:stop]
                better = ~(own <= least) | ((own == least) & (place < at))
                own[better], at[better] = least[better], place[better]

        in_chunks(len(parts), work, self.threads, chunk=1)
        return Stressed(worst=worst, where=where, broken=broken, close=close, headroom=table, edge=edge)

    def slopes(self, state: State) -> tuple[Floats, Floats]:
        """(up, down): the slope of headroom in each line's relative move, for a rise and for a fall; NaN if curved."""
        lines, look, laws = self.lines, self._look(state.rates), self.tables.laws
        up, down = np.empty(len(lines.coin)), np.empty(len(lines.coin))

        def work(start: int, stop: int) -> None:
            slopes_now(
                start, stop, self.bound.pools, lines, look, laws[0], laws[1], state.kept, state.pnl, state.required,
                state.rest, state.headroom, state.status, up, down,
            )  # fmt: skip

        in_chunks(len(self), work, self.threads)
        return up, down


def _parts(pools: int, scenarios: int) -> list[tuple[int, int, int, int]]:
    """(first pool, last, first scenario, last) of each part of the work, whole blocks of scenarios; how it is parted
    changes no bit, for pools and scenarios know nothing of each other."""
    width = BLOCK * max(1, scenarios // (_MOST_PARTS * BLOCK))
    return [
        (start, min(start + CHUNK, pools), begin, min(begin + width, scenarios))
        for start in range(0, pools, CHUNK)
        for begin in range(0, scenarios, width)
    ]


def _sides(count: int) -> tuple[Floats, Floats, Bytes, Bytes]:
    return np.empty(count), np.empty(count), np.empty(count, np.uint8), np.empty(count, np.uint8)


def _any_below(flags: NDArray[np.bool_], start: Offsets) -> NDArray[np.bool_]:
    """Whether any of the rows below each row is flagged."""
    counts = np.concatenate([[0], np.cumsum(flags)])
    return np.asarray(counts[start[1:]] > counts[start[:-1]])
