"""JSON Schema of search spaces, which is the architecture schema with parameters as values."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter

from archon.spec.architecture import ArchitectureSpec
from archon.spec.plugin_nodes import with_plugin_nodes
from archon.spec.space import FORBID

_PARAMETER_REF = {"$ref": "#/$defs/Parameter"}
_NAME = {
    "$name": {
        "type": "string",
        "description": "Name of the parameter. Parameters with the same name have the same value.",
        "minLength": 1,
    }
}
_LOG = {"$log": {"type": "boolean", "description": "True for a logarithmic scale."}}


def space_schema() -> dict[str, Any]:
    """Return the JSON Schema of search spaces.

    It does not check the alternatives of a ``$choice``, so it accepts some invalid spaces.
    """
    schema = with_plugin_nodes(TypeAdapter(ArchitectureSpec).json_schema())
    properties = _with_parameters(schema["properties"])
    properties |= {key: schema["properties"][key] for key in ("version", "name", "description")}
    definitions = {name: _with_parameters_inside(d) for name, d in schema["$defs"].items()}
    return {
        **schema,
        "title": "Space",
        "description": "A search space: an architecture with parameters whose values are searched.",
        "properties": {**properties, FORBID: _FORBID},
        "$defs": {**definitions, "Parameter": _PARAMETER},
    }


def _with_parameters_inside(schema: Any) -> Any:
    """Return a schema that also allows a search parameter as any value within the given schema."""
    if isinstance(schema, list):
        return [_with_parameters_inside(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    inside = {}
    for key, part in schema.items():
        match key:
            case "properties":
                inside[key] = _with_parameters(part)
            case "items" | "additionalProperties" if isinstance(part, dict):
                inside[key] = _or_parameter(part)
            case "enum" | "required" | "default" | "const" | "discriminator":
                inside[key] = part
            case _:
                inside[key] = _with_parameters_inside(part)
    return inside


def _with_parameters(properties: dict[str, Any]) -> dict[str, Any]:
    return {name: _or_parameter(schema) for name, schema in properties.items()}


def _or_parameter(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [_with_parameters_inside(schema), _PARAMETER_REF]}


def _parameter(kind: str, value: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {kind: value, **_NAME, **options},
        "required": [kind],
        "additionalProperties": False,
    }


def _range(kind: str) -> dict[str, Any]:
    return {"type": "array", "items": {"type": kind}, "minItems": 2, "maxItems": 2}


_PARAMETER = {
    "description": "A value that the search chooses.",
    "anyOf": [
        _parameter(
            "$choice",
            {
                "anyOf": [
                    {"type": "array", "minItems": 1},
                    {"type": "object", "minProperties": 1},
                ],
                "description": "A list of alternatives, or an object {label: alternative}.",
            },
            {},
        ),
        _parameter("$int", _range("integer"), _LOG),
        _parameter("$float", _range("number"), _LOG),
    ],
}
_FORBID = {
    "type": "array",
    "description": "Configurations to exclude: a list of objects {parameter: value}.",
    "items": {"type": "object", "minProperties": 1},
}
