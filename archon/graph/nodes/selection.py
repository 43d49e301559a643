"""Which of the judged candidates a node passes on; the others are in the trace as dropped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from archon.graph.candidates import is_cut_off
from archon.graph.nodes.base import NodeContext
from archon.graph.nodes.declaration import Plain
from archon.graph.notes import no_value_mark, unverified_mark
from archon.types import Annotation, Candidate, VerdictKind

SCORES: Mapping[VerdictKind, float] = {"pass": 1.0, "abstain": 0.5, "fail": 0.0}


@dataclass(frozen=True, slots=True)
class Ruling:
    """What a verifier decides about one candidate."""

    verdict: VerdictKind
    score: float
    reason: str = ""


def _no_answer(candidate: Candidate) -> Ruling:
    reason = "its reasoning was cut off" if is_cut_off(candidate) else "it states no number"
    return Ruling("fail", 0.0, reason)


def answers(candidate: Candidate, context: NodeContext) -> bool:
    """Whether a candidate answers at all: it got beyond its reasoning and, where a number is asked
    for, it states one."""
    if is_cut_off(candidate):
        return False
    return candidate.value is not None or context.question.answer != "number"


def keep_best(
    node: str,
    context: NodeContext,
    candidates: Sequence[Candidate],
    scores: Sequence[float],
    keep: int | None,
    reasons: Sequence[str] | None = None,
) -> list[Candidate]:
    """The ``keep`` candidates of highest score, best first; of equals the earlier comes first.

    Those that do not answer come last, whatever their score.
    """
    judged = [
        candidate.annotated(Annotation(node, "score", score, reason))
        for candidate, score, reason in zip(
            candidates, scores, reasons or [""] * len(candidates), strict=True
        )
    ]
    if judged and not any(answers(candidate, context) for candidate in judged):
        mark = no_value_mark(node, "ranked by score alone")
        judged = [candidate.annotated(mark) for candidate in judged]
    order = sorted(range(len(judged)), key=lambda i: (not answers(judged[i], context), -scores[i]))
    return keep_first([judged[i] for i in order], keep, context)


def keep_first(
    candidates: Sequence[Candidate], keep: int | None, context: NodeContext
) -> list[Candidate]:
    """The first ``keep``; the others stand in the trace as dropped."""
    kept = list(candidates[:keep])
    context.drop(candidates[len(kept) :])
    return kept


def keep_verified(
    node: str,
    context: NodeContext,
    candidates: Sequence[Candidate],
    rulings: Sequence[Ruling],
    keep_first: int | None,
) -> list[Candidate]:
    """The passes; if there are none, the abstentions; else all, each marked ``unverified``.

    What does not answer fails. Those that stay keep their order, and ``keep_first`` cuts it off.
    """
    rulings = [
        ruling if answers(candidate, context) else _no_answer(candidate)
        for candidate, ruling in zip(candidates, rulings, strict=True)
    ]
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
        judged = [c.annotated(unverified_mark(node)) for c in judged]
    stays = [i for i, ruling in enumerate(rulings) if ruling.verdict == wanted][:keep_first]
    kept = frozenset(stays)
    context.drop([candidate for i, candidate in enumerate(judged) if i not in kept])
    return [judged[i] for i in stays]


def place_of_dropped(node: Plain, candidate: Plain) -> str:
    """The place of a candidate that ``keep_best`` dropped, from the trace of the node."""
    num_kept = len(node["outputs"])
    order = [dropped["id"] for dropped in node.get("dropped", ())]
    if candidate["id"] not in order:  # a trace of an early version does not list them
        return f"below the first {num_kept}, which are kept"
    place = num_kept + order.index(candidate["id"]) + 1
    return f"{place} of {len(node['inputs'])}; the first {num_kept} are kept"


def own_annotation(node: Plain, candidate: Plain, kind: str) -> Plain | None:
    """The last annotation of a kind that a node made, from its trace."""
    own = [a for a in candidate["annotations"] if (a["node"], a["kind"]) == (node["node"], kind)]
    return own[-1] if own else None
