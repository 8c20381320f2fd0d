"""Pockets of two coins: isolated positions on borrowed coins, judged, and read from OKX.

The recorded rows are restated; hand-worked figures use OKX's published formulas (isolated margin mode 6997123251341).
"""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import crossmargin as cm
from crossmargin.analytics.reconciliation import Reconciliation, reconcile
from crossmargin.engine.liquidation import liquidate
from crossmargin.errors import AccountError, MarketDataError
from crossmargin.files.accounts import case_from
from crossmargin.files.unified import import_account
from crossmargin.model.report import Crossing, Report
from crossmargin.model.reported import Reported

WHEN = "2023-01-15T16:00:00Z"


def _case(base: str, quote: str, mark: str = "100", *, rate: str = "0.05", fee: str = "0.001", **more: Any) -> cm.Case:
    pocket = {"symbol": "LTC/USDT", "balances": {"LTC": base, "USDT": quote}, **more}
    return case_from(
        {
            "profile": "okx-futures",
            "as_of": WHEN,
            "pockets": [pocket],
            "market": {"mark_price": {"LTC/USDT": mark}},
            "instruments": [
                {
                    "symbol": "LTC/USDT",
                    "taker_fee": fee,
                    "brackets": [{"notional_floor": "0", "maintenance_rate": rate}],
                }
            ],
        },
        "test",
    )


def _threshold(case: cm.Case) -> tuple[Crossing, Crossing]:
    (row,) = (row for row in cm.threshold(*case).thresholds if row.pool == "LTC/USDT isolated")
    return row.below, row.above


def test_a_short_owes_the_base() -> None:
    """1300 USDT held, 10 LTC owed at 100: equity 300, requirement 1000 x (1.05 x 1.001 - 1) = 51.05.

    Broken at 1300 / (10 x 1.05 x 1.001) = 123.6859...
    """
    case = _case("-10", "1300", leverage="4")
    report = cm.evaluate(*case)
    (pool,) = report.pools
    assert (pool.name, pool.currency, pool.equity) == ("LTC/USDT isolated", "USDT", Decimal(300))
    assert pool.maintenance_margin == Decimal("51.05")
    assert pool.initial_margin == 250
    below, above = _threshold(case)
    assert below.kind == "never"
    assert above.price is not None
    assert abs(above.price - Decimal(1300) / (Decimal("10.5") * Decimal("1.001"))) < Decimal("1e-20")


def test_a_long_owes_the_quote() -> None:
    """13 LTC held at 100, 1000 USDT owed: the same equity and requirement; broken at 1000 x 1.05 x 1.001 / 13."""
    case = _case("13", "-1000")
    pool = cm.evaluate(*case).pools[0]
    assert (pool.equity, pool.maintenance_margin, pool.initial_margin) == (Decimal(300), Decimal("51.05"), None)
    below, above = _threshold(case)
    assert above.kind == "never"
    assert below.price is not None
    assert abs(below.price - Decimal("1051.05") / 13) < Decimal("1e-20")


def test_interest_is_owed_too() -> None:
    """10 LTC and 0.1 of interest: the debt is 1010, equity 290, requirement 1010 x 0.05105."""
    balance = {"wallet_balance": "-10", "accrued_interest": "0.1"}
    pool = cm.evaluate(*_case(balance, "1300")).pools[0]
    assert (pool.equity, pool.maintenance_margin) == (Decimal(290), Decimal("51.5605"))


@given(
    owed=st.integers(1, 10_000),
    margin=st.integers(1, 9_000),
    mark=st.integers(1, 10_000),
    rate=st.sampled_from(["0.03", "0.05", "0.08"]),
    fee=st.sampled_from(["0", "0.001", "0.0015"]),
)
def test_at_its_threshold_a_pocket_has_no_headroom(owed: int, margin: int, mark: int, rate: str, fee: str) -> None:
    """In fractions: assets - debt x price x (1 + rate)(1 + fee) is zero there."""
    held = Fraction(owed * mark) * (1 + Fraction(margin, 1000))
    case = _case(f"-{owed}", str(Decimal(held.numerator) / Decimal(held.denominator)), str(mark), rate=rate, fee=fee)
    room = held - Fraction(owed * mark) * (1 + Fraction(rate)) * (1 + Fraction(fee))
    pool = cm.evaluate(*case).pools[0]
    assert abs(Fraction(pool.headroom) - room) < Fraction(1, 10**12)
    _, above = _threshold(case)
    if room <= 0:
        assert above.kind == "already"
    else:
        assert above.price is not None
        there = held - owed * Fraction(above.price) * (1 + Fraction(rate)) * (1 + Fraction(fee))
        assert abs(there) < Fraction(1, 10**12)


