"""Shape of a decoder in a GGUF file, whose keys are those that llama.cpp reads."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from archon.engine.files.gguf import GGUFFile
from archon.engine.files.key_rules import CheckedKeys, shown
from archon.engine.model.config_keys import OTHER_GGUF_RULES
from archon.engine.model.decoder_config import (
    DecoderConfig,
    ExpertConfig,
    LayerConfig,
    unsupported_family,
)
from archon.engine.model.families import GGUF_FAMILIES
from archon.engine.model.families.traits import EMBEDDING, FamilyTraits
from archon.engine.model.rope import Divisors, Rope, Yarn, linear_divisors, yarn_magnitude
from archon.errors import ModelFileError

ROPE_FACTORS = "rope_freqs.weight"
"""Tensor of the divisors of the rotary frequencies, such as those of Llama 3.1."""
LONG_ROPE_FACTORS = {"short": "rope_factors_short.weight", "long": "rope_factors_long.weight"}
"""Tensors of the divisors of LongRoPE."""

_SIZES = {
    "width": "embedding_length", "ffn_width": "feed_forward_length", "num_layers": "block_count",
    "num_heads": "attention.head_count", "num_kv_heads": "attention.head_count_kv",
    "head_width": "attention.key_length", "context_length": "context_length",
}  # fmt: skip
"""Fields of ``DecoderConfig`` → keys without the family's prefix."""


