"""Sentence encoders: they turn texts into vectors that lie close where the meanings do.

``Embedder`` is the seam; ``EmbeddingLM`` puts one into a role of an architecture, where it has the
one capability ``embed``. As with reward models, its tokens are in no usage and no cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from archon.errors import UnsupportedError
from archon.types import Completion, OnEvent, Request

EMBED = frozenset({"embed"})
"""The capabilities of a model that turns texts into vectors and writes none."""
Vector = Sequence[float]


@runtime_checkable
class Embedder(Protocol):
    """Turns texts into vectors."""

    async def embed(self, texts: Sequence[str]) -> list[Vector]:
        """One vector a text, each of length 1: the product of two is their likeness, at most 1."""
        ...


class EmbeddingLM:
    """A sentence encoder in the place of a language model.

    Parameters
    ----------
    name : what errors call it.
    """

    capabilities = EMBED

    def __init__(self, model: Embedder, name: str = "the sentence encoder") -> None:
        self._model, self._name = model, name

    async def embed(self, texts: Sequence[str]) -> list[Vector]:
        """The model's vectors."""
        return await self._model.embed(texts)

    async def generate(self, request: Request, on_event: OnEvent | None = None) -> list[Completion]:
        """Refused, whatever is asked.

        Raises
        ------
        UnsupportedError : names the model.
        """
        raise UnsupportedError(f"{self._name} compares texts and writes none")

    async def aclose(self) -> None:
        """Close the model within, if it holds anything."""
        aclose = getattr(self._model, "aclose", None)
        if aclose is not None:
            await aclose()
