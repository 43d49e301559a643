"""Sentence encoders: texts with similar meanings get similar vectors.

``Embedder`` is the interface. ``EmbeddingLM`` wraps one as a role's model with the single
capability ``embed``. As with reward models, usage and cost do not include its tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from archon.errors import UnsupportedError
from archon.lm.base import close
from archon.types import Completion, OnEvent, Request

EMBED = frozenset({"embed"})
"""The capabilities of a model that embeds texts and generates none."""
Vector = Sequence[float]


@runtime_checkable
class Embedder(Protocol):
    """A model that embeds texts."""

    async def embed(self, texts: Sequence[str]) -> list[Vector]:
        """Return a vector of length 1 per text; the dot product of two is their similarity."""
        ...


class EmbeddingLM:
    """A sentence encoder as a role's model.

    Parameters
    ----------
    name
        The model's name, for errors.
    """

    capabilities = EMBED

    def __init__(self, model: Embedder, name: str = "the sentence encoder") -> None:
        self._model, self._name = model, name

    async def embed(self, texts: Sequence[str]) -> list[Vector]:
        """Embed texts with the model."""
        return await self._model.embed(texts)

    async def generate(self, request: Request, on_event: OnEvent | None = None) -> list[Completion]:
        """Refuse every request.

        Raises
        ------
        UnsupportedError
            Names the model.
        """
        raise UnsupportedError(f"{self._name} embeds texts and generates none")

    async def aclose(self) -> None:
        """Close the sentence encoder."""
        await close(self._model)
