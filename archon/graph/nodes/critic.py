"""The critic: lists strengths and weaknesses of every candidate."""

from __future__ import annotations

from collections.abc import Sequence

from archon.graph.nodes.base import NodeContext
from archon.graph.parsing import read_critiques
from archon.graph.prompts.builder import Prompt
from archon.graph.prompts.listing import OF_ALL
from archon.types import Annotation, Candidate


class Critic:
    """Asks once about all candidates and gives each the part of the reply that speaks of it.

    Where the reply cannot be divided, every candidate carries the whole of it, marked as speaking
    of all, and prompts show it once; about a single candidate, it simply is that one's critique.
    A candidate that a divided reply leaves out gets none.
    """

    def __init__(self, node: str, prompt: Prompt) -> None:
        self._node, self._prompt = node, prompt

    async def run(self, context: NodeContext, candidates: Sequence[Candidate]) -> list[Candidate]:
        """One call; the candidates keep their order."""
        if not candidates:
            return []
        messages = self._prompt.messages(context.question, candidates)
        (completion,) = await context.ask(messages)
        critiques = read_critiques(completion.text, len(candidates))
        if critiques:
            return [
                c.annotated(Annotation(self._node, "critique", critiques[i]))
                if i in critiques
                else c
                for i, c in enumerate(candidates)
            ]
        whole = completion.text.strip()
        if not whole:
            return list(candidates)
        reason = OF_ALL if len(candidates) > 1 else ""
        return [c.annotated(Annotation(self._node, "critique", whole, reason)) for c in candidates]
