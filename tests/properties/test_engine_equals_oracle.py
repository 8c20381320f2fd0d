"""INV-05: equity, margins and headroom are those of an independent exact judge, to the last unit."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from matching import agree, gone, judged, pool_names, report_of

import oracle
import strategies

PROFILES = sorted(strategies.MENUS)


def stands_alone(law: oracle.Law, account: dict[str, Any], position: dict[str, Any]) -> bool:
    """Whether what the position needs depends on nothing else; a netted leg's share is the venue's own choice."""
    legs = [p for p in account["positions"] if p["symbol"] == position["symbol"] and "isolated_margin" not in p]
    return "isolated_margin" in position or (law.maintenance != "highest" and not (law.netted and len(legs) > 1))


@pytest.mark.parametrize("profile", PROFILES)
def test_every_figure_of_every_pool(profile: str):
    @given(strategies.accounts(profile))
    def holds(account: dict[str, Any]) -> None:
        law = oracle.law_of(account["profile"], account["as_of"])
        report, exact = report_of(account), judged(account)
        names = pool_names(account, report, law)
        by_name = {pool.name: pool for pool in report.pools}
        assert len(by_name) == len(report.pools)
        for key, expected in exact.items():
            found = by_name[names[key]]
            agree(f"equity of {key}", found.equity, expected.equity)
            agree(f"maintenance margin of {key}", found.maintenance_margin, expected.maintenance)
            agree(f"initial margin of {key}", found.initial_margin, expected.initial)
            agree(f"headroom of {key}", found.headroom, expected.headroom)
            if law.collateral != "bid_ask":  # there a currency's PnL has a value only together with its wallet
                agree(f"unrealized PnL of {key}", found.unrealized_pnl, expected.pnl)
            free = None if expected.initial is None else expected.equity - expected.initial
            agree(f"free collateral of {key}", found.free_collateral, free)
            ratio = expected.maintenance / expected.equity if expected.equity > 0 else None
            agree(f"margin ratio of {key}", found.margin_ratio, ratio)

    holds()


@pytest.mark.parametrize("profile", PROFILES)
def test_a_pool_is_liquidated_exactly_where_the_judge_says(profile: str):
    @given(strategies.accounts(profile))
    def holds(account: dict[str, Any]) -> None:
        law = oracle.law_of(account["profile"], account["as_of"])
        report, exact = report_of(account), judged(account)
        names = pool_names(account, report, law)
        by_name = {pool.name: pool for pool in report.pools}
        for key, expected in exact.items():
            assert (by_name[names[key]].status == "liquidation") == gone(law, expected), key
        assert (report.status == "liquidation") == any(gone(law, expected) for expected in exact.values())

    holds()


@pytest.mark.parametrize("profile", PROFILES)
def test_every_position_in_its_settle_asset(profile: str):
    @given(strategies.accounts(profile, orders=False))
    def holds(account: dict[str, Any]) -> None:
        law = oracle.applied(oracle.law_of(account["profile"], account["as_of"]), account)
        market = oracle.Market(account)
        found = {(p.symbol, p.position_side): p for p in report_of(account).positions}
        assert len(found) == len(account["positions"])
        for position in account["positions"]:
            expected = oracle.figures(law, position, market)
            line = found[position["symbol"], position.get("position_side", "net")]
            agree("notional", abs(line.notional), expected.value)
            agree("unrealized PnL", line.unrealized_pnl, expected.pnl)
            agree("initial margin", line.initial_margin, expected.initial)
            agree("close fee", line.close_fee, expected.fee)
            if stands_alone(law, account, position):
                agree("maintenance margin", line.maintenance_margin, expected.maintenance)

    holds()
