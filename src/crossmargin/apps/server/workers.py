"""Processes that answer questions one after another: stopped past their time, and replaced when they are gone."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import pickle
import signal
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from io import BufferedReader
from multiprocessing.process import BaseProcess
from typing import Any, Self, TypeVar

from crossmargin.apps.server.problems import Problem

T = TypeVar("T")
_AGAIN = 1.0
"""Seconds until another process is tried where one did not start."""
_LAST = 10
"""How far processes of questions give way: a flood of them has only the time that prices and books leave."""
_LENGTH = struct.Struct("!Q")
"""What goes to a process and back is a pickle after its length: both ends are this program."""


class Worker:
    """One process and the connection to it. It ends with the service: nobody is at the other end any more."""

    def __init__(self, process: BaseProcess, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._process, self._reader, self._writer = process, reader, writer

    @classmethod
    async def started(cls, *, gives_way: bool) -> Self:
        """A worker that has all it needs to answer. Raises :class:`OSError` and :class:`EOFError` where none starts.

        ``gives_way``: whether whatever else this machine does goes before its work.
        """
        ours, theirs = socket.socketpair()
        # a fork would take threads' locks with it as they are
        process = multiprocessing.get_context("spawn").Process(target=answering, args=(theirs, gives_way), daemon=True)
        with theirs:
            await asyncio.to_thread(process.start)
        worker = cls(process, *await asyncio.open_connection(sock=ours))
        try:
            await worker._receive()
        except BaseException:  # nobody else knows of it: it must not outlive this call
            worker.end()
            raise
        return worker

    @property
    def pid(self) -> int | None:
        """The process."""
        return self._process.pid

    async def ask(self, seconds: float, work: Callable[..., Any], given: tuple[Any, ...]) -> Any:
        """What ``work`` answers, as :func:`tried` tells it. Raises :class:`TimeoutError`, or :class:`EOFError` and
        :class:`OSError` where the process is gone; it is of no use after that."""
        text = pickle.dumps((work, given))
        async with asyncio.timeout(seconds):
            self._writer.write(_LENGTH.pack(len(text)) + text)
            await self._writer.drain()
            return await self._receive()

    async def _receive(self) -> Any:
        (length,) = _LENGTH.unpack(await self._reader.readexactly(_LENGTH.size))
        return pickle.loads(await self._reader.readexactly(length))

    def end(self) -> None:
        """Stop it in the middle of what it does."""
        self._process.kill()
        self._writer.close()


class Crew:
    """The workers of a lane: whoever asks waits for one that is idle. For one event loop, which calls everything."""

    def __init__(self, count: int, seconds: float, *, gives_way: bool = True) -> None:
        """``seconds``: what takes longer is stopped."""
        self._seconds, self._gives_way = seconds, gives_way
        self._idle: asyncio.Queue[Worker | None] = asyncio.Queue()
        self._workers: set[Worker] = set()
        self._count = count
        self._tasks: set[asyncio.Task[Any]] = set()
        self._ended = False
        self.began = asyncio.Event()
        for _ in range(count):
            self._start(self._hire())

    def pids(self) -> list[int | None]:
        """The processes."""
        return [worker.pid for worker in self._workers]

    async def ask(self, work: Callable[..., T], *given: Any) -> T:
        """What ``work`` answers in a process. Raises what it raises, or a :class:`Problem`.

        Who stops waiting for a turn leaves nothing behind; who stops waiting for the answer leaves the process at it.
        """
        worker = await self._idle.get()
        if worker is None:
            raise _gone()
        answer: T = await asyncio.shield(self._start(self._asked(worker, work, given)))
        return answer

    def end(self) -> None:
        """Stop every process in the middle of what it does, and let go of who waits."""
        self._ended = True
        for worker in self._workers:
            worker.end()  # who waits for its answer is told that it is gone
        for _ in range(self._count + self._idle.qsize()):
            self._idle.put_nowait(None)

    async def _asked(self, worker: Worker, work: Callable[..., T], given: tuple[Any, ...]) -> T:
        try:
            found: tuple[T, Exception | None] = await worker.ask(self._seconds, work, given)
        except TimeoutError:
            self._replace(worker)
            raise too_slow(self._seconds) from None
        except (EOFError, OSError):  # it was killed, perhaps for its memory
            self._replace(worker)
            raise _gone() from None
        self._idle.put_nowait(worker)
        answer, error = found
        if error is not None:
            raise error
        return answer

    def _replace(self, worker: Worker) -> None:
        self._workers.discard(worker)
        worker.end()
        if not self._ended:
            self._start(self._hire())

    async def _hire(self) -> None:
        """Start a process, again and again until one starts."""
        while not self._ended:
            with suppress(EOFError, OSError):
                worker = await Worker.started(gives_way=self._gives_way)
                if self._ended:  # it began while the crew was ended
                    worker.end()
                    return
                self._workers.add(worker)
                self._idle.put_nowait(worker)
                self.began.set()
                return
            await asyncio.sleep(_AGAIN)

    def _start(self, work: Any) -> asyncio.Task[Any]:
        """Work that goes on by itself; the set keeps it from being collected on the way."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # nobody may be left to look at it


def too_slow(seconds: float) -> Problem:
    """The answer takes longer than its limit."""
    why = f"it takes more than {seconds:g} s; ask by the command line or the library"
    return Problem(504, "too-slow", "The answer takes too long", why)


def _gone() -> Problem:
    return Problem(503, "busy", "The worker is gone", "ask again", headers={"Retry-After": "1"})


# in the process -------------------------------------------------------------------------------------------------------


def answering(asked: socket.socket, gives_way: bool) -> None:
    """Answer what is asked, until nobody is there to ask."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is for the service
    import_module("crossmargin.apps.server.routes.figures")
    import_module("crossmargin.apps.server.routes.prices")
    gc.freeze()  # what is imported stays: collections need not go through it again and again
    if gives_way and hasattr(os, "nice"):
        with suppress(OSError):  # a system that forbids it
            os.nice(_LAST)
    with suppress(EOFError, OSError), asked.makefile("rb") as read:
        _send(asked, None)
        while True:
            (length,) = _LENGTH.unpack(_exactly(read, _LENGTH.size))
            work, given = pickle.loads(_exactly(read, length))
            _send(asked, tried(work, *given))


def _exactly(read: BufferedReader, length: int) -> bytes:
    found = read.read(length)
    if len(found) < length:
        raise EOFError
    return found


def _send(asked: socket.socket, value: Any) -> None:
    text = pickle.dumps(value)
    asked.sendall(_LENGTH.pack(len(text)) + text)


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
