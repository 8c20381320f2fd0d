"""The rules that are known, as the command line tells them."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from crossmargin.apps.server.bodies import JSON
from crossmargin.apps.server.problems import not_found
from crossmargin.apps.server.security import Caller, read
from crossmargin.apps.server.state import state_of
from crossmargin.files.profiles import load_profile, profile_ids
from crossmargin.model.report import to_json

router = APIRouter(prefix="/v1/profiles")
_ANSWER: dict[int | str, dict[str, Any]] = {200: {"content": {JSON: {"schema": {}}}}}


@router.get("", summary="Every profile, with its revisions.", response_class=Response, responses=_ANSWER)
async def profiles(request: Request, _caller: Annotated[Caller, Depends(read)]) -> Response:
    """As `crossmargin venues list --json`."""

    def work() -> str:
        from crossmargin.apps.verbs.venues import profile_row

        return to_json([profile_row(load_profile(name)) for name in profile_ids()])

    return Response(await state_of(request).work.run(work), media_type=JSON)


@router.get("/{id}", summary="The rules of a profile.", response_class=Response, responses=_ANSWER)
async def profile(
    request: Request,
    id: Annotated[str, Path(pattern=r"^[a-z0-9-]{1,64}$")],
    _caller: Annotated[Caller, Depends(read)],
    on: Annotated[date | None, Query(description="Those in force on this date, not the newest.")] = None,
) -> Response:
    """As `crossmargin venues show ID --json`."""

    def work() -> str:
        from crossmargin.apps.verbs.venues import rules_of, rules_told

        if id not in profile_ids():
            raise not_found("profile", id)
        return to_json(rules_told(rules_of(f"{id}@{on}" if on else id)))

    return Response(await state_of(request).work.run(work), media_type=JSON)
