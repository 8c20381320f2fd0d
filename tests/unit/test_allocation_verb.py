"""``crossmargin allocate`` and fund files: the library's bytes, honest exit codes, every fault with its path."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

import crossmargin as cm
from crossmargin.analytics.allocation import allocate, frontier
from crossmargin.apps import figures, notebook
from crossmargin.apps.verbs import allocate as verb
from crossmargin.apps.views import view
from crossmargin.errors import CrossmarginError
from crossmargin.files.funds import fund_from, load_fund

FUNDS = Path(__file__).parents[2] / "examples" / "funds"
BASIS = str(FUNDS / "basis-two-venues.toml")
APP = typer.Typer()
verb.register(APP)


@APP.command()
def _other() -> None:
    """A second command, so that the first keeps its name."""


def run(*words: str) -> Any:
    return CliRunner().invoke(APP, ["allocate", *words])


def test_json_is_the_library_plan() -> None:
    found = run(BASIS, "--json")
    assert found.exit_code == 0
    assert found.stdout == cm.to_json(allocate(load_fund(BASIS))) + "\n"


@pytest.mark.parametrize("path", sorted(FUNDS.glob("*.toml")), ids=lambda p: p.stem)
def test_every_example_fund_has_a_safe_plan(path: Path) -> None:
    plan = allocate(load_fund(str(path)))
    assert plan.safe
    assert plan.gap <= max(1, abs(plan.objective)) / 1_000_000
    assert plan.judged_exactly == plan.judged


def test_tables_name_moves_pools_and_what_binds() -> None:
    found = run(BASIS)
    for words in ("Moves, in this order", "send", "bybit", "is worth", "judgements"):
        assert words in found.stdout


def test_options_override_the_file(tmp_path: Path) -> None:
    freed = run(BASIS, "--objective", "most_freed", "--json")
    assert json.loads(freed.stdout)["aim"] == "most_freed"
    more, less = (float(json.loads(run(BASIS, "--buffer", share, "--json").stdout)["cost"]) for share in ("1", "0"))
    assert more > less
    moves = tmp_path / "moves.csv"
    assert run(BASIS, "--export", str(moves)).exit_code == 0
    with moves.open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["phase"] for row in rows] == ["reduce", "reduce", "send"]
    assert rows[-1]["asset"] == "USDT"
    assert [row["side"] for row in rows] == ["sell", "buy", ""]
    listed = tmp_path / "moves.json"
    assert run(BASIS, "--orders", str(listed)).exit_code == 0
    found = json.loads(listed.read_text())
    assert [order["reduce_only"] for order in found["orders"]] == [True, True]
    assert [(one["account"], one["to"], one["step"]) for one in found["transfers"]] == [("binance", "bybit", 3)]


def test_settings_and_chances_are_said_in_words(tmp_path: Path) -> None:
    found = run(str(FUNDS / "leverage-and-mode.toml"))
    for words in ("make ETH/USDT:USDT on binance", "set the leverage of BTC/USDT:USDT", "combinations of settings"):
        assert words in found.stdout
    text = (
        Path(BASIS)
        .read_text()
        .replace("[safety]", '[safety]\ndraws = { count = 100, volatility = { BTC = "0.1" }, probability = "0.05" }')
    )
    path = tmp_path / "chance.toml"
    path.write_text(text)
    words = " ".join(run(str(path)).stdout.split())
    assert "of 100 draws that the plan has not seen: with 0.95 confidence" in words
    assert "the stated 0.05" in words


def test_a_dry_run_solves_nothing_and_says_what_would_be_decided() -> None:
    found = run(BASIS, "--dry-run")
    assert found.exit_code == 0
    assert "2 pools to keep safe" in found.stdout
    assert "close BTC/USDT:USDT on bybit (buy)" in found.stdout


def test_a_frontier_is_a_table_a_page_and_a_figure(tmp_path: Path) -> None:
    page = tmp_path / "frontier.html"
    found = run(BASIS, "--frontier", "3", "--html", str(page))
    assert found.exit_code == 0
    assert "buffer x" in found.stdout
    assert "Cost and capital against safety" in page.read_text()
    points = frontier(load_fund(BASIS), [1, 2])
    spec = figures.trade_off(points)
    assert spec["data"][0]["y"] == [float(point.cost) for point in points if point.cost is not None]
    assert view(points).tables[0].rows
    assert notebook.show(allocate(load_fund(BASIS)))


def test_exit_codes_tell_wrong_input_from_no_plan(tmp_path: Path) -> None:
    for words in (["--objective", "most_fun"], ["--buffer", "-1"], ["--buffer", "x"]):
        assert run(BASIS, *words).exception.exit_code == 2
    with pytest.raises(CrossmarginError) as refused:
        allocate(load_fund(BASIS).model_copy(update={"routes": (), "orders": (), "neutral": ()}))
    assert refused.value.exit_code == 3


def test_every_fault_of_a_file_is_named_at_once(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(
        'currency = "USDT"\n[[accounts]]\nfile = "none.toml"\nid = "a"\n[[accounts]]\nprofile = "plain-cross"\n'
        '[[accounts]]\nid = "c"\nprofile = "plain-cross"\nas_of = 2026-11-23\nbalances = { USDT = "x" }\n'
    )
    with pytest.raises(CrossmarginError) as found:
        load_fund(str(path))
    text = str(found.value)
    for words in ("accounts[0]", "cannot be read", "accounts[1].id", "accounts[2].balances.USDT"):
        assert words in text


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"routes": [{"from": "a", "to": "b", "asset": "USDT", "fee": -1}]}, "routes[0].fee"),
        ({"routes": [{"from": "a", "to": "b", "asset": "USDT"}]}, "routes[0].to"),
        ({"safety": {"historical": ["never"]}}, "safety.historical"),
        ({"safety": {"shares": "1"}}, "safety.shares"),
        ({"members": []}, "[[accounts]]"),
        ({"objective": {"kind": "least"}}, "objective.kind"),
    ],
)
def test_a_fault_names_its_field(more: dict[str, Any], words: str) -> None:
    account = {"id": "a", "profile": "plain-cross", "as_of": "2026-11-23", "balances": {"USDT": "1"}}
    with pytest.raises(CrossmarginError) as found:
        fund_from({"currency": "USDT", "accounts": [account], **more}, "fund.json")
    assert words in str(found.value)


def test_files_beside_the_fund_are_found(tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text(
        json.dumps({"profile": "plain-cross", "as_of": "2026-11-23", "balances": {"USDT": "5"}})
    )
    (tmp_path / "moves.csv").write_text("name,others\nfall,-0.2\n")
    (tmp_path / "closes.csv").write_text("date,BTC\n2026-01-01,1\n2026-01-02,1.1\n2026-01-03,1\n2026-01-04,1.2\n")
    (tmp_path / "fund.json").write_text(
        json.dumps(
            {
                "currency": "USDT",
                "accounts": [{"id": "a", "file": "one.json"}],
                "safety": {
                    "scenarios": "moves.csv",
                    "historical": True,
                    "draws": {"count": 3, "history": "closes.csv"},
                },
            }
        )
    )
    fund = load_fund(str(tmp_path / "fund.json"))
    assert fund.id == "fund"
    assert fund.members[0].account.id == "a"
    assert {"fall", "march-2020"} <= {scenario.name for scenario in fund.safety.scenarios}
    assert fund.safety.draws is not None
    assert len(fund.safety.draws.history["BTC"]) == 4
