"""Float32 parameters of a decoder: from a GGUF file, from a folder, or random.

Layers are read one at a time, so that loading never needs memory for the whole model in float32.
The rows of query and key projections are in the order of the "halves" convention
(``archon.engine.model.rope``), as in Hugging Face's models. GGUF files of some families store them
interleaved; this module restores the order.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor

from archon.engine.files.dequantize import BlockFormat, dequantize
from archon.engine.files.folder import CONFIG, ModelFolder
from archon.engine.files.gguf import GGUFFile
from archon.engine.model.config import DecoderConfig, ModelFile, config_of
from archon.engine.model.config_gguf import LONG_ROPE_FACTORS, ROPE_FACTORS
from archon.engine.model.families.traits import (
    EMBEDDING,
    HEAD,
    OUTPUT_NORM,
    TensorName,
    layer_prefix,
)
from archon.errors import ModelFileError

EXPERT = "{expert}"
"""Part of a tensor's name that stands for the number of an expert."""


class GatedWeights(NamedTuple):
    """Weights of one gated feed-forward network: (F, E), (F, E) and (E, F)."""

    gate: Tensor
    up: Tensor
    down: Tensor


@dataclass(frozen=True, slots=True)
class Experts:
    """The networks of a sparse layer. Each is read when it is used, since all of them together may
    take gigabytes in float32."""

    count: int
    read: Callable[[int], GatedWeights]

    def __iter__(self) -> Iterator[GatedWeights]:
        return map(self.read, range(self.count))

    def map(self, change: Callable[[GatedWeights], GatedWeights]) -> Experts:
        """Return the experts with their weights changed."""
        return Experts(self.count, lambda number: change(self.read(number)))


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerWeights:
    """Parameters of one layer.

    The weights of linear layers have shape (O, I). A field is None if the layer does not have the
    tensor.
    """

    q: Tensor
    k: Tensor
    v: Tensor
    attention_output: Tensor
    gate: Tensor | None = None
    up: Tensor | None = None
    down: Tensor | None = None
    """The feed-forward network of a dense layer."""
    experts: Experts | None = None
    """The feed-forward networks of a sparse layer."""
    q_bias: Tensor | None = None
    k_bias: Tensor | None = None
    v_bias: Tensor | None = None
    output_bias: Tensor | None = None
    gate_bias: Tensor | None = None
    up_bias: Tensor | None = None
    down_bias: Tensor | None = None
    q_norm: Tensor | None = None
    k_norm: Tensor | None = None
    """(D,) if ``FamilyTraits.qk_norm`` is ``head``, else the width of the projection: (H · D,) for
    queries, (G · D,) for keys."""
    attention_norm_E: Tensor | None = None
    attention_post_norm_E: Tensor | None = None
    ffn_norm_E: Tensor | None = None
    ffn_post_norm_E: Tensor | None = None
    """Weights of the norms of the inputs or outputs of attention and the feed-forward network."""
    router: Tensor | None = None
    """(X, E): its product with a token gives the score of each expert."""
    shared_router: Tensor | None = None
    """(1, E): its product with a token gives the share of the shared network."""
    shared_gate: Tensor | None = None
    shared_up: Tensor | None = None
    shared_down: Tensor | None = None

    @property
    def network(self) -> GatedWeights | None:
        """The feed-forward network of a dense layer, or the shared one of a sparse layer."""
        if self.experts is None:
            gate, up, down = self.gate, self.up, self.down
        else:
            gate, up, down = self.shared_gate, self.shared_up, self.shared_down
        if gate is None or up is None or down is None:
            return None
        return GatedWeights(gate, up, down)


def layer_tensors(config: DecoderConfig, index: int = 0) -> dict[str, TensorName]:
    """Return the tensors of a layer by the fields of ``LayerWeights``."""
    traits, biases = config.traits, config.biases or ()
    is_sparse = index < len(config.layers) and config.layers[index].is_sparse
    tensors = traits.sparse_layer_tensors if is_sparse else traits.layer_tensors
    return {f: name for f, name in tensors.items() if f not in traits.biases or f in biases}


def expert_tensors(config: DecoderConfig, index: int) -> dict[str, TensorName]:
    """Return the tensors of a sparse layer's experts by the fields of ``GatedWeights``; none if the
    layer is dense."""
    if not config.layers[index].is_sparse:
        return {}
    return {field: config.traits.experts[field] for field in GatedWeights._fields}


