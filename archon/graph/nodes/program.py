"""Nodes that run the programs of candidates: ``program``, and a method of the verifier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from archon import answers
from archon.errors import BudgetError
from archon.graph.candidates import PROGRAM_MARK
from archon.graph.nodes.base import NodeContext
from archon.graph.nodes.declaration import Method, NodeType, given
from archon.graph.nodes.program_execution import Ran, run_programs, shared_sandbox, value_of
from archon.graph.nodes.selection import SCORES, Ruling, keep_verified
from archon.sandbox import Sandbox, SandboxLimits
from archon.spec.architecture import ProgramNode
from archon.types import Annotation, AnswerKind, Candidate, VerdictKind

MAX_PRINTED = 1000
"""Characters that an annotation keeps of what a program printed."""


class Program:
    """Runs the program of each candidate; its result becomes the candidate's value.

    A program that fails, or has no result of the requested kind, leaves no value, so that the
    candidate has no vote. A mark records how it ended and what it printed. Text and identity stay.
    A candidate without a program (``archon.answers.read_program``) does not change.
    """

    def __init__(self, node: str, sandbox: Sandbox, limits: SandboxLimits) -> None:
        self._node, self._sandbox, self._limits = node, sandbox, limits

    async def run(self, context: NodeContext, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Asks no model; the candidates keep their order."""
        codes = [answers.read_program(candidate.text) for candidate in candidates]
        found = [code for code in codes if code is not None]
        ran = await run_programs(context, self._sandbox, self._limits, found)
        kind = context.question.answer
        return [
            candidate if code is None else self._valued(candidate, ran[code], kind)
            for candidate, code in zip(candidates, codes, strict=True)
        ]

    def _valued(self, candidate: Candidate, ran: Ran, kind: AnswerKind) -> Candidate:
        value, ending, printed = None, "", ""
        match ran:
            case BudgetError():
                ending = f"not run: {ran}"
            case _ if ran.kind != "ok":
                ending, printed = f"{ran.kind} {ran.error}", ran.stdout
            case _:
                value, printed = value_of(ran.value, kind), ran.stdout
                ending = "ok" if value is not None else f"it comes to no {kind}"
        mark = Annotation(self._node, "mark", PROGRAM_MARK + ending, _cut(printed))
        return replace(candidate, value=value).annotated(mark)


class ProgramVerifier:
    """Runs the program of each candidate and compares its result with what the text states.

    A candidate passes if the two agree. It fails if they differ or the program fails. The verifier
    abstains if there is no program, or no answer is stated outside of it.
    ``archon.graph.nodes.selection.keep_verified`` decides what is passed on.
    """

    def __init__(
        self,
        node: str,
        sandbox: Sandbox,
        keep_first: int | None,
        limits: SandboxLimits | None = None,
    ) -> None:
        self._node, self._sandbox, self._keep_first = node, sandbox, keep_first
        self._limits = limits or SandboxLimits()

    async def run(self, context: NodeContext, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Asks no model."""
        if not candidates:
            return []
        kind = context.question.answer
        claims = [_claim(candidate, kind) for candidate in candidates]
        codes = [code for code, stated in claims if code is not None and stated is not None]
        ran = await run_programs(context, self._sandbox, self._limits, codes)
        rulings = [
            _abstention("there is no program")
            if code is None
            else _abstention("no answer is stated beside the program")
            if stated is None
            else _ruling(ran[code], stated, kind)
            for code, stated in claims
        ]
        return keep_verified(self._node, context, candidates, rulings, self._keep_first)


def _claim(candidate: Candidate, kind: AnswerKind) -> tuple[str | None, str | None]:
    """A candidate's program, and the value that its text states outside of it."""
    code = answers.read_program(candidate.text)
    if code is None:
        return None, None
    return code, answers.read_stated(candidate.text.replace(code, ""), kind)


def _ruling(ran: Ran, stated: str, kind: AnswerKind) -> Ruling:
    if isinstance(ran, BudgetError):
        return _abstention(str(ran))
    if ran.kind != "ok":
        return Ruling("fail", SCORES["fail"], f"the program fails: {ran.kind} {ran.error}")
    value = value_of(ran.value, kind)
    agree = answers.same_value(value, stated)
    verdict: VerdictKind = "pass" if agree else "fail"
    came_to = f"no {kind}" if value is None else value
    reason = f"the program comes to {came_to}, the text states {stated}"
    return Ruling(verdict, SCORES[verdict], reason)


def _abstention(reason: str) -> Ruling:
    return Ruling("abstain", SCORES["abstain"], reason)


def _cut(printed: str) -> str:
    return printed if len(printed) <= MAX_PRINTED else printed[:MAX_PRINTED] + "…"


def _limits(spec: ProgramNode) -> SandboxLimits:
    return SandboxLimits(spec.seconds, spec.memory_bytes, spec.output_bytes)


NODE_TYPE = NodeType(
    spec=ProgramNode,
    methods={
        "": Method[ProgramNode](
            make=lambda s: Program(s.name, shared_sandbox(), _limits(s.spec)),
            values=True,
        )
    },
    label=lambda node: given(node, "seconds", "memory_bytes", "output_bytes"),
)
