"""Many scenarios at once say what each of them says alone, whatever the blocks, parts and threads."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

import crossmargin as cm
from crossmargin.analytics.book import stress_book
from crossmargin.engine.runner import Runner
from crossmargin.engine.scenarios import BLOCK
from crossmargin.engine.synthetic import synthetic_book
from crossmargin.model.scenario import Scenario

AS_OF = datetime(2026, 11, 20, 8, tzinfo=UTC)
COUNT = BLOCK + 77  # a whole block and one that ends anywhere


def made_up(profile: str) -> Any:
    donors = [cm.load_profile(name).on(AS_OF) for name in ("binance-usdm", "binance-coinm")]
    rules = cm.load_profile(profile).on(AS_OF)
    isolated = 0.15 if rules.slots.pooling.isolated else 0.0
    return synthetic_book(
        rules, pools=60, seed=5, positions=5, longest=20, instruments=12, inverse=4, donors=donors, isolated=isolated,
        holdings=["USDT", "USDC", "BTC", "ETH"],
    )  # fmt: skip


@pytest.mark.parametrize(
    "profile", ["plain-cross", "plain-isolated", "bybit-uta", "okx-multi-currency", "gate-unified"]
)
def test_a_scenario_among_many_is_that_scenario_alone(profile: str) -> None:
    made = made_up(profile)
    runner = Runner(made.book, made.rules, threads=1)
    state = runner.state(made.prices)
    rng = np.random.default_rng(1)
    # small moves stay in one bracket, every fifth goes over several
    spread = np.where(np.arange(COUNT) % 5 == 0, 1.0, 0.05)
    factor = np.exp(rng.normal(0, spread, (len(runner.tables.assets), COUNT)))
    index = np.where(np.asarray(runner.tables.cash)[:, None], 1.0, factor)
    whole = runner.stress(state, factor, index, keep=True)
    known = state.status != 3
    size = 1e-300 + np.abs(whole.headroom).max(axis=1) + state.bound * 2.0**40
    for place in (0, 1, 5, 31, 32, 500, BLOCK - 1, BLOCK, BLOCK + 40, COUNT - 1):
        alone = runner.stress(state, factor[:, [place]], index[:, [place]], keep=True)
        difference = np.abs(alone.headroom[:, 0] - whole.headroom[:, place])[known]
        assert (difference <= 1e-9 * size[known]).all()
        assert alone.broken[0] == whole.broken[place]
    edge = np.repeat(whole.edge, BLOCK, axis=1)[:, :COUNT]
    assert whole.broken.tolist() == (whole.headroom < -edge)[known].sum(axis=0).tolist()
    assert np.array_equal(
        whole.close[known], (np.abs(whole.headroom) <= edge)[known].sum(axis=1) * (edge[known, 0] > 0)
    )
    assert np.array_equal(whole.worst[known], whole.headroom[known].min(axis=1))
    assert np.array_equal(whole.where[known], whole.headroom[known].argmin(axis=1))
    assert 0 < whole.broken.sum() < known.sum() * COUNT


def test_threads_and_parts_change_no_bit() -> None:
    made = made_up("bybit-uta")
    factor = np.exp(np.random.default_rng(2).normal(0, 0.3, (len(made.book.assets) + 20, 3 * BLOCK)))
    found = []
    for threads in (1, 2):
        runner = Runner(made.book, made.rules, threads=threads)
        own = factor[: len(runner.tables.assets)]
        found.append(runner.stress(runner.state(made.prices), own, own, keep=True))
    for name in ("worst", "where", "broken", "close", "headroom", "edge"):
        assert np.array_equal(*(getattr(one, name) for one in found), equal_nan=True)


def test_a_pool_exactly_at_zero_in_a_scenario_is_decided_by_the_judge() -> None:
    """1,000 USDT and a long of 1 at 10,000 that keeps 1 %: at a fall by 1/11 the value is 10,000 x 10/11 and
    1,000 - 10,000/11 - 100 x 10/11 = 0, which is a liquidation where equity at the requirement is one. No decimal is
    1/11, so a fall of 0.1 with 1,090 USDT: 1,090 - 1,000 - 90 = 0."""
    symbol = "BTC/USDT:USDT"
    case = cm.case_from(
        {
            "profile": "plain-cross",
            "as_of": "2026-11-20T08:00:00Z",
            "balances": {"USDT": "1090"},
            "positions": [{"symbol": symbol, "quantity": "1", "entry_price": "10000", "leverage": "10"}],
            "market": {"mark_price": {symbol: "10000"}},
            "instruments": [{"symbol": symbol, "brackets": [{"notional_floor": "0", "maintenance_rate": "0.01"}]}],
        },
        "at zero",
    )
    book = cm.Book.from_accounts([case.account])
    names = ("-0.0999", "-0.1", "-0.1001")
    scenarios = [Scenario(name=move, others=move) for move in names]
    found = stress_book(book, case.market, case.rules, scenarios)
    assert found.liquidated.tolist() == [0, 1, 1]
    assert found.rejudged == 1
    assert found.headroom is not None
    assert found.headroom[0, 1] == 0
