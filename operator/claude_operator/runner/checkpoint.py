"""Checkpoints: what the next attempt needs to go on, should this pod be gone the next moment.

One is made when a batch of tool calls or a turn is over, at most every `interval` seconds, and one at
the end. Conversation and tree are read one after the other while the agent works, so the tree may be a
moment ahead of the conversation; the resumed agent is told to look before it repeats anything.

A checkpoint that fails is reported and the agent goes on: the last one still stands.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

from claude_operator.runner import blobs
from claude_operator.runner.errors import RunError
from claude_operator.runner.git import GitError
from claude_operator.wire.session import Checkpoint

if TYPE_CHECKING:
    from pathlib import Path

    from claude_operator.runner.clone import Clone
    from claude_operator.runner.gateway import Gateway
    from claude_operator.runner.record import Record
    from claude_operator.runner.shadow import Shadow, Snapshot
    from claude_operator.wire.message import BlobRef

MAX_BYTES = 256 << 20
"""Of one checkpoint, transcript and bundle together: the gateway's quota."""
FINAL_SECONDS = 120.0
"""For the last checkpoint of a run; a pod that is told to go has less and is killed with it."""
_COPY_BYTES = 1 << 20
_MESSAGE = "Work in progress"
_SNAPSHOT_TRIES = 3
_MOVING_SECONDS = 0.5
"""Between two tries: long enough for the agent's own git to finish what it does."""


class CheckpointTooLargeError(Exception):
    """It would exceed what the gateway keeps."""


class Checkpointer:
    """Makes the checkpoints of one run."""

    def __init__(
        self,
        gateway: Gateway,
        shadow: Shadow,
        record: Record,
        *,
        clone: Clone,
        transcripts: Path,
        session_id: str,
        state: Path,
        interval: float,
    ) -> None:
        self._gateway = gateway
        self._shadow = shadow
        self._record = record
        self._clone = clone
        self._transcripts = transcripts
        self._session_id = session_id
        self._state = state
        self._interval = interval
        self._due = asyncio.Event()
        self._saving = asyncio.Lock()
        self._bundled: tuple[str, str, BlobRef | None] | None = None
        self._saved: Checkpoint | None = None
        self.turns = 0
        """Turns so far, for the record."""

    def notify(self) -> None:
        """Something worth keeping has happened."""
        self._due.set()

    async def run(self) -> None:
        """Make checkpoints as they fall due, until cancelled."""
        while True:
            await self._due.wait()
            self._due.clear()
            started = time.monotonic()
            await self.save()
            await asyncio.sleep(max(0.0, self._interval - (time.monotonic() - started)))

    async def save(self) -> bool:
        """Make one now; returns whether the newest state is kept."""
        async with self._saving:
            started = time.monotonic()
            try:
                checkpoint = await self._make()
            except (GitError, RunError, CheckpointTooLargeError, OSError) as error:
                await self._record.step("checkpoint_failed", f"checkpoint failed: {error}")
                return False
            if checkpoint is None:
                return False
            if checkpoint != self._saved:
                self._saved = checkpoint
                size = checkpoint.transcript.size + (checkpoint.bundle.size if checkpoint.bundle else 0)
                seconds = time.monotonic() - started
                await self._record.step(
                    "checkpoint",
                    f"checkpoint saved ({size / 1e6:.1f} MB in {seconds:.1f} s)",
                    bytes=size,
                    seconds=round(seconds, 3),
                    head=checkpoint.head,
                )
            return True

    async def _make(self) -> Checkpoint | None:
        # The conversation first: what the tree has beyond it is seen by looking, the reverse is not.
        copied = await asyncio.to_thread(self._copy_transcript)
        if copied is None:
            return None  # the CLI has not begun a conversation
        head, commit, bundle = await self._tree()
        if copied.stat().st_size + (bundle.size if bundle else 0) > MAX_BYTES:
            raise CheckpointTooLargeError(
                f"larger than {MAX_BYTES >> 20} MiB; the last one stands. Does git ignore what is built?"
            )
        checkpoint = Checkpoint(
            transcript=await blobs.upload(self._gateway, copied),
            bundle=bundle,
            commit=commit if bundle else None,
            head=head,
            turns=self.turns,
        )
        if checkpoint != self._saved:
            await self._gateway.checkpoint(checkpoint)
        return checkpoint

    async def _snapshot(self) -> Snapshot:
        # Mostly a file that the agent was changing at that moment.
        for _ in range(_SNAPSHOT_TRIES - 1):
            with contextlib.suppress(GitError):
                snapshot = await self._shadow.snapshot(_MESSAGE)
                if not snapshot.left_out:
                    return snapshot
            await asyncio.sleep(_MOVING_SECONDS)
        return await self._shadow.snapshot(_MESSAGE)

    async def _tree(self) -> tuple[str, str, BlobRef | None]:
        snapshot = await self._snapshot()
        if self._bundled is not None and self._bundled[:2] == (snapshot.head, snapshot.commit):
            return self._bundled
        blob = None
        if snapshot.commit != self._clone.base_commit:
            target = self._state / "checkpoint.bundle"
            await self._shadow.bundle(snapshot.commit, target)
            if target.stat().st_size > MAX_BYTES:
                raise CheckpointTooLargeError(f"the tree's bundle is larger than {MAX_BYTES >> 20} MiB")
            blob = await blobs.upload(self._gateway, target)
        self._bundled = (snapshot.head, snapshot.commit, blob)
        return self._bundled

    def _copy_transcript(self) -> Path | None:
        # The CLI names the folder after the current directory; only the file's name is ours to know.
        found = next(self._transcripts.glob(f"*/{self._session_id}.jsonl"), None)
        if found is None:
            return None
        target = self._state / "checkpoint.jsonl"
        with found.open("rb") as source, target.open("wb") as copy:
            # Whole lines only: the CLI may be writing the last one.
            rest = b""
            while block := source.read(_COPY_BYTES):
                whole, newline, rest_of_block = block.rpartition(b"\n")
                if newline:
                    copy.write(rest + whole + newline)
                    rest = rest_of_block
                else:
                    rest += block
        return target
