"""A session, live: its phases from the API server, the agent's doings and the cost from the gateway.

Two sources, one screen: a thread watches the custom resource as `kubectl get --watch` would, the main thread
follows the journal. Nothing is shown that a user could not get with kubectl and curl.
"""

from __future__ import annotations

import json
import subprocess
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError

from rich.console import Console
from rich.syntax import Syntax

from claude_operator.resources.lifecycle import Phase
from claude_operator.resources.session_status import SessionStatus
from claude_operator.wire import transcript
from tests.cluster.places import REPOSITORY
from tests.cluster.waiting import wait_until

if TYPE_CHECKING:
    from claude_operator.wire.internal import RecordedEvent
    from tests.stack.stack import Stack

EXAMPLE = REPOSITORY / "manifests" / "examples" / "01-first-session.yaml"
NAME = "first-session"
DEADLINE_SECONDS = 300


@dataclass
class Show:
    """The first example, shown on a terminal."""

    stack: Stack
    spent: float = 0
    """US dollars."""
    console: Console = field(default_factory=lambda: Console(highlight=False, soft_wrap=True))

    def first_session(self) -> bool:
        """Apply the example, show it until it is final, then what it left; whether it succeeded."""
        kubectl = self.stack.cluster.kubectl
        kubectl.run("delete", "-f", str(EXAMPLE), "--ignore-not-found", "--wait=true", seconds=90)
        self._heading(f"kubectl apply -f {EXAMPLE.relative_to(REPOSITORY)}")
        begun = time.monotonic()
        kubectl.run("apply", "--server-side", "-f", str(EXAMPLE))
        uid = kubectl.run("get", "csess", NAME, "-o", "jsonpath={.metadata.uid}")
        watching = threading.Thread(target=self._show_phases, args=(begun,), daemon=True)
        watching.start()
        self._show_events(uid)
        watching.join(timeout=DEADLINE_SECONDS)
        status = self._status()
        self._heading("kubectl get csess")
        self.console.print(kubectl.run("get", "csess", NAME).rstrip(), markup=False)
        self._show_result(status)
        return status.phase is Phase.SUCCEEDED

    def _status(self) -> SessionStatus:
        found: dict[str, Any] = json.loads(self.stack.cluster.kubectl.run("get", "csess", NAME, "-o", "json"))
        return SessionStatus.model_validate(found["status"])

    def _show_phases(self, begun: float) -> None:
        shown = ""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while time.monotonic() < deadline:
            status = self._status()
            ready = next((c for c in status.conditions if c.type == "Ready"), None)
            told = f"{status.phase}" + (f" ({ready.reason}) {ready.message}" if ready else "")
            if told != shown:
                style = "red" if status.phase is Phase.FAILED else "cyan"
                self.console.print(f"[{style}]●[/] {time.monotonic() - begun:5.1f} s  ", end="")
                self.console.print(told.rstrip(), style=f"bold {style}", markup=False)
                shown = told
            if status.phase.final:
                return
            time.sleep(0.2)

    def _show_events(self, uid: str) -> None:
        """Follow the journal from its beginning; the gateway ends the stream with the session."""
        wait_until(
            lambda: self._known(uid) or self._status().phase.final,
            what="the session to be claimed by its pod",
            seconds=DEADLINE_SECONDS,
            interval=0.2,
        )
        if not self._known(uid):
            return
        for event in self.stack.gateway.events(uid, follow=True):
            self._show_event(event)

    def _known(self, uid: str) -> bool:
        try:
            self.stack.gateway.record(uid)
        except HTTPError as error:
            if error.code != 404:
                raise
            return False
        return True

    def _show_event(self, event: RecordedEvent) -> None:
        if event.type == "gateway.model_response":
            self._show_usage(event.data)
        if event.source == "gateway":
            return
        if event.type.startswith("runner."):
            self.console.print(f"  · {event.data.get('message', '')}", style="dim", markup=False)
            return
        for line in transcript.describe(event.data):
            self.console.print(f"  {line}", markup=False, style="green" if line.startswith(">") else "")

    def _show_usage(self, data: dict[str, Any]) -> None:
        """The metered answer of the model, and the sum so far."""
        self.spent += data["costUSD"]
        tokens_in = data["inputTokens"] + data["cacheReadInputTokens"] + data["cacheCreationInputTokens"]
        told = f"{tokens_in} tokens in, {data['outputTokens']} out · ${self.spent:.4f} so far"
        self.console.print(f"    {told}", style="dim italic", markup=False)

    def _show_result(self, status: SessionStatus) -> None:
        usage, result = status.usage, status.result
        if usage is not None:
            cached = usage.cache_read_input_tokens + usage.cache_creation_input_tokens
            self.console.print(
                f"\n{usage.turns} turns · {usage.input_tokens + cached} tokens in ({cached} cached) · "
                f"{usage.output_tokens} out · ${usage.cost_usd:.4f}"
            )
        if result is None or result.branch is None or result.commit is None:
            return
        self._heading(f"git: branch {result.branch}, commit {result.commit[:12]}")
        repository = self.stack.outside.state.git.repositories / "acme" / "greetings.git"
        range_ = f"HEAD...{result.commit}"
        self.console.print(
            _git(repository, "log", "--oneline", f"HEAD..{result.commit}").rstrip(), markup=False
        )
        self.console.print(Syntax(_git(repository, "diff", range_), "diff", background_color="default"))

    def _heading(self, text: str) -> None:
        self.console.print(f"\n{text}", style="bold", markup=False)


def _git(repository: object, *arguments: str) -> str:
    return subprocess.run(
        ["git", "--git-dir", str(repository), *arguments], capture_output=True, text=True, check=True
    ).stdout