def layer_shapes(config: DecoderConfig, index: int = 0) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor of a layer, by its field in ``LayerWeights``.

    In a sparse layer, ``gate``, ``up`` and ``down`` are those of all experts: (X, O, I).
    """
    c = config
    q_width, kv_width = c.num_heads * c.head_width, c.num_kv_heads * c.head_width
    per_head = c.traits.qk_norm == "head"
    shapes: dict[str, tuple[int, ...]] = {
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
        "gate_bias": (c.ffn_width,),
        "up_bias": (c.ffn_width,),
        "q_norm": (c.head_width if per_head else q_width,),
        "k_norm": (c.head_width if per_head else kv_width,),
    }
    if c.experts is not None and c.layers[index].is_sparse:
        x = c.experts
        shapes |= {
            "router": (x.num_experts, c.width),
            "gate": (x.num_experts, x.width, c.width),
            "up": (x.num_experts, x.width, c.width),
            "down": (x.num_experts, c.width, x.width),
            "shared_router": (1, c.width),
            "shared_gate": (x.shared_width, c.width),
            "shared_up": (x.shared_width, c.width),
            "shared_down": (c.width, x.shared_width),
        }
    return {field: shapes.get(field, (c.width,)) for field in layer_tensors(c, index)}


def split_fused_tensor(config: DecoderConfig, index: int, field: str, tensor: Tensor) -> Tensor:
    """Return the part of a tensor that belongs to one field, if files fuse several into it."""
    names, shapes = layer_tensors(config, index), layer_shapes(config, index)
    fused = [other for other, name in names.items() if name == names[field]]
    if len(fused) == 1:
        return tensor
    return tensor.split([shapes[other][0] for other in fused])[fused.index(field)]


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
    """Base class of the parameters in a file or folder."""

    def __init__(self, file: Store, config: DecoderConfig) -> None:
        self.file: Store = file
        self.config = config
        self._outer = {self._name(name) for name in (EMBEDDING, OUTPUT_NORM, HEAD)}
        # Two layers at most stand for all: a dense one and a sparse one.
        kinds = {layer.is_sparse: index for index, layer in enumerate(config.layers)}
        self._inner = {
            is_sparse: {self._name(name, 0) for name in layer_tensors(config, index).values()}
            for is_sparse, index in kinds.items()
        }
        unknown = next((name for name in file.tensors if not self._is_known(name)), None)
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
        return self._norm(self._get(self._name(OUTPUT_NORM), self.config.width))

    def layer(self, index: int) -> LayerWeights:
        names, shapes = layer_tensors(self.config, index), layer_shapes(self.config, index)
        of_experts = expert_tensors(self.config, index)
        fields: dict[str, Tensor] = {}
        for field, name in names.items():
            # One tensor may have several fields.
            if field not in fields and field not in of_experts:
                fused = [f for f, other in names.items() if other == name]
                parts = self._layer_tensor(name, index, [shapes[f] for f in fused])
                fields |= dict(zip(fused, parts, strict=True))
        return LayerWeights(
            experts=self._experts(index) if of_experts else None,
            **{f: self._converted(f, tensor) for f, tensor in fields.items()},
        )

    def _experts(self, index: int) -> Experts:
        """Return the experts of a sparse layer."""
        names, shapes = expert_tensors(self.config, index), layer_shapes(self.config, index)
        stored = {field: self._name(name, index) for field, name in names.items()}

        def read(number: int) -> GatedWeights:
            return GatedWeights(
                **{f: self._expert(name, number, shapes[f]) for f, name in stored.items()}
            )

        return Experts(shapes["router"][0], read)

    def _expert(self, name: str, number: int, shape: tuple[int, ...]) -> Tensor:
        """Return the tensor of one expert, where those of all have this shape together."""
        raise NotImplementedError

    def _name(self, name: TensorName, layer: int | None = None) -> str:
        """Return the name of a tensor in this file."""
        raise NotImplementedError

    def _norm(self, weight: Tensor) -> Tensor:
        """Return the weight of a norm, of which files may store the difference from 1."""
        return weight

    def _converted(self, field: str, tensor: Tensor) -> Tensor:
        """Return the tensor of a field in the convention of ``LayerWeights``."""
        return self._norm(tensor) if "norm" in field else tensor

    def _layer_tensor(
        self, name: TensorName, index: int, shapes: list[tuple[int, ...]]
    ) -> list[Tensor]:
        """Return a layer's tensor, split into parts of these shapes."""
        rows = [shape[0] for shape in shapes]
        whole = self._get(self._name(name, index), sum(rows), *shapes[0][1:])
        return list(whole.split(rows))

    def _is_known(self, name: str) -> bool:
        """Return True if the decoder uses the tensor ``name``."""
        found = re.search(r"\.(\d+)\.", name)
        if found is None:
            return name in self._outer
        if len(found[1]) > 9 or int(found[1]) >= len(self.config.layers):
            return False
        is_sparse = self.config.layers[int(found[1])].is_sparse
        return name.replace(found[0], ".0.", 1) in self._inner[is_sparse]

    def _get(self, name: str, *shape: int) -> Tensor:
        self._check_shape(name, shape)
        return self.file.tensor(name)

    def _check_shape(self, name: str, shape: tuple[int, ...]) -> None:
        info = self.file.tensors.get(name)
        if info is not None and info.shape != shape:
            raise ModelFileError(
                f"{self.file.path}: tensor {name!r} has shape {info.shape}, expected {shape}"
            )


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

    def _is_known(self, name: str) -> bool:
        # ``config_of`` reads these factors.
        is_rope = name == ROPE_FACTORS or name in LONG_ROPE_FACTORS.values()
        return is_rope or super()._is_known(name)

    def _name(self, name: TensorName, layer: int | None = None) -> str:
        return name.gguf if layer is None else f"blk.{layer}.{name.gguf}"

    def _converted(self, field: str, tensor: Tensor) -> Tensor:
        if self.config.traits.gguf_interleaves_rope and field in ("q", "k", "q_bias", "k_bias"):
            return rope_halves_order(tensor, self.config.head_width)
        return super()._converted(field, tensor)

    def _get(self, name: str, *shape: int) -> Tensor:
        # Converters of llama.cpp drop a dimension of size 1.
        if shape[0] == 1 and name in self.file.tensors and len(self.file.tensors[name].shape) == 1:
            return super()._get(name, *shape[1:]).view(shape)
        return super()._get(name, *shape)

    def _expert(self, name: str, number: int, shape: tuple[int, ...]) -> Tensor:
        self._check_shape(name, shape)
        return self.file.rows(name, number, number + 1)[0]

    def format_name(self, field: str, index: int | None) -> str | None:
        """Return the number format of a weight (``stored_format``)."""
        info = self.file.tensors.get(self._stored_name(field, index))
        return None if info is None else info.format.name

    def _stored_name(self, field: str, index: int | None) -> str:
        if index is not None:
            return self._name(layer_tensors(self.config, index)[field], index)
        return self._name(EMBEDDING if field == "embedding" or self.is_tied else HEAD)

    def blocks(self, field: str, index: int | None, expert: int | None = None) -> StoredBlocks:
        """Return a weight as it is stored (``stored_blocks``)."""
        name = self._stored_name(field, index)
        rows = self.file.blocks(name, expert)
        if index is not None and expert is None:
            rows = split_fused_tensor(self.config, index, field, rows)
        return StoredBlocks(self.file.tensors[name].format, self._converted(field, rows))


