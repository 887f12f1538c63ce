"""Episodes, feedback, models."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Makes the first tables."""
    op.create_table(
        "hybrid_episodes",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("sender", sa.String(255), nullable=False, index=True),
        sa.Column("begun", sa.Float(53), nullable=False),
        sa.Column("ended", sa.Float(53)),
        sa.Column("settled", sa.Float(53), index=True),
        sa.Column("status", sa.String(16), nullable=False, index=True),
        sa.Column("success", sa.Boolean),
        sa.Column("reward", sa.Float(53)),
        sa.Column("rating", sa.Float(53)),
        sa.Column("source", sa.String(16)),
        sa.Column("model", sa.String(64), index=True),
        sa.Column("turns", sa.Integer),
        sa.Column("sampled", sa.Boolean),
        sa.Column("dialogue", sa.Text),
        sa.Column("decisions", sa.Text),
        sa.Column("redacted", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("candidate", sa.String(64), index=True),
    )
    op.create_table(
        "hybrid_feedback",
        sa.Column("id", sa.String(128), primary_key=True),
        sa.Column("episode", sa.String(64), nullable=False, index=True),
        sa.Column("sender", sa.String(255), nullable=False),
        sa.Column("success", sa.Boolean),
        sa.Column("reward", sa.Float(53)),
        sa.Column("rating", sa.Float(53)),
        sa.Column("comment", sa.Text),
        sa.Column("received", sa.Float(53), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
    )
    op.create_index("ix_hybrid_feedback_sender_received", "hybrid_feedback", ["sender", "received"])
    op.create_table(
        "hybrid_models",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("parent", sa.String(64), index=True),
        sa.Column("learner", sa.String(64)),
        sa.Column("archive", sa.Text),
        sa.Column("status", sa.String(16), nullable=False, index=True),
        sa.Column("created", sa.Float(53), nullable=False),
        sa.Column("lease", sa.Float(53)),
        sa.Column("decided", sa.Float(53)),
        sa.Column("figures", sa.Text),
    )
    op.create_table(
        "hybrid_heads",
        sa.Column("name", sa.String(16), primary_key=True),
        sa.Column("model", sa.String(64), nullable=False),
    )
    op.create_table(
        "hybrid_forgotten",
        sa.Column("sender_hash", sa.String(64), primary_key=True),
        sa.Column("until", sa.Float(53), nullable=False),
    )
    op.create_table(
        "hybrid_facts",
        sa.Column("name", sa.String(160), primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
    op.create_table(
        "hybrid_events",
        sa.Column("source", sa.String(128), primary_key=True),
        sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("sender", sa.String(255), nullable=False, index=True),
        sa.Column("at", sa.Float(53), nullable=False),
        sa.Column("data", sa.Text, nullable=False),
    )
