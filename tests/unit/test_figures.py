"""Figures carry the results' own numbers, and each has its table; every answer has a section."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import crossmargin as cm
from crossmargin.apps import figures
from crossmargin.apps.page import Section
from crossmargin.apps.story import page
from crossmargin.apps.views import RESULTS, ROWS, market, money, view

EXAMPLES = Path(__file__).parents[2] / "examples"
BTC, ETH, SOL = (f"{coin}/USDT:USDT" for coin in ("BTC", "ETH", "SOL"))
D = Decimal


def example(name: str) -> cm.Case:
    return cm.load(str(EXAMPLES / f"{name}.toml"))


CROSS = example("article-2.1-cross")
"""2,000 USDT, long 0.05 BTC at 100,000 and 1 ETH at 4,000, 0.5 % each: headroom 1,955 + 4,975 x + 3,980 y."""


def traces(spec: Any) -> dict[str, dict[str, float]]:
    """name of a trace -> name of a bar -> its length."""
    return {trace["name"]: dict(zip(trace["y"], trace["x"], strict=True)) for trace in spec["data"]}


def test_distances_are_the_thresholds_nearest_first() -> None:
    (spec,) = view(cm.threshold(*CROSS)).figures
    falls = traces(spec)["falls"]
    # together 1,955 / 8,955, then 1,955 / 4,975 and 1,955 / 3,980
    assert list(falls) == ["all coins together", BTC, ETH]
    assert list(falls.values()) == pytest.approx([-1955 / 8955, -1955 / 4975, -1955 / 3980], rel=1e-12)
    assert set(traces(spec)["rises"].values()) == {None}  # never: no bar, and no bar of length 0


def test_the_tornado_is_the_exact_slope_times_the_move() -> None:
    """10 % of BTC: 0.05 x 10,000 less 0.5 % of it, 497.5; of ETH 400 - 2 = 398."""
    (spec,) = view(cm.sensitivity(*CROSS, thresholds=())).figures
    assert traces(spec) == {"falls 10%": {"BTC": -497.5, "ETH": -398.0}, "rises 10%": {"BTC": 497.5, "ETH": 398.0}}


def test_the_killing_move_beside_the_common_shock() -> None:
    """4 % and 5 % a day, correlation 0.6: the move is -1,955 S b / b' S b = -0.19648, -0.24560; alike -0.21831."""
    covariance = cm.correlated({"BTC": 0.04, "ETH": 0.05}, 0.6)
    found = cm.reverse_stress(*CROSS, covariance)
    shock = cm.threshold(*CROSS).common_shock
    section = market.killing_move(found, shock.below, cm.nearest_chance(found), "Assumed.")
    bars, chance = section.figures
    most = traces(bars)["the most plausible move"]
    assert most == pytest.approx({"BTC": -1955 * 12.736 / 126723.2, "ETH": -1955 * 15.92 / 126723.2}, rel=1e-9)
    assert set(traces(bars)["all coins alike"].values()) == {float(shock.below.distance or 0)}
    # 30 days: 2 N(-5.49185 / sqrt(30)) = 2 N(-1.00267) = 0.31602
    at = dict(zip(chance["data"][0]["x"], chance["data"][0]["y"], strict=True))
    assert at[30.0] == pytest.approx(0.31602, abs=1e-5)
    assert "Assumed." in section.text
    (moves, days) = section.tables
    assert moves.rows[0] == ["BTC", "-19.65 %", "-21.83 %"] and days.rows[0][0] == "1"


def test_before_and_after_a_change() -> None:
    """Closing the ETH long frees 500 of initial and 20 of maintenance margin, and costs no fee that is known."""
    found = cm.whatif(*CROSS, cm.changes_from([{"kind": "close", "symbol": ETH, "fee_rate": "0"}], lambda *_: None))
    (spec,) = view(found).figures
    before, after = traces(spec)["before"], traces(spec)["after"]
    assert (before["initial margin"], after["initial margin"]) == (1500, 1000)
    assert (before["headroom"], after["headroom"]) == (1955, 1975)
    assert (before["equity"], after["equity"]) == (2000, 2000)


