"""The gateway's process is killed around a delivery: what it owed is delivered, and the receiver can tell."""

from __future__ import annotations

import signal
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from claude_operator.resources.identity import API_VERSION, CREDENTIAL_SECRET_TYPE, PROJECT_KIND
from tests.integration.gateway.receiver import Receiver, receiving
from tests.integration.gateway.test_control_plane import (
    Process,
    apply,
    control_plane,
    plane,
    process,
    token,
    until,
)
from tests.integration.gateway.test_outbox import KEY, callback, verify

if TYPE_CHECKING:
    from pathlib import Path

    import aiohttp

    from tests.cluster.controlplane import ControlPlane

# Fixtures are found by name in the module that uses them.
__all__ = ["control_plane", "plane"]

pytestmark = pytest.mark.controlplane


class Owner:
    """The controller's side of one session that has ended."""

    def __init__(self, gateway: Process, http: aiohttp.ClientSession, bearer: str) -> None:
        self.uid = str(uuid.uuid4())
        self._sessions = f"https://localhost:{gateway.ports['internal']}/internal/v1/sessions"
        self._http = http
        self._headers = {"Authorization": f"Bearer {bearer}"}

    async def conclude(self, url: str) -> None:
        body: dict[str, Any] = {"namespace": "team", "name": "fix", "uid": self.uid}
        body |= {"type": "review", "phase": "Failed", "callback": callback(url)}
        path = f"{self._sessions}/{self.uid}/outcome"
        async with self._http.put(path, json=body, headers=self._headers) as answer:
            assert answer.status == 200, await answer.text()

    async def delivery(self) -> dict[str, Any]:
        path = f"{self._sessions}/{self.uid}/deliveries"
        async with self._http.get(path, headers=self._headers) as answer:
            (found,) = await answer.json()
            assert isinstance(found, dict)
            return found

    async def delivered(self) -> dict[str, Any] | None:
        found = await self.delivery()
        return found if found["state"] == "delivered" else None


async def prepare(plane: ControlPlane, receiver: Receiver) -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": CREDENTIAL_SECRET_TYPE,
        "metadata": {"name": "hook", "namespace": "team"},
        "stringData": {"hosts": receiver.origin, "signingKey": KEY},
    }
    project = {
        "apiVersion": API_VERSION,
        "kind": PROJECT_KIND,
        "metadata": {"name": "default", "namespace": "team"},
        "spec": {"repositoryHosts": [{"host": "git.example"}]},
    }
    await apply(plane, secret)
    await apply(plane, project)


async def restart(gateway: Process) -> aiohttp.ClientSession:
    await gateway.start()
    return await gateway.client()


async def test_killed_between_the_delivery_and_its_record(plane: ControlPlane, tmp_path: Path) -> None:
    async with receiving() as receiver, process(plane, tmp_path) as (gateway, http):
        await prepare(plane, receiver)
        bearer = await token(plane, "claude-controller", "claude-operator", "claude-gateway-internal")
        owner = Owner(gateway, http, bearer)

        async def kill(_: web.Request) -> web.StreamResponse:
            await gateway.stop(signal.SIGKILL)
            return web.Response(status=204)

        receiver.answers = [kill]
        await owner.conclude(receiver.origin)
        (first,) = await receiver.called()
        verify(KEY, first)
        async with await restart(gateway) as again:
            owner._http = again
            second = (await receiver.called(2))[1]
            await until(owner.delivered)

        verify(KEY, second)
        assert (first.delivery, first.body) == (second.delivery, second.body)
        assert len(receiver.calls) == 2


async def test_killed_before_any_try(plane: ControlPlane, tmp_path: Path) -> None:
    """Acknowledged to the controller, and so delivered, though the process dies in the same moment."""
    async with receiving() as receiver, process(plane, tmp_path) as (gateway, http):
        await prepare(plane, receiver)
        bearer = await token(plane, "claude-controller", "claude-operator", "claude-gateway-internal")
        owners = [Owner(gateway, http, bearer) for _ in range(20)]
        for owner in owners:
            await owner.conclude(receiver.origin)
        await gateway.stop(signal.SIGKILL)
        async with await restart(gateway) as again:
            for owner in owners:
                owner._http = again
                await until(owner.delivered)
        ids = {call.delivery for call in receiver.calls}
        assert len(ids) == len(owners)
