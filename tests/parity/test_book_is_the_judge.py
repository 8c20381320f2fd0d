"""The compiled runner and the exact judge say the same of random accounts of every profile and of published ones."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from agreement import Agreement, allowed, compare
from hypothesis import HealthCheck, given, settings

import crossmargin as cm
import strategies
from crossmargin.analytics.book import evaluate_book, sensitivity_book, stress_book, threshold_book
from crossmargin.engine.book import Book
from crossmargin.engine.columns import Reason
from crossmargin.engine.runner import Runner
from crossmargin.engine.synthetic import synthetic_book
from crossmargin.engine.tables import compile_rules
from crossmargin.errors import CrossmarginError
from crossmargin.files.conformance import conformance_files
from crossmargin.model.scenario import Scenario

PROFILES = sorted(strategies.MENUS)
# the same examples everywhere, as in the property tests
HOUSE = settings(
    derandomize=True, deadline=None, max_examples=20, database=None, suppress_health_check=list(HealthCheck)
)


@pytest.mark.parametrize("profile", PROFILES)
def test_random_accounts_are_judged_alike(profile: str) -> None:
    found = Agreement()

    @HOUSE
    @given(strategies.accounts(profile, orders=False))
    def check(account: dict[str, Any]) -> None:
        case = cm.case_from(account, "account")
        compare(Book.from_accounts([case.account]), case.market, case.rules, found)
        assert not found.wrong, found.wrong

    check()
    assert found.pools >= 20
    assert found.sides >= 20


@pytest.mark.parametrize("profile", PROFILES)
def test_scenarios_and_slopes_are_those_of_one_account(profile: str) -> None:
    scenarios = [
        Scenario(name="fall", others="-0.37"),
        Scenario(name="rise", others="0.53"),
        Scenario(name="apart", moves={"BTC": "-0.211", "ETH": "0.173"}, others="0"),
        Scenario(name="depeg", moves={"USDT": "-0.031"}, index_moves={"BTC": "-0.4"}, others="-0.05"),
    ]

    @settings(HOUSE, max_examples=10)
    @given(strategies.accounts(profile, orders=False))
    def check(account: dict[str, Any]) -> None:
        case = cm.case_from(account, "account")
        book = Book.from_accounts([case.account])
        table = stress_book(book, case.market, case.rules, scenarios)
        report = evaluate_book(book, case.market, case.rules)
        one = cm.stress(*case, scenarios)
        exact_gross = 1 + sum(abs(float(p.notional)) * 1e5 for p in cm.evaluate(*case, explain=False).positions)
        for place, outcome in enumerate(one):
            ours = sorted(table.headroom[:, place])
            theirs = sorted(float(pool.headroom) for pool in outcome.pools)
            assert np.allclose(ours, theirs, rtol=1e-9, atol=1e-12 * exact_gross)
            assert table.liquidated[place] == sum(pool.status == "liquidation" for pool in outcome.pools)
        assert np.array_equal(table.worst_headroom, table.headroom.min(axis=1))
        slopes, exact = sensitivity_book(book, case.market, case.rules), cm.sensitivity(*case, thresholds=[])
        by_coin: dict[str, list[tuple[float, float]]] = {}
        for row in exact.slopes:
            if row.kind == "coin":
                by_coin.setdefault(row.name, []).append((float(row.up * row.now), float(row.down * row.now)))
        for line, coin in enumerate(slopes.coin):
            mine = (slopes.up[line] * slopes.now[line], slopes.down[line] * slopes.now[line])
            known = [*by_coin.get(report.assets[coin], ()), (0.0, 0.0)]
            near = [np.allclose(mine, pair, rtol=1e-9, atol=1e-12 * exact_gross) for pair in known]
            assert any(near), (report.assets[coin], mine, known)

    check()


def conformance_accounts() -> list[Any]:
    """Every published case whose rules have a compiled form and whose account a book can hold."""
    found = []
    for case in (case for file in conformance_files() for case in file.cases):
        try:
            account, market, rules = case.load()
            compile_rules(rules, [], [])
        except CrossmarginError:
            continue
        if account.positions or account.open_orders:
            found.append(pytest.param(account, market, rules, id=case.id))
    return found


@pytest.mark.parametrize(("account", "market", "rules"), conformance_accounts())
def test_published_accounts_are_judged_alike(account: Any, market: Any, rules: Any) -> None:
    try:
        cm.evaluate(account, market, rules, explain=False)
    except CrossmarginError:
        report = evaluate_book(Book.from_accounts([account]), market, rules)
        assert (report.reason >= Reason.MARK_PRICE_MISSING).any()
        return
    found = compare(Book.from_accounts([account], as_of=market.as_of), market, rules, Agreement())
    assert not found.wrong, found.wrong


def test_a_flat_crossing_is_known_as_well_as_its_headroom() -> None:
    """Long 1,000,000 BTC from 60,000.1, short 999,800 from 60,000.3, both at 60,000; 0.01 % kept of 1,999,800 BTC.

    Headroom is W + 1,000,000 (p - 60,000.1) - 999,800 (p - 60,000.3) - 199.98 p = W - 11,800,060 + 0.02 p: with
    W = 11,799,460 it is 600 at 60,000 and 0 at 30,000.

    Its terms add up to 2.4e11, of which a double keeps about 3e-5; over a slope of 1,200 for the whole price that is
    2.5e-8 of the price. The difference found is the headroom's own error over the slope, and no more.
    """
    perpetual, dated = "BTC/USDT:USDT", "BTC/USDT:USDT-261225"
    rows = [{"notional_floor": "0", "maintenance_rate": "0.0001", "max_leverage": "100"}]
    case = cm.case_from(
        {
            "profile": "plain-isolated",
            "as_of": "2026-11-20T08:00:00Z",
            "balances": {"USDT": "11799460"},
            "positions": [
                {"symbol": perpetual, "quantity": "1000000", "entry_price": "60000.1", "leverage": "10"},
                {"symbol": dated, "quantity": "-999800", "entry_price": "60000.3", "leverage": "10"},
            ],
            "market": {"mark_price": {perpetual: "60000", dated: "60000"}},
            "instruments": [{"symbol": s, "contract_size": "1", "brackets": rows} for s in (perpetual, dated)],
        },
        "flat",
    )
    book = Book.from_accounts([case.account])
    error = evaluate_book(book, case.market, case.rules).headroom[0] - 600
    price = threshold_book(book, case.market, case.rules).position_below[0]
    assert 0 < abs(error) < 1e-14 * 2.4e11
    assert abs(price - 30_000) == pytest.approx(abs(error) / 0.02, rel=0.05)
    assert 1e-9 < abs(price / 30_000 - 1) < allowed(0.5, 2.4e11 / 600)


# the same bits whatever the order, the shards and the threads ---------------------------------------------------------


@pytest.fixture(scope="module")
def made_up() -> Any:
    rules = cm.load_profile("bybit-uta").on(cm.load("examples/article-3.1.toml").market.as_of)
    return synthetic_book(
        rules, pools=40_000, seed=11, instruments=40, inverse=2, holdings=["USDT", "USDC", "BTC", "ETH"]
    )


def columns(book: Book, made_up: Any, threads: int) -> list[Any]:
    report = evaluate_book(book, made_up.prices, made_up.rules, threads=threads)
    lines = threshold_book(book, made_up.prices, made_up.rules, threads=threads)
    names = ("equity", "initial_margin", "maintenance_margin", "headroom", "margin_ratio", "status", "reason")
    sides = ("position_below", "position_above", "common_below", "common_above", "below", "above")
    return [getattr(report, name) for name in names] + [getattr(lines, name) for name in sides]


def same(left: list[Any], right: list[Any]) -> bool:
    return all(a.tobytes() == b.tobytes() for a, b in zip(left, right, strict=True))


def test_threads_change_no_bit(made_up: Any) -> None:
    assert made_up.book.purses > 2 * 16_384  # more than one chunk for each thread
    assert same(columns(made_up.book, made_up, 1), columns(made_up.book, made_up, 2))


def test_shards_change_no_bit(made_up: Any) -> None:
    book = made_up.book
    whole = columns(book, made_up, 2)
    cuts = [0, 1, 777, 25_000, book.purses]
    parts = [columns(book.take(np.arange(low, high)), made_up, 2) for low, high in pairwise(cuts)]
    assert same(whole, [np.concatenate([part[i] for part in parts]) for i in range(len(whole))])


def test_the_order_of_pools_changes_no_bit(made_up: Any) -> None:
    book = made_up.book
    order = np.random.default_rng(3).permutation(book.purses)
    straight, mixed = columns(book, made_up, 2), columns(book.take(order), made_up, 2)
    for a, b in zip(straight[:7], mixed[:7], strict=True):
        assert a[order].tobytes() == b.tobytes()


def test_a_runner_judges_again_at_other_prices(made_up: Any) -> None:
    runner = Runner(made_up.book, made_up.rules)
    first = runner.state(made_up.prices)
    state = runner.state(made_up.prices, full=False)
    assert first.headroom.tobytes() == state.headroom.tobytes()
    assert np.array_equal(first.status == 2, state.status == 2)
