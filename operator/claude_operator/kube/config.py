"""Where the API server is, and as whom to speak to it.

In a pod: the mounted service account, whose token file kubelet rotates, so it is read again and again.
Outside: a simple kubeconfig (client certificate, token, token file). Exec plugins and OIDC need the official
client and are refused with that advice; the processes of the operator have no use for them.
"""

from __future__ import annotations

import base64
import os
import ssl
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TOKEN_LIFETIME_IN_MEMORY: Final = 60.0
"""Seconds. Kubelet rotates at 80 % of the token's life, which is an hour; client-go re-reads as often."""


class ConfigError(Exception):
    """The configuration can't be used; the message names the file, the field and the remedy."""


@dataclass(slots=True)
class TokenFile:
    """A bearer token in a file that somebody else rotates."""

    path: Path
    _token: str = ""
    _read_at: float = field(default=float("-inf"))

    def token(self, *, fresh: bool = False) -> str:
        """The token; from the file when `fresh`, or when the one in memory is a minute old.

        Raises:
            ConfigError: the file can't be read or is empty.
        """
        now = time.monotonic()
        if fresh or now - self._read_at > TOKEN_LIFETIME_IN_MEMORY:
            try:
                token = self.path.read_text().strip()
            except OSError as error:
                raise ConfigError(f"cannot read the token file {self.path}: {error.strerror}") from error
            if not token:
                raise ConfigError(f"the token file {self.path} is empty")
            self._token, self._read_at = token, now
        return self._token


@dataclass(frozen=True, slots=True)
class ClusterConfig:
    """How to reach one API server."""

    server: str
    """Scheme, host, port and, behind some proxies, a path; no trailing slash."""
    tls: ssl.SSLContext | None
    """None for plain http, which only tests use."""
    token: TokenFile | str | None = None
    namespace: str = "default"
    """Of the pod, or of the kubeconfig's context."""

    def bearer(self, *, fresh: bool = False) -> str | None:
        """The token to send now, if any."""
        return self.token.token(fresh=fresh) if isinstance(self.token, TokenFile) else self.token


def load(kubeconfig: Path | None = None) -> ClusterConfig:
    """Find the configuration: the given file, $KUBECONFIG, the pod's service account, ~/.kube/config.

    Raises:
        ConfigError: none is there, or the one that is can't be used.
    """
    if kubeconfig is not None:
        return from_kubeconfig(kubeconfig)
    if named := os.environ.get("KUBECONFIG"):
        return from_kubeconfig(Path(named))
    if os.environ.get("KUBERNETES_SERVICE_HOST"):
        return in_cluster()
    if (home := Path.home() / ".kube" / "config").exists():
        return from_kubeconfig(home)
    raise ConfigError("no Kubernetes configuration: set KUBECONFIG, or run in a pod with a service account")


def in_cluster(root: Path = SERVICE_ACCOUNT) -> ClusterConfig:
    """The pod's own service account.

    Raises:
        ConfigError: its files or the service's environment variables are missing.
    """
    host = os.environ.get("KUBERNETES_SERVICE_HOST", "")
    port = os.environ.get("KUBERNETES_SERVICE_PORT_HTTPS") or os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host:
        raise ConfigError("KUBERNETES_SERVICE_HOST is not set: this is not a pod")
    token = TokenFile(root / "token")
    token.token()
    try:
        namespace = (root / "namespace").read_text().strip()
        tls = _trusting((root / "ca.crt").read_text())
    except OSError as error:
        raise ConfigError(f"the service account in {root} is incomplete: {error}") from error
    if ":" in host:
        host = f"[{host}]"
    return ClusterConfig(f"https://{host}:{port}", tls, token, namespace)


def from_kubeconfig(path: Path) -> ClusterConfig:
    """The current context of a kubeconfig.

    Raises:
        ConfigError: it can't be read, is incomplete, or logs in by a way that is not supported here.
    """
    try:
        document = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"cannot read the kubeconfig {path}: {error}") from error
    if not isinstance(document, dict) or not document.get("current-context"):
        raise ConfigError(f"{path}: current-context is not set: `kubectl config use-context NAME`")
    context = _entry(path, document, "contexts", "context", document["current-context"])
    cluster = _entry(path, document, "clusters", "cluster", context.get("cluster", ""))
    user = _entry(path, document, "users", "user", context.get("user", "")) if context.get("user") else {}
    for unsupported in ("exec", "auth-provider", "username"):
        if unsupported in user:
            raise ConfigError(
                f"{path}: users[].user.{unsupported} is not supported: use a client certificate or a token"
            )
    for unsupported in ("proxy-url", "tls-server-name"):
        if unsupported in cluster:
            raise ConfigError(f"{path}: clusters[].cluster.{unsupported} is not supported: remove it")
    server = str(cluster.get("server", "")).rstrip("/")
    if not server.startswith(("https://", "http://")):
        raise ConfigError(f"{path}: clusters[].cluster.server must be a URL, not {server!r}")
    tls = _tls(path, cluster, user) if server.startswith("https://") else None
    return ClusterConfig(server, tls, _token(path, user), context.get("namespace") or "default")


def _entry(path: Path, document: dict[str, Any], section: str, key: str, name: str) -> dict[str, Any]:
    for item in document.get(section) or []:
        if item.get("name") == name and isinstance(item.get(key), dict):
            entry: dict[str, Any] = item[key]
            return entry
    raise ConfigError(f"{path}: {section} has no entry named {name!r}")


def _token(path: Path, user: dict[str, Any]) -> TokenFile | str | None:
    if named := user.get("tokenFile"):
        return TokenFile(path.parent / str(named))
    return str(user["token"]) if user.get("token") else None


def _tls(path: Path, cluster: dict[str, Any], user: dict[str, Any]) -> ssl.SSLContext:
    authority = _pem(path, cluster, "certificate-authority")
    tls = _trusting(authority)
    if cluster.get("insecure-skip-tls-verify"):
        tls.check_hostname = False
        tls.verify_mode = ssl.CERT_NONE
    certificate, key = _pem(path, user, "client-certificate"), _pem(path, user, "client-key")
    if bool(certificate) != bool(key):
        raise ConfigError(f"{path}: users[].user needs both client-certificate and client-key")
    if certificate and key:
        # The ssl module loads client certificates from files only; this one is private and short-lived.
        with tempfile.NamedTemporaryFile("w", suffix=".pem") as pair:
            pair.write(f"{certificate}\n{key}\n")
            pair.flush()
            try:
                tls.load_cert_chain(pair.name)
            except ssl.SSLError as error:
                raise ConfigError(f"{path}: client certificate and key don't fit: {error}") from error
    return tls


def _pem(path: Path, entry: dict[str, Any], name: str) -> str | None:
    if data := entry.get(f"{name}-data"):
        return base64.b64decode(data).decode()
    if file := entry.get(name):
        try:
            return (path.parent / str(file)).read_text()
        except OSError as error:
            raise ConfigError(f"{path}: {name}: {error}") from error
    return None


def _trusting(authority: str | None) -> ssl.SSLContext:
    try:
        tls = ssl.create_default_context(cadata=authority)
    except ssl.SSLError as error:
        raise ConfigError(f"the certificate authority is not PEM: {error}") from error
    # Python 3.13 turned this on; the CAs of many clusters lack the extensions that it demands, and every
    # other Kubernetes client accepts them.
    tls.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return tls
