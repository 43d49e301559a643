"""Nodes are ordered in linear time, regardless of the order of declaration."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archon.errors import GraphError
from archon.graph.topology import reversed_edges
from archon.graph.validation.build import Graph, build
from archon.spec.architecture import ArchitectureSpec
from archon.spec.validation import parse


def spec(edges: dict[str, list[str]], output: str) -> ArchitectureSpec:
    """Nodes with these inputs: generators without any, rankers elsewhere."""
    nodes: dict[str, Any] = {
        node: {"type": "ranker" if inputs else "generator", "model": "m", "inputs": inputs}
        for node, inputs in edges.items()
    }
    data = {"version": 1, "name": "x", "models": {"m": "m"}, "nodes": nodes, "output": output}
    return parse(ArchitectureSpec, data)


def built(edges: dict[str, list[str]], output: str) -> Graph:
    return build(spec(edges, output), {})


def test_ready_nodes_keep_the_order_of_declaration() -> None:
    edges = {"end": ["b", "a"], "b": ["c"], "a": [], "c": [], "d": []}
    graph = built({**edges, "end": ["b", "a", "d"]}, "end")
    assert graph.order == ("a", "c", "b", "d", "end")


def test_inputs_keep_the_order_listed_and_readers_that_of_declaration() -> None:
    graph = built({"end": ["z", "a", "m"], "m": ["z", "a"], "a": [], "z": []}, "end")
    assert graph.inputs == {"end": ("z", "a", "m"), "m": ("z", "a"), "a": (), "z": ()}
    readers = reversed_edges(graph.inputs)
    assert readers == {"end": [], "m": ["end"], "a": ["end", "m"], "z": ["end", "m"]}


@st.composite
def dags(draw: st.DrawFn) -> dict[str, list[str]]:
    """Random graphs in a random order of declaration, all of whose nodes reach ``end``."""
    count = draw(st.integers(1, 12))
    edges: dict[str, list[str]] = {}
    for i in range(count):
        earlier = [f"n{j}" for j in range(i)]
        edges[f"n{i}"] = draw(st.lists(st.sampled_from(earlier), unique=True)) if earlier else []
    read = {source for inputs in edges.values() for source in inputs}
    edges["end"] = [node for node in edges if node not in read]
    return {node: edges[node] for node in draw(st.permutations(list(edges)))}


@given(dags())
def test_every_node_is_ordered_once_and_after_its_inputs(edges: dict[str, list[str]]) -> None:
    order = built(edges, "end").order
    assert sorted(order) == sorted(edges)
    position = {node: i for i, node in enumerate(order)}
    for node, inputs in edges.items():
        assert all(position[source] < position[node] for source in inputs)


@given(dags())
def test_no_node_waits_for_a_later_one_that_it_does_not_read(
    edges: dict[str, list[str]],
) -> None:
    order = built(edges, "end").order
    done: set[str] = set()
    for node in order:
        ready = [n for n in edges if n not in done and done.issuperset(edges[n])]
        assert node == ready[0]
        done.add(node)


@given(dags(), st.data())
def test_an_edge_with_one_back_is_a_cycle(edges: dict[str, list[str]], data: st.DataObject) -> None:
    pairs = [(source, reader) for reader, inputs in edges.items() for source in inputs]
    source, reader = data.draw(st.sampled_from(pairs))
    edges[source] = [*edges[source], reader]
    with pytest.raises(GraphError) as caught:
        built(edges, "end")
    assert caught.value.rule == "no_cycle"
    cycle = caught.value.reason.removeprefix("the nodes form a cycle: ").split(" → ")
    assert cycle[0] == cycle[-1]
    for node, next_node in pairwise(cycle):
        assert "…" in (node, next_node) or node in edges[next_node]


@pytest.mark.parametrize("shape", ["chain", "layers", "cycle"])
def test_ten_thousand_nodes_are_checked_quickly(shape: str) -> None:
    count, width = 10_000, 1 if shape == "chain" else 5
    edges = {
        f"n{i}": [f"n{j}" for j in range(i - i % width - width, i - i % width) if j >= 0]
        for i in range(count)
    }
    edges["end"] = [f"n{i}" for i in range(count - width, count)]
    if shape == "cycle":
        edges["n0"] = ["end"]
    architecture = spec(edges, "end")
    begin = time.process_time()
    if shape == "cycle":
        with pytest.raises(GraphError, match=r"n0 → .* → … → n0 \[no_cycle\]"):
            build(architecture, {})
    else:
        assert len(build(architecture, {}).order) == count + 1
    assert time.process_time() - begin < 5
