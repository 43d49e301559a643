"""The node and the verifier that run programs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any

import pytest
from graph_doubles import FakeContext, make_architecture, make_candidate

from archon.errors import BudgetError, MissingExtraError
from archon.graph.candidates import has_run, join, reply_text
from archon.graph.lm import ArchitectureLM
from archon.graph.nodes import program_execution
from archon.graph.nodes.program import MAX_PRINTED, Program, judge_programs
from archon.graph.nodes.program_execution import value_of
from archon.graph.nodes.verifier import Verifier
from archon.lm.scripted.lm import in_turn
from archon.sandbox import Json, Outcome, Sandbox, SandboxLimits
from archon.types import AnswerKind, Candidate, Message, Question, Request

LIMITS = SandboxLimits()


def block(code: str, before: str = "", after: str = "") -> str:
    return f"{before}```python\n{code}\n```{after}"


def written(*texts: str) -> list[Candidate]:
    return [make_candidate(i, "7", text=text) for i, text in enumerate(texts)]


class FakeSandbox(Sandbox):
    """Gives each program the outcome that the test wants, and keeps which were run."""

    def __init__(self, outcomes: Mapping[str, Outcome]) -> None:
        self._outcomes = outcomes
        self.ran: list[str] = []

    async def run_program(self, code: str, *, limits: SandboxLimits = LIMITS) -> Outcome:
        self.ran.append(code)
        return self._outcomes[code]


OUTCOMES = {
    "works": Outcome("ok", 18),
    "prints": Outcome("ok", 2, stdout="x" * 2000),
    "fails": Outcome(
        "error", error="ZeroDivisionError: division by zero (line 1)", stdout="so far"
    ),
    "hangs": Outcome("timeout", error="it ran for more than 5 seconds"),
    "says": Outcome("ok", "no idea"),
    "returns nothing": Outcome("ok"),
}


async def run(*texts: str) -> tuple[list[Candidate], FakeSandbox]:
    sandbox, context = FakeSandbox(OUTCOMES), FakeContext()
    out = await Program("ran", sandbox, LIMITS).run(context, written(*texts))
    assert context.asked == []
    return out, sandbox


def summary(out: list[Candidate]) -> list[tuple[int, str | None, str]]:
    marks = [c.latest("mark") for c in out]
    return [(c.id.draw, c.value, str(m and m.value)) for c, m in zip(out, marks, strict=True)]


# --------------------------------------------------------------------------------- the node


async def test_the_result_becomes_the_value_and_a_mark_records_the_ending() -> None:
    out, _ = await run(*map(block, OUTCOMES))
    assert summary(out) == [
        (0, "18", "program: ok"),
        (1, "2", "program: ok"),
        (2, None, "program: error ZeroDivisionError: division by zero (line 1)"),
        (3, None, "program: timeout it ran for more than 5 seconds"),
        (4, None, "program: its result contains no number"),
        (5, None, "program: its result contains no number"),
    ]
    reasons = [mark.reason for c in out if (mark := c.latest("mark"))]
    assert reasons[1:3] == ["x" * MAX_PRINTED + "…", "so far"]
    assert {note.node for c in out for note in c.annotations} == {"ran"}
    assert [c.text for c in out] == list(map(block, OUTCOMES))


async def test_prose_passes_untouched() -> None:
    prose = written("The answer is 7.", "")
    assert (await Program("ran", FakeSandbox({}), LIMITS).run(FakeContext(), prose)) == prose
    assert (await run())[0] == []


async def test_equal_programs_are_run_once() -> None:
    out, sandbox = await run(*[block("works"), block("fails"), "prose", block("works")] * 50)
    assert sandbox.ran == ["works", "fails"]
    assert [c.value for c in out] == ["18", None, "7", "18"] * 50


async def test_a_program_without_time_left_has_no_value_and_a_mark() -> None:
    class Late(FakeContext):
        async def in_time(self, work: Any) -> Any:
            work.close()
            raise BudgetError("the budget of 1 seconds is used up", "seconds")

    out = await Program("ran", FakeSandbox({}), LIMITS).run(Late(), written(block("works"), "-"))
    assert [c.value for c in out] == [None, "7"]
    assert summary(out)[0][2] == "program: not run: the budget of 1 seconds is used up"


@pytest.mark.parametrize(
    ("result", "kind", "value"),
    [
        (12.0, "number", "12"),
        (0.1 + 0.2, "number", "0.3"),
        (17.999999999999996, "number", "18"),
        (-0.0, "number", "0"),
        (1 / 3, "number", "0.333333333333"),
        (1e20, "number", "100000000000000000000"),
        (123456789012345.0, "number", "123456789012345"),
        (10**30, "number", "1" + "0" * 30),
        (-4, "number", "-4"),
        ("0.30000000000000004", "number", "0.3"),
        ("1/3", "number", "1/3"),
        ("She pays $1,000.50.", "number", "1000.5"),
        ("nan", "number", None),
        (True, "number", None),
        ([18], "number", None),
        ({"answer": 18}, "number", None),
        (None, "text", None),
        ("  Paris. ", "text", "paris"),
        (3.5, "text", "3.5"),
        (True, "text", "true"),
        ([1, "a"], "text", '[1, "a"]'),
        ("x = 1", "code", "x = 1"),
        ({"b": 1.0, "a": True}, "json", '{"a":true,"b":1}'),
        ("Rome", "json", '"Rome"'),
        (0.1 + 0.2, "json", "0.3"),
        (r"\frac{1}{2}", "math", "0.5"),
        ("(b)", "choice", "B"),
        (2, "choice", None),
    ],
)
def test_results_have_one_canonical_value(result: Json, kind: AnswerKind, value: str) -> None:
    assert value_of(result, kind) == value


@pytest.mark.parametrize("result", ["B", "12", 12, 12.0])
def test_a_program_may_return_the_letter_or_the_text_of_an_option(result: Json) -> None:
    assert value_of(result, "choice", ("1", "12")) == "12"


# --------------------------------------------------------------------------------- the verifier


async def verify(*texts: str) -> tuple[list[Candidate], FakeContext, FakeSandbox]:
    sandbox, context = FakeSandbox(OUTCOMES), FakeContext()
    out = await Verifier("check", partial(judge_programs, sandbox), None).run(
        context, written(*texts)
    )
    return out, context, sandbox


AGREES = block("works", after="\nThe answer is 18.")
DIFFERS = block("prints", before="The answer is 3.\n")
FAILS = block("fails", before="The answer is 18.\n")
UNSTATED = block("works", before="Here are 18 lines:\n")


async def test_a_program_must_return_the_answer_that_its_text_states() -> None:
    out, context, sandbox = await verify("The answer is 18.", AGREES, DIFFERS, UNSTATED, FAILS)
    judged = sorted([*out, *context.dropped], key=lambda c: c.id.draw)
    rulings = [(v.value, v.reason) for c in judged if (v := c.latest("verdict"))]
    assert rulings == [
        ("abstain", "there is no program"),
        ("pass", "the program returns 18, the text states 18"),
        ("fail", "the program returns 2, the text states 3"),
        ("abstain", "no answer is stated outside the program"),
        (
            "fail",
            "the program fails: error ZeroDivisionError: division by zero (line 1)",
        ),
    ]
    assert [c.score for c in judged] == [0.5, 1.0, 0.0, 0.5, 0.0]
    assert [c.id.draw for c in out] == [1]
    assert [c.value for c in judged] == ["7"] * 5  # judged, not changed
    assert sandbox.ran == ["works", "prints", "fails"]


async def test_all_that_fail_are_kept_and_marked() -> None:
    out, _, _ = await verify(DIFFERS)
    assert [mark.value for c in out if (mark := c.latest("mark"))] == ["unverified"]
    assert (await verify())[0] == []


async def test_a_program_that_states_its_own_answer_in_a_comment_states_none() -> None:
    sandbox = FakeSandbox({"x = 18  # The answer is 18.": Outcome("ok", 18)})
    text = block("x = 18  # The answer is 18.")
    (out,) = await Verifier("check", partial(judge_programs, sandbox), None).run(
        FakeContext(), written(text)
    )
    assert (out.score, sandbox.ran) == (0.5, [])


# --------------------------------------------------------------------------------- in a graph

NODES = {
    "draft": {"type": "generator", "samples": 4},
    "ran": {"type": "program", "inputs": ["draft"], "seconds": 0.3},
    "vote": {"type": "vote", "inputs": ["draft", "ran"]},
}


def solution(body: str) -> str:
    return block(f"def solution():\n    {body}")


async def test_programs_are_run_and_a_failed_one_has_no_vote() -> None:
    replies = [
        solution("while True: pass"),
        solution("return 1 / 0"),
        "def solution():\n    return 0.1 + 0.2\n```\nThat is it.",
        "So the answer is 0.3.",
    ]
    architecture = make_architecture(NODES, "vote", in_turn(replies))
    answer = await architecture.arun("What is 0.1 + 0.2?")
    assert [(c.value, c.id.draw, c.score) for c in answer.candidates] == [("0.3", 2, 2.0)]
    assert [summary([c])[0][1:] for c in answer.trace.nodes["ran"].outputs[:3]] == [
        (None, "program: timeout it ran for more than 0.3 seconds"),
        (None, "program: error ZeroDivisionError: division by zero (line 2)"),
        ("0.3", "program: ok"),
    ]


async def test_a_budget_of_seconds_ends_programs_too() -> None:
    nodes = {
        "draft": {"type": "generator", "samples": 2},
        "ran": {"type": "program", "inputs": ["draft"], "seconds": 60},
    }
    replies = [solution("while True: pass"), solution("return 3")]
    architecture = make_architecture(nodes, "ran", in_turn(replies), budget={"max_seconds": 1.0})
    answer = await asyncio.wait_for(architecture.arun("?"), 20)
    assert [c.value for c in answer.candidates] == [None, "3"]
    assert answer.limited_by == "seconds"


async def test_an_architecture_as_a_model_adds_the_result_of_its_program() -> None:
    nodes = {"draft": {"type": "generator"}, "ran": {"type": "program", "inputs": ["draft"]}}
    text = solution("return 6 * 3")
    lm = ArchitectureLM(make_architecture(nodes, "ran", in_turn([text])))
    (completion,) = await lm.generate(Request((Message("user", "What is 6 * 3?"),)))
    assert completion.text == f"{text}\n\nThe answer is 18."


def test_only_results_of_programs_are_added() -> None:
    assert reply_text(make_candidate(0, "7"), Question("")) == "The answer is 7."


async def test_the_value_of_a_program_outlives_a_join() -> None:
    before = written(block("works"), block("fails"))
    after = await Program("ran", FakeSandbox(OUTCOMES), LIMITS).run(FakeContext(), before)
    for groups in ([before, after], [after, before]):
        joined = join(groups)
        assert [c.value for c in joined] == ["18", None]
        assert all(map(has_run, joined))


def test_without_the_interpreter_the_load_error_names_the_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing() -> Sandbox:
        raise MissingExtraError("pydantic_monty", "sandbox")

    program_execution.shared_sandbox.cache_clear()
    monkeypatch.setattr(program_execution, "Sandbox", missing)
    with pytest.raises(MissingExtraError, match=r"archon-inference\[sandbox\]"):
        make_architecture(NODES, "vote", in_turn(["-"]))


def test_one_sandbox_serves_all() -> None:
    assert program_execution.shared_sandbox() is program_execution.shared_sandbox()


async def test_strange_texts_leave_no_value() -> None:
    nodes = {"d": {"type": "generator", "samples": 2}, "ran": {"type": "program", "inputs": ["d"]}}
    replies = [block("'\ud800'"), block("x = '" + "a" * 70_000 + "'")]
    answer = await make_architecture(nodes, "ran", in_turn(replies)).answer(Question("?"))
    assert [c.value for c in answer.candidates] == [None, None]
