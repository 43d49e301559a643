"""The vote, which puts first the value with the most votes or the largest total weight."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

from archon.answers.kinds import ANSWER_TYPES
from archon.errors import UsageError
from archon.graph.grouping import grouped_values
from archon.graph.nodes.base import NodeContext
from archon.graph.nodes.declaration import (
    Effects,
    Method,
    NodeType,
    Plain,
    Reads,
    Reason,
    set_parameters,
)
from archon.graph.nodes.scorers import own_likelihood
from archon.graph.notes import no_value_mark
from archon.lm.compute import scored
from archon.lm.embedding import EMBED, Embedder, Vector
from archon.spec.architecture import VoteNode
from archon.types import Annotation, Candidate

SIMILARITY = 0.8
"""Default minimum cosine similarity at which two values count as the same."""

Weight = Callable[[Candidate], float | None]
"""Candidate → weight of its vote; None if the budget ran out before the candidate was scored."""


def odds_of(probability: float) -> float:
    """Return p / (1 − p); for a probability of 1, a very large finite number.

    In the model of Bradley and Terry (1952), odds measure the strength of a reply, and a reward
    model that was trained on preferences estimates them. Votes weighted by odds can therefore
    compare one strong reply with the sum of many weak ones.

    >>> odds_of(0.75)
    3.0
    """
    return probability / (1 - min(probability, _BELOW_ONE))


_BELOW_ONE = math.nextafter(1.0, 0.0)


def latest_odds(candidate: Candidate) -> float | None:
    """Return the odds of the candidate's latest score, which must be a probability.

    Raises
    ------
    UsageError
        The score is above 1. (A negative score has negative odds, which ``Vote`` rejects.)
    """
    score = candidate.score
    if score is None:
        return None
    if score > 1:
        raise UsageError(
            f"a vote weighted by odds needs scores from 0 to 1, but a candidate has {score:g}"
        )
    return odds_of(score)


WEIGHTS: dict[str, Weight] = {
    "count": lambda candidate: 1.0,
    "score": lambda candidate: candidate.score,
    "odds": latest_odds,
    "likelihood": own_likelihood,
}
"""Value of a vote's key ``weight`` → the function that computes it."""


