"""Linear layers y = x·Wᵀ + b in the precisions that a model card can choose.

Inputs and outputs are float32 in every precision:

``float32``
    The reference.
``bf16``
    Weights and inputs are rounded to bfloat16; sums are in float32.
``int8``
    Weights are rounded to int8 when they are loaded, with one scale per output. Inputs are rounded
    to int8 in each call, with one scale per row (*vector-wise* quantization: Dettmers et al.
    2022, arXiv 2208.07339). Products are summed exactly in int32, so a row's result does not depend
    on the batch.
``int4``
    Weights of the feed-forward network are rounded to int4, with one scale per *group* of 32 inputs
    of an output. Everything else is as in int8.
``native``
    Weights are the blocks of a GGUF file, which the compiled kernels compute with int8 inputs, with
    one scale per 32 inputs (``kernels/blocks.h``). Elsewhere the blocks are dequantized
    and everything is as in bf16.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from archon.engine.model.precision import Precision

GROUP_INPUTS = 32
"""Inputs per group, whose int4 weights share a scale."""
_INT8_MAX = 127
_INT4_MIN, _INT4_MAX = -8, 7
_CLIPS = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7)
"""Fractions of a group's largest weight at which its weights may be clipped."""
_ZERO_POINT = 128
_MIN_CUDA_ROWS = 32


class Linear(Protocol):
    """A linear layer: (N, I) → (N, O), both float32."""

    def __call__(self, x_NI: Tensor) -> Tensor: ...


INT4_LAYERS = ("gate_up", "down")
"""Linear layers whose weights are int4 in the precision ``int4``."""


def layer_precision(name: str, precision: Precision) -> Precision:
    """Return the precision of the linear layer ``name`` in a decoder with this precision.

    An int4 decoder has int4 weights only in ``INT4_LAYERS``; its other layers are int8.
    """
    return "int8" if precision == "int4" and name not in INT4_LAYERS else precision


def make_linear(
    weight_OI: Tensor, bias_O: Tensor | None, precision: Precision, device: torch.device
) -> Linear:
    """Make a linear layer with this precision from a float32 weight.

    A layer whose number of inputs is not a multiple of 32 becomes int8 instead of int4.
    """
    if precision == "int4" and weight_OI.shape[1] % GROUP_INPUTS == 0:
        return Int4Linear(quantize_groups(weight_OI), bias_O, device)
    if precision in ("int8", "int4"):
        return Int8Linear(weight_OI, bias_O, device)
    dtype = torch.float32 if precision == "float32" else torch.bfloat16
    return FloatLinear(weight_OI, bias_O, dtype, device)


class FloatLinear:
    """Linear layer with a float32 or bfloat16 weight."""

    def __init__(
        self, weight_OI: Tensor, bias_O: Tensor | None, dtype: torch.dtype, device: torch.device
    ) -> None:
        self.weight_OI = weight_OI.to(device, dtype)
        self.bias_O = None if bias_O is None else bias_O.to(device, dtype)

    def __call__(self, x_NI: Tensor) -> Tensor:
        return functional.linear(x_NI.to(self.weight_OI.dtype), self.weight_OI, self.bias_O).float()


class Int8Linear:
    """Linear layer with int8 weights, int8 inputs and int32 sums."""

    def __init__(self, weight_OI: Tensor, bias_O: Tensor | None, device: torch.device) -> None:
        self.scale_O, weight_s8_OI = quantize_weight(weight_OI.to(device))
        self.product = (
            _CPUProduct(weight_s8_OI) if device.type == "cpu" else _CUDAProduct(weight_s8_OI)
        )
        self.bias_O = None if bias_O is None else bias_O.to(device)

    def __call__(self, x_NI: Tensor) -> Tensor:
        x_scale_N1, x_s8_NI = quantize_rows(x_NI)
        y_NO = self.product(x_s8_NI, self.scale_O).mul_(x_scale_N1)
        return y_NO if self.bias_O is None else y_NO.add_(self.bias_O)


