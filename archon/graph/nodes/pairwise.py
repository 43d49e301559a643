"""Score candidates by a tournament in which a model compares two candidates at a time."""

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
"""Up to this number of candidates, every pair is compared."""
CHOICES = ("Better: [1]", "Better: [2]")

Pair = tuple[int, int]


def num_rounds(count: int) -> int:
    """Return the number of rounds of a Swiss tournament of N candidates: ⌈log2 N⌉ + 1.

    Each round compares up to ⌊N/2⌋ pairs, in two calls each. That is 1,800 calls for 200
    candidates; comparing every pair would take 39,800.
    """
    return math.ceil(math.log2(count)) + 1


def most_pairs(count: int) -> int:
    """Return the maximum number of pairs that are compared for ``count`` candidates.

    >>> [most_pairs(count) for count in (0, 1, 2, 8, 200)]
    [0, 0, 1, 28, 900]
    """
    if count <= MAX_ROUND_ROBIN:
        return math.comb(count, 2)
    return num_rounds(count) * (count // 2)


class ShareOfWins:
    """Scorer by the share of a candidate's comparisons that the candidate wins.

    The model compares the two candidates of a pair twice, once in each order. A candidate that is
    preferred both times wins. If the two replies disagree, the model judged by position and not by
    answer. In this case, and if a reply states no preference, each candidate scores half a win.

    No call is made for two equal texts, which score half a win each. No call is made for a
    candidate that is not judged (``Prompt.judged``) either; it loses to a judged one. If the model
    can score choices, the more probable choice is its preference; otherwise it writes its choice. A
    single candidate scores 1.

    Up to ``MAX_ROUND_ROBIN`` candidates, every pair is compared. More candidates play a Swiss
    tournament of ``num_rounds`` rounds.
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
        """Return the points of ``a`` against ``b``: 1 for a win, 0 for a loss, 0.5 for a tie."""
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
        """Return whether the model prefers ``a``, listed first, to ``b``; None if neither."""
        messages = self._prompt.messages(context.question, [a, b], self._use_critiques)
        if context.can("choices"):
            logprobs = await score_choices(context, messages, CHOICES)
            first, second = (logprobs[choice] for choice in CHOICES)
            return None if first == second else first > second
        completion = await context.ask(messages, constraint=PREFERENCE_CONSTRAINT)
        preferred = read_preference(completion.text)
        return None if preferred is None else preferred == 0


class Table:
    """Tournament standings: each candidate's points and number of comparisons, by index."""

    def __init__(self, count: int) -> None:
        self.wins, self.played = [0.0] * count, [0] * count
        self.met: set[Pair] = set()

    @property
    def shares(self) -> list[float]:
        """Each candidate's points divided by its number of comparisons; 1 before the first one."""
        return [
            wins / played if played else 1.0
            for wins, played in zip(self.wins, self.played, strict=True)
        ]

    def enter(self, pair: Pair, result: float) -> None:
        """Record a comparison; ``result`` is the points (0 to 1) of the pair's first candidate."""
        a, b = pair
        self.wins[a] += result
        self.wins[b] += 1 - result
        self.played[a] += 1
        self.played[b] += 1
        self.met |= {(a, b), (b, a)}

    def next_round(self) -> list[Pair]:
        """Return the pairs of the next round of the Swiss tournament.

        In the order of the standings, each candidate is paired with the next one that it has not
        met. A candidate that has not been compared before comes first, so that it is always paired.
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
