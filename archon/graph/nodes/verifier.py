"""The verifier: judges each candidate and drops the wrong ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from archon.graph.forms import VERDICT_FORM
from archon.graph.nodes.base import NodeContext
from archon.graph.parsing import read_verdict
from archon.graph.prompts.builder import Prompt
from archon.lm.concurrency import run_all
from archon.types import Annotation, Candidate, VerdictKind

SCORES: Mapping[VerdictKind, float] = {"pass": 1.0, "abstain": 0.5, "fail": 0.0}


class ReasoningVerifier:
    """Lets the model argue about one candidate a call, and then judge it.

    A model that can be held to a form comes to a verdict even where ``max_tokens`` cuts its
    argument short. Keeps the passes; if there are none, the abstentions; if there are none either,
    all, each marked ``unverified``. Those that stay keep their order, and ``keep_first`` cuts it
    off.
    """

    def __init__(self, node: str, prompt: Prompt, keep_first: int | None) -> None:
        self._node, self._prompt, self._keep_first = node, prompt, keep_first

    async def run(self, context: NodeContext, candidates: Sequence[Candidate]) -> list[Candidate]:
        """One call a candidate, all at once."""
        arguments = await run_all(self._argue(context, candidate) for candidate in candidates)
        verdicts = [read_verdict(argument) for argument in arguments]
        judged = [
            candidate.annotated(
                Annotation(self._node, "verdict", verdict, argument.strip()),
                Annotation(self._node, "score", SCORES[verdict]),
            )
            for candidate, verdict, argument in zip(candidates, verdicts, arguments, strict=True)
        ]
        return self._kept(judged, verdicts)[: self._keep_first]

    async def _argue(self, context: NodeContext, candidate: Candidate) -> str:
        messages = self._prompt.messages(context.question, [candidate])
        (completion,) = await context.ask(messages, form=VERDICT_FORM)
        return completion.text

    def _kept(
        self, judged: Sequence[Candidate], verdicts: Sequence[VerdictKind]
    ) -> list[Candidate]:
        for wanted in ("pass", "abstain"):
            if wanted in verdicts:
                return [c for c, v in zip(judged, verdicts, strict=True) if v == wanted]
        mark = Annotation(self._node, "mark", "unverified")
        return [candidate.annotated(mark) for candidate in judged]
