"""With which login a repository's host is asked: a token from the Secret, or one of a GitHub App.

An App's Secret holds no token. One is minted for a repository and the permissions of one act (a comment needs
no write access to code), never with `workflows`, held until shortly before it expires, and used wherever the
token of a Secret would be: by the git proxy, for pull requests, for answers.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Final

import jwt as pyjwt
from gidgethub import apps
from yarl import URL

from claude_operator.gateway.credentials import CredentialError
from claude_operator.gateway.github.api import Api, GitHubError, asking
from claude_operator.resources.lifecycle import ProjectReason

if TYPE_CHECKING:
    from collections.abc import Mapping

    from claude_operator.gateway.credentials import Credential, Credentials
    from claude_operator.gateway.upstream import Upstreams
    from claude_operator.resources.choices import Repository

GITHUB_API: Final = "https://api.github.com"
READ_CODE: Final = {"contents": "read"}
WRITE_CODE: Final = {"contents": "write"}
_EARLY_SECONDS: Final = 300.0
"""A token is not used in its last minutes: a clone may take some."""
_MOST_HELD: Final = 1000


@dataclass(slots=True)
class Logins:
    """Credentials of repository hosts, ready to use."""

    credentials: Credentials
    upstreams: Upstreams
    _held: dict[tuple[object, ...], tuple[float, str]] = field(default_factory=dict)

    async def api(self, namespace: str, repository: Repository, permissions: Mapping[str, str]) -> Api:
        """The host's REST API.

        Raises:
            CredentialError: the project names none, or a Secret that can't be used.
            GitHubError: no token is to be had.
        """
        base = api_url(repository)
        credential = await self.credential(namespace, repository, permissions)
        _require(credential, base)
        return Api(self.upstreams, base, credential, oauth_token=credential.password)

    async def credential(
        self, namespace: str, repository: Repository, permissions: Mapping[str, str]
    ) -> Credential:
        """The credential, with a password.

        Raises:
            CredentialError: the project names none, or its Secret can't be used.
            GitHubError: the App gets no token.
        """
        name = repository.entry.credentials_secret
        if name is None:
            raise CredentialError(
                ProjectReason.INVALID_SPEC, f"repositoryHosts[{repository.host}] has no credentialsSecret"
            )
        credential = await self.credentials.get(namespace, name)
        if not credential.app_id:
            return credential
        base = api_url(repository)
        _require(credential, base)
        token = await self._token(credential, base, repository.path, permissions)
        return replace(credential, username="x-access-token", password=token)

    async def _token(
        self, credential: Credential, base: URL, path: str, permissions: Mapping[str, str]
    ) -> str:
        # Of the key as well: a replaced one must not live on in its tokens.
        key = (
            base,
            path.lower(),
            credential.app_id,
            hash(credential.private_key),
            *sorted(permissions.items()),
        )
        held = self._held.get(key)
        if held is not None and time.time() < held[0] - _EARLY_SECONDS:
            return held[1]
        try:
            jwt = apps.get_jwt(app_id=credential.app_id, private_key=credential.private_key, expiration=540)
        except (pyjwt.PyJWTError, ValueError, TypeError) as error:
            raise CredentialError(
                ProjectReason.SECRET_INVALID,
                f"Secret {credential.name}: the key `privateKey` is no RSA key in PEM form",
            ) from error
        try:
            token, expires = await _mint(Api(self.upstreams, base, credential), base, path, jwt, permissions)
        except GitHubError as error:
            # Without its status: that no token is to be had says nothing of what it was wanted for.
            raise GitHubError(f"token of App {credential.app_id} for {error}", after=error.after) from error
        if len(self._held) >= _MOST_HELD:
            self._held.clear()
        self._held[key] = (expires, token)
        return token


async def _mint(
    api: Api, base: URL, path: str, jwt: str, permissions: Mapping[str, str]
) -> tuple[str, float]:
    """A token, and the Unix time until which it is good."""
    with asking(base, path):
        installation = await api.getitem(f"/repos/{path}/installation", jwt=jwt)
        minted = await api.post(
            f"/app/installations/{int(installation['id'])}/access_tokens",
            data={"repositories": [path.partition("/")[2]], "permissions": dict(permissions)},
            jwt=jwt,
        )
        token, expires = minted["token"], datetime.fromisoformat(minted["expires_at"]).timestamp()
        if not isinstance(token, str) or not token:
            raise TypeError("no token")
        return token, expires


def api_url(repository: Repository) -> URL:
    """The base of the host's REST API.

    Raises:
        CredentialError: the project does not name it.
    """
    entry = repository.entry
    base = entry.api_url or (GITHUB_API if repository.host == "github.com" else None)
    if base is None:
        raise CredentialError(
            ProjectReason.INVALID_SPEC,
            f"repositoryHosts[{repository.host}] of the ClaudeProject has no apiURL",
        )
    return URL(base.rstrip("/"))


def _require(credential: Credential, base: URL) -> None:
    # github.com's API is github.com's: its Secret need not name both.
    if str(base) != GITHUB_API or "github.com" not in credential.hosts:
        credential.require(base)
