"""The engine on CUDA compared with the CPU, and replayed steps compared with computed ones."""

from __future__ import annotations

import math
from dataclasses import replace
from operator import eq
from pathlib import Path

import pytest
import torch
from constraint_doubles import Script
from engine_doubles import (
    CPU,
    FAMILY_SAMPLE,
    assert_close_logits,
    logits_of,
    make_request,
    prompt_of,
    run_all,
    tiny_decoder,
    tiny_engine,
    tokens_of,
)
from step_doubles import STEPS, random_cache, spans_of
from tiny_models import TinyModel, write_gguf

from archon.bench.engine import run_engine_bench
from archon.engine.cuda.graphs import RECORDED_AT, GraphedDecoder
from archon.engine.model import cuda_attention
from archon.engine.model.attention import plain_attention
from archon.engine.model.decoder import Decoder
from archon.engine.model.linear import Int8Linear
from archon.engine.model.precision import Precision
from archon.engine.perplexity import window_logits
from archon.engine.sampling.sampler import SamplingRule, sample
from archon.engine.scheduling.choices import score_request

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is available"),
]

CUDA = torch.device("cuda")
LENGTHS = (1, 16, 17, 100)


@pytest.fixture(autouse=True)
def exact_products() -> None:
    torch.set_float32_matmul_precision("highest")


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    return tiny_decoder("float32", CUDA)


@pytest.mark.parametrize("family", FAMILY_SAMPLE)
def test_float32_logits_are_those_of_the_cpu(family: str) -> None:
    logits = []
    for device in (CPU, CUDA):
        decoder = tiny_decoder("float32", device, family=family)
        logits.append(window_logits(decoder, decoder.new_cache(32), prompt_of(300)).cpu())
    assert_close_logits(logits[1], logits[0])


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_lower_precisions_stay_near_float32(precision: str) -> None:
    logits = []
    for kind in ("float32", precision):
        decoder = tiny_decoder(kind, CUDA)
        logits.append(window_logits(decoder, decoder.new_cache(32), prompt_of(100)))
    error = (logits[1] - logits[0]).square().mean().sqrt()
    assert error <= 0.08 * logits[0].std()


@pytest.mark.parametrize("length", LENGTHS)
def test_stepped_cached_and_forked_equal_one_pass(length: int, decoder: Decoder) -> None:
    request = make_request(prompt_of(length), draws=(0, 1, 2), max_tokens=40)
    engine = tiny_engine(decoder)
    [first] = logits_of(engine, request)
    [cached] = logits_of(engine, request)
    assert_close_logits(cached, first)
    [draws] = run_all(engine, request)
    for i, generation in enumerate(draws):
        [separate] = logits_of(tiny_engine(decoder), replace(request, draws=(i,)))
        assert_close_logits(first[i], separate[0])
        text = [*request.prompt_ids, *generation.token_ids[:-1]]
        whole = window_logits(decoder, decoder.new_cache(32), text)
        assert_close_logits(first[i], whole[length - 1 :])


def test_samples_do_not_depend_on_the_batch(decoder: Decoder) -> None:
    requests = [
        make_request(prompt_of(length, seed=length), draws=(0, 1), max_tokens=20)
        for length in LENGTHS
    ]
    alone = [tokens_of(run_all(tiny_engine(decoder), request)[0]) for request in requests]
    assert [tokens_of(draws) for draws in run_all(tiny_engine(decoder), *requests)] == alone


