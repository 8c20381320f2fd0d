"""Results in a notebook: what a real IPython displays, figures as data, rows as frames without losing a digit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import crossmargin as cm
from crossmargin.apps.notebook import PLOTLY, Plot

EXAMPLES = Path(__file__).parents[2] / "examples"
BTC, ETH = "BTC/USDT:USDT", "ETH/USDT:USDT"


def example(name: str) -> cm.Case:
    return cm.load(str(EXAMPLES / f"{name}.toml"))


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    found = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
    yield found
    InteractiveShell.clear_instance()


def ran(shell: Any, code: str) -> list[dict[str, Any]]:
    """What a cell displays, piece by piece."""
    from IPython.utils.capture import capture_output

    with capture_output() as captured:
        shell.run_cell(code).raise_error()
    return [output.data for output in captured.outputs]


# in a notebook --------------------------------------------------------------------------------------------------------


def test_the_extension_lets_results_show_themselves(shell: Any) -> None:
    setup = f"import crossmargin as cm; case = cm.load({str(EXAMPLES / 'article-2.1-cross.toml')!r})"
    ran(shell, setup + "\n%load_ext crossmargin")
    words, figure, tables = ran(shell, "cm.threshold(*case)")
    assert "Where it is liquidated" in words["text/html"]
    assert figure[PLOTLY]["data"][0]["name"] == "falls"
    # 2,000 - 0.005 x 4,000 of the other leg over 0.05 x 0.995: 100,000 - 1,980 + 25 of its own, as the article has it
    assert "60,703.52 (-39.3 %)" in tables["text/html"]
    ran(shell, "%unload_ext crossmargin")
    assert ran(shell, "cm.threshold(*case)") == []


def test_show_displays_without_the_extension(shell: Any) -> None:
    shell.user_ns["shown"] = cm.show(cm.evaluate(*example("article-3.1")))
    words, figure, tables = ran(shell, "shown")
    assert "Where it stands" in words["text/plain"]
    assert "waterfall" in json.dumps(figure[PLOTLY])
    assert "4,500" in tables["text/html"] and "<table>" in tables["text/html"]


def test_a_figure_is_plain_data_that_a_notebook_draws() -> None:
    (figure,) = cm.show(cm.threshold(*example("article-2.1-cross"))).figures
    bundle = figure._repr_mimebundle_()
    assert json.loads(json.dumps(bundle[PLOTLY], allow_nan=False)) == bundle[PLOTLY]
    assert bundle["text/plain"] == "Plot('How far until liquidation')"
    assert figure.to_plotly().layout.title.text == "How far until liquidation"
    assert isinstance(figure, Plot) and "font" not in figure.spec["layout"]  # the colours are the notebook's alone


def test_elsewhere_it_prints_its_tables() -> None:
    text = str(cm.show(cm.evaluate(*example("article-3.1"))))
    assert "Where it stands" in text
    row = next(line.split() for line in text.splitlines() if line.startswith("SOL/USDT:USDT"))
    assert row[:5] == ["SOL/USDT:USDT", "500", "150.00", "75,000.00", "-7,500.00"]


def test_what_is_no_result_is_refused() -> None:
    with pytest.raises(TypeError, match="no view of str"):
        cm.show("hello")
    with pytest.raises(TypeError, match="no view of tuple"):
        cm.show(())


def test_every_text_is_escaped() -> None:
    case = example("article-3.1")
    (row, *_) = cm.stress(*case, [cm.Scenario(name="<b>crash</b>", others=Decimal("-0.1"))])
    html = cm.show((row,))._repr_html_()
    assert "<b>crash" not in html and "&lt;b&gt;crash" in html


# frames ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_frame_keeps_every_digit(library: Any) -> None:
    """1,955 / 4,975 of 100,000 below: 60,703.517587939698492462... to eighteen decimals."""
    found = cm.threshold(*example("article-2.1-cross")).thresholds
    table = cm.frame(found, library=library)
    assert list(table["symbol"]) == [BTC, ETH]
    assert table["below.price"][0] == "60703.517587939698492462"
    assert list(table["above.kind"]) == ["never", "never"]
    assert list(table["above.price"].is_null() if library == "polars" else table["above.price"].isna()) == [True] * 2


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_frame_of_floats_calculates(library: Any) -> None:
    table = cm.frame(cm.evaluate(*example("article-3.1")).positions, library=library, figures="float")
    assert table["unrealized_pnl"].sum() == -5500.0  # 2,000 + 0 - 7,500
    assert table["maintenance_margin"].sum() == 5000.0


def test_a_frame_of_decimals_is_exact() -> None:
    table = cm.frame(cm.evaluate(*example("article-3.1")).positions, figures="decimal")
    assert sum(table["maintenance_margin"]) == Decimal(5000)


def test_parts_and_lists_of_a_row() -> None:
    rows = cm.ladder(*example("article-2.1-cross"), steps=[Decimal("-0.1")])
    table = cm.frame(rows)
    assert list(table["moves.BTC"]) == ["-0.1"] and list(table["moves.ETH"]) == ["-0.1"]
    (pool,) = json.loads(table["pools"][0])
    assert pool["equity"] == "1100"  # 2,000 - 500 - 400


def test_a_part_that_one_row_lacks_is_null_in_its_columns() -> None:
    """Before a second position is opened its threshold is not there."""
    effect = cm.hedge(*account_with_a_fee(), {ETH: Decimal(1)}, leverage=Decimal(10))
    table = cm.frame([row for row in effect.thresholds if row.side == "below"])
    assert "before" not in table and list(table["symbol"]) == [BTC, ETH]
    assert list(table["before.kind"].isna()) == [False, True]
    assert list(table["after.kind"]) == ["price", "price"]


def account_with_a_fee() -> cm.Case:
    table = [{"notional_floor": "0", "maintenance_rate": "0.005"}]
    return cm.case_from(
        {
            "profile": "plain-cross",
            "as_of": "2026-11-20T08:00:00Z",
            "balances": {"USDT": "2000"},
            "positions": [{"symbol": BTC, "quantity": "0.05", "entry_price": "100000", "leverage": "5"}],
            "market": {"mark_price": {BTC: "100000", ETH: "4000"}},
            "instruments": [{"symbol": s, "brackets": table, "taker_fee": "0.0005"} for s in (BTC, ETH)],
        },
        "account",
    )


def test_a_frame_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TypeError, match=r"report\.positions"):
        cm.frame([1, 2])
    monkeypatch.setattr("crossmargin.apps.notebook.find_spec", lambda _name: None)
    with pytest.raises(cm.MissingExtra, match=r"crossmargin\[frames\]"):
        cm.frame(cm.evaluate(*example("article-3.1")).positions)
