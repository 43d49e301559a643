"""Shape of a decoder in a folder, whose ``config.json`` has the keys of transformers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from archon.engine.files.folder import CONFIG, ModelFolder
from archon.engine.files.key_rules import CheckedKeys, shown
from archon.engine.model.config_rope import has_dynamic_rope, read_rope
from archon.engine.model.decoder_config import (
    DecoderConfig,
    ExpertConfig,
    LayerConfig,
    unsupported_family,
)
from archon.engine.model.families import FAMILIES
from archon.engine.model.families.layer_patterns import rope_layers
from archon.engine.model.families.traits import (
    ACTIVATION_NAMES,
    ATTENTION_BIASES,
    FFN_BIASES,
    QKV_BIASES,
    FamilyTraits,
)
from archon.engine.model.rope import Rope
from archon.errors import ModelFileError

_SIZES = {
    "vocab_size": "vocab_size", "width": "hidden_size", "ffn_width": "intermediate_size",
    "num_layers": "num_hidden_layers", "num_heads": "num_attention_heads",
    "num_kv_heads": "num_key_value_heads", "head_width": "head_dim",
    "context_length": "max_position_embeddings",
}  # fmt: skip
"""Fields of ``DecoderConfig`` → keys."""
_KINDS = ("full_attention", "sliding_attention")


def config_of_folder(folder: ModelFolder) -> DecoderConfig:
    """Read the shape of the decoder in a folder.

    Raises
    ------
    ModelFileError
        A key is missing, or the model has a feature that is not supported.
    """
    path, name = folder.path / CONFIG, folder.config.get("model_type")
    family = FAMILIES.get(name) if isinstance(name, str) else None
    if family is None:
        raise unsupported_family(name, FAMILIES, path)
    config = {**family.defaults, **folder.config}
    keys = CheckedKeys(path, config)
    family.config_rules.check(config, path)
    _refuse_other_classes(config, family, path)
    for key in ("hidden_act", "hidden_activation"):
        if config.get(key) not in (*ACTIVATION_NAMES[family.activation], None):
            raise keys.unsupported(key)
    sizes = _sizes(keys, family)
    shape = DecoderConfig(
        family=family.name,
        norm_epsilon=float(keys.number("rms_norm_eps")),
        biases=_biases(folder, family),
        experts=_experts(keys, family),
        dynamic_rope=has_dynamic_rope(keys, family),
        **_numbers(keys, family, sizes["width"]),
        **sizes,
    )
    rope = read_rope(keys, family, shape)
    return replace(shape, rope_base=rope.base, layers=_layers(keys, shape, rope))


def layer_windows(config: Mapping[str, Any], path: Path) -> tuple[int | None, ...]:
    """Return the sliding window of each layer, from the contents of a ``config.json`` alone.

    Parameters
    ----------
    path
        The file, for errors.

    Raises
    ------
    ModelFileError
        The family is not supported, or a key is missing or invalid.
    """
    name = config.get("model_type")
    family = FAMILIES.get(name) if isinstance(name, str) else None
    if family is None:
        raise unsupported_family(name, FAMILIES, path)
    keys = CheckedKeys(path, {**family.defaults, **config})
    shape = DecoderConfig(family=family.name, **_sizes(keys, family))
    window = _window(keys, shape)
    if window is None:
        return (None,) * len(shape.layers)
    return tuple(window if is_local else None for is_local in _sliding_layers(keys, shape))


def _sizes(keys: CheckedKeys, family: FamilyTraits) -> dict[str, Any]:
    num_heads, width = keys.count("num_attention_heads"), keys.count("hidden_size")
    default_head_width = None if family.requires_head_dim else width // max(num_heads, 1)
    defaults = {"num_kv_heads": num_heads, "head_width": default_head_width}
    return {field: keys.count(key, defaults.get(field)) for field, key in _SIZES.items()}


def _numbers(keys: CheckedKeys, family: FamilyTraits, width: int) -> dict[str, Any]:
    """Return the numbers that some families have, by fields of ``DecoderConfig``."""
    names = {**family.multipliers, **family.softcaps}
    numbers = {
        field: float(keys.number(name.hf))
        for field, name in names.items()
        if keys.values.get(name.hf) is not None
    }
    if family.scales_embedding:
        numbers["embedding_scale"] = width**0.5
    if family.query_scalar_key:
        numbers["attention_scale"] = float(keys.positive(family.query_scalar_key)) ** -0.5
    if family.logits_divisor is not None:
        numbers["logit_scale"] = 1 / keys.positive(family.logits_divisor.hf, 1)
    return numbers


def _experts(keys: CheckedKeys, family: FamilyTraits) -> ExpertConfig | None:
    num_experts = keys.count("num_experts", keys.values.get("num_local_experts", 0))
    if not family.experts or not num_experts:
        return None
    shared = keys.count("shared_expert_intermediate_size") if "shared_gate" in family.experts else 0
    return ExpertConfig(
        num_experts=num_experts,
        num_used=keys.count("num_experts_per_tok"),
        width=keys.count("moe_intermediate_size"),
        shared_width=shared,
        normalises=bool(keys.values.get("norm_topk_prob")),
    )


def _biases(folder: ModelFolder, family: FamilyTraits) -> frozenset[str]:
    """Return the biases that the configuration asks for, and check that no others are there."""
    config, wanted = folder.config, set(family.biases) if family.always_biased else set()
    present = {
        field: tensor
        for tensor in sorted(folder.tensors)
        for field, name in family.biases.items()
        if tensor.endswith(name.hf)
    }
    for key, group in (("attention_bias", ATTENTION_BIASES), ("mlp_bias", FFN_BIASES)):
        possible = family.biases.keys() & group.keys() - wanted
        if config.get(key):
            # Older models have no bias of the output, whatever the key is.
            wanted |= possible & (QKV_BIASES.keys() | FFN_BIASES.keys() | present.keys())
        elif unused := min((present[field] for field in possible & present.keys()), default=None):
            raise ModelFileError(
                f"{folder.path}: has a tensor {unused!r}, but {key} in {CONFIG} is "
                f"{config.get(key)!r}, so transformers ignores the tensor. If the model was "
                f"trained with biases, set {key} to true in {CONFIG}"
            )
    return frozenset(wanted)


def _refuse_other_classes(config: Mapping[str, Any], family: FamilyTraits, path: Path) -> None:
    """Reject models with a head for another task, and models that need code from their folder."""
    classes = config.get("architectures") or []
    for name in classes if isinstance(classes, list) else [classes]:
        if not isinstance(name, str) or _CLASS.fullmatch(name) is None:
            raise ModelFileError(
                f"{path}: architectures is {shown(classes)}: only models with a language-model "
                "head are supported"
            )
    custom = config.get("auto_map") or {}
    codes = custom.items() if isinstance(custom, Mapping) else [("AutoModel", custom)]
    # The folder may still have the code of a family that is part of transformers by now.
    known = {f"{family.hf_class}Model", f"{family.hf_class}ForCausalLM"}
    if any(
        str(key).startswith("AutoModel") and str(code).rpartition(".")[2] not in known
        for key, code in codes
    ):
        raise ModelFileError(
            f"{path}: auto_map is {shown(custom)}: the model needs Python code from its folder, "
            "which Archon does not run"
        )


_BARE_CLASSES = "|".join(traits.hf_class for traits in FAMILIES.values())
_CLASS = re.compile(rf"\w+ForCausalLM|\w+LMHeadModel|({_BARE_CLASSES})Model")


# ---------------------------------------------------------------------------------- layers


def _layers(keys: CheckedKeys, shape: DecoderConfig, rope: Rope) -> tuple[LayerConfig, ...]:
    family, num_layers = shape.traits, len(shape.layers)
    window, local = _window(keys, shape), rope
    is_local: Sequence[bool] = (False,) * num_layers
    if window is not None or family.local_rope_base is not None:
        is_local = _sliding_layers(keys, shape)
    if family.local_rope_base is not None:
        local = read_rope(keys, family, shape, is_local=True)
    has_rope = rope_layers(keys, num_layers, family.nope_interval)
    is_sparse = _sparse_layers(keys, shape)
    return tuple(
        LayerConfig(
            rope=(local if is_local[index] else rope) if has_rope[index] else None,
            window=window if is_local[index] else None,
            is_sparse=is_sparse[index],
        )
        for index in range(num_layers)
    )


def _window(keys: CheckedKeys, shape: DecoderConfig) -> int | None:
    """Return the sliding window; None if no layer has one that is shorter than the context."""
    family, used = shape.traits, keys.values.get("use_sliding_window")
    is_off = used is False or (family.window_is_opt_in and not used)
    window = keys.values.get("sliding_window")
    kinds = _layer_types(keys, shape)
    if family.sliding_layers is None or is_off:
        if kinds is not None and any(kinds):
            raise keys.unsupported("layer_types")
        is_asked = used or (used is None and window is not None and not is_off)
        if not is_asked or kinds is not None:
            return None
        if window is None or 0 < keys.number("sliding_window") < shape.context_length:
            raise keys.unsupported("use_sliding_window" if used else "sliding_window")
        return None
    if window is None:
        if kinds is not None and any(kinds):
            raise keys.unsupported("layer_types")
        return None
    size = keys.count("sliding_window")
    return size if 0 < size < shape.context_length else None


def _sliding_layers(keys: CheckedKeys, shape: DecoderConfig) -> Sequence[bool]:
    kinds = _layer_types(keys, shape)
    if kinds is not None:
        return kinds
    assert shape.traits.sliding_layers is not None
    return shape.traits.sliding_layers(keys, len(shape.layers))


def _layer_types(keys: CheckedKeys, shape: DecoderConfig) -> Sequence[bool] | None:
    """Return which layers ``layer_types`` calls sliding; None without the key."""
    kinds = keys.values.get("layer_types")
    if not kinds:
        return None
    if not isinstance(kinds, list) or not all(kind in _KINDS for kind in kinds):
        raise keys.unsupported("layer_types")
    if len(kinds) != shape.num_layers:
        raise keys.error("layer_types", kinds, f"a list of {shape.num_layers} kinds")
    return [kind == "sliding_attention" for kind in kinds]


def _sparse_layers(keys: CheckedKeys, shape: DecoderConfig) -> Sequence[bool]:
    """Return, for each layer, whether it is a mixture of experts."""
    num_layers = len(shape.layers)
    if shape.experts is None:
        return (False,) * num_layers
    step = max(keys.count("decoder_sparse_step", 1), 1)
    dense = keys.values.get("mlp_only_layers") or []
    if not isinstance(dense, list):
        raise keys.error("mlp_only_layers", dense, "a list of layers")
    return [(index + 1) % step == 0 and index not in dense for index in range(num_layers)]


def shape_keys(config: DecoderConfig) -> dict[str, Any]:
    """Return a decoder's sizes and ``rms_norm_eps`` as keys of ``config.json``.

    The rotary base is not included, since its key depends on the version of the format.
    """
    sizes = {key: getattr(config, field) for field, key in _SIZES.items()}
    return {**sizes, "rms_norm_eps": config.norm_epsilon}
