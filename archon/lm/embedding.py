"""Sentence encoders, which map texts with similar meanings to similar vectors.

``Embedder`` is the interface. ``EmbeddingLM`` wraps an embedder so that a role can name it as its
model; its only capability is ``embed``. Its tokens are not included in usage and cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from archon.errors import UnsupportedError
from archon.lm.base import close
from archon.types import Completion, OnEvent, Request

EMBED = frozenset({"embed"})
"""Capabilities of a model that embeds texts but generates none."""
Vector = Sequence[float]


@runtime_checkable
class Embedder(Protocol):
    """A model that embeds texts."""

    async def embed(self, texts: Sequence[str]) -> list[Vector]:
        """Return a unit vector per text. The dot product of two vectors is their similarity."""
        ...


class EmbeddingLM:
    """A sentence encoder that a role can name as its model.

    Parameters
    ----------
    name
        Name of the model in error messages.
    """

    capabilities = EMBED

    def __init__(self, model: Embedder, name: str = "the sentence encoder") -> None:
        self._model, self._name = model, name

    async def embed(self, texts: Sequence[str]) -> list[Vector]:
        """Embed texts with the model."""
        return await self._model.embed(texts)

    async def generate(self, request: Request, on_event: OnEvent | None = None) -> list[Completion]:
        """Raise an error, because a sentence encoder cannot generate text.

        Raises
        ------
        UnsupportedError
            Always.
        """
        raise UnsupportedError(
            f"{self._name} only embeds texts; choose a model that generates text"
        )

    async def aclose(self) -> None:
        """Close the sentence encoder."""
        await close(self._model)
