"""Hidden states of last tokens: values, cost, and independence of the batch."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from counting_decoder import CountingDecoder
from engine_doubles import (
    CPU,
    FAMILY_SAMPLE,
    PACKABLE,
    RecordingEngine,
    adapted,
    assert_close_logits,
    make_request,
    native_kernels,
    num_free,
    prompt_of,
    random_requests,
    run_all,
    tiny_config,
    tiny_decoder,
    tiny_engine,
)
from tiny_models import TinyModel, tiny_vocabulary, write_gguf
from torch import Tensor
from transformers_reference import reference_model

from archon.engine.cuda.graphs import GraphedDecoder
from archon.engine.files.gguf import GGUFFile
from archon.engine.kernels.native import NativeDecoder
from archon.engine.loading import load_decoder
from archon.engine.model.decoder import Decoder
from archon.engine.model.outlier_rotation import OutlierRotatedWeights
from archon.engine.model.precision import Precision
from archon.engine.model.weights import RandomWeights, weights_of
from archon.engine.sampling.request import GenerationRequest
from archon.engine.scheduling.hidden_state import hidden_state, hidden_state_request
from archon.errors import ContextLengthError, EngineError

VOCABULARY_SIZE = len(tiny_vocabulary())
WIDE = {"width": 64, "ffn_width": 64, "own_head_width": 16}


def read(engine: RecordingEngine, *texts: tuple[int, ...], adapter: str = "") -> list[Tensor]:
    found = run_all(engine, *(hidden_state_request(text, adapter) for text in texts))
    return [hidden_state(generation) for [generation] in found]


@pytest.mark.parametrize("family", FAMILY_SAMPLE)
@pytest.mark.parametrize("length", [1, 16, 17, 90])
def test_hidden_states_match_transformers(family: Any, length: int, tmp_path: Path) -> None:
    write_gguf(tmp_path / "model.gguf", TinyModel(family))
    decoder = load_decoder(weights_of(GGUFFile(tmp_path / "model.gguf")), "float32", CPU)
    text = prompt_of(length, vocab_size=VOCABULARY_SIZE)
    with torch.inference_mode():
        found = reference_model(tmp_path / "model.gguf")(
            torch.tensor([text]), output_hidden_states=True
        )
    [ours] = read(tiny_engine(decoder), text)
    assert_close_logits(ours, found.hidden_states[-1][0, -1])


@pytest.mark.parametrize(
    ("precision", "bound"), [("bf16", 0.03), ("int8", 0.08), ("int4", 0.2), ("native", 0.08)]
)
@pytest.mark.parametrize("native", [False, True])
def test_lower_precisions_stay_near_float32(
    precision: Precision, bound: float, native: bool, tmp_path: Path
) -> None:
    """The RMS of the error is within a bound relative to the RMS of the exact state."""
    if native:
        native_kernels()
    write_gguf(tmp_path / "model.gguf", TinyModel("qwen2", **WIDE))
    weights = weights_of(GGUFFile(tmp_path / "model.gguf"))
    text = prompt_of(70, vocab_size=VOCABULARY_SIZE)
    [exact] = read(tiny_engine(load_decoder(weights, "float32", CPU)), text)
    decoder = load_decoder(weights, precision, CPU, native=native)
    assert isinstance(decoder, NativeDecoder) == (native and precision != "bf16")
    [rounded] = read(tiny_engine(decoder), text)
    if precision in ("int8", "int4"):
        rounded = OutlierRotatedWeights(weights).hidden(rounded)
    assert (rounded - exact).square().mean().sqrt() <= bound * exact.square().mean().sqrt()


@pytest.mark.parametrize("family", FAMILY_SAMPLE)
def test_hidden_states_are_rotated_back(family: Any, tmp_path: Path) -> None:
    write_gguf(tmp_path / "model.gguf", TinyModel(family))
    weights = weights_of(GGUFFile(tmp_path / "model.gguf"))
    text = prompt_of(40, vocab_size=VOCABULARY_SIZE)
    rotated = OutlierRotatedWeights(weights)
    [expected] = read(tiny_engine(Decoder(weights, "float32", CPU)), text)
    decoder = Decoder(rotated, "float32", CPU, rotated.input_rotation)
    [found] = read(tiny_engine(decoder), text)
    assert_close_logits(rotated.hidden(found), expected)
    weight_E = torch.randn(len(expected))
    product = (rotated.readout(weight_E) * found).sum()
    assert float(product) == pytest.approx(float((weight_E * expected).sum()), abs=1e-3)


# --------------------------------------------------------------------------------- its company


@pytest.fixture(scope="module", params=["int8", "int4", "native"])
def kernels(request: pytest.FixtureRequest) -> NativeDecoder:
    native_kernels()
    shape = tiny_config(width=64, ffn_width=64, head_width=16)
    decoder = load_decoder(RandomWeights(shape), request.param, CPU)
    assert isinstance(decoder, NativeDecoder)
    return decoder


@pytest.mark.parametrize("seed", range(4))
def test_native_hidden_states_do_not_depend_on_the_batch(seed: int, kernels: NativeDecoder) -> None:
    """Other work in the batch, and the origin of the text's cached blocks, do not matter."""
    rng = random.Random(seed)
    requests = random_requests(rng, 6)
    engine = tiny_engine(
        kernels, num_blocks=rng.choice([14, 40]), max_step_tokens=rng.choice([1, 100])
    )
    texts: list[tuple[int, ...]] = []
    waiting = {engine.add(request): request for request in requests}
    while engine.has_work:
        for prompt, generations in engine.step().items():
            request = waiting.pop(prompt)
            if request.hidden:
                texts.append(request.prompt_ids)
                [alone] = read(tiny_engine(kernels), request.prompt_ids)
                assert torch.equal(hidden_state(generations[0]), alone)
            else:
                for generation in generations:
                    text = (*request.prompt_ids, *generation.token_ids, rng.randrange(304))
                    waiting[engine.add(hidden_state_request(text))] = hidden_state_request(text)
    assert len(texts) == sum(len(request.draws) for request in requests)
    assert num_free(engine) == engine.cache.num_blocks


