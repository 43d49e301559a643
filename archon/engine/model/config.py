"""Shape of a decoder, read from a GGUF file or a folder's ``config.json``."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archon.engine.files.folder import CONFIG, ModelFolder
from archon.engine.files.gguf import GGUFFile
from archon.engine.files.key_rules import CheckedKeys, shown
from archon.engine.model.config_keys import OTHER_GGUF_RULES
from archon.engine.model.families import FAMILIES
from archon.engine.model.families.traits import EMBEDDING, FamilyTraits
from archon.errors import ModelFileError

ModelFile = GGUFFile | ModelFolder

_GGUF_SIZES = {
    "width": "embedding_length", "ffn_width": "feed_forward_length", "num_layers": "block_count",
    "num_heads": "attention.head_count", "num_kv_heads": "attention.head_count_kv",
    "head_width": "attention.key_length", "context_length": "context_length",
}  # fmt: skip
_HF_SIZES = {
    "vocab_size": "vocab_size", "width": "hidden_size", "ffn_width": "intermediate_size",
    "num_layers": "num_hidden_layers", "num_heads": "num_attention_heads",
    "num_kv_heads": "num_key_value_heads", "head_width": "head_dim",
    "context_length": "max_position_embeddings",
}  # fmt: skip
"""Fields of ``DecoderConfig`` → keys of GGUF files, without the family's prefix, and of
``config.json``."""


@dataclass(frozen=True, slots=True)
class DecoderConfig:
    """Shape and family of a decoder."""

    family: str
    """Name of the family (``archon.engine.model.families.FAMILIES``)."""
    num_layers: int
    width: int
    """E: width of the model, that is, of the residual stream."""
    ffn_width: int
    """F: width of the feed-forward network."""
    num_heads: int
    """H: number of query heads."""
    num_kv_heads: int
    """G: number of key-value heads, each shared by H / G query heads (grouped-query attention:
    Ainslie et al. 2023, arXiv 2305.13245)."""
    head_width: int
    """D: width of a head."""
    vocab_size: int
    """V: number of tokens in the vocabulary."""
    context_length: int
    """Maximum length of a text, in tokens, for which the model was trained."""
    rope_base: float = 10_000.0
    """Base of the rotary frequencies (``archon.engine.model.rope``)."""
    norm_epsilon: float = 1e-5
    """ε of RMSNorm."""

    def __post_init__(self) -> None:
        sizes = (
            self.num_layers, self.width, self.ffn_width, self.num_heads, self.num_kv_heads,
            self.head_width, self.vocab_size, self.context_length,
        )  # fmt: skip
        if min(sizes) < 1 or self.rope_base <= 0 or self.norm_epsilon < 0:
            raise ModelFileError(
                "invalid decoder: all sizes and rope_base must be above 0, and norm_epsilon at "
                f"least 0: {self}"
            )
        if self.num_heads % self.num_kv_heads or self.head_width % 2:
            raise ModelFileError(
                f"{self.num_heads} query heads of width {self.head_width} cannot share "
                f"{self.num_kv_heads} key-value heads: the number of query heads must be a "
                "multiple of that number, and the width must be even"
            )

    @property
    def traits(self) -> FamilyTraits:
        """Traits of the family."""
        return FAMILIES[self.family]


def config_of(file: ModelFile) -> DecoderConfig:
    """Read the shape of the decoder in a file or folder.

    Raises
    ------
    ModelFileError
        A key is missing, or the model has a feature that is not supported.
    """
    return _gguf_config(file) if isinstance(file, GGUFFile) else _folder_config(file)


def _family_of(name: object, path: Path) -> FamilyTraits:
    for family, traits in FAMILIES.items():
        if name == family:
            return traits
    known = ", ".join(FAMILIES)
    raise ModelFileError(f"{path}: family {name!r} is not supported; supported families: {known}")


ROPE_FACTORS = "rope_freqs.weight"
"""GGUF tensor of the factors by which Llama 3.1 and later scale each rotary frequency."""


def _gguf_config(file: GGUFFile) -> DecoderConfig:
    family = _family_of(file.metadata.get("general.architecture"), file.path)
    keys = CheckedKeys(file.path, file.metadata, f"{family.name}.")
    number, count = keys.number, keys.count
    _check_gguf_keys(file, family)
    _refuse_gguf_scaling(file, keys)
    if EMBEDDING.gguf not in file.tensors:
        raise ModelFileError(f"{file.path}: the token embedding {EMBEDDING.gguf!r} is missing")
    num_heads = count("attention.head_count")
    width = count("embedding_length")
    head_width = count("attention.key_length", width // max(num_heads, 1))
    if count("rope.dimension_count", head_width) != head_width:
        raise ModelFileError(
            f"{file.path}: rotary embeddings that cover only part of each head are not supported"
        )
    if count("attention.value_length", head_width) != head_width:
        raise ModelFileError(f"{file.path}: keys and values of different widths are not supported")
    defaults = {"num_kv_heads": num_heads, "head_width": head_width}
    config = DecoderConfig(
        family=family.name,
        vocab_size=file.tensors[EMBEDDING.gguf].shape[0],
        rope_base=float(number("rope.freq_base", 10_000.0)),
        norm_epsilon=float(number("attention.layer_norm_rms_epsilon")),
        **{field: count(key, defaults.get(field)) for field, key in _GGUF_SIZES.items()},
    )
    scale = number("attention.scale", 0)
    if scale and not math.isclose(scale, head_width**-0.5, rel_tol=1e-6):
        raise keys.unsupported("attention.scale")
    if 0 < number("attention.sliding_window", 0) < config.context_length:
        raise keys.unsupported("attention.sliding_window")
    if count("embedding_length_out", 0) not in (0, width):
        raise keys.unsupported("embedding_length_out")
    return config


def _check_gguf_keys(file: GGUFFile, family: FamilyTraits) -> None:
    keys, prefix = file.metadata.items(), f"{family.name}."
    own = {key.removeprefix(prefix): value for key, value in keys if key.startswith(prefix)}
    family.gguf_rules.check(own, file.path, prefix)
    others = {key: value for key, value in keys if not key.startswith(prefix)}
    OTHER_GGUF_RULES.check(others, file.path)


def _refuse_gguf_scaling(file: GGUFFile, keys: CheckedKeys) -> None:
    """Reject rotary scaling by any factor other than 1. Scaling without a type is linear."""
    kind = file.metadata.get(f"{keys.prefix}rope.scaling.type", "linear")
    # The newer key comes first; 0 means that there is no factor.
    factor = keys.number("rope.scaling.factor", keys.number("rope.scale_linear", 0)) or 1
    if kind == "none" or (kind == "linear" and factor == 1):
        if ROPE_FACTORS not in file.tensors or bool((file.tensor(ROPE_FACTORS) == 1).all()):
            return
        raise ModelFileError(
            f"{file.path}: tensor {ROPE_FACTORS!r}: rotary scaling is not supported"
        )
    raise ModelFileError(
        f"{file.path}: {keys.prefix}rope.scaling.type is {shown(kind)} by {factor:g}: "
        "rotary scaling is not supported"
    )


def _folder_config(folder: ModelFolder) -> DecoderConfig:
    config, path = folder.config, folder.path / CONFIG
    family = _family_of(config.get("model_type"), path)
    keys = CheckedKeys(path, config)
    family.config_rules.check(config, path)
    _refuse_other_classes(config, path)
    rope = _rope_keys(config, path)
    if config.get("hidden_act") not in ("silu", "swish", None):
        raise keys.unsupported("hidden_act")
    num_heads, width = keys.count("num_attention_heads"), keys.count("hidden_size")
    default_head_width = None if family.requires_head_dim else width // max(num_heads, 1)
    defaults = {"num_kv_heads": num_heads, "head_width": default_head_width}
    result = DecoderConfig(
        family=family.name,
        rope_base=float(rope.number("rope_theta", keys.number("rope_theta", 10_000.0))),
        norm_epsilon=float(keys.number("rms_norm_eps")),
        **{field: keys.count(key, defaults.get(field)) for field, key in _HF_SIZES.items()},
    )
    _refuse_sliding_window(result, keys)
    return result


_BARE_CLASSES = "|".join(traits.hf_class for traits in FAMILIES.values())
_CLASS = re.compile(rf"\w+ForCausalLM|\w+LMHeadModel|({_BARE_CLASSES})Model")


def _refuse_other_classes(config: Mapping[str, Any], path: Path) -> None:
    """Reject models with a head for another task, and models that need code from their folder."""
    classes = config.get("architectures") or []
    for name in classes if isinstance(classes, list) else [classes]:
        if not isinstance(name, str) or _CLASS.fullmatch(name) is None:
            raise ModelFileError(
                f"{path}: architectures is {shown(classes)}: only models with a language-model "
                "head are supported"
            )
    custom = config.get("auto_map") or {}
    if not isinstance(custom, Mapping) or any(key.startswith("AutoModel") for key in custom):
        raise ModelFileError(
            f"{path}: auto_map is {shown(custom)}: the model needs Python code from its folder, "
            "which Archon does not run"
        )


def _rope_keys(config: Mapping[str, Any], path: Path) -> CheckedKeys:
    """Return the keys of the rotary embedding; raise an error if they scale it.

    Newer files have all of these keys in ``rope_parameters``. Older files have the scaling in
    ``rope_scaling`` and the base at the top level.
    """
    for key in ("rope_scaling", "rope_parameters"):
        rope = config.get(key) or {}
        if not isinstance(rope, Mapping):
            raise ModelFileError(f"{path}: {key} is {shown(rope)}: rotary scaling is not supported")
        kind = rope.get("rope_type", rope.get("type", "default"))
        scales_by_one = kind in ("linear", "llama3") and rope.get("factor") == 1
        nested = any(isinstance(value, Mapping) for value in rope.values())
        if not (kind == "default" or scales_by_one) or nested or rope.get("mrope_section"):
            value = shown(dict(rope)) if kind == "default" else repr(kind)
            raise ModelFileError(f"{path}: {key} is {value}: rotary scaling is not supported")
    rope = config.get("rope_scaling") or config.get("rope_parameters") or {}
    for holder in (rope, config):
        if holder.get("partial_rotary_factor") not in (1, None):
            raise ModelFileError(
                f"{path}: partial_rotary_factor is {holder['partial_rotary_factor']!r}: rotary "
                "embeddings that cover only part of each head are not supported"
            )
    return CheckedKeys(path, rope)


_DEFAULT_WINDOW, _DEFAULT_FULL_LAYERS = 4096, 28
"""Defaults of Qwen2 and Qwen3 in transformers."""


def _refuse_sliding_window(shape: DecoderConfig, keys: CheckedKeys) -> None:
    """Reject models with layers in which a token attends only to the most recent tokens."""
    config = keys.values
    kinds = config.get("layer_types") or []
    other = next((kind for kind in kinds if kind != "full_attention"), None)
    if other is not None:
        raise ModelFileError(f"{keys.path}: layer_types has {other!r}, which is not supported")
    used = config.get("use_sliding_window")
    if kinds or used is False:
        return
    window = config.get("sliding_window")
    is_opt_in = shape.traits.window_is_opt_in
    if used is None and (is_opt_in or window is None):
        return
    if is_opt_in:
        if keys.count("max_window_layers", _DEFAULT_FULL_LAYERS) >= shape.num_layers:
            return
        window = _DEFAULT_WINDOW if window is None else window
    if window is None or 0 < keys.number("sliding_window", window) < shape.context_length:
        raise keys.unsupported("use_sliding_window" if used else "sliding_window")


def shape_keys(config: DecoderConfig) -> dict[str, Any]:
    """Return a decoder's sizes and ``rms_norm_eps`` as keys of ``config.json``.

    The rotary base is not included, because its key depends on the format version.
    """
    sizes = {key: getattr(config, field) for field, key in _HF_SIZES.items()}
    return {**sizes, "rms_norm_eps": config.norm_epsilon}
