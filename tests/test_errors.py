"""Errors of files: their text, references and JSON."""

from __future__ import annotations

import pytest

from archon.errors import (
    MAX_REPORTED,
    FileError,
    GraphError,
    ModelError,
    SpecError,
    reference_at,
    together,
)


def test_one_error_has_one_line() -> None:
    assert (
        str(SpecError("is missing", file="a.json", path="$.name")) == "a.json: $.name: is missing"
    )
    assert str(GraphError("no node 'a'", rule="inputs_exist", path="$.nodes")) == (
        "$.nodes: no node 'a' [inputs_exist]"
    )
    assert str(SpecError("is empty")) == "is empty"


def test_errors_in_one_file_name_the_file_once() -> None:
    error = together(
        [
            SpecError("is missing", file="a.json", path="$.name"),
            GraphError("no node 'a'", rule="inputs_exist", file="a.json", path="$.nodes"),
            SpecError("is missing", file="a.json", path="$.name"),
        ]
    )
    assert isinstance(error, SpecError)
    assert str(error).split("\n") == [
        "a.json: $.name: is missing",
        "  $.nodes: no node 'a' [inputs_exist]",
    ]
    assert [type(one) for one in error.errors] == [SpecError, GraphError]
    assert (error.reason, error.file, error.path) == ("is missing", "a.json", "$.name")


def test_errors_in_several_files_each_name_their_file() -> None:
    error = together([SpecError("x", file="a.json"), SpecError("y", file="b.json")])
    assert str(error) == "a.json: x\n  b.json: y"


def test_all_references_to_a_file_are_named() -> None:
    outer = reference_at("a.json", "$.models.x.architecture")
    with pytest.raises(SpecError) as caught, outer, reference_at("b.json", "$.models.y"):
        raise SpecError("is missing", file="c.json", path="$.name")
    assert str(caught.value) == (
        "c.json (referenced by b.json, $.models.y, referenced by a.json, "
        "$.models.x.architecture): $.name: is missing"
    )
    assert caught.value.to_json() == [
        {
            "file": "c.json",
            "path": "$.name",
            "message": "is missing",
            "referenced_by": [
                {"file": "b.json", "path": "$.models.y"},
                {"file": "a.json", "path": "$.models.x.architecture"},
            ],
        }
    ]


def test_an_error_without_a_file_is_reported_at_the_reference() -> None:
    error = SpecError("no model 'x'").referenced_by(None, "$.models.solver").in_file("a.json")
    assert str(error) == "a.json: $.models.solver: no model 'x'"
    nested = SpecError("y", file="b.json").referenced_by(None, "$.data").in_file("a.json")
    assert str(nested) == "b.json (referenced by a.json, $.data): y"


def test_a_graph_error_keeps_its_rule() -> None:
    error = GraphError("x", rule="no_cycle", file="b.json").referenced_by("a.json", "$.models.s")
    assert isinstance(error, GraphError)
    assert error.rule == error.errors[0].rule == "no_cycle"  # type: ignore[attr-defined]


def test_a_long_list_is_truncated_and_counted() -> None:
    found: list[FileError] = [SpecError(f"x{i}", file="a") for i in range(MAX_REPORTED + 3)]
    lines = str(together(found)).split("\n")
    assert len(lines) == MAX_REPORTED + 1
    assert lines[-1] == "  and 3 more"
    assert len(together(found).errors) == len(found)


def test_a_model_error_names_the_card() -> None:
    error = ModelError("adapter: no such file")
    error.name_card("card.json (referenced by a.json, $.models.s)")
    assert str(error).startswith("card.json (referenced by a.json, $.models.s): adapter: no such")
