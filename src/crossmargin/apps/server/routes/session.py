"""Signing in with a token, for pages: a cookie that no script reads, and a header that proves the page."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from crossmargin.apps.server.bodies import body_schema, parsed, read_body, validated
from crossmargin.apps.server.problems import Problem
from crossmargin.apps.server.security import COOKIE, Caller, Guard, csrf_of
from crossmargin.apps.server.state import state_of
from crossmargin.model.noun import Noun

router = APIRouter(prefix="/v1/session")


class SessionBody(Noun):
    """A token to sign in with."""

    token: Annotated[str, Field(min_length=1, max_length=200)]


def _told(request: Request, caller: Caller) -> dict[str, Any]:
    mode = "token" if state_of(request).settings.tokens else "local"
    return {"mode": mode, "tenant": caller.tenant, "scopes": sorted(caller.scopes), "csrf": caller.csrf}


@router.get("", summary="Who asks, what they may do, and what a page must send along.")
async def session(request: Request) -> dict[str, Any]:
    """401 where nobody known asks."""
    return _told(request, await state_of(request).guard.caller(request))


@router.post("", summary="Sign in.", openapi_extra=body_schema(SessionBody))
async def sign_in(request: Request) -> Response:
    """Sets a cookie that ends with the browser's session, or with the token."""
    body = validated(SessionBody, parsed(await read_body(request), 0))
    guard: Guard = state_of(request).guard
    if not guard.settings.tokens:
        return JSONResponse(_told(request, await guard.caller(request)))
    found = await guard.known(body.token)
    if found is None:
        raise Problem(
            401, "unknown-caller", "Who asks is not known", "the token is not known, has expired or is revoked"
        )
    caller = Caller(found.tenant, found.id, frozenset(found.scopes.split()), csrf_of(body.token))
    response = JSONResponse(_told(request, caller))
    secure = request.url.scheme == "https"
    response.set_cookie(COOKIE, body.token, httponly=True, samesite="strict", secure=secure, path="/")
    return response


@router.delete("", status_code=204, summary="Sign out.", response_class=Response)
async def sign_out() -> Response:
    """Takes the cookie away; the token itself stays in force."""
    response = Response(status_code=204)
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
    return response
