"""Quantized folders that the libraries themselves have written; skipped where they are missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, LlamaConfig, LlamaForCausalLM

from archon.engine.files.folder import ModelFolder

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("base")
    config = LlamaConfig(
        vocab_size=64, hidden_size=128, intermediate_size=256, num_hidden_layers=1,
        num_attention_heads=4, num_key_value_heads=2, initializer_range=0.3,
    )  # fmt: skip
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(path)
    return path


def assert_same(path: Path, expected: dict[str, Tensor]) -> None:
    folder = ModelFolder(path)
    assert len(expected) == 7  # the linear layers of one layer
    for name, weight in expected.items():
        # The library rounds some results to bfloat16.
        tolerance = 1e-6 if weight.dtype == torch.float32 else 2**-8
        difference = (folder.tensor(name) - weight.float()).abs().max()
        assert difference <= tolerance * weight.float().abs().max(), name


@pytest.mark.parametrize(
    "settings",
    [
        {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
        {"load_in_4bit": True, "bnb_4bit_quant_type": "fp4"},
        {"load_in_4bit": True, "bnb_4bit_use_double_quant": True, "bnb_4bit_quant_type": "nf4"},
        {"load_in_8bit": True},
    ],
)
def test_bitsandbytes(settings: dict[str, Any], base: Path, tmp_path: Path) -> None:
    library: Any = pytest.importorskip("bitsandbytes")
    model = AutoModelForCausalLM.from_pretrained(
        base,
        quantization_config=BitsAndBytesConfig(**settings, bnb_4bit_compute_dtype=torch.float32),
        device_map="cpu",
        dtype=torch.float32,
    )
    model.save_pretrained(tmp_path)
    expected = {}
    for name, layer in model.named_modules():
        if isinstance(layer, library.nn.Linear4bit):
            weight = layer.weight
            found = library.functional.dequantize_4bit(weight.data, weight.quant_state)
            expected[f"{name}.weight"] = found
        elif isinstance(layer, library.nn.Linear8bitLt):
            weight = layer.weight
            found = library.functional.int8_vectorwise_dequant(weight.CB, weight.SCB)
            expected[f"{name}.weight"] = found
    assert_same(tmp_path, expected)


SCHEMES = (
    "W8A16", "W4A16", "W4A16_ASYM", "W8A8", "INT8", "W4A8", "FP8", "FP8_DYNAMIC", "FP8_BLOCK",
    "NVFP4", "NVFP4A16", "MXFP4", "MXFP8",
)  # fmt: skip


@pytest.mark.parametrize("scheme", SCHEMES)
def test_compressed_tensors(scheme: str, base: Path, tmp_path: Path) -> None:
    pytest.importorskip("compressed_tensors")
    from compressed_tensors.compressors import ModelCompressor
    from compressed_tensors.quantization import QuantizationConfig, apply_quantization_config

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    apply_quantization_config(
        model, QuantizationConfig(config_groups={scheme: ["Linear"]}, ignore=["lm_head"])
    )
    torch.manual_seed(1)
    layers = {name: m for name, m in model.named_modules() if hasattr(m, "weight_scale")}
    for layer in layers.values():
        scale = layer.weight_scale
        values = torch.empty(scale.shape).uniform_(0.02, 0.1)
        if scheme.startswith("MX"):  # powers of 2
            values = torch.exp2(values.log2().round())
        scale.data = values.to(scale.dtype)
        if hasattr(layer, "weight_global_scale"):
            layer.weight_global_scale.data.fill_(3.0)
        if getattr(layer, "weight_zero_point", None) is not None and "ASYM" in scheme:
            zero = layer.weight_zero_point
            zero.data = torch.randint(-3, 4, zero.shape).to(zero.dtype)
    compressor = ModelCompressor.from_pretrained_model(model)
    compressor.compress_model(model)
    model.save_pretrained(tmp_path)
    compressor.update_config(tmp_path)
    settings = json.loads((tmp_path / "config.json").read_text())["quantization_config"]
    assert settings["quant_method"] == "compressed-tensors"
    compressor.decompress_model(model)
    assert_same(tmp_path, {f"{name}.weight": layer.weight for name, layer in layers.items()})
