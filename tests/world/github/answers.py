"""What each operation does to a repository of the stand-in, and answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tests.world.github.state import now

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.world.github.operations import Operation
    from tests.world.github.state import Repository

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Refused:
    """As GitHub refuses."""

    status: int
    message: str
    errors: list[str] | None = None


_NOT_FOUND = Refused(404, "Not Found")


@dataclass(frozen=True, slots=True)
class Call:
    """A request that is in order."""

    values: dict[str, str]
    repo: Repository
    query: dict[str, str]
    body: Any
    bot: str

    @property
    def number(self) -> int:
        """Of the issue or pull request."""
        return int(self.values.get("issue_number") or self.values.get("pull_number") or 0)


def answer(operation: Operation, call: Call) -> Json | list[Json] | Refused:
    """Carry it out."""
    return _CALLS[operation.id](call)


def _list_comments(call: Call) -> list[Json] | Refused:
    if call.number not in call.repo.issues:
        return _NOT_FOUND
    since = call.query.get("since", "")
    return [one for one in call.repo.comments if one["number"] == call.number and one["updated_at"] >= since]


def _create_comment(call: Call) -> Json | Refused:
    if call.number not in call.repo.issues:
        return _NOT_FOUND
    return call.repo.add_comment(call.number, call.body["body"], user=call.bot)


def _comment(call: Call) -> Json | Refused:
    wanted = int(call.values["comment_id"])
    comment = next((one for one in call.repo.comments if one["id"] == wanted), None)
    if comment is None:
        return _NOT_FOUND
    if call.body is not None:
        comment |= {"body": call.body["body"], "updated_at": now()}
    return comment


def _list_labels(call: Call) -> list[Json]:
    return [
        {"name": name, "description": text, "color": "ededed", "default": False}
        for name, text in call.repo.labels.items()
    ]


def _add_labels(call: Call) -> list[Json] | Refused:
    if call.number not in call.repo.issues:
        return _NOT_FOUND
    labels = call.repo.issues[call.number]["labels"]
    labels += [name for name in call.body["labels"] if name not in labels]
    return [{"name": name} for name in labels]


def _get_pull(call: Call) -> Json | Refused:
    return call.repo.pulls.get(call.number, _NOT_FOUND)


def _list_pulls(call: Call) -> list[Json]:
    head = call.query.get("head", "").partition(":")[2]
    return [
        one
        for one in call.repo.pulls.values()
        if call.query.get("state", "open") in {one["state"], "all"}
        and (not head or one["head"]["ref"] == head)
        and call.query.get("base", one["base"]["ref"]) == one["base"]["ref"]
    ]


def _create_pull(call: Call) -> Json:
    number = max([*call.repo.issues, 0]) + 1
    made = call.repo.add_pull(number, sha="f" * 40, ref=call.body["head"], user=call.bot)
    return made | {name: call.body.get(name) for name in ("title", "body", "draft")}


def _list_reviews(call: Call) -> list[Json]:
    return [one for one in call.repo.reviews if one["number"] == call.number]


def _create_review(call: Call) -> Json | Refused:
    pull, body = call.repo.pulls.get(call.number), call.body
    if pull is None:
        return _NOT_FOUND
    if body.get("event") == "REQUEST_CHANGES" and pull["user"]["login"] == call.bot:
        return Refused(422, "Unprocessable Entity", ["Can not request changes on your own pull request"])
    if any((one["path"], one.get("line")) not in call.repo.diff for one in body.get("comments", [])):
        return Refused(422, "Unprocessable Entity", ["Line could not be resolved"])
    return call.repo.add_review(call.number, body, user=call.bot)


def _list_suites(call: Call) -> Json:
    return {"check_suites": call.repo.suites.get(call.values["ref"], [])}


_CALLS: Final[dict[str, Callable[[Call], Json | list[Json] | Refused]]] = {
    "issues/list-comments": _list_comments,
    "issues/create-comment": _create_comment,
    "issues/get-comment": _comment,
    "issues/update-comment": _comment,
    "issues/list-labels-for-repo": _list_labels,
    "issues/add-labels": _add_labels,
    "pulls/get": _get_pull,
    "pulls/list": _list_pulls,
    "pulls/create": _create_pull,
    "pulls/list-reviews": _list_reviews,
    "pulls/create-review": _create_review,
    "checks/list-suites-for-ref": _list_suites,
}
