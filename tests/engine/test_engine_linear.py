from __future__ import annotations

import ctypes

import pytest
import torch
from engine_doubles import CPU, native_kernels
from kernel_doubles import normal, random_grouped_weight

from archon.engine.kernels.native import NativeLinear
from archon.engine.kernels.packing import Packed, pack_int4_linear, pack_linear
from archon.engine.model import linear as linear_module
from archon.engine.model.hadamard import HadamardRotation, hadamard
from archon.engine.model.linear import (
    GROUP_INPUTS,
    FloatLinear,
    Int4Linear,
    Int8Linear,
    make_linear,
    quantize_groups,
    quantize_rows,
    quantize_weight,
)
from archon.engine.model.precision import PRECISIONS, Precision

BOUNDS: dict[Precision, float] = {
    "float32": 1e-6, "bf16": 0.01, "int8": 0.02, "int4": 0.12, "native": 0.01
}  # fmt: skip
"""RMS of the error relative to the RMS of the output."""


@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_linear_layer_computes_a_product_within_its_precision(
    precision: Precision, biased: bool
) -> None:
    weight, bias, x = normal(48, 96), normal(48, seed=1) if biased else None, normal(20, 96, seed=2)
    kept = x.clone()
    y = make_linear(weight, bias, precision, CPU)(x)
    expected = x.double() @ weight.double().t() + (0 if bias is None else bias.double())
    error = (y - expected).square().mean().sqrt() / expected.square().mean().sqrt()
    assert y.dtype == torch.float32
    assert error < BOUNDS[precision]
    assert torch.equal(x, kept)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_no_rows_give_no_rows(precision: Precision) -> None:
    assert make_linear(normal(8, 16), normal(8), precision, CPU)(torch.zeros(0, 16)).shape == (0, 8)


@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize(("outputs", "inputs"), [(64, 32), (33, 70), (304, 896), (7, 1)])
def test_an_int8_row_depends_on_itself_only(outputs: int, inputs: int, biased: bool) -> None:
    bias = normal(outputs, seed=1) if biased else None
    linear = Int8Linear(normal(outputs, inputs), bias, CPU)
    x = normal(67, inputs, seed=2) * torch.logspace(-3, 3, 67).unsqueeze(1)
    together = linear(x)
    for rows in ([0], [66], [3, 40], list(range(16)), list(range(66, -1, -1))):
        assert torch.equal(linear(x[rows]), together[rows])


@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize(("outputs", "inputs"), [(64, 32), (33, 96), (304, 896), (7, 4864)])
def test_an_int4_row_depends_on_itself_only(outputs: int, inputs: int, biased: bool) -> None:
    bias = normal(outputs, seed=1) if biased else None
    linear = Int4Linear(quantize_groups(normal(outputs, inputs)), bias, CPU)
    x = normal(67, inputs, seed=2) * torch.logspace(-3, 3, 67).unsqueeze(1)
    together = linear(x)
    for rows in ([0], [66], [3, 40], list(range(16)), list(range(66, -1, -1))):
        assert torch.equal(linear(x[rows]), together[rows])


