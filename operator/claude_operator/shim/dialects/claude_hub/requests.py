"""What clients send, as models: every field of both documents, validated, nothing coerced.

Options stand beside the session (as documented) or inside it (as an existing client sends them); both are
read, the outer one wins. Unknown members are ignored where the documents close the list, and kept where they
leave it open (metadata, options).
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from claude_operator.resources.identity import is_uuid

MAX_DEPTH: Final = 8
"""Levels of lists and objects in metadata and options."""
MAX_PAGE: Final = 1000
PAGE: Final = 500
_NONE: Final = "none"

SessionType = Literal["implementation", "analysis", "testing", "review", "coordination"]
Status = Literal["pending", "initializing", "running", "completed", "failed", "cancelled"]
Priority = Literal["high", "medium", "normal", "low"]
Text = Annotated[str, Field(max_length=200_000)]
Uuid = Annotated[str, Field(json_schema_extra={"format": "uuid"})]


class _Request(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=False,
        extra="ignore",
        strict=True,
        frozen=True,
        use_attribute_docstrings=True,
    )


class Project(_Request):
    """What is to be worked on."""

    repository: Annotated[
        str,
        Field(
            max_length=300,
            pattern=r"^[a-zA-Z0-9-]+/[a-zA-Z0-9\-_.]+$",
            examples=["acme/webapp"],
        ),
    ]
    """`owner/repo` on the first host of the ClaudeProject."""
    branch: Annotated[str, Field(max_length=200, examples=["feature/user-auth"])] | None = None
    """The branch to start from; it must exist. Default: the repository's default branch."""
    requirements: Text
    """What is to be done; it reaches the prompt byte for byte."""
    context: Text | None = None
    """Background, likewise."""


class Metadata(_Request):
    """The client's own notes; further members of any kind are kept too."""

    model_config = ConfigDict(extra="allow")

    batch_id: Annotated[str, Field(max_length=256)] | None = None
    """Sessions with the same one are listed together (`orchestrationId`)."""
    tags: Annotated[list[Annotated[str, Field(max_length=256)]], Field(max_length=100)] | None = None
    priority: Priority | None = None
    """high starts first, low last, where sessions have to queue."""


class Options(_Request):
    """How a session is run; further members of any kind are kept."""

    model_config = ConfigDict(extra="allow")

    auto_start: bool | None = None
    """Start as soon as the dependencies have completed. Default: false."""
    timeout: Annotated[float, Field(ge=10, le=604_800)] | None = None
    """Seconds that the agent may take. Default: 1800."""
    notify_url: Annotated[str, Field(max_length=2000)] | None = None
    """Called when the session has ended. http or https, a public host."""


class NewSession(_Request):
    """A session to create."""

    id: Uuid | None = None
    """Chosen by the client: a repetition of the same request finds the session instead of making another."""
    type: SessionType = "implementation"
    project: Project
    dependencies: list[Uuid] | None = None
    """Ids of sessions that must complete first. Empty strings and "none" are left out."""
    metadata: Metadata | None = None
    options: Options | None = None


class SessionCreate(_Request):
    """`session.create`."""

    type: Literal["session.create"]
    session: NewSession
    options: Options | None = None


class _OnSession(_Request):
    session_id: Uuid


class SessionStart(_OnSession):
    """`session.start`: start, or queue until the dependencies have completed."""

    type: Literal["session.start"]


class SessionGet(_OnSession):
    """`session.get`."""

    type: Literal["session.get"]


class SessionOutput(_OnSession):
    """`session.output`."""

    type: Literal["session.output"]


class SessionList(_Request):
    """`session.list`: newest first, in pages."""

    type: Literal["session.list"]
    orchestration_id: Annotated[str, Field(max_length=256)] | None = None
    """A batchId, or the id of an orchestration."""
    status: Literal[Status, "all"] | None = None
    limit: Annotated[int, Field(ge=1, le=MAX_PAGE)] = PAGE
    continue_: Annotated[str | None, Field(alias="continue", max_length=500)] = None
    """`data.continue` of the page before."""


class SessionCancel(_OnSession):
    """`session.cancel`: stop it, and keep what was done."""

    type: Literal["session.cancel"]


class SessionDelete(_OnSession):
    """`session.delete`: remove it; one that runs is stopped."""

    type: Literal["session.delete"]


class SessionRetry(_OnSession):
    """`session.retry`: a finished session takes up its task again, under the same id."""

    type: Literal["session.retry"]
    options: Options | None = None


class SessionContinue(_OnSession):
    """`session.continue`: a finished session gets a further task: same conversation, same id."""

    type: Literal["session.continue"]
    requirements: Annotated[str, Field(max_length=200_000, pattern=r"\S")]
    options: Options | None = None


class Orchestrate(_Request):
    """`orchestrate`: one session of the type coordination. Deprecated: use session.create."""

    model_config = ConfigDict(json_schema_extra={"deprecated": True})

    type: Literal["orchestrate"]
    session_type: SessionType = "coordination"
    auto_start: bool = False
    project: Project
    dependencies: list[Uuid] | None = None
    metadata: Metadata | None = None
    options: Options | None = None


Request = (
    SessionCreate
    | SessionStart
    | SessionGet
    | SessionOutput
    | SessionList
    | SessionCancel
    | SessionDelete
    | SessionRetry
    | SessionContinue
    | Orchestrate
)
MODELS: Final[dict[str, type[Request]]] = {
    "session.create": SessionCreate,
    "session.start": SessionStart,
    "session.get": SessionGet,
    "session.output": SessionOutput,
    "session.list": SessionList,
    "session.cancel": SessionCancel,
    "session.delete": SessionDelete,
    "session.retry": SessionRetry,
    "session.continue": SessionContinue,
    "orchestrate": Orchestrate,
}
"""By the `type` of a body."""


def dependency_ids(given: list[str]) -> tuple[list[str], list[str]]:
    """The ids that count, and those that are no UUIDs."""
    wanted = [one for one in given if one.strip() and one.lower() != _NONE]
    return [one.lower() for one in wanted if is_uuid(one)], [one for one in wanted if not is_uuid(one)]
