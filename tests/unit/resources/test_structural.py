"""The converter raises on what it cannot carry over; a validation never vanishes silently."""

from enum import StrEnum
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field
from typing_extensions import override

from claude_operator.resources.model import ApiModel, cel, remedy
from claude_operator.resources.structural import UnmappedSchemaError, structural_schema

Text = Annotated[str, Field(max_length=10)]


class Colour(StrEnum):
    """Which colour."""

    RED = "red"


class Part(ApiModel):
    """A part.

    What follows the first paragraph speaks to programmers.
    """

    size: Annotated[int, Field(ge=1, le=5)] = 3
    note: Text | None = None

    @classmethod
    @override
    def rules(cls) -> list[dict[str, str]]:
        return [cel("self.size != 4", "size must not be 4")]


class Whole(ApiModel):
    colour: Colour = Colour.RED
    name: Annotated[str, Field(max_length=5, pattern="^a", json_schema_extra=remedy("begin with a"))]
    part: Part = Part()
    optional: Part | None = None
    """Two lines
    of words."""
    parts: Annotated[list[Part], Field(max_length=2)] = []
    labels: Annotated[dict[str, Text], Field(max_length=2)] = {}
    price: Annotated[float, Field(ge=0.5)] = 1


class Described(ApiModel):
    first: Annotated[int, Field(ge=0)] = 0
    """The first field."""


class Twice(ApiModel):
    once: Described | None = None
    again: Described | None = None
    """Again."""


def test_a_class_that_was_told_is_not_told_again() -> None:
    def first(schema: Any, field: str) -> Any:
        return schema["properties"][field]["properties"]["first"]

    told, silent = structural_schema(Twice), structural_schema(Twice, told=(Twice,))
    assert first(told, "once") == first(told, "again") | {"description": "The first field."}
    assert first(told, "again") == {"type": "integer", "minimum": 0, "default": 0}
    assert first(silent, "once") == first(silent, "again") == first(told, "again")


def test_what_a_model_says_is_what_the_api_server_gets() -> None:
    part = {
        "description": "A part.",
        "type": "object",
        "properties": {
            "size": {"type": "integer", "minimum": 1, "maximum": 5, "default": 3},
            "note": {"type": "string", "maxLength": 10},
        },
        "x-kubernetes-validations": [{"rule": "self.size != 4", "message": "size must not be 4"}],
    }
    assert structural_schema(Whole) == {
        "type": "object",
        "required": ["name"],
        "properties": {
            "colour": {"type": "string", "enum": ["red"], "default": "red"},
            "name": {
                "type": "string",
                "maxLength": 5,
                "x-kubernetes-validations": [
                    {"rule": 'self.matches(r"^a")', "message": "begin with a"},
                ],
            },
            # The parts' own default fills it: nothing is said twice.
            "part": part | {"default": {}},
            "optional": part | {"description": "Two lines of words."},
            "parts": {"type": "array", "maxItems": 2, "items": part},
            "labels": {
                "type": "object",
                "maxProperties": 2,
                "additionalProperties": {"type": "string", "maxLength": 10},
            },
            "price": {
                "type": "number",
                "default": 1,
                "x-kubernetes-validations": [{"rule": "self >= 0.5", "message": "must be at least 0.5"}],
            },
        },
    }


class Recursive(ApiModel):
    children: Annotated[list["Recursive"], Field(max_length=2)] = []


def _field(annotation: Any) -> type[ApiModel]:
    return type("Broken", (ApiModel,), {"__annotations__": {"field": annotation}, "__module__": __name__})


@pytest.mark.parametrize(
    ("annotation", "complaint"),
    [
        (Recursive, "Recursive holds itself: a CRD cannot be recursive"),
        (Annotated[str, Field(pattern="^a", max_length=1)], "Broken.field: a pattern needs words for people"),
        (str, "Broken.field: string without maxLength"),
        (list[bool], "Broken.field: array without maxItems"),
        (dict[str, bool], "Broken.field: a map without maxProperties"),
        (int | Text, "Broken.field: a union has no form in a CRD"),
        (Literal["a"], "Broken.field: const has no form in a CRD"),
        (Annotated[int, Field(gt=1)], "Broken.field: exclusiveMinimum has no form in a CRD"),
        (Annotated[int, Field(multiple_of=2)], "Broken.field: multipleOf has no form in a CRD"),
        (Annotated[set[bool], Field(max_length=2)], "Broken.field: uniqueItems has no form in a CRD"),
        (Annotated[Any, Field()], "Broken.field: no type"),
        (tuple[bool, bool], "Broken.field: prefixItems has no form in a CRD"),
        (
            Annotated[dict[Text, bool], Field(max_length=2)],
            "Broken.field: propertyNames has no form in a CRD",
        ),
    ],
)
def test_what_has_no_form_in_a_crd_is_an_error_that_names_the_field(annotation: Any, complaint: str) -> None:
    with pytest.raises(UnmappedSchemaError) as caught:
        structural_schema(_field(annotation))
    assert complaint in str(caught.value)
