"""A gateway on loopback between a scripted model, a real git server, and a session's pod."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from ipaddress import ip_address, ip_network
from json import loads
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from claude_operator.gateway import addresses
from claude_operator.gateway.outbox.pace import Pace
from claude_operator.gateway.serve import Gateway
from claude_operator.gateway.settings import Settings
from claude_operator.resources.addresses import allowed as is_allowed
from tests.integration.gateway.cluster import CONTROLLER, FakeCluster, Pod, internal_token
from tests.world.git_server import GitServer, GitUser
from tests.world.model_server import ModelServer
from tests.world.repositories import read_seeds

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable
    from ipaddress import IPv4Network, IPv6Network
    from pathlib import Path

    from claude_operator.gateway.cluster import Session
    from claude_operator.resources.addresses import Address

MODEL_KEY = "sk-ant-test-0123456789abcdefghijklmnopqrstuvwxyz"
GIT_TOKEN = "ghs_0123456789abcdefghijklmnopqrstuvwxyz"
DEADLINE = 20.0
QUICK = Pace(first=0.05, longest=0.2, patience=1.0, fewest=4, try_seconds=1.0)
"""Of deliveries: a day in a second."""


@dataclass
class World:
    """Everything that a test of the gateway touches."""

    folder: Path
    cluster: FakeCluster
    model: ModelServer
    git: GitServer
    gateway: Gateway
    http: aiohttp.ClientSession
    project: dict[str, Any]
    settings: Settings
    tokens: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.gateway.ports.session}"

    @property
    def internal_url(self) -> str:
        return f"https://127.0.0.1:{self.gateway.ports.internal}/internal/v1"

    @property
    def host(self) -> str:
        return self.git.url.removeprefix("http://")

    def change_project(self, **changes: Any) -> None:
        """Change the project's spec; None removes a field."""
        spec = {**self.project, **changes}
        self.cluster.put_project({key: value for key, value in spec.items() if value is not None})

    def change_model(self, **changes: Any) -> None:
        self.change_project(model={**self.project["model"], **changes})

    async def ask(
        self, pod: Pod, method: str, path: str, *, json: Any = None, data: Any = None, **headers: str
    ) -> tuple[int, Any]:
        """A request of a pod; the status and the JSON (or text) of the answer."""
        headers = {"Authorization": f"Bearer {pod.token()}", **headers}
        async with self.http.request(
            method, f"{self.url}{path}", json=json, data=data, headers=headers
        ) as answer:
            return answer.status, await _content(answer)

    async def internal(
        self, method: str, path: str, *, json: Any = None, token: str | None = None
    ) -> tuple[int, Any]:
        """A request of the controller."""
        headers = {"Authorization": f"Bearer {token or internal_token()}"}
        async with self.http.request(
            method, f"{self.internal_url}{path}", json=json, headers=headers
        ) as answer:
            return answer.status, await _content(answer)

    async def record(self, session: Session) -> dict[str, Any]:
        status, record = await self.internal("GET", f"/sessions/{session.uid}")
        assert status == 200, record
        assert isinstance(record, dict)
        return record

    async def close_attempt(self, session: Session, number: int = 1) -> dict[str, Any]:
        status, record = await self.internal(
            "POST",
            f"/sessions/{session.uid}/attempts/{number}/close",
            json={"namespace": session.namespace, "name": session.name},
        )
        assert status == 200, record
        assert isinstance(record, dict)
        return record

    async def conclude(self, session: Session, phase: str = "Succeeded", **more: Any) -> dict[str, Any]:
        body = {
            "namespace": session.namespace,
            "name": session.name,
            "uid": session.uid,
            "type": "implementation",
            "phase": phase,
            **more,
        }
        status, outcome = await self.internal("PUT", f"/sessions/{session.uid}/outcome", json=body)
        assert status == 200, outcome
        assert isinstance(outcome, dict)
        return outcome

    async def claim(self, pod: Pod) -> tuple[int, Any]:
        return await self.ask(pod, "POST", "/v1/session/claim")

    async def claimed(self, name: str = "fix", **spec: Any) -> tuple[Session, Pod, dict[str, Any]]:
        """A session whose first pod has claimed it."""
        session = self.cluster.add_session(name, **spec)
        pod = self.cluster.add_pod(session)
        status, assignment = await self.claim(pod)
        assert status == 200, assignment
        return session, pod, assignment

    async def journal(self, session: Session, *, until: str | None = None) -> list[dict[str, Any]]:
        """The session's events; with `until`, once one of that type is there."""
        async with asyncio.timeout(DEADLINE):
            while True:
                headers = {"Authorization": f"Bearer {internal_token()}"}
                url = f"{self.internal_url}/sessions/{session.uid}/events"
                async with self.http.get(url, headers=headers) as answer:
                    lines = (await answer.read()).splitlines()
                events = [loads(line) for line in lines]
                if until is None or any(event["type"] == f"gateway.{until}" for event in events):
                    return events
                await asyncio.sleep(0.01)

    async def event(self, session: Session, kind: str) -> dict[str, Any]:
        """The data of the last event of a kind, once there is one."""
        events = await self.journal(session, until=kind)
        data = [event["data"] for event in events if event["type"] == f"gateway.{kind}"][-1]
        assert isinstance(data, dict)
        return data

    async def verdict(self, session: Session, wanted: Callable[[str | None], bool]) -> dict[str, Any]:
        """The last attempt's record, once its verdict is as wanted."""
        async with asyncio.timeout(DEADLINE):
            while True:
                attempt: dict[str, Any] = (await self.record(session))["attempts"][-1]
                if wanted(attempt.get("verdict")):
                    return attempt
                await asyncio.sleep(0.01)

    def run_git(self, pod: Pod, *args: str, cwd: Path | None = None, check: bool = True) -> str:
        """git, as in a pod that reaches the gateway with its token; its whole output."""
        assert self.gateway.authority is not None
        authority = self.folder / "ca.crt"
        authority.write_text(self.gateway.authority.pem)
        done = subprocess.run(
            [
                "git",
                "-c",
                f"http.sslCAInfo={authority}",
                "-c",
                f"http.extraHeader=Authorization: Bearer {pod.token()}",
                *args,
            ],
            cwd=cwd or self.folder,
            env={
                "PATH": "/usr/bin:/bin",
                "HOME": str(self.folder),
                "GIT_TERMINAL_PROMPT": "0",
                "GIT_AUTHOR_NAME": "Claude",
                "GIT_AUTHOR_EMAIL": "claude@example.com",
                "GIT_COMMITTER_NAME": "Claude",
                "GIT_COMMITTER_EMAIL": "claude@example.com",
            },
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=60,
            check=False,
        )
        if check:
            assert done.returncode == 0, done.stdout
        return done.stdout

    async def git_in_pod(self, pod: Pod, *args: str, cwd: Path | None = None, check: bool = True) -> str:
        return await asyncio.to_thread(self.run_git, pod, *args, cwd=cwd, check=check)

    def remote(self, repository: str = "acme/greetings") -> str:
        return f"{self.url}/git/{self.host}/{repository}.git"

    async def clone(self, pod: Pod, name: str = "clone") -> Path:
        await self.git_in_pod(pod, "clone", "-q", self.remote(), name)
        return self.folder / name

    async def commit(self, pod: Pod, clone: Path, text: str = "hello") -> str:
        (clone / "new.txt").write_text(text)
        await self.git_in_pod(pod, "add", "-A", cwd=clone)
        await self.git_in_pod(pod, "commit", "-q", "-m", "work", cwd=clone)
        return (await self.git_in_pod(pod, "rev-parse", "HEAD", cwd=clone)).strip()

    def branches(self, repository: str = "acme/greetings") -> dict[str, str]:
        """The branches that the git host has, without the gateway."""
        done = subprocess.run(
            ["git", "for-each-ref", "--format=%(refname) %(objectname)"],
            cwd=self.git.repositories.root / f"{repository}.git",
            text=True,
            capture_output=True,
            check=True,
        )
        return dict(line.split() for line in done.stdout.splitlines())


