"""How does the service stand a flood? Prices to stream alone and under load, and commands to the books a second.

Run: python benchmarks/load.py [--write] [--seconds 20]. The service runs as `crossmargin serve` does, in a process of
its own; a second process asks it questions over many connections as fast as it answers, with a thousand listeners on
the stream and one that never reads. Measured here: from prices sent to the last account's news on a stream.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import websockets
from judge import write

from clearing import Flow

TITLE = "## Under load (`python benchmarks/load.py --write`)"
ACCOUNTS = 10
TICKS_A_SECOND = 10
COINS = ("BTC", "ETH", "SOL", "XRP", "DOGE")
LINES = "application/x-ndjson"
MOMENTS = itertools.count()


class Connection:
    """One kept-alive HTTP connection: no more of a client than is needed to keep a service busy."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def ask(
        self, method: str, path: str, body: bytes = b"", media: str = "application/json"
    ) -> tuple[int, bytes]:
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {media}\r\nContent-Length: {len(body)}\r\n"
        )
        self._writer.write(f"{head}\r\n".encode() + body)
        found = await self._reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", found)
        answer = await self._reader.readexactly(int(length[1]) if length else 0)
        return int(found[9:12]), answer


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[Connection]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Connection(reader, writer)
    finally:
        writer.close()


def listening(port: int) -> websockets.connect:
    return websockets.connect(f"ws://127.0.0.1:{port}/v1/stream", max_size=None, ping_interval=None, compression=None)


def account() -> dict[str, object]:
    """Five positions with brackets of their own, so that no venue's table matters."""
    brackets = [{"notional_floor": f, "maintenance_rate": r} for f, r in (("0", "0.005"), ("50000", "0.01"))]
    symbols = [f"{coin}/USDT:USDT" for coin in COINS]
    return {
        "profile": "plain-cross",
        "as_of": "2026-11-20T08:00:00Z",
        "balances": {"USDT": "100000"},
        "positions": [
            {"symbol": s, "quantity": str(i + 1), "entry_price": "1000", "leverage": "10"}
            for i, s in enumerate(symbols)
        ],
        "market": {"mark_price": dict.fromkeys(symbols, "1010")},
        "instruments": [{"symbol": s, "brackets": brackets, "taker_fee": "0.0005"} for s in symbols],
    }


