"""Reconcile: each verdict, and each cause found by asking again under it. Figures worked by hand in the comments."""

import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from typer.testing import CliRunner

import crossmargin as cm
from crossmargin.analytics.reconciliation import ReconciledFigure, reconcile
from crossmargin.apps.cli import app
from crossmargin.files.accounts import Case, case_from
from crossmargin.model.reported import Reported

# one BTC long entered at 60,000 on 20,000 USDT, mark 61,000: equity 21,000, maintenance 0.5 % of 61,000 = 305
CASE = {
    "profile": "plain-cross",
    "as_of": "2026-01-01T00:00:00Z",
    "balances": {"USDT": "20000"},
    "positions": [{"symbol": "BTC/USDT:USDT", "quantity": "1", "entry_price": "60000", "leverage": "10"}],
    "market": {"mark_price": {"BTC/USDT:USDT": "61000"}},
    "instruments": [
        {
            "symbol": "BTC/USDT:USDT",
            "taker_fee": "0.0005",
            "brackets": [{"notional_floor": "0", "maintenance_rate": "0.005"}],
        }
    ],
}


def _case() -> Case:
    return case_from(CASE, "test")


def _row(figure: str, value: str | None, **options: object) -> ReconciledFigure:
    reported = [Reported(figure=figure, value=None if value is None else Decimal(value))]
    (row,) = reconcile(*_case(), reported, **options).figures
    return row


# verdicts -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("figure", "printed", "verdict"),
    [
        ("equity", "21000", "equal"),
        ("equity", "21000.9", "within_tolerance"),  # 0.9 of 21,000.9 is 0.43 of a basis point
        ("equity", "21003", "differs"),  # 1.4 basis points
        ("margin_ratio", "0.0145", "equal"),  # 305 / 21,000 = 0.014523..., cut to four digits
        ("margin_ratio", "0.014", "equal"),
        ("margin_ratio", "0.0143", "differs"),
        ("positions.BTC/USDT:USDT.unrealized_pnl", "1000.00", "equal"),
        ("maintenance_coverage", "68.852459", "equal"),  # 21,000 / 305
        ("initial_coverage", "3.44", "equal"),  # 21,000 / 6,100 = 3.4426...
        ("initial_margin_ratio", "0.2904", "equal"),  # 6,100 / 21,000 = 0.29047...
        ("positions.BTC/USDT:USDT.margin_and_pnl", "7100", "equal"),  # 6,100 + 1,000
        ("positions.ETH/USDT:USDT.unrealized_pnl", "1", "unknown"),
        ("nonsense", "1", "unknown"),
    ],
)
def test_a_figure_is_judged_by_the_digits_that_were_printed(figure: str, printed: str, verdict: str) -> None:
    assert _row(figure, printed).verdict == verdict


def test_the_liquidation_price_is_the_one_venues_print() -> None:
    """20,000 + (P - 60,000) = 0.005 P at P = 40,000 / 0.995 = 40,201.005..."""
    assert _row("positions.BTC/USDT:USDT.liquidation_price", "40201.01").verdict == "equal"
    assert _row("positions.BTC/USDT:USDT.liquidation_price", "40100").verdict == "differs"


def test_a_price_that_the_venue_does_not_print_is_not_called_safe() -> None:
    row = _row("positions.BTC/USDT:USDT.liquidation_price", None)
    assert row.verdict == "unknown"
    assert "ours is 40201" in (row.cause or "")


def test_both_say_never_is_equal_and_one_of_them_is_not() -> None:
    account, market, rules = _case()
    rich = account.model_copy(update={"balances": {"USDT": cm.Balance(wallet_balance=Decimal(100_000))}})
    figure = "positions.BTC/USDT:USDT.liquidation_price"
    (never,) = reconcile(rich, market, rules, [Reported(figure=figure, value=None)]).figures
    (price,) = reconcile(rich, market, rules, [Reported(figure=figure, value=Decimal(5))]).figures
    assert (never.verdict, price.verdict) == ("equal", "differs")


def test_the_verdict_of_the_whole_is_the_worst() -> None:
    good, bad = Reported(figure="equity", value=Decimal(21000)), Reported(figure="equity", value=Decimal(5))
    odd = Reported(figure="nonsense", value=Decimal(5))
    assert reconcile(*_case(), [good]).verdict == "equal"
    assert reconcile(*_case(), [good, odd]).verdict == "unknown"
    assert reconcile(*_case(), [good, odd, bad]).verdict == "differs"
    assert reconcile(*_case(), []).verdict == "unknown"


