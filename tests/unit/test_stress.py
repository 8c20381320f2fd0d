"""Scenarios, buffers and boxes against arithmetic done by hand, and every wrong input with its error."""

from __future__ import annotations

import sys
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import crossmargin as cm
from crossmargin.analytics.box import worst_in_box
from crossmargin.analytics.compiled import compile_scenarios
from crossmargin.analytics.stress import depeg, heat_map, ladder, safety_buffer, stress, worst_case
from crossmargin.files.scenarios import historical_scenarios, load_history, load_scenarios
from crossmargin.model.fund import Ladder
from crossmargin.model.scenario import Scenario

D, F = Decimal, Fraction
EXAMPLES = Path(__file__).parents[2] / "examples"


def example(name: str) -> cm.Case:
    return cm.load(str(EXAMPLES / f"{name}.toml"))


def near(found: D | None, exact: F) -> None:
    assert found is not None
    assert abs(F(found) - exact) < F(1, 10**18)


def test_all_coins_fall_by_a_fifth() -> None:
    # 0.05 BTC loses 1,000 and 1 ETH 800 of the 2,000; 0.5 % of 4,000 + 3,200 is kept: 200 - 36
    (down,) = ladder(*example("article-2.1-cross"), steps=[D("-0.2")])
    assert (down.equity, down.equity_change, down.maintenance_margin, down.headroom) == (200, -1800, 36, 164)
    assert (down.scenario, down.breaks_first, down.breaks_at) == ("all coins -20 %", None, None)
    assert down.moves == {"BTC": D("-0.2"), "ETH": D("-0.2")}


def test_the_pocket_that_breaks_first_and_when() -> None:
    # BTC pocket: 700 - 5000 x = 0.005 x 5000 (1 - x) at x = 675/4975; a fifth of the way is x / 0.2
    (down,) = ladder(*example("article-2.1-isolated"), steps=[D("-0.2")])
    assert down.status == "liquidation"
    assert down.breaks_first == "BTC/USDT:USDT isolated"
    near(down.breaks_at, F(675, 4975) / F(1, 5))
    assert {row.pool: row.headroom for row in down.pools}["BTC/USDT:USDT isolated"] == -320  # 700 - 1000 - 20


def test_collateral_falls_with_the_position() -> None:
    # 1 BTC at 48,000 counts 95 %: 45,600; 3 BTC lose 36,000; 0.5 % of 144,000 is kept
    (down,) = ladder(*example("unified-btc-collateral"), coin="BTC", steps=[D("-0.2")])
    assert (down.equity, down.headroom) == (9600, 8880)


def test_an_index_price_falls_on_one_venue_only() -> None:
    # the BTC index halves: 0.95 x 30,000; the mark stays at 60,000, so 0.5 % of 180,000 is kept
    case = example("unified-btc-collateral")
    (found,) = stress(*case, [Scenario(name="depeg", index_moves={"BTC": "-0.5"})])
    assert (found.equity, found.maintenance_margin, found.moves) == (28500, 900, {"BTC": 0})
    # 0.95 p = 900
    (row,) = depeg(*case)
    near(row.below.price, F(900 * 100, 95))
    assert (row.asset, row.value_share, row.above.kind) == ("BTC", 1, "never")


def test_buffers_are_the_exact_thresholds() -> None:
    # 2000 - 9000 x = 0.005 x 9000 (1 - x): x = 1955/8955. BTC alone: 2000 - 5000 x = 45 - 25 x: x = 1955/4975
    found = safety_buffer(*example("article-2.1-cross"))
    down, up = found.common
    near(down.move, F(-1955, 8955))
    near(down.equity_left, 2000 - 9000 * F(1955, 8955))
    assert (up.kind, up.move) == ("never", None)
    first = found.single[0]
    assert (first.direction, first.side, first.pool) == ("BTC", "down", "account")
    near(first.move, F(-1955, 4975))


def test_an_account_already_broken_has_no_buffer() -> None:
    found = safety_buffer(*example("article-3.1"))
    assert {row.kind for row in (*found.common, *found.single)} == {"already"}
    (after,) = ladder(*example("article-3.1"), steps=[D("-0.2")])
    assert after.breaks_at == 0


def test_worst_case_is_against_the_highest_leverage() -> None:
    # ETH has leverage 8, BTC 5; at 5 % the two lose 450 of 2,000
    found = worst_case(*example("article-2.1-cross"), moves=[D("0.05"), D("0.5")])
    assert (found.symbol, found.leverage) == ("ETH/USDT:USDT", 8)
    assert [(row.move, row.equity_lost) for row in found.losses] == [(D("-0.05"), D("0.225")), (D("-0.5"), D("2.25"))]
    short = worst_case(*example("hyperliquid"), moves=[D("0.1")])
    assert (short.symbol, short.losses[0].move) == ("BTC/USDC:USDC", D("0.1"))


