"""Alembic's entry: migrate over the connection that `Database.migrate` hands in."""

from alembic import context

from ebbtide.store.tables import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, transactional_ddl=False)
context.run_migrations()
