"""From a pydantic model to the structural schema that an API server accepts.

Pydantic writes JSON Schema 2020-12; a CRD takes a small subset of OpenAPI 3.0 (no references, no null
types, no tuples, ...) and CEL rules over bounded values only. Existing generators cover either side
loosely: what they do not know they drop, and a validation that silently vanished is found by a user.
This one knows exactly the keywords that our models use and raises on every other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from pydantic import JsonValue
from pydantic.json_schema import GenerateJsonSchema
from typing_extensions import override

from claude_operator.resources.model import PATTERN_RULE, ApiModel, cel

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pydantic_core import core_schema

Schema: TypeAlias = dict[str, JsonValue]

_VALIDATIONS = "x-kubernetes-validations"
_INT_OR_STRING = "x-kubernetes-int-or-string"
_TAKEN_OVER = (
    "type",
    "format",
    "enum",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "maxProperties",
    "required",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    _INT_OR_STRING,
)
_BOUND = {"string": "maxLength", "array": "maxItems"}


class UnmappedSchemaError(ValueError):
    """A model uses something that has no (safe) form in a CRD."""


def structural_schema(model: type[ApiModel], *, told: Iterable[type[ApiModel]] = ()) -> Schema:
    """The schema of a spec or a status.

    A class that is used a second time keeps its own description there, but not those of its fields: the
    CRDs have to stay small, and nobody reads the same sentences four times.

    Args:
        model: the spec or the status.
        told: models whose schemas the reader has as well: their classes count as used.

    Raises:
        UnmappedSchemaError: the model holds a keyword without a mapping, an unbounded value or a recursion.
    """
    document = model.model_json_schema(by_alias=True, mode="validation", schema_generator=_WithRules)
    definitions = document.pop("$defs", {})
    known = {name for other in told for name in other.model_json_schema().get("$defs", {})}
    return _Converter(definitions, known).convert(document, model.__name__, ())


class _WithRules(GenerateJsonSchema):
    """Pydantic's generator; each model's CEL rules ride along in its schema."""

    @override
    def model_schema(self, schema: core_schema.ModelSchema) -> Schema:
        json_schema: Schema = super().model_schema(schema)
        cls = schema["cls"]
        if issubclass(cls, ApiModel) and (rules := cls.rules()):
            json_schema[_VALIDATIONS] = [dict(rule) for rule in rules]
        return json_schema


class _Converter:
    def __init__(self, definitions: Mapping[str, Schema], told: set[str]) -> None:
        self._definitions = definitions
        self._told = told

    def convert(self, source: Schema, path: str, parents: tuple[str, ...], *, silent: bool = False) -> Schema:
        """One node; `path` is for error messages, `parents` are the references that led here."""
        node, references = self._resolved(source, path, parents)
        node.pop("title", None)
        result: Schema = {}
        if (description := node.pop("description", None)) and not silent:
            result["description"] = _one_line(_string(description))
        met = references[len(parents) :]
        parents = references
        silent = silent or not self._told.isdisjoint(met)
        self._told.update(met)
        if _INT_OR_STRING in node:
            node.pop("type")  # the API server takes one or the other
        rules = _rules(node, path)
        result |= {keyword: node.pop(keyword) for keyword in _TAKEN_OVER if keyword in node}
        if "properties" in node:
            result["properties"] = {
                name: self.convert(_object(child), f"{path}.{name}", parents, silent=silent)
                for name, child in _object(node.pop("properties")).items()
            }
        elif isinstance(values := node.get("additionalProperties"), dict):
            del node["additionalProperties"]
            result["additionalProperties"] = self._inner(values, f"{path}.*", parents, result, silent=silent)
        if "items" in node:
            result["items"] = self._inner(node.pop("items"), f"{path}[]", parents, result, silent=silent)
        default = _default(node.pop("default", None), result)
        if default is not None:
            result["default"] = default
        if rules:
            result[_VALIDATIONS] = rules
        if node:
            raise UnmappedSchemaError(
                f"{path}: {', '.join(sorted(node))} has no form in a CRD: model it otherwise, or map it here"
            )
        _check_bounds(result, path)
        return result

    def _inner(
        self, source: JsonValue, path: str, parents: tuple[str, ...], outer: Schema, *, silent: bool
    ) -> Schema:
        """The schema of a list's items or a map's values; the list's own words are enough for both."""
        inner = self.convert(_object(source), path, parents, silent=silent)
        if "description" in outer:
            inner.pop("description", None)
        return inner

    def _resolved(
        self, source: Schema, path: str, parents: tuple[str, ...]
    ) -> tuple[Schema, tuple[str, ...]]:
        """The node without `$ref` and without the null of an optional field; siblings win."""
        node = dict(source)
        while "$ref" in node or "anyOf" in node:
            if "anyOf" in node:
                options = [option for option in _list(node.pop("anyOf")) if option != {"type": "null"}]
                if len(options) != 1:
                    raise UnmappedSchemaError(f"{path}: a union has no form in a CRD: use optional fields")
                inner = _object(options[0])
            else:
                name = _string(node.pop("$ref")).removeprefix("#/$defs/")
                if name in parents:
                    raise UnmappedSchemaError(f"{path}: {name} holds itself: a CRD cannot be recursive")
                parents = (*parents, name)
                inner = dict(self._definitions[name])
                if "enum" in inner:
                    inner.pop("description", None)  # its values say as much; a field may still describe it
            node = {**inner, **node}
        return node, parents


