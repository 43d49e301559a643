"""The fuser, which writes a better answer from several candidates."""

from __future__ import annotations

from collections.abc import Sequence

from archon.graph.candidates import from_completions, is_cut_off
from archon.graph.nodes.base import NodeContext
from archon.graph.nodes.declaration import (
    Calls,
    Effects,
    Method,
    NodeType,
    Reads,
    Reason,
    set_parameters,
)
from archon.graph.prompts.builder import Prompt
from archon.graph.prompts.templates import FUSER
from archon.spec.architecture import FuserNode
from archon.types import Candidate


class Fuser:
    """Node that replaces all candidates with ``samples`` new candidates, written in view of them.

    The prompt omits candidates whose reasoning was cut off, unless all of them were cut off. The
    parents of a new candidate are all candidates in the prompt. It does not inherit their
    annotations, because these describe other texts.
    """

    def __init__(self, node: str, prompt: Prompt, samples: int, use_critiques: bool | None) -> None:
        self._node, self._prompt = node, prompt
        self._samples, self._use_critiques = samples, use_critiques

    async def run(self, context: NodeContext, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Return ``samples`` new candidates; none if there are no candidates to read.

        If the budget allows no sample, the candidates that were read are passed on.
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
        return from_completions(self._node, completions, question, parents, messages)


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
    label=lambda node: set_parameters(node, "samples", "use_critiques"),
    explain=lambda node, candidate: Reason("read for the fused answers", fused=True),
)
