"""What deciding takes and the event does not tell, read from GitHub."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError
from sqlalchemy import select

from claude_operator.gateway.github.api import GitHubError, asking
from claude_operator.gateway.github.logins import api_url
from claude_operator.gateway.store import tables
from claude_operator.github.event import Account
from claude_operator.wire.github import Facts, Pull, Remark, RepositoryLabel, Suite

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from claude_operator.gateway.github.api import Api
    from claude_operator.gateway.github.logins import Logins
    from claude_operator.gateway.store.database import Store
    from claude_operator.resources.choices import Repository
    from claude_operator.wire.github import FactsWanted

_PAGE: Final = 100
_MOST_PAGES: Final = 3
_NOT_FOUND: Final = 404


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads facts about one repository at a time."""

    logins: Logins
    store: Store

    async def read(self, namespace: str, project: str, repository: Repository, wanted: FactsWanted) -> Facts:
        """What was asked for.

        Raises:
            CredentialError: no login.
            GitHubError: GitHub does not answer as it should.
        """
        name = f"{repository.host}/{repository.path}"
        facts: dict[str, Any] = {}
        if wanted.number is not None and wanted.reviewed_at is not None:
            number, commit = wanted.number, wanted.reviewed_at
            facts["reviewed"] = await self.store.read(
                lambda connection: _reviewed(connection, (namespace, project, name), number, commit)
            )
        permissions = _permissions(wanted)
        if not permissions:
            return Facts.model_validate(facts)
        api = await self.logins.api(namespace, repository, permissions)
        base, repo = api_url(repository), f"/repos/{repository.path}"
        try:
            if wanted.number is not None and wanted.pull:
                with asking(base, f"pull request {wanted.number} of {repository.path}"):
                    facts["pull"] = _pull(await api.getitem(f"{repo}/pulls/{wanted.number}"))
        except GitHubError as error:
            if error.status != _NOT_FOUND:
                raise
        if wanted.number is not None and wanted.thread:
            with asking(base, f"comments on {wanted.number} of {repository.path}"):
                comments = await _pages(api, f"{repo}/issues/{wanted.number}/comments?per_page={_PAGE}")
                facts["thread"] = [_remark(one) for one in comments]
        if wanted.labels:
            with asking(base, f"labels of {repository.path}"):
                labels = await _pages(api, f"{repo}/labels?per_page={_PAGE}")
                facts["labels"] = [
                    RepositoryLabel(name=one["name"], description=one.get("description") or "")
                    for one in labels
                ]
        if wanted.suites_of is not None:
            with asking(base, f"check suites of {wanted.suites_of[:12]} of {repository.path}"):
                suites = await _pages(
                    api,
                    f"{repo}/commits/{wanted.suites_of}/check-suites?per_page={_PAGE}",
                    key="check_suites",
                )
                facts["suites"] = [_suite(one) for one in suites]
        return Facts.model_validate(facts)


def _permissions(wanted: FactsWanted) -> dict[str, str]:
    """The least that an App's token needs for it."""
    permissions: dict[str, str] = {}
    if wanted.number is not None and wanted.pull:
        permissions["pull_requests"] = "read"
    if wanted.number is not None and wanted.thread:
        permissions["issues"] = "read"
        permissions["pull_requests"] = "read"
    if wanted.labels:
        permissions["issues"] = "read"
    if wanted.suites_of is not None:
        permissions["checks"] = "read"
    return permissions


async def _pages(api: Api, url: str, *, key: str = "items") -> list[Any]:
    """The first pages of a list."""
    found: list[Any] = []
    async for one in api.getiter(url, iterable_key=key):
        found.append(one)
        if len(found) >= _PAGE * _MOST_PAGES:
            break
    return list(islice(found, _PAGE * _MOST_PAGES))


def _reviewed(connection: Connection, where: tuple[str, str, str], number: int, commit: str) -> bool:
    table = tables.github_answers
    namespace, project, repository = where
    found = connection.execute(
        select(table.c.session_uid).where(
            table.c.repository == repository,
            table.c.number == number,
            table.c.commit == commit,
            table.c.namespace == namespace,
            table.c.project == project,
        )
    )
    return found.first() is not None


def _pull(data: Any) -> Pull:
    head, base = data["head"], data["base"]
    author = Account.model_validate(data["user"] or {"login": "ghost"})
    try:
        return Pull(
            number=data["number"],
            title=data.get("title") or "",
            body=data.get("body") or "",
            author=author.login,
            author_is_bot=author.bot,
            open=data.get("state") == "open",
            draft=bool(data.get("draft")),
            head_sha=head["sha"],
            head_ref=head["ref"],
            head_repository=head["repo"]["full_name"] if head.get("repo") else None,
            base_ref=base["ref"],
            base_repository=base["repo"]["full_name"],
        )
    except ValidationError as error:
        raise ValueError("not a pull request") from error


def _remark(data: Any) -> Remark:
    user = data.get("user") or {}
    return Remark(
        id=data.get("id") or 0,
        author=user.get("login") or "ghost",
        body=data.get("body") or "",
        created_at=data.get("created_at") or "",
    )


def _suite(data: Any) -> Suite:
    return Suite(
        id=data.get("id") or 0,
        app=(data.get("app") or {}).get("slug") or "",
        status=data.get("status") or "",
        conclusion=data.get("conclusion"),
        runs=data.get("latest_check_runs_count") or 0,
    )
