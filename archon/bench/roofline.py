"""How fast the machine would allow a decoder to be: the roofline.

A step reads every weight, and the keys and values of every token that a running sequence looks
back on; and it multiplies every row with every weight. It can be no faster than the slower of the
two at the machine's best (Williams, Waterman & Patterson 2009, doi 10.1145/1498765.1498785).

Left out, so that the bound is a bound: the arithmetic of attention, norms, sampling, activations'
bytes, the scales of quantized weights. Keys of a prefix that sequences share are counted once.
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
from archon.engine.model.linear import Precision, layer_precision
from archon.engine.model.weights import RandomWeights
from archon.engine.sampling.request import GenerationRequest
from archon.engine.sampling.sampler import SamplingRule
from archon.weights import cache_dir

WEIGHT_BYTES: Mapping[str, float] = {"float32": 4, "bf16": 2, "int8": 1, "int4": 0.5}
"""Bytes of a weight in a linear layer of each precision."""
LAYER_NAMES = ("qkv", "output", "gate_up", "down")
"""One layer's products, as ``archon.engine.model.linear.layer_precision`` names them."""
MAX_ROWS = EngineOptions().max_sequences
"""Rows of a step at most."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What was measured on a machine for one model and one precision."""

    read_bytes_per_second: float
    linear_rows_per_second: float
    """Rows through the linears of all layers, at the best number of rows."""
    head_rows_per_second: float
    """Rows through the head, at the best number of rows."""

    @classmethod
    def from_products(
        cls, read_bytes_per_second: float, products: Mapping[int, tuple[float, float]]
    ) -> Machine:
        """From the seconds that (the linears of all layers, the head) take at some rows.

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
    """The bounds of one model in one precision on one machine."""

    config: DecoderConfig
    precision: str
    machine: Machine

    @property
    def weight_bytes(self) -> float:
        """Bytes of all weights that a step multiplies with, the head's included."""
        shapes = zip(LAYER_NAMES, linear_shapes(self.config), strict=True)
        layer = sum(o * i * self._bytes_per_weight(name) for name, (o, i) in shapes)
        head = self.config.vocab_size * self.config.width * self._bytes_per_weight("head")
        return self.config.num_layers * layer + head

    def _bytes_per_weight(self, name: str) -> float:
        return WEIGHT_BYTES[layer_precision(name, cast(Precision, self.precision))]

    @property
    def kv_bytes_per_token(self) -> int:
        """Bytes of the keys and values of one token, all layers."""
        c = self.config
        number = 4 if self.precision == "float32" else 2
        return 2 * c.num_layers * c.num_kv_heads * c.head_width * number

    def step_seconds(self, rows: int, kv_tokens: float) -> float:
        """The least time of a step that draws a token for each row.

        Parameters
        ----------
        rows
            Sequences.
        kv_tokens
            Different tokens that they look back on, all together.
        """
        read = self.weight_bytes + kv_tokens * self.kv_bytes_per_token
        machine = self.machine
        arithmetic = rows / machine.linear_rows_per_second + rows / machine.head_rows_per_second
        return max(read / machine.read_bytes_per_second, arithmetic)

    def decode_tokens_per_second(self, workload: Workload) -> float:
        """The most tokens a second in steps that hold as many sequences as the workload allows."""
        rows = rows_of(workload)
        return rows / self.step_seconds(rows, mean_kv_tokens(workload, rows))

    def completion_tokens_per_second(self, workload: Workload) -> float:
        """The most completion tokens a second over the whole workload, each prompt's own tokens
        and the shared prefix computed once."""
        w = workload
        num_completion = w.num_prompts * w.samples_per_prompt * w.new_tokens
        num_prefill = w.shared_prefix_tokens + w.num_prompts * (
            w.prompt_tokens - w.shared_prefix_tokens
        )
        prefill_seconds = num_prefill / self.machine.linear_rows_per_second
        decode_seconds = num_completion / self.decode_tokens_per_second(w)
        return num_completion / (prefill_seconds + decode_seconds)

    def share(self, workload: Workload, tokens_per_second: float, *, decode_only: bool) -> float:
        """Which share of the bound so many tokens a second are."""
        bound = self.decode_tokens_per_second if decode_only else self.completion_tokens_per_second
        return tokens_per_second / bound(workload)

    def figures(self, workload: Workload) -> dict[str, Any]:
        """What it rests on and what it says, for a report."""
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
    """(outputs, inputs) of one layer's products (``LAYER_NAMES``)."""
    c = config
    heads = c.num_heads * c.head_width
    return [
        (heads + 2 * c.num_kv_heads * c.head_width, c.width),
        (c.width, heads),
        (2 * c.ffn_width, c.width),
        (c.width, c.ffn_width),
    ]


def rows_of(workload: Workload) -> int:
    """Sequences that decode at once."""
    return min(MAX_ROWS, workload.num_prompts * workload.samples_per_prompt)


def mean_kv_tokens(workload: Workload, rows: int) -> float:
    """Different tokens that ``rows`` sequences look back on, in the middle of their decoding."""
    w = workload
    num_prompts = -(-rows // w.samples_per_prompt)
    own_prompt_tokens = w.prompt_tokens - w.shared_prefix_tokens
    return w.shared_prefix_tokens + num_prompts * own_prompt_tokens + rows * w.new_tokens / 2


# Measuring what the roofline rests on: reading memory, and the products of a model's shapes.

ROWS = (1, 16, 64, 128, 256)
READ_BYTES = 1 << 30
"""Bytes of the array that is read: far more than any cache."""
_REPEATS = 5
_HOPELESS = 4
"""An operator that takes so many times as long as float32 is measured no further."""
_WORTH_SKIPPING_SECONDS = 0.05
"""Below this, the head takes little time even in the slowest operator."""

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
    """Seconds of torch's operators.

    Without VNNI, oneDNN's int8 product is hundreds of times slower than a float32 product, and
    measuring all row counts takes longer than ten minutes. Such an operator bounds nothing: after
    the first row count it is left out.
    """
    shapes = linear_shapes(config) * config.num_layers
    float_head = [_Float(config.vocab_size, config.width, torch.float32)]
    for make in _product_makers(precision):
        head = [make(config.vocab_size, config.width)]
        layers = [make(*shape) for shape in shapes]
        for rows in row_counts:
            head_seconds = _seconds(head, [config.width], rows)
            yield rows, (_seconds(layers, [inputs for _, inputs in shapes], rows), head_seconds)
            as_float = _seconds(float_head, [config.width], rows)
            if head_seconds > max(_HOPELESS * as_float, _WORTH_SKIPPING_SECONDS):
                break


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
