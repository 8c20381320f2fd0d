"""Numbers as people and venues write them: plain decimals, read exactly, never through a binary float."""

from __future__ import annotations

import re
from decimal import ROUND_HALF_EVEN, Context, Decimal
from functools import lru_cache
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

_is_plain = re.compile(r"-?(0|[1-9][0-9]{0,19})(\.[0-9]{1,18})?", re.ASCII).fullmatch
_ALLOWED = "a plain decimal such as 61000 or -0.25, at most 20 digits before and 18 after the point"

CONTEXT = Context(prec=50, rounding=ROUND_HALF_EVEN)
"""The one decimal context of the judge: inputs have at most 38 digits, so sums and products of two are exact."""

_OUT = Decimal(1).scaleb(-18)


def parse_decimal(value: Any) -> Decimal:
    """Read one number exactly.

    Accepts a string or an integer of the plain form, or a finite :class:`~decimal.Decimal` that has it.
    Refuses binary floats, NaN, infinities, exponents, underscores, blanks and non-ASCII digits.

    >>> parse_decimal("-0.250")
    Decimal('-0.250')
    """
    if isinstance(value, str):  # as nearly every number comes
        return _read(value)
    if isinstance(value, float):
        raise ValueError(f"is a binary float, which has lost the figure; write it as a string: {_ALLOWED}")
    if isinstance(value, Decimal):
        # format(…, "f") of a huge exponent would build the digits: look at the size first
        exponent = value.as_tuple().exponent
        if not isinstance(exponent, int) or not -18 <= exponent <= 20 or value.adjusted() > 19:
            raise ValueError(f"must be {_ALLOWED}")
        return value if exponent <= 0 else Decimal(format(value, "f"))
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) >= 10**20:
        raise ValueError(f"must be {_ALLOWED}")
    return Decimal(value)


@lru_cache(maxsize=20_000)
def _read(text: str) -> Decimal:
    """A plain text's number. Rates and floors of rule tables come again with every account that states them."""
    if len(text) > 40 or not _is_plain(text):
        raise ValueError(f"must be {_ALLOWED}")
    return Decimal(text)


def plain(value: Decimal) -> str:
    """Write a number as a plain decimal string, rounded half-even to 18 decimals, without trailing zeros.

    >>> plain(Decimal("4500.000"))
    '4500'
    """
    text = str(value)
    # up to 20 signs hold at most 18 decimals: nearly every figure, and nothing else to look at
    if len(text) > 20 or "E" in text or not text[-1].isdecimal():
        whole, _, rest = text.partition(".")
        if len(rest) > 18 or not (rest or "0").isdecimal() or not whole.removeprefix("-").isdecimal():
            # more decimals than are written, or an exponent
            text = format(value.quantize(_OUT, context=_WIDE), "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


_WIDE = Context(prec=120, rounding=ROUND_HALF_EVEN)


class _Bounded:
    """Reads a number and looks at its bounds, in one step: an account file is mostly numbers."""

    def __init__(self, low: int | None = None, high: int | None = None, *, open: bool = False, words: str = "") -> None:
        self._low, self._high = None if low is None else Decimal(low), None if high is None else Decimal(high)
        self._open, self._words = open, words

    def read(self, value: Any) -> Decimal:
        """The number. Raises :class:`ValueError` in words."""
        number = parse_decimal(value)
        low, high = self._low, self._high
        if low is not None and (number < low or (self._open and number == low)):
            raise ValueError(f"must be {self._words}")
        if high is not None and number > high:
            raise ValueError(f"must be {self._words}")
        return number

    def __get_pydantic_core_schema__(self, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        """Validated by :meth:`read` alone; without bounds by :func:`parse_decimal`."""
        bare = self._low is None and self._high is None
        return core_schema.no_info_plain_validator_function(parse_decimal if bare else self.read)

    def __get_pydantic_json_schema__(self, _schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """As every decimal is described."""
        return handler(core_schema.decimal_schema())


Number = Annotated[Decimal, _Bounded()]
"""Any plain decimal; a balance, a quantity of contracts, a funding rate."""
Positive = Annotated[Decimal, _Bounded(0, open=True, words="greater than 0")]
"""A price, a contract size."""
NonNegative = Annotated[Decimal, _Bounded(0, words="0 or more")]
"""A floor, a credit, a margin."""
Rate = Annotated[Decimal, _Bounded(0, 1, words="a fraction from 0 to 1 (5 % is 0.05)")]
"""A share: a maintenance rate, a collateral ratio, a fee."""
FundingRate = Annotated[Decimal, _Bounded(-1, 1, words="a fraction from -1 to 1 (0.01 % is 0.0001)")]
Leverage = Annotated[Decimal, _Bounded(1, 1000, words="from 1 to 1000")]
