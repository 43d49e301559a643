"""A decoder's parameters by name, in float32, wherever they come from.

Layer tensors are yielded one layer at a time, so that loading never holds a whole model in
float32. Rows of the query and key projections are in the "rotate halves" order of Hugging Face's
models: GGUF's llama family stores them interleaved, and they are put back here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import torch
from torch import Tensor

from archon.engine.files.folder import CONFIG, ModelFolder
from archon.engine.files.gguf import GGUFFile
from archon.engine.model.config import ROPE_FACTORS, DecoderConfig, ModelFile, config_of
from archon.errors import ModelFileError

_OUTER = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
_INNER = {
    "attn_norm.weight": "input_layernorm.weight",
    "attn_q.weight": "self_attn.q_proj.weight",
    "attn_k.weight": "self_attn.k_proj.weight",
    "attn_v.weight": "self_attn.v_proj.weight",
    "attn_q.bias": "self_attn.q_proj.bias",
    "attn_k.bias": "self_attn.k_proj.bias",
    "attn_v.bias": "self_attn.v_proj.bias",
    "attn_output.weight": "self_attn.o_proj.weight",
    "ffn_norm.weight": "post_attention_layernorm.weight",
    "ffn_gate.weight": "mlp.gate_proj.weight",
    "ffn_up.weight": "mlp.up_proj.weight",
    "ffn_down.weight": "mlp.down_proj.weight",
}
_HEAD_NORMS = {
    "attn_q_norm.weight": "self_attn.q_norm.weight",
    "attn_k_norm.weight": "self_attn.k_norm.weight",
}
"""Tensors by their names in GGUF files → in Hugging Face's; inner ones lie in every layer."""
_EMBEDDING, _HEAD = _OUTER["token_embd.weight"], _OUTER["output.weight"]
_BIASES = tuple(name for name in _INNER.values() if name.endswith(".bias"))


@dataclass(frozen=True, slots=True)
class LayerWeights:
    """One layer. Projections are (outputs, inputs); None is what the family does not have."""

    attention_norm_E: Tensor
    q: Tensor
    k: Tensor
    v: Tensor
    q_bias: Tensor | None
    k_bias: Tensor | None
    v_bias: Tensor | None
    q_norm_D: Tensor | None
    k_norm_D: Tensor | None
    """Weights of the norms of every head of q and k, in families that have them."""
    attention_output: Tensor
    ffn_norm_E: Tensor
    gate: Tensor
    up: Tensor
    down: Tensor


class WeightSource(Protocol):
    """Where a decoder's parameters come from."""

    config: DecoderConfig

    def embedding(self) -> Tensor:
        """(V, E)"""
        ...

    def head(self) -> Tensor:
        """(V, E); the embedding itself where the two are tied."""
        ...

    def output_norm(self) -> Tensor:
        """(E,)"""
        ...

    def layer(self, index: int) -> LayerWeights: ...


class _StoredTensor(Protocol):
    @property
    def shape(self) -> tuple[int, ...]: ...


class _TensorStore(Protocol):
    """What ``GGUFFile`` and ``ModelFolder`` have in common."""

    path: Path

    @property
    def tensors(self) -> Mapping[str, _StoredTensor]: ...

    def tensor(self, name: str) -> Tensor: ...


Store = TypeVar("Store", bound=_TensorStore)


