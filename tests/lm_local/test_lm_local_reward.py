"""Decoders with a reward head: they share the generator's engine; mismatches are refused."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from counting_decoder import CountingDecoder
from safetensors.torch import save_file
from tiny_folders import write_folder
from tiny_models import TinyModel
from torch import Tensor
from transformers import AutoModelForCausalLM

from archon.engine.loading import open_model
from archon.engine.model.config import config_of
from archon.engine.model.lora import Adapter
from archon.engine.model.lora_config import read_adapter, write_adapter
from archon.engine.model.reward_head import (
    CONFIG_NAME,
    TENSORS_NAME,
    RewardHead,
    read_reward_head,
    write_reward_head,
)
from archon.errors import EngineError, ModelFileError, SpecError, UnsupportedError
from archon.lm import factory
from archon.lm.local import open_local
from archon.lm.local.lm import LocalLM
from archon.lm.local.reward import DecoderReward
from archon.lm.reward import RewardLM
from archon.spec.model import LocalCard
from archon.types import Message, Request, SamplingParams

MESSAGES = (Message("user", "the answer is what?"),)


@pytest.fixture
def width(tiny_chat_file: Path) -> int:
    return config_of(open_model(tiny_chat_file)).width


@pytest.fixture
def head(tmp_path: Path, width: int) -> RewardHead:
    """A random head in the folder ``head``."""
    generator = torch.Generator().manual_seed(3)
    weight_E = torch.randn(width, generator=generator) / 3
    write_reward_head(RewardHead("outcome", weight_E, 0.25, "tiny"), tmp_path / "head")
    return read_reward_head(tmp_path / "head")


def card(path: Path, **changes: Any) -> LocalCard:
    plain = {"name": "tiny", "backend": "local", "sources": [{"path": str(path)}]}
    return LocalCard.model_validate({**plain, "precision": "float32", **changes})


def open_reward(path: Path, base_dir: Path, **changes: Any) -> RewardLM:
    lm = open_local(card(path, reward="./head", **changes), base_dir)
    assert isinstance(lm, RewardLM)
    return lm


def test_a_head_is_read_as_it_was_written(tmp_path: Path, head: RewardHead) -> None:
    write_reward_head(head, tmp_path / "again")
    again = read_reward_head(tmp_path / "again")
    assert torch.equal(again.weight_E, head.weight_E)
    assert (again.bias, again.goal, again.base, again.digest) == (
        head.bias, head.goal, head.base, head.digest,
    )  # fmt: skip


def test_an_interrupted_write_keeps_the_old_head(
    tmp_path: Path, head: RewardHead, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, *_: object, **__: object) -> int:
        path.write_bytes(b"{")
        raise OSError("no space left")

    other = replace(head, weight_E=2 * head.weight_E)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_text", full)
        with pytest.raises(OSError, match="no space"):
            write_reward_head(other, tmp_path / "head")
    assert read_reward_head(tmp_path / "head").digest == head.digest


@pytest.mark.parametrize("logit", [-800.0, -3.0, 0.0, 3.0, 800.0])
def test_a_reward_is_the_sigmoid_of_the_logit(logit: float) -> None:
    head = RewardHead("outcome", torch.ones(4), logit, "tiny")
    found = head.reward(torch.tensor([1.0, -1.0, 2.0, -2.0]))
    assert found == pytest.approx(torch.tensor(logit, dtype=torch.float64).sigmoid().item())


@pytest.mark.parametrize("precision", ["float32", "int8", "int4"])
async def test_rewards_agree_with_transformers(
    precision: str, tmp_path: Path, head: RewardHead
) -> None:
    model = write_folder(tmp_path / "model", TinyModel("qwen2"))
    lm = open_reward(model, tmp_path, precision=precision)
    texts = ["12.", "the answer is 12", ""]
    found = await lm.score(MESSAGES, texts)
    await lm.aclose()
    opened = open_local(card(model), tmp_path)
    assert isinstance(opened, LocalLM)
    end = opened.tokenizer.special_ids["<|im_end|>"]
    reference = AutoModelForCausalLM.from_pretrained(model)
    for text, reward in zip(texts, found, strict=True):
        ids = [*opened.chat.encode(MESSAGES), *opened.tokenizer.encode(text), end]
        with torch.inference_mode():
            states = reference(torch.tensor([ids]), output_hidden_states=True).hidden_states
        logit = float(states[-1][0, -1] @ head.weight_E) + head.bias
        bound = {"float32": 1e-4, "int8": 0.15, "int4": 0.5}[precision]
        assert math.log(reward / (1 - reward)) == pytest.approx(logit, abs=bound)
    await opened.aclose()


async def test_generator_and_reward_model_share_an_engine_and_its_cache(
    tiny_chat_file: Path, tmp_path: Path, head: RewardHead
) -> None:
    generator = open_local(card(tiny_chat_file), tmp_path)
    lm = open_reward(tiny_chat_file, tmp_path, name="reward")
    assert isinstance(generator, LocalLM)
    assert isinstance(lm._model, DecoderReward)
    assert lm._model.worker is generator.worker
    engine = generator.worker.engine
    counting = engine.decoder = CountingDecoder(engine.decoder)
    sampling = SamplingParams(temperature=1.0, max_tokens=60)
    drawn = await generator.generate(Request(MESSAGES, n=16, sampling=sampling))
    texts = [completion.text for completion in drawn]
    counting.num_tokens = 0
    rewards = await lm.score(MESSAGES, texts)
    prompt = len(generator.chat.encode(MESSAGES))
    kept = [  # a text may be written in other tokens than those that were drawn
        generator.tokenizer.encode(c.text) == list(c.token_ids or ()) for c in drawn
    ]
    assert sum(kept) >= 4
    lengths = [prompt + len(c.token_ids or ()) + 1 for c in drawn]
    most = sum(16 if k else length for k, length in zip(kept, lengths, strict=True))
    assert counting.num_tokens <= most < sum(lengths)
    await generator.aclose()
    assert await lm.score(MESSAGES, texts) == pytest.approx(rewards, abs=1e-6)
    await lm.aclose()


async def test_rewards_are_computed_concurrently_with_samples(
    tiny_chat_file: Path, tmp_path: Path, head: RewardHead
) -> None:
    generator = open_local(card(tiny_chat_file), tmp_path)
    lm = open_reward(tiny_chat_file, tmp_path)
    alone = await lm.score(MESSAGES, ["12", "the"])
    request = Request(MESSAGES, n=4, sampling=SamplingParams(1.0, max_tokens=40))
    together = await asyncio.gather(generator.generate(request), lm.score(MESSAGES, ["12", "the"]))
    assert together[1] == pytest.approx(alone, abs=1e-6)
    assert await lm.score(MESSAGES, []) == []
    with pytest.raises(UnsupportedError, match="tiny only scores texts"):
        await lm.generate(request)
    for opened in (generator, lm):
        await opened.aclose()  # type: ignore[attr-defined]


async def test_a_reply_beyond_the_context_is_truncated(
    tiny_chat_file: Path, tmp_path: Path, head: RewardHead
) -> None:
    lm = open_reward(tiny_chat_file, tmp_path, context=64)
    first, second = await lm.score(MESSAGES, ["x" * 500, "x" * 500 + "y"])
    assert first == pytest.approx(second, abs=1e-6)
    with pytest.raises(EngineError, match="do not fit"):
        await lm.score((Message("user", "q" * 80),), ["x"])
    await lm.aclose()


async def test_a_head_may_belong_to_an_adapter(
    tiny_chat_file: Path, tmp_path: Path, head: RewardHead, width: int
) -> None:
    a, b = torch.randn(2, width), torch.randn(width, 2)
    pairs = {"model.layers.0.self_attn.q_proj": (a, b)}
    write_adapter(Adapter(2, 4, pairs, 2.0), tmp_path / "adapter", base="tiny")
    digest = read_adapter(tmp_path / "adapter").digest
    plain = open_reward(tiny_chat_file, tmp_path)
    with pytest.raises(ModelFileError, match="head: was trained without an adapter"):
        open_reward(tiny_chat_file, tmp_path, adapter="./adapter")
    write_reward_head(
        RewardHead("outcome", head.weight_E, head.bias, "tiny", adapter=digest), tmp_path / "head"
    )
    with pytest.raises(ModelFileError, match="trained with an adapter that the card does not have"):
        open_reward(tiny_chat_file, tmp_path)
    adapted = open_reward(tiny_chat_file, tmp_path, adapter="./adapter")
    found = [await lm.score(MESSAGES, ["12"]) for lm in (plain, adapted)]
    assert abs(found[0][0] - found[1][0]) > 1e-3
    for lm in (plain, adapted):
        await lm.aclose()


def test_capabilities_are_known_without_opening(tiny_chat_file: Path) -> None:
    assert factory.capabilities(card(tiny_chat_file, reward="./head")) == {"reward"}


# -------------------------------------------------------------------------------- what misfits


def spoilt(**changes: Any) -> Any:
    def spoil(path: Path) -> None:
        config = json.loads((path / CONFIG_NAME).read_text()) | changes
        (path / CONFIG_NAME).write_text(json.dumps(config))

    return spoil


def with_tensors(tensors: dict[str, Tensor]) -> Any:
    return lambda path: save_file(tensors, path / TENSORS_NAME)


BIAS, ONE, NAN = torch.zeros(1), torch.ones(1), float("nan")
BAD: dict[str, tuple[Any, str]] = {
    "no configuration": (lambda p: (p / CONFIG_NAME).unlink(), "the file reward_conf"),
    "no tensors": (lambda p: (p / TENSORS_NAME).unlink(), "the file reward_head"),
    "no JSON": (lambda p: (p / CONFIG_NAME).write_text("{"), "is not valid JSON"),
    "no object": (lambda p: (p / CONFIG_NAME).write_text("[]"), "must be a JSON object"),
    "deep JSON": (lambda p: (p / CONFIG_NAME).write_text("[" * 99999), "is not valid JSON"),
    "another goal": (spoilt(goal="beauty"), "goal is 'beauty', not one of outcome, preference"),
    "no base": (spoilt(base_model=7), "base_model is 7, not a string"),
    "cut tensors": (lambda p: (p / TENSORS_NAME).write_bytes(b"\x08"), "is damaged"),
    "other tensors": (
        with_tensors({"scale": BIAS}),
        "must be weight and bias, but they are: scale",
    ),
    "a matrix": (
        with_tensors({"weight": torch.ones(2, 2), "bias": BIAS}),
        "weight must be a vector",
    ),
    "no number": (with_tensors({"weight": torch.tensor([NAN]), "bias": BIAS}), "infinite or NaN"),
    "another width": (with_tensors({"weight": ONE, "bias": BIAS}), "weight has 1 numbers, but"),
    "other weights": (spoilt(base_digest="0" * 64), "was trained on other weights: those of tiny"),
}


@pytest.mark.parametrize("name", BAD)
def test_an_invalid_head_is_reported(
    name: str, tiny_chat_file: Path, tmp_path: Path, head: RewardHead
) -> None:
    spoil, reason = BAD[name]
    spoil(tmp_path / "head")
    with pytest.raises(ModelFileError, match=reason):
        open_reward(tiny_chat_file, tmp_path)


def test_a_missing_head_is_reported(tiny_chat_file: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"head: the file .* of the reward head is missing"):
        open_reward(tiny_chat_file, tmp_path)
    with pytest.raises(SpecError, match="ships no reward head named 'mine'"):
        open_local(card(tiny_chat_file, reward="mine"), tmp_path)


def test_only_decoders_have_heads(tiny_chat_file: Path) -> None:
    with pytest.raises(ValueError, match="'reward' needs 'transformer' to be 'decoder'"):
        card(tiny_chat_file, reward="./head", transformer="cross-encoder")


@pytest.fixture(autouse=True)
def no_engine_is_left() -> Iterator[None]:
    """A refused head does not keep the engine that was opened for it."""
    from archon.lm.local.card_loading import _NUM_USERS

    before = sum(_NUM_USERS.values())
    yield
    assert sum(_NUM_USERS.values()) == before
