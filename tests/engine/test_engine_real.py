"""Real models in the engine and in transformers, on the same dequantized weights in float32."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from engine_doubles import CPU, GREEDY, assert_close_logits, make_request, run_all, tokens_of
from process_memory import free_memory
from transformers_reference import reference_logits, reference_model

from archon.engine.engine import Engine, EngineOptions
from archon.engine.files.gguf import GGUFFile
from archon.engine.loading import load_decoder
from archon.engine.model.config import config_of
from archon.engine.model.decoder import Decoder
from archon.engine.model.precision import Precision
from archon.engine.model.weights import GGUFWeights
from archon.engine.perplexity import perplexity, window_logits
from archon.engine.sampling.request import GenerationRequest
from archon.engine.sampling.sampler import SamplingRule
from archon.lm.local.chat import ChatFormat
from archon.lm.local.tokenizer import TextTokenizer, read_tokenizer_config
from archon.spec import catalog
from archon.spec.model import LocalCard
from archon.spec.reader import load_model_card
from archon.types import Message
from archon.weights import pull

pytestmark = pytest.mark.real

SMALL, DEFAULT = "smollm2-135m", "qwen2.5-coder-0.5b"
NUM_LAYERS = {SMALL: None, DEFAULT: 8}
"""Layers that are compared with transformers; None for all. All of the default model would need
more than 3 GB in float32."""
QUESTION = "What is 17 * 23? Think step by step."
OPTIONS = EngineOptions(cache_bytes=256 << 20)


@cache
def file_of(name: str) -> GGUFFile:
    card = load_model_card(name).spec
    assert isinstance(card, LocalCard)
    return GGUFFile(pull(card, Path(catalog.find("model", name)).parent))


@cache
def decoder_of(name: str, precision: Precision) -> Decoder:
    file = file_of(name)
    weights = GGUFWeights(file, config_of(file))
    if (num_layers := NUM_LAYERS[name]) is not None:
        weights.config = replace(weights.config, num_layers=num_layers)
    return load_decoder(weights, precision, CPU)


@cache
def tokenizer_of(name: str) -> TextTokenizer:
    return TextTokenizer(read_tokenizer_config(file_of(name)))


@cache
def chat_of(name: str) -> ChatFormat:
    return ChatFormat(read_tokenizer_config(file_of(name)), tokenizer_of(name))


def prompt_of(name: str, text: str = QUESTION) -> tuple[int, ...]:
    return tuple(chat_of(name).encode([Message("user", text)]))


def sampled(name: str, text: str, n: int = 2) -> GenerationRequest:
    rule = SamplingRule(temperature=0.8, top_p=0.95)
    return make_request(prompt_of(name, text), draws=tuple(range(n)), rule=rule, max_tokens=16)


@pytest.mark.parametrize("name", [DEFAULT, SMALL])
def test_logits_and_greedy_tokens_are_those_of_transformers(name: str) -> None:
    decoder, prompt = decoder_of(name, "float32"), prompt_of(name)
    request = make_request(prompt, rule=GREEDY, max_tokens=128)
    [[generation]] = run_all(Engine(decoder, options=OPTIONS), request)
    tokens = list(generation.token_ids)
    assert len(tokens) == 128
    text = [*prompt, *tokens[:-1]]
    found = window_logits(decoder, decoder.new_cache(32), text)
    del decoder
    if name == DEFAULT:  # of two copies of it in float32, one is in memory at a time
        decoder_of.cache_clear()
        free_memory()
    expected = reference_logits(reference_model(file_of(name).path, NUM_LAYERS[name]), text)
    assert_close_logits(found, expected)
    decoded = expected[len(prompt) - 1 :]
    margin = decoded.max(-1).values - decoded[range(128), tokens]
    assert (margin <= 1e-4 * decoded.abs().max()).all()


def test_samples_are_equal_cached_batched_and_forked() -> None:
    decoder = decoder_of(SMALL, "float32")
    requests = [sampled(SMALL, text) for text in (QUESTION, "Hi", "Name three rivers of Europe.")]
    alone = [
        tokens_of(run_all(Engine(decoder, options=OPTIONS), request)[0]) for request in requests
    ]
    engine = Engine(decoder, options=OPTIONS)
    assert [tokens_of(draws) for draws in run_all(engine, *requests)] == alone
    [again] = run_all(engine, requests[0])
    assert tokens_of(again) == alone[0]
    assert again[0].cached_tokens >= 32


@cache
def perplexity_in(precision: Precision) -> float:
    ids = tokenizer_of(SMALL).encode(Path(__file__).parents[2].joinpath("README.md").read_text())
    return perplexity(decoder_of(SMALL, precision), ids[:300], window=150)


@pytest.mark.parametrize(("precision", "bound"), [("bf16", 0.02), ("int8", 0.05)])
def test_lower_precisions_predict_a_text_nearly_as_well(precision: Precision, bound: float) -> None:
    assert abs(perplexity_in(precision) / perplexity_in("float32") - 1) < bound


def test_a_real_model_answers_in_words() -> None:
    prompt = prompt_of(SMALL, "What is the capital of France?")
    tokenizer = tokenizer_of(SMALL)
    request = make_request(prompt, rule=GREEDY, max_tokens=24, stop_ids=tokenizer.stop_ids)
    [[generation]] = run_all(Engine(decoder_of(SMALL, "float32"), options=OPTIONS), request)
    assert "Paris" in tokenizer.decode(generation.token_ids)
