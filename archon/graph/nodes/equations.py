"""Critic and verifier that check the arithmetic of a text without a model.

What they say holds numbers, signs and known units only: nothing else of a candidate's text gets
into a prompt by way of a critique.
"""

from __future__ import annotations

from collections.abc import Sequence

from archon.answers.equations import EquationCheck, check_equations
from archon.graph.nodes.base import NodeContext
from archon.graph.nodes.selection import Ruling, keep_verified
from archon.graph.nodes.verifier import SCORES
from archon.types import Annotation, Candidate, VerdictKind


class EquationCritic:
    """Tells of each candidate the first calculation that is wrong, or that all are right.

    A candidate that states no calculation gets no critique.
    """

    def __init__(self, node: str) -> None:
        self._node = node

    async def run(self, context: NodeContext, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Asks no model; the candidates keep their order."""
        return [self._criticised(candidate) for candidate in candidates]

    def _criticised(self, candidate: Candidate) -> Candidate:
        check = check_equations(candidate.text)
        if not check.statements:
            return candidate
        return candidate.annotated(Annotation(self._node, "critique", _finding(check)))


class EquationVerifier:
    """Fails a candidate with a wrong calculation, and passes one all of whose are right.

    It abstains where there is no calculation, so that a text which shows no work is not taken for
    a checked one. What stays is told by ``archon.graph.nodes.selection.keep_verified``.
    """

    def __init__(self, node: str, keep_first: int | None) -> None:
        self._node, self._keep_first = node, keep_first

    async def run(self, context: NodeContext, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Asks no model."""
        if not candidates:
            return []
        rulings = [_ruling(check_equations(candidate.text)) for candidate in candidates]
        return keep_verified(self._node, context, candidates, rulings, self._keep_first)


def _ruling(check: EquationCheck) -> Ruling:
    verdict: VerdictKind = "fail" if check.first_wrong else "pass"
    if not check.statements:
        return Ruling("abstain", SCORES["abstain"], "there is no calculation to check")
    return Ruling(verdict, SCORES[verdict], _finding(check))


def _finding(check: EquationCheck) -> str:
    if check.first_wrong is not None:
        return str(check.first_wrong)
    return f"every calculation that could be checked is right ({len(check.statements)})"