class Vote:
    """Node that passes on the first candidate of each value, sorted by the value's total weight.

    That weight becomes the candidate's score. Values with equal weight keep their order. If a
    candidate has no weight, because the budget ran out before it was scored, all votes have the
    weight 1. A candidate without a value has no vote. If no candidate has a value, the first one is
    passed on with a score of 0 and the mark ``NO_VALUE``, which the notes of the answer explain.
    """

    def __init__(self, node: str, weight: Weight = WEIGHTS["count"]) -> None:
        self._node, self._weight = node, weight

    async def run(self, context: NodeContext, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Return one candidate for each value; no model is asked.

        Raises
        ------
        UsageError
            A weight is negative, because a custom reward model returned a negative score.
        """
        values = await grouped_values(candidates, context.question.answer)
        return self.elect(candidates, values)

    def elect(
        self, candidates: Sequence[Candidate], grouped: Sequence[str | None]
    ) -> list[Candidate]:
        """Return one candidate for each value, given the value for which each candidate votes.

        Raises
        ------
        UsageError
            A weight is negative.
        """
        earliest: dict[str, Candidate] = {}
        support: dict[str, float] = {}
        voting = zip(candidates, grouped, strict=True)
        votes = [(c, value, self._weight(c)) for c, value in voting if value is not None]
        is_weighted = all(weight is not None for _, _, weight in votes)
        least = min((weight for _, _, weight in votes if weight is not None), default=0.0)
        if least < 0:
            raise UsageError(f"the weights of a vote must be at least 0, but one is {least:g}")
        for candidate, value, weight in votes:
            earliest.setdefault(value, candidate)
            counted = weight if is_weighted and weight is not None else 1.0
            support[value] = support.get(value, 0.0) + counted
        if not earliest:
            mark = no_value_mark(self._node, "returning the first")
            return [self._scored(c, 0.0).annotated(mark) for c in candidates[:1]]
        # Sorting is stable, and the dict has the values in order of their earliest candidates.
        values = sorted(earliest, key=lambda value: -support[value])
        return [self._scored(earliest[value], support[value]) for value in values]

    def _scored(self, candidate: Candidate, support: float) -> Candidate:
        return candidate.annotated(Annotation(self._node, "score", support))


class MeaningVote:
    """Node that votes as ``Vote`` does, but counts texts with a similar meaning as the same.

    Values are grouped in order. A value joins the group whose first value is the most similar, if
    the cosine of the two embeddings is at least ``similarity``; otherwise it starts a new group.
    Only first values are compared, because a chain of similar values could otherwise connect very
    different values. The first value of a group is the value of all its members. Only answers that
    are text have a meaning: 12 and 13 are similar words, but different numbers.
    """

    def __init__(
        self, node: str, embedder: Embedder, similarity: float | None, weight: Weight
    ) -> None:
        self._embedder = embedder
        self._similarity = SIMILARITY if similarity is None else similarity
        self._vote = Vote(node, weight)

    async def run(self, context: NodeContext, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Return one candidate per group; all distinct values are embedded in one batch."""
        values = list(dict.fromkeys(c.value for c in candidates if c.value is not None))
        if len(values) < 2 or ANSWER_TYPES[context.question.answer].grouping != "meaning":
            return await self._vote.run(context, candidates)
        vectors = await context.in_time(scored(self._embedder.embed(values), values))
        first_of = dict(zip(values, first_alike(values, vectors, self._similarity), strict=True))
        return self._vote.elect(
            candidates, [None if c.value is None else first_of[c.value] for c in candidates]
        )


def first_alike(values: Sequence[str], vectors: Sequence[Vector], similarity: float) -> list[str]:
    """Group the values by their vectors; return the first value of each value's group."""
    firsts: list[int] = []
    found: list[str] = []
    for index, vector in enumerate(vectors):
        cosines = {first: _dot(vectors[first], vector) for first in firsts}
        best = max(firsts, key=cosines.__getitem__, default=None)
        if best is None or cosines[best] < similarity:
            firsts.append(best := index)
        found.append(values[best])
    return found


def _dot(a: Vector, b: Vector) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def _reads(node: VoteNode) -> Reads:
    return Reads(
        scores=node.weight if node.weight in ("score", "odds") else None,
        likelihoods="weight" if node.weight == "likelihood" else "",
    )


def _check(node: VoteNode) -> Iterator[tuple[str, str]]:
    if node.by == "value" and node.similarity is not None:
        yield f"{NODE_TYPE.describe(node)} {_USES_NONE.format('similarity')}", "similarity"


def _explain(node: Plain, candidate: Plain) -> Reason:
    value = candidate["value"]
    if value is None:
        return Reason("states no value, so it has no vote")
    same = next((output["id"] for output in node["outputs"] if output["value"] == value), None)
    if same is None:
        return Reason("votes for another candidate, whose value means the same")
    return Reason(f"votes for {same['node']} {same['draw']}, the earliest with this value")


_USES_NONE = 'uses no {}; set "by": "meaning"'

NODE_TYPE: NodeType[VoteNode] = NodeType(
    spec=VoteNode,
    chosen_by="by",
    methods={
        "value": Method(
            make=lambda s: Vote(s.name, WEIGHTS[s.spec.weight]),
            refusal=_USES_NONE.format("model"),
        ),
        "meaning": Method(
            make=lambda s: MeaningVote(
                s.name, s.embedder, s.spec.similarity, WEIGHTS[s.spec.weight]
            ),
            requires=EMBED,
        ),
    },
    reads=_reads,
    effects=Effects(usual_share=0.5, scores="support"),
    label=lambda node: set_parameters(node, "weight"),
    check=_check,
    explain=_explain,
)
