"""The session port: what a session pod may say, and what it is told.

Every request carries the pod's projected token as `Authorization: Bearer`; the gateway derives the
session and the attempt from it, so no message names a session. Everything that a pod says is its
claim: runner and agent share a uid.

| request | body | answer |
|---|---|---|
| POST /v1/session/claim | - | 200 Assignment; 409 ErrorBody (ClaimRefused, Cancelled, ...) |
| POST /v1/session/events | EventBatch | 200 EventReceipt |
| GET /v1/session/inbox?after=N&wait=S | - | 200 Inbox; waits for an item S <= 60 seconds |
| PUT /v1/session/blobs/{sha256}/{index} | <= 1 MiB raw | 204; chunks count from 0, any order, repeatable |
| GET /v1/session/blobs/{sha256} | - | 200, the bytes; only blobs that the assignment names |
| POST /v1/session/checkpoint | Checkpoint | 204; 409 while a chunk is missing or the digest differs |
| POST /v1/session/artifacts | ArtifactUpload | 204; 409 likewise |
| POST /v1/session/result | RunResult | 204; repeatable, the first one stands |
| POST /v1/session/pull-request | PullRequestRequest | 200 PullRequestOpened |
| POST /v1/messages?beta=true | Messages API | the model's answer, metered |
| GET, POST /git/{host}/{owner}/{repo}.git/... | smart HTTP | the git host's answer, fenced |

A proxy port beside it takes `CONNECT host:443` with the same token as `Proxy-Authorization: Bearer`.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field, JsonValue
from pydantic_core import to_json

from claude_operator.resources.lifecycle import Phase, Reason
from claude_operator.resources.nesting import depth
from claude_operator.resources.session import McpServer, PullRequest, SessionType
from claude_operator.wire.message import MAX_COUNT, MAX_EVENTS_PER_BATCH, BlobRef, Message

CLAIM_PATH = "/v1/session/claim"
EVENTS_PATH = "/v1/session/events"
INBOX_PATH = "/v1/session/inbox"
BLOBS_PATH = "/v1/session/blobs"
CHECKPOINT_PATH = "/v1/session/checkpoint"
ARTIFACTS_PATH = "/v1/session/artifacts"
RESULT_PATH = "/v1/session/result"
PULL_REQUEST_PATH = "/v1/session/pull-request"
MESSAGES_PATH = "/v1/messages"
GIT_PATH = "/git"

# The environment of a session pod, which the engine writes and the runner reads.
ENV_GATEWAY_URL = "CLAUDE_GATEWAY_URL"
"""`https://host:port` of the session port."""
ENV_GATEWAY_PROXY = "CLAUDE_GATEWAY_PROXY"
"""`host:port` of the CONNECT port (TLS)."""
ENV_GATEWAY_CA = "CLAUDE_GATEWAY_CA"
"""PEM of the CA that signed the gateway's certificate."""


class DependencyResult(Message):
    """What a session that this one depended on has left behind; goes into the prompt."""

    name: str
    type: SessionType
    phase: Phase
    summary: str = ""
    branch: str | None = None
    commit: str | None = None
    artifacts: list[str] = []


class Resume(Message):
    """The checkpoint that an attempt goes on from."""

    transcript: BlobRef
    """The CLI's conversation, `<claudeSessionId>.jsonl`."""
    bundle: BlobRef | None = None
    """Git bundle of the work in progress; none when the tree was clean at the base."""
    commit: str | None = None
    """The WIP commit in the bundle."""
    head: str | None = None
    """The commit that was checked out when the WIP commit was made."""


class Assignment(Message):
    """Everything the runner needs for one attempt; the answer to its claim."""

    namespace: str
    name: str
    session_uid: str
    attempt: int
    type: SessionType
    requirements: str
    context: str | None = None
    system_prompt: str | None = None
    repository_host: str
    repository_path: str
    """`owner/repo`."""
    repository_url: str
    """As people know it (`https://host/owner/repo`): the origin's URL in the clone. Git traffic goes
    through the forwarder all the same (url.<base>.insteadOf)."""
    base_branch: str | None = None
    """A branch, or a whole ref such as `refs/pull/7/head`. None: the remote's default branch."""
    publish_branch: str
    read_only: bool = False
    """Nothing is pushed, and the gateway would refuse it."""
    pull_request: PullRequest | None = None
    model: str
    tools: list[str]
    mcp_servers: list[McpServer] = []
    max_turns: int | None = None
    """Turns that are left."""
    max_cost_usd: float | None = None
    """US dollars that are left; a hint for the CLI, the gateway enforces."""
    timeout_seconds: int
    claude_session_id: str
    """UUID for `--session-id`, or for `--resume` when `resume` is given."""
    resume: Resume | None = None
    dependencies: list[DependencyResult] = []
    output_schema: str | None = None
    """JSON Schema of an object: the agent is asked for such a one at its end."""
    artifacts: list[str] = []
    egress_hosts: list[str] = []
    author_name: str
    author_email: str


