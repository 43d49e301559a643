"""Validation errors name the file and JSON path, in plain words, and suggest the nearest name."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archon.errors import MAX_REPORTED, SpecError
from archon.spec.architecture import ArchitectureRef, ArchitectureSpec
from archon.spec.model import ScriptedCard
from archon.spec.validation import parse


def architecture(**changes: Any) -> dict[str, Any]:
    node = {"type": "generator", "model": "solver"}
    whole = {"version": 1, "name": "x", "models": {"solver": "m"}, "nodes": {"a": node}}
    return {**whole, "output": "a", **changes}


def refusal(data: Any) -> SpecError:
    with pytest.raises(SpecError) as caught:
        parse(ArchitectureSpec, data, "mine.json")
    assert str(caught.value).startswith("mine.json: $")
    return caught.value


def refused_node(**node: Any) -> SpecError:
    return refusal(architecture(nodes={"a": {"type": "generator", "model": "solver", **node}}))


def test_valid_data_becomes_a_spec() -> None:
    spec = parse(ArchitectureSpec, architecture(models={"solver": {"architecture": "single"}}))
    assert spec.models["solver"] == ArchitectureRef(architecture="single")


def test_a_card_may_be_written_inline() -> None:
    card = {"name": "double", "backend": "scripted"}
    spec = parse(ArchitectureSpec, architecture(models={"solver": card}))
    assert spec.models["solver"] == ScriptedCard(name="double", backend="scripted")


def test_serve_is_dumped_only_if_it_is_given() -> None:
    """Digests of stored runs and studies are those of files without the key."""
    plain = parse(ArchitectureSpec, architecture())
    assert plain.model_dump(mode="json") == parse(
        ArchitectureSpec, architecture(serve=None)
    ).model_dump(mode="json")
    assert "serve" not in plain.model_dump()
    asked = architecture(serve={"request_sampling": "output"})
    spec = parse(ArchitectureSpec, asked)
    assert spec.model_dump(mode="json")["serve"] == {"request_sampling": "output"}
    assert parse(ArchitectureSpec, spec.model_dump(mode="json")) == spec


def test_an_invalid_request_sampling_is_reported_with_the_valid_values() -> None:
    error = refusal(architecture(serve={"request_sampling": "outputs"}))
    assert error.path == "$.serve.request_sampling"
    assert "'output'" in error.reason
    assert refusal(architecture(serve={"sampling": "output"})).path == "$.serve.sampling"


def test_an_unknown_key_is_reported_with_the_nearest_key_of_the_object() -> None:
    error = refused_node(sampels=8)
    assert error.path == "$.nodes.a.sampels"
    assert error.reason == "unknown key 'sampels'; did you mean 'samples'?"


def test_an_unknown_top_level_key_is_reported_before_a_missing_one() -> None:
    data = architecture()
    data["outputs"] = data.pop("output")
    assert refusal(data).reason == "unknown key 'outputs'; did you mean 'output'?"


def test_the_node_type_determines_the_keys() -> None:
    # A ranker has 'keep' and no 'samples'; a generator the other way round.
    error = refused_node(type="ranker", samples=3)
    assert error.path == "$.nodes.a.samples"
    assert "unknown key 'samples'" in error.reason


def test_the_value_of_an_unknown_key_is_not_repeated() -> None:
    card = {"backend": "openai", "name": "x", "base_urls": ["http://h/v1"], "model": "m"}
    error = refusal(architecture(models={"solver": {**card, "api_key": "sk-secret"}}))
    assert error.path == "$.models.solver.api_key"
    assert "did you mean 'api_key_env'?" in error.reason
    assert "sk-secret" not in str(error)


def test_an_unknown_node_type_is_reported_with_the_nearest_and_all_types() -> None:
    error = refused_node(type="generater")
    assert error.path == "$.nodes.a.type"
    assert error.reason.startswith("unknown type 'generater'; did you mean 'generator'? (one of ")
    for node_type in (
        "generator",
        "critic",
        "ranker",
        "fuser",
        "verifier",
        "unit_test_generator",
        "vote",
    ):
        assert repr(node_type) in error.reason


def test_an_unknown_method_is_reported_with_the_valid_ones() -> None:
    error = refused_node(type="ranker", method="Listwise")
    assert error.path == "$.nodes.a.method"
    assert error.reason.startswith("unknown value 'Listwise'; did you mean 'listwise'? (one of ")


@pytest.mark.parametrize(
    ("node", "path", "reason"),
    [
        ({"samples": 0}, "samples", "must be greater than or equal to 1, not 0"),
        ({"samples": 10_001}, "samples", "must be less than or equal to 10000, not 10001"),
        ({"samples": "8"}, "samples", "must be an integer, not '8'"),
        ({"samples": True}, "samples", "must be an integer, not true"),
        ({"sampling": {"temperature": "0.5"}}, "sampling.temperature", "must be a number, not '0"),
        ({"sampling": {"temperature": 1e400}}, "sampling.temperature", "must be a finite number"),
        ({"sampling": {"stop": ["a", ""]}}, "sampling.stop[1]", "must have at least 1 character"),
        ({"sampling": []}, "sampling", "must be an object, not a list of 0"),
        ({"inputs": "b"}, "inputs", "must be a list, not 'b'"),
        ({"model": None}, "model", "must be a string, not null"),
        ({"when": {}}, "when", "give exactly one of"),
        ({"prompt": {"text": "a", "template": "b"}}, "prompt", "give either 'template' or 'text'"),
    ],
)
def test_a_wrong_value_is_reported_in_plain_words(
    node: dict[str, Any], path: str, reason: str
) -> None:
    error = refused_node(**node)
    assert error.path == f"$.nodes.a.{path}"
    assert error.reason.startswith(reason)


@pytest.mark.parametrize(
    ("models", "path", "reason"),
    [
        ({"solver": 5}, "$.models.solver", "must be the name of a model card"),
        ({"solver": {"architecture": 5}}, "$.models.solver.architecture", "must be a string"),
        ({"solver": {}}, "$.models.solver.backend", "is missing"),
        ({"solver": {"backend": "locl"}}, "$.models.solver.backend", "unknown backend 'locl'; did"),
        ({"solver": {"backend": "scripted"}}, "$.models.solver.name", "is missing"),
        ({"": "m"}, '$.models[""]', "the key must have at least 1 character"),
        (
            {"solver": {"backend": "local", "name": "x", "sources": [{"path": "x", "sha": "y"}]}},
            "$.models.solver.sources[0].sha",
            "unknown key 'sha'; did you mean 'sha256'?",
        ),
        (
            {"solver": {"backend": "local", "name": "x", "sources": [{}]}},
            "$.models.solver.sources[0]",
            "must be an object with one of the keys 'huggingface', 'pypi', 'path'",
        ),
        (
            {"solver": {"backend": "local", "name": "x", "sources": []}},
            "$.models.solver.sources",
            "must have at least 1 item(s), not 0",
        ),
    ],
)
def test_paths_contain_no_tags_of_unions(models: dict[str, Any], path: str, reason: str) -> None:
    error = refusal(architecture(models=models))
    assert error.path == path
    assert error.reason.startswith(reason)


def test_a_key_named_like_the_tag_of_its_union_is_reported_correctly() -> None:
    assert refused_node(generator={"samples": 1}).path == "$.nodes.a.generator"


def test_a_bad_node_id_is_a_bad_key() -> None:
    error = refusal(architecture(nodes={"1st": {"type": "generator", "model": "solver"}}))
    assert error.path == '$.nodes["1st"]'
    assert error.reason.startswith("the key must match pattern")


def test_several_faults_are_listed_one_per_line_and_the_rest_counted() -> None:
    count = MAX_REPORTED + 4
    nodes = {f"n{i}": {"type": "generator", "model": "solver", "samples": 0} for i in range(count)}
    lines = str(refusal(architecture(nodes=nodes))).split("\n")
    assert len(lines) == MAX_REPORTED + 1
    assert lines[0] == "mine.json: $.nodes.n0.samples: must be greater than or equal to 1, not 0"
    assert lines[1] == "  $.nodes.n1.samples: must be greater than or equal to 1, not 0"
    assert lines[-1] == "  and 4 more"


def test_braces_in_a_key_are_only_text() -> None:
    assert refused_node(**{"{reason}": 1}).reason.startswith("unknown key '{reason}'")


def test_huge_values_are_abbreviated() -> None:
    assert len(str(refused_node(samples=10**5000))) < 200
    assert len(str(refused_node(model=["x"] * 10**5))) < 200
    assert len(str(refused_node(samples="x" * 10**6))) < 200
    assert len(str(refused_node(**{"x" * 10**6: 1}))) < 500


FILE_KEYS = ["version", "name", "nodes", "models", "output", "architecture", "backend", "sources"]
NODE_KEYS = ["a", "type", "model", "inputs", "samples", "when", "prompt", "sampling", "generator"]
KEYS = st.sampled_from([*FILE_KEYS, *NODE_KEYS])
VALUES = st.sampled_from(["generator", "vote", "local", "scripted", "a", 1, 0, None, True, 0.5])
SHAPES = st.recursive(
    VALUES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner), max_leaves=20
)


@given(SHAPES, SHAPES)
def test_any_data_is_a_spec_or_a_spec_error(nodes: object, models: object) -> None:
    with contextlib.suppress(SpecError):
        parse(ArchitectureSpec, architecture(nodes=nodes, models=models))
