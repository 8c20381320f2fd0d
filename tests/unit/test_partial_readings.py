"""Readings that are incomplete, wrapped or of several accounts: what can be compared is, what cannot is named."""

from decimal import Decimal
from typing import Any

import pytest
from typer.testing import CliRunner

from crossmargin.analytics.reconciliation import Reconciliation, reconcile
from crossmargin.apps.cli import app
from crossmargin.errors import AccountError
from crossmargin.files.unified import Imported, import_account

AT = ["as_of=2025-11-01T00:00:00Z"]


def _state(value: str, positions: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """A clearinghouse state that holds so much and, if any, these positions."""
    summary = {"accountValue": value, "totalNtlPos": "0.0", "totalRawUsd": value, "totalMarginUsed": "0.0"}
    return {
        "marginSummary": summary,
        "crossMarginSummary": summary,
        "crossMaintenanceMarginUsed": "0.0",
        "withdrawable": value,
        "assetPositions": [{"type": "oneWay", "position": position} for position in positions or []],
        "time": 1765969378919,
    }


ELSEWHERE = {
    "coin": "abc:GOLD",
    "szi": "-1.0",
    "leverage": {"type": "cross", "value": 3},
    "entryPx": "29.9",
    "positionValue": "29.8914",
    "unrealizedPnl": "0.0086",
    "liquidationPx": "30.5",
    "marginUsed": "9.9638",
    "maxLeverage": 3,
}


def _sub(name: str, value: str) -> dict[str, Any]:
    return {"name": name, "subAccountUser": "0x1", "master": "0x2", "dexToClearinghouseState": [["", _state(value)]]}


def _reconciled(imported: Imported) -> Reconciliation:
    case, unfounded = imported.partial_case()
    return reconcile(*case, imported.reported, lacking=imported.lacking, unfounded=unfounded)


def _rows(imported: Imported) -> dict[str, tuple[str, str | None]]:
    return {
        row.figure.rpartition(".")[2]: (row.verdict, row.cause)
        for row in _reconciled(imported).figures
        if row.figure.startswith("positions.")
    }


# lists of states and of accounts --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda states: states,
        lambda states: {"channel": "allDexsClearinghouseState", "data": {"user": "0x", "clearinghouseStates": states}},
        lambda states: [{"name": "a", "subAccountUser": "0x1", "master": "0x2", "dexToClearinghouseState": states}],
    ],
)
def test_of_states_by_exchange_the_venues_own_counts_and_the_others_are_named(wrapped: Any) -> None:
    states = [["", _state("1020.5")], ["abc", _state("9.96", [ELSEWHERE])], ["def", _state("5")]]
    imported = import_account([wrapped(states)], venue="hyperliquid")
    assert imported.table["balances"] == {"USDC": {"wallet_balance": "1020.5"}}
    assert "positions" not in imported.table
    assert [note for note in imported.notes if "abc" in note and "def" not in note]


def test_a_list_without_the_venues_own_exchange_is_refused() -> None:
    with pytest.raises(AccountError, match="no state of the venue's own exchange"):
        import_account([[["abc", _state("9.96", [ELSEWHERE])]]], venue="hyperliquid")


def test_of_sub_accounts_only_one_may_hold_something() -> None:
    imported = import_account([[_sub("empty", "0.0"), _sub("full", "12.5")]], venue="hyperliquid")
    assert imported.table["balances"]["USDC"] == {"wallet_balance": "12.5"}
    with pytest.raises(AccountError, match="one, two"):
        import_account([[_sub("one", "1"), _sub("two", "2")]], venue="hyperliquid")


def test_under_portfolio_margin_the_spot_balances_are_the_account() -> None:
    row = {**_sub("p", "147.4"), "abstraction": "portfolioMargin"}
    row["spotState"] = {"balances": [{"coin": "USDC", "total": "140.5", "hold": "0", "entryNtl": "0"}]}
    imported = import_account([[row]], venue="hyperliquid")
    assert imported.table["profile"] == "hyperliquid-portfolio"
    assert imported.table["balances"] == {"USDC": {"wallet_balance": "140.5"}}


# answers that share their keys ----------------------------------------------------------------------------------------

WALLET = {
    "asset": "USDT",
    "balance": "120.5",
    "crossWalletBalance": "23.7",
    "crossUnPnl": "0",
    "availableBalance": "23.7",
    "maxWithdrawAmount": "23.7",
    "marginAvailable": True,
    "updateTime": 1617939110373,
}


