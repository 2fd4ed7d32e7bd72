"""Alembic's scripts; `claude_operator.gateway.store.migrate` runs them."""
