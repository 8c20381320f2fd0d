"""A book bound to a profile: everything that no price decides is looked up, checked and formed once.

What is left for the kernel is flat: sizes, entries in the transformed price, the size that the maintenance table is
applied to, what is required whatever the price, and for each pool and coin the positions that a move of it moves.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from crossmargin.engine.book import Book
from crossmargin.engine.columns import Bytes, Codes, Floats, Offsets, Reason, frozen
from crossmargin.engine.orders import (
    NO_ORDERS,
    Resting,
    bind_orders,
    charge_orders,
    held_by_orders,
    reason_of,
    with_rows,
)
from crossmargin.engine.prices import Rates
from crossmargin.engine.rows import (
    AT_BANKRUPTCY,
    AT_ENTRY,
    AT_MARK,
    BY_VALUE,
    FRACTION,
    GROSS,
    HIGHEST,
    IN_SIZE,
    LARGER_SIDE,
    MARGINAL,
    NET,
    NO_FEE,
    PER_LEG,
    STEP,
    bind_rows,
    count_lines,
    fill_lines,
)
from crossmargin.engine.tables import ISOLATED, SHARED, Tables, compile_rules, fee_in_table
from crossmargin.model.profile import Rules

CHUNK = 16_384
"""Pools that one thread takes at a time; which thread takes which changes no figure."""


def in_chunks(count: int, work: Callable[[int, int], None], threads: int | None = None, *, chunk: int = CHUNK) -> None:
    """Do ``work(start, stop)`` over a range in fixed chunks, side by side; compiled work holds no interpreter lock."""
    starts = range(0, count, chunk)
    workers = min(threads or os.cpu_count() or 1, len(starts))
    if workers <= 1:
        for start in starts:
            work(start, min(start + chunk, count))
        return
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(lambda start: work(start, min(start + chunk, count)), starts))


class Pools(NamedTuple):
    """A bound book. Per pool: ``start`` into holdings, ``law``, ``reason``, ``purse``. Per holding: ``position_start``,
    ``asset``, ``cash`` (amount and the bonus that counts), ``counts``, ``fixed`` (required whatever the price),
    ``ordered`` and ``ordered_gross`` (what orders hold whatever the price, and the sum of its terms; empty unless bound
    for ticks).
    Per position: ``instrument``, ``size``, ``charged`` (what the maintenance table is applied to), ``entry`` (the
    transformed entry price), ``leverage``, ``fee`` and ``initial_fee`` (the fees to close that maintenance
    and initial margin hold), ``held`` (required whatever the price, ``fee`` included).
    """

    start: Offsets
    law: Bytes
    reason: Bytes
    purse: Offsets
    position_start: Offsets
    asset: Codes
    cash: Floats
    counts: NDArray[np.bool_]
    fixed: Floats
    ordered: Floats
    ordered_gross: Floats
    instrument: Codes
    size: Floats
    charged: Floats
    entry: Floats
    leverage: Floats
    fee: Floats
    initial_fee: Floats
    held: Floats


class Lines(NamedTuple):
    """What moves with each coin of each pool. Per pool: ``start`` into lines. Per line: ``coin``, ``holding`` (the
    pool's own holding of the coin where its price matters, else -1), ``position_start`` into ``position``.
    """

    start: Offsets
    coin: Codes
    holding: Offsets
    position_start: Offsets
    position: Offsets


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """A book and a profile, ready to be judged at any prices."""

    book: Book
    tables: Tables
    pools: Pools
    leverage_missing: bool
    has_fixed: bool
    has_fee: bool
    shared_legs: bool
    """Whether one rule is applied to both legs of a hedge together."""
    mark_fee: Floats
    """The fee to close at the mark that the requirement holds, by law and instrument; all zero = there is none."""
    initial_mark_fee: Floats
    """The same of the initial margin."""
    resting: Resting | None
    """The resting orders that hold margin; None = there are none."""
    standing_in: NDArray[np.bool_]
    """Which rows of ``book`` are no positions but stand for orders in an instrument without one; empty = none."""


_SCOPE = {"per_leg": PER_LEG, "gross": GROSS, "net": NET, "larger_side": LARGER_SIDE}
_WITHOUT_ORDERS = {"worse_side": LARGER_SIDE, "added": PER_LEG}
"""A rule that charges orders as if filled, where there are none: the larger side, or each side;
net where legs are."""
_BY_CONTRACTS, _BY_COINS = 1, 2
_COUNTED = {"contracts": _BY_CONTRACTS, "coin": _BY_COINS}
_FEE = {"none": NO_FEE, "bankruptcy": AT_BANKRUPTCY, "entry": AT_ENTRY, "mark": AT_MARK}
_KIND = {
    "marginal_brackets": MARGINAL,
    "step_brackets": STEP,
    "linear_in_size": IN_SIZE,
    "highest_rate": HIGHEST,
    "fraction_of_initial": FRACTION,
}


class _Rule(NamedTuple):
    """The maintenance rule of one law as codes."""

    kind: int
    counted: int
    scope: int
    at_entry: bool
    close_fee: int
    initial_fee: int
    closing_rate: float | None
    """The rate of the fee to close where it is not the taker fee."""
    needs_bankruptcy: bool
    fraction: float


def _rule(rules: Rules, law: int) -> _Rule:
    slots = rules.slots_for(isolated=law == ISOLATED)
    slot = slots.maintenance_margin
    by_value = slot.key == "notional" and slot.kind in ("marginal_brackets", "step_brackets")
    at_entry = slots.valuation.maintenance == "entry"
    return _Rule(
        kind=BY_VALUE if by_value else _KIND[slot.kind],
        counted=_COUNTED.get(slot.key, _BY_COINS),
        scope=NET if slot.scope == "net" else _WITHOUT_ORDERS.get(slot.orders, _SCOPE[slot.scope]),
        at_entry=at_entry,
        close_fee=NO_FEE if fee_in_table(slots) else _FEE[slot.close_fee],
        initial_fee=_FEE[slots.initial_margin.close_fee],
        closing_rate=None if slot.close_fee_rate is None else float(slot.close_fee_rate),
        needs_bankruptcy="bankruptcy" in (slot.close_fee, slots.initial_margin.close_fee),
        fraction=float(slot.fraction or 0),
    )


def bind(book: Book, rules: Rules | Tables, *, threads: int | None = None, ticking: bool = False) -> Bound:
    """Bind a book to a profile (or to its compiled tables).

    ``ticking``: for who goes from tick to tick; every order gets a row, so that its price is watched, and each holding
    what its orders hold, which must move with no price (:func:`crossmargin.engine.orders.steady`).

    Raises :class:`UnsupportedRule` for a profile that cannot be compiled. A row that cannot be judged gets its reason.
    """
    if isinstance(rules, Rules):
        tables = compile_rules(rules, book.instruments, book.assets)
    else:
        tables = rules
        if tables.instruments != book.instruments or tables.assets[: len(book.assets)] != book.assets:
            tables = compile_rules(rules.rules, book.instruments, book.assets)
    laws = (_rule(tables.rules, SHARED), _rule(tables.rules, ISOLATED))
    slots = tables.rules.slots
    taker, none = np.nan_to_num(tables.taker_fee), np.zeros(len(tables.instruments))
    closing_rate = frozen([taker if rule.closing_rate is None else none + rule.closing_rate for rule in laws])
    codes = [rule._replace(closing_rate=0.0) for rule in laws]  # one type for the kernel
    given = book
    book, standing_in = with_rows(book, slots, every=ticking)
    counts = np.empty(book.holdings, np.bool_)
    columns = {name: np.empty(book.positions) for name in ("size", "entry", "charged")}
    columns |= {name: np.zeros(book.positions) for name in ("fee", "initial_fee", "held")}
    cash, fixed = np.empty(book.holdings), np.zeros(book.holdings)
    reason = np.zeros(book.purses, np.uint8)
    counted = any(rule.kind != BY_VALUE for rule in laws)
    count_slots = _count_tables(tables) if counted else _NO_COUNTS

    def work(start: int, stop: int) -> None:
        bind_rows(
            start, stop, book.holding_start, book.isolated, book.open_orders, book.position_start, book.asset,
            book.amount, book.bonus_credit, book.use_as_collateral, book.instrument, book.quantity, book.entry_price,
            book.leverage, standing_in, codes[0], codes[1], tables.bad, tables.settle, tables.inverse,
            tables.contract_size, tables.taker_fee, closing_rate, tables.size_slope, tables.first_row,
            tables.brackets.cap,
            tables.brackets.rate, tables.brackets.deduction, *count_slots, tables.counts, tables.listed,
            tables.unified, reason_of(slots),
            slots.equity.bonus_credit, slots.equity.weighted, slots.pooling.isolated,
            cash, counts, fixed, columns["size"], columns["entry"], columns["charged"], columns["fee"],
            columns["initial_fee"], columns["held"], reason,
        )  # fmt: skip

    in_chunks(book.purses, work, threads)
    resting = bind_orders(given, tables, reason)
    if resting is not None and len(resting.taken):
        cash -= resting.taken
    if resting is not None and slots.maintenance_margin.orders != "none":
        net = slots.maintenance_margin.scope == "net"
        charge_orders(book, resting, columns["size"], columns["charged"], net=net)
    ordered = NO_ORDERS, NO_ORDERS
    if ticking:
        unpriced = frozen(np.full(len(tables.instruments), np.nan))
        nothing = frozen(np.zeros(book.holdings))
        still = Rates(unpriced, NO_ORDERS, NO_ORDERS, NO_ORDERS)
        ordered = (nothing, nothing) if resting is None else held_by_orders(resting, tables, still, book.holdings)
    law = book.isolated.astype(np.uint8)
    if tables.unified:
        start, purse = book.holding_start, np.arange(book.purses)
    else:
        # each asset of a purse is a pool of its own
        start, purse = np.arange(book.holdings + 1), np.repeat(np.arange(book.purses), np.diff(book.holding_start))
        law, reason = law[purse], reason[purse]
    plain = laws[0].kind == BY_VALUE and laws[1].kind == BY_VALUE and laws[0].scope == laws[1].scope == PER_LEG
    if plain and not laws[0].at_entry and not laws[1].at_entry:
        columns["charged"] = columns["size"]  # the table is applied to the position itself: no second column to read
    mark_fee = np.array([closing_rate[law] if rule.close_fee == AT_MARK else none for law, rule in enumerate(laws)])
    initial_mark_fee = np.array([taker if rule.initial_fee == AT_MARK else none for rule in laws])
    return Bound(
        book=book,
        tables=tables,
        pools=Pools(
            start=frozen(start, np.int64),
            law=frozen(law, np.uint8),
            reason=frozen(reason, np.uint8),
            purse=frozen(purse, np.int64),
            position_start=book.position_start,
            asset=book.asset,
            cash=frozen(cash),
            counts=frozen(counts, np.bool_),
            fixed=frozen(fixed),
            ordered=ordered[0],
            ordered_gross=ordered[1],
            instrument=book.instrument,
            leverage=book.leverage,
            **{name: frozen(column) for name, column in columns.items()},
        ),
        leverage_missing=bool((reason == Reason.LEVERAGE_MISSING).any()),
        has_fixed=bool(fixed.any()),
        shared_legs=any(rule.scope != PER_LEG for rule in laws),
        has_fee=bool(columns["initial_fee"].any()),
        mark_fee=frozen(mark_fee),
        initial_mark_fee=frozen(initial_mark_fee),
        resting=resting,
        standing_in=standing_in,
    )


_NO_COUNTS: tuple[Codes, Floats, Floats, Floats] = (
    frozen([[0], [0]], np.int32),
    frozen([np.inf]),
    frozen([np.nan]),
    frozen([np.nan]),
)
"""Where both laws look at values, nothing is counted: a book in parts is bound often."""


def _count_tables(tables: Tables) -> tuple[Codes, Floats, Floats, Floats]:
    """The judge's tables by count, flat: first row of each instrument (by law), floors of the rows above, rate,
    offset."""
    first: list[list[int]] = []
    rows: list[tuple[float, float, float]] = []
    for law in tables.table_of:
        starts = []
        for steps in law:
            starts.append(len(rows))
            if steps is None:
                rows.append((np.inf, np.nan, np.nan))
            else:
                rows += zip([*steps.floors[1:], np.inf], steps.rates, steps.offsets, strict=True)
        first.append(starts)
    cap, rate, offset = zip(*(rows or [(np.inf, np.nan, np.nan)]), strict=True)
    return frozen(first, np.int32), frozen(cap), frozen(rate), frozen(offset)


# lines ----------------------------------------------------------------------------------------------------------------


def lines_of(bound: Bound, *, threads: int | None = None) -> Lines:
    """For every pool, each coin whose price moves it, and what it moves; a matter of the book alone."""
    pools, tables = bound.pools, bound.tables
    count = len(pools.law)
    per_pool = np.zeros(count + 1, np.int64)
    shape = (pools.start, pools.law, pools.position_start, pools.asset, pools.instrument, tables.base)
    coins, priced = len(tables.assets), tables.unified
    in_chunks(count, lambda a, b: count_lines(a, b, *shape, coins, priced, tables.reference, per_pool), threads)
    start = frozen(np.cumsum(per_pool), np.int64)
    total = int(start[-1])
    coin, holding = np.empty(total, np.int32), np.empty(total, np.int64)
    position_start, position = np.zeros(total + 1, np.int64), np.empty(len(pools.instrument), np.int64)
    in_chunks(
        count,
        lambda a, b: fill_lines(
            a, b, *shape, coins, priced, tables.reference, start, coin, holding, position_start, position
        ),
        threads,
    )
    position_start[total] = len(position)
    return Lines(
        start,
        frozen(coin, np.int32),
        frozen(holding, np.int64),
        frozen(position_start, np.int64),
        frozen(position, np.int64),
    )