def test_the_requirement_is_explained_by_the_debt_and_its_source() -> None:
    (pool,) = cm.evaluate(*_case("-10", "1300")).lines
    (maintenance,) = (line for line in pool.parts if line.name == "maintenance_margin")
    (debt,) = maintenance.parts
    assert (debt.name, debt.value, debt.parts[0].value) == ("debt of LTC", maintenance.value, Decimal("0.05105"))
    assert "isolated-borrowing" in debt.source


def test_a_pocket_stands_alone() -> None:
    """The shared wallet neither saves a pocket nor is touched by it; the account is as weak as its weakest pool."""
    case = _case("-10", "1040")
    with_wallet = case_from(
        {"profile": "okx-futures", "as_of": WHEN, "balances": {"USDT": "5000"}, "market": {}}, "test"
    )
    account = case.account.model_copy(update={"balances": with_wallet.account.balances})
    report: Report = cm.evaluate(account, case.market, case.rules)
    assert report.status == "liquidation"
    assert {pool.name: pool.equity for pool in report.pools} == {"USDT": 5000, "LTC/USDT isolated": 40}


def test_the_coin_moves_the_pocket_with_everything_else_on_it() -> None:
    shock = cm.threshold(*_case("-10", "1300")).common_shock
    assert shock.below.kind == "never"
    assert shock.above.distance is not None
    assert abs(shock.above.distance - (Decimal(1300) / (Decimal("10.5") * Decimal("1.001")) / 100 - 1)) < Decimal(
        "1e-20"
    )


def test_without_a_stated_rate_the_assumed_one_is_said_to_be() -> None:
    case = _case("-10", "1300")
    rules = case_from({"profile": "okx-futures", "as_of": WHEN}, "test").rules
    report = cm.evaluate(case.account, case.market, rules)
    # 1000 x (1.03 x 1.001 - 1)
    assert report.pools[0].maintenance_margin == Decimal("31.03")
    assert any("first tier of the most traded pairs" in note for note in report.notes)
    assert not any("first tier of the most traded pairs" in note for note in cm.evaluate(*case).notes)


def test_a_pocket_without_a_mark_or_a_rule_is_refused() -> None:
    case = _case("-10", "1300")
    with pytest.raises(MarketDataError, match=r"mark_price\.LTC/USDT"):
        cm.evaluate(case.account, case.market.model_copy(update={"mark_price": {}}), case.rules)
    other = case_from({"profile": "binance-usdm", "as_of": "2026-01-01T00:00:00Z"}, "test").rules
    with pytest.raises(AccountError, match="no rule for isolated borrowing"):
        cm.evaluate(case.account, case.market, other)


@pytest.mark.parametrize(
    ("pocket", "why"),
    [
        ({"symbol": "LTC/USDT:USDT", "balances": {}}, "is a contract"),
        ({"symbol": "LTC/USDT", "balances": {"BTC": "1"}}, "is no coin of"),
        ({"symbol": "LTC/USDT", "balances": {"LTC": "x"}}, "plain decimal"),
    ],
)
def test_a_pocket_that_is_none_is_refused(pocket: dict[str, Any], why: str) -> None:
    with pytest.raises(AccountError, match=why):
        case_from({"profile": "okx-futures", "as_of": WHEN, "pockets": [pocket]}, "test")


def test_one_pair_has_one_pocket() -> None:
    case = _case("-10", "1300")
    with pytest.raises(AccountError, match="stands more than once"):
        cm.Account(profile="okx-futures", pockets=(*case.account.pockets, *case.account.pockets))


