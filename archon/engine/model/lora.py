"""Low-rank adapters (LoRA: Hu et al. 2021, arXiv 2106.09685), unmerged and merged.

A linear layer's weight W becomes W + scale · B·A, where A is (rank, inputs) and B (outputs, rank):
far fewer numbers than W has.

An engine runs adapters *unmerged*: each layer computes W·x for all tokens of a step, and B·(A·x)
only for tokens whose request names that adapter. So texts under several adapters, and under none,
share one batch and one copy of the weights (Chen et al. 2023, arXiv 2310.18547). *Merged* into one
more set of weights, an adapter gives the same result to within rounding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from archon.engine.model.config import DecoderConfig
from archon.engine.model.families.traits import HEAD, LINEAR_LAYERS, layer_prefix
from archon.engine.model.weights import layer_shapes
from archon.errors import ModelFileError

LINEAR_NAMES: Mapping[str, str] = {
    field: name.hf.removesuffix(".weight") for field, name in LINEAR_LAYERS.items()
}
"""Fields of ``LayerWeights`` → names of linear layers within a layer."""
HEAD_NAME = HEAD.hf.removesuffix(".weight")


@dataclass(frozen=True, slots=True)
class Adapter:
    """The parameters of an adapter: A, (rank, I), and B, (O, rank), of each linear layer.

    Layers are named as in a model's folder, such as ``model.layers.0.self_attn.q_proj``.
    """

    rank: int
    alpha: float
    pairs: Mapping[str, tuple[Tensor, Tensor]]
    scale: float
    """alpha / rank, or alpha / √rank where the file says ``use_rslora``."""
    path: Path | None = None
    """Where it was read from, for messages."""
    digest: str = ""
    """SHA-256 of its two files: samples depend on it."""

    def pair(self, index: int, field: str) -> tuple[Tensor, Tensor] | None:
        """A and B of a linear layer of layer ``index``, by its field in ``LayerWeights``."""
        return self.pairs.get(layer_prefix(index) + LINEAR_NAMES[field])


def linear_shapes(config: DecoderConfig) -> dict[str, tuple[int, ...]]:
    """Every linear layer of a decoder by its name in an adapter → (O, I)."""
    shapes = layer_shapes(config)
    return {HEAD_NAME: (config.vocab_size, config.width)} | {
        layer_prefix(index) + name: shapes[field]
        for index in range(config.num_layers)
        for field, name in LINEAR_NAMES.items()
    }


def check_adapter(adapter: Adapter, config: DecoderConfig) -> None:
    """Check that an adapter fits a decoder of this shape.

    Raises
    ------
    ModelFileError
        It changes a layer that is not there, or one of another shape.
    """
    known = linear_shapes(config)
    for name, (a_RI, b_OR) in adapter.pairs.items():
        if name not in known:
            raise ModelFileError(f"{adapter.path}: changes {name!r}, which this model has not")
        shape = (len(b_OR), a_RI.shape[1])
        if shape != known[name]:
            raise ModelFileError(
                f"{adapter.path}: {name} is {shape}, the model's {known[name]}; "
                "the adapter is for another model"
            )


@dataclass(frozen=True, slots=True)
class LowRank:
    """What an adapter adds to a product: B·(A·x), B times the adapter's scale."""

    a_RI: Tensor
    b_OR: Tensor

    def __call__(self, x_NI: Tensor) -> Tensor:
        return (x_NI @ self.a_RI.t()) @ self.b_OR.t()

    def to(self, device: torch.device) -> LowRank:
        return LowRank(self.a_RI.to(device), self.b_OR.to(device))


_JOINED = {
    "qkv": ("q", "k", "v"),
    "output": ("attention_output",),
    "gate_up": ("gate", "up"),
    "down": ("down",),
}
"""Products that the engine computes → the linear layers that each of them joins."""


def layer_changes(adapter: Adapter, index: int, config: DecoderConfig) -> dict[str, LowRank]:
    """What an adapter adds to the products of one layer, by their names; joined as they are."""
    shapes, found = layer_shapes(config), {}
    for product, fields in _JOINED.items():
        pairs = [adapter.pair(index, field) for field in fields]
        a = [pair[0] for pair in pairs if pair is not None]
        if a:
            blocks = [
                adapter.scale * pair[1] if pair is not None else torch.zeros(shapes[field][0], 0)
                for field, pair in zip(fields, pairs, strict=True)
            ]
            found[product] = LowRank(torch.cat(a), torch.block_diag(*blocks))
    return found


def head_change(adapter: Adapter) -> LowRank | None:
    """What an adapter adds to the head."""
    if HEAD_NAME not in adapter.pairs:
        return None
    a_RI, b_OR = adapter.pairs[HEAD_NAME]
    return LowRank(a_RI, adapter.scale * b_OR)
