"""What the scripted model is told to do, and how a prompt says it.

A test, a manifest or a person at the demo chooses the model's behaviour in the
prompt itself, because the prompt is the one thing that reaches the model
through every layer unchanged: `[[scenario:NAME]]` names a file under
`scenarios/`, `[[script: JSON]]` holds the script. A server-side switch would
need one server per test and could not tell parallel sessions apart.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, Self

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    model_validator,
)

from tests.world.echo import EchoSetting

if TYPE_CHECKING:
    from pathlib import Path

StopReason = Literal[
    "end_turn",
    "tool_use",
    "max_tokens",
    "stop_sequence",
    "pause_turn",
    "refusal",
    "model_context_window_exceeded",
]

Tokens = Annotated[int, Field(ge=0, le=10**12)]
Seconds = Annotated[float, Field(ge=0, le=3600)]


class ScriptError(Exception):
    """A marker or script that cannot be played; the text says where and why."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CacheCreation(_Model):
    """Cache writes by their lifetime: the two are priced differently."""

    ephemeral_5m_input_tokens: Tokens = 0
    ephemeral_1h_input_tokens: Tokens = 0


class ServerToolUse(_Model):
    """Requests of the provider's own tools, which are billed one by one."""

    web_search_requests: Tokens = 0
    web_fetch_requests: Tokens = 0


class Usage(_Model):
    """The tokens of one answer, exactly as they are sent.

    `cache_creation` splits `cache_creation_input_tokens`; without it all of
    them count as five-minute entries.
    """

    input_tokens: Tokens = 100
    output_tokens: Tokens = 20
    cache_creation_input_tokens: Tokens = 0
    cache_read_input_tokens: Tokens = 0
    cache_creation: CacheCreation | None = None
    server_tool_use: ServerToolUse | None = None

    @model_validator(mode="after")
    def _split_adds_up(self) -> Self:
        split = self.cache_creation
        if split is not None:
            total = split.ephemeral_5m_input_tokens + split.ephemeral_1h_input_tokens
            if total != self.cache_creation_input_tokens:
                raise ValueError(
                    f"cache_creation adds up to {total}, "
                    f"but cache_creation_input_tokens is {self.cache_creation_input_tokens}"
                )
        return self


class ToolCall(_Model):
    """One `tool_use` block."""

    name: Annotated[str, Field(min_length=1, max_length=128)]
    input: dict[str, JsonValue] = Field(default_factory=dict)


class Fault(_Model):
    """What every fault has in common.

    `times`: it strikes the first so many requests of this step and session,
    then the step answers; without it, always. `models`: only requests for these.
    """

    times: Annotated[int, Field(ge=1)] | None = None
    models: tuple[str, ...] = ()


class Error(Fault):
    """An error answer; with `after_events`, an `error` event inside a stream that began well."""

    status: Annotated[int, Field(ge=400, le=599)]
    type: str = ""
    message: str = ""
    headers: dict[str, str] = Field(default_factory=dict)
    body: str | None = None
    """Sent in place of the API's error object: a proxy's HTML page, for example."""
    after_events: Annotated[int, Field(ge=0)] | None = None


class Drop(Fault):
    """The connection is cut after so many events of a stream.

    0 cuts it before the status line, of a request without streaming too (which
    is otherwise not dropped: a broken stream is repeated without streaming, and
    the repetition must be able to succeed).
    """

    after_events: Annotated[int, Field(ge=0)]


class Delay(_Model):
    """Seconds of waiting: before the first byte, between events, once after so many events."""

    before: Seconds = 0
    between: Seconds = 0
    stall: Seconds = 0
    stall_after_events: Annotated[int, Field(ge=0)] = 0


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


class Step(_Model):
    """One answer of the model: thinking, then texts, then tool calls."""

    thinking: str | None = None
    text: Annotated[tuple[str, ...], BeforeValidator(_as_list)] = ()
    tools: tuple[ToolCall, ...] = ()
    usage: Usage | None = None
    usage_at_start: Usage | None = None
    """The usage of `message_start`, where it is to differ from the final one."""
    delta_usage: Literal["full", "output"] = "full"
    """`message_delta` repeats every count, as the API does now, or only the output, as it once did."""
    stop_reason: StopReason | None = None
    stop_sequence: str | None = None
    piece: Annotated[int, Field(ge=1)] | None = None
    """Characters in a delta; by default 24, more for long texts."""
    error: Error | None = None
    drop: Drop | None = None
    delay: Delay = Delay()
    echo: EchoSetting = None


class Script(_Model):
    """The answers of one conversation in their order."""

    description: str = ""
    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")] | None = None
    """The name in records and totals; a scenario's is its file's, an inline script's a digest."""
    usage: Usage = Usage()
    """Of every step that names none."""
    steps: tuple[Step, ...]
    then: str = "The script has no further step."
    """The text once the steps are used up (`end_turn`)."""
    plays_without_tools: bool = False
    """A request that offers no tools (the CLI asks small questions that way) is otherwise
    answered with a fixed text and does not see the script."""


@dataclass(frozen=True, slots=True)
class NamedScript:
    """A script under the name by which records and totals know it."""

    name: str
    script: Script


def read_inline(value: JsonValue) -> NamedScript:
    """The script of an inline marker: an object, or the list of its steps.

    Raises:
        ScriptError: it is not a script.
    """
    script = _parse({"steps": value} if isinstance(value, list) else value, "[[script: ...]]")
    digest = hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]
    return NamedScript(name=script.id or f"script-{digest}", script=script)


class Scenarios:
    """The scripts under a folder, by file name; read when they are asked for, so that one can be edited."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def names(self) -> list[str]:
        return sorted(path.stem for path in self._folder.glob("*.yaml"))

    def read(self, name: str) -> NamedScript:
        """The scenario `name`.

        Raises:
            ScriptError: there is none, or its file is not a script.
        """
        # The name's pattern has no slash: it cannot leave the folder.
        path = self._folder / f"{name}.yaml"
        try:
            value: JsonValue = yaml.safe_load(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            known = ", ".join(self.names())
            raise ScriptError(f"there is no scenario {name!r}; there are: {known}") from None
        except yaml.YAMLError as error:
            raise ScriptError(f"scenario {name!r} is not YAML: {error}") from None
        return NamedScript(name=name, script=_parse(value, f"scenario {name!r}"))


def _parse(value: JsonValue, where: str) -> Script:
    try:
        return Script.model_validate(value)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(str(part) for part in one['loc']) or 'script'}: {one['msg']}"
            for one in error.errors()
        )
        raise ScriptError(f"{where}: {faults}") from None
