"""What is to be made of something that was asked for, once GitHub's facts are known. Pure."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pydantic import TypeAdapter, ValidationError

from claude_operator.github.event import Account
from claude_operator.resources.model import GitRef
from claude_operator.resources.project import GitHubTask
from claude_operator.resources.session import Publish, PullRequest, SessionSpec, SessionType
from claude_operator.shim.core.draft import Draft
from claude_operator.shim.dialects.github import tasks
from claude_operator.shim.dialects.github.screen import OURS, Ignored
from claude_operator.shim.dialects.github.who import may
from claude_operator.wire.github import Answer, Form

if TYPE_CHECKING:
    from claude_operator.github.event import Payload
    from claude_operator.shim.dialects.github.screen import Asked
    from claude_operator.wire.github import Facts, KeptDelivery, Pull, Suite

_PASSED: Final = frozenset({"success", "neutral", "skipped"})
_REF: Final = TypeAdapter(GitRef)
_FORK_NOTE: Final = (
    "The pull request comes from a fork: the session may read it, and push nothing. "
    "What should change is described here."
)
_CLOSED_NOTE: Final = "The pull request is closed: the session may read it, and push nothing."
_BRANCH_NOTE: Final = "Changes go to a branch of their own, with a pull request into this one's branch."


@dataclass(frozen=True, slots=True)
class Make:
    """A session is to be made."""

    name: str
    """The same for the same comment, or the same commit: a repetition finds it."""
    draft: Draft
    answer: Answer


@dataclass(frozen=True, slots=True)
class _Base:
    """Where a session works."""

    branch: str | None = None
    publish: Publish | None = None
    read_only: bool = False
    note: str = ""


def decide(asked: Asked, payload: Payload, kept: KeptDelivery, facts: Facts) -> Make | Ignored:
    """Decide."""
    pull = facts.pull
    if asked.is_pull and pull is None:
        return Ignored(f"pull request {asked.number} does not exist, or the login may not see it")
    match asked.task:
        case GitHubTask.TRIAGE:
            return _triage(asked, payload, kept, facts)
        case GitHubTask.COMMAND:
            return _command(asked, payload, kept, facts)
        case GitHubTask.REVIEW:
            assert pull is not None
            return _review(asked, kept, pull, facts)
        case GitHubTask.CHECKED_REVIEW:
            assert pull is not None
            return _why_not(asked, kept, pull, facts) or _review(asked, kept, pull, facts)


def _triage(asked: Asked, payload: Payload, kept: KeptDelivery, facts: Facts) -> Make | Ignored:
    allowed = {one.lower() for one in kept.triggers.labels}
    labels = [
        (one.name, one.description) for one in facts.labels if not allowed or one.name.lower() in allowed
    ]
    if not labels:
        return Ignored("the repository has none of the labels that a triage may set")
    return _make(
        asked,
        kept,
        SessionType.ANALYSIS,
        requirements=tasks.triage(_path(kept), asked.number, labels),
        context=_context(payload, facts, None),
        base=_Base(read_only=True),
        form=Form.LABELS,
        schema=tasks.TRIAGE_SCHEMA,
    )


def _command(asked: Asked, payload: Payload, kept: KeptDelivery, facts: Facts) -> Make:
    kind = "pull request" if asked.is_pull else "issue"
    # The comment that asks is the order, and what we wrote ourselves tells nothing new.
    thread = [one for one in facts.thread if one.id != asked.said and not one.body.startswith(OURS)]
    context = _context(payload, facts.model_copy(update={"thread": thread}), facts.pull)
    if asked.comment is not None:
        context = f"{tasks.about_lines(asked.comment)}\n\n{context}"
    return _make(
        asked,
        kept,
        SessionType.IMPLEMENTATION,
        requirements=tasks.command(_path(kept), f"{kind} #{asked.number}", asked.by, asked.command),
        context=context,
        base=_base(facts.pull),
        form=Form.COMMENT,
    )


def _review(asked: Asked, kept: KeptDelivery, pull: Pull, facts: Facts) -> Make:
    commit = asked.commit or pull.head_sha
    return _make(
        asked,
        kept,
        SessionType.REVIEW,
        requirements=tasks.review(_path(kept), pull, commit),
        context=tasks.about_issue(
            pull.title, pull.body, pull.author, facts, number=pull.number, is_pull=True
        ),
        base=_Base(branch=f"refs/pull/{pull.number}/head", read_only=True),
        form=Form.REVIEW,
        schema=tasks.REVIEW_SCHEMA,
        commit=commit,
    )


def _why_not(asked: Asked, kept: KeptDelivery, pull: Pull, facts: Facts) -> Ignored | None:
    """Why checks that are done are no reason for a review."""
    author = Account(login=pull.author, type="Bot" if pull.author_is_bot else "User")
    if not may(kept.triggers, author):
        return Ignored(f"{pull.author}, the pull request's author, may not start sessions")
    if not pull.open or pull.draft:
        return Ignored(f"pull request {pull.number} is {'a draft' if pull.open else 'closed'}")
    if pull.head_sha != asked.commit:
        return Ignored(f"pull request {pull.number} has a newer head")
    if facts.reviewed:
        return Ignored(f"pull request {pull.number} was reviewed at this commit before")
    pending = [one for one in facts.suites if not _passed(one, asked.suite)]
    if pending:
        names = ", ".join(sorted({one.app or str(one.id) for one in pending}))
        return Ignored(f"not all checks are green: {names}"[:400])
    return None


def _passed(suite: Suite, told: int) -> bool:
    """Whether a suite is green, or is none: GitHub makes an empty one for each App that may make one.

    The one that the event is about has passed, even where a read just behind it does not show so yet.
    """
    if suite.id == told or (suite.runs == 0 and suite.status != "completed"):
        return True
    return suite.status == "completed" and suite.conclusion in _PASSED


def _base(pull: Pull | None) -> _Base:
    """Where a command works: never on a branch that is not the session's own."""
    if pull is None:
        return _Base(publish=Publish(pull_request=PullRequest()))
    if pull.open and not pull.fork and _is_ref(pull.head_ref):
        return _Base(
            branch=pull.head_ref,
            publish=Publish(pull_request=PullRequest(base=pull.head_ref)),
            note=_BRANCH_NOTE,
        )
    note = _FORK_NOTE if pull.fork else _CLOSED_NOTE
    return _Base(branch=f"refs/pull/{pull.number}/head", read_only=True, note=note)


