"""A book from Parquet to Parquet: hand-worked figures, cuts that change no bit, faults with their names, kill -9."""

from __future__ import annotations

import errno
import itertools
import json
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

import crossmargin as cm
from crossmargin.apps.batch import Shard, checked_book, plain_schema
from crossmargin.apps.runs import Run, Threads, sha256_of
from crossmargin.apps.synthesis import write_synthetic
from crossmargin.engine.book import Book
from crossmargin.engine.interchange import book_batches, read_book, write_book
from crossmargin.errors import AccountError, CrossmarginError, Fault, MarketDataError
from crossmargin.files.markets import read_market

NOW = datetime(2026, 11, 20, 8, tzinfo=UTC)
BRACKETS = [
    {"notional_floor": "0", "maintenance_rate": "0.004", "max_leverage": "125"},
    {"notional_floor": "50000", "maintenance_rate": "0.005", "max_leverage": "100"},
]
MARKET = {
    "as_of": "2026-11-20T08:00:00Z",
    "market": {"mark_price": {"BTC/USDT:USDT": "61000"}, "index_price": {"USDT": "1"}},
    "instruments": [{"symbol": "BTC/USDT:USDT", "contract_size": "1", "brackets": BRACKETS}],
}


def account(name: str, quantity: str = "1", **more: Any) -> dict[str, Any]:
    position = {"symbol": "BTC/USDT:USDT", "quantity": quantity, "entry_price": "60000", "leverage": "10", **more}
    return {"id": name, "profile": "plain-cross", "balances": {"USDT": "2000"}, "positions": [position], **MARKET}


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("market") / "market.json"
    path.write_text(json.dumps(MARKET))
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A made-up book of 600 pools in six row groups, and its market."""
    folder = tmp_path_factory.mktemp("made")
    prices = write_synthetic(folder / "whole.parquet", profile="plain-cross", pools=600, seed=3)
    write_book(folder / "book.parquet", read_book(folder / "whole.parquet"), rows=100)
    return folder / "book.parquet", prices


def shard(prices: Path, **options: Any) -> Shard:
    found = read_market(str(prices))
    rules = cm.load_profile("plain-cross").on(found.market.as_of).with_overrides(found.instruments, found.assets)
    return Shard(found.market, rules, **options)


def judged(book: Path, prices: Path, **options: Any) -> list[dict[str, Any]]:
    file, own = checked_book(str(book)), shard(prices, **options)
    groups = (file.iter_batches(row_groups=[group]) for group in range(file.num_row_groups))
    return [row for batches in groups for batch in batches for row in own(batch).to_pylist()]


def bits(rows: list[dict[str, Any]]) -> list[str]:
    """Every row as a text that tells any two different floats apart."""
    return [repr(row) for row in rows]


# figures --------------------------------------------------------------------------------------------------------------


def test_figures_by_hand(market: Path, tmp_path: Path) -> None:
    isolated = account("short", "-0.5", margin_mode="isolated", isolated_margin="700")
    isolated["balances"] = {}
    isolated["positions"][0]["entry_price"] = "61000"
    cases = [cm.case_from(raw, "account").account for raw in (account("long"), isolated)]
    write_book(tmp_path / "book.parquet", Book.from_accounts(cases))
    long, short = judged(tmp_path / "book.parquet", market, thresholds=True)
    # 1 BTC long from 60,000 at 61,000 on 2,000 USDT: PnL 1,000, equity 3,000. The table takes 0.005 above 50,000 with
    # a deduction of 50,000 x 0.001 = 50, so 61,000 x 0.005 - 50 = 255 is kept; 61,000 / 10 = 6,100 to open.
    assert (long["account"], long["pool"], long["currency"]) == ("long", "account", "USDT")
    assert long["equity"] == 3000
    assert long["maintenance_margin"] == pytest.approx(255, rel=1e-12)
    assert long["headroom"] == pytest.approx(2745, rel=1e-12)
    assert long["initial_margin"] == pytest.approx(6100, rel=1e-12)
    assert long["free_collateral"] == pytest.approx(-3100, rel=1e-12)
    assert long["margin_ratio"] == pytest.approx(255 / 3000, rel=1e-12)
    assert (long["status"], long["level"], long["reason"]) == ("warning", "initial margin", None)
    # 2,000 + p - 60,000 = 0.005 p - 50 at p = 57,950 / 0.995
    [position] = long["positions"]
    assert position["below"] == pytest.approx(57950 / 0.995, rel=1e-12)
    assert (position["below_kind"], position["above_kind"]) == ("price", "never")
    assert [row["asset"] for row in long["collateral"]] == []
    assert long["common_below"] == pytest.approx(57950 / 0.995 / 61000 - 1, rel=1e-11)
    # 0.5 BTC short from 61,000 in a pocket of 700: 30,500 x 0.004 = 122 is kept, 578 are left;
    # 700 - 0.5 (p - 61,000) = 0.004 x 0.5 p at p = 31,200 / 0.502
    assert short["pool"] == "BTC/USDT:USDT short isolated"
    assert short["headroom"] == pytest.approx(578, rel=1e-12)
    assert short["positions"][0]["above"] == pytest.approx(31200 / 0.502, rel=1e-12)
    assert short["positions"][0]["below"] is None


def test_the_edge_is_decided_exactly(market: Path, tmp_path: Path) -> None:
    """Equity 0.1 + 0.2 against maintenance 0.3: no float says that this is liquidated at 1, the judge does."""
    # 0.001 BTC from 61,000 - 0 PnL, kept 0.001 x 61,000 x 0.004 = 0.244
    edge = account("edge", "0.001", entry_price="61000")
    edge["balances"] = {"USDT": "0.244"}
    above = account("above", "0.001", entry_price="61000")
    above["balances"] = {"USDT": "0.24400000000000002"}
    cases = [cm.case_from(raw, "account").account for raw in (edge, above)]
    write_book(tmp_path / "book.parquet", Book.from_accounts(cases))
    _, tally = shard(market).judged(next(book_batches(Book.from_accounts(cases))))
    assert [row["status"] for row in judged(tmp_path / "book.parquet", market)] == ["liquidation", "warning"]
    assert tally.rejudged == 2


# cuts -----------------------------------------------------------------------------------------------------------------


def test_no_cut_changes_a_bit(made: tuple[Path, Path], tmp_path: Path) -> None:
    book, prices = made
    whole = bits(judged(book, prices, thresholds=True))
    assert len(whole) >= 600
    one = read_book(book)
    for rows in (600, 7):
        write_book(tmp_path / f"{rows}.parquet", one, rows=rows)
        assert bits(judged(tmp_path / f"{rows}.parquet", prices, thresholds=True)) == whole
    assert bits(judged(book, prices, thresholds=True, threads=2)) == whole


def test_the_order_of_row_groups_changes_no_row(made: tuple[Path, Path], tmp_path: Path) -> None:
    book, prices = made
    file = parquet.ParquetFile(book)
    order = [4, 0, 5, 2, 1, 3]
    with parquet.ParquetWriter(tmp_path / "mixed.parquet", file.schema_arrow) as writer:
        for group in order:
            writer.write_table(file.read_row_group(group))
    before, after = (bits(judged(path, prices, thresholds=True)) for path in (book, tmp_path / "mixed.parquet"))
    assert before != after
    assert sorted(before) == sorted(after)


def test_names_as_plain_text_give_the_same_rows(made: tuple[Path, Path], tmp_path: Path) -> None:
    """What another library writes: no dictionaries, lists with small offsets, accounts as text."""
    book, prices = made
    file = parquet.ParquetFile(book)
    table = pa.concat_tables(file.read_row_group(n) for n in range(file.num_row_groups))
    rows = [{**row, "account": f"a{row['account']}"} for row in table.to_pylist()]
    position = pa.struct(
        [("symbol", pa.string()), *((name, pa.float64()) for name in ("quantity", "entry_price", "leverage"))]
    )
    holding = pa.struct(
        [
            ("asset", pa.string()),
            ("amount", pa.float64()),
            ("bonus_credit", pa.float64()),
            ("use_as_collateral", pa.bool_()),
            ("positions", pa.list_(position)),
        ]
    )
    schema = pa.schema(
        [
            ("account", pa.string()),
            ("isolated", pa.bool_()),
            ("open_orders", pa.bool_()),
            ("holdings", pa.list_(holding)),
        ]
    )
    parquet.write_table(pa.Table.from_pylist(rows, schema=schema), tmp_path / "plain.parquet", row_group_size=50)
    before, after = judged(book, prices), judged(tmp_path / "plain.parquet", prices)
    assert [row["account"] for row in after] == [f"a{row['account']}" for row in before]
    assert bits([{**row, "account": 0} for row in after]) == bits([{**row, "account": 0} for row in before])


# what is wrong with a file --------------------------------------------------------------------------------------------


def _rows(names: tuple[str, ...] = ("a", "b", "c")) -> Any:
    return next(book_batches(Book.from_accounts([cm.case_from(account(name), "account").account for name in names])))


def _without(batch: Any, name: str) -> Any:
    return batch.select([column for column in batch.schema.names if column != name])


def _with(batch: Any, name: str, column: Any) -> Any:
    return pa.table({**{n: batch.column(n) for n in batch.schema.names if n != name}, name: column})


FAULTS = {
    "a missing column": (lambda b: _without(b, "isolated"), "isolated: is missing; give a column of true or false"),
    "an unknown column": (lambda b: _with(b, "bonus", pa.array([1.0] * 3)), "bonus: is not a known column"),
    "text where numbers are": (
        lambda b: _with(b, "holdings", pa.array([[{"asset": "USDT", "amount": "1"}]] * 3)),
        "holdings.amount: must hold numbers (found: string)",
    ),
    "what misses in the lists too": (
        lambda b: _with(b, "holdings", pa.array([[{"asset": "USDT", "amount": 1.0}]] * 3)),
        "holdings.positions: is missing; give a column of a list of structs",
    ),
    "a flag of numbers": (lambda b: _with(b, "isolated", pa.array([0, 1, 0])), "isolated: must hold true or false"),
    "no lists": (lambda b: _with(b, "holdings", pa.array([1.0] * 3)), "holdings: must hold a list of structs"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_columns_that_do_not_fit(case: str, tmp_path: Path) -> None:
    change, words = FAULTS[case]
    found = change(_rows())
    table = found if isinstance(found, pa.Table) else pa.Table.from_batches([found])
    parquet.write_table(table, tmp_path / "book.parquet")
    with pytest.raises(AccountError) as caught:
        checked_book(str(tmp_path / "book.parquet"))
    assert words in str(caught.value)


def test_every_column_at_once(tmp_path: Path) -> None:
    parquet.write_table(pa.table({"id": ["a"], "isolated": [1]}), tmp_path / "book.parquet")
    with pytest.raises(AccountError, match="5 faults"):
        checked_book(str(tmp_path / "book.parquet"))


@pytest.mark.parametrize("content", ["missing", "empty", "cut short", "text"])
def test_files_that_are_no_parquet(content: str, made: tuple[Path, Path], tmp_path: Path) -> None:
    path = tmp_path / "book.parquet"
    whole = made[0].read_bytes()
    if content != "missing":
        path.write_bytes({"empty": b"", "cut short": whole[: len(whole) // 2], "text": b"account,isolated\n"}[content])
    with pytest.raises(AccountError, match=r"book\.parquet: cannot be read as Parquet"):
        Run(str(path), str(made[1]), str(tmp_path / "out"), shard(made[1]))
    assert not list(tmp_path.glob("out*"))


def test_a_row_group_that_is_damaged_is_named(made: tuple[Path, Path], tmp_path: Path) -> None:
    book, prices = made
    data = bytearray(book.read_bytes())
    start = parquet.ParquetFile(book).metadata.row_group(3).column(4).data_page_offset
    data[start : start + 40] = b"\xff" * 40
    (tmp_path / "book.parquet").write_bytes(data)
    run = Run(str(tmp_path / "book.parquet"), str(prices), str(tmp_path / "out"), shard(prices), rows=100)
    with pytest.raises(AccountError, match="row group 3 cannot be read"):
        run.execute(Threads(1))
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "out.manifest.json").exists()


def test_a_null_list_is_named_with_its_row_group(market: Path, tmp_path: Path) -> None:
    batch = _rows()
    rows = batch.to_pylist()
    rows[2]["holdings"] = None
    parquet.write_table(pa.Table.from_pylist(rows, schema=batch.schema), tmp_path / "book.parquet", row_group_size=2)
    run = Run(str(tmp_path / "book.parquet"), str(market), str(tmp_path / "out"), shard(market))
    with pytest.raises(AccountError, match=r"book\.parquet: row group 1: 1 fault\n.*holdings.*without nulls"):
        run.execute(Threads(1))


def test_a_null_account_belongs_to_nobody(market: Path) -> None:
    batch = _rows()
    broken = batch.set_column(0, "account", pa.array(["a", None, "c"]))
    with pytest.raises(AccountError, match="account: must be stated in every row"):
        shard(market)(broken)


NAN, INF = float("nan"), float("inf")
BAD_ROWS = {
    "not_finite": [{"amount": NAN}, {"amount": None}, {"amount": INF}, {"quantity": None}, {"entry_price": NAN}],
    "not_positive": [{"entry_price": 0.0}, {"quantity": 0.0}, {"bonus_credit": -1.0}, {"entry_price": -1.0}],
    "null": [{"asset": None}, {"symbol": None}],
    "unknown_instrument": [{"symbol": "WHO/KNOWS"}, {"symbol": "nonsense"}],
    "mark_price_missing": [{"symbol": "ETH/USDT:USDT"}],
    "misplaced": [{"asset": "BTC"}],
    "leverage_missing": [{"leverage": None}, {"leverage": NAN}],
}


@pytest.mark.parametrize(("reason", "change"), [(r, c) for r, changes in BAD_ROWS.items() for c in changes])
def test_a_bad_row_costs_itself_a_reason_and_no_other(reason: str, change: dict[str, Any], market: Path) -> None:
    batch = _rows()
    rows = batch.to_pylist()
    holding = rows[1]["holdings"][0]
    for name, value in change.items():
        (holding if name in holding else holding["positions"][0])[name] = value
    sound = shard(market)(batch).to_pylist()
    prices = read_market(str(market))
    eth = prices.instruments[0].model_copy(update={"symbol": "ETH/USDT:USDT"})
    rules = cm.load_profile("plain-cross").on(NOW).with_overrides((*prices.instruments, eth), ())
    found = Shard(prices.market, rules)(pa.RecordBatch.from_pylist(rows, schema=batch.schema)).to_pylist()
    assert [found[0], found[2]] == [sound[0], sound[2]]
    assert found[1]["reason"] == reason
    if reason == "leverage_missing":
        assert found[1]["initial_margin"] is None
        assert found[1]["headroom"] == sound[1]["headroom"]
    else:
        assert found[1]["status"] == "unknown"
        assert {found[1][name] for name in ("equity", "maintenance_margin", "headroom", "margin_ratio")} == {None}


def test_an_empty_book_is_an_empty_answer(market: Path, tmp_path: Path) -> None:
    write_book(tmp_path / "book.parquet", Book.from_accounts([]))
    run = Run(str(tmp_path / "book.parquet"), str(market), str(tmp_path / "out"), shard(market, thresholds=True))
    manifest = run.execute(Threads(1))
    assert (manifest.tally.pools, manifest.tally.status["healthy"]) == (0, 0)
    assert parquet.read_table(tmp_path / "out").num_rows == 0


# markets --------------------------------------------------------------------------------------------------------------

MARKET_FILES = {
    "m.csv": ("name,mark_price,index_price\nBTC/USDT:USDT,61000.5,\nUSDT,,1\n", None),
    "two.csv": ("name,mark_price\nBTC/USDT:USDT,1\nBTC/USDT:USDT,2\n", "row 2.name: stands twice"),
    "zero.csv": ("name,mark_price\nBTC/USDT:USDT,0\n", "mark_price.BTC/USDT:USDT: must be greater than 0"),
    "nan.csv": ("name,mark_price\nBTC/USDT:USDT,NaN\n", "must be a plain decimal"),
    "unknown.csv": ("name,markprice\nBTC/USDT:USDT,1\n", "markprice: is not a known column"),
    "nameless.csv": ("mark_price\n1\n", "name: is missing"),
    "short.csv": ("name,mark_price\nBTC/USDT:USDT\n", "more or fewer fields"),
    "account.toml": ('[balances]\nUSDT = "1"\n', "balances: is not a known key here"),
}


@pytest.mark.parametrize("name", MARKET_FILES)
def test_market_tables(name: str, tmp_path: Path) -> None:
    text, words = MARKET_FILES[name]
    (tmp_path / name).write_text(text)
    if words is None:
        found = read_market(str(tmp_path / name), on=NOW).market
        assert {k: str(v) for k, v in found.mark_price.items()} == {"BTC/USDT:USDT": "61000.5"}
        assert {k: str(v) for k, v in found.index_price.items()} == {"USDT": "1"}
        return
    with pytest.raises(MarketDataError) as caught:
        read_market(str(tmp_path / name), on=NOW)
    assert words in str(caught.value)


def test_a_market_of_parquet_is_what_its_writer_saw(tmp_path: Path) -> None:
    table = pa.table({"name": ["BTC/USDT:USDT", "USDT"], "mark_price": [0.1, None], "index_price": [None, 1.0]})
    parquet.write_table(table, tmp_path / "m.parquet")
    found = read_market(str(tmp_path / "m.parquet"), on=NOW).market
    assert str(found.mark_price["BTC/USDT:USDT"]) == "0.1"
    parquet.write_table(pa.table({"name": ["USDT"], "index_price": [NAN]}), tmp_path / "m.parquet")
    with pytest.raises(MarketDataError, match=r"index_price\.USDT"):
        read_market(str(tmp_path / "m.parquet"), on=NOW)
    parquet.write_table(table, tmp_path / "m.parquet")
    with pytest.raises(MarketDataError, match="as_of: is missing"):
        read_market(str(tmp_path / "m.parquet"))


# interruption ---------------------------------------------------------------------------------------------------------

KILLED = """
import os, signal, sys
sys.path.insert(0, {here!r})
from pathlib import Path
from test_book_batch import Run, Threads, shard
book, prices, out, last = sys.argv[1:]
real, calls = os.fsync, 0
def fsync(handle):
    global calls
    calls += 1
    if calls == int(last):
        os.kill(os.getpid(), signal.SIGKILL)
    real(handle)
