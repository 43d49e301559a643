"""Optional abilities of models: status, closing, prompt counts and split reasoning."""

import asyncio
import threading
from pathlib import Path

import pytest

from archon.lm import factory
from archon.lm.base import SplitsReasoning, SupportsDrawKey, close, prompts_of, status_of
from archon.lm.embedding import EmbeddingLM, Vector
from archon.lm.lazy import LazyLM
from archon.lm.reward import RewardLM
from archon.lm.scripted.lm import ScriptedLM, in_turn
from archon.spec.model import ModelCard, ScriptedCard
from archon.types import Completion, Message, ModelStatus, OnEvent, Request

REQUEST = Request((Message("user", "three words here"),))


class PlainLM:
    """An LM without any optional ability."""

    capabilities = frozenset({"chat"})

    async def generate(self, request: Request, on_event: OnEvent | None = None) -> list[Completion]:
        return []


class BusyLM(ScriptedLM):
    """A scripted model that reports a status."""

    def status(self) -> ModelStatus:
        return ModelStatus("decoding", num_running=3)


class Closable:
    """A model of any kind with resources to free."""

    is_closed = False

    async def aclose(self) -> None:
        self.is_closed = True

    async def score(self, messages: tuple[Message, ...], texts: list[str]) -> list[float]:
        return [0.5] * len(texts)

    async def embed(self, texts: list[str]) -> list[Vector]:
        return [(1.0,)] * len(texts)


async def test_a_plain_lm_has_no_status_no_prompt_count_and_nothing_to_close() -> None:
    plain = PlainLM()
    assert status_of(plain) is None
    assert await prompts_of(plain, REQUEST.messages) is None
    await close(plain)
    assert not isinstance(plain, SplitsReasoning | SupportsDrawKey)


def test_the_status_is_reported_by_models_that_have_one() -> None:
    assert status_of(ScriptedLM(in_turn(["a"]))) is None
    assert status_of(BusyLM(in_turn(["a"]))) == ModelStatus("decoding", num_running=3)


@pytest.mark.parametrize("wrapper", [RewardLM, EmbeddingLM])
async def test_closing_a_wrapper_closes_its_model(wrapper: type) -> None:
    model = Closable()
    await close(wrapper(model))
    assert model.is_closed


async def test_a_lazy_model_reports_that_it_is_loading_and_then_its_model_s_status(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reached, proceed = threading.Event(), threading.Event()

    def open_lm(card: ModelCard, base_dir: Path | None) -> ScriptedLM:
        reached.set()
        assert proceed.wait(30)
        return BusyLM(in_turn(["a"]))

    monkeypatch.setattr(factory, "open_lm", open_lm)
    lazy = LazyLM(ScriptedCard(name="scripted", backend="scripted"), Path())
    assert lazy.status() is None
    call = asyncio.create_task(lazy.generate(REQUEST))
    assert await asyncio.to_thread(reached.wait, 30)
    assert lazy.status() == ModelStatus("loading")
    proceed.set()
    await call
    assert lazy.status() == ModelStatus("decoding", num_running=3)
    await lazy.aclose()
    assert lazy.status() is None
