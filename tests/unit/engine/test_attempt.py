"""How an attempt ended, from what kubelet and the Job controller say."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from claude_operator.engine.attempt import OpenAttempt, ended, open_attempt, start_problem
from claude_operator.engine.views import format_time, job_view, pod_view
from claude_operator.resources.lifecycle import Reason
from tests.unit.engine.objects import CONFIG, NOW, UID, observed, session

if TYPE_CHECKING:
    from claude_operator.engine.observation import Job, Pod

LABELS = {"claude-operator.dev/session-uid": UID, "claude-operator.dev/attempt": "1"}


def job(*conditions: dict[str, str], **meta: Any) -> Job:
    view = job_view(
        {
            "metadata": {
                "name": "first-abc-1",
                "uid": "job-uid",
                "labels": LABELS,
                "creationTimestamp": format_time(NOW),
                "ownerReferences": [{"uid": UID, "controller": True}],
                **meta,
            },
            "status": {"conditions": list(conditions)},
        }
    )
    assert view is not None
    return view


def pod(*, meta: dict[str, Any] | None = None, state: dict[str, Any] | None = None, **status: Any) -> Pod:
    containers = [{"name": "session", "state": state}] if state is not None else []
    view = pod_view(
        {
            "metadata": {
                "name": "first-abc-1-xyz",
                "uid": "pod-uid",
                "labels": LABELS,
                "creationTimestamp": format_time(NOW),
                "ownerReferences": [{"uid": "job-uid", "controller": True}],
                **(meta or {}),
            },
            "status": {"containerStatuses": containers, **status},
        }
    )
    assert view is not None
    return view


def of(job: Job | None, pod: Pod | None) -> OpenAttempt:
    return OpenAttempt(number=1, job=job, pod=pod, recorded=None)


def terminated(exit_code: int, reason: str = "Error", message: str = "") -> dict[str, Any]:
    return {
        "terminated": {
            "exitCode": exit_code,
            "reason": reason,
            "message": message,
            "startedAt": format_time(NOW),
            "finishedAt": format_time(NOW + timedelta(seconds=9)),
        }
    }


DELETED = {
    "deletionTimestamp": format_time(NOW + timedelta(seconds=60)),
    "deletionGracePeriodSeconds": 60,
}


@pytest.mark.parametrize(
    ("pod_seen", "reason"),
    [
        (
            pod(phase="Succeeded", state=terminated(0, "Completed", '{"reason":"Completed"}')),
            Reason.COMPLETED,
        ),
        (pod(phase="Succeeded", state=terminated(0, "Completed")), Reason.COMPLETED),
        (pod(phase="Failed", state=terminated(1, message='{"reason":"CloneFailed"}')), Reason.CLONE_FAILED),
        (pod(phase="Failed", state=terminated(137)), Reason.AGENT_LOST),
        (pod(phase="Failed", state=terminated(137, "OOMKilled")), Reason.OOM_KILLED),
        # Only the CLI was killed; or only a tool, after which the agent went on.
        (
            pod(phase="Failed", state=terminated(1, "OOMKilled", '{"reason":"AgentLost"}')),
            Reason.OOM_KILLED,
        ),
        (
            pod(phase="Failed", state=terminated(1, "OOMKilled", '{"reason":"Timeout"}')),
            Reason.TIMEOUT,
        ),
        (
            pod(phase="Succeeded", state=terminated(0, "OOMKilled", '{"reason":"Completed"}')),
            Reason.COMPLETED,
        ),
        (pod(phase="Failed", state=terminated(1, message="not json")), Reason.AGENT_LOST),
        (pod(phase="Failed", state=terminated(1, message='{"reason":"NoSuchReason"}')), Reason.AGENT_LOST),
        # A forged message cannot turn a failure into a success, nor the other way round.
        (pod(phase="Failed", state=terminated(1, message='{"reason":"Completed"}')), Reason.AGENT_LOST),
        (pod(phase="Succeeded", state=terminated(0, message='{"reason":"AgentError"}')), Reason.AGENT_LOST),
        (pod(phase="Failed", reason="Evicted", message="low on memory"), Reason.EVICTED),
        (pod(phase="Failed", reason="Evicted", state=terminated(137)), Reason.EVICTED),
        (pod(phase="Failed", state=terminated(143), meta=DELETED), Reason.EVICTED),
        (
            pod(
                phase="Failed",
                conditions=[
                    {"type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager"}
                ],
            ),
            Reason.NODE_LOST,
        ),
        (pod(phase="Failed", reason="DeadlineExceeded", state=terminated(137)), Reason.TIMEOUT),
        (pod(phase="Failed", reason="UnexpectedAdmissionError"), Reason.POD_REFUSED),
    ],
)
def test_the_end_of_a_pod_has_its_reason(pod_seen: Pod, reason: Reason) -> None:
    end = ended(of(job(), pod_seen), now=NOW, config=CONFIG)
    assert end is not None
    assert end.reason is reason


def test_a_container_that_has_ended_in_a_pod_that_has_not_is_not_the_end() -> None:
    assert ended(of(job(), pod(phase="Running", state=terminated(0))), now=NOW, config=CONFIG) is None


def test_a_pod_that_outstays_its_grace_is_given_up_after_another_minute() -> None:
    stuck = of(job(), pod(phase="Running", meta=DELETED))
    early = NOW + timedelta(seconds=119)
    assert ended(stuck, now=early, config=CONFIG) is None
    late = ended(stuck, now=NOW + timedelta(seconds=120), config=CONFIG)
    assert late is not None
    assert late.reason is Reason.NODE_LOST


def test_the_job_speaks_where_the_pod_cannot() -> None:
    lost = ended(of(None, None), now=NOW, config=CONFIG)
    assert lost is not None
    assert lost.reason is Reason.JOB_LOST
    done = ended(of(job({"type": "Complete", "status": "True"}), None), now=NOW, config=CONFIG)
    assert done is not None
    assert done.reason is Reason.COMPLETED
    over = {"type": "FailureTarget", "status": "True", "reason": "DeadlineExceeded"}
    late = ended(of(job(over), None), now=NOW, config=CONFIG)
    assert late is not None
    assert late.reason is Reason.TIMEOUT
    assert ended(of(job({"type": "Complete", "status": "False"}), None), now=NOW, config=CONFIG) is None


def test_a_failing_job_waits_for_its_terminating_pod_to_say_why() -> None:
    failing = job({"type": "FailureTarget", "status": "True", "reason": "BackoffLimitExceeded"})
    assert ended(of(failing, pod(phase="Running", meta=DELETED)), now=NOW, config=CONFIG) is None


@pytest.mark.parametrize(
    ("pod_seen", "expected"),
    [
        (pod(phase="Pending"), None),
        (pod(phase="Pending", state={"waiting": {"reason": "ContainerCreating"}}), None),
        (
            pod(phase="Pending", state={"waiting": {"reason": "ErrImagePull", "message": "not found"}}),
            (Reason.IMAGE_PULL_BACK_OFF, "ErrImagePull: not found"),
        ),
        (
            pod(
                phase="Pending", state={"waiting": {"reason": "CreateContainerConfigError", "message": "no"}}
            ),
            (Reason.CONTAINER_CONFIG_ERROR, "CreateContainerConfigError: no"),
        ),
        (
            pod(
                phase="Pending",
                conditions=[
                    {
                        "type": "PodScheduled",
                        "status": "False",
                        "reason": "Unschedulable",
                        "message": "0/1 nodes are available",
                    }
                ],
            ),
            (Reason.UNSCHEDULABLE, "0/1 nodes are available"),
        ),
    ],
)
def test_what_keeps_the_agent_from_starting_is_said(pod_seen: Pod, expected: object) -> None:
    assert start_problem(of(job(), pod_seen)) == expected


def test_a_job_that_is_not_owned_by_the_session_is_not_its_attempt() -> None:
    foreign = replace(job(), owner_uid="somebody-else")
    assert open_attempt(observed(jobs=(foreign,))) is None


def test_an_attempt_that_has_ended_in_status_is_not_open_though_its_job_stands() -> None:
    entry = {"number": 1, "job": "first-abc-1", "completionTime": format_time(NOW), "reason": "AgentError"}
    seen = observed(session=session(status={"phase": "Pending", "attempts": [entry]}), jobs=(job(),))
    assert open_attempt(seen) is None
