"""Numbers as people and venues write them: plain decimals, read exactly, never through a binary float."""

from __future__ import annotations

import re
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator

_PLAIN = re.compile(r"-?(0|[1-9][0-9]{0,19})(\.[0-9]{1,18})?", re.ASCII)
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
    if isinstance(value, bool) or value is None:
        raise ValueError(f"must be {_ALLOWED}")
    if isinstance(value, float):
        raise ValueError(f"is a binary float, which has lost the figure; write it as a string: {_ALLOWED}")
    if isinstance(value, Decimal):
        # format(…, "f") of a huge exponent would build the digits: look at the size first
        exponent = value.as_tuple().exponent
        if not isinstance(exponent, int) or not -18 <= exponent <= 20 or value.adjusted() > 19:
            raise ValueError(f"must be {_ALLOWED}")
        return value if exponent <= 0 else Decimal(format(value, "f"))
    if isinstance(value, int):
        if abs(value) >= 10**20:
            raise ValueError(f"must be {_ALLOWED}")
        return Decimal(value)
    if not isinstance(value, str) or len(value) > 40 or not _PLAIN.fullmatch(value):
        raise ValueError(f"must be {_ALLOWED}")
    return Decimal(value)


def plain(value: Decimal) -> str:
    """Write a number as a plain decimal string, rounded half-even to 18 decimals, without trailing zeros.

    >>> plain(Decimal("4500.000"))
    '4500'
    """
    text = format(value.quantize(_OUT, context=_WIDE), "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


_WIDE = Context(prec=120, rounding=ROUND_HALF_EVEN)


def _bounded(low: Decimal | None, high: Decimal | None, low_open: bool, words: str) -> AfterValidator:
    def check(value: Decimal) -> Decimal:
        if low is not None and (value < low or (low_open and value == low)):
            raise ValueError(f"must be {words}")
        if high is not None and value > high:
            raise ValueError(f"must be {words}")
        return value

    return AfterValidator(check)


_PARSE = BeforeValidator(parse_decimal)
Number = Annotated[Decimal, _PARSE]
"""Any plain decimal; a balance, a quantity of contracts, a funding rate."""
Positive = Annotated[Decimal, _PARSE, _bounded(Decimal(0), None, True, "greater than 0")]
"""A price, a contract size."""
NonNegative = Annotated[Decimal, _PARSE, _bounded(Decimal(0), None, False, "0 or more")]
"""A floor, a credit, a margin."""
Rate = Annotated[Decimal, _PARSE, _bounded(Decimal(0), Decimal(1), False, "a fraction from 0 to 1 (5 % is 0.05)")]
"""A share: a maintenance rate, a collateral ratio, a fee."""
FundingRate = Annotated[
    Decimal, _PARSE, _bounded(Decimal(-1), Decimal(1), False, "a fraction from -1 to 1 (0.01 % is 0.0001)")
]
Leverage = Annotated[Decimal, _PARSE, _bounded(Decimal(1), Decimal(1000), False, "from 1 to 1000")]
