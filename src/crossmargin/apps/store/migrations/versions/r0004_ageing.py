"""Ways to what is forgotten: readings by their age, deliveries by their alert."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make the indexes."""
    op.create_index("readings_by_time", "readings", ["at"])
    op.create_index("deliveries_by_alert", "deliveries", ["tenant", "alert"])


def downgrade() -> None:
    """Drop them."""
    op.drop_index("deliveries_by_alert", "deliveries")
    op.drop_index("readings_by_time", "readings")
