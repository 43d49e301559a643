"""The fuser: writes one better answer from several."""

from __future__ import annotations

from collections.abc import Sequence

from archon.graph.candidates import from_completions, is_cut_off
from archon.graph.nodes.base import NodeContext
from archon.graph.prompts.builder import Prompt
from archon.types import Candidate


class Fuser:
    """Replaces the candidates it reads by ``samples`` fused ones. It is shown those that answer,
    and not those that ended within their reasoning.

    A fused candidate has all of them as parents and none of their annotations, which speak of
    other texts.
    """

    def __init__(self, node: str, prompt: Prompt, samples: int, use_critiques: bool | None) -> None:
        self._node, self._prompt = node, prompt
        self._samples, self._use_critiques = samples, use_critiques

    async def run(self, context: NodeContext, candidates: Sequence[Candidate]) -> list[Candidate]:
        """One call for all samples; without candidates there is nothing to fuse.

        Where the budget allows none, the candidates stay what they are.
        """
        if not candidates:
            return []
        question = context.question
        candidates = [c for c in candidates if not is_cut_off(c)] or candidates
        messages = self._prompt.messages(question, candidates, self._use_critiques)
        completions = await context.draw(messages, self._samples, answer=question.answer)
        if not completions:
            return list(candidates)
        parents = tuple(candidate.id for candidate in candidates)
        return from_completions(self._node, completions, question.answer, parents, messages)
