"""What somebody sends who means harm, or whose clock or network is wrong: the service refuses it, and says so."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from crossmargin.apps.server.hub import Hub
from crossmargin.apps.server.metrics import Meter
from crossmargin.apps.server.security import HEADERS, Door
from crossmargin.apps.server.settings import Settings
from crossmargin.apps.store.store import Store
from crossmargin.clearing.desk import Desk
from crossmargin.clearing.journal import Journal

from .conftest import Serving, account

Token = Callable[..., dict[str, str]]
BTC = "BTC/USDT:USDT"


def at(ahead: float) -> str:
    """A moment so many seconds ahead of the clock, as an account file writes it."""
    return (datetime.now(UTC) + timedelta(seconds=ahead)).isoformat().replace("+00:00", "Z")


def row(client: TestClient, name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in client.get("/v1/accounts").json()["accounts"] if one["id"] == name)
    return found


# files of the machine -------------------------------------------------------------------------------------------------


@pytest.fixture
def canary(tmp_path: Path) -> str:
    """The path of a file that is there, ends as a profile does, and holds what nobody may be told."""
    path = tmp_path / "secret.toml"
    path.write_text('canary_5d1c = "hidden"\n', encoding="utf-8")
    return str(path)


def asked_with(profile: str) -> list[tuple[str, str, Any]]:
    """Every request that names a profile."""
    named = {**account(), "profile": profile}
    rules = [{"kind": "change_rules", "profile": profile, "on": "2026-11-20"}]
    return [
        ("POST", "/v1/questions/evaluate", {"account": account(), "profile": profile}),
        ("POST", "/v1/questions/evaluate", {"account": named}),
        ("POST", "/v1/figures/threshold", {"account": named}),
        ("POST", "/v1/questions/whatif", {"account": account(), "options": {"changes": rules}}),
        ("POST", "/v1/questions/allocate", {"fund": {"accounts": [{**named, "id": "a"}]}}),
        ("POST", "/v1/account-file", {"text": json.dumps(named)}),
        ("POST", "/v1/fund-file", {"text": json.dumps({"accounts": [{**named, "id": "a"}]})}),
        ("PUT", "/v1/accounts/a", named),
        (
            "POST",
            "/v1/import/binance",
            {"payloads": {"a.json": {"assets": [], "positions": []}}, "set": [f"profile={profile}"]},
        ),
    ]


@pytest.mark.parametrize("number", range(9))
def test_a_profile_is_named_by_its_id_and_never_by_a_file(client: TestClient, canary: str, number: int) -> None:
    method, path, body = asked_with(canary)[number]
    found = client.request(method, path, json=body)
    assert found.status_code == 422
    assert "canary_5d1c" not in found.text
    assert client.get("/v1/accounts/a").status_code == 404


@pytest.mark.parametrize("name", ["../../etc/passwd", "x" * 5000, "x" * 5000 + ".toml", "a/b", "a\nb", "./x.toml"])
def test_a_name_that_no_profile_can_have_is_refused_and_breaks_nothing(client: TestClient, name: str) -> None:
    found = client.post("/v1/questions/evaluate", json={"account": {**account(), "profile": name}})
    assert found.status_code == 422
    assert [fault["path"] for fault in found.json()["faults"]] == ["profile"]


def test_a_command_to_the_books_names_no_file(store: Store, tmp_path: Path, serving: Serving, canary: str) -> None:
    where = str(tmp_path / "books.db")
    journal = Journal(where)
    Desk(journal)
    journal.close()
    client = serving(journal=where)
    command = {"kind": "change_rules", "command_id": "c1", "profile": canary, "on": "2026-11-20", "at": at(0)}
    found = client.post("/v1/clearing/commands", json={"commands": [command]})
    assert "canary_5d1c" not in found.text
    assert found.status_code != 200 or not found.json()["answers"][0]["accepted"]


@pytest.mark.parametrize("name", ["%00.js", "a" * 300 + ".js", "a" * 5000 + ".js", "%2e%2e/server/app.py"])
def test_a_file_name_that_cannot_be_is_simply_not_there(client: TestClient, name: str) -> None:
    found = client.get(f"/static/{name}")
    assert (found.status_code, found.headers["content-type"]) == (404, "application/problem+json")


# clocks ---------------------------------------------------------------------------------------------------------------


def test_prices_of_the_future_are_refused_and_those_of_now_still_count(client: TestClient) -> None:
    client.put("/v1/accounts/a", json=account("article-2.1-cross"))
    wrong = client.post("/v1/prices", json={"as_of": at(3600), "mark_price": {BTC: "99000"}})
    assert (wrong.status_code, wrong.json()["faults"][0]["path"]) == (422, "as_of")
    # taken for the newest, they would have made these late: ignored, and the account as it was for an hour
    right = client.post("/v1/prices", json={"as_of": at(0), "mark_price": {BTC: "60000"}})
    assert right.json() == {"accounts": ["a"]}
    # 0.05 BTC long from 100,000: 40,000 less a coin is 2,000 less, all of the equity of 2,000; it was 1,955 over its 45
    assert row(client, "a")["status"] == "liquidation"


@pytest.mark.parametrize(
    ("ahead", "stale"), [(0.0, False), (30.0, False), (86400.0, True), (-800.0, False), (-1000.0, True)]
)
def test_prices_whose_age_is_not_known_are_stale(client: TestClient, ahead: float, stale: bool) -> None:
    client.put("/v1/accounts/a", json={**account("article-2.1-cross"), "as_of": at(ahead)})
    assert row(client, "a")["stale"] is stale


@pytest.mark.parametrize("when", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_moments_at_the_ends_of_the_calendar_are_refused_with_their_path(client: TestClient, when: str) -> None:
    body = {"account": {**account(), "as_of": when}}
    for found in (
        client.post("/v1/questions/evaluate", json=body),
        client.post("/v1/questions/evaluate", json={"account": account(), "on": when}),
        client.put("/v1/accounts/a", json=body["account"]),
        client.post("/v1/prices", json={"as_of": when, "mark_price": {BTC: "1"}}),
        client.get("/v1/accounts/a/history", params={"since": when}),
    ):
        assert found.status_code == 422, found.text
        assert len(found.json()["faults"]) == 1


# figures --------------------------------------------------------------------------------------------------------------

HOSTILE = ["0", "-1", "NaN", "Infinity", "-Infinity", "1e400", "1E+1000000000", '" 1 "', '"1_000"', '"١٢"', '"１"',
           '"1\\n"', '"0x10"', '"+1"', '"1."', '""', "true", "null", "[]", "1" * 500_000]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:16])
def test_a_price_that_is_none_is_never_judged_with_nor_kept(client: TestClient, text: str) -> None:
    client.put("/v1/accounts/a", json=account("article-2.1-cross"))
    before = row(client, "a")
    hole = {**account("article-2.1-cross"), "market": {"mark_price": {BTC: "@"}}}
    headers = {"Content-Type": "application/json"}
    sent = [
        client.post(
            "/v1/questions/evaluate", content=json.dumps({"account": hole}).replace('"@"', text), headers=headers
        ),
        client.put("/v1/accounts/a", content=json.dumps(hole).replace('"@"', text), headers=headers),
        client.post(
            "/v1/prices", content=f'{{"as_of": "{at(0)}", "mark_price": {{"{BTC}": {text}}}}}', headers=headers
        ),
    ]
    assert [found.status_code for found in sent] == [422] * 3
    assert all(BTC in fault["path"] for found in sent for fault in found.json()["faults"] if "mark" in fault["path"])
    assert row(client, "a") == before


# what keeps others waiting --------------------------------------------------------------------------------------------


def door(body: list[dict[str, Any]], timeout: float) -> int:
    """The status with which the door answers a request whose body comes in these parts, and then no more."""
    statuses: list[int] = []

    async def story() -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            while (await receive()).get("more_body"):
                pass
            await send({"type": "http.response.start", "status": 200, "headers": []})

        async def receive() -> Any:
            return body.pop(0) if body else await asyncio.Event().wait()

        async def send(message: Any) -> None:
            statuses.extend([message["status"]] if "status" in message else [])

        meter = Meter.__new__(Meter)
        meter.count = lambda *_: None
        scope = {"type": "http", "method": "POST", "headers": [(b"host", b"localhost")], "client": ("127.0.0.1", 1)}
        await Door(app, Settings(timeout=timeout), meter)(scope, receive, send)

    asyncio.run(story())
    return statuses[0]


def part(more: bool) -> dict[str, Any]:
    return {"type": "http.request", "body": b" ", "more_body": more}


def test_a_body_that_never_ends_holds_a_connection_no_longer_than_an_answer_may_take() -> None:
    assert door([part(True), part(True), part(False)], timeout=10) == 200
    assert door([part(True), part(True)], timeout=0.02) == 408


def test_a_channel_that_does_not_answer_keeps_no_prices_waiting(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = serving()
    lanes: list[str] = []
    run = client.app.state.work.run

    async def noted(*work: Any, lane: str = "quick") -> Any:
        lanes.append(lane)
        return await run(*work, lane=lane)

    monkeypatch.setattr(client.app.state.work, "run", noted)
    assert client.post("/v1/alerts/test", json={}).status_code == 200
    assert lanes == ["slow"]  # prices and accounts come in on the lane "change"


# when it fails --------------------------------------------------------------------------------------------------------


def test_a_failure_is_an_answer_like_any_other_counted_and_without_its_cause(
    client: TestClient, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("canary-5d1c")

    monkeypatch.setattr(store, "accounts", broken)
    found = client.get("/v1/accounts")
    assert (found.status_code, found.json()["type"]) == (500, "urn:crossmargin:problem:internal")
    assert "canary" not in found.text
    assert {name: found.headers[name] for name in HEADERS} == HEADERS
    told = client.get("/metrics").text
    assert 'crossmargin_requests_total{method="GET",route="/v1/accounts",status="500"} 1.0' in told


def test_a_token_is_in_no_answer_no_log_and_no_file(
    serving: Serving, token: Token, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    client, header = serving(tokens=True), token("one")
    secret = header["Authorization"].removeprefix("Bearer ")
    caplog.set_level(logging.DEBUG)
    answers = [
        client.get("/v1/tokens", headers=header),
        client.get("/v1/audit", headers=header),
        client.get("/metrics", headers=header),
        client.put("/v1/accounts/a", json=account(), headers={**header, "Idempotency-Key": "k"}),
        client.post("/v1/session", json={"token": secret}),
        client.post("/v1/session", json={"token": [secret]}),
        client.post("/v1/prices", json={"as_of": secret}, headers=header),
    ]
    held = [found.text for found in answers[:5]]
    assert answers[4].status_code == 200
    with store.reading(None) as tx:
        for name in sa.inspect(tx).get_table_names():
            held += [str(line) for line in tx.execute(sa.text(f"SELECT * FROM {name}"))]
    assert not [text for text in [*held, caplog.text] if secret in text]


# keys of another tenant -----------------------------------------------------------------------------------------------


def test_an_idempotency_key_is_of_its_tenant(serving: Serving, token: Token) -> None:
    client, one, two = serving(tokens=True), token("one"), token("two")
    key = {"Idempotency-Key": "same"}
    first = client.put("/v1/accounts/a", json=account("article-3.1"), headers={**one, **key})
    second = client.put("/v1/accounts/a", json=account("article-2.1-cross"), headers={**two, **key})
    assert [first.status_code, second.status_code] == [200, 200]
    assert first.json()["snapshot"] != second.json()["snapshot"]


# a market that moves a thousand accounts at once ----------------------------------------------------------------------


@pytest.mark.parametrize(("changed", "hint"), [(1, False), (999, False), (1000, True), (5000, True)])
def test_who_reads_is_not_dropped_because_many_accounts_change_at_once(changed: int, hint: bool) -> None:
    async def story() -> list[dict[str, Any]]:
        hub = Hub(Settings())
        listener = hub.join("one")
        for number in range(changed):
            message = {"type": "accounts", "accounts": [{"id": f"a{number}"}]}
            hub.publish("one", message, ("account", f"a{number}"))
        hub.publish("one", {"type": "alert"})
        told = []
        while (text := await listener.next()) is not None:
            told.append(json.loads(text))
            if told[-1]["type"] == "alert":
                return told
        raise AssertionError("dropped")

    told = asyncio.run(story())
    named = {one["id"] for message in told for one in message.get("accounts", ())}
    assert any(message.get("reload") for message in told) is hint
    # every account is named, or the listener is told to fetch them all
    assert hint or len(named) == changed


def test_records_that_are_written_at_once_form_one_chain(store: Store) -> None:
    def write(who: str) -> None:
        for number in range(20):
            with store.changing("one") as tx:
                store.audit(tx, "one", who, "try", str(number))

    with ThreadPoolExecutor(3) as threads:
        for done in [threads.submit(write, who) for who in ("a", "b", "c")]:
            done.result()
    with store.reading("one") as tx:
        assert store.broken_audit(tx, "one") is None
        assert [one.seq for one in store.audit_log(tx, "one")] == list(range(1, 61))
