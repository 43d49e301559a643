"""The generator: samples answers to the question."""

from __future__ import annotations

from collections.abc import Sequence

from archon.graph.candidates import from_completions
from archon.graph.nodes.base import NodeContext
from archon.graph.prompts.builder import Prompt
from archon.graph.stopping import is_settled
from archon.spec.architecture import StopWhen
from archon.types import Candidate


class Generator:
    """Appends ``samples`` answers of its own to the candidates it reads.

    With ``stop_when`` it draws in rounds until a vote on all that it would pass on is settled:
    the candidates it reads vote, too, and where they settle it alone, nothing is drawn.
    """

    def __init__(
        self, node: str, prompt: Prompt, samples: int, stop_when: StopWhen | None = None
    ) -> None:
        self._node, self._prompt = node, prompt
        self._samples, self._stop_when = samples, stop_when

    async def run(self, context: NodeContext, candidates: Sequence[Candidate]) -> list[Candidate]:
        """One call for all samples, or for those of a round."""
        question, rule = context.question, self._stop_when
        messages = self._prompt.messages(question, candidates)
        passed_on, num_drawn = list(candidates), 0
        while (left := self._samples - num_drawn) > 0:
            if rule is not None and is_settled(rule, [c.value for c in passed_on], left):
                break
            count = left if rule is None else min(left, rule.round)
            drawn = await context.draw(messages, count, skip=num_drawn, answer=question.answer)
            passed_on += from_completions(self._node, drawn, question.answer, messages=messages)
            num_drawn += count
            if len(drawn) < count:  # the budget is used up
                break
        return passed_on
