"""The engine on CUDA against itself on the CPU."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from constraint_doubles import Script
from engine_doubles import (
    CPU,
    assert_close_logits,
    logits_of,
    make_request,
    prompt_of,
    run_all,
    tiny_decoder,
    tiny_engine,
    tokens_of,
)

from archon.engine.choices import score_request
from archon.engine.decoder import Decoder
from archon.engine.linear import Int8Linear
from archon.engine.perplexity import window_logits
from archon.engine.sampler import sample
from archon.engine.sequence import SamplingRule

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


@pytest.mark.parametrize("family", ["qwen2", "llama"])
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
def test_stepped_cached_and_forked_equal_the_whole(length: int, decoder: Decoder) -> None:
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


def test_draws_are_the_same_whatever_the_company(decoder: Decoder) -> None:
    requests = [
        make_request(prompt_of(length, seed=length), draws=(0, 1), max_tokens=20)
        for length in LENGTHS
    ]
    alone = [tokens_of(run_all(tiny_engine(decoder), request)[0]) for request in requests]
    assert [tokens_of(draws) for draws in run_all(tiny_engine(decoder), *requests)] == alone


@pytest.mark.parametrize(("outputs", "inputs"), [(64, 32), (304, 896)])
def test_int8_rows_are_exact_and_depend_on_nothing_else(outputs: int, inputs: int) -> None:
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
def test_the_same_noise_draws_the_same_tokens_as_on_the_cpu(rule: SamplingRule) -> None:
    logits = 3 * torch.randn(200, 2000, generator=torch.Generator().manual_seed(0))
    noise = [(i + 0.5) / 200 for i in range(200)]
    here, there = (sample(logits.to(d), [rule] * 200, noise).cpu() for d in (CPU, CUDA))
    assert (here == there).float().mean() > 0.97


def test_forms_hold_and_choices_score_as_on_the_cpu(decoder: Decoder) -> None:
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
