"""The base of every message between our processes, and the parts that both ports share."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from claude_operator.resources.model import api_name

MAX_CHUNK_BYTES = 1024 * 1024
"""Largest body of one chunk upload; keeps the gateway's memory per request constant."""
MAX_EVENT_BYTES = 256 * 1024
"""Largest JSON form of one event; the runner shortens longer strings before it sends (a CLI line can be
6 MB: an overwritten file is echoed whole). The complete text is in the transcript of the checkpoint."""
MAX_EVENTS_PER_BATCH = 200


MAX_COUNT = 2**53 - 1
"""Largest number in a message: JSON readers agree on integers up to here, and every database holds them."""


class Message(BaseModel):
    """A JSON body on a gateway port: camelCase, unknown fields ignored, frozen."""

    model_config = ConfigDict(
        alias_generator=api_name,
        populate_by_name=True,
        extra="ignore",
        frozen=True,
        use_attribute_docstrings=True,
    )


class ErrorBody(Message):
    """The body of every refusal on either port, beside its HTTP status."""

    reason: str
    """CamelCase, one word for machines: a `Reason` where one fits."""
    message: str
    """What was refused, and what to do about it."""


class BlobRef(Message):
    """A stored blob: a transcript, a git bundle, an artifact."""

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """Hex digest of the whole content; also the blob's name in the upload paths."""
    size: Annotated[int, Field(ge=0, le=MAX_COUNT)]
    """Bytes."""
