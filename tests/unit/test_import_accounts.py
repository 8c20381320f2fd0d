"""Import: what is stated, what follows, what is missing, what is refused. Nothing is filled in."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from crossmargin.apps.cli import app
from crossmargin.errors import AccountError, CrossmarginError
from crossmargin.files.accounts import case_from
from crossmargin.files.payloads.reading import moment, printed_number
from crossmargin.files.text import parse_table
from crossmargin.files.unified import import_account
from crossmargin.model.reported import Reported, reported_from, unit_of

ACCOUNT = {
    "multiAssetsMargin": False,
    "totalMaintMargin": "4.0",
    "assets": [{"asset": "USDT", "walletBalance": "1500", "crossWalletBalance": "1000", "updateTime": 1764547200000}],
    "positions": [
        {
            "symbol": "BTCUSDT",
            "positionSide": "BOTH",
            "positionAmt": "-0.5",
            "entryPrice": "60000",
            "leverage": "10",
            "isolated": False,
            "unrealizedProfit": "-500",
            "notional": "-30500",
            "maintMargin": "122",
            "positionInitialMargin": "3050",
        },
        {
            "symbol": "ETHUSDT",
            "positionSide": "BOTH",
            "positionAmt": "4",
            "entryPrice": "3000",
            "leverage": "20",
            "isolated": True,
            "isolatedWallet": "500",
            "isolatedMargin": "540",
            "unrealizedProfit": "40",
            "notional": "12040",
            "maintMargin": "60",
        },
        {"symbol": "SOLUSDT", "positionSide": "BOTH", "positionAmt": "0", "notional": "0", "unrealizedProfit": "0"},
    ],
}


def test_a_futures_account_becomes_an_account_file() -> None:
    case = import_account([ACCOUNT]).case()
    btc, eth = case.account.positions
    # the cross wallet, for the isolated 500 are the position's own
    assert case.account.balances["USDT"].wallet_balance == 1000
    assert (btc.symbol, btc.quantity, btc.entry_price, btc.margin_mode) == (
        "BTC/USDT:USDT",
        Decimal("-0.5"),
        60000,
        "cross",
    )
    assert (eth.margin_mode, eth.isolated_margin) == ("isolated", 500)
    # value / size: 30,500 / 0.5 and 12,040 / 4
    assert case.market.mark_price == {"BTC/USDT:USDT": 61000, "ETH/USDT:USDT": 3010}
    assert case.market.as_of == datetime(2025, 12, 1, tzinfo=UTC)
    assert case.account.profile == "binance-usdm"


def test_a_position_of_size_zero_is_no_position() -> None:
    assert [p.symbol for p in import_account([ACCOUNT]).case().account.positions] == ["BTC/USDT:USDT", "ETH/USDT:USDT"]


def test_what_the_venue_reports_keeps_its_digits_and_its_own_name() -> None:
    reported = {row.figure: row for row in import_account([ACCOUNT]).reported}
    assert reported["positions.BTC/USDT:USDT.maintenance_margin"] == Reported(
        figure="positions.BTC/USDT:USDT.maintenance_margin", value=Decimal(122), field="maintMargin"
    )
    assert reported["pools.ETH/USDT:USDT isolated.equity"].value == 540


@pytest.mark.parametrize(
    ("flag", "wallet", "profile"),
    [(True, "0", "binance-usdm-multi-assets"), (False, "0", "binance-usdm"), (None, "0", "binance-usdm-multi-assets")],
)
def test_multi_assets_mode_is_told_by_the_flag_or_by_an_empty_asset_that_has_some_available(
    flag: bool | None, wallet: str, profile: str
) -> None:
    account = {
        "totalMaintMargin": "0",
        "assets": [
            {"asset": "USDT", "walletBalance": "5", "availableBalance": "5", "updateTime": 1764547200000},
            {"asset": "BTC", "walletBalance": wallet, "availableBalance": "0.001"},
        ],
        "positions": [],
        **({} if flag is None else {"multiAssetsMargin": flag}),
    }
    assert import_account([account]).table["profile"] == profile


# missing --------------------------------------------------------------------------------------------------------------


def test_everything_missing_is_named_at_once_with_how_to_give_it() -> None:
    position = {"symbol": "BTC-USDT", "positionId": "1", "positionAmt": "0.1", "avgPrice": "", "unrealizedProfit": "1"}
    with pytest.raises(AccountError) as caught:
        import_account([[position]]).case()
    faults = {fault.path: fault.why for fault in caught.value.faults}
    assert set(faults) == {
        "as_of",
        "positions.BTC/USDT:USDT.entry_price",
        "market.mark_price.BTC/USDT:USDT",
        "balances.USDT",
    }
    assert "--set market.mark_price.BTC/USDT:USDT=VALUE" in faults["market.mark_price.BTC/USDT:USDT"]
    assert "--with" in faults["balances.USDT"]


def test_settings_and_fragments_give_what_is_missing_and_go_over_what_is_stated() -> None:
    position = {
        "symbol": "BTC-USDT",
        "positionId": "1",
        "positionAmt": "0.1",
        "avgPrice": "60000",
        "unrealizedProfit": "1",
    }
    imported = import_account(
        [[position]],
        fragments=[{"balances": {"USDT": "700"}, "positions": [{"symbol": "BTC/USDT:USDT", "leverage": "5"}]}],
        settings=["market.mark_price.BTC/USDT:USDT=60010", "balances.USDT=800", "as_of=2025-12-01T00:00:00Z"],
    )
    case = imported.case()
    assert case.account.balances["USDT"].wallet_balance == 800
    assert case.account.positions[0].leverage == 5
    assert case.market.mark_price["BTC/USDT:USDT"] == 60010


def test_two_payloads_of_different_moments_are_told() -> None:
    later = json.loads(json.dumps(ACCOUNT))
    later["positions"][0]["positionAmt"] = "-0.6"
    with pytest.raises(AccountError, match=r"positions\.BTC/USDT:USDT\.quantity: differs between two payloads"):
        import_account([ACCOUNT, later])
    decided = import_account([ACCOUNT, later], settings=["positions.BTC/USDT:USDT.quantity=-0.6"])
    assert decided.case().account.positions[0].quantity == Decimal("-0.6")


def test_a_field_that_no_reader_knows_is_told_and_one_that_is_empty_is_not() -> None:
    account = {**ACCOUNT, "newFee": "1", "newEmpty": ""}
    assert import_account([account]).not_understood == ("payload 1.newFee",)


@pytest.mark.parametrize(
    "setting", ["nonsense=1", "balances.USDT", "positions.BTC.quantity.x=1", "market.mark_price.BTC="]
)
def test_a_setting_that_is_no_path_is_refused(setting: str) -> None:
    with pytest.raises(AccountError, match="PATH=VALUE"):
        import_account([ACCOUNT], settings=[setting])


# thresholds that are none ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("printed", ["", None, "0", "0.00", "-110163.84", "999999", "9999999.9", "999999999"])
def test_a_threshold_that_is_none_is_never_and_not_a_price(printed: Any) -> None:
    row = {"instId": "BTC-USDT-SWAP", "pos": "1", "avgPx": "1", "mgnMode": "cross", "liqPx": printed}
    (found,) = (r for r in import_account([row]).reported if r.figure.endswith("liquidation_price"))
    assert found.value is None
    row["liqPx"] = "99999.5"
    (found,) = (r for r in import_account([row]).reported if r.figure.endswith("liquidation_price"))
    assert found.value == Decimal("99999.5")


def test_a_threshold_that_is_not_told_is_not_reported() -> None:
    row = {"instId": "BTC-USDT-SWAP", "pos": "1", "avgPx": "1", "mgnMode": "cross"}
    assert not [r for r in import_account([row]).reported if r.figure.endswith("liquidation_price")]


# sides ----------------------------------------------------------------------------------------------------------------

SIDES = [
    ({"symbol": "BTCUSDT", "positionAmt": "-2", "unRealizedProfit": "0", "positionSide": "SHORT"}, -2, "short"),
    ({"symbol": "BTCUSDT", "positionAmt": "-2", "unRealizedProfit": "0", "positionSide": "BOTH"}, -2, "net"),
    (
        {
            "symbol": "BTCUSDT",
            "size": "2",
            "side": "Sell",
            "positionIdx": 0,
            "avgPrice": "1",
            "positionIM": "",
            "positionMM": "",
        },
        -2,
        "net",
    ),
    (
        {
            "symbol": "BTCUSDT",
            "size": "2",
            "side": "Sell",
            "positionIdx": 2,
            "avgPrice": "1",
            "positionIM": "",
            "positionMM": "",
        },
        -2,
        "short",
    ),
    ({"instId": "BTC-USDT-SWAP", "pos": "2", "posSide": "short", "avgPx": "1", "mgnMode": "cross"}, -2, "short"),
    ({"instId": "BTC-USDT-SWAP", "pos": "-2", "posSide": "net", "avgPx": "1", "mgnMode": "cross"}, -2, "net"),
    ({"symbol": "BTC_USDT", "positionType": 2, "openType": 2, "holdVol": "2", "holdAvgPrice": "1"}, -2, "short"),
    (
        {"instrument_name": "BTC-PERPETUAL", "direction": "sell", "size": -2, "average_price": "1"},
        -2,
        "net",
    ),
    (
        {
            "contract": "BTC_USDT",
            "size": -2,
            "mode": "dual_short",
            "entry_price": "1",
            "maintenance_rate": "0",
            "liq_price": "0",
        },
        -2,
        "short",
    ),
    ({"coin": "BTC", "szi": "-2", "entryPx": "1", "positionValue": "2"}, -2, "net"),
    (
        {"symbol": "BTC/USDT:USDT", "contracts": 2.0, "side": "short", "hedged": True, "entryPrice": 1.0, "info": {}},
        -2,
        "short",
    ),
]


@pytest.mark.parametrize(("row", "quantity", "side"), SIDES)
def test_every_way_of_writing_a_side(row: dict[str, Any], quantity: int, side: str) -> None:
    (position,) = import_account([[row]], venue=None).table["positions"]
    assert (Decimal(position["quantity"]), position.get("position_side", "net")) == (quantity, side)


# envelopes and refusals -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        ({"retCode": 10003, "retMsg": "API key is invalid.", "result": {}}, "the venue refused: API key is invalid"),
        ({"code": "50113", "msg": "Invalid Sign", "data": []}, "the venue refused: Invalid Sign"),
        (
            {"code": -2015, "msg": "Invalid API-key, IP, or permissions for action."},
            "the venue refused: Invalid API-key",
        ),
        ({"success": False, "code": 602, "message": "Signature failed"}, "the venue refused: Signature failed"),
        ({"jsonrpc": "2.0", "error": {"code": 13009, "message": "unauthorized"}}, "the venue refused: unauthorized"),
        ({"hello": "world"}, "no answer that is recognised"),
        ([1, 2], "no answer that is recognised"),
        ("text", "no answer that is recognised"),
        (None, "no answer that is recognised"),
    ],
)
def test_a_refusal_or_an_unknown_answer_is_an_error_never_an_empty_account(payload: Any, why: str) -> None:
    with pytest.raises(AccountError, match=why):
        import_account([payload])


def test_answers_of_another_venue_are_refused() -> None:
    with pytest.raises(AccountError, match="no answers of bybit"):
        import_account([ACCOUNT], venue="bybit")


def test_the_most_telling_answer_names_the_account_mode() -> None:
    position = {"instId": "BTC-USDT-SWAP", "pos": "1", "avgPx": "1", "mgnMode": "cross"}
    balance = {"totalEq": "1", "adjEq": "1", "details": []}
    mode = {"acctLv": "4", "posMode": "net_mode"}
    assert import_account([position]).table["profile"] == "okx-futures"
    for answers in ([position, balance], [balance, position]):
        assert import_account(answers).table["profile"] == "okx-multi-currency"
    assert import_account([mode, balance, position]).table["profile"] == "okx-portfolio"
    assert import_account([balance], venue="okx-portfolio").table["profile"] == "okx-portfolio"


def test_answers_of_two_account_modes_are_told() -> None:
    coin = {"asset": "SOL", "balance": "1", "equity": "1", "usedMargin": "0", "freezedMargin": "0"}
    with pytest.raises(AccountError, match="bingx-coinm, bingx-usdm"):
        import_account([[coin, {**coin, "asset": "USDT"}]])


def test_a_null_or_a_word_where_a_number_must_be_is_named() -> None:
    account = json.loads(json.dumps(ACCOUNT))
    account["positions"][0]["positionAmt"] = "lots"
    with pytest.raises(AccountError, match=r"positions\[0\]\.positionAmt: must be a plain number \(found: lots\)"):
        import_account([account])


def test_a_client_total_is_no_wallet() -> None:
    """On some venues ccxt's total counts unrealized PnL in, on others not: it is asked for, not taken."""
    with pytest.raises(AccountError, match=r"balances\.USDT\.wallet_balance: is not known"):
        import_account([{"info": {"unknown": 1}, "free": {"USDT": 1.0}, "used": {}, "total": {"USDT": 5.0}}])


