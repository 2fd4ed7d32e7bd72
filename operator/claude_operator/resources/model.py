"""The base of every API model, and the field types that several of them share.

Reading is lenient (unknown fields are ignored, so that an old process survives a newer custom
resource); the API server is the strict side, through the CRD that is generated from these models.
Python names are snake_case, the API's are camelCase.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue
from pydantic.alias_generators import to_camel


def api_name(python_name: str) -> str:
    """The camelCase name, as the Kubernetes API conventions spell it: acronyms stay upper case."""
    return to_camel(python_name).replace("Usd", "USD").replace("Url", "URL")


class ApiModel(BaseModel):
    """A part of a custom resource. Frozen: a change of a resource is a new object."""

    model_config = ConfigDict(
        alias_generator=api_name,
        populate_by_name=True,
        extra="ignore",
        frozen=True,
        use_attribute_docstrings=True,
    )

    def to_api(self) -> dict[str, Any]:
        """The JSON form that is sent to the API server; unset optional fields are left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)

    @classmethod
    def rules(cls) -> list[dict[str, str]]:
        """The CEL rules that the CRD puts on objects of this class; made with `cel`."""
        return []


def cel(rule: str, message: str, *, field_path: str | None = None) -> dict[str, str]:
    """One `x-kubernetes-validations` entry; the message must say what to do about it."""
    entry = {"rule": rule, "message": message}
    if field_path is not None:
        entry["fieldPath"] = field_path
    return entry


PATTERN_RULE = "x-pattern-rule"
"""Key in a field's JSON schema, for crd generation: the CEL rule that stands for the field's `pattern`."""


def remedy(message: str, *, also: str = "") -> dict[str, JsonValue]:
    """`json_schema_extra` of a field with a `pattern`: what the API server says when a value differs.

    Args:
        message: what to write instead; the server names the field and the value itself.
        also: a further condition in CEL over `self`, for what a pattern without look-ahead cannot say.
    """
    return {PATTERN_RULE: {"message": message, "also": also}}


DNS_LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"

Name = Annotated[
    str,
    Field(
        max_length=63,
        pattern=DNS_LABEL,
        json_schema_extra=remedy("use lower-case letters, digits and inner dashes"),
    ),
]
"""Name of an object in the same namespace: an RFC 1123 label."""

Host = Annotated[
    str,
    Field(
        max_length=253,
        pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?(:[0-9]{1,5})?$",
        json_schema_extra=remedy("write host or host:port, in lower case, without scheme and path"),
    ),
]
"""A host name, lower case, with an optional port."""

GitRef = Annotated[
    str,
    Field(
        max_length=200,
        pattern=r"^[A-Za-z0-9_][A-Za-z0-9_+@-]*(\.[A-Za-z0-9_+@-]+)*(/[A-Za-z0-9_][A-Za-z0-9_+@-]*(\.[A-Za-z0-9_+@-]+)*)*$",
        json_schema_extra=remedy(
            "use letters, digits, _ + @ - and single inner dots, in parts joined by /; no part ends in .lock",
            also="!(self + '/').contains('.lock/')",
        ),
    ),
]
"""A branch name: the safe subset of `git check-ref-format`; no leading dash or dot in any part."""

ModelName = Annotated[
    str,
    Field(
        max_length=100,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._:@/\[\]-]*$",
        json_schema_extra=remedy("write the name as the API of the model does, without spaces"),
    ),
]

Timestamp = Annotated[str, Field(max_length=40, json_schema_extra={"format": "date-time"})]
"""RFC 3339, UTC, with a `Z`."""
