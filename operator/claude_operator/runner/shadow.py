"""Snapshots of the work tree that neither disturb the agent nor trust what it configured.

A git directory of the runner's own, beside the clone: its objects fall back on the clone's (alternates),
its index is its own, its configuration is empty. So a snapshot touches neither the agent's index nor
its branches and runs none of its hooks, filters or monitors, and a push from here goes where the
runner says. A temporary index inside the clone (`GIT_INDEX_FILE`) would do the first, never the second.

The index is kept between snapshots: git then reads only files that changed.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from claude_operator.runner.git import Git, GitError

if TYPE_CHECKING:
    from pathlib import Path

    from claude_operator.runner.clone import Clone

SNAPSHOT_SECONDS = 300
QUICK_SECONDS = 60
PUSH_SECONDS = 900
WIP_REF = "refs/claude-operator/wip"
_PARTLY = 1
"""Exit code of `git add --ignore-errors` that could not take everything."""
_NEW_GITLINK = re.compile(r"^:000000 160000 ")
_COMMIT = re.compile(r"^[0-9a-f]{40}([0-9a-f]{24})?$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The work tree at one moment."""

    head: str
    """The commit that the agent has checked out."""
    commit: str
    """`head` itself when nothing is uncommitted, else a commit of everything on top of it."""
    left_out: str = ""
    """What git could not take, in its words; empty: the snapshot is complete."""

    @property
    def dirty(self) -> bool:
        """Whether something is uncommitted."""
        return self.commit != self.head


