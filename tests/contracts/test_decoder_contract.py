"""What every decoder promises the engine: the fast way equals the slow way."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from decoder_doubles import CASES, DecoderCase
from engine_doubles import (
    GREEDY,
    RANDOM_RULES,
    adapters_of,
    logits_of,
    logits_of_ragged,
    make_request,
    prompt_of,
    run_all,
    tiny_engine,
)

from archon.engine.decoder_protocol import SpanDecoder
from archon.engine.perplexity import window_logits
from archon.engine.sampling.sampler import sample
from archon.engine.scheduling.hidden_state import hidden_state, hidden_state_request

LENGTHS = (1, 16, 17, 50)


@pytest.fixture(scope="module", params=CASES, ids=str)
def case(request: pytest.FixtureRequest) -> DecoderCase:
    found: DecoderCase = request.param
    return found


@pytest.fixture(scope="module")
def decoder(case: DecoderCase) -> SpanDecoder:
    return case.load()


class TestDecoder:
    def test_decoding_equals_one_pass(self, case: DecoderCase, decoder: SpanDecoder) -> None:
        request = make_request(prompt_of(30), max_tokens=case.max_tokens)
        engine = tiny_engine(decoder)
        [[stepped]] = logits_of(engine, request)
        [[generation]] = run_all(engine, request)
        text = [*request.prompt_ids, *generation.token_ids[:-1]]
        case.assert_same(stepped, window_logits(decoder, decoder.new_cache(8), text)[29:])

    @pytest.mark.parametrize("length", LENGTHS)
    def test_cached_equals_uncached(
        self, length: int, case: DecoderCase, decoder: SpanDecoder
    ) -> None:
        request = make_request(prompt_of(length), max_tokens=case.max_tokens)
        engine = tiny_engine(decoder)
        [uncached] = logits_of(engine, request)
        [cached] = logits_of(engine, request)
        case.assert_same(cached, uncached)
        [[generation]] = run_all(engine, request)
        assert generation.cached_tokens == (length - 1) // 16 * 16

    def test_batched_equals_single(self, case: DecoderCase, decoder: SpanDecoder) -> None:
        requests = [
            make_request(
                prompt_of(length, seed=index),
                draws=tuple(range(1 + index % 3)),
                rule=RANDOM_RULES[index % len(RANDOM_RULES)],
                max_tokens=case.max_tokens,
            )
            for index, length in enumerate((*LENGTHS, 33, 70))
        ]
        together = logits_of_ragged(tiny_engine(decoder, max_step_tokens=60), requests)
        for request, batched in zip(requests, together, strict=True):
            [alone] = logits_of_ragged(tiny_engine(decoder), [request])
            for found, expected in zip(batched, alone, strict=True):
                case.assert_same(found, expected)

    @pytest.mark.parametrize("length", LENGTHS)
    def test_forked_equals_separate(
        self, length: int, case: DecoderCase, decoder: SpanDecoder
    ) -> None:
        request = make_request(prompt_of(length), draws=(3, 4, 5), max_tokens=case.max_tokens)
        [forked] = logits_of(tiny_engine(decoder), request)
        for found, draw in zip(forked, request.draws, strict=True):
            [[expected]] = logits_of(tiny_engine(decoder), replace(request, draws=(draw,)))
            case.assert_same(found, expected)

    def test_a_prompt_in_chunks_equals_the_whole(
        self, case: DecoderCase, decoder: SpanDecoder
    ) -> None:
        request = make_request(prompt_of(150), max_tokens=case.max_tokens)
        [whole] = logits_of(tiny_engine(decoder), request)
        chunked = tiny_engine(decoder, max_sequences=2, max_step_tokens=1)
        case.assert_same(logits_of(chunked, request)[0], whole)

    def test_a_hidden_state_is_that_of_the_text_alone(
        self, case: DecoderCase, decoder: SpanDecoder
    ) -> None:
        texts = [prompt_of(length, seed=length) for length in LENGTHS]
        together = run_all(tiny_engine(decoder), *(hidden_state_request(text) for text in texts))
        for text, [generation] in zip(texts, together, strict=True):
            [[alone]] = run_all(tiny_engine(decoder), hidden_state_request(text))
            case.assert_same(hidden_state(generation), hidden_state(alone))

    def test_an_adapter_changes_its_own_requests_until_it_is_dropped(
        self, case: DecoderCase, decoder: SpanDecoder
    ) -> None:
        adapter = adapters_of(decoder.config)[0]
        plain = make_request(prompt_of(20), max_tokens=1)
        [before] = logits_of(tiny_engine(decoder), plain)
        decoder.add_adapter(adapter)
        assert list(decoder.adapters) == [adapter.digest]
        both = plain, replace(plain, adapter=adapter.digest)
        without, under = logits_of(tiny_engine(decoder), *both)
        case.assert_same(without, before)
        assert (under - before).abs().max() > 0.1 * before.abs().max()
        decoder.drop_adapter(adapter.digest)
        assert list(decoder.adapters) == []

    @pytest.mark.parametrize("rule", [*RANDOM_RULES, GREEDY], ids=str)
    def test_sampling_equals_the_reference(self, rule: object, decoder: SpanDecoder) -> None:
        logits = torch.randn(6, decoder.config.vocab_size)
        rules, noise = [rule] * 6, [0.01, 0.2, 0.4, 0.6, 0.8, 0.99]
        assert decoder.sample(list(logits), rules, noise) == sample(list(logits), rules, noise)
