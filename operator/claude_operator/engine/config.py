"""What the operator's installation decides for every session."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """Settings of decisions and of the Jobs that are built."""

    session_image: str
    """Image of sessions that neither choose nor have a project that does."""
    gateway_url: str
    """`https://host:port` of the gateway's session port, as pods reach it."""
    gateway_proxy: str
    """`host:port` of the gateway's CONNECT port, as pods reach it."""
    gateway_ca: str
    """PEM of the CA that signed the gateway's certificate."""
    image_pull_policy: str = "IfNotPresent"
    settle_seconds: float = 2.0
    """A wait or problem that is over sooner is never written (DESIGN: API writes are the ceiling)."""
    starting_settle_seconds: float = 10.0
    """Likewise for a Job that starts as it should."""
    cancel_grace_seconds: int = 60
    """Time for a cancelled runner to checkpoint and push before its Job is deleted."""
    pod_grace_seconds: int = 60
    """terminationGracePeriodSeconds of session pods: checkpoint on SIGTERM."""
    lost_after_seconds: int = 60
    """A pod that is still terminating this long after its grace period is given up."""
    job_grace_seconds: int = 180
    """Added to start deadline and timeout for the Job's activeDeadlineSeconds: the runner keeps the time,
    the Job's deadline is the net below it."""
    job_ttl_seconds: int = 86_400
    """ttlSecondsAfterFinished of Jobs."""
    free_attempts: int = 3
    """Attempts that infrastructure loss may cost without using spec.retry."""
    free_backoff_seconds: int = 5
    """Pause before the first free attempt; doubles."""
