"""How does a whole book of accounts stand, at which prices does each pool of it break, and in which scenarios?

The questions of one account, asked of a million as columns. The compiled runner answers on floats with a bound of what
rounding can have done; what lies within that bound of a line is judged again by the judge on exact decimals, and the
result says how many were (``rejudged``). So no verdict is decided by rounding.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from decimal import Decimal, localcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossmargin.analytics.threshold import crossings_of, is_priced
from crossmargin.engine.book import Book, decimal
from crossmargin.engine.columns import Bytes, Codes, Floats, Offsets, Reason, Side, Status, frozen
from crossmargin.engine.interchange import to_table
from crossmargin.engine.moves import scaled
from crossmargin.engine.prepare import prepare
from crossmargin.engine.prices import Prices
from crossmargin.engine.reference import PoolState, measure
from crossmargin.engine.runner import Crossings, Runner, State, Stressed
from crossmargin.engine.scenarios import BLOCK
from crossmargin.engine.tables import Tables
from crossmargin.errors import AccountError, CrossmarginError, Fault
from crossmargin.model.instrument import CASH, parse_symbol
from crossmargin.model.market import Market
from crossmargin.model.number import CONTEXT
from crossmargin.model.profile import Rules
from crossmargin.model.report import Crossing
from crossmargin.model.scenario import Scenario

_STATUS = {"healthy": Status.HEALTHY, "warning": Status.WARNING, "liquidation": Status.LIQUIDATION}
_SIDE = {"never": Side.NEVER, "price": Side.PRICE, "already": Side.ALREADY, "unknown": Side.UNKNOWN}
_MOST_KEPT = 20_000_000
"""A table of headroom, pools x scenarios, is kept up to so many figures."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class _Columns:
    """What every result of a book shares: its arrays as an Arrow table."""

    def to_arrow(self) -> Any:
        """The columns of one length per pool (or line) as an Arrow table; needs the extra ``book``."""
        columns = {field.name: getattr(self, field.name) for field in fields(self)}
        length = len(next(value for value in columns.values() if isinstance(value, np.ndarray)))
        return to_table({k: v for k, v in columns.items() if isinstance(v, np.ndarray) and v.shape == (length,)})


@dataclass(frozen=True, slots=True, kw_only=True)
class BookReport(_Columns):
    """One row a pool, figures in the pool's ``currency`` (a place in ``assets``); the terms of a one-account report.

    ``purse``: the row of the book it belongs to; ``account``: its account. ``status``: a :class:`Status`; ``level``:
    the
    place in ``levels`` of the worst level reached, -1 = none. ``reason``: a :class:`Reason`; figures that are not known
    are NaN, ``margin_ratio`` also where equity is not positive. ``position_maintenance_margin`` has one row a position,
    in its settle asset. ``rejudged``: how many pools were so near a line that the exact judge decided.
    """

    account: Offsets
    purse: Offsets
    isolated: NDArray[np.bool_]
    currency: Codes
    equity: Floats
    initial_margin: Floats
    maintenance_margin: Floats
    headroom: Floats
    free_collateral: Floats
    margin_ratio: Floats
    status: Bytes
    level: NDArray[np.int8]
    reason: Bytes
    assets: tuple[str, ...]
    levels: tuple[str, ...]
    position_maintenance_margin: Floats
    rejudged: int

    @property
    def counts(self) -> dict[str, int]:
        """How many pools have each status."""
        found = np.bincount(self.status, minlength=len(Status))
        return {status.name.lower(): int(found[status]) for status in Status}

    @property
    def reasons(self) -> dict[str, int]:
        """How many pools have each reason; healthy rows are left out."""
        found = np.bincount(self.reason, minlength=max(Reason) + 1)
        return {reason.name.lower(): int(found[reason]) for reason in Reason if reason and found[reason]}


