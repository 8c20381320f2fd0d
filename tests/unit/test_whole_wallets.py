"""A wallet that counts isolated positions in is not counted twice; answers without an account are no empty one."""

from decimal import Decimal
from typing import Any

import pytest

import crossmargin as cm
from crossmargin.errors import AccountError
from crossmargin.files.unified import Imported, import_account

GATE_ACCOUNT: dict[str, Any] = {
    "currency": "USDT", "total": "100", "unrealised_pnl": "-0.5", "position_margin": "30", "order_margin": "0",
    "available": "70", "point": "0", "bonus": "0",
}  # fmt: skip
GATE_ISOLATED: dict[str, Any] = {
    "contract": "BTC_USDT", "size": 10, "mode": "single", "leverage": "20", "margin": "30", "value": "600",
    "entry_price": "60050", "mark_price": "60000", "maintenance_rate": "0.004", "liq_price": "57000",
    "unrealised_pnl": "-0.5", "update_time": 1705034246,
}  # fmt: skip
GATE_CROSS = {**GATE_ISOLATED, "contract": "ETH_USDT", "leverage": "0", "cross_leverage_limit": "10", "margin": "5"}

BINGX_ACCOUNT = {
    "asset": "USDT", "balance": "50", "equity": "51", "unrealizedProfit": "1", "usedMargin": "12",
    "freezedMargin": "0", "availableMargin": "38",
}  # fmt: skip
BINGX_ISOLATED = {
    "symbol": "BTC-USDT", "positionId": "1", "positionSide": "LONG", "isolated": True, "positionAmt": "0.002",
    "avgPrice": "60000", "unrealizedProfit": "1", "leverage": 10, "margin": "13", "initialMargin": "12",
    "updateTime": 1764547200000,
}  # fmt: skip

KUCOIN_ACCOUNT = {
    "accountEquity": 99.5, "unrealisedPNL": -0.5, "marginBalance": 100, "positionMargin": 30, "orderMargin": 0,
    "frozenFunds": 0, "availableBalance": 70, "currency": "USDT",
}  # fmt: skip
KUCOIN_ISOLATED = {
    "symbol": "XBTUSDTM", "currentQty": -10, "avgEntryPrice": "60000", "posMargin": "30", "maintMarginReq": "0.004",
    "crossMode": False, "markPrice": "60050", "markValue": "-600.5", "unrealisedPnl": "-0.5", "maintMargin": "29.5",
    "leverage": "20", "currentTimestamp": 1764547200000,
}  # fmt: skip

BITGET_ACCOUNT = {
    "marginCoin": "USDT", "accountEquity": "99.5", "unrealizedPL": "-0.5", "crossedMaxAvailable": "70",
    "isolatedMargin": "30", "coupon": "0",
}  # fmt: skip
BITGET_FIRST = {"marginCoin": "USDT", "equity": "99.5", "crossMaxAvailable": "70", "unrealizedPL": "-0.5", "bonus": "0"}
BITGET_ISOLATED = {
    "symbol": "BTCUSDT", "marginCoin": "USDT", "holdSide": "long", "total": "0.01", "marginMode": "isolated",
    "marginSize": "30", "openPriceAvg": "60050", "markPrice": "60000", "unrealizedPL": "-0.5", "leverage": "20",
    "keepMarginRate": "0.004", "liquidationPrice": "57300", "uTime": "1764547200000",
}  # fmt: skip

PHEMEX = {
    "account": {"accountId": 1, "currency": "USDT", "accountBalanceRv": "100", "bonusBalanceRv": "0"},
    "positions": [
        {
            "symbol": "BTCUSDT", "avgEntryPriceRp": "60000", "positionMarginRv": "30", "leverageRr": "20",
            "size": "0.01", "side": "Buy", "posSide": "Merged", "transactTimeNs": "1764547200000000000",
        }
    ],
}  # fmt: skip

