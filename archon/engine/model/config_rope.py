"""Rotary embedding of a folder's ``config.json``: its base, and the published kinds of scaling.

Newer files have all parameters in ``rope_parameters``, the base included; models whose layers
differ have an object for each kind of layer there. Older files have ``rope_scaling``, and the base
at the top level.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from archon.engine.files.key_rules import CheckedKeys, KeyRules, shown
from archon.engine.model.decoder_config import DecoderConfig
from archon.engine.model.families.traits import FamilyTraits
from archon.engine.model.rope import (
    Divisors,
    Rope,
    Yarn,
    linear_divisors,
    llama3_divisors,
    longrope_magnitude,
    yarn_magnitude,
)
from archon.errors import ModelFileError

_RULES = KeyRules(
    computed=frozenset({
        "rope_type", "type", "rope_theta", "factor", "partial_rotary_factor",
        "original_max_position_embeddings", "attention_factor", "beta_fast", "beta_slow", "mscale",
        "mscale_all_dim", "truncate", "short_factor", "long_factor", "low_freq_factor",
        "high_freq_factor",
    }),
    irrelevant=frozenset({"finetuned"}),
    neutral={"mrope_section": (), "extrapolation_factor": (1,), "attn_factor": (1,)},
)  # fmt: skip
_KINDS = ("full_attention", "sliding_attention")


def read_rope(
    keys: CheckedKeys, family: FamilyTraits, shape: DecoderConfig, *, is_local: bool = False
) -> Rope:
    """Return the rotary embedding of a model's layers.

    Parameters
    ----------
    is_local
        Return that of the layers with a window, for families in which it differs.

    Raises
    ------
    ModelFileError
        The scaling is not supported, or its parameters are malformed.
    """
    parameters = _parameters(keys, family, is_local)
    base = keys.number("rope_theta", 10_000.0)
    if is_local:
        base = keys.number("rope_local_base_freq", family.local_rope_base)
    rope = Rope(
        width=_rotated_width(parameters, keys, family, shape.head_width),
        base=float(parameters.number("rope_theta", base)),
    )
    if rope.base <= 1:
        raise parameters.error("rope_theta", rope.base, "a number above 1")
    match kind := _kind(parameters, family):
        case "default" | "dynamic":  # dynamic scaling begins beyond the model's context
            return rope
        case "linear" | "llama3" if parameters.values.get("factor") == 1:
            return rope
        case "linear":
            return replace(rope, divisors=linear_divisors(rope, parameters.positive("factor")))
        case "llama3":
            return replace(rope, divisors=_llama3(rope, parameters, keys))
        case "yarn":
            return _yarn(rope, parameters, keys)
        case "longrope":
            return _longrope(rope, parameters, keys)
        case _:
            raise ModelFileError(
                f"{keys.path}: {_place(keys)} is {kind!r}: this rotary scaling is not supported"
            )


def has_dynamic_rope(keys: CheckedKeys, family: FamilyTraits) -> bool:
    """Return True if texts longer than the model's context would change all frequencies."""
    return _kind(_parameters(keys, family, is_local=False), family) == "dynamic"


def _place(keys: CheckedKeys) -> str:
    return "rope_scaling" if keys.values.get("rope_scaling") else "rope_parameters"


def _kind(parameters: CheckedKeys, family: FamilyTraits) -> object:
    values = parameters.values
    kind = values.get("rope_type") or values.get("type") or "default"
    return family.rope_types.get(kind, kind) if isinstance(kind, str) else kind


def _parameters(keys: CheckedKeys, family: FamilyTraits, is_local: bool) -> CheckedKeys:
    scaling, parameters = (_object(keys, key) for key in ("rope_scaling", "rope_parameters"))
    found = scaling or parameters
    if family.local_rope_base is not None:
        nested = parameters or dict.fromkeys(_KINDS)
        if not nested.keys() <= set(_KINDS):
            raise keys.unsupported("rope_parameters")
        # An older file scales the layers without a window only.
        own = nested.get(_KINDS[is_local]) or {}
        if not isinstance(own, Mapping):
            raise keys.unsupported("rope_parameters")
        found = dict(own) if is_local else {**own, **scaling}
    _RULES.check(found, keys.path, f"{_place(keys)}.")
    return CheckedKeys(keys.path, found)


