"""The verifier that argues before it judges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from archon.graph.judge_output import VERDICT_FORM
from archon.graph.nodes.base import NodeContext
from archon.graph.nodes.selection import Ruling, keep_verified
from archon.graph.parsing import read_verdict
from archon.graph.prompts.builder import Prompt
from archon.lm.concurrency import run_all
from archon.types import Candidate, VerdictKind

SCORES: Mapping[VerdictKind, float] = {"pass": 1.0, "abstain": 0.5, "fail": 0.0}


class ReasoningVerifier:
    """Lets the model argue about one candidate a call, and then judge it.

    A model that can be held to a form comes to a verdict even where ``max_tokens`` cuts its
    argument short. What stays is told by ``archon.graph.nodes.selection.keep_verified``.
    """

    def __init__(self, node: str, prompt: Prompt, keep_first: int | None) -> None:
        self._node, self._prompt, self._keep_first = node, prompt, keep_first

    async def run(self, context: NodeContext, candidates: Sequence[Candidate]) -> list[Candidate]:
        """One call for each candidate that is judged, all at once."""
        if not candidates:
            return []
        judged = self._prompt.judged(context.question, candidates)
        rulings = await run_all(self._judge(context, c, c.id in judged) for c in candidates)
        return keep_verified(self._node, context, candidates, rulings, self._keep_first)

    async def _judge(self, context: NodeContext, candidate: Candidate, is_judged: bool) -> Ruling:
        if not is_judged:
            return Ruling("abstain", SCORES["abstain"], "it shows nothing to judge it by")
        messages = self._prompt.messages(context.question, [candidate])
        (completion,) = await context.ask(messages, form=VERDICT_FORM)
        verdict = read_verdict(completion.text)
        return Ruling(verdict, SCORES[verdict], completion.text.strip())
