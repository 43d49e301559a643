"""In the compiled kernels, samples are equal to the bit regardless of all other work."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch
from constraint_doubles import Script, V
from engine_doubles import (
    CPU,
    FEATURED,
    PACKABLE,
    RecordingEngine,
    prompt_of,
    random_requests,
    run_all,
    tiny_config,
    tiny_engine,
)
from model_doubles import model_of_blocks, weights_of
from tiny_models import write_gguf

from archon.engine.kernels.native import NativeDecoder
from archon.engine.loading import load_decoder
from archon.engine.model.weights import RandomWeights, WeightSource
from archon.engine.sampling.request import GenerationRequest
from archon.engine.scheduling.choices import score_request
from archon.engine.scheduling.sequence import Prompt


@pytest.fixture(
    scope="module",
    params=[
        ("qwen2", "int8"), ("qwen2", "int4"), ("qwen2", "native"), ("gemma2", "int8"),
        ("gemma2", "native"), ("phi3", "int8"), ("qwen2_moe", "int8"),
    ],
)  # fmt: skip
def decoder(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> NativeDecoder:
    """Gemma 2 has windows and Phi-3 long texts, whose prompts are computed again."""
    family, precision = request.param
    shape = tiny_config(family=family, **PACKABLE | FEATURED.get(family, {}))
    source: WeightSource = RandomWeights(shape)
    if precision == "native" and family == "qwen2":
        path = tmp_path_factory.mktemp("blocks") / "model.gguf"
        write_gguf(path, model_of_blocks("qwen2", V))
        source = weights_of(path)
    decoder = load_decoder(source, precision, CPU)
    if not isinstance(decoder, NativeDecoder):
        pytest.skip("the kernels need AVX-512 VNNI and a C++ compiler")
    return decoder


def run(
    engine: RecordingEngine, requests: list[GenerationRequest], rng: random.Random
) -> tuple[list[list[torch.Tensor]], int]:
    """Run requests that arrive at random steps; return logits and the number of preemptions."""
    order = rng.sample(range(len(requests)), len(requests))
    prompts: dict[int, Prompt] = {}
    num_preempted = 0
    while order or engine.has_work:
        while order and (rng.random() < 0.3 or not engine.has_work):
            index = order.pop()
            prompts[index] = engine.add(requests[index])
        engine.step()
        num_preempted += len(engine.scheduler.preempted)
    logits = [
        [torch.stack(engine.logits[prompts[i], j]) for j in range(len(request.draws))]
        for i, request in enumerate(requests)
    ]
    return logits, num_preempted


@pytest.mark.parametrize("seed", range(4))
def test_logits_and_samples_do_not_depend_on_the_batch(seed: int, decoder: NativeDecoder) -> None:
    rng = random.Random(seed)
    requests = random_requests(rng, 10)
    pressed = tiny_engine(decoder, num_blocks=14, max_step_tokens=rng.choice([1, 100]))
    for request in rng.sample(requests, 2):  # what the cache holds before
        run_all(pressed, request)
    found, num_preempted = run(pressed, requests, rng)
    assert num_preempted > 0
    for request, draws in zip(requests, found, strict=True):
        [alone], _ = run(tiny_engine(decoder), [request], rng)
        for ours, theirs in zip(draws, alone, strict=True):
            assert torch.equal(ours, theirs)


@pytest.mark.parametrize("seed", range(4))
def test_constrained_samples_and_scored_choices_do_not_depend_on_the_batch(
    seed: int, decoder: NativeDecoder
) -> None:
    rng = random.Random(seed)
    requests = [
        replace(request, constraint=random_script(rng), logprobs=True)
        for request in random_requests(rng, 6)
    ]
    requests += random_requests(rng, 3)
    choices = [prompt_of(rng.randint(1, 40), seed=i) for i in range(4)]
    requests.append(score_request(prompt_of(rng.randint(1, 60)), choices))
    engine = tiny_engine(decoder, num_blocks=14, max_step_tokens=rng.choice([20, 100]))
    found = run_all(engine, *requests)
    for request, generations in zip(requests, found, strict=True):
        [alone] = run_all(tiny_engine(decoder), request)
        for ours, theirs in zip(generations, alone, strict=True):
            assert (ours.token_ids, ours.logprobs) == (theirs.token_ids, theirs.logprobs)


def random_script(rng: random.Random) -> Script:
    steps: list[list[int] | set[int] | None] = []
    for _ in range(rng.randint(1, 4)):
        steps += [list(prompt_of(rng.randint(1, 20), seed=rng.randrange(9))), {*range(V)}]
        steps.append(set(rng.sample(range(V), 10)))
    return Script(steps, str(rng.random()))
