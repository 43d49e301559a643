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

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

SUPER_BLOCK = 256
_ELEMENTS_PER_PART = 1 << 17
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


def _two_bits(packed: Tensor, group: int) -> Tensor:
    """Split bytes into 2-bit numbers: (blocks, bytes) → (blocks, 4·bytes).

    Of each ``group`` bytes, the lowest two bits come first, then the next two, and so on.
    """
    shifts = torch.tensor([0, 2, 4, 6], dtype=torch.uint8).view(1, 1, 4, 1)
    return ((packed.reshape(len(packed), -1, 1, group) >> shifts) & 3).flatten(1)


def _q2_k(blocks: Tensor) -> Tensor:
    q = _two_bits(blocks[:, 16:80], 32).view(-1, 16, 16).float()
    scale = (_half(blocks, 80) * (blocks[:, :16] & 0x0F).float()).unsqueeze(-1)
    minimum = (_half(blocks, 82) * (blocks[:, :16] >> 4).float()).unsqueeze(-1)
    return (scale * q - minimum).flatten(1)


def _q3_k(blocks: Tensor) -> Tensor:
    # Bit s of byte j is the third bit of element j of the s-th 32 elements; if it is 0, q is lower
    # by 4.
    high = _bits(blocks[:, :32]).view(-1, 32, 8).transpose(1, 2).reshape(-1, 16, 16)
    q = _two_bits(blocks[:, 32:96], 32).view(-1, 16, 16) + 4 * high.to(torch.int8) - 4
    scales = _nibbles(blocks[:, 96:104]) | (_two_bits(blocks[:, 104:108], 4) << 4)
    scale = _half(blocks, 108) * (scales.float() - 32)
    return (scale.unsqueeze(-1) * q.float()).flatten(1)


def _q8_k(blocks: Tensor) -> Tensor:
    scale = blocks[:, :4].contiguous().view(torch.float32)
    return blocks[:, 4 : 4 + SUPER_BLOCK].view(torch.int8).float() * scale


_NONLINEAR_4 = torch.tensor(
    [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], dtype=torch.float32
)
"""Values of the 4-bit numbers of IQ4_NL and IQ4_XS."""


def _iq4_nl(blocks: Tensor) -> Tensor:
    return _NONLINEAR_4[_nibbles(blocks[:, 2:]).long()] * _half(blocks, 0)


def _iq4_xs(blocks: Tensor) -> Tensor:
    low = torch.stack([blocks[:, 4:8] & 0x0F, blocks[:, 4:8] >> 4], dim=-1).flatten(1)
    high = _two_bits(blocks[:, 2:4], 1)
    scale = _half(blocks, 0) * ((low | (high << 4)).float() - 32)
    q = _nibbles(blocks[:, 8:].reshape(-1, 16)).view(-1, 8, 32)
    return (scale.unsqueeze(-1) * _NONLINEAR_4[q.long()]).flatten(1)


_FLOAT_4 = torch.tensor(
    [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12], dtype=torch.float32
)
"""Twice the values of the 4-bit floats E2M1 (OCP Microscaling Formats 1.0)."""


def _mxfp4(blocks: Tensor) -> Tensor:
    # The scale is 2**(exponent - 127), and half of it here.
    scale = torch.exp2(blocks[:, :1].double() - 128).float()
    return _FLOAT_4[_nibbles(blocks[:, 1:]).long()] * scale


def _nvfp4(blocks: Tensor) -> Tensor:
    # Four sub-blocks of 16 elements; their scales are E4M3 floats without sign, 0x7F is zero.
    stored = torch.where(blocks[:, :4] == 0x7F, 0, blocks[:, :4] & 0x7F)
    scale = stored.view(torch.float8_e4m3fn).float() * 0.5
    q = _nibbles(blocks[:, 4:].reshape(-1, 8)).view(-1, 4, 16)
    return (scale.unsqueeze(-1) * _FLOAT_4[q.long()]).flatten(1)


def _tq1_0(blocks: Tensor) -> Tensor:
    # A byte has five numbers of three values each, as a fraction of 256.
    def threes(packed: Tensor, group: int, count: int) -> Tensor:
        powers = torch.tensor([3**i for i in range(count)], dtype=torch.uint8).view(1, 1, -1, 1)
        return (packed.reshape(len(packed), -1, 1, group) * powers).flatten(1)

    parts = [
        threes(blocks[:, :32], 32, 5),
        threes(blocks[:, 32:48], 16, 5),
        threes(blocks[:, 48:52], 4, 4),
    ]
    q = (torch.cat(parts, dim=1).to(torch.int16) * 3) >> 8
    return (q.float() - 1) * _half(blocks, 52)