def test_a_client_answer_is_read_through_the_venues_own_inside_it() -> None:
    inner = {
        "instId": "BTC-USDT-SWAP",
        "pos": "3",
        "posSide": "long",
        "avgPx": "60000.10",
        "mgnMode": "cross",
        "markPx": "60001",
    }
    row = {"symbol": "BTC/USDT:USDT", "contracts": 3.0, "contractSize": 0.01, "entryPrice": 60000.1, "info": inner}
    imported = import_account([[row]])
    (position,) = imported.table["positions"]
    assert position["entry_price"] == "60000.1"
    assert imported.table["profile"] == "okx-futures"


def test_tables_of_a_client_fill_prices_sizes_and_brackets_of_what_is_held() -> None:
    tiers = {
        "BTC/USDT:USDT": [
            {"minNotional": 0.0, "maxNotional": 300000.0, "maintenanceMarginRate": 0.004, "maxLeverage": 125.0}
        ],
        "XRP/USDT:USDT": [{"minNotional": 0.0, "maxNotional": 9.0, "maintenanceMarginRate": 0.1, "maxLeverage": 5.0}],
    }
    rates = {"BTC/USDT:USDT": {"markPrice": 61000.0, "fundingRate": 0.0001, "interval": "8h"}}
    markets = {"BTC/USDT:USDT": {"contract": True, "contractSize": 1.0, "taker": 0.0005}}
    imported = import_account([ACCOUNT, tiers, rates, markets])
    (rule,) = (row for row in imported.table["instruments"] if row["symbol"] == "BTC/USDT:USDT")
    assert rule["brackets"] == [{"notional_floor": "0", "maintenance_rate": "0.004", "max_leverage": "125"}]
    assert imported.table["market"]["funding_rate"] == {"BTC/USDT:USDT": "0.0001"}
    assert "XRP" not in json.dumps(imported.table)


