"""Secrets of the type claude-operator.dev/credential: what they hold, and where they may be sent.

The Secret itself lists its hosts, so whoever edits a project, but not the Secret, cannot have it sent
elsewhere. Only the gateway reads them; they are held for seconds, and never appear in a message.
"""

from __future__ import annotations

import base64
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from yarl import URL

from claude_operator.gateway.cluster import ClusterUnavailableError, ForbiddenError
from claude_operator.gateway.errors import unavailable
from claude_operator.gateway.scrub import forms
from claude_operator.resources.identity import CREDENTIAL_SECRET_TYPE
from claude_operator.resources.lifecycle import ProjectReason

if TYPE_CHECKING:
    from claude_operator.gateway.cluster import Cluster, Secret

_CACHE_SECONDS: Final = 5.0
"""How long a replaced key is still sent."""
_SHORTEST: Final = 8
"""A shorter value is not looked for in answers: it would be found by chance everywhere."""


_SHORTEST_WEBHOOK_SECRET: Final = 16


class CredentialError(Exception):
    """A Secret that can't be used; `reason` is the project's."""

    def __init__(self, reason: ProjectReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def origin(url: URL) -> str:
    """`host` for https on its port, `host:port` for https elsewhere, `http://host:port` for plain text."""
    port = url.port or 0
    if url.scheme == "http":
        return f"http://{url.host}:{port}"
    return f"{url.host}" if port == 443 else f"{url.host}:{port}"  # noqa: PLR2004 - https


@dataclass(frozen=True, slots=True)
class Credential:
    """One Secret's content."""

    name: str
    hosts: frozenset[str]
    api_key: str = field(default="", repr=False)
    auth_token: str = field(default="", repr=False)
    username: str = field(default="x-access-token", repr=False)
    password: str = field(default="", repr=False)
    signing_key: str = field(default="", repr=False)
    """For callbacks: it signs what is sent, and never leaves."""
    app_id: str = ""
    """Of a GitHub App; its tokens take the place of the password (github/logins.py)."""
    private_key: str = field(default="", repr=False)
    """Of that App, PEM."""
    webhook_secrets: tuple[str, ...] = field(default=(), repr=False)
    """What GitHub signs its events with; several while one is being replaced."""

    def lists(self, url: URL) -> bool:
        """Whether it may be sent to the origin of `url`."""
        return origin(url) in self.hosts

    def require(self, url: URL) -> None:
        """Raise CredentialError unless it may be sent to the origin of `url`."""
        if not self.lists(url):
            raise CredentialError(
                ProjectReason.SECRET_INVALID,
                f"Secret {self.name} does not list {origin(url)} in its key `hosts` "
                f"(it lists: {', '.join(sorted(self.hosts))}): add it there if it may be sent to it",
            )

    def model_headers(self) -> dict[str, str]:
        """How it is sent to a model's API."""
        if self.api_key:
            return {"x-api-key": self.api_key}
        return {"Authorization": f"Bearer {self.auth_token}"}

    def basic(self) -> str:
        """The value of `Authorization` for a git host; empty: anonymous."""
        if not self.password:
            return ""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()

    def traces(self) -> tuple[bytes, ...]:
        """Every form in which an upstream could send it back, longest first."""
        secrets = {self.api_key, self.auth_token, self.password}
        found = {form for secret in secrets if len(secret) >= _SHORTEST for form in forms(secret)}
        basic = self.basic().removeprefix("Basic ")
        if len(basic) >= _SHORTEST:
            found.add(basic.encode())
        return tuple(sorted(found, key=lambda form: (-len(form), form)))


def read(name: str, secret: Secret) -> Credential:
    """The credential in a Secret.

    Raises:
        CredentialError: wrong type, or no hosts.
    """
    if secret.type != CREDENTIAL_SECRET_TYPE:
        raise CredentialError(
            ProjectReason.SECRET_INVALID,
            f"Secret {name} has the type {secret.type}: it must be {CREDENTIAL_SECRET_TYPE}; "
            "the type of a Secret cannot be changed, create it anew",
        )

    def text(key: str, default: str = "") -> str:
        try:
            return secret.data.get(key, default.encode()).decode().strip()
        except UnicodeDecodeError:
            raise CredentialError(
                ProjectReason.SECRET_INVALID, f"Secret {name}: the key `{key}` is not UTF-8 text"
            ) from None

    for key in ("apiKey", "authToken", "username", "password", "signingKey", "appId"):
        if any(character in text(key) for character in "\r\n\0"):
            raise CredentialError(
                ProjectReason.SECRET_INVALID, f"Secret {name}: the key `{key}` holds more than one line"
            )
    hosts = frozenset(_host(name, entry) for entry in text("hosts").replace(",", " ").split())
    webhook_secrets = tuple(line.strip() for line in text("webhookSecret").splitlines() if line.strip())
    if any(len(one) < _SHORTEST_WEBHOOK_SECRET for one in webhook_secrets):
        raise CredentialError(
            ProjectReason.SECRET_INVALID,
            f"Secret {name}: the key `webhookSecret` needs at least {_SHORTEST_WEBHOOK_SECRET} characters: "
            "openssl rand -hex 32",
        )
    if bool(text("appId")) != bool(text("privateKey")):
        raise CredentialError(
            ProjectReason.SECRET_INVALID, f"Secret {name}: `appId` and `privateKey` belong together"
        )
    # A webhook's secret is sent nowhere.
    if not hosts and not webhook_secrets:
        raise CredentialError(
            ProjectReason.SECRET_INVALID,
            f"Secret {name} has no key `hosts`: list there the hosts it may be sent to, such as `github.com`",
        )
    return Credential(
        name=name,
        hosts=hosts,
        api_key=text("apiKey"),
        auth_token=text("authToken"),
        username=text("username", "x-access-token"),
        password=text("password"),
        signing_key=text("signingKey"),
        app_id=text("appId"),
        private_key=text("privateKey"),
        webhook_secrets=webhook_secrets,
    )


def _host(name: str, entry: str) -> str:
    try:
        url = URL(entry if "://" in entry else f"https://{entry}")
        if url.scheme in ("http", "https") and url.host and url.path in ("", "/") and not url.user:
            return origin(url)
    except ValueError:
        pass
    raise CredentialError(
        ProjectReason.SECRET_INVALID,
        f"Secret {name}: `hosts` has {entry!r}: write host, host:port, or http://host:port for plain text",
    )


class Credentials:
    """Reads Secrets, holding each for some seconds."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._held: dict[tuple[str, str], tuple[float, Credential]] = {}

    async def get(self, namespace: str, name: str, *, fresh: bool = False) -> Credential:
        """The credential of a Secret.

        Raises:
            CredentialError: there is none, it can't be read, or it is not usable.
            Refusal: 503, the API server can't be asked and nothing recent is held.
        """
        key = (namespace, name)
        held = self._held.get(key)
        if held is not None and not fresh and time.monotonic() - held[0] < _CACHE_SECONDS:
            return held[1]
        try:
            secret = await self._cluster.secret(namespace, name)
        except ClusterUnavailableError as error:
            raise unavailable(f"Secret {name} can't be read now: {error}") from error
        except ForbiddenError as error:
            raise CredentialError(
                ProjectReason.SECRET_FORBIDDEN,
                f"the gateway may not read Secret {name} in namespace {namespace}: add the namespace to "
                f"the chart's `namespaces`, or bind the gateway's Role there ({error})",
            ) from error
        if secret is None:
            self._held.pop(key, None)
            raise CredentialError(
                ProjectReason.SECRET_NOT_FOUND,
                f"Secret {name} does not exist in namespace {namespace}: create it with the type "
                f"{CREDENTIAL_SECRET_TYPE}",
            )
        credential = read(name, secret)
        self._held[key] = (time.monotonic(), credential)
        return credential
