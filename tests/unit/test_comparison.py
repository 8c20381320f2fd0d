"""Cross, isolated and other rules on the same positions, on figures worked by hand."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import crossmargin as cm
from crossmargin.analytics.comparison import ComparisonRow, compare
from crossmargin.model.number import plain

EXAMPLES = Path(__file__).parents[2] / "examples"
BTC, ETH = "BTC/USDT:USDT", "ETH/USDT:USDT"


def rows(case: Any, *others: Any, **asked: Any) -> dict[tuple[str, str], ComparisonRow]:
    return {(row.profile, row.mode): row for row in compare(*case, others, **asked).rows}


def test_the_article_as_a_table() -> None:
    found = rows(cm.load(str(EXAMPLES / "article-2.1-isolated.toml")))
    held, cross, isolated = (found["plain-isolated", mode] for mode in ("as_held", "cross", "isolated"))
    # 700 for BTC that needs 1,000: refused; as one pool of 2,000 both stand, with 500 to spare
    assert held.admitted is False
    assert held.reasons == (f"free_collateral of {BTC} isolated is short of 300",)
    assert cross.admitted is True
    assert (cross.initial_margin, cross.free_collateral) == (1500, 500)
    # what one default takes: the pool whole, or the pocket; the rest of the isolated wallet stands outside
    assert [(one.at_stake, one.share) for one in cross.defaults] == [(2000, 1)]
    assert [(one.at_stake, one.share) for one in held.defaults] == [(700, Decimal("0.35")), (1300, Decimal("0.65"))]
    assert [one.at_stake for one in isolated.defaults] == [1000, 500]
    # 2,000 / 1,500 of the book in one pool, 700 / 1,000 in the pockets as they are cut
    assert cross.largest_scale == Decimal("1.333333333333333333")
    assert held.largest_scale == Decimal("0.7")
    # 9,000 of value: x 4/3 / 2,000
    assert plain(Decimal(round(cross.capital_efficiency or 0, 12))) == "6"
    assert held.capital_efficiency == Decimal("3.15")
    # 86,432.160804 is the figure of the article's pocket of 700
    below = {row.symbol: row.below.price for row in held.thresholds.thresholds}
    assert round(below[BTC], 6) == Decimal("86432.160804")


def test_a_hedge_set_off_frees_the_margin_of_both_legs() -> None:
    # long 2 from 40,000 and short 1 from 55,000 at 50,000: equity 5,000 + 20,000 + 5,000; margin 15,000, then 5,000
    case = cm.case_from(
        {
            "profile": "plain-cross",
            "as_of": "2026-11-20T08:00:00Z",
            "balances": {"USDT": "5000"},
            "positions": [
                {"symbol": BTC, "quantity": "2", "entry_price": "40000", "leverage": "10", "position_side": "long"},
                {"symbol": BTC, "quantity": "-1", "entry_price": "55000", "leverage": "10", "position_side": "short"},
            ],
            "market": {"mark_price": {BTC: "50000"}},
            "instruments": [{"symbol": BTC, "brackets": [{"notional_floor": "0", "maintenance_rate": "0.005"}]}],
        },
        "account",
    )
    found = rows(case)
    cross, hedged = found["plain-cross", "cross"], found["plain-cross", "hedged_cross"]
    assert (cross.equity, cross.initial_margin) == (30000, 15000)
    assert (hedged.equity, hedged.initial_margin) == (30000, 5000)
    assert (cross.notional, hedged.notional) == (150000, 50000)
    isolated = found["plain-cross", "isolated"]
    # each leg's gain exceeds its margin, so the pockets need none and the wallet keeps its 5,000
    assert [one.at_stake for one in isolated.defaults] == [20000, 5000]


def test_rules_that_cannot_take_the_account_make_a_row_not_an_error() -> None:
    case = cm.load(str(EXAMPLES / "binance-multi-assets.toml"))
    hyperliquid = cm.load_profile("hyperliquid").revisions[-1]
    found = rows(case, hyperliquid)
    refused = found["binance-usdm-multi-assets", "isolated"]
    assert refused.admitted is None
    assert refused.equity is None
    assert "has cross margin only" in refused.reasons[0]
    unknown = found["hyperliquid", "cross"]
    assert unknown.admitted is None
    assert any("BTC/USDT:USDT" in reason for reason in unknown.reasons)


def test_modes_change_neither_what_is_owned_nor_what_is_held() -> None:
    for name in ("hyperliquid", "binance-two-positions", "article-2.1-cross", "article-3.1"):
        found = compare(*cm.load(str(EXAMPLES / f"{name}.toml"))).rows
        assert len({plain(row.equity) for row in found if row.equity is not None}) == 1
        assert len({row.notional for row in found}) == 1


def test_only_the_modes_asked_for_in_order_under_each_date() -> None:
    case = cm.load(str(EXAMPLES / "binance-two-positions.toml"))
    old = cm.load_profile("binance-usdm").revisions[0]
    found = compare(*case, [old], modes=["isolated", "cross"])
    assert [row.mode for row in found.rows] == ["isolated", "cross"] * 2
    assert found.rows[2].rules_since == old.since