# numbers --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "number"),
    [
        ("1.50", Decimal("1.50")),
        ("122,559.90199491", Decimal("122559.90199491")),
        ("0E-18", Decimal("0E-18")),
        (1e-08, Decimal("0.00000001")),
        (0.1, Decimal("0.1")),
        ("-", None),
        ("", None),
        (None, None),
    ],
)
def test_numbers_as_venues_write_them(value: Any, number: Decimal | None) -> None:
    assert printed_number(value) == number


@pytest.mark.parametrize("value", ["NaN", "inf", float("nan"), "1_000", "１", " 1", "1E400", "0x10", True, [1], "1,00"])
def test_what_is_no_number_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"must be|beyond"):
        printed_number(value)


@pytest.mark.parametrize("time", ["1764547200", "1764547200000", "1764547200000000", "1764547200000000000"])
def test_a_time_in_any_unit_is_the_same_moment(time: str) -> None:
    assert moment(Decimal(time)) == "2025-12-01T00:00:00Z"
    assert moment(Decimal(0)) is None


@pytest.mark.parametrize(
    ("printed", "unit"), [("1352.5353253", "0.0000001"), ("0.4", "0.1"), ("12", "1"), ("14673.295000000002", "1E-10")]
)
def test_the_unit_of_a_printed_figure(printed: str, unit: str) -> None:
    assert unit_of(Decimal(printed)) == Decimal(unit)