def test_heat_map_is_the_grid_of_scenarios() -> None:
    case = example("article-2.1-cross")
    xs, ys = [D("-0.1"), D("0.1")], [D("-0.3"), D("0"), D("0.3")]
    found = heat_map(*case, coin_x="BTC", coin_y="ETH", moves_x=xs, moves_y=ys)
    # headroom = 1955 + 4975 x + 3980 y
    assert found.headroom == tuple(tuple(1955 + 4975 * x + 3980 * y for x in xs) for y in ys)
    with pytest.raises(cm.AccountError, match="name two coins"):
        heat_map(*case, coin_x="BTC", coin_y="BTC")


def test_a_coin_without_a_move_is_said() -> None:
    case = example("article-2.1-cross")
    (own,) = stress(*case, [Scenario(name="own", moves={"BTC": "-0.1"})])
    assert own.notes == ("ETH stands still: the scenario names no move for it",)
    assert own.headroom == 1955 - D("497.5")
    (market,) = stress(*case, [Scenario(name="market", moves={"BTC": "-0.1", "LTC": "-0.9"}, others="-0.2")])
    assert market.notes == ("ETH follows others = -0.2: the scenario names no move for it",)
    assert market.headroom == 1955 - D("497.5") - 796


@pytest.mark.parametrize(
    ("scenario", "why"),
    [
        ({"moves": {"FOO": "-0.1"}}, "moves.FOO: is not held or traded here; known are BTC, ETH"),
        ({"index_moves": {"USDT": "-0.1"}}, "index_moves.USDT: is not held"),  # the reference currency is 1
    ],
)
def test_a_scenario_of_this_account_names_what_it_has(scenario: dict[str, Any], why: str) -> None:
    with pytest.raises(cm.AccountError, match=why):
        stress(*example("article-2.1-cross"), [Scenario(name="typo", **scenario)])


@pytest.mark.parametrize("move", ["-1", "-1.5", "NaN", 0.1, "1e-3"])
def test_moves_are_plain_decimals_above_total_loss(move: object) -> None:
    with pytest.raises(cm.AccountError, match=r"moves\.BTC"):
        Scenario(name="bad", moves={"BTC": move})


# boxes ----------------------------------------------------------------------------------------------------------------


def test_worst_of_a_box_and_its_certificate() -> None:
    # 1955 + 4975 x + 3980 y is least at the lower ends: 1955 - 1492.5 - 398
    box = {"BTC": (D("-0.3"), D("0.4")), "ETH": (D("-0.1"), D("0.4"))}
    found = worst_in_box(*example("article-2.1-cross"), bounds=box)
    (row,) = found.pools
    assert (row.headroom, row.bound, row.gap, row.corners) == (D("64.5"), D("64.5"), 0, 4)
    assert row.moves == {"BTC": D("-0.3"), "ETH": D("-0.1")}
    assert found.safe
    assert not worst_in_box(*example("article-2.1-cross"), bounds={**box, "ETH": (D("-0.2"), D("0"))}).safe


@pytest.mark.parametrize("bounds", [{}, {"BTC": (D("0.1"), D("-0.1"))}, {"BTC": (D(-1), D(0))}, {"FOO": (D(0), D(0))}])
def test_a_box_with_bad_bounds_is_refused(bounds: dict[str, tuple[D, D]]) -> None:
    with pytest.raises(cm.AccountError):
        worst_in_box(*example("article-2.1-cross"), bounds=bounds)


# the fast form --------------------------------------------------------------------------------------------------------


def test_compiled_has_a_column_for_each_coin_and_refuses_others() -> None:
    compiled = compile_scenarios(cm.prepare(*example("article-2.1-cross"), number=float))
    assert (compiled.columns, compiled.pools) == (("BTC", "ETH"), ("account",))
    assert compiled([[-0.2, -0.2], [0.0, 0.0]])[:, 0] == pytest.approx([164, 1955], rel=1e-12)
    assert compiled(np.zeros((0, 2))).shape == (0, 1)
    for wrong in ([[0.1]], [[0.1, -1.0]], [[np.nan, 0.1]], [[np.inf, 0.1]]):
        with pytest.raises(cm.AccountError, match="moves"):
            compiled(wrong)
    with pytest.raises(cm.AccountError, match="FOO"):
        compile_scenarios(cm.prepare(*example("article-2.1-cross")), coins=["FOO"])


def test_compiled_blocks_join_without_a_seam() -> None:
    compiled = compile_scenarios(cm.prepare(*example("bybit-uta"), number=float))
    table = np.linspace(-0.9, 2.0, 1500)[:, np.newaxis] * np.ones(len(compiled.columns))
    whole = compiled(table)
    assert np.allclose(whole[700:701], compiled(table[700:701]), rtol=1e-12)
    assert np.allclose(whole[::-1], compiled(table[::-1]), rtol=1e-11)


# files ----------------------------------------------------------------------------------------------------------------