class FolderWeights(_StoredWeights[ModelFolder]):
    """Parameters in a model folder.

    Raises
    ------
    ModelFileError
        A tensor is missing, has the wrong shape, or would not be used.
    """

    def __init__(self, folder: ModelFolder, config: DecoderConfig) -> None:
        super().__init__(folder, config)
        tied = self._ties
        if not tied and HEAD.hf not in folder.tensors:
            raise ModelFileError(
                f"{folder.path}: has no tensor {HEAD.hf!r}, and {CONFIG} does not tie the head to "
                f"the embedding: tie_word_embeddings is {tied!r}"
            )

    @property
    def _ties(self) -> object:
        defaults = self.config.traits.defaults
        return self.file.config.get("tie_word_embeddings", defaults.get("tie_word_embeddings"))

    def embedding(self) -> Tensor:
        # A tied model may have the shared tensor under the name of the head.
        tied = self._ties is True
        if tied and EMBEDDING.hf not in self.file.tensors and HEAD.hf in self.file.tensors:
            return self.head()
        return super().embedding()

    def _name(self, name: TensorName, layer: int | None = None) -> str:
        return name.hf if layer is None else layer_prefix(layer) + name.hf

    def _norm(self, weight: Tensor) -> Tensor:
        offset = self.config.traits.norm_offset
        return weight + offset if offset else weight

    def _expert(self, name: str, number: int, shape: tuple[int, ...]) -> Tensor:
        return self._get(name.replace(EXPERT, str(number)), *shape[1:])

    def _is_known(self, name: str) -> bool:
        experts = 0 if self.config.experts is None else self.config.experts.num_experts
        expert = re.search(r"\.experts\.(\d{1,9})\.", name)
        if expert is not None and int(expert[1]) < experts:
            name = name.replace(expert[0], f".experts.{EXPERT}.")
        # Old files have the rotary frequencies, which follow from the configuration.
        return super()._is_known(name) or name.endswith(".rotary_emb.inv_freq")


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


