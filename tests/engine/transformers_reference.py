"""The same model in transformers, with weights read by the ``gguf`` package, a layer at a time."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt
import torch
from gguf.constants import GGUFValueType
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
_ARRAY, _STRING = int(GGUFValueType.ARRAY), int(GGUFValueType.STRING)
_LONGEST_ARRAY = 1000
"""Length above which an array of a file is not read."""
_CHUNK = 1 << 20
"""Weights that are dequantized at once."""


class _Reader(gguf.GGUFReader):
    """A reader that skips long arrays: those of a vocabulary would take seconds."""

    def _get_field_parts(self, orig_offs: int, raw_type: int) -> Any:
        if raw_type != _ARRAY:
            return super()._get_field_parts(orig_offs, raw_type)
        kind, count = (
            self._get(orig_offs, np.uint32)[0],
            int(self._get(orig_offs + 4, np.uint64)[0]),
        )
        if count <= _LONGEST_ARRAY:
            return super()._get_field_parts(orig_offs, raw_type)
        data, end = memoryview(self.data), orig_offs + 12
        if kind == _STRING:
            for _ in range(count):
                end += 8 + int.from_bytes(data[end : end + 8], sys.byteorder)
        else:
            end += count * np.dtype(self.gguf_scalar_to_np[GGUFValueType(kind)]).itemsize
        return end - orig_offs, [], [], [GGUFValueType.ARRAY]


def reference_model(path: Path, num_layers: int | None = None) -> torch.nn.Module:
    """Return a float32 transformers model with the weights of a GGUF file.

    ``num_layers`` keeps only the first layers.
    """
    reader = _Reader(path)
    family = _field(reader, "general.architecture")
    num_heads = _field(reader, f"{family}.attention.head_count")
    num_kv_heads = _field(reader, f"{family}.attention.head_count_kv")
    shape: dict[str, Any] = {
        "hidden_size": _field(reader, f"{family}.embedding_length"),
        "intermediate_size": _field(reader, f"{family}.feed_forward_length"),
        "num_hidden_layers": num_layers or _field(reader, f"{family}.block_count"),
        "num_attention_heads": num_heads,
        "num_key_value_heads": num_kv_heads,
        "max_position_embeddings": _field(reader, f"{family}.context_length"),
        "rms_norm_eps": _field(reader, f"{family}.attention.layer_norm_rms_epsilon"),
        "rope_parameters": {
            "rope_type": "default", "rope_theta": _field(reader, f"{family}.rope.freq_base"),
        },
    }  # fmt: skip
    tensors = {_name(tensor.name): tensor for tensor in reader.tensors}

    def weights(prefix: str) -> dict[str, Tensor]:
        """Return the weights whose names have a prefix, without it."""
        return {
            name.removeprefix(prefix): _weight(tensor, family, num_heads, num_kv_heads)
            for name, tensor in tensors.items()
            if name.startswith(prefix)
        }

    embedding = weights("model.embed_tokens.")["weight"]
    shape |= {
        "vocab_size": len(embedding), "tie_word_embeddings": "lm_head.weight" not in tensors,
    }  # fmt: skip
    if family == "qwen3":
        shape["head_dim"] = int(tensors["model.layers.0.self_attn.q_norm.weight"].shape[0])
    with torch.device("meta"):
        model = _empty_model(family, shape, "model.layers.0.self_attn.q_proj.bias" in tensors)
    model.model.rotary_emb = type(model.model.rotary_emb)(model.config)
    _assign(model.model.embed_tokens, {"weight": embedding})
    _assign(model.model.norm, weights("model.norm."))
    _assign(model.lm_head, weights("lm_head.") or {"weight": embedding})
    for number, layer in enumerate(model.model.layers):
        _load_while_computing(layer, partial(weights, f"model.layers.{number}."))
    return model.eval()


def _load_while_computing(layer: Any, load: Callable[[], dict[str, Tensor]]) -> None:
    """Dequantize a layer's weights before it computes and drop them after it: one is in memory."""
    layer.self_attn.o_proj.bias = None

    def drop(*_: Any) -> None:
        layer.to("meta")

    layer.register_forward_pre_hook(lambda *_: _assign(layer, load()))
    layer.register_forward_hook(drop)


def _assign(module: torch.nn.Module, state: dict[str, Tensor]) -> None:
    module.load_state_dict(state, assign=True)


def _weight(tensor: gguf.ReaderTensor, family: str, num_heads: int, num_kv_heads: int) -> Tensor:
    weight = _dequantized(tensor)
    if family == "llama" and ("attn_q." in tensor.name or "attn_k." in tensor.name):
        weight = _deinterleave(weight, num_heads if "attn_q." in tensor.name else num_kv_heads)
    return torch.from_numpy(weight)


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
