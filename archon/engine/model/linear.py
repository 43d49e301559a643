"""Linear layers y = x·Wᵀ + b in the precisions that a model card can name.

All take and give float32, so that the rest of the decoder does not care:

``float32``
    the reference.
``bf16``
    weights and inputs rounded to bfloat16, sums in float32.
``int8``
    weights rounded once to int8, one scale for each output; inputs rounded at each call to int8,
    one scale for each row; products summed exactly in int32. A row's result depends on nothing
    but the row, whatever the batch.
``int4``
    the feed-forward network's weights rounded to int4, one scale for each 32 inputs of an output;
    everything else as in int8.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor
from torch.nn import functional

Precision = Literal["float32", "bf16", "int8", "int4"]
PRECISIONS: tuple[Precision, ...] = ("float32", "bf16", "int8", "int4")

GROUP_INPUTS = 32
"""Inputs of an int4 weight that share a scale."""
_INT8_MAX = 127
_INT4_MIN, _INT4_MAX = -8, 7
_CLIPS = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7)
"""How much of a group's largest weight its scale may cover."""
_ZERO_POINT = 128
_MIN_CUDA_ROWS = 32


class Linear(Protocol):
    """x of shape (N, I), float32 → (N, O), float32."""

    def __call__(self, x_NI: Tensor) -> Tensor: ...


INT4_LAYERS = ("gate_up", "down")
"""The linear layers that ``int4`` holds in int4."""


def layer_precision(name: str, precision: Precision) -> Precision:
    """What the linear layers of this name compute in, in a decoder of that precision."""
    return "int8" if precision == "int4" and name not in INT4_LAYERS else precision


def make_linear(
    weight_OI: Tensor, bias_O: Tensor | None, precision: Precision, device: torch.device
) -> Linear:
    """Put a float32 weight into the form that a precision computes with."""
    if precision == "int4" and weight_OI.shape[1] % GROUP_INPUTS == 0:
        return Int4Linear(quantize_groups(weight_OI), bias_O, device)
    if precision in ("int8", "int4"):
        return Int8Linear(weight_OI, bias_O, device)
    dtype = torch.float32 if precision == "float32" else torch.bfloat16
    return FloatLinear(weight_OI, bias_O, dtype, device)


class FloatLinear:
    """A linear layer whose weight is float32 or bfloat16."""

    def __init__(
        self, weight_OI: Tensor, bias_O: Tensor | None, dtype: torch.dtype, device: torch.device
    ) -> None:
        self.weight_OI = weight_OI.to(device, dtype)
        self.bias_O = None if bias_O is None else bias_O.to(device, dtype)

    def __call__(self, x_NI: Tensor) -> Tensor:
        return functional.linear(x_NI.to(self.weight_OI.dtype), self.weight_OI, self.bias_O).float()


class Int8Linear:
    """A linear layer of int8 weights and int8 inputs with int32 sums."""

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
    """A linear layer of int4 weights and int8 inputs: y = Σ_groups scale · int32 sum.

    Sums are shifted by the inputs' shift into u8, groups added up in float32 in their order, as the
    CPU's kernel does it, so that both give the same to the bit (``kernels/int4.h``).
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
            # Whole numbers below 2²⁴: exact in float32, in whatever order they are added.
            y_NO += (x @ weight.float().t()) * self.scale_OG[:, group].float()
        y_NO *= x_scale_N1
        return y_NO if self.bias_O is None else y_NO.add_(self.bias_O)


def quantize_weight(weight_OI: Tensor) -> tuple[Tensor, Tensor]:
    """Weight → (scale of each output, int8 weight), symmetric around zero."""
    scale_O = weight_OI.abs().amax(dim=1).clamp_min_(1e-12) / _INT8_MAX
    return scale_O, (weight_OI / scale_O.unsqueeze(1)).round_().to(torch.int8)


@dataclass(frozen=True, slots=True)
class GroupedWeight:
    """An int4 weight: weight ≈ scale of its group · rounded weight."""

    scale_OG: Tensor
    """bfloat16; negative where a group's largest weight is positive."""
    weight_s4_OI: Tensor
    """In [-8, 7], held in int8."""

    def dequantize(self) -> Tensor:
        """(O, I), float32."""
        grouped = self.weight_s4_OI.unflatten(1, (-1, GROUP_INPUTS))
        return (grouped * self.scale_OG.float().unsqueeze(2)).flatten(1)

    def offset(self) -> Tensor:
        """What takes out again, of each output, what the shift of all inputs by 128 adds: (O,)."""
        sums_OG = self.weight_s4_OI.unflatten(1, (-1, GROUP_INPUTS)).sum(2, dtype=torch.float32)
        return -_ZERO_POINT * (sums_OG * self.scale_OG.float()).sum(1)


