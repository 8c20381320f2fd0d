"""Requests that change something: once, however often they are sent, and written down."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response

from crossmargin.apps.server.bodies import JSON
from crossmargin.apps.server.limits import Lane
from crossmargin.apps.server.problems import Problem
from crossmargin.apps.server.security import Caller
from crossmargin.apps.server.state import state_of
from crossmargin.apps.store.store import Answer, Store, digest

T = TypeVar("T")
KEY = "idempotency-key"
_LONGEST = 128


async def change(
    request: Request,
    caller: Caller,
    data: bytes,
    judge: Callable[[], T],
    write: Callable[[Any, T], Answer],
    *,
    lane: Lane = "change",
) -> Response:
    """Judge, then write in one transaction with the answer that is given.

    With the header ``Idempotency-Key`` a request that is sent again gets the same bytes and changes nothing; another
    request under the same key is refused. ``lane``: where it is judged; what waits for others is not to hold up prices.
    """
    key = request.headers.get(KEY)
    if key is not None and not (0 < len(key) <= _LONGEST and key.isascii() and key.isprintable()):
        raise Problem(422, "invalid", "The key cannot be used", f"{KEY} must be 1 to {_LONGEST} printable ASCII signs")
    target = f"{request.method} {request.url.path} {request.headers.get('if-match', '')} "
    asked = digest(target + data.decode("utf-8", errors="backslashreplace"))
    store: Store = state_of(request).store

    def done() -> Answer:
        if key is not None:
            with store.reading(caller.tenant) as tx:
                earlier = _earlier(store, tx, caller.tenant, key, asked)
            if earlier is not None:
                return earlier
        ready = judge()
        with store.changing(caller.tenant) as tx:
            store.alone(tx, caller.tenant)  # what is compared with its ETag is still that when it is written
            # again: the same request may have been answered meanwhile
            earlier = None if key is None else _earlier(store, tx, caller.tenant, key, asked)
            if earlier is not None:
                return earlier
            answer = write(tx, ready)
            if key is not None:
                store.remember(tx, caller.tenant, key, asked, answer)
        return answer

    answer = await state_of(request).work.run(done, lane=lane)
    headers = {"ETag": answer.etag} if answer.etag else {}
    body = answer.body.encode() or None
    return Response(body, status_code=answer.status, headers=headers, media_type=JSON if body else None)


def matches(request: Request, before: str | None, what: str) -> None:
    """Refuse (412) to change what is another than its sender has read: ``before`` is its hash now, None: not there."""
    wanted = request.headers.get("if-match")
    if wanted is None:
        return
    tags = {tag.strip() for tag in wanted.split(",")}
    if before is None or not tags & {"*", f'"{before}"'}:
        raise Problem(412, "changed", f"{what} changed", "read again; the ETag is another")


def _earlier(store: Store, tx: Any, tenant: str, key: str, asked: str) -> Answer | None:
    found = store.answered(tx, tenant, key)
    if found is not None and found[0] != asked:
        raise Problem(409, "key-used", "This key was used for another request", f"send another {KEY}")
    return None if found is None else found[1]
