"""Events of GitHub, and where the answers to them go."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_SERIAL = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "github_deliveries",
        sa.Column("serial", _SERIAL, autoincrement=True, nullable=False),
        sa.Column("namespace", sa.String(length=63), nullable=False),
        sa.Column("project", sa.String(length=63), nullable=False),
        sa.Column("delivery_id", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("repository", sa.String(length=400), nullable=False),
        sa.Column("event", sa.String(length=64), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("received_at", sa.String(length=30), nullable=False),
        sa.Column("due_at", sa.String(length=30), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("done_at", sa.String(length=30), nullable=True),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("serial"),
        sa.UniqueConstraint("namespace", "project", "delivery_id", name="github_deliveries_id"),
        sa.UniqueConstraint("namespace", "project", "digest", name="github_deliveries_digest"),
    )
    op.create_index("github_deliveries_due", "github_deliveries", ["done_at", "due_at"], unique=False)
    op.create_table(
        "github_answers",
        sa.Column("session_uid", sa.String(length=64), nullable=False),
        sa.Column("namespace", sa.String(length=63), nullable=False),
        sa.Column("name", sa.String(length=253), nullable=False),
        sa.Column("project", sa.String(length=63), nullable=False),
        sa.Column("repository", sa.String(length=400), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("commit", sa.String(length=64), nullable=True),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("created_at", sa.String(length=30), nullable=False),
        sa.PrimaryKeyConstraint("session_uid"),
    )
    op.create_index(
        "github_answers_by_commit", "github_answers", ["repository", "number", "commit"], unique=False
    )
