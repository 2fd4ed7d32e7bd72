"""The files to keep: found by glob, sent as blobs.

Links are not followed, neither directories nor files: a link to `/proc/self/environ` in a repository
would otherwise be published as its target. Ignored files count here: reports and builds are what
artifacts are for.
"""

from __future__ import annotations

import os
import re
import stat
from typing import TYPE_CHECKING

from claude_operator.runner import blobs
from claude_operator.runner.errors import RunError
from claude_operator.wire.session import ArtifactUpload

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from claude_operator.runner.gateway import Gateway
    from claude_operator.runner.record import Record

MAX_FILES = 100
"""As many as a session's status lists."""
MAX_BYTES = 256 << 20
"""Of all together: the gateway's quota per session."""
MAX_PATH = 1024


def pattern(glob: str) -> re.Pattern[str]:
    """The expression of one glob.

    `*` and `?` stay within a folder, `**/` is any folders, a folder's name stands for all that is in it.
    """
    parts: list[str] = []
    position = 0
    text = glob.removeprefix("./").rstrip("/")
    while position < len(text):
        if text.startswith("**/", position):
            parts.append("(?:[^/]+/)*")
            position += 3
        elif text.startswith("**", position):
            parts.append(".*")
            position += 2
        elif text[position] == "*":
            parts.append("[^/]*")
            position += 1
        elif text[position] == "?":
            parts.append("[^/]")
            position += 1
        elif found := re.match(r"\[(!?)([^\]/]+)\]", text[position:]):
            members = re.sub(r"([\\\[\]^&~|])", r"\\\1", found[2])
            parts.append(f"[{'^/' if found[1] else ''}{members}]")
            position += found.end()
        else:
            parts.append(re.escape(text[position]))
            position += 1
    return re.compile(f"(?:{''.join(parts)})(?:/.*)?", re.DOTALL)


def find(root: Path, globs: Iterable[str]) -> Iterator[str]:
    """Paths, relative to `root`, of the plain files that a glob names, in the order of their names."""
    wanted = [pattern(glob) for glob in globs]
    for folder, folders, names in os.walk(root, followlinks=False):
        folders[:] = sorted(name for name in folders if name != ".git")
        for name in sorted(names):
            path = os.path.relpath(os.path.join(folder, name), root)  # noqa: PTH118 - os.walk's own strings
            if any(one.fullmatch(path) for one in wanted) and stat.S_ISREG(os.lstat(root / path).st_mode):
                yield path


async def keep(gateway: Gateway, record: Record, root: Path, globs: list[str], state: Path) -> None:
    """Upload what the globs name; what cannot be kept is said in the record and fails nothing."""
    total = 0
    count = 0
    copied = state / "artifact"
    for path in find(root, globs):
        if count == MAX_FILES:
            await record.step("artifact_skipped", f"only the first {MAX_FILES} artifacts are kept")
            return
        try:
            size = _copy(root, path, copied, limit=MAX_BYTES - total)
            blob = await blobs.upload(gateway, copied)
            await gateway.artifact(ArtifactUpload(path=path, blob=blob))
        except (OSError, ValueError, RunError) as error:
            await record.step("artifact_skipped", f"artifact {path!r} is not kept: {error}")
            continue
        total += size
        count += 1
        await record.step("artifact", f"artifact {path} ({size} bytes)", path=path, bytes=size)
    if count == 0 and globs:
        await record.step("no_artifacts", f"no file matches {', '.join(globs)}")


def _copy(root: Path, path: str, target: Path, *, limit: int) -> int:
    """A private copy of the file, so that its digest holds; returns its size in bytes.

    Raises:
        OSError: unreadable, or a link by now.
        ValueError: it is too large, or its name is.
    """
    if len(path) > MAX_PATH or not _encodable(path):
        raise ValueError(f"its name is longer than {MAX_PATH} characters, or not UTF-8")
    descriptor = os.open(root / path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as source, target.open("wb") as copy:
        size = 0
        while block := source.read(1 << 20):
            size += len(block)
            if size > limit:
                raise ValueError(f"all artifacts together would exceed {MAX_BYTES >> 20} MiB")
            copy.write(block)
        return size


def _encodable(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