BLOFIN_ACCOUNT = {
    "totalEquity": "99.5", "isolatedEquity": "29.5", "ts": "1764547200000",
    "details": [{"currency": "USDT", "balance": "100", "equity": "99.5", "frozen": "30", "orderFrozen": "0"}],
}  # fmt: skip
BLOFIN_ISOLATED = {
    "instId": "BTC-USDT", "positions": "0.1", "averagePrice": "60050", "marginMode": "isolated", "margin": "30",
    "leverage": "20", "markPrice": "60000", "unrealizedPnl": "-0.5", "positionSide": "net",
}  # fmt: skip

COINEX_ACCOUNT = {"ccy": "USDT", "available": "65", "frozen": "5", "margin": "30", "unrealized_pnl": "-0.5"}
COINEX_ISOLATED = {
    "market": "BTCUSDT", "margin_mode": "isolated", "open_interest": "0.01", "side": "long", "settle_price": "60050",
    "avg_entry_price": "60050", "leverage": "20", "margin_avbl": "30", "updated_at": 1764547200000,
}  # fmt: skip

MEXC_ACCOUNT = {"currency": "USDT", "cashBalance": 70, "positionMargin": 30, "equity": 99.5, "unrealized": -0.5}
MEXC_ISOLATED = {
    "symbol": "BTC_USDT", "positionType": 1, "openType": 1, "holdVol": 100, "holdAvgPrice": 60050, "im": 30,
    "leverage": 20, "liquidatePrice": 57300, "updateTime": 1764547200000,
}  # fmt: skip


def _read(venue: str, *answers: Any, settings: tuple[str, ...] = ()) -> Imported:
    return import_account(list(answers), venue=venue, settings=settings)


@pytest.mark.parametrize(
    ("venue", "answers", "left"),
    [
        ("gate", (GATE_ACCOUNT, [GATE_ISOLATED]), "70"),  # 100 - 30, what the answer itself has available
        ("gate", (GATE_ACCOUNT, [GATE_ISOLATED, GATE_CROSS]), "70"),  # a cross position holds nothing of its own
        ("gate", (GATE_ACCOUNT, [GATE_CROSS]), "100"),
        ("gate", ({**GATE_ACCOUNT, "cross_margin_balance": "70"}, [GATE_ISOLATED]), "70"),
        ("bingx", ([BINGX_ACCOUNT], [BINGX_ISOLATED]), "38"),  # 50 - (13 - 1): what is available
        ("kucoin", (KUCOIN_ACCOUNT, [KUCOIN_ISOLATED]), "70"),
        ("bitget", ([BITGET_ACCOUNT], [BITGET_ISOLATED]), "70"),
        ("phemex", (PHEMEX,), "70"),
        ("blofin", (BLOFIN_ACCOUNT, [BLOFIN_ISOLATED]), "70"),  # balance less what is frozen
        ("mexc", ([MEXC_ACCOUNT], [MEXC_ISOLATED]), "70"),
        ("mexc", ([MEXC_ACCOUNT], [{**MEXC_ISOLATED, "openType": 2}]), "100"),  # a cross one holds it for the pool
        ("bitget", ([BITGET_FIRST],), "100"),  # version 1
        ("coinex", ([COINEX_ACCOUNT], [COINEX_ISOLATED]), "70"),  # what is available, and 5 of orders
    ],
)
def test_a_pocket_is_taken_out_of_the_wallet_that_counts_it(venue: str, answers: tuple[Any, ...], left: str) -> None:
    imported = _read(venue, *answers)
    assert imported.table["balances"]["USDT"]["wallet_balance"] == left


def test_the_sum_over_wallet_and_pocket_is_the_venues_total() -> None:
    """Gate: 100 of total and -0.5 of unrealized PnL make 99.5, whichever way positions divide it."""
    imported = _read("gate", GATE_ACCOUNT, [GATE_ISOLATED])
    assert cm.evaluate(*imported.case()).equity == Decimal("99.5")


