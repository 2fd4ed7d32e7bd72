"""Events as the shim gets them from the gateway."""

from typing import Any

from claude_operator.github.event import Payload
from claude_operator.resources.project import GitHubTriggers
from claude_operator.wire.github import Facts, KeptDelivery, Pull

Json = dict[str, Any]
SHA = "a" * 40
EVENTS = ("issues", "issue_comment", "pull_request_review_comment", "pull_request_review")
"""Those that a person causes."""


def account(login: str) -> Json:
    return {"login": login, "type": "Bot" if login.endswith("[bot]") else "User"}


def triggers(**changes: Any) -> GitHubTriggers:
    given = {"users": ["alice"], "bots": ["helper"], "mention": "@claude-bot", "webhookSecret": "webhook"}
    return GitHubTriggers.model_validate({**given, **changes})


def event(kind: str, *, user: str | None = "alice", sender: str | None = None, text: str = "go") -> Payload:
    """An event of this kind, caused by `user`."""
    who = account(user) if user is not None else None
    body = f"@claude-bot {text}"
    issue: Json = {"number": 5, "title": "A title", "body": "A body", "user": account("bob")}
    remark = {"id": 77, "body": body, "user": who, "html_url": "https://git.example/c/77"}
    more: dict[str, Json] = {
        "issues": {"issue": {**issue, "user": who}},
        "issue_comment": {"issue": issue, "comment": remark},
        "pull_request_comment": {"issue": {**issue, "pull_request": {}}, "comment": remark},
        "pull_request_review_comment": {"pull_request": issue, "comment": remark},
        "pull_request_review": {"pull_request": issue, "review": remark},
        "check_suite": {
            "check_suite": {
                "id": 9,
                "head_sha": SHA,
                "conclusion": "success",
                "pull_requests": [{"number": 5, "head": {"sha": SHA}}],
            }
        },
    }
    return Payload.model_validate(
        {
            "action": "any",
            "repository": {"full_name": "acme/webapp", "html_url": "https://git.example/acme/webapp"},
            "sender": account(sender or user or "ghost"),
            **more[kind],
        }
    )


def kept(kind: str, payload: Payload, **changes: Any) -> KeptDelivery:
    return KeptDelivery(
        serial=1,
        namespace="team",
        project="default",
        repository="git.example/acme/webapp",
        event="issue_comment" if kind == "pull_request_comment" else kind,
        payload=payload.model_dump_json(),
        triggers=triggers(**changes),
        tries=1,
    )


def pull(**changes: Any) -> Pull:
    given = {
        "number": 5,
        "title": "A pull",
        "author": "alice",
        "head_sha": SHA,
        "head_ref": "topic",
        "head_repository": "acme/webapp",
        "base_ref": "main",
        "base_repository": "acme/webapp",
    }
    return Pull.model_validate({**given, **changes})


def facts(**changes: Any) -> Facts:
    given: Json = {
        "pull": pull(),
        "labels": [{"name": "bug"}, {"name": "question"}],
        "suites": [{"id": 9, "status": "completed", "conclusion": "success", "runs": 1}],
    }
    return Facts.model_validate({**given, **changes})
