"""The operations that are used, as GitHub publishes them.

By hand, from github/rest-api-description (as carried by the npm package @octokit/openapi 23.0.2, API version
2022-11-28): path, query, body, success status and the permission that an App needs ("Permissions required for
GitHub Apps" in GitHub's documentation). The whole description has many megabytes; `test_stand_in` compares
these with it where GITHUB_OPENAPI names its file. Bodies are strict and closed: GitHub ignores an unknown
member, and so would a test that sends it by mistake.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

_PAGED = frozenset({"per_page", "page"})


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class CommentBody(Body):
    body: Annotated[str, Field(max_length=65_536)]


class LabelsBody(Body):
    labels: Annotated[list[str], Field(min_length=1)]


class ReviewRemark(Body):
    path: str
    body: str
    position: int | None = None
    line: int | None = None
    side: str | None = None
    start_line: int | None = None
    start_side: str | None = None


class ReviewBody(Body):
    commit_id: str | None = None
    body: Annotated[str, Field(max_length=65_536)] | None = None
    event: Literal["APPROVE", "REQUEST_CHANGES", "COMMENT"] | None = None
    comments: list[ReviewRemark] = []


class PullBody(Body):
    title: str | None = None
    head: str
    base: str
    body: str | None = None
    draft: bool | None = None


class TokenBody(Body):
    repositories: list[str] = []
    permissions: dict[
        Literal["contents", "issues", "pull_requests", "checks", "metadata", "workflows"],
        Literal["read", "write"],
    ] = {}


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation; its name is GitHub's operationId."""

    id: str
    method: str
    path: str
    status: int
    permissions: tuple[tuple[str, str], ...] = ()
    """Any one of these; none: an App authenticates as itself."""
    query: frozenset[str] = frozenset()
    body: type[Body] | None = None

    @property
    def pattern(self) -> re.Pattern[str]:
        return re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", self.path))


_REPO = "/repos/{owner}/{repo}"
_TALK = (("issues", "write"), ("pull_requests", "write"))
_LISTEN = (("issues", "read"), ("pull_requests", "read"))
OPERATIONS = (
    Operation("apps/get-repo-installation", "GET", f"{_REPO}/installation", 200),
    Operation(
        "apps/create-installation-access-token",
        "POST",
        "/app/installations/{installation_id}/access_tokens",
        201,
        body=TokenBody,
    ),
    Operation(
        "issues/list-comments",
        "GET",
        f"{_REPO}/issues/{{issue_number}}/comments",
        200,
        _LISTEN,
        query=_PAGED | {"since"},
    ),
    Operation(
        "issues/create-comment",
        "POST",
        f"{_REPO}/issues/{{issue_number}}/comments",
        201,
        _TALK,
        body=CommentBody,
    ),
    Operation("issues/get-comment", "GET", f"{_REPO}/issues/comments/{{comment_id}}", 200, _LISTEN),
    Operation(
        "issues/update-comment",
        "PATCH",
        f"{_REPO}/issues/comments/{{comment_id}}",
        200,
        _TALK,
        body=CommentBody,
    ),
    Operation("issues/list-labels-for-repo", "GET", f"{_REPO}/labels", 200, _LISTEN, query=_PAGED),
    Operation(
        "issues/add-labels", "POST", f"{_REPO}/issues/{{issue_number}}/labels", 200, _TALK, body=LabelsBody
    ),
    Operation("pulls/get", "GET", f"{_REPO}/pulls/{{pull_number}}", 200, (("pull_requests", "read"),)),
    Operation(
        "pulls/list",
        "GET",
        f"{_REPO}/pulls",
        200,
        (("pull_requests", "read"),),
        query=_PAGED | {"state", "head", "base", "sort", "direction"},
    ),
    Operation("pulls/create", "POST", f"{_REPO}/pulls", 201, (("pull_requests", "write"),), body=PullBody),
    Operation(
        "pulls/list-reviews",
        "GET",
        f"{_REPO}/pulls/{{pull_number}}/reviews",
        200,
        (("pull_requests", "read"),),
        query=_PAGED,
    ),
    Operation(
        "pulls/create-review",
        "POST",
        f"{_REPO}/pulls/{{pull_number}}/reviews",
        200,
        (("pull_requests", "write"),),
        body=ReviewBody,
    ),
    Operation(
        "checks/list-suites-for-ref",
        "GET",
        f"{_REPO}/commits/{{ref}}/check-suites",
        200,
        (("checks", "read"),),
        query=_PAGED | {"app_id", "check_name"},
    ),
)


def find(method: str, path: str) -> tuple[Operation, dict[str, str]] | None:
    for operation in OPERATIONS:
        found = operation.pattern.fullmatch(path)
        if found is not None and operation.method == method:
            return operation, found.groupdict()
    return None
