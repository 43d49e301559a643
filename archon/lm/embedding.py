"""Sentence encoders: texts become vectors that are close where the meanings are.

``Embedder`` is the interface. ``EmbeddingLM`` makes one usable as a role's model, with the single
capability ``embed``. As with reward models, its tokens count in no usage and no cost.
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
    """Embeds texts."""

    async def embed(self, texts: Sequence[str]) -> list[Vector]:
        """One vector of length 1 per text; the product of two is their similarity, at most 1."""
        ...


class EmbeddingLM:
    """A sentence encoder as a role's model.

    Parameters
    ----------
    name
        Of the model, for errors.
    """

    capabilities = EMBED

    def __init__(self, model: Embedder, name: str = "the sentence encoder") -> None:
        self._model, self._name = model, name

    async def embed(self, texts: Sequence[str]) -> list[Vector]:
        """The model's vectors."""
        return await self._model.embed(texts)

    async def generate(self, request: Request, on_event: OnEvent | None = None) -> list[Completion]:
        """Refuse every request.

        Raises
        ------
        UnsupportedError
            Names the model.
        """
        raise UnsupportedError(f"{self._name} compares texts and writes none")

    async def aclose(self) -> None:
        """Close the sentence encoder."""
        await close(self._model)
