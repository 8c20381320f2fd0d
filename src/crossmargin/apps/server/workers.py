"""Processes that answer questions one after another: stopped past their time, and replaced when they are gone."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib import import_module
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any, TypeVar

from crossmargin.apps.server.problems import Problem

T = TypeVar("T")
_AGAIN = 1.0
"""Seconds until another process is tried where one did not start."""
_LAST = 10
"""How far processes of questions give way: a flood of them has only the time that prices and books leave."""


class Worker:
    """One process and the connection to it. It ends with the service: nobody is at the other end any more."""

    def __init__(self, *, gives_way: bool) -> None:
        """``gives_way``: whether whatever else this machine does goes before its work."""
        # a fork would take threads' locks with it as they are
        context = multiprocessing.get_context("spawn")
        self._ours, theirs = context.Pipe()
        self._process = context.Process(target=answering, args=(theirs, gives_way), daemon=True)
        self._process.start()
        theirs.close()

    @property
    def pid(self) -> int | None:
        """The process."""
        return self._process.pid

    def ready(self) -> bool:
        """Wait until it has all it needs to answer; False where it ends before."""
        try:
            self._ours.recv()
        except (EOFError, OSError):
            return False
        return True

    def ask(self, seconds: float, work: Callable[..., Any], given: tuple[Any, ...]) -> Any:
        """What ``work`` answers, as :func:`tried` tells it. Raises :class:`TimeoutError`, or :class:`EOFError` and
        :class:`OSError` where the process is gone; it is of no use after that."""
        self._ours.send((work, given))
        if not self._ours.poll(seconds):
            raise TimeoutError
        return self._ours.recv()

    def end(self) -> None:
        """Stop it in the middle of what it does."""
        self._process.kill()


class Crew:
    """The workers of a lane, and a thread for each that waits for its answers."""

    def __init__(self, name: str, count: int, seconds: float, *, gives_way: bool = True) -> None:
        """``seconds``: what takes longer is stopped."""
        self._seconds, self._gives_way = seconds, gives_way
        self._idle: SimpleQueue[Worker | None] = SimpleQueue()
        self._workers: set[Worker] = set()
        self._ended = threading.Event()
        self._count = count
        self.began = threading.Event()
        self.threads = ThreadPoolExecutor(count, thread_name_prefix=name)
        for _ in range(count):
            self._replace(None)

    def pids(self) -> list[int | None]:
        """The processes."""
        return [worker.pid for worker in list(self._workers)]

    def ask(self, work: Callable[..., T], *given: Any) -> T:
        """What ``work`` answers in a process, for one of the threads. Raises what it raises, or a :class:`Problem`."""
        worker = self._idle.get()
        if worker is None:
            raise _gone()
        try:
            answer, error = worker.ask(self._seconds, work, given)
        except TimeoutError:
            self._replace(worker)
            raise too_slow(self._seconds) from None
        except (EOFError, OSError):  # it was killed, perhaps for its memory
            self._replace(worker)
            raise _gone() from None
        self._idle.put(worker)
        if error is not None:
            raise error
        return answer  # type: ignore[no-any-return]

    def end(self) -> None:
        """Stop every process in the middle of what it does, and let go of who waits."""
        self._ended.set()
        self.threads.shutdown(wait=False, cancel_futures=True)
        for worker in list(self._workers):
            worker.end()
        for _ in range(self._count):
            self._idle.put(None)

    def _replace(self, worker: Worker | None) -> None:
        if worker is not None:
            self._workers.discard(worker)
            worker.end()
        threading.Thread(target=self._hire, name="hires", daemon=True).start()

    def _hire(self) -> None:
        """Start a process, again and again until one starts."""
        while not self._ended.is_set():
            worker = Worker(gives_way=self._gives_way)
            self._workers.add(worker)
            if self._ended.is_set():  # it began while the crew was ended
                worker.end()
            elif worker.ready():
                self._idle.put(worker)
                self.began.set()
                return
            self._workers.discard(worker)
            self._ended.wait(_AGAIN)


def too_slow(seconds: float) -> Problem:
    """The answer takes longer than its limit."""
    why = f"it takes more than {seconds:g} s; ask by the command line or the library"
    return Problem(504, "too-slow", "The answer takes too long", why)


def _gone() -> Problem:
    return Problem(503, "busy", "The worker is gone", "ask again", headers={"Retry-After": "1"})


# in the process -------------------------------------------------------------------------------------------------------


def answering(asked: Connection, gives_way: bool) -> None:
    """Answer what is asked, until nobody is there to ask."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is for the service
    import_module("crossmargin.apps.server.routes.figures")
    import_module("crossmargin.apps.server.routes.prices")
    if gives_way and hasattr(os, "nice"):
        with suppress(OSError):  # a system that forbids it
            os.nice(_LAST)
    with suppress(EOFError, OSError):
        asked.send(None)
        while True:
            work, given = asked.recv()
            asked.send(tried(work, *given))


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
