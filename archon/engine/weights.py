"""A decoder's parameters by name, in float32, wherever they come from.

Layer tensors are yielded one layer at a time, so that loading never holds a whole model in
float32. Rows of the query and key projections are in the "rotate halves" order of Hugging Face's
models: GGUF's llama family stores them interleaved, and they are put back here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from archon.engine.config import DecoderConfig
from archon.engine.gguf import GGUFFile
from archon.errors import ModelFileError

_KNOWN_TENSORS = re.compile(
    r"(token_embd|output_norm|output)\.weight"
    r"|blk\.\d+\.(attn_(norm|q|k|v|output)|ffn_(norm|gate|up|down))\.weight"
    r"|blk\.\d+\.attn_[qkv]\.bias"
)


@dataclass(frozen=True, slots=True)
class LayerWeights:
    """One layer. Projections are (outputs, inputs); a bias is None where the family has none."""

    attention_norm_E: Tensor
    q: Tensor
    k: Tensor
    v: Tensor
    q_bias: Tensor | None
    k_bias: Tensor | None
    v_bias: Tensor | None
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


class GGUFWeights:
    """The parameters of a GGUF file.

    Raises
    ------
    ModelFileError : a tensor is missing, has a shape that the configuration does not allow, or is
        one that the decoder would leave out.
    """

    def __init__(self, file: GGUFFile, config: DecoderConfig) -> None:
        self.file, self.config = file, config
        unknown = next((n for n in file.tensors if not _KNOWN_TENSORS.fullmatch(n)), None)
        if unknown is not None:
            raise ModelFileError(f"{file.path}: tensor {unknown!r} is not supported")

    def embedding(self) -> Tensor:
        return self._get("token_embd.weight", self.config.vocab_size, self.config.width)

    def head(self) -> Tensor:
        tied = "output.weight" not in self.file.tensors
        name = "token_embd.weight" if tied else "output.weight"
        return self._get(name, self.config.vocab_size, self.config.width)

    def output_norm(self) -> Tensor:
        return self._get("output_norm.weight", self.config.width)

    def layer(self, index: int) -> LayerWeights:
        c, at = self.config, f"blk.{index}."
        q_width, kv_width = c.num_heads * c.head_width, c.num_kv_heads * c.head_width
        return LayerWeights(
            attention_norm_E=self._get(at + "attn_norm.weight", c.width),
            q=self._get(at + "attn_q.weight", q_width, c.width),
            k=self._get(at + "attn_k.weight", kv_width, c.width),
            v=self._get(at + "attn_v.weight", kv_width, c.width),
            q_bias=self._get_if_present(at + "attn_q.bias", q_width),
            k_bias=self._get_if_present(at + "attn_k.bias", kv_width),
            v_bias=self._get_if_present(at + "attn_v.bias", kv_width),
            attention_output=self._get(at + "attn_output.weight", c.width, q_width),
            ffn_norm_E=self._get(at + "ffn_norm.weight", c.width),
            gate=self._get(at + "ffn_gate.weight", c.ffn_width, c.width),
            up=self._get(at + "ffn_up.weight", c.ffn_width, c.width),
            down=self._get(at + "ffn_down.weight", c.width, c.ffn_width),
        )

    def _get(self, name: str, *shape: int) -> Tensor:
        info = self.file.tensors.get(name)
        if info is not None and info.shape != shape:
            raise ModelFileError(
                f"{self.file.path}: tensor {name!r} has shape {info.shape}, expected {shape}"
            )
        weight = self.file.tensor(name)
        interleaved = self.config.family == "llama" and (".attn_q." in name or ".attn_k." in name)
        return rotate_halves_order(weight, self.config.head_width) if interleaved else weight

    def _get_if_present(self, name: str, *shape: int) -> Tensor | None:
        return self._get(name, *shape) if name in self.file.tensors else None


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
            attention_output=self._normal(at + 7, c.width, q_width) * 5,
            ffn_norm_E=1 + self._normal(at + 8, c.width),
            gate=self._normal(at + 9, c.ffn_width, c.width) * 5,
            up=self._normal(at + 10, c.ffn_width, c.width) * 5,
            down=self._normal(at + 11, c.width, c.ffn_width) * 5,
        )
