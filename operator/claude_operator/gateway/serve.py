"""The gateway's process: every part made and tied together, three ports opened, and an orderly stop."""

from __future__ import annotations

import asyncio
import logging
import signal
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aiohttp import web

from claude_operator.gateway import tls
from claude_operator.gateway.assignment import Assigner
from claude_operator.gateway.bodies import BODY_SECONDS
from claude_operator.gateway.callbacks.notifier import Notifier
from claude_operator.gateway.callbacks.owe import KIND
from claude_operator.gateway.claim import Claimer
from claude_operator.gateway.credentials import Credentials
from claude_operator.gateway.egress import ConnectProxy
from claude_operator.gateway.errors import Refusal, StoreUnavailableError, unavailable
from claude_operator.gateway.git.proxy import GitProxy
from claude_operator.gateway.github import answers
from claude_operator.gateway.github.facts import Reader
from claude_operator.gateway.github.intake import Intake
from claude_operator.gateway.github.logins import Logins
from claude_operator.gateway.github.port import GitHubPort
from claude_operator.gateway.github.report import Reporter
from claude_operator.gateway.identity import TokenVerifier
from claude_operator.gateway.internal.handlers import InternalPort
from claude_operator.gateway.journal import Journal
from claude_operator.gateway.live import LiveAttempts
from claude_operator.gateway.model.meter import Meter
from claude_operator.gateway.model.proxy import ModelProxy, refusal_response
from claude_operator.gateway.outbox.worker import Outbox
from claude_operator.gateway.projects import Projects
from claude_operator.gateway.pull_request import PullRequests
from claude_operator.gateway.room import Room
from claude_operator.gateway.session.handlers import SessionPort
from claude_operator.gateway.store.database import Store
from claude_operator.gateway.upstream import Upstreams
from claude_operator.gateway.verdicts import Verdicts
from claude_operator.gateway.wakeups import Wakeups
from claude_operator.listen.listener import Bounds, Listener
from claude_operator.telemetry.metrics import Metrics
from claude_operator.wire.session import GIT_PATH, MESSAGES_PATH

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable
    from types import TracebackType
    from typing import Self

    from claude_operator.gateway.cluster import Cluster
    from claude_operator.gateway.settings import Settings

_NOT_FOUND: Final = 404

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Ports:
    """Where a running gateway listens."""

    session: int
    internal: int
    connect: int