def test_hidden_states_do_not_change_samples_of_the_batch(kernels: NativeDecoder) -> None:
    requests = random_requests(random.Random(7), 5)
    alone = [run_all(tiny_engine(kernels), request)[0] for request in requests]
    mixed: list[GenerationRequest] = []
    for i, request in enumerate(requests):
        mixed += [hidden_state_request(prompt_of(20 + i, seed=i % 2)), request]
    together = run_all(tiny_engine(kernels), *mixed)[1::2]
    assert [[g.token_ids for g in draws] for draws in together] == [
        [g.token_ids for g in draws] for draws in alone
    ]


@pytest.mark.parametrize("native", [False, True])
def test_an_adapter_changes_only_its_own_hidden_states(native: bool) -> None:
    if native:
        native_kernels()
    decoder = adapted("int8", tiny_config(**PACKABLE), native=native)
    text = prompt_of(40)
    engine = tiny_engine(decoder)
    plain, one, two = (read(engine, text, adapter=a)[0] for a in ("", "adapter 1", "adapter 2"))
    assert (plain - one).abs().max() > 0.1
    assert (one - two).abs().max() > 0.1
    [again] = read(tiny_engine(decoder), text, adapter="adapter 1")
    assert_close_logits(one, again, 0.0 if native else 1e-3)


def test_other_steps_are_still_replayed() -> None:
    decoder = tiny_decoder()
    draws = make_request(prompt_of(20), draws=(0, 1, 2))
    engine = tiny_engine(GraphedDecoder(decoder))
    [plain], [[generation]] = (
        run_all(engine, draws),
        run_all(engine, hidden_state_request(prompt_of(17))),
    )
    [expected] = read(tiny_engine(decoder), prompt_of(17))
    assert_close_logits(hidden_state(generation), expected)
    assert [g.token_ids for g in plain] == [
        g.token_ids for g in run_all(tiny_engine(decoder), draws)[0]
    ]


# --------------------------------------------------------------------------------- what it costs


def test_the_hidden_state_of_a_sample_computes_its_last_block_only() -> None:
    counting = CountingDecoder(tiny_decoder())
    engine = tiny_engine(counting)
    request = make_request(prompt_of(53), draws=tuple(range(8)), max_tokens=60)
    [draws] = run_all(engine, request)
    assert len({draw.token_ids for draw in draws}) == 8
    texts = [(*request.prompt_ids, *draw.token_ids, 7) for draw in draws]
    counting.num_tokens = counting.num_logits = 0
    [*found] = run_all(engine, *map(hidden_state_request, texts))
    num_computed = [len(text) - (len(text) - 1) // 16 * 16 for text in texts]
    assert counting.num_tokens == sum(num_computed) <= 8 * 16
    assert counting.num_logits == 0
    assert [g.cached_tokens for [g] in found] == [
        len(text) - n for text, n in zip(texts, num_computed, strict=True)
    ]


def test_samples_with_a_common_prefix_are_cached_once() -> None:
    engine = tiny_engine(num_blocks=64)
    greedy = make_request(prompt_of(20), draws=tuple(range(6)), max_tokens=60)
    same = [(*greedy.prompt_ids, *prompt_of(50, seed=9), i) for i in range(6)]
    run_all(engine, *(make_request(text, max_tokens=30) for text in same), greedy)
    memory = engine.scheduler.memory
    in_tree = {block for node in memory.tree._nodes for block in node.blocks}
    assert len(in_tree) == len(memory.tree._nodes)
    assert len(in_tree) + memory.pool.num_free == 64


@pytest.mark.parametrize("num_steps", range(8))
def test_cancelling_at_any_step_frees_every_block(num_steps: int) -> None:
    engine = tiny_engine(num_blocks=24, max_sequences=4, max_step_tokens=1)
    prompts = [engine.add(hidden_state_request(prompt_of(150, seed=i % 2))) for i in range(3)]
    prompts.append(engine.add(make_request(prompt_of(150), max_tokens=8)))
    for _ in range(num_steps):
        engine.step()
    for prompt in prompts:
        engine.cancel(prompt)
    assert not engine.has_work
    assert num_free(engine) == 24


@pytest.mark.parametrize("max_step_tokens", [1, 1000])
def test_all_hidden_states_are_read_under_memory_pressure(max_step_tokens: int) -> None:
    engine = tiny_engine(num_blocks=16, max_sequences=2, max_step_tokens=max_step_tokens)
    texts = [prompt_of(100 + 3 * i, seed=i % 3) for i in range(20)]
    requests: list[GenerationRequest] = []
    for text in texts:
        requests += [hidden_state_request(text), make_request(text, draws=(0, 1), max_tokens=40)]
    found = run_all(engine, *requests)[::2]
    for text, [generation] in zip(texts, found, strict=True):
        [expected] = read(tiny_engine(), text)
        assert_close_logits(hidden_state(generation), expected)
    assert num_free(engine) == 16


def test_a_text_may_fill_the_context_but_not_exceed_it() -> None:
    engine = tiny_engine(num_blocks=64)
    assert read(engine, prompt_of(512))[0].shape == (32,)
    with pytest.raises(ContextLengthError):
        engine.add(hidden_state_request(prompt_of(513)))
    with pytest.raises(EngineError, match="needs at least one prompt token"):
        engine.add(hidden_state_request(()))
