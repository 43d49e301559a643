from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from engine_doubles import CPU, native_kernels, prompt_of, tiny_config, tiny_decoder

from archon.engine import gptq, loading
from archon.engine.calibration import own_texts
from archon.engine.config import DecoderConfig
from archon.engine.gptq import fit, inverse_factor, round_layers
from archon.engine.linear import quantize_groups
from archon.engine.loading import load_decoder
from archon.engine.native import NativeDecoder
from archon.engine.packing import load_packed, pack
from archon.engine.weights import RandomWeights


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def correlated_inputs(count: int, inputs: int) -> torch.Tensor:
    return normal(count, inputs // 4, seed=1) @ normal(inputs // 4, inputs, seed=2)


def test_the_factor_is_that_of_the_inverse() -> None:
    moment = correlated_inputs(200, 64).t() @ correlated_inputs(200, 64)
    factor = inverse_factor(moment)
    damped = moment.double() + torch.eye(64).double() * 0.05 * float(moment.diagonal().mean())
    assert torch.equal(factor, factor.triu())
    assert torch.allclose(
        factor.double().t() @ factor.double() @ damped, torch.eye(64).double(), atol=1e-3
    )


def test_fitted_outputs_are_much_nearer_than_those_of_the_nearest_steps() -> None:
    weight, x = normal(48, 128), correlated_inputs(500, 128)
    fitted, nearest = fit(weight, x), quantize_groups(weight)
    losses = [
        (x @ (grouped.dequantize() - weight).t()).square().mean() for grouped in (fitted, nearest)
    ]
    assert losses[0] < losses[1] / 4


def test_without_any_correlation_weights_go_to_the_nearest_step() -> None:
    weight = normal(20, 96)
    fitted, nearest = fit(weight, torch.eye(96)), quantize_groups(weight)
    assert torch.equal(fitted.weight_s4_OI, nearest.weight_s4_OI)
    assert torch.equal(fitted.scale_OG, nearest.scale_OG)


def test_of_many_inputs_runs_are_fitted_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    weight, x = normal(20, 160), correlated_inputs(300, 160)
    parts = [fit(weight[:, :64], x[:, :64]), fit(weight[:, 64:128], x[:, 64:128])]
    parts.append(fit(weight[:, 128:], x[:, 128:]))
    monkeypatch.setattr(gptq, "_MOST_INPUTS", 64)
    expected = torch.cat([part.dequantize() for part in parts], dim=1)
    assert torch.equal(fit(weight, x).dequantize(), expected)


def test_inputs_of_zeros_give_finite_weights() -> None:
    weight = normal(8, 64)
    assert torch.isfinite(fit(weight, torch.zeros(5, 64)).dequantize()).all()


# ----------------------------------------------------------------------------- whole models


def kernel_config() -> DecoderConfig:
    return tiny_config(width=64, ffn_width=96, head_width=16)


def test_every_feed_forward_layer_is_rounded_and_the_same_each_time() -> None:
    source = RandomWeights(kernel_config())
    texts = [prompt_of(40), prompt_of(9, seed=1)]
    rounded, again = round_layers(source, texts), round_layers(source, texts)
    assert sorted(rounded) == [
        "layers.0.down", "layers.0.gate_up", "layers.1.down", "layers.1.gate_up"
    ]  # fmt: skip
    assert rounded["layers.0.gate_up"].weight_s4_OI.shape == (192, 64)
    assert rounded["layers.1.down"].weight_s4_OI.shape == (64, 96)
    for name, weight in rounded.items():
        assert torch.equal(weight.weight_s4_OI, again[name].weight_s4_OI)
        assert torch.equal(weight.scale_OG, again[name].scale_OG)


def test_a_model_writes_the_same_texts_each_time() -> None:
    decoder = tiny_decoder()
    texts = own_texts(decoder)
    assert texts == own_texts(decoder)
    assert {len(text) for text in texts} == {64}
    assert len(set(texts)) == len(texts)


def test_texts_fit_a_short_context() -> None:
    assert {len(text) for text in own_texts(tiny_decoder(context_length=32))} == {32}


def test_int4_weights_are_fitted_to_what_the_model_writes_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    native_kernels()
    seen = []

    def record(decoder: NativeDecoder) -> list[tuple[int, ...]]:
        seen.append(decoder.precision)
        return [prompt_of(30)]

    monkeypatch.setattr(loading, "own_texts", record)
    source = RandomWeights(kernel_config())
    with caplog.at_level(logging.INFO, "archon.engine"):
        first = load_decoder(source, "int4", CPU, model_id="a", keep_in=tmp_path)
    second = load_decoder(source, "int4", CPU, model_id="a", keep_in=tmp_path)
    assert seen == ["int8"]
    assert "layer 2 of 2" in caplog.text
    assert first.precision == second.precision == "int4"
    kept = tmp_path / "packed" / "a-int4.safetensors"
    packed = load_packed(lambda: pytest.fail("was not kept"), kept)
    plain = pack(source, "int4")
    assert packed["layers.0.down.weight"].dtype == torch.uint8
    assert packed.keys() == plain.keys()
    assert packed["layers.0.qkv.weight"].dtype == torch.int8
