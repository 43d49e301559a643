"""Products with the blocks of GGUF files, compared with the gguf package and torch."""

from __future__ import annotations

import ctypes
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from block_reference import (
    INPUTS,
    packed_linear,
    quantize_groups,
    reference_product,
    some_blocks,
    some_rows,
)
from engine_doubles import (
    CPU,
    FAMILY_SAMPLE,
    AdaptedWeights,
    logits_of,
    make_request,
    native_kernels,
    prompt_of,
    random_adapter,
    tiny_engine,
)
from family_models import CASES, SHAPE, random_model, write_family_gguf
from gguf import GGMLQuantizationType as TensorType
from model_doubles import VOCABULARY_SIZE, model_of_blocks, our_logits, weights_of
from tiny_models import write_gguf
from torch import Tensor

from archon.engine import loading
from archon.engine.files.gguf import GGUFFile
from archon.engine.kernels.block_packing import (
    Q8_0,
    STRIP_FORMATS,
    pack_strips,
    round_to_q8_0,
)
from archon.engine.kernels.native import NativeDecoder, NativeLinear
from archon.engine.kernels.packing import load_packed
from archon.engine.loading import add_adapter, load_decoder
from archon.engine.model.config import DecoderConfig
from archon.engine.model.families.traits import EMBEDDING, HEAD
from archon.engine.model.lora import Adapter
from archon.engine.model.merging import MergedWeights
from archon.engine.model.precision import Precision
from archon.engine.model.weights import GGUFWeights


def by_kernel(packed: dict[str, Tensor], x: Tensor, outputs: int) -> Tensor:
    linear = NativeLinear.of(packed, "linear")
    assert linear.inputs == x.shape[1]
    y = torch.empty(len(x), linear.outputs)
    native_kernels().archon_product(
        ctypes.byref(linear), x.data_ptr(), len(x), y.data_ptr(), torch.get_num_threads()
    )
    return y[:, :outputs]


@pytest.mark.usefixtures("instructions")
@pytest.mark.parametrize("name", STRIP_FORMATS)
def test_kernel_products_equal_the_reference_to_the_bit(name: str) -> None:
    blocks, x = some_blocks(name, 80), some_rows(26)
    x[7] = 0
    expected = reference_product(name, blocks, x)
    packed = packed_linear((name, blocks))
    for rows in range(1, len(x) + 1):
        assert torch.equal(by_kernel(packed, x[:rows], 80), expected[:rows]), rows


@pytest.mark.usefixtures("instructions")
@pytest.mark.parametrize("name", STRIP_FORMATS)
def test_sums_of_the_largest_codes_and_inputs_are_exact(name: str) -> None:
    """Sums in 16 bits would overflow here first."""
    x = torch.ones(3, INPUTS)
    x[1] = -1
    x[2, ::2] = -1
    for byte in (0x00, 0x77, 0x80, 0xFF):
        blocks = some_blocks(name, 32)
        integers = {"Q6_K": slice(0, 208), "MXFP4": slice(1, None)} | dict.fromkeys(
            ("Q4_1", "Q5_1", "Q4_K", "Q5_K"), slice(4, None)
        )
        blocks[..., integers.get(name, slice(2, None))] = byte
        expected = reference_product(name, blocks, x)
        assert torch.isfinite(expected).all()
        assert torch.equal(by_kernel(packed_linear((name, blocks)), x, 32), expected)


@pytest.mark.usefixtures("instructions")
@pytest.mark.parametrize("name", STRIP_FORMATS)
def test_products_are_those_of_the_dequantized_weight_with_rounded_inputs(name: str) -> None:
    blocks, x = some_blocks(name, 64), some_rows(5)
    weight = gguf.quants.dequantize(blocks.reshape(64, -1), TensorType[name])
    scale, whole = quantize_groups(x)
    rounded = (whole.unflatten(1, (-1, 32)) * scale.unsqueeze(2)).flatten(1).double()
    expected = rounded @ torch.from_numpy(weight.copy()).double().t()
    y = by_kernel(packed_linear((name, blocks)), x, 64)
    error = (y - expected).abs().amax(1) / expected.abs().amax(1)
    assert error.max() < 1e-5


@pytest.mark.usefixtures("instructions")
def test_strips_of_different_formats_are_computed_as_one_layer() -> None:
    parts = [(name, some_blocks(name, 32 + 16 * (i % 2))) for i, name in enumerate(STRIP_FORMATS)]
    x = some_rows(14)
    expected = torch.cat([reference_product(name, blocks, x) for name, blocks in parts], dim=1)
    assert torch.equal(by_kernel(packed_linear(*parts), x, expected.shape[1]), expected)


@pytest.mark.parametrize("name", STRIP_FORMATS)
def test_strips_take_as_many_bytes_as_the_file(name: str) -> None:
    blocks = some_blocks(name, 64)
    strips = pack_strips(STRIP_FORMATS[name], torch.from_numpy(blocks.reshape(64, -1)))
    assert sum(len(strip) for strip in strips) == blocks.size