os.fsync = fsync
Run(book, prices, out, shard(Path(prices), thresholds=True), rows=100).execute(Threads(1))
"""


def _bytes(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in [*out.iterdir(), out.with_name(out.name + ".manifest.json")]}


@pytest.fixture(scope="module")
def uninterrupted(made: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    out = tmp_path_factory.mktemp("whole") / "out"
    run = Run(str(made[0]), str(made[1]), str(out), shard(made[1], thresholds=True), rows=100)
    run.execute(Threads(2))
    return out


# calls to fsync: 2 for run.json, then 2 a part and 1 a line of the journal, at last 2 for the manifest and 1 for the
# folder. Killed in the first part, between a part and its line, in the middle, and before the output is in its place.
@pytest.mark.parametrize("last", [3, 8, 22])
def test_a_killed_run_is_gone_on_with(last: int, made: tuple[Path, Path], uninterrupted: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    script = KILLED.format(here=str(Path(__file__).parent))
    command = [sys.executable, "-c", script, str(made[0]), str(made[1]), str(out), str(last)]
    killed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not out.exists()
    resumed = Run(str(made[0]), str(made[1]), str(out), shard(made[1], thresholds=True), rows=100)
    assert {3: 0, 22: 6}.get(last, len(resumed.done)) == len(resumed.done)
    resumed.execute(Threads(2))
    assert _bytes(out) == _bytes(uninterrupted)
    assert not out.with_name("out.partial").exists()


def test_what_a_run_leaves_behind_after_its_last_step_is_removed(made: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    Run(str(made[0]), str(made[1]), str(out), shard(made[1])).execute(Threads(1))
    out.with_name("out.partial").mkdir()
    with pytest.raises(AccountError, match="exists"):
        Run(str(made[0]), str(made[1]), str(out), shard(made[1]))
    assert not out.with_name("out.partial").exists()


def _begin(made: tuple[Path, Path], out: Path) -> None:
    """An interrupted run: two parts are listed."""
    run = Run(str(made[0]), str(made[1]), str(out), shard(made[1]), rows=100)
    with pytest.raises(KeyboardInterrupt):
        run.execute(Threads(1), _Interrupt(3))


class _Interrupt:
    """A progress that ends the run at its nth call."""

    def __init__(self, after: int) -> None:
        self.after = after

    def __call__(self, done: int) -> None:
        self.after -= 1
        if not self.after:
            raise KeyboardInterrupt


def test_a_damaged_part_is_made_again(made: tuple[Path, Path], tmp_path: Path) -> None:
    _begin(made, tmp_path / "out")
    part = tmp_path / "out.partial" / "parts" / "part-00001.parquet"
    before = sha256_of(part)
    part.write_bytes(part.read_bytes()[:-1] + b"\x00")
    with (tmp_path / "out.partial" / "parts.jsonl").open("ab") as journal:
        journal.write(b'{"name": "part-00002.pa')  # a line that was cut off
    again = Run(str(made[0]), str(made[1]), str(tmp_path / "out"), shard(made[1]), rows=100)
    assert sorted(again.done) == ["part-00000.parquet"]
    manifest = again.execute(Threads(1))
    assert manifest.parts[1].sha256 == before
    assert [part.name for part in manifest.parts] == [f"part-{n:05d}.parquet" for n in range(6)]
    for part in manifest.parts:
        assert sha256_of(tmp_path / "out" / part.name) == part.sha256


def test_a_full_disk_is_one_clear_error_and_the_run_goes_on_later(
    made: tuple[Path, Path], uninterrupted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = os.fsync, itertools.count()

    def full(handle: int) -> None:
        if next(calls) > 7:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(handle)

    out = tmp_path / "out"
    run = Run(str(made[0]), str(made[1]), str(out), shard(made[1], thresholds=True), rows=100)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises((AccountError, OSError), match="No space left on device"):
        run.execute(Threads(1))
    monkeypatch.undo()
    assert not out.exists()
    Run(str(made[0]), str(made[1]), str(out), shard(made[1], thresholds=True), rows=100).execute(Threads(1))
    assert _bytes(out) == _bytes(uninterrupted)


def test_two_runs_do_not_work_on_one_output(made: tuple[Path, Path], tmp_path: Path) -> None:
    first = Run(str(made[0]), str(made[1]), str(tmp_path / "out"), shard(made[1]))
    with pytest.raises(AccountError, match="is in work by another process"):
        Run(str(made[0]), str(made[1]), str(tmp_path / "out"), shard(made[1]))
    first.execute(Threads(1))


@pytest.mark.parametrize("what", ["book", "market", "thresholds", "profile", "rows_per_part"])
def test_another_run_is_not_gone_on_with(what: str, made: tuple[Path, Path], tmp_path: Path) -> None:
    book, prices = tmp_path / "book.parquet", tmp_path / "market.json"
    book.write_bytes(made[0].read_bytes())
    prices.write_bytes(made[1].read_bytes())
    _begin((book, prices), tmp_path / "out")
    own, rows = shard(prices, thresholds=what == "thresholds"), 100
    if what == "book":
        write_book(book, read_book(book).take(range(500)), rows=100)
    if what == "market":
        prices.write_text(prices.read_text().replace("\n", "\n\n", 1))
    if what == "profile":
        own = Shard(own.market, cm.load_profile("plain-isolated").revisions[-1])
    if what == "rows_per_part":
        rows = 50
    with pytest.raises(AccountError, match=f"{what}.*: has changed") as caught:
        Run(str(book), str(prices), str(tmp_path / "out"), own, rows=rows)
    assert "remove it to begin anew" in str(caught.value)


def test_an_output_is_not_written_over(made: tuple[Path, Path], uninterrupted: Path) -> None:
    with pytest.raises(AccountError, match="exists; remove it"):
        Run(str(made[0]), str(made[1]), str(uninterrupted), shard(made[1]))


def test_the_manifest_says_what_it_is(made: tuple[Path, Path], uninterrupted: Path) -> None:
    manifest = json.loads(uninterrupted.with_name("out.manifest.json").read_text())
    table = parquet.read_table(uninterrupted)
    assert manifest["tally"]["pools"] == table.num_rows
    assert sum(manifest["tally"]["status"].values()) == table.num_rows
    counted = {row["values"]: row["counts"] for row in table["status"].combine_chunks().value_counts().to_pylist()}
    assert {name: count for name, count in manifest["tally"]["status"].items() if count} == counted
    assert manifest["book"] == {"name": "book.parquet", "bytes": made[0].stat().st_size, "sha256": sha256_of(made[0])}
    assert manifest["market"]["sha256"] == sha256_of(made[1])
    assert (manifest["profile"], manifest["rules_since"]) == ("plain-cross", "2009-01-03")
    assert manifest["sources"]["textbook"]["retrieved"] == "2026-11-23"
    assert set(manifest["versions"]) == {"crossmargin", "numba", "numpy", "pyarrow"}
    assert str(made[0].parent) not in json.dumps(manifest)


# another machine ------------------------------------------------------------------------------------------------------


def test_a_cluster_writes_the_same_bytes(made: tuple[Path, Path], uninterrupted: Path, tmp_path: Path) -> None:
    from crossmargin.apps.cluster import Cluster

    workers = Cluster("local", workers=2)
    try:
        run = Run(str(made[0]), str(made[1]), str(tmp_path / "out"), shard(made[1], thresholds=True), rows=100)
        run.execute(workers)
        assert _bytes(tmp_path / "out") == _bytes(uninterrupted)
        damaged = tmp_path / "book.parquet"
        damaged.write_bytes(made[0].read_bytes())
        broken = Run(str(damaged), str(made[1]), str(tmp_path / "other"), shard(made[1]), rows=100)
        damaged.unlink()
        with pytest.raises(AccountError, match="cannot be read as Parquet"):
            broken.execute(workers)
    finally:
        workers.close()


def test_a_shard_travels(made: tuple[Path, Path]) -> None:
    book, prices = made
    one = shard(prices, thresholds=True)
    batch = next(parquet.ParquetFile(book).iter_batches(50))
    here = one(batch)
    assert pickle.loads(pickle.dumps(one))(batch).equals(here)


def test_other_engines_see_text(made: tuple[Path, Path]) -> None:
    """The recipes of docs/cluster.md: words without dictionaries, to the innermost list."""
    own = shard(made[1], thresholds=True)
    [batch] = checked_book(str(made[0])).iter_batches(100, row_groups=[0])
    judged = own(batch)
    plain = judged.cast(plain_schema(judged.schema))
    assert "dictionary" not in str(plain.schema)
    assert plain.to_pylist() == judged.to_pylist()
    spark = batch.cast(plain_schema(batch.schema.remove_metadata()))
    assert bits(own(spark).to_pylist()) == bits(judged.to_pylist())


@pytest.mark.parametrize("error", [AccountError("here", [Fault("path", "value", "why")]), MarketDataError("m", "why")])
def test_an_error_travels_as_it_is(error: CrossmarginError) -> None:
    back = pickle.loads(pickle.dumps(error))
    assert (type(back), str(back), back.where, back.faults) == (type(error), str(error), error.where, error.faults)


def test_figures_do_not_depend_on_neighbours(made: tuple[Path, Path]) -> None:
    """Each pool alone is what it is among others."""
    book, prices = made
    whole = read_book(book)
    own = shard(prices, thresholds=True)
    among = own(next(book_batches(whole))).to_pylist()
    rng = np.random.default_rng(11)
    for row in rng.choice(len(among), 8, replace=False):
        alone = own(next(book_batches(whole.take([int(row)])))).to_pylist()
        assert bits(alone) == bits([among[row]])
