"""Interface of a node, and of what it gets when it runs."""

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
        constraint: Constraint | None = None,
        choices: tuple[str, ...] | None = None,
    ) -> list[Completion]:
        """``n`` samples of the node's model, from the node's first sample on.

        Parameters
        ----------
        answer
            The kind of answer: the question's where candidates are written, prose where they are
            judged.
        constraint
            For the reply. A model without constraints, and a beam search, follow the wording of the
            prompt alone.
        choices
            Replies to be scored; nothing is sampled. Every call is in trace and budget.

        Raises
        ------
        BudgetError
            The budget does not allow the call; the node's inputs are passed on.
        """
        ...

    async def draw(
        self, messages: tuple[Message, ...], n: int, *, skip: int = 0, answer: AnswerKind
    ) -> list[Completion]:
        """Texts that become candidates: ``n`` samples, or as many as the budget allows.

        They follow the first ``skip`` samples of the node. A sample that failed is among them, with
        its error, as long as one of the node succeeded. In a group of nodes, the range of each
        stays the same however few of its samples are used.
        """
        ...

    def can(self, capability: str) -> bool:
        """Whether the node's model has a capability (``archon.lm.base.CAPABILITIES``)."""
        ...

    async def reward(self, messages: tuple[Message, ...], texts: Sequence[str]) -> list[float]:
        """The reward of each text as a reply to the messages, by the node's reward model."""
        ...

    async def in_time(self, work: Awaitable[T]) -> T:
        """The result of work that asks no model, unless the question's time is up first.

        Raises
        ------
        BudgetError
            The time is up; the work was cancelled, and the trace records the limit.
        """
        ...

    def drop(self, candidates: Sequence[Candidate]) -> None:
        """Record in the trace what the node has judged and does not pass on."""
        ...

    def add_tests(self, tests: Sequence[UnitTest]) -> None:
        """Pass on tests of the question, after those that arrive, which every node passes on."""
        ...


class GraphNode(Protocol):
    """One node of a graph: (question, candidates) to candidates."""

    async def run(
        self, context: NodeContext, candidates: Sequence[Candidate]
    ) -> list[Candidate]: ...
