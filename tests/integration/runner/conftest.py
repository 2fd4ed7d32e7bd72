"""One world for each test: scripted model, git host, gateway stand-in; pods on demand."""

from __future__ import annotations

import contextlib
import itertools
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from claude_operator.resources.session import SessionType
from claude_operator.wire.session import Assignment
from tests.integration.runner import certificate
from tests.integration.runner import pod as pods
from tests.integration.runner.stand_in import StandIn
from tests.world import GitServer, GitUser, ModelServer, Script, Step, inline, read_seeds
from tests.world.claude_code import ClaudeCodeUnavailableError, fetch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from tests.integration.runner.certificate import Certificate
    from tests.integration.runner.pod import Pod

KEY = "sk-ant-the-real-key"
USER = GitUser(username="claude-bot", token="the-real-git-token")
HOST = "git.example"


@pytest.fixture(scope="session")
def claude() -> Path:
    try:
        return fetch()
    except ClaudeCodeUnavailableError as error:
        pytest.skip(f"the Claude Code CLI cannot be had: {error}")


@pytest.fixture(scope="session")
def loopback(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return certificate.make(tmp_path_factory.mktemp("tls"))


def script(*steps: Step) -> str:
    """Requirements that tell the scripted model what to do."""
    return inline(Script(steps=steps))


def assignment(requirements: str, **changes: object) -> Assignment:
    return Assignment.model_validate(
        {
            "namespace": "default",
            "name": "first",
            "session_uid": str(uuid.uuid4()),
            "attempt": 1,
            "type": SessionType.IMPLEMENTATION,
            "requirements": requirements,
            "repository_host": HOST,
            "repository_path": "acme/greetings",
            "repository_url": f"https://{HOST}/acme/greetings",
            "publish_branch": "claude/first-abcde",
            "model": "claude-sonnet-5-5",
            "tools": [],
            "timeout_seconds": 120,
            "claude_session_id": str(uuid.uuid4()),
            "author_name": "Claude",
            "author_email": "claude@git.example",
            **changes,
        }
    )


@dataclass
class World:
    claude: Path
    folder: Path
    model: ModelServer
    git: GitServer
    certificate: Certificate
    stack: contextlib.AsyncExitStack
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    async def gateway(self, given: Assignment) -> StandIn:
        gateway = StandIn(
            given,
            model=self.model,
            model_key=KEY,
            git=self.git,
            git_user=USER,
            tls=self.certificate.server,
        )
        await gateway.start()
        self.stack.push_async_callback(gateway.stop)
        return gateway

    async def pod(self, gateway: StandIn, env: Mapping[str, str] | None = None) -> Pod:
        pod = await pods.start(
            self.folder / f"pod{next(self._numbers)}",
            claude=self.claude,
            gateway_url=gateway.url,
            gateway_proxy=gateway.proxy,
            ca=self.certificate.ca,
            token=gateway.token,
            env=env,
        )
        self.stack.push_async_callback(pod.kill)
        return pod

    def branches(self) -> dict[str, str]:
        return self.git.repositories.branches("acme/greetings")

    def read(self, ref: str, file: str) -> str:
        return self.git.repositories.read("acme/greetings", ref, file)

    def log(self, ref: str) -> list[str]:
        return self.git.repositories.git("acme/greetings", "log", "--format=%an <%ae> %s", ref).splitlines()


@pytest.fixture
async def world(claude: Path, loopback: Certificate, tmp_path: Path) -> AsyncIterator[World]:
    async with (
        ModelServer(keys=[KEY]) as model,
        GitServer(root=tmp_path / "repositories", users=[USER]) as git,
        contextlib.AsyncExitStack() as stack,
    ):
        git.repositories.create("acme/greetings", read_seeds()["acme/greetings"])
        yield World(claude, tmp_path, model, git, loopback, stack)