def test_what_positions_need_alone_and_together() -> None:
    """60,000 at 0.5 % and 3,000 at 1 %, all charged at the highest rate: 300 and 30 alone, 600 and 330 beside."""
    rates = {BTC: "0.005", ETH: "0.01"}
    case = cm.case_from(
        {
            "profile": "plain-highest-rate",
            "as_of": "2026-11-20T08:00:00Z",
            "balances": {"USDT": "20000"},
            "positions": [
                {"symbol": BTC, "quantity": "1", "entry_price": "60000", "leverage": "10"},
                {"symbol": ETH, "quantity": "1", "entry_price": "3000", "leverage": "10"},
            ],
            "market": {"mark_price": {BTC: "60000", ETH: "3000"}},
            "instruments": [
                {"symbol": symbol, "brackets": [{"notional_floor": "0", "maintenance_rate": rate}]}
                for symbol, rate in rates.items()
            ],
        },
        "account",
    )
    (spec,) = money.needs(cm.requirements(*case), cm.neutral_pairs(*case)).figures
    assert traces(spec) == {
        "alone": {BTC: 300, ETH: 30},
        "beside the others": {BTC: 600, ETH: 330},
        "offset": {BTC: -300, ETH: -300},
    }


def test_the_walk_meets_what_it_has_to_stand_above() -> None:
    """4,500 of equity against 5,000: after the whole pool is closed nothing is left to be covered."""
    found = cm.cascade(*example("article-3.1"))
    (spec,) = view(found).figures
    equity, required = spec["data"]
    assert len(equity["x"]) == len(found.steps)
    last = found.steps[-1]
    assert required["y"][-1] == float(last.equity_after - last.headroom_after)
    assert equity["y"] == [float(step.equity_after) for step in found.steps]


def test_modes_side_by_side() -> None:
    """Cross: 1,955 above liquidation and 500 free; in pockets of 1,000 and 500 the same 500 stay in the wallet."""
    (spec,) = view(cm.compare(*CROSS)).figures
    assert traces(spec)["headroom"]["cross"] == 1955
    assert traces(spec)["free collateral"] == {"cross": 500, "isolated": 500}


def test_funding_has_one_sign_in_chart_and_table() -> None:
    """10 ETH long and 20 SOL short at 0.01 % every 8 h: one pays and one gets."""
    case = cm.case_from(
        {
            "profile": "binance-usdm",
            "as_of": "2026-11-20T06:00:00Z",
            "balances": {"USDT": "9000"},
            "positions": [
                {"symbol": "ETH/USDT:USDT", "quantity": "10", "entry_price": "3000", "leverage": "10"},
                {"symbol": "SOL/USDT:USDT", "quantity": "-20", "entry_price": "100", "leverage": "10"},
            ],
            "market": {
                "mark_price": {"ETH/USDT:USDT": "3000", "SOL/USDT:USDT": "100"},
                "funding_rate": {"ETH/USDT:USDT": "0.0001", "SOL/USDT:USDT": "0.0001"},
            },
            "instruments": [
                {"symbol": s, "brackets": [{"notional_floor": "0", "maintenance_rate": "0.005"}]}
                for s in ("ETH/USDT:USDT", "SOL/USDT:USDT")
            ],
        },
        "account",
    )
    section = money.payments(cm.funding(*case))
    (drawn,) = section.figures
    (bar,) = drawn["data"]
    assert bar["x"] == [9.0, -0.6]  # 30,000 x 0.0001 x 3, and 2,000 x 0.0001 x 3 received
    assert bar["marker"]["color"] == [figures.RED, figures.GREEN]
    (table,) = section.tables
    column = table.columns.index("per_day")
    assert [row[column] for row in table.rows] == ["9.00", "-0.60"]


def test_days_of_funding_on_a_scale_that_shows_them_all() -> None:
    """44 days at present rates and 20 minutes at the cap need powers of ten; one pool alone does not."""
    section = view(cm.runway(*example("hyperliquid-funding")))
    days = next(spec for spec in section.figures if spec["layout"]["title"]["text"].startswith("Days"))
    assert days["layout"]["xaxis"]["type"] == "log"
    assert traces(days)[""]["USDC, current"] == pytest.approx(44.47409384, rel=1e-8)
    alone = figures.days_left(["a"], [3.0])
    assert "type" not in alone["layout"]["xaxis"]


