"""The internal port: what controller, shim and administrators ask of the gateway.

Every request carries a service-account token of the audience `claude-gateway-internal` as
`Authorization: Bearer`; the gateway's configuration lists the subjects that are let in.

| request | body | answer |
|---|---|---|
| GET …/sessions | - | 200 UnfinishedSessions: those without an outcome |
| GET …/sessions/{uid} | - | 200 SessionRecord; 404 when nothing is known of that uid |
| POST …/sessions/{uid}/attempts/{n}/close | CloseRequest | 200 SessionRecord: fenced, its numbers final |
| POST …/sessions/{uid}/cancel | CancelRequest | 204: no model from now on, no push after the grace |
| PUT …/sessions/{uid}/outcome | Outcome | 200 Outcome: the first one stands; all its tokens are void |
| GET …/outcomes/{namespace}/{name} | - | 200 Outcome of the latest uid; 404 |
| POST …/sessions/{uid}/inbox | InboxPost | 200 InboxItem |
| GET …/sessions/{uid}/events?after=N&follow=0/1 | - | 200 x-ndjson, one RecordedEvent a line |
| GET …/sessions/{uid}/deliveries | - | 200 [DeliveryRecord]: what is owed to the outside, or was lately |
| GET …/sessions/{uid}/artifacts | - | 200 [ArtifactStatus] |
| GET …/sessions/{uid}/artifacts/{path} | - | 200, the bytes |
| GET /livez, /readyz, /metrics | - | without a token |

(… is /internal/v1.)
All of them are repeatable: a caller that lost the answer asks again.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field

from claude_operator.resources.lifecycle import Phase, Reason
from claude_operator.resources.session import SessionType
from claude_operator.resources.session_status import ArtifactStatus, PullRequestStatus, Usage
from claude_operator.wire.message import Message
from claude_operator.wire.session import RunResult

SESSIONS_PATH = "/internal/v1/sessions"
OUTCOMES_PATH = "/internal/v1/outcomes"


class Published(Message):
    """A push that the gateway let through and saw accepted."""

    branch: str
    commit: str


class AttemptRecord(Message):
    """One attempt, as the gateway saw it."""

    number: int
    pod_uid: str
    claimed_at: str
    closed_at: str | None = None
    usage: Usage = Usage()
    """Of this attempt alone."""
    reported: RunResult | None = None
    """What the runner said of its end: a claim."""
    verdict: Reason | None = None
    """Why the gateway itself stopped or failed it (ModelAuthFailed, ModelOverloaded, BudgetExceeded,
    CloneFailed, PublishRejected, ...): what it last refused or could not do, unless that succeeded since."""
    verdict_message: str = ""


class SessionRecord(Message):
    """One session, over all its attempts."""

    uid: str
    namespace: str
    name: str
    claude_session_id: str | None = None
    usage: Usage = Usage()
    attempts: list[AttemptRecord] = []
    published: Published | None = None
    pull_request: PullRequestStatus | None = None
    artifacts: list[ArtifactStatus] = []
    cancel_requested: bool = False
    last_event: int = 0
    """Sequence number of the last event."""
    has_checkpoint: bool = False


class KnownSession(Message):
    """A session by its names."""

    uid: str
    namespace: str
    name: str


class UnfinishedSessions(Message):
    """Sessions that have claimed or been closed, and whose end nobody has reported yet."""

    sessions: list[KnownSession]


class CloseRequest(Message):
    """Fence an attempt, also one that never claimed: a pod that comes later is refused."""

    namespace: str
    name: str


class CancelRequest(Message):
    """Tell the runner to stop."""

    namespace: str
    name: str
    grace_seconds: Annotated[int, Field(ge=0, le=600)] = 60
    """Time for the runner to checkpoint and push; the model is refused at once."""


class Callback(Message):
    """Whom to tell of a session's end: its `spec.notify`, which may be gone with the custom resource."""

    url: str
    secret: str | None = None
    """Name of the Secret with the signing key; None: the project's."""
    session_id: str
    """As HTTP clients know the session."""
    project: str


class Outcome(Message):
    """How a session ended: what its dependents need of it, kept when the custom resource is gone."""

    namespace: str
    name: str
    uid: str
    type: SessionType
    phase: Phase | Literal["Deleted"]
    """`Deleted`: the custom resource was deleted before the session was finished."""
    reason: Reason | None = None
    message: str = ""
    summary: str = ""
    branch: str | None = None
    commit: str | None = None
    artifacts: list[str] = []
    finished_at: str = ""
    callback: Callback | None = None
    """On the way to the gateway alone: a URL can be a secret, and nobody who reads an outcome needs it."""


class InboxPost(Message):
    """Something for the runner, from a person or a client."""

    kind: Annotated[str, Field(pattern=r"^(message|interrupt)$")]
    text: Annotated[str, Field(max_length=200_000)] = ""


class DeliveryState(StrEnum):
    """Where a delivery stands."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    GIVEN_UP = "given_up"


class DeliveryRecord(Message):
    """Something that the gateway owes to the outside on behalf of a session, such as its callback."""

    id: str
    """The same over all tries."""
    kind: str
    version: int
    """Rises when something else is wanted."""
    state: DeliveryState
    target: str
    """Origin of the receiver."""
    tries: int
    """Failed ones."""
    fault: str = ""
    """Why the last one failed."""
    wanted_at: str
    next_try_at: str | None = None
    ended_at: str | None = None


class RecordedEvent(Message):
    """One line of the journal."""

    seq: int
    """Counted from 1 within the session; the cursor of `after=`."""
    attempt: int
    source: Literal["gateway", "pod"]
    time: str
    type: str
    data: dict[str, Any]