class Int4Linear:
    """Linear layer with int4 weights and int8 inputs: y = Σ_groups scale · int32 sum.

    Its results are bit-identical to those of the CPU kernel (``kernels/int4.h``): inputs are
    shifted by 128 into u8, and the groups are added one after another in float32.
    """

    def __init__(self, weight: GroupedWeight, bias_O: Tensor | None, device: torch.device) -> None:
        self.weight_s4_OI = weight.weight_s4_OI.to(device)
        self.scale_OG = weight.scale_OG.to(device)
        self.offset_O = weight.offset().to(device)
        self.bias_O = None if bias_O is None else bias_O.to(device)

    def __call__(self, x_NI: Tensor) -> Tensor:
        x_scale_N1, x_s8_NI = quantize_rows(x_NI)
        x_groups = (x_s8_NI + _ZERO_POINT).split(GROUP_INPUTS, dim=1)
        weights = self.weight_s4_OI.split(GROUP_INPUTS, dim=1)
        y_NO = self.offset_O.repeat(len(x_NI), 1)
        for group, (x, weight) in enumerate(zip(x_groups, weights, strict=True)):
            # The sums are integers below 2²⁴: float32 is exact in any order of addition.
            y_NO += (x @ weight.float().t()) * self.scale_OG[:, group].float()
        y_NO *= x_scale_N1
        return y_NO if self.bias_O is None else y_NO.add_(self.bias_O)


def quantize_weight(weight_OI: Tensor) -> tuple[Tensor, Tensor]:
    """Round a weight to int8, symmetrically around 0; return scales (O,) and int8 weight."""
    scale_O = weight_OI.abs().amax(dim=1).clamp_min_(1e-12) / _INT8_MAX
    return scale_O, (weight_OI / scale_O.unsqueeze(1)).round_().to(torch.int8)


@dataclass(frozen=True, slots=True)
class GroupedWeight:
    """An int4 weight matrix with one scale per group of 32 inputs: weight ≈ scale · int4."""

    scale_OG: Tensor
    """Scale of each group, (O, I / 32), bfloat16; negative if the group's largest weight is
    positive."""
    weight_s4_OI: Tensor
    """Integers in [-8, 7], stored as int8."""

    def dequantize(self) -> Tensor:
        """Return the weight in float32: (O, I)."""
        grouped = self.weight_s4_OI.unflatten(1, (-1, GROUP_INPUTS))
        return (grouped * self.scale_OG.float().unsqueeze(2)).flatten(1)

    def offset(self) -> Tensor:
        """Return what to add to each output, (O,), to cancel the shift of all inputs by 128."""
        sums_OG = self.weight_s4_OI.unflatten(1, (-1, GROUP_INPUTS)).sum(2, dtype=torch.float32)
        return -_ZERO_POINT * (sums_OG * self.scale_OG.float()).sum(1)


def quantize_groups(weight_OI: Tensor) -> GroupedWeight:
    """Round a weight to int4, with the scale that minimises the squared error of each group."""
    grouped = weight_OI.unflatten(1, (-1, GROUP_INPUTS))
    scale_OG = choose_scale(grouped)
    return GroupedWeight(scale_OG, round_to_scale(grouped, scale_OG.unsqueeze(2)).flatten(1))


def choose_scale(group: Tensor) -> Tensor:
    """Return the scale that minimises the squared error of each group along the last dimension.

    The candidate scales clip the largest weight by different amounts. The largest weight maps to
    -8, since the range of int4 is -8 to 7.
    """
    low, high = group.amin(-1), group.amax(-1)
    largest = torch.where(-low > high, low, high)
    scales = [(largest * (clip / _INT4_MIN)).bfloat16() for clip in _CLIPS]
    scale = torch.stack([torch.where(s == 0, 1e-12, s) for s in scales])
    steps = scale.unsqueeze(-1)
    losses = [(round_to_scale(group, s) * s - group).square().sum(-1) for s in steps]
    return scale.gather(0, torch.stack(losses).argmin(0, keepdim=True))[0]


