"""The second wall between tenants: row-level security of PostgreSQL, which holds whatever a statement asks for.

Every transaction says for whom it runs, and the policy of each table with a tenant lets it see and write the rows of
that tenant alone. It guards against a statement that forgets its tenant, not against one who can run statements of
their own: those may say another tenant. SQLite has nothing of the kind; there the statements are the only wall.
"""

from __future__ import annotations

from crossmargin.files.database import sa

SETTING = "crossmargin.tenant"
"""What a transaction says; it ends with the transaction."""
EVERY = "*"
"""Said by the service's own work across tenants."""
BEFORE = "="
"""Stands before a tenant's name: whatever it is called, it is then not :data:`EVERY`, and no name is silence."""

_SAY = sa.text("SELECT set_config(:name, :said, true)")
_ROLE = sa.text("SELECT rolname, rolsuper, rolbypassrls FROM pg_roles WHERE rolname = current_user")


def say_tenant(connection: sa.Connection, tenant: str | None) -> None:
    """Say for whom the transaction of this connection runs; None: for the service itself."""
    if connection.dialect.name == "postgresql":
        said = EVERY if tenant is None else BEFORE + tenant
        connection.execute(_SAY, {"name": SETTING, "said": said})


def no_wall(connection: sa.Connection) -> str | None:
    """Why the database does not keep tenants apart by itself, with the remedy; None where it does."""
    if connection.dialect.name != "postgresql":
        return "SQLite has no row-level security; keep the store in PostgreSQL"
    name, above, bypasses = connection.execute(_ROLE).one()
    if not (above or bypasses):
        return None
    what = "a superuser" if above else "allowed to bypass row-level security"
    return f"the role {name} is {what}, so that no policy holds it; give the store a role of its own that is neither"