@contextmanager
def served(folder: str) -> Iterator[int]:
    """The port of a service with books."""
    books = f"{folder}/books.db"
    command = [sys.executable, "-m", "crossmargin.apps.cli"]
    subprocess.run(
        [*command, "clearing", "init", "-j", books, "--set", "max_age_seconds=3600"], check=True, capture_output=True
    )
    words = ["serve", "--port", "0", "--no-open", "--empty", "--rate", "1000000", "--store", f"{folder}/service.db"]
    process = subprocess.Popen([*command, *words, "--journal", books], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        found = re.search(r":(\d+)/", process.stdout.readline())
        assert found is not None
        yield int(found[1])
    finally:
        process.terminate()
        process.wait()


async def ready(port: int) -> None:
    for _ in range(200):
        with contextlib.suppress(OSError):
            async with connected(port) as connection:
                await connection.ask("GET", "/health")
                await asyncio.sleep(5)  # workers start beside it
                return
        await asyncio.sleep(0.05)


# the flood, in a process of its own -----------------------------------------------------------------------------------


async def flood(port: int, connections: int, listeners: int) -> None:
    """Ask until the process is ended; prints how many answers there were every second."""
    body = json.dumps({"account": account()}).encode()
    count = 0

    async def asks() -> None:
        nonlocal count
        async with connected(port) as connection:
            while True:
                status, _ = await connection.ask("POST", "/v1/questions/evaluate", body)
                count += status == 200

    async def listens() -> None:
        async with listening(port) as socket:
            async for _ in socket:
                pass

    tasks = [asyncio.create_task(listens()) for _ in range(listeners)]
    if listeners:
        deaf, writer = await asyncio.open_connection("127.0.0.1", port)
        deaf._limit = 1  # one that asks for the stream and never reads it
        key = (
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
            + "A" * 22
            + "=="
        )
        writer.write(f"GET /v1/stream HTTP/1.1\r\nHost: localhost\r\n{key}\r\n\r\n".encode())
        writer.transport.pause_reading()
        await asyncio.sleep(3)
    tasks += [asyncio.create_task(asks()) for _ in range(connections)]
    while True:
        before = count
        await asyncio.sleep(1)
        print(count - before, flush=True)


@contextmanager
def flooded(port: int, connections: int, listeners: int) -> Iterator[list[int]]:
    """Answers a second of the flood, complete when it has ended."""
    rates: list[int] = []
    words = [sys.executable, __file__, "--flood", str(port), str(connections), str(listeners)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()  # it has begun
    try:
        yield rates
    finally:
        process.terminate()
        rates += [int(line) for line in process.stdout.read().split()[1:-1]]
        process.wait()


# what is measured -----------------------------------------------------------------------------------------------------


async def risk_loop(port: int, seconds: float) -> list[float]:
    """Milliseconds from prices sent to the last account's news, tick by tick at their times."""
    found = []
    base = account()
    async with connected(port) as connection, listening(port) as socket:
        for i in range(ACCOUNTS):
            status, said = await connection.ask("PUT", f"/v1/accounts/a{i}", json.dumps(base).encode())
            assert status == 200, said
        with contextlib.suppress(TimeoutError):
            while True:
                await asyncio.wait_for(socket.recv(), 0.5)
        start = time.perf_counter()
        for tick in range(int(seconds * TICKS_A_SECOND)):
            due = start + tick / TICKS_A_SECOND
            await asyncio.sleep(max(0, due - time.perf_counter()))
            # a second further at each tick: prices that are not newer are ignored, those of the future refused
            when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(1_795_170_000 + next(MOMENTS)))
            marks = {f"{coin}/USDT:USDT": str(1000 + (tick * 7 + i) % 40) for i, coin in enumerate(COINS)}
            body = json.dumps({"as_of": when, "mark_price": marks}).encode()
            sent = time.perf_counter()
            asked = asyncio.create_task(connection.ask("POST", "/v1/prices", body))
            waiting = {f"a{i}" for i in range(ACCOUNTS)}
            while waiting:
                message = json.loads(await asyncio.wait_for(socket.recv(), 30))
                waiting -= {row["id"] for row in message.get("accounts", ()) if row["as_of"] == when}
            found.append((time.perf_counter() - sent) * 1000)
            status, said = await asked
            assert status == 200, said
    return found


async def commands(port: int, clients: int, group: int, count: int) -> float:
    """Commands a second over HTTP, each client sending its next group when the last is answered."""
    flow = Flow(200)
    names = iter(range(10**9))

    def fresh(lines: list[str]) -> list[bytes]:
        run = f"{clients}-{group}-{next(names)}"
        return [json.dumps({**json.loads(one), "command_id": f"{run}-{i}"}).encode() for i, one in enumerate(lines)]

    async with connected(port) as connection:
        setup = fresh([line for line in flow.setup if '"kind": "start"' not in line])
        for start in range(0, len(setup), 500):
            status, said = await connection.ask(
                "POST", "/v1/clearing/commands", b"\n".join(setup[start : start + 500]), LINES
            )
            assert status == 200, said
    lines = fresh(flow.mixed(count))
    groups = [b"\n".join(lines[i : i + group]) for i in range(0, len(lines), group)]

    async def sends(mine: list[bytes]) -> None:
        async with connected(port) as connection:
            for body in mine:
                status, said = await connection.ask("POST", "/v1/clearing/commands", body, LINES)
                assert status == 200, said

    start_at = time.perf_counter()
    await asyncio.gather(*(sends(groups[i::clients]) for i in range(clients)))
    return count / (time.perf_counter() - start_at)


def row(name: str, found: list[float], flood_rate: str = "") -> str:
    ordered = sorted(found)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    figures = " | ".join(f"{figure:.1f}" for figure in (statistics.median(ordered), p99, ordered[-1]))
    line = f"| {name} | {len(ordered)} | {figures} | {flood_rate} |\n"
    sys.stderr.write(line)
    return line


def table(seconds: float) -> str:
    """Every measurement as Markdown."""
    head = "| prices to stream | ticks | median ms | p99 ms | slowest ms | questions answered a second |\n"
    head += "|---|---|---|---|---|---|\n"
    rows = []
    with tempfile.TemporaryDirectory() as folder, served(folder) as port:
        asyncio.run(ready(port))
        rows.append(row("alone", asyncio.run(risk_loop(port, seconds))))
        with flooded(port, 0, 1000):
            rows.append(row("1,000 listeners, one that never reads", asyncio.run(risk_loop(port, seconds))))
        with flooded(port, 32, 0) as rates:
            found = asyncio.run(risk_loop(port, seconds))
        rows.append(row("32 connections ask without pause", found, f"{statistics.mean(rates):,.0f}"))
        with flooded(port, 32, 1000) as rates:
            found = asyncio.run(risk_loop(port, seconds))
        rows.append(row("both", found, f"{statistics.mean(rates):,.0f}"))
    text = head + "".join(rows) + "\n| commands over HTTP, durable | a second |\n|---|---|\n"
    for words, clients, group, count in (
        ("one client, one command a request", 1, 1, 1000),
        ("32 clients, one command a request", 32, 1, 6000),
        ("one client, 100 commands a request", 1, 100, 20_000),
        ("8 clients, 100 commands a request", 8, 100, 30_000),
    ):
        with tempfile.TemporaryDirectory() as folder, served(folder) as port:
            asyncio.run(ready(port))
            text += f"| {words} | {asyncio.run(commands(port, clients, group, count)):,.0f} |\n"
    return text


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="put the table into benchmarks/RESULTS.md")
    parser.add_argument("--seconds", type=float, default=20, help="how long each state of load is measured")
    parser.add_argument("--flood", nargs=3, type=int, metavar=("PORT", "CONNECTIONS", "LISTENERS"))
    asked = parser.parse_args()
    if asked.flood:
        os.nice(19)  # clients have machines of their own: here they must not take the service's
        asyncio.run(flood(*asked.flood))
    found_text = table(asked.seconds)
    sys.stdout.write(found_text)
    if asked.write:
        load = os.getloadavg()[0]
        words = f"{platform.machine()}, Python {platform.python_version()}, {os.cpu_count()} cores for service and "
        words += f"clients, which give way to it (nice 19); load of the machine at the end {load:.1f}. "
        words += f"{ACCOUNTS} stored accounts of five positions, "
        words += f"{TICKS_A_SECOND} prices a second.\n\n"
        write(words + found_text, TITLE)