def test_a_book_refuses_pockets() -> None:
    with pytest.raises(AccountError, match="a book holds no pockets"):
        cm.Book.from_accounts([_case("-10", "1040").account])


def test_a_pocket_that_broke_is_taken_over_at_its_bankruptcy_price() -> None:
    """1040 USDT held, 10 LTC owed at 100: equity 40 is below 51.05. Bankrupt at 104; the fund gets 1040 - 1000."""
    walk = liquidate(*_case("-10", "1040"))
    (step,) = walk.steps
    assert (step.step, step.pool, step.currency) == ("take_over", "LTC/USDT isolated", "USDT")
    bought, settled = step.entries
    assert (bought.asset, bought.quantity, bought.price, bought.market_price) == ("LTC", 10, 104, 100)
    assert (bought.wallet_change, settled.wallet_change, settled.insurance_fund) == (10, -1040, 40)
    assert walk.account.pockets == ()
    assert (step.insurance_fund, step.equity_after, walk.insurance_fund) == (40, 0, {})


def test_the_fund_pays_what_a_bankrupt_pocket_lacks_and_others_what_the_fund_does_not() -> None:
    """10 LTC owed at 110, 1040 held: 60 are missing. A fund of 25 pays 25, the other 35 are shared."""
    case = _case("-10", "1040", "110")
    (whole,) = liquidate(*case, insurance_fund={"USDT": Decimal(100)}).steps
    assert (whole.step, whole.insurance_fund, whole.transfer) == ("take_over", -60, 0)
    short = liquidate(*case, insurance_fund={"USDT": Decimal(25)})
    (shared,) = short.steps
    assert (shared.step, shared.insurance_fund, shared.transfer) == ("socialized_loss", -25, 35)
    assert short.insurance_fund == {"USDT": 0}
    assert short.account.pockets == ()


def test_a_pocket_breaks_without_touching_the_wallet_or_another_pocket() -> None:
    case = _case("-10", "1040")
    second = case.account.pockets[0].model_copy(update={"symbol": "LTC/USDC", "balances": {"USDC": cm.Balance()}})
    balances = {"USDT": cm.Balance(wallet_balance=Decimal(5000))}
    account = case.account.model_copy(update={"balances": balances, "pockets": (*case.account.pockets, second)})
    market = case.market.model_copy(update={"mark_price": {"LTC/USDT": Decimal(100), "LTC/USDC": Decimal(100)}})
    after = liquidate(account, market, case.rules).account
    assert after.balances == balances
    assert after.pockets == (second,)


@given(
    owed=st.integers(1, 10_000), held=st.integers(0, 20_000), mark=st.integers(1, 500), fund=st.integers(0, 1_000_000)
)
def test_every_coin_of_a_closed_pocket_is_accounted_for(owed: int, held: int, mark: int, fund: int) -> None:
    """What the fund gains and others give adds up to what the pocket was worth, and the pocket's coins are gone."""
    walk = liquidate(*_case(f"-{owed}", str(held * 100), str(mark)), insurance_fund={"USDT": Decimal(fund)})
    worth = held * 100 - owed * mark
    if worth > owed * mark * Fraction("0.05105"):
        assert walk.steps == ()
        return
    (step,) = walk.steps
    assert step.insurance_fund - step.transfer == worth
    assert walk.insurance_fund["USDT"] == fund + step.insurance_fund >= 0
    assert {entry.asset: entry.wallet_change for entry in step.entries} == {"LTC": owed, "USDT": -held * 100}


def test_the_walk_along_a_line_reaches_the_pocket() -> None:
    """Broken at 1300 / (10.5 x 1.001) = 123.686; filled 10 % beyond, at 136.055 the 1300 lack 60.55."""
    found = cm.cascade(*_case("-10", "1300"), side="up", gap=Decimal("0.1"))
    (price,) = found.prices
    there = Decimal(1300) / (Decimal("10.5") * Decimal("1.001"))
    assert price.symbol == "LTC/USDT"
    # the step beyond the threshold itself is a millionth at most
    assert abs(price.filled - there * Decimal("1.1")) < Decimal("0.001")
    (bill,) = found.bills
    assert abs(bill.insurance_fund - (1300 - there * 11)) < Decimal("0.01")
    assert found.pockets == ()


