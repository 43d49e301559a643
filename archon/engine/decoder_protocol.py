"""The seam between scheduling and computing: what the scheduler asks of a decoder in one step."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from archon.engine.model.config import DecoderConfig
from archon.engine.model.linear import Precision
from archon.engine.model.lora_file import Adapter
from archon.engine.scheduling.sequence import SamplingRule


@dataclass(frozen=True, slots=True)
class Span:
    """Consecutive tokens of one text, to be computed in one step."""

    token_ids: Sequence[int]
    """One for a sequence that decodes; several for a chunk of a prompt or for recomputation."""
    start: int
    """Position of the first; the keys and values of all positions before it are in the cache."""
    blocks: array[int]
    """Block table, ``array("i")``; covers the span's own positions and all before, at least."""
    num_shared_blocks: int
    """Leading blocks that hold whole blocks of its prompt (a function of its own prompt alone)."""
    num_logits: int
    """Logits are wanted after the last so many of the tokens."""
    adapter: str = ""
    """Digest of the adapter that its tokens are computed with; "" for none."""
    hidden_E: Tensor | None = None
    """Where the last layer's normalised output for the last token goes, in float32 and in the basis
    of the decoder's own weights; None where it is not wanted."""

    @property
    def stop(self) -> int:
        """Position after the last token."""
        return self.start + len(self.token_ids)


class BlockStorage(Protocol):
    """Keys and values in the layout of the decoder that made it; ``BlockPool`` knows which blocks
    are free."""

    @property
    def num_blocks(self) -> int: ...

    def copy_blocks(self, source: int, targets: list[int]) -> None:
        """Copy one block, all layers, to each target."""
        ...


class SpanDecoder(Protocol):
    """What the engine needs of a decoder."""

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
        """Take an adapter in, which is in the basis of the decoder's own weights."""
        ...

    def drop_adapter(self, digest: str) -> None:
        """Forget an adapter."""
        ...

    def new_cache(self, num_blocks: int) -> BlockStorage:
        """Storage in the layout that this decoder wants."""
        ...

    def __call__(self, spans: Sequence[Span], cache: Any) -> Tensor:
        """Run one step: fills a cache that it has made; returns logits (rows, V) in float32.

        The rows are those that the spans want, in their order. The next step may overwrite them.
        Hidden states go where the spans say.
        """
        ...

    def sample(
        self, logits: Sequence[Tensor], rules: Sequence[SamplingRule], noise: Sequence[float]
    ) -> list[int]:
        """Draw one token a row (``archon.engine.sampling.sampler.sample``)."""
        ...
