"""Where does the risk of a whole book sit, how near is it to liquidation, and which scenarios break how much of it?

A book may be larger than memory, so the questions take one after another of its parts and keep sums, counts and the
few pools that stand out. Every figure of a pool is that of :mod:`crossmargin.analytics.book`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from crossmargin.analytics.book import BookReport, BookThresholds, evaluate_book, judge_book, stress_book
from crossmargin.engine import formulas
from crossmargin.engine.book import Book
from crossmargin.engine.columns import Floats, Offsets, Reason, Side, Status
from crossmargin.engine.prices import Prices, usable
from crossmargin.engine.tables import Tables, compile_rules
from crossmargin.model.instrument import parse_symbol
from crossmargin.model.market import Market
from crossmargin.model.profile import Rules
from crossmargin.model.scenario import Scenario

EDGES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Margin ratios at which the distribution is cut; the last class is 1 and more, or no equity at all."""
MOVES = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8)
"""Falls and rises of all coins together at which the pools that break are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolRisk:
    """One pool that stands out; figures in ``currency``. ``margin_ratio`` is None where equity is not positive."""

    account: str
    pool: str
    currency: str
    status: str
    equity: float
    maintenance_margin: float
    headroom: float
    margin_ratio: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class InstrumentConcentration:
    """What the book has in one contract: positions, and their value at the mark (None without one) in ``currency``.

    ``value``: longs and shorts in the profile's currency, where the settle asset's price is known; the list goes by it.
    """

    symbol: str
    currency: str
    positions: int
    long_notional: float | None
    short_notional: float | None
    largest: float | None
    value: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CollateralConcentration:
    """What the book holds of one asset: how much, how much is owed, and the net value where its price is known."""

    asset: str
    holdings: int
    held: float
    owed: float
    value: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RatioClass:
    """How many pools have a margin ratio of ``low`` or more and below ``high`` (None = without end)."""

    low: float
    high: float | None
    pools: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BookSummary:
    """A book in numbers. ``riskiest``: by margin ratio, worst first. Concentrations: largest first.

    ``status`` and ``reasons`` count pools; ``ratios`` those whose figures are known.
    """

    profile: str
    currency: str
    pools: int
    positions: int
    status: Mapping[str, int]
    reasons: Mapping[str, int]
    rejudged: int
    ratios: tuple[RatioClass, ...]
    riskiest: tuple[PoolRisk, ...]
    instruments: tuple[InstrumentConcentration, ...]
    collateral: tuple[CollateralConcentration, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NearPool:
    """A pool near liquidation: the fall and the rise of all coins together at which it breaks; None = it does not."""

    account: str
    pool: str
    below: float | None
    above: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveCount:
    """How many pools are liquidated once all coins have moved so far (-0.1 = 10 % down), those already so included."""

    move: float
    pools: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BookDistances:
    """How near a book is to liquidation as all coins move together (stablecoins stand still).

    ``already``: pools that are liquidatable now. ``unknown``: pools with a side that cannot be known.
    """

    profile: str
    pools: int
    already: int
    unknown: int
    rejudged: int
    moves: tuple[MoveCount, ...]
    nearest: tuple[NearPool, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioCount:
    """How many pools are liquidatable in a scenario, and for how many it is the worst of those asked."""

    scenario: str
    liquidated: int
    worst_for: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BookScenarios:
    """A book in scenarios, in the order asked. ``now``: pools that are liquidatable without any move."""

    profile: str
    pools: int
    now: int
    unknown: int
    rejudged: int
    scenarios: tuple[ScenarioCount, ...]


# names ----------------------------------------------------------------------------------------------------------------


def pool_names(book: Book, report: BookReport, *, unified: bool) -> tuple[NDArray[np.int32], tuple[str, ...]]:
    """(code of each pool, names): its asset, ``account`` where assets are pooled, or symbol, side and ``isolated``."""
    start = positions_of(book, unified=unified)
    pockets = (f"{symbol} {side} isolated" for symbol in book.instruments for side in ("long", "short"))
    names = ("account", *report.assets, *pockets)
    codes = np.zeros(len(report.purse), np.int32) if unified else 1 + report.currency
    rows = np.flatnonzero(report.isolated & (np.diff(start) > 0))
    rows = rows[book.instrument[start[rows]] >= 0]
    first = start[rows]
    codes[rows] = 1 + len(report.assets) + 2 * book.instrument[first] + (book.quantity[first] < 0)
    return codes, names


def positions_of(book: Book, *, unified: bool) -> Offsets:
    """Where the positions of each pool start: a pool is a purse, or under rules that keep assets apart a holding."""
    return book.position_start[book.holding_start] if unified else book.position_start


class _Names(NamedTuple):
    """What to call a row of one part."""

    book: Book
    report: BookReport
    codes: NDArray[np.int32]
    names: tuple[str, ...]

    @classmethod
    def of(cls, book: Book, report: BookReport, tables: Tables) -> _Names:
        return cls(book, report, *pool_names(book, report, unified=tables.unified))

    def account(self, row: int) -> str:
        number = int(self.report.account[row])
        return str(number) if self.book.account_ids is None else str(self.book.account_ids[number])

    def pool(self, row: int) -> str:
        return self.names[int(self.codes[row])]


class CompiledRules:
    """The rules for one part after another, compiled anew only where a part names other contracts or assets."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.tables: Tables | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"rules": self.rules, "tables": None}  # compiled again where it runs

    def __call__(self, book: Book) -> Tables:
        """The tables for the names of this book."""
        found = self.tables
        if found is None or found.instruments != book.instruments or found.assets[: len(book.assets)] != book.assets:
            found = self.tables = compile_rules(self.rules, book.instruments, book.assets)
        return found


