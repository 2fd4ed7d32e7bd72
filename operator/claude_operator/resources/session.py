"""ClaudeSession: one piece of work for Claude Code, declared.

The spec says what is wanted and is immutable but for a few knobs; what has come of it is the status
(session_status.py).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field, WithJsonSchema
from typing_extensions import override

from claude_operator.resources.lifecycle import ATTEMPT_REASONS, Reason
from claude_operator.resources.model import ApiModel, GitRef, ModelName, Name, cel, remedy
from claude_operator.resources.output_schema import OutputSchema
from claude_operator.resources.pod import PodSpec


class SessionType(StrEnum):
    """What kind of work it is; it shapes the prompt."""

    IMPLEMENTATION = "implementation"
    ANALYSIS = "analysis"
    TESTING = "testing"
    REVIEW = "review"
    COORDINATION = "coordination"


class When(StrEnum):
    """How a dependency must have ended for its dependent to start."""

    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    FINISHED = "Finished"


WebUrl = Annotated[
    str,
    Field(
        max_length=2000,
        pattern=r"^https?://[^\s/]",
        json_schema_extra=remedy("begin with https:// or http:// and a host"),
    ),
]


class Dependency(ApiModel):
    """Another session of the namespace that must end first; it need not exist yet."""

    name: Name
    when: When = When.SUCCEEDED
    """How it must have ended."""


class Limits(ApiModel):
    """Caps over all attempts together. Reaching one pauses the session; raising it goes on."""

    max_turns: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """Turns of the agent."""
    max_cost_usd: Annotated[float, Field(ge=0.01, le=100_000)] | None = None
    """US dollars, at the gateway's price table."""
    max_tokens: Annotated[int, Field(ge=1, le=10_000_000_000)] | None = None
    """Tokens of every kind, input and output."""


class Retry(ApiModel):
    """Further attempts after a failure; each resumes conversation and tree from the last checkpoint."""

    limit: Annotated[int, Field(ge=0, le=10)] = 0
    """Further attempts at the most."""
    backoff_seconds: Annotated[int, Field(ge=0, le=86_400)] = 10
    """Wait before the first retry; doubled before each further one."""
    on: Annotated[
        list[
            Annotated[
                Reason,
                WithJsonSchema({"type": "string", "enum": [reason.value for reason in ATTEMPT_REASONS]}),
            ]
        ],
        Field(max_length=len(ATTEMPT_REASONS)),
    ] = []
    """Reasons that are retried; empty: every reason that a new attempt could mend."""


class McpServer(ApiModel):
    """An MCP server for the CLI: a command in the pod, or a URL on an egress host of the project."""

    name: Annotated[
        str,
        Field(
            max_length=64,
            pattern=r"^[A-Za-z0-9_-]+$",
            json_schema_extra=remedy("use letters, digits, _ and -"),
        ),
    ]
    command: Annotated[str, Field(min_length=1, max_length=500)] | None = None
    """Started in the session's pod."""
    args: Annotated[list[Annotated[str, Field(max_length=1000)]], Field(max_length=50)] = []
    env: Annotated[dict[str, Annotated[str, Field(max_length=4000)]], Field(max_length=50)] = {}
    url: WebUrl | None = None

    @classmethod
    @override
    def rules(cls) -> list[dict[str, str]]:
        """Exactly one way to reach it."""
        return [
            cel("has(self.command) != has(self.url)", "give exactly one of command and url"),
            cel(
                "has(self.command) || "
                "((!has(self.args) || size(self.args) == 0) && (!has(self.env) || size(self.env) == 0))",
                "args and env belong to command: remove them or url",
            ),
        ]


class PullRequest(ApiModel):
    """Open a pull request from the published branch; done by the platform, not by the agent."""

    draft: bool = False
    title: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    """Default: first line of the agent's summary."""
    body: Annotated[str, Field(max_length=20_000)] | None = None
    base: GitRef | None = None
    """Default: the session's base branch."""


class Publish(ApiModel):
    """Where the work goes."""

    branch: GitRef | None = None
    """Default `claude/<name>-<uid5>`. Another must match a branch pattern of the project."""
    pull_request: PullRequest | None = None

    @classmethod
    @override
    def rules(cls) -> list[dict[str, str]]:
        """A pull request leads from one branch to another."""
        return [
            cel(
                "!has(self.branch) || !has(self.pullRequest) || !has(self.pullRequest.base) || "
                "self.branch != self.pullRequest.base",
                "pullRequest.base must differ from branch",
            )
        ]


class SecretReference(ApiModel):
    """A Secret in the same namespace."""

    name: Name


class Notify(ApiModel):
    """A signed POST at each final state."""

    url: WebUrl
    secret_ref: SecretReference | None = None
    """Holds the key that signs the body."""


