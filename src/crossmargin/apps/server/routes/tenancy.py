"""The tokens of a tenant, and who did what."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query
from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from crossmargin.apps.server.bodies import body_schema, parsed, read_body, validated
from crossmargin.apps.server.problems import not_found
from crossmargin.apps.server.security import Caller, ScopeName, admin
from crossmargin.apps.server.state import state_of
from crossmargin.apps.store.store import Store
from crossmargin.apps.store.tokens import Token, create_token, revoke_token, tokens
from crossmargin.model.noun import Noun

router = APIRouter(prefix="/v1")


class TokenBody(Noun):
    """A token to be made."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    scopes: Annotated[tuple[ScopeName, ...], Field(min_length=1, max_length=4)]
    days: Annotated[int, Field(ge=1, le=3650)] | None = None


def told(token: Token) -> dict[str, Any]:
    """What may be said of a token."""
    return {
        **{name: value for name, value in token._asdict().items() if name != "digest"},
        "scopes": token.scopes.split(),
    }


@router.get("/tokens", summary="The tokens of this tenant; never their secrets.")
async def list_tokens(request: Request, caller: Annotated[Caller, Depends(admin)]) -> dict[str, Any]:
    """Expired and revoked ones too."""
    store: Store = state_of(request).store

    def work() -> dict[str, Any]:
        with store.reading(caller.tenant) as tx:
            return {"tokens": [told(token) for token in tokens(tx, caller.tenant)]}

    return await state_of(request).work.run(work)


@router.post("/tokens", status_code=201, summary="Make a token for this tenant.", openapi_extra=body_schema(TokenBody))
async def make_token(request: Request, caller: Annotated[Caller, Depends(admin)]) -> Response:
    """Its secret is in this answer and nowhere else, so that it is not answered twice."""
    body = validated(TokenBody, parsed(await read_body(request), 0))
    store: Store = state_of(request).store

    def work() -> dict[str, Any]:
        scopes = tuple(dict.fromkeys(body.scopes))
        secret, made = create_token(store, caller.tenant, body.name, scopes, who=caller.who, days=body.days)
        return {"token": secret, **told(made)}

    return JSONResponse(await state_of(request).work.run(work, lane="change"), status_code=201)


@router.delete("/tokens/{id}", summary="Revoke a token, at once.")
async def end_token(
    request: Request, id: Annotated[str, Path(pattern=r"^[0-9a-f]{1,32}$")], caller: Annotated[Caller, Depends(admin)]
) -> dict[str, Any]:
    """The next request that bears it is refused."""
    store: Store = state_of(request).store

    def work() -> Token | None:
        return revoke_token(store, caller.tenant, id, who=caller.who)

    ended = await state_of(request).work.run(work, lane="change")
    if ended is None:
        raise not_found("token", id)
    return told(ended)


@router.get("/audit", summary="Who did what, in order, and whether the chain of records is whole.")
async def audit(
    request: Request,
    caller: Annotated[Caller, Depends(admin)],
    after: Annotated[int, Query(ge=0, lt=2**63)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> dict[str, Any]:
    """``broken_at``: the place of the first record that is not what was written, or null."""
    store: Store = state_of(request).store

    def work() -> dict[str, Any]:
        with store.reading(caller.tenant) as tx:
            rows = store.audit_log(tx, caller.tenant, after, limit)
            return {"records": [row._asdict() for row in rows], "broken_at": store.broken_audit(tx, caller.tenant)}

    return await state_of(request).work.run(work)
