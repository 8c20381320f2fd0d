"""Questions answered in processes of their own: the same bytes, the same errors, and a worker that dies is replaced."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from crossmargin.apps.server.app import create_app
from crossmargin.apps.server.hub import Listener
from crossmargin.apps.server.limits import Work
from crossmargin.apps.server.problems import Problem
from crossmargin.apps.server.settings import Settings
from crossmargin.apps.server.workers import tried
from crossmargin.apps.store.store import Store
from crossmargin.errors import AccountError, Fault

ACCOUNT: dict[str, Any] = {
    "profile": "plain-cross",
    "as_of": "2026-11-20T08:00:00Z",
    "balances": {"USDT": "1000"},
    "positions": [{"symbol": "BTC/USDT:USDT", "quantity": "0.1", "entry_price": "50000", "leverage": "10"}],
    "market": {"mark_price": {"BTC/USDT:USDT": "51000"}},
    "instruments": [{"symbol": "BTC/USDT:USDT", "brackets": [{"notional_floor": "0", "maintenance_rate": "0.005"}]}],
}
BODIES: list[dict[str, Any]] = [
    {"account": ACCOUNT},
    {"account_id": "mine"},
    {"account_id": "nobody"},
    {"clearing_account": "nobody"},
    {"account": ACCOUNT, "account_id": "mine"},
    {"account": {**ACCOUNT, "market": {}}},
    {"account": {**ACCOUNT, "positions": [{"symbol": "nonsense"}]}},
    {"account": {**ACCOUNT, "open_orders": [{}] * 10_001}},
]
"""Bodies of every fate: 200, 404, 422 with faults, 413."""


@asynccontextmanager
async def asking(folder: Path, workers: int) -> AsyncIterator[tuple[httpx.AsyncClient, Any]]:
    store = Store(str(folder / f"{workers}.db"))
    app = create_app(Settings(workers=workers, timeout=60), store)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=60) as client:
        assert (await client.put("/v1/accounts/mine", json=ACCOUNT)).status_code == 200
        yield client, app
    app.state.work.close()
    store.close()


def test_a_worker_gives_the_bytes_and_the_errors_of_a_thread_and_is_replaced_when_it_dies(tmp_path: Path) -> None:
    async def told(workers: int) -> list[tuple[int, str]]:
        async with asking(tmp_path, workers) as (client, app):
            if workers:
                await app.state.work.begin()
                (first,) = app.state.work.crews["quick"].pids()
                assert first != os.getpid()
            found = [await client.post("/v1/questions/evaluate", json=body) for body in BODIES]
            found.append(await client.post("/v1/figures/evaluate", json=BODIES[1]))
            if workers:
                os.kill(first, signal.SIGKILL)
                lost = await client.post("/v1/questions/evaluate", json=BODIES[0])
                assert lost.status_code == 503
                # the next one waits for the new worker
                again = await client.post("/v1/questions/evaluate", json=BODIES[0])
                assert (again.status_code, again.text) == (200, found[0].text)
                (second,) = app.state.work.crews["quick"].pids()
                assert second != first
            return [(one.status_code, one.text) for one in found]

    threads, processes = asyncio.run(told(0)), asyncio.run(told(1))
    assert [status for status, _ in threads] == [200, 200, 404, 404, 422, 422, 422, 413, 200]
    assert processes == threads


@pytest.mark.parametrize(
    "error",
    [
        Problem(413, "too-large", "t", "d", faults=[Fault("a", "b", "c")], headers={"X": "y"}),
        AccountError("here", (Fault("a", "b", "c"), Fault("d", "", "e"))),
    ],
)
def test_an_error_comes_back_as_it_was_raised(error: Exception) -> None:
    import pickle

    found = pickle.loads(pickle.dumps(error))
    assert type(found) is type(error)
    assert (found.faults, str(found), vars(found)) == (error.faults, str(error), vars(error))


def test_an_error_that_cannot_travel_is_told_by_its_name() -> None:
    class LocalError(Exception):
        pass

    def breaks() -> None:
        raise LocalError("no")

    answer, error = tried(breaks)
    assert answer is None
    assert (type(error), str(error)) == (RuntimeError, "LocalError: no")


def test_what_computes_does_not_keep_changes_waiting() -> None:
    """While the one quick worker is held, a change goes through: they share neither process nor queue."""

    async def both() -> str:
        work = Work(Settings(workers=1, timeout=60))
        await work.begin()
        held = asyncio.create_task(work.apart(signal.pause))
        while not work.pending["quick"]:
            await asyncio.sleep(0)
        changed = await work.run(lambda: "changed", lane="change")
        assert not held.done()
        work.close()
        with pytest.raises(Problem):
            await held
        return changed

    assert asyncio.run(both()) == "changed"


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_prices_are_judged_in_a_process_that_gives_way_to_nobody(tmp_path: Path) -> None:
    async def told(workers: int) -> list[Any]:
        async with asking(tmp_path, workers) as (client, app):
            if workers:
                await app.state.work.begin()
                (quick,), (change,) = (app.state.work.crews[lane].pids() for lane in ("quick", "change"))
                assert os.getpriority(os.PRIO_PROCESS, change) == os.getpriority(os.PRIO_PROCESS, 0)
                assert os.getpriority(os.PRIO_PROCESS, quick) == 10
                assert await asyncio.to_thread(app.state.work.beside, os.getpid) == change
            body = {"as_of": "2026-11-20T09:00:00Z", "mark_price": {"BTC/USDT:USDT": "49000"}}
            found = await client.post("/v1/prices", json=body)
            moments = (await client.get("/v1/accounts/mine/history")).json()["history"]
            return [found.text, [row["equity"] for row in moments]]

    threads, processes = asyncio.run(told(0)), asyncio.run(told(1))
    # 1000 + 0.1 x (51000 - 50000), then 1000 + 0.1 x (49000 - 50000)
    assert threads[1] == ["1100", "900"]
    assert processes == threads


def test_what_takes_too_long_is_stopped_in_its_process_and_another_takes_its_place() -> None:
    async def story() -> None:
        work = Work(Settings(workers=1, timeout=0.2, slow_timeout=30))
        await work.begin()
        (first,) = work.crews["quick"].pids()
        for _ in range(2):  # the second waits in vain for its turn or for the new process
            with pytest.raises(Problem) as found:
                await work.apart(signal.pause)
            assert (found.value.status, found.value.kind) == (504, "too-slow")
        # a slow question has longer: its first worker starts meanwhile
        slow = await work.apart(os.getpid, lane="slow")
        assert [slow] == work.crews["slow"].pids()
        while _alive(first):
            await asyncio.sleep(0.01)
        second = None
        while second is None:
            try:
                second = await work.apart(os.getpid)
            except Problem as problem:  # it is still starting
                assert problem.status == 504
        assert second not in (first, slow, os.getpid())
        while work.pending["quick"]:
            await asyncio.sleep(0.01)
        work.close()

    asyncio.run(story())


def test_what_still_waits_at_its_limit_is_not_begun() -> None:
    async def story() -> list[str]:
        done: list[str] = []
        gate = threading.Event()
        work = Work(Settings(timeout=0.05))
        for each in (gate.wait, lambda: done.append("too late")):
            with pytest.raises(Problem):
                await work.run(each, lane="change")
        gate.set()
        while work.pending["change"]:
            await asyncio.sleep(0.001)
        await work.run(lambda: done.append("in time"), lane="change")
        work.close()
        return done

    assert asyncio.run(story()) == ["in time"]


def test_accounts_that_wait_next_to_each_other_are_told_in_one_message() -> None:
    def row(name: str, place: int = 0) -> str:
        return json.dumps({"type": "accounts", "accounts": [{"id": name, "at": place}]})

    async def told() -> list[Any]:
        listener = Listener(10)
        listener.put('{"type": "prices"}', ("prices",))
        for text, name in ((row("a"), "a"), (row("b"), "b")):
            listener.put(text, ("account", name))
        listener.put('{"type": "accounts", "accounts": [], "deleted": ["x"]}', None)
        listener.put(row("a", 1), ("account", "a"))
        listener.put('{"type": "accounts", "reload": true}', ("account", "large"))
        listener.put(row("c"), ("account", "c"))
        return [json.loads(await listener.next() or "") for _ in range(5)]

    prices, both, deleted, large, last = asyncio.run(told())
    assert prices == {"type": "prices"}
    assert both == {"type": "accounts", "accounts": [{"id": "a", "at": 1}, {"id": "b", "at": 0}]}
    assert deleted["deleted"] == ["x"]
    assert large == {"type": "accounts", "reload": True}
    assert last == {"type": "accounts", "accounts": [{"id": "c", "at": 0}]}
