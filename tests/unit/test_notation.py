"""Answers as programs print them: read like JSON, to the digit, and refused where they are cut short."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossmargin.errors import AccountError
from crossmargin.files.notation import parse_notation
from crossmargin.files.unified import read_payload_file

VALUE = {"symbol": "BTC/USDT:USDT", "contracts": None, "hedged": True, "info": {"total": "0.001", "rows": [1, -2]}}

PRINTED = {
    "python": "{'symbol': 'BTC/USDT:USDT', 'contracts': None, 'hedged': True, "
    "'info': {'total': '0.001', 'rows': [1, -2]}}",
    "javascript": """bitget.fetchPosition (BTC/USDT:USDT)
{
  symbol: 'BTC/USDT:USDT', // the unified one
  contracts: undefined,
  hedged: true,
  info: { total: '0.001', rows: [ 1, -2 ], },
}""",
    "php": """array (
  'symbol' => 'BTC/USDT:USDT', 'contracts' => NULL, 'hedged' => true,
  'info' => array ( 'total' => '0.001', 'rows' => array ( 0 => 1, 1 => -2, ), ),
)""",
    "php, short": "['symbol' => 'BTC/USDT:USDT', 'contracts' => null, 'hedged' => true, "
    "'info' => ['total' => '0.001', 'rows' => [1, -2]]];",
}

PRINT_R = """Array
(
    [symbol] => BTC/USDT:USDT
    [contracts] =>
    [info] => Array
        (
            [autoMargin] => off
            [rows] => Array
                (
                    [0] => 1.50
                    [1] => -2
                )

        )

)
"""


@pytest.mark.parametrize("name", PRINTED)
def test_every_notation_says_the_same(name: str) -> None:
    assert parse_notation(PRINTED[name]) == VALUE


def test_php_print_r_has_texts_only_and_nothing_for_null() -> None:
    assert parse_notation(PRINT_R) == {
        "symbol": "BTC/USDT:USDT",
        "contracts": None,
        "info": {"autoMargin": "off", "rows": ["1.50", "-2"]},
    }


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[{'a': Decimal('0.10')}]", [{"a": "0.10"}]),
        ("{a: 2.113e-06, b: -0.0500}", {"a": "2.113e-06", "b": "-0.0500"}),
        ("{a: 'it\\'s', b: \"\\u20ac\"}", {"a": "it's", "b": "€"}),
        ("2024-10-10 13:25:58,041 - logger - INFO - [{'a': 1}]", [{"a": 1}]),
        ("{a: NaN}", {"a": "NaN"}),
        ("{a: 12n}", {"a": 12}),
        ("[]\n[{'a': []}]"[3:], [{"a": []}]),
    ],
)
def test_numbers_keep_their_digits(text: str, value: Any) -> None:
    assert parse_notation(text) == value


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{ info: [Object], side: 'long' }", "cut short"),
        ("{ positions: [ [Object], [Object] ] }", "cut short"),
        ("[{'a': 1}", "missing before"),
        ("{'a': 1} {'b': 2}", "follows the value"),
        ("{'a': 1, 'a': 2}", "twice"),
        ("{'when': datetime.datetime(2024, 1, 1)}", "no plain value"),
        ("{'a': <Position object>}", "not understood"),
        ("Array\n(\n    [a] => 1\n", "missing before"),
        ("Array\n(\n    [a] => 1\n)\nArray\n(\n)\n", "follows the value"),
        ("{" * 40, "missing"),
        ("[[" * 40 + "]]" * 40, "deeper than 32"),
        ("no table at all", "no table"),
    ],
)
def test_half_an_answer_is_none(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_notation(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"a": 1', "is not valid JSON: Expecting"),
        ('{"a": 1, "a": 2}', "stands twice"),
        ("{'a': 1", "as something that a program printed: '}' is missing"),
        ("<html>{'a': 1}", "is a page"),
    ],
)
def test_a_file_is_refused_for_what_it_looks_like(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "answer.json"
    path.write_text(text)
    with pytest.raises(AccountError) as refused:
        read_payload_file(str(path))
    assert why in str(refused.value)


_TEXTS = st.text(st.characters(codec="utf-8", max_codepoint=0xFFFF), max_size=8)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | _TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(_TEXTS, _VALUES, max_size=4))
def test_what_python_prints_is_read_back(value: dict[str, Any]) -> None:
    """Python's own printer is the other side, JSON's a third: neither is the code under test."""
    assert parse_notation(repr(value)) == value
    assert parse_notation(json.dumps(value, ensure_ascii=False)) == value