def test_what_moves_a_pocket() -> None:
    """Headroom = USDT + LTC x mark x 1.05105 while LTC is owed: a coin dearer costs 10.5105, one more LTC 105.105."""
    found = cm.sensitivity(*_case("-10", "1300"))
    slopes = {(row.kind, row.name): (row.up, row.down) for row in found.slopes}
    assert slopes == {
        ("coin", "LTC"): (Decimal("-10.5105"),) * 2,
        ("mark_price", "LTC/USDT"): (Decimal("-10.5105"),) * 2,
        ("wallet_balance", "LTC of LTC/USDT"): (Decimal("105.105"),) * 2,
        ("wallet_balance", "USDT of LTC/USDT"): (Decimal(1),) * 2,
    }
    assert found.account_pool == "LTC/USDT isolated"


def test_what_moves_the_threshold_of_a_pocket() -> None:
    """T = USDT / (owed x 1.05105): 1 / 10.5105 a USDT, T / owed an LTC, and the mark of now does not move it."""
    found = cm.sensitivity(*_case("-10", "1300"), thresholds=("LTC",))
    slopes = {row.name: row.up for row in found.thresholds if row.side == "above"}
    assert set(slopes) == {"USDT of LTC/USDT", "LTC of LTC/USDT"}
    price = Decimal(1300) / Decimal("10.5105")
    for name, due in (("USDT of LTC/USDT", 1 / Decimal("10.5105")), ("LTC of LTC/USDT", price / 10)):
        slope = slopes[name]
        assert slope is not None
        assert abs(slope - due) < Decimal("1e-20")


# OKX ------------------------------------------------------------------------------------------------------------------

LTC_SHORT = {
    "instId": "LTC-USDT", "instType": "MARGIN", "pos": "12.00358728382", "posCcy": "USDT", "ccy": "USDT",
    "avgPx": "87.98", "lever": "5", "liab": "-0.113791", "liabCcy": "LTC", "interest": "0", "margin": "2.002266436",
    "markPx": "87.81", "mgnMode": "isolated", "mgnRatio": "3.903466055555656", "mmr": "0.4995993855",
    "liqPx": "100.31430948814871", "notionalUsd": "12.00358728382", "imr": "", "posSide": "net",
}  # fmt: skip
LTC_LONG = LTC_SHORT | {
    "pos": "0.068217105", "posCcy": "LTC", "ccy": "LTC", "avgPx": "87.65", "liab": "-4.9885529365682356",
    "liabCcy": "USDT", "margin": "0.011379", "markPx": "83.69", "mgnRatio": "2.800542789200504",
    "mmr": "0.002980375753715", "liqPx": "76.89915240864799",
}  # fmt: skip
SHIB_SHORT = LTC_SHORT | {
    "instId": "SHIB-USDT", "pos": "304.082907074178", "avgPx": "0.0000101420373911", "lever": "2",
    "liab": "-20000966.0227737993648251", "liabCcy": "SHIB", "margin": "101.445", "markPx": "0.000009133",
    "mgnRatio": "8.197678827946161", "mmr": "14.61350581487945", "liqPx": "0.0000140631692489",
}  # fmt: skip
CROSS = LTC_SHORT | {
    "instId": "BTC-USDT", "pos": "0.00048939012", "posCcy": "BTC", "avgPx": "19596.5", "lever": "4",
    "liab": "-9.59993342", "liabCcy": "USDT", "margin": "", "markPx": "19568.1", "mgnMode": "cross", "mgnRatio": "",
    "liqPx": "", "imr": "2.399983355", "mmr": "0.2879980026", "notionalUsd": "9.578049794568",
}  # fmt: skip


