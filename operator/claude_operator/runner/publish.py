"""The work, onto its branch; and the pull request.

The agent commits, the platform pushes: an agent that pushed could leave half of it behind, and a pull
request by its hand could not be told from one that it was tricked into. What is pushed is named by
commit and goes to an explicit URL from the runner's own git directory, so nothing that the agent did
to its clone's configuration has a say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from claude_operator.resources.lifecycle import Reason
from claude_operator.runner.errors import RunError
from claude_operator.runner.git import GitError
from claude_operator.wire.session import PullRequestRequest

if TYPE_CHECKING:
    from claude_operator.resources.session import PullRequest
    from claude_operator.runner.clone import Clone
    from claude_operator.runner.gateway import Gateway
    from claude_operator.runner.record import Record
    from claude_operator.runner.shadow import Shadow, Snapshot
    from claude_operator.wire.session import Assignment

MAX_SUBJECT = 72
MAX_TITLE = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Tip:
    """What will be pushed."""

    commit: str
    left_behind: bool
    """True: there are uncommitted changes on another line of history, which cannot be joined here."""


def first_line(text: str, limit: int) -> str:
    """The first line with words in it, without Markdown's heading marks, cut to `limit` characters."""
    line = next((one.strip().lstrip("#").strip() for one in text.splitlines() if one.strip(" #\t")), "")
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def commit_message(assignment: Assignment, summary: str) -> str:
    """For what the agent left uncommitted; often that is all of its work."""
    subject = first_line(summary, MAX_SUBJECT) or f"Work of the session {assignment.name}"
    return f"{subject}\n\nLeft uncommitted by the session {assignment.namespace}/{assignment.name}.\n"


async def find_tip(shadow: Shadow, snapshot: Snapshot, branch: str) -> Tip:
    """The commit to publish, given the tree's snapshot and the name of the local branch.

    It is what is checked out, unless the agent went back to an older commit and left its work on the
    branch.

    Raises:
        GitError: the agent's repository is damaged.
    """
    named = await shadow.branch(branch)
    if named is None or named == snapshot.head or not await shadow.contains(named, snapshot.head):
        return Tip(commit=snapshot.commit, left_behind=False)
    return Tip(commit=named, left_behind=snapshot.dirty)


async def publish(
    shadow: Shadow, record: Record, assignment: Assignment, *, clone: Clone, url: str, summary: str
) -> str | None:
    """Commit what is left and push; returns the commit, or None when there is nothing to publish.

    Raises:
        RunError: PublishRejected; the text is the git host's or the gateway's.
    """
    branch = assignment.publish_branch
    try:
        snapshot = await shadow.snapshot(commit_message(assignment, summary))
        tip = await find_tip(shadow, snapshot, branch)
    except GitError as error:
        raise RunError(
            Reason.PUBLISH_REJECTED, f"the repository in the pod is damaged; nothing was pushed: {error}"
        ) from error
    if snapshot.left_out:
        await record.step("left_out", f"not published, git cannot take it:\n{snapshot.left_out}")
    if tip.left_behind:
        await record.step(
            "left_behind", f"uncommitted changes on another commit than the tip of {branch} are not published"
        )
    if tip.commit == clone.base_commit:
        await record.step("nothing_to_publish", "no changes: nothing to publish")
        return None
    try:
        await shadow.push(url, tip.commit, branch)
    except GitError as error:
        if not await _arrived(shadow, url, tip.commit, branch):
            raise RunError(
                Reason.PUBLISH_REJECTED, f"the push of {branch} was rejected: {error.said}"
            ) from error
    await record.step("published", f"pushed {branch} at {tip.commit[:12]}", branch=branch, commit=tip.commit)
    return tip.commit


async def _arrived(shadow: Shadow, url: str, commit: str, branch: str) -> bool:
    """Whether a push took effect though its answer was lost: a repetition is then refused as stale."""
    try:
        return await shadow.remote_branch(url, branch) == commit
    except GitError:
        return False


async def open_pull_request(
    gateway: Gateway,
    record: Record,
    wanted: PullRequest,
    assignment: Assignment,
    *,
    base_branch: str,
    summary: str,
) -> None:
    """Ask the gateway for the pull request; it finds the one that is open already.

    Raises:
        RunError: the gateway or the git host refused.
    """
    try:
        opened = await gateway.pull_request(
            PullRequestRequest(
                title=wanted.title or first_line(summary, MAX_TITLE) or f"Session {assignment.name}",
                body=wanted.body if wanted.body is not None else summary,
                base=wanted.base or base_branch,
                draft=wanted.draft,
            )
        )
    except RunError as error:
        raise RunError(
            Reason.PUBLISH_REJECTED,
            f"the branch {assignment.publish_branch} is pushed, but the pull request failed: {error.message}",
        ) from error
    await record.step(
        "pull_request", f"pull request #{opened.number}: {opened.url}", url=opened.url, number=opened.number
    )
