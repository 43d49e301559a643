"""The roofline: an upper bound on the speed of a decoder on this machine.

A step reads all weights, and the keys and values of all tokens that the running sequences attend
to. It also multiplies each row by all weights. The slower of the two, at the best rates of the
machine, is a lower bound on the time of the step (Williams, Waterman & Patterson 2009, doi
10.1145/1498765.1498785).

Not counted are the arithmetic of attention, norms and sampling, and the bytes of activations and
quantization scales. Keys of a shared prefix count once. The result is therefore an upper bound.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import pairwise
from statistics import median
from typing import Any, Protocol, cast

import torch
from torch import Tensor
from torch.nn import functional

from archon.bench.workload import Workload
from archon.engine.engine import Engine, EngineOptions
from archon.engine.loading import load_decoder
from archon.engine.model.config import DecoderConfig
from archon.engine.model.linear import layer_precision
from archon.engine.model.precision import Precision
from archon.engine.model.weights import RandomWeights
from archon.engine.sampling.request import GenerationRequest
from archon.engine.sampling.sampler import SamplingRule
from archon.weights import cache_dir

WEIGHT_BYTES: Mapping[str, float] = {
    "float32": 4, "bf16": 2, "int8": 1, "int4": 0.5, "native": 34 / 32
}  # fmt: skip
"""Precision of a linear layer → bytes per weight. Random weights have no blocks: native rounds them
to Q8_0."""
LAYER_NAMES = ("qkv", "output", "gate_up", "down")
"""Names of the linear layers of a block in ``archon.engine.model.linear.layer_precision``."""
MAX_ROWS = EngineOptions().max_sequences
"""Maximum number of rows of a measured product."""


@dataclass(frozen=True, slots=True)
class Machine:
    """Best rates of this machine for one model in one precision."""

    read_bytes_per_second: float
    linear_rows_per_second: float
    """Rows per second through the linear layers of all blocks, at the best number of rows."""
    head_rows_per_second: float
    """Rows per second through the output head, at the best number of rows."""

    @classmethod
    def from_products(
        cls, read_bytes_per_second: float, products: Mapping[int, tuple[float, float]]
    ) -> Machine:
        """Compute the rates from {rows: (seconds of all linear layers, seconds of the head)}.

        >>> Machine.from_products(48e9, {1: (0.01, 0.002), 64: (0.032, 0.016)})
        Machine(read_bytes_per_second=48000000000.0, linear_rows_per_second=2000.0, \
head_rows_per_second=4000.0)
        """
        return cls(
            read_bytes_per_second,
            max(rows / linears for rows, (linears, _) in products.items()),
            max(rows / head for rows, (_, head) in products.items()),
        )


@dataclass(frozen=True, slots=True)
class Roofline:
    """Bounds on the speed of a model in one precision on this machine."""

    config: DecoderConfig
    precision: str
    machine: Machine

    @property
    def weight_bytes(self) -> float:
        """Bytes of the weights of all linear layers and the head."""
        shapes = zip(LAYER_NAMES, linear_shapes(self.config), strict=True)
        layer = sum(o * i * self._bytes_per_weight(name) for name, (o, i) in shapes)
        head = self.config.vocab_size * self.config.width * self._bytes_per_weight("head")
        return self.config.num_layers * layer + head

    def _bytes_per_weight(self, name: str) -> float:
        return WEIGHT_BYTES[layer_precision(name, cast(Precision, self.precision))]

    @property
    def kv_bytes_per_token(self) -> int:
        """Number of bytes in one token's keys and values, over all layers."""
        c = self.config
        bytes_per_value = 4 if self.precision == "float32" else 2
        return 2 * c.num_layers * c.num_kv_heads * c.head_width * bytes_per_value

    def step_seconds(self, rows: int, kv_tokens: float) -> float:
        """Return the lower bound on the time of a step.

        Parameters
        ----------
        rows
            Number of running sequences.
        kv_tokens
            Number of distinct tokens that the sequences attend to.
        """
        read = self.weight_bytes + kv_tokens * self.kv_bytes_per_token
        machine = self.machine
        arithmetic = rows / machine.linear_rows_per_second + rows / machine.head_rows_per_second
        return max(read / machine.read_bytes_per_second, arithmetic)

    def decode_tokens_per_second(self, workload: Workload) -> float:
        """Return the upper bound for decoding with all sequences of the workload (``rows_of``)."""
        rows = rows_of(workload)
        return rows / self.step_seconds(rows, mean_kv_tokens(workload, rows))

    def completion_tokens_per_second(self, workload: Workload) -> float:
        """Return the upper bound over the complete workload, including prefill.

        The shared prefix is computed once, and so is the remainder of each prompt."""
        w = workload
        num_completion = w.num_prompts * w.samples_per_prompt * w.new_tokens
        num_prefill = w.shared_prefix_tokens + w.num_prompts * (
            w.prompt_tokens - w.shared_prefix_tokens
        )
        prefill_seconds = num_prefill / self.machine.linear_rows_per_second
        decode_seconds = num_completion / self.decode_tokens_per_second(w)
        return num_completion / (prefill_seconds + decode_seconds)

    def share(self, workload: Workload, tokens_per_second: float, *, decode_only: bool) -> float:
        """Return a measured rate, in tokens per second, as a share of its upper bound."""
        bound = self.decode_tokens_per_second if decode_only else self.completion_tokens_per_second
        return tokens_per_second / bound(workload)

    def figures(self, workload: Workload) -> dict[str, Any]:
        """Return the rates of the machine and the bounds as plain data."""
        return {
            "precision": self.precision,
            **asdict(self.machine),
            "weight_bytes": self.weight_bytes,
            "kv_bytes_per_token": self.kv_bytes_per_token,
            "rows": rows_of(workload),
            "decode_tokens_per_second": self.decode_tokens_per_second(workload),
            "completion_tokens_per_second": self.completion_tokens_per_second(workload),
        }


