"""What is sent: bodies read exactly, and their schemas, which are made of the account file's own types."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, cast

from pydantic import ConfigDict, Field, ValidationError, WithJsonSchema, create_model
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema
from starlette.requests import Request

from crossmargin.apps.questions import QUESTIONS, Question
from crossmargin.apps.server.problems import Problem
from crossmargin.errors import AccountError, Fault
from crossmargin.files.accounts import AccountFile
from crossmargin.files.text import parse_table
from crossmargin.model.market import Instant
from crossmargin.model.noun import Noun, faults_of

REFERENCE = "#/components/schemas/"
ANSWER = "Answer."
"""What the names of answers' schemas begin with: a body and an answer may have types of one name."""
JSON = "application/json"
_LISTS = ("positions", "open_orders")


def named_schema(name: str) -> WithJsonSchema:
    """A table that its own reader validates; its schema is that of ``name`` among the components."""
    return WithJsonSchema({"title": name, "type": "object", "x-schema": name})


AccountTable = Annotated[dict[str, Any], named_schema("AccountFile")]
AccountId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$")]
_Id = Annotated[str, Field(min_length=1, max_length=100)]


class AccountBody(Noun):
    """A question's body: an account, the id of one that is stored, or one of the books; two is one too many."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    account: AccountTable | None = None
    """An account file as JSON."""
    account_id: AccountId | None = None
    """Or the id of a stored account."""
    clearing_account: AccountId | None = None
    """Or an account of the books of record, as it is there now."""
    profile: _Id | None = None
    """Judge by this profile, not the file's own."""
    on: Instant | None = None
    """Use the rules in force at this time, not as_of."""


class ReplayBody(AccountBody):
    """A replay's body."""

    history: Annotated[tuple[dict[str, Any], ...], Field(min_length=1, max_length=20_000)]
    """Rows of a history: time, BTC (close), and optionally BTC@open, @high, @low, @funding."""


class FundBody(Noun):
    """An allocation's body."""

    fund: dict[str, Any]
    """A fund file as JSON, its accounts given in it."""


_BASES: dict[str, type[Noun]] = {"account": AccountBody, "replay": ReplayBody, "fund": FundBody}


def body_of(name: str, question: Question) -> type[Noun]:
    """The body of a question: what it is asked of, and its options."""
    title = "".join(part.title() for part in name.split("-"))
    needed = any(field.is_required() for field in question.options.model_fields.values())
    default = ... if needed else Field(default_factory=question.options)
    made = create_model(
        f"{title}Body",
        __base__=_BASES[question.subject],
        __doc__=question.title,
        __cls_kwargs__={"use_attribute_docstrings": False},  # a model that is made has no source to look for them in
        options=(question.options, default),
    )
    return cast("type[Noun]", made)


BODIES: Mapping[str, type[Noun]] = {name: body_of(name, question) for name, question in QUESTIONS.items()}
"""The body of each question, by name."""


# reading --------------------------------------------------------------------------------------------------------------


async def read_body(request: Request, media: str = JSON) -> bytes:
    """The bytes of a body of this kind; the door has bounded them."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != media or request.headers.get("content-encoding", "identity") != "identity":
        raise Problem(415, "media-type", "The body must be of another kind", f"send {media}, not compressed")
    return await request.body()


def parsed(data: bytes, most_positions: int) -> dict[str, Any]:
    """The table of a JSON body: numbers as written, nesting and numbers of positions bounded."""
    raw = parse_table(data, "request", AccountError, form="json")
    if b"\\u" in data:
        _check_text(raw)
    bounded(raw, most_positions)
    return raw


def _check_text(raw: Mapping[str, Any]) -> None:
    """Refuse escapes that no UTF-8 can say and no database keeps: half a surrogate pair, and the sign 0."""
    text = json.dumps(raw, ensure_ascii=False)
    if "\\u0000" in text or any("\ud800" <= sign <= "\udfff" for sign in text):
        raise AccountError("request", (Fault("(whole)", "", "has a text with half a surrogate pair or the sign 0"),))


def bounded(raw: Mapping[str, Any], most: int) -> None:
    """Refuse more positions and orders than are judged at once; in an account, a stored file or a whole fund."""
    fund = raw.get("fund")
    inner = [raw, raw.get("account"), *(fund.get("accounts", ()) if isinstance(fund, dict) else ())]
    tables = [table for table in inner if isinstance(table, dict)]
    for name in _LISTS:
        count = sum(len(table[name]) for table in tables if isinstance(table.get(name), list))
        if count > most:
            fault = Fault(name, str(count), f"must be at most {most} in one request")
            raise Problem(413, "too-large", "There are too many positions", str(fault), faults=[fault])


def validated(model: type[Noun], raw: Mapping[str, Any]) -> Any:
    """The body as its model. Raises :class:`AccountError` with every fault and its path."""
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        raise AccountError("request", faults_of(error)) from None


# schemas --------------------------------------------------------------------------------------------------------------

_DECIMAL = {
    "anyOf": [
        {"type": "string", "pattern": r"^-?(0|[1-9][0-9]{0,19})(\.[0-9]{1,18})?$"},
        {"type": "number", "description": "read by its digits, without exponent"},
    ]
}


class _Schemas(GenerateJsonSchema):
    """Decimals as this service reads them."""

    def decimal_schema(self, schema: Any) -> JsonSchemaValue:
        return dict(_DECIMAL)


def components() -> dict[str, Any]:
    """The schemas of every body, by name, with what they refer to."""
    models: list[Any] = [(model, "validation") for model in (AccountFile, *BODIES.values(), *OTHERS)]
    _, found = models_json_schema(models, ref_template=REFERENCE + "{model}", schema_generator=_Schemas)
    made: dict[str, Any] = _linked(found["$defs"])
    # USDT = "2000" is short for a balance with that wallet_balance
    balances = made["AccountFile"]["properties"]["balances"]
    balances["additionalProperties"] = {"anyOf": [balances["additionalProperties"], *_DECIMAL["anyOf"]]}
    return made


def _linked(value: Any) -> Any:
    """The same schemas, with references where a table's own schema is named."""
    if isinstance(value, dict):
        if "x-schema" in value:
            return {"$ref": REFERENCE + value["x-schema"]}
        return {key: _linked(item) for key, item in value.items()}
    return [_linked(item) for item in value] if isinstance(value, list) else value


OTHERS: list[type[Noun]] = []
"""Bodies that are not of questions; each route's module adds its own with :func:`body_schema`."""


def body_schema(model: type[Noun], media: str = JSON) -> dict[str, Any]:
    """What the description of a route says of its body."""
    if model not in OTHERS and model not in BODIES.values() and model is not AccountFile:
        OTHERS.append(model)
    schema = {"$ref": REFERENCE + model.__name__}
    return {"requestBody": {"required": True, "content": {media: {"schema": schema}}}}
