"""Low-rank adapters (LoRA: Hu et al. 2021, arXiv 2106.09685).

An adapter changes the weight W of a linear layer to W + scale · B·A. A has shape (rank, inputs) and
B (outputs, rank), so together they are far smaller than W.

The engine does not merge adapters into the weights. Each layer computes W·x for all tokens of a
step, and B·(A·x) only for the tokens whose request uses the adapter. Requests with different
adapters, or without one, therefore share one batch and one copy of the weights (Chen et al. 2023,
arXiv 2310.18547).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from archon.engine.model.config import DecoderConfig
from archon.engine.model.families.traits import EMBEDDING, HEAD, LINEAR_LAYERS, layer_prefix
from archon.engine.model.weights import layer_shapes
from archon.errors import ModelFileError

LINEAR_NAMES: Mapping[str, str] = {
    field: name.hf.removesuffix(".weight") for field, name in LINEAR_LAYERS.items()
}
"""Fields of ``LayerWeights`` → names of the linear layers of a layer in adapter files."""
HEAD_NAME = HEAD.hf.removesuffix(".weight")
EMBEDDING_NAME = EMBEDDING.hf.removesuffix(".weight")


@dataclass(frozen=True, slots=True)
class Adapter:
    """The parameters of an adapter."""

    rank: int
    alpha: float
    pairs: Mapping[str, tuple[Tensor, Tensor]]
    """Name of each adapted linear layer → A, (R, I), and B, (O, R). The names are those of a model
    folder, such as ``model.layers.0.self_attn.q_proj``."""
    scale: float
    """alpha / rank; with ``use_rslora``, alpha / √rank (Kalajdzievski 2023, arXiv 2312.03732)."""
    path: Path | None = None
    """Folder that it was read from, for error messages."""
    digest: str = ""
    """SHA-256 of its files, which is part of the cache keys of samples."""
    magnitudes: Mapping[str, Tensor] = field(default_factory=dict)
    """With DoRA, the norm of each row of an adapted layer, (O,), by the layer's name."""
    replaced: Mapping[str, Tensor] = field(default_factory=dict)
    """Tensors that replace those of the model, by their names in a model folder."""
    added: Mapping[str, Tensor] = field(default_factory=dict)
    """Tensors that are added to biases of the model, by their names in a model folder."""

    @property
    def must_be_merged(self) -> bool:
        """True if it does more than add low-rank products to the outputs of linear layers."""
        is_more = self.magnitudes or self.replaced or self.added
        return bool(is_more) or EMBEDDING_NAME in self.pairs

    def pair(self, index: int, field: str) -> tuple[Tensor, Tensor] | None:
        """Return A and B for a linear layer of layer ``index``, or None if it is not adapted.

        Parameters
        ----------
        field
            Field of the linear layer in ``LayerWeights``.
        """
        return self.pairs.get(layer_prefix(index) + LINEAR_NAMES[field])


def linear_shapes(config: DecoderConfig) -> dict[str, tuple[int, ...]]:
    """Return the shape (O, I) of every linear layer that an adapter can change, by its name in
    adapters. Files of some families fuse several layers into one; experts cannot be changed."""
    found: dict[str, tuple[int, ...]] = {HEAD_NAME: (config.vocab_size, config.width)}
    for index in range(config.num_layers):
        shapes = layer_shapes(config, index)
        for name, fields in _linears_of(config, index).items():
            outputs = sum(shapes[field][0] for field in fields)
            found[name] = (outputs, shapes[fields[0]][1])
    return found


def _linears_of(config: DecoderConfig, index: int) -> dict[str, list[str]]:
    """Return the linear layers of layer ``index`` by their names in files → the fields of
    ``LayerWeights`` that each of them contains."""
    found: dict[str, list[str]] = {}
    is_sparse = config.layers[index].is_sparse
    for linear, name in config.traits.linears.items():
        if not (is_sparse and linear in config.traits.experts):
            key = layer_prefix(index) + name.hf.removesuffix(".weight")
            found.setdefault(key, []).append(linear)
    return found


def split_fused(adapter: Adapter, config: DecoderConfig) -> Adapter:
    """Return the adapter with a pair for each linear layer that the model's files fuse."""
    pairs = dict(adapter.pairs)
    for index in range(config.num_layers):
        shapes = layer_shapes(config, index)
        for name, fields in _linears_of(config, index).items():
            if len(fields) > 1 and name in pairs:
                a_RI, b_OR = pairs.pop(name)
                parts = b_OR.split([shapes[field][0] for field in fields])
                for field, part in zip(fields, parts, strict=True):
                    pairs[layer_prefix(index) + LINEAR_NAMES[field]] = (a_RI, part)
    return replace(adapter, pairs=pairs)


def check_adapter(adapter: Adapter, config: DecoderConfig) -> None:
    """Check that an adapter fits a decoder of this shape.

    Raises
    ------
    ModelFileError
        The adapter changes a linear layer that the decoder does not have, or the shapes differ.
    """
    known = linear_shapes(config) | {EMBEDDING_NAME: (config.vocab_size, config.width)}
    for name, (a_RI, b_OR) in adapter.pairs.items():
        if name not in known:
            raise ModelFileError(
                f"{adapter.path}: changes the layer {name!r}, which this model does not have"
            )
        shape = (len(b_OR), a_RI.shape[1])
        if shape != known[name]:
            raise ModelFileError(
                f"{adapter.path}: the adapter's {name} has shape {shape}, but this model's has "
                f"shape {known[name]}; the adapter was made for another model"
            )
        if name in adapter.magnitudes and adapter.magnitudes[name].shape != shape[:1]:
            raise ModelFileError(f"{adapter.path}: {name} does not have one magnitude per output")


@dataclass(frozen=True, slots=True)
class LowRank:
    """An adapter's change to a product, B·(A·x); the adapter's scale is part of B."""

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
"""Name of each product that the engine computes → the linear layers that it concatenates."""


def layer_changes(adapter: Adapter, index: int, config: DecoderConfig) -> dict[str, LowRank]:
    """Return an adapter's changes to layer ``index``, by product (``qkv``, ``output``, …)."""
    shapes, found = layer_shapes(config, index), {}
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
    """Return an adapter's change to the head, or None if it does not change it."""
    if HEAD_NAME not in adapter.pairs:
        return None
    a_RI, b_OR = adapter.pairs[HEAD_NAME]
    return LowRank(a_RI, adapter.scale * b_OR)