def test_figures_that_count_both_are_not_compared_and_a_note_says_why() -> None:
    imported = _read("bingx", [BINGX_ACCOUNT], [BINGX_ISOLATED])
    assert not any(row.figure.startswith("pools.USDT.") for row in imported.reported)
    assert any("50 less 12 that isolated positions hold = 38" in note for note in imported.notes)
    alone = _read("bingx", [BINGX_ACCOUNT], [{**BINGX_ISOLATED, "isolated": False}])
    assert {"pools.USDT.equity", "pools.USDT.collateral_value"} <= {row.figure for row in alone.reported}


def test_a_wallet_that_the_user_gives_is_the_shared_one() -> None:
    imported = _read("gate", GATE_ACCOUNT, [GATE_ISOLATED], settings=("balances.USDT=64",))
    assert imported.table["balances"]["USDT"]["wallet_balance"] == "64"


def test_a_margin_that_the_user_gives_is_taken_out_too() -> None:
    margin = "positions.BTC/USDT:USDT.isolated_margin=40"
    imported = _read("gate", GATE_ACCOUNT, [{**GATE_ISOLATED, "margin": None}], settings=(margin,))
    assert imported.table["balances"]["USDT"]["wallet_balance"] == "60"


def test_pockets_that_hold_more_than_the_wallet_are_of_another_moment() -> None:
    with pytest.raises(AccountError, match="two moments"):
        _read("gate", {**GATE_ACCOUNT, "total": "29"}, [GATE_ISOLATED])


def test_rounding_of_a_printed_margin_leaves_no_debt() -> None:
    """29.9999999999 of wallet for 30.000000 of margin printed to 6 decimals: nothing is left, nothing is owed."""
    imported = _read("gate", {**GATE_ACCOUNT, "total": "29.9999999999"}, [{**GATE_ISOLATED, "margin": "30.000000"}])
    assert imported.table["balances"]["USDT"]["wallet_balance"] == "0"


BYBIT_WALLET = {
    "accountType": "UNIFIED", "totalMarginBalance": "", "totalMaintenanceMargin": "", "accountMMRate": "",
    "coin": [{"coin": "USDT", "walletBalance": "100", "equity": "99.5", "usdValue": "99.5", "totalPositionIM": "30"}],
}  # fmt: skip
BYBIT_POSITION = {
    "symbol": "BTCUSDT", "side": "Sell", "size": "0.01", "avgPrice": "60000", "markPrice": "60050", "leverage": "20",
    "positionIM": "30", "positionMM": "3", "positionBalance": "30.5", "tradeMode": 0, "positionIdx": 0,
    "unrealisedPnl": "-0.5", "updatedTime": "1764547200000",
}  # fmt: skip


def test_the_account_info_of_bybit_makes_every_position_a_pocket() -> None:
    """Positions say nothing of the mode; 100 less the 30.5 that the position holds stay in the wallet."""
    info = {"marginMode": "ISOLATED_MARGIN", "unifiedMarginStatus": 4, "updatedTime": "1764547200000"}
    alone = _read("bybit", BYBIT_WALLET, [BYBIT_POSITION], info).table
    assert alone["positions"][0]["isolated_margin"] == "30.5"
    assert alone["positions"][0]["margin_mode"] == "isolated"
    assert alone["balances"]["USDT"]["wallet_balance"] == "69.5"
    shared = _read("bybit", BYBIT_WALLET, [BYBIT_POSITION], {**info, "marginMode": "REGULAR_MARGIN"}).table
    assert "margin_mode" not in shared["positions"][0]
    assert shared["balances"]["USDT"]["wallet_balance"] == "100"
    portfolio = _read("bybit", BYBIT_WALLET, {**info, "marginMode": "PORTFOLIO_MARGIN"}).table
    assert portfolio["profile"] == "bybit-uta-portfolio"
    with pytest.raises(AccountError, match="marginMode"):
        _read("bybit", {**info, "marginMode": "SOMETHING"})


BITGET_COIN = {"coin": "USDT", "balance": "100", "debt": "0", "bonus": "40", "equity": "100", "usdValue": "100"}


