"""Optimizations do not change results: cached = uncached, batched = single, forked = separate.

All tests are in float32. Only the order of sums may differ: logits are within 1e-4 of the largest.
"""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch
from engine_doubles import (
    GREEDY,
    RecordingEngine,
    assert_close_logits,
    logits_of,
    logits_of_ragged,
    make_request,
    prompt_of,
    run_all,
    tiny_decoder,
    tiny_engine,
    tokens_of,
)

from archon.engine.model.decoder import Decoder
from archon.engine.model.precision import Precision
from archon.engine.perplexity import window_logits
from archon.engine.sampling.request import GenerationRequest
from archon.engine.sampling.sampler import SamplingRule

LENGTHS = (1, 2, 15, 16, 17, 31, 32, 33, 47, 48, 49, 100, 200)
"""Lengths near the boundaries of cache blocks, and far from them."""
RULES = (
    SamplingRule(temperature=1.0),
    SamplingRule(temperature=0.8, top_k=20),
    SamplingRule(temperature=1.2, top_p=0.9),
    SamplingRule(temperature=1.0, min_p=0.02),
    GREEDY,
)


@pytest.fixture(scope="module", params=["qwen2", "llama"])
def decoder(request: pytest.FixtureRequest) -> Decoder:
    return tiny_decoder(family=request.param)


@pytest.fixture
def engine(decoder: Decoder) -> RecordingEngine:
    return tiny_engine(decoder)


def request_of(length: int, seed: int = 0, **fields: object) -> GenerationRequest:
    return make_request(prompt_of(length, seed=seed), rule=RULES[length % len(RULES)], **fields)


def companions(count: int, seed: int) -> list[GenerationRequest]:
    rng = random.Random(seed)
    return [
        request_of(
            rng.choice(LENGTHS),
            seed=rng.randint(1, 10),
            draws=tuple(range(rng.randint(1, 4))),
            max_tokens=rng.randint(1, 40),
        )
        for _ in range(count)
    ]


@pytest.mark.parametrize("length", LENGTHS)
def test_decoding_token_by_token_equals_one_pass(length: int, engine: RecordingEngine) -> None:
    request = request_of(length, draws=(0, 1), max_tokens=40)
    [stepped] = logits_of(engine, request)
    [draws] = run_all(engine, request)
    cache = engine.decoder.new_cache(32)
    for generation, rows in zip(draws, stepped, strict=True):
        text = [*request.prompt_ids, *generation.token_ids[:-1]]
        assert_close_logits(rows, window_logits(engine.decoder, cache, text)[length - 1 :])


@pytest.mark.parametrize("length", LENGTHS)
def test_cached_equals_uncached(length: int, engine: RecordingEngine) -> None:
    request = request_of(length)
    [uncached], first = logits_of(engine, request), run_all(tiny_engine(engine.decoder), request)
    [cached], second = logits_of(engine, request), run_all(engine, request)
    assert second[0][0].cached_tokens == (length - 1) // 16 * 16
    assert_close_logits(cached, uncached)
    assert tokens_of(second[0]) == tokens_of(first[0])


@pytest.mark.parametrize("shared", [1, 16, 40, 64])
def test_a_prefix_shared_with_another_prompt_changes_nothing(
    shared: int, engine: RecordingEngine
) -> None:
    ending = make_request(prompt_of(shared) + prompt_of(30, seed=2))
    [alone] = logits_of(tiny_engine(engine.decoder), ending)
    run_all(engine, make_request(prompt_of(shared) + prompt_of(50, seed=1)))
    [after] = logits_of(engine, ending)
    assert_close_logits(after, alone)


@pytest.mark.parametrize("length", [68, 69, 150, 300])
def test_prefilling_in_chunks_equals_one_pass(length: int, decoder: Decoder) -> None:
    request = request_of(length, draws=(0, 1))
    [whole] = logits_of(tiny_engine(decoder), request)
    chunked = tiny_engine(decoder, max_sequences=2, max_step_tokens=1)
    [found] = logits_of(chunked, request)
    assert_close_logits(found, whole)


