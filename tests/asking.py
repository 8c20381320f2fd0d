"""Accounts of the conformance files asked on the command line: every verb, its figures and its exit code."""

from __future__ import annotations

import json
import re
import tomllib
from decimal import Decimal
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from crossmargin.apps.cli import app

ROOT = Path(__file__).parents[1]


@cache
def given(book: str, case: str) -> str:
    """One account of a conformance file as the text of an account file (JSON)."""
    cases = tomllib.loads((ROOT / "conformance" / f"{book}.toml").read_text())["cases"]
    found = next(c for c in cases if c["id"] == case)
    return json.dumps({"profile": found["profile"], **found["given"]}, default=lambda when: when.isoformat())


def asked(account: str, *words: str) -> tuple[int, Any]:
    """The exit code and the JSON of one verb on an account (the text of a file)."""
    found = CliRunner().invoke(app, [words[0], "-", *words[1:], "--json"], input=account)
    assert found.exception is None or isinstance(found.exception, SystemExit), found.exception
    return found.exit_code, json.loads(found.stdout)


def read(result: Any, path: str) -> Any:
    """A value of a result: ``a.b``, a row by its number ``[0]``, or by a field of it ``[symbol=BTC/USDT:USDT]``."""
    for part in re.findall(r"[^.\[\]]+|\[[^\]]*\]", path):
        if not part.startswith("["):
            result = result[part]
        elif "=" in part:
            field, _, wanted = part[1:-1].partition("=")
            result = next(row for row in result if row[field] == wanted)
        else:
            result = result[int(part[1:-1])]
    return result


def check(result: Any, figures: dict[str, Any]) -> None:
    """Words must be equal, numbers to the tenth digit: figures of floats (standard deviations) have twelve."""
    for path, expected in figures.items():
        found = read(result, path)
        if isinstance(expected, str | bool | None):
            assert found == expected, (path, found, expected)
            continue
        exact = Fraction(expected) if not isinstance(expected, float) else Fraction(str(expected))
        close = abs(Fraction(Decimal(found)) - exact) <= max(abs(exact), 1) * Fraction(1, 10**10)
        assert close, (path, found, float(exact))