def quantize_groups(weight_OI: Tensor) -> GroupedWeight:
    """Round every weight to the nearest step of its group."""
    grouped = weight_OI.unflatten(1, (-1, GROUP_INPUTS))
    scale_OG = choose_scale(grouped)
    return GroupedWeight(scale_OG, round_to_scale(grouped, scale_OG.unsqueeze(2)).flatten(1))


def choose_scale(group: Tensor) -> Tensor:
    """Groups along the last dimension → scales that lose least, of some that clip more or less.

    The largest weight lies at -8, where int4 reaches further than on the other side.
    """
    low, high = group.amin(-1), group.amax(-1)
    largest = torch.where(-low > high, low, high)
    scales = [(largest * (clip / _INT4_MIN)).bfloat16() for clip in _CLIPS]
    scale = torch.stack([torch.where(s == 0, 1e-12, s) for s in scales])
    steps = scale.unsqueeze(-1)
    losses = [(round_to_scale(group, s) * s - group).square().sum(-1) for s in steps]
    return scale.gather(0, torch.stack(losses).argmin(0, keepdim=True))[0]


def round_to_scale(weight: Tensor, scale: Tensor) -> Tensor:
    """Weights → int4 in int8, in units of a scale."""
    return (weight / scale).round_().clamp_(_INT4_MIN, _INT4_MAX).to(torch.int8)


def quantize_rows(x_NI: Tensor) -> tuple[Tensor, Tensor]:
    """Inputs → (scale of each row, rounded inputs in [-127, 127], still float32)."""
    largest_N1 = x_NI.abs().amax(dim=-1, keepdim=True).clamp_min_(1e-12)
    return largest_N1 / _INT8_MAX, (x_NI * (_INT8_MAX / largest_N1)).round_()


class _CPUProduct:
    """oneDNN's u8 × s8 kernel on a weight packed once for it; the sums are exact.

    The kernel knows one input scale for the whole batch, so it is given 1, and the rows' own
    scales are multiplied in afterwards. Inputs are shifted by 128 into u8, and the kernel takes
    the shift out again. Where it adds pairs up in too few bits for that, inputs above zero and
    below it are multiplied apart: of bytes up to 127, a pair fits.
    """

    def __init__(self, weight_s8_OI: Tensor) -> None:
        self.packed = torch.ops.onednn.qlinear_prepack(weight_s8_OI, None)
        self.zero_points_O = torch.zeros(weight_s8_OI.shape[0], dtype=torch.int64)
        self.ones_O = torch.ones(weight_s8_OI.shape[0])

    def __call__(self, x_NI: Tensor, scale_O: Tensor) -> Tensor:
        if _saturates():
            # Scaled afterwards, so that whole numbers are subtracted.
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
    """Whether oneDNN's kernel clips sums of two products to 16 bits, as it does on an x86 CPU
    without VNNI: 255 · 127 · 2 needs 17."""
    size = 64
    product = _CPUProduct(torch.full((size, size), _INT8_MAX, dtype=torch.int8))
    greatest = torch.full((1, size), 2.0 * _ZERO_POINT - 1)
    found = product._multiply(greatest, 0, product.ones_O)
    return bool((found != greatest.sum() * _INT8_MAX).any())


class _CUDAProduct:
    """cuBLASLt's s8 × s8 kernel, which wants at least 17 rows and sizes in multiples of 8."""

    def __init__(self, weight_s8_OI: Tensor) -> None:
        self.weight_IO = weight_s8_OI.t()

    def __call__(self, x_NI: Tensor, scale_O: Tensor) -> Tensor:
        rows = x_NI.shape[0]
        padded_rows = max(_MIN_CUDA_ROWS, -(-rows // 8) * 8)
        x_s8_NI = functional.pad(x_NI.to(torch.int8), (0, 0, 0, padded_rows - rows))
        return torch._int_mm(x_s8_NI, self.weight_IO)[:rows].float().mul_(scale_O)
