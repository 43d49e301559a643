"""Write a trained decoder to a model folder, which the engine and transformers can read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from archon.engine.files.folder import CONFIG, ModelFolder
from archon.engine.model.config import DecoderConfig, ModelFile, shape_keys
from archon.engine.model.families.traits import HEAD
from archon.lm.local.tokenizer import TokenizerConfig
from archon.train.decoder import TrainableDecoder

_TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "generation_config.json",
    "chat_template.jinja", "additional_chat_templates/default.jinja",
)  # fmt: skip


def can_save(config: DecoderConfig, source: ModelFile) -> bool:
    """Return True if the configuration of a completely trained model can be written.

    It is made from the sizes if these define the model, and else copied from the model's folder. A
    GGUF file has none.
    """
    return isinstance(source, ModelFolder) or config.is_plain


def save_decoder(
    model: TrainableDecoder,
    path: Path,
    dtype: torch.dtype = torch.float32,
    source: ModelFolder | None = None,
) -> None:
    """Write a decoder's ``config.json`` and ``model.safetensors`` to a folder.

    Parameters
    ----------
    source
        Folder of the model before the training, whose configuration is kept if it has more than
        sizes.
    """
    path.mkdir(parents=True, exist_ok=True)
    tensors = {
        name: tensor.detach().to("cpu", dtype).contiguous()
        for name, tensor in model.state_dict().items()
        if not (model.tied and name == HEAD.hf)
    }
    save_file(tensors, path / "model.safetensors", {"format": "pt"})
    config = _config_json(model.config, model.tied)
    if source is not None and not model.config.is_plain:
        config = source.config | {"tie_word_embeddings": model.tied}
        config.pop("quantization_config", None)
        for key in ("torch_dtype", "dtype"):
            if key in config:
                config[key] = str(dtype).removeprefix("torch.")
    _write_json(path / CONFIG, config)


def save_tokenizer(rules: TokenizerConfig, path: Path) -> None:
    """Write the tokenizer files of a model that was loaded from a GGUF file."""
    state = json.loads(rules.pieces.tokenizer.to_str())
    # Readers ignore the id of an added token unless the vocabulary has the token too.
    vocabulary = state["model"]["vocab"]
    if isinstance(vocabulary, dict):
        vocabulary |= rules.special_ids
    else:
        for token in rules.added_tokens:
            vocabulary[token.id][0] = token.text
    state["added_tokens"] = [
        {
            "id": token.id, "content": token.text, "special": token.is_control,
            "normalized": token.normalized, "single_word": token.single_word,
            "lstrip": token.lstrip, "rstrip": token.rstrip,
        }
        for token in sorted(rules.added_tokens, key=lambda token: token.id)
    ]  # fmt: skip
    _write_json(path / "tokenizer.json", state)
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **rules.template_tokens,
        "chat_template": rules.chat_template,
    }
    _write_json(path / "tokenizer_config.json", {k: v for k, v in config.items() if v is not None})
    _write_json(path / "generation_config.json", {"eos_token_id": sorted(rules.stop_ids)})


def copy_tokenizer_files(source: ModelFolder, path: Path) -> None:
    """Copy the tokenizer files of a model that was loaded from a folder."""
    for name in _TOKENIZER_FILES:
        if (source.path / name).is_file():
            (path / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(source.path / name, path / name)


def _config_json(config: DecoderConfig, tied: bool) -> dict[str, Any]:
    biases = config.biases or frozenset()
    return {
        "model_type": config.family,
        "architectures": [f"{config.traits.hf_class}ForCausalLM"],
        **shape_keys(config),
        "rope_theta": config.rope_base,
        "hidden_act": "silu",
        "attention_bias": "q_bias" in biases,
        **({"mlp_bias": True} if "gate_bias" in biases else {}),
        "tie_word_embeddings": tied,
    }


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
