"""Unit tests of the question: reading, dataflow and validation."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from graph_doubles import make_architecture

from archon.errors import GraphError
from archon.graph.candidates import join_tests
from archon.graph.estimate import estimate
from archon.graph.judge_output import (
    read_results,
    read_tests,
    results_constraint,
    unit_tests_constraint,
)
from archon.graph.nodes.registry import method_of
from archon.graph.validation.build import build
from archon.lm.scripted.constrained import conforming_text
from archon.lm.scripted.lm import ScriptedLM
from archon.spec.architecture import ArchitectureSpec, UnitTestEvaluatorNode
from archon.types import Request, UnitTest, UnitTestMethod

# ------------------------------------------------------------------------------------- reading


@pytest.mark.parametrize(
    ("text", "tests"),
    [
        ("1. It is even.\n2. It is large.", ["It is even.", "It is large."]),
        ("Here they are:\n- It is even.\n* It is large.\nDone.", ["It is even.", "It is large."]),
        ("[1] It is even.\n(2) no\n3) It is large.", ["It is even.", "It is large."]),
        ("1. It is even.\n2. It is even.\n3.", ["It is even."]),
        ("1. a\n2. b\n3. c\n4. d", ["a", "b", "c"]),
        ("2.5 is no item", []),
        ("I cannot.", []),
        ("", []),
    ],
)
def test_statements_are_the_items_of_a_list(text: str, tests: list[str]) -> None:
    assert read_tests(text, "reason", 3) == tests


@pytest.mark.parametrize(
    ("text", "tests"),
    [
        ("assert f(1) == 2\nassert f(2) == 3", ["assert f(1) == 2", "assert f(2) == 3"]),
        ("```python\ndef test():\n    assert f(1) == 2\n```", ["assert f(1) == 2"]),
        ("1. `assert f(1) == 2`\n2. it is fast", ["assert f(1) == 2"]),
        ("assertion: f(1)\nWe assert f(1) == 2", []),
    ],
)
def test_assertions_are_the_lines_that_begin_with_assert(text: str, tests: list[str]) -> None:
    assert read_tests(text, "program", 3) == tests


def test_reading_takes_time_linear_in_the_text() -> None:
    for text in ("1. " * 100_000, "[" * 300_000, " " * 300_000, "1" * 300_000, "- `" * 100_000):
        assert len(read_tests(text, "reason", 5)) <= 1
        assert read_results(text, 5) == ["abstain"] * 5


@pytest.mark.parametrize("method", ["reason", "program"])
@pytest.mark.parametrize("max_tests", [1, 5, 64, 65, 10_000])
def test_every_text_that_the_constraint_allows_is_read(
    method: UnitTestMethod, max_tests: int
) -> None:
    form = unit_tests_constraint(method, max_tests)
    assert len(read_tests(conforming_text(form, 0), method, max_tests)) == 1
    wanted = {"reason": "1. It is 4.\n", "program": "assert f(2) == 4\n"}[method]
    assert re.fullmatch(form.regex or "", wanted)
    assert not re.fullmatch(form.regex or "", "Sure! " + wanted)
    lines = "".join(wanted.replace("4", str(i)) for i in range(max_tests))
    assert re.fullmatch(form.regex or "", lines) or max_tests > 64


# ------------------------------------------------------------------------------------- results


@pytest.mark.parametrize(
    ("text", "results"),
    [
        ("Tests: [1] pass, [2] fail", ["pass", "fail"]),
        ("tests: [2] FAIL [1] Passed", ["pass", "fail"]),
        ("Tests: [1] fail, [2] fail\nOn reflection:\n**Tests:** [1] pass", ["pass", "abstain"]),
        ("[1]: fail, or rather\n[1]: pass. [2] - failed", ["pass", "fail"]),
        ("Tests: [0] pass, [3] pass, [123456] pass", ["abstain", "abstain"]),
        ("Both pass.", ["abstain", "abstain"]),
        ("", ["abstain", "abstain"]),
    ],
)
def test_results_are_read(text: str, results: list[str]) -> None:
    assert read_results(text, 2) == results


@pytest.mark.parametrize("count", [1, 2, 12, 64])
def test_every_line_of_results_is_read_and_fits_the_reserved_tokens(count: int) -> None:
    form = results_constraint(count)
    assert form is not None
    assert form.after is not None
    for number in range(10):
        line = f"{form.after.label} {conforming_text(form, number)}"
        results = read_results(f"[1] pass\n{line}", count)
        assert re.findall("pass|fail", line) == results
        assert len(f"\n{line}") == form.after.room


def test_no_constraint_counts_more_than_64_tests() -> None:
    assert results_constraint(65) is None


# ------------------------------------------------------------------------------------- carrying


def test_tests_are_joined_in_order_and_equal_ones_are_one() -> None:
    a, b = UnitTest("x", "A", "reason"), UnitTest("x", "B", "reason")
    again, other = UnitTest("y", "A", "reason"), UnitTest("y", "A", "program")
    assert join_tests([[b, a], [again, other], [b]]) == (b, a, other)
    assert join_tests([]) == ()


PLAIN = frozenset({"chat"})


def script(request: Request, draw: int) -> str:
    """Drafts 0, 1, 2, …; two statements; results that favour the answer 2."""
    prompt = request.messages[-1].content
    if "Write tests" in prompt:
        return "1. It is even.\n2. It is above 1."
    if "Tests:" in prompt:
        is_two = "The answer is 2." in prompt
        return f"Hm.\nTests: [1] {'pass' if is_two else 'fail'}, [2] pass"
    if "Verdict:" in prompt:
        return "Verdict: correct"
    return "Ranking: [1] > [2]" if "Ranking:" in prompt else f"The answer is {draw}."


async def run(nodes: dict[str, Any], output: str = "best", **more: Any) -> Any:
    lm = ScriptedLM(script, capabilities=PLAIN)
    return await make_architecture(nodes, output, lm, **more).arun("Which number?")


DRAFT = {"type": "generator", "samples": 4}
TESTS = {"type": "unit_test_generator"}
NEVER = {"num_passed": 3}


def evaluator(*inputs: str, **more: Any) -> dict[str, Any]:
    return {"type": "unit_test_evaluator", "inputs": list(inputs), **more}


async def test_the_candidate_that_passes_most_is_the_answer() -> None:
    answer = await run({"draft": DRAFT, "tests": TESTS, "best": evaluator("draft", "tests")})
    assert answer.value == "2"
    assert [c.id.draw for c in answer.candidates] == [2, 0, 1, 3]
    assert [c.score for c in answer.candidates] == [1.0, 0.5, 0.5, 0.5]
    trace = answer.trace.to_json()["nodes"]
    written = next(node["tests"] for node in trace if node["node"] == "tests")
    assert written[0] == {"node": "tests", "text": "It is even.", "method": "reason"}
    assert [node["tests"] for node in trace if node["node"] != "tests"] == [[], []]
    json.dumps(trace)


BETWEEN = [
    {"type": "fuser", "samples": 4},
    {"type": "ranker"},
    {"type": "verifier"},
    {"type": "vote"},
    {"type": "critic"},
    {"type": "join"},
    {"type": "generator", "samples": 2},
    {"type": "ranker", "when": {"num_passed": 3}},
    {"type": "unit_test_generator", "prompt": {"text": "{question} {max_tests} Write tests"}},
]


@pytest.mark.parametrize("between", BETWEEN)
async def test_every_node_passes_tests_on(between: dict[str, Any]) -> None:
    nodes = {
        "draft": DRAFT,
        "tests": {**TESTS, "inputs": ["draft"]},
        "between": {**between, "inputs": ["tests"]},
        "best": evaluator("between"),
    }
    answer = await run(nodes)
    (call, *_) = answer.trace.nodes["best"].calls
    assert (
        "[1]\n```\nIt is even.\n```\n\n[2]\n```\nIt is above 1.\n```" in call.messages[-1].content
    )
    assert answer.candidates[0].latest("score").node == "best"


async def test_the_tests_of_several_generators_are_judged_together() -> None:
    nodes = {
        "draft": {**DRAFT, "samples": 1},
        "a": TESTS,
        "b": {**TESTS, "max_tests": 1},
        "best": evaluator("b", "draft", "a"),
    }
    answer = await run(nodes)
    assert answer.trace.nodes["b"].tests == (UnitTest("b", "It is even.", "reason"),)
    assert "passes 1 of 2 tests" in answer.candidates[0].latest("score").reason


async def test_equal_generators_of_tests_take_one_sample_each() -> None:
    nodes = {"draft": DRAFT, "a": TESTS, "b": TESTS, "best": evaluator("draft", "a", "b")}
    answer = await run(nodes)
    assert [answer.trace.nodes[name].calls[0].first_draw for name in "ab"] == [0, 1]


async def test_without_tests_the_candidates_are_unchanged() -> None:
    nodes = {
        "draft": DRAFT,
        "tests": {**TESTS, "inputs": ["draft"], "when": NEVER},
        "best": evaluator("tests"),
    }
    answer = await run(nodes)
    assert [c.id.draw for c in answer.candidates] == [0, 1, 2, 3]
    assert [c.score for c in answer.candidates] == [None] * 4
    assert answer.usage.calls == 4


@pytest.mark.parametrize(("tests", "value"), [(TESTS, "2"), ({**TESTS, "when": NEVER}, "0")])
async def test_votes_can_weigh_the_share_of_tests_that_are_passed(
    tests: dict[str, Any], value: str
) -> None:
    nodes = {
        "draft": DRAFT,
        "tests": {**tests, "inputs": ["draft"]},
        "best": evaluator("tests"),
        "answer": {"type": "vote", "inputs": ["best"], "weight": "score"},
    }
    answer = await run(nodes, "answer")
    assert (answer.value, answer.candidates[0].score) == (value, 1.0)


async def test_a_false_condition_bypasses_the_evaluator() -> None:
    best = evaluator("draft", "tests", when={"num_passed": 1})
    answer = await run({"draft": DRAFT, "tests": TESTS, "best": best})
    assert [c.score for c in answer.candidates] == [None] * 4


async def test_a_budget_for_too_few_judgements_bypasses_the_evaluator() -> None:
    nodes = {"draft": DRAFT, "tests": TESTS, "best": evaluator("draft", "tests")}
    answer = await run(nodes, budget={"max_calls": 8})
    assert (answer.limited_by, answer.value, answer.usage.calls) == ("calls", "0", 5)


# ------------------------------------------------------------------------------------- the rules


def refusal(nodes: dict[str, Any], output: str = "best") -> GraphError:
    data = {"version": 1, "name": "x", "models": {"m": "m"}, "nodes": nodes, "output": output}
    with pytest.raises(GraphError) as caught:
        build(ArchitectureSpec.model_validate(data), {"m": PLAIN})
    return caught.value


D, T = {**DRAFT, "model": "m"}, {**TESTS, "model": "m"}
CODE = {**T, "method": "program"}


@pytest.mark.parametrize(
    ("nodes", "rule", "path", "reason"),
    [
        (
            {"draft": D, "best": evaluator("draft", model="m")},
            "tests_exist",
            "$.nodes.best.inputs",
            "no unit tests arrive here; add a unit_test_generator upstream",
        ),
        (
            {"draft": D, "t": CODE, "best": evaluator("draft", "t", model="m")},
            "tests_exist",
            "$.nodes.best.method",
            "the tests that arrive here have the method 'program', not 'reason'",
        ),
        (
            {"draft": D, "t": T, "best": evaluator("draft", "t", method="program")},
            "tests_exist",
            "$.nodes.best.method",
            "the tests that arrive here have the method 'reason', not 'program'",
        ),
        (
            {"t": T, "best": evaluator("t", model="m")},
            "candidates_exist",
            "$.nodes.best.inputs",
            "no candidates arrive here, only unit tests; add a generator to the inputs",
        ),
        (
            {"best": T},
            "candidates_exist",
            "$.output",
            "the output 'best' passes on no candidates, only unit tests",
        ),
        ({"t": T, "best": evaluator()}, "reaches_output", "$.nodes.t", "no path leads"),
        ({"best": evaluator(model="m")}, "arity", "$.nodes.best.inputs", "needs inputs"),
        (
            {"draft": D, "t": CODE, "best": evaluator("draft", "t", method="program", model="m")},
            "model_given",
            "$.nodes.best.model",
            "a unit_test_evaluator with method 'program' uses no model",
        ),
        (
            {"draft": D, "t": T, "best": evaluator("draft", "t")},
            "model_given",
            "$.nodes.best.model",
            "a unit_test_evaluator with method 'reason' needs a model",
        ),
        (
            {"draft": D, "t": T, "best": {"type": "vote", "inputs": ["b"], "weight": "score"}}
            | {"b": evaluator("draft", "t", model="m", when={"num_passed": 0})},
            "scores_exist",
            "$.nodes.best.inputs[0]",
            "candidates from 'b' may have no score",
        ),
        (
            {"draft": D, "t": T, "best": evaluator("draft", "t", model="m")}
            | {"t": {**T, "prompt": {"text": "{question} {candidates}"}}},
            "prompt_fields",
            "$.nodes.t.prompt.text",
            "the field {candidates} is not available here",
        ),
        (
            {"draft": D, "t": T}
            | {"best": evaluator("draft", "t", model="m", prompt={"text": "{question}"})},
            "prompt_fields",
            "$.nodes.best.prompt.text",
            "the text does not contain {candidates}",
        ),
    ],
)
def test_a_violation_names_its_rule_and_path(
    nodes: dict[str, Any], rule: str, path: str, reason: str
) -> None:
    error = refusal(nodes)
    assert (error.rule, error.path) == (rule, path)
    assert reason in error.reason


def test_without_its_generator_an_evaluator_is_refused() -> None:
    nodes = {"draft": DRAFT, "tests": TESTS, "best": evaluator("draft", "tests")}
    architecture = make_architecture(nodes, "best", ScriptedLM(script))
    with pytest.raises(
        GraphError, match="no unit tests arrive here; add a unit_test_generator upstream"
    ):
        architecture.without("tests")
    assert architecture.without("best").spec.output == "best"


# ------------------------------------------------------------------------------------- the cost


def test_the_estimate_counts_the_calls() -> None:
    nodes = {"draft": DRAFT, "tests": TESTS, "best": evaluator("draft", "tests")}
    architecture = make_architecture(nodes, "best", ScriptedLM(script))
    found = estimate(architecture)
    assert {name: node.worst.calls for name, node in found.nodes.items()} == {
        "draft": 4,
        "tests": 1,
        "best": 4,
    }
    spec = UnitTestEvaluatorNode.model_validate(evaluator("a", method="program"))
    assert method_of(spec).calls(spec, 200).count == 0


def test_the_estimate_counts_the_tests_that_prompts_show() -> None:
    def worst(max_tokens: int) -> float:
        tests = {**TESTS, "sampling": {"max_tokens": max_tokens}}
        nodes = {"draft": DRAFT, "tests": tests, "best": evaluator("draft", "tests")}
        found = estimate(make_architecture(nodes, "best", ScriptedLM(script)))
        return found.nodes["best"].worst.prompt_tokens

    assert worst(150) - worst(50) == 4 * 100
