"""Where readings come from: files, venues that fail, the books of record, the store, a book of many accounts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction as F
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from watching import T0, account, after

import crossmargin as cm
from crossmargin.apps.monitor.observe import Seen, observe
from crossmargin.apps.monitor.rules import NEVER, KindName
from crossmargin.apps.monitor.sources import ClearingSource, FileSource, StoreSource, VenueSource
from crossmargin.apps.store.keeping import judged, keep
from crossmargin.apps.store.store import Store
from crossmargin.errors import Fault, VenueError
from crossmargin.files.accounts import read_table
from crossmargin.files.live import Read
from crossmargin.model.report import to_plain

EVERY: tuple[KindName, ...] = (
    "level", "margin_ratio", "headroom", "distance", "sensitivity", "runway", "reconciliation",
)  # fmt: skip
BTC = "BTC/USDT:USDT"


def problems(found: Sequence[Any] | None) -> list[str | None]:
    return [one.problem for one in found or ()]


# figures --------------------------------------------------------------------------------------------------------------


def test_the_figures_of_an_account() -> None:
    """Long one BTC from 60,000 on 10,000 at 60,000: equity 10,000, maintenance 300."""
    found = observe(Seen("a", account("60000"), T0), EVERY)
    assert found.problem is None
    assert (found.equity, found.maintenance_margin, found.currency) == (10_000, 300, "USDT")
    figures = {name: F(value) for name, value in found.figures.items() if isinstance(value, Decimal)}
    assert figures["level"] == 0
    assert figures["margin_ratio"] == F(300, 10_000)
    assert figures["headroom"] == 9_700
    # 10,000 + p - 60,000 = 0.005 p, so p = 50,000 / 0.995
    assert abs(figures["distance"] - (1 - F(50_000, 1) / F(995, 1000) / 60_000)) < F(1, 10**18)
    # 1 % of the price costs 600 of PnL and saves 3 of maintenance
    assert figures["sensitivity"] == 597
    assert set(found.unknown) == {"runway", "reconciliation"}  # no funding rate, and nothing that a venue reported
    assert "funding rate" in found.unknown["runway"]


def test_good_and_bad_ends() -> None:
    flat = cm.case_from({"profile": "plain-cross", "as_of": "2026-11-20T08:00:00Z", "balances": {"USDT": "5"}}, "t")
    found = observe(Seen("a", flat, T0), ("level", "distance", "runway", "sensitivity"))
    assert found.figures == {"level": 0, "distance": NEVER, "runway": NEVER, "sensitivity": 0}
    ruined = observe(Seen("a", account("40000"), T0), ("level", "margin_ratio", "distance"))
    assert (ruined.figures["level"], ruined.figures["distance"]) == (2, 0)
    assert ruined.figures["margin_ratio"] >= 1


def test_runway_and_reconciliation() -> None:
    case = account("60000")
    market = case.market.model_copy(
        update={"funding_rate": {BTC: Decimal("0.001")}, "funding_interval": {BTC: Decimal(8)}}
    )
    said = {"equity": "10000", "maintenance_margin": "305"}
    reported = tuple(cm.Reported(figure=name, value=Decimal(value)) for name, value in said.items())
    found = observe(Seen("a", case._replace(market=market), T0, reported), ("runway", "reconciliation"))
    # 60 every 8 hours from a headroom of 9,700: 9,700 / 7.5 hours
    assert abs(F(found.figures["runway"]) - F(9_700) / F(60, 8)) < F(1, 10**18)
    assert found.figures["reconciliation"] == 1
    assert "maintenance_margin" in found.words["reconciliation"]


def test_what_cannot_be_judged_is_a_problem_not_an_exception() -> None:
    case = account("60000")
    without = case._replace(market=case.market.model_copy(update={"mark_price": {}}))
    found = observe(Seen("a", without, T0), EVERY)
    assert found.problem is not None
    assert BTC in found.problem
    assert found.figures == {}
    assert observe(Seen("a", None, None), EVERY).problem == "could not be read"
    partial = observe(Seen("a", case, T0, lacking=("balances",)), ("level",))
    assert partial.unknown == {"account.balances": "the source lists no balances"}


# files ----------------------------------------------------------------------------------------------------------------


def test_a_file_is_read_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    source = FileSource("a", str(path), prices=None, every_seconds=1)
    assert "No such file" in str(problems(source.poll(T0))[0])
    text = Path("examples/article-3.1.toml").read_text()
    path.write_text(text[: len(text) // 2])
    assert "not valid TOML" in str(problems(source.poll(T0))[0])  # half written
    path.write_text(text)
    found = source.poll(T0)
    assert problems(found) == [None]
    assert source.poll(T0) is None
    path.write_text(text.replace("10000", "20000"))
    (again,) = source.poll(T0) or ()
    assert again.case is not None
    assert again.case.account.balances["USDT"].wallet_balance == 20_000
    path.unlink()
    assert "No such file" in str(problems(source.poll(T0))[0])  # a file that is gone is not an account that is well


def test_prices_beside_an_account_are_as_old_as_the_older(tmp_path: Path) -> None:
    prices = tmp_path / "p.toml"
    source = FileSource("a", "examples/article-2.1-cross.toml", prices=str(prices), every_seconds=1)
    for as_of, age in (("2026-11-20T07:00:00Z", after(-3600)), ("2026-11-20T09:00:00Z", T0)):
        prices.write_text(f'as_of = {as_of}\nmarket.mark_price = {{ "{BTC}" = "90000" }}\n')
        (found,) = source.poll(T0) or ()
        assert found.case is not None
        assert found.as_of == age
        assert found.case.market.mark_price == {BTC: 90_000, "ETH/USDT:USDT": 4_000}


# venues ---------------------------------------------------------------------------------------------------------------


def test_a_venue_that_refuses_is_asked_less_and_less(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CROSSMARGIN_BINANCE_KEY", "k")
    asked: list[float] = []
    now = [0.0]

    def read(*_: Any, **__: Any) -> Read:
        asked.append(now[0])
        raise VenueError("binance", (Fault("fapi", "429", "the venue limits the reads; wait and read again"),))

    source = VenueSource("a", "binance", keys=None, allow_trading_key=False, every_seconds=10, read=read)
    for second in range(0, 1300, 10):
        now[0] = second
        found = source.poll(after(second))
        assert found is None or "limits the reads" in str(problems(found)[0])
    # 20, 40, 80 and so on up to 300 seconds between two tries
    assert [round(b - a) for a, b in pairwise(asked)] == [20, 40, 80, 160, 300, 300, 300]


def test_what_a_venue_leaves_out_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CROSSMARGIN_BINANCE_KEY", "k")
    answers: list[Any] = [[], [{"code": -2015, "msg": "Invalid API-key"}], [{"assets": "?"}], ["<html>"], [None]]
    for answer in answers:
        source = VenueSource(
            "a", "binance", keys=None, allow_trading_key=False, every_seconds=10,
            read=lambda *_, a=answer, **__: Read(tuple(a), T0, ()),
        )  # fmt: skip
        (found,) = source.poll(T0) or ()
        reading = observe(found, ("level",))
        assert reading.problem or reading.unknown, answer  # an empty answer is no empty account


def test_a_missing_key_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CROSSMARGIN_OTHER_KEY", raising=False)
    source = VenueSource("a", "binance", keys="OTHER", allow_trading_key=False, every_seconds=10)
    assert "CROSSMARGIN_OTHER_KEY" in str(problems(source.poll(T0))[0])


# books, stores, fleets ------------------------------------------------------------------------------------------------


def test_the_accounts_of_a_store(store: Store) -> None:
    raw = to_plain(read_table("examples/article-3.1.toml")[0])
    source = StoreSource("(s)", store, "one", prefix="s/")

    def put(name: str, tenant: str = "one", **more: Any) -> None:
        with store.changing(tenant) as tx:
            keep(store, tx, tenant, judged({**raw, "id": name, **more}, name))

    def names() -> list[tuple[str, bool]]:
        return [(one.account, one.gone) for one in source.poll(T0) or ()]

    put("a")
    put("b", tenant="two")
    assert names() == [("(s)", False), ("s/a", False)]
    assert names() == [("(s)", False)]
    put("a", balances={"USDT": "1"})
    put("c")
    assert names() == [("(s)", False), ("s/a", False), ("s/c", False)]
    with store.changing("one") as tx:
        store.delete_account(tx, "one", "a")
    assert names() == [("(s)", False), ("s/a", True)]
    # what was deleted while nobody looked is told too
    other = StoreSource("(s)", store, "one", prefix="s/")
    assert other.adopt({"s/a", "s/c", "(s)", "x"}) == {"s/a", "s/c", "(s)"}
    assert sorted((one.account, one.gone) for one in other.poll(T0)) == [("(s)", False), ("s/a", True), ("s/c", False)]


def test_the_books_of_record(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from crossmargin.apps.cli import app

    journal = str(tmp_path / "books.db")
    source = ClearingSource("books", journal, every_seconds=1)
    assert "is not there" in str(problems(source.poll(T0))[0])
    lines = Path("examples/clearing.jsonl").read_text().splitlines()
    half = tmp_path / "half.jsonl"
    half.write_text("\n".join(lines[: len(lines) // 2]))
    run = CliRunner()
    assert run.invoke(app, ["clearing", "init", "-j", journal]).exit_code == 0
    run.invoke(app, ["clearing", "apply", str(half), "-j", journal])
    first = source.poll(T0) or ()
    assert source.poll(T0) is None
    run.invoke(app, ["clearing", "apply", "examples/clearing.jsonl", "-j", journal])
    second = source.poll(T0) or ()
    assert [one.account for one in first][:1] == ["books"]
    assert len(second) >= len(first)
    readings = [observe(one, ("level",)) for one in second[1:]]
    assert readings
    assert all(one.account.startswith("books/") for one in readings)
    assert any("level" in one.figures for one in readings)
    source.close()
    assert Path(journal).exists()


def test_a_fleet_says_whose_level_changed() -> None:
    pytest.importorskip("numba")
    from crossmargin.apps.monitor.fleet import Fleet
    from crossmargin.engine.book import Book

    cases = [account("60000", wallet=wallet) for wallet in ("10000", "20000", "50000")]
    book = Book.from_accounts([one.account.model_copy(update={"id": f"n{n}"}) for n, one in enumerate(cases)])
    fleet = Fleet("book", book, cases[0].market, cases[0].rules)
    first = fleet.everybody(T0)
    assert [(one.account, one.figures["level"]) for one in first] == [("book/n0", 0), ("book/n1", 0), ("book/n2", 0)]

    def told(mark: str) -> list[tuple[str, Any]]:
        return [(one.account, one.figures["level"]) for one in fleet.tick({BTC: Decimal(mark)}, T0 + timedelta(1))]

    # liquidated below (60,000 - wallet) / 0.995: 50,251.26, 40,201.01 and 10,050.25
    # and at 50,252 the first one's equity of 252 is below the initial margin of 5,025.20, a warning
    assert told("59999") == []
    assert told("50252") == [("book/n0", 1)]
    assert told("50251") == [("book/n0", 2)]
    assert told("40201") == [("book/n1", 2)]
    assert sorted(told("60000")) == [("book/n0", 0), ("book/n1", 0)]
    assert fleet.tick({"DOGE/USDT:USDT": Decimal(1)}, T0) == []
