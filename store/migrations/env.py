"""Run by alembic: takes the connection, and the transaction on it, from `store.migrate`."""

from alembic import context

# What alembic believes of SQLite is too modest: the writer's connection begins by itself, and DDL is then
# part of it.
context.configure(connection=context.config.attributes["connection"], transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
