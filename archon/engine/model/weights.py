"""Parameters of a decoder by name, in float32, from any source.

Layers are read one at a time, so that loading never needs memory for the whole model in float32.
The rows of query and key projections are in the order of the "halves" convention
(``archon.engine.model.rope``), as in Hugging Face's models. GGUF files of some families store them
interleaved; this module restores the order.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import torch
from torch import Tensor

from archon.engine.files.dequantize import BlockFormat, dequantize
from archon.engine.files.folder import CONFIG, ModelFolder
from archon.engine.files.gguf import GGUFFile
from archon.engine.model.config import ROPE_FACTORS, DecoderConfig, ModelFile, config_of
from archon.engine.model.families.traits import (
    BIASES,
    EMBEDDING,
    HEAD,
    OUTPUT_NORM,
    TensorName,
    layer_prefix,
)
from archon.errors import ModelFileError

_BIASES = tuple(name.hf for name in BIASES.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerWeights:
    """Parameters of one layer. Linear layers are (O, I); None if the family has no such tensor."""

    q: Tensor
    k: Tensor
    v: Tensor
    attention_output: Tensor
    gate: Tensor
    up: Tensor
    down: Tensor
    q_bias: Tensor | None = None
    k_bias: Tensor | None = None
    v_bias: Tensor | None = None
    q_norm: Tensor | None = None
    k_norm: Tensor | None = None
    """(D,), or the width of the whole projection (``FamilyTraits.qk_norm``)."""
    attention_norm_E: Tensor | None = None
    attention_post_norm_E: Tensor | None = None
    ffn_norm_E: Tensor | None = None
    ffn_post_norm_E: Tensor | None = None
    """Norms of the input or the output of attention and feed-forward network."""


def layer_shapes(config: DecoderConfig) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a layer's tensors by the fields of ``LayerWeights``."""
    c = config
    q_width, kv_width = c.num_heads * c.head_width, c.num_kv_heads * c.head_width
    per_head = c.traits.qk_norm == "head"
    shapes = {
        "q": (q_width, c.width),
        "k": (kv_width, c.width),
        "v": (kv_width, c.width),
        "attention_output": (c.width, q_width),
        "gate": (c.ffn_width, c.width),
        "up": (c.ffn_width, c.width),
        "down": (c.width, c.ffn_width),
        "q_bias": (q_width,),
        "k_bias": (kv_width,),
        "v_bias": (kv_width,),
        "q_norm": (c.head_width if per_head else q_width,),
        "k_norm": (c.head_width if per_head else kv_width,),
    }
    return {field: shapes.get(field, (c.width,)) for field in c.traits.layer_tensors}


class WeightSource(Protocol):
    """A source of a decoder's parameters."""

    config: DecoderConfig

    @property
    def is_tied(self) -> bool:
        """True if embedding and head are known to be the same tensor."""
        ...

    def embedding(self) -> Tensor:
        """Return the token embedding: (V, E)."""
        ...

    def head(self) -> Tensor:
        """Return the weight of the head, (V, E): the embedding if the two are tied."""
        ...

    def output_norm(self) -> Tensor:
        """Return the weight of the norm after the last layer: (E,)."""
        ...

    def layer(self, index: int) -> LayerWeights:
        """Return the parameters of a layer."""
        ...


Store = TypeVar("Store", GGUFFile, ModelFolder)


