"""bitsandbytes: 4-bit numbers of a table (NF4, FP4: Dettmers et al. 2023, arXiv 2305.14314) and
8-bit integers (Dettmers et al. 2022, arXiv 2208.07339)."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from functools import partial

import torch
from torch import Tensor

from archon.engine.files.quantization.stored import (
    DerivedTensor,
    Settings,
    Stored,
    modules_with,
)

_STATES = ("quant_state.bitsandbytes__nf4", "quant_state.bitsandbytes__fp4")
_ROLES = ("absmax", "quant_map", "nested_absmax", "nested_quant_map")


def bitsandbytes(settings: Settings, stored: Stored) -> Iterator[DerivedTensor]:
    """Yield the weights of a model that bitsandbytes has quantized."""
    for state_role in _STATES:
        for prefix in modules_with(state_role, stored):  # "….weight."
            read = json.loads(bytes(stored[prefix + state_role].read().tolist()))
            state = Settings(read, prefix + state_role)
            name = prefix.removesuffix(".")
            roles = {role: prefix + role for role in _ROLES if prefix + role in stored}
            parts = {"weight": name, "state": prefix + state_role, **roles}
            if missing := [part for part in parts.values() if part not in stored]:
                raise ValueError(f"tensor {missing[0]!r} is missing")
            shape = state.sizes("shape")
            yield DerivedTensor(name, shape, parts, partial(_table_weight, shape, state))
    for prefix in modules_with("SCB", stored):
        parts = {"weight": prefix + "weight", "scale": prefix + "SCB"}
        if prefix + "weight_format" in stored:
            parts["format"] = prefix + "weight_format"
        if parts["weight"] not in stored:
            raise ValueError(f"tensor {parts['weight']!r} is missing")
        yield DerivedTensor(parts["weight"], stored[parts["weight"]].shape, parts, _int8_weight)


def _table_weight(shape: tuple[int, ...], state: Settings, parts: Mapping[str, Tensor]) -> Tensor:
    packed = parts["weight"].flatten()
    if packed.dtype != torch.uint8:
        packed = packed.view(torch.uint8)
    q = torch.stack([packed >> 4, packed & 0x0F], dim=-1).flatten()[: math.prod(shape)]
    values = parts["quant_map"].float()[q.long()]
    largest = parts["absmax"]
    if "nested_absmax" in parts:
        table, outer = parts["nested_quant_map"].float(), parts["nested_absmax"].float()
        size = state.number("nested_blocksize")
        scale = outer.repeat_interleave(size)[: largest.numel()]
        largest = table[largest.long()] * scale + float(state.get("nested_offset", 0))
    scale = largest.float().repeat_interleave(state.number("blocksize"))[: len(values)]
    return (values * scale).view(shape)


def _int8_weight(parts: Mapping[str, Tensor]) -> Tensor:
    if "format" in parts and int(parts["format"]) != 0:
        raise ValueError("its weight_format is not that of rows; save the model again")
    return parts["weight"].float() * (parts["scale"].float() / 127).unsqueeze(-1)
