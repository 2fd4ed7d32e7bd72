"""Bare repositories, and how their first commits are made.

A seed is one YAML file and not a folder of files: a hostile repository's
`.claude/settings.json` or a failing test must not take effect in this project's
own checkout, and a file can hold several commits. Author, dates and so the
commit hashes are fixed: a test may name them.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SEEDS = Path(__file__).with_name("seeds")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*(?<!\.git)")
_AUTHOR = "Ada Example <ada@example.com>"
_FIRST_COMMIT_TIME = 1_767_261_600  # 2026-01-01T10:00:00Z; each further commit is an hour later
_GIT_TIMEOUT_SECONDS = 60

_CONFIG = {
    "http.receivepack": "true",
    # What git hosts allow. An attack that a gateway must stop has to work without it.
    "uploadpack.allowFilter": "true",
    "uploadpack.allowAnySHA1InWant": "true",
    "receive.advertisePushOptions": "true",
    "receive.certNonceSeed": "test-world",
    "receive.denyDeleteCurrent": "ignore",
    # No background process may outlive the server.
    "receive.autogc": "false",
    "gc.auto": "0",
}

# The server asks through the environment; git hands the hook's words to the client.
_PRE_RECEIVE = """#!/bin/sh
if [ -n "$TEST_WORLD_ECHO" ]; then echo "$TEST_WORLD_ECHO" >&2; fi
if [ -n "$TEST_WORLD_REJECT" ]; then echo "$TEST_WORLD_REJECT" >&2; exit 1; fi
"""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class File(_Model):
    """A file in a commit. A symbolic link's content is its target."""

    content: str
    mode: Literal["100644", "100755", "120000"] = "100644"


def _as_file(value: object) -> object:
    return {"content": value} if isinstance(value, str) else value


class Commit(_Model):
    """One commit on the seed's branch; a file that is None is removed."""

    message: Annotated[str, Field(min_length=1)]
    files: dict[str, Annotated[File | None, BeforeValidator(_as_file)]]


class Seed(_Model):
    """The history that a repository starts with."""

    description: str = ""
    branch: str = "main"
    commits: tuple[Commit, ...] = ()
    branches: dict[str, Annotated[int, Field(ge=1)]] = {}
    """Further branches by the number of their commit, from 1."""


def read_seeds(folder: Path = SEEDS) -> dict[str, Seed]:
    """The seeds under `folder`, `<owner>/<repo>.yaml`, by repository name."""
    return {
        f"{path.parent.name}/{path.stem}": Seed.model_validate(
            yaml.safe_load(path.read_text(encoding="utf-8"))
        )
        for path in sorted(folder.glob("*/*.yaml"))
    }


def git_environment() -> dict[str, str]:
    """An environment in which git knows no configuration of the machine or its user."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": "/nonexistent",
        "LC_ALL": "C",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        # The folder may belong to somebody else: root runs tests in a user's checkout.
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "safe.directory",
        "GIT_CONFIG_VALUE_0": "*",
    }


class Repositories:
    """The bare repositories under a folder, `<owner>/<repo>.git`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, name: str) -> Path:
        """Where `owner/repo` is or would be.

        Raises:
            ValueError: `name` is not of that form.
        """
        if not _NAME.fullmatch(name):
            raise ValueError(f"repository: expects owner/repo, not {name!r}")
        return self.root / f"{name}.git"

    def exists(self, name: str) -> bool:
        return _NAME.fullmatch(name) is not None and self.path(name).is_dir()

    def names(self) -> list[str]:
        return sorted(
            str(path.relative_to(self.root)).removesuffix(".git") for path in self.root.glob("*/*.git")
        )

    def create(self, name: str, seed: Seed | None = None) -> Path:
        """Make `name` from `seed`; without one it is empty, and so is its branch `main`.

        Raises:
            FileExistsError: it exists.
        """
        path = self.path(name)
        if path.exists():
            raise FileExistsError(f"repository {name} exists: {path}")
        seed = seed or Seed()
        path.parent.mkdir(parents=True, exist_ok=True)
        _run(
            ["git", "init", "--quiet", "--bare", f"--initial-branch={seed.branch}", "--template=", str(path)]
        )
        for key, value in _CONFIG.items():
            _run(["git", "-C", str(path), "config", key, value])
        hook = path / "hooks" / "pre-receive"
        hook.parent.mkdir()
        hook.write_text(_PRE_RECEIVE)
        hook.chmod(0o755)
        if seed.commits:
            _run(["git", "-C", str(path), "fast-import", "--quiet"], b"".join(_import_stream(seed)))
        return path

    def branches(self, name: str) -> dict[str, str]:
        """The commit of each branch."""
        listed = self.git(name, "for-each-ref", "--format=%(refname:lstrip=2) %(objectname)", "refs/heads")
        return dict(line.split(" ", 1) for line in listed.splitlines())

    def read(self, name: str, ref: str, file: str) -> str:
        """The content of `file` at `ref`.

        Raises:
            subprocess.CalledProcessError: there is no such ref or file.
        """
        return self.git(name, "show", f"{ref}:{file}")

    def git(self, name: str, *arguments: str) -> str:
        """What git prints when it runs in repository `name`.

        Raises:
            subprocess.CalledProcessError: git fails; `stderr` says why.
        """
        return _run(["git", "-C", str(self.path(name)), *arguments]).decode()


def _run(command: list[str], stdin: bytes = b"") -> bytes:
    return subprocess.run(
        command,
        input=stdin,
        env=git_environment(),
        capture_output=True,
        timeout=_GIT_TIMEOUT_SECONDS,
        check=True,
    ).stdout


def _import_stream(seed: Seed) -> Iterator[bytes]:
    """The input of `git fast-import`: one process for a whole history."""
    for number, commit in enumerate(seed.commits, start=1):
        when = _FIRST_COMMIT_TIME + (number - 1) * 3600
        yield f"commit refs/heads/{seed.branch}\nmark :{number}\n".encode()
        yield f"author {_AUTHOR} {when} +0000\ncommitter {_AUTHOR} {when} +0000\n".encode()
        yield _data(commit.message.rstrip("\n") + "\n")
        yield from _changes(commit.files)
        yield b"\n"
    for branch, number in seed.branches.items():
        yield f"reset refs/heads/{branch}\nfrom :{number}\n\n".encode()


def _changes(files: Mapping[str, File | None]) -> Iterator[bytes]:
    for path, file in files.items():
        escaped = path.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        if file is None:
            yield f'D "{escaped}"\n'.encode()
        else:
            yield f'M {file.mode} inline "{escaped}"\n'.encode() + _data(file.content)


def _data(text: str) -> bytes:
    encoded = text.encode()
    return b"data %d\n%s\n" % (len(encoded), encoded)
