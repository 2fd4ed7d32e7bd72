"""Carrying the three endpoints to the git host and back, with the credential added and the push fenced."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import aiohttp
from aiohttp import web
from yarl import URL

from claude_operator.gateway.bodies import pieces
from claude_operator.gateway.credentials import CredentialError
from claude_operator.gateway.errors import Refusal
from claude_operator.gateway.git import pushes
from claude_operator.gateway.git.paths import Endpoint, Service, endpoint
from claude_operator.gateway.git.pktline import PktLineError
from claude_operator.gateway.git.push import Push, PushReader, refusal, rejection
from claude_operator.gateway.git.report import RefReader, ReportReader
from claude_operator.gateway.git.target import Target, explain
from claude_operator.gateway.github.api import GitHubError
from claude_operator.gateway.github.logins import READ_CODE, WRITE_CODE
from claude_operator.gateway.scope import repository_of, web_url
from claude_operator.gateway.scrub import Scrubber
from claude_operator.gateway.upstream import UpstreamError
from claude_operator.resources.lifecycle import Reason

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from claude_operator.gateway.github.logins import Logins
    from claude_operator.gateway.journal import Journal
    from claude_operator.gateway.live import Live
    from claude_operator.gateway.projects import Projects
    from claude_operator.gateway.store.database import Store
    from claude_operator.gateway.upstream import Upstreams
    from claude_operator.gateway.verdicts import Verdicts

_AGENT: Final = "git/2.40 claude-operator"
_MOST_DISCARDED: Final = 256 * 1024 * 1024
_DISCARD_SECONDS: Final = 60
_COMMANDS_SECONDS: Final = 60
_VERSIONS: Final = frozenset({"version=1", "version=2"})


@dataclass(slots=True)
class _Upload:
    """A body on its way to the host. When it breaks, so does the answer, which the host may have begun."""

    begun: bytes = b""
    """What has been read of it already."""
    answer: aiohttp.ClientResponse | None = None

    async def pieces(self, request: web.Request) -> AsyncIterator[bytes]:
        """All of it, as it comes."""
        if self.begun:
            yield self.begun
        try:
            async for piece in pieces(request):
                yield piece
        except Exception:
            # The pod has gone, or sends nothing more: aiohttp would wait on for the rest of the answer.
            if self.answer is not None:
                self.answer.close()
            raise


class GitProxy:
    """The git part of the session port."""

    def __init__(
        self,
        *,
        store: Store,
        projects: Projects,
        logins: Logins,
        upstreams: Upstreams,
        journal: Journal,
        verdicts: Verdicts,
    ) -> None:
        self._store = store
        self._projects = projects
        self._logins = logins
        self._upstreams = upstreams
        self._journal = journal
        self._verdicts = verdicts

    async def handle(self, request: web.Request, live: Live) -> web.StreamResponse:
        """One request of the session's pod.

        Raises:
            Refusal: not one of the endpoints, not the session's repository, or the host failed.
        """
        try:
            wanted = endpoint(request.method, request.raw_path)
            self._require_own(live, wanted)
        except Refusal as refused:
            self._journal.note_of(live, "git_refused", {"message": refused.message})
            raise
        if wanted.service is Service.RECEIVE_PACK:
            live.require_push()
            self._require_writer(live)
        target = await self._target(live, wanted)
        if wanted.advertisement:
            return await self._advertise(request, live, wanted, target)
        if wanted.service is Service.UPLOAD_PACK:
            return await self._fetch(request, live, wanted, target)
        return await self._push(request, live, wanted, target)

    def _require_own(self, live: Live, wanted: Endpoint) -> None:
        grant = live.grant
        if (wanted.host, wanted.repository) != (grant.host, grant.repository):
            raise Refusal(
                403,
                "GitRefused",
                f"{wanted.host}/{wanted.repository} is not this session's repository "
                f"({grant.host}/{grant.repository})",
            )

    def _require_writer(self, live: Live) -> None:
        if live.grant.spec.read_only:
            why = "this session may not push (spec.readOnly)"
            self._journal.note_of(live, "push_refused", {"message": why})
            raise Refusal(403, Reason.PUBLISH_REJECTED, why)

    async def _target(self, live: Live, wanted: Endpoint) -> Target:
        grant = live.grant
        rules = await self._projects.rules(grant.namespace, grant.project)
        repository = repository_of(grant.spec, rules)
        url = URL(f"{web_url(repository)}.git/{wanted.rest}", encoded=True)
        credential = None
        if repository.entry.credentials_secret is not None:
            write = wanted.service is Service.RECEIVE_PACK
            try:
                credential = await self._logins.credential(
                    grant.namespace, repository, WRITE_CODE if write else READ_CODE
                )
                credential.require(url)
            except CredentialError as error:
                raise self._failed(live, wanted, 403, str(error)) from error
            except GitHubError as error:
                raise self._failed(live, wanted, 502, str(error)) from error
        return Target(url, credential, f"{grant.host}/{grant.repository}")

    async def _advertise(
        self, request: web.Request, live: Live, wanted: Endpoint, target: Target
    ) -> web.StreamResponse:
        answer = await self._send(request, live, wanted, target, None)
        if wanted.service is Service.UPLOAD_PACK:
            return await self._relay(request, live, wanted, target, answer)
        ours = RefReader(f"refs/heads/{live.grant.publish_branch}")

        async def record() -> None:
            if ours.value is not None:
                commit = ours.value
                await self._store.write(lambda connection: pushes.found(connection, live.grant, commit))

        return await self._relay(request, live, wanted, target, answer, reader=ours, before_end=record)

    async def _fetch(
        self, request: web.Request, live: Live, wanted: Endpoint, target: Target
    ) -> web.StreamResponse:
        upload = _Upload()
        upload.answer = answer = await self._send(request, live, wanted, target, upload.pieces(request))
        return await self._relay(request, live, wanted, target, answer)

    async def _push(
        self, request: web.Request, live: Live, wanted: Endpoint, target: Target
    ) -> web.StreamResponse:
        try:
            push, rest = await _commands(request)
        except Refusal as refused:
            self._journal.note_of(live, "git_refused", {"message": refused.message})
            raise
        grant = live.grant
        own = await self._store.read(lambda connection: pushes.own_commits(connection, grant))
        why = refusal(push, grant.publish_branch, own)
        if not why and not push.commands and (rest or await anext(pieces(request), b"")):
            # What follows the probe was judged by nobody; a host may read it as the commands that it lacks.
            why = "a push without commands must be empty"
        if why:
            return await self._reject(request, live, push, why)
        commit = push.commands[0].new if push.commands else ""
        if commit:
            await self._store.write(lambda connection: pushes.expect(connection, grant, commit))
            live.require_push()  # it may have been fenced while the commands were read

        upload = _Upload(push.encode() + rest)
        upload.answer = answer = await self._send(request, live, wanted, target, upload.pieces(request))
        report = ReportReader(push.side_band)

        async def record() -> None:
            if commit:
                await self._record(live, target, report, commit)

        return await self._relay(request, live, wanted, target, answer, reader=report, before_end=record)

    async def _record(self, live: Live, target: Target, report: ReportReader, commit: str) -> None:
        """Keep what the host has said of a push."""
        grant = live.grant
        ref = f"refs/heads/{grant.publish_branch}"
        if report.unpacked and ref in report.accepted:
            await self._store.write(lambda connection: pushes.accepted(connection, grant, commit))
            self._verdicts.clear(live, "push")
        elif ref in report.rejected:
            scrub = Scrubber(target.credential.traces() if target.credential else ())
            said = scrub.text(report.rejected[ref][:300])
            self._note_rejected(live, f"{target.name} rejected the push: {said}")

    async def _reject(self, request: web.Request, live: Live, push: Push, why: str) -> web.StreamResponse:
        """Refuse in git's own words where the client reads a report; it prints them."""
        self._note_rejected(live, why)
        if not push.reports:
            raise Refusal(403, Reason.PUBLISH_REJECTED, why)
        # git sends its whole pack before it reads.
        discarded = 0
        try:
            async with asyncio.timeout(_DISCARD_SECONDS):
                async for piece in pieces(request):
                    discarded += len(piece)
                    if discarded > _MOST_DISCARDED:
                        raise Refusal(403, Reason.PUBLISH_REJECTED, why)
        except TimeoutError:
            raise Refusal(403, Reason.PUBLISH_REJECTED, why) from None
        return web.Response(body=rejection(push, why), content_type="application/x-git-receive-pack-result")

    def _note_rejected(self, live: Live, why: str) -> None:
        self._journal.note_of(live, "push_refused", {"message": why})
        self._verdicts.set(live, "push", Reason.PUBLISH_REJECTED, why)

    async def _send(
        self,
        request: web.Request,
        live: Live,
        wanted: Endpoint,
        target: Target,
        body: AsyncIterator[bytes] | None,
    ) -> aiohttp.ClientResponse:
        headers = {"User-Agent": _AGENT, "Accept-Encoding": "identity"}
        if target.credential is not None and (basic := target.credential.basic()):
            headers["Authorization"] = basic
        if wanted.service is Service.UPLOAD_PACK and request.headers.get("Git-Protocol") in _VERSIONS:
            headers["Git-Protocol"] = request.headers["Git-Protocol"]
        if body is not None:
            headers["Content-Type"] = f"application/x-{wanted.service}-request"
            headers["Accept"] = f"application/x-{wanted.service}-result"
            if wanted.service is Service.UPLOAD_PACK and request.headers.get("Content-Encoding") == "gzip":
                headers["Content-Encoding"] = "gzip"
        try:
            answer = await self._upstreams.send(
                request.method, target.url, listed=target.listed, headers=headers, body=body
            )
        except UpstreamError as error:
            raise self._failed(live, wanted, 502, f"{target.name} can't be reached: {error}") from error
        if answer.status == 200:  # noqa: PLR2004 - HTTP
            return answer
        answer.close()
        raise self._failed(live, wanted, *explain(answer.status, target))

    def _failed(self, live: Live, wanted: Endpoint, status: int, message: str) -> Refusal:
        """The host failed; upstream bodies and headers are never passed on, they could hold anything."""
        self._journal.note_of(live, "git_failed", {"service": wanted.service.value, "message": message})
        if wanted.service is Service.UPLOAD_PACK:
            reason, area = Reason.CLONE_FAILED, "fetch"
        else:
            reason, area = Reason.PUBLISH_REJECTED, "push"
        self._verdicts.set(live, area, reason, message)
        return Refusal(status, reason, message)

    async def _relay(
        self,
        request: web.Request,
        live: Live,
        wanted: Endpoint,
        target: Target,
        answer: aiohttp.ClientResponse,
        *,
        reader: ReportReader | RefReader | None = None,
        before_end: Callable[[], Awaitable[None]] | None = None,
    ) -> web.StreamResponse:
        kind = "advertisement" if wanted.advertisement else "result"
        response = web.StreamResponse(
            headers={
                "Content-Type": f"application/x-{wanted.service}-{kind}",
                "Cache-Control": "no-cache",
            }
        )
        scrub = Scrubber(target.credential.traces() if target.credential else ())
        connected = True
        try:
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                if reader is not None:
                    reader.feed(chunk)
                if connected and (clean := scrub.feed(chunk)):
                    connected = await _write(response, clean)
                if not connected and reader is None:
                    return response
        except (aiohttp.ClientError, OSError, TimeoutError):
            self._failed(live, wanted, 502, f"{target.name}: the connection broke")
            if request.transport is not None:
                request.transport.abort()  # an orderly end would make a broken answer look whole
            return response
        finally:
            answer.close()
        # What the host has accepted is on record before the client can act on it, and also when it has gone.
        if before_end is not None:
            await before_end()
        elif wanted.service is Service.UPLOAD_PACK:
            self._verdicts.clear(live, "fetch")
        if connected and await _write(response, scrub.flush()):
            await response.write_eof()
        return response


