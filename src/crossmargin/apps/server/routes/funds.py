"""Funds from the text of a file, for a page that gets it from its user."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from crossmargin.apps.server.bodies import JSON, body_schema, parsed, read_body, validated
from crossmargin.apps.server.routes.asking import fund_of
from crossmargin.apps.server.routes.imports import TextBody
from crossmargin.apps.server.security import Caller, what_if
from crossmargin.apps.server.state import state_of
from crossmargin.errors import AccountError
from crossmargin.model.report import to_json, to_plain

router = APIRouter(prefix="/v1")


@router.post(
    "/fund-file",
    summary="The fund that a text, TOML or JSON, states.",
    response_class=Response,
    responses={200: {"content": {JSON: {"schema": {"type": "object"}}}}},
    openapi_extra=body_schema(TextBody),
)
async def fund_file(request: Request, _caller: Annotated[Caller, Depends(what_if)]) -> Response:
    """As JSON with every digit as it was written, ready to be asked of; nothing is stored."""
    data = await read_body(request)

    def work() -> str:
        from crossmargin.files.text import parse_table

        body = validated(TextBody, parsed(data, state_of(request).settings.most_positions))
        table = to_plain(parse_table(body.text.encode(), "fund file", AccountError))
        fund_of(table)
        return to_json({"fund": table})

    return Response(await state_of(request).work.run(work), media_type=JSON)
