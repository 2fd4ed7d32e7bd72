"""The shim as a process: parts, wiring, order of start and end.

It serves from the first moment, so that probes and /health can tell what it is waiting for, and is ready once
the sessions are listed and a key exists. On SIGTERM it takes no new connection, answers what it has begun,
and ends: a request that was answered with success has been accepted by the API server.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from typing import TYPE_CHECKING, Final

from claude_operator.kube.client import KubeClient
from claude_operator.kube.retry import RetryPolicy
from claude_operator.record.gateway import Gateway
from claude_operator.record.github import GitHubRecord
from claude_operator.record.trust import GatewayTrust
from claude_operator.shim.core.directory import Directory, Follower
from claude_operator.shim.core.links import Links
from claude_operator.shim.core.report import Reporter
from claude_operator.shim.core.sessions import Sessions
from claude_operator.shim.dialects.github.worker import Worker
from claude_operator.shim.door import Door
from claude_operator.shim.health import NO_KEY, Health, Startup
from claude_operator.shim.keys import KeyRefusedError, Keyring
from claude_operator.shim.ratelimit import RateLimiter
from claude_operator.shim.server import serve
from claude_operator.shim.site import Site
from claude_operator.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from claude_operator.kube.config import ClusterConfig
    from claude_operator.shim.settings import Settings

log = logging.getLogger(__name__)

KUBE_RETRY: Final = RetryPolicy(deadline=10.0, longest_delay=1.0)
"""Short: a client waits for the answer."""
_KEYS_SECONDS: Final = 5.0
"""How often key files are looked at; kubelet itself takes up to a minute to bring a changed Secret."""
_REMIND_SECONDS: Final = 60.0


async def run(settings: Settings, cluster: ClusterConfig) -> None:
    """Run until SIGTERM or SIGINT.

    Raises:
        KeyRefusedError: no key, or one that can't be used.
        TrustError, ApiError: in an exception group; it can't start, or one of its parts has died.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    startup = Startup()
    keyring = _keys(settings)
    async with contextlib.AsyncExitStack() as stack:
        client = await stack.enter_async_context(KubeClient(cluster, retry=KUBE_RETRY))
        trust = GatewayTrust(client, namespace=settings.own_namespace, file=settings.gateway_ca_file)
        tls = settings.gateway_internal_url.startswith("https:")
        gateway = await stack.enter_async_context(
            Gateway(
                settings.gateway_internal_url,
                tls=trust.tls if tls else None,
                token_file=settings.gateway_token_file,
                on_unreachable=trust.doubt,
            )
        )
        directory = Directory()
        follower = Follower(directory, client, namespaces=settings.watch_namespaces)
        sessions = Sessions(directory, client, gateway)
        metrics = Metrics("claude_shim_")
        limiter = RateLimiter(limit=settings.rate_limit, window=settings.rate_window)
        site = Site(
            settings=settings,
            sessions=sessions,
            reporter=Reporter(sessions, Links(client)),
            door=Door(settings, keyring, limiter),
            metrics=metrics,
            github=Worker(GitHubRecord(gateway), sessions, metrics),
        )
        health = Health(settings, directory, follower, keyring, metrics, startup)
        listener = await stack.enter_async_context(serve(site, health))
        startup.reached("server_listening", "The HTTP server listens")
        log.info("listening on %s:%d", settings.host or "*", listener.port)
        async with asyncio.TaskGroup() as group:
            parts = [
                follower.run(),
                _keep_keys(keyring, settings),
                _announce(follower, startup),
                site.github.run(),
            ]
            if tls:
                parts.append(_trust(trust, startup))
            tasks = [group.create_task(part) for part in parts]
            # A part that dies cancels this wait, as its group does.
            await stop.wait()
            log.info("stopping")
            for task in tasks:
                task.cancel()


def _keys(settings: Settings) -> Keyring:
    keyring = Keyring(settings)
    keyring.load()
    if len(keyring) or settings.wait_for_keys:
        return keyring
    if not settings.insecure:
        raise KeyRefusedError(
            "no key: set CLAUDE_WEBHOOK_SECRET, CLAUDE_WEBHOOK_SECRET_FILE or CLAUDE_SHIM_KEYS_DIRECTORY "
            "(make one with `openssl rand -hex 32`), or let everybody in with --insecure"
        )
    log.warning("--insecure: everybody who reaches this port may run sessions")
    return keyring


async def _keep_keys(keyring: Keyring, settings: Settings) -> None:
    reminded = float("-inf")
    while True:
        if not len(keyring) and not settings.insecure and time.monotonic() - reminded > _REMIND_SECONDS:
            log.warning("%s", NO_KEY)
            reminded = time.monotonic()
        await asyncio.sleep(_KEYS_SECONDS)
        keyring.refresh()


async def _announce(follower: Follower, startup: Startup) -> None:
    await follower.listed()
    startup.reached("sessions_listed", "Every session of the cluster is known")
    log.info("every session is known")


async def _trust(trust: GatewayTrust, startup: Startup) -> None:
    await trust.load()
    startup.reached("gateway_trusted", "The gateway's certificate authority is known")
    await trust.keep_fresh()
