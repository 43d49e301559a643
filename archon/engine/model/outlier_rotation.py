"""Outlier rotation: a Hadamard rotation of the residual stream, which spreads outliers before int8.

A few channels of the residual stream are far larger than the rest. Rounded to int8 with one scale
per row, they leave few steps for the others. A transformer gives the same result in any orthogonal
basis of its residual stream, if everything that reads or writes the stream is rotated with it and
the norms' weights, which scale channels, move into the layers that follow them. In a basis that
mixes many channels no single one stands out. The rotation is applied to the weights once and costs
nothing at run time. (QuaRot: Ashkboos et al. 2024, arXiv 2404.00456.)

The values of each head, and the output projection that reads them, are rotated in the same way.

A norm *after* a sublayer scales channels of what is added to the stream, and there is no layer that
its weights could move into. So in a family with such norms the stream stays in its own basis, and
only the values are rotated.

This has nothing to do with the rotary position embedding (``archon.engine.model.rope``).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from archon.engine.model.families.traits import layer_prefix
from archon.engine.model.lora import HEAD_NAME, LINEAR_NAMES, Adapter
from archon.engine.model.weights import LayerWeights, WeightSource

_SEED = 2404
_LARGEST_BLOCK = 128


class OutlierRotatedWeights:
    """The parameters of an equal model whose residual stream is in a rotated basis."""

    def __init__(self, source: WeightSource) -> None:
        self.source, self.config = source, source.config
        rotates_stream = self.config.traits.pre_norm
        self._stream = HadamardRotation(self.config.width) if rotates_stream else _NoRotation()
        self._head = HadamardRotation(self.config.head_width)
        self._norms: dict[int, tuple[Tensor | None, Tensor | None]] = {}

    def embedding(self) -> Tensor:
        return self._stream.inputs(self.source.embedding())

    def head(self) -> Tensor:
        return self._reads(self.source.head(), self.source.output_norm())

    def output_norm(self) -> Tensor:
        return torch.ones(self.config.width)

    def hidden(self, x: Tensor) -> Tensor:
        """The rotated model's normalised outputs (…, E) → those of the model itself."""
        return self._stream.back(x) * self.source.output_norm()

    def readout(self, weight_E: Tensor) -> Tensor:
        """A vector that reads the model's normalised outputs → one for the rotated model's."""
        return self._reads(weight_E, self.source.output_norm())

    def layer(self, index: int) -> LayerWeights:
        w = self.source.layer(index)
        output = self._head.inputs(w.attention_output.unflatten(1, (-1, self.config.head_width)))
        changes: dict[str, Any] = {
            "q": self._reads(w.q, w.attention_norm_E),
            "k": self._reads(w.k, w.attention_norm_E),
            "v": self._within_heads(self._reads(w.v, w.attention_norm_E)),
            "v_bias": None if w.v_bias is None else self._within_heads(w.v_bias.unsqueeze(1))[:, 0],
            "attention_output": self._stream.outputs(output.flatten(1)),
            "gate": self._reads(w.gate, w.ffn_norm_E),
            "up": self._reads(w.up, w.ffn_norm_E),
            "down": self._stream.outputs(w.down),
        }
        if self.config.traits.pre_norm:
            changes |= {norm: torch.ones(self.config.width) for norm in self.config.traits.norms}
        return replace(w, **changes)

    def adapter(self, adapter: Adapter) -> Adapter:
        """The same adapter for the rotated model: A reads rotated inputs, B writes rotated outputs.

        The norm before a layer no longer scales what the layer reads, so A is scaled.
        """
        pairs = dict(adapter.pairs)
        for index in range(self.config.num_layers):
            for field, name in LINEAR_NAMES.items():
                pair = adapter.pair(index, field)
                if pair is not None:
                    pairs[layer_prefix(index) + name] = self._rotated_pair(index, field, *pair)
        if HEAD_NAME in pairs:
            a, b = pairs[HEAD_NAME]
            pairs[HEAD_NAME] = (self._reads(a, self.source.output_norm()), b)
        return replace(adapter, pairs=pairs)

    def _rotated_pair(
        self, index: int, field: str, a_RI: Tensor, b_OR: Tensor
    ) -> tuple[Tensor, Tensor]:
        attention_norm_E, ffn_norm_E = self._norms_of(index)
        match field:
            case "attention_output":
                heads = self._head.inputs(a_RI.unflatten(1, (-1, self.config.head_width)))
                return heads.flatten(1), self._stream.outputs(b_OR)
            case "down":
                return a_RI, self._stream.outputs(b_OR)
            case "gate" | "up":
                return self._reads(a_RI, ffn_norm_E), b_OR
            case "v":
                return self._reads(a_RI, attention_norm_E), self._within_heads(b_OR)
            case "q" | "k":
                return self._reads(a_RI, attention_norm_E), b_OR
            case _:
                raise AssertionError(f"no rule for the linear layer {field}")

    def _norms_of(self, index: int) -> tuple[Tensor | None, Tensor | None]:
        """The weights of a layer's norms; kept, as a layer is dequantised whole to read them."""
        if index not in self._norms:
            w = self.source.layer(index)
            self._norms[index] = (w.attention_norm_E, w.ffn_norm_E)
        return self._norms[index]

    def _reads(self, weight: Tensor, norm_E: Tensor | None) -> Tensor:
        """Weights that read the stream after a norm; None where nothing normalises it."""
        return self._stream.inputs(weight if norm_E is None else weight * norm_E)

    def _within_heads(self, weight_OI: Tensor) -> Tensor:
        heads_GDI = weight_OI.unflatten(0, (-1, self.config.head_width))
        return self._head.inputs(heads_GDI.transpose(1, 2)).transpose(1, 2).flatten(0, 1)


