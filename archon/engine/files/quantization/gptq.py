"""GPTQ (Frantar et al. 2022, arXiv 2210.17323) and AWQ (Lin et al. 2023, arXiv 2306.00978).

Both store packed integers without sign, transposed: (inputs, outputs). Each group of inputs has a
scale and a zero point per output, so that w = (q - zero) · scale.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

import torch
from torch import Tensor

from archon.engine.files.quantization.stored import (
    DerivedTensor,
    Settings,
    Stored,
    modules_with,
    parts_of,
    unpacked,
)

_ROLES = ("qweight", "qzeros", "scales", "g_idx")
_BITS = (2, 3, 4, 8)
_AWQ_ORDER = (0, 4, 1, 5, 2, 6, 3, 7)
"""Position in a word → which of its numbers is that of the next output."""


def gptq(settings: Settings, stored: Stored) -> Iterator[DerivedTensor]:
    """Yield the weights of a model in GPTQ's format."""
    bits = settings.get("bits")
    if bits not in _BITS:
        raise ValueError(f"bits is {bits!r}; {', '.join(map(str, _BITS))} are supported")
    layout = settings.get("checkpoint_format") or "gptq"
    if layout not in ("gptq", "gptq_v2"):
        raise ValueError(f"checkpoint_format is {layout!r}; 'gptq' and 'gptq_v2' are supported")
    # Older files store the zero points minus 1.
    shift = 1 if layout == "gptq" else 0
    for prefix in modules_with("qweight", stored):
        parts = _parts(prefix, stored)
        num_outputs = stored[parts["scales"]].shape[1]
        num_inputs = stored[parts["qweight"]].shape[0] * 32 // bits
        shape = (num_outputs, num_inputs)
        decode = partial(_gptq_weight, bits, shift, _group_size(settings, num_inputs))
        yield DerivedTensor(prefix + "weight", shape, parts, decode)


def awq(settings: Settings, stored: Stored) -> Iterator[DerivedTensor]:
    """Yield the weights of a model in AWQ's format."""
    bits, version = settings.get("bits", settings.get("w_bit")), settings.get("version", "gemm")
    if bits != 4:
        raise ValueError(f"bits is {bits!r}; only 4 is supported")
    if str(version).lower() != "gemm":
        raise ValueError(f"version is {version!r}; only 'gemm' is supported")
    for prefix in modules_with("qweight", stored):
        parts = _parts(prefix, stored)
        num_inputs, num_words = stored[parts["qweight"]].shape
        decode = partial(_awq_weight, _group_size(settings, num_inputs))
        yield DerivedTensor(prefix + "weight", (8 * num_words, num_inputs), parts, decode)


def _group_size(settings: Settings, num_inputs: int) -> int:
    """Return the inputs of a group; one group has all if the size is not positive."""
    size = settings.number("group_size", "q_group_size")
    return size if size > 0 else num_inputs


def _parts(prefix: str, stored: Stored) -> dict[str, str]:
    parts = parts_of(prefix, _ROLES, stored)
    if missing := {"qzeros", "scales"} - parts.keys():
        raise ValueError(f"tensor {prefix + min(missing)!r} is missing")
    return parts


def _gptq_weight(bits: int, shift: int, size: int, parts: Mapping[str, Tensor]) -> Tensor:
    scales = parts["scales"].float()
    q = _bit_stream(parts["qweight"].t(), bits).t()  # (inputs, outputs)
    zeros = _bit_stream(parts["qzeros"], bits)[:, : scales.shape[1]]
    zeros = (zeros + shift) & ((1 << bits) - 1)
    group = parts.get("g_idx")
    if group is None:
        group = torch.arange(len(q)) // size
    group = group.long()
    return ((q - zeros[group]) * scales[group]).t().contiguous()


def _awq_weight(size: int, parts: Mapping[str, Tensor]) -> Tensor:
    order = torch.tensor(_AWQ_ORDER)

    def numbers(packed: Tensor) -> Tensor:
        return unpacked(packed, 4).unflatten(-1, (-1, 8))[..., order].flatten(-2)

    q, scales = numbers(parts["qweight"]), parts["scales"].float()
    group = torch.arange(len(q)) // size
    return ((q - numbers(parts["qzeros"])[group]) * scales[group]).t().contiguous()


def _bit_stream(words: Tensor, bits: int) -> Tensor:
    """Split rows of words into numbers without sign; numbers of 3 bits may span two words.

    Returns
    -------
    Tensor
        int32 of shape (rows, 32 · words of a row / bits).
    """
    if 32 % bits == 0:
        return unpacked(words, bits)
    each = unpacked(words, 1).unflatten(-1, (-1, bits))
    powers = 1 << torch.arange(bits, dtype=torch.int32)
    return (each * powers).sum(-1, dtype=torch.int32)