@pytest.mark.parametrize(("outputs", "inputs"), [(64, 32), (304, 896)])
def test_int8_rows_are_exact_and_independent(outputs: int, inputs: int) -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(outputs, inputs, generator=generator)
    x = torch.randn(67, inputs, generator=generator)
    linear = Int8Linear(weight, None, CUDA)
    together = linear(x.to(CUDA))
    for rows in ([0], [3, 40], list(range(33))):
        assert torch.equal(linear(x[rows].to(CUDA)), together[rows])
    torch.testing.assert_close(
        together.cpu(), Int8Linear(weight, None, CPU)(x), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize(
    "rule",
    [
        SamplingRule(),
        SamplingRule(1.0),
        SamplingRule(0.8, top_k=20),
        SamplingRule(1.0, top_p=0.9),
        SamplingRule(1.0, min_p=0.05),
    ],
)
def test_the_same_noise_samples_the_same_tokens_as_on_the_cpu(rule: SamplingRule) -> None:
    logits = 3 * torch.randn(200, 2000, generator=torch.Generator().manual_seed(0))
    noise = [(i + 0.5) / 200 for i in range(200)]
    here, there = (sample(list(logits.to(d)), [rule] * 200, noise) for d in (CPU, CUDA))
    assert sum(map(eq, here, there)) > 0.97 * 200


# ------------------------------------------------------------------------------- attention


def half(*shape: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator).to(CUDA, torch.bfloat16)


@pytest.mark.parametrize(("H", "G"), [(4, 4), (14, 2)])
@pytest.mark.parametrize("width", [8, 64, 128])
class TestKernelsEqualPlainAttention:
    """Check outputs to bfloat16's rounding, and log-sum-exps, which are float32, more closely."""

    @staticmethod
    def assert_same(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, **options: object) -> None:
        assert cuda_attention.supports(q)
        mask, causal = options.get("mask_BTL"), bool(options.get("causal"))
        assert mask is None or isinstance(mask, torch.Tensor)
        out, lse = cuda_attention.attention(q, k, v, mask_BTL=mask, causal=causal)
        plain_out, plain_lse = plain_attention(q, k, v, mask_BTL=mask, causal=causal)
        assert (out.shape, lse.shape) == (plain_out.shape, plain_lse.shape)
        assert (out.float() - plain_out.float()).abs().max() <= 2e-2
        assert (lse - plain_lse).abs().max() <= 1e-2

    @pytest.mark.parametrize("T", [1, 2, 40, 600])
    def test_causally(self, T: int, H: int, G: int, width: int) -> None:
        q, k, v = (half(1, n, T, width, seed=i) for i, n in enumerate((H, G, G)))
        self.assert_same(q, k, v, causal=True)

    @pytest.mark.parametrize("T", [1, 7, 33])
    def test_of_every_key(self, T: int, H: int, G: int, width: int) -> None:
        sizes = ((H, T), (G, 96), (G, 96))
        q, k, v = (half(3, n, m, width, seed=i) for i, (n, m) in enumerate(sizes))
        self.assert_same(q, k, v)

    @pytest.mark.parametrize("T", [1, 7, 33])
    def test_under_a_mask(self, T: int, H: int, G: int, width: int) -> None:
        sizes = ((H, T), (G, 48), (G, 48))
        q, k, v = (half(3, n, m, width, seed=i) for i, (n, m) in enumerate(sizes))
        padding = torch.arange(48) >= torch.tensor([1, 17, 48]).unsqueeze(1)
        mask = (
            torch.zeros(3, 48)
            .masked_fill_(padding, -math.inf)
            .unsqueeze(1)
            .to(CUDA, torch.bfloat16)
        )
        self.assert_same(q, k, v, mask_BTL=mask)

    def test_of_transposed_storage(self, H: int, G: int, width: int) -> None:
        q, k, v = (half(1, 40, n, width, seed=i) for i, n in enumerate((H, G, G)))
        self.assert_same(*(x.transpose(1, 2) for x in (q, k, v)), causal=True)


# ---------------------------------------------------------------------------------- graphs

REQUESTS = [
    make_request(prompt_of(length, seed=length), draws=tuple(range(n)), max_tokens=40)
    for length, n in ((5, 1), (33, 4), (70, 7), (16, 1))
]


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("precision", ["float32", "bf16", "int8"])
def test_a_replayed_step_equals_the_computed_one(precision: Precision, name: str) -> None:
    decoder = tiny_decoder(precision, CUDA)
    graphed, cache = GraphedDecoder(decoder), random_cache(decoder)
    spans = spans_of(STEPS[name])
    logits = [graphed(spans, cache).clone() for _ in range(RECORDED_AT + 2)]
    assert len(graphed._graphs) == 1
    for replayed in logits[1:]:
        assert_close_logits(replayed, logits[0], 1e-5 if precision == "float32" else 1e-2)
    unpadded = decoder(spans, cache)
    assert_close_logits(logits[-1], unpadded, 1e-4 if precision == "float32" else 5e-2)


def test_a_graph_is_replayed_for_other_tokens() -> None:
    decoder = tiny_decoder("float32", CUDA)
    graphed, cache = GraphedDecoder(decoder), random_cache(decoder)
    for seed in range(RECORDED_AT + 4):
        spans = spans_of([(2, 33 + (seed + i) % 15) for i in range(5)], seed)
        assert_close_logits(graphed(spans, cache), decoder(spans, cache))
    assert len(graphed._graphs) == 1


def test_replayed_float32_logits_equal_those_of_the_cpu() -> None:
    greedy = [replace(request, rule=SamplingRule()) for request in REQUESTS]
    here = logits_of(tiny_engine(GraphedDecoder(tiny_decoder("float32", CUDA))), *greedy)
    there = logits_of(tiny_engine(tiny_decoder("float32", CPU)), *greedy)
    for ours, theirs in zip(here, there, strict=True):
        assert_close_logits(ours.cpu(), theirs)


def test_replayed_samples_do_not_depend_on_the_batch() -> None:
    decoder = tiny_decoder("float32", CUDA)
    alone = [tokens_of(run_all(tiny_engine(GraphedDecoder(decoder)), r)[0]) for r in REQUESTS]
    graphed = GraphedDecoder(decoder)
    assert [tokens_of(d) for d in run_all(tiny_engine(graphed), *REQUESTS)] == alone
    assert graphed._graphs


@pytest.mark.parametrize("precision", ["float32", "bf16", "int8"])
def test_the_bench_runs(precision: str, tmp_path: Path) -> None:
    write_gguf(tmp_path / "model.gguf", TinyModel("qwen2"))
    figures = run_engine_bench(
        tmp_path / "model.gguf", precision=precision, device="cuda", num_prompts=3,
        samples_per_prompt=4, prompt_tokens=50, shared_prefix_tokens=32, new_tokens=30,
    )  # fmt: skip
    assert figures["device"] == "cuda"
    assert figures["completion_tokens_per_second"] > 0
    assert figures["peak_memory_bytes"] > 0


# ----------------------------------------------------------------------------- constraints


def test_constraints_and_choices_work_as_on_the_cpu(decoder: Decoder) -> None:
    form = Script([[1, 2, 3], {4, 5, 300}, [6] * 20, {7, 8}])
    request = make_request(
        prompt_of(30), draws=(0, 1, 2), max_tokens=40, constraint=form, logprobs=True
    )
    choices = score_request(prompt_of(50), [prompt_of(n, n) for n in (1, 5, 40)])
    results = [run_all(tiny_engine(d), request, choices) for d in (tiny_decoder(), decoder)]
    for on_cpu, on_cuda in zip(*results, strict=True):
        for one, other in zip(on_cpu, on_cuda, strict=True):
            assert one.finish_reason == other.finish_reason == "stop"
            assert len(one.token_ids) == len(other.token_ids)
    for one, other in zip(results[0][1], results[1][1], strict=True):
        assert other.logprobs == pytest.approx(one.logprobs, abs=1e-3)
