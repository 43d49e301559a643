"""The language model in the folder of a model that also reads images or sound.

Its configuration is ``text_config`` in ``config.json``, or the file itself in older folders. Its
tensors have a prefix that depends on the version of transformers. Here both become those of a
folder that has the language model only, so that no other code knows about the other parts.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from archon.engine.files.key_rules import shown
from archon.errors import ModelFileError

COMBINED = frozenset({
    "gemma3", "glmasr", "got_ocr2", "idefics2", "idefics3", "internvl", "lighton_ocr", "llava",
    "llava_next", "llava_next_video", "llava_onevision", "mistral3", "ovis2", "qwen2_5_vl",
    "qwen2_audio", "qwen2_vl", "qwen3_asr", "qwen3_vl", "smolvlm", "video_llama_3", "video_llava",
    "vipllava", "voxtral",
})  # fmt: skip
"""``model_type`` of models that compute a text without images or sound as their language model
does. Others change it, for example by attention to later tokens (PaliGemma)."""
_SAME_AS = {"qwen2_vl_text": "qwen2", "qwen2_5_vl_text": "qwen2", "qwen3_vl_text": "qwen3"}
"""``model_type`` of language models that other families compute, if all tokens are text."""
_FLAT = {"qwen2_vl": "qwen2_vl_text", "qwen2_5_vl": "qwen2_5_vl_text"}
"""Models whose older files have the keys of the language model at the top level."""
_OUTER_KEYS = (
    "tie_word_embeddings", "eos_token_id", "bos_token_id", "pad_token_id", "auto_map",
    "quantization_config", "compression_config",
)  # fmt: skip
"""Keys of the complete model that its language model follows."""
_OTHER_PARTS = ("vision_config", "audio_config", "image_token_id", "video_token_id")
_PREFIXES = (
    "language_model.model.", "model.language_model.", "model.text_model.", "language_model.",
    "model.",
)  # fmt: skip
_HEADS = ("language_model.lm_head.", "lm_head.")
_SIZES = (
    "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
    "num_key_value_heads", "max_position_embeddings", "rms_norm_eps",
)  # fmt: skip
_DEFAULT_SIZES: Mapping[str, tuple[float | None, ...]] = {
    "llama": (32_000, 4096, 11_008, 32, 32, None, 2048, 1e-6),
    "mistral": (32_000, 4096, 14_336, 32, 32, 8, 131_072, 1e-6),
    "qwen2": (151_936, 4096, 22_016, 32, 32, 32, 32_768, 1e-6),
    "qwen3": (151_936, 4096, 22_016, 32, 32, 32, 32_768, 1e-6),
    "gemma3_text": (262_208, 2304, 9216, 26, 8, 4, 131_072, 1e-6),
    "qwen2_vl_text": (152_064, 8192, 29_568, 80, 64, 8, 32_768, 1e-5),
    "qwen2_5_vl_text": (152_064, 8192, 29_568, 80, 64, 8, 32_768, 1e-5),
    "qwen3_vl_text": (151_936, 4096, 22_016, 32, 32, 32, 128_000, 1e-6),
}
"""``model_type`` → transformers' values of ``_SIZES``. A ``text_config`` may leave them out: older
versions wrote only what differs from them."""
_MORE_DEFAULTS: Mapping[str, Mapping[str, float]] = {
    "qwen3": {"head_dim": 128},
    "qwen2_vl_text": {"rope_theta": 1_000_000.0},
    "qwen2_5_vl_text": {"rope_theta": 1_000_000.0},
    "qwen3_vl_text": {"head_dim": 128, "rope_theta": 500_000.0},
}
_Tensor = TypeVar("_Tensor")


def is_combined(config: Mapping[str, Any]) -> bool:
    """Return True if ``config.json`` describes a model with other parts than a language model."""
    kind = config.get("model_type")
    return isinstance(kind, str) and kind in COMBINED


def text_config(config: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Return the configuration of the language model as a separate ``config.json``.

    Parameters
    ----------
    config
        That of the complete model (``is_combined``).
    path
        Its file, for error messages.

    Raises
    ------
    ModelFileError
        There is no configuration of a language model.
    """
    kind, own = config["model_type"], config.get("text_config")
    if own is None and kind in _FLAT:
        own = {key: value for key, value in config.items() if key not in _OTHER_PARTS}
        own["model_type"] = _FLAT[kind]
    if not isinstance(own, Mapping):
        raise ModelFileError(f"{path}: text_config is {shown(own)}, not an object")
    outer = {key: config[key] for key in _OUTER_KEYS if config.get(key) is not None}
    name = own.get("model_type")
    found = {**text_defaults(name), **own, **outer, "architectures": _text_classes(config)}
    if isinstance(name, str) and name in _SAME_AS:
        found["model_type"] = _SAME_AS[name]
        for key in ("rope_scaling", "rope_parameters"):
            found[key] = _rope_of_texts(found.get(key))
    return found


def _rope_of_texts(parameters: Any) -> Any:
    """Return the parameters without the parts of channels for time, height and width.

    The positions of a text are the same in all three, so that all channels rotate as usual.
    """
    if not isinstance(parameters, Mapping):
        return parameters
    rope = {k: v for k, v in parameters.items() if k not in ("mrope_section", "mrope_interleaved")}
    return {k: "default" if v == "mrope" else v for k, v in rope.items()}


def text_defaults(name: object) -> dict[str, Any]:
    """Return the keys that the ``text_config`` of a ``model_type`` may leave out."""
    if not isinstance(name, str):
        return {}
    sizes = dict(zip(_SIZES, _DEFAULT_SIZES.get(name, ()), strict=False))
    return {**sizes, **_MORE_DEFAULTS.get(name, {})}


def _text_classes(config: Mapping[str, Any]) -> Any:
    """Return ``architectures``, with language models for classes that generate texts."""
    classes = config.get("architectures")
    if not isinstance(classes, list):
        return classes
    return [str(name).replace("ForConditionalGeneration", "ForCausalLM") for name in classes]


def text_tensors(tensors: Mapping[str, _Tensor]) -> dict[str, _Tensor]:
    """Return the tensors of the language model under the names that it has in a separate folder.

    The others are left out.
    """
    prefix = next(
        (p for p in _PREFIXES if any(name.startswith(p + "layers.") for name in tensors)), "model."
    )
    found: dict[str, _Tensor] = {}
    for name, tensor in tensors.items():
        if name.startswith(prefix):
            found["model." + name.removeprefix(prefix)] = tensor
        for head in _HEADS:
            if name.startswith(head):
                found["lm_head." + name.removeprefix(head)] = tensor
    return found
