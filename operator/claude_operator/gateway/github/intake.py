"""An event arrives: for which projects is it, and is it GitHub's?

Each project has its own webhook secret, so an event is verified for each project whose triggers name its
repository, with that project's secret, and is that project's event only where the signature holds: whoever
holds one project's secret can start nothing in another's name. Which projects there are is not told: an
unknown repository and a wrong signature get the same answer.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs

import orjson
from gidgethub import ValidationFailure
from gidgethub.sansio import validate_event
from pydantic import ValidationError

from claude_operator.gateway.clock import utc_now
from claude_operator.gateway.credentials import CredentialError
from claude_operator.gateway.errors import Refusal, unavailable
from claude_operator.gateway.github.deliveries import Arrived
from claude_operator.github.event import HANDLED, Envelope, Payload, event_of
from claude_operator.resources.choices import NotAllowedError, repository_of
from claude_operator.wire.github import INVALID_SIGNATURE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from claude_operator.gateway.credentials import Credentials
    from claude_operator.gateway.projects import Projects
    from claude_operator.resources.project import GitHubTriggers, ProjectSpec
    from claude_operator.wire.github import Arrival

_PREFIX: Final = "sha256="
OLDEST: Final = timedelta(days=7)
"""Of an event. Less than what is kept: an event that was forgotten is too old to be taken again."""


@dataclass(frozen=True, slots=True)
class Intake:
    """Verifies events."""

    projects: Projects
    credentials: Credentials

    async def verify(self, request: Arrival) -> list[Arrived]:
        """The event for each of its projects; none where it is one that nothing is done about.

        Raises:
            Refusal: 400, it is no event; 422, no project's secret has signed it; 503.
        """
        if not self.projects.synced.is_set():
            raise unavailable("the projects are not known yet")
        data = _data(request)
        try:
            envelope = Envelope.model_validate(data)
        except ValidationError:
            raise Refusal(400, "BadRequest", "Missing or invalid request body") from None
        place = envelope.repository.place if envelope.repository else ""
        verified = [
            (namespace, project, repository)
            for namespace, project, repository, triggers in self._candidates(place)
            if await self._signed(request, namespace, triggers)
        ]
        if not verified:
            raise Refusal(422, INVALID_SIGNATURE, "Invalid webhook signature")
        if HANDLED.get(request.event) != envelope.action or not place:
            return []
        if event_of(set(data)) != request.event:
            raise Refusal(400, "BadRequest", f"the body is none of the event {request.event[:64]}")
        if not request.delivery_id or not request.delivery_id.isprintable():
            raise Refusal(400, "BadRequest", "X-GitHub-Delivery: expected GitHub's id of the delivery")
        try:
            payload = Payload.model_validate(data)
        except ValidationError:
            raise Refusal(400, "BadRequest", f"the body lacks members of the event {request.event}") from None
        if payload.moment is not None and utc_now() - payload.moment > OLDEST:
            # GitHub redelivers for three days. What is older was recorded, and may be forgotten here.
            return []
        digest = hashlib.sha256(orjson.dumps(data, option=orjson.OPT_SORT_KEYS)).hexdigest()
        return [
            Arrived(
                namespace=namespace,
                project=project,
                delivery_id=request.delivery_id,
                digest=digest,
                repository=repository,
                event=request.event,
                payload=payload.model_dump_json(exclude_none=True),
            )
            for namespace, project, repository in verified
        ]

    def _candidates(self, place: str) -> list[tuple[str, str, str, GitHubTriggers]]:
        """Projects that an event of this repository may be for; without a repository, all (a ping)."""
        found = []
        for namespace, project, spec in self.projects.all():
            triggers = triggers_of(spec)
            if triggers is None:
                continue
            repository = named(place, spec, triggers) if place else ""
            if repository is not None:
                found.append((namespace, project, repository, triggers))
        return found

    async def _signed(self, request: Arrival, namespace: str, triggers: GitHubTriggers) -> bool:
        if triggers.webhook_secret is None:
            return False
        try:
            credential = await self.credentials.get(namespace, triggers.webhook_secret)
        except CredentialError:
            return False  # the project's Ready says so
        # SHA-1, which the library would take as well, is not what we ask GitHub for; and the comparison in
        # constant time takes ASCII alone.
        if not request.signature.startswith(_PREFIX) or not request.signature.isascii():
            return False
        # All are tried, whichever fits: the time tells nothing of their number.
        held = [_holds(request, secret) for secret in credential.webhook_secrets]
        return any(held)


def triggers_of(spec: ProjectSpec) -> GitHubTriggers | None:
    """The project's triggers."""
    return spec.triggers.github if spec.triggers else None


def named(place: str, spec: ProjectSpec, triggers: GitHubTriggers) -> str | None:
    """`host/owner/repo` as a session of the project names it; None: the project is not for it."""
    try:
        repository = repository_of(place, spec)
    except NotAllowedError:
        return None
    if triggers.repositories and not any(
        fnmatchcase(repository.path.lower(), glob.lower()) for glob in triggers.repositories
    ):
        return None
    return f"{repository.host}/{repository.path}"


def _holds(request: Arrival, secret: str) -> bool:
    try:
        validate_event(request.body, signature=request.signature, secret=secret)
    except ValidationFailure:
        return False
    return True


def _data(request: Arrival) -> Mapping[str, Any]:
    """The body's JSON object; GitHub sends it as it is, or in a form's field `payload`."""
    content: bytes | str = request.body
    try:
        if request.content_type == "application/x-www-form-urlencoded":
            content = parse_qs(request.body.decode("ascii"), strict_parsing=True, max_num_fields=4)[
                "payload"
            ][0]
        data = orjson.loads(content)
    except (ValueError, KeyError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise Refusal(400, "BadRequest", "Missing or invalid request body")
    return data
