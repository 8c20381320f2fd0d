"""Tier and collateral tables from venues' answers into a profile of one's own, and what is refused on the way."""

import json
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from crossmargin.apps.cli import app
from crossmargin.errors import AccountError, CrossmarginError, ProfileError
from crossmargin.files.profiles import load_profile
from crossmargin.files.tier_tables import read_collateral, read_tiers

Rows = list[tuple[str, str, str | None]]


def _rows(payload: Any, symbol: str) -> Rows:
    (table,) = (table for table in read_tiers(payload, "answer") if table.symbol == symbol)
    return [
        (f"{t.floor.normalize():f}", str(t.rate), None if t.max_leverage is None else f"{t.max_leverage:f}")
        for t in table.tiers
    ]


# the figures of BTCUSDT on 2024-10-24 and of BTCUSDT risk limits on 2026-08-05, as public snapshots have them
BINANCE = [
    {
        "symbol": "BTCUSDT",
        "brackets": [
            {
                "bracket": 1,
                "initialLeverage": 125,
                "notionalFloor": 0,
                "notionalCap": 50000,
                "maintMarginRatio": "0.004",
                "cum": "0.0",
            },
            {
                "bracket": 2,
                "initialLeverage": 100,
                "notionalFloor": 50000,
                "notionalCap": 600000,
                "maintMarginRatio": "0.005",
                "cum": "50.0",
            },
            {
                "bracket": 3,
                "initialLeverage": 75,
                "notionalFloor": 600000,
                "notionalCap": 3000000,
                "maintMarginRatio": "0.0065",
                "cum": "950.0",
            },
        ],
    }
]


def _bybit(cap: str, rate: str, initial: str, leverage: str, deduction: str) -> dict[str, str]:
    return {
        "symbol": "BTCUSDT",
        "riskLimitValue": cap,
        "maintenanceMargin": rate,
        "initialMargin": initial,
        "maxLeverage": leverage,
        "mmDeduction": deduction,
    }


BYBIT = {
    "retCode": 0,
    "result": {
        "category": "linear",
        "list": [
            _bybit("2000000", "0.005", "0.01", "100.00", ""),
            _bybit("2600000", "0.0056", "0.0111", "90.00", "1200"),
            _bybit("3200000", "0.0063", "0.0125", "80.00", "3020"),
        ],
    },
}

