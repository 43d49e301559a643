"""Scores of a tournament in which the model compares two candidates at a time."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from archon.graph.judge_output import PREFERENCE_CONSTRAINT, read_preference
from archon.graph.nodes.base import NodeContext
from archon.graph.nodes.scorers import score_choices
from archon.graph.nodes.selection import Scored
from archon.graph.prompts.builder import Prompt
from archon.lm.concurrency import run_all
from archon.types import Candidate, CandidateId

MAX_ROUND_ROBIN = 8
"""Largest number of candidates that are all compared with each other."""
CHOICES = ("Better: [1]", "Better: [2]")

Pair = tuple[int, int]


def num_rounds(count: int) -> int:
    """Return the rounds of a tournament of more than ``MAX_ROUND_ROBIN``: ⌈log2 N⌉ + 1.

    Each round compares up to ⌊N/2⌋ pairs in two calls each: 1,800 calls for 200 candidates, where
    a round robin makes 39,800.
    """
    return math.ceil(math.log2(count)) + 1


def most_pairs(count: int) -> int:
    """Return the largest number of pairs that are compared.

    >>> [most_pairs(count) for count in (0, 1, 2, 8, 200)]
    [0, 0, 1, 28, 900]
    """
    if count <= MAX_ROUND_ROBIN:
        return math.comb(count, 2)
    return num_rounds(count) * (count // 2)


class ShareOfWins:
    """Scorer by the share of pairs that a candidate wins, in two calls per pair.

    The model compares each pair in both orders. A candidate that is chosen in both wins. If the
    choices disagree, the judge chose by position and not by answer. Then, and if no choice can be
    read, each candidate gets half a win. No call is made about equal texts, which share the win, or
    about a pair with an unjudged candidate (``Prompt.judged``), which loses. A model that can score
    choices does so; another writes its choice. A single candidate scores 1.

    Up to ``MAX_ROUND_ROBIN`` candidates are all compared with each other. More candidates play a
    Swiss tournament of ``num_rounds`` rounds.
    """

    def __init__(self, prompt: Prompt, use_critiques: bool | None) -> None:
        self._prompt, self._use_critiques = prompt, use_critiques

    async def __call__(self, context: NodeContext, candidates: Sequence[Candidate]) -> list[Scored]:
        count = len(candidates)
        table = Table(count)
        judged = self._prompt.judged(context.question, candidates)
        is_round_robin = count <= MAX_ROUND_ROBIN
        for _ in range(1 if is_round_robin else num_rounds(count)):
            pairs = (
                list(itertools.combinations(range(count), 2))
                if is_round_robin
                else table.next_round()
            )
            results = await run_all(
                self._compare(context, candidates[a], candidates[b], judged) for a, b in pairs
            )
            for pair, result in zip(pairs, results, strict=True):
                table.enter(pair, result)
        return list(map(Scored, table.shares))

    async def _compare(
        self, context: NodeContext, a: Candidate, b: Candidate, judged: frozenset[CandidateId]
    ) -> float:
        """Return the share of the win for ``a``: 1, 0, or 0.5 where the judge abstains."""
        if a.id not in judged or b.id not in judged:
            return 0.5 + ((a.id in judged) - (b.id in judged)) / 2
        if a.text == b.text:
            return 0.5
        forth, back = await run_all(
            [self._prefers_first(context, a, b), self._prefers_first(context, b, a)]
        )
        if forth is None or back is None or forth == back:
            return 0.5
        return 1.0 if forth else 0.0

    async def _prefers_first(self, context: NodeContext, a: Candidate, b: Candidate) -> bool | None:
        """Return True if the model prefers the first candidate; None for no preference."""
        messages = self._prompt.messages(context.question, [a, b], self._use_critiques)
        if context.can("choices"):
            logprobs = await score_choices(context, messages, CHOICES)
            first, second = (logprobs[choice] for choice in CHOICES)
            return None if first == second else first > second
        completion = await context.ask(messages, constraint=PREFERENCE_CONSTRAINT)
        preferred = read_preference(completion.text)
        return None if preferred is None else preferred == 0


class Table:
    """Standings of a tournament: wins and played pairs by index of the candidate."""

    def __init__(self, count: int) -> None:
        self.wins, self.played = [0.0] * count, [0] * count
        self.met: set[Pair] = set()

    @property
    def shares(self) -> list[float]:
        """The share of its pairs that each candidate has won; 1 for one without a pair."""
        return [
            wins / played if played else 1.0
            for wins, played in zip(self.wins, self.played, strict=True)
        ]

    def enter(self, pair: Pair, result: float) -> None:
        """Record a result: the share of the win for the first of the pair."""
        a, b = pair
        self.wins[a] += result
        self.wins[b] += 1 - result
        self.played[a] += 1
        self.played[b] += 1
        self.met |= {(a, b), (b, a)}

    def next_round(self) -> list[Pair]:
        """Pair each candidate with the next in the standings that it has not met, if any.

        A candidate that has not played yet has a share of 1, so it comes first and plays.
        """
        shares = self.shares
        order = sorted(range(len(shares)), key=lambda i: -shares[i])
        pairs = []
        while order:
            a = order.pop(0)
            rival = next((b for b in order if (a, b) not in self.met), None)
            if rival is not None:
                order.remove(rival)
                pairs.append((a, rival))
        return pairs
