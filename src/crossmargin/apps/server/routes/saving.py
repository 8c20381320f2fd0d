"""A what-if as an account file, ready to be stored under a name of its own."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from crossmargin.apps.questions import QUESTIONS
from crossmargin.apps.server.bodies import BODIES, JSON, body_schema, parsed, read_body
from crossmargin.apps.server.routes.asking import answered, asked
from crossmargin.apps.server.security import Caller, what_if
from crossmargin.model.change import changes_from
from crossmargin.model.report import to_json

router = APIRouter(prefix="/v1")
_BODY = BODIES["whatif"]


def changed(_name: str, data: bytes, most: int, found: dict[str, Any] | None) -> bytes:
    """The bytes of the changed account's file."""
    from crossmargin.apps.changed import changed_file

    subject, options = asked(QUESTIONS["whatif"], _BODY, data, most, found)
    raw = parsed(data, most)["account"] if found is None else found
    changes = changes_from([change.model_dump() for change in options.changes], subject.rules_of)
    return to_json({"account": changed_file(raw, subject.case, changes)}).encode()


@router.post(
    "/changed-account",
    summary="The account file after changes, as the question whatif takes them.",
    response_class=Response,
    responses={200: {"content": {JSON: {"schema": {"type": "object"}}}}},
    openapi_extra=body_schema(_BODY),
)
async def changed_account(request: Request, caller: Annotated[Caller, Depends(what_if)]) -> Response:
    """As JSON, ready to be put; nothing is stored."""
    data = await read_body(request)
    return Response(await answered(request, caller, changed, "whatif", data, "quick"), media_type=JSON)
