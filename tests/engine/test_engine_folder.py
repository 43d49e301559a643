"""Model folders saved by transformers, compared with transformers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from engine_doubles import CPU, GREEDY, make_request, prompt_of, run_all
from model_doubles import our_logits
from safetensors.torch import load_file, save_file
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    Olmo2Config,
    Olmo2ForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)
from transformers_reference import reference_logits

from archon.engine.files.folder import ModelFolder
from archon.engine.loading import load_decoder, load_engine, open_model
from archon.engine.model.config import config_of
from archon.engine.model.weights import weights_of
from archon.errors import ModelFileError

SHAPE: dict[str, Any] = {
    "vocab_size": 304, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 512,
    "initializer_range": 0.3,
}  # fmt: skip


def llama(**changes: Any) -> PreTrainedModel:
    return LlamaForCausalLM(LlamaConfig(**SHAPE | changes))


def qwen2(**changes: Any) -> PreTrainedModel:
    return Qwen2ForCausalLM(Qwen2Config(**SHAPE | changes))


def qwen3(**changes: Any) -> PreTrainedModel:
    return Qwen3ForCausalLM(Qwen3Config(**SHAPE | {"head_dim": 16} | changes))


def olmo2(**changes: Any) -> PreTrainedModel:
    return Olmo2ForCausalLM(Olmo2Config(**SHAPE | changes))


MODELS: dict[str, Callable[[], PreTrainedModel]] = {
    "llama": llama,
    "llama tied": lambda: llama(tie_word_embeddings=True),
    "llama with wide heads": lambda: llama(head_dim=12),
    "llama of another rotary base": lambda: llama(rope_parameters=rope(rope_theta=500_000.0)),
    "qwen2": qwen2,
    "qwen2 tied": lambda: qwen2(tie_word_embeddings=True),
    "qwen3": qwen3,
    "qwen3 tied": lambda: qwen3(tie_word_embeddings=True),
    "qwen3 with narrow heads": lambda: qwen3(head_dim=6),
    "olmo2": olmo2,
    "olmo2 tied": lambda: olmo2(tie_word_embeddings=True),
    "olmo2 of another rotary base": lambda: olmo2(rope_parameters=rope(rope_theta=500_000.0)),
}


def rope(**changes: Any) -> dict[str, Any]:
    return {"rope_type": "default", "rope_theta": 10_000.0} | changes


def randomized(model: PreTrainedModel) -> PreTrainedModel:
    """Randomize norms and biases: they are constant in new models, which would hide errors."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.3 * torch.randn_like(parameter))
    return model.eval()


def saved(folder: Path, model: PreTrainedModel, **options: Any) -> Path:
    randomized(model).save_pretrained(folder, **options)
    return folder


def edit_config(folder: Path, **changes: Any) -> None:
    """Change keys of config.json; None removes a key."""
    path = folder / "config.json"
    config = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in config.items() if v is not None}))


@pytest.mark.parametrize("max_shard_size", ["1GB", "20KB"])
@pytest.mark.parametrize("name", MODELS)
def test_logits_and_greedy_tokens_are_those_of_transformers(
    name: str, max_shard_size: str, tmp_path: Path
) -> None:
    torch.manual_seed(1)
    model = MODELS[name]()
    saved(tmp_path, model, max_shard_size=max_shard_size)
    assert (len(list(tmp_path.glob("*.safetensors"))) > 1) == (max_shard_size == "20KB")
    prompt = prompt_of(100)
    expected = reference_logits(model, list(prompt))
    decoder = load_decoder(weights_of(open_model(tmp_path)), "float32", CPU)
    found = our_logits(decoder, prompt)
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()

    engine = load_engine(tmp_path, "float32", device="cpu")
    [[generation]] = run_all(engine, make_request(prompt[:40], rule=GREEDY, max_tokens=64))
    with torch.inference_mode():
        theirs = model.generate(
            torch.tensor([prompt[:40]]), do_sample=False, max_new_tokens=64, eos_token_id=None,
            pad_token_id=0, attention_mask=torch.ones(1, 40, dtype=torch.int64),
        )  # fmt: skip
    assert list(generation.token_ids) == theirs[0, 40:].tolist()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precisions_are_read_exactly(dtype: torch.dtype, tmp_path: Path) -> None:
    model = qwen3().to(dtype)
    saved(tmp_path, model)
    stored = model.state_dict()
    source = weights_of(open_model(tmp_path))
    assert torch.equal(source.embedding(), stored["model.embed_tokens.weight"].float())
    layer = source.layer(1)
    assert torch.equal(layer.q, stored["model.layers.1.self_attn.q_proj.weight"].float())
    assert layer.q.dtype == torch.float32