def test_rounding_to_q8_0_is_near_what_the_gguf_package_computes() -> None:
    weight = torch.randn(8, 64, generator=torch.Generator().manual_seed(0))
    weight[3, 32:] = 0
    ours = gguf.quants.dequantize(round_to_q8_0(weight).numpy(), TensorType.Q8_0)
    theirs = gguf.quants.dequantize(
        gguf.quants.quantize(weight.numpy(), TensorType.Q8_0), TensorType.Q8_0
    )
    assert np.abs(ours - weight.numpy()).max() <= 1.01 * np.abs(theirs - weight.numpy()).max()
    assert (ours[3, 32:] == 0).all()
    assert Q8_0.bytes == 34


# ------------------------------------------------------------------------------ decoders


def rms(x: Tensor) -> Tensor:
    return x.square().mean().sqrt()


@pytest.mark.usefixtures("instructions")
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("family", FAMILY_SAMPLE)
def test_native_is_nearer_to_float32_than_int8(family: str, tied: bool, tmp_path: Path) -> None:
    native_kernels()
    write_gguf(tmp_path / "model.gguf", model_of_blocks(family, VOCABULARY_SIZE, tied))
    weights, prompt = weights_of(tmp_path / "model.gguf"), prompt_of(60, vocab_size=VOCABULARY_SIZE)
    exact, int8, native, in_torch = (
        our_logits(load_decoder(weights, precision, CPU, native=native), prompt)
        for precision, native in (
            ("float32", False), ("int8", False), ("native", True), ("native", False)
        )
    )  # fmt: skip
    assert rms(native - exact) < rms(int8 - exact)
    assert rms(in_torch - exact) < rms(int8 - exact)


