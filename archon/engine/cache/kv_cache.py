"""The paged KV cache: keys and values of every layer, in blocks of a fixed number of tokens.

A sequence's keys and values need not be contiguous: its *block table* lists the blocks that contain
them. So memory is not fragmented, and sequences can share blocks (PagedAttention: Kwon et al. 2023,
arXiv 2309.06180).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from archon.engine.cache.layout import CacheLayout

BLOCK_SIZE = 16
"""Tokens in a block."""


class KeyValueShape(Protocol):
    """Sizes of a decoder that determine the size of its keys and values."""

    @property
    def cache_layout(self) -> CacheLayout: ...

    @property
    def num_kv_heads(self) -> int: ...

    @property
    def head_width(self) -> int: ...


class BlockStorage(Protocol):
    """Keys and values in the layout of one decoder; ``BlockPool`` allocates the blocks."""

    @property
    def layout(self) -> CacheLayout: ...

    @property
    def num_blocks(self) -> int: ...

    def copy_blocks(self, source: int, targets: list[int]) -> None:
        """Copy one block to each target."""
        ...


class KVCache:
    """Keys and values as torch tensors, (rows, blocks, 16, G, D) each.

    Parameters
    ----------
    config
        Sizes of the decoder.
    num_blocks
        Number of blocks that can be allocated.
    dtype
        Number type of the stored keys and values.
    num_scratch_blocks
        Number of additional blocks at the end, to which rows of padding write.
    """

    def __init__(
        self,
        config: KeyValueShape,
        num_blocks: int,
        dtype: torch.dtype,
        device: torch.device,
        num_scratch_blocks: int = 0,
    ) -> None:
        self.layout = config.cache_layout
        blocks = (self.layout.num_rows, num_blocks + num_scratch_blocks, BLOCK_SIZE)
        shape = (*blocks, config.num_kv_heads, config.head_width)
        self.k, self.v = _zeros(shape, dtype, device), _zeros(shape, dtype, device)
        self.dtype, self.num_blocks = dtype, num_blocks

    def write(self, row: int, slot_N: Tensor, k_NGD: Tensor, v_NGD: Tensor) -> None:
        """Store a layer's keys and values of N tokens, each at its slot.

        Parameters
        ----------
        row
            Row of the layer (``LayerPlace``).
        slot_N
            block · BLOCK_SIZE + offset.
        """
        self.k[row].flatten(0, 1)[slot_N] = k_NGD.to(self.dtype)
        self.v[row].flatten(0, 1)[slot_N] = v_NGD.to(self.dtype)

    def gather(self, row: int, blocks_BK: Tensor) -> tuple[Tensor, Tensor]:
        """Read a layer's keys and values of blocks: (B, G, K · BLOCK_SIZE, D) each.

        Parameters
        ----------
        blocks_BK
            Block numbers.
        """
        B, K = blocks_BK.shape
        flat = blocks_BK.flatten()

        def take(storage: Tensor) -> Tensor:
            _, _, G, D = storage.shape
            return storage.index_select(0, flat).view(B, K * BLOCK_SIZE, G, D).transpose(1, 2)

        return take(self.k[row]), take(self.v[row])

    def copy_blocks(self, source: int, targets: list[int]) -> None:
        """Copy one block to each target."""
        for storage in (self.k, self.v):
            storage[:, targets] = storage[:, [source]]


def _zeros(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return zeros; on the CPU, pages use memory only once they are written."""
    if device.type != "cpu":
        return torch.zeros(shape, dtype=dtype, device=device)
    untouched = np.zeros(math.prod(shape) * dtype.itemsize, dtype=np.uint8)
    return torch.from_numpy(untouched).view(dtype).view(shape)


def num_blocks_for(num_tokens: int) -> int:
    """Return ⌈num_tokens / BLOCK_SIZE⌉."""
    return -(-num_tokens // BLOCK_SIZE)


def bytes_per_block(config: KeyValueShape, dtype: torch.dtype) -> int:
    """Return the size of one block in bytes: keys and values of all of its rows."""
    per_row = 2 * config.num_kv_heads * config.head_width * dtype.itemsize
    return per_row * config.cache_layout.num_rows * BLOCK_SIZE
