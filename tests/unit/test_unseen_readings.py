"""Answers in forms that nobody announced: several in one file, under names of one's own, without a side."""

import json
from pathlib import Path
from typing import Any

import pytest

from crossmargin.errors import AccountError
from crossmargin.files.unified import import_account, read_payload_file

LONG: dict[str, Any] = {
    "symbol": "BTCUSDT",
    "positionAmt": "0.5",
    "entryPrice": "60000",
    "markPrice": "61000",
    "unRealizedProfit": "500",
    "leverage": "10",
    "positionSide": "BOTH",
    "updateTime": 1764547200000,
}
SHORT = {**LONG, "symbol": "ETHUSDT", "positionAmt": "-3", "entryPrice": "3000", "markPrice": "2900"}
CLIENT: dict[str, Any] = {
    "symbol": "BTC/USDT:USDT",
    "contracts": 2.0,
    "contractSize": 0.01,
    "side": "short",
    "entryPrice": 60000.0,
    "markPrice": 61000.0,
    "marginMode": "cross",
    "timestamp": None,
    "datetime": "2026-05-01T02:00:00.000+02:00",
    "info": {},
}


def _quantities(payload: Any, venue: str = "binance") -> dict[str, str]:
    rows = import_account([payload], venue=venue).table["positions"]
    return {row["symbol"]: row["quantity"] for row in rows}


def _refused(payload: Any, venue: str) -> str:
    with pytest.raises(AccountError) as caught:
        import_account([payload], venue=venue)
    return str(caught.value)


@pytest.mark.parametrize("between", ["\n", "\n\n", " ", ",\n"])
def test_several_answers_in_one_file_are_all_read(tmp_path: Path, between: str) -> None:
    path = tmp_path / "answers.json"
    path.write_text(between.join(json.dumps(row, indent=1) for row in (LONG, SHORT)) + "\n")
    assert _quantities(read_payload_file(str(path))) == {"BTC/USDT:USDT": "0.5", "ETH/USDT:USDT": "-3"}


def test_a_file_whose_second_answer_is_cut_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "answers.json"
    path.write_text(json.dumps(LONG) + "\n" + json.dumps(SHORT)[:-1])
    with pytest.raises(AccountError, match="is not valid JSON"):
        read_payload_file(str(path))


@pytest.mark.parametrize(
    "payload",
    [
        {"BTCUSDT": LONG, "ETHUSDT": SHORT},
        {"positionRisk": [LONG, SHORT], "exchange": "binance"},
        {"mine": {"first": [LONG], "second": SHORT}},
        [{"info": LONG}, {"info": SHORT}],
        {"positions": {"BTCUSDT": LONG, "ETHUSDT": SHORT}},
    ],
)
def test_positions_under_any_name_are_read(payload: Any) -> None:
    assert _quantities(payload) == {"BTC/USDT:USDT": "0.5", "ETH/USDT:USDT": "-3"}


def test_a_table_beside_an_answer_that_nobody_knows_is_told() -> None:
    imported = import_account([{"positions": [LONG], "vaults": [{"worth": "9"}]}], venue="binance")
    assert imported.not_understood == ("payload 1.vaults",)


def test_one_position_under_two_names_is_refused() -> None:
    assert "stands twice" in _refused({"first": [LONG], "second": [LONG]}, "binance")


def test_two_moments_of_one_wallet_are_refused() -> None:
    wallet = {"accountAlias": "a", "asset": "USDT", "crossWalletBalance": "100", "availableBalance": "100"}
    why = _refused([wallet, {**wallet, "crossWalletBalance": "50"}], "binance")
    assert "balances.USDT.wallet_balance" in why
    assert "100 and 50" in why


def test_a_state_in_digits_is_no_refusal_of_the_venue() -> None:
    assert _quantities({"status": 1, "data": [LONG]}) == {"BTC/USDT:USDT": "0.5"}
    with pytest.raises(AccountError, match="the venue refused: Invalid"):
        import_account([{"status": "error", "err_msg": "Invalid"}], venue="htx")