def _object(keys: CheckedKeys, key: str) -> Mapping[str, Any]:
    value = keys.values.get(key) or {}
    if not isinstance(value, Mapping):
        raise ModelFileError(f"{keys.path}: {key} is {shown(value)}: not an object")
    return value


def _rotated_width(
    parameters: CheckedKeys, keys: CheckedKeys, family: FamilyTraits, head_width: int
) -> int:
    share = parameters.number("partial_rotary_factor", keys.number("partial_rotary_factor", 1))
    width = int(head_width * share)
    if width != head_width and not (family.partial_rope and 0 < width < head_width):
        raise ModelFileError(
            f"{keys.path}: partial_rotary_factor is {share!r}: rotary embeddings that cover only "
            "part of each head are not supported"
        )
    if width % 2:
        raise ModelFileError(
            f"{keys.path}: partial_rotary_factor {share!r} rotates {width} channels"
        )
    return width


def _original_context(parameters: CheckedKeys, keys: CheckedKeys) -> int:
    key = "original_max_position_embeddings"
    own = keys if keys.values.get(key) is not None else parameters
    length = own.count(key, keys.count("max_position_embeddings"))
    if length < 2:
        raise own.error(key, length, "a number of at least 2")
    return length


def _llama3(rope: Rope, parameters: CheckedKeys, keys: CheckedKeys) -> Divisors:
    return llama3_divisors(
        rope,
        factor=parameters.positive("factor"),
        low_factor=parameters.positive("low_freq_factor"),
        high_factor=parameters.positive("high_freq_factor"),
        original_context=_original_context(parameters, keys),
    )


def _yarn(rope: Rope, parameters: CheckedKeys, keys: CheckedKeys) -> Rope:
    original = _original_context(parameters, keys)
    factor = parameters.positive("factor", keys.count("max_position_embeddings") / original)
    truncates = parameters.values.get("truncate")
    yarn = Yarn(
        factor=factor,
        original_context=original,
        fast=parameters.number("beta_fast", 32) or 32,
        slow=parameters.number("beta_slow", 1) or 1,
        truncates=truncates is None or bool(truncates),
    )
    weights = [parameters.number(key, 0) for key in ("mscale", "mscale_all_dim")]
    recommended = yarn_magnitude(factor)
    if all(weights):
        above, below = (yarn_magnitude(factor, weight) for weight in weights)
        recommended = above / below
    magnitude = parameters.number("attention_factor", recommended)
    return replace(rope, divisors=yarn.divisors(rope), magnitude=float(magnitude))


def _longrope(rope: Rope, parameters: CheckedKeys, keys: CheckedKeys) -> Rope:
    original = _original_context(parameters, keys)
    factor = parameters.positive("factor", keys.count("max_position_embeddings") / original)
    magnitude = parameters.number("attention_factor", longrope_magnitude(factor, original))
    return replace(
        rope,
        divisors=_factors(parameters, "short_factor", rope),
        long_divisors=_factors(parameters, "long_factor", rope),
        long_after=original,
        magnitude=float(magnitude),
    )


def _factors(parameters: CheckedKeys, key: str, rope: Rope) -> Divisors:
    values, count = parameters.values.get(key), rope.width // 2
    if (
        not isinstance(values, list)
        or len(values) != count
        or not all(isinstance(value, int | float) and value > 0 for value in values)
    ):
        raise ModelFileError(
            f"{parameters.path}: {key} is {shown(values)}, not a list of {count} numbers above 0"
        )
    return tuple(float(value) for value in values)