def test_historical_days_are_open_to_low_of_the_bars() -> None:
    found = {scenario.name: scenario for scenario in historical_scenarios()}
    # daily bars: BTC 7934.58 -> 4410.00, SOL 24.38 -> 12.37, ETH 4368.09 -> 3435.00; WBETH 4708.95 -> 430.65
    for name, coin, exact in [
        ("march-2020", "BTC", F("4410") / F("7934.58") - 1),
        ("november-2022", "SOL", F("12.37") / F("24.38") - 1),
        ("october-2025", "ETH", F("3435") / F("4368.09") - 1),
    ]:
        assert abs(F(found[name].moves[coin]) - exact) <= F(1, 20000)
    index = found["october-2025-index"].index_moves
    assert abs(F(index["WBETH"]) - (F("430.65") / F("4708.95") - 1)) <= F(1, 20000)
    assert index["USDE"] == D("-0.35")
    assert all(s.source and s.others is not None for s in found.values())


TABLE = "name,others,BTC,ETH,BTC@index\ncrash,-0.3,-0.2,,\ndepeg,,,,-0.5\n"


def test_a_table_of_scenarios(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "table.csv"
    path.write_text(TABLE)
    crash, gap = load_scenarios(str(path))
    assert crash == Scenario(name="crash", others="-0.3", moves={"BTC": "-0.2"})
    assert gap == Scenario(name="depeg", index_moves={"BTC": "-0.5"})
    toml = tmp_path / "table.toml"
    toml.write_text('[[scenarios]]\nname = "crash"\nothers = "-0.3"\nmoves = { BTC = -0.2 }\n')
    assert load_scenarios(str(toml)) == (crash,)

    # the same rows as a Parquet reader hands them over: binary floats and None
    class Table:
        def to_pylist(self) -> list[dict[str, object]]:
            return [{"name": "crash", "others": -0.3, "BTC": -0.2, "ETH": None}]

    parquet, arrow = ModuleType("pyarrow.parquet"), ModuleType("pyarrow")
    parquet.read_table = lambda _: Table()
    arrow.ArrowException, arrow.parquet = ValueError, parquet
    monkeypatch.setitem(sys.modules, "pyarrow", arrow)
    assert load_scenarios("table.parquet") == (crash,)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(cm.AccountError, match="pyarrow"):
        load_scenarios("table.parquet")


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("a.csv", "name,BTC\nx,-1\n", r"scenarios\[0\].moves.BTC: must be above -1"),
        ("a.csv", "name,BTC\nx,abc\n", r"scenarios\[0\].moves.BTC"),
        ("a.csv", "name,BTC\nx,-0.1\nx,-0.2\n", "stands more than once"),
        ("a.csv", "BTC\n-0.1\n", r"scenarios\[0\].name: is missing"),
        ("a.csv", "name,BTC\nx\n", "more or fewer fields"),
        ("a.toml", 'scenarios = [{ name = "x", move = { BTC = "-0.1" } }]\n', "not a known key"),
        ("a.json", "{}", "scenarios: is missing"),
    ],
)
def test_a_bad_scenario_file_names_the_place(tmp_path: Path, name: str, text: str, why: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(cm.AccountError, match=why):
        load_scenarios(str(path))


def test_a_list_of_which_every_item_is_wrong_is_not_called_empty_too(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text('scenarios = [{ name = "x", moves = { BTC = "-1" } }, { name = "y", moves = { BTC = "no" } }]\n')
    with pytest.raises(cm.AccountError) as found:
        load_scenarios(str(path))
    assert [fault.path for fault in found.value.faults] == ["scenarios[0].moves.BTC", "scenarios[1].moves.BTC"]
    path.write_text("scenarios = []\n")
    with pytest.raises(cm.AccountError, match="scenarios: is empty; give at least one"):
        load_scenarios(str(path))
    for steps, paths in ((("-1", "no"), ["steps[0]", "steps[1]"]), ((), ["steps"])):
        with pytest.raises(cm.AccountError) as found:
            Ladder(steps=steps)
        assert [fault.path for fault in found.value.faults] == paths


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("date,BTC\n2026-01-01,1\n2026-01-02,\n", "line 3.BTC: is not a price"),
        ("date,BTC\n2026-01-01,1\n2026-01-02,2\n2026-01-04,2\n", "line 4.date: follows 2026-01-02 by 2 days"),
        ("date,BTC\nyesterday,1\n", "line 2.date: must be an ISO date"),
        ("date\n2026-01-01\n", "names no coin"),
    ],
)
def test_a_history_with_gaps_is_refused(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "history.csv"
    path.write_text(text)
    with pytest.raises(cm.AccountError, match=why):
        load_history(str(path))


def test_one_venues_index_of_staked_collateral_liquidates_a_book_that_gains_from_the_day() -> None:
    """10 WBETH x 4530 x 0.9 x 0.0915 + 100 BNSOL x 240 x 0.9 x 0.1472 - (9900 - 3000) x 1.0001 = 9.285 of equity."""
    case = cm.load(str(Path(__file__).parents[2] / "examples" / "staked-collateral.toml"))
    after = {row.scenario: row for row in cm.stress(*case, cm.historical_scenarios())}
    assert after["october-2025"].status == "healthy"
    assert after["october-2025-index"].status == "liquidation"
    assert after["october-2025-index"].equity == Decimal("9.285")
