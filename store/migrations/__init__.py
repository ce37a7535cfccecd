"""Run by alembic, from `store.migrate`."""
