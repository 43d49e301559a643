"""Sliding windows free the cache, and change no token.

The reference is the same engine that never gives a block back. In the engine under test, all blocks
that may be evicted are evicted before each step, and freed blocks are filled with other numbers, so
that reading one of them changes the texts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest
import torch
from engine_doubles import (
    CPU,
    GREEDY,
    PACKABLE,
    RecordingEngine,
    make_request,
    native_kernels,
    num_free,
    prompt_of,
    run_all,
    tiny_config,
    tiny_engine,
)

from archon.engine.cache.block_pool import BlockPool
from archon.engine.cache.kv_cache import BLOCK_SIZE, KVCache
from archon.engine.cache.layout import CacheLayout, LayerGroup
from archon.engine.cache.prefix_tree import PrefixTree
from archon.engine.decoder_protocol import SpanDecoder
from archon.engine.loading import load_decoder
from archon.engine.model.config import LayerConfig
from archon.engine.model.rope import Rope
from archon.engine.model.weights import RandomWeights
from archon.engine.sampling.request import Generation, GenerationRequest
from archon.engine.scheduling.choices import score_request
from archon.engine.scheduling.sequence import Prompt
from archon.errors import ContextLengthError

WINDOWS: dict[str, tuple[int | None, ...]] = {
    "every layer": (24, 24),
    "three of four layers": (24, 24, None, 24),
    "two windows": (17, 40, 17),
}


def make_decoder(windows: tuple[int | None, ...], *, native: bool = False) -> SpanDecoder:
    shape = tiny_config(num_layers=len(windows), **(PACKABLE if native else {}))
    rope = Rope(shape.head_width)
    config = replace(shape, layers=tuple(LayerConfig(rope, window) for window in windows))
    return load_decoder(RandomWeights(config), "int8" if native else "float32", CPU, native=native)


@pytest.fixture(scope="module", params=["torch", "kernels"])
def is_native(request: pytest.FixtureRequest) -> bool:
    if request.param == "kernels":
        native_kernels()
    return bool(request.param == "kernels")


@pytest.fixture(scope="module", params=WINDOWS)
def decoder(request: pytest.FixtureRequest, is_native: bool) -> SpanDecoder:
    return make_decoder(WINDOWS[request.param], native=is_native)


class ForgetfulEngine(RecordingEngine):
    """An engine that evicts what it may, and whose freed blocks lose their keys and values."""

    def step(self) -> dict[Prompt, list[Generation]]:
        memory = self.scheduler.memory
        memory.pool.free(memory.tree.evict(memory.pool.num_blocks))
        free = memory.pool._free
        for storage in storages(self):
            storage[:, free] = 3.0
        return super().step()


def storages(engine: RecordingEngine) -> Iterable[torch.Tensor]:
    """Return the tensors of an engine's cache: (rows, blocks, …)."""
    cache = engine.cache
    return (cache.k, cache.v) if isinstance(cache, KVCache) else (cache.blocks.transpose(1, 2),)


def forgetful_engine(decoder: SpanDecoder, num_blocks: int = 128) -> ForgetfulEngine:
    engine = tiny_engine(decoder, num_blocks=num_blocks, max_step_tokens=40, max_sequences=8)
    engine.__class__ = ForgetfulEngine
    assert isinstance(engine, ForgetfulEngine)
    return engine


