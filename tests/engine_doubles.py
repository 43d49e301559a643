"""Helpers of the engine's tests: small engines, requests, and the logits of each sample."""

from __future__ import annotations

import ctypes
import random
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from archon.engine import loading
from archon.engine.decoder_protocol import SpanDecoder
from archon.engine.engine import Engine, EngineOptions
from archon.engine.kernels import build
from archon.engine.loading import load_decoder
from archon.engine.model.config import DecoderConfig, ExpertConfig, LayerConfig
from archon.engine.model.decoder import Decoder
from archon.engine.model.lora import (
    HEAD_NAME,
    LINEAR_NAMES,
    Adapter,
    check_adapter,
    linear_shapes,
)
from archon.engine.model.outlier_rotation import OutlierRotatedWeights
from archon.engine.model.precision import Precision
from archon.engine.model.rope import Rope
from archon.engine.model.weights import LayerWeights, RandomWeights, WeightSource
from archon.engine.sampling.request import Generation, GenerationRequest
from archon.engine.sampling.sampler import SamplingRule
from archon.engine.scheduling.sequence import Prompt, Sequence

CPU = torch.device("cpu")
FAMILY_SAMPLE = ("llama", "qwen2", "qwen3", "olmo2")
"""Families for tests of features that all have; ``test_engine_families`` covers the others."""
SAMPLED = SamplingRule(temperature=1.0, top_k=20)
GREEDY = SamplingRule()


def tiny_config(**changes: Any) -> DecoderConfig:
    shape: dict[str, Any] = {
        "family": "qwen2", "num_layers": 2, "width": 32, "ffn_width": 64, "num_heads": 4,
        "num_kv_heads": 2, "head_width": 8, "vocab_size": 304, "context_length": 512,
    }  # fmt: skip
    return DecoderConfig(**(shape | changes))


def tiny_decoder(
    precision: Precision = "float32", device: torch.device = CPU, **changes: Any
) -> Decoder:
    return load_decoder(RandomWeights(tiny_config(**changes)), precision, device)


RANDOM_RULES = (
    SamplingRule(temperature=1.0),
    SamplingRule(temperature=0.8, top_k=20),
    SamplingRule(temperature=1.2, top_p=0.9),
    SamplingRule(),
)


class RecordingEngine(Engine):
    """An engine that records the logits that each token was sampled from."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.logits: dict[tuple[Prompt, int], list[Tensor]] = {}

    def _postprocess(
        self, rows: list[tuple[Sequence, int]], logits: list[Tensor]
    ) -> dict[Prompt, list[Generation]]:
        for (sequence, at), row in zip(rows, logits, strict=True):
            if not sequence.ending and at == len(sequence.token_ids):
                self.logits.setdefault((sequence.prompt, sequence.index), []).append(row.clone())
        return super()._postprocess(rows, logits)


INSTRUCTIONS = {"avx512": build._AVX512, "avx2": build._AVX2}


def use_instructions(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Use only the kernels of one instruction set; skip the test if the machine lacks it."""
    here, wanted = build._cpu_flags(), INSTRUCTIONS[name]
    if not here.issuperset(wanted):
        pytest.skip(f"no {name} on this machine")
    flags = here if name == "avx512" else frozenset(wanted)
    monkeypatch.setattr(build, "_cpu_flags", lambda: flags)


def native_kernels() -> ctypes.CDLL:
    """Return the compiled kernels; skip the test if there are none."""
    kernels = loading.load_kernels()
    if kernels is None:
        pytest.skip("no compiled kernels on this machine")
    return kernels


def tiny_engine(
    decoder: SpanDecoder | None = None,
    *,
    num_blocks: int = 256,
    max_sequences: int = 32,
    max_step_tokens: int = 1024,
) -> RecordingEngine:
    """Return an engine whose cache has ``num_blocks`` blocks, or entries, for all layers."""
    decoder = decoder or tiny_decoder()
    layout = decoder.config.cache_layout
    options = EngineOptions(
        cache_bytes=num_blocks * layout.entry_size * decoder.bytes_per_block,
        max_sequences=max_sequences,
        max_step_tokens=max_step_tokens,
    )
    return RecordingEngine(decoder, "tiny", options)


def prompt_of(length: int, seed: int = 0, vocab_size: int = 304) -> tuple[int, ...]:
    rng = random.Random(seed)
    return tuple(rng.randrange(vocab_size) for _ in range(length))


def make_request(prompt_ids: Iterable[int], **fields: Any) -> GenerationRequest:
    defaults: dict[str, Any] = {"draws": (0,), "seed": 0, "rule": SAMPLED, "max_tokens": 12}
    return GenerationRequest(prompt_ids=tuple(prompt_ids), **(defaults | fields))


def run_all(engine: Engine, *requests: GenerationRequest) -> list[list[Generation]]:
    """Add all requests, then step until all are finished."""
    prompts = [engine.add(request) for request in requests]
    done: dict[Prompt, list[Generation]] = {}
    while engine.has_work:
        done |= engine.step()
    return [done[prompt] for prompt in prompts]


def tokens_of(generations: Iterable[Generation]) -> list[tuple[int, ...]]:
    return [generation.token_ids for generation in generations]


