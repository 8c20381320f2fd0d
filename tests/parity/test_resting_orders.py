"""Books that hold resting orders: the compiled runner says of them what the exact judge says, or why it cannot."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from agreement import AS_OF, Agreement, compare, compilable
from hypothesis import HealthCheck, given, settings

import crossmargin as cm
import strategies
from crossmargin.engine.book import Book
from crossmargin.engine.orders import follows
from crossmargin.engine.synthetic import synthetic_book
from crossmargin.model.brackets import InstrumentRule
from crossmargin.model.instrument import parse_symbol
from crossmargin.model.market import Market

HOUSE = settings(
    derandomize=True, deadline=None, max_examples=15, database=None, suppress_health_check=list(HealthCheck)
)


def followed() -> list[str]:
    """Every profile that compiles and whose rule for resting orders a book follows."""
    return [
        name
        for name, rules in compilable().items()
        if rules.slots.initial_margin.orders is not None and follows(rules.slots)
    ]


def with_orders(book: Book, marks: np.ndarray, seed: int) -> Book:
    """The same book with up to three orders on each shared holding, in its own contracts and in others."""
    rng = np.random.default_rng(seed)
    settles = np.array([book.assets.index(parse_symbol(name).settle) for name in book.instruments])
    pocket = np.repeat(book.isolated, np.diff(book.holding_start))
    rows: list[tuple[int, float, float, float, bool]] = []
    counts = []
    for holding in range(book.holdings):
        offered = np.flatnonzero(settles == book.asset[holding])
        count = 0 if pocket[holding] or not len(offered) else int(rng.integers(0, 4))
        counts.append(count)
        for code in rng.choice(offered, count) if count else ():
            price = round(float(marks[code] * rng.uniform(0.8, 1.2)), 8)
            value = float(np.exp(rng.normal(np.log(3_000), 1.0)))
            inverse = parse_symbol(book.instruments[code]).kind == "inverse"
            quantity = round(value if inverse else value / price, 4) + 0.0001
            leverage = float(rng.choice([np.nan, 3.0, 10.0, 25.0]))
            rows.append((int(code), float(rng.choice([-1, 1])) * quantity, price, leverage, bool(rng.random() < 0.2)))
    table = np.array(rows, np.float64).reshape(-1, 5)
    return replace(
        book,
        order_start=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        order_instrument=table[:, 0].astype(np.int32),
        order_quantity=table[:, 1],
        order_price=table[:, 2],
        order_leverage=table[:, 3],
        order_reduce_only=table[:, 4].astype(np.bool_),
    )


def made_up(profile: str, pools: int = 45) -> tuple[Book, Market, Any]:
    """Random pools of few contracts with orders, and their market on plain decimals, last prices in it."""
    rules = cm.load_profile(profile).on(AS_OF)
    donors = [rules] + [cm.load_profile(name).on(AS_OF) for name in ("binance-usdm", "binance-coinm")]
    kinds = {parse_symbol(symbol).kind for symbol in rules.brackets} - {"spot"}
    listed = [name for name, rule in rules.assets.items() if rule.tiers is not None or rule.bid_buffer is not None]
    inverse = {frozenset({"linear"}): 0, frozenset({"inverse"}): 8}.get(frozenset(kinds), 3)
    made = synthetic_book(
        rules, pools=pools, seed=5, positions=3, longest=8, instruments=8, inverse=inverse, donors=donors,
        isolated=0.1 if rules.slots.pooling.isolated else 0.0, holdings=[*listed[:4], "USDT", "USDC"],
    )  # fmt: skip
    marks = dict(zip(made.prices.instruments, (f"{p:.10f}" for p in made.prices.mark_price), strict=True))
    last = dict(zip(made.prices.instruments, (f"{p * 1.002:.10f}" for p in made.prices.mark_price), strict=True))
    index = dict(zip(made.prices.assets, (f"{p:.10f}" for p in made.prices.index_price), strict=True))
    market = Market(as_of=AS_OF, mark_price=marks, index_price=index, bid_rate=index, ask_rate=index, last_price=last)
    fees = [
        InstrumentRule(symbol=name, contract_size=made.rules.contract_size(name) or 1, taker_fee="0.0005")
        for name in made.book.instruments
        if made.rules.taker_fee(name) is None
    ]
    return with_orders(made.book, made.prices.mark_price, 9), market, made.rules.with_overrides(fees, ())


@pytest.mark.parametrize("profile", followed())
def test_random_books_with_orders_are_judged_alike(profile: str) -> None:
    book, market, rules = made_up(profile)
    found = compare(book, market, rules, Agreement())
    assert book.orders > 30
    assert not found.wrong, found.wrong[:5]
    assert found.pools >= 30
    assert found.refused < 15


@pytest.mark.parametrize("profile", sorted(strategies.MENUS))
def test_random_accounts_with_orders_are_judged_alike(profile: str) -> None:
    found, held = Agreement(), []

    @HOUSE
    @given(strategies.accounts(profile, orders=True))
    def check(account: dict[str, Any]) -> None:
        case = cm.case_from(account, "account")
        held.append(bool(case.account.open_orders))
        compare(Book.from_accounts([case.account]), case.market, case.rules, found)
        assert not found.wrong, found.wrong

    check()
    assert any(held)