@pytest.mark.parametrize("goes_round", [False, True])
def test_int8_sums_are_exact_even_on_a_cpu_that_saturates(
    goes_round: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if goes_round:
        monkeypatch.setattr(linear_module, "_saturates", lambda: True)
    lowest = torch.full((3, 1024), -127.0)
    product = Int8Linear(lowest, None, CPU)
    assert torch.equal(product(-lowest), torch.full((3, 3), -127.0 * 127 * 1024))
    weight = torch.randint(-127, 128, (40, 512), generator=torch.Generator().manual_seed(0)).float()
    x = torch.randint(-127, 128, (9, 512), generator=torch.Generator().manual_seed(1)).float()
    weight[:, 0] = x[:, 0] = 127  # so that every scale is 1
    assert torch.equal(Int8Linear(weight, None, CPU)(x), x @ weight.t())


def test_rows_of_zeros_give_the_bias() -> None:
    bias = normal(8)
    assert torch.equal(Int8Linear(normal(8, 16), bias, CPU)(torch.zeros(2, 16)), bias.expand(2, 8))
    linear = Int8Linear(torch.zeros(8, 16), bias, CPU)
    assert torch.equal(linear(normal(2, 16)), bias.expand(2, 8))


def test_quantizing_keeps_the_largest_value_and_the_sign() -> None:
    weight = normal(30, 50)
    scale_O, weight_s8 = quantize_weight(weight)
    assert (weight_s8.abs().amax(1) == 127).all()
    assert (
        (weight_s8 * scale_O.unsqueeze(1) - weight).abs() <= scale_O.unsqueeze(1) / 2 + 1e-6
    ).all()
    scale_N1, rounded = quantize_rows(weight)
    assert (rounded.abs().amax(1) == 127).all()
    assert torch.equal(rounded, rounded.round())
    assert ((rounded * scale_N1 - weight).abs() <= scale_N1 / 2 + 1e-6).all()


def test_an_int4_group_clips_its_largest_weight_only_if_the_error_falls() -> None:
    weight = normal(40, 320)
    grouped = quantize_groups(weight)
    assert grouped.weight_s4_OI.min() == -8
    assert grouped.weight_s4_OI.max() <= 7
    error = (grouped.dequantize() - weight).square().mean().sqrt()
    unclipped = weight.unflatten(1, (-1, GROUP_INPUTS)).abs().amax(2, keepdim=True) / 7
    nearest = (weight.unflatten(1, (-1, GROUP_INPUTS)) / unclipped).round() * unclipped
    assert error < (nearest.flatten(1) - weight).square().mean().sqrt()


def test_weights_on_the_grid_of_their_group_are_exact() -> None:
    steps = torch.randint(-8, 8, (5, 64), generator=torch.Generator().manual_seed(0))
    steps[:, ::GROUP_INPUTS] = -8
    scale = torch.tensor([0.5, -0.25, 3.0, 1e-3, -7.0]).bfloat16().float().unsqueeze(1)
    assert torch.equal(quantize_groups(steps * scale).dequantize(), steps * scale)
    assert torch.equal(quantize_groups(torch.zeros(2, 32)).dequantize(), torch.zeros(2, 32))


def test_a_bf16_layer_has_bf16_weights() -> None:
    assert FloatLinear(normal(4, 4), None, torch.bfloat16, CPU).weight_OI.dtype == torch.bfloat16


# -------------------------------------------------------------------------------- kernels


def by_kernel(packed: Packed, x: torch.Tensor, outputs: int) -> torch.Tensor:
    linear = NativeLinear.of(packed, "linear")
    y = torch.empty(len(x), linear.outputs)
    native_kernels().archon_product(
        ctypes.byref(linear), x.data_ptr(), len(x), y.data_ptr(), torch.get_num_threads()
    )
    return y[:, :outputs]


SHAPES = [(32, 32), (64, 64), (40, 96), (96, 896), (33, 4864)]


@pytest.mark.usefixtures("instructions")
@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize(("outputs", "inputs"), SHAPES)
def test_kernel_products_equal_those_of_torch_to_the_bit(
    outputs: int, inputs: int, biased: bool
) -> None:
    bias = normal(outputs, seed=1) if biased else None
    weight, grouped = normal(outputs, inputs), random_grouped_weight(outputs, inputs)
    int8, int4 = Int8Linear(weight, bias, CPU), Int4Linear(grouped, bias, CPU)
    packed_int8 = pack_linear("linear", weight, bias)
    packed_int4 = pack_int4_linear("linear", grouped, bias)
    x = normal(40, inputs, seed=2) * torch.logspace(-3, 3, 40).unsqueeze(1)
    x[7] = 0
    for rows in range(1, 41):
        assert torch.equal(by_kernel(packed_int8, x[:rows], outputs), int8(x[:rows]))
        assert torch.equal(by_kernel(packed_int4, x[:rows], outputs), int4(x[:rows]))


def test_int4_weights_take_half_a_byte() -> None:
    packed = pack_int4_linear("linear", random_grouped_weight(64, 128), None)
    assert packed["linear.weight"].numel() * packed["linear.weight"].element_size() == 64 * 128 // 2


# ------------------------------------------------------------------------------- rotation


@pytest.mark.parametrize("size", [1, 2, 8, 24, 64, 896, 576])
def test_a_rotation_is_orthogonal(size: int) -> None:
    matrix = HadamardRotation(size).inputs(torch.eye(size))
    assert (matrix @ matrix.t() - torch.eye(size)).abs().max() < 1e-5


@pytest.mark.parametrize("size", [8, 24, 896])
def test_rotated_readers_and_writers_cancel(size: int) -> None:
    rotation = HadamardRotation(size)
    reads, writes = normal(5, size), normal(size, 7, seed=1)
    product = rotation.inputs(reads) @ rotation.outputs(writes)
    assert (product - reads @ writes).abs().max() < 1e-3


def test_a_rotation_spreads_an_outlier() -> None:
    x = torch.full((1, 896), 0.01)
    x[0, 100] = 100
    rotated = HadamardRotation(896).inputs(x)
    assert rotated.abs().max() < 20


def test_entries_of_a_hadamard_matrix_have_one_magnitude() -> None:
    matrix = hadamard(64)
    assert torch.allclose(matrix.abs(), torch.full((64, 64), 1 / 8))
    assert torch.allclose(matrix @ matrix.t(), torch.eye(64), atol=1e-6)
