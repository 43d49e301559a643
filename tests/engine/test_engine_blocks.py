"""Products with the blocks of GGUF files, compared with the gguf package and torch."""

from __future__ import annotations

import ctypes

import gguf
import numpy as np
import pytest
import torch
from block_reference import quantize_groups, reference_product
from engine_doubles import native_kernels
from gguf import GGMLQuantizationType as TensorType
from tiny_models import random_blocks
from torch import Tensor

from archon.engine.kernels.block_packing import (
    Q8_0,
    STRIP_FORMATS,
    pack_strip_linear,
    pack_strips,
    round_to_q8_0,
    strips_of,
)
from archon.engine.kernels.native import NativeLinear

INPUTS = 768


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


def by_kernel(packed: dict[str, Tensor], x: Tensor, outputs: int) -> Tensor:
    linear = NativeLinear.of(packed, "linear")
    assert linear.inputs == x.shape[1]
    y = torch.empty(len(x), linear.outputs)
    native_kernels().archon_product(
        ctypes.byref(linear), x.data_ptr(), len(x), y.data_ptr(), torch.get_num_threads()
    )
    return y[:, :outputs]


def some_rows(count: int, inputs: int = INPUTS) -> Tensor:
    x = torch.randn(count, inputs, generator=torch.Generator().manual_seed(0))
    return x * torch.logspace(-3, 3, count).unsqueeze(1)


@pytest.mark.usefixtures("instructions")
@pytest.mark.parametrize("name", STRIP_FORMATS)
def test_kernel_products_equal_the_reference_to_the_bit(name: str) -> None:
    blocks, x = some_blocks(name, 80), some_rows(26)
    x[7] = 0
    expected = reference_product(name, blocks, x)
    packed = packed_linear((name, blocks))
    for rows in range(1, len(x) + 1):
        assert torch.equal(by_kernel(packed, x[:rows], 80), expected[:rows]), rows


@pytest.mark.usefixtures("instructions")
@pytest.mark.parametrize("name", STRIP_FORMATS)
def test_sums_of_the_largest_codes_and_inputs_are_exact(name: str) -> None:
    """Sums in 16 bits would overflow here first."""
    elements, size = gguf.GGML_QUANT_SIZES[TensorType[name]]
    x = torch.ones(3, INPUTS)
    x[1] = -1
    x[2, ::2] = -1
    for byte in (0x00, 0x77, 0x80, 0xFF):
        blocks = some_blocks(name, 32)
        numbers = slice(16, None) if name in ("Q4_K", "Q5_K") else slice(2 * (name != "MXFP4"), None)
        blocks[..., numbers if name != "Q6_K" else slice(0, 208)] = byte
        if name == "MXFP4":
            blocks[..., 0] = 120
        if name in ("Q4_1", "Q5_1"):
            blocks[..., 2:4] = np.frombuffer(np.float16(0.25).tobytes(), np.uint8)
        expected = reference_product(name, blocks, x)
        assert torch.isfinite(expected).all()
        assert torch.equal(by_kernel(packed_linear((name, blocks)), x, 32), expected)


@pytest.mark.usefixtures("instructions")
@pytest.mark.parametrize("name", STRIP_FORMATS)
def test_products_are_those_of_the_dequantized_weight_with_rounded_inputs(name: str) -> None:
    blocks, x = some_blocks(name, 64), some_rows(5)
    weight = gguf.quants.dequantize(blocks.reshape(64, -1), TensorType[name])
    scale, whole = quantize_groups(x)
    rounded = (whole.unflatten(1, (-1, 32)) * scale.unsqueeze(2)).flatten(1).double()
    expected = rounded @ torch.from_numpy(weight.copy()).double().t()
    y = by_kernel(packed_linear((name, blocks)), x, 64)
    error = (y - expected).abs().amax(1) / expected.abs().amax(1)
    assert error.max() < 1e-5


@pytest.mark.usefixtures("instructions")
def test_strips_of_different_formats_are_computed_as_one_layer() -> None:
    parts = [(name, some_blocks(name, 32 + 16 * (i % 2))) for i, name in enumerate(STRIP_FORMATS)]
    x = some_rows(14)
    expected = torch.cat([reference_product(name, blocks, x) for name, blocks in parts], dim=1)
    assert torch.equal(by_kernel(packed_linear(*parts), x, expected.shape[1]), expected)


@pytest.mark.parametrize("name", STRIP_FORMATS)
def test_strips_take_as_many_bytes_as_the_file(name: str) -> None:
    blocks = some_blocks(name, 64)
    strips = pack_strips(STRIP_FORMATS[name], torch.from_numpy(blocks.reshape(64, -1)))
    assert sum(len(strip) for strip in strips) == blocks.size


def test_rounding_to_q8_0_is_near_what_the_gguf_package_computes() -> None:
    weight = torch.randn(8, 64, generator=torch.Generator().manual_seed(0))
    weight[3, 32:] = 0
    ours = gguf.quants.dequantize(round_to_q8_0(weight).numpy(), TensorType.Q8_0)
    theirs = gguf.quants.dequantize(
        gguf.quants.quantize(weight.numpy(), TensorType.Q8_0), TensorType.Q8_0
    )
    assert np.abs(ours - weight.numpy()).max() <= 1.01 * np.abs(theirs - weight.numpy()).max()
    assert (ours[3, 32:] == 0).all()
    assert Q8_0.bytes == 34
