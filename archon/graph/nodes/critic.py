"""The critic, which lists strengths and weaknesses of every candidate."""

from __future__ import annotations

from collections.abc import Sequence

from archon.graph.judge_output import read_critiques
from archon.graph.nodes.base import NodeContext
from archon.graph.nodes.declaration import Calls, Effects, Method, NodeType, set_parameters
from archon.graph.nodes.equations import UNSUITED, EquationCritic
from archon.graph.prompts.builder import Prompt
from archon.graph.prompts.listing import OF_ALL
from archon.graph.prompts.templates import CRITIC
from archon.spec.architecture import CriticNode
from archon.types import Annotation, Candidate


class Critic:
    """Node that asks a model once about all candidates, and splits the reply by candidate.

    If the reply cannot be split, every candidate is annotated with the complete reply and the
    reason ``OF_ALL``; later prompts show it only once. If it can be split, candidates that it does
    not mention have no critique.
    """

    def __init__(self, node: str, prompt: Prompt) -> None:
        self._node, self._prompt = node, prompt

    async def run(self, context: NodeContext, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Make one call; return the candidates with critiques, in the same order."""
        if not candidates:
            return []
        completion = await context.ask(self._prompt.messages(context.question, candidates))
        critiques, reason = read_critiques(completion.text, len(candidates)), ""
        if not critiques and (undivided := completion.text.strip()):
            critiques = dict.fromkeys(range(len(candidates)), undivided)
            reason = OF_ALL if len(candidates) > 1 else ""
        return [
            c.annotated(Annotation(self._node, "critique", critiques[i], reason))
            if i in critiques
            else c
            for i, c in enumerate(candidates)
        ]


NODE_TYPE = NodeType(
    spec=CriticNode,
    chosen_by="method",
    methods={
        "reason": Method[CriticNode](
            make=lambda s: Critic(s.name, s.prompt),
            prompt=CRITIC,
            requires=frozenset({"chat"}),
            calls=lambda node, n: Calls.of_judge(min(n, 1), n),
        ),
        "equations": Method(make=lambda s: EquationCritic(s.name), unsuited=UNSUITED),
    },
    effects=Effects(critiques=True),
    label=lambda node: set_parameters(node, "method"),
)
