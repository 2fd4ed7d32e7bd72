"""Probes and metrics of the controller.

Alive means: the event loop answers, no key has waited for a worker for minutes, and the watches show signs
of life (the server sends bookmarks every minute). kopf does not show its bookmarks: it opens a watch of its
own again that was silent for too long (source.py), and this process ends when kopf can't (run.py). Ready
means: leading and listed, or waiting for the leader's place, which is all that a second replica can do.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aiohttp import web

if TYPE_CHECKING:
    from claude_operator.controller.informer import ChildInformer
    from claude_operator.controller.queue import WorkQueue
    from claude_operator.controller.source import SessionSource
    from claude_operator.controller.sweep import Sweeper
    from claude_operator.kube.client import KubeClient
    from claude_operator.kube.events import EventRecorder
    from claude_operator.kube.lease import Lease

STUCK_SECONDS: Final = 300.0


@dataclass(frozen=True, slots=True)
class Vitals:
    """The parts whose state is shown."""

    client: KubeClient
    lease: Lease
    queue: WorkQueue
    informer: ChildInformer
    source: SessionSource
    sweeper: Sweeper
    recorder: EventRecorder

    def complaint(self) -> str:
        """What is wrong beyond waiting; empty when all is well."""
        if self.queue.oldest > STUCK_SECONDS:
            return f"a key has waited for {self.queue.oldest:.0f} s"
        if self.lease.held and self.informer.silence > STUCK_SECONDS:
            return f"a watch has been silent for {self.informer.silence:.0f} s"
        return ""

    @property
    def ready(self) -> bool:
        """Doing what it is there for."""
        return not self.lease.held or (self.informer.synced and self.sweeper.sessions_synced)

    def metrics(self) -> str:
        """Prometheus' text format."""
        gauges = {
            "claude_controller_leading": float(self.lease.held),
            "claude_controller_synced": float(self.informer.synced and self.sweeper.sessions_synced),
            "claude_controller_queue_depth": float(self.queue.depth),
            "claude_controller_queue_delayed": float(self.queue.delayed),
            "claude_controller_queue_oldest_seconds": self.queue.oldest,
            "claude_controller_session_event_age_seconds": time.monotonic() - self.source.last_event,
            "claude_controller_watch_silence_seconds": self.informer.silence,
        }
        lines = [f"# TYPE {name} gauge\n{name} {value:g}" for name, value in gauges.items()]
        lines.append("# TYPE claude_controller_api_writes_total counter")
        for what, count in sorted(self.client.writes.items()):
            verb, _, resource = what.partition(" ")
            lines.append(f'claude_controller_api_writes_total{{verb="{verb}",resource="{resource}"}} {count}')
        lines.append("# TYPE claude_controller_events_dropped_total counter")
        lines.append(f"claude_controller_events_dropped_total {self.recorder.dropped}")
        return "\n".join(lines) + "\n"


async def serve(vitals: Vitals, *, port: int) -> web.AppRunner:
    """Answer /livez, /readyz and /metrics on every address; the caller cleans the runner up."""

    async def livez(_: web.Request) -> web.Response:
        complaint = vitals.complaint()
        return web.Response(status=503 if complaint else 200, text=complaint or "ok")

    async def readyz(_: web.Request) -> web.Response:
        return (
            web.Response(status=200, text="ok") if vitals.ready else web.Response(status=503, text="listing")
        )

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(text=vitals.metrics())

    application = web.Application()
    application.add_routes(
        [web.get("/livez", livez), web.get("/readyz", readyz), web.get("/metrics", metrics)]
    )
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, None, port).start()
    return runner
