"""The decoder against transformers, on the same weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from engine_doubles import (
    CPU,
    GREEDY,
    assert_close_logits,
    make_request,
    prompt_of,
    run_all,
    tiny_config,
)
from gguf import GGMLQuantizationType as TensorType
from tiny_models import TinyModel, tiny_vocabulary, write_gguf
from transformers_reference import reference_logits, reference_model

from archon.engine.engine import Engine
from archon.engine.files.gguf import GGUFFile
from archon.engine.kernels.native import NativeDecoder
from archon.engine.model.config import config_of
from archon.engine.model.decoder import Decoder
from archon.engine.model.linear import Precision
from archon.engine.model.loading import load_decoder
from archon.engine.model.outlier_rotation import RotatedWeights
from archon.engine.model.weights import GGUFWeights, RandomWeights
from archon.engine.perplexity import perplexity, window_logits

WIDE = {"width": 256, "ffn_width": 256, "num_layers": 1}
MODELS = {
    "llama": TinyModel("llama"),
    "llama with its own head": TinyModel("llama", tied=False, num_layers=3),
    "llama with biases": TinyModel("llama", biased=True),
    "llama without shared heads": TinyModel("llama", num_kv_heads=4),
    "qwen2": TinyModel("qwen2"),
    "qwen2 tied": TinyModel("qwen2", tied=True),
    "qwen2 of one key-value head": TinyModel("qwen2", num_kv_heads=1, seed=3),
    "qwen3": TinyModel("qwen3", own_head_width=16),
    "qwen3 with its own head": TinyModel("qwen3", own_head_width=6, tied=False, num_kv_heads=1),
    "llama in Q8_0": TinyModel(types={"weight": TensorType.Q8_0, "norm.weight": TensorType.F32}),
    "qwen2 in F16 and BF16": TinyModel(
        "qwen2", types={"attn_q.weight": TensorType.F16, "ffn_up.weight": TensorType.BF16}
    ),
    "qwen2 of mixed types": TinyModel(
        "qwen2",
        **WIDE,
        types={
            "attn_q.weight": TensorType.Q4_K, "attn_k.weight": TensorType.Q5_K,
            "attn_v.weight": TensorType.Q6_K, "ffn_up.weight": TensorType.Q5_0,
            "ffn_gate.weight": TensorType.Q4_0, "ffn_down.weight": TensorType.Q4_1,
            "attn_output.weight": TensorType.Q5_1, "output.weight": TensorType.Q8_0,
        },
    ),
}  # fmt: skip
VOCABULARY_SIZE = len(tiny_vocabulary())


def weights_of(path: Path) -> GGUFWeights:
    file = GGUFFile(path)
    return GGUFWeights(file, config_of(file))


def our_logits(decoder: Decoder, token_ids: tuple[int, ...]) -> torch.Tensor:
    return window_logits(decoder, decoder.new_cache(32), token_ids)


@pytest.fixture(params=MODELS)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "model.gguf"
    write_gguf(path, MODELS[request.param])
    return path


def test_logits_and_greedy_tokens_are_those_of_transformers(path: Path) -> None:
    decoder = load_decoder(weights_of(path), "float32", CPU)
    reference = reference_model(path)
    prompt = prompt_of(200, vocab_size=VOCABULARY_SIZE)
    expected = reference_logits(reference, list(prompt))
    assert_close_logits(our_logits(decoder, prompt), expected)

    [[generation]] = run_all(
        Engine(decoder), make_request(prompt[:40], rule=GREEDY, max_tokens=128)
    )
    assert len(generation.token_ids) == 128
    logits = reference_logits(reference, [*prompt[:40], *generation.token_ids])[39:-1]
    margin = logits.max(-1).values - logits[range(128), list(generation.token_ids)]
    assert (margin <= 1e-4 * logits.abs().max()).all()


@pytest.mark.parametrize("name", ["llama", "qwen2", "qwen2 of one key-value head", "qwen3"])
def test_a_rotated_basis_changes_no_logit(name: str, tmp_path: Path) -> None:
    write_gguf(tmp_path / "model.gguf", MODELS[name])
    weights = weights_of(tmp_path / "model.gguf")
    prompt = prompt_of(100, vocab_size=VOCABULARY_SIZE)
    plain = our_logits(Decoder(weights, "float32", CPU), prompt)
    rotated = our_logits(Decoder(RotatedWeights(weights), "float32", CPU), prompt)
    assert_close_logits(rotated, plain)


@pytest.mark.parametrize(("precision", "bound"), [("bf16", 0.02), ("int8", 0.05), ("int4", 0.12)])
@pytest.mark.parametrize("name", ["llama", "qwen2", "qwen3"])
def test_lower_precisions_stay_near_float32(
    name: str, precision: Precision, bound: float, tmp_path: Path
) -> None:
    """The root mean square of the error is within a bound of that of the logits' spread."""
    write_gguf(tmp_path / "model.gguf", MODELS[name])
    weights = weights_of(tmp_path / "model.gguf")
    prompt = prompt_of(100, vocab_size=VOCABULARY_SIZE)
    exact = our_logits(load_decoder(weights, "float32", CPU), prompt)
    rounded = our_logits(load_decoder(weights, precision, CPU), prompt)
    assert (rounded - exact).square().mean().sqrt() <= bound * exact.std()


@pytest.mark.parametrize("precision", ["int8", "int4"])
@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3"])
def test_compiled_kernels_compute_what_torch_does(family: str, precision: Precision) -> None:
    weights = RandomWeights(tiny_config(family=family, width=64, ffn_width=96, head_width=32))
    native = load_decoder(weights, precision, CPU)
    if not isinstance(native, NativeDecoder):
        pytest.skip("the kernels need AVX-512 VNNI and a C++ compiler")
    in_torch = load_decoder(weights, precision, CPU, native=False)
    expected = our_logits(in_torch, prompt_of(60))
    error = (our_logits(native, prompt_of(60)) - expected).square().mean().sqrt()
    assert error <= 0.05 * expected.std()


def test_perplexity_is_that_of_transformers(tmp_path: Path) -> None:
    write_gguf(tmp_path / "model.gguf", MODELS["llama"])
    decoder = load_decoder(weights_of(tmp_path / "model.gguf"), "float32", CPU)
    reference = reference_model(tmp_path / "model.gguf")
    text = prompt_of(130, vocab_size=VOCABULARY_SIZE)
    losses = []
    for window in (text[:64], text[64:128], text[128:]):
        logprobs = reference_logits(reference, list(window)).log_softmax(-1)[:-1]
        losses.append(-logprobs[range(len(window) - 1), list(window[1:])])
    expected = torch.cat(losses).double().mean().exp()
    assert perplexity(decoder, text, window=64) == pytest.approx(float(expected), rel=1e-4)