class _StoredWeights(Generic[Store]):
    """Parameters in a file or folder."""

    _has_biases: bool
    """True if queries, keys and values have biases."""

    def __init__(self, file: Store, config: DecoderConfig) -> None:
        self.file: Store = file
        self.config = config
        self._tensors, self._shapes = config.traits.layer_tensors, layer_shapes(config)
        known = {self._name(name) for name in (EMBEDDING, OUTPUT_NORM, HEAD)}
        known |= {self._name(name, 0) for name in self._tensors.values()}
        unknown = next((n for n in file.tensors if not self._is_known(n, known)), None)
        if unknown is not None:
            raise ModelFileError(f"{file.path}: tensor {unknown!r} is not supported")

    def embedding(self) -> Tensor:
        return self._get(self._name(EMBEDDING), self.config.vocab_size, self.config.width)

    @property
    def is_tied(self) -> bool:
        # The tensors decide, not the configuration.
        return self._name(HEAD) not in self.file.tensors

    def head(self) -> Tensor:
        name = self._name(EMBEDDING if self.is_tied else HEAD)
        return self._get(name, self.config.vocab_size, self.config.width)

    def output_norm(self) -> Tensor:
        return self._get(self._name(OUTPUT_NORM), self.config.width)

    def layer(self, index: int) -> LayerWeights:
        fields = {
            field: self._layer_tensor(field, index)
            for field in self._tensors
            # A file has all biases or none.
            if self._has_biases or field not in BIASES
        }
        return LayerWeights(**fields)

    def _name(self, name: TensorName, layer: int | None = None) -> str:
        """Return the name of a tensor in this file."""
        raise NotImplementedError

    def _layer_tensor(self, field: str, index: int) -> Tensor:
        return self._get(self._name(self._tensors[field], index), *self._shapes[field])

    def _is_known(self, name: str, known: set[str]) -> bool:
        """Return True if the decoder uses a tensor.

        ``known`` has the names of the tensors outside the layers and in the first layer.
        """
        layer = re.search(r"\.(\d+)\.", name)
        if layer is None or len(layer[1]) > 9 or int(layer[1]) >= self.config.num_layers:
            return layer is None and name in known
        return name.replace(layer[0], ".0.", 1) in known

    def _get(self, name: str, *shape: int) -> Tensor:
        info = self.file.tensors.get(name)
        if info is not None and info.shape != shape:
            raise ModelFileError(
                f"{self.file.path}: tensor {name!r} has shape {info.shape}, expected {shape}"
            )
        return self.file.tensor(name)


_BIAS = re.compile(r"\.attn_[qkv]\.bias$")


@dataclass(frozen=True, slots=True)
class StoredBlocks:
    """A weight in the number format of its file."""

    format: BlockFormat
    rows: Tensor
    """uint8, (O, bytes of a row), in the order of the float32 weight."""

    def dequantize(self) -> Tensor:
        """Return the weight in float32: (O, I)."""
        return dequantize(self.rows.flatten(), self.format).view(len(self.rows), -1)


class GGUFWeights(_StoredWeights[GGUFFile]):
    """Parameters in a GGUF file.

    Raises
    ------
    ModelFileError
        A tensor is missing, has the wrong shape, or would not be used.
    """

    def __init__(self, file: GGUFFile, config: DecoderConfig) -> None:
        self._has_biases = any(_BIAS.search(name) for name in file.tensors)
        super().__init__(file, config)

    def _is_known(self, name: str, known: set[str]) -> bool:
        # ``config_of`` rejects files in which these factors are not 1.
        return name == ROPE_FACTORS or super()._is_known(name, known)

    def _name(self, name: TensorName, layer: int | None = None) -> str:
        return name.gguf if layer is None else f"blk.{layer}.{name.gguf}"

    def _layer_tensor(self, field: str, index: int) -> Tensor:
        return self._rope_order(field, super()._layer_tensor(field, index))

    def stored_name(self, field: str, index: int | None) -> str:
        """Return the name of a weight's tensor (``stored_blocks``)."""
        if index is not None:
            return self._name(self._tensors[field], index)
        return self._name(EMBEDDING if field == "embedding" or self.is_tied else HEAD)

    def blocks(self, field: str, index: int | None) -> StoredBlocks:
        """Return a weight as it is stored (``stored_blocks``)."""
        name = self.stored_name(field, index)
        rows = self._rope_order(field, self.file.blocks(name))
        return StoredBlocks(self.file.tensors[name].format, rows)

    def _rope_order(self, field: str, rows: Tensor) -> Tensor:
        if self.config.traits.gguf_interleaves_rope and field in ("q", "k", "q_bias", "k_bias"):
            return rope_halves_order(rows, self.config.head_width)
        return rows


