"""The scheduler: admission, order, sharing of prefixes, and that every block is freed."""

from __future__ import annotations

import contextlib
import random

import pytest
from counting_decoder import CountingDecoder
from engine_doubles import (
    GREEDY,
    RecordingEngine,
    make_request,
    num_free,
    prompt_of,
    run_all,
    tiny_decoder,
    tiny_engine,
    tokens_of,
)

from archon.engine.cache.kv_cache import BLOCK_SIZE
from archon.engine.model.decoder import Decoder
from archon.engine.sampling.request import GenerationRequest
from archon.engine.scheduling.sequence import Prompt
from archon.errors import ContextLengthError, EngineError


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    return tiny_decoder(num_layers=1)


def finish(engine: RecordingEngine, max_steps: int = 20_000) -> dict[Prompt, int]:
    """Step until all requests finish; return the step in which each did."""
    finished: dict[Prompt, int] = {}
    for step in range(max_steps):
        if not engine.has_work:
            return finished
        for prompt in engine.step():
            finished[prompt] = step
    raise AssertionError("the engine does not finish")


# --------------------------------------------------------------------------- rejected requests


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (make_request(()), "needs at least one prompt token"),
        (make_request((1,), draws=()), "needs at least one prompt token"),
        (make_request((1,), max_tokens=0), "needs at least one prompt token"),
        (make_request((1, 304)), "vocabulary"),
        (make_request((-1, 3)), "vocabulary"),
        (make_request((1 << 70,)), "vocabulary"),
    ],
)
def test_an_invalid_request_is_rejected(
    request_: GenerationRequest, reason: str, decoder: Decoder
) -> None:
    engine = tiny_engine(decoder)
    with pytest.raises(EngineError, match=reason):
        engine.add(request_)
    assert not engine.has_work


def test_prompt_and_new_tokens_must_fit_the_context(decoder: Decoder) -> None:
    engine = tiny_engine(decoder)
    engine.add(make_request(prompt_of(500), max_tokens=12))
    with pytest.raises(ContextLengthError, match="500 prompt tokens and up to 13 new ones"):
        engine.add(make_request(prompt_of(500), max_tokens=13))


@pytest.mark.parametrize("num_blocks", [8, 11])
@pytest.mark.parametrize("length", [1, 16, 17, 40, 100])
def test_the_largest_request_that_fits_the_cache_finishes(
    length: int, num_blocks: int, decoder: Decoder
) -> None:
    def request_for(max_tokens: int) -> GenerationRequest:
        return make_request(prompt_of(length), max_tokens=max_tokens, draws=(0, 1))

    def is_taken(max_tokens: int) -> bool:
        with contextlib.suppress(ContextLengthError):
            tiny_engine(decoder, num_blocks=num_blocks).add(request_for(max_tokens))
            return True
        return False

    largest = max(n for n in range(1, 200) if is_taken(n))
    assert largest + length > (num_blocks - 3) * BLOCK_SIZE
    [draws] = run_all(tiny_engine(decoder, num_blocks=num_blocks), request_for(largest))
    assert [len(ids) for ids in tokens_of(draws)] == [largest] * 2


def test_a_request_that_never_fits_the_cache_is_rejected(decoder: Decoder) -> None:
    engine = tiny_engine(decoder, num_blocks=8)
    with pytest.raises(ContextLengthError, match="do not fit the cache"):
        engine.add(make_request(prompt_of(120), max_tokens=10))
    assert not engine.has_work


# -------------------------------------------------------------------------- shared prefixes


def test_a_common_prefix_is_computed_once(decoder: Decoder) -> None:
    shared = prompt_of(64)
    requests = [make_request(shared + prompt_of(20, seed=i), max_tokens=3) for i in range(1, 5)]
    results = run_all(tiny_engine(decoder), *requests)
    assert [draws[0].cached_tokens for draws in results] == [0, 64, 64, 64]


