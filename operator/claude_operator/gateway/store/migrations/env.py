"""Alembic's entry point: it runs on the connection that the gateway hands over."""

from __future__ import annotations

from alembic import context

from claude_operator.gateway.store.tables import metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    # SQLite cannot alter most columns: a step there copies the table.
    render_as_batch=True,
    transaction_per_migration=False,
)
# The transaction is the caller's.
context.run_migrations()
