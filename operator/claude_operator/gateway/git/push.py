"""Reading what a push asks for, and deciding about it. Pure.

A push begins with its commands as pkt-lines, then comes the pack. Everything that decides stands in the
commands, so they are read before a byte goes to the host, and are written anew from what was understood:
the host cannot read them differently.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from claude_operator.gateway.git.pktline import FLUSH, PktLineError, encode, split_one

if TYPE_CHECKING:
    from collections.abc import Collection

MOST_BYTES: Final = 256 * 1024
"""Of the command section; one command and some thousand `shallow` lines fit."""
_OID: Final = re.compile(rb"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_COMMAND: Final = re.compile(rb"([0-9a-f]{40,64}) ([0-9a-f]{40,64}) ([^\0\n]+)(?:\0([^\n]*))?\n?")
_CAPABILITIES: Final = frozenset(
    {b"report-status", b"report-status-v2", b"side-band-64k", b"quiet", b"ofs-delta", b"atomic"}
)
_VALUED: Final = (b"object-format=", b"agent=")


@dataclass(frozen=True, slots=True)
class Command:
    """One ref update."""

    old: str
    new: str
    ref: str

    @property
    def creates(self) -> bool:
        """Whether the ref is not there before."""
        return not self.old.strip("0")

    @property
    def deletes(self) -> bool:
        """Whether the ref is gone after."""
        return not self.new.strip("0")


@dataclass(frozen=True, slots=True)
class Push:
    """The command section of a push."""

    commands: tuple[Command, ...]
    shallow: tuple[bytes, ...]
    capabilities: frozenset[bytes]
    certificate: bool
    end: int
    """Where the pack begins."""

    @property
    def side_band(self) -> bool:
        """Whether the answer is multiplexed."""
        return b"side-band-64k" in self.capabilities

    @property
    def reports(self) -> bool:
        """Whether the client reads a report."""
        return bool({b"report-status", b"report-status-v2"} & self.capabilities)

    def encode(self) -> bytes:
        """The section for the host: what was understood, and only capabilities that are known."""
        if not self.commands:
            return FLUSH
        known = sorted(one for one in self.capabilities if one in _CAPABILITIES or one.startswith(_VALUED))
        lines = [encode(b"shallow " + oid) for oid in self.shallow]
        for index, command in enumerate(self.commands):
            line = f"{command.old} {command.new} {command.ref}".encode()
            lines.append(encode(line + b"\0 " + b" ".join(known) if index == 0 else line))
        return b"".join([*lines, FLUSH])


class PushReader:
    """Takes the bytes of a push as they come, up to the end of its commands.

    Each line is looked at once: to begin anew with every piece made a byte of the pod's cost the gateway
    milliseconds, and the pod chooses how small its pieces are.
    """

    def __init__(self) -> None:
        self.data = bytearray()
        """All that has come."""
        self._position = 0
        self._commands: list[Command] = []
        self._shallow: list[bytes] = []
        self._capabilities: frozenset[bytes] = frozenset()

    def feed(self, piece: bytes) -> Push | None:
        """The command section; None: it is not complete yet.

        Raises:
            PktLineError: it is none.
        """
        self.data += piece
        while True:
            found = split_one(self.data, self._position)
            if found is None:
                if len(self.data) > MOST_BYTES:
                    raise PktLineError(f"the commands of the push have more than {MOST_BYTES} bytes")
                return None
            line, end = found
            if line is None and self.data[self._position : end] != FLUSH:
                raise PktLineError("a push's commands end with a flush")
            self._position = end
            if line is None:
                return self._push(certificate=False)
            if line.startswith(b"push-cert"):
                return self._push(certificate=True)
            self._take(line)

    def _take(self, line: bytes) -> None:
        if line.startswith(b"shallow "):
            oid = line.removeprefix(b"shallow ").removesuffix(b"\n")
            if not _OID.fullmatch(oid):
                raise PktLineError("a `shallow` line names no commit")
            self._shallow.append(oid)
            return
        command, offered = _command(line)
        if not self._commands:
            self._capabilities = offered
        self._commands.append(command)

    def _push(self, *, certificate: bool) -> Push:
        return Push(
            tuple(self._commands),
            tuple(self._shallow),
            self._capabilities,
            certificate=certificate,
            end=self._position,
        )


def read_push(data: bytes | bytearray) -> Push | None:
    """The command section at the start of `data`; None: it is not complete.

    Raises:
        PktLineError: it is none.
    """
    return PushReader().feed(bytes(data))


def _command(line: bytes) -> tuple[Command, frozenset[bytes]]:
    found = _COMMAND.fullmatch(line)
    if found is None:
        raise PktLineError(f"not a command of a push: {line[:100]!r}")
    old, new, ref, offered = found.groups()
    if len(old) != len(new) or not _OID.fullmatch(old):
        raise PktLineError(f"not object names: {line[:140]!r}")
    try:
        name = ref.decode("utf-8")
    except UnicodeDecodeError:
        raise PktLineError("a ref name is not UTF-8") from None
    return Command(old.decode(), new.decode(), name), frozenset((offered or b"").split())


def refusal(push: Push, branch: str, own: Collection[str]) -> str:
    """Why a push is refused; empty: it may go on.

    Args:
        push: what it asks for.
        branch: the one branch that the session may push to.
        own: commits that the branch may stand at, because the session put them there.
    """
    if push.certificate:
        return "signed pushes (push certificates) are not allowed"
    if b"push-options" in push.capabilities:
        return "push options are not allowed"
    if not push.commands:
        return ""  # the probe that git sends to learn whether it is let in
    if len(push.commands) > 1:
        return f"one ref at a time: this push has {len(push.commands)} commands"
    command = push.commands[0]
    if command.ref != f"refs/heads/{branch}":
        return f"this session may push to refs/heads/{branch} only, not to {command.ref}"
    if command.deletes:
        return f"deleting {command.ref} is not allowed"
    if not command.creates and command.old not in own:
        return (
            f"{branch} already exists with a commit ({command.old[:12]}) that this session did not push: "
            "choose another publish.branch, or delete that branch"
        )
    return ""


def rejection(push: Push, why: str) -> bytes:
    """The host's kind of answer that makes git print `why` and fail."""
    ref = push.commands[0].ref if push.commands else "refs"
    report = encode(b"unpack ok\n")
    report += b"".join(
        encode(f"ng {command.ref} {why}\n".encode()) for command in push.commands[:50]
    ) or encode(f"ng {ref} {why}\n".encode())
    report += FLUSH
    if not push.side_band:
        return report
    return encode(b"\x02claude-operator: " + why.encode() + b"\n") + encode(b"\x01" + report) + FLUSH
