"""The repository, as a fresh clone on the branch that will be published.

What is there is asked first (`ls-remote`), so that a missing branch, an empty repository and a branch
name that somebody else has taken are told apart by facts, not by the wording of git's complaints, and
before a model has cost anything.

The origin keeps the URL that people know; `insteadOf` leads git to the forwarder. A remote named
`http://127.0.0.1:40123/...` would end up in lock files and in the agent's conclusions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from claude_operator.resources.lifecycle import Reason
from claude_operator.runner.errors import RunError
from claude_operator.runner.git import Git, GitError, write_global_config

if TYPE_CHECKING:
    from pathlib import Path

    from claude_operator.wire.session import Assignment

LIST_SECONDS = 400
"""Longer than the forwarder waits for a gateway that restarts."""
CLONE_SECONDS = 3600
"""A bound, not a limit: the session's start deadline comes first."""
QUICK_SECONDS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Clone:
    """The clone, as it was before the agent saw it."""

    path: Path
    base_branch: str
    base_commit: str
    object_format: str
    """`sha1` or `sha256`."""


@dataclass(frozen=True, slots=True)
class RemoteRefs:
    """What `ls-remote --symref` told."""

    default_branch: str | None
    branches: dict[str, str]
    """Name to commit, of those that were asked for; the default branch among them. Refs that are no
    branches have their whole name."""


def parse_refs(listing: str) -> RemoteRefs:
    """Read the output of `git ls-remote --symref URL HEAD refs/heads/...`."""
    default: str | None = None
    head: str | None = None
    branches: dict[str, str] = {}
    for line in listing.splitlines():
        value, _, name = line.partition("\t")
        if value.startswith("ref: ") and name == "HEAD":
            default = value.removeprefix("ref: ").removeprefix("refs/heads/")
        elif name == "HEAD":
            head = value
        elif name.startswith("refs/heads/"):
            branches[name.removeprefix("refs/heads/")] = value
        elif name.startswith("refs/"):
            branches[name] = value
    if default is not None and head is not None:
        branches.setdefault(default, head)
    return RemoteRefs(default, branches)


def choose_base(refs: RemoteRefs, assignment: Assignment) -> str:
    """The branch to start from.

    Raises:
        RunError: there is none, or the publish branch is somebody else's.
    """
    where = assignment.repository_url
    wanted = assignment.base_branch
    if wanted is None:
        if refs.default_branch is None or refs.default_branch not in refs.branches:
            raise RunError(
                Reason.CLONE_FAILED,
                f"{where} is empty or has no default branch: push a first commit, or name a branch",
            )
        wanted = refs.default_branch
    if wanted not in refs.branches:
        if wanted.startswith("refs/"):
            raise RunError(
                Reason.CLONE_FAILED, f"{where} has no {wanted}: the pull request may have been deleted"
            )
        if not refs.branches:
            raise RunError(
                Reason.CLONE_FAILED,
                f"{where} has no branch {wanted!r}, and no default branch with a commit: is it empty?",
            )
        raise RunError(
            Reason.CLONE_FAILED,
            f"{where} has no branch {wanted!r}: correct spec.branch (the default is {refs.default_branch!r})",
        )
    # On a later attempt, and for a session that continues another one, the branch may well be ours.
    first = assignment.attempt == 1 and assignment.resume is None
    if first and assignment.publish_branch in refs.branches:
        raise RunError(
            Reason.PUBLISH_REJECTED,
            f"{where} has a branch {assignment.publish_branch!r} already, and this session did not make it: "
            "choose another publish.branch, or delete that one",
        )
    return wanted


def _ref(base: str) -> str:
    return base if base.startswith("refs/") else f"refs/heads/{base}"


async def configure(assignment: Assignment, *, state: Path, forwarder: str) -> Git:
    """The git caller for this session; writes the configuration that the agent's git reads as well."""
    # `https://host/` for a repository at `https://host/owner/repo`, whatever lies in between.
    base = assignment.repository_url.removesuffix(".git").removesuffix(assignment.repository_path)
    return await write_global_config(
        state / "gitconfig",
        home=state,
        values={
            "user.name": assignment.author_name,
            "user.email": assignment.author_email,
            f"url.{forwarder}/git/{assignment.repository_host}/.insteadOf": base,
            "init.defaultBranch": "main",
            "advice.detachedHead": "false",
        },
    )


async def clone(git: Git, assignment: Assignment, *, workspace: Path) -> Clone:
    """Clone into a folder below `workspace` and check the publish branch out.

    Raises:
        RunError: CloneFailed or PublishRejected, with what to do about it.
    """
    url = assignment.repository_url
    asked = ["HEAD", f"refs/heads/{assignment.publish_branch}"]
    if assignment.base_branch is not None:
        asked.append(_ref(assignment.base_branch))
    try:
        listing = await git.run("ls-remote", "--symref", url, *asked, within=LIST_SECONDS)
        base = choose_base(parse_refs(listing), assignment)
        path = workspace / assignment.repository_path.rpartition("/")[2]
        # No template: it would put sample hooks there. --branch also makes the clone complete when
        # the remote's HEAD points nowhere.
        chosen = () if base.startswith("refs/") else ("--branch", base)
        await git.run("clone", "--quiet", "--template=", *chosen, "--", url, str(path), within=CLONE_SECONDS)
        if not chosen:
            # Of a pull request: no branch, so a clone does not bring it.
            await git.run("fetch", "--quiet", url, base, cwd=path, within=CLONE_SECONDS)
        await git.run(
            "switch",
            "--quiet",
            "--no-track",
            "--create",
            assignment.publish_branch,
            *(() if chosen else ("FETCH_HEAD",)),
            cwd=path,
            within=QUICK_SECONDS,
        )
        return Clone(
            path=path,
            base_branch=base,
            base_commit=await git.run("rev-parse", "HEAD", cwd=path, within=QUICK_SECONDS),
            object_format=await git.run("rev-parse", "--show-object-format", cwd=path, within=QUICK_SECONDS),
        )
    except GitError as error:
        raise RunError(Reason.CLONE_FAILED, f"{url} cannot be cloned: {error.said}") from error
