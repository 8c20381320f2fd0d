"""Two browsers on one account, and one account of 10,000 positions whose prices move."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from many import many_positions
from playwright.sync_api import Page, expect

from crossmargin.apps.store.keeping import judged, keep
from crossmargin.apps.store.store import Store
from crossmargin.files.accounts import read_table
from crossmargin.model.report import to_plain

EXAMPLES = Path(__file__).parents[2] / "examples"


def begin(alone, watched, name: str, *places: str) -> list[Page]:
    """The cross example under a name of its own, open in so many browsers."""
    pages = []
    for _ in places:
        one = watched()
        one.expected += ["412", "404"]  # a browser reports a refusal as a failed resource
        pages.append(one)
    file = to_plain(read_table(str(EXAMPLES / "article-2.1-cross.toml"))[0])
    put = pages[0].page.request.put(f"{alone.url}/v1/accounts/{name}", data=file)
    assert put.ok, put.text()
    opened = [one.open(alone, f"account/{name}{place}") for one, place in zip(pages, places, strict=True)]
    for page in opened:
        expect(page.locator("#connection")).to_have_text("live")
        expect(page.locator(".strip")).to_contain_text("2,000.00 USDT")
    return opened


def edit(page: Page, old: str, new: str) -> None:
    """Change a piece of the account file's text."""
    text = page.get_by_label("JSON")
    expect(text).to_have_value(re.compile(re.escape(old)))
    text.fill(text.input_value().replace(old, new))


def balance(page: Page, alone, name: str) -> str:
    """The USDT that the store holds."""
    return page.request.get(f"{alone.url}/v1/accounts/{name}").json()["balances"]["USDT"]


def test_one_edits_and_the_other_learns_of_it(alone, watched):
    writer, reader, asker = begin(alone, watched, "shared", "/file", "", "/sensitivity")
    edit(writer, '"USDT": "2000"', '"USDT": "3000"')
    writer.get_by_role("button", name="Store", exact=True).click()
    expect(writer.get_by_text("Stored. Every page")).to_be_visible()
    # 3,000 + 0.05 (p - 100,000) = 0.005 (0.05 p + 4,000): p = 2,020 / 0.04975 = 40,603.02
    expect(reader.locator(".strip")).to_contain_text("3,000.00 USDT")
    expect(reader.get_by_role("region", name="Thresholds")).to_contain_text("40,603.02 (-59.4\u00a0%)")
    # a tab whose answer takes a choice is not drawn away under the hand
    expect(asker.locator(".strip")).to_contain_text("3,000.00 USDT")
    asker.get_by_role("button", name="Ask again").click()
    expect(asker.get_by_role("button", name="Ask again")).to_have_count(0)


def test_neither_overwrites_the_other_unseen(alone, watched, picture):
    first, second = begin(alone, watched, "contested", "/file", "/file")
    edit(second, '"USDT": "2000"', '"USDT": "2500"')
    edit(first, '"USDT": "2000"', '"USDT": "3000"')
    first.get_by_role("button", name="Store", exact=True).click()
    expect(first.get_by_text("Stored. Every page")).to_be_visible()
    # the stream says so before anything is sent
    told = second.get_by_role("alert").filter(has_text="Somebody else changed this account")
    expect(told).to_contain_text("Changed there: balances.")
    picture(second, "changed-by-another")
    second.get_by_role("button", name="Store", exact=True).click()
    expect(told).to_contain_text("your text is still here")
    assert balance(first, alone, "contested") == "3000"
    expect(second.get_by_label("JSON")).to_have_value(re.compile('"USDT": "2500"'))
    second.get_by_role("button", name="Store mine over theirs").click()
    expect(second.get_by_text("Stored. Every page")).to_be_visible()
    assert balance(first, alone, "contested") == "2500"
    # whoever has changed nothing since sees the new file
    expect(first.get_by_label("JSON")).to_have_value(re.compile('"USDT": "2500"'))
    history = first.request.get(f"{alone.url}/v1/accounts/contested/history").json()["history"]
    assert [Decimal(row["equity"]) for row in history] == [2000, 3000, 2500]


def test_prices_that_move_under_an_edit_are_kept(alone, watched):
    (page,) = begin(alone, watched, "ticking", "/file")
    edit(page, '"USDT": "2000"', '"USDT": "3000"')
    now = datetime.now(UTC).isoformat()
    sent = page.request.post(f"{alone.url}/v1/prices", data={"as_of": now, "mark_price": {"BTC/USDT:USDT": "90000"}})
    assert "ticking" in sent.json()["accounts"]
    expect(page.locator(".strip")).to_contain_text("1,500.00 USDT")  # 2,000 - 0.05 x 10,000
    page.get_by_role("button", name="Store", exact=True).click()
    expect(page.locator(".strip")).to_contain_text("2,500.00 USDT")
    file = page.request.get(f"{alone.url}/v1/accounts/ticking").json()
    assert (file["balances"]["USDT"], file["market"]["mark_price"]["BTC/USDT:USDT"]) == ("3000", "90000")


