"""How much one caller may ask, and how work is kept from the event loop: buckets, pools, a time limit."""

from __future__ import annotations

import asyncio
import math
import multiprocessing
import os
import pickle
import signal
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress
from importlib import import_module
from typing import Any, Literal, TypeVar, cast

from crossmargin.apps.server.problems import Problem
from crossmargin.apps.server.settings import Settings

T = TypeVar("T")
Lane = Literal["quick", "slow", "change"]
_KNOWN = 10_000
"""Callers remembered; who asked longest ago is forgotten first."""


class Buckets:
    """A token bucket for each caller: ``burst`` requests at once, ``rate`` a second after that."""

    def __init__(self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, caller: str) -> None:
        """Count one request; a :class:`Problem` with the seconds to wait where there is none left."""
        now = self._clock()
        left, when = self._left.pop(caller, (float(self._burst), now))
        left = min(float(self._burst), left + (now - when) * self._rate)
        if left < 1:
            self._left[caller] = (left, now)
            wait = str(math.ceil((1 - left) / self._rate))
            raise Problem(429, "too-many", "Too many requests", f"wait {wait} s", headers={"Retry-After": wait})
        self._left[caller] = (left - 1, now)
        if len(self._left) > _KNOWN:
            self._left.popitem(last=False)


class Work:
    """Threads that do what takes time, in lanes: quick questions, slow ones, and changes of what is stored.

    Whoever asks, prices and accounts come in on a lane of their own, and slow questions never keep quick ones waiting.
    Questions are answered in processes of their own where the service has such (``workers``): threads share one
    processor, and prices would wait for whoever computes.

    A thread cannot be stopped: after the time limit the caller gets an answer and the place is free again only when the
    work ends. When too much is waiting, the caller is told to come back.
    """

    def __init__(self, settings: Settings) -> None:
        self._timeout, self._most = settings.timeout, settings.waiting
        self._threads: dict[Lane, int] = {"quick": settings.threads, "slow": 1, "change": 1}
        self._pools: dict[Lane, ThreadPoolExecutor] = {}
        self._workers, self._processes = settings.workers, dict[Lane, ProcessPoolExecutor]()
        self._ready: set[Lane] = set()
        self.pending = dict.fromkeys(self._threads, 0)

    async def run(self, work: Callable[[], T], *, lane: Lane = "quick") -> T:
        """The result of ``work`` in a thread; a :class:`Problem` where it takes too long or too much waits."""
        return await self._in(self._pool(lane), lane, work)

    async def apart(self, work: Callable[..., T], *given: Any, lane: Lane = "quick") -> T:
        """The same in another process; ``work`` is a function of a module, what it is given and answers plain data."""
        pool = self._process(lane) if self._workers else None
        if pool is None:
            return await self.run(lambda: work(*given), lane=lane)
        try:
            answer, error = await self._in(pool, lane, tried, work, *given)
        except BrokenExecutor:  # it was killed, perhaps for its memory; the next request gets a new one
            self._processes.pop(lane, None)
            self._ready.discard(lane)
            pool.shutdown(wait=False, cancel_futures=True)
            raise Problem(503, "busy", "The worker is gone", "ask again", headers={"Retry-After": "1"}) from None
        if error is not None:
            raise error
        return cast("T", answer)

    async def begin(self) -> None:
        """Start the processes of quick questions; until they are there, threads answer."""
        while self._workers and self._process("quick") is None:
            await asyncio.sleep(0.05)

    async def _in(self, pool: Executor, lane: Lane, work: Callable[..., T], *given: Any) -> T:
        if self.pending[lane] >= self._most:
            raise Problem(503, "busy", "Too much is waiting", headers={"Retry-After": "1"})
        self.pending[lane] += 1
        future = asyncio.get_running_loop().run_in_executor(pool, work, *given)
        future.add_done_callback(lambda done: self._done(done, lane))
        try:
            return await asyncio.wait_for(asyncio.shield(future), self._timeout)
        except TimeoutError:
            why = f"it takes more than {self._timeout:g} s; ask by the command line or the library"
            raise Problem(504, "too-slow", "The answer takes too long", why) from None

    def _pool(self, lane: Lane) -> ThreadPoolExecutor:
        """The threads of a lane, made when they are first needed: a service that was ended may be started again."""
        if lane not in self._pools:
            self._pools[lane] = ThreadPoolExecutor(self._threads[lane], thread_name_prefix=lane)
        return self._pools[lane]

    def _process(self, lane: Lane) -> ProcessPoolExecutor | None:
        """The processes of a lane, None while they start; slow questions have one of their own."""
        if lane not in self._processes:
            count = self._workers if lane == "quick" else 1
            # a fork would take threads' locks with it as they are
            context = multiprocessing.get_context("spawn")
            pool = self._processes[lane] = ProcessPoolExecutor(count, mp_context=context, initializer=_prepared)
            pool.submit(int).add_done_callback(lambda done: None if _failed(done) else self._ready.add(lane))
        return self._processes[lane] if lane in self._ready else None

    def _done(self, done: asyncio.Future[T], lane: Lane) -> None:
        self.pending[lane] -= 1
        if not done.cancelled():
            done.exception()  # nobody may be left to look at it

    def close(self) -> None:
        """End threads without waiting for what cannot be stopped, and processes in the middle of it."""
        for pool in (*self._pools.values(), *self._processes.values()):
            pool.shutdown(wait=False, cancel_futures=True)
        if self._processes:
            for process in multiprocessing.active_children():
                process.terminate()
        self._pools.clear()
        self._processes.clear()
        self._ready.clear()


def tried(work: Callable[..., T], *given: Any) -> tuple[T | None, Exception | None]:
    """The result of work, or its error, in a form that leaves the process whole."""
    try:
        return work(*given), None
    except Exception as error:
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:
            return None, RuntimeError(f"{type(error).__name__}: {error}")
        return None, error


def _failed(done: Future[Any]) -> bool:
    return done.cancelled() or done.exception() is not None


def _prepared() -> None:
    """What a worker begins with: all it needs to answer; prices and books go first, an interrupt is for the service."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import_module("crossmargin.apps.server.routes.figures")
    if hasattr(os, "nice"):
        with suppress(OSError):  # a system that forbids it
            os.nice(5)
