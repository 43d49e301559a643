"""Beam search compared with transformers and with exhaustive search, and under memory pressure."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest
import torch
from engine_doubles import (
    CPU,
    GREEDY,
    make_request,
    num_free,
    prompt_of,
    run_all,
    tiny_decoder,
    tiny_engine,
    tokens_of,
)
from tiny_models import TinyModel, tiny_vocabulary, write_gguf
from transformers_reference import reference_model

from archon.engine.decoder_protocol import SpanDecoder
from archon.engine.engine import Engine
from archon.engine.files.gguf import GGUFFile
from archon.engine.loading import load_decoder
from archon.engine.model.config import config_of
from archon.engine.model.decoder import Decoder
from archon.engine.model.weights import GGUFWeights
from archon.engine.perplexity import window_logits
from archon.engine.sampling.request import GenerationRequest
from archon.errors import ContextLengthError, EngineError

VOCABULARY_SIZE = len(tiny_vocabulary())


def beams(prompt_ids: tuple[int, ...], num: int, **fields: Any) -> GenerationRequest:
    return make_request(prompt_ids, beams=num, **({"draws": tuple(range(num))} | fields))


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    return tiny_decoder()


# --------------------------------------------------------------------------- transformers


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[SpanDecoder, Any]:
    path = tmp_path_factory.mktemp("model") / "model.gguf"
    write_gguf(path, TinyModel("llama"))
    file = GGUFFile(path)
    decoder = load_decoder(GGUFWeights(file, config_of(file)), "float32", CPU)
    return decoder, reference_model(path)


def reference(model: Any, request: GenerationRequest) -> list[tuple[tuple[int, ...], float]]:
    """Return the texts that transformers finds, best first: (tokens before the stop, score)."""
    ids = torch.tensor([request.prompt_ids])
    stop_ids = sorted(request.stop_ids)
    found = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        do_sample=False,
        num_beams=request.beams,
        num_return_sequences=len(request.draws),
        max_new_tokens=request.max_tokens,
        eos_token_id=stop_ids or None,
        pad_token_id=0,
        length_penalty=request.length_penalty,
        early_stopping=request.early_stopping,
        return_dict_in_generate=True,
        output_scores=True,
    )
    texts = found.sequences[:, ids.shape[1] :].tolist()
    ends = [next((i for i, t in enumerate(text) if t in stop_ids), None) for text in texts]
    return [
        (tuple(text[:end]), score)
        for text, end, score in zip(texts, ends, found.sequences_scores.tolist(), strict=True)
    ]


@pytest.mark.parametrize("early_stopping", [False, True, "never"])
@pytest.mark.parametrize("length_penalty", [0.0, 1.0, 2.0, -0.5])
@pytest.mark.parametrize("seed", range(4))
def test_texts_and_scores_are_those_of_transformers(
    seed: int, length_penalty: float, early_stopping: Any, pair: tuple[SpanDecoder, Any]
) -> None:
    decoder, model = pair
    rng = random.Random(seed)
    num_beams = rng.choice([2, 3, 5])
    request = beams(
        prompt_of(rng.randint(1, 40), seed=seed, vocab_size=VOCABULARY_SIZE),
        num_beams,
        draws=tuple(range(rng.randint(1, num_beams))),
        max_tokens=rng.choice([1, 12, 40]),
        stop_ids=frozenset(rng.sample(range(1, VOCABULARY_SIZE), rng.choice([0, 1, 60]))),
        length_penalty=length_penalty,
        early_stopping=early_stopping,
    )
    [found] = run_all(Engine(decoder), request)
    expected = reference(model, request)
    assert [g.score for g in found] == pytest.approx([s for _, s in expected], rel=1e-4)
    assert tokens_of(found) == [ids for ids, _ in expected]


# ------------------------------------------------------------------------ trying everything


@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
def test_enough_beams_find_the_best_text(length_penalty: float) -> None:
    vocabulary, stop, length = range(5), 4, 4
    decoder = tiny_decoder(vocab_size=5)
    prompt = (1, 2, 3)

    def score_of(text: tuple[int, ...]) -> float:
        logits_TV = window_logits(decoder, decoder.new_cache(8), (*prompt, *text))
        rows = logits_TV[len(prompt) - 1 : -1].double().log_softmax(-1)
        total = float(rows[range(len(text)), list(text)].sum())
        return total / len(text) ** length_penalty

    texts = [
        text
        for count in range(1, length + 1)
        for text in itertools.product(vocabulary, repeat=count)
        if stop not in text[:-1] and (text[-1] == stop or count == length)
    ]
    best = sorted(texts, key=score_of, reverse=True)[:10]
    request = beams(
        prompt, 500, draws=tuple(range(10)), max_tokens=length, stop_ids=frozenset({stop}),
        length_penalty=length_penalty, early_stopping="never", logprobs=True,
    )  # fmt: skip
    [found] = run_all(tiny_engine(decoder, num_blocks=600, max_sequences=600), request)
    ended_by = [() if g.ended_by is None else (g.ended_by,) for g in found]
    assert [(*g.token_ids, *end) for g, end in zip(found, ended_by, strict=True)] == best
    assert [g.score for g in found] == pytest.approx([score_of(text) for text in best], abs=1e-5)
    assert all(len(g.logprobs or ()) == len(g.token_ids) for g in found)


# -------------------------------------------------------------------------- cache and company


def test_one_beam_is_greedy(decoder: Decoder) -> None:
    [[search]] = run_all(tiny_engine(decoder), beams(prompt_of(20), 1))
    [[greedy]] = run_all(tiny_engine(decoder), make_request(prompt_of(20), rule=GREEDY))
    assert search.token_ids == greedy.token_ids


def test_beams_share_blocks_and_free_them_all(decoder: Decoder) -> None:
    engine = tiny_engine(decoder, num_blocks=100)
    prompt = engine.add(beams(prompt_of(40), 6, max_tokens=60))
    while engine.has_work:
        engine.step()
        tables = [s.own_blocks for s in prompt.running]
        in_use = engine.cache.num_blocks - num_free(engine)
        assert in_use <= 2 + 1 + len({block for table in tables for block in table})
    assert num_free(engine) == 100


@pytest.mark.parametrize("seed", range(6))
def test_searches_under_memory_pressure_find_the_same_texts(seed: int, decoder: Decoder) -> None:
    rng = random.Random(seed)
    requests = [
        beams(prompt_of(rng.randint(1, 40), seed=i), rng.choice([2, 3]), max_tokens=50)
        if i % 2
        else make_request(prompt_of(30, seed=i), draws=(0, 1), max_tokens=50)
        for i in range(6)
    ]
    expected = [run_all(tiny_engine(decoder), request)[0] for request in requests]
    engine = tiny_engine(decoder, num_blocks=17, max_sequences=6, max_step_tokens=1)
    waiting = rng.sample(range(6), 6)
    prompts: dict[int, Any] = {}
    done: dict[Any, Any] = {}
    while waiting or engine.has_work:
        if waiting and rng.random() < 0.8:
            index = waiting.pop()
            prompts[index] = engine.add(requests[index])
        done |= engine.step()
        assert len(engine.scheduler.running) <= 6
    for i, draws in enumerate(expected):
        found = done[prompts[i]]
        assert tokens_of(found) == tokens_of(draws)
        if requests[i].beams:
            assert [g.score for g in found] == pytest.approx([g.score for g in draws], abs=1e-4)
    assert num_free(engine) == 17


def test_beams_are_preempted_together_and_recomputed(decoder: Decoder) -> None:
    engine = tiny_engine(decoder, num_blocks=17, max_step_tokens=1)
    request = beams(prompt_of(5), 2, max_tokens=90)
    engine.add(make_request(prompt_of(5, seed=1), draws=(0, 1), max_tokens=100))
    engine.step()
    search, done = engine.add(request), {}
    seen: set[int] = set()
    while engine.has_work:
        done |= engine.step()
        assert all(s.prompt is search for s in engine.scheduler.preempted)
        seen.add(len(engine.scheduler.preempted))
    assert seen == {0, 2}
    [expected] = run_all(tiny_engine(decoder), request)
    assert tokens_of(done[search]) == tokens_of(expected)


@pytest.mark.parametrize("num_steps", [1, 2, 5, 20])
def test_a_cancelled_search_frees_everything(num_steps: int, decoder: Decoder) -> None:
    engine = tiny_engine(decoder, num_blocks=30)
    prompt = engine.add(beams(prompt_of(40), 4, max_tokens=60))
    for _ in range(num_steps):
        engine.step()
    engine.cancel(prompt)
    assert not engine.has_work
    assert num_free(engine) == 30


def test_usage_and_callback_of_a_search(decoder: Decoder) -> None:
    reported: dict[int, list[int]] = {}

    def on_token(index: int, token: int) -> bool:
        reported.setdefault(index, []).append(token)
        return False

    engine = tiny_engine(decoder)
    request = beams(prompt_of(40), 3, draws=(0, 1), on_token=on_token)
    [found] = run_all(engine, request)
    assert [g.draw for g in found] == [0, 1]
    assert [g.cached_tokens for g in found] == [0, 40]
    assert [tuple(reported[i]) for i in range(2)] == tokens_of(found)
    [again] = run_all(engine, request)
    assert [g.cached_tokens for g in again] == [32, 40]
    assert found[0].score is not None
    assert found[1].score is not None
    assert found[0].score >= found[1].score


def test_sample_k_is_the_kth_best_text(decoder: Decoder) -> None:
    engine = tiny_engine(decoder)
    [all_texts] = run_all(engine, beams(prompt_of(20), 3))
    [part] = run_all(engine, beams(prompt_of(20), 3, draws=(2, 3, 7)))
    assert [g.draw for g in part] == [2, 3, 7]
    assert tokens_of(part) == [all_texts[i].token_ids for i in (2, 0, 1)]


def test_the_callback_may_cut_a_found_text(decoder: Decoder) -> None:
    num_calls = [0, 0]

    def on_token(index: int, token: int) -> bool:
        num_calls[index] += 1
        return index == 1 and num_calls[1] == 4

    request = beams(prompt_of(20), 2, on_token=on_token, logprobs=True)
    [found] = run_all(tiny_engine(decoder), request)
    assert [len(g.token_ids) for g in found] == [12, 4] == num_calls
    assert [g.finish_reason for g in found] == ["length", "stop"]
    assert [len(g.logprobs or ()) for g in found] == [12, 4]


def test_an_invalid_search_is_rejected(decoder: Decoder) -> None:
    engine = tiny_engine(decoder, num_blocks=8, max_sequences=4)
    with pytest.raises(EngineError, match="at least one beam per sample"):
        engine.add(beams(prompt_of(5), 2, draws=(0, 1, 2)))
    with pytest.raises(EngineError, match="at most 4 beams"):
        engine.add(beams(prompt_of(5), 5))
    with pytest.raises(ContextLengthError, match="cache"):
        engine.add(beams(prompt_of(5), 4, max_tokens=40))
    assert not engine.has_work