def test_an_import_does_not_take_the_place_of_an_account_unasked(alone, watched, picture, tmp_path):
    (page,) = begin(alone, watched, "imported", "")
    page.goto(f"{alone.url}/#/import")
    other = to_plain(read_table(str(EXAMPLES / "article-2.1-cross.toml"))[0])
    (tmp_path / "imported.json").write_text(json.dumps({**other, "balances": {"USDT": "7000"}}))
    page.locator('input[type="file"]').first.set_input_files(tmp_path / "imported.json")
    expect(page.get_by_role("alert").filter(has_text="There is an account imported already")).to_be_visible()
    picture(page, "taken")
    assert balance(page, alone, "imported") == "2000"
    page.get_by_role("button", name="Replace imported").click()
    expect(page.get_by_role("status").filter(has_text="imported is imported")).to_contain_text("equity 7,000.00")


def test_an_account_removed_by_one_is_said_to_the_other(alone, watched, picture):
    reader, writer = begin(alone, watched, "removed", "", "/file")
    edit(writer, '"USDT": "2000"', '"USDT": "3000"')
    reader.get_by_role("button", name="Remove").click()
    reader.get_by_role("dialog").get_by_role("button", name="Remove").click()
    expect(reader).to_have_url(re.compile("#/$"))
    expect(writer.get_by_role("status").filter(has_text="was removed")).to_be_visible()
    writer.get_by_role("button", name="Store", exact=True).click()
    expect(writer.get_by_role("alert").filter(has_text="Somebody else removed this account")).to_be_visible()
    picture(writer, "removed-by-another")
    writer.get_by_role("button", name="Store mine anew").click()
    expect(writer.get_by_text("Stored. Every page")).to_be_visible()
    assert balance(reader, alone, "removed") == "3000"


def test_alert_rules_changed_by_one_are_not_overwritten_by_the_other(alone, watched):
    one = watched()
    one.expected.append("412")  # a browser reports a refusal as a failed resource
    page = one.open(alone, "alerts")
    rules = page.locator("main")
    expect(rules.get_by_role("button", name="Add the rule")).to_be_visible()
    theirs = {"id": "theirs", "kind": "level", "limit": "liquidation"}
    assert page.request.put(f"{alone.url}/v1/alert-rules", data={"rules": [theirs]}).ok
    rules.get_by_role("button", name="Add the rule").click()
    told = page.get_by_role("alert").filter(has_text="Somebody else changed the rules meanwhile")
    expect(told).to_contain_text("Nothing of theirs is overwritten")
    expect(rules).to_contain_text("theirs")  # the list is theirs now
    stored = page.request.get(f"{alone.url}/v1/alert-rules").json()["rules"]
    assert [rule["id"] for rule in stored] == ["theirs"]
    told.get_by_role("button", name="Make my change to these").click()
    expect(page.get_by_text("The rules are stored")).to_be_visible()
    stored = page.request.get(f"{alone.url}/v1/alert-rules").json()["rules"]
    assert len(stored) == 2 and stored[0]["id"] == "theirs"
    assert page.request.put(f"{alone.url}/v1/alert-rules", data={"rules": []}).ok


# ten thousand positions


def ten_thousand() -> dict:
    """Ten coins in 500 expiries, each held long and short."""
    return many_positions(10_000, as_of="2026-11-20T08:00:00Z")


def test_ten_thousand_positions_live(start, watched, picture, tmp_path):
    # judged and kept before the service starts: how long that takes is not the page's matter
    store = Store(str(tmp_path / "store.db"))
    ready = judged(ten_thousand(), "many")
    with store.changing("local") as tx:
        keep(store, tx, "local", ready)
    store.close()
    service = start("--empty")
    page = watched().open(service, "account/many")
    expect(page.get_by_role("heading", name="Positions (10000)")).to_be_visible()
    # 10,000 positions of 2 x 10 at 1 %
    expect(page.locator(".strip")).to_contain_text("2,000.00 USDT")
    table = page.get_by_role("region", name="Positions")
    page.get_by_label("Search positions").fill("C4/USDT:USDT-27")
    table.evaluate("box => { box.scrollTop = 3000 }")
    expect(table).to_contain_text("C4/USDT:USDT-2702")
    # new prices: C4 at 11 in all expiries. Long and short cancel; 1,000 of 10,000 positions are worth a tenth more
    names = [p["symbol"] for p in ten_thousand()["positions"] if p["symbol"].startswith("C4/")]
    sent = page.request.post(
        f"{service.url}/v1/prices",
        data={"as_of": datetime.now(UTC).isoformat(), "mark_price": dict.fromkeys(names, "11")},
    )
    assert sent.json()["accounts"] == ["many"]
    expect(page.locator(".strip")).to_contain_text("2,020.00 USDT")
    # what was searched and where one had scrolled to stay; few rows are drawn; their figures are the new ones
    expect(page.get_by_label("Search positions")).to_have_value("C4/USDT:USDT-27")
    assert table.evaluate("box => box.scrollTop") == 3000
    assert 0 < table.locator("tbody tr").count() < 120
    row = table.locator("tbody tr", has_text="C4/USDT:USDT-2702").first
    expect(row.locator("td").nth(2)).to_have_text("11.00")
    picture(page, "moved-prices")
    page.get_by_label("Search positions").fill("C9/USDT:USDT-261201")
    expect(table.locator("tbody tr")).to_have_count(2)
