"""What one question has used so far, held against its budget."""

from __future__ import annotations

from collections.abc import Iterable

from archon.errors import BudgetError
from archon.spec.architecture import Budget
from archon.types import Completion


class Meter:
    """Counts calls and cost while a question runs.

    Calls are counted when they start and never pass their limit. The cost of a call is known when
    it ends: no call starts once the limit is reached, but those that are under way then finish.
    """

    def __init__(self, budget: Budget | None) -> None:
        self._max_calls = None if budget is None else budget.max_calls
        self._max_tokens = None if budget is None else budget.max_tokens
        self._calls = 0
        self._cost_tokens = 0
        self._prompts: set[str] = set()

    def start(self, calls: int) -> None:
        """Enter calls that are about to be made.

        Raises
        ------
        BudgetError : the budget does not allow them.
        """
        if self._max_calls is not None and self._calls + calls > self._max_calls:
            asked = f"{self._calls} made, {calls} more asked for"
            raise BudgetError(f"the budget of {self._max_calls} calls is used up ({asked})")
        if self._max_tokens is not None and self._cost_tokens >= self._max_tokens:
            used = f"{self._cost_tokens} used"
            raise BudgetError(f"the budget of {self._max_tokens} tokens is used up ({used})")
        self._calls += calls

    def finish(self, calls: int, completions: Iterable[Completion]) -> None:
        """Enter what calls that were started have used; an architecture makes many for one."""
        self._calls -= calls
        for completion in completions:
            usage = completion.usage
            self._calls += usage.calls
            self._cost_tokens += usage.completion_tokens + usage.choice_tokens
            for prompt, tokens in completion.prompts.items():
                if prompt not in self._prompts:
                    self._prompts.add(prompt)
                    self._cost_tokens += tokens
