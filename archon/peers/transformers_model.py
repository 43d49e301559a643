"""Parameters as the engine reads them, as a model of the transformers library."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from archon.engine.config import DecoderConfig
from archon.engine.weights import LayerWeights, WeightSource

_LAYER_NAMES = {
    "attention_norm_E": "input_layernorm.weight",
    "q": "self_attn.q_proj.weight",
    "k": "self_attn.k_proj.weight",
    "v": "self_attn.v_proj.weight",
    "q_bias": "self_attn.q_proj.bias",
    "k_bias": "self_attn.k_proj.bias",
    "v_bias": "self_attn.v_proj.bias",
    "q_norm_D": "self_attn.q_norm.weight",
    "k_norm_D": "self_attn.k_norm.weight",
    "attention_output": "self_attn.o_proj.weight",
    "ffn_norm_E": "post_attention_layernorm.weight",
    "gate": "mlp.gate_proj.weight",
    "up": "mlp.up_proj.weight",
    "down": "mlp.down_proj.weight",
}


def transformers_model(source: WeightSource, dtype: torch.dtype) -> Any:
    """A causal LM of transformers that has a source's parameters, rounded to ``dtype``."""
    import transformers

    config = source.config
    names = {"llama": "Llama", "qwen2": "Qwen2", "qwen3": "Qwen3"}
    prefix = names[config.family]
    shape = _shape(config)
    state = state_dict(source, dtype)
    if config.family == "llama":
        shape["attention_bias"] = "model.layers.0.self_attn.q_proj.bias" in state
    with torch.device("meta"):
        model = getattr(transformers, f"{prefix}ForCausalLM")(
            getattr(transformers, f"{prefix}Config")(**shape)
        )
    rotary = type(model.model.rotary_emb)(model.config)  # its frequencies are no parameters
    missing = model.load_state_dict(state, strict=False, assign=True).missing_keys
    assert all(name.endswith("o_proj.bias") for name in missing), missing
    for layer in model.model.layers:
        layer.self_attn.o_proj.bias = None
    model.model.rotary_emb = rotary
    return model.eval()


def state_dict(source: WeightSource, dtype: torch.dtype) -> dict[str, Tensor]:
    """Parameters by the names that transformers gives them."""
    embedding = source.embedding().to(dtype)
    head = source.head().to(dtype)
    state = {
        "model.embed_tokens.weight": embedding,
        "model.norm.weight": source.output_norm().to(dtype),
        "lm_head.weight": embedding if torch.equal(head, embedding) else head,
    }
    for index in range(source.config.num_layers):
        layer: LayerWeights = source.layer(index)
        for field, name in _LAYER_NAMES.items():
            weight = getattr(layer, field, None)
            if weight is not None:
                state[f"model.layers.{index}.{name}"] = weight.to(dtype)
    return state


def _shape(config: DecoderConfig) -> dict[str, Any]:
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
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_base},
        "tie_word_embeddings": False,
    }
