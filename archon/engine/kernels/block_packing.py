"""Strips: the blocks of a GGUF file in the layout of ``blocks.h``, with the same bytes per weight.

A strip has sixteen outputs, a panel two strips. Packing only reorders: scales and codes stay those
of the file. Each strip has its own format, so that q, k and v, or gate and up, may have different
ones and are still computed as one product. A weight whose format the kernels do not compute is
rounded to ``Q8_0``: int8 with a scale per 32 inputs.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor
from torch.nn import functional

from archon.engine.model.merging import MergedWeights
from archon.engine.model.weights import (
    GatedWeights,
    LayerWeights,
    WeightSource,
    layer_tensors,
    stored_blocks,
    stored_format,
)

logger = logging.getLogger("archon.engine")

PANEL_OUTPUTS = 32
STRIP_OUTPUTS = 16
_GROUP = 32
"""Inputs of a group, whose codes are packed together."""
_CHUNK_ELEMENTS = 1 << 24
"""Weights that are packed together; packing needs several times their memory."""


@dataclass(frozen=True, slots=True)
class StripFormat:
    """A format that the kernels compute: its number in GGUF, its blocks, and their packing.

    ``pack`` maps the blocks of sixteen outputs, (strips, 16, blocks, bytes), to the bytes of a
    block in a strip: (strips, blocks, 16 · bytes).
    """

    number: int
    elements: int
    bytes: int
    pack: Callable[[Tensor], Tensor]


def pack_strips(format: StripFormat, blocks_OB: Tensor) -> list[Tensor]:
    """Pack the blocks of a weight: uint8, (O, bytes of a row) → the bytes of each strip.

    Missing outputs of the last strip have zeros.
    """
    missing = -len(blocks_OB) % STRIP_OUTPUTS
    blocks_OB = functional.pad(blocks_OB, (0, 0, 0, missing))
    strips = blocks_OB.view(-1, STRIP_OUTPUTS, blocks_OB.shape[1] // format.bytes, format.bytes)
    elements = strips[0, :, :, 0].numel() * format.elements
    parts = strips.split(max(1, _CHUNK_ELEMENTS // elements))
    return [strip for part in parts for strip in format.pack(part).flatten(1)]


def round_to_q8_0(weight_OI: Tensor) -> Tensor:
    """Round a weight to blocks of ``Q8_0``; the inputs are a multiple of 32."""
    grouped = weight_OI.float().unflatten(1, (-1, _GROUP))
    scale = (grouped.abs().amax(2, keepdim=True) / 127).half()
    steps = torch.where(scale == 0, 1, scale.float())
    rounded = (grouped / steps).round_().clamp_(-127, 127).to(torch.int8)
    return torch.cat([scale.view(torch.uint8), rounded.view(torch.uint8)], dim=2).flatten(1)


# ------------------------------------------------------------------ the codes of a file's blocks
#
# Blocks are (…, bytes). Numbers per output become (…, count), codes (…, groups, 32).


def _nibbles(packed: Tensor) -> Tensor:
    return torch.cat([packed & 0x0F, packed >> 4], dim=-1).unsqueeze(-2)


def _fifth_bits(packed: Tensor) -> Tensor:
    shifts = torch.arange(8, dtype=torch.uint8)
    return (((packed.unsqueeze(-1) >> shifts) & 1) << 4).flatten(-2).unsqueeze(-2)


def _chunked_nibbles(packed: Tensor) -> Tensor:
    """Codes of eight groups: 32 bytes have a group in their low, the next in their high halves."""
    chunks = packed.unflatten(-1, (-1, 1, 32))
    return torch.cat([chunks & 0x0F, chunks >> 4], dim=-2).flatten(-3, -2)


def _chunked_fifth_bits(packed: Tensor) -> Tensor:
    """Bit s of byte j belongs to element j of group s."""
    shifts = torch.arange(8, dtype=torch.uint8).unsqueeze(-1)
    return ((packed.unsqueeze(-2) >> shifts) & 1) << 4


def _q6_k_codes(blocks: Tensor) -> Tensor:
    low = blocks[..., :128].unflatten(-1, (2, 2, 32))  # half, part of 32 bytes, byte
    low = torch.cat([low & 0x0F, low >> 4], dim=-2)  # half, quarter, element
    shifts = torch.tensor([0, 2, 4, 6], dtype=torch.uint8).unsqueeze(-1)
    high = (blocks[..., 128:192].unflatten(-1, (2, 1, 32)) >> shifts) & 3
    return (low | high << 4).flatten(-3, -2)


def _nested_numbers(packed: Tensor) -> Tensor:
    """Eight scales and eight minima of 6 bits in 12 bytes → the three bytes of each two groups.

    (See ``Nested`` in ``blocks.h``.)
    """
    first, second, third = packed.unflatten(-1, (3, 4)).unbind(-2)
    scales = torch.cat([first & 63, (third & 0x0F) | ((first >> 6) << 4)], dim=-1)
    minima = torch.cat([second & 63, (third >> 4) | ((second >> 6) << 4)], dim=-1)
    scale, next_scale = scales.unflatten(-1, (4, 2)).unbind(-1)
    minimum, next_minimum = minima.unflatten(-1, (4, 2)).unbind(-1)
    parts = [(scale, 0), (minimum, 2), (next_minimum, 4)]
    return torch.stack([low | ((next_scale >> at) & 3) << 6 for low, at in parts], dim=-1)


# --------------------------------------------------------------------------- codes in strips
#
# Codes are (strips, 16, blocks, groups, 32); packed, they are (strips, blocks, groups, bytes).


def _vectors(codes: Tensor) -> Tensor:
    """Arrange codes in vectors of four inputs of each output: (strips, blocks, groups, 8, 64)."""
    return codes.unflatten(-1, (8, 4)).permute(0, 2, 3, 4, 1, 5).flatten(-2)


def _pack_4_bits(codes: Tensor) -> Tensor:
    even, odd = _vectors(codes & 0x0F).unflatten(-2, (4, 2)).unbind(-2)
    return (even | odd << 4).flatten(-2)


def _pack_5_bits(codes: Tensor) -> Tensor:
    high = _vectors(codes >> 4)
    bits = sum((high[..., i, :] << i for i in range(1, 8)), high[..., 0, :])
    return torch.cat([bits, _pack_4_bits(codes)], dim=-1)


def _pack_6_bits(codes: Tensor) -> Tensor:
    high = _vectors(codes >> 4).unflatten(-2, (2, 4))
    bits = sum((high[..., i, :] << 2 * i for i in range(1, 4)), high[..., 0, :])
    return torch.cat([bits.flatten(-2), _pack_4_bits(codes)], dim=-1)


def _pack_8_bits(codes: Tensor) -> Tensor:
    return _vectors(codes).flatten(-2)


def _lanes(numbers: Tensor, size: int) -> Tensor:
    """Arrange numbers of ``size`` bytes, (strips, 16, blocks, …, count · size), one after another
    for all outputs: (strips, blocks, …, count · 16 · size)."""
    split = numbers.unflatten(-1, (-1, size))
    return split.movedim(1, -2).flatten(-3)


# ------------------------------------------------------------------------------- formats


def _centred(blocks: Tensor, scale: int, pack: Callable[[Tensor], Tensor], codes: Tensor) -> Tensor:
    """Pack blocks of 32 inputs: their numbers in the first ``scale`` bytes, then the codes."""
    size = 1 if scale == 1 else 2
    return torch.cat([_lanes(blocks[..., :scale], size), pack(codes).flatten(-2)], dim=-1)


def _q4_0(blocks: Tensor) -> Tensor:
    return _centred(blocks, 2, _pack_4_bits, _nibbles(blocks[..., 2:]))


def _q4_1(blocks: Tensor) -> Tensor:
    return _centred(blocks, 4, _pack_4_bits, _nibbles(blocks[..., 4:]))


def _q5_0(blocks: Tensor) -> Tensor:
    codes = _nibbles(blocks[..., 6:]) | _fifth_bits(blocks[..., 2:6])
    return _centred(blocks, 2, _pack_5_bits, codes)


def _q5_1(blocks: Tensor) -> Tensor:
    codes = _nibbles(blocks[..., 8:]) | _fifth_bits(blocks[..., 4:8])
    return _centred(blocks, 4, _pack_5_bits, codes)


def _q8_0(blocks: Tensor) -> Tensor:
    return _centred(blocks, 2, _pack_8_bits, blocks[..., 2:].unsqueeze(-2))


def _mxfp4(blocks: Tensor) -> Tensor:
    return _centred(blocks, 1, _pack_4_bits, _nibbles(blocks[..., 1:]))


def _nested(blocks: Tensor, packed: Tensor) -> Tensor:
    """Pack blocks with scales and minima of 6 bits; ``packed`` has their codes."""
    numbers = _lanes(_nested_numbers(blocks[..., 4:16]), 1)  # (strips, blocks, 4, 48)
    pairs = torch.cat([numbers, packed.unflatten(-2, (4, 2)).flatten(-2)], dim=-1)
    return torch.cat([_lanes(blocks[..., :4], 2), pairs.flatten(-2)], dim=-1)


def _q4_k(blocks: Tensor) -> Tensor:
    return _nested(blocks, _pack_4_bits(_chunked_nibbles(blocks[..., 16:])))


def _q5_k(blocks: Tensor) -> Tensor:
    codes = _chunked_nibbles(blocks[..., 48:]) | _chunked_fifth_bits(blocks[..., 16:48])
    return _nested(blocks, _pack_5_bits(codes))


def _q6_k(blocks: Tensor) -> Tensor:
    scales = _lanes(blocks[..., 192:208].unflatten(-1, (8, 2)), 1)  # (strips, blocks, 8, 32)
    groups = torch.cat([scales, _pack_6_bits(_q6_k_codes(blocks))], dim=-1)
    return torch.cat([_lanes(blocks[..., 208:], 2), groups.flatten(-2)], dim=-1)


Q8_0 = StripFormat(8, 32, 34, _q8_0)
STRIP_FORMATS: dict[str, StripFormat] = {
    "Q4_0": StripFormat(2, 32, 18, _q4_0),
    "Q4_1": StripFormat(3, 32, 20, _q4_1),
    "Q5_0": StripFormat(6, 32, 22, _q5_0),
    "Q5_1": StripFormat(7, 32, 24, _q5_1),
    "Q8_0": Q8_0,
    "Q4_K": StripFormat(12, 256, 144, _q4_k),
    "Q5_K": StripFormat(13, 256, 176, _q5_k),
    "Q6_K": StripFormat(14, 256, 210, _q6_k),
    "MXFP4": StripFormat(39, 32, 17, _mxfp4),
}
"""Formats that the kernels compute, by their names in GGUF."""


# ----------------------------------------------------------------------------- decoders

Strip = tuple[int, Tensor]
"""Number of a format, and the bytes of one strip."""
_ATTENTION_FIELDS = ("q", "k", "v", "attention_output")
_SHARED_FIELDS = ("shared_gate", "shared_up", "shared_down")
_WEIGHTS = frozenset((*_ATTENTION_FIELDS, *GatedWeights._fields, *_SHARED_FIELDS))


def strips_of(format: StripFormat, blocks_OB: Tensor) -> list[Strip]:
    """Return a weight's strips with the number of their format."""
    return [(format.number, strip) for strip in pack_strips(format, blocks_OB)]


