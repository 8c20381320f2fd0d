"""Accounts from what a venue answered, or from the text of an account file."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path
from pydantic import ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from crossmargin.apps.server.bodies import JSON, body_schema, bounded, parsed, read_body, validated
from crossmargin.apps.server.security import Caller, what_if
from crossmargin.apps.server.settings import Settings
from crossmargin.apps.server.state import state_of
from crossmargin.errors import AccountError
from crossmargin.model.market import Instant
from crossmargin.model.noun import Noun
from crossmargin.model.report import to_json, to_plain

router = APIRouter(prefix="/v1")
_ANSWER: dict[int | str, dict[str, Any]] = {200: {"content": {JSON: {"schema": {"type": "object"}}}}}


class ImportBody(Noun):
    """Answers of a venue, by the name of the file in which they came."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    payloads: Annotated[dict[str, Any], Field(min_length=1, max_length=100)]
    """JSON as the venue gave it."""
    set: Annotated[tuple[Annotated[str, Field(max_length=500)], ...], Field(max_length=1000)] = ()
    """Fields that no answer says: positions.BTC/USDT:USDT.leverage=10."""
    on: Instant | None = None
    """The moment of the account, where no answer says it."""


class TextBody(Noun):
    """The text of an account file."""

    text: Annotated[str, Field(max_length=Settings().most_body)]


@router.post(
    "/import/{venue}",
    summary="An account from what a venue answered, and whether its own figures agree with its rules.",
    response_class=Response,
    responses=_ANSWER,
    openapi_extra=body_schema(ImportBody),
)
async def import_answers(
    request: Request,
    venue: Annotated[str, Path(pattern=r"^[a-z0-9-]{1,64}$")],
    _caller: Annotated[Caller, Depends(what_if)],
) -> Response:
    """Nothing is stored; nothing missing is filled in."""
    data = await read_body(request)

    def work() -> str:
        body = validated(ImportBody, parsed(data, state_of(request).settings.most_positions))
        return to_json(_imported(venue, body))

    return Response(await state_of(request).work.run(work), media_type=JSON)


def _imported(venue: str, body: ImportBody) -> dict[str, Any]:
    from crossmargin.analytics.reconciliation import reconcile
    from crossmargin.engine.prepare import prepare
    from crossmargin.files.profiles import load_profile, refuse_path
    from crossmargin.files.unified import import_account

    imported = import_account(body.payloads.values(), venue=venue, settings=body.set, on=body.on)
    refuse_path(imported.table.get("profile"))
    case = imported.case()
    prepare(*case)
    others = load_profile(case.account.profile).revisions
    agreement = reconcile(
        *case,
        imported.reported,
        lacking=imported.lacking,
        unfounded=imported.given,
        other_rules=others,
        payments=imported.payments,
    )
    return {
        "account": imported.table,
        "reconciliation": agreement,
        "notes": imported.notes,
        "not_understood": imported.not_understood,
    }


@router.post(
    "/account-file",
    summary="The account that a text, TOML or JSON, states.",
    response_class=Response,
    responses=_ANSWER,
    openapi_extra=body_schema(TextBody),
)
async def account_file(request: Request, _caller: Annotated[Caller, Depends(what_if)]) -> Response:
    """As JSON, ready to be put; nothing is stored."""
    data = await read_body(request)

    def work() -> str:
        from crossmargin.files.accounts import case_from
        from crossmargin.files.profiles import refuse_path
        from crossmargin.files.text import parse_table

        limit = state_of(request).settings.most_positions
        body = validated(TextBody, parsed(data, limit))
        table = to_plain(parse_table(body.text.encode(), "account file", AccountError))
        bounded(table, limit)
        refuse_path(table.get("profile"))
        case_from(table, "account file")
        return to_json({"account": table})

    return Response(await state_of(request).work.run(work), media_type=JSON)
