"""The books of record over HTTP: commands, the journal, balances, accounts, and whether it is all as written.

The journal belongs to one tenant; to any other there is none.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from crossmargin.apps.server.bodies import JSON, read_body
from crossmargin.apps.server.books import GROUP, Books
from crossmargin.apps.server.problems import Problem, not_found
from crossmargin.apps.server.security import Caller, admin, command, read
from crossmargin.apps.server.state import state_of
from crossmargin.clearing.commands import canonical, decode
from crossmargin.clearing.statement import account_file, balances
from crossmargin.errors import AccountError, Fault
from crossmargin.model.report import to_json

router = APIRouter(prefix="/v1/clearing")
T = TypeVar("T")
LINES = "application/x-ndjson"
_COMMAND = {"type": "object", "properties": {"kind": {"type": "string"}, "command_id": {"type": "string"}}}
_COMMANDS = {
    "type": "object",
    "properties": {"commands": {"type": "array", "items": _COMMAND, "minItems": 1, "maxItems": GROUP}},
    "required": ["commands"],
    "additionalProperties": False,
}
_BODY = {
    "requestBody": {
        "required": True,
        "content": {JSON: {"schema": _COMMANDS}, LINES: {"schema": {"type": "string"}}},
    }
}
_TEXT: dict[int | str, dict[str, Any]] = {200: {"content": {LINES: {"schema": {"type": "string"}}}}}
_TABLE: dict[int | str, dict[str, Any]] = {200: {"content": {JSON: {"schema": {"type": "object"}}}}}


def books_of(request: Request, tenant: str) -> Books:
    """The books of a tenant; a :class:`Problem` that says how they are opened where there are none."""
    books: Books | None = state_of(request).books
    if books is None or books.tenant != tenant:
        how = "start the service with `crossmargin serve --journal WHERE` (and --journal-tenant where it has tokens)"
        raise Problem(404, "no-books", "No books are open here", how)
    return books


async def _waited(request: Request, future: Future[T]) -> T:
    try:
        # what is under way goes on: a request that gives up does not undo what is written
        return await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(future)), state_of(request).settings.timeout)
    except TimeoutError:
        why = "whether it has happened is known by sending the same again"
        raise Problem(504, "too-slow", "The answer takes too long", why) from None


@router.post(
    "/commands",
    summary="Commands to the books, each of them once; answered when they are durable.",
    response_class=Response,
    responses={200: {"content": {JSON: {"schema": {"type": "object"}}, LINES: {"schema": {"type": "string"}}}}},
    openapi_extra=_BODY,
)
async def commands(request: Request, caller: Annotated[Caller, Depends(command)]) -> Response:
    """JSON lines are answered by JSON lines, the bytes of `crossmargin clearing apply --answers`; a table by a table.

    A command that is refused is an answer like any other: look at each one's ``accepted``.
    """
    books = books_of(request, caller.tenant)
    media = LINES if request.headers.get("content-type", "").partition(";")[0].strip().lower() == LINES else JSON
    data = await read_body(request, media)
    lines = [one for one in data.splitlines() if one.strip()] if media == LINES else _listed(data)
    if not lines or len(lines) > GROUP:
        fault = Fault("commands", str(len(lines)), f"must be from 1 to {GROUP} in one request")
        raise Problem(413 if lines else 422, "commands", "Another number of commands is read", faults=[fault])
    answers = await _waited(request, books.submit(lines, caller.who))
    if media == LINES:
        return Response("".join(said + "\n" for said in answers), media_type=LINES)
    return Response(f'{{"answers":[{",".join(answers)}]}}', media_type=JSON)


def _listed(data: bytes) -> list[bytes]:
    """The commands of a table, each as the one text it has in the journal."""
    try:
        raw = decode(data.decode())
    except (ValueError, RecursionError) as error:
        raise AccountError("request", f"is not valid JSON: {error}") from None
    found = raw.get("commands") if isinstance(raw, dict) and raw.keys() == {"commands"} else None
    if not isinstance(found, list):
        raise AccountError("request", (Fault("commands", "", "must be the one key, and a list of commands"),))
    return [canonical(one).encode() for one in found]


@router.get(
    "/journal",
    summary="Records after a place, in order, as JSON lines with their hashes; empty at the end.",
    response_class=Response,
    responses=_TEXT,
)
async def journal(
    request: Request,
    caller: Annotated[Caller, Depends(read)],
    after: Annotated[int, Query(ge=0, lt=2**63, description="The seq of the last record that is known.")] = 0,
    limit: Annotated[int, Query(ge=1, le=GROUP, description="At most so many; a page is about a megabyte.")] = 100,
) -> Response:
    """The lines of `crossmargin clearing export`."""
    books = books_of(request, caller.tenant)
    lines = await state_of(request).work.run(lambda: books.page(after, limit))
    return Response("".join(one + "\n" for one in lines), media_type=LINES)


@router.get(
    "/balances", summary="What everybody holds, and that each asset adds up.", response_class=Response, responses=_TABLE
)
async def all_balances(
    request: Request,
    caller: Annotated[Caller, Depends(read)],
    owner: Annotated[str | None, Query(max_length=64, description="Only this account, @venue or @outside.")] = None,
) -> Response:
    """The bytes that `crossmargin clearing balances --json` prints."""
    books = books_of(request, caller.tenant)
    found = await _waited(request, books.ask(lambda state: balances(state, owner)))
    return Response(to_json(found), media_type=JSON)


@router.get(
    "/accounts/{id}", summary="An account of the books as an account file.", response_class=Response, responses=_TABLE
)
async def account(
    request: Request,
    id: Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")],
    caller: Annotated[Caller, Depends(read)],
) -> Response:
    """At the prices of the books; every question can be asked of it."""
    books = books_of(request, caller.tenant)
    found = await _waited(request, books.ask(lambda state: account_file(state, id)))
    if found is None:
        raise not_found("account", id)
    return Response(to_json(found), media_type=JSON)


@router.get(
    "/verify",
    summary="Go through the whole journal again, apart from the service.",
    response_class=Response,
    responses=_TABLE,
)
async def verify(request: Request, caller: Annotated[Caller, Depends(admin)]) -> Response:
    """What `crossmargin clearing verify --json` finds; it may take minutes."""
    found = await books_of(request, caller.tenant).verify()
    return Response(to_json(found), media_type=JSON)
