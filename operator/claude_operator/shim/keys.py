"""Who may come in: named keys, from the environment or files, read again while the process runs.

Several at once, so that one can be rotated: add the new one, move the clients, take the old one away. A file
holds either the secret alone, or a YAML mapping that confines the key:

    secret: 3f9c…
    namespaces: [team-a]
    projects: [default]
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from claude_operator.resources.model import Name
from claude_operator.shim.core.scope import Scope

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from claude_operator.shim.settings import Settings

log = logging.getLogger(__name__)

SHORTEST_SECRET: Final = 16
"""Characters. `openssl rand -hex 32` makes 64."""
_NAME: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_SECRET: Final = re.compile(r"[!-~]+")
ANYBODY: Final = "anybody"
"""The name of the client where no key is asked for."""


class KeyRefusedError(Exception):
    """A key can't be used; the message names it, and never its secret."""


class _KeyFile(BaseModel):
    """A key with its confinement."""

    model_config = ConfigDict(extra="forbid")

    secret: str
    namespaces: Annotated[list[Name], Field(min_length=1, max_length=100)] | None = None
    projects: Annotated[list[Name], Field(min_length=1, max_length=100)] | None = None


@dataclass(frozen=True, slots=True)
class Key:
    """One key; the secret itself is not kept."""

    digest: bytes
    scope: Scope


class Keyring:
    """The keys that are good now."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._keys: tuple[Key, ...] = ()
        self._complaint = ""

    def __len__(self) -> int:
        return len(self._keys)

    def load(self) -> None:
        """Read all keys.

        Raises:
            KeyRefusedError: one can't be used.
        """
        keys: dict[bytes, Key] = {}
        names: set[str] = set()
        for name, text in self._sources():
            key = self._read(name, text)
            if name in names or key.digest in keys:
                raise KeyRefusedError(f"key {name}: its name or secret belongs to another key too")
            names.add(name)
            keys[key.digest] = key
        self._keys = tuple(keys.values())

    def refresh(self) -> None:
        """Read them again; when one can't be used, what was good stays good, and the log says so once."""
        before = {key.digest: key.scope for key in self._keys}
        try:
            self.load()
        except KeyRefusedError as error:
            if str(error) != self._complaint:
                log.warning("%s; the keys stay as they were", error)
            self._complaint = str(error)
            return
        self._complaint = ""
        if {key.digest: key.scope for key in self._keys} != before:
            log.info("keys: %s", ", ".join(key.scope.client for key in self._keys) or "none")

    def scope(self, authorization: str | None) -> Scope | None:
        """The client that an Authorization header shows; None: nobody.

        Every key is compared, in constant time: the duration tells nothing of the secrets.
        """
        if self._settings.insecure and not self._keys:
            return Scope(ANYBODY, (self._settings.namespace,), project=self._settings.project)
        scheme, _, token = (authorization or "").partition(" ")
        given = hashlib.sha256(token.strip().encode("utf-8", "surrogateescape")).digest()
        found: Scope | None = None
        for key in self._keys:
            if hmac.compare_digest(given, key.digest):
                found = key.scope
        return found if scheme.lower() == "bearer" else None

    def _sources(self) -> Iterator[tuple[str, str]]:
        if self._settings.secret:
            yield "default", self._settings.secret
        elif self._settings.secret_file is not None:
            yield "default", _text("default", self._settings.secret_file)
        directory = self._settings.keys_directory
        if directory is not None and directory.is_dir():
            # kubelet keeps its own `..data` beside the files.
            for file in sorted(one for one in directory.iterdir() if not one.name.startswith(".")):
                if file.is_file():
                    yield file.name, _text(file.name, file)

    def _read(self, name: str, text: str) -> Key:
        if not _NAME.fullmatch(name):
            raise KeyRefusedError(
                f"key {name!r}: the name must be a label value: letters, digits, inner . _ and -"
            )
        stripped = text.strip()
        spec = _KeyFile(secret=stripped) if _SECRET.fullmatch(stripped) else _mapping(name, stripped)
        if len(spec.secret) < SHORTEST_SECRET or not _SECRET.fullmatch(spec.secret):
            raise KeyRefusedError(
                f"key {name}: the secret needs at least {SHORTEST_SECRET} printable characters, no blanks: "
                "openssl rand -hex 32"
            )
        scope = Scope(
            client=name,
            namespaces=tuple(spec.namespaces or (self._settings.namespace,)),
            projects=tuple(spec.projects or ()),
            project=self._settings.project,
        )
        return Key(hashlib.sha256(spec.secret.encode()).digest(), scope)


def _mapping(name: str, text: str) -> _KeyFile:
    # No message of a parser: it would quote the secret.
    try:
        return _KeyFile.model_validate(yaml.safe_load(text))
    except yaml.YAMLError:
        raise KeyRefusedError(f"key {name}: neither a secret alone nor a YAML mapping") from None
    except ValidationError as error:
        fields = ", ".join(sorted({".".join(map(str, one["loc"])) or "the file" for one in error.errors()}))
        raise KeyRefusedError(
            f"key {name}: not as it should be: {fields} (secret, and lists of names: namespaces, projects)"
        ) from None


def _text(name: str, file: Path) -> str:
    try:
        return file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise KeyRefusedError(f"key {name}: {file} can't be read: {type(error).__name__}") from error