def test_a_reported_table_reads_back_and_refuses_what_is_no_figure() -> None:
    rows = reported_from({"equity": "12.50", "positions.X.liquidation_price": "never"}, "file")
    assert [row.value for row in rows] == [Decimal("12.50"), None]
    with pytest.raises(AccountError) as caught:
        reported_from({"equity": "lots", "headroom": True, "x": "1e5"}, "file")
    assert len(caught.value.faults) == 3


# the account file -----------------------------------------------------------------------------------------------------


def test_the_verb_writes_an_account_file_that_evaluates(tmp_path: Path) -> None:
    (tmp_path / "account.json").write_text(json.dumps(ACCOUNT))
    out = tmp_path / "account.toml"
    runner = CliRunner()
    done = runner.invoke(app, ["import", "binance", "--from", str(tmp_path / "account.json"), "--out", str(out)])
    assert done.exit_code == 0, done.output
    judged = runner.invoke(app, ["evaluate", str(out), "--json"])
    report = json.loads(judged.stdout)
    # wallet 1,000 less 0.5 x (61,000 - 60,000), and the pocket 500 + 4 x (3,010 - 3,000)
    assert Decimal(report["equity"]) == 500 + 540
    table = parse_table(out.read_bytes(), "file", CrossmarginError)
    assert case_from(table, "file").account.profile == "binance-usdm"


def test_the_verb_names_what_is_missing_and_exits_2(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    path.write_text('[{"symbol": "BTCUSDT", "positionAmt": "1", "unRealizedProfit": "0"}]')
    done = CliRunner().invoke(app, ["import", "binance", "--from", str(path)])
    assert isinstance(done.exception, AccountError)
    assert done.exception.exit_code == 2
    assert "entry_price" in str(done.exception)


def test_a_page_in_place_of_json_is_told(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    path.write_text("<html>502 Bad Gateway</html>")
    done = CliRunner().invoke(app, ["import", "binance", "--from", str(path)])
    assert "is a page (HTML)" in str(done.exception)


def test_a_shape_can_be_forced_and_the_shapes_are_listed(tmp_path: Path) -> None:
    listed = CliRunner().invoke(app, ["import", "okx", "--shapes"]).stdout.split()
    assert listed[:3] == ["okx-account", "okx-algo-order", "okx-bill"]
    assert {"binance-usdm-account", "ccxt-position", "gate-crossex-position"} <= set(listed)
    with pytest.raises(AccountError, match="no answer that is recognised"):
        import_account([ACCOUNT], shape="okx-position")
