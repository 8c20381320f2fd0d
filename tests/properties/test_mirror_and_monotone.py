"""INV-15 and INV-17: long and short mirror each other, and what is worse never looks better."""

from __future__ import annotations

from fractions import Fraction as F
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matching import UNIT, report_of

import strategies
from strategies import MENUS, text

PROFILES = sorted(MENUS)
AS_OF = "2026-11-20T08:00:00Z"
BRACKETS = [
    {"notional_floor": "0", "maintenance_rate": "0.005", "max_leverage": "100"},
    {"notional_floor": "1000", "maintenance_rate": "0.01", "max_leverage": "50"},
]


def book(symbol: str, quantity: str, entry: str, mark: str, **more: Any) -> dict[str, Any]:
    """One textbook position; any symbol may be traded, for its brackets come along."""
    return {
        "profile": "plain-cross",
        "as_of": AS_OF,
        "balances": {"USDT": "1000"},
        "positions": [{"symbol": symbol, "quantity": quantity, "entry_price": entry, "leverage": "10"}],
        "instruments": [{"symbol": symbol, "brackets": BRACKETS}],
        "market": {"mark_price": {symbol: mark}},
        **more,
    }


def pnl(account: dict[str, Any]) -> F:
    return F(report_of(account).positions[0].unrealized_pnl)


CENTS = st.integers(1, 10**8).map(lambda n: text(F(n, 100), 2))


@given(CENTS, st.integers(1, 199), st.integers(1, 10**6))
def test_a_linear_short_at_the_reflected_price_is_a_long(entry: str, percent: int, count: int):
    mark = F(entry) * percent / 100
    reflected = 2 * F(entry) - mark
    quantity = text(F(count, 1000), 3)
    long = book("BTC/USDT:USDT", quantity, entry, text(mark, 4))
    short = book("BTC/USDT:USDT", f"-{quantity}", entry, text(reflected, 4))
    assert pnl(long) == pnl(short) == F(quantity) * (mark - F(entry))


@given(CENTS, st.integers(1, 400), st.integers(1, 10**6))
def test_a_long_and_a_short_of_one_contract_cancel(entry: str, percent: int, count: int):
    mark, quantity = text(F(entry) * percent / 100, 4), text(F(count, 1000), 3)
    for symbol in ("BTC/USDT:USDT", "BTC/USD:BTC"):
        index = {"index_price": {"BTC": "1"}}
        long, short = (book(symbol, q, entry, mark) for q in (quantity, f"-{quantity}"))
        for account in (long, short):
            account["market"] |= index
        assert abs(pnl(long) + pnl(short)) <= UNIT


ROUND = [2**a * 5**b for a in range(17) for b in range(9) if 10 <= 2**a * 5**b <= 10**6]
"""Prices whose reciprocal is a plain decimal of at most 18 places."""


@given(st.sampled_from(ROUND), st.sampled_from(ROUND), st.integers(1, 10**7), st.booleans())
def test_an_inverse_contract_is_a_linear_one_seen_from_the_coin(entry: int, mark: int, count: int, long: bool):
    """Long dollars-of-BTC is short the dollar, priced in BTC: entry and mark become their reciprocals."""
    index = {"index_price": {"BTC": str(mark)}}
    sign = 1 if long else -1
    inverse = book("BTC/USD:BTC", str(sign * count), str(entry), str(mark))
    linear = book("USD/BTC:BTC", str(-sign * count), text(F(1, entry), 18), text(F(1, mark), 18))
    inverse["market"] |= index
    linear["market"] |= index
    one, two = report_of(inverse), report_of(linear)
    for name in ("notional", "unrealized_pnl", "initial_margin", "maintenance_margin"):
        a, b = F(getattr(one.positions[0], name)), F(getattr(two.positions[0], name))
        assert abs(a - b) <= UNIT, name
    assert abs(F(one.pools[0].headroom) - F(two.pools[0].headroom)) <= UNIT * mark


def more_of(account: dict[str, Any], coin: str, key: str, extra: str) -> dict[str, Any]:
    entry = account["balances"].get(coin, "0")
    entry = dict(entry) if isinstance(entry, dict) else {"wallet_balance": entry}
    entry[key] = text(F(entry.get(key, "0")) + F(extra), 8)
    return {**account, "balances": {**account["balances"], coin: entry}}


def pairs(one: Any, two: Any) -> list[tuple[Any, Any]]:
    found = {pool.name: pool for pool in two.pools}
    return [(pool, found[pool.name]) for pool in one.pools]


MORE = st.integers(1, 10**8).map(lambda n: text(F(n, 1000), 3))


