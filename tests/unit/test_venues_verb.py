"""Comparing, starting and documenting profiles; what a change of rules does to accounts."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from typer.testing import CliRunner

import crossmargin as cm
from crossmargin.apps.cli import app
from crossmargin.files.profiles import copy_profile
from crossmargin.model.brackets import Bracket

D = Decimal
run = CliRunner()

ACCOUNT = """
profile = "plain-cross"
as_of = 2026-11-20T08:00:00Z
balances = { USDT = "1000" }
positions = [{ symbol = "BTC/USDT:USDT", quantity = "0.1", entry_price = "50000", leverage = "10" }]
market.mark_price = { "BTC/USDT:USDT" = "50000" }
"""


def test_equal_rules_do_not_differ() -> None:
    for name in cm.profile_ids():
        rules = cm.load_profile(name).revisions[-1]
        found = cm.rule_difference(rules, rules)
        assert (found.slots, found.rows, found.added, found.removed) == ((), (), (), ())


def test_a_changed_bracket_and_slot_are_all_that_is_listed() -> None:
    old = cm.load_profile("plain-cross").revisions[-1]
    table = (
        Bracket(notional_floor=D(0), maintenance_rate=D("0.01"), max_leverage=D(50)),
        Bracket(notional_floor=D(1000), maintenance_rate=D("0.02"), max_leverage=D(25)),
    )
    old = replace(old, brackets={"BTC/USDT:USDT": table, "ETH/USDT:USDT": table})
    # the first bracket now ends at 500 and the rate above 1000 rises to 3 %
    new_table = (
        table[0],
        table[1].model_copy(update={"notional_floor": D(500)}),
        table[1].model_copy(update={"maintenance_rate": D("0.03")}),
    )
    slots = old.slots.model_copy(update={"fees": None})
    new = replace(old, slots=slots, brackets={"BTC/USDT:USDT": new_table, "SOL/USDT:USDT": table})
    found = cm.rule_difference(old, new)
    assert {(row.name, row.floor, row.figure, row.old, row.new) for row in found.rows} == {
        ("BTC/USDT:USDT", D(500), "maintenance_rate", D("0.01"), D("0.02")),
        ("BTC/USDT:USDT", D(500), "max_leverage", D(50), D(25)),
        ("BTC/USDT:USDT", D(1000), "maintenance_rate", D("0.02"), D("0.03")),
    }
    assert (found.added, found.removed) == (("SOL/USDT:USDT",), ("ETH/USDT:USDT",))
    assert {change.rule.split(".")[0] for change in found.slots} <= {"fees"}


def test_bybit_of_september_2025_goes_from_entry_to_mark() -> None:
    answer = run.invoke(app, ["venues", "diff", "bybit-uta@2025-09-01", "bybit-uta@2025-09-02", "--json"])
    changes = {row["rule"]: (row["old"], row["new"]) for row in json.loads(answer.stdout)["slots"]}
    assert changes["valuation.maintenance"] == ("entry", "mark")
    assert changes["isolated.valuation.initial"] == (None, "entry")


def venue(folder: Path, rate: str) -> None:
    """A fake venue in two files, the second one with a figure worked out by hand: 5000 x rate."""
    copy_profile("plain-cross", "fake-venue", folder)
    path = folder / "fake-venue.toml"
    text = path.read_text(encoding="utf-8")
    tables = '\n[revisions.tables]\nbrackets = "fake-venue.brackets.csv"\nsource = "textbook"\n'
    path.write_text(text + tables, encoding="utf-8")
    (folder / "fake-venue.brackets.csv").write_text(
        f"symbols,notional_floor,maintenance_rate,max_leverage,source\nBTC/USDT:USDT,0,{rate},50,textbook\n"
    )
    case = folder / "cases" / "fake-venue.toml"
    given = "\n".join(line for line in ACCOUNT.splitlines() if line and not line.startswith("profile"))
    case.write_text(
        case.read_text(encoding="utf-8")
        + '\n[[cases]]\nid = "fake-venue-long"\ntitle = "a long of 5000"\nprofile = "fake-venue"\n'
        + 'source = { title = "by hand" }\nstatus = "textbook"\n'
        + f'[cases.given]\n{given}\n[cases.expect]\nmaintenance_margin = "{5000 * float(rate):g}"\n',
        encoding="utf-8",
    )


def test_a_venue_in_two_files_is_listed_judged_verified_and_documented(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    venue(tmp_path, "0.02")
    monkeypatch.setenv("CROSSMARGIN_VENUES", str(tmp_path))
    assert "fake-venue" in cm.profile_ids()
    account = tmp_path / "cases" / "an-account"
    account.write_text(ACCOUNT)
    answer = run.invoke(app, ["evaluate", str(account), "--profile", "fake-venue", "--json"])
    assert json.loads(answer.stdout)["maintenance_margin"] == "100"
    answer = run.invoke(app, ["venues", "verify", "--all", "--folder", str(tmp_path / "cases")])
    assert (answer.exit_code, "2" in answer.stdout) == (0, True)
    pages = tmp_path / "pages"
    pages.mkdir()
    assert run.invoke(app, ["venues", "docs", str(pages)]).exit_code == 0
    page = pages / "fake-venue.md"
    page.write_text(page.read_text() + "\n## Mine\n")
    assert run.invoke(app, ["venues", "docs", str(pages), "--check"]).exit_code == 0
    (tmp_path / "fake-venue.brackets.csv").unlink()
    venue_text = (tmp_path / "fake-venue.toml").read_text().split("[revisions.tables]")[0]
    (tmp_path / "fake-venue.toml").write_text(venue_text)
    answer = run.invoke(app, ["venues", "docs", str(pages), "--check"])
    assert answer.exit_code == 1 and "fake-venue.md" in answer.stdout
    assert run.invoke(app, ["venues", "docs", str(pages)]).exit_code == 0
    assert page.read_text().endswith("\n## Mine\n") and "Maintenance tables" not in page.read_text()


def test_a_name_that_is_taken_or_cannot_be_one(tmp_path: Path) -> None:
    for name in ("hyperliquid", "My Venue", "../up"):
        with pytest.raises(cm.ProfileError, match="ID"):
            copy_profile("plain-cross", name, tmp_path)
    with pytest.raises(cm.ProfileError, match="not known"):
        copy_profile("no-such", "mine", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_a_risen_rate_does_to_accounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    venue(tmp_path, "0.02")
    monkeypatch.setenv("CROSSMARGIN_VENUES", str(tmp_path))
    toml = tmp_path / "fake-venue.toml"
    toml.write_text(
        toml.read_text()
        + '\n[[revisions]]\nfrom = 2026-12-01\n[revisions.tables]\nbrackets = "risen.csv"\nsource = "textbook"\n'
    )
    (tmp_path / "risen.csv").write_text(
        "symbols,notional_floor,maintenance_rate,max_leverage,source\nBTC/USDT:USDT,0,0.25,2,textbook\n"
    )
    good, unknown = tmp_path / "cases" / "good.toml", tmp_path / "cases" / "unknown.toml"
    good.write_text(ACCOUNT)
    unknown.write_text(ACCOUNT.replace("BTC/USDT", "SOL/USDT"))
    answer = run.invoke(
        app, ["venues", "impact", "fake-venue@2026-11-20", "fake-venue@2026-12-01", str(good), "--json"]
    )
    assert answer.exit_code == 4  # 5000 x 25 % = 1250 above the 1000 that are there
    what = json.loads(answer.stdout)["accounts"][0]["what"]
    assert (what["difference"]["maintenance_margin"], what["difference"]["headroom"]) == ("1150", "-1150")
    assert (what["before"]["status"], what["after"]["status"]) == ("healthy", "liquidation")
    # before: 1000 + 0.1 (p - 50000) = 0.02 x 0.1 p
    moved = next(row for row in what["threshold_changes"] if row["side"] == "below")
    assert abs(D(moved["before"]["price"]) - D(4000) / D("0.098")) < D("1e-9")
    answer = run.invoke(app, ["venues", "impact", "fake-venue@2026-11-20", "fake-venue@2026-12-01", str(unknown)])
    assert answer.exit_code == 5 and "SOL/USDT" in answer.stdout
