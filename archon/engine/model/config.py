"""The shape of a decoder, as a GGUF file or a folder's ``config.json`` states it."""

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
"""Fields of ``DecoderConfig`` → keys of GGUF files, without the family, and of ``config.json``."""


@dataclass(frozen=True, slots=True)
class DecoderConfig:
    """The shape of one decoder, and its family."""

    family: str
    """Name of its family (``archon.engine.model.families.FAMILIES``)."""
    num_layers: int
    width: int
    """E, the model's width."""
    ffn_width: int
    num_heads: int
    """H, query heads."""
    num_kv_heads: int
    """G, key-value heads; each serves H / G query heads (grouped-query attention)."""
    head_width: int
    vocab_size: int
    context_length: int
    """Positions that the model was trained for, in tokens."""
    rope_base: float = 10_000.0
    norm_epsilon: float = 1e-5

    def __post_init__(self) -> None:
        sizes = (
            self.num_layers, self.width, self.ffn_width, self.num_heads, self.num_kv_heads,
            self.head_width, self.vocab_size, self.context_length,
        )  # fmt: skip
        if min(sizes) < 1 or self.rope_base <= 0 or self.norm_epsilon < 0:
            raise ModelFileError(f"a decoder cannot have these sizes: {self}")
        if self.num_heads % self.num_kv_heads or self.head_width % 2:
            raise ModelFileError(
                f"{self.num_heads} query heads of width {self.head_width} "
                f"cannot share {self.num_kv_heads} key-value heads"
            )

    @property
    def traits(self) -> FamilyTraits:
        """What its family has and lacks."""
        return FAMILIES[self.family]


def config_of(file: ModelFile) -> DecoderConfig:
    """Read the decoder's shape from what a file or a folder says of itself.

    Raises
    ------
    ModelFileError
        A family or a rotary scaling that is not supported, or a key that is missing.
    """
    return _gguf_config(file) if isinstance(file, GGUFFile) else _folder_config(file)


def _known_family(name: object, path: Path) -> FamilyTraits:
    for family, traits in FAMILIES.items():
        if name == family:
            return traits
    known = ", ".join(FAMILIES)
    raise ModelFileError(f"{path}: family {name!r} is not supported ({known} are)")


ROPE_FACTORS = "rope_freqs.weight"
"""Tensor of a GGUF file that scales each rotary frequency, as Llama 3.1 and later do."""


def _gguf_config(file: GGUFFile) -> DecoderConfig:
    family = _known_family(file.metadata.get("general.architecture"), file.path)
    keys = CheckedKeys(file.path, file.metadata, f"{family.name}.")
    number, count = keys.number, keys.count
    _check_gguf_keys(file, family)
    _refuse_gguf_scaling(file, keys)
    if EMBEDDING.gguf not in file.tensors:
        raise ModelFileError(f"{file.path}: has no token embedding")
    num_heads = count("attention.head_count")
    width = count("embedding_length")
    head_width = count("attention.key_length", width // max(num_heads, 1))
    if count("rope.dimension_count", head_width) != head_width:
        raise ModelFileError(
            f"{file.path}: rotary positions of a part of each head are not supported"
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
    """Refuse rotary scaling other than by 1. Without a type, a factor is a linear one."""
    kind = file.metadata.get(f"{keys.prefix}rope.scaling.type", "linear")
    # The newer key first; zero stands for no factor.
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
    family = _known_family(config.get("model_type"), path)
    keys = CheckedKeys(path, config)
    family.config_rules.check(config, path)
    _refuse_other_classes(config, path)
    rope = _rope_keys(config, path)
    if config.get("hidden_act") not in ("silu", "swish", None):
        raise keys.unsupported("hidden_act")
    num_heads, width = keys.count("num_attention_heads"), keys.count("hidden_size")
    usual_head_width = None if family.states_head_width else width // max(num_heads, 1)
    defaults = {"num_kv_heads": num_heads, "head_width": usual_head_width}
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
    """Refuse a model with another head, and one whose code the folder brings along."""
    classes = config.get("architectures") or []
    for name in classes if isinstance(classes, list) else [classes]:
        if not isinstance(name, str) or _CLASS.fullmatch(name) is None:
            raise ModelFileError(
                f"{path}: architectures is {shown(classes)}: a model with another head than a "
                "language model's is not supported"
            )
    custom = config.get("auto_map") or {}
    if not isinstance(custom, Mapping) or any(key.startswith("AutoModel") for key in custom):
        raise ModelFileError(
            f"{path}: auto_map is {shown(custom)}: the model needs Python code from its folder, "
            "which Archon does not run"
        )


def _rope_keys(config: Mapping[str, Any], path: Path) -> CheckedKeys:
    """The keys of the rotary embedding, once they are seen to scale nothing.

    Newer files hold them, and the base with them, in ``rope_parameters``; older ones say in
    ``rope_scaling`` what is scaled, and the base at the top.
    """
    for key in ("rope_scaling", "rope_parameters"):
        rope = config.get(key) or {}
        if not isinstance(rope, Mapping):
            raise ModelFileError(f"{path}: {key} is {shown(rope)}: rotary scaling is not supported")
        kind = rope.get("rope_type", rope.get("type", "default"))
        by_nothing = kind in ("linear", "llama3") and rope.get("factor") == 1
        nested = any(isinstance(value, Mapping) for value in rope.values())
        if not (kind == "default" or by_nothing) or nested or rope.get("mrope_section"):
            said = shown(dict(rope)) if kind == "default" else repr(kind)
            raise ModelFileError(f"{path}: {key} is {said}: rotary scaling is not supported")
    rope = config.get("rope_scaling") or config.get("rope_parameters") or {}
    for holder in (rope, config):
        if holder.get("partial_rotary_factor") not in (1, None):
            raise ModelFileError(
                f"{path}: partial_rotary_factor is {holder['partial_rotary_factor']!r}: rotary "
                "positions of a part of each head are not supported"
            )
    return CheckedKeys(path, rope)


_USUAL_WINDOW, _USUAL_FULL_LAYERS = 4096, 28
"""What Qwen2 and Qwen3 use in transformers where the file says nothing."""


def _refuse_sliding_window(shape: DecoderConfig, keys: CheckedKeys) -> None:
    """Refuse layers in which a token attends to the latest ones alone."""
    config = keys.values
    kinds = config.get("layer_types") or []
    other = next((kind for kind in kinds if kind != "full_attention"), None)
    if other is not None:
        raise ModelFileError(f"{keys.path}: layer_types names {other!r}, which is not supported")
    used = config.get("use_sliding_window")
    if kinds or used is False:
        return
    window = config.get("sliding_window")
    is_opt_in = shape.traits.window_is_opt_in
    if used is None and (is_opt_in or window is None):
        return
    if is_opt_in:
        if keys.count("max_window_layers", _USUAL_FULL_LAYERS) >= shape.num_layers:
            return
        window = _USUAL_WINDOW if window is None else window
    if window is None or 0 < keys.number("sliding_window", window) < shape.context_length:
        raise keys.unsupported("use_sliding_window" if used else "sliding_window")


def shape_keys(config: DecoderConfig) -> dict[str, Any]:
    """The keys of ``config.json`` for a decoder's sizes, without its rotary base, whose place
    depends on the version of the format."""
    sizes = {key: getattr(config, field) for field, key in _HF_SIZES.items()}
    return {**sizes, "rms_norm_eps": config.norm_epsilon}
