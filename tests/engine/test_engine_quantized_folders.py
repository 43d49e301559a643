"""Quantized model folders: each format is packed here by hand and read back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engine_doubles import CPU, prompt_of
from model_doubles import our_logits
from safetensors.torch import load_file, save_file
from tiny_folders import edit
from torch import Tensor
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM
from transformers_reference import reference_logits

from archon.engine.files.folder import ModelFolder
from archon.engine.files.quantization import METHODS
from archon.engine.loading import load_decoder, open_model
from archon.engine.model.weights import weights_of
from archon.errors import ModelFileError

NAME = "model.layers.0.mlp.up_proj.weight"
PREFIX = NAME.removesuffix("weight")
RNG = np.random.default_rng(0)
Tensors = dict[str, Tensor]
Case = tuple[dict[str, Any], Tensors, Tensor]
"""Settings, stored tensors of one module (role → tensor), and its weight."""


def integers(*shape: int, low: int = 0, high: int = 16) -> Tensor:
    return torch.from_numpy(RNG.integers(low, high, shape, dtype=np.int32))


def floats(*shape: int, low: float = 0.01) -> Tensor:
    return torch.from_numpy(RNG.uniform(low, 0.1, shape).astype(np.float32))


def packed_rows(numbers: Tensor, bits: int, order: tuple[int, ...] = ()) -> Tensor:
    """Pack each row of numbers without sign into words, number by number."""
    per_word = 32 // bits
    words = []
    for row in numbers.tolist():
        row += [0] * (-len(row) % per_word)
        for at in range(0, len(row), per_word):
            group = row[at : at + per_word]
            group = [group[i] for i in order] if order else group
            words.append(sum(number << (bits * i) for i, number in enumerate(group)))
    array = np.array(words, dtype=np.uint32).view(np.int32).reshape(len(numbers), -1)
    return torch.from_numpy(array)


def bit_stream_rows(numbers: Tensor, bits: int) -> Tensor:
    """Pack each row of numbers into words without gaps."""
    rows = []
    for row in numbers.tolist():
        stream = sum(number << (bits * i) for i, number in enumerate(row))
        count = len(row) * bits // 32
        rows.append([(stream >> (32 * i)) & 0xFFFFFFFF for i in range(count)])
    return torch.from_numpy(np.array(rows, dtype=np.uint32).view(np.int32))


# ----------------------------------------------------------------------------- the formats


def fp8_case(scale: tuple[int, ...], block: list[int] | None, suffix: str) -> Case:
    weight = torch.randn(48, 80, generator=torch.Generator().manual_seed(0)).to(torch.float8_e4m3fn)
    scales = torch.tensor(0.3) if scale == () else floats(*scale)
    expected, numbers = weight.float().numpy().copy(), scales.numpy()
    for o in range(48):
        for i in range(80):
            at = (o // block[0], i // block[1]) if block else (o, 0)[: len(scale)]
            expected[o, i] *= numbers[at]
    settings = {"quant_method": "fp8", "weight_block_size": block, "activation_scheme": "dynamic"}
    return settings, {"weight": weight, f"weight_{suffix}": scales}, torch.from_numpy(expected)


def gptq_case(bits: int, layout: str | None, act_order: bool) -> Case:
    num_inputs, num_outputs, group = 64, 32, 32
    top = 1 << bits
    q = integers(num_inputs, num_outputs, high=top)
    zeros = integers(num_inputs // group, num_outputs, low=1, high=top)
    scales = floats(num_inputs // group, num_outputs).half()
    groups = torch.arange(num_inputs) // group
    if act_order:
        groups = groups[torch.from_numpy(RNG.permutation(num_inputs))]
    expected = torch.empty(num_outputs, num_inputs)
    for i in range(num_inputs):
        g = int(groups[i])
        expected[:, i] = (q[i] - zeros[g]) * scales[g].float()
    stored = {
        "qweight": bit_stream_rows(q.t(), bits).t().contiguous(),
        "qzeros": bit_stream_rows(zeros - int(layout != "gptq_v2"), bits),
        "scales": scales,
        "g_idx": groups.int(),
    }
    settings = {"quant_method": "gptq", "bits": bits, "group_size": group, "desc_act": act_order}
    return settings | ({"checkpoint_format": layout} if layout else {}), stored, expected


def awq_case() -> Case:
    num_inputs, num_outputs, group = 64, 32, 16
    q, zeros = integers(num_inputs, num_outputs), integers(num_inputs // group, num_outputs)
    scales = floats(num_inputs // group, num_outputs).half()
    expected = torch.stack(
        [(q[i] - zeros[i // group]) * scales[i // group].float() for i in range(num_inputs)], dim=1
    )
    order = (0, 2, 4, 6, 1, 3, 5, 7)
    stored = {
        "qweight": packed_rows(q, 4, order),
        "qzeros": packed_rows(zeros, 4, order),
        "scales": scales,
    }
    settings = {"quant_method": "awq", "bits": 4, "group_size": group, "version": "gemm"}
    return settings, stored, expected


def packed_case(bits: int, group: int | None, zeros: bool, act_order: bool = False) -> Case:
    num_outputs, num_inputs, half = 20, 72, 1 << (bits - 1)
    q = integers(num_outputs, num_inputs, low=-half, high=half)
    num_groups = num_inputs // (group or num_inputs)
    scale = floats(num_outputs, num_groups).bfloat16()
    zero = integers(num_outputs, num_groups, low=-half, high=half)
    groups = torch.arange(num_inputs) // (num_inputs // num_groups)
    if act_order:
        groups = groups[torch.from_numpy(RNG.permutation(num_inputs))]
    expected = torch.empty(num_outputs, num_inputs)
    for i in range(num_inputs):
        g = int(groups[i])
        expected[:, i] = (q[:, i] - (zero[:, g] if zeros else 0)) * scale[:, g].float()
    stored = {
        "weight_packed": packed_rows(q + half, bits),
        "weight_scale": scale,
        "weight_shape": torch.tensor([num_outputs, num_inputs]),
    }
    if zeros:
        stored["weight_zero_point"] = packed_rows((zero + half).t(), bits).t().contiguous()
    if act_order:
        stored["weight_g_idx"] = groups.int()
    return compressed("pack-quantized"), stored, expected


def compressed(format: str, **more: Any) -> dict[str, Any]:
    return {"quant_method": "compressed-tensors", "format": format, "config_groups": {}} | more


def int8_case(zeros: bool) -> Case:
    q, scale = integers(20, 72, low=-128, high=128).to(torch.int8), floats(20, 1)
    zero = integers(20, 1, low=-9, high=9).to(torch.int8)
    expected = (q.float() - (zero.float() if zeros else 0)) * scale
    stored = {"weight": q, "weight_scale": scale} | ({"weight_zero_point": zero} if zeros else {})
    return compressed("int-quantized"), stored, expected


def float8_case(block: list[int] | None) -> Case:
    _, stored, expected = fp8_case((2, 2) if block else (48, 1), block, "scale")
    stored["input_scale"] = torch.tensor(1.0)
    groups = {"group_0": {"weights": {"num_bits": 8, "type": "float", "block_structure": block}}}
    return compressed("float-quantized", config_groups=groups), stored, expected


def nvfp4_case() -> Case:
    values = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6])
    q = integers(8, 64).to(torch.uint8)
    scale = floats(8, 4, low=0.05).to(torch.float8_e4m3fn)
    expected = values[(q & 7).long()] * torch.where(q >= 8, -1, 1)
    expected = expected * (scale.float() / 3.0).repeat_interleave(16, 1)
    stored = {
        "weight_packed": q[:, ::2] | (q[:, 1::2] << 4),
        "weight_scale": scale,
        "weight_global_scale": torch.tensor([3.0]),
    }
    return compressed("nvfp4-pack-quantized"), stored, expected


def mxfp4_case() -> Case:
    _, stored, expected = nvfp4_case()
    exponents = integers(8, 2, low=120, high=130).to(torch.uint8)
    divided = stored["weight_scale"].float().repeat_interleave(16, 1) / 3.0
    expected = expected / divided * (2.0 ** (exponents.float() - 127)).repeat_interleave(32, 1)
    stored = {"weight_packed": stored["weight_packed"], "weight_scale": exponents}
    return compressed("mxfp4-pack-quantized"), stored, expected


def mxfp8_case() -> Case:
    _, stored, _ = fp8_case((48, 1), None, "scale")
    exponents = integers(48, 2, low=120, high=130).to(torch.uint8)
    weight = stored["weight"][:, :64]
    scale = (2.0 ** (exponents.float() - 127)).repeat_interleave(32, 1)
    stored = {"weight": weight, "weight_scale": exponents}
    return compressed("mxfp8-quantized"), stored, weight.float() * scale


def table_case(nested: bool) -> Case:
    shape, block = (16, 96), 64
    table = torch.linspace(-1, 1, 16)
    q = integers(16 * 96).to(torch.uint8)
    count = len(q) // block
    stored: Tensors = {
        "weight": (q[::2] << 4 | q[1::2]).unsqueeze(1),
        "weight.quant_map": table,
        "weight.absmax": floats(count),
    }
    state: dict[str, Any] = {"quant_type": "nf4", "blocksize": block, "shape": list(shape)}
    largest = stored["weight.absmax"]
    if nested:
        coded = integers(count, high=256).to(torch.uint8)
        outer_table, outer = torch.linspace(0, 1, 256), floats(-(-count // 16))
        largest = torch.stack([outer_table[int(c)] * outer[i // 16] for i, c in enumerate(coded)])
        stored |= {
            "weight.absmax": coded,
            "weight.nested_quant_map": outer_table,
            "weight.nested_absmax": outer,
        }
        state |= {"nested_blocksize": 16, "nested_offset": 0.25}
        largest = largest + 0.25
    expected = table[q.long()] * largest.repeat_interleave(block)
    stored["weight.quant_state.bitsandbytes__nf4"] = torch.tensor(list(json.dumps(state).encode()))
    stored["weight.quant_state.bitsandbytes__nf4"] = stored[
        "weight.quant_state.bitsandbytes__nf4"
    ].to(torch.uint8)
    return {"quant_method": "bitsandbytes", "load_in_4bit": True}, stored, expected.view(shape)


def outlier_case() -> Case:
    q, scale = integers(20, 72, low=-127, high=128).to(torch.int8), floats(20)
    stored = {"weight": q, "SCB": scale, "weight_format": torch.tensor(0, dtype=torch.uint8)}
    settings = {"quant_method": "bitsandbytes", "load_in_8bit": True}
    return settings, stored, q.float() * (scale / 127).unsqueeze(1)


CASES: dict[str, Callable[[], Case]] = {
    "fp8 by block": lambda: fp8_case((3, 5), [16, 16], "scale_inv"),
    "fp8 by block, the last cut off": lambda: fp8_case((2, 3), [32, 32], "scale_inv"),
    "fp8 by tensor": lambda: fp8_case((), None, "scale"),
    "fp8 by row": lambda: fp8_case((48, 1), None, "scale"),
    "gptq": lambda: gptq_case(4, None, act_order=False),
    "gptq in activation order": lambda: gptq_case(4, "gptq", act_order=True),
    "gptq v2": lambda: gptq_case(4, "gptq_v2", act_order=False),
    "gptq of 2 bits": lambda: gptq_case(2, None, act_order=False),
    "gptq of 3 bits": lambda: gptq_case(3, None, act_order=True),
    "gptq of 8 bits": lambda: gptq_case(8, None, act_order=False),
    "awq": awq_case,
    "packed int4 by group": lambda: packed_case(4, 24, zeros=False),
    "packed int4 by row": lambda: packed_case(4, None, zeros=False),
    "packed int4 with zero points": lambda: packed_case(4, 24, zeros=True),
    "packed int4 in activation order": lambda: packed_case(4, 24, zeros=True, act_order=True),
    "packed int8": lambda: packed_case(8, 24, zeros=True),
    "packed int3": lambda: packed_case(3, 24, zeros=False),
    "int8": lambda: int8_case(zeros=False),
    "int8 with zero points": lambda: int8_case(zeros=True),
    "float8": lambda: float8_case(None),
    "float8 by block": lambda: float8_case([40, 64]),
    "nvfp4": nvfp4_case,
    "mxfp4": mxfp4_case,
    "mxfp8": mxfp8_case,
    "nf4": lambda: table_case(nested=False),
    "nf4 with nested scales": lambda: table_case(nested=True),
    "llm.int8": outlier_case,
}


def write(path: Path, settings: dict[str, Any] | None, stored: Tensors) -> Path:
    path.mkdir(exist_ok=True)
    config = {"model_type": "llama"} | ({"quantization_config": settings} if settings else {})
    (path / "config.json").write_text(json.dumps(config))
    tensors = {PREFIX + role: tensor.contiguous() for role, tensor in stored.items()}
    save_file({"model.norm.weight": torch.ones(3), **tensors}, path / "model.safetensors")
    return path


@pytest.mark.parametrize("name", CASES)
def test_a_weight_is_dequantized_under_its_usual_name(name: str, tmp_path: Path) -> None:
    settings, stored, expected = CASES[name]()
    folder = ModelFolder(write(tmp_path / "model", settings, stored))
    assert set(folder.tensors) == {"model.norm.weight", NAME}
    assert folder.tensors[NAME].shape == expected.shape
    found = folder.tensor(NAME)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected.float(), rtol=1e-6, atol=1e-7)
    assert torch.equal(folder.rows(NAME, 3, 5), found[3:5])
    assert "quantization_config" not in folder.config


@pytest.mark.parametrize(
    ("file", "name"), [("quantize_config.json", "gptq"), ("quant_config.json", "awq")]
)
def test_old_folders_have_the_settings_in_another_file(
    file: str, name: str, tmp_path: Path
) -> None:
    settings, stored, expected = CASES[name]()
    path = write(tmp_path / "model", None, stored)
    with pytest.raises(ModelFileError, match=r"type I32.*must have quantization_config"):
        ModelFolder(path)
    rename = {"bits": "w_bit", "group_size": "q_group_size"} if name == "awq" else {}
    del settings["quant_method"]
    (path / file).write_text(json.dumps({rename.get(k, k): v for k, v in settings.items()}))
    torch.testing.assert_close(ModelFolder(path).tensor(NAME), expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"quant_method": "hqq"}, "quantized by 'hqq', which is not supported; fp8, .* GGUF file"),
        ({"bits": 4}, "an unnamed method"),
        ({"quant_method": "awq", "bits": 4, "version": "gemv"}, "version is 'gemv'.*GGUF file"),
        ({"quant_method": "awq", "bits": 3}, "bits is 3; only 4"),
        ({"quant_method": "awq", "bits": 4}, "group_size is None, not a number"),
        ({"quant_method": "gptq", "bits": 5}, "bits is 5; 2, 3, 4, 8"),
        ({"quant_method": "gptq", "bits": 4, "checkpoint_format": "marlin"}, "'marlin'"),
        (compressed("marlin-24"), "its format 'marlin-24'"),
        (compressed("dense", sparsity_config={"format": "sparse-24-bitmask"}), "sparse-24"),
        (compressed("int-quantized", transform_config={"config_groups": {"R1": 1}}), "rotations"),
    ],
)
def test_an_unsupported_format_is_named_with_the_cure(
    settings: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    _, stored, _ = CASES["awq"]()
    path = write(tmp_path / "model", settings, stored)
    with pytest.raises(ModelFileError, match=reason):
        ModelFolder(path)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (3, " is 3, not an object"),
        (["awq"], r" is \['awq'\], not an object"),
        ("awq", " is 'awq', not an object"),
        (False, " is False, not an object"),
        ({"quant_method": ["awq"]}, r".quant_method is \['awq'\], not a name"),
        ({"quant_method": "awq", "bits": 4, "group_size": "16"}, "group_size is '16', not a num"),
        ({"quant_method": "gptq", "bits": 4, "group_size": None}, "group_size is None, not a num"),
        ({"quant_method": "fp8", "weight_block_size": 128}, "weight_block_size is 128, not a list"),
        (
            {"quant_method": "fp8", "weight_block_size": [0]},
            r"weight_block_size is \[0\], not a li",
        ),
        (compressed("dense", config_groups=[1]), r"config_groups is \[1\], not an object"),
        (compressed("dense", config_groups={"g": 1}), "config_groups.g is 1, not an object"),
        (compressed("dense", config_groups={"g": {"weights": 4}}), "config_groups.g.weights is 4"),
        (compressed("dense", sparsity_config="x"), "sparsity_config is 'x', not an object"),
    ],
)
def test_malformed_settings_are_named_with_file_and_key(
    settings: Any, reason: str, tmp_path: Path
) -> None:
    _, stored, _ = CASES["awq"]()
    path = write(tmp_path / "model", {"quant_method": "awq"}, stored)
    edit(path / "config.json", quantization_config=settings)
    with pytest.raises(ModelFileError, match=rf"config\.json: quantization_config.*{reason}"):
        ModelFolder(path)


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        ("fp8 by row", {"weight_scale": None}, "F8_E4M3, but no scale"),
        ("fp8 by row", {"weight_scale": torch.ones(7, 1)}, r"shape \(7, 1\) do not match"),
        ("fp8 by row", {"weight_scale": torch.ones(2, 7)}, r"shape \(2, 7\) do not match"),
        ("gptq", {"qzeros": None}, "qzeros' is missing"),
        ("gptq", {"g_idx": torch.full((64,), 9)}, "is damaged: index 9 is out of bounds"),
        ("awq", {"scales": torch.ones(4, 5)}, "is damaged"),
        ("packed int4 by row", {"weight_shape": None}, "weight_shape' is missing"),
        ("packed int4 by row", {"weight_shape": torch.tensor([20, 99])}, "is packed as"),
        ("int8", {"weight": torch.ones(20, 72)}, "not compressed"),
        ("nvfp4", {"weight_global_scale": None}, "weight_global_scale is missing"),
        ("nf4", {"weight.absmax": torch.ones(2)}, "is damaged"),
        ("llm.int8", {"weight_format": torch.tensor(2)}, "weight_format"),
    ],
)
def test_damaged_weights_are_refused(
    name: str, change: dict[str, Tensor | None], reason: str, tmp_path: Path
) -> None:
    settings, stored, _ = CASES[name]()
    changed = {role: t for role, t in (stored | change).items() if t is not None}
    with pytest.raises(ModelFileError, match=reason):
        ModelFolder(write(tmp_path / "model", settings, changed)).tensor(NAME)


def test_every_method_has_a_case() -> None:
    names = ("fp8 by row", "gptq", "awq", "int8", "nf4")
    used = {CASES[name]()[0]["quant_method"] for name in names}
    assert METHODS.keys() - used == {"fbgemm_fp8"}  # the same as fp8 by row


# ------------------------------------------------------------------------- whole models


def test_logits_of_an_fp8_model_are_those_of_transformers(tmp_path: Path) -> None:
    config = LlamaConfig(
        vocab_size=304, hidden_size=64, intermediate_size=96, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, initializer_range=0.3,
    )  # fmt: skip
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(tmp_path)
    stored: Tensors = {}
    for name, weight in load_file(tmp_path / "model.safetensors").items():
        stored[name] = weight
        if "_proj" in name:
            blocks = weight.unflatten(0, (-1, 32)).unflatten(2, (-1, 32))
            scale = blocks.abs().amax((1, 3)) / 448
            q = (blocks / scale[:, None, :, None]).reshape(weight.shape)
            stored |= {name: q.to(torch.float8_e4m3fn), f"{name}_scale_inv": scale}
    save_file(stored, tmp_path / "model.safetensors", {"format": "pt"})
    path = tmp_path / "config.json"
    settings = {"quant_method": "fp8", "weight_block_size": [32, 32], "dequantize": True}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"quantization_config": settings}))

    theirs = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    prompt = prompt_of(60)
    expected = reference_logits(theirs, list(prompt))
    found = our_logits(load_decoder(weights_of(open_model(tmp_path)), "float32", CPU), prompt)
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()
