"""Ways to form the initial margin that only few venues use: the compiled runner says of them what the judge says."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from agreement import Agreement, compare

import crossmargin as cm
from crossmargin.analytics.book import evaluate_book
from crossmargin.engine.book import Book
from crossmargin.engine.columns import Reason
from crossmargin.engine.synthetic import synthetic_book
from crossmargin.engine.tables import compile_rules
from crossmargin.engine.ticks import TickIndex
from crossmargin.errors import UnsupportedRule
from crossmargin.model.brackets import InstrumentRule
from crossmargin.model.instrument import parse_symbol
from crossmargin.model.market import Market

AS_OF = datetime(2026, 11, 20, 8, tzinfo=UTC)


def made_up(profile: str, pools: int = 120) -> tuple[Book, Market, Any]:
    """Random pools of few contracts, every seventh leverage missing, and their market on plain decimals."""
    rules = cm.load_profile(profile).on(AS_OF)
    donors = [rules] + [cm.load_profile(name).on(AS_OF) for name in ("binance-usdm", "binance-coinm")]
    kinds = {parse_symbol(symbol).kind for symbol in rules.brackets} - {"spot"}
    listed = [name for name, rule in rules.assets.items() if rule.tiers is not None or rule.bid_buffer is not None]
    made = synthetic_book(
        rules,
        pools=pools,
        seed=3,
        positions=4,
        longest=12,
        instruments=8,
        inverse={frozenset({"linear"}): 0, frozenset({"inverse"}): 8}.get(frozenset(kinds), 3),
        donors=donors,
        isolated=0.15 if rules.slots.pooling.isolated else 0.0,
        holdings=[*listed[:6], "USDT", "USDC"],
    )
    leverage = np.where(np.arange(made.book.positions) % 7 == 0, np.nan, made.book.leverage)
    marks = dict(zip(made.prices.instruments, (f"{p:.10f}" for p in made.prices.mark_price), strict=True))
    index = dict(zip(made.prices.assets, (f"{p:.10f}" for p in made.prices.index_price), strict=True))
    market = Market(as_of=AS_OF, mark_price=marks, index_price=index, bid_rate=index, ask_rate=index)
    # tables of donors say nothing of opening: twice what keeps a position, so rates rise as those do
    own = [
        InstrumentRule(
            symbol=symbol,
            contract_size=made.rules.contract_size(symbol),
            brackets=tuple(row.model_copy(update={"initial_rate": 2 * row.maintenance_rate}) for row in table),
        )
        for symbol, table in made.rules.brackets.items()
        if symbol in made.book.instruments and profile == "whitebit-collateral"
    ]
    return replace(made.book, leverage=leverage), market, made.rules.with_overrides(own, ())


@pytest.mark.parametrize("profile", ["binance-portfolio-margin-pro", "whitebit-collateral"])
def test_random_pools_are_judged_alike(profile: str) -> None:
    book, market, rules = made_up(profile)
    found = compare(book, market, rules, Agreement())
    assert not found.wrong, found.wrong[:5]
    assert found.pools >= 60
    assert found.sides >= 200
    assert len(found.statuses) >= 2


def test_a_table_by_coins_is_refused_and_not_read_at_the_wrong_price() -> None:
    """An inverse contract on Deribit is as large as the coins it is worth, so its rate moves with the mark."""
    with pytest.raises(UnsupportedRule, match="key = 'coin' is not compiled"):
        compile_rules(cm.load_profile("deribit").on(AS_OF), [], [])


def test_marginal_initial_brackets_by_hand() -> None:
    """2 % of the first 1,000 and 10 % beyond on a value of 3,000 at the mark: 20 + 200 = 220; 20-fold leverage would
    ask for 150, 10-fold asks for 300, and where none is given the table alone decides."""
    symbol = "BTC/USDT:USDT"
    for leverage, margin in (("20", 220), ("10", 300), (None, 220)):
        case = cm.case_from(
            {
                "profile": "whitebit-collateral",
                "as_of": "2026-11-20T08:00:00Z",
                "balances": {"USDT": "9000"},
                "positions": [
                    {"symbol": symbol, "quantity": "1", "entry_price": "3000"}
                    | ({} if leverage is None else {"leverage": leverage})
                ],
                "market": {"mark_price": {symbol: "3000"}, "index_price": {"USDT": "1"}},
                "instruments": [
                    {
                        "symbol": symbol,
                        "contract_size": "1",
                        "taker_fee": "0",
                        "brackets": [
                            {"notional_floor": "0", "maintenance_rate": "0.01", "initial_rate": "0.02"},
                            {"notional_floor": "1000", "maintenance_rate": "0.05", "initial_rate": "0.1"},
                        ],
                    }
                ],
            },
            "by hand",
        )
        report = evaluate_book(Book.from_accounts([case.account]), case.market, case.rules)
        assert report.reason.tolist() == [Reason.NONE]
        assert report.initial_margin.tolist() == pytest.approx([margin], rel=1e-12)


def test_ticks_refuse_a_level_they_cannot_bound() -> None:
    book, market, rules = made_up("whitebit-collateral", pools=20)
    with pytest.raises(UnsupportedRule, match="not watched tick by tick"):
        TickIndex(book, market, rules)