async def _write(response: web.StreamResponse, data: bytes) -> bool:
    """Pass bytes on; False: the client has gone."""
    try:
        if data:
            await response.write(data)
    except ConnectionError:
        return False
    return True


async def _commands(request: web.Request) -> tuple[Push, bytes]:
    """The commands of a push, and what was read beyond them."""
    # A compressed delete command would pass unseen; git compresses fetches only.
    if "Content-Encoding" in request.headers:
        raise Refusal(415, "GitRefused", "a push must not be compressed (Content-Encoding)")
    if request.content_type != "application/x-git-receive-pack-request":
        raise Refusal(415, "GitRefused", "the body of a push is application/x-git-receive-pack-request")
    reader = PushReader()
    try:
        async with asyncio.timeout(_COMMANDS_SECONDS):
            while True:
                chunk = await request.content.readany()
                if not chunk:
                    raise Refusal(400, "GitRefused", "the push ends before its commands do")
                if (push := reader.feed(chunk)) is not None:
                    return push, bytes(reader.data[push.end :])
    except PktLineError as error:
        raise Refusal(400, "GitRefused", f"not a push: {error}") from None
    except TimeoutError:
        raise Refusal(
            408, "GitRefused", f"the commands of the push did not come within {_COMMANDS_SECONDS} s"
        ) from None
