"""``crossmargin book``: every verb, its figures by hand, and its exit code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pyarrow import csv, parquet
from typer.testing import CliRunner

from crossmargin.apps.batch import books_of
from crossmargin.apps.cli import app
from crossmargin.engine.interchange import book_from_frames, read_book

# BTC at 50,000 and ETH at 2,500; both keep 1 %, so that every figure can be worked by hand
MARKET = """
as_of = 2026-11-20T08:00:00Z
[market.mark_price]
"BTC/USDT:USDT" = "50000"
"ETH/USDT:USDT" = "2500"
"BTC/USD:BTC" = "50000"
[market.index_price]
USDT = "1"
BTC = "50000"
[[instruments]]
symbol = "BTC/USDT:USDT"
contract_size = "0.1"
brackets = [{ notional_floor = "0", maintenance_rate = "0.01" }]
[[instruments]]
symbol = "ETH/USDT:USDT"
contract_size = "1"
brackets = [{ notional_floor = "0", maintenance_rate = "0.01" }]
[[instruments]]
symbol = "BTC/USD:BTC"
contract_size = "100"
brackets = [{ notional_floor = "0", maintenance_rate = "0.01" }]
"""
BALANCES = """account,asset,wallet_balance
calm,USDT,20000
calm,BTC,0.1
tight,USDT,1000
broke,USDT,100
"""
POSITIONS = """account,symbol,quantity,entry_price,leverage,margin_mode,isolated_margin
calm,BTC/USDT:USDT,2,50000,10,cross,
calm,BTC/USD:BTC,-50,50000,10,cross,
tight,ETH/USDT:USDT,-4,2500,10,cross,
broke,ETH/USDT:USDT,4,2600,10,cross,
alone,BTC/USDT:USDT,1,50000,10,isolated,450
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("book")
    for name, text in (("market.toml", MARKET), ("balances.csv", BALANCES), ("positions.csv", POSITIONS)):
        (folder / name).write_text(text)
    code, _ = run("convert", "--balances", folder / "balances.csv", "--positions", folder / "positions.csv",
                  "--out", folder / "book.parquet")  # fmt: skip
    assert code == 0
    return folder


def run(*words: object) -> tuple[int, str]:
    found = CliRunner().invoke(app, ["book", *map(str, words)])
    if found.exception is not None and not isinstance(found.exception, SystemExit):
        raise found.exception
    return found.exit_code, found.stdout


def asked(folder: Path, verb: str, *words: object) -> tuple[int, Any]:
    code, text = run(verb, folder / "book.parquet", "--market", folder / "market.toml", "--profile", "plain-cross",
                     "--json", *words)  # fmt: skip
    return code, json.loads(text)


def test_evaluate_writes_every_pool_and_its_manifest(folder: Path) -> None:
    code, manifest = asked(folder, "evaluate", "--out", folder / "out.parquet", "--threads", "2")
    # broke: 100 + 4 x (2,500 - 2,600) = -300
    assert code == 4
    assert manifest["tally"]["status"] == {"healthy": 1, "warning": 2, "liquidation": 1, "unknown": 0}
    assert manifest == json.loads((folder / "out.parquet.manifest.json").read_text())
    rows = {row["account"]: row for row in parquet.read_table(folder / "out.parquet").to_pylist()}
    # 20,000 + 0.1 x 50,000, PnL 0; kept: 1 % of 0.2 BTC and of 5,000 dollars = 100 + 50
    assert rows["calm"]["equity"] == pytest.approx(25_000, rel=1e-12)
    assert rows["calm"]["maintenance_margin"] == pytest.approx(150, rel=1e-12)
    assert rows["broke"]["headroom"] == pytest.approx(-300 - 100, rel=1e-12)
    assert rows["broke"]["margin_ratio"] is None
    assert rows["alone"]["pool"] == "BTC/USDT:USDT long isolated"


