from __future__ import annotations

from array import array
from dataclasses import fields
from typing import Any

import pytest
import torch
from engine_doubles import FEATURED, PACKABLE, random_adapter
from engine_doubles import tiny_config as engine_config
from torch.nn import functional
from train_doubles import one_text, slope, tiny_config, tiny_decoder

from archon.engine.engine import Engine
from archon.engine.loading import add_adapter as load_adapter
from archon.engine.loading import load_decoder
from archon.engine.model.decoder import Decoder
from archon.engine.model.families import FAMILIES
from archon.engine.model.lora import check_adapter
from archon.engine.model.weights import RandomWeights
from archon.engine.perplexity import window_logits
from archon.engine.span import Span
from archon.errors import UsageError
from archon.train.decoder import TrainableDecoder, TrainedWeights, decoder_of, initialise
from archon.train.lora import adapter_of, add_adapter, resume_adapter

TEXT = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 2, 38, 0]


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_logits_equal_those_of_the_engine(family: Any) -> None:
    engine = Decoder(RandomWeights(tiny_config(family=family)), "float32", torch.device("cpu"))
    expected = window_logits(engine, engine.new_cache(8), TEXT)
    model = tiny_decoder(family=family)
    found = model.logits(model(*one_text(TEXT)))[0]
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("family", FEATURED)
@torch.no_grad()
def test_logits_of_models_with_features_equal_those_of_the_engine(family: str) -> None:
    """A short text, and one that is longer than the windows and uses the long frequencies."""
    source = RandomWeights(engine_config(family=family, **PACKABLE | FEATURED[family]))
    engine, model = Decoder(source, "float32", torch.device("cpu")), decoder_of(source)
    for text in (TEXT, TEXT * 4):
        expected = window_logits(engine, engine.new_cache(24), text)
        found = model.logits(model(*one_text(text)))[0]
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("family", FEATURED)
@torch.no_grad()
def test_trained_weights_are_those_of_the_source(family: str) -> None:
    source = RandomWeights(engine_config(family=family, **PACKABLE | FEATURED[family]))
    trained = TrainedWeights(decoder_of(source))
    for index in range(source.config.num_layers):
        for field in fields(source.layer(index)):
            ours, theirs = (getattr(s.layer(index), field.name) for s in (trained, source))
            if field.name == "experts":
                ours, theirs = (None if each is None else [*each] for each in (ours, theirs))
            torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(trained.output_norm(), source.output_norm())


@torch.no_grad()
def test_the_engine_applies_an_adapter_of_fused_projections() -> None:
    source = RandomWeights(engine_config(family="phi3", **PACKABLE | FEATURED["phi3"]))
    adapter = random_adapter(source.config, seed=0, rank=3)
    assert "model.layers.1.self_attn.qkv_proj" in adapter.pairs
    model = decoder_of(source)
    resume_adapter(model, adapter)
    expected = model.logits(model(*one_text(TEXT)))[0]
    for precision, bound in (("float32", 1e-4), ("int8", 0.1)):
        engine = Engine(load_decoder(source, precision, torch.device("cpu")))
        load_adapter(engine, source, adapter)
        tables = array("i", range(2)), array("i", range(2, 4))  # one for each layer group
        span = Span(TEXT, 0, tables, 0, len(TEXT), adapter=adapter.digest)
        found = engine.decoder([span], engine.decoder.new_cache(4))
        assert (found - expected).square().mean().sqrt() <= bound * expected.std()


def test_experts_get_no_adapter() -> None:
    source = RandomWeights(engine_config(family="qwen2_moe", **PACKABLE | FEATURED["qwen2_moe"]))
    model = decoder_of(source)
    add_adapter(model, ["q_proj", "gate_proj"], 2, 4, 0.0, seed=0)
    names = adapter_of(model).pairs.keys()
    assert "model.layers.0.self_attn.q_proj" in names
    assert "model.layers.1.mlp.gate_proj" in names  # a dense layer
    assert not any("expert" in name for name in names)
    check_adapter(adapter_of(model), source.config)
    with pytest.raises(UsageError, match="has no linear layer 'shared_expert_gate'"):
        add_adapter(decoder_of(source), ["shared_expert_gate"], 2, 4, 0.0, seed=0)


@torch.no_grad()
def test_packed_texts_do_not_attend_to_each_other() -> None:
    model = tiny_decoder()
    tokens = torch.tensor([TEXT])
    positions = torch.tensor([[*range(7), *range(12)]])
    texts = torch.tensor([[1] * 7 + [2] * 12])
    packed = model(tokens, positions, texts)[0]
    torch.testing.assert_close(packed[:7], model(*one_text(TEXT[:7]))[0])
    torch.testing.assert_close(packed[7:], model(*one_text(TEXT[7:]))[0])


@pytest.mark.parametrize("checkpoints", [False, True])
def test_gradients_equal_finite_differences(checkpoints: bool) -> None:
    model = tiny_decoder(family="qwen3", num_layers=1, vocab_size=12, width=8).double()
    model.checkpoints = checkpoints
    text = [token % 12 for token in TEXT[:8]]

    def loss() -> torch.Tensor:
        logits = model.logits(model(*one_text(text)))[0]
        return functional.cross_entropy(logits[:-1], torch.tensor(text[1:]))

    loss().backward()
    generator = torch.Generator().manual_seed(0)
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        direction = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        expected = (parameter.grad * direction).sum()
        found = slope(loss, parameter, direction, 1e-5)
        torch.testing.assert_close(found, expected, atol=1e-7, rtol=1e-5)


def test_a_tied_head_is_one_parameter() -> None:
    model = TrainableDecoder(tiny_config(), tied=True)
    initialise(model, 0)
    assert model.lm_head.weight is model.model.embed_tokens.weight
    assert "lm_head.weight" not in dict(model.named_parameters())
    assert model(*one_text(TEXT)).std().item() == pytest.approx(1, abs=0.1)
