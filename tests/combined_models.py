"""Tiny random models that also read images or sound, as transformers saves them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tiny_folders import tiny_tokenizer
from tiny_models import CHAT_TEMPLATE, tiny_vocabulary
from transformers import (
    CONFIG_MAPPING,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoModelForMultimodalLM,
)

_TEXT = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 512,
    "pad_token_id": None, "bos_token_id": None, "eos_token_id": None,
}  # fmt: skip
_OTHER_SIZES = {
    "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
    "num_heads": 2, "depth": 1, "embed_dim": 16, "image_size": 28, "patch_size": 14,
    "out_hidden_size": 32, "encoder_layers": 1, "encoder_attention_heads": 2, "d_model": 16,
    "encoder_ffn_dim": 16, "num_mel_bins": 8, "max_source_positions": 8, "output_dim": 32,
    "deepstack_visual_indexes": [0], "vocab_size": 64,
}  # fmt: skip
"""Sizes of encoders; each has some of them."""
_SECTIONS = {
    "rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 1e6}
}
TEXT_TYPES: dict[str, tuple[str, dict[str, Any]]] = {
    "gemma3": (
        "gemma3_text",
        {"num_hidden_layers": 6, "sliding_window": 16, "query_pre_attn_scalar": 8},
    ),
    "glmasr": ("llama", {}),
    "got_ocr2": ("qwen2", {}),
    "idefics2": ("mistral", {}),
    "idefics3": ("llama", {}),
    "internvl": ("qwen2", {}),
    "lighton_ocr": ("qwen3", {}),
    "llava": ("llama", {}),
    "llava_next": ("mistral", {}),
    "llava_next_video": ("llama", {}),
    "llava_onevision": ("qwen2", {}),
    "mistral3": ("mistral", {}),
    "ovis2": ("qwen2", {}),
    "qwen2_5_vl": ("qwen2_5_vl_text", _SECTIONS),
    "qwen2_audio": ("qwen2", {}),
    "qwen2_vl": ("qwen2_vl_text", _SECTIONS),
    "qwen3_asr": ("qwen3", {}),
    "qwen3_vl": ("qwen3_vl_text", _SECTIONS),
    "smolvlm": ("llama", {}),
    "video_llama_3": ("qwen2", {}),
    "video_llava": ("llama", {}),
    "vipllava": ("llama", {}),
    "voxtral": ("llama", {}),
}
"""``model_type`` → that of its language model, and more keys of this."""


def combined_model(kind: str, text: str = "", **outer: Any) -> Any:
    """A random model whose logits are neither flat nor saturated."""
    config_class = CONFIG_MAPPING[kind]
    text, more = (text, {}) if text else TEXT_TYPES[kind]
    known = config_class().to_dict()
    parts: dict[str, Any] = {
        "text_config": {**_TEXT, **more, "vocab_size": len(tiny_vocabulary()), "model_type": text}
    }
    for name in ("vision_config", "audio_config"):
        if isinstance(defaults := known.get(name), dict):
            kept = {key: defaults[key] for key in ("model_type",) if key in defaults}
            parts[name] = kept | {k: v for k, v in _OTHER_SIZES.items() if k in defaults}
    if kind == "ovis2":  # makes a head of these sizes, and drops it
        outer |= {"vocab_size": 64, "hidden_size": _TEXT["hidden_size"]}
    config = config_class(**parts, **outer)
    classes = (AutoModelForCausalLM, AutoModelForImageTextToText, AutoModelForMultimodalLM)
    loader = next(c for c in classes if type(config) in c._model_mapping)
    torch.manual_seed(0)
    model = loader.from_config(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape)
            if "norm" in name:
                parameter.add_(0.1 * noise)
            elif parameter.dim() == 1:
                parameter.copy_(0.2 * noise)
            else:
                size = 1.5 if "embed" in name or "lm_head" in name else parameter.shape[-1] ** -0.5
                parameter.copy_(size * noise)
    model.tie_weights()
    return model.eval()


def write_combined(path: Path, kind: str, text: str = "", **outer: Any) -> Any:
    """Write a model and the tiny tokenizer to a folder; return the model."""
    model = combined_model(kind, text, **outer)
    model.save_pretrained(path)
    tiny_tokenizer(CHAT_TEMPLATE).save_pretrained(path)
    return model
