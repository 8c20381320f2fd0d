"""Pictures made of characters: right in height, readable without colour, narrow windows and old terminals."""

from __future__ import annotations

import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossmargin.apps import tables
from crossmargin.apps.sparks import bar, spark

ROOT = Path(__file__).parents[2]
EXAMPLE = "examples/article-2.1-cross.toml"
BLOCKS = "▁▂▃▄▅▆▇█"
figures = st.lists(st.none() | st.floats(-1e12, 1e12), min_size=1, max_size=40)


@settings(derandomize=True, deadline=None, max_examples=50)
@given(figures)
def test_a_spark_rises_with_its_figures(values: list[float | None]):
    line = spark(values)
    assert len(line) == len(values)
    for value, sign in zip(values, line, strict=True):
        assert sign == (" " if value is None else "x" if value <= 0 else sign)
    known = sorted((value, BLOCKS.index(sign)) for value, sign in zip(values, line, strict=True) if sign in BLOCKS)
    heights = [height for _, height in known]
    assert heights == sorted(heights)
    assert not known or heights[-1] == len(BLOCKS) - 1  # the greatest is full


@settings(derandomize=True, deadline=None, max_examples=50)
@given(figures)
def test_ascii_says_the_same(values: list[float | None]):
    line = spark(values, ascii_only=True)
    assert line.isascii()
    assert line.translate(str.maketrans("_.-=+*%#", BLOCKS)) == spark(values)


@pytest.mark.parametrize(
    ("value", "shown", "in_ascii"),
    [
        (16, "████", "####"),  # all of four cells
        (8, "██", "##"),
        (5, "█▎", "#"),  # 5/16 of 32 eighths are 10: one cell and two eighths
        (0.01, "▏", "#"),  # above 0 is never invisible
        (0, "x", "x"),
        (-3, "x", "x"),
        (None, "", ""),
    ],
)
def test_a_bar_is_its_share(value: float | None, shown: str, in_ascii: str):
    assert bar(value, 16, 4) == shown
    assert bar(value, 16, 4, ascii_only=True) == in_ascii


def test_a_picture_gives_way_to_figures_in_a_narrow_window(monkeypatch: pytest.MonkeyPatch):
    rows = [["a", "1"], ["b", "2"]]
    pictures = tables.bars([Decimal(1), Decimal(2)])
    for width, columns in ((80, 3), (12, 2)):
        monkeypatch.setattr(tables.console, "width", width)
        table = tables._pictured("t", ["name", "figure"], rows, pictures)
        assert len(table.columns) == columns


def run(*words: str, out: int = subprocess.PIPE, **env: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "crossmargin.apps.cli", *words],
        check=False,
        stdout=out,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "100", "TERM": "xterm-256color", **env},
    )


def test_headroom_along_each_coin():
    """BTC alone breaks at -39.30 %, ETH at -49.12 %: of 41 points from -50 %, the first 5 and the first 1 are gone."""
    found = run("threshold", EXAMPLE, "--curve", PYTHONIOENCODING="utf-8").stdout.decode()
    lines = {line.split()[0]: line.split()[1] for line in found.splitlines() if line[:4] in ("BTC ", "ETH ")}
    # the points between, at 2.5 %, and the threshold itself, where headroom is 0 to the rounding of a float
    assert lines["BTC"].lstrip("x")[0] == "▁" and 5 <= lines["BTC"].count("x") <= 6
    assert 1 <= lines["ETH"].count("x") <= 2 and lines["ETH"][-1] == "█"
    assert "-50% to +50%" in found


def test_a_terminal_that_is_not_utf8_gets_ascii_and_json_stays_utf8(tmp_path: Path):
    file = tmp_path / "account.toml"
    file.write_text('id = "bücher"\n' + (ROOT / EXAMPLE).read_text(), encoding="utf-8")
    for verb in ("evaluate", "threshold", "stress", "explain", "cascade"):
        words = [verb, str(file)] + (["--curve"] if verb in ("evaluate", "threshold") else [])
        found = run(*words, PYTHONIOENCODING="ascii")
        assert found.stdout.isascii() and found.returncode == 0, found.stderr
    assert '"id": "bücher"' in run("evaluate", str(file), "--json", PYTHONIOENCODING="ascii").stdout.decode("utf-8")


def test_no_colour_where_none_is_wanted():
    coloured, plain = (run("evaluate", EXAMPLE, FORCE_COLOR="1", **env).stdout for env in ({}, {"NO_COLOR": "1"}))
    assert b"\x1b[32mhealthy" in coloured
    assert b"\x1b[32m" not in plain and b"healthy" in plain  # bold and dim are no colours


def test_a_path_that_cannot_be_written_is_bad_input(tmp_path: Path):
    page = tmp_path / "nowhere" / "page.html"
    done = run("report", EXAMPLE, "--html", str(page))
    assert (done.returncode, done.stderr.decode()) == (2, f"error: {page}.part: No such file or directory\n")


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_a_full_disk_is_one_line_and_no_verdict(form: tuple[str, ...]):
    with open("/dev/full", "wb") as full:  # noqa: PTH123 - a device
        done = run("evaluate", EXAMPLE, *form, out=full.fileno())
    assert (done.returncode, done.stderr) == (1, b"error: No space left on device\n")


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("threshold", EXAMPLE, "--shock", "FOO=1", "--shock", "BAR=2"), ("direction.FOO", "direction.BAR", "BTC")),
        (("threshold", EXAMPLE, "--shock", "BTC=0"), ("direction: moves nothing",)),
        (("cascade", EXAMPLE, "--coin", "FOO"), ("direction.FOO",)),
        (("cascade", EXAMPLE, "--gap", "-10"), ("gap", "above -1")),
        (("stress", EXAMPLE, "--move", "BTC=-20"), ("--move.BTC", "(found: '-20')")),
    ],
)
def test_a_slip_of_the_user_is_bad_input_and_not_missing_data(words: tuple[str, ...], named: tuple[str, ...]):
    done = run(*words)
    assert done.returncode == 2
    assert all(name in done.stderr.decode() for name in named)
