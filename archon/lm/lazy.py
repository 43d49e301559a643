"""Models that are opened at their first request, so that checking files needs no weights."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol, runtime_checkable
from weakref import WeakSet, WeakValueDictionary

from archon.errors import FileError, ModelError, UnsupportedError
from archon.forks import reset_in_child
from archon.lm import factory
from archon.lm.base import LM, NO_THINKING, close, prompts_of, status_of
from archon.lm.embedding import Embedder, Vector
from archon.lm.pool.pool import active_scope
from archon.lm.reasoning import generate_separated
from archon.lm.reward import RewardModel
from archon.spec.model import LocalCard, ModelCard, OpenAICard, PathSource
from archon.types import Completion, Message, ModelStatus, OnEvent, Request, Thinking

_ALL: WeakSet[LazyLM] = WeakSet()


def _forget_all() -> None:
    for lm in list(_ALL):
        lm.forget()


reset_in_child(_forget_all)


@runtime_checkable
class _HasCard(Protocol):
    card: OpenAICard


class LazyLM:
    """The model of a card, opened at its first request; safe to use from several event loops.

    Parameters
    ----------
    base_dir
        The folder at which relative paths in the card start.
    """

    def __init__(self, card: ModelCard, base_dir: Path) -> None:
        self.card, self.base_dir = card, base_dir
        self.origin = ""
        """The card's file and what references it, for errors; empty for a shipped card, which its
        name identifies."""
        self.capabilities = factory.capabilities(card)
        self.reasoning_markers = card.markers()
        self._thinking = card.thinking_params()
        self._lm: LM | None = None
        self._abandoned: LM | None = None
        self._lock = threading.Lock()
        _ALL.add(self)

    async def generate(self, request: Request, on_event: OnEvent | None = None) -> list[Completion]:
        """Open the model in a thread if needed, and forward the request.

        Within ``archon.lm.pool.pooling``, only samples that the pool lacks are generated.
        """
        lm, scope = await self._opened(), active_scope()
        if scope is None:
            return await lm.generate(request, on_event)
        request = replace(request, thinking=request.thinking.over(self._thinking))

        async def from_pool(request: Request, on_event: OnEvent | None) -> list[Completion]:
            return await scope.generate(lm, self.card.name, request, on_event)

        # A pool may have samples from versions that did not separate reasoning from answers.
        return await generate_separated(from_pool, request, on_event, self.reasoning_markers)

    async def score(self, messages: tuple[Message, ...], texts: Sequence[str]) -> list[float]:
        """Score texts with the model; see ``archon.lm.reward.RewardModel``.

        Raises
        ------
        UnsupportedError
            The model is not a reward model.
        """
        lm = await self._opened()
        if not isinstance(lm, RewardModel):
            raise UnsupportedError(f"{self.card.name} is not a reward model")
        return await lm.score(messages, texts)

    async def embed(self, texts: Sequence[str]) -> list[Vector]:
        """Embed texts with the model; see ``archon.lm.embedding.Embedder``.

        Raises
        ------
        UnsupportedError
            The model is not a sentence encoder.
        """
        lm = await self._opened()
        if not isinstance(lm, Embedder):
            raise UnsupportedError(f"{self.card.name} is not a sentence encoder")
        return await lm.embed(texts)

    async def prompts_of(
        self, messages: Sequence[Message], thinking: Thinking = NO_THINKING
    ) -> Mapping[str, int] | None:
        """Open the model if needed; see ``archon.lm.base.prompts_of``."""
        return await prompts_of(await self._opened(), messages, thinking)

    async def _opened(self) -> LM:
        lm = self._lm
        return await asyncio.to_thread(self.open) if lm is None else lm

    def open(self) -> LM:
        """Open the model in this thread if it is not open.

        Raises
        ------
        ModelError
            The weights are unavailable or cannot be run.
        UsageError
            Something that the card names, such as a key in the environment, is missing.
        MissingExtraError
            The backend needs a package that is not installed.
        """
        with self._lock:
            if self._lm is None:
                with self.naming_card():
                    self._lm = factory.open_lm(self.card, self.base_dir)
            return self._lm

    def settled_card(self) -> ModelCard:
        """Return the card with the model's name, for which a server may have to be asked.

        A record of samples needs the name: the only model of a server may be another one tomorrow.

        Raises
        ------
        ModelError, UsageError
            See ``open``.
        """
        if not isinstance(self.card, OpenAICard) or self.card.model is not None:
            return self.card
        opened = self.open()
        return opened.card if isinstance(opened, _HasCard) else self.card

    def forget(self) -> None:
        """Abandon the open model in a forked child; the next request opens it again.

        Its locks may stay locked, its connections belong to the parent, and an engine's thread is
        missing (opening it again reports that). A reference is kept so that nothing is closed.
        """
        self._abandoned, self._lm = self._lm, None
        self._lock = threading.Lock()

    @contextmanager
    def naming_card(self) -> Iterator[None]:
        """Add the card's file, and what references it, to errors about its weights or adapter."""
        try:
            yield
        except FileError as error:  # such as an unknown name of a shipped adapter
            raise error.in_file(self.origin or None) from None
        except ModelError as error:
            if self.origin:
                error.name_card(self.origin)
            raise

    def status(self) -> ModelStatus | None:
        """See ``archon.lm.base.SupportsStatus``; "loading" while the model is being opened."""
        lm = self._lm
        if lm is not None:
            return status_of(lm)
        return ModelStatus("loading") if self._lock.locked() else None

    async def aclose(self) -> None:
        """Close the model; the next request opens it again."""
        with self._lock:
            lm, self._lm = self._lm, None
        if lm is not None:
            await close(lm)


_SHARED: WeakValueDictionary[str, LazyLM] = WeakValueDictionary()


def shared_lm(card: ModelCard, base_dir: Path) -> LazyLM:
    """Return the single model of equal cards, so that architectures share weights and batches."""
    key = json.dumps([card.model_dump_json(), str(base_dir) if _has_paths(card) else ""])
    return _SHARED.setdefault(key, LazyLM(card, base_dir))


def _has_paths(card: ModelCard) -> bool:
    return isinstance(card, LocalCard) and (
        card.adapter is not None
        or card.reward is not None
        or any(isinstance(s, PathSource) for s in card.sources)
    )
