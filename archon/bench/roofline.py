"""How fast the machine would allow a decoder to be: the roofline.

A step reads every weight, and the keys and values of every token that a running sequence looks
back on; and it multiplies every row with every weight. It can be no faster than the slower of the
two at the machine's best (Williams, Waterman & Patterson 2009, doi 10.1145/1498765.1498785).

Left out, so that the bound is a bound: the arithmetic of attention, norms, sampling, activations'
bytes, the scales of quantized weights. Keys of a prefix that sequences share are counted once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, cast

from archon.bench.engine import Workload
from archon.engine.engine import EngineOptions
from archon.engine.model.config import DecoderConfig
from archon.engine.model.linear import Precision, layer_precision

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
        rows : sequences.
        kv_tokens : different tokens that they look back on, all together.
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
