"""Random blocks of GGUF files, and products with them in torch.

The products have the order of operations of ``blocks.h``.

The integers of a block are read by the gguf package: from a copy whose scale is 1 and whose minimum
is 0, or the other way round.
"""

from __future__ import annotations

from dataclasses import dataclass

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as TensorType
from tiny_models import random_blocks
from torch import Tensor

from archon.engine.kernels.block_packing import STRIP_FORMATS, pack_strip_linear, strips_of

INPUTS = 768
GROUP = 32
SCALE_AT = {"Q6_K": 208}
MINIMUM_AT = {"Q4_1": 2, "Q5_1": 2, "Q4_K": 2, "Q5_K": 2}


@dataclass(frozen=True)
class IntegerBlocks:
    """A weight as scale · integers + minimum · integers."""

    integers_OI: Tensor
    scale_OB: Tensor
    minima_OI: Tensor | None
    minimum_OB: Tensor | None


def _with_half(blocks: np.ndarray, at: int, value: float) -> None:
    blocks[..., at : at + 2] = np.frombuffer(np.float16(value).tobytes(), np.uint8)


def integer_blocks(name: str, blocks: np.ndarray) -> IntegerBlocks:
    """Split the blocks of a weight, uint8 of shape (O, blocks, bytes)."""
    kind, outputs = TensorType[name], len(blocks)

    def decoded(scale: float, minimum: float) -> Tensor:
        changed = blocks.copy()
        if name == "MXFP4":
            changed[..., 0] = 128
        else:
            _with_half(changed, SCALE_AT.get(name, 0), scale)
        if name in MINIMUM_AT:
            _with_half(changed, MINIMUM_AT[name], minimum)
        flat = changed.reshape(outputs, -1)
        return torch.from_numpy(gguf.quants.dequantize(flat, kind).copy())

    def halves(at: int) -> Tensor:
        return torch.from_numpy(blocks[..., at : at + 2].copy().view(np.float16)[..., 0]).float()

    if name == "MXFP4":
        scale = torch.from_numpy(np.ldexp(1.0, blocks[..., 0].astype(int) - 128)).float()
    else:
        scale = halves(SCALE_AT.get(name, 0))
    if name not in MINIMUM_AT:
        return IntegerBlocks(decoded(1, 0), scale, None, None)
    return IntegerBlocks(decoded(1, 0), scale, decoded(0, 1), halves(MINIMUM_AT[name]))


def quantize_groups(x_NI: Tensor) -> tuple[Tensor, Tensor]:
    """Round inputs; return the scale of each group, (N, I / 32), and integers as float32."""
    grouped = x_NI.unflatten(1, (-1, GROUP))
    top = grouped.abs().amax(2, keepdim=True).clamp_min(1e-12)
    return (top / 127).squeeze(2), (grouped * (127 / top)).round().flatten(1)


def reference_product(name: str, blocks: np.ndarray, x_NI: Tensor) -> Tensor:
    """Compute x · Wᵀ: exact sums over 32 inputs, which are scaled and added in float32."""
    w = integer_blocks(name, blocks)
    x_scale, x_int = quantize_groups(x_NI)
    per_block = x_NI.shape[1] // GROUP // w.scale_OB.shape[1]
    y = torch.zeros(len(x_NI), len(blocks))
    for block in range(w.scale_OB.shape[1]):
        scaled, minima = torch.zeros_like(y), torch.zeros_like(y)
        scale = w.scale_OB[:, block]
        for group in range(block * per_block, (block + 1) * per_block):
            at = slice(group * GROUP, (group + 1) * GROUP)
            x, s = x_int[:, at], x_scale[:, group : group + 1]
            sums = (x.double() @ w.integers_OI[:, at].double().t()).float()
            moment = s * x.sum(1, keepdim=True)
            if per_block == 1:
                y += sums * s * scale
                if w.minimum_OB is not None:
                    y += w.minimum_OB[:, block] * moment
            else:
                scaled += sums * s
                if w.minima_OI is not None:
                    minima += -w.minima_OI[:, group * GROUP] * moment
        if per_block > 1:
            y += scale * scaled
            if w.minimum_OB is not None:
                y -= w.minimum_OB[:, block] * minima
    return y


def some_blocks(name: str, outputs: int, inputs: int = INPUTS) -> np.ndarray:
    """Random blocks, (O, blocks, bytes), with every byte that the format allows."""
    elements, size = gguf.GGML_QUANT_SIZES[TensorType[name]]
    rng = np.random.default_rng(outputs)
    blocks = random_blocks(TensorType[name], outputs * inputs // elements, rng)
    if name == "MXFP4":
        blocks[:, 0] = rng.integers(100, 128, len(blocks))
    return blocks.reshape(outputs, -1, size)


def packed_linear(*weights: tuple[str, np.ndarray]) -> dict[str, Tensor]:
    strips = []
    for name, blocks in weights:
        rows = torch.from_numpy(blocks.reshape(len(blocks), -1))
        strips += strips_of(STRIP_FORMATS[name], rows)
    return pack_strip_linear("linear", strips)


def some_rows(count: int, inputs: int = INPUTS) -> Tensor:
    x = torch.randn(count, inputs, generator=torch.Generator().manual_seed(0))
    return x * torch.logspace(-3, 3, count).unsqueeze(1)
