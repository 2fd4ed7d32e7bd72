"""What stands on the stand-in: repositories with issues, pull requests, reviews, checks; and an App."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

Json = dict[str, Any]
_ids = count(1000)


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def account(login: str) -> Json:
    kind = "Bot" if login.endswith("[bot]") else "User"
    return {"login": login, "id": sum(login.encode()), "type": kind}


@dataclass(slots=True)
class Repository:
    """`owner/repo`, as a test sets it up and looks at it."""

    name: str
    web: str
    """Where people see it."""
    labels: dict[str, str] = field(default_factory=lambda: {"bug": "Something is wrong", "question": ""})
    issues: dict[int, Json] = field(default_factory=dict)
    pulls: dict[int, Json] = field(default_factory=dict)
    comments: list[Json] = field(default_factory=list)
    reviews: list[Json] = field(default_factory=list)
    suites: dict[str, list[Json]] = field(default_factory=dict)
    diff: set[tuple[str, int]] = field(default_factory=set)
    """Path and line that an inline remark may be on."""

    @property
    def json(self) -> Json:
        return {"id": 1, "full_name": self.name, "html_url": self.web, "private": True}

    def add_issue(
        self, number: int, *, title: str = "A title", body: str = "A body", user: str = "alice"
    ) -> Json:
        self.issues[number] = {
            "number": number,
            "title": title,
            "body": body,
            "user": account(user),
            "html_url": f"{self.web}/issues/{number}",
            "labels": [],
            "state": "open",
        }
        return self.issues[number]

    def add_pull(
        self,
        number: int,
        *,
        sha: str,
        ref: str = "topic",
        fork: bool = False,
        user: str = "alice",
        **more: Any,
    ) -> Json:
        """A pull request into `main`; it is an issue as well."""
        self.add_issue(number, user=user)["pull_request"] = {"url": f"{self.web}/pull/{number}"}
        head = {**self.json, "full_name": f"mallory/{self.name.partition('/')[2]}"} if fork else self.json
        self.pulls[number] = {
            "number": number,
            "title": "A pull",
            "body": "It changes things",
            "user": account(user),
            "state": "open",
            "draft": False,
            "html_url": f"{self.web}/pull/{number}",
            "head": {"ref": ref, "sha": sha, "repo": head},
            "base": {"ref": "main", "sha": "0" * 40, "repo": self.json},
            **more,
        }
        return self.pulls[number]

    def add_comment(self, number: int, body: str, *, user: str) -> Json:
        made = {
            "id": next(_ids),
            "body": body,
            "user": account(user),
            "created_at": now(),
            "updated_at": now(),
            "html_url": f"{self.web}/issues/{number}#issuecomment",
            "number": number,
        }
        self.comments.append(made)
        return made

    def add_review(self, number: int, given: Json, *, user: str) -> Json:
        made = {
            "id": next(_ids),
            "body": given.get("body"),
            "user": account(user),
            "commit_id": given.get("commit_id"),
            "state": given.get("event"),
            "html_url": f"{self.web}/pull/{number}#pullrequestreview",
            "number": number,
            "comments": given.get("comments", []),
        }
        self.reviews.append(made)
        return made

    def add_suite(
        self, sha: str, *, status: str = "completed", conclusion: str | None = "success", runs: int = 1
    ) -> Json:
        made = {
            "id": next(_ids),
            "head_sha": sha,
            "status": status,
            "conclusion": conclusion,
            "latest_check_runs_count": runs,
            "app": {"slug": "ci"},
        }
        self.suites.setdefault(sha, []).append(made)
        return made


@dataclass(slots=True)
class Minted:
    """An installation's token."""

    repositories: list[str]
    permissions: dict[str, str]
    expires: float


@dataclass(slots=True)
class App:
    """A GitHub App that is installed on every repository of the stand-in."""

    id: str = "4711"
    installation: int = 99
    permissions: dict[str, str] = field(
        default_factory=lambda: {
            "contents": "write",
            "issues": "write",
            "pull_requests": "write",
            "checks": "read",
            "metadata": "read",
            "workflows": "write",
        }
    )
    key: rsa.RSAPrivateKey = field(
        default_factory=lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048)
    )
    minted: dict[str, Minted] = field(default_factory=dict)
    seconds: float = 3600
    next_tokens: list[str] = field(default_factory=list)
    """Given out before random ones."""

    @property
    def pem(self) -> str:
        text = self.key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
        return text.decode()
