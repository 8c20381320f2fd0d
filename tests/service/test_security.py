"""Who may ask: addresses, hosts, origins, tokens, scopes, tenants, sessions; and what is written down of it."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect
from typer.testing import CliRunner

from crossmargin.apps.cli import app as cli
from crossmargin.apps.server.app import described
from crossmargin.apps.server.settings import Settings
from crossmargin.apps.store.store import Store
from crossmargin.apps.store.tables import AUDIT, TOKENS
from crossmargin.apps.store.tokens import create_token, revoke_token, tokens
from crossmargin.errors import AccountError

from .conftest import EVERY, STREAM, Serving, account

Token = Callable[..., dict[str, str]]


# where it listens -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "example.org"])
def test_it_listens_elsewhere_only_with_tokens(host: str) -> None:
    with pytest.raises(AccountError, match="nobody has a token") as found:
        Settings(host=host)
    assert found.value.exit_code == 2
    assert Settings(host=host, tokens=True).host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_the_loopback_needs_none(host: str) -> None:
    assert not Settings(host=host).tokens


def test_serve_refuses_and_names_the_remedy(where: str) -> None:
    found = CliRunner().invoke(cli, ["serve", "--host", "0.0.0.0", "--store", where, "--no-open"])
    assert isinstance(found.exception, AccountError)
    assert "crossmargin token create" in str(found.exception)


def test_a_port_in_use_is_said(where: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        found = CliRunner().invoke(cli, ["serve", "--port", port, "--store", where, "--no-open", "--empty"])
    assert isinstance(found.exception, AccountError)
    assert "--port" in str(found.exception)


# pages of others ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8765", "127.0.0.1.evil.example", "", "[::2]"])
def test_a_name_that_is_not_ours_is_refused(client: TestClient, host: str) -> None:
    found = client.get("/v1/accounts", headers={"Host": host})
    assert found.status_code == 421


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8765", "[::1]:8765", "LOCALHOST:1"])
def test_our_names_are_taken(client: TestClient, host: str) -> None:
    assert client.get("/v1/accounts", headers={"Host": host}).status_code == 200


def test_a_page_of_another_origin_changes_and_hears_nothing(client: TestClient) -> None:
    theirs = {"Origin": "https://evil.example"}
    assert client.put("/v1/accounts/a", json=account(), headers=theirs).status_code == 403
    assert client.post("/v1/questions/evaluate", json={"account": account()}, headers=theirs).status_code == 403
    assert client.put("/v1/accounts/a", json=account(), headers={"Origin": "http://localhost:1"}).status_code == 403
    with pytest.raises(WebSocketDisconnect) as closed, client.websocket_connect(STREAM, headers=theirs):
        pass
    assert closed.value.code == 1008
    assert client.put("/v1/accounts/a", json=account(), headers={"Origin": "http://localhost"}).status_code == 200


def test_a_form_cannot_be_sent_here(client: TestClient) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        found = client.put("/v1/accounts/a", content="{}", headers={"Content-Type": kind})
        assert found.status_code == 415


@pytest.mark.parametrize("path", ["/", "/health", "/v1/accounts", "/nowhere", "/openapi.json"])
def test_every_answer_keeps_browsers_on_this_origin(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert "script-src" not in policy  # so that default-src holds: no inline script, no eval, no other host
    assert headers["x-content-type-options"] == "nosniff"
    assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize(
    "path",
    ["/static/../app.py", "/static/%2e%2e/server/app.py", "/static/..%2f..%2f..%2f..%2fpyproject.toml", "/static/x.py"],
)
def test_only_files_of_the_page_are_served(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


def test_no_page_of_a_third_party(client: TestClient) -> None:
    assert client.get("/docs").status_code == 404
    assert client.get("/redoc").status_code == 404


# tokens ---------------------------------------------------------------------------------------------------------------


def routes(client: TestClient) -> list[tuple[str, str]]:
    """Every route that asks who asks, from the description."""
    free = {("GET", "/health"), ("POST", "/v1/session"), ("DELETE", "/v1/session")}
    found = [(method.upper(), path) for path, item in described(client.app)["paths"].items() for method in item]
    assert len(found) > 40
    return [route for route in found if route not in free]


def call(client: TestClient, method: str, path: str, headers: dict[str, str], name: str = "mine") -> Any:
    for part, value in {"{snapshot}": "0" * 64, "{venue}": "binance", "{id}": name}.items():
        path = path.replace(part, value)
    json = {"PUT": account(), "POST": {"account_id": name}}.get(method)
    return client.request(method, path, json=json, headers=headers)


def test_without_a_token_nothing_is_told(serving: Serving, token: Token) -> None:
    client = serving(tokens=True)
    for headers in (
        {},
        {"Authorization": "Bearer nonsense"},
        {"Authorization": "Basic YTpi"},
        {"Cookie": "crossmargin_session=x"},
    ):
        for method, path in routes(client):
            found = call(client, method, path, headers)
            assert found.status_code == 401, (method, path)
            assert found.headers["www-authenticate"] == "Bearer"
    with pytest.raises(WebSocketDisconnect), client.websocket_connect(STREAM):
        pass
    assert client.get("/health").status_code == 200


def test_each_scope_opens_its_own_doors_and_no_others(serving: Serving, token: Token) -> None:
    client = serving(tokens=True)
    needed = {}
    for method, path in routes(client):
        if path == "/v1/session":
            continue
        let = [scope for scope in EVERY if call(client, method, path, token("one", scope)).status_code != 403]
        assert len(let) == 1, (method, path, let)
        needed[method, path] = let[0]
    assert needed["GET", "/v1/accounts"] == "read"
    assert needed["POST", "/v1/questions/evaluate"] == "what-if"
    assert needed["PUT", "/v1/accounts/{id}"] == needed["POST", "/v1/prices"] == "command"
    assert needed["GET", "/v1/tokens"] == needed["GET", "/v1/audit"] == "admin"
    # whatever reads needs no more than read, and nothing that changes is open to who may only read or ask
    for (method, path), scope in needed.items():
        if method in ("PUT", "DELETE"):
            assert scope in ("command", "admin"), path


def test_a_token_is_kept_as_its_hash_only(store: Store, token: Token) -> None:
    secret = token()["Authorization"].removeprefix("Bearer ")
    assert len(secret) >= 43  # 256 bits in base64
    with store.reading(None) as tx:
        kept = [str(cell) for table in (TOKENS, AUDIT) for row in tx.execute(table.select()) for cell in row]
    assert not any(secret in cell for cell in kept)


def test_revoked_is_revoked_at_once(serving: Serving, store: Store, token: Token) -> None:
    client, header = serving(tokens=True), token("one")
    assert client.get("/v1/accounts", headers=header).status_code == 200
    with store.reading("one") as tx:
        (only,) = tokens(tx, "one")
    assert only.used_at is not None
    assert revoke_token(store, "two", only.id, who="another tenant") is None
    assert client.get("/v1/accounts", headers=header).status_code == 200
    revoke_token(store, "one", only.id, who="test")
    assert client.get("/v1/accounts", headers=header).status_code == 401


def test_an_expired_token_is_no_token(serving: Serving, store: Store) -> None:
    client = serving(tokens=True)
    secret, _ = create_token(store, "one", "a test", EVERY, who="test", days=-1)
    assert client.get("/v1/accounts", headers={"Authorization": f"Bearer {secret}"}).status_code == 401


def test_tokens_over_the_service_are_the_tenants_own(serving: Serving, token: Token) -> None:
    client, one, two = serving(tokens=True), token("one"), token("two")
    made = client.post("/v1/tokens", json={"name": "desk", "scopes": ["read"], "days": 1}, headers=one).json()
    assert made["scopes"] == ["read"]
    new = {"Authorization": f"Bearer {made['token']}"}
    assert client.get("/v1/accounts", headers=new).status_code == 200
    assert client.delete(f"/v1/tokens/{made['id']}", headers=two).status_code == 404
    assert made["id"] not in client.get("/v1/tokens", headers=two).text
    assert client.delete(f"/v1/tokens/{made['id']}", headers=one).status_code == 200
    assert client.get("/v1/accounts", headers=new).status_code == 401


# tenants --------------------------------------------------------------------------------------------------------------


def test_no_route_shows_what_another_tenant_has(serving: Serving, token: Token) -> None:
    client, one, two = serving(tokens=True), token("one"), token("two")
    made = client.put("/v1/accounts/canary-7f3a", json=account(), headers=one)
    snapshot = made.json()["snapshot"]
    for method, path in routes(client):
        if path.startswith("/v1/tokens"):
            continue  # ids of tokens: the test above
        where = path.replace("{snapshot}", snapshot)
        named = path.startswith("/v1/accounts/{id}")
        if method == "PUT":
            continue  # makes the tenant's own account of that id
        found = call(client, method, where, two, "canary-7f3a")
        asks = path.startswith(("/v1/questions/", "/v1/figures/")) and method == "POST"
        if named or (asks and found.status_code != 422):
            assert found.status_code == 404, (method, path, found.text)
        elif found.status_code == 200:
            assert "canary-7f3a" not in found.text, (method, path)
        else:
            # the body or the id is that of another route, and the answer says what is wrong with it
            assert found.status_code in (404, 409, 422), (method, path)
    assert client.get("/v1/accounts/canary-7f3a", headers=one).status_code == 200


def test_two_tenants_may_use_one_id(serving: Serving, token: Token) -> None:
    client, one, two = serving(tokens=True), token("one"), token("two")
    client.put("/v1/accounts/desk", json=account("article-3.1"), headers=one)
    client.put("/v1/accounts/desk", json=account("article-2.1-cross"), headers=two)
    # the article: 3.1 is liquidatable, the cross account of 2.1 holds 1,955 above its maintenance margin of 45
    told = [client.get("/v1/accounts", headers=who).json()["accounts"] for who in (one, two)]
    assert [row["status"] for rows in told for row in rows] == ["liquidation", "healthy"]
    assert client.delete("/v1/accounts/desk", headers=two).status_code == 204
    assert client.get("/v1/accounts/desk", headers=one).status_code == 200


# sessions -------------------------------------------------------------------------------------------------------------


def test_a_page_signs_in_proves_itself_and_signs_out(serving: Serving, token: Token) -> None:
    client = serving(tokens=True)
    secret = token("one")["Authorization"].removeprefix("Bearer ")
    assert client.get("/v1/session").status_code == 401
    assert client.post("/v1/session", json={"token": "wrong"}).status_code == 401
    signed = client.post("/v1/session", json={"token": secret})
    cookie = signed.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "crossmargin_session" in client.cookies
    assert client.get("/v1/accounts").status_code == 200
    assert client.put("/v1/accounts/a", json=account()).status_code == 403
    csrf = signed.json()["csrf"]
    assert csrf != secret
    assert client.get("/v1/session").json()["csrf"] == csrf
    assert client.put("/v1/accounts/a", json=account(), headers={"X-CSRF-Token": csrf[:-1] + "g"}).status_code == 403
    assert client.put("/v1/accounts/a", json=account(), headers={"X-CSRF-Token": csrf}).status_code == 200
    client.delete("/v1/session")
    assert client.get("/v1/session").status_code == 401


def test_one_user_needs_no_session(client: TestClient) -> None:
    told = client.get("/v1/session").json()
    assert told == {"mode": "local", "tenant": "local", "scopes": sorted(EVERY), "csrf": None}


# written down ---------------------------------------------------------------------------------------------------------


def test_what_is_changed_is_written_down_with_who_and_what(serving: Serving, token: Token) -> None:
    client, header = serving(tokens=True), token("one")
    first = client.put("/v1/accounts/a", json=account(), headers=header).json()["snapshot"]
    second = client.put("/v1/accounts/a", json=account("article-2.1-cross"), headers=header).json()["snapshot"]
    client.delete("/v1/accounts/a", headers=header)
    told = client.get("/v1/audit", headers=header).json()
    assert told["broken_at"] is None
    rows = [(row["what"], row["before"], row["after"]) for row in told["records"] if row["object"] == "a"]
    assert rows == [("account.put", "", first), ("account.put", first, second), ("account.delete", second, "")]
    assert all(re.fullmatch(r"token:[0-9a-f]{12}", row["who"]) for row in told["records"] if row["object"] == "a")


@pytest.mark.parametrize("column", ["at", "who", "what", "object", "before", "after", "hash", "deleted"])
def test_a_changed_record_is_found(client: TestClient, store: Store, column: str) -> None:
    for name in ("a", "b", "c"):
        client.put(f"/v1/accounts/{name}", json=account())
    with store.changing("local") as tx:
        second = sa.and_(AUDIT.c.tenant == "local", AUDIT.c.seq == 2)
        if column == "deleted":
            tx.execute(AUDIT.delete().where(second))
        else:
            tx.execute(AUDIT.update().where(second).values({column: "forged"}))
    assert client.get("/v1/audit").json()["broken_at"] == 2


def test_tokens_by_the_command_line(where: str, serving: Serving) -> None:
    def run(*words: str) -> Any:
        return CliRunner().invoke(cli, ["token", *words, "--store", where])

    made = run("create", "desk", "--tenant", "one", "--scope", "read")
    secret = made.stdout.strip()
    client = serving(tokens=True)
    header = {"Authorization": f"Bearer {secret}"}
    assert client.get("/v1/accounts", headers=header).status_code == 200
    assert client.put("/v1/accounts/a", json=account(), headers=header).status_code == 403
    listed = run("list", "--json").stdout
    assert secret not in listed
    (ident,) = re.findall(r'"id": "([0-9a-f]{12})"', listed)
    assert run("revoke", ident).exit_code == 0
    assert client.get("/v1/accounts", headers=header).status_code == 401
    assert isinstance(run("revoke", "nobody").exception, AccountError)
    assert isinstance(run("create", "x", "--scope", "root").exception, AccountError)
