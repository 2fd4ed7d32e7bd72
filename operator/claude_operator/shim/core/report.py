"""A session's output, put together from its status, the gateway's record and its journal."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from claude_operator.shim.core.conclusion import next_steps
from claude_operator.shim.core.output import CONTENT_BYTES, Artifact, Collector

if TYPE_CHECKING:
    from claude_operator.resources.session_status import ArtifactStatus
    from claude_operator.shim.core.links import Links
    from claude_operator.shim.core.sessions import Sessions
    from claude_operator.shim.core.view import SessionView
    from claude_operator.wire.internal import SessionRecord

_AT_ONCE: Final = 4
"""Journals that are read at once: each may have 256 MiB, and reading is CPU."""
_MOST_FETCHED: Final = 20
"""Kept files whose content is fetched for one output."""


@dataclass(frozen=True, slots=True)
class Output:
    """What a session has left."""

    log: tuple[str, ...] = ()
    artifacts: tuple[Artifact, ...] = ()
    summary: str = ""
    next_steps: tuple[str, ...] = ()
    seconds: float | None = None
    """From the agent's start to the session's end."""
    cpu_seconds: float | None = None
    memory_peak_bytes: int | None = None


class Reporter:
    """Puts outputs together."""

    def __init__(self, sessions: Sessions, links: Links) -> None:
        self._sessions = sessions
        self._links = links
        self._slots = asyncio.Semaphore(_AT_ONCE)

    async def output(self, view: SessionView) -> Output:
        """Everything that is known now.

        Raises:
            RefusedError: Unavailable, the gateway does not answer.
        """
        record = await self._sessions.record(view)
        if record is None:
            return brief(view)
        collector = Collector()
        async with self._slots:
            async for event in self._sessions.events(view):
                collector.take(event)
        base = await self._links.repository(view)
        made = [_linked(one, base, record) for one in collector.artifacts()]
        kept = await self._kept(view, record, {one.path for one in made if one.path is not None})
        reported = [one.reported for one in record.attempts if one.reported is not None]
        cpu = [one.cpu_seconds for one in reported if one.cpu_seconds is not None]
        memory = [one.memory_peak_bytes for one in reported if one.memory_peak_bytes is not None]
        return Output(
            log=tuple(collector.log),
            artifacts=(*made, *(_linked(one, base, record) for one in kept), *_pull_request(record)),
            summary=next((one.summary for one in reversed(reported) if one.summary), view.summary),
            next_steps=next((steps for one in reversed(reported) if (steps := next_steps(one))), ()),
            seconds=_seconds(view),
            cpu_seconds=sum(cpu) if cpu else None,
            memory_peak_bytes=max(memory) if memory else None,
        )

    async def _kept(self, view: SessionView, record: SessionRecord, known: set[str]) -> list[Artifact]:
        """The files that the session was asked to keep, and that no tool call has shown already."""
        wanted = [one for one in record.artifacts if one.path not in known]
        return [
            await self._kept_file(view, one, fetch=index < _MOST_FETCHED) for index, one in enumerate(wanted)
        ]

    async def _kept_file(self, view: SessionView, file: ArtifactStatus, *, fetch: bool) -> Artifact:
        text = None
        if fetch and file.size <= CONTENT_BYTES:
            data = await self._sessions.artifact(view, file.path)
            try:
                text = data.decode() if data is not None else None
            except UnicodeDecodeError:
                text = None
        metadata = {"size": file.size, "sha256": file.sha256}
        return Artifact("file", path=file.path, content=text, metadata=metadata)


def brief(view: SessionView) -> Output:
    """What the status alone tells."""
    artifacts = []
    if view.commit is not None:
        artifacts.append(Artifact("commit", sha=view.commit, metadata={"branch": view.published_branch}))
    if view.pull_request_url is not None:
        number = {"number": view.pull_request_number}
        artifacts.append(Artifact("pr", url=view.pull_request_url, metadata=number))
    return Output(artifacts=tuple(artifacts), summary=view.summary, seconds=_seconds(view))


def _linked(artifact: Artifact, base: str | None, record: SessionRecord) -> Artifact:
    """With the place where it can be looked at, once it is published."""
    published = record.published
    if base is None or published is None or artifact.url is not None:
        return artifact
    if artifact.kind == "commit":
        return replace(artifact, url=f"{base}/commit/{artifact.sha}")
    if artifact.kind == "file" and artifact.path is not None:
        url = f"{base}/blob/{quote(published.branch)}/{quote(artifact.path)}"
        return replace(artifact, sha=published.commit, url=url)
    return artifact


def _pull_request(record: SessionRecord) -> list[Artifact]:
    opened = record.pull_request
    return [] if opened is None else [Artifact("pr", url=opened.url, metadata={"number": opened.number})]


def _seconds(view: SessionView) -> float | None:
    if view.started is None or view.finished is None:
        return None
    begun, ended = datetime.fromisoformat(view.started), datetime.fromisoformat(view.finished)
    return (ended - begun).total_seconds()
