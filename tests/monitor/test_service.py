"""Alerts over HTTP: rules put, accounts watched, alerts listed and acknowledged, tenants apart, channels tried."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from serving import served
from starlette.testclient import TestClient

from crossmargin.apps.monitor.service import Alerting
from crossmargin.apps.server.app import create_app
from crossmargin.apps.server.settings import Settings
from crossmargin.apps.store.store import Store
from crossmargin.apps.store.tokens import create_token
from crossmargin.files.accounts import read_table
from crossmargin.model.report import to_plain

ACCOUNT = to_plain(read_table("examples/article-3.1.toml")[0])  # liquidatable as it stands
LEVEL = {"id": "level", "kind": "level", "limit": "liquidation"}


@pytest.fixture(autouse=True)
def stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test makes the rounds, not a thread."""
    monkeypatch.setattr(Alerting, "start", lambda self: None)


@pytest.fixture
def client(store: Store) -> Iterator[TestClient]:
    with TestClient(create_app(Settings(rate=1e6, burst=10**6), store), base_url="http://localhost") as found:
        yield found


def rounds(client: TestClient) -> None:
    client.app.state.alerting.step(wait=True)


def test_from_rules_to_an_alert_and_back(client: TestClient) -> None:
    assert client.get("/v1/alert-rules").json()["rules"] == []
    assert client.put("/v1/accounts/main", json=ACCOUNT).status_code == 200
    rounds(client)
    assert client.get("/v1/alerts").json() == {"alerts": []}  # without rules nothing is watched
    put = client.put("/v1/alert-rules", json={"rules": [LEVEL]})
    assert put.status_code == 200, put.text
    told = client.get("/v1/alert-rules").json()
    assert [rule["kind"] for rule in told["watched"]] == ["level", "stale", "unknown", "lag"]
    assert told["channels"] == ["log"]
    with client.websocket_connect("ws://localhost/v1/stream") as stream:
        rounds(client)
        heard = [stream.receive_json() for _ in range(2)]
    assert {(one["type"], one["event"], one["alert"]["rule"]) for one in heard} == {
        ("alert", "raised", "level"),
        ("alert", "raised", "stale"),
    }
    alerts = client.get("/v1/alerts", params={"state": "open"}).json()["alerts"]
    (level,) = (one for one in alerts if one["rule"] == "level")
    assert (level["account"], level["value"], level["limit"], level["severity"]) == ("main", "2", "2", "critical")
    seen = client.post(f"/v1/alerts/{level['id']}/acknowledge")
    assert seen.json() == {"id": level["id"], "state": "acknowledged"}
    (found,) = client.get("/v1/alerts", params={"state": "acknowledged"}).json()["alerts"]
    assert found["acknowledged_by"]
    # rules that are taken away take their alerts with them
    assert client.put("/v1/alert-rules", json={"rules": []}).status_code == 200
    rounds(client)
    assert {one["state"] for one in client.get("/v1/alerts").json()["alerts"]} == {"cleared"}


def test_rules_that_somebody_else_has_changed_are_not_overwritten(client: TestClient) -> None:
    def put(rules: list[Any], **headers: str) -> Any:
        return client.put("/v1/alert-rules", json={"rules": rules}, headers=headers)

    near = {"id": "near", "kind": "distance", "limit": "0.1", "clear": "0.12"}
    none = client.get("/v1/alert-rules").headers["etag"]
    first = put([LEVEL], **{"If-Match": none})
    assert first.status_code == 200
    read = client.get("/v1/alert-rules")
    # known by the same tag when they are answered and when they are read, and by another than when there were none
    assert read.headers["etag"] == first.headers["etag"] != none
    late = put([near], **{"If-Match": none})
    assert (late.status_code, late.json()["type"]) == (412, "urn:crossmargin:problem:changed")
    assert late.json()["title"] == "The rules have changed"
    assert client.get("/v1/alert-rules").json()["rules"] == read.json()["rules"]
    assert put([LEVEL, near], **{"If-Match": first.headers["etag"]}).status_code == 200
    assert put([LEVEL], **{"If-Match": "*"}).headers["etag"] == first.headers["etag"]  # the same rules, the same tag
    assert put([near]).status_code == 200  # without a condition in the place of whatever was
    # the audit log has the hashes from one to the next, so that a change is not lost there either
    noted = [one for one in client.get("/v1/audit").json()["records"] if one["what"] == "alert.rules"]
    assert [one["before"] for one in noted[1:]] == [one["after"] for one in noted[:-1]]
    assert f'"{noted[0]["before"]}"' == none


