"""Slopes worked by hand."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

import crossmargin as cm
from crossmargin.analytics.sensitivity import Sensitivity, Slope, sensitivity

D, F = Decimal, Fraction
PLAIN = {"notional_floor": "0", "maintenance_rate": "0.005"}


def account(**changes: Any) -> Any:
    """3 BTC long at 60,000 on 1 BTC of collateral that counts 95 %."""
    raw = {
        "profile": "plain-cross",
        "as_of": "2026-11-20T08:00:00Z",
        "balances": {"BTC": "1"},
        "positions": [{"symbol": "BTC/USDT:USDT", "quantity": "3", "entry_price": "60000", "leverage": "10"}],
        "market": {"mark_price": {"BTC/USDT:USDT": "60000"}, "index_price": {"BTC": "60000"}},
        "instruments": [{"symbol": "BTC/USDT:USDT", "brackets": [PLAIN]}],
        "assets": [{"asset": "BTC", "collateral_ratio": "0.95"}],
    }
    return cm.case_from({**raw, **changes}, "account")


def slope(found: Sensitivity, kind: str, name: str) -> Slope:
    (row,) = [row for row in found.slopes if (row.kind, row.name) == (kind, name)]
    return row


def near(figure: D | None, exact: F) -> bool:
    return figure is not None and abs(F(figure) - exact) <= F(1, 10**30) * max(1, abs(exact))


def test_slopes_of_a_long_on_its_own_coin_as_collateral():
    """H = 0.95 B P + 3 (P - 60,000) - 0.005 x 3 P, derived by hand in each input at B = 1, P = 60,000."""
    found = sensitivity(*account(), volatility={"BTC": D("0.03")})
    by_hand = {
        ("coin", "BTC"): F("3.935"),  # 0.95 + 3 - 0.015
        ("mark_price", "BTC/USDT:USDT"): F("2.985"),  # 3 - 0.015
        ("index_price", "BTC"): F("0.95"),
        ("wallet_balance", "BTC"): F(57000),  # 0.95 P
        ("wallet_balance", "USDT"): F(1),
        ("collateral_ratio", "BTC"): F(60000),  # B P
        ("quantity", "BTC/USDT:USDT"): F(-300),  # (P - 60,000) - 0.005 P
        ("funding_rate", "BTC/USDT:USDT"): F(-180000),  # a long pays the rate on 3 P
    }
    assert {(row.kind, row.name) for row in found.slopes} == set(by_hand)
    for (kind, name), exact in by_hand.items():
        row = slope(found, kind, name)
        assert near(row.up, exact) and near(row.down, exact), (kind, name, row)
    # 1 % of 60,000 is 600: the coin takes 3.935 x 600 = 2,361; 3 % takes three times as much; worst first
    assert found.slopes[0].name == "BTC" and found.slopes[0].adverse == D("-2361")
    assert found.slopes[0].per_volatility == D("-7083")
    assert [row.adverse for row in found.slopes] == sorted(row.adverse for row in found.slopes)
    assert found.account_pool == "account" and found.notes == ()


def test_slopes_of_its_threshold():
    """T = q e / (r B + q (1 - m)) = 180,000 / 3.935; its derivatives by the quotient rule."""
    rows = {(row.kind, row.name): row for row in sensitivity(*account()).thresholds}
    below = F("3.935")
    by_hand = {
        ("wallet_balance", "BTC"): -F(180000) * F("0.95") / below**2,
        ("collateral_ratio", "BTC"): -F(180000) / below**2,
        ("quantity", "BTC/USDT:USDT"): F(60000) * F("0.95") / below**2,
        ("wallet_balance", "USDT"): -1 / below,
        ("funding_rate", "BTC/USDT:USDT"): 180000 / below,
    }
    for key, exact in by_hand.items():
        assert near(rows[key].up, exact) and near(rows[key].down, exact), (key, rows[key])
        assert rows[key].side == "below" and near(rows[key].price, 180000 / below)
    # the mark alone moves the basis: T = m s with 0.95 x 60,000 s + 2.985 m s = 180,000, so dT/dm at m = 60,000 is
    # s - 2.985 m s / (0.95 x 60,000 + 2.985 m) = s x 0.95 / 3.935
    s = F(180000) / below / 60000
    assert near(rows["mark_price", "BTC/USDT:USDT"].up, s * F("0.95") / below)
    # the coin as a whole is what the threshold is a price of: it does not move
    assert ("coin", "BTC") not in rows


def test_a_kink_has_two_slopes():
    """1 BTC at 50,000 stands on a floor: the bracket below charges 0.4 %, the one above 0.5 %."""
    brackets = [
        {"notional_floor": "0", "maintenance_rate": "0.004"},
        {"notional_floor": "50000", "maintenance_rate": "0.005"},
    ]
    case = account(
        balances={"USDT": "9000"},
        positions=[{"symbol": "BTC/USDT:USDT", "quantity": "1", "entry_price": "50000"}],
        market={"mark_price": {"BTC/USDT:USDT": "50000"}},
        instruments=[{"symbol": "BTC/USDT:USDT", "brackets": brackets}],
        assets=[],
    )
    found = sensitivity(*case)
    mark, quantity = slope(found, "mark_price", "BTC/USDT:USDT"), slope(found, "quantity", "BTC/USDT:USDT")
    assert (mark.up, mark.down) == (D("0.995"), D("0.996"))
    assert (quantity.up, quantity.down) == (D("-250"), D("-200"))
    # the long loses on the way down: 500 x 0.996; the quantity on the way up: 0.01 x 250
    assert (mark.adverse, quantity.adverse) == (D("-498"), D("-2.5"))


def test_a_switched_off_coin_and_a_debt_have_the_slopes_of_what_they_count_for():
    """Held and switched off: nothing. Owed: at par, and one coin less owed is worth its price."""
    off = sensitivity(*account(balances={"BTC": {"wallet_balance": "1", "use_as_collateral": False}, "USDT": "20000"}))
    assert not [row for row in off.slopes if row.kind == "index_price"]
    owed = sensitivity(*account(balances={"BTC": "-0.1", "USDT": "30000"}))
    assert slope(owed, "wallet_balance", "BTC").up == D(60000)
    assert slope(owed, "index_price", "BTC").up == D("-0.1")
    # nothing owed and nothing held: the first coin in counts 95 %, the first coin owed all
    edge = slope(sensitivity(*account(balances={"BTC": "0", "USDT": "30000"})), "wallet_balance", "BTC")
    assert (edge.up, edge.down) == (D(57000), D(60000))


def test_an_inverse_position_in_its_own_coin():
    """600 USD contracts of 100 USD short at 60,000 is 1 BTC: H = W + 60,000 (1/P - 1/60,000) - 0.004 x 60,000 / P.

    dH/dP = -60,000 x 0.996 / P^2.
    """
    case = cm.case_from(
        {
            "profile": "binance-coinm",
            "as_of": "2026-11-20T08:00:00Z",
            "balances": {"BTC": "1"},
            "positions": [{"symbol": "BTC/USD:BTC", "quantity": "-600", "entry_price": "60000", "leverage": "5"}],
            "market": {"mark_price": {"BTC/USD:BTC": "60000"}},
        },
        "account",
    )
    found = sensitivity(*case)
    assert near(slope(found, "mark_price", "BTC/USD:BTC").up, F(-60000) * F("0.996") / F(60000) ** 2)
    # one contract of 100 USD more (short: less short) frees 0.4 % of 100 / 60,000 BTC
    assert near(slope(found, "quantity", "BTC/USD:BTC").up, F(100, 60000) * F("0.004"))


def test_an_isolated_position_moves_its_own_pocket_only():
    case = account(
        balances={"USDT": "1000"},
        positions=[
            {"symbol": "BTC/USDT:USDT", "quantity": "0.1", "entry_price": "60000"},
            {
                "symbol": "BTC/USDT:USDT",
                "quantity": "-0.2",
                "entry_price": "60000",
                "margin_mode": "isolated",
                "isolated_margin": "900",
            },
        ],
    )
    found = sensitivity(*case)
    marks = {row.pool: row.up for row in found.slopes if row.kind == "mark_price"}
    # 0.1 - 0.0005 in the shared pool, -0.2 - 0.001 in the pocket
    assert marks == {"account": D("0.0995"), "BTC/USDT:USDT isolated": D("-0.201")}
    margins = {
        (row.kind, row.pool): row.up for row in found.slopes if row.kind in ("wallet_balance", "isolated_margin")
    }
    assert margins == {("wallet_balance", "account"): 1, ("isolated_margin", "BTC/USDT:USDT isolated"): 1}
    # headroom: 1,000 - 30 = 970 against 900 - 60 = 840
    assert found.account_pool == "BTC/USDT:USDT isolated"


def test_safe_leverage_by_hand():
    """After -10 %: 0.95 x 54,000 = 51,300 = N (0.1 + 0.005 x 0.9), so N = 51,300 / 0.1045.

    It relies on 57,000; one unit more of margin carries 1 / 0.1045 more, on a margin that is one larger.
    """
    (row,) = sensitivity(*account(), thresholds=()).safe_leverage
    notional = F(51300) / F("0.1045")
    assert row.move == D("-0.1") and row.margin == D(57000) and near(row.leverage, F(180000, 57000))
    assert near(row.safe_notional, notional) and near(row.safe_leverage, notional / 57000)
    assert near(row.per_margin, (1 / F("0.1045") - notional / 57000) / 57000)


def test_safe_leverage_falls_when_others_gain_and_brackets_rise():
    """Rates 0.5 % to 100,000 of notional, 2 % above (deduction 1,500); ETH stands beside with PnL g and 0.5 % of 3,000.

    After -10 % a size worth N now needs 0.1 N + 0.02 x 0.9 N - 1,500; it has M = 20,000 + g - 15.
    """
    brackets = [
        {"notional_floor": "0", "maintenance_rate": "0.005"},
        {"notional_floor": "100000", "maintenance_rate": "0.02"},
    ]

    def safe(eth_entry: str) -> Any:
        case = account(
            balances={"USDT": "20000"},
            positions=[
                {"symbol": "BTC/USDT:USDT", "quantity": "1", "entry_price": "60000"},
                {"symbol": "ETH/USDT:USDT", "quantity": "1", "entry_price": eth_entry},
            ],
            market={"mark_price": {"BTC/USDT:USDT": "60000", "ETH/USDT:USDT": "3000"}},
            instruments=[
                {"symbol": "BTC/USDT:USDT", "brackets": brackets},
                {"symbol": "ETH/USDT:USDT", "brackets": [PLAIN]},
            ],
            assets=[],
        )
        return next(r for r in sensitivity(*case, thresholds=()).safe_leverage if r.symbol.startswith("BTC"))

    flat, rich = safe("3000"), safe("2900")  # g = 0 and g = 100
    assert near(flat.safe_leverage, (F(19985) + 1500) / F("0.118") / 19985)
    assert near(rich.safe_leverage, (F(20085) + 1500) / F("0.118") / 20085)
    # L = (M + 1,500) / (0.118 M): dL/dM = -1,500 / (0.118 M^2)
    assert near(flat.per_margin, F(-1500) / F("0.118") / F(19985) ** 2)
    assert rich.safe_leverage < flat.safe_leverage


def test_safe_leverage_says_why_there_is_none():
    broken = account(
        balances={"USDT": "100"},
        positions=[
            {"symbol": "BTC/USDT:USDT", "quantity": "1", "entry_price": "60000"},
            {"symbol": "BTC/USDT:USDT-261225", "quantity": "1", "entry_price": "60000"},
        ],
        market={"mark_price": {"BTC/USDT:USDT": "60000", "BTC/USDT:USDT-261225": "60000"}},
        instruments=[{"symbol": s, "brackets": [PLAIN]} for s in ("BTC/USDT:USDT", "BTC/USDT:USDT-261225")],
        assets=[],
    )
    rows = sensitivity(*broken, thresholds=()).safe_leverage
    assert {row.note for row in rows} == {"the pool has no headroom without it"}
    assert {row.safe_leverage for row in rows} == {None}


def test_bad_questions():
    with pytest.raises(cm.AccountError, match=r"move: must be between 0 and 1"):
        sensitivity(*account(), move=D(10))
    with pytest.raises(cm.AccountError, match="known are BTC/USDT:USDT"):
        sensitivity(*account(), thresholds=["XRP/USDT:USDT"])


def test_an_oracle_price_that_is_missing_is_a_note():
    case = cm.case_from(
        {
            "profile": "hyperliquid",
            "as_of": "2026-11-20T08:00:00Z",
            "balances": {"USDC": "10000"},
            "positions": [{"symbol": "ETH/USDC:USDC", "quantity": "10", "entry_price": "3000", "leverage": "5"}],
            "market": {"mark_price": {"ETH/USDC:USDC": "3000"}},
        },
        "account",
    )
    found = sensitivity(*case)
    assert [note for note in found.notes if "market.index_price.ETH is missing" in note]
    assert not [row for row in found.slopes if row.kind == "funding_rate"]
