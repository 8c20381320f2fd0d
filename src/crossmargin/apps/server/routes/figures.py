"""The figures of every answer, each with its table, for a page that draws them."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from crossmargin.apps.pictures import PICTURES
from crossmargin.apps.server.bodies import BODIES, JSON, body_of, body_schema, read_body
from crossmargin.apps.server.limits import Lane
from crossmargin.apps.server.routes.asking import answered, asked
from crossmargin.apps.server.security import Caller, what_if

router = APIRouter(prefix="/v1/figures")
_BODIES = {name: BODIES.get(name) or body_of(name, question) for name, question in PICTURES.items()}


def figures_of(name: str, data: bytes, most: int, found: dict[str, Any] | None) -> bytes:
    """The bytes of the figures of an answer."""
    from crossmargin.apps.drawing import pictured  # with every analysis: for who draws, not for who starts

    subject, options = asked(PICTURES[name], _BODIES[name], data, most, found)
    return json.dumps(pictured(name, subject, options), ensure_ascii=False, allow_nan=False).encode()


def _route(name: str) -> Callable[..., Awaitable[Response]]:
    question = PICTURES[name]

    async def answer(request: Request, caller: Annotated[Caller, Depends(what_if)]) -> Response:
        data = await read_body(request)

        lane: Lane = "slow" if question.slow else "quick"
        return Response(await answered(request, caller, figures_of, name, data, lane), media_type=JSON)

    answer.__doc__ = "`figures`: title, Plotly specification, table and note; `words`: the answer; every table."
    return answer


_SHAPE: dict[str, Any] = {
    "type": "object",
    "required": ["words", "figures", "tables"],
    "properties": {"words": {"type": "string"}, "figures": {"type": "array"}, "tables": {"type": "array"}},
}

for _name, _question in PICTURES.items():
    router.add_api_route(
        f"/{_name}",
        _route(_name),
        methods=["POST"],
        name=f"figures of {_name}",
        summary=f"Figures: {_question.title}",
        response_class=Response,
        responses={200: {"content": {JSON: {"schema": _SHAPE}}}},
        openapi_extra=body_schema(_BODIES[_name]),
    )
