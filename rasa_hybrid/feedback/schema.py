"""The tables of the episode store, and their versions (Alembic, in `migrations/`).

The store may share a database with others: all tables begin with `hybrid_`, and so does the one that Alembic keeps
the version in.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

VERSION_TABLE = "hybrid_schema_version"
#: The newest version in `migrations/versions`.
VERSION = "0002"

metadata = sa.MetaData()

episodes = sa.Table(
    "hybrid_episodes",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("sender", sa.String(255), nullable=False, index=True),
    # Unix seconds: begin of the conversation's session, its last event (empty until it is assembled, and while it has to be
    # assembled again), when its outcome was known.
    sa.Column("begun", sa.Float(53), nullable=False),
    sa.Column("ended", sa.Float(53)),
    sa.Column("settled", sa.Float(53), index=True),
    sa.Column("status", sa.String(16), nullable=False, index=True),
    # The outcome, and who told it: feedback, event (intent, slot, action of the conversation), silence.
    sa.Column("success", sa.Boolean),
    sa.Column("reward", sa.Float(53)),
    sa.Column("rating", sa.Float(53)),
    sa.Column("source", sa.String(16)),
    # What the model saw and did (JSON); empty until the episode is assembled from the conversation's events.
    sa.Column("model", sa.String(64), index=True),
    sa.Column("turns", sa.Integer),
    sa.Column("sampled", sa.Boolean),
    sa.Column("dialogue", sa.Text),
    sa.Column("decisions", sa.Text),
    sa.Column("redacted", sa.Boolean, nullable=False, server_default=sa.false()),
    # The candidate model that holds or has used it.
    sa.Column("candidate", sa.String(64), index=True),
)

feedback = sa.Table(
    "hybrid_feedback",
    metadata,
    sa.Column("id", sa.String(128), primary_key=True),
    sa.Column("episode", sa.String(64), nullable=False, index=True),
    sa.Column("sender", sa.String(255), nullable=False),
    sa.Column("success", sa.Boolean),
    sa.Column("reward", sa.Float(53)),
    sa.Column("rating", sa.Float(53)),
    sa.Column("comment", sa.Text),
    sa.Column("received", sa.Float(53), nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Index("ix_hybrid_feedback_sender_received", "sender", "received"),
)

models = sa.Table(
    "hybrid_models",
    metadata,
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

#: One row, `name` = head: the model that is served.
heads = sa.Table(
    "hybrid_heads",
    metadata,
    sa.Column("name", sa.String(16), primary_key=True),
    sa.Column("model", sa.String(64), nullable=False),
)

#: Senders that asked to be forgotten, hashed: what they said before `until` is not stored again.
forgotten = sa.Table(
    "hybrid_forgotten",
    metadata,
    sa.Column("sender_hash", sa.String(64), primary_key=True),
    sa.Column("until", sa.Float(53), nullable=False),
)

#: Facts about the store itself: the secret of the conversations' tokens, how far a broker was read.
facts = sa.Table(
    "hybrid_facts",
    metadata,
    sa.Column("name", sa.String(160), primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)

#: Events from a broker, kept until their conversation is over; `source` and `position` say where they come from.
events = sa.Table(
    "hybrid_events",
    metadata,
    sa.Column("source", sa.String(128), primary_key=True),
    sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("sender", sa.String(255), nullable=False, index=True),
    sa.Column("at", sa.Float(53), nullable=False),
    sa.Column("data", sa.Text, nullable=False),
)

#: What people who read dialogues say of them: one row for each dialogue that a judge has taken.
judgements = sa.Table(
    "hybrid_judgements",
    metadata,
    sa.Column("dialogue", sa.String(64), primary_key=True),
    sa.Column("judge", sa.String(64), primary_key=True),
    sa.Column("model", sa.String(255), nullable=False),
    # A rating for each turn (JSON), null where there is none yet; whether there are all; the last one's Unix time.
    sa.Column("ratings", sa.Text, nullable=False),
    sa.Column("finished", sa.Boolean, nullable=False),
    sa.Column("touched", sa.Float(53), nullable=False),
)


def upgrade(connection: sa.engine.Connection) -> None:
    """Brings a database to `VERSION` within the connection's transaction.

    Raises:
        alembic.util.CommandError: if a later version of rasa_hybrid has made the tables.
    """
    from alembic import command
    from alembic.config import Config

    config = Config()
    location = str(Path(__file__).parent / "migrations")
    config.set_main_option("script_location", location.replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
