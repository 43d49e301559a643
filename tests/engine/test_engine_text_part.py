"""Language models in folders of models that also read images or sound."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from combined_models import TEXT_TYPES, write_combined
from engine_doubles import CPU
from model_doubles import our_logits
from safetensors.torch import load_file, save_file
from tiny_folders import edit
from transformers import CONFIG_MAPPING

from archon.engine.files.folder import ModelFolder
from archon.engine.files.text_part import COMBINED, text_defaults
from archon.engine.loading import load_decoder
from archon.engine.model.config import config_of
from archon.engine.model.weights import weights_of
from archon.errors import ModelFileError

TOKENS = tuple((at * 37 + 11) % 250 for at in range(24))


def logits(path: Path) -> torch.Tensor:
    return our_logits(load_decoder(weights_of(ModelFolder(path)), "float32", CPU), TOKENS)


@torch.no_grad()
def expected(model: Any) -> torch.Tensor:
    return model(input_ids=torch.tensor([TOKENS])).logits[0].float()


def rename(path: Path, old: str, new: str) -> None:
    """Change the beginnings of names of tensors."""
    file = path / "model.safetensors"
    tensors = load_file(file)
    assert any(name.startswith(old) for name in tensors)
    changed = {
        new + name.removeprefix(old) if name.startswith(old) else name: tensor
        for name, tensor in tensors.items()
    }
    save_file(changed, file, {"format": "pt"})


def assert_close(found: torch.Tensor, wanted: torch.Tensor) -> None:
    assert (found - wanted).abs().max() < 1e-4 * wanted.abs().max()


def test_every_supported_kind_is_compared() -> None:
    assert TEXT_TYPES.keys() == COMBINED


@pytest.mark.parametrize("kind", sorted(COMBINED))
def test_logits_are_those_of_the_complete_model(kind: str, tmp_path: Path) -> None:
    model = write_combined(tmp_path, kind)
    found = logits(tmp_path)
    assert found.std() > 0.1
    assert_close(found, expected(model))


@pytest.fixture(scope="module")
def gemma(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, torch.Tensor]:
    path = tmp_path_factory.mktemp("combined") / "gemma"
    return path, expected(write_combined(path, "gemma3"))


@pytest.mark.parametrize("prefix", ["model.language_model.", "model.text_model."])
def test_names_of_other_versions_of_transformers(
    prefix: str, gemma: tuple[Path, torch.Tensor], tmp_path: Path
) -> None:
    for file in gemma[0].glob("*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    rename(tmp_path, "language_model.model.", prefix)
    assert_close(logits(tmp_path), gemma[1])


def test_a_head_of_its_own_is_found_in_both_layouts(tmp_path: Path) -> None:
    model = write_combined(tmp_path, "llava", tie_word_embeddings=False)
    wanted = expected(model)
    assert_close(logits(tmp_path), wanted)
    rename(tmp_path, "language_model.lm_head.", "lm_head.")
    rename(tmp_path, "language_model.model.", "model.language_model.")
    assert_close(logits(tmp_path), wanted)


def test_an_older_file_has_the_keys_at_the_top_level(tmp_path: Path) -> None:
    model = write_combined(tmp_path, "qwen2_5_vl")
    file = tmp_path / "config.json"
    config = json.loads(file.read_text())
    text = config.pop("text_config")
    text.pop("model_type")
    sections = {"type": "mrope", "mrope_section": [1, 1, 2]}
    text |= {"rope_scaling": sections, "rope_theta": 1e6, "rope_parameters": None}
    file.write_text(json.dumps(text | config))
    assert_close(logits(tmp_path), expected(model))


@pytest.mark.parametrize("kind", ["llama", "mistral", "qwen2", "qwen3", "gemma3_text",
                                  "qwen2_vl_text", "qwen2_5_vl_text", "qwen3_vl_text"])  # fmt: skip
def test_keys_that_are_left_out_have_the_values_of_transformers(kind: str) -> None:
    theirs = CONFIG_MAPPING[kind]().to_dict()
    rope = theirs["rope_parameters"]
    theirs["rope_theta"] = rope.get("full_attention", rope)["rope_theta"]
    base = 1_000_000.0 if kind == "gemma3_text" else 10_000.0  # of the family
    ours = {"rope_theta": base, **text_defaults(kind)}
    assert len(ours) > 8
    for key, value in ours.items():
        assert theirs[key] == (theirs["num_attention_heads"] if value is None else value), key


def test_sizes_may_be_left_out_of_the_text_config(gemma: tuple[Path, Any], tmp_path: Path) -> None:
    config = json.loads((gemma[0] / "config.json").read_text())
    text = config["text_config"]
    for key in ("num_attention_heads", "num_key_value_heads", "head_dim", "rms_norm_eps"):
        del text[key]
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").write_bytes((gemma[0] / "model.safetensors").read_bytes())
    shape = config_of(ModelFolder(tmp_path))
    assert (shape.num_heads, shape.num_kv_heads, shape.head_width) == (8, 4, 256)


def test_keys_of_the_complete_model_apply(gemma: tuple[Path, Any], tmp_path: Path) -> None:
    for file in gemma[0].glob("*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    edit(tmp_path / "config.json", eos_token_id=[3, 4])
    config = ModelFolder(tmp_path).config
    assert config["eos_token_id"] == [3, 4]
    edit(tmp_path / "config.json", tie_word_embeddings=False)
    with pytest.raises(ModelFileError, match=r"tie_word_embeddings is False"):
        weights_of(ModelFolder(tmp_path))
    edit(tmp_path / "config.json", quantization_config={"quant_method": "unheard-of"})
    with pytest.raises(ModelFileError, match="unheard-of"):
        ModelFolder(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"text_config": None}, "text_config is None, not an object"),
        ({"text_config": 3}, "text_config is 3, not an object"),
        ({"text_config": {"model_type": "mamba"}}, "family 'mamba'"),
        ({"architectures": ["Gemma3ForSequenceClassification"]}, "architectures"),
        ({"auto_map": {"AutoModel": "modeling.Model"}}, "Python code"),
    ],
)
def test_what_is_not_a_language_model_is_rejected(
    changes: dict[str, Any], message: str, gemma: tuple[Path, Any], tmp_path: Path
) -> None:
    for file in gemma[0].glob("*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    edit(tmp_path / "config.json", **changes)
    with pytest.raises(ModelFileError, match=message):
        weights_of(ModelFolder(tmp_path))
