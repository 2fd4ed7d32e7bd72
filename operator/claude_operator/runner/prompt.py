"""The first message to the agent: what kind of work, where, what came before, and the task. Pure.

The task's own texts reach the model byte for byte; around them stand tags, because a Markdown heading
could as well come from the text itself. The task comes last, after the long material: the model
answers what it read last best.

A resumed conversation holds its task already. It is told what happened and goes on; repeating the task
would read like a second order. A conversation that is continued for *another* task gets the whole
prompt.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from claude_operator.resources.session import SessionType

if TYPE_CHECKING:
    from collections.abc import Iterable

    from claude_operator.wire.session import Assignment, DependencyResult

_KINDS = {
    SessionType.IMPLEMENTATION: (
        "This is an implementation task: change the code so that the requirements are met, with tests "
        "where the project has tests, and make sure that it builds."
    ),
    SessionType.ANALYSIS: (
        "This is an analysis task: read and explain. Change nothing unless the requirements ask for it; "
        "your last message is the result that others will read."
    ),
    SessionType.TESTING: (
        "This is a testing task: write and run the tests that the requirements ask for, and report what "
        "passes and what fails. Mend the code under test only if the requirements ask for it."
    ),
    SessionType.REVIEW: (
        "This is a review task: read the changes that the requirements name and judge them. Change "
        "nothing unless the requirements ask for it; your last message is the review."
    ),
    SessionType.COORDINATION: (
        "This is a coordination task: bring the results of other sessions together as the requirements "
        "ask. Their summaries and branches are given below."
    ),
}


def compose(assignment: Assignment, *, base_branch: str, base_commit: str) -> str:
    """The whole prompt of a new task."""
    return "\n\n".join(
        [
            _KINDS[assignment.type],
            _workplace(assignment, base_branch, base_commit),
            *_dependencies(assignment),
            *([_tagged("context", assignment.context)] if assignment.context else []),
            _tagged("requirements", assignment.requirements),
        ]
    )


def go_on() -> str:
    """The prompt for a conversation that was cut off in the middle of its own task."""
    return (
        "The machine that you worked on was stopped, and you go on now on another one. The repository is "
        "a fresh clone, in which your commits and your uncommitted changes are restored; everything "
        "else, such as running processes, installed packages and files outside the repository, is gone. "
        "A tool call that was under way may or may not have taken effect: look first. Then go on with "
        "the task until it is done."
    )


def holds_task(transcript: Iterable[str], requirements: str) -> bool:
    """Whether a conversation (lines of the CLI's transcript) has been given `requirements` before."""
    wanted = _tagged("requirements", requirements)
    for line in transcript:
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            continue  # a line that was cut off when the machine stopped
        if not isinstance(entry, dict) or entry.get("type") != "user":
            continue
        message = entry.get("message")
        if isinstance(message, dict) and wanted in _text(message.get("content")):
            return True
    return False


def _text(content: object) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    return "\n".join(
        str(block.get("text", ""))
        for block in content
        if isinstance(block, dict) and block.get("type") == "text"
    )


def _workplace(assignment: Assignment, base_branch: str, base_commit: str) -> str:
    if assignment.read_only:
        return (
            f"The repository {assignment.repository_url} is cloned into the current directory, at "
            f"{base_branch} ({base_commit}).\n"
            "- Nothing of what you change is kept: this session may not push. Read, run and judge.\n"
            "- Nobody watches: do not ask questions, decide by yourself and say what you decided.\n"
            "- Your last message is the result: say in it what you found, and what you could not find out."
        )
    summary = (
        " If the structured output that you are asked for has a summary, that one takes its place."
        if assignment.output_schema is not None
        else ""
    )
    return (
        f"The repository {assignment.repository_url} is cloned into the current directory. You are on the "
        f"branch {assignment.publish_branch}, which starts from {base_branch} at {base_commit}.\n"
        "- Commit your work with git on this branch, in sensible steps with clear messages. The author is "
        "configured. What you leave uncommitted is committed for you at the end; what .gitignore names "
        "is left out.\n"
        "- Do not push and do not open pull requests: both are done for you when you have finished.\n"
        "- Nobody watches: do not ask questions, decide by yourself and say what you decided.\n"
        "- Your last message is kept as the session's summary and handed to sessions that build on this "
        f"one: say in it what was done, what was not, and what the next reader must know.{summary}"
    )


def _dependencies(assignment: Assignment) -> list[str]:
    if not assignment.dependencies:
        return []
    results = "\n".join(_dependency(one) for one in assignment.dependencies)
    return [f"Earlier sessions that this one builds on have left these results:\n{results}"]


def _dependency(result: DependencyResult) -> str:
    lines = [f'<session name="{result.name}" type="{result.type}" phase="{result.phase}">']
    if result.branch is not None:
        at = f" at {result.commit}" if result.commit else ""
        lines.append(f"Branch: {result.branch}{at} (git fetch origin {result.branch})")
    if result.artifacts:
        lines.append("Artifacts: " + ", ".join(result.artifacts))
    lines.append(result.summary or "It left no summary.")
    lines.append("</session>")
    return "\n".join(lines)


def _tagged(tag: str, text: str) -> str:
    return f"<{tag}>\n{text}\n</{tag}>"
