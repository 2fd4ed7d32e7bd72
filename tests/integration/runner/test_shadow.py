"""Snapshots by real git: everything is in them, and the agent's clone does not notice."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from claude_operator.runner.clone import Clone
from claude_operator.runner.git import Git, GitError, write_global_config
from claude_operator.runner.publish import find_tip
from claude_operator.runner.shadow import Shadow
from tests.world.repositories import git_environment

if TYPE_CHECKING:
    from pathlib import Path


@dataclass
class Place:
    path: Path
    git: Git
    shadow: Shadow
    folder: Path

    def agent(self, *arguments: str) -> str:
        """Git as the agent runs it."""
        author = ("-c", "user.name=Agent", "-c", "user.email=agent@example.com")
        done = subprocess.run(
            ["git", *author, *arguments],
            cwd=self.path,
            env=git_environment(),
            capture_output=True,
            check=True,
        )
        return done.stdout.decode()

    def files(self, commit: str) -> dict[str, str]:
        return {name: self._read("show", f"{commit}:{name}") for name in self.names(commit)}

    def names(self, commit: str) -> list[str]:
        return self._read("ls-tree", "-r", "--name-only", commit).splitlines()

    def _read(self, *arguments: str) -> str:
        env = git_environment() | {"GIT_DIR": str(self.folder)}
        return subprocess.check_output(["git", *arguments], env=env).decode()


@pytest.fixture
async def place(tmp_path: Path) -> Place:
    path = tmp_path / "clone"
    path.mkdir()
    (tmp_path / "state").mkdir()
    git = await write_global_config(
        tmp_path / "state" / "gitconfig",
        home=tmp_path / "state",
        values={"user.name": 'Q "uote\\', "user.email": "claude@git.example"},
    )
    made = Place(path, git, Shadow.__new__(Shadow), tmp_path / "state" / "shadow.git")
    made.agent("init", "-q", "-b", "main")
    (path / ".gitignore").write_text("*.log\n")
    (path / "a.txt").write_text("a\n")
    made.agent("add", "-A")
    made.agent("commit", "-qm", "base")
    base = made.agent("rev-parse", "HEAD").strip()
    made.agent("switch", "-qc", "work")
    clone = Clone(path=path, base_branch="main", base_commit=base, object_format="sha1")
    made.shadow = await Shadow.create(git, clone, made.folder)
    return made


async def test_everything_but_the_ignored_is_in_and_the_agent_sees_nothing(place: Place) -> None:
    (place.path / "a.txt").write_text("changed\n")
    (place.path / "staged.txt").write_text("staged\n")
    place.agent("add", "staged.txt")
    (place.path / "new.txt").write_text("new\n")
    (place.path / "noise.log").write_text("noise\n")
    (place.path / "link").symlink_to("/etc/passwd")
    before = (place.agent("status", "--porcelain"), place.agent("for-each-ref"), place.agent("stash", "list"))
    snapshot = await place.shadow.snapshot("WIP")
    assert snapshot.dirty
    assert place.files(snapshot.commit) == {
        ".gitignore": "*.log\n",
        "a.txt": "changed\n",
        "link": "/etc/passwd",
        "new.txt": "new\n",
        "staged.txt": "staged\n",
    }
    after = (place.agent("status", "--porcelain"), place.agent("for-each-ref"), place.agent("stash", "list"))
    assert after == before


async def test_a_committed_file_that_is_ignored_stays(place: Place) -> None:
    (place.path / "kept.log").write_text("kept\n")
    place.agent("add", "-f", "kept.log")
    place.agent("commit", "-qm", "keep it")
    (place.path / "new.txt").write_text("new\n")
    snapshot = await place.shadow.snapshot("WIP")
    assert place.files(snapshot.commit)["kept.log"] == "kept\n"


async def test_snapshots_follow_every_change_and_the_same_tree_is_the_same_commit(place: Place) -> None:
    clean = await place.shadow.snapshot("WIP")
    assert not clean.dirty
    (place.path / "new.txt").write_text("one\n")
    first = await place.shadow.snapshot("WIP")
    assert await place.shadow.snapshot("WIP") == first
    (place.path / "new.txt").write_text("two\n")
    (place.path / "a.txt").unlink()
    second = await place.shadow.snapshot("WIP")
    assert place.files(second.commit) == {".gitignore": "*.log\n", "new.txt": "two\n"}
    (place.path / "new.txt").unlink()
    place.agent("checkout", "-q", "a.txt")
    assert await place.shadow.snapshot("WIP") == clean


async def test_a_snapshot_that_was_cancelled_does_not_stop_the_next(place: Place) -> None:
    (place.folder / "index.lock").touch()
    assert not (await place.shadow.snapshot("WIP")).dirty


async def test_repositories_inside_the_tree_do_not_cost_the_rest_and_are_named(place: Place) -> None:
    (place.path / "new.txt").write_text("new\n")
    place.agent("init", "-q", "empty")
    (place.path / "empty" / "lost.txt").write_text("lost\n")
    place.agent("init", "-q", "full")
    place.agent("-C", "full", "commit", "-q", "--allow-empty", "-m", "inner")
    snapshot = await place.shadow.snapshot("WIP")
    assert place.names(snapshot.commit) == [".gitignore", "a.txt", "full", "new.txt"]
    assert "'empty/' does not have a commit checked out" in snapshot.left_out
    assert "full: a git repository of its own" in snapshot.left_out
    assert (await place.shadow.snapshot("WIP")) == snapshot


async def test_what_the_agent_left_on_its_branch_is_published_though_it_went_back(place: Place) -> None:
    (place.path / "b.txt").write_text("b\n")
    place.agent("add", "-A")
    place.agent("commit", "-qm", "work")
    work = place.agent("rev-parse", "HEAD").strip()
    here = await find_tip(place.shadow, await place.shadow.snapshot("WIP"), "work")
    assert (here.commit, here.left_behind) == (work, False)
    place.agent("checkout", "-q", "main")
    back = await find_tip(place.shadow, await place.shadow.snapshot("WIP"), "work")
    assert (back.commit, back.left_behind) == (work, False)
    (place.path / "c.txt").write_text("c\n")
    dirty = await find_tip(place.shadow, await place.shadow.snapshot("WIP"), "work")
    assert (dirty.commit, dirty.left_behind) == (work, True)
    place.agent("add", "-A")
    place.agent("commit", "-qm", "elsewhere")
    elsewhere = place.agent("rev-parse", "HEAD").strip()
    assert (await find_tip(place.shadow, await place.shadow.snapshot("WIP"), "work")).commit == elsewhere


async def test_a_call_that_takes_too_long_is_killed_with_its_children(place: Place) -> None:
    with pytest.raises(GitError, match="not done after"):
        await place.git.run("-c", "alias.hang=!tail -f /dev/null", "hang", within=0.3)
