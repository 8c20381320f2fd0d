"""What is written: numbers rounded half-even by an oracle of fractions, and JSON as the standard library writes it."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import crossmargin as cm
from crossmargin.model.number import parse_decimal, plain

ROOT = Path(__file__).parents[2]
DIGITS = st.integers(min_value=-(10**45), max_value=10**45)


@given(DIGITS, st.integers(min_value=-50, max_value=12))
@example(5, -19)  # half of the last digit: to the even 0
@example(15, -19)  # and to the even 2
@example(-4, -19)  # no minus sign on what is rounded to 0
@example(1, 12)  # written without exponent
@example(0, -30)
@example(1200, -2)
def test_a_number_is_written_plainly_and_rounded_half_even(digits: int, exponent: int) -> None:
    text = plain(Decimal(f"{digits}e{exponent}"))  # exact, whatever the context is
    assert re.fullmatch(r"0|-?(0|[1-9][0-9]*)(\.[0-9]{0,17}[1-9])?", text)
    # round() of a fraction is half-even
    assert Fraction(text) == Fraction(round(Fraction(digits) * Fraction(10) ** (exponent + 18)), 10**18)


@given(st.from_regex(r"-?(0|[1-9][0-9]{0,19})(\.[0-9]{1,18})?", fullmatch=True))
def test_a_plain_number_is_read_to_its_last_digit(text: str) -> None:
    whole, _, rest = text.removeprefix("-").partition(".")
    sign = -1 if text.startswith("-") else 1
    for _ in range(2):  # as it is read first, and as it is remembered
        assert Fraction(parse_decimal(text)) == sign * Fraction(int(whole + rest), 10 ** len(rest))


@pytest.mark.parametrize(
    "text", ["1e5", " 1", "1_000", "NaN", "+1", "١", "01", "1.", "", "1\n", "9" * 21, "0." + "1" * 19]
)
def test_what_is_no_plain_number_is_refused_again_and_again(text: str) -> None:
    for _ in range(2):
        with pytest.raises(ValueError, match="must be a plain decimal"):
            parse_decimal(text)


@pytest.mark.parametrize("name", ["article-2.1-cross", "article-3.1", "unified-btc-collateral"])
def test_a_result_is_the_json_of_its_plain_data(name: str) -> None:
    case = cm.load(str(ROOT / "examples" / f"{name}.toml"))
    odd = {"none": None, "yes": True, "some": [1, 2.5, (), {}, 'ü\n"\\'], 5: {"a": ()}, "deep": [[[]], [{}]]}
    for found in (cm.evaluate(*case), cm.threshold(*case), {"runs": (cm.stress(*case, []), cm.runway(*case))}, odd):
        assert cm.to_json(found) == json.dumps(cm.to_plain(found), indent=2, ensure_ascii=False)
