"""The tick index against a judgement of everything: no crossing missed, no verdict other than the judge's."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_resting_orders import with_orders

import crossmargin as cm
import strategies
from crossmargin.analytics.book import evaluate_book
from crossmargin.engine.book import Book
from crossmargin.engine.columns import Status
from crossmargin.engine.intervals import rulebook
from crossmargin.engine.orders import steady
from crossmargin.engine.prepare import prepare
from crossmargin.engine.prices import Prices
from crossmargin.engine.reference import measure
from crossmargin.engine.synthetic import Synthetic, synthetic_book
from crossmargin.engine.tables import compile_rules
from crossmargin.engine.ticks import Changes, TickIndex
from crossmargin.errors import AccountError, CrossmarginError
from crossmargin.files.profiles import profile_ids

NOW = cm.load("examples/article-3.1.toml").market.as_of
HOUSE = settings(
    derandomize=True, deadline=None, max_examples=60, database=None, suppress_health_check=list(HealthCheck)
)
HOLDINGS = ["USDT", "USDC", "BTC", "ETH"]


_NONE = np.zeros((2, 1))


def compilable() -> list[str]:
    """Every shipped profile that has a compiled form today and can be watched."""
    found = []
    for name in profile_ids():
        try:
            tables = compile_rules(cm.load_profile(name).on(NOW), ["BTC/USDT:USDT"], ["USDT"])
            rulebook(tables, _NONE, _NONE, np.zeros(len(tables.assets), np.uint8), tables.laws)
        except CrossmarginError:
            continue
        found.append(name)
    return found


def made_up(profile: str, *, pools: int = 200, seed: int = 5) -> Synthetic:
    """A seeded book of 12 contracts, 2 of them coin-settled."""
    donors = [cm.load_profile(name).on(NOW) for name in ("bybit-uta", "binance-coinm")]
    return synthetic_book(
        cm.load_profile(profile).on(NOW),
        pools=pools, seed=seed, instruments=12, inverse=2, donors=donors, holdings=HOLDINGS,
    )  # fmt: skip


def walk(index: TickIndex, *, ticks: int, step: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(source, price) of a random walk of every mark and index price that the index knows."""
    rng = np.random.default_rng(seed)
    now = index.prices()
    price = np.concatenate([now.mark_price, now.index_price])
    known = np.flatnonzero(~np.isnan(price))
    known = known[known != len(now.mark_price) + index.tables.reference]
    source, prices = rng.choice(known, ticks), np.empty(ticks)
    for place, code in enumerate(source):
        price[code] *= np.exp(rng.normal(0, step))
        prices[place] = price[code]
    return source, prices


def said(index: TickIndex) -> dict[tuple[int, int], int]:
    """What the index says of every pool, by purse and currency."""
    return {(purse, currency): level for purse, currency, level in index.levels().rows()}


def judged(book: Book, prices: Prices, rules: Any) -> dict[tuple[int, int], int]:
    """What a judgement of the whole book says, in the same words."""
    report = evaluate_book(book, prices, rules)
    level = np.where(report.status == Status.UNKNOWN, -2, report.level)
    return dict(zip(zip(report.purse.tolist(), report.currency.tolist(), strict=True), level.tolist(), strict=True))


def same(left: Changes, right: Changes) -> bool:
    names = ("tick", "purse", "currency", "old", "new")
    return all(getattr(left, name).tobytes() == getattr(right, name).tobytes() for name in names)


def replayed(start: dict[tuple[int, int], int], changes: Changes) -> dict[tuple[int, int], int]:
    """The levels at the end, from those at the start and the changes alone; each change must fit the one before."""
    now = dict(start)
    rows = zip(*(getattr(changes, name).tolist() for name in ("purse", "currency", "old", "new")), strict=True)
    for purse, currency, old, new in rows:
        assert now[purse, currency] == old != new
        now[purse, currency] = new
    return now


