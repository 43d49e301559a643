"""A decoder in the words of Hugging Face's files: names of its parameters, keys of its shape.

``archon.engine.model.config`` reads these keys, from files of any age; here they are written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from archon.engine.model.config import DecoderConfig, Family
from archon.engine.model.weights import WeightSource

CLASSES: Mapping[Family, str] = {"llama": "Llama", "qwen2": "Qwen2", "qwen3": "Qwen3"}
"""Family → what its classes in transformers begin with."""

EMBEDDING, OUTPUT_NORM = "model.embed_tokens.weight", "model.norm.weight"
HEAD = "lm_head.weight"

LAYER_NAMES: Mapping[str, str] = {
    "input_layernorm.weight": "attention_norm_E",
    "self_attn.q_proj.weight": "q",
    "self_attn.k_proj.weight": "k",
    "self_attn.v_proj.weight": "v",
    "self_attn.q_proj.bias": "q_bias",
    "self_attn.k_proj.bias": "k_bias",
    "self_attn.v_proj.bias": "v_bias",
    "self_attn.q_norm.weight": "q_norm_D",
    "self_attn.k_norm.weight": "k_norm_D",
    "self_attn.o_proj.weight": "attention_output",
    "post_attention_layernorm.weight": "ffn_norm_E",
    "mlp.gate_proj.weight": "gate",
    "mlp.up_proj.weight": "up",
    "mlp.down_proj.weight": "down",
}
"""Parameters of a layer → fields of ``LayerWeights``."""


def layer_prefix(index: int) -> str:
    """What the names of a layer's parameters begin with."""
    return f"model.layers.{index}."


def layer_parameters(source: WeightSource) -> Iterator[tuple[str, Tensor]]:
    """The parameters of all layers by their names, one layer in memory at a time."""
    for index in range(source.config.num_layers):
        weights = source.layer(index)
        for name, field in LAYER_NAMES.items():
            parameter = getattr(weights, field)
            if parameter is not None:
                yield layer_prefix(index) + name, parameter


def shape_keys(config: DecoderConfig) -> dict[str, Any]:
    """The keys of ``config.json`` that tell a decoder's sizes; its rotary base is left out, which
    stands in different places."""
    return {
        "vocab_size": config.vocab_size,
        "hidden_size": config.width,
        "intermediate_size": config.ffn_width,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.num_kv_heads,
        "head_dim": config.head_width,
        "max_position_embeddings": config.context_length,
        "rms_norm_eps": config.norm_epsilon,
    }
