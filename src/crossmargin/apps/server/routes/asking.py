"""Questions over HTTP: what is asked, of what, and the answer's bytes."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

from starlette.requests import Request

from crossmargin.apps.questions import Question, Subject
from crossmargin.apps.server.bodies import bounded, parsed, validated
from crossmargin.apps.server.limits import Lane
from crossmargin.apps.server.problems import not_found
from crossmargin.apps.server.routes.clearing import books_of
from crossmargin.apps.server.security import Caller
from crossmargin.apps.server.state import state_of
from crossmargin.apps.store.store import Store
from crossmargin.clearing.statement import account_file
from crossmargin.errors import AccountError, Fault
from crossmargin.files.accounts import case_from
from crossmargin.files.profiles import refuse_path
from crossmargin.model.history import bars_from
from crossmargin.model.noun import Noun


class Elsewhere(Exception):  # noqa: N818 - it says where the account is
    """The account is not in the body: the service has it, or the books have."""

    def __init__(self, account_id: str | None, clearing_account: str | None) -> None:
        super().__init__(account_id, clearing_account)
        self.account_id, self.clearing_account = account_id, clearing_account


Answer = Callable[[str, bytes, int, dict[str, Any] | None], bytes]
"""(name of the question, body, most positions, the account where it is not in the body) -> the answer's bytes."""


async def answered(request: Request, caller: Caller, answer: Answer, name: str, data: bytes, lane: Lane) -> bytes:
    """The bytes of an answer, worked out apart. Raises with every fault, and a problem for no such account."""
    work, most = state_of(request).work, state_of(request).settings.most_positions
    try:
        found: bytes = await work.apart(answer, name, data, most, None, lane=lane)
    except Elsewhere as place:
        raw = await work.run(partial(_account, request, caller.tenant, place))
        found = await work.apart(answer, name, data, most, raw, lane=lane)
    return found


def asked(
    question: Question, model: type[Noun], data: bytes, limit: int, found: dict[str, Any] | None
) -> tuple[Any, Any]:
    """The subject of a body and its options; ``found``: the account, where the body only names it.

    Raises with every fault, and :class:`Elsewhere` where the account must be found first.
    """
    body = validated(model, parsed(data, limit))
    if question.subject == "fund":
        return fund_of(body.fund), body.options
    raw = _given(body) if found is None else found
    bounded(raw, limit)
    where = body.account_id or body.clearing_account or "account"

    def case(profile: str | None, on: Any) -> Any:
        from crossmargin.apps.options import date_of

        refuse_path(profile or raw.get("profile"))
        return case_from(raw, where, profile=profile, on=date_of(on) if isinstance(on, str) else on)

    rows = getattr(body, "history", ())
    subject = Subject(
        case(body.profile, body.on),
        lambda profile, date: case(profile or body.profile, date or body.on).rules,
        bars_from(rows) if rows else (),
    )
    return subject, body.options


def _given(body: Any) -> dict[str, Any]:
    if [body.account, body.account_id, body.clearing_account].count(None) != 2:
        why = "give either account (an account file), account_id (one that is stored) or clearing_account"
        raise AccountError("request", (Fault("account", "", why),))
    if body.account is None:
        raise Elsewhere(body.account_id, body.clearing_account)
    found: dict[str, Any] = body.account
    return found


def _account(request: Request, tenant: str, place: Elsewhere) -> dict[str, Any]:
    if place.account_id is not None:
        return stored_account(state_of(request).store, tenant, place.account_id)
    name = place.clearing_account or ""
    told = books_of(request, tenant).ask(lambda state: account_file(state, name))
    found = told.result(state_of(request).settings.timeout)
    if found is None:
        raise not_found("account", name)
    return found


def stored_account(store: Store, tenant: str, account: str) -> dict[str, Any]:
    """The account file of a tenant's account."""
    with store.reading(tenant) as tx:
        stored = store.account(tx, tenant, account)
        text = None if stored is None else store.snapshot(tx, tenant, account, stored.snapshot)
    if text is None:
        raise not_found("account", account)
    found: dict[str, Any] = json.loads(text)
    return found


def fund_of(raw: dict[str, Any]) -> Any:
    """A fund whose accounts and histories are given in it: the service opens no file that a request names."""
    from crossmargin.files.funds import fund_from

    faults = []
    accounts = raw.get("accounts")
    for index, entry in enumerate(accounts if isinstance(accounts, list) else []):
        if not isinstance(entry, dict):
            continue
        refuse_path(entry.get("profile"))
        if "file" in entry:
            faults.append(Fault(f"fund.accounts[{index}].file", str(entry["file"]), "give the account itself"))
    safety = raw.get("safety")
    if isinstance(safety, dict):
        draws = safety.get("draws")
        named = {
            "scenarios": safety.get("scenarios"),
            "draws.history": draws.get("history") if isinstance(draws, dict) else 0,
        }
        faults += [
            Fault(f"fund.safety.{path}", text, "give them here; a file is not read by the service")
            for path, text in named.items()
            if isinstance(text, str)
        ]
    if faults:
        raise AccountError("fund", faults)
    return fund_from(raw, "fund")
