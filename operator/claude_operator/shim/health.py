"""How it is: probes for the kubelet, the documented /health for people and clients, numbers for Prometheus.

The documented members `docker` and `claudeCodeImage` keep their names and tell what has taken their place:
the cluster, and the image of the session pods. Both come from what is known anyway; asking costs nothing, so
that nobody can make the cluster work by asking.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from claude_operator.resources.lifecycle import Phase, Reason

if TYPE_CHECKING:
    from claude_operator.shim.core.directory import Directory, Follower
    from claude_operator.shim.keys import Keyring
    from claude_operator.shim.settings import Settings
    from claude_operator.telemetry.metrics import Metrics

SILENT_SECONDS: Final = 180.0
"""The API server sends a bookmark each minute: a watch silent for longer sees nothing."""
_IMAGE_REASONS: Final = frozenset({Reason.IMAGE_PULL_BACK_OFF})
_STARTED: Final = frozenset({Phase.RUNNING, Phase.SUCCEEDED, Phase.PAUSED})

NO_KEY: Final = (
    "no key exists yet, so nobody can come in: kubectl -n claude-operator create secret generic "
    'claude-shim-keys --from-literal=default="$(openssl rand -hex 32)"'
)


@dataclass(frozen=True, slots=True)
class Milestone:
    """A step of the start."""

    name: str
    description: str
    timestamp: datetime
    elapsed: int
    """Milliseconds since the start."""


@dataclass(slots=True)
class Startup:
    """How the start went."""

    began: datetime = field(default_factory=lambda: datetime.now(UTC))
    milestones: list[Milestone] = field(default_factory=list)

    def reached(self, name: str, description: str) -> None:
        """Note a step; only its first time counts."""
        if any(one.name == name for one in self.milestones):
            return
        now = datetime.now(UTC)
        elapsed = round((now - self.began).total_seconds() * 1000)
        self.milestones.append(Milestone(name, description, now, elapsed))


@dataclass(frozen=True, slots=True)
class Health:
    """What there is to tell."""

    settings: Settings
    directory: Directory
    follower: Follower
    keyring: Keyring
    metrics: Metrics
    startup: Startup

    def complaint(self) -> str:
        """Why the process should be restarted; empty: it should not."""
        silence = self.follower.silence
        return f"the watch has been silent for {silence:.0f} s" if silence > 2 * SILENT_SECONDS else ""

    def unready(self) -> str:
        """Why no request should come here; empty: all is well."""
        if not self.follower.synced:
            return "the sessions are being listed"
        if not len(self.keyring) and not self.settings.insecure:
            return NO_KEY
        return ""

    def report(self) -> dict[str, Any]:
        """The documented answer of /health."""
        begun = time.perf_counter()
        cluster, image = self._cluster(), self._image()
        ready = not self.unready()
        well = ready and cluster is None and image is None
        total = max((one.elapsed for one in self.startup.milestones), default=0)
        return {
            "status": "ok" if well else "degraded",
            "timestamp": _iso(datetime.now(UTC)),
            "startup": {
                "isReady": ready,
                "startTime": _iso(self.startup.began),
                "totalElapsed": round((datetime.now(UTC) - self.startup.began).total_seconds() * 1000),
                "totalStartupTime": total,
                "milestones": [
                    {
                        "name": one.name,
                        "description": one.description,
                        "timestamp": _iso(one.timestamp),
                        "elapsed": one.elapsed,
                    }
                    for one in self.startup.milestones
                ],
            },
            "docker": _check(cluster, begun),
            "claudeCodeImage": _check(image, begun),
            "healthCheckDuration": _milliseconds(begun),
        }

    def render_metrics(self) -> str:
        """Prometheus' text format."""
        for phase, count in self.directory.phases().items():
            self.metrics.set(f"sessions_{phase.value.lower()}", count)
        self.metrics.set("keys", len(self.keyring))
        self.metrics.set("synced", int(self.follower.synced))
        self.metrics.set("watch_silence_seconds", round(self.follower.silence))
        return self.metrics.render()

    def _cluster(self) -> str | None:
        if not self.follower.synced:
            return "the cluster's sessions could not be listed yet"
        if self.follower.silence > SILENT_SECONDS:
            return f"the cluster has been silent for {self.follower.silence:.0f} s"
        return None

    def _image(self) -> str | None:
        """What the last session that got as far as its image tells of it."""
        view = self.directory.newest(lambda one: one.phase in _STARTED or one.reason in _IMAGE_REASONS)
        if view is None or view.reason not in _IMAGE_REASONS:
            return None
        return f"session {view.id}: {view.reason}: {view.message}"


def _check(error: str | None, begun: float) -> dict[str, Any]:
    return {"available": error is None, "error": error, "checkTime": _milliseconds(begun)}


def _milliseconds(begun: float) -> int:
    return round((time.perf_counter() - begun) * 1000)


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
