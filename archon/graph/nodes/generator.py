"""The generator: samples answers to the question."""

from __future__ import annotations

from collections.abc import Sequence

from archon.graph.candidates import from_completions
from archon.graph.nodes.base import NodeContext
from archon.graph.prompts.builder import Prompt
from archon.types import Candidate


class Generator:
    """Appends ``samples`` answers of its own to the candidates it reads."""

    def __init__(self, node: str, prompt: Prompt, samples: int) -> None:
        self._node, self._prompt, self._samples = node, prompt, samples

    async def run(self, context: NodeContext, candidates: Sequence[Candidate]) -> list[Candidate]:
        """One call for all samples."""
        question = context.question
        messages = self._prompt.messages(question, candidates)
        completions = await context.ask(messages, self._samples, answer=question.answer)
        return [*candidates, *from_completions(self._node, completions, question.answer)]