SHAPES: list[tuple[str, Any, str, Rows]] = [
    (
        "binance",
        BINANCE,
        "BTC/USDT:USDT",
        [("0", "0.004", "125"), ("50000", "0.005", "100"), ("600000", "0.0065", "75")],
    ),
    (
        "bybit",
        BYBIT,
        "BTC/USDT:USDT",
        [("0", "0.005", "100.00"), ("2000000", "0.0056", "90.00"), ("2600000", "0.0063", "80.00")],
    ),
    (
        "client",
        {
            "BTC/USDT:USDT": [
                {
                    "minNotional": 0.0,
                    "maxNotional": 50000.0,
                    "maintenanceMarginRate": 0.004,
                    "maxLeverage": 125.0,
                    "info": {},
                },
                {
                    "minNotional": 50000.0,
                    "maxNotional": 600000.0,
                    "maintenanceMarginRate": 0.005,
                    "maxLeverage": 100.0,
                    "info": {},
                },
            ]
        },
        "BTC/USDT:USDT",
        [("0", "0.004", "125.0"), ("50000", "0.005", "100.0")],
    ),
    (
        "okx, counted in contracts from 1 after the cap before",
        {
            "code": "0",
            "data": [
                {
                    "instFamily": "ETH-USDT",
                    "minSz": "0",
                    "maxSz": "3000",
                    "mmr": "0.004",
                    "imr": "0.008",
                    "maxLever": "125",
                },
                {
                    "instFamily": "ETH-USDT",
                    "minSz": "3001",
                    "maxSz": "6000",
                    "mmr": "0.005",
                    "imr": "0.01",
                    "maxLever": "100",
                },
            ],
        },
        "ETH/USDT:USDT",
        [("0", "0.004", "125"), ("3000", "0.005", "100")],
    ),
    (
        "hyperliquid, a margin table and a coin with one tier",
        {
            "universe": [
                {"name": "BTC", "maxLeverage": 40, "marginTableId": 56},
                {"name": "IMX", "maxLeverage": 5, "marginTableId": 5},
            ],
            "marginTables": [
                [
                    56,
                    {
                        "marginTiers": [
                            {"lowerBound": "0.0", "maxLeverage": 40},
                            {"lowerBound": "150000000.0", "maxLeverage": 20},
                        ]
                    },
                ]
            ],
        },
        "BTC/USDC:USDC",
        [("0", "None", "40"), ("150000000", "None", "20")],
    ),
    (
        "gate",
        [
            {
                "contract": "BTC_USDT",
                "risk_limit": "1000000",
                "initial_rate": "0.008",
                "maintenance_rate": "0.004",
                "leverage_max": "125",
            },
            {
                "contract": "BTC_USDT",
                "risk_limit": "2000000",
                "initial_rate": "0.01",
                "maintenance_rate": "0.005",
                "leverage_max": "100",
            },
        ],
        "BTC/USDT:USDT",
        [("0", "0.004", "125"), ("1000000", "0.005", "100")],
    ),
    (
        "kucoin",
        {
            "code": "200000",
            "data": [
                {
                    "symbol": "XBTUSDTM",
                    "minRiskLimit": 0,
                    "maxRiskLimit": 500000,
                    "maxLeverage": 100,
                    "initialMargin": "0.01",
                    "maintainMargin": "0.005",
                },
                {
                    "symbol": "XBTUSDTM",
                    "minRiskLimit": 500000,
                    "maxRiskLimit": 1000000,
                    "maxLeverage": 75,
                    "initialMargin": "0.013",
                    "maintainMargin": "0.007",
                },
            ],
        },
        "BTC/USDT:USDT",
        [("0", "0.005", "100"), ("500000", "0.007", "75")],
    ),
    (
        "mexc, brackets that grow by steps",
        {
            "success": True,
            "code": 0,
            "data": {
                "symbol": "BTC_USDT",
                "contractSize": "0.0001",
                "maintenanceMarginRate": "0.0015",
                "initialMarginRate": "0.0025",
                "riskBaseVol": 15000,
                "riskIncrVol": 200000,
                "riskIncrMmr": "0.005",
                "riskIncrImr": "0.008",
                "riskLevelLimit": 3,
                "riskLimitType": "BY_VOLUME",
                "riskLimitMode": "INCREASE",
            },
        },
        "BTC/USDT:USDT",
        [("0", "0.0015", None), ("15000", "0.0065", None), ("215000", "0.0115", None)],
    ),
]


@pytest.mark.parametrize(("payload", "symbol", "rows"), [case[1:] for case in SHAPES], ids=[case[0] for case in SHAPES])
def test_every_shape_of_a_tier_table(payload: Any, symbol: str, rows: Rows) -> None:
    assert _rows(payload, symbol) == rows


