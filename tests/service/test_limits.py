"""How much is taken: at the limit, one less and one more; and that nobody waits for who asks too much."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from datetime import date, timedelta
from typing import Any

import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from crossmargin.apps.server.hub import Hub, Listener
from crossmargin.apps.server.limits import Buckets, Work
from crossmargin.apps.server.problems import Problem
from crossmargin.apps.server.settings import Settings

from .conftest import ROOT, STREAM, Serving, account

JSON = {"Content-Type": "application/json"}


def padded(size: int) -> bytes:
    """A question of exactly so many bytes: blanks mean nothing in JSON."""
    text = json.dumps({"account": account()}).encode()
    return text + b" " * (size - len(text))


@pytest.mark.parametrize(("more", "status"), [(-1, 200), (0, 200), (1, 413)])
def test_a_body_has_at_most_so_many_bytes(client: TestClient, more: int, status: int) -> None:
    body = padded(Settings().most_body + more)
    assert client.post("/v1/questions/evaluate", content=body, headers=JSON).status_code == status


@pytest.mark.parametrize(("more", "status"), [(-1, 200), (0, 200), (1, 413)])
def test_a_body_that_does_not_say_its_size_is_counted(client: TestClient, more: int, status: int) -> None:
    body = padded(Settings().most_body + more)
    parts = (body[start : start + 65536] for start in range(0, len(body), 65536))
    found = client.post("/v1/questions/evaluate", content=parts, headers=JSON)
    assert found.request.headers.get("transfer-encoding") == "chunked"
    assert found.status_code == status


@pytest.mark.parametrize(("depth", "status"), [(31, 422), (32, 422), (33, 422)])
def test_nesting_is_bounded(client: TestClient, depth: int, status: int) -> None:
    inner: Any = "x"
    for _ in range(depth - 1):
        inner = [inner]
    found = client.post("/v1/questions/evaluate", json={"nested": inner})
    assert found.status_code == status
    # 32 levels are read, and then the key is not known; 33 are not read at all
    assert ("nested deeper than 32" in found.json()["detail"]) == (depth > 32)


def test_absurd_nesting_is_an_error_like_any_other(client: TestClient) -> None:
    found = client.post("/v1/questions/evaluate", content=b'{"account":' + b"[" * 200_000, headers=JSON)
    assert found.status_code == 422


@pytest.mark.parametrize("name", ["positions", "open_orders"])
@pytest.mark.parametrize(("count", "status"), [(9, 422), (10, 422), (11, 413)])
def test_positions_are_counted_before_they_are_read(serving: Serving, name: str, count: int, status: int) -> None:
    client = serving(most_positions=10)
    body = {"account": {**account(), name: [{}] * count}}
    found = client.post("/v1/questions/evaluate", json=body)
    assert found.status_code == status
    fund = {"fund": {"accounts": [{name: [{}] * (count - 5)}, {name: [{}] * 5}]}}
    assert client.post("/v1/questions/allocate", json=fund).status_code == status
    assert client.put("/v1/accounts/a", json=body["account"]).status_code == status


def many(count: int) -> dict[str, Any]:
    """Ten coins in expiries day by day, each held long and short: 2 contracts at 10, 1 % of maintenance margin.

    Every position has all the fields that a cross position may have, every contract its price and its brackets.
    """
    days = [date(2026, 12, 1) + timedelta(days=at) for at in range(count // 20)]
    names = [f"C{coin}/USDT:USDT-{day:%y%m%d}" for coin in range(10) for day in days]
    fields = {"entry_price": "10", "leverage": "5", "margin_mode": "cross"}
    return {
        "profile": "plain-cross",
        "as_of": "2026-11-20T08:00:00Z",
        "balances": {"USDT": "1000000"},
        "positions": [
            {"symbol": name, "quantity": quantity, "position_side": side, **fields}
            for name in names
            for side, quantity in (("long", "2"), ("short", "-2"))
        ],
        "market": {"mark_price": dict.fromkeys(names, "10")},
        "instruments": [
            {"symbol": name, "brackets": [{"notional_floor": "0", "maintenance_rate": "0.01"}]} for name in names
        ],
    }


def test_ten_thousand_positions_come_in_and_one_more_is_named(serving: Serving) -> None:
    most = Settings().most_positions
    assert most == 10_000
    client = serving(timeout=600)  # how long it takes is not asked here
    raw = many(most)
    body = json.dumps(raw).encode()
    assert len(raw["positions"]) == most and len(body) > 2**20
    assert client.put("/v1/accounts/many", content=body, headers=JSON).status_code == 200
    (stored,) = client.get("/v1/accounts").json()["accounts"]
    # 10,000 positions of 2 x 10 at 1 %
    assert (stored["status"], float(stored["maintenance_margin"]), float(stored["equity"])) == ("healthy", 2000, 1e6)
    raw["positions"].append({**raw["positions"][0], "margin_mode": "isolated", "isolated_margin": "1"})
    for method, path, sent in (("PUT", "/v1/accounts/more", raw), ("POST", "/v1/questions/evaluate", {"account": raw})):
        refused = client.request(method, path, json=sent)
        assert refused.status_code == 413
        assert refused.json()["faults"] == [
            {"path": "positions", "value": "10001", "why": "must be at most 10000 in one request"}
        ]


def test_the_door_and_what_stands_before_it_let_in_as_much() -> None:
    """A proxy set up by the page must not refuse what the service takes, nor take ten times that."""
    page = (ROOT / "docs" / "operating.md").read_text()
    (before,) = re.findall(r"client_max_body_size (\d+)m;", page)
    assert Settings().most_body <= int(before) * 2**20 < 2 * Settings().most_body


def test_messages_of_the_stream_are_bounded() -> None:
    assert Settings().most_message == 256 * 1024
    assert (Settings().queue, Settings().timeout) == (1000, 10.0)


# rates ----------------------------------------------------------------------------------------------------------------


def test_a_bucket_lets_so_many_through_and_says_when_to_come_back() -> None:
    clock = [100.0]
    buckets = Buckets(rate=2.0, burst=5, clock=lambda: clock[0])
    for _ in range(5):
        buckets.take("one")
    with pytest.raises(Problem) as found:
        buckets.take("one")
    assert (found.value.status, found.value.headers) == (429, {"Retry-After": "1"})
    buckets.take("two")  # another caller has a bucket of its own
    clock[0] += 0.49
    with pytest.raises(Problem):
        buckets.take("one")
    clock[0] += 0.01  # half a second at two a second
    buckets.take("one")
    clock[0] += 3600
    for _ in range(5):
        buckets.take("one")
    with pytest.raises(Problem):
        buckets.take("one")


def test_an_address_that_asks_too_often_is_told_so(serving: Serving) -> None:
    client = serving(rate=0.001, burst=3)
    assert [client.get("/health").status_code for _ in range(4)] == [200, 200, 200, 429]
    assert int(client.get("/health").headers["retry-after"]) > 1


def test_a_token_has_a_rate_of_its_own(serving: Serving, token: Any) -> None:
    client = serving(tokens=True, rate=1e-3, burst=100)
    header = token("one")
    client.app.state.guard._tokens._burst = 2
    assert [client.get("/v1/session", headers=header).status_code for _ in range(3)] == [200, 200, 429]


# time -----------------------------------------------------------------------------------------------------------------


def test_what_takes_too_long_is_answered_and_keeps_nobody_waiting() -> None:
    async def story() -> None:
        work = Work(Settings(timeout=0.05, slow_timeout=0.05, threads=1, waiting=2))
        gate = threading.Event()
        with pytest.raises(Problem) as found:
            await work.run(gate.wait, lane="slow")
        assert found.value.status == 504
        # the slow lane is still taken; the others are free
        assert await work.run(lambda: "quick") == "quick"
        assert await work.run(lambda: "kept", lane="change") == "kept"
        with pytest.raises(Problem):
            await work.run(gate.wait, lane="slow")
        with pytest.raises(Problem) as found:
            await work.run(lambda: "one too many", lane="slow")
        assert (found.value.status, found.value.headers) == (503, {"Retry-After": "1"})
        gate.set()
        work.close()

    asyncio.run(story())


def test_an_error_in_a_thread_is_the_callers() -> None:
    async def story() -> None:
        work = Work(Settings())
        with pytest.raises(ZeroDivisionError):
            await work.run(lambda: 1 // 0)
        assert work.pending == {"quick": 0, "slow": 0, "change": 0}
        work.close()

    asyncio.run(story())


# the stream -----------------------------------------------------------------------------------------------------------


def test_a_listener_that_never_reads_is_dropped_at_its_thousand_and_first_message() -> None:
    async def story() -> None:
        listener = Listener(1000)
        for number in range(1000):
            listener.put(str(number), None)
        assert not listener.dropped
        assert await listener.next() == "0"
        listener.put("1000", None)
        assert not listener.dropped
        listener.put("1001", None)
        assert listener.dropped
        assert await listener.next() is None

    asyncio.run(story())


def test_the_newest_of_one_key_is_told_in_the_place_of_the_first() -> None:
    async def story() -> None:
        listener = Listener(3)
        for text, key in (("a1", "a"), ("alert", None), ("b1", "b"), ("a2", "a"), ("b2", "b"), ("a3", "a")):
            listener.put(text, key)
        assert [await listener.next() for _ in range(3)] == ["a3", "alert", "b2"]

    asyncio.run(story())


@pytest.mark.parametrize(("more", "whole"), [(-1, True), (0, True), (1, False)])
def test_a_message_is_at_most_so_large_or_told_as_a_hint(more: int, whole: bool) -> None:
    async def story() -> str | None:
        hub = Hub(Settings())
        listener = hub.join("one")
        frame = len(json.dumps({"type": "accounts", "text": ""}))
        hub.publish("one", {"type": "accounts", "text": "x" * (256 * 1024 - frame + more)})
        return await listener.next()

    text = asyncio.run(story())
    assert text is not None
    assert ("reload" not in json.loads(text)) == whole
    assert json.loads(text)["type"] == "accounts"


@pytest.mark.parametrize(("more", "kept"), [(-1, True), (0, True), (1, False)])
def test_what_a_listener_sends_is_bounded(client: TestClient, more: int, kept: bool) -> None:
    with client.websocket_connect(STREAM) as stream:
        stream.send_text("x" * (256 * 1024 + more))
        if kept:
            client.put("/v1/accounts/a", json=account())
            assert stream.receive_json()["type"] == "accounts"
        else:
            with pytest.raises(WebSocketDisconnect) as closed:
                stream.receive_json()
            assert closed.value.code == 1009


def test_messages_go_to_their_tenant_only() -> None:
    async def story() -> None:
        hub = Hub(Settings())
        one, two = hub.join("one"), hub.join("two")
        hub.publish("two", {"type": "alert"})
        assert json.loads(await two.next() or "") == {"type": "alert"}
        assert not one._waiting
        assert hub.count() == 2
        hub.leave("two", two)
        assert hub.count() == 1

    asyncio.run(story())
