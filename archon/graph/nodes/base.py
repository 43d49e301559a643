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
    """A node's interface to the run: the question, the node's model and the node's trace."""

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
            The format of the reply. It has no effect in a beam search, or if the model does not
            support constraints; the format is then requested only by the prompt.
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

        ``skip`` is the number of samples that the node has already requested. For a failed sample,
        its error is returned; if all samples of the node failed, an exception is raised. Sample
        indices that the node does not use are not reassigned to other nodes.
        """
        ...

    def can(self, capability: str) -> bool:
        """Return whether the node's model has a capability (``archon.lm.base.CAPABILITIES``)."""
        ...

    async def reward(self, messages: tuple[Message, ...], texts: Sequence[str]) -> list[float]:
        """Ask the reward model for the reward of each text as a reply to the messages."""
        ...

    async def in_time(self, work: Awaitable[T]) -> T:
        """Await work that uses no model, such as running a program, within the time limit.

        Raises
        ------
        BudgetError
            The budget's time limit was reached. The work was cancelled, and the trace records the
            limit.
        """
        ...

    def drop(self, candidates: Sequence[Candidate]) -> None:
        """Record in the trace the candidates that the node judged but does not pass on."""
        ...

    def add_tests(self, tests: Sequence[UnitTest]) -> None:
        """Add unit tests that this node wrote; they are passed on after the tests it received."""
        ...


class GraphNode(Protocol):
    """One node of a graph, which maps the question and candidates to candidates."""

    async def run(
        self, context: NodeContext, candidates: Sequence[Candidate]
    ) -> list[Candidate]: ...
