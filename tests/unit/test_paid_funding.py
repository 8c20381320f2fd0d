"""Lists of funding payments: read from each venue's form, recomputed row by row, and compared.

Figures are rows of recorded answers and of the venues' API pages, restated.
"""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import crossmargin as cm
from crossmargin.analytics.reconciliation import ReconciledFigure, Reconciliation, reconcile
from crossmargin.apps.cli import app
from crossmargin.errors import AccountError
from crossmargin.files.unified import import_account
from crossmargin.model.payment import PaidFunding

BYBIT_SHORT = {
    "symbol": "XMRUSDT",
    "execTime": "1710950400000",
    "feeRate": "-0.000761",
    "execPrice": "137.11",
    "execValue": "134.3678",
    "execType": "Funding",
    "side": "Sell",
    "execFee": "-0.10232512",
    "execQty": "0.98",
}
BYBIT_LOG = {
    "symbol": "XRPUSDT",
    "side": "Buy",
    "funding": "-0.003676",
    "change": "-0.003676",
    "transactionTime": "1672128000000",
    "type": "SETTLEMENT",
    "feeRate": "0.0001",
    "size": "100",
    "qty": "100",
    "currency": "USDT",
    "tradePrice": "0.3676",
}
KUCOIN = {
    "symbol": "DOGEUSDTM",
    "fundingRate": "0.000172",
    "markPrice": "0.09326",
    "size": "-1",
    "positionValue": "-9.326",
    "fundingFee": "0.00160407",
    "settleCurrency": "USDT",
    "settlementTime": 1775030400000,
}
KUCOIN_OLDER = {
    "symbol": "ETHUSDTM",
    "timePoint": 1638532800000,
    "fundingRate": "0.000100",
    "markPrice": "4612.83",
    "positionQty": 12,
    "positionCost": "553.5396",
    "funding": "-0.0553539600",
    "settleCurrency": "USDT",
}
MEXC = {
    "symbol": "BTC_USDT",
    "positionType": 1,
    "positionValue": "29.30024",
    "funding": "0.00076180624",
    "rate": "-0.000026",
    "settleTime": 1643299200000,
}
HYPERLIQUID = {
    "time": 1734026400057,
    "hash": "0x0",
    "delta": {"type": "funding", "coin": "SOL", "usdc": "75.635093", "szi": "-7375.9", "fundingRate": "0.00004381"},
}
INCOME = {
    "symbol": "ETHUSDT",
    "incomeType": "FUNDING_FEE",
    "income": "0.00134317",
    "asset": "USDT",
    "time": 1621584000000,
}
GATE = {"time": 1646899200, "change": "-0.027722", "balance": "11.65", "text": "XRP_USDT", "type": "fund"}
BITGET = {
    "billId": "1",
    "symbol": "BTCUSDT",
    "amount": "-0.004992",
    "businessType": "contract_settle_fee",
    "coin": "USDT",
    "cTime": "1700900000000",
}
OKX = {
    "billId": "9",
    "type": "8",
    "subType": "173",
    "balChg": "-0.5",
    "instId": "BTC-USDT-SWAP",
    "ccy": "USDT",
    "ts": "1700900000000",
}
HTX = {
    "id": "2",
    "type": "30",
    "currency": "USDT",
    "amount": "0.000433432461821856",
    "contract_code": "BTC-USDT",
    "created_time": "1780963213165",
}
DERIBIT = {
    "type": "settlement",
    "timestamp": 1700900000000,
    "session_profit_loss": 0.03,
    "instrument_name": "BTC-PERPETUAL",
    "funding": -0.000002511,
}


def _reconciled(payload: Any, **options: Any) -> Reconciliation:
    imported = import_account([payload], **options)
    assert imported.not_understood == ()
    return reconcile(*imported.case(), imported.reported, lacking=imported.lacking, payments=imported.payments)


def _row(payload: Any, **options: Any) -> ReconciledFigure:
    (row,) = _reconciled(payload, **options).figures
    return row


