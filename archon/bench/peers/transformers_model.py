"""A model of the Transformers library with parameters read by Archon's engine."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from archon.engine.model.config import shape_keys
from archon.engine.model.families.traits import EMBEDDING, HEAD, OUTPUT_NORM
from archon.engine.model.weights import WeightSource, layer_parameters
from archon.errors import ModelFileError


def transformers_model(source: WeightSource, dtype: torch.dtype) -> Any:
    """Make a causal LM of transformers from a source's parameters, rounded to ``dtype``.

    Raises
    ------
    ModelFileError
        The model has features that its sizes do not define.
    """
    import transformers

    config = source.config
    if not config.is_plain:
        raise ModelFileError(f"models like this one ({config.family}) are not compared yet")
    prefix = config.traits.hf_class
    shape = shape_keys(config) | {
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_base},
        "tie_word_embeddings": False,
    }
    state = state_dict(source, dtype)
    if not config.traits.always_biased:
        shape["attention_bias"] = "model.layers.0.self_attn.q_proj.bias" in state
    with torch.device("meta"):
        model = getattr(transformers, f"{prefix}ForCausalLM")(
            getattr(transformers, f"{prefix}Config")(**shape)
        )
    rotary = type(model.model.rotary_emb)(model.config)  # frequencies are not in the state
    missing = model.load_state_dict(state, strict=False, assign=True).missing_keys
    assert all(name.endswith("o_proj.bias") for name in missing), missing
    for layer in model.model.layers:
        layer.self_attn.o_proj.bias = None
    model.model.rotary_emb = rotary
    return model.eval()


def state_dict(source: WeightSource, dtype: torch.dtype) -> dict[str, Tensor]:
    """Return the parameters by their names in Transformers."""
    embedding = source.embedding().to(dtype)
    head = source.head().to(dtype)
    layers = {name: parameter.to(dtype) for name, parameter in layer_parameters(source)}
    return {
        EMBEDDING.hf: embedding,
        OUTPUT_NORM.hf: source.output_norm().to(dtype),
        HEAD.hf: embedding if torch.equal(head, embedding) else head,
        **layers,
    }