def logits_of(engine: RecordingEngine, *requests: GenerationRequest) -> list[Tensor]:
    """Run requests; return the logits of each: (samples, tokens, V)."""
    engine.logits.clear()
    prompts = [engine.add(request) for request in requests]
    while engine.has_work:
        engine.step()
    return [
        torch.stack([torch.stack(engine.logits[prompt, i]) for i in range(len(request.draws))])
        for prompt, request in zip(prompts, requests, strict=True)
    ]


def logits_of_ragged(
    engine: RecordingEngine, requests: list[GenerationRequest]
) -> list[list[Tensor]]:
    """Run requests; return the logits of each sample of each request: (tokens, V)."""
    prompts = [engine.add(request) for request in requests]
    while engine.has_work:
        engine.step()
    return [
        [torch.stack(engine.logits[prompt, i]) for i in range(len(prompt.request.draws))]
        for prompt in prompts
    ]


def assert_close_logits(found: Tensor, expected: Tensor, bound: float = 1e-4) -> None:
    """Check that the difference is within ``bound`` times the largest logit."""
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= bound * expected.abs().max()


def num_free(engine: Engine) -> int:
    """Return the unused blocks, those that the prefix tree may evict included."""
    return engine.scheduler.memory.num_available


def random_requests(rng: random.Random, count: int) -> list[GenerationRequest]:
    return [
        make_request(
            prompt_of(rng.choice([0, 20, 70]), seed=rng.randrange(2))
            + prompt_of(rng.randint(1, 50), seed=rng.randrange(5)),
            draws=tuple(range(rng.randint(1, 4))),
            rule=rng.choice(RANDOM_RULES),
            max_tokens=rng.randint(1, 60),
        )
        for _ in range(count)
    ]


_LONG = Rope(12, divisors=(1.5,) * 6, long_divisors=(4.0,) * 6, long_after=60, magnitude=1.2)
FEATURED: dict[str, dict[str, Any]] = {
    "gemma2": {
        "layers": (LayerConfig(Rope(16), window=20), LayerConfig(None)),
        "attention_softcap": 8.0, "logit_softcap": 20.0, "embedding_scale": 2.0,
        "attention_scale": 0.3,
    },
    "granite": {
        "embedding_scale": 3.0, "residual_scale": 0.4, "logit_scale": 0.5, "attention_scale": 0.1,
        "biases": frozenset({
            "q_bias", "k_bias", "v_bias", "output_bias", "gate_bias", "up_bias", "down_bias",
        }),
    },
    "phi3": {"layers": (LayerConfig(_LONG), LayerConfig(_LONG, window=33))},
    "qwen2_moe": {
        "layers": (LayerConfig(Rope(16), is_sparse=True), LayerConfig(Rope(16))),
        "experts": ExpertConfig(num_experts=5, num_used=2, width=32, shared_width=32),
    },
}  # fmt: skip
"""Features that only some decoders have, by the family of a decoder that has them."""

PACKABLE = {"width": 64, "ffn_width": 96, "num_heads": 4, "num_kv_heads": 2, "head_width": 16}


def random_adapter(config: DecoderConfig, seed: int, rank: int, *products: str) -> Adapter:
    generator = torch.Generator().manual_seed(seed)
    pairs = {}
    for name, (outputs, inputs) in linear_shapes(config).items():
        if not products or name.endswith(products):
            a = torch.randn(rank, inputs, generator=generator) / inputs**0.5
            pairs[name] = (a, 0.4 * torch.randn(outputs, rank, generator=generator))
    return Adapter(rank, 2.0 * rank, pairs, 2.0, digest=f"adapter {seed}")


class AdaptedWeights:
    """The parameters of a model with an adapter merged into them."""

    is_tied = False

    def __init__(self, source: WeightSource, adapter: Adapter) -> None:
        check_adapter(adapter, source.config)
        self.source, self.config, self.adapter = source, source.config, adapter

    def embedding(self) -> Tensor:
        return self.source.embedding()

    def head(self) -> Tensor:
        return self._merged(self.adapter.pairs.get(HEAD_NAME), self.source.head())

    def output_norm(self) -> Tensor:
        return self.source.output_norm()

    def layer(self, index: int) -> LayerWeights:
        weights = self.source.layer(index)
        changes = {
            field: self._merged(self.adapter.pair(index, field), getattr(weights, field))
            for field in LINEAR_NAMES
        }
        return replace(weights, **changes)

    def _merged(self, pair: tuple[Tensor, Tensor] | None, weight_OI: Tensor) -> Tensor:
        if pair is None:
            return weight_OI
        a_RI, b_OR = pair
        return weight_OI + self.adapter.scale * (b_OR @ a_RI)


def adapters_of(config: DecoderConfig) -> list[Adapter]:
    """Return an adapter of all products, and one of parts of the joined products."""
    return [random_adapter(config, 1, 3), random_adapter(config, 2, 5, "k_proj", "up_proj")]


def adapted(precision: Precision, config: DecoderConfig, native: bool = False) -> SpanDecoder:
    source = RandomWeights(config)
    decoder = load_decoder(source, precision, CPU, native=native)
    for adapter in adapters_of(config):
        is_rounded = precision in ("int8", "int4")
        decoder.add_adapter(
            OutlierRotatedWeights(source).adapter(adapter) if is_rounded else adapter
        )
    return decoder
