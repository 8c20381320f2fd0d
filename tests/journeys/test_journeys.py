"""What a desk does on one screen, in twelve journeys; figures are compared with the library or with hand arithmetic."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from pathlib import Path

import pytest
from many import many_positions
from playwright.sync_api import expect

import crossmargin as cm
from crossmargin.files.accounts import read_table
from crossmargin.files.funds import load_fund

EXAMPLES = Path(__file__).parents[2] / "examples"


def shown(value: Decimal) -> str:
    """An amount as the page shows it: grouped, two decimals."""
    return f"{value:,.2f}"


def before_after(page, name):
    """The cells of a row of the what-if: before, after, difference."""
    return page.locator(".results tr", has=page.get_by_role("rowheader", name=name, exact=True)).locator("td")


def planned(page, text):
    """Wait for a plan; the service gives a question ten seconds, and on a busy machine one asks again."""
    wanted, late = page.locator(".verdict", has_text=text), page.get_by_role("alert").filter(has_text="takes too long")
    for _ in range(5):
        expect(wanted.or_(late)).to_be_visible()
        if wanted.is_visible():
            return
        page.get_by_role("button", name="Plan").click()
    expect(wanted).to_be_visible()


# 1 first start


def test_an_empty_store_says_what_to_do(start, watched, picture):
    page = watched().open(start("--empty"))
    expect(page.get_by_role("heading", name="No accounts yet")).to_be_visible()
    picture(page, "empty")
    page.get_by_role("link", name="Import your own account").click()
    expect(page.get_by_role("heading", name="Import an account")).to_be_visible()


def test_the_first_start_shows_the_examples_and_the_next_step(examples, watched, picture):
    page = watched().open(examples)
    expect(page.get_by_role("heading", name="these are example accounts")).to_be_visible()
    # article 3.1: 10,000 + 2,000 + 0 - 7,500 = 4,500 of equity, 2 % of 250,000 = 5,000 of maintenance margin
    row = page.locator('tr[data-key="article-3.1/"]')
    for text in ("liquidatable", "4,500.00", "5,000.00", "-500.00", "111.1 %"):
        expect(row).to_contain_text(text)
    picture(page, "welcome")
    page.get_by_role("button", name="Got it").click()
    page.reload()
    expect(page.locator('tr[data-key="article-3.1/"]')).to_be_visible()
    expect(page.get_by_role("heading", name="these are example accounts")).to_have_count(0)


# 2 import


def test_import_an_account_file(start, watched, picture):
    page = watched().open(start("--empty"), "import")
    page.locator('input[type="file"]').first.set_input_files(EXAMPLES / "hyperliquid.toml")
    report = cm.evaluate(*cm.load(str(EXAMPLES / "hyperliquid.toml")))
    expect(page.get_by_role("status").filter(has_text="is imported")).to_contain_text(
        f"equity {shown(report.equity)} USDC"
    )
    picture(page, "imported")
    page.get_by_role("link", name="See what kills it").click()
    # by hand: HYPE 300 long at 40 with 3,000: 3,000 + 300 (p - 40) = 0.05 x 300 p, p = 9,000 / 285 = 31.5789, -16.9 %
    expect(page.locator(".verdict")).to_contain_text("HYPE -16.9 % alone")
    expect(page.get_by_role("region", name="Thresholds")).to_contain_text("31.58 (-16.9 %)")
    picture(page, "what-kills-it")


def test_a_faulty_file_shows_every_fault_with_its_path(start, watched, picture, tmp_path):
    wrong = read_table(str(EXAMPLES / "article-2.1-cross.toml"))[0]
    wrong["as_of"] = wrong["as_of"].isoformat()
    wrong["positions"][0]["quantity"] = "0,05"
    wrong["positions"][1]["leverage"] = "-8"
    (tmp_path / "wrong.json").write_text(json.dumps(wrong))
    one = watched()
    one.expected.append("422")  # a browser reports a refusal as a failed resource
    page = one.open(start("--empty"), "import")
    page.locator('input[type="file"]').first.set_input_files(tmp_path / "wrong.json")
    problem = page.get_by_role("alert").filter(has_text="quantity")
    expect(problem).to_contain_text("positions[0].quantity")
    expect(problem).to_contain_text("positions[1].leverage")
    picture(page, "faults")


def test_import_what_a_venue_answered(start, watched, picture):
    page = watched().open(start("--empty"), "import")
    page.get_by_label("Venue or profile").fill("hyperliquid")
    page.get_by_label("Name").last.fill("from-venue")
    page.locator('input[type="file"]').last.set_input_files(EXAMPLES / "answers" / "hyperliquid-state.json")
    page.get_by_role("button", name="Read").click()
    expect(page.get_by_role("button", name="Keep this account")).to_be_visible()
    picture(page, "compared-with-the-venue")
    page.get_by_role("button", name="Keep this account").click()
    expect(page.get_by_role("status").filter(has_text="from-venue is imported")).to_be_visible()


# 3 the killing move


def test_read_the_killing_move(examples, watched, picture):
    page = watched().open(examples)
    page.get_by_role("link", name=re.compile("Article 2.1, cross")).click()
    # by hand: 2,000 + 0.05 (p - 100,000) = 0.005 (0.05 p + 4,000), p = 3,020 / 0.04975 = 60,703.5176, -39.3 %
    row = page.locator('.grid tr[data-key="BTC/USDT:USDT/account"]').first
    expect(row).to_contain_text("60,703.52 (-39.3 %)")
    expect(row.locator("td").nth(2)).to_have_attribute("title", re.compile("price 60703.517587939698"))
    expect(page.locator(".verdict")).to_contain_text("BTC -39.3 % alone; all coins -21.8 % together")
    # the figure is drawn, and its table says the same
    expect(page.locator(".plot[data-painted]").first).to_be_visible()
    page.get_by_text("as a table").first.click()
    expect(page.locator("figure table").first).to_contain_text("60,703.52")
    picture(page, "standing")
    # every line opens down to its inputs
    page.get_by_role("link", name="Lines").click()
    page.locator(".tree summary", has=page.locator(".name", has_text="maintenance margin")).first.click()
    page.locator(".tree summary", has_text="BTC/USDT:USDT").first.click()
    expect(page.locator(".tree .leaf", has_text="notional").locator(".value")).to_have_text("5,000.00 USDT")
    picture(page, "down-to-the-inputs")


# 4 drag a price


def test_drag_the_market_and_see_who_dies_first(examples, watched, picture):
    page = watched().open(examples)
    verdict = page.locator(".market .verdict")
    expect(page.locator('#market-coin option[value="BTC"]')).to_have_count(1)
    page.locator("#market-coin").select_option("BTC")
    page.locator("#market-move").fill("-20")
    # 700 in the pocket of BTC is gone at 86,432 (-13.6 %); the shared pool bears BTC -20 %: 2,000 - 1,000 > 40
    expect(verdict).to_contain_text("BTC -20.0 %")
    expect(page.locator('tr[data-key="article-2.1-isolated/"]')).to_contain_text("liquidatable")
    expect(page.locator('tr[data-key="article-2.1-cross/"]')).to_contain_text("960.00")
    picture(page, "dragged")
    page.get_by_role("button", name="Back to now").click()
    expect(verdict).to_contain_text("Drag to move the market")


def test_drag_a_price_of_one_account(examples, watched, picture):
    page = watched().open(examples, "account/article-2.1-cross/what-if")
    page.get_by_label("BTC", exact=True).fill("-40")
    # 2,000 + 0.05 x -40,000 = 0 of equity against 0.005 x (3,000 + 4,000) = 35
    expect(page.locator(".results .verdict")).to_contain_text("the account would be liquidated")
    expect(before_after(page, "equity")).to_have_text(["2,000.00", "0.00", "-2,000.00"])
    expect(before_after(page, "maintenance margin")).to_have_text(["45.00", "35.00", "-10.00"])
    expect(page.locator(".results")).to_contain_text("already liquidatable")
    picture(page, "dragged")
    page.get_by_role("button", name="Back to now").click()
    expect(page.locator(".results .verdict")).to_contain_text("Nothing is changed yet")


# 5 refuse an order


def test_an_order_that_the_venue_would_refuse(examples, watched, picture):
    page = watched().open(examples, "account/article-2.1-cross/what-if")
    page.get_by_label("Contract", exact=True).fill("BTC/USDT:USDT")
    page.get_by_label("Contracts").fill("1")
    page.get_by_role("button", name="Try the order").click()
    # one BTC at 5x needs 20,000 more; 500 are free: short of 19,500
    expect(page.locator(".results .verdict")).to_contain_text("Refused by the venue")
    case = cm.load(str(EXAMPLES / "article-2.1-cross.toml"))
    found = cm.whatif(*case, cm.changes_from([{"kind": "order", "symbol": "BTC/USDT:USDT", "quantity": "1"}]))
    assert found.verdict == "refused"
    expect(page.locator(".reasons")).to_contain_text("would be short of 19500")
    expect(before_after(page, "initial margin")).to_have_text(["1,500.00", "21,500.00", "20,000.00"])
    picture(page, "refused")
    # the largest order is accepted: 500 / (100,000 / 5) = 0.025
    page.get_by_role("button", name="Take back: buy 1 BTC/USDT:USDT").click()
    page.get_by_role("button", name="Largest").click()
    expect(page.get_by_label("Contracts")).to_have_value("0.025")
    page.get_by_role("button", name="Try the order").click()
    expect(page.locator(".results .verdict")).to_contain_text("Accepted")
    picture(page, "accepted")


# and keep what was tried


def test_a_what_if_is_saved_as_an_account_of_its_own(alone, watched, picture):
    one = watched(permissions=["clipboard-read", "clipboard-write"])
    one.expected.append("412")  # a browser reports a refusal as a failed resource
    page = one.page
    file = cm.to_plain(read_table(str(EXAMPLES / "article-2.1-cross.toml"))[0])
    assert page.request.put(f"{alone.url}/v1/accounts/desk", data=file).ok
    page = one.open(alone, "account/desk/what-if")
    saving = page.locator("section.card", has=page.get_by_role("heading", name="Save this what-if"))
    expect(page.locator(".results .verdict")).to_contain_text("Nothing is changed yet")
    expect(saving).to_be_hidden()
    page.get_by_label("BTC", exact=True).fill("-20")
    # 2,000 - 0.05 x 20,000 = 1,000 of equity against 0.005 x (4,000 + 4,000) = 40
    expect(before_after(page, "equity")).to_have_text(["2,000.00", "1,000.00", "-1,000.00"])
    # by the keyboard alone: the name, the button after it, and Enter
    saving.get_by_label("Name").focus()
    page.keyboard.press("ControlOrMeta+A")
    page.keyboard.type("after-the-fall")
    page.keyboard.press("Tab")
    expect(saving.get_by_role("button", name="Save as a new account")).to_be_focused()
    page.keyboard.press("Enter")
    expect(saving.get_by_role("status").first).to_contain_text("after-the-fall is saved")
    expect(saving).to_contain_text("equity 1,000.00 USDT, maintenance margin 40.00")
    picture(page, "saved")
    # a name that is taken is never overwritten unasked
    saving.get_by_role("button", name="Save as a new account").click()
    expect(saving.get_by_role("alert")).to_contain_text("There is an account after-the-fall already")
    saving.get_by_role("button", name="Copy as file").click()
    expect(saving).to_contain_text("file is copied")
    copied = json.loads(page.evaluate("navigator.clipboard.readText()"))
    assert copied["market"]["mark_price"] == {"BTC/USDT:USDT": "80000", "ETH/USDT:USDT": "4000"}
    assert copied["positions"] == file["positions"]
    # the account itself stands as it stood, and the new one is one like any other
    stored = page.request.get(f"{alone.url}/v1/accounts/desk").json()
    assert stored["market"] == file["market"]
    page.goto(f"{alone.url}/#/account/after-the-fall")
    expect(page.locator(".strip")).to_contain_text("1,000.00 USDT")
    # 2,000 + 0.05 (p - 100,000) = 0.005 (0.05 p + 4,000): p = 60,703.52, which is 24.1 % below 80,000
    expect(page.get_by_role("region", name="Thresholds")).to_contain_text("60,703.52 (-24.1\u00a0%)")


# 6 plan an allocation


def test_plan_an_allocation(examples, watched, picture):
    one = watched()
    one.expected.append("504")
    page = one.open(examples, "allocation")
    plan = cm.allocate(load_fund(str(EXAMPLES / "funds" / "basis-two-venues.toml")))
    planned(page, f"least cost: {shown(plan.objective)} USDT, every pool safe")
    moves = page.get_by_role("region", name="Moves")
    expect(moves.locator("tbody tr")).to_have_count(len(plan.moves))
    for move in plan.moves:
        expect(moves).to_contain_text(move.words)
    expect(page.get_by_role("heading", name="What more safety costs")).to_be_visible()
    expect(page.locator(".plot")).to_have_count(1)
    picture(page, "plan")
    # a fund file of one's own, in TOML
    page.locator('input[type="file"]').set_input_files(EXAMPLES / "funds" / "room-for-a-position.toml")
    found = cm.allocate(load_fund(str(EXAMPLES / "funds" / "room-for-a-position.toml")))
    planned(page, f"least cost: {shown(found.objective)} USDT, every pool safe")


# 7 replay


def test_replay_the_tenth_of_october_2025(examples, watched, picture):
    page = watched().open(examples, "replay/article-2.1-isolated")
    page.get_by_role("checkbox", name="cross").check()
    page.get_by_role("checkbox", name="isolated").check()
    page.get_by_role("checkbox", name="as held").uncheck()
    page.get_by_role("button", name="Replay").click()
    lines = page.locator(".scrub tbody tr")
    expect(lines).to_have_count(2)
    expect(page.locator(".scrub .verdict")).to_contain_text("Nothing is liquidated until here")
    # a pocket holds value / leverage: 1 ETH bought at 4,350 with 543.75 is gone at 3,806.25 / 0.995 = 3,825, which the
    # hour to 22:00 passed (3,400); 0.05 BTC bought at 121,500 with 1,215 at 97,200 / 0.995 = 97,688, below the low
    page.get_by_label("Close", exact=True).fill("9")
    expect(page.locator(".scrub output")).to_have_text("2025-10-10 22:00 UTC")
    expect(page.locator(".scrub .verdict")).to_have_text(
        "plain-isolated, isolated: ETH/USDT:USDT isolated liquidated 2025-10-10 22:00 UTC."
    )
    expect(lines.filter(has_text="cross").locator("td").last).to_have_text("–")
    picture(page, "liquidated")


# 8 alert and acknowledge


def test_an_alert_is_acknowledged(start, watched, picture):
    page = watched().open(start(), "alerts")
    expect(page.get_by_role("region", name="Rules")).to_be_hidden()
    page.get_by_label("Watch").select_option("margin_ratio")
    page.get_by_label("Limit").fill("1")
    page.get_by_role("button", name="Add the rule").click()
    expect(page.get_by_role("region", name="Rules")).to_contain_text("at or above 100.0 %")
    # the monitor judges by itself: of the examples only article 3.1 stands at 5,000 / 4,500 = 1.11
    alert = (
        page.get_by_role("region", name="Alerts").locator("tbody tr", has_text="article-3.1").filter(has_text="margin")
    )
    expect(alert).to_have_count(1)
    expect(alert).to_contain_text("111.1 %")
    # the examples' prices are older than the 60 s that are always watched
    old = page.get_by_role("region", name="Alerts").locator("tbody tr", has_text="article-3.1").filter(has_text="data")
    expect(old).to_contain_text("1 min")
    expect(page.locator("#menu .count")).to_be_visible()
    picture(page, "raised")
    alert.get_by_role("button", name="Acknowledge").click()
    expect(alert).to_have_count(0)
    page.get_by_label("Show").select_option("acknowledged")
    expect(alert).to_contain_text("acknowledged by local")
    picture(page, "acknowledged")
    page.reload()
    expect(page.get_by_role("heading", name="Alerts")).to_be_visible()
    page.get_by_label("Show").select_option("acknowledged")
    expect(alert).to_have_count(1)


# 9 lose and regain the connection


def test_the_connection_is_lost_and_regained(start, watched, picture):
    service = start()
    one = watched()
    one.expected += ["ERR_CONNECTION_REFUSED", "WebSocket connection"]
    page = one.open(service)
    expect(page.locator("#connection")).to_have_text("live")
    expect(page.locator('tr[data-key="article-3.1/"]')).to_contain_text("liquidatable")
    service.stop()
    expect(page.locator("#banner")).to_contain_text("Connection lost")
    expect(page.locator("body")).to_have_class(re.compile("stale"))
    expect(page.locator("#banner time")).to_have_text(re.compile("ago|just now"))
    picture(page, "lost")
    service.start()
    expect(page.locator("#connection")).to_have_text("live")  # by itself
    expect(page.locator("#banner")).to_be_hidden()
    expect(page.locator("body")).not_to_have_class(re.compile("stale"))
    picture(page, "regained")


def test_what_nobody_answers_for_is_not_said_to_stand(start, watched):
    service = start()
    one = watched()
    one.expected += ["ERR_CONNECTION_REFUSED", "WebSocket connection"]
    page = one.open(service)
    said = page.locator(".market .verdict")
    page.get_by_label("Move of the market").fill("-1")
    expect(said).to_contain_text("article-3.1 breaks first")
    service.stop()
    expect(page.locator("#banner")).to_contain_text("Connection lost")
    page.get_by_label("Move of the market").fill("-2")
    expect(said).to_contain_text("all coins -2.0 %: no account is known to break. Not known of 5 of 5.")
    expect(said).not_to_have_class(re.compile("healthy"))


def test_old_prices_and_those_of_the_future_are_never_healthy(start, watched, picture):
    service = start("--empty", "--stale-after", "900")
    page = watched().open(service)
    file = cm.to_plain(read_table(str(EXAMPLES / "article-2.1-cross.toml"))[0])
    for name, when in (("old", "2020-01-01T00:00:00Z"), ("ahead", "2100-01-01T00:00:00Z")):
        put = page.request.put(f"{service.url}/v1/accounts/{name}", data={**file, "as_of": when})
        assert put.ok, put.text()
        row = page.locator(f'tr[data-key="{name}/"]')
        expect(row).to_contain_text("stale")
        expect(row).not_to_contain_text("healthy")
    expect(page.locator('tr[data-key="ahead/"]')).to_contain_text("in the future, age unknown")
    expect(page.locator("dl.strip div", has_text="stale or unknown")).to_contain_text("2")
    picture(page, "stale-overview")
    page.goto(f"{service.url}/#/account/old")
    expect(page.locator(".title")).to_contain_text("stale")
    expect(page.locator(".title")).not_to_contain_text("healthy")
    sentence = page.locator("main .verdict").first
    expect(sentence).to_contain_text("At the prices of 2020-01-01 00:00 UTC")
    expect(sentence).not_to_have_class(re.compile("healthy"))
    expect(page.locator("main")).to_have_css("filter", "grayscale(1)")
    picture(page, "stale-account")


def test_a_new_snapshot_arrives_by_itself(start, watched):
    service = start()
    page = watched().open(service)
    row = page.locator('tr[data-key="article-2.1-cross/"]')
    expect(row).to_contain_text("1,955.00")
    file = page.request.get(f"{service.url}/v1/accounts/article-2.1-cross").json()
    file["balances"]["USDT"] = "3000"
    page.request.put(f"{service.url}/v1/accounts/article-2.1-cross", data=file)
    expect(row).to_contain_text("2,955.00")


# 10 keyboard only


def test_keyboard_only(examples, watched, picture):
    page = watched().open(examples)
    expect(page.locator('tr[data-key="article-3.1/"]')).to_be_visible()
    keys = page.keyboard
    keys.press("/")
    expect(page.get_by_label("Search accounts")).to_be_focused()
    keys.type("2.1-iso")
    expect(page.locator("tbody tr")).to_have_count(1)
    keys.press("Escape")
    keys.press("j")
    expect(page.locator('tr[aria-selected="true"]')).to_have_attribute("data-key", "article-2.1-isolated/")
    picture(page, "searched-and-selected")
    keys.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text("Article 2.1, isolated")
    keys.press("Escape")
    expect(page.get_by_label("Search accounts")).to_be_visible()
    keys.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("search in the table")
    picture(page, "keys")
    keys.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    keys.press("g")
    keys.press("a")
    expect(page.get_by_role("heading", name="Allocation")).to_be_visible()
    # every control is reached by Tab and shows where it is
    keys.press("Tab")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none"


# 11 five thousand positions


def test_five_thousand_positions(start, watched, picture):
    service = start("--empty")
    file = many_positions(5000, as_of="2026-11-23T08:00:00Z")
    page = watched().open(service, "import")
    expect(page.get_by_role("heading", name="Import an account")).to_be_visible()
    answer = page.request.put(
        f"{service.url}/v1/accounts/many", data=json.dumps(file, separators=(",", ":")), timeout=60_000,
        headers={"Content-Type": "application/json"},
    )  # fmt: skip
    assert answer.ok, answer.text()
    page.goto(f"{service.url}/#/account/many")
    page.get_by_role("heading", name="Positions (5000)").wait_for(timeout=60_000)
    # 5,000 positions of 2 x 10 at 1 %: 1,000 of maintenance margin
    expect(page.locator(".strip")).to_contain_text("1,000.00 USDT")
    table = page.get_by_role("region", name="Positions")
    assert 0 < table.locator("tbody tr").count() < 120
    table.evaluate("box => { box.scrollTop = box.scrollHeight }")
    expect(table).to_contain_text("C9/USDT:USDT-270807 short")  # 249 days after the first of December
    picture(page, "the-end-of-the-table")
    assert table.locator("tbody tr").count() < 120
    page.get_by_label("Search positions").fill("C4/USDT:USDT-270101")
    expect(table.locator("tbody tr")).to_have_count(2)
    picture(page, "searched")


# 12 dark mode


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark(examples, watched, picture, scheme):
    page = watched(color_scheme=scheme).open(examples)
    expect(page.locator('tr[data-key="article-3.1/"]')).to_be_visible()

    def brightness() -> int:
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return sum(int(part) for part in re.findall(r"\d+", colour)[:3]) // 3

    first = brightness()
    assert (first < 60) == (scheme == "dark")
    page.keyboard.press("t")
    assert (brightness() < 60) != (scheme == "dark")
    picture(page, "switched")
    page.reload()
    expect(page.locator('tr[data-key="article-3.1/"]')).to_be_visible()
    assert (brightness() < 60) != (scheme == "dark")


# beside the twelve: a service that asks who one is, and text that would like to be markup


def test_sign_in_with_a_token(start, watched, tmp_path):
    token = "0123456789abcdef" * 4
    (tmp_path / "tokens").write_text(f"desk read,what-if,command {token}\n")
    service = start("--token-file", str(tmp_path / "tokens"))
    one = watched()
    one.expected.append("401")  # a browser reports a refusal as a failed resource
    page = one.open(service)
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.get_by_label("Token").fill("f" * 64)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert").filter(has_text="not known")).to_be_visible()
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="No accounts yet")).to_be_visible()
    expect(page.locator("#connection")).to_have_text("live")
    assert token not in page.evaluate("JSON.stringify([localStorage, sessionStorage]) + document.cookie")
    # a change proves itself with the token of the session
    page.goto(f"{service.url}/#/import")
    page.locator('input[type="file"]').first.set_input_files(EXAMPLES / "article-3.1.toml")
    expect(page.get_by_role("status").filter(has_text="article-3.1 is imported")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_text_of_a_file_is_never_markup(start, watched, tmp_path):
    wrong = {"profile": "<img src=x onerror=alert(1)>", "as_of": "2026-11-20T08:00:00Z", "balances": {"USDT": "1"}}
    (tmp_path / "a.json").write_text(json.dumps(wrong))
    one = watched()
    one.expected.append("422")
    page = one.open(start("--empty"), "import")
    page.locator('input[type="file"]').first.set_input_files(tmp_path / "a.json")
    expect(page.get_by_role("alert").filter(has_text="<img src=x onerror=alert(1)>")).to_be_visible()
    expect(page.locator("main img")).to_have_count(0)
