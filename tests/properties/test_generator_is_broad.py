"""A property is only as good as its examples: every menu must really produce what it promises."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings

import strategies

EXAMPLES, SHARE = 150, 0.05


@pytest.mark.parametrize("name", sorted(strategies.MENUS))
def test_each_promised_feature_is_in_one_account_of_twenty(name: str):
    seen: Counter[str] = Counter()

    @settings(max_examples=EXAMPLES)
    @given(strategies.accounts(name))
    def count(account: dict[str, Any]) -> None:
        seen.update({"account"} | strategies.features(account))

    count()
    rare = {f for f in strategies.promised(strategies.MENUS[name]) if seen[f] < SHARE * seen["account"]}
    assert not rare, f"{rare} in less than {SHARE:.0%} of {seen}"