def test_rates_in_per_cent_are_told_by_the_leverage_beside_them() -> None:
    """Bybit has written 0.5 for half a per cent: 1 % initial is 1 / 100 only as per cent."""
    percent = json.loads(json.dumps(BYBIT))
    for row in percent["result"]["list"]:
        row["maintenanceMargin"] = str(Decimal(row["maintenanceMargin"]) * 100)
        row["initialMargin"] = str(Decimal(row["initialMargin"]) * 100)
    assert [Decimal(rate) for _, rate, _ in _rows(percent, "BTC/USDT:USDT")] == [
        Decimal(rate) for _, rate, _ in _rows(BYBIT, "BTC/USDT:USDT")
    ]
    percent["result"]["list"][0]["initialMargin"] = "0.3"
    with pytest.raises(AccountError, match=r"is neither 1 / 100\.00 nor that in per cent"):
        read_tiers(percent, "answer")


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("notionalFloor", 60000, "has a gap between 50000 and 60000"),
        ("notionalFloor", 40000, "overlaps: 40000 lies below the cap 50000"),
        ("maintMarginRatio", None, "maintMarginRatio: is missing or null"),
        ("maintMarginRatio", "half", "must be a plain number"),
    ],
)
def test_a_table_with_a_hole_is_refused(field: str, value: Any, why: str) -> None:
    payload = json.loads(json.dumps(BINANCE))
    payload[0]["brackets"][1][field] = value
    with pytest.raises(AccountError, match=why):
        read_tiers(payload, "answer")


def test_a_table_that_does_not_begin_at_0_is_refused() -> None:
    payload = json.loads(json.dumps(BINANCE))
    del payload[0]["brackets"][0]
    with pytest.raises(AccountError, match="starts at 50000, not at 0"):
        read_tiers(payload, "answer")


@pytest.mark.parametrize("payload", [{}, [], {"data": []}, "text", None, {"code": "1", "data": [{"x": 1}]}])
def test_what_is_no_table_is_refused_with_the_shapes_that_are(payload: Any) -> None:
    with pytest.raises(AccountError, match="Binance leverageBracket"):
        read_tiers(payload, "answer")
    with pytest.raises(AccountError, match="Gate currency_discount_tiers"):
        read_collateral(payload, "answer")


COLLATERAL: list[tuple[Any, list[tuple[str, str, str | None]]]] = [
    ([{"symbol": "ADAUSD", "index": "1.9", "bidBuffer": "0.1", "askBuffer": "0.1"}], [("ADA", "0", None)]),
    ([{"asset": "BTC", "collateralRate": "0.95"}], [("BTC", "0", "0.95")]),
    (
        [
            {
                "asset": "BNX",
                "collateralInfo": [
                    {"tierFloor": "0", "tierCap": "13", "collateralRate": "1"},
                    {"tierFloor": "13", "collateralRate": "0.975"},
                ],
            }
        ],
        [("BNX", "0", "1"), ("BNX", "13", "0.975")],
    ),
    (
        {
            "retCode": 0,
            "result": {
                "list": [
                    {
                        "currency": "BTC",
                        "collateralRatioList": [
                            {"minQty": "0", "maxQty": "10", "collateralRatio": "0.98"},
                            {"minQty": "10", "collateralRatio": "0.95"},
                        ],
                    }
                ]
            },
        },
        [("BTC", "0", "0.98"), ("BTC", "10", "0.95")],
    ),
    (
        {
            "code": "0",
            "data": [
                {
                    "ccy": "BTC",
                    "details": [
                        {"minAmt": "0", "maxAmt": "20", "discountRate": "0.98"},
                        {"minAmt": "20", "maxAmt": "", "discountRate": "0.975"},
                    ],
                }
            ],
        },
        [("BTC", "0", "0.98"), ("BTC", "20", "0.975")],
    ),
    (
        [
            {
                "currency": "ETH",
                "discount_tiers": [
                    {"tier": "1", "discount": "0.95", "lower_limit": "0", "upper_limit": "100"},
                    {"tier": "2", "discount": "0.9", "lower_limit": "100", "upper_limit": "+"},
                ],
            }
        ],
        [("ETH", "0", "0.95"), ("ETH", "100", "0.9")],
    ),
]


@pytest.mark.parametrize(("payload", "rows"), COLLATERAL)
def test_every_shape_of_a_collateral_table(payload: Any, rows: list[tuple[str, str, str | None]]) -> None:
    found = [
        (r.asset, str(r.floor), None if r.ratio is None else str(r.ratio)) for r in read_collateral(payload, "answer")
    ]
    assert found == rows