@pytest.mark.parametrize("max_step_tokens", [1, 1000])
@pytest.mark.parametrize("seed", range(4))
def test_each_distinct_prefix_is_computed_once_on_a_cold_start(
    seed: int, max_step_tokens: int, decoder: Decoder
) -> None:
    rng = random.Random(seed)
    starts = [prompt_of(100), prompt_of(48), prompt_of(64, seed=1), ()]
    requests = [
        make_request(
            rng.choice(starts) + prompt_of(rng.randint(1, 50), seed=rng.randrange(3)),
            draws=tuple(range(rng.randint(1, 3))),
            max_tokens=1,  # drawn from the prompt's logits: nothing else is computed
        )
        for _ in range(20)
    ]
    counting = CountingDecoder(decoder)
    engine = tiny_engine(counting, max_sequences=8, max_step_tokens=max_step_tokens)
    results = run_all(engine, *requests)
    prompts = [request.prompt_ids for request in requests]
    num_whole = [(len(ids) - 1) // BLOCK_SIZE * BLOCK_SIZE for ids in prompts]
    blocks = {
        ids[:stop]
        for ids, whole in zip(prompts, num_whole, strict=True)
        for stop in range(BLOCK_SIZE, whole + 1, BLOCK_SIZE)
    }
    num_tails = sum(len(ids) - whole for ids, whole in zip(prompts, num_whole, strict=True))
    assert counting.num_tokens == len(blocks) * BLOCK_SIZE + num_tails
    num_charged = sum(
        len(request.prompt_ids) - generation.cached_tokens
        for request, draws in zip(requests, results, strict=True)
        for generation in draws
    )
    assert counting.num_tokens == num_charged


def test_prompts_wait_for_a_prefix_that_is_computed_in_chunks(decoder: Decoder) -> None:
    engine = tiny_engine(decoder, max_sequences=4, max_step_tokens=1)
    shared = prompt_of(300)
    requests = [make_request((*shared, i), max_tokens=2) for i in range(3)]
    results = run_all(engine, *requests)
    assert [draws[0].cached_tokens for draws in results] == [0, 288, 288]


def test_a_prompt_that_waits_for_a_prefix_does_not_block_others(decoder: Decoder) -> None:
    engine = tiny_engine(decoder, max_sequences=8, max_step_tokens=72)
    shared = prompt_of(400)
    first, second = (engine.add(make_request((*shared, i), max_tokens=2)) for i in range(2))
    other = engine.add(make_request(prompt_of(20, seed=1), max_tokens=2))
    engine.step()
    assert first.num_computed > 0
    assert second in engine.scheduler.arrived
    assert other in engine.scheduler.admitted
    finished = finish(engine)
    assert finished[first] < finished[second]


def test_an_equal_prompt_is_cached_up_to_its_last_block(decoder: Decoder) -> None:
    engine = tiny_engine(decoder)
    for length, cached in ((16, 0), (17, 16), (33, 32), (40, 32), (48, 32)):
        request = make_request(prompt_of(length, seed=length), max_tokens=2)
        assert [draws[0].cached_tokens for draws in run_all(engine, request)] == [0]
        assert [draws[0].cached_tokens for draws in run_all(engine, request)] == [cached]


def test_further_samples_count_the_prompt_as_cached(decoder: Decoder) -> None:
    [draws] = run_all(tiny_engine(decoder), make_request(prompt_of(20), draws=(0, 1, 2)))
    assert [g.cached_tokens for g in draws] == [0, 20, 20]


def test_a_waiting_prompt_takes_over_a_cancelled_prefix(decoder: Decoder) -> None:
    engine = tiny_engine(decoder, max_sequences=4, max_step_tokens=1)
    shared = prompt_of(300)
    first = engine.add(make_request(shared))
    engine.step()
    second = engine.add(make_request((*shared, 1)))
    engine.step()
    engine.cancel(first)
    assert second in finish(engine)
    assert num_free(engine) == engine.cache.num_blocks


# --------------------------------------------------------------------------- memory comes back


@pytest.mark.parametrize("num_steps", range(12))
def test_cancelling_at_any_step_frees_every_block(num_steps: int, decoder: Decoder) -> None:
    engine = tiny_engine(decoder, num_blocks=40, max_sequences=4, max_step_tokens=1)
    prompts = [
        engine.add(make_request(prompt_of(150, seed=i % 2), draws=tuple(range(6)), max_tokens=8))
        for i in range(4)
    ]
    for _ in range(num_steps):
        engine.step()
    for prompt in prompts:
        engine.cancel(prompt)
        engine.cancel(prompt)  # a second time changes nothing
    assert not engine.has_work
    assert num_free(engine) == engine.cache.num_blocks
    [draws] = run_all(engine, make_request(prompt_of(30), max_tokens=5))
    assert len(draws[0].token_ids) == 5


def test_cancelling_a_request_does_not_change_the_others(decoder: Decoder) -> None:
    requests = [make_request(prompt_of(40, seed=i), draws=(0, 1)) for i in range(3)]
    alone = [tokens_of(run_all(tiny_engine(decoder), request)[0]) for request in requests]
    engine = tiny_engine(decoder)
    prompts = [engine.add(request) for request in requests]
    done = engine.step()
    engine.cancel(prompts[1])
    while engine.has_work:
        done |= engine.step()
    assert prompts[1] not in done
    assert [tokens_of(done[prompts[i]]) for i in (0, 2)] == [alone[0], alone[2]]


def test_a_cache_for_two_sequences_serves_twenty(decoder: Decoder) -> None:
    engine = tiny_engine(decoder, num_blocks=8)
    request = make_request(prompt_of(40), draws=tuple(range(20)), max_tokens=20)
    [draws] = run_all(engine, request)
    [expected] = run_all(tiny_engine(decoder), request)
    assert tokens_of(draws) == tokens_of(expected)
    assert num_free(engine) == 8


def test_more_samples_than_slots_all_finish(decoder: Decoder) -> None:
    engine = tiny_engine(decoder, max_sequences=4)
    request = make_request(prompt_of(20), draws=tuple(range(50)), max_tokens=3)
    prompt = engine.add(request)
    done: dict[Prompt, object] = {}
    while engine.has_work:
        done |= engine.step()
        assert len(engine.scheduler.running) <= 4
    assert prompt in done


def test_a_large_request_does_not_block_others(decoder: Decoder) -> None:
    engine = tiny_engine(decoder, max_sequences=4)
    first = engine.add(make_request(prompt_of(20, seed=1), max_tokens=4))
    large = engine.add(make_request(prompt_of(20, seed=2), draws=tuple(range(40)), max_tokens=4))
    last = engine.add(make_request(prompt_of(20, seed=3), max_tokens=4))
    finished = finish(engine)
    assert finished[first] < finished[large]
    assert finished[last] < finished[large]


def test_a_free_slot_goes_to_the_request_that_has_the_fewest(decoder: Decoder) -> None:
    engine = tiny_engine(decoder, max_sequences=8)
    lengths = [3 + i % 5 for i in range(200)]  # so that places become free one by one
    ends: dict[int, int] = {}

    def on_token(index: int, token: int) -> bool:
        ends[index] = ends.get(index, 0) + 1
        return ends[index] >= lengths[index]

    large = engine.add(make_request(prompt_of(20), draws=tuple(range(200)), on_token=on_token))
    for _ in range(5):
        engine.step()
    late = [
        engine.add(make_request(prompt_of(20, seed=i), draws=tuple(range(4)), max_tokens=30))
        for i in (1, 2)
    ]
    for _ in range(15):
        engine.step()
    assert sorted(len(prompt.running) for prompt in (large, *late)) == [2, 3, 3]
    finished = finish(engine)
    assert max(finished[prompt] for prompt in late) < finished[large]


def test_a_prompt_is_computed_while_all_slots_are_in_use(decoder: Decoder) -> None:
    engine = tiny_engine(decoder, max_sequences=2)
    engine.add(make_request(prompt_of(20), draws=tuple(range(50)), max_tokens=30))
    engine.step()
    late = engine.add(make_request(prompt_of(40, seed=1)))
    engine.step()
    assert late.num_computed == 40
    assert not late.running


def test_old_prefixes_are_evicted_for_new_prompts(decoder: Decoder) -> None:
    engine = tiny_engine(decoder, num_blocks=16)
    for seed in range(12):
        run_all(engine, make_request(prompt_of(100, seed=seed), max_tokens=4))
    [draws] = run_all(engine, make_request(prompt_of(100, seed=11), max_tokens=4))
    assert draws[0].cached_tokens == 96
    assert num_free(engine) == 16


@pytest.mark.parametrize("seed", range(25))
def test_under_random_load_all_requests_finish_and_no_block_is_lost(
    seed: int, decoder: Decoder
) -> None:
    rng = random.Random(seed)
    engine = tiny_engine(
        decoder,
        num_blocks=rng.randint(12, 40),
        max_sequences=rng.choice([1, 3, 8]),
        max_step_tokens=rng.choice([1, 100]),
    )
    live: list[Prompt] = []
    num_arrived = num_ended = 0
    while num_arrived < 30 or engine.has_work:
        assert engine.has_work or num_arrived < 30
        if num_arrived < 30 and rng.random() < 0.4:
            num_arrived += 1
            length = rng.randint(1, 100)
            ids = prompt_of(length, seed=rng.randint(0, 2))
            draws = tuple(range(rng.randint(1, 6)))
            stop_ids = frozenset(rng.sample(range(304), 20))
            request = make_request(
                ids, draws=draws, max_tokens=rng.randint(1, 60), stop_ids=stop_ids
            )
            live.append(engine.add(request))
        if live and rng.random() < 0.1:
            engine.cancel(live.pop(rng.randrange(len(live))))
            num_ended += 1
        for prompt, draws_done in engine.step().items():
            assert len(draws_done) == len(prompt.request.draws)
            live.remove(prompt)
            num_ended += 1
        used = {b for s in engine.scheduler.running for b in s.own_blocks}
        assert len(used) == sum(len(s.own_blocks) for s in engine.scheduler.running)
    assert num_ended == num_arrived
    assert not live
    assert num_free(engine) == engine.cache.num_blocks


# ---------------------------------------------------------------------------------- endings


def test_a_stop_token_ends_a_sample_and_is_not_part_of_it(decoder: Decoder) -> None:
    greedy = make_request(prompt_of(20), rule=GREEDY, max_tokens=12, logprobs=True)
    [[whole]] = run_all(tiny_engine(decoder), greedy)
    stop = whole.token_ids[5]
    first = whole.token_ids.index(stop)
    stopping = make_request(
        prompt_of(20), rule=GREEDY, max_tokens=12, stop_ids=frozenset({stop}), logprobs=True
    )
    [[ended]] = run_all(tiny_engine(decoder), stopping)
    assert (ended.finish_reason, ended.ended_by) == ("stop", stop)
    assert ended.token_ids == whole.token_ids[:first]
    assert ended.logprobs == pytest.approx((whole.logprobs or ())[:first], abs=1e-5)
    assert (whole.finish_reason, whole.ended_by) == ("length", None)


def test_on_token_gets_every_token_and_may_end_its_sample(decoder: Decoder) -> None:
    seen: dict[int, list[int]] = {}

    def on_token(index: int, token: int) -> bool:
        seen.setdefault(index, []).append(token)
        return index == 1 and len(seen[1]) == 3

    [draws] = run_all(
        tiny_engine(decoder), make_request(prompt_of(20), draws=(7, 8, 9), on_token=on_token)
    )
    assert [tuple(seen[i]) for i in range(3)] == tokens_of(draws)
    assert [len(g.token_ids) for g in draws] == [12, 3, 12]
    assert [g.finish_reason for g in draws] == ["length", "stop", "length"]
    assert [g.draw for g in draws] == [7, 8, 9]


def test_the_status_counts_running_and_waiting_requests(decoder: Decoder) -> None:
    engine = tiny_engine(decoder, max_sequences=2, max_step_tokens=96)
    for seed in range(3):
        engine.add(make_request(prompt_of(80, seed=seed), draws=(0, 1)))
    assert (engine.status().num_running, engine.status().num_waiting) == (0, 3)
    engine.step()
    assert (engine.status().num_running, engine.status().num_waiting) == (2, 2)
    while engine.has_work:
        engine.step()
    assert (engine.status().num_running, engine.status().num_waiting) == (0, 0)
    assert engine.status().generated_tokens == 6 * 12
