"""Tiny reward models: the base model, replies, configurations and rewards."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from random import Random
from typing import Any

from tiny_folders import write_folder
from tiny_models import TinyModel
from train_doubles import write_lines

from archon.lm import factory
from archon.lm.reward import RewardLM
from archon.spec.reader import load_model_card
from archon.types import Message

LORA = {"rank": 4, "alpha": 8, "steps": 40, "batch": 8, "learning_rate": 0.01, "context": 128}


def write_base(tmp_path: Path) -> Path:
    """Write a card of a tiny float32 model whose hidden states depend on all that it reads."""
    folder = write_folder(tmp_path / "base", TinyModel("qwen2", width=64))
    card = {"name": "base", "backend": "local", "sources": [{"path": str(folder)}]}
    (tmp_path / "base.json").write_text(json.dumps(card | {"precision": "float32"}))
    return tmp_path / "base.json"


def judged(count: int = 100) -> list[dict[str, Any]]:
    """Return judged replies; those that end in ``!`` are right."""
    rng = Random(5)
    return [
        {"prompt": f"say {i}", "completion": "the" * rng.randint(0, 3) + end, "correct": end == "!"}
        for i in range(count)
        for end in rng.sample("!?", 2)
    ]


def preferred(count: int = 100) -> list[dict[str, Any]]:
    return [{"prompt": f"say {i}", "chosen": f"{i} !", "rejected": f"{i} ?"} for i in range(count)]


def config(tmp_path: Path, base: Path, rows: list[dict[str, Any]], **changes: Any) -> list[str]:
    write_lines(tmp_path / "data.jsonl", rows)
    spec = {
        "version": 1, "training": "reward", "name": "tiny-reward", "model": str(base),
        "data": {"path": "data.jsonl"}, "penalties": [0.001, 0.1],
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(spec | changes))
    return ["train", "reward", str(tmp_path / "config.json"), "--output", str(tmp_path / "out")]


def record_of(tmp_path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((tmp_path / "out" / "training.json").read_text())
    return found


def rewards_of(tmp_path: Path, *texts: str) -> list[float]:
    """Return the rewards of the trained card for replies to "say 99"."""
    card = load_model_card(str(tmp_path / "out" / "card.json"))
    lm = factory.open_lm(card.spec, card.base_dir)
    assert isinstance(lm, RewardLM)

    async def score() -> list[float]:
        try:
            return await lm.score((Message("user", "say 99"),), texts)
        finally:
            await lm.aclose()

    return asyncio.run(score())
