"""Every example of README and docs runs, and prints what it says."""

import doctest
import importlib
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import crossmargin

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_BLOCK = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


def _modules() -> list[str]:
    found = [m.name for m in pkgutil.walk_packages(crossmargin.__path__, "crossmargin.")]
    return ["crossmargin", *found]


@pytest.mark.parametrize("name", _modules())
def test_docstring_examples(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert result.failed == 0


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_python_examples(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of ``>>>`` lines are doctests; the blocks of a page share their names."""
    monkeypatch.chdir(ROOT)
    blocks = [body for language, body in _BLOCK.findall(page.read_text()) if language in ("python", "pycon")]
    text = "\n".join(blocks)
    test = doctest.DocTestParser().get_doctest(text, {}, page.name, str(page), 0)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert runner.run(test).failed == 0


def _shell_examples() -> list[object]:
    found = []
    for page in PAGES:
        for language, body in _BLOCK.findall(page.read_text()):
            if language == "console":
                found += [
                    pytest.param(command, output.strip(), id=f"{page.stem}: {command[:60]}")
                    for command, output in re.findall(
                        r"^\$ ((?:[A-Z_]+=\S+ )?crossmargin [^\n]*)\n(.*?)(?=^\$ |\Z)", body, re.M | re.S
                    )
                ]
    return found


@pytest.mark.parametrize(("command", "output"), _shell_examples())
def test_shell_examples(command: str, output: str) -> None:
    """``$ crossmargin ...`` lines run; the output shown must be what is printed, ``...`` standing for anything."""
    found = subprocess.run(
        ["bash", "-c", command.replace("crossmargin", f"{sys.executable} -m crossmargin.apps.cli", 1)],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"},
    )
    printed = found.stdout + found.stderr
    assert "Traceback" not in printed
    assert "internal" not in printed.lower() or found.returncode != 1
    want = re.sub(r"\s+", " ", output)
    got = re.sub(r"\s+", " ", printed).strip()
    pattern = ".*?".join(re.escape(part.strip()) for part in want.split("..."))
    assert re.search(pattern, got, re.DOTALL), f"want {want}\n got {got}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in _LINK.findall(page.read_text()):
        assert (page.parent / target).exists(), target
