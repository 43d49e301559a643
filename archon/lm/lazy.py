"""Models that are opened on their first request, so that validating a file needs no weights."""

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

from archon import weights
from archon.errors import FileError, ModelError, UnsupportedError
from archon.forks import reset_in_child
from archon.lm import factory
from archon.lm.base import LM, NO_THINKING, close, prompts_of, status_of
from archon.lm.card_compute import card_compute
from archon.lm.compute import ComputeModel, compute_of
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
    """A card's model, opened on its first request; safe to use from several event loops.

    Parameters
    ----------
    base_dir
        Folder on which the card's relative paths are based.
    """

    def __init__(self, card: ModelCard, base_dir: Path) -> None:
        self.card, self.base_dir = card, base_dir
        self.origin = ""
        """The card's file and the file that refers to it, for error messages; empty for a shipped
        card.
        """
        self.capabilities = factory.capabilities(card)
        self.reasoning_markers = card.markers()
        self._thinking = card.thinking_params()
        self._lm: LM | None = None
        self._abandoned: LM | None = None
        self._digest: str | None = None
        self._lock = threading.Lock()
        _ALL.add(self)

    async def generate(self, request: Request, on_event: OnEvent | None = None) -> list[Completion]:
        """Forward a request to the model, and open the model in a thread if necessary.

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
            raise UnsupportedError(
                f"{self.card.name} is not a reward model; choose a card with a reward model"
            )
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
            raise UnsupportedError(
                f"{self.card.name} is not a sentence encoder; choose a card with one"
            )
        return await lm.embed(texts)

    async def prompts_of(
        self, messages: Sequence[Message], thinking: Thinking = NO_THINKING
    ) -> Mapping[str, int] | None:
        """Count the tokens of a prompt with the model; see ``archon.lm.base.prompts_of``."""
        return await prompts_of(await self._opened(), messages, thinking)

    @property
    def compute_model(self) -> ComputeModel | None:
        """See ``archon.lm.compute.HasCompute``: the open model's, else that of the card."""
        return compute_of(self._lm) or card_compute(self.card)

    async def _opened(self) -> LM:
        lm = self._lm
        return await asyncio.to_thread(self.open) if lm is None else lm

    def open(self) -> LM:
        """Return the model. If it is not open, open it in this thread.

        Raises
        ------
        ModelError
            The weights are unavailable or cannot be run.
        UsageError
            Something that the card requires, such as an environment variable with an API key, is
            missing.
        MissingExtraError
            The backend needs a package that is not installed.
        """
        with self._lock:
            if self._lm is None:
                with self.naming_card():
                    self._lm = factory.open_lm(self.card, self.base_dir)
                if "tools" not in self._lm.capabilities:  # only the chat template shows it
                    self.capabilities -= {"tools"}
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

    def weights_digest(self, *, opens: bool) -> str | None:
        """Return the digest of the open model's weights; None if they are not on this machine.

        Parameters
        ----------
        opens
            Whether to open the model if it is not open. If it is False, the digest is then None.

        Raises
        ------
        ModelError, UsageError, MissingExtraError
            See ``open``.
        """
        if not isinstance(self.card, LocalCard) or not (opens or self._lm is not None):
            return None
        self.open()
        if self._digest is None and (path := weights.find(self.card, self.base_dir)) is not None:
            self._digest = weights.identity(self.card, path)
        return self._digest

    def forget(self) -> None:
        """Abandon the open model in a forked child process; the next request reopens it.

        In the child, the model's locks may be locked forever, its connections belong to the parent,
        and an engine has no thread. (Opening an engine in a forked child is an error.) A reference
        to the model is kept so that the child does not close it.
        """
        self._abandoned, self._lm = self._lm, None
        self._lock = threading.Lock()

    @contextmanager
    def naming_card(self) -> Iterator[None]:
        """Add ``origin`` to errors of the ``with`` block about the card's weights or adapter."""
        try:
            yield
        except FileError as error:  # for example, no shipped adapter has the card's name for it
            raise error.in_file(self.origin or None) from None
        except ModelError as error:
            if self.origin:
                error.name_card(self.origin)
            raise

    def status(self) -> ModelStatus | None:
        """See ``archon.lm.base.SupportsStatus``. The status is "loading" while the model opens."""
        lm = self._lm
        if lm is not None:
            return status_of(lm)
        return ModelStatus("loading") if self._lock.locked() else None

    async def aclose(self) -> None:
        """Close the model. The next request opens it again."""
        with self._lock:
            lm, self._lm, self._digest = self._lm, None, None
        if lm is not None:
            await close(lm)


_SHARED: WeakValueDictionary[str, LazyLM] = WeakValueDictionary()


def shared_lm(card: ModelCard, base_dir: Path) -> LazyLM:
    """Return a card's model. Equal cards share one object.

    Therefore, architectures with equal cards share weights and batches.
    """
    key = json.dumps([card.model_dump_json(), str(base_dir) if _has_paths(card) else ""])
    return _SHARED.setdefault(key, LazyLM(card, base_dir))


def _has_paths(card: ModelCard) -> bool:
    return isinstance(card, LocalCard) and (
        card.adapter is not None
        or card.reward is not None
        or any(isinstance(s, PathSource) for s in card.sources)
    )
