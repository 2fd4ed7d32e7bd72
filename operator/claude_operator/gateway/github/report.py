"""Bringing GitHub up to date with a session: a kind of the outbox.

Each try looks at the record and makes GitHub show it: review and labels once the session has succeeded, and
one comment, made once and changed in place. What was made is remembered with the outbox's row; a crash
between GitHub's answer and that note is mended by looking for our marker before anything is made.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from pydantic import BaseModel
from sqlalchemy import select

from claude_operator.gateway import records
from claude_operator.gateway.credentials import CredentialError
from claude_operator.gateway.errors import Refusal
from claude_operator.gateway.github import answers
from claude_operator.gateway.github.api import GitHubError, asking
from claude_operator.gateway.github.intake import named, triggers_of
from claude_operator.gateway.github.logins import api_url
from claude_operator.gateway.github.render import State, comment, marker
from claude_operator.gateway.github.review import labels_of, review_of
from claude_operator.gateway.outbox.delivery import Delivered, GiveUp, Retry
from claude_operator.gateway.scope import web_url
from claude_operator.gateway.store import tables
from claude_operator.resources.choices import repository_of
from claude_operator.resources.lifecycle import Phase
from claude_operator.wire.github import Form

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection
    from yarl import URL

    from claude_operator.gateway.github.api import Api
    from claude_operator.gateway.github.logins import Logins
    from claude_operator.gateway.outbox.delivery import Delivery, Result
    from claude_operator.gateway.projects import Projects
    from claude_operator.gateway.store.database import Store
    from claude_operator.resources.choices import Repository
    from claude_operator.resources.project import GitHubTriggers
    from claude_operator.wire.github import Answer

_CONFLICT: Final = 409
_GONE: Final = 410
_INVALID: Final = 422
_NOT_FOUND: Final = 404


class _Made(BaseModel):
    """What the outbox remembers."""

    comment: int = 0
    review: int = 0
    review_url: str = ""
    labelled: bool = False


@dataclass(frozen=True, slots=True)
class _Job:
    """One try."""

    uid: str
    answer: Answer
    state: State
    output: Mapping[str, Any] | None
    since: str
    api: Api
    base: URL
    path: str
    """`owner/repo`."""
    triggers: GitHubTriggers

    @property
    def mentions(self) -> list[str]:
        own = [self.triggers.mention] if self.triggers.mention else []
        return [*own, *(f"@{bot.removeprefix('@').removesuffix('[bot]')}" for bot in self.triggers.bots)]

    def asking(self, what: str) -> Any:
        return asking(self.base, f"{what} on {self.path}#{self.answer.number}")


@dataclass(frozen=True, slots=True)
class Reporter:
    """Delivers the outbox's kind `github`."""

    store: Store
    projects: Projects
    logins: Logins

    async def deliver(self, delivery: Delivery) -> Result:
        """One try."""
        made = _Made.model_validate_json(delivery.kept or "{}")
        try:
            job = await self._job(delivery.wanted.session_uid)
            if isinstance(job, GiveUp):
                return job
            if job.state.phase == Phase.SUCCEEDED:
                made = await self._result(job, made)
            if job.answer.status_comment:
                made = made.model_copy(update={"comment": await self._comment(job, made)})
        except CredentialError as error:
            return Retry(str(error))
        except GitHubError as error:
            if error.status in {_GONE, _INVALID}:
                return GiveUp(str(error))
            return Retry(str(error), after=error.after)
        return Delivered(kept=made.model_dump_json(exclude_defaults=True))

    async def _job(self, uid: str) -> _Job | GiveUp:
        row = await self.store.read(lambda connection: answers.row_of(connection, uid))
        if row is None:
            return GiveUp("nothing tells where the answer goes")
        try:
            spec = await self.projects.rules(row.namespace, row.project)
        except Refusal as refused:
            if refused.status != _CONFLICT:
                raise
            return GiveUp(refused.message)
        triggers = triggers_of(spec)
        if triggers is None or named(row.repository, spec, triggers) is None:
            return GiveUp(f"the project's triggers no longer name {row.repository}")
        repository = repository_of(row.repository, spec)
        answer = answers.answer_of(row)
        state, output = await self.store.read(lambda connection: _state(connection, uid, repository))
        api = await self.logins.api(row.namespace, repository, _permissions(answer))
        return _Job(
            uid, answer, state, output, row.created_at, api, api_url(repository), repository.path, triggers
        )

    async def _result(self, job: _Job, made: _Made) -> _Made:
        if job.answer.form is Form.REVIEW and not made.review:
            review = await self._review(job)
            return made.model_copy(
                update={"review": int(review["id"]), "review_url": str(review.get("html_url") or "")}
            )
        if job.answer.form is Form.LABELS and not made.labelled:
            await self._label(job)
            return made.model_copy(update={"labelled": True})
        return made

    async def _review(self, job: _Job) -> Mapping[str, Any]:
        """The review, found or made."""
        url, commit = f"/repos/{job.path}/pulls/{job.answer.number}/reviews", job.answer.commit or ""
        with job.asking("reviews"):
            async for one in job.api.getiter(f"{url}?per_page=100"):
                if str(one.get("body") or "").startswith(marker(job.uid)):
                    return _object(one)
        footer = f"session `{job.state.namespace}/{job.state.name}` · ${job.state.cost_usd:.2f}"
        review = review_of(job.output, job.state.words, footer, job.mentions)
        tries = [review.request(job.uid, commit)] if review.remarks else []
        tries.append(review.plain(job.uid, commit))
        if review.event != "COMMENT":
            # Nobody can request changes of their own pull request.
            tries.append(review.plain(job.uid, commit, event="COMMENT"))
        for number, data in enumerate(tries, 1):
            try:
                with job.asking("review"):
                    return _object(await job.api.post(url, data=data))
            except GitHubError as error:
                # A remark on a line that is not in the diff must not lose the review.
                if error.status != _INVALID or number == len(tries):
                    raise
        raise AssertionError("the last try returns or raises")

    async def _label(self, job: _Job) -> None:
        with job.asking("labels"):
            known = [
                str(one["name"]) async for one in job.api.getiter(f"/repos/{job.path}/labels?per_page=100")
            ]
            chosen = labels_of(job.output, known, job.triggers.labels)
            if chosen:
                url = f"/repos/{job.path}/issues/{job.answer.number}/labels"
                await job.api.post(url, data={"labels": chosen})

    async def _comment(self, job: _Job, made: _Made) -> int:
        """The status comment, made or brought up to date; its id."""
        extra = f"Review: {made.review_url}" if made.review_url else ""
        state = job.state
        if made.review and state.phase == Phase.SUCCEEDED:
            # The review says it all.
            state = replace(state, words="")
        body = comment(job.uid, job.answer, state, job.mentions, extra=extra)
        number = made.comment or await self._find(job)
        if number:
            try:
                with job.asking("comment"):
                    await job.api.patch(f"/repos/{job.path}/issues/comments/{number}", data={"body": body})
            except GitHubError as error:
                # Somebody has deleted it: a status is not worth another one, the result is.
                if error.status != _NOT_FOUND or not await self._missing(job, number):
                    raise
                if state.phase is None:
                    return number
            else:
                return number
        with job.asking("comment"):
            posted = await job.api.post(
                f"/repos/{job.path}/issues/{job.answer.number}/comments", data={"body": body}
            )
            return int(posted["id"])

    async def _find(self, job: _Job) -> int:
        """The comment that an earlier try has made without our learning of it; 0: there is none."""
        since = quote(f"{job.since[:19]}Z", safe="")
        url = f"/repos/{job.path}/issues/{job.answer.number}/comments?per_page=100&since={since}"
        with job.asking("comments"):
            async for one in job.api.getiter(url):
                if str(one.get("body") or "").startswith(marker(job.uid)):
                    return int(one["id"])
        return 0

    async def _missing(self, job: _Job, number: int) -> bool:
        """Whether it is the comment that is gone, and not the right to change it."""
        try:
            with job.asking("comment"):
                await job.api.getitem(f"/repos/{job.path}/issues/comments/{number}")
        except GitHubError as error:
            return error.status == _NOT_FOUND
        return False