# summary --------------------------------------------------------------------------------------------------------------


def summarise_book(
    parts: Book | Iterable[Book], market: Market | Prices, rules: Rules, *, top: int = 20, threads: int | None = None
) -> BookSummary:
    """Where the risk of a book sits: verdicts, the distribution of margin ratios, the riskiest pools, concentrations.

    ``top``: how many pools, contracts and assets are named. Raises as
    :func:`~crossmargin.analytics.book.evaluate_book` does.
    """
    compiled = CompiledRules(rules)
    status, reasons, ratios = Counter[str](), Counter[str](), np.zeros(len(EDGES), np.int64)
    pools = positions = rejudged = 0
    riskiest: list[tuple[float, float, PoolRisk]] = []
    contracts: dict[str, NDArray[np.float64]] = {}
    held: dict[str, NDArray[np.float64]] = {}
    prices_of: dict[str, float] = {}
    for book in _parts(parts):
        tables = compiled(book)
        report = evaluate_book(book, market, tables, threads=threads)
        pools, positions, rejudged = pools + len(report.equity), positions + book.positions, rejudged + report.rejudged
        status.update(report.counts)
        reasons.update(report.reasons)
        ratio = _ratios(report)
        ratios += np.histogram(ratio[~np.isnan(ratio)], bins=[*EDGES, np.inf])[0]
        riskiest += _riskiest(_Names.of(book, report, tables), ratio, top)
        riskiest = sorted(riskiest, key=lambda row: row[:2])[:top]
        prices = market if isinstance(market, Prices) else Prices.of(market, tables.instruments, tables.assets)
        _add(contracts, book.instruments, _by_contract(book, tables, prices.aligned(book.instruments, "mark_price")))
        _add(held, book.assets, _by_asset(book))
        index = prices.aligned(book.assets, "index_price")
        prices_of.update(zip(book.assets, index.tolist(), strict=True))
        prices_of[rules.reference_currency] = 1.0
    return BookSummary(
        profile=rules.profile,
        currency=rules.reference_currency,
        pools=pools,
        positions=positions,
        status={one.name.lower(): status[one.name.lower()] for one in Status},
        reasons={one.name.lower(): reasons[one.name.lower()] for one in Reason if reasons[one.name.lower()]},
        rejudged=rejudged,
        ratios=tuple(
            RatioClass(low=low, high=high, pools=int(count))
            for low, high, count in zip(EDGES, [*EDGES[1:], None], ratios, strict=True)
        ),
        riskiest=tuple(row for _, _, row in riskiest),
        instruments=_contracts(contracts, prices_of, top),
        collateral=_collateral(held, prices_of, top),
    )


def _parts(parts: Book | Iterable[Book]) -> Iterable[Book]:
    return (parts,) if isinstance(parts, Book) else parts


