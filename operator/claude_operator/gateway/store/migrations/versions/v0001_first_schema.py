"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create every table."""
    op.create_table(
        "artifacts",
        sa.Column("session_uid", sa.String(length=64), nullable=False),
        sa.Column("path", sa.String(length=1024), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("session_uid", "path"),
    )
    op.create_table(
        "attempts",
        sa.Column("session_uid", sa.String(length=64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("pod_uid", sa.String(length=64), nullable=False),
        sa.Column("namespace", sa.String(length=63), nullable=False),
        sa.Column("project", sa.String(length=63), nullable=False),
        sa.Column("grant", sa.Text(), nullable=False),
        sa.Column("claimed_at", sa.String(length=30), nullable=False),
        sa.Column("closed_at", sa.String(length=30), nullable=True),
        sa.Column("acknowledged", sa.BigInteger(), nullable=False),
        sa.Column("input_tokens", sa.BigInteger(), nullable=False),
        sa.Column("output_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cache_read_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cache_write_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cost_nanousd", sa.BigInteger(), nullable=False),
        sa.Column("turns", sa.Integer(), nullable=False),
        sa.Column("estimated", sa.Boolean(), nullable=False),
        sa.Column("reported", sa.Text(), nullable=True),
        sa.Column("verdict", sa.String(length=63), nullable=True),
        sa.Column("verdict_area", sa.String(length=20), nullable=True),
        sa.Column("verdict_message", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("session_uid", "number"),
        sa.UniqueConstraint("pod_uid"),
    )
    op.create_index("attempts_open", "attempts", ["namespace", "project", "closed_at"], unique=False)
    op.create_table(
        "blobs",
        sa.Column("session_uid", sa.String(length=64), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("complete", sa.Boolean(), nullable=False),
        sa.Column("touched_at", sa.String(length=30), nullable=False),
        sa.PrimaryKeyConstraint("session_uid", "sha256"),
    )
    op.create_table(
        "branch_locks",
        sa.Column("host", sa.String(length=253), nullable=False),
        sa.Column("repository", sa.String(length=255), nullable=False),
        sa.Column("branch", sa.String(length=255), nullable=False),
        sa.Column("session_uid", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("host", "repository", "branch"),
    )
    op.create_index(op.f("ix_branch_locks_session_uid"), "branch_locks", ["session_uid"], unique=False)
    op.create_table(
        "checkpoints",
        sa.Column("session_uid", sa.String(length=64), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("taken_at", sa.String(length=30), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("session_uid"),
    )
    op.create_table(
        "chunks",
        sa.Column("session_uid", sa.String(length=64), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("session_uid", "sha256", "number"),
    )
    op.create_table(
        "events",
        sa.Column("session_uid", sa.String(length=64), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("pod_seq", sa.BigInteger(), nullable=True),
        sa.Column("source", sa.String(length=10), nullable=False),
        sa.Column("time", sa.String(length=40), nullable=False),
        sa.Column("type", sa.String(length=100), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("session_uid", "seq"),
        sa.UniqueConstraint("session_uid", "attempt", "pod_seq", name="events_once"),
    )
    op.create_table(
        "fenced_pods",
        sa.Column("pod_uid", sa.String(length=64), nullable=False),
        sa.Column("session_uid", sa.String(length=64), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("pod_uid"),
    )
    op.create_index(op.f("ix_fenced_pods_session_uid"), "fenced_pods", ["session_uid"], unique=False)
    op.create_table(
        "inbox",
        sa.Column("session_uid", sa.String(length=64), nullable=False),
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("session_uid", "id"),
    )
    op.create_table(
        "outcomes",
        sa.Column(
            "serial", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("uid", sa.String(length=64), nullable=False),
        sa.Column("namespace", sa.String(length=63), nullable=False),
        sa.Column("name", sa.String(length=253), nullable=False),
        sa.Column("recorded_at", sa.String(length=30), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("serial"),
        sa.UniqueConstraint("uid"),
    )
    op.create_index("outcomes_by_name", "outcomes", ["namespace", "name", "serial"], unique=False)
    op.create_table(
        "pushes",
        sa.Column("host", sa.String(length=253), nullable=False),
        sa.Column("repository", sa.String(length=255), nullable=False),
        sa.Column("branch", sa.String(length=255), nullable=False),
        sa.Column("session_uid", sa.String(length=64), nullable=False),
        sa.Column("commit", sa.String(length=64), nullable=True),
        sa.Column("pending", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("host", "repository", "branch", "session_uid"),
    )
    op.create_table(
        "reservations",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("session_uid", sa.String(length=64), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("model", sa.String(length=100), nullable=False),
        sa.Column("started_at", sa.String(length=30), nullable=False),
        sa.Column("input_tokens", sa.BigInteger(), nullable=False),
        sa.Column("output_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cost_nanousd", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_reservations_session_uid"), "reservations", ["session_uid"], unique=False)
    op.create_table(
        "sessions",
        sa.Column("uid", sa.String(length=64), nullable=False),
        sa.Column("namespace", sa.String(length=63), nullable=False),
        sa.Column("name", sa.String(length=253), nullable=False),
        sa.Column("project", sa.String(length=63), nullable=False),
        sa.Column("claude_session_id", sa.String(length=64), nullable=True),
        sa.Column("created_at", sa.String(length=30), nullable=False),
        sa.Column("last_event", sa.BigInteger(), nullable=False),
        sa.Column("last_inbox", sa.BigInteger(), nullable=False),
        sa.Column("stored_bytes", sa.BigInteger(), nullable=False),
        sa.Column("journal_full", sa.Boolean(), nullable=False),
        sa.Column("cancel_requested_at", sa.String(length=30), nullable=True),
        sa.Column("cancel_deadline", sa.String(length=30), nullable=True),
        sa.Column("published_branch", sa.String(length=255), nullable=True),
        sa.Column("published_commit", sa.String(length=64), nullable=True),
        sa.Column("pull_request_url", sa.String(length=2000), nullable=True),
        sa.Column("pull_request_number", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("uid"),
    )
    op.create_table(
        "spending",
        sa.Column("namespace", sa.String(length=63), nullable=False),
        sa.Column("project", sa.String(length=63), nullable=False),
        sa.Column("day", sa.String(length=10), nullable=False),
        sa.Column("cost_nanousd", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("namespace", "project", "day"),
    )
