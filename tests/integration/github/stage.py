"""A shim, a gateway and a control plane with GitHub's stand-in behind them, over real sockets.

The gateway runs in the test's process with a cluster of dictionaries for projects and Secrets; sessions are
made by a shim, a process of its own, on a real API server. Where a test needs a session to run, it plays the
pod and the controller itself, as the tests of the gateway do.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import io
import json
import uuid
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from itertools import count
from typing import TYPE_CHECKING, Any, TypeVar

import aiohttp
from sqlalchemy import select

from claude_operator.gateway.outbox.pace import Pace
from claude_operator.gateway.serve import Gateway
from claude_operator.gateway.settings import Settings
from claude_operator.gateway.store import tables
from claude_operator.kube.client import KubeClient
from claude_operator.kube.config import from_kubeconfig
from claude_operator.kube.kinds import NAMESPACES, SESSIONS
from claude_operator.kube.request import Selection
from claude_operator.resources.session import SessionSpec
from tests.integration.gateway.cluster import CONTROLLER, FakeCluster, internal_token
from tests.integration.shim.process import ShimProcess
from tests.world.github import GitHubServer, Repository
from tests.world.github.state import account

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tests.cluster.controlplane import ControlPlane
    from tests.integration.gateway.cluster import Pod

Json = dict[str, Any]
SECRET = "webhook-secret-of-the-tests"
REPOSITORY = "acme/webapp"
HEAD = "a" * 40
DEADLINE = 20.0
_number = count(1)
T = TypeVar("T")


@dataclass
class Hub:
    """Everything that a test of GitHub's events touches."""

    folder: Path
    namespace: str
    cluster: FakeCluster
    gateway: Gateway
    settings: Settings
    github: GitHubServer
    repo: Repository
    kube: KubeClient
    http: aiohttp.ClientSession
    shim: ShimProcess
    project: Json
    pods: dict[str, Pod] = field(default_factory=dict)

    # What GitHub does.

    async def deliver(
        self,
        event: str,
        body: Json | bytes,
        *,
        secret: str = SECRET,
        delivery: str | None = None,
        to: ShimProcess | None = None,
        **headers: str,
    ) -> tuple[int, Json]:
        """One delivery, as GitHub sends it."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        signature = hmac.new(secret.encode(), data, hashlib.sha256).hexdigest()
        sent = {
            "Content-Type": "application/json",
            "User-Agent": "GitHub-Hookshot/0000000",
            "X-GitHub-Event": event,
            "X-GitHub-Delivery": delivery or str(uuid.uuid4()),
            "X-Hub-Signature-256": f"sha256={signature}",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        url = f"{(to or self.shim).url}/api/webhooks/github"
        content = io.BytesIO(data)  # as aiohttp wants large ones
        async with self.http.post(url, data=content, headers={k: v for k, v in sent.items() if v}) as answer:
            return answer.status, await answer.json()

    def event(self, action: str, sender: str, **more: Any) -> Json:
        return {"action": action, "repository": self.repo.json, "sender": account(sender), **more}

    def opened(self, number: int = 12, *, user: str = "alice", **issue: Any) -> Json:
        return self.event("opened", user, issue=self.repo.add_issue(number, user=user, **issue))

    def commented(self, text: str, *, number: int = 12, user: str = "alice", sender: str = "") -> Json:
        """A comment on an issue or pull request."""
        issue = self.repo.issues.get(number) or self.repo.add_issue(number, user="bob")
        made = self.repo.add_comment(number, text, user=user)
        return self.event("created", sender or user, issue=issue, comment=made)

    def remarked(self, text: str, *, number: int, user: str = "alice", sender: str = "") -> Json:
        """A comment on lines of a pull request."""
        comment = {
            "id": next(_number) + 5000,
            "body": text,
            "user": account(user),
            "html_url": f"{self.repo.web}/pull/{number}#discussion_r1",
            "path": "src/app.py",
            "line": 7,
            "diff_hunk": "@@ -1 +1 @@\n-old\n+new",
        }
        return self.event("created", sender or user, comment=comment, pull_request=self.repo.pulls[number])

    def reviewed(self, text: str, *, number: int, user: str = "alice", sender: str = "") -> Json:
        """A review with a text of its own."""
        review = {
            "id": next(_number) + 7000,
            "body": text,
            "user": account(user),
            "html_url": f"{self.repo.web}/pull/{number}#pullrequestreview-1",
            "state": "commented",
        }
        return self.event("submitted", sender or user, review=review, pull_request=self.repo.pulls[number])

    def checked(self, *, number: int = 5, sha: str = HEAD, sender: str = "ci[bot]", **suite: Any) -> Json:
        """A check suite that is done, and stands on the commit like that."""
        made = self.repo.add_suite(sha, **suite)
        pulls = [{"number": number, "head": {"sha": sha, "ref": "topic"}}]
        return self.event("completed", sender, check_suite={**made, "pull_requests": pulls})

    # What stands afterwards.

    async def sessions(self) -> list[Json]:
        return await self.kube.list(Selection(SESSIONS, self.namespace))

    async def session(self) -> Json:
        """The only session, once it is there."""
        async with asyncio.timeout(DEADLINE):
            while True:
                if found := await self.sessions():
                    break
                await asyncio.sleep(0.02)
        assert len(found) == 1, [one["metadata"]["name"] for one in found]
        return found[0]

    async def verdict(self, number: int = 1) -> str:
        """Of the n-th delivery, once it is done."""
        async with asyncio.timeout(DEADLINE):
            while True:
                found = await self.rows()
                if len(found) >= number and found[number - 1]["done_at"]:
                    return str(found[number - 1]["verdict"])
                await asyncio.sleep(0.02)

    async def rows(self) -> list[Json]:
        """The deliveries on record."""
        table = tables.github_deliveries
        query = select(table).order_by(table.c.serial)
        return await self.gateway.store.read(
            lambda connection: [dict(row._mapping) for row in connection.execute(query)]
        )

    async def until(self, look: Callable[[], T]) -> T:
        """What `look` sees, once it is something."""
        async with asyncio.timeout(DEADLINE):
            while True:
                if found := look():
                    return found
                await asyncio.sleep(0.02)

    async def comment(self, *words: str) -> str:
        """The bot's only comment, once it holds these words."""
        async with asyncio.timeout(DEADLINE):
            while True:
                found = [one["body"] for one in self.repo.comments if one["user"]["login"] == "claude-bot"]
                assert len(found) <= 1, found
                if found and all(word in found[0] for word in words):
                    return str(found[0])
                await asyncio.sleep(0.02)

    # The session's life, played.

    async def claim(self, session: Json) -> Json:
        """A pod of the session claims it."""
        metadata = session["metadata"]
        made = self.cluster.add_session(
            metadata["name"], namespace=self.namespace, uid=metadata["uid"], repository="x/y"
        )
        spec = SessionSpec.model_validate(session["spec"])
        made = replace(made, spec=spec)
        self.cluster.sessions[self.namespace, made.name] = made
        pod = self.cluster.add_pod(made)
        self.pods[metadata["uid"]] = pod
        return await self._ask("session", "POST", "/v1/session/claim", pod.token())

    async def finish(
        self,
        session: Json,
        summary: str,
        *,
        phase: str = "Succeeded",
        output: Json | None = None,
        **more: Any,
    ) -> None:
        """The agent's last words, and the controller's word on the end."""
        metadata = session["metadata"]
        result: Json = {"reason": "Completed", "summary": summary}
        if output is not None:
            result["structuredOutput"] = output
        pod = self.pods[metadata["uid"]]
        await self._ask("session", "POST", "/v1/session/result", pod.token(), result)
        outcome = {
            "namespace": self.namespace,
            "name": metadata["name"],
            "uid": metadata["uid"],
            "type": session["spec"]["type"],
            "phase": phase,
            "summary": summary[:1000],
            **more,
        }
        path = f"/internal/v1/sessions/{metadata['uid']}/outcome"
        await self._ask("internal", "PUT", path, internal_token(), outcome)

    async def _ask(self, port: str, method: str, path: str, token: str, body: Json | None = None) -> Json:
        base = f"http://127.0.0.1:{getattr(self.gateway.ports, port)}"
        headers = {"Authorization": f"Bearer {token}"}
        async with self.http.request(method, base + path, json=body, headers=headers) as answer:
            text = await answer.text()
            assert answer.status < 300, text
            found: Json = json.loads(text) if text else {}
            return found

    def change_triggers(self, **changes: Any) -> None:
        """Change the project's triggers; None removes a field."""
        triggers = {**self.project["triggers"]["github"], **changes}
        self.project["triggers"]["github"] = {k: v for k, v in triggers.items() if v is not None}
        self.cluster.put_project(self.project, namespace=self.namespace)

    def replica(self) -> ShimProcess:
        """Another shim of the same installation; not started."""
        return ShimProcess(self.folder / "replica.log", self.shim.environment)


