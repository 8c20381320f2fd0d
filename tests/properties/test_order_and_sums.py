"""INV-10 and INV-11: the order of a file means nothing, and every figure of a report is of one market."""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction as F
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matching import agree, case, pool_names, report_of

import crossmargin as cm
import oracle
import strategies

PROFILES = sorted(strategies.MENUS)


def shuffled(account: dict[str, Any], order: Sequence[int]) -> dict[str, Any]:
    """The same account with its lists and tables in another order."""

    def mixed(items: Any) -> list[Any]:
        return [item for _, _, item in sorted((order[n % len(order)], -n, item) for n, item in enumerate(items))]

    again = dict(account)
    for key in ("positions", "open_orders", "instruments", "assets"):
        if key in again:
            numbers = mixed(range(len(again[key])))
            again[key] = [again[key][n] for n in numbers]
    again["balances"] = {name: account["balances"][name] for name in mixed(account["balances"])}
    again["market"] = {
        table: {name: prices[name] for name in mixed(prices)} for table, prices in account["market"].items()
    }
    return again


def printed(result: Any) -> dict[str, Any]:
    """What a user reads: the binding rules of a threshold are a list in words, in the order of the file."""
    return json.loads(
        cm.to_json(result), object_hook=lambda table: {key: v for key, v in table.items() if key != "binding"}
    )


def by(name: str, items: list[dict[str, Any]]) -> dict[tuple[Any, ...], dict[str, Any]]:
    found = {(item.get("pool"), item[name], item.get("position_side")): item for item in items}
    assert len(found) == len(items)
    return found


@pytest.mark.parametrize("profile", PROFILES)
def test_order_changes_no_figure(profile: str):
    @given(strategies.accounts(profile), st.permutations(range(6)))
    def holds(account: dict[str, Any], order: list[int]) -> None:
        one, two = printed(report_of(account)), printed(report_of(shuffled(account, order)))
        assert by("name", one["pools"]) == by("name", two["pools"])
        assert by("symbol", one["positions"]) == by("symbol", two["positions"])
        assert by("asset", one["balances"]) == by("asset", two["balances"])
        for total in ("equity", "maintenance_margin", "initial_margin", "headroom", "status", "margin_ratio"):
            assert one[total] == two[total], total

    holds()


@pytest.mark.parametrize("profile", PROFILES)
def test_order_changes_no_threshold(profile: str):
    @given(strategies.accounts(profile, most=3), st.permutations(range(6)))
    def holds(account: dict[str, Any], order: list[int]) -> None:
        one, two = printed(cm.threshold(*case(account))), printed(cm.threshold(*case(shuffled(account, order))))
        assert by("symbol", one["thresholds"]) == by("symbol", two["thresholds"])

    holds()


@pytest.mark.parametrize("profile", PROFILES)
def test_one_market_for_all_figures(profile: str):
    @given(strategies.accounts(profile))
    def holds(account: dict[str, Any]) -> None:
        given_case = case(account)
        report = cm.evaluate(*given_case)
        assert report.as_of == given_case.market.as_of
        for line in report.positions:
            assert line.mark_price == Decimal(account["market"]["mark_price"][line.symbol])

    holds()


@pytest.mark.parametrize("profile", PROFILES)
def test_a_pool_is_the_sum_of_its_parts(profile: str):
    @given(strategies.accounts(profile, orders=False))
    def holds(account: dict[str, Any]) -> None:
        law = oracle.law_of(account["profile"], account["as_of"])
        report, market = report_of(account), oracle.Market(account)
        shared = {name for key, name in pool_names(account, report, law).items() if key[0] == "cross"}
        adds_up = law.maintenance != "highest"
        for pool in report.pools:

            def worth(asset: str, pool: Any = pool) -> F:
                """What a unit of a settle asset counts for in the pool's currency."""
                if asset == pool.currency or pool.name not in shared or law.pooling == "per_settle":
                    return F(1)
                if law.collateral == "bid_ask":
                    return oracle.bid_and_ask(law, asset, market)[1]
                return market.index(asset, law.reference)

            mine = [p for p in report.positions if p.pool == pool.name]
            # besides its positions a shared pool holds margin for what is owed of an asset
            own = [b for b in report.balances if b.pool == pool.name and pool.name in shared]
            owed = sum((max(F(0), -F(b.equity)) * worth(b.asset) for b in own), F(0)) if law.debts_keep else F(0)
            agree("headroom", pool.headroom, F(pool.equity) - F(pool.maintenance_margin))
            if adds_up:
                parts = [F(p.maintenance_margin) * worth(oracle.contract(p.symbol).settle) for p in mine]
                agree("maintenance margin", pool.maintenance_margin, sum(parts, owed * law.debts_keep))
            parts = [F(p.initial_margin or 0) * worth(oracle.contract(p.symbol).settle) for p in mine]
            if all(p.initial_margin is not None for p in mine):
                agree("initial margin", pool.initial_margin, sum(parts, owed * law.debts_open))
            if law.collateral != "bid_ask":
                parts = [F(p.unrealized_pnl) * worth(oracle.contract(p.symbol).settle) for p in mine]
                agree("unrealized PnL", pool.unrealized_pnl, sum(parts, F(0)))
                agree("equity", pool.equity, F(pool.collateral_value) + F(pool.unrealized_pnl))
            held = [F(b.collateral_value) for b in report.balances if b.pool == pool.name]
            agree("collateral value", pool.collateral_value, sum(held, F(0)))

    holds()


@pytest.mark.parametrize("profile", PROFILES)
def test_the_weakest_pool_speaks_for_the_account(profile: str):
    @given(strategies.accounts(profile))
    def holds(account: dict[str, Any]) -> None:
        report = report_of(account)
        order = ["healthy", "warning", "liquidation"]
        assert order.index(report.status) == max((order.index(pool.status) for pool in report.pools), default=0)
        if len({pool.currency for pool in report.pools}) == 1 and report.equity is not None:
            assert report.currency == report.pools[0].currency
            agree("equity", report.equity, sum((F(pool.equity) for pool in report.pools), F(0)))
            agree(
                "maintenance margin",
                report.maintenance_margin,
                sum((F(pool.maintenance_margin) for pool in report.pools), F(0)),
            )

    holds()
