"""Conversation and work tree from a checkpoint, into a fresh clone.

Only objects and files travel: hooks and `.git/config` of the earlier machine stay behind. Commits come
back as commits, what was uncommitted comes back as uncommitted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from claude_operator.resources.lifecycle import Reason
from claude_operator.runner import blobs
from claude_operator.runner.errors import RunError
from claude_operator.runner.git import Git, GitError

if TYPE_CHECKING:
    from pathlib import Path

    from claude_operator.runner.clone import Clone
    from claude_operator.runner.gateway import Gateway
    from claude_operator.wire.session import Resume

_SECONDS = 300


async def restore(
    gateway: Gateway,
    git: Git,
    resume: Resume,
    *,
    clone: Clone,
    branch: str,
    transcript: Path,
    state: Path,
) -> None:
    """Put the checkpoint `resume` in place: the transcript at `transcript`, the tree in `clone`.

    Raises:
        RunError: a blob cannot be had, or its base is not in the repository any more.
    """
    transcript.parent.mkdir(parents=True, exist_ok=True)
    await blobs.fetch(gateway, resume.transcript, transcript)
    if resume.bundle is None or resume.commit is None:
        return
    bundle = state / "resume.bundle"
    await blobs.fetch(gateway, resume.bundle, bundle)
    try:
        await _restore_tree(
            git, clone.path, bundle, commit=resume.commit, head=resume.head or resume.commit, branch=branch
        )
    except GitError as error:
        raise RunError(
            Reason.CLONE_FAILED,
            f"the checkpoint does not fit the repository any more: {error.said}. Was its base "
            "branch rewritten? A new session without resumeFrom starts afresh.",
        ) from error
    finally:
        bundle.unlink(missing_ok=True)


async def _restore_tree(git: Git, path: Path, bundle: Path, *, commit: str, head: str, branch: str) -> None:
    # `unbundle` only adds objects: nothing in the bundle names where they go.
    await git.run("bundle", "unbundle", str(bundle), cwd=path, within=_SECONDS)
    await git.run("checkout", "--quiet", "-B", branch, "--no-track", head, cwd=path, within=_SECONDS)
    if commit != head:
        await git.run("read-tree", "--reset", "-u", commit, cwd=path, within=_SECONDS)
        # The index goes back to the head: the agent had not committed this.
        await git.run("reset", "--quiet", "--mixed", cwd=path, within=_SECONDS)
