"""The tables, portable between SQLite and PostgreSQL: no JSON operators, no arrays, times as RFC 3339 text.

Money is integer nano-dollars (a token of the cheapest kind costs 10 of them), so sums are exact.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData()

# SQLite counts rows up by itself only where the type is spelled INTEGER.
_Serial = BigInteger().with_variant(Integer, "sqlite")

sessions = Table(
    "sessions",
    metadata,
    Column("uid", String(64), primary_key=True),
    Column("namespace", String(63), nullable=False),
    Column("name", String(253), nullable=False),
    Column("project", String(63), nullable=False),
    Column("claude_session_id", String(64)),
    Column("created_at", String(30), nullable=False),
    Column("last_event", BigInteger, nullable=False),
    Column("last_inbox", BigInteger, nullable=False),
    Column("stored_bytes", BigInteger, nullable=False),
    Column("journal_full", Boolean, nullable=False),
    Column("cancel_requested_at", String(30)),
    Column("cancel_deadline", String(30)),
    Column("published_branch", String(255)),
    Column("published_commit", String(64)),
    Column("pull_request_url", String(2000)),
    Column("pull_request_number", Integer),
)

attempts = Table(
    "attempts",
    metadata,
    Column("session_uid", String(64), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("pod_uid", String(64), nullable=False, unique=True),
    Column("namespace", String(63), nullable=False),
    Column("project", String(63), nullable=False),
    Column("grant", Text, nullable=False),
    Column("claimed_at", String(30), nullable=False),
    Column("closed_at", String(30)),
    Column("acknowledged", BigInteger, nullable=False),
    Column("input_tokens", BigInteger, nullable=False),
    Column("output_tokens", BigInteger, nullable=False),
    Column("cache_read_tokens", BigInteger, nullable=False),
    Column("cache_write_tokens", BigInteger, nullable=False),
    Column("cost_nanousd", BigInteger, nullable=False),
    Column("turns", Integer, nullable=False),
    Column("estimated", Boolean, nullable=False),
    Column("reported", Text),
    Column("verdict", String(63)),
    Column("verdict_area", String(20)),
    Column("verdict_message", Text, nullable=False),
)
Index("attempts_open", attempts.c.namespace, attempts.c.project, attempts.c.closed_at)

fenced_pods = Table(
    "fenced_pods",
    metadata,
    Column("pod_uid", String(64), primary_key=True),
    Column("session_uid", String(64), nullable=False, index=True),
    Column("why", Text, nullable=False),
)

branch_locks = Table(
    "branch_locks",
    metadata,
    Column("host", String(253), primary_key=True),
    Column("repository", String(255), primary_key=True),
    Column("branch", String(255), primary_key=True),
    Column("session_uid", String(64), nullable=False, index=True),
)

pushes = Table(
    "pushes",
    metadata,
    Column("host", String(253), primary_key=True),
    Column("repository", String(255), primary_key=True),
    Column("branch", String(255), primary_key=True),
    Column("session_uid", String(64), primary_key=True),
    Column("commit", String(64)),
    Column("pending", String(64)),
)
"""What a session has put on a branch: `commit` was accepted, `pending` was forwarded and not yet answered."""

reservations = Table(
    "reservations",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("session_uid", String(64), nullable=False, index=True),
    Column("attempt", Integer, nullable=False),
    Column("model", String(100), nullable=False),
    Column("started_at", String(30), nullable=False),
    Column("input_tokens", BigInteger, nullable=False),
    Column("output_tokens", BigInteger, nullable=False),
    Column("cost_nanousd", BigInteger, nullable=False),
)
"""Model requests under way; one that is found at start was cut off by a crash and is booked whole."""

spending = Table(
    "spending",
    metadata,
    Column("namespace", String(63), primary_key=True),
    Column("project", String(63), primary_key=True),
    Column("day", String(10), primary_key=True),
    Column("cost_nanousd", BigInteger, nullable=False),
)

events = Table(
    "events",
    metadata,
    Column("session_uid", String(64), primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("attempt", Integer, nullable=False),
    Column("pod_seq", BigInteger),
    Column("source", String(10), nullable=False),
    Column("time", String(40), nullable=False),
    Column("type", String(100), nullable=False),
    Column("data", Text, nullable=False),
    UniqueConstraint("session_uid", "attempt", "pod_seq", name="events_once"),
)

blobs = Table(
    "blobs",
    metadata,
    Column("session_uid", String(64), primary_key=True),
    Column("sha256", String(64), primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("complete", Boolean, nullable=False),
    Column("touched_at", String(30), nullable=False),
)

chunks = Table(
    "chunks",
    metadata,
    Column("session_uid", String(64), primary_key=True),
    Column("sha256", String(64), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("data", LargeBinary, nullable=False),
)

checkpoints = Table(
    "checkpoints",
    metadata,
    Column("session_uid", String(64), primary_key=True),
    Column("attempt", Integer, nullable=False),
    Column("taken_at", String(30), nullable=False),
    Column("body", Text, nullable=False),
)

artifacts = Table(
    "artifacts",
    metadata,
    Column("session_uid", String(64), primary_key=True),
    Column("path", String(1024), primary_key=True),
    Column("sha256", String(64), nullable=False),
    Column("size", BigInteger, nullable=False),
)

inbox = Table(
    "inbox",
    metadata,
    Column("session_uid", String(64), primary_key=True),
    Column("id", BigInteger, primary_key=True),
    Column("kind", String(20), nullable=False),
    Column("text", Text, nullable=False),
)

outcomes = Table(
    "outcomes",
    metadata,
    Column("serial", _Serial, primary_key=True, autoincrement=True),
    Column("uid", String(64), nullable=False, unique=True),
    Column("namespace", String(63), nullable=False),
    Column("name", String(253), nullable=False),
    Column("recorded_at", String(30), nullable=False),
    Column("body", Text, nullable=False),
)
Index("outcomes_by_name", outcomes.c.namespace, outcomes.c.name, outcomes.c.serial)

outbox = Table(
    "outbox",
    metadata,
    Column("session_uid", String(64), primary_key=True),
    Column("kind", String(20), primary_key=True),
    Column("id", String(36), nullable=False, unique=True),
    Column("version", Integer, nullable=False),
    Column("namespace", String(63), nullable=False),
    Column("project", String(63), nullable=False),
    Column("target", String(300), nullable=False),
    Column("body", Text, nullable=False),
    Column("kept", Text, nullable=False),
    Column("state", String(10), nullable=False),
    Column("tries", Integer, nullable=False),
    Column("fault", Text, nullable=False),
    Column("wanted_at", String(30), nullable=False),
    Column("due_at", String(30), nullable=False),
    Column("ended_at", String(30)),
)
"""What is owed to the outside on behalf of a session; see gateway/outbox."""
Index("outbox_due", outbox.c.state, outbox.c.due_at)

github_deliveries = Table(
    "github_deliveries",
    metadata,
    Column("serial", _Serial, primary_key=True, autoincrement=True),
    Column("namespace", String(63), nullable=False),
    Column("project", String(63), nullable=False),
    Column("delivery_id", String(64), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("repository", String(400), nullable=False),
    Column("event", String(64), nullable=False),
    Column("payload", Text, nullable=False),
    Column("received_at", String(30), nullable=False),
    Column("due_at", String(30), nullable=False),
    Column("tries", Integer, nullable=False),
    Column("done_at", String(30)),
    Column("verdict", Text, nullable=False),
    UniqueConstraint("namespace", "project", "delivery_id", name="github_deliveries_id"),
    UniqueConstraint("namespace", "project", "digest", name="github_deliveries_digest"),
)
"""Events of GitHub, each once for each project; see gateway/github/deliveries."""
Index("github_deliveries_due", github_deliveries.c.done_at, github_deliveries.c.due_at)

github_answers = Table(
    "github_answers",
    metadata,
    Column("session_uid", String(64), primary_key=True),
    Column("namespace", String(63), nullable=False),
    Column("name", String(253), nullable=False),
    Column("project", String(63), nullable=False),
    Column("repository", String(400), nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("commit", String(64)),
    Column("body", Text, nullable=False),
    Column("created_at", String(30), nullable=False),
)
"""Where a session's answer goes; see gateway/github/answers."""
Index(
    "github_answers_by_commit", github_answers.c.repository, github_answers.c.number, github_answers.c.commit
)