class _NoRotation:
    """The basis as it is."""

    def inputs(self, weight: Tensor) -> Tensor:
        return weight

    def back(self, x: Tensor) -> Tensor:
        return x

    def outputs(self, weight_OI: Tensor) -> Tensor:
        return weight_OI


class HadamardRotation:
    """A fixed orthogonal matrix Q of a given size that mixes every channel with every other.

    Q = S·(R ⊗ H): random signs, then the Kronecker product of a small random orthogonal matrix and
    a Hadamard matrix, which is applied as two small products.
    """

    def __init__(self, size: int) -> None:
        block = min(size & -size, _LARGEST_BLOCK)
        generator = torch.Generator().manual_seed(_SEED + size)
        self.sign = torch.randint(0, 2, (size,), generator=generator).float() * 2 - 1
        gaussian = torch.randn(size // block, size // block, generator=generator)
        self.mix = torch.linalg.qr(gaussian.double()).Q.float()
        self.hadamard = hadamard(block)

    def inputs(self, weight: Tensor) -> Tensor:
        """W·Q: a layer that reads a rotated input. Works along the last dimension."""
        blocks = (weight * self.sign).unflatten(-1, (len(self.mix), len(self.hadamard)))
        return (self.mix.t() @ (blocks @ self.hadamard)).flatten(-2)

    def back(self, x: Tensor) -> Tensor:
        """x·Qᵀ: a rotated input in the basis that it came from. Works along the last dimension."""
        blocks = x.unflatten(-1, (len(self.mix), len(self.hadamard)))
        return (self.mix @ (blocks @ self.hadamard)).flatten(-2) * self.sign

    def outputs(self, weight_OI: Tensor) -> Tensor:
        """Qᵀ·W: a layer that writes a rotated output."""
        return self.inputs(weight_OI.t()).t().contiguous()


def hadamard(size: int) -> Tensor:
    """The orthogonal matrix of entries ±1/√size, for a power of two (Sylvester's construction)."""
    matrix = torch.ones(1, 1)
    while len(matrix) < size:
        matrix = torch.kron(torch.tensor([[1.0, 1.0], [1.0, -1.0]]), matrix)
    return matrix / size**0.5
