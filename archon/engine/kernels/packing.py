"""Pack weights in the layout of the CPU kernels, and cache them on disk.

A linear layer of O outputs and I inputs becomes panels of 32 outputs (``int8.h``, ``int4.h``,
``blocks.h``):

int8
    (O / 32, I / 4, 32, 4), with a scale and a ``shift`` per output;
int4
    (O / 32, I / 8, 32, 4), two weights per byte, with a scale per group and an ``offset`` per
    output;
native
    two strips of 16 outputs, each in a format of GGUF (``block_packing``).

Packing a model takes seconds; reading it from the cache takes a fraction of a second.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import mmap
import os
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from archon.engine.kernels.block_packing import (
    PANEL_OUTPUTS,
    log_rounded_weights,
    pack_blocks_around_layers,
    pack_layer_blocks,
)
from archon.engine.model.config import DecoderConfig
from archon.engine.model.families.traits import FamilyTraits
from archon.engine.model.linear import GroupedWeight, quantize_groups, quantize_weight
from archon.engine.model.lora import LowRank
from archon.engine.model.outlier_rotation import OutlierRotatedWeights
from archon.engine.model.precision import Precision
from archon.engine.model.weights import Experts, GatedWeights, LayerWeights, WeightSource

_LAYOUT = "3"
"""Version of the layout. Increase it when the layout or the packed tensors change."""
_ALIGNMENT = 64
_INT4_SHIFT = 8
_SCORES_MULTIPLE = 16
"""The router's rows are a multiple of this number."""

Packed = dict[str, Tensor]
"""All packed parameters of a decoder, by name."""


def can_pack(config: DecoderConfig) -> bool:
    """Return True if the kernels support the shape and the features of a decoder."""
    sizes = [config.width, config.num_kv_heads * config.head_width]
    if any(not layer.is_sparse for layer in config.layers):
        sizes.append(config.ffn_width)
    if config.experts is not None:
        sizes += [config.experts.width, config.experts.shared_width]
    return (
        all(size % PANEL_OUTPUTS == 0 for size in sizes)
        and config.head_width % 16 == 0
        and config.head_width <= 256
        and config.width <= 16384
        and supports_family(config.traits)
        # All layers share one width of rotated channels.
        and len({rope.width for rope in config.ropes}) <= 1
    )


def supports_family(traits: FamilyTraits) -> bool:
    """Return True if the kernels compute all features of a family."""
    # Outputs of experts are added to the stream as they are.
    return not (traits.experts and traits.normalises_outputs)


def pack(source: WeightSource, precision: Precision) -> Packed:
    """Convert all parameters to a precision, in the kernels' layout."""
    if precision == "native":
        packed = pack_blocks_around_layers(source)
    else:
        packed = {"embedding": source.embedding().bfloat16()}
        packed |= pack_linear("head", source.head(), None)
    packed["norm"] = source.output_norm()
    if isinstance(source, OutlierRotatedWeights) and source.input_rotation is not None:
        rotation = source.input_rotation
        packed |= {"rotation.sign": rotation.sign, "rotation.mix": rotation.mix}
    for index in range(source.config.num_layers):
        w, at = source.layer(index), f"layers.{index}."
        norms = {
            "attention_norm": w.attention_norm_E, "attention_post_norm": w.attention_post_norm_E,
            "ffn_norm": w.ffn_norm_E, "ffn_post_norm": w.ffn_post_norm_E,
            "q_norm": w.q_norm, "k_norm": w.k_norm,
        }  # fmt: skip
        packed |= {at + name: norm for name, norm in norms.items() if norm is not None}
        if w.router is not None:
            packed[at + "router"] = _router(w.router, w.shared_router)
        if precision == "native":
            packed |= pack_layer_blocks(source, index, w)
        else:
            packed |= _pack_layer(at, w, precision)
        for name, bias in _biases(w).items():
            packed[f"{at}{name}.bias"] = functional.pad(bias, (0, -len(bias) % PANEL_OUTPUTS))
    return {name: tensor.contiguous() for name, tensor in packed.items()}


