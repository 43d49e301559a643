"""JSON Schema of a search space: that of an architecture, with holes allowed for all values."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter

from archon.spec.architecture import ArchitectureSpec
from archon.spec.space import FORBID

_HOLE_REF = {"$ref": "#/$defs/Hole"}
_NAME = {
    "$name": {"type": "string", "description": "Holes of one name are one choice.", "minLength": 1}
}
_LOG = {"$log": {"type": "boolean", "description": "Even on a logarithmic scale."}}


def space_schema() -> dict[str, Any]:
    """Return the schema. It does not check alternatives, so it accepts some invalid spaces."""
    schema = TypeAdapter(ArchitectureSpec).json_schema()
    properties = _with_holes(schema["properties"])
    properties |= {key: schema["properties"][key] for key in ("version", "name", "description")}
    definitions = {name: _with_holes_inside(d) for name, d in schema["$defs"].items()}
    return {
        **schema,
        "title": "Space",
        "description": "A search space: an architecture with holes.",
        "properties": {**properties, FORBID: _FORBID},
        "$defs": {**definitions, "Hole": _HOLE},
    }


def _with_holes_inside(schema: Any) -> Any:
    """Return a schema that allows holes for the values inside of the object or list."""
    if isinstance(schema, list):
        return [_with_holes_inside(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    inside = {}
    for key, part in schema.items():
        match key:
            case "properties":
                inside[key] = _with_holes(part)
            case "items" | "additionalProperties" if isinstance(part, dict):
                inside[key] = _or_hole(part)
            case "enum" | "required" | "default" | "const" | "discriminator":
                inside[key] = part
            case _:
                inside[key] = _with_holes_inside(part)
    return inside


def _with_holes(properties: dict[str, Any]) -> dict[str, Any]:
    return {name: _or_hole(schema) for name, schema in properties.items()}


def _or_hole(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [_with_holes_inside(schema), _HOLE_REF]}


def _hole(kind: str, value: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {kind: value, **_NAME, **options},
        "required": [kind],
        "additionalProperties": False,
    }


def _range(kind: str) -> dict[str, Any]:
    return {"type": "array", "items": {"type": kind}, "minItems": 2, "maxItems": 2}


_HOLE = {
    "description": "What a search chooses.",
    "anyOf": [
        _hole(
            "$choice",
            {
                "anyOf": [
                    {"type": "array", "minItems": 1},
                    {"type": "object", "minProperties": 1},
                ],
                "description": "Alternatives, or label and alternative.",
            },
            {},
        ),
        _hole("$int", _range("integer"), _LOG),
        _hole("$float", _range("number"), _LOG),
    ],
}
_FORBID = {
    "type": "array",
    "description": "What is no point of the space: objects of hole and value.",
    "items": {"type": "object", "minProperties": 1},
}
