"""Accounts that are kept: once, with their history; judged again at new prices; told to who listens."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from starlette.testclient import TestClient

import crossmargin as cm

from .conftest import EXAMPLES, STREAM, account

BTC = "BTC/USDT:USDT"
CROSS = "article-2.1-cross"


def rows(client: TestClient) -> dict[str, Any]:
    return {row["id"]: row for row in client.get("/v1/accounts").json()["accounts"]}


def test_an_account_is_put_read_listed_and_forgotten(client: TestClient) -> None:
    made = client.put("/v1/accounts/desk", json=account(CROSS))
    assert made.status_code == 200
    snapshot = made.json()["snapshot"]
    assert made.headers["etag"] == f'"{snapshot}"'
    read = client.get("/v1/accounts/desk")
    assert read.json() == {**account(CROSS), "id": "desk"}
    assert read.headers["etag"] == made.headers["etag"]
    assert client.get("/v1/accounts/desk", headers={"If-None-Match": read.headers["etag"]}).status_code == 304
    assert client.get(f"/v1/accounts/desk/snapshots/{snapshot}").json() == read.json()
    # the article's cross account: 2,000 of equity over 25 + 20 of maintenance margin
    row = rows(client)["desk"]
    assert (row["equity"], row["maintenance_margin"], row["headroom"]) == ("2000", "45", "1955")
    assert row["status"] == "healthy"
    assert row["nearest"]["words"].endswith("all -21.8 % together")
    assert row["stale"] is True  # prices of another day
    assert client.delete("/v1/accounts/desk").status_code == 204
    assert client.get("/v1/accounts/desk").status_code == 404
    assert client.delete("/v1/accounts/desk").status_code == 404
    assert client.get(f"/v1/accounts/desk/snapshots/{snapshot}").status_code == 404


def test_a_stored_account_answers_as_its_file(client: TestClient) -> None:
    client.put("/v1/accounts/desk", json=account())
    told = client.post("/v1/questions/threshold", json={"account_id": "desk"}).text
    assert told == cm.to_json(cm.threshold(*cm.load(str(EXAMPLES / "article-3.1.toml"))))


def test_figures_are_kept_to_the_last_digit(client: TestClient) -> None:
    body = account(CROSS)
    body["balances"] = {"USDT": "2000.000000000000000001"}
    client.put("/v1/accounts/desk", json=body)
    assert rows(client)["desk"]["equity"] == "2000.000000000000000001"
    # a number literal is read by its digits, never through a binary float: 0.1 + 0.2 is not 0.30000000000000004
    text = cm.to_json(body).replace('"2000.000000000000000001"', "0.300000000000000004")
    client.put("/v1/accounts/desk", content=text, headers={"Content-Type": "application/json"})
    assert rows(client)["desk"]["equity"] == "0.300000000000000004"


def test_who_changes_must_have_seen_what_is_there(client: TestClient) -> None:
    first = client.put("/v1/accounts/desk", json=account(), headers={"If-Match": '"none"'})
    assert first.status_code == 412
    tag = client.put("/v1/accounts/desk", json=account()).headers["etag"]
    newer = client.put("/v1/accounts/desk", json=account(CROSS), headers={"If-Match": tag})
    assert newer.status_code == 200
    assert client.put("/v1/accounts/desk", json=account(), headers={"If-Match": tag}).status_code == 412
    assert client.delete("/v1/accounts/desk", headers={"If-Match": tag}).status_code == 412
    assert client.get("/v1/accounts/desk").headers["etag"] == newer.headers["etag"]


def test_a_request_that_is_sent_again_changes_nothing(client: TestClient) -> None:
    key = {"Idempotency-Key": "a1"}
    first = client.put("/v1/accounts/desk", json=account(), headers=key)
    client.put("/v1/accounts/desk", json=account(CROSS))
    again = client.put("/v1/accounts/desk", json=account(), headers=key)
    assert (again.content, again.status_code, again.headers["etag"]) == (first.content, 200, first.headers["etag"])
    # the change in between stands
    assert rows(client)["desk"]["status"] == "healthy"
    other = client.put("/v1/accounts/desk", json=account(CROSS), headers=key)
    assert (other.status_code, other.json()["type"]) == (409, "urn:crossmargin:problem:key-used")
    assert client.put("/v1/accounts/else", json=account(), headers=key).status_code == 409
    for wrong in ("", "x" * 129, "ü".encode("latin-1")):
        assert client.put("/v1/accounts/desk", json=account(), headers={"Idempotency-Key": wrong}).status_code == 422


def test_what_failed_is_not_remembered(client: TestClient) -> None:
    key = {"Idempotency-Key": "a1"}
    assert client.delete("/v1/accounts/desk", headers=key).status_code == 404
    client.put("/v1/accounts/desk", json=account())
    assert client.delete("/v1/accounts/desk", headers=key).status_code == 204
    assert client.delete("/v1/accounts/desk", headers=key).status_code == 204


def test_many_at_once_under_one_key_are_one_change(client: TestClient) -> None:
    def put(_: int) -> Any:
        return client.put("/v1/accounts/desk", json=account(), headers={"Idempotency-Key": "k"})

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(put, range(16)))
    assert {(one.status_code, one.content) for one in found} == {(200, found[0].content)}
    assert len(client.get("/v1/accounts/desk/history").json()["history"]) == 1


def test_every_fault_of_an_account_is_told_with_its_path_and_nothing_is_kept(client: TestClient) -> None:
    body = account(CROSS)
    body["positions"][0]["quantity"] = "1e5"
    body["positions"][1]["entry_price"] = "-1"
    found = client.put("/v1/accounts/desk", json=body)
    assert (found.status_code, found.headers["content-type"]) == (422, "application/problem+json")
    assert [fault["path"] for fault in found.json()["faults"]] == ["positions[0].quantity", "positions[1].entry_price"]
    assert all(fault["why"] for fault in found.json()["faults"])
    assert rows(client) == {}


def test_missing_prices_are_all_named(client: TestClient) -> None:
    body = account(CROSS)
    body["market"] = {}
    found = client.put("/v1/accounts/desk", json=body)
    assert (found.status_code, found.json()["type"]) == (422, "urn:crossmargin:problem:incomplete")
    assert {BTC, "ETH/USDT:USDT"} <= {word for fault in found.json()["faults"] for word in fault["path"].split(".")} | {
        fault["path"] for fault in found.json()["faults"]
    }


@pytest.mark.parametrize("name", ["-a", "a b", "é", "a" * 129, "%00"])
def test_ids_are_plain(client: TestClient, name: str) -> None:
    assert client.put(f"/v1/accounts/{name}", json=account()).status_code == 422


# history and prices ---------------------------------------------------------------------------------------------------


def test_new_prices_judge_every_account_that_has_them(client: TestClient) -> None:
    client.put("/v1/accounts/cross", json=account(CROSS))
    client.put("/v1/accounts/other", json=account("unified-btc-collateral"))
    body = account(CROSS)
    # BTC falls by a tenth of its mark: the loss is that of the position, quantity x 10,000 at a mark of 100,000
    quantity = cm.load(str(EXAMPLES / f"{CROSS}.toml")).account.positions[0].quantity
    was = cm.load(str(EXAMPLES / f"{CROSS}.toml")).market.mark_price[BTC]
    prices: dict[str, Any] = {"as_of": "2026-11-20T08:01:00Z", "mark_price": {BTC: str(was * 9 / 10)}, "sequence": 5}
    with client.websocket_connect(STREAM) as stream:
        answer = client.post("/v1/prices", json=prices)
        assert "cross" in answer.json()["accounts"]
        told = [stream.receive_json() for _ in range(2)]
    del prices["sequence"]
    assert told[0] == {"type": "prices", **prices, "index_price": {}}
    row = rows(client)["cross"]
    assert told[1]["accounts"][0]["id"] in ("cross", "other")
    assert cm.Position.model_validate(body["positions"][0]).quantity == quantity
    assert row["equity"] == cm.to_plain(2000 - quantity * was / 10)
    assert row["as_of"] == "2026-11-20T08:01:00Z"
    history = client.get("/v1/accounts/cross/history").json()["history"]
    assert [moment["equity"] for moment in history] == ["2000", row["equity"]]
    later = client.get("/v1/accounts/cross/history", params={"since": history[1]["taken_at"]}).json()["history"]
    assert later == history[1:]


def test_prices_that_arrive_late_are_ignored(client: TestClient) -> None:
    client.put("/v1/accounts/cross", json=account(CROSS))
    new = {"as_of": "2026-11-20T08:02:00Z", "mark_price": {BTC: "99000"}, "sequence": 7}
    old = {"as_of": "2026-11-20T08:01:00Z", "mark_price": {BTC: "1"}, "sequence": 6}
    same = {"as_of": "2026-11-20T08:02:00Z", "mark_price": {BTC: "2"}, "sequence": 6}
    client.post("/v1/prices", json=new)
    before = rows(client)
    assert client.post("/v1/prices", json=old).json() == {"accounts": []}
    assert client.post("/v1/prices", json=same).json() == {"accounts": []}
    assert rows(client) == before


def test_prices_nobody_has_change_nothing(client: TestClient) -> None:
    client.put("/v1/accounts/cross", json=account(CROSS))
    found = client.post("/v1/prices", json={"as_of": "2026-11-21T00:00:00Z", "mark_price": {"FOO/USDT:USDT": "1"}})
    assert found.json() == {"accounts": []}


def test_an_account_that_cannot_be_judged_is_unknown_and_says_why(client: TestClient) -> None:
    # the rules of this profile begin in 2009: before that there are none
    client.put("/v1/accounts/cross", json=account(CROSS))
    stored = account(CROSS)
    from crossmargin.apps.store.keeping import judged, rejudged

    before = judged({**stored, "id": "cross"}, "cross").summary
    found = rejudged({**stored, "market": {"mark_price": {BTC: "90000"}}}, before).summary
    assert found["status"] == "unknown"
    assert found["headroom"] is None
    assert "ETH/USDT:USDT" in found["nearest"]["words"]


def test_who_listens_hears_of_every_change(client: TestClient) -> None:
    with client.websocket_connect(STREAM) as stream:
        client.put("/v1/accounts/a", json=account())
        assert stream.receive_json()["accounts"][0]["status"] == "liquidation"
        client.delete("/v1/accounts/a")
        assert stream.receive_json() == {"type": "accounts", "accounts": [], "deleted": ["a"]}


# the rest -------------------------------------------------------------------------------------------------------------


def test_an_import_says_whether_the_venue_agrees(client: TestClient) -> None:
    import json

    answers = json.loads((EXAMPLES.parent / "tests/payloads/mexc-eth-isolated-doc.json").read_text(), parse_float=str)
    found = client.post("/v1/import/nowhere", json={"payloads": {"a.json": answers}})
    assert found.status_code == 422
    assert client.post("/v1/import/binance", json={"payloads": {}}).status_code == 422


def test_the_text_of_an_account_file_is_read_as_the_command_line_reads_it(client: TestClient) -> None:
    text = (EXAMPLES / f"{CROSS}.toml").read_text()
    assert client.post("/v1/account-file", json={"text": text}).json() == {"account": account(CROSS)}
    assert client.post("/v1/account-file", json={"text": "profile = "}).status_code == 422


def test_a_fund_names_no_file_of_the_service(client: TestClient) -> None:
    fund = {"accounts": [{"id": "a", "file": "/etc/passwd"}], "safety": {"scenarios": "/etc/passwd"}}
    found = client.post("/v1/questions/allocate", json={"fund": fund})
    assert {fault["path"] for fault in found.json()["faults"]} == {"fund.accounts[0].file", "fund.safety.scenarios"}


def test_figures_come_with_their_tables_and_words(client: TestClient) -> None:
    body: dict[str, Any] = {"account": account(CROSS)}
    for name in ("evaluate", "threshold", "explain", "stress", "sensitivity", "compare", "cascade", "curve", "hedge"):
        found = client.post(f"/v1/figures/{name}", json=body)
        assert found.status_code == 200, found.text
        told = found.json()
        assert all(one["table"]["rows"] for one in told["figures"]), name
        assert told["tables"], name
    curves = client.post("/v1/figures/curve", json={**body, "options": {"coin": ["BTC"], "points": 5}}).json()
    assert len(curves["figures"]) == 1
    worded = client.post("/v1/figures/threshold", json=body).json()["words"]
    assert worded.startswith("Liquidated if ")


def test_profiles_are_told_as_the_command_line_tells_them(client: TestClient) -> None:
    listed = client.get("/v1/profiles").json()
    assert [row["id"] for row in listed] == list(cm.profile_ids())
    one = client.get("/v1/profiles/plain-cross").json()
    assert one["id"] == "plain-cross"
    assert client.get("/v1/profiles/nowhere").status_code == 404


def test_the_service_counts_what_it_does(client: TestClient) -> None:
    client.get("/v1/accounts")
    client.get("/v1/accounts/none")
    text = client.get("/metrics").text
    assert 'crossmargin_requests_total{method="GET",route="/v1/accounts",status="200"} 1.0' in text
    assert 'route="/v1/accounts/{id}",status="404"} 1.0' in text
    assert "crossmargin_listeners 0.0" in text
    assert client.get("/health").json() == {"status": "ok", "version": cm.__version__, "store": "ok"}


def many(coins: int, balance: str) -> dict[str, Any]:
    """One contract at 100 on each of so many coins, with a maintenance rate of 0.5 %."""
    symbols = [f"C{number}/USDT:USDT" for number in range(coins)]
    return {
        "profile": "plain-cross",
        "as_of": "2026-11-20T08:00:00Z",
        "balances": {"USDT": balance},
        "positions": [{"symbol": s, "quantity": "1", "entry_price": "100", "leverage": "10"} for s in symbols],
        "market": {"mark_price": dict.fromkeys(symbols, "100")},
        "instruments": [
            {"symbol": s, "brackets": [{"notional_floor": "0", "maintenance_rate": "0.005"}]} for s in symbols
        ],
    }


def test_of_an_account_of_many_coins_the_common_move_is_known(client: TestClient) -> None:
    assert client.put("/v1/accounts/many", json=many(201, "2010")).status_code == 200
    row = rows(client)["many"]
    # each has 10 and needs 0.5: 10 + 100 s = 0.5 (1 + s), so s = -9.5 / 99.5 = -0.09547...
    assert row["nearest"] == {
        "words": "all -9.5 % together; each of 201 coins alone: not asked",
        "coin": "all",
        "distance": "-0.095477386934673367",
        "kind": "price",
    }
    # with 120 for each no fall together ends it; what one coin may do was not asked, and unknown is not safe
    assert client.put("/v1/accounts/many", json=many(201, "24120")).status_code == 200
    nearest = rows(client)["many"]["nearest"]
    assert nearest["words"] == "no common move liquidates it; each of 201 coins alone: not asked"
    assert nearest["kind"] == "unknown"
    # of 200 coins each is asked alone
    assert client.put("/v1/accounts/many", json=many(200, "2000")).status_code == 200
    assert rows(client)["many"]["nearest"]["words"] == "all -9.5 % together"


def test_an_account_is_kept_whatever_becomes_of_its_thresholds(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_given: Any, **_more: Any) -> Any:
        raise cm.UnsupportedRule("here", "cannot be answered")

    monkeypatch.setattr("crossmargin.analytics.threshold.thresholds_of", refused)
    assert client.put("/v1/accounts/desk", json=account(CROSS)).status_code == 200
    row = rows(client)["desk"]
    assert (row["headroom"], row["nearest"]["kind"]) == ("1955", "unknown")
    assert "cannot be answered" in row["nearest"]["words"]