class FolderWeights(_StoredWeights[ModelFolder]):
    """Parameters in a model folder.

    Raises
    ------
    ModelFileError
        A tensor is missing, has the wrong shape, or would not be used.
    """

    def __init__(self, folder: ModelFolder, config: DecoderConfig) -> None:
        super().__init__(folder, config)
        tied = folder.config.get("tie_word_embeddings")
        if not tied and HEAD.hf not in folder.tensors:
            raise ModelFileError(
                f"{folder.path}: has no tensor {HEAD.hf!r}, and {CONFIG} does not tie the head to "
                f"the embedding: tie_word_embeddings is {tied!r}"
            )
        bias_key = config.traits.always_biased or folder.config.get("attention_bias")
        self._has_biases = bool(bias_key)
        unused = min((name for name in folder.tensors if name.endswith(_BIASES)), default=None)
        if unused is not None and not self._has_biases:
            raise ModelFileError(
                f"{folder.path}: has a tensor {unused!r}, but attention_bias in {CONFIG} is "
                f"{bias_key!r}, so transformers ignores the tensor. If the model was trained with "
                f"biases, set attention_bias to true in {CONFIG}"
            )

    def embedding(self) -> Tensor:
        # A tied model may have the shared tensor under the name of the head.
        tied = self.file.config.get("tie_word_embeddings") is True
        if tied and EMBEDDING.hf not in self.file.tensors and HEAD.hf in self.file.tensors:
            return self.head()
        return super().embedding()

    def _name(self, name: TensorName, layer: int | None = None) -> str:
        return name.hf if layer is None else layer_prefix(layer) + name.hf

    def _is_known(self, name: str, known: set[str]) -> bool:
        # Old files have the rotary frequencies, which follow from the configuration.
        return super()._is_known(name, known) or name.endswith(".rotary_emb.inv_freq")


def weights_of(file: ModelFile) -> WeightSource:
    """Return the parameters in an open file or folder.

    Raises
    ------
    ModelFileError
        The model has a feature that is not supported.
    """
    config = config_of(file)
    if isinstance(file, GGUFFile):
        return GGUFWeights(file, config)
    return FolderWeights(file, config)


def stored_format(source: WeightSource, field: str, index: int | None) -> str | None:
    """Return the name of the number format in which a weight is stored; None if unknown.

    Parameters
    ----------
    field
        Field of ``LayerWeights``; or ``embedding`` or ``head``.
    index
        Layer; None for the embedding and the head.
    """
    if not isinstance(source, GGUFWeights):
        return None
    info = source.file.tensors.get(source.stored_name(field, index))
    return None if info is None else info.format.name


def stored_blocks(source: WeightSource, field: str, index: int | None) -> StoredBlocks | None:
    """Return a weight in the number format of its file; None if that is unknown.

    The parameters are those of ``stored_format``.
    """
    if not isinstance(source, GGUFWeights) or stored_format(source, field, index) is None:
        return None
    return source.blocks(field, index)


def rope_halves_order(weight: Tensor, head_width: int) -> Tensor:
    """Reorder the rows (a0, b0, a1, b1, …) of each head to (a0, a1, …, b0, b1, …)."""
    pairs = weight.unflatten(0, (-1, head_width // 2, 2))
    return pairs.transpose(1, 2).flatten(0, 2)


_SEED_ORDER = (
    "attention_norm_E", "q", "k", "v", "q_bias", "k_bias", "v_bias", "attention_output",
    "ffn_norm_E", "gate", "up", "down", "q_norm", "k_norm", "attention_post_norm_E",
    "ffn_post_norm_E",
)  # fmt: skip
"""Fields in the order of their seeds."""


class RandomWeights:
    """Reproducible random parameters, for tests and for timings without a file."""

    is_tied = False

    def __init__(self, config: DecoderConfig, seed: int = 0) -> None:
        self.config, self.seed = config, seed

    def _normal(self, number: int, *shape: int) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + number)
        return torch.randn(shape, generator=generator) * 0.3 / shape[-1] ** 0.5

    def embedding(self) -> Tensor:
        return self._normal(1, self.config.vocab_size, self.config.width) * 10

    def head(self) -> Tensor:
        return self._normal(2, self.config.vocab_size, self.config.width) * 10

    def output_norm(self) -> Tensor:
        return 1 + self._normal(3, self.config.width)

    def layer(self, index: int) -> LayerWeights:
        at, fields = 100 * (index + 1), {}
        for field, shape in layer_shapes(self.config).items():
            if field in BIASES and not self.config.traits.always_biased:
                continue
            tensor = self._normal(at + _SEED_ORDER.index(field), *shape)
            fields[field] = (
                1 + tensor if "norm" in field else 5 * tensor if tensor.dim() == 2 else tensor
            )
        return LayerWeights(**fields)


def layer_parameters(source: WeightSource) -> Iterator[tuple[str, Tensor]]:
    """Yield the parameters of all layers by Hugging Face's names, one layer in memory at a time."""
    tensors = source.config.traits.layer_tensors
    for index in range(source.config.num_layers):
        weights = source.layer(index)
        for field, name in tensors.items():
            parameter = getattr(weights, field)
            if parameter is not None:
                yield layer_prefix(index) + name.hf, parameter