def results() -> list[Any]:
    moves = [D("-0.2"), D("0.2")]
    covariance = cm.correlated({"BTC": 0.04, "ETH": 0.05}, 0.6)
    fund = cm.load_fund(str(EXAMPLES / "funds" / "basis-two-venues.toml"))
    return [
        cm.allocate(fund),
        cm.frontier(fund, [D(1)]),
        cm.evaluate(*CROSS),
        cm.threshold(*CROSS),
        cm.compare(*CROSS),
        cm.heat_map(*CROSS, coin_x="BTC", coin_y="ETH", moves_x=moves, moves_y=moves),
        cm.worst_case(*CROSS),
        cm.safety_buffer(*CROSS),
        cm.worst_in_box(*CROSS, bounds={"BTC": (D("-0.3"), D("0.2"))}),
        cm.reverse_stress(*CROSS, covariance),
        cm.liquidation_probability(*CROSS, covariance, horizon_days=D(7), paths=200),
        cm.sensitivity(*CROSS),
        cm.runway(*example("hyperliquid-funding")),
        cm.cascade(*CROSS),
        cm.whatif(*CROSS, cm.changes_from([{"kind": "deposit", "asset": "USDT", "amount": "5"}], lambda *_: None)),
        cm.hedge(*example("bybit-uta"), {BTC: D(-1)}),
        cm.curve(*CROSS, "BTC"),
        (cm.max_order(*CROSS, BTC, "buy", fee_rate=D(0)),),
        (cm.max_withdraw(*CROSS, "USDT"),),
        cm.ladder(*CROSS, steps=moves),
        cm.depeg(*example("bybit-uta")),
        cm.funding(*example("hyperliquid-funding")),
        cm.requirements(*CROSS),
        cm.best_hedge(*example("bybit-uta"), [BTC], distance=D("0.6")),
        cm.replay(*CROSS, cm.load_bars(str(EXAMPLES / "replay-history.csv")), modes=["cross", "isolated"]),
        cm.systemic([CROSS], shock={"BTC": D("-0.3")}, other_depth=D(100000)),
    ]


def test_every_answer_has_its_section() -> None:
    asked = results()
    kinds = {type(found) for found in asked if not isinstance(found, tuple)}
    kinds |= {type(found[0]) for found in asked if isinstance(found, tuple)}
    assert kinds == {*RESULTS, *ROWS}
    for found in asked:
        section = view(found)
        assert section.title and section.tables
        for table in section.tables:
            assert all(len(row) == len(table.columns) for row in table.rows)


def test_the_rounds_of_a_cascade_are_drawn_as_they_went() -> None:
    # -8 % breaks one account, whose sales in slices break the two others in the fourth round
    names = ("article-2.1-cross", "binance-two-positions", "unified-btc-collateral")
    found = cm.systemic([example(name) for name in names], shock={}, others=D("-0.08"), other_depth=D(100000))
    prices, broken = view(found).figures
    assert [trace["name"] for trace in prices["data"]] == ["ETH", "BTC"]  # most of ETH is sold
    assert prices["data"][0]["y"][0] == prices["data"][1]["y"][0] == -0.08
    assert prices["data"][0]["y"][-1] == pytest.approx(-0.3668, abs=1e-4)
    assert (broken["data"][0]["x"], broken["data"][0]["y"]) == ([1, 2, 3, 4, 5], [1, 0, 0, 2, 0])


def test_a_result_alone_is_a_row() -> None:
    row = cm.max_order(*CROSS, BTC, "buy", fee_rate=D(0))
    assert view(row) == view((row,))


# on the page ----------------------------------------------------------------------------------------------------------


def titled(text: str, title: str) -> str:
    """The section of a page under a title."""
    start = text.index(f"<h2>{title}</h2>")
    return text[start : text.index("</section>", start)]


def test_every_chart_on_the_page_has_its_table() -> None:
    from crossmargin.apps import story

    asked = story._Asked(CROSS, cm.evaluate(*CROSS), cm.threshold(*CROSS), None)
    sections: list[Section] = [section for question in story._QUESTIONS.values() for section in question(asked)]
    assert sum(bool(section.figures) for section in sections) >= 9
    for section in sections:
        assert section.tables or not section.figures, section.title


def test_the_page_says_what_it_assumed_and_takes_a_history() -> None:
    assumed = titled(page(CROSS), "Which plausible move kills it first")
    assert "Assumed, not estimated: every coin moves by 5% a day" in assumed
    history = cm.load_history(str(EXAMPLES / "daily-closes.csv"))
    own = titled(page(CROSS, history=history), "Which plausible move kills it first")
    covariance = cm.estimate_covariance(history)
    assert f"Covariance of {covariance.days} daily moves" in own and "Assumed" not in own
    assert cm.reverse_stress(*CROSS, covariance).words in own


def test_an_account_that_is_broken_needs_no_further_move() -> None:
    text = titled(page(example("article-3.1")), "Which plausible move kills it first")
    assert "Liquidatable as it stands." in text and "data-spec" not in text
