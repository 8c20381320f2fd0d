"""Connections as they are held: silence ends, there are only so many, and a message is the same bytes for everyone."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from websockets.asyncio.client import connect

from crossmargin.apps.server import connections
from crossmargin.apps.server.app import create_app
from crossmargin.apps.server.connections import Requests, Streaming, framed
from crossmargin.apps.server.settings import Settings
from crossmargin.apps.store.store import Store

ASKED = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"


@asynccontextmanager
async def served(store: Store, **more: Any) -> AsyncIterator[tuple[int, Any]]:
    """The port of a service in this loop, and its application."""
    app = create_app(Settings(), store)
    config = uvicorn.Config(
        app, log_level="critical", http=Requests, ws=Streaming, ws_per_message_deflate=False, lifespan="off", **more
    )
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        running = asyncio.create_task(server._serve([listening]))
        try:
            yield listening.getsockname()[1], app
        finally:
            server.should_exit = True
            await running
            app.state.work.close()


async def sent(port: int, data: bytes) -> tuple[bytes, asyncio.StreamWriter]:
    """The status line of what is answered; nothing where the connection ends without an answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    return await reader.readline(), writer


def during(store: Store, story: Callable[[int, Any], Awaitable[None]], **more: Any) -> None:
    async def run() -> None:
        async with served(store, **more) as (port, app):
            await asyncio.wait_for(story(port, app), 60)

    asyncio.run(run())


@pytest.mark.parametrize("head", [b"", b"GET /health HTTP/1.1\r\nHost: loc"])
def test_who_sends_no_whole_head_is_let_go(store: Store, monkeypatch: pytest.MonkeyPatch, head: bytes) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.05)

    async def story(port: int, _app: Any) -> None:
        said, writer = await sent(port, head)
        assert said == b""
        writer.close()

    during(store, story)


def test_a_head_in_time_is_answered_and_the_connection_lives_on(store: Store) -> None:
    async def story(port: int, _app: Any) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(2):
            writer.write(ASKED)
            assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 200 OK\r\n")
        writer.close()

    during(store, story)


@pytest.mark.parametrize(("others", "status"), [(1, b"200"), (2, b"503")])
def test_there_are_only_so_many_at_one_time(store: Store, others: int, status: bytes) -> None:
    async def story(port: int, _app: Any) -> None:
        held = [await sent(port, ASKED) for _ in range(others)]
        said, writer = await sent(port, ASKED)
        assert said.split()[1] == status
        for _, other in [*held, (said, writer)]:
            other.close()

    during(store, story, limit_concurrency=3)  # as `--connections 2`


def test_a_frame_is_that_of_the_standard() -> None:
    # RFC 6455, 5.7: a single-frame unmasked text message "Hello"
    assert framed("Hello") == bytes([0x81, 0x05, 0x48, 0x65, 0x6C, 0x6C, 0x6F])
    # 5.2: a length over 65,535 is told in eight bytes after 127
    assert framed("x" * 65_536)[:10] == bytes([0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0])


def test_everybody_who_listens_reads_the_same_and_nothing_is_compressed(store: Store) -> None:
    async def story(port: int, app: Any) -> None:
        where = f"ws://127.0.0.1:{port}/v1/stream"
        async with connect(where) as one, connect(where) as two:
            assert "Sec-WebSocket-Extensions" not in one.response.headers
            texts = []
            for size in (1, 200, 100_000):
                app.state.hub.publish("local", {"type": "alert", "text": "é€😀" * size})
                texts.append(await one.recv())
                assert await two.recv() == texts[-1]
            assert len(texts[1]) - len(texts[0]) == 3 * 199
            assert "reload" in texts[2]  # it would have been larger than a message may be

    during(store, story)
