"""Memory pressure: a cache that is too small is slower, but gives the same texts, not an error."""

from __future__ import annotations

import random

import pytest
from engine_doubles import (
    RecordingEngine,
    make_request,
    num_free,
    prompt_of,
    run_all,
    tiny_decoder,
    tiny_engine,
    tokens_of,
)

from archon.engine.cache.kv_cache import num_blocks_for
from archon.engine.model.decoder import Decoder
from archon.engine.sampling.request import Generation, GenerationRequest
from archon.engine.scheduling.sequence import Prompt
from archon.types import Hold

MAX_STEPS = 5_000


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    return tiny_decoder(num_layers=1)


def blocks_for(request: GenerationRequest) -> int:
    """Return the blocks that a request needs: of its prompt, its tail and one sequence."""
    return num_blocks_for(len(request.prompt_ids) + request.max_tokens) + 1


def random_request(rng: random.Random) -> GenerationRequest:
    shared = prompt_of(rng.choice([0, 20, 48]), seed=rng.randrange(2))
    return make_request(
        shared + prompt_of(rng.randint(1, 60), seed=rng.randrange(4)),
        draws=tuple(range(rng.randint(1, 5))),
        seed=rng.randrange(3),
        max_tokens=rng.randint(1, 80),
        stop_ids=frozenset(rng.sample(range(304), 3)),
    )


def run_in_random_order(
    engine: RecordingEngine, requests: list[GenerationRequest], rng: random.Random
) -> tuple[list[list[Generation]], int]:
    """Run requests that arrive at random steps; also return the peak number of preempted ones."""
    order = rng.sample(range(len(requests)), len(requests))
    prompts: dict[int, Prompt] = {}
    done: dict[Prompt, list[Generation]] = {}
    num_preempted = 0
    for _ in range(MAX_STEPS):
        while order and rng.random() < 0.3:
            index = order.pop()
            prompts[index] = engine.add(requests[index])
        done |= engine.step()
        num_preempted = max(num_preempted, len(engine.scheduler.preempted))
        if not order and not engine.has_work:
            return [done[prompts[i]] for i in range(len(requests))], num_preempted
    raise AssertionError("the engine does not finish")


@pytest.mark.parametrize("seed", range(8))
def test_texts_equal_those_of_a_large_cache(seed: int, decoder: Decoder) -> None:
    rng = random.Random(seed)
    requests = [random_request(rng) for _ in range(14)]
    expected = [tokens_of(run_all(tiny_engine(decoder), request)[0]) for request in requests]
    smallest = max(blocks_for(request) for request in requests)
    engine = tiny_engine(
        decoder,
        num_blocks=max(8, smallest + rng.choice([0, 0, 3, 8])),
        max_sequences=rng.choice([3, 32]),
        max_step_tokens=rng.choice([1, 100]),
    )
    for request in rng.sample(requests, 3):  # what the cache holds before
        run_all(engine, request)
    found, _ = run_in_random_order(engine, requests, rng)
    assert [tokens_of(draws) for draws in found] == expected
    assert num_free(engine) == engine.cache.num_blocks


def test_sequences_are_preempted_and_recomputed(decoder: Decoder) -> None:
    requests = [make_request(prompt_of(20, seed=i), draws=(0, 1), max_tokens=90) for i in range(4)]
    engine = tiny_engine(decoder, num_blocks=14)
    found, num_preempted = run_in_random_order(engine, requests, random.Random(0))
    assert num_preempted >= 2
    for request, draws in zip(requests, found, strict=True):
        assert tokens_of(draws) == tokens_of(run_all(tiny_engine(decoder), request)[0])


def test_a_long_text_is_recomputed_in_chunks(decoder: Decoder) -> None:
    requests = [make_request(prompt_of(5, seed=i), max_tokens=300) for i in range(2)]
    engine = tiny_engine(decoder, num_blocks=30, max_sequences=2, max_step_tokens=1)
    found, num_preempted = run_in_random_order(engine, requests, random.Random(0))
    assert num_preempted == 1
    for request, [generation] in zip(requests, found, strict=True):
        assert tokens_of([generation]) == tokens_of(run_all(tiny_engine(decoder), request)[0])


def test_the_first_sequence_is_never_preempted(decoder: Decoder) -> None:
    engine = tiny_engine(decoder, num_blocks=14)
    first = engine.add(make_request(prompt_of(20), max_tokens=100))
    engine.step()
    for i in range(1, 6):
        engine.add(make_request(prompt_of(20, seed=i), max_tokens=100))
    num_steps = 0
    while len(first.running) == 1:
        engine.step()
        num_steps += 1
    assert num_steps == 99
    assert engine.scheduler.preempted