def _settings(folder: Path, port: int = 0) -> Settings:
    return Settings(
        namespace="claude-operator",
        data=folder / "data",
        host="127.0.0.1",
        session_port=0,
        internal_port=port,
        connect_port=0,
        internal_subjects=frozenset({CONTROLLER}),
        private_networks=(ip_network("127.0.0.0/8"),),
        drain_seconds=2,
        outbox=Pace(first=0.1),
    )


@asynccontextmanager
async def open_hub(plane: ControlPlane, folder: Path) -> AsyncIterator[Hub]:
    """A stage whose shim runs."""
    namespace, cluster = f"github-{next(_number)}", FakeCluster()
    token_file = folder / "token"
    token_file.write_text(internal_token(exp=2**33))
    async with GitHubServer() as github, KubeClient(from_kubeconfig(plane.kubeconfig)) as kube:
        await kube.create(NAMESPACES, {"metadata": {"name": namespace}})
        repo = github.add(REPOSITORY, f"https://git.example/{REPOSITORY}")
        cluster.add_secret("anthropic", namespace=namespace, hosts="api.anthropic.com", apiKey="k" * 20)
        cluster.add_secret(
            "git", namespace=namespace, hosts=f"git.example {github.origin}", password=github.token
        )
        cluster.add_secret("webhook", namespace=namespace, webhookSecret=SECRET)
        project: Json = {
            "repositoryHosts": [{"host": "git.example", "apiURL": github.url, "credentialsSecret": "git"}],
            "triggers": {
                "github": {"users": ["Alice"], "mention": "@claude-bot", "webhookSecret": "webhook"}
            },
        }
        cluster.put_project(project, namespace=namespace)
        settings = _settings(folder)
        async with Gateway(settings, cluster, plain=True) as gateway, aiohttp.ClientSession() as http:
            shim = ShimProcess(
                folder / "shim.log",
                {
                    "KUBECONFIG": str(plane.kubeconfig),
                    "CLAUDE_SHIM_NAMESPACE": namespace,
                    "CLAUDE_NAMESPACES": namespace,
                    "CLAUDE_GATEWAY_INTERNAL_URL": f"http://127.0.0.1:{gateway.ports.internal}",
                    "CLAUDE_GATEWAY_TOKEN_FILE": str(token_file),
                },
            )
            hub = Hub(folder, namespace, cluster, gateway, settings, github, repo, kube, http, shim, project)
            await shim.start()
            try:
                yield hub
            finally:
                await shim.clean_up()
        assert github.violations == []
        assert "Traceback" not in shim.log.read_text(), shim.tail()
