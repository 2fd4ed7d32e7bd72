"""The CLI is fetched once, whole or not at all, and what is missing is named."""

from __future__ import annotations

import io
import tarfile
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.world import claude_code

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = "#!/bin/sh\necho '9.9.9 (Claude Code)'\n"
NPM = """#!/bin/sh
echo "$@" >> {folder}/calls
for last; do :; done
cp {folder}/package.tgz "$last/package.tgz"
exit {status}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache and a PATH of its own; npm is a script that copies a small package."""
    monkeypatch.setenv("CLAUDE_OPERATOR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    npm(tmp_path)
    return tmp_path


def npm(folder: Path, *, status: int = 0, member: str = "package/claude", program: str = PROGRAM) -> None:
    with tarfile.open(folder / "package.tgz", "w:gz") as archive:
        info = tarfile.TarInfo(member)
        info.size = len(program)
        archive.addfile(info, io.BytesIO(program.encode()))
    script = folder / "npm"
    script.write_text(NPM.format(folder=folder, status=status))
    script.chmod(0o755)


def calls(folder: Path) -> list[str]:
    return (folder / "calls").read_text().splitlines()


def test_two_that_want_it_at_once_fetch_it_once(folder: Path) -> None:
    with ThreadPoolExecutor() as pool:
        paths = set(pool.map(lambda _: claude_code.fetch("9.9.9", progress=lambda _: None), range(4)))
    assert paths == {folder / "cache/claude-code/9.9.9/claude"}
    assert paths.pop().read_text() == PROGRAM
    (call,) = calls(folder)
    assert "pack @anthropic-ai/claude-code-linux-x64@9.9.9 " in call
    # Nothing is left beside it but the lock.
    assert sorted(path.name for path in (folder / "cache/claude-code/9.9.9").iterdir()) == [".lock", "claude"]


def test_a_fetch_that_fails_leaves_nothing_and_the_next_one_succeeds(folder: Path) -> None:
    target = claude_code.program_path("9.9.9")
    npm(folder, status=1)
    with pytest.raises(claude_code.ClaudeCodeUnavailableError, match=r"npm pack .* failed \(1\)"):
        claude_code.fetch("9.9.9", progress=lambda _: None)
    npm(folder, program="#!/bin/sh\necho 1.0.0\n")
    with pytest.raises(claude_code.ClaudeCodeUnavailableError, match=r"does not run as 9\.9\.9: 1\.0\.0"):
        claude_code.fetch("9.9.9", progress=lambda _: None)
    npm(folder, member="package/other")
    with pytest.raises(claude_code.ClaudeCodeUnavailableError, match="holds no file package/claude"):
        claude_code.fetch("9.9.9", progress=lambda _: None)
    assert [path.name for path in target.parent.iterdir()] == [".lock"]
    # One that was killed could not tidy up; the next one does.
    (target.parent / ".fetch-killed").mkdir()
    npm(folder)
    assert claude_code.fetch("9.9.9", progress=lambda _: None) == target
    assert sorted(path.name for path in target.parent.iterdir()) == [".lock", "claude"]


def test_what_is_missing_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with pytest.raises(claude_code.ClaudeCodeUnavailableError, match=r"no .* package is known for a riscv64"):
        claude_code.fetch("9.9.9", progress=lambda _: None)
    (folder / "npm").unlink()
    monkeypatch.setenv("PATH", str(folder))
    with pytest.raises(claude_code.ClaudeCodeUnavailableError, match="npm is not installed"):
        claude_code.fetch("9.9.9", progress=lambda _: None)
