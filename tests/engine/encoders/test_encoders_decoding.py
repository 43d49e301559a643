from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from archon.engine.encoders.config import EncoderDecoderConfig
from archon.engine.encoders.decoding import SequenceToSequence, greedy_texts
from archon.engine.encoders.encoder_decoder import EncoderDecoder, initialise
from archon.engine.encoders.weights import save_encoder_decoder
from archon.engine.sampling.request import GenerationRequest
from archon.engine.sampling.sampler import SamplingRule
from archon.errors import EngineError

CONFIG = EncoderDecoderConfig(
    vocab_size=40, num_encoder_layers=2, num_decoder_layers=2, width=16, ffn_width=32,
    num_heads=2, head_width=8, num_buckets=8, max_distance=10,
)  # fmt: skip
REQUEST = GenerationRequest((5, 9, 12, 7), (0,), 0, SamplingRule(), 12, frozenset({1}))


@pytest.fixture
def generator() -> SequenceToSequence:
    model = EncoderDecoder(CONFIG).eval()
    initialise(model, 3)
    with torch.no_grad():
        model.embedding.weight *= 3  # texts that differ
        model.decoder_positions.bias.weight += torch.linspace(-1, 1, 16).view(8, 2)
    return SequenceToSequence(model, "tiny")


@torch.no_grad()
def test_decoding_token_by_token_equals_one_pass(
    generator: SequenceToSequence,
) -> None:
    from archon.engine.encoders.cache import GrowingKeys

    model, target = generator.model, torch.tensor([[0, 8, 3, 30, 21, 4]])
    memory = generator._memory((5, 9, 12))
    keys = GrowingKeys(CONFIG.num_decoder_layers)
    steps = [model.decode(target[:, at : at + 1], memory, keys, at) for at in range(6)]
    torch.testing.assert_close(torch.cat(steps, dim=1), model.decode(target, memory))


def test_greedy_and_beams_equal_those_of_transformers(
    generator: SequenceToSequence, tmp_path_factory: pytest.TempPathFactory
) -> None:
    transformers = pytest.importorskip("transformers")
    path = tmp_path_factory.mktemp("model")
    save_encoder_decoder(generator.model, path)
    theirs = transformers.T5ForConditionalGeneration.from_pretrained(path).eval()
    source = torch.tensor([[*REQUEST.prompt_ids, CONFIG.stop_id]])
    common = {"max_new_tokens": 12, "do_sample": False, "attention_mask": torch.ones_like(source)}
    for beams in (0, 4):
        expected = theirs.generate(
            source, num_beams=beams or 1, num_return_sequences=beams or 1, **common
        )
        draws = tuple(range(beams or 1))
        ours = generator.generate(replace(REQUEST, beams=beams, draws=draws))
        for row, generation in zip(expected.tolist(), ours, strict=True):
            text = row[1:]
            text = text[: text.index(1)] if 1 in text else text
            while text and text[-1] == 0 and len(text) > len(generation.token_ids):
                text.pop()  # padding of shorter texts
            assert list(generation.token_ids) == text


def test_samples_do_not_depend_on_each_other(generator: SequenceToSequence) -> None:
    sampled = replace(REQUEST, rule=SamplingRule(1.0), logprobs=True)
    together = generator.generate(replace(sampled, draws=(0, 1, 2, 3)))
    assert len({generation.token_ids for generation in together}) > 1
    for draw, generation in enumerate(together):
        (alone,) = generator.generate(replace(sampled, draws=(draw,)))
        assert alone.token_ids == generation.token_ids
        assert alone.logprobs == pytest.approx(generation.logprobs, abs=1e-5)


def test_a_batch_of_sources_equals_single_sources(generator: SequenceToSequence) -> None:
    sources = [[5, 9, 12, 7], [33], [4, 4, 8, 20, 6, 11]]
    texts = greedy_texts(generator.model, sources, 12)
    for source, text in zip(sources, texts, strict=True):
        (alone,) = generator.generate(replace(REQUEST, prompt_ids=tuple(source)))
        assert list(alone.token_ids) == text


@pytest.mark.parametrize(
    "change",
    [{"draws": ()}, {"max_tokens": 0}, {"prompt_ids": (40,)}, {"beams": 1, "draws": (0, 1)}],
)
def test_invalid_requests_are_rejected(
    generator: SequenceToSequence, change: dict[str, object]
) -> None:
    with pytest.raises(EngineError):
        generator.generate(replace(REQUEST, **change))  # type: ignore[arg-type]
