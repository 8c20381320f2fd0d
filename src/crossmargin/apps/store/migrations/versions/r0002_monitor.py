"""The monitor: rules, what is remembered of each account, alerts, deliveries and readings. A tenant on every row."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def _text(name: str, size: int, *, null: bool = False, key: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.String(size), nullable=null, primary_key=key)


def _long(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False)


def _count(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer, nullable=False)


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "alert_rules", _text("tenant", 64, key=True), _text("id", 64, key=True), _count("place"), _long("body")
    )
    op.create_table(
        "monitor_states", _text("tenant", 64, key=True), _text("account", 256, key=True), _text("at", 40), _long("body")
    )
    op.create_table(
        "alerts",
        _text("tenant", 64, key=True),
        _text("id", 64, key=True),
        _text("account", 256),
        _text("raised_at", 40),
        *(_text(name, 40, null=True) for name in ("cleared_at", "acknowledged_at")),
        _text("acknowledged_by", 128, null=True),
        _long("body"),
    )
    op.create_index("alerts_by_time", "alerts", ["tenant", "raised_at"])
    op.create_table(
        "deliveries",
        _text("tenant", 64, key=True),
        _text("id", 64, key=True),
        _text("alert", 64),
        _text("channel", 64),
        _text("event", 16),
        _text("status", 16),
        _text("made_at", 40),
        _text("due_at", 40),
        _count("tries"),
        _long("said"),
        _long("body"),
    )
    op.create_index("deliveries_due", "deliveries", ["tenant", "channel", "status", "due_at"])
    op.create_table(
        "readings",
        _text("tenant", 64, key=True),
        _text("account", 256, key=True),
        _text("at", 40, key=True),
        _long("body"),
    )


def downgrade() -> None:
    """Drop the tables."""
    for name in ("readings", "deliveries", "alerts", "monitor_states", "alert_rules"):
        op.drop_table(name)
