"""Dequantize GGUF's number formats to float32.

A quantized tensor is a sequence of blocks. A block has small integers q and the parameters that
turn them into real numbers: a scale d, and in some formats a minimum m, so that x = d·q or
x = d·q + m. The blocks of the K formats have 256 elements in eight or sixteen sub-blocks, each with
a scale and a minimum of six or eight bits, which are multiplied by the block's d.

A ``decode`` function maps blocks, uint8 of shape (blocks, bytes of a block), to float32 of shape
(blocks, elements of a block). The layouts are those of ggml's ``ggml-common.h`` and
``ggml-quants.c``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

SUPER_BLOCK = 256
_ELEMENTS_PER_PART = 1 << 20
"""Maximum number of elements that are decoded together."""


@dataclass(frozen=True, slots=True)
class BlockFormat:
    """A number format: its name, the elements and bytes of a block, and the decoder of blocks."""

    name: str
    elements: int
    bytes: int
    decode: Callable[[Tensor], Tensor]


def dequantize(raw: Tensor, format: BlockFormat) -> Tensor:
    """Decode blocks: uint8 of any shape → float32 with one dimension.

    Decoding needs several times the memory of its result, so large tensors are decoded in parts.
    """
    blocks = raw.view(-1, format.bytes)
    values = torch.empty(len(blocks), format.elements)
    step = _ELEMENTS_PER_PART // format.elements
    for start in range(0, len(blocks), step):
        values[start : start + step] = format.decode(blocks[start : start + step])
    return values.reshape(-1)


def _half(blocks: Tensor, at: int) -> Tensor:
    """Read the float16 at byte ``at`` of each block: float32 of shape (blocks, 1)."""
    return blocks[:, at : at + 2].contiguous().view(torch.float16).float()


def _nibbles(packed: Tensor) -> Tensor:
    """Split bytes into 4-bit numbers: (blocks, bytes) → (blocks, 2·bytes), all low halves first."""
    return torch.cat([packed & 0x0F, packed >> 4], dim=1)


def _bits(packed: Tensor) -> Tensor:
    """Split bytes into bits, lowest first: (blocks, bytes) → (blocks, 8·bytes)."""
    shifts = torch.arange(8, dtype=torch.uint8)
    return ((packed.unsqueeze(-1) >> shifts) & 1).flatten(1)


def _plain(dtype: torch.dtype, blocks: Tensor) -> Tensor:
    return blocks.view(dtype).float()


def _q8_0(blocks: Tensor) -> Tensor:
    return blocks[:, 2:].view(torch.int8).float() * _half(blocks, 0)


def _q4_0(blocks: Tensor) -> Tensor:
    return (_nibbles(blocks[:, 2:]).float() - 8) * _half(blocks, 0)


def _q4_1(blocks: Tensor) -> Tensor:
    return _nibbles(blocks[:, 4:]).float() * _half(blocks, 0) + _half(blocks, 2)


def _q5_0(blocks: Tensor) -> Tensor:
    q = _nibbles(blocks[:, 6:]) | (_bits(blocks[:, 2:6]) << 4)
    return (q.float() - 16) * _half(blocks, 0)


def _q5_1(blocks: Tensor) -> Tensor:
    q = _nibbles(blocks[:, 8:]) | (_bits(blocks[:, 4:8]) << 4)
    return q.float() * _half(blocks, 0) + _half(blocks, 2)


def _scales_and_minima(packed: Tensor) -> tuple[Tensor, Tensor]:
    """Unpack eight 6-bit scales and eight 6-bit minima from 12 bytes: (blocks, 8) each."""
    first, second, third = packed[:, :4], packed[:, 4:8], packed[:, 8:]
    scales = torch.cat([first & 63, (third & 0x0F) | ((first >> 6) << 4)], dim=1)
    minima = torch.cat([second & 63, (third >> 4) | ((second >> 6) << 4)], dim=1)
    return scales.float(), minima.float()


def _halves_of_chunks(packed: Tensor) -> Tensor:
    """Split 128 bytes into 4-bit numbers: (blocks, 128) → (blocks, 8, 32).

    The low halves of bytes 0 to 31 come first, then their high halves, then those of bytes 32 to
    63, and so on.
    """
    chunks = packed.view(-1, 4, 1, 32)
    return torch.cat([chunks & 0x0F, chunks >> 4], dim=2).view(-1, 8, 32)


def _scaled(blocks: Tensor, q: Tensor) -> Tensor:
    """Compute d·scale·q − dmin·minimum for q of shape (blocks, 8, 32)."""
    scales, minima = _scales_and_minima(blocks[:, 4:16])
    scale = (_half(blocks, 0) * scales).unsqueeze(-1)
    minimum = (_half(blocks, 2) * minima).unsqueeze(-1)
    return (scale * q.float() - minimum).flatten(1)


def _q4_k(blocks: Tensor) -> Tensor:
    return _scaled(blocks, _halves_of_chunks(blocks[:, 16:].contiguous()))


def _q5_k(blocks: Tensor) -> Tensor:
    # Bit s of byte j is the fifth bit of element j of sub-block s.
    high = _bits(blocks[:, 16:48]).view(-1, 32, 8).transpose(1, 2)
    return _scaled(blocks, _halves_of_chunks(blocks[:, 48:].contiguous()) | (high << 4))


def _q6_k(blocks: Tensor) -> Tensor:
    low = blocks[:, :128].view(-1, 2, 2, 32)  # half, part of 32 bytes, byte
    low = torch.cat([low & 0x0F, low >> 4], dim=2)  # half, quarter, element
    shifts = torch.tensor([0, 2, 4, 6], dtype=torch.uint8).view(1, 1, 4, 1)
    high = (blocks[:, 128:192].view(-1, 2, 1, 32) >> shifts) & 3
    q = (low | (high << 4)).view(-1, 16, 16).float() - 32
    scales = blocks[:, 192:208].view(torch.int8).float()
    return ((_half(blocks, 208) * scales).unsqueeze(-1) * q).flatten(1)


BLOCK_FORMATS: dict[int, BlockFormat] = {
    0: BlockFormat("F32", 1, 4, partial(_plain, torch.float32)),
    1: BlockFormat("F16", 1, 2, partial(_plain, torch.float16)),
    2: BlockFormat("Q4_0", 32, 18, _q4_0),
    3: BlockFormat("Q4_1", 32, 20, _q4_1),
    6: BlockFormat("Q5_0", 32, 22, _q5_0),
    7: BlockFormat("Q5_1", 32, 24, _q5_1),
    8: BlockFormat("Q8_0", 32, 34, _q8_0),
    12: BlockFormat("Q4_K", SUPER_BLOCK, 144, _q4_k),
    13: BlockFormat("Q5_K", SUPER_BLOCK, 176, _q5_k),
    14: BlockFormat("Q6_K", SUPER_BLOCK, 210, _q6_k),
    30: BlockFormat("BF16", 1, 2, partial(_plain, torch.bfloat16)),
}
"""GGUF's type number → format."""
