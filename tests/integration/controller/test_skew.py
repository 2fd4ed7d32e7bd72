"""The watches of sessions and of Jobs are two: one can be ahead of the other."""

import pytest

from claude_operator.controller.act import Actor
from claude_operator.controller.cache import Cache
from claude_operator.controller.queue import Again
from claude_operator.engine.views import session_view
from claude_operator.kube.events import EventRecorder
from claude_operator.kube.kinds import JOBS
from claude_operator.record.gateway import Gateway
from claude_operator.resources.lifecycle import Phase
from tests.integration.controller.stage import Stage

pytestmark = pytest.mark.controlplane


def behind(stage: Stage) -> tuple[Actor, Cache]:
    """The hands of another process, whose cache is empty."""
    cache = Cache(lambda _: None)
    gateway = Gateway(stage.gateway.url, tls=None, token_file=None, on_unreachable=lambda: None)
    recorder = EventRecorder(stage.client, component="test", instance="test")
    return Actor(client=stage.client, gateway=gateway, cache=cache, recorder=recorder), cache


async def test_a_status_that_was_decided_on_an_overtaken_view_is_not_written(stage: Stage) -> None:
    uid = await stage.apply("first")
    old = session_view(await stage.sessions.phase("first", "Pending"))
    pod = await stage.kubelet.pod(uid)
    await stage.kubelet.agent_starts(pod)
    current = await stage.sessions.phase("first", "Running")
    actor, cache = behind(stage)
    cache.see_session(old)
    with pytest.raises(Again, match="older view"):
        await actor.write_status(old, old.status.model_copy(update={"phase": Phase.WAITING}))
    assert cache.is_stale(uid)
    assert stage.sessions.objects["first"]["status"] == current["status"]


async def test_an_attempt_is_not_given_up_because_its_job_has_not_been_seen_yet(stage: Stage) -> None:
    uid = await stage.apply("first")
    pod = await stage.kubelet.pod(uid)
    await stage.kubelet.agent_starts(pod)
    view = session_view(await stage.sessions.phase("first", "Running"))

    # Another process, which has seen the session's status and no Job.
    actor, cache = behind(stage)
    cache.see_session(view)
    assert await actor.look_for_job(view, 1)
    assert [job.name for job in cache.jobs(uid)] == stage.job_names()

    await stage.client.delete(JOBS, stage.job_names()[0], namespace=stage.namespace)
    await stage.jobs.gone(stage.job_names()[0])
    assert not await actor.look_for_job(view, 1)
