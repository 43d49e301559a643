"""Interfaces of a node and of the context in which it runs."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Protocol, TypeVar

from archon.types import (
    Candidate,
    Completion,
    Constraint,
    Message,
    Question,
    UnitTest,
)

T = TypeVar("T")


class NodeContext(Protocol):
    """A node's view of a run: the question, the node's model and its trace."""

    @property
    def question(self) -> Question:
        """The question of the run."""
        ...

    @property
    def tests(self) -> tuple[UnitTest, ...]:
        """The unit tests that arrive with the candidates, in order."""
        ...

    async def ask(
        self,
        messages: tuple[Message, ...],
        *,
        constraint: Constraint | None = None,
        choices: tuple[str, ...] | None = None,
    ) -> Completion:
        """Return the first sample of the node's model, which judges or writes tests.

        Parameters
        ----------
        constraint
            The constraint on the reply. A model without constraints and a beam search ignore it;
            they follow the wording of the prompt alone.
        choices
            Replies to score; nothing is sampled.

        Raises
        ------
        BudgetError
            The budget does not allow the call. The executor passes on the node's inputs.
        """
        ...

    async def sample(
        self, messages: tuple[Message, ...], n: int, *, skip: int = 0
    ) -> list[Completion]:
        """Sample up to ``n`` texts that become candidates, as the budget allows.

        Their sample indices follow the first ``skip`` samples of the node. A failed sample is
        returned with its error, as long as one sample of the node succeeded. Unused sample indices
        stay reserved for the node.
        """
        ...

    def can(self, capability: str) -> bool:
        """Return True if the node's model has a capability (``archon.lm.base.CAPABILITIES``)."""
        ...

    async def reward(self, messages: tuple[Message, ...], texts: Sequence[str]) -> list[float]:
        """Return the reward of each text as a reply to the messages."""
        ...

    async def in_time(self, work: Awaitable[T]) -> T:
        """Return the result of work that asks no model.

        Raises
        ------
        BudgetError
            The question's time ran out. The work was cancelled, and the trace records the limit.
        """
        ...

    def drop(self, candidates: Sequence[Candidate]) -> None:
        """Record in the trace the candidates that the node judged and does not pass on."""
        ...

    def add_tests(self, tests: Sequence[UnitTest]) -> None:
        """Add unit tests after those that arrive; every node passes on all tests."""
        ...


class GraphNode(Protocol):
    """One node of a graph: (question, candidates) → candidates."""

    async def run(
        self, context: NodeContext, candidates: Sequence[Candidate]
    ) -> list[Candidate]: ...
