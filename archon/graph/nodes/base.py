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
    """The access of one node to a run: the question, the node's model and the node's trace."""

    @property
    def question(self) -> Question:
        """The question that the run answers."""
        ...

    @property
    def tests(self) -> tuple[UnitTest, ...]:
        """The unit tests from all nodes upstream, in the order in which they arrive."""
        ...

    async def ask(
        self,
        messages: tuple[Message, ...],
        *,
        constraint: Constraint | None = None,
        choices: tuple[str, ...] | None = None,
    ) -> Completion:
        """Ask the node's model for one reply that is not a candidate, such as a judgement.

        Parameters
        ----------
        constraint
            The format of the reply. It is ignored by a beam search, and if the model does not
            support constraints; the prompt alone then asks for the format.
        choices
            Possible replies. Their log-probabilities are returned, and no text is generated.

        Raises
        ------
        BudgetError
            The budget does not allow the call. The node should not catch this error: the executor
            then passes on the node's inputs.
        """
        ...

    async def sample(
        self, messages: tuple[Message, ...], n: int, *, skip: int = 0
    ) -> list[Completion]:
        """Generate texts that become candidates: ``n``, or fewer if the budget is too small.

        ``skip`` is the number of samples that the node has already requested. A failed sample is
        returned with its error; if all samples of the node failed, this raises. Sample indices that
        the node does not use are not given to other nodes.
        """
        ...

    def can(self, capability: str) -> bool:
        """Return True if the node's model has a capability (``archon.lm.base.CAPABILITIES``)."""
        ...

    async def reward(self, messages: tuple[Message, ...], texts: Sequence[str]) -> list[float]:
        """Return the reward of each text as a reply to the messages, from a reward model."""
        ...

    async def in_time(self, work: Awaitable[T]) -> T:
        """Await work that asks no model, such as a program's execution, within the time limit.

        Raises
        ------
        BudgetError
            The time of the budget ran out. The work was cancelled; the trace records the limit.
        """
        ...

    def drop(self, candidates: Sequence[Candidate]) -> None:
        """Record in the trace the candidates that the node judged and does not pass on."""
        ...

    def add_tests(self, tests: Sequence[UnitTest]) -> None:
        """Add unit tests of this node; they are passed on after the tests that it received."""
        ...


class GraphNode(Protocol):
    """One node of a graph: (question, candidates) → candidates."""

    async def run(
        self, context: NodeContext, candidates: Sequence[Candidate]
    ) -> list[Candidate]: ...
