"""The place where the agent works: the clone, the restored checkpoint, the prompt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from claude_operator.resources.lifecycle import Reason
from claude_operator.runner import clone, prompt, restore
from claude_operator.runner.errors import RunError
from claude_operator.runner.git import GitError
from claude_operator.runner.shadow import Shadow

if TYPE_CHECKING:
    from claude_operator.runner.attempt import Attempt
    from claude_operator.runner.clone import Clone
    from claude_operator.runner.git import Git


@dataclass(frozen=True, slots=True, kw_only=True)
class Workplace:
    """The clone and what belongs to it."""

    clone: Clone
    shadow: Shadow
    prompt: str
    resumed: bool


async def prepare(run: Attempt) -> Workplace:
    """The clone, the restored checkpoint, the prompt.

    Raises:
        RunError: CloneFailed, PublishRejected, or the gateway's.
    """
    assignment, state = run.assignment, run.settings.state
    try:
        git = await clone.configure(assignment, state=state, forwarder=run.forwarder.url)
        made = await clone.clone(git, assignment, workspace=run.settings.workspace)
        await run.record.step(
            "cloned",
            f"cloned {made.base_branch} at {made.base_commit[:12]}, working on {assignment.publish_branch}",
            branch=made.base_branch,
            commit=made.base_commit,
        )
        shadow = await Shadow.create(git, made, state / "shadow.git")
    except GitError as error:
        raise RunError(Reason.CLONE_FAILED, f"the clone cannot be prepared: {error}") from error
    text = prompt.compose(assignment, base_branch=made.base_branch, base_commit=made.base_commit)
    if assignment.resume is None:
        return Workplace(clone=made, shadow=shadow, prompt=text, resumed=False)
    told = await _resume(run, git, made)
    return Workplace(clone=made, shadow=shadow, prompt=prompt.go_on() if told else text, resumed=True)


async def _resume(run: Attempt, git: Git, made: Clone) -> bool:
    """Restore the checkpoint; returns whether its conversation knows the task already."""
    assignment = run.assignment
    assert assignment.resume is not None, "called for a resumed attempt"
    # The CLI finds a conversation by its file's name in any folder below `projects`.
    transcript = run.settings.cli_config / "projects" / "restored" / f"{assignment.claude_session_id}.jsonl"
    await restore.restore(
        run.gateway,
        git,
        assignment.resume,
        clone=made,
        branch=assignment.publish_branch,
        transcript=transcript,
        state=run.settings.state,
    )
    with transcript.open(encoding="utf-8", errors="replace") as lines:
        told = prompt.holds_task(lines, assignment.requirements)
    await run.record.step("restored", "conversation and work tree restored", same_task=told)
    return told