def _permissions(answer: Answer) -> dict[str, str]:
    """The least that an App's token needs."""
    permissions = {"issues": "write"} if answer.status_comment or answer.form is Form.LABELS else {}
    if answer.form is Form.REVIEW:
        permissions["pull_requests"] = "write"
    return permissions


def _state(
    connection: Connection, uid: str, repository: Repository
) -> tuple[State, Mapping[str, Any] | None]:
    record = records.session_record(connection, uid)
    outcome = records.outcome_of(connection, uid)
    row = connection.execute(select(tables.sessions).where(tables.sessions.c.uid == uid)).one()
    reported = (
        next((one.reported for one in reversed(record.attempts) if one.reported), None) if record else None
    )
    branch = record.published.branch if record and record.published else ""
    state = State(
        namespace=row.namespace,
        name=row.name,
        attempt=record.attempts[-1].number if record and record.attempts else 0,
        phase=str(outcome.phase) if outcome else None,
        reason=str(outcome.reason or "") if outcome else "",
        message=outcome.message if outcome else "",
        words=records.last_words(connection, uid) or (outcome.summary if outcome else ""),
        cost_usd=(record.usage.cost_usd or 0.0) if record else 0.0,
        turns=record.usage.turns or 0 if record else 0,
        branch=branch,
        branch_url=f"{web_url(repository)}/tree/{quote(branch)}" if branch else "",
        pull_request_url=record.pull_request.url if record and record.pull_request else "",
    )
    return state, reported.structured_output if reported else None


def _object(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict) or not isinstance(value.get("id"), int):
        raise TypeError("not an object of GitHub's")
    return value