def test_spot_balances_are_no_state_of_another_venue() -> None:
    spot = {"accountType": "SPOT", "balances": [{"asset": "BTC", "free": "1", "locked": "0"}]}
    assert "no answer that is recognised" in _refused(spot, "binance")


def test_a_client_without_milliseconds_says_its_time_as_text() -> None:
    imported = import_account([[CLIENT]], venue="okx")
    assert imported.table["as_of"] == "2026-05-01T00:00:00Z"
    assert imported.table["positions"][0]["quantity"] == "-2"


BYBIT = {"symbol": "BTCUSDT", "size": "1", "avgPrice": "60000", "positionIM": "1", "positionMM": "1", "side": ""}
MEXC = {"symbol": "BTC_USDT", "holdVol": 5, "holdAvgPrice": 60000, "positionType": None, "openType": 2}
WEEX = {"symbol": "BTCUSDT", "size": "1", "openValue": "60000", "separatedMode": "COMBINED", "side": None}
BITGET = {"symbol": "BTCUSDT", "marginCoin": "USDT", "holdSide": None, "total": "1", "marginMode": "crossed"}
PHEMEX = {"symbol": "BTCUSDT", "avgEntryPriceRp": "60000", "positionMarginRv": "9", "leverageRr": "-10", "size": "1"}


@pytest.mark.parametrize(
    ("venue", "row"),
    [
        ("okx", {**CLIENT, "side": None}),
        ("bybit", BYBIT),
        ("mexc", MEXC),
        ("weex", WEEX),
        ("bitget", BITGET),
        ("phemex", {**PHEMEX, "posSide": "Merged", "side": None}),
    ],
)
def test_a_size_without_sign_and_side_is_no_long(venue: str, row: dict[str, Any]) -> None:
    assert "the size has no sign" in _refused([row], venue)


@pytest.mark.parametrize(("side", "quantity"), [("Buy", "1"), ("Sell", "-1")])
def test_a_merged_position_of_phemex_has_the_side_of_its_orders(side: str, quantity: str) -> None:
    """Of one-way mode: ``posSide`` is ``Merged`` on both sides, and the size has no sign."""
    assert _quantities([{**PHEMEX, "posSide": "Merged", "side": side}], "phemex") == {"BTC/USDT:USDT": quantity}


WHITEBIT = {"positionId": 1, "market": "BTC_PERP", "amount": "-0.2", "basePrice": "60000", "liquidationPrice": "0"}


def test_whitebit_positions_and_balances_make_one_account() -> None:
    """PnL 200 on a short of 0.2: the mark is 1000 below the entry of 60000. 100 held and 30 owed are 70."""
    balance = {"asset": "USDT", "balance": "100", "borrow": "30", "availableWithoutBorrow": "70"}
    position = {**WHITEBIT, "pnl": "200", "modifyDate": 1764547200.5}
    imported = import_account([[position], [balance]], venue="whitebit")
    assert imported.table["profile"] == "whitebit-collateral"
    assert imported.table["balances"] == {"USDT": {"wallet_balance": "70"}}
    assert imported.table["positions"][0]["quantity"] == "-0.2"
    assert imported.table["market"]["mark_price"] == {"BTC/USDT:USDT": "59000"}
    assert imported.missing == ()


def test_whitebit_totals_are_reported_under_our_names() -> None:
    totals = {"equity": "100", "margin": "40", "freeMargin": "60", "unrealizedFunding": "0", "pnl": "1", "leverage": 5}
    imported = import_account([totals, [WHITEBIT]], venue="whitebit")
    found = {row.figure: str(row.value) for row in imported.reported}
    assert found["free_collateral"] == "60"
    assert found["initial_margin"] == "40"


def test_an_answer_of_weex_without_unrealized_pnl_is_read() -> None:
    row = {**WEEX, "side": "SHORT", "size": "2", "openValue": "120000", "marginMode": "CROSSED", "leverage": "11"}
    (position,) = import_account([[row]], venue="weex").table["positions"]
    assert (position["quantity"], position["entry_price"]) == ("-2", "60000")