@pytest.mark.parametrize("key", ["wallet_balance", "bonus_credit"])
@pytest.mark.parametrize("profile", PROFILES)
def test_more_money_never_makes_it_worse(profile: str, key: str):
    @given(strategies.accounts(profile), MORE, st.data())
    def holds(account: dict[str, Any], extra: str, data: st.DataObject) -> None:
        coin = data.draw(st.sampled_from(sorted(account["balances"])))
        poor, rich = report_of(account), report_of(more_of(account, coin, key, extra))
        for one, two in pairs(poor, rich):
            assert one.equity <= two.equity
            assert one.headroom <= two.headroom
            assert one.maintenance_margin >= two.maintenance_margin

    holds()


@pytest.mark.parametrize("profile", PROFILES)
def test_more_interest_owed_never_makes_it_better(profile: str):
    @given(strategies.accounts(profile), MORE, st.data())
    def holds(account: dict[str, Any], extra: str, data: st.DataObject) -> None:
        coin = data.draw(st.sampled_from(sorted(account["balances"])))
        before, after = report_of(account), report_of(more_of(account, coin, "accrued_interest", extra))
        for one, two in pairs(before, after):
            assert one.equity >= two.equity
            assert one.headroom >= two.headroom

    holds()


@pytest.mark.parametrize("profile", [name for name in PROFILES if MENUS[name].ratios])
def test_a_larger_haircut_never_helps(profile: str):
    @given(strategies.accounts(profile), st.integers(0, 100), st.integers(0, 100), st.data())
    def holds(account: dict[str, Any], one: int, two: int, data: st.DataObject) -> None:
        coin = data.draw(st.sampled_from(sorted(account["balances"])))
        others = [rule for rule in account.get("assets", []) if rule["asset"] != coin]
        low, high = (
            report_of({**account, "assets": [*others, {"asset": coin, "collateral_ratio": text(F(n, 100), 2)}]})
            for n in sorted((one, two))
        )
        for strict, mild in pairs(low, high):
            assert strict.equity <= mild.equity
            assert strict.maintenance_margin == mild.maintenance_margin

    holds()


@given(st.lists(st.tuples(st.sampled_from(["BTC", "ETH"]), st.integers(1, 10**6)), min_size=1, max_size=4),
       st.integers(100, 900), st.integers(100, 900))  # fmt: skip
def test_a_worse_price_for_all_longs_never_raises_equity(legs: list[tuple[str, int]], one: int, two: int):
    """A linear book in one settle asset, all long: lower marks, lower equity; all short: the other way round."""
    names = [f"{coin}/USDT:USDT-26{month:02}25" for month, (coin, _) in enumerate(legs, start=1)]

    def equity(sign: str, mark: int) -> Any:
        account = book("BTC/USDT:USDT", "1", "500", "500")
        account["positions"] = [
            {"symbol": name, "quantity": f"{sign}{text(F(n, 1000), 3)}", "entry_price": "500"}
            for name, (_, n) in zip(names, legs, strict=True)
        ]
        account["instruments"] = [{"symbol": name, "brackets": BRACKETS} for name in names]
        account["market"] = {"mark_price": dict.fromkeys(names, str(mark))}
        return report_of(account).pools[0].equity

    low, high = sorted((one, two))
    assert equity("", low) <= equity("", high)
    assert equity("-", low) >= equity("-", high)


@pytest.mark.parametrize("profile", [name for name in PROFILES if MENUS[name].bid_ask])
def test_wider_buffers_never_help(profile: str):
    """Bid lower and ask higher: assets count less, debts and requirements more."""

    @given(strategies.accounts(profile), st.integers(0, 50), st.integers(0, 50), st.data())
    def holds(account: dict[str, Any], one: int, two: int, data: st.DataObject) -> None:
        market = account["market"]
        index = market.get("index_price") or market["bid_rate"]
        coin = data.draw(st.sampled_from(sorted(index)))
        rest = {table: prices for table, prices in market.items() if table not in ("bid_rate", "ask_rate")}
        account["market"] = {**rest, "index_price": index}
        narrow, wide = (
            report_of(
                {
                    **account,
                    "assets": [{"asset": coin, "bid_buffer": text(F(n, 100), 2), "ask_buffer": text(F(n, 100), 2)}],
                }
            )
            for n in sorted((one, two))
        )
        for mild, strict in pairs(narrow, wide):
            assert strict.equity <= mild.equity
            assert strict.maintenance_margin >= mild.maintenance_margin
            assert strict.headroom <= mild.headroom

    holds()