@dataclass(frozen=True, slots=True, kw_only=True)
class BookThresholds(_Columns):
    """Where each pool is liquidated, by the coin convention of one account.

    One row a line, that is a pool and a ``coin`` (a place in ``assets``) whose price moves it, with ``has_position`` or
    held alone: ``below`` and ``above``
    are relative moves (-0.12 = 12 % down), NaN unless the :class:`Side` in ``below_kind`` and ``above_kind`` is a
    price.
    ``position_below`` and the rest: the price of each position's contract there, one row a position. ``common_below``
    and the rest: the move of all coins together (stablecoins stand still), one row a pool. ``rejudged``: how many sides
    were decided by the exact judge.
    """

    pool: Offsets
    coin: Codes
    has_position: NDArray[np.bool_]
    below: Floats
    above: Floats
    below_kind: Bytes
    above_kind: Bytes
    assets: tuple[str, ...]
    position_below: Floats
    position_above: Floats
    position_below_kind: Bytes
    position_above_kind: Bytes
    common_below: Floats
    common_above: Floats
    common_below_kind: Bytes
    common_above_kind: Bytes
    rejudged: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BookStress(_Columns):
    """Every pool in every scenario: one row a pool, its least headroom and the scenario (a place in ``scenarios``).

    ``liquidated``: how many pools each scenario liquidates. ``headroom``: pools x scenarios, or None where that would
    be
    too large. ``rejudged``: how many (pool, scenario) pairs the exact judge decided. Pools without figures are NaN, -1.
    """

    worst_headroom: Floats
    worst_scenario: NDArray[np.int64]
    scenarios: tuple[str, ...]
    liquidated: NDArray[np.int64]
    headroom: Floats | None
    rejudged: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BookSensitivity(_Columns):
    """The slope of each pool's headroom in each coin's price: one row a line as in :class:`BookThresholds`.

    ``up`` and ``down``: headroom (pool's currency) per unit of the coin's price, for a rise and for a fall; ``now``:
    that
    price (its index price, else the mark of the pool's first contract on it). All contracts on the coin and the coin
    itself move together. NaN where the rules bend too much for a slope, or the pool has no figures.
    """

    pool: Offsets
    coin: Codes
    now: Floats
    up: Floats
    down: Floats
    assets: tuple[str, ...]


# questions ------------------------------------------------------------------------------------------------------------


def evaluate_book(
    book: Book, market: Market | Prices, rules: Rules | Tables, *, threads: int | None = None
) -> BookReport:
    """The figures and the verdict of every pool.

    A row that cannot be judged gets a ``reason`` and NaN, and never stops the others. Raises :class:`UnsupportedRule`
    for a profile that has no compiled form, :class:`MissingExtra` without Numba.
    """
    return _Case(book, market, rules, threads).report


def threshold_book(
    book: Book, market: Market | Prices, rules: Rules | Tables, *, threads: int | None = None
) -> BookThresholds:
    """Every price at which a pool of the book is liquidated, both sides, exact in every bracket and tier."""
    return _Case(book, market, rules, threads).thresholds()


def judge_book(
    book: Book, market: Market | Prices, rules: Rules | Tables, *, thresholds: bool = True, threads: int | None = None
) -> tuple[BookReport, BookThresholds | None]:
    """Both answers of one evaluation, for who wants figures and thresholds: the book is bound and judged once."""
    case = _Case(book, market, rules, threads)
    return case.report, case.thresholds() if thresholds else None


def stress_book(
    book: Book,
    market: Market | Prices,
    rules: Rules | Tables,
    scenarios: Iterable[Scenario],
    *,
    threads: int | None = None,
) -> BookStress:
    """Every pool in every scenario. Coins that a scenario does not name follow its ``others``, else stand still.

    Raises as :func:`evaluate_book` does, and :class:`AccountError` where there is no scenario.
    """
    return _Case(book, market, rules, threads).stress(tuple(scenarios))


def sensitivity_book(
    book: Book, market: Market | Prices, rules: Rules | Tables, *, threads: int | None = None
) -> BookSensitivity:
    """The slope of every pool's headroom in every coin that moves it."""
    return _Case(book, market, rules, threads).slopes()


# the work -------------------------------------------------------------------------------------------------------------


