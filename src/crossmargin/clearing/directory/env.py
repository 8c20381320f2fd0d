"""Alembic's entry: run the revisions on the connection that the directory hands over."""

from alembic import context

connection = context.config.attributes["connection"]
context.configure(connection=connection, version_table=context.config.attributes["versions"])
with context.begin_transaction():
    context.run_migrations()
