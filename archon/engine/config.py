"""The shape of a decoder, as a GGUF file states it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from archon.engine.gguf import GGUFFile
from archon.errors import ModelFileError

Family = Literal["llama", "qwen2"]
FAMILIES: tuple[Family, ...] = ("llama", "qwen2")


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


def config_of(file: GGUFFile) -> DecoderConfig:
    """Read the decoder's shape from a file's metadata.

    Raises
    ------
    ModelFileError : a family or a rotary scaling that is not supported, or a key that is missing.
    """
    family = file.metadata.get("general.architecture")
    if family not in FAMILIES:
        known = ", ".join(FAMILIES)
        raise ModelFileError(f"{file.path}: family {family!r} is not supported ({known} are)")

    def number(key: str, default: float | None = None) -> float:
        value = file.metadata.get(f"{family}.{key}", default)
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise ModelFileError(f"{file.path}: {family}.{key} is {value!r}, not a number")
        if not math.isfinite(value):
            raise ModelFileError(f"{file.path}: {family}.{key} is {value!r}, not a finite number")
        return value

    def count(key: str, default: int | None = None) -> int:
        value = number(key, default)
        if not isinstance(value, int):
            raise ModelFileError(f"{file.path}: {family}.{key} is {value!r}, not a whole number")
        return value

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
