"""The judge of the judge: the oracle gives the figures that venues have printed, so it may correct the engine."""

from __future__ import annotations

from fractions import Fraction as F

import oracle
from oracle import Basis, Law, judge, scan, with_deductions

ONE = ("cross", "")


def close(found: F | None, printed: str, unit: str) -> None:
    """Equal to what was printed, to one unit of the last printed digit."""
    assert found is not None
    assert abs(found - F(printed)) <= F(unit), float(found)


def perp(symbol: str, quantity: str, entry: str, mark: str, **more: object) -> dict:
    position = {"symbol": symbol, "quantity": quantity, "entry_price": entry, "leverage": "20", **more}
    return {"positions": [position], "market": {"mark_price": {symbol: mark}}, "balances": {}}


def test_binance_deductions_follow_the_published_recursion():
    law = Law("USD", brackets=oracle.bracket_file("binance-usdm.brackets.csv"))
    # TIERS.md, 1.1: the cum column of the snapshot, not our file
    printed = [0, 50, 950, 11450, 131450, 481450, 2981450, 14481450, 26481450, 41481450, 121481450, 421481450]
    assert [entry[2] for entry in law.brackets["BTC/USDT:USDT"]] == printed


def test_binance_two_position_cross_example():
    """FAQ b3c689c1: 1153.26 for ETH and 26316.89 for BTC."""
    brackets = {
        "BTC/USDT:USDT": with_deductions([(F(0), F("0.025"), None, F(16300))]),
        "ETH/USDT:USDT": with_deductions([(F(0), F("0.1"), None, F(135365))]),
    }
    law = Law("USD", pooling="per_settle", collateral="settle", brackets=brackets)
    account = {
        "balances": {"USDT": "1535443.01"},
        "positions": [
            {"symbol": "BTC/USDT:USDT", "quantity": "109.488", "entry_price": "32481.98"},
            {"symbol": "ETH/USDT:USDT", "quantity": "3683.979", "entry_price": "1456.84"},
        ],
        "market": {"mark_price": {"BTC/USDT:USDT": "31967.27", "ETH/USDT:USDT": "1335.18"}},
    }
    for symbol, mark, printed in (("ETH/USDT:USDT", "1335.18", "1153.26"), ("BTC/USDT:USDT", "31967.27", "26316.89")):
        found = scan(oracle.along_mark(law, account, ("cross", "USDT"), symbol), []).below
        close(None if found is None else found * F(mark), printed, "0.01")


def test_binance_multi_assets_state_one():
    """FAQ c983a926: equity 416.02 of 200 USDT and 220 USDC."""
    law = Law("USD", collateral="bid_ask", buffers={"USDT": (F("0.01"), F("0.005")), "USDC": (F(0), F(0))})
    market = {"index_price": {"USDT": "0.99", "USDC": "1"}}
    close(judge(law, {"balances": {"USDT": "200", "USDC": "220"}, "market": market})[ONE].equity, "416.02", "0.01")


def test_binance_multi_assets_charges_debts_and_requirements_at_ask():
    """API docs: ADAUSD bidRate 1.73661633, askRate 2.12253107 of index 1.9295737 with 10 % buffers."""
    law = Law("USD", collateral="bid_ask", buffers={"ADA": (F("0.1"), F("0.1"))})
    market = {"index_price": {"ADA": "1.9295737"}}
    close(judge(law, {"balances": {"ADA": "1"}, "market": market})[ONE].equity, "1.73661633", "0.00000001")
    close(judge(law, {"balances": {"ADA": "-1"}, "market": market})[ONE].equity, "-2.12253107", "0.00000001")


def test_binance_coin_margined_maintenance_counts_coins():
    """FAQ ceccfcfb: a 300 BTC position has 12.5 % and a deduction of 11.81 BTC."""
    rows = with_deductions([(F(0), F("0.05"), None, F("1.81")), (F("133.333"), F("0.125"), None, F("11.81"))])
    law = Law("USD", pooling="per_settle", collateral="settle", inverse_size=F(100), brackets={"BTC/USD:BTC": rows})
    pool = judge(law, perp("BTC/USD:BTC", "150000", "50000", "50000"))["cross", "BTC"]
    assert pool.maintenance == 300 * F("0.125") - F("11.81")


def bybit(**more: object) -> Law:
    one = with_deductions([(F(0), F("0.005"), F(100), None)])
    rows = {"BTC/USDT:USDT": one, "BTC/USD:BTC": one}
    fee = F("0.00055")
    return Law("USD", collateral="tiers", fee=fee, brackets=rows, **more)