def pack_strip_linear(name: str, strips: Sequence[Strip]) -> dict[str, Tensor]:
    """Pack a linear layer of strips; a missing strip of the last panel has zeros."""
    if len(strips) % 2:
        strips = [*strips, (strips[-1][0], torch.zeros_like(strips[-1][1]))]
    sizes = torch.tensor([0, *(len(strip) for _, strip in strips)])
    return {
        name + ".weight": torch.cat([strip for _, strip in strips]),
        name + ".strip_format": torch.tensor([n for n, _ in strips], dtype=torch.int32),
        name + ".strip_start": sizes.cumsum(0),
    }


def num_inputs(packed: Mapping[str, Tensor], name: str) -> int:
    """Return the inputs of a packed linear layer of strips."""
    number, size = int(packed[name + ".strip_format"][0]), int(packed[name + ".strip_start"][1])
    format = next(f for f in STRIP_FORMATS.values() if f.number == number)
    return size // (STRIP_OUTPUTS * format.bytes) * format.elements


def pack_layer_blocks(source: WeightSource, index: int, w: LayerWeights) -> dict[str, Tensor]:
    """Pack the linear layers of a layer; ``w`` has its weights in float32."""
    q, k, v, output = (
        _weight_strips(source, field, index, getattr(w, field)) for field in _ATTENTION_FIELDS
    )
    at = f"layers.{index}."
    packed = pack_strip_linear(at + "qkv", q + k + v) | pack_strip_linear(at + "output", output)
    if w.network is not None:
        fields = GatedWeights._fields if w.experts is None else _SHARED_FIELDS
        gate_up, down = _network_strips(source, fields, index, w.network)
        packed |= pack_strip_linear(at + "gate_up", gate_up)
        packed |= pack_strip_linear(at + "down", down)
    if w.experts is not None:
        every = [
            _network_strips(source, GatedWeights._fields, index, expert, number)
            for number, expert in enumerate(w.experts)
        ]
        gate_ups, downs = zip(*every, strict=True)
        packed |= pack_strip_linear(at + "experts_gate_up", [*chain.from_iterable(gate_ups)])
        packed |= pack_strip_linear(at + "experts_down", [*chain.from_iterable(downs)])
    return packed


