"""The service as an ASGI application, made from its settings and its store."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from importlib import import_module
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from crossmargin.apps.monitor.service import Alerting
from crossmargin.apps.server.bodies import components
from crossmargin.apps.server.hub import Hub
from crossmargin.apps.server.limits import Work
from crossmargin.apps.server.metrics import Meter
from crossmargin.apps.server.problems import Problem, show_invalid, show_problem, show_status
from crossmargin.apps.server.routes import ROUTES
from crossmargin.apps.server.security import Door, Guard
from crossmargin.apps.server.settings import Settings
from crossmargin.apps.store.retention import days_ago, forgetting
from crossmargin.apps.store.store import Store
from crossmargin.errors import AccountError, CrossmarginError, Fault

_LOG = logging.getLogger(__name__)
_HOUR, _BETWEEN = 3600.0, 0.02
"""Seconds between two times that old rows are forgotten, and between two steps of one: others write meanwhile."""


def create_app(settings: Settings, store: Store) -> FastAPI:
    """A service over a store, which its caller closes."""
    _look_at_the_wall(settings, store)
    work, hub = Work(settings), Hub(settings)

    @asynccontextmanager
    async def alive(_app: FastAPI) -> AsyncIterator[None]:
        state.alerting.start()
        beside = [asyncio.create_task(work.begin()), asyncio.create_task(forget(settings, store, work))]
        yield
        for task in beside:
            task.cancel()
        await run_in_threadpool(state.alerting.stop)
        work.close()
        if state.books is not None:
            await run_in_threadpool(state.books.close)

    app = FastAPI(
        title="crossmargin",
        version=version("crossmargin"),
        lifespan=alive,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    state = app.state
    state.settings, state.store, state.work, state.hub = settings, store, work, hub
    state.guard, state.meter = Guard(settings, store, work), Meter(work, hub)
    state.books = None
    if settings.journal is not None:
        from crossmargin.apps.server.books import Books

        state.books = Books(settings.journal, settings.journal_tenant, store, hub)
        state.books.measure(state.meter)
    state.alerting = alerting_of(settings, store, hub)
    moments: dict[str, tuple[datetime, int]] = {}
    state.moments = moments  # the newest prices of each tenant
    for name in ROUTES:
        app.include_router(import_module(f"crossmargin.apps.server.routes.{name}").router)
    app.add_exception_handler(Problem, show_problem)
    app.add_exception_handler(CrossmarginError, show_problem)
    app.add_exception_handler(RequestValidationError, show_invalid)
    app.add_exception_handler(HTTPException, show_status)
    app.add_middleware(Door, settings=settings, meter=state.meter)
    app.get("/openapi.json", include_in_schema=False)(lambda: described(app))
    return app


def _look_at_the_wall(settings: Settings, store: Store) -> None:
    """Say or refuse a store whose database does not keep tenants apart.

    It is a refusal only where it was asked for: the statements keep them apart too, and a desk whose role is a
    superuser today must not be without its service after an upgrade. SQLite is what one machine has, and is said in
    the documentation, not at every start.
    """
    if store.no_wall is not None and settings.row_security:
        raise AccountError("serve", (Fault("--row-security", "", f"cannot be held to: {store.no_wall}"),))
    if store.no_wall is not None and not store.is_file:
        _LOG.warning("tenants are kept apart by the service's own statements alone: %s", store.no_wall)


async def forget(settings: Settings, store: Store, work: Work) -> None:
    """Once an hour forget what is older than the service keeps, in small steps on the lane of changes."""
    while settings.keep_days:
        steps = forgetting(store, days_ago(settings.keep_days))
        try:
            while await work.run(next, steps, None, lane="change") is not None:
                await asyncio.sleep(_BETWEEN)
        except (Problem, CrossmarginError) as error:  # too much waits, or the store cannot be written: next time
            _LOG.warning("what is older than %d days is not forgotten now: %s", settings.keep_days, error)
        await asyncio.sleep(_HOUR)


def alerting_of(settings: Settings, store: Store, hub: Hub) -> Alerting:
    """The monitor of the service, with the channels of the operator's configuration."""
    if settings.monitor is None:
        return Alerting(store, hub.publish)
    from crossmargin.apps.monitor.config import load_config  # with every source of accounts there is

    config = load_config(settings.monitor)
    return Alerting(store, hub.publish, config.channels, config.outside())


def described(app: FastAPI) -> dict[str, Any]:
    """The description of every route (OpenAPI 3.1), made once; bodies are those that are read."""
    if app.openapi_schema is None:
        from crossmargin.apps.server.answers import answers  # with every analysis: for who reads it

        made = app.openapi()
        made["components"] = {**made.get("components", {}), "schemas": {**components(), **answers()}}
        for path in made["paths"].values():
            for operation in path.values():
                operation["responses"].pop("422", None)
                operation["responses"]["default"] = {"$ref": "#/components/responses/Problem"}
        made["components"]["responses"] = {"Problem": _PROBLEM}
        app.openapi_schema = made
    return app.openapi_schema


_PROBLEM = {
    "description": "Why it is not answered (RFC 9457), every fault with its path.",
    "content": {
        "application/problem+json": {
            "schema": {
                "type": "object",
                "required": ["type", "title", "status", "detail", "faults"],
                "properties": {
                    **{name: {"type": "string"} for name in ("type", "title", "detail")},
                    "status": {"type": "integer"},
                    "faults": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["path", "value", "why"],
                            "properties": {name: {"type": "string"} for name in ("path", "value", "why")},
                        },
                    },
                },
            }
        }
    },
}