class PodEvent(Message):
    """One line of the record, as the pod tells it."""

    seq: Annotated[int, Field(ge=1, le=MAX_COUNT)]
    """Counted from 1 within the attempt; the gateway drops what it already has."""
    time: str
    """RFC 3339, the pod's clock."""
    type: Annotated[str, Field(min_length=1, max_length=100)]
    """`runner.<step>` for the runner's own steps, `cli.<type>` for the CLI's stream-json events."""
    data: dict[str, Any]


class EventBatch(Message):
    """Events in ascending `seq`."""

    events: Annotated[list[PodEvent], Field(max_length=MAX_EVENTS_PER_BATCH)]


class EventReceipt(Message):
    """How far the gateway's record goes; the runner forgets up to there."""

    acknowledged: int


class InboxItem(Message):
    """Something for the runner to do."""

    id: int
    kind: Annotated[str, Field(pattern=r"^(message|interrupt|cancel)$")]
    text: str = ""


class Inbox(Message):
    """Items with an id above the `after` that was asked for, ascending."""

    items: list[InboxItem]


class Checkpoint(Message):
    """Conversation and working tree at one moment; replaces the last one in one transaction."""

    transcript: BlobRef
    bundle: BlobRef | None = None
    commit: str | None = None
    head: str | None = None
    turns: Annotated[int, Field(ge=0, le=MAX_COUNT)] = 0


class ArtifactUpload(Message):
    """A file to keep; its blob was uploaded before."""

    path: Annotated[str, Field(min_length=1, max_length=1024)]
    """Relative to the repository's root."""
    blob: BlobRef


MAX_RESULT_TEXT = 256 * 1024
"""Characters of a result's message, and of its summary: every reader of them has them searched for keys."""
MAX_STRUCTURED_OUTPUT_BYTES = 64 * 1024
"""Of the JSON form."""
MAX_STRUCTURED_OUTPUT_DEPTH = 32
"""Levels of lists and objects."""


def structured_output_fault(output: dict[str, JsonValue]) -> str:
    """Why an object is not kept as structured output; empty: it is."""
    if depth(output, MAX_STRUCTURED_OUTPUT_DEPTH + 1) > MAX_STRUCTURED_OUTPUT_DEPTH:
        return f"it is nested more than {MAX_STRUCTURED_OUTPUT_DEPTH} levels deep"
    size = len(to_json(output))
    if size > MAX_STRUCTURED_OUTPUT_BYTES:
        return f"it has {size} bytes, and at most {MAX_STRUCTURED_OUTPUT_BYTES} are kept"
    return ""


def _within_bounds(output: dict[str, JsonValue]) -> dict[str, JsonValue]:
    if fault := structured_output_fault(output):
        raise ValueError(fault)
    return output


class RunResult(Message):
    """How the run ended, as the runner tells it."""

    reason: Reason
    """Completed, or why not."""
    message: Annotated[str, Field(max_length=MAX_RESULT_TEXT)] = ""
    summary: Annotated[str, Field(max_length=MAX_RESULT_TEXT)] = ""
    """The agent's last words, whole."""
    structured_output: Annotated[dict[str, JsonValue], AfterValidator(_within_bounds)] | None = None
    """What the agent gave as its answer by the session's output schema, if it did. Nobody but the agent's own
    CLI has compared the two."""
    exit_code: Annotated[int, Field(ge=-MAX_COUNT, le=MAX_COUNT)] = 0
    turns: Annotated[int, Field(ge=0, le=MAX_COUNT)] = 0
    cpu_seconds: float | None = None
    """CPU time of the container, from its cgroup."""
    memory_peak_bytes: Annotated[int, Field(ge=0, le=MAX_COUNT)] | None = None
    """Peak of the container's memory, from its cgroup."""


class PullRequestRequest(Message):
    """Open, or find again, the pull request of the published branch."""

    title: str
    body: str
    base: str
    draft: bool = False


class PullRequestOpened(Message):
    """The pull request that stands."""

    url: str
    number: int


class Termination(Message):
    """The container's termination message (JSON, at most 4096 bytes: kubelet cuts there)."""

    reason: Reason
    message: str = ""
