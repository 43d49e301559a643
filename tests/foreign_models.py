"""Tiny random models of families that Archon's engine does not have, as transformers saves them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import torch
from tiny_folders import tiny_tokenizer
from tiny_models import CHAT_TEMPLATE, tiny_vocabulary, write_gguf_file
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    GPT2Config,
    GPTNeoXConfig,
    MambaConfig,
    PreTrainedConfig,
    RwkvConfig,
    StableLmConfig,
)

_SIZES: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 2}
_HEADS: dict[str, Any] = {"num_attention_heads": 2, "intermediate_size": 32}
CONTEXT = 1024
FOREIGN: dict[str, tuple[type[PreTrainedConfig], dict[str, Any]]] = {
    "gpt2": (GPT2Config, {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": CONTEXT}),
    "gpt_neox": (GPTNeoXConfig, _SIZES | _HEADS | {"max_position_embeddings": CONTEXT}),
    "bloom": (BloomConfig, {"hidden_size": 16, "n_layer": 2, "n_head": 2}),
    "stablelm": (StableLmConfig, _SIZES | _HEADS | {"num_key_value_heads": 1}),
    "mamba": (MambaConfig, _SIZES | {"state_size": 4}),
    "rwkv": (RwkvConfig, _SIZES | {"attention_hidden_size": 16, "context_length": CONTEXT}),
}
"""``model_type`` → configuration and its sizes."""


def foreign_model(family: str, **changes: Any) -> Any:
    """A random model of transformers; its weights are large, so that its logits differ clearly."""
    kind, sizes = FOREIGN[family]
    config = kind(
        **{
            "vocab_size": len(tiny_vocabulary()), "initializer_range": 0.5,
            "bos_token_id": None, "eos_token_id": None, "pad_token_id": None,
        } | sizes | changes
    )  # fmt: skip
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config).eval()


def write_foreign(
    path: Path, family: str = "gpt_neox", template: str | None = CHAT_TEMPLATE
) -> Path:
    """Write a model with the tiny tokenizer to a folder. GPT-NeoX writes printable ASCII."""
    model = foreign_model(family)
    if family == "gpt_neox":
        _make_printable_likely(model)
    model.save_pretrained(path)
    tiny_tokenizer(template).save_pretrained(path)
    return path


def write_gpt2_gguf(path: Path) -> Path:
    """Write the GGUF file of a GPT-2 with the tiny tokenizer, as llama.cpp's converter does."""
    model = foreign_model("gpt2")
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.GPT2, model.config.n_layer)
    tensors = {
        names.get_name(name, (".weight", ".bias")): (
            weight.T.contiguous() if ".c_" in name and weight.dim() == 2 else weight
        ).numpy()
        for name, weight in model.state_dict().items()
        if name != "lm_head.weight"  # tied
    }
    keys = {
        "context_length": CONTEXT, "embedding_length": 16, "feed_forward_length": 64,
        "block_count": 2, "attention.head_count": 2, "attention.layer_norm_epsilon": 1e-5,
    }  # fmt: skip
    write_gguf_file(path, "gpt2", keys, tensors)
    return path


@torch.no_grad()
def _make_printable_likely(model: Any) -> None:
    """Make one channel constant, and let it lower the logits of all other tokens."""
    norm, head = model.gpt_neox.final_layer_norm, model.get_output_embeddings()
    norm.weight[0], norm.bias[0] = 0, 1
    tokens = tiny_vocabulary().tokens
    printable = [len(t) == 1 and (" " < t <= "~" or t == "Ġ") for t in tokens]
    head.weight[:, 0] = torch.where(torch.tensor(printable), 0.0, -30.0)