def _tq2_0(blocks: Tensor) -> Tensor:
    return (_two_bits(blocks[:, :64], 32).float() - 1) * _half(blocks, 64)


def _by_package(number: int, blocks: Tensor) -> Tensor:
    """Decode a format whose tables only the ``gguf`` package has."""
    quants = importlib.import_module("gguf.quants")
    constants = importlib.import_module("gguf.constants")
    with np.errstate(all="ignore"):  # infinite scales, as in torch
        decoded = quants.dequantize(blocks.numpy(), constants.GGMLQuantizationType(number))
    return torch.from_numpy(decoded.astype(np.float32, copy=False))


BLOCK_FORMATS: dict[int, BlockFormat] = {
    0: BlockFormat("F32", 1, 4, partial(_plain, torch.float32)),
    1: BlockFormat("F16", 1, 2, partial(_plain, torch.float16)),
    2: BlockFormat("Q4_0", 32, 18, _q4_0),
    3: BlockFormat("Q4_1", 32, 20, _q4_1),
    6: BlockFormat("Q5_0", 32, 22, _q5_0),
    7: BlockFormat("Q5_1", 32, 24, _q5_1),
    8: BlockFormat("Q8_0", 32, 34, _q8_0),
    10: BlockFormat("Q2_K", SUPER_BLOCK, 84, _q2_k),
    11: BlockFormat("Q3_K", SUPER_BLOCK, 110, _q3_k),
    12: BlockFormat("Q4_K", SUPER_BLOCK, 144, _q4_k),
    13: BlockFormat("Q5_K", SUPER_BLOCK, 176, _q5_k),
    14: BlockFormat("Q6_K", SUPER_BLOCK, 210, _q6_k),
    15: BlockFormat("Q8_K", SUPER_BLOCK, 292, _q8_k),
    16: BlockFormat("IQ2_XXS", SUPER_BLOCK, 66, partial(_by_package, 16)),
    17: BlockFormat("IQ2_XS", SUPER_BLOCK, 74, partial(_by_package, 17)),
    18: BlockFormat("IQ3_XXS", SUPER_BLOCK, 98, partial(_by_package, 18)),
    19: BlockFormat("IQ1_S", SUPER_BLOCK, 50, partial(_by_package, 19)),
    20: BlockFormat("IQ4_NL", 32, 18, _iq4_nl),
    21: BlockFormat("IQ3_S", SUPER_BLOCK, 110, partial(_by_package, 21)),
    22: BlockFormat("IQ2_S", SUPER_BLOCK, 82, partial(_by_package, 22)),
    23: BlockFormat("IQ4_XS", SUPER_BLOCK, 136, _iq4_xs),
    24: BlockFormat("I8", 1, 1, partial(_plain, torch.int8)),
    25: BlockFormat("I16", 1, 2, partial(_plain, torch.int16)),
    26: BlockFormat("I32", 1, 4, partial(_plain, torch.int32)),
    28: BlockFormat("F64", 1, 8, partial(_plain, torch.float64)),
    29: BlockFormat("IQ1_M", SUPER_BLOCK, 56, partial(_by_package, 29)),
    30: BlockFormat("BF16", 1, 2, partial(_plain, torch.bfloat16)),
    34: BlockFormat("TQ1_0", SUPER_BLOCK, 54, _tq1_0),
    35: BlockFormat("TQ2_0", SUPER_BLOCK, 66, _tq2_0),
    39: BlockFormat("MXFP4", 32, 17, _mxfp4),
    40: BlockFormat("NVFP4", 64, 36, _nvfp4),
}
"""GGUF's type number → format."""

_REMOVED = {
    4: "Q4_2", 5: "Q4_3", 31: "Q4_0_4_4", 32: "Q4_0_4_8", 33: "Q4_0_8_8", 36: "IQ4_NL_4_4",
    37: "IQ4_NL_4_8", 38: "IQ4_NL_8_8",
}  # fmt: skip
"""Formats that llama.cpp no longer reads either."""


def format_of_type(number: int) -> BlockFormat:
    """Return the format of a type number.

    Raises
    ------
    ValueError
        The type is not supported; the message says what to do.
    """
    if number in _REMOVED:
        raise ValueError(
            f"has the format {_REMOVED[number]}, which llama.cpp has removed. Use a file in Q4_0 "
            "or another format"
        )
    format = BLOCK_FORMATS.get(number)
    if format is None:
        known = ", ".join(format.name for format in BLOCK_FORMATS.values())
        raise ValueError(f"has type {number}, which is unknown. Use a file in one of {known}")
    needs_package = isinstance(format.decode, partial) and format.decode.func is _by_package
    if needs_package and importlib.util.find_spec("gguf") is None:
        raise ValueError(
            f"has the format {format.name}, which needs the package gguf: pip install gguf"
        )
    return format
