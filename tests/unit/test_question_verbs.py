"""sensitivity, runway and hedge on the command line: the library's bytes, and honest exit codes."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

import crossmargin as cm
from crossmargin.analytics.best_hedge import best_hedge
from crossmargin.analytics.funding import runway
from crossmargin.analytics.hedge import hedge, neutral_pairs, requirements
from crossmargin.analytics.sensitivity import sensitivity
from crossmargin.apps.verbs import hedge as hedge_verb
from crossmargin.apps.verbs import runway as runway_verb
from crossmargin.apps.verbs import sensitivity as sensitivity_verb
from crossmargin.errors import CrossmarginError

EXAMPLES = Path(__file__).parents[2] / "examples"
APP = typer.Typer()
for verb in (hedge_verb, runway_verb, sensitivity_verb):
    verb.register(APP)

BYBIT = str(EXAMPLES / "bybit-uta.toml")
PAIR = str(EXAMPLES / "delta-neutral-pair.toml")
D = Decimal


def run(*words: str) -> Any:
    return CliRunner().invoke(APP, list(words))


def asked() -> list[tuple[list[str], Any]]:
    bybit = cm.load(BYBIT)
    daily = {"BTC": D("0.03")}
    both = {"BTC/USDT:USDT": D(-2), "ETH/USDT:USDT": D(1)}
    return [
        (["sensitivity", BYBIT, "--volatility", "BTC=0.03"], sensitivity(*bybit, thresholds=(), volatility=daily)),
        (["sensitivity", BYBIT, "--threshold", "all", "--move", "0.2"], sensitivity(*bybit, move=D("0.2"))),
        (["runway", BYBIT, "--paid", "USDT=500"], runway(*bybit, paid={"USDT": D(500)})),
        (["hedge", PAIR], {"requirements": requirements(*cm.load(PAIR)), "pairs": neutral_pairs(*cm.load(PAIR))}),
        (["hedge", BYBIT, "--trade", "BTC/USDT:USDT=-2", "--trade", "ETH/USDT:USDT=1"], hedge(*bybit, both)),
        (
            ["hedge", BYBIT, "--use", "BTC/USDT:USDT=1,ETH/USDT:USDT=-2", "--distance", "0.6", "--by", "margin"],
            {
                "choices": best_hedge(
                    *bybit, [{"BTC/USDT:USDT": D(1), "ETH/USDT:USDT": D(-2)}], distance=D("0.6"), by="margin"
                )
            },
        ),
    ]


@pytest.mark.parametrize("number", range(6))
def test_json_is_what_the_library_says(number: int):
    words, result = asked()[number]
    shown = run(*words, "--json")
    assert shown.exit_code == 0 and shown.stdout == cm.to_json(result) + "\n"
    table = run(*words)
    assert table.exit_code == 0 and table.stdout


def test_a_history_file_makes_scenarios():
    words = [
        str(EXAMPLES / "hyperliquid-funding.toml"),
        "--history",
        str(EXAMPLES / "hyperliquid-funding-history.toml"),
    ]
    shown = run("runway", *words, "--quantile", "0.5", "--json")
    rows = json.loads(shown.stdout)["runways"]
    assert [row["scenario"] for row in rows if row["pool"] == "USDC"] == ["current", "quantile 0.5", "cap"]
    # the fourth of ETH's eight sorted rates is 0.0000125: 40 x 2,998 x 0.0000125 x 24 a day
    assert rows[2]["per_day"] == "35.976"


def test_never_0_on_unknown(tmp_path: Path):
    text = Path(BYBIT).read_text()
    dark = run("runway", str(EXAMPLES / "binance-two-positions.toml"))
    assert dark.exit_code == 5 and "the funding rate of BTC/USDT:USDT is missing" in dark.stdout
    assert "market.funding_rate" in text  # and with rates it is 0, as asked above
    lines = (EXAMPLES / "hyperliquid.toml").read_text().splitlines()
    file = tmp_path / "no-oracle.toml"
    file.write_text("\n".join(line for line in lines if not line.startswith("market.index_price")))
    for verb in ("sensitivity", "runway"):
        blind = run(verb, str(file))
        assert blind.exit_code == 5 and "market.index_price.BTC is missing" in blind.stdout


def test_a_venue_that_charges_on_the_oracle_answers_with_it():
    """1 BTC short at 88,020 x 0.0000125 receives 1.10025 an hour; 300 HYPE at 38.02 x 0.00005 pay 0.5703."""
    shown = run("runway", str(EXAMPLES / "hyperliquid.toml"), "--json")
    assert shown.exit_code == 0
    paid = {row["symbol"]: row["payment"] for row in json.loads(shown.stdout)["payments"]}
    assert paid["BTC/USDC:USDC"] == "-1.10025" and paid["HYPE/USDC:USDC"] == "0.5703"


@pytest.mark.parametrize(
    ("words", "path"),
    [
        (["sensitivity", BYBIT, "--move", "ten"], "--move"),
        (["sensitivity", BYBIT, "--threshold", "XRP/USDT:USDT"], "thresholds"),
        (["runway", BYBIT, "--paid", "USDT"], "--paid"),
        (["hedge", BYBIT, "--by", "size"], "--by"),
        (["hedge", PAIR, "--use", "BTC/USDT:USDT"], "pool"),
    ],
)
def test_a_bad_option_is_named(words: list[str], path: str):
    found = run(*words).exception
    assert isinstance(found, CrossmarginError) and found.exit_code == 2
    assert [fault.path for fault in found.faults] == [path]


def test_a_history_file_with_faults_names_them_all(tmp_path: Path):
    file = tmp_path / "rates.toml"
    file.write_text('"BTC/USDT:USDT" = ["0.0001", "1e-4", "x"]\n"ETH/USDT:USDT" = "0.1"\n')
    found = run("runway", BYBIT, "--history", str(file)).exception
    assert isinstance(found, CrossmarginError)
    assert [fault.path for fault in found.faults] == ["BTC/USDT:USDT[1]", "BTC/USDT:USDT[2]", "ETH/USDT:USDT"]
