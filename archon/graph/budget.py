"""What one question may still use: room is taken before a call and settled after it.

A budget is hard: no question ever costs more. Calls are known beforehand, tokens are not, so a
call takes room for the longest that it can be: ``max_tokens`` for each reply, and its prompt, which
a model with its tokenizer at hand counts, and which its bytes bound elsewhere. What was not used
comes back when the call ends; what a call took that was cut off does not, as nobody knows how much
of it was spent. So a budget of tokens is careful: a question may end with some of them left.
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
    """How many tokens the completions of one request can cost at most."""

    key: Hashable
    """Equal for equal prompts of one model."""
    tokens_each: int = 0
    prompts: Mapping[str, int] | None = None
    """Digest → tokens of its prompt; None where the model cannot tell."""
    prompt_bound: int = 0
    """What stands for the prompt then."""


@dataclass(frozen=True, slots=True)
class Grant:
    """Room that was taken for ``count`` calls."""

    count: int
    size: CallSize
    meters: tuple[tuple[Meter, int], ...] = field(repr=False)
    """Each meter, and the tokens that it holds for a prompt of unknown length."""

    def settle(self, completions: Iterable[Completion]) -> None:
        """Enter what the calls have used; room of those that gave nothing stays taken."""
        completions = list(completions)
        for meter, prompt_bound in self.meters:
            meter.settle(self.size, prompt_bound, completions)


class Meter:
    """Counts what a question uses, against its own budget and those of the graphs around it.

    Made when the question is asked, inside the running event loop: seconds count from then.

    Parameters
    ----------
    around
        The meter of the architecture that this one is a node's model of.
    """

    def __init__(self, budget: Budget | None, around: Meter | None = None) -> None:
        self._budget = budget or Budget()  # type: ignore[call-arg]
        self._chain: tuple[Meter, ...] = (self, *(around._chain if around else ()))
        seconds = self._budget.max_seconds
        own = None if seconds is None else asyncio.get_running_loop().time() + seconds
        deadlines = [t for t in (own, around.deadline if around else None) if t is not None]
        self.deadline: float | None = min(deadlines, default=None)
        """When the question must be answered, on the event loop's clock; None for never."""
        self.counts_tokens = any(m._budget.max_tokens is not None for m in self._chain)
        self._calls = self._tokens = 0
        self._prompts: set[str] = set()
        self._read: set[Hashable] = set()

    def grant(self, count: int, size: CallSize, *, least: int = 1) -> Grant:
        """Take room for ``count`` calls, or for as many as fit.

        Raises
        ------
        BudgetError
            Fewer than ``least`` fit.
        """
        if self.deadline is not None and asyncio.get_running_loop().time() >= self.deadline:
            raise self.out_of_time()
        for meter in self._chain:
            for room, limit in meter._rooms(size):
                count = min(count, room)
                if count < least:
                    raise meter._used_up(limit)
        return Grant(count, size, tuple((m, m._take(count, size)) for m in self._chain))

    def require_calls(self, count: int) -> None:
        """Refuse what needs more calls than are left, before the first of them is made.

        Raises
        ------
        BudgetError
            So many calls are not left.
        """
        for meter in self._chain:
            if meter._calls_left() < count:
                raise meter._used_up("calls")

    def out_of_time(self) -> BudgetError:
        """The error that tells that the deadline has come."""
        timed = (m for m in self._chain if m._budget.max_seconds is not None)
        return min(timed, key=lambda meter: meter.deadline or 0)._used_up("seconds")

    def settle(self, size: CallSize, prompt_bound: int, completions: list[Completion]) -> None:
        """Put what the completions used in the place of what was taken for them."""
        if not completions:
            return
        self._read.add(size.key)
        self._tokens -= prompt_bound + size.tokens_each * len(completions)
        self._calls -= len(completions)
        for completion in completions:
            usage = completion.usage
            self._calls += usage.calls
            self._tokens += usage.completion_tokens + usage.choice_tokens
            self._enter(completion.prompts)

    def _used_up(self, limit: Limit) -> BudgetError:
        amount = getattr(self._budget, f"max_{limit}")
        told = f"{amount:g}" if limit == "seconds" else f"{amount}"
        return BudgetError(f"the budget of {told} {limit} is used up", limit)

    def _calls_left(self) -> int:
        limit = self._budget.max_calls
        return _UNLIMITED if limit is None else max(0, limit - self._calls)

    def _rooms(self, size: CallSize) -> Iterable[tuple[int, Limit]]:
        """How many calls of a size fit under each limit."""
        yield self._calls_left(), "calls"
        if self._budget.max_tokens is not None:
            new, bound = self._of_prompt(size)
            left = self._budget.max_tokens - self._tokens - new - bound
            yield (max(0, left // max(1, size.tokens_each)), "tokens")

    def _take(self, count: int, size: CallSize) -> int:
        """Enter calls as if each were as long as it can be; the tokens held for the prompt."""
        _, bound = self._of_prompt(size)
        self._enter(size.prompts or {})
        self._calls += count
        self._tokens += bound + count * size.tokens_each
        return bound

    def _of_prompt(self, size: CallSize) -> tuple[int, int]:
        """Tokens of the prompts that are known and new here, and of one that is not known."""
        if size.prompts is not None:
            return sum(t for d, t in size.prompts.items() if d not in self._prompts), 0
        return 0, 0 if size.key in self._read else size.prompt_bound

    def _enter(self, prompts: Mapping[str, int]) -> None:
        for digest, tokens in prompts.items():
            if digest not in self._prompts:
                self._prompts.add(digest)
                self._tokens += tokens


def most_tokens(request: Request) -> int:
    """Tokens that one completion of a request can have at most: of its text, or of its choices."""
    if request.choices is not None:
        return sum(len(choice.encode("utf-8", "surrogatepass")) + 1 for choice in request.choices)
    assert request.sampling.max_tokens is not None
    return request.sampling.max_tokens