def _pack_layer(at: str, w: LayerWeights, precision: Precision) -> Packed:
    """Pack the linear layers of a layer in int8 or int4, without biases."""
    packed = pack_linear(at + "qkv", torch.cat([w.q, w.k, w.v]), None)
    packed |= pack_linear(at + "output", w.attention_output, None)
    if w.network is not None:
        packed |= _pack_network(at, w.network, precision)
    if w.experts is not None:
        packed |= _pack_experts(at + "experts_", w.experts, precision)
    return packed


def _pack_experts(at: str, experts: Experts, precision: Precision) -> Packed:
    """Pack the products of all experts, one after another, as those of one network."""
    stacked: Packed = {}
    for number, expert in enumerate(experts):
        for name, part in _pack_network(at, expert, precision).items():
            if name not in stacked:  # made once, so that no expert is in memory twice
                stacked[name] = part.new_empty(experts.count, *part.shape)
            stacked[name][number] = part
    return {name: parts.flatten(0, 1) for name, parts in stacked.items()}


def _pack_network(at: str, w: GatedWeights, precision: Precision) -> Packed:
    """Pack a feed-forward network in int8 or int4."""
    gate_up = torch.cat([w.gate, w.up])
    if precision == "int8":
        packed = pack_linear(at + "gate_up", _interleaved(gate_up), None)
        return packed | pack_linear(at + "down", w.down, None)
    halves = quantize_groups(gate_up)
    weight = GroupedWeight(_interleaved(halves.scale_OG), _interleaved(halves.weight_s4_OI))
    packed = pack_int4_linear(at + "gate_up", weight, None)
    return packed | pack_int4_linear(at + "down", quantize_groups(w.down), None)


def _router(router_XE: Tensor, shared_router_1E: Tensor | None) -> Tensor:
    """Return the rows that score the experts and the shared network, filled up with zeros."""
    shared = torch.zeros_like(router_XE[:1]) if shared_router_1E is None else shared_router_1E
    scores = torch.cat([router_XE, shared])
    return functional.pad(scores, (0, 0, 0, -len(scores) % _SCORES_MULTIPLE))


def _biases(w: LayerWeights) -> dict[str, Tensor]:
    """Return the biases of a layer's linear layers, in the order of their packed outputs."""
    qkv = [b for b in (w.q_bias, w.k_bias, w.v_bias) if b is not None]
    biases = {"qkv": torch.cat(qkv) if qkv else None, "output": w.output_bias, "down": w.down_bias}
    if w.gate_bias is not None and w.up_bias is not None:
        biases["gate_up"] = _interleaved(torch.cat([w.gate_bias, w.up_bias]))
    return {name: bias for name, bias in biases.items() if bias is not None}


