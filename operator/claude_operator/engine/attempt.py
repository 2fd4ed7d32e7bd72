"""One attempt as its Job and pod show it: which one is open, how far it is, how it ended.

What the pod says of itself (exit code, termination message) is the agent's claim and serves as a hint
for the reason; numbers come from the gateway. Infrastructure facts come from kubelet and the Job
controller, which the agent cannot forge.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from pydantic import ValidationError

from claude_operator.engine.observation import Job, JobEnd, Observed, Pod, Terminated
from claude_operator.resources.lifecycle import Reason
from claude_operator.wire.session import Termination

if TYPE_CHECKING:
    from collections.abc import Iterable

    from claude_operator.engine.config import EngineConfig
    from claude_operator.resources.session_status import Attempt


_SIGTERM_EXIT = 128 + 15


@dataclass(frozen=True, slots=True)
class OpenAttempt:
    """The attempt that has started and whose end is not in status yet."""

    number: int
    job: Job | None
    """None: it vanished."""
    pod: Pod | None
    recorded: Attempt | None
    """Its entry in status, when one was written."""

    @property
    def job_name(self) -> str:
        """Name of its Job, also when that has vanished."""
        if self.job is not None:
            return self.job.name
        return self.recorded.job if self.recorded is not None else ""


@dataclass(frozen=True, slots=True)
class Ended:
    """How an attempt came to its end, before the gateway's view of it is known."""

    reason: Reason
    message: str
    exit_code: int | None = None
    at: datetime | None = None
    started: datetime | None = None


def open_attempt(observed: Observed) -> OpenAttempt | None:
    """The open attempt, if any: the highest number that has a Job of ours or an entry without an end."""
    recorded = {attempt.number: attempt for attempt in observed.session.status.attempts}
    ours = {job.attempt: job for job in observed.jobs if job.owner_uid == observed.session.uid}
    number = max((*recorded, *ours), default=0)
    entry = recorded.get(number)
    if number == 0 or (entry is not None and entry.completion_time is not None):
        return None
    job = ours.get(number)
    pods = [pod for pod in observed.pods if job is not None and pod.job_uid == job.uid]
    # A Job of ours makes one pod; should there ever be two, the younger one holds the claim.
    pod = max(pods, key=lambda each: each.created, default=None)
    return OpenAttempt(number=number, job=job, pod=pod, recorded=entry)


def next_attempt(observed: Observed) -> int:
    """The number of the attempt that would be started now, when none is open."""
    return max((each.number for each in observed.session.status.attempts), default=0) + 1


def unstopped(owner_uid: str, jobs: Iterable[Job], pods: Iterable[Pod]) -> Job | None:
    """A Job of this session that nobody has ended or deleted, and whose pod may still run; None without one.

    A Job whose pod has ended is ended by the Job controller: to delete it would cost a write and the log.
    """
    ended_pods = {pod.job_uid: pod.phase in {"Succeeded", "Failed"} for pod in pods}
    for job in jobs:
        live = job.end is None and not job.deleting and not ended_pods.get(job.uid, False)
        if job.owner_uid == owner_uid and live:
            return job
    return None


def ended(attempt: OpenAttempt, *, now: datetime, config: EngineConfig) -> Ended | None:
    """How the attempt ended; None while it has not."""
    job, pod = attempt.job, attempt.pod
    if job is None:
        return Ended(Reason.JOB_LOST, f"Job {attempt.job_name} was deleted while its attempt was open")
    if pod is not None and pod.terminated is not None and pod.phase in ("Succeeded", "Failed"):
        return _of_container(pod, pod.terminated)
    if pod is not None and pod.phase == "Failed":
        return Ended(_disruption(pod), pod.message or pod.reason or "the pod failed before its container ran")
    if pod is not None and _given_up(pod, now=now, config=config):
        return Ended(
            Reason.NODE_LOST, f"pod {pod.name} did not end within its grace period: its node is lost"
        )
    if job.end is JobEnd.SUCCEEDED:
        return Ended(Reason.COMPLETED, "", exit_code=0)
    if job.end is JobEnd.FAILED:
        return _of_job(job, pod)
    if job.deleting and pod is None:
        return Ended(Reason.JOB_LOST, f"Job {job.name} was deleted while its attempt was open")
    return None


