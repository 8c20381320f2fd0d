"""The nearest liquidating move against closed forms, brute force, and another formula for each probability."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import crossmargin as cm
from crossmargin.analytics.barrier import exit_probability, liquidation_probability
from crossmargin.analytics.compiled import compile_scenarios
from crossmargin.analytics.covariance import covariance_of, estimate_covariance
from crossmargin.analytics.reverse_stress import FAR, _Curve, reverse_stress
from crossmargin.engine.ray import Line, Ray

D, F = Decimal, Fraction
EXAMPLES = Path(__file__).parents[2] / "examples"


def example(name: str) -> cm.Case:
    return cm.load(str(EXAMPLES / f"{name}.toml"))


def normal(value: float) -> float:
    return 0.5 * math.erfc(-value / math.sqrt(2))


TWO = covariance_of(["BTC", "ETH"], [[0.0016, 0.0012], [0.0012, 0.0025]])
"""4 % and 5 % a day, correlation 0.6."""


# the nearest move -----------------------------------------------------------------------------------------------------


def test_one_half_space_in_closed_form() -> None:
    # headroom = 1955 + 4975 x + 3980 y; S b = (0.0016 x 4975 + 0.0012 x 3980, 0.0012 x 4975 + 0.0025 x 3980)
    # = (12.736, 15.92), b' S b = 126,723.2; distance 1955 / sqrt(126,723.2), move -1955 S b / b' S b
    found = reverse_stress(*example("article-2.1-cross"), TWO)
    assert (found.kind, found.pool, found.proved) == ("move", "account", True)
    assert float(found.distance or 0) == pytest.approx(1955 / math.sqrt(126_723.2), rel=1e-11)
    assert found.certified_bound == found.distance
    assert float(found.moves["BTC"]) == pytest.approx(-1955 * 12.736 / 126_723.2, rel=1e-11)
    assert float(found.moves["ETH"]) == pytest.approx(-1955 * 15.92 / 126_723.2, rel=1e-11)
    assert found.words == "BTC -19.6 %, ETH -24.6 %"
    assert abs(found.headroom or D(1)) < D("1e-6")


def test_the_nearest_of_several_pools() -> None:
    # pockets: BTC falls 675/4975 at 4 % a day, ETH 1280/3980 at 5 %; the first is nearer, and ETH goes along with it
    # by its regression 0.0012 / 0.0016
    found = reverse_stress(*example("article-2.1-isolated"), TWO)
    assert found.pool == "BTC/USDT:USDT isolated"
    assert float(found.distance or 0) == pytest.approx(675 / 4975 / 0.04, rel=1e-11)
    assert float(found.moves["ETH"]) == pytest.approx(-675 / 4975 * 0.75, rel=1e-11)


def test_already_and_never() -> None:
    three = covariance_of(["BTC", "ETH", "SOL"], np.eye(3) * 0.0016)
    found = reverse_stress(*example("article-3.1"), three)
    assert (found.kind, found.distance, found.certified_bound, found.headroom) == ("already", 0, 0, -500)
    # a long of 1 backed by twice its price: even a fall to nothing leaves more than it takes
    safe = reverse_stress(*small([("BTC", "1")], "240", [[(0, "0.01")]]), covariance_of(["BTC"], [[0.0004]]))
    assert (safe.kind, safe.distance, safe.moves) == ("never", None, {})
    assert safe.certified_bound == D(str(FAR))


def test_an_empty_pool_is_not_a_broken_one() -> None:
    # here each asset is a pool of its own; one with nothing in it has headroom 0 and is not liquidated
    case = example("hyperliquid")
    account = case.account.model_copy(update={"balances": {**case.account.balances, "BTC": cm.Balance()}})
    cov = covariance_of(["BTC", "ETH", "SOL", "HYPE"], np.eye(4) * 0.0016)
    assert reverse_stress(account, case.market, case.rules, cov) == reverse_stress(*case, cov)


def test_a_price_cannot_fall_to_nothing() -> None:
    # BTC long 1 at 100 on 120: BTC alone would have to fall 120 %, so a short of ETH that must rise makes up for it:
    # at BTC -100 % headroom is 20 (nothing kept there) - 51 y (0.5 lost, 1 % of 0.5 kept) - 0.5, zero at y = 19.5/50.5
    case = small([("BTC", "1"), ("ETH", "-0.5")], "120", [[(0, "0.01")], [(0, "0.01")]])
    apart = covariance_of(["BTC", "ETH"], [[4.0, 0.0], [0.0, 0.01]])
    found = reverse_stress(*case, apart)
    assert found.proved
    assert float(found.moves["BTC"]) > -1
    assert float(found.moves["BTC"]) == pytest.approx(-1, abs=1e-6)
    assert float(found.moves["ETH"]) == pytest.approx(19.5 / 50.5, rel=1e-6)


def small(positions: list[tuple[str, str]], usdt: str, tables: list[list[tuple[int, str]]]) -> Any:
    """Positions at 100 with their bracket tables, on a wallet."""
    symbols = [f"{coin}/USDT:USDT" for coin, _ in positions]
    return cm.case_from(
        {
            "profile": "plain-cross",
            "as_of": "2026-11-20T08:00:00Z",
            "balances": {"USDT": usdt},
            "positions": [
                {"symbol": s, "quantity": q, "entry_price": "100", "leverage": "5"}
                for s, (_, q) in zip(symbols, positions, strict=True)
            ],
            "market": {"mark_price": dict.fromkeys(symbols, "100")},
            "instruments": [
                {"symbol": s, "brackets": [{"notional_floor": str(f), "maintenance_rate": r} for f, r in table]}
                for s, table in zip(symbols, tables, strict=True)
            ],
        },
        "small",
    )


def drawn(random: np.random.Generator) -> tuple[Any, Any]:
    """A small account of two or three coins with brackets every few per cent, and a covariance."""
    count = int(random.integers(2, 4))
    coins = ["BTC", "ETH", "SOL"][:count]
    quantities = [round(float(random.choice([-1, 1]) * random.uniform(0.2, 5)), 3) for _ in coins]
    tables = []
    for quantity in quantities:
        floors = sorted({int(abs(quantity) * 100 * random.uniform(0.4, 1.8)) for _ in range(random.integers(1, 6))})
        rates = np.sort(random.uniform(0.004, 0.4, len(floors) + 1))
        tables.append([(f, f"{r:.4f}") for f, r in zip([0, *floors], rates, strict=True)])
    gross = sum(abs(q) * 100 for q in quantities)
    case = small(
        [(c, str(q)) for c, q in zip(coins, quantities, strict=True)], f"{gross * random.uniform(0.3, 0.9):.2f}", tables
    )
    mixed = random.normal(size=(count, count + 1))
    return case, covariance_of(coins, mixed @ mixed.T * random.uniform(0.005, 0.05) ** 2)


def test_brute_force_finds_nothing_nearer() -> None:
    """Dense points inside the certified ellipsoid never liquidate, and the move found does: 200 random accounts."""
    random = np.random.default_rng(20260)
    moves = bent = 0
    for _ in range(200):
        case, covariance = drawn(random)
        found = reverse_stress(*case, covariance)
        assert found.proved
        compiled = compile_scenarios(cm.prepare(*case, number=float), coins=covariance.coins)
        values, vectors = np.linalg.eigh(covariance.matrix)
        root = vectors * np.sqrt(np.maximum(values, 0))
        sphere = random.normal(size=(2000, len(values)))
        sphere /= np.linalg.norm(sphere, axis=1)[:, np.newaxis]
        radius = float(found.certified_bound) * np.repeat([1 - 1e-9, 0.98, 0.8, 0.4], 500)[:, np.newaxis]
        inside = (sphere * radius) @ root.T
        inside = inside[(inside > -1).all(axis=1)]
        scale = 1e-9 * float(sum(abs(p.quantity) for p in case.account.positions) * 100)
        if len(inside) and found.kind != "already":
            assert compiled(inside).min() >= -scale
        if found.kind == "move":
            moves += 1
            bent += found.examined > 1
            assert abs(float(found.headroom or 1)) <= scale
            move = np.array([float(found.moves[coin]) for coin in covariance.coins])
            distance = math.sqrt(move @ np.linalg.solve(covariance.matrix, move))
            assert distance == pytest.approx(float(found.distance or 0), rel=1e-6)
    assert moves > 120
    assert bent > 40  # brackets were in reach, so boxes had to be cut


def test_a_move_at_the_floor_of_prices_is_found_and_proved_in_a_few_boxes() -> None:
    """Three longs and a covariance that is nearly singular: the nearest move has BTC at nothing, 38 deviations away.

    Where BTC has lost everything, ETH and SOL move along the boundary only; the move must meet the conditions of the
    nearest point: S^-1 x is a multiple of the slope there, but for BTC, which the floor holds.
    """
    tables = {
        "BTC": [("0", "0.0637"), ("316", "0.1521")],
        "ETH": [("0", "0.0913"), ("58", "0.0961"), ("91", "0.1649"), ("128", "0.1695"), ("153", "0.2408"),
                ("234", "0.3724")],
        "SOL": [("0", "0.0403"), ("91", "0.3670")],
    }  # fmt: skip
    sizes = {"BTC": "3.881", "ETH": "1.378", "SOL": "0.723"}
    case = cm.case_from(
        {
            "profile": "plain-cross",
            "as_of": "2026-11-20T08:00:00Z",
            "balances": {"USDT": "464.53"},
            "positions": [
                {"symbol": f"{coin}/USDT:USDT", "quantity": size, "entry_price": "100"} for coin, size in sizes.items()
            ],
            "market": {"mark_price": {f"{coin}/USDT:USDT": "100" for coin in sizes}},
            "instruments": [
                {
                    "symbol": f"{coin}/USDT:USDT",
                    "brackets": [{"notional_floor": floor, "maintenance_rate": rate} for floor, rate in table],
                }
                for coin, table in tables.items()
            ],
        },
        "floor",
    )
    matrix = [
        [0.003009692239673392, -0.002385605886565439, 0.001550388853560571],
        [-0.002385605886565439, 0.0036700805585402783, -0.0021870228791481604],
        [0.001550388853560571, -0.0021870228791481604, 0.0013288109896582817],
    ]
    found = reverse_stress(*case, covariance_of(["BTC", "ETH", "SOL"], matrix))
    assert (found.kind, found.proved) == ("move", True)
    assert found.examined < 50
    assert abs(found.headroom or D(1)) < D("1e-6")
    move = np.array([float(found.moves[coin]) for coin in ("BTC", "ETH", "SOL")])
    assert move[0] == pytest.approx(-1, abs=1e-8)
    pull = np.linalg.solve(np.array(matrix), move)
    assert float(found.distance or 0) == pytest.approx(math.sqrt(move @ pull), rel=1e-6)
    # there ETH is worth 52.79 and SOL 89.3, each in its first bracket: slopes 137.8 x (1 - 0.0913), 72.3 x (1 - 0.0403)
    assert pull[1] / pull[2] == pytest.approx(137.8 * (1 - 0.0913) / (72.3 * (1 - 0.0403)), rel=1e-6)
    # the floor of BTC holds it back: without it, it would fall further along the same slope
    assert pull[0] > pull[1] / (137.8 * (1 - 0.0913)) * (388.1 * (1 - 0.0637))


def test_every_coin_needs_its_risk() -> None:
    with pytest.raises(cm.AccountError, match="ETH: has no row in the covariance"):
        reverse_stress(*example("article-2.1-cross"), covariance_of(["BTC"], [[0.0016]]))
    found = reverse_stress(*example("bybit-uta"), covariance_of(["BTC", "ETH", "SOL", "ADA"], np.eye(4) * 0.0016))
    assert found.notes == ("USDT stands still: the covariance does not name it",)


def test_a_search_cut_short_claims_less() -> None:
    case = small(
        [("BTC", "5"), ("ETH", "-5"), ("SOL", "5")],
        "500",
        [[(0, "0.01"), *((250 + 25 * k, f"{0.02 + 0.02 * k:.2f}") for k in range(20))] for _ in range(3)],
    )
    covariance = covariance_of(["BTC", "ETH", "SOL"], np.eye(3) * 0.0016)
    whole, cut = reverse_stress(*case, covariance), reverse_stress(*case, covariance, most_boxes=1)
    assert whole.proved
    assert not cut.proved
    assert cut.certified_bound < (whole.distance or D(0))
    assert cut.distance is not None
    assert cut.certified_bound < cut.distance


def test_a_search_cut_short_without_an_answer_is_unknown_not_never() -> None:
    random = np.random.default_rng(7)
    kinds = []
    for _ in range(120):
        case, covariance = drawn(random)
        cut = reverse_stress(*case, covariance, most_boxes=1)
        kinds.append(cut.kind)
        if cut.kind == "unknown":
            whole = reverse_stress(*case, covariance)
            assert (cut.distance, cut.proved) == (None, False)
            assert cut.certified_bound < D(str(FAR))
            assert cut.certified_bound <= (whole.distance or D(str(FAR)))
    assert {"unknown", "never", "move"} <= set(kinds)


def test_the_line_below_a_term_is_below_it_where_it_is_convex_or_jumps() -> None:
    def convex(point: float, direction: int) -> Ray:  # 1 / (1 + s), an inverse short in its own coin
        return Ray(0.0, 0.0, Line(point, direction, track=True), (0.0, ((1.0, 1.0),)))

    def jumping(point: float, direction: int) -> Ray:  # 1 up to 0.3, there down to 0.2 and up again with slope 1
        line = Line(point, direction, track=True)
        line.kink(0.3)
        beyond = point > 0.3 or (point == 0.3 and direction > 0)
        return Ray(-0.1, 1.0, line) if beyond else Ray(1.0, 0.0, line)

    for function, value in ((convex, lambda x: 1 / (1 + x)), (jumping, lambda x: 1.0 if x <= 0.3 else x - 0.1)):
        curve = _Curve(function, -0.9, 2.0)
        for low, high in ((-0.9, 2.0), (-0.5, 0.31), (0.1, 0.9)):
            line = curve.below(low, high)
            slack = [value(x) - line.offset - line.slope * x for x in np.linspace(low, high, 4001)]
            assert -1e-12 <= min(slack) <= 0.002  # below everywhere, and as high as it may be


# covariance -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("matrix", "why"),
    [
        ([[1.0, 2.0], [2.0, 1.0]], "positive semi-definite"),  # eigenvalue -1
        ([[1.0, 0.5], [0.4, 1.0]], "symmetric"),
        ([[1.0, math.nan], [math.nan, 1.0]], "finite"),
        ([[1.0]], "2 rows and columns"),
    ],
)
def test_a_matrix_that_is_no_covariance(matrix: list[list[float]], why: str) -> None:
    with pytest.raises(cm.AccountError, match=why):
        covariance_of(["BTC", "ETH"], matrix)


def test_ledoit_wolf_from_the_definition() -> None:
    """The estimate beside the sums of the paper, written out in fractions."""
    prices = {"A": [100, 110, 99, 120], "B": [50, 51, 55, 54]}
    rows = [[F(prices[c][k + 1], prices[c][k]) - 1 for c in "AB"] for k in range(3)]
    means = [sum(row[i] for row in rows) / 3 for i in (0, 1)]
    x = [[row[i] - means[i] for i in (0, 1)] for row in rows]
    s = [[sum(row[i] * row[j] for row in x) / 3 for j in (0, 1)] for i in (0, 1)]
    m = (s[0][0] + s[1][1]) / 2

    def square(a: list[list[F]]) -> F:
        return sum(a[i][j] ** 2 for i in (0, 1) for j in (0, 1)) / 2

    d2 = square([[s[i][j] - (m if i == j else 0) for j in (0, 1)] for i in (0, 1)])
    b2 = sum(square([[row[i] * row[j] - s[i][j] for j in (0, 1)] for i in (0, 1)]) for row in x) / 9
    share = min(F(1), b2 / d2)
    found = estimate_covariance(prices)
    assert found.shrinkage == pytest.approx(float(share), rel=1e-12)
    assert found.matrix[0, 1] == pytest.approx(float((1 - share) * s[0][1]), rel=1e-12)
    assert found.matrix[0, 0] == pytest.approx(float((1 - share) * s[0][0] + share * m), rel=1e-12)
    assert (found.coins, found.days) == (("A", "B"), 3)


@pytest.mark.parametrize(
    ("history", "why"),
    [
        ({"A": [1.0, math.nan, 2.0, 3.0]}, r"history.A\[1\]: has no positive price in 1 of 4 rows"),
        ({"A": [1.0, 0.0, 2.0, 3.0]}, r"history.A\[1\]"),
        ({"A": [1.0, 2.0, 3.0], "B": [1.0, 2.0]}, "differ in length"),
        ({"A": [1.0, 2.0]}, "at least three days"),
        ({}, "at least three days"),
    ],
)
def test_a_history_that_cannot_be_used(history: dict[str, list[float]], why: str) -> None:
    with pytest.raises(cm.AccountError, match=why):
        estimate_covariance(history)


# probabilities --------------------------------------------------------------------------------------------------------


def test_leaving_an_interval_by_another_formula() -> None:
    """The images of the code beside the eigenfunctions of the same problem: two series with nothing in common."""
    for a, b in [(1.0, 1.0), (0.3, 2.0), (2.0, 0.7), (1.5, 1.1)]:
        stays = sum(
            4 / (k * math.pi) * math.sin(k * math.pi * a / (a + b)) * math.exp(-((k * math.pi / (a + b)) ** 2) / 2)
            for k in range(1, 400, 2)
        )
        assert exit_probability(a, b, 1.0) == pytest.approx(1 - stays, abs=1e-12)
    assert exit_probability(1.0, 40.0, 1.0) == pytest.approx(2 * normal(-1), rel=1e-12)


def test_one_driver_is_the_reflection_principle() -> None:
    # liquidated 23.76 % down and never up; 3 % a day for 16 days is 12 %
    case = example("unified-btc-collateral")
    found = liquidation_probability(*case, covariance_of(["BTC"], [[0.0009]]), horizon_days=D(16))
    down = float(cm.threshold(*case).thresholds[0].below.distance or 0)
    assert found.method == "exact"
    assert float(found.probability) == pytest.approx(2 * normal(down / 0.12), rel=1e-9)
    assert found.low == found.high == found.probability


def test_simulation_agrees_with_the_half_space() -> None:
    """Two coins, one straight boundary: with normal moves the chance is 2 N(-d / sqrt(days)), whatever the steps."""
    case = example("article-2.1-cross")
    exact = 2 * normal(-1955 / math.sqrt(126_723.2) / math.sqrt(9))
    found = liquidation_probability(*case, TWO, horizon_days=D(9), paths=40_000, seed=3)
    assert found.method == "simulated"
    assert float(found.nearest) == pytest.approx(exact, rel=1e-9)
    assert abs(float(found.probability) - exact) <= 1.5 * (float(found.high) - float(found.low)) / 2
    again = liquidation_probability(*case, TWO, horizon_days=D(9), paths=40_000, seed=3)
    assert again == found


def test_heavy_tails_are_a_mixture_of_normals() -> None:
    """Student-t with 4 degrees: the normal chance averaged over variances 2 / chi2(4), integrated on a grid."""
    case = example("article-2.1-cross")
    distance = 1955 / math.sqrt(126_723.2) / math.sqrt(9)
    # chi2(4) has density x exp(-x / 2) / 4
    step = 0.001
    exact = sum(
        2 * normal(-distance / math.sqrt(2 / x)) * x * math.exp(-x / 2) / 4 * step
        for x in (step * (k + 0.5) for k in range(60_000))
    )
    found = liquidation_probability(*case, TWO, horizon_days=D(9), degrees_of_freedom=D(4), paths=40_000, seed=5)
    assert abs(float(found.probability) - exact) <= 1.5 * (float(found.high) - float(found.low)) / 2


def test_what_no_path_did_is_not_impossible() -> None:
    calm = covariance_of(["BTC", "ETH"], np.array([[0.0016, 0.0012], [0.0012, 0.0025]]) / 100)
    found = liquidation_probability(*example("article-2.1-cross"), calm, horizon_days=D(1), paths=1000)
    assert found.high >= D("0.003")  # the rule of three
    assert any("too rare for 1000 paths" in note for note in found.notes)


def test_broken_now_is_certain() -> None:
    three = covariance_of(["BTC", "ETH", "SOL"], np.eye(3) * 0.0016)
    assert liquidation_probability(*example("article-3.1"), three, horizon_days=D(1)).probability == 1


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"horizon_days": D(0)}, "horizon_days: must be above 0"),
        ({"horizon_days": D(-1)}, "horizon_days"),
        ({"horizon_days": D(1), "degrees_of_freedom": D(2)}, "degrees_of_freedom: must be above 2"),
        ({"horizon_days": D(1), "paths": 1}, "paths"),
    ],
)
def test_a_question_out_of_range(given: dict[str, Any], why: str) -> None:
    with pytest.raises(cm.AccountError, match=why):
        liquidation_probability(*example("article-2.1-cross"), TWO, **given)


def test_an_inverse_long_in_the_coin_breaks_where_its_threshold_is() -> None:
    """A bracket edge close to price zero is not missed: 0.0990909 + 10 (1/71.28 - 1/p) = 0.04/p, so p = 41.94."""
    edges = ("0", "10", "520", "530")
    rates = ("0.004", "0.004", "0.005", "0.005")
    found = cm.case_from(
        {
            "profile": "binance-coinm",
            "as_of": "2026-11-20T08:00:00Z",
            "instruments": [
                {
                    "symbol": "SOL/USD:SOL",
                    "contract_size": "10",
                    "brackets": [
                        {"notional_floor": edge, "maintenance_rate": rate}
                        for edge, rate in zip(edges, rates, strict=True)
                    ],
                }
            ],
            "positions": [{"symbol": "SOL/USD:SOL", "quantity": "1", "entry_price": "71.28", "leverage": "1"}],
            "balances": {"SOL": "0.0990909"},
            "market": {"mark_price": {"SOL/USD:SOL": "89.1"}},
        },
        "inverse",
    )
    nearest = reverse_stress(*found, covariance_of(["SOL"], [[0.0082]]))
    price = 10.04 / (0.0990909 + 10 / 71.28)
    assert abs(float(nearest.moves["SOL"]) - (price / 89.1 - 1)) < 1e-8  # the move is certified to eight digits
