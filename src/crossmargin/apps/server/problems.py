"""Errors as problem details (RFC 9457): one table from our exceptions to statuses; every fault with its path."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from crossmargin.errors import (
    CommandRejected,
    CrossmarginError,
    Fault,
    JournalError,
    MarketDataError,
    NoPlan,
    StoreError,
    VenueError,
)

MEDIA = "application/problem+json"

_STATUS: tuple[tuple[type[CrossmarginError], int, str, str], ...] = (
    (MarketDataError, 422, "incomplete", "Prices that the rules need are missing"),
    (NoPlan, 409, "no-plan", "No plan meets every limit"),
    (CommandRejected, 409, "command-rejected", "The books refuse the command"),
    (VenueError, 502, "venue", "A venue refuses or cannot be understood"),
    (StoreError, 503, "store", "The store cannot be used now"),
    (JournalError, 503, "journal", "The journal cannot be used now"),
    (CrossmarginError, 422, "invalid", "The request cannot be answered as it is"),
)
"""The first row whose class the error is."""


class Problem(Exception):  # noqa: N818 - a problem is what RFC 9457 calls it
    """A refusal of the service itself: status, a word for machines, a title and detail for people."""

    def __init__(
        self,
        status: int,
        kind: str,
        title: str,
        detail: str = "",
        *,
        faults: Sequence[Fault] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(title)
        self.status, self.kind, self.title, self.detail = status, kind, title, detail
        self.faults, self.headers = tuple(faults), dict(headers or {})

    def __reduce__(self) -> tuple[Any, ...]:
        """A problem crosses processes as it is."""
        rest = {"faults": self.faults, "headers": self.headers}
        return _as_it_was, (self.status, self.kind, self.title, self.detail, rest)

    def response(self) -> Response:
        """The problem as its answer."""
        body = {
            "type": f"urn:crossmargin:problem:{self.kind}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "faults": [{"path": f.path, "value": f.value, "why": f.why} for f in self.faults],
        }
        text = json.dumps(body, ensure_ascii=False)
        # what a client sent may hold half a surrogate pair, which no UTF-8 can say
        data = text.encode("utf-8", errors="replace")
        return Response(data, status_code=self.status, headers=self.headers, media_type=MEDIA)


def _as_it_was(status: int, kind: str, title: str, detail: str, rest: dict[str, Any]) -> Problem:
    return Problem(status, kind, title, detail, **rest)


def problem_of(error: CrossmarginError) -> Problem:
    """One of our errors as a problem."""
    status, kind, title = next(row[1:] for row in _STATUS if isinstance(error, row[0]))
    return Problem(status, kind, title, str(error), faults=error.faults)


async def show_problem(_request: Request, error: Exception) -> Response:
    """The handler of :class:`Problem` and of our own errors."""
    problem = problem_of(error) if isinstance(error, CrossmarginError) else error
    if not isinstance(problem, Problem):
        raise error
    return problem.response()


async def show_status(_request: Request, error: Exception) -> Response:
    """The handler of what the framework itself refuses: no such page, no such method."""
    status: Any = getattr(error, "status_code", 500)
    titles = {404: "There is nothing here", 405: "This cannot be done here"}
    headers = getattr(error, "headers", None)
    return Problem(
        status, "not-found" if status == 404 else "refused", titles.get(status, "Refused"), headers=headers
    ).response()


async def show_invalid(_request: Request, error: Exception) -> Response:
    """The handler of a path or a query that is not as described."""
    rows: Any = getattr(error, "errors", list)()
    faults = [Fault(".".join(map(str, row["loc"])), str(row.get("input", ""))[:60], row["msg"]) for row in rows]
    return Problem(422, "invalid", "The request cannot be answered as it is", faults=faults).response()


def not_found(what: str, name: str) -> Problem:
    """Nothing of that name; the same whether nobody or another tenant has it."""
    return Problem(404, "not-found", f"There is no such {what}", name)
