"""Opening the pull request of a published branch, by the platform and not by the agent.

GitHub's REST shapes, which Gitea and Forgejo share: look for the open one with this head, else create.
Repeating it finds what stands, so a lost answer makes no second one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import orjson
from sqlalchemy import select, update
from yarl import URL

from claude_operator.gateway.credentials import CredentialError
from claude_operator.gateway.errors import Refusal
from claude_operator.gateway.journal import append, entry
from claude_operator.gateway.scope import repository_of
from claude_operator.gateway.scrub import Scrubber
from claude_operator.gateway.store import tables
from claude_operator.gateway.upstream import UpstreamError
from claude_operator.resources.lifecycle import Reason
from claude_operator.wire.session import PullRequestOpened

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from claude_operator.gateway.credentials import Credential, Credentials
    from claude_operator.gateway.journal import Journal
    from claude_operator.gateway.live import Grant, Live
    from claude_operator.gateway.projects import Projects
    from claude_operator.gateway.store.database import Store
    from claude_operator.gateway.upstream import Upstreams
    from claude_operator.gateway.verdicts import Verdicts
    from claude_operator.resources.choices import Repository
    from claude_operator.wire.session import PullRequestRequest

_GITHUB: Final = "https://api.github.com"
_MOST_ANSWER: Final = 4 * 1024 * 1024
_SECONDS: Final = 60
_OK: Final = 200
_CREATED: Final = 201


@dataclass(frozen=True, slots=True)
class PullRequests:
    """The pull-request part of the session port."""

    store: Store
    projects: Projects
    credentials: Credentials
    upstreams: Upstreams
    journal: Journal
    verdicts: Verdicts

    async def open(self, live: Live, wanted: PullRequestRequest) -> PullRequestOpened:
        """Find the open pull request of the session's branch, or make it.

        Raises:
            Refusal: nothing was published yet, or the host refused.
        """
        try:
            opened = await self._open(live, wanted)
        except (CredentialError, UpstreamError) as error:
            raise self._failed(live, 502, str(error)) from error
        grant = live.grant
        await self.store.write(lambda connection: _keep(connection, grant, opened))
        self.verdicts.clear(live, "pull-request")
        return opened

    async def _open(self, live: Live, wanted: PullRequestRequest) -> PullRequestOpened:
        grant = live.grant
        published = select(tables.sessions.c.published_branch).where(
            tables.sessions.c.uid == grant.session_uid
        )
        if await self.store.read(lambda connection: connection.execute(published).scalar()) is None:
            raise Refusal(409, Reason.PUBLISH_REJECTED, f"push {grant.publish_branch} first")
        rules = await self.projects.rules(grant.namespace, grant.project)
        repository = repository_of(grant.spec, rules)
        base, credential = await self._host(live, repository)
        owner = grant.repository.partition("/")[0]
        pulls = URL(f"{base}/repos/{grant.repository}/pulls", encoded=True)
        query = {"state": "open", "head": f"{owner}:{grant.publish_branch}", "base": wanted.base}
        found = await self._ask(live, "GET", pulls.with_query(query), credential)
        # Some hosts ignore the filter: look again.
        for one in found if isinstance(found, list) else []:
            if _ref(one, "head") == grant.publish_branch and _ref(one, "base") == wanted.base:
                return _opened(one)
        body = {
            "title": wanted.title,
            "body": wanted.body,
            "head": grant.publish_branch,
            "base": wanted.base,
            "draft": wanted.draft,
        }
        return _opened(await self._ask(live, "POST", pulls, credential, body))

    async def _host(self, live: Live, repository: Repository) -> tuple[str, Credential]:
        entry_ = repository.entry
        base = entry_.api_url or (_GITHUB if repository.host == "github.com" else None)
        if base is None:
            raise Refusal(
                409,
                Reason.PUBLISH_REJECTED,
                f"repositoryHosts[{repository.host}] of the ClaudeProject has no apiURL",
            )
        if entry_.credentials_secret is None:
            raise Refusal(
                409, Reason.PUBLISH_REJECTED, f"repositoryHosts[{repository.host}] has no credentialsSecret"
            )
        credential = await self.credentials.get(live.grant.namespace, entry_.credentials_secret)
        # github.com's API is github.com's: its Secret need not name both.
        if base != _GITHUB or "github.com" not in credential.hosts:
            credential.require(URL(base))
        return base.rstrip("/"), credential

    async def _ask(
        self, live: Live, method: str, url: URL, credential: Credential, body: dict[str, Any] | None = None
    ) -> Any:
        headers = {
            "Accept": "application/vnd.github+json",
            "Content-Type": "application/json",
            "User-Agent": "claude-operator",
            "X-GitHub-Api-Version": "2022-11-28",
            "Authorization": f"Bearer {credential.password}",
        }
        data = None if body is None else orjson.dumps(body)
        answer = await self.upstreams.send(
            method, url, listed=credential.lists(url), headers=headers, body=data, seconds=_SECONDS
        )
        try:
            raw = await answer.content.read(_MOST_ANSWER)
            while chunk := await answer.content.read(_MOST_ANSWER):
                raw += chunk
                if len(raw) > _MOST_ANSWER:
                    raise self._failed(live, 502, f"{url.host}: the answer is too large")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise UpstreamError(f"{url.host}: the connection broke") from error
        finally:
            answer.close()
        if answer.status not in (_OK, _CREATED):
            said = Scrubber(credential.traces()).text(_message(raw))
            raise self._failed(
                live, 502, f"{url.host} answers {answer.status} to {method} {url.path}: {said}"
            )
        try:
            return orjson.loads(raw)
        except orjson.JSONDecodeError:
            raise self._failed(live, 502, f"{url.host}: the answer is not JSON") from None

    def _failed(self, live: Live, status: int, message: str) -> Refusal:
        text = f"the pull request could not be opened: {message}"
        self.journal.note_of(live, "pull_request_failed", {"message": text})
        self.verdicts.set(live, "pull-request", Reason.PUBLISH_REJECTED, text)
        return Refusal(status, Reason.PUBLISH_REJECTED, text)


def _keep(connection: Connection, grant: Grant, opened: PullRequestOpened) -> None:
    sessions = tables.sessions
    mine = sessions.c.uid == grant.session_uid
    before = connection.execute(select(sessions.c.pull_request_url).where(mine)).scalar()
    connection.execute(
        update(sessions).where(mine).values(pull_request_url=opened.url, pull_request_number=opened.number)
    )
    if before != opened.url:
        told = entry("pull_request", {"url": opened.url, "number": opened.number})
        append(connection, grant.session_uid, grant.attempt, "gateway", [told])


def _ref(pull: Any, side: str) -> str:
    value = pull.get(side) if isinstance(pull, dict) else None
    return str(value.get("ref")) if isinstance(value, dict) else ""


def _opened(pull: Any) -> PullRequestOpened:
    if not isinstance(pull, dict) or not isinstance(pull.get("number"), int):
        raise UpstreamError("the host's answer names no pull request")
    return PullRequestOpened(url=str(pull.get("html_url", ""))[:2000], number=pull["number"])


def _message(raw: bytes) -> str:
    """GitHub's words, with the list of what it does not like about the fields."""
    try:
        said = orjson.loads(raw)
        errors = [str(one.get("message") or one.get("code")) for one in said.get("errors") or []]
        return "; ".join([str(said["message"]), *errors])[:500]
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return "no readable error"
