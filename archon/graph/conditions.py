"""Evaluate a node's ``when`` condition on the candidates that it reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from archon.graph.grouping import grouped_values
from archon.spec.architecture import When
from archon.types import AnswerKind, Candidate


async def holds(when: When, candidates: Sequence[Candidate], kind: AnswerKind) -> bool:
    """Return whether the condition is true for the candidates; if so, the node runs."""
    if when.agreement_below is not None:
        return agreement(await grouped_values(candidates, kind)) < when.agreement_below
    return num_passed(candidates) == when.num_passed


def agreement(values: Sequence[str | None]) -> float:
    """Return the share of candidates that have the most frequent value; 0 if none has a value."""
    votes = Counter(value for value in values if value is not None)
    return max(votes.values(), default=0) / len(values) if values else 0.0


def num_passed(candidates: Sequence[Candidate]) -> int:
    """Count the candidates whose latest verdict is a pass."""
    verdicts = [candidate.latest("verdict") for candidate in candidates]
    return sum(verdict is not None and verdict.value == "pass" for verdict in verdicts)
