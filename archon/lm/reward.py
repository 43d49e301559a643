"""Reward models: they read a conversation and a reply, and score the reply.

``RewardModel`` is the interface. ``RewardLM`` wraps one as a role's model with the single
capability ``reward``. The interface reports no tokens, so usage and cost do not include them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from archon.errors import LMError, UnsupportedError
from archon.lm.base import close
from archon.types import Completion, Message, OnEvent, Request

REWARD = frozenset({"reward"})
"""The capabilities of a model that scores texts and generates none."""


@runtime_checkable
class RewardModel(Protocol):
    """A model that scores replies."""

    async def score(self, messages: tuple[Message, ...], texts: Sequence[str]) -> list[float]:
        """Return one reward per text as a reply to the messages: finite, and higher is better.

        The rewards of a card's model are probabilities that the reply is correct or preferred to an
        average one. A verifier's threshold is therefore 0.5, and votes may use them as weights.
        """
        ...


class RewardLM:
    """A reward model as a role's model.

    Parameters
    ----------
    name
        The model's name, for errors.
    """

    capabilities = REWARD

    def __init__(self, model: RewardModel, name: str = "the reward model") -> None:
        self._model, self._name = model, name

    async def score(self, messages: tuple[Message, ...], texts: Sequence[str]) -> list[float]:
        """Score texts with the model.

        Raises
        ------
        LMError
            The model returned something other than one finite number per text.
        """
        rewards = [float(reward) for reward in await self._model.score(messages, texts)]
        if len(rewards) != len(texts):
            raise LMError(f"{self._name} returned {len(rewards)} rewards for {len(texts)} texts")
        if not all(map(math.isfinite, rewards)):
            raise LMError(f"{self._name} returned a reward that is not a finite number")
        return rewards

    async def generate(self, request: Request, on_event: OnEvent | None = None) -> list[Completion]:
        """Refuse every request.

        Raises
        ------
        UnsupportedError
            Names the model.
        """
        raise UnsupportedError(f"{self._name} scores texts and generates none")

    async def aclose(self) -> None:
        """Close the reward model."""
        await close(self._model)


class ScriptedRewardModel:
    """A reward model that follows a script; it needs no weights.

    Parameters
    ----------
    script
        (messages, text) → reward.
    """

    def __init__(self, script: Callable[[tuple[Message, ...], str], float]) -> None:
        self._script = script

    async def score(self, messages: tuple[Message, ...], texts: Sequence[str]) -> list[float]:
        """Call the script for each text."""
        return [self._script(messages, text) for text in texts]
