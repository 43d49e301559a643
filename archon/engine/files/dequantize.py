"""The quantized number formats of GGUF files, turned into float32.

A quantized tensor is a row of blocks. A block holds ``elements`` small integers q and the few
numbers that turn them back into reals: a scale d, and in some formats a minimum m, so that
x = d·q or x = d·q + m. The K formats hold 256 elements as eight or sixteen sub-blocks, whose own
scales and minima are six- or eight-bit integers under a common d.

Every function takes blocks as uint8 of shape (blocks, bytes of one block) and returns float32 of
shape (blocks, elements of one block). Layouts: ggml's ``ggml-common.h`` and ``ggml-quants.c``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

SUPER_BLOCK = 256
_ELEMENTS_AT_ONCE = 1 << 20


@dataclass(frozen=True, slots=True)
class BlockFormat:
    """One number format: its name, elements and bytes of a block, and how to decode it."""

    name: str
    elements: int
    bytes: int
    decode: Callable[[Tensor], Tensor]


def dequantize(raw: Tensor, format: BlockFormat) -> Tensor:
    """Decode whole blocks: uint8 of any shape → float32, one dimension.

    Decoding takes several times the size of its result, so a part of a large tensor at a time.
    """
    blocks = raw.view(-1, format.bytes)
    values = torch.empty(len(blocks), format.elements)
    step = _ELEMENTS_AT_ONCE // format.elements
    for start in range(0, len(blocks), step):
        values[start : start + step] = format.decode(blocks[start : start + step])
    return values.reshape(-1)


def _half(blocks: Tensor, at: int) -> Tensor:
    """The float16 at byte ``at`` of each block, as float32 of shape (blocks, 1)."""
    return blocks[:, at : at + 2].contiguous().view(torch.float16).float()


def _nibbles(packed: Tensor) -> Tensor:
    """(blocks, bytes) → (blocks, 2·bytes): all low halves first, then all high halves."""
    return torch.cat([packed & 0x0F, packed >> 4], dim=1)


def _bits(packed: Tensor) -> Tensor:
    """(blocks, bytes) → (blocks, 8·bytes): the bits of each byte, lowest first."""
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
    """The eight 6-bit scales and eight 6-bit minima that 12 bytes hold, (blocks, 8) each."""
    first, second, third = packed[:, :4], packed[:, 4:8], packed[:, 8:]
    scales = torch.cat([first & 63, (third & 0x0F) | ((first >> 6) << 4)], dim=1)
    minima = torch.cat([second & 63, (third >> 4) | ((second >> 6) << 4)], dim=1)
    return scales.float(), minima.float()


def _halves_of_chunks(packed: Tensor) -> Tensor:
    """128 bytes → (blocks, 8, 32): each chunk of 32 bytes gives its low halves, then its high."""
    chunks = packed.view(-1, 4, 1, 32)
    return torch.cat([chunks & 0x0F, chunks >> 4], dim=2).view(-1, 8, 32)


def _scaled(blocks: Tensor, q: Tensor) -> Tensor:
    """d·scale·q − dmin·minimum for q of shape (blocks, 8, 32)."""
    scales, minima = _scales_and_minima(blocks[:, 4:16])
    scale = (_half(blocks, 0) * scales).unsqueeze(-1)
    minimum = (_half(blocks, 2) * minima).unsqueeze(-1)
    return (scale * q.float() - minimum).flatten(1)


def _q4_k(blocks: Tensor) -> Tensor:
    return _scaled(blocks, _halves_of_chunks(blocks[:, 16:].contiguous()))


def _q5_k(blocks: Tensor) -> Tensor:
    # Bit s of high byte j is the fifth bit of element j of sub-block s.
    high = _bits(blocks[:, 16:48]).view(-1, 32, 8).transpose(1, 2)
    return _scaled(blocks, _halves_of_chunks(blocks[:, 48:].contiguous()) | (high << 4))


def _q6_k(blocks: Tensor) -> Tensor:
    low = blocks[:, :128].view(-1, 2, 2, 32)  # half, 32-byte part, byte
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
