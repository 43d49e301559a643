"""Architectures that are built in Python are the same files."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import pytest

import archon
from archon.errors import GraphError, SpecError, UsageError
from archon.graph.building import DEFAULT_MODEL, GraphBuilder
from archon.graph.nodes.registry import NODE_TYPES
from archon.spec import catalog
from archon.spec.reader import load_architecture


def rebuilt(file: dict[str, Any]) -> GraphBuilder:
    """The graph of a file, made by a call of a method for each of its nodes."""
    whole = ("version", "models", "nodes", "output", "name")
    others = {key: value for key, value in file.items() if key not in whole}
    built = archon.graph(file["name"], models=file.get("models"), **others)
    for id, node in file["nodes"].items():
        keys = {key: value for key, value in node.items() if key not in ("type", "inputs")}
        built = getattr(built, node["type"])(id, inputs=node.get("inputs", []), **keys)
    return built.output(file["output"])


@pytest.mark.parametrize("name", catalog.names("architecture"))
def test_every_shipped_architecture_is_built_and_read_without_loss(name: str) -> None:
    path = catalog.find("architecture", name)
    file = json.loads(Path(path).read_text(encoding="utf-8"))
    file.pop("$schema", None)
    assert rebuilt(file).to_json() == file
    assert GraphBuilder.load(name).to_json() == file


def test_the_builder_has_a_method_for_each_node_type_with_the_keys_of_its_file() -> None:
    for name, declared in NODE_TYPES.items():
        method = vars(GraphBuilder)[name]
        parameters = set(inspect.signature(method).parameters) - {"self", "id", "keys"}
        assert parameters <= declared.spec.model_fields.keys(), name
        needed = {key for key, field in declared.spec.model_fields.items() if field.is_required()}
        assert needed - {"type"} <= parameters, name


def test_a_graph_in_one_line(tmp_path: Path) -> None:
    graph = archon.graph("one-line").generator("draft", samples=8).vote("answer")
    assert graph.to_json() == {
        "version": 1,
        "name": "one-line",
        "models": {"solver": DEFAULT_MODEL},
        "nodes": {
            "draft": {"type": "generator", "samples": 8, "model": "solver"},
            "answer": {"type": "vote", "inputs": ["draft"]},
        },
        "output": "answer",
    }
    path = graph.save(tmp_path / "g.json")
    assert load_architecture(path).spec == graph.build().spec
    assert json.loads(path.read_text()) == graph.to_json()
    assert repr(graph) == "<GraphBuilder one-line: draft (generator), answer (vote)>"


def test_a_graph_with_a_function_runs_but_is_no_file() -> None:
    graph = archon.graph(models={"solver": lambda messages: "The answer is 5."})
    graph = graph.generator("draft", samples=2).vote("answer")
    assert graph.run("2 + 3?").value == "5"
    with pytest.raises(UsageError, match="the model of solver is an object"):
        graph.to_json()
    assert graph.models(solver="scripted").to_json()["models"] == {"solver": "scripted"}


def test_a_beginning_is_continued_in_two_ways() -> None:
    start = archon.graph(models={"solver": "scripted"}).generator("draft")
    first, second = start.vote("answer"), start.critic("notes", method="equations").join("all")
    assert list(start.to_json()["nodes"]) == ["draft"]
    assert list(first.to_json()["nodes"]) == ["draft", "answer"]
    assert second.to_json()["nodes"]["all"]["inputs"] == ["notes"]
    assert "model" not in second.to_json()["nodes"]["notes"]


def test_inputs_models_and_budget() -> None:
    graph = (
        archon.graph(models={"solver": "scripted", "judge": "scripted"}, answer="text")
        .generator("a")
        .generator("b", inputs=[], model="solver")
        .ranker("best", keep=1, inputs=["a", "b"])
        .budget(max_calls=9)
        .output("best")
    )
    file = graph.to_json()
    assert "inputs" not in file["nodes"]["b"]
    assert file["nodes"]["best"] == {
        "type": "ranker", "keep": 1, "model": "judge", "inputs": ["a", "b"]
    }  # fmt: skip
    assert (file["budget"], file["answer"]) == ({"max_calls": 9}, "text")
    assert graph.run("a word?").text


def test_faults_are_named() -> None:
    graph = archon.graph().generator("draft")
    with pytest.raises(UsageError, match="already has a node 'draft'"):
        graph.vote("draft")
    with pytest.raises(UsageError, match=r"no node type 'voting'.*'vote'"):
        graph.node("answer", "voting")
    with pytest.raises(AttributeError, match="no method or node type 'voting'"):
        graph.voting("answer")
    with pytest.raises(UsageError, match="no nodes"):
        archon.graph().to_json()
    with pytest.raises(SpecError, match=r"\$.nodes.draft"):
        archon.graph().generator("draft", sample=3).build()
    with pytest.raises(GraphError):
        archon.graph().vote("answer").build()
