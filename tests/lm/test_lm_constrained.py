import json
import re
from typing import Any

import pytest

from archon.errors import UnsupportedError
from archon.lm.scripted.constrained import conforming_text
from archon.types import Constraint


@pytest.mark.parametrize(
    "pattern",
    [
        "yes|no",
        r"Verdict: (correct|incorrect)",
        r"-?\d{2,3}(?:\.\d+)?",
        r"[A-D][^\n]?",
        r"\[\d\]( > \[\d\])*",
        r"^a+b*.\s\w\\$",
        "",
    ],
)
def test_the_text_matches_the_pattern(pattern: str) -> None:
    for number in range(5):
        assert re.fullmatch(pattern, conforming_text(Constraint(regex=pattern), number))


def test_the_number_chooses_among_alternatives() -> None:
    constraint = Constraint(regex="yes|no|abstain")
    assert {conforming_text(constraint, number) for number in range(30)} == {"yes", "no", "abstain"}


@pytest.mark.parametrize("pattern", ["(?=a)b", "[^a]", "(", "a{", r"(a)\1"])
def test_an_unsupported_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(UnsupportedError, match="regular expression"):
        conforming_text(Constraint(regex=pattern), 0)


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"const": 3}, 3),
        ({"type": "string", "minLength": 3}, "aaa"),
        ({"type": "string", "maxLength": 0}, ""),
        ({"type": "string", "pattern": "x[0]y"}, "x0y"),
        ({"type": "integer", "minimum": 5}, 5),
        ({"type": "integer", "exclusiveMaximum": 0}, -1),
        ({"type": ["null", "string"]}, None),
        ({"type": "array", "items": {"const": 1}, "minItems": 2}, [1, 1]),
        (
            {
                "type": "object",
                "properties": {"a": {"$ref": "#/$defs/word"}, "b": {"type": "null"}},
                "required": ["a"],
                "$defs": {"word": {"enum": ["w"]}},
            },
            {"a": "w"},
        ),
        ({"anyOf": [{"const": "x"}]}, "x"),
    ],
)
def test_a_schema_gets_a_minimal_instance(schema: dict[str, Any], expected: object) -> None:
    assert json.loads(conforming_text(Constraint(json_schema=schema), 0)) == expected


@pytest.mark.parametrize(
    "schema",
    [
        {"not": {}},
        {"type": "tuple"},
        {"$ref": "#/nowhere"},
        {"$ref": "#"},
    ],
)
def test_an_unsupported_schema_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedError):
        conforming_text(Constraint(json_schema=schema), 0)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": []},
        {"enum": []},
        {"enum": 5},
        {"anyOf": []},
        {"oneOf": {"a": 1}},
        {"$ref": 5},
        {"type": "string", "minLength": "x"},
        {"type": "string", "minLength": 10**9},
        {"type": "string", "pattern": 5},
        {"type": "string", "pattern": "(" * 5000},
        {"type": "string", "pattern": "(((a{1000}){1000}){1000})"},
        {"type": "array", "minItems": "x"},
        {"type": "array", "minItems": 10**9},
        {"type": "object", "required": 5},
        {"type": "object", "required": [{}]},
        {"type": "object", "properties": [], "required": ["a"]},
        {"type": "integer", "exclusiveMaximum": "x"},
    ],
)
def test_an_invalid_or_too_large_schema_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedError):
        conforming_text(Constraint(json_schema=schema), 0)