def test_a_futures_balance_is_of_the_venue_that_it_has_the_field_of() -> None:
    binance = import_account([[{**WALLET, "accountAlias": "x"}]], venue="binance")
    assert binance.table["balances"] == {"USDT": {"wallet_balance": "23.7"}}
    assert import_account([[WALLET]], venue="bingx").table["profile"] == "bingx-standard"


def test_one_side_of_portfolio_margin_is_no_coin_m_account() -> None:
    """A short of 0.5 BTC entered at 60,000 that has lost 500 stands at 61,000; 30,500 / 10 = 3,050."""
    answer = {
        "assets": [{"asset": "USDT", "crossWalletBalance": "23.7", "crossUnPnl": "-500", "maintMargin": "122"}],
        "positions": [
            {
                "symbol": "BTCUSDT",
                "positionSide": "BOTH",
                "positionAmt": "-0.5",
                "entryPrice": "60000",
                "leverage": "10",
                "unrealizedProfit": "-500",
                "initialMargin": "3050",
                "maintMargin": "122",
                "updateTime": 1764547200000,
            }
        ],
    }
    imported = import_account([answer], venue="binance")
    assert imported.table["profile"] == "binance-portfolio-margin"
    assert "balances" not in imported.table
    assert Decimal(imported.table["market"]["mark_price"]["BTC/USDT:USDT"]) == 61000
    rows = _rows(imported)
    assert rows["initial_margin"] == ("equal", None)
    assert rows["unrealized_pnl"][0] == "unknown" and "taken as given" in str(rows["unrealized_pnl"][1])


# what is missing ------------------------------------------------------------------------------------------------------

MEXC = {
    "positionId": 1,
    "symbol": "ETH_USDT",
    "positionType": 1,
    "openType": 1,
    "holdVol": 1,
    "holdAvgPrice": 1217.3,
    "liquidatePrice": 1211.2,
    "im": 0.1290338,
    "leverage": 100,
    "unrealized": 0.002,
    "updateTime": 1609991676000,
}


def test_without_a_mark_only_what_follows_no_mark_is_compared() -> None:
    """One contract of 0.01 ETH at 1,217.3 and 100x holds 12.173 x (0.01 + 0.0006) = 0.1290338 by the venue's rule."""
    imported = import_account([[MEXC]], venue="mexc")
    with pytest.raises(AccountError, match="mark_price"):
        imported.case(positions_only=True)
    rows = _rows(imported)
    assert rows["initial_margin"] == ("equal", None)
    assert rows["liquidation_price"] == ("equal", None)
    verdict, cause = rows["unrealized_pnl"]
    assert verdict == "unknown" and "prints no mark price of ETH/USDT:USDT" in str(cause)


OKX = {
    "instType": "SWAP",
    "instId": "ZZZ-USDT-SWAP",
    "mgnMode": "cross",
    "posSide": "net",
    "pos": "3",
    "avgPx": "0.5366",
    "markPx": "0.545",
    "lever": "3",
    "imr": "54.5",
    "mmr": "0.8175",
    "upl": "2.52",
    "notionalUsd": "163.5",
    "liqPx": "0.4",
    "uTime": "1708963200893",
}


def test_a_contract_that_the_rules_do_not_list_is_compared_as_far_as_its_answer_goes() -> None:
    """2.52 / (3 x 0.0084) = 100 coins a contract; 0.8175 / (300 x 0.545) = 0.005, and then says nothing of itself."""
    imported = import_account([[OKX]], venue="okx")
    (instrument,) = imported.table["instruments"]
    assert instrument["contract_size"] == "100"
    assert instrument["brackets"] == [{"notional_floor": "0", "maintenance_rate": "0.005"}]
    rows = _rows(imported)
    assert rows["initial_margin"] == ("equal", None)
    assert rows["maintenance_margin_before_fee"][0] == "unknown"
    assert rows["liquidation_price"][0] == "unknown"


def test_a_requirement_that_is_no_plain_rate_gives_no_table() -> None:
    """0.8173 / 163.5 is no rate of four decimals: a bracket with a deduction, whose slope one point does not tell."""
    imported = import_account([[{**OKX, "mmr": "0.8173"}]], venue="okx")
    assert "brackets" not in imported.table["instruments"][0]
    rows = _rows(imported)
    assert rows["initial_margin"] == ("equal", None)
    verdict, cause = rows["maintenance_margin_before_fee"]
    assert verdict == "unknown" and "no maintenance table of ZZZ/USDT:USDT" in str(cause)