@runtime_checkable
class BlockSource(Protocol):
    """A source that has weights in the number format of a file.

    Weights are named by their field of ``LayerWeights`` and their layer; ``embedding`` and ``head``
    have no layer.
    """

    def format_name(self, field: str, index: int | None) -> str | None:
        """Return the name of the format in which a weight is stored; None if unknown."""
        ...

    def blocks(self, field: str, index: int | None, expert: int | None = None) -> StoredBlocks:
        """Return a weight whose format is known, as it is stored (``stored_blocks``)."""
        ...


def stored_format(source: WeightSource, field: str, index: int | None) -> str | None:
    """Return the name of the number format in which a weight is stored; None if unknown.

    Parameters
    ----------
    field
        Field of ``LayerWeights``; or ``embedding`` or ``head``.
    index
        Layer; None for the embedding and the head.
    """
    return source.format_name(field, index) if isinstance(source, BlockSource) else None


def stored_blocks(
    source: WeightSource, field: str, index: int | None, expert: int | None = None
) -> StoredBlocks | None:
    """Return a weight in the number format of its file; None if that is unknown.

    ``expert`` is the number of the expert whose weight it is, if it is one. The other parameters
    are those of ``stored_format``.
    """
    if not isinstance(source, BlockSource) or source.format_name(field, index) is None:
        return None
    return source.blocks(field, index, expert)


def rope_halves_order(weight: Tensor, head_width: int) -> Tensor:
    """Reorder the rows (a0, b0, a1, b1, …) of each head to (a0, a1, …, b0, b1, …)."""
    pairs = weight.unflatten(0, (-1, head_width // 2, 2))
    return pairs.transpose(1, 2).flatten(0, 2)


_SEED_ORDER = (
    "attention_norm_E", "q", "k", "v", "q_bias", "k_bias", "v_bias", "attention_output",
    "ffn_norm_E", "gate", "up", "down", "q_norm", "k_norm", "attention_post_norm_E",
    "ffn_post_norm_E", "output_bias", "gate_bias", "up_bias", "down_bias", "router",
    "shared_router", "shared_gate", "shared_up", "shared_down",
)  # fmt: skip
"""Fields of ``LayerWeights``. The index of a field determines its seed in ``RandomWeights``."""


class RandomWeights:
    """Reproducible random parameters, for tests and benchmarks without a model file."""

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
        at, fields = 100 * (index + 1), dict[str, Any]()
        for field, shape in layer_shapes(self.config, index).items():
            tensor = self._normal(at + _SEED_ORDER.index(field), *shape)
            fields[field] = (
                1 + tensor if "norm" in field else 5 * tensor if tensor.dim() >= 2 else tensor
            )
        if not expert_tensors(self.config, index):
            return LayerWeights(**fields)
        every = [fields.pop(field) for field in GatedWeights._fields]
        count = len(fields["router"])
        experts = Experts(count, lambda number: GatedWeights(*(each[number] for each in every)))
        return LayerWeights(experts=experts, **fields)


def layer_parameters(source: WeightSource) -> Iterator[tuple[str, Tensor]]:
    """Yield Hugging Face's name and the value of each parameter of the layers.

    Only one layer is in memory at a time. The values are in the convention of its files: norms
    without the family's offset, fused projections as one tensor, and a tensor for each expert.
    """
    offset = source.config.traits.norm_offset
    for index in range(source.config.num_layers):
        weights, names = source.layer(index), layer_tensors(source.config, index)
        fields: dict[str, list[Tensor]] = {}
        for field, name in names.items():
            tensor = getattr(weights, field)
            if tensor is not None:
                tensor = tensor - offset if offset and "norm" in field else tensor
                fields.setdefault(layer_prefix(index) + name.hf, []).append(tensor)
        for name_hf, parts in fields.items():
            yield name_hf, torch.cat(parts) if len(parts) > 1 else parts[0]
        for number, expert in enumerate(weights.experts or ()):
            for field, tensor in expert._asdict().items():
                name_hf = layer_prefix(index) + names[field].hf
                yield name_hf.replace(EXPERT, str(number)), tensor
