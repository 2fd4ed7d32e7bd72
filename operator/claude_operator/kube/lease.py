"""Leader election by a coordination.k8s.io Lease, with client-go's semantics and its default times.

Acquire first, only then start to work; renew; when renewing fails for too long, stop: the holder's deadline
ends before the others' patience does. Time is measured by each process's own monotonic clock, from when
it saw the lease change, so clocks that differ do no harm.

This is a courtesy that avoids wasted work, not a lock: a paused process can wake up and write once more.
Correctness rests on deterministic names and guarded writes.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from claude_operator.kube.errors import ApiError
from claude_operator.kube.kinds import LEASES
from claude_operator.kube.timestamps import micro_time

if TYPE_CHECKING:
    from claude_operator.kube.client import KubeClient

log = logging.getLogger(__name__)

LEASE_SECONDS: Final = 15.0
"""How long others wait after the last renewal that they saw."""
RENEW_DEADLINE_SECONDS: Final = 10.0
"""How long the holder goes on without a successful renewal."""
RETRY_SECONDS: Final = 2.0
_JITTER: Final = 1.2


class Lease:
    """One candidate for one lease.

    Attributes:
        held: whether this process may work now.
        holder: the identity last seen in the lease.
    """

    def __init__(
        self,
        client: KubeClient,
        *,
        namespace: str,
        name: str,
        identity: str,
        lease_seconds: float = LEASE_SECONDS,
        renew_deadline_seconds: float = RENEW_DEADLINE_SECONDS,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        if not lease_seconds > renew_deadline_seconds > retry_seconds * _JITTER:
            raise ValueError("a lease needs lease_seconds > renew_deadline_seconds > 1.2 * retry_seconds")
        self.held = False
        self.holder = ""
        self._client = client
        self._namespace, self._name, self._identity = namespace, name, identity
        self._lease_seconds = lease_seconds
        self._renew_deadline = renew_deadline_seconds
        self._retry_seconds = retry_seconds
        self._seen_version = ""
        self._seen_at = float("-inf")
        self._renewed_at = float("-inf")

    @property
    def current(self) -> bool:
        """Whether it is ours for certain: held, and renewed within the deadline.

        A process that was paused (a frozen VM, SIGSTOP) finds `held` as it left it, and its views as old as
        that; somebody else may lead by now. The clock has gone on meanwhile, and tells.
        """
        return self.held and self._fresh

    @property
    def _fresh(self) -> bool:
        return time.monotonic() - self._renewed_at < self._renew_deadline

    async def acquire(self) -> None:
        """Wait until the lease is ours.

        Raises:
            ApiError: the API server forbids it.
        """
        while not (await self._renew() and self._fresh):
            if self.holder:
                log.debug("the lease %s is held by %s", self._name, self.holder)
            await asyncio.sleep(self._retry_seconds * random.uniform(1, _JITTER))  # noqa: S311 - spreads load
        self.held = True
        log.info("leading: %s holds the lease %s/%s", self._identity, self._namespace, self._name)

    async def hold(self) -> None:
        """Renew; return when the lease is lost, or could not be renewed in time."""
        while True:
            await asyncio.sleep(self._retry_seconds)
            left = self._renewed_at + self._renew_deadline - time.monotonic()
            try:
                async with asyncio.timeout(max(0.1, left)):
                    await self._renew()
            except TimeoutError:
                log.warning("the lease %s: no answer to its renewal", self._name)
            if self.holder != self._identity or not self.current:
                self.held = False
                log.error("the lease %s is lost to %s", self._name, self.holder or "nobody")
                return

    async def release(self) -> None:
        """Let the next one start at once; best effort, it would expire anyway."""
        if not self.held:
            return
        self.held = False
        try:
            lease = await self._client.get(LEASES, self._name, namespace=self._namespace)
            if lease["spec"].get("holderIdentity") == self._identity:
                await self._update(lease, {"holderIdentity": "", "leaseDurationSeconds": 1})
        except ApiError as error:
            log.warning("the lease %s could not be released: %s", self._name, error)

    async def _renew(self) -> bool:
        started = time.monotonic()
        ours = await self._try()
        if ours:
            self._renewed_at = started
        return ours

    async def _try(self) -> bool:
        """One attempt to take or renew it; whether it is ours afterwards."""
        try:
            lease = await self._client.get(LEASES, self._name, namespace=self._namespace)
        except ApiError as error:
            if error.not_found:
                return await self._create()
            return self._failed(error)
        spec = lease.get("spec") or {}
        self._see(lease)
        taken = self.holder not in {"", self._identity}
        if taken and time.monotonic() < self._seen_at + self._patience(spec):
            return False
        now = micro_time(datetime.now(UTC))
        change: dict[str, Any] = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": max(1, round(self._lease_seconds)),
            "renewTime": now,
        }
        if self.holder != self._identity:
            change["acquireTime"] = now
            change["leaseTransitions"] = int(spec.get("leaseTransitions") or 0) + 1
        try:
            self._see(await self._update(lease, change))
        except ApiError as error:
            return self._failed(error)
        return True

    def _patience(self, spec: dict[str, Any]) -> float:
        # The holder's own promise; it may run with other settings than ours.
        return float(spec.get("leaseDurationSeconds") or self._lease_seconds)

    async def _create(self) -> bool:
        now = micro_time(datetime.now(UTC))
        body = {
            "metadata": {"name": self._name, "namespace": self._namespace},
            "spec": {
                "holderIdentity": self._identity,
                "leaseDurationSeconds": max(1, round(self._lease_seconds)),
                "acquireTime": now,
                "renewTime": now,
                "leaseTransitions": 0,
            },
        }
        try:
            self._see(await self._client.create(LEASES, body, namespace=self._namespace))
        except ApiError as error:
            return self._failed(error)
        return True

    async def _update(self, lease: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
        # Guarded: of two that saw it expire, one wins.
        version = lease["metadata"]["resourceVersion"]
        return await self._client.patch(
            LEASES,
            self._name,
            {"metadata": {"resourceVersion": version}, "spec": change},
            namespace=self._namespace,
        )

    def _see(self, lease: dict[str, Any]) -> None:
        version = lease["metadata"]["resourceVersion"]
        if version != self._seen_version:
            self._seen_version, self._seen_at = version, time.monotonic()
        self.holder = (lease.get("spec") or {}).get("holderIdentity") or ""

    def _failed(self, error: ApiError) -> bool:
        if not (error.transient or error.status == 409):  # noqa: PLR2004 - HTTP
            raise error
        log.warning("the lease %s: %s", self._name, error)
        return False