# no crossing missed ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", compilable())
def test_a_walk_misses_no_crossing_under_any_profile(profile: str) -> None:
    made = made_up(profile)
    for step, seed in ((0.002, 1), (0.03, 2)):
        index = TickIndex(made.book, made.prices, made.rules, check=True)
        start = said(index)
        found = [index.ticks(*walk(index, ticks=60, step=step, seed=seed + n)) for n in range(2)]
        assert index.counters.missed == 0
        assert index.counters.taken >= 120
        now = said(index)
        assert now == judged(index.book(), index.prices(), made.rules)
        assert replayed(replayed(start, found[0]), found[1]) == now
    assert index.counters.judged > 0


def test_random_accounts_of_every_kind_are_watched_as_the_judge_judges_them() -> None:
    """Hedges, debts, pockets, own tables and sizes: what the strategies draw, one account at a time."""
    changed = 0

    @HOUSE
    @given(st.sampled_from(sorted(strategies.MENUS)).flatmap(lambda p: strategies.accounts(p, orders=False)), st.data())
    def check(given: dict[str, Any], data: st.DataObject) -> None:
        nonlocal changed
        case = cm.case_from(given, "account")
        index = TickIndex(Book.from_accounts([case.account]), case.market, case.rules, check=True)
        seed = data.draw(st.integers(0, 999))
        for n, step in enumerate((0.01, 0.2)):
            changed += len(index.ticks(*walk(index, ticks=40, step=step, seed=seed + n)))
        assert index.counters.missed == 0
        assert said(index) == judged(index.book(), index.prices(), case.rules)

    check()
    assert changed > 30


def steadily_ordered() -> list[str]:
    """The profiles of :func:`compilable` under which what an order holds moves with no price."""
    return [name for name in compilable() if (rules := cm.load_profile(name).on(NOW)) and steady(rules.slots)]


@pytest.mark.parametrize("profile", steadily_ordered())
def test_a_walk_misses_no_crossing_of_pools_with_orders(profile: str) -> None:
    made = made_up(profile, pools=120)
    book = with_orders(made.book, made.prices.mark_price, 7)
    assert book.orders > 60
    for step, seed in ((0.002, 1), (0.03, 2)):
        index = TickIndex(book, made.prices, made.rules, check=True)
        start = said(index)
        found = index.ticks(*walk(index, ticks=60, step=step, seed=seed))
        now = said(index)
        assert index.counters.missed == 0
        assert now == judged(index.book(), index.prices(), made.rules)
        assert replayed(start, found) == now
    assert index.book().equals(TickIndex(index.book(), index.prices(), made.rules).book())


def test_random_accounts_with_orders_are_watched_as_the_judge_judges_them() -> None:
    changed, ordered = 0, 0
    drawn = st.sampled_from(sorted(strategies.MENUS)).flatmap(strategies.accounts)

    @settings(HOUSE, max_examples=120)
    @given(drawn.filter(lambda account: "open_orders" in account), st.data())
    def check(given: dict[str, Any], data: st.DataObject) -> None:
        nonlocal changed, ordered
        case = cm.case_from(given, "account")
        index = TickIndex(Book.from_accounts([case.account]), case.market, case.rules, check=True)
        seed = data.draw(st.integers(0, 999))
        for n, step in enumerate((0.01, 0.2)):
            changed += len(index.ticks(*walk(index, ticks=40, step=step, seed=seed + n)))
        assert index.counters.missed == 0
        if steady(case.rules.slots):
            ordered += 1
            assert said(index) == judged(index.book(), index.prices(), case.rules)
        else:
            marked = index.book().without_orders()
            assert said(index) == judged(marked, index.prices(), case.rules)

    check()
    assert changed > 30
    assert ordered > 10


