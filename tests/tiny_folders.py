"""Tiny model folders as transformers saves them, of the weights and tokens of ``tiny_models``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.numpy import save_file
from tiny_models import CONTROL_TOKENS, TinyModel, tiny_vocabulary, tiny_weights
from tokenizers import AddedToken
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertTokenizer,
    Qwen2Tokenizer,
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


def write_folder(path: Path, model: TinyModel) -> Path:
    """Write a model's folder: configuration, weights in one file, tokenizer, chat template."""
    path.mkdir(parents=True, exist_ok=True)
    tensors = {_name(name): weight for name, weight in tiny_weights(model).items()}
    save_file(tensors, path / "model.safetensors")
    (path / "config.json").write_text(json.dumps(_config(model, "lm_head.weight" not in tensors)))
    ends = {"eos_token_id": [tiny_vocabulary().tokens.index("<|im_end|>")]}
    (path / "generation_config.json").write_text(json.dumps(ends))
    tiny_tokenizer(model.chat_template).save_pretrained(path)
    return path


def write_cross_encoder(path: Path) -> Path:
    """Write a cross-encoder's folder: random weights, and a vocabulary of letters and digits."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefgh0123456789"]
    path.mkdir(parents=True, exist_ok=True)
    (path / "vocab.txt").write_text("\n".join(words))
    BertTokenizer(str(path / "vocab.txt")).save_pretrained(path)
    config = BertConfig(
        vocab_size=len(words), hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=8, max_position_embeddings=16, num_labels=1, initializer_range=1.0,
    )  # fmt: skip
    BertForSequenceClassification(config).save_pretrained(path)
    return path


def tiny_tokenizer(template: str | None) -> Qwen2Tokenizer:
    """The tiny vocabulary as a tokenizer of transformers; its padding tokens are left out."""
    vocabulary = tiny_vocabulary()
    tokenizer = Qwen2Tokenizer(
        vocab={t: i for i, t in enumerate(vocabulary.tokens) if not t.startswith("[PAD")},
        merges=[tuple(merge.split(" ")) for merge in vocabulary.merges],
        bos_token="<|endoftext|>",
        eos_token="<|im_end|>",
        additional_special_tokens=list(CONTROL_TOKENS[1:2]),
        chat_template=template,
    )
    tokenizer.add_tokens([AddedToken(t, special=False) for t in ("<tool>", "</tool>")])
    return tokenizer


def edit(path: Path, **changes: Any) -> None:
    """Change keys of a JSON file; None takes a key out."""
    value = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in value.items() if v is not None}))


def _config(model: TinyModel, tied: bool) -> dict[str, Any]:
    return {
        "model_type": model.family,
        "vocab_size": len(tiny_vocabulary()),
        "hidden_size": model.width,
        "intermediate_size": model.ffn_width,
        "num_hidden_layers": model.num_layers,
        "num_attention_heads": model.num_heads,
        "num_key_value_heads": model.num_kv_heads,
        "head_dim": model.head_width,
        "max_position_embeddings": model.context_length,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10_000.0,
        "tie_word_embeddings": tied,
    }


def _name(name: str) -> str:
    parts = name.split(".")
    if parts[0] == "blk":
        return f"model.layers.{parts[1]}.{_NAMES[parts[2]]}.{parts[3]}"
    return f"{_NAMES[parts[0]]}.{parts[1]}"
