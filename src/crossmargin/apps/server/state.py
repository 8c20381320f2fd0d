"""What a service holds while it runs, as its routes see it."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Protocol, cast

from starlette.requests import HTTPConnection

if TYPE_CHECKING:
    from crossmargin.apps.monitor.service import Alerting
    from crossmargin.apps.server.books import Books
    from crossmargin.apps.server.hub import Hub
    from crossmargin.apps.server.limits import Work
    from crossmargin.apps.server.metrics import Meter
    from crossmargin.apps.server.security import Guard
    from crossmargin.apps.server.settings import Settings
    from crossmargin.apps.store.store import Store


class State(Protocol):
    """One of each for a service; ``books`` is None where it keeps none.

    ``moments``: the newest prices of each tenant, by time and sequence.
    """

    settings: Settings
    store: Store
    work: Work
    hub: Hub
    guard: Guard
    meter: Meter
    books: Books | None
    alerting: Alerting
    moments: dict[str, tuple[datetime, int]]


def state_of(connection: HTTPConnection) -> State:
    """What the service of a request or a stream holds: the framework knows it as anything at all."""
    return cast("State", connection.app.state)
