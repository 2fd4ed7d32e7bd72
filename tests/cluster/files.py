"""The two promises about files that the harness relies on: whole or absent, and one writer at a time."""

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.cluster.progress import say


def write_atomically(path: Path, content: str | bytes, *, mode: int = 0o644) -> None:
    """Write so that a reader, or a kill in between, sees the old content or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
        Path(name).chmod(mode)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Mapping[str, object]) -> None:
    """Write a JSON object, readable by its owner only: some of them name secrets."""
    write_atomically(path, json.dumps(value, indent=2, sort_keys=True) + "\n", mode=0o600)


@contextmanager
def published_folder(target: Path) -> Iterator[Path]:
    """Fill a temporary sibling of `target`; it takes the name only when the block ends well."""
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    try:
        yield draft
        draft.chmod(0o755)
        draft.rename(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


@contextmanager
def lock(path: Path, *, purpose: str) -> Iterator[None]:
    """Hold an exclusive lock; the kernel drops it when the process dies, so none is ever stale."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"    … another process is {purpose}; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def digest(paths: Iterable[Path], *, root: Path, salt: str = "") -> str:
    """A short hash over names and contents of files (folders: every file below, without bytecode)."""
    sha = hashlib.sha256(salt.encode())
    for file in sorted(file for path in paths for file in _files(path)):
        sha.update(f"\0{file.relative_to(root)}\0{file.stat().st_mode & 0o111}\0".encode())
        sha.update(file.read_bytes())
    return sha.hexdigest()[:16]


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
    else:
        yield from (file for file in path.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