def _of_container(pod: Pod, end: Terminated) -> Ended:
    def ended_by(reason: Reason, message: str) -> Ended:
        return Ended(reason, message, exit_code=end.exit_code, at=end.finished, started=end.started)

    claim = _termination(end.message)
    # Where the kernel kills one process and not the container (cgroup v1), kubelet says OOMKilled all the
    # same, though a tool died and the agent went on: a runner that lives to speak knows what became of it.
    killed = claim is None or claim.reason is Reason.AGENT_LOST
    if end.reason == "OOMKilled" and end.exit_code != 0 and killed:
        return ended_by(
            Reason.OOM_KILLED, "the container used more memory than its limit; raise pod.resources"
        )
    if pod.reason == "DeadlineExceeded":
        return ended_by(Reason.TIMEOUT, "the Job's deadline passed: the runner did not end by itself")
    if pod.disruption or pod.reason == "Evicted":
        return ended_by(_disruption(pod), pod.message or f"the pod was disrupted: {pod.disruption}")
    if pod.deleting_since is not None and end.exit_code == _SIGTERM_EXIT:
        return ended_by(Reason.EVICTED, "the pod was deleted while it ran")
    if claim is None and end.exit_code != 0:
        return ended_by(
            Reason.AGENT_LOST, f"the runner ended with exit code {end.exit_code} and said nothing"
        )
    if claim is None:
        return ended_by(Reason.COMPLETED, "")
    if (claim.reason is Reason.COMPLETED) != (end.exit_code == 0):
        return ended_by(
            Reason.AGENT_LOST, f"the runner said {claim.reason} but its exit code is {end.exit_code}"
        )
    return ended_by(claim.reason, claim.message)


def _termination(message: str) -> Termination | None:
    try:
        return Termination.model_validate_json(message)
    except ValidationError:
        return None


def _disruption(pod: Pod) -> Reason:
    if pod.reason == "Evicted" or pod.disruption in ("TerminationByKubelet", "EvictionByEvictionAPI"):
        return Reason.EVICTED
    if pod.disruption in ("DeletionByTaintManager", "DeletionByPodGC") or pod.reason in (
        "NodeLost",
        "NodeShutdown",
    ):
        return Reason.NODE_LOST
    if pod.disruption == "PreemptionByScheduler":
        return Reason.EVICTED
    return Reason.POD_REFUSED


def _given_up(pod: Pod, *, now: datetime, config: EngineConfig) -> bool:
    if pod.deleting_since is None:
        return False
    return now >= pod.deleting_since + timedelta(seconds=pod.grace_seconds + config.lost_after_seconds)


def _of_job(job: Job, pod: Pod | None) -> Ended | None:
    if job.end_reason == "DeadlineExceeded":
        return Ended(Reason.TIMEOUT, "the Job's deadline passed: the runner did not end by itself")
    # FailureTarget comes while the pod still terminates; its end tells more than the Job's.
    if pod is not None and pod.terminated is None and pod.deleting_since is not None:
        return None
    return Ended(Reason.AGENT_LOST, job.end_message or job.end_reason or "the Job failed")


def start_problem(attempt: OpenAttempt) -> tuple[Reason, str] | None:
    """What keeps the agent from starting, as kubelet and scheduler say it; None: nothing known."""
    pod = attempt.pod
    if pod is None:
        return None
    if pod.unschedulable:
        return Reason.UNSCHEDULABLE, pod.unschedulable
    if pod.waiting_reason in ("ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName"):
        return Reason.IMAGE_PULL_BACK_OFF, f"{pod.waiting_reason}: {pod.waiting_message}"
    if pod.waiting_reason:
        return Reason.CONTAINER_CONFIG_ERROR, f"{pod.waiting_reason}: {pod.waiting_message}"
    return None
