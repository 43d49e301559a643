"""What becomes of judged candidates: some are passed on, the others stand in the trace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from archon.graph.nodes.base import NodeContext
from archon.types import Annotation, Candidate, VerdictKind


@dataclass(frozen=True, slots=True)
class Ruling:
    """What a verifier decides about one candidate."""

    verdict: VerdictKind
    score: float
    reason: str = ""


def keep_best(
    node: str,
    context: NodeContext,
    candidates: Sequence[Candidate],
    scores: Sequence[float],
    keep: int | None,
    reason: str = "",
) -> list[Candidate]:
    """The ``keep`` candidates of highest score, best first; of equals the earlier comes first."""
    order = sorted(range(len(candidates)), key=lambda i: -scores[i])
    ranked = [candidates[i].annotated(Annotation(node, "score", scores[i], reason)) for i in order]
    kept = ranked if keep is None else ranked[:keep]
    context.drop(ranked[len(kept) :])
    return kept


def keep_verified(
    node: str,
    context: NodeContext,
    candidates: Sequence[Candidate],
    rulings: Sequence[Ruling],
    keep_first: int | None,
) -> list[Candidate]:
    """The passes; if there are none, the abstentions; else all, each marked ``unverified``.

    Those that stay keep their order, and ``keep_first`` cuts it off.
    """
    judged = [
        candidate.annotated(
            Annotation(node, "verdict", ruling.verdict, ruling.reason),
            Annotation(node, "score", ruling.score),
        )
        for candidate, ruling in zip(candidates, rulings, strict=True)
    ]
    verdicts = {ruling.verdict for ruling in rulings}
    wanted = next((verdict for verdict in ("pass", "abstain") if verdict in verdicts), "fail")
    if wanted == "fail":
        judged = [c.annotated(Annotation(node, "mark", "unverified")) for c in judged]
    stays = [i for i, ruling in enumerate(rulings) if ruling.verdict == wanted][:keep_first]
    kept = frozenset(stays)
    context.drop([candidate for i, candidate in enumerate(judged) if i not in kept])
    return [judged[i] for i in stays]