# a profile of one's own -----------------------------------------------------------------------------------------------


def _run(*arguments: str, folder: Path | None = None) -> Any:
    environment = {} if folder is None else {"CROSSMARGIN_VENUES": str(folder)}
    return CliRunner().invoke(app, [*arguments], env=environment)


def _answer(folder: Path, payload: Any) -> str:
    path = folder / "answer.json"
    path.write_text(json.dumps(payload))
    return str(path)


def _account(folder: Path) -> str:
    path = folder / "account.toml"
    path.write_text(
        """
        profile = "binance-usdm"
        as_of = 2026-11-22T00:00:00Z
        balances = { USDT = "100000" }
        positions = [ { symbol = "BTC/USDT:USDT", quantity = "10", entry_price = "90000", leverage = "20" } ]
        market.mark_price = { "BTC/USDT:USDT" = "90000" }
        """
    )
    return str(path)


def test_an_imported_table_judges_an_account(tmp_path: Path) -> None:
    """900,000 in the imported third bracket: 0.65 % less 950 = 4,900."""
    venues = tmp_path / "venues"
    arguments = ["--from", _answer(tmp_path, BINANCE), "--on", "2026-11-20"]
    done = _run("import-tiers", "binance-usdm", *arguments, folder=venues)
    assert done.exit_code == 0, done.output
    judged = _run("evaluate", _account(tmp_path), "--profile", "binance-usdm-own", "--json", folder=venues)
    report = json.loads(judged.stdout)
    assert Decimal(report["maintenance_margin"]) == 4900
    assert report["rules_since"] == "2026-11-20"
    own = _run("evaluate", _account(tmp_path), "--json", folder=venues)
    assert Decimal(json.loads(own.stdout)["maintenance_margin"]) != 4900


def test_before_the_import_and_for_other_contracts_the_profile_below_holds(tmp_path: Path) -> None:
    _run(
        "import-tiers",
        "binance-usdm",
        "--from",
        _answer(tmp_path, BINANCE),
        "--out",
        str(tmp_path),
        "--on",
        "2026-11-20",
    )
    mine, base = load_profile(str(tmp_path / "binance-usdm-own.toml")), load_profile("binance-usdm")
    before, after = "2026-11-19", "2026-11-21"
    assert mine.on(date.fromisoformat(before)).brackets == base.on(date.fromisoformat(before)).brackets
    now, then = mine.on(date.fromisoformat(after)), base.on(date.fromisoformat(after))
    assert len(now.brackets["BTC/USDT:USDT"]) == 3
    assert now.brackets["ETH/USDT:USDT"] == then.brackets["ETH/USDT:USDT"]
    assert now.slots == then.slots
    assert now.profile == "binance-usdm-own"
    assert now.row_sources["BTC/USDT:USDT"] == {"brackets-2026-11-20"}


