"""Padded decode steps compared with unpadded ones; recording and replaying with a fake graph."""

from __future__ import annotations

import math
from array import array

import pytest
import torch
from engine_doubles import (
    CPU,
    GREEDY,
    assert_close_logits,
    logits_of,
    make_request,
    prompt_of,
    run_all,
    tiny_config,
    tiny_decoder,
    tiny_engine,
    tokens_of,
)
from step_doubles import NUM_BLOCKS, STEPS, Text, random_cache, spans_of
from torch import Tensor

from archon.engine.cache.kv_cache import BLOCK_SIZE, KVCache
from archon.engine.cuda import graphs
from archon.engine.cuda.graphs import RECORDED_AT, GraphedDecoder
from archon.engine.cuda.padding import (
    MAX_ROWS,
    is_decode,
    padded_step,
    signature,
    step_tensors,
    to_device,
)
from archon.engine.model import cuda_attention
from archon.engine.model.attention import plain_attention
from archon.engine.model.decoder import Decoder
from archon.engine.model.precision import Precision
from archon.engine.model.step_input import StepInput, build_step
from archon.engine.span import Span


def padded(spans: list[Span], cache: KVCache) -> StepInput:
    return padded_step(build_step(spans, CPU, cache.dtype), NUM_BLOCKS, cache.dtype)


@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.parametrize("name", STEPS)
def test_a_padded_step_computes_the_same(name: str, precision: Precision) -> None:
    decoder = tiny_decoder(precision)
    spans = spans_of(STEPS[name])
    plain_cache, padded_cache = random_cache(decoder), random_cache(decoder)
    expected = decoder(spans, plain_cache)
    found = decoder.compute(padded(spans, padded_cache), padded_cache)
    assert found.isfinite().all()
    assert_close_logits(found[: len(spans)], expected, 1e-5 if precision == "float32" else 0.02)
    for ours, theirs in ((padded_cache.k, plain_cache.k), (padded_cache.v, plain_cache.v)):
        assert_close_logits(ours[:, :NUM_BLOCKS].float(), theirs[:, :NUM_BLOCKS].float(), 0.02)
        untouched = (theirs == random_cache(decoder).k) | (theirs == random_cache(decoder).v)
        assert torch.equal(ours[:, :NUM_BLOCKS][untouched[:, :NUM_BLOCKS]],
                           theirs[:, :NUM_BLOCKS][untouched[:, :NUM_BLOCKS]])  # fmt: skip


@pytest.mark.parametrize("name", STEPS)
def test_all_sizes_are_powers_of_two_and_padding_writes_to_scratch(name: str) -> None:
    decoder = tiny_decoder()
    spans = spans_of(STEPS[name])
    step = padded(spans, random_cache(decoder))
    assert all(size & (size - 1) == 0 for size in signature(step))
    assert len(spans) <= len(step.token_N) < 2 * len(spans)
    [group] = step.groups
    blocks = group.slot_SN[0] // BLOCK_SIZE
    assert (blocks[: len(spans)] < NUM_BLOCKS).all()
    assert (blocks[len(spans) :] == NUM_BLOCKS).all()
    for part in group.plan.cached:
        assert part.absent_M is not None
        assert part.absent_M[len(spans) :].all()


def test_steps_of_nearby_sizes_have_one_signature() -> None:
    cache = random_cache(tiny_decoder())

    def of(*texts: Text) -> tuple[int, ...]:
        return signature(padded(spans_of(texts), cache))

    five = of(*[(2, 35)] * 5)
    assert five == of(*[(2, 60)] * 8)
    for other in ([(2, 35)] * 9, [(2, 90)] * 5, [(3, 35)] * 5, [(0, 35)] * 5):
        assert five != of(*other)


def test_replacing_the_inputs_of_a_step_computes_the_new_step() -> None:
    decoder = tiny_decoder()
    cache = random_cache(decoder)
    first = padded(spans_of([(2, 35)] * 5), cache)
    spans = spans_of([(2, n) for n in range(33, 48, 2)], seed=1)
    place = to_device(first, CPU)
    decoder.compute(place, cache)
    for tensor, value in zip(step_tensors(place), step_tensors(padded(spans, cache)), strict=True):
        tensor.copy_(value)
    found = decoder.compute(place, cache)[: len(spans)]
    assert_close_logits(found, decoder(spans, cache), 1e-5)


def test_only_steps_with_one_token_per_text_are_padded() -> None:
    [one] = spans_of([(0, 5)])
    prompt = Span([1, 2, 3], 0, (array("i", [20]),), 0, 1)
    silent = Span([1], 0, (array("i", [20]),), 0, 0)
    assert is_decode([one])
    assert is_decode([one] * MAX_ROWS)
    for spans in ([], [one, prompt], [one, silent], [one] * (MAX_ROWS + 1)):
        assert not is_decode(spans)


# ------------------------------------------------------------------------- the whole decoder


class ActedGraph:
    """Fake of a recorded graph: it computes on the recorded tensors when it is replayed."""

    num_recorded = num_replayed = 0

    def __init__(
        self, decoder: Decoder, step: StepInput, cache: KVCache, logits_NV: Tensor, pool: object
    ) -> None:
        self._decoder, self._step, self._cache = decoder, step, cache
        self._logits_NV = logits_NV
        ActedGraph.num_recorded += 1
        self.shares_memory = pool is not None

    def pool(self) -> object:
        return "the pool"

    def replay(self, step: StepInput) -> Tensor:
        ActedGraph.num_replayed += 1
        for place, value in zip(step_tensors(self._step), step_tensors(step), strict=True):
            assert place.shape == value.shape
            place.copy_(value)
        return self._logits_NV.copy_(self._decoder.compute(self._step, self._cache))


