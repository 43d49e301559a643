"""The same model in transformers, with weights read by the ``gguf`` package."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt
import torch
from process_memory import free_memory
from torch import Tensor
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    Olmo2Config,
    Olmo2ForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

_NAMES = {
    "token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head",
    "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj", "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm", "post_attention_norm": "post_attention_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
}  # fmt: skip
_CHUNK = 1 << 20
"""Weights that are dequantized at once."""


def reference_model(path: Path) -> torch.nn.Module:
    """Return a float32 transformers model with the weights of a GGUF file."""
    reader = gguf.GGUFReader(path)
    family = _field(reader, "general.architecture")
    num_heads = _field(reader, f"{family}.attention.head_count")
    num_kv_heads = _field(reader, f"{family}.attention.head_count_kv")
    shape: dict[str, Any] = {
        "hidden_size": _field(reader, f"{family}.embedding_length"),
        "intermediate_size": _field(reader, f"{family}.feed_forward_length"),
        "num_hidden_layers": _field(reader, f"{family}.block_count"),
        "num_attention_heads": num_heads,
        "num_key_value_heads": num_kv_heads,
        "max_position_embeddings": _field(reader, f"{family}.context_length"),
        "rms_norm_eps": _field(reader, f"{family}.attention.layer_norm_rms_epsilon"),
        "rope_parameters": {
            "rope_type": "default", "rope_theta": _field(reader, f"{family}.rope.freq_base"),
        },
    }  # fmt: skip
    reader.fields.clear()  # several arrays for each token of the vocabulary: half a gigabyte
    free_memory()
    state: dict[str, Tensor] = {}
    for tensor in reader.tensors:
        weight = _dequantized(tensor)
        if family == "llama" and ("attn_q." in tensor.name or "attn_k." in tensor.name):
            weight = _deinterleave(weight, num_heads if "attn_q." in tensor.name else num_kv_heads)
        state[_name(tensor.name)] = torch.from_numpy(weight)
    tied = "lm_head.weight" not in state
    shape |= {
        "vocab_size": len(state["model.embed_tokens.weight"]), "tie_word_embeddings": tied,
    }  # fmt: skip
    if tied:
        state["lm_head.weight"] = state["model.embed_tokens.weight"]
    if family == "qwen3":
        shape["head_dim"] = len(state["model.layers.0.self_attn.q_norm.weight"])
    with torch.device("meta"):
        model = _empty_model(family, shape, "model.layers.0.self_attn.q_proj.bias" in state)
    rope = type(model.model.rotary_emb)(model.config)
    missing = model.load_state_dict(state, strict=False, assign=True).missing_keys
    assert all(name.endswith("o_proj.bias") for name in missing), missing
    for layer in model.model.layers:
        layer.self_attn.o_proj.bias = None
    model.model.rotary_emb = rope
    return model.eval()


def _dequantized(tensor: gguf.ReaderTensor) -> npt.NDArray[np.float32]:
    """Dequantize weights some rows at a time, since ``gguf`` needs several copies."""
    shape = tuple(int(size) for size in reversed(tensor.shape))
    weight = np.empty((math.prod(shape[:-1]), shape[-1]), np.float32)
    rows = tensor.data.reshape(len(weight), -1)
    step = max(1, _CHUNK // shape[-1])
    for begin in range(0, len(rows), step):
        chunk = gguf.quants.dequantize(rows[begin : begin + step], tensor.tensor_type)
        weight[begin : begin + step] = chunk
    return weight.reshape(shape)


def _empty_model(family: str, shape: dict[str, Any], biased: bool) -> Any:
    match family:
        case "llama":
            return LlamaForCausalLM(LlamaConfig(**shape, attention_bias=biased))
        case "qwen2":
            return Qwen2ForCausalLM(Qwen2Config(**shape))
        case "olmo2":
            return Olmo2ForCausalLM(Olmo2Config(**shape))
        case _:
            return Qwen3ForCausalLM(Qwen3Config(**shape))


@torch.inference_mode()
def reference_logits(model: torch.nn.Module, token_ids: list[int]) -> Tensor:
    """Return next-token logits after every token: (T, V)."""
    logits: Tensor = model(torch.tensor([token_ids]), use_cache=False).logits[0]
    return logits.float()


def _field(reader: gguf.GGUFReader, key: str) -> Any:
    field = reader.fields[key]
    return field.contents()


def _name(name: str) -> str:
    parts = name.split(".")
    if parts[0] == "blk":
        return f"model.layers.{parts[1]}.{_NAMES[parts[2]]}.{parts[3]}"
    return f"{_NAMES[parts[0]]}.{parts[1]}"


def _deinterleave(weight: Any, num_heads: int) -> Any:
    """Reorder the rows (a0, b0, a1, b1, …) of each head to (a0, a1, …, b0, b1, …)."""
    heads = weight.reshape(num_heads, -1, 2, *weight.shape[1:])
    return heads.swapaxes(1, 2).reshape(weight.shape)
