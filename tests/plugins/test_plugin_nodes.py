"""Node types from plug-ins: parameters, models, and the rules that their functions must keep."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel, Field

import archon
from archon.graph.estimate import estimate
from archon.graph.mermaid import mermaid
from archon.spec.reader import schema
from archon.testing import check_node, run_node


class Keep(BaseModel):
    keep: int = Field(1, ge=1, description="Number to keep.")


def register_shortest() -> None:
    @archon.node("shortest", keeps="keep")
    def shortest(candidates: Any, parameters: Keep) -> Any:
        """Keeps the shortest candidates."""
        return sorted(candidates, key=lambda c: len(c.text))[: parameters.keep]


def register_rewrite() -> None:
    @archon.node("rewrite", effects=["replaces"], calls=lambda node, count: count, shown=1)
    async def rewrite(candidates: Any, model: Any) -> Any:
        return [new for c in candidates for new in await model.sample(candidates=[c])]


def spec_of(**node: Any) -> dict[str, Any]:
    return {
        "version": 1,
        "name": "x",
        "models": {"solver": "scripted"},
        "nodes": {
            "draft": {"type": "generator", "model": "solver", "samples": 4},
            "node": {"inputs": ["draft"], **node},
        },
        "output": "node",
    }


def test_a_function_with_parameters_is_a_node_type() -> None:
    register_shortest()
    check_node("shortest", {"keep": 2})
    architecture = archon.load(spec_of(type="shortest", keep=3))
    assert len(architecture.run("What is 1 + 2?").candidates) == 3
    assert "keep 3" in mermaid(architecture.graph)
    dumped = architecture.spec.model_dump(mode="json")["nodes"]["node"]
    assert dumped["keep"] == 3


def test_a_class_is_made_once_for_each_node() -> None:
    @archon.node("counting")
    class Counting:
        def __init__(self, parameters: Keep) -> None:
            self.keep, self.runs = parameters.keep, 0

        async def run(self, candidates: Any, node: Any) -> Any:
            self.runs += 1
            return candidates[: self.keep] if self.runs == 1 else candidates

    architecture = archon.load(spec_of(type="counting", keep=2))
    assert [len(architecture.run("1 + 1").candidates) for _ in range(2)] == [2, 4]


def test_a_node_that_asks_its_model_is_estimated_and_traced() -> None:
    register_rewrite()
    check_node("rewrite")
    architecture = archon.load(spec_of(type="rewrite", model="solver"))
    bound = estimate(architecture)
    assert bound.nodes["node"].worst.calls == 4
    answer = architecture.run("What is 1 + 2?")
    assert [len(call.completions) for call in answer.trace.nodes["node"].calls] == [1] * 4
    assert [c.parents[0].draw for c in answer.candidates] == [0, 1, 2, 3]


def test_equal_nodes_have_ranges_of_samples_for_all_that_they_may_write() -> None:
    register_rewrite()
    spec = spec_of(type="rewrite", model="solver")
    spec["nodes"]["other"] = {"type": "rewrite", "model": "solver", "inputs": ["draft"]}
    spec["nodes"]["all"] = {"type": "join", "inputs": ["node", "other"]}
    answer = archon.load({**spec, "output": "all"}).run("What is 1 + 2?")
    draws = {(c.id.node, c.id.draw) for c in answer.candidates}
    assert draws == {("node", k) for k in range(4)} | {("other", k) for k in range(4, 8)}


@pytest.mark.parametrize(
    ("node", "reason"),
    [
        (
            {"type": "shortest", "kep": 1},
            "$.nodes.node.kep: unknown key 'kep'; did you mean 'keep'",
        ),
        ({"type": "shortest", "keep": 0}, "$.nodes.node.keep: must be greater than"),
        ({"type": "shortest", "model": "solver"}, "$.nodes.node.model: unknown key 'model'"),
        ({"type": "shortes"}, "$.nodes.node.type: unknown type 'shortes'; did you mean 'shortest'"),
        ({"type": "rewrite"}, "$.nodes.node.model: is missing"),
    ],
)
def test_errors_in_files_name_the_place_and_the_nearest_key(
    node: dict[str, Any], reason: str
) -> None:
    register_shortest()
    register_rewrite()
    with pytest.raises(archon.SpecError) as error:
        archon.load(spec_of(**node))
    assert reason in str(error.value)


def test_the_schemas_have_the_type() -> None:
    register_shortest()
    for kind in ("architecture", "space"):
        definition = schema(kind)["$defs"]["ShortestPluginNode"]
        assert "keep" in definition["properties"]


def _two(candidates: Any) -> Any:
    return [candidates[0], candidates[0]]


def _scored(candidates: Any, node: Any) -> Any:
    return [node.score(c, 0.5) for c in candidates]


def _written(candidates: Any, node: Any) -> Any:
    return [*candidates, node.candidate("3")]


def _failing(candidates: Any) -> Any:
    raise KeyError("lost")


@pytest.mark.parametrize(
    ("function", "options", "reason"),
    [
        (lambda candidates: None, {}, "must return a list of candidates, not null"),
        (lambda candidates: ["a"], {}, "must return candidates, but one is 'a'"),
        (_two, {}, "returns the candidate draft 0 twice"),
        (_scored, {}, 'add effects=["scores"]'),
        (_written, {}, 'add effects=["writes"]'),
        (lambda candidates: candidates, {"keeps": 1}, "declares keeps=1, but returns 4"),
        (lambda candidates: candidates, {"effects": ["scores"]}, "has no score of this node"),
        (lambda candidates: candidates, {"effects": ["replaces"]}, "passes on what it reads"),
        (_failing, {}, "test_plugin_nodes.py"),
    ],
)
def test_what_a_function_returns_is_checked(
    function: Callable[..., Any], options: dict[str, Any], reason: str
) -> None:
    archon.node("faulty", **options)(function)
    with pytest.raises(archon.NodeError) as error:
        run_node("faulty")
    assert reason in str(error.value)


def test_more_calls_than_declared_are_an_error() -> None:
    @archon.node("greedy", calls=2)
    async def greedy(candidates: Any, model: Any) -> Any:
        for _ in range(3):
            await model.ask("?")
        return candidates

    with pytest.raises(archon.NodeError, match="declares at most 2 calls"):
        run_node("greedy")


def test_a_node_may_write_without_a_model() -> None:
    @archon.node("add-three", effects=["writes"])
    def add_three(candidates: Any, node: Any) -> Any:
        return [*candidates, node.candidate("The answer is 3.", parents=candidates)]

    check_node("add-three")
    assert run_node("add-three")[-1].value == "3"


def test_wrong_declarations_are_errors() -> None:
    with pytest.raises(archon.UsageError, match="no node has an argument 'canddates'"):
        archon.node("a")(lambda canddates: [])
    with pytest.raises(archon.UsageError, match="must be async"):
        archon.node("a")(lambda candidates, model: [])
    with pytest.raises(archon.UsageError, match="Archon ships a node type 'vote'"):
        archon.node("vote")(lambda candidates: [])

    class Reserved(BaseModel):
        inputs: int = 1

    archon.node("reserved", parameters=Reserved)(lambda candidates: candidates)
    with pytest.raises(archon.UsageError, match="has a parameter 'inputs'"):
        archon.load(spec_of(type="reserved"))


def test_two_definitions_with_one_name_are_an_error_but_a_repeated_one_is_not() -> None:
    register_shortest()
    register_shortest()
    with pytest.raises(archon.UsageError, match=r"already registered by .*test_plugin_nodes.py"):
        archon.node("shortest")(_two)