def _rules(node: Schema, path: str) -> list[JsonValue]:
    """The CEL rules of a node, with those that stand for a keyword which the API server serves badly.

    A pattern becomes one because only a rule can say what to do about it.
    """
    rules = list(_list(node.pop(_VALIDATIONS, [])))
    words = _object(node.pop(PATTERN_RULE, {}))
    if (pattern := node.pop("pattern", None)) is not None:
        if not words:
            raise UnmappedSchemaError(f"{path}: a pattern needs words for people: model.remedy(...)")
        rule = f'self.matches(r"{_string(pattern)}")'
        if also := words["also"]:
            rule += f" && {also}"
        if _INT_OR_STRING in node:
            rule = f"type(self) == int || {rule}"
        rules.insert(0, dict(cel(rule, _string(words["message"]))))
    if isinstance(minimum := node.get("minimum"), float) and not minimum.is_integer():
        # The API server cuts `minimum` to an integer where the value is one: 0 would pass for 0.01.
        del node["minimum"]
        rules.append(dict(cel(f"self >= {minimum}", f"must be at least {minimum}")))
    return rules


def _default(value: JsonValue, schema: Schema) -> JsonValue:
    """The default to declare; None for none.

    Empty lists and maps are left out: absent means the same, and an object stays as short as it was
    written. Of a nested object's default, what its own fields default to is left out likewise.
    """
    if isinstance(value, dict) and "properties" in schema:
        fields = _object(schema["properties"])
        return {
            name: part
            for name, part in value.items()
            if part is not None and part != _object(fields[name]).get("default") and part not in ([], {})
        }
    return None if value in ([], {}) else value


def _check_bounds(schema: Schema, path: str) -> None:
    """Everything has an end: CEL over unbounded values is refused, and etcd is no place for a flood."""
    kind = schema.get("type")
    if kind == "object":
        if "properties" in schema or "maxProperties" in schema:
            return
        raise UnmappedSchemaError(f"{path}: a map without maxProperties")
    bound = _BOUND.get(kind) if isinstance(kind, str) else None
    if bound is not None and bound not in schema and "enum" not in schema:
        raise UnmappedSchemaError(f"{path}: {kind} without {bound}")
    if kind is None and _INT_OR_STRING not in schema:
        raise UnmappedSchemaError(f"{path}: no type")


def _one_line(text: str) -> str:
    """The first paragraph: what follows in a docstring speaks to programmers."""
    return " ".join(text.split("\n\n", 1)[0].split())


def _string(value: JsonValue) -> str:
    if not isinstance(value, str):
        raise UnmappedSchemaError(f"expected a string, found {value!r}")
    return value


def _object(value: JsonValue) -> Schema:
    if not isinstance(value, dict):
        raise UnmappedSchemaError(f"expected an object, found {value!r}")
    return dict(value)


def _list(value: JsonValue) -> list[JsonValue]:
    if not isinstance(value, list):
        raise UnmappedSchemaError(f"expected a list, found {value!r}")
    return value
