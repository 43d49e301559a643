"""Spreading outliers before int8: a rotation of the residual stream that changes nothing else.

A few channels of the residual stream are far larger than the rest. Rounded to int8 with one scale
for the row, they leave the others few steps. A transformer gives the same result in any orthogonal
basis of its residual stream, provided that what reads the stream, and what writes to it, is turned
with it, and the norms' weights, which scale channels, are moved into the layers behind them.
In a basis that mixes many channels no single one stands out. All of this is done to the weights,
once; it costs nothing at run time. (QuaRot: Ashkboos et al. 2024, arXiv 2404.00456.)

The same is done, within each head, to the values and the output projection that reads them.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from archon.engine.model.hf_names import layer_prefix
from archon.engine.model.lora import FIELDS, HEAD
from archon.engine.model.lora_file import Adapter
from archon.engine.model.weights import LayerWeights, WeightSource

_SEED = 2404
_LARGEST_BLOCK = 128


class RotatedWeights:
    """The parameters of an equal model whose residual stream is in a rotated basis."""

    def __init__(self, source: WeightSource) -> None:
        self.source, self.config = source, source.config
        self._stream = Rotation(self.config.width)
        self._head = Rotation(self.config.head_width)
        self._norms: dict[int, tuple[Tensor, Tensor]] = {}

    def embedding(self) -> Tensor:
        return self._stream.inputs(self.source.embedding())

    def head(self) -> Tensor:
        return self._stream.inputs(self.source.head() * self.source.output_norm())

    def output_norm(self) -> Tensor:
        return torch.ones(self.config.width)

    def hidden(self, x: Tensor) -> Tensor:
        """The rotated model's normalised outputs (…, E) → those of the model itself."""
        return self._stream.back(x) * self.source.output_norm()

    def readout(self, weight_E: Tensor) -> Tensor:
        """What reads the model's normalised outputs → what reads the rotated model's alike."""
        return self._stream.inputs(weight_E * self.source.output_norm())

    def layer(self, index: int) -> LayerWeights:
        w = self.source.layer(index)
        q, k, v = (self._stream.inputs(x * w.attention_norm_E) for x in (w.q, w.k, w.v))
        gate, up = (self._stream.inputs(x * w.ffn_norm_E) for x in (w.gate, w.up))
        output = self._head.inputs(w.attention_output.unflatten(1, (-1, self.config.head_width)))
        return replace(
            w,
            attention_norm_E=torch.ones(self.config.width),
            ffn_norm_E=torch.ones(self.config.width),
            q=q,
            k=k,
            v=self._within_heads(v),
            v_bias=None if w.v_bias is None else self._within_heads(w.v_bias.unsqueeze(1))[:, 0],
            attention_output=self._stream.outputs(output.flatten(1)),
            gate=gate,
            up=up,
            down=self._stream.outputs(w.down),
        )

    def adapter(self, adapter: Adapter) -> Adapter:
        """The same adapter for the rotated model: A reads rotated inputs, B writes rotated outputs.

        What a layer reads is no longer scaled by the norm before it, so that A is.
        """
        stream, head_width = self._stream, self.config.head_width
        pairs = dict(adapter.pairs)
        for index in range(self.config.num_layers):
            at = layer_prefix(index)
            attention_norm_E, ffn_norm_E = self._norms_of(index)
            for name in FIELDS:
                if at + name not in pairs:
                    continue
                a, b = pairs[at + name]
                match name.rpartition(".")[2]:
                    case "o_proj":
                        heads = self._head.inputs(a.unflatten(1, (-1, head_width)))
                        pairs[at + name] = (heads.flatten(1), stream.outputs(b))
                    case "down_proj":
                        pairs[at + name] = (a, stream.outputs(b))
                    case "gate_proj" | "up_proj":
                        pairs[at + name] = (stream.inputs(a * ffn_norm_E), b)
                    case "v_proj":
                        a = stream.inputs(a * attention_norm_E)
                        pairs[at + name] = (a, self._within_heads(b))
                    case _:
                        pairs[at + name] = (stream.inputs(a * attention_norm_E), b)
        if HEAD in pairs:
            a, b = pairs[HEAD]
            pairs[HEAD] = (stream.inputs(a * self.source.output_norm()), b)
        return replace(adapter, pairs=pairs)

    def _norms_of(self, index: int) -> tuple[Tensor, Tensor]:
        """The weights of a layer's norms; kept, as a layer is dequantised whole to read them."""
        if index not in self._norms:
            w = self.source.layer(index)
            self._norms[index] = (w.attention_norm_E, w.ffn_norm_E)
        return self._norms[index]

    def _within_heads(self, weight_OI: Tensor) -> Tensor:
        heads_GDI = weight_OI.unflatten(0, (-1, self.config.head_width))
        return self._head.inputs(heads_GDI.transpose(1, 2)).transpose(1, 2).flatten(0, 1)


class Rotation:
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
