"""`git http-backend` behind aiohttp: the CGI protocol, streamed both ways.

git's own server side is what the product will meet at every git host, down to
its capabilities and its refusals; a re-implementation would only agree with
itself. Packs pass through in blocks, never whole; a request that ends early,
from either side, ends the process group.
"""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

from aiohttp import web

from tests.world.repositories import git_environment

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_BLOCK = 64 << 10
_STDERR_BYTES = 8 << 10
_EXIT_SECONDS = 10


class BackendError(Exception):
    """`git http-backend` did not speak CGI; the text is what it said instead."""


class Backend:
    """One run of `git http-backend`.

    Args:
        root: the folder of all repositories.
        path: the rest of the URL's path, beginning with the repository's folder.
        extra: environment for git's hooks.
    """

    def __init__(
        self, request: web.Request, *, root: Path, path: str, user: str, extra: Mapping[str, str]
    ) -> None:
        self._request = request
        self._environment = {**_cgi(request, root=root, path=path, user=user), **extra}
        self.received = bytearray()
        """The beginning of the request's body, as it was sent (perhaps gzipped)."""

    async def answer(self, headers: Mapping[str, str], cut_after: int | None = None) -> web.StreamResponse:
        """Run it and relay its answer, with `headers` added, cut off after so many bytes of the body.

        Raises:
            BackendError: it failed before it answered.
            ConnectionError: the client left.
        """
        process = await asyncio.create_subprocess_exec(
            "git",
            "http-backend",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self._environment,
            start_new_session=True,
            limit=_BLOCK,
        )
        feeding = asyncio.create_task(self._feed(process))
        complaints = asyncio.create_task(_beginning(process))
        try:
            response = await self._relay(process, complaints, headers, cut_after)
            # The answer has ended, and git with it, unless it was cut off.
            if cut_after is None:
                await asyncio.wait_for(process.wait(), _EXIT_SECONDS)
            return response
        finally:
            feeding.cancel()
            # Its children (receive-pack, index-pack, hooks) are in its group and go with it.
            # Once it has been reaped the number may be somebody else's.
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
            await asyncio.gather(feeding, complaints, return_exceptions=True)

    async def _feed(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        try:
            async for block in self._request.content.iter_chunked(_BLOCK):
                if len(self.received) < _BLOCK:
                    self.received += block[: _BLOCK - len(self.received)]
                process.stdin.write(block)
                await process.stdin.drain()
        except (BrokenPipeError, ConnectionResetError):
            # git may answer without reading to the end (an error); the rest is then nobody's.
            return
        finally:
            process.stdin.close()

    async def _relay(
        self,
        process: asyncio.subprocess.Process,
        complaints: asyncio.Task[bytes],
        headers: Mapping[str, str],
        cut_after: int | None,
    ) -> web.StreamResponse:
        assert process.stdout is not None
        try:
            head = await process.stdout.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            said = (await complaints).decode(errors="replace").strip()
            raise BackendError(said or "git http-backend said nothing") from None
        status, given = _parse_head(head)
        response = web.StreamResponse(status=status, headers={**given, **headers})
        await response.prepare(self._request)
        left = cut_after
        while block := await process.stdout.read(_BLOCK):
            if left is not None and len(block) > left:
                await response.write(block[:left])
                if self._request.transport is not None:
                    self._request.transport.close()
                return response
            if left is not None:
                left -= len(block)
            await response.write(block)
        await response.write_eof()
        return response


async def _beginning(process: asyncio.subprocess.Process) -> bytes:
    """The first words on stderr; the rest is read too, or the process would block on it."""
    assert process.stderr is not None
    kept = b""
    while block := await process.stderr.read(_BLOCK):
        kept = (kept + block)[:_STDERR_BYTES]
    return kept


def _parse_head(head: bytes) -> tuple[int, dict[str, str]]:
    fields = dict(line.split(": ", 1) for line in head.decode("latin-1").split("\r\n") if line)
    status = int(fields.pop("Status", "200 OK").split(" ", 1)[0])
    return status, fields


def _cgi(request: web.Request, *, root: Path, path: str, user: str) -> dict[str, str]:
    """The variables of RFC 3875 that git reads, and git's own."""
    headers = request.headers
    variables = {
        "GATEWAY_INTERFACE": "CGI/1.1",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REQUEST_METHOD": request.method,
        "QUERY_STRING": request.rel_url.raw_query_string,
        "PATH_INFO": path,
        "REMOTE_ADDR": request.remote or "",
        "CONTENT_TYPE": headers.get("Content-Type", ""),
        "HTTP_CONTENT_ENCODING": headers.get("Content-Encoding", ""),
        "GIT_PROTOCOL": headers.get("Git-Protocol", ""),
        "GIT_PROJECT_ROOT": str(root),
        "GIT_HTTP_EXPORT_ALL": "1",
    }
    if user:
        variables["REMOTE_USER"] = user
    # Absent for a chunked body: git then reads to its end.
    if length := headers.get("Content-Length"):
        variables["CONTENT_LENGTH"] = length
    return git_environment() | variables