def test_orders_change_the_level_by_hand() -> None:
    """1 BTC at 1,000, 10-fold, and a buy of 2 at 900, 10-fold: 0.1 p + 180 are held against 290 + p - 1,000, so the
    initial margin is reached at 0.9 p = 890, p = 988.88...; without the order at 0.9 p = 710. An order in a contract
    whose mark is missing leaves the pool without figures until the first price."""
    rows = [{"notional_floor": "0", "maintenance_rate": "0.01", "max_leverage": "100"}]
    btc, eth = "BTC/USDT:USDT", "ETH/USDT:USDT"
    file = {
        "profile": "plain-isolated",
        "as_of": "2026-11-20T08:00:00Z",
        "balances": {"USDT": "290"},
        "positions": [{"symbol": btc, "quantity": "1", "entry_price": "1000", "leverage": "10"}],
        "open_orders": [{"symbol": btc, "quantity": "2", "price": "900"}],
        "market": {"mark_price": {btc: "1000", eth: "200"}},
        "instruments": [{"symbol": name, "contract_size": "1", "brackets": rows} for name in (btc, eth)],
    }
    case = cm.case_from(file, "account")
    book = Book.from_accounts([case.account])
    place = [level.name for level in case.rules.slots.levels.ladder].index("initial margin")
    index = TickIndex(book, case.market, case.rules, check=True)
    found = index.ticks([index.source(btc)] * 3, [988.9, 988.88, 988.9])
    assert (found.tick.tolist(), found.old.tolist(), found.new.tolist()) == ([1, 2], [-1, place], [place, -1])
    # the order is filled elsewhere: only 0.1 p against 290 + p - 1,000 now
    found = index.update([0], Book.from_accounts([case.account.model_copy(update={"open_orders": ()})]))
    assert len(found) == 0
    assert len(index.ticks([index.source(btc)] * 2, [788.9, 788.88])) == 1
    other = cm.case_from(
        file | {"open_orders": [{"symbol": eth, "quantity": "1", "price": "150", "leverage": "5"}]}, ""
    )
    hole = case.market.model_copy(update={"mark_price": {btc: Decimal(1000)}})
    index = TickIndex(Book.from_accounts([other.account]), hole, case.rules, check=True)
    assert index.levels().level.tolist() == [-2]
    # 100 of the position and 30 of the order against 290
    assert index.tick(eth, "200").new.tolist() == [-1]
    # 0.1 p + 30 = p - 710 at p = 822.2...
    assert len(index.ticks([index.source(btc)] * 2, [822.3, 822.2])) == 1
    assert index.counters.missed == 0


def test_changes_are_told_at_the_tick_and_by_the_judge() -> None:
    """A long of 3 BTC entered at 60,000 with 45,000 USDT: hand-worked on the textbook profile.

    Equity is 45,000 + 3 (mark - 60,000), maintenance 0.4 % of 3 x mark in the first bracket of one row:
    45,000 + 3 m - 180,000 = 0.012 m  =>  m = 135,000 / 2.988 = 45,180.72...
    """
    file = {
        "profile": "plain-isolated",
        "as_of": "2026-11-20T08:00:00Z",
        "balances": {"USDT": "45000"},
        "positions": [{"symbol": "BTC/USDT:USDT", "quantity": "3", "entry_price": "60000", "leverage": "1000"}],
        "market": {"mark_price": {"BTC/USDT:USDT": "60000"}},
        "instruments": [
            {"symbol": "BTC/USDT:USDT", "brackets": [{"notional_floor": "0", "maintenance_rate": "0.004"}]}
        ],
    }
    case = cm.case_from(file, "account")
    last = len(case.rules.slots.levels.ladder) - 1
    index = TickIndex(Book.from_accounts([case.account]), case.market, case.rules, liquidation_only=True, check=True)
    prices = [50_000, 45_181, 45_180.73, 45_180.72, 45_180.73, 45_181]
    found = index.ticks([index.source("BTC/USDT:USDT")] * len(prices), prices)
    assert found.tick.tolist() == [3, 4]
    assert found.old.tolist() == [-1, last]
    assert found.new.tolist() == [last, -1]
    # on its way down from 60,000 to 45,181 it was judged a few times, not at every tick after
    assert index.counters.judged <= len(prices)


