"""The ``program`` node and the ``program`` method of verifiers, which run programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from archon import answers
from archon.answers.kinds import ANSWER_TYPES
from archon.errors import BudgetError
from archon.graph.candidates import PROGRAM_MARK
from archon.graph.nodes.base import NodeContext
from archon.graph.nodes.declaration import Effects, Method, NodeType, set_parameters
from archon.graph.nodes.program_execution import (
    ProgramResult,
    run_programs,
    shared_sandbox,
    value_of,
)
from archon.graph.nodes.selection import Ruling
from archon.sandbox import Json, Sandbox, SandboxLimits
from archon.spec.architecture import ProgramNode
from archon.types import Annotation, Candidate, Question

MAX_PRINTED = 1000
"""Maximum characters of a program's output that are kept in an annotation."""


class Program:
    """Node that runs the program of each candidate; its result becomes the candidate's value.

    If a program fails, or its result is not of the kind that the question asks for, the candidate
    has no value, and thus no vote. A mark records how the program ended and what it printed. The
    text and the id are unchanged. A candidate without a program (``archon.answers.read_program``)
    is passed on unchanged.
    """

    def __init__(self, node: str, sandbox: Sandbox, limits: SandboxLimits) -> None:
        self._node, self._sandbox, self._limits = node, sandbox, limits

    async def run(self, context: NodeContext, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Return the candidates with new values, in the same order; no model is asked."""
        codes = [answers.read_program(candidate.text) for candidate in candidates]
        found = [code for code in codes if code is not None]
        results = await run_programs(context, self._sandbox, self._limits, found)
        return [
            candidate
            if code is None
            else self._with_value(candidate, results[code], context.question)
            for candidate, code in zip(candidates, codes, strict=True)
        ]

    def _with_value(
        self, candidate: Candidate, result: ProgramResult, question: Question
    ) -> Candidate:
        value, ending, printed = None, "", ""
        match result:
            case BudgetError():
                ending = f"not run: {result}"
            case _ if result.kind != "ok":
                ending, printed = f"{result.kind} {result.error}", result.stdout
            case _:
                value, printed = _value_of(result.value, question), result.stdout
                missing = f"its result contains no {ANSWER_TYPES[question.answer].noun}"
                ending = "ok" if value is not None else missing
        if len(printed) > MAX_PRINTED:
            printed = printed[:MAX_PRINTED] + "…"
        mark = Annotation(self._node, "mark", PROGRAM_MARK + ending, printed)
        return replace(candidate, value=value).annotated(mark)


async def judge_programs(
    sandbox: Sandbox, context: NodeContext, candidates: Sequence[Candidate]
) -> list[Ruling]:
    """Compare the result of each candidate's program with the answer that its text states.

    A candidate passes if the two are equal. It fails if they differ or the program fails. If it has
    no program, or states no answer outside the program, the verdict is *abstain*.
    """
    question = context.question
    claims = [_claim(candidate, question) for candidate in candidates]
    codes = [code for code, stated in claims if code is not None and stated is not None]
    results = await run_programs(context, sandbox, SandboxLimits(), codes)
    return [
        Ruling("abstain", "there is no program")
        if code is None
        else Ruling("abstain", "no answer is stated outside the program")
        if stated is None
        else _ruling(results[code], stated, question)
        for code, stated in claims
    ]


def _claim(candidate: Candidate, question: Question) -> tuple[str | None, str | None]:
    """Return a candidate's program, and the answer that its text states outside the program."""
    code = answers.read_program(candidate.text)
    if code is None:
        return None, None
    text = candidate.text.replace(code, "")
    return code, answers.read_stated(text, question.answer, choices=question.choices)


def _value_of(result: Json, question: Question) -> str | None:
    return value_of(result, question.answer, question.choices)


def _ruling(result: ProgramResult, stated: str, question: Question) -> Ruling:
    if isinstance(result, BudgetError):
        return Ruling("abstain", str(result))
    if result.kind != "ok":
        return Ruling("fail", f"the program fails: {result.kind} {result.error}")
    value = _value_of(result.value, question)
    computed = f"no {ANSWER_TYPES[question.answer].noun}" if value is None else value
    reason = f"the program returns {computed}, the text states {stated}"
    is_same = answers.same_value(value, stated, question.answer)
    return Ruling("pass" if is_same else "fail", reason)


NODE_TYPE = NodeType(
    spec=ProgramNode,
    methods={
        "": Method[ProgramNode](
            make=lambda s: Program(
                s.name,
                shared_sandbox(),
                SandboxLimits(s.spec.seconds, s.spec.memory_bytes, s.spec.output_bytes),
            ),
            unsuited={
                "code": "the result of a program is not the program that the question asks for; "
                'replace it by a unit_test_evaluator with "method": "program"'
            },
        )
    },
    effects=Effects(values=True),
    label=lambda node: set_parameters(node, "seconds", "memory_bytes", "output_bytes"),
)
