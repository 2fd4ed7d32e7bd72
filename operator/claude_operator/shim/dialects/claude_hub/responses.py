"""What clients get, as models: for the OpenAPI document, and for the tests that hold `render` to it.

`render` builds plain objects: a list of 500 sessions is no place for 500 validations of our own data.
"""

from __future__ import annotations

from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from claude_operator.shim.dialects.claude_hub.requests import SessionType, Status

T = TypeVar("T")
When = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
Uuid = Annotated[str, Field(json_schema_extra={"format": "uuid"})]


class _Response(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        strict=True,
        use_attribute_docstrings=True,
        # A client written today must not trip over a member that is added tomorrow.
        json_schema_extra={"additionalProperties": True},
    )


class SessionProject(_Response):
    """As it was asked for."""

    repository: str
    branch: str | None
    requirements: str
    context: str | None


class Artifact(_Response):
    """Something that the session has made."""

    type: Literal["file", "commit", "pr", "issue", "comment"]
    path: str | None = None
    content: str | None = None
    """Of a text file of at most 64 KiB, where it is known whole."""
    sha: str | None = None
    """The commit; of a file, the commit that it was published with."""
    url: str | None = None
    metadata: dict[str, Any] = {}


class ResourceUsage(_Response):
    """Of the session's containers."""

    cpu_time: float | None
    """Seconds."""
    memory_peak: str | None
    """Megabytes, such as `512MB`."""


class Output(_Response):
    """What the session has left; empty before its end."""

    logs: list[str]
    artifacts: list[Artifact]
    summary: str
    next_steps: list[str]
    execution_time: float | None = None
    """Seconds from the agent's start to the end."""
    resource_usage: ResourceUsage | None = None


class Session(_Response):
    """A session, with its continuations one."""

    id: Uuid
    type: SessionType
    status: Status
    project: SessionProject
    dependencies: list[str]
    metadata: dict[str, Any]
    options: dict[str, Any]
    container_id: str | None
    """The pod of the last attempt."""
    claude_session_id: str | None
    created_at: When
    started_at: When | None
    completed_at: When | None
    output: Output
    """Logs and files come with `session.output` alone."""
    error: str | None
    phase: str
    """Where the ClaudeSession stands; finer than `status`."""
    reason: str
    """Why; one of a closed list."""
    cost_usd: Annotated[float | None, Field(alias="costUSD")]
    turns: int | None


class QueueStatus(_Response):
    """What an unstarted session waits for."""

    waiting_for: list[str]
    estimated_start_time: When | None


class _OneSession(_Response):
    session: Session
    session_id: Uuid
    status: str
    error: str | None = None
    waiting_for: list[str] | None = None
    queue_status: QueueStatus | None = None


class SessionData(_OneSession):
    """Of every operation on one session."""


class DeletedData(_OneSession):
    """Of `session.delete`."""

    deleted: Literal[True]


class OutputData(_OneSession):
    """Of `session.output`."""

    output: Output
    summary: str
    artifacts: list[Artifact]


class ListData(_Response):
    """Of `session.list`."""

    sessions: list[Session]
    continue_: Annotated[str | None, Field(alias="continue")]
    """For the next page; null on the last one."""


class OrchestrationData(_Response):
    """Of `orchestrate`."""

    orchestration_id: Uuid
    status: Literal["initiated"]
    sessions: list[Session]
    summary: str
    session: Session
    session_id: Uuid


class Result(_Response, Generic[T]):
    """One handler's answer: what the original's envelope holds."""

    success: Literal[True]
    message: str
    data: T


class Answer(Result[T], Generic[T]):
    """The documented answer, and around the same object the original's envelope."""

    event: str
    handler_count: Literal[1]
    results: list[Result[T]]


class ErrorResult(_Response):
    """One handler's refusal."""

    success: Literal[False]
    error: str


class ErrorAnswer(ErrorResult):
    """The documented error; with the envelope where a handler has refused."""

    message: str | None = None
    event: str | None = None
    handler_count: Literal[1] | None = None
    results: list[ErrorResult] | None = None
