"""Alerts of a tenant: what stands, who has seen it, by what rules, and whether messages arrive."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from crossmargin.apps.monitor.rules import KINDS, AlertRule, with_always
from crossmargin.apps.monitor.running import trial
from crossmargin.apps.monitor.service import Alerting, shown
from crossmargin.apps.server.bodies import JSON, body_schema, parsed, read_body, validated
from crossmargin.apps.server.problems import not_found
from crossmargin.apps.server.routes.changes import change, matches
from crossmargin.apps.server.security import Caller, command, read
from crossmargin.apps.server.state import state_of
from crossmargin.apps.store.monitoring import Monitoring
from crossmargin.apps.store.store import Answer, digest
from crossmargin.errors import AccountError, Fault
from crossmargin.model.noun import Noun
from crossmargin.model.report import to_json

router = APIRouter(prefix="/v1")
Id = Annotated[str, Path(pattern=r"^[A-Za-z0-9._:-]{1,128}$")]
_TRIAL_SECONDS = 3.0


class RulesBody(Noun):
    """Every alert rule of the tenant, in the place of those that were."""

    rules: Annotated[tuple[AlertRule, ...], Field(max_length=200)]


class TrialBody(Noun):
    """Which channel to try; none = every one."""

    channel: Annotated[str, Field(min_length=1, max_length=64)] | None = None


def _monitoring(request: Request, caller: Caller) -> Monitoring:
    return Monitoring(state_of(request).store, caller.tenant)


@router.get("/alerts", summary="The alerts, the newest first.")
async def alerts(
    request: Request,
    caller: Annotated[Caller, Depends(read)],
    state: Annotated[Literal["open", "acknowledged", "cleared"] | None, Query(description="Only these.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> dict[str, Any]:
    """An alert stands until its figure is well again; one that somebody has seen is quiet."""

    def work() -> dict[str, Any]:
        return {"alerts": [shown(alert) for alert in _monitoring(request, caller).alerts(state=state, limit=limit)]}

    return await state_of(request).work.run(work)


@router.post(
    "/alerts/test",
    summary="Send a test message to the channels now, and say whether it arrived.",
    response_class=Response,
    responses={200: {"content": {JSON: {"schema": {"type": "object"}}}}},
    openapi_extra=body_schema(TrialBody),
)
async def try_channels(request: Request, caller: Annotated[Caller, Depends(command)]) -> Response:
    """``channels``: for each whether it was ``sent``, and ``why`` not."""
    data = await read_body(request)
    body: TrialBody = validated(TrialBody, parsed(data, 0))
    alerting: Alerting = state_of(request).alerting
    if body.channel is not None and body.channel not in alerting.channels:
        why = f"is no channel here; there are {', '.join(alerting.channels)}"
        raise AccountError("request", (Fault("channel", body.channel, why),))
    names = list(alerting.channels) if body.channel is None else [body.channel]

    def send() -> dict[str, Any]:
        outside = alerting.outside._replace(deadline=_TRIAL_SECONDS)
        found = {name: trial(alerting.channels[name], outside) for name in names}
        return {"channels": {name: {"sent": one.sent, "why": one.why} for name, one in found.items()}}

    # a channel may take its seconds to answer, and prices must not wait for it
    return await change(request, caller, data, send, lambda _tx, found: Answer(200, "", to_json(found)), lane="slow")


@router.post(
    "/alerts/{id}/acknowledge",
    summary="Say that somebody has seen an alert; its escalation stops.",
    response_class=Response,
    responses={200: {"content": {JSON: {"schema": {"type": "object"}}}}},
)
async def acknowledge(request: Request, id: Id, caller: Annotated[Caller, Depends(command)]) -> Response:
    """The first who says so is kept."""
    state = state_of(request)
    monitoring = _monitoring(request, caller)

    def write(tx: Any, at: datetime) -> Answer:
        if not monitoring.acknowledge(tx, id, caller.who, at):
            raise not_found("alert", id)
        state.store.audit(tx, caller.tenant, caller.who, "alert.acknowledge", id)
        return Answer(200, "", to_json({"id": id, "state": "acknowledged"}))

    response = await change(request, caller, b"", lambda: datetime.now(UTC), write)
    alert = await state.work.run(lambda: monitoring.alert(id))
    if alert is not None:
        state.hub.publish(caller.tenant, {"type": "alert", "event": "acknowledged", "alert": shown(alert)})
    return response


@router.get("/alert-rules", summary="The alert rules, those that are always watched, and the kinds there are.")
async def rules(request: Request, response: Response, caller: Annotated[Caller, Depends(read)]) -> dict[str, Any]:
    """A tenant without rules is not watched. The ETag is the hash of the tenant's own rules."""
    channels = list(state_of(request).alerting.channels)

    own = await state_of(request).work.run(_monitoring(request, caller).rules)
    response.headers["ETag"] = f'"{digest(_text(own))}"'
    return {
        "rules": [rule.model_dump(mode="json") for rule in own],
        "watched": [rule.model_dump(mode="json") for rule in with_always(own, channels)] if own else [],
        "kinds": {name: {"harm": kind.harm, "words": kind.words} for name, kind in KINDS.items()},
        "channels": channels,
    }


def _text(rules: Sequence[AlertRule]) -> str:
    """Rules as they are answered; its hash is what they are known by."""
    return to_json({"rules": [rule.model_dump(mode="json") for rule in rules]})


@router.put(
    "/alert-rules",
    summary="Put these alert rules in the place of all that were.",
    response_class=Response,
    responses={200: {"content": {JSON: {"schema": {"type": "object"}}}}},
    openapi_extra=body_schema(RulesBody),
)
async def put_rules(request: Request, caller: Annotated[Caller, Depends(command)]) -> Response:
    """Alerts of rules that are no longer there are cleared. With ``If-Match`` only where the rules are still those."""
    data = await read_body(request)
    body: RulesBody = validated(RulesBody, parsed(data, 0))
    _fits(body, state_of(request).alerting)
    monitoring = _monitoring(request, caller)

    def write(tx: Any, _ready: None) -> Answer:
        before, text = digest(_text(monitoring.rules_in(tx))), _text(body.rules)
        matches(request, before, "The rules have")
        monitoring.put_rules(tx, body.rules)
        monitoring.store.audit(tx, caller.tenant, caller.who, "alert.rules", "all", before, digest(text))
        return Answer(200, f'"{digest(text)}"', text)

    return await change(request, caller, data, lambda: None, write)


def _fits(body: RulesBody, alerting: Alerting) -> None:
    """Every rule has an id of its own and tells channels that there are."""
    ids = [rule.id for rule in body.rules]
    faults = [
        Fault(f"rules[{n}].id", rule.id, "stands more than once; a rule's id is its own")
        for n, rule in enumerate(body.rules)
        if ids.index(rule.id) != n
    ]
    faults += [
        Fault(f"rules[{n}].escalation", name, f"is no channel here; there are {', '.join(alerting.channels)}")
        for n, rule in enumerate(body.rules)
        for step in rule.escalation
        for name in step.channels
        if name not in alerting.channels
    ]
    if faults:
        raise AccountError("request", faults)
