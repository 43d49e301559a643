"""Adapters written by peft: every key of the configuration is computed correctly or rejected."""

from __future__ import annotations

import dataclasses
import json
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import peft
import pytest
import torch
from engine_doubles import CPU, AdaptedWeights
from family_models import CASES, FamilyCase, _interleaved, random_model, write_family_gguf
from model_doubles import has_rule, our_logits
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
from safetensors.torch import load_file, save_file
from tiny_folders import write_folder
from tiny_models import TinyModel
from transformers import AutoConfig, AutoModelForCausalLM

from archon.engine.loading import load_decoder, open_adapter, open_model
from archon.engine.model.lora_config import ADAPTER_RULES, CONFIG_NAME, TENSORS_NAME, read_adapter
from archon.engine.model.merging import MergedWeights
from archon.engine.model.weights import weights_of
from archon.errors import ModelFileError

PROMPT = tuple(range(40, 64))


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("model") / "m", TinyModel("llama", tied=False))


@pytest.fixture(scope="module")
def biased(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("model") / "m", TinyModel("qwen2", tied=True))


def trained(folder: Path, path: Path, **options: Any) -> torch.Tensor:
    """Save an adapter with random parameters; return the logits of peft's model."""
    options = {"r": 4, "lora_alpha": 6, "target_modules": ["q_proj", "down_proj"]} | options
    torch.manual_seed(0)
    base = AutoModelForCausalLM.from_pretrained(folder)
    model = peft.get_peft_model(base, peft.LoraConfig(**options)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                size = 0.1 if "lora_" in name or "bias" in name else 0.5
                parameter.copy_(size * torch.randn_like(parameter))
        model.save_pretrained(path, save_embedding_layers=False)
        return model(torch.tensor([PROMPT])).logits[0]


def ours(folder: Path, path: Path) -> torch.Tensor:
    source, adapter = weights_of(open_model(folder)), read_adapter(path)
    merges = MergedWeights if adapter.must_be_merged else AdaptedWeights
    return our_logits(load_decoder(merges(source, adapter), "float32", CPU), PROMPT)


def edit(path: Path, **changes: Any) -> None:
    file = path / CONFIG_NAME
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_every_key_of_peft_s_configuration_has_a_rule() -> None:
    keys = {field.name for field in dataclasses.fields(peft.LoraConfig)}
    assert [key for key in sorted(keys) if not has_rule(ADAPTER_RULES, key)] == []
    assert len(keys) > 30


@pytest.mark.parametrize("kind", [k for k in PEFT_TYPE_TO_CONFIG_MAPPING if k.value != "LORA"])
def test_every_other_kind_of_adapter_is_rejected_by_name(kind: Any, tmp_path: Path) -> None:
    (tmp_path / CONFIG_NAME).write_text(json.dumps({"peft_type": kind.value, "r": 4}))
    with pytest.raises(ModelFileError, match=f"peft_type is '{kind.value}'"):
        read_adapter(tmp_path)


COMPUTED: dict[str, dict[str, Any]] = {
    "plain": {},
    "rslora": {"use_rslora": True},
    "rank pattern": {"rank_pattern": {"q_proj": 2, r"layers\.1\.mlp\.down_proj": 6}},
    "alpha pattern": {"alpha_pattern": {"layers.0.self_attn.q_proj": 1, "down_proj": 32}},
    "both with rslora": {
        "rank_pattern": {"q_proj": 2}, "alpha_pattern": {"q_proj": 3}, "use_rslora": True,
    },
    "an anchored pattern": {"rank_pattern": {"^model.layers.0.self_attn.q_proj": 8}},
    "some layers": {"layers_to_transform": [1], "layers_pattern": "layers"},
    "one layer": {"layers_to_transform": 1},
    "an expression": {"target_modules": r".*\.(?:q_proj|up_proj)"},
    "all but some": {"target_modules": "all-linear", "exclude_modules": ["v_proj"]},
    "the head": {"target_modules": ["lm_head", "k_proj"]},
    "gaussian": {"init_lora_weights": "gaussian"},
    "orthogonal": {"init_lora_weights": "orthogonal"},
    "mica": {"init_lora_weights": "mica"},
    "dropout": {"lora_dropout": 0.5},
    "unused configurations": {"eva_config": peft.EvaConfig(), "qalora_group_size": 8},
    "dora": {"use_dora": True},
    "dora with patterns": {
        "use_dora": True, "use_rslora": True, "rank_pattern": {"q_proj": 2},
        "alpha_pattern": {"down_proj": 32}, "target_modules": ["q_proj", "o_proj", "lm_head"],
    },
    "saved norms": {"modules_to_save": ["input_layernorm", "norm"]},
    "a saved head": {"modules_to_save": ["lm_head"]},
    "a saved embedding": {"modules_to_save": ["embed_tokens"]},
    "an adapted embedding": {"target_modules": ["embed_tokens", "v_proj"]},
    "tying without tied layers": {"ensure_weight_tying": True},
}  # fmt: skip


@pytest.mark.parametrize("name", COMPUTED)
def test_adapters_match_peft(name: str, folder: Path, tmp_path: Path) -> None:
    expected = trained(folder, tmp_path, **COMPUTED[name])
    torch.testing.assert_close(ours(folder, tmp_path), expected, atol=1e-4, rtol=1e-4)


MERGED: dict[str, dict[str, Any]] = {
    "all biases": {"bias": "all"},
    "biases of adapted layers": {"bias": "lora_only"},
    "biases of factors": {"lora_bias": True, "target_modules": ["q_proj", "v_proj"]},
    "saved layers with biases": {"modules_to_save": ["k_proj", "post_attention_layernorm"]},
    "an embedding that is not the head any more": {"modules_to_save": ["embed_tokens"]},
    "dora": {"use_dora": True, "target_modules": "all-linear"},
}


@pytest.mark.parametrize("name", MERGED)
def test_adapters_of_a_tied_model_with_biases_match_peft(
    name: str, biased: Path, tmp_path: Path
) -> None:
    expected = trained(biased, tmp_path, **MERGED[name])
    assert read_adapter(tmp_path).must_be_merged
    torch.testing.assert_close(ours(biased, tmp_path), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("native", [True, False])
def test_merged_adapters_are_rounded_with_their_model(
    native: bool, biased: Path, tmp_path: Path
) -> None:
    options = {"use_dora": True, "bias": "all", "modules_to_save": ["input_layernorm", "norm"]}
    expected = trained(biased, tmp_path, **options)
    source = MergedWeights(weights_of(open_model(biased)), read_adapter(tmp_path))
    found = our_logits(load_decoder(source, "int8", CPU, native=native), PROMPT)
    assert (found - expected).abs().max() <= 0.1 * expected.abs().max()


FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "fused layers with dora": (
        "phi3", {"use_dora": True, "target_modules": ["qkv_proj", "gate_up_proj"]}
    ),
    "norms that folders store without 1": (
        "gemma2", {"modules_to_save": ["input_layernorm", "q_proj", "norm"]}
    ),
    "norms of heads": ("qwen3", {"modules_to_save": ["q_norm", "k_norm"]}),
}  # fmt: skip


@pytest.mark.parametrize("name", FAMILIES)
def test_merged_adapters_of_other_families_match_peft(name: str, tmp_path: Path) -> None:
    family, options = FAMILIES[name]
    folder, path = tmp_path / "m", tmp_path / "adapter"
    random_model(CASES[family]).save_pretrained(folder)
    options = {"target_modules": ["o_proj"]} | options
    expected = trained(folder, path, **options)
    found = ours(folder, path)
    assert (found - expected).abs().max() <= 1e-4 * expected.abs().max()


@pytest.mark.parametrize(
    ("family", "targets"),
    [
        ("llama", ["q_proj", "k_proj", "v_proj", "o_proj", "down_proj", "lm_head"]),
        ("qwen3", ["q_proj", "gate_proj", "up_proj"]),
        ("phi3", ["qkv_proj", "gate_up_proj", "down_proj"]),
    ],
)
def test_gguf_adapters_match_peft(family: str, targets: list[str], tmp_path: Path) -> None:
    case, folder, path = CASES[family], tmp_path / "m", tmp_path / "adapter"
    model = random_model(case)
    model.save_pretrained(folder)
    write_family_gguf(tmp_path / "m.gguf", case, model)
    expected = trained(folder, path, target_modules=targets)
    write_gguf_adapter(tmp_path / "adapter.gguf", case, model.config, path)
    source = weights_of(open_model(tmp_path / "m.gguf"))
    adapter = open_adapter(tmp_path / "adapter.gguf", source.config)
    assert not adapter.must_be_merged
    decoder = load_decoder(MergedWeights(source, adapter), "float32", CPU)
    found = our_logits(decoder, PROMPT)
    assert (found - expected).abs().max() <= 1e-4 * expected.abs().max()


def write_gguf_adapter(file: Path, case: FamilyCase, config: Any, path: Path, **keys: str) -> None:
    """Write an adapter of peft as llama.cpp's converter does."""
    assert case.arch is not None
    arch = gguf.MODEL_ARCH_NAMES[case.arch]
    writer = gguf.GGUFWriter(file, keys.get("architecture", arch))
    writer.add_type(keys.get("type", "adapter"))
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 6.0)
    names = gguf.get_tensor_name_map(case.arch, config.num_hidden_layers)
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    for key, tensor in load_file(path / TENSORS_NAME).items():
        layer, _, half = (
            key.removeprefix("base_model.model.").removesuffix(".weight").partition(".lora_")
        )
        if case.permutes and half == "B" and (count := heads.get(layer.rpartition(".")[2])):
            tensor = _interleaved(tensor, count)
        name = names.get_name(f"{layer}.weight", try_suffixes=(".weight",))
        writer.add_tensor(f"{name}.lora_{half.lower()}", tensor.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.mark.parametrize(
    ("keys", "reason"),
    [({"type": "model"}, "general.type is 'model'"), ({"architecture": "qwen2"}, "not 'llama'")],
)
def test_other_gguf_files_are_not_adapters(
    keys: dict[str, str], reason: str, folder: Path, tmp_path: Path
) -> None:
    trained(folder, tmp_path)
    source = weights_of(open_model(folder))
    case, file = CASES["llama"], tmp_path / "a.gguf"
    write_gguf_adapter(file, case, AutoConfig.from_pretrained(folder), tmp_path, **keys)
    with pytest.raises(ModelFileError, match=reason):
        open_adapter(file, source.config)


def test_a_saved_tensor_of_another_shape_is_rejected(folder: Path, tmp_path: Path) -> None:
    trained(folder, tmp_path, modules_to_save=["norm"])
    name = "base_model.model.model.norm.weight"
    save_file(load_file(tmp_path / TENSORS_NAME) | {name: torch.ones(7)}, tmp_path / TENSORS_NAME)
    with pytest.raises(ModelFileError, match=r"model.norm.weight has shape \(7,\)"):
        MergedWeights(weights_of(open_model(folder)), read_adapter(tmp_path))


REFUSED: dict[str, dict[str, Any]] = {
    "trainable_token_indices": {"trainable_token_indices": [1, 2]},
    "alora_invocation_tokens": {"alora_invocation_tokens": [3]},
    "layer_replication": {"layer_replication": [[0, 2], [1, 2]]},
    "target_parameters": {"target_parameters": ["q_proj.weight"], "target_modules": []},
    "kasa_config": {"kasa_config": peft.tuners.lora.config.KasaConfig()},
    "velora_config": {"velora_config": peft.tuners.lora.config.VeloraConfig()},
    "init_lora_weights": {"init_lora_weights": "pissa"},
}


@pytest.mark.parametrize("key", REFUSED)
def test_adapters_that_peft_computes_differently_are_rejected(
    key: str, folder: Path, tmp_path: Path
) -> None:
    trained(folder, tmp_path, **REFUSED[key])
    with pytest.raises(ModelFileError, match=rf"{CONFIG_NAME}: .*{key} is "):
        read_adapter(tmp_path)


@pytest.mark.parametrize("key", sorted(ADAPTER_RULES.neutral))
@pytest.mark.parametrize("value", [True, "x", 7, [1], {"a": 1}])
def test_a_key_with_neutral_values_rejects_all_others(
    key: str, value: Any, folder: Path, tmp_path: Path
) -> None:
    trained(folder, tmp_path)
    edit(tmp_path, **{key: value})
    with pytest.raises(ModelFileError, match=rf"{key} is {re.escape(repr(value))}"):
        read_adapter(tmp_path)


INITS = ["pissa", "pissa_niter_4", "olora", "OLoRA", "loftq", "corda", "lora_ga", "new", 3, ["eva"]]


@pytest.mark.parametrize("init", INITS)
def test_an_adapter_of_changed_weights_is_rejected(init: Any, folder: Path, tmp_path: Path) -> None:
    trained(folder, tmp_path)
    edit(tmp_path, init_lora_weights=init)
    with pytest.raises(ModelFileError, match=r"init_lora_weights is .*Convert it with peft"):
        read_adapter(tmp_path)


@pytest.mark.parametrize("init", [True, False, None, "gaussian", "Gaussian", "eva", "orthogonal"])
def test_other_initialisations_keep_the_weights(init: Any, folder: Path, tmp_path: Path) -> None:
    expected = trained(folder, tmp_path)
    edit(tmp_path, init_lora_weights=init)
    torch.testing.assert_close(ours(folder, tmp_path), expected, atol=1e-4, rtol=1e-4)


def test_a_converted_adapter_of_changed_weights_is_computed(folder: Path, tmp_path: Path) -> None:
    base = AutoModelForCausalLM.from_pretrained(folder)
    options = {"r": 4, "lora_alpha": 6, "target_modules": ["q_proj"], "init_lora_weights": "pissa"}
    model = peft.get_peft_model(base, peft.LoraConfig(**options)).eval()
    model.peft_config["default"].init_lora_weights = True
    model.save_pretrained(tmp_path / "initial")
    model.peft_config["default"].init_lora_weights = "pissa"
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.add_(0.1 * torch.randn_like(parameter))
        initial = str(tmp_path / "initial")
        model.save_pretrained(tmp_path / "c", path_initial_model_for_weight_conversion=initial)
        expected = model(torch.tensor([PROMPT])).logits[0]
    torch.testing.assert_close(ours(folder, tmp_path / "c"), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("value", [True, 1, "x", [0], {"a": 0}])
def test_an_unknown_key_is_rejected_unless_it_is_empty(
    value: Any, folder: Path, tmp_path: Path
) -> None:
    trained(folder, tmp_path)
    edit(tmp_path, use_hyperlora=value)
    with pytest.raises(ModelFileError, match=r"use_hyperlora is .*: the key is unknown"):
        read_adapter(tmp_path)


def test_empty_and_irrelevant_keys_are_accepted(folder: Path, tmp_path: Path) -> None:
    trained(folder, tmp_path)
    nothing = {"a": None, "b": False, "c": [], "d": {}, "e": "", "f": 0}
    edit(tmp_path, **nothing, unsloth_version="2025.1", merge_weights=True, enable_lora=None)
    read_adapter(tmp_path)


def test_an_error_lists_all_faults(folder: Path, tmp_path: Path) -> None:
    trained(folder, tmp_path)
    edit(tmp_path, use_qalora=True, layer_replication=[[0, 1]])
    with pytest.raises(ModelFileError, match=r"layer_replication is \[\[.*; use_qalora is True"):
        read_adapter(tmp_path)


Q_PROJ = "base_model.model.model.layers.0.self_attn.q_proj."


@pytest.mark.parametrize(
    "name",
    [
        Q_PROJ + "lora_magnitude_vector",
        Q_PROJ + "lora_B.bias",
        Q_PROJ + "lora_embedding_A",
        Q_PROJ + "lora_diag",
        "base_model.model.model.embed_tokens.lora_embedding_A",
        "base_model.model.model.embed_tokens.weight",
        "base_model.model.lm_head.weight",
        "base_model.model.lm_head.base_layer.weight",
    ],
)
def test_an_excluded_tensor_is_rejected(name: str, folder: Path, tmp_path: Path) -> None:
    trained(folder, tmp_path)
    tensors = load_file(tmp_path / TENSORS_NAME) | {name: torch.ones(4)}
    save_file(tensors, tmp_path / TENSORS_NAME)
    with pytest.raises(ModelFileError, match=re.escape(repr(name))):
        read_adapter(tmp_path)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"target_modules": ["q_proj"]}, "down_proj', which target_modules"),
        ({"target_modules": ".*q_proj"}, "down_proj', which target_modules"),
        ({"exclude_modules": ["down_proj"]}, "down_proj', which target_modules"),
        ({"layers_to_transform": [0]}, r"layers\.1\..*, which target_modules"),
        ({"target_modules": "("}, "is not a regular expression"),
        ({"target_modules": "(a|aa)+b"}, "too many repetitions"),
        ({"rank_pattern": {"(x+)+": 3}}, "too many repetitions"),
        ({"rank_pattern": {"q_proj": 0}}, r"rank_pattern\.q_proj is 0, not a number above 0"),
        ({"rank_pattern": [1]}, r"rank_pattern is \[1\], not an object"),
        ({"r": True}, "r is True"),
        ({"lora_alpha": 0}, "lora_alpha is 0"),
        ({"lora_alpha": float("nan")}, "lora_alpha is nan"),
        ({"use_rslora": "yes"}, "use_rslora is 'yes'"),
        ({"peft_type": None}, "peft_type is None"),
        ({"target_modules": None}, "does not name the layers"),
        ({"target_modules": []}, "does not name the layers"),
        ({"kasa_config": {}}, "kasa_config is {}"),
        ({"velora_config": {}}, "velora_config is {}"),
    ],
)
def test_an_invalid_configuration_is_rejected(
    changes: dict[str, Any], reason: str, folder: Path, tmp_path: Path
) -> None:
    trained(folder, tmp_path)
    edit(tmp_path, **changes)
    with pytest.raises(ModelFileError, match=reason):
        read_adapter(tmp_path)


def test_an_adapter_without_tensors_is_rejected(folder: Path, tmp_path: Path) -> None:
    trained(folder, tmp_path)
    save_file({}, tmp_path / TENSORS_NAME)
    with pytest.raises(ModelFileError, match="has no tensors"):
        read_adapter(tmp_path)


def test_tied_adapters_of_the_head_are_rejected(folder: Path, tmp_path: Path) -> None:
    trained(folder, tmp_path, target_modules=["lm_head"])
    edit(tmp_path, ensure_weight_tying=True)
    with pytest.raises(ModelFileError, match="would adapt both the embedding and the head"):
        read_adapter(tmp_path)
