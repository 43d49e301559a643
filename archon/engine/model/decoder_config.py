"""Shape of a decoder: sizes, and the features that its layers have."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from archon.engine.cache.layout import CacheLayout
from archon.engine.model.families import FAMILIES
from archon.engine.model.families.traits import FamilyTraits
from archon.engine.model.rope import Rope
from archon.errors import ModelFileError


@dataclass(frozen=True, slots=True)
class LayerConfig:
    """Properties in which the layers of a decoder may differ."""

    rope: Rope | None
    """Rotary embedding of queries and keys; None for a layer without positions (NoPE: Kazemnejad
    et al. 2023, arXiv 2305.19466)."""
    window: int | None = None
    """Most recent tokens that a token attends to, itself included (sliding window: Beltagy et al.
    2020, arXiv 2004.05150); None for all tokens."""
    is_sparse: bool = False
    """True if the feed-forward network is a mixture of experts."""


@dataclass(frozen=True, slots=True)
class ExpertConfig:
    """Shape of the sparse layers: each token is computed by a few of many feed-forward networks."""

    num_experts: int
    """X: experts of a layer."""
    num_used: int
    """Experts that compute a token: those with the highest router probabilities."""
    width: int
    """Width of an expert."""
    shared_width: int = 0
    """Width of an additional network that computes every token; 0 for none."""
    normalises: bool = False
    """True if the used experts' probabilities are divided by their sum."""

    def __post_init__(self) -> None:
        if not 0 < self.num_used <= self.num_experts or self.width < 1 or self.shared_width < 0:
            raise ModelFileError(
                "invalid experts: their width and the number of used ones must be above 0, and no "
                f"more can be used than there are: {self}"
            )


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
    """Base of the rotary frequencies (``archon.engine.model.rope``), for default ``layers``."""
    norm_epsilon: float = 1e-5
    """ε of RMSNorm."""
    layers: tuple[LayerConfig, ...] = ()
    """Properties of each layer; by default, all are dense, with RoPE and without a window."""
    biases: frozenset[str] | None = None
    """Biases that the linear layers have, as fields of ``LayerWeights``; by default, those that the
    family requires."""
    attention_scale: float | None = None
    """Factor of the attention scores; by default 1 / √D."""
    attention_softcap: float = 0.0
    """Bound c of attention scores, which become c · tanh(score / c); 0 for none."""
    logit_softcap: float = 0.0
    """Bound of logits; 0 for none."""
    embedding_scale: float = 1.0
    """Factor of the token embeddings."""
    residual_scale: float = 1.0
    """Factor of each sublayer's output before it is added to the residual stream."""
    logit_scale: float = 1.0
    """Factor of the logits."""
    experts: ExpertConfig | None = None
    """Shape of the sparse layers; None if there are none."""
    dynamic_rope: bool = False
    """True if positions from ``context_length`` on would change the rotary frequencies of the whole
    text (dynamic NTK scaling), which is not supported."""

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
        if not self.layers:
            layer = LayerConfig(Rope(self.head_width, self.rope_base))
            object.__setattr__(self, "layers", (layer,) * min(self.num_layers, _MAX_LAYERS))
        if self.biases is None:
            required = self.traits.biases if self.traits.always_biased else ()
            object.__setattr__(self, "biases", frozenset(required))

    @property
    def traits(self) -> FamilyTraits:
        """Traits of the family."""
        return FAMILIES[self.family]

    @property
    def is_plain(self) -> bool:
        """True if family, sizes, base and biases define the decoder: it has no other features."""
        sizes = {field: getattr(self, field) for field in _SIZES}
        return self.traits.is_plain and self == DecoderConfig(**sizes)

    @property
    def cache_layout(self) -> CacheLayout:
        """Layout of the keys and values of all layers."""
        return CacheLayout.of([layer.window for layer in self.layers])

    @property
    def windows(self) -> tuple[int | None, ...]:
        """The distinct windows of the layers."""
        return tuple(dict.fromkeys(layer.window for layer in self.layers))

    @property
    def ropes(self) -> tuple[Rope, ...]:
        """The distinct rotary embeddings of the layers."""
        ropes = (layer.rope for layer in self.layers)
        return tuple(dict.fromkeys(rope for rope in ropes if rope is not None))

    @property
    def long_after(self) -> int | None:
        """Tokens of the longest text that uses the short rotary frequencies; None if all do."""
        return next((rope.long_after for rope in self.ropes if rope.long_after is not None), None)


_SIZES = (
    "family", "num_layers", "width", "ffn_width", "num_heads", "num_kv_heads", "head_width",
    "vocab_size", "context_length", "rope_base", "norm_epsilon", "biases",
)  # fmt: skip
_MAX_LAYERS = 100_000
"""A damaged file may declare any number of layers; their tensors are missing."""


def unsupported_family(name: object, known: Iterable[str], path: Path) -> ModelFileError:
    """Return the error for a model whose family has no traits."""
    return ModelFileError(
        f"{path}: family {name!r} is not supported; supported families: {', '.join(known)}"
    )
