"""The sample pool over the local engine: stored samples equal those that would be generated."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_lm_doubles import QUESTION, open_tiny
from tiny_models import TinyModel, write_gguf

from archon.engine.engine import Engine
from archon.engine.worker import EngineWorker
from archon.lm.lazy import LazyLM
from archon.lm.local.lm import LocalLM
from archon.lm.pool import DrawPool, pooling
from archon.spec.model import LocalCard
from archon.types import Completion, Constraint, Hold, Message, Request, SamplingParams

FORM = replace(QUESTION, constraint=Constraint(regex="[ab]{5}"))


@pytest.fixture
async def lm(tiny_chat_file: Path) -> AsyncIterator[LocalLM]:
    lm = open_tiny(tiny_chat_file)
    yield lm
    await lm.aclose()


def drawn(completions: list[Completion]) -> list[object]:
    return [(c.draw, c.text, c.token_ids, c.finish_reason, c.prompts) for c in completions]


@pytest.mark.parametrize("request_", [QUESTION, FORM], ids=["free", "form"])
async def test_pooled_samples_equal_those_of_the_engine(
    tiny_chat_file: Path, tmp_path: Path, request_: Request
) -> None:
    source = {"path": str(tiny_chat_file)}
    fields = {"name": "tiny", "backend": "local", "sources": [source], "precision": "float32"}
    lm = LazyLM(LocalCard.model_validate(fields), tmp_path)
    alone = await lm.generate(replace(request_, n=6))
    with DrawPool(tmp_path / "draws.sqlite3") as pool:
        with pooling(pool, "a"):
            await lm.generate(replace(request_, first_draw=2, n=2))
        with pooling(pool, "b"):
            pooled = await lm.generate(replace(request_, n=6))
        with pooling(pool, "c"):
            found = await lm.generate(replace(request_, n=6))
    await lm.aclose()
    assert drawn(alone) == drawn(pooled) == drawn(found)
    assert [c.usage.generated_tokens > 0 for c in pooled] == [True, True, False, False, True, True]
    assert all(c.usage.cached_tokens == c.usage.prompt_tokens for c in found)
    assert not any(c.usage.generated_tokens for c in found)


async def test_the_key_depends_on_the_request(lm: LocalLM) -> None:
    others = [
        replace(QUESTION, messages=(Message("user", "another"),)),
        replace(QUESTION, seed=1),
        replace(QUESTION, sampling=SamplingParams(0.8, max_tokens=20)),
        replace(QUESTION, sampling=SamplingParams(0.9, max_tokens=21)),
        replace(QUESTION, choices=("a", "b")),
        FORM,
    ]
    assert len({lm.draw_key(request) for request in [QUESTION, *others]}) == 1 + len(others)
    same = [replace(QUESTION, hold=Hold()), replace(QUESTION, logprobs=True, n=4, first_draw=2)]
    assert {lm.draw_key(request) for request in same} == {lm.draw_key(QUESTION)}


async def test_the_key_depends_on_weights_precision_and_backend(
    lm: LocalLM, tiny_chat_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_gguf(tmp_path / "other.gguf", TinyModel("qwen2", seed=1))
    others = [
        open_tiny(tmp_path / "other.gguf"),
        open_tiny(tiny_chat_file, precision="bf16"),
        open_tiny(tiny_chat_file, precision="int8"),
    ]
    keys = [one.draw_key(QUESTION) for one in (lm, *others)]
    assert len(set(keys)) == len(keys)
    same = open_tiny(tiny_chat_file)
    assert same.draw_key(QUESTION) == keys[0]
    # As though compiled kernels computed it.
    local_lm = sys.modules[LocalLM.__module__]  # the package has a function of this name
    monkeypatch.setattr(local_lm, "NativeDecoder", type(same.worker.engine.decoder))
    assert same.draw_key(QUESTION) not in keys
    for one in (*others, same):
        await one.aclose()


async def test_weights_without_a_digest_have_no_key(lm: LocalLM) -> None:
    engine = Engine(lm.worker.engine.decoder)
    nameless = LocalLM(EngineWorker(engine), lm.tokenizer, lm.chat, SamplingParams())
    assert nameless.draw_key(QUESTION) is None
