"""The decoder protocol: what the engine needs of a model."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from archon.engine.cache.kv_cache import BlockStorage
from archon.engine.model.config import DecoderConfig
from archon.engine.model.linear import Precision
from archon.engine.model.lora import Adapter
from archon.engine.sampling.sampler import SamplingRule
from archon.engine.span import Span


class SpanDecoder(Protocol):
    """Computes one step of spans: torch, compiled kernels or CUDA graphs."""

    @property
    def config(self) -> DecoderConfig: ...

    @property
    def precision(self) -> Precision: ...

    @property
    def device(self) -> torch.device: ...

    @property
    def bytes_per_block(self) -> int:
        """Bytes of one cache block, keys and values of all layers together."""
        ...

    @property
    def adapters(self) -> Collection[str]:
        """Digests of the adapters that it has."""
        ...

    def add_adapter(self, adapter: Adapter) -> None:
        """Add an adapter that is in the basis of the decoder's own weights."""
        ...

    def drop_adapter(self, digest: str) -> None:
        """Remove an adapter."""
        ...

    def new_cache(self, num_blocks: int) -> BlockStorage:
        """Create storage in the layout of this decoder."""
        ...

    def __call__(self, spans: Sequence[Span], cache: Any) -> Tensor:
        """Run one step: fill a cache that this decoder made; return logits (rows, V) in float32.

        The rows are those that the spans request, in their order. The next step may overwrite
        them. Hidden states go to the tensors that the spans hold.
        """
        ...

    def sample(
        self, logits: Sequence[Tensor], rules: Sequence[SamplingRule], noise: Sequence[float]
    ) -> list[int]:
        """Sample one token per row (``archon.engine.sampling.sampler.sample``)."""
        ...