@pytest.mark.parametrize(
    ("venue", "answer"),
    [
        ("bybit", {**BYBIT_WALLET, "coin": [{**BYBIT_WALLET["coin"][0], "equity": "100", "bonus": "40"}]}),
        ("bitget", {**BITGET_ACCOUNT, "accountEquity": "99.5", "coupon": "40"}),
        ("bitget", {"effEquity": "100", "imr": "0", "mmr": "0", "mgnRatio": "0", "assets": [BITGET_COIN]}),
        ("blofin", {**BLOFIN_ACCOUNT, "details": [{"currency": "USDT", "balance": "100", "bonus": "40"}]}),
        ("phemex", {"accountId": 1, "currency": "USDT", "accountBalanceRv": "100", "bonusBalanceRv": "40"}),
        ("phemex", {"accountId": 1, "currency": "USD", "accountBalanceEv": 1000000, "bonusBalanceEv": 400000}),
        ("okx", {"totalEq": "100", "details": [{"ccy": "USDT", "cashBal": "100", "eq": "100", "rewardBal": "40"}]}),
    ],
)
def test_bonus_inside_a_wallet_is_not_counted_twice(venue: str, answer: dict[str, Any]) -> None:
    """The rules add ``bonus_credit`` to the wallet: 60 of own funds and 40 of bonus make the 100 that is printed."""
    (held,) = _read(venue, answer).table["balances"].values()
    assert (held["wallet_balance"], held["bonus_credit"]) == ("60", "40")


def test_a_bonus_that_has_borne_losses_is_what_is_left_and_no_debt_beside() -> None:
    answer = {"accountId": 1, "currency": "USDT", "accountBalanceRv": "15", "bonusBalanceRv": "40"}
    (held,) = _read("phemex", answer).table["balances"].values()
    assert (held["wallet_balance"], held["bonus_credit"]) == ("0", "15")


TICKER = {"symbol": "BTCUSDT", "price": "60000", "time": 1764547200000}


@pytest.mark.parametrize("answers", [(TICKER,), ([],), ({"code": 0, "data": []},)])
def test_answers_without_balances_and_positions_are_no_empty_account(answers: tuple[Any, ...]) -> None:
    imported = _read("binance", *answers, settings=("as_of=2026-01-01T00:00:00Z",))
    with pytest.raises(AccountError, match="none of the answers lists balances or positions"):
        imported.case()


def test_spot_balances_of_another_venue_are_no_account_of_futures() -> None:
    spot = {"code": 0, "data": {"balances": [{"asset": "USDT", "free": "16.7", "locked": "0"}]}}
    with pytest.raises(AccountError, match="no answer that is recognised"):
        _read("bingx", spot)


def test_balances_and_positions_of_one_stream_are_both_read() -> None:
    """Crypto.com ``user.position_balance``: 114.766 / 1.8 = 63.7588... is the entry."""
    answer = {
        "channel": "user.position_balance",
        "data": [
            {
                "balances": [{"instrument_name": "USD", "quantity": "8.99", "update_timestamp_ms": 1695598760597}],
                "positions": [
                    {
                        "account_id": "a", "instrument_name": "LTCUSD-PERP", "type": "PERPETUAL_SWAP",
                        "quantity": "1.8", "cost": "114.766", "open_position_pnl": "-0.0216206",
                        "session_pnl": "0.00962994",
                        "update_timestamp_ms": 1695598760597, "open_pos_cost": "114.766",
                    }
                ],
            }
        ],
    }  # fmt: skip
    table = _read("cryptocom", answer).table
    assert table["balances"]["USD"]["wallet_balance"] == "8.99"
    assert [(row["symbol"], row["quantity"]) for row in table["positions"]] == [("LTC/USD:USD", "1.8")]


def test_zero_balances_of_mexc_are_balances() -> None:
    row = {"currency": "BSV", "positionMargin": 0, "availableBalance": 0, "cashBalance": 0, "frozenBalance": 0}
    imported = _read("mexc", [{**row, "equity": 0, "unrealized": 0, "bonus": 0}])
    assert "balances" not in imported.lacking
