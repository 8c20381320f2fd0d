"""Databases: one SQLite file or a PostgreSQL server, by the same statements; tables made and migrated by alembic."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from crossmargin.errors import CrossmarginError, Fault, MissingExtra

try:
    import sqlalchemy as sa
    from alembic import command as alembic
    from alembic.config import Config
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory
except ImportError as error:
    raise MissingExtra("database", f"needs {error.name}; install crossmargin[store]") from None

__all__ = ["Database", "hidden", "sa"]  # sqlalchemy by way of here: without it, one clear error


class Database:
    """A database whose tables are those of ``migrations``, and the errors that its user raises.

    ``where`` is the path of a SQLite file (``:memory:`` for one that ends with the process) or a database URL such as
    ``postgresql+psycopg://user@host/name``; ``migrations`` the folder of the alembic revisions. Two sets of tables
    live in one database side by side: each has a version table of its own, ``versions``.
    """

    def __init__(
        self, where: str, migrations: Path, error: type[CrossmarginError], *, versions: str = "alembic_version"
    ) -> None:
        self.where = where
        self._error = error
        self.engine = self._made(where)
        try:
            config = Config()
            config.set_main_option("script_location", str(migrations))
            config.attributes["versions"] = versions
            with self.engine.begin() as connection:
                config.attributes["connection"] = connection
                self._refuse_newer(connection, ScriptDirectory.from_config(config), versions)
                alembic.upgrade(config, "head")
        except CrossmarginError:
            self.engine.dispose()
            raise
        except Exception as fault:
            self.engine.dispose()
            raise self.failed("cannot be opened", fault) from fault

    def _refuse_newer(self, connection: sa.Connection, known: ScriptDirectory, versions: str) -> None:
        """Refuse tables of a version that is not known here: a later one made them."""
        context = MigrationContext.configure(connection, opts={"version_table": versions})
        ours = {revision.revision for revision in known.walk_revisions()}
        later = sorted(set(context.get_current_heads()) - ours)
        if later:
            why = (
                f"was written by a newer crossmargin: its tables are of version {', '.join(later)}, this one knows "
                f"them up to {known.get_current_head()}; upgrade crossmargin, or restore a copy from before"
            )
            raise self._error(hidden(self.where), (Fault("database", "", why),))

    def _made(self, where: str) -> sa.Engine:
        url = where if "://" in where else f"sqlite:///{where}"
        try:
            engine = sa.create_engine(url)
        except ImportError as fault:
            raise MissingExtra("database", f"needs {fault.name}; install crossmargin[store,postgres]") from None
        except sa.exc.ArgumentError as fault:
            raise self._error(
                hidden(where), (Fault("database", "", f"is no path and no database URL: {fault}"),)
            ) from None
        if engine.dialect.name == "sqlite":
            sa.event.listen(engine, "connect", _durable)
        return engine

    def failed(self, what: str, fault: Exception) -> CrossmarginError:
        """The error that says what could not be done, without a password."""
        said = str(getattr(fault, "orig", None) or fault).splitlines()[0]
        return self._error(hidden(self.where), (Fault("database", "", f"{what}: {said}"),))

    def close(self) -> None:
        """Let go of the database."""
        self.engine.dispose()


def _durable(connection: Any, _record: Any) -> None:
    """What a SQLite connection must be told: survive a power cut, and wait for another that writes."""
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=5000", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def hidden(where: str) -> str:
    """A URL without its user and password.

    >>> hidden("postgresql+psycopg://me:secret@db/books")
    'postgresql+psycopg://...@db/books'
    """
    head, _, rest = where.rpartition("@")
    return f"{head.split('://')[0]}://...@{rest}" if head and "://" in where else where
