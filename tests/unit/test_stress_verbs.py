"""The two verbs: the library's answer as JSON, tables for people, exit codes, and errors that name the option."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import crossmargin as cm
from crossmargin.analytics.stress import ladder, safety_buffer
from crossmargin.apps.verbs import reverse_stress, stress

EXAMPLES = Path(__file__).parents[2] / "examples"
CROSS, BROKEN = (str(EXAMPLES / f"{name}.toml") for name in ("article-2.1-cross", "article-3.1"))
VOLATILITY = ["--volatility", "BTC=0.04", "--volatility", "ETH=0.05", "--correlation", "0.6"]


def app() -> typer.Typer:
    own = typer.Typer()
    stress.register(own)
    reverse_stress.register(own)
    return own


def run(*words: str) -> tuple[int, str]:
    found = CliRunner(env={"COLUMNS": "200"}).invoke(app(), list(words))
    if found.exception is not None and not isinstance(found.exception, SystemExit):
        raise found.exception
    return found.exit_code, found.stdout


def test_the_overview_is_what_the_library_says() -> None:
    code, text = run("stress", CROSS, "--json")
    found = json.loads(text)
    assert code == 0
    assert set(found) == {"outcomes", "worst_case", "safety_buffer", "depeg"}
    case = cm.load(CROSS)
    assert found["outcomes"] == json.loads(cm.to_json(ladder(*case)))
    assert found["safety_buffer"] == json.loads(cm.to_json(safety_buffer(*case)))


def test_each_option_asks_one_question() -> None:
    for words, key in [
        (["--move", "BTC=-0.2"], "outcomes"),
        (["--historical"], "outcomes"),
        (["--ladder", "BTC"], "outcomes"),
        (["--scenarios", str(EXAMPLES / "scenarios.csv")], "outcomes"),
        (["--map", "BTC,ETH"], "heat_map"),
        (["--box", "BTC=-0.3,0.2"], "box"),
    ]:
        code, text = run("stress", CROSS, *words, "--json")
        assert (code, list(json.loads(text))) == (0, [key]), words
        code, text = run("stress", CROSS, *words)
        assert code == 0
        assert "headroom" in text.lower()


def test_an_account_that_is_gone_says_so_by_its_exit_code() -> None:
    assert run("stress", BROKEN)[0] == 4
    code, text = run("reverse-stress", BROKEN, *VOLATILITY, "--volatility", "SOL=0.05")
    assert code == 4
    assert text.startswith("already liquidatable")


def test_reverse_stress_in_words_and_in_json() -> None:
    code, text = run("reverse-stress", CROSS, *VOLATILITY, "--horizon", "9", "--paths", "1000")
    assert code == 0
    assert "BTC -19.6 %, ETH -24.6 %" in text
    assert "proved" in text
    code, text = run("reverse-stress", CROSS, *VOLATILITY, "--horizon", "9", "--paths", "1000", "--json")
    found = json.loads(text)
    assert Decimal(found["reverse_stress"]["distance"]) == Decimal(found["reverse_stress"]["certified_bound"])
    assert found["probability"]["method"] == "simulated"


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["stress", CROSS, "--move", "BTC"], "--move"),
        (["stress", CROSS, "--box", "BTC=0.1"], "must be COIN=LOW,HIGH"),
        (["stress", CROSS, "--move", "FOO=-0.1"], r"moves\.FOO"),
        (["reverse-stress", CROSS], "give either --history"),
        (["reverse-stress", CROSS, *VOLATILITY, "--horizon", "0"], "--horizon: must be greater than 0"),
        (["reverse-stress", CROSS, *VOLATILITY, "--correlation", "2"], "--correlation: must be a fraction"),
        (["reverse-stress", CROSS, "--history", "nowhere.csv"], "nowhere.csv"),
    ],
)
def test_bad_words_are_refused_by_name(words: list[str], why: str) -> None:
    with pytest.raises(cm.CrossmarginError, match=why) as found:
        run(*words)
    assert found.value.exit_code == 2