class _Case:
    """A book, a market and rules, judged once on floats and again where floats cannot decide."""

    def __init__(self, book: Book, market: Market | Prices, rules: Rules | Tables, threads: int | None) -> None:
        self.book = book
        self.market = market
        self.runner = Runner(book, rules, threads=threads)
        self.tables = self.runner.tables
        self.state: State = self.runner.state(market)
        self._exact: Market | None = None
        self.rejudged = self._settle()

    @property
    def exact_market(self) -> Market:
        """The market in decimals: as given, or the shortest decimals of its columns."""
        if self._exact is None:
            self._exact = self.market if isinstance(self.market, Market) else _decimals(self.market)
        return self._exact

    def judge(self, pool: int, market: Market) -> PoolState:
        """One pool, exactly."""
        pools, book = self.runner.bound.pools, self.book
        purse = int(pools.purse[pool])
        (account,) = book.to_accounts(profile=self.tables.rules.profile, rows=[purse])
        found = prepare(account, market, self.tables.rules).pools
        if self.tables.unified or book.isolated[purse]:
            return measure(found[0])
        name = book.assets[book.asset[pools.start[pool]]]
        return measure(next(own for own in found if own.name == name))

    def _settle(self) -> int:
        """Judge again every pool within rounding of a level."""
        state, tables = self.state, self.tables
        near = np.zeros(len(state.headroom), np.bool_)
        law = self.runner.bound.pools.law
        for number in (0, 1):
            own = tables.laws[number]
            for on_initial, multiple in zip(own.level_on_initial, own.level_multiple, strict=True):
                base = state.initial_margin if on_initial else state.maintenance_margin
                with np.errstate(invalid="ignore"):
                    edge = np.abs(state.equity - base * multiple) <= state.bound * (1 + multiple)
                near |= edge & (law == number) & (state.bound > 0)
        rows = np.flatnonzero(near & (state.reason < Reason.MARK_PRICE_MISSING))
        for row in rows:
            self._restate(int(row))
        return len(rows)

    def _restate(self, row: int) -> None:
        state = self.state
        try:
            with localcontext(CONTEXT):
                found = self.judge(row, self.exact_market)
                reached = [
                    level
                    for level, (rule, multiple) in enumerate(found.pool.ladder)
                    if found.reached(rule.requirement, multiple)
                ]
        except CrossmarginError:
            state.reason[row], state.status[row] = Reason.REFUSED, Status.UNKNOWN
            for column in (state.equity, state.maintenance_margin, state.headroom, state.initial_margin):
                column[row] = np.nan
            return
        state.equity[row], state.maintenance_margin[row] = float(found.equity), float(found.maintenance)
        state.headroom[row] = float(found.headroom)
        if state.reason[row] != Reason.OPEN_ORDERS:
            state.initial_margin[row] = np.nan if found.initial is None else float(found.initial)
        worst = reached[-1] if reached else -1
        state.level[row] = worst
        last = len(found.pool.ladder) - 1
        state.status[row] = Status.HEALTHY if worst < 0 else (Status.LIQUIDATION if worst == last else Status.WARNING)

    @property
    def report(self) -> BookReport:
        """The columns of the report."""
        state, pools, book, tables = self.state, self.runner.bound.pools, self.book, self.tables
        shared = tables.unified & (pools.law == 0)
        first = np.minimum(pools.start[:-1], max(book.holdings - 1, 0))
        own = book.asset[first] if book.holdings else np.zeros(len(first), np.int32)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.where(state.equity > 0, state.maintenance_margin / state.equity, np.nan)
        return BookReport(
            account=frozen(book.account[pools.purse], np.int64),
            purse=pools.purse,
            isolated=frozen(pools.law == 1, np.bool_),
            currency=frozen(np.where(shared, tables.reference, own), np.int32),
            equity=frozen(state.equity),
            initial_margin=frozen(state.initial_margin),
            maintenance_margin=frozen(state.maintenance_margin),
            headroom=frozen(state.headroom),
            free_collateral=frozen(state.equity - state.initial_margin),
            margin_ratio=frozen(ratio),
            status=frozen(state.status, np.uint8),
            level=frozen(state.level, np.int8),
            reason=frozen(state.reason, np.uint8),
            assets=tables.assets,
            levels=tables.levels,
            position_maintenance_margin=frozen(self._of_positions(self.runner.by_position(state))),
            rejudged=self.rejudged,
        )

    def _of_positions(self, rows: NDArray[Any]) -> NDArray[Any]:
        """A column of the bound book's rows without those that stand for orders only."""
        standing_in = self.runner.bound.standing_in
        return rows[~standing_in] if len(standing_in) else rows

    def _with_position(self) -> NDArray[np.bool_]:
        """Whether each line has a position."""
        lines, standing_in = self.runner.lines, self.runner.bound.standing_in
        if not len(standing_in):
            return np.diff(lines.position_start) > 0
        before = np.concatenate([[0], np.cumsum(~standing_in[lines.position])])
        return np.asarray(before[lines.position_start[1:]] > before[lines.position_start[:-1]])

    # thresholds --------------------------------------------------------------------------------------------------

    def thresholds(self) -> BookThresholds:
        runner, tables, lines = self.runner, self.tables, self.runner.lines
        moves = np.array([name not in CASH for name in tables.assets], np.bool_)
        found, common = runner.crossings(self.state, moves)
        pool = np.repeat(np.arange(len(runner)), np.diff(lines.start))
        rejudged = self._settle_sides(found, pool, lambda line: {tables.assets[lines.coin[line]]})
        rejudged += self._settle_sides(
            common, np.arange(len(runner)), lambda _: {name for name in tables.assets if name not in CASH}
        )
        line_of = np.empty(self.runner.bound.book.positions, np.int64)
        line_of[lines.position] = np.repeat(np.arange(len(lines.coin)), np.diff(lines.position_start))
        line_of = self._of_positions(line_of)
        mark = self.mark_price[self.book.instrument] if self.book.positions else np.empty(0)
        return BookThresholds(
            pool=frozen(pool, np.int64),
            coin=lines.coin,
            has_position=frozen(self._with_position(), np.bool_),
            below=frozen(found.below - 1),
            above=frozen(found.above - 1),
            below_kind=frozen(found.below_kind, np.uint8),
            above_kind=frozen(found.above_kind, np.uint8),
            assets=tables.assets,
            position_below=frozen(mark * found.below[line_of]),
            position_above=frozen(mark * found.above[line_of]),
            position_below_kind=frozen(found.below_kind[line_of], np.uint8),
            position_above_kind=frozen(found.above_kind[line_of], np.uint8),
            common_below=frozen(common.below - 1),
            common_above=frozen(common.above - 1),
            common_below_kind=frozen(common.below_kind, np.uint8),
            common_above_kind=frozen(common.above_kind, np.uint8),
            rejudged=rejudged,
        )

    @property
    def mark_price(self) -> Floats:
        """The mark of every instrument."""
        x = self.state.rates.x
        with np.errstate(divide="ignore"):
            return np.where(self.tables.inverse, -1.0 / x, x)

    def _settle_sides(self, found: Crossings, pool: NDArray[np.int64], coins: Any) -> int:
        """Ask the judge for every line with a side that floats cannot decide."""
        rows = np.flatnonzero((found.below_kind == Side.EDGE) | (found.above_kind == Side.EDGE))
        for row in rows:
            try:
                below, above = self._exact_sides(int(pool[row]), coins(row))
            except CrossmarginError:  # what the judge refuses has no sides to speak of
                found.below_kind[row] = found.above_kind[row] = Side.UNKNOWN
                found.below[row] = found.above[row] = np.nan
                continue
            for side, value, kind in ((below, found.below, found.below_kind), (above, found.above, found.above_kind)):
                kind[row] = _SIDE[side.kind]
                value[row] = np.nan if side.distance is None else float(1 + side.distance)
        return len(rows)

    def _exact_sides(self, pool: int, coins: set[str]) -> tuple[Crossing, Crossing]:
        with localcontext(CONTEXT):
            state = self.judge(pool, self.exact_market)
            one = Decimal(1)
            marks = {
                exposure.symbol.name: one
                for own in state.assets
                for exposure, _, _ in own.exposures
                if exposure.symbol.base in coins
            }
            held = {own.asset.name for own in state.assets}
            return crossings_of(state, marks, dict.fromkeys(held & coins, one) if is_priced(state.pool) else {})

    # scenarios ---------------------------------------------------------------------------------------------------

    def stress(self, scenarios: tuple[Scenario, ...]) -> BookStress:
        if not scenarios:
            raise AccountError("book stress", (Fault("scenarios", "", "is empty; give at least one"),))
        factor, index = factors_of(scenarios, self.tables.assets, self.tables.rules.reference_currency)
        keep = len(self.runner) * len(scenarios) <= _MOST_KEPT
        found = self.runner.stress(self.state, factor, index, keep=keep)
        rejudged = self._settle_scenarios(found, factor, index)
        return BookStress(
            worst_headroom=frozen(found.worst),
            worst_scenario=frozen(found.where, np.int64),
            scenarios=tuple(scenario.name for scenario in scenarios),
            liquidated=frozen(found.broken, np.int64),
            headroom=frozen(found.headroom) if keep else None,
            rejudged=rejudged,
        )

    def _settle_scenarios(self, found: Stressed, factor: Floats, index: Floats) -> int:
        """Judge the pairs within rounding of zero, which the count has left out."""
        count = 0
        pools = self.runner.bound.pools
        for row in np.flatnonzero(found.close):
            purse = int(pools.purse[row])
            own = int(row - np.searchsorted(pools.purse, purse))
            alone = Runner(self.book.take([purse]), self.tables, threads=1)
            again = alone.stress(alone.state(self.state.rates), factor, index, keep=True)
            edge = np.repeat(again.edge[own], BLOCK)[: factor.shape[1]]
            for place in np.flatnonzero(np.abs(again.headroom[own]) <= edge):
                moved = self._moved(factor[:, place], index[:, place])
                with localcontext(CONTEXT):
                    exact = self.judge(int(row), moved)
                found.broken[place] += int(exact.liquidatable)
                if len(found.headroom):
                    found.headroom[row, place] = float(exact.headroom)
                count += 1
        return count

    def _moved(self, factor: Floats, index: Floats) -> Market:
        place = {name: code for code, name in enumerate(self.tables.assets)}
        return scaled(
            self.exact_market,
            lambda symbol: decimal(factor[place[base]]) if (base := parse_symbol(symbol).base) in place else Decimal(1),
            lambda asset: decimal(index[place[asset]]) if asset in place else Decimal(1),
        )

    # slopes ------------------------------------------------------------------------------------------------------

    def slopes(self) -> BookSensitivity:
        lines, tables = self.runner.lines, self.tables
        up, down = self.runner.slopes(self.state)
        now = np.asarray(self.state.rates.price[lines.coin])
        has_position = np.diff(lines.position_start) > 0
        bound = self.runner.bound.book
        first = lines.position[np.minimum(lines.position_start[:-1], max(bound.positions - 1, 0))]
        if bound.positions:
            mark = self.mark_price[bound.instrument[first]]
            now = np.where(np.isnan(now) & has_position, mark, now)
        return BookSensitivity(
            pool=frozen(np.repeat(np.arange(len(self.runner)), np.diff(lines.start)), np.int64),
            coin=lines.coin,
            now=frozen(now),
            up=frozen(up / now),
            down=frozen(down / now),
            assets=tables.assets,
        )


