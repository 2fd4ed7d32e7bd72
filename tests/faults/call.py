"""What a request is about: read from its path, for the API server and for the gateway's internal port."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urlsplit

from claude_operator.wire.internal import OUTCOMES_PATH, SESSIONS_PATH


@dataclass(frozen=True, slots=True)
class Call:
    """One request, as faults are addressed to it."""

    method: str
    resource: str
    """Plural and subresource (`claudesessions/status`); at the gateway what is asked for (`close`)."""
    namespace: str = ""
    name: str = ""
    """Of the object, also of one that is created; at the gateway the session's uid or the attempt."""
    watch: bool = False

    @property
    def what(self) -> str:
        """`POST jobs`: the place in the life of a session."""
        return f"{self.method} {self.resource}"

    @property
    def write(self) -> bool:
        """Whether it can change anything."""
        return self.method != "GET"


_TRUE = frozenset({"1", "t", "T", "true", "True", "TRUE"})
"""What Go's strconv.ParseBool takes."""

Reader = Callable[[str, str, bytes], Call]
"""Makes a Call of method, target (path and query) and body."""


def kubernetes(method: str, target: str, body: bytes) -> Call:
    """A request to an API server."""
    split = urlsplit(target)
    parts = [unquote(part) for part in split.path.split("/") if part]
    watch = parse_qs(split.query).get("watch", [""])[0] in _TRUE
    # /api/v1/... or /apis/GROUP/VERSION/..., then namespaces/NAME unless the object is cluster-wide.
    rest = parts[2:] if parts[:1] == ["api"] else parts[3:]
    namespace = ""
    if rest[:1] == ["namespaces"] and len(rest) > 2:
        namespace, rest = rest[1], rest[2:]
    if not rest:
        return Call(method, split.path)
    name = rest[1] if len(rest) > 1 else _name_in(body) if method == "POST" else ""
    return Call(method, "/".join([rest[0], *rest[2:]]), namespace, name, watch)


def _name_in(body: bytes) -> str:
    try:
        return str(json.loads(body)["metadata"]["name"])
    except (ValueError, KeyError, TypeError):
        return ""


def gateway(method: str, target: str, _: bytes) -> Call:
    """A request to the gateway's internal port."""
    path = urlsplit(target).path
    if path.startswith(f"{OUTCOMES_PATH}/"):
        namespace, name = path.removeprefix(f"{OUTCOMES_PATH}/").split("/", 1)
        return Call(method, "outcomes", unquote(namespace), unquote(name))
    uid, *rest = path.removeprefix(f"{SESSIONS_PATH}/").split("/")
    match rest:
        case ["attempts", number, "close"]:
            return Call(method, "close", name=f"{uid}/{number}")
        case _:
            return Call(method, "/".join(rest) or "session", name=uid)
