"""What an event asks for, as far as the event alone tells. Pure.

Everything that can be refused is refused here, before anything is asked of GitHub or anybody else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from claude_operator.github.mention import command
from claude_operator.resources.project import GitHubTask
from claude_operator.shim.dialects.github.who import may
from claude_operator.wire.github import FactsWanted

if TYPE_CHECKING:
    from claude_operator.github.event import Account, CheckSuite, Comment, Payload, Review
    from claude_operator.resources.project import GitHubTriggers

OURS: Final = "<!-- claude-operator:"
"""How everything begins that the gateway writes on GitHub."""
PROCESSED: Final = "Webhook processed successfully"
_MOST_PULLS: Final = 5


@dataclass(frozen=True, slots=True)
class Ignored:
    """Nothing is to be done."""

    why: str
    """For people."""
    message: str = PROCESSED
    """What GitHub is told; the original's words where it had some."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Something is, about one issue or pull request."""

    task: GitHubTask
    number: int
    subject: str
    """What makes it one: the comment, or the commit."""
    wants: FactsWanted
    is_pull: bool = False
    by: str = ""
    """Login of who asks."""
    at: str = ""
    """Link to where."""
    command: str = ""
    said: int = 0
    """Id of the comment that asks."""
    comment: Comment | None = None
    """On lines of a pull request."""
    commit: str | None = None
    suite: int = 0


@dataclass(frozen=True, slots=True)
class Screened:
    """Never empty: things to do, or why there are none."""

    asked: tuple[Asked, ...] = ()
    ignored: Ignored | None = None


def screen(event: str, payload: Payload, triggers: GitHubTriggers) -> Screened:
    """Judge an event."""
    if event == "issues":
        found = _opened(payload, triggers)
    elif event == "check_suite":
        return _checked(payload, triggers)
    elif event == "pull_request_review":
        found = _said(event, payload, triggers, payload.review)
    else:
        found = _said(event, payload, triggers, payload.comment)
    return Screened(ignored=found) if isinstance(found, Ignored) else Screened(asked=(found,))


def on(triggers: GitHubTriggers, task: GitHubTask) -> bool:
    """Whether the project has a task switched on."""
    return not triggers.tasks or task in triggers.tasks


def _opened(payload: Payload, triggers: GitHubTriggers) -> Asked | Ignored:
    issue = payload.issue
    if issue is None:
        return Ignored("the event holds no issue")
    if not on(triggers, GitHubTask.TRIAGE):
        return Ignored("triage is off")
    if not may(triggers, issue.user, payload.sender):
        return Ignored(f"{_login(issue.user)} may not start sessions")
    return Asked(
        task=GitHubTask.TRIAGE,
        number=issue.number,
        subject=f"issue/{issue.number}",
        wants=FactsWanted(number=issue.number, labels=True),
        by=_login(issue.user),
    )


def _said(
    event: str, payload: Payload, triggers: GitHubTriggers, said: Comment | Review | None
) -> Asked | Ignored:
    """A comment of any kind."""
    subject = payload.pull_request or payload.issue
    if said is None or subject is None:
        return Ignored("the event holds no comment")
    if triggers.mention is None:
        return Ignored("the project has no triggers.github.mention")
    if said.body.lstrip().startswith(OURS):
        return Ignored("the comment is one of ours")
    wanted = command(said.body, triggers.mention)
    if wanted is None:
        return Ignored("the bot is not mentioned")
    is_pull = payload.pull_request is not None or (
        payload.issue is not None and payload.issue.pull_request is not None
    )
    review = is_pull and wanted.rstrip(" .!").lower() == "review"
    task = GitHubTask.REVIEW if review else GitHubTask.COMMAND
    # Also the sender: an App may act for a user, and both must be somebody who may.
    if not may(triggers, said.user, payload.sender):
        return Ignored(
            f"{_login(said.user)} may not start sessions",
            f"Unauthorized user - {'review request' if review else 'command'} ignored",
        )
    if not on(triggers, task):
        return Ignored(f"{task} is off")
    if not wanted:
        return Ignored("the bot is mentioned without a command")
    return Asked(
        task=task,
        number=subject.number,
        subject=f"{event}/{said.id}",
        wants=FactsWanted(number=subject.number, pull=is_pull, thread=not review),
        is_pull=is_pull,
        by=_login(said.user),
        at=said.html_url,
        command=wanted,
        said=said.id,
        comment=payload.comment if event == "pull_request_review_comment" else None,
    )


def _checked(payload: Payload, triggers: GitHubTriggers) -> Screened:
    """Checks are done. Who sent the event is whoever ran them: it is the pull request's author who counts."""
    suite = payload.check_suite
    if suite is None:
        return Screened(ignored=Ignored("the event holds no check suite"))
    if suite.conclusion != "success":
        return Screened(ignored=Ignored("the checks have not succeeded", "Check suite not successful"))
    pulls = [one for one in suite.pull_requests if one.head.sha in {"", suite.head_sha}]
    if not pulls:
        # GitHub names none of a fork: `@bot review` is the way for those.
        return Screened(
            ignored=Ignored("no pull request has this head", "No pull requests associated with check suite")
        )
    if not on(triggers, GitHubTask.CHECKED_REVIEW):
        return Screened(ignored=Ignored(f"{GitHubTask.CHECKED_REVIEW} is off"))
    return Screened(asked=tuple(_checked_pull(suite, one.number) for one in pulls[:_MOST_PULLS]))


def _checked_pull(suite: CheckSuite, number: int) -> Asked:
    return Asked(
        task=GitHubTask.CHECKED_REVIEW,
        number=number,
        subject=f"review/{number}/{suite.head_sha}",
        wants=FactsWanted(number=number, pull=True, suites_of=suite.head_sha, reviewed_at=suite.head_sha),
        is_pull=True,
        commit=suite.head_sha,
        suite=suite.id,
    )


def _login(account: Account | None) -> str:
    return account.login if account is not None else "ghost"
