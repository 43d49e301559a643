"""Parameters of a model with an adapter merged into them.

Most adapters are not merged, so that they share the weights and the batches of their model
(``archon.engine.model.lora``). Those that do more than add low-rank products are merged when the
model is loaded:

- DoRA (Liu et al. 2024, arXiv 2402.09353) replaces W by m · (W + scale · B·A) / ‖W + scale · B·A‖,
  where the norm is that of a row, and m has one number per row;
- trained norms, heads, embeddings and biases replace those of the model;
- a low-rank change of the embedding.

In the precision ``native``, the weights that an adapter changes have no blocks any more, and are
rounded like those of other formats (``kernels/block_packing``). All others keep their blocks.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from archon.engine.model.config import DecoderConfig
from archon.engine.model.families.traits import EMBEDDING, HEAD, OUTPUT_NORM, layer_prefix
from archon.engine.model.lora import LINEAR_NAMES, Adapter, check_adapter, split_fused
from archon.engine.model.weights import (
    LayerWeights,
    StoredBlocks,
    WeightSource,
    expert_tensors,
    layer_shapes,
    layer_tensors,
    split_fused_tensor,
    stored_blocks,
    stored_format,
)
from archon.errors import ModelFileError


class MergedWeights:
    """A source of a model's parameters, changed by an adapter.

    Raises
    ------
    ModelFileError
        The adapter is for another model.
    """

    def __init__(self, source: WeightSource, adapter: Adapter) -> None:
        check_adapter(adapter, source.config)
        self.source, self.config = source, _with_biases(source.config, adapter)
        self._magnitudes, self._adapter = adapter.magnitudes, split_fused(adapter, self.config)
        self._check(adapter.replaced.keys() | adapter.added.keys())

    @property
    def is_tied(self) -> bool:
        changed = (*self._adapter.pairs, *self._adapter.replaced)
        outer = {EMBEDDING.hf, HEAD.hf, _module(EMBEDDING.hf), _module(HEAD.hf)}
        return self.source.is_tied and outer.isdisjoint(changed)

    def embedding(self) -> Tensor:
        """Return the token embedding: (V, E)."""
        return self._outer_weight(EMBEDDING.hf, self.source.embedding())

    def head(self) -> Tensor:
        """Return the weight of the head: (V, E)."""
        return self._outer_weight(HEAD.hf, self.source.head())

    def changes(self, field: str, index: int | None) -> bool:
        """Return True if the adapter changes a weight (``stored_format`` has the parameters)."""
        if index is None:
            name = EMBEDDING.hf if field == "embedding" else HEAD.hf
            return name in self._adapter.replaced or _module(name) in self._adapter.pairs
        name = layer_prefix(index) + layer_tensors(self.config, index)[field].hf
        is_adapted = field in LINEAR_NAMES and self._adapter.pair(index, field) is not None
        return is_adapted or name in self._adapter.replaced

    def format_name(self, field: str, index: int | None) -> str | None:
        """Return the number format of a weight that the adapter keeps (``stored_format``)."""
        return None if self.changes(field, index) else stored_format(self.source, field, index)

    def blocks(self, field: str, index: int | None, expert: int | None = None) -> StoredBlocks:
        """Return a weight that the adapter keeps, as it is stored (``stored_blocks``)."""
        found = stored_blocks(self.source, field, index, expert)
        assert found is not None
        return found

    def output_norm(self) -> Tensor:
        """Return the weight of the norm after the last layer: (E,)."""
        norm_E = self.source.output_norm()
        return self._replaced(OUTPUT_NORM.hf, norm_E, self.config.traits.norm_offset)

    def layer(self, index: int) -> LayerWeights:
        """Return the parameters of a layer."""
        weights, names = self.source.layer(index), layer_tensors(self.config, index)
        changed: dict[str, Any] = {}
        of_experts = expert_tensors(self.config, index)  # adapters do not change them
        for field, shape in layer_shapes(self.config, index).items():
            if field in of_experts:
                continue
            tensor = getattr(weights, field)
            if tensor is None:  # a bias that only the adapter has
                tensor = torch.zeros(shape)
            changed[field] = self._layer_tensor(index, field, names[field].hf, tensor)
        return replace(weights, **changed)

    def _layer_tensor(self, index: int, field: str, name: str, tensor: Tensor) -> Tensor:
        stored = layer_prefix(index) + name
        if stored in self._adapter.replaced:
            fused = self._adapter.replaced[stored]
            tensor = split_fused_tensor(self.config, index, field, fused)
            tensor = tensor + self.config.traits.norm_offset if "norm" in field else tensor
        if stored in self._adapter.added:
            tensor = tensor + self._adapter.added[stored]
        if field not in LINEAR_NAMES or (pair := self._adapter.pair(index, field)) is None:
            return tensor
        magnitude = self._magnitudes.get(_module(stored))
        if magnitude is not None:
            magnitude = split_fused_tensor(self.config, index, field, magnitude)
        return self._merged(tensor, pair, magnitude)

    def _outer_weight(self, name: str, weight_VE: Tensor) -> Tensor:
        weight_VE = self._replaced(name, weight_VE)
        pair = self._adapter.pairs.get(_module(name))
        if pair is None:
            return weight_VE
        return self._merged(weight_VE, pair, self._magnitudes.get(_module(name)))

    def _replaced(self, name: str, tensor: Tensor, offset: float = 0) -> Tensor:
        found = self._adapter.replaced.get(name)
        if found is None:
            return tensor
        if found.shape != tensor.shape:
            raise self._wrong_shape(name, found, tuple(tensor.shape))
        return found + offset

    def _merged(
        self, weight_OI: Tensor, pair: tuple[Tensor, Tensor], magnitude_O: Tensor | None
    ) -> Tensor:
        a_RI, b_OR = pair
        weight_OI = weight_OI + self._adapter.scale * (b_OR @ a_RI)
        if magnitude_O is None:
            return weight_OI
        return weight_OI * (magnitude_O / weight_OI.norm(dim=1)).unsqueeze(1)

    def _check(self, names: Iterable[str]) -> None:
        """Check that the model has the tensors that the adapter replaces, in the same shapes."""
        config, shapes = self.config, dict[str, tuple[int, ...]]()
        for index in range(config.num_layers):
            fields = layer_shapes(config, index)
            for field, tensor_name in layer_tensors(config, index).items():
                stored, (rows, *rest) = layer_prefix(index) + tensor_name.hf, fields[field]
                shapes[stored] = (shapes.get(stored, (0,))[0] + rows, *rest)
        shapes |= dict.fromkeys((EMBEDDING.hf, HEAD.hf), (config.vocab_size, config.width))
        shapes[OUTPUT_NORM.hf] = (config.width,)
        for name in sorted(names):
            if name not in shapes:
                raise ModelFileError(
                    f"{self._adapter.path}: the adapter changes tensor {name!r}, which does not "
                    "exist in this model or cannot be changed by an adapter"
                )
            for tensors in (self._adapter.replaced, self._adapter.added):
                if name in tensors and tuple(tensors[name].shape) != shapes[name]:
                    raise self._wrong_shape(name, tensors[name], shapes[name])

    def _wrong_shape(self, name: str, found: Tensor, shape: tuple[int, ...]) -> ModelFileError:
        return ModelFileError(
            f"{self._adapter.path}: the adapter's {name} has shape {tuple(found.shape)}, but this "
            f"model's has shape {shape}; the adapter was made for another model"
        )


def _module(name: str) -> str:
    return name.removesuffix(".weight")


def _with_biases(config: DecoderConfig, adapter: Adapter) -> DecoderConfig:
    """Return the configuration with all biases of the family if the adapter adds one.

    Those that neither the model nor the adapter has are 0.
    """
    present = {name.hf for name in layer_tensors(config).values()}
    changed = {*adapter.replaced, *adapter.added}
    added = [
        field
        for field, name in config.traits.biases.items()
        if name.hf not in present and any(other.endswith(f".{name.hf}") for other in changed)
    ]
    return replace(config, biases=frozenset(config.traits.biases)) if added else config