@pytest.mark.parametrize("seed", range(5))
def test_batched_equals_single(seed: int, decoder: Decoder) -> None:
    requests = companions(12, seed)
    together = tiny_engine(decoder, num_blocks=400, max_step_tokens=150)
    logits = logits_of_ragged(together, requests)
    for request, in_company in zip(requests, logits, strict=True):
        [alone] = logits_of_ragged(tiny_engine(decoder), [request])
        for ours, theirs in zip(in_company, alone, strict=True):
            assert_close_logits(ours, theirs)


@pytest.mark.parametrize("seed", range(5))
def test_samples_do_not_depend_on_the_batch(seed: int, decoder: Decoder) -> None:
    requests = companions(12, seed)
    alone = [tokens_of(run_all(tiny_engine(decoder), request)[0]) for request in requests]
    pressed = tiny_engine(decoder, num_blocks=60, max_sequences=5, max_step_tokens=1)
    assert [tokens_of(draws) for draws in run_all(pressed, *requests)] == alone


@pytest.mark.parametrize("length", LENGTHS)
def test_forked_equals_separate(length: int, engine: RecordingEngine) -> None:
    request = request_of(length, draws=(3, 4, 5, 6), max_tokens=20)
    [forked] = logits_of(engine, request)
    [draws] = run_all(engine, request)
    for i, draw in enumerate(request.draws):
        single = replace(request, draws=(draw,))
        [separate] = logits_of(tiny_engine(engine.decoder), single)
        assert_close_logits(forked[i], separate[0])
        [[generation]] = run_all(tiny_engine(engine.decoder), single)
        assert (generation.draw, generation.token_ids) == (draw, draws[i].token_ids)


def test_a_shorter_sample_is_a_prefix_of_a_longer_one(engine: RecordingEngine) -> None:
    request = make_request(prompt_of(30), draws=(0, 1, 2), max_tokens=30)
    [long] = run_all(engine, request)
    [short] = run_all(engine, replace(request, max_tokens=7))
    assert tokens_of(short) == [ids[:7] for ids in tokens_of(long)]


def test_logprobs_are_those_of_the_model(engine: RecordingEngine) -> None:
    request = request_of(41, draws=(0, 1), logprobs=True)
    silent = request_of(30, seed=1)
    first, second = engine.add(request), engine.add(silent)
    done = {}
    while engine.has_work:
        done |= engine.step()
    assert done[second][0].logprobs is None
    for generation in done[first]:
        rows = torch.stack(engine.logits[first, generation.draw]).log_softmax(-1)
        expected = rows[range(len(rows)), list(generation.token_ids)].tolist()
        assert generation.logprobs == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"draws": (1,)}, {"rule": SamplingRule(1.0, top_k=21)}]
)
def test_samples_depend_on_seed_index_and_rule(
    change: dict[str, object], engine: RecordingEngine
) -> None:
    request = make_request(prompt_of(20), max_tokens=40)
    [[one]], [[other]] = run_all(engine, request), run_all(engine, replace(request, **change))
    assert one.token_ids != other.token_ids


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_lower_precisions_barely_depend_on_the_batch(precision: Precision) -> None:
    """Attention may sum in another order, which can change the rounding."""
    decoder = tiny_decoder(precision)
    requests = [replace(r, max_tokens=1) for r in companions(10, seed=3)]
    together = logits_of_ragged(tiny_engine(decoder, num_blocks=400), requests)
    for request, in_company in zip(requests, together, strict=True):
        [alone] = logits_of_ragged(tiny_engine(decoder), [request])
        for ours, theirs in zip(in_company, alone, strict=True):
            assert (ours - theirs).abs().max() <= 0.1 * theirs.abs().max()
