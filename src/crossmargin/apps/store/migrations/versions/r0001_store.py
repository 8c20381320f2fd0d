"""The service: accounts, snapshots, history, tokens, answers already given, the audit log; a tenant on every row."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def _text(name: str, size: int, *, null: bool = False, key: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.String(size), nullable=null, primary_key=key)


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "accounts",
        _text("tenant", 64, key=True),
        _text("id", 128, key=True),
        _text("snapshot", 64),
        _text("taken_at", 40),
        sa.Column("summary", sa.Text, nullable=False),
    )
    op.create_table(
        "account_files",
        _text("tenant", 64, key=True),
        _text("account", 128, key=True),
        _text("id", 64, key=True),
        sa.Column("file", sa.Text, nullable=False),
    )
    op.create_table(
        "history",
        _text("tenant", 64, key=True),
        _text("account", 128, key=True),
        sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
        _text("taken_at", 40),
        _text("snapshot", 64),
        _text("currency", 32),
        *(_text(name, 64, null=True) for name in ("equity", "maintenance_margin", "headroom")),
        _text("status", 16),
    )
    op.create_table(
        "tokens",
        _text("digest", 64, key=True),
        _text("id", 32),
        _text("tenant", 64),
        _text("name", 128),
        _text("scopes", 64),
        _text("created_at", 40),
        *(_text(name, 40, null=True) for name in ("expires_at", "used_at", "revoked_at")),
        sa.UniqueConstraint("id", name="tokens_id"),
    )
    op.create_table(
        "answers",
        _text("tenant", 64, key=True),
        _text("key", 128, key=True),
        _text("request", 64),
        _text("given_at", 40),
        sa.Column("status", sa.Integer, nullable=False),
        _text("etag", 80),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_table(
        "audit",
        _text("tenant", 64, key=True),
        sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
        _text("at", 40),
        _text("who", 128),
        _text("what", 64),
        _text("object", 256),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("before", "after")),
        _text("hash", 64),
    )


def downgrade() -> None:
    """Drop the tables."""
    for name in ("audit", "answers", "tokens", "history", "account_files", "accounts"):
        op.drop_table(name)
