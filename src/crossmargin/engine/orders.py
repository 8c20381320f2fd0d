"""The resting orders of a book: what they hold, for each holding, before the runner goes over its pools.

What a price decides (the loss an order would open with, the price a sell is taken at) is formed anew at every row of
prices, everything else once. The runner adds one number a holding; a book without orders does none of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from crossmargin.engine import kinds
from crossmargin.engine.book import Book
from crossmargin.engine.columns import Bytes, Codes, Floats, Offsets, Reason, frozen
from crossmargin.engine.prices import Rates, price_transform
from crossmargin.engine.resting import resting_margins, worse_sides
from crossmargin.engine.tables import SHARED, Tables
from crossmargin.model.slots import OrderMargin, Slots


class Sides(NamedTuple):
    """The exposures that have orders, where the larger side of positions and orders counts; empty where it does not.

    ``group``: the exposure of each order; ``holding``: of each exposure. Per position on one of them ``leg_group``,
    ``leg_instrument``, ``leg_size``, ``leg_entry`` (transformed) and ``leg_leverage`` (NaN = unknown).
    """

    group: Offsets
    holding: Offsets
    leg_group: Offsets
    leg_instrument: Codes
    leg_size: Floats
    leg_entry: Floats
    leg_leverage: Floats


class Resting(NamedTuple):
    """The orders of a bound book that hold margin, in the order of their rows.

    Per order: ``holding``, ``instrument``, ``size``, ``price`` (its own), ``entry`` (the same transformed),
    ``leverage`` (NaN = unknown). ``taken``: per holding, what goes out of equity; ``sides``: what they add up with.
    """

    holding: Offsets
    instrument: Codes
    size: Floats
    price: Floats
    entry: Floats
    leverage: Floats
    taken: Floats
    sides: Sides


class RestingRule(NamedTuple):
    """What a resting order holds, as flags for the kernel."""

    value: bool
    open_loss: bool
    open_fee: bool
    close_fee: bool
    assuming: bool
    markup: float


NO_ORDERS = frozen([])
"""Margins of no orders, by no holding."""


def follows(slots: Slots) -> bool:
    """Whether a profile's rule for orders has a compiled form: value over leverage, added to the positions' margin or
    to that of its side, the larger of which counts.

    What is taken out of equity must be the same at every price, or thresholds would not be exact. In the maintenance
    margin the worse side is followed, by tables of value at the mark.
    """
    rule, kept = slots.initial_margin.orders, slots.maintenance_margin
    if rule is None:
        return kept.orders == "none"
    if slots.initial_margin.kind != "leverage" or (rule.scope != "added" and slots.initial_margin.close_fee != "none"):
        return False
    by_value = kept.key == "notional" and kept.kind in kinds.BY_NOTIONAL and slots.valuation.maintenance == "mark"
    if kept.orders != "none" and not (kept.orders == "worse_side" and by_value):
        return False
    return rule.from_equity == "none" or not (rule.open_loss or rule.price == "assuming")


def steady(slots: Slots) -> bool:
    """Whether what orders hold is followed and moves with no price: from tick to tick it stays what it is."""
    rule = slots.initial_margin.orders
    return follows(slots) and (
        rule is None or not (rule.open_loss or rule.price == "assuming" or rule.scope != "added")
    )


def reason_of(slots: Slots) -> int:
    """What is unknown of a purse whose orders are not followed: nothing, its initial margin, or every figure."""
    orders = slots.initial_margin.orders
    if slots.maintenance_margin.orders != "none" or (orders is not None and orders.from_equity != "none"):
        return int(Reason.ORDERS_COUNT)
    return int(Reason.NONE if orders is None else Reason.OPEN_ORDERS)


def bind_orders(book: Book, tables: Tables, reason: Bytes) -> Resting | None:
    """Check and form every order; a bad one gives its purse a reason, in place. None where no order holds margin."""
    if not book.orders:
        return None
    slots = tables.rules.slots
    holding = np.repeat(np.arange(book.holdings), np.diff(book.order_start))
    purse = np.repeat(np.arange(book.purses), np.diff(book.holding_start))[holding]
    leverage = _leverage(book, holding)
    with np.errstate(invalid="ignore"):
        for rows, why in _faults(book, tables, holding, purse, leverage):
            np.maximum.at(reason, purse[rows], np.uint8(why))
    counted = np.flatnonzero(~book.order_reduce_only & (book.order_instrument >= 0))
    rule = slots.initial_margin.orders
    if rule is None or not len(counted) or not follows(slots):
        return None
    instrument, price = book.order_instrument[counted], book.order_price[counted]
    found = Resting(
        holding=frozen(holding[counted], np.int64),
        instrument=frozen(instrument, np.int32),
        size=frozen(book.order_quantity[counted] * tables.contract_size[instrument]),
        price=frozen(price),
        entry=frozen(price_transform(price, tables.inverse[instrument])),
        leverage=frozen(leverage[counted]),
        taken=NO_ORDERS,
        sides=_NO_SIDES,
    )
    if rule.scope == "worse_side":
        found = found._replace(sides=_sides_of(book, tables, found))
    if rule.from_equity == "none":
        return found
    margin, fees, _ = _margins(found, tables, rule, np.full(len(tables.instruments), np.nan), None)
    # a leverage that is missing leaves the initial margin unknown and takes nothing
    out = np.nan_to_num(margin) if rule.from_equity == "margin" else fees
    return found._replace(taken=frozen(_by_holding(found, out, book.holdings)))


_NO_ROWS = frozen([], np.int64)
_NO_SIDES = Sides(_NO_ROWS, _NO_ROWS, _NO_ROWS, frozen([], np.int32), NO_ORDERS, NO_ORDERS, NO_ORDERS)


def _sides_of(book: Book, tables: Tables, resting: Resting) -> Sides:
    """The exposures of some orders and the positions on them."""
    keys, group = np.unique(_key(book, resting.holding, resting.instrument), return_inverse=True)
    place = np.minimum(np.searchsorted(keys, own := _keys(book)), len(keys) - 1)
    legs = np.flatnonzero(keys[place] == own)
    instrument = book.instrument[legs]
    return Sides(
        group=frozen(group, np.int64),
        holding=frozen(keys // (len(book.instruments) + 1), np.int64),
        leg_group=frozen(place[legs], np.int64),
        leg_instrument=frozen(instrument, np.int32),
        leg_size=frozen(book.quantity[legs] * tables.contract_size[instrument]),
        leg_entry=frozen(price_transform(book.entry_price[legs], tables.inverse[instrument])),
        leg_leverage=frozen(book.leverage[legs]),
    )


def with_rows(book: Book, slots: Slots, *, every: bool = False) -> tuple[Book, NDArray[np.bool_]]:
    """A book in which every order that the maintenance margin counts (``every``: that holds margin at all) has a row
    to stand on, and which rows those are.

    Where the instrument has no position a row of quantity 0 is put behind the others of its holding. Without such
    rows it is the book itself, and no flags.
    """
    wanted = slots.maintenance_margin.orders != "none" or (every and slots.initial_margin.orders is not None)
    if not book.orders or not wanted or not follows(slots):
        return book, np.empty(0, np.bool_)
    holding = np.repeat(np.arange(book.holdings), np.diff(book.order_start))
    counted = ~book.order_reduce_only & (book.order_instrument >= 0)
    lacking = np.setdiff1d(_key(book, holding[counted], book.order_instrument[counted]), _keys(book))
    if not len(lacking):
        return book, np.empty(0, np.bool_)
    width = len(book.instruments) + 1
    own, instrument = lacking // width, lacking % width - 1
    place = book.position_start[own + 1]
    added = np.concatenate([[0], np.cumsum(np.bincount(own, minlength=book.holdings))])
    return replace(
        book,
        position_start=book.position_start + added,
        instrument=np.insert(book.instrument, place, instrument.astype(np.int32)),
        quantity=np.insert(book.quantity, place, 0.0),
        entry_price=np.insert(book.entry_price, place, 1.0),
        leverage=np.insert(book.leverage, place, 1.0),
    ), np.insert(np.zeros(book.positions, np.bool_), place, True)


def charge_orders(book: Book, resting: Resting, size: Floats, charged: Floats, *, net: bool) -> None:
    """Apply the maintenance table to the larger of the two sizes that fills would leave; ``charged`` in place.

    ``net``: the legs are charged net, and fills of one side move the net size; else each side stands by itself.
    ``book``: one of :func:`with_rows`. The legs of an instrument stand next to each other, so the first takes it all.
    """
    keys = _keys(book)
    found, first = np.unique(keys, return_index=True)
    row = first[np.searchsorted(found, _key(book, resting.holding, resting.instrument))]
    buys = np.bincount(row, weights=np.maximum(resting.size, 0), minlength=book.positions)
    sells = np.bincount(row, weights=np.maximum(-resting.size, 0), minlength=book.positions)
    rows = np.unique(row)
    other = np.minimum(rows + 1, book.positions - 1)
    hedged = (other > rows) & (keys[other] == keys[rows])
    second = np.where(hedged, size[other], 0.0)
    if net:
        held = size[rows] + second
        longs, shorts = np.abs(held + buys[rows]), np.abs(held - sells[rows])
    else:
        longs = np.maximum(size[rows], 0) + np.maximum(second, 0) + buys[rows]
        shorts = np.maximum(-size[rows], 0) + np.maximum(-second, 0) + sells[rows]
    charged[other[hedged]] = 0.0
    charged[rows] = np.maximum(longs, shorts)


def held_by_orders(resting: Resting, tables: Tables, rates: Rates, holdings: int) -> tuple[Floats, Floats]:
    """Per holding, in the asset: initial margin of its orders, and the sum of the absolute terms that it is made of."""
    rule = tables.rules.slots.initial_margin.orders
    if rule is None:
        return NO_ORDERS, NO_ORDERS
    margin, fees, gross = _margins(resting, tables, rule, rates.x, rates.last)
    if rule.from_equity != "none":
        margin = margin - (margin if rule.from_equity == "margin" else fees)
    held = _by_holding(resting, margin, holdings)
    if rule.scope == "worse_side":
        more = np.empty(len(resting.sides.holding))
        at_entry = tables.rules.slots.valuation.initial == "entry"
        worse_sides(resting.sides, resting.size, frozen(margin), rates.x, at_entry, more)
        held = np.asarray(np.bincount(resting.sides.holding, weights=more, minlength=holdings), np.float64)
    return frozen(held), frozen(_by_holding(resting, gross, holdings))


def unpriced(resting: Resting, tables: Tables, rates: Rates) -> Iterator[tuple[NDArray[np.int64], Reason]]:
    """(holdings, why) of orders that lack a price of the market."""
    yield resting.holding[np.isnan(rates.x[resting.instrument])], Reason.MARK_PRICE_MISSING
    rule = tables.rules.slots.initial_margin.orders
    if rule is not None and rule.price == "assuming":
        lost = (resting.size < 0) & np.isnan(_last(tables, rates.last)[resting.instrument])
        yield resting.holding[lost], Reason.LAST_PRICE_MISSING


def _faults(
    book: Book, tables: Tables, holding: NDArray[np.int64], purse: NDArray[np.int64], leverage: Floats
) -> Iterator[tuple[NDArray[np.bool_], int]]:
    """(orders, reason) for everything that can be wrong with an order; the worst of them counts."""
    code, quantity, price = book.order_instrument, book.order_quantity, book.order_price
    own = book.order_leverage
    known = code >= 0
    yield ~known, Reason.NULL
    yield ~np.isfinite(quantity) | ~np.isfinite(price) | np.isinf(own), Reason.NOT_FINITE
    yield (quantity == 0) | (price <= 0) | (own < 1) | (own > 1000), Reason.NOT_POSITIVE
    yield book.isolated[purse], Reason.MISPLACED
    slots = tables.rules.slots
    rule = slots.initial_margin.orders
    if rule is None:
        return
    readable = np.array([symbol is not None for symbol in tables.contracts] or [True], np.bool_)[code] & known
    yield ~readable, Reason.UNKNOWN_INSTRUMENT
    holds = readable & ~book.order_reduce_only
    yield holds & (tables.settle[code] != book.asset[holding]), Reason.MISPLACED
    yield holds & np.isnan(tables.contract_size[code]), Reason.UNKNOWN_INSTRUMENT
    if tables.needs_fee[SHARED]:
        yield holds & np.isnan(tables.taker_fee[code]), Reason.NO_FEE
    if not follows(slots):
        yield holds, reason_of(slots)
    elif rule.value:
        yield holds & np.isnan(leverage), Reason.LEVERAGE_MISSING


def _leverage(book: Book, holding: NDArray[np.int64]) -> Floats:
    """Each order's leverage: its own, else the first that a position in the same instrument and holding states."""
    found = np.array(book.order_leverage)
    missing = np.flatnonzero(np.isnan(found))
    stated = np.flatnonzero(~np.isnan(book.leverage))
    if not len(missing) or not len(stated):
        return found
    keys, first = np.unique(_keys(book)[stated], return_index=True)
    wanted = _key(book, holding[missing], book.order_instrument[missing])
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    found[missing] = np.where(keys[place] == wanted, book.leverage[stated[first[place]]], np.nan)
    return found


