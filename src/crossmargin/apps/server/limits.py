"""How much one caller may ask, and how work is kept from the event loop: buckets, pools, a time limit."""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, TypeVar

from crossmargin.apps.server.problems import Problem
from crossmargin.apps.server.settings import Settings
from crossmargin.apps.server.workers import Crew, too_slow

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
    """What takes time, in lanes: quick questions, slow ones, and changes of what is stored.

    Whoever asks, prices and accounts come in on a lane of their own, and slow questions never keep quick ones waiting.
    Where the service has processes (``workers``), questions are answered in some that give way to all else, and changes
    are judged in one that does not: threads share one processor, and prices would wait for whoever computes or talks.

    After the time limit of its lane the caller gets an answer. What still waits by then is not begun, what a process
    works at is stopped; a thread cannot be stopped: its place is free again only when the work ends. When too much is
    waiting, the caller is told to come back.
    """

    def __init__(self, settings: Settings) -> None:
        self._most, self._workers = settings.waiting, settings.workers
        self._threads: dict[Lane, int] = {"quick": settings.threads, "slow": 1, "change": 1}
        self._limits: dict[Lane, float] = {
            "quick": settings.timeout,
            "slow": settings.slow_timeout,
            "change": settings.timeout,
        }
        self._pools: dict[Lane, ThreadPoolExecutor] = {}
        self.crews: dict[Lane, Crew] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self.pending = dict.fromkeys(self._threads, 0)

    async def run(self, work: Callable[..., T], *given: Any, lane: Lane = "quick") -> T:
        """The result of ``work`` in a thread; a :class:`Problem` where it takes too long or too much waits."""
        self._enter(lane)
        begun = self._pool(lane).submit(work, *given)
        future = asyncio.wrap_future(begun)
        future.add_done_callback(lambda done: self._done(done, lane))
        try:
            async with asyncio.timeout(self._limits[lane]):
                return await asyncio.shield(future)
        except TimeoutError:
            begun.cancel()  # what waits is not begun any more
            raise too_slow(self._limits[lane]) from None

    async def apart(self, work: Callable[..., T], *given: Any, lane: Lane = "quick") -> T:
        """The same in another process; ``work`` is a function of a module, what it is given and answers plain data.

        Until the first process of quick questions is there, threads answer them.
        """
        crew = self._crew(lane) if self._workers else None
        if crew is None or (lane == "quick" and not crew.began.is_set()):
            return await self.run(work, *given, lane=lane)
        self._enter(lane)
        try:
            async with asyncio.timeout(self._limits[lane]):
                return await crew.ask(work, *given)
        except TimeoutError:
            raise too_slow(self._limits[lane]) from None
        finally:
            self.pending[lane] -= 1

    def beside(self, work: Callable[..., T], *given: Any) -> T:
        """What ``work`` answers in the process of changes, for a thread of that lane; ``work`` is as in :meth:`apart`.

        Without processes, and until the first is there, it is done in the thread itself.
        """
        crew = self.crews.get("change")
        if crew is None or self._loop is None or not crew.began.is_set():
            return work(*given)
        return asyncio.run_coroutine_threadsafe(crew.ask(work, *given), self._loop).result()

    async def begin(self) -> None:
        """Start the process of changes and those of quick questions, and wait for the first of each."""
        if self._workers:
            self._loop = asyncio.get_running_loop()
            for crew in (self._crew("change"), self._crew("quick")):
                await crew.began.wait()

    def _enter(self, lane: Lane) -> None:
        if self.pending[lane] >= self._most:
            raise Problem(503, "busy", "Too much is waiting", headers={"Retry-After": "1"})
        self.pending[lane] += 1

    def _pool(self, lane: Lane) -> ThreadPoolExecutor:
        """The threads of a lane, made when they are first needed: a service that was ended may be started again."""
        if lane not in self._pools:
            self._pools[lane] = ThreadPoolExecutor(self._threads[lane], thread_name_prefix=lane)
        return self._pools[lane]

    def _crew(self, lane: Lane) -> Crew:
        """The processes of a lane; slow questions have one of their own, and changes one that gives way to nobody."""
        if lane not in self.crews:
            count = self._workers if lane == "quick" else 1
            self.crews[lane] = Crew(count, self._limits[lane], gives_way=lane != "change")
        return self.crews[lane]

    def _done(self, done: asyncio.Future[T], lane: Lane) -> None:
        self.pending[lane] -= 1
        if not done.cancelled():
            done.exception()  # nobody may be left to look at it

    def close(self) -> None:
        """End threads without waiting for what cannot be stopped, and processes in the middle of it."""
        for pool in self._pools.values():
            pool.shutdown(wait=False, cancel_futures=True)
        for crew in self.crews.values():
            crew.end()
        self._pools.clear()
        self.crews.clear()
