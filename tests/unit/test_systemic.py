"""Who falls when the liquidations of some move the prices of all: rounds worked by hand, and what must always hold."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import crossmargin as cm
from crossmargin.analytics.systemic import systemic
from crossmargin.apps.cli import app

D = Decimal
BTC = "BTC/USDT:USDT"


def member(name: str, wallet: str, quantity: str = "1") -> Any:
    return cm.case_from(
        {
            "id": name,
            "profile": "plain-cross",
            "as_of": "2026-11-20T00:00:00Z",
            "balances": {"USDT": wallet},
            "positions": [{"symbol": BTC, "quantity": quantity, "entry_price": "10000", "leverage": "10"}],
            "market": {"mark_price": {BTC: "10000"}},
            "instruments": [{"symbol": BTC, "brackets": [{"notional_floor": "0", "maintenance_rate": "0.05"}]}],
        },
        "hand",
    )


def test_one_liquidation_moves_the_price_onto_the_next_account() -> None:
    # long 1 BTC from 10,000, 5 % maintenance, liquidated below (10,000 - wallet) / 0.95:
    #   a: 1,000 -> 9,473.68;  b: 1,300 -> 9,157.89;  c: 3,000 -> 7,368.42
    # shock -6 %: 9,400. a breaks, 1 BTC is sold: 9,400 / 2,350 a per cent = 4 %: 9,400 / 1.04 = 9,038.461538
    # b breaks there: 9,038.461538 / 2,350 = 3.846154 %: 9,038.461538 / 1.03846154 = 8,703.703704; c stands
    found = systemic(
        [member("a", "1000"), member("b", "1300"), member("c", "3000")],
        shock={"BTC": D("-0.06")},
        depth={"BTC": D(2350)},
    )
    assert (found.accounts, found.by_shock, found.by_others, found.names) == (3, 1, 1, ("a", "b"))
    assert [one.broken for one in found.rounds] == [1, 1, 0]
    prices = [10000 * (1 + one.moves["BTC"]) for one in found.rounds]
    assert [round(price, 6) for price in prices] == [D(9400), D("9038.461538"), D("8703.703704")]
    assert found.rounds[0].forced == {"BTC": D(-9400)}
    assert round(found.moves["BTC"], 9) == D("-0.129629630")
    share = found.amplification["BTC"]
    assert share is not None and round(share, 6) == D("2.160494")
    assert found.settled and round(found.sold["BTC"], 6) == D("-18438.461538") and found.bought == {}
    # a had 1,000 - 600 = 400 left, b 1,300 - 961.538462 = 338.461538: nobody owes
    assert round(found.bills[0].realized_pnl, 6) == D("-1561.538462")


def test_shorts_are_bought_back_and_push_the_price_up() -> None:
    # short 1 from 10,000 with 1,000: broken above 11,000 / 1.05 = 10,476.19
    found = systemic([member("s", "1000", "-1")], shock={"BTC": D("0.05")}, depth={"BTC": D(10500)})
    assert found.names == ("s",)
    assert found.bought == {"BTC": D(10500)} and found.moves["BTC"] == D("1.05") * D("1.01") - 1


def test_without_depth_nothing_follows_and_the_answer_says_so() -> None:
    found = systemic([member("a", "1000"), member("b", "1300")], shock={"BTC": D("-0.06")})
    assert (found.by_shock, found.by_others, found.moves["BTC"]) == (1, 0, D("-0.06"))
    assert any("no depth is given for BTC" in note for note in found.notes)


def test_every_coin_not_named_moves_with_the_others() -> None:
    named = systemic([member("a", "1000")], shock={"BTC": D("-0.06")}, depth={"BTC": D(2350)})
    rest = systemic([member("a", "1000")], shock={}, others=D("-0.06"), other_depth=D(2350))
    assert rest == named and "USDT" not in rest.moves


def test_rounds_that_run_out_are_not_called_settled() -> None:
    found = systemic(
        [member("a", "1000"), member("b", "1300")], shock={"BTC": D("-0.06")}, depth={"BTC": D(2350)}, most_rounds=1
    )
    assert not found.settled and found.by_others == 0


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(600, 4000), min_size=1, max_size=8),
    st.integers(1, 30),
    st.integers(1, 50),
    st.randoms(use_true_random=False),
)
def test_order_does_not_matter_and_a_deeper_market_saves_no_fewer(
    wallets: list[int], fall: int, thousands: int, rng: Any
) -> None:
    members = [member(f"m{i}", str(wallet)) for i, wallet in enumerate(wallets)]
    shock, depth = {"BTC": D(-fall) / 100}, {"BTC": D(1000 * thousands)}
    found = systemic(members, shock=shock, depth=depth)
    mixed = list(members)
    rng.shuffle(mixed)
    again = systemic(mixed, shock=shock, depth=depth)
    assert (set(again.names), again.moves, again.rounds) == (set(found.names), found.moves, found.rounds)
    deeper = systemic(members, shock=shock, depth={"BTC": 2 * depth["BTC"]})
    assert set(deeper.names) <= set(found.names) and deeper.moves["BTC"] >= found.moves["BTC"]
    # who stands at the end is above his level there: (10,000 - wallet) / 0.95, worked apart from the engine
    end = 10000 * (1 + found.moves["BTC"])
    for i, wallet in enumerate(wallets):
        assert (f"m{i}" in found.names) == (wallet + end - 10000 < D("0.05") * end)


@pytest.mark.parametrize(
    ("shock", "depth", "named"),
    [
        ({}, {}, "shock"),
        ({"BTC": D(-1)}, {}, "shock.BTC"),
        ({"BTC": D("NaN")}, {}, "shock.BTC"),
        ({"BTC": D("-0.1")}, {"BTC": D(0)}, "depth.BTC"),
    ],
)
def test_what_cannot_be_is_refused_by_name(shock: dict[str, D], depth: dict[str, D], named: str) -> None:
    with pytest.raises(cm.AccountError) as told:
        systemic([member("a", "1000")], shock=shock, depth=depth)
    assert [fault.path for fault in told.value.faults] == [named]
    with pytest.raises(cm.AccountError, match="members"):
        systemic([], shock={"BTC": D("-0.1")})


def test_the_verb_reads_account_files_and_books(tmp_path: Any) -> None:
    run = CliRunner().invoke
    files = ["examples/article-2.1-cross.toml", "examples/binance-two-positions.toml"]
    found = run(app, ["systemic", *files, "--move", "BTC=-0.3", "--move", "ETH=-0.3", "--depth", "BTC=1e", "--json"])
    assert isinstance(found.exception, cm.ProfileError)
    found = run(
        app, ["systemic", *files, "--move", "BTC=-0.3", "--move", "ETH=-0.3", "--depth", "BTC=100000", "--json"]
    )
    assert found.exit_code == 4 and json.loads(found.stdout)["accounts"] == 2
    book = "examples/book/book.parquet"
    refused = run(app, ["systemic", book, "--move", "BTC=-0.1"])
    assert {f.path for f in refused.exception.faults} == {"--market", "--profile"}
    args = ["systemic", book, "-m", "examples/book/market.toml", "-p", "binance-usdm", "--move", "BTC=-0.5", "--json"]
    found = run(app, args)
    said = json.loads(found.stdout)
    assert found.exit_code == 4 and said["accounts"] >= 1
    # SOL has no price in that market: the account that holds it is named, not guessed
    assert [name for name, _ in said["left_out"]] == ["lost"]