async def _content(answer: aiohttp.ClientResponse) -> Any:
    if answer.content_type == "application/json":
        return await answer.json()
    return await answer.text()


def client_context(gateway: Gateway) -> ssl.SSLContext:
    assert gateway.authority is not None
    return ssl.create_default_context(cadata=gateway.authority.pem)


@asynccontextmanager
async def running(
    settings: Settings, cluster: FakeCluster
) -> AsyncIterator[tuple[Gateway, aiohttp.ClientSession]]:
    """A gateway, and a client that trusts it."""
    async with (
        Gateway(settings, cluster) as gateway,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=client_context(gateway), limit=0)) as http,
    ):
        yield gateway, http


@asynccontextmanager
async def restarted(world: World) -> AsyncIterator[World]:
    """Another gateway on the same database; the first must have been left."""
    async with running(world.settings, world.cluster) as (gateway, http):
        yield replace(world, gateway=gateway, http=http)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(tmp_path) as world:
        yield world


@asynccontextmanager
async def open_world(folder: Path) -> AsyncIterator[World]:
    cluster = FakeCluster()
    users = [GitUser(username="x-access-token", token=GIT_TOKEN)]
    async with (
        ModelServer(keys=[MODEL_KEY]) as model,
        GitServer(root=folder / "repositories", users=users) as git,
    ):
        git.repositories.create("acme/greetings", read_seeds()["acme/greetings"])
        git.repositories.create("acme/other", read_seeds()["acme/greetings"])
        cluster.add_secret("anthropic", hosts=model.url, apiKey=MODEL_KEY)
        cluster.add_secret("git", hosts=git.url, password=GIT_TOKEN)
        host = git.url.removeprefix("http://")
        project: dict[str, Any] = {
            "repositoryHosts": [{"host": host, "url": git.url, "credentialsSecret": "git"}],
            "model": {
                "upstreamURL": model.url,
                "credentialsSecret": "anthropic",
                "default": "claude-sonnet-5-5",
                "allowed": ["claude-opus-5-5"],
            },
        }
        cluster.put_project(project)
        settings = Settings(
            namespace="claude-operator",
            data=folder / "data",
            host="127.0.0.1",
            session_port=0,
            internal_port=0,
            connect_port=0,
            internal_subjects=frozenset({CONTROLLER}),
            private_networks=(ip_network("127.0.0.0/8"),),
            drain_seconds=5,
            outbox=QUICK,
        )
        async with running(settings, cluster) as (gateway, http):
            yield World(folder, cluster, model, git, gateway, http, project, settings)


@pytest.fixture
def public_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """`hooks.example.com` is this machine, and 127.0.0.0/8 counts as public: nothing leaves the machine."""
    loop_resolve = addresses.lookup

    async def lookup(host: str, port: int) -> list[Address]:
        return [ip_address("127.0.0.1")] if host == "hooks.example.com" else await loop_resolve(host, port)

    def allowed(address: Address, networks: Iterable[IPv4Network | IPv6Network] = ()) -> bool:
        return address.is_loopback or is_allowed(address, networks)

    monkeypatch.setattr(addresses, "lookup", lookup)
    monkeypatch.setattr(addresses, "allowed", allowed)
