"""The ranker that compares two candidates at a time."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from archon.graph.judge_output import PREFERENCE_CONSTRAINT, read_preference
from archon.graph.nodes.base import NodeContext
from archon.graph.nodes.scorers import score_choices
from archon.graph.nodes.selection import keep_best
from archon.graph.prompts.builder import Prompt
from archon.lm.concurrency import run_all
from archon.types import Candidate, CandidateId

MAX_ROUND_ROBIN = 8
"""So many candidates are all compared with each other; more play a Swiss tournament."""
CHOICES = ("Better: [1]", "Better: [2]")

Pair = tuple[int, int]


def num_rounds(count: int) -> int:
    """The rounds of a tournament of more than ``MAX_ROUND_ROBIN``: ⌈log2 N⌉ + 1.

    Each compares ⌊N/2⌋ pairs at most, in two calls each: 1,800 calls for 200 candidates, where a
    round robin makes 39,800.
    """
    return math.ceil(math.log2(count)) + 1


def most_pairs(count: int) -> int:
    """The most pairs that are compared of so many candidates.

    >>> [most_pairs(count) for count in (0, 1, 2, 8, 200)]
    [0, 0, 1, 28, 900]
    """
    if count <= MAX_ROUND_ROBIN:
        return math.comb(count, 2)
    return num_rounds(count) * (count // 2)


class PairwiseRanker:
    """Lets the model choose between two candidates, once in either order, pair by pair.

    A pair is won by the candidate that is chosen in both orders. Where the two orders disagree, or
    no choice can be read, the judge looked at the place and not at the answer: it abstains, and
    each has half a win. So do two equal texts, about which nothing is asked; and nothing is asked
    where one of them is not judged (``Prompt.judged``), which then loses. A candidate's score is
    the share of its pairs that it won; of equals the earlier comes first. A model that scores
    choices is not made to write; another writes its choice. A single candidate is scored 1 without
    a question.

    Up to ``MAX_ROUND_ROBIN`` candidates are all compared with each other. More play ``num_rounds``
    rounds, in each of which neighbours in the standing meet that have not met before.
    """

    def __init__(
        self, node: str, prompt: Prompt, keep: int | None, use_critiques: bool | None
    ) -> None:
        self._node, self._prompt = node, prompt
        self._keep, self._use_critiques = keep, use_critiques

    async def run(self, context: NodeContext, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Two calls a pair, those of a round all at once."""
        count = len(candidates)
        table = Table(count)
        judged = self._prompt.judged(context.question, candidates)
        if count <= MAX_ROUND_ROBIN:
            pairs = list(itertools.combinations(range(count), 2))
            await self._play(context, candidates, judged, table, pairs)
        else:
            for _ in range(num_rounds(count)):
                await self._play(context, candidates, judged, table, table.next_round())
        return keep_best(self._node, context, candidates, table.shares, self._keep)

    async def _play(
        self,
        context: NodeContext,
        candidates: Sequence[Candidate],
        judged: frozenset[CandidateId],
        table: Table,
        pairs: Sequence[Pair],
    ) -> None:
        results = await run_all(
            self._compare(context, candidates[a], candidates[b], judged) for a, b in pairs
        )
        for pair, result in zip(pairs, results, strict=True):
            table.enter(pair, result)

    async def _compare(
        self, context: NodeContext, a: Candidate, b: Candidate, judged: frozenset[CandidateId]
    ) -> float:
        """The share of the win that goes to ``a``: 1, 0, or one half where the judge abstains."""
        if a.id not in judged or b.id not in judged:
            return 0.5 + ((a.id in judged) - (b.id in judged)) / 2
        if a.text == b.text:
            return 0.5
        forth, back = await run_all([self._first(context, a, b), self._first(context, b, a)])
        if forth is None or back is None or forth == back:
            return 0.5
        return 1.0 if forth else 0.0

    async def _first(self, context: NodeContext, a: Candidate, b: Candidate) -> bool | None:
        """Whether the first of two is chosen; None where neither is."""
        messages = self._prompt.messages(context.question, [a, b], self._use_critiques)
        if context.can("choices"):
            logprobs = await score_choices(context, messages, CHOICES)
            first, second = (logprobs[choice] for choice in CHOICES)
            return None if first == second else first > second
        (completion,) = await context.ask(messages, constraint=PREFERENCE_CONSTRAINT)
        preferred = read_preference(completion.text)
        return None if preferred is None else preferred == 0


@dataclass(slots=True)
class Table:
    """The standing of a tournament."""

    count: int
    wins: list[float] = field(init=False)
    played: list[int] = field(init=False)
    met: set[Pair] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.wins, self.played = [0.0] * self.count, [0] * self.count

    @property
    def shares(self) -> list[float]:
        """The share of its pairs that each has won; 1 for one that has had none."""
        return [
            wins / played if played else 1.0
            for wins, played in zip(self.wins, self.played, strict=True)
        ]

    def enter(self, pair: Pair, result: float) -> None:
        """Note a result: the share of the win that goes to the first of the pair."""
        a, b = pair
        self.wins[a] += result
        self.wins[b] += 1 - result
        self.played[a] += 1
        self.played[b] += 1
        self.met |= {(a, b), (b, a)}

    def next_round(self) -> list[Pair]:
        """Each with the next in the standing that it has not met; who finds none sits out.

        Who has had no pair yet has a share of 1, stands first and plays.
        """
        shares = self.shares
        order = sorted(range(self.count), key=lambda i: -shares[i])
        pairs = []
        while order:
            a = order.pop(0)
            rival = next((b for b in order if (a, b) not in self.met), None)
            if rival is not None:
                order.remove(rival)
                pairs.append((a, rival))
        return pairs