def _reconciled(payload: Any, **options: Any) -> Reconciliation:
    imported = import_account([payload], settings=[f"as_of={WHEN}"], **options)
    assert imported.not_understood == ()
    return reconcile(*imported.case(), imported.reported, lacking=imported.lacking)


@pytest.mark.parametrize("row", [LTC_SHORT, LTC_LONG, SHIB_SHORT], ids=["LTC short", "LTC long", "SHIB short"])
def test_recorded_positions_on_borrowed_coins_reconcile(row: dict[str, Any]) -> None:
    """Three figures of each; mmr of a long is counted in the base, as its margin is."""
    found = _reconciled({"code": "0", "data": [row]})
    assert [figure.verdict for figure in found.figures] == ["equal"] * 3


@pytest.mark.parametrize("row", [LTC_SHORT, LTC_LONG])
def test_which_coin_is_held_follows_from_the_one_that_is_owed(row: dict[str, Any]) -> None:
    bare = {key: value for key, value in row.items() if key not in ("posCcy", "posSide", "imr")}
    assert import_account([bare]).table["pockets"] == import_account([row]).table["pockets"]


@pytest.mark.parametrize("row", [LTC_SHORT, LTC_LONG, CROSS], ids=["short", "long", "cross"])
def test_the_clients_form_reads_like_the_venues_own(row: dict[str, Any]) -> None:
    symbol = row["instId"].replace("-", "/")
    client = {"info": row, "symbol": symbol, "contracts": 0.07, "entryPrice": 1.0, "contractSize": None, "side": "long"}
    at = [f"as_of={WHEN}"]
    wrapped, own = import_account([[client | {"markPrice": 83.0}]], settings=at), import_account([row], settings=at)
    assert wrapped.table == own.table
    assert wrapped.reported == own.reported


def test_several_pockets_and_a_contract_are_one_account() -> None:
    swap = {
        "instId": "BTC-USDT-SWAP", "instType": "SWAP", "pos": "1", "posSide": "net", "avgPx": "20000",
        "markPx": "20000", "mgnMode": "isolated", "margin": "50", "lever": "10",
    }  # fmt: skip
    case = import_account([[LTC_SHORT, SHIB_SHORT, swap]], settings=["as_of=2026-06-01T00:00:00Z"]).case()
    pools = [pool.name for pool in cm.evaluate(*case).pools]
    assert pools == ["BTC/USDT:USDT isolated", "LTC/USDT isolated", "SHIB/USDT isolated"]


@pytest.mark.parametrize(
    ("change", "balances"),
    [
        # newer accounts print the margin apart: 10.0013 for the sale of 0.113791 at 87.98, and 2.002266436 beside it
        ({"pos": "10.0013"}, {"LTC": "-0.113791", "USDT": "12.003566436"}),
        # or hold it in the coin that is owed
        ({"pos": "10.0013", "ccy": "LTC", "margin": "0.02"}, {"LTC": "-0.093791", "USDT": "10.0013"}),
        ({}, {"LTC": "-0.113791", "USDT": "12.00358728382"}),
    ],
)
def test_margin_is_counted_once_in_older_and_newer_accounts(change: dict[str, str], balances: dict[str, str]) -> None:
    (pocket,) = import_account([LTC_SHORT | change]).table["pockets"]
    assert {coin: held["wallet_balance"] for coin, held in pocket["balances"].items()} == balances


def test_quick_margin_mode_states_both_coins() -> None:
    """Net assets 100 - 8 x 10 = 20; maintenance 8 x 10 x 0.05 = 4; fees 84 x 0.001: ratio 20 / 4.084."""
    row = LTC_SHORT | {
        "pos": "", "liab": "", "posCcy": "", "liabCcy": "", "margin": "", "baseBal": "0", "quoteBal": "100",
        "baseBorrowed": "7.9", "quoteBorrowed": "0", "baseInterest": "0.1", "quoteInterest": "0", "markPx": "10",
        "mmr": "4", "mgnRatio": "4.897159647404506", "liqPx": "11.89295",
    }  # fmt: skip
    found = _reconciled(row)
    assert [figure.verdict for figure in found.figures][:2] == ["equal", "equal"]


