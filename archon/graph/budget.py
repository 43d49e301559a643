"""The budget of one question: its costs are reserved before a call and settled after it.

A budget is a hard limit: no question ever exceeds it. A call reserves the most tokens that it can
use: ``max_tokens`` for each reply, and its prompt. If the model has a tokenizer, the tokens of the
prompt are counted; otherwise, its number of bytes is used as an upper bound. When the call ends,
unused tokens are returned. The tokens of an interrupted call are kept reserved, because its usage
is unknown. A question may therefore end with some tokens left. Compute is reserved and returned in
the same way, for the same tokens.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field

from archon.errors import BudgetError
from archon.graph.model_usage import generated_compute
from archon.lm.compute import ComputeModel
from archon.lm.custom.token_counts import lacks_token_counts
from archon.spec.architecture import Budget
from archon.types import Completion, Limit, Request

_UNLIMITED = 1 << 62


@dataclass(frozen=True, slots=True)
class CallSize:
    """Upper bounds on the tokens of one request: for its prompt, and for each completion."""

    key: Hashable
    """Identifies model and prompt: two calls with the same key pay for the prompt once."""
    tokens_each: int = 0
    """Upper bound on the tokens of one completion."""
    prompts: Mapping[str, int] | None = None
    """Prompt digest → number of tokens in the prompt; None if the model cannot count them."""
    prompt_bound: int = 0
    """Upper bound on the prompt's tokens; used if ``prompts`` is None."""
    model: ComputeModel | None = None
    """The sizes of the model; None if no budget limits compute."""
    beams: int = 1
    """Texts that the model computes for each completion."""

    @property
    def compute_each(self) -> int:
        """Upper bound on the compute of one completion, without its prompt."""
        if self.model is None:
            return 0
        read = sum(self.prompts.values()) if self.prompts is not None else self.prompt_bound
        return self.beams * self.model.completion(read, self.tokens_each + 1)

    def compute_of(self, completion: Completion) -> int:
        """Return the compute of a completion; the upper bound if it is unknown."""
        if self.model is None:
            return 0
        used = None if self.beams > 1 else generated_compute(self.model, completion)
        return self.compute_each if used is None else used


@dataclass(frozen=True, slots=True)
class Reserved:
    """Reservation of a meter for a prompt whose length was not known."""

    tokens: int
    compute: int


@dataclass(frozen=True, slots=True)
class Grant:
    """Tokens and calls reserved for ``count`` calls of equal size."""

    count: int
    size: CallSize
    meters: tuple[tuple[Meter, Reserved], ...] = field(repr=False)
    """Each graph's meter, innermost first, and what it reserved for a prompt of unknown length."""

    def settle(self, completions: Iterable[Completion]) -> None:
        """Charge what the completions used, and return the remainder of their reservations.

        If there are fewer completions than granted calls, the reservations of the remaining calls
        are kept.
        """
        completions = list(completions)
        for meter, reserved in self.meters:
            meter.settle(self.size, reserved, completions)