def test_bybit_isolated_price_with_extra_margin():
    """New Margin Calculation page: 36,380.25 with 3,000 added to a 50x long from 40,000.

    The pocket holds the initial margin, the fee reserved for the close and what was added.
    """
    reserved = 40000 * F(49, 50) * F("0.00055")
    pocket = 800 + reserved + 3000
    account = perp("BTC/USDT:USDT", "1", "40000", "40000", margin_mode="isolated", isolated_margin=str(float(pocket)))
    account["market"]["index_price"] = {"USDT": "1"}
    key = ("isolated", "BTC/USDT:USDT", "net")
    law = bybit(isolated=Basis("entry", "mark"))
    close(scan(oracle.along_coins(law, account, key, {"BTC": F(1)}), []).below * 40000, "36380.25", "0.01")


def test_bybit_maintenance_holds_the_fee_to_close():
    """Same page: 221.56 = 40,000 x 0.5 % + 21.56."""
    account = perp("BTC/USDT:USDT", "1", "40000", "40000", leverage="50")
    account["market"]["index_price"] = {"USDT": "1"}
    pool = judge(bybit(), account)[ONE]
    assert (pool.maintenance, pool.initial) == (F("221.56"), 800 + F("21.56"))


def test_bybit_live_position_margins():
    """A recorded XRP position (ccxt 4.5.84, bybit.js): positionIM 3.634521 and positionMM 0.381021 at entry value."""
    rows = {"XRP/USDT:USDT": with_deductions([(F(0), F("0.01"), None, None)])}
    law = Law("USD", collateral="tiers", fee=F("0.0006"), cross=Basis("entry", "entry"), brackets=rows)
    account = perp("XRP/USDT:USDT", "100", "0.3615", "0.3432", leverage="10")
    account["market"]["index_price"] = {"USDT": "1"}
    pool = judge(law, account)[ONE]
    assert (pool.initial, pool.maintenance) == (F("3.634521"), F("0.381021"))


def test_bybit_inverse_value_at_bankruptcy():
    """Value at bankruptcy is q/EP x (1 + 1/leverage) for a long, (1 - 1/leverage) for a short."""
    for quantity, factor in (("10000", F(11, 10)), ("-10000", F(9, 10))):
        account = perp("BTC/USD:BTC", quantity, "40000", "40000", leverage="10")
        account["market"]["index_price"] = {"BTC": "40000"}
        expected = (F(1, 4) * F("0.005") + F(1, 4) * factor * F("0.00055")) * 40000
        assert judge(bybit(), account)[ONE].maintenance == expected


def test_bybit_collateral_ratios_are_marginal_in_coins():
    """The official illustration: 0-10 BTC at 0.98, 10-20 at 0.95, 20-30 at 0.9 ... above 50 nothing."""
    tiers = [(F(f), F(r)) for f, r in (("0", "0.98"), ("10", "0.95"), ("20", "0.9"), ("30", "0.85"), ("40", "0.8"))]
    law = Law("USD", collateral="tiers", ratios={"BTC": [*tiers, (F(50), F(0))]})
    for held, coins in (("25", F("23.8")), ("60", F("44.8")), ("-3", F(-3))):
        found = judge(law, {"balances": {"BTC": held}, "market": {"index_price": {"BTC": "1000"}}})
        assert found[ONE].equity == coins * 1000


def test_hyperliquid_rate_is_half_of_the_initial_one_with_its_deduction():
    """Margin tiers page: 1.25 % at 40x; above 150 million 2.5 % less 1,875,000."""
    table = with_deductions([(F(0), None, F(40), None), (F(150_000_000), None, F(20), None)], half_of_max_leverage=True)
    assert [bracket[1:3] for bracket in table] == [(F("0.0125"), 0), (F("0.025"), 1_875_000)]


def test_hyperliquid_recorded_threshold():
    """A recorded isolated IMX long: liquidationPx 0.560941037."""
    table = with_deductions([(F(0), None, F(5), None)], half_of_max_leverage=True)
    law = Law("USDC", half_of_max_leverage=True, brackets={"IMX/USDC:USDC": table})
    # rawUsd -7.572704 is the pocket less the entry value: margin 15 x 0.757 - 7.572704
    account = perp("IMX/USDC:USDC", "15", "0.757", "0.75898", margin_mode="isolated", isolated_margin="3.782296")
    headroom = oracle.along_coins(law, account, ("isolated", "IMX/USDC:USDC", "net"), {"IMX": F(1)})
    close(scan(headroom, []).below * F("0.75898"), "0.560941037", "0.000000001")


def test_a_scan_finds_the_nearest_of_two_and_reports_none():
    def two(factor: F) -> F:
        return (factor - F(1, 2)) * (2 - factor)

    near = scan(two, [])
    close(near.below, "0.5", "0.000000000001")
    close(near.above, "2", "0.000000000002")
    assert scan(lambda _: F(1), []) == oracle.Nearest(None, None)
