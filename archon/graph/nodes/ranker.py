"""The ranker that orders all candidates in one reply."""

from __future__ import annotations

from collections.abc import Sequence

from archon.graph.judge_output import ranking_form
from archon.graph.nodes.base import NodeContext
from archon.graph.nodes.selection import keep_best
from archon.graph.parsing import read_ranking
from archon.graph.prompts.builder import Prompt
from archon.types import Candidate

UNREAD = "no ranking could be read"
"""``reason`` of a score that only tells a candidate's original place."""


class ListwiseRanker:
    """Asks once for the order of all candidates; a model that can be held to it always gives one.

    Of N candidates the best is scored 1, the next (N - 1)/N, and the last 1/N. Candidates that the
    reply leaves out follow in their original order, and after them those that are not shown
    (``Prompt.judged``); where no ranking can be read, that is the order. A single candidate is
    scored 1 without a question.
    """

    def __init__(
        self, node: str, prompt: Prompt, keep: int | None, use_critiques: bool | None
    ) -> None:
        self._node, self._prompt = node, prompt
        self._keep, self._use_critiques = keep, use_critiques

    async def run(self, context: NodeContext, candidates: Sequence[Candidate]) -> list[Candidate]:
        """One call, where more than one candidate is judged."""
        question = context.question
        ids = self._prompt.judged(question, candidates)
        places = range(len(candidates))
        judged = [i for i in places if candidates[i].id in ids]
        read: list[int] | None = list(range(len(judged)))
        if len(judged) > 1:
            shown = [candidates[i] for i in judged]
            messages = self._prompt.messages(question, shown, self._use_critiques)
            (completion,) = await context.ask(messages, form=ranking_form(len(judged)))
            read = read_ranking(completion.text, len(judged))
        reason = UNREAD if read is None else ""
        order = judged if read is None else [judged[i] for i in read]
        order += [i for i in places if i not in order]
        scores = [0.0] * len(candidates)
        for rank, index in enumerate(order):
            scores[index] = 1 - rank / len(candidates)
        reasons = [reason] * len(candidates)
        return keep_best(self._node, context, candidates, scores, self._keep, reasons)
