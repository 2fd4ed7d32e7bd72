"""The schema that a session's structured output must match: JSON Schema, written as text.

As an object in the spec it would need `x-kubernetes-preserve-unknown-fields`: nothing could bound it, and
no rule could hold it immutable. What is checked here is what the CLI and the Messages API need of every
schema (a tool's input is an object); whether the rest is a schema, the CLI says when it starts.
"""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError, from_json

from claude_operator.resources.model import remedy
from claude_operator.resources.nesting import depth

MAX_DEPTH: Final = 32
"""Levels of lists and objects; a level of data takes two of schema. Each is a recursion for some reader."""
_REMEDY: Final = 'write a JSON Schema as text, an object with "type": "object"'


def _schema_of_an_object(text: str) -> str:
    try:
        schema = from_json(text)
    except ValueError as error:
        raise PydanticCustomError(
            "output_schema", "is not JSON: {fault}; {remedy}", {"fault": str(error), "remedy": _REMEDY}
        ) from None
    if not isinstance(schema, dict) or schema.get("type") != "object":
        raise PydanticCustomError(
            "output_schema", "is not the schema of an object; {remedy}", {"remedy": _REMEDY}
        )
    if depth(schema, MAX_DEPTH + 1) > MAX_DEPTH:
        raise PydanticCustomError(
            "output_schema", "is nested more than {most} levels deep: flatten it", {"most": MAX_DEPTH}
        )
    return text


OutputSchema = Annotated[
    str,
    Field(max_length=20_000, pattern=r"^\s*\{", json_schema_extra=remedy(_REMEDY)),
    AfterValidator(_schema_of_an_object),
]
