"""Alembic's entry: run the revisions on the connection that the store hands over."""

from alembic import context

from crossmargin.apps.store.wall import say_tenant

connection = context.config.attributes["connection"]
context.configure(connection=connection, version_table=context.config.attributes["versions"])
with context.begin_transaction():
    say_tenant(connection, None)  # a revision that changes rows changes those of every tenant
    context.run_migrations()
