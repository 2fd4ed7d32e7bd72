"""The real Claude Code CLI, fetched once into the cache.

The program is proprietary: nothing of it may be committed, so whoever tests
with it fetches it. npm's own client does that, with the registry, proxy and
credentials that its user has configured; a hand-written download would know
none of them. The platform package holds one native executable (the wrapper
package only links to it), so Node is not needed to run it.

Several test runs may want it at once and any of them may be interrupted: a
file lock makes one fetch and the others wait, and the executable gets its
final name by a rename, after it has told its version.
"""

from __future__ import annotations

import fcntl
import os
import platform
import shutil
import subprocess
import tarfile
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

VERSION = "2.1.330"
"""The pinned version: headers, events and tool shapes were measured with it."""

FETCH_TIMEOUT_SECONDS = 900
_TARBALL_BYTES = 175_000_000
_PROGRAM_BYTES = 381_121_040
_COPY_BYTES = 4 << 20
_SCRATCH = ".fetch-"
_PACKAGES = {
    "x86_64": "@anthropic-ai/claude-code-linux-x64",
    "aarch64": "@anthropic-ai/claude-code-linux-arm64",
}


class ClaudeCodeUnavailableError(Exception):
    """The CLI cannot be had on this machine; the text says why and what to do."""


def cache_folder() -> Path:
    """The project's cache: CLAUDE_OPERATOR_CACHE, else the user's cache folder."""
    if chosen := os.environ.get("CLAUDE_OPERATOR_CACHE"):
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "claude-operator"


def program_path(version: str = VERSION) -> Path:
    """Where the executable is, or will be once it has been fetched."""
    return cache_folder() / "claude-code" / version / "claude"


def fetch(version: str = VERSION, *, progress: Callable[[str], None] = print) -> Path:
    """The executable of `version`, from the cache or from npm (175 MB, once).

    Raises:
        ClaudeCodeUnavailableError: no npm, no such package for this machine, or
            the download failed.
    """
    target = program_path(version)
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with _lock(target.parent / ".lock"):
        # Another process may have fetched it while this one waited for the lock.
        if not target.exists():
            # Whoever made these was killed: nobody else is here now.
            for left in target.parent.glob(f"{_SCRATCH}*"):
                shutil.rmtree(left)
            _fetch_to(target, version, progress)
    return target


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _fetch_to(target: Path, version: str, progress: Callable[[str], None]) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise ClaudeCodeUnavailableError("npm is not installed: it fetches the Claude Code CLI")
    machine = platform.machine()
    if machine not in _PACKAGES:
        raise ClaudeCodeUnavailableError(f"no Claude Code package is known for a {machine} machine")
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=_SCRATCH) as scratch:
        tarball = _pack(npm, f"{_PACKAGES[machine]}@{version}", Path(scratch), progress)
        program = Path(scratch) / "claude"
        _unpack(tarball, program, progress)
        _check_version(program, version)
        program.replace(target)
    progress(f"claude-code {version}: ready in {target.parent}")


def _pack(npm: str, package: str, scratch: Path, progress: Callable[[str], None]) -> Path:
    """Fetch the tarball of `package`; npm checks it against the registry's digest."""
    # A cache of its own: npm would keep a second 175 MB copy in the user's, and
    # the growth of this folder is the only progress that npm lets one see.
    store = scratch / "npm-cache"
    log = scratch / "npm.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [npm, "pack", package, "--silent", "--cache", str(store), "--pack-destination", str(scratch)],
            cwd=scratch,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            _wait(process, lambda: _progress(package, _size(store), _TARBALL_BYTES, progress))
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    found = list(scratch.glob("*.tgz"))
    if process.returncode != 0 or len(found) != 1:
        said = log.read_text(errors="replace").strip()[-500:]
        raise ClaudeCodeUnavailableError(f"npm pack {package} failed ({process.returncode}): {said}")
    return found[0]


def _wait(process: subprocess.Popen[bytes], report: Callable[[], None]) -> None:
    deadline = time.monotonic() + FETCH_TIMEOUT_SECONDS
    while True:
        try:
            process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            if time.monotonic() > deadline:
                raise ClaudeCodeUnavailableError(
                    f"npm has not fetched the package in {FETCH_TIMEOUT_SECONDS} s"
                ) from None
            report()
        else:
            return


def _size(folder: Path) -> int:
    """Bytes below `folder`, which is being written to: files may vanish."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(parent) / name).stat().st_size
            except FileNotFoundError:
                continue
    return total


def _progress(what: str, done: int, expected: int, progress: Callable[[str], None]) -> None:
    progress(f"{what}: fetched {done >> 20} of about {expected >> 20} MiB")


def _unpack(tarball: Path, program: Path, progress: Callable[[str], None]) -> None:
    # As a stream: looking a member up by name would decompress everything twice.
    with tarfile.open(tarball, "r|gz") as archive:
        for member in archive:
            source = archive.extractfile(member) if member.name == "package/claude" else None
            if source is not None:
                with source, program.open("wb") as output:
                    _copy(source, output, progress)
                program.chmod(0o755)
                return
    raise ClaudeCodeUnavailableError(f"{tarball.name} holds no file package/claude")


def _copy(source: IO[bytes], target: IO[bytes], progress: Callable[[str], None]) -> None:
    reported = time.monotonic()
    while block := source.read(_COPY_BYTES):
        target.write(block)
        if time.monotonic() - reported > 2:
            reported = time.monotonic()
            progress(f"claude-code: unpacked {target.tell() >> 20} of about {_PROGRAM_BYTES >> 20} MiB")


def _check_version(program: Path, version: str) -> None:
    done = subprocess.run(
        [program, "--version"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode != 0 or not done.stdout.startswith(version):
        said = (done.stdout + done.stderr).strip()[:300]
        raise ClaudeCodeUnavailableError(f"the fetched program does not run as {version}: {said}")
