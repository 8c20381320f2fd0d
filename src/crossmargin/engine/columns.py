"""Columns: the array types of a book, read-only once made, and the codes that stand in them."""

from __future__ import annotations

from decimal import Decimal
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Codes = NDArray[np.int32]
Offsets = NDArray[np.int64]
Bytes = NDArray[np.uint8]


class Reason(IntEnum):
    """Why a pool has no figure, or not every one, mild to severe; a healthy row is 0.

    Up to ``OPEN_ORDERS`` only the initial margin is unknown (NaN, and so is what follows from it); beyond it every
    figure of the pool is NaN and its status unknown.
    """

    NONE = 0
    LEVERAGE_MISSING = 1
    OPEN_ORDERS = 2
    MARK_PRICE_MISSING = 10
    INDEX_PRICE_MISSING = 11
    NO_COLLATERAL_RATIO = 12
    NO_FEE = 13
    LEVERAGE_NEEDED = 14
    NO_TABLE = 15
    UNKNOWN_INSTRUMENT = 16
    ISOLATED_NOT_ALLOWED = 17
    DUPLICATE = 18
    MISPLACED = 19
    NOT_POSITIVE = 20
    NOT_FINITE = 21
    NULL = 22
    REFUSED = 23
    ORDERS_COUNT = 24
    LAST_PRICE_MISSING = 25

    @property
    def words(self) -> str:
        """The reason in words."""
        return _WORDS[self]


_WORDS = {
    Reason.NONE: "every figure is known",
    Reason.LEVERAGE_MISSING: "initial margin is unknown because a leverage is missing",
    Reason.OPEN_ORDERS: "initial margin is unknown because the account has open orders that a book cannot follow",
    Reason.MARK_PRICE_MISSING: "the mark price of an instrument is missing or not a positive number",
    Reason.INDEX_PRICE_MISSING: "the price of an asset in the reference currency is missing or not a positive number",
    Reason.NO_COLLATERAL_RATIO: "the profile has no collateral ratio for an asset that is held",
    Reason.NO_FEE: "the profile holds a fee to close, and no taker fee is known for an instrument",
    Reason.LEVERAGE_NEEDED: "the maintenance margin needs the leverage of a position, and it is missing",
    Reason.NO_TABLE: "the profile has no complete maintenance table for an instrument",
    Reason.UNKNOWN_INSTRUMENT: "the profile does not know an instrument or its contract size",
    Reason.ISOLATED_NOT_ALLOWED: "the profile has cross margin only",
    Reason.DUPLICATE: "an asset, or an instrument and side, stands twice in one pool",
    Reason.MISPLACED: "a position stands below an asset that it does not settle in",
    Reason.NOT_POSITIVE: "an entry price, leverage, bonus credit or isolated margin is out of range, or a quantity 0",
    Reason.NOT_FINITE: "a number is null, infinite or not a number, or a figure overflows",
    Reason.NULL: "a name is null",
    Reason.ORDERS_COUNT: "the profile counts open orders in equity or maintenance margin in a way a book cannot follow",
    Reason.LAST_PRICE_MISSING: "the last price of an instrument is missing or no positive number, and orders need it",
    Reason.REFUSED: "the exact judge, asked because the pool stands at a line, refuses its account",
}


class Status(IntEnum):
    """The verdict on a pool; ``UNKNOWN`` where its figures are."""

    HEALTHY = 0
    WARNING = 1
    LIQUIDATION = 2
    UNKNOWN = 3


class Side(IntEnum):
    """One side of a threshold: there is none, there is a price, it is crossed already, or it cannot be known.

    ``EDGE`` never leaves the engine: the float figures cannot decide, so the judge does.
    """

    NEVER = 0
    PRICE = 1
    ALREADY = 2
    UNKNOWN = 3
    EDGE = 4


def frozen(values: ArrayLike, dtype: Any = np.float64) -> NDArray[Any]:
    """A contiguous read-only array of one type; a copy only where the values are not that already.

    Every column that a kernel reads has this one form, so that a kernel is compiled for one set of types.
    """
    array = np.ascontiguousarray(values, dtype=dtype)
    if array.flags.writeable:
        array = array.view()
        array.flags.writeable = False
    return array


def number(value: Decimal | None, default: float = np.nan) -> float:
    """A number as a column holds it; one that is missing is NaN, or the default."""
    return default if value is None else float(value)