def factors_of(scenarios: Sequence[Scenario], assets: Sequence[str], reference: str) -> tuple[Floats, Floats]:
    """(asset x scenario) what contracts on each asset, and the asset's own price, are multiplied with.

    As for one account: a coin that is not named follows ``others``; currencies and stablecoins stand still unless
    named; an index move replaces the coin's own move of its price. The reference currency is 1 by definition.
    """
    factor, index = np.ones((len(assets), len(scenarios))), np.ones((len(assets), len(scenarios)))
    for place, scenario in enumerate(scenarios):
        for code, name in enumerate(assets):
            move = scenario.moves.get(name)
            if move is None and name not in CASH and name not in scenario.index_moves:
                move = scenario.others
            factor[code, place] = 1.0 if move is None else float(1 + move)
            own = scenario.index_moves.get(name)
            index[code, place] = factor[code, place] if own is None else float(1 + own)
            if name == reference:
                index[code, place] = 1.0
    return factor, index


def _decimals(prices: Prices) -> Market:
    """A market of the shortest decimals of its columns; what is not a positive number is left out."""

    def table(names: Sequence[str], column: Floats) -> dict[str, Decimal]:
        return dict(_usable(names, column))

    return Market.model_construct(
        as_of=_EPOCH,
        mark_price=table(prices.instruments, prices.mark_price),
        index_price=table(prices.assets, prices.index_price),
        bid_rate=table(prices.assets, prices.bid_rate),
        ask_rate=table(prices.assets, prices.ask_rate),
        last_price=table(prices.instruments, prices.last_price) if len(prices.last_price) else {},
        funding_rate={},
        funding_interval={},
    )


def _usable(names: Sequence[str], column: Floats) -> Iterator[tuple[str, Decimal]]:
    for name, price in zip(names, column.tolist(), strict=True):
        if 0 < price < np.inf:
            yield name, decimal(price)