def without_release(decoder: SpanDecoder, *requests: GenerationRequest) -> list[list[object]]:
    """Return the results of an engine that keeps all blocks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LayerGroup, "first_entry", lambda self, position: 0)
        return [facts(draws) for draws in run_all(tiny_engine(decoder), *requests)]


def facts(generations: Iterable[Generation]) -> list[object]:
    return [(g.token_ids, g.finish_reason) for g in generations]


def some_requests() -> list[GenerationRequest]:
    """Requests with common prefixes and forks, several windows long."""
    shared = prompt_of(70)
    return [
        make_request(shared + prompt_of(43, seed=1), draws=(0, 1, 2), max_tokens=40),
        make_request(prompt_of(5, seed=3), draws=tuple(range(7)), max_tokens=60),
        make_request(shared + prompt_of(10, seed=4), rule=GREEDY, beams=3, max_tokens=20),
        score_request(shared + prompt_of(30, seed=5), [prompt_of(50, seed=i) for i in (6, 7)]),
        make_request(shared + prompt_of(60, seed=2), max_tokens=20),
    ]


@pytest.fixture(scope="module")
def expected(decoder: SpanDecoder) -> list[list[object]]:
    return without_release(decoder, *some_requests())


def test_texts_equal_those_of_a_cache_that_keeps_everything(
    decoder: SpanDecoder, expected: list[list[object]]
) -> None:
    engine = forgetful_engine(decoder)
    assert [facts(draws) for draws in run_all(engine, *some_requests())] == expected
    assert num_free(engine) == engine.cache.num_blocks


@pytest.mark.parametrize("name", WINDOWS)
def test_releasing_one_entry_more_would_change_the_texts(
    name: str, is_native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder = make_decoder(WINDOWS[name], native=is_native)
    request = some_requests()[0]
    [expected] = without_release(decoder, request)
    exact = LayerGroup.first_entry

    def too_late(self: LayerGroup, position: int) -> int:
        return min(exact(self, position) + 1, position // BLOCK_SIZE)

    monkeypatch.setattr(LayerGroup, "first_entry", too_late)
    [draws] = run_all(forgetful_engine(decoder), request)
    assert facts(draws) != expected


def test_memory_pressure_changes_no_text(
    decoder: SpanDecoder, expected: list[list[object]]
) -> None:
    requests, num_preempted = some_requests(), 0
    prompts = [tiny_engine(decoder).add(request) for request in requests]
    memory = forgetful_engine(decoder).scheduler.memory
    smallest = max(memory.num_needed(prompt) for prompt in prompts)
    engine = forgetful_engine(decoder, -(-smallest // memory.layout.entry_size))
    handles = [engine.add(request) for request in requests]
    done: dict[Prompt, list[Generation]] = {}
    while engine.has_work:
        done |= engine.step()
        num_preempted += len(engine.scheduler.preempted)
    assert num_preempted
    assert [facts(done[handle]) for handle in handles] == expected
    memory = engine.scheduler.memory
    memory.pool.free(memory.tree.evict(engine.cache.num_blocks))
    assert memory.pool.num_free == engine.cache.num_blocks


def test_a_sequence_holds_the_blocks_of_its_windows(decoder: SpanDecoder) -> None:
    engine = tiny_engine(decoder, max_step_tokens=1, max_sequences=8)
    handle = engine.add(make_request(prompt_of(150), max_tokens=90))
    groups = decoder.config.cache_layout.groups
    while engine.has_work:
        engine.step()
        used = engine.cache.num_blocks - num_free(engine)
        # A step of a prompt has at most 72 tokens. Then there are its tail and its copy.
        num_queries = 1 if handle.running else 72
        entries = [group.max_entries(150 + 90, num_queries) + 2 for group in groups]
        assert used <= sum(n * group.size for n, group in zip(entries, groups, strict=True))


def test_a_prompt_whose_window_is_passed_is_computed_again_for_a_preempted_sequence(
    decoder: SpanDecoder,
) -> None:
    request = make_request(prompt_of(100), draws=(0, 1), max_tokens=70)
    [expected] = without_release(decoder, request)
    engine = forgetful_engine(decoder)
    handle = engine.add(request)
    for _ in range(60):
        engine.step()
    scheduler = engine.scheduler
    assert scheduler.memory.lacks_window(handle)
    scheduler._preempt(list(scheduler.running)[1])
    done: dict[Prompt, list[Generation]] = {}
    while engine.has_work:
        done |= engine.step()
        if handle in scheduler.prefilling:
            assert len(scheduler.running) == 1
    assert facts(done[handle]) == expected
    assert num_free(engine) == engine.cache.num_blocks


def test_a_prefix_is_reused_if_its_last_window_is_present(decoder: SpanDecoder) -> None:
    engine, shared = tiny_engine(decoder), prompt_of(96)
    first, second = (
        make_request(shared + prompt_of(80, seed=seed), max_tokens=30) for seed in (1, 2)
    )
    expected = without_release(decoder, first, second)
    assert [facts(run_all(engine, request)[0]) for request in (first, second)] == expected
    [[again]] = run_all(engine, second)
    assert again.cached_tokens == 160  # the window at the prompt's end is still there
    [[third]] = run_all(engine, make_request(shared + prompt_of(20, seed=3)))
    assert third.cached_tokens == 96
    next_turn = make_request((*second.prompt_ids, *again.token_ids, 7), max_tokens=20)
    [[answer]] = run_all(engine, next_turn)
    assert answer.cached_tokens == 192
    assert [facts([answer])] == without_release(decoder, next_turn)


def test_a_prefix_whose_window_was_evicted_is_computed_again(decoder: SpanDecoder) -> None:
    engine, request = tiny_engine(decoder), make_request(prompt_of(170), max_tokens=30)
    [expected] = without_release(decoder, request)
    run_all(engine, request)
    memory = engine.scheduler.memory
    path = memory.match(engine.add(request)).path
    assert len(path) == 10
    for node in path[4:7]:
        memory.pool.free([b for window in node.windows for b in memory.tree._clear(window)])
    assert memory.tree.num_reusable(path) == 10
    assert memory.tree.num_reusable(path[:8]) == 4
    for node in path[8:]:
        memory.pool.free(memory.tree._clear(node.windows[0]))
    assert memory.tree.num_reusable(path) == 4
    second = engine.add(replace(request, draws=(5,)))  # waits for the first one, then shares it
    done: dict[Prompt, list[Generation]] = {}
    while engine.has_work:
        done |= engine.step()
    [[first]] = [draws for prompt, draws in done.items() if prompt is not second]
    assert facts([first]) == expected
    assert first.cached_tokens == 64
    assert done[second][0].cached_tokens == 160
    assert num_free(engine) == engine.cache.num_blocks


def test_windows_let_more_sequences_run() -> None:
    counts = []
    for windows in ((None,) * 6, (*(24,) * 5, None)):
        decoder = make_decoder(windows)  # in both, an entry has the keys of six layers
        engine = tiny_engine(decoder, num_blocks=60, max_step_tokens=1)
        for seed in range(8):
            engine.add(make_request(prompt_of(300, seed=seed), rule=GREEDY, max_tokens=100))
        most = 0
        for _ in range(50):
            engine.step()
            most = max(most, len(engine.scheduler.running))
        counts.append(most)
    assert counts[1] >= 2 * counts[0]


def test_a_text_longer_than_the_cache_fits_if_all_layers_have_windows() -> None:
    long = make_request(prompt_of(400), max_tokens=100, rule=GREEDY)
    decoder = make_decoder((24, 24))
    engine = tiny_engine(decoder, num_blocks=20, max_step_tokens=1, max_sequences=4)
    [draws] = run_all(engine, long)
    assert facts(draws) == without_release(decoder, long)[0]
    with pytest.raises(ContextLengthError, match="do not fit the cache"):
        tiny_engine(make_decoder((None, None)), num_blocks=20).add(long)


# ----------------------------------------------------------------------------------- the layout


@pytest.mark.parametrize(
    ("windows", "sizes", "num_rows"),
    [
        ((None,) * 5, [1], 5),
        ((8,) * 5, [1], 5),
        ((8, None) * 13, [1, 1], 13),  # Gemma 2
        ((*(8,) * 5, None) * 3, [1, 5], 3),  # Gemma 3
        ((*(*(8,) * 5, None) * 4, 8, 8), [1, 6], 4),
        ((*(*(8,) * 5, None) * 10, 8, 8), [2, 9], 6),
        ((8, 9, None), [1, 1, 1], 1),
    ],
)
def test_layers_of_a_group_have_distinct_places(
    windows: tuple[int | None, ...], sizes: list[int], num_rows: int
) -> None:
    layout = CacheLayout.of(windows)
    assert [group.size for group in layout.groups] == sizes
    assert layout.num_rows == num_rows
    assert len(set(layout.places)) == len(windows)
    for place, window in zip(layout.places, windows, strict=True):
        assert layout.groups[place.group].window == window
        assert place.member < sizes[place.group]
        assert place.row < num_rows


@pytest.mark.parametrize("window", [1, 2, 15, 16, 17, 24, 33])
@pytest.mark.parametrize("num_queries", [1, 7, 40])
def test_the_entries_of_a_step_are_bounded(window: int, num_queries: int) -> None:
    group = LayerGroup(window, 1)
    needed = [
        (start + num_queries - 1) // BLOCK_SIZE + 1 - group.first_entry(start)
        for start in range(400)
    ]
    assert max(needed) == group.max_entries(1000, num_queries)
    for start in range(100):
        entry_start = start // BLOCK_SIZE * BLOCK_SIZE
        first_key = max(0, entry_start - window + 1)
        assert group.first_entry(start) == first_key // BLOCK_SIZE


# ------------------------------------------------------------------------------------- the tree


def test_blocks_of_a_window_are_evicted_before_a_node_that_was_used_later() -> None:
    tree, pool = PrefixTree([LayerGroup(16, 1)]), BlockPool(8)
    ids = tuple(range(48))
    path = tree.extend([], ids, [[0], [1], [2]])
    tree.enter_window(0, path)
    for node, block in zip(path, (5, 6, 7), strict=True):
        node.windows[0].blocks = [block]
    tree.mark_ready(path)
    assert tree.num_evictable == 0
    assert tree.leave_window(0, path[:2]) == []
    assert tree.num_evictable == 2
    assert tree.evict(1) == [5]
    assert [tree.num_reusable(path[:n]) for n in (1, 2, 3)] == [0, 2, 3]
    assert tree.leave_window(0, path[2:]) == []
    tree.release(path)
    assert tree.num_evictable == 5
    assert sorted(tree.evict(pool.num_blocks)) == [0, 1, 2, 6, 7]


def test_blocks_that_were_not_computed_are_freed_with_their_last_user() -> None:
    tree = PrefixTree([LayerGroup(16, 1)])
    path = tree.extend([], tuple(range(32)), [[0], [1]])
    tree.enter_window(0, path)
    path[0].windows[0].blocks = [4]
    tree.mark_ready(path[:1])
    path[1].windows[0].blocks = [5]
    assert path[1].windows[0].is_pending
    assert not path[0].windows[0].is_pending
    assert tree.leave_window(0, path) == [5]
    assert tree.release(path) == [1]
    assert sorted(tree.evict(9)) == [0, 4]
