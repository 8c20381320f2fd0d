"""New prices for every stored account of a tenant."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated, Any, NamedTuple

from fastapi import APIRouter, Depends
from pydantic import ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from crossmargin.apps.server.bodies import JSON, body_schema, parsed, read_body, validated
from crossmargin.apps.server.routes.accounts import listed
from crossmargin.apps.server.routes.changes import change
from crossmargin.apps.server.security import Caller, command
from crossmargin.apps.server.settings import Settings
from crossmargin.apps.server.state import state_of
from crossmargin.apps.store.keeping import Judged, keep, rejudged
from crossmargin.apps.store.store import Answer, Store, Stored
from crossmargin.errors import AccountError, Fault
from crossmargin.model.market import Instant, Prices
from crossmargin.model.noun import Noun
from crossmargin.model.report import to_json, to_plain

router = APIRouter(prefix="/v1/prices")


class PricesBody(Noun):
    """Prices at one moment; an account takes those that its market already has."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    as_of: Instant
    """When these prices were."""
    mark_price: Prices = Field(default_factory=dict)
    """By symbol."""
    index_price: Prices = Field(default_factory=dict)
    """By asset."""
    sequence: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    """Rises from message to message; of two with one time the later wins."""


class _Ready(NamedTuple):
    before: Stored
    after: Judged


_TOGETHER = 20
"""Accounts judged at one go: each go has the time limit of a change."""


@router.post(
    "",
    summary="Judge every stored account at new prices, and tell who listens.",
    response_class=Response,
    responses={200: {"content": {JSON: {"schema": {"type": "object"}}}}},
    openapi_extra=body_schema(PricesBody),
)
async def prices(request: Request, caller: Annotated[Caller, Depends(command)]) -> Response:
    """An account with newer prices keeps them: what arrives late is ignored."""
    data = await read_body(request)
    state = state_of(request)
    store: Store = state.store
    told: list[Stored] = []
    body: PricesBody = validated(PricesBody, parsed(data, state.settings.most_positions))
    _is_past(body.as_of, state.settings)
    moment = (body.as_of, body.sequence or 0)

    def judge() -> list[_Ready]:
        if moment < state.moments.get(caller.tenant, moment):
            return []  # it arrives late
        with store.reading(caller.tenant) as tx:
            rows = store.files(tx, caller.tenant)
        parts = [rows[start : start + _TOGETHER] for start in range(0, len(rows), _TOGETHER)]
        return [ready for part in parts for ready in state.work.beside(_all_moved, part, body)]

    def write(tx: Any, ready: list[_Ready]) -> Answer:
        # an account that was put or forgotten meanwhile is left as it is
        now = {(one.id, one.snapshot) for one in store.accounts(tx, caller.tenant)}
        same = [after for before, after in ready if (before.id, before.snapshot) in now]
        told.extend(keep(store, tx, caller.tenant, *same))
        return Answer(200, "", to_json({"accounts": [one.id for one in told]}))

    response = await change(request, caller, data, judge, write)
    state.moments[caller.tenant] = max(moment, state.moments.get(caller.tenant, moment))
    if told:
        names = tuple(sorted((*body.mark_price, *body.index_price)))
        message = {"type": "prices", **to_plain(body.model_dump(exclude={"sequence"}))}
        state.hub.publish(caller.tenant, message, ("prices", names))
    for stored in told:
        message = {"type": "accounts", "accounts": [listed(request, stored)]}
        state.hub.publish(caller.tenant, message, ("account", stored.id))
    return response


def _is_past(as_of: datetime, settings: Settings) -> None:
    """Refuse prices of the future: whatever came after them would be ignored as late, and they would never be old."""
    if (as_of - datetime.now(UTC)).total_seconds() > settings.ahead:
        why = f"is more than {settings.ahead:g} s ahead of the clock of the service; one of the two clocks is wrong"
        raise AccountError("request", (Fault("as_of", as_of.isoformat(), why),))


def _all_moved(rows: list[tuple[Stored, str]], body: PricesBody) -> list[_Ready]:
    """The accounts, each with its file, that have these prices and no newer ones."""
    return [ready for stored, text in rows if (ready := _moved(stored, json.loads(text), body))]


def _moved(stored: Stored, raw: dict[str, Any], body: PricesBody) -> _Ready | None:
    """The account at these prices; None where it has none of them, or newer ones."""
    before = json.loads(stored.summary)
    market = {name: dict(table) for name, table in raw.get("market", {}).items()}
    named = False
    for kind, news in (("mark_price", body.mark_price), ("index_price", body.index_price)):
        known = market.get(kind, {})
        found = {name: to_plain(price) for name, price in news.items() if name in known}
        known.update(found)
        named = named or bool(found)
    when = to_plain(body.as_of)
    if not named or when < before["as_of"]:
        return None
    return _Ready(stored, rejudged({**raw, "market": market, "as_of": when}, before))
