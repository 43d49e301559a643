"""Each validation rule is violated once and reported with file, JSON path and nearest name."""

from __future__ import annotations

from typing import Any

import pytest

from archon.errors import GraphError
from archon.graph.nodes.registry import NODE_TYPES
from archon.graph.validation import checks
from archon.graph.validation.build import build
from archon.spec.architecture import ArchitectureSpec
from archon.spec.validation import parse

ABLE = {"solver": frozenset({"chat"}), "judge": frozenset({"chat"})}
DRAFT = {"type": "generator", "model": "solver"}
VOTE = {"type": "vote", "inputs": ["draft"]}


def spec(nodes: dict[str, Any], output: str = "answer") -> ArchitectureSpec:
    data = {"version": 1, "name": "x", "models": {"solver": "m", "judge": "m"}}
    return parse(ArchitectureSpec, {**data, "nodes": nodes, "output": output})


def refusal(nodes: dict[str, Any], output: str = "answer") -> GraphError:
    with pytest.raises(GraphError) as caught:
        build(spec(nodes, output), ABLE, "mine.json")
    assert str(caught.value).startswith("mine.json: $.")
    assert str(caught.value).endswith(f"[{caught.value.rule}]")
    return caught.value


def judge(node_type: str, *inputs: str, **more: Any) -> dict[str, Any]:
    return {"type": node_type, "model": "judge", "inputs": list(inputs), **more}


@pytest.mark.parametrize(
    ("nodes", "rule", "path", "reason"),
    [
        (
            {"draft": DRAFT, "answer": {"type": "vote", "inputs": ["draft", "drafd"]}},
            "inputs_exist",
            "$.nodes.answer.inputs[1]",
            "there is no node 'drafd'; did you mean 'draft'?",
        ),
        (
            {"draft": DRAFT, "answer": {"type": "vote", "inputs": ["draft", "answer"]}},
            "no_self_input",
            "$.nodes.answer.inputs[1]",
            "a node cannot read itself",
        ),
        (
            {"draft": DRAFT, "answer": {"type": "vote", "inputs": ["draft", "draft"]}},
            "no_duplicate_input",
            "$.nodes.answer.inputs[1]",
            "'draft' is listed twice",
        ),
        (
            {
                "answer": judge("ranker", "b"),
                "c": judge("fuser", "answer"),
                "b": judge("fuser", "c"),
            },
            "no_cycle",
            "$.nodes.answer.inputs[0]",
            "the nodes form a cycle: answer → c → b → answer",
        ),
        (
            {"draft": DRAFT, "answr": VOTE},
            "output_exists",
            "$.output",
            "there is no node 'answer'; did you mean 'answr'?",
        ),
        (
            {"draft": DRAFT, "stray": judge("ranker", "draft"), "answer": VOTE},
            "reaches_output",
            "$.nodes.stray",
            "no path leads from this node to the output 'answer'",
        ),
        (
            {"answer": {"type": "generator", "model": "solvr"}},
            "model_exists",
            "$.nodes.answer.model",
            "there is no role 'solvr' in models; did you mean 'solver'?",
        ),
        (
            {"answer": {"type": "generator", "model": "solver", "when": {"num_passed": 0}}},
            "when_has_inputs",
            "$.nodes.answer.when",
            "a node with a condition needs inputs",
        ),
    ],
)
def test_a_violation_names_its_rule_and_path(
    nodes: dict[str, Any], rule: str, path: str, reason: str
) -> None:
    error = refusal(nodes)
    assert (error.rule, error.path, error.reason) == (rule, path, reason)


@pytest.mark.parametrize("node_type", ["critic", "ranker", "fuser", "verifier"])
def test_only_a_generator_may_have_no_inputs(node_type: str) -> None:
    error = refusal({"answer": judge(node_type)})
    assert (error.rule, error.path) == ("arity", "$.nodes.answer.inputs")
    assert error.reason == f"a {node_type} needs inputs"


@pytest.mark.parametrize("node_type", ["vote", "program", "join"])
def test_nodes_without_a_model_need_inputs_too(node_type: str) -> None:
    assert refusal({"answer": {"type": node_type}}).rule == "arity"


def test_a_model_that_cannot_do_what_a_method_asks_is_refused() -> None:
    graph = spec({"draft": DRAFT, "answer": judge("ranker", "draft")})
    unable = {"solver": frozenset[str](), "judge": frozenset({"logprobs"})}
    with pytest.raises(GraphError) as caught:
        build(graph, unable)
    assert (caught.value.rule, caught.value.path) == ("capabilities", "$.nodes.answer.model")
    assert "'judge' lacks capabilities that a ranker with method 'listwise' needs: chat" in str(
        caught.value
    )


def test_a_beam_search_needs_a_model_with_beam_search() -> None:
    graph = spec({"answer": {**DRAFT, "sampling": {"beams": 4}}})
    build(graph, {"solver": frozenset({"beams"})})
    with pytest.raises(GraphError, match="'solver' does not support beam search") as caught:
        build(graph, {"solver": frozenset({"chat"})})
    assert caught.value.path == "$.nodes.answer.sampling.beams"


