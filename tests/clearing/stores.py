"""Where the tests keep books: SQLite files, and PostgreSQL where ``CROSSMARGIN_TEST_POSTGRES_URL`` names a server.

``./dev postgres`` starts one, and says in ``CROSSMARGIN_TEST_POSTGRES_RESTART`` how it is restarted.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

SERVER = os.environ.get("CROSSMARGIN_TEST_POSTGRES_URL")
RESTART = os.environ.get("CROSSMARGIN_TEST_POSTGRES_RESTART")
STORES = ["sqlite", "postgresql"] if SERVER else ["sqlite"]


@contextmanager
def place(kind: str, folder: Path, name: str = "books") -> Iterator[str]:
    """A place for new books, gone afterwards."""
    if kind == "sqlite":
        yield str(folder / f"{name}.db")
        return
    database = f"test_{uuid.uuid4().hex}"
    server = sa.create_engine(SERVER or "", isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with server.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {database}"))
    yield server.url.set(database=database).render_as_string(hide_password=False)
    with server.connect() as connection:
        connection.execute(sa.text(f"DROP DATABASE {database} WITH (FORCE)"))
    server.dispose()
