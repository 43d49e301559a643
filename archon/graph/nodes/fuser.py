"""The fuser: writes one better answer from several."""

from __future__ import annotations

from collections.abc import Sequence

from archon.graph.candidates import from_completions, is_cut_off
from archon.graph.nodes.base import NodeContext
from archon.graph.nodes.declaration import Calls, Effects, Method, NodeType, Reads, Reason, given
from archon.graph.prompts.builder import Prompt
from archon.graph.prompts.templates import FUSER
from archon.spec.architecture import FuserNode
from archon.types import Candidate


class Fuser:
    """Node that replaces the candidates it reads by ``samples`` fused ones.

    Its prompt omits candidates whose reasoning was cut off. The parents of a fused candidate are
    all candidates in the prompt. Their annotations are not passed on, because they are about other
    texts.
    """

    def __init__(self, node: str, prompt: Prompt, samples: int, use_critiques: bool | None) -> None:
        self._node, self._prompt = node, prompt
        self._samples, self._use_critiques = samples, use_critiques

    async def run(self, context: NodeContext, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Make ``samples`` completions of one prompt; without candidates, make none.

        If the budget allows no sample, the candidates are passed on.
        """
        if not candidates:
            return []
        question = context.question
        candidates = [c for c in candidates if not is_cut_off(c)] or candidates
        messages = self._prompt.messages(question, candidates, self._use_critiques)
        completions = await context.sample(messages, self._samples)
        if not completions:
            return list(candidates)
        parents = tuple(candidate.id for candidate in candidates)
        return from_completions(self._node, completions, question.answer, parents, messages)


NODE_TYPE = NodeType(
    spec=FuserNode,
    methods={
        "": Method[FuserNode](
            make=lambda s: Fuser(s.name, s.prompt, s.spec.samples, s.spec.use_critiques),
            prompt=FUSER,
            requires=frozenset({"chat"}),
            calls=lambda node, n: Calls.of_samples(node.samples if n else 0, n),
        )
    },
    reads=lambda node: Reads(critiques=node.use_critiques),
    effects=Effects(writes=True, replaces=True),
    label=lambda node: given(node, "samples", "use_critiques"),
    explain=lambda node, candidate: Reason("read for the fused answers", fused=True),
)
