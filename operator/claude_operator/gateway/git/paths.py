"""The three smart-HTTP endpoints, matched on the path as it was sent. Pure.

On the raw path, because a decoded one has lost the difference that an attack lives on: `%2e%2e`, `%2f`, a
doubled slash. Whatever is not exactly one of the three is refused with a text that says what it was.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from claude_operator.gateway.errors import Refusal


class Service(StrEnum):
    """Git's own names."""

    UPLOAD_PACK = "git-upload-pack"
    RECEIVE_PACK = "git-receive-pack"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One of: info/refs?service=S, git-upload-pack, git-receive-pack."""

    host: str
    repository: str
    """`owner/repo`."""
    service: Service
    advertisement: bool

    @property
    def rest(self) -> str:
        """What follows the repository's URL."""
        return f"info/refs?service={self.service}" if self.advertisement else self.service.value


_PATH = re.compile(
    r"/git/(?P<host>[a-z0-9][a-z0-9.-]*(?::[0-9]{1,5})?)"
    r"/(?P<owner>[A-Za-z0-9][A-Za-z0-9-]{0,99})/(?P<repo>[A-Za-z0-9_.-]{1,200}?)\.git/(?P<rest>.+)"
)


def endpoint(method: str, raw_path: str) -> Endpoint:
    """The endpoint that a request line names.

    Raises:
        Refusal: 403, it is none of the three.
    """
    path, _, query = raw_path.partition("?")
    found = _PATH.fullmatch(path)
    if found is None or "%" in path or ".." in path or "//" in path:
        raise _refused(
            f"{method} {path}: the path must be /git/HOST/OWNER/REPO.git/ENDPOINT, written plainly"
        )
    host, repository, rest = found["host"], f"{found['owner']}/{found['repo']}", found["rest"]
    if rest == "info/refs" and method == "GET":
        for service in Service:
            if query == f"service={service}":
                return Endpoint(host, repository, service, advertisement=True)
        if not query:
            raise _refused("the dumb HTTP protocol is not served: use git's smart HTTP")
    if method == "POST" and not query:
        for service in Service:
            if rest == service:
                return Endpoint(host, repository, service, advertisement=False)
    if rest.startswith("info/lfs"):
        raise _refused("Git LFS is not served: clone with GIT_LFS_SKIP_SMUDGE=1, or keep the files in git")
    raise _refused(
        f"{method} {rest}: only info/refs?service=..., git-upload-pack and git-receive-pack are served"
    )


def _refused(message: str) -> Refusal:
    return Refusal(403, "GitRefused", message)
