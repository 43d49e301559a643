"""The inputs of a bypassed node replace it everywhere, in their order."""

from __future__ import annotations

from typing import Any

import pytest

from archon.errors import GraphError
from archon.graph.bypass import bypass
from archon.graph.validation.build import build
from archon.spec.architecture import ArchitectureSpec
from archon.spec.validation import parse

NODES: dict[str, Any] = {
    "draft": {"type": "generator", "model": "m"},
    "other": {"type": "generator", "model": "m"},
    "notes": {"type": "critic", "model": "m", "inputs": ["draft", "other"]},
    "best": {"type": "ranker", "model": "m", "inputs": ["notes"], "use_critiques": True},
    "merged": {"type": "fuser", "model": "m", "inputs": ["draft", "best", "other"]},
    "answer": {"type": "vote", "inputs": ["merged"]},
}


def spec(nodes: dict[str, Any], output: str = "answer") -> ArchitectureSpec:
    data = {"version": 1, "name": "x", "models": {"m": "m"}, "nodes": nodes, "output": output}
    return parse(ArchitectureSpec, data)


def inputs(architecture: ArchitectureSpec) -> dict[str, list[str]]:
    return {node_id: node.inputs for node_id, node in architecture.nodes.items()}


def test_inputs_replace_the_node_in_their_order() -> None:
    nodes = {
        **NODES,
        "best": {"type": "ranker", "model": "m", "inputs": ["other", "draft"]},
        "merged": {"type": "fuser", "model": "m", "inputs": ["notes", "best"]},
    }
    bypassed = bypass(spec(nodes), "best")
    assert inputs(bypassed)["merged"] == ["notes", "other", "draft"]
    assert "best" not in bypassed.nodes
    build(bypassed, {})


def test_a_repeated_input_keeps_its_first_position() -> None:
    bypassed = bypass(bypass(spec(NODES), "best"), "notes")
    assert inputs(bypassed)["merged"] == ["draft", "other"]
    build(bypassed, {})


def test_every_reader_is_rewired_and_the_rest_is_unchanged() -> None:
    bypassed = bypass(spec(NODES), "draft")
    assert inputs(bypassed) == {
        "other": [],
        "notes": ["other"],
        "best": ["notes"],
        "merged": ["best", "other"],
        "answer": ["merged"],
    }
    build(bypassed, {})


def test_a_reader_that_loses_its_only_input_is_refused_by_the_checks() -> None:
    nodes = {"draft": NODES["draft"], "answer": {"type": "vote", "inputs": ["draft"]}}
    with pytest.raises(GraphError, match="a vote needs inputs"):
        build(bypass(spec(nodes), "draft"), {})


def test_required_critiques_without_a_critic_are_refused_by_the_checks() -> None:
    with pytest.raises(GraphError) as caught:
        build(bypass(spec(NODES), "notes"), {})
    assert caught.value.rule == "critiques_exist"


def test_a_bypassed_output_with_one_input_makes_the_input_the_output() -> None:
    bypassed = bypass(spec(NODES), "answer")
    assert bypassed.output == "merged"
    assert "answer" not in bypassed.nodes
    build(bypassed, {})


def test_a_bypassed_output_with_several_inputs_becomes_their_join() -> None:
    bypassed = bypass(bypass(spec(NODES), "answer"), "merged")
    assert bypassed.output == "merged"
    assert bypassed.nodes["merged"].type == "join"
    assert inputs(bypassed)["merged"] == ["draft", "best", "other"]
    build(bypassed, {})


def test_a_bypassed_output_without_inputs_is_an_error() -> None:
    with pytest.raises(GraphError, match="cannot bypass the output 'draft': it has no inputs"):
        bypass(spec({"draft": NODES["draft"]}, "draft"), "draft")


def test_an_unknown_node_is_an_error_with_a_suggestion() -> None:
    with pytest.raises(GraphError, match=r"no node 'bets' to bypass; did you mean 'best'\?"):
        bypass(spec(NODES), "bets")


def test_the_original_does_not_change() -> None:
    original = spec(NODES)
    bypass(original, "draft")
    assert original == spec(NODES)


@pytest.mark.parametrize("node", ["draft", "best", "merged"])
def test_the_result_can_be_saved_and_read_again(node: str) -> None:
    bypassed = bypass(bypass(spec(NODES), "answer"), node)
    saved = bypassed.model_dump(mode="json", exclude_none=True)
    assert parse(ArchitectureSpec, saved) == bypassed
