"""Measuring what the roofline rests on: reading memory, and the products of a model's shapes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from archon.engine.config import DecoderConfig
from archon.peers.roofline import Machine, Roofline, linear_shapes

ROWS = (1, 16, 64, 128, 256)
READ_BYTES = 1 << 30
"""Bytes of the array that is read: far more than any cache."""
_REPEATS = 5


class Product(Protocol):
    """A product with a weight of its own, (N, I) → (N, O)."""

    input_dtype: torch.dtype

    def __call__(self, x_NI: Tensor) -> Tensor: ...


MakeProduct = Callable[[int, int], Product]
"""(outputs, inputs) → a product of the kind that is measured."""


def measure_roofline(config: DecoderConfig, precision: str, threads: int) -> Roofline:
    """The roofline of a model on this machine: takes some seconds, and memory like the model's."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        products = measure_products(config, precision)
        return Roofline(config, precision, Machine.from_products(read_bandwidth(), products))
    finally:
        torch.set_num_threads(before)


def read_bandwidth(num_bytes: int = READ_BYTES) -> float:
    """Bytes a second at which all threads together read memory: the best of several sums."""
    numbers = torch.ones(num_bytes // 4)
    reads = (numbers.sum, numbers.max, lambda: torch.dot(numbers, numbers))
    return num_bytes / min(best_seconds(read, _REPEATS) for read in reads)


def measure_products(
    config: DecoderConfig, precision: str, row_counts: tuple[int, ...] = ROWS
) -> dict[int, tuple[float, float]]:
    """Rows → seconds of (the linears of all layers, the head), each the best of what is known."""
    best: dict[int, tuple[float, float]] = {}
    for make in product_makers(precision):
        head = [make(config.vocab_size, config.width)]
        layers = [make(*shape) for _ in range(config.num_layers) for shape in linear_shapes(config)]
        inputs = [inputs for _ in range(config.num_layers) for _, inputs in linear_shapes(config)]
        for rows in row_counts:
            found = _seconds(layers, inputs, rows), _seconds(head, [config.width], rows)
            known = best.get(rows, found)
            best[rows] = min(found[0], known[0]), min(found[1], known[1])
    return best


def product_makers(precision: str) -> list[MakeProduct]:
    """The kinds of product that a precision can be computed with; a faster one is a row more."""
    if precision in ("int8", "int4"):
        return [
            lambda o, i: _OneDNN(o, i, torch.float32),
            lambda o, i: _OneDNN(o, i, torch.bfloat16),
        ]
    dtype = torch.float32 if precision == "float32" else torch.bfloat16
    return [lambda o, i: _Float(o, i, dtype)]


class _OneDNN:
    """oneDNN's u8 × s8 product with a weight packed once, as in ``archon.engine.linear``."""

    input_dtype = torch.uint8

    def __init__(self, outputs: int, inputs: int, out: torch.dtype) -> None:
        weight_OI = torch.full((outputs, inputs), 3, dtype=torch.int8)
        self.packed = torch.ops.onednn.qlinear_prepack(weight_OI, None)
        self.scale_O = torch.ones(outputs)
        self.zero_points_O = torch.zeros(outputs, dtype=torch.int64)
        self.out = out

    def __call__(self, x_NI: Tensor) -> Tensor:
        y_NO: Tensor = torch.ops.onednn.qlinear_pointwise(
            x_NI, 1.0, 128, self.packed, self.scale_O, self.zero_points_O,
            None, 1.0, 0, self.out, "none", [], "",
        )  # fmt: skip
        return y_NO


class _Float:
    """A product in float32 or bfloat16."""

    def __init__(self, outputs: int, inputs: int, dtype: torch.dtype) -> None:
        self.input_dtype = dtype
        self.weight_OI = torch.full((outputs, inputs), 0.5, dtype=dtype)

    def __call__(self, x_NI: Tensor) -> Tensor:
        return functional.linear(x_NI, self.weight_OI)


def _seconds(products: Sequence[Product], inputs: list[int], rows: int) -> float:
    dtype = products[0].input_dtype
    given = {size: torch.full((rows, size), 130, dtype=dtype) for size in set(inputs)}

    def run() -> None:
        for product, size in zip(products, inputs, strict=True):
            product(given[size])

    with torch.inference_mode():
        return best_seconds(run, _REPEATS)


def best_seconds(work: Callable[[], object], repeats: int) -> float:
    """The shortest of several times; the first, which warms up, is not counted."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)