class SessionSpec(ApiModel):
    """What is wanted."""

    type: SessionType = SessionType.IMPLEMENTATION
    """What kind of work it is; it shapes the prompt."""
    project: Name = "default"
    """Name of a ClaudeProject in the same namespace."""
    repository: Annotated[
        str,
        Field(
            max_length=400,
            pattern=(
                r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?(:[0-9]{1,5})?/)?"
                r"[A-Za-z0-9][A-Za-z0-9-]{0,99}/[A-Za-z0-9_.-]*[A-Za-z0-9_-]$"
            ),
            json_schema_extra=remedy(
                "write owner/repo or host/owner/repo, without https://, .git and .. in it",
                also="!self.endsWith('.git') && !self.contains('..')",
            ),
        ),
    ]
    """`owner/repo` on the project's first host, or `host/owner/repo`."""
    branch: GitRef | None = None
    """The base to work from, a branch or `refs/pull/N/head`; default: the remote's default branch."""
    requirements: Annotated[
        str,
        Field(
            max_length=200_000,
            pattern=r"[^\s]",
            json_schema_extra=remedy("it is blank, say what is to be done"),
        ),
    ]
    """The task; it reaches the prompt byte for byte."""
    context: Annotated[str, Field(max_length=200_000)] | None = None
    """Background for the task, likewise byte for byte."""
    dependencies: Annotated[
        list[Dependency],
        Field(
            max_length=50,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        ),
    ] = []
    """Sessions whose results this one needs; they may be applied in any order, before they exist."""
    resume_from: Name | None = None
    """A finished session whose conversation and working tree this one continues."""
    suspend: bool = False
    """True: do not start yet. Without effect once the session has started."""
    cancel: bool = False
    """True: stop now and keep what was done. It cannot be taken back."""
    priority: Annotated[int, Field(ge=-1000, le=1000)] = 0
    """Higher starts first."""
    timeout_seconds: Annotated[int, Field(ge=10, le=604_800)] = 1800
    """The agent's wall clock in one attempt."""
    start_deadline_seconds: Annotated[int, Field(ge=10, le=86_400)] = 600
    """Longest time from the Job's creation to the agent's start: scheduling, image, clone."""
    ttl_seconds_after_finished: Annotated[int, Field(ge=0, le=315_360_000)] | None = None
    """Delete the finished session after this time; default: keep it."""
    limits: Limits | None = None
    retry: Retry | None = None
    model: ModelName | None = None
    """Default: the project's."""
    system_prompt: Annotated[str, Field(max_length=50_000)] | None = None
    """Appended to the CLI's own."""
    tools: Annotated[
        list[
            Annotated[
                str,
                Field(
                    max_length=200,
                    pattern=r"^[A-Za-z]",
                    json_schema_extra=remedy("the name of a tool begins with a letter"),
                ),
            ]
        ],
        Field(max_length=64),
    ] = []
    """Tools of the CLI that exist for this session; default: the project's."""
    mcp_servers: Annotated[
        list[McpServer],
        Field(
            max_length=20,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        ),
    ] = []
    output_schema: OutputSchema | None = None
    """JSON Schema of an object, as text: the final answer then comes as such an object, too."""
    publish: Publish | None = None
    read_only: bool = False
    """True: the session may fetch, and push nothing."""
    artifacts: Annotated[
        list[
            Annotated[
                str,
                Field(
                    min_length=1,
                    max_length=200,
                    json_schema_extra={
                        "x-kubernetes-validations": [
                            cel(
                                "!self.startsWith('/') && !self.contains('..')",
                                "a glob relative to the repository's root, without '..'",
                            )
                        ]
                    },
                ),
            ]
        ],
        Field(max_length=50),
    ] = []
    """Globs of files to keep, relative to the repository's root."""
    notify: Notify | None = None
    pod: PodSpec | None = None

    @classmethod
    @override
    def rules(cls) -> list[dict[str, str]]:
        """Immutability, and what concerns more than one field."""
        return [
            *(_immutable(name) for name in _immutable_fields()),
            cel("self.cancel || !oldSelf.cancel", "cancel cannot be taken back: create another session"),
            cel(
                "!has(self.branch) || !has(self.publish) || !has(self.publish.branch) || "
                "self.publish.branch != self.branch",
                "publish.branch must differ from branch: a session never pushes to its base",
                field_path=".publish.branch",
            ),
            cel("!has(self.readOnly) || !self.readOnly || !has(self.publish)", "readOnly publishes nothing"),
        ]


MUTABLE_FIELDS = frozenset({"suspend", "cancel", "priority", "limits", "ttlSecondsAfterFinished"})


def _immutable_fields() -> list[str]:
    names = (field.alias or name for name, field in SessionSpec.model_fields.items())
    return [name for name in names if name not in MUTABLE_FIELDS]


def _always_there(name: str) -> bool:
    """Required, or defaulted by the CRD; an empty list or map is not (see structural.py)."""
    field = next(field for field in SessionSpec.model_fields.values() if field.alias == name)
    return field.is_required() or field.default not in (None, [], {})


def _immutable(name: str) -> dict[str, str]:
    # On spec, not on the field: a field-level `self == oldSelf` does not fire when an optional
    # field is added or removed. (`self.?x == oldSelf.?x` is refused: of unbounded cost to the estimator.)
    unchanged = f"self.{name} == oldSelf.{name}"
    if not _always_there(name):
        unchanged = f"has(self.{name}) ? has(oldSelf.{name}) && {unchanged} : !has(oldSelf.{name})"
    return cel(unchanged, f"{name} is immutable: create another session")
