"""The directory: the partitions of a venue, and the one that each account is in."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "partitions",
        sa.Column("name", sa.String(16), primary_key=True),
        sa.Column("journal", sa.Text, nullable=False, unique=True),
    )
    op.create_table(
        "accounts",
        sa.Column("account", sa.String(64), primary_key=True),
        sa.Column("partition", sa.String(16), nullable=False),
    )


def downgrade() -> None:
    """Drop the tables."""
    op.drop_table("accounts")
    op.drop_table("partitions")