@pytest.mark.parametrize("name", [n for n, case in CASES.items() if case.arch is not None])
def test_native_computes_all_families_from_their_blocks(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With windows, bounds, multipliers, biases, and weights that files fuse or reorder."""
    native_kernels()
    path, model = tmp_path / "model.gguf", random_model(CASES[name])
    write_family_gguf(path, CASES[name], model, TensorType.Q4_0)
    weights, prompt = weights_of(path), prompt_of(60, vocab_size=SHAPE["vocab_size"])
    packed = load_packed(weights, "native", None)
    formats = [tensor for part, tensor in packed.items() if part.endswith(".strip_format")]
    assert torch.cat(formats).unique().tolist() == [STRIP_FORMATS["Q4_0"].number]
    exact, int8, native = (
        our_logits(load_decoder(weights, precision, CPU), prompt)
        for precision in ("float32", "int8", "native")
    )
    assert "precision native" not in caplog.text
    assert rms(native - exact) < rms(int8 - exact)


def test_packed_blocks_take_no_more_bytes_than_the_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A tied embedding is not stored twice."""
    write_gguf(tmp_path / "model.gguf", model_of_blocks("llama", 320, tied=True))
    packed = load_packed(weights_of(tmp_path / "model.gguf"), "native", None)
    assert not caplog.records
    assert not any(name.startswith("embedding") for name in packed)
    weights = [tensor for name, tensor in packed.items() if name.endswith(".weight")]
    assert {tensor.dtype for tensor in weights} == {torch.uint8}
    file = GGUFFile(tmp_path / "model.gguf")
    stored = [i.num_bytes for i in file.tensors.values() if len(i.shape) == 2]
    assert sum(len(tensor) for tensor in weights) == sum(stored)


def test_weights_in_other_formats_are_rounded_and_the_log_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernels = native_kernels()
    monkeypatch.setattr(loading, "load_kernels", lambda _: kernels)  # compiled already
    types = {"ffn_up.weight": TensorType.F16, "ffn_down.weight": TensorType.BF16}
    model = model_of_blocks("qwen2", VOCABULARY_SIZE)
    write_gguf(tmp_path / "model.gguf", replace(model, types={**model.types, **types}))
    weights, prompt = weights_of(tmp_path / "model.gguf"), prompt_of(60, vocab_size=VOCABULARY_SIZE)
    for _ in range(2):  # packed, then read from the cache
        caplog.clear()
        options = {"model_id": "some", "keep_in": tmp_path}
        decoder = load_decoder(weights, "native", CPU, **options)  # type: ignore[arg-type]
        [record] = caplog.records
        assert "4 of 15 weights" in record.getMessage()
        assert "2 in F16, 2 in BF16" in record.getMessage()
    exact = our_logits(load_decoder(weights, "float32", CPU), prompt)
    int8 = our_logits(load_decoder(weights, "int8", CPU, native=False), prompt)
    assert rms(our_logits(decoder, prompt) - exact) < rms(int8 - exact)


def test_a_weight_that_its_blocks_do_not_represent_is_packed_from_its_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A family may change weights as it reads them."""
    native_kernels()
    write_gguf(tmp_path / "model.gguf", model_of_blocks("qwen2", VOCABULARY_SIZE))
    weights, prompt = weights_of(tmp_path / "model.gguf"), prompt_of(60, vocab_size=VOCABULARY_SIZE)
    read = GGUFWeights.layer
    monkeypatch.setattr(
        GGUFWeights, "layer", lambda self, i: replace(w := read(self, i), up=2 * w.up)
    )
    exact = our_logits(load_decoder(weights, "float32", CPU), prompt)
    native = our_logits(load_decoder(weights, "native", CPU), prompt)
    int8 = our_logits(load_decoder(weights, "int8", CPU, native=False), prompt)
    assert rms(native - exact) < rms(int8 - exact)


def _merged_adapter(kind: str, config: DecoderConfig) -> Adapter:
    """An adapter that must be merged: DoRA, or other numbers for a tensor of the model."""
    generator = torch.Generator().manual_seed(5)
    width, vocabulary = config.width, config.vocab_size
    change: Adapter = random_adapter(config, 5, 4, "q_proj", "down_proj")
    dora = {
        name: 1 + torch.rand(len(b), generator=generator) for name, (_, b) in change.pairs.items()
    }
    embedding = torch.randn(vocabulary, width, generator=generator)
    factors = torch.randn(4, width, generator=generator) / 16, torch.randn(vocabulary, 4)
    kinds: dict[str, dict[str, Any]] = {
        "dora": {"magnitudes": dora},
        "embedding": {"pairs": {}, "replaced": {EMBEDDING.hf: embedding}},
        "low-rank embedding": {"pairs": {"model.embed_tokens": factors}},
        "head": {"pairs": {}, "replaced": {HEAD.hf: embedding}},
        "norm and bias": {
            "pairs": {},
            "replaced": {"model.layers.1.self_attn.q_proj.bias": embedding[0]},
            "added": {"model.layers.0.self_attn.v_proj.bias": embedding[1, :64]},
        },
    }
    return replace(change, **kinds[kind])


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize(
    ("kind", "changed"),
    [("dora", 4), ("embedding", 0), ("low-rank embedding", 0), ("head", 1), ("norm and bias", 0)],
)
def test_only_weights_that_a_merged_adapter_changes_are_rounded(
    kind: str, changed: int, tied: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    native_kernels()
    write_gguf(tmp_path / "model.gguf", model_of_blocks("qwen2", VOCABULARY_SIZE, tied))
    weights, prompt = weights_of(tmp_path / "model.gguf"), prompt_of(60, vocab_size=VOCABULARY_SIZE)
    merged = MergedWeights(weights, _merged_adapter(kind, weights.config))
    exact = our_logits(load_decoder(merged, "float32", CPU), prompt)
    int8 = our_logits(load_decoder(merged, "int8", CPU, native=False), prompt)
    caplog.clear()
    decoder = load_decoder(merged, "native", CPU)
    assert isinstance(decoder, NativeDecoder)
    lines = [record.getMessage() for record in caplog.records]
    assert [f"{changed} changed by the adapter" in line for line in lines] == [True] * bool(changed)
    assert rms(our_logits(decoder, prompt) - exact) < rms(int8 - exact)
    plain = our_logits(load_decoder(weights, "float32", CPU), prompt)
    assert rms(plain - exact) > 3 * rms(int8 - exact)  # the adapter has an effect


@pytest.mark.parametrize("family", FAMILY_SAMPLE)
def test_adapters_are_computed_next_to_blocks(family: str, tmp_path: Path) -> None:
    native_kernels()
    write_gguf(tmp_path / "model.gguf", model_of_blocks(family, VOCABULARY_SIZE))
    weights = weights_of(tmp_path / "model.gguf")
    adapter = random_adapter(weights.config, 1, 4)
    merged = load_decoder(AdaptedWeights(weights, adapter), "float32", CPU)
    prompts = [prompt_of(40, seed=seed, vocab_size=VOCABULARY_SIZE) for seed in range(6)]
    requests = [make_request(prompt, max_tokens=1, adapter=adapter.digest) for prompt in prompts]
    exact = logits_of(tiny_engine(merged), *(replace(r, adapter="") for r in requests))

    def error(precision: Precision, native: bool) -> Tensor:
        engine = tiny_engine(load_decoder(weights, precision, CPU, native=native))
        add_adapter(engine, weights, adapter)
        return rms(torch.stack(logits_of(engine, *requests)) - torch.stack(exact))

    assert error("native", True) < error("int8", False)


def test_without_kernels_native_computes_in_bf16_and_the_log_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_gguf(tmp_path / "model.gguf", model_of_blocks("qwen2", VOCABULARY_SIZE))
    weights, prompt = weights_of(tmp_path / "model.gguf"), prompt_of(30, vocab_size=VOCABULARY_SIZE)
    native = load_decoder(weights, "native", CPU, native=False)
    assert "bf16" in caplog.text
    bf16 = load_decoder(weights, "bf16", CPU)
    assert torch.equal(our_logits(native, prompt), our_logits(bf16, prompt))