def round_to_scale(weight: Tensor, scale: Tensor) -> Tensor:
    """Round weights to int4 in units of a scale; the result is stored as int8."""
    return (weight / scale).round_().clamp_(_INT4_MIN, _INT4_MAX).to(torch.int8)


def quantize_rows(x_NI: Tensor) -> tuple[Tensor, Tensor]:
    """Round each row of inputs to int8.

    Returns
    -------
    Scales, (N, 1), and integers in [-127, 127], (N, I), stored as float32.
    """
    largest_N1 = x_NI.abs().amax(dim=-1, keepdim=True).clamp_min_(1e-12)
    return largest_N1 / _INT8_MAX, (x_NI * (_INT8_MAX / largest_N1)).round_()


class _CPUProduct:
    """oneDNN's u8 × s8 kernel on a prepacked weight, with exact sums.

    The kernel has one input scale for the whole batch. It is set to 1; the caller applies the rows'
    scales. Inputs are shifted by 128 into u8, and the kernel cancels the shift. On CPUs where the
    kernel would saturate on such inputs, positive and negative inputs are multiplied separately:
    the sum of two products fits in 16 bits if the inputs are at most 127.
    """

    def __init__(self, weight_s8_OI: Tensor) -> None:
        self.packed = torch.ops.onednn.qlinear_prepack(weight_s8_OI, None)
        self.zero_points_O = torch.zeros(weight_s8_OI.shape[0], dtype=torch.int64)
        self.ones_O = torch.ones(weight_s8_OI.shape[0])

    def __call__(self, x_NI: Tensor, scale_O: Tensor) -> Tensor:
        if _saturates():
            # Scales are applied after the subtraction, so that it is exact, on integers.
            above_NO = self._multiply(x_NI.clamp(min=0), 0, self.ones_O)
            below_NO = self._multiply(x_NI.clamp(max=0).neg_(), 0, self.ones_O)
            return above_NO.sub_(below_NO).mul_(scale_O)
        return self._multiply(x_NI.add_(_ZERO_POINT), _ZERO_POINT, scale_O)

    def _multiply(self, x_NI: Tensor, zero_point: int, scale_O: Tensor) -> Tensor:
        y_NO: Tensor = torch.ops.onednn.qlinear_pointwise(
            x_NI.to(torch.uint8), 1.0, zero_point, self.packed, scale_O, self.zero_points_O,
            None, 1.0, 0, torch.float32, "none", [], "",
        )  # fmt: skip
        return y_NO


@functools.cache
def _saturates() -> bool:
    """Return True if oneDNN's kernel saturates sums of two products at 16 bits.

    It does so on x86 CPUs without VNNI; 255 · 127 · 2 needs 17 bits.
    """
    size = 64
    product = _CPUProduct(torch.full((size, size), _INT8_MAX, dtype=torch.int8))
    largest = torch.full((1, size), 2.0 * _ZERO_POINT - 1)
    sums = product._multiply(largest, 0, product.ones_O)
    return bool((sums != largest.sum() * _INT8_MAX).any())


class _CUDAProduct:
    """cuBLASLt's s8 × s8 kernel, which needs at least 17 rows and sizes in multiples of 8."""

    def __init__(self, weight_s8_OI: Tensor) -> None:
        self.weight_IO = weight_s8_OI.t()

    def __call__(self, x_NI: Tensor, scale_O: Tensor) -> Tensor:
        rows = x_NI.shape[0]
        padded_rows = max(_MIN_CUDA_ROWS, -(-rows // 8) * 8)
        x_s8_NI = functional.pad(x_NI.to(torch.int8), (0, 0, 0, padded_rows - rows))
        return torch._int_mm(x_s8_NI, self.weight_IO)[:rows].float().mul_(scale_O)
