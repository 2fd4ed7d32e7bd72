"""GitHub's events between shim and gateway: the gateway verifies and keeps them, the shim decides.

| request | body | answer |
|---|---|---|
| POST …/github/deliveries | Arrival | 200 Deliveries, leased to the caller; 400; 422 InvalidSignature |
| POST …/github/deliveries/take | - | 200 Deliveries that nobody works at, leased to the caller |
| POST …/github/deliveries/{serial}/facts | FactsWanted | 200 Facts, read from GitHub; 502 |
| POST …/github/deliveries/{serial}/done | Done | 204; repeatable, the first one stands |

(… is /internal/v1.) The paths name a delivery and never a repository: what the shim may ask of GitHub is
what the delivery is about, nothing else.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Base64Bytes, Field

from claude_operator.github.event import Commit, Number
from claude_operator.resources.model import Name
from claude_operator.resources.project import GitHubTriggers
from claude_operator.wire.message import Message

DELIVERIES_PATH = "/internal/v1/github/deliveries"

LEASE_SECONDS = 30
"""How long a delivery is its taker's. Then others get it: its taker may be dead."""

INVALID_SIGNATURE = "InvalidSignature"
"""Reason of a refusal. Not 401: that is about the caller's own token."""


class Arrival(Message):
    """An event as GitHub sent it."""

    event: Annotated[str, Field(max_length=64)]
    """Header X-GitHub-Event."""
    delivery_id: Annotated[str, Field(max_length=64)]
    """Header X-GitHub-Delivery."""
    signature: Annotated[str, Field(max_length=200)]
    """Header X-Hub-Signature-256."""
    content_type: Annotated[str, Field(max_length=200)]
    """Without parameters."""
    body: Base64Bytes
    """Byte for byte: they are what is signed."""


class KeptDelivery(Message):
    """One event for one project, verified and kept."""

    serial: int
    namespace: str
    project: str
    repository: str
    """`host/owner/repo`, as a session names it."""
    event: str
    """GitHub's word, such as `issue_comment`."""
    payload: str
    """The members of GitHub's body that matter (github.event.Payload), as JSON."""
    triggers: GitHubTriggers
    """As they are now."""
    tries: int


class Deliveries(Message):
    """Some of them."""

    deliveries: list[KeptDelivery]
    known: int = 0
    """How many projects had this delivery before."""


class FactsWanted(Message):
    """What the event does not tell, of its own repository."""

    number: Number | None = None
    """An issue or pull request."""
    pull: bool = False
    """The pull request of that number."""
    thread: bool = False
    """The comments on that number."""
    labels: bool = False
    """The labels of the repository."""
    suites_of: Commit | None = None
    """The check suites of this commit."""
    reviewed_at: Commit | None = None
    """Whether a session for the pull request of that number at this commit is on record."""


class Pull(Message):
    """A pull request."""

    number: Number
    title: str = ""
    body: str = ""
    author: str = ""
    author_is_bot: bool = False
    open: bool = True
    draft: bool = False
    head_sha: str
    head_ref: str
    head_repository: str | None = None
    """`owner/repo`; None: it was deleted."""
    base_ref: str
    base_repository: str

    @property
    def fork(self) -> bool:
        """Whether its commits are another repository's."""
        return (self.head_repository or "").lower() != self.base_repository.lower()


class Suite(Message):
    """One check suite of a commit."""

    id: int = 0
    app: str = ""
    status: str
    conclusion: str | None = None
    runs: int = 0
    """Check runs in it. GitHub makes a suite for each App that may make one, used or not."""


class Remark(Message):
    """A comment."""

    id: int = 0
    author: str
    body: str
    created_at: str = ""


class RepositoryLabel(Message):
    """A label of the repository."""

    name: str
    description: str = ""


class Facts(Message):
    """What was asked for; None and empty: not asked for, or GitHub has none."""

    pull: Pull | None = None
    thread: list[Remark] = []
    labels: list[RepositoryLabel] = []
    suites: list[Suite] = []
    reviewed: bool = False


class Form(StrEnum):
    """What the answer becomes on GitHub."""

    COMMENT = "Comment"
    """The agent's last words, in the status comment."""
    REVIEW = "Review"
    """A review of the pull request at a commit."""
    LABELS = "Labels"
    """Labels of the issue."""


class Answer(Message):
    """Where a session's answer goes."""

    number: Number
    form: Form
    status_comment: bool = False
    """One comment that tells how it stands, updated in place."""
    asked_by: Annotated[str, Field(max_length=100)] = ""
    """Login."""
    asked_at: Annotated[str, Field(max_length=2000)] = ""
    """Link to the comment."""
    commit: Commit | None = None
    """The one to be reviewed."""
    note: Annotated[str, Field(max_length=500)] = ""
    """A sentence of ours on what the session may do."""


class MadeSession(Message):
    """A session that came of it."""

    uid: Annotated[str, Field(min_length=1, max_length=64)]
    name: Name
    answer: Answer


class Done(Message):
    """Nothing is left to do about a delivery."""

    verdict: Annotated[str, Field(max_length=500)]
    """One sentence: what came of it, or why nothing did."""
    sessions: Annotated[list[MadeSession], Field(max_length=10)] = []
