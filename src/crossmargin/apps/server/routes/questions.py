"""Every question of the table, one route each."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from crossmargin.apps.questions import QUESTIONS
from crossmargin.apps.server.bodies import ANSWER, BODIES, JSON, REFERENCE, body_schema, read_body
from crossmargin.apps.server.limits import Lane
from crossmargin.apps.server.routes.asking import answered, asked
from crossmargin.apps.server.security import Caller, read, what_if
from crossmargin.model.report import to_json

router = APIRouter(prefix="/v1/questions")


@router.get("", summary="Every question, with the schema of its options.")
async def questions(_caller: Annotated[Caller, Depends(read)]) -> list[dict[str, Any]]:
    """Names are those of the command line's verbs."""
    return [
        {"name": name, "title": one.title, "options": one.options.model_json_schema()}
        for name, one in QUESTIONS.items()
    ]


def answer_of(name: str, data: bytes, most: int, found: dict[str, Any] | None) -> bytes:
    """The bytes of the answer to a question."""
    subject, options = asked(QUESTIONS[name], BODIES[name], data, most, found)
    return to_json(QUESTIONS[name].answer(subject, options)).encode()


def _route(name: str) -> Callable[..., Awaitable[Response]]:
    question = QUESTIONS[name]

    async def answer(request: Request, caller: Annotated[Caller, Depends(what_if)]) -> Response:
        data = await read_body(request)

        lane: Lane = "slow" if question.slow else "quick"
        return Response(await answered(request, caller, answer_of, name, data, lane), media_type=JSON)

    answer.__doc__ = f"The bytes that `crossmargin {name} FILE --json` prints."
    return answer


for _name, _question in QUESTIONS.items():
    router.add_api_route(
        f"/{_name}",
        _route(_name),
        methods=["POST"],
        name=_name,
        summary=_question.title,
        response_class=Response,
        responses={200: {"content": {JSON: {"schema": {"$ref": f"{REFERENCE}{ANSWER}{_name}"}}}}},
        openapi_extra=body_schema(BODIES[_name]),
    )
