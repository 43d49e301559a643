"""Diagrams are complete, and no text of a file can break them."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from archon.graph.mermaid import mermaid
from archon.graph.validation.build import build
from archon.spec.architecture import ArchitectureSpec
from archon.spec.validation import parse


def drawn(nodes: dict[str, Any], role: str = "solver") -> str:
    data = {"version": 1, "name": "x", "models": {role: "m"}, "nodes": nodes, "output": "end"}
    return mermaid(build(parse(ArchitectureSpec, data), {}))


def test_the_chart_has_question_nodes_and_answer() -> None:
    nodes = {
        "end": {"type": "ranker", "model": "solver", "inputs": ["draft"], "keep": 3},
        "draft": {
            "type": "generator",
            "model": "solver",
            "samples": 8,
            "sampling": {"temperature": 0.8},
        },
    }
    assert drawn(nodes) == (
        "flowchart TD\n"
        '    question(["question"])\n'
        '    n0["end<br/>ranker · solver<br/>keep 3"]\n'
        '    n1["draft<br/>generator · solver<br/>samples 8, temperature 0.8"]\n'
        '    answer(["answer"])\n'
        "    n1 --> n0\n"
        "    question --> n1\n"
        "    n0 --> answer\n"
    )


def test_a_condition_is_in_the_label() -> None:
    draft = {"type": "generator", "model": "solver"}
    more = {**draft, "inputs": ["draft"], "when": {"agreement_below": 0.6}}
    assert "<br/>when agreement below 0.6" in drawn({"draft": draft, "end": more})
    more = {**draft, "inputs": ["draft"], "when": {"num_passed": 0}}
    assert "<br/>when 0 candidates passed" in drawn({"draft": draft, "end": more})


@given(st.text(min_size=1, max_size=200))
def test_no_role_breaks_out_of_its_label(role: str) -> None:
    text = drawn({"end": {"type": "generator", "model": role}}, role)
    lines = text.splitlines()
    assert len(lines) == 6
    assert re.fullmatch(r'    n0\["end<br/>generator · [^"<>`&\\]*"\]', lines[2])
