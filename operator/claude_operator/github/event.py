"""GitHub's webhook bodies, read: the few members that matter, and which events are handled at all.

Written against GitHub's published shapes (docs.github.com, "Webhook events and payloads"). Reading is
lenient: GitHub adds members at will. What kind of event a body is follows from the body, which is signed;
the header that names it is not.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field
from yarl import URL

if TYPE_CHECKING:
    from datetime import datetime

HANDLED: Final = {
    "issues": "opened",
    "issue_comment": "created",
    "pull_request_review_comment": "created",
    "pull_request_review": "submitted",
    "check_suite": "completed",
}
"""Event to its action; all else is answered and forgotten."""

_MEMBERS: Final = {
    frozenset({"issue"}): "issues",
    frozenset({"issue", "comment"}): "issue_comment",
    frozenset({"pull_request", "comment"}): "pull_request_review_comment",
    frozenset({"pull_request", "review"}): "pull_request_review",
    frozenset({"check_suite"}): "check_suite",
}
_FULL_NAME: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*/[A-Za-z0-9_.-]+")
_TELLING: Final = frozenset({"issue", "comment", "pull_request", "review", "check_suite"})

Text = Annotated[str, BeforeValidator(lambda value: "" if value is None else value)]
"""GitHub writes null for a text that was left empty."""


Moment = AwareDatetime | None

Number = Annotated[int, Field(ge=1, le=2**53 - 1)]
"""Of an issue, pull request or comment; no larger than JSON readers agree on."""
Commit = Annotated[str, Field(pattern=r"^[0-9a-f]{40,64}$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Account(_Part):
    """Who did it."""

    login: str
    type: str = "User"

    @property
    def bot(self) -> bool:
        """Whether it is no person."""
        return self.type != "User" or self.login.endswith("[bot]")


class Repository(_Part):
    """Where it happened."""

    full_name: str
    html_url: str

    @property
    def place(self) -> str:
        """`host/owner/repo`, as a session names it; empty: the body names none that can be used."""
        try:
            url = URL(self.html_url)
            port = "" if url.is_default_port() else f":{url.port}"
        except ValueError:
            return ""
        if not url.host or not _FULL_NAME.fullmatch(self.full_name) or ".." in self.full_name:
            return ""
        return f"{url.host}{port}/{self.full_name}"


class Comment(_Part):
    """A comment of any kind."""

    id: Number
    body: Text = ""
    user: Account | None = None
    html_url: str = ""
    created_at: Moment = None
    path: str = ""
    line: int | None = None
    original_line: int | None = None
    diff_hunk: Text = ""


class Review(_Part):
    """A review's own text."""

    id: Number
    body: Text = ""
    user: Account | None = None
    html_url: str = ""
    submitted_at: Moment = None


class Issue(_Part):
    """An issue, or a pull request seen as one."""

    number: Number
    title: Text = ""
    body: Text = ""
    user: Account | None = None
    created_at: Moment = None
    pull_request: dict[str, object] | None = None
    """Present when it is one."""


class PullRequest(_Part):
    """A pull request within an event about one of its comments."""

    number: Number
    title: Text = ""
    body: Text = ""
    user: Account | None = None


class Ref(_Part):
    """An end of a pull request."""

    sha: str = ""
    ref: str = ""


class SuitePull(_Part):
    """A pull request that a suite's commit is the head of."""

    number: Number
    head: Ref = Ref()


class CheckSuite(_Part):
    """The checks that one App made for a commit."""

    id: int = 0
    head_sha: Commit
    conclusion: str | None = None
    updated_at: Moment = None
    pull_requests: list[SuitePull] = []


class Payload(_Part):
    """A handled event's body."""

    action: str = ""
    repository: Repository
    sender: Account
    issue: Issue | None = None
    comment: Comment | None = None
    pull_request: PullRequest | None = None
    review: Review | None = None
    check_suite: CheckSuite | None = None

    @property
    def moment(self) -> datetime | None:
        """When it happened; None: GitHub does not say."""
        if self.comment is not None:
            return self.comment.created_at
        if self.review is not None:
            return self.review.submitted_at
        if self.check_suite is not None:
            return self.check_suite.updated_at
        return self.issue.created_at if self.issue is not None else None


class Envelope(_Part):
    """What every body may have."""

    action: str = ""
    repository: Repository | None = None


def event_of(members: set[str]) -> str | None:
    """The event that a body with these members is of; None: none that is handled."""
    return _MEMBERS.get(_TELLING & members)
