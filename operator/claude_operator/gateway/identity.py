"""Who is calling: service-account tokens, verified offline against the cluster's key set.

TokenReview would cost an API call per request and make the API server's pulse the gateway's. Offline, a
token stays good until it expires even when its pod is gone; that is why nothing is granted by the token
alone: it names a pod uid, and only a pod uid that has claimed and was not fenced may act.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final

import jwt
from pydantic import BaseModel, Field, ValidationError

from claude_operator.gateway.cluster import ClusterUnavailableError
from claude_operator.gateway.errors import Refusal, unavailable
from claude_operator.resources.identity import (
    GATEWAY_AUDIENCE,
    GATEWAY_INTERNAL_AUDIENCE,
    SESSION_SERVICE_ACCOUNT,
)

if TYPE_CHECKING:
    from collections.abc import Collection

    from claude_operator.gateway.cluster import Cluster

_ALGORITHMS: Final = ["RS256", "RS384", "RS512", "ES256", "ES384", "ES512"]
"""What an API server may sign with; never `none`, never a shared key."""
_LEEWAY_SECONDS: Final = 10
_REFRESH_SECONDS: Final = 5.0
"""Least time between two readings of the key set: an unknown key id must not become a request amplifier."""
_MAX_TOKEN: Final = 16_384
_REMEMBERED_SECONDS: Final = 60.0
"""How long a token that was verified is taken as such: the signature costs half a millisecond, and a key
that the cluster has withdrawn must not be good for long."""
_MOST_REMEMBERED: Final = 10_000


@dataclass(frozen=True, slots=True)
class PodIdentity:
    """A session pod, by its token."""

    namespace: str
    pod_name: str
    pod_uid: str


class _Bound(BaseModel):
    name: str
    uid: str


class _Kubernetes(BaseModel):
    namespace: str
    pod: _Bound | None = None
    serviceaccount: _Bound


class _Claims(BaseModel):
    sub: str
    kubernetes: Annotated[_Kubernetes, Field(alias="kubernetes.io")]


class TokenVerifier:
    """Verifies tokens; it holds the cluster's public keys."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._keys: dict[str, jwt.PyJWK] = {}
        self._issuer = ""
        self._verified_before: dict[tuple[str, str], tuple[float, _Claims]] = {}
        self._read_at = float("-inf")
        self._reading = asyncio.Lock()

    async def pod(self, token: str) -> PodIdentity:
        """The session pod that a token of the audience `claude-gateway` belongs to.

        Raises:
            Refusal: 401 when the token is no good, 403 when it is another service account's.
        """
        claims = await self._verified(token, GATEWAY_AUDIENCE)
        bound = claims.kubernetes
        if bound.serviceaccount.name != SESSION_SERVICE_ACCOUNT:
            raise Refusal(
                403,
                "Forbidden",
                f"the token belongs to {claims.sub}; only pods of the service account "
                f"{SESSION_SERVICE_ACCOUNT} may use the session port",
            )
        if bound.pod is None:
            raise Refusal(401, "Unauthorized", "the token is not bound to a pod: use the projected one")
        return PodIdentity(bound.namespace, bound.pod.name, bound.pod.uid)

    async def internal(self, token: str, allowed: Collection[str]) -> str:
        """The subject of a token of the audience `claude-gateway-internal`.

        Raises:
            Refusal: 401 when the token is no good, 403 when its subject is not on the list.
        """
        claims = await self._verified(token, GATEWAY_INTERNAL_AUDIENCE)
        if claims.sub not in allowed:
            raise Refusal(
                403, "Forbidden", f"{claims.sub} may not use the internal port: add it to --internal-subject"
            )
        return claims.sub

    async def _verified(self, token: str, audience: str) -> _Claims:
        if not token or len(token) > _MAX_TOKEN:
            raise Refusal(401, "Unauthorized", "send the service-account token as `Authorization: Bearer`")
        known = self._verified_before.get((token, audience))
        if known is not None and time.time() < known[0]:
            return known[1]
        found, until = await self._verify(token, audience)
        if len(self._verified_before) >= _MOST_REMEMBERED:
            self._verified_before.clear()
        self._verified_before[token, audience] = (until, found)
        return found

    async def _verify(self, token: str, audience: str) -> tuple[_Claims, float]:
        """The claims of a token, and until when they need not be verified again (seconds of the epoch)."""
        try:
            identifier = str(jwt.get_unverified_header(token).get("kid", ""))
            key = await self._key(identifier)
            claims = jwt.decode(
                token,
                key,
                algorithms=_ALGORITHMS,
                audience=audience,
                issuer=self._issuer,
                leeway=_LEEWAY_SECONDS,
                options={"require": ["exp", "iat", "iss", "aud", "sub"]},
            )
            until = min(float(claims["exp"]), time.time() + _REMEMBERED_SECONDS)
            return _Claims.model_validate(claims), until
        except jwt.InvalidTokenError as error:
            raise Refusal(401, "Unauthorized", f"the token is not valid here: {error}") from None
        except ValidationError:
            raise Refusal(401, "Unauthorized", "the token is not a service-account token") from None

    async def _key(self, identifier: str) -> jwt.PyJWK:
        if identifier not in self._keys:
            await self._refresh(identifier)
        key = self._keys.get(identifier)
        if key is None:
            raise jwt.InvalidTokenError(f"the cluster has no signing key {identifier[:64]!r}")
        return key

    async def _refresh(self, identifier: str) -> None:
        async with self._reading:
            # Another request may have read them while this one waited.
            if identifier in self._keys or time.monotonic() - self._read_at < _REFRESH_SECONDS:
                return
            await self.refresh()

    async def refresh(self) -> None:
        """Read issuer and keys; done at start, and when a token names a key that is not known.

        Raises:
            Refusal: 503, the cluster can't be asked.
        """
        try:
            self._issuer = await self._cluster.issuer()
            keys = jwt.PyJWKSet.from_json((await self._cluster.signing_keys()).decode())
        except ClusterUnavailableError as error:
            raise unavailable(f"the cluster's signing keys can't be read: {error}") from error
        self._keys = {key.key_id: key for key in keys.keys if key.key_id}
        self._read_at = time.monotonic()
