"""Shapes of encoders and encoder–decoders, read from a folder's ``config.json``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from archon.engine.files.folder import CONFIG, ModelFolder
from archon.engine.files.key_rules import CheckedKeys
from archon.engine.model.config_keys import ENCODER_DECODER_RULES, ENCODER_RULES
from archon.errors import ModelFileError


@dataclass(frozen=True, slots=True)
class EncoderConfig:
    """Shape of an encoder of the BERT family (Devlin et al. 2018, arXiv 1810.04805)."""

    vocab_size: int
    num_layers: int
    width: int
    """E: width of the model. Each head has a width of E / H."""
    ffn_width: int
    """F: width of the feed-forward network."""
    num_heads: int
    """H: number of attention heads."""
    context_length: int
    """Maximum length of a text, in tokens: number of positions that have an embedding."""
    num_segments: int = 2
    """Number of segments. With 2, a token belongs to the first or the second text of a pair."""
    norm_epsilon: float = 1e-12
    """ε of LayerNorm."""
    dropout: float = 0.0
    """Probability of setting an activation to zero in training."""

    def __post_init__(self) -> None:
        if self.num_heads < 1 or self.width < 1 or self.width % self.num_heads:
            raise ModelFileError(
                f"num_attention_heads is {self.num_heads} and hidden_size is {self.width}: the "
                "second must be a positive multiple of the first"
            )


@dataclass(frozen=True, slots=True)
class EncoderDecoderConfig:
    """Shape of an encoder–decoder of the T5 family (Raffel et al. 2020, arXiv 1910.10683)."""

    vocab_size: int
    num_encoder_layers: int
    num_decoder_layers: int
    width: int
    """E: width of the model."""
    ffn_width: int
    """F: width of the feed-forward network."""
    num_heads: int
    """H: number of attention heads."""
    head_width: int
    """D: width of a head; H · D may differ from E."""
    num_buckets: int = 32
    """Number of buckets of relative positions (``archon.engine.encoders.positions``)."""
    max_distance: int = 128
    """All distances of at least this many tokens share one bucket."""
    norm_epsilon: float = 1e-6
    """ε of RMSNorm."""
    gated: bool = False
    """True for a GEGLU feed-forward network (T5 1.1), False for ReLU."""
    tied: bool = True
    """Whether the head is the embedding."""
    scaled: bool = True
    """Whether the input of the head is divided by √E, which a tied head needs."""
    start_id: int = 0
    """Token that the decoder reads first; also used as padding."""
    stop_id: int = 1
    """Token that ends a text."""
    dropout: float = 0.0
    """Probability of setting an activation to zero in training."""

    def __post_init__(self) -> None:
        if min(self.num_heads, self.head_width, self.width, self.vocab_size) < 1:
            raise ModelFileError(
                "invalid encoder–decoder: d_model, num_heads, d_kv and vocab_size must be above 0: "
                f"{self}"
            )


ENCODER, ENCODER_DECODER = "bert", "t5"
"""``model_type`` of the two families."""


def encoder_config(folder: ModelFolder) -> EncoderConfig:
    """Read the shape of the encoder in a folder.

    Raises
    ------
    ModelFileError
        The model is of another family, a key is missing, or a variant is not supported.
    """
    keys = CheckedKeys(folder.path / CONFIG, folder.config)
    keys.expect("model_type", (ENCODER,))
    ENCODER_RULES.check(folder.config, keys.path)
    keys.expect("hidden_act", ("gelu", None))
    keys.expect("position_embedding_type", ("absolute", None))
    keys.expect("is_decoder", (False, None))
    return EncoderConfig(
        vocab_size=keys.count("vocab_size"),
        num_layers=keys.count("num_hidden_layers"),
        width=keys.count("hidden_size"),
        ffn_width=keys.count("intermediate_size"),
        num_heads=keys.count("num_attention_heads"),
        context_length=keys.count("max_position_embeddings"),
        num_segments=keys.count("type_vocab_size", 2),
        norm_epsilon=keys.number("layer_norm_eps", 1e-12),
    )


def encoder_decoder_config(folder: ModelFolder) -> EncoderDecoderConfig:
    """Read the shape of the encoder–decoder in a folder.

    Raises
    ------
    ModelFileError
        The model is of another family, a key is missing, or a variant is not supported.
    """
    keys = CheckedKeys(folder.path / CONFIG, folder.config)
    keys.expect("model_type", (ENCODER_DECODER,))
    ENCODER_DECODER_RULES.check(folder.config, keys.path)
    keys.expect("feed_forward_proj", ("relu", "gated-gelu", None))
    stated_tied = folder.config.get("tie_word_embeddings", True)
    # Older files lack this key; they scale if the head is tied.
    scaled = folder.config.get("scale_decoder_outputs", stated_tied)
    defaults = _T5_DEFAULTS | {"num_decoder_layers": keys.count("num_layers")}
    return EncoderDecoderConfig(
        norm_epsilon=keys.number("layer_norm_epsilon", 1e-6),
        gated=folder.config.get("feed_forward_proj") == "gated-gelu",
        tied=_is_tied(folder, stated_tied),
        scaled=bool(scaled),
        **{field: keys.count(key, defaults.get(field)) for field, key in _T5_SIZES.items()},
    )


_T5_SIZES = {
    "vocab_size": "vocab_size", "num_encoder_layers": "num_layers",
    "num_decoder_layers": "num_decoder_layers", "width": "d_model", "ffn_width": "d_ff",
    "num_heads": "num_heads", "head_width": "d_kv",
    "num_buckets": "relative_attention_num_buckets",
    "max_distance": "relative_attention_max_distance", "start_id": "decoder_start_token_id",
    "stop_id": "eos_token_id",
}  # fmt: skip
"""Fields of ``EncoderDecoderConfig`` → keys of ``config.json``."""
_T5_DEFAULTS = {"num_buckets": 32, "max_distance": 128, "start_id": 0, "stop_id": 1}


def _is_tied(folder: ModelFolder, stated: object) -> bool:
    """Return True if the head is the same tensor as the embedding.

    If the folder contains both tensors, they must also be equal, as transformers requires.
    """
    embedding, head = "shared.weight", "lm_head.weight"
    if head in folder.tensors:
        return bool(stated) and torch.equal(folder.tensor(embedding), folder.tensor(head))
    if not stated:
        raise ModelFileError(
            f"{folder.path}: has no tensor {head!r}, and {CONFIG} does not tie the head to the "
            "embedding: tie_word_embeddings is false"
        )
    return True


def encoder_decoder_json(config: EncoderDecoderConfig) -> dict[str, Any]:
    """Return the content of ``config.json`` for a shape; ``encoder_decoder_config`` can read it."""
    return {
        "model_type": ENCODER_DECODER,
        "architectures": ["T5ForConditionalGeneration"],
        "is_encoder_decoder": True,
        **{key: getattr(config, field) for field, key in _T5_SIZES.items()},
        "layer_norm_epsilon": config.norm_epsilon,
        "feed_forward_proj": "gated-gelu" if config.gated else "relu",
        "tie_word_embeddings": config.tied,
        "scale_decoder_outputs": config.scaled,
        "pad_token_id": config.start_id,
    }
