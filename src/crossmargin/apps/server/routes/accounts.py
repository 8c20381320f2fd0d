"""The accounts of a tenant: put, read, list, forget, and how they stood."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from crossmargin.apps.server.bodies import JSON, body_schema, parsed, read_body
from crossmargin.apps.server.problems import Problem, not_found
from crossmargin.apps.server.routes.changes import change, matches
from crossmargin.apps.server.security import Caller, command, read
from crossmargin.apps.server.settings import Settings
from crossmargin.apps.server.state import state_of
from crossmargin.apps.store.keeping import judged, keep
from crossmargin.apps.store.store import Answer, Store, Stored
from crossmargin.files.accounts import AccountFile
from crossmargin.model.market import Instant
from crossmargin.model.report import to_json

router = APIRouter(prefix="/v1/accounts")
Id = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$")]
Hash = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$")]


def listed(request: Request, stored: Stored) -> dict[str, Any]:
    """What the list and the stream show of an account."""
    found: dict[str, Any] = json.loads(stored.summary)
    settings: Settings = state_of(request).settings
    age = (datetime.now(UTC) - datetime.fromisoformat(found["as_of"])).total_seconds()
    # prices of the future have no age that is known: one of the two clocks is wrong
    old = age > settings.stale_after or age < -settings.ahead
    return {**found, "taken_at": stored.taken_at, "snapshot": stored.snapshot, "stale": old}


@router.get("", summary="The accounts, each with its verdict and what is nearest to liquidating it.")
async def accounts(request: Request, caller: Annotated[Caller, Depends(read)]) -> dict[str, Any]:
    """``stale``: its prices are older than the service's limit."""
    store: Store = state_of(request).store

    def work() -> dict[str, Any]:
        with store.reading(caller.tenant) as tx:
            return {"accounts": [listed(request, stored) for stored in store.accounts(tx, caller.tenant)]}

    return await state_of(request).work.run(work)


@router.put(
    "/{id}",
    summary="Store an account as it is now; a snapshot of it stays in its history.",
    response_class=Response,
    responses={200: {"content": {JSON: {"schema": {"type": "object"}}}}},
    openapi_extra=body_schema(AccountFile),
)
async def put_account(request: Request, id: Id, caller: Annotated[Caller, Depends(command)]) -> Response:
    """With ``If-Match`` only where it is still that snapshot; with ``If-None-Match: *`` only where there is none."""
    data = await read_body(request)
    state = state_of(request)
    told: list[Stored] = []

    def write(tx: Any, ready: Any) -> Answer:
        before = state.store.account(tx, caller.tenant, id)
        _matches(request, before)
        (stored,) = keep(state.store, tx, caller.tenant, ready)
        state.store.audit(
            tx, caller.tenant, caller.who, "account.put", id, before.snapshot if before else "", stored.snapshot
        )
        told.append(stored)
        return Answer(200, f'"{stored.snapshot}"', to_json({"id": id, "snapshot": stored.snapshot}))

    def judge() -> Any:
        return judged({**parsed(data, state.settings.most_positions), "id": id}, id)

    response = await change(request, caller, data, judge, write)
    for stored in told:
        state.hub.publish(caller.tenant, {"type": "accounts", "accounts": [listed(request, stored)]}, ("account", id))
    return response


def _matches(request: Request, before: Stored | None) -> None:
    if before is not None and request.headers.get("if-none-match") == "*":
        raise Problem(412, "changed", "There is an account of this name", "read it, and put yours with its ETag")
    matches(request, None if before is None else before.snapshot, "The account has")


@router.get(
    "/{id}",
    summary="The account file as it is stored.",
    response_class=Response,
    responses={200: {"content": {JSON: {"schema": {"type": "object"}}}}, 304: {"description": "It is the same."}},
)
async def account(request: Request, id: Id, caller: Annotated[Caller, Depends(read)]) -> Response:
    """Its ETag is the hash of its content."""
    store: Store = state_of(request).store

    def work() -> tuple[Stored | None, str | None]:
        with store.reading(caller.tenant) as tx:
            found = store.account(tx, caller.tenant, id)
            return found, None if found is None else store.snapshot(tx, caller.tenant, id, found.snapshot)

    stored, text = await state_of(request).work.run(work)
    if stored is None or text is None:
        raise not_found("account", id)
    headers = {"ETag": f'"{stored.snapshot}"', "Cache-Control": "private, no-cache"}
    if headers["ETag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(text, headers=headers, media_type=JSON)


@router.delete("/{id}", status_code=204, summary="Forget an account with its history.", response_class=Response)
async def delete_account(request: Request, id: Id, caller: Annotated[Caller, Depends(command)]) -> Response:
    """That it was, and who forgot it, stays in the audit log."""
    state = state_of(request)

    def write(tx: Any, _ready: None) -> Answer:
        before = state.store.account(tx, caller.tenant, id)
        if before is None:
            raise not_found("account", id)
        _matches(request, before)
        state.store.delete_account(tx, caller.tenant, id)
        state.store.audit(tx, caller.tenant, caller.who, "account.delete", id, before.snapshot)
        return Answer(204, "", "")

    response = await change(request, caller, b"", lambda: None, write)
    state.hub.publish(caller.tenant, {"type": "accounts", "accounts": [], "deleted": [id]})
    return response


@router.get("/{id}/history", summary="How the account stood: one row a snapshot, oldest first, at most 1,000.")
async def history(
    request: Request,
    id: Id,
    caller: Annotated[Caller, Depends(read)],
    since: Annotated[Instant | None, Query(description="Only at or after this time.")] = None,
) -> dict[str, Any]:
    """A figure that is unknown is null."""
    store: Store = state_of(request).store
    start = "" if since is None else since.isoformat()

    def work() -> dict[str, Any]:
        with store.reading(caller.tenant) as tx:
            if store.account(tx, caller.tenant, id) is None:
                raise not_found("account", id)
            return {"history": [row._asdict() for row in store.history(tx, caller.tenant, id, start.partition("+")[0])]}

    return await state_of(request).work.run(work)


@router.get(
    "/{id}/snapshots/{snapshot}",
    summary="The account file of a snapshot.",
    response_class=Response,
    responses={200: {"content": {JSON: {"schema": {"type": "object"}}}}},
)
async def snapshot(request: Request, id: Id, snapshot: Hash, caller: Annotated[Caller, Depends(read)]) -> Response:
    """A snapshot never changes."""
    store: Store = state_of(request).store

    def work() -> str | None:
        with store.reading(caller.tenant) as tx:
            return store.snapshot(tx, caller.tenant, id, snapshot)

    text = await state_of(request).work.run(work)
    if text is None:
        raise not_found("snapshot", snapshot)
    return Response(text, headers={"Cache-Control": "private, immutable, max-age=31536000"}, media_type=JSON)
