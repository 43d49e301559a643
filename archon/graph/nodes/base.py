"""What a node is, and what it is given when it runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from archon.types import AnswerKind, Candidate, Completion, Constraint, Message, Question


class NodeContext(Protocol):
    """A node's view of the question that is being answered."""

    @property
    def question(self) -> Question:
        """What the architecture was asked."""
        ...

    async def ask(
        self,
        messages: tuple[Message, ...],
        n: int = 1,
        *,
        answer: AnswerKind = "text",
        form: Constraint | None = None,
    ) -> list[Completion]:
        """``n`` draws of the node's model, from the first draw that the node owns.

        ``answer`` is the kind of answer wanted: the question's where candidates are written,
        prose where they are judged. A model that can be held to ``form`` is; of another, and
        of a beam search, the wording alone asks for it. Every call goes into trace and budget.
        """
        ...


class GraphNode(Protocol):
    """One node of a graph: (question, candidates) to candidates."""

    async def run(
        self, context: NodeContext, candidates: Sequence[Candidate]
    ) -> list[Candidate]: ...
