"""Keys of model files: each is computed, irrelevant, or rejected by name."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from engine_doubles import FAMILY_SAMPLE
from model_doubles import has_rule
from tiny_folders import edit, write_folder
from tiny_models import TinyModel, write_gguf
from transformers import (
    BertConfig,
    Gemma2Config,
    Gemma3TextConfig,
    GenerationConfig,
    GraniteConfig,
    LlamaConfig,
    MistralConfig,
    Olmo2Config,
    Phi3Config,
    PreTrainedConfig,
    Qwen2Config,
    Qwen2MoeConfig,
    Qwen3Config,
    Qwen3MoeConfig,
    SmolLM3Config,
    T5Config,
)

from archon.engine.files.key_rules import KeyRules
from archon.engine.loading import open_model
from archon.engine.model.config import config_of
from archon.engine.model.config_keys import (
    ENCODER_DECODER_RULES,
    ENCODER_RULES,
    GENERATION_KEYS,
    GGUF_RULES,
)
from archon.engine.model.families import FAMILIES
from archon.engine.model.weights import weights_of
from archon.errors import ModelFileError

CONFIGS: tuple[type[PreTrainedConfig], ...] = (
    LlamaConfig,
    Qwen2Config,
    Qwen3Config,
    Olmo2Config,
)
OTHER_CONFIGS: tuple[type[PreTrainedConfig], ...] = (
    MistralConfig,
    Qwen2MoeConfig,
    Qwen3MoeConfig,
    Gemma2Config,
    Gemma3TextConfig,
    Phi3Config,
    SmolLM3Config,
    GraniteConfig,
)
RULES: dict[type[PreTrainedConfig], KeyRules] = {
    **{c: FAMILIES[c.model_type].config_rules for c in (*CONFIGS, *OTHER_CONFIGS)},
    BertConfig: ENCODER_RULES,
    T5Config: ENCODER_DECODER_RULES,
}


@pytest.fixture(params=FAMILY_SAMPLE)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    width = 16 if request.param == "qwen3" else None
    return write_folder(tmp_path / "model", TinyModel(request.param, own_head_width=width))


@pytest.fixture
def llama(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "model", TinyModel("llama"))


@pytest.fixture
def qwen2(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "model", TinyModel("qwen2"))


def opened(folder: Path) -> None:
    weights_of(open_model(folder))


# ------------------------------------------------------------------------------ config.json


@pytest.mark.parametrize("config", RULES)
def test_every_key_of_transformers_has_a_rule(config: type[PreTrainedConfig]) -> None:
    fields = {field.name for field in dataclasses.fields(config)}  # type: ignore[arg-type]
    saved = json.loads(config().to_json_string(use_diff=False)).keys()
    keys = fields | saved | {"torch_dtype", "per_layer_config"}
    assert [key for key in sorted(keys) if not has_rule(RULES[config], key)] == []
    RULES[config].check({}, Path())


@pytest.mark.parametrize("config", CONFIGS)
def test_models_saved_by_transformers_are_opened(
    config: type[PreTrainedConfig], tmp_path: Path
) -> None:
    family = config.model_type
    width = 16 if family == "qwen3" else None
    path = write_folder(tmp_path, TinyModel(family, own_head_width=width)) / "config.json"  # type: ignore[arg-type]
    ours = json.loads(path.read_text())
    theirs = json.loads(config(**ours).to_json_string(use_diff=False))
    path.write_text(json.dumps(theirs))
    opened(tmp_path)


def test_additional_keys_of_published_files_are_accepted(folder: Path) -> None:
    edit(
        folder / "config.json",
        architectures=["LlamaForCausalLM"], torch_dtype="bfloat16", dtype="bfloat16",
        transformers_version="4.51.0", use_cache=True, _name_or_path="a/b", initializer_range=0.02,
        attention_dropout=0.1, pretraining_tp=2, bos_token_id=1, pad_token_id=2, unk_token_id=3,
        is_llama_config=True, rope_interleaved=False, unsloth_version="2025.1",
        unsloth_fixed=True, tokenizer_class="X", max_window_layers=28, use_mrope=False,
        _attn_implementation="eager", temperature=0.7, do_sample=True, repetition_penalty=1.2,
        embedding_multiplier=1.0, logits_scaling=1, router_aux_loss_coef=0.1, norm_topk_prob=False,
        is_causal=True, id2label={"0": "A"}, anything=None, nothing=[], off=False, zero=0,
        auto_map={"AutoConfig": "configuration_x.X", "AutoTokenizer": "tokenization_x.X"},
    )  # fmt: skip
    opened(folder)


# The keys of quantized weights are checked by ``ModelFolder``.
@pytest.mark.parametrize(
    "key",
    sorted(
        FAMILIES["llama"].config_rules.neutral.keys()
        - {"quantization_config", "compression_config"}
    ),
)
@pytest.mark.parametrize("value", ["x", 7, {"a": 1}, [3]])
def test_a_key_with_neutral_values_rejects_all_others(key: str, value: Any, llama: Path) -> None:
    edit(llama / "config.json", **{key: value})
    with pytest.raises(ModelFileError, match=rf"config\.json: {key} is {re.escape(repr(value))}"):
        opened(llama)


@pytest.mark.parametrize("value", [True, 1, 0.5, "rms", [1], {"a": None}])
def test_an_unknown_key_is_rejected_unless_it_is_empty(value: Any, llama: Path) -> None:
    edit(llama / "config.json", residual_gate=value)
    with pytest.raises(ModelFileError, match=r"residual_gate is .*: the key is unknown.*remove it"):
        opened(llama)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"is_causal": False}, "is_causal is False"),
        ({"num_experts_per_token": 2}, "num_experts_per_token is 2: the key is unknown"),
        ({"hidden_act": "relu"}, "hidden_act is 'relu'"),
        ({"architectures": ["LlamaForSequenceClassification"]}, "architectures is"),
        ({"architectures": ["Qwen2ForRewardModel"]}, "only models with a language-model head"),
        ({"auto_map": {"AutoModelForCausalLM": "modeling_x.X"}}, "Python code from its folder"),
        ({"partial_rotary_factor": 0.5}, "part of each head"),
        ({"rope_scaling": {"type": "linear"}}, "factor is None, not a number"),
        ({"rope_scaling": {"type": "linear", "factor": -2}}, "factor is -2, not a number above"),
        ({"rope_scaling": {"type": "ntk", "factor": 2.0}}, "rope_scaling is 'ntk'"),
        ({"rope_scaling": {"type": "yarn", "factor": 2.0, "power": 3}}, "rope_scaling.power is 3"),
        ({"rope_scaling": {"type": "llama3", "factor": 2.0}}, "high_freq_factor|low_freq_factor"),
        ({"rope_scaling": {"type": "longrope", "factor": 2.0}}, "short_factor is None, not a list"),
        ({"rope_scaling": {"type": "yarn", "factor": 2, "rope_theta": 1}}, "a number above 1"),
        (
            {
                "rope_scaling": {"type": "yarn", "factor": 2},
                "original_max_position_embeddings": 0,
            },
            "original_max_position_embeddings is 0, not a number of at least 2",
        ),
        ({"rope_scaling": [4]}, r"rope_scaling is \[4\]: not an object"),
        ({"rope_scaling": {"type": "default", "mrope_section": [2, 3]}}, "mrope_section"),
        ({"rope_scaling": "yarn"}, "rope_scaling is 'yarn'"),
        ({"rope_parameters": {"full_attention": {"rope_theta": 1e4}}}, "full_attention is"),
        ({"sliding_window": 64}, "sliding_window is 64"),
        ({"mlp_bias": True}, "has no tensor 'model.layers.0.mlp.gate_proj.bias'"),
        ({"no_rope_layers": [1, 0]}, "no_rope_layers is"),
        ({"attn_logit_softcapping": 50.0}, "attn_logit_softcapping is 50"),
        ({"tie_word_embeddings": False}, "has no tensor 'lm_head.weight'"),
        ({"tie_word_embeddings": None}, "tie_word_embeddings is None"),
        ({"attention_bias": True}, "has no tensor 'model.layers.0.self_attn.q_proj.bias'"),
    ],
)
def test_unsupported_computations_are_rejected(
    changes: dict[str, Any], reason: str, llama: Path
) -> None:
    config = json.loads((llama / "config.json").read_text()) | changes
    (llama / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelFileError, match=reason):
        weights_of(open_model(llama)).layer(0)


@pytest.mark.parametrize(
    "changes",
    [
        {"hidden_act": "swish"},
        {"rope_scaling": {"type": "linear", "factor": 1.0}},
        {"rope_scaling": {"rope_type": "llama3", "factor": 1, "low_freq_factor": 1.0}},
        {"partial_rotary_factor": 1.0},
        {"sliding_window": 64, "use_sliding_window": False},
        {"sliding_window": 512},
        {"layer_types": ["full_attention", "full_attention"], "sliding_window": 64},
        {"architectures": ["LlamaModel"]},
        {"attention_bias": False},
    ],
)
def test_keys_without_effect_are_accepted(changes: dict[str, Any], llama: Path) -> None:
    edit(llama / "config.json", **changes)
    opened(llama)


FULL = (None, None)


@pytest.mark.parametrize(
    ("changes", "windows"),
    [
        ({"use_sliding_window": True, "sliding_window": 64, "max_window_layers": 1}, (None, 64)),
        ({"use_sliding_window": True, "sliding_window": 64, "max_window_layers": 2}, FULL),
        ({"use_sliding_window": True, "sliding_window": 64}, FULL),  # 28 layers without
        ({"use_sliding_window": True, "sliding_window": 512, "max_window_layers": 0}, FULL),
        ({"use_sliding_window": True, "max_window_layers": 0}, FULL),  # a window of 4096
        ({"use_sliding_window": False, "sliding_window": 64, "max_window_layers": 0}, FULL),
        ({"sliding_window": 64, "max_window_layers": 0}, FULL),
        (
            {
                "use_sliding_window": True,
                "sliding_window": 64,
                "layer_types": ["sliding_attention", "full_attention"],
            },
            (64, None),
        ),
    ],
)
def test_layers_have_the_windows_that_transformers_would_use(
    changes: dict[str, Any], windows: tuple[int | None, ...], qwen2: Path
) -> None:
    edit(qwen2 / "config.json", **changes)
    config = config_of(open_model(qwen2))
    assert tuple(layer.window for layer in config.layers) == windows


@pytest.mark.parametrize(
    "kinds", [["full_attention", "sliding_attention"], ["chunked_attention"] * 2, 3]
)
def test_kinds_of_layers_without_a_window_are_rejected(kinds: Any, qwen2: Path) -> None:
    edit(qwen2 / "config.json", layer_types=kinds)
    with pytest.raises(ModelFileError, match="layer_types is"):
        opened(qwen2)


def test_the_rotary_base_is_read_where_transformers_reads_it(llama: Path) -> None:
    file = llama / "config.json"
    edit(file, rope_theta=3e4, rope_parameters={"rope_theta": 2e4, "rope_type": "default"})
    assert config_of(open_model(llama)).rope_base == 2e4
    edit(file, rope_scaling={"rope_theta": 5e4, "rope_type": "default"})
    assert config_of(open_model(llama)).rope_base == 5e4
    config = LlamaConfig(**json.loads(file.read_text()))
    assert config.rope_parameters["rope_theta"] == 5e4  # type: ignore[index,call-overload]


def test_biases_that_the_configuration_ignores_are_rejected(qwen2: Path) -> None:
    edit(qwen2 / "config.json", model_type="llama")
    with pytest.raises(ModelFileError, match=r"has a tensor .*k_proj\.bias', but attention_bias"):
        opened(qwen2)
    edit(qwen2 / "config.json", attention_bias=True)
    assert weights_of(open_model(qwen2)).layer(0).q_bias is not None


def test_keys_of_generation_are_those_of_transformers() -> None:
    assert GenerationConfig().to_dict().keys() <= GENERATION_KEYS


# ------------------------------------------------------------------------------------- GGUF


def write(path: Path, model: TinyModel | None = None, **keys: Any) -> Path:
    write_gguf(path / "m.gguf", model or TinyModel("llama", metadata=prefixed(keys)))
    return path / "m.gguf"


def prefixed(keys: dict[str, Any]) -> dict[str, Any]:
    return {k if k.split(".")[0] in OTHER else f"llama.{k}": keys[k] for k in keys}


OTHER = {"general", "adapter", "clip", "diffusion", "xielu", "quantize", "mradermacher"}


@pytest.mark.parametrize(
    "keys",
    [
        {"rope.scaling.type": "none"},
        {"rope.scaling.type": "none", "rope.scaling.factor": 4.0},
        {"rope.scaling.type": "linear"},
        {"rope.scaling.type": "linear", "rope.scaling.factor": 1.0},
        {"rope.scaling.factor": 1.0},
        {"rope.scaling.factor": 0.0, "rope.scale_linear": 1.0},
        {"rope.scaling.original_context_length": 4096, "rope.scaling.finetuned": True},
        {"rope.scaling.attn_factor": 1.0},
        {"attention.sliding_window": 0},
        {"attention.sliding_window": 512},
        {"attention.scale": 8**-0.5},
        {"attention.scale": 0.0},
        {"attention.causal": True},
        {"expert_count": 0, "expert_used_count": 0, "pooling_type": 0},
        {"logit_scale": 1.0, "residual_scale": 1.0, "embedding_scale": 0.0},
        {"vocab_size": 7, "tensor_data_layout": "Meta AI original pth"},
        {"embedding_length_out": 32},
        {"a.new.key": 0, "another": False, "a_third": ""},
        {"general.type": "model", "general.name": "x", "general.sampling.temp": 0.5},
        {"quantize.imatrix.file": "x", "mradermacher.quantized_on": "y", "general.license": "z"},
    ],
)
def test_gguf_keys_without_effect_are_accepted(keys: dict[str, Any], tmp_path: Path) -> None:
    opened(write(tmp_path, **keys))


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({"rope.scaling.type": "su", "rope.scaling.factor": 4.0}, "type is 'su' by 4: this rotary"),
        (
            {
                "rope.scaling.type": "yarn",
                "rope.scaling.factor": 4.0,
                "rope.scaling.yarn_attn_factor": 2.0,
            },
            "yarn_attn_factor is 2",
        ),
        ({"rope.scaling.yarn_log_multiplier": 0.1}, "yarn_log_multiplier is 0.1"),
        ({"rope.scaling.type": "longrope"}, "has no tensor 'rope_factors_short.weight'"),
        ({"attention.scale": 0.5}, r"llama\.attention\.scale is 0\.5"),
        ({"attention.causal": False}, r"llama\.attention\.causal is False"),
        ({"pooling_type": 3}, r"llama\.pooling_type is 3"),
        ({"expert_count": 8}, r"llama\.expert_count is 8"),
        ({"logit_scale": 0.5}, r"llama\.logit_scale is 0\.5"),
        ({"final_logit_softcapping": 30.0}, "final_logit_softcapping is 30"),
        ({"embedding_length_out": 16}, "embedding_length_out is 16"),
        ({"a.new.key": 1}, r"llama\.a\.new\.key is 1: the key is unknown"),
        ({"general.type": "adapter"}, r"general\.type is 'adapter'"),
        ({"adapter.lora.alpha": 16.0}, r"adapter\.lora\.alpha is 16"),
        ({"xielu.beta": 0.5}, r"xielu\.beta is 0\.5"),
    ],
)
def test_unsupported_gguf_keys_are_rejected(
    keys: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    with pytest.raises(ModelFileError, match=rf"m\.gguf: .*{reason}"):
        opened(write(tmp_path, **keys))


@pytest.mark.parametrize("group", ["LLM", "Attention", "Rope"])
def test_every_gguf_key_of_llama_cpp_has_a_rule_or_is_rejected(group: str, tmp_path: Path) -> None:
    names = {
        value.removeprefix("{arch}.")
        for value in vars(getattr(gguf.Keys, group)).values()
        if isinstance(value, str) and value.startswith("{arch}.")
    }
    assert len(names) > 10
    unknown = [name for name in sorted(names) if not has_rule(GGUF_RULES, name)]
    for name in unknown:
        with pytest.raises(ModelFileError, match=re.escape(f"llama.{name} is 3")):
            GGUF_RULES.check({name: 3}, tmp_path, "llama.")


def divisors(path: Path) -> tuple[float, ...]:
    [rope] = {layer.rope for layer in config_of(open_model(path)).layers}
    assert rope is not None
    return rope.divisors


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"rope.scaling.type": "linear", "rope.scaling.factor": 4.0}, (4.0,) * 4),
        ({"rope.scaling.factor": 4.0}, (4.0,) * 4),
        ({"rope.scale_linear": 2.0}, (2.0,) * 4),
        ({"rope.scaling.factor": 1.0}, ()),
    ],
)
def test_linear_scaling_is_read_from_either_key(
    keys: dict[str, Any], expected: tuple[float, ...], tmp_path: Path
) -> None:
    assert divisors(write(tmp_path, **keys)) == expected


@pytest.mark.parametrize(("factor", "expected"), [(1.0, ()), (8.0, (1.0, 1.0, 1.0, 8.0))])
def test_factors_of_rotary_frequencies_are_divisors(
    factor: float, expected: tuple[float, ...], tmp_path: Path
) -> None:
    factors = np.array([1, 1, 1, factor], dtype=np.float32)
    model = TinyModel("llama", extra={"rope_freqs.weight": factors})
    assert divisors(write(tmp_path, model)) == expected


def test_invalid_factors_of_rotary_frequencies_are_rejected(tmp_path: Path) -> None:
    for factors in ([1, 1, 1], [1, 1, 1, 0]):
        extra = {"rope_freqs.weight": np.array(factors, dtype=np.float32)}
        with pytest.raises(ModelFileError, match="does not have 4 numbers above 0"):
            opened(write(tmp_path, TinyModel("llama", extra=extra)))


@pytest.mark.parametrize(
    "name", ["blk.0.attn_q_norm.weight", "blk.0.ffn_gate_inp.weight", "output.bias", "cls.weight"]
)
def test_an_unused_tensor_is_rejected(name: str, tmp_path: Path) -> None:
    extra = {name: np.ones(8, dtype=np.float32)}
    with pytest.raises(ModelFileError, match=re.escape(repr(name))):
        opened(write(tmp_path, TinyModel("llama", extra=extra)))
