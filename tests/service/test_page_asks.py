"""What the page relies on: an account is made only where there is none, and a report may be asked without its lines."""

from __future__ import annotations

from starlette.testclient import TestClient

from .conftest import account


def test_an_account_is_made_only_where_there_is_none(client: TestClient) -> None:
    fresh = {"If-None-Match": "*"}
    first = client.put("/v1/accounts/desk", json=account(), headers=fresh)
    assert first.status_code == 200
    second = client.put("/v1/accounts/desk", json=account("article-2.1-cross"), headers=fresh)
    assert (second.status_code, second.json()["title"]) == (412, "There is an account of this name")
    assert client.get("/v1/accounts/desk").headers["etag"] == first.headers["etag"]
    assert len(client.get("/v1/accounts/desk/history").json()["history"]) == 1
    assert client.delete("/v1/accounts/desk").status_code == 204
    assert client.put("/v1/accounts/desk", json=account(), headers=fresh).status_code == 200


def test_a_report_without_its_lines_is_the_same_report(client: TestClient) -> None:
    whole = client.post("/v1/questions/evaluate", json={"account": account()}).json()
    short = client.post("/v1/questions/evaluate", json={"account": account(), "options": {"lines": False}}).json()
    # article 3.1: 10,000 + 2,000 + 0 - 7,500 of equity, 2 % of 250,000 of maintenance margin
    assert (short["equity"], short["maintenance_margin"]) == ("4500", "5000")
    assert whole["lines"] != []
    assert short == {**whole, "lines": []}