class _StoredWeights(Generic[Store]):
    """Parameters that lie in a file or a folder; names are GGUF's, translated by ``_name``."""

    _has_biases: bool
    """Whether queries, keys and values have biases."""

    def __init__(self, file: Store, config: DecoderConfig) -> None:
        self.file, self.config = file, config
        inner = _INNER | (_HEAD_NORMS if config.norms_heads else {})
        names = {*_OUTER, *(f"blk.0.{name}" for name in inner)}
        known = {self._name(name) for name in names}
        unknown = next((n for n in file.tensors if not self._is_known(n, known)), None)
        if unknown is not None:
            raise ModelFileError(f"{file.path}: tensor {unknown!r} is not supported")

    def embedding(self) -> Tensor:
        return self._get("token_embd.weight", self.config.vocab_size, self.config.width)

    def head(self) -> Tensor:
        # What the file holds counts, whether or not its configuration calls the two tied.
        is_there = self._name("output.weight") in self.file.tensors
        name = "output.weight" if is_there else "token_embd.weight"
        return self._get(name, self.config.vocab_size, self.config.width)

    def output_norm(self) -> Tensor:
        return self._get("output_norm.weight", self.config.width)

    def layer(self, index: int) -> LayerWeights:
        c, at = self.config, f"blk.{index}."
        q_width, kv_width = c.num_heads * c.head_width, c.num_kv_heads * c.head_width

        def head_norm(name: str) -> Tensor | None:
            return self._get(at + name, c.head_width) if c.norms_heads else None

        return LayerWeights(
            attention_norm_E=self._get(at + "attn_norm.weight", c.width),
            q=self._get(at + "attn_q.weight", q_width, c.width),
            k=self._get(at + "attn_k.weight", kv_width, c.width),
            v=self._get(at + "attn_v.weight", kv_width, c.width),
            q_bias=self._get_if_present(at + "attn_q.bias", q_width),
            k_bias=self._get_if_present(at + "attn_k.bias", kv_width),
            v_bias=self._get_if_present(at + "attn_v.bias", kv_width),
            q_norm_D=head_norm("attn_q_norm.weight"),
            k_norm_D=head_norm("attn_k_norm.weight"),
            attention_output=self._get(at + "attn_output.weight", c.width, q_width),
            ffn_norm_E=self._get(at + "ffn_norm.weight", c.width),
            gate=self._get(at + "ffn_gate.weight", c.ffn_width, c.width),
            up=self._get(at + "ffn_up.weight", c.ffn_width, c.width),
            down=self._get(at + "ffn_down.weight", c.width, c.ffn_width),
        )

    def _name(self, name: str) -> str:
        return name

    def _is_known(self, name: str, known: set[str]) -> bool:
        """``known`` are the names of everything outside the layers and in the first of them."""
        layer = re.search(r"\.(\d+)\.", name)
        if layer is None or len(layer[1]) > 9 or int(layer[1]) >= self.config.num_layers:
            return layer is None and name in known
        return name.replace(layer[0], ".0.", 1) in known

    def _get(self, name: str, *shape: int) -> Tensor:
        own_name = self._name(name)
        info = self.file.tensors.get(own_name)
        if info is not None and info.shape != shape:
            raise ModelFileError(
                f"{self.file.path}: tensor {own_name!r} has shape {info.shape}, expected {shape}"
            )
        return self.file.tensor(own_name)

    def _get_if_present(self, name: str, *shape: int) -> Tensor | None:
        """A bias; of a file that has biases, none may be missing."""
        return self._get(name, *shape) if self._has_biases else None


_BIAS = re.compile(r"\.attn_[qkv]\.bias$")


class GGUFWeights(_StoredWeights[GGUFFile]):
    """The parameters of a GGUF file.

    Raises
    ------
    ModelFileError : a tensor is missing, has a shape that the configuration does not allow, or is
        one that the decoder would leave out.
    """

    def __init__(self, file: GGUFFile, config: DecoderConfig) -> None:
        self._has_biases = any(_BIAS.search(name) for name in file.tensors)
        super().__init__(file, config)

    def _is_known(self, name: str, known: set[str]) -> bool:
        # The configuration is refused where these factors are others than one.
        return name == ROPE_FACTORS or super()._is_known(name, known)

    def _get(self, name: str, *shape: int) -> Tensor:
        weight = super()._get(name, *shape)
        interleaved = self.config.family == "llama" and (".attn_q." in name or ".attn_k." in name)
        return rotate_halves_order(weight, self.config.head_width) if interleaved else weight


