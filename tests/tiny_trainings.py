"""A configuration of each kind of training that takes a second on tiny random models."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import torch
from tiny_folders import write_folder
from tiny_models import TinyModel
from transformers import BertConfig, BertModel, BertTokenizer

_COMMON: dict[str, Any] = {
    "version": 1, "name": "tiny", "held_out": 4, "context": 96, "rows": 4, "steps": 6,
    "learning_rate": 0.01, "warmup_steps": 1, "save_every": 2,
}  # fmt: skip
_LORA = {"rank": 2, "alpha": 4, "dropout": 0.2}
_SAMPLED = {"samples": 2, "sample_tokens": 4}


def write_training(kind: str, path: Path) -> Path:
    """Write a model, its data and a configuration of a kind into a folder; returns the last."""
    path.mkdir(parents=True, exist_ok=True)
    spec = {**_COMMON, "training": kind, "data": {"path": "data.jsonl"}} | CONFIGURATIONS[kind](
        path
    )
    (path / "config.json").write_text(json.dumps({k: v for k, v in spec.items() if v is not None}))
    return path / "config.json"


def _decoder(path: Path, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """A decoder's card, and rows to learn from."""
    folder = write_folder(path / "base", TinyModel("qwen2"))
    card = {"version": 1, "name": "base", "backend": "local", "precision": "float32",
            "sources": [{"path": str(folder)}]}  # fmt: skip
    (path / "base.json").write_text(json.dumps(card))
    _write(path, rows)
    return {"model": "./base.json"}


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    (path / "data.jsonl").write_text("\n".join(map(json.dumps, rows)))


def _pretrain(path: Path) -> dict[str, Any]:
    _write(path, [{"text": f"{i} and {i + 1}"} for i in range(40)])
    shape = {"num_layers": 1, "width": 16, "ffn_width": 16, "num_heads": 2, "num_kv_heads": 1}
    return {"decoder": shape, **_SAMPLED}


def _sft(path: Path) -> dict[str, Any]:
    rows = [{"prompt": f"say {i}", "completion": f"{i}!"} for i in range(40)]
    return _decoder(path, rows) | {"lora": _LORA, "accumulate": 2, **_SAMPLED}


def _dpo(path: Path) -> dict[str, Any]:
    rows = [{"prompt": f"say {i}", "chosen": f"{i}!", "rejected": f"{i}?"} for i in range(24)]
    return _decoder(path, rows) | {"lora": _LORA, "pairs": 6}


def _reward(path: Path) -> dict[str, Any]:
    rows = [
        {"prompt": f"say {i}", "completion": f"{i} {end}", "correct": end == "!"}
        for i in range(20)
        for end in "!?"
    ]
    lora = _LORA | {"steps": 6, "batch": 4, "context": 96, "save_every": 2}
    changes = {"lora": lora, "penalties": [0.1], "held_out": 0.2}
    return _decoder(path, rows) | dict.fromkeys(_COMMON) | {"version": 1, "name": "tiny"} | changes


def _reinforcement(path: Path) -> dict[str, Any]:
    judge = {"version": 1, "name": "judge", "backend": "scripted", "reward": True}
    (path / "judge.json").write_text(json.dumps(judge))
    rows = [{"prompt": f"say {i}"} for i in range(12)]
    asked = {"prompts": 2, "group": 3, "max_tokens": 5, "reward": {"model": "./judge.json"}}
    return _decoder(path, rows) | asked | {"kl_coefficient": 0.1, "epochs": 2}


def _grpo(path: Path) -> dict[str, Any]:
    return _reinforcement(path) | {"lora": {"rank": 4}}


def _classify(path: Path) -> dict[str, Any]:
    random = Random(0)
    rows = [{"text": " ".join(random.choices("abcd", k=6)), "label": i % 2} for i in range(40)]
    _write(path, rows)
    card = {"name": "base", "backend": "local", "transformer": "sentence-encoder",
            "sources": [{"path": str(write_encoder(path / "base", "abcd"))}]}  # fmt: skip
    (path / "base.json").write_text(json.dumps(card))
    return {"model": "./base.json", "context": 16}


CONFIGURATIONS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "pretrain": _pretrain, "sft": _sft, "dpo": _dpo, "reward": _reward, "classify": _classify,
    "grpo": _grpo, "ppo": _reinforcement,
}  # fmt: skip
"""By kind: writes model and data into a folder, and returns the kind's keys."""


def write_encoder(path: Path, letters: str) -> Path:
    """Write the folder of a tiny random encoder whose words are single letters."""
    path.mkdir(parents=True, exist_ok=True)
    (path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *letters]))
    BertTokenizer(str(path / "vocab.txt")).save_pretrained(path)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=4 + len(letters), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=16, initializer_range=0.2,
    )  # fmt: skip
    BertModel(config).save_pretrained(path)
    return path
