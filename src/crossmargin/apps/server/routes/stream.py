"""The stream: accounts, prices and alerts as they change, over a WebSocket."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable

import anyio
from fastapi import APIRouter
from starlette.websockets import WebSocket, WebSocketDisconnect

from crossmargin.apps.server.hub import Listener
from crossmargin.apps.server.problems import Problem
from crossmargin.apps.server.security import Caller
from crossmargin.apps.server.state import state_of

router = APIRouter()
_PING = 5.0
"""Seconds of silence after which a ping is sent, and after which the token is looked at again."""
_PATIENCE = 10.0
"""Seconds that one message may take to be read."""
_TOO_BIG, _POLICY, _SLOW = 1009, 1008, 1013


@router.websocket("/v1/stream")
async def stream(socket: WebSocket) -> None:
    """Send what changes until the other side goes; a listener that does not read is dropped."""
    state = state_of(socket)
    try:
        caller: Caller = await state.guard.caller(socket)
        if "read" not in caller.scopes:
            raise Problem(403, "scope", "The token does not allow this")
    except Problem as problem:
        await socket.close(_POLICY, problem.title)
        return
    await socket.accept()
    listener = state.hub.join(caller.tenant)
    try:
        async with anyio.create_task_group() as both:
            for side in (_send(socket, listener), _receive(socket)):
                both.start_soon(_until_one_ends, side, both.cancel_scope)
    finally:
        state.hub.leave(caller.tenant, listener)


async def _until_one_ends(side: Awaitable[None], both: anyio.CancelScope) -> None:
    await side
    both.cancel()


async def _send(socket: WebSocket, listener: Listener) -> None:
    checked = time.monotonic()
    while True:
        try:
            async with asyncio.timeout(_PING):  # no task of its own: this is the loop of every listener
                text = await listener.next()
        except TimeoutError:
            text = '{"type": "ping"}'
        if text is None:
            await _close(socket, _SLOW, "it is read too slowly")
            return
        if time.monotonic() - checked >= _PING:
            checked = time.monotonic()
            try:
                await state_of(socket).guard.caller(socket)
            except Problem as problem:
                await _close(socket, _POLICY, problem.title)
                return
        try:
            async with asyncio.timeout(_PATIENCE):
                await socket.send_text(text)
        except (RuntimeError, WebSocketDisconnect):
            return  # the other side has gone
        except TimeoutError:
            await _close(socket, _SLOW, "it is read too slowly")
            return


async def _receive(socket: WebSocket) -> None:
    """Nothing is expected from a listener; what comes is only measured."""
    most = state_of(socket).settings.most_message
    while True:
        try:
            message = await socket.receive()
        except (WebSocketDisconnect, RuntimeError):
            return
        if message["type"] == "websocket.disconnect":
            return
        data = message.get("bytes") or (message.get("text") or "").encode()
        if len(data) > most:
            await _close(socket, _TOO_BIG, f"a message is at most {most} bytes")
            return


async def _close(socket: WebSocket, code: int, why: str) -> None:
    with contextlib.suppress(RuntimeError, WebSocketDisconnect, TimeoutError):
        await asyncio.wait_for(socket.close(code, why), _PATIENCE)
