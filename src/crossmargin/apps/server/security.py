"""Who asks, and whether they may: hosts, origins, tokens, scopes, sessions; and what every answer tells a browser."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from time import perf_counter
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crossmargin.apps.server.limits import Buckets, Work
from crossmargin.apps.server.metrics import Meter
from crossmargin.apps.server.problems import Problem
from crossmargin.apps.server.settings import LOCAL, Settings
from crossmargin.apps.server.state import state_of
from crossmargin.apps.store.store import Store, digest
from crossmargin.apps.store.tokens import Token, use_token

ScopeName = Literal["read", "what-if", "command", "admin"]
SCOPES: tuple[ScopeName, ...] = ("read", "what-if", "command", "admin")
COOKIE = "crossmargin_session"
CSRF = "x-csrf-token"
_SAFE = ("GET", "HEAD", "OPTIONS")

HEADERS = {
    # plotly sizes its drawings by style attributes and by rules that it adds; nothing else is allowed inline
    "content-security-policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}
"""On every answer."""


class Caller(NamedTuple):
    """Who asks: a tenant's token, or the one user of a service of one's own."""

    tenant: str
    who: str
    scopes: frozenset[str]
    csrf: str | None = None
    expires_at: str | None = None


def csrf_of(token: str) -> str:
    """What a page proves by that it was told by this service: known from the token, but not the token."""
    return hmac.new(token.encode(), b"csrf", hashlib.sha256).hexdigest()


class Guard:
    """Who is let in: one for each service."""

    def __init__(self, settings: Settings, store: Store, work: Work) -> None:
        self.settings, self.store, self._work = settings, store, work
        self._tokens = Buckets(settings.rate, settings.burst)

    async def caller(self, connection: HTTPConnection) -> Caller:
        """Who asks; a :class:`Problem` for nobody known. The store is asked every time: revoked is revoked at once."""
        if not self.settings.tokens:
            return Caller(LOCAL, LOCAL, frozenset(SCOPES))
        header = connection.headers.get("authorization", "")
        kind, _, bearer = header.partition(" ")
        cookie = "" if header else cookie_of(connection.headers)
        secret = bearer.strip() if kind.lower() == "bearer" else cookie
        if not secret:
            raise _unknown("send Authorization: Bearer TOKEN, or sign in")
        found = await self.known(secret)
        if found is None:
            raise _unknown("the token is not known, has expired or is revoked")
        self._tokens.take(found.id)
        csrf = csrf_of(secret) if cookie else None
        if csrf is not None and connection.scope.get("method", "GET") not in _SAFE:
            sent = connection.headers.get(CSRF, "")
            if not hmac.compare_digest(sent.encode(), csrf.encode()):
                raise Problem(403, "csrf", "The page must prove itself", f"send the header {CSRF} of GET /v1/session")
        return Caller(found.tenant, f"token:{found.id}", frozenset(found.scopes.split()), csrf, found.expires_at)

    async def known(self, secret: str) -> Token | None:
        """The token in force of a secret."""
        return await self._work.run(lambda: use_token(self.store, digest(secret)))


def cookie_of(headers: Headers) -> str:
    """The token in the session's cookie, or nothing."""
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return "" if found is None else found.value


def _unknown(why: str) -> Problem:
    return Problem(401, "unknown-caller", "Who asks is not known", why, headers={"WWW-Authenticate": "Bearer"})


def _needs(scope: ScopeName) -> Callable[[HTTPConnection], Awaitable[Caller]]:
    async def allowed(connection: HTTPConnection) -> Caller:
        caller: Caller = await state_of(connection).guard.caller(connection)
        if scope not in caller.scopes:
            raise Problem(403, "scope", "The token does not allow this", f"it needs the scope {scope}")
        return caller

    allowed.__name__ = f"needs_{scope}"
    return allowed


read, what_if, command, admin = (_needs(scope) for scope in SCOPES)


class Door:
    """The outermost room, as ASGI: host, origin, size and rate of every request, and the headers of every answer."""

    def __init__(self, app: ASGIApp, settings: Settings, meter: Meter) -> None:
        self._app, self._settings, self._meter = app, settings, meter
        self._addresses = Buckets(settings.rate, settings.burst)
        self._headers = [(name.encode(), value.encode()) for name, value in HEADERS.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or answer it here."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return

        start, begun = perf_counter(), False

        async def told(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                route = getattr(scope.get("route"), "path", "(none)")
                self._meter.count(scope["method"], route, message["status"], perf_counter() - start)
                present = {name for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(h for h in self._headers if h[0] not in present)]
            await send(message)

        try:
            self._check(scope)
            await self._app(scope, self._counted(receive) if scope["type"] == "http" else receive, told)
        except Problem as problem:
            await refuse(problem, scope, receive, told)
        except Exception:
            if scope["type"] == "http" and not begun:  # also a failure is counted, and bears the headers of an answer
                await refuse(Problem(500, "internal", "The service has failed at this"), scope, receive, told)
            raise  # the log says why

    def _check(self, scope: MutableMapping[str, Any]) -> None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if _name(host) not in self._settings.hosts:
            raise Problem(421, "host", "This service has another name", "start it with --name to be called so")
        origin = headers.get("origin")
        asks = scope["type"] == "websocket" or scope.get("method") not in _SAFE
        if asks and origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            raise Problem(403, "origin", "Pages of other origins may not ask here")
        client = scope.get("client")
        self._addresses.take(client[0] if client else "")
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > self._settings.most_body:
            raise too_large(self._settings)

    def _counted(self, receive: Receive) -> Receive:
        seen, whole = 0, False
        until = asyncio.get_running_loop().time() + self._settings.timeout

        async def counted() -> Message:
            nonlocal seen, whole
            if whole:
                return await receive()
            try:
                async with asyncio.timeout_at(until):
                    message = await receive()
            except TimeoutError:
                raise too_slow(self._settings) from None
            whole = not message.get("more_body", False)
            seen += len(message.get("body", b""))
            if seen > self._settings.most_body:
                raise too_large(self._settings)
            return message

        return counted


def too_large(settings: Settings) -> Problem:
    """The body has more bytes than are read."""
    return Problem(413, "too-large", "The body is too large", f"at most {settings.most_body:,} bytes are read")


def too_slow(settings: Settings) -> Problem:
    """The body does not come; who sends it byte by byte holds a connection for no longer than that."""
    why = f"it must be here within {settings.timeout:g} s"
    return Problem(408, "too-slow", "The body takes too long", why, headers={"Connection": "close"})


async def refuse(problem: Problem, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with a problem; a stream that is not open yet is closed."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": problem.title})
    else:
        await problem.response()(scope, receive, send)


def _name(host: str) -> str:
    """The name of a Host header without its port."""
    head, colon, port = host.rpartition(":")
    return (head if colon and port.isdecimal() else host).lower()