def test_profit_is_what_the_pocket_holds_beyond_the_margin_that_was_put_in() -> None:
    """12.00358728382 - 0.113791 x 87.81 - 2.002266436 = 0.009333137820 less."""
    gain = Decimal("12.00358728382") - Decimal("0.113791") * Decimal("87.81") - Decimal("2.002266436")
    found = {row.figure: row for row in _reconciled(LTC_SHORT | {"upl": str(gain)}).figures}
    assert found["pools.LTC/USDT isolated.unrealized_pnl"].verdict == "equal"
    assert found["pools.LTC/USDT isolated.isolated_margin"].verdict == "equal"


def test_profit_alone_is_unknown_for_what_was_put_in_is_not_said() -> None:
    case = _case("-10", "1300")
    figure = "pools.LTC/USDT isolated.unrealized_pnl"
    (row,) = reconcile(*case, [Reported(figure=figure, value=Decimal("0.5"))]).figures
    assert (row.ours, row.verdict) == (None, "unknown")


def test_a_printed_figure_that_differs_says_so() -> None:
    """The same position at the assumed rate of 3 % and fee of 0.1 %: another requirement, another price."""
    rates = {"instruments": [{"symbol": "LTC/USDT", "brackets": [{"notional_floor": "0", "maintenance_rate": "0.03"}]}]}
    found = {row.figure.rpartition(".")[2]: row for row in _reconciled(LTC_SHORT, fragments=[rates]).figures}
    assert found["maintenance_margin_before_fee"].verdict == "differs"
    price = found["liquidation_price"]
    assert price.verdict == "differs"
    assert price.ours is not None
    # 12.00358728382 / (0.113791 x 1.03 x fee): below it only the fee is read back, from what mgnRatio leaves beside mmr
    assert price.ours > Decimal("100.5")


def test_a_cross_position_is_part_of_the_balances() -> None:
    """mmr = 9.59993342 x 0.03, imr = 9.59993342 / 4: read back in 2022."""
    imported = import_account([CROSS], settings=[f"as_of={WHEN}"])
    assert imported.table["profile"] == "okx-multi-currency"
    assert imported.table["balances"] == {
        "BTC": {"wallet_balance": "0.00048939012"},
        "USDT": {"wallet_balance": "-9.59993342"},
    }
    found = reconcile(*imported.case(), imported.reported, lacking=imported.lacking)
    assert {row.figure: row.verdict for row in found.figures} == {
        "balances.USDT.maintenance_margin in USDT": "equal",
        "balances.USDT.initial_margin in USDT": "equal",
    }


def test_cross_positions_add_up_and_the_balances_answer_goes_before_them() -> None:
    eth = CROSS | {
        "instId": "ETH-USDT",
        "pos": "0.01",
        "posCcy": "ETH",
        "markPx": "1000",
        "liab": "-5",
        "imr": "",
        "mmr": "",
    }
    both = import_account([[CROSS, eth]], settings=[f"as_of={WHEN}"]).table["balances"]
    assert both["USDT"]["wallet_balance"] == "-14.59993342"
    stated = import_account([CROSS], settings=[f"as_of={WHEN}", "balances.USDT=-12"]).table["balances"]
    assert stated == {"USDT": {"wallet_balance": "-12"}}


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"posCcy": "BTC", "liabCcy": "LTC"}, "posCcy"),
        ({"instId": "LTC"}, "instId"),
        ({"avgPx": ""}, "avgPx"),
        ({"baseBal": "1", "baseBorrowed": "1"}, "instId"),
    ],
)
def test_a_row_that_cannot_be_told_is_a_fault(change: dict[str, str], path: str) -> None:
    with pytest.raises(AccountError) as caught:
        import_account([LTC_SHORT | change])
    assert path in [fault.path.rpartition(".")[2] for fault in caught.value.faults]


def test_a_row_without_a_debt_is_no_position() -> None:
    imported = import_account([LTC_SHORT | {"liab": "0", "pos": "0"}], venue="okx", settings=[f"as_of={WHEN}"])
    assert "pockets" not in imported.table
