"""The shape of a decoder, as a GGUF file or a folder's ``config.json`` states it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from archon.engine.files.folder import CONFIG, ModelFolder
from archon.engine.files.gguf import GGUFFile
from archon.errors import ModelFileError

Family = Literal["llama", "qwen2", "qwen3"]
FAMILIES: tuple[Family, ...] = ("llama", "qwen2", "qwen3")
ModelFile = GGUFFile | ModelFolder


@dataclass(frozen=True, slots=True)
class DecoderConfig:
    """What one decoder needs to know of itself to serve every family."""

    family: Family
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
    def queries_per_group(self) -> int:
        """H / G: query heads that read the same keys and values."""
        return self.num_heads // self.num_kv_heads

    @property
    def norms_heads(self) -> bool:
        """Whether each head of q and k is normalised before it is turned by its position."""
        return self.family == "qwen3"


def config_of(file: ModelFile) -> DecoderConfig:
    """Read the decoder's shape from what a file or a folder says of itself.

    Raises
    ------
    ModelFileError : a family or a rotary scaling that is not supported, or a key that is missing.
    """
    return _gguf_config(file) if isinstance(file, GGUFFile) else _folder_config(file)


@dataclass(frozen=True, slots=True)
class _Keys:
    """Numbers by key, each checked as it is read."""

    path: Path
    values: Mapping[str, Any]
    prefix: str = ""

    def number(self, key: str, default: float | None = None) -> float:
        value = self.values.get(self.prefix + key)
        value = default if value is None else value
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise self._error(key, value, "a number")
        if not math.isfinite(value):
            raise self._error(key, value, "a finite number")
        return value

    def count(self, key: str, default: int | None = None) -> int:
        value = self.number(key, default)
        if not isinstance(value, int):
            raise self._error(key, value, "a whole number")
        return value

    def _error(self, key: str, value: object, wanted: str) -> ModelFileError:
        return ModelFileError(f"{self.path}: {self.prefix}{key} is {value!r}, not {wanted}")


def _known_family(name: object, path: Path) -> Family:
    for family in FAMILIES:
        if name == family:
            return family
    known = ", ".join(FAMILIES)
    raise ModelFileError(f"{path}: family {name!r} is not supported ({known} are)")


def _gguf_config(file: GGUFFile) -> DecoderConfig:
    family = _known_family(file.metadata.get("general.architecture"), file.path)
    keys = _Keys(file.path, file.metadata, f"{family}.")
    number, count = keys.number, keys.count
    scaling = file.metadata.get(f"{family}.rope.scaling.type", "none")
    if scaling != "none" or "rope_freqs.weight" in file.tensors:
        raise ModelFileError(f"{file.path}: rotary scaling is not supported")
    if "token_embd.weight" not in file.tensors:
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
    return DecoderConfig(
        family=family,
        num_layers=count("block_count"),
        width=width,
        ffn_width=count("feed_forward_length"),
        num_heads=num_heads,
        num_kv_heads=count("attention.head_count_kv", num_heads),
        head_width=head_width,
        vocab_size=file.tensors["token_embd.weight"].shape[0],
        context_length=count("context_length"),
        rope_base=float(number("rope.freq_base", 10_000.0)),
        norm_epsilon=float(number("attention.layer_norm_rms_epsilon")),
    )


def _folder_config(folder: ModelFolder) -> DecoderConfig:
    config, path = folder.config, folder.path / CONFIG
    family = _known_family(config.get("model_type"), path)
    keys = _Keys(path, config)
    _refuse_variants(config, path)
    # Newer files put the rotary base beside the kind of scaling, older ones at the top.
    rope = config.get("rope_parameters")
    rope_keys = _Keys(path, rope, "") if isinstance(rope, Mapping) else keys
    num_heads, width = keys.count("num_attention_heads"), keys.count("hidden_size")
    usual_head_width = None if family == "qwen3" else width // max(num_heads, 1)
    return DecoderConfig(
        family=family,
        num_layers=keys.count("num_hidden_layers"),
        width=width,
        ffn_width=keys.count("intermediate_size"),
        num_heads=num_heads,
        num_kv_heads=keys.count("num_key_value_heads", num_heads),
        head_width=keys.count("head_dim", usual_head_width),
        vocab_size=keys.count("vocab_size"),
        context_length=keys.count("max_position_embeddings"),
        rope_base=float(rope_keys.number("rope_theta", keys.number("rope_theta", 10_000.0))),
        norm_epsilon=float(keys.number("rms_norm_eps")),
    )


def _refuse_variants(config: Mapping[str, Any], path: Path) -> None:
    """Refuse what would make the decoder another one than ours."""
    for key in ("rope_scaling", "rope_parameters"):
        rope = config.get(key) or {}
        kind = (
            rope.get("rope_type", rope.get("type", "default")) if isinstance(rope, dict) else rope
        )
        if kind != "default":
            raise ModelFileError(f"{path}: {key} is {kind!r}: rotary scaling is not supported")
        if isinstance(rope, dict) and rope.get("partial_rotary_factor", 1) != 1:
            raise ModelFileError(
                f"{path}: {key}: rotary positions of a part of each head are not supported"
            )
    expected = {
        "hidden_act": ("silu", None),
        "partial_rotary_factor": (1, None),
        "quantization_config": (None,),
        "use_sliding_window": (False, None),
    }
    for key, values in expected.items():
        if config.get(key) not in values:
            raise ModelFileError(f"{path}: {key} is {config[key]!r}, which is not supported")
    layers = config.get("layer_types") or []
    other = next((kind for kind in layers if kind != "full_attention"), None)
    if other is not None:
        raise ModelFileError(f"{path}: layer_types names {other!r}, which is not supported")