def config_of_gguf(file: GGUFFile) -> DecoderConfig:
    """Read the shape of the decoder in a GGUF file.

    Raises
    ------
    ModelFileError
        A key is missing, or the model has a feature that is not supported.
    """
    name = file.metadata.get("general.architecture")
    family = GGUF_FAMILIES.get(name) if isinstance(name, str) else None
    if family is None:
        raise unsupported_family(name, GGUF_FAMILIES, file.path)
    prefix = f"{family.architecture}."
    assumed = {prefix + key: value for key, value in family.gguf_defaults.items()}
    keys = CheckedKeys(file.path, assumed | file.metadata, prefix)
    _check_keys(file, family, prefix)
    if EMBEDDING.gguf not in file.tensors:
        raise ModelFileError(f"{file.path}: the token embedding {EMBEDDING.gguf!r} is missing")
    num_heads, width = keys.count("attention.head_count"), keys.count("embedding_length")
    head_width = keys.count("attention.key_length", width // max(num_heads, 1))
    if keys.count("attention.value_length", head_width) != head_width:
        raise ModelFileError(f"{file.path}: keys and values of different widths are not supported")
    if keys.count("embedding_length_out", 0) not in (0, width):
        raise keys.unsupported("embedding_length_out")
    experts = _experts(keys, family)
    defaults = {"num_kv_heads": num_heads, "head_width": head_width}
    if experts is not None:
        defaults["ffn_width"] = experts.width
    sizes: dict[str, Any] = {f: keys.count(key, defaults.get(f)) for f, key in _SIZES.items()}
    config = DecoderConfig(
        family=family.name,
        vocab_size=file.tensors[EMBEDDING.gguf].shape[0],
        rope_base=float(keys.number("rope.freq_base", 10_000.0)),
        norm_epsilon=float(keys.number("attention.layer_norm_rms_epsilon")),
        biases=_biases(file, family),
        experts=experts,
        **_numbers(keys, family, width),
        **sizes,
    )
    layers = _layers(file, keys, config)
    return replace(config, layers=layers, attention_scale=_attention_scale(keys, config))


def _check_keys(file: GGUFFile, family: FamilyTraits, prefix: str) -> None:
    keys = file.metadata.items()
    own = {key.removeprefix(prefix): value for key, value in keys if key.startswith(prefix)}
    family.gguf_rules.check(own, file.path, prefix)
    others = {key: value for key, value in keys if not key.startswith(prefix)}
    OTHER_GGUF_RULES.check(others, file.path)


def _biases(file: GGUFFile, family: FamilyTraits) -> frozenset[str]:
    """Return the biases of the file: a bias that one layer has must be in all."""
    ends = {field: f".{name.gguf}" for field, name in family.biases.items()}
    return frozenset(
        field for field, end in ends.items() if any(tensor.endswith(end) for tensor in file.tensors)
    )


def _numbers(keys: CheckedKeys, family: FamilyTraits, width: int) -> dict[str, Any]:
    """Return the numbers that some families have, by fields of ``DecoderConfig``."""
    names = {**family.multipliers, **family.softcaps}
    found = {field: keys.number(name.gguf, 0) for field, name in names.items()}
    numbers = {field: float(value) for field, value in found.items() if value}
    if family.scales_embedding:
        numbers["embedding_scale"] = width**0.5
    if family.logits_divisor is not None:
        numbers["logit_scale"] = 1 / (keys.number(family.logits_divisor.gguf, 1) or 1)
    return numbers


def _attention_scale(keys: CheckedKeys, config: DecoderConfig) -> float | None:
    if config.traits.multipliers:
        return config.attention_scale
    scale = keys.number("attention.scale", 0)
    if scale and not math.isclose(scale, config.head_width**-0.5, rel_tol=1e-6):
        raise keys.unsupported("attention.scale")
    if config.num_layers == config.traits.gguf_wide_scale_layers:
        return float((config.width // config.num_heads) ** -0.5)
    return None


def _experts(keys: CheckedKeys, family: FamilyTraits) -> ExpertConfig | None:
    if not family.experts:
        return None
    has_shared = "shared_router" in family.experts
    num_used = keys.count("expert_used_count")
    ffn_width = keys.count("feed_forward_length", 0)
    width = keys.count("expert_feed_forward_length", 0) or ffn_width // max(num_used, 1)
    shared = keys.count("expert_shared_feed_forward_length", 0) or ffn_width
    return ExpertConfig(
        num_experts=keys.count("expert_count"),
        num_used=num_used,
        width=width,
        shared_width=shared if has_shared else 0,
        normalises=family.gguf_normalises_experts,
    )


def _layers(file: GGUFFile, keys: CheckedKeys, config: DecoderConfig) -> tuple[LayerConfig, ...]:
    family, rope = config.traits, _rope(file, keys, config)
    window = keys.count("attention.sliding_window", 0)
    is_short = window < config.context_length  # a longer window has no effect
    if window and is_short and family.gguf_window_period is None:
        raise keys.unsupported("attention.sliding_window")
    is_local = _sliding_layers(keys, config) if window else (False,) * len(config.layers)
    local_base = float(keys.number("rope.freq_base_swa", family.local_rope_base or 0))
    local = Rope(rope.width, local_base) if local_base else rope

    def layer(index: int) -> LayerConfig:
        has_rope = not family.nope_interval or (index + 1) % family.nope_interval != 0
        return LayerConfig(
            rope=(local if is_local[index] else rope) if has_rope else None,
            window=window if is_local[index] and is_short else None,
            is_sparse=config.experts is not None,
        )

    return tuple(layer(index) for index in range(len(config.layers)))


def _sliding_layers(keys: CheckedKeys, config: DecoderConfig) -> Sequence[bool]:
    """Return which layers have the window; the file may have a flag for each, or a period."""
    key, num_layers = "attention.sliding_window_pattern", len(config.layers)
    flags = keys.values.get(keys.prefix + key)
    if isinstance(flags, list):
        if len(flags) < num_layers:
            raise keys.error(key, flags, f"a list of {num_layers} flags")
        return [bool(flag) for flag in flags[:num_layers]]
    period = keys.count(key, config.traits.gguf_window_period or 0)
    return [not period or (index + 1) % period != 0 for index in range(num_layers)]


# ------------------------------------------------------------------------------------- RoPE


def _rope(file: GGUFFile, keys: CheckedKeys, config: DecoderConfig) -> Rope:
    width = keys.count("rope.dimension_count", config.head_width)
    if width != config.head_width and not (config.traits.partial_rope and width > 0):
        raise ModelFileError(
            f"{file.path}: rotary embeddings that cover only part of each head are not supported"
        )
    plain = Rope(width, config.rope_base)
    scaled = _scaled(plain, keys, config)
    if ROPE_FACTORS in file.tensors:
        factors = _factors(file, ROPE_FACTORS, plain)
        before = scaled.divisors or (1.0,) * len(factors)
        divisors = tuple(a * b for a, b in zip(before, factors, strict=True))
        scaled = replace(scaled, divisors=() if all(d == 1 for d in divisors) else divisors)
    is_longrope = keys.values.get(f"{keys.prefix}rope.scaling.type") == "longrope"
    if is_longrope or LONG_ROPE_FACTORS["long"] in file.tensors:
        original = keys.count("rope.scaling.original_context_length", config.context_length)
        scaled = replace(
            scaled,
            divisors=_factors(file, LONG_ROPE_FACTORS["short"], plain),
            long_divisors=_factors(file, LONG_ROPE_FACTORS["long"], plain),
            long_after=original,
        )
    return scaled


def _scaled(plain: Rope, keys: CheckedKeys, config: DecoderConfig) -> Rope:
    """Return the embedding with the scaling of the keys. Without a type, scaling is linear."""
    kind = keys.values.get(f"{keys.prefix}rope.scaling.type", "linear")
    # The newer key comes first; 0 means that there is no factor.
    factor = keys.number("rope.scaling.factor", keys.number("rope.scale_linear", 0)) or 1
    magnitude = float(keys.number("rope.scaling.attn_factor", 1) or 1)
    if kind in ("none", "longrope") or (kind == "linear" and factor == 1):
        return replace(plain, magnitude=magnitude)
    if kind == "linear":
        return replace(plain, divisors=linear_divisors(plain, factor), magnitude=magnitude)
    if kind != "yarn":
        raise ModelFileError(
            f"{keys.path}: {keys.prefix}rope.scaling.type is {shown(kind)} by {factor:g}: this "
            "rotary scaling is not supported"
        )
    if plain.base <= 1:
        raise keys.error("rope.freq_base", plain.base, "a number above 1")
    original = keys.count("rope.scaling.original_context_length", 0)
    yarn = Yarn(
        factor=factor,
        original_context=original or config.context_length,
        fast=float(keys.number("rope.scaling.yarn_beta_fast", 32)),
        slow=float(keys.number("rope.scaling.yarn_beta_slow", 1)),
    )
    recommended = yarn_magnitude(factor)
    # llama.cpp always uses the recommended magnitude, transformers the one of the file.
    own = keys.number("rope.scaling.yarn_attn_factor", recommended)
    if not math.isclose(own, recommended, rel_tol=1e-3):
        raise keys.unsupported("rope.scaling.yarn_attn_factor")
    return replace(plain, divisors=yarn.divisors(plain), magnitude=magnitude * recommended)


def _factors(file: GGUFFile, name: str, rope: Rope) -> Divisors:
    factors = file.tensor(name).flatten()
    if len(factors) != rope.width // 2 or not bool((factors > 0).all()):
        raise ModelFileError(
            f"{file.path}: tensor {name!r} does not have {rope.width // 2} numbers above 0"
        )
    return tuple(factors.tolist())
