"""Nodes that run candidates' programs: ``program``, and the verifier's method of this name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from archon import answers
from archon.errors import BudgetError
from archon.graph.candidates import PROGRAM_MARK
from archon.graph.nodes.base import NodeContext
from archon.graph.nodes.declaration import Effects, Method, NodeType, given
from archon.graph.nodes.program_execution import (
    ProgramResult,
    run_programs,
    shared_sandbox,
    value_of,
)
from archon.graph.nodes.selection import Ruling
from archon.sandbox import Sandbox, SandboxLimits
from archon.spec.architecture import ProgramNode
from archon.types import Annotation, AnswerKind, Candidate

MAX_PRINTED = 1000
"""Characters of a program's output that an annotation keeps."""


class Program:
    """Runs the program of each candidate; its result becomes the candidate's value.

    A program that fails, or has no result of the requested kind, leaves no value, so that the
    candidate has no vote. A mark records how the program ended and what it printed. Text and
    identity do not change, nor does a candidate without a program
    (``archon.answers.read_program``).
    """

    def __init__(self, node: str, sandbox: Sandbox, limits: SandboxLimits) -> None:
        self._node, self._sandbox, self._limits = node, sandbox, limits

    async def run(self, context: NodeContext, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Ask no model; the candidates keep their order."""
        codes = [answers.read_program(candidate.text) for candidate in candidates]
        found = [code for code in codes if code is not None]
        results = await run_programs(context, self._sandbox, self._limits, found)
        kind = context.question.answer
        return [
            candidate if code is None else self._with_value(candidate, results[code], kind)
            for candidate, code in zip(candidates, codes, strict=True)
        ]

    def _with_value(
        self, candidate: Candidate, result: ProgramResult, kind: AnswerKind
    ) -> Candidate:
        value, ending, printed = None, "", ""
        match result:
            case BudgetError():
                ending = f"not run: {result}"
            case _ if result.kind != "ok":
                ending, printed = f"{result.kind} {result.error}", result.stdout
            case _:
                value, printed = value_of(result.value, kind), result.stdout
                ending = "ok" if value is not None else f"it comes to no {kind}"
        if len(printed) > MAX_PRINTED:
            printed = printed[:MAX_PRINTED] + "…"
        mark = Annotation(self._node, "mark", PROGRAM_MARK + ending, printed)
        return replace(candidate, value=value).annotated(mark)


async def judge_programs(
    sandbox: Sandbox, context: NodeContext, candidates: Sequence[Candidate]
) -> list[Ruling]:
    """Compare the result of each candidate's program with the answer that its text states.

    A candidate passes if the two agree. It fails if they differ or the program fails. Without a
    program, or without an answer outside of it, the candidate gets an abstention.
    """
    kind = context.question.answer
    claims = [_claim(candidate, kind) for candidate in candidates]
    codes = [code for code, stated in claims if code is not None and stated is not None]
    results = await run_programs(context, sandbox, SandboxLimits(), codes)
    return [
        Ruling("abstain", "there is no program")
        if code is None
        else Ruling("abstain", "no answer is stated beside the program")
        if stated is None
        else _ruling(results[code], stated, kind)
        for code, stated in claims
    ]


def _claim(candidate: Candidate, kind: AnswerKind) -> tuple[str | None, str | None]:
    """Return a candidate's program and the value that its text states outside of it."""
    code = answers.read_program(candidate.text)
    if code is None:
        return None, None
    return code, answers.read_stated(candidate.text.replace(code, ""), kind)


def _ruling(result: ProgramResult, stated: str, kind: AnswerKind) -> Ruling:
    if isinstance(result, BudgetError):
        return Ruling("abstain", str(result))
    if result.kind != "ok":
        return Ruling("fail", f"the program fails: {result.kind} {result.error}")
    value = value_of(result.value, kind)
    computed = f"no {kind}" if value is None else value
    reason = f"the program comes to {computed}, the text states {stated}"
    return Ruling("pass" if answers.same_value(value, stated) else "fail", reason)


NODE_TYPE = NodeType(
    spec=ProgramNode,
    methods={
        "": Method[ProgramNode](
            make=lambda s: Program(
                s.name,
                shared_sandbox(),
                SandboxLimits(s.spec.seconds, s.spec.memory_bytes, s.spec.output_bytes),
            )
        )
    },
    effects=Effects(values=True),
    label=lambda node: given(node, "seconds", "memory_bytes", "output_bytes"),
)
