"""The stand-in's operations are GitHub's: compared with the published description, where there is one.

npm pack @octokit/openapi && tar xzf octokit-openapi-*.tgz package/generated/api.github.com.json
GITHUB_OPENAPI=package/generated/api.github.com.json pytest tests/unit/github/test_stand_in.py
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.world.github.operations import OPERATIONS, Operation

Json = dict[str, Any]


@pytest.fixture(scope="module")
def published() -> Json:
    file = os.environ.get("GITHUB_OPENAPI")
    if not file:
        pytest.skip(
            "GITHUB_OPENAPI does not name GitHub's OpenAPI description (many megabytes, not kept here)"
        )
    found: Json = json.loads(Path(file).read_text())
    return found


def resolved(published: Json, part: Json) -> Json:
    while "$ref" in part:
        found: Any = published
        for name in part["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        part = found
    return part


def objects(published: Json, part: Json) -> list[Json]:
    """The objects that a body may be."""
    part = resolved(published, part)
    many = part.get("oneOf") or part.get("anyOf")
    return [one for each in many for one in objects(published, each)] if many else [part]


def fits(published: Json, ours: Json, theirs: Json, definitions: Json) -> list[str]:
    """What of our schema is not in theirs."""
    ours, theirs = _of_ours(ours, definitions), resolved(published, theirs)
    if "properties" in ours:
        known = theirs.get("properties", {})
        faults = [f"{name} is unknown" for name in ours["properties"] if name not in known]
        faults += [
            f"{name} is required"
            for name in theirs.get("required", [])
            if name not in ours.get("required", [])
        ]
        for name, schema in ours["properties"].items():
            faults += fits(published, schema, known.get(name, {}), definitions)
        return faults
    if "items" in ours:
        choices = objects(published, theirs.get("items", {}))
        return min((fits(published, ours["items"], one, definitions) for one in choices), key=len)
    wanted, given = ours.get("type"), theirs.get("type")
    return [f"{wanted} is not {given}"] if wanted and given and wanted != given else []


def _of_ours(schema: Json, definitions: Json) -> Json:
    if "anyOf" in schema:  # an optional member
        schema = next(one for one in schema["anyOf"] if one.get("type") != "null")
    if "$ref" in schema:
        found: Json = definitions[schema["$ref"].rpartition("/")[2]]
        return found
    return schema


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: one.id)
def test_an_operation_is_as_published(operation: Operation, published: Json) -> None:
    theirs = published["paths"][operation.path][operation.method.lower()]
    assert theirs["operationId"] == operation.id
    assert str(operation.status) in theirs["responses"]
    known = [resolved(published, one) for one in theirs.get("parameters", [])]
    assert operation.query <= {one["name"] for one in known if one["in"] == "query"}
    if operation.body is None:
        assert "requestBody" not in theirs or operation.method == "GET"
        return
    ours = operation.body.model_json_schema()
    bodies = objects(published, theirs["requestBody"]["content"]["application/json"]["schema"])
    assert min((fits(published, ours, one, ours.get("$defs", {})) for one in bodies), key=len) == []
