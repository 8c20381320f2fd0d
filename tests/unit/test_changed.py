"""A what-if saved as an account file: judged again, it stands where the what-if said."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

import crossmargin as cm
from crossmargin.apps.changed import changed_file
from crossmargin.files.accounts import case_from, read_table
from crossmargin.model.instrument import parse_symbol
from crossmargin.model.report import to_plain

EXAMPLES = Path(__file__).parents[2] / "examples"
FILES = sorted(path.stem for path in EXAMPLES.glob("*.toml") if "profile" in read_table(str(path))[0])


def changed(name: str, *changes: dict[str, str]) -> tuple[dict[str, object], cm.Report]:
    """The saved file, and its report."""
    raw, where = read_table(str(EXAMPLES / f"{name}.toml"))
    file = changed_file(raw, case_from(raw, where), cm.changes_from(changes))
    return file, cm.evaluate(*case_from(file, "saved"))


def test_only_what_is_changed_is_written_anew() -> None:
    """BTC -40 %: 2,000 - 0.05 x 40,000 = 0 of equity against 0.005 x (3,000 + 4,000) = 35."""
    raw = to_plain(read_table(str(EXAMPLES / "article-2.1-cross.toml"))[0])
    file, report = changed("article-2.1-cross", {"kind": "move_price", "coin": "BTC", "by": "-0.4"})
    assert {name for name in file if file[name] != raw.get(name)} == {"market"}
    assert file["market"] == {"mark_price": {"BTC/USDT:USDT": "60000", "ETH/USDT:USDT": "4000"}}
    assert (report.equity, report.maintenance_margin, report.status) == (0, 35, "liquidation")


def test_an_order_is_a_position_at_the_mark_in_the_file() -> None:
    """0.025 BTC more at 100,000 and 5x: 2,500 / 5 = 500 of initial margin, 12.50 of maintenance margin."""
    order = {"kind": "order", "symbol": "BTC/USDT:USDT", "quantity": "0.025", "fee_rate": "0"}
    file, report = changed("article-2.1-cross", order)
    assert [row["quantity"] for row in file["positions"]] == ["0.075", "1"]
    assert (report.initial_margin, report.maintenance_margin) == (2000, Decimal("57.5"))


@pytest.mark.parametrize("name", FILES)
def test_every_example_stands_where_the_what_if_said(name: str) -> None:
    raw, where = read_table(str(EXAMPLES / f"{name}.toml"))
    case = case_from(raw, where)
    coins = {parse_symbol(p.symbol).base for p in case.account.positions}
    changes = cm.changes_from(
        [{"kind": "move_price", "coin": coin, "by": "-0.0123"} for coin in sorted(coins)]
        + [{"kind": "close", "symbol": case.account.positions[0].symbol, "share": "0.37",
            "position_side": case.account.positions[0].position_side}]
    )  # fmt: skip
    told = cm.whatif(*case, changes).after
    report = cm.evaluate(*case_from(changed_file(raw, case, changes), "saved"))
    assert report.status == told.status
    for figure in ("equity", "maintenance_margin", "initial_margin", "headroom"):
        one, other = getattr(report, figure), getattr(told, figure)
        # the eighteenth decimal of a price or a balance is the last that a file has
        assert one == other or abs(one - other) <= Decimal("1e-12") * max(1, abs(other)), figure


def test_rules_are_no_part_of_an_account_file() -> None:
    raw, where = read_table(str(EXAMPLES / "article-2.1-cross.toml"))
    case = case_from(raw, where)
    other = cm.changes_from([{"kind": "change_rules", "profile": "plain-isolated"}], lambda *_: case.rules)
    with pytest.raises(cm.AccountError, match=r"changes\[0\].*cannot be saved in an account file"):
        changed_file(raw, case, other)
