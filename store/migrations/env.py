"""Run by alembic: takes the connection, and the transaction on it, from `store.migrate`."""

from alembic import context

# Alembic is too modest about SQLite: the writer begins its transactions itself, and DDL is then a part of them.
context.configure(connection=context.config.attributes["connection"], transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
