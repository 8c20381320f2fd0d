"""The verbs whatif, max-order, max-withdraw and compare: same answers as the library, exit codes, faults."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

import crossmargin as cm
from crossmargin.analytics.comparison import compare
from crossmargin.analytics.limits import max_order, max_withdraw
from crossmargin.analytics.whatif import whatif
from crossmargin.apps.verbs import compare as compare_verb
from crossmargin.apps.verbs import limits as limits_verb
from crossmargin.apps.verbs import whatif as whatif_verb
from crossmargin.errors import CrossmarginError
from crossmargin.model.change import ChangeRules, MovePrice, Order, Withdraw
from crossmargin.model.report import to_json

EXAMPLES = Path(__file__).parents[2] / "examples"
CROSS = str(EXAMPLES / "article-2.1-cross.toml")
BTC = "BTC/USDT:USDT"

app = typer.Typer()
for verb in (whatif_verb, limits_verb, compare_verb):
    verb.register(app)


def run(*words: str, text: str | None = None) -> Any:
    return CliRunner().invoke(app, list(words), input=text, env={"COLUMNS": "200"})


def test_options_are_changes_in_the_order_of_the_help() -> None:
    found = run(
        "whatif", CROSS, "--withdraw", "USDT=100", "--order", f"{BTC}=0.01@101000", "--move", "ETH=-0.1", "--json"
    )
    changes = [
        MovePrice(coin="ETH", by="-0.1"),
        Order(symbol=BTC, quantity="0.01", price="101000"),
        Withdraw(asset="USDT", amount="100"),
    ]
    assert found.output == to_json(whatif(*cm.load(CROSS), changes)) + "\n"
    assert found.exit_code == 3  # 1,490 - 1,650 is below 0, so withdrawing is refused


def test_a_file_of_changes_keeps_its_own_order(tmp_path: Path) -> None:
    file = tmp_path / "changes.json"
    steps = [
        {"kind": "withdraw", "asset": "USDT", "amount": "500"},
        {"kind": "deposit", "asset": "USDT", "amount": "1"},
    ]
    file.write_text(json.dumps({"changes": steps}))
    found = json.loads(run("whatif", CROSS, "--changes", str(file), "--json").output)
    assert [step["change"].split()[0] for step in found["steps"]] == ["withdraw", "deposit"]
    assert found["difference"]["equity"] == "-499"


def test_rules_of_another_date_are_loaded() -> None:
    path = str(EXAMPLES / "binance-two-positions.toml")
    case = cm.load(path)
    later = ChangeRules(rules=cm.load_profile("binance-usdm").revisions[-1])
    found = run("whatif", path, "--rules", "@2026-11-01", "--json")
    assert found.output == to_json(whatif(*case, [later])) + "\n"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--deposit", "USDT=1"], 0),
        (["--order", f"{BTC}=1"], 3),
        (["--move", "BTC=-0.5"], 4),
        (["--close", BTC], 0),
        (["--close", f"{BTC}=0.5", "--leverage", "ETH/USDT:USDT=10", "--collateral", "USDT=on"], 0),
    ],
)
def test_exit_codes_say_what_came_of_it(words: list[str], code: int) -> None:
    found = run("whatif", CROSS, *words)
    assert found.exit_code == code, found.output
    assert "Figures in USDT" in found.output


def test_every_fault_of_the_options_is_named() -> None:
    found = run("whatif", CROSS, "--order", f"{BTC}=1e5", "--deposit", "USDT=-3")
    assert isinstance(found.exception, CrossmarginError)
    assert len(found.exception.faults) == 2
    nothing = run("whatif", CROSS)
    assert isinstance(nothing.exception, CrossmarginError)
    assert nothing.exception.exit_code == 2


def test_max_order_and_max_withdraw_print_the_library_answer() -> None:
    case = cm.load(CROSS)
    found = run("max-order", CROSS, BTC, "buy", "--price", "101000", "--fee-rate", "0.001", "--json")
    asked = max_order(*case, BTC, "buy", price=Decimal(101000), fee_rate=Decimal("0.001"))
    assert found.output == to_json(asked) + "\n"
    assert run("max-withdraw", CROSS, "USDT", "--json").output == to_json(max_withdraw(*case, "USDT")) + "\n"
    shown = run("max-order", CROSS, BTC, "buy")
    assert "0.025" in shown.output
    assert "binding: free_collateral of account" in shown.output
    assert run("max-order", CROSS, BTC, "buy", "--price", "1").exit_code == 0  # unbounded is an answer
    assert run("max-order", CROSS, BTC, "hold").exit_code == 2


def test_compare_reads_its_file_once_and_prints_the_library_answer() -> None:
    case = cm.load(CROSS)
    isolated = cm.load(CROSS, profile="plain-isolated").rules
    found = run("compare", "-", "--with", "plain-isolated", "--json", text=Path(CROSS).read_text())
    assert found.output == to_json(compare(*case, [isolated])) + "\n"
    assert found.exit_code == 0
    unknown = run("compare", str(EXAMPLES / "bybit-uta.toml"), "--with", "hyperliquid", "--mode", "cross")
    assert unknown.exit_code == 5
    assert "hyperliquid has no maintenance table for it" in " ".join(unknown.output.split())
