"""The compiled kernels compared with torch, part by part."""

from __future__ import annotations

import ctypes
import random
from array import array
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from engine_doubles import CPU, FAMILY_SAMPLE, native_kernels, prompt_of, tiny_config
from kernel_doubles import NUM_BLOCKS, Keys, expected_attention
from torch import Tensor

from archon.engine.cache.kv_cache import BLOCK_SIZE
from archon.engine.kernels import packing
from archon.engine.kernels.native import _Layer, _Model, _Step
from archon.engine.kernels.packing import load_packed, pack
from archon.engine.loading import load_decoder
from archon.engine.model.config import DecoderConfig, LayerConfig
from archon.engine.model.outlier_rotation import OutlierRotatedWeights
from archon.engine.model.precision import Precision
from archon.engine.model.weights import RandomWeights
from archon.engine.perplexity import window_logits

SHAPES = [(4, 2, 16), (14, 2, 64), (3, 3, 64), (12, 2, 128), (8, 1, 32), (20, 2, 48)]
"""Query heads, key-value heads, width of a head."""


def shape_of(heads: int, kv_heads: int, head_width: int) -> DecoderConfig:
    return tiny_config(num_layers=1, num_heads=heads, num_kv_heads=kv_heads, head_width=head_width)


def attend(
    kernels: ctypes.CDLL, config: DecoderConfig, keys: Keys, q: Tensor, tables: list[array[int]],
    positions: list[int],
) -> Tensor:  # fmt: skip
    """Compute the attention of tokens at their positions with block tables: (tokens, H, D)."""
    model, step, out = _Model(), _Step(), torch.empty_like(q)
    model.heads, model.kv_heads = config.num_heads, config.num_kv_heads
    model.head_width, model.threads = config.head_width, 2
    model.attention_scale = config.attention_scale or 0
    model.attention_softcap = config.attention_softcap
    layers = (_Layer * 1)()
    layers[0].window = config.layers[0].window or 0
    sizes = np.ones(1, np.int64)
    model.layers, model.group_sizes = ctypes.addressof(layers), sizes.ctypes.data
    model.num_groups = 1
    position = np.array(positions, np.int32)
    table = np.array([t.buffer_info()[0] for t in tables], np.uintp)
    seconds = np.zeros(4)
    step.num_tokens, step.num_blocks = len(positions), NUM_BLOCKS
    step.position, step.table = position.ctypes.data, table.ctypes.data
    step.cache, step.seconds = keys.cache.blocks.data_ptr(), seconds.ctypes.data
    kernels.archon_attention(ctypes.byref(model), ctypes.byref(step), q.data_ptr(), out.data_ptr())
    return out


@pytest.mark.usefixtures("instructions")
@pytest.mark.parametrize("size", [1.0, 30.0])
@pytest.mark.parametrize("shape", SHAPES)
def test_attention_matches_the_reference_and_sharing_changes_no_bit(
    shape: tuple[int, int, int], size: float
) -> None:
    """With ``size`` 30, scores differ so much that the reference of the softmax moves."""
    config = shape_of(*shape)
    kernels, keys, rng = native_kernels(), Keys(config, size), random.Random(0)
    trunk = rng.sample(range(NUM_BLOCKS), 9)
    tables, positions = [], []
    for i in range(40):
        shared = rng.choice([0, 3, 7, 9])
        blocks = trunk[:shared] + rng.sample(range(NUM_BLOCKS), 4)
        tables.append(array("i", tables[i - 1] if i % 5 == 4 else blocks))
        positions.append(rng.randrange(len(tables[i]) * BLOCK_SIZE))
    q = torch.randn(40, config.num_heads, config.head_width)
    together = attend(kernels, config, keys, q, tables, positions)
    for i in range(40):
        alone = attend(kernels, config, keys, q[i : i + 1], tables[i : i + 1], positions[i : i + 1])
        assert torch.equal(alone[0], together[i])
        plain = expected_attention(q[i], keys, tables[i], positions[i], config)
        assert (together[i] - plain).abs().max() < 0.01 * plain.abs().max()


@pytest.mark.usefixtures("instructions")
@pytest.mark.parametrize("window", [1, 16, 37, 500])
def test_attention_within_a_window_and_with_bounded_scores(window: int) -> None:
    config = replace(shape_of(4, 2, 32), attention_softcap=3.0, attention_scale=0.4)
    config = replace(config, layers=(LayerConfig(None, window),))
    kernels, keys, rng = native_kernels(), Keys(config, 1.0), random.Random(0)
    trunk = rng.sample(range(NUM_BLOCKS), 9)
    tables = [array("i", trunk[:7] + rng.sample(range(NUM_BLOCKS), 4)) for _ in range(20)]
    positions = [rng.randrange(7 * BLOCK_SIZE, 11 * BLOCK_SIZE) for _ in tables]
    q = torch.randn(20, config.num_heads, config.head_width)
    together = attend(kernels, config, keys, q, tables, positions)
    for i in range(20):
        alone = attend(kernels, config, keys, q[i : i + 1], tables[i : i + 1], positions[i : i + 1])
        assert torch.equal(alone[0], together[i])
        plain = expected_attention(q[i], keys, tables[i], positions[i], config)
        assert (together[i] - plain).abs().max() < 0.01 * plain.abs().max()


@pytest.mark.usefixtures("instructions")
@pytest.mark.parametrize("family", FAMILY_SAMPLE)
def test_a_step_matches_the_torch_decoder(family: str) -> None:
    """Norms and softmax may round differently, so the bound is that of int8 and float32."""
    native_kernels()
    config = tiny_config(family=family, width=128, ffn_width=256, head_width=32)
    source, prompt = RandomWeights(config), prompt_of(90)
    exact, plain, compiled = (
        window_logits(decoder, decoder.new_cache(8), prompt)
        for decoder in (
            load_decoder(source, "float32", CPU),
            load_decoder(source, "int8", CPU, native=False),
            load_decoder(source, "int8", CPU),
        )
    )
    rounding = (plain - exact).square().mean().sqrt()
    assert (compiled - exact).square().mean().sqrt() < 1.1 * rounding
    assert (compiled - plain).square().mean().sqrt() < rounding


# ---------------------------------------------------------------------------- packed weights


@pytest.mark.parametrize("precision", ["int8", "int4", "native"])
def test_packed_weights_are_read_back_unchanged(precision: Precision, tmp_path: Path) -> None:
    kept = tmp_path / "folder" / "model-int8.safetensors"
    source = OutlierRotatedWeights(RandomWeights(tiny_config(head_width=16)))
    made = pack(source, precision)
    first = load_packed(source, precision, kept)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packing, "pack", lambda *_: pytest.fail("packed once more"))
        second = load_packed(source, precision, kept)
    for packed in (first, second):
        assert packed.keys() == made.keys()
        assert all(torch.equal(packed[name], made[name]) for name in made)
    assert [path.name for path in kept.parent.iterdir()] == [kept.name]


@pytest.mark.parametrize("damage", [b"", b"nonsense", None])
def test_unreadable_packed_weights_are_packed_again(damage: bytes | None, tmp_path: Path) -> None:
    kept = tmp_path / "model-int8.safetensors"
    source = OutlierRotatedWeights(RandomWeights(tiny_config(head_width=16)))
    made = load_packed(source, "int8", kept)
    kept.write_bytes(kept.read_bytes()[:-100] if damage is None else damage)
    again = load_packed(source, "int8", kept)
    assert all(torch.equal(again[name], made[name]) for name in made)
    assert len(kept.read_bytes()) > 1000