def linear_shapes(config: DecoderConfig) -> list[tuple[int, int]]:
    """Return (outputs, inputs) of each linear layer of a block, in the order of ``LAYER_NAMES``."""
    c = config
    heads = c.num_heads * c.head_width
    return [
        (heads + 2 * c.num_kv_heads * c.head_width, c.width),
        (c.width, heads),
        (2 * c.ffn_width, c.width),
        (c.width, c.ffn_width),
    ]


def rows_of(workload: Workload) -> int:
    """Return the number of sequences of a workload that decode at the same time."""
    return min(MAX_ROWS, workload.num_prompts * workload.samples_per_prompt)


def mean_kv_tokens(workload: Workload, rows: int) -> float:
    """Return the number of distinct tokens that ``rows`` sequences attend to halfway through."""
    w = workload
    num_prompts = -(-rows // w.samples_per_prompt)
    unshared_tokens = w.prompt_tokens - w.shared_prefix_tokens
    return w.shared_prefix_tokens + num_prompts * unshared_tokens + rows * w.new_tokens / 2


# Measurement of the memory bandwidth, and of products with the shapes of a model

ROWS = (1, 16, 64, 128, 256)
READ_BYTES = 1 << 30
"""Bytes of the array for the read bandwidth, much larger than any CPU cache."""
_REPEATS = 5
_MAX_SLOWDOWN = 4
"""An operator is dropped after the first row count if it is this factor slower than float32."""
_WORTH_SKIPPING_SECONDS = 0.05
"""An operator is never dropped if the head takes less than these seconds."""

Seconds = tuple[float, float]
"""(seconds of the linear layers of all blocks, seconds of the head)."""


class Product(Protocol):
    """A matrix product with a fixed weight, (N, I) → (N, O)."""

    input_dtype: torch.dtype

    def __call__(self, x_NI: Tensor) -> Tensor: ...


MakeProduct = Callable[[int, int], Product]
"""Function that makes a product with a weight of shape (outputs, inputs)."""


def measure_roofline(config: DecoderConfig, precision: str, threads: int) -> Roofline:
    """Measure the roofline of a model on this machine.

    This takes several seconds, and memory for ``READ_BYTES`` and for weights of the model's size.
    """
    previous_threads = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        products = measure_products(config, precision)
        return Roofline(config, precision, Machine.from_products(read_bandwidth(), products))
    finally:
        torch.set_num_threads(previous_threads)


def read_bandwidth(num_bytes: int = READ_BYTES) -> float:
    """Return the bytes per second that all threads read in the fastest of three reductions."""
    numbers = torch.ones(num_bytes // 4)
    reads = (numbers.sum, numbers.max, lambda: torch.dot(numbers, numbers))
    return num_bytes / min(best_seconds(read, _REPEATS) for read in reads)


def measure_products(
    config: DecoderConfig, precision: str, row_counts: Sequence[int] = ROWS
) -> dict[int, Seconds]:
    """Return rows → seconds of the fastest available implementation of the products."""
    best = dict.fromkeys(row_counts, (math.inf, math.inf))
    for measure in (_operator_seconds, _engine_seconds):
        for rows, (linears, head) in measure(config, precision, row_counts):
            best[rows] = min(linears, best[rows][0]), min(head, best[rows][1])
    return best


def _engine_seconds(
    config: DecoderConfig, precision: str, row_counts: Sequence[int]
) -> Iterator[tuple[int, Seconds]]:
    """Yield (rows, seconds) of the engine's compiled kernels; nothing without kernels."""
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
        clocks: list[Mapping[str, float]] = []
        while engine.has_work:
            engine.step()
            clocks.append(decoder.seconds)  # type: ignore[attr-defined]
        # The first step computes the prompt, and the second warms up with all rows. The median is
        # of the others, because on busy cores the time of a phase may count as its neighbour's.
        steps = list(pairwise(clocks))[1:]
        linears, head = (median(b[k] - a[k] for a, b in steps) for k in ("products", "head"))
        yield rows, (linears, head)


class _EqualWeights(RandomWeights):
    """Source of constant weights, which are quick to create; the speed is the same with them."""

    def _normal(self, place: int, *shape: int) -> Tensor:
        return torch.full(shape, 0.01)


def _operator_seconds(
    config: DecoderConfig, precision: str, row_counts: Sequence[int]
) -> Iterator[tuple[int, Seconds]]:
    """Yield (rows, seconds) of the operators of torch.

    On a CPU without VNNI, oneDNN's int8 product is hundreds of times slower than a float32 product.
    Measuring it for all row counts would take more than ten minutes, so such an operator is dropped
    after the first one.
    """
    shapes = linear_shapes(config) * config.num_layers
    float_head = [_Float(config.vocab_size, config.width, torch.float32)]
    for make in _product_makers(precision):
        head = [make(config.vocab_size, config.width)]
        layers = [make(*shape) for shape in shapes]
        for rows in row_counts:
            head_seconds = _seconds(head, [config.width], rows)
            yield rows, (_seconds(layers, [inputs for _, inputs in shapes], rows), head_seconds)
            float_seconds = _seconds(float_head, [config.width], rows)
            if head_seconds > max(_MAX_SLOWDOWN * float_seconds, _WORTH_SKIPPING_SECONDS):
                break


def _product_makers(precision: str) -> list[MakeProduct]:
    """Return a maker of products for each operator of torch that supports a precision."""
    if precision in ("int8", "int4"):
        return [partial(_OneDNN, out=dtype) for dtype in (torch.float32, torch.bfloat16)]
    dtype = torch.float32 if precision == "float32" else torch.bfloat16
    return [partial(_Float, dtype=dtype)]


class _OneDNN:
    """oneDNN's u8 × s8 product with a packed weight (``archon.engine.model.linear``)."""

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
    """A matrix product in float32 or bfloat16."""

    def __init__(self, outputs: int, inputs: int, dtype: torch.dtype) -> None:
        self.input_dtype = dtype
        self.weight_OI = torch.full((outputs, inputs), 0.5, dtype=dtype)

    def __call__(self, x_NI: Tensor) -> Tensor:
        return functional.linear(x_NI, self.weight_OI)


def _seconds(products: Sequence[Product], inputs: list[int], rows: int) -> float:
    dtype = products[0].input_dtype
    rows_by_size = {size: torch.full((rows, size), 130, dtype=dtype) for size in set(inputs)}

    def run() -> None:
        for product, size in zip(products, inputs, strict=True):
            product(rows_by_size[size])

    with torch.inference_mode():
        return best_seconds(run, _REPEATS)


def best_seconds(work: Callable[[], object], repeats: int) -> float:
    """Run a function several times after a warm-up; return the shortest time in seconds."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)