def test_recomputed_tokens_do_not_count_as_cached(decoder: Decoder) -> None:
    engine = tiny_engine(decoder, num_blocks=14)
    requests = [make_request(prompt_of(40, seed=i), draws=(0, 1), max_tokens=90) for i in range(3)]
    prompts = [engine.add(request) for request in requests]
    preempted: set[tuple[Prompt, int]] = set()
    done: dict[Prompt, list[Generation]] = {}
    while engine.has_work:
        done |= engine.step()
        preempted |= {(s.prompt, s.index) for s in engine.scheduler.preempted}
    assert preempted
    for prompt in prompts:
        first, second = done[prompt]
        assert first.cached_tokens == 0
        assert second.cached_tokens <= (32 if (prompt, 1) in preempted else 40)
    assert {done[prompt][1].cached_tokens for prompt in prompts} & {0, 32}


def test_all_computations_of_a_requeued_prompt_are_counted(
    decoder: Decoder,
) -> None:
    engine = tiny_engine(decoder, num_blocks=14, max_sequences=1)
    engine.add(make_request(prompt_of(20), max_tokens=150))
    engine.step()
    early = engine.add(make_request(prompt_of(70, seed=1), draws=(0, 1), max_tokens=10))
    engine.step()
    assert early.num_computed == 70
    done: dict[Prompt, list[Generation]] = {}
    was_dismissed = False
    while engine.has_work:
        done |= engine.step()
        was_dismissed |= early in engine.scheduler.arrived
    assert was_dismissed
    assert [g.cached_tokens for g in done[early]] == [0, 70]


def test_a_preempted_request_is_cancelled_like_any_other(decoder: Decoder) -> None:
    engine = tiny_engine(decoder, num_blocks=14)
    for i in range(4):
        engine.add(make_request(prompt_of(20, seed=i), draws=(0, 1), max_tokens=90))
    while len({s.prompt for s in engine.scheduler.preempted}) < 2:
        engine.step()
    for prompt in {s.prompt for s in engine.scheduler.preempted}:
        engine.cancel(prompt)
        engine.cancel(prompt)
    assert not engine.scheduler.preempted
    while engine.has_work:
        engine.step()
    assert num_free(engine) == 14


# -------------------------------------------------------------------------------------- holds


def fill(engine: RecordingEngine, count: int) -> None:
    """Run other prompts, one after another, that evict all blocks that are not pinned."""
    for seed in range(100, 100 + count):
        run_all(engine, make_request(prompt_of(60, seed=seed), max_tokens=2))


def cached_of(engine: RecordingEngine, request: GenerationRequest) -> int:
    [[generation]] = run_all(engine, request)
    return generation.cached_tokens


def test_a_pinned_prompt_stays_until_its_hold_is_released(decoder: Decoder) -> None:
    engine, hold = tiny_engine(decoder, num_blocks=16), Hold()
    held = make_request(prompt_of(60), max_tokens=2, hold=hold)
    same = make_request(prompt_of(60), max_tokens=2)
    assert cached_of(engine, held) == 0
    fill(engine, 6)
    assert cached_of(engine, same) == 48
    fill(engine, 6)
    assert cached_of(engine, same) == 48
    hold.release()
    fill(engine, 6)
    assert cached_of(engine, same) == 0


def test_a_released_hold_pins_nothing(decoder: Decoder) -> None:
    engine, hold = tiny_engine(decoder, num_blocks=16), Hold()
    hold.release()
    request = make_request(prompt_of(60), max_tokens=2, hold=hold)
    cached_of(engine, request)
    fill(engine, 6)
    assert cached_of(engine, request) == 0


def test_pinned_nodes_are_evicted_if_no_others_are_left(decoder: Decoder) -> None:
    engine = tiny_engine(decoder, num_blocks=16)
    holds = [Hold() for _ in range(5)]
    for seed, hold in enumerate(holds):
        run_all(engine, make_request(prompt_of(60, seed=seed), max_tokens=2, hold=hold))
    large = make_request(prompt_of(150, seed=9), draws=(0, 1), max_tokens=60)
    [draws] = run_all(engine, large)
    assert tokens_of(draws) == tokens_of(run_all(tiny_engine(decoder), large)[0])
    for hold in holds:
        hold.release()
    assert num_free(engine) == 16


def test_releasing_a_hold_unpins_both_of_its_requests(decoder: Decoder) -> None:
    engine, hold = tiny_engine(decoder, num_blocks=20), Hold()
    requests = [make_request(prompt_of(60, seed=i), max_tokens=2, hold=hold) for i in range(2)]
    run_all(engine, *requests, *requests)
    fill(engine, 6)
    assert [cached_of(engine, request) for request in requests] == [48, 48]
    hold.release()
    fill(engine, 8)
    assert [cached_of(engine, request) for request in requests] == [0, 0]
