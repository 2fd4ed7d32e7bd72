"""What is kept of the work, by how it ended.

| end                              | checkpoint | branch | pull request, artifacts |
|----------------------------------|------------|--------|-------------------------|
| Completed                        | yes        | yes    | yes                     |
| Cancelled, Timeout               | yes        | yes    | no                      |
| any other                        | yes        | no     | no                      |
| SIGTERM                          | yes        | no     | no                      |
| fenced, or the gateway is lost   | no         | no     | no                      |
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from claude_operator.resources.lifecycle import Reason
from claude_operator.runner import artifacts, publish
from claude_operator.runner.checkpoint import FINAL_SECONDS
from claude_operator.runner.errors import RunError
from claude_operator.runner.stop import Cause, StoppedError
from claude_operator.runner.verdict import stopped

if TYPE_CHECKING:
    from claude_operator.runner.attempt import Attempt
    from claude_operator.runner.checkpoint import Checkpointer
    from claude_operator.runner.verdict import Verdict
    from claude_operator.runner.workplace import Workplace

TERMINATED_SECONDS = 20.0
"""For the last checkpoint after SIGTERM: the pod's grace is longer, but not by much."""


async def keep(run: Attempt, place: Workplace, checkpointer: Checkpointer, verdict: Verdict) -> Verdict:
    """Checkpoint, branch, pull request, artifacts: what the table allows; returns the verdict after it."""
    stop, assignment = run.stop, run.assignment
    if stop.cause in {Cause.FENCED, Cause.GATEWAY_LOST}:
        return verdict
    try:
        async with asyncio.timeout(TERMINATED_SECONDS if stop.halted else FINAL_SECONDS):
            await checkpointer.save()
    except TimeoutError:
        await run.record.step("checkpoint_failed", "the last checkpoint was not done in time")
    if not (verdict.completed or verdict.reason in {Reason.CANCELLED, Reason.TIMEOUT}):
        return verdict
    try:
        await stop.guard_publishing(_publish(run, place, verdict))
    except StoppedError:
        return stopped(stop.cause, stop.message)
    except RunError as error:
        if verdict.completed:
            return replace(verdict, reason=error.reason, message=error.message)
        await run.record.step("publish_failed", error.message)
    if verdict.completed and assignment.artifacts:
        try:
            await stop.guard_publishing(
                artifacts.keep(
                    run.gateway, run.record, place.clone.path, assignment.artifacts, run.settings.state
                )
            )
        except StoppedError:
            return stopped(stop.cause, stop.message)
    return verdict


async def _publish(run: Attempt, place: Workplace, verdict: Verdict) -> None:
    assignment = run.assignment
    if assignment.read_only:
        return
    commit = await publish.publish(
        place.shadow,
        run.record,
        assignment,
        clone=place.clone,
        url=f"{run.forwarder.url}/git/{assignment.repository_host}/{assignment.repository_path}.git",
        summary=verdict.summary,
    )
    if commit is not None and verdict.completed and assignment.pull_request is not None:
        await publish.open_pull_request(
            run.gateway,
            run.record,
            assignment.pull_request,
            assignment,
            base_branch=place.clone.base_branch,
            summary=verdict.summary,
        )
