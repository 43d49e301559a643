"""A model of the hub in the engine: its samples belong to the content of its weights."""

from __future__ import annotations

from pathlib import Path

import pytest
from hub_doubles import running_hub
from tiny_models import TinyModel, write_gguf

import archon
from archon import weights
from archon.lm.base import close
from archon.lm.lazy import LazyLM
from archon.spec.model import LocalCard
from archon.types import Message, Request, SamplingParams

REQUEST = Request((Message("user", "Hi"),), seed=1, sampling=SamplingParams(max_tokens=3))
STRING = "hf:owner/tiny-GGUF"


async def test_other_weights_have_other_samples(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = []
    with running_hub(tmp_path / "hub", monkeypatch) as hub:
        for number, commit in enumerate(["a" * 40, "b" * 40]):
            path = tmp_path / f"{number}.gguf"
            write_gguf(path, TinyModel(family="qwen2", seed=number))
            hub.publish("owner/tiny-GGUF", {"tiny-Q8_0.gguf": path.read_bytes()}, commit)
            lm = archon.lm(STRING)
            assert isinstance(lm, LazyLM)
            assert isinstance(lm.card, LocalCard)
            (completion,) = await lm.generate(REQUEST)
            assert completion.usage.completion_tokens > 0
            keys.append(lm.open().draw_key(REQUEST))  # type: ignore[attr-defined]
            await close(lm)
            weights.remove(lm.card)
    assert len({*keys}) == 2
