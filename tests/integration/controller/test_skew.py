"""The watches of sessions and of Jobs are two: one can be ahead of the other."""

import pytest

from claude_operator.controller.act import Actor
from claude_operator.controller.cache import Cache
from claude_operator.engine.views import session_view
from claude_operator.kube.events import EventRecorder
from claude_operator.kube.kinds import JOBS
from claude_operator.record.gateway import Gateway
from tests.integration.controller.stage import Stage

pytestmark = pytest.mark.controlplane


async def test_an_attempt_is_not_given_up_because_its_job_has_not_been_seen_yet(stage: Stage) -> None:
    uid = await stage.apply("first")
    pod = await stage.kubelet.pod(uid)
    await stage.kubelet.agent_starts(pod)
    view = session_view(await stage.sessions.phase("first", "Running"))

    # Another process, which has seen the session's status and no Job.
    behind = Cache(lambda _: None)
    behind.see_session(view)
    gateway = Gateway(stage.gateway.url, tls=None, token_file=None, on_unreachable=lambda: None)
    recorder = EventRecorder(stage.client, component="test", instance="test")
    actor = Actor(client=stage.client, gateway=gateway, cache=behind, recorder=recorder)
    assert await actor.look_for_job(view, 1)
    assert [job.name for job in behind.jobs(uid)] == stage.job_names()

    await stage.client.delete(JOBS, stage.job_names()[0], namespace=stage.namespace)
    await stage.jobs.gone(stage.job_names()[0])
    assert not await actor.look_for_job(view, 1)