def test_a_client_that_counts_contracts_is_not_believed_where_the_answer_counts_coins() -> None:
    """0.001 BTC entered at 27,671 that lost 0.3142 stands at 27,356.8; at the client's 0.001 a contract, nowhere."""
    info = {
        "marginCoin": "USDT",
        "symbol": "BTCUSDT_UMCBL",
        "holdSide": "long",
        "margin": "9.2236",
        "total": "0.001",
        "leverage": "3",
        "averageOpenPrice": "27671",
        "marginMode": "fixed",
        "holdMode": "double_hold",
        "unrealizedPL": "-0.3142",
        "liquidationPrice": "0",
        "keepMarginRate": "0.004",
    }
    position = {"info": info, "symbol": "BTC/USDT:USDT", "contracts": None, "contractSize": 0.001, "entryPrice": 27671}
    imported = import_account([position], venue="bitget", settings=AT)
    (row,) = imported.table["positions"]
    assert (row["quantity"], row["position_side"], row["isolated_margin"]) == ("0.001", "long", "9.2236")
    assert Decimal(imported.table["market"]["mark_price"]["BTC/USDT:USDT"]) == Decimal("27356.8")


def test_sizes_of_deribit_are_dollars_and_pnl_runs_from_the_last_settlement() -> None:
    """-100 / 103660.08 - -100 / 103554.56 = 0.000000983; from the average price it would be -0.0000105."""
    answer = {
        "size": -100.0,
        "direction": "sell",
        "instrument_name": "BTC-PERPETUAL",
        "average_price": 102438.16,
        "settlement_price": 103660.08,
        "mark_price": 103554.56,
        "index_price": 103572.42,
        "floating_profit_loss": "9.83e-7",
        "initial_margin": "1.9314e-5",
        "maintenance_margin": "9.657e-6",
        "size_currency": "-9.65675e-4",
    }
    imported = import_account([[answer]], venue="deribit", settings=AT)
    assert {row.verdict for row in _reconciled(imported).figures} == {"equal"}


def test_the_command_reads_what_a_program_printed_and_exits_5_on_what_is_unknown(tmp_path: Any) -> None:
    path = tmp_path / "answer.txt"
    path.write_text(f"okx.fetchPositions()\n{[OKX]!r}\n")
    done = CliRunner().invoke(app, ["reconcile", "okx", "--from", str(path)])
    assert done.exit_code == 5
    assert "taken as given" in done.stdout


def test_a_dated_coin_m_contract_is_as_large_as_its_value_says() -> None:
    """0.00848272 BTC at 11,788.66626667 are 100 dollars a contract; at 10 its value and PnL would be a tenth."""
    answer = {
        "symbol": "BTCUSD_201225",
        "positionAmt": "1",
        "entryPrice": "11707.70000003",
        "markPrice": "11788.66626667",
        "unRealizedProfit": "0.00005866",
        "notionalValue": "0.00848272",
        "leverage": "20",
        "marginType": "cross",
        "positionSide": "BOTH",
        "updateTime": 1608210552000,
    }
    imported = import_account([[answer]], venue="binance")
    assert "instruments" not in imported.table  # the rules say so themselves: quarterlies are as large as the perpetual
    rows = _rows(imported)
    assert (rows["notional"][0], rows["unrealized_pnl"][0]) == ("equal", "equal")


def test_equity_of_a_coin_with_positions_that_are_not_listed_is_unknown() -> None:
    overview = {"currency": "USDT", "accountEquity": 48.9, "unrealisedPNL": 1.4, "marginBalance": 47.5}
    imported = import_account([{**overview, "positionMargin": 34.2}], venue="kucoin", settings=AT)
    (row,) = [row for row in _reconciled(imported).figures if row.figure == "balances.USDT.equity"]
    assert row.verdict == "unknown"
    assert "no positions" in str(row.cause)


def test_a_phemex_position_is_cross_at_a_leverage_below_0() -> None:
    answer = {
        "symbol": "SEIUSDT",
        "side": "Sell",
        "size": "10",
        "leverageRr": "-20",
        "crossMargin": False,
        "avgEntryPriceRp": "0.1165",
        "valueRv": "1.165",
        "positionMarginRv": "75.6",
        "maintMarginReqRr": "0.025",
        "liquidationPriceRp": "0.1",
    }
    (row,) = import_account([[answer]], venue="phemex", settings=AT).table["positions"]
    assert (row["quantity"], row["leverage"], row.get("margin_mode")) == ("-10", "20", None)