def _is_ref(name: str) -> bool:
    try:
        _REF.validate_python(name)
    except ValidationError:
        return False
    return not name.startswith("refs/")


def _context(payload: Payload, facts: Facts, pull: Pull | None) -> str:
    if pull is not None:
        return tasks.about_issue(pull.title, pull.body, pull.author, facts, number=pull.number, is_pull=True)
    issue = payload.issue
    assert issue is not None
    author = issue.user.login if issue.user is not None else "ghost"
    return tasks.about_issue(issue.title, issue.body, author, facts, number=issue.number, is_pull=False)


def _make(
    asked: Asked,
    kept: KeptDelivery,
    kind: SessionType,
    *,
    requirements: str,
    context: str,
    base: _Base,
    form: Form,
    schema: str | None = None,
    commit: str | None = None,
) -> Make:
    spec = SessionSpec(
        type=kind,
        repository=kept.repository,
        branch=base.branch,
        requirements=requirements,
        context=context,
        publish=base.publish,
        read_only=base.read_only,
        output_schema=schema,
        limits=kept.triggers.limits,
    )
    by_person = bool(asked.at)
    return Make(
        name=_name(asked, kept),
        draft=Draft(spec=spec, echo={"metadata": {"source": "github", "url": asked.at}}),
        answer=Answer(
            number=asked.number,
            form=form,
            status_comment=by_person,
            asked_by=asked.by,
            asked_at=asked.at,
            commit=commit,
            note=base.note,
        ),
    )


def _name(asked: Asked, kept: KeptDelivery) -> str:
    """Readable, and of this comment or commit alone."""
    repository = re.sub(r"[^a-z0-9]+", "-", kept.repository.rpartition("/")[2].lower()).strip("-")[:24]
    kind = {GitHubTask.CHECKED_REVIEW: "review"}.get(asked.task, asked.task.value.lower())
    text = f"{kept.namespace}/{kept.project}/{kept.repository.lower()}/{asked.subject}"
    digest = hashlib.sha256(text.encode()).hexdigest()[:10]
    return f"{repository or 'repository'}-{asked.number}-{kind}-{digest}"


def _path(kept: KeptDelivery) -> str:
    return kept.repository.partition("/")[2]
