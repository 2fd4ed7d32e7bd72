"""The base of every API model, and the field types that several of them share.

Reading is lenient (unknown fields are ignored, so that an old process survives a newer custom
resource); the API server is the strict side, through the CRD that is generated from these models.
Python names are snake_case, the API's are camelCase.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
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


def cel(rule: str, message: str, *, field_path: str | None = None) -> dict[str, str]:
    """One `x-kubernetes-validations` entry; the message must say what to do about it."""
    entry = {"rule": rule, "message": message}
    if field_path is not None:
        entry["fieldPath"] = field_path
    return entry


DNS_LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"

Name = Annotated[str, Field(min_length=1, max_length=63, pattern=DNS_LABEL)]
"""Name of an object in the same namespace: an RFC 1123 label."""

Host = Annotated[
    str, Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?(:[0-9]{1,5})?$")
]
"""A host name, lower case, with an optional port."""

GitRef = Annotated[
    str,
    Field(
        min_length=1,
        max_length=200,
        pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.+@-]*(/[A-Za-z0-9_][A-Za-z0-9_.+@-]*)*$",
        json_schema_extra={
            "x-kubernetes-validations": [
                cel(
                    "!self.contains('..') && !self.contains('@{') && !self.endsWith('.') && "
                    "!self.endsWith('.lock') && !self.contains('.lock/')",
                    "not a valid branch name: it must not hold '..' or '@{', nor end in '.' or '.lock'",
                )
            ]
        },
    ),
]
"""A branch name: the safe subset of `git check-ref-format`; no leading dash or dot in any part."""

ModelName = Annotated[
    str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:@/\[\]-]*$")
]

Timestamp = Annotated[str, Field(max_length=40, json_schema_extra={"format": "date-time"})]
"""RFC 3339, UTC, with a `Z`."""
