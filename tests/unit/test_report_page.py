"""The report page: whole, self-contained, and honest about what it cannot answer."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

import crossmargin as cm
from crossmargin.apps.cli import app
from crossmargin.apps.story import killing_sentence, page

EXAMPLES = Path(__file__).parents[2] / "examples"


def text_of(name: str) -> str:
    return page(cm.load(str(EXAMPLES / f"{name}.toml")))


def without_library(text: str) -> str:
    """The page without the embedded plotly.js, which is the longest script by far."""
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    return text.replace(max(scripts, key=len), "")


def test_the_page_fetches_nothing_and_draws_every_figure() -> None:
    text = without_library(text_of("bybit-uta"))
    fetched = re.findall(r'(?:src|href)="([^"]*)"', text)
    assert all(target.startswith("#") for target in fetched)
    specs = re.findall(r'<script type="application/json" id="([^"]+)">(.*?)</script>', text, re.DOTALL)
    assert len(specs) >= 8
    for name, spec in specs:
        assert f'data-spec="{name}"' in text
        assert json.loads(spec.replace("<\\/", "</"))["data"]


def test_the_killing_sentence_names_the_nearest_move() -> None:
    """The figures are the thresholds of the account: BTC alone -52.6 %, everything together -46.8 %."""
    case = cm.load(str(EXAMPLES / "bybit-uta.toml"))
    words = killing_sentence(cm.evaluate(*case), cm.threshold(*case))
    assert words.startswith("Liquidated if BTC alone falls 52.6 %")
    assert words.endswith("all coins fall 46.8 % together.")


def test_an_account_beyond_its_threshold_says_so_first() -> None:
    case = cm.load(str(EXAMPLES / "article-3.1.toml"))
    words = killing_sentence(cm.evaluate(*case), cm.threshold(*case))
    assert words == "Liquidatable now: account has 4,500 USDT of equity against 5,000 of maintenance margin."


@pytest.mark.parametrize("name", ["article-3.1", "article-2.1-isolated", "binance-multi-assets", "hyperliquid"])
def test_every_example_has_a_page(name: str) -> None:
    text = without_library(text_of(name))
    assert text.count("<section") == text.count("</section>") >= 8
    assert "Traceback" not in text


def test_what_comes_from_the_file_is_escaped() -> None:
    case = cm.load(str(EXAMPLES / "article-3.1.toml"))
    hostile = case.account.model_copy(update={"id": "<script>alert(1)</script>"})
    text = without_library(page(case._replace(account=hostile)))
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)" in text


def test_without_the_charting_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crossmargin.apps.page.find_spec", lambda _name: None)
    with pytest.raises(cm.CrossmarginError, match=r"pip install 'crossmargin\[plot\]'") as found:
        text_of("article-3.1")
    assert found.value.exit_code == 2


def test_the_command_writes_the_page_whole(tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    found = CliRunner().invoke(app, ["report", str(EXAMPLES / "article-3.1.toml"), "--html", str(out)])
    assert found.exit_code == 0, found.output
    assert out.read_text().endswith("</html>\n")
    assert list(tmp_path.iterdir()) == [out]
