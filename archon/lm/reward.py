"""Reward models, which score a reply to a conversation.

``RewardModel`` is the interface. ``RewardLM`` wraps a reward model so that a role can name it as
its model; its only capability is ``reward``. Its tokens are not included in usage and cost.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from archon.errors import LMError, UnsupportedError
from archon.lm.base import close
from archon.types import Completion, Message, OnEvent, Request

REWARD = frozenset({"reward"})
"""Capabilities of a model that scores texts but generates none."""


@runtime_checkable
class RewardModel(Protocol):
    """A model that scores replies."""

    async def score(self, messages: tuple[Message, ...], texts: Sequence[str]) -> list[float]:
        """Score each text as a reply to the messages.

        Returns
        -------
        One finite number per text; higher is better. A model that a card describes returns the
        probability that the reply is correct, or better than an average reply. Verifiers therefore
        use the threshold 0.5, and votes can use the rewards as weights.
        """
        ...


class RewardLM:
    """A reward model that a role can name as its model.

    Parameters
    ----------
    name
        Name of the model in error messages.
    """

    capabilities = REWARD

    def __init__(self, model: RewardModel, name: str = "the reward model") -> None:
        self._model, self._name = model, name

    async def score(self, messages: tuple[Message, ...], texts: Sequence[str]) -> list[float]:
        """Score texts with the model; see ``RewardModel``.

        Raises
        ------
        LMError
            The model does not return one finite number per text.
        """
        rewards = [float(reward) for reward in await self._model.score(messages, texts)]
        if len(rewards) != len(texts):
            raise LMError(f"{self._name} returned {len(rewards)} rewards for {len(texts)} texts")
        if not all(map(math.isfinite, rewards)):
            raise LMError(f"{self._name} returned a reward that is not a finite number")
        return rewards

    async def generate(self, request: Request, on_event: OnEvent | None = None) -> list[Completion]:
        """Raise an error, because a reward model cannot generate text.

        Raises
        ------
        UnsupportedError
            Always.
        """
        raise UnsupportedError(
            f"{self._name} only scores texts; choose a model that generates text"
        )

    async def aclose(self) -> None:
        """Close the reward model."""
        await close(self._model)


class ScriptedRewardModel:
    """A fake reward model without weights, which returns rewards computed by a function.

    Parameters
    ----------
    script
        Function (messages, text) → reward.
    """

    def __init__(self, script: Callable[[tuple[Message, ...], str], float]) -> None:
        self._script = script

    async def score(self, messages: tuple[Message, ...], texts: Sequence[str]) -> list[float]:
        """Call the script for each text."""
        return [self._script(messages, text) for text in texts]