# row, profile, paid (above 0 = paid), verdict
ROWS: list[tuple[str, Any, str, str, str]] = [
    ("bybit, short", BYBIT_SHORT, "bybit-uta", "-0.10232512", "within_tolerance"),
    ("bybit log", {"retCode": 0, "result": {"list": [BYBIT_LOG]}}, "bybit-uta", "0.003676", "equal"),
    ("kucoin", {"code": "200000", "data": {"items": [KUCOIN]}}, "kucoin-futures", "-0.00160407", "equal"),
    (
        "kucoin, older",
        {"code": "200000", "data": {"dataList": [KUCOIN_OLDER]}},
        "kucoin-futures",
        "0.05535396",
        "equal",
    ),
    ("mexc", {"code": 0, "data": {"resultList": [MEXC]}}, "mexc-usdm", "-0.00076180624", "equal"),
    ("hyperliquid", [HYPERLIQUID], "hyperliquid", "-75.635093", "unknown"),
    ("binance", [INCOME], "binance-usdm", "-0.00134317", "unknown"),
    ("binance coin-M", INCOME | {"symbol": "BTCUSD_PERP", "asset": "BTC"}, "binance-coinm", "-0.00134317", "unknown"),
    ("bingx", INCOME | {"symbol": "LDO-USDT", "time": 1702713615000}, "bingx-usdm", "-0.00134317", "unknown"),
    ("gate", [GATE], "gate-futures", "0.027722", "unknown"),
    ("bitget", {"code": "00000", "data": {"bills": [BITGET]}}, "bitget-usdm", "0.004992", "unknown"),
    ("okx", {"code": "0", "data": [OKX]}, "okx-futures", "0.5", "unknown"),
    ("htx", HTX, "htx-usdm", "-0.000433432461821856", "unknown"),
    ("deribit", {"result": {"settlements": [DERIBIT]}}, "deribit", "0.000002511", "unknown"),
]


@pytest.mark.parametrize(
    ("payload", "profile", "paid", "verdict"), [pytest.param(*rest, id=name) for name, *rest in ROWS]
)
def test_each_venues_payment_is_read_and_recomputed_where_the_row_allows(
    payload: Any, profile: str, paid: str, verdict: str
) -> None:
    assert import_account([payload]).table["profile"] == profile
    row = _row(payload)
    assert row.theirs == Decimal(paid)
    assert row.verdict == verdict
    if verdict == "unknown":
        assert row.ours is None
        assert "the row carries no" in (row.cause or "")


@pytest.mark.parametrize("row", [BYBIT_SHORT, KUCOIN, MEXC, HYPERLIQUID, INCOME, GATE, BITGET, HTX])
def test_the_clients_form_of_a_payment_reads_like_the_venues_own(row: dict[str, Any]) -> None:
    symbol = "BTC/USDT:USDT"
    client = {"info": row, "symbol": symbol, "code": "USDT", "timestamp": 1, "datetime": "", "id": "1", "amount": 7.0}
    own, wrapped = import_account([row]).payments[0], import_account([[client]]).payments[0]
    assert wrapped.payment == own.payment
    assert wrapped.symbol == symbol
    assert wrapped.time == own.time


def test_a_payment_of_the_client_alone_is_kept_and_not_recomputed() -> None:
    client = {"info": {}, "symbol": "A/USDT:USDT", "code": "USDT", "timestamp": 1790000000000, "amount": 2.5, "id": "1"}
    row = _row([client], venue="bybit")
    assert (row.theirs, row.verdict) == (Decimal("-2.5"), "unknown")


def test_other_rows_of_a_log_are_no_payments() -> None:
    trade = BYBIT_LOG | {"type": "TRADE", "funding": ""}
    fee = INCOME | {"incomeType": "COMMISSION"}
    imported = import_account([[BYBIT_LOG, trade]])
    assert len(imported.payments) == 1
    assert import_account([[fee]], venue="binance", settings=["as_of=2026-01-01T00:00:00Z"]).payments == ()


# arithmetic: a long of 2 contracts of 10 USD at 50,000 is worth 0.0004 BTC; at 0.01 % it pays 0.00000004 BTC