def test_summary_counts_and_concentrations(folder: Path) -> None:
    code, found = asked(folder, "summary", "--html", folder / "page.html")
    assert code == 4
    assert (found["pools"], found["positions"]) == (4, 5)
    assert sum(row["pools"] for row in found["ratios"]) == 4
    # broke has no equity; alone keeps 50 of 450, tight 100 of 1,000, calm 150 of 25,000
    assert [(row["account"], row["margin_ratio"]) for row in found["riskiest"]] == [
        ("broke", None),
        ("alone", pytest.approx(50 / 450)),
        ("tight", pytest.approx(0.1)),
        ("calm", pytest.approx(0.006)),
    ]
    by_symbol = {row["symbol"]: row for row in found["instruments"]}
    assert list(by_symbol) == ["ETH/USDT:USDT", "BTC/USDT:USDT", "BTC/USD:BTC"]
    eth = by_symbol["ETH/USDT:USDT"]
    assert (eth["positions"], eth["long_notional"], eth["short_notional"], eth["largest"]) == (2, 1e4, 1e4, 1e4)
    # 50 contracts of 100 dollars are 0.1 BTC
    inverse = by_symbol["BTC/USD:BTC"]
    assert (inverse["currency"], inverse["long_notional"]) == ("BTC", 0)
    assert inverse["short_notional"] == pytest.approx(0.1)
    assert inverse["value"] == pytest.approx(5000)
    held = {row["asset"]: row for row in found["collateral"]}
    assert (held["USDT"]["held"], held["BTC"]["value"]) == (pytest.approx(21_550), pytest.approx(5000))
    page = (folder / "page.html").read_text()
    assert "1 of 4 pools are liquidatable" in page
    assert "http" not in page.partition("<script>")[0]


def test_threshold_counts_pools_at_each_move(folder: Path) -> None:
    code, found = asked(folder, "threshold", "--top", "2")
    assert (code, found["already"], found["unknown"]) == (4, 1, 0)
    # tight: 1,000 - 4 x 2,500 m = 1 % of 10,000 (1 + m), so m = 900 / 10,100
    # alone: 450 + 5,000 m = 50 (1 + m), so m = -400 / 4,950
    assert [(row["account"], row["below"], row["above"]) for row in found["nearest"]] == [
        ("alone", pytest.approx(-400 / 4950), None),
        ("tight", None, pytest.approx(900 / 10_100)),
    ]
    counts = {row["move"]: row["pools"] for row in found["moves"]}
    assert {move: counts[move] for move in (-0.1, -0.05, 0.05, 0.1)} == {-0.1: 2, -0.05: 1, 0.05: 1, 0.1: 2}


def test_stress_counts_pools_in_each_scenario(folder: Path) -> None:
    table = "name,others\nfall,-0.09\nrise,0.09\nnothing,0\n"
    (folder / "scenarios.csv").write_text(table)
    code, found = asked(folder, "stress", "--scenarios", folder / "scenarios.csv")
    assert (code, found["pools"], found["now"]) == (4, 4, 1)
    # a fall breaks alone as well; a rise breaks tight and saves broke, which is worth 100 + 4 x (2,725 - 2,600) then
    assert [(row["scenario"], row["liquidated"]) for row in found["scenarios"]] == [
        ("fall", 2),
        ("rise", 1),
        ("nothing", 1),
    ]
    assert sum(row["worst_for"] for row in found["scenarios"]) == 4


def test_tables_for_people(folder: Path) -> None:
    words = ("--market", folder / "market.toml", "--profile", "plain-cross")
    assert "Riskiest pools" in run("summary", folder / "book.parquet", *words)[1]
    assert "Nearest pools" in run("threshold", folder / "book.parquet", *words)[1]
    assert "march-2020" in run("stress", folder / "book.parquet", *words, "--historical")[1]
    code, text = run("evaluate", folder / "book.parquet", *words, "--out", folder / "second.parquet")
    assert (code, "4 pools with 5 positions in 1 part," in " ".join(text.split())) == (4, True)


def test_unknown_is_exit_5_and_counted(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "market.toml").write_text(MARKET.replace('"ETH/USDT:USDT" = "2500"\n', "", 1))
    (tmp_path / "book.parquet").write_bytes((folder / "book.parquet").read_bytes())
    code, manifest = asked(tmp_path, "evaluate", "--out", tmp_path / "out.parquet")
    assert code == 5
    assert manifest["tally"]["reasons"] == {"mark_price_missing": 2}
    assert manifest["tally"]["status"]["unknown"] == 2
    code, found = asked(tmp_path, "summary")
    assert (code, found["reasons"]) == (5, {"mark_price_missing": 2})
    # the contract without a mark comes last, its positions counted, its value unknown
    last = found["instruments"][-1]
    assert (last["symbol"], last["positions"]) == ("ETH/USDT:USDT", 2)
    assert {last[name] for name in ("long_notional", "short_notional", "largest", "value")} == {None}
    words = ("--market", tmp_path / "market.toml", "--profile", "plain-cross")
    assert "unknown" in run("summary", tmp_path / "book.parquet", *words, "--html", tmp_path / "page.html")[1]
    assert asked(tmp_path, "threshold")[1]["unknown"] == 2


