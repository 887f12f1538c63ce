"""Ratings by people who read dialogues."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Makes the table of judgements."""
    op.create_table(
        "hybrid_judgements",
        sa.Column("dialogue", sa.String(64), primary_key=True),
        sa.Column("judge", sa.String(64), primary_key=True),
        sa.Column("model", sa.String(255), nullable=False),
        sa.Column("ratings", sa.Text, nullable=False),
        sa.Column("finished", sa.Boolean, nullable=False),
        sa.Column("touched", sa.Float(53), nullable=False),
    )