def test_a_bracket_that_jumps_is_not_stepped_over() -> None:
    """A rule whose rate applies to the whole value: 0.4 % up to 50,000 and 5 % above.

    Short 1 BTC from 49,000 with 3,000 beside: at 50,000 equity is 2,000 against 200, at 50,500 it is 1,500 against
    2,525. By the slope of today's bracket alone there would be room up to 51,700.
    """
    brackets = [
        {"notional_floor": "0", "maintenance_rate": "0.004", "max_leverage": "100"},
        {"notional_floor": "50000", "maintenance_rate": "0.05", "max_leverage": "10"},
    ]
    file = {
        "profile": "weex-usdm",
        "as_of": "2026-11-20T08:00:00Z",
        "balances": {"USDT": "3000"},
        "positions": [{"symbol": "BTC/USDT:USDT", "quantity": "-1", "entry_price": "49000", "leverage": "10"}],
        "market": {"mark_price": {"BTC/USDT:USDT": "49000"}},
        "instruments": [{"symbol": "BTC/USDT:USDT", "brackets": brackets, "contract_size": "1"}],
    }
    case = cm.case_from(file, "account")
    last = len(case.rules.slots.levels.ladder) - 1
    for only in (False, True):
        index = TickIndex(Book.from_accounts([case.account]), case.market, case.rules, liquidation_only=only)
        found = index.ticks([index.source("BTC/USDT:USDT")] * 2, [49_900, 50_500])
        assert (found.tick.tolist()[-1], found.new.tolist()[-1]) == (1, last)


def test_a_pool_exactly_at_its_level_is_decided_by_the_exact_judge() -> None:
    """Equity 24 against maintenance 24: 1 coin long from 5,976 with 0 beside, at 6,000 x 0.4 % = 24."""
    file = {
        "profile": "plain-isolated",
        "as_of": "2026-11-20T08:00:00Z",
        "balances": {"USDT": "0"},
        "positions": [{"symbol": "BTC/USDT:USDT", "quantity": "1", "entry_price": "5976", "leverage": "1000"}],
        "market": {"mark_price": {"BTC/USDT:USDT": "7000"}},
        "instruments": [
            {"symbol": "BTC/USDT:USDT", "brackets": [{"notional_floor": "0", "maintenance_rate": "0.004"}]}
        ],
    }
    case = cm.case_from(file, "account")
    index = TickIndex(Book.from_accounts([case.account]), case.market, case.rules, check=True)
    found = index.tick("BTC/USDT:USDT", "6000")
    market = case.market.model_copy(update={"mark_price": {"BTC/USDT:USDT": Decimal("6000")}})
    (pool,) = prepare(case.account, market, case.rules).pools
    state = measure(pool)
    assert state.headroom == 0
    assert index.counters.rejudged >= 1
    assert (len(found) == 1) == state.liquidatable


# changes between ticks ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", ["bybit-uta", "binance-usdm", "binance-usdm-multi-assets", "blofin-usdm"])
def test_updates_in_place_equal_an_index_made_anew(profile: str) -> None:
    made, other = made_up(profile, pools=60), made_up(profile, pools=60, seed=6)
    rng = np.random.default_rng(4)
    index = TickIndex(made.book, made.prices, made.rules, check=True)
    for round_ in range(6):
        index.ticks(*walk(index, ticks=30, step=0.01, seed=round_))
        book = index.book()
        rows = rng.choice(book.purses, 8, replace=False)
        start = said(index)
        if round_ % 2:
            now = book.take(rows)  # a deposit, or a loss that is paid: the same rows with other amounts
            now = replace(now, amount=now.amount * rng.uniform(0.2, 3.0, now.holdings))
        else:
            now = other.book.take(rng.choice(other.book.purses, 8, replace=False))  # other positions altogether
        found = index.update(rows, now)
        assert set(found.tick.tolist()) <= {-1}
        ended = said(index)
        assert ended == judged(index.book(), index.prices(), made.rules)
        changed = {key: (start.get(key, -1), ended.get(key, -1)) for key in start.keys() | ended.keys()}
        told = zip(*(getattr(found, name).tolist() for name in ("purse", "currency", "old", "new")), strict=True)
        assert {(p, c): (old, new) for p, c, old, new in told} == {k: v for k, v in changed.items() if v[0] != v[1]}
    anew = TickIndex(index.book(), index.prices(), made.rules, check=True)
    assert said(index) == said(anew)
    more = walk(index, ticks=60, step=0.02, seed=99)
    assert same(index.ticks(*more), anew.ticks(*more))
    assert index.counters.missed == anew.counters.missed == 0


