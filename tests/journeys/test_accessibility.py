"""Who cannot see colours well, or uses no mouse: contrast, focus, keys, captions, live regions, motion."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

import crossmargin

STYLE = (Path(crossmargin.__file__).parent / "apps" / "dashboard" / "style.css").read_text()
GROUNDS = ("page", "card", "raised", "blue-wash", "red-wash", "orange-wash")
TEXTS = ("ink", "dim", "blue", "green", "orange", "red")
BORDERS = ("edge", "accent", "fill-healthy", "fill-warning", "fill-liquidation", "press", "harm")

FOCUSED = """() => {
  const one = document.activeElement;
  const style = getComputedStyle(one.matches(".drop input") ? one.parentElement : one);
  return { name: one.tagName + "#" + one.id, place: [...document.querySelectorAll("*")].indexOf(one),
    outline: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2 };
}"""
REACHABLE = """() => [...document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex='0']")]
  .filter((each) => each.checkVisibility({ visibilityProperty: true }) && !each.disabled && !each.closest("[hidden]"))
  .map((each) => [...document.querySelectorAll("*")].indexOf(each))"""
NAMELESS = """() => [...document.querySelectorAll("button, input, select, textarea, summary, a[href]")].filter((each) =>
  !each.labels?.length && !each.getAttribute("aria-label") && !each.textContent.trim()).map((each) => each.outerHTML)"""


def variables(theme: str) -> dict[str, str]:
    """The colours of a theme; what dark does not say is light's."""
    blocks = re.findall(r"(:root[^{]*)\{([^}]*)\}", STYLE)
    wanted = [body for head, body in blocks if head.strip() == ":root" or (theme in head and theme != "light")]
    return {name: value for body in wanted for name, value in re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", body)}


def luminance(colour: str) -> float:
    """Relative luminance by WCAG 2.2."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Contrast ratio by WCAG 2.2: black on white is 21."""
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def test_the_ratio_is_that_of_the_standard():
    # published examples: black on white 21:1, #777777 on white 4.48:1, #767676 on white 4.54:1
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.005)


@pytest.mark.parametrize("theme", ["light", "dark", "system"])
def test_contrast(theme):
    """Text 4.5:1 on every ground it may stand on; borders of controls, marks and bars 3:1."""
    known = variables(theme)
    faint = [
        (text, ground, round(ratio, 2))
        for names, least in ((TEXTS, 4.5), (BORDERS, 3))
        for text in names
        for ground in GROUNDS
        if (ratio := contrast(known[text], known[ground])) < least
    ]
    bars = [(f"fill-{state}", "line", 3) for state in ("healthy", "warning", "liquidation")]
    buttons = [("on", "press", 4.5), ("on", "harm", 4.5)]
    faint += [pair for pair in (*bars, *buttons) if contrast(known[pair[0]], known[pair[1]]) < pair[2]]
    assert faint == []


def test_the_system_s_dark_is_the_chosen_dark():
    assert variables("system") == variables("dark")


def test_no_colour_and_no_faintness_beside_the_variables():
    """What the ratios are worked out of is what is shown: no other colour is written, nothing is see-through."""
    rules = re.sub(r":root[^{]*\{[^}]*\}", "", STYLE)
    assert re.findall(r"#[0-9a-f]{3,8}\b(?=[;, ])", rules) == []
    assert re.findall(r"([^{}]*)\{[^}]*opacity: (?:0|\.)[^}]*\}", rules) == ["\n.drop input "]


PLACES = ["", "account/article-2.1-cross/what-if", "account/article-2.1-cross/file", "allocation", "alerts", "import"]


@pytest.mark.parametrize("place", PLACES)
def test_every_control_is_named_reached_by_tab_and_shows_where_one_is(examples, watched, place):
    one = watched()
    one.expected.append("504")
    page = one.open(examples, place)
    expect(page.locator("main .card").first).to_be_visible()
    page.wait_for_load_state("networkidle", timeout=90_000)  # a plan takes its time
    assert page.evaluate(NAMELESS) == []
    wanted, seen = set(page.evaluate(REACHABLE)), set()
    page.evaluate("document.activeElement.blur()")
    for _ in range(len(wanted) + 10):
        page.keyboard.press("Tab")
        found = page.evaluate(FOCUSED)
        if found["place"] in seen:
            break
        assert found["name"].startswith("BODY") or found["outline"], found
        seen.add(found["place"])
    left = page.evaluate(
        "places => places.map((at) => document.querySelectorAll('*')[at].outerHTML)", [*(wanted - seen)]
    )
    assert left == []


def test_every_picture_has_its_table_with_a_caption_and_changes_are_told(examples, watched):
    page = watched().open(examples, "account/article-2.1-cross")
    for tab in ("", "market", "lines", "sensitivity", "compare", "cascade"):
        place = f"#/account/article-2.1-cross/{tab}".rstrip("/")
        page.goto(f"{examples.url}/{place}")
        expect(page.locator(".tabs a[aria-current]")).to_have_attribute("href", place)
        expect(page.locator("main figure").first).to_be_visible()
        page.wait_for_load_state("networkidle", timeout=90_000)
        expect(page.locator("main .wait, main [aria-busy]")).to_have_count(0)
        for figure in page.locator("figure").all():
            if not figure.locator("details[open]").count():
                figure.locator("summary").click()
            assert figure.locator("table caption").inner_text().strip()
        # the sentence of the verdict is one region that is told of when it changes
        expect(page.locator(".verdict[aria-live=polite]").first).to_be_visible()
    page.goto(f"{examples.url}/#/account/article-2.1-cross/what-if")
    expect(page.locator(".results .verdict")).to_have_attribute("aria-live", "polite")


@pytest.mark.parametrize(("motion", "moves"), [("reduce", False), ("no-preference", True)])
def test_reduced_motion(examples, watched, motion, moves):
    page = watched(reduced_motion=motion).open(examples)
    bar = page.locator(".health .fill").first
    expect(bar).to_be_attached()
    assert (bar.evaluate("bar => getComputedStyle(bar).transitionDuration") != "0s") == moves
    assert page.evaluate("document.getAnimations().filter((each) => !(each instanceof CSSTransition)).length") == 0
