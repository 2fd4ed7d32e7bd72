"""GitHub's REST API beside model and git host, in a thread of the test, where the gateway reaches it."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import threading
import urllib.request
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tests.cluster.waiting import wait_until
from tests.e2e.outside import REPOSITORY
from tests.e2e.session import START_SECONDS
from tests.stack.tenant import credential
from tests.world.github import GitHubServer
from tests.world.github.state import account

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.namespace import Namespace
    from tests.e2e.outside import OutsideView
    from tests.world.github import Repository

Json = dict[str, Any]
WEBHOOK_SECRET = "e2e-webhook-0123456789abcdef"
MENTION = "@claude-bot"
_LOGIN = "github"


class GitHub:
    """The stand-in, and what a person does there."""

    def __init__(self, server: GitHubServer, repo: Repository, namespace: Namespace) -> None:
        self.server = server
        self.repo = repo
        self._namespace = namespace

    def comment(self, number: int, text: str, *, user: str = "alice") -> Json:
        """Somebody comments, and GitHub tells the shim; its answer."""
        made = self.repo.add_comment(number, text, user=user)
        return self.deliver("issue_comment", "created", user, issue=self.repo.issues[number], comment=made)

    def deliver(self, event: str, action: str, sender: str, **more: Any) -> Json:
        """An event."""
        body = {"action": action, "repository": self.repo.json, "sender": account(sender), **more}
        data = json.dumps(body).encode()
        signature = hmac.new(WEBHOOK_SECRET.encode(), data, hashlib.sha256).hexdigest()
        request = urllib.request.Request(
            f"{self._namespace.stack.shim.url}/api/webhooks/github",
            data=data,
            headers={
                "Content-Type": "application/json",
                "X-GitHub-Event": event,
                "X-GitHub-Delivery": str(uuid.uuid4()),
                "X-Hub-Signature-256": f"sha256={signature}",
            },
        )
        # No proxy of the environment: this is the machine itself.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=10) as answer:
            told: Json = json.loads(answer.read())
        return told

    def says(self, *words: str, seconds: float = START_SECONDS) -> str:
        """The bot's only comment, once it holds these words."""

        def own() -> list[str]:
            return [one["body"] for one in self.repo.comments if one["user"]["login"] == "claude-bot"]

        def there() -> bool:
            return any(all(word in one for word in words) for one in own())

        wait_until(there, what=f"a comment that says {words}", seconds=seconds, interval=0.1)
        (found,) = own()
        return str(found)


def fork_head(outside: OutsideView, number: int) -> str:
    """A commit that the base repository has as a pull request's head alone."""
    author = ("-c", "user.name=Mallory", "-c", "user.email=mallory@example.com")
    sha = outside.git(*author, "commit-tree", "main^{tree}", "-p", "main", "-m", "From a fork")
    outside.git("update-ref", f"refs/pull/{number}/head", sha)
    return sha


@contextmanager
def github(namespace: Namespace) -> Iterator[GitHub]:
    """The stand-in, and a project whose triggers are its events."""
    state = namespace.outside.state
    server = GitHubServer(host=urlsplit(state.model.url).hostname or "", token=namespace.outside.git_token)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    asyncio.run_coroutine_threadsafe(server.__aenter__(), loop).result(30)
    try:
        web = state.git.url.rstrip("/")
        repo = server.add(REPOSITORY, f"{web}/{REPOSITORY}")
        namespace.apply_objects(
            credential(
                _LOGIN,
                hosts=f"{web} {server.origin}",
                username=state.git.username,
                password=namespace.outside.git_token,
            ),
            credential("webhook", webhookSecret=WEBHOOK_SECRET),
        )
        host = {
            "host": web.partition("://")[2],
            "url": web,
            "apiURL": server.url,
            "credentialsSecret": _LOGIN,
        }
        namespace.project(
            "github",
            repositoryHosts=[host],
            triggers={"github": {"users": ["alice"], "mention": MENTION, "webhookSecret": "webhook"}},
        )
        yield GitHub(server, repo, namespace)
        assert server.violations == []
    finally:
        asyncio.run_coroutine_threadsafe(server.__aexit__(None, None, None), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()