class Gateway:
    """A gateway that listens for as long as it is entered.

    Args:
        settings: of the installation.
        cluster: the Kubernetes API.
        plain: without TLS; for tests that look at the wire.
    """

    def __init__(self, settings: Settings, cluster: Cluster, *, plain: bool = False) -> None:
        self.settings = settings
        self.metrics = Metrics("claude_gateway_")
        self.ports = Ports(0, 0, 0)
        self.authority: tls.Authority | None = None
        self.stopping = asyncio.Event()
        self._cluster = cluster
        self._plain = plain
        self._stack = AsyncExitStack()
        self._ready = False
        self._runners: list[web.AppRunner] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take no new requests, let answers that are under way end, then close everything."""
        self._ready = False
        self.stopping.set()
        self.wakeups.notify_all()
        await self._stack.aclose()

    async def _start(self) -> None:
        settings, stack = self.settings, self._stack
        settings.data.mkdir(parents=True, exist_ok=True)
        self.store = await stack.enter_async_context(Store(settings.database_url))
        upstreams = await stack.enter_async_context(Upstreams(settings.upstream_ca))
        self.wakeups = Wakeups()
        self.journal = Journal(self.store, self.wakeups)
        self.live = LiveAttempts(self.store)
        self.meter = Meter(self.store)
        await self.meter.recover()
        credentials = Credentials(self._cluster)
        self.projects = Projects(self._cluster, credentials)
        verifier = TokenVerifier(self._cluster)
        verdicts = Verdicts(self.store)
        room = Room(settings.body_bytes, wait_seconds=settings.body_wait_seconds, metrics=self.metrics)
        model = ModelProxy(
            projects=self.projects,
            credentials=credentials,
            upstreams=upstreams,
            meter=self.meter,
            journal=self.journal,
            verdicts=verdicts,
            metrics=self.metrics,
            room=room,
            log_only=settings.log_only,
        )
        logins = Logins(credentials, upstreams)
        git = GitProxy(
            store=self.store,
            projects=self.projects,
            logins=logins,
            upstreams=upstreams,
            journal=self.journal,
            verdicts=verdicts,
        )
        claimer = Claimer(
            cluster=self._cluster,
            store=self.store,
            projects=self.projects,
            live=self.live,
            meter=self.meter,
            assigner=Assigner(self._cluster, self.store, settings),
            journal=self.journal,
        )
        pull_requests = PullRequests(
            store=self.store,
            projects=self.projects,
            logins=logins,
            journal=self.journal,
            verdicts=verdicts,
        )
        session = SessionPort(
            verifier=verifier,
            live=self.live,
            claimer=claimer,
            store=self.store,
            journal=self.journal,
            wakeups=self.wakeups,
            model=model,
            git=git,
            pull_requests=pull_requests,
            room=room,
        )
        internal = InternalPort(
            settings=settings,
            verifier=verifier,
            live=self.live,
            store=self.store,
            journal=self.journal,
            wakeups=self.wakeups,
            meter=self.meter,
            cluster=self._cluster,
            stopping=self.stopping,
        )
        connect = ConnectProxy(
            settings=settings,
            verifier=verifier,
            live=self.live,
            projects=self.projects,
            journal=self.journal,
            metrics=self.metrics,
        )
        notifier = Notifier(
            projects=self.projects,
            credentials=credentials,
            upstreams=upstreams,
            seconds=settings.outbox.try_seconds,
        )
        github = GitHubPort(
            settings=settings,
            verifier=verifier,
            store=self.store,
            projects=self.projects,
            intake=Intake(self.projects, credentials),
            reader=Reader(logins, self.store),
            wakeups=self.wakeups,
        )
        reporter = Reporter(self.store, self.projects, logins)
        outbox = Outbox(
            store=self.store,
            wakeups=self.wakeups,
            metrics=self.metrics,
            pace=settings.outbox,
            kinds={KIND: notifier.deliver, answers.KIND: reporter.deliver},
        )
        context = await self._tls()
        await verifier.refresh()
        self._tasks.append(asyncio.create_task(self.projects.run(), name="projects"))
        self._tasks.append(asyncio.create_task(outbox.run(), name="outbox"))
        stack.push_async_callback(self._stop_tasks)
        internal_port = await self._serve(
            settings.internal_port, context, [*internal.routes(), *github.routes(), *self._probes()]
        )
        session_port = await self._serve(settings.session_port, context, session.routes())
        stack.push_async_callback(connect.stop)
        connect_port = await self._listen(settings.connect_port, context, connect.connected)
        self.ports = Ports(session_port, internal_port, connect_port)
        self._ready = True

    async def _tls(self) -> ssl.SSLContext | None:
        if self._plain:
            return None
        self.authority = await tls.shared_authority(self._cluster)
        names = tls.service_names(self.settings.namespace, self.settings.tls_names)
        context = tls.server_context(self.authority, names)
        self._tasks.append(asyncio.create_task(tls.keep_renewed(context, self.authority, names)))
        return context

    async def _serve(self, port: int, context: ssl.SSLContext | None, routes: list[web.RouteDef]) -> int:
        app = web.Application(middlewares=[_answer_refusals])
        app[BODY_SECONDS] = self.settings.body_seconds
        app.router.add_routes(routes)
        runner = web.AppRunner(
            app,
            access_log=None,
            # A client that hangs up does not cancel its handler: the model's answer is read to its end.
            handler_cancellation=False,
            shutdown_timeout=self.settings.drain_seconds,
            # Bodies are looked at as they were sent: Content-Encoding is refused, or passed on.
            auto_decompress=False,
            keepalive_timeout=75,
        )
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        assert runner.server is not None, "it is set up"
        return await self._listen(port, context, runner.server)

    async def _listen(
        self, port: int, context: ssl.SSLContext | None, connected: Callable[[], asyncio.Protocol]
    ) -> int:
        settings = self.settings
        listener = Listener(
            connected,
            host=settings.host,
            port=port,
            tls=context,
            bounds=Bounds(head_seconds=settings.head_seconds, per_peer=settings.connections_per_peer),
            metrics=self.metrics,
        )
        return (await self._stack.enter_async_context(listener)).port

    def _probes(self) -> list[web.RouteDef]:
        async def alive(_: web.Request) -> web.Response:
            return web.Response(text="ok\n")

        async def ready(_: web.Request) -> web.Response:
            if self._ready and self.projects.synced.is_set():
                return web.Response(text="ok\n")
            return web.Response(status=503, text="starting or stopping\n")

        async def metrics(_: web.Request) -> web.Response:
            return web.Response(text=self.metrics.render(), content_type="text/plain")

        return [web.get("/livez", alive), web.get("/readyz", ready), web.get("/metrics", metrics)]

    async def failed(self) -> None:
        """Wait until a part that should run for ever has ended, and raise what ended it."""
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        raise RuntimeError(f"{done.pop().get_name()} has ended")

    async def _stop_tasks(self) -> None:
        self.meter.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@web.middleware
async def _answer_refusals(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except Refusal as refused:
        return _refusal(request, refused)
    except StoreUnavailableError as error:
        _log.error("%s %s: %s", request.method, request.path, error)
        return _refusal(request, unavailable(str(error)))
    except web.HTTPException as error:
        what = "there is no such path" if error.status == _NOT_FOUND else error.reason
        return _refusal(
            request, Refusal(error.status, "NotFound", f"{request.method} {request.path}: {what}")
        )


def _refusal(request: web.Request, refused: Refusal) -> web.Response:
    """A refusal in the words of whoever reads it: the CLI, git, or our own clients."""
    if request.path == MESSAGES_PATH:
        return refusal_response(refused)
    if request.path.startswith(f"{GIT_PATH}/"):
        # git prints the text of an error that is plain text.
        return web.Response(
            status=refused.status, text=f"claude-operator: {refused.message}\n", headers=refused.headers
        )
    return web.Response(
        status=refused.status,
        body=refused.body().model_dump_json(by_alias=True).encode(),
        content_type="application/json",
        headers=refused.headers,
    )


async def serve(settings: Settings, cluster: Cluster) -> None:
    """Run until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with Gateway(settings, cluster) as gateway:
        _log.info("listening: %s", gateway.ports)
        failed = asyncio.create_task(gateway.failed())
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait({failed, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if failed.done():
            # A gateway that no longer watches its projects must not go on as if it did: it is restarted.
            await failed
        failed.cancel()
        _log.info("stopping: waiting for what is under way, %.0f s at most", settings.drain_seconds)