class Shadow:
    """The runner's git directory beside one clone."""

    def __init__(self, git: Git, clone: Clone, folder: Path) -> None:
        self._index = folder / "index"
        self._git = replace(git, git_dir=folder, work_tree=clone.path, index=self._index)
        self._clone = clone
        self._last: tuple[str, str, str, str] | None = None
        """(head, tree, message, commit) of the last snapshot: the same tree is the same commit."""

    @classmethod
    async def create(cls, git: Git, clone: Clone, folder: Path) -> Shadow:
        """Make it in `folder`; the clone is as git left it, so its index may be copied.

        Raises:
            GitError: git or the disk refused.
        """
        await git.run(
            "init",
            "--quiet",
            "--bare",
            "--template=",
            f"--object-format={clone.object_format}",
            str(folder),
            within=QUICK_SECONDS,
        )
        (folder / "objects" / "info").mkdir(parents=True, exist_ok=True)
        alternates = folder / "objects" / "info" / "alternates"
        alternates.write_text(f"{clone.path / '.git' / 'objects'}\n", encoding="utf-8")
        shadow = cls(git, clone, folder)
        if (clone.path / ".git" / "index").exists():
            shutil.copyfile(clone.path / ".git" / "index", shadow._index)
        return shadow

    async def head(self) -> str:
        """The commit that the agent has checked out.

        Raises:
            GitError: its repository is damaged or gone.
        """
        # The only look into the agent's own git directory: it resolves a reference and reads no object.
        return await self._resolve("HEAD")

    async def branch(self, name: str) -> str | None:
        """The commit of the agent's local branch `name`, if there is one."""
        try:
            return await self._resolve(f"refs/heads/{name}")
        except GitError:
            return None

    async def _resolve(self, ref: str) -> str:
        plain = replace(self._git, git_dir=self._clone.path / ".git", work_tree=None, index=None)
        found = await plain.run("rev-parse", "--verify", "--end-of-options", ref, within=QUICK_SECONDS)
        if not _COMMIT.match(found):
            raise GitError(("rev-parse",), f"{ref} is {found!r}, no commit")
        return found

    async def snapshot(self, message: str) -> Snapshot:
        """Commit everything that is not ignored, on top of what is checked out; the agent sees nothing of it.

        What git cannot take (a file that changed under its hands, an empty repository inside) is named in
        `left_out`; the rest is in the commit.

        Raises:
            GitError: the repository is damaged, or the disk is full.
        """
        # Left behind by a call that was cancelled in the middle; nobody else uses this index.
        self._index.with_suffix(".lock").unlink(missing_ok=True)
        head = await self.head()
        # A one-tree merge keeps what the index knows of unchanged files, and brings in files that are
        # committed although they are ignored: `add` alone would drop those. -i: the files themselves
        # may have changed since, that is what the snapshot is for.
        await self._git.run("read-tree", "-i", "-m", head, cwd=self._clone.path, within=SNAPSHOT_SECONDS)
        exclude = self._clone.path / ".git" / "info" / "exclude"
        left_out = ""
        try:
            await self._git.run(
                *("-c", f"core.excludesFile={exclude}"),
                *("-c", "advice.addEmbeddedRepo=false"),
                # One file that cannot be read, or one empty repository inside, must not cost the whole tree.
                *("add", "--all", "--ignore-errors"),
                cwd=self._clone.path,
                within=SNAPSHOT_SECONDS,
            )
        except GitError as error:
            if error.code != _PARTLY:
                raise
            left_out = error.said
        tree = await self._git.run("write-tree", within=SNAPSHOT_SECONDS)
        if tree == await self._git.run("rev-parse", f"{head}^{{tree}}", within=QUICK_SECONDS):
            return Snapshot(head=head, commit=head, left_out=left_out)
        left_out = "\n".join(filter(None, (left_out, *await self._nested(head, tree))))
        if self._last is not None and self._last[:3] == (head, tree, message):
            return Snapshot(head=head, commit=self._last[3], left_out=left_out)
        commit = await self._git.run(
            "commit-tree", tree, "-p", head, stdin=message.encode(), within=QUICK_SECONDS
        )
        self._last = (head, tree, message, commit)
        return Snapshot(head=head, commit=commit, left_out=left_out)

    async def _nested(self, head: str, tree: str) -> list[str]:
        """Repositories of the agent's own inside the tree: git keeps the name of their commit, no file."""
        changes = await self._git.run("diff-tree", "-r", "-z", head, tree, within=SNAPSHOT_SECONDS)
        fields = changes.split("\0")
        return [
            f"{path}: a git repository of its own; only the name of its commit is kept, not its files"
            for change, path in zip(fields[::2], fields[1::2], strict=False)
            if _NEW_GITLINK.match(change)
        ]

    async def bundle(self, commit: str, target: Path) -> None:
        """Write what `commit` has over the clone's base to `target`.

        Only the base is taken for granted in the next clone: other branches may be gone by then.

        Raises:
            GitError: git or the disk refused.
        """
        await self._git.run("update-ref", WIP_REF, commit, within=QUICK_SECONDS)
        await self._git.run(
            "bundle", "create", "--quiet", str(target), WIP_REF, f"^{self._clone.base_commit}",
            within=SNAPSHOT_SECONDS,
        )  # fmt: skip

    async def contains(self, commit: str, ancestor: str) -> bool:
        """Whether `ancestor` is `commit` or one of its ancestors."""
        found = await self._git.run(
            "rev-list", "--count", "--max-count=1", ancestor, f"^{commit}", within=QUICK_SECONDS
        )
        return found == "0"

    async def remote_branch(self, url: str, branch: str) -> str | None:
        """The commit of `branch` at `url`, if there is one.

        Raises:
            GitError: the remote refused.
        """
        listing = await self._git.run("ls-remote", url, f"refs/heads/{branch}", within=PUSH_SECONDS)
        return listing.partition("\t")[0] or None

    async def push(self, url: str, commit: str, branch: str) -> None:
        """Push `commit` to `branch` at `url`, never by force.

        Raises:
            GitError: the remote refused, or the branch holds something that `commit` does not.
        """
        await self._git.run(
            "push", "--quiet", "--no-verify", url, f"{commit}:refs/heads/{branch}", within=PUSH_SECONDS
        )
