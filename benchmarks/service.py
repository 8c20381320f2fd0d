"""How fast is the service? Evaluating a five-position account over HTTP on one worker, and what the way to it costs.

Run: python benchmarks/service.py [--write]. Clients and the service share the machine; --write puts the figures into
benchmarks/RESULTS.md.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from judge import account, median_ms, write

import crossmargin as cm
from crossmargin.files.accounts import case_from
from crossmargin.files.text import parse_table

TITLE = "## The service (`python benchmarks/service.py --write`)"
POSITIONS, TARGET = 5, 1000
PATH = "/v1/questions/evaluate"
REQUEST = "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {size}\r\n\r\n"


async def ask(port: int, path: str, body: bytes, until: float, times: list[float]) -> None:
    """One client on one connection: ask, read the answer, ask again."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    request = REQUEST.format(path=path, size=len(body)).encode() + body
    while time.perf_counter() < until:
        start = time.perf_counter()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(head.decode())
        size = next(
            int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
        )
        await reader.readexactly(size)
        times.append(time.perf_counter() - start)
    writer.close()


def load(port: int, path: str, body: bytes, clients: int, seconds: float) -> tuple[float, float, float]:
    """(requests a second, p50, p99 in milliseconds) of so many clients."""
    times: list[float] = []

    async def run() -> None:
        until = time.perf_counter() + seconds
        await asyncio.gather(*(ask(port, path, body, until, times) for _ in range(clients)))

    start = time.perf_counter()
    asyncio.run(run())
    spent = time.perf_counter() - start
    ordered = sorted(times)
    return len(times) / spent, statistics.median(ordered) * 1000, ordered[int(len(ordered) * 0.99)] * 1000


def processes(service: int) -> list[int]:
    """The service and the processes that it started to answer questions, on Linux."""
    threads = Path(f"/proc/{service}/task").glob("*/children")
    started = [int(pid) for children in threads for pid in children.read_text().split()]
    # those of questions give way to the service; the one that judges at new prices does not
    ours = os.getpriority(os.PRIO_PROCESS, service)
    return [service, *(pid for pid in started if os.getpriority(os.PRIO_PROCESS, pid) > ours)]


def spent(pids: list[int]) -> list[float]:
    """The processor time that each has taken, in milliseconds: it says more than a clock where others compute too."""
    fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
    return [(int(field[11]) + int(field[12])) * 1000 / os.sysconf("SC_CLK_TCK") for field in fields]


def shares(body: dict[str, object]) -> list[tuple[str, float]]:
    """What one answer is made of, in milliseconds, in this process and alone."""
    text = json.dumps({"account": body}).encode()
    case = case_from(body, "benchmark")
    report = cm.evaluate(*case)
    return [
        ("parsing the JSON", median_ms(lambda: parse_table(text, "benchmark", cm.AccountError, form="json"))),
        ("validating the account", median_ms(lambda: case_from(body, "benchmark"))),
        ("judging it exactly, with every line", median_ms(lambda: cm.evaluate(*case))),
        ("writing the answer", median_ms(lambda: cm.to_json(report))),
    ]


def measured(seconds: float) -> str:
    """The figures as Markdown."""
    body = account(POSITIONS)
    text = json.dumps({"account": body}).encode()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        words = ["serve", "--port", "0", "--no-open", "--empty", "--rate", "1000000", "--store", f"{folder}/s.db"]
        start = time.perf_counter()
        service = subprocess.Popen(
            [sys.executable, "-m", "crossmargin.apps.cli", *words], stdout=subprocess.PIPE, text=True
        )
        try:
            assert service.stdout is not None
            port = int(service.stdout.readline().split(":")[2].split("/")[0])
            load(port, PATH, text, 1, 0.2)
            ready = time.perf_counter() - start - 0.2
            while len(pids := processes(service.pid)) < 2 or load(port, PATH, text, 4, 1)[0] == 0:
                time.sleep(0.1)  # the worker starts
            for clients in (1, 4, 16):
                before = spent(pids)
                rate, p50, p99 = load(port, PATH, text, clients, seconds)
                door, worker = ((b - a) / (rate * seconds) for a, b in zip(before, spent(pids), strict=True))
                rows.append(
                    f"| {clients} | {rate:,.0f} | {p50:.2f} ms | {p99:.2f} ms | {door:.2f} ms | {worker:.2f} ms |\n"
                )
        finally:
            service.terminate()
            service.wait()
    parts = shares(body)
    bare = parts[2][1]
    whole = sum(ms for _, ms in parts)
    out = "| clients | answers a second | p50 | p99 | processor: the door | the worker |\n|---|---|---|---|---|---|\n"
    out += "".join(rows)
    out += "\nWhat one answer is made of, alone in one thread:\n\n| part | time |\n|---|---|\n"
    out += "".join(f"| {name} | {ms * 1000:.0f} µs |\n" for name, ms in parts)
    out += f"\nThese parts allow {1000 / whole:,.0f} answers a second; the bare judge, {1000 / bare:,.0f}. "
    out += f"The target of {TARGET:,} a second on one worker leaves {1000 / TARGET:.1f} ms for all of it. "
    out += f"From the command to the first answer: {ready:.2f} s.\n"
    return out


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="put the figures into benchmarks/RESULTS.md")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each load")
    given = parser.parse_args()
    found = measured(given.seconds)
    sys.stdout.write(found)
    if given.write:
        machine = f"{platform.machine()}, Python {platform.python_version()}, one worker; clients on the same machine. "
        basis = f"`evaluate` of an account of {POSITIONS} positions sent with the request.\n\n"
        write(machine + basis + found, TITLE)
