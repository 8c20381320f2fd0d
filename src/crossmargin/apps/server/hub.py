"""The stream: what changes, to everyone of a tenant who listens; bounded, and nobody waits for a slow one."""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from crossmargin.apps.server.settings import Settings

_HEAD, _TAIL = '{"type": "accounts", "accounts": [', "]}"
"""What is around the row of an account (published under the key ("account", id)) in its message."""
_MERGED = 64 * 1024
"""Accounts are put into one message up to so many characters."""


@lru_cache(maxsize=64)
def _together(rows: tuple[str, ...]) -> str:
    """One message of many rows: one text for everybody who is told the same."""
    return _HEAD + ", ".join(rows) + _TAIL


def _is_row(key: object, text: str) -> bool:
    return isinstance(key, tuple) and key[0] == "account" and text.startswith(_HEAD)


class Listener:
    """One who listens: a bounded queue, in which a message takes the place of an older one of the same key."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting: OrderedDict[object, str] = OrderedDict()
        self._news = asyncio.Event()
        self.dropped = False

    def put(self, text: str, key: object | None) -> None:
        """Queue a message; a listener with a full queue is dropped: it reads too slowly to be told the truth.

        Rows of accounts alone drop nobody, many may change at once: they are told as a hint to fetch the accounts.
        """
        if key is not None and key in self._waiting:
            self._waiting[key] = text
        elif len(self._waiting) >= self._most and not self._told_as_hint():
            self.dropped = True
            self._waiting.clear()
        elif not self.dropped:
            self._waiting[object() if key is None else key] = text
        self._news.set()

    def _told_as_hint(self) -> bool:
        """Put one hint in the place of all rows that wait; whether there were any."""
        rows = [key for key, text in self._waiting.items() if _is_row(key, text)]
        for key in rows:
            del self._waiting[key]
        if rows:
            self._waiting["accounts"] = json.dumps({"type": "accounts", "reload": True})
        return bool(rows)

    async def next(self) -> str | None:
        """The next message, in the order in which their keys came; None where the listener is dropped."""
        while not self._waiting and not self.dropped:
            self._news.clear()
            await self._news.wait()
        if self.dropped:
            return None
        key, text = self._waiting.popitem(last=False)
        return self._with_more(text) if _is_row(key, text) else text

    def _with_more(self, text: str) -> str:
        """One message of the accounts that wait next to each other: sending is what costs when a thousand listen."""
        rows, size = [text[len(_HEAD) : -len(_TAIL)]], len(text)
        while self._waiting:
            key, more = next(iter(self._waiting.items()))
            size += len(more)
            if not _is_row(key, more) or size > _MERGED:
                break
            del self._waiting[key]
            rows.append(more[len(_HEAD) : -len(_TAIL)])
        return text if len(rows) == 1 else _together(tuple(rows))


class Hub:
    """Everyone who listens, by tenant."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._listeners: dict[str, set[Listener]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def join(self, tenant: str) -> Listener:
        """A new listener."""
        self._loop = asyncio.get_running_loop()
        listener = Listener(self._settings.queue)
        self._listeners.setdefault(tenant, set()).add(listener)
        return listener

    def leave(self, tenant: str, listener: Listener) -> None:
        """One listener less."""
        self._listeners.get(tenant, set()).discard(listener)

    def count(self) -> int:
        """How many listen."""
        return sum(map(len, self._listeners.values()))

    def publish(self, tenant: str, message: Mapping[str, Any], key: object | None = None) -> None:
        """Tell a tenant's listeners, from any thread; ``key``: what a newer message of the same key replaces.

        A message is plain JSON data and has a ``type``. One that is larger than a message may be is told as its type
        only, with ``reload``: the listener fetches what it says.
        """
        text = json.dumps(message, ensure_ascii=False)
        if len(text.encode()) > self._settings.most_message:
            text = json.dumps({"type": message["type"], "reload": True})
        loop = self._loop
        if loop is None or loop.is_closed():
            return  # nobody has ever listened
        loop.call_soon_threadsafe(self._deliver, tenant, text, key)

    def _deliver(self, tenant: str, text: str, key: object | None) -> None:
        for listener in self._listeners.get(tenant, ()):
            listener.put(text, key)
