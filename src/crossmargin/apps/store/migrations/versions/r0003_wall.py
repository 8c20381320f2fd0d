"""Row-level security on every table that has a tenant (PostgreSQL): a transaction sees rows of whom it runs for.

The policy is stated here as it was when this revision was made; ``apps/store/wall.py`` says what transactions say.
"""

from alembic import op

revision = "0003"
down_revision = "0002"

TABLES = (
    "accounts", "account_files", "history", "tokens", "answers", "audit",
    "alert_rules", "monitor_states", "alerts", "deliveries", "readings",
)  # fmt: skip
POLICY = "current_setting('crossmargin.tenant', true) IN ('*', '=' || tenant)"


def upgrade() -> None:
    """Put up the wall; the owner of the tables, who is the service's own role, is held by it too."""
    if op.get_bind().dialect.name == "postgresql":
        for name in TABLES:
            op.execute(f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY")
            op.execute(f"ALTER TABLE {name} FORCE ROW LEVEL SECURITY")
            op.execute(f"CREATE POLICY tenant ON {name} USING ({POLICY}) WITH CHECK ({POLICY})")


def downgrade() -> None:
    """Take it down."""
    if op.get_bind().dialect.name == "postgresql":
        for name in TABLES:
            op.execute(f"DROP POLICY tenant ON {name}")
            op.execute(f"ALTER TABLE {name} NO FORCE ROW LEVEL SECURITY")
            op.execute(f"ALTER TABLE {name} DISABLE ROW LEVEL SECURITY")