def test_tiers_and_collateral_and_a_later_import_stand_in_one_profile(tmp_path: Path) -> None:
    out = ["--out", str(tmp_path)]
    base = "bybit-uta"
    collateral = {"result": {"list": [{"currency": "BTC", "collateralRatio": "0.9"}]}, "retCode": 0}
    later = json.loads(json.dumps(BYBIT))
    later["result"]["list"] = later["result"]["list"][:2]
    assert _run("import-tiers", base, "--from", _answer(tmp_path, BYBIT), *out, "--on", "2026-10-01").exit_code == 0
    assert (
        _run("import-collateral", base, "--from", _answer(tmp_path, collateral), *out, "--on", "2026-10-01").exit_code
        == 0
    )
    assert _run("import-tiers", base, "--from", _answer(tmp_path, later), *out, "--on", "2026-11-01").exit_code == 0
    profile = load_profile(str(tmp_path / "bybit-uta-own.toml"))
    first, second = profile.on(date(2026, 10, 15)), profile.on(date(2026, 11, 15))
    assert [len(rules.brackets["BTC/USDT:USDT"]) for rules in (first, second)] == [3, 2]
    for rules in (first, second):
        assert rules.assets["BTC"].tiers is not None
        assert [tier.collateral_ratio for tier in rules.assets["BTC"].tiers] == [Decimal("0.9")]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (("cum", "951"), "makes the requirement jump at 600000; continuity asks for 950"),
        (("maintMarginRatio", "0.001"), "falls|jump"),
    ],
)
def test_deductions_and_rates_that_do_not_fit_are_refused_and_nothing_is_written(
    tmp_path: Path, change: tuple[str, str], why: str
) -> None:
    payload = json.loads(json.dumps(BINANCE))
    payload[0]["brackets"][2][change[0]] = change[1]
    done = _run("import-tiers", "binance-usdm", "--from", _answer(tmp_path, payload), "--out", str(tmp_path / "v"))
    assert isinstance(done.exception, CrossmarginError)
    assert done.exception.exit_code == 2
    assert any(word in str(done.exception) for word in why.split("|"))
    assert not list((tmp_path).glob("v/*"))


def test_a_falling_rate_without_deductions_is_refused_by_the_profile_itself(tmp_path: Path) -> None:
    payload = json.loads(json.dumps(BINANCE))
    for bracket, rate in zip(payload[0]["brackets"], ("0.004", "0.005", "0.0045"), strict=True):
        bracket["maintMarginRatio"] = rate
        del bracket["cum"]
    done = _run("import-tiers", "binance-usdm", "--from", _answer(tmp_path, payload), "--out", str(tmp_path / "v"))
    assert isinstance(done.exception, ProfileError)
    assert "maintenance_rate falls from 0.005 to 0.0045" in str(done.exception)
    assert not list((tmp_path).glob("v/*"))


def test_a_table_in_contracts_does_not_fit_rules_in_value(tmp_path: Path) -> None:
    mexc = SHAPES[-1][1]
    done = _run("import-tiers", "binance-usdm", "--from", _answer(tmp_path, mexc), "--out", str(tmp_path / "v"))
    assert "counts contracts, and the rules of binance-usdm count notional" in str(done.exception)


def test_a_folder_must_be_named(tmp_path: Path) -> None:
    done = CliRunner().invoke(
        app, ["import-tiers", "binance-usdm", "--from", _answer(tmp_path, BINANCE)], env={"CROSSMARGIN_VENUES": ""}
    )
    assert "CROSSMARGIN_VENUES" in str(done.exception)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('id = "x"\nbased_on = "no-such"', "is not known"),
        ('id = "x"\nbased_on = "binance-usdm"\nvenue = "mine"', "venue: is not a known key"),
        ('id = "y"\nbased_on = "binance-usdm"', "must be the file's name, x"),
        (
            'id = "x"\nbased_on = "binance-usdm"\n[[revisions]]\nfrom = 2001-01-01',
            "not before the other profile's first",
        ),
        ('id = "x"\nbased_on = "binance-usdm"\n[[revisions]]\nfrom = 2026-01-01\nfees = {}', "has tables only"),
        (
            'id = "x"\nbased_on = "binance-usdm"\n[[revisions]]\nfrom = 2026-01-01\n'
            'tables = { brackets = "none.csv", source = "s" }',
            "cannot be read",
        ),
    ],
)
def test_a_profile_based_on_another_says_what_is_wrong_with_it(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "x.toml"
    path.write_text(text)
    with pytest.raises(ProfileError, match=why):
        load_profile(str(path))


def test_a_profile_is_not_based_on_one_that_is_based(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CROSSMARGIN_VENUES", str(tmp_path))
    for name, base in (("a", "b"), ("b", "a")):
        (tmp_path / f"{name}.toml").write_text(f'id = "{name}"\nbased_on = "{base}"\n')
    with pytest.raises(ProfileError, match="itself based on another"):
        load_profile("a")