def test_of_two_who_saw_the_same_rules_one_is_first(store: Store) -> None:
    """Two services over one store, as several processes on one database are."""
    other = store if store.is_file else Store(store.where)
    settings = Settings(rate=1e6, burst=10**6)
    with (
        TestClient(create_app(settings, store), base_url="http://localhost") as one,
        TestClient(create_app(settings, other), base_url="http://localhost") as two,
        ThreadPoolExecutor(2) as threads,
    ):
        for n in range(8):
            tag = {"If-Match": one.get("/v1/alert-rules").headers["etag"]}
            rules = [[{**LEVEL, "id": f"level-{n}-{who}"}] for who in ("one", "two")]
            sent = [
                threads.submit(client.put, "/v1/alert-rules", json={"rules": own}, headers=tag)
                for client, own in zip((one, two), rules, strict=True)
            ]
            statuses = [each.result().status_code for each in sent]
            assert sorted(statuses) == [200, 412]
            stored = [rule["id"] for rule in one.get("/v1/alert-rules").json()["rules"]]
            assert stored == [rules[statuses.index(200)][0]["id"]]
    if other is not store:
        other.close()


def test_an_account_that_is_deleted_is_no_longer_watched(client: TestClient) -> None:
    client.put("/v1/accounts/main", json=ACCOUNT)
    client.put("/v1/alert-rules", json={"rules": [LEVEL]})
    rounds(client)
    assert client.get("/v1/alerts", params={"state": "open"}).json()["alerts"]
    client.delete("/v1/accounts/main")
    rounds(client)
    assert client.get("/v1/alerts", params={"state": "open"}).json()["alerts"] == []


@pytest.mark.parametrize(
    ("rules", "path"),
    [
        ([LEVEL, LEVEL], "rules[1].id"),
        ([{**LEVEL, "escalation": [{"channels": ["nowhere"]}]}], "rules[0].escalation"),
        ([{"id": "x", "kind": "distance"}], "rules[0]"),
        ([{**LEVEL, "limit": "1e3"}], "rules[0].limit"),
        ([{**LEVEL, "colour": "red"}], "rules[0].colour"),
        ([LEVEL] * 201, "rules"),
    ],
)
def test_rules_that_make_no_sense(client: TestClient, rules: list[Any], path: str) -> None:
    found = client.put("/v1/alert-rules", json={"rules": rules})
    assert found.status_code == 422
    assert path in [fault["path"] for fault in found.json()["faults"]]
    assert client.get("/v1/alert-rules").json()["rules"] == []


def test_tenants_are_apart(store: Store) -> None:
    made = {name: create_token(store, name, "t", ("read", "command"), who="test", days=None) for name in ("one", "two")}
    heads = {name: {"Authorization": f"Bearer {secret}"} for name, (secret, _) in made.items()}
    with TestClient(create_app(Settings(tokens=True), store), base_url="http://localhost") as client:
        for head in heads.values():
            client.put("/v1/accounts/main", json=ACCOUNT, headers=head)
        client.put("/v1/alert-rules", json={"rules": [LEVEL]}, headers=heads["one"])
        rounds(client)
        (mine, *_) = client.get("/v1/alerts", headers=heads["one"]).json()["alerts"]
        assert client.get("/v1/alerts", headers=heads["two"]).json() == {"alerts": []}
        assert client.get("/v1/alert-rules", headers=heads["two"]).json()["rules"] == []
        assert client.post(f"/v1/alerts/{mine['id']}/acknowledge", headers=heads["two"]).status_code == 404
        assert client.get("/v1/alerts", params={"state": "acknowledged"}, headers=heads["one"]).json() == {"alerts": []}


def test_the_test_button(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S", "hush")
    with served() as server:
        config = tmp_path / "monitor.toml"
        config.write_text(
            f"""
            [accounts.none]
            tenant = "local"
            [channels.hook]
            kind = "webhook"
            url = "http://127.0.0.1:{server.port}/"
            secret = "env:S"
            [channels.closed]
            kind = "webhook"
            url = "http://127.0.0.1:1/"
            secret = "env:S"
            [outward]
            allow_private = true
            ports = [{server.port}]
            """
        )
        app = create_app(Settings(monitor=str(config)), store)
        with TestClient(app, base_url="http://localhost") as client:
            key = {"Idempotency-Key": "once"}
            first = client.post("/v1/alerts/test", json={}, headers=key)
            assert client.post("/v1/alerts/test", json={}, headers=key).content == first.content
            assert client.post("/v1/alerts/test", json={"channel": "other"}).status_code == 422
    found = first.json()["channels"]
    assert found["hook"] == {"sent": True, "why": ""}
    assert found["closed"]["sent"] is False
    assert "not allowed" in found["closed"]["why"]
    (request,) = server.requests
    assert json.loads(request.body)["event"] == "test"


def test_the_thread_of_the_service_watches(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr("crossmargin.apps.monitor.service.PERIOD", 0.01)
    with TestClient(create_app(Settings(rate=1e6, burst=10**6), store), base_url="http://localhost") as client:
        client.put("/v1/accounts/main", json=ACCOUNT)
        client.put("/v1/alert-rules", json={"rules": [LEVEL]})
        until = time.monotonic() + 10
        while not (found := client.get("/v1/alerts").json()["alerts"]) and time.monotonic() < until:
            pass
    assert {one["rule"] for one in found} & {"level", "unknown"}
