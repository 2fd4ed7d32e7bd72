"""What the outside world saw: the model's records and totals, the repositories on the git host."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.world.repositories import git_environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.stack.outside import WorldState

REPOSITORY = "acme/greetings"


@dataclass(frozen=True, slots=True)
class OutsideView:
    """The stand-ins for model and git host, from their own side."""

    state: WorldState

    @property
    def model_key(self) -> str:
        """The real model key."""
        return self.state.model.key_file.read_text().strip()

    @property
    def git_token(self) -> str:
        """The real token of the git host."""
        return self.state.git.token_file.read_text().strip()

    def sent(self, session_id: str) -> dict[str, int]:
        """Requests and tokens of a CLI session, as the model sent them."""
        found: dict[str, int] = self._ask(self.state.model.url, "/_usage")["sessions"][session_id]
        return found

    def model_requests(self, script: str) -> list[dict[str, Any]]:
        """The recorded requests that played a script, oldest first."""
        records = self._ask(self.state.model.url, "/_requests")["requests"]
        return [record for record in records if record.get("script") == script]

    def prompt(self, script: str) -> str:
        """The first user message that the model got."""
        content = self.model_requests(script)[0]["body"]["messages"][0]["content"]
        return content if isinstance(content, str) else "\n".join(block.get("text", "") for block in content)

    def tool_results(self, script: str) -> list[str]:
        """What the tools of a session answered, in order, as the model was told."""
        found = []
        for message in self.model_requests(script)[-1]["body"]["messages"]:
            blocks = message["content"] if isinstance(message["content"], list) else []
            for block in blocks:
                if block["type"] == "tool_result":
                    content = block["content"]
                    found.append(content if isinstance(content, str) else content[0]["text"])
        return found

    @contextmanager
    def echo(self) -> Iterator[None]:
        """Meanwhile both hosts reflect the credentials that they are sent, in every way that they know."""
        try:
            for url in (self.state.model.url, self.state.git.url):
                self._ask(url, "/_echo", method="PUT", body=b"true")
            yield
        finally:
            for url in (self.state.model.url, self.state.git.url):
                self._ask(url, "/_echo", method="PUT", body=b"false")

    def git(self, *arguments: str, repository: str = REPOSITORY) -> str:
        """Git in a bare repository of the host."""
        folder: Path = self.state.git.repositories / f"{repository}.git"
        done = subprocess.run(
            ["git", "--git-dir", str(folder), *arguments],
            env=git_environment(),
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode(errors="replace").rstrip("\n")

    def branches(self, repository: str = REPOSITORY) -> dict[str, str]:
        """Commits by branch."""
        listed = self.git(
            "for-each-ref", "--format=%(refname:short) %(objectname)", "refs/heads", repository=repository
        )
        return dict(line.split() for line in listed.splitlines())

    def _ask(self, url: str, path: str, *, method: str = "GET", body: bytes | None = None) -> Any:
        token = self.state.control_token_file.read_text().strip()
        request = urllib.request.Request(
            url.rstrip("/") + path, method=method, data=body, headers={"Authorization": f"Bearer {token}"}
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=10) as answer:
            text = answer.read()
        return json.loads(text) if text else None