def test_a_generator_requires_no_capability() -> None:
    build(spec({"answer": DRAFT}), {"solver": frozenset()})


def test_a_model_with_unknown_capabilities_passes_all_checks() -> None:
    build(spec({"draft": DRAFT, "answer": judge("ranker", "draft")}), {})


# ------------------------------------------------------------------------------------- critiques

RANKED = judge("ranker", "before", use_critiques=True)
NOTES = judge("critic", "draft")


@pytest.mark.parametrize(
    "before",
    [
        judge("critic", "draft"),
        judge("ranker", "notes"),
        judge("verifier", "notes"),
        {"type": "vote", "inputs": ["notes"]},
        {"type": "generator", "model": "solver", "inputs": ["notes"]},
    ],
    ids=lambda node: node["type"],
)
def test_critiques_pass_through_nodes_that_pass_on_candidates(before: dict[str, Any]) -> None:
    nodes = {"draft": DRAFT, "before": before, "answer": RANKED}
    build(spec({**nodes, "notes": NOTES} if "notes" in before["inputs"] else nodes), ABLE)


def test_a_fuser_passes_no_critiques_on() -> None:
    nodes = {"draft": DRAFT, "notes": NOTES, "before": judge("fuser", "notes"), "answer": RANKED}
    error = refusal(nodes)
    assert (error.rule, error.path) == ("critiques_exist", "$.nodes.answer.use_critiques")


def test_a_conditional_fuser_passes_no_critiques_on_either() -> None:
    fuser = judge("fuser", "notes", when={"agreement_below": 0.5})
    error = refusal({"draft": DRAFT, "notes": NOTES, "before": fuser, "answer": RANKED})
    assert error.rule == "critiques_exist"


def test_critiques_of_a_critic_after_the_fuser_arrive() -> None:
    nodes = {"draft": DRAFT, "merged": judge("fuser", "draft"), "before": judge("critic", "merged")}
    build(spec({**nodes, "answer": RANKED}), ABLE)


@pytest.mark.parametrize("use_critiques", [None, False])
def test_a_critic_is_needed_only_if_critiques_are_required(use_critiques: bool | None) -> None:
    build(
        spec({"draft": DRAFT, "answer": judge("ranker", "draft", use_critiques=use_critiques)}),
        ABLE,
    )


# --------------------------------------------------------------------------------------- prompts


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{candidates}", "the text does not contain {question}"),
        ("{question}", "the text does not contain {candidates}"),
        ("{question} {candidates} {answr}", "the field {answr} is not available here"),
        (
            "{question} {candidates} {critique}",
            "the field {critique} is not available here; did you mean 'critiq",
        ),
        ("{{question}} {candidates}", "the text does not contain {question}"),
    ],
)
def test_a_users_text_has_the_fields_that_the_node_fills(text: str, reason: str) -> None:
    error = refusal({"draft": DRAFT, "answer": judge("ranker", "draft", prompt={"text": text})})
    assert (error.rule, error.path) == ("prompt_fields", "$.nodes.answer.prompt.text")
    assert error.reason.startswith(reason)


def test_a_text_for_candidates_needs_a_node_with_inputs() -> None:
    prompt = {"text": "{question} {candidates}"}
    error = refusal({"answer": {**DRAFT, "prompt": prompt}})
    assert error.reason.startswith("the field {candidates} is not available here")


@pytest.mark.parametrize("text", [r"{question} \boxed{}", '{question} {"a": 1}', "{question}{{x}}"])
def test_other_braces_are_text(text: str) -> None:
    build(spec({"answer": {**DRAFT, "prompt": {"text": text}}}), ABLE)


def test_a_generator_with_inputs_need_not_show_them() -> None:
    more = {**DRAFT, "inputs": ["draft"], "prompt": {"text": "{question}"}}
    build(spec({"draft": DRAFT, "answer": more}), ABLE)


def test_an_unknown_template_is_an_error_with_a_suggestion() -> None:
    error = refusal({"answer": {**DRAFT, "prompt": {"template": "coot"}}})
    assert (error.rule, error.path) == ("template_exists", "$.nodes.answer.prompt.template")
    assert error.reason == "there is no template 'coot' for a generator; did you mean 'cot'?"


# --------------------------------------------------------------------------------- the rule book


def test_the_docstring_lists_every_rule_in_the_order_of_checking() -> None:
    listed = [
        line.split()[0]
        for line in (checks.__doc__ or "").splitlines()
        if line and not line.startswith((" ", "="))
    ]
    names = [rule.__name__ for rule in checks.RULES]
    assert [word for word in listed if word in names] == names


def test_required_capabilities_are_known_ones() -> None:
    from archon.lm.base import CAPABILITIES

    for node_type in NODE_TYPES.values():
        for method in node_type.methods.values():
            assert method.requires <= CAPABILITIES.keys()
