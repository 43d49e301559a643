"""The ranker that orders all candidates in one reply."""

from __future__ import annotations

from collections.abc import Sequence

from archon.graph.forms import ranking_form
from archon.graph.nodes.base import NodeContext
from archon.graph.nodes.choosing import keep_best
from archon.graph.parsing import read_ranking
from archon.graph.prompts.builder import Prompt
from archon.types import Candidate

UNREAD = "no ranking could be read"
"""``reason`` of a score that only tells a candidate's original place."""


class ListwiseRanker:
    """Asks once for the order of all candidates; a model that can be held to it always gives one.

    Of N candidates the best is scored 1, the next (N - 1)/N, and the last 1/N. Candidates that the
    reply leaves out follow in their original order; where no ranking can be read, all keep it.
    A single candidate is scored 1 without a question.
    """

    def __init__(
        self, node: str, prompt: Prompt, keep: int | None, use_critiques: bool | None
    ) -> None:
        self._node, self._prompt = node, prompt
        self._keep, self._use_critiques = keep, use_critiques

    async def run(self, context: NodeContext, candidates: Sequence[Candidate]) -> list[Candidate]:
        """One call, where there is more than one candidate."""
        count = len(candidates)
        order: list[int] | None = list(range(count))
        if count > 1:
            messages = self._prompt.messages(context.question, candidates, self._use_critiques)
            (completion,) = await context.ask(messages, form=ranking_form(count))
            order = read_ranking(completion.text, count)
        reason = UNREAD if order is None else ""
        scores = [0.0] * count
        for rank, index in enumerate(range(count) if order is None else order):
            scores[index] = 1 - rank / count
        return keep_best(self._node, context, candidates, scores, self._keep, reason)