def test_keys_that_older_files_lack_have_defaults(tmp_path: Path) -> None:
    saved(tmp_path, llama(num_key_value_heads=4))
    edit_config(tmp_path, num_key_value_heads=None, head_dim=None, rope_parameters=None)
    config = config_of(open_model(tmp_path))
    assert (config.num_kv_heads, config.head_width, config.rope_base) == (4, 8, 10_000.0)
    edit_config(tmp_path, rope_theta=1e6, rope_scaling={"rope_type": "default"})
    assert config_of(open_model(tmp_path)).rope_base == 1e6


def test_a_head_in_a_file_that_calls_it_tied_is_used_as_transformers_uses_it(
    tmp_path: Path,
) -> None:
    saved(tmp_path, llama(tie_word_embeddings=False))
    edit_config(tmp_path, tie_word_embeddings=True)
    source = weights_of(open_model(tmp_path))
    assert not torch.equal(source.head(), source.embedding())
    prompt = prompt_of(20)
    expected = reference_logits(LlamaForCausalLM.from_pretrained(tmp_path), list(prompt))
    found = our_logits(load_decoder(source, "float32", CPU), prompt)
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.mark.parametrize("kept", ["lm_head.weight", "model.embed_tokens.weight"])
def test_the_shared_tensor_of_a_tied_model_may_have_either_name(kept: str, tmp_path: Path) -> None:
    model = llama(tie_word_embeddings=True)
    saved(tmp_path, model)
    tensors = load_file(tmp_path / "model.safetensors")
    tensors[kept] = tensors.pop("model.embed_tokens.weight")
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    source = weights_of(open_model(tmp_path))
    assert torch.equal(source.head(), source.embedding())
    assert torch.equal(source.head(), model.lm_head.weight)


# ------------------------------------------------------------------------------ bad folders


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return saved(tmp_path / "model", llama())


def opened(folder: Path) -> None:
    load_decoder(weights_of(open_model(folder)), "float32", CPU)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model_type": "mamba"}, r"config\.json: family 'mamba' is not supported"),
        ({"model_type": None}, "family None"),
        ({"num_hidden_layers": None}, r"config\.json: num_hidden_layers is None"),
        ({"num_hidden_layers": 3}, "has no tensor 'model.layers.2."),
        ({"num_hidden_layers": 1}, r"tensor 'model\.layers\.1\..*' is not supported"),
        ({"hidden_size": "wide"}, "hidden_size is 'wide'"),
        ({"hidden_size": 48}, "expected"),
        ({"vocab_size": 305}, r"shape \(304, 32\), expected \(305, 32\)"),
        ({"num_attention_heads": 0}, "invalid decoder: all sizes"),
        ({"rms_norm_eps": None}, "rms_norm_eps is None"),
        ({"rope_parameters": rope(rope_type="ntk")}, "rope_parameters is 'ntk'"),
        ({"rope_scaling": {"rope_type": "llama3"}}, "factor is None, not a number"),
        ({"rope_parameters": rope(partial_rotary_factor=0.5)}, "part of each head"),
        ({"rope_parameters": rope(rope_theta="big")}, "rope_theta is 'big'"),
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
        ({"use_sliding_window": True}, "use_sliding_window is True"),
        ({"layer_types": ["full_attention", "sliding_attention"]}, "'sliding_attention'"),
        ({"model_type": "qwen3"}, "has no tensor .*_norm"),
    ],
)
def test_an_unsupported_configuration_is_rejected(
    changes: dict[str, Any], reason: str, folder: Path
) -> None:
    edit_config(folder, **changes)
    with pytest.raises(ModelFileError, match=reason):
        opened(folder)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("config.json", None, r"the folder has no config\.json"),
        ("config.json", b"{", r"config\.json is not valid JSON"),
        ("config.json", b"[]", r"config\.json must be a JSON object"),
        ("config.json", b"\xff", r"config\.json: cannot be read"),
        ("model.safetensors", None, "has neither model.safetensors nor"),
        ("model.safetensors", b"", r"model\.safetensors: is damaged"),
        ("model.safetensors", b"\xff" * 64, r"model\.safetensors: is damaged"),
    ],
)
def test_an_error_names_a_missing_or_damaged_file(
    name: str, content: bytes | None, reason: str, folder: Path
) -> None:
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    with pytest.raises(ModelFileError, match=reason):
        opened(folder)


