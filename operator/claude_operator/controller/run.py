"""The controller as a process: parts, wiring, order of start and end.

Start: the gateway's CA, the Lease, then watches and workers. End: on SIGTERM the workers stop first, what is
left of the Events is written, and the Lease is released last, so that the next leader never overlaps. When
the Lease is lost, or a watch dies, the process ends with an error and is restarted: starting over is the
one recovery that is always right.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
from typing import TYPE_CHECKING, Final

from claude_operator.controller import health
from claude_operator.controller.act import Actor
from claude_operator.controller.cache import Cache
from claude_operator.controller.informer import ChildInformer
from claude_operator.controller.observe import Observer
from claude_operator.controller.orphans import Orphans
from claude_operator.controller.queue import WorkQueue
from claude_operator.controller.reconcile import Parts, Reconciler
from claude_operator.controller.settings import LEASE_NAME
from claude_operator.controller.source import SessionSource
from claude_operator.controller.sweep import Reaper, Sweeper
from claude_operator.engine.config import EngineConfig
from claude_operator.kube.client import KubeClient
from claude_operator.kube.events import EventRecorder
from claude_operator.kube.lease import Lease
from claude_operator.record.gateway import Gateway
from claude_operator.record.trust import GatewayTrust

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

    from claude_operator.controller.settings import Settings
    from claude_operator.kube.config import ClusterConfig

log = logging.getLogger(__name__)

_GC_THRESHOLD: Final = 50_000
"""Young objects before a collection. The default of 700 costs a tenth of the CPU: every parsed event is a
thousand objects that reference counting frees by itself."""
_LAST_EVENTS_SECONDS: Final = 2.0
_SYNC_PAUSE: Final = 0.5


class LeadershipLostError(Exception):
    """Another replica may be working by now."""


async def run(settings: Settings, cluster: ClusterConfig) -> None:
    """Run until SIGTERM or SIGINT.

    Raises:
        LeadershipLostError: the Lease was lost.
        TrustError, ApiError, RuntimeError: it can't start, or one of its parts has died.
    """
    stop = asyncio.Event()
    _on_signals(stop)
    gc.set_threshold(_GC_THRESHOLD)
    async with contextlib.AsyncExitStack() as stack:
        client = await stack.enter_async_context(KubeClient(cluster))
        trust = GatewayTrust(client, namespace=settings.namespace, file=settings.gateway_ca_file)
        gateway = await stack.enter_async_context(
            Gateway(
                settings.gateway_internal_url,
                tls=trust.tls if settings.gateway_internal_url.startswith("https:") else None,
                token_file=settings.gateway_token_file,
                on_unreachable=trust.doubt,
            )
        )
        controller = Controller(settings, cluster, client=client, gateway=gateway, trust=trust)
        runner = await health.serve(controller.vitals, port=settings.health_port)
        stack.push_async_callback(runner.cleanup)
        await _until(stop, controller.run(stop))


class Controller:
    """The parts of one controller, wired."""

    def __init__(
        self,
        settings: Settings,
        cluster: ClusterConfig,
        *,
        client: KubeClient,
        gateway: Gateway,
        trust: GatewayTrust,
    ) -> None:
        self._settings = settings
        self._trust = trust
        self.queue = WorkQueue()
        self.cache = Cache(self.queue.add)
        namespaces = settings.namespaces
        self.lease = Lease(client, namespace=settings.namespace, name=LEASE_NAME, identity=settings.identity)
        self._recorder = EventRecorder(client, component="claude-operator", instance=settings.identity)
        silence = settings.watch_silence_seconds
        self._informer = ChildInformer(self.cache, client, namespaces=namespaces, silence=silence)
        self._source = SessionSource(self.cache, cluster, namespaces=namespaces, silence=silence)
        self._sweeper = Sweeper(cache=self.cache, client=client, source=self._source, namespaces=namespaces)
        self._reaper = Reaper(cache=self.cache, client=client, namespaces=namespaces)
        self._reconciler = Reconciler(
            Parts(
                cache=self.cache,
                client=client,
                gateway=gateway,
                observer=Observer(self.cache, client, gateway),
                actor=Actor(client=client, gateway=gateway, cache=self.cache, recorder=self._recorder),
                sources=self,
                config=self._engine_config,
                come_back=self.queue.add_after,
                expire=self._reaper.expire,
            )
        )
        self._orphans = Orphans(
            cache=self.cache,
            client=client,
            gateway=gateway,
            namespaces=namespaces,
            void=self._reconciler.void,
        )
        self.vitals = health.Vitals(
            client=client,
            lease=self.lease,
            queue=self.queue,
            informer=self._informer,
            source=self._source,
            sweeper=self._sweeper,
            recorder=self._recorder,
        )

    @property
    def leading(self) -> bool:
        """The Lease is ours, for certain."""
        return self.lease.current

    @property
    def projects_synced(self) -> bool:
        """Every project is in the cache."""
        return self._sweeper.projects_synced

    @property
    def sessions_synced(self) -> bool:
        """Every unfinished session is in the cache."""
        return self._sweeper.sessions_synced

    @property
    def jobs_synced(self) -> bool:
        """Every Job and Pod is in the cache."""
        return self._informer.synced

    async def run(self, stop: asyncio.Event) -> None:
        """Lead, then work, until cancelled.

        Raises:
            LeadershipLostError: the Lease was lost.
        """
        if self._settings.gateway_url.startswith("https:"):
            await self._trust.load()
        await self.lease.acquire()
        try:
            await self._work(stop)
        finally:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LAST_EVENTS_SECONDS):
                    await self._recorder.drain()
            await self.lease.release()

    async def _work(self, stop: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as group:
            parts: dict[str, Coroutine[Any, Any, None]] = {
                "lease": self._lead(),
                "sessions": self._source.run(started=lambda: _on_signals(stop)),
                "jobs and pods": self._informer.run(),
                "queue": self.queue.run(self._reconciler, workers=self._settings.workers),
                "sweep": self._sweeper.run(),
                "time to live": self._reaper.run(),
                "orphans": self._orphans_once_synced(),
                "events": self._recorder.run(),
                "memory": self._freeze_what_stays(),
            }
            if self._settings.gateway_url.startswith("https:"):
                parts["trust"] = self._trust.keep_fresh()
            for name, part in parts.items():
                group.create_task(part, name=name)

    async def _lead(self) -> None:
        await self.lease.hold()
        raise LeadershipLostError(f"the Lease {LEASE_NAME} was lost to {self.lease.holder or 'nobody'}")

    async def _orphans_once_synced(self) -> None:
        while not self.sessions_synced:  # noqa: ASYNC110 - two parties, and no hurry
            await asyncio.sleep(_SYNC_PAUSE)
        await self._orphans.run()

    async def _freeze_what_stays(self) -> None:
        """Modules and the first list are never garbage: no collection need look at them again."""
        while not (self.sessions_synced and self.jobs_synced):  # noqa: ASYNC110 - two parties, and no hurry
            await asyncio.sleep(_SYNC_PAUSE)
        gc.collect()
        gc.freeze()

    def _engine_config(self) -> EngineConfig:
        return EngineConfig(
            session_image=self._settings.session_image,
            gateway_url=self._settings.gateway_url,
            gateway_proxy=self._settings.gateway_proxy,
            gateway_ca=self._trust.pem,
            image_pull_policy=self._settings.image_pull_policy,
        )


def _on_signals(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)


async def _until(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
    """Run `work` until it ends, or until the signal; its error is passed on."""
    working = asyncio.create_task(work, name="controller")
    stopping = asyncio.create_task(stop.wait(), name="signal")
    await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not working.done():
        log.info("stopping")
        working.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await working
