"""Account answers of Bitget's unified, HTX's cross and Bybit's classic account, and what they make of an account.

Shapes: the venues' interface pages. The stream answers of HTX (2025-12-04) and Bitget (documented sample) are restated.
"""

from decimal import Decimal
from typing import Any

import crossmargin as cm
from crossmargin.analytics.reconciliation import Reconciliation, reconcile
from crossmargin.files.unified import import_account

BITGET_STREAM: dict[str, Any] = {
    "unrealisedPnL": "-10116.55", "totalEquity": "4976919.05", "positionMgnRatio": "0", "mmr": "408.08",
    "effEquity": "4847952.35", "imr": "17795.97", "mgnRatio": "0",
    "coin": [
        {"debts": "0", "balance": "0.9992", "available": "0.9992", "borrow": "0", "locked": "0", "equity": "0.9992",
         "coin": "ETH", "usdValue": "2488.667472"},
        {"debts": "0", "balance": "354411.45536458", "available": "344282.65536458", "borrow": "0", "locked": "0",
         "equity": "344282.65536458", "coin": "USDT", "usdValue": "343866.07335159"},
    ],
}  # fmt: skip

HTX_CROSS: dict[str, Any] = {
    "margin_mode": "cross", "margin_account": "USDT", "margin_asset": "USDT", "margin_balance": "100.53535178",
    "margin_static": "100.53535178", "margin_position": "0", "margin_frozen": "0E-18", "profit_real": "-0.2536753",
    "profit_unreal": "0E-18", "withdraw_available": "100.53535178", "risk_rate": None, "position_mode": "dual_side",
    "contract_detail": [{"symbol": "BTC", "contract_code": "BTC-USDT", "margin_position": 0}],
}  # fmt: skip

HTX_ROW: dict[str, Any] = {
    "symbol": "BTC", "contract_code": "BTC-USDT", "volume": 2, "available": 2, "frozen": 0, "cost_open": 51179.1,
    "cost_hold": 51179.1, "profit_unreal": 0, "profit_rate": 0, "lever_rate": 10, "position_margin": 10.23582,
    "direction": "sell", "profit": 0, "last_price": 51179.1, "margin_asset": "USDT", "margin_mode": "cross",
    "margin_account": "USDT",
}  # fmt: skip

BYBIT_CLASSIC: dict[str, Any] = {
    "accountType": "CONTRACT", "accountIMRate": "", "accountMMRate": "", "totalEquity": "", "totalWalletBalance": "",
    "totalMarginBalance": "", "totalAvailableBalance": "", "totalPerpUPL": "", "totalInitialMargin": "",
    "totalMaintenanceMargin": "", "accountLTV": "",
    "coin": [
        {"coin": "USDT", "equity": "250.5", "usdValue": "", "walletBalance": "250", "availableToWithdraw": "190",
         "totalOrderIM": "0", "totalPositionIM": "60", "totalPositionMM": "3", "unrealisedPnl": "0.5", "bonus": "0"},
    ],
}  # fmt: skip


def _reconciled(payload: Any, when: str, **options: Any) -> Reconciliation:
    imported = import_account([payload], settings=[f"as_of={when}"], **options)
    assert imported.not_understood == ()
    return reconcile(*imported.case(), imported.reported, lacking=imported.lacking)


def test_bitgets_unified_account_counts_what_is_owed_against_the_balance() -> None:
    """The index price is value over equity: 2488.667472 / 0.9992 for ETH; a loan of 0.5 ETH leaves 0.4992."""
    owing = BITGET_STREAM["coin"][0] | {"debts": "0.5", "equity": "0.4992", "usdValue": "1243.336896"}
    for coin, wallet in ((BITGET_STREAM["coin"][0], "0.9992"), (owing, "0.4992")):
        imported = import_account([BITGET_STREAM | {"coin": [coin]}], venue="bitget")
        assert imported.table["profile"] == "bitget-unified"
        assert imported.table["balances"] == {"ETH": {"wallet_balance": wallet}}
        index = Decimal(imported.table["market"]["index_price"]["ETH"])
        assert abs(index - Decimal("2490.66")) < Decimal("0.01")
    whole = import_account([BITGET_STREAM], venue="bitget")
    assert {row.figure for row in whole.reported} >= {"equity", "initial_margin", "maintenance_margin"}
    assert whole.lacking == ("positions",)


def test_an_empty_cross_account_of_htx_reconciles() -> None:
    found = _reconciled(HTX_CROSS, "2025-12-04T10:41:33Z")
    assert {row.figure: row.verdict for row in found.figures} == {
        "pools.USDT.equity": "equal",
        "pools.USDT.withdrawable": "equal",
    }


def test_a_cross_row_of_htx_is_a_short_at_the_latest_price() -> None:
    """2 contracts of 0.001 BTC at 51,179.1 and 10x: 10.23582; 0.75 % of 102.3582 to stay."""
    imported = import_account([HTX_ROW], settings=["as_of=2021-12-09T00:00:00Z", "balances.USDT=1000"])
    (position,) = imported.table["positions"]
    assert (position["quantity"], position["leverage"]) == ("-2", "10")
    assert imported.table["market"]["mark_price"] == {"BTC/USDT:USDT": "51179.1"}
    found = {row.figure: row.verdict for row in reconcile(*imported.case(), imported.reported).figures}
    assert found["positions.BTC/USDT:USDT.initial_margin"] == "equal"
    assert cm.evaluate(*imported.case()).maintenance_margin == Decimal("0.7676865")


def test_the_account_and_its_rows_are_one_account() -> None:
    held = HTX_CROSS | {"margin_position": "10.23582", "positions": [HTX_ROW]}
    imported = import_account([{"status": "ok", "data": held}], settings=["as_of=2021-12-09T00:00:00Z"])
    assert imported.lacking == ()
    report = cm.evaluate(*imported.case())
    assert (report.equity, report.initial_margin) == (Decimal("100.53535178"), Decimal("10.23582"))


def test_a_classic_account_of_bybit_has_a_pool_for_each_coin() -> None:
    """No index price is asked for: each coin backs its own contracts at par, whatever it is worth elsewhere."""
    answer = {"result": {"list": [BYBIT_CLASSIC]}}
    short = {
        "symbol": "BTCUSDT", "side": "Sell", "size": "0.012", "avgPrice": "26557.39166667", "leverage": "10",
        "markPrice": "26515.725", "positionMM": "1.7862", "positionIM": "32.06167667", "unrealisedPnl": "0.5",
        "positionIdx": "0", "tradeMode": 0,
    }  # fmt: skip
    imported = import_account([answer, {"result": {"list": [short]}}], settings=["as_of=2023-12-01T00:00:00Z"])
    assert imported.table["profile"] == "bybit-classic"
    report = cm.evaluate(*imported.case())
    (pool,) = report.pools
    assert (pool.name, pool.currency, round(pool.equity, 6)) == ("USDT", "USDT", Decimal("250.500000"))
    # 318.6887 / 10 and 0.055 % of 1.1 x 318.6887
    assert abs(report.positions[0].initial_margin - Decimal("32.06167667")) < Decimal("1e-6")
