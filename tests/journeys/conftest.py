"""The dashboard in a real browser, on a real service with a store of its own: nothing is stubbed, nothing skipped."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

sys.path.insert(0, str(Path(__file__).parent))  # journeys share many.py

CHROMIUM = Path(os.environ.get("CROSSMARGIN_TEST_CHROMIUM", "/usr/bin/chromium"))
PATIENCE = 20_000
"""Milliseconds until something that is waited for must be there, on a machine that does other things too."""

expect.set_options(timeout=PATIENCE)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--pictures", metavar="DIR", help="save what each journey sees at its telling moments")


class Service:
    """One service and its store; it may be stopped and started again at the same address."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._folder, self._options, self._process = folder, options, None
        self.url, self._port = "", "0"

    def start(self) -> Service:
        command = [sys.executable, "-m", "crossmargin.apps.cli", "serve", "--no-open", "--port", self._port]
        command += ["--store", str(self._folder / "store.db"), "--stale-after", "10000000000", *self._options]
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1", "COLUMNS": "200"},
        )  # fmt: skip
        line = self._process.stdout.readline()
        assert "listens on" in line, line + self._process.stdout.read()
        self.url = line.split("listens on ")[1].split("/ ")[0]
        self._port = self.url.rsplit(":", 1)[1]
        self._listening()
        return self

    def _listening(self) -> None:
        """Return as soon as it answers; fail as soon as it has ended."""
        for _ in range(600):
            try:
                with urlopen(f"{self.url}/health", timeout=30):
                    return
            except OSError:  # refused, or reset while it is only just there
                try:
                    self._process.wait(timeout=0.05)
                except subprocess.TimeoutExpired:
                    continue
                break
        pytest.fail("the service does not answer: " + self._process.stdout.read())

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=30)
            self._process.stdout.close()
            self._process = None


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.fail(f"no Chromium at {CHROMIUM}: install one, or name it in CROSSMARGIN_TEST_CHROMIUM")
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """A service of this journey alone."""
    begun: list[Service] = []

    def begin(*options: str) -> Service:
        begun.append(Service(tmp_path, *options))
        return begun[-1].start()

    yield begin
    for one in begun:
        one.stop()


@pytest.fixture(scope="session")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with the example accounts, for journeys that change nothing."""
    service = Service(tmp_path_factory.mktemp("examples"))
    try:
        yield service.start()
    finally:
        service.stop()


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with an empty store, for the journeys of one file."""
    service = Service(tmp_path_factory.mktemp("alone"), "--empty")
    try:
        yield service.start()
    finally:
        service.stop()


class Watched:
    """A page whose every request stays at home and whose console stays silent, but for what a journey expects."""

    def __init__(self, page: Page) -> None:
        self.page, self.off_origin, self.said, self.expected = page, [], [], []
        page.on("console", lambda message: message.type == "error" and self.said.append(message.text))
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("request", self._request)

    def _request(self, request: Any) -> None:
        if not request.url.startswith((self.home, "data:", "blob:")):
            self.off_origin.append(request.url)

    def open(self, service: Service, place: str = "") -> Page:
        self.home = service.url
        self.page.goto(f"{service.url}/#/{place}")
        return self.page

    def check(self) -> None:
        assert self.off_origin == []
        assert [text for text in self.said if not any(known in text for known in self.expected)] == []


@pytest.fixture
def watched(browser: Browser) -> Iterator[Callable[..., Watched]]:
    """Opens a page; at the end of the journey it must have asked nobody else and reported no error."""
    pages: list[Watched] = []

    def begin(**options: Any) -> Watched:
        context = browser.new_context(**{"viewport": {"width": 1440, "height": 900}, **options})
        context.set_default_timeout(PATIENCE)
        pages.append(Watched(context.new_page()))
        return pages[-1]

    yield begin
    for one in pages:
        one.page.context.close()
        one.check()


DRAWN = """() =>
  [...document.querySelectorAll(".plot")].every((each) => !each.checkVisibility() || each.dataset.painted)
  && ![...document.querySelectorAll(".wait")].some((each) => each.checkVisibility())"""
"""Every chart is drawn and nothing is waited for."""
GROWN = "document.documentElement.scrollHeight > innerHeight"
MOST = 8000
"""Pixels of the tallest picture."""


@pytest.fixture
def picture(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Saves what a page shows as ``<journey>-<nn>-<moment>.png``; does nothing without ``--pictures``."""
    folder = request.config.getoption("--pictures", default=None)
    journey = re.sub(r"[^a-z0-9.]+", "-", request.node.name.removeprefix("test_").lower()).strip("-")
    taken: list[str] = []

    def whole(page: Page, width: int) -> None:
        """Give the page all the height it takes: a chart is drawn when it comes into sight, and makes the page grow."""
        while (height := page.evaluate("document.documentElement.scrollHeight")) <= MOST:
            page.set_viewport_size({"width": width, "height": height})
            page.wait_for_function(f"() => ({DRAWN})() || {GROWN}", timeout=90_000)
            if not page.evaluate(GROWN):
                return

    def take(page: Page, moment: str, *, drawn: bool = True) -> None:
        if folder is None:
            return
        taken.append(moment)
        size = page.viewport_size
        if drawn:
            whole(page, size["width"])
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(folder) / f"{journey}-{len(taken):02}-{moment}.png", full_page=True)
        page.set_viewport_size(size)

    return take