def test_new_purses_and_new_names_are_taken_in() -> None:
    made = made_up("bybit-uta", pools=40)
    index = TickIndex(made.book, made.prices, made.rules, check=True)
    first, second = np.flatnonzero(~made.book.isolated)[:2]
    found = index.update([40, 41], made.book.take([first, second]))
    assert set(found.purse.tolist()) <= {40, 41}
    before = said(index)
    key = index.tables.reference
    assert (before[40, key], before[41, key]) == (before[first, key], before[second, key])
    one = made.book.take([first])
    renamed = replace(one, instruments=("NEW/USDT:USDT", *one.instruments[1:]), instrument=one.instrument * 0)
    index.tick(made.book.instruments[1], 1.01 * float(index.prices().mark_price[1]), sequence=7)
    index.update([5], renamed)
    now = said(index)
    assert now.pop((5, key)) == -2  # the profile does not know it: no figures, and said so
    assert {pool: level for pool, level in before.items() if pool[0] != 5} == now
    index.tick(made.book.instruments[1], 1.0, sequence=7)
    assert index.counters.duplicate == 1  # sequence numbers outlive a widening
    assert index.counters.missed == 0


def test_other_rules_change_levels_as_a_judgement_under_them_says() -> None:
    made = made_up("binance-usdm", pools=60)
    index = TickIndex(made.book, made.prices, made.rules, check=True)
    index.ticks(*walk(index, ticks=40, step=0.02, seed=8))
    stricter = {
        name: tuple(b.model_copy(update={"maintenance_rate": (b.maintenance_rate or 0) * 3}) for b in table)
        for name, table in made.rules.brackets.items()
    }
    rules = replace(made.rules, brackets=stricter)
    start, found = said(index), index.change_rules(rules)
    assert len(found) > 0
    assert replayed(start, found) == said(index) == judged(index.book(), index.prices(), rules)


def test_updates_that_do_not_fit_are_refused_with_the_field() -> None:
    made = made_up("bybit-uta", pools=10)
    index = TickIndex(made.book, made.prices, made.rules)
    for purses in ([0], [0, 0], [0, 12], [-1, 0]):
        with pytest.raises(AccountError, match="purses"):
            index.update(purses, made.book.take([0, 1]))
    with pytest.raises(AccountError, match="source"):
        index.ticks([10_000], [1.0])
    with pytest.raises(AccountError, match="one row a tick"):
        index.ticks([0, 1], [1.0])


# feeds as they are ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", ["bybit-uta", "binance-usdm-multi-assets"])
def test_duplicate_late_and_unusable_ticks_change_nothing_and_are_counted(profile: str) -> None:
    made = made_up(profile, pools=80)
    clean, noisy = (TickIndex(made.book, made.prices, made.rules, check=True) for _ in range(2))
    marks = len(made.prices.instruments)
    source, price = walk(clean, ticks=80, step=0.02, seed=3)
    source, price = source[source < marks], price[source < marks]
    number = np.arange(1, len(source) + 1)
    expected = clean.ticks(source, price, sequence=number)
    rows: list[tuple[int, float, int]] = []
    seen: dict[int, int] = {}
    wrong = dict.fromkeys(("duplicate", "late", "refused", "unknown"), 0)
    for code, value, n in zip(source.tolist(), price.tolist(), number.tolist(), strict=True):
        if code in seen:
            rows += [(code, value * 3, seen[code]), (code, value / 3, seen[code] - 1)]
            wrong["duplicate"] += 1
            wrong["late"] += 1
        rows += [(code, bad, n) for bad in (np.nan, 0.0, -value, np.inf)]
        rows.append((index_of_nobody(noisy), value, n))
        wrong["refused"] += 4
        wrong["unknown"] += 1
        rows.append((code, value, n))
        seen[code] = n
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    found = noisy.ticks(columns[0], columns[1], sequence=columns[2])
    names = ("purse", "currency", "old", "new")
    assert [getattr(found, n).tolist() for n in names] == [getattr(expected, n).tolist() for n in names]
    assert said(noisy) == said(clean)
    assert {name: getattr(noisy.counters, name) for name in wrong} == wrong
    assert noisy.counters.taken == clean.counters.taken == len(source)


