"""The contract of ``RewardModel``, run over every implementation.

To test another one, add it to ``MODELS``.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from tiny_folders import write_cross_encoder

from archon.engine.loading import open_model
from archon.engine.model.config import config_of
from archon.engine.model.reward_head import RewardHead, write_reward_head
from archon.errors import UnsupportedError
from archon.lm.base import LM, close
from archon.lm.factory import open_lm
from archon.lm.lazy import LazyLM
from archon.lm.reward import RewardLM, RewardModel
from archon.spec.model import LocalCard, ScriptedCard
from archon.types import Message, Request

MESSAGES = (Message("system", "Be brief."), Message("user", "What is 12 + 7?"))
TEXTS = ("The answer is 19.", "The answer is 20.", "", "12 + 7 = 19 数学 🧮")


@dataclass(frozen=True)
class Places:
    """Where the tests find model files."""

    file: Path
    """GGUF file of a tiny chat model; ``head`` in the same folder is a reward head for it, and
    ``cross-encoder`` is a model of its own."""


class AppModel:
    """A reward model of an application: no base class, and rewards of any scale."""

    async def score(self, messages: tuple[Message, ...], texts: Sequence[str]) -> list[float]:
        return [float(len(text)) - len(messages) for text in texts]


def app(places: Places) -> RewardModel:
    return AppModel()


def app_as_role(places: Places) -> RewardModel:
    return RewardLM(AppModel())


def scripted_card() -> ScriptedCard:
    return ScriptedCard(name="scripted", backend="scripted", reward=True)


def scripted(places: Places) -> RewardModel:
    return opened(open_lm(scripted_card()))


def lazy(places: Places) -> RewardModel:
    return LazyLM(scripted_card(), Path())


def local(places: Places) -> RewardModel:
    card = {
        "name": "tiny",
        "backend": "local",
        "sources": [{"path": str(places.file)}],
        "precision": "float32",
        "reward": "./head",
    }
    return opened(open_lm(LocalCard.model_validate(card), places.file.parent))


def cross_encoder(places: Places) -> RewardModel:
    card = {
        "name": "tiny",
        "backend": "local",
        "transformer": "cross-encoder",
        "sources": [{"path": str(places.file.parent / "cross-encoder")}],
    }
    return opened(open_lm(LocalCard.model_validate(card)))


def opened(lm: LM) -> RewardModel:
    assert isinstance(lm, RewardModel)
    return lm


@dataclass(frozen=True)
class Model:
    """How to open a model for the tests."""

    open: Callable[[Places], RewardModel]
    is_lm: bool = True
    """It can be a role's model without a wrapper."""
    is_probability: bool = True
    """Its rewards are probabilities, as those of cards are."""


MODELS = {
    "scripted": Model(scripted),
    "lazy": Model(lazy),
    "local": Model(local),
    "cross-encoder": Model(cross_encoder),
    "application's": Model(app, is_lm=False, is_probability=False),
    "application's as a role": Model(app_as_role, is_probability=False),
}


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> Model:
    return MODELS[request.param]


@pytest.fixture(scope="session")
def reward_places(tmp_path_factory: pytest.TempPathFactory, tiny_chat_file: Path) -> Places:
    folder = tmp_path_factory.mktemp("reward")
    file = folder / "chat.gguf"
    file.write_bytes(tiny_chat_file.read_bytes())
    width = config_of(open_model(file)).width
    weight_E = torch.randn(width, generator=torch.Generator().manual_seed(3)) / 3
    write_reward_head(RewardHead("outcome", weight_E, 0.25, "tiny"), folder / "head")
    write_cross_encoder(folder / "cross-encoder")
    return Places(file)


@pytest.fixture
async def reward_model(model: Model, reward_places: Places) -> AsyncIterator[RewardModel]:
    reward_model = model.open(reward_places)
    yield reward_model
    await close(reward_model)


class TestRewardModel:
    async def test_there_is_one_finite_reward_per_text(
        self, reward_model: RewardModel, model: Model
    ) -> None:
        assert isinstance(reward_model, RewardModel)
        rewards = await reward_model.score(MESSAGES, TEXTS)
        assert len(rewards) == len(TEXTS)
        assert all(map(math.isfinite, rewards))
        assert len(set(rewards)) > 1
        if model.is_probability:
            assert all(0 <= reward <= 1 for reward in rewards)

    async def test_no_texts_have_no_rewards(self, reward_model: RewardModel) -> None:
        assert await reward_model.score(MESSAGES, []) == []

    async def test_equal_calls_have_equal_rewards(self, reward_model: RewardModel) -> None:
        first = await reward_model.score(MESSAGES, TEXTS)
        assert await reward_model.score(MESSAGES, TEXTS) == pytest.approx(first, abs=1e-5)

    async def test_a_reward_does_not_depend_on_the_other_texts(
        self, reward_model: RewardModel
    ) -> None:
        together = await reward_model.score(MESSAGES, TEXTS)
        alone = [await reward_model.score(MESSAGES, [text]) for text in TEXTS]
        assert [reward for [reward] in alone] == pytest.approx(together, abs=1e-5)
        backwards = await reward_model.score(MESSAGES, TEXTS[::-1])
        assert backwards[::-1] == pytest.approx(together, abs=1e-5)

    async def test_concurrent_calls_do_not_mix(self, reward_model: RewardModel) -> None:
        conversations = [(Message("user", f"What is {k} + 1?"),) for k in range(6)]
        apart = [await reward_model.score(messages, TEXTS) for messages in conversations]
        together = await asyncio.gather(*(reward_model.score(m, TEXTS) for m in conversations))
        for expected, rewards in zip(apart, together, strict=True):
            assert rewards == pytest.approx(expected, abs=1e-5)

    async def test_as_a_role_s_model_it_scores_and_generates_nothing(
        self, reward_model: RewardModel, model: Model
    ) -> None:
        assert isinstance(reward_model, LM) == model.is_lm
        if isinstance(reward_model, LM):
            assert reward_model.capabilities == {"reward"}
            with pytest.raises(UnsupportedError, match="choose a model that generates text"):
                await reward_model.generate(Request(MESSAGES))

    def test_works_in_one_event_loop_after_another(
        self, model: Model, reward_places: Places
    ) -> None:
        reward_model = model.open(reward_places)

        async def rewards() -> list[float]:
            return await reward_model.score(MESSAGES, TEXTS)

        assert asyncio.run(rewards()) == pytest.approx(asyncio.run(rewards()), abs=1e-5)
        asyncio.run(close(reward_model))
