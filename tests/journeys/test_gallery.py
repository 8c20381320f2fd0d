"""Every page as a trader sees it, on a wide screen and on a telephone, in light and in dark."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

import crossmargin as cm
from crossmargin.files.accounts import read_table

TABS = ("", "what-if", "market", "lines", "sensitivity", "funding", "compare", "cascade", "history", "file")
PAGES = ("", "allocation", "replay", "alerts", "import")
SCREENS = {
    "light": ("article-2.1-isolated", TABS, {"color_scheme": "light"}),
    "dark": ("delta-neutral-pair", TABS[:4], {"color_scheme": "dark"}),
    "phone": ("article-2.1-cross", TABS, {"viewport": {"width": 390, "height": 844}, "has_touch": True}),
}
"""A name of a screen -> the account that is looked at there, its tabs, and what the browser is told."""

SEEN = """() => ({
  over: document.documentElement.scrollWidth - innerWidth,
  text: document.querySelector("main").innerText,
})"""
SETTLED = """(place) => {
  const at = place.split("/");
  const tab = document.querySelector(".tabs a[aria-current]");
  return document.querySelector(`main > .view.${at[0] || "overview"}`) && document.querySelector("main .card")
    && (at[0] !== "account" || tab?.getAttribute("href") === `#/${place}`)
    && !document.querySelector("main .wait, main [aria-busy]");
}"""
"""The view of this place is drawn and nothing is asked any more."""


def opened(page: Page, url: str, place: str) -> Page:
    page.goto(f"{url}/#/{place}")
    page.wait_for_function(SETTLED, arg=place, timeout=90_000)
    page.wait_for_load_state("networkidle", timeout=90_000)
    return page


@pytest.mark.parametrize("screen", SCREENS)
def test_every_page(examples, watched, picture, screen):
    """Nothing is wider than the screen, no name of a field is shown raw, no figure has more digits than one reads."""
    account, tabs, options = SCREENS[screen]
    one = watched(**options)
    one.expected.append("504")
    page = one.open(examples)
    for place in (*PAGES, *(f"account/{account}/{tab}".rstrip("/") for tab in tabs)):
        opened(page, examples.url, place)
        seen = page.evaluate(SEEN)
        picture(page, (place or "overview").replace("/", "-"))
        assert seen["over"] <= 0, place
        assert re.findall(r"\b[a-z]+_[a-z_]+\b", seen["text"]) == [], place
        assert re.findall(r"[1-9]\d*\.\d{9,}|\.0*[1-9]\d{8,}", seen["text"]) == [], place


EXAMPLES = Path(__file__).parents[2] / "examples"


def test_pages_of_other_venues(alone, watched, picture):
    """What the example accounts have not: funding that ends, a ladder of steps, collateral that loses its price."""
    one = watched()
    page = one.open(alone)
    for name in ("hyperliquid-funding", "bybit-uta"):
        file = cm.to_plain(read_table(str(EXAMPLES / f"{name}.toml"))[0])
        assert page.request.put(f"{alone.url}/v1/accounts/{name}", data=file).ok
    opened(page, alone.url, "account/hyperliquid-funding/funding")
    found = cm.runway(*cm.load(str(EXAMPLES / "hyperliquid-funding.toml"))).runways
    ends = [row for row in found if row.kind == "time"]
    assert ends
    for row in ends:
        expect(page.locator(".answers")).to_contain_text(
            f"until {row.at:%Y-%m-%d %H:%M} UTC, paying {row.per_day:,.2f} {row.currency} a day"
        )
    picture(page, "funding-runway")
    for tab in ("", "market", "lines", "cascade", "compare", "sensitivity"):
        opened(page, alone.url, f"account/bybit-uta/{tab}".rstrip("/"))
        picture(page, f"bybit-{tab or 'standing'}")
    # a place of the map is the account after both moves
    opened(page, alone.url, "account/bybit-uta/market")
    moves = [{"kind": "move_price", "coin": coin, "by": "-0.1"} for coin in ("BTC", "SOL")]
    after = cm.whatif(*cm.load(str(EXAMPLES / "bybit-uta.toml")), cm.changes_from(moves)).after
    drawn = page.locator("figure", has_text="Headroom if BTC and SOL move")
    drawn.get_by_text("as a table").click()
    expect(drawn.locator("tbody tr", has_text="-10%").locator("td").nth(4)).to_have_text(f"{after.headroom:,.2f}")
