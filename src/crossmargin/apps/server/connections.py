"""Connections below the application: no head may be awaited forever, and a message to many is written once."""

from __future__ import annotations

import asyncio
from functools import lru_cache
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame, Opcode

KEEP_ALIVE_SECONDS = 5
"""How long a connection is kept between two requests."""
PING_SECONDS = 20.0
"""How often a listener is asked whether it is there, and how long it may take to say so; then it is let go."""
HEAD_SECONDS = 10.0
"""How long a client may take to send the head of a request, from its connection or from its first byte."""


@lru_cache(maxsize=64)
def framed(text: str) -> bytes:
    """A message of the stream as it is on the wire: the same for everybody who listens (RFC 6455, not masked)."""
    return Frame(Opcode.TEXT, text.encode()).serialize(mask=False)


class Streaming(WebSocketsSansIOProtocol):
    """A WebSocket without compression: that would be done again for every listener, and keep a window for each."""

    async def send(self, message: Any) -> None:
        """A text that is told to many goes out as it was made for the first; all else as ever."""
        text = message.get("text") if message["type"] == "websocket.send" else None
        if text is None or not self.writable.is_set() or not self._is_open():
            await super().send(message)
        else:
            self.transport.write(framed(text))

    def _is_open(self) -> bool:
        begun = self.handshake_complete and self.initial_response is None
        return begun and not self.close_sent and not self.disconnected and not self.transport.is_closing()


class Requests(HttpToolsProtocol):
    """A connection that is closed where the head of a request does not come in time."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Somebody is there: the first head is awaited."""
        super().connection_made(transport)
        self._await_head()

    def on_message_begin(self) -> None:
        """The first byte of a request: so is its head."""
        super().on_message_begin()
        self._await_head()

    def on_headers_complete(self) -> None:
        """The head is here; what follows is bounded by the door."""
        self._stop_waiting()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody is there any more."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _await_head(self) -> None:
        self._stop_waiting()
        self._late = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None
