"""The vote: the value that most candidates give, or that weighs most."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from archon.errors import UsageError
from archon.graph.nodes.base import NodeContext
from archon.graph.nodes.declaration import Method, NodeType, Plain, Reads, Reason, given
from archon.graph.nodes.scorers import likelihood
from archon.graph.notes import no_value_mark
from archon.lm.embedding import EMBED, Embedder, Vector
from archon.spec.architecture import VoteNode
from archon.types import Annotation, Candidate

SIMILARITY = 0.8
"""The default cosine from which two values count as the same."""

Weight = Callable[[Candidate], float | None]


def one(candidate: Candidate) -> float:
    """Every vote weighs the same."""
    return 1.0


class Vote:
    """Keeps the earliest candidate of each value, its score the weight of all that give that value.

    Where something that votes has no weight, because the budget passed its scorer by, all weigh the
    same. The best supported comes first, of equals the earlier. A candidate without a value has no
    vote; where none has a value, the first candidate passes with a score of 0 and a mark, so that
    there is a text to answer with and the answer says how it came about. Rewards weigh as they are:
    those of cards are probabilities.
    """

    def __init__(self, node: str, weight: Weight = one) -> None:
        self._node, self._weight = node, weight

    async def run(self, context: NodeContext, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Asks no model.

        Raises
        ------
        UsageError
            A score cannot weigh, as a reward of an app's own model may not.
        """
        earliest: dict[str, Candidate] = {}
        support: dict[str, float] = {}
        votes = [(c, c.value, self._weight(c)) for c in candidates if c.value is not None]
        is_weighted = all(weight is not None for _, _, weight in votes)
        least = min((weight for _, _, weight in votes if weight is not None), default=0.0)
        if least < 0:
            raise UsageError(f"a vote cannot weigh {least:g}: scores that weigh are not below 0")
        for candidate, value, weight in votes:
            earliest.setdefault(value, candidate)
            counted = weight if is_weighted and weight is not None else 1.0
            support[value] = support.get(value, 0.0) + counted
        if not earliest:
            mark = no_value_mark(self._node, "returning the first")
            return [self._scored(c, 0.0).annotated(mark) for c in candidates[:1]]
        # Sorting keeps the order of equals, which is that of the earliest candidates.
        values = sorted(earliest, key=lambda value: -support[value])
        return [self._scored(earliest[value], support[value]) for value in values]

    def _scored(self, candidate: Candidate, support: float) -> Candidate:
        return candidate.annotated(Annotation(self._node, "score", support))


class MeaningVote:
    """A vote among groups of values that are alike, each group speaking with its first value.

    Values are taken in order: one joins the group whose first value is most like it, if the two
    are at least ``similarity`` alike, and begins a group of its own otherwise. Compared with the
    first of each group alone, a chain of small steps does not join what differs.
    """

    def __init__(
        self, node: str, embedder: Embedder, similarity: float, weight: Weight = one
    ) -> None:
        self._embedder, self._similarity = embedder, similarity
        self._vote = Vote(node, weight)

    async def run(self, context: NodeContext, candidates: Sequence[Candidate]) -> list[Candidate]:
        """One call of the sentence encoder, for all distinct values."""
        values = list(dict.fromkeys(c.value for c in candidates if c.value is not None))
        if len(values) < 2:
            return await self._vote.run(context, candidates)
        vectors = await context.in_time(self._embedder.embed(values))
        spokesman = dict(zip(values, first_alike(values, vectors, self._similarity), strict=True))
        grouped = [
            c if c.value is None else replace(c, value=spokesman[c.value]) for c in candidates
        ]
        return await self._vote.run(context, grouped)


def first_alike(values: Sequence[str], vectors: Sequence[Vector], similarity: float) -> list[str]:
    """For each value the first one of its group."""
    firsts: list[int] = []
    found: list[str] = []
    for index, vector in enumerate(vectors):
        likeness = {first: _product(vectors[first], vector) for first in firsts}
        best = max(firsts, key=likeness.__getitem__, default=None)
        if best is None or likeness[best] < similarity:
            firsts.append(best := index)
        found.append(values[best])
    return found


def _product(a: Vector, b: Vector) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def latest_score(candidate: Candidate) -> float | None:
    """What the last node that scored it gave; None where the budget passed that node by."""
    return candidate.score


def odds_of(probability: float) -> float:
    """p / (1 − p), finite for all probabilities: how much more likely than not.

    It is what Bradley and Terry (1952) measure strength by, so that a reward that has learnt from
    preferences weighs by it: votes of a strong reply and of many weak ones are on one scale.

    >>> odds_of(0.75)
    3.0
    """
    return probability / (1 - min(probability, _BELOW_ONE))


_BELOW_ONE = math.nextafter(1.0, 0.0)


def latest_odds(candidate: Candidate) -> float | None:
    """The odds of its latest score, a probability.

    Raises
    ------
    UsageError
        The score is above 1. (Below 0 the odds are, too, which no vote takes.).
    """
    score = candidate.score
    if score is None:
        return None
    if score > 1:
        raise UsageError(f"a vote cannot weigh by the odds of {score:g}: that is no probability")
    return odds_of(score)


def own_likelihood(candidate: Candidate) -> float | None:
    """The geometric mean of the probabilities of its tokens; None where its writer told none."""
    return None if candidate.mean_logprob is None else likelihood(candidate)


WEIGHTS: dict[str, Weight] = {
    "count": one,
    "score": latest_score,
    "odds": latest_odds,
    "likelihood": own_likelihood,
}
"""By the name that files use."""


def _meaning_vote(name: str, spec: VoteNode, embedder: Embedder) -> MeaningVote:
    similarity = SIMILARITY if spec.similarity is None else spec.similarity
    return MeaningVote(name, embedder, similarity, WEIGHTS[spec.weight])


def _reads(node: VoteNode) -> Reads:
    return Reads(
        scores=node.weight if node.weight in ("score", "odds") else None,
        likelihoods="weight" if node.weight == "likelihood" else "",
    )


def _check(node: VoteNode) -> Iterator[tuple[str, str]]:
    if node.by == "value" and node.similarity is not None:
        yield f"{NODE_TYPE.describe(node)} {_READS_NONE.format('similarity')}", "similarity"


def _explain(node: Plain, candidate: Plain) -> Reason:
    value = candidate["value"]
    if value is None:
        return Reason("gives no value, so it has no vote")
    same = next((output["id"] for output in node["outputs"] if output["value"] == value), None)
    if same is None:
        return Reason("votes for another candidate, whose value means the same")
    return Reason(f"votes for {same['node']} {same['draw']}, the earliest that gives this value")


_READS_NONE = 'reads no {}; give "by": "meaning"'

NODE_TYPE = NodeType(
    spec=VoteNode,
    chosen_by="by",
    methods={
        "value": Method[VoteNode](
            make=lambda s: Vote(s.name, WEIGHTS[s.spec.weight]),
            refusal=_READS_NONE.format("model"),
            reads=_reads,
            usual_share=0.5,
            scores="support",
        ),
        "meaning": Method(
            make=lambda s: _meaning_vote(s.name, s.spec, s.embedder),
            requires=EMBED,
            reads=_reads,
            usual_share=0.5,
            scores="support",
        ),
    },
    label=lambda node: given(node, "weight"),
    check=_check,
    explain=_explain,
)