class FolderWeights(_StoredWeights[ModelFolder]):
    """The parameters of a model folder.

    Raises
    ------
    ModelFileError : as ``GGUFWeights``.
    """

    def __init__(self, folder: ModelFolder, config: DecoderConfig) -> None:
        super().__init__(folder, config)
        tied = folder.config.get("tie_word_embeddings")
        if not tied and _HEAD not in folder.tensors:
            raise ModelFileError(
                f"{folder.path}: has no tensor {_HEAD!r}, and {CONFIG} does not say that the "
                f"embedding is the head: tie_word_embeddings is {tied!r}"
            )
        # Qwen2 has biases without a key that says so.
        stated = True if config.family == "qwen2" else folder.config.get("attention_bias")
        self._has_biases = bool(stated)
        left_out = min((name for name in folder.tensors if name.endswith(_BIASES)), default=None)
        if left_out is not None and not self._has_biases:
            raise ModelFileError(
                f"{folder.path}: tensor {left_out!r} is there, but attention_bias in {CONFIG} is "
                f"{stated!r}, so transformers leaves the tensor out. If the model was trained with "
                f"biases, set attention_bias to true in {CONFIG}"
            )

    def embedding(self) -> Tensor:
        # Of a tied model, a file may hold the one tensor under the other's name.
        tied = self.file.config.get("tie_word_embeddings") is True
        if tied and _EMBEDDING not in self.file.tensors and _HEAD in self.file.tensors:
            return self.head()
        return super().embedding()

    def _name(self, name: str) -> str:
        block, _, inner = name.removeprefix("blk.").partition(".")
        if name in _OUTER:
            return _OUTER[name]
        return f"model.layers.{block}.{(_INNER | _HEAD_NORMS)[inner]}"

    def _is_known(self, name: str, known: set[str]) -> bool:
        # Old files carry the rotary frequencies, which follow from the configuration.
        return super()._is_known(name, known) or name.endswith(".rotary_emb.inv_freq")


def weights_of(file: ModelFile) -> WeightSource:
    """The parameters of an open file or folder.

    Raises
    ------
    ModelFileError : it holds something that is not supported.
    """
    config = config_of(file)
    if isinstance(file, GGUFFile):
        return GGUFWeights(file, config)
    return FolderWeights(file, config)


def rotate_halves_order(weight: Tensor, head_width: int) -> Tensor:
    """Rows (r0, i0, r1, i1, …) of each head → (r0, r1, …, i0, i1, …)."""
    pairs = weight.unflatten(0, (-1, head_width // 2, 2))
    return pairs.transpose(1, 2).flatten(0, 2)


class RandomWeights:
    """Reproducible random parameters of a given shape: for tests, and timings without a file."""

    def __init__(self, config: DecoderConfig, seed: int = 0) -> None:
        self.config, self.seed = config, seed

    def _normal(self, place: int, *shape: int) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + place)
        return torch.randn(shape, generator=generator) * 0.3 / shape[-1] ** 0.5

    def embedding(self) -> Tensor:
        return self._normal(1, self.config.vocab_size, self.config.width) * 10

    def head(self) -> Tensor:
        return self._normal(2, self.config.vocab_size, self.config.width) * 10

    def output_norm(self) -> Tensor:
        return 1 + self._normal(3, self.config.width)

    def layer(self, index: int) -> LayerWeights:
        c, at = self.config, 100 * (index + 1)
        q_width, kv_width = c.num_heads * c.head_width, c.num_kv_heads * c.head_width
        biased = c.family == "qwen2"
        return LayerWeights(
            attention_norm_E=1 + self._normal(at, c.width),
            q=self._normal(at + 1, q_width, c.width) * 5,
            k=self._normal(at + 2, kv_width, c.width) * 5,
            v=self._normal(at + 3, kv_width, c.width) * 5,
            q_bias=self._normal(at + 4, q_width) if biased else None,
            k_bias=self._normal(at + 5, kv_width) if biased else None,
            v_bias=self._normal(at + 6, kv_width) if biased else None,
            q_norm_D=1 + self._normal(at + 12, c.head_width) if c.norms_heads else None,
            k_norm_D=1 + self._normal(at + 13, c.head_width) if c.norms_heads else None,
            attention_output=self._normal(at + 7, c.width, q_width) * 5,
            ffn_norm_E=1 + self._normal(at + 8, c.width),
            gate=self._normal(at + 9, c.ffn_width, c.width) * 5,
            up=self._normal(at + 10, c.ffn_width, c.width) * 5,
            down=self._normal(at + 11, c.width, c.ffn_width) * 5,
        )