def _ratios(report: BookReport) -> Floats:
    """Margin ratios for ranking: without equity but with a requirement it is beyond all bounds; NaN = unknown."""
    with np.errstate(invalid="ignore"):
        broke = (report.equity <= 0) & (report.maintenance_margin > 0)
        idle = (report.maintenance_margin == 0) & (report.equity >= 0)
    return np.where(broke, np.inf, np.where(idle, 0.0, report.margin_ratio))


def _riskiest(names: _Names, ratio: Floats, top: int) -> list[tuple[float, float, PoolRisk]]:
    report = names.report
    order = np.lexsort((report.headroom, -ratio))[:top]  # NaN sorts last
    rows = [int(row) for row in order if not np.isnan(ratio[row])]
    return [
        (
            -float(ratio[row]),
            float(report.headroom[row]),
            PoolRisk(
                account=names.account(row),
                pool=names.pool(row),
                currency=report.assets[report.currency[row]],
                status=Status(report.status[row]).name.lower(),
                equity=float(report.equity[row]),
                maintenance_margin=float(report.maintenance_margin[row]),
                headroom=float(report.headroom[row]),
                margin_ratio=_known(report.margin_ratio[row]),
            ),
        )
        for row in rows
    ]


def _known(value: Any) -> float | None:
    return None if np.isnan(value) else float(value)


def _by_contract(book: Book, tables: Tables, mark: Floats) -> NDArray[np.float64]:
    """(positions, long notional, short notional, largest) of each contract; without a mark its notionals are NaN."""
    count, mark = len(book.instruments), usable(mark)
    known = (book.instrument >= 0) & np.isfinite(book.quantity)
    code = book.instrument[known]
    size = book.quantity[known] * tables.contract_size[code]
    with np.errstate(divide="ignore", invalid="ignore"):
        value = np.where(
            tables.inverse[code],
            formulas.inverse_notional(size, mark[code]),
            formulas.linear_notional(size, mark[code]),
        )
    found = np.zeros((count, 4))
    found[:, 0] = np.bincount(code, minlength=count)
    found[:, 1] = np.bincount(code, np.where(size > 0, value, 0), minlength=count)
    found[:, 2] = np.bincount(code, np.where(size < 0, value, 0), minlength=count)
    np.fmax.at(found[:, 3], code, value)
    found[np.isnan(mark), 1:] = np.nan
    return found


def _by_asset(book: Book) -> NDArray[np.float64]:
    """(holdings, held, owed, 0) of each asset; amounts that are no number are left to the reasons."""
    count = len(book.assets)
    known = (book.asset >= 0) & np.isfinite(book.amount)
    code, amount = book.asset[known], book.amount[known]
    found = np.zeros((count, 4))
    found[:, 0] = np.bincount(code, minlength=count)
    found[:, 1] = np.bincount(code, np.maximum(amount, 0), minlength=count)
    found[:, 2] = np.bincount(code, np.maximum(-amount, 0), minlength=count)
    return found


def _add(sums: dict[str, NDArray[np.float64]], names: Sequence[str], rows: NDArray[np.float64]) -> None:
    """Add a part's sums to those before; the last column is a maximum."""
    for name, row in zip(names, rows, strict=True):
        before = sums.get(name)
        sums[name] = row if before is None else np.append(before[:3] + row[:3], max(before[3], row[3]))


def _contracts(
    sums: Mapping[str, NDArray[np.float64]], prices: Mapping[str, float], top: int
) -> tuple[InstrumentConcentration, ...]:
    found = [_contract(name, row, prices) for name, row in sums.items() if row[0]]
    found.sort(key=lambda row: (row.value is None, -(row.value or 0.0), row.symbol))
    return tuple(found[:top])


def _contract(name: str, row: NDArray[np.float64], prices: Mapping[str, float]) -> InstrumentConcentration:
    try:
        settle = parse_symbol(name).settle
    except ValueError:
        settle = ""
    return InstrumentConcentration(
        symbol=name,
        currency=settle,
        positions=int(row[0]),
        long_notional=_known(row[1]),
        short_notional=_known(row[2]),
        largest=_known(row[3]),
        value=_known((row[1] + row[2]) * prices.get(settle, np.nan)),
    )


