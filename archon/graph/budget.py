"""Budget of one question: capacity is reserved before a call and settled after it.

A budget is hard: no question ever costs more. A call reserves the most tokens that it can use:
``max_tokens`` for each reply, and its prompt. A model with a tokenizer counts the tokens of the
prompt; otherwise its bytes are the bound. Unused capacity is returned when the call ends. Capacity
of a call that was cut off stays reserved, because its usage is unknown. So a question may end with
some tokens left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field

from archon.errors import BudgetError
from archon.spec.architecture import Budget
from archon.types import Completion, Limit, Request

_UNLIMITED = 1 << 62


@dataclass(frozen=True, slots=True)
class CallSize:
    """Upper bound on the tokens of one request's completions."""

    key: Hashable
    """Equal for equal prompts of one model."""
    tokens_each: int = 0
    prompts: Mapping[str, int] | None = None
    """Digest → tokens of the prompt; None if the model cannot count them."""
    prompt_bound: int = 0
    """Upper bound on the tokens of a prompt that cannot be counted."""


@dataclass(frozen=True, slots=True)
class Grant:
    """Capacity that is reserved for ``count`` calls."""

    count: int
    size: CallSize
    meters: tuple[tuple[Meter, int], ...] = field(repr=False)
    """Each meter with the tokens that it reserved for a prompt of unknown length."""

    def settle(self, completions: Iterable[Completion]) -> None:
        """Record the usage of the completions; capacity of missing ones stays reserved."""
        completions = list(completions)
        for meter, prompt_bound in self.meters:
            meter.settle(self.size, prompt_bound, completions)


class Meter:
    """Usage of one question, limited by its own budget and those of the graphs outer it.

    Construct it inside the running event loop when the question is asked: seconds count from then.

    Parameters
    ----------
    outer
        The meter of the graph in which this architecture is a node's model.
    """

    def __init__(self, budget: Budget | None, outer: Meter | None = None) -> None:
        self._budget = budget or Budget()  # type: ignore[call-arg]
        self._chain: tuple[Meter, ...] = (self, *(outer._chain if outer else ()))
        seconds = self._budget.max_seconds
        own = None if seconds is None else asyncio.get_running_loop().time() + seconds
        deadlines = [t for t in (own, outer.deadline if outer else None) if t is not None]
        self.deadline: float | None = min(deadlines, default=None)
        """On the event loop's clock; None for no deadline."""
        self.counts_tokens = any(m._budget.max_tokens is not None for m in self._chain)
        self._calls = self._tokens = 0
        self._prompts: set[str] = set()
        self._read: set[Hashable] = set()

    def grant(self, count: int, size: CallSize) -> Grant:
        """Reserve capacity for up to ``count`` calls.

        Raises
        ------
        BudgetError
            The budget does not allow a single call.
        """
        if self.deadline is not None and asyncio.get_running_loop().time() >= self.deadline:
            raise self.out_of_time()
        for meter in self._chain:
            for capacity, limit in meter._capacities(size):
                count = min(count, capacity)
                if count < 1:
                    raise meter._used_up(limit)
        return Grant(count, size, tuple((m, m._reserve(count, size)) for m in self._chain))

    def require_calls(self, count: int) -> None:
        """Check that ``count`` calls are left, before a node makes the first of them.

        Raises
        ------
        BudgetError
            Fewer calls are left.
        """
        for meter in self._chain:
            if meter._calls_left() < count:
                raise meter._used_up("calls")

    def out_of_time(self) -> BudgetError:
        """Return the error that reports the deadline."""
        timed = (m for m in self._chain if m._budget.max_seconds is not None)
        return min(timed, key=lambda meter: meter.deadline or 0)._used_up("seconds")

    def settle(self, size: CallSize, prompt_bound: int, completions: list[Completion]) -> None:
        """Replace the tokens and calls reserved for the completions by their usage."""
        if not completions:
            return
        self._read.add(size.key)
        self._tokens -= prompt_bound + size.tokens_each * len(completions)
        self._calls -= len(completions)
        for completion in completions:
            usage = completion.usage
            self._calls += usage.calls
            self._tokens += usage.completion_tokens + usage.choice_tokens
            self._add_prompts(completion.prompts)

    def _used_up(self, limit: Limit) -> BudgetError:
        amount = getattr(self._budget, f"max_{limit}")
        shown = f"{amount:g}" if limit == "seconds" else f"{amount}"
        return BudgetError(f"the budget of {shown} {limit} is used up", limit)

    def _calls_left(self) -> int:
        limit = self._budget.max_calls
        return _UNLIMITED if limit is None else max(0, limit - self._calls)

    def _capacities(self, size: CallSize) -> Iterable[tuple[int, Limit]]:
        """Yield the number of calls of a size that each limit allows."""
        yield self._calls_left(), "calls"
        if self._budget.max_tokens is not None:
            new, bound = self._prompt_tokens(size)
            left = self._budget.max_tokens - self._tokens - new - bound
            yield max(0, left // max(1, size.tokens_each)), "tokens"

    def _reserve(self, count: int, size: CallSize) -> int:
        """Reserve calls of the largest size; return the tokens for a prompt of unknown length."""
        _, bound = self._prompt_tokens(size)
        self._add_prompts(size.prompts or {})
        self._calls += count
        self._tokens += bound + count * size.tokens_each
        return bound

    def _prompt_tokens(self, size: CallSize) -> tuple[int, int]:
        """Return the tokens of new prompts of known length and the bound of an unknown one."""
        if size.prompts is not None:
            return sum(t for d, t in size.prompts.items() if d not in self._prompts), 0
        return 0, 0 if size.key in self._read else size.prompt_bound

    def _add_prompts(self, prompts: Mapping[str, int]) -> None:
        for digest, tokens in prompts.items():
            if digest not in self._prompts:
                self._prompts.add(digest)
                self._tokens += tokens


def most_tokens(request: Request) -> int:
    """Return the largest number of tokens of one completion: of its text or of its choices."""
    if request.choices is not None:
        return sum(len(choice.encode("utf-8", "surrogatepass")) + 1 for choice in request.choices)
    assert request.sampling.max_tokens is not None
    return request.sampling.max_tokens
