"""The internal port's GitHub requests, each in a few lines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aiohttp import web
from pydantic import ValidationError

from claude_operator.gateway.bodies import read_body, require_parsable
from claude_operator.gateway.clock import utc_now
from claude_operator.gateway.credentials import CredentialError
from claude_operator.gateway.errors import Refusal
from claude_operator.gateway.github import answers, deliveries
from claude_operator.gateway.github.api import GitHubError
from claude_operator.gateway.github.intake import named, triggers_of
from claude_operator.gateway.outbox import queue
from claude_operator.gateway.session.handlers import bearer, body_of, message_response
from claude_operator.resources.choices import repository_of
from claude_operator.wire import github as wire

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from claude_operator.gateway.github.deliveries import Taken
    from claude_operator.gateway.github.facts import Reader
    from claude_operator.gateway.github.intake import Intake
    from claude_operator.gateway.identity import TokenVerifier
    from claude_operator.gateway.projects import Projects
    from claude_operator.gateway.settings import Settings
    from claude_operator.gateway.store.database import Store
    from claude_operator.gateway.wakeups import Wakeups
    from claude_operator.resources.choices import Repository
    from claude_operator.resources.project import GitHubTriggers

_MOST_BODY: Final = 34 * 1024 * 1024
"""GitHub sends no event of more than 25 MiB."""
_MOST_VALUES: Final = 250_000
"""Brackets and commas: nobody has shown a signature yet when they are parsed. Texts hold some."""
_CONFLICT: Final = 409


@dataclass(frozen=True, slots=True)
class GitHubPort:
    """The handlers."""

    settings: Settings
    verifier: TokenVerifier
    store: Store
    projects: Projects
    intake: Intake
    reader: Reader
    wakeups: Wakeups

    def routes(self) -> list[web.RouteDef]:
        """Where they are."""
        one = f"{wire.DELIVERIES_PATH}/{{serial:[0-9]{{1,18}}}}"
        return [
            web.post(wire.DELIVERIES_PATH, self._arrive),
            web.post(f"{wire.DELIVERIES_PATH}/take", self._take),
            web.post(f"{one}/facts", self._facts),
            web.post(f"{one}/done", self._done),
        ]

    async def _caller(self, request: web.Request) -> None:
        await self.verifier.internal(bearer(request), self.settings.internal_subjects)

    async def _arrive(self, request: web.Request) -> web.Response:
        await self._caller(request)
        try:
            arrival = wire.Arrival.model_validate_json(await read_body(request, _MOST_BODY))
        except ValidationError:
            raise Refusal(400, "BadRequest", "not an Arrival") from None
        require_parsable(arrival.body, _MOST_VALUES)
        arrived = await self.intake.verify(arrival)
        now = utc_now()

        def write(connection: Connection) -> list[Taken | None]:
            return [deliveries.keep(connection, one, now) for one in arrived]

        kept = await self.store.write(write) if arrived else []
        new = [one for one in kept if one is not None]
        return message_response(
            wire.Deliveries(deliveries=await self._complete(new), known=len(kept) - len(new))
        )

    async def _take(self, request: web.Request) -> web.Response:
        await self._caller(request)
        now = utc_now()
        taken = await self.store.write(lambda connection: deliveries.take(connection, now))
        return message_response(wire.Deliveries(deliveries=await self._complete(taken)))

    async def _facts(self, request: web.Request) -> web.Response:
        await self._caller(request)
        wanted = await body_of(request, wire.FactsWanted)
        taken = await self._taken(request)
        repository, _ = await self._allowed(taken)
        try:
            facts = await self.reader.read(taken.namespace, taken.project, repository, wanted)
        except (CredentialError, GitHubError) as error:
            raise Refusal(502, "GitHubFailed", str(error)) from error
        return message_response(facts)

    async def _done(self, request: web.Request) -> web.Response:
        await self._caller(request)
        done = await body_of(request, wire.Done)
        serial, now = int(request.match_info["serial"]), utc_now()

        def write(connection: Connection) -> None:
            taken = deliveries.find(connection, serial)
            if taken is None:
                return
            deliveries.finish(connection, serial, now, verdict=done.verdict)
            for made in done.sessions:
                answers.accept(connection, taken, made, now)

        await self.store.write(write)
        if done.sessions:
            self.wakeups.notify(queue.WAKEUP)
        return web.Response(status=204)

    async def _taken(self, request: web.Request) -> Taken:
        serial = int(request.match_info["serial"])
        taken = await self.store.read(lambda connection: deliveries.find(connection, serial))
        if taken is None:
            raise Refusal(404, "NotFound", f"there is no delivery {serial} that is not done")
        return taken

    async def _complete(self, found: list[Taken]) -> list[wire.KeptDelivery]:
        """With the triggers as they are now; a delivery that they no longer cover is done with."""
        complete = []
        for taken in found:
            try:
                _, triggers = await self._allowed(taken)
            except Refusal as refused:
                if refused.status != _CONFLICT:
                    raise  # it stays kept, and is taken later
                serial, why, now = taken.serial, refused.message, utc_now()
                await self.store.write(
                    lambda connection, serial=serial, why=why, now=now: deliveries.finish(  # type: ignore[misc]
                        connection, serial, now, verdict=why
                    )
                )
                continue
            complete.append(
                wire.KeptDelivery(
                    serial=taken.serial,
                    namespace=taken.namespace,
                    project=taken.project,
                    repository=taken.repository,
                    event=taken.event,
                    payload=taken.payload,
                    triggers=triggers,
                    tries=taken.tries,
                )
            )
        return complete

    async def _allowed(self, taken: Taken) -> tuple[Repository, GitHubTriggers]:
        """Where the delivery happened, if the project is still for it.

        Raises:
            Refusal: 409, it no longer is, or there is no such project any more.
        """
        spec = await self.projects.rules(taken.namespace, taken.project)
        triggers = triggers_of(spec)
        if triggers is None or named(taken.repository, spec, triggers) is None:
            raise Refusal(409, "NotForProject", f"the project's triggers no longer name {taken.repository}")
        return repository_of(taken.repository, spec), triggers