def index_of_nobody(index: TickIndex) -> int:
    return index.source("NOBODY/USDT:USDT")


def test_prices_of_one_moment_are_judged_together() -> None:
    """A fall of a mark that a simultaneous rise of the collateral pays for: no false alarm in between."""
    made = made_up("bybit-uta", pools=200)
    apart, together = (TickIndex(made.book, made.prices, made.rules, check=True) for _ in range(2))
    names = made.prices.instruments[0], made.prices.instruments[0].split("/")[0]
    source = [together.source(name) for name in names]
    now = np.concatenate([made.prices.mark_price, together.prices().index_price])[source]
    apart.ticks(source, now * [0.7, 0.7])
    one = together.ticks(source, now * [0.7, 0.7], last=[False, True])
    assert set(one.tick.tolist()) == {1}
    assert said(apart) == said(together)


def test_bid_and_ask_rates_move_with_their_asset_unless_they_are_named() -> None:
    made = made_up("binance-usdm-multi-assets", pools=150)
    index = TickIndex(made.book, made.prices, made.rules, check=True)
    asset = "ETH" if "ETH" in made.prices.assets else made.prices.assets[0]
    price = float(index.prices().index_price[index.tables.assets.index(asset)])
    for factor, spread in ((0.8, None), (0.7, 0.02), (0.6, 0.2), (1.4, 0.01)):
        bid, ask = (None, None) if spread is None else (price * (factor - spread), price * (factor + spread))
        index.tick(asset, price * factor, bid=bid, ask=ask)
        assert said(index) == judged(index.book(), index.prices(), made.rules)
    refused = index.counters.refused
    index.tick(asset, price, bid=price * 1.1, ask=price)
    assert index.counters.refused == refused + 1
    assert index.counters.missed == 0


def test_a_missing_price_leaves_pools_without_figures_until_its_first_tick() -> None:
    made = made_up("bybit-uta", pools=120)
    mark, price = made.prices.mark_price.copy(), made.prices.index_price.copy()
    mark[0], price[made.prices.assets.index("BTC")] = np.nan, np.nan
    hole = replace(made.prices, mark_price=mark, index_price=price)
    index = TickIndex(made.book, hole, made.rules, check=True)
    assert sum(level == -2 for level in said(index).values()) > 5
    index.tick(made.prices.instruments[0], made.prices.mark_price[0])
    found = index.tick("BTC", made.prices.index_price[made.prices.assets.index("BTC")])
    assert len(found) > 0
    assert said(index) == judged(made.book, made.prices, made.rules)
    assert index.counters.missed == 0


# gaps -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", ["bybit-uta", "okx-futures"])
def test_a_gap_judged_in_order_equals_one_judged_pool_by_pool_byte_for_byte(profile: str) -> None:
    made = made_up(profile, pools=3_000)
    one, scan = (TickIndex(made.book, made.prices, made.rules, scan_from=limit) for limit in (10**9, 0))
    source = np.arange(len(made.prices.instruments))
    for factor in (0.9, 1.25, 0.5):
        price = one.prices().mark_price * factor
        assert same(one.ticks(source, price), scan.ticks(source, price))
        more = walk(one, ticks=40, step=0.004, seed=int(factor * 100))
        assert same(one.ticks(*more), scan.ticks(*more))
        assert same(one.verify(), scan.verify())
        assert one.levels().level.tobytes() == scan.levels().level.tobytes()
    assert one.counters.scans == 0 < scan.counters.scans
    assert one.counters.missed == scan.counters.missed == 0
