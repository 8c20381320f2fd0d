"""Putting an account into the store: judged first, then kept with its verdict."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from crossmargin.apps.store.store import Ready, Store, Stored
from crossmargin.apps.summary import Summary, summary
from crossmargin.errors import CrossmarginError
from crossmargin.files.accounts import case_from
from crossmargin.files.profiles import refuse_path
from crossmargin.model.report import to_plain


class Judged(NamedTuple):
    """An account file with its verdict, ready to be kept."""

    id: str
    file: str
    summary: Mapping[str, Any]


def judged(raw: Mapping[str, Any], id: str, *, title: str = "") -> Judged:
    """An account file judged. Raises as reading and judging it does: what cannot be judged is not kept.

    Its rules are named by an id: the store's accounts come from elsewhere, and name no file of this machine.
    """
    refuse_path(raw.get("profile"))
    found: Summary = summary(case_from(raw, "account"), id=id, title=title)
    return Judged(id, json.dumps(raw, ensure_ascii=False), to_plain(found))


def rejudged(raw: Mapping[str, Any], before: Mapping[str, Any]) -> Judged:
    """A stored account at other prices; where it cannot be judged, an account of unknown status that says why."""
    try:
        return judged(raw, before["id"], title=before["title"])
    except CrossmarginError as error:
        figures = dict.fromkeys(("equity", "maintenance_margin", "headroom", "margin_ratio"))
        why = {"words": f"not known: {error}", "coin": None, "distance": None, "kind": "unknown"}
        told = {**before, **figures, "as_of": raw["as_of"], "status": "unknown", "nearest": why, "pools": []}
        return Judged(before["id"], json.dumps(raw, ensure_ascii=False), told)


def keep(store: Store, tx: Any, tenant: str, *ready: Judged) -> list[Stored]:
    """Keep judged accounts as they are now, in their order."""
    return store.put_accounts(tx, tenant, [_ready(one) for one in ready])


def _ready(one: Judged) -> Ready:
    told = one.summary
    moment = {name: told[name] for name in ("currency", "equity", "maintenance_margin", "headroom", "status")}
    return Ready(one.id, one.file, json.dumps(told, ensure_ascii=False), moment)
