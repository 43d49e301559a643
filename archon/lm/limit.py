"""A wrapper that bounds how many calls its model answers at once."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from archon.lm.base import LM, NO_THINKING, close, prompts_of
from archon.lm.concurrency import PerLoop
from archon.types import Completion, Message, OnEvent, Request, Thinking


class Limited:
    """Lets ``max_concurrency`` calls through at once in each event loop; the others wait."""

    def __init__(self, lm: LM, max_concurrency: int) -> None:
        if max_concurrency < 1:
            raise ValueError(f"max_concurrency must be at least 1, not {max_concurrency}")
        self.capabilities = lm.capabilities
        self._lm = lm
        self._slots = PerLoop(lambda: asyncio.Semaphore(max_concurrency))

    async def generate(self, request: Request, on_event: OnEvent | None = None) -> list[Completion]:
        """Pass the request on as soon as one of the places is free."""
        async with self._slots.get():
            return await self._lm.generate(request, on_event)

    async def prompts_of(
        self, messages: Sequence[Message], thinking: Thinking = NO_THINKING
    ) -> Mapping[str, int] | None:
        """What the model within says of a prompt."""
        return await prompts_of(self._lm, messages, thinking)

    async def aclose(self) -> None:
        """Close the model within."""
        await close(self._lm)
