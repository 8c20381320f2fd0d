"""A store for each test: SQLite, and PostgreSQL where ``CROSSMARGIN_TEST_POSTGRES_URL`` names a server."""

from __future__ import annotations

import logging
import os
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from crossmargin.apps.store.store import Store

# the monitor's tests share watching.py; pytest's importlib mode adds no path of its own
sys.path.insert(0, str(Path(__file__).parent))

SERVER = os.environ.get("CROSSMARGIN_TEST_POSTGRES_URL")
STORES = ["sqlite", "postgresql"] if SERVER else ["sqlite"]


@pytest.fixture(params=STORES)
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A place for a new store."""
    if request.param == "sqlite":
        yield str(tmp_path / "monitor.db")
        return
    # as a role that owns the tables and is no superuser: row-level security holds it
    name = f"test_{uuid.uuid4().hex}"
    server = sa.create_engine(SERVER or "", isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(sa.text(f"CREATE ROLE {name} LOGIN"))
        connection.execute(sa.text(f"CREATE DATABASE {name} OWNER {name}"))
    yield server.url.set(database=name, username=name).render_as_string(hide_password=False)
    with server.connect() as connection:
        connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))
        connection.execute(sa.text(f"DROP ROLE {name}"))
    server.dispose()


@pytest.fixture
def store(where: str) -> Iterator[Store]:
    opened = Store(where)
    yield opened
    opened.close()


@pytest.fixture(autouse=True)
def log(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """The monitor's log reaches the tests whatever a command has done to it."""
    own = logging.getLogger("crossmargin.monitor")
    before = own.handlers[:], own.level, own.propagate
    own.handlers[:], own.propagate = [], True
    own.setLevel(logging.INFO)
    yield
    own.handlers[:], own.propagate = before[0], before[2]
    own.setLevel(before[1])