def _collateral(
    sums: Mapping[str, NDArray[np.float64]], prices: Mapping[str, float], top: int
) -> tuple[CollateralConcentration, ...]:
    found = [
        CollateralConcentration(
            asset=name,
            holdings=int(row[0]),
            held=float(row[1]),
            owed=float(row[2]),
            value=_known((row[1] - row[2]) * prices.get(name, np.nan)),
        )
        for name, row in sums.items()
        if row[0]
    ]
    found.sort(key=lambda row: (row.value is None, -abs(row.value or 0.0), row.asset))
    return tuple(found[:top])


# distances ------------------------------------------------------------------------------------------------------------


def distances_of_book(
    parts: Book | Iterable[Book], market: Market | Prices, rules: Rules, *, top: int = 20, threads: int | None = None
) -> BookDistances:
    """How near a book is to liquidation: how many pools break at each common move, and which are nearest.

    Raises as :func:`~crossmargin.analytics.book.threshold_book`.
    """
    compiled = CompiledRules(rules)
    grid = (*(-move for move in reversed(MOVES)), *MOVES)
    counts = np.zeros(len(grid), np.int64)
    pools = already = unknown = rejudged = 0
    nearest: list[tuple[float, NearPool]] = []
    for book in _parts(parts):
        tables = compiled(book)
        report, found = judge_book(book, market, tables, threads=threads)
        assert found is not None  # thresholds were asked for
        broken = found.common_below_kind == Side.ALREADY
        pools, already = pools + len(report.equity), already + int(broken.sum())
        open_side = (found.common_below_kind == Side.UNKNOWN) | (found.common_above_kind == Side.UNKNOWN)
        unknown, rejudged = unknown + int(open_side.sum()), rejudged + report.rejudged + found.rejudged
        counts += [_broken(found, broken, move) for move in grid]
        nearest += _nearest(_Names.of(book, report, tables), found, top)
        nearest = sorted(nearest, key=lambda row: row[0])[:top]
    return BookDistances(
        profile=rules.profile,
        pools=pools,
        already=already,
        unknown=unknown,
        rejudged=rejudged,
        moves=tuple(MoveCount(move=move, pools=int(count)) for move, count in zip(grid, counts, strict=True)),
        nearest=tuple(row for _, row in nearest),
    )


def _broken(found: BookThresholds, broken: NDArray[np.bool_], move: float) -> int:
    """How many pools are liquidatable once everything has moved so far."""
    with np.errstate(invalid="ignore"):
        reached = found.common_below >= move if move < 0 else found.common_above <= move
    return int((broken | reached).sum())


def _nearest(names: _Names, found: BookThresholds, top: int) -> list[tuple[float, NearPool]]:
    distance = np.fmin(np.abs(found.common_below), np.abs(found.common_above))
    rows = [int(row) for row in np.argsort(distance, kind="stable")[:top] if not np.isnan(distance[row])]
    return [
        (
            float(distance[row]),
            NearPool(
                account=names.account(row),
                pool=names.pool(row),
                below=_known(found.common_below[row]),
                above=_known(found.common_above[row]),
            ),
        )
        for row in rows
    ]


# scenarios ------------------------------------------------------------------------------------------------------------


def scenarios_of_book(
    parts: Book | Iterable[Book],
    market: Market | Prices,
    rules: Rules,
    scenarios: Sequence[Scenario],
    *,
    threads: int | None = None,
) -> BookScenarios:
    """How many pools of a book each scenario breaks. Raises as :func:`~crossmargin.analytics.book.stress_book`."""
    compiled = CompiledRules(rules)
    liquidated, worst = np.zeros(len(scenarios), np.int64), np.zeros(len(scenarios), np.int64)
    pools = now = unknown = rejudged = 0
    for book in _parts(parts):
        tables = compiled(book)
        report = evaluate_book(book, market, tables, threads=threads)
        found = stress_book(book, market, tables, scenarios, threads=threads)
        pools, rejudged = pools + len(report.equity), rejudged + report.rejudged + found.rejudged
        now += report.counts["liquidation"]
        unknown += report.counts["unknown"]
        liquidated += found.liquidated
        worst += np.bincount(found.worst_scenario[found.worst_scenario >= 0], minlength=len(scenarios))
    return BookScenarios(
        profile=rules.profile,
        pools=pools,
        now=now,
        unknown=unknown,
        rejudged=rejudged,
        scenarios=tuple(
            ScenarioCount(scenario=scenario.name, liquidated=int(broken), worst_for=int(most))
            for scenario, broken, most in zip(scenarios, liquidated, worst, strict=True)
        ),
    )
