"""How fast is the page? From a slider to the painted figure, and from navigation to a page that can be used.

Run: python benchmarks/dashboard.py [--write] [--drags 100]. A real service on the loopback and a headless Chromium on
the same machine (CROSSMARGIN_TEST_CHROMIUM names another than /usr/bin/chromium). All times are taken in the page by
its own clock: ``dragged`` from the slider's event until the frame after the changed figure is painted, ``usable`` from
navigation until the frame after the first row or figure is.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from judge import account, write

TITLE = "## The dashboard (`python benchmarks/dashboard.py --write`)"
CHROMIUM = Path(os.environ.get("CROSSMARGIN_TEST_CHROMIUM", "/usr/bin/chromium"))
DRAGGED_TARGET, USABLE_TARGET = 100, 1500
"""Milliseconds: 95 of 100 drags, and a page from navigation."""
VISITS = 7
WHAT_IF_EQUITY = ".results tbody tr:nth-child(3) td:nth-child(3)"
OVERVIEW_MOVE = 'tr[data-key="thirty/"] td:nth-child(10)'
ACCOUNTS, POSITIONS = 100, 50
"""The overview: so many accounts of so many positions, 5,000 in all."""

USABLE = """window.usable = new Promise((done) => {
  const told = () => requestAnimationFrame(() => setTimeout(() => done(performance.now())));
  const eye = new MutationObserver(() => document.querySelector(%s) && (eye.disconnect(), told()));
  eye.observe(document, { childList: true, subtree: true });
})"""
"""Runs before the page does: notes when the frame with the first wanted element has been painted."""

DRAG = """async ([handle, figure, moves]) => {
  const slider = document.querySelector(handle);
  const shown = () => document.querySelector(figure)?.textContent;
  const times = [];
  for (const move of moves) {
    const before = shown();
    slider.value = move;
    const start = performance.now();
    const changed = new Promise((done) => {
      const eye = new MutationObserver(() => shown() && shown() !== before && (eye.disconnect(), done()));
      eye.observe(document.querySelector("main"), { childList: true, subtree: true, characterData: true });
    });
    slider.dispatchEvent(new Event("input", { bubbles: true }));
    await changed;
    await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
    times.push(performance.now() - start);
  }
  return times;
}"""
"""Moves a slider again and again; milliseconds from each event until its figure was painted."""


@contextmanager
def service() -> Iterator[str]:
    """The address of a service of its own with an empty store."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["serve", "--port", "0", "--no-open", "--empty", "--rate", "1000000", "--store", f"{folder}/s.db"]
        command = [sys.executable, "-m", "crossmargin.apps.cli", *words, "--stale-after", "10000000000"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "COLUMNS": "200"})
        try:
            assert process.stdout is not None
            yield process.stdout.readline().split("listens on ")[1].split("/ ")[0]
        finally:
            process.terminate()
            process.wait()


def keep(url: str, name: str, positions: int) -> None:
    """Store an account of so many positions."""
    body = json.dumps(account(positions), separators=(",", ":")).encode()
    headers = {"Content-Type": "application/json"}
    with urlopen(Request(f"{url}/v1/accounts/{name}", body, headers, method="PUT"), timeout=60):
        pass


def visits(browser: Any, address: str, wanted: str) -> tuple[list[float], list[float]]:
    """Milliseconds until a page is usable: (with an empty cache, with what the first visit left)."""
    cold, warm = [], []
    for _ in range(VISITS):
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        for times in (cold, warm):
            page = context.new_page()
            page.add_init_script(USABLE % json.dumps(wanted))
            page.goto(address)
            times.append(page.evaluate("window.usable"))
            page.wait_for_load_state("networkidle")  # what it still asks is not to wait in the way of the next visit
            page.close()
        context.close()
    return cold, warm


def drags(browser: Any, address: str, handle: str, figure: str, count: int) -> list[float]:
    """Milliseconds of so many drags of a slider, each to another place; three before them are not told."""
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.set_default_timeout(60_000)
    page.goto(address)
    page.wait_for_selector(handle)
    page.wait_for_selector(figure)
    times: list[float] = page.evaluate(DRAG, [handle, figure, [(-1) ** n * (1 + n % 40) / 2 for n in range(count + 3)]])
    page.close()
    return times[3:]


def line(what: str, times: list[float], target: int | None) -> str:
    """A row of the table: median, 95th of 100, slowest, target."""
    p95 = statistics.quantiles(times, n=20, method="inclusive")[-1]
    figures = " | ".join(f"{ms:.0f} ms" for ms in (statistics.median(times), p95, max(times)))
    return f"| {what} | {len(times)} | {figures} | {f'{target} ms' if target else ''} |\n"


def measured(browser: Any, count: int) -> Iterator[str]:
    """The rows of the table."""
    with service() as url:
        keep(url, "thirty", 30)
        place = f"{url}/#/account/thirty/what-if"
        one = drags(browser, place, ".sliders input[type=range]", WHAT_IF_EQUITY, count)
        yield line("what-if of 30 positions, one coin: dragged", one, DRAGGED_TARGET)
        every = drags(browser, f"{url}/#/", "#market-move", OVERVIEW_MOVE, count)
        yield line("the same account in the overview, all coins: dragged", every, DRAGGED_TARGET)
        account_page = visits(browser, f"{url}/#/account/thirty", '[aria-label="Thresholds"] tbody tr')
        for times, cache in zip(account_page, ("cold", "warm"), strict=True):
            yield line(f"account of 30 positions, its thresholds: usable, {cache}", times, USABLE_TARGET)
    with service() as url:
        for n in range(ACCOUNTS):
            keep(url, f"desk-{n:03d}", POSITIONS)
        for times, cache in zip(visits(browser, f"{url}/#/", "tr[data-key]"), ("cold", "warm"), strict=True):
            yield line(f"overview of {ACCOUNTS * POSITIONS:,} positions: usable, {cache}", times, USABLE_TARGET)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="put the figures into benchmarks/RESULTS.md")
    parser.add_argument("--drags", type=int, default=100)
    asked = parser.parse_args()
    try:
        from playwright.sync_api import sync_playwright  # noqa: PLC0415 - a machine without it is told so
    except ImportError:
        sys.exit("playwright is not installed, so the page is not measured: pip install playwright")
    if not CHROMIUM.exists():
        sys.exit(f"no Chromium at {CHROMIUM}, so the page is not measured: install it or set CROSSMARGIN_TEST_CHROMIUM")
    text = "| | times | median | p95 | slowest | target of p95 |\n|---|---|---|---|---|---|\n"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        version = browser.version
        for row in measured(browser, asked.drags):
            sys.stderr.write(row)
            text += row
        browser.close()
    sys.stdout.write(text)
    if asked.write:
        where = f"{platform.machine()}, Python {platform.python_version()}, Chromium {version}, headless; "
        where += f"load of the machine {os.getloadavg()[0]:.1f}; "
        write(where + "browser and service on the same machine, over the loopback.\n\n" + text, TITLE)


if __name__ == "__main__":
    main()