def test_a_book_becomes_account_files_and_a_book_again(folder: Path, tmp_path: Path) -> None:
    assert run("convert", folder / "book.parquet", "--out", tmp_path / "accounts")[1].endswith("4 accounts\n")
    calm = json.loads((tmp_path / "accounts" / "calm.json").read_text())
    assert calm["balances"]["USDT"] == {"wallet_balance": "20000"}
    assert calm["positions"][0] == {
        "symbol": "BTC/USDT:USDT",
        "quantity": "2",
        "entry_price": "50000",
        "leverage": "10",
    }
    run("convert", tmp_path / "accounts", "--out", tmp_path / "book.parquet", "--on", "2026-11-20")
    before, after = ({a.id: a for b in books_of(str(path)) for a in b.to_accounts(profile="plain-cross")}
                     for path in (folder / "book.parquet", tmp_path / "book.parquet"))  # fmt: skip
    assert before == after


def test_orders_go_from_tables_into_a_book_and_out_to_account_files_and_back(tmp_path: Path) -> None:
    examples = Path(__file__).parents[2] / "examples" / "book"
    run("convert", *(word for name in ("balances", "positions", "orders")
                     for word in (f"--{name}", examples / f"{name}.csv")), "--out", tmp_path / "a.parquet")  # fmt: skip
    run("convert", tmp_path / "a.parquet", "--out", tmp_path / "accounts", "--profile", "plain-cross")
    calm = json.loads((tmp_path / "accounts" / "calm.json").read_text())
    assert calm["open_orders"] == [
        {"symbol": "BTC/USDT:USDT", "quantity": "1", "price": "49000"},
        {"symbol": "ETH/USDT:USDT", "quantity": "-3", "price": "2600", "leverage": "5"},
    ]
    run("convert", tmp_path / "accounts", "--out", tmp_path / "b.parquet", "--on", "2026-11-20")
    before, after = ({a.id: a for b in books_of(str(tmp_path / name)) for a in b.to_accounts(profile="plain-cross")}
                     for name in ("a.parquet", "b.parquet"))  # fmt: skip
    assert before == after
    assert sum(len(account.open_orders) for account in after.values()) == 3


def test_a_made_up_book_is_the_same_for_the_same_seed(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        run("generate", "--pools", 200, "--seed", 5, "--out", tmp_path / name / "book.parquet")
    for name in ("book.parquet", "book.parquet.market.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    code, text = run("evaluate", tmp_path / "one" / "book.parquet", "--market",
                     tmp_path / "one" / "book.parquet.market.json", "--profile", "plain-cross",
                     "--out", tmp_path / "out", "--json")  # fmt: skip
    tally = json.loads(text)["tally"]
    assert (code, tally["pools"], tally["status"]["unknown"], tally["reasons"]) == (4, 200, 0, {})


def test_the_book_of_the_examples_is_its_tables() -> None:
    folder = Path(__file__).parents[2] / "examples" / "book"
    balances, positions = (csv.read_csv(folder / f"{name}.csv") for name in ("balances", "positions"))
    file, tables = read_book(folder / "book.parquet"), book_from_frames(balances, positions)
    assert list(file.to_accounts(profile="plain-cross")) == list(tables.to_accounts(profile="plain-cross"))


BAD = {
    "nothing to convert": (("convert", "--out", "x"), "needs --out and one source"),
    "a folder without accounts": (("convert", "{tmp}", "--out", "x"), "holds no account file"),
    "no scenario": (("stress", "{book}", "-m", "{market}", "-p", "plain-cross"), "--scenarios: is missing"),
    "no profile": (("summary", "{book}", "-m", "{market}", "-p", "nobody"), "nobody"),
    "no market": (("summary", "{book}", "-m", "{tmp}/none.toml", "-p", "plain-cross"), "cannot be read"),
    "no cluster": (
        ("evaluate", "{book}", "-m", "{market}", "-p", "plain-cross", "-o", "{tmp}/o", "--cluster", "nowhere"),
        "does not answer as a Dask scheduler",
    ),
    "a table with a wrong mode": (
        ("convert", "--positions", "{tmp}/wrong.csv", "--out", "x"),
        "must be cross or isolated",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_use_is_one_clear_error(case: str, folder: Path, tmp_path: Path) -> None:
    from crossmargin.errors import CrossmarginError

    (tmp_path / "wrong.csv").write_text(POSITIONS.replace(",isolated,", ",Isolated,"))
    words, why = BAD[case]
    places = {"tmp": tmp_path, "book": folder / "book.parquet", "market": folder / "market.toml"}
    with pytest.raises(CrossmarginError) as caught:
        run(*(word.format(**places) for word in words))
    assert why in str(caught.value)
    assert caught.value.exit_code == 2 or case == "no market"
