"""The roofline with figures computed by hand, and its measurement on a tiny shape."""

from __future__ import annotations

import time
from typing import ClassVar

import pytest
import torch

from archon.bench import roofline as rooflines
from archon.bench.roofline import (
    MAX_ROWS,
    Machine,
    Roofline,
    linear_shapes,
    mean_kv_tokens,
    rows_of,
)
from archon.bench.workload import Workload
from archon.engine.model.config import DecoderConfig

CONFIG = DecoderConfig(
    family="llama",
    num_layers=2,
    width=32,
    ffn_width=64,
    num_heads=4,
    num_kv_heads=2,
    head_width=8,
    vocab_size=100,
    context_length=512,
)
LAYER_WEIGHTS = 64 * 32 + 32 * 32 + 128 * 32 + 32 * 64
WEIGHTS = 2 * LAYER_WEIGHTS + 100 * 32
KV_BYTES = 2 * 2 * 2 * 8 * 2  # keys and values, layers, heads, width, bytes of a bfloat16


def roofline(precision: str = "int8", **machine: float) -> Roofline:
    usual = {
        "read_bytes_per_second": 1e6,
        "linear_rows_per_second": 1000.0,
        "head_rows_per_second": 4000.0,
    }
    return Roofline(CONFIG, precision, Machine(**{**usual, **machine}))


def test_weights_are_those_of_all_layers_and_the_head() -> None:
    assert linear_shapes(CONFIG) == [(64, 32), (32, 32), (128, 32), (32, 64)]
    sizes = [roofline(p).weight_bytes / WEIGHTS for p in ("float32", "bf16", "int8")]
    assert sizes == [4, 2, 1]
    feed_forward = 2 * (128 * 32 + 32 * 64)
    assert roofline("int4").weight_bytes == WEIGHTS - feed_forward / 2


def test_keys_and_values_have_2_bytes_except_in_float32() -> None:
    assert roofline().kv_bytes_per_token == KV_BYTES
    assert roofline("float32").kv_bytes_per_token == 2 * KV_BYTES


def test_memory_bounds_one_row_and_arithmetic_many() -> None:
    bound = roofline()
    assert bound.step_seconds(1, 10) == pytest.approx((WEIGHTS + 10 * KV_BYTES) / 1e6)
    assert bound.step_seconds(64, 10) == pytest.approx(64 / 1000 + 64 / 4000)
    assert roofline(read_bytes_per_second=1e3).step_seconds(64, 10) > bound.step_seconds(64, 10)


def test_a_shared_prefix_is_read_once() -> None:
    apart, shared = (Workload(4, 4, 100, prefix, 20) for prefix in (0, 90))
    assert mean_kv_tokens(apart, 16) == 4 * 100 + 16 * 10
    assert mean_kv_tokens(shared, 16) == 90 + 4 * 10 + 16 * 10


def test_rows_are_bounded_by_the_engines_batch() -> None:
    assert rows_of(Workload(2, 4, 10, 0, 5)) == 8
    assert rows_of(Workload(1000, 16, 10, 0, 5)) == MAX_ROWS


def test_the_complete_workload_takes_prefill_and_steps() -> None:
    workload = Workload(4, 16, 100, 90, 20)
    bound = roofline(read_bytes_per_second=1e9)
    prefill_seconds = (90 + 4 * 10) / 1000
    decode_seconds = 20 * (64 / 1000 + 64 / 4000)
    expected = 64 * 20 / (prefill_seconds + decode_seconds)
    assert bound.completion_tokens_per_second(workload) == pytest.approx(expected)
    assert bound.share(workload, expected / 2, decode_only=False) == pytest.approx(0.5)
    assert bound.share(workload, 400, decode_only=True) == pytest.approx(0.5)


@pytest.mark.parametrize("precision", ["int8", "bf16", "float32"])
def test_products_are_measured_at_every_number_of_rows(precision: str) -> None:
    products = rooflines.measure_products(CONFIG, precision, (1, 8))
    assert list(products) == [1, 8]
    assert all(0 < seconds < 60 for pair in products.values() for seconds in pair)
    assert Machine.from_products(1.0, products).linear_rows_per_second > 0


def test_the_read_bandwidth_is_measured() -> None:
    assert rooflines.read_bandwidth(1 << 20) > 1e6


def test_the_best_of_the_methods_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"_operator_seconds": (2.0, 1.0), "_engine_seconds": (1.0, 3.0)}
    for name, seconds in known.items():
        monkeypatch.setattr(rooflines, name, lambda *_, seconds=seconds: [(8, seconds)])
    assert rooflines.measure_products(CONFIG, "int8", (8,)) == {8: (1.0, 1.0)}


class SlowProduct:
    """A slow product that records the number of rows of each call."""

    input_dtype = torch.uint8
    rows: ClassVar[list[int]] = []

    def __init__(self, outputs: int, inputs: int) -> None:
        self.outputs = outputs

    def __call__(self, x_NI: torch.Tensor) -> torch.Tensor:
        self.rows.append(len(x_NI))
        time.sleep(0.002)
        return torch.zeros(len(x_NI), self.outputs)


def test_an_operator_slower_than_float32_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rooflines, "_product_makers", lambda precision: [SlowProduct])
    monkeypatch.setattr(rooflines, "_WORTH_SKIPPING_SECONDS", 0.0)
    found = dict(rooflines._operator_seconds(CONFIG, "int8", (1, 8)))
    assert list(found) == [1]
    assert set(SlowProduct.rows) == {1}