class Meter:
    """Usage of one question, limited by the budgets of the architecture and of all outer graphs.

    Construct it in the running event loop when the question is asked, because the time limit starts
    at that moment.

    Parameters
    ----------
    outer
        The meter of the outer graph, if this architecture is the model of one of its nodes.
    """

    def __init__(self, budget: Budget | None, outer: Meter | None = None) -> None:
        self._budget = budget or Budget()  # type: ignore[call-arg]
        self._chain: tuple[Meter, ...] = (self, *(outer._chain if outer else ()))
        seconds = self._budget.max_seconds
        own = None if seconds is None else asyncio.get_running_loop().time() + seconds
        deadlines = [t for t in (own, outer.deadline if outer else None) if t is not None]
        self.deadline: float | None = min(deadlines, default=None)
        """The earliest deadline, on the event loop's clock; None if no budget limits seconds."""
        self.counts_compute = any(m._budget.max_compute is not None for m in self._chain)
        self.counts_tokens = self.counts_compute or any(
            m._budget.max_tokens is not None for m in self._chain
        )
        self._calls = self._tokens = self._compute = 0
        self._prompts: set[str] = set()
        self._read: set[Hashable] = set()

    def grant(self, count: int, size: CallSize) -> Grant:
        """Reserve tokens and calls for ``count`` calls, or for fewer if the budget is too small.

        Raises
        ------
        BudgetError
            The budget does not allow even one call.
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
        """Check, before a node starts, that the budget has the ``count`` calls that it needs.

        Raises
        ------
        BudgetError
            Fewer than ``count`` calls are left.
        """
        for meter in self._chain:
            if meter._calls_left() < count:
                raise meter._used_up("calls")

    def out_of_time(self) -> BudgetError:
        """Return the error for a missed deadline, naming the budget whose deadline came first."""
        timed = (m for m in self._chain if m._budget.max_seconds is not None)
        return min(timed, key=lambda meter: meter.deadline or 0)._used_up("seconds")

    def settle(self, size: CallSize, reserved: Reserved, completions: list[Completion]) -> None:
        """Charge what the completions used, and release what was reserved for them."""
        if not completions:
            return
        self._read.add(size.key)
        self._tokens -= reserved.tokens + size.tokens_each * len(completions)
        self._compute -= reserved.compute + size.compute_each * len(completions)
        self._calls -= len(completions)
        for completion in completions:
            usage = completion.usage
            self._calls += usage.calls
            self._tokens += usage.completion_tokens + usage.choice_tokens
            if lacks_token_counts(completion):  # at most this many, as for interrupted calls
                self._tokens += size.tokens_each
            self._compute += size.compute_of(completion)
            self._add_prompts(completion.prompts, size.model)

    def _used_up(self, limit: Limit) -> BudgetError:
        amount = getattr(self._budget, f"max_{limit}")
        shown = f"{amount:g}" if limit in ("seconds", "compute") else f"{amount}"
        unit = "FLOPs" if limit == "compute" else limit
        return BudgetError(f"the budget of {shown} {unit} is used up", limit)

    def _calls_left(self) -> int:
        limit = self._budget.max_calls
        return _UNLIMITED if limit is None else max(0, limit - self._calls)

    def _capacities(self, size: CallSize) -> Iterable[tuple[int, Limit]]:
        """Yield the number of calls of this size that each limit still allows."""
        yield self._calls_left(), "calls"
        if self._budget.max_tokens is not None:
            new, bound = self._prompt_tokens(size)
            left = self._budget.max_tokens - self._tokens - new - bound
            yield max(0, left // max(1, size.tokens_each)), "tokens"
        if self._budget.max_compute is not None and size.model is not None:
            left = int(self._budget.max_compute) - self._compute - self._prompt_compute(size)
            yield max(0, left // max(1, size.compute_each)), "compute"

    def _prompt_compute(self, size: CallSize) -> int:
        """Return the compute of the prompts that this call adds, or an upper bound."""
        _, bound = self._prompt_tokens(size)
        if size.model is None:
            return 0
        new = [t for d, t in (size.prompts or {}).items() if d not in self._prompts]
        return sum(map(size.model.prompt, [*new, bound] if bound else new))

    def _reserve(self, count: int, size: CallSize) -> Reserved:
        """Reserve ``count`` calls; return the reservation for a prompt of unknown length."""
        _, bound = self._prompt_tokens(size)
        compute = self._prompt_compute(size) if bound else 0
        self._add_prompts(size.prompts or {}, size.model)
        self._calls += count
        self._tokens += bound + count * size.tokens_each
        self._compute += compute + count * size.compute_each
        return Reserved(bound, compute)

    def _prompt_tokens(self, size: CallSize) -> tuple[int, int]:
        """Return the tokens that this call's prompt adds: an exact count, and an upper bound.

        One of the two is 0. A prompt that was already charged to an earlier call adds nothing.
        """
        if size.prompts is not None:
            return sum(t for d, t in size.prompts.items() if d not in self._prompts), 0
        return 0, 0 if size.key in self._read else size.prompt_bound

    def _add_prompts(self, prompts: Mapping[str, int], model: ComputeModel | None) -> None:
        for digest, tokens in prompts.items():
            if digest not in self._prompts:
                self._prompts.add(digest)
                self._tokens += tokens
                self._compute += 0 if model is None else model.prompt(tokens)


def most_tokens(request: Request) -> int:
    """Return an upper bound on the tokens of one completion.

    The bound is ``max_tokens``. For a request that scores ``choices``, it is the number of bytes of
    all choices.
    """
    if request.choices is not None:
        return sum(len(choice.encode("utf-8", "surrogatepass")) + 1 for choice in request.choices)
    assert request.sampling.max_tokens is not None
    return request.sampling.max_tokens