GATE = {
    "contract": "BTC_USDT", "size": -5, "mode": "single", "leverage": "10", "margin": "30", "value": "300",
    "entry_price": "60000", "mark_price": "60000", "maintenance_rate": "0.004", "liq_price": "65000",
    "unrealised_pnl": "0", "update_time": 1705034246,
}  # fmt: skip


@pytest.mark.parametrize(
    ("more", "isolated"),
    [
        ({}, True),
        ({"leverage": "0"}, False),
        ({"pos_margin_mode": "cross"}, False),
        ({"pos_margin_mode": "isolated"}, True),
    ],
)
def test_the_margin_mode_of_gate_is_the_one_that_the_row_names(more: dict[str, Any], isolated: bool) -> None:
    imported = import_account([[{**GATE, **more}]], venue="gate")
    assert ("isolated_margin" in imported.table["positions"][0]) is isolated
    assert imported.not_understood == ()


def test_an_isolated_position_of_kucoin_is_told_by_its_mode_where_the_flag_is_missing() -> None:
    row = {
        "symbol": "XBTUSDTM", "currentQty": -10, "avgEntryPrice": 60000, "posMargin": 30, "maintMarginReq": 0.004,
        "markPrice": 60050, "maintMargin": 29.5, "leverage": 20, "marginMode": "ISOLATED",
    }  # fmt: skip
    assert import_account([[row]], venue="kucoin").table["positions"][0]["isolated_margin"] == "30"
    cross = import_account([[{**row, "marginMode": "CROSS"}]], venue="kucoin")
    assert "isolated_margin" not in cross.table["positions"][0]
    assert cross.not_understood == ()


def test_both_legs_of_a_hedge_of_htx_are_two_positions() -> None:
    row = {
        "contract_code": "BTC-USDT", "volume": 2, "cost_hold": 51179.1, "lever_rate": 10, "position_margin": 10.2,
        "direction": "sell", "last_price": 51179.1, "margin_mode": "cross", "position_mode": "dual_side",
    }  # fmt: skip
    rows = import_account([[row, {**row, "direction": "buy", "volume": 1}]], venue="htx").table["positions"]
    assert [(leg["position_side"], leg["quantity"]) for leg in rows] == [("short", "-2"), ("long", "1")]
    pocket = {**row, "margin_mode": "isolated"}  # both legs of a contract stand on one pocket there
    assert "stands twice" in _refused([pocket, {**pocket, "direction": "buy"}], "htx")


BINGX = {"symbol": "BTC-USDT", "positionId": "1", "positionAmt": "0.002", "avgPrice": "60000", "unrealizedProfit": "-1"}
STANDARD = {"symbol": "BTC-USDT", "positionAmt": "2", "currentPrice": "60000", "entryPrice": "60000", "isolated": True}


@pytest.mark.parametrize("row", [{**BINGX, "positionSide": ""}, {**BINGX, "positionSide": None}, STANDARD])
def test_an_amount_of_bingx_without_sign_and_side_is_no_long(row: dict[str, Any]) -> None:
    assert "the size has no sign" in _refused([row], "bingx")


@pytest.mark.parametrize(
    ("more", "quantity"),
    [({"positionSide": "SHORT"}, "-0.002"), ({"positionSide": "BOTH", "positionAmt": "-0.002"}, "-0.002")],
)
def test_a_short_of_bingx_is_below_zero_in_either_mode(more: dict[str, Any], quantity: str) -> None:
    assert _quantities([{**BINGX, **more}], "bingx") == {"BTC/USDT:USDT": quantity}


def test_a_side_that_contradicts_the_leg_is_refused() -> None:
    assert "contradicts positionIdx" in _refused([{**BYBIT, "side": "Sell", "positionIdx": 1}], "bybit")


def test_an_isolated_position_of_cryptocom_is_not_taken_as_cross() -> None:
    row = {"instrument_name": "BTCUSD-PERP", "quantity": "-0.5", "open_position_pnl": "0", "open_pos_cost": "-30000"}
    assert "isolated position" in _refused([{**row, "isolated_margin_balance": "500"}], "cryptocom")
    assert _quantities([row], "cryptocom") == {"BTC/USD:USD": "-0.5"}
