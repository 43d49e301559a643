"""A wrapper that adds up what its model was asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from archon.lm.base import LM, NO_THINKING, close, prompts_of
from archon.types import Completion, Message, OnEvent, Request, Thinking, Usage, total_usage


class Ledger:
    """Keeps the sum of the usage of every call that succeeds, and the cost of all together."""

    def __init__(self, lm: LM) -> None:
        self.capabilities = lm.capabilities
        self.usage = Usage()
        self._lm = lm
        self._prompts: dict[str, int] = {}

    @property
    def cost_tokens(self) -> int:
        """Completion and choice tokens, plus the tokens of each distinct prompt once."""
        own = self.usage.completion_tokens + self.usage.choice_tokens
        return own + sum(self._prompts.values())

    async def generate(self, request: Request, on_event: OnEvent | None = None) -> list[Completion]:
        """Pass the request on, and enter what its completions used."""
        completions = await self._lm.generate(request, on_event)
        self.usage += total_usage(completions)
        for completion in completions:
            self._prompts.update(completion.prompts)
        return completions

    async def prompts_of(
        self, messages: Sequence[Message], thinking: Thinking = NO_THINKING
    ) -> Mapping[str, int] | None:
        """What the model within says of a prompt."""
        return await prompts_of(self._lm, messages, thinking)

    async def aclose(self) -> None:
        """Close the model within."""
        await close(self._lm)
