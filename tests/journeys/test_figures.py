"""Every figure on an account's page is the command line's, for every example account."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page
from typer.testing import CliRunner

from crossmargin.apps.cli import app
from crossmargin.files.accounts import read_table
from crossmargin.model.report import to_plain

EXAMPLES = Path(__file__).parents[2] / "examples"
ACCOUNTS = sorted(path for path in EXAMPLES.glob("*.toml") if "profile" in tomllib.loads(path.read_text()))
SHOWN = """() => {
  const cells = (row) => [...row.cells].map((cell) => cell.innerText.trim());
  const all = (label) => [...document.querySelectorAll(`[role=region][aria-label="${label}"] tbody tr`)];
  const rows = (label) => Object.fromEntries(all(label).map((row) => [row.dataset.key, cells(row)]));
  const strip = Object.fromEntries([...document.querySelectorAll(".strip > div")].map((each) =>
    [each.querySelector("dt").innerText, (each.querySelector(".said") ?? each.querySelector("dd")).innerText.trim()]));
  return { strip, thresholds: rows("Thresholds"), positions: rows("Positions") };
}"""
"""What the page of an account says, as a reader sees it."""


def asked(verb: str, path: Path) -> dict[str, Any]:
    """What the command line prints."""
    found = CliRunner().invoke(app, [verb, str(path), "--json"])
    return json.loads(found.stdout)


def amount(text: str | None) -> str:
    """An amount as the page shows it: grouped, two decimals, below 1 four significant digits; halves away from zero."""
    if text is None:
        return "unknown"
    value = Decimal(text)
    if abs(value) < Decimal("1e-8") or abs(value) >= 1:
        cut = value.quantize(Decimal("0.01"), rounding="ROUND_HALF_UP")
        return f"{cut:,.2f}" if cut or value >= 0 else "-0.00"
    places = Decimal(1).scaleb(value.adjusted() - 3)
    head, tail = f"{value.quantize(places, rounding='ROUND_HALF_UP'):f}".split(".")
    return f"{head}.{tail.rstrip('0').ljust(2, '0')}"


def percent(text: str, sign: bool = False) -> str:
    """A fraction as per cent with one decimal and a blank that does not break."""
    value = (Decimal(text) * 100).quantize(Decimal("0.1"), rounding="ROUND_HALF_UP")
    return f"{'+' if sign and value > 0 else ''}{value if value else abs(value):,.1f}\u00a0%"


def side(crossing: dict[str, Any]) -> str:
    """One side of a threshold in the page's words."""
    if crossing["kind"] == "unknown":
        return f"unknown: {crossing['reason']}" if crossing.get("reason") else "unknown"
    if crossing["kind"] != "price":
        return {"never": "never", "already": "already liquidatable"}[crossing["kind"]]
    move = "" if crossing.get("distance") is None else percent(crossing["distance"], sign=True)
    if crossing.get("price") is None:
        return move
    return f"{amount(crossing['price'])} ({move})" if move else amount(crossing["price"])


@pytest.fixture(scope="module")
def everybody(browser, alone) -> Iterator[tuple[Page, str]]:
    """One page on one service that holds every example account."""
    page = browser.new_page()
    for path in ACCOUNTS:
        put = page.request.put(f"{alone.url}/v1/accounts/{path.stem}", data=to_plain(read_table(str(path))[0]))
        assert put.ok, put.text()
    yield page, alone.url
    page.close()


@pytest.mark.parametrize("path", ACCOUNTS, ids=lambda path: path.stem)
def test_the_page_says_what_the_command_line_prints(everybody, path):
    page, url = everybody
    page.goto(f"{url}/#/account/{path.stem}")
    page.wait_for_selector(f"h1:text-is('{path.stem}')")
    page.wait_for_selector("[role=region][aria-label=Thresholds] tbody tr")
    shown = page.evaluate(SHOWN)
    report, found = asked("evaluate", path), asked("threshold", path)
    ratio = report["margin_ratio"]
    status = {"healthy": "healthy", "warning": "warning", "liquidation": "liquidatable"}[report["status"]]
    assert shown["strip"]["margin ratio"] == (status if ratio is None else percent(ratio))
    for name in ("equity", "maintenance_margin", "headroom", "initial_margin", "free_collateral", "withdrawable"):
        unit = "" if report[name] is None else f" {report['currency']}"
        assert shown["strip"][name.replace("_", " ")] == amount(report[name]) + unit

    shock = found["common_shock"]
    rows = {f"{row['symbol']}/{row.get('pool')}": row for row in found["thresholds"]}
    assert len(shown["thresholds"]) == len(rows) + 1
    for key, row in rows.items():
        cells = shown["thresholds"][key]
        assert cells[2:5] == [amount(row["price_now"]), side(row["below"]), side(row["above"])]
    (common,) = (cells for key, cells in shown["thresholds"].items() if key not in rows)
    assert common[3:5] == [side(shock["below"]), side(shock["above"])]

    assert len(shown["positions"]) == len(report["positions"])
    for position in report["positions"]:
        cells = shown["positions"][f"{position['symbol']}/{position['pool']}/{position['position_side']}"]
        row = rows[f"{position['symbol']}/{position['pool']}"]
        assert cells[-2:] == [side(row["below"]), side(row["above"])]
        names = ("mark_price", "notional", "unrealized_pnl", "initial_margin", "maintenance_margin")
        assert cells[3:8] == [amount(position[name]) for name in names]