def test_a_truncated_file_is_rejected(folder: Path) -> None:
    whole = (folder / "model.safetensors").read_bytes()
    for end in (1, 8, 9, 200, len(whole) // 2, len(whole) - 1):
        (folder / "model.safetensors").write_bytes(whole[:end])
        with pytest.raises(ModelFileError, match="is damaged"):
            opened(folder)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"model.norm.weight": None}, "has no tensor 'model.norm.weight'"),
        ({"lm_head.weight": None}, "has no tensor 'lm_head.weight'"),
        ({"model.norm.weight": torch.ones(31)}, r"shape \(31,\), expected \(32,\)"),
        ({"model.norm.weight": torch.ones(32, dtype=torch.int8)}, "unsupported type I8"),
        (
            {"model.layers.0.self_attn.o_proj.bias": torch.ones(32)},
            "o_proj.bias', but attention_bias",
        ),
        ({"model.extra": torch.ones(3)}, "'model.extra' is not supported"),
    ],
)
def test_an_error_names_a_missing_misshapen_or_unknown_tensor(
    change: dict[str, torch.Tensor | None], reason: str, folder: Path
) -> None:
    tensors = load_file(folder / "model.safetensors") | change
    kept = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    save_file(kept, folder / "model.safetensors")
    with pytest.raises(ModelFileError, match=reason):
        opened(folder)


def test_an_invalid_index_is_rejected(tmp_path: Path) -> None:
    saved(tmp_path, llama(), max_shard_size="20KB")
    path = tmp_path / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    places = index["weight_map"]
    first, last = min(places.values()), max(places.values())

    def refused(reason: str, **changes: Any) -> None:
        path.write_text(json.dumps(index | changes))
        with pytest.raises(ModelFileError, match=reason):
            opened(tmp_path)

    refused("weight_map is missing", weight_map=None)
    refused("weight_map is missing", weight_map={})
    refused(r"weight_map\.x is '\.\./x'", weight_map={"x": "../x"})
    refused(r"weight_map\.x is 3", weight_map={"x": 3})
    refused("has no tensor 'model.other'", weight_map={**places, "model.other": first})
    (tmp_path / last).rename(tmp_path / "elsewhere")
    refused(f"{last}: the weight file is missing")
    (tmp_path / last).write_bytes((tmp_path / first).read_bytes())
    refused("has no tensor|is in two shards")


def test_pickled_weights_are_never_read(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelFileError, match=r"pickled \(pytorch_model\.bin\).*save_pretrained"):
        ModelFolder(folder)


@pytest.mark.parametrize("name", ["consolidated.safetensors", "model-00001-of-00001.safetensors"])
def test_the_only_file_of_tensors_may_have_any_name(name: str, folder: Path) -> None:
    whole = set(ModelFolder(folder).tensors)
    (folder / "model.safetensors").rename(folder / name)
    assert set(ModelFolder(folder).tensors) == whole


def test_an_index_may_list_files_of_any_name(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    parts = {"first.safetensors": names[::2], "other.safetensors": names[1::2]}
    for file, part in parts.items():
        save_file({name: tensors[name] for name in part}, folder / file)
    with pytest.raises(ModelFileError, match=r"several files of tensors \(first.*no model"):
        ModelFolder(folder)
    weight_map = {name: file for file, part in parts.items() for name in part}
    index = json.dumps({"metadata": {}, "weight_map": weight_map})
    (folder / "weights.safetensors.index.json").write_text(index)
    found = ModelFolder(folder)
    assert set(found.tensors) == set(names)
    assert torch.equal(found.tensor(names[1]), tensors[names[1]])


def test_a_folder_of_gguf_files_names_one(tmp_path: Path) -> None:
    (tmp_path / "model-Q4_K_M.gguf").write_bytes(b"GGUF")
    with pytest.raises(ModelFileError, match=r"no config\.json\. It has GGUF files; .*Q4_K_M"):
        ModelFolder(tmp_path)


def test_rows_of_a_tensor_are_read(folder: Path) -> None:
    opened = ModelFolder(folder)
    name = "model.embed_tokens.weight"
    assert torch.equal(opened.rows(name, 2, 5), opened.tensor(name)[2:5])
    with pytest.raises(ModelFileError, match="has no rows 0 to 99999"):
        opened.rows(name, 0, 99_999)
