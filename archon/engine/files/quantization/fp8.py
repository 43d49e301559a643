"""FP8: weights of 8-bit floats with a scale per tensor, row or block (DeepSeek-V3, FBGEMM)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from torch import Tensor

from archon.engine.files.quantization.stored import (
    DerivedTensor,
    Settings,
    Stored,
    expanded,
    parts_of,
)

FP8_DTYPES = ("F8_E4M3", "F8_E5M2")
_SCALES = ("_scale_inv", "_scale")
"""Endings of a scale's name after the weight's. Weights are multiplied by both kinds: the first is
the inverse of the scale that quantized them."""


def fp8(settings: Settings, stored: Stored) -> Iterator[DerivedTensor]:
    """Yield the weights of a model in FP8."""
    block = settings.sizes("weight_block_size")
    for name, tensor in stored.items():
        if tensor.dtype not in FP8_DTYPES:
            continue
        found = [name + ending for ending in _SCALES if name + ending in stored]
        if not found:
            raise ValueError(f"tensor {name!r} has the type {tensor.dtype}, but no scale")
        prefix = name.rpartition(".")[0] + "."
        yield DerivedTensor(
            name,
            tensor.shape,
            {**parts_of(prefix, (), stored), "weight": name, "scale": found[0]},
            partial(_scaled, tensor.shape, block),
        )


def _scaled(shape: tuple[int, ...], block: Sequence[int], parts: Mapping[str, Tensor]) -> Tensor:
    return parts["weight"].float() * expanded(parts["scale"], shape, block)
