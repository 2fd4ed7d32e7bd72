"""Opening the pull request of a published branch, by the platform and not by the agent.

GitHub's REST shapes, which Gitea and Forgejo share: look for the open one with this head, else create.
Repeating it finds what stands, so a lost answer makes no second one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from sqlalchemy import select, update

from claude_operator.gateway.credentials import CredentialError
from claude_operator.gateway.errors import Refusal
from claude_operator.gateway.github.api import GitHubError, asking
from claude_operator.gateway.github.logins import api_url
from claude_operator.gateway.github.render import harmless
from claude_operator.gateway.journal import append, entry
from claude_operator.gateway.scope import repository_of
from claude_operator.gateway.store import tables
from claude_operator.github.visible import one_line
from claude_operator.resources.lifecycle import ProjectReason, Reason
from claude_operator.wire.session import PullRequestOpened

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from claude_operator.gateway.github.logins import Logins
    from claude_operator.gateway.journal import Journal
    from claude_operator.gateway.live import Grant, Live
    from claude_operator.gateway.projects import Projects
    from claude_operator.gateway.store.database import Store
    from claude_operator.gateway.verdicts import Verdicts
    from claude_operator.wire.session import PullRequestRequest


@dataclass(frozen=True, slots=True)
class PullRequests:
    """The pull-request part of the session port."""

    store: Store
    projects: Projects
    logins: Logins
    journal: Journal
    verdicts: Verdicts

    async def open(self, live: Live, wanted: PullRequestRequest) -> PullRequestOpened:
        """Find the open pull request of the session's branch, or make it.

        Raises:
            Refusal: nothing was published yet, or the host refused.
        """
        try:
            opened = await self._open(live, wanted)
        except (CredentialError, GitHubError) as error:
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
        try:
            api = await self.logins.api(grant.namespace, repository, {"pull_requests": "write"})
        except CredentialError as error:
            if error.reason is ProjectReason.INVALID_SPEC:
                raise Refusal(409, Reason.PUBLISH_REJECTED, str(error)) from error
            raise
        owner, pulls = grant.repository.partition("/")[0], f"/repos/{grant.repository}/pulls"
        head = quote(f"{owner}:{grant.publish_branch}", safe="")
        query = f"state=open&head={head}&base={quote(wanted.base, safe='')}"
        with asking(api_url(repository), f"pull request of {grant.repository}", words=api.words):
            found = await api.getitem(f"{pulls}?{query}")
            # Some hosts ignore the filter: look again.
            for one in found if isinstance(found, list) else []:
                if _ref(one, "head") == grant.publish_branch and _ref(one, "base") == wanted.base:
                    return _opened(one)
            asked = grant.spec.publish.pull_request if grant.spec.publish else None
            own = asked is not None and asked.body is not None and asked.body == wanted.body
            body = {
                "title": one_line(wanted.title, 256),
                # An agent's words, unless the session's author gave the text.
                "body": wanted.body if own else harmless(wanted.body, []),
                "head": grant.publish_branch,
                "base": wanted.base,
                "draft": wanted.draft,
            }
            return _opened(await api.post(pulls, data=body))

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
        raise TypeError("the host's answer names no pull request")
    return PullRequestOpened(url=str(pull.get("html_url", ""))[:2000], number=pull["number"])
