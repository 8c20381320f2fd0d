"""The files of the page: nothing from elsewhere, no markup made of data, every import there, everything shipped."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "src" / "crossmargin" / "apps" / "dashboard"
SCRIPTS = sorted(PAGE.rglob("*.js"))


def test_there_is_a_page():
    assert len(SCRIPTS) > 15
    assert {"index.html", "style.css", "icon.svg"} <= {path.name for path in PAGE.iterdir()}


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_data_never_becomes_markup_or_code(path):
    text = path.read_text("utf-8")
    for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "srcdoc"):
        assert way not in text, way


@pytest.mark.parametrize("path", [*SCRIPTS, *PAGE.glob("*.html"), *PAGE.glob("*.css")], ids=lambda path: path.name)
def test_nothing_is_fetched_from_elsewhere(path):
    assert re.findall(r"(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}", path.read_text("utf-8")) == []


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_every_import_is_there(path):
    for name in re.findall(r"""(?:from|import)\s*\(?\s*["'](\.[^"']+)["']""", path.read_text("utf-8")):
        assert (path.parent / name).is_file(), name


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_modules_stay_small_and_say_what_they_are(path):
    lines = path.read_text("utf-8").splitlines()
    assert lines[0].startswith("/* ")
    assert len(lines) <= 350


def test_no_inline_script_or_style_in_the_page():
    text = (PAGE / "index.html").read_text("utf-8")
    assert re.findall(r"<script(?![^>]*src=)", text) == []
    assert re.findall(r"<style|\sstyle=|\son[a-z]+=", text) == []
