"""What a node is, and what it is given when it runs."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Protocol, TypeVar

from archon.types import (
    AnswerKind,
    Candidate,
    Completion,
    Constraint,
    Message,
    Question,
    UnitTest,
)

T = TypeVar("T")


class NodeContext(Protocol):
    """A node's view of the question that is being answered."""

    @property
    def question(self) -> Question:
        """What the architecture was asked."""
        ...

    @property
    def tests(self) -> tuple[UnitTest, ...]:
        """The tests of the question that arrive with the candidates, in order."""
        ...

    async def ask(
        self,
        messages: tuple[Message, ...],
        n: int = 1,
        *,
        answer: AnswerKind = "text",
        form: Constraint | None = None,
        choices: tuple[str, ...] | None = None,
    ) -> list[Completion]:
        """``n`` draws of the node's model, from the first draw that the node owns.

        ``answer`` is the kind of answer wanted: the question's where candidates are written,
        prose where they are judged. A model that can be held to ``form`` is; of another, and
        of a beam search, the wording alone asks for it. ``choices`` are scored as replies, and
        nothing is drawn. Every call goes into trace and budget.

        Raises
        ------
        BudgetError : the budget does not allow it; the node's inputs will pass it by.
        """
        ...

    async def draw(
        self, messages: tuple[Message, ...], n: int, *, skip: int = 0, answer: AnswerKind
    ) -> list[Completion]:
        """Texts that become candidates: ``n`` draws, or as many as the budget allows, maybe none.

        A sample that failed is among them, with its error, as long as one of the node succeeded.
        They follow the first ``skip`` draws that the node owns. In a group of nodes the range of
        each stays whole, however few of its draws are asked for.
        """
        ...

    def can(self, capability: str) -> bool:
        """Whether the node's model has a capability (``archon.lm.base.CAPABILITIES``)."""
        ...

    async def reward(self, messages: tuple[Message, ...], texts: Sequence[str]) -> list[float]:
        """What the node's model, a reward model, gives each text as a reply to the messages."""
        ...

    async def in_time(self, work: Awaitable[T]) -> T:
        """What work that asks no model comes to, unless the question's time is up first.

        Raises
        ------
        BudgetError : it is; the work was cancelled, and the trace tells what cut the node short.
        """
        ...

    def drop(self, candidates: Sequence[Candidate]) -> None:
        """Note in the trace what the node has judged and does not pass on."""
        ...

    def add_tests(self, tests: Sequence[UnitTest]) -> None:
        """Pass tests of the question on, after those that arrive.

        Those go on to whatever reads the node, without its doing anything for it.
        """
        ...


class GraphNode(Protocol):
    """One node of a graph: (question, candidates) to candidates."""

    async def run(
        self, context: NodeContext, candidates: Sequence[Candidate]
    ) -> list[Candidate]: ...
