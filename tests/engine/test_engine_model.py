"""The decoder compared with transformers on the same weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from engine_doubles import (
    CPU,
    FAMILY_SAMPLE,
    FEATURED,
    GREEDY,
    PACKABLE,
    assert_close_logits,
    make_request,
    prompt_of,
    run_all,
    tiny_config,
)
from model_doubles import MODELS, VOCABULARY_SIZE, our_logits, weights_of
from tiny_models import TinyModel, write_gguf
from torch import Tensor
from transformers_reference import reference_logits, reference_model

from archon.engine.engine import Engine
from archon.engine.files.gguf import GGUFFile
from archon.engine.kernels.build import load_kernels
from archon.engine.kernels.native import NativeDecoder
from archon.engine.loading import load_decoder
from archon.engine.model.config import config_of
from archon.engine.model.decoder import Decoder
from archon.engine.model.families.traits import HEAD
from archon.engine.model.outlier_rotation import OutlierRotatedWeights
from archon.engine.model.precision import Precision
from archon.engine.model.weights import GGUFWeights, RandomWeights
from archon.engine.perplexity import perplexity


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


@pytest.mark.parametrize("name", [*FAMILY_SAMPLE, "qwen2 of one key-value head"])
def test_a_rotated_basis_changes_no_logit(name: str, tmp_path: Path) -> None:
    write_gguf(tmp_path / "model.gguf", MODELS[name])
    weights = weights_of(tmp_path / "model.gguf")
    prompt = prompt_of(100, vocab_size=VOCABULARY_SIZE)
    plain = our_logits(Decoder(weights, "float32", CPU), prompt)
    basis = OutlierRotatedWeights(weights)
    rotated = our_logits(Decoder(basis, "float32", CPU, basis.input_rotation), prompt)
    assert_close_logits(rotated, plain)


@pytest.mark.parametrize("family", FEATURED)
def test_a_rotated_basis_changes_no_logit_of_models_with_features(family: str) -> None:
    weights = RandomWeights(tiny_config(family=family, **PACKABLE | FEATURED[family]))
    basis = OutlierRotatedWeights(weights)
    plain = our_logits(Decoder(weights, "float32", CPU), prompt_of(80))
    rotated = our_logits(Decoder(basis, "float32", CPU, basis.input_rotation), prompt_of(80))
    assert_close_logits(rotated, plain)


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("family", ["llama", "gemma2", "olmo2"])
def test_rotation_reduces_the_error_of_outliers_in_the_stream(family: str, native: bool) -> None:
    """A few channels of the stream are far larger than the others, as in Gemma."""
    weights = Outliers(tiny_config(family=family, **PACKABLE | {"width": 128}))
    exact, plain, rotated = (
        our_logits(decoder, prompt_of(60))
        for decoder in (
            Decoder(weights, "float32", CPU),
            Decoder(weights, "int8", CPU),
            load_decoder(weights, "int8", CPU, native=native),
        )
    )
    errors = [(found - exact).square().mean() for found in (rotated, plain)]
    assert errors[0] < 0.5 * errors[1]


class Outliers(RandomWeights):
    """Parameters whose embedding has large channels, which the head does not read."""

    def embedding(self) -> Tensor:
        embedding_VE = super().embedding()
        embedding_VE[:, ::40] = 100.0
        return embedding_VE

    def head(self) -> Tensor:
        head_VE = super().head()
        head_VE[:, ::40] = 0
        return head_VE


@pytest.mark.parametrize(
    ("precision", "bound"), [("bf16", 0.02), ("int8", 0.05), ("int4", 0.12), ("native", 0.05)]
)
@pytest.mark.parametrize("name", FAMILY_SAMPLE)
def test_lower_precisions_stay_near_float32(
    name: str, precision: Precision, bound: float, tmp_path: Path
) -> None:
    """The RMS of the error is within a bound relative to the spread of the logits."""
    write_gguf(tmp_path / "model.gguf", MODELS[name])
    weights = weights_of(tmp_path / "model.gguf")
    prompt = prompt_of(100, vocab_size=VOCABULARY_SIZE)
    exact = our_logits(load_decoder(weights, "float32", CPU), prompt)
    rounded = our_logits(load_decoder(weights, precision, CPU), prompt)
    assert (rounded - exact).square().mean().sqrt() <= bound * exact.std()


@pytest.mark.parametrize("precision", ["int8", "int4"])
@pytest.mark.parametrize("family", [*FAMILY_SAMPLE, *FEATURED])
def test_compiled_kernels_compute_what_torch_does(family: str, precision: Precision) -> None:
    features = FEATURED.get(family, {"head_width": 32})
    weights = RandomWeights(tiny_config(family=family, **PACKABLE | features))
    native = load_decoder(weights, precision, CPU)
    if not isinstance(native, NativeDecoder):
        assert load_kernels() is None
        pytest.skip("no compiled kernels on this machine")
    in_torch = load_decoder(weights, precision, CPU, native=False)
    expected = our_logits(in_torch, prompt_of(80))
    error = (our_logits(native, prompt_of(80)) - expected).square().mean().sqrt()
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


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_a_tied_head_shares_the_memory_of_the_embedding(
    precision: Precision, tmp_path: Path
) -> None:
    path = tmp_path / "model.gguf"
    write_gguf(path, TinyModel(tied=True))
    file = GGUFFile(path)
    assert HEAD.gguf not in file.tensors
    decoder = load_decoder(GGUFWeights(file, config_of(file)), precision, CPU)
    assert decoder.head.weight_OI.data_ptr() == decoder.embedding_VE.data_ptr()
