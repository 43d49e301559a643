"""Models that the transformers library computes: tokens and scores are those of its own calls."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from foreign_models import CONTEXT, foreign_model, write_foreign
from transformers import BertConfig, BertLMHeadModel, GPT2ForSequenceClassification, MambaConfig

from archon.engine.engine import EngineOptions
from archon.engine.sampling.request import Generation, GenerationRequest
from archon.engine.sampling.sampler import SamplingRule
from archon.engine.scheduling.choices import score_request, total_logprob
from archon.engine.transformers.decoder import Reading, TransformersConfig, TransformersDecoder
from archon.engine.transformers.engine import TransformersEngine
from archon.engine.transformers.loading import load_transformers_engine
from archon.errors import ContextLengthError, EngineError, ModelFileError

READINGS = {
    "gpt2": Reading.CHUNKS,
    "gpt_neox": Reading.CHUNKS,
    "bloom": Reading.CHUNKS,
    "stablelm": Reading.CHUNKS,
    "mamba": Reading.TOKENS,
    # Two rows of one token each are mixed up by the library (5.23).
    "rwkv": Reading.TEXTS,
}
PROMPT = tuple(range(40, 57))
CHOICES = ((3, 4, 5), (7,), (9, 10), (3, 4, 6))
NUM_TOKENS = 12


@cache
def model(family: str) -> Any:
    return foreign_model(family)


@cache
def decoder(family: str) -> TransformersDecoder:
    config = TransformersConfig(family, model(family).config.vocab_size, 16, CONTEXT)
    return TransformersDecoder(model(family), config, "float32", "5")


def engine(family: str, **options: int) -> TransformersEngine:
    limits = {"max_sequences": 8, "max_step_tokens": 5}
    return TransformersEngine(decoder(family), "m", EngineOptions(**limits | options))


def run(engine: TransformersEngine, request: GenerationRequest) -> list[Generation]:
    prompt = engine.add(request)
    while engine.has_work:
        finished = engine.step()
        if prompt in finished:
            return finished[prompt]
    raise AssertionError(engine.failed)


def request(num_samples: int = 1, **changes: Any) -> GenerationRequest:
    values: dict[str, Any] = {"seed": 0, "rule": SamplingRule(), "max_tokens": NUM_TOKENS}
    return GenerationRequest(PROMPT, tuple(range(num_samples)), **(values | changes))


SAMPLED = {"rule": SamplingRule(temperature=1.0), "logprobs": True}


@torch.no_grad()
def logprobs(family: str, tokens: tuple[int, ...]) -> list[float]:
    """Log-probabilities of the tokens after the prompt, from the complete text."""
    logits_TV = model(family)(torch.tensor([PROMPT + tokens]), use_cache=False).logits[0]
    logprobs_TV = logits_TV.log_softmax(-1)
    return [logprobs_TV[len(PROMPT) - 1 + at, token].item() for at, token in enumerate(tokens)]


@pytest.mark.parametrize("family", READINGS)
class TestFamilies:
    def test_is_read_as_fast_as_the_library_computes_it_correctly(self, family: str) -> None:
        assert decoder(family).reading is READINGS[family]

    @torch.no_grad()
    def test_greedy_samples_are_the_librarys(self, family: str) -> None:
        expected = model(family).generate(
            torch.tensor([PROMPT]), attention_mask=torch.ones(1, len(PROMPT)), do_sample=False,
            max_new_tokens=NUM_TOKENS, pad_token_id=0,
        )[0, len(PROMPT) :]  # fmt: skip
        for generation in run(engine(family), request(3)):
            assert list(generation.token_ids) == expected.tolist()

    def test_samples_that_share_the_prompt_have_the_logits_of_complete_texts(
        self, family: str
    ) -> None:
        # Samples end at different times, and three samples run after the first four.
        stop_ids = frozenset(range(0, 60))
        generations = run(engine(family, max_sequences=4), request(7, stop_ids=stop_ids, **SAMPLED))
        assert len({len(g.token_ids) for g in generations}) > 2
        for generation in generations:
            expected = logprobs(family, generation.token_ids)
            assert generation.logprobs == pytest.approx(expected, abs=2e-4)
        assert [g.cached_tokens for g in generations] == [0, *[len(PROMPT)] * 6]

    def test_choices_are_scored_after_one_computation_of_the_prompt(self, family: str) -> None:
        scores = run(engine(family), score_request(PROMPT, CHOICES))
        for choice, scored in zip(CHOICES, scores, strict=True):
            assert total_logprob(scored) == pytest.approx(sum(logprobs(family, choice)), abs=2e-4)

    def test_beams_have_the_scores_of_their_texts(self, family: str) -> None:
        generations = run(engine(family), request(2, beams=3, max_tokens=4))
        for generation in generations:
            expected = sum(logprobs(family, generation.token_ids)) / 4
            assert generation.score == pytest.approx(expected, abs=2e-4)
        assert generations[0].token_ids != generations[1].token_ids


def test_a_sample_depends_on_its_number_and_not_on_the_request() -> None:
    whole = run(engine("gpt2"), request(5, **SAMPLED))
    [fourth] = run(engine("gpt2"), GenerationRequest(PROMPT, (3,), 0, SAMPLED["rule"], NUM_TOKENS))
    assert fourth.token_ids == whole[3].token_ids
    assert len({g.token_ids for g in whole}) == 5


@pytest.mark.parametrize("family", ["gpt2", "mamba"])
def test_equal_chunks_of_the_previous_prompt_are_not_computed_again(family: str) -> None:
    one, other = engine(family), (*PROMPT[:13], 7, 8, 9, 10)
    values = {"draws": (0, 1), "seed": 0, "max_tokens": NUM_TOKENS, **SAMPLED}
    fresh = run(engine(family), GenerationRequest(other, **values))
    run(one, request(1, **SAMPLED))  # its row is extended by the sample
    again = run(one, GenerationRequest(other, **values))
    num_cached = 10 if family == "gpt2" else 0
    assert [g.cached_tokens for g in again] == [num_cached, len(other)]
    assert [(g.token_ids, g.logprobs) for g in again] == [(g.token_ids, g.logprobs) for g in fresh]
    [alone] = run(one, GenerationRequest(other[:10], (0,), 0, SamplingRule(), 3))
    assert alone.cached_tokens == num_cached // 2
    share = one.status().cached_prompt_share
    assert share == pytest.approx(num_cached * 1.5 / (len(PROMPT) + len(other) + 10))


def test_only_as_many_samples_run_as_fit_the_memory() -> None:
    tight = engine("gpt2", cache_bytes=20_000)
    tight.add(request(8, **SAMPLED))
    running = []
    while tight.has_work:
        tight.step()
        running.append(tight.status().num_running)
    assert 1 <= max(running) < 4


def test_a_cancelled_request_ends_between_two_tokens_and_the_next_one_begins() -> None:
    one = engine("gpt2")
    cancelled, queued = one.add(request(2)), one.add(request(1))
    waiting = one.add(request(1))
    for _ in range(6):
        assert not one.step()
    one.cancel(cancelled)
    one.cancel(waiting)
    finished = {}
    while one.has_work:
        finished |= one.step()
    assert finished.keys() == {queued}
    assert one.status().num_running == 0


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"max_tokens": CONTEXT}, ContextLengthError),
        ({"beams": 9}, EngineError),
        ({"hidden": True}, EngineError),
        ({"adapter": "a"}, EngineError),
    ],
)
def test_requests_that_cannot_be_computed_are_rejected(
    changes: dict[str, Any], error: type[EngineError]
) -> None:
    with pytest.raises(error):
        engine("gpt2").add(request(1, **changes))


class TestLoading:
    def test_sizes_are_read_and_any_other_precision_becomes_one_of_the_library(
        self, tmp_path: Path
    ) -> None:
        loaded = load_transformers_engine(write_foreign(tmp_path / "m"), "int8", device="cpu")
        assert loaded.context_length == CONTEXT
        assert loaded.decoder.precision in ("bf16", "float32")
        assert loaded.model_id == f":{loaded.decoder.precision}:cpu"

    def test_a_model_without_a_limit_has_a_long_context(self, tmp_path: Path) -> None:
        assert not hasattr(MambaConfig(), "max_position_embeddings")
        folder = write_foreign(tmp_path / "m", "mamba")
        assert load_transformers_engine(folder, "float32", device="cpu").context_length == 1 << 20

    def test_a_context_beyond_learned_positions_is_rejected(self, tmp_path: Path) -> None:
        folder = write_foreign(tmp_path / "m", "gpt2")
        with pytest.raises(ModelFileError, match=f"{CONTEXT} learned positions"):
            load_transformers_engine(folder, "float32", device="cpu", context_length=CONTEXT + 1)

    def test_parameters_that_would_be_random_are_rejected(self, tmp_path: Path) -> None:
        config = foreign_model("gpt2").config
        config.tie_word_embeddings, config.pad_token_id = False, 0
        GPT2ForSequenceClassification(config).save_pretrained(tmp_path)
        with pytest.raises(ModelFileError, match=r"lack 1 parameters.*lm_head.weight"):
            load_transformers_engine(tmp_path, "float32", device="cpu")

    def test_a_model_that_is_not_causal_is_rejected(self, tmp_path: Path) -> None:
        config = BertConfig(
            vocab_size=40, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
            intermediate_size=8, max_position_embeddings=32, initializer_range=1.0,
        )  # fmt: skip
        BertLMHeadModel(config).save_pretrained(tmp_path)
        with pytest.raises(ModelFileError, match="not causal"):
            load_transformers_engine(tmp_path, "float32", device="cpu")

    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        folder = write_foreign(tmp_path / "m")
        (folder / "model.safetensors").unlink()
        with pytest.raises(ModelFileError, match=r"model\.safetensors"):
            load_transformers_engine(folder, "float32", device="cpu")
