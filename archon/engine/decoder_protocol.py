"""Decoder protocol: the interface between the engine and a model."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from archon.engine.cache.kv_cache import BlockStorage
from archon.engine.model.config import DecoderConfig
from archon.engine.model.lora import Adapter
from archon.engine.model.precision import Precision
from archon.engine.sampling.penalties import Histories
from archon.engine.sampling.sampler import SamplingRule
from archon.engine.span import Span


class SpanDecoder(Protocol):
    """A model that computes spans with torch, compiled kernels or CUDA graphs."""

    @property
    def config(self) -> DecoderConfig: ...

    @property
    def precision(self) -> Precision: ...

    @property
    def device(self) -> torch.device: ...

    @property
    def bytes_per_block(self) -> int:
        """Bytes of one cache block."""
        ...

    @property
    def adapters(self) -> Collection[str]:
        """Digests of the adapters that were added."""
        ...

    def add_adapter(self, adapter: Adapter) -> None:
        """Add an adapter, whose parameters are in the basis of the decoder's weights."""
        ...

    def drop_adapter(self, digest: str) -> None:
        """Remove the adapter with this digest."""
        ...

    def new_cache(self, num_blocks: int) -> BlockStorage:
        """Return an empty cache in the layout of this decoder."""
        ...

    def __call__(self, spans: Sequence[Span], cache: Any) -> Tensor:
        """Run one step: write keys and values to the cache, and return float32 logits (rows, V).

        There is a row for each token that needs logits, in the order of the spans. The next call
        may overwrite the rows. Hidden states are written to the tensors in the spans.

        Parameters
        ----------
        cache
            A cache made by this decoder's ``new_cache``.
        """
        ...

    def sample(
        self,
        logits: Sequence[Tensor],
        rules: Sequence[SamplingRule],
        noise: Sequence[float],
        histories: Histories | None = None,
    ) -> list[int]:
        """Sample one token per row (``archon.engine.sampling.sampler.sample``)."""
        ...