# causes ---------------------------------------------------------------------------------------------------------------

CAUSES = [
    # value at entry: 60,000 / 10 and 0.5 % of 60,000
    ("positions.BTC/USDT:USDT.initial_margin", "6000", "initial margin valued at entry"),
    ("positions.BTC/USDT:USDT.maintenance_margin", "300", "maintenance margin valued at entry"),
    # 305 and the taker fee on 61,000 (30.5), on 60,000 (30), on the bankruptcy value 54,000 (27)
    (
        "positions.BTC/USDT:USDT.maintenance_margin",
        "335.5",
        "with the fee to close at the mark in the maintenance margin",
    ),
    ("positions.BTC/USDT:USDT.maintenance_margin", "335.0", "with the fee to close at entry in the maintenance margin"),
    ("positions.BTC/USDT:USDT.maintenance_margin", "332.0", "with the fee to close at the bankruptcy price"),
    # 20,000 - 6,100: the profit of 1,000 does not count to open
    ("free_collateral", "13900", "unrealized profit does not count"),
    ("equity", "20000", "unrealized profit does not count"),
    # 0.65 % of 61,000 = 396.5
    (
        "positions.BTC/USDT:USDT.maintenance_margin",
        "396.5",
        "the tier table: the venue's figure is a rate of 0.0065, ours 0.005",
    ),
    # PnL of 1,012.5 is a mark of 61,012.5, 0.02 % away
    ("positions.BTC/USDT:USDT.unrealized_pnl", "1012.5", "consistent with another tick of the mark: 61012.5"),
]


@pytest.mark.parametrize(("figure", "printed", "cause"), CAUSES)
def test_the_cause_that_gives_the_venues_figure_is_named(figure: str, printed: str, cause: str) -> None:
    row = _row(figure, printed)
    assert row.verdict == "differs"
    assert (row.cause or "").startswith(cause)


def test_a_difference_that_nothing_documented_gives_has_no_cause() -> None:
    row = _row("equity", "17.3")
    assert (row.verdict, row.cause) == ("differs", None)


def test_a_price_in_steps_of_five_is_a_rounded_one() -> None:
    """40,201.005 printed in steps of 0.05 upward is 40,201.05."""
    row = _row("positions.BTC/USDT:USDT.liquidation_price", "40201.05", tolerance=Decimal(0))
    assert row.cause == "consistent with a price rounded to a tick of 0.05"


def test_what_orders_would_hold_is_said_where_equity_and_margin_agree() -> None:
    """Free is 21,000 - 6,100 = 14,900; the venue shows 400 less, and its equity is ours."""
    reported = [
        Reported(figure="equity", value=Decimal(21000)),
        Reported(figure="free_collateral", value=Decimal(14500)),
    ]
    _, free = reconcile(*_case(), reported).figures
    assert free.cause == "consistent with open orders that the source does not list: they would hold 400"


def test_the_rules_of_another_date_are_a_cause() -> None:
    account, market, stated = _case()
    rules = replace(stated, overridden=frozenset())
    older = replace(rules, since=rules.since.replace(year=2019), brackets={"BTC/USDT:USDT": (cm_bracket("0.0123"),)})
    reported = [Reported(figure="maintenance_margin", value=Decimal("750.3"))]  # 1.23 % of 61,000
    (row,) = reconcile(account, market, rules, reported, other_rules=[older]).figures
    assert row.cause == f"the rules and tables of {older.since}, not of {rules.since}"
    # what the account file itself restates holds under any rules
    (row,) = reconcile(account, market, stated, reported, other_rules=[older]).figures
    assert row.cause is None


def cm_bracket(rate: str) -> object:
    from crossmargin.model.brackets import Bracket

    return Bracket(notional_floor=Decimal(0), maintenance_rate=Decimal(rate))


def test_hedged_legs_charged_together_are_a_cause() -> None:
    """Long 1 and short 1 at 61,000: each on its own 305, larger side 305 for both, net 0."""
    raw = {
        **CASE,
        "positions": [
            {"symbol": "BTC/USDT:USDT", "quantity": q, "entry_price": "60000", "leverage": "10", "position_side": s}
            for q, s in (("1", "long"), ("-1", "short"))
        ],
    }
    case = case_from(raw, "test")
    ours = cm.evaluate(*case).maintenance_margin
    assert ours == 610
    (row,) = reconcile(*case, [Reported(figure="maintenance_margin", value=Decimal(305))]).figures
    assert row.cause == "both sides of a hedge charged by the larger one"


