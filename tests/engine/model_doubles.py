"""Tiny model files of every family, and the logits of a decoder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from gguf import GGMLQuantizationType as TensorType
from tiny_models import TinyModel, tiny_vocabulary

from archon.engine.decoder_protocol import SpanDecoder
from archon.engine.files.gguf import GGUFFile
from archon.engine.files.key_rules import KeyRules
from archon.engine.model.config import config_of
from archon.engine.model.weights import GGUFWeights
from archon.engine.perplexity import window_logits

WIDE = {"width": 256, "ffn_width": 256, "num_layers": 1}
MODELS = {
    "llama": TinyModel("llama"),
    "llama with its own head": TinyModel("llama", tied=False, num_layers=3),
    "llama with biases": TinyModel("llama", biased=True),
    "llama without shared heads": TinyModel("llama", num_kv_heads=4),
    "qwen2": TinyModel("qwen2"),
    "qwen2 tied": TinyModel("qwen2", tied=True),
    "qwen2 of one key-value head": TinyModel("qwen2", num_kv_heads=1, seed=3),
    "qwen3": TinyModel("qwen3", own_head_width=16),
    "qwen3 with its own head": TinyModel("qwen3", own_head_width=6, tied=False, num_kv_heads=1),
    "olmo2": TinyModel("olmo2"),
    "olmo2 with its own head": TinyModel("olmo2", tied=False, num_kv_heads=4, num_layers=3),
    "llama in Q8_0": TinyModel(types={"weight": TensorType.Q8_0, "norm.weight": TensorType.F32}),
    "qwen2 in F16 and BF16": TinyModel(
        "qwen2", types={"attn_q.weight": TensorType.F16, "ffn_up.weight": TensorType.BF16}
    ),
    "qwen2 of mixed types": TinyModel(
        "qwen2",
        **WIDE,
        types={
            "attn_q.weight": TensorType.Q4_K, "attn_k.weight": TensorType.Q5_K,
            "attn_v.weight": TensorType.Q6_K, "ffn_up.weight": TensorType.Q5_0,
            "ffn_gate.weight": TensorType.Q4_0, "ffn_down.weight": TensorType.Q4_1,
            "attn_output.weight": TensorType.Q5_1, "output.weight": TensorType.Q8_0,
        },
    ),
}  # fmt: skip
_MANY_FORMATS = {
    "attn_q.weight": TensorType.Q5_0, "attn_k.weight": TensorType.Q4_0,
    "attn_v.weight": TensorType.Q6_K, "attn_output.weight": TensorType.MXFP4,
    "ffn_gate.weight": TensorType.Q5_K, "ffn_up.weight": TensorType.Q4_K,
    "ffn_down.weight": TensorType.Q4_1, "token_embd.weight": TensorType.Q8_0,
    "output.weight": TensorType.Q6_K,
}  # fmt: skip


def model_of_blocks(family: str, vocabulary_size: int, tied: bool = False) -> TinyModel:
    """A model whose weights have many formats; q, k, v and gate, up have different ones."""
    rng = np.random.default_rng(0)
    rows = {
        name: rng.standard_normal((vocabulary_size, 256)).astype(np.float32)
        for name in ("token_embd.weight", *(() if tied else ("output.weight",)))
    }
    vocabulary = tiny_vocabulary(vocabulary_size)
    tokens = {
        "tokenizer.ggml.tokens": list(vocabulary.tokens),
        "tokenizer.ggml.token_type": list(vocabulary.types),
    }
    shape = {"width": 256, "ffn_width": 256, "num_heads": 8}
    return TinyModel(family, **shape, tied=tied, types=_MANY_FORMATS, metadata=tokens, extra=rows)


VOCABULARY_SIZE = len(tiny_vocabulary())


def weights_of(path: Path) -> GGUFWeights:
    file = GGUFFile(path)
    return GGUFWeights(file, config_of(file))


def our_logits(decoder: SpanDecoder, token_ids: tuple[int, ...]) -> torch.Tensor:
    num_blocks = 32 * decoder.config.cache_layout.entry_size
    return window_logits(decoder, decoder.new_cache(num_blocks), token_ids)


def has_rule(rules: KeyRules, key: str) -> bool:
    """Return True if there is a rule for this key itself, not only for its pattern."""
    return any(
        key in keys for keys in (rules.computed, rules.irrelevant, rules.neutral, rules.null_only)
    )
