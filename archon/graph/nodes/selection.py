"""Select the best candidates after judging. The trace lists all other candidates as dropped."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from archon.answers.kinds import ANSWER_TYPES
from archon.graph.candidates import is_cut_off
from archon.graph.nodes.base import NodeContext
from archon.graph.nodes.declaration import Plain
from archon.graph.notes import no_value_mark, unverified_mark
from archon.graph.prompts.builder import Prompt
from archon.lm.concurrency import run_all
from archon.types import Annotation, Candidate, VerdictKind

T = TypeVar("T")

SCORES: Mapping[VerdictKind, float] = {"pass": 1.0, "abstain": 0.5, "fail": 0.0}


@dataclass(frozen=True, slots=True)
class Scored:
    """The score of one candidate; higher is better."""

    value: float
    abstains: bool = False
    """True if the model gave no usable judgement, so that the score has little meaning."""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Ruling:
    """A verifier's verdict on one candidate."""

    verdict: VerdictKind
    reason: str = ""
    score: float | None = None
    """The score from which the verdict follows; None uses ``SCORES[verdict]``."""


def has_answer(candidate: Candidate, context: NodeContext) -> bool:
    """Return True if a candidate's reasoning is complete, and it has a value if needed."""
    if is_cut_off(candidate):
        return False
    return candidate.value is not None or not ANSWER_TYPES[context.question.answer].needs_value


async def judge_each(
    prompt: Prompt,
    context: NodeContext,
    candidates: Sequence[Candidate],
    judge: Callable[[Candidate], Awaitable[T]],
    unjudged: T,
) -> list[T]:
    """Call ``judge`` on all candidates concurrently; return the results in the same order.

    For a candidate that is not judged (``Prompt.judged``), the result is ``unjudged``.
    """
    judged = prompt.judged(context.question, candidates)

    async def result(candidate: Candidate) -> T:
        return await judge(candidate) if candidate.id in judged else unjudged

    return await run_all(map(result, candidates))


def keep_best(
    node: str,
    context: NodeContext,
    candidates: Sequence[Candidate],
    scores: Sequence[Scored],
    keep: int | None,
) -> list[Candidate]:
    """Return the ``keep`` candidates with the highest scores, best first; None keeps all.

    Candidates without an answer come last, regardless of their scores. Otherwise equal candidates
    keep their order.
    """
    judged = [
        candidate.annotated(Annotation(node, "score", scored.value, scored.reason))
        for candidate, scored in zip(candidates, scores, strict=True)
    ]
    answering = [has_answer(candidate, context) for candidate in judged]
    if judged and not any(answering):
        mark = no_value_mark(node, "ranked by score alone")
        judged = [candidate.annotated(mark) for candidate in judged]
    order = sorted(range(len(judged)), key=lambda i: (not answering[i], -scores[i].value))
    return keep_first([judged[i] for i in order], keep, context)


def keep_first(
    candidates: Sequence[Candidate], keep: int | None, context: NodeContext
) -> list[Candidate]:
    """Return the first ``keep`` candidates, and record the rest as dropped; None keeps all."""
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
    """Return the candidates that passed or, if none passed, those with the verdict *abstain*.

    If all candidates failed, all are returned with the mark ``UNVERIFIED``. In each case at most
    ``keep_first`` are returned, in their original order. A candidate without an answer fails.
    """
    judged: list[Candidate] = []
    verdicts: list[VerdictKind] = []
    for candidate, ruling in zip(candidates, rulings, strict=True):
        if not has_answer(candidate, context):
            missing = ANSWER_TYPES[context.question.answer].states_none
            is_cut = is_cut_off(candidate)
            reason = "its reasoning was cut off" if is_cut else f"it {missing}"
            ruling = Ruling("fail", reason)
        score = SCORES[ruling.verdict] if ruling.score is None else ruling.score
        verdict = Annotation(node, "verdict", ruling.verdict, ruling.reason)
        judged.append(candidate.annotated(verdict, Annotation(node, "score", score)))
        verdicts.append(ruling.verdict)
    wanted = next((verdict for verdict in ("pass", "abstain") if verdict in verdicts), "fail")
    if wanted == "fail":
        judged = [c.annotated(unverified_mark(node)) for c in judged]
    kept = [i for i, verdict in enumerate(verdicts) if verdict == wanted][:keep_first]
    dropped = set(range(len(judged))).difference(kept)
    context.drop([judged[i] for i in sorted(dropped)])
    return [judged[i] for i in kept]


def rank_of_dropped(node: Plain, candidate: Plain) -> str:
    """Describe the rank of a dropped candidate, for example ``5 of 8; the first 3 are kept``."""
    num_kept = len(node["outputs"])
    order = [dropped["id"] for dropped in node.get("dropped", ())]
    if candidate["id"] not in order:  # a trace of an early version does not list them
        return f"below the first {num_kept}, which are kept"
    rank = num_kept + order.index(candidate["id"]) + 1
    return f"{rank} of {len(node['inputs'])}; the first {num_kept} are kept"


def own_annotation(node: Plain, candidate: Plain, kind: str) -> Plain | None:
    """Return the last annotation of this kind that a node made on a candidate."""
    own = [a for a in candidate["annotations"] if (a["node"], a["kind"]) == (node["node"], kind)]
    return own[-1] if own else None
