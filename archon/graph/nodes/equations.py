"""The method ``equations`` of critic and verifier: checks arithmetic without a model.

Its critiques contain numbers, signs and known units only, so that nothing else of a candidate's
text gets into a prompt through them.
"""

from __future__ import annotations

from collections.abc import Sequence

from archon.answers import equations
from archon.graph.nodes.base import NodeContext
from archon.graph.nodes.selection import SCORES, Ruling, keep_verified
from archon.types import Annotation, Candidate, VerdictKind


class EquationCritic:
    """Reports the first wrong calculation of each candidate, or that all are right.

    A candidate that states no calculation gets no critique.
    """

    def __init__(self, node: str) -> None:
        self._node = node

    async def run(self, context: NodeContext, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Asks no model; the candidates keep their order."""
        return [self._criticised(candidate) for candidate in candidates]

    def _criticised(self, candidate: Candidate) -> Candidate:
        check = equations.check_equations(candidate.text)
        if not check.statements:
            return candidate
        return candidate.annotated(Annotation(self._node, "critique", _finding(check)))


class EquationVerifier:
    """Fails a candidate with a wrong calculation, and passes one whose calculations are all right.

    It abstains where there is no calculation, so that a text which shows no work does not count as
    checked. ``archon.graph.nodes.selection.keep_verified`` decides what is passed on.
    """

    def __init__(self, node: str, keep_first: int | None) -> None:
        self._node, self._keep_first = node, keep_first

    async def run(self, context: NodeContext, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Asks no model."""
        if not candidates:
            return []
        rulings = [_ruling(equations.check_equations(candidate.text)) for candidate in candidates]
        return keep_verified(self._node, context, candidates, rulings, self._keep_first)


def _ruling(check: equations.EquationCheck) -> Ruling:
    verdict: VerdictKind = "fail" if check.first_wrong else "pass"
    if not check.statements:
        return Ruling("abstain", SCORES["abstain"], "there is no calculation to check")
    return Ruling(verdict, SCORES[verdict], _finding(check))


def _finding(check: equations.EquationCheck) -> str:
    if check.first_wrong is not None:
        return str(check.first_wrong)
    return f"every calculation that could be checked is right ({len(check.statements)})"