def _network_strips(
    source: WeightSource,
    fields: Sequence[str],
    index: int,
    weights: GatedWeights,
    expert: int | None = None,
) -> tuple[list[Strip], list[Strip]]:
    """Return the strips of a network's products: gate and up alternate, as they do in a panel."""
    gate, up, down = (
        _weight_strips(source, field, index, weight, expert)
        for field, weight in zip(fields, weights, strict=True)
    )
    return list(chain.from_iterable(zip(gate, up, strict=True))), down


def pack_blocks_around_layers(source: WeightSource) -> dict[str, Tensor]:
    """Pack the embedding and the head.

    The embedding is in bfloat16 if its format is not supported. It is left out if it is the head.
    """
    packed = pack_strip_linear("head", _weight_strips(source, "head", None, source.head()))
    embedding = source.embedding()
    if not _is_supported(source, "embedding", None):
        packed["embedding"] = embedding.bfloat16()
    elif not source.is_tied:
        strips = _weight_strips(source, "embedding", None, embedding)
        packed |= pack_strip_linear("embedding", strips)
    return packed


def log_rounded_weights(source: WeightSource) -> None:
    """Log in one line which weights the kernels cannot compute from their blocks."""
    weights: list[tuple[str, int | None]] = [("head", None)]
    for index in range(source.config.num_layers):
        # The scores of experts are computed in float32.
        fields = layer_tensors(source.config, index)
        weights += [(field, index) for field in fields if field in _WEIGHTS]
    rounded = Counter(
        _reason(source, field, index)
        for field, index in weights
        if not _is_supported(source, field, index)
    )
    if rounded:
        counts = ", ".join(f"{count} {reason}" for reason, count in rounded.items())
        logger.warning(
            "precision native: %d of %d weights are not in a format that the kernels compute "
            "(%s); they are rounded to int8 in blocks of 32",
            rounded.total(), len(weights), counts,
        )  # fmt: skip


def _reason(source: WeightSource, field: str, index: int | None) -> str:
    if isinstance(source, MergedWeights) and source.changes(field, index):
        return "changed by the adapter"
    return f"in {stored_format(source, field, index) or 'floats'}"


def _is_supported(source: WeightSource, field: str, index: int | None) -> bool:
    return stored_format(source, field, index) in STRIP_FORMATS


def _weight_strips(
    source: WeightSource,
    field: str,
    index: int | None,
    weight_OI: Tensor,
    expert: int | None = None,
) -> list[Strip]:
    stored = None
    if _is_supported(source, field, index):
        stored = stored_blocks(source, field, index, expert)
    # A family may change weights as it reads them; then the blocks are not the weights.
    if stored is None or not torch.equal(stored.dequantize(), weight_OI):
        return strips_of(Q8_0, round_to_q8_0(weight_OI))
    return strips_of(STRIP_FORMATS[stored.format.name], stored.rows)
