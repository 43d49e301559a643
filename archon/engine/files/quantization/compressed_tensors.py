"""Formats of the compressed-tensors library: integers, packed integers and floats of 8 or 4 bits.

Formats: https://github.com/vllm-project/compressed-tensors, and for mxfp4 and mxfp8 the OCP
Microscaling Formats Specification (2023).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

import torch
from torch import Tensor

from archon.engine.files.quantization.fp8 import FP8_DTYPES
from archon.engine.files.quantization.stored import (
    DerivedTensor,
    Settings,
    Stored,
    expanded,
    modules_with,
    parts_of,
    unpacked,
)

_FORMATS = (
    None, "dense", "naive-quantized", "int-quantized", "float-quantized", "pack-quantized",
    "nvfp4-pack-quantized", "mxfp4-pack-quantized", "mxfp8-quantized", "mixed-precision",
)  # fmt: skip
_ROLES = (
    "weight", "weight_packed", "weight_scale", "weight_zero_point", "weight_shape", "weight_g_idx",
    "weight_global_scale",
)  # fmt: skip
_PACKED_BITS = (4, 8, 2, 3)
_E2M1 = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6])
"""Values of the 4-bit floats."""


def compressed_tensors(settings: Settings, stored: Stored) -> Iterator[DerivedTensor]:
    """Yield the weights of a model that compressed-tensors has written."""
    _check(settings)
    block = _block(settings)
    for prefix in modules_with("weight_scale", stored):
        parts = parts_of(prefix, _ROLES, stored)
        name = prefix + "weight"
        if "weight_packed" in parts:
            packed = stored[parts["weight_packed"]]
            if packed.dtype == "U8":
                shape = (*packed.shape[:-1], 2 * packed.shape[-1])
                yield DerivedTensor(name, shape, parts, partial(_float_4, shape))
                continue
            if "weight_shape" not in parts:
                raise ValueError(f"tensor {prefix + 'weight_shape'!r} is missing")
            shape = tuple(stored[parts["weight_shape"]].read().tolist())
            bits = _bits(packed.shape, shape, name)
            yield DerivedTensor(name, shape, parts, partial(_packed, shape, bits))
        elif name in stored and stored[name].dtype in ("I8", *FP8_DTYPES):
            shape = stored[name].shape
            yield DerivedTensor(name, shape, parts, partial(_scaled, shape, block))
        else:
            raise ValueError(
                f"the weights of {prefix.rstrip('.')!r} have scales but are not compressed: save "
                "the model with quantization_status 'compressed'"
            )


def _check(settings: Settings) -> None:
    formats = [settings.get("format"), *(g.get("format") for g in settings.each("config_groups"))]
    if unknown := [f for f in formats if f not in _FORMATS]:
        raise ValueError(f"its format {unknown[0]!r} is not supported")
    sparsity = settings.inner("sparsity_config").get("format", "dense")
    if sparsity not in ("dense", None):
        raise ValueError(f"its sparsity format {sparsity!r} is not supported")
    if settings.get("transform_config"):
        raise ValueError("its transform_config (rotations of weights) is not supported")


def _block(settings: Settings) -> tuple[int, ...]:
    """Return the rows and columns of the blocks that have a scale; () if no weights have blocks.

    Raises
    ------
    ValueError
        Blocks of several sizes occur.
    """
    groups = settings.each("config_groups")
    sizes = {group.inner("weights").sizes("block_structure") for group in groups} - {()}
    if len(sizes) > 1:
        raise ValueError(f"its weights have blocks of several sizes: {sorted(sizes)}")
    return sizes.pop() if sizes else ()


def _bits(packed: tuple[int, ...], shape: tuple[int, ...], name: str) -> int:
    """Return the bits of a packed number, which follow from the shapes."""
    for bits in _PACKED_BITS:
        if packed == (*shape[:-1], -(-shape[-1] // (32 // bits))):
            return bits
    raise ValueError(f"tensor {name!r} of shape {shape} is packed as {packed}")


def _packed(shape: tuple[int, ...], bits: int, parts: Mapping[str, Tensor]) -> Tensor:
    half = 1 << (bits - 1)
    q = unpacked(parts["weight_packed"], bits)[..., : shape[-1]] - half
    zero = parts.get("weight_zero_point")
    if zero is not None and zero.dtype == torch.int32:  # packed along the rows
        zero = unpacked(zero.transpose(-2, -1), bits).transpose(-2, -1)
        zero = zero[..., : shape[-2], :] - half
    return _with_scale(q, zero, shape, parts)


def _scaled(shape: tuple[int, ...], block: tuple[int, ...], parts: Mapping[str, Tensor]) -> Tensor:
    return _with_scale(parts["weight"], parts.get("weight_zero_point"), shape, parts, block)


def _with_scale(
    q: Tensor,
    zero: Tensor | None,
    shape: tuple[int, ...],
    parts: Mapping[str, Tensor],
    block: tuple[int, ...] = (),
) -> Tensor:
    """Compute (q - zero) · scale, for a scale and zero of the tensor, row, group or block."""
    group_of_input = parts.get("weight_g_idx")
    if group_of_input is not None and bool((group_of_input < 0).any()):
        group_of_input = None  # the groups are in order

    def spread(values: Tensor) -> Tensor:
        if group_of_input is None:
            # A model may mix blocks with scales of rows.
            is_grid = values.dim() == len(shape) and values.shape[-1] > 1 and bool(block)
            return expanded(values, shape, block if is_grid else ())
        return values.float()[..., group_of_input.long()]

    centred = q.float() if zero is None else q.float() - spread(zero)
    return centred * spread(_scale(parts))


def _scale(parts: Mapping[str, Tensor]) -> Tensor:
    """Return the scales; those of MX formats are stored as exponents of 2."""
    scale = parts["weight_scale"]
    return torch.exp2(scale.float() - 127) if scale.dtype == torch.uint8 else scale.float()


def _float_4(shape: tuple[int, ...], parts: Mapping[str, Tensor]) -> Tensor:
    packed, scale = parts["weight_packed"], _scale(parts)
    q = torch.stack([packed & 0x0F, packed >> 4], dim=-1).flatten(-2)
    if "weight_global_scale" in parts:  # it has divided the scales of groups to fit FP8
        scale = scale / parts["weight_global_scale"].float()
    elif parts["weight_scale"].dtype != torch.uint8:
        raise ValueError("its weight_global_scale is missing")
    return _E2M1[q.long()] * expanded(scale, shape)
