"""Measuring what the roofline rests on: reading memory, and the products of a model's shapes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from statistics import median
from typing import Protocol, cast

import torch
from torch import Tensor
from torch.nn import functional

from archon.bench.roofline import Machine, Roofline, linear_shapes
from archon.engine.engine import Engine, EngineOptions
from archon.engine.loading import load_decoder
from archon.engine.model.config import DecoderConfig
from archon.engine.model.linear import Precision
from archon.engine.model.weights import RandomWeights
from archon.engine.sampling.request import GenerationRequest
from archon.engine.sampling.sampler import SamplingRule
from archon.weights import cache_dir

ROWS = (1, 16, 64, 128, 256)
READ_BYTES = 1 << 30
"""Bytes of the array that is read: far more than any cache."""
_REPEATS = 5

Seconds = tuple[float, float]
"""Of the linears of all layers, and of the head."""


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
    config: DecoderConfig, precision: str, row_counts: Sequence[int] = ROWS
) -> dict[int, Seconds]:
    """Rows → seconds of (the linears of all layers, the head), each the best of what is known."""
    best = dict.fromkeys(row_counts, (math.inf, math.inf))
    for measure in (_operator_seconds, _engine_seconds):
        for rows, (linears, head) in measure(config, precision, row_counts):
            best[rows] = min(linears, best[rows][0]), min(head, best[rows][1])
    return best


def _engine_seconds(
    config: DecoderConfig, precision: str, row_counts: Sequence[int]
) -> Iterator[tuple[int, Seconds]]:
    """What the engine's own kernels take, where they tell."""
    source = _EqualWeights(config)
    decoder = load_decoder(
        source, cast(Precision, precision), torch.device("cpu"), keep_in=cache_dir()
    )
    clock: Mapping[str, float] | None = getattr(decoder, "seconds", None)
    if clock is None or not {"products", "head"} <= clock.keys():
        return
    engine = Engine(decoder, options=EngineOptions(max_sequences=max(row_counts)))
    for rows in row_counts:
        engine.add(GenerationRequest((0,), tuple(range(rows)), 0, SamplingRule(), _REPEATS + 2))
        taken: list[Mapping[str, float]] = []
        while engine.has_work:
            engine.step()
            taken.append(decoder.seconds)  # type: ignore[attr-defined]
        # The first step computes the prompt, the second is the first with all rows: a warm-up.
        # Of the others the median: on busy cores a phase's time may count as its neighbour's.
        steps = list(pairwise(taken))[1:]
        linears, head = (median(b[k] - a[k] for a, b in steps) for k in ("products", "head"))
        yield rows, (linears, head)


class _EqualWeights(RandomWeights):
    """Parameters that are quickly made: how long a product takes does not depend on them."""

    def _normal(self, place: int, *shape: int) -> Tensor:
        return torch.full(shape, 0.01)


def _operator_seconds(
    config: DecoderConfig, precision: str, row_counts: Sequence[int]
) -> Iterator[tuple[int, Seconds]]:
    """What torch's operators take."""
    shapes = linear_shapes(config) * config.num_layers
    for make in _product_makers(precision):
        head = [make(config.vocab_size, config.width)]
        layers = [make(*shape) for shape in shapes]
        for rows in row_counts:
            linears = _seconds(layers, [inputs for _, inputs in shapes], rows)
            yield rows, (linears, _seconds(head, [config.width], rows))


def _product_makers(precision: str) -> list[MakeProduct]:
    """The operators that a precision can be computed with."""
    if precision in ("int8", "int4"):
        return [partial(_OneDNN, out=dtype) for dtype in (torch.float32, torch.bfloat16)]
    dtype = torch.float32 if precision == "float32" else torch.bfloat16
    return [partial(_Float, dtype=dtype)]


class _OneDNN:
    """oneDNN's u8 × s8 product with a weight packed once, as in ``archon.engine.model.linear``."""

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