# accounts that are listed in part -------------------------------------------------------------------------------------


def test_totals_without_positions_are_checked_against_each_other() -> None:
    account = cm.Account(profile="plain-cross")
    _, market, rules = _case()
    reported = [
        Reported(figure="equity", value=Decimal("969.8236")),
        Reported(figure="initial_margin", value=Decimal("747.0722")),
        Reported(figure="maintenance_margin", value=Decimal("268.5796")),
        Reported(figure="free_collateral", value=Decimal("222.7514")),  # 969.8236 - 747.0722
        Reported(figure="maintenance_coverage", value=Decimal("3.6109")),  # 969.8236 / 268.5796 = 3.61093...
        Reported(figure="initial_coverage", value=Decimal("1.31")),  # 969.8236 / 747.0722 = 1.2981...
    ]
    found = reconcile(account, market, rules, reported, lacking=("balances", "positions"))
    verdicts = {row.figure: (row.verdict, row.basis) for row in found.figures}
    assert verdicts["free_collateral"] == ("equal", "totals")
    assert verdicts["maintenance_coverage"] == ("equal", "totals")
    assert verdicts["initial_coverage"] == ("differs", "totals")
    assert verdicts["equity"] == ("unknown", "totals")
    assert found.verdict == "differs"


def test_profit_that_is_not_usable_is_found_in_totals_too() -> None:
    """Available 193.7609 is wallet 194.8212 less used 1.0602 (to the digit): the profit of 1.9219 is left out."""
    _, market, rules = _case()
    reported = [
        Reported(figure="pools.USDT.equity", value=Decimal("196.7431")),
        Reported(figure="pools.USDT.unrealized_pnl", value=Decimal("1.9219")),
        Reported(figure="pools.USDT.initial_margin", value=Decimal("1.0602")),
        Reported(figure="pools.USDT.free_collateral", value=Decimal("193.7609")),
    ]
    account = cm.Account(profile="plain-cross")
    row = reconcile(account, market, rules, reported, lacking=("positions",)).figures[-1]
    assert (row.verdict, row.cause) == ("differs", "unrealized profit does not count to open")


def test_without_balances_positions_are_compared_and_the_account_is_not() -> None:
    account, market, rules = _case()
    bare = account.model_copy(update={"balances": {}})
    reported = [
        Reported(figure="positions.BTC/USDT:USDT.maintenance_margin", value=Decimal(305)),
        Reported(figure="positions.BTC/USDT:USDT.liquidation_price", value=Decimal(40201)),
    ]
    maintenance, price = reconcile(bare, market, rules, reported, lacking=("balances",)).figures
    assert (maintenance.verdict, price.verdict) == ("equal", "unknown")


# the verb -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("equity", "code"), [("21000", 0), ("21000.9", 0), ("21100", 3)])
def test_the_verb_compares_an_account_file_and_exits_3_beyond_tolerance(tmp_path: Path, equity: str, code: int) -> None:
    path = tmp_path / "account.json"
    path.write_text(json.dumps({**CASE, "reported": {"equity": equity}}))
    done = CliRunner().invoke(app, ["reconcile", str(path), "--json"])
    assert done.exit_code == code, done.output
    (row,) = json.loads(done.stdout)["figures"]
    assert (row["ours"], row["theirs"]) == ("21000", equity)


def test_the_verb_exits_5_where_nothing_can_be_compared(tmp_path: Path) -> None:
    path = tmp_path / "account.json"
    path.write_text(json.dumps(CASE))
    assert CliRunner().invoke(app, ["reconcile", str(path)]).exit_code == 5


def test_the_verb_shows_figures_and_causes(tmp_path: Path) -> None:
    path = tmp_path / "account.json"
    path.write_text(json.dumps({**CASE, "reported": {"initial_margin": "6000"}}))
    shown = CliRunner().invoke(app, ["reconcile", str(path)], env={"COLUMNS": "160"}).stdout
    assert "initial_margin: initial margin valued at entry" in shown
    assert "6,100" in shown