def _key(book: Book, holding: NDArray[np.int64], instrument: Codes) -> NDArray[np.int64]:
    """One number for an instrument in a holding; a null name is a number of its own."""
    return holding * (len(book.instruments) + 1) + instrument + 1


def _keys(book: Book) -> NDArray[np.int64]:
    """The number of each position's instrument and holding."""
    return _key(book, np.repeat(np.arange(book.holdings), np.diff(book.position_start)), book.instrument)


def _margins(
    resting: Resting, tables: Tables, rule: OrderMargin, x: Floats, last: Floats | None
) -> tuple[Floats, Floats, Floats]:
    """(margin with its fees, the fees, sum of absolute terms) of each order at these prices."""
    count = len(resting.size)
    margin, fees, gross = np.empty(count), np.empty(count), np.empty(count)
    flags = RestingRule(
        rule.value, rule.open_loss, rule.open_fee, rule.close_fee, rule.price == "assuming", float(rule.assuming_markup)
    )
    given = frozen(x), _last(tables, last), tables.inverse, tables.taker_fee
    resting_margins(resting, flags, *given, margin, fees, gross)
    return margin, fees, gross


def _last(tables: Tables, last: Floats | None) -> Floats:
    """Last prices by instrument; NaN where none are given."""
    return last if last is not None and len(last) else frozen(np.full(len(tables.instruments), np.nan))


def _by_holding(resting: Resting, values: Floats, holdings: int) -> Floats:
    return np.asarray(np.bincount(resting.holding, weights=values, minlength=holdings), np.float64)
