"""INV-23: just before the runway ends the pool has headroom, at its end it has none, by the oracle.

The oracle takes the payments off itself: value at the funding price x rate, once for each interval that has ended.
"""

from __future__ import annotations

from copy import deepcopy
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matching import case, pool_names, report_of
from moving import key_of, pay

import oracle
import strategies
from crossmargin.analytics.funding import Runway, runway

F = Fraction
FEW = settings(max_examples=max(15, settings().max_examples // 3))
RATES = st.sampled_from(["0.0001", "-0.0001", "0.00025", "0.003", "-0.002", "0", "0.000017"])
HOURS = st.sampled_from(["1", "2", "4", "8"])


def with_funding(account: dict[str, Any], rates: list[str], hours: list[str]) -> dict[str, Any]:
    symbols = sorted({p["symbol"] for p in account["positions"]})
    market = {
        **account["market"],
        "funding_rate": dict(zip(symbols, rates, strict=False)),
        "funding_interval": dict(zip(symbols, hours, strict=False)),
    }
    return {**account, "market": market}


def after(account: dict[str, Any], law: oracle.Law, key: oracle.Key, counted: Any) -> F:
    """Headroom of a pool when each of its positions has paid ``counted(symbol)`` times."""
    drained = deepcopy(account)
    for position in drained["positions"]:
        symbol = position["symbol"]
        if key_of(account, law, position) == key and "-26" not in symbol:
            pay(drained, law, position, F(account["market"]["funding_rate"][symbol]) * counted(symbol))
    return oracle.judge(law, drained)[key].headroom


def hours_between(start: datetime, end: datetime) -> F:
    return F(round((end - start).total_seconds() * 10**6), 3600 * 10**6)


def ends(account: dict[str, Any], law: oracle.Law, key: oracle.Key, row: Runway, as_of: datetime) -> None:
    interval = {s: F(h) for s, h in account["market"]["funding_interval"].items()}
    scale = sum((abs(p.equity) + p.maintenance for p in oracle.judge(law, account).values()), F(1))

    def flowed(hours: F) -> F:
        return after(account, law, key, lambda symbol: hours / interval[symbol])

    def really(hours: F) -> F:
        start = hours_between(datetime(1970, 1, 1, tzinfo=UTC), as_of)
        return after(account, law, key, lambda s: (start + hours) // interval[s] - start // interval[s])

    if row.kind == "already":
        assert oracle.judge(law, account)[key].headroom <= 0
        return
    if row.kind == "never":
        for far in (F(1), F(100), F(10**4), F(10**7)):
            assert flowed(far) > 0 and really(far) > 0
        return
    assert row.kind == "time"
    if row.hours is not None:
        end = F(row.hours)
        assert abs(flowed(end)) <= scale / 10**20
        for share in (F(1, 1000), F(1, 2), 1 - F(1, 10**9)):
            assert flowed(end * share) > 0, share
    if row.interval_end is not None:
        end = hours_between(as_of, row.interval_end)
        assert really(end) <= scale / 10**20
        for share in (F(1, 1000), F(1, 2)):
            assert really(end * share) > 0, share
        assert really(end - F(1, 1000)) > 0


@pytest.mark.parametrize("profile", ["plain-cross", "plain-isolated", "binance-usdm", "binance-coinm", "bybit-uta"])
def test_headroom_lasts_as_long_as_the_runway(profile: str):
    @FEW
    @given(
        strategies.accounts(profile, most=3),
        st.lists(RATES, min_size=6, max_size=6),
        st.lists(HOURS, min_size=6, max_size=6),
    )
    def holds(bare: dict[str, Any], rates: list[str], hours: list[str]) -> None:
        account = with_funding(bare, rates, hours)
        law = oracle.law_of(account["profile"], account["as_of"])
        question = case(account)
        names = pool_names(account, report_of(account), law)
        rows = {row.pool: row for row in runway(*question).runways if row.scenario == "current"}
        pools = oracle.judge(law, account)
        paying = {key_of(account, law, p) for p in account["positions"] if "-26" not in p["symbol"]}
        for key in paying:
            if pools[key].requirement:
                ends(account, law, key, rows[names[key]], question.market.as_of)

    holds()
