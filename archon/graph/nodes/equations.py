"""The ``equations`` method of critics and verifiers, which checks arithmetic without a model.

Its critiques quote only numbers, signs and known units from a candidate, so that no other text of
the candidate enters a prompt through them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from archon.answers import equations
from archon.graph.nodes.base import NodeContext
from archon.graph.nodes.selection import Ruling
from archon.types import Annotation, AnswerKind, Candidate

UNSUITED: Mapping[AnswerKind, str] = dict.fromkeys(
    ("text", "code", "json"), 'it checks only calculations; set its "method" to "reason"'
)
"""The entry ``unsuited`` of methods that check calculations."""


class EquationCritic:
    """Node that reports each candidate's first wrong calculation, or that all are right.

    A candidate without calculations receives no critique.
    """

    def __init__(self, node: str) -> None:
        self._node = node

    async def run(self, context: NodeContext, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Return the candidates with critiques, in the same order; no model is asked."""
        return [self._criticised(candidate) for candidate in candidates]

    def _criticised(self, candidate: Candidate) -> Candidate:
        check = equations.check_equations(candidate.text)
        if not check.statements:
            return candidate
        return candidate.annotated(Annotation(self._node, "critique", _finding(check)))


async def judge_equations(context: NodeContext, candidates: Sequence[Candidate]) -> list[Ruling]:
    """Fail candidates with a wrong calculation, and pass candidates with only right ones.

    The verdict on a candidate without calculations is *abstain*.
    """
    return [_ruling(equations.check_equations(candidate.text)) for candidate in candidates]


def _ruling(check: equations.EquationCheck) -> Ruling:
    if not check.statements:
        return Ruling("abstain", "there is no calculation to check")
    return Ruling("fail" if check.first_wrong else "pass", _finding(check))


def _finding(check: equations.EquationCheck) -> str:
    if check.first_wrong is not None:
        return str(check.first_wrong)
    return f"every calculation that could be checked is right ({len(check.statements)})"