def _interleaved(gate_up: Tensor) -> Tensor:
    """Reorder rows so that each panel has 16 rows of gate and the same 16 rows of up."""
    halves = [x.unflatten(0, (-1, PANEL_OUTPUTS // 2)) for x in gate_up.chunk(2)]
    return torch.stack(halves, dim=1).flatten(0, 2)


def pack_linear(name: str, weight_OI: Tensor, bias_O: Tensor | None) -> Packed:
    """Pack a linear layer in int8."""
    missing = -weight_OI.shape[0] % PANEL_OUTPUTS
    weight_OI = functional.pad(weight_OI, (0, 0, 0, missing))
    scale_O, weight_s8_OI = quantize_weight(weight_OI)
    packed = {
        name + ".weight": weight_s8_OI.view(-1, PANEL_OUTPUTS, weight_OI.shape[1] // 4, 4)
        .transpose(1, 2)
        .contiguous(),
        name + ".scale": scale_O,
        name + ".shift": -128 * weight_s8_OI.sum(dim=1, dtype=torch.int32),
    }
    return packed | _padded_bias(name, bias_O)


def pack_int4_linear(name: str, weight: GroupedWeight, bias_O: Tensor | None) -> Packed:
    """Pack a linear layer in int4; its number of inputs must be a multiple of 32."""
    missing = -len(weight.scale_OG) % PANEL_OUTPUTS
    padded = GroupedWeight(
        functional.pad(weight.scale_OG, (0, 0, 0, missing)),
        functional.pad(weight.weight_s4_OI, (0, 0, 0, missing)),
    )
    nibbles = (padded.weight_s4_OI + _INT4_SHIFT).to(torch.uint8)
    halves = nibbles.view(-1, PANEL_OUTPUTS, nibbles.shape[1] // 8, 2, 4).transpose(1, 2)
    packed = {
        name + ".weight": (halves[..., 0, :] | halves[..., 1, :] << 4).contiguous(),
        name + ".group_scale": padded.scale_OG.unflatten(0, (-1, PANEL_OUTPUTS))
        .transpose(1, 2)
        .contiguous(),
        name + ".offset": padded.offset(),
    }
    return packed | _padded_bias(name, bias_O)


def _padded_bias(name: str, bias_O: Tensor | None) -> Packed:
    if bias_O is None:
        return {}
    return {name + ".bias": functional.pad(bias_O, (0, -len(bias_O) % PANEL_OUTPUTS))}


def pack_low_rank(name: str, change: LowRank) -> tuple[Tensor, Tensor]:
    """Pack an adapter's change to the product ``name``, such as ``qkv``.

    Returns
    -------
    A, (R, I), and B in panels, (O / 32, R, 32).
    """
    b_OR = _interleaved(change.b_OR) if name == "gate_up" else change.b_OR
    b_OR = functional.pad(b_OR, (0, 0, 0, -len(b_OR) % PANEL_OUTPUTS))
    panels = b_OR.unflatten(0, (-1, PANEL_OUTPUTS)).transpose(1, 2)
    return change.a_RI.contiguous(), panels.contiguous()


def load_packed(source: WeightSource, precision: Precision, cache_file: Path | None) -> Packed:
    """Read the packed parameters from the cache, or pack them and write the cache.

    Errors in reading or writing the cache are ignored.
    """
    if precision == "native":
        log_rounded_weights(source)
    packed = None if cache_file is None else _read(cache_file)
    if packed is None:
        packed = pack(source, precision)
        if cache_file is not None:
            with contextlib.suppress(OSError, SafetensorError):
                _write(packed, cache_file)
    packed = _in_huge_pages(packed)
    _trim_heap()
    return packed


def _trim_heap() -> None:
    """Return freed memory to the system.

    Packing makes many tensors of a few megabytes, which the C library of Linux would keep: 0.5 GB
    after a mixture of experts whose packed weights have 0.43 GB.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def _read(path: Path) -> Packed | None:
    try:
        with safe_open(path, framework="pt") as file:
            if (file.metadata() or {}).get("layout") != _LAYOUT:
                return None
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError):
        return None


def _write(packed: Packed, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        save_file(packed, fresh, {"layout": _LAYOUT})
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


def _in_huge_pages(packed: Packed) -> Packed:
    """Copy all parameters except those of the embedding to memory with pages of 2 MiB.

    A step reads each of these parameters once. With pages of 4 KiB, the CPU would spend much of
    that time on translating addresses. From the embedding, a step reads only one row per token.
    ``packed`` loses each of these parameters when it is copied, so that they are in memory once.
    """
    kept = {name: tensor for name, tensor in packed.items() if name.startswith("embedding")}
    names = [name for name in packed if name not in kept]
    sizes = [-(-packed[n].numel() * packed[n].element_size() // _ALIGNMENT) for n in names]
    memory = huge_pages(sum(sizes) * _ALIGNMENT)
    moved, at = kept, 0
    for name, size in zip(names, sizes, strict=True):
        tensor = packed.pop(name)
        num_bytes = math.prod(tensor.shape) * tensor.element_size()
        moved[name] = memory[at : at + num_bytes].view(tensor.dtype).view(tensor.shape)
        moved[name].copy_(tensor)
        at += size * _ALIGNMENT
    return moved


def huge_pages(num_bytes: int) -> Tensor:
    """Return zeroed bytes, in pages of 2 MiB if the system supports them.

    Pages use memory only once they are written.
    """
    arena = mmap.mmap(-1, max(1, num_bytes), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with contextlib.suppress(AttributeError, OSError):
        arena.madvise(mmap.MADV_HUGEPAGE)
    return torch.from_numpy(np.frombuffer(arena, np.uint8))
