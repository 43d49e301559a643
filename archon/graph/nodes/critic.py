"""The critic: lists strengths and weaknesses of every candidate."""

from __future__ import annotations

from collections.abc import Sequence

from archon.graph.judge_output import read_critiques
from archon.graph.nodes.base import NodeContext
from archon.graph.nodes.declaration import Calls, Method, NodeType, given
from archon.graph.nodes.equations import EquationCritic
from archon.graph.prompts.builder import Prompt
from archon.graph.prompts.listing import OF_ALL
from archon.graph.prompts.templates import CRITIC
from archon.spec.architecture import CriticNode
from archon.types import Annotation, Candidate


class Critic:
    """Asks once about all candidates and gives each the part of the reply that is about it.

    If the reply cannot be divided, every candidate gets the whole of it, marked as about all, and
    prompts show it once. If there is one candidate, the reply is its critique. A candidate that a
    divided reply does not mention gets none.
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


NODE_TYPE = NodeType(
    spec=CriticNode,
    chosen_by="method",
    methods={
        "reason": Method[CriticNode](
            make=lambda s: Critic(s.name, s.prompt),
            prompt=CRITIC,
            requires=frozenset({"chat"}),
            calls=lambda node, n: Calls.of_judge(min(n, 1), n),
            critiques=True,
        ),
        "equations": Method(make=lambda s: EquationCritic(s.name), critiques=True),
    },
    label=lambda node: given(node, "method"),
)
