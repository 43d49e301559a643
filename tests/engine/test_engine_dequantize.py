from __future__ import annotations

import gguf
import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType as TensorType
from tiny_models import random_blocks

from archon.engine.files.dequantize import BLOCK_FORMATS, dequantize

QUANTIZED = [n for n, f in BLOCK_FORMATS.items() if f.elements > 1]
FLOATS = [n for n, f in BLOCK_FORMATS.items() if f.elements == 1]


@pytest.mark.parametrize("number", BLOCK_FORMATS)
def test_names_and_sizes_of_blocks_are_those_of_the_gguf_package(number: int) -> None:
    ours, kind = BLOCK_FORMATS[number], TensorType(number)
    assert ours.name == kind.name
    assert (ours.elements, ours.bytes) == gguf.GGML_QUANT_SIZES[kind]


@pytest.mark.parametrize("number", QUANTIZED)
def test_random_blocks_decode_as_the_gguf_package_decodes_them(number: int) -> None:
    blocks = random_blocks(TensorType(number), 500, np.random.default_rng(number))
    expected = gguf.quants.dequantize(blocks, TensorType(number)).reshape(-1)
    found = dequantize(torch.from_numpy(blocks), BLOCK_FORMATS[number])
    assert found.dtype == torch.float32
    # The order of two multiplications may differ by a rounding.
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("number", FLOATS)
def test_floats_decode_exactly(number: int) -> None:
    values = np.random.default_rng(0).standard_normal((3, 64)).astype(np.float32)
    stored = gguf.quants.quantize(values, TensorType(number))
    expected = gguf.quants.dequantize(stored, TensorType(number)).reshape(-1)
    raw = torch.from_numpy(stored.view(np.uint8).copy())
    assert np.array_equal(dequantize(raw, BLOCK_FORMATS[number]).numpy(), expected)


@pytest.mark.parametrize("name", ["Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"])
def test_dequantizing_inverts_quantizing_approximately(name: str) -> None:
    kind = TensorType[name]
    weight = np.random.default_rng(1).standard_normal((4, 128)).astype(np.float32)
    raw = torch.from_numpy(gguf.quants.quantize(weight, kind).copy())
    found = dequantize(raw, BLOCK_FORMATS[kind.value]).numpy().reshape(weight.shape)
    steps = {"Q8_0": 127, "Q4_0": 8, "Q4_1": 8, "Q5_0": 16, "Q5_1": 16}[name]
    assert np.abs(found - weight).max() <= np.abs(weight).max() / steps