def _paid(**more: Any) -> PaidFunding:
    fields = {"time": "2026-01-01T00:00:00Z", "symbol": "BTC/USDT:USDT", "quantity": "2", "price": "100"}
    return PaidFunding(**{**fields, "funding_rate": "0.001", "payment": "0.2", **more})


def _judged(paid: PaidFunding, profile: str = "binance-usdm") -> ReconciledFigure:
    case = import_account([], settings=[f"profile={profile}", "as_of=2026-01-01T00:00:00Z"]).case()
    (row,) = reconcile(*case, (), payments=[paid]).figures
    return row


@pytest.mark.parametrize(
    ("more", "ours", "verdict"),
    [
        ({}, "0.2", "equal"),
        ({"quantity": "-2", "payment": "-0.2"}, "-0.2", "equal"),
        ({"funding_rate": "-0.001", "payment": "-0.2"}, "-0.2", "equal"),
        ({"quantity": "-2", "funding_rate": None, "fee_rate": "-0.001", "payment": "-0.2"}, "-0.2", "equal"),
        ({"payment": "0.200004"}, "0.2", "within_tolerance"),
        # the rate may be anything from 0.0005 to 0.0015 by its last digit: 0.1 is one unit of it on a value of 200
        ({"payment": "0.29"}, "0.2", "within_tolerance"),
        ({"funding_rate": "0.001000", "payment": "0.29"}, "0.2", "differs"),
        ({"funding_rate": "0.0010000", "payment": "-0.2"}, "0.2", "differs"),
    ],
)
def test_a_payment_is_value_times_rate_paid_by_longs(more: dict[str, Any], ours: str, verdict: str) -> None:
    row = _judged(_paid(**more))
    assert row.ours == Decimal(ours)
    assert row.verdict == verdict


def test_a_payment_of_the_wrong_sign_says_so() -> None:
    assert "the other sign" in (_judged(_paid(funding_rate="0.0010000", payment="-0.2")).cause or "")


def test_an_inverse_payment_is_in_the_coin() -> None:
    paid = _paid(symbol="BTC/USD:BTC", quantity="2", price="50000", funding_rate="0.00010", payment="0.0000004")
    row = _judged(paid, "binance-coinm")
    # 2 contracts of 100 USD at 50,000 are 0.004 BTC
    assert (row.ours, row.verdict) == (Decimal("0.0000004"), "equal")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"quantity": None}, "prints no size"),
        ({"price": None}, "prints no price"),
        ({"funding_rate": None}, "carries no rate"),
        ({"symbol": None}, "names no contract"),
        ({"quantity": None, "notional": "200"}, "whether a long or a short"),
    ],
)
def test_what_a_row_does_not_carry_is_unknown_with_the_reason(more: dict[str, Any], words: str) -> None:
    row = _judged(_paid(**more))
    assert row.verdict == "unknown"
    assert row.ours is None
    assert words in (row.cause or "")


def test_two_rates_at_once_are_refused() -> None:
    with pytest.raises(AccountError, match="beside funding_rate"):
        _paid(fee_rate="0.1")


def test_a_payment_without_a_figure_is_a_fault() -> None:
    with pytest.raises(AccountError, match="income: is missing or null"):
        import_account([[INCOME | {"income": None}]])


def test_the_list_goes_through_both_verbs_and_the_file_between_them(tmp_path: Path) -> None:
    answer, account = tmp_path / "answer.json", tmp_path / "account.toml"
    answer.write_text(json.dumps({"payments": [BYBIT_SHORT, BYBIT_SHORT | {"execTime": "1710979200000"}]}))
    runner = CliRunner()
    written = runner.invoke(app, ["import", "bybit", "--from", str(answer), "--out", str(account)])
    assert written.exit_code == 0, written.output
    for arguments in (["bybit", "--from", str(answer)], [str(account)]):
        found = runner.invoke(app, ["reconcile", *arguments, "--json"])
        assert found.exit_code == 0, found.output
        body = json.loads(found.stdout)
        assert [row["verdict"] for row in body["figures"]] == ["within_tolerance"] * 2
        assert body["notes"] == ["2 funding payments, -0.20465024 paid in all (USDT)"]
    # the account file is one that every other verb reads
    assert cm.load(str(account)).account.positions == ()
