"""A service in this process over a store of its own, for one user or for two tenants with tokens."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from crossmargin.apps.server.app import create_app
from crossmargin.apps.server.settings import Settings
from crossmargin.apps.store.store import Store
from crossmargin.apps.store.tokens import create_token
from crossmargin.files.accounts import read_table
from crossmargin.model.report import to_plain

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
SERVER = os.environ.get("CROSSMARGIN_TEST_POSTGRES_URL")
STORES = ["sqlite", "postgresql"] if SERVER else ["sqlite"]
EVERY = ("read", "what-if", "command", "admin")


STREAM = "ws://localhost/v1/stream"


def account(name: str = "article-3.1") -> dict[str, Any]:
    """An example account as JSON."""
    found: dict[str, Any] = to_plain(read_table(str(EXAMPLES / f"{name}.toml"))[0])
    return found


@pytest.fixture(params=STORES)
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A place for a new store."""
    if request.param == "sqlite":
        yield str(tmp_path / "service.db")
        return
    assert SERVER is not None
    # as a role that owns the tables and is no superuser: row-level security holds it
    name = f"service_{uuid.uuid4().hex}"
    server = sa.create_engine(SERVER, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(sa.text(f"CREATE ROLE {name} LOGIN"))
        connection.execute(sa.text(f"CREATE DATABASE {name} OWNER {name}"))
    yield sa.make_url(SERVER).set(database=name, username=name).render_as_string(hide_password=False)
    with server.connect() as connection:
        connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))
        connection.execute(sa.text(f"DROP ROLE {name}"))
    server.dispose()


@pytest.fixture
def store(where: str) -> Iterator[Store]:
    """A new store."""
    made = Store(where)
    yield made
    made.close()


Serving = Callable[..., TestClient]


@pytest.fixture
def serving(store: Store) -> Iterator[Serving]:
    """Start a service with these settings; ended after the test."""
    open_clients: list[TestClient] = []

    def serve(**settings: Any) -> TestClient:
        app = create_app(Settings(**{"rate": 1e6, "burst": 10**6, **settings}), store)
        client = TestClient(app, base_url="http://localhost", raise_server_exceptions=False)
        client.__enter__()
        open_clients.append(client)
        return client

    yield serve
    for client in open_clients:
        client.__exit__(None, None, None)


@pytest.fixture
def client(serving: Serving) -> TestClient:
    """A service for one user."""
    return serving()


@pytest.fixture
def token(store: Store) -> Callable[..., dict[str, str]]:
    """Make a token; the header that bears it."""

    def made(tenant: str = "one", *scopes: str, days: int | None = None) -> dict[str, str]:
        secret, _ = create_token(store, tenant, "a test", scopes or EVERY, who="test", days=days)
        return {"Authorization": f"Bearer {secret}"}

    return made