@pytest.fixture
def acted(monkeypatch: pytest.MonkeyPatch) -> GraphedDecoder:
    """A decoder whose steps are replayed by the fake graph."""
    monkeypatch.setattr(graphs, "_Graph", ActedGraph)
    ActedGraph.num_recorded = ActedGraph.num_replayed = 0
    decoder = GraphedDecoder(tiny_decoder())
    decoder._records = True
    return decoder


REQUESTS = [
    make_request(prompt_of(length, seed=length), draws=tuple(range(n)), max_tokens=40)
    for length, n in ((5, 1), (33, 4), (70, 7), (16, 1))
]


@pytest.mark.parametrize("replayed", [False, True])
def test_samples_and_logits_equal_those_of_the_plain_decoder(
    replayed: bool, acted: GraphedDecoder
) -> None:
    acted._records = replayed
    plain, ours = tiny_engine(tiny_decoder()), tiny_engine(acted)
    for found, expected in zip(
        logits_of(ours, *REQUESTS), logits_of(plain, *REQUESTS), strict=True
    ):
        assert_close_logits(found, expected)
    again = [tokens_of(draws) for draws in run_all(ours, *REQUESTS)]
    assert again == [tokens_of(draws) for draws in run_all(plain, *REQUESTS)]
    assert (ActedGraph.num_replayed > 10) == replayed


def test_a_shape_is_recorded_at_its_third_occurrence(acted: GraphedDecoder) -> None:
    cache = acted.new_cache(NUM_BLOCKS)
    for times in range(1, 2 * RECORDED_AT):
        acted(spans_of([(0, 5)] * 3), cache)
        assert ActedGraph.num_recorded == (times >= RECORDED_AT)
        assert ActedGraph.num_replayed == max(0, times - RECORDED_AT + 1)


def test_another_cache_is_not_confused_with_the_recorded_one(acted: GraphedDecoder) -> None:
    spans = spans_of([(1, 20)] * 2)
    for _ in range(RECORDED_AT):
        acted(spans, acted.new_cache(NUM_BLOCKS))
    cache = random_cache(acted.decoder)
    assert_close_logits(acted(spans, cache), acted.decoder(spans, cache), 1e-5)


def test_the_least_recently_used_graph_is_dropped(
    acted: GraphedDecoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graphs, "MAX_GRAPHS", 2)
    cache = acted.new_cache(NUM_BLOCKS)
    rows = (1, 2, 1, 4)
    for n in rows:
        for _ in range(RECORDED_AT):
            acted(spans_of([(0, 5)] * n), cache)
    assert [key[0] for key in acted._graphs] == [1, 4]
    assert [graph.shares_memory for graph in acted._graphs.values()] == [False, True]


def test_the_scratch_block_comes_after_the_allocatable_blocks() -> None:
    cache = GraphedDecoder(tiny_decoder()).new_cache(9)
    assert cache.num_blocks == 9
    assert cache.k.shape[1] == cache.v.shape[1] == 10


def test_greedy_tokens_are_the_same_in_int8() -> None:
    decoder = tiny_decoder("int8")
    requests = [make_request(r.prompt_ids, rule=GREEDY, max_tokens=12) for r in REQUESTS]
    ours = run_all(tiny_engine(GraphedDecoder(decoder)), *requests)
    theirs = run_all(tiny_engine(decoder), *requests)
    assert [tokens_of(draws) for draws in ours] == [tokens_of(draws) for draws in theirs]


# ------------------------------------------------------------------------ kernels' schemas


@pytest.mark.parametrize(("H", "G", "T", "L"), [(4, 4, 5, 48), (14, 2, 1, 16), (6, 2, 33, 160)])
def test_shapes_of_the_masked_kernel(H: int, G: int, T: int, L: int) -> None:
    meta = torch.device("meta")
    q, k, v = (
        torch.empty(3, heads, length, 64, dtype=torch.bfloat16, device=meta)
        for heads, length in ((H, T), (G, L), (G, L))
    )
    mask = torch.empty(3, 1, L, dtype=torch.bfloat16, device=meta)
    out, lse = cuda_attention.attention(q, k, v, mask_BTL=mask, causal=False)
    assert (out.shape, out.dtype) == (q.shape, q.dtype)
    assert (lse.shape, lse.dtype) == ((3, H, T), torch.float32)


def test_shapes_of_the_causal_kernel() -> None:
    meta = torch.device("meta")
    q, k, v = (
        torch.empty(1, heads, 40, 64, dtype=torch.bfloat16, device=meta) for heads in (14, 2, 2)
    )
    out, lse = cuda_attention.attention(q, k, v, mask_BTL=None, causal=True)
    assert (out.shape, lse.shape, lse.dtype) == (q.shape, (1, 14, 40), torch.float32)


def test_the_kernels_support_only_16_bit_types_on_cuda() -> None:
    assert not cuda_attention.supports(torch.zeros(1, 2, 3, 64, dtype=torch.bfloat16))
    assert not cuda_attention.supports(torch.zeros(1, 2, 3, 64))


def test_rows_that_attend_to_no_part_stay_finite() -> None:
    config = tiny_config()
    decoder = tiny_decoder()
    cache = random_cache(decoder)
    step = padded(spans_of([(2, 3), (0, 5), (0, 90)]), cache)
    assert decoder.compute(step, cache)[3:].isfinite().all()
    out, lse = plain_attention(
        torch.zeros(1, config.num_heads, 1, 8), torch.zeros(1, 2, 4, 8), torch.zeros(1, 2, 4, 8)
    )
    assert out.isfinite().all()
    assert float(lse[0, 0, 0]) == pytest.approx(math.log(4))
