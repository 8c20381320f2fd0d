"""The text of a result is that of the standard library's own writer, whatever it holds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import crossmargin as cm

EXAMPLES = Path(__file__).parents[2] / "examples"
KEYS = st.text(max_size=5) | st.integers() | st.booleans() | st.none()
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)


@settings(deadline=None)
@given(PLAIN)
def test_any_plain_data(value: object) -> None:
    assert cm.to_json(value) == json.dumps(value, indent=2, ensure_ascii=False)


@pytest.mark.parametrize("name", ["article-3.1", "deribit-cross-collateral", "okx-portfolio"])
def test_a_report(name: str) -> None:
    report = cm.evaluate(*cm.load(str(EXAMPLES / f"{name}.toml")))
    assert cm.to_json(report) == json.dumps(cm.to_plain(report), indent=2, ensure_ascii=False)
    assert json.loads(cm.to_json(report))["id"] == report.id
