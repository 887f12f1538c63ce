"""What Alembic runs: the connection comes from the store, which holds the lock and commits."""

from alembic import context

from rasa_hybrid.feedback.schema import VERSION_TABLE, metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    render_as_batch=True,
    transactional_ddl=True,
)
context.run_migrations()
