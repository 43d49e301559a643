from __future__ import annotations

import gguf
import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType as TensorType

from archon.engine.files.dequantize import BLOCK_FORMATS, dequantize, format_of_type

QUANTIZED = [n for n, f in BLOCK_FORMATS.items() if f.elements > 1 and f.name != "Q8_K"]
PLAIN = [n for n, f in BLOCK_FORMATS.items() if f.elements == 1]


@pytest.mark.parametrize("number", BLOCK_FORMATS)
def test_names_and_sizes_of_blocks_are_those_of_the_gguf_package(number: int) -> None:
    ours, kind = BLOCK_FORMATS[number], TensorType(number)
    assert ours.name == kind.name
    assert (ours.elements, ours.bytes) == gguf.GGML_QUANT_SIZES[kind]


@pytest.mark.parametrize("number", QUANTIZED)
def test_random_blocks_decode_to_the_bits_of_the_gguf_package(number: int) -> None:
    ours, kind = BLOCK_FORMATS[number], TensorType(number)
    rng = np.random.default_rng(number)
    blocks = rng.integers(0, 256, (500, ours.bytes), dtype=np.uint8)
    if ours.name == "NVFP4":
        blocks[:, :4] &= 0x7F  # scales have no sign
    with np.errstate(all="ignore"):
        expected = gguf.quants.dequantize(blocks, kind).reshape(-1)
    found = dequantize(torch.from_numpy(blocks), ours).numpy()
    assert found.dtype == np.float32
    is_number = np.isfinite(expected)
    assert is_number.mean() > 0.9
    assert np.array_equal(found[is_number].view("u4"), expected[is_number].view("u4"))
    assert not np.isfinite(found[~is_number]).any()


def test_blocks_of_eight_bits_have_a_float_scale() -> None:
    """Q8_K is a format of activations, which the gguf package does not decode."""
    rng = np.random.default_rng(0)
    q = rng.integers(-127, 128, (3, 256), dtype=np.int8)
    scale = rng.standard_normal((3, 1)).astype(np.float32)
    sums = q.reshape(3, 16, 16).sum(-1).astype(np.int16)
    raw = np.concatenate([scale.view(np.uint8), q.view(np.uint8), sums.view(np.uint8)], axis=1)
    found = dequantize(torch.from_numpy(raw), BLOCK_FORMATS[TensorType.Q8_K]).numpy()
    assert np.array_equal(found, (q * scale).reshape(-1))


@pytest.mark.parametrize("number", PLAIN)
def test_plain_numbers_decode_exactly(number: int) -> None:
    values = np.random.default_rng(0).integers(-99, 99, (3, 64))
    kind = {"F64": "f8", "F16": "f2", "BF16": "f4", "F32": "f4"}.get(TensorType(number).name)
    stored = values.astype(kind or f"i{BLOCK_FORMATS[number].bytes}")
    if TensorType(number) == TensorType.BF16:
        stored = (stored.view("u4") >> 16).astype("u2")
    raw = torch.from_numpy(stored.view(np.uint8))
    assert np.array_equal(dequantize(raw, BLOCK_FORMATS[number]).numpy(), values.reshape(-1))


def test_a_format_without_its_package_names_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match="IQ2_XS, which needs the package gguf: pip install gguf"):
        format_of_type(TensorType.IQ2_XS)
    assert format_of_type(TensorType.IQ4_XS).name == "IQ4_XS"


@pytest.mark.parametrize("name", ["Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"])
def test_dequantizing_inverts_quantizing_approximately(name: str) -> None:
    kind = TensorType[name]
    weight = np.random.default_rng(1).standard_normal((4, 128)).astype(np.float32)
    raw = torch.from_numpy(gguf.quants.quantize(weight, kind).copy())
    found = dequantize(raw, BLOCK_FORMATS[kind.value]).numpy().reshape(weight.shape)
    steps = {"Q8_0": 127, "Q4_0": 8, "Q4_1": 8, "Q5_0": 16, "Q5_1": 16}[name]
    assert np.abs(found - weight).max() <= np.abs(weight).max() / steps
