"""One try of a callback: judge the URL, find the key, POST, read the status and nothing else.

Where it may go is decided at each try anew, on what holds then: the URL's text, the project's notifyHosts,
and the address that its host resolves to, which is the one that is connected to. A private address is in
order only where a Secret with a signing key lists the origin, as with model and git hosts: whoever may create
sessions, but not Secrets, points at nothing inside. The answer's body is never read, and a redirect never
followed: a callback must not become a way to look at what the gateway can reach.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import orjson
from yarl import URL

from claude_operator.gateway.callbacks.owe import Owed
from claude_operator.gateway.callbacks.signature import (
    DELIVERY_HEADER,
    SIGNATURE_HEADER,
    TIMESTAMP_HEADER,
    sign,
)
from claude_operator.gateway.clock import stamp
from claude_operator.gateway.credentials import CredentialError, origin
from claude_operator.gateway.outbox.delivery import Delivered, GiveUp, Retry
from claude_operator.gateway.upstream import UpstreamError
from claude_operator.resources.callback import CallbackRefusedError, check
from claude_operator.resources.choices import NotAllowedError, require_notify_host
from claude_operator.resources.lifecycle import ProjectReason

if TYPE_CHECKING:
    from claude_operator.gateway.credentials import Credentials
    from claude_operator.gateway.outbox.delivery import Delivery, Result
    from claude_operator.gateway.projects import Projects
    from claude_operator.gateway.upstream import Upstreams
    from claude_operator.resources.project import ProjectSpec

TYPE: Final = "session.finished"
VERSION: Final = 1
"""Of the payload; members are added within a version, never changed or removed."""
_SHORTEST_KEY: Final = 16
_GONE: Final = 410
_LATER: Final = frozenset({429, 503})
"""With these a receiver may say when to come back."""


@dataclass(frozen=True, slots=True)
class Notifier:
    """Delivers the outbox's kind `notify`."""

    projects: Projects
    credentials: Credentials
    upstreams: Upstreams
    seconds: float
    """For one try, up to the answer's headers."""

    async def deliver(self, delivery: Delivery) -> Result:
        """One try.

        Raises:
            Refusal: the project, or a Secret, can't be read now.
        """
        wanted = delivery.wanted
        owed = Owed.model_validate_json(wanted.body)
        rules = await self.projects.rules(wanted.namespace, wanted.project)
        try:
            check(owed.url, private=True)
            url = URL(owed.url, encoded=True).with_fragment(None)
            require_notify_host(owed.url, rules)
            key = await self._key(wanted.namespace, owed, url, rules)
            # Only a Secret opens what is not public; an address in the text is told from a name here, since
            # no later try would find it elsewhere.
            check(owed.url, private=bool(key))
        except CallbackRefusedError as error:
            return GiveUp(f"the URL {error}")
        except NotAllowedError as error:
            return GiveUp(str(error))
        except CredentialError as error:
            return Retry(str(error))
        return await self._post(url, _headers(delivery), _body(delivery, owed), key)

    async def _key(self, namespace: str, owed: Owed, url: URL, rules: ProjectSpec) -> str:
        """The signing key for this origin; empty: the POST goes unsigned."""
        name = owed.secret or rules.notify_secret
        if name is None:
            return ""
        credential = await self.credentials.get(namespace, name)
        if len(credential.signing_key) < _SHORTEST_KEY:
            fault = "is too short" if credential.signing_key else "is missing"
            raise CredentialError(
                ProjectReason.SECRET_INVALID,
                f"Secret {name}: the key `signingKey`, which signs callbacks, {fault}: it needs at least "
                f"{_SHORTEST_KEY} characters, as from `openssl rand -hex 32`",
            )
        if owed.secret is None and not credential.lists(url):
            # The project's key is for the origins that it lists. Signing for any other would hand whoever
            # names one a signed text to show to those.
            return ""
        credential.require(url)
        return credential.signing_key

    async def _post(self, url: URL, headers: dict[str, str], body: bytes, key: str) -> Result:
        if key:
            headers[SIGNATURE_HEADER] = sign(key, headers[TIMESTAMP_HEADER], body)
        try:
            answer = await self.upstreams.send(
                "POST", url, listed=bool(key), headers=headers, body=body, seconds=self.seconds
            )
        except UpstreamError as error:
            return Retry(str(error))
        status, after = answer.status, answer.headers.get("Retry-After", "")
        answer.close()
        if 200 <= status < 300:  # noqa: PLR2004 - success
            return Delivered()
        said = f"{origin(url)} answers {status}"
        if status == _GONE:
            return GiveUp(f"{said}: it wants no callbacks any more")
        if 300 <= status < 400:  # noqa: PLR2004 - redirection
            return Retry(f"{said}: redirects are not followed, name the final URL")
        return Retry(said, after=_seconds(after) if status in _LATER else None)


def _headers(delivery: Delivery) -> dict[str, str]:
    return {
        "Content-Type": "application/json",
        "User-Agent": "claude-operator",
        DELIVERY_HEADER: delivery.id,
        TIMESTAMP_HEADER: str(int(time.time())),
    }


def _body(delivery: Delivery, owed: Owed) -> bytes:
    return orjson.dumps(
        {
            "type": TYPE,
            "version": VERSION,
            "deliveryId": delivery.id,
            "timestamp": stamp(delivery.wanted_at),
            "session": owed.session,
        }
    )


def _seconds(text: str) -> float | None:
    """Retry-After in seconds; its other form, a date, is not worth a parser here."""
    return float(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None  # noqa: PLR2004
